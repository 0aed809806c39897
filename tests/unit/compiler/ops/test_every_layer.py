"""Every class of torch.nn and torchvision.ops, and every initialiser: in the tables, or left out for a reason."""

import inspect
from types import ModuleType

import torch
from torch import nn

from expc.compiler.library.excluded import reason
from expc.compiler.library.excluded.layers import EXCLUDED
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.ops.initialisers import INITIALISERS
from expc.compiler.ops.table import operators


def classes(module: ModuleType) -> set[str]:
    """The public classes that a module offers."""
    return {name for name, value in vars(module).items() if inspect.isclass(value) and not name.startswith("_")}


def initialisers() -> set[str]:
    """The functions of torch.nn.init without their underscore; those without one are aliases that torch deprecates."""
    found = {name for name, value in vars(torch.nn.init).items() if inspect.isfunction(value) and name[0] != "_"}
    return {name.removesuffix("_") for name in found} - {"wrapper"}


def test_every_name_of_torch_is_in_a_table_or_left_out_for_a_reason() -> None:
    homes = {"torch.nn": classes(nn), "torchvision.ops": classes(import_torchvision().ops)}
    ours = {
        home: {op.name for op in operators().values() if op.home == home and op.kind != "function"} for home in homes
    }
    theirs = set().union(*homes.values(), initialisers())
    known = set().union(*ours.values(), {initialiser.name for initialiser in INITIALISERS})
    assert theirs - known - EXCLUDED.keys() == set(), "neither"
    assert known & EXCLUDED.keys() == set(), "both"
    assert EXCLUDED.keys() - theirs == set(), "stale"
    for home, names in ours.items():
        assert names <= homes[home]


def test_reasons_are_sentences() -> None:
    for name, why in EXCLUDED.items():
        assert why[0].isupper() or why.startswith("torch"), name
        assert why.endswith("."), name
        assert reason(name) == why
    assert reason("Linera") is None
