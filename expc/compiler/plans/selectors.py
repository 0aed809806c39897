"""Selectors of parameters: globs over whole keys, and classes with an optional parameter."""

import re
from collections.abc import Iterator, Sequence

from expc.compiler.graph import Container, Weight
from expc.spec.suggest import nearest


def glob(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: `*` is any text, dots included, `?` one character.

    What stands between two `*` is taken where it comes first, for good: the time is that of one pass for each.
    """
    first, *rest = ("".join("." if c == "?" else re.escape(c) for c in part) for part in pattern.split("*"))
    between = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(first + between + (f".*{rest[-1]}" if rest else ""))


def matching(selector: str, is_glob: bool, container: Container, entries: Sequence[Weight]) -> list[Weight]:
    """The entries that a selector matches, relative to `container`.

    A class matches what modules of the class, or blocks of the name, hold: `Conv2d.weight` the weights of convolutions,
    `LayerNorm` every parameter of layer norms, `Attention.c_proj.weight` one key inside each block of the name.
    """
    if is_glob:
        pattern = glob(selector)
        return [entry for entry in entries if pattern.fullmatch(entry.key)]
    title, _, inside = selector.partition(".")
    homes = frozenset(_homes(container, title))
    pattern = glob(inside or "*")
    return [entry for entry in entries if any(pattern.fullmatch(entry.key, end) for end in _ends(entry.key, homes))]


def may_be_python(selector: str, is_glob: bool, container: Container) -> bool:
    """Whether a selector may match what the Python code of an `extern` holds, which only building it makes known.

    A glob does so where it reaches into the module of an `extern`; a class where it is an `extern`, or holds one.
    """
    if not is_glob:
        title = selector.partition(".")[0]
        homes = frozenset(_homes(container, title))
        return any(True for path in python_paths(container) for _ in _ends(path, homes))
    before, *wild = re.split(r"[*?]", selector, maxsplit=1)
    return any(before.startswith(path) or (wild and path.startswith(before)) for path in python_paths(container))


def python_paths(container: Container, prefix: str = "") -> Iterator[str]:
    """What the keys of the modules of Python code start with: `wide.`."""
    for name, child in container.children.items():
        if isinstance(child, Container):
            yield from python_paths(child, f"{prefix}{name}.")
        elif child.operator.python is not None:
            yield f"{prefix}{name}."


def matching_modules(selector: str, is_glob: bool, container: Container) -> list[str]:
    """The paths of the modules that a selector matches, outermost ones only: what is inside them goes with them."""
    pattern = glob(selector)
    found: list[str] = []
    for path, title in _modules(container):
        fits = pattern.fullmatch(path) if is_glob else title == selector
        # What is inside a module comes right after it.
        if fits and not (found and path.startswith(f"{found[-1]}.")):
            found.append(path)
    return found


def module_paths(container: Container) -> list[str]:
    """The paths of all modules under a container."""
    return [path for path, _ in _modules(container)]


def _modules(container: Container, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Path and class of every module, outer ones first."""
    for name, child in container.children.items():
        path = f"{prefix}{name}"
        yield path, child.title if isinstance(child, Container) else child.operator.name
        if isinstance(child, Container):
            yield from _modules(child, f"{path}.")


def nearest_key(selector: str, entries: Sequence[Weight]) -> str | None:
    """The key that was probably meant, for a message."""
    return nearest(selector.replace("*", ""), [entry.key for entry in entries])


def what_was_meant(selector: str, is_glob: bool, entries: Sequence[Weight]) -> tuple[str, ...]:
    """Notes about a selector that matches nothing."""
    near = nearest_key(selector, entries)
    notes = (f"the nearest key is `{near}`",) if near else ()
    if is_glob or not selector[:1].islower():
        return notes
    return (*notes, f'without quotes it is the name of a class; a text that is called so is written `"{{{selector}}}"`')


def _ends(path: str, homes: frozenset[str]) -> Iterator[int]:
    """Where those beginnings of a path end that are modules of a class, `homes`."""
    end = path.find(".") + 1
    while end:
        if path[:end] in homes:
            yield end
        end = path.find(".", end) + 1


def _homes(container: Container, title: str, prefix: str = "") -> list[str]:
    found = []
    for name, child in container.children.items():
        inside = f"{prefix}{name}."
        if isinstance(child, Container):
            if child.title == title:
                found.append(inside)
            found += _homes(child, title, inside)
        elif child.operator.name == title:
            found.append(inside)
    return found
