"""Runs of Lightning, accelerate, the Hugging Face Trainer and expc that are killed and resumed, and what comes of them.

    nice python benchmarks/rival_faults.py [--rival NAME]... [--kills N] [--bytes N]

Each rival (`benchmarks/rivals/resumed_*.py`, a short file each) trains the same small network on the same digits on the
CPU, with one thread, a fixed seed and deterministic algorithms, and saves and resumes as its own documentation says.
Each is compared with itself alone: with its own run that was never killed, which must come out the same bit for bit
when it is run twice.

1. A run of three epochs is killed with SIGKILL in the middle of the second one, seven steps after a checkpoint, and
   resumed; without anything random but the order, with dropout, and with a random shift of each image as well. What is
   compared are the bytes of the final weights and the loss of each step, and which samples an epoch had.
2. One byte of each file of the checkpoint is flipped, the one in the middle and some at random places, one at a time.
   Is it noticed when the run is resumed (an error, or another checkpoint is taken and that is said)?
3. A larger network, which is saved after every step, is killed at random moments. Can it be resumed?
4. The same on a disk (a tmpfs; that needs root) that the second checkpoint does not fit on. There is room again
   afterwards: can it be resumed?
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Self

from train import ENVIRONMENT, FRAMEWORKS, RIVALS, ROOT, machine, make_environment

from expc.frozen import dataclass

MORE = ("transformers==5.23.0", "torchdata==0.11.0")


@dataclass
class Rival:
    """Who is measured."""

    title: str
    script: str
    newest: str
    """Where its checkpoints are, in the folder of a run: those that it takes when it is told to resume."""
    stateful: bool = False

    @property
    def python(self) -> Path | str:
        return sys.executable if self.script == "resumed_expc" else ENVIRONMENT / "bin" / "python"


CHOICES = {
    "lightning": Rival("Lightning", "resumed_lightning", "last*.ckpt"),
    "lightning-stateful": Rival("Lightning, `StatefulDataLoader`", "resumed_lightning", "last*.ckpt", True),
    "accelerate": Rival("accelerate, `skip_first_batches`", "resumed_accelerate", "checkpoint_*"),
    "accelerate-stateful": Rival("accelerate, `use_stateful_dataloader`", "resumed_accelerate", "checkpoint_*", True),
    "trainer": Rival("Hugging Face Trainer", "resumed_transformers", "checkpoint-*"),
    "expc": Rival("expc", "resumed_expc", "checkpoints/step-*"),
}
CHANCE = {"nothing random": (False, False), "dropout": (True, False), "dropout and random shifts": (True, True)}
STEPS, EVERY, KILLED = 120, 10, 57
EPOCH = 40
SAID = re.compile(r"damaged|corrupt|checksum|sha256|does not match", re.IGNORECASE)
"""What a log says of a checkpoint whose fault was noticed, though the run goes on."""


class Lives:
    """The process of a rival, and the folder of the run that it works on."""

    def __init__(self, rival: Rival, folder: Path) -> None:
        self.rival, self.folder = rival, folder
        self._errors = folder.with_suffix(".errors").open("w")
        self._process = subprocess.Popen(
            [rival.python, RIVALS / f"{rival.script}.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # a life that goes on too, where this script is stopped
        self._process.wait()

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.checkpoints.mkdir(parents=True)

    def begin(self, *, resume: bool = False, die_at: int | None = None, **job: Any) -> int:
        """Begin a life; its process."""
        values = {"steps": STEPS, "every": EVERY, "width": 64, "dropout": True, "crop": True, **job}
        values |= {"folder": str(self.folder), "images": str(ROOT / "examples" / "data"), "resume": resume}
        values |= {"die_at": die_at, "stateful": self.rival.stateful}
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()
        return self._answer()["process"]

    def end(self) -> int:
        """Wait for the end of the life; its exit status."""
        return self._answer()["status"]

    def live(self, **job: Any) -> int:
        """A whole life; its exit status."""
        self.begin(**job)
        return self.end()

    def must(self, status: int, **job: Any) -> None:
        if (found := self.live(**job)) != status:
            sys.exit(f"{self.rival.title} ended with {found}:\n{self.log()[-3000:]}")

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def steps(self) -> list[dict[str, Any]]:
        """What was trained until now, in the order in which it was, repetitions included."""
        path = self.folder / "losses.jsonl"
        lines = path.read_text("utf-8").split("\n") if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def weights(self) -> bytes:
        return (self.folder / "final.safetensors").read_bytes()

    def saved(self) -> bool:
        return any(self.checkpoints.glob(self.rival.newest))

    def newest(self) -> Path:
        """The checkpoint that is taken when the run is resumed."""
        return max(
            self.checkpoints.glob(self.rival.newest),
            key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)],
        )

    def _answer(self) -> dict[str, int]:
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.rival.title} ended:\n{Path(self._errors.name).read_text('utf-8')}")
        return json.loads(line)


def killed(lives: Lives) -> dict[str, str]:
    """The first comparison: a cell for each kind of chance. The last one's folder is left as it was when killed."""
    cells = {}
    for name, (dropout, crop) in CHANCE.items():
        chance = {"dropout": dropout, "crop": crop}
        lives.clear()
        lives.must(0, **chance)
        whole, weights = {one["step"]: one for one in lives.steps()}, lives.weights()
        lives.clear()
        lives.must(0, **chance)
        if lives.weights() != weights:
            sys.exit(f"{lives.rival.title} does not repeat itself: nothing can be compared")
        lives.clear()
        lives.must(-signal.SIGKILL, die_at=KILLED, **chance)
        before = lives.steps()
        keep(lives)
        lives.must(0, resume=True, **chance)
        after = lives.steps()[len(before) :]
        cells[name] = verdict(whole, before, after, weights == lives.weights())
        print(f"{lives.rival.title}, {name}: {cells[name]}", file=sys.stderr)
    return cells


def verdict(whole: dict[int, Any], before: list[Any], after: list[Any], same: bool) -> str:
    """What was different in a resumed run, in words."""
    start = after[0]["step"]
    different = [one["step"] for one in after if one["loss"] != whole[one["step"]]["loss"]]
    if same and not different and after[-1]["step"] == STEPS:
        return f"equal (from step {start})"
    words = ["the same weights" if same else "other weights"]
    words.append(f"losses differ from step {different[0]}" if different else "the losses are equal")
    if start != KILLED - KILLED % EVERY + 1:
        words.append(f"began at step {start}")
    line = {one["step"]: one["rows"] for one in before if one["step"] < start} | {
        one["step"]: one["rows"] for one in after
    }
    counts = Counter(row for step in range(EPOCH + 1, 2 * EPOCH + 1) for row in line.get(step, ()))
    twice = sum(count - 1 for count in counts.values())
    missing = len({row for rows in line.values() for row in rows}) - len(counts)
    if twice or missing:
        words.append(f"{twice} samples of the epoch twice, {missing} never")
    return ", ".join(words)


def keep(lives: Lives) -> None:
    """Keep the folder as it is now."""
    kept = lives.folder.with_suffix(".kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(lives.folder, kept, symlinks=True)


def restore(lives: Lives) -> None:
    shutil.rmtree(lives.folder)
    shutil.copytree(lives.folder.with_suffix(".kept"), lives.folder, symlinks=True)


def flipped(lives: Lives, places: int, draw: random.Random) -> dict[str, Counter[str]]:
    """The second comparison: what became of the flips in each file of the kept checkpoint."""
    restore(lives)
    lives.must(0, resume=True)
    expected = lives.weights()
    restore(lives)
    newest = lives.newest()
    files = sorted(path for path in newest.rglob("*") if path.is_file()) if newest.is_dir() else [newest]
    sizes = {file: file.stat().st_size for file in files}
    found = {}
    for file, size in sizes.items():
        offsets = [size // 2, *(draw.randrange(size) for _ in range(places - 1))]
        found[file.name] = Counter(flip(lives, file, offset, expected) for offset in offsets)
        print(f"{lives.rival.title}, {file.name}: {dict(found[file.name])}", file=sys.stderr)
    return found


def flip(lives: Lives, file: Path, offset: int, expected: bytes) -> str:
    """What comes of one flipped byte when the run is resumed."""
    restore(lives)
    with file.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 0xFF]))
    said = len(lives.log())
    if lives.live(resume=True):
        return "error"
    noticed = "noticed" if SAID.search(lives.log()[said:]) else "unnoticed"
    return f"{noticed}, the same weights" if lives.weights() == expected else f"{noticed}, other weights"


def resumes(lives: Lives, before: int, job: dict[str, Any]) -> int | None:
    """Whether a run that is resumed takes a step: which one, or none."""
    process = lives.begin(resume=True, **job)
    while len(lives.steps()) == before:
        if ended(process):
            lives.end()
            return None
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    lives.end()
    return int(lives.steps()[before]["step"])


def ended(process: int) -> bool:
    """Whether a process is over, buried by its rival or not yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


LARGE = {"width": 4096, "every": 1, "steps": 2000, "dropout": False, "crop": False}


def killed_saving(lives: Lives, kills: int, draw: random.Random) -> Counter[str]:
    """The third comparison."""
    found: Counter[str] = Counter()
    for _ in range(kills):
        lives.clear()
        process = lives.begin(**LARGE)
        while len(lives.steps()) < 4 or not lives.saved():
            if ended(process):
                sys.exit(f"{lives.rival.title} ended:\n{lives.log()[-3000:]}")
            time.sleep(0.005)
        time.sleep(draw.random())
        os.kill(process, signal.SIGKILL)
        lives.end()
        found[after_fault(lives, LARGE)] += 1
        print(f"{lives.rival.title}, killed while saving: {dict(found)}", file=sys.stderr)
    return found


def after_fault(lives: Lives, job: dict[str, Any]) -> str:
    """Whether a run can be resumed, if need be when a person has put an older checkpoint in the place of the newest."""
    before = len(lives.steps())
    step = resumes(lives, before, job)
    if step is not None:
        return "began anew" if step == 1 else "resumed"
    said = lives.log().strip().rpartition("\n")[2][:200]
    print(f"{lives.rival.title}: {said}", file=sys.stderr)
    newest = lives.newest()
    if newest.is_dir():
        shutil.rmtree(newest)
        step = resumes(lives, before, job) if lives.saved() else None
    else:
        newest.unlink()
        for older in lives.checkpoints.iterdir():
            if step is None:
                shutil.copy(older, newest)
                step = resumes(lives, before, job)
    return "nothing left" if step is None else "refused until an older one is chosen by hand"


def full_disk(lives: Lives) -> str:
    """The fourth comparison."""
    lives.clear()
    lives.must(0, **LARGE | {"steps": 3})
    size = sum(path.lstat().st_size for path in lives.newest().rglob("*")) or lives.newest().stat().st_size
    lives.clear()
    copies = 2 if lives.rival.script == "resumed_lightning" else 1  # `last.ckpt` is a copy
    options = f"size={int(size * (copies + 0.5))}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", lives.checkpoints], check=False)
    if mounted.returncode:
        return "not measured"
    try:
        status = lives.live(**LARGE | {"die_at": 30})
        print(f"{lives.rival.title}, full disk: {status}, {lives.log()[-300:]}", file=sys.stderr)
        subprocess.run(["mount", "-o", f"remount,size={size * 20}", lives.checkpoints], check=True)
        how = "goes on training" if status == -signal.SIGKILL else "ends with an error"
        return f"{how}; then {after_fault(lives, LARGE)}"
    finally:
        subprocess.run(["umount", lives.checkpoints], check=True)


def table(title: str, heads: list[str], rows: dict[str, list[str]]) -> None:
    print(f"\n| {title} | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


OUTCOMES = {
    "error": "ended with an error",
    "noticed, the same weights": "said so, the right weights",
    "noticed, other weights": "said so, other weights",
    "unnoticed, the same weights": "silent, the right weights",
    "unnoticed, other weights": "silent, other weights",
}


def of_flips(found: dict[str, Counter[str]]) -> list[str]:
    """The cells of a rival's flips: files noticed whatever byte it was, bytes noticed, and what became of the rest."""
    total: Counter[str] = sum(found.values(), Counter())
    silent = {file: sum(n for what, n in outcomes.items() if "unnoticed" in what) for file, outcomes in found.items()}
    flips, noticed = total.total(), total.total() - sum(silent.values())
    files = sum(not missed for missed in silent.values())
    which = ", ".join(f"`{file}` {missed}" for file, missed in silent.items() if missed)
    return [
        f"{files} of {len(found)}",
        f"{noticed} of {flips} ({noticed / flips:.0%})",
        *(str(total[what]) for what in OUTCOMES),
        which or "none",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rival", choices=CHOICES, action="append")
    parser.add_argument("--kills", type=int, default=20, help="kills while the larger network is saved")
    parser.add_argument("--bytes", type=int, default=5, help="flipped bytes for each file of a checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the runs are; else where temporary files are")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rivals = [CHOICES[name] for name in asked.rival or CHOICES]
    make_environment(*MORE)
    equal, damaged, saved = {}, {}, {}
    for rival in rivals:
        draw = random.Random(asked.seed)
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder, Lives(rival, Path(folder, "run")) as lives:
            equal[rival.title] = list(killed(lives).values())
            damaged[rival.title] = of_flips(flipped(lives, asked.bytes, draw))
            outcomes = killed_saving(lives, asked.kills, draw)
            ways = ", ".join(f"{count} {what}" for what, count in outcomes.most_common())
            saved[rival.title] = [ways or "not measured", full_disk(lives)]
    table(f"killed after step {KILLED}, resumed", list(CHANCE), equal)
    heads = ["files where all are noticed", "bytes noticed", *OUTCOMES.values(), "unnoticed, by file"]
    table("one flipped byte", heads, damaged)
    table("a save that fails", [f"{asked.kills} kills while saving", "a full disk"], saved)
    print(f"\n{machine()}, {', '.join([*FRAMEWORKS[:2], *MORE])}.")


if __name__ == "__main__":
    main()
