"""What the rule says that torch refuses on the CPU too, torch refuses there, and nothing else of what it lists."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch

from expc.compiler.dimensions import substitute, symbols
from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Value
from expc.compiler.lints.refused_when_deterministic import EVERYWHERE, ON_GPUS
from expc.compiler.lower import lower
from expc.compiler.ops.table import operators
from expc.compiler.session import check_text
from expc.compiler.types import FLOATING, TORCH_NAMES, TensorType


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def drawn(type_: TensorType) -> torch.Tensor:
    dims = [int(str(substitute(size, {s.name: 8 * s.divisor for s in symbols(size)}))) for size in type_.dims]
    dtype = getattr(torch, TORCH_NAMES[type_.dtype])
    if type_.dtype in FLOATING:
        return torch.rand(dims, dtype=dtype).requires_grad_()
    return torch.randint(2 if type_.classes is None else int(str(type_.classes)), dims).to(dtype)


@pytest.mark.parametrize("name", sorted({*EVERYWHERE, *ON_GPUS}))
def test_the_rule_is_right_about_the_cpu(name: str) -> None:
    """The campaign that made the table ran the examples of all operators: these are all that were refused."""
    operator = operators()[name]
    inputs = ", ".join(f"{name}: {text}" for name, text in operator.example_inputs.items())
    program = check_text(f"model Net({inputs}) {{ {operator.example} }}\n").program
    assert program is not None
    assert program.model is not None
    values = [value for value in program.model.body.inputs if isinstance(value, Value)]
    tensors = [drawn(value.type) for value in values if isinstance(value.type, TensorType)]
    refusal = pytest.raises(ExecutionError, match="deterministic implementation")
    with refusal if name in EVERYWHERE else nullcontext():
        result = lower(program.model, seed=0)(*tensors)
        made = result if isinstance(result, torch.Tensor) else result[0]
        if made.requires_grad:
            made.sum().backward()


def test_the_rule_tells_cases_apart() -> None:
    def found(layers: str, train: str = "deterministic = true", loss: str = "mean(output)") -> list[str]:
        text = f"""
data {{ train = FakeData(64, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 8 }}
model Net(image: f32[N, 1, 8, 8]) {{ {layers} }}
train {{ epochs = 1, loss = {loss}, optimizer = SGD(lr=0.1), {train} }}
"""
        return [problem.span.text for problem in check_text(text).problems if problem.code == "W0538"]

    layers = "Conv2d(2, 3, padding=1) -> {} -> Flatten -> Linear(10)"
    for refused in ("AdaptiveAvgPool2d(2)", 'Upsample(scale_factor=2, mode="bilinear")', "ReflectionPad2d(1)"):
        assert found(layers.format(refused)) == [refused]
        assert found(layers.format(refused), "deterministic = false") == []
    for taken in ("AdaptiveAvgPool2d(1)", "Upsample(scale_factor=2)", "ZeroPad2d(1)", "pad([1, 1])"):
        assert found(layers.format(taken)) == []
    assert found(layers.format("ReLU"), loss="CrossEntropyLoss") == []
