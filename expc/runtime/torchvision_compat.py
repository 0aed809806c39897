"""torchvision for the runtime: see `expc.compiler.lower_torchvision`."""

from expc.compiler.lower_torchvision import import_torchvision

__all__ = ["import_torchvision"]
