"""The names that every file may use without declaring them: those of torch, torchvision and torchmetrics."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from expc.compiler.ops.declare import Operator


class Library:
    """Looks names up in the tables, each loaded when first needed."""

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
        from expc.compiler.datasets import datasets
        from expc.compiler.sources import sources

        return {**datasets(), **sources()}

    @cached_property
    def transforms(self) -> Mapping[str, Any]:
        """`torchvision.transforms.v2`."""
        from expc.compiler.field_transforms import field_transforms
        from expc.compiler.transforms import transforms

        return {**transforms(), **field_transforms()}

    @cached_property
    def optimizers(self) -> Mapping[str, Any]:
        """`torch.optim`."""
        from expc.compiler.optimizers import optimizers

        return optimizers()

    @cached_property
    def schedules(self) -> Mapping[str, Any]:
        """`torch.optim.lr_scheduler`."""
        from expc.compiler.schedules import schedules

        return schedules()

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """Torchmetrics."""
        from expc.compiler.metrics import metrics

        return metrics()

    WORDS = ("split", "norm", "value", "load")
    """Words of settings that take arguments: `split(0.9)`, `clip = norm(1.0)`, `init "*" = load("a.safetensors")`."""

    def knows(self, name: str) -> bool:
        """Whether the name stands for something."""
        if name in self.WORDS or name in self.operators:
            return True
        return any(name in table for table in self._tables())

    def kind(self, name: str) -> str:
        """What the name is, in words."""
        if name in self.operators:
            kind = self.operators[name].kind
            return {"layer": "a layer", "function": "a function", "loss": "a loss"}[kind]
        kinds = ("a data set", "a transform", "an optimizer", "a schedule", "a metric", "an initialiser")
        for words, table in zip(kinds, self._tables(), strict=True):
            if name in table:
                return words
        return "a word of the settings"

    def names(self) -> Iterator[str]:
        """Every name, for suggestions."""
        yield from self.operators
        yield from self.WORDS
        for table in self._tables():
            yield from table

    def _tables(self) -> Iterator[Mapping[str, Any]]:
        yield self.datasets
        yield self.transforms
        yield self.optimizers
        yield self.schedules
        yield self.metrics
        yield self.initialisers
