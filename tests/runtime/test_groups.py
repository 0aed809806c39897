"""What groups say of learning, and what reaches the parameters of Python code, against training by hand."""

import pytest
import torch
from by_hand import DATA, by_hand, program, same, trained
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from expc.compiler.session import check_text
from expc.diagnostics import ProblemError
from expc.runtime.prepare import prepare


def test_groups_with_schedules_and_limits_of_their_own(tmp_path):
    checked = program("""
        epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1, momentum=0.9)
        schedule = CosineAnnealingLR, clip = norm(0.5)
        group "body.*" { schedule = StepLR(2 steps, gamma=0.5) }
        group "*.bias" { lr = 0.05, clip = value(0.01) }
        group "norm.*" { schedule = none, clip = none }
    """)
    found, _ = trained(checked, tmp_path / "run")

    def start(model):
        def sgd(module):
            rest = {"params": [module.weight], "lr": 0.1}
            return torch.optim.SGD([rest, {"params": [module.bias], "lr": 0.05}], momentum=0.9, fused=True)

        made = [sgd(module) for module in (model.body, model.norm, model.head)]
        return made, [StepLR(made[0], 2, gamma=0.5), CosineAnnealingLR(made[2], 6)]

    def step(model, state, batch):
        optimizers, schedules = state
        for optimizer in optimizers:
            optimizer.zero_grad()
        cross_entropy(model(batch["image"]), batch["label"]).backward()
        clip_grad_norm_([model.body.weight, model.head.weight], 0.5)
        clip_grad_value_([model.body.bias, model.head.bias], 0.01)
        for each in (*optimizers, *schedules):
            each.step()

    same(found, by_hand(checked, 2, start, step))


CODE = """
import torch

class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(4))
        self.shift = torch.nn.Parameter(torch.zeros(4))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        return x * self.scale + self.shift
"""
SCALED = """
extern layer Scale(): f32[N, C] -> f32[N, C] = "scaling:Scale"
model Net(image: f32[N, 1, 4, 4]) -> f32[N, 4] { Flatten -> head: Linear(4) -> mine: Scale }
"""


@pytest.fixture
def scaled(tmp_path):
    """Checks an experiment with Python code, whose `train` says this."""
    (tmp_path / "scaling.py").write_text(CODE)

    def check(train):
        text = f"{DATA}{SCALED}train {{ epochs = 1\n {train} }}\n"
        return check_text(text, str(tmp_path / "net.exp"))

    return check


PLAIN = "loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)\n"


@pytest.mark.parametrize(
    "how",
    [
        'freeze = ["mine.*"]',
        "freeze = [Scale]",
        'group "mine.*" { lr = 0.0 }',
        "group Scale { lr = 0.0 }",
        'group "*.s*" { optimizer = SGD(lr=0.0) }',
        'group "mine.*" { schedule = LinearLR(start_factor=1e-9, end_factor=1e-9) }',
    ],
)
def test_selectors_match_the_parameters_of_python_code_too(tmp_path, scaled, how):
    checked = scaled(PLAIN + how)
    assert not checked.has_errors, checked.problems
    found, _ = trained(checked.program, tmp_path / "run")
    assert torch.allclose(found["mine.scale"], torch.ones(4), atol=1e-8)
    assert not torch.equal(found["head.weight"], prepare(checked.program, "cpu").task.model.head.weight)


def test_losses_of_groups_move_python_code(tmp_path, scaled):
    checked = scaled("""
        optimizer = SGD(lr=0.1)
        loss      = cross_entropy(output, label)
        group "mine.scale" { loss = 2 * cross_entropy(output, label) }
    """)
    assert not checked.has_errors, checked.problems
    found, _ = trained(checked.program, tmp_path / "run")

    def start(model):
        rest = [*model.head.parameters(), model.mine.shift]
        return torch.optim.SGD(rest, lr=0.1), torch.optim.SGD([model.mine.scale], lr=0.1)

    def step(model, optimizers, batch):
        for factor, optimizer in zip((1, 2), optimizers, strict=True):
            model.zero_grad()
            (factor * cross_entropy(model(batch["image"]), batch["label"])).backward()
            optimizer.step()

    same(found, by_hand(checked.program, 1, start, step))


@pytest.mark.parametrize(
    ("train", "code", "told"),
    [
        (PLAIN + 'group "mine.scales" { lr = 0.0 }', "E0234", "`mine.scales` matches no parameter"),
        (PLAIN + 'group "mine.seen" { lr = 0.0 }', "E0234", "`mine.seen` matches no parameter"),
        (PLAIN + 'freeze = ["mine.a*"]', "E0234", "`mine.a*` matches no parameter"),
        (PLAIN + 'init "mine.weight" = zeros', "E0234", "`mine.weight` matches no parameter"),
        ('loss = CrossEntropyLoss\ngroup "head.*" { optimizer = SGD }', "E0506", "no optimizer moves `mine.scale`"),
        ('optimizer = SGD\ngroup "head.*" { loss = CrossEntropyLoss }', "E0506", "no loss moves `mine.scale`"),
        (
            PLAIN + 'group "mine.*" { optimizer = Adam }\ngroup Scale { optimizer = SGD }',
            "E0515",
            "`mine.scale` is in two groups with an optimizer of their own",
        ),
    ],
)
def test_what_python_code_does_not_have_is_told_when_it_is_built(scaled, train, code, told):
    checked = scaled(train)
    assert not checked.has_errors, checked.problems
    with pytest.raises(ProblemError) as raised:
        prepare(checked.program, "cpu")
    assert raised.value.problem.code == code
    assert told in raised.value.problem.message


@pytest.mark.parametrize(
    ("how", "codes"),
    [
        ('group "hed.*" { lr = 0.0 }', ["E0234"]),
        ('init "maine.*" = zeros', ["E0234"]),
        ('freeze = ["minor.*", Conv2d]', ["E0234", "E0234"]),
        ('freeze = ["*.bia", Scale]', []),
    ],
)
def test_a_selector_that_cannot_reach_python_code_is_told_when_it_is_checked(scaled, how, codes):
    assert [problem.code for problem in scaled(PLAIN + how).problems] == codes
