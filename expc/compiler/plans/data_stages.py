"""What stands after a data set: the type of every field from stage to stage, and what the runtime will do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from expc.compiler.arithmetic import describe
from expc.compiler.errors.data import DrawnTogether, TransformMismatch, TransformSetting
from expc.compiler.errors.experiment import NotData
from expc.compiler.library.field_transforms import CAST, completed
from expc.compiler.model import extern_declarations
from expc.compiler.model.arguments import match_settings
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.ops.declare import Fault
from expc.compiler.program import Declared, Fields, Mixer, SampleField, SplitUse, Step, Transform, Use
from expc.compiler.types import TensorType
from expc.diagnostics import ProblemError, Span
from expc.frozen import dataclass, field
from expc.spec import syntax
from expc.spec.suggest import nearest
from expc.spec.values import Closure, Dtype, Labelled, Lasting, Pipeline, Recipe

Stage = Step | SplitUse | Fields | Declared


class LostError(Exception):
    """A stage could not be worked out, which was reported."""


@dataclass(frozen=True, eq=False)
class Sample:
    """The fields of a sample by name, in order, and the stages that made them so far. Stages are added to it."""

    types: dict[str, TensorType]
    stages: list[Stage] = field(default_factory=list)

    @property
    def first(self) -> str:
        """The field that transforms outside braces act on."""
        return next(iter(self.types))

    @property
    def fields(self) -> tuple[SampleField, ...]:
        """The fields with their types."""
        return tuple(SampleField(name, type_) for name, type_ in self.types.items())


def go_through(evaluator: Evaluator, stage: Any, sample: Sample, span: Span) -> None:
    """Send a sample through one stage after its data set. Raises `ProblemError`."""
    if isinstance(stage, Closure) and isinstance(stage.expression, syntax.As):
        from expc.compiler.plans.data_types import declare

        declare(evaluator, stage.expression, stage.scope, sample, tuple(sample.types)[:1])
    elif isinstance(stage, Closure) and isinstance(stage.expression, syntax.Body):
        from expc.compiler.plans.data_bodies import Body

        Body(evaluator, sample).run(stage.expression, stage.scope)
    else:
        transform(used(evaluator, stage, span), sample, (sample.first,), (sample.first,))


def used(evaluator: Evaluator, stage: Any, span: Span) -> Use:
    """The transform that a stage stands for, with complete settings. Raises `ProblemError`."""
    library = evaluator.library
    if isinstance(stage, Dtype):
        return Use(CAST, {"dtype": stage.name}, span)
    if isinstance(stage, Labelled | Lasting | Closure) or not isinstance(stage, Recipe):
        raise ProblemError(NotData(span=span, what=describe(stage), reason="a transform stands after a data set"))
    place = stage.span or span
    if stage.name == "split":
        reason = "it gives several parts, and each needs a name: `fit, held = ... -> split(0.9)`"
        raise ProblemError(NotData(span=place, what="`split`", reason=reason))
    declaration = extern_declarations.declaration(library, stage, "transform") or library.transforms.get(stage.name)
    if declaration is None:
        kind = library.kind(stage.name) if stage.target is None else "declared in this file"
        near = nearest(stage.name, library.transforms)
        hint = f"; did you mean `{near}`?" if near else ""
        raise ProblemError(NotData(span=place, what=f"`{stage.name}`", reason=f"it is {kind}, not a transform{hint}"))
    from expc.compiler.library.transforms.combining import CHAINS  # the tables are of no use to a file without data

    settings = match_settings(stage.name, declaration.settings, declaration.settings, stage.arguments, place)
    chains = {param.name for param in declaration.settings if param.kind is CHAINS}
    return Use(declaration, {k: _chains(evaluator, v, place) if k in chains else v for k, v in settings.items()}, place)


def _chains(evaluator: Evaluator, recipes: Sequence[Any], span: Span) -> tuple[tuple[Use, ...], ...]:
    """The transforms in a list of recipes and pipelines, as a transform that is made of them sees them."""
    chains = tuple(
        tuple(used(evaluator, stage, span) for stage in (item.stages if isinstance(item, Pipeline) else (item,)))
        for item in recipes
    )
    for use in (use for chain in chains for use in chain if use.declaration.python is not None):
        reason = "Python code stands in the chain itself, not in a transform of transforms"
        raise ProblemError(NotData(span=use.span, what=f"`{use.name}`", reason=reason))
    return chains


def transform(use: Use, sample: Sample, reads: Sequence[str], writes: Sequence[str]) -> None:
    """Send the fields `reads` through one transform, with one draw, into `writes`. Raises `ProblemError`."""
    declaration: Transform = use.declaration
    if declaration.fields is not None:
        _mix(use, declaration.fields, sample, reads, writes)
        return
    types = [sample.types[name] for name in reads]
    parts = list(_parts(use.settings))
    moves = declaration.geometric or (bool(parts) and all(part.declaration.geometric for part in parts))
    if parts and not moves and any(map(is_mask, types)):
        part = next(part for part in parts if not part.declaration.geometric)
        expected = "an image [C, H, W]: a mask has no colours to change"
        found = str(next(filter(is_mask, types)))
        raise ProblemError(TransformMismatch(span=part.span, transform=part.name, expected=expected, found=found))
    masks = tuple(moves and is_mask(type_) for type_ in types)
    try:
        results = [
            _mask(declaration, use.settings, type_) if mask else declaration.rule(use.settings, type_)
            for type_, mask in zip(types, masks, strict=True)
        ]
    except Fault as fault:
        raise ProblemError(fault.problem(span=use.span, **fault.facts)) from None
    sides = {type_.dims[-2:] for type_ in types}
    if declaration.random and moves and len(sides) > 1:
        found = " and ".join(f"`{_shown(name)}`: {type_}" for name, type_ in zip(reads, types, strict=True))
        raise ProblemError(DrawnTogether(span=use.span, transform=use.name, found=found))
    settings = completed(declaration, use.settings, results[0])
    made = Use(declaration, settings, use.span)
    step = Step(made, tuple(reads), tuple(writes), masks, tuple(results))
    sample.stages.append(step)
    sample.types.update(zip(writes, results, strict=True))


def _parts(settings: Mapping[str, Any]) -> Iterator[Use]:
    """The transforms that a list of transforms is made of in the end; none of a plain one."""
    for inner in (inner for chain in settings.get("transforms", ()) for inner in chain):
        if "transforms" in inner.settings:
            yield from _parts(inner.settings)
        else:
            yield inner


def _mix(use: Use, mixer: Mixer, sample: Sample, reads: Sequence[str], writes: Sequence[str]) -> None:
    """Send a whole sample through what mixes those of a batch. Raises `ProblemError`."""
    if tuple(reads) != (sample.first,) or tuple(writes) != tuple(reads):
        reason = "it mixes whole samples, images and labels, so it stands outside braces"
        raise ProblemError(NotData(span=use.span, what=f"`{use.name}`", reason=reason))
    try:
        fields, settings = mixer(use.settings, sample.fields)
    except Fault as fault:
        raise ProblemError(fault.problem(span=use.span, **fault.facts)) from None
    names = tuple(field.name for field in fields)
    sample.stages.append(Step(Use(use.declaration, settings, use.span), names, names, (False,) * len(names)))
    sample.types.update({field.name: field.type for field in fields})


def is_mask(type_: TensorType) -> bool:
    """Whether a field says of each pixel which class it is: `class(21)[H, W]`."""
    return type_.classes is not None and type_.rank == 2


NEAREST: Final = {"interpolation": "nearest"}
"""How masks are resized: between two classes there is none."""


def _mask(declaration: Transform, settings: Mapping[str, Any], type_: TensorType) -> TensorType:
    """The type of a mask after a transform: what an image of one channel becomes."""
    for inner in _parts(settings):
        _check_fill(inner.declaration, inner.settings, type_)
    _check_fill(declaration, settings, type_)
    image = TensorType("u8", (1, *type_.dims))
    try:
        result = declaration.rule({**settings, **{k: v for k, v in NEAREST.items() if k in settings}}, image)
    except Fault as fault:
        shown = {k: str(type_) if v == str(image) else v for k, v in fault.facts.items()}
        raise Fault(fault.problem, **shown) from None
    if result.rank != 3 or result.dims[0] != 1 or result.dtype != "u8":
        expected = "an image [C, H, W]: it makes no mask of a mask"
        raise Fault(TransformMismatch, transform=declaration.name, expected=expected, found=str(type_))
    return replace(type_, dims=result.dims[1:])


def _check_fill(declaration: Transform, settings: Mapping[str, Any], type_: TensorType) -> None:
    """What stands where an image was moved away must be a class."""
    fill = settings.get("fill") or 0
    if isinstance(type_.classes, int) and not (isinstance(fill, int) and 0 <= fill < type_.classes):
        reason = f"fill={fill} is no class of the mask {type_}: give a class"
        raise Fault(TransformSetting, transform=declaration.name, reason=reason)


def _shown(register: str) -> str:
    """The field behind a value inside a body."""
    return register.partition("'")[0]
