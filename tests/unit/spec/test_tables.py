"""The parse tables that are kept beside the grammar."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from expc.spec import tables as module

FOLDER = Path(module.__file__).parent


def test_kept_tables_are_those_of_the_grammar() -> None:
    kept = json.loads((FOLDER / "tables.json").read_text("utf-8"))
    made = module.generate((FOLDER / "grammar.lark").read_text("utf-8"))
    assert kept == json.loads(json.dumps(made)), "run `python -m expc.spec.tables`"


def test_a_changed_grammar_is_not_read_from_old_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grammar = (FOLDER / "grammar.lark").read_text("utf-8")
    (tmp_path / "grammar.lark").write_text(grammar.replace('"let"', '"lett"'), "utf-8")
    (tmp_path / "tables.json").write_text((FOLDER / "tables.json").read_text("utf-8"), "utf-8")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "tables.py"))
    module.tables.cache_clear()
    try:
        assert "lett" in module.tables().words
    finally:
        module.tables.cache_clear()


def test_reading_a_file_needs_no_lark_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from expc.diagnostics import Report, Source; from expc.spec.parser import parse; "
        "report = Report(); parse(Source('t', 'let a = 3'), report); "
        "assert not report.problems; assert 'lark' not in sys.modules"
    )
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(FOLDER.parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
