"""What each of several devices holds and sends, for people and as data."""

from typing import Any

from expc.compiler.cost.shares import Share, Shares
from expc.compiler.cost.summary import Summary, sizes_text, value
from expc.compiler.dimensions import Size
from expc.compiler.plans.check_distributed import needs_whole
from expc.compiler.program import Program


def table(program: Program, found: Summary, shares: Shares) -> list[str]:
    """What each device holds and sends in both ways, side by side; what fsdp gathers; and which way is taken."""
    samples = "" if found.batch is None else f", for {found.batch}={shares.samples} at once"
    cells = [(f"each of {shares.devices} devices, as f32{samples}", "ddp", "fsdp", "")]
    ways = (shares.ddp, shares.fsdp)
    for name, why in _held(program, found, shares).items():
        sizes = [_holds(way)[name] for way in ways]
        if any(size is None or size != 0 for size in sizes):
            cells.append((f"  {name}", _shown(sizes[0]), _shown(sizes[1]), why))
    cells.append(("and sends in each step", "", "", ""))
    totals = [_sends(way) for way in ways]
    cells += [(f"  {what}", _shown(totals[0].get(what, 0)), _shown(size), "") for what, size in totals[1].items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = [
        f"{name:<{widths[0]}}  {ddp:>{widths[1]}}  {fsdp:>{widths[2]}}  {why}".rstrip()
        for name, ddp, fsdp, why in cells
    ]
    idle = [f"a batch is too small: {shares.idle} of the devices have no sample in it"] if shares.idle else []
    return [*rows, "", *_units(shares), _taken(program, shares), *idle]


def as_data(program: Program, shares: Shares) -> dict[str, Any]:
    """The same for tools, in bytes."""
    return {
        "number": shares.devices,
        "samples": shares.samples,
        "strategy": _asked(program),
        "ddp": _share(shares.ddp),
        "fsdp": {
            **_share(shares.fsdp),
            "refused": _refused(program),
            "units": [{"name": unit.path, "parameters": unit.parameters} for unit in shares.units],
        },
    }


def _asked(program: Program) -> str:
    distributed = program.experiment.distributed
    return "auto" if distributed is None else distributed.strategy


def _taken(program: Program, shares: Shares) -> str:
    """Which of both a run takes, and what keeps it from fsdp."""
    asked, refused = _asked(program), " and ".join(_refused(program))
    if asked == "none":
        return "the file says `strategy = none`, which takes one device: leave it out, or write ddp or fsdp"
    if asked != "auto":
        return f"the file asks for {asked}" + (f"; fsdp does not go with {refused}" if refused else "")
    if refused:
        return f"`strategy = auto` takes ddp, since fsdp does not go with {refused}"
    return f"`strategy = auto` takes ddp where {sizes_text(shares.ddp.total)} are free on each device, and else fsdp"


def _refused(program: Program) -> list[str]:
    """What the file has that fsdp cannot do."""
    assert program.model is not None  # noqa: S101 - what is counted is one
    span = program.model.body.span
    return [what for _, what, _ in needs_whole(program.experiment.train, program.train, program.model, lambda *_: span)]


def _holds(share: Share) -> dict[str, Size | None]:
    memory = share.memory
    return {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "average": memory.average,
        "buckets": share.buckets,
        "gathered": share.gathered,
        "unreduced": share.unreduced,
        "kept by the network": memory.activations,
        "kept by the loss": memory.loss,
        "together": share.total,
    }


def _held(program: Program, found: Summary, shares: Shares) -> dict[str, str]:
    """What there is to hold, and what is to be said of it."""
    several = len(shares.units) > 1
    adds_up = program.experiment.train is not None and program.experiment.train.accumulate > 1
    return {
        **dict.fromkeys(_holds(shares.ddp), ""),
        "optimizer": found.optimizers,
        "average": "ema",
        "buckets": "gradients on their way",
        "gathered": "weights of a unit, the next, and what is in none" if several else "all weights",
        "unreduced": "all gradients" if adds_up or not several else "gradients of a unit, and what is in none",
        "kept by the network": found.recomputed,
        "together": "an estimate: see the page of this command",
    }


def _sends(share: Share) -> dict[str, Size]:
    """Bytes by what they are, and together where they are several."""
    totals: dict[str, Size] = {}
    for one in share.sent:
        totals[one.what] = totals.get(one.what, 0) + one.sent
    return totals if len(totals) < 2 else {**totals, "together": share.sends}


def _shown(size: Size | None) -> str:
    return "unknown" if size is None else "" if size == 0 else sizes_text(size)


def _units(shares: Shares) -> list[str]:
    *inner, rest = shares.units
    if not inner:
        return ["fsdp gathers the whole model: no block in it stands beside one of its kind, and `shard` names none"]
    largest = max(inner, key=lambda unit: unit.parameters)
    named = f"`{inner[0].path}`" if len(inner) == 1 else f"`{inner[0].path}` to `{inner[-1].path}`"
    number = "1 unit" if len(inner) == 1 else f"{len(inner)} units"
    return [
        f"fsdp gathers {number}, of {largest.parameters:,} parameters at most; {rest.parameters:,} are in none",
        f"  {named}",
    ]


def _share(share: Share) -> dict[str, Any]:
    sent = [{"what": s.what, "by": s.by, "payload": value(s.payload), "sent": value(s.sent)} for s in share.sent]
    held = {name: None if size is None else value(size) for name, size in _holds(share).items()}
    renamed = {"kept by the network": "kept", "kept by the loss": "kept_by_loss", "together": "total"}
    return {**{renamed.get(name, name): size for name, size in held.items()}, "sent": sent, "sends": value(share.sends)}
