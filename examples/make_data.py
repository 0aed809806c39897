"""The data that some examples learn from: `python examples/make_data.py` writes it beside them, the same each time."""

import csv
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def houses(folder: Path) -> None:
    """`houses.csv`: 4,000 flats that never were; what they cost follows from the rest, but for a tenth."""
    draw = np.random.default_rng(0)
    districts = {"docks": 0.8, "hill": 1.5, "market": 1.2, "mill": 1.0, "park": 1.4}
    with (folder / "houses.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["area", "floor", "age", "walk", "district", "price"])
        for _ in range(4000):
            area, age, walk = draw.uniform(30, 180), draw.uniform(0, 100), draw.uniform(1, 30)
            floor, district = draw.integers(0, 9), draw.choice(list(districts))
            worth = 0.04 * area**0.9 * districts[district] * (1 + ((age - 50) / 80) ** 2) * (1.2 - 0.02 * walk)
            price = worth * (1 + 0.01 * floor) * draw.lognormal(0, 0.1)
            table.writerow([f"{area:.0f}", floor, f"{age:.0f}", f"{walk:.0f}", district, f"{price:.3f}"])


def waves(folder: Path) -> None:
    """`waves.npz`: windows of the Mackey-Glass equation, which is chaotic: 64 values, and the 16 that follow."""
    delay, every, series = 170, 30, [1.2] * 171
    for _ in range(every * 6000):
        late = series[-1 - delay]
        series.append(series[-1] + 0.1 * (0.2 * late / (1 + late**10) - 0.1 * series[-1]))
    values = np.array(series[1000::every], dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(values - values.mean(), 80)
    np.savez(folder / "waves.npz", past=windows[:, :64], future=windows[:, 64:])


def sentences(folder: Path) -> None:
    """`sentences.npz`: sentences of Shakespeare's without the mark at their end, and which it was: `.`, `?` or `!`.

    A word is its rank; 1 is any rare word, and 0 fills the front up to 24 words.
    """
    plays = (HERE / "tinyshakespeare.txt").read_text("utf-8")
    speeches = " ".join(speech.partition(":\n")[2].replace("\n", " ") for speech in plays.split("\n\n"))
    found: dict[str, list[list[str]]] = {".": [], "?": [], "!": []}
    for sentence, mark in re.findall(r"([^.?!]+)([.?!])", speeches):
        words = re.findall(r"[a-z']+", sentence.lower())
        if 4 <= len(words) <= 24:
            found[mark].append(words)
    as_many = min(map(len, found.values()))
    kept = [(words, label) for label, each in enumerate(found.values()) for words in each[:as_many]]
    common = Counter(word for words, _ in kept for word in words).most_common(1998)
    number = {word: 2 + rank for rank, (word, _) in enumerate(common)}
    tokens = np.zeros((len(kept), 24), dtype=np.int64)
    for row, (words, _) in zip(tokens, kept, strict=True):
        row[-len(words) :] = [number.get(word, 1) for word in words]
    np.savez(folder / "sentences.npz", tokens=tokens, label=np.array([label for _, label in kept]))


def digits(which: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `u8[n, 28, 28]` and labels of the digits that stand beside the examples, of `train` or `t10k`."""
    raw = HERE / "data" / "MNIST" / "raw"
    images = np.fromfile(raw / f"{which}-images-idx3-ubyte", dtype=np.uint8, offset=16)
    return images.reshape(-1, 28, 28), np.fromfile(raw / f"{which}-labels-idx1-ubyte", dtype=np.uint8, offset=8)


def scenes(folder: Path) -> None:
    """`scenes.npz`: one to three digits each, on a noisy ground, and for each pixel 0, or 1 more than its digit.

    `places.npz`: one digit each, which one, and where its middle is, from -1 to 1.
    """
    draw = np.random.default_rng(0)
    images, labels = digits("train")

    def scene(size: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = draw.integers(0, 96, (1, size, size), dtype=np.uint8)
        mask = np.zeros((size, size), dtype=np.uint8)
        corner = np.zeros(2, dtype=np.int64)
        for row in rows:
            corner = draw.integers(0, size - 27, 2)
            there = tuple(slice(start, start + 28) for start in corner)
            image[0][there] = np.maximum(image[0][there], images[row])
            mask[there][images[row] > 96] = 1 + labels[row]
        return image, mask, ((2 * corner + 28) / size - 1).astype(np.float32)

    several = [scene(64, draw.integers(0, len(images), draw.integers(1, 4))) for _ in range(1200)]
    np.savez(folder / "scenes.npz", image=[image for image, _, _ in several], mask=[mask for _, mask, _ in several])
    single = [scene(48, np.array([row])) for row in range(4000)]
    np.savez(
        folder / "places.npz",
        image=[image for image, _, _ in single],
        digit=labels[:4000],
        middle=[middle for _, _, middle in single],
    )


def rare(folder: Path) -> None:
    """`rare.npz`: digits, 800 zeros, and of each further digit about half as many as of the one before."""
    images, labels = digits("train")
    counts = [700 // 2**digit + 5 for digit in range(10)]
    rows = np.concatenate([np.flatnonzero(labels == digit)[:count] for digit, count in enumerate(counts)])
    np.savez(folder / "rare.npz", image=images[rows][:, None], label=labels[rows])


def main(folder: Path) -> None:
    """Write all of them into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for make in (houses, waves, sentences, scenes, rare):
        make(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "data")
