"""What a statement gives is used by the next one, or bound, or thrown away in so many words."""

import pytest
from programs import codes


@pytest.mark.parametrize(
    ("body", "dropped"),
    [
        ("Linear(8) -> ReLU; cat([x, x], dim=1)", ["Linear(8) -> ReLU"]),
        ("Linear(8); x", ["Linear(8)"]),
        ("repeat 2 { Linear(8) }; if true { x -> Tanh }", ["repeat 2 { Linear(8) }"]),
        ("{ Linear(8); x -> Linear(8) }", ["Linear(8)"]),
        ("Linear(8); return x -> Tanh", ["Linear(8)"]),
        ("Cell; x -> Tanh; x + 1", ["Linear(C)", "Cell", "x -> Tanh"]),
        ("Linear(8); y = flow -> Tanh; y + y", []),
        ("Linear(8); { flow + x }; for i in [1, 2] { flow * i }", []),
        ("Linear(8); (x, flow); flow -> Both", []),
        ("_ = Linear(8); x; Tanh; if false { x }", []),
        ("a: Linear(8); a", []),
        ("Linear(8); y = flow; x -> Tanh; flow + y", []),
        ("LSTM(4, batch_first=true); y = flow; a, _ = y; x -> Tanh; cat([flow, a], dim=2)", []),
        ("Linear(8); nothing", ["nothing"]),
    ],
)
def test_a_value_that_the_next_statement_drops_is_told(body: str, dropped: list[str]):
    used = [name for name in ("Cell", "Both") if name in body]
    blocks = {
        "Cell": "block Cell(x: f32[N, C]) { Linear(C); x + 1 }\n",
        "Both": "block Both(a: f32[N, C], b: f32[N, C]) { a + b }\n",
    }
    kind = "f32[N, T, 8]" if "LSTM" in body else "f32[N, 8]"
    told = codes("".join(blocks[name] for name in used) + f"model Net(x: {kind}) {{ {body} }}")
    found = [(code, text) for code, text in told if code.startswith("E")]
    assert [text for _, text in found] == dropped
    assert all(code == ("E0220" if text == "nothing" else "E0239") for code, text in found)
