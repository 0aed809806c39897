"""Shows in the README what `expc check` prints: as a picture, `check.svg`, and as text.

python docs/images/make.py
"""

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"


def check(*, colour: bool) -> str:
    """What `expc check mistakes.exp` prints, with a time that does not change from drawing to drawing."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "FORCE_COLOR": "1" if colour else ""}
    command = [sys.executable, "-m", "expc", "check", "mistakes.exp"]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 1:
        sys.exit(done.stderr or "the file has no mistakes")
    head, _, _ = done.stdout.rpartition(" · ")
    return f"{head} · 12 ms"


def main() -> None:
    """Write the picture, and the text into the README."""
    lines = Text.from_ansi(check(colour=True))
    width = max(line.cell_len for line in lines.split("\n"))
    console = Console(record=True, width=width + 1, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(lines, soft_wrap=True)
    picture = console.export_svg(title="expc check mistakes.exp", unique_id="check")
    (HERE / "check.svg").write_text(picture, "utf-8")
    shown = f"```text\n{check(colour=False)}\n```"
    README.write_text(re.sub(r"```text\n.*?```", lambda _: shown, README.read_text("utf-8"), flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main()
