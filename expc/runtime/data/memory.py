"""How much memory there is for data."""

import os
from pathlib import Path
from typing import Final

import torch

_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


class Memory:
    """What decoded data may take: a share of the memory that is free when the run starts, for each device."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._left: dict[torch.device, int] = {}

    def left(self, device: torch.device) -> int:
        """Bytes that nothing has taken yet."""
        if device not in self._left:
            self._left[device] = int(free(device) * self.share)
        return self._left[device]

    def take(self, device: torch.device, size: int) -> None:
        """Note that `size` bytes are used."""
        self._left[device] = self.left(device) - size


def free(device: torch.device) -> int:
    """Bytes that are free on the device; for a processor, what Linux says is available within the process's limits."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    lines = (line.split() for line in _text("/proc/meminfo").splitlines())
    available = next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), available)
    limit, used = _text("/sys/fs/cgroup/memory.max"), _text("/sys/fs/cgroup/memory.current")
    if limit.strip().isdecimal() and used.strip().isdecimal():
        available = min(available, int(limit) - int(used))
    return available


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except OSError:
        return ""


def shown(size: float) -> str:
    """A number of bytes for people: `213 MiB`."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:,.0f} {_UNITS[unit]}" if size >= 10 or unit == 0 else f"{size:.1f} {_UNITS[unit]}"
