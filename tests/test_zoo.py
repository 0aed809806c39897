"""Whole models, written as a user would, beside the networks that they are: torchvision's, or plain PyTorch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import zoo_by_hand
from torch import Tensor, nn

from expc import load
from expc.compiler import graph
from expc.compiler.graph import Model
from expc.compiler.lower import lower
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.session import Checked, check_text

EXAMPLES = Path(__file__).parents[1] / "examples"
ZOO = EXAMPLES / "zoo"
FILES = sorted(path.stem for path in ZOO.glob("*.exp"))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Case(NamedTuple):
    """A text, the network that it must be, inputs for both, and a change of the text that must be seen."""

    text: str
    theirs: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]
    before: str
    after: str
    in_order: bool = True
    """torchvision makes the modules of some networks in another order than it uses them."""


def the(name: str) -> str:
    return (ZOO / f"{name}.exp").read_text("utf-8")


def torchvisions(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(import_torchvision().models, name)(**settings)


def image(side: int, batch: int = 2) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.randn(batch, 3, side, side),)


def pairs() -> tuple[Tensor, ...]:
    mask = torch.arange(7) < torch.tensor([[7], [3], [1]])
    return torch.randn(3, 3, 16, 16), torch.randint(1, 5000, (3, 7)), mask


def sentences() -> tuple[Tensor, ...]:
    source = torch.randint(1, 8000, (2, 7))
    source[1, 4:] = 0
    return source, torch.randint(1, 6000, (2, 5))


SMALL_VIT = 'from "vit_b_16.exp" import ViT\nmodel Small = ViT(size=48, depth=2, width=128)\n'
WIDE = 'from "mobilenet_v2.exp" import MobileNetV2\nmodel Wide = MobileNetV2(classes=10, width=1.4)\n'


def small_gpt() -> str:
    text = (EXAMPLES / "gpt.exp").read_text("utf-8")
    for name, old, new in (("context", 256, 16), ("width  ", 384, 24), ("heads  ", 6, 3), ("depth  ", 6, 2)):
        assert f"let {name} = {old}" in text
        text = text.replace(f"let {name} = {old}", f"let {name} = {new}")
    return text


CASES = {
    "a small gpt": Case(
        small_gpt(),
        lambda: zoo_by_hand.GPT(vocab=65, context=16, width=24, heads=3, depth=2, p=0.2),
        lambda: (torch.randint(0, 65, (2, 11)),),
        "is_causal=true",
        "is_causal=false",
    ),
    "unet": Case(
        (EXAMPLES / "unet.exp").read_text("utf-8"), zoo_by_hand.UNet, image(16), "cat([skip, flow]", "cat([flow, skip]"
    ),
    "alexnet": Case(
        the("alexnet"),
        torchvisions("alexnet"),
        image(64),
        "256, 3, padding=1) -> ReLU -> Max",
        "256, 3, padding=1) -> Tanh -> Max",
    ),
    "googlenet": Case(
        the("googlenet"),
        torchvisions("googlenet", init_weights=False),
        image(64),
        "cat([a, b, c, d], dim=1)",
        "cat([b, a, c, d], dim=1)",
        in_order=False,
    ),
    "mobilenet_v2": Case(
        the("mobilenet_v2"), torchvisions("mobilenet_v2"), image(64), "{ x + narrow }", "{ x - narrow }"
    ),
    "resnet50": Case(the("resnet50"), torchvisions("resnet50"), image(64), "min(i + 1, 2)", "1", in_order=False),
    "vgg16_bn": Case(the("vgg16_bn"), torchvisions("vgg16_bn"), image(32), "MaxPool2d(2)", "AvgPool2d(2)"),
    "vit_b_16": Case(the("vit_b_16"), torchvisions("vit_b_16"), image(224, 1), "flow[:, 0]", "flow[:, 1]"),
    "a small vit": Case(
        SMALL_VIT,
        lambda: import_torchvision().models.VisionTransformer(48, 16, 2, 2, 128, 512),
        image(48),
        "depth=2",
        "depth=3",
    ),
    "a wide mobilenet": Case(
        WIDE, torchvisions("mobilenet_v2", width_mult=1.4, num_classes=10), image(32), "width=1.4", "width=1.3"
    ),
    "lstm_classifier": Case(
        the("lstm_classifier"),
        zoo_by_hand.TextClassifier,
        lambda: (torch.randint(0, 10_000, (3, 9)),),
        "[h[-2], h[-1]]",
        "[h[-1], h[-2]]",
    ),
    "seq2seq_gru_attention": Case(
        the("seq2seq_gru_attention"), zoo_by_hand.Seq2Seq, sentences, "source == 0", "source == 1"
    ),
    "dcgan_generator": Case(
        the("dcgan_generator"), zoo_by_hand.Generator, lambda: (torch.randn(2, 100, 1, 1),), "-> Tanh", "-> Sigmoid"
    ),
    "dcgan_discriminator": Case(
        the("dcgan_discriminator"), zoo_by_hand.Discriminator, image(64), "in [2, 4, 8]", "in [2, 2, 8]"
    ),
    "two_towers": Case(the("two_towers"), zoo_by_hand.TwoTowers, pairs, "exp(temperature)", "temperature"),
}
WHOLE = [name for name in CASES if name in FILES]
EACH = [pytest.param(name, marks=pytest.mark.slow if name in ("vgg16_bn", "vit_b_16") else ()) for name in CASES]


def check(text: str) -> Checked:
    return check_text(text, "zoo.exp", read=lambda name: (ZOO / name).read_text("utf-8"))


def model_of(text: str) -> Model:
    """The model of a text without problems; lints that are allowed in place, with a reason, are none."""
    found = check(text)
    assert [(problem.code, problem.message) for problem in found.problems] == []
    assert found.program is not None
    assert found.program.model is not None
    return found.program.model


def keys_of(model: Model) -> list[tuple[str, Any]]:
    return [(weight.key, weight.dims) for weight in graph.weights(model.body)]


def shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(key, tuple(tensor.shape)) for key, tensor in module.state_dict().items()]


def made(case: Case) -> nn.Module:
    """Their network with random weights everywhere: what starts as 0 or 1 would hide what is wrong."""
    torch.manual_seed(0)
    module = case.theirs()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and bool((tensor == tensor.flatten()[0]).all()):
            tensor.add_(torch.rand(tensor.shape) * 0.1 if "var" in name else torch.randn(tensor.shape) * 0.1)
    return module


def results(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    torch.manual_seed(2)
    found = module(*inputs)
    if isinstance(found, dict):
        return tuple(found.values())
    return found if isinstance(found, tuple) else (found,)


def differences(model: Model, case: Case) -> list[str]:
    """Where our outputs, gradients and statistics are not theirs, bit for bit, in evaluation and in training."""
    theirs = made(case)
    tied = any(weight.tied_to is not None for weight in graph.weights(model.body))
    ours = lower(model, device="cpu" if tied else "meta")
    ours.load_state_dict({key: tensor.clone() for key, tensor in theirs.state_dict().items()}, assign=not tied)
    found = []
    torch.manual_seed(1)
    inputs = case.inputs()
    for training in (False, True):
        mode = "training" if training else "evaluation"
        outputs = []
        for module in (ours, theirs):
            module.train(training)
            module.zero_grad()
            outputs.append(results(module, inputs))
            sum((output * output).sum() for output in outputs[-1]).backward()
        if not all(map(torch.equal, *outputs)) or len(outputs[0]) != len(outputs[1]):
            found.append(f"{mode}: outputs")
        gradients = {key: tensor.grad for key, tensor in theirs.named_parameters()}
        for key, tensor in ours.named_parameters():
            if (tensor.grad is None) != (gradients[key] is None):
                found.append(f"{mode}: whether {key} has a gradient")
            elif tensor.grad is not None and not torch.equal(tensor.grad, gradients[key]):
                found.append(f"{mode}: gradient of {key}")
    state = theirs.state_dict()
    return found + [key for key, tensor in ours.state_dict().items() if not torch.equal(tensor, state[key])]


def test_every_file_has_a_case():
    assert set(WHOLE) == set(FILES)


@pytest.mark.parametrize("name", CASES)
def test_keys_and_shapes_are_those_of_the_network(name: str):
    case = CASES[name]
    model = model_of(case.text)
    with torch.device("meta"):
        theirs = case.theirs()
    ours = lower(model, device="meta")
    assert keys_of(model) == shapes(ours)
    assert (shapes(ours) if case.in_order else sorted(shapes(ours))) == (
        shapes(theirs) if case.in_order else sorted(shapes(theirs))
    )
    inputs = tuple(tensor.to("meta") for tensor in case.inputs())
    outputs = [[tensor.shape for tensor in results(module, inputs)] for module in (ours, theirs)]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("name", EACH)
def test_outputs_gradients_and_statistics_are_those_of_the_network(name: str):
    assert differences(model_of(CASES[name].text), CASES[name]) == []


@pytest.mark.parametrize("name", EACH)
def test_a_changed_line_is_seen(name: str):
    case = CASES[name]
    assert case.text.count(case.before) == 1
    mutant = model_of(case.text.replace(case.before, case.after))
    with torch.device("meta"):
        same_keys = sorted(keys_of(mutant)) == sorted(shapes(case.theirs()))
    assert not same_keys or differences(mutant, case)


def test_gpt_starts_as_gpt_2_and_compiles_whole():
    settings = {"width": 24, "heads": 3, "depth": 2, "context": 16, "p": 0.0}
    ours = load(EXAMPLES / "gpt.exp", set=settings).build(seed=0)
    assert sum(parameter.numel() for parameter in load(EXAMPLES / "gpt.exp").build("meta").parameters()) == 10_770_816
    theirs = zoo_by_hand.GPT(65, 16, 24, 3, 2, 0.0)
    theirs.load_state_dict(ours.state_dict())
    assert ours.lm_head.weight is ours.wte.weight
    tokens = torch.randint(0, 65, (2, 11))
    torch.testing.assert_close(ours.wte.weight.std().item(), 0.02, rtol=0.1, atol=0)
    torch.testing.assert_close(ours.get_submodule("h.1").mlp.c_proj.weight.std().item(), 0.01, rtol=0.1, atol=0)
    assert torch.equal(ours.get_submodule("h.0").ln_1.weight, torch.ones(24))
    torch._dynamo.reset()
    compiled = torch.compile(ours, backend="eager", fullgraph=True, dynamic=True)
    assert torch.equal(compiled(tokens), theirs(tokens))
    assert torch.equal(compiled(tokens[:1, :6]), theirs(tokens[:1, :6]))
