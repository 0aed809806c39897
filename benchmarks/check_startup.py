"""How long `expc check` takes, measured against what it avoids: `python -c "import torch"`.

    python benchmarks/check_startup.py

All commands are started in turn, so that whatever else the machine does meets all alike. They find their bytecode
cached, as after an installation: without it, this would measure how long Python takes to compile expc. Wall time is
what the limit is about; processor time (user and system, the least of all starts) is what a busy machine changes least.
"""

import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
REPEATS = 9
LIMIT = 0.15

TORCH = 'python -c "import torch"'
COMMANDS = {
    "expc check examples/mnist.exp": ["-m", "expc", "check", "examples/mnist.exp"],
    "expc check examples/gpt.exp": ["-m", "expc", "check", "examples/gpt.exp"],
    "expc check examples/zoo/resnet50.exp": ["-m", "expc", "check", "examples/zoo/resnet50.exp"],
    'python -c "import pydantic.main"': ["-c", "import pydantic.main"],
    'python -c "pass"': ["-c", "pass"],
    TORCH: ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one start."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, started = _processor(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started, _processor() - before


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.machine()
    load = os.getloadavg()[0]
    return f"{processor}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"


def main() -> None:
    for arguments in COMMANDS.values():
        seconds(arguments)  # once, so that bytecode is compiled and files are in the cache
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(REPEATS):
        for name, arguments in COMMANDS.items():
            starts[name].append(seconds(arguments))
    walls = {name: median(wall for wall, _ in taken) for name, taken in starts.items()}
    processors = {name: min(processor for _, processor in taken) for name, taken in starts.items()}
    print(machine())
    print(f"\nseconds, n = {REPEATS}, interleaved; in brackets the ratio to importing torch")
    print(f"{'command':38} {'wall, median':>15} {'processor, least':>18}")
    for name in COMMANDS:
        wall = f"{walls[name]:.3f} ({walls[name] / walls[TORCH]:.3f})"
        processor = f"{processors[name]:.3f} ({processors[name] / processors[TORCH]:.3f})"
        print(f"{name:38} {wall:>15} {processor:>18}")
    ratio = max(walls[name] for name in COMMANDS if name.startswith("expc check")) / walls[TORCH]
    print(f"\nslowest check / import torch: {ratio:.3f} (limit {LIMIT})")
    sys.exit(0 if ratio <= LIMIT else 1)


if __name__ == "__main__":
    main()
