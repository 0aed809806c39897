"""What losses may be given."""

from typing import TYPE_CHECKING, Any

from fuzz.spelling import Values
from fuzz.terms import Recipe
from fuzz.values import FLOAT, dtype_of, first_of, settings

if TYPE_CHECKING:
    from fuzz.generate import Builder


def classes(b: "Builder", entry: Any, flow: Any) -> Values:
    """Losses over classes: outputs [N, C, ...] and indices [N, ...], or probabilities."""
    x = first_of(b, flow, (2, 2, 3, 4), ("f32", "f32", "f32", "f64"), known=(1,))
    shape = b.symbolic(b.shape(x))
    count = b.shape(x)[1] if len(shape) > 1 else 1
    names = [param.name for param in entry.arguments if param.tensor]
    if "cross" in entry.name.lower() and b.d.chance(0.25):
        target = b.like(x)
    else:
        target = b.indices((*shape[:1], *shape[2:]), count)
    given = {names[0]: x, names[1]: target}
    if b.d.chance(0.25):
        given["weight"] = [0.5] * (count if b.d.chance(0.9) else count + 1)
    chosen = settings(b, entry, b.shape(x), given)
    if "p" in chosen:
        chosen["p"] = b.d.choice((1, 2))
    return chosen


def pairs(b: "Builder", entry: Any, flow: Any) -> Values:
    """Losses over tensors of one shape."""
    x = first_of(b, flow, (1, 2, 2, 3, 4), ("f32", "f32", "f32", "f64", "i64"))
    given: Values = {}
    for param in entry.arguments:
        if param.tensor and param.required:
            same = FLOAT if b.d.chance(0.05) else dtype_of(b, x)
            given[param.name] = b.like(x, same) if given else x
    if "osine" in entry.name and "target" in given:
        given["target"] = b.tensor(dtypes=("f32", "i64"), dims=b.symbolic(b.shape(x)[:-1]))
    if any(param.name == "p" for param in (*entry.settings, *entry.arguments)):
        given["p"] = 2.0
    if "abel_margin" in entry.name or "LabelMargin" in entry.name:
        given["target"] = b.like(x, ("i64",))
    if "DistanceLoss" in entry.name and b.d.chance(0.6):
        given["distance_function"] = Recipe("PairwiseDistance", (("p", 1.0),))
    return settings(b, entry, b.shape(x), given)


def ctc(b: "Builder", entry: Any, flow: Any) -> Values:
    x = b.tensor((3,), ("f32",), known=(2,))
    _, batch, count = b.symbolic(b.shape(x))
    lengths = [b.fresh("i64", (batch,)) for _ in range(2)]
    names = [param.name for param in entry.arguments if param.tensor]
    target = b.indices((batch, 3), count if isinstance(count, int) else 2)
    return settings(b, entry, (), dict(zip(names, [x, target, *lengths], strict=True)))


def adaptive(b: "Builder", entry: Any, flow: Any) -> Values:
    """AdaptiveLogSoftmaxWithLoss: rare classes have smaller clusters."""
    x = first_of(b, flow, (2,), ("f32",), known=(1,))
    count = b.d.choice((8, 10))
    target = b.indices(b.symbolic(b.shape(x)[:1]), count)
    return {
        entry.arguments[0].name: x,
        entry.arguments[1].name: target,
        "n_classes": count,
        "cutoffs": b.d.choice(([2], [2, 5], [4, 3])),
    }
