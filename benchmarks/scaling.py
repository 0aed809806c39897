"""What `expc summary --devices N` says on paper, and what torch does: memory of a device, and bytes that it sends.

    python benchmarks/scaling.py                       # a GPT of a billion parameters on 64 devices
    python benchmarks/scaling.py examples/vae.exp examples/two_heads.exp --devices 4 --devices 64

One process stands for all: torch's fake process group answers for the others, without their numbers. The run's own
code shares the model and takes one step, forward, back and with the optimizer, on samples of zeros. What it gives to
collectives is counted where torch calls them; what it holds is counted when the step is done.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import expc
from expc.compiler.cost.shares import Share as OnPaper
from expc.compiler.cost.shares import shares
from expc.compiler.cost.summary import sizes_text, summarise
from expc.compiler.lower.values import torch_dtype
from expc.compiler.plans.units import units_of
from expc.compiler.program import Program
from expc.runtime.accumulate import Splitting, make_gradients
from expc.runtime.data.loader import shares_of
from expc.runtime.distributed.sharding import Sharded, mesh_on, shard
from expc.runtime.distributed.sharing import shared
from expc.runtime.distributed.world import Many
from expc.runtime.optim import make_optimizers
from expc.runtime.precision import Precision
from expc.runtime.task import Task
from expc.runtime.turns import make_turns

ROOT = Path(__file__).parents[1]
BILLION = {"width": 1536, "depth": 36, "heads": 16, "context": 128}
CPU = torch.device("cpu")


COLLECTIVES = {
    "c10d.allgather_": ("all_gather", 1),
    "c10d._allgather_base_": ("all_gather", 1),
    "c10d.allreduce_": ("all_reduce", 0),
    "c10d._reduce_scatter_base_": ("reduce_scatter", 0),
    "c10d.broadcast_": ("broadcast", 0),
}
"""What torch calls them, and which argument is counted: what is given; of reduce-scatter, what comes out."""


class Together(Many):
    """The world of the fake process group: nobody is waited for."""

    def __init__(self, size: int) -> None:
        self.size, self._group = size, dist.group.WORLD


class Collectives(TorchDispatchMode):
    """Counts the bytes of collectives."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[str, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace in ("c10d", "_c10d_functional"):
            kind, place = COLLECTIVES[str(function.overloadpacket)]
            given = sum(bytes_of(each) for each in tree_leaves(args[place]) if isinstance(each, torch.Tensor))
            self.bytes[kind] = self.bytes.get(kind, 0) + given
        return function(*args, **(kwargs or {}))


def summed(_: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """What ddp itself does with its gradients; the fake process group has no result that its C++ understands."""
    dist.all_reduce(bucket.buffer())
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def bytes_of(tensor: torch.Tensor) -> int:
    """The bytes of a tensor, or of this process's part of it."""
    here = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return here.numel() * here.element_size()


@contextmanager
def processes(number: int) -> Iterator[None]:
    """As one, the first, of so many."""
    dist.init_process_group("fake", rank=0, world_size=number, store=FakeStore())
    try:
        # gloo answers for nobody else.
        with patch.object(dist, "new_group", lambda *_, **__: dist.group.WORLD):
            yield
    finally:
        dist.destroy_process_group()


def measured(program: Program, devices: int, *, peak: bool) -> dict[str, int]:
    """What the first of so many processes holds after a step of a run, and what it gave to collectives in it.

    For the `peak` there are no numbers, only shapes, and torch's own tracker says what there is when it is most.
    """
    plan, settings = program.train, program.experiment.train
    precision = Precision("f32" if settings.precision == "auto" else settings.precision, CPU)
    with processes(devices), ExitStack() as modes:
        world = Together(devices)
        if peak:
            # As `shared` does it; but who is together looks at numbers when that is made.
            mesh = mesh_on(CPU)
            modes.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            parts = shard(program.model, units_of(program), mesh, precision=str(precision), start=False)
            task = Task(program, CPU, 0, model=parts)
            with unset_fake_temporarily():
                way: Any = Sharded(task, mesh)
        else:
            task, way, _ = shared(program, CPU, world, str(precision))
        model = task.model
        optimizers = [each.optimizer for each in make_optimizers(plan, model)]
        way.moved_by(optimizers)
        turns = make_turns(plan, model, optimizers)
        if plan.freeze is not None:
            task.freeze(plan.freeze.keys)
        gradients = make_gradients(program, task, precision, CPU, Splitting(settings.accumulate, world, way))
        mine = shares_of(program.experiment.data.batch, settings.accumulate, world)
        samples = sum(share.run for share in mine)
        batch = {
            field.name: torch.zeros(samples, *field.type.dims, dtype=torch_dtype(field.type.dtype))
            for field in program.data["train"].fields
        }
        task.train()
        if way.name == "ddp":
            for turn in turns:
                with turn.alone():
                    way._wrapper(turn.index)[0].register_comm_hook(None, summed)  # noqa: SLF001
        tracker = FSDPMemTracker(model, optimizers[0]) if peak else None
        # ddp says at first how it sends gradients, and once more when it has seen in which order they are made; what
        # optimizers know is there from the first step on. Their own work is not tracked: it makes tensors of all parts.
        steps = 3 if way.name == "ddp" else 2
        for step in range(1, steps + 1):
            seen = Collectives()
            for turn in turns:
                turn.clear()
                with tracker if tracker is not None and step == steps else nullcontext(), seen, turn.alone():
                    gradients.add(batch, turn.index, lambda *_: None, mine)
                for optimizer in turn.plain:
                    optimizer.step()
        found = {**_held(model, optimizers), **seen.bytes}
        if tracker is not None:
            at_peak = {
                str(kind).rpartition(".")[2]: size for kind, size in tracker.get_tracker_snapshot("peak")[CPU].items()
            }
            found |= {"gathered": at_peak["UNSHARDED_PARAM"] + at_peak["ALL_GATHER"], "peak": at_peak["Total"]}
        return found


def _held(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, int]:
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    parameters = list(model.parameters())
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    return {
        "weights": sum(map(bytes_of, (*parameters, *model.buffers()))),
        "gradients": sum(bytes_of(each.grad) for each in parameters if each.grad is not None),
        "optimizer": sum(bytes_of(each) for each in tree_leaves(states) if isinstance(each, torch.Tensor)),
    }


def on_paper(share: OnPaper, *, peak: bool) -> dict[str, int]:
    """The same, as `expc summary` has it."""
    sent: dict[str, int] = {}
    for one in share.sent:
        sent[one.by] = sent.get(one.by, 0) + int(str(one.payload))
    memory, total = share.memory, int(str(share.total))
    held = {"weights": memory.weights, "gradients": memory.gradients, "optimizer": memory.optimizer or 0}
    return {**held, **sent, **({"gathered": share.gathered, "peak": total} if peak else {})}


def compared(file: str | Path, given: dict[str, Any], devices: int, strategy: str, *, peak: bool) -> dict[str, Any]:
    """Both, of a file with these values set."""
    peak = peak and strategy == "fsdp"
    program = expc.load(file, set={**given, "distributed.strategy": strategy}).program
    found = summarise(program, {})
    paper = shares(program, devices, found.sizes, found.batch)
    started = time.perf_counter()
    torchs = measured(program, devices, peak=peak)
    return {
        "title": f"{Path(file).name}: {found.memory.parameters:,} parameters, {strategy} on {devices} devices",
        "seconds": round(time.perf_counter() - started, 1),
        "paper": on_paper(getattr(paper, strategy), peak=peak),
        "torch": torchs,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--devices", action="append", type=int)
    parser.add_argument("--strategy", action="append", choices=["ddp", "fsdp"])
    parser.add_argument(
        "--peak", action="store_true", help="fsdp without numbers, with what it holds when that is most"
    )
    asked = parser.parse_args()
    given = dict(each.split("=", 1) for each in asked.set)
    if asked.files:
        cases = [(file, given, way) for file in asked.files for way in asked.strategy or ["ddp", "fsdp"]]
    else:
        # The whole of it does not fit here.
        cases = [(ROOT / "examples" / "gpt.exp", {**BILLION, **given}, "fsdp")]
    peak = asked.peak or not asked.files
    rows = [
        compared(file, values, devices, way, peak=peak)
        for file, values, way in cases
        for devices in asked.devices or [64]
    ]
    for row in rows:
        print(f"{row['title']}, {row['seconds']} s")
        for name in row["paper"] | row["torch"]:
            paper, real = row["paper"].get(name, 0), row["torch"].get(name, 0)
            same = "equal" if paper == real else f"{(paper - real) / max(real, 1):+.1%} on paper"
            print(f"  {name:<15} {paper:>15,} B {sizes_text(paper):>10}   torch {real:>15,} B   {same}")
        print()
    exact = [
        name for row in rows for name in row["torch"] if name != "peak" if row["torch"][name] != row["paper"].get(name)
    ]
    return int(bool(exact))


if __name__ == "__main__":
    sys.exit(main())
