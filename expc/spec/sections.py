"""The settings of an experiment: one strict, frozen Pydantic model per section.

These models are the schema of the language's settings: keys, types, ranges, defaults, and a description of each, from
which reference page, completion and JSON Schema are made. Only `expc.spec.binding` validates with them.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from expc.spec.fields import (
    Amount,
    Best,
    Clip,
    Compile,
    EarlyStop,
    Freeze,
    Groups,
    Inits,
    Interval,
    Loss,
    Metrics,
    Optimizer,
    Patterns,
    Portion,
    Recompute,
    Sampler,
    Samples,
    Schedule,
    Share,
    Time,
)
from expc.spec.values import Quantity

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]


class Settings(BaseModel):
    """Base of all sections. Building the validators waits for the first use: a file rarely has every section."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True, protected_namespaces=())


class Data(Settings):
    """Where samples come from, and how they are put together.

    `shuffle` is true, unlike in `torch.utils.data.DataLoader`: to learn from samples in a fixed order is nearly always
    a mistake. It is about `train` alone; the other roles are always read in order.
    """

    train: Samples | None = Field(default=None, description="The samples that the model learns from.")
    val: Samples | None = Field(default=None, description="The samples that it is measured on after each epoch.")
    test: Samples | None = Field(
        default=None, description="The samples that the best weights are measured on at the end."
    )
    predict: Samples | None = Field(default=None, description="Samples without targets, for predictions.")
    batch: Count = Field(default=1, description="Samples in one optimizer step, on one device or on many.")
    shuffle: bool = Field(default=True, description="Draw the training samples in a new order each epoch.")
    workers: Natural = Field(default=0, description="Processes per device that load samples; 0: the run's own process.")
    drop_last: bool = Field(default=False, description="Leave out the last batch of an epoch when it is not full.")
    pin_memory: bool = Field(default=False, description="Copy batches to pinned memory, from where a GPU reads faster.")
    persistent_workers: bool = Field(default=False, description="Keep the loading processes from epoch to epoch.")
    prefetch_factor: Count | None = Field(default=None, description="Batches that each loading process prepares ahead.")
    timeout: Time | None = Field(default=None, description="The longest wait for a loading process; none: no limit.")
    multiprocessing_context: Literal["auto", "fork", "spawn", "forkserver"] = Field(
        default="auto", description="How loading processes are started; auto: as Python does."
    )
    sampler: Sampler | None = Field(
        default=None, description="Which training samples an epoch has; none: each once, as `shuffle` says."
    )
    path: Literal["auto", "resident", "workers"] = Field(
        default="auto",
        description="Where batches are made: from samples that live decoded on the training device, or anew each time.",
    )
    memory: Portion = Field(
        default=0.25, description="The share of a device's free memory that decoded samples may take."
    )


class Train(Settings):
    """How the model learns. Exactly one of `epochs` and `steps` says for how long."""

    epochs: Count | None = Field(default=None, description="How often the run goes through the training data.")
    steps: Count | None = Field(default=None, description="How many optimizer steps the run takes.")
    loss: Loss | None = Field(default=None, description="What the model makes small; groups may have their own.")
    optimizer: Optimizer | None = Field(default=None, description="The `torch.optim` optimizer and its settings.")
    schedule: Schedule | None = Field(default=None, description="How the learning rate changes during the run.")
    metrics: Metrics = Field(default=(), description="What is measured besides the loss.")
    precision: Literal["f32", "bf16", "f16", "auto"] = Field(
        default="f32", description="The dtype of most arithmetic; weights stay f32."
    )
    accumulate: Count = Field(default=1, description="Parts that a batch is computed in, to save memory.")
    clip: Clip | None = Field(default=None, description="The greatest norm, or the greatest value, of gradients.")
    early_stop: EarlyStop | None = Field(default=None, description="What ends the run when it gets no better.")
    max_time: Time | None = Field(
        default=None, description="After how much time the run ends, as if that had been its last step; none: never."
    )
    ema: Share | None = Field(
        default=None, description="Keep a running average of the weights with this decay, and measure that."
    )
    compile: Compile = Field(default=False, description="Use `torch.compile`, perhaps in one of its modes.")
    recompute: Recompute | None = Field(
        default=None, description="Modules that compute their activations anew, to save memory; or how many segments."
    )
    freeze: Freeze | None = Field(
        default=None, description="Parameters that do not learn, for the whole run or at its start."
    )
    seed: Natural = Field(default=0, description="What all random numbers of the run follow from.")
    deterministic: bool = Field(default=False, description="Allow only algorithms that give the same bits each time.")
    groups: Groups = Field(default=(), alias="group", description="What some parameters do differently.")
    inits: Inits = Field(default=(), alias="init", description="How parameters start, over what the model says.")


class Distributed(Settings):
    """How several devices share the work. How many there are is said where the run starts."""

    strategy: Literal["auto", "none", "ddp", "fsdp"] = Field(
        default="auto", description="How devices share the model: whole copies (ddp), or parts of it (fsdp)."
    )
    backend: Literal["auto", "nccl", "gloo"] = Field(default="auto", description="What carries data between devices.")
    find_unused_parameters: bool = Field(
        default=False, description="Look in each step for parameters that the loss does not reach."
    )
    sync_batchnorm: bool = Field(default=False, description="Take batch statistics over all devices.")
    static_graph: bool = Field(default=False, description="Promise that every step runs the same operators.")
    bucket_cap_mb: Count | None = Field(
        default=None, description="MiB of gradients sent at once; none: torch's own 25."
    )
    gradient_as_bucket_view: bool = Field(default=False, description="Let gradients live where they are sent from.")
    shard: Patterns | None = Field(default=None, description="Modules that fsdp shards one by one.")
    timeout: Time = Field(
        default=Quantity(10, "minute"), description="How long a process waits for another one before the run ends."
    )


class Checkpoint(Settings):
    """What is saved during a run, and when."""

    every: Interval | None = Field(
        default=Quantity(1, "epoch"), description="Between two checkpoints; none: only at the end."
    )
    keep: Count = Field(default=3, description="How many of the last checkpoints stay.")
    best: Best | None = Field(default=None, description="What the best weights are best at; none: lowest `val.loss`.")
    async_: bool = Field(default=True, alias="async", description="Write checkpoints while training goes on.")


class Log(Settings):
    """What is written down during a run."""

    every: Interval | None = Field(
        default=Quantity(50, "step"), description="Between two entries; none: only after each epoch."
    )
    tensorboard: bool = Field(default=True, description="Write TensorBoard events.")
    graph: bool = Field(default=True, description="Write the model's graph for TensorBoard.")
    histograms: bool = Field(default=False, description="Write histograms of weights and gradients.")
    images: Natural = Field(default=0, description="How many validation images to write.")


class Quantize(Settings):
    """Arithmetic in whole numbers, for a model that is deployed."""

    mode: Literal["dynamic", "static", "qat"] = Field(
        default="dynamic", description="Weights only; activations too, after calibration; or learnt (qat)."
    )
    backend: Literal["auto", "x86", "fbgemm", "onednn", "qnnpack"] = Field(
        default="auto", description="The kernels that it is for."
    )
    targets: Patterns | None = Field(default=None, description="Modules that are quantized; none: all that can be.")
    calibrate: Count | None = Field(
        default=None, description="Training batches that a static quantization measures activations on; none: 32."
    )


class Prune(Settings):
    """Parameters that are set to zero, by `torch.nn.utils.prune`."""

    method: Literal["l1_unstructured", "random_unstructured", "ln_structured", "random_structured"] = Field(
        default="l1_unstructured", description="Which parameters go: single ones, or whole slices."
    )
    amount: Amount | None = Field(default=None, description="The share that goes, or their number.")
    targets: Patterns | None = Field(default=None, description="Parameters that are pruned; none: every weight.")
    n: Count | None = Field(default=None, description="Which norm `ln_structured` goes by; none: 2.")
    dim: int | None = Field(default=None, description="The dimension whose slices a structured method takes; none: 0.")
    every: Interval | None = Field(default=None, description="Between two prunings; none: once, at the end.")


class Export(Settings):
    """Files that other programs run the model from."""

    onnx: str | None = Field(default=None, description="Where an ONNX file is written.")
    pt2: str | None = Field(default=None, description="Where a program of `torch.export` is written.")
    opset: Count | None = Field(default=None, description="The ONNX operator set; none: torch's own choice.")
    weights: Literal["best", "final"] = Field(default="best", description="Which weights of the run are written.")


SECTIONS: Final[Mapping[str, type[Settings]]] = {
    "data": Data,
    "train": Train,
    "distributed": Distributed,
    "checkpoint": Checkpoint,
    "log": Log,
    "quantize": Quantize,
    "prune": Prune,
    "export": Export,
}
"""The sections of a file, by name."""


def keys(section: type[Settings]) -> dict[str, str]:
    """The keys of a section as they are written, each with the name of its field: `async` -> `async_`."""
    return {field.alias or name: name for name, field in section.model_fields.items()}
