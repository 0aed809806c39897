"""What groups say of learning, and what reaches the parameters of Python code, against training by hand."""

import pytest
import torch
from by_hand import DATA, GAN, by_hand, program, same, trained
from torch.nn.functional import cross_entropy, softplus
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from expc.compiler.session import check_text
from expc.diagnostics import ProblemError
from expc.runtime import loop
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


# ------------------------------------------------------------------------------------------------ by kind and by depth

DEEP = """
block Layer(x: f32[N, C]) { flow + (LayerNorm -> fc: Linear(C) -> GELU) }
model Net(image: f32[N, 1, 4, 4]) -> f32[N, 4] {
  Flatten
  stem: Linear(8)
  h: repeat 3 { Layer }
  head: Linear(4)
}
"""


def test_rates_that_fall_with_depth_and_settings_by_kind(tmp_path):
    checked = program(
        """
        epochs = 2, loss = CrossEntropyLoss, optimizer = AdamW(lr=0.04, weight_decay=0.1), schedule = CosineAnnealingLR
        for depth in range(3) { group "h.{depth}.*" { lr = 0.04 * 0.5 ** (3 - depth) } }
        group "stem.*" { lr = 0.04 * 0.5 ** 4 }
        group LayerNorm { weight_decay = 0 }
        group Linear.bias { weight_decay = 0 }
        group Layer.fc.weight { optimizer = Muon(lr=0.05, weight_decay=0.2) }
        """,
        DEEP,
    )
    found, _ = trained(checked, tmp_path / "run")

    def start(model):
        rates = {"stem": 0.04 / 16, "h.0": 0.04 / 8, "h.1": 0.04 / 4, "h.2": 0.04 / 2, "head": 0.04}
        matrices, rest = [], []
        for name, parameter in model.named_parameters():
            rate = next(rate for start, rate in rates.items() if name.startswith(f"{start}."))
            if name.startswith("h.") and name.endswith("fc.weight"):
                matrices.append({"params": [parameter], "lr": rate})
            else:
                decay = 0.1 if name in ("stem.weight", "head.weight") else 0.0
                rest.append({"params": [parameter], "lr": rate, "weight_decay": decay})
        made = torch.optim.AdamW(rest, lr=0.04, fused=True), torch.optim.Muon(matrices, lr=0.05, weight_decay=0.2)
        return made, [CosineAnnealingLR(optimizer, 6) for optimizer in made]

    def step(model, state, batch):
        optimizers, schedules = state
        for optimizer in optimizers:
            optimizer.zero_grad()
        cross_entropy(model(batch["image"]), batch["label"]).backward()
        for each in (*optimizers, *schedules):
            each.step()

    same(found, by_hand(checked, 2, start, step))


def test_turns_with_several_optimizers_each(tmp_path):
    """A critic and a generator, whose matrices go by Muon; what is left has the loss of `train`."""
    checked = program(
        """
        epochs = 2, optimizer = SGD(lr=0.01), loss = mean(softplus(real - fake))
        group "d.*" { loss = mean(softplus(-real)) + mean(softplus(fake)), optimizer = AdamW(lr=1e-2) }
        group "g.*.weight" { loss = mean(softplus(-fake)), optimizer = Muon(lr=0.02) }
        """,
        GAN,
    )
    found, _ = trained(checked, tmp_path / "run")

    def start(model):
        weights = [model.g.get_submodule("0").weight, model.g.get_submodule("2").weight]
        biases = [model.g.get_submodule("0").bias, model.g.get_submodule("2").bias]
        critic = list(model.d.parameters())
        return [
            (biases, torch.optim.SGD(biases, lr=0.01, fused=True), lambda o: softplus(o["real"] - o["fake"]).mean()),
            (
                critic,
                torch.optim.AdamW(critic, lr=1e-2, fused=True),
                lambda o: softplus(-o["real"]).mean() + softplus(o["fake"]).mean(),
            ),
            (weights, torch.optim.Muon(weights, lr=0.02), lambda o: softplus(-o["fake"]).mean()),
        ]

    def step(model, turns, batch):
        for parameters, optimizer, loss in turns:
            gradients = torch.autograd.grad(loss(model(batch["image"])), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            optimizer.zero_grad()

    same(found, by_hand(checked, 2, start, step))


# ------------------------------------------------------------------------------------------------ frozen for a while


@pytest.mark.parametrize(("duration", "until"), [("2 steps", 2), ("1 epochs", 3)])
def test_what_thaws_begins_then(tmp_path, monkeypatch, duration, until):
    """No gradient, no decay, no statistics and no state of the optimizer before; its own first step after."""
    checked = program(f"""
        epochs = 2, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-2, weight_decay=0.5), ema = 0.9
        freeze = [Linear.weight, BatchNorm1d] for {duration}
    """)
    gradients, learn, states = [], loop.learn, []

    def watched(run, batch):
        model = run.task.model
        hooks = [
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: gradients.append((run.step, name)))
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        ]
        learn(run, batch)
        for hook in hooks:
            hook.remove()
        (optimizer,) = run.turns[0].plain
        counts = {name: optimizer.state.get(p, {}).get("step", 0) for name, p in model.named_parameters()}
        states.append(
            {name: int(count) for name, count in counts.items()} | {"seen": int(model.norm.num_batches_tracked)}
        )

    monkeypatch.setattr(loop, "learn", watched)
    found, _ = trained(checked, tmp_path / "run")
    before = prepare(checked, "cpu").task.model.state_dict()
    frozen = {"body.weight", "head.weight", "norm.weight", "norm.bias"}
    assert {name for step, name in gradients if step <= until} == {"body.bias", "head.bias"}
    assert {name for step, name in gradients if step > until} == {"body.bias", "head.bias", *frozen}
    for step, state in enumerate(states, start=1):
        assert state == dict.fromkeys((*frozen, "seen"), max(0, step - until)) | dict.fromkeys(
            ("body.bias", "head.bias"), step
        )
    assert not any(torch.equal(found[name], before[name]) for name in frozen)
