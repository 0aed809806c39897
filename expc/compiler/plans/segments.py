"""Cutting a model into segments that compute their activations anew."""

from expc.compiler.graph import Container, Invoke, Step
from expc.compiler.program import Segments


def cut(body: Container, number: int) -> Segments | None:
    """The segments of a model; none where it has too few statements.

    What is cut is the innermost container that holds more than half of the model: the list of layers of a GPT rather
    than the few lines around it. Each segment has about as many operators as the others.
    """
    path, container = home(body)
    if len(container.steps) < number:
        return None
    return Segments(path, _starts([_weight(container, step) for step in container.steps], number))


def home(body: Container) -> tuple[str, Container]:
    """The container that is cut, and the path of its module."""
    path, container, half = "", body, _size(body) / 2
    while True:
        inside = {step.module: _weight(container, step) for step in container.steps if isinstance(step, Invoke)}
        heaviest = max(inside, key=inside.__getitem__, default=None)
        if heaviest is None or inside[heaviest] <= half:
            return path, container
        child = container.children[heaviest]
        assert isinstance(child, Container)  # noqa: S101 - what is invoked is one
        path, container = f"{path}.{heaviest}".lstrip("."), child


def _size(container: Container) -> int:
    return sum(_weight(container, step) for step in container.steps)


def _weight(container: Container, step: Step) -> int:
    """How many operators a step runs."""
    child = container.children[step.module] if isinstance(step, Invoke) else None
    return max(1, _size(child)) if isinstance(child, Container) else 1


def _starts(weights: list[int], number: int) -> tuple[int, ...]:
    """The first step of each of `number` segments of about equal weight, none empty."""
    starts, total, before = [0], sum(weights), 0
    for index, weight in enumerate(weights):
        left = number - len(starts)
        enough = before * number >= len(starts) * total
        if index > starts[-1] and left and (enough or len(weights) - index == left):
            starts.append(index)
        before += weight
    return tuple(starts)
