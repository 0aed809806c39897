"""Layers given to layers: what is built is what PyTorch builds by hand, and numbers in equal numbers out."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from programs import is_torchs, model_of
from torch import nn

from expc.compiler.graph import Leaf
from expc.compiler.lower import lower
from expc.compiler.lower.torchvision import import_torchvision

SEQUENCE = "x: f32[N, T, 8]"
IMAGE = "x: f32[N, 4, H, W]"


def vision() -> Any:
    return import_torchvision().ops


def encoder(**settings: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **settings)


def stack() -> nn.Module:
    return nn.TransformerEncoder(encoder(dropout=0.0), 2, nn.LayerNorm(8, eps=1e-3))


def odd_stack() -> nn.Module:
    return nn.TransformerEncoder(encoder(norm_first=True), 2, enable_nested_tensor=False)


def both() -> nn.Module:
    return nn.Transformer(8, 2, 1, 2, 16, custom_encoder=odd_stack(), batch_first=True)


def grouped(channels: int) -> nn.Module:
    return nn.GroupNorm(2, channels, eps=1e-3)


def leaky(*, inplace: bool) -> nn.Module:
    return nn.LeakyReLU(0.2, inplace)


WRITTEN = "TransformerEncoderLayer(2, dim_feedforward=16, batch_first=true"
TWICE = "(x, x) -> Transformer(2, num_encoder_layers=1, num_decoder_layers=2, dim_feedforward=16, batch_first=true"
PROGRAMS: dict[str, tuple[str, str, Callable[[], nn.Module]]] = {
    "a stack": (SEQUENCE, f"TransformerEncoder({WRITTEN}, dropout=0.0), 2, norm=LayerNorm(eps=1e-3))", stack),
    "a stack that torch would warn of": (
        SEQUENCE,
        f"TransformerEncoder({WRITTEN}, norm_first=true), 2)",
        odd_stack,
    ),
    "both": (
        SEQUENCE,
        f"{TWICE}, custom_encoder=TransformerEncoder({WRITTEN}, norm_first=true), 2))",
        both,
    ),
    "a convolution": (
        IMAGE,
        "Conv2dNormActivation(6, norm_layer=GroupNorm(2, eps=1e-3), activation_layer=LeakyReLU(0.2), inplace=false)",
        lambda: vision().Conv2dNormActivation(4, 6, norm_layer=grouped, activation_layer=leaky, inplace=False),
    ),
    "a convolution with weights after its buffers": (
        IMAGE,
        "Conv2dNormActivation(6, norm_layer=BatchNorm2d(affine=false), activation_layer=PReLU, inplace=none)",
        lambda: vision().Conv2dNormActivation(
            4, 6, norm_layer=lambda n: nn.BatchNorm2d(n, affine=False), activation_layer=nn.PReLU, inplace=None
        ),
    ),
    "a convolution alone": (
        IMAGE,
        "Conv2dNormActivation(6, kernel_size=5, norm_layer=none, activation_layer=none)",
        lambda: vision().Conv2dNormActivation(4, 6, 5, norm_layer=None, activation_layer=None),
    ),
    "a convolution as torchvision makes it": (
        IMAGE,
        "Conv2dNormActivation(6, stride=2)",
        lambda: vision().Conv2dNormActivation(4, 6, stride=2),
    ),
    "squeeze and excitation": (
        IMAGE,
        "SqueezeExcitation(2, activation=SiLU, scale_activation=Hardsigmoid)",
        lambda: vision().SqueezeExcitation(4, 2, nn.SiLU, nn.Hardsigmoid),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_is_what_pytorch_builds(name: str) -> None:
    inputs, chain, theirs = PROGRAMS[name]
    x = torch.rand((2, 4, 9, 7) if inputs == IMAGE else (2, 5, 8))
    is_torchs(f"model M({inputs}) {{ {chain} }}", Only(theirs(), twice=name == "both"), x)


class Only(nn.Module):
    """A module under the key that the program gives it."""

    def __init__(self, inside: nn.Module, *, twice: bool) -> None:
        super().__init__()
        self.add_module("0", inside)
        self.twice = twice

    def forward(self, x: torch.Tensor) -> Any:
        inside = self.get_submodule("0")
        return inside(x, x) if self.twice else inside(x)


def test_a_recipe_by_name_takes_further_settings_and_is_made_anew() -> None:
    text = f"""
let Layer = {WRITTEN})
let Stack = TransformerEncoder(Layer(dropout=0.0), 2)
model M({SEQUENCE}) {{ a: Stack; b: Stack(norm=RMSNorm) }}
"""
    keys = lower(model_of(text), seed=0).state_dict()
    assert "a.layers.1.linear1.weight" in keys
    assert "b.norm.weight" in keys
    assert "a.norm.weight" not in keys
    assert not torch.equal(keys["a.layers.0.linear1.weight"], keys["b.layers.0.linear1.weight"])


def test_what_is_inferred_stays_with_the_layer_that_is_built() -> None:
    body = model_of(f"model M({SEQUENCE}) {{ TransformerEncoder({WRITTEN}), 1, norm=LayerNorm) }}").body
    leaf = body.children["0"]
    assert isinstance(leaf, Leaf)
    assert leaf.settings["encoder_layer"].values["d_model"] == 8
    assert str(leaf.settings["norm"]) == "LayerNorm(normalized_shape=8)"
    assert pickle.loads(pickle.dumps(leaf.settings["norm"])) == leaf.settings["norm"]
