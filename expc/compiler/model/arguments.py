"""Which argument is for which parameter, and whether it is of the right kind."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from expc.compiler.arithmetic import describe
from expc.compiler.errors.arguments import MissingArgument, TooManyArguments, UnknownArgument, WrongArgument
from expc.compiler.errors.names import DuplicateName
from expc.compiler.errors.stages import Misplaced
from expc.compiler.graph import Value
from expc.compiler.model.scope import ModuleRef, TensorRef, WeightRef
from expc.compiler.ops.declare import Operator, Param
from expc.compiler.ops.inner import inner
from expc.compiler.ops.table import operators
from expc.diagnostics import Edit, Fix, Label, Problem, ProblemError, Span
from expc.diagnostics.problem import Safety
from expc.spec import syntax
from expc.spec.repairs import repairs
from expc.spec.suggest import is_slip, nearest
from expc.spec.values import UNEVALUATED, Given, Recipe, Word, show

_OTHER_NAMES: Final = {"axis": "dim", "axes": "dim", "keepdims": "keepdim"}
"""What NumPy calls the arguments of torch's functions."""

_OF_BODIES: Final = (Value, ModuleRef, TensorRef, WeightRef)
"""What only a body has, and no setting takes."""

_WITHOUT_EFFECT: Final = frozenset({"device", "inplace", "memory_format", "name", "out", "requires_grad"})
"""Arguments that change no shape: after an error they are left out, and what follows is checked all the same."""


def assign(
    name: str, params: Sequence[Param], positional: Sequence[Param], given: Sequence[Given], span: Span
) -> dict[str, Given]:
    """Each argument by the name of its parameter. Raises `ProblemError` for one that there is none for.

    Of two arguments for one parameter the later counts: calling a recipe again changes its settings. In one call, which
    stands at `span`, each has one.
    """
    if not given:
        return {}
    by_name = {param.name: param for param in params}
    positional = [param for param in positional if not param.by_name and not param.rest]
    rest = next((param for param in params if param.rest), None)
    assigned: dict[str, Given] = {}
    further: dict[str, Any] = {}
    position = 0
    extra: list[Given] = []
    for argument in given:
        if argument.name is None:
            while position < len(positional) and positional[position].name in assigned:
                position += 1
            if position == len(positional):
                extra.append(argument)
                continue
            param = positional[position]
            if param.variadic and not isinstance(argument.value, tuple):
                before = assigned.get(f"*{param.name}")
                values = (*(before.value if before else ()), argument.value)
                place = before.span.to(argument.span) if before else argument.span
                assigned[f"*{param.name}"] = Given(param.name, values, place)
                continue
            position += 1
            assigned[param.name] = argument
        elif argument.name in by_name and not by_name[argument.name].rest:
            for before in (assigned.get(argument.name), assigned.get(f"*{argument.name}")):
                _refuse_second(argument.name, before, argument, span)
            assigned[argument.name] = argument
        elif rest is not None:
            further[argument.name] = argument.value
            assigned[rest.name] = Given(rest.name, dict(further), span)
        else:
            raise ProblemError(unknown_argument(name, argument, by_name))
    if extra:
        raise ProblemError(_too_many(name, positional, assigned, extra, params, span))
    for key in [key for key in assigned if key.startswith("*")]:
        assigned[key[1:]] = assigned.pop(key)
    return assigned


def _refuse_second(word: str, before: Given | None, argument: Given, call: Span) -> None:
    """Refuse a second argument for one parameter in one call. Raises `ProblemError`."""
    if before is not None and call.covers(before.span) and call.covers(argument.span):
        labels = (Label(before.span, "the first is here"),)
        raise ProblemError(DuplicateName(span=argument.span, word=word, reason="is given twice", labels=labels))


def match_settings(
    name: str, params: Sequence[Param], positional: Sequence[Param], given: Sequence[Given], span: Span
) -> dict[str, Any]:
    """Every setting by name, defaults filled in; inferred ones that are not given are `REQUIRED` or their default.

    Raises `ProblemError` for the first argument that is wrong or missing.
    """
    assigned = assign(name, params, positional, given, span)
    return {param.name: setting(name, param, assigned.get(param.name), span) for param in params}


def setting(name: str, param: Param, given: Given | None, span: Span) -> Any:
    """The value of one setting. Raises `ProblemError` when it is missing or of the wrong kind."""
    if given is None:
        if param.required and not param.rest:
            hint = f" ({param.kind.words})" if param.kind.words else ""
            raise ProblemError(MissingArgument(span=span, operator=name, what=f"`{param.name}`{hint}"))
        if param.rest:
            return {}
        return param.default
    value = _inner(given.value, span) if param.layer else given.value
    if is_lost(value) or accepts(param, value):
        return value
    place = value_place(given)
    fixes = repairs(param.name, value, place, (), lambda guess: accepts(param, guess))
    if isinstance(value, str) and (near := nearest(value, param.kind.choices)) is not None:
        fixes = (Fix(f"write `{show(near)}`", (Edit(place, show(near)),), _surely(value, near)),)
    expected = param.kind.words
    raise ProblemError(
        WrongArgument(
            span=place, operator=name, parameter=param.name, expected=expected, found=found(value), fixes=fixes
        )
    )


def _inner(value: Any, span: Span) -> Any:
    """A recipe of one of torch's layers as `Inner`, its settings matched; anything else unchanged."""
    if not isinstance(value, Recipe) or value.target is not None:
        return value
    operator = operators().get(value.name)
    if operator is None or operator.kind != "layer":
        return value
    place = value.span or span
    return inner(
        operator, match_settings(operator.name, operator.settings, operator.positional, value.arguments, place)
    )


def value_place(given: Given) -> Span:
    """Where the value of an argument stands, without the name before it."""
    head, sign, value = given.span.text.partition("=")
    if given.name is None or not sign or head.strip() != given.name:
        return given.span
    return Span(given.span.source, given.span.end - len(value.lstrip()), given.span.end)


def is_lost(value: Any) -> bool:
    """Whether a value, or a part of it, could not be worked out and was reported already."""
    if value is UNEVALUATED:
        return True
    if isinstance(value, tuple):
        return any(part is UNEVALUATED for part in value)
    return isinstance(value, dict) and any(map(is_lost, value.values()))


def accepts(param: Param, value: Any) -> bool:
    """Whether a value is of the parameter's kind."""
    if isinstance(value, _OF_BODIES):
        return False
    return param.kind.accepts(value)


def found(value: Any) -> str:
    """A value in words, for "but is ..."."""
    if isinstance(value, Value):
        return f"a tensor {value.type}"
    if isinstance(value, TensorRef | WeightRef):
        return "a tensor"
    if isinstance(value, ModuleRef):
        return f"the module `{value.name}`"
    if isinstance(value, Word):
        return f"`{value}`, which is not defined"
    return describe(value)


def match_parameters(
    name: str, parameters: Iterable[syntax.Parameter], arguments: tuple[Given, ...], span: Span
) -> dict[str, Any]:
    """Arguments by the names of the parameters that they are for. Raises `ProblemError`.

    Positional ones fill the parameters in order; an argument that a recipe had already is replaced by a later one. In
    one call, which stands at `span`, each parameter has one.
    """
    names = [parameter.name for parameter in parameters]
    values: dict[str, Any] = {}
    first: dict[str, Given] = {}
    position = 0
    for argument in arguments:
        if argument.name is not None:
            if argument.name not in names:
                raise ProblemError(unknown_argument(name, argument, names))
            _refuse_second(argument.name, first.get(argument.name), argument, span)
            values[argument.name], first[argument.name] = argument.value, argument
            continue
        while position < len(names) and names[position] in values:
            position += 1
        if position == len(names):
            given = sum(argument.name is None for argument in arguments)
            expected = f"at most {len(names)} argument{'s' * (len(names) != 1)}" if names else "no arguments"
            raise ProblemError(TooManyArguments(span=argument.span, operator=name, expected=expected, found=f"{given}"))
        values[names[position]], first[names[position]] = argument.value, argument
    return values


def unknown_argument(name: str, argument: Given, known: Iterable[str]) -> UnknownArgument:
    """The problem of an argument whose name the operator does not have."""
    start = argument.span.start
    place = Span(argument.span.source, start, start + len(str(argument.name)))
    names = list(known)
    other = _OTHER_NAMES.get(str(argument.name))
    near = other if other in names else nearest(str(argument.name), names)
    if near is None and argument.name in _WITHOUT_EFFECT:
        hint = "; nothing depends on it here: leave it out"
        fix = Fix("leave it out", (Edit(_with_comma(argument.span), ""),), "safe")
        return UnknownArgument(span=place, operator=name, word=str(argument.name), hint=hint, fixes=(fix,))
    if near is None:
        hint = f"; it has {', '.join(f'`{other}`' for other in names)}" if 0 < len(names) <= 12 else ""
        return UnknownArgument(span=place, operator=name, word=str(argument.name), hint=hint)
    fix = Fix(f"write `{near}`", (Edit(place, near),), _surely(str(argument.name), near))
    hint = f"; did you mean `{near}`?"
    return UnknownArgument(span=place, operator=name, word=str(argument.name), hint=hint, fixes=(fix,))


def _with_comma(span: Span) -> Span:
    """An argument and the comma that separates it from another."""
    text = span.source.text
    before = re.search(r"\s*,\s*$", text[max(0, span.start - 80) : span.start])
    after = None if before is not None else re.match(r"\s*,\s*", text[span.end :])
    start = span.start if before is None else span.start - len(before[0])
    return Span(span.source, start, span.end if after is None else span.end + after.end())


def _surely(word: str, near: str) -> Safety:
    """Whether a word of the file is surely meant to be one that there is."""
    return "safe" if is_slip(word, near) or _OTHER_NAMES.get(word) == near else "unsafe"


def known_names(operator: Operator, given: Iterable[Given], add: Callable[[Problem], None]) -> Iterator[Given]:
    """The arguments, those with a name that was surely meant to be another under that one, which is reported.

    So a slip does not hide what comes after it. What is left is refused where it is matched.
    """
    params = operator.arguments if operator.kind == "function" else operator.settings
    names = [param.name for param in params]
    given = list(given)
    taken = {argument.name for argument in given}
    open_ended = any(param.rest for param in params)
    for argument in given:
        word, value = argument.name, argument.value
        if word is None or word in operator.names or open_ended or isinstance(value, ModuleRef | WeightRef):
            yield argument
            continue
        problem = unknown_argument(operator.name, argument, names)
        near = problem.fixes[0].edits[0].text if problem.fixes else ""
        if near and near not in taken:
            add(problem)
            yield replace(argument, name=near)
        elif word in _WITHOUT_EFFECT:
            add(problem)
        else:
            yield argument


def refuse_tensors(name: str, inputs: Iterable[str], given: Iterable[Given], span: Span) -> None:
    """Refuse tensors among the settings of a layer or a block, whose `inputs` are piped in. Raises `ProblemError`."""
    given, inputs = list(given), set(inputs)
    piped = [
        argument
        for argument in given
        if argument.name in inputs or (argument.name is None and is_tensor(argument.value))
    ]
    if not piped:
        return
    flow = ", ".join(_text(argument, span).rpartition("=")[2].strip() for argument in piped)
    rest = ", ".join(_text(argument, span) for argument in given if argument not in piped)
    call = f"{f'({flow})' if len(piped) > 1 else flow} -> {name}{f'({rest})' if rest else ''}"
    what = f"`{piped[0].span.text}` is a tensor, and tensors are piped in: `{call}`"
    fix = Fix(f"write `{call}`", (Edit(span, call),), "safe")
    raise ProblemError(Misplaced(span=piped[0].span, what=what, fixes=(fix,)))


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor that flows, or several."""
    return isinstance(value, Value) or (isinstance(value, tuple) and any(map(is_tensor, value)))


def _text(given: Given, call: Span) -> str:
    """An argument as it is written in the call, or its value where it was given elsewhere."""
    inside = given.span.source is call.source and call.start <= given.span.start and given.span.end <= call.end
    return given.span.text if inside else str(given) if given.name is not None else show(given.value)


def _too_many(
    name: str,
    positional: Sequence[Param],
    assigned: dict[str, Given],
    extra: list[Given],
    params: Sequence[Param],
    span: Span,
) -> TooManyArguments:
    takes = ", ".join(f"`{param.name}`" for param in positional)
    if not positional:
        expected = "no argument without a name"
    else:
        expected = f"{len(positional)} without {'names' if len(positional) > 1 else 'a name'}: {takes}"
    count = len(positional) + len(extra)
    inferred = [param for param in params if param.inferred]
    notes: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    written = [given for given in assigned.values() if given.name is None] + extra
    if inferred and len(extra) <= len(inferred):
        names = ", ".join(f"`{param.name}`" for param in inferred)
        notes = (f"{names}: follow{'s' * (len(inferred) == 1)} from the input, so it is not written without its name",)
        kept = [_text(given, span) for given in written[len(extra) :] if given.name is None]
        named = [_text(given, span) for given in assigned.values() if given.name is not None]
        call = f"{name}({', '.join([*kept, *named])})" if kept or named else name
        fixes = (Fix(f"write `{call}`", (Edit(span, call),)),)
    return TooManyArguments(
        span=(written[0] if fixes else extra[0]).span,
        operator=name,
        expected=expected,
        found=f"{count}",
        notes=notes,
        fixes=fixes,
    )
