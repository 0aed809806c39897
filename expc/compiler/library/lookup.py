"""The names that every file may use without declaring them: those of torch, torchvision and torchmetrics."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from expc.compiler.library.index import table_names
from expc.compiler.ops.declare import Operator

TABLES: Final = {
    "datasets": "a data set",
    "transforms": "a transform",
    "optimizers": "an optimizer",
    "schedules": "a schedule",
    "samplers": "a sampler",
    "metrics": "a metric",
    "initialisers": "an initialiser",
}
"""The tables beside that of the operators, by their names in the library, and what an entry of each is."""


class Library:
    """Looks names up in the tables, each loaded when something in it is needed."""

    @cached_property
    def operators(self) -> Mapping[str, Operator]:
        """Layers, functions and losses."""
        from expc.compiler.ops.table import operators

        return operators()

    @cached_property
    def initialisers(self) -> Mapping[str, Any]:
        """`torch.nn.init`, without the underscore."""
        from expc.compiler.ops.initialisers import INITIALISERS

        return {initialiser.name: initialiser for initialiser in INITIALISERS}

    @cached_property
    def datasets(self) -> Mapping[str, Any]:
        """`torchvision.datasets`, and those of our own."""
        from expc.compiler.library.datasets import datasets
        from expc.compiler.library.sources import sources

        return {**datasets(), **sources()}

    @cached_property
    def transforms(self) -> Mapping[str, Any]:
        """`torchvision.transforms.v2`."""
        from expc.compiler.library.field_transforms import field_transforms
        from expc.compiler.library.transforms import transforms

        return {**transforms(), **field_transforms()}

    @cached_property
    def optimizers(self) -> Mapping[str, Any]:
        """`torch.optim`."""
        from expc.compiler.library.optimizers import optimizers

        return optimizers()

    @cached_property
    def schedules(self) -> Mapping[str, Any]:
        """`torch.optim.lr_scheduler`."""
        from expc.compiler.library.schedules import schedules

        return schedules()

    @cached_property
    def samplers(self) -> Mapping[str, Any]:
        """`torch.utils.data`."""
        from expc.compiler.library.samplers import samplers

        return samplers()

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """Torchmetrics."""
        from expc.compiler.library.metrics import metrics

        return metrics()

    WORDS = ("split", "norm", "value", "load")
    """Words of settings that take arguments: `split(0.9)`, `clip = norm(1.0)`, `init "*" = load("a.safetensors")`."""

    def knows(self, name: str) -> bool:
        """Whether the name stands for something."""
        return name in self.WORDS or name in self.operators or any(name in table_names(table) for table in TABLES)

    def kind(self, name: str) -> str:
        """What the name is, in words."""
        if name in self.operators:
            kind = self.operators[name].kind
            return {"layer": "a layer", "function": "a function", "loss": "a loss"}[kind]
        found = (words for table, words in TABLES.items() if name in table_names(table))
        return next(found, "a word of the settings")

    def names(self) -> Iterator[str]:
        """Every name, for suggestions."""
        yield from self.operators
        yield from self.WORDS
        for table in TABLES:
            yield from table_names(table)
