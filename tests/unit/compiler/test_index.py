"""The index says where each name is declared, and a check imports only what its file uses."""

import json
import subprocess
import sys
from pathlib import Path

from expc.compiler.library import index
from expc.compiler.ops.table import FAMILIES, operators

HOME = Path(index.__file__).parent
MAKE = "run python -m expc.compiler.library.index"


def test_the_index_is_that_of_the_tables() -> None:
    assert json.loads((HOME / "index.json").read_text("utf-8")) == index.make(), MAKE


def test_every_file_of_operators_is_a_family() -> None:
    with_operators = {
        path.stem for path in (HOME.parent / "ops").glob("*.py") if "\nOPERATORS" in path.read_text("utf-8")
    }
    assert with_operators == set(FAMILIES)
    assert {name: operator.name for name, operator in operators().items()} == {name: name for name in operators()}


def test_a_check_imports_the_families_that_it_needs() -> None:
    text = "model M(x: f32[N, 8]) { Linear(4) -> softmax(-1) }"
    code = (
        "import sys; from expc.compiler.session import check_text\n"
        f"assert not check_text({text!r}).problems\n"
        "print(*(name for name in sys.modules if name.startswith('expc.compiler.')))"
    )
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    families = {name.rpartition(".")[2] for name in modules if name.startswith("expc.compiler.ops.")} & set(FAMILIES)
    assert {"linear"} < families
    assert len(families) <= 5
