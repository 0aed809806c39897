"""Runs one model at given sizes, and at many: what torch says about it for every size."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from expc.spec import syntax
from oracle import layers, starts
from oracle.arithmetic import Unknown
from oracle.bodies import Runner, is_input
from oracle.errors import LanguageRefused, NotCovered, Refused, TorchRefused
from oracle.names import names as names_in
from oracle.values import ABSENT, Argument, Frame, Place, Recipe, Scope, Tensor

BATCHES = (3, 4100, 5, 7)
SEQUENCES = (7, 16, 9, 12)
SIDES = (1023, 1024, 1100, 1441)
SMALLER = (2, 4, 8, 16, 32, 64, 128, 256, 512)
_STEP = 97
_MUCH = 50_000
_TOO_SMALL = ("greater than actual input size", "Output size is too small", "Padding size should be less")
"""What torch says where a larger size would do: a mere lower bound, which nobody needs to write."""
_TOO_LARGE = "Storage size calculation overflowed"
"""What torch says of a size that no machine holds."""


@dataclass
class Ran:
    """One run of a model."""

    result: Any
    """Tensors (`Tensor`), in the order of the named results."""
    names: tuple[str, ...]
    """The names of the results, where they have some."""
    inputs: dict[str, Tensor]
    frame: Frame
    runner: Runner
    scope: Scope
    fields: dict[str, str] = field(default_factory=dict)
    """The field of the data that feeds each input."""

    def shapes(self) -> Any:
        """The shapes of the results."""

        def of(value: Any) -> Any:
            return tuple(value.data.shape) if isinstance(value, Tensor) else tuple(map(of, value))

        return of(self.result)


def find(tree: syntax.File, name: str) -> syntax.Block:
    """The model (or block) called `name`."""
    return next(s for s in tree.statements if isinstance(s, syntax.Block) and s.name == name)


def forward(
    tree: syntax.File,
    model: str,
    sizes: Mapping[str, int],
    settings: Mapping[str, Any] | None = None,
    given: Mapping[str, Tensor] | None = None,
    training: bool = True,
) -> Ran:
    """Run a model on the meta device: `sizes` are those of its inputs' named dimensions.

    `settings` replace defaults; `given` are inputs that are there already. Raises `LanguageRefused`, `TorchRefused`
    and `NotCovered`.
    """
    arguments = tuple(Argument(name, value) for name, value in (settings or {}).items())
    return run_model(Runner(tree, training), find(tree, model), dict(sizes), arguments, given or {})


def run_model(
    runner: Runner,
    statement: syntax.Block,
    sizes: dict[str, int],
    arguments: tuple[Argument, ...],
    given: Mapping[str, Tensor],
    learning: bool = False,
) -> Ran:
    """Run a model on a fresh runner; `learning`: so that its results have gradients."""
    scope = Scope(runner.file)
    runner.fill(tuple(p for p in statement.parameters if not is_input(p)), arguments, scope)
    inputs: dict[str, Tensor] = {}
    free = free_names(statement, runner.file)
    for parameter in statement.parameters:
        if is_input(parameter):
            assert parameter.type is not None
            tensor = given.get(parameter.name)
            if tensor is None:
                scope.names.update({n: Unknown(sizes[n]) for n in free if n in names_in(parameter.type) and n in sizes})
                tensor = _declared(runner, parameter.type, scope)
            else:
                runner.match(parameter.type, tensor, scope)
            inputs[parameter.name] = tensor
            runner.bind(parameter.name, tensor, scope)
    if not inputs:
        raise LanguageRefused("no input", statement.name)
    for condition in statement.conditions:
        if not runner.condition(condition, Place(scope)):
            raise LanguageRefused("where", "does not hold")
    runner.trace.clear()
    frame = Frame(statement.name)
    place = Place(scope, next(iter(inputs.values())), frame, wants=True)
    runner.active.append(id(statement))
    try:
        with torch.set_grad_enabled(learning):
            result = runner.statements(statement, place)
    finally:
        runner.active.pop()
    if not learning:  # a start after the run would look to autograd as if weights changed on the way
        starts.check(frame)
    fields = statement.result.fields if isinstance(statement.result, syntax.RecordTypeExpr) else ()
    return Ran(result, tuple(field.name for field in fields), inputs, frame, runner, scope)


def _declared(runner: Runner, type_: syntax.TypeExpr, scope: Scope) -> Tensor:
    if isinstance(type_, syntax.ClassTypeExpr):
        nodes, dtype = type_.dims or (), torch.int64
    else:
        assert isinstance(type_, syntax.TensorTypeExpr)
        nodes = type_.dims or ()
        if type_.dtype not in layers.DTYPES:
            raise LanguageRefused("dtype", type_.dtype)
        dtype = layers.DTYPES[type_.dtype]
    if any(isinstance(node, syntax.Star) for node in nodes):
        raise LanguageRefused("star", "in a model's input")
    dims = [runner.size(node, Place(scope)) for node in nodes]
    if 0 in dims:
        raise LanguageRefused("empty", "an input of no elements")
    return Tensor(torch.empty(dims, dtype=dtype, device="meta"))


def free_names(statement: syntax.Block, file: Scope) -> list[str]:
    """The names of dimensions that nothing fixes, in the order of the text."""
    found: dict[str, None] = {}
    for parameter in statement.parameters:
        if is_input(parameter):
            for node in getattr(parameter.type, "dims", None) or ():
                for name in sorted(names_in(node)):
                    if name[:1].isupper() and file.lookup(name) is ABSENT:
                        found[name] = None
    settings = {p.name for p in statement.parameters if not is_input(p)}
    return [name for name in found if name not in settings]


# ---------------------------------------------------------------------------------------------------- at many sizes


def check_model(tree: syntax.File, statement: syntax.Block, arguments: tuple[Argument, ...] = ()) -> Ran:
    """Run a model at several sizes that its `where` allows. Raises what the language or torch has against one of them.

    Sizes are large, since mere lower bounds need not be written. What is decided when the model is built (its weights,
    the branches taken) must be the same at every size.
    """
    try:
        return _check_at(tree, statement, arguments, 0)
    except TorchRefused as refused:
        if not any(words in refused.message for words in _TOO_SMALL):
            raise
        return _check_at(tree, statement, arguments, _MUCH)


def _check_at(tree: syntax.File, statement: syntax.Block, arguments: tuple[Argument, ...], more: int) -> Ran:
    runner = Runner(tree)
    free = free_names(statement, runner.file)
    chosen = list(_choices(tree, statement, free, arguments, more))
    if not chosen:
        raise LanguageRefused("where", "never holds")
    runs, traces = [], []
    for sizes in chosen[:-1]:
        runner = Runner(tree)
        try:
            run = run_model(runner, statement, sizes, arguments, {})
        except TorchRefused as refused:
            if runs and _TOO_LARGE in refused.message:
                continue
            raise
        runs.append(run)
        traces.append(runner.trace)
        if not free:
            break
    if _compares_sizes(traces):
        traces += _traces_at_smaller(tree, statement, free, arguments)
    if free:
        smallest = Runner(tree)
        with suppress(Refused, NotCovered):
            run_model(smallest, statement, chosen[-1], arguments, {})
        traces.append(smallest.trace)
    _same_decisions(traces)
    return runs[0]


def _compares_sizes(traces: list[list[tuple[str, Any]]]) -> bool:
    """Whether some comparison is about unknown sizes."""
    return any(
        {kind for kind, _ in steps} == {"compare"} and len({difference for _, (_, difference, _) in steps}) > 1
        for steps in zip(*traces, strict=False)
    )


def _traces_at_smaller(
    tree: syntax.File, statement: syntax.Block, free: list[str], arguments: tuple[Argument, ...]
) -> Iterator[list[tuple[str, Any]]]:
    """The decisions at sizes between the smallest and the large ones, as far as torch takes them."""
    for size in SMALLER:
        sizes = {name: BATCHES[0] if name == _batch_name(statement) else size for name in free}
        runner = Runner(tree)
        with suppress(Refused, NotCovered):
            run_model(runner, statement, sizes, arguments, {})
            yield runner.trace


def _same_decisions(traces: list[list[tuple[str, Any]]]) -> None:
    for steps in itertools.zip_longest(*traces):
        there = [step for step in steps if step is not None]
        kinds = {kind for kind, _ in there}
        values = [value for _, value in there]
        if len(kinds) == 1 and kinds == {"compare"}:
            if len({result for _, _, result in values}) > 1 or len({_sign(d) for _, d, _ in values}) > 1:
                raise LanguageRefused("undecided", "a comparison of sizes that are not known")
        elif any(value != values[0] for value in values):
            raise LanguageRefused("undecided", f"{kinds}: {values[0]}")


def _sign(value: Any) -> int:
    return (value > 0) - (value < 0)


def _choices(
    tree: syntax.File, statement: syntax.Block, free: list[str], arguments: tuple[Argument, ...], more: int
) -> Iterator[dict[str, int]]:
    """Sizes that `where` allows, all larger by `more`; the last are the smallest."""
    runner = Runner(tree)
    scope = Scope(runner.file)
    runner.fill(tuple(p for p in statement.parameters if not is_input(p)), arguments, scope)

    def allowed(sizes: dict[str, int]) -> bool:
        here = Scope(scope, {name: Unknown(size) for name, size in sizes.items()})
        try:
            return all(runner.condition(c, Place(here)) for c in statement.conditions if names_in(c) & set(sizes))
        except LanguageRefused as refused:
            if refused.rule == "arithmetic":
                return False
            raise

    for condition in statement.conditions:
        if not names_in(condition) & set(free) and not runner.condition(condition, Place(scope)):
            return
    batch = _batch_name(statement)
    recurrent = any(word in str(names_in(tree)) for word in ("'LSTM'", "'GRU'", "'RNN'"))
    for number in range(len(BATCHES)):
        sizes: dict[str, int] = {}
        for position, name in enumerate(free):
            around = BATCHES[number] if name == batch else (SEQUENCES if recurrent else SIDES)[number]
            around += _STEP * position if name != batch and not recurrent else position
            sizes |= _nearest(name, around + more, sizes, allowed)
            if name not in sizes:
                return
        if allowed(sizes):
            yield sizes
    sizes = {}
    for name in free:
        sizes |= _nearest(name, 1, sizes, allowed)
    yield sizes


def _nearest(name: str, around: int, sizes: dict[str, int], allowed: Any) -> dict[str, int]:
    """A size for `name` that the conditions allow, near `around`; above it where there is one."""
    for size in (*range(around, around + 400), *range(around - 1, 0, -1), *range(around + 400, around + 4000)):
        if allowed({**sizes, name: size}):
            return {name: size}
    return {}


def _batch_name(statement: syntax.Block) -> str | None:
    for parameter in statement.parameters:
        dims = getattr(parameter.type, "dims", None)
        if dims and isinstance(dims[0], syntax.Name):
            return dims[0].id
    return None


def recipe_model(runner: Runner, statement: syntax.ModelOf) -> tuple[syntax.Block, tuple[Argument, ...]]:
    """The model behind `model NAME = recipe`."""
    value = runner.evaluate(statement.value, Place(runner.file))
    if not isinstance(value, Recipe) or not isinstance(value.target, syntax.Block) or value.target.kind != "model":
        raise LanguageRefused("model of no model", statement.name)
    return value.target, value.arguments
