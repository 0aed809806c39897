"""What was probably meant where tensors do not fit: the first fix is the one that a user would write."""

import pytest

from expc.compiler.fixes.trying import patched
from expc.compiler.session import check_text

IMAGES = "data {{ train = FakeData(64, image_size=[3, 8, 8]) -> ToTensor; batch = 8 }}\n{model}\n{train}\n"
CLASSES = "train { epochs = 1; optimizer = SGD(lr=0.1); loss = CrossEntropyLoss }"
CELLS = """
data {{ train = Csv("a.csv") -> as (x: f32[4], y: {y}); batch = 8 }}
model Net(x: f32[N, 4]) {{ Linear({n}) }}
{train}
"""
SQUARES = CLASSES.replace("CrossEntropyLoss", "MSELoss")


def on_images(model: str) -> str:
    return IMAGES.format(model=model, train=CLASSES)


def on_cells(y: str, n: int, train: str) -> str:
    return CELLS.format(y=y, n=n, train=train)


RESIDUAL = """
block Unit(x: f32[N, C, H, W], out: int, stride: int = 1) {
  flow + (Conv2d(out, 3, stride=stride, padding=1, bias=false) -> BatchNorm2d -> ReLU)
}
model Net(x: f32[N, 3, 8, 8]) { Conv2d(4, 3) -> Unit(4) -> Unit(8, stride=2) }
"""
TWICE = """
block Unit(x: f32[N, C, H, W]) { flow + (Conv2d(C, 3) -> ReLU -> Conv2d(C, 5) -> ReLU) }
model Net(x: f32[N, 3, 9, 9]) { repeat 2 { Unit } }
"""
LATER = """
let head = Dropout(0.5) -> Linear(32) -> ReLU -> Linear(10)
model Net(x: f32[N, 3, 8, 8]) -> f32[N, 10] { Conv2d(8, 3) -> head }
"""
ODD = """
model Net(x: f32[N, 3, 9, 9]) {
  down = MaxPool2d(2) -> ConvTranspose2d(3, 2, stride=2)
  cat([x, down], dim=1)
}
"""
VIEWED = "model Net(x: f32[N, 3, 8, 8]) -> f32[N, 10] { Conv2d(4, 3) -> {stage} -> Linear(10) }"
ATTENTION = """
model Net(x: f32[N, T, 12]) {
  out, _ = MultiheadAttention(5)
  return out
}
"""
SCORES = """
model Net(x: f32[N, T, 12]) {
  q = Linear(8); k = Linear(8)
  return (q @ k) -> softmax(-1)
}
"""
GATE = """
model Net(x: f32[N, 3, 8, 8]) {
  w = mean([2, 3]) -> Linear(3) -> Sigmoid
  x * w
}
"""
TABLE = """
model Net(x: f32[N, T, 12]) where T <= 64 {
  param pos: f32[64, 12] = zeros
  x + pos
}
"""
STEPS = """
model Net(x: f32[N, T, 12]) -> f32[N, 5] {
  out, (h, _) = GRU_
  return h -> Linear(5)
}
block GRU_(x: f32[N, T, C]) { LSTM(8, batch_first=false) }
"""

MEANT = {
    "flatten before a head": (
        "model Net(x: f32[N, 3, 8, 8]) -> f32[N, 10] { Conv2d(8, 3) -> ReLU; Linear(10) }",
        "Flatten -> Linear(10)",
    ),
    "flatten before a head of several layers": (LATER, "Dropout(0.5) -> Flatten -> Linear(32) -> ReLU -> Linear(10)"),
    "flatten before a labelled head": (
        "model Net(x: f32[N, 3, 8, 8]) -> f32[N, 10] { Conv2d(8, 3) -> ReLU -> fc: Linear(10) }",
        "ReLU -> Flatten -> fc: Linear(10)",
    ),
    "flatten before a loss": (on_images("model Net(x: f32[N, 3, 8, 8]) { Linear(10) }"), "{ Flatten -> Linear(10) }"),
    "pool what is convolved into classes": (
        on_images("model Net(x: f32[N, 3, 8, 8]) { Conv2d(10, 3) }"),
        "Conv2d(10, 3) -> AdaptiveAvgPool2d(1) -> Flatten",
    ),
    "pool sides of unknown size": (
        "model Net(x: f32[N, 3, H, W]) -> f32[N, 10] { Conv2d(8, 3) -> Flatten -> Linear(10) }",
        "AdaptiveAvgPool2d(1) -> Flatten",
    ),
    "mean over a sequence": (
        "model Net(x: f32[N, T, 8]) -> f32[N, 10] { Linear(16) -> ReLU -> Linear(10) }",
        "mean(1) -> Linear(16)",
    ),
    "channels last": (
        "model Net(x: f32[N, 8, 8, 3]) { Conv2d(4, 3, in_channels=3) }",
        "permute(0, 3, 1, 2) -> Conv2d(4, 3, in_channels=3)",
    ),
    "features last before a convolution": ("model Net(x: f32[N, T, 8]) { Conv1d(4, 3) }", "transpose(1, 2) -> Conv1d"),
    "a residual without padding": (TWICE, "Conv2d(C, 3, padding=1) -> ReLU -> Conv2d(C, 5, padding=2)"),
    "a residual of another shape": (
        RESIDUAL,
        "(flow -> Conv2d(out, 1, stride=stride, bias=false) -> BatchNorm2d) + (Conv2d(out, 3",
    ),
    "a residual of another width": (
        "model Net(x: f32[N, 8]) { flow + (Linear(4) -> ReLU) }",
        "flow + (Linear(8) -> ReLU)",
    ),
    "an odd size that was halved": (ODD, "ConvTranspose2d(3, 2, stride=2, output_padding=1)"),
    "a wrong dim of cat": (
        "model Net(x: f32[N, 3, 8, 8]) { cat([x, (Conv2d(4, 1))], dim=2) }",
        "cat([x, (Conv2d(4, 1))], dim=1)",
    ),
    "no dim of cat": (
        "model Net(x: f32[N, 3, 8, 8]) -> f32[N, 6, 8, 8] { cat([x, x]) }",
        "cat([x, x], dim=1)",
    ),
    "a wrong dim of softmax": ("model Net(x: f32[N, 8]) { Softmax(dim=2) }", "Softmax(dim=-1)"),
    "a view of the wrong size": (VIEWED.replace("{stage}", "view(N, 100)"), "flatten(1) -> Linear(10)"),
    "a view that mixes samples": (VIEWED.replace("{stage}", "view(-1, 100)"), "flatten(1) -> Linear(10)"),
    "squeeze without dim": (
        VIEWED.replace("{stage}", "AdaptiveAvgPool2d(1) -> squeeze"),
        "AdaptiveAvgPool2d(1) -> flatten(1) -> Linear(10)",
    ),
    "heads": (ATTENTION, "MultiheadAttention(4)"),
    "groups": ("model Net(x: f32[N, 12, 8, 8]) { GroupNorm(5) }", "GroupNorm(4)"),
    "a matrix to be turned over": (SCORES, "(q @ transpose(k, -2, -1))"),
    "a gate": (GATE, "x * w[:, :, none, none]"),
    "a table of positions": (TABLE, "x + pos[:T]"),
    "a contradicted width": ("model Net(x: f32[N, 8]) { Linear(2, in_features=16) }", "Linear(2, in_features=8)"),
    "a missing channel": ("model Net(x: f32[N, 8, 8]) { Conv2d(4, 3) }", "unsqueeze(1) -> Conv2d(4, 3)"),
    "another kind of layer": ("model Net(x: f32[N, 8, 16]) { BatchNorm2d }", "{ BatchNorm1d }"),
    "the first of a tuple": (
        "model Net(x: f32[N, T, 8]) {\n  LSTM(4) -> Linear(2)\n}",
        "out, _ = LSTM(4)\n  out -> Linear(2)",
    ),
    "numbers for indices": ("model Net(x: f32[N, T]) { Embedding(9, 4) }", "i64 -> Embedding(9, 4)"),
    "the declared width": ("model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(3) }", "Linear(2)"),
    "a column more than declared": ("model Net(x: f32[N, 8]) -> f32[N] { Linear(1) }", "Linear(1) -> squeeze(1)"),
    "dimensions in another order": (
        "model Net(x: f32[N, T, 8]) -> f32[N, 4, T] { Linear(4) }",
        "Linear(4) -> transpose(1, 2)",
    ),
    "too few outputs": (
        on_images("model Net(x: f32[N, 3, 8, 8]) -> f32[N, 9] { Flatten -> Linear(9) }"),
        "-> f32[N, 10] { Flatten -> Linear(10) }",
    ),
    "one column against none": (on_cells("f32[]", 1, SQUARES), "loss = (output -> squeeze(1), target) -> MSELoss"),
    "classes as a column": (on_cells("i64[1]", 3, CLASSES), "(output, target -> squeeze(1)) -> CrossEntropyLoss"),
    "classes as floats": (on_cells("f32[]", 3, CLASSES), "loss = (output, target -> i64) -> CrossEntropyLoss"),
    "an input of another rank": (
        on_images("model Net(x: f32[N, 192]) { Flatten -> Linear(10) }"),
        "Net(x: f32[N, 3, 8, 8])",
    ),
}


@pytest.mark.parametrize("case", MEANT)
def test_the_first_fix_is_what_was_meant(case: str) -> None:
    wrong, meant = MEANT[case]
    errors = [problem for problem in check_text(wrong).problems if problem.severity == "error"]
    assert len(errors) == 1, [problem.message for problem in errors]
    assert errors[0].fixes, errors[0].message
    assert errors[0].fixes[0].safety == "unsafe"
    right = patched(wrong, errors[0].fixes[0])
    assert meant in right
    assert meant not in wrong
    left = [problem.message for problem in check_text(right).problems if problem.severity == "error"]
    assert left == []


def test_fixes_in_imported_files_are_tried_there() -> None:
    files = {"parts.exp": "block Unit(x: f32[N, C, H, W]) { flow + (Conv2d(C, 3) -> ReLU) }\n"}
    main = 'from "parts.exp" import Unit\nmodel Net(x: f32[N, 3, 8, 8]) { Unit }\n'
    (problem,) = check_text(main, read=files.__getitem__).problems
    assert [fix.title for fix in problem.fixes] == ["let `Conv2d(C, 3)` keep the size: `padding=1`"]
    assert problem.fixes[0].edits[0].span.source.name == "parts.exp"
    mended = patched(files["parts.exp"], problem.fixes[0], problem.fixes[0].edits[0].span.source)
    assert check_text(main, read={"parts.exp": mended}.__getitem__).problems == ()


def test_both_places_that_can_be_at_fault_are_offered() -> None:
    wrong = "model Net(x: f32[N, 8]) { Linear(16) -> ReLU -> LayerNorm(normalized_shape=32) }"
    (problem,) = check_text(wrong).problems
    assert [patched(wrong, fix) for fix in problem.fixes] == [
        wrong.replace("=32", "=16"),
        wrong.replace("Linear(16)", "Linear(32)"),
    ]


def test_a_condition_that_is_needed_shows_two_sizes_that_differ() -> None:
    text = "model Net(x: f32[N, 3, H]) { cat([x, (MaxPool1d(4) -> ConvTranspose1d(3, 4, stride=4))], dim=1) }"
    (problem,) = check_text(text).problems
    assert "for H = 5 it would be 5 against 4" in problem.notes
