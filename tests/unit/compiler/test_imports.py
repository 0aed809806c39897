"""Names that come from other files: each means one thing, whichever way it comes."""

import pytest
from programs import reader

from expc.compiler.session import check_text

FILES = {
    "base.exp": "block Core(out: int) { Linear(out) -> ReLU }\nlet width = 16\n",
    "a.exp": 'import "base.exp"\nblock A(x: f32[N, C]) { Core(width) }\n',
    "b.exp": 'import "base.exp"\nblock B(x: f32[N, C]) { Core(width) }\n',
    "other.exp": "block A(x: f32[N, C]) { Linear(3) }\n",
    "net.exp": 'import "a.exp"\nmodel Net(x: f32[N, 8]) -> f32[N, 16] { A }\n',
}
TRAIN = """
data { train = Npz("a.npz") -> as (x: f32[8], y: f32[16]), batch = 8 }
train { epochs = 1, loss = MSELoss, optimizer = SGD }
"""


def problems(text: str) -> list[tuple[str, str]]:
    found = check_text(text, "main.exp", read=reader(FILES)).problems
    return [(problem.code, problem.message) for problem in found if problem.severity == "error"]


@pytest.mark.parametrize(
    "text",
    [
        'import "a.exp"\nimport "b.exp"\nmodel Net(x: f32[N, 8]) -> f32[N, 16] { A -> B }\n',
        'import "a.exp"\nimport "base.exp"\nmodel Net(x: f32[N, 8]) -> f32[N, 16] { A -> Core(width) }\n',
        'from "a.exp" import Core\nmodel Net(x: f32[N, 8]) -> f32[N, 3] { Core(3) }\n',
        f'from "net.exp" import Net\n{TRAIN}',
        f'import "net.exp"\n{TRAIN}',
        'import "net.exp"\nmodel Big(x: f32[N, 8]) -> f32[N, 2] { body: Net -> Linear(2) }\n',
    ],
)
def test_a_declaration_may_come_by_several_ways(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('import "a.exp"\nimport "other.exp"\n', "`A` is declared by two files that are imported"),
        ('from "a.exp" import A\nimport "other.exp"\n', "`A` is declared by two files that are imported"),
        ('import "a.exp"\nfrom "other.exp" import A\n', "`A` is declared twice"),
        ('from "a.exp" import A\nfrom "other.exp" import A\n', "`A` is declared twice"),
        ('import "a.exp"\nblock A(x: f32[N, C]) { ReLU }\n', "`A` is declared twice"),
    ],
)
def test_a_name_means_one_thing(text: str, told: str) -> None:
    assert problems(text) == [("E0221", told)]
