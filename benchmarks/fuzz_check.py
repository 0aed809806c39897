"""The checker against torch on random programs: verdicts and every type on the way, on torch's meta device.

python benchmarks/fuzz_check.py --programs 100000 --seed 0 --jobs 2 --out build/fuzz

A line is printed every thousand programs. Program `n` of a seed is always the same for one table of operators, so a
part can be run again or gone on with by `--first`. Exit status 1 says that checker and torch disagree somewhere.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from fuzz import campaign
from fuzz.calls import strict_warnings, table

PART = 250


def prepare() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    strict_warnings()


def part(first: int, count: int, seed: int) -> campaign.Tally:
    return campaign.run(first, count, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where disagreements are written")
    asked = parser.parse_args()
    last = asked.first + asked.programs
    parts = [(first, min(PART, last - first)) for first in range(asked.first, last, PART)]
    total, started = campaign.Tally(), time.monotonic()
    with ProcessPoolExecutor(asked.jobs, get_context("spawn"), prepare) as pool:
        found = pool.map(part, *zip(*((first, count, asked.seed) for first, count in parts), strict=True))
        for (first, count), tally in zip(parts, found, strict=True):
            total.add(tally)
            for number, verdict in tally.failures:
                asked.out.mkdir(parents=True, exist_ok=True)
                text = f"# {asked.seed}:{number} {verdict.outcome}: {verdict.why}\n{verdict.text}"
                (asked.out / f"{asked.seed}-{number}.exp").write_text(text, "utf-8")
                print(f"\n{text}", flush=True)
            if total.programs % 1000 < PART:
                rate = total.programs / (time.monotonic() - started)
                done = first + count - asked.first
                print(f"{done:7} programs, {len(total.failures)} disagreements, {rate:.0f} a second", flush=True)
    report(total, time.monotonic() - started, asked.jobs)
    return 1 if total.failures else 0


def report(total: campaign.Tally, seconds: float, jobs: int) -> None:
    """What came of all programs."""
    names = set(table())
    print(f"\n{total.programs} programs in {seconds:.0f} s ({jobs} jobs): {total.programs / seconds:.0f} a second")
    for outcome, count in total.outcomes.most_common():
        print(f"{count:8} {outcome}")
    print(f"{len(names & total.accepted.keys())} of {len(names)} operators in programs that both accept")
    never = sorted(names - total.accepted.keys())
    if never:
        print(f"never accepted: {', '.join(never)}")
    print(f"{len(total.failures)} disagreements")


if __name__ == "__main__":
    sys.exit(main())
