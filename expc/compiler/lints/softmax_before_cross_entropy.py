"""`softmax-before-cross-entropy`: the loss takes the softmax itself."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.producers import Producers, applications, input_of, named_outputs
from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Label, Problem, Severity, Span
from expc.frozen import dataclass

_LOSSES = ("CrossEntropyLoss", "cross_entropy")
_SOFTMAX = ("Softmax", "softmax", "LogSoftmax", "log_softmax", "Softmax2d", "Sigmoid", "sigmoid")
_KEEPING = ("Flatten", "flatten", "reshape", "view", "Dropout", "dropout", "Identity")


@dataclass(frozen=True, kw_only=True)
class SoftmaxBeforeCrossEntropy(Problem):
    """Cross entropy takes raw scores and applies the softmax itself.

    Done twice, everything runs and learns slowly: the gradients are squashed. torch says nothing.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) -> Softmax(1) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0501"
    name: ClassVar[str] = "softmax-before-cross-entropy"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{squash}` comes before `{loss}`, which takes raw scores and applies the softmax itself"

    squash: str
    loss: str


def check(program: Program) -> Iterator[Problem]:
    """A softmax or sigmoid whose result reaches cross entropy unchanged."""
    if program.train is None or program.model is None:
        return
    model = Producers(program.model.body)
    outputs = named_outputs(program)
    bodies = [loss.body for loss in program.train.losses]
    for step, loss in ((step, body) for body in bodies for step, _, _ in applications(body)):
        producers = Producers(loss)
        if step.operator.name not in _LOSSES:
            continue
        value = input_of(step)
        while value is not None:
            made = producers.apply(value) or model.apply(value)
            if made is None:
                value = outputs.get(value.name or "") if value in loss.inputs else None
                continue
            apply, _ = made
            if apply.operator.name in _SOFTMAX:
                label = Label(step.span, "the loss")
                yield SoftmaxBeforeCrossEntropy(
                    span=apply.span,
                    squash=apply.operator.name,
                    loss=step.operator.name,
                    labels=(label,),
                    fixes=_without(apply.span),
                )
                break
            value = input_of(apply) if apply.operator.name in _KEEPING else None


def _without(span: Span) -> tuple[Fix, ...]:
    """The change that drops a stage with the arrow before it; none where no arrow stands before it."""
    before = span.source.text[: span.start]
    chain = before.rstrip().removesuffix("->").rstrip()
    if len(chain) == len(before.rstrip()):
        return ()
    return (Fix(f"drop `{span.text}`", (Edit(Span(span.source, len(chain), span.end), ""),)),)
