"""Broken text: one problem for each mistake, at its place, and the rest is read."""

import inspect
import random
import re
import time
from pathlib import Path

import pytest

from expc.diagnostics import Problem, Report, Source
from expc.spec import syntax
from expc.spec.errors import brackets, characters
from expc.spec.errors import syntax as statements
from expc.spec.parser import PROBLEM_LIMIT, parse, parse_value

EXAMPLES = [path.read_text("utf-8") for path in sorted((Path(__file__).parents[3] / "examples").glob("*.exp"))]

PAGES = [
    kind
    for home in (brackets, characters, statements)
    for kind in vars(home).values()
    if isinstance(kind, type) and kind.__module__ == home.__name__
]


def read(text: str) -> tuple[syntax.File, list[tuple[str, int]]]:
    report = Report()
    file = parse(Source("test.exp", text), report)
    return file, [(problem.code, problem.span.line) for problem in report.problems]


def problems(text: str) -> tuple[Problem, ...]:
    report = Report()
    parse(Source("test.exp", text), report)
    return report.problems


MODEL = "model M(x: f32[N]) {{\n{}\n}}\nlet after = 1"
TRAIN = "train {{\n{}\n  last = 1\n}}\nlet after = 1"

BROKEN = [
    # What is missing or too many between two things.
    (MODEL.format("  A(64 3) -> B\n  C"), [("E0101", 2)]),
    (MODEL.format("  A -> -> B\n  C"), [("E0101", 2)]),
    (MODEL.format("  A B\n  C"), [("E0101", 2)]),
    (MODEL.format("  A +\n  B"), [("E0101", 2)]),
    (MODEL.format("  y =\n  y"), [("E0101", 2)]),
    (MODEL.format("  return x, x"), [("E0101", 2)]),
    (MODEL.format("  repeat 2 { A } B"), [("E0101", 2)]),
    (MODEL.format("  for i range(3) { A B }\n  C"), [("E0101", 2), ("E0101", 2)]),
    ("block B(x f32[N]) {\n  A B\n}\nlet after = 1", [("E0101", 1), ("E0101", 2)]),
    ("model M\n{\n  A\n}\nlet after = 1", [("E0101", 1)]),
    # Brackets.
    (MODEL.format("  repeat 2 {\n    A\n  B"), [("E0102", 3)]),
    (MODEL.format("  repeat 2\n    A\n  }\n  B"), [("E0102", 2)]),
    (MODEL.format("  h: repeat 2 { A\n  B"), [("E0102", 2)]),
    (MODEL.format("  y = f(a, 3 -> B\n  y"), [("E0102", 2)]),
    (MODEL.format("  y = f(a,\n    b\n  y"), [("E0102", 3)]),
    (MODEL.format("  (l: { A -> B )\n  C"), [("E0102", 2)]),
    (MODEL.format("  f([1, 2)\n  C"), [("E0102", 2)]),
    (MODEL.format("  f(1]\n  C"), [("E0104", 2)]),
    (MODEL.format("  f(1))\n  C"), [("E0103", 2)]),
    (MODEL.format("  f 1)\n  C"), [("E0103", 2)]),
    (MODEL.format("  A\n  }\n  C"), [("E0103", 3)]),
    ("train {\n  a = 1\n\nlet after = 1", [("E0102", 2)]),
    ("train\n  a = 1\n}\nlet after = 1", [("E0102", 1)]),
    ("block B(x: f32[N] {\n  A B\n}\nlet after = 1", [("E0102", 1), ("E0101", 2)]),
    ("block B {\nA\nrepeat 2 {\nA\n}\nlet after = 1", [("E0102", 4)]),
    # Texts, characters, numbers, units.
    (TRAIN.format('  a = "x\n  b = f("y)'), [("E0105", 2), ("E0105", 3)]),
    (TRAIN.format("  a = $5\n  b = @@ ? 3"), [("E0106", 2), ("E0101", 3)]),
    (TRAIN.format("  a = 0x1F\n  b = .5\n  c = 1.2.3"), [("E0107", 2), ("E0107", 3), ("E0107", 4)]),
    (TRAIN.format("  a = 30min"), [("E0107", 2)]),
    (TRAIN.format("  a = 1e999"), [("E0107", 2)]),
    (TRAIN.format('  a = "{"\n  b = "}"\n  c = "{}"\n  d = "\\d"'), [("E0108", line) for line in (2, 3, 4, 5)]),
    (TRAIN.format('  a = "x{1 +}"'), [("E0101", 2)]),
    (TRAIN.format("  a = 5 stepps"), [("E0109", 2)]),
    (TRAIN.format("  a = 1 < 2 < 3"), [("E0112", 2)]),
    # Words.
    ("let model = 3\nlet after = 1", [("E0110", 1)]),
    (TRAIN.format("  init = 3"), [("E0110", 2)]),
    ("modle M(x: f32[N]) {\n  retrun A\n}\nlet after = 1", [("E0111", 1), ("E0111", 2)]),
    # Habits from elsewhere.
    (MODEL.format("  A(True, None)"), [("E0111", 2), ("E0111", 2)]),
    (MODEL.format("  A |> B => C → D"), [("E0111", 2)] * 3),
    (MODEL.format("  'a' -> “b”"), [("E0111", 2)] * 2),
    (MODEL.format("  if x = 3 { A } else { B }"), [("E0101", 2)]),
    (MODEL.format("  if x: { A }"), [("E0111", 2)]),
    (MODEL.format("  for i in range(3):\n    A\n    B\n  C"), [("E0111", 2)]),
    (MODEL.format("  if a { A } elif b { B }"), [("E0111", 2)]),
    (MODEL.format("  y = lambda x: x + 1\n  y"), [("E0111", 2)]),
    (MODEL.format("  A(*a, **b)"), [("E0111", 2)]),
    (MODEL.format("  self.y = A"), [("E0115", 2)]),
    (MODEL.format("  A // this is a comment\n  // and this too\n  B"), [("E0111", 2), ("E0111", 3)]),
    ("import torch\nfrom torch import nn\nlet after = 1", [("E0111", 1), ("E0111", 2)]),
    ("class Net(nn.Module):\n    def f(self):\n        self.x = 3\n\nlet after = 1", [("E0111", 1)]),
    ("def f(x):\n    return x\nlet after = 1", [("E0111", 1)]),
    (TRAIN.format("  a: 5, b == 6; c AdamW(lr=1)\n  d 7"), [("E0116", 2)] * 3 + [("E0116", 3)]),
    (TRAIN.format("  Conv2d(3)\n  a.b = 3"), [("E0116", 2), ("E0115", 3)]),
    # The wrong place.
    ("x = 3\nConv2d(3)\nrepeat 3 { A }\nlet after = 1", [("E0118", 1), ("E0118", 2), ("E0118", 3)]),
    (MODEL.format("  let a = 3\n  train { b = 4 }\n  a"), [("E0118", 2), ("E0118", 3)]),
    (TRAIN.format("  repeat 3 { A }\n  param w: f32 = ones"), [("E0118", 2), ("E0118", 3)]),
    ('extern module A() = "a:B"\nlet after = 1', [("E0119", 1)]),
    ("let x == 4\nlet after = 1", [("E0101", 1)]),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_one_problem_for_each_mistake(text: str, expected: list[tuple[str, int]]) -> None:
    file, found = read(text)
    assert found == expected
    last = file.statements[-1]
    assert isinstance(last, syntax.Let), "what follows the mistake is read"
    assert last.name == "after"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_pages_show_their_problem(page: type[Problem]) -> None:
    examples = re.findall(r"```exp (wrong|right)\n(.*?)```", inspect.getdoc(page) or "", re.DOTALL)
    assert "right" in dict(examples)
    for kind, text in examples:
        assert [code for code, _ in read(text)[1]] == ([page.code] if kind == "wrong" else [])


def test_every_problem_has_a_page() -> None:
    assert len(PAGES) == len({page.code for page in PAGES}) >= 19


def test_names_of_broken_statements_stay() -> None:
    text = "let a = (1 $\nfn f(x = 1\nblock B(x: ) { A }\nmodel M(x: f32[N 3]) { y, (z, _) = $\n lab: A -> $ }\n"
    file, _ = read(text + "train { epochs = = 5\n steps 5 5\n }")
    names = [getattr(statement, "name", None) for statement in file.statements]
    assert names == ["a", "f", "B", "M", "train"]
    section = file.statements[-1]
    assert isinstance(section, syntax.Section)
    assert [s.target.name for s in section.statements if isinstance(s, syntax.Bind)] == ["epochs", "steps"]


def test_broken_steps_of_a_body_are_missing_not_gone() -> None:
    block = read("block B {\n  y, z = A $\n  lab: A -> B $\n  init $\n  return $\n}")[0].statements[0]
    assert isinstance(block, syntax.Block)
    bind, flow, returned = block.body.statements
    assert isinstance(bind, syntax.Bind)
    assert [pattern.name for pattern in bind.target.items] == ["y", "z"]
    assert isinstance(bind.value, syntax.Missing)
    assert isinstance(flow, syntax.Flow)
    assert isinstance(flow.value, syntax.Chain)
    assert isinstance(flow.value.stages[1], syntax.Labelled)
    assert isinstance(returned, syntax.Return)
    assert isinstance(returned.value, syntax.Missing)


def test_unclosed_brackets_point_at_both_ends() -> None:
    (problem,) = problems("model M {\n  repeat 2 {\n    A\n  B\n}")
    assert [(label.span.line, label.span.text) for label in problem.labels] == [(2, "{")]
    assert problem.fixes[0].edits[0].text == "\n  }"


SAFE = [
    "model M(x: f32[N]) { A(True) |> 'b' => c }",
    "let a = .5 + 0x1F + 5. + 30min",
    "train { a: 5, b == 6 }",
    "model M(x: f32[N]) { if x = 3 { A } elif y { B } // one comment\n}",
    "train: { a = 5 }",
]


@pytest.mark.parametrize("text", SAFE)
def test_safe_fixes_mend(text: str) -> None:
    found = problems(text)
    assert found
    edits = [edit for problem in found for fix in problem.fixes[:1] if fix.safety == "safe" for edit in fix.edits]
    assert len(edits) == len(found)
    for edit in sorted(edits, key=lambda edit: -edit.span.start):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    assert not problems(text), text


def test_many_mistakes_are_cut_short() -> None:
    found = problems("train {\n" + "a b c\n" * 1000 + "}")
    assert len(found) == PROBLEM_LIMIT + 1
    assert found[-1].code == "E0117"


COUNT = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "{" * COUNT,
        "}" * COUNT,
        "let x = " + "(" * COUNT,
        "let x = " + "[" * COUNT + "]" * COUNT,
        "model M { " * COUNT,
        "$ " * COUNT,
        "@@ foo\n" * (COUNT // 2),
        "foo\n" * COUNT,
        "a" * COUNT,
        '"' * COUNT,
        "\0" * COUNT,
        "let x = " + "9" * COUNT,
        "let x = 1" + " + 1" * COUNT,
        "let x = " + "-" * COUNT + "1",
        "let x = " + "not " * COUNT + "a",
        "let x = 2" + " ** 2" * COUNT,
        "let x = " + "a if b else " * (COUNT // 2) + "c",
        "model M { if a { } " + "else if a { } " * (COUNT // 5) + "}",
        "let x = a" + ".b" * COUNT,
        "let x = a" + "(b)" * (COUNT // 2),
        "train {" + "a: 5," * (COUNT // 4) + "}",
        "'a" * (COUNT // 2),
        "/*" * COUNT,
        "a//" * (COUNT // 2),
        "({[" * (COUNT // 3),
        "if x:\n  a\n" * (COUNT // 4),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_monsters_are_refused_in_time(text: str) -> None:
    start = time.process_time()
    found = problems(text)
    assert time.process_time() - start < 2
    assert 1 <= len(found) <= PROBLEM_LIMIT + 1


def test_any_text_gives_a_tree() -> None:
    rng = random.Random(0)
    for _ in range(300):
        text = rng.choice(EXAMPLES)
        cut = rng.randrange(len(text))
        pieces = re.findall(r"\w+|\s+|.", text)
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:cut]
        elif kind == 1:
            del pieces[rng.randrange(len(pieces))]
            text = "".join(pieces)
        elif kind == 2:
            text = text[:cut] + rng.choice("{}[]()\"'$@,:;=-><.\n#`\\") + text[cut + rng.randrange(3) :]
        else:
            rng.shuffle(pieces)
            text = "".join(pieces[:300])
        start = time.process_time()
        file, _ = read(text)
        assert isinstance(file, syntax.File)
        assert time.process_time() - start < 2


@pytest.mark.parametrize("text", ["", "1 +", "a b", "$", "(", "1; 2", "\0", "{", "a = 3"])
def test_a_broken_value_is_missing(text: str) -> None:
    report = Report()
    assert isinstance(parse_value(Source("--set a", text), report), syntax.Missing)
    assert len(report.problems) == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("let a = 1\nlet b = (2 $\nlet c = 3", "let b = (2 $"),
        ("block B(x: f32[N 3]) { A }", "block B(x: f32[N 3])"),
        ("train { a = 1, b = f 2, g=3), c = 4 }\n", "b = f 2, g=3"),
        ("let a = 5 stepps", "stepps"),
    ],
)
def test_broken_places_are_known(text: str, place: str) -> None:
    assert place in {span.text for span in read(text)[0].broken}


def test_intact_files_have_no_broken_places() -> None:
    assert not read("let a = 1\nblock B { A }")[0].broken
