"""How long `expc check` takes, measured against what it avoids: `python -c "import torch"`.

    python benchmarks/check_startup.py

Both are started in turn, so that whatever else the machine does meets both alike. Both find their bytecode cached, as
after an installation: without it, this would measure how long Python takes to compile expc.
"""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
REPEATS = 9
LIMIT = 0.15

COMMANDS = {
    "expc check examples/mnist.exp": ["-m", "expc", "check", "examples/mnist.exp"],
    'python -c "import torch"': ["-c", "import torch"],
    'python -c "pass"': ["-c", "pass"],
}


def seconds(arguments: list[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


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
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(REPEATS):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    print(machine())
    print(f"\n{'command':32}  median  fastest  slowest  (wall seconds, n = {REPEATS}, interleaved)")
    for name, taken in times.items():
        print(f"{name:32}  {median(taken):6.3f}  {min(taken):7.3f}  {max(taken):7.3f}")
    check, torch, _ = (median(taken) for taken in times.values())
    print(f"\nratio check / import torch: {check / torch:.3f} (limit {LIMIT})")
    sys.exit(0 if check / torch <= LIMIT else 1)


if __name__ == "__main__":
    main()
