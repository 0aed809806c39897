"""How long a run is, in epochs and in steps, as far as the file says it: the one place for that arithmetic."""

from collections.abc import Iterable

from expc.compiler.plans.check_data import steps_per_epoch
from expc.compiler.program import Program
from expc.frozen import dataclass
from expc.spec.values import Quantity


@dataclass(frozen=True)
class RunLength:
    """`epochs` or `steps` is what `train` says; `per_epoch` are the optimizer steps of an epoch, where they are known.

    `accumulate` does not change them: it splits the batch of one step.
    """

    epochs: int | None
    steps: int | None
    per_epoch: int | None

    @property
    def said(self) -> Quantity:
        """The whole run as it is written."""
        return Quantity(self.epochs, "epoch") if self.epochs is not None else Quantity(self.steps or 0, "step")

    def total(self, unit: str) -> float | None:
        """The whole run in `step` or `epoch`; none where that is not known."""
        return self.count(self.said, unit) if self.said.number else None

    def count(self, length: Quantity, unit: str) -> float | None:
        """A length in another unit; none where that is not known."""
        if length.unit == unit:
            return length.number
        if not self.per_epoch or length.unit not in ("step", "epoch"):
            return None
        return length.number * self.per_epoch if unit == "step" else length.number / self.per_epoch

    def rest(self, before: Iterable[Quantity], unit: str) -> float | None:
        """What is left of the run after others; none where that is not known."""
        lengths = [self.total(unit), *(self.count(length, unit) for length in before)]
        known = [length for length in lengths if length is not None]
        return known[0] - sum(known[1:]) if len(known) == len(lengths) else None

    @property
    def validations(self) -> int | None:
        """How often the run measures on `val`: after each epoch, the last perhaps not whole."""
        epochs = self.total("epoch")
        return None if epochs is None else -int(-epochs // 1)


def run_length(program: Program) -> RunLength:
    """The length of a program's run."""
    data, train = program.experiment.data, program.experiment.train
    per_epoch = steps_per_epoch(program.data.get("train"), data)
    return RunLength(train.epochs if train else None, train.steps if train else None, per_epoch)
