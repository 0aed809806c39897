"""Names, defaults and order of functions, losses and initialisers are torch's own."""

import ast
import inspect
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from expc.compiler.ops.declare import REQUIRED, Operator
from expc.compiler.ops.initialisers import INITIALISERS, Initialiser
from expc.compiler.ops.table import operators

OMITTED = {
    *("out", "layout", "device", "pin_memory", "requires_grad", "generator", "memory_format", "names"),
    *("inplace", "training", "size_average", "reduce", "_stacklevel", "_random_samples", "implicit", "output_size"),
}
"""What torch takes and the language leaves to the run, or that torch calls deprecated."""

OWN = {"rearrange", "arange", "randint", "normal", "tensor", "einsum", "sort", "argsort", "view"} | {
    *(
        "trapezoid",
        "cumulative_trapezoid",
        "trapz",
        "scatter",
        "tensor_split",
        "hsplit",
        "vsplit",
        "dsplit",
        "kaiser_window",
        "randint_like",
    ),
}
"""Not torch's, or several of torch's ways to call in one."""

WARNED = {**dict.fromkeys(("softmax", "log_softmax", "softmin", "cross"), "dim"), "meshgrid": "indexing"}
"""Where torch warns when a parameter that has a default is left out: here it is required."""

ANY = object()
"""A default that a stub does not say."""


@dataclass(frozen=True)
class Taken:
    """A parameter of a torch function."""

    name: str
    default: Any
    by_name: bool


@cache
def stubs(path: str) -> dict[str, list[ast.FunctionDef]]:
    """The overloads of every function in a stub of torch."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in ast.walk(ast.parse((Path(torch.__file__).parent / path).read_text())):
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


def from_stub(node: ast.FunctionDef) -> list[Taken]:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    padding = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*padding, *arguments.defaults], strict=True)]
    taken = [Taken(a.arg, REQUIRED if d is None else value_of(d), by_name=False) for a, d in pairs]
    variadic = [] if arguments.vararg is None else [Taken(arguments.vararg.arg, REQUIRED, by_name=False)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [*taken, *variadic, *(Taken(a.arg, REQUIRED if d is None else value_of(d), by_name=True) for a, d in named)]


def value_of(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ANY


def from_signature(function: Any) -> list[Taken]:
    return [
        Taken(p.name, REQUIRED if p.default is p.empty else p.default, by_name=p.kind is p.KEYWORD_ONLY)
        for p in inspect.signature(function).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]


def from_doc(function: Any) -> list[Taken]:
    """What the first line of a builtin's documentation says: `conv1d(input, weight, bias=None) -> Tensor`."""
    head = " ".join((function.__doc__ or "").split("->")[0].split())
    head = head.replace("scale=None, enable_gqa", "*, scale=None, enable_gqa")  # as its schema says
    return from_stub(ast.parse(f"def {head}: ...").body[0])  # type: ignore[arg-type]


def ways_to_call(operator: Operator) -> list[list[Taken]]:
    """The ways in which torch itself takes the operator's arguments."""
    if operator.home == "torch.nn.functional":
        function = getattr(torch.nn.functional, operator.name)
        switch = inspect.getclosurevars(function).nonlocals if hasattr(function, "__closure__") else {}
        if "if_true" in switch:
            return [from_signature(switch["if_true"])]
        return [from_signature(function) if inspect.isfunction(function) else from_doc(function)]
    if operator.home == "torch" and inspect.isfunction(getattr(torch, operator.name)):
        return [from_signature(getattr(torch, operator.name))]
    path = "_C/__init__.pyi" if operator.home == "torch.Tensor" else "_C/_VariableFunctions.pyi"
    return [from_stub(node) for node in stubs(path)[operator.name]]


def differences(operator: Operator, way: list[Taken], optional: set[str]) -> list[str]:
    """How the declaration departs from one of torch's ways to call; other ways go without what is `optional`."""
    ours = [param for param in operator.arguments if operator.home != "torch.Tensor" or param.name != "input"]
    theirs = {taken.name: taken for taken in way if taken.name != "self"}
    names = [param.name for param in ours]
    wrong = [f"{name} is not torch's" for name in names if name not in theirs]
    wrong += [f"{name} is missing" for name in theirs if name not in names and name not in OMITTED]
    if wrong or [name for name in theirs if name in names] != names:
        return wrong or [f"torch's order is {list(theirs)}"]
    gap = False
    for taken in theirs.values():
        if taken.name not in names:
            gap = gap or not taken.by_name
            continue
        param = ours[names.index(taken.name)]
        left_out = REQUIRED in (taken.default, param.default) and taken.name in optional
        if not left_out and not same_default(param.default, taken.default):
            wrong.append(f"{taken.name}={param.default!r}, torch's is {taken.default!r}")
        if param.by_name != (taken.by_name or gap):
            wrong.append(f"{taken.name} by name: {param.by_name}, torch: {taken.by_name or gap}")
    return wrong


def same_default(ours: Any, theirs: Any) -> bool:
    if theirs is ANY or (ours == 1 and theirs is None):  # the stub of `correction`
        return True
    return ours is theirs or (ours is not REQUIRED and theirs is not REQUIRED and ours == theirs)


@pytest.mark.parametrize("name", sorted(name for name, op in operators().items() if op.kind == "function"))
def test_names_defaults_and_order_are_torchs(name: str) -> None:
    if name in OWN:
        return
    ways = ways_to_call(operators()[name])
    names = [{taken.name for taken in way} for way in ways]
    optional = set.union(*names) - set.intersection(*names) | ({WARNED[name]} if name in WARNED else set())
    found = [differences(operators()[name], way, optional) for way in ways]
    assert [] in found, min(found, key=len)


@pytest.mark.parametrize("name", sorted(name for name, op in operators().items() if op.kind == "loss"))
def test_settings_of_losses_are_torchs(name: str) -> None:
    way = from_signature(getattr(torch.nn, name).__init__)
    theirs = {taken.name: taken for taken in way if taken.name not in {"self", *OMITTED}}
    ours = operators()[name].settings
    assert [param.name for param in ours] == list(theirs)
    assert all(same_default(param.default, theirs[param.name].default) for param in ours)


@pytest.mark.parametrize("initialiser", INITIALISERS, ids=str)
def test_initialisers_are_torchs(initialiser: Initialiser) -> None:
    function = getattr(torch.nn.init, f"{initialiser.name}_")
    theirs = {taken.name: taken.default for taken in from_signature(function) if taken.name != "generator"}
    assert ["tensor", *(param.name for param in initialiser.settings)] == list(theirs)
    assert all(param.default in (theirs[param.name], REQUIRED) for param in initialiser.settings)
    needed = {param.name: 0.5 for param in initialiser.settings if param.default is REQUIRED}
    for rank in range(6):
        fits = initialiser.min_rank <= rank and (initialiser.max_rank is None or rank <= initialiser.max_rank)
        try:
            function(torch.zeros((4,) * rank), **needed)
        except ValueError:
            assert not fits, f"{initialiser} takes {rank} dimensions, torch does not"
        else:
            assert fits, f"torch takes {rank} dimensions"
