"""The units of fsdp: which modules are gathered one by one, and which must stay with the model."""

import pytest

import expc
from expc.compiler.graph import Model
from expc.compiler.plans.units import units, units_of

FEED_FORWARD = """
block Layer(x: f32[N, C]) { flow + (Linear(2 * C) -> ReLU -> Linear(C)) }
"""


def _model(text: str) -> Model:
    program = expc.load(text=text).program
    assert program.model is not None
    return program.model


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("gpt", [f"h.{at}" for at in range(6)]),
        ("resnet18", [f"layer{stage}.{at}" for stage in (1, 2, 3, 4) for at in (0, 1)]),
        ("unet", [str(at) for at in range(1, 9)]),
        ("vae", []),
    ],
)
def test_a_unit_is_a_block_among_others_of_the_same(file: str, expected: list[str]) -> None:
    assert list(units_of(expc.load(f"examples/{file}.exp").program)) == expected


def test_bodies_that_are_written_in_place_are_units_too() -> None:
    body = 'for i in [0, 1] { "a{i}": { Linear(4) -> ReLU }\n "b{i}": { ReLU } }'
    assert units(_model(f"model Net(x: f32[N, 4]) -> f32[N, 4] {{ {body} }}")) == ("a0", "a1")


def test_a_stage_that_only_repeats_blocks_is_taken_apart() -> None:
    text = FEED_FORWARD + (
        "block Stage(x: f32[N, C]) { repeat 2 { Layer } }\n"
        "block Mixed(x: f32[N, C]) { Linear(C) -> rest: repeat 2 { Layer } }\n"
        "model Net(x: f32[N, 4]) -> f32[N, 4] { a: repeat 2 { Stage }\n b: repeat 2 { Mixed } }"
    )
    assert units(_model(text)) == ("a.0.0", "a.0.1", "a.1.0", "a.1.1", "b.0", "b.1")


def test_what_is_selected_is_a_unit_inner_ones_first() -> None:
    model = expc.load("examples/gpt.exp").program.model
    assert model is not None
    assert units(model, ("h.?", "h.1.mlp", "*.act")) == ("h.1.mlp", *(f"h.{at}" for at in range(6)))
    assert units(model, ("h.0.*",)) == ("h.0.ln_1", "h.0.attn", "h.0.ln_2", "h.0.mlp")
    # Each of them has a parameter that the other has; `0` holds none at all.
    assert units(model, ("wte", "lm_head", "wpe", "2")) == ("wpe",)


def test_what_cannot_be_selected_is_said() -> None:
    asked = {"distributed.strategy": "fsdp", "distributed.shard": ["h.*", "wte"]}
    (problem,) = expc.load("examples/gpt.exp", set=asked).problems
    assert problem.code == "E0505"
    assert "`wte` is not gathered by itself, since `wte.weight` is tied to `lm_head.weight`" in problem.message


@pytest.mark.parametrize(
    ("net", "kept"),
    [
        ("a: Layer\n b: Layer\n flow", ("a", "b")),
        ("a: Layer\n b: Layer\n flow @ a.w", ("b",)),
        ("a: Layer\n b: Layer\n flow + (y -> b)[0]", ("a",)),
    ],
)
def test_what_is_in_use_outside_of_its_block_stays_with_the_model(net: str, kept: tuple[str, ...]) -> None:
    text = (
        "block Layer(x: f32[N, C]) { param w: f32[C, C] = normal(std=0.1)\n x @ w }\n"
        f"model Net(x: f32[N, 4], y: f32[1, 4]) -> f32[N, 4] {{ x\n {net} }}"
    )
    assert units(_model(text)) == kept


def test_what_a_loss_reads_stays_with_the_model() -> None:
    text = FEED_FORWARD + (
        'data { train = Npz("a.npz") -> as (x: f32[4], target: f32[1])\n batch = 4 }\n'
        "model Net(x: f32[N, 4]) -> f32[N, 1] { repeat 3 { Layer } -> Linear(1) }\n"
        "train { epochs = 1, optimizer = SGD(lr=0.1),"
        ' loss = mse_loss(output, target) + 0.1 * l2(weights("1.*.weight")) }'
    )
    assert units_of(expc.load(text=text).program) == ("0", "2")
