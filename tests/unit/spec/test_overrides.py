"""Options: they act like the file's own lines, and an error about one names it."""

import pytest
import yaml
from evaluated import tables_of

from expc.diagnostics import Report, Source
from expc.spec import syntax
from expc.spec.binding import bind
from expc.spec.overrides import apply_overrides, parse_override
from expc.spec.parser import parse
from expc.spec.resolved import resolved_yaml
from expc.spec.values import Setting

FILE = """let width = 64
data {
  fit, held = MNIST("data") -> split(0.9)
  batch = 8
}
train {
  epochs    = 5
  loss { a = MSELoss }
  optimizer = SGD
  if width == 64 { seed = 1 } else { seed = 2 }
}
"""


def changed(*options, text=FILE):
    report = Report()
    file = parse(Source("net.exp", text), report)
    overrides = [override for option in options if (override := parse_override(option, report)) is not None]
    return file, apply_overrides(file, overrides, report), report.problems


def same(result, text):
    report = Report()
    assert result == parse(Source("other.exp", text), report)
    assert not report.problems


def bound(*options, text="train { epochs = 5, loss = MSELoss, optimizer = SGD }\n"):
    _, result, problems = changed(*options, text=text)
    assert not problems
    report = Report()
    return bind("net", tables_of(result), report), report.problems


@pytest.mark.parametrize(
    ("options", "old", "new"),
    [
        (["width=128"], "let width = 64", "let width = 128"),
        (["width = 2 * 64"], "let width = 64", "let width = 2 * 64"),
        (["train.epochs=1"], "epochs    = 5", "epochs = 1"),
        (["train.epochs=1", "train.epochs=2"], "epochs    = 5", "epochs = 2"),
        (['train.loss=L1Loss(reduction="sum")'], "loss { a = MSELoss }", 'loss = L1Loss(reduction="sum")'),
        (["train.seed=3"], "{ seed = 1 } else { seed = 2 }", "{ seed = 3 } else { seed = 3 }"),
        (["data.workers=2"], "batch = 8", "batch = 8\n  workers = 2"),
        (["data.workers=2", "data.workers=3"], "batch = 8", "batch = 8\n  workers = 3"),
        (["log.every=1 epochs", "log.images=1"], "if width", "if width"),
    ],
)
def test_an_option_does_what_a_line_of_the_file_would(options, old, new):
    _, result, problems = changed(*options)
    assert problems == ()
    assert FILE.count(old) == 1
    addition = "log { every = 1 epochs, images = 1 }\n" if options[0].startswith("log") else ""
    same(result, FILE.replace(old, new) + addition)


def test_the_file_itself_stays_as_it_is():
    file, result, _ = changed("train.epochs=1")
    assert file != result
    same(file, FILE)


@pytest.mark.parametrize(
    ("option", "code", "place", "message"),
    [
        ("train.epochs", "E0211", "train.epochs", "`--set train.epochs` sets nothing: write `--set NAME=VALUE`"),
        ("", "E0211", "", "sets nothing"),
        ("=3", "E0211", "=3", "sets nothing"),
        ("width=", "E0211", "width=", "sets nothing"),
        ("wi-dth=3", "E0211", "wi-dth", "`wi-dth` cannot be set"),
        ("train.loss.a=3", "E0211", "train.loss.a", "`train.loss.a` cannot be set"),
        ("widht=3", "E0211", "widht", "the file has no `let widht`; did you mean `width`?"),
        ("epochs=3", "E0211", "epochs", "the file has no `let epochs`; did you mean `train.epochs`?"),
        ("train=3", "E0211", "train", "`train` is a section: write `--set train.KEY=VALUE`"),
        ("trian.epochs=3", "E0210", "trian", "there is no section `trian`; did you mean `train`?"),
        ("data.held=3", "E0211", "data.held", "`held` is bound together with `fit`, so it cannot be set alone"),
    ],
)
def test_an_option_that_cannot_be_followed_is_named_and_changes_nothing(option, code, place, message):
    file, result, (problem,) = changed(option)
    assert (problem.code, problem.span.text) == (code, place)
    assert message in problem.message
    assert problem.span.source.name == f"--set {option}"
    assert problem.span.source.text == option
    assert result == file


@pytest.mark.parametrize("value", ["3 +", "(1", "[1, 2", '"open', "1 2 3", "}", "=", "let x = 3", "\x00", "(" * 5000])
def test_a_value_that_cannot_be_read_is_a_problem_of_the_option(value):
    file, result, problems = changed(f"width={value}")
    assert problems
    assert {problem.span.source.name for problem in problems} == {f"--set width={value}"}
    assert all(problem.code.startswith("E01") for problem in problems)
    assert isinstance(result, syntax.File)
    assert isinstance(file, syntax.File)


def test_a_value_of_the_wrong_type_is_told_at_the_option():
    experiment, (problem,) = bound('train.epochs="a"')
    assert problem.code == "E0204"
    assert problem.span.source.name == '--set train.epochs="a"'
    assert problem.span.text == '"a"'
    assert experiment.train.epochs is None


def test_an_unknown_key_is_told_at_the_option():
    _, (problem,) = bound("train.epohcs=3")
    assert (problem.code, problem.span.source.name, problem.span.text) == ("E0201", "--set train.epohcs=3", "epohcs")
    _, (problem,) = bound("log.evry=3 steps")
    assert (problem.code, problem.span.source.name, problem.span.text) == ("E0201", "--set log.evry=3 steps", "evry")


def test_options_are_remembered_as_the_origin():
    experiment, problems = bound("train.epochs=1", "log.images=2")
    assert not problems
    assert (experiment.train.epochs, experiment.log.images) == (1, 2)
    assert experiment.origins["train.epochs"] == "--set train.epochs=1"
    assert experiment.origins["log.images"] == "--set log.images=2"
    assert experiment.origins["train.optimizer"] == "net.exp:1"


def test_what_was_resolved_reads_back():
    text = 'train { epochs = 5, loss { a = MSELoss }, optimizer = SGD(lr=0.1)\n group "*.b" { lr = 2 } }\n'
    experiment, _ = bound("train.seed=7", text=text)
    span = experiment.train.groups[0].span
    resolved = yaml.safe_load(resolved_yaml(experiment, [Setting("width", 64, span, span, "net.exp:9")]))
    assert resolved["name"] == "net"
    assert resolved["let"] == {"width": {"value": 64, "from": "net.exp:9"}}
    train = resolved["train"]
    assert train["epochs"] == {"value": 5, "from": "net.exp:1"}
    assert train["seed"] == {"value": 7, "from": "--set train.seed=7"}
    assert train["optimizer"]["value"] == "SGD(lr=0.1)"
    assert train["loss"] == {"a": {"value": "MSELoss", "from": "net.exp:1"}}
    assert train["group"] == [{'group "*.b"': {"lr": {"value": 2, "from": "net.exp:2"}}}]
    assert "log" not in resolved
    assert "  epochs: {value: 5, from: 'net.exp:1'}\n" in resolved_yaml(experiment)
