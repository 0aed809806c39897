"""`adam-eps-underflow`: the `eps` of an optimizer is 0 in f16."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.graph import Container
from expc.compiler.lints.given import optimizers, places
from expc.compiler.program import Program, Use
from expc.diagnostics import Label, Problem, Span
from expc.frozen import dataclass

DIVIDE: Final = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad")
"""The optimizers that divide by a mean of gradients and `eps`."""
SMALLEST: Final = 2.0**-25
"""f16 rounds numbers up to here to 0."""


@dataclass(frozen=True, kw_only=True)
class AdamEpsUnderflow(Problem):
    """`eps` keeps an optimizer from dividing by 0, and f16 has no number as small as 1e-8.

    So a parameter of f16 whose gradient is 0, or small, is not a number after the first step. torch says nothing. Leave
    the parameter in f32, which `precision = f16` does too, or write a larger `eps`.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
      param scale: f16[10] = ones
      (Flatten -> Linear(10)) * scale
    }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = Adam(lr=1e-3) }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
      param scale: f32[10] = ones
      (Flatten -> Linear(10)) * scale
    }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = Adam(lr=1e-3) }
    ```
    """

    code: ClassVar[str] = "E0532"
    name: ClassVar[str] = "adam-eps-underflow"
    template: ClassVar[str] = "`eps` is {eps} in `{optimizer}`, which is 0 in f16, and `{parameter}` is f16"

    eps: float
    optimizer: str
    parameter: str


def check(program: Program) -> Iterator[Problem]:
    """An optimizer that moves a parameter of f16 with an `eps` that f16 does not have."""
    train = program.train
    if program.model is None or train is None:
        return
    frozen = set(train.freeze.keys) if train.freeze is not None and train.freeze.duration is None else set()
    owners = {key: group.optimizer for group in train.groups if group.optimizer is not None for key in group.keys}
    settings = {key: group.settings["eps"] for group in train.groups if "eps" in group.settings for key in group.keys}
    reported: set[Use] = set()
    for key, span in _halves(program.model.body):
        use = owners.get(key, train.optimizer)
        if use is None or key in frozen or use.name not in DIVIDE or use in reported or use not in optimizers(program):
            continue
        eps = settings.get(key, use.settings["eps"])
        if use.declaration.python is None and eps <= SMALLEST:
            reported.add(use)
            place = places(use).get("eps", use.span)
            labels = (Label(span, "the parameter"),)
            yield AdamEpsUnderflow(span=place, eps=eps, optimizer=use.name, parameter=key, labels=labels)


def _halves(container: Container, prefix: str = "") -> Iterator[tuple[str, Span]]:
    """The parameters of f16, by their keys."""
    for name, declared in container.params.items():
        if declared.type.dtype == "f16":
            yield prefix + name, declared.span
    for name, child in container.children.items():
        if isinstance(child, Container):
            yield from _halves(child, f"{prefix}{name}.")
