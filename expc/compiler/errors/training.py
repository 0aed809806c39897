"""E05xx: training. Losses against their targets, optimizers against their parameters, settings against each other."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class TooFewOutputs(Problem):
    """A loss gets fewer outputs than there are classes.

    A target that is a class index picks one of the outputs. An index beyond them is an error while training runs, on a
    GPU one that stops the process without saying which line caused it.

    ```exp wrong
    data {
      train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor
      batch = 10
    }
    model Net(x: f32[N, 1, 8, 8]) {
      Flatten -> Linear(9)
    }
    train {
      epochs = 1
      loss = CrossEntropyLoss
      optimizer = SGD(lr=0.1)
    }
    ```

    ```exp right
    data {
      train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor
      batch = 10
    }
    model Net(x: f32[N, 1, 8, 8]) {
      Flatten -> Linear(10)
    }
    train {
      epochs = 1
      loss = CrossEntropyLoss
      optimizer = SGD(lr=0.1)
    }
    ```
    """

    code: ClassVar[str] = "E0501"
    name: ClassVar[str] = "too-few-outputs"
    template: ClassVar[str] = "`{operator}` gets {outputs} outputs {found} for {classes} classes"

    operator: str
    outputs: str
    classes: str
    found: str


@dataclass(frozen=True, kw_only=True)
class TargetEncoding(Problem):
    """A target is written in another way than the loss reads it.

    Cross entropy takes class indices (`class(10)[N]`, whole numbers) or one probability for each class (`f32[N, 10]`).
    Losses that compare numbers, and binary cross entropy, take floating-point targets of the outputs' shape.

    ```exp wrong
    data {
      train = FakeData(100, image_size=[1, 8, 8], num_classes=2) -> ToTensor
      batch = 10
    }
    model Net(x: f32[N, 1, 8, 8]) {
      Flatten -> Linear(1) -> flatten(0)
    }
    train {
      epochs = 1
      loss = BCEWithLogitsLoss
      optimizer = SGD(lr=0.1)
    }
    ```

    ```exp right
    data {
      train = FakeData(100, image_size=[1, 8, 8], num_classes=2) -> ToTensor
      batch = 10
    }
    model Net(x: f32[N, 1, 8, 8]) {
      Flatten -> Linear(2)
    }
    train {
      epochs = 1
      loss = CrossEntropyLoss
      optimizer = SGD(lr=0.1)
    }
    ```
    """

    code: ClassVar[str] = "E0502"
    name: ClassVar[str] = "target-encoding"
    template: ClassVar[str] = "`{operator}` takes {expected}, but the target is {found}"

    operator: str
    expected: str
    """In words: `a target of class indices`."""
    found: str


@dataclass(frozen=True, kw_only=True)
class TargetShape(Problem):
    """Output and target of a loss have different shapes.

    Where the shapes broadcast, PyTorch only warns and goes on: an output of [N, 1] against a target of [N] becomes N
    times N comparisons, and the model learns the mean of the targets. So it is an error here.

    ```exp wrong
    model Net(x: f32[N, 8], y: f32[N]) -> f32[] {
      prediction = Linear(1)
      return mse_loss(prediction, y)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8], y: f32[N]) -> f32[] {
      prediction = Linear(1) -> squeeze(1)
      return mse_loss(prediction, y)
    }
    ```
    """

    code: ClassVar[str] = "E0503"
    name: ClassVar[str] = "target-broadcast"
    template: ClassVar[str] = "`{operator}` compares {output} with {target}: {reason}"

    operator: str
    output: str
    target: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class OptimizerRefused(Problem):
    """An optimizer cannot move the parameters that it is given, or its settings do not go together.

    `Muon` moves matrices only, `SparseAdam` only embeddings with sparse gradients, and the parameters of `LBFGS` cannot
    differ in their settings. A `group` gives parameters an optimizer of their own.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = Muon(lr=0.02) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train {
      epochs = 1, loss = CrossEntropyLoss, optimizer = AdamW
      group "*.weight" { optimizer = Muon(lr=0.02) }
    }
    ```
    """

    code: ClassVar[str] = "E0504"
    name: ClassVar[str] = "optimizer-refused"
    template: ClassVar[str] = "`{optimizer}`: {reason}"

    optimizer: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SettingsContradict(Problem):
    """Settings that are right one by one make no sense together.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), freeze = ["*"] }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), freeze = ["*.bias"] }
    ```
    """

    code: ClassVar[str] = "E0505"
    name: ClassVar[str] = "settings-contradict"
    template: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True, kw_only=True)
class NotMoved(Problem):
    """No loss, or no optimizer, moves some parameter.

    Groups with a loss of their own move only their parameters. The loss of `train` moves all others; without it, each
    parameter needs a group with a loss. The same holds for optimizers.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> body: Linear(16) -> ReLU -> head: Linear(10) }
    train {
      epochs = 1, optimizer = SGD(lr=0.1)
      group "head.*" { loss = CrossEntropyLoss }
    }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> body: Linear(16) -> ReLU -> head: Linear(10) }
    train {
      epochs = 1, optimizer = SGD(lr=0.1), freeze = ["body.*"]
      group "head.*" { loss = CrossEntropyLoss }
    }
    ```
    """

    code: ClassVar[str] = "E0506"
    name: ClassVar[str] = "parameter-not-moved"
    template: ClassVar[str] = "no {what} moves `{key}`{more}"

    what: str
    key: str
    more: str


@dataclass(frozen=True, kw_only=True)
class NoDerivative(Problem):
    """The gradient of the loss goes through an operator of which torch has no derivative.

    Learning goes back from the loss to the parameters, through every step between them. Of `//`, of what a number
    leaves over when it is divided by a tensor, and of a few rare functions torch knows no derivative: the run would
    stop with "derivative is not implemented" in its first step.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) -> flow // 2 }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) -> flow / 2 }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0540"
    name: ClassVar[str] = "no-derivative"
    template: ClassVar[str] = "torch has no derivative of `{operator}`, and the gradient of the loss goes through it"

    operator: str


@dataclass(frozen=True, kw_only=True)
class NoGradient(Problem):
    """Nothing that learns has a part in the loss.

    The loss has no gradient when it is made from data alone, from parameters that are frozen, or from whole numbers,
    such as those of `argmax`. torch stops with "element 0 of tensors does not require grad" in the first step.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = mean(output -> detach -> square), optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = mean(output -> square), optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0541"
    name: ClassVar[str] = "no-gradient"
    template: ClassVar[str] = "the loss has no gradient: no parameter that learns has a part in it"


@dataclass(frozen=True, kw_only=True)
class FsdpUnfit(Problem):
    """A setting that cannot be carried out where each device has a part of every weight.

    `strategy = fsdp` shares a model that is too large for one device. An average of the weights (`ema`), losses that
    take turns, what is frozen for a time, `compile`, `f16` (write `bf16`), sparse gradients, and the optimizers that
    torch has for whole weights only (`Adafactor`, `LBFGS`, `Rprop`) need `ddp`, with which each device has a copy.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = AdamW, ema = 0.999 }
    distributed { strategy = fsdp }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = AdamW, ema = 0.999 }
    distributed { strategy = ddp }
    ```
    """

    code: ClassVar[str] = "E0609"
    name: ClassVar[str] = "fsdp-unfit"
    template: ClassVar[str] = "{what} does not go with `strategy = fsdp`: {reason}"

    what: str
    reason: str
