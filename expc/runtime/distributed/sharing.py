"""The model of a run, and how its processes share it."""

import torch

from expc.compiler.cost.shares import shares
from expc.compiler.cost.training_memory import batch_size, known_sizes
from expc.compiler.graph import has_python
from expc.compiler.plans import reach
from expc.compiler.plans.check_distributed import needs_whole
from expc.compiler.plans.units import units_of
from expc.compiler.program import Program
from expc.runtime.data.memory import free, shown
from expc.runtime.distributed.draws import Alike, Apart, Draws
from expc.runtime.distributed.joining import settings_of
from expc.runtime.distributed.strategies import Copies, Strategy
from expc.runtime.distributed.world import World
from expc.runtime.errors import RunError
from expc.runtime.errors.distributed import NotShared
from expc.runtime.task import Task


def chosen(program: Program, device: torch.device, world: World) -> tuple[str, str]:
    """The strategy that the file asks for, and of `auto` the one that it is, and why."""
    asked = settings_of(program).strategy
    if asked != "auto":
        return asked, ""
    sizes = known_sizes(program)
    batch = next((name for name, size in sizes.items() if size == batch_size(program)), None)
    needed = shares(program, world.size, sizes, batch).ddp.total
    room = min(world.everyones(free(device) // world.local_size))
    if not isinstance(needed, int) or needed <= room:
        return "ddp", "`auto`: there is room for a whole network in each"
    assert program.model is not None  # noqa: S101 - a run has checked it
    span = program.model.body.span
    whole = list(needs_whole(program.experiment.train, program.train, program.model, lambda *_: span))
    lacking = f"a whole network needs about {shown(needed)} in each, and {shown(room)} are free"
    return (
        ("ddp", f"`auto`: {lacking}; {whole[0][1]} does not go with fsdp") if whole else ("fsdp", f"`auto`: {lacking}")
    )


def shared(program: Program, device: torch.device, world: World, precision: str) -> tuple[Task, Strategy, Draws]:
    """The model, how the processes share it, and who draws its random numbers. Raises `RunError` (E0612)."""
    settings, plan, train = settings_of(program), program.train, program.experiment.train
    assert plan is not None and train is not None and program.model is not None  # noqa: S101, PT018 - a run has checked
    if world.size == 1:
        return Task(program, device, train.seed), Strategy(), Draws()
    if settings.strategy == "none":
        span = program.experiment.places["distributed.strategy"]
        raise RunError(NotShared(span=span, size=world.size))
    name, why = chosen(program, device, world)
    strategy: Strategy
    if name == "fsdp":
        from expc.runtime.distributed.sharding import Sharded, mesh_on, shard

        mesh = mesh_on(device)
        cast = "f32" if precision == "auto" else precision
        model = shard(program.model, units_of(program), mesh, precision=cast, seed=train.seed, inits=plan.inits)
        task = Task(program, device, train.seed, model=model)
        strategy = Sharded(task, mesh)
    else:
        task = Task(program, device, train.seed)
        # The file shows which parameters never have a gradient; of Python code only torch sees it.
        unseen = settings.strategy == "auto" and has_python(program.model.body)
        searched = settings.find_unused_parameters
        unreached = () if searched else reach.unreached(program)
        in_order = train.deterministic and world.size > 2  # the sum of two is the same in any order
        unused = searched or unseen
        strategy = Copies(task, settings, device, find_unused=unused, unreached=unreached, in_order=in_order)
    strategy.why = why
    if settings.sync_batchnorm:
        from expc.runtime.distributed.batchnorm import synchronise

        synchronise(task.model, world.group)
        strategy.shares_statistics = True
    alike = train.deterministic
    return task, strategy, Alike(task.model, task.loss_modules) if alike else Apart(world, train.seed, device)
