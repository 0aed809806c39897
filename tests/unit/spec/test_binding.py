"""Binding: what people are told about settings that do not fit, where, and once."""

import inspect
import re

import pytest
from evaluated import tables
from test_sections import LEGAL, NEEDED

from expc.diagnostics import Problem, Report
from expc.spec.binding import bind
from expc.spec.errors import names
from expc.spec.sections import SECTIONS, keys
from expc.spec.values import Quantity

PYDANTIC = re.compile(
    r"Input should|Extra inputs|Field required|validation error|pydantic|valid integer|instance of|input_type",
    re.IGNORECASE,
)
NEEDS = "epochs = 1, loss = MSELoss, optimizer = SGD"


def bound(text, known=()):
    report = Report()
    experiment = bind("net", tables(text), report, known)
    return experiment, report.problems


def only(text, known=()):
    _, problems = bound(text, known)
    assert len(problems) == 1, [problem.message for problem in problems]
    return problems[0]


def mended(text, problem):
    (edit,) = problem.fixes[0].edits
    return text[: edit.span.start] + edit.text + text[edit.span.end :]


@pytest.mark.parametrize(
    ("text", "code", "place", "message", "fix"),
    [
        ("log { evry = 1 steps }", "E0201", "evry", "`log` has no setting `evry`; did you mean `every`?", "every"),
        ("data { batch_size = 8 }", "E0201", "batch_size", "did you mean `batch`?", "batch"),
        ("log { zebra = 1 }", "E0201", "zebra", "`log` has no setting `zebra`", None),
        ("checkpoint { epochs = 1 }", "E0201", "epochs", "`checkpoint` has no setting `epochs`", None),
        ("log { images = 1, images = 2 }", "E0202", "images", "`images` is set twice in `log`", None),
        (
            'data { batch = "a" }',
            "E0204",
            '"a"',
            '`batch` must be a whole number of at least 1, but is the string "a"',
            None,
        ),
        ('data { batch = "8" }', "E0204", '"8"', 'but is the string "8"', "8"),
        ("data { batch = true }", "E0204", "true", "`batch` must be a whole number of at least 1, but is `true`", None),
        ("data { batch = 8.0 }", "E0204", "8.0", "but is 8.0", "8"),
        ("data { shuffle = 1 }", "E0204", "1", "`shuffle` must be `true` or `false`, but is 1", "true"),
        ("data { shuffle = yes }", "E0204", "yes", "`shuffle` must be `true` or `false`, but is `yes`", "true"),
        ("data { train = 3 }", "E0204", "3", '`train` must be a data set and its transforms, such as `MNIST("', None),
        (f"train {{ {NEEDS}, metrics = Accuracy }}", "E0204", "Accuracy", "must be a list of metrics", "[Accuracy]"),
        (f"train {{ {NEEDS}, clip = 1.0 }}", "E0204", "1.0", "`clip` must be `norm(x)` or `value(x)`", "norm(1.0)"),
        (f"train {{ {NEEDS}, clip = norm(true) }}", "E0204", "norm(true)", "a number `x` above 0", None),
        (f"train {{ {NEEDS}, clip = norm(-1) }}", "E0205", "norm(-1)", "a number `x` above 0", None),
        (
            f"train {{ {NEEDS}, early_stop = min(val.loss, patience=0) }}",
            "E0205",
            "min(val.loss, patience=0)",
            "",
            None,
        ),
        ("checkpoint { best = val.accuracy }", "E0204", "val.accuracy", "of a measured value", "max(val.accuracy)"),
        ("checkpoint { best = val.loss }", "E0204", "val.loss", "of a measured value", "min(val.loss)"),
        ("checkpoint { every = 10 }", "E0204", "10", "`every` must be an interval", "10 steps"),
        ("log { every { a = 1 } }", "E0204", "every", "but is a section `every { }`", None),
        ("distributed { shard = [1] }", "E0204", "[1]", "but is the list `[1]`", None),
        ("checkpoint { keep = 0 }", "E0205", "0", "`keep` must be a whole number of at least 1, but is 0", None),
        ("data { workers = -1 }", "E0205", "-1", "`workers` must be a whole number of at least 0, but is -1", None),
        ("log { every = 0 steps }", "E0205", "0 steps", "`every` must be an interval above 0", None),
        ("log { every = 1.5 steps }", "E0205", "1.5 steps", "`every` must be an interval above 0", None),
        (
            "distributed { strategy = dpp }",
            "E0206",
            "dpp",
            "`strategy` must be `auto`, `none`, `ddp` or `fsdp`, but is `dpp`; did you mean `ddp`?",
            "ddp",
        ),
        ('distributed { backend = "nccl" }', "E0206", '"nccl"', 'but is the string "nccl"', "nccl"),
        (f"train {{ {NEEDS}, precision = f64 }}", "E0206", "f64", "`f32`, `bf16`, `f16` or `auto`, but is `f64`", None),
        ("data { batch = bach }", "E0207", "bach", "`bach` is not defined; did you mean `bache`?", "bache"),
        (f"train {{ {NEEDS}, ema = 1.5 }}", "E0205", "1.5", "a number between 0 and 1", None),
        (
            f'train {{ {NEEDS}, freeze = ["a.*"] for 0 epochs }}',
            "E0205",
            '["a.*"] for 0 epochs',
            "a list of names",
            None,
        ),
        (f'train {{ {NEEDS}, freeze = ["a.*"] for 5 min }}', "E0212", '["a.*"] for 5 min', "a list of names", None),
        (f"train {{ {NEEDS}, recompute = 0 }}", "E0205", "0", "the number of segments", None),
        (f'train {{ {NEEDS}, freeze = "a.*" }}', "E0204", '"a.*"', "a list of names", '["a.*"]'),
        ("prune { amount = 1.5 }", "E0205", "1.5", "a share between 0 and 1", None),
        ("quantize { mode = int8 }", "E0206", "int8", "`dynamic`, `static` or `qat`", None),
        ("chekpoint { keep = 2 }", "E0210", "chekpoint", "there is no section `chekpoint`; did you", "checkpoint"),
        ("log { every = 4 GiB }", "E0212", "4 GiB", "but is the quantity `4 GiB`", None),
    ],
)
def test_one_mistake_is_told_once_at_its_place(text, code, place, message, fix):
    problem = only(text, ("bache",))
    assert (problem.code, problem.span.text) == (code, place)
    assert message in problem.message
    assert problem.fixes[0].edits[0].text == fix if fix else not problem.fixes


@pytest.mark.parametrize(
    "text",
    [
        "log { evry = 1 steps }",
        'data { batch = "8" }',
        "data { shuffle = yes }",
        f"train {{ {NEEDS}, metrics = Accuracy }}",
        f"train {{ {NEEDS}, clip = 1.0 }}",
        "checkpoint { best = val.loss }",
        "checkpoint { every = 10 }",
        "train { epochs = 5 epochs, loss = MSELoss, optimizer = SGD }",
        'train { epochs = 5, loss = MSELoss, optimizer = "SGD" }',
        "distributed { strategy = dpp }",
        'distributed { shard = "layer1.*" }',
        "chekpoint { keep = 2 }",
    ],
)
def test_a_fix_leaves_nothing_to_complain_about(text):
    assert bound(mended(text, only(text)))[1] == ()


def test_the_second_of_two_points_at_the_first():
    text = "log { images = 1, images = 2 }"
    experiment, (problem,) = bound(text)
    assert problem.span.start == text.rindex("images")
    assert problem.labels[0].span.start == text.index("images")
    assert experiment.log.images == 1


@pytest.mark.parametrize(
    ("settings", "needs"),
    [
        ("loss = MSELoss, optimizer = SGD", "`epochs` or `steps`"),
        ("seed = 1", "`epochs` or `steps`, `loss` and `optimizer`"),
        ("epochs = 1", "`loss` and `optimizer`"),
        ("epochs = none, loss = MSELoss, optimizer = SGD", "`epochs` or `steps`"),
    ],
)
def test_what_train_cannot_do_without(settings, needs):
    problem = only(f"train {{ {settings} }}")
    assert (problem.code, problem.span.text, problem.message) == ("E0203", "train", f"`train` needs {needs}")


@pytest.mark.parametrize(
    "settings",
    [
        "epochs = 1, loss = MSELoss, optimiser = SGD",
        "epoch = 1, loss = MSELoss, optimizer = SGD",
        "epochs = broken, loss = broken, optimizer = SGD, zebra = 1",
        'epochs = "a", loss = MSELoss, optimizer = SGD',
        "epochs = 1, loss = 3, optimizer = SGD",
    ],
)
def test_a_needed_key_that_is_misspelt_or_wrong_is_not_missing_too(settings):
    assert only(f"train {{ {settings} }}").code in ("E0201", "E0204")


def test_a_needed_key_in_the_wrong_section_is_not_missing_too():
    problem = only("train { loss = MSELoss, optimizer = SGD }\ncheckpoint { epochs = 3 }")
    assert (problem.code, problem.notes) == ("E0201", ("`epochs` is a setting of `train`",))


def test_groups_may_have_what_train_lacks():
    groups = 'group "d.*" { loss = MSELoss, optimizer = SGD }'
    assert bound(f"train {{ epochs = 1; {groups} }}")[1] == ()


def test_the_length_of_a_run_is_said_once():
    experiment, (problem,) = bound("train { steps = 100, epochs = 2, loss = MSELoss, optimizer = SGD }")
    assert (problem.code, problem.span.text, problem.labels[0].span.text) == ("E0209", "epochs", "steps")
    assert (experiment.train.epochs, experiment.train.steps) == (2, None)


def test_what_was_reported_already_is_not_reported_again():
    text = "\n".join(
        f"{section} {{\n" + "\n".join(f"{key} = broken" for key in LEGAL[section]) + "\n}" for section in LEGAL
    )
    experiment, problems = bound(text)
    assert problems == ()
    assert experiment.data.batch == 1
    assert experiment.checkpoint.every == Quantity(1, "epoch")
    assert bound(f"train {{ {NEEDS}, clip = norm(broken) }}\ncheckpoint {{ best = max(broken) }}")[1] == ()


@pytest.mark.parametrize("section", LEGAL)
@pytest.mark.parametrize("wrong", ["-7", '"text"', "word", "[1, broken]", "4 GiB", "Linear(3)", "val.loss", "0.5"])
def test_wrong_values_never_stop_the_rest_nor_show_the_validator(section, wrong):
    for key in LEGAL[section]:
        others = {**LEGAL[section], **(NEEDED if section == "train" else {}), key: wrong}
        text = f"{section} {{\n" + "\n".join(f"{name} = {value}" for name, value in others.items()) + "\n}"
        experiment, problems = bound(text)
        settings = getattr(experiment, section)
        assert len(problems) <= 1, (key, [problem.message for problem in problems])
        for problem in problems:
            shown = [problem.message, *problem.notes, *(fix.title for fix in problem.fixes)]
            assert not any(PYDANTIC.search(line) for line in shown), shown
            assert problem.span.text == wrong
            field = SECTIONS[section].model_fields[keys(SECTIONS[section])[key]]
            assert getattr(settings, keys(SECTIONS[section])[key]) == field.default
            assert experiment.origins[f"{section}.{key}"] == "default"
        intact = next(name for name in LEGAL[section] if name != key)
        assert experiment.origins[f"{section}.{intact}"].startswith("net.exp:")


PAGES = [item for item in vars(names).values() if isinstance(item, type) and issubclass(item, Problem) and item.code]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_are_wrong_and_right(page):
    examples = re.findall(r"```exp (wrong|right)\n(.*?)```", inspect.cleandoc(page.__doc__), re.DOTALL)
    assert [kind for kind, _ in examples] == (["right"] if page is names.BadOverride else ["wrong", "right"])
    for kind, text in examples:
        codes = [problem.code for problem in bound(text, ("often",))[1]]
        assert codes == ([page.code] if kind == "wrong" else [])


def test_codes_are_those_of_settings_and_none_is_used_twice():
    codes = {f"E{number:04}" for number in range(201, 202 + len(PAGES))} - {"E0208"}  # a run has that one
    assert sorted(page.code for page in PAGES) == sorted(codes)
    assert len(PAGES) <= 19


def test_who_set_each_value_is_remembered():
    experiment, _ = bound("log {\n  images = 4\n  evry = 3 steps\n}")
    assert experiment.origins["log.images"] == "net.exp:2"
    assert experiment.origins["log.every"] == "default"
    assert experiment.data is None
    assert not any(key.startswith("data.") for key in experiment.origins)
