"""E041x and E051x: data against the model, the loss, and how the model learns."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class FieldMismatch(Problem):
    """The data gives another type than the model's input declares.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    ```
    """

    code: ClassVar[str] = "E0410"
    name: ClassVar[str] = "field-mismatch"
    template: ClassVar[str] = "the input `{input}` of {model} is {expected}, but {roles} {found}{reason}"

    input: str
    model: str
    expected: str
    roles: str
    found: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class NoFieldForInput(Problem):
    """No field of the data fills an input of the model.

    Fields fill the inputs of the same name; a lone input takes the first field.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(image: f32[N, 1, 28, 28], scale: f32[N]) -> f32[N, 10] {
      Flatten -> Linear(10)
      flow * unsqueeze(scale, 1)
    }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(image: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    ```
    """

    code: ClassVar[str] = "E0411"
    name: ClassVar[str] = "no-field-for-input"
    template: ClassVar[str] = "nothing in {roles} fills the input `{input}` of {model}: its fields are {fields}"

    roles: str
    input: str
    model: str
    fields: str


@dataclass(frozen=True, kw_only=True)
class NotData(Problem):
    """A role of `data` is not a data set followed by transforms.

    ```exp wrong
    data { train = ToTensor -> MNIST("data") }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0412"
    name: ClassVar[str] = "not-data"
    template: ClassVar[str] = "{what} cannot stand here: {reason}"

    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class MissingRole(Problem):
    """A run needs data that the file does not name.

    ```exp wrong
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0413"
    name: ClassVar[str] = "missing-part"
    template: ClassVar[str] = "a run needs {what}"

    what: str


@dataclass(frozen=True, kw_only=True)
class LossNotScalar(Problem):
    """A loss, or a term of it, is not one number.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss(reduction="none"), optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0510"
    name: ClassVar[str] = "loss-not-scalar"
    template: ClassVar[str] = "{what} must be one number, but is {found}"

    what: str
    found: str


@dataclass(frozen=True, kw_only=True)
class NameClash(Problem):
    """A field of the data and an output of the model have one name, so that the loss cannot tell them apart.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> (label: f32[N, 10]) { label = Flatten -> Linear(10) }
    train { epochs = 1, loss = cross_entropy(label, label), optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> (scores: f32[N, 10]) { scores = Flatten -> Linear(10) }
    train { epochs = 1, loss = cross_entropy(scores, label), optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0511"
    name: ClassVar[str] = "name-clash"
    template: ClassVar[str] = "`{word}` is a field of the data and an output of the model"

    word: str


@dataclass(frozen=True, kw_only=True)
class MetricMismatch(Problem):
    """A metric does not fit what it is to compare.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), metrics = [MeanSquaredError] }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), metrics = [Accuracy] }
    ```
    """

    code: ClassVar[str] = "E0512"
    name: ClassVar[str] = "metric-mismatch"
    template: ClassVar[str] = "`{metric}`: {reason}"

    metric: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class WrongPart(Problem):
    """Something stands where an optimizer, a schedule or a metric is expected, and is none.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = ReLU }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0513"
    name: ClassVar[str] = "wrong-part"
    template: ClassVar[str] = "`{what}` is {kind}, not {expected}"

    what: str
    kind: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class ScheduleLength(Problem):
    """The parts of a schedule do not fit the run: a part that must say how long it lasts, or parts that outlast it.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = LinearLR(start_factor=0.1) -> CosineAnnealingLR
    }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = LinearLR(start_factor=0.1) for 100 steps -> CosineAnnealingLR
    }
    ```
    """

    code: ClassVar[str] = "E0514"
    name: ClassVar[str] = "schedule-length"
    template: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True, kw_only=True)
class GroupRefused(Problem):
    """A `group` says something that no optimizer setting is.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 1, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-3)
      group "*.bias" { wieght_decay = 0 }
    }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 1, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-3)
      group "*.bias" { weight_decay = 0 }
    }
    ```
    """

    code: ClassVar[str] = "E0515"
    name: ClassVar[str] = "group-refused"
    template: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True, kw_only=True)
class BatchArithmetic(Problem):
    """The batch, the number of samples and `accumulate` do not go together.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor, batch = 2 }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), accumulate = 4 }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor, batch = 8 }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), accumulate = 4 }
    ```
    """

    code: ClassVar[str] = "E0516"
    name: ClassVar[str] = "batch-arithmetic"
    template: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True, kw_only=True)
class WorkerOption(Problem):
    """A setting of loading processes stands beside `workers = 0`, where there are none. torch refuses it.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor, persistent_workers = true }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor, workers = 2, persistent_workers = true }
    ```
    """

    code: ClassVar[str] = "E0414"
    name: ClassVar[str] = "worker-option-without-workers"
    template: ClassVar[str] = "`{key}` needs loading processes, but `workers` is 0"

    key: str
