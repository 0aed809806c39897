"""Transforms made of transforms: some of them, one of them, all of them in random order."""

from collections.abc import Iterator
from typing import Any, Final

from expc.compiler.dimensions import symbol
from expc.compiler.errors.data import TransformSetting
from expc.compiler.library.transforms.image import Settings, at_least, refuse
from expc.compiler.ops.declare import Fault, Kind, Param
from expc.compiler.ops.kinds import PROBABILITY, list_of, number, optional
from expc.compiler.program import Transform, Use
from expc.compiler.types import TensorType
from expc.diagnostics import ProblemError
from expc.spec.values import Pipeline, Recipe

Chain = tuple[Use, ...]
"""Transforms one after another: an item of a list of transforms."""

CHAINS: Final = Kind(
    "a list of transforms",
    lambda value: (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Recipe | Pipeline) for item in value)
    ),
)
"""A list of recipes, which the checker turns into a tuple of `Chain`s before the rule sees it."""

_TRANSFORMS: Final = Param("transforms", CHAINS, doc="transforms, or pipelines of them")


def combining() -> tuple[Transform, ...]:
    """The family."""
    return (
        Transform(
            name="RandomApply",
            doc="All of some transforms in order, or none.",
            settings=(_TRANSFORMS, Param("p", PROBABILITY, 0.5, doc="how often")),
            rule=_random_apply,
            example="RandomApply([GaussianBlur(3), RandomInvert(1)], p=0.3)",
            random=True,
        ),
        Transform(
            name="RandomChoice",
            doc="One of some transforms.",
            settings=(
                _TRANSFORMS,
                Param("p", optional(list_of(number(0))), None, doc="how often each; none: equally often"),
            ),
            rule=_random_choice,
            example="RandomChoice([RandomRotation(10), RandomPerspective(0.2)])",
            random=True,
        ),
        Transform(
            name="RandomOrder",
            doc="All of some transforms in random order.",
            settings=(_TRANSFORMS,),
            rule=_random_order,
            example="RandomOrder([RandomHorizontalFlip, RandomGrayscale(0.5)])",
            random=True,
        ),
    )


def _results(settings: Settings, type_: TensorType) -> Iterator[TensorType]:
    """What each chain makes of the image by itself."""
    for chain in settings["transforms"]:
        yield through(chain, type_)


def through(chain: Chain, type_: TensorType) -> TensorType:
    """What transforms one after another make of the image. Raises `ProblemError` at the one that does not fit."""
    for use in chain:
        if use.declaration.fields is not None or use.declaration.python is not None:
            reason = "it cannot be part of another transform: it stands in the data's own chain"
            raise ProblemError(TransformSetting(span=use.span, transform=use.name, reason=reason))
        try:
            type_ = use.declaration.rule(use.settings, type_)
        except Fault as fault:
            facts: dict[str, Any] = fault.facts
            raise ProblemError(fault.problem(span=use.span, **facts)) from None
    return type_


def _random_apply(settings: Settings, type_: TensorType) -> TensorType:
    result = type_
    for chain in settings["transforms"]:
        result = through(chain, result)
    if settings["p"] == 1:
        return result
    return _either("RandomApply", type_, result, f"{type_} where they are left out, and {result} where not")


def _random_choice(settings: Settings, type_: TensorType) -> TensorType:
    weights = settings["p"]
    count = len(settings["transforms"])
    if weights is not None:
        if len(weights) != count:
            raise refuse("RandomChoice", f"p has {len(weights)} numbers for {count} transforms")
        if not any(weights):
            raise refuse("RandomChoice", "p must be above 0 for one transform at least")
    first, *others = _results(settings, type_)
    for other in others:
        first = _either("RandomChoice", first, other, f"{first} from one, and {other} from another")
    return first


def _random_order(settings: Settings, type_: TensorType) -> TensorType:
    for result in _results(settings, type_):
        if result != type_:
            reason = f"in any order, each transform must give what it gets, and of {type_} one makes {result}"
            raise refuse("RandomOrder", reason)
    return type_


def _either(transform: str, one: TensorType, other: TensorType, difference: str) -> TensorType:
    """An image that is of either type, sample by sample: only its height and width may differ."""
    if one == other:
        return one
    if one.dtype != other.dtype or one.rank != 3 or other.rank != 3 or one.dims[0] != other.dims[0]:
        raise refuse(transform, f"samples would differ in more than height and width: {difference}")
    pairs = list(zip(one.dims, other.dims, strict=True))[1:]
    height, width = (
        a if a == b else symbol(name, lower=min(at_least(a), at_least(b)))
        for name, (a, b) in zip(("H'", "W'"), pairs, strict=True)
    )
    return one.with_dims(one.dims[0], height, width)
