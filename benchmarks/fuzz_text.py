"""The checker on texts that are hardly programs: never a traceback, never more than two seconds, memory bounded.

python benchmarks/fuzz_text.py --texts 100000 --seed 0

Text `n` of a seed is always the same, so a part can be run again by `--first`. Exit status 1 says that one failed.
"""

import argparse
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzz.draw import RandomDraw
from fuzz.text import text

from expc.compiler.session import check_text

MOST_SECONDS = 2.0
GIVE_UP = 30
MEMORY = 2 << 30


class TooSlowError(BaseException):
    """A text takes for ever."""


def stop(*_: object) -> None:
    raise TooSlowError


def outcome(given: str) -> str:
    """What the checker says: its first error, or that there is none."""
    signal.alarm(GIVE_UP)
    try:
        checked = check_text(given)
    except TooSlowError:
        return "gave up"
    except Exception:  # noqa: BLE001 - any exception is what is looked for
        return "traceback\n" + traceback.format_exc(limit=-6)
    finally:
        signal.alarm(0)
    errors = [problem.code for problem in checked.problems if problem.severity == "error"]
    return errors[0] if errors else "no error"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz-text"), help="where failures are written")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, stop)
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    slowest, failed, started = (0.0, 0, ""), 0, time.monotonic()
    for number in range(asked.first, asked.first + asked.texts):
        kind, given = text(RandomDraw(f"{asked.seed}:{number}"), number)
        before = time.process_time()
        found = outcome(given)
        took = time.process_time() - before
        outcomes[found.partition("\n")[0]] += 1
        kinds[kind] += 1
        slowest = max(slowest, (took, number, kind))
        if took > MOST_SECONDS or found.startswith(("traceback", "gave up")):
            failed += 1
            asked.out.mkdir(parents=True, exist_ok=True)
            (asked.out / f"{asked.seed}-{number}.exp").write_text(given, "utf-8", "replace")
            print(f"\n{asked.seed}:{number} ({kind}), {took:.1f} s: {found}\n{given[:300]}", flush=True)
        if (number + 1 - asked.first) % 5000 == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{number + 1 - asked.first:7} texts, {failed} failed, peak {peak:.0f} MiB", flush=True)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{asked.texts} texts in {seconds:.0f} s, {', '.join(f'{n} {kind}' for kind, n in kinds.items())}")
    for code, count in outcomes.most_common():
        print(f"{count:8} {code}")
    took, number, kind = slowest
    print(f"slowest: {took:.2f} s, text {asked.seed}:{number} ({kind}); peak memory {peak:.0f} MiB; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
