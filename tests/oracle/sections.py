"""The settings sections of a file: which keys there are, and what each takes, as docs/language.md says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from expc.spec import syntax
from oracle.bodies import Runner, refuse
from oracle.errors import NotCovered
from oracle.names import names as names_in
from oracle.values import ABSENT, Lasting, Pipeline, Place, Quantity, Recipe, Scope, Watched, Word

ROLES = ("train", "val", "test", "predict")
_TIMES = ("step", "epoch", "second", "minute", "hour")


@dataclass(eq=False)
class Section:
    """A section, evaluated. `tables` are the sections in it."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, syntax.Expr] = field(default_factory=dict)
    tables: list[syntax.Section] = field(default_factory=list)
    inits: list[syntax.Init] = field(default_factory=list)
    scope: Scope = field(default_factory=Scope)


@dataclass(frozen=True, eq=False)
class Part:
    """Part of a data set that `split` divides."""

    split: Recipe
    index: int
    count: int


def whole(least: int) -> Callable[[Any], bool]:
    """A whole number of at least `least`."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _word(*choices: str) -> Callable[[Any], bool]:
    return lambda value: (
        getattr(value, "name", "none" if value is None else "") in choices and not isinstance(value, str)
    )


def _interval(value: Any) -> bool:
    if value is None:
        return True
    counted = isinstance(value, Quantity) and value.unit in ("step", "epoch")
    return (
        isinstance(value, Quantity)
        and value.unit in _TIMES
        and value.number > 0
        and (not counted or value.number == int(value.number))
    )


def _clip(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, Recipe) or value.name not in ("norm", "value") or len(value.arguments) != 1:
        return False
    (argument,) = value.arguments
    number = isinstance(argument.value, int | float) and not isinstance(argument.value, bool)
    return argument.name is None and number and argument.value > 0


def _watch(*further: str) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        if value is None:
            return True
        if not isinstance(value, Recipe) or value.name not in ("max", "min") or not value.arguments:
            return False
        first, *rest = value.arguments
        return first.name is None and isinstance(first.value, Watched) and all(a.name in further for a in rest)

    return accepts


def _bool(value: Any) -> bool:
    return isinstance(value, bool)


def _samples(value: Any) -> bool:
    return value is None or isinstance(value, Recipe | Pipeline)


def _optional(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or kind(value)


def _recipes(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, Recipe) for item in value)


KEYS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "data": {
        **dict.fromkeys(ROLES, _samples),
        "batch": whole(1),
        "shuffle": _bool,
        "workers": whole(0),
        "drop_last": _bool,
        "pin_memory": _bool,
        "persistent_workers": _bool,
        "prefetch_factor": _optional(whole(1)),
    },
    "train": {
        "epochs": _optional(whole(1)),
        "steps": _optional(whole(1)),
        "loss": lambda _: True,
        "optimizer": _optional(lambda value: isinstance(value, Recipe)),
        "schedule": _optional(lambda value: isinstance(value, Recipe | Pipeline | Lasting)),
        "metrics": _recipes,
        "precision": _word("f32", "bf16", "f16", "auto"),
        "accumulate": whole(1),
        "clip": _clip,
        "early_stop": _watch("patience", "min_delta"),
        "seed": whole(0),
        "deterministic": _bool,
    },
    "checkpoint": {"every": _interval, "keep": whole(1), "best": _watch(), "async": _bool},
    "log": {
        "every": _interval,
        "tensorboard": _bool,
        "graph": _bool,
        "histograms": _bool,
        "images": whole(0),
    },
}


def read(tree: syntax.File, runner: Runner) -> dict[str, Section]:
    """Every section by name. Raises `LanguageRefused` for a key or a value that it does not take."""
    found: dict[str, Section] = {}
    for statement in tree.statements:
        if isinstance(statement, syntax.Section):
            if statement.name in ("quantize", "prune", "export", "distributed"):
                raise NotCovered(statement.name)
            if statement.name not in KEYS or statement.name in found or statement.selector is not None:
                refuse("section", statement.name)
            found[statement.name] = _section(statement, runner)
    return found


def _section(statement: syntax.Section, runner: Runner) -> Section:
    section = Section(statement.name, scope=Scope(runner.file))
    for line in statement.statements:
        match line:
            case syntax.Bind():
                _bind(section, line, runner)
            case syntax.Section() if section.name == "train":
                if line.name != "group" and (line.name in section.settings or line.name not in ("loss", "metrics")):
                    refuse("key", line.name)
                section.tables.append(line)
                if line.name != "group":
                    section.settings[line.name] = line
            case syntax.Init() if section.name == "train":
                section.inits.append(line)
            case syntax.If() | syntax.For():
                raise NotCovered("a loop in a section")
            case _:
                refuse("no setting", statement.name)
    if section.name == "data":
        _unused(section, statement)
    for key, value in section.settings.items():
        kinds = KEYS[section.name]
        if key in kinds and not isinstance(value, syntax.Section) and not kinds[key](value):
            refuse("setting", f"{key} = {value}")
    if section.name == "train":
        _train(section)
    return section


def _bind(section: Section, line: syntax.Bind, runner: Runner) -> None:
    key = line.target.name
    place = Place(section.scope)
    if key == "loss" and section.name == "train":
        value: Any = line.value
    elif isinstance(line.value, syntax.Name) and not line.value.id[0].isupper():
        value = runner.meaning(line.value.id, section.scope)
        value = Word(line.value.id) if value is ABSENT else value
    else:
        value = runner.evaluate(line.value, place)
    if key is None:
        value = _parts(value, len(line.target.items))

    def one(name: str, part: Any) -> None:
        if name in section.settings or name in section.nodes:
            refuse("key twice", name)
        if section.name != "data" and name not in KEYS[section.name]:
            refuse("key", name)
        section.settings[name] = part
        section.nodes[name] = line.value
        if section.name == "data":
            section.scope.names[name] = part

    runner.unpack(line.target, value, one)


def _parts(value: Any, count: int) -> Any:
    stages = value.stages if isinstance(value, Pipeline) else ()
    places = [i for i, stage in enumerate(stages) if isinstance(stage, Recipe) and stage.name == "split"]
    if not places:
        return value
    at = places[-1]
    return tuple(Pipeline((*stages[:at], Part(stages[at], i, count), *stages[at + 1 :])) for i in range(count))


def _unused(section: Section, statement: syntax.Section) -> None:
    """A name of `data` that no role and no stage uses."""
    mentioned = {name for line in statement.statements for name in names_in(getattr(line, "value", None))}
    for name in section.settings:
        if name not in KEYS["data"] and name not in mentioned:
            refuse("unused", name)


def _train(section: Section) -> None:
    given = {key for key, value in section.settings.items() if value is not None}
    if len(given & {"epochs", "steps"}) != 1 or not {"loss", "optimizer"} <= given:
        refuse("missing key", "train")
