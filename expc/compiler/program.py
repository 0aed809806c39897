"""A checked experiment: what the checker hands to lowering and to the runtime.

Everything is resolved: names to declarations, settings to complete mappings by torch's names with defaults filled in,
types on every field. Nothing here imports torch.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from expc.compiler.graph import Container, InitRule, Model
from expc.compiler.lints.not_run_yet import NotRunYet
from expc.compiler.ops.declare import Param, PythonCode
from expc.compiler.types import TensorType
from expc.diagnostics import Source, Span
from expc.frozen import dataclass, field
from expc.spec.experiment import Experiment
from expc.spec.values import Given, Quantity, Setting

if TYPE_CHECKING:
    from expc.compiler.lints.wires import Wires


@dataclass(frozen=True)
class SampleField:
    """One field of a sample: `image: u8[1, 28, 28]`. Dimensions that differ from sample to sample are symbols."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Dataset:
    """Declaration of a data set: torchvision's settings and defaults, and the sample that it gives."""

    name: str
    doc: str
    settings: tuple[Param, ...]
    sample: Callable[[Mapping[str, Any]], tuple[SampleField, ...]]
    length: Callable[[Mapping[str, Any]], int | None]
    """Number of samples where it is known before reading; none otherwise."""
    example: str
    python: PythonCode | None = None


Mixer = Callable[[Mapping[str, Any], tuple[SampleField, ...]], tuple[tuple[SampleField, ...], Mapping[str, Any]]]
"""From settings and fields to what becomes of both."""


@dataclass(frozen=True)
class Transform:
    """Declaration of a transform: settings as in torchvision.transforms.v2, and what it makes of the first field."""

    name: str
    doc: str
    settings: tuple[Param, ...]
    rule: Callable[[Mapping[str, Any], TensorType], TensorType]
    """Raises `Fault` where the field's type does not fit."""
    example: str
    random: bool = False
    geometric: bool = False
    """It moves pixels and leaves their values: a mask `class(21)[H, W]` follows its image through it."""
    fields: Mixer | None = None
    """For what mixes the samples of a batch: what it makes of all fields, and its settings with what it infers."""
    python: PythonCode | None = None


@dataclass(frozen=True)
class Optimizer:
    """Declaration of an optimizer: torch's settings and defaults, without `params`."""

    name: str
    doc: str
    settings: tuple[Param, ...]
    example: str
    python: PythonCode | None = None


@dataclass(frozen=True)
class Schedule:
    """Declaration of a learning-rate schedule: torch's settings and defaults, without `optimizer`."""

    name: str
    doc: str
    settings: tuple[Param, ...]
    example: str
    follows_length: str | None = None
    """The setting that is inferred from how long the schedule lasts (`T_max`, `total_iters`), counted in its unit."""
    stepped: Literal["step", "epoch", "validation"] = "step"
    """When it moves on: after each optimizer step, each epoch, or each validation."""
    python: PythonCode | None = None


@dataclass(frozen=True)
class Sampler:
    """Declaration of a sampler: the settings of `torch.utils.data`, without the data."""

    name: str
    doc: str
    settings: tuple[Param, ...]
    example: str
    python: PythonCode | None = None


@dataclass(frozen=True)
class Metric:
    """Declaration of a metric: the torchmetrics class for a given type of output and target, and its direction."""

    name: str
    doc: str
    settings: tuple[Param, ...]
    accepts: Callable[[TensorType, TensorType], str | None]
    """What is wrong with (output, target) for this metric, in words; none when it fits."""
    complete: Callable[[Mapping[str, Any], TensorType, TensorType], tuple[str, dict[str, Any]]]
    """The torchmetrics class (`classification.MulticlassAccuracy`) and its arguments for these types."""
    higher_is_better: bool | None
    example: str
    python: PythonCode | None = None
    is_matrix: bool = False
    """It gives a table of numbers, which is kept and drawn, but cannot be watched."""


@dataclass(frozen=True, eq=False)
class Use:
    """A declaration with complete settings: every name of its `settings` has a value."""

    declaration: Any
    settings: Mapping[str, Any]
    span: Span
    given: tuple[Given, ...] = ()
    """What optimizers and schedules are given, as it is written."""

    @property
    def name(self) -> str:
        """The declaration's name."""
        return str(self.declaration.name)


@dataclass(frozen=True, eq=False)
class SplitUse:
    """Part `index` of `fractions` (which sum to 1) of all samples, shuffled by the seed first, or in order.

    Parts of one split are disjoint, and the last takes what rounding leaves.
    """

    fractions: tuple[float, ...]
    index: int
    shuffle: bool
    span: Span


@dataclass(frozen=True, eq=False)
class Step:
    """A transform of some fields: each of `reads` through the same transform with the same draw, into one of `writes`.

    `masks` says of each whether it is a mask of classes.
    """

    use: Use
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    masks: tuple[bool, ...]
    types: tuple[TensorType, ...] = ()
    """What is written, where one field after another goes through."""


@dataclass(frozen=True, eq=False)
class Fields:
    """The fields that a sample has from here on, in order: (new name, old name)."""

    kept: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Declared:
    """`as (features: f32[12], label: class(3))`: what each sample must have here, verified when it is read."""

    fields: tuple[SampleField, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class DataPlan:
    """The data of one role: a data set, then splits and transforms in order, and the fields that come out."""

    role: str
    dataset: Use
    stages: tuple[Step | SplitUse | Fields | Declared, ...]
    fields: tuple[SampleField, ...]
    length: int | None
    span: Span
    sampler: Use | None = None
    """Which samples an epoch has; none: each once. Its setting `label` is the field of the data set that it reads."""

    @property
    def samples(self) -> int | None:
        """How many samples an epoch has, where that is known."""
        drawn = None if self.sampler is None else self.sampler.settings.get("num_samples")
        return self.length if drawn is None else int(drawn)


@dataclass(frozen=True, eq=False)
class LossPlan:
    """The loss as a graph. The inputs of `body` are named `input_names`: data fields, and outputs of the model.

    The result of `body` is a scalar, or a record of named scalars, which are summed and logged one by one.
    """

    body: Container
    terms: tuple[str, ...]
    """Names of the record's fields; empty for a single loss."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """The inputs of `body` that are parameters of the model: input name -> key."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A loss with the parameters that it moves. `name` is what it is logged as where a run has several.

    `group` is the place of its group among all; none for the loss of `train`, which moves what no group's does.
    """

    name: str
    loss: LossPlan
    keys: tuple[str, ...]
    span: Span
    group: int | None = None


@dataclass(frozen=True, eq=False)
class FreezePlan:
    """What does not learn: the keys of parameters and buffers; for the whole run where `duration` is none."""

    keys: tuple[str, ...]
    duration: Quantity | None
    span: Span
    selectors: tuple[tuple[str, bool], ...] = ()
    """What is selected, and whether it is a glob: for Python code, which only the building of the model makes known."""


@dataclass(frozen=True, eq=False)
class MetricPlan:
    """A metric as logged (`accuracy`), what it is in torchmetrics, and what it compares.

    `torchmetrics_class` is empty where the model's outputs are reduced to one number by the file itself: that number is
    called `output` then, and the metric is its mean over samples.
    """

    name: str
    torchmetrics_class: str
    arguments: Mapping[str, Any]
    output: str
    """The name of the model's output (`output` where it has no name)."""
    target: str
    """The name of the data field."""
    higher_is_better: bool | None
    span: Span
    python: PythonCode | None = None
    """The Python code of an `extern metric`; its settings are `arguments` then."""
    is_matrix: bool = False
    """It gives a table of numbers, and not one."""


@dataclass(frozen=True, eq=False)
class SchedulePart:
    """One part of the chain; `duration` is none for the last, which lasts to the end of the run.

    Durations and integers in `settings` are as written: bare ones are epochs, unless torch's name says steps.
    """

    use: Use
    duration: Quantity | None


@dataclass(frozen=True, eq=False)
class GroupPlan:
    """`group selector { ... }`: the keys of the parameters it matches, and the optimizer settings that it changes.

    `span` is its selector's.
    """

    selector: str
    keys: tuple[str, ...]
    settings: Mapping[str, Any]
    span: Span
    optimizer: Use | None = None
    """The optimizer of its own, if it has one."""
    is_glob: bool = True
    learning: Mapping[str, Any] = field(default_factory=dict)
    """Its own `schedule` (parts) and `clip` (kind and limit, or none), where it says one."""


@dataclass(frozen=True, eq=False)
class Watch:
    """`max(val.accuracy)`: what is watched and whether more is better; further settings by name (`patience`)."""

    metric: str
    mode: str
    settings: Mapping[str, Any]
    span: Span


@dataclass(frozen=True)
class Segments:
    """A container that is cut: the path of its module, and the number of the first step of each segment."""

    path: str
    starts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TrainPlan:
    """How the model learns, resolved. Plain settings are in `Program.experiment.train`."""

    loss: LossPlan | None
    """What `train` itself says; none where only groups have a loss."""
    optimizer: Use | None
    """What `train` itself says; none where groups have one for every parameter."""
    schedule: tuple[SchedulePart, ...]
    groups: tuple[GroupPlan, ...]
    metrics: tuple[MetricPlan, ...]
    clip: tuple[str, float] | None
    """(`norm` or `value`, limit)."""
    early_stop: Watch | None
    inits: tuple[InitRule, ...]
    turns: tuple[Turn, ...] = ()
    """The losses in the order in which they take turns, where a group has its own; else empty."""
    freeze: FreezePlan | None = None
    recompute: tuple[str, ...] = ()
    """Paths of the modules that compute their activations anew."""
    segments: Segments | None = None
    """Segments of the model that do so, all but the last."""
    measured: Container | None = None
    """What computes the outputs and targets of the metrics that a table names; its inputs are as those of a loss."""
    measures_training: bool = True
    """Whether metrics are computed on the training data too, which they are not where it is mixed."""

    @property
    def losses(self) -> tuple[LossPlan, ...]:
        """Every loss of the run."""
        if self.turns:
            return tuple(turn.loss for turn in self.turns)
        return () if self.loss is None else (self.loss,)

    @property
    def terms(self) -> tuple[str, ...]:
        """What is logged of the losses besides their sum, which is called `loss`."""
        own = tuple(turn.name for turn in self.turns if turn.name)
        return (*own, *(term for loss in self.losses for term in loss.terms))


@dataclass(frozen=True, eq=False)
class Program:
    """A whole experiment that has no errors. Parts that the file does not declare are none or empty."""

    name: str
    """The file's name without its ending: what runs are named after."""
    source: Source
    experiment: Experiment
    model: Model | None
    data: Mapping[str, DataPlan]
    train: TrainPlan | None
    best: Watch | None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Which data field feeds each input of the model: input name -> field name."""
    sources: tuple[Source, ...] = ()
    """Every file that was read, the experiment's own first."""
    python: tuple[tuple[str, str], ...] = ()
    """The Python modules that `extern`s name, each with the folder that it is sought in first."""
    lets: tuple[Setting, ...] = ()
    """The values of the file's `let`s, and who set each."""
    later: tuple[NotRunYet, ...] = ()
    """What is checked, and cannot be run yet."""
    overrides: tuple[str, ...] = ()
    """What was set besides the file: `train.epochs=1`."""
    data_root: str = ""
    """Where relative paths of data start, where a run that is repeated had them start; else beside the source."""

    @cached_property
    def wires(self) -> "Wires":
        """Which step makes each value and which use it: what lint rules read."""
        from expc.compiler.lints.wires import Wires

        return Wires(self)
