"""The networks of `examples/zoo` that torchvision does not have, written in plain PyTorch."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class TextClassifier(nn.Module):
    def __init__(self, vocab: int = 10_000, width: int = 128, hidden: int = 256, classes: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width, padding_idx=0)
        self.add_module("1", nn.Dropout(0.3))
        self.lstm = nn.LSTM(width, hidden, num_layers=2, dropout=0.3, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        _, (h, _) = self.lstm(self.get_submodule("1")(self.embedding(tokens)))
        return self.fc(torch.cat([h[-2], h[-1]], dim=1))


class Encoder(nn.Module):
    def __init__(self, words: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.gru = nn.GRU(width, hidden, bidirectional=True, batch_first=True)
        self.bridge = nn.Linear(2 * hidden, hidden)

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor]:
        states, h = self.gru(self.embedding(source))
        return states, torch.tanh(self.bridge(torch.cat([h[0], h[1]], dim=1)))[None]


class Attention(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.keys = nn.Linear(2 * hidden, hidden, bias=False)
        self.combine = nn.Linear(3 * hidden, hidden, bias=False)

    def forward(self, query: Tensor, states: Tensor, padded: Tensor) -> Tensor:
        scores = query @ self.keys(states).transpose(1, 2)
        weights = scores.masked_fill(padded[:, None], -1e9).softmax(-1)
        return torch.tanh(self.combine(torch.cat([weights @ states, query], dim=2)))


class Seq2Seq(nn.Module):
    def __init__(self, hidden: int = 512) -> None:
        super().__init__()
        self.encoder = Encoder(8000, 256, hidden)
        self.embedding = nn.Embedding(6000, 256)
        self.gru = nn.GRU(256, hidden, batch_first=True)
        self.attention = Attention(hidden)
        self.out = nn.Linear(hidden, 6000)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        states, last = self.encoder(source)
        written, _ = self.gru(F.dropout(self.embedding(target), 0.1, self.training), last)
        attended = self.attention(written, states, source == 0)
        return self.out(F.dropout(attended, 0.1, self.training))


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(100, 512, 4, 1, 0, bias=False), nn.BatchNorm2d(512), nn.ReLU()]
        for before, out in ((512, 256), (256, 128), (128, 64)):
            layers += [nn.ConvTranspose2d(before, out, 4, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for before, out in ((64, 128), (128, 256), (256, 512)):
            layers += [nn.Conv2d(before, out, 4, 2, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 0, bias=False), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        return self.main(image).flatten()


class ImageTower(nn.Module):
    def __init__(self, out: int) -> None:
        super().__init__()
        before = 3
        for number, channels in enumerate((32, 64, 128)):
            self.add_module(str(3 * number), nn.Conv2d(before, channels, 3, stride=2, padding=1, bias=False))
            self.add_module(str(3 * number + 1), nn.BatchNorm2d(channels))
            self.add_module(str(3 * number + 2), nn.ReLU())
            before = channels
        self.projection = nn.Linear(before, out)

    def forward(self, image: Tensor) -> Tensor:
        for number in range(9):
            image = self.get_submodule(str(number))(image)
        return self.projection(image.mean((2, 3)))


class TextTower(nn.Module):
    def __init__(self, out: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5000, 64)
        self.add_module("1", nn.Linear(64, 128))
        self.projection = nn.Linear(128, out)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        keep = mask.float()[:, :, None]
        pooled = (self.embedding(tokens) * keep).sum(1) / keep.sum(1).clamp(min=1)
        return self.projection(F.gelu(self.get_submodule("1")(pooled)))


class TwoTowers(nn.Module):
    def __init__(self, out: int = 64) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(2.66))
        self.image_tower, self.text_tower = ImageTower(out), TextTower(out)

    def forward(self, image: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        a = F.normalize(self.image_tower(image), dim=-1)
        b = F.normalize(self.text_tower(tokens, mask), dim=-1)
        return self.temperature.exp() * a @ b.T


class CausalAttention(nn.Module):
    def __init__(self, width: int, heads: int, p: float) -> None:
        super().__init__()
        self.heads, self.p = heads, p
        self.c_attn, self.c_proj, self.drop = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = (part.reshape(n, t, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.p if self.training else 0.0)
        return self.drop(self.c_proj(y.transpose(1, 2).reshape(n, t, c)))


class TransformerLayer(nn.Module):
    def __init__(self, width: int, heads: int, p: float) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), CausalAttention(width, heads, p), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj, self.drop = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
            nn.Dropout(p),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.drop(self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)))))


class GPT(nn.Module):
    def __init__(self, vocab: int, context: int, width: int, heads: int, depth: int, p: float) -> None:
        super().__init__()
        self.wte, self.wpe, self.drop = nn.Embedding(vocab, width), nn.Embedding(context, width), nn.Dropout(p)
        self.h = nn.ModuleList(TransformerLayer(width, heads, p) for _ in range(depth))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.drop(self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device)))
        for layer in self.h:
            x = layer(x)
        return self.lm_head(self.ln_f(x))


def double_conv(inside: int, out: int) -> nn.Sequential:
    def conv(inside: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]

    return nn.Sequential(*conv(inside), *conv(out))


class Up(nn.Module):
    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inside, inside // 2, 2, stride=2)
        self.conv = double_conv(inside, out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat([skip, self.up(x)], dim=1))


class UNet(nn.Module):
    def __init__(self, classes: int = 21) -> None:
        super().__init__()
        widths = [64, 128, 256, 512, 1024]
        modules = [double_conv(3, 64)]
        modules += [nn.Sequential(nn.MaxPool2d(2), double_conv(w, 2 * w)) for w in widths[:-1]]
        modules += [Up(2 * w, w) for w in reversed(widths[:-1])]
        for place, module in enumerate([*modules, nn.Conv2d(64, classes, 1)]):
            self.add_module(str(place), module)

    def forward(self, x: Tensor) -> Tensor:
        first, *downs = (self.get_submodule(str(place)) for place in range(5))
        skips = [first(x)]
        for down in downs:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for place in range(5, 9):
            x = self.get_submodule(str(place))(x, skips.pop())
        return self.get_submodule("9")(x)
