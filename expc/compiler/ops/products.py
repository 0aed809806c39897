"""Products of vectors, matrices and batches of them."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.arguments import (
    AXES,
    axes,
    dim,
    function,
    listed,
    need_dtype,
    need_rank,
    need_same_dtype,
    optional_tensor,
    tensor,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import FLOAT, NATURAL, choice, either, list_of, number
from expc.compiler.ops.rules import INPUT, axis, product, refuse
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
    """A product with something added to it, which broadcasts to its shape: addmm, addmv, baddbmm."""
    multiplied = _ranked(ranks, names)
    return lambda call: _with_added(call, multiplied(call))


def _with_added(call: Call, result: TensorType, *, same_dtype: bool = True) -> TensorType:
    added = call.tensor()
    if same_dtype:
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


def _addbmm(call: Call) -> TensorType:
    """The products of a batch, summed."""
    each = _ranked((3, 3), ("batch1", "batch2"))(call)
    return _with_added(call, each.with_dims(*each.dims[1:]))


def _addr(call: Call) -> TensorType:
    a, b, added = call.tensor("vec1"), call.tensor("vec2"), call.tensor()
    for type_ in (a, b):
        need_rank(call, type_, (1,), "vectors, tensors of 1 dimension")
    dtype = result_dtype([(type_.dtype, 1) for type_ in (added, a, b)])
    return _with_added(call, TensorType(dtype, (*a.dims, *b.dims)), same_dtype=False)


def _inner_product(call: Call) -> TensorType:
    """Over the last dimension of both; a scalar multiplies."""
    a, b = call.tensor(), call.tensor("other")
    if not a.rank or not b.rank:
        return TensorType(result_dtype([(a.dtype, a.rank), (b.dtype, b.rank)]), a.dims or b.dims)
    dtype = _numbers(call, a, b)
    call.require_equal(a.dims[-1], b.dims[-1], f"the last dimension of {b}, to meet that of {a},")
    return TensorType(dtype, (*a.dims[:-1], *b.dims[:-1]))


def _contracted(call: Call) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The dimensions of a and b that tensordot multiplies and sums."""
    a, b, wanted = call.tensor("a"), call.tensor("b"), call["dims"]
    if isinstance(wanted, list | tuple):
        for part, x in zip(wanted, (a, b), strict=True):
            if x.rank == 0 and listed(part):
                refuse(call, "scalars have no dimensions to sum over")
        left, right = (axes(call, part, x.rank, "dims") for part, x in zip(wanted, (a, b), strict=True))
        if len(left) != len(right):
            refuse(call, "dims must name equally many dimensions of both tensors")
        return left, right
    if wanted > min(a.rank, b.rank):
        refuse(call, f"dims={wanted} is more than the dimensions of {a} or {b}")
    return tuple(range(a.rank - wanted, a.rank)), tuple(range(wanted))


def _tensordot(call: Call) -> TensorType:
    a, b = call.tensor("a"), call.tensor("b")
    dtype = _numbers(call, a, b)
    left, right = _contracted(call)
    for i, j in zip(left, right, strict=True):
        if not any(isinstance(size, int) and size == 1 for size in (a.dims[i], b.dims[j])):
            call.require_equal(a.dims[i], b.dims[j], f"dimension {j} of {b}, to meet dimension {i} of {a},")
    kept = (size for x, gone in ((a, left), (b, right)) for at, size in enumerate(x.dims) if at not in gone)
    return TensorType(dtype, tuple(kept))


def _tensordot_macs(call: Call, result: Any) -> Size:
    a, b = call.tensor("a"), call.tensor("b")
    left, right = _contracted(call)
    both = zip((a.dims[at] for at in left), (b.dims[at] for at in right), strict=True)
    return product((*result.dims, *(n if m == 1 else m for m, n in both)))


def _cross(call: Call) -> TensorType:
    a, b = call.tensor(), call.tensor("other")
    need_rank(call, b, (a.rank,), f"a tensor of as many dimensions as {a}")
    dtype = _numbers(call, a, b)
    at = axis(call, call["dim"], a.rank)
    if a.rank == 0:
        refuse(call, "takes vectors of 3 numbers, not scalars")
    for x in (a, b):
        call.require_equal(3, x.dims[at], f"dimension {call['dim']} of {x}")
    return TensorType(dtype, broadcast(call, a, b))


def _bilinear(call: Call) -> TensorType:
    a, b, weight, bias = call.tensor("input1"), call.tensor("input2"), call.tensor("weight"), call["bias"]
    _numbers(call, a, b, weight)
    need_rank(call, weight, (3,), "a weight [out, in1, in2]")
    if not a.rank:
        refuse(call, "takes vectors, not scalars")
    need_rank(call, b, (a.rank,), f"a tensor of as many dimensions as {a}")
    for at, (m, n) in enumerate(zip(a.dims[:-1], b.dims[:-1], strict=True)):
        call.require_equal(m, n, f"dimension {at} of input2")
    for name, x, size in (("input1", a, weight.dims[1]), ("input2", b, weight.dims[2])):
        call.require_equal(size, x.dims[-1], f"the last dimension of {name}")
    if isinstance(bias, TensorType):
        need_rank(call, bias, (1,), "a bias of 1 dimension")
        need_same_dtype(call, a, bias)
        call.require_equal(weight.dims[0], bias.dims[0], "the size of bias")
    return TensorType(a.dtype, (*a.dims[:-1], weight.dims[0]))


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
    name: str, doc: str, pair: tuple[str, str], shape: ShapeRule, macs: Callable[[Call, Any], Size], *types: str
) -> Operator:
    params = (INPUT, *map(tensor, pair), Param("beta", FLOAT, 1, by_name=True), Param("alpha", FLOAT, 1, by_name=True))
    inputs = dict(zip("xyz", types, strict=True))
    return function(name, doc, params, shape, f"x -> {name}(y, z)", inputs, macs=macs)


def _batch_macs(call: Call, _: Any) -> Size:
    return product((*call.tensor("batch1").dims, call.tensor("batch2").dims[-1]))


def _outer_macs(_: Call, result: Any) -> Size:
    return product(result.dims)


def _bilinear_macs(call: Call, result: Any) -> Size:
    weight = call.tensor("weight")
    return product((*result.dims[:-1], *weight.dims))


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
        "addmm",
        "beta * input + alpha * (mat1 @ mat2).",
        ("mat1", "mat2"),
        _plus((2, 2), ("mat1", "mat2")),
        _inner_macs("mat1"),
        *("f32[N, 4]", "f32[N, 8]", "f32[8, 4]"),
    ),
    _sum_of_product(
        "addmv",
        "beta * input + alpha * (mat @ vec).",
        ("mat", "vec"),
        _plus((2, 1), ("mat", "vec")),
        _inner_macs("mat"),
        *("f32[N]", "f32[N, 8]", "f32[8]"),
    ),
    _sum_of_product(
        "addr",
        "beta * input + alpha * outer(vec1, vec2).",
        ("vec1", "vec2"),
        _addr,
        _outer_macs,
        *("f32[N, 8]", "f32[N]", "f32[8]"),
    ),
    _sum_of_product(
        "baddbmm",
        "beta * input + alpha * (batch1 @ batch2), for each of a batch.",
        ("batch1", "batch2"),
        _plus((3, 3), ("batch1", "batch2")),
        _inner_macs("batch1"),
        *("f32[N, 2, 4]", "f32[N, 2, 8]", "f32[N, 8, 4]"),
    ),
    _sum_of_product(
        "addbmm",
        "beta * input + alpha * (batch1 @ batch2), summed over the batch.",
        ("batch1", "batch2"),
        _addbmm,
        _batch_macs,
        *("f32[2, 4]", "f32[N, 2, 8]", "f32[N, 8, 4]"),
    ),
    _product("vdot", "The product of two vectors.", (1, 1), tensor("other"), ("f32[N]", "f32[N]")),
    function(
        "inner",
        "The products of the last dimensions of two tensors, each with each.",
        (INPUT, _OTHER),
        _inner_product,
        "x -> inner(y)",
        {"x": "f32[N, 8]", "y": "f32[3, 8]"},
        macs=lambda call, result: product(result.dims) * (call.tensor().dims or (1,))[-1],
    ),
    function(
        "tensordot",
        "The product of two tensors, summed over the last dimensions of one and the first of the other.",
        (tensor("a"), tensor("b"), Param("dims", either(NATURAL, list_of(AXES, 2)), 2)),
        _tensordot,
        "x -> tensordot(y, 1)",
        {"x": "f32[N, 8]", "y": "f32[8, 3]"},
        macs=_tensordot_macs,
    ),
    function(
        "cross",
        "The vector product of vectors of 3 numbers.",
        (INPUT, _OTHER, dim()),
        _cross,
        "x -> cross(y, 1)",
        {"x": "f32[N, 3]", "y": "f32[N, 3]"},
    ),
    function(
        "bilinear",
        "For each output, a weighted sum of all products of an element of one input and one of the other.",
        (tensor("input1"), tensor("input2"), tensor("weight"), optional_tensor("bias")),
        _bilinear,
        "x -> bilinear(y, w)",
        {"x": "f32[N, 8]", "y": "f32[N, 4]", "w": "f32[3, 8, 4]"},
        home="torch.nn.functional",
        macs=_bilinear_macs,
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
