"""Writes `docs/operators.md`, the reference of all that a file may use, from the tables: `python docs/reference.py`."""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from expc.compiler.library import excluded
from expc.compiler.library.lookup import Library
from expc.compiler.ops.declare import Operator, Param
from expc.compiler.ops.table import FAMILIES
from expc.spec.values import show

PAGE = Path(__file__).with_name("operators.md")

HEAD = """# Reference

Everything of PyTorch that a file may use, by the names, the order and the defaults of PyTorch. `expc ops NAME` shows
one entry with what each parameter takes. Parameters in brackets follow from what flows in; those after `*` are written
by name; `*name` takes any number of them. What is left out stands at the end, each with the reason.

This page is written by `python docs/reference.py` from the tables that the checker reads.
"""

TABLES = (
    (
        "Initialisers",
        "For `init` and `param`: the functions of `torch.nn.init`, without underscore.",
        "initialisers",
    ),
    ("Data sets", "For `data`: the classes of `torchvision.datasets`, and sources of our own.", "datasets"),
    ("Transforms", "For `data`: the classes of `torchvision.transforms.v2`, and those of single fields.", "transforms"),
    ("Samplers", "For `data`: the samplers of `torch.utils.data`.", "samplers"),
    ("Optimizers", "For `train`: the classes of `torch.optim`.", "optimizers"),
    ("Schedules", "For `train`: the classes of `torch.optim.lr_scheduler`.", "schedules"),
    ("Metrics", "For `train`: the classes of `torchmetrics`.", "metrics"),
)


def page() -> str:
    """The whole page."""
    return "\n".join((HEAD, *_operators(), *_tables(), *_left_out()))


def _operators() -> Iterator[str]:
    yield "## Operators\n"
    for family in FAMILIES:
        module = import_module(f"expc.compiler.ops.{family}")
        yield f"### {family.capitalize()}\n"
        yield str(module.__doc__).partition("\n")[0] + "\n"
        yield from _rows(module.OPERATORS)


def _tables() -> Iterator[str]:
    library = Library()
    for title, text, name in TABLES:
        yield f"## {title}\n\n{text}\n"
        yield from _rows(getattr(library, name).values())


def _left_out() -> Iterator[str]:
    yield "## Left out\n"
    for module in sorted(found.name for found in iter_modules(excluded.__path__)):
        reasons: Mapping[str, str] = import_module(f"expc.compiler.library.excluded.{module}").EXCLUDED
        yield f"### {module.capitalize()}\n"
        for reason in dict.fromkeys(reasons.values()):
            names = sorted(name for name, why in reasons.items() if why == reason)
            yield f"- {_cell(reason)} {', '.join(f'`{name}`' for name in names)}"
        yield ""


def _rows(entries: Iterable[Any]) -> Iterator[str]:
    yield "| | |\n|---|---|"
    for entry in sorted(entries, key=lambda entry: str(entry.name).lower()):
        yield f"| `{_cell(signature(entry))}` | {_cell(entry.doc)} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def signature(entry: Any) -> str:
    """`Conv2d([in_channels], out_channels, kernel_size, stride=1)`: as one writes it."""
    is_operator = isinstance(entry, Operator)
    params = entry.arguments if is_operator and entry.kind == "function" else entry.settings
    written = [_parameter(param) for param in params if not param.by_name]
    named = [_parameter(param) for param in params if param.by_name]
    star = ["*"] if named and not any(param.variadic for param in params) else []
    return f"{entry.name}({', '.join((*written, *star, *named))})"


def _parameter(param: Param) -> str:
    if param.inferred:
        return f"[{param.name}]"
    if param.rest:
        return f"**{param.name}"
    if param.variadic:
        return f"*{param.name}"
    return param.name if param.required else f"{param.name}={show(param.default)}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
