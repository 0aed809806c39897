"""The state of a run at a step boundary: what a checkpoint holds of it, and how a run goes on from that."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from expc.runtime.checkpoint.forms import filled
from expc.runtime.checkpoint.optimizers import optimizer_state, restore_optimizers
from expc.runtime.checkpoint.packing import State, lost_in, pack, unpack
from expc.runtime.seeds import all_generators, restore_generators

if TYPE_CHECKING:
    from collections.abc import Mapping

    from expc.runtime.loop import Training


def state_of(run: "Training") -> State:
    """Everything that decides how the run goes on. Its tensors are those that training goes on to change.

    The first process has all of it, also what others have measured and where their random numbers stand. All processes
    call this.
    """
    run.world.share_buffers(run.task.model)
    optimizer: dict[str, Tensor] = {}
    random: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    plain = {
        "values_of_experiment": run.described,
        "device": run.device.type,
        "step": run.step,
        "epoch": run.epoch,
        "epoch_is_open": run.epoch_is_open,
        "seconds": run.deadline.spent(),
        "values": pack(run.values, "values", sums),
        "optimizers": optimizer_state(run.optimizers, run.task.model, optimizer),
        "schedules": pack(run.schedules.state(), "schedules", sums),
        "scaler": pack(run.precision.state(), "scaler", sums),
        "averaged": run.average.count,
        "best": None if run.keeping.best is None else pack(run.keeping.best.state(), "best", sums),
        "early_stop": None if run.early_stop is None else pack(run.early_stop.state(), "early_stop", sums),
        "random": pack(all_generators(run.device), "random", random),
        "draws": pack(run.draws.state(), "draws", random),
        "window": pack(run.window.state(), "window", sums),
        "whole": pack(run.whole.state(), "whole", sums),
        "metrics": pack(run.metrics.state(), "metrics", sums),
        "records": run.records.state(run.step),
    }
    tensors: dict[str, Mapping[str, Tensor]] = {
        "model": run.task.model.state_dict(),
        "optimizer": optimizer,
        "random": random,
        "sums": sums,
        **run.average.state(),
    }
    losses = {f"{place}.{key}": value for place, key, value in _of_losses(run)}
    if losses:
        tensors["loss"] = losses
    return State({name: group for name, group in tensors.items() if group}, plain)


def restore(run: "Training", saved: State, *, settings: bool) -> list[str]:
    """Let `run` go on from a checkpoint; returns what of it could not be given back, in words.

    Without `settings` the optimizers and schedules keep what the file says now, as if it had said so from the start.
    Raises KeyError, IndexError, TypeError, ValueError, AttributeError or RuntimeError where this is no state of such a
    run.
    """
    plain, tensors, home = saved.plain, saved.tensors, saved.plain["device"]
    if home == run.device.type:
        home = ""

    def sums(name: str) -> Any:
        return unpack(plain[name], tensors.get("sums", {}), run.device, home)

    run.step = int(plain["step"])
    run.task.model.load_state_dict(filled(saved, "model", run.task.model.state_dict()))
    for place, key, value in _of_losses(run):
        value.copy_(tensors["loss"][f"{place}.{key}"])
    run.average.restore(saved, plain["averaged"])
    if settings:
        run.schedules.restore(sums("schedules"))
    else:
        for _ in range(run.step):
            run.schedules.step()
    forgotten = restore_optimizers(run.optimizers, run.task.model, saved, run.device, home, settings=settings)
    run.precision.restore(sums("scaler"))
    for watcher, name in ((run.keeping.best, "best"), (run.early_stop, "early_stop")):
        if watcher is not None and plain[name] is not None:
            watcher.restore(sums(name))
    run.values = dict(sums("values"))
    run.window.restore(sums("window"))
    run.whole.restore(sums("whole"))
    run.metrics.restore(sums("metrics"))
    run.window_start, run.epoch_is_open = run.step, bool(plain["epoch_is_open"])
    run.deadline.restore(float(plain["seconds"]))
    restore_generators(unpack(plain["random"], tensors["random"], torch.device("cpu")), run.device)
    run.draws.restore(unpack(plain["draws"], tensors["random"], torch.device("cpu")), run.step)
    lost = [f"what the optimizer knew of `{key}`: another kind of optimizer moved it before" for key in forgotten]
    lost += [f"{place}, an object of Python code" for name in plain for place in lost_in(plain[name], name)]
    return lost


def _of_losses(run: "Training") -> list[tuple[int, str, Tensor]]:
    modules = enumerate(run.task.loss_modules)
    return [(place, key, value) for place, module in modules for key, value in module.state_dict().items()]


def other_shapes(model: nn.Module, saved: State) -> list[str]:
    """Where the weights of a checkpoint are not those of `model`: keys that one of both lacks, and other shapes."""
    now = {key: _type(tensor) for key, tensor in model.state_dict().items()}
    then = {key: _type(tensor) for key, tensor in saved.tensors.get("model", {}).items()}
    lines = [f"`{key}` is {kind}, and was {then[key]}" for key, kind in now.items() if then.get(key, kind) != kind]
    lines += [f"`{key}` is new" for key in now if key not in then]
    return lines + [f"`{key}` is gone" for key in then if key not in now]


def _type(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
