"""Type rules of losses, each shared by torch's class and torch's function."""

from dataclasses import replace

from expc.compiler.ops.arguments import (
    floated,
    need_dtype,
    need_floating,
    need_rank,
    need_same_dtype,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call
from expc.compiler.ops.inner import run
from expc.compiler.ops.rules import refuse
from expc.compiler.ops.targets import (
    batched,
    broadcastable,
    class_indices,
    class_weights,
    compared,
    encoding,
    enough_outputs,
    reduced,
    same_shape,
)
from expc.compiler.types import DTYPES, FLOATING, INTEGER, TensorType, promote


def indices(output: TensorType) -> frozenset[str]:
    """The dtypes of class indices that torch takes for these outputs."""
    return frozenset({"i64"}) if output.rank > 2 else frozenset({"i64", "u8"})


def cross_entropy(call: Call) -> TensorType:
    """Outputs [N, C, ...] against class indices [N, ...], or a probability for each class."""
    output, target = call.tensor(), call.tensor("target")
    need_floating(call, output)
    batched(call, output, 2, "outputs for each of a batch [N, classes, ...]")
    if output.rank == 0:
        need_rank(call, output, (1, 2), "outputs for each class")
    classes_at = 0 if output.rank == 1 else 1
    class_weights(call, output, classes_at, same_dtype=target.dtype not in FLOATING)
    rest = output.dims[:classes_at] + output.dims[classes_at + 1 :]
    if target.dtype in FLOATING:
        if target.rank == output.rank - 1:
            encoding(call, target, f"class indices (write `-> i64`) or probabilities in the outputs' shape {output}")
        same_shape(call, output, target)
        if call["ignore_index"] >= 0:
            refuse(call, "ignore_index is for targets that are class indices, and these are probabilities")
        return reduced(call, promote(output.dtype, target.dtype), rest)
    mean = call["reduction"] == "mean"
    if target.dtype == "u8" and call["weight"] is not None and call["label_smoothing"] and mean:
        encoding(call, target, "class indices as i64 (write `-> i64`) with both weight and label_smoothing")
    if target.dims == output.dims or target.dtype not in indices(output):
        one_hot = "class indices without one-hot encoding, or floating-point probabilities (write `-> f32`)"
        encoding(call, target, one_hot if target.dims == output.dims else "class indices as i64 (write `-> i64`)")
    return reduced(call, output.dtype, class_indices(call, output, target))


def nll(call: Call) -> TensorType:
    """Log-probabilities [N, C, ...] against class indices [N, ...]."""
    output, target = call.tensor(), call.tensor("target")
    need_floating(call, output)
    batched(call, output, 2, "log-probabilities for each of a batch [N, classes, ...]")
    if target.dtype not in indices(output):
        encoding(call, target, "class indices as i64")
    if output.rank == 0:
        need_rank(call, output, (1, 2), "log-probabilities for each class")
    class_weights(call, output, 0 if output.rank == 1 else 1)
    return reduced(call, output.dtype, class_indices(call, output, target))


def difference(call: Call) -> TensorType:
    """mse, l1, smooth l1: the dtypes promote."""
    output, target = compared(call)
    if call.values.get("weight") is not None:
        need_floating(call, call.tensor("weight"))
        same_shape(call, output, call.tensor("weight"))
    return reduced(call, promote(output.dtype, target.dtype), output.dims)


def kept(call: Call) -> TensorType:
    """Losses whose result has the outputs' dtype, whatever the target's."""
    output, _ = compared(call)
    if call.values.get("weight") is not None:
        need_floating(call, call.tensor("weight"))
        same_shape(call, output, call.tensor("weight"))
    return reduced(call, output.dtype, output.dims)


def binary(call: Call) -> TensorType:
    """Probabilities against targets from 0 to 1, of one dtype."""
    output, target = compared(call, floating=True)
    need_same_dtype(call, output, target)
    broadcastable(call, "weight", output)
    return reduced(call, output.dtype, output.dims)


def binary_logits(call: Call) -> TensorType:
    """Outputs before sigmoid against targets from 0 to 1; the result has the target's dtype, as in torch."""
    output, target = compared(call, floating=True)
    broadcastable(call, "weight", output)
    broadcastable(call, "pos_weight", output)
    return reduced(call, target.dtype, output.dims)


def kl_div(call: Call) -> TensorType:
    """Log-probabilities against a distribution."""
    output, target = compared(call, floating=True)
    return reduced(call, promote(output.dtype, target.dtype), output.dims)


def gaussian(call: Call) -> TensorType:
    """Means against targets, with variances of their shape, or of 1 in the last dimension."""
    output, target = compared(call)
    need_dtype(call, target, DTYPES - {"bool"}, "a target of numbers, not booleans (write `-> f32`)")
    variance = call["var"]
    if isinstance(variance, TensorType):
        need_floating(call, variance)
        if variance.rank == output.rank - 1:
            variance = replace(variance, dims=(*variance.dims, 1))
        if variance.rank != output.rank:
            refuse(
                call,
                f"var {call['var']} must have the shape of the outputs {output}, or 1 as its last size",
            )
        for at, (a, b) in enumerate(zip(output.dims, variance.dims, strict=True)):
            if not (at == output.rank - 1 and isinstance(b, int) and b == 1):
                call.require_equal(a, b, f"dimension {at} of var")
        dtype = promote(promote(output.dtype, target.dtype), variance.dtype)
    else:
        dtype = promote(output.dtype, target.dtype)
    return reduced(call, dtype, output.dims)


def ranking(call: Call) -> TensorType:
    """Two outputs against which of them should be larger."""
    a, b, target = call.tensor("input1"), call.tensor("input2"), call.tensor("target")
    need_floating(call, a, b)
    same_shape(call, a, b)
    need_dtype(call, target, DTYPES - {"bool"}, "a target of 1 and -1, not booleans")
    same_shape(call, a, target)
    return reduced(call, promote(promote(a.dtype, b.dtype), target.dtype), a.dims)


def cosine(call: Call) -> TensorType:
    """Pairs of vectors [N, D] against 1 or -1 for each [N]."""
    a, b, target = call.tensor("input1"), call.tensor("input2"), call.tensor("target")
    need_floating(call, a, b)
    need_rank(call, a, (2,) if call.operator.kind == "loss" else (1, 2), "vectors of a batch [N, D]")
    same_shape(call, a, b)
    same_shape(call, TensorType(target.dtype, a.dims[:-1]), target)
    return reduced(call, promote(a.dtype, b.dtype), a.dims[:-1])


def triplet(call: Call) -> TensorType:
    """Three vectors [N, ..., D] at a time; their shapes broadcast."""
    if not call["margin"] > 0:
        refuse(call, "margin must be greater than 0")
    found = [call.tensor(name) for name in ("anchor", "positive", "negative")]
    for type_ in found:
        need_rank(call, type_, (found[0].rank,), f"tensors of equally many dimensions, here {found[0].rank}")
        if type_.rank == 0:
            refuse(call, "takes vectors, not scalars")
        need_dtype(call, type_, DTYPES - {"bool"}, "numbers, not booleans")
    batched(call, found[0], 2, "vectors of a batch [N, D]")
    dims = broadcast(call, *found)
    # Each distance is computed on its own, and of whole numbers in f32.
    near, far, swapped = (floated(promote(found[a].dtype, found[b].dtype)) for a, b in ((0, 1), (0, 2), (1, 2)))
    dtype = promote(near, far)
    return reduced(call, promote(dtype, swapped) if call["swap"] else dtype, dims[:-1])


def triplet_with_distance(call: Call) -> TensorType:
    """As `triplet`, with a distance of one's own between two tensors at a time."""
    if call["distance_function"] is None:
        return triplet(call)
    if not call["margin"] > 0:
        refuse(call, "margin must be greater than 0")
    anchor, positive, negative = (call.tensor(name) for name in ("anchor", "positive", "negative"))
    pairs = [(anchor, positive), (anchor, negative), *([(positive, negative)] if call["swap"] else [])]
    for type_ in (positive, negative):
        need_rank(call, type_, (anchor.rank,), f"tensors of equally many dimensions, here {anchor.rank}")
    distances: list[TensorType] = [run(call, "distance_function", *pair) for pair in pairs]
    dtype = distances[0].dtype
    for type_ in distances[1:]:
        dtype = promote(dtype, type_.dtype)
    return reduced(call, dtype, broadcast(call, *distances))


def multilabel_margin(call: Call) -> TensorType:
    """Outputs [N, C] against the indices of the right classes, the first -1 after them."""
    output, target = call.tensor(), call.tensor("target")
    need_dtype(call, output, frozenset({"f32", "f64"}), "outputs in f32")
    ranks = (2,) if call.operator.kind == "loss" else (0, 1, 2)
    need_rank(call, output, ranks, "outputs for each of a batch [N, classes]")
    if target.dtype != "i64":
        encoding(call, target, "class indices as i64, in the outputs' shape")
    same_shape(call, output, target)
    if output.rank:
        enough_outputs(call, output.dims[-1], target, output)
    return reduced(call, output.dtype, output.dims[:-1])


def multilabel(call: Call) -> TensorType:
    """Outputs [N, ..., C] against a number for each class."""
    output, target = compared(call, floating=True)
    batched(call, output, 2, "outputs for each of a batch [N, classes]")
    class_weights(call, output, output.rank - 1, same_dtype=False)
    return reduced(call, promote(output.dtype, target.dtype), output.dims[:-1])


def multi_margin(call: Call) -> TensorType:
    """Outputs [N, C] against class indices [N]."""
    output, target = call.tensor(), call.tensor("target")
    need_floating(call, output)
    need_rank(
        call, output, (2,) if call.operator.kind == "loss" else (1, 2), "outputs for each of a batch [N, classes]"
    )
    if target.dtype != "i64":
        encoding(call, target, "class indices as i64")
    same_shape(call, TensorType("i64", output.dims[:-1]), target)
    enough_outputs(call, output.dims[-1], target, output)
    class_weights(call, output, output.rank - 1)
    return reduced(call, output.dtype, output.dims[:-1])


def ctc(call: Call) -> TensorType:
    """Log-probabilities [T, N, C] against sequences of labels [N, S]."""
    output, targets = call.tensor("log_probs"), call.tensor("targets")
    need_dtype(call, output, frozenset({"f32", "f64"}), "log-probabilities in f32")
    need_rank(call, output, (3,), "log-probabilities [T, N, classes]")
    batch = output.dims[1]
    need_dtype(call, targets, frozenset({"i64", "i32"}), "class indices")
    need_rank(call, targets, (1, 2), "targets [N, S], or all of them in a row")
    if targets.rank == 2:
        call.require_equal(batch, targets.dims[0], "dimension 0 of the targets, the batch,")
    for name in ("input_lengths", "target_lengths"):
        lengths = call.tensor(name)
        need_dtype(call, lengths, INTEGER, "lengths as whole numbers")
        need_rank(call, lengths, (1,), "a length for each of the batch [N]")
        call.require_equal(batch, lengths.dims[0], f"the size of {name}")
    enough_outputs(call, output.dims[2], targets, output)
    call.require_at_least(output.dims[2], call["blank"] + 1, f"the number of outputs, with blank={call['blank']},")
    return reduced(call, output.dtype, (batch,))
