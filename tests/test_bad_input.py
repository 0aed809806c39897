"""Hostile and careless input, through the installed command: a clear message, status 1 or 2, no traceback, and soon."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

import expc
from expc.runtime.checkpoint.loading import newest

EXPC = Path(sys.executable).with_name("expc")
MEMORY = 2 * 2**30
SECONDS = 10
"""Of the processor, for hostile texts: more than any of them takes."""
PATIENCE = 90
"""Seconds by the clock: far more than any of these takes, for machines that are busy."""

TINY = """\
let width = 8

data {
  train = FakeData(size=32, image_size=[3, 8, 8], num_classes=4) -> ToTensor
  val   = FakeData(size=8, image_size=[3, 8, 8], num_classes=4, random_offset=32) -> ToTensor
  batch = 8
}

model Net(x: f32[N, 3, 8, 8]) -> f32[N, 4] { Flatten -> Linear(width) -> ReLU -> Linear(4) }

train { epochs = 2, loss = CrossEntropyLoss, optimizer = Adam(lr=0.1) }
checkpoint { every = 1 steps, keep = 2 }
"""

MANY = 100_000


def many(before: str, repeated: str, after: str = "") -> str:
    return before + repeated * MANY + after


def doubling(first: str, then: str) -> str:
    return f"let a0 = {first}\n" + "".join(f"let a{i + 1} = {then.replace('A', f'a{i}')}\n" for i in range(60))


NET = "model Net(x: f32[N, 4]) -> f32[N, 4] { %s }\n"

REFUSED = {
    "braces": (many("model M(x: f32[N, 3]) {", "{", "}" * MANY), "E0113"),
    "only braces": ("{" * MANY, "E0113"),
    "closing braces": ("}" * MANY, "E0103"),
    "parentheses": (many("let a = ", "(", "1" + ")" * MANY), "E0113"),
    "brackets": (many("let a = ", "["), "E0113"),
    "texts in texts": (many('let a = "', '{"', "x" + '"}' * MANY + '"'), "E0113"),
    "minus": (many("let a = ", "-", "1"), "E0113"),
    "sums": (many("let a = ", "1+", "1"), "E0113"),
    "conditions": ("let a = " + "1 if a else " * 80_000 + "1", "E0113"),
    "rounds": (many(NET[:40], "repeat{", "}" * MANY), "E0113"),
    "a huge power": ("let a = 2 ** 10_000_000\n", "E0229"),
    "a huge number": (f"let a = {'9' * MANY}\n", "E0107"),
    "many rounds": (NET % "repeat 10_000_000 { ReLU }", "E0231"),
    "rounds in rounds": (NET % "repeat 1000 { repeat 1000 { } }", "E0231"),
    "a long list": ("let a = range(10 ** 9)\n", "E0229"),
    "doubling lists": (doubling("[1]", "[A, A]"), "E0229"),
    "doubling texts": (doubling('"ten letters"', '"{A}{A}"'), "E0229"),
    "doubling pipelines": (doubling("ReLU -> ReLU", "A -> A"), "E0229"),
    "recursion": ("fn f(x) = 1 if x == 0 else f(x - 1)\nlet a = f(9_000)\n", "E0230"),
    "sections again and again": ("train { epochs = 1 }\n" * 3000, "E0221"),
    "unknown names": ("model M(x: f32[N, 4]) {\n" + "".join(f"Foo{i}\n" for i in range(9000)) + "}\n", "E0220"),
    "unknown settings": ("train {\n" + "".join(f"k{i} = 1\n" for i in range(9000)) + "}\n", "E0201"),
    "a long row of blocks": (
        "block B0(x: f32[N, C]) { ReLU }\n"
        + "".join(f"block B{i + 1}(x: f32[N, C]) {{ B{i} }}\n" for i in range(200))
        + NET % "B200",
        "E0231",
    ),
    "a long row of lets": ("".join(f"let a{i} = a{i + 1}\n" for i in range(200)) + "let a200 = 1\n", "E0231"),
    "deep lists": ("let a0 = 1\n" + "".join(f"let a{i + 1} = [a{i}]\n" for i in range(200)), "E0229"),
    "a long formula": ("model M(x: f32[N, A, B, C, D]) { reshape(N, (A + B + C + D + N) ** 20) }\n", "E0229"),
    "floors of floors": ("model M(x: f32[N, 3, H, W]) {\n" + "Conv2d(3, 3, stride=2)\n" * 99 + "}\n", "E0231"),
    "a glob of stars": (NET % f'{{ "{"a" * 3000}": Linear(4) ; init "{"*a" * 30}b" = zeros }}', "E0234"),
    "nothing to reshape to": (NET % "reshape()", "E0224"),
    "a zero byte": ("let a = 1\0\n", "E0114"),
}


MORE = {"sections again and again", "unknown names", "unknown settings", "doubling lists", "deep lists"}
ONCE = REFUSED.keys() - MORE - {"a long row of blocks", "a long row of lets"}
"""Those with one mistake, which is told once."""


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def call(*arguments: object, limit: bool = False, **options: object) -> "subprocess.CompletedProcess[str]":
    settings = {"capture_output": True, "text": True, "encoding": "utf-8", "stdin": subprocess.DEVNULL}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.run(
        [EXPC, *map(str, arguments)],
        check=False,
        **{**settings, **options},
        timeout=PATIENCE,
        env=environment,
        preexec_fn=limited if limit else None,
    )


def shell(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["sh", "-c", line], check=False, cwd=folder, capture_output=True, text=True)


def in_order(answer: "subprocess.CompletedProcess[str]", status: int, *words: str) -> None:
    """The command answered as it should, and did not break down."""
    said = (answer.stdout or "") + (answer.stderr or "")
    assert answer.returncode == status, said
    assert "Traceback" not in said
    assert "mistake in expc" not in said
    assert len(said) < 100_000
    for word in words:
        assert word in said, said


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_text_is_refused_soon(name: str, tmp_path: Path) -> None:
    text, code = REFUSED[name]
    path = tmp_path / "hostile.exp"
    path.write_text(text, "utf-8")
    in_order(call("check", path, limit=True), 1, f"[{code} ", "1 error" if name in ONCE else "error")


@pytest.mark.parametrize("command", ["check", "summary", "run"])
def test_what_is_no_text_is_refused(command: str, tmp_path: Path) -> None:
    (tmp_path / "folder.exp").mkdir()
    os.mkfifo(tmp_path / "pipe.exp")
    (tmp_path / "loop.exp").symlink_to("loop.exp")
    (tmp_path / "endless.exp").symlink_to("/dev/zero")
    (tmp_path / "binary.exp").write_bytes(bytes(range(256)))
    (tmp_path / "latin.exp").write_bytes("let a = 1\n# Gr\xf6\xdfe\n".encode("latin-1"))
    (tmp_path / "large.exp").write_bytes(b"# " + b"x" * 5_000_000)
    before = sorted(tmp_path.rglob("*"))
    refused = {
        "tniy.exp": "there is no file tniy.exp",
        "": "there is no file",
        "a\n\x1b[2Jb.exp": "there is no file a\\x0a\\x1b[2Jb.exp",
        "folder.exp": "is a folder",
        "pipe.exp": "it is a pipe",
        "loop.exp": "cannot read loop.exp",
        "endless.exp": "it is a device",
        "binary.exp": "is not UTF-8",
        "latin.exp": "byte 0xf6 in line 2 is not UTF-8",
        "large.exp": "it is larger than 1 MiB",
    }
    for name in refused if command == "check" else ("tniy.exp", "pipe.exp", "latin.exp"):  # all read with one function
        words = refused[name]
        in_order(call(command, name, cwd=tmp_path, limit=True), 2, words)
    assert sorted(tmp_path.rglob("*")) == before
    for name in ("folder.exp", "pipe.exp", "large.exp", "tniy.exp"):
        with pytest.raises(OSError, match=r"folder|pipe|larger|No such"):
            expc.check(tmp_path / name)


def test_imports_are_told_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "folder.exp").mkdir()
    os.mkfifo(tmp_path / "pipe.exp")
    (tmp_path / "binary.exp").write_bytes(bytes(range(256)))
    (tmp_path / "circle.exp").write_text('import "sub/itself.exp"\n')
    (tmp_path / "sub").mkdir()
    for number in range(2000):
        (tmp_path / f"link{number}.exp").write_text(f'import "link{number + 1}.exp"\n')
    (tmp_path / "link2000.exp").write_text("let a = 1\n")
    for path, words in {
        "itself.exp": "a file cannot import itself",
        "../sub/itself.exp": "a file cannot import itself",
        "missing.exp": "there is no such file",
        "../folder.exp": "it is a folder",
        "../pipe.exp": "it is a pipe",
        "../binary.exp": "it is not UTF-8",
        "/etc/passwd": "an import is the relative path of an .exp file",
        "../link0.exp": "more than 100 files import each other in a row",
    }.items():
        (tmp_path / "sub" / "itself.exp").write_text(f'import "{path}"\nlet a = 1\n')
        in_order(call("check", "sub/itself.exp", cwd=tmp_path), 1, f": {words}", "1 error")
    (tmp_path / "sub" / "itself.exp").write_text('import "../circle.exp"\n')
    in_order(call("check", "sub/itself.exp", cwd=tmp_path), 1, "--> circle.exp:1:8", "in a circle", "1 error")


def test_a_text_is_its_characters_whatever_ends_its_lines(tmp_path: Path) -> None:
    for end, offset in (("\n", 25), ("\r\n", 27), ("\r", 25)):
        path = tmp_path / "lines.exp"
        path.write_bytes(f"let a = 1{end}train {{{end}  epochs = 0{end}}}{end}".encode())
        data = json.loads(call("check", "--format", "json", path).stdout)
        assert [d["code"] for d in data["diagnostics"]] == ["E0203", "E0205"]
        assert data["diagnostics"][1]["start"] == {"line": 3, "column": 12, "offset": offset + 4}
    path.write_bytes("\ufefftrain { epochs = 0 }".encode())
    in_order(call("check", path), 1, "[E0205 ")
    path.write_text("# nothing\n")
    in_order(call("check", path), 0, "no problems")
    in_order(call("run", path), 1, "[E0810 ")


def test_json_is_the_contract_and_says_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "net.exp"
    net = "model Net(x: f32[N, 3, 8, 8]) -> f32[N, 4, 8, 8] {\n  Conv2d(4, 3, padding=1)%s\n  BatchNorm2d\n}\n"
    comment = "  # allow(bias-before-batchnorm): as published"
    path.write_text(net % f"  #{'-' * (len(comment) - 3)}")
    data = json.loads(call("check", "--format", "json", path).stdout)
    assert data.keys() == {"version", "diagnostics", "errors", "warnings", "allowed"}
    (lint,) = data["diagnostics"]
    assert (data["version"], data["errors"], data["warnings"], data["allowed"]) == (1, 0, 0, [])
    assert lint.keys() == {*("code", "name", "severity", "message", "file", "start", "end", "labels", "notes", "fixes")}
    path.write_text(net % comment)
    data = json.loads(call("check", "--format", "json", path).stdout)
    assert data["diagnostics"] == []
    assert data["allowed"] == [{**lint, "reason": "as published"}]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("", "sets nothing"),
        ("train.epochs=", "sets nothing"),
        ("nope=1", "the file has no `let nope`"),
        ("train.nope=1", "`train` has no setting `nope`"),
        ("train.epochs=((((", "E0102"),
        ("train.epochs=2 ** 10_000_000", "E0229"),
        ("train.epochs=\x1b[31m1", "E0114"),
        (f"{'x' * 50_000}=1", "the file has no `let"),
    ],
)
def test_an_override_that_is_none(override: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.exp").write_text(TINY)
    answer = call("check", "tiny.exp", "--set", override, cwd=tmp_path)
    in_order(answer, 1, words, "--> --set", "1 error")
    assert "\x1b" not in answer.stdout


def test_output_that_cannot_be_written_anywhere(tmp_path: Path) -> None:
    (tmp_path / "wrong.exp").write_text("Foo\n" * 9000)
    with subprocess.Popen([EXPC, "check", "wrong.exp"], cwd=tmp_path, stdout=-1, stderr=-1) as process:
        process.stdout.close()  # as `| head -1` does
        assert process.stderr.read() == b""
    assert process.returncode == 1
    with Path("/dev/full").open("w") as full:
        in_order(
            call("check", "wrong.exp", cwd=tmp_path, stdout=full, capture_output=False, stderr=-1), 1, "cannot print"
        )
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        line = f"exec {EXPC} check wrong.exp {closed}"
        in_order(shell(line, tmp_path), 1)
    plain = call("check", "wrong.exp", cwd=tmp_path).stdout
    for environment in ({"TERM": "dumb"}, {"HOME": "/proc/none"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}):
        answer = call("check", "wrong.exp", cwd=tmp_path, env=environment)
        assert answer.stdout.splitlines()[:-1] == plain.splitlines()[:-1]
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone} && rmdir {gone} && {EXPC} run {tmp_path}/wrong.exp; {EXPC} check wrong.exp"
    in_order(shell(line, tmp_path), 2, "there is no file wrong.exp")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


GROWING = ("train.epochs=900", "checkpoint.every=999 epochs", "log.every=1 steps")


@pytest.mark.parametrize(
    ("free", "settings", "victim"),
    [
        (8, (), "(sources|resolved)"),
        (180, ("train.epochs=50", "checkpoint.keep=100"), "checkpoints/step-"),
        (180, GROWING, "(tensorboard|metrics.jsonl)"),
        (180, (*GROWING, "log.tensorboard=false"), "metrics.jsonl"),
    ],
)
def test_a_full_disk(free: int, settings: tuple[str, ...], victim: str, small_disk: Path) -> None:
    """`free`: how many KiB are left; `victim`: what can then not be written."""
    experiment = small_disk.with_name("tiny.exp")
    experiment.write_text(TINY)
    (small_disk / "mine").write_bytes(b"x" * (2**20 - free * 1024))
    out = small_disk / "run"
    answer = call("run", experiment, "--out", out, *[part for one in settings for part in ("--set", one)])
    in_order(answer, 1, "[E0805 disk-full]")
    assert re.search(rf"cannot write \S+/run/{victim}", answer.stderr)
    assert (small_disk / "mine").stat().st_size == 2**20 - free * 1024
    facts = json.loads((out / "run.json").read_text())
    assert facts["status"] == "failed"
    assert "no space left" in facts["error"]
    left_whole(out)


def left_whole(out: Path) -> None:
    """Whatever a run directory holds is whole."""
    for path in out.rglob("*.safetensors"):
        load_file(path)
    assert not newest(out / "checkpoints").damaged
    if (out / "metrics.jsonl").exists():
        lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
        assert all(line.endswith("\n") and json.loads(line) for line in lines)


def test_output_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "tiny.exp").write_text(TINY)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for out, code in {"full": "E0808", "file/run": "E0804"}.items():
        in_order(call("run", "tiny.exp", "--out", out, cwd=tmp_path), 1, code, "--> --out")
    in_order(call("run", "tiny.exp", "--out", "", cwd=tmp_path), 2, "--out")
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_data(tmp_path: Path) -> None:
    good = Path(__file__).parents[1] / "examples" / "data"
    mnist = TINY.replace("f32[N, 3, 8, 8]", "f32[N, 1, 28, 28]").replace("f32[N, 4]", "f32[N, 10]")
    mnist = re.sub(r"FakeData\(.*?\)", 'MNIST("data")', mnist).replace("Linear(4)", "Linear(10)")
    (tmp_path / "mnist.exp").write_text(mnist)
    raw = tmp_path / "data" / "MNIST" / "raw"
    images = raw / "train-images-idx3-ubyte"

    def refused(code: str, *words: str) -> None:
        in_order(call("run", "mnist.exp", "--out", "out", cwd=tmp_path), 1, f"[{code} ", "--> mnist.exp:4:11", *words)

    shutil.copytree(good, tmp_path / "data")
    content = images.read_bytes()
    images.write_bytes(content[: len(content) // 2])
    refused("E0802", "is not a whole file of this format")
    images.unlink()
    os.mkfifo(images)
    refused("E0801", "there is no train-images-idx3-ubyte")
    assert not (tmp_path / "out").exists()
