"""Processes of a run that are killed, stopped, or fail, at random moments; and what comes of the run.

    python benchmarks/rank_faults.py --faults 50                   # by turns in 2 and in 4 processes
    python benchmarks/rank_faults.py --faults 5 --only stop-rank --show

Each life is `expc run FILE --cpus N --out DIR --resume auto`, to which one thing happens: while it starts, or at any
moment of training and evaluation. Then the time is taken until the launcher has ended and none of its processes is
left. The same command, given again, must end with weights, best weights and metrics that are, byte for byte, those of
the run in as many processes to which nothing happened. In every other life of faults that torch's launcher mends,
`--max-restarts 2` is given: then the run must end like that by itself.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

from expc.frozen import dataclass, field

ROOT: Final = Path(__file__).parents[1]
TIMEOUT: Final = 8
"""Seconds that a process waits for another one, as the experiment says."""
GRACE: Final = 30
"""Seconds that torch's launcher gives processes to end."""
SLACK: Final = 20
"""Seconds for a machine that does other things too."""
LONGEST: Final = 240
EXPERIMENT: Final = """
extern transform Faulty(role: str): f32[C, H, W] -> f32[C, H, W] = "faulty:Faulty"
data {
  fit, held, _ = MNIST("data") -> split(0.25, 0.05)
  train = fit -> RandomCrop(28, padding=2) -> ToTensor -> Faulty("train")
  val   = held -> ToTensor -> Faulty("val")
  batch = 30
}
model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
  Conv2d(4, 3, bias=false) -> BatchNorm2d -> ReLU -> Flatten -> Dropout(0.2) -> Linear(16) -> ReLU -> Linear(10)
}
train {
  epochs = EPOCHS
  loss = CrossEntropyLoss
  optimizer = AdamW(lr=1e-3)
  metrics = [Accuracy]
  deterministic = true
}
checkpoint { every = 25 steps, keep = 2 }
log { every = 10 steps, graph = false }
distributed { timeout = TIMEOUT s }
"""
FAULTY: Final = '''
import os
import time
from pathlib import Path

TRIGGER = Path(__file__).parent / "trigger"


class Faulty:
    """Does what the file `trigger` says, once, in the process and for the data that it names."""

    def __init__(self, role):
        self.role = role

    def __call__(self, image):
        try:
            what, rank, role = TRIGGER.read_text().split()
        except (FileNotFoundError, ValueError):
            return image
        if role != self.role or rank != os.environ.get("RANK"):
            return image
        TRIGGER.unlink(missing_ok=True)
        if what == "raise":
            raise ValueError("a sample that cannot be read")
        if what == "hang":
            time.sleep(1000)
        return image * float("nan")
'''
FAULTS: Final = {
    "kill-rank": 14,
    "stop-rank": 6,
    "term-rank": 4,
    "usr1-rank": 3,
    "kill-launcher": 6,
    "term-launcher": 5,
    "int-launcher": 3,
    "int-twice": 2,
    "raise-in-evaluation": 3,
    "raise-in-training": 1,
    "nan-in-training": 2,
    "hang-in-evaluation": 1,
}
"""What happens, and how often in fifty lives."""
MENDED: Final = ("kill-rank", "stop-rank", "raise-in-evaluation", "raise-in-training", "hang-in-evaluation")
"""What a restart mends."""
STALLING: Final = ("stop-rank", "hang-in-evaluation")


@dataclass
class Life:
    """A launcher and what it has started."""

    process: subprocess.Popen[str]
    output: Path
    seen: set[int] = field(default_factory=set)
    """Every process that it was seen to have."""

    def ranks(self) -> list[int]:
        """The processes of the run that are there now, by rank."""
        found: dict[int, int] = {}
        for pid in _children(self.process.pid):
            with suppress(OSError, KeyError, ValueError):
                variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
                found[int(dict(each.partition("=")[::2] for each in variables)["RANK"])] = pid
                self.seen.add(pid)
        return [found[rank] for rank in sorted(found)]

    def left(self) -> list[int]:
        """Its processes that are not over, though the launcher is."""
        return [pid for pid in self.seen if _state(pid) not in ("", "Z")]

    def end(self) -> None:
        """Let nothing of it live on."""
        for pid in (self.process.pid, *self.left()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Told:
    """What a life came to."""

    fault: str
    processes: int
    seconds: float
    status: int
    restarted: bool
    equal: bool
    left: int
    said: str


def experiment(folder: Path, epochs: int) -> Path:
    """The file of a campaign, its data and its Python code, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faulty.py").write_text(FAULTY)
    path = folder / "net.exp"
    path.write_text(EXPERIMENT.replace("EPOCHS", str(epochs)).replace("TIMEOUT", str(TIMEOUT)))
    if not (folder / "data").exists():
        (folder / "data").symlink_to(ROOT / "examples" / "data")
    return path


def begin(file: Path, processes: int, out: Path, *options: str) -> Life:
    """Start a run, or go on with it."""
    command = [sys.executable, "-m", "expc", "run", file.name, "--cpus", str(processes), "--out", str(out)]
    output = out.with_suffix(".txt")
    with output.open("a") as written:
        process = subprocess.Popen(
            [*command, "--resume", "auto", *options],
            cwd=file.parent,
            stdout=written,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    return Life(process, output)


def wait(life: Life, seconds: float) -> bool:
    """Whether the launcher ends in so many seconds; notes its processes meanwhile."""
    end = time.monotonic() + seconds
    while life.process.poll() is None:
        life.ranks()
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def undisturbed(file: Path, processes: int) -> tuple[Path, float, float]:
    """The run to which nothing happens: its directory, when it began to learn, and how long it took in all."""
    out = file.parent / f"undisturbed-{processes}"
    shutil.rmtree(out, ignore_errors=True)
    begun = time.monotonic()
    life = begin(file, processes, out)
    learning = 0.0
    while life.process.poll() is None and time.monotonic() - begun < LONGEST:
        if not learning and steps_in(out):
            learning = time.monotonic() - begun
        time.sleep(0.05)
    if life.process.returncode != 0:
        life.end()
        raise SystemExit(f"the run to which nothing happens has failed:\n{life.output.read_text()}")
    return out, learning, time.monotonic() - begun


def happens(fault: str, life: Life, out: Path, chance: random.Random, times: tuple[float, float]) -> None:
    """Wait for a random moment, and do it. Returns where the run is over before."""
    learning, whole = times
    trigger = out.parent / "trigger"
    if fault.partition("-in-")[2]:
        what, _, role = fault.partition("-in-")
        _until_it_learns(life, out)
        time.sleep(chance.uniform(0, (whole - learning) / 3))
        rank = chance.randrange(max(1, len(life.ranks())))
        trigger.write_text(f"{what} {rank} {'val' if role == 'evaluation' else 'train'}")
        while trigger.exists() and life.process.poll() is None:
            time.sleep(0.01)
        return
    if chance.random() < 0.25:  # while it starts
        time.sleep(chance.uniform(0.2, learning))
    else:
        _until_it_learns(life, out)
        time.sleep(chance.uniform(0, (whole - learning) * 0.8))
    number = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM, "int": signal.SIGINT}.get(
        fault.partition("-")[0], signal.SIGUSR1
    )
    ranks = life.ranks()
    while fault.endswith("-rank") and not ranks and life.process.poll() is None:
        time.sleep(0.01)  # it starts them yet: the launcher itself is another fault
        ranks = life.ranks()
    whom = chance.choice(ranks) if fault.endswith("-rank") and ranks else life.process.pid
    with suppress(ProcessLookupError):
        os.kill(whom, number)
        if fault == "int-twice":
            time.sleep(chance.uniform(0.01, 0.5))
            os.kill(whom, number)


def live(
    fault: str, file: Path, processes: int, number: int, chance: random.Random, like: tuple[Path, float, float]
) -> Told:
    """One life: something happens, it ends, and it is begun again until it is finished."""
    reference, *times = like
    out = file.parent / f"life-{number}"
    shutil.rmtree(out, ignore_errors=True)
    (file.parent / "trigger").unlink(missing_ok=True)
    restarting = fault in MENDED and chance.random() < 0.5
    life = begin(file, processes, out, *(("--max-restarts", "2") if restarting else ()))
    try:
        happens(fault, life, out, chance, (times[0], times[1]))
        happened = time.monotonic()
        ended = wait(life, LONGEST)
        while life.left() and time.monotonic() - happened < LONGEST:
            time.sleep(0.05)
        seconds = time.monotonic() - happened
        left = len(life.left()) + (not ended)
        status = life.process.poll()
    finally:
        life.end()
    (file.parent / "trigger").unlink(missing_ok=True)
    said = life.output.read_text()
    if status != 0:
        again = begin(file, processes, out)
        wait(again, LONGEST)
        again.end()
    equal = out.is_dir() and same(out, reference)
    if equal:
        shutil.rmtree(out)
    status = -1 if status is None else status
    return Told(fault, processes, seconds, status, restarting and status == 0, equal, left, said)


def same(one: Path, other: Path) -> bool:
    """Whether two runs have come to the same."""
    names = ("final.safetensors", "best.safetensors", "metrics.jsonl")
    with suppress(OSError):
        return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
    return False


def steps_in(out: Path) -> bool:
    """Whether a run has begun to learn."""
    with suppress(OSError):
        return (out / "metrics.jsonl").stat().st_size > 0
    return False


def table(told: list[Told]) -> str:
    """What happened, how often, the seconds until all was over, and whether the run came to the same."""
    by_fault: dict[tuple[str, bool], list[Told]] = defaultdict(list)
    for each in told:
        by_fault[each.fault, each.restarted].append(each)
    lines = ["| what happens | lives | seconds to the end, median | longest | processes left | same in the end |"]
    lines.append("|---|---|---|---|---|---|")
    for (fault, restarted), lives in sorted(by_fault.items()):
        seconds = [each.seconds for each in lives]
        name = f"{fault}, restarted by the launcher (to the end of the run)" if restarted else fault
        lines.append(
            f"| {name} | {len(lives)} | {statistics.median(seconds):.1f} | {max(seconds):.1f} "
            f"| {sum(each.left for each in lives)} | {sum(each.equal for each in lives)} of {len(lives)} |"
        )
    return "\n".join(lines)


def bad(told: Told) -> bool:
    """Whether something was not as promised."""
    limit = TIMEOUT + GRACE + SLACK if told.fault in STALLING or told.fault.startswith("int") else GRACE + SLACK
    late = told.seconds > (LONGEST if told.restarted else limit)
    return not told.equal or bool(told.left) or late or "Traceback" in told.said


def _until_it_learns(life: Life, out: Path) -> None:
    while not steps_in(out) and life.process.poll() is None:
        life.ranks()
        time.sleep(0.02)


def _children(parent: int) -> list[int]:
    with suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return []


def _state(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def main() -> int:
    """Run a campaign; the exit status says whether all was as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--only", choices=sorted(FAULTS), action="append")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="by default one that is removed at the end")
    parser.add_argument("--show", action="store_true", help="show what each life has said")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # where a shell ignores them for what it starts, the run would too
    folder = options.folder or Path(tempfile.mkdtemp(prefix="rank-faults-"))
    file = experiment(folder.resolve(), options.epochs)
    like = {processes: undisturbed(file, processes) for processes in sorted(set(options.processes))}
    for processes, (_, learning, whole) in like.items():
        print(f"undisturbed in {processes} processes: {whole:.1f} s, learning after {learning:.1f} s", flush=True)
    names = options.only or list(FAULTS)
    drawn = [name for name in names for _ in range(FAULTS[name])] if options.only is None else names * options.faults
    chance.shuffle(drawn)
    told = []
    for number, fault in enumerate((drawn * (options.faults // len(drawn) + 1))[: options.faults]):
        processes = options.processes[number % len(options.processes)]
        for _ in range(3):
            each = live(fault, file, processes, number, chance, like[processes])
            if each.status or each.restarted:
                break  # else the run was over before
        told.append(each)
        mark = "BAD " if bad(each) else ""
        print(
            f"{mark}{number + 1:3} {fault} of {processes}: status {each.status} after {each.seconds:.1f} s, "
            f"{each.left} left, {'the same' if each.equal else 'NOT the same'}"
            + (", restarted" if each.restarted else ""),
            flush=True,
        )
        if options.show or mark:
            print("    " + "\n    ".join(each.said.splitlines()[-30:]), flush=True)
    print(table(told))
    if options.folder is None:
        shutil.rmtree(folder)
    return int(any(map(bad, told)))


if __name__ == "__main__":
    sys.exit(main())
