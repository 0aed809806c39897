"""The embedding API: check, load, build and run an experiment from Python."""

from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Literal

from expc.diagnostics import Problem
from expc.diagnostics.text import render
from expc.frozen import dataclass

if TYPE_CHECKING:
    from torch import nn

    from expc.compiler.graph import Model
    from expc.compiler.program import Program
    from expc.compiler.session import Checked
    from expc.runtime.run import RunResult

Settings = Mapping[str, Any]
"""What `--set` takes on the command line: `{"train.epochs": 1}`. A string is text of the language, as it is there:
`{"train.optimizer": "SGD(lr=0.1)"}`; any other value is written as the language writes it."""


class CheckError(Exception):
    """An experiment with errors was to be built or run. `problems` has them, the message shows them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n\n".join(["the experiment has errors", *map(render, self.problems)]))


def check(
    path: str | PathLike[str] | None = None,
    *,
    text: str | None = None,
    set: Settings | None = None,  # noqa: A002 - the name of the option
    lint: Iterable[str] = (),
) -> tuple[Problem, ...]:
    """Every problem of the `.exp` file at `path`, or of `text`, in the order of the text. Imports no torch.

    `lint` names rules to run too that are off by default, as `--lint` does: `lint=["norm-after-activation"]`.
    Raises OSError or UnicodeDecodeError where the file cannot be read.
    """
    return _checked(path, text, set, frozenset(lint)).problems


def load(
    path: str | PathLike[str] | None = None,
    *,
    text: str | None = None,
    set: Settings | None = None,  # noqa: A002 - the name of the option
) -> "Experiment":
    """The experiment in the `.exp` file at `path`, or in `text`, with its problems. Imports no torch.

    Raises OSError or UnicodeDecodeError where the file cannot be read; what is wrong with the experiment is in
    `Experiment.problems`, and raised by what cannot be done because of it.
    """
    return Experiment(_checked(path, text, set))


def load_run(
    path: str | PathLike[str], *, weights: Literal["best", "final"] = "best", device: str = "cpu"
) -> "nn.Module":
    """The network of the run in the directory `path`, an `nn.Module` on `device` with the weights that it learnt.

    It is in evaluation mode. Raises `expc.runtime.errors.RunError` where `path` is no run directory, or has not these
    weights, whole.
    """
    from expc.runtime.stored import open_run

    return open_run(path).build(weights, device)


@dataclass(frozen=True)
class Experiment:
    """An experiment that was checked."""

    checked: "Checked"

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with it, in the order of the text."""
        return self.checked.problems

    @property
    def program(self) -> "Program":
        """The experiment with everything resolved. Raises CheckError where it has errors."""
        if self.checked.program is None or self.checked.has_errors:
            raise CheckError(problem for problem in self.problems if problem.severity == "error")
        return self.checked.program

    def build(self, device: str = "cpu", seed: int | None = None) -> "nn.Module":
        """The network as an `nn.Module` on `device`, its parameters freshly initialised.

        `seed` makes them the same each time; by default it is the one that the file says. Raises CheckError where the
        experiment has errors, ValueError where it declares no model.
        """
        from expc.compiler.lower import lower

        model, train = self._model, self.program.experiment.train
        if seed is None and train is not None:
            seed = train.seed
        inits = self.program.train.inits if self.program.train is not None else ()
        return lower(model, device=device, seed=seed, inits=inits)

    def run(
        self,
        *,
        out: str | PathLike[str] | None = None,
        device: str = "auto",
        progress: bool = False,
        data: Mapping[str, Mapping[str, Any]] | None = None,
        resume: str | PathLike[str] | None = None,
        allow_changed: bool = False,
    ) -> "RunResult":
        """Train and evaluate, as `expc run` does, and write the run directory `out`, or a new one under `runs/`.

        `data` gives the tensors or arrays `[n, ...]` of the file's `Tensors`, by its name and by field:
        `data={"points": {"x": x, "label": label}}` for `Tensors("points") -> as (x: f32[2], label: class(2))`.

        `resume` names a run directory to go on in, from its last checkpoint that is whole; where the experiment is not
        what it was then, only if `allow_changed`.

        Raises CheckError where the experiment has errors, `expc.runtime.errors.RunError` where the run cannot go on,
        ValueError where both `out` and `resume` are given.
        """
        from pathlib import Path

        from expc.runtime.resuming import Resume
        from expc.runtime.run import run

        if out is not None and resume is not None:
            raise ValueError("a run goes on in its own directory: give either out= or resume=")
        where = None if out is None else fspath(out)
        going_on = None if resume is None else Resume(Path(resume), allow_changed, "resume=")
        return run(self.program, out=where, device=device, progress=progress, data=data, resume=going_on)

    def summary(self, **sizes: int) -> str:
        """Layers, types, parameters, multiply-accumulates and memory as a table; `summary(H=224)` counts at that size.

        Raises CheckError where the experiment has errors, ValueError where it declares no model or has no such size.
        """
        from expc.compiler.cost.summary import summary

        return summary(self.program, sizes)

    @property
    def _model(self) -> "Model":
        if self.program.model is None:
            raise ValueError(f"{self.program.source.name} declares no model")
        return self.program.model


def _checked(
    path: str | PathLike[str] | None,
    text: str | None,
    settings: Settings | None,
    lints: frozenset[str] = frozenset(),
) -> "Checked":
    from expc.compiler.session import check_file, check_text
    from expc.spec.values import show

    overrides = [
        f"{name}={value if isinstance(value, str) else show(value)}" for name, value in (settings or {}).items()
    ]
    if path is not None and text is None:
        if fspath(path).endswith((".yaml", ".yml")):
            from expc.compiler.repeating import check_resolved

            return check_resolved(fspath(path), overrides, lints)
        return check_file(fspath(path), overrides, lints)
    if text is not None and path is None:
        return check_text(text, overrides=overrides, lints=lints)
    raise TypeError("give either a path or text=")
