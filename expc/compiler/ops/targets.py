"""What losses ask of their targets: shapes, encodings, and enough outputs for the classes."""

from expc.compiler.dimensions import Size
from expc.compiler.errors.training import TargetEncoding, TargetShape, TooFewOutputs
from expc.compiler.ops.arguments import need_dtype, need_floating, need_rank
from expc.compiler.ops.declare import Call
from expc.compiler.ops.rules import refuse
from expc.compiler.types import FLOATING, TensorType


def encoding(call: Call, target: TensorType, expected: str) -> None:
    """Refuse a target that is written in another way than `expected`."""
    call.fail(TargetEncoding, operator=str(call.operator), expected=expected, found=str(target))


def same_shape(call: Call, output: TensorType, target: TensorType) -> None:
    """Output and target must have one shape; torch would warn and broadcast."""
    reason = None
    if output.rank != target.rank:
        reason = f"they have {output.rank} and {target.rank} dimensions"
    else:
        for at, (a, b) in enumerate(zip(output.dims, target.dims, strict=True)):
            if isinstance(a, int) and isinstance(b, int) and a != b:
                reason = f"dimension {at} is {a} and {b}"
                break
    if reason is not None:
        call.fail(TargetShape, operator=str(call.operator), output=str(output), target=str(target), reason=reason)
    for at, (a, b) in enumerate(zip(output.dims, target.dims, strict=True)):
        call.require_equal(a, b, f"dimension {at} of the target")


def compared(
    call: Call, output: str = "input", target: str = "target", *, floating: bool = False
) -> tuple[TensorType, ...]:
    """Output and target of a loss that compares numbers; with `floating`, no whole numbers will do as target."""
    a, b = call.tensor(output), call.tensor(target)
    need_floating(call, a)
    if b.classes is not None or (floating and b.dtype not in FLOATING):
        encoding(call, b, f"a target of floating-point numbers in the outputs' shape {a}")
    same_shape(call, a, b)
    return a, b


def enough_outputs(call: Call, outputs: Size, target: TensorType, found: TensorType) -> None:
    """There must be an output for each class that the target may name."""
    classes = target.classes
    if classes is None:
        return
    if isinstance(outputs, int) and isinstance(classes, int):
        if outputs < classes:
            facts = {"outputs": str(outputs), "classes": str(classes), "found": f"({found})"}
            call.fail(TooFewOutputs, operator=str(call.operator), **facts)
    else:
        call.require_at_least(outputs, classes, "the number of outputs, one for each class,")


def batched(call: Call, output: TensorType, minimum: int, expected: str) -> None:
    """Loss modules always see a batch; functions also take torch's unbatched form, one dimension less."""
    low = minimum if call.operator.kind == "loss" else minimum - 1
    if output.rank < low:
        need_rank(call, output, (), expected)


def class_indices(call: Call, output: TensorType, target: TensorType) -> tuple[Size, ...]:
    """Outputs [N, C, ...] against class indices [N, ...]: the shape of the losses before they are reduced."""
    classes_at = 0 if output.rank == 1 else 1
    wanted = output.dims[:classes_at] + output.dims[classes_at + 1 :]
    if output.rank > 2 and target.dims == output.dims[:-1] and target.dims != wanted:
        reason = "the classes must stand in dimension 1, but seem to be last: write `transpose(1, -1)`"
        if output.rank == 3:
            reason += ", or flatten(0, 1) for outputs and flatten for targets"
        call.fail(TargetShape, operator=str(call.operator), output=str(output), target=str(target), reason=reason)
    same_shape(call, TensorType(target.dtype, wanted), target)
    enough_outputs(call, output.dims[classes_at], target, output)
    return wanted


def class_weights(call: Call, output: TensorType, at: int, *, same_dtype: bool = True) -> None:
    """One weight for each class, which are dimension `at` of the output: a list of numbers (f32), or a tensor."""
    weight = call["weight"]
    if weight is None:
        return
    type_ = weight if isinstance(weight, TensorType) else TensorType("f32", (len(weight),))
    need_rank(call, type_, (1,), "a weight for each class, a tensor of 1 dimension")
    if same_dtype:
        need_dtype(call, type_, frozenset({output.dtype}), f"weights of the outputs' dtype, {output.dtype}")
    else:
        need_floating(call, type_)
    call.require_equal(output.dims[at], type_.dims[0], "the number of weights, one for each class,")


def broadcastable(call: Call, name: str, to: TensorType) -> None:
    """The setting `name`, a list or a tensor, must broadcast to the shape of `to`."""
    given = call[name]
    if given is None:
        return
    dims = given.dims if isinstance(given, TensorType) else (len(given),)
    if isinstance(given, TensorType):
        need_floating(call, given)
    if len(dims) > to.rank:
        refuse(call, f"{name} has {len(dims)} dimensions, more than {to}")
    for at in range(-len(dims), 0):
        if not (isinstance(dims[at], int) and dims[at] == 1):
            call.require_equal(dims[at], to.dims[at], f"dimension {at} of {name}")


def reduced(call: Call, dtype: str, dims: tuple[Size, ...]) -> TensorType:
    """The result of a loss: one number, or one for each element with `reduction="none"`."""
    return TensorType(dtype, dims if call["reduction"] == "none" else ())
