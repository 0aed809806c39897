"""`init ... = load(...)`: what may be in a file, and what is said where it is something else."""

import pickle
import urllib.error
from pathlib import Path

import pytest
import torch
from by_hand import program, same
from safetensors.torch import save_file

from expc.compiler.library.pretrained import published
from expc.compiler.lower import lower
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.session import check_file
from expc.diagnostics import ProblemError
from expc.runtime.prepare import prepare

TRAIN = "epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)\n"
ZOO = Path(__file__).parents[2] / "examples" / "zoo"


def network(*rules, seed=0):
    lines = "\n".join(f"init {rule}" for rule in rules)
    return prepare(program(f"{TRAIN}seed = {seed}\n{lines}"), "cpu").task.model


def refusal(*rules):
    with pytest.raises(ProblemError) as raised:
        network(*rules)
    problem = raised.value.problem
    assert problem.code == "E0815"
    assert problem.span.text == rules[-1].partition(" =")[0]
    return "\n".join((problem.message, *problem.notes))


@pytest.fixture
def state():
    """Another network's weights, with statistics that are not those of the start."""
    source = network(seed=9)
    source.norm.running_mean.fill_(0.5)
    return {key: value.contiguous() for key, value in source.state_dict().items()}


@pytest.mark.parametrize("ending", ["safetensors", "pt", "pth", "ckpt"])
def test_weights_from_a_file(tmp_path, state, ending):
    path = tmp_path / f"start.{ending}"
    save = save_file if ending == "safetensors" else torch.save
    save({f"net.{key}": value for key, value in state.items()} | {"more": torch.ones(2)}, path)
    found = network(f'"*" = load("{path}", drop="net.")', '"head.bias" = zeros').state_dict()
    same(found, {**state, "head.bias": torch.zeros(4)})


def test_mappings_inside_a_file_come_before_their_keys(tmp_path, state):
    path = tmp_path / "whole.pth"
    loop = {"model": state, "epoch": 3, "ema": {"net": {key: value + 1 for key, value in state.items()}}}
    loop["itself"] = loop
    torch.save(loop, path)
    same(network(f'"*" = load("{path}", drop="model.")').state_dict(), state)
    averaged = network(f'"*" = load("{path}", drop="ema.net.")').state_dict()
    same(averaged, {key: value + 1 for key, value in state.items()})
    assert 'it has `model.body.weight`: write `drop="model."`' in refusal(f'"*" = load("{path}")')


def test_all_that_does_not_fit_is_listed_and_nothing_is_taken(tmp_path, state):
    del state["body.bias"], state["norm.running_var"]
    state |= {"head.weight": torch.zeros(7, 8), "head.bias": torch.zeros(7)}
    path = tmp_path / "other.safetensors"
    save_file(state, path)
    told = refusal(f'"*" = load("{path}")')
    assert "4 of the 9 tensors that `*` matches do not fit" in told
    assert "it has no `body.bias`, `norm.running_var`" in told
    assert "it has `head.weight` [7, 8], here [4, 8]; `head.bias` [7], here [4]" in told
    model = network(f'"body.weight" = load("{path}")')
    assert torch.equal(model.body.weight, state["body.weight"])


def test_files_from_before_batch_norms_counted(tmp_path, state):
    path = tmp_path / "old.pth"
    del state["norm.num_batches_tracked"]
    torch.save(state, path)
    found = network(f'"*" = load("{path}")').state_dict()
    same(found, {**state, "norm.num_batches_tracked": torch.tensor(0)})


class Evil:
    def __reduce__(self):
        return exec, ("import builtins; builtins.expc_was_here = True",)


def test_no_code_of_a_file_is_run(tmp_path, state):
    path = tmp_path / "evil.pth"
    ways = (
        lambda: torch.save({**state, "evil": Evil()}, path),
        lambda: torch.save({**state, "evil": Evil()}, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps({"evil": Evil()}, protocol=2)),
    )
    for save in ways:
        save()
        told = refusal(f'"*" = load("{path}")')
        assert "it holds more than tensors (`" in told
        assert "exec`), and no code of a file is run" in told
        assert not hasattr(__import__("builtins"), "expc_was_here")
    torch.save(torch.nn.Linear(2, 2), path)
    assert "more than tensors (`torch.nn.modules.linear.Linear`)" in refusal(f'"*" = load("{path}")')


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_what_cannot_be_read(tmp_path, state, ending):
    assert "there is no such file" in refusal(f'"*" = load("nowhere.{ending}")')
    path = tmp_path / f"start.{ending}"
    path.mkdir()
    assert "directory" in refusal(f'"*" = load("{path}")').lower()
    path.rmdir()
    (save_file if ending == "safetensors" else torch.save)(state, path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:-1], b"PK\x03\x04" + whole[4:80], b"\x80\x02K\x01."):
        path.write_bytes(content)
        told = refusal(f'"*" = load("{path}")')
        assert any(words in told for words in ("no safetensors file", "no file of torch", "no tensors")), told
    assert "ends in" not in told


# ------------------------------------------------------------------------------------------------ torchvision's


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Where torch keeps what it has downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_published_weights_make_torchvisions_network(tmp_path, hub):
    models = import_torchvision().models
    torch.manual_seed(5)
    theirs = models.mobilenet_v2(weights=None).eval()
    weights = "MobileNet_V2_Weights.IMAGENET1K_V2"
    torch.save(theirs.state_dict(), hub / models.get_weight(weights).url.rpartition("/")[2])
    text = (ZOO / "mobilenet_v2.exp").read_text().rstrip()
    assert text.endswith("}")
    (tmp_path / "net.exp").write_text(f'{text[:-1]}\n  init "*" = load("{weights}")\n}}\n')
    checked = check_file(str(tmp_path / "net.exp"))
    assert not checked.has_errors, checked.problems
    ours = lower(checked.program.model, seed=0).eval()
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))


def test_old_keys_become_what_torchvision_makes_of_them(hub):
    from expc.compiler.lower.weight_files import fetch

    models = import_torchvision().models
    old = {
        "DenseNet121_Weights.IMAGENET1K_V1": "features.denseblock1.denselayer1.norm.1.weight",
        "ViT_B_16_Weights.IMAGENET1K_V1": "encoder.layers.encoder_layer_0.mlp.linear_2.weight",
    }
    for name, key in old.items():
        torch.save({key: torch.ones(3)}, hub / models.get_weight(name).url.rpartition("/")[2])
        (found,) = fetch(name)
        with torch.device("meta"):
            assert found in models.get_model(name.partition("_Weights")[0].lower()).state_dict()


def test_weights_that_cannot_be_downloaded(hub, monkeypatch):
    asked = []

    def download(url, path, digest, progress):
        asked.append((url, Path(path).parent, digest, progress))
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    told = refusal('"*" = load("ResNet18_Weights.IMAGENET1K_V1")')
    assert asked == [("https://download.pytorch.org/models/resnet18-f37072fd.pth", hub, "f37072fd", False)]
    assert "cannot be downloaded" in told
    assert "no network" in told
    assert str(hub / "resnet18-f37072fd.pth") in told


def test_the_names_are_torchvisions():
    models = import_torchvision().models
    known = {str(weights) for name in models.list_models() for weights in models.get_model_weights(name)}
    named = {name for name in published() if not name.endswith(".DEFAULT")}
    assert named == {name for name in known if "_Weights." in name}
    assert {f"{name.partition('.')[0]}.DEFAULT" for name in named} == published() - named
    assert str(models.get_weight("ResNet50_Weights.DEFAULT")) == "ResNet50_Weights.IMAGENET1K_V2"
