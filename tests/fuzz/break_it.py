"""Programs with one thing changed: a size, a dtype, a setting, an input. Whether that breaks them is torch's to say."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from fuzz.draw import Draw
from fuzz.terms import (
    Bind,
    Branch,
    Infix,
    Inline,
    Input,
    Operate,
    Program,
    Ref,
    Refs,
    Repeat,
    Subscript,
    Sym,
)


def broken(d: Draw, program: Program) -> Program | None:
    """The program with one change; none where there is nothing to change."""
    changed = copy.deepcopy(program)
    places = list(_places(changed))
    return d.choice(places)(d, changed) if places else None


Change = Callable[[Draw, Program], "Program | None"]


def _places(program: Program) -> Iterator[Change]:
    for entry in (*program.inputs, *program.inputs):
        if entry.dims:
            yield lambda d, p, entry=entry: _another_size(d, p, entry)
        yield lambda d, p, entry=entry: _another_rank(d, p, entry)
        yield lambda d, p, entry=entry: _another_dtype(d, p, entry)
    bodies = [program.statements, *(block.statements for block in program.blocks)]
    for body in bodies:
        for statement in body:
            if not isinstance(statement, Bind):
                continue
            if isinstance(statement.head, Refs):
                yield lambda d, p, head=statement.head: _another_input(d, p, head)
                if len(statement.head.items) > 1:
                    yield lambda d, p, head=statement.head: _one_less(d, p, head)
            if isinstance(statement.head, Infix | Subscript):
                yield lambda d, p, head=statement.head: _another_operand(d, p, head)
            for stage in _operators(statement.stages):
                if stage.positional:
                    yield lambda d, p, stage=stage: _positional(d, p, stage)
                    yield lambda d, p, stage=stage: _missing(d, p, stage)
                for name in stage.named:
                    yield lambda d, p, stage=stage, name=name: _named(d, p, stage, name)


def operators_in(statement: Any) -> Iterator[Operate]:
    """Every use of an operator in a statement."""
    yield from _operators(getattr(statement, "stages", []))


def _operators(stages: list[Any]) -> Iterator[Operate]:
    for stage in stages:
        if isinstance(stage, Operate):
            yield stage
        elif isinstance(stage, Repeat | Branch | Inline):
            yield from _operators(stage.stages)


def _another_size(d: Draw, program: Program, entry: Input) -> Program:
    at = d.integer(0, len(entry.dims) - 1)
    size = entry.dims[at]
    if isinstance(size, int):
        other: Any = d.choice((size + 1, max(size - 1, 1), 2 * size, 1))
    else:
        others = [Sym(name) for name in program.sizes if name != size.name]
        other = d.choice((*others, 3, 4))
    entry.dims = (*entry.dims[:at], other, *entry.dims[at + 1 :])
    return _known(program)


def _another_rank(d: Draw, program: Program, entry: Input) -> Program:
    if entry.dims and d.chance(0.5):
        at = d.integer(0, len(entry.dims) - 1)
        entry.dims = (*entry.dims[:at], *entry.dims[at + 1 :])
    else:
        at = d.integer(0, len(entry.dims))
        entry.dims = (*entry.dims[:at], d.choice((1, 2, 3)), *entry.dims[at:])
    return _known(program)


def _known(program: Program) -> Program | None:
    """Names of sizes that no input shows any more are unknown, which is another matter."""
    shown = {size.name for entry in program.inputs for size in entry.dims if isinstance(size, Sym)}
    if not program.sizes.keys() <= shown:
        return None
    return program


def _another_dtype(d: Draw, program: Program, entry: Input) -> Program:
    entry.dtype = d.choice(
        [name for name in ("f32", "f64", "f16", "bf16", "i64", "i32", "u8", "bool") if name != entry.dtype]
    )
    entry.classes = None
    return program


def _names_before(program: Program, head: Any) -> list[str]:
    """The tensors that exist where a head stands."""
    for block in program.blocks:
        known = [entry.name for entry in block.inputs]
        for statement in block.statements:
            if getattr(statement, "head", None) is head:
                return known
            known += statement.bound
    known = [entry.name for entry in program.inputs]
    for statement in program.statements:
        if getattr(statement, "head", None) is head:
            return known
        known += statement.bound
    return known


def _another_input(d: Draw, program: Program, head: Refs) -> Program:
    head.items[d.integer(0, len(head.items) - 1)] = Ref(d.choice(_names_before(program, head)))
    return program


def _one_less(d: Draw, program: Program, head: Refs) -> Program:
    del head.items[d.integer(0, len(head.items) - 1)]
    return program


def _another_operand(d: Draw, program: Program, head: Infix | Subscript) -> Program:
    names = _names_before(program, head)
    if isinstance(head, Subscript):
        head.value = Ref(d.choice(names))
    elif isinstance(head.right, Ref) and d.chance(0.5):
        head.right = Ref(d.choice(names))
    elif isinstance(head.left, Ref):
        head.left = Ref(d.choice(names))
    return program


def _other_value(d: Draw, program: Program, value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return d.choice((value + 1, value - 1, 0, -1, 2 * value, value + 7))
        case float():
            return d.choice((-value, 0.0, 2.0, value * 10))
        case str():
            return d.choice(("none", "mean", "zeros", "reflect", "nearest", "bilinear", "same", "wrong"))
        case Ref():
            return Ref(d.choice(sorted(entry.name for entry in program.inputs)))
        case list() if value:
            at = d.integer(0, len(value) - 1)
            if d.chance(0.3):
                return [*value[:at], *value[at + 1 :]]
            return [*value[:at], _other_value(d, program, value[at]), *value[at + 1 :]]
        case Sym() if value.name in program.sizes:
            return d.choice([*(Sym(name) for name in program.sizes), 3, 4])
    return value


def _positional(d: Draw, program: Program, stage: Operate) -> Program:
    at = d.integer(0, len(stage.positional) - 1)
    stage.positional[at] = _other_value(d, program, stage.positional[at])
    return program


def _named(d: Draw, program: Program, stage: Operate, name: str) -> Program:
    stage.named[name] = _other_value(d, program, stage.named[name])
    return program


def _missing(d: Draw, program: Program, stage: Operate) -> Program | None:
    if stage.is_function and not stage.flows:
        return None  # the function would take what flows
    del stage.positional[-1]
    return program
