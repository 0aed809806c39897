"""Digits that a network has made up: `python examples/draw.py RUN PICTURE.png`.

RUN is the directory of a run of `dcgan.exp`, `diffusion.exp` or `vae.exp`.
"""

import json
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

import expc

SIDE = 8


def dcgan(network: nn.Module, count: int) -> Tensor:
    """Noise through the generator."""
    return network.g(torch.randn(count, 64)) / 2 + 0.5


def diffusion(network: nn.Module, count: int, steps: int = 100) -> Tensor:
    """Out of noise alone: what is taken for noise goes bit by bit, and a little new noise comes (Ho et al. 2020)."""
    lost = torch.linspace(1e-3, 0.2, steps)
    kept = torch.cumprod(1 - lost, dim=0)
    image = torch.randn(count, 1, 28, 28)
    for step in reversed(range(steps)):
        noise = network.net(image, torch.full((count,), step))
        image = (image - lost[step] / (1 - kept[step]).sqrt() * noise) / (1 - lost[step]).sqrt()
        if step > 0:
            image = image + lost[step].sqrt() * torch.randn_like(image)
    return image / 2 + 0.5


def vae(network: nn.Module, count: int) -> Tensor:
    """Codes from the prior through the decoder."""
    return network.dec(torch.randn(count, 20)).unflatten(1, (1, 28, 28))


DRAW = {"dcgan": dcgan, "diffusion": diffusion, "vae": vae}


def main(run: Path, picture: Path) -> None:
    """Write `SIDE` times `SIDE` digits that the network of `run` makes to `picture`."""
    name = json.loads((run / "run.json").read_text("utf-8"))["name"]
    network = expc.load_run(run, weights="best" if (run / "best.safetensors").exists() else "final")
    with torch.no_grad():
        digits = DRAW[name](network, SIDE * SIDE)
    pixels = (digits.clamp(0, 1) * 255).byte().reshape(SIDE, SIDE, 28, 28).transpose(1, 2).reshape(SIDE * 28, SIDE * 28)
    Image.fromarray(pixels.numpy()).save(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
