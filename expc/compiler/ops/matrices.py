"""Functions of matrices: diagonals, triangles, turns, determinants, inverses."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Dim, Size
from expc.compiler.errors.shapes import RankMismatch
from expc.compiler.ops.arguments import AXIS, dim, dtype_or, function, need_dtype, need_floating, need_rank, summed
from expc.compiler.ops.creation import making
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, NATURAL, list_of, optional
from expc.compiler.ops.reshaping import diagonal_length
from expc.compiler.ops.rules import INPUT, axis, product, refuse
from expc.compiler.types import DTYPES, TensorType

_SINGLE: Final = frozenset({"f32", "f64"})
_NUMBERS: Final = DTYPES - {"bool"}


def _at_least(call: Call, x: TensorType, rank: int) -> None:
    if x.rank < rank:
        expected = f"a tensor of at least {rank} dimension{'' if rank == 1 else 's'}"
        call.fail(RankMismatch, operator=str(call.operator), expected=expected, found=str(x))


def _diag(call: Call) -> TensorType:
    """A list of numbers becomes a matrix, a matrix its diagonal."""
    x, offset = call.tensor(), call["diagonal"]
    need_rank(call, x, (1, 2), "a list of numbers or a matrix, 1 or 2 dimensions")
    if x.rank == 2:
        return x.with_dims(diagonal_length(x.dims[0], x.dims[1], offset))
    side = x.dims[0] + abs(offset)
    return TensorType(x.dtype, (side, side))


def _diagflat(call: Call) -> TensorType:
    x = call.tensor()
    side: Size = product(x.dims) + abs(call["offset"])
    return TensorType(x.dtype, (side, side))


def _diag_embed(call: Call) -> TensorType:
    x = call.tensor()
    _at_least(call, x, 1)
    a, b = (axis(call, call[name], x.rank + 1, name) for name in ("dim1", "dim2"))
    if a == b:
        refuse(call, "dim1 and dim2 must be two dimensions")
    side = x.dims[-1] + abs(call["offset"])
    rest = iter(x.dims[:-1])
    return TensorType(x.dtype, tuple(side if at in (a, b) else next(rest) for at in range(x.rank + 1)))


def _rot90(call: Call) -> TensorType:
    x, k = call.tensor(), call["k"]
    _at_least(call, x, 2)
    if isinstance(k, Dim):
        refuse(call, f"k must be a known number, but is {k}")
    a, b = (axis(call, at, x.rank, "dims") for at in call["dims"])
    if a == b:
        refuse(call, "dims must be two dimensions")
    turned = list(x.dims)
    if k % 2:
        turned[a], turned[b] = turned[b], turned[a]
    return x.with_dims(*turned)


def _flipped(rank: int) -> ShapeRule:
    def shape(call: Call) -> TensorType:
        _at_least(call, call.tensor(), rank)
        return call.tensor()

    return shape


def _adjoint(call: Call) -> TensorType:
    x = call.tensor()
    _at_least(call, x, 2)
    return x.with_dims(*x.dims[:-2], x.dims[-1], x.dims[-2])


def _triangle(name: str) -> ShapeRule:
    def shape(call: Call) -> TensorType:
        rows, columns, offset = call["row"], call["col"], call["offset"]
        if any(isinstance(part, Dim) for part in (rows, columns, offset)):
            refuse(call, "row, col and offset must be known numbers: they say how many indices there are")
        dtype = dtype_or(call, "i64")
        if dtype not in ("i64", "i32"):
            refuse(call, f"makes indices, i64 or i32, not {dtype}")
        lower = name == "tril_indices"
        below = _below(rows, columns, offset if lower else offset - 1)
        return TensorType(dtype, (2, below if lower else rows * columns - below))

    return shape


def _below(rows: int, columns: int, offset: int) -> int:
    """How many elements of a matrix lie on or below a diagonal: one more in each row, from none to whole rows."""
    first = min(max(-offset - 1, 0), rows)
    whole = min(max(columns - offset - 1, 0), rows)
    rising = (whole - first) * (first + whole + 1 + 2 * offset) // 2
    return rising + (rows - whole) * columns


def _build_triangle(name: str) -> Callable[[Any, dict[str, Any]], Any]:
    def build(torch: Any, v: dict[str, Any]) -> Any:
        dtype = torch.int64 if v["dtype"] is None else v["dtype"]
        return getattr(torch, name)(v["row"], v["col"], v["offset"], dtype=dtype, device=v["device"])

    return build


def _vander(call: Call) -> TensorType:
    x = call.tensor("x")
    need_rank(call, x, (1,), "a list of numbers, 1 dimension")
    columns = x.dims[0] if call["N"] is None else call["N"]
    # With one column or none, torch computes no power and so adds up nothing in i64.
    return TensorType(summed(x.dtype), (x.dims[0], columns))


def _square(call: Call, dtypes: frozenset[str] = _SINGLE, expected: str = "f32 or f64 matrices") -> TensorType:
    x = call.tensor()
    _at_least(call, x, 2)
    need_dtype(call, x, dtypes, expected)
    call.require_equal(x.dims[-2], x.dims[-1], "the last dimension of a square matrix")
    return x


def _det(call: Call) -> TensorType:
    x = _square(call)
    return x.with_dims(*x.dims[:-2])


def _slogdet(call: Call) -> tuple[TensorType, TensorType]:
    return _det(call), _det(call)


def _pinverse(call: Call) -> TensorType:
    x = call.tensor()
    need_dtype(call, x, _SINGLE, "f32 or f64 matrices")
    _at_least(call, x, 2)
    return _adjoint(call)


def _matrix_exp(call: Call) -> TensorType:
    need_floating(call, call.tensor())
    return _square(call, DTYPES)


def _matrix_power(call: Call) -> TensorType:
    n = call["n"]
    if isinstance(n, Dim):
        refuse(call, f"n must be a known number, but is {n}")
    if n < 0:
        return _square(call)
    return _square(call, _NUMBERS if n > 1 else DTYPES, "numbers, not booleans")


def _power_macs(call: Call, result: Any) -> Size:
    """One product for each doubling of the power, and one for each further bit of it."""
    power = abs(int(call["n"]))
    products = max(power.bit_length() + power.bit_count() - 2, 0)
    side: Size = result.dims[-1]
    return products * product(result.dims) * side


_SQUARE: Final = {"x": "f32[N, 8, 8]"}
_LIST: Final = {"x": "f32[N]"}
_MATRIX: Final = {"x": "f32[N, 8]"}


def _of_square(
    name: str, doc: str, shape: ShapeRule, *more: Param, example: str | None = None, **costs: Any
) -> Operator:
    return function(name, doc, (INPUT, *more), shape, example or f"x -> {name}", _SQUARE, **costs)


def _indices(name: str, doc: str) -> Operator:
    params = (Param("row", NATURAL), Param("col", NATURAL), Param("offset", INT, 0))
    return making(name, doc, params, _triangle(name), f"{name}(4, 4)", build=_build_triangle(name))


OPERATORS: Final = (
    function(
        "diag",
        "The diagonal of a matrix, or the matrix with a list of numbers on its diagonal.",
        (INPUT, Param("diagonal", AXIS, 0)),
        _diag,
        "x -> diag",
        _LIST,
    ),
    function(
        "diagflat",
        "The matrix with all elements on its diagonal.",
        (INPUT, Param("offset", AXIS, 0)),
        _diagflat,
        "x -> diagflat",
        _LIST,
    ),
    function(
        "diag_embed",
        "Matrices with the last dimension on their diagonals.",
        (INPUT, Param("offset", AXIS, 0), dim(-2, "dim1"), dim(-1, "dim2")),
        _diag_embed,
        "x -> diag_embed",
        _MATRIX,
    ),
    function(
        "rot90",
        "The tensor turned by 90 degrees k times in the plane of two dimensions.",
        (INPUT, Param("k", INT, 1), Param("dims", list_of(AXIS, 2), (0, 1))),
        _rot90,
        "x -> rot90",
        _MATRIX,
    ),
    function("fliplr", "The elements in reverse along dimension 1.", (INPUT,), _flipped(2), "x -> fliplr", _MATRIX),
    function("flipud", "The elements in reverse along dimension 0.", (INPUT,), _flipped(1), "x -> flipud", _MATRIX),
    _of_square("adjoint", "Matrices transposed.", _adjoint),
    function(
        "ravel",
        "All elements in one dimension.",
        (INPUT,),
        lambda call: call.tensor().with_dims(product(call.tensor().dims)),
        "x -> ravel",
        _MATRIX,
    ),
    _indices("tril_indices", "The rows and columns of the lower triangle of a matrix."),
    _indices("triu_indices", "The rows and columns of the upper triangle of a matrix."),
    function(
        "vander",
        "The powers of each number, a row for each.",
        (Param("x", INPUT.kind, tensor=True), Param("N", optional(NATURAL), None), Param("increasing", BOOL, False)),
        _vander,
        "x -> vander(3)",
        _LIST,
    ),
    _of_square("det", "The determinants of square matrices.", _det),
    _of_square("logdet", "The logarithms of the determinants of square matrices.", _det),
    _of_square("slogdet", "The signs of determinants, and the logarithms of their absolute values.", _slogdet),
    _of_square("inverse", "The inverses of square matrices.", _square, example="x + eye(8) -> inverse"),
    _of_square("pinverse", "The pseudo-inverses of matrices.", _pinverse, Param("rcond", FLOAT, 1e-15)),
    _of_square("matrix_exp", "The exponentials of square matrices.", _matrix_exp),
    _of_square(
        "matrix_power",
        "Square matrices to a whole power.",
        _matrix_power,
        Param("n", INT),
        example="x -> matrix_power(2)",
        macs=_power_macs,
    ),
)
