"""What can stop a run that was ready to train, or keep it from starting."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class LossNotFinite(Problem):
    """A loss, or a weight, became infinite or not a number: the run cannot learn any more, and stopped.

    The message names the step, and the line of the layer or of the part of the loss where the first such number
    appears: on the way to the loss, or on the way back, as a gradient. For that the run is repeated from its last
    checkpoint, if that takes no longer than two minutes. Most often the learning rate is too high, at the start above
    all: lower it, warm it up with `LinearLR`, or limit the gradients with `clip`. In `f16` try `bf16`. A logarithm or a
    root of zero does it too: a root has an infinite gradient there, though the loss is a number. The checkpoints that
    were saved before are kept, and none is made of such weights.

    ```exp wrong
    train { optimizer = SGD(lr=1e6) }
    ```

    ```exp right
    train { optimizer = SGD(lr=0.1), clip = norm(1.0) }
    ```
    """

    code: ClassVar[str] = "E0809"
    name: ClassVar[str] = "loss-not-finite"
    template: ClassVar[str] = "{what} is {value} {when}{origin}"

    what: str
    """In words: ``the train loss `loss` ``."""
    value: str
    when: str
    """In words: `at step 51`."""
    step: int
    origin: str = ""
    """In words, where the first number that is none appears."""


@dataclass(frozen=True, kw_only=True)
class NothingToTrain(Problem):
    """A run needs a model, training data, and a `train` section with a loss, an optimizer and a length.

    A file without them can be checked, built and imported, but there is nothing to run.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(2) }
    ```

    ```exp right
    data { train = FakeData(size=64) -> ToTensor, batch = 8 }

    model Net(x: f32[N, 3, 224, 224]) -> f32[N, 10] { AdaptiveAvgPool2d(1) -> Flatten -> Linear(10) }

    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0810"
    name: ClassVar[str] = "nothing-to-train"
    template: ClassVar[str] = "cannot run `{experiment}`: it has no {missing}"

    experiment: str
    missing: str


@dataclass(frozen=True, kw_only=True)
class DeviceUnavailable(Problem):
    """The device that was asked for is not there, or this PyTorch was built without support for it.

    Which device is said where the run starts, as `--device cuda:1`. `auto`, the default, takes a GPU where there is
    one, and the CPU otherwise.

    ```exp wrong
    distributed { backend = nccl }
    ```

    ```exp right
    distributed { backend = auto }
    ```
    """

    code: ClassVar[str] = "E0601"
    name: ClassVar[str] = "device-unavailable"
    template: ClassVar[str] = "cannot run on `{device}`: {reason}"

    device: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PrecisionUnavailable(Problem):
    """The device does not compute in the precision that `train` asks for.

    `f16` needs a GPU: its gradients are scaled so that small ones do not vanish, and the CPU has no arithmetic for it
    that is worth using. `bf16` works everywhere; `auto` measures which one is fastest.

    ```exp wrong
    train { precision = f16 }
    ```

    ```exp right
    train { precision = auto }
    ```
    """

    code: ClassVar[str] = "E0602"
    name: ClassVar[str] = "precision-unavailable"
    template: ClassVar[str] = (
        "`precision = {precision}` needs a GPU, and the run is on `{device}`: write `bf16` or `auto`"
    )

    precision: str
    device: str


@dataclass(frozen=True, kw_only=True)
class StepRefused(Problem):
    """With `deterministic = true` torch refuses operators for which it has no algorithm on this device that gives the
    same bits each time, here on the way back through the network.

    The hint `refused-when-deterministic` names those that are known. Another operator, the CPU, or a run that is
    repeated less exactly goes on.

    ```exp wrong
    train { optimizer = SGD(lr=0.1), deterministic = true, loss = CrossEntropyLoss }
    ```

    ```exp right
    train { optimizer = SGD(lr=0.1), deterministic = false, loss = CrossEntropyLoss }
    ```
    """

    code: ClassVar[str] = "E0604"
    name: ClassVar[str] = "step-refused"
    template: ClassVar[str] = "the training step {step} failed after the loss was computed: {reason}"

    step: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class OutOfMemory(Problem):
    """The device has not enough memory for a step. What was saved before stays: change what the notes say, and go on.

    `expc summary` lists what training takes, layer by layer. `accumulate` computes a batch in parts and `recompute`
    keeps fewer activations, both with the same result; `precision = bf16` halves most of them; a smaller `batch` learns
    differently. Whether other programs use the device is worth a look too.

    ```exp wrong
    data { train = FakeData(size=4096) -> ToTensor, batch = 4096 }

    model Net(x: f32[N, 3, 224, 224]) -> f32[N, 10] { Conv2d(64, 3) -> AdaptiveAvgPool2d(1) -> Flatten -> Linear(10) }

    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(size=4096) -> ToTensor, batch = 4096 }

    model Net(x: f32[N, 3, 224, 224]) -> f32[N, 10] { Conv2d(64, 3) -> AdaptiveAvgPool2d(1) -> Flatten -> Linear(10) }

    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), accumulate = 64 }
    ```
    """

    code: ClassVar[str] = "E0605"
    name: ClassVar[str] = "out-of-memory"
    template: ClassVar[str] = "`{device}` has not enough memory: {reason}"

    device: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PackageMissing(Problem):
    """A data set is in a format that torchvision reads with a package that is not installed.

    Install it beside torch, for instance with `pip install scipy`. Nothing else needs it.

    ```exp wrong
    data { train = SVHN("data") -> ToTensor }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0817"
    name: ClassVar[str] = "package-missing"
    template: ClassVar[str] = "`{dataset}` needs the package {package}, which is not installed: `pip install {package}`"

    dataset: str
    package: str
