"""The table of data sets: against torchvision's own signatures, and the arithmetic of splits."""

import inspect
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expc.compiler.datasets import datasets, split_bounds, split_fractions, split_length
from expc.compiler.ops.declare import REQUIRED, Fault
from expc.runtime.torchvision_compat import import_torchvision

LEFT_OUT = {"self", "transform", "target_transform", "loader", "is_valid_file"}
OURS = {"ImageFolder": {"classes"}}


@pytest.mark.parametrize("name", [name for name in datasets() if name != "Text"])
def test_settings_are_torchvisions(name):
    signature = inspect.signature(getattr(import_torchvision().datasets, name).__init__)
    theirs = [
        (p.name, REQUIRED if p.default is p.empty else list(p.default) if isinstance(p.default, tuple) else p.default)
        for p in signature.parameters.values()
        if p.name not in LEFT_OUT
    ]
    ours = [(p.name, p.default) for p in datasets()[name].settings if p.name not in OURS.get(name, ())]
    assert ours == theirs


@pytest.mark.parametrize(
    ("name", "settings", "fields"),
    [
        ("MNIST", {}, "image: u8[1, 28, 28], label: class(10)"),
        ("CIFAR100", {}, "image: u8[3, 32, 32], label: class(100)"),
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
    tables = "expc.compiler.datasets, expc.compiler.transforms, expc.compiler.errors.data, expc.runtime.errors"
    program = f"import sys, {tables}; sys.exit(bool({{'torch', 'torchvision', 'numpy'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert subprocess.run([sys.executable, "-c", f"import torch; {program}"], check=False).returncode == 1
