"""What can be wrong with a run directory that is used again, and with what predictions are asked for."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class RunUnusable(Problem):
    """What was given is no run directory: `expc run` prints the path of the one that it makes, as its last line.

    A run directory holds `sources/`, `resolved.yaml`, `run.json` and, once something was learnt, weights. Any that is
    whole can be measured, asked for predictions, and repeated, also when it was moved.

    ```exp wrong
    export { onnx = "runs/mnist.onnx" }
    ```

    ```exp right
    export { onnx = "mnist.onnx" }
    ```
    """

    code: ClassVar[str] = "E0851"
    name: ClassVar[str] = "run-unusable"
    template: ClassVar[str] = "{path} is no run directory: {reason}"

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class WeightsMissing(Problem):
    """A run directory has no weights, or not those that were asked for.

    A run saves its best weights whenever a validation finds them to be the best, and the final ones at its end. One
    that failed before has none. `--weights final` or `--weights best` says which are meant.

    ```exp wrong
    train { optimizer = SGD(lr=1e9) }
    ```

    ```exp right
    train { optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0852"
    name: ClassVar[str] = "weights-missing"
    template: ClassVar[str] = "the run has no {weights}: {reason}"

    weights: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class WeightsUnfit(Problem):
    """A file of weights cannot be read, or does not hold exactly the parameters and buffers of the model.

    Both come from the same run directory, so one of them was changed or only half copied. `expc run RUN/resolved.yaml`
    makes the weights anew.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 4] { Linear(4, bias=false) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 4] { Linear(4) }
    ```
    """

    code: ClassVar[str] = "E0853"
    name: ClassVar[str] = "weights-unfit"
    template: ClassVar[str] = "{path} does not hold the weights of this run: {reason}"

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RoleMissing(Problem):
    """A run is measured on data that its file does not have.

    `expc test` takes `test`, or `val` with `--data val`. `expc predict` takes what `--input` names, or `predict`.

    ```exp wrong
    data { train = FakeData(size=64) -> ToTensor, batch = 8 }
    ```

    ```exp right
    data {
      train = FakeData(size=64) -> ToTensor
      test  = FakeData(size=16, random_offset=64) -> ToTensor
      batch = 8
    }
    ```
    """

    code: ClassVar[str] = "E0854"
    name: ClassVar[str] = "role-missing"
    template: ClassVar[str] = "the run has no `{role}` data{advice}"

    role: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class InputUnfit(Problem):
    """What `--input` names cannot be read, or is not what the model was trained on.

    Images may be one file, or a folder with everything below it. Tables (`.csv`) go to models that learnt from `Csv`,
    arrays (`.npz`) to any: one for each field of the data set, by its name. Columns and arrays that only the loss
    needed may be there or not. What is read goes through the transforms of `predict`, else of `test`, else of `val`.

    ```exp wrong
    data { predict = ImageFolder("photos", classes=2) -> ToTensor }
    ```

    ```exp right
    data { predict = ImageFolder("photos", classes=2) -> Resize([64, 64]) -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0855"
    name: ClassVar[str] = "input-unfit"
    template: ClassVar[str] = "cannot predict from {path}: {reason}"

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PredictionRandom(Problem):
    """The transforms that predictions would go through are random, so that each prediction would be one of many.

    Give the file a `predict` role, or `test` or `val`, with transforms that always do the same: `CenterCrop` in the
    place of `RandomCrop`.

    ```exp wrong
    data { predict = ImageFolder("photos", classes=2) -> RandomResizedCrop(64) -> ToTensor }
    ```

    ```exp right
    data { predict = ImageFolder("photos", classes=2) -> Resize([64, 64]) -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0856"
    name: ClassVar[str] = "prediction-random"
    template: ClassVar[str] = "predictions cannot go through the transforms of {roles}: `{transform}` is random"

    roles: str
    transform: str


@dataclass(frozen=True, kw_only=True)
class PredictionUnshown(Problem):
    """What the model gives has no place in the file that predictions are to be written to.

    A table has one row for each sample: it holds classes with their probabilities, numbers and short lists of them.
    Images, masks and sequences go to a file of arrays: `--out predictions.npz`, one array for each output.

    ```exp wrong
    model Net(x: f32[N, 1, 8, 8]) -> f32[N, 4, 8, 8] { Conv2d(4, 3, padding=1) }
    ```

    ```exp right
    model Net(x: f32[N, 1, 8, 8]) -> f32[N, 4] { Flatten -> Linear(4) }
    ```
    """

    code: ClassVar[str] = "E0857"
    name: ClassVar[str] = "prediction-unshown"
    template: ClassVar[str] = "cannot write predictions to {path}: {reason}"

    path: str
    reason: str
