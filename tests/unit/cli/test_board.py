"""`expc board`: TensorBoard over a folder of runs, until Ctrl-C."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request

from expc.cli import invoke


def test_it_serves_the_runs_of_a_folder_until_ctrl_c(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "first" / "tensorboard")) as writer:
        writer.add_scalar("train/loss", 1.5, 1)
    started = [sys.executable, "-m", "expc", "board", str(tmp_path)]
    # Where the tests themselves run in the background, Ctrl-C is ignored, and who is started there would inherit it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        line = process.stdout.readline()
        address = re.search(r"at (http://localhost:\d+) until Ctrl-C", line).group(1)
        with urllib.request.urlopen(f"{address}/data/environment", timeout=30) as answer:
            assert str(tmp_path) in answer.read().decode()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert errors.strip() in ("", "Aborted!")


def test_a_folder_that_is_none_is_wrong_usage(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for name, words in (("nowhere", "does not exist"), ("file", "is a file, not a folder of runs")):
        assert invoke(["board", str(tmp_path / name)]) == 2
        assert words in capsys.readouterr().err


def test_a_port_that_is_taken_and_a_package_that_is_missing_have_codes(tmp_path, capsys, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert invoke(["board", str(tmp_path), "--port", str(port)]) == 1
    assert f"E0846 port-taken]: cannot listen on port {port}" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert invoke(["board", str(tmp_path)]) == 1
    shown = capsys.readouterr().err
    assert "E0845 tensorboard-missing]" in shown
    assert "pip install tensorboard" in shown
