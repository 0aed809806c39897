"""The optimizers of `torch.optim`: their settings by torch's names, in torch's order, with torch's defaults.

Left out are the parameters themselves, and what is for other uses than training in a loop (`capturable`,
`differentiable`). `maximize` is left out because a loss is minimised: negate it.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from expc.compiler.ops.declare import Param
from expc.compiler.ops.kinds import BOOL, POSITIVE, choice, integer, list_of, number, optional
from expc.compiler.program import Optimizer

AMOUNT: Final = number(0)
SHARE: Final = number(0, 1)
PAIR: Final = list_of(SHARE, 2)

FOREACH: Final = Param(
    "foreach", optional(BOOL), None, "move all parameters together, call by call; none: where it is faster"
)
FUSED: Final = Param("fused", optional(BOOL), None, "move all parameters in one call; none: where torch can")
FUSED_TOO: Final = frozenset({"SGD", "Adam", "AdamW", "Adagrad"})
"""The optimizers that torch has fused."""
FUSED_WHOLE: Final = frozenset({"SGD", "Adagrad"})
"""Those of them that torch has for whole weights only, and not for weights of which each device has a part."""
WHOLE: Final = {
    "LBFGS": "it joins all gradients into one vector",
    "Adafactor": "it takes means over whole rows and columns",
    "Rprop": "torch has it for whole weights only",
}
"""The optimizers that torch has for whole weights only, however they compute, and why."""
IN_ONE_WAY: Final = frozenset({"LBFGS", "Muon", "SparseAdam"})
"""Those that compute in one way only."""

SPARSE: Final = frozenset({"SGD", "Adagrad", "SparseAdam"})
"""The optimizers that take the sparse gradients of `Embedding(sparse=true)`; `SparseAdam` takes no others."""
ONE_GROUP: Final = frozenset({"LBFGS"})
"""The optimizers whose parameters cannot differ in their settings."""
MATRICES: Final = frozenset({"Muon"})
"""The optimizers that move matrices only."""


def settings_fault(name: str, settings: Mapping[str, Any]) -> str | None:
    """What torch refuses about settings that are right one by one, in words; none where all is well."""
    if settings.get("fused") and settings.get("foreach"):
        return "`fused` and `foreach` are two ways of computing: at most one of them is true"
    if name == "SGD" and settings["nesterov"] and (settings["momentum"] <= 0 or settings["dampening"] != 0):
        return "`nesterov` needs a `momentum` above 0 and no `dampening`"
    betas = settings.get("betas")
    if betas is not None and any(beta >= 1 for beta in betas):
        return "each of `betas` must be below 1"
    if name in ("Adam", "AdamW") and any(isinstance(beta, int) for beta in betas or ()):
        return "torch takes fractions only for `betas`: write `0.0` instead of `0`"
    if name == "SparseAdam" and settings["lr"] <= 0:
        return "`lr` must be above 0"
    if name == "SparseAdam" and settings["eps"] <= 0:
        return "`eps` must be above 0"
    if name == "Rprop" and not settings["etas"][0] < 1.0 < settings["etas"][1]:
        return "`etas` are a factor from 0 to 1 and one above 1"
    if name == "Rprop" and settings["etas"][0] <= 0:
        return "the first of `etas` must be above 0"
    if name == "Adafactor" and settings["eps"][1] is None:
        return "the second of `eps` must be a number"
    if name == "Adafactor" and settings["d"] < 1:
        return "`d` must be at least 1"
    return None


@cache
def optimizers() -> Mapping[str, Optimizer]:
    """Every optimizer by its name."""
    declared = (*_descent(), *_adam_family(), *_adaptive_scale(), *_other_gradients())
    return MappingProxyType({optimizer.name: optimizer for optimizer in declared})


def _optimizer(name: str, doc: str, *settings: Param, lr: float = 1e-3, example: str | None = None) -> Optimizer:
    rate = Param("lr", AMOUNT, lr, "the learning rate, before any schedule")
    if name not in IN_ONE_WAY and FOREACH not in settings:
        settings = (*settings, FOREACH, FUSED) if name in FUSED_TOO else (*settings, FOREACH)
    return Optimizer(name, doc, (rate, *settings), example or f"{name}(lr={lr})")


def _weight_decay(default: float = 0) -> Param:
    return Param("weight_decay", AMOUNT, default, "how strongly weights are pulled towards zero")


def _betas() -> Param:
    return Param("betas", PAIR, (0.9, 0.999), "decay of the running averages of the gradient and of its square")


def _eps(default: float = 1e-8) -> Param:
    return Param("eps", AMOUNT, default, "added to the denominator, so that it is never zero")


def _decoupled() -> Param:
    return Param("decoupled_weight_decay", BOOL, False, "decay the weights themselves, as AdamW does, not the gradient")


def _descent() -> tuple[Optimizer, ...]:
    momentum = Param("momentum", AMOUNT, 0, "how much of the last update goes on")
    return (
        _optimizer(
            "SGD",
            "Stochastic gradient descent, with momentum if asked for.",
            momentum,
            Param("dampening", AMOUNT, 0, "how much the gradient is damped where there is momentum"),
            _weight_decay(),
            Param("nesterov", BOOL, False, "look ahead along the momentum; needs momentum, and no dampening"),
            example="SGD(lr=0.1, momentum=0.9, weight_decay=5e-4)",
        ),
        _optimizer(
            "ASGD",
            "Averaged stochastic gradient descent.",
            Param("lambd", AMOUNT, 1e-4, "decay term"),
            Param("alpha", AMOUNT, 0.75, "power by which the learning rate falls"),
            Param("t0", AMOUNT, 1e6, "the step at which averaging starts"),
            _weight_decay(),
            lr=0.01,
        ),
        _optimizer(
            "RMSprop",
            "Divides the gradient by a running average of its size.",
            Param("alpha", SHARE, 0.99, "decay of the running average of the squared gradient"),
            _eps(),
            _weight_decay(),
            momentum,
            Param("centered", BOOL, False, "subtract the running mean of the gradient first"),
            lr=0.01,
        ),
        _optimizer(
            "Rprop",
            "Resilient backpropagation: for full batches only, goes by the sign of the gradient.",
            Param("etas", list_of(AMOUNT, 2), (0.5, 1.2), "factors by which a step shrinks and grows"),
            Param("step_sizes", list_of(AMOUNT, 2), (1e-6, 50), "the smallest and the largest step"),
            lr=0.01,
        ),
    )


def _adam_family() -> tuple[Optimizer, ...]:
    amsgrad = Param("amsgrad", BOOL, False, "never let the average of the squared gradient fall")
    return (
        _optimizer(
            "Adam",
            "Adaptive moments; weight decay, if any, is added to the gradient.",
            _betas(),
            _eps(),
            _weight_decay(),
            amsgrad,
            FOREACH,
            FUSED,
            Param("decoupled_weight_decay", BOOL, False, "decay the weights themselves, as AdamW does", by_name=True),
        ),
        _optimizer(
            "AdamW",
            "Adam with weight decay apart from the gradient.",
            _betas(),
            _eps(),
            _weight_decay(0.01),
            amsgrad,
            example="AdamW(lr=2e-3, weight_decay=0.01)",
        ),
        _optimizer("Adamax", "Adam with the infinity norm.", _betas(), _eps(), _weight_decay(), lr=0.002),
        _optimizer(
            "NAdam",
            "Adam with Nesterov momentum.",
            _betas(),
            _eps(),
            _weight_decay(),
            Param("momentum_decay", AMOUNT, 0.004, "how fast the momentum changes"),
            _decoupled(),
            lr=0.002,
        ),
        _optimizer(
            "RAdam", "Adam whose first steps are rectified.", _betas(), _eps(), _weight_decay(), _decoupled(), lr=1e-3
        ),
    )


def _adaptive_scale() -> tuple[Optimizer, ...]:
    return (
        _optimizer(
            "Adagrad",
            "Divides the gradient by the root of the sum of all its squares so far.",
            Param("lr_decay", AMOUNT, 0, "how fast the learning rate falls"),
            _weight_decay(),
            Param("initial_accumulator_value", AMOUNT, 0, "where the sum of squares starts"),
            _eps(1e-10),
            lr=0.01,
        ),
        _optimizer(
            "Adadelta",
            "Scales each update by the size of the updates before it.",
            Param("rho", SHARE, 0.9, "decay of the running averages"),
            _eps(1e-6),
            _weight_decay(),
            lr=1.0,
        ),
        _optimizer(
            "Adafactor",
            "Keeps the squared gradient of a matrix as one row and one column.",
            Param("beta2_decay", number(None, 0), -0.8, "power by which the running average slows down"),
            Param(
                "eps",
                list_of(optional(AMOUNT), 2),
                (None, 1e-3),
                "added to the squared gradient, to the scale of a step",
            ),
            Param("d", AMOUNT, 1.0, "where updates are clipped"),
            _weight_decay(0.0),
            lr=0.01,
        ),
    )


def _other_gradients() -> tuple[Optimizer, ...]:
    """Optimizers that are particular about what they move."""
    return (
        _optimizer(
            "Muon",
            "Makes the update of a matrix nearly orthogonal. For matrices only: give the rest to another in a `group`.",
            _weight_decay(0.1),
            Param("momentum", AMOUNT, 0.95, "how much of the last update goes on"),
            Param("nesterov", BOOL, True, "look ahead along the momentum"),
            Param("ns_coefficients", list_of(number(), 3), (3.4445, -4.775, 2.0315), "of the Newton-Schulz steps"),
            _eps(1e-7),
            Param("ns_steps", integer(1, 99), 5, "how many Newton-Schulz steps there are"),
            Param(
                "adjust_lr_fn",
                optional(choice("original", "match_rms_adamw")),
                None,
                "how the learning rate follows the matrix's shape",
            ),
            example="Muon(lr=0.02)",
        ),
        _optimizer(
            "LBFGS",
            "Limited-memory BFGS: computes the loss of a batch several times in one step. For full batches.",
            Param("max_iter", POSITIVE, 20, "iterations in one step"),
            Param(
                "max_eval", optional(POSITIVE), None, "evaluations of the loss in one step; none for 5/4 of `max_iter`"
            ),
            Param("tolerance_grad", AMOUNT, 1e-7, "ends a step when no gradient is larger"),
            Param("tolerance_change", AMOUNT, 1e-9, "ends a step when nothing changes more"),
            Param("history_size", POSITIVE, 100, "how many past updates are kept"),
            Param("line_search_fn", optional(choice("strong_wolfe")), None, "how far an iteration goes"),
            lr=1,
        ),
        _optimizer(
            "SparseAdam",
            "Adam for the sparse gradients of `Embedding(sparse=true)`: moves the rows that were used.",
            _betas(),
            _eps(),
        ),
    )
