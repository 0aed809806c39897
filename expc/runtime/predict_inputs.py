"""What predictions are made from: image files, tables, arrays, or the `predict` data of the experiment itself.

Comes in: a stored run and perhaps a path. Goes out: batches as the model takes them, and what each sample is called.
Always true: samples go through the transforms of one role, as far as the model's inputs depend on them, and through
none that is random; what only the loss needs may be missing.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from expc.compiler.plans.feed import feed
from expc.compiler.program import DataPlan, Declared, Fields, SampleField, SplitUse, Step
from expc.compiler.types import TensorType
from expc.frozen import dataclass
from expc.runtime.data.csv_table import read_csv
from expc.runtime.data.datasets import Kind, Raw, Samples, Stored
from expc.runtime.data.declared import declaration_of, open_source, read_npz
from expc.runtime.data.pipeline import Pipeline, stages_of
from expc.runtime.data.randomness import Indices
from expc.runtime.data.split import select
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.stored import InputUnfit, PredictionRandom, RoleMissing
from expc.runtime.prepare import root_of, start_of
from expc.runtime.stored import StoredRun
from expc.runtime.task import Batch

ROLES: Final = ("predict", "test", "val", "train")
"""Whose transforms the samples of `--input` go through: the first that the experiment has, and that are not random."""
IMAGES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
"""The endings of files that are taken for images."""


@dataclass(frozen=True)
class Inputs:
    """Open samples on their way to the model."""

    role: str
    """Whose transforms they go through."""
    path: Path | None
    names: Sequence[str]
    """What each sample is called, where they are files; else empty."""
    pipeline: Pipeline
    chosen: Indices
    fields: Mapping[str, str]
    """For the name that a batch of the run has for an input of the model, the field that fills it here."""
    types: Mapping[str, TensorType]
    """What these fields must be."""
    one_by_one: bool
    """Whether samples may be of different sizes, or damaged: then each is looked at alone."""

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.chosen)

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples in order, in batches. Raises `RunError` where one cannot be read, or is not what it must be."""
        for start in range(0, len(self.chosen), size):
            numbers = self.chosen[start : start + size]
            if self.one_by_one:
                each = [self._part(numbers[i : i + 1], start + i) for i in range(len(numbers))]
                yield {name: torch.cat([part[name] for part in each]) for name in self.fields}
            else:
                yield self._part(numbers, start)

    def _part(self, numbers: Indices, first: int) -> Batch:
        name = f"{self.names[first]}" if self.names else ""
        try:
            found = self.pipeline.batch(0, numbers)
        except RunError as error:
            if not name or isinstance(error.problem, InputUnfit):
                raise
            raise self._unfit(name, error.problem.message) from error
        for field, type_ in self.types.items():
            shape = tuple(found[field].shape[1:])
            if shape != type_.dims:
                sizes, wanted = (" x ".join(map(str, dims)) for dims in (shape, type_.dims))
                reason = f"`{field}` is {sizes} after the transforms of `{self.role}`, and the model takes {wanted}"
                raise self._unfit(
                    name, reason, *(["a `Resize` among them takes images of any size"] * (len(shape) == 3))
                )
        return {name: found[field] for name, field in self.fields.items()}

    def _unfit(self, name: str, reason: str, *notes: str) -> RunError:
        path = "" if self.path is None else str(self.path)
        where = str(Path(path, name)) if name and self.path is not None and self.path.is_dir() else path or "the data"
        return RunError(InputUnfit(span=option_span("--input", path), path=where, reason=reason, notes=notes))


def open_inputs(run: StoredRun, path: Path | None) -> Inputs:
    """The samples at `path`, or those of the experiment's own `predict` data.

    Raises `RunError`: E0854 to E0856, or what reading data raises.
    """
    role, plan, fields = _chosen(run, ("predict",) if path is None else ROLES)
    plan, raw = needed(plan, fields.values())
    types = {field.name: field.type for field in plan.fields if field.name in fields.values()}
    names: Sequence[str] = ()
    if path is None:
        whole = run.program.data[role]
        samples = open_source(whole, root_of(run.program), {})
        names = getattr(samples, "files", ())
    else:
        samples = _samples(run, plan, raw, path)
        names = samples.names if isinstance(samples, ImageFiles) else ()
        plan = replace(plan, stages=tuple(stage for stage in plan.stages if not isinstance(stage, SplitUse)))
    train = run.program.experiment.train
    seed = 0 if train is None else train.seed
    splits = [stage for stage in plan.stages if isinstance(stage, SplitUse)]
    chosen = select(len(samples), splits, seed)
    names = [names[number] for number in chosen] if names else []
    pipeline = Pipeline(samples, stages_of(plan), seed)
    return Inputs(role, path, names, pipeline, chosen, fields, types, isinstance(samples, ImageFiles))


def _chosen(run: StoredRun, roles: Sequence[str]) -> tuple[str, DataPlan, dict[str, str]]:
    """The role whose transforms are taken, its plan, and the fields that fill the model's inputs.

    The fields are those of the plan, by the names that the run's own batches have for them.
    """
    program = run.program
    there = [role for role in roles if role in program.data]
    if program.model is None or program.experiment.data is None or not there:
        advice = (
            ": name files with `--input`" if len(roles) == 1 else ", nor other data whose transforms could be taken"
        )
        raise RunError(RoleMissing(span=start_of(program), role=roles[0], advice=advice))
    refused: list[tuple[str, Step]] = []
    for role in there:
        plan = program.data[role]
        inputs, _ = feed(program.model, plan, program.experiment.data.batch)
        fields = {program.inputs[name]: field for name, field in inputs.items()}
        steps = [stage for stage in needed(plan, fields.values())[0].stages if isinstance(stage, Step)]
        random = next((step for step in steps if _is_random(step)), None)
        if random is None:
            return role, plan, fields
        refused.append((role, random))
    roles_shown = " and ".join(f"`{role}`" for role, _ in refused)
    _, step = refused[0]
    raise RunError(PredictionRandom(span=step.use.span, roles=roles_shown, transform=step.use.name))


def _is_random(step: Step) -> bool:
    return bool(step.use.declaration.random) or step.use.declaration.fields is not None


def needed(plan: DataPlan, names: Collection[str]) -> tuple[DataPlan, frozenset[str]]:
    """The plan without what `names` do not depend on, and the fields of the data set that they depend on."""
    needed = set(names)
    kept: list[Step | SplitUse | Fields | Declared] = []
    for stage in reversed(plan.stages):
        if isinstance(stage, Fields):
            stage = Fields(tuple((new, old) for new, old in stage.kept if new in needed))  # noqa: PLW2901
            needed = {old for _, old in stage.kept}
        elif isinstance(stage, Declared):
            stage = replace(stage, fields=tuple(field for field in stage.fields if field.name in needed))  # noqa: PLW2901
        elif isinstance(stage, Step):
            places = [i for i, name in enumerate(stage.writes) if name in needed]
            if not places:
                continue
            if stage.use.declaration.fields is None:  # what mixes samples needs all that it reads
                stage = Step(  # noqa: PLW2901
                    stage.use,
                    reads=tuple(stage.reads[i] for i in places),
                    writes=tuple(stage.writes[i] for i in places),
                    masks=tuple(stage.masks[i] for i in places),
                    types=tuple(stage.types[i] for i in places) if stage.types else (),
                )
            needed = (needed - set(stage.writes)) | set(stage.reads)
        kept.append(stage)
    return replace(plan, stages=tuple(reversed(kept))), frozenset(needed)


# ------------------------------------------------------------------------------------------------ what is at the path


def _samples(run: StoredRun, plan: DataPlan, raw: Collection[str], path: Path) -> Samples:
    """What is at `path`, as fields of the data set that the run learnt from; `raw` are those that are needed."""
    whole = run.program.data[plan.role]
    own = declaration_of(whole)
    declared = whole.dataset.declaration.sample(whole.dataset.settings) if own is None else own.fields
    fields = [field for field in declared if field.name in raw]
    use, ending = whole.dataset, path.suffix.lower()

    def unfit(reason: str, *notes: str) -> RunError:
        return RunError(InputUnfit(span=option_span("--input", str(path)), path=str(path), reason=reason, notes=notes))

    if not path.exists():
        raise unfit("there is no such file or folder")
    if path.is_dir():
        files = _images_in(path)
        if not files:
            raise unfit(f"no image is in this folder ({', '.join(IMAGES)})")
        return ImageFiles(path, files, _image(fields, unfit))
    if ending == ".csv":
        if use.name != "Csv":
            raise unfit(f"the run learnt from `{use.name}`, and a table goes to one that learnt from `Csv`")
        use = replace(use, settings={**use.settings, "path": str(path)})
        return Stored(read_csv(use, path, declared, frozenset(raw)))
    if ending == ".npz":
        arrays = use.settings["arrays"] if use.name == "Npz" else {}
        use = replace(use, settings={**use.settings, "path": str(path), "arrays": arrays})
        found = read_npz(use, path, fields)
        if not len(next(iter(found.values()))):
            raise unfit("its arrays hold no samples")
        return Stored(found)
    if ending not in IMAGES:
        raise unfit(f"it is neither a folder nor an image ({', '.join(IMAGES)}), a .csv or an .npz file")
    if not path.is_file():
        raise unfit("it is no file")
    return ImageFiles(path.parent, [path.name], _image(fields, unfit))


def _images_in(folder: Path) -> list[str]:
    """The images below a folder, as paths from there, in the order of their names; hidden ones left out."""
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images = [name for name in files if name.lower().endswith(IMAGES) and not name.startswith(".")]
        found += [Path(place, name).relative_to(folder).as_posix() for name in images]
    return sorted(found)


def _image(fields: Sequence[SampleField], unfit: Callable[[str], RunError]) -> SampleField:
    """The one field that is an image. Raises `RunError` where the model needs anything else."""
    shown = " and ".join(f"`{field.name}`: {field.type}" for field in fields)
    pixels = [field for field in fields if field.type.dtype == "u8" and field.type.rank == 3]
    if len(fields) != 1 or not pixels or pixels[0].type.dims[0] not in (1, 3):
        raise unfit(f"the model needs {shown}, and image files have pixels alone: put them into a .npz")
    return pixels[0]


class ImageFiles:
    """Images in files, made RGB or grey as the run's own are."""

    kind: Kind = "read"

    def __init__(self, folder: Path, names: Sequence[str], field: SampleField) -> None:
        self._folder, self.names, self._field = folder, names, field

    def __len__(self) -> int:
        """Their number."""
        return len(self.names)

    def fetch(self, indices: Indices) -> Raw:
        """A list of images u8 `[C, H, W]`. Raises `RunError` with the name of the file that is no whole image."""
        return {self._field.name: [self._decode(self._folder / self.names[index]) for index in indices]}

    def _decode(self, path: Path) -> Tensor:
        from PIL import Image

        try:
            with Image.open(path) as image:
                pixels = np.array(image.convert("RGB" if self._field.type.dims[0] == 3 else "L"))
        except Exception as error:  # Pillow raises whatever a decoder meets, SyntaxError included
            known = error.strerror if isinstance(error, OSError) else None
            reason = known or f"it is not a whole image ({(str(error) or type(error).__name__).splitlines()[0]})"
            problem = InputUnfit(span=option_span("--input", str(path)), path=str(path), reason=reason)
            raise RunError(problem) from error
        made = torch.from_numpy(pixels)
        return made.permute(2, 0, 1).contiguous() if made.ndim == 3 else made[None]
