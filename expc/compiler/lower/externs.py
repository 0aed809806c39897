"""The Python code of an `extern`: imported, made with its settings, and held to what is declared for it.

This is the only place that imports what a file names, and it is reached only by building a model and by a run.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from expc.compiler.dimensions import Size, as_symbol, substitute
from expc.compiler.errors.python import (
    ExecutionError,
    ExternNotFound,
    ExternObject,
    ExternResult,
    ExternSettings,
)
from expc.compiler.graph import Apply, Leaf, Value
from expc.compiler.lower.values import Getter, torch_dtype
from expc.compiler.ops.declare import PythonCode
from expc.compiler.types import FLOATING, TORCH_NAMES, TensorType, is_known
from expc.diagnostics import Label, Span
from expc.spec.suggest import advice, nearest
from expc.spec.values import show


class FunctionLayer(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__()
        self._name = name
        self._function = function

    def forward(self, *tensors: Tensor) -> Any:
        """What the function makes of the tensors."""
        return self._function(*tensors)

    def _get_name(self) -> str:
        return self._name


def load(code: PythonCode) -> Any:
    """The object that an `extern` names. Raises `ExecutionError` (E0703)."""

    def missing(reason: str) -> ExecutionError:
        return ExecutionError(ExternNotFound(span=code.span, kind=code.kind, extern=code.name, reason=reason))

    try:
        with _importing_from(code):
            found: Any = importlib.import_module(code.module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{code.module}.".startswith(f"{error.name}."):
            raise missing(f"importing `{code.module}` fails: {error}") from error
        folder = Path(code.folder).resolve()
        raise missing(f"there is no module `{error.name}` in {folder}, nor is one installed") from error
    except Exception as error:
        # A module may do anything when it is imported.
        raise missing(f"importing `{code.module}` fails: {type(error).__name__}: {error}") from error
    for part in code.path.split("."):
        if not hasattr(found, part):
            place = getattr(found, "__file__", None) or getattr(found, "__name__", code.module)
            near = nearest(part, [name for name in dir(found) if not name.startswith("_")])
            raise missing(f"{place} has no `{part}`{advice(near)}")
        found = getattr(found, part)
    return found


@contextmanager
def _importing_from(code: PythonCode) -> Iterator[None]:
    """The folder of the file comes first among the places of modules, for as long as one is imported.

    No compiled code is left there: the folder may be that of a run, of which nothing changes when it is repeated.
    """
    folder = Path(code.folder).resolve()
    before, writes_no_bytecode = list(sys.path), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    _forget_others(code.module.partition(".")[0], folder)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
        sys.dont_write_bytecode = writes_no_bytecode


def _forget_others(name: str, folder: Path) -> None:
    """A module of this name that was loaded from beside another file gives way to the one in `folder`."""
    loaded = sys.modules.get(name)
    if loaded is None or not ((folder / f"{name}.py").is_file() or (folder / name).is_dir()):
        return
    home = _home(loaded)
    if home is None or home == folder or any(home.is_relative_to(Path(root)) for root in _installed()):
        return
    for other in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
        del sys.modules[other]


def _home(module: ModuleType) -> Path | None:
    """The folder that a module, or its package, lies in."""
    origin = getattr(module, "__file__", None)
    if origin is not None:
        path = Path(origin).resolve()
        return path.parent.parent if path.name == "__init__.py" else path.parent
    places = list(getattr(module, "__path__", []))
    return Path(places[0]).resolve().parent if places else None


def _installed() -> set[str]:
    import sysconfig

    return {str(Path(path).resolve()) for path in sysconfig.get_paths().values()}


def make(code: PythonCode, settings: Mapping[str, Any], *first: Any, tensors: int = 0) -> Any:
    """What the code makes of its settings, after what comes `first`.

    A function that takes so many `tensors` before its settings is taken as it is, its settings filled in. Raises
    `ExecutionError` (E0703 to E0705).
    """
    target, given = load(code), {name: _plain(value) for name, value in settings.items()}

    def refused(reason: str) -> ExecutionError:
        shown = ", ".join(f"{name}={show(value)}" for name, value in settings.items())
        problem = ExternSettings(
            span=code.span, kind=code.kind, extern=code.name, target=code.path, given=shown, reason=reason
        )
        return ExecutionError(problem)

    if not callable(target):
        raise wrong_object(code, f"is {_shown(target)}", "a class or a function")
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # of some functions in C nothing is known
        signature = None
    try:
        if signature is not None:
            signature.bind(*first, **given)
    except TypeError as error:
        if tensors and inspect.isroutine(target) and signature is not None and _binds(signature, tensors, given):
            return FunctionLayer(code.name, partial(target, **given))
        raise refused(str(error)) from error
    if signature is None and tensors and inspect.isroutine(target):
        return FunctionLayer(code.name, partial(target, **given))
    try:
        return target(*first, **given)
    except Exception as error:
        # Python code may raise anything.
        raise refused(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error


def _binds(signature: inspect.Signature, tensors: int, given: Mapping[str, Any]) -> bool:
    try:
        signature.bind(*[None] * tensors, **given)
    except TypeError:
        return False
    return True


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def wrong_object(code: PythonCode, found: str, expected: str) -> ExecutionError:
    """What to raise where the code is, or makes, something that its kind does not ask for."""
    problem = ExternObject(
        span=code.span, kind=code.kind, extern=code.name, target=code.path, found=found, expected=expected
    )
    return ExecutionError(problem)


def _shown(value: Any) -> str:
    return f"a `{type(value).__name__}`"


def extern_module(leaf: Leaf) -> nn.Module:
    """The module of a layer or a loss. Raises `ExecutionError`."""
    code, operator = leaf.operator.python, leaf.operator
    assert code is not None  # noqa: S101 - the caller looked
    made = make(code, leaf.settings, tensors=len(operator.arguments))
    if isinstance(made, nn.Module):
        return made
    if operator.kind == "loss" and callable(made) and not isinstance(made, type):
        return FunctionLayer(code.name, made)
    raise wrong_object(code, f"makes {_shown(made)}", "an nn.Module")


# ---------------------------------------------------------------------------------------------------- results


def checked(get: Getter, step: Apply, slots: Mapping[Value | str, int]) -> Getter:
    """`get`, whose result must have the declared types at the sizes that arrive. `slots` says where values stand."""
    code = step.operator.python
    assert code is not None  # noqa: S101 - the caller looked
    several = isinstance(step.result, tuple)
    results = step.result if isinstance(step.result, tuple) else (step.result,)
    types = [value.type for value in results if isinstance(value, Value) and is_known(value.type)]
    sizes = _shown_sizes(step, slots)

    def run(module: nn.Module, env: list[Any]) -> Any:
        result = get(module, env)
        found = _taken_apart(result, code.results) if several else (result,)
        known: dict[str, Size] = {name: env[slot].shape[axis] for name, (slot, axis) in sizes.items()}
        if found is None or not _fit(found, types, known):
            raise wrong_result(code, types, result, step.span, known)
        return found if several else result

    return run


def _shown_sizes(step: Apply, slots: Mapping[Value | str, int]) -> dict[str, tuple[int, int]]:
    """Where each unknown size is seen: (place of a tensor, axis)."""
    sizes: dict[str, tuple[int, int]] = {}
    for value in step.arguments.values():
        if isinstance(value, Value) and is_known(value.type):
            for axis, size in enumerate(value.type.dims):
                symbol = as_symbol(size)
                if symbol is not None:
                    sizes.setdefault(symbol.name, (slots[value], axis))
    return sizes


def _taken_apart(result: Any, names: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Several results in their declared order; none where they are not as many, or have other names."""
    if isinstance(result, Mapping):
        return tuple(result[name] for name in names) if set(names) == set(result) else None
    return tuple(result) if isinstance(result, tuple | list) and len(result) == len(names) else None


def _fit(values: Sequence[Any], types: Sequence[TensorType], known: Mapping[str, Size]) -> bool:
    return all(_fits(value, type_, known) for value, type_ in zip(values, types, strict=True))


def _fits(value: Any, type_: TensorType, known: Mapping[str, Size]) -> bool:
    if not isinstance(value, Tensor) or value.dim() != type_.rank:
        return False
    if value.dtype != torch_dtype(type_.dtype) and not _reduced(value, type_):
        return False
    for size, expected in zip(value.shape, type_.dims, strict=True):
        if isinstance(expected, int):
            if expected != size:
                return False
        # torch.compile cannot follow the arithmetic of sizes, and would break the graph at it.
        elif not torch.compiler.is_compiling():
            wanted = substitute(expected, dict(known))
            if isinstance(wanted, int) and wanted != size:
                return False
    return True


def _reduced(value: Tensor, type_: TensorType) -> bool:
    """Whether another precision than the declared one is what autocast, or a model in it, makes of floating point."""
    return type_.dtype in FLOATING and value.is_floating_point()


def wrong_result(
    code: PythonCode, types: Sequence[TensorType], found: Any, span: Span, known: Mapping[str, Size] | None = None
) -> ExecutionError:
    """What to raise where the code gave something else than it is declared to give."""
    at = [TensorType(t.dtype, tuple(substitute(size, dict(known or {})) for size in t.dims), t.classes) for t in types]
    problem = ExternResult(
        span=code.span,
        kind=code.kind,
        extern=code.name,
        expected=", ".join(map(str, at)),
        found=shown_type(found),
        labels=(Label(span, "used here"),),
    )
    return ExecutionError(problem)


def shown_type(value: Any) -> str:
    """A value as the language writes its type."""
    if isinstance(value, Tensor):
        torch_name = str(value.dtype).removeprefix("torch.")
        dtype = next((name for name, of_torch in TORCH_NAMES.items() if of_torch == torch_name), torch_name)
        return f"{dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name}: {shown_type(item)}" for name, item in value.items()) + ")"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} ({', '.join(map(shown_type, value))})"
    return f"a `{type(value).__name__}`"
