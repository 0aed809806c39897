"""The grammar: every construct of the language gives the right tree, with exact places."""

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from expc.diagnostics import Report, Source
from expc.spec import syntax
from expc.spec.parser import parse, parse_value

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.exp"))

FILES = [
    "let z = 20",
    "let Unit = ConvNorm(act=SiLU); let k = 3",
    "let prepare = ToTensor -> Normalize([0.1307], [0.3081])",
    "fn divisible(v, d=8) = max(d, (v + d // 2) // d * d)",
    "fn none_given() = none",
    "block Down(out: int) { MaxPool2d(2) -> DoubleConv(out) }",
    "block Act(p: float = 0.0, act: layer = ReLU, xs: list = [1, 2,],) { act }",
    "block Bare { ReLU }",
    "model M(x: f32[N, 3, H, W]) -> f32[N, 10] where H % 16 == 0, W % 16 == 0 { Flatten }",
    "model M(x: f32[N]) -> (recon: f32[N], aux: f32[N, classes] in training,) { x }",
    "model M(x: f32[*S, C // 2, heads * D], m: bool[], y: class(21)[H, W]) -> class(10) { x }",
    "model Dishes = VisionTransformer(classes=101)",
    'import "file.exp"',
    'from "file.exp" import A, B',
    'extern layer Fast(p: float = 0.1): f32[N, C] -> f32[N, C] = "package.module:Name"',
    'extern loss Pair(): (f32[N], f32[N]) -> f32[] = "a:B"',
    'extern metric Two(): f32[N], f32[N] -> f32[] = "a:B"',
    'extern optimizer Lion(lr: float = 1e-4) = "a:B"\nextern schedule Warm() = "a:B"',
    'extern transform Blur(): f32[3, H, W] -> f32[3, H, W] = "a:B"',
    'extern dataset Faces(): (image: f32[3, 64, 64], label: class(7)) * 12_000 = "my.data:Faces"',
    "data { fit, held = MNIST(download=true) -> split(0.9), batch = 128; workers = 4 }",
    'data { train = Csv("a.csv") -> as (features: f32[12], label: class(3)) }',
    "data { train = A -> { image, mask = (image, mask) -> RandomCrop(256) } }",
    "data { train = A -> { a = image -> view; b = image -> view } -> { label = label -> OneHot(10) } }",
    "checkpoint { every = 1 epochs, keep = 2, best = max(val.accuracy) }",
    'train {\n  loss { recon = bce(recon, image) / N, kl = beta * -0.5\n    l1 = 1e-5 * l1(weights("*.weight")) }\n}',
    "train { metrics { breed = (breed, category) -> Accuracy } }",
    'train { group "*.bias" { weight_decay = 0 }, group LayerNorm { lr = 0.1 }\n group Conv2d.weight { lr = 1 } }',
    'train { group "h.*" { optimizer = Muon(lr=0.02) } }',
    "train { schedule = LinearLR(start_factor=0.1) for 100 steps -> CosineAnnealingLR }",
    'train { freeze = ["conv1.*"] for 2 epochs; init "*" = load("a.safetensors", drop="prefix.") }',
    'train { for i, k in [[1, 2]] { group "layer{i}.*" { lr = k } } }',
    "train { if big { steps = 5 } else if small { steps = 2 } else { steps = 1 } }",
    "train { early_stop = min(val.loss, patience=5, min_delta=1e-3), every = 30 min, memory = 4 GiB }",
    "train { train = 1, val = 2, loss = 3, steps = 4, group = 5, where = 6 }",
]

BODIES = [
    "Conv2d(64, 3, stride=2,)",
    "q, k, v = c_attn: Linear(3 * C) -> unbind(0)",
    "out, (h, c) = LSTM(8)",
    "(a, b) = x -> chunk(2)",
    "flow + (ln_1: LayerNorm -> attn: Attention(heads, p))          # residual",
    "skip = x if stride == 1 and C == out else (downsample: { Conv2d(out, 1) -> BatchNorm2d })",
    "repeat 2 as i { Conv2d(32 * 2 ** i, 3) -> ReLU }",
    "h: repeat depth { Layer }",
    'h: { repeat 2 { B } }; "block": { A }; "layer{i + 1}": { A -> B }',
    "for i, out, stride in [[1, 64, 1], [2, 128, 2]] { A(out) }",
    "for i, (a, b) in enumerate(zip(xs, ys)) { A }",
    "for i in range(3) { A } ; B",
    "if a { A } else if not b or c { B }\nelse { C }",
    "param scale: f32[C] = ones(C)\nbuffer mask: bool[T, T] = tril(ones(T, T))",
    'init "*.weight" = normal(std=0.02)\ninit Conv2d.weight = zeros',
    "return (a, b) -> cat",
    "A\n  # in between\n\n  -> B\n  + c",
    "x -> as f32[N, T, C] -> f32",
    "(((h, s4) -> Up(512), s3) -> Up(256), s2) -> Up(128)",
    "cat([skip, flow], dim=1) -> stack([a,], dim=0)",
    "x[:, 0] + x[..., -1] + x[none] + x[1:2, ::3, a:, :b:c][mask]",
    "-2 ** -2 ** 3 * -x @ y // 2 % 3 / 4 - 1",
    "a < b and c >= d or not e != f",
    "PReLU(init=0.25) -> Attr.in.block",
    "where(a > 0, b, c) -> training",
    'f("a{x}b{{y}} {i + 1}", "\\n\\t\\"\\\\", "")',
    "MultiheadAttention(4, key_padding_mask=pad, need_weights=false)",
    "f(\n  a,\n  g: {\n    A\n    B\n  },\n  b\n  + c\n)",
    "_, x = a -> split(3); true; none; 60_000; 1e-3; 0.1",
    "ReLU -> { Linear(3) -> ReLU } -> repeat 3 { A }",
]


def read(text: str) -> syntax.File:
    report = Report()
    file = parse(Source("test.exp", text), report)
    assert not report.problems, [problem.message for problem in report.problems]
    return file


def value(text: str) -> syntax.Expr:
    report = Report()
    result = parse_value(Source("value", text), report)
    assert not report.problems, (text, [problem.message for problem in report.problems])
    return result


def body(text: str) -> tuple[syntax.Statement, ...]:
    block = read(f"block B {{\n{text}\n}}").statements[0]
    assert isinstance(block, syntax.Block)
    return block.body.statements


def children(node: syntax.Node) -> Iterator[syntax.Node]:
    for field in dataclasses.fields(node):
        part = getattr(node, field.name)
        for item in part if isinstance(part, tuple) else (part,):
            if isinstance(item, syntax.Node):
                yield item


def walk(node: syntax.Node) -> Iterator[syntax.Node]:
    yield node
    for child in children(node):
        yield from walk(child)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_read(path: Path) -> None:
    assert len(read(path.read_text("utf-8")).statements) >= 2


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("text", [*FILES, *(f"block B {{\n{text}\n}}" for text in BODIES)])
def test_spans_nest_and_mean_what_they_cover(text: str) -> None:
    for node in walk(read(text)):
        parts = list(children(node))
        assert all(node.span.start <= part.span.start <= part.span.end <= node.span.end for part in parts)
        assert all(a.span.end <= b.span.start for a, b in pairwise(parts)), node
        assert node.span.text == node.span.text.strip() or isinstance(node, syntax.File)
        label = node.label if isinstance(node, syntax.Labelled) else None
        for part in parts:
            alone = not isinstance(part, syntax.Slice | syntax.Star) and part is not label
            if isinstance(part, syntax.Body):  # not that of `else if`, nor one that holds sections
                alone = part.span.text[0] == "{" and not any(isinstance(n, syntax.Section) for n in walk(part))
            if isinstance(part, syntax.Expr) and alone and part.span.text != "...":
                assert value(part.span.text) == part


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("-2 ** 2", "-(2 ** 2)"),
        ("2 ** -1 ** 2", "2 ** (-(1 ** 2))"),
        ("-x * y", "(-x) * y"),
        ("a - b - c", "(a - b) - c"),
        ("a + b * c @ d", "a + ((b * c) @ d)"),
        ("not a == b", "not (a == b)"),
        ("a or b and not c", "a or (b and (not c))"),
        ("a if b or c else d if e else f", "a if (b or c) else (d if e else f)"),
        ("a + b -> c if d else e", "(a + b) -> (c if d else e)"),
        ("a.b(c)[d] ** e", "((((a.b)(c))[d])) ** e"),
    ],
)
def test_operators_bind_as_the_language_says(text: str, like: str) -> None:
    def bare(node: object) -> object:
        if isinstance(node, syntax.Paren):
            return bare(node.inner)
        if isinstance(node, syntax.Node):
            fields = [field.name for field in dataclasses.fields(node) if field.compare]
            return type(node), *(bare(getattr(node, name)) for name in fields)
        return tuple(map(bare, node)) if isinstance(node, tuple) else node

    assert bare(value(text)) == bare(value(like))
    assert value(text) != value(like)


def test_lines_go_on_and_statements_end() -> None:
    one = body("A -> B + c")
    assert one == body("A\n\n # why\n -> B\n + c")
    assert body("f(a,\n b\n)") == body("f(a, b)")
    assert len(body("A; B\nC;;\n\n;D")) == 4
    assert len(body("f(a: {\n A\n B\n})")) == 1
    assert body("if a { A }\n\n else { B }") == body("if a { A } else { B }")


def test_quantities_have_one_unit() -> None:
    units = {"1 epochs": "epoch", "1 step": "step", "30 min": "minute", "2 h": "hour", "9 s": "second", "4 GiB": "GiB"}
    for text, unit in units.items():
        quantity = value(text)
        assert isinstance(quantity, syntax.Quantity)
        assert quantity.unit == unit


def test_templates_hold_expressions_at_their_places() -> None:
    source = Source("test.exp", 'let x = "layer{{{i + 1}.{j}}}\\n"')
    report = Report()
    statement = parse(source, report).statements[0]
    assert isinstance(statement, syntax.Let)
    template = statement.value
    assert isinstance(template, syntax.Template)
    assert not report.problems
    texts = [part if isinstance(part, str) else part.span.text for part in template.parts]
    assert texts == ["layer{", "i + 1", ".", "j", "}\n"]


def test_words_of_sections_are_names() -> None:
    section = read("train { train = 1, val = 2, group = 3, data = 4, loss { steps = 1 } }").statements[0]
    assert isinstance(section, syntax.Section)
    names = [part.target.name if isinstance(part, syntax.Bind) else "section" for part in section.statements]
    assert names == ["train", "val", "group", "data", "section"]


def test_else_if_is_a_body_with_an_if() -> None:
    (statement,) = body("if a { A } else if b { B } else { C }")
    assert isinstance(statement, syntax.If)
    assert isinstance(statement.orelse, syntax.Body)
    assert isinstance(statement.orelse.statements[0], syntax.If)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\ufeff", "   \n\n", ";"])
def test_empty_files(text: str) -> None:
    assert read(text).statements == ()
