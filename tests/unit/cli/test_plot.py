"""`expc plot`: what is drawn is what a run does, and it is drawn where it belongs."""

import io
import json
import sys
from math import cos, pi
from pathlib import Path

import pytest
from PIL import Image

import expc
from expc.cli import invoke
from expc.cli.chart import Style, chart
from expc.compiler.session import check_file
from expc.runtime.forecast import forecast

DATA = "data {{ train, val = {} -> split(0.75) -> ToTensor; batch = 10 }}\n"
KNOWN = DATA.format("FakeData(size=80, image_size=[1, 4, 4], num_classes=4)")
UNKNOWN = DATA.format('ImageFolder("faces", classes=4) -> Resize([4, 4]) -> Grayscale')
NET = """
model Net(image: f32[N, 1, 4, 4]) -> f32[N, 4] {
  Flatten
  for i in range(3) { "h{i}": Linear(8) -> ReLU }
  head: Linear(4)
}
"""
ONE_CYCLE = "epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1, momentum=0.9), schedule = OneCycleLR(0.1)"
GROUPS = """
epochs = 4, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-2)
schedule = LinearLR(start_factor=0.1) for 1 epochs -> CosineAnnealingWarmRestarts(1)
for i in range(3) { group "h{i}.*" { lr = 1e-2 * 0.5 ** (3 - i) } }
group Linear.bias { weight_decay = 0 }
group "head.weight" { optimizer = Muon(lr=0.02), schedule = ReduceLROnPlateau(val.loss, patience=1) }
"""
EPOCHS = "epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), schedule = CosineAnnealingLR"
BOTH = "epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), schedule = LinearLR for 3 steps -> StepLR(1)"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: type("Size", (), {"columns": 72}))

    def write(train, data=KNOWN, rest=""):
        path = tmp_path / "net.exp"
        path.write_text(f"{data}{NET}train {{\n{train}\n}}\n{rest}")
        return str(path)

    return write


def lines(path, per_epoch=6):
    checked = check_file(path)
    assert not checked.has_errors, checked.problems
    return forecast(checked.program, per_epoch).lines


@pytest.mark.parametrize("train", [ONE_CYCLE, GROUPS.replace("val.loss, patience=1", "val.loss, patience=9"), BOTH])
def test_what_is_drawn_is_what_a_run_does(tmp_path, write, train):
    path = write(train, rest="log { every = 1 steps, tensorboard = false }")
    directory = expc.load(path).run(out=tmp_path / "run", progress=False).directory
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["lr"] for row in rows if row["over"] == "steps"] == lines(path)[0].rates


def test_every_rate_has_a_line_and_groups_with_one_rate_share_it(write):
    found = {line.name: line.rates for line in lines(write(GROUPS))}
    assert list(found) == ['AdamW "h0.*"', 'AdamW "h1.*"', 'AdamW "h2.*"', "AdamW", 'Muon "head.weight"']
    for i in range(3):
        assert found[f'AdamW "h{i}.*"'] == pytest.approx([rate * 0.5 ** (3 - i) for rate in found["AdamW"]])
    assert found['Muon "head.weight"'] == [0.02] * 24
    falls = [1e-2 * (1 + cos(pi * step / 6)) / 2 for step in range(6)]
    rises = [1e-2 * (0.1 + 0.9 * step / 6) for step in range(6)]
    assert found["AdamW"] == pytest.approx(rises + 3 * falls)


def test_momenta_that_move_are_drawn_too(write, capsys):
    assert invoke(["plot", write(ONE_CYCLE)]) == 0
    shown = capsys.readouterr().out
    assert "SGD  from 0.004 to" in shown
    assert "momentum\n0.95 │" in shown
    assert "epochs of 6 steps" in shown
    assert all(len(line) <= 72 + len(" epochs of 6 steps") for line in shown.splitlines())
    assert invoke(["plot", write(EPOCHS)]) == 0
    assert "momentum" not in capsys.readouterr().out


def test_a_chart_of_plain_characters():
    style = Style(width=18, height=5, colour=False, plain=True)
    drawn = chart([[0.0, 1.0, 2.0, 3.0, 4.0], [4.0] * 5], style, "epochs", 1)
    assert drawn.splitlines() == [
        "4 |ooooooooooooooo",
        "  |         ***",
        "2 |      ***",
        "  |   ***",
        "0 |***",
        "  ++-----+----+---",
        "   0     2    4 epochs",
    ]


def test_dots_have_the_colour_of_their_line():
    style = Style(width=20, height=4, colour=True, plain=False)
    drawn = chart([[1.0] * 9, [2.0] * 9], style, "steps")
    first, *_, last = [line for line in drawn.splitlines() if "\x1b" in line]
    assert "\x1b[33m⠉" in first
    assert "\x1b[36m" in last
    assert drawn.count("\x1b[0m") == 2


def test_pictures(tmp_path, write, capsys):
    picture = tmp_path / "schedule.png"
    picture.write_bytes(b"an older one")
    assert invoke(["plot", write(GROUPS), "-o", str(picture)]) == 0
    assert capsys.readouterr().out == f"{picture}\n"
    image = Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")
    assert image.width > 1000
    # The five lines have matplotlib's first five colours.
    colours = {colour for _, colour in image.getcolors(1 << 24)}
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189)} <= colours
    vectors = tmp_path / "schedule.svg"
    assert invoke(["plot", write(GROUPS), "--log", "-o", str(vectors)]) == 0
    assert b"<svg" in vectors.read_bytes()


def test_without_matplotlib_nothing_is_written(tmp_path, write, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "expc.cli.picture", raising=False)
    picture = tmp_path / "schedule.png"
    assert invoke(["plot", write(EPOCHS), "-o", str(picture)]) == 1
    assert 'pip install "expc[plot]"' in capsys.readouterr().err
    assert not picture.exists()
    assert invoke(["plot", write(EPOCHS)]) == 0


def test_what_is_not_known_is_asked_for(write, capsys):
    assert invoke(["plot", write(BOTH, UNKNOWN)]) == 1
    assert "--steps-per-epoch N" in capsys.readouterr().err
    assert invoke(["plot", write(BOTH, UNKNOWN), "--steps-per-epoch", "7"]) == 0
    assert "epochs of 7 steps" in capsys.readouterr().out
    assert invoke(["plot", write(EPOCHS, UNKNOWN)]) == 0
    assert capsys.readouterr().out.splitlines()[15].endswith("2 epochs")
    steps = EPOCHS.replace("epochs = 2", "steps = 40")
    assert invoke(["plot", write(steps, UNKNOWN)]) == 0
    assert capsys.readouterr().out.splitlines()[15].endswith(" steps")
    assert invoke(["plot", write(steps.replace("40", "7"))]) == 0  # little more than an epoch of 6
    assert capsys.readouterr().out.splitlines()[15].endswith("6        7 steps")
    assert invoke(["plot", write(EPOCHS), "--steps-per-epoch", "7"]) == 2
    assert "the file says that an epoch has 6" in capsys.readouterr().err


def test_what_cannot_be_drawn(tmp_path, write, capsys):
    path = write(EPOCHS.replace("SGD", "SGDD"))
    picture = tmp_path / "schedule.png"
    picture.write_bytes(b"an older one")
    assert invoke(["plot", path, "-o", str(picture)]) == 1
    assert "did you mean" in capsys.readouterr().err or picture.read_bytes() == b"an older one"
    assert picture.read_bytes() == b"an older one"
    bare = Path(path)
    bare.write_text("model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(2) }\n")
    assert invoke(["plot", path]) == 1
    assert "has no `train` section" in capsys.readouterr().err
    assert invoke(["plot", write(EPOCHS), "--set", "train.optimizer=SGD(lr=0.25)"]) == 0
    assert "from 0.25" in capsys.readouterr().out
    assert invoke(["plot", write(EPOCHS), "-o", str(tmp_path / "nowhere" / "a.png")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert invoke(["plot", write(EPOCHS), "-o", "a.jpg"]) == 2
    assert invoke(["plot", str(tmp_path / "nothing.exp")]) == 2


def test_data_that_is_there_is_counted(capsys):
    assert invoke(["plot", str(Path(__file__).parents[3] / "examples" / "mnist.exp")]) == 0
    assert "5 epochs of 57 steps" in capsys.readouterr().out  # 90 % of 8,000 digits, 128 in a step
