"""Programs that mean nothing: the code of the problem, and the text that it points at."""

import time

import pytest
from programs import codes

M = "block Two(a: f32[N, T, C], b: f32[N, T, C]) {{ a + b }}\nmodel M(x: f32[N, 4], y: f32[K, 4]) {{ {} }}"

BODIES = {
    # names
    "Liner(3) -> relU -> foo": [("E0220", "Liner"), ("E0220", "relU"), ("E0220", "foo")],
    "{ a: Linear(4) } -> a": [("E0220", "a")],
    "if true { a = ReLU ; a } ; a": [("E0220", "a")],
    "a: Linear(4) -> a: Linear(4)": [("E0221", "a")],
    "repeat 2 { a: Linear(4) }": [("E0221", "a")],
    '"1": Linear(4) -> Linear(4)': [("E0221", "Linear(4)")],
    "a = ReLU ; a = Tanh ; flow + a": [("E0221", "a")],
    "x = ReLU ; x": [("E0221", "x")],
    "a = Linear(3) ; x": [("E0222", "a")],
    "wte: Linear(4) -> { Linear(4, weight=wte.weight) }": [("E0235", "weight=wte.weight")],
    "a: Linear(4) -> { a }": [("E0235", "a")],
    "a: ReLU -> b: relu": [("E0235", "b")],
    # arguments
    "Linear(3, baias=false)": [("E0223", "baias")],
    "Linear(4, 3)": [("E0225", "4")],
    "Linear": [("E0224", "Linear")],
    'Linear("3")': [("E0226", '"3"')],
    "(x, x) -> Linear(3)": [("E0310", "Linear(3)")],
    "(x, x) -> cat([flow], dim=1)": [("E0226", "[flow]")],
    "((x, x), x) -> Bilinear(3)": [("E0226", "Bilinear(3)")],
    "(x, x) -> relu": [("E0310", "relu")],
    "unsqueeze(1) -> MultiheadAttention(2, need_weights=false) -> Two": [("E0310", "Two")],
    "add((x, x))": [("E0226", "(x, x)")],
    "cat(x)": [("E0226", "x")],
    # stages and values
    "ReLU - Dropout(0.5)": [("E0228", "ReLU")],
    "x + Linear(4)": [("E0228", "Linear(4)")],
    "-ReLU": [("E0228", "ReLU")],
    "x -> x": [("E0227", "x")],
    "flow + 3 -> 4": [("E0227", "4")],
    "exp -> Linear(3)": [("E0227", "exp")],
    "x(3)": [("E0227", "x")],
    "a: (x + 1)": [("E0235", "a")],
    "if x { ReLU }": [("E0229", "x")],
    "if N > 4 { ReLU }": [("E0229", "N > 4")],
    "Linear(7 / 2) -> Linear(1 / 0) -> Linear([1, 2][2])": [
        ("E0229", "7 / 2"),
        ("E0229", "1 / 0"),
        ("E0229", "[1, 2][2]"),
    ],
    # bodies
    "return Linear(3) ; ReLU": [("E0235", "ReLU")],
    "if true { return ReLU } ; Tanh": [("E0235", "Tanh")],
    "repeat 2 { return ReLU }": [("E0235", "return ReLU")],
    "for i in [1] { return Linear(i) }": [("E0235", "return Linear(i)")],
    "param w: f32[N, 4] = ones ; x * w": [("E0229", "f32[N, 4]")],
    'init "*.q" = zeros ; Linear(3)': [("E0234", '"*.q"')],
    "init Conv2d = zeros ; Linear(3)": [("E0234", "Conv2d")],
    "param w: f32[4] = xavier_uniform ; x * w": [("E0311", "xavier_uniform")],
    "param w: f32[4] = [1, 2] ; x * w": [("E0227", "[1, 2]")],
    'Linear(3) ; init "*" = xavier_uniform': [("E0311", "xavier_uniform")],
    # unpacking
    "a, b, c = x -> chunk(2, dim=1) ; a + b + c": [("E0232", "a, b, c")],
    "a, b = Linear(3) ; a + b": [("E0232", "a, b")],
    "out, h, c = x -> unsqueeze(1) -> LSTM(3) ; out + h + c": [("E0232", "out, h, c")],
    "for a, b in [[1, 2, 3]] { Linear(a + b) }": [("E0232", "a, b")],
    # sizes
    "x + y": [("E0305", "x + y")],
    "cat([x, y], dim=1)": [("E0301", "cat([x, y], dim=1)")],
    "reshape(N * 5)": [("E0301", "reshape(N * 5)")],
    "x[:, 5]": [("E0307", "5")],
    "x[0, 0, 0]": [("E0302", "x[0, 0, 0]")],
    "x[y]": [("E0303", "y")],
    "x[:, ::-1]": [("E0229", "::-1")],
    # without an end
    "repeat 10_000_000 { ReLU }": [("E0231", "10_000_000")],
    "repeat 9999 { repeat 9999 { repeat 9999 { ReLU } } }": [("E0231", "9999")],
    "repeat 9999 { repeat 9999 { } }": [("E0231", "9999")],
    "for i in range(10_000_000) { ReLU }": [("E0229", "range(10_000_000)")],
    "Linear(2 ** 10_000_000)": [("E0229", "2 ** 10_000_000")],
    "Linear(10 ** 30)": [("E0229", "10 ** 30")],
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_refused(body: str) -> None:
    begun = time.process_time()
    assert codes(M.format(body)) == BODIES[body]
    assert time.process_time() - begun < 5


FILES = {
    "needs itself, through another block": (
        "block A(x: f32[N, C]) { B }\nblock B(x: f32[N, C]) { A }\nmodel M(x: f32[N, 4]) { A }",
        [("E0230", "A")],
    ),
    "a model in itself": ("model M(x: f32[N, 4]) { M }", [("E0230", "M")]),
    "a function of itself": ("fn f(n) = f(n - 1)\nmodel M(x: f32[N, 4]) { Linear(f(3)) }", [("E0230", "f(n - 1)")]),
    "constants in a circle": ("let a = b\nlet b = a\nmodel M(x: f32[N, 4]) { Linear(a) }", [("E0230", "a")]),
    "a function that doubles": (
        "fn f0(n) = n\n"
        + "".join(f"fn f{i + 1}(n) = f{i}(n) + f{i}(n)\n" for i in range(40))
        + "model M(x: f32[N, 4]) { Linear(f40(1)) }",
        [("E0231", "f3(n)")],
    ),
    "a list that doubles": (
        "let a0 = [1]\n"
        + "".join(f"let a{i + 1} = a{i} + a{i}\n" for i in range(40))
        + "model M(x: f32[N, 4]) { Linear(len(a40)) }",
        [("E0229", "a16 + a16")],
    ),
    "blocks that double": (
        "block B0(x: f32[N, C]) { relu }\n"
        + "".join(f"block B{i + 1}(x: f32[N, C]) {{ B{i} -> B{i} }}\n" for i in range(40))
        + "model M(x: f32[N, 4]) { B40 }",
        [("E0231", "B1")],
    ),
    "settings of a block": (
        "block B(x: f32[N, C], a: layer) { a }\nmodel M(x: f32[N, 4]) { B -> B(3) -> B(a=ReLU, k=3) -> B(ReLU, Tanh) }",
        [("E0224", "B"), ("E0226", "3"), ("E0223", "k"), ("E0225", "Tanh")],
    ),
    "inputs of a block": (
        "block B(a: f32[N, C], b: f32[N, C]) { a + b }\nmodel M(x: f32[N, 4]) { B -> (flow, x, x) -> B }",
        [("E0310", "B"), ("E0310", "B")],
    ),
    "sizes of a block": (
        "block B(a: f32[N, C], b: f32[N, C]) { a + b }\nmodel M(x: f32[N, 4], y: f32[N, 5]) { (x, y) -> B }",
        [("E0301", "B")],
    ),
    "a name of torch's": ("let ReLU = 3\nmodel M(x: f32[N, 4]) { x }", [("E0221", "ReLU")]),
    "a result of another type": ("model M(x: f32[N, 4]) -> f32[N, 5] { Linear(4) }", [("E0309", "Linear(4)")]),
    "a size that nothing fixes": ("model M(x: f32[N, H]) { Linear(3) }", [("E0311", "Linear(3)")]),
    "the number of rounds": ("model M(x: f32[N, 4]) { repeat N { ReLU } }", [("E0229", "N")]),
    "conditions that nothing meets": ("model M(x: f32[N, 4]) where N > 5, N < 3 { x }", [("E0229", "N < 3")]),
    "two ranks in one type": (
        "block B(x: f32[*S, *T]) { relu }\nmodel M(x: f32[N, 4]) { B }",
        [("E0238", "*T")],
    ),
    "types that are none": (
        "model M(x: f32[-1, 8], y: f33[3], z: f32[3.5]) { Linear(3) }",
        [("E0238", "-1"), ("E0238", "f33"), ("E0238", "3.5")],
    ),
    "a condition that is needed": (
        "model M(x: f32[N, 1, H]) { x -> MaxPool1d(2) -> Upsample(scale_factor=2) -> flow + x }",
        [("E0308", "M")],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_is_refused(case: str) -> None:
    text, expected = FILES[case]
    assert codes(text) == expected


END = "\nmodel M(x: f32[N, 4]) { x }"

IMPORTS = {
    "itself": ({"input.exp": "let a = 1"}, 'import "input.exp"', [("E0233", '"input.exp"')]),
    "a circle": (
        {"a.exp": 'import "b.exp"', "b.exp": 'import "a.exp"'},
        'import "a.exp"',
        [("E0233", '"a.exp"')],
    ),
    "missing": ({}, 'import "nowhere.exp"', [("E0233", '"nowhere.exp"')]),
    "no such name": ({"a.exp": "let one = 1"}, 'from "a.exp" import two', [("E0233", "two")]),
    "two of one name": (
        {"a.exp": "let one = 1", "b.exp": "let one = 2"},
        'from "a.exp" import one\nfrom "b.exp" import one',
        [("E0221", "one")],
    ),
    "broken inside": ({"a.exp": "let one = foo"}, 'from "a.exp" import one\nlet two = one', [("E0220", "foo")]),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_an_import_is_refused(case: str) -> None:
    files, text, expected = IMPORTS[case]
    assert codes(text + END, files) == expected
