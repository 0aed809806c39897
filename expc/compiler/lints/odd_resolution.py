"""`odd-resolution`: images are enlarged far beyond what they show."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.graph import Container, has_python
from expc.compiler.lints.lineage import Lineage, Origin
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass

RESIZING: Final = ("Resize", "RandomResizedCrop")
FAR: Final = 4
"""From here on an image is enlarged far: one pixel becomes more than sixteen."""


@dataclass(frozen=True, kw_only=True)
class OddResolution(Problem):
    """Each side of the images becomes more than four times as long: sixteen times the work for the same content.

    Models for photographs of 224 x 224 are often given small images so; a smaller kernel or stride in the first layer
    serves better. For weights that were learnt on large images it is usual, so with `init ... = load(...)` or Python
    code in the model the rule says nothing.

    ```exp wrong
    data { train = CIFAR10("data") -> Resize([224, 224]) -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 224, 224]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0405"
    name: ClassVar[str] = "odd-resolution"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "images of {native} are enlarged to {size}: each side {factor} times as long"

    native: str
    size: str
    factor: str


def check(program: Program) -> Iterator[Problem]:
    """The fields of the training data that feed the model."""
    plan = program.data.get("train")
    if plan is None or program.model is None or plan.dataset.declaration.python is not None:
        return
    if has_python(program.model.body) or _loads(program):
        return
    fields = Lineage(plan).fields
    for field in dict.fromkeys(program.inputs.values()):
        if field not in fields:
            continue
        resized = [part for part in fields[field].path() if part.step is not None and part.step.use.name in RESIZING]
        if not resized:
            continue
        scale = 1.0
        for part in resized:
            scale *= _scale(part)
        native = fields[field].path()[-1].type
        last = resized[0]
        if scale > FAR and last.step is not None:
            sizes = [" x ".join(map(str, type_.dims[-2:])) for type_ in (native, last.type)]
            factor = f"{round(scale, 1):g}"
            yield OddResolution(span=last.step.use.span, native=sizes[0], size=sizes[1], factor=factor)


def _scale(part: Origin) -> float:
    """By how much a step enlarges both sides at least; 0 where that is not known."""
    before = part.before
    if before is None or before.rank != 3 or part.type.rank != 3:
        return 0
    pairs = list(zip(before.dims[1:], part.type.dims[1:], strict=True))
    if not all(isinstance(size, int) for pair in pairs for size in pair):
        return 0
    return min(int(str(after)) / int(str(size)) for size, after in pairs)


def _loads(program: Program) -> bool:
    """Whether parameters start as a file says."""
    train = program.train
    rules = train.inits if train is not None else ()
    if getattr(train, "loads", ()) or any(rule.initialiser.name == "load" for rule in rules):
        return True
    return program.model is not None and _has_load(program.model.body)


def _has_load(container: Container) -> bool:
    return any(rule.initialiser.name == "load" for rule in container.inits) or any(
        _has_load(child) for child in container.children.values() if isinstance(child, Container)
    )
