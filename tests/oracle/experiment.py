"""The whole experiment: data into the model, outputs into the loss and the metrics, a few steps of the optimizer."""

import inspect
import re
from typing import Any

import torch

from expc.spec import syntax
from oracle import layers, starts
from oracle.bodies import Runner, is_input, refuse
from oracle.data import Field, by_names, check_loader, sample
from oracle.errors import LanguageRefused, asking
from oracle.library import METRICS, optimizer_class, schedule_class
from oracle.models import Ran, run_model
from oracle.sections import ROLES, Section
from oracle.values import Argument, Frame, Lasting, Pipeline, Place, Quantity, Recipe, Scope, Tensor, Watched

_HOW_TORCH_COMPUTES = ("foreach", "fused", "capturable", "differentiable", "maximize")
_LENGTHS = {"T_max": 100, "total_iters": 100, "total_steps": 100}


def check(
    tree: syntax.File,
    found: dict[str, Section],
    main: Ran | None,
    made: tuple[syntax.Block, tuple[Argument, ...]] | None,
) -> None:
    """Raise what the language or torch has against the experiment around a model."""
    data = found.get("data")
    plans: dict[str, list[Field]] = {}
    if data is not None:
        plans = {role: sample(data.settings[role]) for role in ROLES if data.settings.get(role) is not None}
        check_loader(data)
    fed = None
    if made is not None and data is not None:
        for role, fields in plans.items():
            ran = _feed(
                tree, *made, fields, data.settings.get("batch", 1), learning=role == "train" and "train" in found
            )
            fed = ran if role == "train" or fed is None else fed
    train = found.get("train")
    if train is None:
        return
    if "train" not in plans or main is None:
        refuse("missing role", "train")
    assert fed is not None
    assert data is not None
    if train.settings.get("accumulate", 1) > data.settings.get("batch", 1):
        refuse("accumulate", "more parts than samples")
    terms = _loss(train, fed, plans["train"])
    optimizer = _optimizer(train.settings["optimizer"], {})
    _groups(train, main.frame)
    _schedule(train, optimizer)
    measured = _metrics(train, fed, plans["train"])
    roles = set(plans)
    for section, key in (("train", "early_stop"), ("checkpoint", "best")):
        if section in found and found[section].settings.get(key) is not None:
            _watch(found[section].settings[key], roles, terms, measured)


def _feed(
    tree: syntax.File,
    statement: syntax.Block,
    arguments: tuple[Argument, ...],
    fields: list[Field],
    batch: int,
    learning: bool,
) -> Ran:
    """The model on a batch of the data."""
    names = [parameter.name for parameter in statement.parameters if is_input(parameter)]
    by_name = {field.name: field for field in fields}
    given = {}
    for name in names:
        field = by_name.get(name) or (fields[0] if len(names) == 1 else None)
        if field is None:
            refuse("no field", name)
        given[name] = field.batch(batch)
    ran = run_model(Runner(tree), statement, {}, arguments, given, learning)
    ran.fields = {name: (by_name.get(name) or fields[0]).name for name in names}
    return ran


# ---------------------------------------------------------------------------------------------------- loss


def _loss(train: Section, ran: Ran, fields: list[Field]) -> list[str]:
    """The loss on what the model gives; the names of its terms."""
    value = train.settings["loss"]
    if isinstance(value, syntax.Section):
        names: list[str] = []
        total, kept = torch.zeros((), device="meta"), 0
        for line in value.statements:
            if not isinstance(line, syntax.Bind) or line.target.name is None or line.target.name in names:
                refuse("loss", "a line of it")
            names.append(line.target.name)
            term = _term(train, ran, fields, line.value)
            total = total + term.data
            kept += not term.training_only
        if not kept:
            refuse("training only" if names else "loss", "nothing is left in evaluation")
        _back(total)
        return names
    term = _term(train, ran, fields, value)
    if term.training_only:
        refuse("training only", "the loss")
    _back(term.data)
    return []


def _back(loss: torch.Tensor) -> None:
    """From a loss back to the parameters."""
    with asking("backward"):
        loss.backward()


def _term(train: Section, ran: Ran, fields: list[Field], node: syntax.Expr) -> Tensor:
    """One term: a number."""
    runner: Runner = ran.runner
    outputs, scope, target = _names(ran, fields, train.scope)
    only = next(iter(outputs.values())) if len(outputs) == 1 else None
    flow = (only, scope.names[target]) if only is not None and target is not None else None
    place = Place(scope, flow, Frame("Loss"))
    result = runner.tensor_of(runner.evaluate(node, place), place.at(scope=Scope(scope), wants=True))
    if not isinstance(result, Tensor):
        refuse("loss", "several tensors")
    if result.data.dim():
        refuse("loss", f"no number: {list(result.data.shape)}")
    return result


def _names(ran: Ran, fields: list[Field], outer: Scope) -> tuple[dict[str, Tensor], Scope, str | None]:
    """The outputs and fields by name, in a scope over the file's."""
    scope = Scope(outer)
    names = ran.names or ("output",)
    results = ran.result if ran.names else (ran.result,)
    if not ran.names and isinstance(ran.result, tuple):
        names = tuple(f"output{i}" for i in range(len(ran.result)))
        results = ran.result
    outputs: dict[str, Tensor] = {}
    for name, result in zip(names, results, strict=True):
        outputs[name] = Tensor(result.data, result.known, training_only=result.training_only)
    batch = next(iter(ran.inputs.values())).data.shape[0]
    values: dict[str, Any] = dict(outputs)
    for field in fields:
        if field.name in values:
            refuse("clash", field.name)
        values[field.name] = field.batch(batch)
    values |= {n: v for n, v in ran.scope.names.items() if n[:1].isupper() and isinstance(v, int) and n not in values}
    target = next((field.name for field in fields if field.name not in ran.fields.values()), None)
    if len(outputs) == 1:
        values["output"] = next(iter(outputs.values()))
    if target is not None and "target" not in values:
        values["target"] = values[target]
    scope.names.update(values)
    return outputs, scope, target


# ---------------------------------------------------------------------------------------------------- learning


def _settings(cls: Any, recipe: Recipe, less: tuple[str, ...]) -> dict[str, Any]:
    parameters = {n: p for n, p in inspect.signature(cls.__init__).parameters.items() if n not in ("self", *less)}
    positional = [n for n, p in parameters.items() if p.kind == p.POSITIONAL_OR_KEYWORD]
    required = [n for n in positional if parameters[n].default is inspect.Parameter.empty]
    positional = [n for n in required or positional[:1] if n not in _LENGTHS]
    values = by_names(recipe.name, recipe.arguments, positional, set(parameters))
    for name, value in values.items():
        if not isinstance(value, Quantity | Watched):
            layers.setting(recipe.name, name, parameters[name].annotation, parameters[name].default, value)
    return values


def _optimizer(value: Any, changes: dict[str, Any]) -> torch.optim.Optimizer:
    """torch's optimizer, after a step."""
    cls = optimizer_class(value.name) if isinstance(value, Recipe) and value.target is None else None
    if cls is None:
        refuse("no optimizer", str(value))
    settings = {**_settings(cls, value, ("params", *_HOW_TORCH_COMPUTES)), **changes}
    for name in ("lr", "weight_decay"):
        if isinstance(settings.get(name), bool) or not isinstance(settings.get(name, 0.0), int | float):
            refuse("kind", f"{value.name}: {name}={settings[name]!r}")
    with asking(value.name):
        weight = torch.nn.Parameter(torch.ones(2, 2))
        made = cls([weight], **settings)
        weight.grad = torch.ones(2, 2)
        made.step()
    return made


def _groups(train: Section, frame: Frame) -> None:
    """Groups match something, and say what the optimizer can be told."""
    optimizer = train.settings["optimizer"]
    cls = optimizer_class(optimizer.name)
    known = set(inspect.signature(cls.__init__).parameters) - {"self", "params", *_HOW_TORCH_COMPUTES}
    for line in train.tables:
        if line.name != "group":
            continue
        if line.selector is None:
            refuse("group", "of what")
        is_glob = isinstance(line.selector, syntax.Constant)
        text = line.selector.value if is_glob else line.selector.span.text.replace(" ", "")
        if not starts.matching(frame, str(text), is_glob):
            refuse("matches nothing", str(text))
        changes: dict[str, Any] = {}
        for setting in line.statements:
            if not isinstance(setting, syntax.Bind) or setting.target.name not in known | {"optimizer", "loss"}:
                refuse("group", "a key that the optimizer does not have")
            if setting.target.name in changes:
                refuse("key twice", str(setting.target.name))
            changes[str(setting.target.name)] = Runner(syntax.File((), span=line.span)).evaluate(
                setting.value, Place(train.scope)
            )
        _optimizer(optimizer, changes)


def _schedule(train: Section, optimizer: torch.optim.Optimizer) -> None:
    """torch's schedules, for a few steps; each part but the last says how long it lasts."""
    value = train.settings.get("schedule")
    if value is None:
        return
    parts = list(value.stages) if isinstance(value, Pipeline) else [value]
    total = {"step": 0, "epoch": 0}
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        stage, duration = (part.stage, part.duration) if isinstance(part, Lasting) else (part, None)
        if duration is None and not last:
            refuse("duration", "is not said")
        if duration is not None:
            duration = duration if isinstance(duration, Quantity) else Quantity(duration, "epoch")
            if duration.unit not in total:
                refuse("duration", duration.unit)
            total[duration.unit] += duration.number
        _scheduled(stage, optimizer)
    for unit, key in (("step", "steps"), ("epoch", "epochs")):
        length = train.settings.get(key)
        open_end = not isinstance(parts[-1], Lasting)
        if length is not None and total[unit] and (total[unit] > length or (total[unit] == length and open_end)):
            refuse("duration", f"{total} of {length}")


def _scheduled(stage: Any, optimizer: torch.optim.Optimizer) -> None:
    cls = schedule_class(stage.name) if isinstance(stage, Recipe) and stage.target is None else None
    if cls is None:
        refuse("no schedule", str(stage))
    settings = _settings(cls, stage, ("optimizer", "last_epoch", "verbose"))
    parameters = inspect.signature(cls.__init__).parameters
    if any(isinstance(v, int | float) and v < 0 for v in settings.values()):
        refuse("amount", stage.name)
    settings = {n: v.number if isinstance(v, Quantity) else v for n, v in settings.items()}
    settings |= {name: length for name, length in _LENGTHS.items() if name in parameters and name not in settings}
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    with asking(stage.name):
        made = cls(optimizer, **settings)
        for _ in range(3):
            optimizer.step()
            made.step()


# ---------------------------------------------------------------------------------------------------- measuring


def _metrics(train: Section, ran: Ran, fields: list[Field]) -> dict[str, bool]:
    """What is measured by name, and whether more is better."""
    measured: dict[str, bool] = {}
    value = train.settings.get("metrics", ())
    if isinstance(value, syntax.Section):
        raise LanguageRefused("not covered", "a table of metrics")
    outputs, scope, target = _names(ran, fields, train.scope)
    for recipe in value:
        if recipe.target is not None or recipe.name not in METRICS:
            refuse("no metric", recipe.name)
        if len(outputs) != 1 or target is None:
            refuse("metric", "output and target")
        field = next(field for field in fields if field.name == target)
        name = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])", "_", recipe.name).lower()
        if name in measured:
            refuse("metric twice", name)
        measured[name] = _measure(recipe, next(iter(outputs.values())), scope.names[target], field)
    return measured


def _measure(recipe: Recipe, output: Tensor, target: Tensor, field: Field) -> bool:
    import torchmetrics

    shape = tuple(output.data.shape)
    wanted = torch.rand(target.data.shape) if target.known is None else target.known
    settings = {str(argument.name): argument.value for argument in recipe.arguments}
    if any(argument.name is None for argument in recipe.arguments):
        raise LanguageRefused("positional", recipe.name)
    if recipe.name in ("Accuracy", "Precision", "Recall", "F1Score", "AUROC"):
        if shape in (wanted.shape, (*wanted.shape, 1)) and field.classes in (None, 2):
            cls, scores = getattr(torchmetrics.classification, f"Binary{recipe.name}"), torch.rand(wanted.shape)
            wanted = wanted.round().long()
        else:
            if field.classes is None or len(shape) != wanted.dim() + 1 or shape[1] < 2:
                refuse("metric", f"{recipe.name}: {shape}")
            settings["num_classes"] = shape[1]
            cls, scores = getattr(torchmetrics.classification, f"Multiclass{recipe.name}"), torch.rand(shape)
    elif recipe.name == "Perplexity":
        cls, scores = torchmetrics.text.Perplexity, torch.rand(shape)
    else:
        cls, scores = getattr(torchmetrics, recipe.name), torch.rand(shape)
        if wanted.shape != scores.shape:
            refuse("metric", f"{recipe.name}: {shape}")
    with asking(recipe.name):
        made = cls(**settings)
        made(scores, wanted)
    return bool(made.higher_is_better)


def _watch(recipe: Recipe, roles: set[str], terms: list[str], measured: dict[str, bool]) -> None:
    watched = recipe.arguments[0].value
    better = {"loss": False, **dict.fromkeys(terms, False), **measured}
    if watched.role not in roles or watched.name not in better:
        refuse("watched", f"{watched.role}.{watched.name}")
    if better[watched.name] != (recipe.name == "max"):
        refuse("direction", watched.name)
