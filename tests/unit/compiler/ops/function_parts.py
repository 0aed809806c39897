"""What random calls of functions are made of: tensors that mostly fit together, and some that do not."""

import random
from typing import Any

import torch

from expc.compiler.types import TensorType
from expc.spec.values import Dtype

Random = random.Random
Values = dict[str, Any]

DTYPES = ("f32", "f32", "f32", "f64", "bf16", "i64", "i32", "u8", "bool")


def dims(r: Random, low: int = 0, high: int = 4) -> tuple[int, ...]:
    return tuple(r.choice((1, 2, 3, 4)) for _ in range(r.randint(low, high)))


def t(r: Random, sizes: tuple[int, ...] | None = None, dtypes: tuple[str, ...] = DTYPES) -> TensorType:
    return TensorType(r.choice(dtypes), dims(r) if sizes is None else sizes)


def f(r: Random, *sizes: int) -> TensorType:
    return TensorType(r.choice(("f32", "f32", "f32", "f64", "i64")), sizes)


def near(r: Random, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts with `sizes`, mostly."""
    kept = sizes[r.randint(0, len(sizes)) :] if r.random() < 0.5 else sizes
    return tuple(1 if r.random() < 0.2 else r.choice((2, 3)) if r.random() < 0.08 else size for size in kept)


def pair(r: Random, first: str = "input", second: str = "other", numbers: bool = True) -> Values:
    a = dims(r)
    values: Values = {first: t(r, a), second: t(r, near(r, a))}
    if numbers and r.random() < 0.4:
        values[r.choice((second, second, first))] = r.choice((2, 2.5, True, 0, -1, 3))
    return values


def some(r: Random, **options: Any) -> Values:
    """Each option with one of its values, or left out."""
    return {name: r.choice(choices) for name, choices in options.items() if r.random() < 0.6}


AXES = (-5, -4, -3, -2, -1, 0, 1, 2, 3, 4)
DIMS = (*AXES, (0,), [0, 1], [-1, 0], [1, 1], [0, -1], [2, 0, 1], [], None)


def along(r: Random, name: str = "input", **options: Any) -> Values:
    return {name: t(r), "dim": r.choice(AXES), **some(r, **options)}


def over(r: Random, **options: Any) -> Values:
    return {"input": t(r), **some(r, dim=DIMS, keepdim=(True, False), **options)}


def over_one(r: Random, **options: Any) -> Values:
    return {"input": t(r), **some(r, dim=(*AXES, None), keepdim=(True, False), **options)}


DT = tuple(Dtype(name) for name in ("f32", "f64", "bf16", "i64", "i32", "u8", "bool"))
SAFE_DT = tuple(Dtype(name) for name in ("f32", "f64", "i64"))


def shaped(r: Random, name: str) -> Values:
    """Sizes that fit the elements of a tensor, mostly."""
    x = t(r, dims(r, 1))
    count = 1
    for size in x.dims:
        count *= size
    sizes: list[int] = []
    while count > 1 and r.random() < 0.8:
        part = r.choice([n for n in range(1, count + 1) if count % n == 0])
        sizes.append(part)
        count //= part
    sizes.append(count)
    if r.random() < 0.5:
        sizes[r.randrange(len(sizes))] = -1
    if r.random() < 0.1:
        sizes[r.randrange(len(sizes))] = r.choice((-1, -2, 0, 5))
    return {"input": x, name: tuple(sizes)}


def order(r: Random) -> Values:
    x = t(r)
    axes = list(range(x.rank))
    r.shuffle(axes)
    axes = [axis - x.rank if r.random() < 0.2 else axis for axis in axes]
    if axes and r.random() < 0.2:
        axes[0] = r.choice(AXES)
    return {"input": x, "dims": tuple(axes)}


def unflattened(r: Random) -> Values:
    values = shaped(r, "sizes")
    total = 1
    for size in values["input"].dims:
        total *= size
    a = dims(r, 0, 2)
    return {"input": t(r, (*a, total)), "dim": r.choice((-1, len(a), len(a), 7)), "sizes": list(values["sizes"])}


def expanded(r: Random, name: str = "size") -> Values:
    x = t(r, tuple(r.choice((1, 1, 2, 3)) for _ in range(r.randint(0, 3))))
    sizes = [r.choice((-1, size, 4)) if size == 1 else r.choice((-1, size, size, size, 1)) for size in x.dims]
    new = [r.choice((1, 2, 3, -1) if r.random() < 0.2 else (2, 3)) for _ in range(r.choice((0, 0, 1)))]
    return {"input": x, name: tuple(new + sizes)}


def moved(r: Random) -> Values:
    count = r.randint(1, 2)
    pick = lambda: r.choice(AXES) if count == 1 else [r.choice((0, 1, -1)), r.choice((0, 1, -1))]  # noqa: E731
    return {"input": t(r), "source": pick(), "destination": pick()}


def padded(r: Random) -> Values:
    values = {
        "input": t(r, dims(r, 1, 5)),
        "pad": [r.choice((0, 1, 2, -1)) for _ in range(r.choice((2, 2, 4, 4, 6, 3)))],
    }
    mode = r.choice(("constant", "reflect", "replicate", "circular"))
    if mode != "constant":
        values["pad"] = [abs(n) for n in values["pad"]]
    return {**values, "mode": mode, **some(r, value=(None, None, 0.5, 1.0))}


def gathered(r: Random, name: str = "index") -> Values:
    x = t(r, dims(r, 1))
    sizes = tuple(min(size, r.choice((1, 2, 4))) if r.random() < 0.95 else size + 1 for size in x.dims)
    sizes = sizes[1:] if r.random() < 0.05 else sizes
    index = TensorType(r.choice(("i64", "i64", "i64", "i32", "f32")), sizes, 1)
    return {"input": x, name: index, "dim": r.choice(AXES)}


def listed(r: Random, same: bool = False) -> Values:
    """A list of tensors that agree but for one dimension, mostly."""
    a = dims(r)
    at = r.randrange(len(a)) if a else 0
    parts = []
    for _ in range(r.randint(1, 3)):
        sizes = tuple(r.choice((1, 2, 3)) if n == at and not same else size for n, size in enumerate(a))
        if r.random() < 0.06:
            sizes = dims(r)
        parts.append(t(r, sizes))
    return {"tensors": tuple(parts), "dim": r.choice((at, at, at, at - len(a), *AXES)) if a else r.choice(AXES)}


def multiplied(r: Random, a: tuple[int, ...], b: tuple[int, ...], names: tuple[str, str], **more: Any) -> Values:
    dtype = r.choice(("f32", "f32", "f64", "bf16", "i64", "bool"))
    other = dtype if r.random() < 0.95 else "f32"
    wrong = [(2, 3), (3,), (1, 2, 2), ()]
    b = b if r.random() < 0.93 else r.choice(wrong)
    return {names[0]: TensorType(dtype, a), names[1]: TensorType(other, b), **more}


def factors(r: Random) -> Values:
    k = r.choice((1, 2, 3))
    batch = dims(r, 0, 2)
    a = r.choice(((k,), (2, k), (*batch, 4, k)))
    b = r.choice(((k,), (k, 3), (*near(r, batch), k, 3)))
    return multiplied(r, a, b, ("input", "other"))


def added(r: Random, batch: tuple[int, ...], names: tuple[str, str]) -> Values:
    values = multiplied(r, (*batch, 2, 3), (*batch, 3, 4), names, **some(r, alpha=(1, 2), beta=(1, 0)))
    return {"input": TensorType(values[names[0]].dtype, near(r, (*batch, 2, 4))), **values}


def distances(r: Random) -> Values:
    batch = dims(r, 0, 2)
    values = multiplied(r, (*batch, 2, 3), (*near(r, batch), 4, 3), ("x1", "x2"), **some(r, p=(1, 2.0, 0.5, -1.0)))
    return {name: TensorType("f32", v.dims) if getattr(v, "dtype", "") == "bf16" else v for name, v in values.items()}


def clamped(r: Random) -> Values:
    x = t(r)
    if r.random() < 0.5:
        return {"input": x, **some(r, min=(0, 0.5, None, -1), max=(1, 2.5, None))}
    bounds = {name: t(r, near(r, x.dims)) for name in ("min", "max") if r.random() < 0.7}
    return {"input": x, **bounds}


def chosen(r: Random) -> Values:
    values = pair(r)
    a = next(v for v in values.values() if isinstance(v, TensorType)).dims
    return {"condition": TensorType("bool" if r.random() < 0.95 else "f32", near(r, a)), **values}


def filled(r: Random) -> Values:
    a = dims(r)
    value = r.choice((0, 1.5, True, TensorType("f32", ()), TensorType("f32", (2,))))
    x = t(r, a, ("f32", "f64", "bf16") if isinstance(value, TensorType) else DTYPES)
    return {"input": x, "mask": TensorType(r.choice(("bool", "bool", "i64")), near(r, a)), "value": value}


def blended(r: Random, third: str, names: tuple[str, str], number: bool) -> Values:
    a, dtype = dims(r), r.choice(("f32", "f64", "bf16", "i64"))
    values: Values = {name: TensorType(dtype, near(r, a)) for name in (*names, third)}
    if number and r.random() < 0.5:
        values[third] = r.choice((0.5, 2))
    if r.random() < 0.1:
        values[names[1]] = t(r, a)
    return values


def stepped(r: Random) -> Values:
    ends = (0, 1, 5, 7, 2.5, 6.5)
    values = r.choice(({"start": r.choice(ends)}, {"start": r.choice(ends), "end": r.choice(ends)}))
    values |= some(r, step=(1, 2, 3, -1, 0.5, 0))
    whole = not any(isinstance(value, float) for value in values.values())
    return {**values, **some(r, dtype=SAFE_DT if whole else SAFE_DT[:2])}


def sized(r: Random, name: str = "size", **options: Any) -> Values:
    return {name: tuple(r.choice((1, 2, 3)) for _ in range(r.randint(0, 3))), **some(r, **options)}


def one_of(r: Random, **options: Any) -> Values:
    return {name: r.choice(choices) for name, choices in options.items()}


def swapped(values: Values, name: str = "other") -> Values:
    """The first operand a tensor in any case."""
    if not isinstance(values["input"], TensorType):
        values["input"], values[name] = values[name], values["input"]
    return values


def alike(r: Random, first: str, second: str) -> Values:
    """Two tensors of one dtype, mostly."""
    values = pair(r, first, second, numbers=False)
    if r.random() < 0.8:
        values[second] = TensorType(values[first].dtype, values[second].dims)
    return values


def whole(r: Random, numbers: bool) -> Values:
    """Two operands of whole numbers or booleans, mostly."""
    values = pair(r, numbers=numbers)
    for name, value in values.items():
        if isinstance(value, TensorType) and value.dtype not in WHOLE and r.random() < 0.9:
            values[name] = TensorType(r.choice(WHOLE), value.dims)
    return values


def quantiles(r: Random) -> Values:
    x = t(r, None, ("f32", "f64", "f64", "bf16", "i64"))
    q = r.choice((0.5, 0, 1.5, TensorType(x.dtype, ()), TensorType(x.dtype, (2,)), TensorType("f32", (1, 2))))
    return {"input": x, "q": q, **some(r, dim=AXES, keepdim=(True,), interpolation=("nearest", "midpoint"))}


def weighed(r: Random) -> Values:
    x = t(r, dims(r, 0, 3) if r.random() < 0.2 else (2, 3))
    weights = {"fweights": ("i64", "i32", "f32"), "aweights": ("f32", "f64", "i64")}
    count = x.dims[-1] if x.dims else 1
    given = {name: t(r, (count,), dtypes) for name, dtypes in weights.items() if r.random() < 0.3}
    return {"input": x, **given, **some(r, correction=(0, 1))}


def differences(r: Random) -> Values:
    values = along(r, n=(0, 1, 2))
    sizes = list(values["input"].dims)
    for name in ("prepend", "append"):
        if r.random() < 0.3 and sizes:
            sizes[r.randrange(len(sizes))] = r.choice((1, 2, 3))
            values[name] = t(r, tuple(sizes) if r.random() < 0.9 else ())
    return values


def sampled(r: Random) -> Values:
    """Samples y, at equal distances or at the positions x."""
    y = t(r, dims(r, 1) if r.random() < 0.9 else ())
    if r.random() < 0.3:
        return {"y": y, **some(r, dx=(1, 0.5), dim=AXES)}
    at = r.choice(AXES)
    inside = -len(y.dims) <= at < len(y.dims)
    sizes = (y.dims[at],) if inside and r.random() < 0.6 else near(r, y.dims)
    return {"y": y, "x": t(r, sizes), "dim": at}


def vectors(r: Random) -> tuple[TensorType, ...]:
    dtype = r.choice(DTYPES)
    return tuple(
        TensorType(dtype if r.random() < 0.95 else "f64", dims(r, r.choice((0, 1, 1, 1)), r.choice((1, 1, 1, 2))))
        for _ in range(r.randint(1, 3))
    )


def indices(r: Random, sizes: tuple[int, ...], below: int = 1) -> TensorType:
    return TensorType(r.choice(("i64", "i64", "i64", "i32", "f32")), sizes, below)


def sourced(r: Random) -> Values:
    """A slice of the source for each index, mostly."""
    values = along(r)
    x, at = values["input"], values["dim"]
    count = r.choice((1, 2, 3))
    sizes = list(x.dims)
    if -len(sizes) <= at < len(sizes):
        sizes[at] = count if r.random() < 0.9 else 4
    source = TensorType(x.dtype if r.random() < 0.95 else "f64", tuple(sizes) if r.random() < 0.95 else dims(r))
    return {**values, "index": indices(r, (count,) if r.random() < 0.9 else dims(r, 0, 2)), "source": source}


def placed(r: Random) -> Values:
    x = t(r, dims(r, 1))
    place = dims(r, 0, 2)
    index = tuple(indices(r, near(r, place)) for _ in range(r.randint(1, min(len(x.dims) + 1, 2))))
    values = TensorType(x.dtype if r.random() < 0.95 else "f64", near(r, (*place, *x.dims[len(index) :])))
    return {"input": x, "indices": index, "values": values, **some(r, accumulate=(True,))}


def flat_index(r: Random) -> Values:
    x = t(r, dims(r, 1))
    count = dims(r)
    source = TensorType(x.dtype if r.random() < 0.9 else "i64", count if r.random() < 0.8 else dims(r))
    return {"input": x, "index": indices(r, count), "source": source}


def scattered(r: Random, number: float | None = None, **options: Any) -> Values:
    x = t(r)
    sizes = tuple(min(size, r.choice((1, 2, 4))) if r.random() < 0.95 else size + 1 for size in x.dims)
    wider = tuple(size + r.choice((0, 0, 1)) if r.random() < 0.97 else 1 for size in sizes)
    source = TensorType(x.dtype if r.random() < 0.95 else "f64", wider if r.random() < 0.95 else dims(r))
    values = {"input": x, "dim": r.choice(AXES), "index": indices(r, sizes if r.random() < 0.95 else dims(r))}
    return {**values, "src": source if number is None else number, **(some(r, **options) if options else {})}


def masked(r: Random) -> Values:
    a = dims(r)
    dtype = r.choice(DTYPES)
    source = TensorType(dtype if r.random() < 0.9 else "f64", (4, 4, 4, 4))
    return {
        "input": TensorType(dtype, near(r, a)),
        "mask": TensorType("bool" if r.random() < 0.9 else "i64", near(r, a)),
        "source": source,
    }


def written(r: Random, how: str, **options: Any) -> Values:
    """A source of the shape of the part of the input into which it is written, mostly."""
    x = torch.zeros(dims(r, 1) if r.random() < 0.9 else (), device="meta")
    values = some(r, **options) | ({} if how == "diagonal" else {"dim": r.choice(AXES[2:8])})
    if how == "select":
        values = {"index": 0, **values}
    try:
        part = x[(slice(None),) * (values["dim"] % x.dim())] if how != "diagonal" else x.diagonal(**values)
        if how == "select":
            part = x.select(values["dim"], values["index"])
        elif how == "slice":
            part = x.transpose(0, values["dim"])[values.get("start") : values.get("end") : values.get("step", 1)]
            part = part.transpose(0, values["dim"])
    except (IndexError, RuntimeError, ZeroDivisionError):
        part = x
    sizes = tuple(part.shape) if r.random() < 0.9 else dims(r)
    return {"input": t(r, tuple(x.shape)), "src": t(r, sizes), **values}


def searched(r: Random) -> Values:
    ordered = t(r, dims(r, 0 if r.random() < 0.1 else 1, r.choice((1, 3))))
    sizes = (*ordered.dims[:-1], r.choice((1, 2, 3))) if len(ordered.dims) > 1 and r.random() < 0.8 else dims(r)
    x = r.choice((1, 0.5, *(TensorType(ordered.dtype if r.random() < 0.9 else "f64", sizes) for _ in range(5))))
    values = {
        "sorted_sequence": ordered,
        "input": x,
        **some(r, right=(True,), out_int32=(True,), side=("left", "right")),
    }
    if r.random() < 0.2:
        values["sorter"] = indices(r, ordered.dims if r.random() < 0.9 else dims(r))
    return values


def vector(r: Random, name: str) -> Values:
    """An input and a vector for a matrix [2, 3]."""
    dtype = r.choice(("f32", "f32", "f64", "i64"))
    sizes = r.choice(((2,), (2,), (1,), (), (3,)))
    return {
        "input": TensorType(dtype, sizes),
        "mat": TensorType(dtype, (2, 3)),
        name: TensorType(dtype if r.random() < 0.9 else "bf16", (r.choice((3, 3, 3, 2)),)),
    }


def contracted(r: Random) -> Values:
    a, shared, b = dims(r, 0, 2), dims(r, 0, 2), dims(r, 0, 2)
    values = multiplied(r, (*a, *shared), (*shared, *b), ("a", "b"))
    named = [list(range(len(a), len(a) + len(shared))), list(range(len(shared)))]
    return {**values, "dims": r.choice((len(shared), len(shared), named, 1, 2, [[0], [-1]]))}


def crossed(r: Random) -> Values:
    a = (*dims(r, 0, 2), 3)
    return {"input": t(r, a), "other": t(r, tuple(1 if r.random() < 0.1 else size for size in a))}


def bilinear(r: Random) -> Values:
    batch = dims(r, 0, 2)
    values = multiplied(r, (*batch, 3), (*(batch if r.random() < 0.95 else (2,)), 2), ("input1", "input2"))
    dtype = values["input1"].dtype
    values["weight"] = TensorType(dtype if r.random() < 0.95 else "f64", (4, 3, r.choice((2, 2, 2, 3))))
    return values | ({"bias": TensorType(dtype, (r.choice((4, 4, 3)),))} if r.random() < 0.4 else {})


def square(r: Random) -> Values:
    side = r.choice((1, 2, 3))
    sizes = (*dims(r, 0, 2), side, side if r.random() < 0.9 else 4)
    return {"input": t(r, sizes if r.random() < 0.95 else dims(r), FLOATS)}


FLOATS = ("f32", "f64", "bf16", "i64")
WHOLE = ("i64", "i32", "u8", "bool")
