"""`unshuffled-class-split`: a split in order of samples that lie sorted by class."""

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.program import Program, SplitUse
from expc.diagnostics import Edit, Fix, Problem, Severity, Span
from expc.frozen import dataclass

SORTED: Final = frozenset(
    (
        *("Caltech101", "Caltech256", "Country211", "EuroSAT", "Food101", "ImageFolder", "ImageNet", "Imagenette"),
        *("INaturalist", "LSUN", "Omniglot", "RenderedSST2", "SUN397"),
    )
)
"""The data sets that torchvision reads class by class: those in folders, and those whose lists are so."""


@dataclass(frozen=True, kw_only=True)
class UnshuffledClassSplit(Problem):
    """Where samples lie sorted by class, the first nine tenths and the last have different classes.

    So the model is measured on classes that it never saw. A split shuffles by the seed unless `shuffle=false` is
    written, which is right for text and for measurements over time.

    ```exp wrong
    data { train, val = ImageFolder("photos", classes=10) -> split(0.9, shuffle=false) -> Resize([32, 32]) -> ToTensor }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train, val = ImageFolder("photos", classes=10) -> split(0.9) -> Resize([32, 32]) -> ToTensor }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0403"
    name: ClassVar[str] = "unshuffled-class-split"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{dataset}` lies sorted by class, so the parts of this split have different classes"

    dataset: str


def check(program: Program) -> Iterator[Problem]:
    """Splits in order of sorted data that nothing has shuffled before; each once."""
    seen: set[tuple[int, int]] = set()
    for plan in program.data.values():
        if plan.dataset.declaration.python is not None or plan.dataset.name not in SORTED:
            continue
        split = next((stage for stage in plan.stages if isinstance(stage, SplitUse)), None)
        if split is None or split.shuffle or (split.span.start, split.span.end) in seen:
            continue
        seen.add((split.span.start, split.span.end))
        yield UnshuffledClassSplit(span=split.span, dataset=plan.dataset.name, fixes=_fixes(split.span))


def _fixes(span: Span) -> tuple[Fix, ...]:
    found = re.search(r",\s*shuffle\s*=\s*false", span.text)
    if found is None:
        return ()
    place = Span(span.source, span.start + found.start(), span.start + found.end())
    return (Fix("leave out `shuffle=false`", (Edit(place, ""),)),)
