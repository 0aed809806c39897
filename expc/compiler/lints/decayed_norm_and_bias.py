"""`decayed-norm-and-bias`: weight decay on biases and on the weights of normalisation layers. Off by default."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.graph import Weight, weights
from expc.compiler.lints.given import places
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class DecayedNormAndBias(Problem):
    """Weight decay pulls biases, and the scales of normalisation layers, towards 0 too.

    They are few, and to be large is no sign of overfitting for them; many recipes leave them out, and gain a little. It
    is a matter of taste, so the rule is off by default: `expc check --lint decayed-norm-and-bias`.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Conv2d(8, 3) -> ReLU -> Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-3, weight_decay=0.1) }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Conv2d(8, 3) -> ReLU -> Flatten -> Linear(10) }
    train {
      epochs = 3, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-3, weight_decay=0.1)
      group "*.bias" { weight_decay = 0 }
    }
    ```
    """

    code: ClassVar[str] = "W0516"
    name: ClassVar[str] = "decayed-norm-and-bias"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "weight decay acts on `{parameter}` too{more}"

    parameter: str
    more: str


def check(program: Program) -> Iterator[Problem]:
    """An optimizer whose weight decay reaches parameters of one dimension."""
    train = program.train
    if program.model is None or train is None or train.optimizer is None:
        return
    use = train.optimizer
    decay = use.settings.get("weight_decay")
    if use.declaration.python is not None or not decay:
        return
    other = {key for group in train.groups if group.optimizer is not None for key in group.keys}
    still = set(train.freeze.keys) if train.freeze is not None and train.freeze.duration is None else set()
    changed = {k: g.settings["weight_decay"] for g in train.groups if "weight_decay" in g.settings for k in g.keys}
    found = [
        weight
        for weight in weights(program.model.body)
        if _is_spared(weight) and weight.key not in other | still and changed.get(weight.key, decay)
    ]
    if found:
        first, rest = found[0], len(found) - 1
        more = f", and on {rest} other biases and scales" if rest else ""
        span = places(use).get("weight_decay", use.span)
        labels = (Label(first.span, "the parameter"),)
        notes = ('leave them out in a group, such as `group "*.bias" { weight_decay = 0 }`',)
        yield DecayedNormAndBias(span=span, parameter=first.key, more=more, labels=labels, notes=notes)


def _is_spared(weight: Weight) -> bool:
    """Whether recipes that spare biases and norms spare this: what has one dimension, and belongs to a layer."""
    return not weight.is_buffer and weight.tied_to is None and len(weight.dims) == 1 and weight.key.count(".") > 0
