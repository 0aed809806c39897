"""Which names there are and where each is declared, so that a check imports no table that its file does not use.

`index.json` is made from the tables by `python -m expc.compiler.library.index`; a test fails where it is out of date.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

_FILE: Final = Path(__file__).with_name("index.json")


@cache
def operator_homes() -> Mapping[str, str]:
    """The module of `expc.compiler.ops` that declares each operator, by the operator's name."""
    families: Mapping[str, Sequence[str]] = _index()["operators"]
    return {name: family for family, names in families.items() for name in names}


@cache
def table_names(table: str) -> Collection[str]:
    """The names in another table of the library: `datasets`, `transforms`."""
    return dict.fromkeys(_index()["tables"][table])


@cache
def _index() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return found


def make() -> dict[str, Any]:
    """The index of the tables as they are. Raises ValueError for a name that two operators have."""
    from expc.compiler.library.lookup import TABLES, Library
    from expc.compiler.ops.table import FAMILIES

    families = {
        family: [operator.name for operator in import_module(f"expc.compiler.ops.{family}").OPERATORS]
        for family in FAMILIES
    }
    names = [name for family in families.values() for name in family]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two operators are called {', '.join(sorted(twice))}")
    library = Library()
    return {"operators": families, "tables": {table: list(getattr(library, table)) for table in TABLES}}


def main() -> None:
    """Write `index.json` anew."""
    _FILE.write_text(json.dumps(make(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
