"""The table of data sets: against torchvision's own signatures, and the arithmetic of splits."""

import inspect
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expc.compiler.library.datasets import datasets, split_bounds, split_fractions, split_length
from expc.compiler.library.excluded.datasets import EXCLUDED
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.ops.declare import REQUIRED, Fault

LEFT_OUT = {"transform", "target_transform", "transforms", "loader", "is_valid_file"}
"""Python code, for which the language has words of its own."""
OURS = {"ImageFolder": {"classes"}, "INaturalist": {"classes"}}
"""What torchvision learns by reading."""
HANDED_ON = {"EMNIST": {"train", "download"}, "QMNIST": {"download"}}
"""What torchvision's class takes as `**kwargs`."""


@pytest.fixture(scope="module")
def theirs():
    return import_torchvision().datasets


def test_every_data_set_is_in_the_table_or_left_out_for_a_reason(theirs):
    assert sorted(theirs.__all__) == sorted([*(name for name in datasets() if name != "Text"), *EXCLUDED])
    assert all(reason[0].isupper() and reason.endswith(".") for reason in EXCLUDED.values())


@pytest.mark.parametrize("name", [name for name in datasets() if name != "Text"])
def test_settings_are_torchvisions(theirs, name):
    parameters = inspect.signature(getattr(theirs, name)).parameters.values()
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in LEFT_OUT]
    assert (len(named) < len(parameters)) or name not in HANDED_ON
    expected = [
        (p.name, REQUIRED if p.default is p.empty else list(p.default) if isinstance(p.default, tuple) else p.default)
        for p in named
    ]
    ours = OURS.get(name, set()) | HANDED_ON.get(name, set())
    assert [(p.name, p.default) for p in datasets()[name].settings if p.name not in ours] == expected
    assert ours <= {p.name for p in datasets()[name].settings if p.by_name}


@pytest.mark.parametrize(
    ("name", "settings", "fields"),
    [
        ("MNIST", {}, "image: u8[1, 28, 28], label: class(10)"),
        ("CIFAR100", {}, "image: u8[3, 32, 32], label: class(100)"),
        ("EMNIST", {"split": "letters"}, "image: u8[1, 28, 28], label: class(27)"),
        ("QMNIST", {"compat": False}, "image: u8[1, 28, 28], label: i64[8]"),
        ("Omniglot", {"background": False}, "image: u8[1, 105, 105], label: class(659)"),
        ("STL10", {"split": "unlabeled"}, "image: u8[3, 96, 96], label: i64[]"),
        ("Places365", {"small": True}, "image: u8[3, 256, 256], label: class(365)"),
        ("CelebA", {"target_type": "attr"}, "image: u8[3, 218, 178], label: i64[40]"),
        ("FGVCAircraft", {"annotation_level": "family"}, "image: u8[3, H, W], label: class(70)"),
        ("LSUN", {"classes": ["bedroom_train", "tower_train"]}, "image: u8[3, H, W], label: class(2)"),
        ("VOCSegmentation", {"year": "2012", "image_set": "val"}, "image: u8[3, H, W], mask: class(21)[H, W]"),
        (
            "OxfordIIITPet",
            {"target_types": ["segmentation", "category"]},
            "image: u8[3, H, W], mask: class(3)[H, W], label: class(37)",
        ),
        ("FakeData", {"image_size": [1, 8, 9], "num_classes": 3}, "image: u8[1, 8, 9], label: class(3)"),
        ("ImageFolder", {"classes": 7}, "image: u8[3, H, W], label: class(7)"),
        ("Text", {"tokens": "char", "vocab": 65, "window": 8}, "tokens: class(65)[8], target: class(65)[8]"),
        ("Text", {"tokens": "byte", "vocab": None, "window": 8}, "tokens: class(256)[8], target: class(256)[8]"),
    ],
)
def test_samples_are_known_before_reading(name, settings, fields):
    assert ", ".join(f"{field.name}: {field.type}" for field in datasets()[name].sample(settings)) == fields


def test_a_text_of_characters_declares_its_vocabulary():
    with pytest.raises(Fault) as refused:
        datasets()["Text"].sample({"tokens": "char", "vocab": None, "window": 8})
    assert refused.value.problem.code == "E0405"


def test_lengths_are_known_where_no_folder_can_hold_another_number():
    assert datasets()["CIFAR10"].length({"train": True}) == 50_000
    assert datasets()["FakeData"].length({"size": 12}) == 12
    assert datasets()["MNIST"].length({"train": True}) is None


def test_what_is_left_is_one_more_part():
    assert split_fractions((0.9,)) == pytest.approx((0.9, 0.1))
    assert split_fractions((0.7, 0.2, 0.1)) == (0.7, 0.2, 0.1)
    for wrong in ((), (0.0,), (0.5, -0.1), (0.9, 0.2)):
        with pytest.raises(Fault):
            split_fractions(wrong)


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 0.3), min_size=1, max_size=3))
def test_parts_are_disjoint_and_leave_nothing(length, written):
    fractions = split_fractions(written)
    bounds = (0, *split_bounds(length, fractions))
    assert list(bounds) == sorted(bounds)
    assert bounds[-1] == length
    assert all(abs(split_length(length, fractions, i) - length * fraction) <= 1 for i, fraction in enumerate(fractions))


def test_the_tables_import_no_torch():
    library = "expc.compiler.library"
    tables = f"{library}.datasets, {library}.transforms, expc.compiler.errors.data, expc.runtime.errors.data"
    program = f"import sys, {tables}; sys.exit(bool({{'torch', 'torchvision', 'numpy'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert subprocess.run([sys.executable, "-c", f"import torch; {program}"], check=False).returncode == 1
