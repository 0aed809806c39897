"""Every function of torch and torch.nn.functional: in the table, or left out for a reason."""

import inspect
from types import ModuleType

import pytest
import torch

from expc.compiler.library.excluded import reason
from expc.compiler.library.excluded.functions import EXCLUDED
from expc.compiler.ops.table import operators

OURS = {name for name, operator in operators().items() if operator.kind == "function"}


def functions(module: ModuleType) -> set[str]:
    """The public names of a module that can be called and are no classes."""
    values = {name: getattr(module, name) for name in {*dir(module), *getattr(module, "__all__", ())} if name[0] != "_"}
    return {name for name, value in values.items() if callable(value) and not inspect.isclass(value)}


THEIRS = functions(torch) | functions(torch.nn.functional)


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (THEIRS - OURS - EXCLUDED.keys(), "functions of torch that are neither in the table nor left out"),
        (OURS & EXCLUDED.keys(), "functions that are in the table and left out"),
        (EXCLUDED.keys() - THEIRS, "functions left out that torch does not have"),
        ({n for n in OURS - THEIRS if operators()[n].home not in ("torch.Tensor", "expc")}, "functions torch lacks"),
    ],
    ids=["missing", "both", "stale", "invented"],
)
def test_every_function_of_torch_is_accounted_for(found: set[str], what: str) -> None:
    assert not found, what


def test_reasons_are_sentences() -> None:
    for name, why in EXCLUDED.items():
        assert why[0].isupper(), name
        assert why.endswith("."), name
        assert reason(name) == why
