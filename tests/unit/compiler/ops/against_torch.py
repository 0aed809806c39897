"""torch as the oracle: does it take a call of an operator, and what dtypes and shapes come out?"""

import random
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from expc.compiler.dimensions import Dim, Size, substitute, symbol
from expc.compiler.lower.values import fixed_value
from expc.compiler.ops.building import call_function, make_loss
from expc.compiler.ops.declare import REQUIRED, Call, Fault, Operator, Requirement
from expc.compiler.types import DTYPES, TORCH_NAMES, TensorType
from expc.spec.values import Dtype

torch.set_num_threads(1)

TORCH = {name: getattr(torch, TORCH_NAMES[name]) for name in DTYPES}
NAMES = {dtype: name for name, dtype in TORCH.items()}

Random = random.Random
Values = dict[str, Any]
Outcome = Any
"""Nested tuples of (dtype, sizes), or none for a refusal."""


def holds(requirement: Requirement) -> bool:
    """Whether a requirement on known sizes is met."""
    relation, a, b, _ = requirement
    match relation:
        case "equal":
            return a == b
        case "at least":
            return a >= b
        case "at most":
            return a <= b
        case _:
            return b != 0 and a % b == 0


def complete(operator: Operator, values: Values) -> dict[str, Any]:
    """All settings and arguments, with defaults for what is absent."""
    defaults = {param.name: param.default for param in (*operator.settings, *operator.arguments)}
    missing = [name for name, default in defaults.items() if default is REQUIRED and name not in values]
    assert not missing, f"{operator}: the test gives no {missing}"
    assert values.keys() <= defaults.keys(), f"{operator} has no {values.keys() - defaults.keys()}"
    return {**defaults, **values}


def accepts(operator: Operator, values: Values) -> bool:
    """Whether every value is of its parameter's kind, as the checker would ask."""
    params = {param.name: param for param in (*operator.settings, *operator.arguments)}
    for name, value in values.items():
        param = params[name]
        if isinstance(value, TensorType) or (
            isinstance(value, tuple) and any(isinstance(v, TensorType) for v in value)
        ):
            assert param.tensor, f"{operator}.{name} takes no tensor"
        elif value is not param.default and not param.kind.accepts(value):
            return False
    return True


def typed(operator: Operator, values: Values) -> tuple[Any, list[Requirement]]:
    """What the type rule gives, and what it requires. Raises Fault."""
    required: list[Requirement] = []
    call = Call(operator, complete(operator, values), required.append)
    result = operator.shape(call)
    return result, required


def shown(result: Any) -> Outcome:
    """Types as nested tuples of (dtype, sizes)."""
    if isinstance(result, TensorType):
        return result.dtype, result.dims
    return tuple(map(shown, result))


def checked(operator: Operator, values: Values) -> Outcome:
    """The rule's outcome on known sizes."""
    if not accepts(operator, values):
        return None
    try:
        result, required = typed(operator, values)
    except Fault:
        return None
    return shown(result) if all(map(holds, required)) else None


def real(value: Any, rng: random.Random) -> Any:
    """A tensor for each type, small whole numbers for whole dtypes, below the bound where there is one."""
    if isinstance(value, Dtype):
        return TORCH[value.name]
    if isinstance(value, list | tuple):
        return type(value)(real(item, rng) for item in value)
    if not isinstance(value, TensorType):
        return value
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    dims, dtype = value.dims, TORCH[value.dtype]
    if value.classes is not None:
        indices = torch.randint(0, value.classes, dims, generator=generator)
        indices.view(-1)[:1] = value.classes - 1  # so that the bound is put to the test
        return indices.to(dtype)
    if value.dtype == "bool":
        return torch.ones(dims, dtype=dtype)  # divides too
    if dtype.is_floating_point:
        return (torch.rand(dims, generator=generator) * 0.9 + 0.05).to(dtype)
    return torch.randint(1, 3, dims, generator=generator).to(dtype)


def ran(operator: Operator, values: Values, seed: int = 0) -> Outcome:
    """torch's outcome on real tensors; a refusal is whatever torch raises, warnings included."""
    rng = random.Random(seed)
    given = {name: real(value, rng) for name, value in values.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for harmless in (
            "degrees of freedom",
            "batchmean",
            "zero-padded copy",
            "fused implementation",
            "reduce argument of torch.scatter",
        ):
            warnings.filterwarnings("ignore", message=f"(?s).*{harmless}")
        try:
            result = apply(operator, given)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, Warning, AssertionError):
            return None
    return measured(result)


def apply(operator: Operator, given: Mapping[str, Any]) -> Any:
    """torch runs the operator."""
    if operator.kind == "loss":
        settings = {param.name: given[param.name] for param in operator.settings if param.name in given}
        module = make_loss(torch, operator, {name: fixed_value(value) for name, value in settings.items()})
        return module(*(given[param.name] for param in operator.arguments))
    return call_function(torch, operator, {"training": True, "device": torch.device("cpu"), **given})


def measured(result: Any) -> Outcome:
    """Real tensors as nested tuples of (dtype, sizes)."""
    if isinstance(result, torch.Tensor):
        return NAMES[result.dtype], tuple(result.shape)
    return tuple(map(measured, result))


# ------------------------------------------------------------------------------------------------ unknown sizes


def loosened(values: Values, rng: random.Random) -> tuple[dict[str, Any], dict[str, int]]:
    """The values with some sizes of the tensors made symbols, one for each number, and what each symbol is."""
    sizes: dict[str, int] = {}

    def loose(size: Size) -> Size:
        if isinstance(size, Dim) or size == 0 or rng.random() < 0.4:
            return size
        sizes[f"S{size}"] = size
        return symbol(f"S{size}")

    def walk(value: Any) -> Any:
        if isinstance(value, TensorType):
            return value.with_dims(*map(loose, value.dims))
        return tuple(map(walk, value)) if isinstance(value, tuple) else value

    return {name: walk(value) for name, value in values.items()}, sizes


def at_sizes(outcome: Outcome, sizes: dict[str, int]) -> Outcome:
    """An outcome with numbers for its symbols."""
    if outcome and isinstance(outcome[0], str):
        return outcome[0], tuple(substitute(size, sizes) for size in outcome[1])
    return tuple(at_sizes(part, sizes) for part in outcome)


def loosely_checked(operator: Operator, values: Values, sizes: dict[str, int]) -> Outcome:
    """The rule's outcome on unknown sizes, evaluated at `sizes`; none where it refuses or a requirement fails there."""
    if not accepts(operator, values):
        return None
    try:
        result, required = typed(operator, values)
    except Fault:
        return None
    for relation, a, b, what in required:
        if not holds((relation, substitute(a, sizes), substitute(b, sizes), what)):
            return None
    return at_sizes(shown(result), sizes)
