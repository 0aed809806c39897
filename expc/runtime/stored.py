"""A run directory that is used again: its experiment as it was run, and its weights."""

import json
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from expc.compiler.lower import lower
from expc.compiler.program import Program
from expc.compiler.repeating import check_resolved
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.runtime.checkpoint.saving import BEST
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.stored import RunUnusable, WeightsMissing, WeightsUnfit
from expc.runtime.keeping import FINAL
from expc.runtime.later import refuse_what_comes_later
from expc.runtime.prepare import start_of
from expc.runtime.rundir import FACTS, RESOLVED
from expc.runtime.weights import read_weights

Which = Literal["best", "final"]

FILES: Final = {"best": BEST, "final": FINAL}


@dataclass(frozen=True)
class StoredRun:
    """A run that left `path` behind, and what was run."""

    path: Path
    program: Program

    @property
    def span(self) -> Span:
        """The place of problems that nothing in a file is to blame for."""
        return option_span("RUN", str(self.path))

    def build(self, which: Which = "best", device: str | torch.device = "cpu") -> nn.Module:
        """The network with weights of the run, in evaluation mode. Raises `RunError`."""
        if self.program.model is None:
            raise RunError(
                RunUnusable(span=start_of(self.program), path=str(self.path), reason="its file has no model")
            )
        model = lower(self.program.model, device=device, seed=0, start=False)
        self.load(model, which)
        return model.eval()

    def load(self, model: nn.Module, which: Which) -> None:
        """Give a network of the run's experiment its weights.

        Raises `RunError`: E0852 where there are none, E0853 where they are not those of the model.
        """
        path = self.path / FILES[which]
        if not path.is_file():
            raise RunError(WeightsMissing(span=self.span, weights=path.name, reason=self._why_missing))
        try:
            found = read_weights(path)
        except (OSError, SafetensorError) as error:
            reason = f"it is not a whole safetensors file ({str(error).splitlines()[0]})"
            raise self._unfit(path, reason) from error
        wanted = model.state_dict()
        for key, tensor in wanted.items():
            if key not in found:
                raise self._unfit(path, f"it has no `{key}`")
            if found[key].shape != tensor.shape or found[key].dtype != tensor.dtype:
                there, here = (f"{t.dtype} {list(t.shape)}".removeprefix("torch.") for t in (found[key], tensor))
                raise self._unfit(path, f"`{key}` is {there} there, and {here} in the model")
        foreign = next((key for key in found if key not in wanted), None)
        if foreign is not None:
            raise self._unfit(path, f"it has `{foreign}`, which the model has not")
        model.load_state_dict(found)

    def _unfit(self, path: Path, reason: str) -> RunError:
        return RunError(WeightsUnfit(span=self.span, path=str(path), reason=reason))

    @property
    def _why_missing(self) -> str:
        other = next((which for which, name in FILES.items() if (self.path / name).is_file()), None)
        if other is not None:
            return f"it has {FILES[other]}: `--weights {other}`"
        facts = self._facts()
        if facts.get("status") == "failed":
            return f"it failed before any were saved ({facts.get('error', 'nobody knows why')})"
        if facts.get("status") in ("running", "interrupted"):
            return f"it is {facts['status']}, and none were saved yet"
        return f"there is nothing of that name in {self.path}"

    def _facts(self) -> dict[str, Any]:
        try:
            facts = json.loads((self.path / FACTS).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) else {}


def open_run(path: str | PathLike[str]) -> StoredRun:
    """The run that left the directory `path` behind, its sources checked anew.

    Raises `RunError`: E0851 where it is no run directory, and any problem of the checker where it was changed.
    """
    path = Path(path)
    span = option_span("RUN", str(path))

    def refused(reason: str, *notes: str) -> RunError:
        return RunError(RunUnusable(span=span, path=str(path), reason=reason, notes=notes))

    try:
        if not path.exists():
            raise refused("there is nothing of this name")
        if not path.is_dir():
            raise refused("it is a file", *([f"the folder that it is in may be one: {path.parent}"] * bool(path.name)))
        if not (path / RESOLVED).is_file():
            runs = sorted(entry for entry in path.iterdir() if (entry / RESOLVED).is_file())
            raise refused(f"it has no {RESOLVED}", *([f"it holds {runs[-1]}"] if runs else []))
        checked = check_resolved(str(path / RESOLVED))
    except UnicodeDecodeError as error:
        raise refused(f"its {RESOLVED} is not a text in UTF-8") from error
    except (OSError, ValueError) as error:
        raise refused(getattr(error, "strerror", None) or str(error)) from error
    if checked.program is None or checked.has_errors:
        raise RunError(next(problem for problem in checked.problems if problem.severity == "error"))
    refuse_what_comes_later(checked.program)
    return StoredRun(path, checked.program)
