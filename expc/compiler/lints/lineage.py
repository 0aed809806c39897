"""How the fields of one role came about: which transform made each from which, how lint rules follow data."""

from collections import Counter

from expc.compiler.program import DataPlan, Declared, Fields, Step
from expc.compiler.types import TensorType
from expc.frozen import dataclass


@dataclass(frozen=True, eq=False)
class Origin:
    """One value of a sample on its way: the step that made it, of what; a field of the data set was made by none."""

    type: TensorType
    step: Step | None = None
    sources: tuple["Origin", ...] = ()

    def path(self) -> "list[Origin]":
        """The value and what it was made of, back to the data set, by the first source of each."""
        return [self, *(self.sources[0].path() if self.sources else ())]

    @property
    def before(self) -> TensorType | None:
        """The type of what it was made of first."""
        return self.sources[0].type if self.sources else None


class Lineage:
    """The values of the samples of one role."""

    def __init__(self, plan: DataPlan) -> None:
        known = plan.dataset.declaration.sample(plan.dataset.settings)
        self.fields: dict[str, Origin] = {field.name: Origin(field.type) for field in known}
        """The fields that come out."""
        self.made: list[Origin] = []
        """Everything that transforms made, in order."""
        self._uses: Counter[int] = Counter()
        for stage in plan.stages:
            if isinstance(stage, Step):
                self._take(stage)
            elif isinstance(stage, Fields):
                kept = {new: self.fields[old] for new, old in stage.kept if old in self.fields}
                self._uses.update(id(origin) for origin in kept.values())
                self.fields = kept
            elif isinstance(stage, Declared):
                self.fields |= {f.name: Origin(f.type) for f in stage.fields if f.name not in self.fields}

    def is_used_twice(self, origin: Origin) -> bool:
        """Whether anything that a value was made of, or it itself, is used in another way too: another view of it."""
        return any(self._uses[id(part)] > 1 for part in origin.path())

    def _take(self, step: Step) -> None:
        sources = tuple(self.fields[name] for name in step.reads if name in self.fields)
        if len(sources) < len(step.reads):
            return
        self._uses.update(map(id, sources))
        for index, name in enumerate(step.writes):
            type_ = step.types[index] if step.types else sources[min(index, len(sources) - 1)].type
            origin = Origin(type_, step, (sources[index],) if len(sources) == len(step.writes) else sources)
            self.fields[name] = origin
            self.made.append(origin)
