"""How problems look: each case is drawn and compared with the text in `tests/golden/diagnostics`.

`EXPC_RENEW=1 python -m pytest tests/unit/diagnostics` writes these texts anew.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from expc.diagnostics import Edit, Fix, Label, Problem, Severity, Source, Span, github, sarif, text
from expc.diagnostics import json as as_json
from expc.frozen import dataclass

GOLDEN = Path(__file__).parents[2] / "golden" / "diagnostics"

NET = Source(
    "net.exp",
    """\
model Net(x: f32[N, 8]) -> f32[N, 10] {
  a = Linear(4)
  b = Linear(5)

  # both branches, side by side
  cat([a, b], dim=0)
  Linear(12)
}
""",
)
OTHER = Source("blocks/other.exp", "block Other {\n  Linear(5)\n}\n")


@dataclass(frozen=True, kw_only=True)
class Wrong(Problem):
    code: ClassVar[str] = "E0999"
    name: ClassVar[str] = "something-wrong"
    template: ClassVar[str] = "`{operator}`: sizes {left} and {right} differ"

    operator: str = "cat"
    left: str = "4"
    right: str = "5"


@dataclass(frozen=True, kw_only=True)
class Doubtful(Wrong):
    code: ClassVar[str] = "W0999"
    name: ClassVar[str] = "something-doubtful"
    severity: ClassVar[Severity] = "warning"


@dataclass(frozen=True, kw_only=True)
class Improvable(Wrong):
    code: ClassVar[str] = "W0998"
    name: ClassVar[str] = "something-improvable"
    severity: ClassVar[Severity] = "hint"


def at(part: str, source: Source = NET) -> Span:
    start = source.text.index(part)
    return Span(source, start, start + len(part))


def plain() -> Problem:
    return Wrong(span=at("cat([a, b], dim=0)"))


def with_everything() -> Problem:
    return Wrong(
        span=at("dim=0"),
        labels=(
            Label(at("Linear(4)"), "4 arises here"),
            Label(at("Linear(5)"), "5 arises here"),
            Label(at("[a, b]"), "these are joined"),
        ),
        notes=("x: f32[N, 8]\n  -> Linear(5): f32[N, 5]", "sizes are compared from the left"),
        fixes=(Fix("write `dim=1`", (Edit(at("dim=0"), "dim=1"),), "safe"),),
    )


def other_file() -> Problem:
    return Doubtful(span=at("Linear(12)"), labels=(Label(at("Linear(5)", OTHER), "the other one is here"),))


def insertion_over_lines() -> Problem:
    end = at("Linear(12)").end
    gone = Edit(at("  a = Linear(4)\n"), "")
    added = Edit(Span(NET, end, end), " -> ReLU\n  Linear(10)")
    return Improvable(span=at("Linear(12)"), fixes=(Fix("add a layer, and drop `a`", (added, gone)),))


def option() -> Problem:
    return Wrong(span=at("fast", Source("--set train.lr=fast", "fast")))


def end_of_text() -> Problem:
    return Wrong(span=Span(NET, len(NET.text), len(NET.text)))


def several_lines() -> Problem:
    return Wrong(span=at("{\n  a = Linear(4)\n  b"))


def wide_and_steering_characters() -> Problem:
    source = Source("wide.exp", '\tlet 名前 = "\x1b[31m漢字" + oops\n')
    return Wrong(span=at("oops", source), operator="\x1b[31m", labels=(Label(at("名前", source), "named here"),))


def long_line() -> Problem:
    source = Source("long.exp", "{" * 100_000 + "here" + "}" * 100_000)
    return Wrong(
        span=at("here", source), operator="x" * 100_000, labels=(Label(Span(source, 0, 1), "opened far away"),)
    )


def long_wide_line() -> Problem:
    source = Source("long.exp", "名" * 200 + "e\u0301 here" + "前" * 200)
    return Wrong(span=at("here", source))


def many_places() -> Problem:
    source = Source("many.exp", "".join(f"Conv2d({i}, 3) -> oops\n" for i in range(1000)))
    spans = [Span(source, match.start(), match.end()) for match in re.finditer("oops", source.text)]
    labels = tuple(Label(span, "and here") for span in spans[1:])
    return Wrong(span=spans[0], labels=labels, fixes=(Fix("write `ReLU`", tuple(Edit(s, "ReLU") for s in spans)),))


CASES = [
    plain,
    with_everything,
    other_file,
    insertion_over_lines,
    option,
    end_of_text,
    several_lines,
    wide_and_steering_characters,
    long_line,
    long_wide_line,
    many_places,
]


def agrees(name: str, drawn: str) -> None:
    path = GOLDEN / name
    if os.environ.get("EXPC_RENEW"):
        path.write_text(drawn, "utf-8")
    assert drawn == path.read_text("utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_text(case: Callable[[], Problem]) -> None:
    agrees(f"{case.__name__}.txt", text.render(case()) + "\n")


def test_colours_change_nothing_but_colours() -> None:
    for case in CASES:
        coloured = text.render(case(), colour=True)
        assert "\x1b[1;3" in coloured
        assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == text.render(case())


def test_nothing_from_the_file_steers_the_terminal() -> None:
    assert "\x1b" not in text.render(wide_and_steering_characters())


def test_json_is_the_contract() -> None:
    agrees("with_everything.json", as_json.render([with_everything(), other_file()]) + "\n")
    data = json.loads(as_json.render([plain(), other_file(), insertion_over_lines()]))
    assert (data["version"], data["errors"], data["warnings"]) == (1, 1, 1)
    assert [d["severity"] for d in data["diagnostics"]] == ["error", "warning", "hint"]
    start, end = (data["diagnostics"][0][key] for key in ("start", "end"))
    assert NET.text[start["offset"] : end["offset"]] == "cat([a, b], dim=0)"
    assert (start["line"], start["column"]) == (6, 3)


def test_sarif_carries_what_json_does() -> None:
    problems, allowed = [plain(), with_everything(), other_file(), insertion_over_lines()], [(other_file(), "meant so")]
    plain_data = json.loads(as_json.render(problems, allowed))
    (run,) = json.loads(sarif.render(problems, allowed, "1.2.3"))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules) == 3

    def place(location: dict[str, Any]) -> dict[str, Any]:
        region = location["region"]
        start = {"line": region["startLine"], "column": region["startColumn"], "offset": region["charOffset"]}
        after = region["charOffset"] + region["charLength"]
        end = {"line": region["endLine"], "column": region["endColumn"], "offset": after}
        return {"file": location["artifactLocation"]["uri"], "start": start, "end": end}

    def edits(fix: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                **place({**change, "region": replacement["deletedRegion"]}),
                "text": replacement["insertedContent"]["text"],
            }
            for change in fix["artifactChanges"]
            for replacement in change["replacements"]
        ]

    for result, expected in zip(run["results"], [*plain_data["diagnostics"], *plain_data["allowed"]], strict=True):
        assert result["ruleId"] == rules[result["ruleIndex"]]["id"] == expected["code"]
        assert rules[result["ruleIndex"]]["name"] == expected["name"]
        assert result["level"] == expected["severity"].replace("hint", "note")
        assert result["message"]["text"] == "\n".join([expected["message"], *expected["notes"]])
        (where,) = result["locations"]
        assert place(where["physicalLocation"]).items() <= expected.items()
        labels = [{"text": r["message"]["text"], **place(r["physicalLocation"])} for r in result["relatedLocations"]]
        assert labels == expected["labels"]
        fixes = [
            {"title": fix["description"]["text"], "safety": fix["properties"]["safety"], "edits": edits(fix)}
            for fix in result["fixes"]
        ]
        assert fixes == expected["fixes"]
        reasons = [suppression["justification"] for suppression in result.get("suppressions", [])]
        assert reasons == ([expected["reason"]] if "reason" in expected else [])


def test_sarif_names_files_as_addresses() -> None:
    problem = Wrong(span=at("here", Source("a folder/ü.exp", "here")))
    other = Wrong(span=at("here", Source("/tmp/a b.exp", "here")))
    results = json.loads(sarif.render([problem, other]))["runs"][0]["results"]
    uris = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]
    assert uris == ["a%20folder/%C3%BC.exp", "file:///tmp/a%20b.exp"]


def test_github_carries_labels_notes_and_fixes() -> None:
    problem = with_everything()
    told = github.render(problem).partition("::")[2].partition("::")[2].replace("%0A", "\n").replace("%25", "%")
    assert problem.labels
    assert problem.notes
    assert problem.fixes
    for label in problem.labels:
        assert f"{text.place(label.span)}: {label.text}" in told
    for note in problem.notes:
        assert note in told
    for fix in problem.fixes:
        assert f"help ({fix.safety}): {fix.title}" in told
        assert all(edit.text in told for edit in fix.edits)


def test_github_escapes_what_would_end_a_command() -> None:
    problem = Wrong(span=at("Linear(12)", Source("a,b:c.exp", "Linear(12)")), operator="100%\n::error::no")
    line = github.render(problem)
    assert "\n" not in line
    assert line.startswith(
        "::error file=a%2Cb%3Ac.exp,line=1,col=1,endLine=1,endColumn=11,title=E0999 something-wrong::`100%25"
    )
    assert github.render(other_file()).startswith("::warning ")
    assert github.render(insertion_over_lines()).startswith("::notice ")


@pytest.mark.parametrize(
    ("problems", "words"),
    [
        ([], "no problems"),
        ([plain()], "1 error"),
        ([plain(), other_file(), plain(), insertion_over_lines()], "2 errors, 1 warning, 1 hint"),
    ],
)
def test_tally(problems: list[Problem], words: str) -> None:
    assert text.tally(problems) == words
