"""Samplers: how often each sample comes, against torch's own, and the same samples on every path."""

from collections import Counter

import numpy as np
import pytest
import torch
from data_plans import write_photos
from test_data_paths import checked, load, same
from torch.utils.data import WeightedRandomSampler

from expc.runtime.data.loader import Loader
from expc.runtime.data.memory import Memory
from expc.runtime.errors import RunError

COUNT = 600
CSV = 'Csv("t.csv") -> as (x: f32[], label: class(3), often: f32[])'


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    labels = rng.choice(3, COUNT, p=[0.9, 0.08, 0.02])
    rows = [
        f"{i},{label},{often:.3f}"
        for i, (label, often) in enumerate(zip(labels, rng.uniform(0, 2, COUNT), strict=True))
    ]
    (folder / "t.csv").write_text("\n".join(["x,label,often", *rows]))
    write_photos(folder / "photos", (9, 3))
    return folder


def sampled(root, sampler, line=CSV, settings="batch = 50", **given):
    return load(root, line, f"{settings}, sampler = {sampler}", **given)


def drawn(loader, epochs=1):
    return np.concatenate([batch["x"].numpy().astype(int) for epoch in range(epochs) for batch in loader.epoch(epoch)])


def columns(root):
    table = np.genfromtxt(root / "t.csv", delimiter=",", skip_header=1)
    return table[:, 1].astype(int), table[:, 2]


def chi_square(found, expected):
    """The statistic, and a bound that it passes once in a million times."""
    likely = expected > 0
    statistic = ((found - expected)[likely] ** 2 / expected[likely]).sum()
    freedom = likely.sum() - 1
    # E. Wilson, M. Hilferty: The distribution of chi-square (1931).
    return statistic, freedom * (1 - 2 / (9 * freedom) + 4.75 * np.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("written", ['"balanced"', "[1, 2, 9]", '"often"'])
def test_samples_come_as_often_as_their_weights_say_and_as_torchs_do(root, written):
    labels, often = columns(root)
    weights = {
        '"balanced"': 1 / np.bincount(labels)[labels],
        "[1, 2, 9]": np.array([1, 2, 9])[labels],
        '"often"': often,
    }[written]
    expected = weights / weights.sum() * COUNT * 60
    ours = np.bincount(drawn(sampled(root, f"WeightedRandomSampler({written})"), 60), minlength=COUNT)
    theirs = WeightedRandomSampler(weights.tolist(), COUNT * 60, generator=torch.Generator().manual_seed(0))
    for found in (ours, np.bincount(list(theirs), minlength=COUNT)):
        statistic, bound = chi_square(found, expected)
        assert statistic < bound
    assert (ours[expected == 0] == 0).all()


def test_without_replacement_no_sample_comes_twice_and_the_odds_are_torchs(root):
    labels, _ = columns(root)
    loader = sampled(root, "WeightedRandomSampler([1, 4, 9], num_samples=60, replacement=false)")
    assert loader.samples == 60
    assert len(loader) == 2
    weights, rounds = torch.tensor([1.0, 4.0, 9.0])[torch.from_numpy(labels)], 400
    ours = np.zeros(3)
    for epoch in range(rounds):
        chosen = np.concatenate([batch["x"].numpy().astype(int) for batch in loader.epoch(epoch)])
        assert len(set(chosen)) == 60
        ours += np.bincount(labels[chosen], minlength=3)
    generator = torch.Generator().manual_seed(0)
    theirs = sum(
        np.bincount(labels[torch.multinomial(weights, 60, replacement=False, generator=generator)], minlength=3)
        for _ in range(rounds)
    )
    # Both are counts of the same distribution: their difference has at most twice the variance of a binomial one.
    assert (abs(ours - theirs) < 5 * np.sqrt(2 * theirs)).all()


def test_random_samplers_draw_some_of_the_samples_or_the_same_ones_again(root):
    some = sampled(root, "RandomSampler(num_samples=100)")
    chosen = drawn(some)
    assert len(chosen) == len(set(chosen)) == 100
    assert set(chosen) != set(drawn(sampled(root, "RandomSampler(num_samples=100)", seed=6)))
    again = drawn(sampled(root, "RandomSampler(replacement=true, num_samples=60_000)"))
    statistic, bound = chi_square(np.bincount(again, minlength=COUNT), np.full(COUNT, 100.0))
    assert statistic < bound
    assert drawn(sampled(root, "SequentialSampler")).tolist() == list(range(COUNT))


def test_a_sample_that_comes_again_is_augmented_anew(root):
    line = 'ImageFolder("photos", classes=2) -> Resize([30, 30]) -> RandomCrop(8) -> ToTensor'
    loader = sampled(root, "WeightedRandomSampler([0, 1], num_samples=40)", line)
    crops = [image for batch in loader.epoch(0) for image in batch["image"]]
    assert set(torch.cat([batch["label"] for batch in loader.epoch(0)]).tolist()) == {1}
    assert len({crop.sum().item() for crop in crops}) > 30
    assert Counter(image.sum().item() for batch in loader.epoch(1) for image in batch["image"]) != Counter(
        crop.sum().item() for crop in crops
    )


def test_drawn_samples_are_the_same_on_every_path_and_a_split_is_balanced_within_itself(root):
    line = 'ImageFolder("photos", classes=2) -> Resize([30, 30]) -> RandomCrop(8) -> ToTensor'
    sampler, settings = 'WeightedRandomSampler("balanced", num_samples=30)', "batch = 7, drop_last = true"
    anew = sampled(root, sampler, line, settings, drop_last=True)
    assert len(anew) == 4
    same(anew, sampled(root, sampler, line, settings, drop_last=True, path="resident", memory=Memory(0.25)))
    same(anew, sampled(root, sampler, line, settings, drop_last=True, workers=1))
    same(anew, sampled(root, sampler, line, settings, drop_last=True, workers=1, memory=Memory(0.25)))
    text = f"""
    data {{
      fit, _ = {CSV} -> split(0.3)
      train = fit
      sampler = WeightedRandomSampler("balanced")
    }}
    """
    plan = checked(text).program.data["train"]
    loader = Loader(plan, root=root, seed=0, batch=9, shuffle=True)
    labels, _ = columns(root)
    chosen = drawn(loader, 30)
    assert len(set(chosen)) <= 180
    statistic, bound = chi_square(np.bincount(labels[chosen]), np.full(3, len(chosen) / 3))
    assert statistic < bound


@pytest.mark.parametrize(
    ("column", "sampler", "found"),
    [
        ("-1", '"often"', "-1"),
        ("0", '"often"', "only zeros"),
        ("1", "[0, 1, 0]", "no sample of a class whose weight is above 0"),
        ("1", "[1, 0, 0], num_samples=4, replacement=false", "3 samples whose weight is above 0"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path, column, sampler, found):
    (tmp_path / "t.csv").write_text(f"x,label,often\n1,0,{column}\n2,0,{column}\n3,0,{column}\n4,2,{column}\n")
    with pytest.raises(RunError) as error:
        sampled(tmp_path, f"WeightedRandomSampler({sampler})")
    assert error.value.problem.code == "E0803"
    assert found in error.value.problem.message
    assert error.value.problem.span.text.startswith("WeightedRandomSampler")
