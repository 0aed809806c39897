"""How long a check takes in a process that runs already, as an editor does, and how that grows.

python benchmarks/check_again.py
"""

import gc
import platform
import re
import time
from pathlib import Path
from statistics import median

from expc.compiler.session import check_text

ROOT = Path(__file__).parents[1]
GPT = (ROOT / "examples" / "gpt.exp").read_text("utf-8")


def milliseconds(text: str, repeats: int, errors: int) -> float:
    """The median of several checks of a text that has as many errors as is said."""
    taken = []
    for _ in range(repeats):
        gc.collect()
        started = time.process_time()
        problems = check_text(text, "again.exp").problems
        taken.append((time.process_time() - started) * 1000)
        assert sum(problem.severity == "error" for problem in problems) == errors, problems
    return median(taken)


def long_file(lines: int) -> str:
    """`gpt.exp` with its blocks once more, under other names, until it has that many lines."""
    start, end = GPT.index("block Attention"), GPT.index("model GPT")
    blocks = GPT[start:end]
    copies = (lines - GPT.count("\n")) // blocks.count("\n")
    more = (re.sub(r"\b(Attention|MLP|Layer)\b", rf"\g<1>{number}", blocks) for number in range(copies))
    return GPT[:end] + "".join(more) + GPT[end:]


def deep(layers: int) -> str:
    """A model that unrolls to that many layers."""
    return f"model Deep(x: f32[N, 8]) {{\n  repeat {layers // 2} {{ Linear(8) -> ReLU }}\n}}\n"


def main() -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}; processor milliseconds, median")
    for lines in (50, 300, 1200):
        text = long_file(lines)
        misspelt = text.replace("c_fc: Linear", "c_fc: Liner", 1)
        whole, broken = milliseconds(text, 9, errors=0), milliseconds(misspelt, 9, errors=1)
        print(f"{text.count(chr(10)):6} lines  {whole:8.1f}, with a mistake and its fix {broken:8.1f}")
    for layers in (1_000, 3_000, 10_000, 30_000, 100_000):
        took = milliseconds(deep(layers), 3, errors=0)
        print(f"{layers:6} layers {took:8.1f}, {took / layers * 1000:.0f} us each")


if __name__ == "__main__":
    main()
