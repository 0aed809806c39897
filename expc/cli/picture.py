"""The learning rates of a run as a picture, drawn by matplotlib. Importing this needs matplotlib."""

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from expc.cli.chart import DECADES

if TYPE_CHECKING:
    from expc.runtime.forecast import Forecast

_LEGIBLE = 12
"""Lines that a legend may name; more are told apart by their colour alone."""


def picture(found: "Forecast", title: str, kind: str, *, logarithmic: bool) -> bytes:
    """A picture as the content of a file of this kind: `png`, `svg` or `pdf`. Momenta that move have their own axes."""
    moving = [line for line in found.lines if len(set(line.momenta)) > 1]
    figure = Figure(figsize=(9, 6.4 if moving else 4.6), dpi=150, layout="constrained")
    axes = figure.subplots(2 if moving else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 1.4] if moving else [1])
    top, bottom = axes[0][0], axes[-1][0]
    colours = mpl.colormaps["viridis" if len(found.lines) > 10 else "tab10"]
    shade = {
        line.name: colours(i / len(found.lines) if len(found.lines) > 10 else i) for i, line in enumerate(found.lines)
    }
    edges = [step / (found.unit or 1) for step in range(len(found.lines[0].rates) + 1)]
    for line in found.lines:
        top.stairs(line.rates, edges, baseline=None, label=line.name, color=shade[line.name], linewidth=1.6)
    top.set_ylabel("learning rate")
    top.set_title(title)
    if logarithmic:
        top.set_yscale("log")
        top.set_ylim(bottom=max(top.get_ylim()[0], top.get_ylim()[1] / 10**DECADES))
    else:
        top.set_ylim(bottom=0)
    if len(found.lines) <= _LEGIBLE:
        top.legend(loc="best", fontsize="small")
    for line in moving:
        bottom.stairs(line.momenta, edges, baseline=None, color=shade[line.name], linewidth=1.6)
    if moving:
        bottom.set_ylabel("momentum")
    for each in {id(top): top, id(bottom): bottom}.values():
        each.grid(visible=True, alpha=0.3)
    bottom.set_xlim(0, edges[-1])
    _name_steps(top, bottom, found)
    with BytesIO() as buffer, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rates that are no finite numbers, or none above 0
        figure.savefig(buffer, format=kind, metadata={} if kind == "png" else None)
        return buffer.getvalue()


def _name_steps(top: Any, bottom: Any, found: "Forecast") -> None:
    """Epochs below and steps above, where both are known."""
    unit = found.unit
    bottom.set_xlabel(found.axis)
    bottom.xaxis.get_major_locator().set_params(integer=True)
    if unit is not None and found.counts_steps:
        steps = top.secondary_xaxis("top", functions=(lambda x: x * unit, lambda x: x / unit))
        steps.xaxis.set_major_formatter("{x:,.0f}")
        steps.set_xlabel("steps", fontsize="small")
        steps.tick_params(labelsize="small")
