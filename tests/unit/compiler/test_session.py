"""Checking again and again in one process, as an editor does."""

import gc
from pathlib import Path

from expc.compiler.session import check_text

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_checks_leave_nothing_behind() -> None:
    text = (EXAMPLES / "gpt.exp").read_text("utf-8")
    counts = []
    for _ in range(12):
        check_text(text, "gpt.exp")
        counts.append(len(gc.get_objects()))
    # Garbage in cycles waits until Python looks for it, which it does on its own: nothing here asks for it.
    assert gc.isenabled()
    assert max(counts[6:]) <= 1.1 * max(counts[:6])
