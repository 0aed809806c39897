"""Processes that are stopped when nobody waits for them any more are ended by who started them."""

import os
import signal
import subprocess
import sys
import time

from expc.runtime.distributed.reports import BEAT, FOLDER, LAUNCHER, Watch, last_seen

CHILD = """
import time
from expc.runtime.distributed.reports import Report
Report({rank}).begin()
time.sleep(60)
"""


def child(folder, rank):
    environment = {**os.environ, FOLDER: str(folder), LAUNCHER: str(os.getpid())}
    return subprocess.Popen([sys.executable, "-c", CHILD.format(rank=rank)], env=environment)


def test_a_stopped_process_is_killed_and_a_living_one_is_not(tmp_path):
    stopped, living = child(tmp_path, 0), child(tmp_path, 1)
    try:
        until = time.monotonic() + 30
        while any((seen := last_seen(tmp_path, rank)) is None or not seen.process for rank in (0, 1)):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert [last_seen(tmp_path, rank).process for rank in (0, 1)] == [stopped.pid, living.pid]
        stopped.send_signal(signal.SIGSTOP)
        with Watch(tmp_path, 5 * BEAT):
            assert stopped.wait(timeout=30) == -signal.SIGKILL
            assert living.poll() is None
    finally:
        for process in (stopped, living):
            process.kill()
            process.wait()


def test_a_process_of_somebody_else_is_left_alone(tmp_path):
    """Its number may be that of one that has ended long ago."""
    other = child(tmp_path, 0)
    try:
        until = time.monotonic() + 30
        while (seen := last_seen(tmp_path, 0)) is None or not seen.process:
            assert time.monotonic() < until
            time.sleep(0.1)
        other.send_signal(signal.SIGSTOP)
        code = f"""
import time
from pathlib import Path
from expc.runtime.distributed.reports import Watch
with Watch(Path({str(tmp_path)!r}), 1.0):
    time.sleep(4)
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
