"""Programs beside modules written by hand: names of parameters, composition of bodies, blocks and recipes."""

from collections import OrderedDict

import torch
from programs import checked, is_torchs, model_of
from torch import nn
from torch.nn import functional as F  # noqa: N812

from expc.compiler.lower import lower


class Net(nn.Module):
    """Modules by name, in order, and how they are used: `run(modules, x, ...)`."""

    def __init__(self, run, **modules: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs):
        return self.run(self._modules, *inputs)


def seq(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def numbered(*modules: nn.Module) -> dict[str, nn.Module]:
    return {str(position): module for position, module in enumerate(modules)}


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_unlabelled_stages_are_numbered_after_unrolling_and_labelled_ones_count():
    text = """
    model M(x: f32[N, 4]) {
      Linear(4) -> relu -> first: Linear(4)
      repeat 2 as i { if i == 1 { Linear(4) } else { ReLU } ; Dropout(0.5) }
      for out in [5, 6] { (Linear(out) -> Tanh) }
      first_again = flow
      last: Linear(2) -> LayerNorm
      flow + (first_again -> mean(1, keepdim=true))
    }
    """
    layers = {
        "0": nn.Linear(4, 4),
        "first": nn.Linear(4, 4),
        "2": nn.ReLU(),
        "3": nn.Dropout(0.5),
        "4": nn.Linear(4, 4),
        "5": nn.Dropout(0.5),
        "6": nn.Linear(4, 5),
        "7": nn.Tanh(),
        "8": nn.Linear(5, 6),
        "9": nn.Tanh(),
        "last": nn.Linear(6, 2),
        "11": nn.LayerNorm(2),
    }

    def run(m, x):
        x = m["first"](m["0"](x).relu())
        for name in "23456789":
            x = m[name](x)
        return m["11"](m["last"](x)) + x.mean(1, keepdim=True)

    ours = is_torchs(text, Net(run, **layers), X)
    assert list(dict(ours.named_children())) == list(layers)


def test_containers_have_numbers_of_their_own():
    text = """
    let norm = BatchNorm2d(eps=1e-3)
    let unit = Conv2d(3, 3, padding=1, bias=false) -> norm -> ReLU
    model M(x: f32[N, 3, H, W]) {
      unit
      { unit -> body: { unit } }
      h: repeat 2 { Conv2d(3, 1) -> ReLU }
      stem: unit
      "layer{1 + 1}": { Conv2d(4, 1) }
      "block": Conv2d(5, 1)
    }
    """

    def unit():
        return nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3, eps=1e-3), nn.ReLU()

    inner = seq(**numbered(*unit()), body=seq(**numbered(*unit())))
    h = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.ReLU())
    theirs = seq(
        **numbered(*unit(), inner),
        h=h,
        stem=nn.Sequential(*unit()),
        layer2=nn.Sequential(nn.Conv2d(3, 4, 1)),
        block=nn.Conv2d(4, 5, 1),
    )
    is_torchs(text, theirs, IMAGE)


def test_blocks_take_several_inputs_settings_and_recipes():
    text = """
    let Gate = Sigmoid
    block Mix(a: f32[N, C], b: f32[N, D], out: int, act: layer = ReLU, layers: list = []) {
      x = cat([a, b], dim=1) -> fc: Linear(out) -> act
      y = b -> Linear(out)
      x * y
      for layer in layers { layer }
    }
    model M(x: f32[N, 4], y: f32[N, 4]) -> f32[N, 6] {
      u = (x, y) -> Mix(5)
      (u, x) -> mix: Mix(6, act=Gate, layers=[Linear(7), Tanh -> Linear(6)])
    }
    """

    class Mix(nn.Module):
        def __init__(self, a, b, out, act, *layers):
            super().__init__()
            self.fc = nn.Linear(a + b, out)
            self.add_module("1", act)
            self.add_module("2", nn.Linear(b, out))
            for position, layer in enumerate(layers):
                self.add_module(str(position + 3), layer)

        def forward(self, a, b):
            m = dict(self._modules)
            x = m.pop("1")(m.pop("fc")(torch.cat([a, b], 1))) * m.pop("2")(b)
            for layer in m.values():
                x = layer(x)
            return x

    first = Mix(4, 4, 5, nn.ReLU())
    second = Mix(5, 4, 6, nn.Sigmoid(), nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 6))
    theirs = Net(lambda m, x, y: m["mix"](m["0"](x, y), x), **{"0": first, "mix": second})
    is_torchs(text, theirs, X, X + 1)


def test_recipes_are_called_again():
    text = """
    block ConvNorm(out: int, k: int = 3, act: layer = ReLU) {
      Conv2d(out, k, padding=k // 2, bias=false) -> BatchNorm2d -> act
    }
    let Unit = ConvNorm(act=SiLU)
    let Thin = Unit(k=1)
    fn pair(n, act=ReLU) = Thin(n) -> act
    model M(x: f32[N, 3, H, W]) {
      Unit(4) -> Thin(5) -> Unit(6, act=none_of(1)) -> pair(2) -> pair(3, act=LeakyReLU(0.2))
    }
    fn none_of(i) = [ReLU, Identity][i]
    """

    def unit(into, out, k, act):
        return nn.Sequential(nn.Conv2d(into, out, k, padding=k // 2, bias=False), nn.BatchNorm2d(out), act)

    theirs = nn.Sequential(
        unit(3, 4, 3, nn.SiLU()),
        unit(4, 5, 1, nn.SiLU()),
        unit(5, 6, 3, nn.Identity()),
        unit(6, 2, 1, nn.SiLU()),
        nn.ReLU(),
        unit(2, 3, 1, nn.SiLU()),
        nn.LeakyReLU(0.2),
    )
    is_torchs(text, theirs, IMAGE)


def test_functions_with_names_of_compile_time_functions_are_recipes_too():
    text = """
    let squash = SiLU -> exp -> sqrt
    block Unit(x: f32[N, C], act: layer = exp) { Linear(C) -> act -> abs }
    model M(x: f32[N, 4]) {
      Unit -> squash -> log -> Unit(act=cos)
      for f in [sqrt, relu] { flow -> f }
      y = flow
      x -> (x, relu) -> { a, b = flow ; c, _ = b -> max(1) ; a * c[:, none] } -> add(round(2.6)) -> add(x -> round)
      flow + y
    }
    """

    def run(m, x):
        first, second = (m[name]._modules["0"] for name in "02")
        y = second(m["1"](first(x).exp().abs()).exp().sqrt().log()).cos().abs().sqrt().relu()
        return x * x.relu().max(1)[0][:, None] + 3 + x.round() + y

    first, second = (nn.Sequential(nn.Linear(4, 4)) for _ in range(2))
    is_torchs(text, Net(run, **numbered(first, nn.SiLU(), second, nn.Sequential())), X)


def test_models_are_blocks_and_made_of_recipes():
    text = """
    model Encoder(x: f32[N, C], width: int) -> f32[N, width] { Plain -> Tanh ; Linear(width) -> Tanh }
    model Plain(x: f32[N, C]) { Linear(C) }
    model Whole(x: f32[N, 4], classes: int = 10, width: int = 8) -> f32[N, classes] {
      enc: Encoder(width) -> head: Linear(classes)
    }
    let narrow = Whole(width=5)
    model Dishes = narrow(classes=3)
    """
    theirs = seq(
        enc=nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 5), nn.Tanh()), head=nn.Linear(5, 3)
    )
    is_torchs(text, theirs, X)


def test_conditions_choose_recipes_branches_and_values():
    text = """
    let deep = true
    block Unit(x: f32[N, C], out: int) {
      skip = x if C == out else (project: Linear(out))
      if out > 4 and not C == 4 { wide: Linear(out) } else if out == 4 { same: Linear(out) -> ReLU }
      else { half = out / 2 ; other: Linear(half) -> Linear(out) }
      flow + skip -> (ReLU if deep else Tanh)
    }
    model M(x: f32[N, 4]) { a: Unit(4) -> b: Unit(6) -> c: Unit(8) }
    """

    def unit(run, **layers):
        layers = {name: layer for name, layer in layers.items() if layer is not None}
        return Net(run, **layers)

    a = unit(lambda m, x: m["1"](m["same"](x).relu() + x), same=nn.Linear(4, 4))
    a.add_module("1", nn.ReLU())
    a.add_module("2", nn.ReLU())
    b = Net(
        lambda m, x: m["3"](m["2"](m["other"](x)) + m["project"](x)),
        project=nn.Linear(4, 6),
        other=nn.Linear(4, 3),
        **{"2": nn.Linear(3, 6), "3": nn.ReLU()},
    )
    c = Net(
        lambda m, x: m["2"](m["wide"](x) + m["project"](x)),
        project=nn.Linear(6, 8),
        wide=nn.Linear(6, 8),
        **{"2": nn.ReLU()},
    )
    is_torchs(text, seq(a=a, b=b, c=c), X)


def test_loops_take_tuples_apart_and_labels_are_built():
    text = """
    let widths = [4, 6, 8]
    model M(x: f32[N, 4]) {
      for i, (out, act) in enumerate(zip(widths[1:], [ReLU, Tanh])) {
        "stage{i + 1}": { Linear(out) -> act }
      }
      for i in range(2) { "head_{i}": Linear(widths[i]) }
    }
    """
    theirs = seq(
        stage1=nn.Sequential(nn.Linear(4, 6), nn.ReLU()),
        stage2=nn.Sequential(nn.Linear(6, 8), nn.Tanh()),
        head_0=nn.Linear(8, 4),
        head_1=nn.Linear(4, 6),
    )
    is_torchs(text, theirs, X)


def test_a_label_used_again_shares_and_takes_no_number():
    text = """
    block Twin(x: f32[N, C]) { Linear(C) -> Tanh }
    model M(x: f32[N, 4], y: f32[N, 4]) {
      a = x -> enc: Linear(4) -> twin: Twin
      b = y -> enc -> twin
      Linear(3)
      c = flow -> { inner: Linear(3) -> inner -> inner }
      norm: BatchNorm1d
      return (a - b, norm, c)
    }
    """

    def run(m, x, y):
        a, b = (m["twin"](m["enc"](v)) for v in (x, y))
        three = m["2"](x)
        inner = m["3"].inner
        c = inner(inner(inner(three)))
        return a - b, m["norm"](m["norm"](three)), c

    theirs = Net(
        run,
        enc=nn.Linear(4, 4),
        twin=nn.Sequential(nn.Linear(4, 4), nn.Tanh()),
        **{"2": nn.Linear(4, 3), "3": seq(inner=nn.Linear(3, 3))},
        norm=nn.BatchNorm1d(3),
    )
    is_torchs(text, theirs, X, X + 1)


def test_parameters_buffers_and_ties():
    text = """
    block Scale(x: f32[N, C]) {
      Linear(C)
      param gain: f32[C] = ones
      buffer shift: f32[C] = 0.5
      flow * gain + shift
    }
    model M(tokens: class(7)[N, T]) {
      param start: f32[1, 1, 4] = normal(std=0.02)
      buffer table: f32[2, 2] = [[1, 2], [3, 4.5]]
      wte: Embedding(7, 4)
      flow + start -> mean(1) -> scale: Scale
      head: Linear(7, bias=false, weight=wte.weight)
      return (flow, table @ table, wte.weight[0])
    }
    """

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(4))
            self.register_buffer("shift", torch.full((4,), 0.5))
            self.add_module("0", nn.Linear(4, 4))

        def forward(self, x):
            return self._modules["0"](x) * self.gain + self.shift

    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = nn.Parameter(torch.zeros(1, 1, 4))
            self.register_buffer("table", torch.tensor([[1, 2], [3, 4.5]]))
            self.wte, self.scale, self.head = nn.Embedding(7, 4), Scale(), nn.Linear(4, 7, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, tokens):
            x = self.head(self.scale((self.wte(tokens) + self.start).mean(1)))
            return x, self.table @ self.table, self.wte.weight[0]

    ours = is_torchs(text, Theirs(), torch.randint(0, 7, (2, 5)))
    assert ours.head.weight is ours.wte.weight
    assert torch.equal(ours.scale.gain, torch.ones(4))


def test_init_rules_the_last_counts_and_outer_ones_come_last():
    text = """
    block Unit(out: int) {
      Linear(out) -> softmax(dim=1) -> fc: Linear(out)
      init "*.bias" = constant(2.0)
      init Linear.weight = eye
      init "fc.bias" = zeros
    }
    model M(x: f32[N, 4]) {
      a: Unit(4) -> b: Unit(4) -> Conv1d_(4)
      init Unit = constant(7.0)
      init "a.*.bias" = constant(3.0)
      init "b.0.weight" = orthogonal
    }
    block Conv1d_(out: int) { unsqueeze(2) -> Conv1d(out, 1) -> squeeze(2) }
    """
    state = lower(model_of(text), seed=0).state_dict()
    found = {key: set(tensor.flatten().tolist()) for key, tensor in state.items()}
    assert found["a.0.bias"] == found["a.fc.bias"] == {3.0}
    assert found["a.0.weight"] == found["b.fc.weight"] == found["b.0.bias"] == found["b.fc.bias"] == {7.0}
    torch.testing.assert_close(state["b.0.weight"] @ state["b.0.weight"].T, torch.eye(4))
    assert len(found["2.0.weight"]) > 1
    state = lower(model_of(text.replace("init Unit = constant(7.0)", "")), seed=0).state_dict()
    assert state["b.0.bias"].tolist() == [2.0] * 4
    assert state["b.fc.bias"].tolist() == [0.0] * 4
    assert torch.equal(state["a.fc.weight"], torch.eye(4))


def test_inline_bodies_use_what_stands_outside():
    text = """
    model M(x: f32[N, 4], mask: bool[N, 1], k: int = 3) {
      wide = Linear(8)
      scale = x -> mean(1, keepdim=true)
      y = wide -> { small: Linear(4) -> { flow * scale -> masked_fill(mask, 0.0) } -> Linear(k) }
      repeat 2 { flow + (y -> mean(1, keepdim=true)) }
      flow * k
    }
    """

    def run(m, x, mask):
        scale = x.mean(1, keepdim=True)
        body = m["1"]
        y = body._modules["2"]((body.small(m["0"](x)) * scale).masked_fill(mask, 0.0))
        for _ in range(2):
            x = x + y.mean(1, keepdim=True)
        return x * 3

    body = seq(small=nn.Linear(8, 4), **{"1": nn.Module(), "2": nn.Linear(4, 3)})
    theirs = Net(run, **{"0": nn.Linear(4, 8), "1": body})
    is_torchs(text, theirs, X, torch.tensor([[True], [False], [True]]))


def test_results_by_name_stay_apart():
    text = """
    block Heads(x: f32[N, C]) -> (a: f32[N, 2], b: f32[N, 3]) { a = Linear(2) ; b = Linear(3) }
    model M(x: f32[N, 4]) -> (recon: f32[N, 4], code: f32[N, 2]) {
      code, rest = Heads
      recon = (code, rest) -> { one, two = flow ; cat([one, two], dim=1) -> Linear(4) }
    }
    """

    def run(m, x):
        heads = m["0"]._modules
        code, rest = heads["0"](x), heads["1"](x)
        return {"recon": m["1"]._modules["0"](torch.cat([code, rest], 1)), "code": code}

    heads = nn.Sequential(nn.Linear(4, 2), nn.Linear(4, 3))
    is_torchs(text, Net(run, **{"0": heads, "1": nn.Sequential(nn.Linear(5, 4))}), X)


def test_imports_bring_names_of_other_files():
    files = {
        "parts/layers.exp": 'import "sizes.exp"\nblock Unit(out: int) { Linear(out * factor) -> act }\n',
        "parts/sizes.exp": "let factor = 2\nlet act = Tanh\n",
    }
    text = """
    from "parts/layers.exp" import Unit
    import "parts/sizes.exp"
    model M(x: f32[N, 4]) { Unit(3) -> Linear(factor) }
    """
    is_torchs(text, nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Linear(6, 2)), X, files=files)


def test_functions_of_the_file_are_computed():
    text = """
    fn divisible(v, d=8) = max(d, (v + d // 2) // d * d)
    fn tower(widths) = Linear(widths[0]) -> (Linear(widths[-1]) if len(widths) > 1 else Identity)
    let total = sum([divisible(w) for_each for_each in [1]]) if false else divisible(17) + round(2.6) + abs(-1)
    model M(x: f32[N, 4]) { Linear(divisible(13)) -> tower([divisible(3, d=2), total]) -> Linear(floor(sqrt(17))) }
    """
    text = text.replace("sum([divisible(w) for_each for_each in [1]]) if false else ", "")
    theirs = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 4), nn.Linear(4, 20), nn.Linear(20, 4))
    is_torchs(text, theirs, X)


def test_where_makes_divisions_exact():
    text = """
    model M(x: f32[N, 3, H, W]) -> f32[N, 3, H, W] where H % 4 == 0, W % 4 == 0 {
      # allow(missing-nonlinearity): the test is about sizes
      down = Conv2d(4, 2, stride=2) -> Conv2d(5, 2, stride=2)
      up = down -> ConvTranspose2d(4, 2, stride=2) -> ConvTranspose2d(3, 2, stride=2)
      up + x
    }
    """

    def run(m, x):
        y = x
        for layer in m.values():
            y = layer(y)
        return y + x

    layers = (
        nn.Conv2d(3, 4, 2, 2),
        nn.Conv2d(4, 5, 2, 2),
        nn.ConvTranspose2d(5, 4, 2, 2),
        nn.ConvTranspose2d(4, 3, 2, 2),
    )
    is_torchs(text, Net(run, **numbered(*layers)), IMAGE)
    assert checked(text).model.conditions == ("H % 4 == 0", "W % 4 == 0")


def test_functions_follow_the_mode_of_the_module():
    text = """
    model M(x: f32[N, 4]) {
      dropout(0.5)
      q = unsqueeze(1)
      (q, q) -> { a, b = flow ; scaled_dot_product_attention(a, b, b, dropout_p=0.5) } -> squeeze(1)
    }
    """

    class Theirs(nn.Module):
        def forward(self, x):
            x = F.dropout(x, 0.5, self.training)[:, None]
            return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5 if self.training else 0.0)[:, 0]

    is_torchs(text, Theirs(), X)
