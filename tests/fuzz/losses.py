"""Whole experiments around one loss: data with classes, a model, and the loss between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fuzz.calls import table
from fuzz.draw import Draw
from fuzz.generate import Builder
from fuzz.hints import hint_of
from fuzz.spelling import spelled
from fuzz.terms import Bind, Frame, Operate, Outcome, Ref, Refs, Refused

SAMPLES = 2

CLASSES = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss", "MultiMarginLoss", "multi_margin_loss")
"""Losses that take the classes as they are."""

ELSEWHERE = ("AdaptiveLogSoftmaxWithLoss", "CTCLoss", "ctc_loss", "TripletMarginWithDistanceLoss")
"""Losses that need more than outputs and classes."""


def is_loss(name: str) -> bool:
    """Whether an operator is a loss that an experiment may have."""
    named = name.endswith(("_loss", "entropy", "_with_logits", "kl_div"))
    return name not in ELSEWHERE and (named or table()[name].kind == "loss")


@dataclass
class Experiment:
    """An experiment; it is run as its loss on outputs and targets of the right types."""

    classes: int
    outputs: int
    head: Any
    stage: Operate
    bare: bool
    sizes: dict[str, int] = field(default_factory=dict)
    inputs: tuple[Any, ...] = ()
    blocks: tuple[Any, ...] = ()

    @property
    def statements(self) -> list[Any]:
        """The loss as a statement."""
        return [Bind("loss", self.head, [self.stage])]

    def bodies(self) -> list[Any]:
        """The statements in which operators stand."""
        return self.statements

    def text(self, where: Sequence[str] = ()) -> str:
        """The experiment as `.exp`."""
        del where
        head = "" if self.bare or self.head is None else f"{self.head.text()} -> "
        return (
            f"data {{ train = FakeData(num_classes={self.classes}, image_size=[3, 4, 4]) -> ToTensor, batch = 2 }}\n"
            f"model M(image: f32[N, 3, 4, 4]) {{ Flatten -> Linear({self.outputs}) }}\n"
            f"train {{ epochs = 1, loss = {head}{self.stage.text()}, optimizer = SGD(lr=0.1) }}\n"
        )

    def run(self, sizes: Mapping[str, int], device: str = "meta") -> tuple[list[Outcome], list[Any], set[str]]:
        """The type of the loss. Raises what torch raises."""
        output = torch.full((SAMPLES, self.outputs), 0.5, device=device)
        target = torch.full((SAMPLES,), self.classes - 1, dtype=torch.int64, device=device)
        as_numbers = torch.zeros(SAMPLES, self.classes, device=device)
        names = {"output": output, "target": target, one_hot(self.classes): as_numbers}
        frame = Frame(names, sizes, device, [], [])
        head = Refs([Ref("output"), Ref("target")]) if self.bare else self.head
        loss = self.stage.run(() if head is None else head.run(frame), frame)
        if loss.dim() or not loss.is_floating_point():
            raise Refused("a loss is one number")
        return frame.log, [], frame.notes


def one_hot(classes: int) -> str:
    """The target as numbers for each class."""
    return f"(one_hot(target, {classes}) -> f32)"


def experiment(d: Draw, name: str) -> Experiment:
    """An experiment with this loss."""
    entry = table()[name]
    classes = d.integer(2, 5)
    outputs = classes if d.chance(0.8) else d.integer(1, 6)
    builder = Builder(d, Frame({}, {}, "meta", [], []))
    values = hint_of(name)(builder, entry, builder.fresh("f32", (SAMPLES, outputs)))
    tensors = [param.name for param in entry.arguments if param.tensor and param.required]
    target = Ref("target") if (name in CLASSES) != d.chance(0.1) else Ref(one_hot(classes))
    values |= {given: Ref("output") for given in tensors}
    if "target" in tensors:
        values["target"] = target
    values.pop("weight", None)
    head, stage = spelled(builder, entry, values)
    bare = entry.kind == "loss" and target.name == "target" and len(tensors) == 2
    return Experiment(classes, outputs, head, stage, bare)
