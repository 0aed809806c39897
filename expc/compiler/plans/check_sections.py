"""Checking `log`, `quantize`, `prune`, `export`, and settings of `train` that contradict each other."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from expc.compiler.errors.names import SelectorMatchesNothing
from expc.compiler.errors.training import SettingsContradict
from expc.compiler.graph import Model, weights
from expc.compiler.lints.not_run_yet import NotRunYet
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.plans.check_selected import modules
from expc.compiler.plans.selectors import matching, nearest_key
from expc.compiler.program import Use
from expc.diagnostics import Span
from expc.spec.experiment import Experiment
from expc.spec.values import Word

if TYPE_CHECKING:
    from expc.spec.sections import Export, Log, Prune, Quantize, Train

Place = Callable[[str, str | None], Span]
"""Where a section's name, or one of its settings, stands."""


def check_sections(elaborator: Elaborator, bound: Experiment, model: Model | None, place: Place) -> None:
    """Settings that make no sense together, and selectors that match nothing; all are reported."""
    for section, checker in (
        ("log", _log),
        ("quantize", _quantize),
        ("prune", _prune),
        ("export", _export),
    ):
        settings = getattr(bound, section)
        if settings is None:
            continue
        for key, reason in checker(settings):
            elaborator.add(SettingsContradict(span=place(section, key), reason=reason))
    draws = bound.log is not None and bound.log.images > 0
    has_val = (
        bound.data is None or bound.data.val is not None or elaborator.report.has_errors
    )  # then `val` may be wrong
    if draws and not has_val:
        reason = "`images` draws samples of `val`, and `data` has no `val`"
        elaborator.add(SettingsContradict(span=place("log", "images"), reason=reason))
    if model is None:
        return
    if bound.quantize is not None and bound.quantize.targets is not None:
        modules(elaborator, bound.quantize.targets, model, place("quantize", "targets"))
    if bound.prune is not None and bound.prune.targets is not None:
        _prune_targets(elaborator, bound.prune, model, place("prune", "targets"))


def _log(settings: "Log") -> Iterator[tuple[str, str]]:
    for key in ("histograms", "images"):
        if getattr(settings, key) and not settings.tensorboard:
            yield key, f"`{key}` are for TensorBoard, and `tensorboard` is false"


def _quantize(settings: "Quantize") -> Iterator[tuple[str, str]]:
    if settings.calibrate is not None and settings.mode != "static":
        yield "calibrate", f"only `mode = static` calibrates, and `mode` is `{settings.mode}`"


def _prune(settings: "Prune") -> Iterator[tuple[str, str]]:
    structured = settings.method.endswith("_structured")
    if settings.amount is None:
        yield "prune", "`prune` needs an `amount`, such as `amount = 0.3`"
    if settings.n is not None and settings.method != "ln_structured":
        yield "n", f"`n` is the norm of `ln_structured`, and `method` is `{settings.method}`"
    if settings.dim is not None and not structured:
        yield "dim", f"`dim` is about whole slices, and `{settings.method}` takes single parameters"


def _export(settings: "Export") -> Iterator[tuple[str, str]]:
    if settings.onnx is None and settings.pt2 is None:
        yield "export", '`export` needs a file: `onnx = "net.onnx"` or `pt2 = "net.pt2"`'
    if settings.opset is not None and settings.onnx is None:
        yield "opset", "`opset` is about ONNX, and there is no `onnx` file"


def _prune_targets(elaborator: Elaborator, settings: "Prune", model: Model, span: Span) -> None:
    entries = [weight for weight in weights(model.body) if not weight.is_buffer]
    structured = settings.method.endswith("_structured")
    for selector in settings.targets or ():
        matched = matching(str(selector), not isinstance(selector, Word), model.body, entries)
        if not matched:
            near = nearest_key(str(selector), entries)
            notes = (f"the nearest key is `{near}`",) if near else ()
            elaborator.add(SelectorMatchesNothing(span=span, selector=str(selector), notes=notes))
        flat = next((weight for weight in matched if len(weight.dims) < 2), None)
        if structured and flat is not None:
            reason = (
                f"`{settings.method}` takes slices of tensors of two dimensions or more, and `{flat.key}` has fewer"
            )
            elaborator.add(SettingsContradict(span=span, reason=reason))


# ---------------------------------------------------------------------------------------------------- train


def check_settings(elaborator: Elaborator, train: "Train", used: tuple[Use, ...], place: Place) -> None:
    """Settings of `train` that make no sense together."""
    names = {use.name for use in used if use.declaration.python is None}
    if "LBFGS" in names and train.precision in ("f16", "auto"):
        reason = "`LBFGS` takes several looks at a batch, which torch cannot scale for f16: write `bf16` or `f32`"
        elaborator.add(SettingsContradict(span=place("train", "precision"), reason=reason))
    if "SparseAdam" in names and train.clip is not None:
        reason = "torch cannot clip the sparse gradients that `SparseAdam` takes"
        elaborator.add(SettingsContradict(span=place("train", "clip"), reason=reason))


# ---------------------------------------------------------------------------------------------------- what comes later


def later(bound: Experiment, place: Place) -> Iterator[NotRunYet]:
    """What is checked, and cannot be run yet."""
    reasons = {
        "quantize": "nothing quantizes a model yet",
        "prune": "nothing prunes a model yet",
        "export": "nothing exports a model yet",
    }
    for section, reason in reasons.items():
        if getattr(bound, section) is not None:
            yield NotRunYet(span=place(section, None), what=section, reason=reason)
