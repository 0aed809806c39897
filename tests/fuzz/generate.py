"""Random programs: operators are chosen, tried in torch on the meta device, and kept as text when torch takes them.

What the operators are called and what their settings may be is read from the table; what fits is torch's to say.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from fuzz.calls import ERRORS, table
from fuzz.draw import Draw
from fuzz.hints import NO_META, use_of
from fuzz.terms import (
    NAMES,
    TORCH,
    Again,
    As,
    Bind,
    Block,
    Branch,
    Cast,
    Declare,
    Frame,
    Infix,
    Inline,
    Input,
    Operate,
    Program,
    Ref,
    Refs,
    Repeat,
    Round,
    Slice,
    Subscript,
    Sym,
    UseBlock,
)

SYMBOLS = {"N": (5, 7), "T": (9, 11, 12), "H": (10, 14, 16), "W": (13, 18, 20), "L": (15, 17)}
"""Sizes that stay unknown, and what they are while a program is written: numbers that are seldom anything else."""

KNOWN = (1, 2, 3, 4, 4, 6, 8, 8)
FLOATS = ("f32", "f32", "f32", "f32", "f32", "f64", "bf16", "f16")
ANY = (*FLOATS, "i64", "i64", "i32", "u8", "bool")


@dataclass
class Builder:
    """A program in the making, with what torch gives for each of its names."""

    d: Draw
    frame: Frame
    prefix: str = ""
    inputs: list[Input] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    statements: list[Any] = field(default_factory=list)
    pending: list[Input] = field(default_factory=list)
    settings: dict[str, int] = field(default_factory=dict)
    dims: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    counter: int = 0
    parent: "Builder | None" = None

    # -------------------------------------------------------------------------------------------- tensors

    def name(self, letter: str) -> str:
        """A new name."""
        self.counter += 1
        return f"{letter}{self.prefix}{self.counter}"

    def real(self, ref: Ref) -> Any:
        """What torch has for a name."""
        return self.frame.names[ref.name]

    def shape(self, ref: Ref) -> tuple[int, ...]:
        """The real sizes of a name."""
        return tuple(self.real(ref).shape)

    def size(self) -> Any:
        """A size for a new dimension."""
        if self.parent is None and self.frame.sizes and self.d.chance(0.35):
            return Sym(self.d.choice(sorted(self.frame.sizes)))
        return self.d.choice(KNOWN)

    def written(self, number: int) -> Any:
        """A number as a size of the program, by its name where it has one."""
        for name in self.visible_names():
            size = self.frame.sizes[name]
            if size == number:
                return Sym(name)
            if number and number == 2 * size:
                return Sym(name, 2)
        return number

    def visible_names(self) -> list[str]:
        """The names of sizes that some input shows."""
        if self.parent is not None:
            return [name for name in self.frame.sizes if name not in self.settings]
        entries = [*self.inputs, *(entry for entry in self.pending if isinstance(entry, Input))]
        return sorted({size.name for entry in entries for size in entry.dims if isinstance(size, Sym)})

    def visible(self) -> list[Sym]:
        """The sizes that some input shows."""
        return [Sym(name) for name in self.visible_names()]

    def fresh(self, dtype: str, dims: tuple[Any, ...], classes: int | None = None) -> Ref:
        """A new tensor from outside: an input of the model, or a parameter of it."""
        plain = all(isinstance(size, int) for size in dims)
        if plain and len(dims) > 0 and dtype == "f32" and self.parent is None and self.d.chance(0.15):
            made = Declare(self.name("p"), dtype, dims, self.d.choice(("param", "buffer")))
            made.run(self.frame)
            self.pending.append(made)
            return Ref(made.name)
        entry = Input(self.name("x"), dtype, dims, classes)
        self.pending.append(entry)
        self.frame.names[entry.name] = entry.tensor(self.frame.sizes, self.frame.device)
        return Ref(entry.name)

    def symbolic(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Sizes as they would be written."""
        return tuple(self.written(size) for size in shape)

    def tensor(
        self,
        ranks: tuple[int, ...] = (1, 2, 3, 3, 4, 4),
        dtypes: tuple[str, ...] = FLOATS,
        dims: tuple[Any, ...] | None = None,
        known: tuple[int, ...] = (),
        most: int = 0,
    ) -> Ref:
        """A tensor that is there, or a new one. `dims` are sizes, none for any; `known` axes must be numbers."""
        found = [
            Ref(name)
            for name, value in self.frame.names.items()
            if isinstance(value, torch.Tensor)
            and NAMES.get(value.dtype) in dtypes
            and (value.dim() in ranks if dims is None else _fits(value.shape, dims))
            and (not most or value.numel() <= most)
            and all(int(value.shape[axis]) in KNOWN for axis in known if -value.dim() <= axis < value.dim())
        ]
        if found and self.d.chance(0.75):
            return found[-1] if self.d.chance(0.4) else self.d.choice(found)
        if dims is None:
            dims = (None,) * self.d.choice(ranks)
        sizes = [self.size() if size is None else size for size in dims]
        for axis in known:
            if -len(sizes) <= axis < len(sizes) and dims[axis] is None:
                sizes[axis] = self.d.choice(KNOWN)
        return self.fresh(self.d.choice(dtypes), tuple(sizes))

    def like(self, ref: Ref, dtypes: tuple[str, ...] | None = None) -> Ref:
        """A tensor of the same sizes, perhaps of another dtype."""
        value = self.real(ref)
        return self.tensor(dtypes=dtypes or (NAMES[value.dtype],), dims=self.symbolic(tuple(value.shape)))

    def near(self, ref: Ref, dtypes: tuple[str, ...]) -> Ref:
        """A tensor that broadcasts with another, mostly."""
        shape = list(self.symbolic(self.shape(ref)))
        if shape and self.d.chance(0.3):
            shape = shape[self.d.integer(0, len(shape)) :]
        shape = [1 if self.d.chance(0.15) else self.size() if self.d.chance(0.03) else size for size in shape]
        return self.tensor(dtypes=dtypes, dims=tuple(shape))

    def indices(self, dims: tuple[Any, ...], bound: int) -> Ref:
        """Whole numbers below `bound`."""
        if self.d.chance(0.5) and bound > 0:
            return self.fresh("i64", dims, self.d.integer(1, bound) if self.d.chance(0.9) else bound + 1)
        return self.fresh(self.d.choice(("i64", "i64", "i64", "i32")), dims)

    # -------------------------------------------------------------------------------------------- statements

    def statement(self) -> None:
        """Add a statement that torch takes, if one is found in a few tries."""
        for _ in range(4):
            before = (dict(self.frame.names), self.counter, dict(self.frame.labels), len(self.blocks))
            self.pending = []
            try:
                head, stages = self.chain()
                value = () if head is None else head.run(self.frame)
                for stage in stages:
                    value = stage.run(value, self.frame)
                _bounded(value)
            except ERRORS:
                self.frame.names.clear()
                self.frame.names.update(before[0])
                self.frame.labels.clear()
                self.frame.labels.update(before[2])
                del self.blocks[before[3] :]
                continue
            names = self.named(value)
            self.declare()
            self.statements.append(Bind(names, head, stages))
            return

    def declare(self) -> None:
        """What the statement needs from outside comes before it."""
        for entry in self.pending:
            if isinstance(entry, Declare):
                self.statements.append(entry)
            else:
                self.inputs.append(entry)
        self.pending = []

    def named(self, value: Any) -> Any:
        """New names for a result, as nested as it is."""
        if isinstance(value, torch.Tensor):
            name = self.name("v")
            self.frame.names[name] = value
            return name
        return "_" if value is None else [self.named(part) for part in value]

    def chain(self) -> tuple[Any, list[Any]]:
        """The head of a chain and its stages."""
        kind = self.d.integer(0, 99)
        if kind < 60:
            head, stage = self.operator()
            return head, [stage]
        if kind < 68:
            return self.infix(), []
        if kind < 74:
            return self.subscript(), []
        if kind < 77:
            ref = self.tensor(dtypes=ANY)
            return Refs([ref]), [Cast(self.d.choice(("f32", "f64", "i64", "i32", "bool", "bf16", "u8")))]
        if kind < 79:
            return self.asserted()
        if kind < 83:
            return self.again()
        if kind < 93 or self.parent is not None:
            return self.stages()
        return self.block()

    def operator(self, name: str | None = None) -> tuple[Any, Any]:
        """One operator of the table, with tensors and settings that may fit it."""
        entry = table()[name or self.d.choice(names_by_kind(self.d.integer(0, 9)))]
        return use_of(self, entry)

    def infix(self) -> Any:
        sign = self.d.choice(
            ("+", "-", "*", "/", "+", "*", "//", "%", "**", "@", "<", "<=", ">", ">=", "==", "!=", "neg")
        )
        left = self.tensor(dtypes=ANY)
        if sign == "neg":
            return Infix("-", left)
        if sign == "@":
            shape = self.symbolic(self.shape(left))
            other = (*shape[:-2], shape[-1], self.size()) if shape else (3,)
            return Infix(sign, left, self.tensor(dtypes=(NAMES[self.real(left).dtype],), dims=other))
        if self.d.chance(0.4):
            number = self.d.choice((2, 2.5, 1, 0.5, 3, -1))
            return Infix(sign, left, number) if self.d.chance(0.7) else Infix(sign, abs(number), left)
        return Infix(sign, left, self.near(left, ANY))

    def subscript(self) -> Any:
        ref = self.tensor(dtypes=ANY)
        items: list[Any] = []
        for size in self.shape(ref)[: self.d.integer(1, 4)]:
            kind = self.d.integer(0, 9)
            if kind < 3:
                items.append(self.d.integer(-size, size - 1) if size and self.d.chance(0.95) else size)
            elif kind < 7:
                ends = [self.d.choice((None, None, 0, 1, 2, -1, -2, size)) for _ in range(2)]
                ends = [self.written(end) if end == size else end for end in ends]
                items.append(Slice(*ends, self.d.choice((None, None, None, 1, 2, 3))))
            elif kind < 8:
                items.append(None)
            elif kind < 9:
                items.append(self.indices((self.size(),) * self.d.integer(1, 2), size))
            else:
                items.append(...)
        return Subscript(ref, items or [...])

    def asserted(self) -> tuple[Any, list[Any]]:
        ref = self.tensor(dtypes=ANY)
        shape = self.symbolic(self.shape(ref))
        names = tuple(self.name("D").upper() for _ in shape)
        dims = tuple(None if isinstance(size, int) and self.d.chance(0.3) else size for size in shape)
        return Refs([ref]), [As(NAMES[self.real(ref).dtype], dims, names)]

    def again(self) -> tuple[Any, list[Any]]:
        if self.frame.labels and self.d.chance(0.7):
            label = self.d.choice(sorted(self.frame.labels))
            return Refs([self.tensor()]), [Again(label)]
        head, stage = self.operator(self.d.choice(LABELLED))
        stage.label = self.name("m")
        return head, [stage]

    def unary(self, flow: Any) -> Any:
        """A stage over one tensor, as it flows."""
        name = self.d.choice(UNARY)
        before = dict(self.frame.names)
        self.frame.names.clear()
        self.frame.names["flow"] = flow
        try:
            head, stage = use_of(self, table()[name], flow=Ref("flow"))
        finally:
            self.frame.names.clear()
            self.frame.names.update(before)
        return stage if isinstance(head, Refs) and [item.name for item in head.items] == ["flow"] else Cast("f32")

    def stages(self) -> tuple[Any, list[Any]]:
        """A chain of stages over one tensor: alone, in a loop, in a branch, in braces."""
        ref = self.tensor()
        kind = self.d.integer(0, 9)
        if kind < 3:
            body: list[Any] = [
                Operate("Linear", is_function=False, positional=[self.d.choice((4, Round(4, 2), 8))], named={})
            ]
            value = self.real(ref)
        else:
            body, value = [], self.real(ref)
            scratch = Frame(dict(self.frame.names), self.frame.sizes, self.frame.device, [], [])
            for _ in range(self.d.integer(1, 4)):
                pending = list(self.pending)
                stage = self.unary(value)
                if len(self.pending) > len(pending):
                    self.pending = pending
                    continue
                try:
                    following = stage.run(value, scratch)
                except ERRORS:
                    continue
                if isinstance(following, torch.Tensor):
                    body.append(stage)
                    value = following
        body = body or [Cast("f32")]
        if kind < 4:
            return Refs([ref]), [Repeat(self.d.integer(1, 3), body)]
        if kind < 5:
            condition, holds = self.d.choice((("3 > 2", True), ("2 == 3", False), ("1 < 2 and not false", True)))
            return Refs([ref]), [Branch(condition, body, "Linear(5) -> Flatten", holds)]
        if kind < 6:
            return Refs([ref]), [Inline(body)]
        return Refs([ref]), body

    def block(self) -> tuple[Any, list[Any]]:
        """A block of its own, used at once."""
        count = self.d.integer(1, 2)
        given = [self.tensor() for _ in range(count)]
        names: dict[int, str] = {}
        inputs, reals, sizes = [], {}, {}
        tag = f"{len(self.blocks) + 1}b"
        for number, ref in enumerate(given):
            value = self.real(ref)
            dims: list[Any] = []
            for size in value.shape:
                if self.d.chance(0.5):
                    dims.append(Sym(names.setdefault(size, f"{'ABCDEFG'[len(names)]}" if len(names) < 7 else "Z")))
                    sizes[dims[-1].name] = size
                else:
                    dims.append(int(size) if size in KNOWN else Sym(names.setdefault(size, f"S{size}")))
                    if isinstance(dims[-1], Sym):
                        sizes[dims[-1].name] = size
            entry = Input(f"a{tag}{number}", NAMES[value.dtype], tuple(dims))
            inputs.append(entry)
            reals[entry.name] = value
        settings = {"k": self.d.choice((2, 3, 4))} if self.d.chance(0.5) else {}
        inner = Builder(
            self.d,
            Frame(dict(reals), {**sizes, **settings}, self.frame.device, [], []),
            tag,
            settings=settings,
            parent=self,
        )
        for _ in range(self.d.integer(1, 3)):
            inner.statement()
        results = [Ref(name) for statement in inner.statements for name in statement.bound]
        if not results:
            return Refs(given[:1]), [Cast("f32")]
        made = Block(f"Block{tag}", [*inputs, *inner.inputs], settings, inner.statements, results)
        # What the body needs besides comes through further inputs of the block.
        for entry in inner.inputs:
            value = inner.frame.names[entry.name]
            given.append(self.fresh(entry.dtype, self.symbolic(tuple(value.shape)), entry.classes))
        self.blocks.append(made)
        return Refs(given), [UseBlock(made, dict(settings))]


def _fits(shape: Any, dims: tuple[Any, ...]) -> bool:
    return len(shape) == len(dims) and all(
        size is None or (isinstance(size, int) and size == real) for size, real in zip(dims, shape, strict=True)
    )


MOST_ELEMENTS = 60_000


def _bounded(value: Any) -> None:
    """Programs stay small, so that they run on a device that computes as well."""
    if isinstance(value, torch.Tensor):
        if value.numel() > MOST_ELEMENTS or NAMES.get(value.dtype) is None:
            raise ValueError
    elif value is not None:
        if not 1 < len(value) <= 12:
            raise ValueError
        for part in value:
            _bounded(part)


LABELLED = ("Linear", "LayerNorm", "PReLU", "Conv1d", "Conv2d", "BatchNorm2d", "Dropout")
UNARY = (
    "Linear", "ReLU", "LayerNorm", "Flatten", "Dropout", "GELU", "Conv1d", "Conv2d", "MaxPool2d", "AvgPool1d",
    "flatten", "relu", "mean", "sum", "softmax", "transpose", "unsqueeze", "squeeze", "cumsum", "amax", "Conv3d",
    "BatchNorm2d", "BatchNorm1d", "GroupNorm", "permute", "reshape", "Unflatten", "pad", "roll", "Softmax",
)  # fmt: skip


def names_by_kind(kind: int) -> tuple[str, ...]:
    """Names of operators; all of them are as likely, but losses are rarer."""
    layers, functions, losses = _split()
    return losses if kind == 0 else layers if kind < 5 else functions


_KINDS: list[tuple[tuple[str, ...], ...]] = []


def _split() -> tuple[tuple[str, ...], ...]:
    if not _KINDS:
        found: tuple[list[str], list[str], list[str]] = ([], [], [])
        for name, entry in table().items():
            is_loss = entry.kind == "loss" or name.endswith(("_loss", "entropy", "_with_logits", "kl_div"))
            found[2 if is_loss else 0 if entry.kind == "layer" else 1].append(name)
        _KINDS.append(tuple(tuple(names) for names in found))
    return _KINDS[0]


def program(d: Draw, operator: str | None = None) -> Program:
    """A random program that torch takes at the sizes it was written with; `operator` is in it if that is found."""
    chosen = [name for name in SYMBOLS if d.chance(0.6)]
    sizes = {name: d.choice(SYMBOLS[name]) for name in chosen}
    device = "cpu" if operator in NO_META or d.chance(0.05) else "meta"
    builder = Builder(d, Frame({}, sizes, device, [], []))
    if operator is not None:
        builder.chain = lambda: _only(builder, operator)  # type: ignore[method-assign]
        builder.statement()
        del builder.chain
    for _ in range(d.integer(1, 6)):
        builder.statement()
    if not builder.statements or not builder.inputs:
        builder.pending = []
        builder.chain = lambda: (Refs([builder.fresh("f32", (2, 4))]), [Cast("f64")])  # type: ignore[method-assign]
        builder.parent = builder
        builder.statement()
    used = {size.name for entry in builder.inputs for size in entry.dims if isinstance(size, Sym)}
    return Program(builder.inputs, builder.blocks, builder.statements, {n: s for n, s in sizes.items() if n in used})


def _only(builder: Builder, operator: str) -> tuple[Any, list[Any]]:
    head, stage = builder.operator(operator)
    return head, [stage]


__all__ = ["TORCH", "Builder", "program"]
