"""Every loss, as class and as function, against torch; and what the language refuses although torch does not."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from against_torch import Random, Values, checked, complete, loosely_checked, loosened, ran, typed

from expc.compiler.dimensions import symbol
from expc.compiler.errors.shapes import DtypeMismatch, SizeMismatch
from expc.compiler.errors.training import TargetEncoding, TargetShape, TooFewOutputs
from expc.compiler.ops.declare import Call, Fault, Operator
from expc.compiler.ops.inner import Inner
from expc.compiler.ops.losses import OPERATORS as ALL
from expc.compiler.types import TensorType
from expc.diagnostics import Problem

OPERATORS: dict[str, Operator] = {operator.name: operator for operator in ALL}
N, C = symbol("N"), symbol("C")


def t(dtype: str, *sizes: Any, classes: Any = None) -> TensorType:
    return TensorType(dtype, sizes, classes)


def dims(r: Random, low: int = 1, high: int = 3) -> tuple[int, ...]:
    return tuple(r.choice((2, 3, 4)) for _ in range(r.randint(low, high)))


def off(r: Random, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes, mostly; else some that do not fit."""
    return sizes if r.random() < 0.9 else r.choice((sizes[:-1], (*sizes, 1), (*sizes[:-1], 5), (1, *sizes[1:])))


def some(r: Random, **options: Any) -> Values:
    return {name: r.choice(choices) for name, choices in options.items() if r.random() < 0.6}


REDUCED = ("none", "mean", "sum")
FLOATS = ("f32", "f32", "f32", "f64", "bf16")


def classified(r: Random, *, weights: bool = True, probabilities: bool = True) -> Values:
    classes, rest = r.choice((2, 3, 4)), dims(r, 0, 2)
    output = t(r.choice((*FLOATS, "i64")), 2, classes, *rest)
    target = t(r.choice(("i64", "i64", "i64", "u8", "i32", "f32")), *off(r, (2, *rest)), classes=classes)
    if target.dtype == "f32" or (probabilities and r.random() < 0.2):
        target = t(r.choice(("f32", "f64")), *off(r, output.dims))
    values = {"input": output, "target": target, **some(r, reduction=REDUCED)}
    if weights and r.random() < 0.3:
        values["weight"] = [0.5] * r.choice((classes, classes, classes + 1))
    return values


def pair(r: Random, targets: tuple[str, ...] = ("f32", "f64", "bf16"), **options: Any) -> Values:
    sizes = dims(r)
    values = {"input": t(r.choice((*FLOATS, "i64")), *sizes), "target": t(r.choice(targets), *off(r, sizes))}
    return {**values, **some(r, reduction=REDUCED, **options)}


def binary(r: Random) -> Values:
    values = pair(r, ("f32", "f32", "f64"))
    if r.random() < 0.3:
        values["weight"] = [0.5] * r.choice((values["input"].dims[-1], 1, 7))
    return values


def with_logits(r: Random) -> Values:
    values = binary(r)
    if r.random() < 0.3:
        values["pos_weight"] = [0.5] * r.choice((values["input"].dims[-1], 1, 7))
    return values


def gaussian(r: Random) -> Values:
    values = pair(r, ("f32", "f64"))
    sizes = values["input"].dims
    shapes = (sizes, sizes[:-1], (*sizes[:-1], 1), (7, *sizes[1:]))
    return {**values, "var": t("f32", *r.choice(shapes)), **some(r, full=(True,))}


def ranked(r: Random) -> Values:
    sizes = dims(r)
    return {
        "input1": t(r.choice(FLOATS), *sizes),
        "input2": t(r.choice(FLOATS), *off(r, sizes)),
        "target": t(r.choice(("f32", "i64")), *off(r, sizes)),
        **some(r, reduction=REDUCED, margin=(0.0, 0.5)),
    }


def angled(r: Random) -> Values:
    values = {name: t(r.choice(("f32", "f64")), *off(r, (2, 3))) for name in ("input1", "input2")}
    return {
        **values,
        "target": t(r.choice(("f32", "i64")), *r.choice(((2,), (2,), (3,)))),
        **some(r, reduction=REDUCED),
    }


def triplet(r: Random) -> Values:
    sizes = dims(r, 2)
    values = {name: t(r.choice(("f32", "f64")), *off(r, sizes)) for name in ("anchor", "positive", "negative")}
    return {**values, **some(r, reduction=REDUCED, swap=(True,), p=(1.0, 2.0))}


def labelled(r: Random) -> Values:
    sizes = dims(r, 2)
    values = {"input": t(r.choice(("f32", "f64")), *sizes), "target": t(r.choice(("f32", "f64")), *off(r, sizes))}
    if r.random() < 0.3:
        values["weight"] = [0.5] * r.choice((sizes[-1], sizes[-1] + 5))
    return {**values, **some(r, reduction=REDUCED)}


def by_distance(r: Random) -> Values:
    values = triplet(r)
    values.pop("p", None)
    distances = (Inner("PairwiseDistance", (("p", 1.0),)), Inner("CosineSimilarity", (("dim", -1),)), None)
    distance = r.choice((*distances, Inner("PairwiseDistance", (("keepdim", True),))))
    return {**values, **some(r, distance_function=(distance,), margin=(0.5, 0.0, 1.0))}


def several_right(r: Random) -> Values:
    sizes = dims(r, 2, 2)
    target = t(r.choice(("i64", "i64", "i64", "i32")), *off(r, sizes), classes=r.choice((1, sizes[-1], sizes[-1] + 1)))
    return {"input": t(r.choice(("f32", "f64", "i64")), *sizes), "target": target, **some(r, reduction=REDUCED)}


def margins(r: Random) -> Values:
    values = {"input": t("f32", 2, 4), "target": t(r.choice(("i64", "i64", "i32")), *off(r, (2,)), classes=4)}
    if r.random() < 0.3:
        values["weight"] = [0.5] * r.choice((4, 4, 3))
    return {**values, **some(r, reduction=REDUCED, p=(1, 2, 3), margin=(0.5,))}


def aligned(r: Random) -> Values:
    lengths = {"input_lengths": t("i64", r.choice((2, 2, 3))), "target_lengths": t("i64", 2)}
    output = t(r.choice(("f32", "f64", "i64")), 6, 2, 4)
    targets = t(r.choice(("i64", "i32", "f32")), r.choice((2, 2, 3)), 3)
    return {
        "log_probs": output,
        "targets": targets,
        **lengths,
        **some(r, reduction=REDUCED, zero_infinity=(True,), blank=(0, 3, 4)),
    }


CASES: dict[str, Callable[[Random], Values]] = {
    "cross_entropy": lambda r: {**classified(r), **some(r, label_smoothing=(0.0, 0.1), ignore_index=(-100, -1, 1))},
    "nll_loss": lambda r: classified(r, probabilities=False),
    "mse_loss": pair,
    "l1_loss": pair,
    "smooth_l1_loss": lambda r: pair(r, beta=(0.5,)),
    "huber_loss": lambda r: pair(r, delta=(0.5,)),
    "binary_cross_entropy": binary,
    "binary_cross_entropy_with_logits": with_logits,
    "kl_div": lambda r: {**pair(r), **some(r, reduction=("none", "sum", "batchmean"), log_target=(True,))},
    "poisson_nll_loss": lambda r: pair(r, ("f32", "i64"), log_input=(False,), full=(True,)),
    "gaussian_nll_loss": gaussian,
    "hinge_embedding_loss": lambda r: pair(r, ("f32", "i64"), margin=(0.5,)),
    "soft_margin_loss": lambda r: pair(r, ("f32", "i64")),
    "margin_ranking_loss": ranked,
    "cosine_embedding_loss": angled,
    "triplet_margin_loss": triplet,
    "multilabel_soft_margin_loss": labelled,
    "multilabel_margin_loss": several_right,
    "multi_margin_loss": margins,
    "TripletMarginWithDistanceLoss": by_distance,
    "ctc_loss": aligned,
}

CLASSES = {
    **{operator.name: ALL[number + 1].name for number, operator in enumerate(ALL[:-1]) if operator.kind == "loss"},
    "CTCLoss": "ctc_loss",
}


def stricter(case: Callable[[Random], Values], values: Values) -> bool:
    """Whether the language refuses a call that torch may take: outputs that are whole numbers, shapes that differ."""
    if case in (CASES["cross_entropy"], CASES["nll_loss"], CASES["multi_margin_loss"]):
        return False
    tensors = {name: value for name, value in values.items() if isinstance(value, TensorType)}
    first, *others = tensors.values()
    if first.dtype == "i64" or "log_probs" in tensors:
        return first.dtype == "i64" or tensors["targets"].dtype == "f32"
    return any(other.dims != first.dims for other in others)


@pytest.mark.parametrize("name", OPERATORS)
def test_rule_agrees_with_torch(name: str) -> None:
    operator, r = OPERATORS[name], random.Random(name)
    case = CASES[CLASSES.get(name, name)]
    taken = loose_taken = 0
    for round_ in range(150):
        values = case(r)
        expected = ran(operator, values, round_)
        got = checked(operator, values)
        assert got == expected or (got is None and stricter(case, values)), f"{name}({values})"
        loose, sizes = loosened(values, r)
        found = loosely_checked(operator, loose, sizes)
        assert found is None or found == expected, f"{name}({loose}) at {sizes}"
        taken += expected is not None
        loose_taken += found is not None
    assert taken > 30
    assert loose_taken > taken / 4


def refusal(name: str, **values: Any) -> tuple[type[Problem], dict[str, Any]]:
    """The problem that a call is refused with; a size that does not fit counts as SizeMismatch."""
    operator = OPERATORS[name]
    required: list[Any] = []
    try:
        operator.shape(Call(operator, complete(operator, values), required.append))
    except Fault as fault:
        return fault.problem, fault.facts
    assert required, "nothing is refused"
    return SizeMismatch, {"what": required[0][3]}


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "cross_entropy", "NLLLoss", "MultiMarginLoss"])
def test_needs_an_output_for_each_class(name: str) -> None:
    problem, facts = refusal(name, input=t("f32", N, 9), target=t("i64", N, classes=10))
    assert problem is TooFewOutputs
    assert (facts["outputs"], facts["classes"]) == ("9", "10")
    result, required = typed(OPERATORS[name], {"input": t("f32", N, 12), "target": t("i64", N, classes=10)})
    assert result == t("f32")
    assert not required
    _, required = typed(OPERATORS[name], {"input": t("f32", N, C), "target": t("i64", N, classes=10)})
    assert required[0][:3] == ("at least", C, 10)


def test_tells_how_a_target_is_to_be_encoded() -> None:
    outputs, indices = t("f32", N, 10), t("i64", N, classes=10)
    assert refusal("CrossEntropyLoss", input=outputs, target=t("f32", N))[0] is TargetEncoding
    assert refusal("CrossEntropyLoss", input=outputs, target=t("i64", N, 10))[0] is TargetEncoding
    assert refusal("CrossEntropyLoss", input=outputs, target=t("i32", N))[0] is TargetEncoding
    for name in ("MSELoss", "BCELoss", "BCEWithLogitsLoss", "L1Loss", "KLDivLoss"):
        assert refusal(name, input=t("f32", N), target=indices)[0] is TargetEncoding
    assert refusal("BCEWithLogitsLoss", input=outputs, target=t("i64", N, 10))[0] is TargetEncoding
    assert refusal("BCELoss", input=outputs, target=t("f64", N, 10))[0] is DtypeMismatch


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "KLDivLoss"])
def test_refuses_shapes_that_torch_would_broadcast(name: str) -> None:
    for target in (t("f32", 4), t("f32", 4, 4), t("f32", 1)):
        assert refusal(name, input=t("f32", 4, 1), target=target)[0] is TargetShape
    assert refusal(name, input=t("f32", N, 1), target=t("f32", N))[0] is TargetShape
    assert refusal(name, input=t("f32", N), target=t("f32", C))[0] is SizeMismatch


def test_says_where_the_classes_must_stand() -> None:
    problem, facts = refusal("CrossEntropyLoss", input=t("f32", N, C, 65), target=t("i64", N, C, classes=65))
    assert problem is TargetShape
    assert "transpose(1, -1)" in facts["reason"]


def test_modules_always_see_a_batch() -> None:
    single = {"input": t("f32", 10), "target": t("i64", classes=10)}
    assert checked(OPERATORS["cross_entropy"], single) == ran(OPERATORS["cross_entropy"], single) == ("f32", ())
    assert checked(OPERATORS["CrossEntropyLoss"], single) is None


def test_right_classes_without_a_batch_are_for_the_function() -> None:
    single = {"input": t("f32", 4), "target": t("i64", 4, classes=4)}
    function = OPERATORS["multilabel_margin_loss"]
    assert checked(function, single) == ran(function, single) == ("f32", ())
    assert checked(OPERATORS["MultiLabelMarginLoss"], single) is None


def test_weights_may_be_a_tensor_of_the_flow() -> None:
    values = {"input": t("f32", 2, 3), "target": t("i64", 2, classes=3)}
    for weight in (t("f32", 3), t("f32", 2), t("i64", 3), t("f32", 1, 3)):
        given = {**values, "weight": weight}
        assert checked(OPERATORS["cross_entropy"], given) == ran(OPERATORS["cross_entropy"], given)


def test_each_class_stands_with_its_function() -> None:
    for name, function in CLASSES.items():
        assert hasattr(torch.nn, name)
        assert hasattr(torch.nn.functional, function)
        assert OPERATORS[name].shape is OPERATORS[function].shape
