"""Checking `distributed`: its settings against each other, and against what `train` asks for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from expc.compiler.errors.training import FsdpUnfit, SettingsContradict
from expc.compiler.graph import Container, Leaf, Model
from expc.compiler.library import optimizers
from expc.compiler.lints.statistics import is_batch_norm
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.plans.check_sections import Place
from expc.compiler.plans.check_selected import modules
from expc.compiler.plans.units import Whole, read_by_losses
from expc.compiler.program import TrainPlan
from expc.diagnostics import Label, Span

if TYPE_CHECKING:
    from expc.spec.sections import Distributed, Train


def check_distributed(
    elaborator: Elaborator,
    settings: "Distributed",
    asked: "Train | None",
    model: Model | None,
    plan: TrainPlan | None,
    place: Place,
) -> None:
    """Settings of `distributed` that make no sense together, or with what `train` asks for; all are reported."""
    for key, reason in (*_among_themselves(settings), *_with_batch_norm(settings, model)):
        elaborator.add(SettingsContradict(span=place("distributed", key), reason=reason))
    changing = list(_changing(asked, plan)) if settings.static_graph and settings.strategy in ("auto", "ddp") else []
    if changing:
        reason = f"`static_graph` promises that every pass does the same, and {' and '.join(changing)}: leave it out"
        elaborator.add(SettingsContradict(span=place("distributed", "static_graph"), reason=reason))
    if settings.strategy == "fsdp":
        labels = (Label(place("distributed", "strategy"), "each device has a part of every weight"),)
        for span, what, reason in needs_whole(asked, plan, model, place):
            elaborator.add(FsdpUnfit(span=span, what=what, reason=reason, labels=labels))
    if settings.shard is not None and model is not None:
        found = modules(elaborator, settings.shard, model, place("distributed", "shard"))
        whole = Whole(model.body, read_by_losses(plan))
        for reason in filter(None, map(whole.why_not, found)):
            elaborator.add(SettingsContradict(span=place("distributed", "shard"), reason=f"{reason}: leave it out"))


def _among_themselves(settings: "Distributed") -> Iterator[tuple[str, str]]:
    strategy = settings.strategy
    if settings.shard is not None and strategy != "fsdp":
        yield "shard", f"`shard` says what fsdp shards, and `strategy` is `{strategy}`: write `strategy = fsdp`"
    for key in ("find_unused_parameters", "static_graph", "gradient_as_bucket_view", "bucket_cap_mb"):
        if getattr(settings, key) and strategy in ("none", "fsdp"):
            yield key, f"`{key}` is about ddp, and `strategy` is `{strategy}`"
    if settings.static_graph and settings.find_unused_parameters:
        yield "find_unused_parameters", "`static_graph` promises that what is used never changes: keep one of them"
    if strategy == "none" and settings.sync_batchnorm:
        yield "sync_batchnorm", "`sync_batchnorm` needs several devices, and `strategy` is `none`"
    if strategy == "none" and settings.backend != "auto":
        yield "backend", "a `backend` carries data between devices, and `strategy` is `none`"


def _with_batch_norm(settings: "Distributed", model: Model | None) -> Iterator[tuple[str, str]]:
    if settings.sync_batchnorm and model is not None and not _may_have_batch_norm(model.body):
        yield "sync_batchnorm", f"`sync_batchnorm` is about layers such as `BatchNorm2d`, and `{model.name}` has none"


def _changing(train: "Train | None", plan: TrainPlan | None) -> Iterator[str]:
    """What differs from pass to pass, in words."""
    if plan is not None and plan.turns:
        yield f"{len(plan.turns)} losses take turns"
    if plan is not None and plan.freeze is not None and plan.freeze.duration is not None:
        yield f"something is frozen for {plan.freeze.duration}"
    if train is not None and train.accumulate > 1:
        yield "only the last part of `accumulate` meets the other devices"


def needs_whole(
    train: "Train | None", plan: TrainPlan | None, model: Model | None, place: Place
) -> Iterator[tuple[Span, str, str]]:
    """What needs whole weights: where it is said, what it is, and why it does."""
    if train is not None:
        if train.ema is not None:
            yield place("train", "ema"), "`ema`", "the average is one of whole weights; write `ddp`, or leave it out"
        if train.compile is not False:
            reason = "a model is compiled whole; write `ddp`, or leave it out"
            yield place("train", "compile"), "`compile`", reason
        if train.precision == "f16":
            reason = "f16 scales the loss by what whole gradients say; write `bf16`"
            yield place("train", "precision"), "`precision = f16`", reason
    if model is not None:
        for leaf in _leaves(model.body):
            if leaf.settings.get("sparse") is True:
                yield leaf.span, "`sparse = true`", "torch puts sparse gradients together for whole weights only"
    if plan is None:
        return
    for turn in plan.turns[1:]:
        yield turn.span, "a second loss", "one loss moves all parts; write `ddp`, or add the losses up"
    if plan.freeze is not None and plan.freeze.duration is not None:
        reason = "what learns is said once, for the whole run; leave out `for`, or write `ddp`"
        yield plan.freeze.span, f"`freeze` for {plan.freeze.duration}", reason
    for use in dict.fromkeys((plan.optimizer, *(group.optimizer for group in plan.groups))):
        if use is None or use.declaration.python is not None:
            continue
        if use.name in optimizers.WHOLE:
            yield use.span, f"`{use.name}`", f"{optimizers.WHOLE[use.name]}; take another one, or write `ddp`"
        elif use.name in optimizers.FUSED_WHOLE and use.settings.get("fused"):
            yield use.span, f"`{use.name}(fused=true)`", "torch has it for whole weights only; leave out `fused`"


def _leaves(container: Container) -> Iterator[Leaf]:
    for child in container.children.values():
        if isinstance(child, Leaf):
            yield child
        else:
            yield from _leaves(child)


def _may_have_batch_norm(container: Container) -> bool:
    """Whether a layer takes statistics of the batch, or Python code may have one that does."""
    return any(is_batch_norm(leaf) or leaf.operator.python is not None for leaf in _leaves(container))
