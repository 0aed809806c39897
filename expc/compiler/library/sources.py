"""Data sets whose fields the file declares: `Csv("a.csv") -> as (features: f32[12], label: class(3))`.

The checker believes the declaration; `expc.runtime.data.tables` verifies it before training starts.
"""

from collections.abc import Mapping
from functools import cache
from math import prod
from typing import Any

from expc.compiler.errors.arguments import UnknownArgument
from expc.compiler.errors.data import DeclaredField
from expc.compiler.ops.declare import Kind, Param
from expc.compiler.ops.kinds import BOOL, STR, list_of, optional
from expc.compiler.program import Dataset, SampleField, Use
from expc.compiler.types import TensorType
from expc.diagnostics import ProblemError
from expc.spec.suggest import advice, nearest


@cache
def sources() -> Mapping[str, Dataset]:
    """Every data set that knows no fields by itself."""
    table = (
        Dataset(
            name="Csv",
            doc=(
                "Rows of a table. `label=` and the like say which columns fill a field; others are filled by a column "
                "of their name, and then in order."
            ),
            settings=(
                Param("path", STR, doc="a text file in UTF-8, one row a line"),
                Param("header", BOOL, True, doc="the first row names the columns", by_name=True),
                Param("delimiter", _CHARACTER, ",", doc="what stands between two cells", by_name=True),
                Param(
                    "classes",
                    optional(list_of(STR)),
                    None,
                    doc="the names of the classes in order, where cells hold names; none: in alphabetical order",
                    by_name=True,
                ),
                Param("columns", _COLUMNS, doc="for any field, the column or the columns that fill it", rest=True),
            ),
            sample=_declared,
            length=_unknown,
            example='Csv("flowers.csv", label="species") -> as (features: f32[4], label: class(3))',
        ),
        Dataset(
            name="Npz",
            doc="Arrays of NumPy, one for each field: `np.savez(path, image=..., label=...)`.",
            settings=(
                Param("path", STR, doc="a file as `numpy.savez` writes it"),
                Param(
                    "arrays",
                    _ARRAYS,
                    doc="for any field, the array that fills it, where it has another name",
                    rest=True,
                ),
            ),
            sample=_declared,
            length=_unknown,
            example='Npz("scans.npz") -> as (image: u8[1, 64, 64], mask: class(3)[64, 64])',
        ),
        Dataset(
            name="Tensors",
            doc='Tensors that the program gives which runs the experiment: `experiment.run(data={"points": {...}})`.',
            settings=(Param("name", STR, doc="what the program calls them"),),
            sample=_declared,
            length=_unknown,
            example='Tensors("points") -> as (x: f32[2], label: class(2))',
        ),
    )
    return {source.name: source for source in table}


def check_filled(use: Use, fields: Mapping[str, TensorType]) -> None:
    """What the settings of a source say must be about fields that are declared. Raises `ProblemError`."""
    rest = next((param for param in use.declaration.settings if param.rest), None)
    for name, given in {} if rest is None else use.settings[rest.name].items():
        if name not in fields:
            known = [*fields, *(param.name for param in use.declaration.settings if not param.rest)]
            hint = advice(nearest(name, known))
            raise ProblemError(UnknownArgument(span=use.span, operator=use.name, word=name, hint=hint))
        size = prod(fields[name].dims) if all(isinstance(dim, int) for dim in fields[name].dims) else None
        count = len(given) if isinstance(given, tuple) else 1
        if use.name == "Csv" and size is not None and size != count:
            columns = f"{count} column{'s' * (count != 1)}"
            reason = f"`{name}` is {fields[name]} and takes {size} of them, but `{name}=` names {columns}"
            raise ProblemError(DeclaredField(span=use.span, reason=reason))
    names = use.settings.get("classes")
    labels = {name: type_ for name, type_ in fields.items() if type_.classes is not None}
    if names is not None and all(type_.classes != len(names) for type_ in labels.values()):
        shown = " and ".join(f"`{name}` is {type_}" for name, type_ in labels.items()) or "no field is a class"
        reason = f"`classes=` names {len(names)} classes, but {shown}"
        raise ProblemError(DeclaredField(span=use.span, reason=reason))
    for name, type_ in fields.items():
        if use.name == "Csv" and not all(isinstance(dim, int) for dim in type_.dims):
            reason = f"a row of a table has as many cells as any other: say the sizes of `{name}`, {type_}"
            raise ProblemError(DeclaredField(span=use.span, reason=reason))


def _declared(_: Mapping[str, Any]) -> tuple[SampleField, ...]:
    return ()


def _unknown(_: Mapping[str, Any]) -> None:
    return None


_CHARACTER = Kind("a string of one character", lambda value: isinstance(value, str) and len(value) == 1)


def _names(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and all(isinstance(name, str) for name in value))


_COLUMNS = Kind(
    "for a field the name of its column, or a list of names", lambda value: all(map(_names, value.values()))
)
_ARRAYS = Kind("for a field the name of its array", lambda value: all(isinstance(name, str) for name in value.values()))
