"""The model of a run, and how its processes share it."""

import torch

from expc.compiler.plans.reach import may_miss_some
from expc.compiler.plans.units import units_of
from expc.compiler.program import Program
from expc.runtime.distributed.batchnorm import synchronise
from expc.runtime.distributed.draws import Alike, Apart, Draws
from expc.runtime.distributed.joining import settings_of
from expc.runtime.distributed.strategies import Copies, Strategy
from expc.runtime.distributed.world import World
from expc.runtime.errors import RunError
from expc.runtime.errors.distributed import NotShared
from expc.runtime.task import Task


def shared(program: Program, device: torch.device, world: World, precision: str) -> tuple[Task, Strategy, Draws]:
    """The model, how the processes share it, and who draws its random numbers. Raises `RunError` (E0612)."""
    settings, plan, train = settings_of(program), program.train, program.experiment.train
    assert plan is not None and train is not None and program.model is not None  # noqa: S101, PT018 - a run has checked
    if world.size == 1:
        return Task(program, device, train.seed), Strategy(), Draws()
    if settings.strategy == "none":
        span = program.experiment.places["distributed.strategy"]
        raise RunError(NotShared(span=span, size=world.size))
    strategy: Strategy
    if settings.strategy == "fsdp":
        from expc.runtime.distributed.sharding import Sharded, mesh_on, shard

        mesh = mesh_on(device)
        cast = "f32" if precision == "auto" else precision
        model = shard(program.model, units_of(program), mesh, precision=cast, seed=train.seed, inits=plan.inits)
        task = Task(program, device, train.seed, model=model)
        strategy = Sharded(task, mesh)
    else:
        task = Task(program, device, train.seed)
        unused = settings.find_unused_parameters or (settings.strategy == "auto" and may_miss_some(program))
        strategy = Copies(task, settings, device, find_unused=unused)
    if settings.sync_batchnorm:
        synchronise(task.model, world.group)
    return task, strategy, Alike(task.model, task.loss_modules) if train.deterministic else Apart(world, train.seed)
