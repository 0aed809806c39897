"""Products of vectors, matrices and batches of them."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.arguments import function, need_dtype, need_rank, need_same_dtype, tensor
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import FLOAT, choice, number
from expc.compiler.ops.rules import INPUT, product, refuse
from expc.compiler.types import DTYPES, FLOATING, TensorType, category, result_dtype

NOT_BOOL: Final = DTYPES - {"bool"}
_COMPUTED: Final = Param(
    "compute_mode",
    choice("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"),
    "use_mm_for_euclid_dist_if_necessary",
)
_OTHER: Final = tensor("other")
_MAT2: Final = tensor("mat2")


def _numbers(call: Call, *types: TensorType) -> str:
    for type_ in types:
        need_dtype(call, type_, NOT_BOOL, "numbers, not booleans")
    need_same_dtype(call, *types)
    return types[0].dtype


def _matmul(call: Call) -> TensorType:
    a, b = call["input"], call["other"]
    if not isinstance(a, TensorType) or not isinstance(b, TensorType):
        refuse(call, "multiplies tensors: `*` multiplies by a number")
    if a.rank == 0 or b.rank == 0:
        refuse(call, f"takes tensors of at least 1 dimension, but gets {a} and {b}: `*` multiplies by a scalar")
    dtype = _numbers(call, a, b)
    call.require_equal(a.dims[-1], b.dims[-2] if b.rank > 1 else b.dims[0], _inner(a, b))
    batch = broadcast(call, a.with_dims(*a.dims[:-2]), b.with_dims(*b.dims[:-2]))
    return TensorType(dtype, (*batch, *a.dims[-2:-1], *(b.dims[-1:] if b.rank > 1 else ())))


def _inner(a: TensorType, b: TensorType) -> str:
    return f"dimension {-2 if b.rank > 1 else -1} of {b}, to meet the last of {a},"


def _ranked(ranks: tuple[int, int], names: tuple[str, str]) -> Callable[[Call], TensorType]:
    """A product that takes exactly so many dimensions: mm, bmm, mv, dot."""

    def shape(call: Call) -> TensorType:
        a, b = (call.tensor(name) for name in names)
        for type_, rank in zip((a, b), ranks, strict=True):
            need_rank(call, type_, (rank,), f"a tensor of {rank} dimension{'' if rank == 1 else 's'} here")
        dtype = _numbers(call, a, b)
        if ranks == (3, 3):
            call.require_equal(a.dims[0], b.dims[0], "dimension 0, the batch,")
        call.require_equal(a.dims[-1], b.dims[-2] if b.rank > 1 else b.dims[0], _inner(a, b))
        return TensorType(dtype, (*a.dims[:-1], *(b.dims[-1:] if b.rank > 1 else ())))

    return shape


def _plus(ranks: tuple[int, int], names: tuple[str, str]) -> Callable[[Call], TensorType]:
    """A product with something added to it, which broadcasts to its shape: addmm, baddbmm."""
    multiplied = _ranked(ranks, names)

    def shape(call: Call) -> TensorType:
        result, added = multiplied(call), call.tensor()
        need_same_dtype(call, result, added)
        for name in ("alpha", "beta"):
            if isinstance(call[name], float) and category(result.dtype) < 2:
                refuse(call, f"{name} must be a whole number for {result.dtype} tensors")
        if added.rank > result.rank:
            need_rank(call, added, range(result.rank + 1), f"an input that broadcasts to {result}")
        for at in range(-added.rank, 0):
            if not (isinstance(added.dims[at], int) and added.dims[at] == 1):
                call.require_equal(result.dims[at], added.dims[at], f"dimension {at} of the input")
        return result

    return shape


def _outer(call: Call) -> TensorType:
    a, b = call.tensor(), call.tensor("vec2")
    for type_ in (a, b):
        need_rank(call, type_, (1,), "vectors, tensors of 1 dimension")
    return TensorType(result_dtype([(a.dtype, 1), (b.dtype, 1)]), (*a.dims, *b.dims))


def _cdist(call: Call) -> TensorType:
    a, b = call.tensor("x1"), call.tensor("x2")
    for type_ in (a, b):
        need_dtype(call, type_, FLOATING, "floating-point tensors")
        if type_.rank < 2:
            need_rank(call, type_, (2, 3), "lists of points, at least 2 dimensions [points, coordinates]")
    need_same_dtype(call, a, b)
    call.require_equal(a.dims[-1], b.dims[-1], "the last dimension, the coordinates,")
    batch = broadcast(call, a.with_dims(*a.dims[:-2]), b.with_dims(*b.dims[:-2]))
    return TensorType(a.dtype, (*batch, a.dims[-2], b.dims[-2]))


def _inner_macs(name: str) -> Callable[[Call, Any], Size]:
    def macs(call: Call, result: Any) -> Size:
        inner: Size = call.tensor(name).dims[-1]
        return inner * product(result.dims)

    return macs


def _product(name: str, doc: str, ranks: tuple[int, int], other: Param, types: tuple[str, str]) -> Operator:
    return function(
        name,
        doc,
        (INPUT, other),
        _ranked(ranks, ("input", other.name)),
        f"x -> {name}(y)",
        {"x": types[0], "y": types[1]},
        macs=_inner_macs("input"),
    )


def _sum_of_product(
    name: str, doc: str, pair: tuple[str, str], ranks: tuple[int, int], types: tuple[str, str]
) -> Operator:
    return function(
        name,
        doc,
        (
            INPUT,
            *map(tensor, pair),
            Param("beta", FLOAT, 1, by_name=True),
            Param("alpha", FLOAT, 1, by_name=True),
        ),
        _plus(ranks, pair),
        f"x -> {name}(y, y)",
        {"x": types[0], "y": types[1]},
        macs=_inner_macs(pair[0]),
    )


OPERATORS: Final = (
    function(
        "matmul",
        "The product of matrices, vectors or batches of matrices: the operator `@`.",
        (INPUT, _OTHER),
        _matmul,
        "x -> matmul(y)",
        {"x": "f32[N, 8]", "y": "f32[8, 3]"},
        build=lambda _, v: v["input"] @ v["other"],
        macs=_inner_macs("input"),
    ),
    _product("mm", "The product of two matrices.", (2, 2), _MAT2, ("f32[N, 8]", "f32[8, 3]")),
    _product("bmm", "The products of two batches of matrices.", (3, 3), _MAT2, ("f32[N, 8, 4]", "f32[N, 4, 3]")),
    _product("mv", "The product of a matrix and a vector.", (2, 1), tensor("vec"), ("f32[N, 8]", "f32[8]")),
    _product("dot", "The product of two vectors.", (1, 1), tensor("tensor"), ("f32[N]", "f32[N]")),
    function(
        "outer",
        "All products of an element of one vector and one of another.",
        (INPUT, tensor("vec2")),
        _outer,
        "x -> outer(y)",
        {"x": "f32[N]", "y": "f32[8]"},
    ),
    _sum_of_product(
        "addmm", "beta * input + alpha * (mat1 @ mat2).", ("mat1", "mat2"), (2, 2), ("f32[8, 8]", "f32[8, 8]")
    ),
    _sum_of_product(
        "baddbmm",
        "beta * input + alpha * (batch1 @ batch2), for each of a batch.",
        ("batch1", "batch2"),
        (3, 3),
        ("f32[N, 8, 8]", "f32[N, 8, 8]"),
    ),
    function(
        "cdist",
        "The p-norm distance of each point of one list to each of another.",
        (tensor("x1"), tensor("x2"), Param("p", number(0.0), 2.0), _COMPUTED),
        _cdist,
        "x -> cdist(y)",
        {"x": "f32[N, 8]", "y": "f32[5, 8]"},
        macs=_inner_macs("x1"),
    ),
)
