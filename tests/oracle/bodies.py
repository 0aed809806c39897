"""Runs models: a walk over the syntax tree in which every tensor is a real torch tensor on the meta device."""

import inspect
import operator
from typing import Any, NoReturn

import torch

from expc.spec import syntax
from oracle import arithmetic, functions, layers
from oracle.errors import LanguageRefused, NotCovered, asking
from oracle.library import knows
from oracle.values import (
    ABSENT,
    STAGES,
    Argument,
    Builtin,
    Closure,
    Dtype,
    Frame,
    Function,
    Labelled,
    Lasting,
    Let,
    ModuleRef,
    Pipeline,
    Place,
    Quantity,
    Recipe,
    Scope,
    Tensor,
    TensorRef,
    Watched,
    WeightRef,
    flows,
    tensors,
)

_OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "@": operator.matmul,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ROLES = ("train", "val", "test", "predict")
_DEEPEST = 60
_LONGEST = 50_000


def refuse(rule: str, message: str = "") -> NoReturn:
    """A rule of the language says no."""
    raise LanguageRefused(rule, message)


def is_input(parameter: syntax.Parameter) -> bool:
    """Whether a parameter is a tensor that flows."""
    type_ = parameter.type
    return isinstance(type_, syntax.ClassTypeExpr) or (
        isinstance(type_, syntax.TensorTypeExpr) and type_.dims is not None
    )


class Runner:
    """Runs the bodies of one file. `trace` has every decision, so that runs at several sizes can be compared."""

    def __init__(self, tree: syntax.File, training: bool = True) -> None:
        self.tree, self.training = tree, training
        self.file = Scope()
        self.trace: list[tuple[str, Any]] = []
        self.blocks: set[str] = set()
        self.active: list[int] = []
        self.steps = 0
        self.loss = False
        self.stock = layers.Stock()
        for statement in tree.statements:
            self.declare(statement)

    def declare(self, statement: syntax.Statement) -> None:
        """A declaration of the file."""
        match statement:
            case syntax.Let():
                value: Any = Let(statement, self.file)
            case syntax.Fn():
                value = Function(statement, self.file)
            case syntax.Block() | syntax.ModelOf():
                value = Recipe(statement.name, target=statement, scope=self.file)
            case syntax.Import() | syntax.Extern():
                raise NotCovered(type(statement).__name__)
            case _:
                return
        name = statement.name
        if name in self.file.names:
            refuse("declared twice", name)
        results = [field.name for field in getattr(getattr(statement, "result", None), "fields", ())]
        if len(set(results)) < len(results):
            refuse("result twice", name)
        if knows(name) and (name[0].isupper() or not isinstance(value, Let)):
            refuse("reserved", name)
        self.file.names[name] = value

    # ------------------------------------------------------------------------------------------------ expressions

    def evaluate(self, node: syntax.Expr, place: Place) -> Any:
        """The value of an expression."""
        match node:
            case syntax.Constant():
                return node.value
            case syntax.Name():
                return self.name(node.id, place)
            case syntax.Paren():
                inner = place.at(arithmetic=False)
                value = self.evaluate(node.inner, inner)
                return self.tensor_of(value, inner) if place.wants and isinstance(value, STAGES) else value
            case syntax.Call():
                return self.call(node, place)
            case syntax.Chain():
                return self.chain(node, place)
            case syntax.Binary():
                return self.binary(node, place)
            case syntax.Unary():
                return self.unary(node, place)
            case syntax.ListExpr():
                return tuple(self.evaluate(item, place.setting()) for item in node.items)
            case syntax.TupleExpr():
                parts = [self.evaluate(item, place) for item in node.items]
                if place.wants:
                    parts = [self.tensor_of(p, place) if isinstance(p, STAGES) else p for p in parts]
                return tuple(parts)
            case syntax.Labelled():
                stage, label = self.evaluate(node.stage, place.setting()), self.evaluate(node.label, place)
                return Labelled(label, stage)
            case syntax.Body() | syntax.Repeat() | syntax.As():
                return Closure(node, place)
            case syntax.Conditional():
                return self.evaluate(node.then if self.condition(node.condition, place) else node.orelse, place)
            case syntax.Index():
                return self.index(node, place)
            case syntax.Attribute():
                return self.attribute(node, place)
            case syntax.Template():
                return self.template(node, place)
            case syntax.Quantity():
                return Quantity(node.number, node.unit)
            case syntax.Lasting():
                duration = self.evaluate(node.duration, place)
                if not isinstance(duration, Quantity | int) or isinstance(duration, bool):
                    refuse("duration", str(duration))
                return Lasting(self.evaluate(node.stage, place), duration)
        refuse("no value", type(node).__name__)

    def name(self, word: str, place: Place) -> Any:
        """What a name stands for."""
        if word == "flow":
            if place.flow is None:
                refuse("no flow", "flow")
            return place.flow
        value = self.meaning(word, place.scope)
        if value is ABSENT:
            refuse("unknown name", word)
        return value

    def meaning(self, word: str, scope: Scope) -> Any:
        """What a name stands for, or `ABSENT`."""
        value = scope.lookup(word)
        if isinstance(value, Let):
            return self.let(value)
        if value is not ABSENT:
            if isinstance(value, Builtin) and functions.function(value.name):
                return Recipe(value.name)
            return value
        if word in arithmetic.BUILTINS:
            return Builtin(word)
        if word == "pi":
            return 3.141592653589793
        if word in layers.DTYPES:
            return Dtype(word)
        return Recipe(word) if knows(word) else ABSENT

    def let(self, value: Let) -> Any:
        """The value of a `let`."""
        if value.value is ABSENT:
            if value.active:
                refuse("recursion", value.node.name)
            value.active = True
            value.value = self.evaluate(value.node.value, Place(value.scope))
            value.active = False
        return value.value

    def template(self, node: syntax.Template, place: Place) -> str:
        """A string with values in it."""
        parts = [part if isinstance(part, str) else self.evaluate(part, place) for part in node.parts]
        return "".join(part if isinstance(part, str) else str(part) for part in parts)

    def condition(self, node: syntax.Expr, place: Place) -> bool:
        """What must be true or false."""
        value = self.evaluate(node, place.setting())
        if not isinstance(value, bool):
            refuse("condition", str(value))
        return value

    def binary(self, node: syntax.Binary, place: Place) -> Any:
        """An operation."""
        if node.operator in ("and", "or"):
            left = self.condition(node.left, place)
            return left if left == (node.operator == "or") else self.condition(node.right, place)
        inner = place.at(arithmetic=True, wants=place.frame is not None)
        left, right = self.operand(node.left, inner), self.operand(node.right, inner)
        if isinstance(left, Tensor) or isinstance(right, Tensor):
            for side in (left, right):
                if not isinstance(side, Tensor | int | float):
                    refuse("operand", str(side))
            return self.marked(functions.operate(_OPERATORS[node.operator], left, right), [left, right])
        result = arithmetic.operate(node.operator, left, right)
        if node.operator in ("==", "!=", "<", "<=", ">", ">=") and arithmetic.is_number(left):
            difference = left - right if arithmetic.is_number(right) else 0
            self.trace.append(("compare", (node.span.start, difference, result)))
        return result

    def operand(self, node: syntax.Expr, place: Place) -> Any:
        """One side of an operation: a stage that takes the flow stands in parentheses."""
        value = self.evaluate(node, place)
        if place.frame is None or not isinstance(value, STAGES):
            return value
        if isinstance(value, TensorRef | WeightRef):
            return self.tensor_of(value, place)
        is_function = isinstance(value, Recipe) and value.target is None and self.is_function(value.name)
        if is_function and not functions.takes_flow(value.name, value.arguments):
            return self.tensor_of(value, place.at(arithmetic=False))
        refuse("stage in arithmetic", "")

    def is_function(self, name: str) -> bool:
        """Whether a name is a function of torch rather than a layer."""
        return layers.layer_class(name) is None and bool(functions.function(name))

    def unary(self, node: syntax.Unary, place: Place) -> Any:
        """`-x`, `not x`."""
        if node.operator == "not":
            return not self.condition(node.operand, place)
        value = self.operand(node.operand, place.at(arithmetic=True, wants=place.frame is not None))
        if isinstance(value, Tensor):
            return self.function("neg", (Argument(None, value),), place)
        if not arithmetic.is_number(value):
            refuse("arithmetic", f"-{value}")
        return -value

    def index(self, node: syntax.Index, place: Place) -> Any:
        """`x[...]`."""
        value = self.evaluate(node.value, place)
        if isinstance(value, TensorRef | WeightRef) or (isinstance(value, STAGES) and place.wants):
            value = self.tensor_of(value, place)
        if isinstance(value, Tensor):
            return self.subscript(value, node, place)
        if not isinstance(value, tuple | str) or len(node.items) != 1:
            refuse("index", str(value))
        item = self.item(node.items[0], place)
        if not isinstance(item, slice) and not (isinstance(item, int) and not isinstance(item, bool)):
            refuse("index", str(item))
        try:
            return value[item]
        except (IndexError, TypeError, ValueError) as error:
            refuse("index", str(error))

    def item(self, node: syntax.Expr, place: Place) -> Any:
        """One index."""
        if isinstance(node, syntax.Slice):
            parts = [
                None if p is None else self.evaluate(p, place.setting()) for p in (node.start, node.stop, node.step)
            ]
            for part in parts:
                if part is not None and (isinstance(part, bool) or not isinstance(part, int)):
                    refuse("slice", str(part))
            return slice(*parts)
        if isinstance(node, syntax.Name) and node.id == "...":
            return Ellipsis
        value = self.evaluate(node, place.setting())
        return self.tensor_of(value, place) if isinstance(value, STAGES) else value

    def subscript(self, value: Tensor, node: syntax.Index, place: Place) -> Tensor:
        """An index of a tensor, as torch takes it."""
        items = tuple(self.item(item, place) for item in node.items)
        for item, axis in zip(items, range(value.data.dim()), strict=False):
            if isinstance(item, Tensor):
                if item.data.dtype not in (torch.int32, torch.int64):
                    refuse("index dtype", str(item.data.dtype))
                layers.in_range(item, value.data.shape[axis], "[]")
            elif isinstance(item, bool) or not (item is None or item is Ellipsis or isinstance(item, int | slice)):
                refuse("index", str(item))
        value.used = True
        with asking("[]"):
            known = None
            if value.known is not None and not any(isinstance(item, Tensor) for item in items):
                known = value.known[items]
            return Tensor(value.data[tuple(layers.raw(item) for item in items)], known)

    def attribute(self, node: syntax.Attribute, place: Place) -> Any:
        """`wte.weight`, `val.loss`."""
        path: list[str] = []
        head: syntax.Expr = node
        while isinstance(head, syntax.Attribute):
            path.insert(0, head.name)
            head = head.value
        if isinstance(head, syntax.Name):
            ref = place.scope.lookup(head.id)
            if isinstance(ref, ModuleRef):
                held = dict(_weights(ref.module))
                if ".".join(path) not in held:
                    refuse("no parameter", ".".join(path))
                return WeightRef(held[".".join(path)], ref.owner)
            if ref is ABSENT and head.id in _ROLES and len(path) == 1:
                return Watched(head.id, path[0])
        refuse("attribute", ".".join(path))

    # ------------------------------------------------------------------------------------------------ calls

    def call(self, node: syntax.Call, place: Place) -> Any:
        """A call: computed at compile time, or a recipe with further arguments."""
        function = self.evaluate(node.function, place.setting())
        arguments = self.arguments(node, place)
        if isinstance(function, Builtin):
            values = tuple(argument.value for argument in arguments)
            if any(isinstance(value, Watched) for value in values) or any(map(_is_flow, values)):
                return Recipe(function.name, arguments)
            if any(argument.name for argument in arguments):
                refuse("unknown argument", function.name)
            return arithmetic.call(function.name, values)
        if isinstance(function, Function):
            return self.compute(function, arguments)
        if isinstance(function, Recipe):
            return Recipe(function.name, function.arguments + arguments, function.target, function.scope)
        refuse("not a function", str(function))

    def arguments(self, node: syntax.Call, place: Place) -> tuple[Argument, ...]:
        """The arguments of a call, evaluated as settings."""
        at = node.span.start
        found = tuple(Argument(a.name, self.evaluate(a.value, place.setting()), at) for a in node.arguments)
        named = [argument.name for argument in found if argument.name is not None]
        if len(set(named)) != len(named):
            refuse("argument twice", str(named))
        return found

    def compute(self, function: Function, arguments: tuple[Argument, ...]) -> Any:
        """A `fn` of the file."""
        scope = Scope(function.scope)
        self.fill(function.node.parameters, arguments, scope)
        return self.deeper(function.node, lambda: self.evaluate(function.node.value, Place(scope)))

    def deeper(self, node: Any, do: Any) -> Any:
        """Unfold a definition, which must not need itself."""
        self.count()
        if id(node) in self.active or len(self.active) >= _DEEPEST:
            refuse("recursion", getattr(node, "name", ""))
        self.active.append(id(node))
        try:
            return do()
        finally:
            self.active.pop()

    def count(self) -> None:
        """No program takes for ever."""
        self.steps += 1
        if self.steps > _LONGEST:
            refuse("too large")

    def fill(self, parameters: tuple[syntax.Parameter, ...], arguments: tuple[Argument, ...], scope: Scope) -> None:
        """Bind the parameters of a function or a block; a later argument replaces an earlier one."""
        names = [parameter.name for parameter in parameters]
        values: dict[str, Any] = {}
        unnamed: dict[str, Any] = {}
        for argument in arguments:
            if argument.name is None:
                free = [name for name in names if name not in values]
                if not free:
                    refuse("too many arguments")
                values[free[0]], unnamed[free[0]] = argument.value, argument.call
            elif unnamed.get(argument.name, argument) == argument.call:
                refuse("argument twice", argument.name)
            elif argument.name in names:
                values[argument.name] = argument.value
            else:
                refuse("unknown argument", argument.name)
        for parameter in parameters:
            if parameter.name not in values:
                if parameter.default is None:
                    refuse("missing argument", parameter.name)
                values[parameter.name] = self.evaluate(parameter.default, Place(scope))
            _check_setting(parameter, values[parameter.name])
            self.bind(parameter.name, values[parameter.name], scope)

    def chain(self, node: syntax.Chain, place: Place) -> Any:
        """A chain: a tensor in a body, a pipeline in settings."""
        head, *rest = node.stages
        value = self.evaluate(head, place.at(arithmetic=False))
        if place.frame is None or not (place.wants or flows(value)):
            parts = [value, *(self.after_arrow(stage, place) for stage in rest)]
            stages: list[Any] = []
            for part in parts:
                if isinstance(part, Pipeline):
                    stages += part.stages
                elif isinstance(part, Recipe | Labelled | Closure | Lasting | Dtype):
                    stages.append(part)
                else:
                    refuse("not a stage", str(part))
            return Pipeline(tuple(stages))
        flow = self.tensor_of(value, place.at(arithmetic=False))
        for stage in rest:
            flow = self.stage(stage, place.at(flow=flow, wants=True, arithmetic=False))
        return flow

    def after_arrow(self, node: syntax.Expr, place: Place) -> Any:
        """A stage: after an arrow `max` is the tensor's."""
        name = node.function if isinstance(node, syntax.Call) else node
        if isinstance(name, syntax.Name) and name.id != "flow":
            found = self.name(name.id, place)
            if isinstance(found, Builtin) and functions.function(found.name):
                return Recipe(found.name, self.arguments(node, place) if isinstance(node, syntax.Call) else ())
        return self.evaluate(node, place)

    def stage(self, node: syntax.Expr, place: Place) -> Any:
        """What a stage makes of the flow."""
        from oracle.names import names

        mentions = "flow" in names(node)
        value = self.after_arrow(node, place if mentions else place.setting())
        has_all = isinstance(value, Recipe) and value.target is None and self.is_function(value.name)
        has_all = has_all and not functions.takes_flow(value.name, value.arguments)
        if not mentions and (has_all or _is_tensor(value)):
            refuse("ignores the flow")
        return self.tensor_of(value, place)

    # ------------------------------------------------------------------------------------------------ applying

    def tensor_of(self, value: Any, place: Place) -> Any:
        """The tensor that a value gives where one is wanted: stages are applied to the flow."""
        if isinstance(value, Tensor):
            return value
        if isinstance(value, TensorRef | WeightRef):
            if value.owner is not place.frame:
                refuse("another body")
            if isinstance(value, TensorRef):
                return Tensor(value.owner.tensors[value.name])
            return Tensor(value.tensor)
        if isinstance(value, STAGES):
            return self.apply(value, place)
        if isinstance(value, tuple):
            return tuple(self.tensor_of(part, place) if part is not None else None for part in value)
        refuse("no tensor", str(value))

    def apply(self, value: Any, place: Place, label: str | None = None) -> Any:
        """Apply a stage to the flow; a module that it makes is called `label`."""
        match value:
            case Recipe():
                return self.recipe(value, place, label)
            case Labelled():
                return self.labelled(value, place)
            case Pipeline() if label is None:
                flow = place.flow
                for stage in value.stages:
                    flow = self.apply(stage, place.at(flow=flow, wants=True))
                return flow
            case Pipeline():
                return self.container(value, place, label)
            case Closure(syntax.Repeat() as node, home) if label is None:
                self.need(place)
                return self.repeat(node, home.at(flow=place.flow, frame=place.frame, wants=True))
            case Closure(syntax.As() as node, _):
                self.need(place)
                self.match(node.type, self.single(place.flow), place.scope)
                return place.flow
            case Closure():
                return self.container(value, place, label)
            case Dtype():
                self.need(place)
                flow = self.single(place.flow)
                flow.used = True
                dtype = layers.DTYPES[value.name]
                known = None if flow.known is None or dtype.is_floating_point else flow.known.to(dtype)
                return Tensor(flow.data.to(dtype), known)
            case ModuleRef():
                return self.again(value, place)
        refuse("not a stage", str(value))

    def need(self, place: Place) -> None:
        """Something must flow."""
        if place.flow is None:
            refuse("no flow")

    def single(self, flow: Any) -> Tensor:
        """The flow as one tensor."""
        if not isinstance(flow, Tensor):
            refuse("several tensors")
        return flow

    def recipe(self, value: Recipe, place: Place, label: str | None) -> Any:
        """Apply a layer, a function or a block."""
        if isinstance(value.target, syntax.Block):
            for argument in value.arguments:
                if argument.name in {p.name for p in value.target.parameters if is_input(p)} or _is_tensor(
                    argument.value
                ):
                    refuse("tensor among the settings", str(argument.name))
            return self.container(value, place, label)
        if isinstance(value.target, syntax.ModelOf):
            made = self.deeper(value.target, lambda: self.evaluate(value.target.value, Place(self.file)))
            if not isinstance(made, Recipe):
                refuse("model of no recipe")
            return self.recipe(
                Recipe(made.name, made.arguments + value.arguments, made.target, made.scope), place, label
            )
        cls = layers.layer_class(value.name)
        if cls is not None:
            return self.layer(cls, value.arguments, place, label)
        if functions.function(value.name):
            return self.function(value.name, value.arguments, place)
        refuse("not a stage", value.name)

    def function(self, name: str, given: tuple[Argument, ...], place: Place) -> Any:
        """Call a function of torch."""
        self.count()
        arguments = list(given)
        if functions.takes_flow(name, given):
            self.need(place)
            if place.arithmetic:
                refuse("stage in arithmetic", name)
            piped = place.flow if isinstance(place.flow, tuple) else (place.flow,)
            arguments = [*(Argument(None, value) for value in piped), *arguments]
        inner = place.at(arithmetic=False, wants=True)
        applied = [Argument(a.name, self.tensor_argument(a.value, inner)) for a in arguments]
        return self.marked(functions.run(name, applied, self.training), [a.value for a in applied])

    def tensor_argument(self, value: Any, place: Place) -> Any:
        """An argument of a function: stages in it are applied."""
        if isinstance(value, tuple):
            return tuple(self.tensor_argument(part, place) for part in value)
        if isinstance(value, Dtype):
            return value
        return self.tensor_of(value, place) if isinstance(value, STAGES) else value

    def marked(self, result: Any, inputs: Any) -> Any:
        """What is made of a tensor that exists in training only exists in training only."""
        if any(tensor.training_only for tensor in tensors(tuple(inputs))):
            for tensor in tensors(result):
                tensor.training_only = True
        return result

    def layer(self, cls: Any, arguments: tuple[Argument, ...], place: Place, label: str | None) -> Any:
        """Make a layer for what arrives, and call it."""
        self.count()
        frame = self.body_of(place)
        name = self.claim(frame, label)
        if any(_is_tensor(a.value) and a.name is None for a in arguments):
            refuse("tensor among the settings", cls.__name__)
        settings, further, ties = layers.split_arguments(cls, arguments)
        self.need(place)
        further = {key: self.tensor_argument(value, place.at(wants=True)) for key, value in further.items()}
        piped = layers.piped_inputs(cls, place.flow, further)
        first = list(tensors(tuple(piped)))
        layers.batch_rule(cls, first)
        if frame.again:
            module = frame.children[name]
        else:
            written = dict(settings)
            layers.infer(cls, settings, first)
            self.trace.append(("layer", (cls.__name__, repr(written))))
            module = layers.make(cls, settings) if ties else self.stock.take(cls, settings)
            weights = dict(module.named_parameters())
            self.trace.append(("weights", {key: tuple(weight.shape) for key, weight in weights.items()}))
            for key, ref in ties.items():
                if key not in weights or weights[key].shape != ref.tensor.shape or ref.owner is not frame:
                    refuse("tie", key)
                setattr(module, key, ref.tensor)
            frame.children[name] = module
        if label is not None:
            self.bind(label, ModuleRef(label, module, frame), place.scope, replace=frame.again)
        return self.marked(layers.run(module, piped, further), piped)

    def labelled(self, value: Labelled, place: Place) -> Any:
        """A stage whose module has a name."""
        frame = self.body_of(place)
        if not isinstance(value.label, str) or flows(value.stage):
            refuse("label", str(value.label))
        if value.label in frame.taken:
            refuse("label twice", value.label)
        result = self.apply(value.stage, place, value.label)
        if value.label not in frame.taken:
            refuse("label of no module", value.label)
        return result

    def claim(self, frame: Frame, label: str | None) -> str:
        """The name of the next module of a body."""
        name = str(frame.position) if label is None else label
        frame.position += 1
        self.take(frame, name)
        return name

    def take(self, frame: Frame, name: str) -> None:
        """Names in a container are different ones."""
        if name in frame.taken or not name or "." in name:
            refuse("label twice", name)
        frame.taken.add(name)

    def body_of(self, place: Place) -> Frame:
        """The container that is being built."""
        if place.frame is None:
            refuse("no body")
        return place.frame

    def again(self, ref: ModuleRef, place: Place) -> Any:
        """A module used a second time."""
        if ref.owner is not place.frame:
            refuse("another body", ref.name)
        self.need(place)
        if isinstance(ref.module, Frame):
            how, before = ref.how
            if [t.data.shape for t in tensors(place.flow)] != before:
                refuse("shared at another shape", ref.name)
            frame = Frame(ref.module.title, ref.module.children, ref.module.tensors, ref.module.buffers, again=True)
            return self.inside(how, frame, place)
        cls = type(ref.module)
        piped = layers.piped_inputs(cls, place.flow, {})
        layers.batch_rule(cls, list(tensors(tuple(piped))))
        return self.marked(layers.run(ref.module, piped, {}), piped)

    # ------------------------------------------------------------------------------------------------ containers

    def container(self, value: Any, place: Place, label: str | None) -> Any:
        """A block, an inline body or a labelled pipeline: a container with its own numbering."""
        outer = self.body_of(place)
        name = self.claim(outer, label)
        self.need(place)
        title = value.name if isinstance(value, Recipe) else "Body"
        frame = outer.children[name] if outer.again else Frame(title)
        if outer.again:
            frame = Frame(title, frame.children, frame.tensors, frame.buffers, again=True)
        before = [t.data.shape for t in tensors(place.flow)]
        try:
            result = self.inside(value, frame, place)
        finally:
            if not outer.again:
                outer.children[name] = frame
        if label is not None:
            self.bind(label, ModuleRef(label, frame, outer, (value, before)), place.scope, replace=outer.again)
        return result

    def inside(self, value: Any, frame: Frame, place: Place) -> Any:
        """Run what a container holds."""
        if isinstance(value, Recipe):
            return self.deeper(value.target, lambda: self.block(value, frame, place))
        if isinstance(value, Pipeline):
            inner = place.at(scope=Scope(place.scope), frame=frame, flow=self.enter(place.flow))
            return self.apply(value, inner)
        inner = Place(Scope(value.place.scope), self.enter(place.flow), frame, wants=True)
        if isinstance(value.node, syntax.Repeat):
            return self.repeat(value.node, inner)
        return self.body(value.node, inner)[0]

    def enter(self, flow: Any) -> Any:
        """What flows in counts as used outside."""
        for tensor in tensors(flow):
            tensor.used = True
        return flow

    def block(self, value: Recipe, frame: Frame, place: Place) -> Any:
        """Run a block of the file on the flow."""
        statement = value.target
        assert isinstance(statement, syntax.Block)
        self.blocks.add(statement.name)
        inputs = [parameter for parameter in statement.parameters if is_input(parameter)]
        piped = place.flow if isinstance(place.flow, tuple) and inputs else (place.flow,)
        if inputs and len(piped) != len(inputs):
            refuse("inputs", f"{statement.name} takes {len(inputs)} tensors")
        scope = Scope(value.scope)
        self.fill(tuple(p for p in statement.parameters if not is_input(p)), value.arguments, scope)
        for parameter, tensor in zip(inputs, piped, strict=False):
            assert parameter.type is not None
            self.enter(tensor)
            self.match(parameter.type, self.single(tensor), scope)
            self.bind(parameter.name, tensor, scope)
        for condition in statement.conditions:
            if not self.condition(condition, Place(scope)):
                refuse("where", statement.name)
        return self.statements(statement, Place(scope, self.enter(piped[0]), frame, wants=True))

    def statements(self, statement: syntax.Block, place: Place) -> Any:
        """The body of a block or a model, and its declared result."""
        result, _ = self.body(statement.body, place, declared=statement.result)
        if isinstance(statement.result, syntax.RecordTypeExpr):
            return self.record(statement.result, place)
        if statement.result is not None:
            self.match(statement.result, self.single(result), place.scope)
        if not isinstance(result, Tensor | tuple):
            refuse("no tensor", statement.name)
        if any(tensor.training_only for tensor in tensors(result)):
            refuse("training only")
        return result

    def record(self, declared: syntax.RecordTypeExpr, place: Place) -> tuple[Any, ...]:
        """Named results."""
        found = []
        for field in declared.fields:
            value = place.scope.names.get(field.name)
            if not isinstance(value, Tensor):
                refuse("no result", field.name)
            if value.training_only and not field.in_training:
                refuse("training only", field.name)
            value = Tensor(value.data, value.known, value.classes, used=True)
            value.training_only = field.in_training
            found.append(value)
        if all(field.in_training for field in declared.fields):
            refuse("training only")
        return tuple(found)

    # ------------------------------------------------------------------------------------------------ statements

    def body(self, body: syntax.Body, place: Place, declared: syntax.TypeExpr | None = None) -> tuple[Any, bool]:
        """Run statements one after the other. Gives the flow at the end, and whether it was returned."""
        flow, made = place.flow, False
        for position, statement in enumerate(body.statements):
            self.count()
            here = place.at(flow=flow, wants=True, arithmetic=False)
            before, returned = flow, False
            match statement:
                case syntax.Flow():
                    flow = self.tensor_of(self.evaluate(statement.value, here), here)
                case syntax.Bind():
                    self.bound(statement, here, declared)
                case syntax.Return():
                    flow, returned = self.tensor_of(self.evaluate(statement.value, here), here), True
                case syntax.If():
                    taken = statement.then if self.condition(statement.condition, here) else statement.orelse
                    if taken is not None:
                        flow, returned = self.body(taken, here.at(scope=Scope(here.scope)))
                case syntax.For():
                    flow = self.loop(statement, here)
                case syntax.Declare():
                    self.declared(statement, here)
                case syntax.Init():
                    self.init(statement, here)
                case _:
                    refuse("no statement of a body")
            if flow is not before:
                if made and self.is_dropped(before, flow, place.scope):
                    refuse("unused flow")
                made = True
            if returned:
                if position < len(body.statements) - 1:
                    refuse("after return")
                return flow, True
        return flow, False

    def is_dropped(self, before: Any, after: Any, scope: Scope) -> bool:
        """Whether nothing has used what flowed before."""
        dropped = list(tensors(before))
        kept = {id(tensor) for tensor in tensors(after)}
        named = {id(t) for t in tensors(tuple(scope.names.values()))}
        return bool(dropped) and not any(t.used or id(t) in kept or id(t) in named for t in dropped)

    def bound(self, statement: syntax.Bind, place: Place, declared: syntax.TypeExpr | None) -> None:
        """`a, b = chain`."""
        value = self.evaluate(statement.value, place)
        if isinstance(value, STAGES):
            value = self.tensor_of(value, place)
        types = (
            {field.name: field.type for field in declared.fields} if isinstance(declared, syntax.RecordTypeExpr) else {}
        )

        def one(name: str, part: Any) -> None:
            if name in types and isinstance(part, Tensor):
                self.match(types[name], part, place.scope)
            self.bind(name, part, place.scope)

        self.unpack(statement.target, value, one)

    def unpack(self, pattern: syntax.Pattern, value: Any, bind: Any) -> None:
        """Take a value apart."""
        if pattern.name is not None:
            if pattern.name != "_":
                bind(pattern.name, value)
            return
        if not isinstance(value, tuple) or len(value) != len(pattern.items):
            refuse("unpack", str(len(pattern.items)))
        for item, part in zip(pattern.items, value, strict=True):
            self.unpack(item, part, bind)

    def bind(self, name: str, value: Any, scope: Scope, replace: bool = False) -> None:
        """Nothing is bound twice in one body."""
        level: Scope | None = scope
        while level is not None and not level.is_file and not replace:
            if name in level.names:
                refuse("bound twice", name)
            level = level.parent
        scope.names[name] = value

    def loop(self, statement: syntax.For, place: Place) -> Any:
        """`for`."""
        items = self.evaluate(statement.iterable, place.setting())
        if not isinstance(items, tuple):
            refuse("for over no list")
        flow = place.flow
        for item in items:
            inner = place.at(scope=Scope(place.scope), flow=flow)
            self.unpack(statement.target, item, lambda name, part, s=inner.scope: self.bind(name, part, s))
            flow = self.round(statement.body, inner)
        return flow

    def repeat(self, node: syntax.Repeat, place: Place) -> Any:
        """`repeat n as i { }`."""
        count = self.evaluate(node.count, place.setting())
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _LONGEST:
            refuse("repeat", str(count))
        self.trace.append(("repeat", count))
        flow = place.flow
        for number in range(count):
            inner = place.at(scope=Scope(place.scope), flow=flow)
            if node.variable not in (None, "_"):
                self.bind(str(node.variable), number, inner.scope)
            flow = self.round(node.body, inner)
        return flow

    def round(self, body: syntax.Body, place: Place) -> Any:
        """One round of a loop."""
        self.count()
        flow, returned = self.body(body, place)
        if returned:
            refuse("return in a loop")
        return flow

    def declared(self, statement: syntax.Declare, place: Place) -> None:
        """`param` and `buffer`."""
        frame = self.body_of(place)
        self.take(frame, statement.name)
        type_ = statement.type
        if not isinstance(type_, syntax.TensorTypeExpr) or type_.dims is None or type_.dtype not in layers.DTYPES:
            refuse("type", statement.name)
        dims = [self.size(dim, place) for dim in type_.dims]
        value = self.begun(statement, place)
        self.trace.append(("weights", {statement.name: tuple(dims)}))
        tensor = torch.empty(dims, dtype=layers.DTYPES[type_.dtype], device="meta")
        from oracle.starts import start

        if isinstance(value, Tensor):
            self.match(type_, value, place.scope)
        else:
            start(value, tensor)
        frame.tensors[statement.name] = tensor
        if statement.kind == "buffer":
            frame.buffers.add(statement.name)
        else:
            tensor.requires_grad_(tensor.is_floating_point())
        self.bind(statement.name, TensorRef(statement.name, frame), place.scope)

    def begun(self, statement: syntax.Declare, place: Place) -> Any:
        """What a declared tensor starts as: an initialiser, numbers, or a tensor that is computed at once."""
        outer, inner, scope = self.body_of(place), Frame("Start"), Scope(place.scope)
        node = statement.value
        while isinstance(node, syntax.Paren):
            node = node.inner
        for part in syntax.walk(node):
            found = scope.lookup(part.id) if isinstance(part, syntax.Name) else ABSENT
            if isinstance(found, TensorRef) and found.owner is inner:
                continue
            if isinstance(found, TensorRef) and statement.kind == "buffer" and found.name in outer.buffers:
                inner.tensors[found.name] = outer.tensors[found.name]
                scope.names[part.id] = TensorRef(found.name, inner)
            elif isinstance(found, Tensor | TensorRef | WeightRef | ModuleRef):
                refuse("not known yet", part.id)
            elif isinstance(found, int) and not isinstance(found, bool):
                self.trace.append(("weights", {part.id: found}))
        here = Place(scope, None, inner, wants=True)
        value = self.evaluate(node, here)
        if isinstance(value, tuple) and any(isinstance(part, Tensor | TensorRef) for part in value):
            refuse("several tensors")
        if isinstance(value, STAGES) and not _is_initialiser(value):
            value = self.single(self.tensor_of(value, here))
        if any(map(_weights, inner.children.values())):
            refuse("not known yet", "weights of its own")
        return value

    def init(self, statement: syntax.Init, place: Place) -> None:
        """`init selector = initialiser`: checked when the container is whole."""
        selector: Any = statement.selector
        text = selector.span.text.replace(" ", "")
        if isinstance(selector, syntax.Constant | syntax.Template):
            text = self.evaluate(selector, place.setting())
        else:
            head = selector.value if isinstance(selector, syntax.Attribute) else selector
            if not isinstance(head, syntax.Name):
                refuse("selector")
            self.name(head.id, place)
        value = self.evaluate(statement.value, place.setting())
        self.body_of(place).inits.append((selector, text, value))

    # ------------------------------------------------------------------------------------------------ types

    def size(self, node: syntax.Expr, place: Place) -> int:
        """A dimension that is written."""
        value = self.evaluate(node, place.setting())
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            refuse("dimension", str(value))
        return value

    def match(self, type_: syntax.TypeExpr, tensor: Tensor, scope: Scope) -> None:
        """A tensor must be of the type that is written; new names bind."""
        if isinstance(type_, syntax.ClassTypeExpr):
            nodes, dtype = type_.dims or (), "i64"
        elif isinstance(type_, syntax.TensorTypeExpr) and type_.dims is not None:
            nodes, dtype = type_.dims, type_.dtype
        else:
            refuse("type")
        if dtype not in layers.DTYPES:
            refuse("dtype", dtype)
        shape = tuple(tensor.data.shape)
        if layers.DTYPES[dtype] != tensor.data.dtype:
            refuse("type", f"{tensor.data.dtype} is not {dtype}")
        stars = [node for node in nodes if isinstance(node, syntax.Star)]
        spare = len(shape) - len(nodes) + 1
        if len(stars) > 1 or (not stars and spare != 1) or spare < 0:
            refuse("type", f"{len(shape)} dimensions")
        place, position, pending = Place(scope), 0, []
        for node in nodes:
            if isinstance(node, syntax.Star):
                scope.names[node.name] = shape[position : position + spare]
                position += spare
                continue
            size = shape[position]
            position += 1
            if self.is_new(node, scope):
                scope.names[node.id] = size
            else:
                pending.append((node, size))
        for node, size in pending:
            if isinstance(node, syntax.Binary) and node.operator == "*":
                for new, other in ((node.left, node.right), (node.right, node.left)):
                    if self.is_new(new, scope):
                        factor = self.evaluate(other, place)
                        if isinstance(factor, int) and factor > 0 and size % factor == 0:
                            scope.names[new.id] = size // factor
                        break
            expected = self.size(node, place)
            if expected != size:
                refuse("type", f"{expected} is not {size}")

    def is_new(self, node: syntax.Expr, scope: Scope) -> bool:
        """Whether a dimension is a name that nothing has bound."""
        return isinstance(node, syntax.Name) and node.id[0].isupper() and scope.lookup(node.id) is ABSENT


def _is_initialiser(value: Any) -> bool:
    """Whether a recipe fills a tensor, `ones`, and makes none, `ones(4)`."""
    if not isinstance(value, Recipe) or value.target is not None or layers.layer_class(value.name) is not None:
        return False
    fills = getattr(torch.nn.init, f"{value.name}_", None)
    if fills is None:
        return not functions.function(value.name)
    return not value.arguments or len(inspect.signature(fills).parameters) > 1


def _weights(module: Any) -> list[tuple[str, torch.Tensor]]:
    if isinstance(module, Frame):
        return [(key, tensor) for key, tensor, _ in module.entries()]
    return [*module.named_parameters(), *module.named_buffers()]


def _is_tensor(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(map(_is_tensor, value))
    return isinstance(value, Tensor | TensorRef | WeightRef)


def _is_flow(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_flow, value))
    return isinstance(value, Tensor | TensorRef | Recipe | Pipeline | Closure | Labelled)


def _check_setting(parameter: syntax.Parameter, value: Any) -> None:
    type_ = parameter.type
    if not isinstance(type_, syntax.TensorTypeExpr):
        return
    is_int = isinstance(value, int) and not isinstance(value, bool)
    fits = {
        "int": is_int,
        "float": is_int or isinstance(value, float),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
        "list": isinstance(value, tuple),
        "layer": isinstance(value, Recipe | Pipeline | Closure | Labelled | Builtin | Dtype | ModuleRef | Function),
        "any": True,
    }
    if type_.dtype not in fits:
        refuse("type of a setting", type_.dtype)
    if not fits[type_.dtype]:
        refuse("kind", f"{parameter.name}={value!r}")
