"""What an expression may be: a dotted path that leads out of the file, a definition of the file, a tensor, a constant.

The answer is a set, since a name may be bound in several places. It errs towards not knowing: what cannot be seen in
the source is seen when the code runs.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from autograder.policy.families import canonical
from autograder.policy.scopes import Binder, Binding, Scope, inner_scope, position_of, scope_of

DEPTH = 50
WIDTH = 16
PATH_LENGTH = 200
TEXT_LENGTH = 20_000
STARS = ("math", "numpy", "torch", "torch.nn", "torch.nn.functional")  # from which students do take everything

_TENSOR_ATTRIBUTES = {"T", "mT", "H", "mH", "data", "grad", "real", "imag"}
_PLAIN_BUILTINS = {
    "str", "bytes", "bytearray", "int", "float", "bool", "complex", "list", "dict", "set", "frozenset", "tuple", "len",
    "range", "sorted", "repr", "format", "hash", "ord", "chr", "isinstance", "open", "input", "any", "all", "divmod",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """One thing that an expression may be.

    kind: `path` (text: where it leads), `function`, `class` and `instance` (node: the definition), `module` (text: a
    file of the submission), `namespace` (text: the path whose `__dict__` it is), `getter` (text: an attribute),
    `text` (text: a constant string), `display` (node: a tuple, list or dict), `object` (text: the path of its class,
    which is no tensor's), `tensor`, `self`, `plain` (something else that is no tensor).
    """

    kind: str
    text: str = ""
    node: ast.AST | None = None


Values = frozenset[Value]
UNKNOWN: Values = frozenset()
TENSOR: Values = frozenset({Value("tensor")})
PLAIN: Values = frozenset({Value("plain")})


def path(text: str) -> Values:
    """A dotted path; nothing where the text is none (constant texts of the source come here, too)."""
    is_path = len(text) <= PATH_LENGTH and all(part.isidentifier() for part in text.split("."))
    return frozenset({Value("path", text)}) if is_path else UNKNOWN


class Resolver:
    """Answers for all files of one submission's module."""

    def __init__(self, binders: dict[str, Binder]):
        self.binders = binders
        self.own: dict[str, str] = {}  # dotted module name → file
        for file in binders:
            dotted = file.removesuffix(".py").replace("/", ".")
            self.own |= {dotted: file, f"exercises.{dotted}": file, f"solutions.{dotted}": file}
        self._known: dict[int, Values] = {}
        self._names: dict[tuple[int, int, int], Values] = {}

    def values(self, node: ast.AST, depth: int = 0) -> Values:
        """What `node` may be; empty when nothing is known."""
        known = self._known.get(id(node))
        if known is not None:
            return known
        if depth > DEPTH:
            return UNKNOWN
        self._known[id(node)] = UNKNOWN  # what is defined by itself is not known
        self._known[id(node)] = found = _bounded(self._evaluate(node, depth + 1))
        return found

    def targets(self, binding: Binding) -> list[Binding]:
        """The bindings that an import from another file of the submission leads to; else the binding itself."""
        if binding.path is not None:
            module, _, name = binding.path.rpartition(".")
            if module in self.own and binding.path not in self.own:
                return self.binders[self.own[module]].module.visible(name)
        return [binding]

    def lookup(self, node: ast.Name) -> list[Binding]:
        """The bindings that a name may have, also those that come with a star from another file of the submission."""
        scope = scope_of(node)
        bindings = scope.lookup(node.id, position_of(node))
        if bindings:
            return bindings
        own = [self.own[star] for star, _ in scope.module.stars[-WIDTH:] if star in self.own]
        return [binding for file in own for binding in self.binders[file].module.visible(node.id)]

    def _name(self, node: ast.Name, depth: int) -> Values:
        bindings = self.lookup(node)
        if not bindings:
            return self._unbound(node.id, scope_of(node).module)
        key = (id(bindings[0]), id(bindings[-1]), len(bindings))
        if key not in self._names:
            self._names[key] = UNKNOWN
            self._names[key] = _bounded(self._bindings(bindings, depth))
        return self._names[key]

    def _unbound(self, name: str, module: Scope) -> Values:
        """A name that is bound nowhere: something imported with a star, or a built-in."""
        found: set[Value] = set()
        for star, _ in reversed(module.stars[-WIDTH:]):
            if not hasattr(builtins, name) or _may_have(star, name):
                found |= path(f"{star}.{name}")
            if star.startswith(("exercises.", "solutions.")):
                break  # what such a module has hides what came before
        if hasattr(builtins, name):
            found |= path(f"builtins.{name}")
        return frozenset(found)

    def _bindings(self, bindings: Iterable[Binding], depth: int) -> Values:
        found: set[Value] = set()
        for binding in bindings:
            found |= self._binding(binding, depth)
        return frozenset(found)

    def _binding(self, binding: Binding, depth: int) -> Values:
        if binding.path is not None:
            if binding.path in self.own:
                return frozenset({Value("module", self.own[binding.path])})
            targets = self.targets(binding)
            if targets == [binding]:
                return path(binding.path)
            return self._bindings(targets, depth + 1) if depth < DEPTH else UNKNOWN
        if binding.is_self:
            parent = binding.scope.parent
            is_tensor = parent is not None and self._is_tensor_class(parent.node, depth)
            return TENSOR if is_tensor else frozenset({Value("self")})
        if isinstance(binding.value, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return frozenset({Value("function", node=binding.value)})
        if isinstance(binding.value, ast.ClassDef):
            return frozenset({Value("class", node=binding.value)})
        found = self.values(binding.value, depth) if binding.value is not None else UNKNOWN
        return found | (self._annotated(binding.annotation, depth) if binding.annotation is not None else UNKNOWN)

    def _annotated(self, node: ast.expr, depth: int) -> Values:
        """What a parameter with this annotation is."""
        match node:
            case ast.Constant(value=str(text)):
                names = {part.strip() for part in text.split("|")} - {"None"}
                return TENSOR if names and names <= {"torch.Tensor", "Tensor"} else UNKNOWN
            case ast.Constant():
                return UNKNOWN
            case ast.BinOp(op=ast.BitOr()) if depth < DEPTH:
                return self._annotated(node.left, depth + 1) | self._annotated(node.right, depth + 1)
            case ast.Subscript(value=ast.Name(id="Optional")):
                return self._annotated(node.slice, depth + 1) if depth < DEPTH else UNKNOWN
        found: set[Value] = set()
        for value in self.values(node, depth):
            if value.kind == "path" and _is_tensor_path(value.text):
                found |= TENSOR
            elif value.kind == "path" and value.text.startswith("builtins."):
                found |= PLAIN
            elif value.kind == "path" and value.text.startswith(("torch.", "exercises.", "solutions.")):
                found.add(Value("object", canonical(value.text)))
            elif value.kind == "class":
                found |= {Value("instance", node=value.node)}
        return frozenset(found)

    def _is_tensor_class(self, node: ast.AST | None, depth: int) -> bool:
        return isinstance(node, ast.ClassDef) and any(
            value.kind == "path" and _is_tensor_path(value.text)
            for base in node.bases
            for value in self.values(base, depth)
        )

    def _evaluate(self, node: ast.AST, depth: int) -> Values:
        match node:
            case ast.Name():
                return self._name(node, depth)
            case ast.Attribute():
                return self._attribute(self.values(node.value, depth), node.attr, depth)
            case ast.Call():
                return self._call(node, depth)
            case ast.Subscript(value=ast.Call(func=ast.Name(id="globals"))):
                return self.module_entries(node.value, node.slice, depth)
            case ast.Subscript():
                return self._item(self.values(node.value, depth), node.slice, depth)
            case ast.Constant(value=str(text)):
                return frozenset({Value("text", text)}) if len(text) <= TEXT_LENGTH else PLAIN
            case ast.IfExp():
                return self.values(node.body, depth) | self.values(node.orelse, depth)
            case ast.BoolOp():
                return frozenset().union(*(self.values(value, depth) for value in node.values[:WIDTH]))
            case ast.NamedExpr() | ast.Starred():
                return self.values(node.value, depth)
            case ast.Lambda():
                return frozenset({Value("function", node=node)})
            case ast.BinOp():
                left, right = self.values(node.left, depth), self.values(node.right, depth)
                if isinstance(node.op, ast.Add):
                    joined = {f"{a.text}{b.text}" for a in left for b in right if a.kind == b.kind == "text"}
                    if joined:
                        return frozenset(Value("text", text) for text in joined if len(text) <= TEXT_LENGTH)
                return TENSOR if TENSOR & (left | right) else UNKNOWN
            case ast.UnaryOp():
                return TENSOR & self.values(node.operand, depth)
            case ast.JoinedStr():
                return self._joined(node.values, depth)
            case ast.Tuple() | ast.List() | ast.Dict():
                return frozenset({Value("display", node=node)})
            case ast.Constant() | ast.Set() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return PLAIN
        return UNKNOWN

    def _joined(self, parts: list[ast.expr], depth: int) -> Values:
        """A text made of parts, when all of them are constant."""
        text = ""
        for part in parts[:100]:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            constants = [value.text for value in self.values(inner, depth) if value.kind == "text"]
            if len(constants) != 1 or len(text) > TEXT_LENGTH:
                return PLAIN
            text += constants[0]
        return frozenset({Value("text", text)})

    def _attribute(self, base: Values, name: str, depth: int) -> Values:
        found: set[Value] = set()
        for value in base:
            match value.kind:
                case "path" if name == "__dict__":
                    found.add(Value("namespace", value.text))
                case "path" if f"{value.text}.{name}" in self.own:
                    found.add(Value("module", self.own[f"{value.text}.{name}"]))
                case "path":
                    found |= path(f"{value.text}.{name}")
                case "module" if depth < DEPTH:
                    found |= self._bindings(self.binders[value.text].module.visible(name), depth + 1)
                case "tensor" if name in _TENSOR_ATTRIBUTES:
                    found |= TENSOR
                case "class" if isinstance(value.node, ast.ClassDef) and depth < DEPTH:
                    found |= self._bindings(inner_scope(value.node).visible(name), depth + 1)
        return frozenset(found)

    def _item(self, base: Values, key: ast.expr, depth: int) -> Values:
        found: set[Value] = set()
        for value in base:
            if value.kind == "tensor":
                found.add(value)
            elif value.kind == "display":
                found |= self._item_of_display(value.node, key, depth)
            for text in self._texts(key, depth):
                if value.kind == "namespace":
                    found |= self._attribute(path(value.text), text, depth)
                elif value.kind == "path" and value.text == "sys.modules":
                    found |= path(text)
        return frozenset(found)

    def _item_of_display(self, node: ast.AST | None, key: ast.expr, depth: int) -> Values:
        match key:
            case ast.Constant(value=wanted):
                pass
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(from_the_end))):
                wanted = -from_the_end
            case _:
                wanted = key  # which equals no constant
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values)
            parts = [item for at, item in pairs if isinstance(at, ast.Constant) and at.value == wanted] or node.values
        elif isinstance(node, (ast.Tuple, ast.List)):
            is_index = isinstance(wanted, int) and -len(node.elts) <= wanted < len(node.elts)
            parts = [node.elts[wanted]] if is_index else node.elts  # type: ignore[index]
        else:
            parts = []
        return frozenset().union(*(self.values(part, depth) for part in parts[:WIDTH]))

    def _texts(self, node: ast.AST, depth: int) -> list[str]:
        return [value.text for value in self.values(node, depth) if value.kind == "text"]

    def _call(self, node: ast.Call, depth: int) -> Values:
        found: set[Value] = set()
        for value in self.values(node.func, depth):
            match value.kind:
                case "path":
                    found |= self._call_of_path(value.text, node, depth)
                case "class":
                    instance = frozenset({Value("instance", node=value.node)})
                    found |= TENSOR if self._is_tensor_class(value.node, depth) else instance
                case "function" if value.node is not None:
                    for returned in inner_scope(value.node).returns[:WIDTH]:
                        found |= self.values(returned, depth)
                case "getter" if node.args:
                    base = self.values(node.args[0], depth)
                    for part in value.text.split(".")[:10]:
                        base = self._attribute(base, part, depth)
                    found |= base
        if isinstance(node.func, ast.Attribute):
            found |= self._method(node.func, node, depth)
        return frozenset(found)

    def _call_of_path(self, called: str, node: ast.Call, depth: int) -> Values:
        first = node.args[0] if node.args else None
        match called:
            case "builtins.getattr" if len(node.args) > 1 and first is not None:
                base = self.values(first, depth)
                names = self._texts(node.args[1], depth)
                return frozenset().union(*(self._attribute(base, name, depth) for name in names))
            case "builtins.__import__" if first is not None:
                full = self._texts(first, depth)
                return frozenset().union(*(path(name) | path(name.partition(".")[0]) for name in full))
            case "importlib.import_module" | "importlib.__import__" if first is not None:
                return frozenset().union(*(path(name) for name in self._texts(first, depth)))
            case "builtins.vars" if first is not None:
                return frozenset(
                    Value("namespace", value.text) for value in self.values(first, depth) if value.kind == "path"
                )
            case "operator.attrgetter" if first is not None:
                return frozenset(Value("getter", text) for text in self._texts(first, depth))
            case "builtins.type" if first is not None and len(node.args) == 1:
                return self.values(first, depth)
            case "builtins.super":
                return frozenset({Value("self")})
        public = canonical(called)
        last = public.rpartition(".")[2]
        if public.startswith("builtins."):
            return PLAIN if last in _PLAIN_BUILTINS else UNKNOWN
        if _is_tensor_path(public):
            return TENSOR
        if last[:1].isupper() and public.startswith(("torch.", "exercises.", "solutions.")):
            return frozenset({Value("object", public)})
        return TENSOR if public.startswith("torch.") else UNKNOWN

    def _method(self, function: ast.Attribute, node: ast.Call, depth: int) -> Values:
        """What a method call gives, where the object says it."""
        found: set[Value] = set()
        for value in self.values(function.value, depth):
            if value.kind == "tensor":
                found.add(value)
            elif function.attr in ("get", "__getitem__", "pop", "setdefault") and node.args:
                found |= self._item(frozenset({value}), node.args[0], depth)
            elif value.kind == "path" and function.attr in ("__getattribute__", "__getattr__") and node.args:
                for text in self._texts(node.args[0], depth):
                    found |= self._attribute(frozenset({value}), text, depth)
            elif value.kind == "text" and function.attr == "join" and node.args:
                if not value.text and isinstance(node.args[0], (ast.List, ast.Tuple)):
                    found |= self._joined(node.args[0].elts, depth)
        match function, node.args:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="globals")), attr="get" | "__getitem__"), [key, *_]:
                found |= self.module_entries(function.value, key, depth)
        return frozenset(found)

    def module_entries(self, call: ast.expr, key: ast.expr, depth: int = 0) -> Values:
        """What `globals()["name"]` is."""
        bindings = [binding for text in self._texts(key, depth) for binding in scope_of(call).module.visible(text)]
        return self._bindings(bindings, depth)


def _is_tensor_path(text: str) -> bool:
    return canonical(text) in ("torch.Tensor", "torch.nn.Parameter", "torch.nn.parameter.Parameter") or (
        text.startswith("torch.") and text.endswith("Tensor")
    )


def _may_have(star: str, name: str) -> bool:
    """Whether a star may bring this name of a built-in function from there: PyTorch has no `len`."""
    if star not in STARS:
        return True
    module = importlib.import_module(star)
    return name in getattr(module, "__all__", vars(module))


def _bounded(values: Values) -> Values:
    if len(values) <= WIDTH:
        return values
    return frozenset(sorted(values, key=lambda value: (value.kind != "path", value.kind, value.text))[:WIDTH])
