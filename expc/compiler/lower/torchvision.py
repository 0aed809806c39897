"""Importing torchvision where its compiled operators cannot be loaded."""

from functools import cache
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from importlib.util import find_spec
from types import ModuleType

import torch


@cache
def import_torchvision() -> ModuleType:
    """The package torchvision, usable for data sets, transforms and models whatever build of it is installed.

    PyPI's torchvision is built for CUDA. Beside a CPU build of torch its compiled operators cannot be loaded, which
    torchvision allows, and then `import torchvision` stops all the same, with `operator torchvision::nms does not
    exist`: it describes the shapes of two operators that it has not declared. Declaring them first, without an
    implementation, is enough. Nothing is declared where the operators can be loaded.
    """
    if not _operators_load():
        _declare_operators()
    return import_module("torchvision")


def _operators_load() -> bool:
    package = find_spec("torchvision")
    if package is None or not package.submodule_search_locations:
        return True
    finder = FileFinder(package.submodule_search_locations[0], (ExtensionFileLoader, EXTENSION_SUFFIXES))
    library = finder.find_spec("_C")
    if library is None or library.origin is None:
        return False
    try:
        torch.ops.load_library(library.origin)  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True


@cache  # the declarations last as long as the object does
def _declare_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
    return library
