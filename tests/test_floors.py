"""What expc promises not to import, and proof that each of the guards would notice."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "examples").glob("*.exp"))

HEAVY = (
    "torch",
    "torchvision",
    "torchmetrics",
    "tensorboard",
    "numpy",
    "PIL",
    "safetensors",
    "tqdm",
    "rich",
    "yaml",
    "lark",
)
"""Packages that only training and evaluating need, or that take longer to import than a file takes to check."""

PROBE = """
import sys
{before}
from expc.cli import invoke
invoke(sys.argv[1:])
print("imported:", *(name for name in {heavy!r} if name in sys.modules))
"""


def imported(*arguments: str, before: str = "", packages: Sequence[str] = HEAVY) -> set[str]:
    """Which of some packages a fresh Python has imported after `expc ARGUMENTS`."""
    code = PROBE.format(before=before, heavy=packages)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith("imported:"), done.stdout
    return set(last.split()[1:])


def test_checking_the_examples_imports_nothing_heavy() -> None:
    assert len(EXAMPLES) > 10
    assert imported("check", *EXAMPLES) == set()


@pytest.mark.parametrize(("example", "expected"), [("resnet18", set()), ("mnist", {"pydantic"})])
def test_pydantic_is_imported_for_settings_alone(example: str, expected: set[str]) -> None:
    assert imported("check", f"examples/{example}.exp", packages=["pydantic"]) == expected


def test_finding_mistakes_imports_nothing_heavy(tmp_path: Path) -> None:
    broken = tmp_path / "broken.exp"
    broken.write_text("modle Net(x: f32[N, 8]) {\n  Linear(\n}\ntrain { epoch = 5 }\nlet a = 1 +\n", "utf-8")
    assert imported("check", "--format", "json", str(broken)) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["summary", "examples/mnist.exp"], ["explain", "E0301"], ["ops"]])
def test_other_commands_that_train_nothing_import_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments) == set()


def test_a_run_in_one_process_does_without_what_several_need(tmp_path: Path) -> None:
    (tmp_path / "net.exp").write_text(
        "data { train = FakeData(8, image_size=[1, 2, 2], num_classes=2) -> ToTensor, batch = 4 }\n"
        "model Net(x: f32[N, 1, 2, 2]) { Flatten -> Linear(2) }\n"
        "train { steps = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }\n"
        "log { tensorboard = false }\n",
        "utf-8",
    )
    several = [f"expc.runtime.distributed.{name}" for name in ("batchnorm", "noise", "sharding", "launch")]
    packages = [*several, "torch.distributed.elastic.agent", "torch"]
    arguments = ["run", str(tmp_path / "net.exp"), "--out", str(tmp_path / "run")]
    assert imported(*arguments, packages=packages) == {"torch"}
    assert (tmp_path / "run" / "final.safetensors").exists()


def test_the_probe_notices_an_import() -> None:
    assert "torch" in imported("--version", before="import torch")


def test_ruff_notices_torch_at_module_level() -> None:
    def complaints(path: str) -> str:
        command = [sys.executable, "-m", "ruff", "check", "--select", "TID253", "--stdin-filename", path, "-"]
        done = subprocess.run(command, cwd=ROOT, input="import torch\n", capture_output=True, text=True, check=False)
        return done.stdout

    for banned in ("expc/compiler/session.py", "expc/spec/parser.py", "expc/diagnostics/text.py", "expc/cli/run.py"):
        assert "TID253" in complaints(banned), banned
    for allowed in ("expc/compiler/lower/__init__.py", "expc/runtime/loop.py"):
        assert "TID253" not in complaints(allowed), allowed


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("spec/parser.py", "from expc.compiler import graph"),
        ("compiler/session.py", "def f():\n    import torch"),
        ("compiler/session.py", "def f():\n    from expc.compiler import lower"),
        ("diagnostics/text.py", "import rich"),
    ],
)
def test_import_linter_notices_a_wrong_way(tmp_path: Path, module: str, line: str) -> None:
    shutil.copytree(ROOT / "expc", tmp_path / "expc", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "expc" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n\n{line}\n")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(
        [*command, "--no-cache", "--no-logo"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 broken" in done.stdout, done.stdout + done.stderr
