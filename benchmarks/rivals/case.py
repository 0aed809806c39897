"""What every rival trains: the same tensors, the same start, the same order of samples, and chunks of steps on command.

`benchmarks/train.py` writes a folder with `data.safetensors` (`x`, `y`, and `order`: the sample numbers of each epoch),
`weights.safetensors` (where training starts) and `case.json`, and starts each rival on it. A rival builds its model,
calls `Chunks()` when it is ready to train and `chunks.step(loss)` after every step; that is where it waits its turn.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.utils.data import DataLoader, Dataset

FOLDER = Path(sys.argv[1])
CASE = json.loads((FOLDER / "case.json").read_text("utf-8"))
"""`name`, `batch`, `lr`, `seed`, `threads`, `chunk` (steps in a chunk), `input` and `output` (shapes of one sample),
`dtype`, and `images` (where torchvision finds the digits)."""

torch.set_num_threads(CASE["threads"])


class Chunks:
    """The other end of `benchmarks/train.py`: trains `chunk` steps for each line that comes, and answers with times."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # frameworks print; standard output is for answers
        self._losses: list[Tensor | float] = []
        self._left = 0
        torch.manual_seed(CASE["seed"])
        self._answer({"ready": True})
        self._wait()

    def step(self, loss: Tensor | float) -> None:
        """One step is done; `loss` stays on the device until the chunk ends."""
        self._losses.append(loss.detach() if isinstance(loss, Tensor) else loss)
        if len(self._losses) == CASE["chunk"]:
            mean = sum(float(loss) for loss in self._losses) / CASE["chunk"]
            self.chunk_done(mean)
            self._losses.clear()

    def chunk_done(self, mean_loss: float) -> None:
        """All steps of a chunk are done: answer, and wait for the next one."""
        seconds, processor = time.perf_counter() - self._started, time.process_time() - self._processor
        self._answer({"seconds": seconds, "processor": processor, "loss": mean_loss})
        self._wait()

    def _answer(self, values: dict[str, object]) -> None:
        print(json.dumps(values), file=self._answers, flush=True)

    def _wait(self) -> None:
        if not sys.stdin.readline():
            os._exit(0)  # nothing more is wanted; frameworks would take an exception for a failure
        self._started, self._processor = time.perf_counter(), time.process_time()


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets, and the order of samples `[epochs, samples]`."""
    data = load_file(FOLDER / "data.safetensors")
    return data["x"], data["y"], data["order"]


def batches(order: Tensor) -> list[Tensor]:
    """The sample numbers of each batch."""
    return [rows for epoch in order for rows in epoch.split(CASE["batch"])]


class _Samples(Dataset[tuple[Tensor, Tensor]]):
    """Prepared tensors, of which a batch is one indexing operation."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self._x, self._y = x, y

    def __len__(self) -> int:
        return len(self._x)

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        return self._x[rows], self._y[rows]


def loader() -> DataLoader[tuple[Tensor, Tensor]]:
    """The quickest DataLoader over prepared tensors, for frameworks that want one."""
    x, y, order = tensors()
    samples = [rows.tolist() for rows in batches(order)]
    own = torch.Generator()  # else it would draw from the one that dropout draws from
    return DataLoader(_Samples(x, y), batch_sampler=samples, collate_fn=_unchanged, generator=own)


def _unchanged(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch


def model() -> nn.Module:
    """The network of the case, with the weights that all start from."""
    net = {"mlp": _mlp, "small": _small, "mnist": _mnist, "gpt": GPT}[CASE["name"]]()
    net.load_state_dict(load_file(FOLDER / "weights.safetensors"))
    return net.train()


def loss_of(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy; of every token, where the outputs are those of tokens."""
    if output.ndim == 3:
        output, target = output.flatten(0, 1), target.flatten()
    return cross_entropy(output, target)


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def _small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


def _mnist() -> nn.Module:
    parts: list[nn.Module] = []
    for channels, out in ((1, 32), (32, 64)):
        parts += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Dropout(0.25), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.c_attn(x).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(n, t, c))


class MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj, self.gelu = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2, self.mlp = nn.LayerNorm(width), MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """nanoGPT's network, at the size that its README trains on a CPU."""

    def __init__(self, vocab: int = 65, context: int = 64, width: int = 128, heads: int = 4, depth: int = 4) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.h:
            x = layer(x)
        return self.lm_head(self.ln_f(x))
