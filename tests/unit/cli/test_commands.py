"""Each command: what it prints where, and its exit status."""

import json
import re
from pathlib import Path

import pytest

from expc.cli import invoke

ROOT = Path(__file__).parents[3]
MNIST = str(ROOT / "examples" / "mnist.exp")

WRONG = """\
model Net(x: f32[N, 8]) -> f32[N, 10] {
  Linear(12)
}
"""


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    path = tmp_path / "wrong.exp"
    path.write_text(WRONG, "utf-8")
    return str(path)


@pytest.fixture
def doubtful(tmp_path: Path) -> str:
    """Two outputs more than there are digits: a warning."""
    path = tmp_path / "doubtful.exp"
    text = Path(MNIST).read_text("utf-8")
    path.write_text(text.replace("f32[N, 10]", "f32[N, 12]").replace("Linear(10)", "Linear(12)"), "utf-8")
    return str(path)


def test_check_says_when_nothing_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", MNIST]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(rf"{re.escape(MNIST)}: no problems · \d+ ms\n", out)
    assert err == ""


def test_check_prints_problems_as_its_result(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", wrong]) == 1
    out, err = capsys.readouterr()
    assert f"--> {wrong}:" in out
    assert f"\n{wrong}: 1 error · " in out
    assert err == ""
    assert "\x1b" not in out


def test_check_goes_on_after_a_file_that_cannot_be_read(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", str(ROOT / "examples" / "mnits.exp"), wrong, str(ROOT / "examples")]) == 2
    out, err = capsys.readouterr()
    assert "1 error" in out
    missing, folder = err.splitlines()
    assert "there is no file" in missing
    assert missing.endswith(f"did you mean {MNIST}?")
    assert "is a folder" in folder


@pytest.mark.parametrize("content", [b"\x00\x01\x02\xff\xfe", b"\xff\xfe\x00\x00", b"PK\x03\x04" + bytes(1000)])
def test_check_of_a_binary_file_is_short(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "binary.exp"
    path.write_bytes(content)
    assert invoke(["check", str(path)]) in (1, 2)
    out, err = capsys.readouterr()
    assert len((out + err).splitlines()) < 10
    assert "Traceback" not in out + err


def test_check_of_deeply_nested_text_is_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep.exp"
    path.write_text("{" * 100_000, "utf-8")
    assert invoke(["check", str(path)]) == 1
    out, err = capsys.readouterr()
    assert len(out) < 5_000
    assert err == ""


def test_check_as_json(wrong: str, doubtful: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", "--format", "json", wrong, doubtful]) == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["version"], data["errors"], data["warnings"]) == (1, 1, 1)
    first = data["diagnostics"][0]
    assert first["file"] == wrong
    assert first["severity"] == "error"
    assert first["start"]["line"] in (1, 2)


def test_check_mends_a_file_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = tmp_path / "real.exp"
    real.write_bytes(b"model Net(x: f32[N, 8]) {\r\n  Linear(4, bias=True)  # as before\r\n}\r\n")
    real.chmod(0o640)
    link = tmp_path / "link.exp"
    link.symlink_to(real)
    assert invoke(["check", "--fix", str(link)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{link}: no problems")
    assert err == f"{link}:2: fixed E0111 foreign-spelling: write `true`\n"
    assert real.read_bytes() == b"model Net(x: f32[N, 8]) {\r\n  Linear(4, bias=true)  # as before\r\n}\r\n"
    assert (link.is_symlink(), real.stat().st_mode & 0o777, sorted(tmp_path.iterdir())) == (True, 0o640, [link, real])


def test_check_leaves_a_file_that_it_cannot_mend(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path(wrong).stat()
    assert invoke(["check", "--fix", wrong]) == 1
    assert "1 error" in capsys.readouterr().out
    after = Path(wrong).stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert Path(wrong).read_text("utf-8") == WRONG


def test_check_for_code_scanning(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", "--format", "sarif", wrong, MNIST]) == 1
    out, err = capsys.readouterr()
    (result,) = json.loads(out)["runs"][0]["results"]
    assert result["ruleId"] == "E0309"
    assert err == ""


def test_check_for_github(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", "--format", "github", wrong]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"::error file={wrong},line=")


def test_strict_refuses_warnings(doubtful: str) -> None:
    assert invoke(["check", doubtful]) == 0
    assert invoke(["check", "--strict", doubtful]) == 1


def test_a_wrong_override_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", MNIST, "--set", "train.epochs=0"]) == 1
    assert "--> --set train.epochs=0" in capsys.readouterr().out
    assert invoke(["check", MNIST, "--set", "train.epochs=1"]) == 0


@pytest.mark.parametrize(
    ("stage", "part"),
    [
        ("syntax", "Block kind='model' name='LeNet'"),
        ("spec", "train.epochs = 7  # --set train.epochs=7"),
        ("graph", "f32[N, 64, 7, 7]"),
    ],
)
def test_dump(stage: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", MNIST, "--dump", stage, "--set", "train.epochs=7"]) == 0
    assert part in capsys.readouterr().out


def test_dump_of_what_is_not_there(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", wrong, "--dump", "graph"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("expc: there is no graph: the file has errors\n")


@pytest.mark.parametrize("name", ["E0301", "e0301", "size-mismatch"])
def test_explain(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["explain", name]) == 0
    out = capsys.readouterr().out
    assert out.startswith("E0301 size-mismatch (error)\n\nTwo sizes that must be equal are not.\n")
    assert "Wrong:\n\n    model Net" in out
    assert "```" not in out


def test_explain_lists_every_code_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["explain"]) == 0
    codes = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert "E0801" in codes
    assert codes == sorted(set(codes))


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["explain", "siz-mismatch"], "did you mean `size-mismatch`?"),
        (["ops", "Conv2D"], "did you mean `Conv2d`?"),
        (["chek"], "did you mean `check`?"),
        (["mnist.exp"], "did you mean `run mnist.exp`?"),
        (["run", MNIST, "--device", "gpu"], "`gpu` is none of auto, cpu, cuda"),
        (["summary", MNIST, "--at", "224"], "is not of the form H=224"),
        (["check"], "FILE"),
        (["run", "no/such.exp"], "there is no file no/such.exp"),
    ],
)
def test_wrong_usage_is_answered(arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert advice in err


def test_ops(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["ops"]) == 0
    assert re.search(r"^  Conv2d +\w", capsys.readouterr().out, re.MULTILINE)
    assert invoke(["ops", "Conv2d"]) == 0
    out = capsys.readouterr().out
    assert "in_channels (inferred)" in out
    assert 'padding_mode="zeros"' in out
    assert invoke(["ops", "nonzero"]) == 0
    assert "depends on the values in its input" in capsys.readouterr().out


def test_run_refuses_errors_on_standard_error(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", wrong]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "error[E" in err


def test_a_mistake_in_expc_is_not_blamed_on_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from expc.compiler import session

    def fail(*_: object) -> None:
        raise LookupError("oops")

    monkeypatch.setattr(session, "check_file", fail)
    assert invoke(["check", MNIST]) == 1
    err = capsys.readouterr().err
    assert "LookupError: oops" in err
    assert f"expc --traceback check {MNIST}" in err
    assert "Traceback" not in err
    with pytest.raises(LookupError):
        invoke(["--traceback", "check", MNIST])


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    from expc.compiler import session

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "check_file", interrupt)
    assert invoke(["check", MNIST]) == 130
