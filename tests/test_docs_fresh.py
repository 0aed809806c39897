"""What the pages say is true: examples of problems, commands, names, versions."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import expc
from expc.cli import COMMANDS
from expc.cli.catalog import page, problems
from expc.compiler.lints import OFF
from expc.diagnostics import Problem

ROOT = Path(__file__).parents[1]
PROBLEMS = problems()
CHECKED = {
    code: kind
    for code, kind in PROBLEMS.items()
    if not kind.__module__.startswith(
        ("expc.runtime", "expc.compiler.errors.files", "expc.compiler.errors.python", "expc.spec.errors.resolved")
    )
}
"""Problems that the checker finds; the others need a run to come to light."""

NOT_SHOWN = {
    "E0114": "a file that is no text",
    "E0117": "it takes dozens of mistakes",
    "E0211": "it is in the command, not in the file",
}
"""Problems that no small program can show, and why."""


@pytest.mark.parametrize("code", PROBLEMS)
def test_a_problem_has_a_whole_page(code: str) -> None:
    kind = PROBLEMS[code]
    content = page(kind)
    assert re.fullmatch(r"[EW]0[1-8]\d\d", code), code
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.name), kind.name
    assert (kind.severity == "error") == code.startswith("E") or code.startswith("W")
    assert content.title.endswith("."), content.title
    assert code in NOT_SHOWN or content.wrong, "no example of what is wrong"
    assert code in NOT_SHOWN or content.right, "no example of what is right"


def test_codes_and_names_are_unique() -> None:
    def below(kind: type[Problem]) -> list[type[Problem]]:
        return [kind, *(found for derived in kind.__subclasses__() for found in below(derived))]

    kinds = [kind for kind in below(Problem) if kind.code and kind.__module__.startswith("expc.")]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert len({kind.name for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("code", CHECKED)
def test_the_examples_of_a_page_are_what_it_says(code: str) -> None:
    content = page(CHECKED[code])
    for example in content.wrong:
        found = expc.check(text=example, lint=OFF)
        assert code in {problem.code for problem in found}, (example, found)
    for example in content.right:
        found = expc.check(text=example, lint=OFF)
        assert not any(problem.severity == "error" or problem.code == code for problem in found), (example, found)


def test_the_change_log_has_the_version() -> None:
    assert f"\n## {expc.__version__} " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_commands_are_described() -> None:
    described = re.findall(r"^## expc (\w+)$", (ROOT / "docs" / "cli.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_are_described(name: str) -> None:
    from importlib import import_module

    section = (ROOT / "docs" / "cli.md").read_text("utf-8").partition(f"\n## expc {name}\n\n")[2]
    described = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", section.partition("\n")[0]))
    command = import_module(f"expc.cli.{name}").command
    every = [command, *getattr(command, "commands", {}).values()]
    options = {option for one in every for parameter in one.params for option in parameter.opts}
    options = {option for option in options if option.startswith("--")}
    assert options == described


@pytest.mark.parametrize(
    ("part", "table"),
    [
        ("data sets", "datasets"),
        ("transforms", "transforms"),
        ("samplers", "samplers"),
        ("optimizers", "optimizers"),
        ("schedules", "schedules"),
        ("metrics", "metrics"),
    ],
)
def test_the_language_page_lists_what_there_is(part: str, table: str) -> None:
    from expc.compiler.library.lookup import Library

    text = (ROOT / "docs" / "language.md").read_text("utf-8")
    row = re.search(rf"^\| {part} \| ([^|]*) \|", text, re.MULTILINE)
    assert row is not None
    listed = re.findall(r"\b[A-Z]\w+", row[1])
    assert listed == sorted(getattr(Library(), table))


def test_the_reference_is_what_the_tables_say() -> None:
    """Renew it with EXPC_RENEW=1, or with `python docs/reference.py`."""
    wanted = runpy.run_path(str(ROOT / "docs" / "reference.py"))["page"]()
    path = ROOT / "docs" / "operators.md"
    if os.environ.get("EXPC_RENEW"):
        path.write_text(wanted, "utf-8")
    assert path.read_text("utf-8").splitlines() == wanted.splitlines(), "write it anew: python docs/reference.py"


def test_readme_commands_are_what_ci_runs_and_what_there_is() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"```bash\n(.*?)\n```", readme, re.DOTALL)
    train, test = commands
    assert train.endswith("expc run examples/mnist.exp")
    pattern = re.search(r"grep -m 1 -E '([^']*)' README.md", (ROOT / ".ci" / "run").read_text("utf-8"))
    assert pattern is not None
    assert [line for line in readme.splitlines() if re.search(pattern[1], line)] == [test]
    for link in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / link).exists(), link


def test_the_check_that_the_readme_shows_is_what_expc_prints() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = re.search(r"```text\n(.*?)```", readme, re.DOTALL)
    assert shown is not None
    command = [sys.executable, "-m", "expc", "check", "docs/images/mistakes.exp"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    timeless = re.sub(r"\d+ ms", "12 ms", done.stdout)
    assert shown[1].strip() == timeless.replace("docs/images/", "").strip()
