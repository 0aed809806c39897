"""The kinds of values that settings take, besides numbers, truth values and words: each with its name for people.

A kind is written once here and read three times: by Pydantic when a section is validated, by the messages about a value
that does not fit, and by the reference pages.
"""

from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from expc.frozen import dataclass
from expc.spec.suggest import enumeration
from expc.spec.values import (
    UNEVALUATED,
    UNITS_OF_TIME,
    Closure,
    Given,
    Lasting,
    Part,
    Pipeline,
    Quantity,
    Recipe,
    Table,
    Watched,
    Word,
    show,
)

Verdict = Literal["fits", "type", "range", "unit", "reported"]
"""What is wrong with a value, if anything; `reported`: it rests on a value that was reported already."""


@dataclass(frozen=True)
class Kind:
    """Marks an annotation: what such a value is called in a message, and how to tell whether a value is one."""

    words: str
    judge: Callable[[Any], Verdict]
    note: str = ""
    """What a message about such a value adds."""

    def check(self, value: Any) -> Any:
        """The value itself. Raises an error whose type is the verdict, for the binding step to translate."""
        verdict = self.judge(value)
        if verdict == "fits":
            return value
        raise PydanticCustomError(verdict, "expected {words}", {"words": self.words})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(show, when_used="json")
        return core_schema.no_info_plain_validator_function(self.check, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "description": self.words}


def _instance(*classes: type) -> Callable[[Any], Verdict]:
    return lambda value: "fits" if isinstance(value, classes) else "type"


def _each(judge: Callable[[Any], Verdict]) -> Callable[[Any], Verdict]:
    def of_all(value: Any) -> Verdict:
        if not isinstance(value, tuple):
            return "type"
        return next((verdict for verdict in map(judge, value) if verdict != "fits"), "fits")

    return of_all


def _interval(value: Any) -> Verdict:
    if not isinstance(value, Quantity):
        return "type"
    if value.unit not in UNITS_OF_TIME:
        return "unit"
    counted = value.unit in ("step", "epoch")
    return "range" if value.number <= 0 or (counted and value.number != int(value.number)) else "fits"


def _time(value: Any) -> Verdict:
    verdict = _interval(value)
    return "unit" if verdict == "fits" and value.unit in ("step", "epoch") else verdict


def _call(value: Any, names: tuple[str, ...]) -> tuple[Given, ...] | None:
    return value.arguments if isinstance(value, Recipe) and value.name in names else None


def _clip(value: Any) -> Verdict:
    arguments = _call(value, ("norm", "value"))
    if arguments is None or len(arguments) != 1 or arguments[0].name is not None:
        return "type"
    limit = arguments[0].value
    if limit is UNEVALUATED:
        return "reported"
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return "type"
    return "fits" if limit > 0 else "range"


def clip_fits(value: Any) -> bool:
    """Whether a value is a `clip`."""
    return _clip(value) == "fits"


def _watch(value: Any) -> Verdict:
    arguments = _call(value, ("max", "min"))
    if not arguments:
        return "type"
    if any(argument.value is UNEVALUATED for argument in arguments):
        return "reported"
    first, *rest = arguments
    named = first.name is None and all(argument.name is not None for argument in rest)
    return "fits" if named and isinstance(first.value, Watched) else "type"


def _early_stop(value: Any) -> Verdict:
    verdict = _watch(value)
    if verdict != "fits":
        return verdict
    if not any(argument.name == "patience" for argument in value.arguments):
        return "type"
    for argument in value.arguments[1:]:
        verdict = _stop_setting(str(argument.name), argument.value)
        if verdict != "fits":
            return verdict
    return "fits"


def _stop_setting(name: str, value: Any) -> Verdict:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name == "patience" and whole:
        return "fits" if value >= 1 else "range"
    if name in ("min_delta", "baseline") and (whole or isinstance(value, float)):
        return "fits" if value >= 0 or name == "baseline" else "range"
    return "type"


def _best(value: Any) -> Verdict:
    verdict = _watch(value)
    return "type" if verdict == "fits" and len(value.arguments) > 1 else verdict


def _selector(value: Any) -> Verdict:
    return "fits" if isinstance(value, str) or (isinstance(value, Word) and value.name[:1].isupper()) else "type"


def _selectors(value: Any) -> Verdict:
    return "fits" if value == () else _each(_selector)(value)


def _freeze(value: Any) -> Verdict:
    if not isinstance(value, Lasting):
        return _selectors(value)
    verdict = _selectors(value.stage)
    if verdict != "fits":
        return verdict
    if not isinstance(value.duration, Quantity):
        return "range" if value.duration < 1 else "fits"
    return _interval(value.duration) if value.duration.unit in ("step", "epoch") else "unit"


def _recompute(value: Any) -> Verdict:
    if isinstance(value, int) and not isinstance(value, bool):
        return "fits" if value >= 2 else "range"
    return _selectors(value)


_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""The modes of `torch.compile`."""


def _compile(value: Any) -> Verdict:
    return "fits" if isinstance(value, bool) or str(value) in _MODES else "type"


def _share(value: Any) -> Verdict:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "type"
    return "fits" if 0 < value < 1 else "range"


def _amount(value: Any) -> Verdict:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "type"
    return "fits" if (isinstance(value, int) and value >= 1) or 0 < value < 1 else "range"


def _metrics(value: Any) -> Verdict:
    return "fits" if isinstance(value, Table) else _each(_instance(Recipe))(value)


Samples = Annotated[
    Recipe | Pipeline | Part,
    Kind('a data set and its transforms, such as `MNIST("data") -> ToTensor`', _instance(Recipe, Pipeline, Part)),
]
Loss = Annotated[
    Recipe | Closure | Pipeline | Table,
    Kind(
        "a loss such as `CrossEntropyLoss`, an expression over outputs and fields, or a table of named terms",
        _instance(Recipe, Closure, Pipeline, Table),
    ),
]
Sampler = Annotated[Recipe, Kind('a sampler such as `WeightedRandomSampler("balanced")`', _instance(Recipe))]
Optimizer = Annotated[Recipe, Kind("an optimizer such as `AdamW(lr=1e-3)`", _instance(Recipe))]
Schedule = Annotated[
    Recipe | Pipeline | Lasting,
    Kind("a schedule such as `CosineAnnealingLR`, or a chain of them", _instance(Recipe, Pipeline, Lasting)),
]
Metrics = Annotated[
    tuple[Recipe, ...] | Table,
    Kind("a list of metrics such as `[Accuracy]`, or a table of named ones", _metrics),
]
Clip = Annotated[Recipe, Kind("`norm(x)` or `value(x)` with a number `x` above 0", _clip)]
EarlyStop = Annotated[
    Recipe,
    Kind(
        "`min(...)` or `max(...)` of a measured value, such as `min(val.loss, patience=5)`",
        _early_stop,
        "it takes `patience`, a whole number of at least 1, and may take `min_delta`, a number of at least 0, and "
        "`baseline`, the number to be better than",
    ),
]
Best = Annotated[Recipe, Kind("`max(...)` or `min(...)` of a measured value, such as `max(val.accuracy)`", _best)]
Interval = Annotated[
    Quantity,
    Kind("an interval above 0 with its unit, such as `50 steps`, `1 epochs` or `30 min`, or `none`", _interval),
]
Time = Annotated[Quantity, Kind("a time above 0 with its unit, such as `30 min`, `2 h` or `90 s`", _time)]
Patterns = Annotated[
    tuple[str | Word, ...],
    Kind('a list of names such as `["layer3.*"]`, or of classes and blocks such as `[Conv2d]`', _selectors),
]
Freeze = Annotated[
    tuple[str | Word, ...] | Lasting,
    Kind('a list of names such as `["conv1.*"]`, or one with a time, `["conv1.*"] for 2 epochs`', _freeze),
]
Recompute = Annotated[
    tuple[str | Word, ...] | int,
    Kind('a list of names such as `["layer3.*"]`, or the number of segments, at least 2', _recompute),
]
Compile = Annotated[
    bool | str, Kind('`true`, `false`, or a mode of `torch.compile` such as `"max-autotune"`', _compile)
]
Share = Annotated[float, Kind("a number between 0 and 1, such as `0.999`", _share)]
Portion = Annotated[float, Kind("a number between 0 and 1, such as `0.25`", _share)]
Amount = Annotated[
    float | int, Kind("a share between 0 and 1, such as `0.3`, or a whole number of at least 1", _amount)
]
Groups = Annotated[
    tuple[Table, ...], Kind('a section such as `group "*.bias" { weight_decay = 0 }`', _each(_instance(Table)))
]
Inits = Annotated[tuple[Table, ...], Kind('a line such as `init "*.bias" = zeros`', _each(_instance(Table)))]


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The words that a setting chooses among; empty for a setting that takes something else."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def words(field: FieldInfo) -> str:
    """What a setting takes, for people: `a whole number of at least 1`, `` `true` or `false` ``."""
    return _words(field.annotation, tuple(field.metadata))


def _words(annotation: Any, metadata: tuple[Any, ...]) -> str:
    annotation, metadata = _bare(annotation, metadata)
    kind = next((item for item in metadata if isinstance(item, Kind)), None)
    if kind is not None:
        return kind.words
    if get_origin(annotation) is Literal:
        return enumeration([f"`{choice}`" for choice in get_args(annotation)], "or")
    if annotation is bool:
        return "`true` or `false`"
    if annotation is str:
        return 'a string such as `"net.onnx"`'
    if annotation is int:
        least = next((item.ge for item in _flat(metadata) if getattr(item, "ge", None) is not None), None)
        return "a whole number" if least is None else f"a whole number of at least {least}"
    raise TypeError(f"a setting of type {annotation} has no name for people")


def note(field: FieldInfo) -> tuple[str, ...]:
    """What a message about a setting's value adds, if anything."""
    _, metadata = _bare(field.annotation, tuple(field.metadata))
    return tuple(item.note for item in metadata if isinstance(item, Kind) and item.note)


def _bare(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """An annotation without `Annotated` and `None`, and what they said about it."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _bare(parts[0], (*parts[1:], *metadata))
    if NoneType in parts and len(parts) == 2:
        return _bare(next(part for part in parts if part is not NoneType), metadata)
    return annotation, metadata


def _flat(metadata: tuple[Any, ...]) -> list[Any]:
    return [inner for item in metadata for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]
