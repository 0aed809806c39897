"""One, two and four processes learn the same: the same samples in the same steps, and the same numbers to rounding."""

import json
import math
from dataclasses import replace

import cases
import pytest
from together import Done, together

CLOSE = 1e-9


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What runs of each number of processes have left, by number and by name."""
    folder = tmp_path_factory.mktemp("equality")
    cases.write(folder)
    return {size: together(size, jobs, folder / str(size)) for size, jobs in cases.every(folder).items()}


@pytest.mark.parametrize(
    ("size", "name"), [(size, job.name) for size, jobs in cases.every().items() if size > 1 for job in jobs]
)
def test_several_processes_learn_what_one_learns(done, size, name):
    one, several = done[1][name.removesuffix(", fsdp")], done[size][name]
    said = json.loads((several.directory / "run.json").read_text())
    assert (said["processes"], said["strategy"]) == (size, "fsdp" if name.endswith("fsdp") else "ddp")
    assert several.samples() == one.samples()
    assert several.samples("val") == one.samples("val")
    assert len(one.losses) == len(one.samples())
    assert_close(several.lines, one.lines)
    weights = several.weights
    for key, weight in one.weights.items():
        assert (weights[key] - weight).abs().max() < CLOSE, key


def assert_close(found, expected):
    """Lines of measurements that agree, number by number."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            same = (
                math.isclose(one[name], value, rel_tol=CLOSE, abs_tol=CLOSE)
                if isinstance(value, float)
                else one[name] == value
            )
            assert same, (other["step"], name, one[name], value)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_another_number_of_processes_goes_on(tmp_path, strategy):
    """In the middle of epochs: of 9 steps the second, the fourth and the seventh are the last of a part."""
    cases.write(tmp_path)
    (whole,) = together(1, [cases.interrupted(tmp_path, "whole")], tmp_path).values()
    parts = ((2, 2), (1, 4), (4, 7), (2, None))
    for place, (size, stop) in enumerate(parts):
        how = {"stop": stop, "on": "part0" if place else None, "distributed__strategy": strategy}
        part = cases.interrupted(tmp_path, f"part{place}", **how)
        together(size, [part], tmp_path)
    found = Done(tmp_path, "part0")
    samples = {}
    for place in range(4):
        samples |= Done(tmp_path, f"part{place}").samples()
    assert list(samples) == list(range(1, 10))
    assert samples == whole.samples()
    assert_close(found.lines, whole.lines)
    for key, weight in whole.weights.items():
        assert (found.weights[key] - weight).abs().max() < CLOSE, key


@pytest.mark.parametrize(("strategy", "deterministic"), [("ddp", True), ("ddp", False), ("fsdp", True)])
def test_as_many_processes_go_on_bit_by_bit(tmp_path, strategy, deterministic):
    """In the middle of an epoch, between two log points, and with metrics of training on; in single precision too."""
    cases.write(tmp_path)
    how = {"train__deterministic": deterministic, "distributed__sync_batchnorm": deterministic}
    whole = replace(cases.interrupted(tmp_path, "whole", **how, distributed__strategy=strategy), double=False)
    first = replace(whole, name="part", stop=5)
    rest = replace(whole, name="rest", on="part")
    done = together(2, [whole, first, rest], tmp_path)
    assert len(done["rest"].samples()) == 4
    assert (tmp_path / "part/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    assert (tmp_path / "part/final.safetensors").read_bytes() == (tmp_path / "whole/final.safetensors").read_bytes()


def test_a_run_names_what_draws_otherwise_than_in_one_process(tmp_path):
    """And a process with one sample finds out how those of all lie in memory, though it cannot run that step so."""
    net = "model Net(x: f32[N, 6]) { Linear(8) -> RReLU -> Dropout(0.5) -> Linear(5) }\n"
    run = cases.job("run", cases.learning("loss = cross_entropy(output, label)", net=net))
    together(2, [run], tmp_path)
    said = (tmp_path / "run.0.said").read_text()
    assert "2 processes, ddp" in said
    assert "the same random numbers as one process but for `RReLU` in line 7" in said
