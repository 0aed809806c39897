"""The types of values that flow: tensors with named dimensions, and the unknown."""

from typing import Final, TypeGuard

from expc.compiler.dimensions import Size, substitute
from expc.frozen import dataclass

NO_CLASS: Final = -100
"""What stands for no class in a mask, or among tokens: the default `ignore_index` of torch's losses."""

FLOATING: Final = frozenset({"f16", "bf16", "f32", "f64"})
INTEGER: Final = frozenset({"u8", "i8", "i16", "i32", "i64"})
DTYPES: Final = FLOATING | INTEGER | {"bool"}

TORCH_NAMES: Final = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "u8": "uint8",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "bool": "bool",
}
"""The language's dtypes by torch's names."""


@dataclass(frozen=True)
class TensorType:
    """`f32[N, 3, H, W]`. `classes` says that the values are indices below it: `class(10)`, tokens of a vocabulary."""

    dtype: str
    dims: tuple[Size, ...]
    classes: Size | None = None

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.dims)

    def with_dims(self, *dims: Size) -> "TensorType":
        """The same elements in another shape."""
        return TensorType(self.dtype, dims, self.classes)

    def __str__(self) -> str:
        dims = ", ".join(map(str, self.dims))
        if self.classes is not None:
            return f"class({self.classes})[{dims}]" if self.dims else f"class({self.classes})"
        return f"{self.dtype}[{dims}]"


@dataclass(frozen=True)
class UnknownType:
    """What a value has after an error: it agrees with everything and causes no second one."""

    def __str__(self) -> str:
        return "?"


UNKNOWN: Final = UnknownType()

Type = TensorType | UnknownType


def is_known(type_: Type) -> TypeGuard[TensorType]:
    """Whether anything is known of the type."""
    return isinstance(type_, TensorType)


def at(type_: TensorType, sizes: dict[str, Size]) -> TensorType:
    """The type with the symbols named in `sizes` replaced."""
    classes = None if type_.classes is None else substitute(type_.classes, sizes)
    return TensorType(type_.dtype, tuple(substitute(dim, sizes) for dim in type_.dims), classes)


_WIDTH: Final = {
    "i8": 8,
    "u8": 8,
    "i16": 16,
    "i32": 32,
    "i64": 64,
    "f16": 16,
    "bf16": 16,
    "f32": 32,
    "f64": 64,
    "bool": 1,
}


def category(dtype: str) -> int:
    """0 for bool, 1 for whole numbers, 2 for floating point: the order in which torch promotes."""
    return 2 if dtype in FLOATING else 1 if dtype in INTEGER else 0


def promote(a: str, b: str) -> str:
    """The dtype of an operation on tensors of two dtypes, as `torch.promote_types`."""
    if a == b:
        return a
    if category(a) != category(b):
        return a if category(a) > category(b) else b
    if {a, b} == {"f16", "bf16"}:
        return "f32"
    if "u8" in (a, b) and "i8" in (a, b):
        return "i16"
    return a if _WIDTH[a] > _WIDTH[b] else b


def promote_number(dtype: str, number: object) -> str:
    """The dtype of an operation on a tensor and a Python number: only a higher category changes the tensor's."""
    if isinstance(number, bool):
        return dtype
    if isinstance(number, float) and category(dtype) < 2:
        return "f32"
    if category(dtype) < 1:
        return "i64"
    return dtype


def result_dtype(types: list[tuple[str, int]]) -> str:
    """The dtype of an operation on tensors given as (dtype, rank), as `torch.result_type`.

    Tensors of rank 0 count like numbers: they matter only where their category is higher.
    """
    sized = [dtype for dtype, rank in types if rank]
    scalar = [dtype for dtype, rank in types if not rank]
    result: str | None = None
    for dtype in sized:
        result = dtype if result is None else promote(result, dtype)
    zero: str | None = None
    for dtype in scalar:
        zero = dtype if zero is None else promote(zero, dtype)
    if result is None or zero is None:
        return result or zero or "f32"
    return result if category(result) >= category(zero) else zero
