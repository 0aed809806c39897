"""The page about lint rules lists what there is; examples and zoo have no lints but those that they allow."""

import json
import re
from pathlib import Path

import pytest

import expc
from expc.cli import invoke
from expc.cli.catalog import page, problems
from expc.compiler.lints import OFF, names
from expc.compiler.session import check_file, check_text
from expc.diagnostics import Problem

ROOT = Path(__file__).parents[1]
PROBLEMS = problems()
ROWS = {
    rule: (severity, code, fix)
    for rule, severity, code, fix in re.findall(
        r"^\| ([a-z0-9-]+) \| [^|]+ \| (\w+)[^|]* \| (\w+) \| (\w*) ?\|$",
        (ROOT / "docs" / "lints.md").read_text("utf-8"),
        re.MULTILINE,
    )
    if rule != "rule"
}
LINTS = [kind for kind in PROBLEMS.values() if kind.__module__.startswith("expc.compiler.lints.")]
EXAMPLES = sorted((ROOT / "examples").glob("**/*.exp"))


@pytest.mark.parametrize("rule", ROWS)
def test_a_rule_of_the_page_has_its_code(rule: str) -> None:
    severity, code, fix = ROWS[rule]
    assert code in PROBLEMS
    assert PROBLEMS[code].severity == severity
    assert fix in ("", "offered", "safe")


@pytest.mark.parametrize("kind", LINTS, ids=lambda kind: kind.name)
def test_a_lint_is_on_the_page(kind: type[Problem]) -> None:
    assert ROWS[kind.name][:2] == (kind.severity, kind.code)


@pytest.mark.parametrize("kind", [kind for kind in LINTS if kind.severity != "error"], ids=lambda kind: kind.name)
def test_a_lint_has_the_name_of_its_module_and_offers_what_the_page_says(kind: type[Problem]) -> None:
    assert kind.__module__.rpartition(".")[2].replace("_", "-") == kind.name
    assert kind.name in names()
    (example,) = page(kind).wrong
    found = [problem for problem in check_text(example, lints=OFF).problems if problem.code == kind.code]
    safeties = {fix.safety for problem in found for fix in problem.fixes}
    assert ROWS[kind.name][2] == ("safe" if "safe" in safeties else "offered" if safeties else "")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_no_lints_but_those_that_they_allow_with_a_reason(path: Path) -> None:
    checked = check_file(path)
    assert not checked.problems, [problem.message for problem in checked.problems]
    assert all(entry.reason for entry in checked.allowed)


def test_what_is_off_is_a_rule() -> None:
    assert names() >= OFF


TASTE = "model Net(x: f32[N, 8]) -> f32[N, 8] { Linear(8) -> ReLU -> LayerNorm }\n"


def test_a_rule_that_is_off_runs_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "taste.exp"
    path.write_text(TASTE, "utf-8")
    assert expc.check(path) == ()
    assert [problem.name for problem in expc.check(path, lint=["norm-after-activation"])] == ["norm-after-activation"]
    assert invoke(["check", "--lint", "norm-after-activation", "--format", "json", str(path)]) == 0
    (found,) = json.loads(capsys.readouterr().out)["diagnostics"]
    assert (found["code"], found["severity"]) == ("W0320", "hint")
    assert invoke(["check", "--lint", "norm-after-activations", str(path)]) == 2
    assert "did you mean `norm-after-activation`?" in capsys.readouterr().err


def test_what_is_off_may_be_allowed_before_it_runs() -> None:
    allowed = TASTE.replace("\n", "  # allow(norm-after-activation): as published\n")
    assert not check_text(allowed).problems
    checked = check_text(allowed, lints=OFF)
    assert not checked.problems
    assert [(entry.problem.name, entry.reason) for entry in checked.allowed] == [
        ("norm-after-activation", "as published")
    ]
