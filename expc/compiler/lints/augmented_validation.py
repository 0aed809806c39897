"""`augmented-validation`: what the model is measured on is changed at random."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from expc.compiler.lints.lineage import Lineage, Origin
from expc.compiler.program import Program, Use
from expc.diagnostics import Problem, Severity, Span
from expc.frozen import dataclass

ALL_OR_NOTHING: Final = frozenset(
    (
        *("RandomHorizontalFlip", "RandomVerticalFlip", "RandomGrayscale", "RandomInvert", "RandomEqualize"),
        *("RandomAutocontrast", "RandomPosterize", "RandomSolarize", "RandomAdjustSharpness"),
    )
)
"""The transforms that are random by their `p` alone."""


@dataclass(frozen=True, kw_only=True)
class AugmentedValidation(Problem):
    """A random transform acts on the data that the model is measured on.

    Then no two measurements are of the same samples, and each is of harder ones than the model will meet. Give training
    its augmentation after the split. Where a sample stays beside what is made of it, as for two views or for noise that
    is to be removed, the rule says nothing.

    ```exp wrong
    data { train, val = CIFAR10("data") -> split(0.9) -> RandomHorizontalFlip -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data {
      fit, held = CIFAR10("data") -> split(0.9)
      train = fit -> RandomHorizontalFlip -> ToTensor
      val = held -> ToTensor
      batch = 100
    }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0401"
    name: ClassVar[str] = "augmented-validation"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{transform}` changes the samples of `{roles}` at random, which the model is measured on"

    transform: str
    roles: str


def check(program: Program) -> Iterator[Problem]:
    """Random transforms of `val`, `test` and `predict`; one of several roles once."""
    found: dict[tuple[int, int, str], tuple[Span, list[str]]] = {}
    for role in ("val", "test", "predict"):
        if role not in program.data or program.data[role].dataset.declaration.python is not None:
            continue
        lineage = Lineage(program.data[role])
        for origin in lineage.made:
            step = origin.step
            if step is None or not is_random(step.use, origin) or any(map(lineage.is_used_twice, origin.sources)):
                continue
            span = step.use.span
            roles = found.setdefault((span.start, span.end, step.use.name), (span, []))[1]
            roles += [] if role in roles else [role]
    for (_, _, name), (span, roles) in found.items():
        yield AugmentedValidation(span=span, transform=name, roles="` and `".join(roles))


def is_random(use: Use, origin: Origin | None = None) -> bool:
    """Whether a transform with these settings makes two things of one sample."""
    settings: Mapping[str, Any] = use.settings
    if not use.declaration.random or settings.get("p") == 0:
        return False
    match use.name:
        case "RandomApply":
            return settings["p"] != 1 or any(is_random(inner) for chain in settings["transforms"] for inner in chain)
        case "RandomCrop" if origin is not None and origin.before is not None:
            moves = settings["padding"] or settings["pad_if_needed"]
            return bool(moves) or origin.type.dims[-2:] != origin.before.dims[-2:]
        case "RandomResizedCrop":
            return (
                any(pair[0] != pair[1] for pair in (settings["scale"], settings["ratio"])) or settings["scale"][0] < 1
            )
        case "RandomAffine" if not any(settings[name] for name in ("degrees", "translate", "scale", "shear")):
            return False
        case "RandomChannelPermutation" if origin is not None and origin.before is not None:
            return origin.before.dims[0] != 1
        case "ColorJitter":
            return any(settings[name] for name in ("brightness", "contrast", "saturation", "hue"))
        case "GaussianBlur":
            return not _is_one(settings["sigma"])
        case "JPEG":
            return not _is_one(settings["quality"])
        case "RandomShortestSize":
            return not _is_one(settings["min_size"])
        case "RandomRotation":
            degrees = settings["degrees"]
            return len(set(degrees)) > 1 if isinstance(degrees, list | tuple) else bool(degrees)
        case "GaussianNoise":
            return bool(settings["sigma"] != 0)
        case name if name in ALL_OR_NOTHING:
            return bool(settings["p"] != 1)
    return True


def _is_one(value: Any) -> bool:
    """Whether a range has one value: 5, or [5, 5]."""
    return not isinstance(value, list | tuple) or len(set(value)) == 1
