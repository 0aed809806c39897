"""Csv, Npz and Tensors: fields as they were declared, and a coded error at its place for whatever is not."""

import csv
import io

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import expc
from expc.compiler.session import check_text
from expc.runtime.data import csv_table
from expc.runtime.data.pipeline import open_pipeline
from expc.runtime.errors import RunError
from expc.runtime.run import run


def opened(source, root, given=None):
    """Every sample of a data set, as one batch."""
    checked = check_text(f"data {{ train = {source} }}", "net.exp")
    assert [problem.message for problem in checked.problems] == []
    pipeline, chosen = open_pipeline(checked.program.data["train"], root, 0, given)
    return pipeline.batch(0, chosen)


def refused(code, words, source, root, given=None):
    with pytest.raises(RunError) as error:
        opened(source, root, given)
    problem = error.value.problem
    assert (problem.code, words in problem.message) == (code, True), problem.message
    assert problem.span.text == source.partition(" -> ")[0]


FLOWERS = """length,width,kind,petal
5.1,3.5,rose,1

4.9,-3e-1,tulip,0
6.0,"2.5",iris,1
"""


@pytest.fixture
def flowers(tmp_path):
    (tmp_path / "a.csv").write_text(FLOWERS)
    return tmp_path


def test_columns_fill_fields_by_name_and_then_in_order(flowers):
    found = opened('Csv("a.csv", label="kind") -> as (features: f32[2], label: class(3), petal: bool)', flowers)
    assert found["features"].tolist() == torch.tensor([[5.1, 3.5], [4.9, -0.3], [6.0, 2.5]]).tolist()
    assert found["label"].tolist() == [1, 2, 0]  # in alphabetical order
    assert found["petal"].tolist() == [True, False, True]
    assert {name: str(value.dtype) for name, value in found.items()} == {
        "features": "torch.float32",
        "label": "torch.int64",
        "petal": "torch.bool",
    }
    named = opened('Csv("a.csv", x=["width", "length"]) -> as (x: f64[2], petal: class(2))', flowers)
    assert named["x"][:, 1].tolist() == [5.1, 4.9, 6.0]
    assert named["petal"].tolist() == [1, 0, 1]
    order = 'classes=["tulip", "rose", "iris", "daisy"]'
    assert opened(f'Csv("a.csv", {order}) -> as (kind: class(4))', flowers)["kind"].tolist() == [1, 0, 2]


def test_a_table_without_names_is_read_in_order(tmp_path):
    (tmp_path / "a.csv").write_text("\n1;2;3\n4;5;6\n" + "\n" * 20)
    found = opened('Csv("a.csv", header=false, delimiter=";") -> as (x: i64[2], y: u8)', tmp_path)
    assert (found["x"].tolist(), found["y"].tolist()) == ([[1, 2], [4, 5]], [3, 6])


def test_classes_that_are_written_as_floats_are_numbers(tmp_path):
    """As names they would count in alphabetical order, 10.0 before 2.0."""
    (tmp_path / "a.csv").write_text("label\n" + "".join(f"{number}.0\n" for number in range(11)))
    assert opened('Csv("a.csv") -> as (label: class(11))', tmp_path)["label"].tolist() == list(range(11))


def test_cells_that_are_divided_by_another_sign_are_told_by_it(tmp_path):
    (tmp_path / "a.csv").write_text("a;b\n1;2\n")
    with pytest.raises(RunError) as error:
        opened('Csv("a.csv") -> as (x: f32, y: f32)', tmp_path)
    assert "has 1 column for them: `a;b`" in error.value.problem.message
    assert '`delimiter=";"`' in error.value.problem.notes[0]


def test_a_large_table_is_what_numpy_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_table, "ROWS", 7)
    numbers = np.random.default_rng(0).normal(size=(105, 3))
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b", "c"], *numbers.tolist()])
    (tmp_path / "a.csv").write_text(text.getvalue())
    assert torch.equal(opened('Csv("a.csv") -> as (x: f64[3])', tmp_path)["x"], torch.from_numpy(numbers))


@pytest.mark.parametrize(
    ("code", "words", "change", "source"),
    [
        ("E0812", "line 4, column `width`: `wide`", ("-3e-1", "wide"), ""),
        ("E0812", "line 4, column `width`: it is empty", ("-3e-1", ""), ""),
        ("E0812", "line 4, column `width`: `nan`", ("-3e-1", "nan"), ""),
        ("E0812", "line 4, column `width`: `1e99`: f32 cannot hold it", ("-3e-1", "1e99"), ""),
        ("E0812", "line 2: it has 3 cells, and not 4", ("rose,1", "rose"), ""),
        ("E0803", "4 of them: `aster`, `iris`", ("5.1", "1,2,aster,1\n5.1"), ""),
        (
            "E0812",
            "line 4, column `kind`: `7`: it is no class",
            ('rose,1\n\n4.9,-3e-1,tulip,0\n6.0,"2.5",iris', "0,1\n\n4,4,7,1\n1,1,1"),
            "",
        ),
        ("E0803", "a column `knid`", ("", ""), 'Csv("a.csv", label="knid") -> as (features: f32[2], label: class(3))'),
        (
            "E0803",
            "3 columns for it: `length`, `width`, `petal`",
            ("", ""),
            'Csv("a.csv") -> as (x: f32[2], kind: class(3))',
        ),
        ("E0801", "there is no file", ("", ""), 'Csv("b.csv") -> as (x: f32[2])'),
        ("E0803", "has 2 of that name", ("petal", "width"), 'Csv("a.csv", x="width") -> as (x: f32)'),
        ("E0806", "at least 1 row", (FLOWERS, "a,b\n"), 'Csv("a.csv") -> as (x: f32[2])'),
        ("E0802", "not a whole table", ("iris,1\n", 'iris,"1\n'), ""),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(flowers, code, words, change, source):
    (flowers / "a.csv").write_text(FLOWERS.replace(*change, 1))
    standard = 'Csv("a.csv", label="kind") -> as (features: f32[2], label: class(3), petal: bool)'
    refused(code, words, source or standard, flowers)


def test_a_table_in_another_encoding_is_called_so(tmp_path):
    (tmp_path / "a.csv").write_bytes("grö,b\n1,2\n".encode("latin-1"))
    refused("E0802", "UTF-8 (byte 2)", 'Csv("a.csv") -> as (x: f32[2])', tmp_path)


@pytest.mark.parametrize(
    ("code", "words", "source"),
    [
        ("E0803", "has float64[n, 3]", 'Npz("a.npz") -> as (x: f32[4])'),
        ("E0803", "has float64[n, 3]", 'Npz("a.npz") -> as (x: i64[3])'),
        ("E0803", "the arrays `x`, `y`, `z`", 'Npz("a.npz", label="w") -> as (x: f32[3], label: class(3))'),
        ("E0803", "a class 2 in sample 1", 'Npz("a.npz") -> as (y: class(2))'),
        ("E0803", "5 of `x` and 4 of `z`", 'Npz("a.npz") -> as (x: f32[3], z: f32)'),
        ("E0803", "numbers up to 300", 'Npz("a.npz", n="big") -> as (n: u8)'),
        ("E0802", "it is no archive", 'Npz("half.npz") -> as (x: f32[3])'),
        ("E0802", "(`x` holds Python objects, which are never read)", 'Npz("objects.npz") -> as (x: f32[3])'),
        ("E0802", "it is one array, of `numpy.save`", 'Npz("one.npy") -> as (x: f32[3])'),
        ("E0801", "there is no file", 'Npz("c.npz") -> as (x: f32[3])'),
        ("E0806", "at least 1 sample", 'Npz("empty.npz") -> as (x: f32[3])'),
    ],
)
def test_arrays_are_what_was_declared(tmp_path, code, words, source):
    arrays = {"x": np.zeros((5, 3)), "y": np.array([0, 2, 1, 1, 0]), "z": np.zeros(4)}
    if "big" in source:
        arrays["big"] = np.array([300])
    np.savez(tmp_path / "a.npz", **arrays)
    (tmp_path / "half.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:300])
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    np.savez(tmp_path / "empty.npz", x=np.zeros((0, 3)))
    np.save(tmp_path / "one.npy", np.zeros((5, 3)))
    refused(code, words, source, tmp_path)
    found = opened('Npz("a.npz", label="y") -> as (x: f32[3], label: class(3))', tmp_path)
    assert (found["x"].dtype, found["label"].tolist()) == (torch.float32, [0, 2, 1, 1, 0])


POINTS = """
data {
  fit, held = Tensors("points") -> as (x: f32[2], label: class(2)) -> split(0.75)
  train = fit
  val   = held
  batch = 4
}
model Net(x: f32[N, 2]) -> f32[N, 2] { Linear(2) }
train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), metrics = [Accuracy] }
"""


def test_a_program_gives_its_tensors(tmp_path):
    experiment = expc.load(text=POINTS)
    x = torch.randn(16, 2)
    points = {"x": x, "label": (x[:, 0] > 0).long()}
    result = experiment.run(out=tmp_path / "tensors", data={"points": points})
    assert (result.steps, "val.accuracy" in result.metrics) == (3, True)
    arrays = {name: value.numpy() for name, value in points.items()}
    assert experiment.run(out=tmp_path / "arrays", data={"points": arrays}).metrics == result.metrics
    with pytest.raises(RunError) as error:
        experiment.run(out=tmp_path / "none")
    assert error.value.problem.code == "E0813"
    with pytest.raises(RunError) as error:
        experiment.run(out=tmp_path / "wrong", data={"points": {**points, "x": x[:, :1]}})
    assert "float32[n, 1]" in error.value.problem.message
    assert not (tmp_path / "wrong").exists()


def test_tokens_without_a_class_are_left_out_of_losses_and_metrics(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPC_DATA", str(tmp_path))
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 20, (12, 10)), draws.integers(0, 5, (12, 10))
    y[draws.random((12, 10)) < 0.6] = -100
    np.savez(tmp_path / "a.npz", x=x, y=y)
    checked = check_text("""
    data { train = Npz("a.npz") -> as (x: class(20)[10], y: class(5)[10]), batch = 5 }
    model Net(x: class(20)[N, T]) -> f32[N, 5, T] { table: Embedding(20, 5) -> transpose(1, 2) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.0), metrics = [Accuracy] }
    """)
    result = run(checked.program, out=tmp_path / "run", device="cpu", progress=False)
    guessed = load_file(tmp_path / "run" / "final.safetensors")["table.weight"].argmax(1).numpy()[x]
    assert result.metrics["train.accuracy"] == pytest.approx(float((guessed == y)[y >= 0].mean()))


def test_a_label_of_a_whole_sample_is_a_class(tmp_path):
    np.savez(tmp_path / "a.npz", y=[1, -100])
    refused("E0803", "a class -100 in sample 1", 'Npz("a.npz") -> as (y: class(5))', tmp_path)
