"""The batch stands where the layer has it, or a warning says so."""

import pytest
from programs import codes

from expc.compiler.session import check_text


@pytest.mark.parametrize(
    ("body", "guilty"),
    [
        ("out, _ = LSTM(8); out", "LSTM(8)"),
        ("TransformerEncoderLayer(2)", "TransformerEncoderLayer(2)"),
        ("out, _ = { MultiheadAttention(2) }; out", "MultiheadAttention(2)"),
        ("transpose(0, 1); out, _ = GRU(8, batch_first=true); out", "GRU(8, batch_first=true)"),
        ("out, _ = LSTM(8, batch_first=true); out", None),
        ("transpose(0, 1); out, _ = GRU(8); out", None),
        ("flatten(0, 1); unsqueeze(0); out, _ = GRU(8); out", None),
    ],
)
def test_a_batch_that_is_taken_for_a_sequence_is_told(body: str, guilty: str | None):
    found = codes(f"model Net(x: f32[N, T, 4]) {{ {body} }}")
    assert found == ([] if guilty is None else [("W0302", guilty)])


def test_a_model_whose_steps_come_first_says_so_by_its_names():
    assert codes("model Net(x: f32[T, N, 4]) { out, _ = LSTM(8); out }") == []


def test_the_fix_writes_batch_first():
    (problem,) = check_text("model Net(x: f32[N, T, 4]) { out, _ = LSTM(8); out }").problems
    (fix,) = problem.fixes
    assert [(edit.span.start, edit.text) for edit in fix.edits] == [(problem.span.end - 1, ", batch_first=true")]
