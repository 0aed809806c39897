"""expc: experiments on PyTorch, each written in one `.exp` file and checked before it runs.

    problems = expc.check("mnist.exp")
    experiment = expc.load("mnist.exp", set={"train.epochs": 1})
    network = experiment.build(device="cpu")
    result = experiment.run(out="runs/first")
    network = expc.load_run("runs/first")

Importing expc imports nothing else: what a function needs is imported when it is called.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expc.experiment import CheckError, Experiment, check, load, load_run

__version__ = "0.1.0"

__all__ = ["CheckError", "Experiment", "__version__", "check", "load", "load_run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from expc import experiment

        return getattr(experiment, name)
    raise AttributeError(f"module 'expc' has no attribute {name!r}")
