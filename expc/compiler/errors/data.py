"""E04xx: data sets, transforms, splits and batches."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class TransformMismatch(Problem):
    """A transform does not fit what arrives: another dtype, or no image.

    Data sets give images as whole numbers, `u8[C, H, W]`. `ToTensor` makes `f32` in 0 to 1 of them, once; `Normalize`
    comes after it.

    ```exp wrong
    data { train = MNIST("data") -> Normalize([0.1307], [0.3081]) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor -> Normalize([0.1307], [0.3081]) }
    ```
    """

    code: ClassVar[str] = "E0401"
    name: ClassVar[str] = "transform-mismatch"
    template: ClassVar[str] = "`{transform}` takes {expected}, but gets {found}"

    transform: str
    expected: str
    """In words: `an image u8[C, H, W]`."""
    found: str


@dataclass(frozen=True, kw_only=True)
class NormalizeChannels(Problem):
    """`Normalize` needs one mean and one standard deviation for each channel of the image.

    PyTorch takes one value for many channels without a word, and makes three channels of one where three values are
    given.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor -> Normalize([0.5], [0.25]) }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor -> Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]) }
    ```
    """

    code: ClassVar[str] = "E0402"
    name: ClassVar[str] = "normalise-channels"
    template: ClassVar[str] = "`Normalize`: {what} has {given}, but the image {found} has {channels}"

    what: str
    """`mean` or `std`."""
    given: str
    found: str
    channels: str


@dataclass(frozen=True, kw_only=True)
class CropTooLarge(Problem):
    """A crop is larger than the image, or may be where images differ in size.

    ```exp wrong
    data { train = MNIST("data") -> RandomCrop(32) -> ToTensor }
    ```

    ```exp right
    data { train = MNIST("data") -> RandomCrop(32, padding=2) -> ToTensor }
    ```

    Where images differ in size, say what happens to small ones: `Resize(256) -> RandomCrop(224)`, or
    `RandomCrop(224, pad_if_needed=true)`.
    """

    code: ClassVar[str] = "E0403"
    name: ClassVar[str] = "crop-too-large"
    template: ClassVar[str] = "`{transform}` cuts {size} out of {found}"

    transform: str
    size: str
    found: str
    """In words: `28 x 28`, `images of any size`."""


@dataclass(frozen=True, kw_only=True)
class TransformSetting(Problem):
    """A setting of a transform is of the right type, but not possible, by itself or for this image.

    ```exp wrong
    data { train = MNIST("data") -> Pad(30, padding_mode="reflect") -> ToTensor }
    ```

    ```exp right
    data { train = MNIST("data") -> Pad(2, padding_mode="reflect") -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0404"
    name: ClassVar[str] = "transform-setting"
    template: ClassVar[str] = "`{transform}`: {reason}"

    transform: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DataUndeclared(Problem):
    """Something that can only be known by reading the data is not declared.

    The checker reads no data, so a text's vocabulary is written in the file; it is verified when the data is opened.

    ```exp wrong
    data { train = Text("tinyshakespeare.txt", window=64) }
    ```

    ```exp right
    data { train = Text("tinyshakespeare.txt", vocab=65, window=64) }
    ```
    """

    code: ClassVar[str] = "E0405"
    name: ClassVar[str] = "data-undeclared"
    template: ClassVar[str] = "`{dataset}`: {reason}"

    dataset: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class VaryingSize(Problem):
    """The samples of a role differ in size, so no batch can be made of them.

    The images of a folder are of any size. Bring them to one before they meet in a batch: `Resize` with a list,
    `CenterCrop` or `RandomCrop`. `Resize(256)` alone keeps the shape of each image.

    ```exp wrong
    data { train = ImageFolder("photos", classes=3) -> Resize(256) -> ToTensor }
    ```

    ```exp right
    data { train = ImageFolder("photos", classes=3) -> Resize(256) -> CenterCrop(224) -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0406"
    name: ClassVar[str] = "varying-size"
    template: ClassVar[str] = (
        "`{role}`: `{field}` is {type}, and {sizes} from sample to sample: no batch can be made of it"
    )

    role: str
    field: str
    type: str
    sizes: str
    """In words: `H and W differ`."""


@dataclass(frozen=True, kw_only=True)
class SplitFractions(Problem):
    """The fractions of a `split` are above 0 and sum to at most 1; what is left is one more part.

    ```exp wrong
    data { train, val = MNIST("data") -> split(0.9, 0.2) -> ToTensor }
    ```

    ```exp right
    data { train, val = MNIST("data") -> split(0.8) -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0407"
    name: ClassVar[str] = "split-fractions"
    template: ClassVar[str] = "`split` takes fractions above 0 that sum to at most 1, but gets {found}"

    found: str


@dataclass(frozen=True, kw_only=True)
class SplitParts(Problem):
    """A `split` gives another number of parts than there are names for them.

    `split(0.9)` gives two parts, `split(0.8, 0.1)` three: what is left is the last. `_` takes a part that nobody needs.

    ```exp wrong
    data { train, val, test = MNIST("data") -> split(0.9) -> ToTensor }
    ```

    ```exp right
    data { train, val, test = MNIST("data") -> split(0.8, 0.1) -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0408"
    name: ClassVar[str] = "split-parts"
    template: ClassVar[str] = "this `split` gives {parts} parts, but there are {names} names for them"

    parts: int
    names: int


@dataclass(frozen=True, kw_only=True)
class DrawnTogether(Problem):
    """What is piped together through a random transform is cut, flipped or turned alike: it must be of one size.

    `(image, mask) -> RandomCrop(256)` draws one place for both. Where they differ in size, one place means two
    different things; bring them to one size first.

    ```exp wrong
    data {
      train = Npz("a.npz") -> as (image: u8[3, 64, 64], mask: class(5)[32, 32])
        -> { image, mask = (image, mask) -> RandomCrop(16) }
    }
    ```

    ```exp right
    data {
      train = Npz("a.npz") -> as (image: u8[3, 64, 64], mask: class(5)[32, 32])
        -> { image, mask = (image -> Resize([32, 32]), mask) -> RandomCrop(16) }
    }
    ```
    """

    code: ClassVar[str] = "E0409"
    name: ClassVar[str] = "drawn-together"
    template: ClassVar[str] = "`{transform}` draws one place for what is piped together, but sizes differ: {found}"

    transform: str
    found: str


@dataclass(frozen=True, kw_only=True)
class RoleField(Problem):
    """A field that the model learns with is not in the data that it is measured on, or is something else there.

    `val` and `test` are measured with the loss and the metrics of `train`, so that all need the same fields. Transforms
    may differ; what fields are called may not, and metrics compare one kind of target.

    ```exp wrong
    data {
      train = MNIST("data") -> ToTensor
      val   = MNIST("data", train=false) -> ToTensor -> { digit = label }
    }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data {
      train = MNIST("data") -> ToTensor
      val   = MNIST("data", train=false) -> ToTensor
    }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0416"
    name: ClassVar[str] = "role-field"
    template: ClassVar[str] = "the run learns with the field `{field}`, but `{role}` {found}"

    role: str
    field: str
    found: str


@dataclass(frozen=True, kw_only=True)
class DeclaredField(Problem):
    """What `as` says of the fields is not what the data set gives.

    Where a data set knows its fields, `as` asserts; for `Csv`, `Npz` and `Tensors` it declares, and what it declares is
    verified when the data is opened.

    ```exp wrong
    data { train = CIFAR10("data") -> as (image: u8[3, 28, 28]) -> ToTensor }
    ```

    ```exp right
    data { train = CIFAR10("data") -> as (image: u8[3, 32, 32]) -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0415"
    name: ClassVar[str] = "declared-field"
    template: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True, kw_only=True)
class SamplerUnfit(Problem):
    """A sampler does not fit the data: weights of classes where no field is a class, another number of them than there
    are classes, or more samples than can be drawn.

    `WeightedRandomSampler("balanced")` makes every class as frequent as any other; a list has a weight for each class;
    the name of a field of numbers gives each sample its own.

    ```exp wrong
    data {
      train = MNIST("data") -> ToTensor
      sampler = WeightedRandomSampler([1, 5])
    }
    ```

    ```exp right
    data {
      train = MNIST("data") -> ToTensor
      sampler = WeightedRandomSampler("balanced")
    }
    ```
    """

    code: ClassVar[str] = "E0417"
    name: ClassVar[str] = "sampler-unfit"
    template: ClassVar[str] = "`{sampler}` does not fit: {reason}"

    sampler: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LoadingConflict(Problem):
    """Two settings of `data` contradict each other: a `sampler` and `shuffle`, or a `path` and what it has no use for.

    `path = auto` keeps decoded samples on the training device where they fit in `memory`, a share of what is free
    there, and makes batches anew otherwise, by `workers` if there are any. Both give the same batches.

    ```exp wrong
    data {
      train = MNIST("data") -> ToTensor
      path = resident
      workers = 4
    }
    ```

    ```exp right
    data {
      train = MNIST("data") -> ToTensor
      workers = 4
    }
    ```
    """

    code: ClassVar[str] = "E0418"
    name: ClassVar[str] = "loading-conflict"
    template: ClassVar[str] = "{reason}"

    reason: str
