"""Every example, changed in every small way: does the checker say about each what torch does.

python benchmarks/mutants.py [--limit N] [--seed S] [--jobs J] [FILE ...]

Each number is moved, each name replaced by another one, each argument dropped, doubled, renamed or swapped, each line
removed, doubled or swapped with the next. The checker's verdict (errors; a warning is none) is compared with that of
`tests/oracle`, which runs the program with torch itself, as far as a step back from the loss.

`torch` and `language`: both refuse, for what torch says or for a rule of the language, such as that of unused names;
`accepted`: both accept. `false alarm`: only the checker refuses; `missed`: only the oracle does; `crash`: a traceback
of the checker. `open`: the oracle does not know some part of the program; these are shown, and no part of precision
(how many of the refused are wrong) and recall (how many of the wrong are refused). Nor are `lint`, which a lint calls
an error though torch runs it, and `unreadable`, which the grammar refuses: both sides read with the same parser.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from expc.compiler.session import check_text  # noqa: E402
from expc.diagnostics import Problem, Source  # noqa: E402
from expc.frozen import dataclass  # noqa: E402
from expc.spec.lexing import lex  # noqa: E402

FILES = (
    *(ROOT / "examples" / f"{name}.exp" for name in ("mnist", "resnet18", "gpt", "unet", "vae")),
    *sorted((ROOT / "examples" / "zoo").glob("*.exp")),
)

OTHER_OPERATORS = {
    "Conv2d": ("ConvTranspose2d", "Conv1d", "Linear"),
    "ConvTranspose2d": ("Conv2d",),
    "Linear": ("Conv2d", "Embedding", "LayerNorm"),
    "BatchNorm2d": ("BatchNorm1d", "LayerNorm", "InstanceNorm2d", "BatchNorm3d"),
    "LayerNorm": ("BatchNorm1d", "BatchNorm2d"),
    "ReLU": ("GELU", "PReLU", "GLU"),
    "GELU": ("ReLU", "GLU"),
    "Sigmoid": ("Tanh", "Softmax"),
    "MaxPool2d": ("AvgPool2d", "MaxPool1d", "AdaptiveMaxPool2d"),
    "AdaptiveAvgPool2d": ("AvgPool2d", "AdaptiveAvgPool1d"),
    "Flatten": ("Identity", "ReLU"),
    "Dropout": ("Dropout2d",),
    "Embedding": ("Linear", "EmbeddingBag"),
    "LSTM": ("GRU", "RNN"),
    "GRU": ("LSTM", "RNN"),
    "flatten": ("relu", "unsqueeze"),
    "cat": ("stack",),
    "transpose": ("unflatten",),
    "exp": ("log",),
    "sum": ("mean", "cumsum"),
    "mean": ("sum",),
    "AdamW": ("SGD", "Adam", "StepLR"),
    "Adam": ("SGD", "Adagrad"),
    "CosineAnnealingLR": ("StepLR", "ExponentialLR", "AdamW"),
    "CrossEntropyLoss": ("NLLLoss", "MSELoss", "BCEWithLogitsLoss"),
    "MNIST": ("CIFAR10", "FashionMNIST"),
    "Accuracy": ("MeanSquaredError", "Perplexity"),
    "normal": ("kaiming_normal", "zeros", "xavier_uniform"),
    "f32": ("i64", "f64"),
    "i64": ("f32", "i32"),
}
"""What stands for a name besides the other names of the file."""


CRASH = "crash"


@dataclass(frozen=True)
class Mutant:
    """One changed program."""

    file: str
    what: str
    text: str


@dataclass(frozen=True)
class Judged:
    """A mutant with both verdicts. `checker` are the codes of the checker's errors."""

    mutant: Mutant
    checker: tuple[str, ...]
    message: str
    oracle: str
    rule: str
    only_lints: bool = False

    @property
    def outcome(self) -> str:
        """Where it stands in the table."""
        refused = self.oracle not in ("right", "open")
        if CRASH in self.checker:
            return CRASH
        if self.oracle == "open":
            return "open"
        if self.oracle == "syntax" and self.checker:
            return "unreadable"
        if self.only_lints and not refused:
            return "lint"
        if refused == bool(self.checker):
            return self.oracle if refused else "accepted"
        return "false alarm" if self.checker else "missed"


# ---------------------------------------------------------------------------------------------------- mutations


def mutants(path: Path) -> list[Mutant]:
    """Every mutant of a file, each text once, in a fixed order."""
    text = path.read_text("utf-8")
    found: dict[str, str] = {}
    for what, changed in (*_tokens(text), *_arguments(text), *_lines(text)):
        if changed != text:
            found.setdefault(changed, what)
    return [Mutant(path.stem, what, changed) for changed, what in found.items()]


def _put(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    tokens = [token for token in lex(Source("mutant.exp", text))[0] if text[token.start : token.end].strip()]
    names = sorted({text[t.start : t.end] for t in tokens if text[t.start : t.end].isidentifier()})
    chooser = random.Random(0)
    for token in tokens:
        word = text[token.start : token.end]
        others = [name for name in names if name != word and name[0].isupper() == word[0].isupper()]
        for new in _instead(word, chooser.sample(others, min(2, len(others)))):
            yield f"{word} -> {new or 'nothing'}", _put(text, token.start, token.end, new)


def _instead(word: str, others: Sequence[str]) -> Iterator[str]:
    """What may stand instead of a token; `others` are names of the file."""
    if word.replace("_", "").isdigit():
        value = int(word.replace("_", ""))
        yield from (str(value + 1), str(value - 1), str(value * 2), str(value // 2), "0", "-1", str(value / 2))
    elif word[0].isdigit():
        value = float(word)
        yield from (str(value * 2), str(value + 1), "0", "0.0", "-1", "-1.0", str(int(value + 1)))
    elif word in ("true", "false"):
        yield from ("false" if word == "true" else "true", "none", "1")
    elif word in ("+", "-", "*", "/", "//", "**", "@", "%"):
        yield from (other for other in ("+", "-", "*", "/", "//", "@", "%") if other != word)
    elif word in ("==", "<=", "<", ">", ">=", "!="):
        yield from (other for other in ("==", "<=", "<", ">", ">=", "!=") if other != word)
    elif word == "->":
        yield from ("+", "\n")
    elif word.isidentifier():
        yield from OTHER_OPERATORS.get(word, ())
        yield word[:-1] + "x" if word[-1:] != "x" else word + "y"
        yield from others
    elif word[0] in "\"'":
        inner = word[1:-1]
        yield f'"{inner}x"'
        yield f'"{inner[1:]}"'


def _arguments(text: str) -> Iterator[tuple[str, str]]:
    for start, end in _calls(text):
        parts = _split(text, start, end)
        if not parts:
            continue
        words = [text[a:b].strip() for a, b in parts]

        def joined(words: Iterable[str], start: int = start, end: int = end) -> str:
            return _put(text, start, end, ", ".join(words))

        for i, word in enumerate(words):
            yield f"argument {word} dropped", joined(words[:i] + words[i + 1 :])
            yield f"argument {word} twice", joined([*words[: i + 1], *words[i:]])
            name, sign, value = word.partition("=")
            if sign and name.strip().isidentifier() and not value.startswith("="):
                yield f"argument {word} renamed", joined([*words[:i], f"{name.strip()}s={value}", *words[i + 1 :]])
                yield f"argument {word} unnamed", joined([*words[:i], value.strip(), *words[i + 1 :]])
        for i in range(len(words) - 1):
            swapped = [*words[:i], words[i + 1], words[i], *words[i + 2 :]]
            yield f"arguments {words[i]}, {words[i + 1]} swapped", joined(swapped)


def _calls(text: str) -> Iterator[tuple[int, int]]:
    """Where the insides of brackets stand."""
    opened: list[int] = []
    quoted = comment = False
    for position, character in enumerate(text):
        comment = character != "\n" and (comment or (character == "#" and not quoted))
        if comment:
            continue
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "([":
            opened.append(position)
        elif not quoted and character in ")]" and opened:
            yield opened.pop() + 1, position


def _split(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The parts between the commas of a bracket."""
    parts, depth, quoted, begin = [], 0, False, start
    for position in range(start, end):
        character = text[position]
        if character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and not depth:
            parts.append((begin, position))
            begin = position + 1
    return [(a, b) for a, b in [*parts, (begin, end)] if text[a:b].strip()]


def _lines(text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines(keepends=True)
    for i, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        yield f"line {i + 1} removed", "".join(lines[:i] + lines[i + 1 :])
        yield f"line {i + 1} twice", "".join([*lines[: i + 1], *lines[i:]])
        if i + 1 < len(lines) and lines[i + 1].strip():
            yield f"lines {i + 1} and {i + 2} swapped", "".join([*lines[:i], lines[i + 1], line, *lines[i + 2 :]])


# ---------------------------------------------------------------------------------------------------- judging


def judge(mutant: Mutant) -> Judged:
    """Both verdicts on one mutant."""
    from oracle import verdict

    found = verdict(mutant.text, f"{mutant.file}.exp")
    rule = f"{found.rule}: {found.message}"
    try:
        checked = check_text(mutant.text, f"{mutant.file}.exp")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a bug to be counted
        return Judged(mutant, (CRASH,), repr(error), found.kind, rule)
    errors = [problem for problem in checked.problems if problem.severity == "error"]
    message = errors[0].message if errors else ""
    only_lints = bool(errors) and all(map(_is_lint, errors))
    return Judged(mutant, tuple(sorted({e.code for e in errors})), message, found.kind, rule, only_lints)


def _is_lint(problem: Problem) -> bool:
    """Whether a rule of practice refuses what torch would run, and learn nothing from."""
    return type(problem).__module__.startswith("expc.compiler.lints.")


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)


def judge_all(chosen: Sequence[Mutant], jobs: int) -> Iterator[Judged]:
    """Both verdicts on every mutant, in order."""
    _start_worker()
    if jobs == 1:
        yield from map(judge, chosen)
        return
    with ProcessPoolExecutor(jobs, initializer=_start_worker) as pool:
        yield from pool.map(judge, chosen, chunksize=8)


# ---------------------------------------------------------------------------------------------------- reporting

WRONG = ("false alarm", "missed", CRASH)
OUTCOMES = ("torch", "language", "accepted", *WRONG, "open", "lint", "unreadable")


def table(judged: Sequence[Judged]) -> Iterator[str]:
    """The counts of each file, and of all."""
    yield f"{'file':21}{'mutants':>8}" + "".join(f"{name:>12}" for name in (*OUTCOMES, "precision", "recall"))
    files = list(dict.fromkeys(entry.mutant.file for entry in judged))
    for name in (*files, "all"):
        counts = Counter(entry.outcome for entry in judged if name in (entry.mutant.file, "all"))
        shares = "".join(f"{share:>12.4f}" for share in (precision(counts), recall(counts)))
        yield f"{name:21}{counts.total():>8}" + "".join(f"{counts[outcome]:>12}" for outcome in OUTCOMES) + shares


def precision(counts: Counter[str]) -> float:
    """How many of those that the checker refuses are wrong."""
    right = counts["torch"] + counts["language"]
    return right / (right + counts["false alarm"]) if right else 1.0


def recall(counts: Counter[str]) -> float:
    """How many of the wrong ones the checker refuses."""
    right = counts["torch"] + counts["language"]
    return right / (right + counts["missed"]) if right else 1.0


def difference(entry: Judged, original: str) -> str:
    """A disagreement, with what was changed."""
    lines = unified_diff(original.splitlines(), entry.mutant.text.splitlines(), lineterm="", n=0)
    changed = "\n".join(f"    {line}" for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))
    checker = f"checker: {' '.join(entry.checker)}: {entry.message}" if entry.checker else "checker: accepts"
    return f"{entry.outcome}, {entry.mutant.file}\n{changed}\n    {checker}\n    oracle: {entry.oracle} {entry.rule}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--limit", type=int, help="judge only so many mutants, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    paths = options.files or FILES
    every = [mutant for path in paths for mutant in mutants(path)]
    places: Sequence[int] = range(len(every))
    if options.limit is not None and options.limit < len(every):
        places = sorted(random.Random(options.seed).sample(places, options.limit))
    start = time.perf_counter()
    originals = {path.stem: path.read_text("utf-8") for path in paths}
    judged: list[Judged] = []
    for entry in judge_all([every[place] for place in places], options.jobs):
        judged.append(entry)
        if entry.outcome in (*WRONG, "open", "lint"):
            print(difference(entry, originals[entry.mutant.file]), flush=True)
    print(f"{len(judged)} of {len(every)} mutants, {time.perf_counter() - start:.0f} s")
    print("\n".join(table(judged)))
    return 1 if any(entry.outcome in WRONG for entry in judged) else 0


if __name__ == "__main__":
    sys.exit(main())
