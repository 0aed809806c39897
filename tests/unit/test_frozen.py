"""Whatever `dataclasses.dataclass(frozen=True)` does for expc, `expc.frozen.dataclass(frozen=True)` does too."""

import dataclasses
import pickle
from functools import cached_property
from typing import Any

import pytest

from expc import frozen


def declare(decorator: Any) -> tuple[type, type]:
    @decorator(frozen=True)
    class Point:
        """A point."""

        x: int
        y: int = 2
        tags: list[str] = dataclasses.field(default_factory=list, compare=False)
        note: str = dataclasses.field(default="", compare=False, repr=False)

        @cached_property
        def total(self) -> int:
            return self.x + self.y

    @decorator(frozen=True, kw_only=True)
    class Named(Point):
        """A point with a name."""

        name: str

    return Point, Named


BOTH = pytest.mark.parametrize(
    "classes", [declare(dataclasses.dataclass), declare(frozen.dataclass)], ids=["std", "ours"]
)


@BOTH
def test_values(classes: tuple[type, type]) -> None:
    point, named = classes
    a, b = point(1), point(1, y=2, note="other", tags=["t"])
    assert (a.x, a.y, a.tags, a.note, a.total) == (1, 2, [], "", 3)
    assert a == b
    assert hash(a) == hash(b)
    assert a != point(2)
    assert a != (1, 2)
    assert a.tags is not point(1).tags
    assert repr(b).endswith("Point(x=1, y=2, tags=['t'])")
    assert dataclasses.replace(a, y=5).total == 6
    assert [one.name for one in dataclasses.fields(named)] == ["x", "y", "tags", "note", "name"]
    assert named(1, name="n") != point(1)
    assert named(1, name="n") == named(x=1, name="n")
    match a:
        case point(x, y):
            assert (x, y) == (1, 2)


@BOTH
def test_refusals(classes: tuple[type, type]) -> None:
    point, named = classes
    with pytest.raises(dataclasses.FrozenInstanceError):
        point(1).x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point(1).x
    for wrong in (point, lambda: point(1, x=1), lambda: point(1, z=1), lambda: point(1, 2, [], "", 5)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(TypeError):
        named(1, 2, [], "", "name")


@frozen.dataclass(frozen=True, eq=False)
class ByIdentity:
    x: int


@frozen.dataclass(frozen=True)
class Nothing:
    """No fields."""


def test_identity_and_pickling() -> None:
    one = ByIdentity(1)
    assert one != ByIdentity(1)
    assert one == one  # noqa: PLR0124 - a value is itself
    assert pickle.loads(pickle.dumps(one)).x == 1
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())


def test_many_instances() -> None:
    """After the first hundred a class makes its instances another way, and they are the same."""

    @frozen.dataclass(frozen=True)
    class Point:
        x: int
        y: int = 2
        tags: list[str] = dataclasses.field(default_factory=list)

    @frozen.dataclass(frozen=True, kw_only=True)
    class Named(Point):
        name: str

    before = [Point(1), Point(1, 5, ["t"]), Named(1, name="n"), Named(x=1, y=3, name="m", tags=["u"])]
    first = Point.__init__, Named.__init__
    for number in range(120):
        Point(number)
        Named(number, name="n")
    after = [Point(1), Point(1, 5, ["t"]), Named(1, name="n"), Named(x=1, y=3, name="m", tags=["u"])]
    assert (Point.__init__, Named.__init__) != first
    assert before == after
    assert [vars(one) for one in before] == [vars(one) for one in after]
    assert after[0].tags is not Point(1).tags
    for wrong in (Point, lambda: Point(1, 2, [], 3), lambda: Point(1, z=2), lambda: Named(1, 2, [], "n")):
        with pytest.raises(TypeError):
            wrong()


def test_a_field_may_be_called_as_anything_in_an_init() -> None:
    @frozen.dataclass(frozen=True)
    class Odd:
        values: int
        missing: int = 2
        make_names: int = 3
        names: list[int] = dataclasses.field(default_factory=list)

    made = [Odd(i) for i in range(3 * frozen._MANY)]
    assert [dataclasses.astuple(odd) for odd in made] == [(i, 2, 3, []) for i in range(3 * frozen._MANY)]
