"""How parameters start: torch.nn.init's functions, run on the meta device."""

import fnmatch
import inspect
import re
from typing import Any

import torch

from expc.spec import syntax
from oracle.arithmetic import is_number
from oracle.errors import LanguageRefused, asking
from oracle.values import Argument, Frame, Recipe

_DRAWN = ("uniform", "normal", "trunc_normal")


def start(value: Any, tensor: torch.Tensor) -> None:
    """Fill a tensor that is declared: an initialiser, a number, or lists of numbers."""
    if isinstance(value, Recipe):
        fill(value, tensor)
    elif isinstance(value, tuple):
        if not tensor.dim() or len(value) != tensor.shape[0]:
            raise LanguageRefused("start", "a list that does not fit")
        for part, inner in zip(value, tensor, strict=True):
            start(part, inner)
    elif isinstance(value, float) and not value.is_integer() and not tensor.is_floating_point():
        raise LanguageRefused("fraction", str(value))
    elif not is_number(value) and not isinstance(value, bool):
        raise LanguageRefused("start", str(value))


def fill(recipe: Recipe, tensor: torch.Tensor) -> None:
    """Run an initialiser."""
    function = getattr(torch.nn.init, f"{recipe.name}_", None)
    if function is None or recipe.target is not None:
        raise LanguageRefused("no initialiser", recipe.name)
    parameters = [name for name in inspect.signature(function).parameters if name not in ("tensor", "generator")]
    values: dict[str, Any] = {}
    for argument in recipe.arguments:
        name = argument.name or next((n for n in parameters if n not in values), None)
        if name not in parameters:
            raise LanguageRefused("unknown argument", f"{recipe.name}: {name}")
        if name in values:
            raise LanguageRefused("argument twice", f"{recipe.name}: {name}")
        _check_kind(recipe.name, function, str(name), argument)
        values[str(name)] = argument.value
    if is_number(values.get("std")) and values["std"] <= 0 and recipe.name == "trunc_normal":
        raise LanguageRefused("spread", f"std={values['std']}")  # torch takes it, and cuts off nothing or divides by 0
    val = values.get("val")
    if isinstance(val, float) and not val.is_integer() and not tensor.is_floating_point():
        raise LanguageRefused("fraction", str(val))
    with asking(recipe.name), torch.no_grad():
        function(tensor, **values)
        if recipe.name in _DRAWN:  # the meta device draws no numbers, so it does not mind from where
            function(torch.empty(2, 2), **values)


def _check_kind(owner: str, function: Any, name: str, argument: Argument) -> None:
    default = inspect.signature(function).parameters[name].default
    is_text = isinstance(default, str)
    fits = isinstance(argument.value, str) if is_text else is_number(argument.value)
    if isinstance(default, bool):
        fits = isinstance(argument.value, bool)
    if not fits:
        raise LanguageRefused("kind", f"{owner}: {name}")


def check(frame: Frame) -> None:
    """Every `init` of a container and of those in it must match something, and torch must take it."""
    for child in frame.children.values():
        if isinstance(child, Frame):
            check(child)
    last: dict[str, tuple[torch.Tensor, Recipe]] = {}
    for selector, text, value in frame.inits:
        if not isinstance(value, Recipe):
            raise LanguageRefused("no initialiser", str(value))
        matched = matching(frame, text, isinstance(selector, syntax.Constant | syntax.Template))
        if not matched:
            raise LanguageRefused("matches nothing", text)
        last.update({key: (tensor, value) for key, tensor in matched})
    for tensor, value in last.values():
        fill(value, tensor)


def matching(frame: Frame, text: str, is_glob: bool) -> list[tuple[str, torch.Tensor]]:
    """The parameters that a selector means."""
    entries = [(key, tensor) for key, tensor, is_buffer in frame.entries() if not is_buffer]
    if is_glob:
        return [(key, tensor) for key, tensor in entries if _glob(text).fullmatch(key)]
    title, _, inside = text.partition(".")
    homes = _homes(frame, title)
    return [
        (key, tensor)
        for key, tensor in entries
        if any(key.startswith(home) and _glob(inside or "*").fullmatch(key[len(home) :]) for home in homes)
    ]


def _glob(text: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(text.replace("[", "[[]")))


def _homes(frame: Frame, title: str, prefix: str = "") -> list[str]:
    found = []
    for name, child in frame.children.items():
        inside = f"{prefix}{name}."
        own = child.title if isinstance(child, Frame) else type(child).__name__
        if own == title:
            found.append(inside)
        if isinstance(child, Frame):
            found += _homes(child, title, inside)
    return found
