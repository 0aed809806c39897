"""`t-max-mismatch`: a schedule that repeats its length, and says another one."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.given import without
from expc.compiler.lints.lengths import Length, lengths
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass

SHORT: Final = {
    ("CosineAnnealingLR", "T_max"): "after it the learning rate rises again",
    ("PolynomialLR", "total_iters"): "after it the learning rate is 0, and nothing is learnt",
}
"""What happens when such a length is over and the schedule goes on."""

LONG: Final = {
    ("CosineAnnealingLR", "T_max"): "the learning rate never gets to its lowest",
    ("PolynomialLR", "total_iters"): "the learning rate never gets to 0",
    ("OneCycleLR", "total_steps"): "the learning rate never gets to its lowest",
    ("CosineAnnealingWarmRestarts", "T_0"): "the learning rate never gets to its lowest, and nothing starts again",
    ("CyclicLR", "step_size_up"): "the learning rate never falls",
}
"""What happens when the schedule ends before such a length is over."""


@dataclass(frozen=True, kw_only=True)
class TMaxMismatch(Problem):
    """How long a schedule lasts is said by the chain and the run, and a setting of it says something else.

    A cosine that is over too early climbs back to where it started, one that is cut off ends at a high learning rate.
    torch says nothing. Leave the setting out: it follows from the run. Lengths that differ by no more than a twentieth
    count as the same.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 30, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = CosineAnnealingLR(T_max=10)
    }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 30, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = CosineAnnealingLR
    }
    ```
    """

    code: ClassVar[str] = "W0510"
    name: ClassVar[str] = "t-max-mismatch"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{setting}` is {said}, and `{schedule}` lasts {lasts}: {effect}"

    schedule: str
    setting: str
    said: str
    lasts: str
    effect: str


def check(program: Program) -> Iterator[Problem]:
    """Lengths of schedules that are not how long these last."""
    for length in lengths(program):
        effect = _effect(length)
        if effect is not None and not length.has_other_unit:
            use = length.part.use
            follows = use.declaration.follows_length == length.setting
            yield TMaxMismatch(
                span=length.span,
                schedule=use.name,
                setting=length.setting,
                said=str(length.said),
                lasts=length.shown,
                effect=effect,
                fixes=without(use, length.setting) if follows else (),
            )


def _effect(length: Length) -> str | None:
    use = length.part.use
    key = use.name, length.setting
    if length.too_short:
        return SHORT.get(key)
    if not length.too_long:
        return None
    if key == ("LinearLR", "total_iters") and use.settings["start_factor"] > use.settings["end_factor"]:
        return "the learning rate never gets to its lowest"
    return LONG.get(key)
