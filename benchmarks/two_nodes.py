"""Two machines on one: a run whose two launchers live in network namespaces of their own, joined by a cable.

    sudo python benchmarks/two_nodes.py                     # all of it, some minutes
    sudo python benchmarks/two_nodes.py --only together     # what one process learns, learnt by two machines

Each namespace has an address, 10.77.0.1 and 10.77.0.2, an interface, and a loopback of its own, so that nothing but
the cable leads from one to the other. The disk is one, as a run wants it. `together` trains on both; `lost` kills all
on the second machine in the middle; `cut` pulls the cable; `back` starts the second machine again after it was lost;
`host` kills all on the machine where the others meet. Prints what happened, and after how many seconds.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from rank_faults import EXPERIMENT, FAULTY, ROOT, TIMEOUT

PORT: Final = 29_400
ADDRESSES: Final = ("10.77.0.1", "10.77.0.2")
LONGEST: Final = 240.0
"""Seconds after which something hangs."""


class Impossible(Exception):
    """The kernel makes no namespaces here."""


class Node:
    """A machine: its namespace, and the launcher that runs in it."""

    def __init__(self, number: int, tag: str) -> None:
        self.number = number
        self.name = f"expc-{tag}-{number}"
        self.link = f"e{tag}{number}"
        self.process: subprocess.Popen[str] | None = None
        self.log = Path()

    def run(self, file: Path, out: Path, *options: str) -> None:
        """Start its launcher."""
        self.log = out.with_suffix(f".{self.number}.txt")
        command = ["ip", "netns", "exec", self.name, sys.executable, "-m", "expc", "run", file.name]
        with self.log.open("a") as written:
            self.process = subprocess.Popen(
                [*command, "--cpus", "1", "--rdzv", f"{ADDRESSES[0]}:{PORT}", "--out", str(out), *options],
                cwd=file.parent,
                stdout=written,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    @property
    def said(self) -> str:
        """All that its launcher and its processes have written."""
        with suppress(OSError):
            return self.log.read_text()
        return ""

    def wait(self, seconds: float = LONGEST) -> int | None:
        """The exit status of its launcher; none where it has not ended by then."""
        assert self.process is not None
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def lose(self) -> None:
        """Kill everything that runs on it, as where its power fails: all at once."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        for pid in map(int, found.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def cable(self, state: str) -> None:
        """Put its end of the cable `up` or `down`."""
        _ip("-n", self.name, "link", "set", self.link, state)


@contextmanager
def two_nodes() -> Iterator[tuple[Node, Node]]:
    """Two machines, joined by a cable. Raises `Impossible` where the kernel refuses."""
    tag = f"{os.getpid() % 100_000}"
    nodes = Node(0, tag), Node(1, tag)
    try:
        try:
            for node in nodes:
                _ip("netns", "add", node.name)
            _ip("link", "add", nodes[0].link, "type", "veth", "peer", "name", nodes[1].link)
            for node, address in zip(nodes, ADDRESSES, strict=True):
                _ip("link", "set", node.link, "netns", node.name)
                _ip("-n", node.name, "addr", "add", f"{address}/24", "dev", node.link)
                _ip("-n", node.name, "link", "set", "lo", "up")
                node.cable("up")
        except (OSError, subprocess.CalledProcessError) as error:
            raise Impossible(str(getattr(error, "stderr", "") or error).strip()) from error
        yield nodes
    finally:
        for node in nodes:
            with suppress(OSError, subprocess.CalledProcessError):
                node.lose()
            if node.process is not None:
                node.process.wait()
            with suppress(OSError):
                subprocess.run(["ip", "netns", "del", node.name], capture_output=True, check=False)


def together(file: Path, nodes: tuple[Node, Node]) -> bool:
    """Both train, and come to what one process comes to."""
    alone = file.parent / "alone"
    command = [sys.executable, "-m", "expc", "run", file.name, "--out", str(alone), "--device", "cpu"]
    subprocess.run(
        command, cwd=file.parent, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    out, begun = file.parent / "together", time.monotonic()
    for node in nodes:
        node.run(file, out, "--nodes", "2")
    statuses = [node.wait() for node in nodes]
    print(f"together: exit statuses {statuses} after {time.monotonic() - begun:.1f} s")
    far = _distance(out, alone) if statuses == [0, 0] else None
    print(f"together: {_facts(out).get('processes')} processes; losses differ from those of one process by {far}")
    return far is not None and far < 1e-4


def lost(file: Path, nodes: tuple[Node, Node]) -> bool:
    """The second machine is gone: the first goes on alone."""
    return _without_second(file, nodes, "lost", nodes[1].lose)


def cut(file: Path, nodes: tuple[Node, Node]) -> bool:
    """The cable is pulled: the first goes on alone, and the second ends."""
    try:
        went_on = _without_second(file, nodes, "cut", lambda: nodes[1].cable("down"))
    finally:
        nodes[1].cable("up")
    return went_on


def back(file: Path, nodes: tuple[Node, Node]) -> bool:
    """The second machine is gone, and comes again: both go on."""
    out = file.parent / "back"
    options = ("--nodes", "1:2", "--max-restarts", "3")
    for node in nodes:
        node.run(file, out, *options)
    if not _until(lambda: _steps(out) > 60):
        return _hangs("back", nodes)
    nodes[1].lose()
    happened = time.monotonic()
    if not _until(lambda: "going on from step" in nodes[0].said):
        return _hangs("back", nodes)
    print(f"back: the first machine goes on alone after {time.monotonic() - happened:.1f} s")
    nodes[1].run(file, out, *options)
    happened = time.monotonic()
    if not _until(lambda: nodes[0].said.count("going on from step") > 1):
        return _hangs("back", nodes)
    print(f"back: both go on {time.monotonic() - happened:.1f} s after the second has come again")
    statuses = [node.wait() for node in nodes]
    processes = _facts(out).get("processes")
    print(f"back: exit statuses {statuses}, at last {processes} processes, status {_facts(out).get('status')}")
    return statuses == [0, 0] and processes == 2 and _facts(out).get("status") == "finished"


def host(file: Path, nodes: tuple[Node, Node]) -> bool:
    """The machine where the others meet is gone: the other one ends, and says so."""
    out = file.parent / "host"
    for node in nodes:
        node.run(file, out, "--nodes", "1:2", "--max-restarts", "3")
    if not _until(lambda: _steps(out) > 60):
        return _hangs("host", nodes)
    nodes[0].lose()
    happened = time.monotonic()
    status = nodes[1].wait()
    print(f"host: the other machine ends with status {status} after {time.monotonic() - happened:.1f} s")
    print("    " + "\n    ".join(nodes[1].said.splitlines()[-8:]))
    return status == 1


def _without_second(file: Path, nodes: tuple[Node, Node], name: str, happens: Callable[[], None]) -> bool:
    out = file.parent / name
    for node in nodes:
        node.run(file, out, "--nodes", "1:2", "--max-restarts", "3")
    if not _until(lambda: _steps(out) > 60):
        return _hangs(name, nodes)
    happens()
    happened = time.monotonic()
    if not _until(lambda: "going on from step" in nodes[0].said):
        return _hangs(name, nodes)
    print(f"{name}: the first machine goes on alone after {time.monotonic() - happened:.1f} s")
    second = nodes[1].wait()
    print(
        f"{name}: the second machine has ended with status {second} after {time.monotonic() - happened:.1f} s at most"
    )
    if name != "lost":
        print("    " + "\n    ".join(nodes[1].said.splitlines()[-8:]))
    first = nodes[0].wait()
    facts = _facts(out)
    print(f"{name}: the first ends with status {first}: {facts.get('status')}, {facts.get('processes')} process")
    return first == 0 and second is not None and facts.get("status") == "finished" and facts.get("processes") == 1


def _hangs(name: str, nodes: tuple[Node, Node]) -> bool:
    print(f"{name}: nothing happened in {LONGEST:.0f} s, or it ended")
    for node in nodes:
        print(f"    machine {node.number}:\n        " + "\n        ".join(node.said.splitlines()[-25:]))
    return False


def _until(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + LONGEST
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _steps(out: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"])
    return 0


def _facts(out: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads((out / "run.json").read_text()))
    return {}


def _distance(one: Path, other: Path) -> float:
    """The largest difference of losses that are logged at the same time."""
    here, there = (
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()] for out in (one, other)
    )
    assert len(here) == len(there), f"{len(here)} and {len(there)} entries"
    return max(abs(mine["loss"] - yours["loss"]) for mine, yours in zip(here, there, strict=True))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def main() -> int:
    """Play what was asked for; the exit status says whether all was as promised, 77 that it cannot be tried here."""
    plays = {"together": together, "lost": lost, "cut": cut, "back": back, "host": host}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=plays, action="append")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="two-nodes-"))
    (folder / "faulty.py").write_text(FAULTY)
    (folder / "data").symlink_to(ROOT / "examples" / "data")
    good = True
    try:
        for name in options.only or plays:
            file = folder / "net.exp"
            epochs = 1 if name == "together" else options.epochs
            file.write_text(
                EXPERIMENT.replace("EPOCHS", str(epochs)).replace("TIMEOUT s", f"{TIMEOUT} s, sync_batchnorm = true")
            )
            with two_nodes() as nodes:
                good = plays[name](file, nodes) and good
    except Impossible as error:
        print(f"no network namespaces here: {error}")
        return 77
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
