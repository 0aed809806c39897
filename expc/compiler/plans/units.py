"""The units of fsdp: the modules whose parameters are gathered together before they run and let go after.

A unit is a module inside the model that holds parameters; what no unit holds, the model itself gathers. Parameters that
are in use outside of the module that holds them are there only while that module runs, so a module is no unit
  - where a parameter of it is tied to one outside, or is read outside, as GPT's `wte.weight` in `lm_head`;
  - where it runs again on tensors of other sizes: such a call does not pass the module's hooks.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from expc.compiler.graph import Container, Invoke, Leaf, Model, Read, weights
from expc.compiler.plans.selectors import matching_modules
from expc.compiler.program import Program, TrainPlan
from expc.spec.values import Word

if TYPE_CHECKING:
    from expc.diagnostics import Span

INLINE: Final = "Body"
"""The title of a container that is written in place, and is no block with a name."""


def units(model: Model, selectors: Sequence[str | Word] | None = None, read: Collection[str] = ()) -> tuple[str, ...]:
    """The paths of the units of `model`, those inside another before it: the order in which torch must shard them.

    `selectors` are those of `distributed { shard = [...] }`. Without, a unit is each block that the model has several
    of, side by side: `h.0` to `h.11` of a GPT, `layer1.0` to `layer4.1` of a ResNet. `read` has the keys of parameters
    that are in use outside of the model, by a loss.
    """
    body = model.body
    if selectors is None:
        found = [path for path, _ in _repeated(body)]
    else:
        matched = (matching_modules(str(one), not isinstance(one, Word), body) for one in selectors)
        found = list(dict.fromkeys(path for paths in matched for path in paths))
    whole = Whole(body, read)
    fitting = [path for path in found if whole.holds(path) and whole.why_not(path) is None]
    return tuple(sorted(fitting, key=lambda path: -path.count(".")))


def units_of(program: Program) -> tuple[str, ...]:
    """The units of a program's model, as its file asks for them."""
    if program.model is None:
        return ()
    distributed = program.experiment.distributed
    selectors = None if distributed is None else distributed.shard
    return units(program.model, selectors, read_by_losses(program.train))


def read_by_losses(plan: TrainPlan | None) -> frozenset[str]:
    """The keys of the parameters that losses read besides the model's outputs."""
    return frozenset(key for loss in plan.losses for key in loss.weights.values()) if plan is not None else frozenset()


class Whole:
    """What must not come between a module and the rest of the model."""

    def __init__(self, body: Container, read: Collection[str] = ()) -> None:
        entries = [weight for weight in weights(body) if not weight.is_buffer]
        self._keys = frozenset(weight.key for weight in entries)
        python = (f"{path}." for path, child in _parts(body) if isinstance(child, Leaf) and child.operator.python)
        self._homes = frozenset({f"{key.rpartition('.')[0]}." for key in self._keys} | set(python))
        """What the keys of modules that hold parameters start with."""
        self._tied = [(weight.key, weight.tied_to) for weight in entries if weight.tied_to is not None]
        self._read = [*(("", key) for key in read), *_reads(body)]
        self._again = tuple(_again(body))

    def holds(self, path: str) -> bool:
        """Whether a module has parameters, as far as is known before Python code is built."""
        return any(home.startswith(f"{path}.") for home in self._homes)

    def why_not(self, path: str) -> str | None:
        """Why a module cannot be a unit, in words; none where it can."""
        inside = f"{path}."
        for key, other in self._tied:
            if key.startswith(inside) != other.startswith(inside):
                return f"`{path}` is not gathered by itself, since `{other}` is tied to `{key}`"
        for reader, key in self._read:
            if key in self._keys and key.startswith(inside) and not reader.startswith(inside):
                return f"`{path}` is not gathered by itself, since `{key}` is read outside of it"
        for again in self._again:
            if inside.startswith(f"{again}."):
                return f"`{path}` is not gathered by itself, since `{again}` runs again on tensors of other sizes"
        return None


def _repeated(container: Container, prefix: str = "") -> list[tuple[str, Container]]:
    """The blocks that stand side by side with others of the same: the outermost that are no stages."""
    blocks = [(f"{prefix}{name}", child) for name, child in container.children.items() if isinstance(child, Container)]
    alike: dict[Span, int] = {}
    for _, block in blocks:
        alike[block.span] = alike.get(block.span, 0) + 1
    found = []
    for path, block in blocks:
        inside = _repeated(block, f"{path}.")
        if alike[block.span] > 1 and not _only(block, path, inside):
            found.append((path, block))
        else:
            found += inside
    return found


def _only(block: Container, path: str, inside: Sequence[tuple[str, Container]]) -> bool:
    """Whether a block is a stage: no parameter of it is outside of the blocks with names that it repeats."""
    if not inside or any(part.title == INLINE for _, part in inside):
        return False
    homes = tuple(f"{name}." for name, _ in inside)
    return all(weight.key.startswith(homes) for weight in weights(block, f"{path}.") if not weight.is_buffer)


def _parts(container: Container, prefix: str = "") -> Iterator[tuple[str, Container | Leaf]]:
    """Every module under a container, with its path."""
    for name, child in container.children.items():
        yield f"{prefix}{name}", child
        if isinstance(child, Container):
            yield from _parts(child, f"{prefix}{name}.")


def _reads(container: Container, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Which module reads which parameter or buffer: (what its keys start with, key)."""
    for step in container.steps:
        if isinstance(step, Read):
            yield prefix, prefix + ".".join(step.path)
    for name, child in container.children.items():
        if isinstance(child, Container):
            yield from _reads(child, f"{prefix}{name}.")


def _again(container: Container, prefix: str = "") -> Iterator[str]:
    """The modules that run again on tensors of other types."""
    for step in container.steps:
        if isinstance(step, Invoke) and step.again is not None:
            yield prefix + step.module
    for name, child in container.children.items():
        if isinstance(child, Container):
            yield from _again(child, f"{prefix}{name}.")
