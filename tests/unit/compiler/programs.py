"""Programs as text, beside the modules of torch that they must be."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from expc.compiler.dimensions import substitute
from expc.compiler.graph import Model, Record, Value, weights
from expc.compiler.lower import lower
from expc.compiler.model.declarations import Read
from expc.compiler.program import Program
from expc.compiler.session import check_text
from expc.compiler.types import TORCH_NAMES, TensorType

torch.set_num_threads(1)


def reader(files: Mapping[str, str]) -> Read:
    """Reads files that are not on the disk."""

    def read(name: str) -> str:
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    return read


def checked(text: str, files: Mapping[str, str] | None = None) -> Program:
    """A program that has no problem at all, lints included."""
    found = check_text(text, read=None if files is None else reader(files))
    assert [(problem.code, problem.message) for problem in found.problems] == [], text
    assert found.program is not None
    return found.program


def codes(text: str, files: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """The codes of the problems of a text, each with the text that it points at."""
    found = check_text(text, read=None if files is None else reader(files))
    return [(problem.code, problem.span.text) for problem in found.problems]


def model_of(text: str, files: Mapping[str, str] | None = None) -> Model:
    """The model of a program without errors; what lints say of it is not what a test of models is about."""
    found = check_text(text, read=None if files is None else reader(files))
    assert [problem.message for problem in found.problems if problem.severity == "error"] == [], text
    assert found.program is not None
    model = found.program.model
    assert model is not None
    return model


def inferred(result: Any, sizes: Mapping[str, int]) -> Any:
    """The types that were inferred, at these sizes: dtypes and dimensions."""
    if isinstance(result, Record):
        return {name: inferred(value, sizes) for name, value in result.fields.items()}
    if isinstance(result, tuple):
        return tuple(inferred(part, sizes) for part in result)
    if result is None:
        return None
    assert isinstance(result, Value)
    assert isinstance(result.type, TensorType)
    return TORCH_NAMES[result.type.dtype], tuple(substitute(size, sizes) for size in result.type.dims)


def measured(result: Any) -> Any:
    """The types of real tensors."""
    if isinstance(result, Mapping):
        return {name: measured(value) for name, value in result.items()}
    if isinstance(result, tuple | list):
        return tuple(map(measured, result))
    return None if result is None else (str(result.dtype).removeprefix("torch."), tuple(result.shape))


def same(ours: Any, theirs: Any) -> bool:
    """Whether two results are equal bit for bit."""
    if isinstance(theirs, torch.Tensor):
        return isinstance(ours, torch.Tensor) and ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(theirs, Mapping):
        return list(ours) == list(theirs) and all(same(ours[name], theirs[name]) for name in theirs)
    if isinstance(theirs, tuple | list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours is theirs


def sizes_at(model: Model, inputs: tuple[torch.Tensor, ...]) -> dict[str, int]:
    """What each symbol of the model's inputs is for these tensors."""
    sizes: dict[str, int] = {}
    for value, tensor in zip(model.body.inputs, inputs, strict=True):
        assert isinstance(value, Value)
        assert isinstance(value.type, TensorType)
        shown = zip(value.type.dims, tensor.shape, strict=True)
        sizes.update({str(size): number for size, number in shown if not isinstance(size, int)})
    return sizes


def is_torchs(text: str, theirs: nn.Module, *inputs: torch.Tensor, files: Mapping[str, str] | None = None) -> nn.Module:
    """Assert that a program is a module of torch: keys in order, types, outputs bit for bit."""
    model = model_of(text, files)
    ours = lower(model, seed=0)
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    assert [weight.key for weight in weights(model.body)] == list(state)
    theirs.load_state_dict(state)
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        results = []
        for module in (ours, theirs):
            torch.manual_seed(1)
            results.append(module(*inputs))
        assert same(*results), "training" if training else "evaluation"
        assert measured(results[0]) == inferred(model.body.result, sizes_at(model, inputs))
    assert same(ours.state_dict(), theirs.state_dict())
    return ours
