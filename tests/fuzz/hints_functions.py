"""What functions of tensors may be given."""

from typing import TYPE_CHECKING, Any

from fuzz.spelling import Values
from fuzz.terms import Dtype
from fuzz.values import ANY, anything, axis, dtype_of, factors, first_of, settings

if TYPE_CHECKING:
    from fuzz.generate import Builder


def products(b: "Builder", entry: Any, flow: Any) -> Values:
    """Matrix products: sizes that meet inside."""
    name = entry.name
    names = [param.name for param in entry.arguments if param.tensor]
    dtypes = ("f32", "f32", "f32", "f64", "i64")
    inner, rows, columns, batch = b.size(), b.size(), b.size(), b.size()
    shapes: dict[str, list[tuple[Any, ...]]] = {
        "mm": [(rows, inner), (inner, columns)],
        "bmm": [(batch, rows, inner), (batch, inner, columns)],
        "mv": [(rows, inner), (inner,)],
        "dot": [(inner,), (inner,)],
        "vdot": [(inner,), (inner,)],
        "outer": [(rows,), (columns,)],
        "ger": [(rows,), (columns,)],
        "addmm": [(rows, columns), (rows, inner), (inner, columns)],
        "addmv": [(rows,), (rows, inner), (inner,)],
        "addr": [(rows, columns), (rows,), (columns,)],
        "baddbmm": [(batch, rows, columns), (batch, rows, inner), (batch, inner, columns)],
        "addbmm": [(rows, columns), (batch, rows, inner), (batch, inner, columns)],
        "cdist": [(batch, rows, inner), (batch, columns, inner)],
        "matmul": [
            b.d.choice([(inner,), (rows, inner), (batch, rows, inner)]),
            b.d.choice([(inner,), (inner, columns), (batch, inner, columns)]),
        ],
    }
    sizes = shapes.get(name, [(batch, inner)] * len(names))
    first = b.tensor(dtypes=dtypes, dims=sizes[0])
    found: Values = {names[0]: first}
    for other, dims in zip(names[1:], sizes[1:], strict=False):
        found[other] = b.tensor(dtypes=dtype_of(b, first) if b.d.chance(0.95) else dtypes, dims=dims)
    chosen = settings(b, entry, b.shape(first), found)
    return {**chosen, "p": b.d.choice((1.0, 2.0))} if "p" in chosen else chosen


def joined(b: "Builder", entry: Any, flow: Any) -> Values:
    """cat and stack: tensors that differ in the joined dimension at most."""
    x = b.tensor((1, 2, 3, 4), ANY)
    shape = list(b.symbolic(b.shape(x)))
    along = b.d.integer(0, max(len(shape) - 1, 0))
    others = []
    for _ in range(b.d.integer(0, 2)):
        dims = list(shape)
        if "stack" not in entry.name and dims and b.d.chance(0.5):
            dims[along] = b.size()
        others.append(b.tensor(dtypes=ANY if b.d.chance(0.1) else dtype_of(b, x), dims=tuple(dims)))
    names = [param.name for param in entry.arguments]
    found: Values = {names[0]: [x, *others]}
    if "dim" in names and b.d.chance(0.8):
        found["dim"] = along - (len(shape) if b.d.chance(0.2) and "stack" not in entry.name else 0)
    return found


def gathering(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions with a tensor of indices."""
    x = first_of(b, flow, (1, 2, 3), ANY)
    shape = b.shape(x)
    at = b.d.integer(0, len(shape) - 1)
    found: Values = {entry.arguments[0].name: x, "dim": at - (len(shape) if b.d.chance(0.2) else 0)}
    bound = shape[at]
    dims = list(b.symbolic(shape))
    dims[at] = b.size()
    if entry.name in ("index_select", "index_add", "index_copy", "index_fill"):
        found["index"] = b.indices((dims[at],), bound)
    else:
        names = [param.name for param in entry.arguments]
        found["index" if "index" in names else "indices"] = b.indices(tuple(dims), bound)
    for name in ("src", "source"):
        if any(param.name == name for param in entry.arguments):
            found[name] = b.tensor(dtypes=dtype_of(b, x), dims=tuple(dims))
    return settings(b, entry, shape, found)


def reshaped(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3, 4), ANY)
    shape = b.shape(x)
    name = entry.arguments[1].name if entry.kind == "function" else "unflattened_size"
    if "nflatten" in entry.name:
        at = b.d.integer(0, len(shape) - 1) if shape else 0
        parts = [1]
        if shape:
            parts = factors(b, shape[at])
        if entry.kind == "function":
            name = "sizes"
        return {entry.arguments[0].name: x, "dim": at - (len(shape) if b.d.chance(0.2) else 0), name: parts}
    if b.d.chance(0.5):
        # The first dimensions stay, the rest is taken together: how it is mostly written.
        kept = b.d.integer(0, len(shape))
        return {entry.arguments[0].name: x, name: [*b.symbolic(shape[:kept]), -1]}
    count = 1
    for size in shape:
        count *= size
    return {entry.arguments[0].name: x, name: factors(b, count)}


def unflattened(b: "Builder", entry: Any, flow: Any) -> Values:
    found = reshaped(b, entry, flow)
    return {**found, "dim": found["dim"]}


def expanded(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (0, 1, 2, 3), ANY)
    shape = b.shape(x)
    new = (*b.visible(), 1, 2, 3, 4)
    dims = [b.d.choice(new) if size == 1 else b.d.choice((-1, b.written(size), b.written(size))) for size in shape]
    dims = [b.d.choice(new) for _ in range(b.d.integer(0, 1))] + dims
    return {"input": x, entry.arguments[1].name: dims}


def ordered(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3, 4), ANY)
    left = list(range(len(b.shape(x))))
    found = []
    while left:
        at = left.pop(b.d.integer(0, len(left) - 1))
        found.append(at - len(b.shape(x)) if b.d.chance(0.2) else at)
    if entry.name == "flip":
        found = found[: b.d.integer(0, len(found))]
    return {"input": x, "dims": found}


def tiled(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    return {"input": x, "dims": [b.d.integer(1, 3) for _ in range(b.d.integer(1, 3))]}


def split(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    shape = b.shape(x)
    at = b.d.integer(0, len(shape) - 1)
    size = shape[at]
    parts: Any = b.d.integer(1, max(size, 1))
    if b.d.chance(0.5) and size > 1:
        cut = b.d.integer(1, size - 1)
        parts = [cut, size - cut]
        if b.written(size) != size:
            parts = parts if b.d.chance(0.3) else [b.written(size), 0]
    return {"tensor": x, "split_size_or_sections": parts, "dim": at}


def created(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions that make a tensor from none."""
    dims = [b.d.choice((*b.visible(), 1, 2, 3, 4)) for _ in range(b.d.integer(1, 3))]
    name, found = entry.name, dict[str, Any]()
    if name == "arange":
        found = (
            {"start": b.d.choice((*b.visible(), 3, 5))}
            if b.d.chance(0.6)
            else {"start": 1, "end": b.d.choice((4, 7)), "step": b.d.choice((1, 2))}
        )
    elif name == "eye":
        found = {"n": dims[0], **({"m": dims[-1]} if b.d.chance(0.4) else {})}
    elif name in ("linspace", "logspace"):
        found = {"start": 0, "end": 1, "steps": dims[0]}
    elif name == "tensor":
        found = {"data": b.d.choice((1.5, 2, True, [1, 2, 3], [1.0, 2.0], [[1, 2], [3, 4]], [[0.5]]))}
    elif name == "full":
        found = {"size": dims, "fill_value": b.d.choice((1, 0.5, True))}
    elif name == "randint":
        found = {"high": b.d.choice((3, 10)), "size": dims}
    elif name == "randperm":
        found = {"n": dims[0]}
    elif name == "normal":
        found = {"mean": 0.0, "std": 1.0, "size": dims}
    elif any(param.name == "size" for param in entry.arguments):
        found = {"size": dims}
    else:
        return anything(b, entry, flow)
    if b.d.chance(0.3) and any(param.name == "dtype" for param in entry.arguments):
        found["dtype"] = Dtype(b.d.choice(("f32", "f64", "i64", "bf16")))
    return found


def einsum(b: "Builder", entry: Any, flow: Any) -> Values:
    i, j, k, n = (b.size() for _ in range(4))
    equation, dims = b.d.choice(
        (
            ("i j, j k -> i k", [(i, j), (j, k)]),
            ("n i j, n j k -> n i k", [(n, i, j), (n, j, k)]),
            ("n i j -> n j i", [(n, i, j)]),
            ("i j -> i", [(i, j)]),
            ("i, j -> i j", [(i,), (j,)]),
            ("... i, i -> ...", [(n, i), (i,)]),
            ("n i d, n j d -> n i j", [(n, i, k), (n, j, k)]),
        )
    )
    return {"equation": equation, "operands": [b.tensor(dtypes=("f32",), dims=part) for part in dims]}


def rearranged(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2, 3, 4), ANY)
    shape = b.shape(x)
    names = ["a", "b", "c", "d"][: len(shape)]
    left, axes_, sizes = [], list(names), {}
    for name, size in zip(names, shape, strict=True):
        if b.d.chance(0.3) and size % 2 == 0:
            left.append(f"({name} s{name})")
            axes_.append(f"s{name}")
            sizes[b.d.choice((name, f"s{name}"))] = 2
        else:
            left.append(name)
    right = []
    while axes_:
        taken = axes_.pop(b.d.integer(0, len(axes_) - 1))
        if axes_ and b.d.chance(0.25):
            taken = f"({taken} {axes_.pop()})"
        right.append(taken)
    return {"input": x, "pattern": f"{' '.join(left)} -> {' '.join(right)}", "axes": sizes}


def selected(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    shape = b.shape(x)
    at = b.d.integer(0, len(shape) - 1)
    size = shape[at]
    if entry.name == "select":
        return {"input": x, "dim": at, "index": b.d.integer(-size, max(size - 1, 0))}
    start = b.d.integer(0, max(size - 1, 0))
    return {"input": x, "dim": at, "start": start, "length": b.d.integer(0, max(size - start, 0))}


def where(b: "Builder", entry: Any, flow: Any) -> Values:
    x = b.tensor((1, 2, 3), ANY)
    condition = b.near(x, ("bool",))
    other = b.d.choice((2, 0.5)) if b.d.chance(0.3) else b.near(x, ANY)
    if entry.name == "masked_fill":
        return {"input": x, "mask": condition, "value": b.d.choice((0.0, 1, True))}
    return {"condition": condition, "input": x, "other": other}


def one_hot(b: "Builder", entry: Any, flow: Any) -> Values:
    count = b.d.choice((4, 10))
    return {"tensor": b.fresh("i64", (b.size(),), count), **({"num_classes": count} if b.d.chance(0.7) else {})}


def logical(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ("bool", "bool", "f32", "i64"))
    return settings(b, entry, b.shape(x), {entry.arguments[0].name: x})


def repeated(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    found: Values = {"input": x, "repeats": b.d.integer(0, 3)}
    return {**found, "dim": axis(b, len(b.shape(x)))} if b.d.chance(0.7) else found


def rolled(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    return {"input": x, "shifts": b.d.integer(-3, 3), **({"dims": axis(b, len(b.shape(x)))} if b.d.chance(0.8) else {})}


def drawn(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2), ("f32", "f64"))
    return {"input": x, "num_samples": b.d.integer(1, 3), "replacement": b.d.chance(0.5)}


def whole(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions of whole numbers."""
    x = first_of(b, flow, (1, 2, 3), ("i64", "i64", "i32", "bool", "u8"))
    given: Values = {}
    for param in entry.arguments:
        if param.tensor and param.required:
            given[param.name] = (b.near(x, ("i64", "i32")) if b.d.chance(0.7) else b.like(x)) if given else x
    return settings(b, entry, b.shape(x), given)


def several(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions of any number of tensors."""
    if entry.name in ("meshgrid", "cartesian_prod"):
        found: Values = {"tensors": [b.tensor((1,), ("f32",)) for _ in range(b.d.integer(2, 3))]}
        return {**found, "indexing": b.d.choice(("ij", "xy"))} if entry.name == "meshgrid" else found
    x = b.tensor((1, 2), ANY)
    others = [b.near(x, dtype_of(b, x)) for _ in range(b.d.integer(1, 2))]
    return {entry.arguments[0].name: [x, *others]}


def matrix(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2,), ("f32", "f64"))
    return settings(b, entry, b.shape(x), {entry.arguments[0].name: x})


def vector(b: "Builder", entry: Any, flow: Any) -> Values:
    x = b.tensor((1,), ("f32", "i64"))
    return settings(b, entry, b.shape(x), {entry.arguments[0].name: x})


def crossed(b: "Builder", entry: Any, flow: Any) -> Values:
    x = b.tensor(dtypes=("f32", "f64"), dims=(None, 3))
    return {"input": x, "other": b.like(x), "dim": b.d.choice((1, -1))}


def scattered(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions that write into a part of a tensor."""
    x = first_of(b, flow, (2, 3), ("f32", "i64"))
    shape = list(b.symbolic(b.shape(x)))
    same = dtype_of(b, x)
    at = b.d.integer(0, len(shape) - 1)
    bound = b.shape(x)[at]
    rest = shape[:at] + shape[at + 1 :]
    count = b.d.integer(1, 3)
    match entry.name:
        case "diagonal_scatter":
            side = min(b.shape(x)[:2])
            return {"input": x, "src": b.tensor(dtypes=same, dims=(*shape[2:], b.written(side)))}
        case "select_scatter":
            return {"input": x, "src": b.tensor(dtypes=same, dims=tuple(rest)), "dim": at, "index": 0}
        case "index_fill":
            return {"input": x, "dim": at, "index": b.indices((count,), bound), "value": b.d.choice((0.0, 1))}
        case "index_put":
            bound = b.shape(x)[0]
            values_ = b.tensor(dtypes=same, dims=(count, *shape[1:]))
            return {"input": x, "indices": [b.indices((count,), bound)], "values": values_}
        case "put":
            return {"input": x, "index": b.indices((count,), 1), "source": b.tensor(dtypes=same, dims=(count,))}
    return anything(b, entry, flow)


def unravelled(b: "Builder", entry: Any, flow: Any) -> Values:
    return {"indices": b.tensor((1, 2), ("i64",)), "shape": [b.d.integer(1, 4), b.d.integer(1, 4)]}
