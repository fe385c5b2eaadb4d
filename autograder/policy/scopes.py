"""Which name means what where: the scopes of a source file and everything that is bound in them.

Walks are loops over a stack, since student source may be nested as deeply as Python lets it be.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

BINDINGS_LOOKED_AT = 64

Position = tuple[int, int]
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)


@dataclass(eq=False, slots=True)
class Binding:
    """One place that gives a name a meaning.

    value: the expression that the name is then, where one says so. path: what an import leads to. code: what runs or is
    defined there. certain: it is always reached, so that what was bound before is gone. annotation: a parameter's type.
    """

    name: str
    scope: Scope
    position: Position
    code: tuple[ast.AST, ...] = ()
    value: ast.AST | None = None
    path: str | None = None
    certain: bool = False
    annotation: ast.expr | None = None
    is_self: bool = False


@dataclass(eq=False, slots=True)
class Scope:
    """A module, a function (or lambda, or comprehension) or a class body. `at_import`: its code runs at import."""

    kind: str
    file: str
    parent: Scope | None = None
    at_import: bool = True
    node: ast.AST | None = None
    names: dict[str, list[Binding]] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)  # name → "global" or "nonlocal"
    stars: list[tuple[str, Position]] = field(default_factory=list)
    returns: list[ast.expr] = field(default_factory=list)

    @property
    def module(self) -> Scope:
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def visible(self, name: str, position: Position | None = None) -> list[Binding]:
        """The bindings that `name` may have here: at the end, or at `position` of code that runs once and in order."""
        bindings = self.names.get(name, [])
        if self.kind != "module":
            return bindings[-BINDINGS_LOOKED_AT:]
        if position is not None:
            before = bisect_right(bindings, position, key=lambda binding: binding.position)
            bindings = bindings[max(before - BINDINGS_LOOKED_AT, 0) : before]
        bindings = bindings[-BINDINGS_LOOKED_AT:]
        for index in range(len(bindings) - 1, -1, -1):
            if bindings[index].certain:
                return bindings[index:]
        return bindings

    def lookup(self, name: str, position: Position) -> list[Binding]:
        """What `name` may mean in an expression of this scope at `position`; empty for built-in and unknown names."""
        scope: Scope | None = self
        while scope is not None:
            if scope.declared.get(name) == "global":
                scope = scope.module
            if scope.kind != "class" or scope is self:
                found = scope.visible(name, position if self.at_import else None)
                if found:
                    return found
            scope = scope.parent
        return []


def scope_of(node: ast.AST) -> Scope:
    """The scope that an expression is evaluated in."""
    return node.scope  # type: ignore[attr-defined]


def inner_scope(node: ast.AST) -> Scope:
    """The scope that a function or a class opens."""
    return node.inner  # type: ignore[attr-defined]


def position_of(node: ast.AST) -> Position:
    return (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))


def constant_text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


class Binder:
    """Finds the scopes and bindings of one file; every expression then knows its scope (`scope_of`)."""

    def __init__(self, file: str):
        self.module = Scope("module", file)
        self.attributes: set[str] = set()  # names of methods and attributes that this file defines

    def bind(self, body: list[ast.stmt], scope: Scope | None = None) -> None:
        """Take in statements that run in `scope`, which is the module unless one is given."""
        stack: list[tuple[ast.AST, Scope, bool]] = [(node, scope or self.module, True) for node in reversed(body)]
        while stack:
            node, scope, certain = stack.pop()
            node.scope = scope  # type: ignore[attr-defined]
            if isinstance(node, _PLAIN) or (isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)):
                children = [(child, scope, certain) for child in _expressions(node)]
            else:
                children = list(self._visit(node, scope, certain))
            stack.extend(reversed(children))

    def _visit(self, node: ast.AST, scope: Scope, certain: bool) -> Iterator[tuple[ast.AST, Scope, bool]]:
        """Record what the node binds; its children, each with the scope that it belongs to."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from self._function(node, scope, certain)
                return
            case ast.ClassDef():
                yield from self._class(node, scope, certain)
                return
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                inner = Scope("comprehension", scope.file, scope, scope.at_import, node)
                first = node.generators[0].iter
                yield first, scope, certain
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.comprehension):
                        child.scope = inner  # type: ignore[attr-defined]
                        yield child.target, inner, False
                        for part in ([] if child.iter is first else [child.iter]) + child.ifs:
                            yield part, inner, False
                    else:
                        yield child, inner, False
                return
            case ast.Import():
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    path = alias.name if alias.asname else name
                    self._add(scope, name, _end(node), certain=certain, path=path)
            case ast.ImportFrom():
                base = _absolute(scope.file, node)
                for alias in node.names:
                    path = f"{base}.{alias.name}".lstrip(".")
                    if alias.name == "*":
                        scope.module.stars.append((base, position_of(node)))
                    else:
                        self._add(scope, alias.asname or alias.name, _end(node), certain=certain, path=path)
            case ast.Assign():
                for target in node.targets:
                    self._target(target, node.value, scope, _end(node), certain)
            case ast.AnnAssign() if node.value is not None:
                self._target(node.target, node.value, scope, _end(node), certain)
            case ast.AugAssign():
                self._target(node.target, None, scope, _end(node), False, (node.value,))
            case ast.NamedExpr():
                outer = scope
                while outer.kind == "comprehension" and outer.parent is not None:
                    outer = outer.parent
                self._target(node.target, node.value, outer, _end(node), False)
            case ast.For() | ast.AsyncFor():
                self._target(node.target, None, scope, _end(node.iter), False, (node.iter,))
            case ast.withitem() if node.optional_vars is not None:
                end = _end(node.context_expr)
                self._target(node.optional_vars, None, scope, end, False, (node.context_expr,))
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name is not None:
                self._add(scope, node.name, position_of(node))
            case ast.MatchMapping() if node.rest is not None:
                self._add(scope, node.rest, position_of(node))
            case ast.Global() | ast.Nonlocal():
                kind = "global" if isinstance(node, ast.Global) else "nonlocal"
                scope.declared.update(dict.fromkeys(node.names, kind))
            case ast.Return() if node.value is not None:
                scope.returns.append(node.value)
            case ast.Call():
                self._patching_call(node, scope)
            case ast.Attribute() if isinstance(node.ctx, ast.Store):
                self.attributes.add(node.attr)
            case ast.Name() if isinstance(node.ctx, ast.Store) and not hasattr(node, "bound"):
                self._add(scope, node.id, position_of(node))
            case ast.If() if scope.kind == "module" and _is_main_guard(node.test):
                for child in node.orelse:  # the rest does not run on import
                    yield child, scope, certain
                return
        certain = certain and not isinstance(node, _BRANCHES)
        for child in ast.iter_child_nodes(node):
            yield child, scope, certain

    def _function(self, node: ast.AST, scope: Scope, certain: bool) -> Iterator[tuple[ast.AST, Scope, bool]]:
        assert isinstance(node, _FUNCTIONS)
        inner = Scope("function", scope.file, scope, False, node)
        node.inner = inner  # type: ignore[union-attr]
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults: list[ast.expr | None] = [*arguments.defaults]
        defaults = [None] * (len(positional) - len(defaults)) + defaults
        pairs = [*zip(positional, defaults), *zip(arguments.kwonlyargs, arguments.kw_defaults)]
        extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
        is_static = any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in _decorators(node))
        for index, (argument, default) in enumerate(pairs + [(argument, None) for argument in extra]):
            binding = self._add(inner, argument.arg, position_of(argument), value=default)
            binding.annotation = argument.annotation
            binding.is_self = index == 0 and bool(positional) and scope.kind == "class" and not is_static
        if isinstance(node, ast.Lambda):
            inner.returns.append(node.body)
            body: list[ast.AST] = [node.body]
        else:
            self._add(scope, node.name, position_of(node), (node,), node, certain=certain)
            if scope.kind == "class":
                self.attributes.add(node.name)
            body = list(node.body)
        annotations = [argument.annotation for argument, _ in pairs] + [argument.annotation for argument in extra]
        outside = [*_decorators(node), *defaults, *arguments.kw_defaults, *annotations, getattr(node, "returns", None)]
        for child in outside:
            if child is not None:
                yield child, scope, False
        for child in body:
            yield child, inner, True

    def _class(self, node: ast.ClassDef, scope: Scope, certain: bool) -> Iterator[tuple[ast.AST, Scope, bool]]:
        inner = Scope("class", scope.file, scope, scope.at_import, node)
        node.inner = inner  # type: ignore[attr-defined]
        self._add(scope, node.name, position_of(node), (node,), node, certain=certain)
        for child in (*node.decorator_list, *node.bases, *node.keywords):
            yield child, scope, False
        for child in node.body:
            if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
                self.attributes.add(child.target.id)
            yield child, inner, True

    def _target(
        self,
        target: ast.expr,
        value: ast.expr | None,
        scope: Scope,
        position: Position,
        certain: bool,
        code: tuple[ast.AST, ...] = (),
    ) -> None:
        """Bind the names of an assignment's target. `code` is what runs where `value` cannot tell the parts apart."""
        stack: list[tuple[ast.expr, ast.expr | None, tuple[ast.AST, ...]]] = [(target, value, code)]
        while stack:
            target, value, code = stack.pop()
            code = (value,) if value is not None else code
            match target:
                case ast.Name():
                    target.bound = True  # type: ignore[attr-defined]
                    self._add(scope, target.id, position, code, value, certain=certain)
                    if scope.kind == "class":
                        self.attributes.add(target.id)
                case ast.Tuple() | ast.List():
                    parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
                    starred = any(isinstance(part, ast.Starred) for part in (*target.elts, *parts))
                    matched = parts if len(parts) == len(target.elts) and not starred else [None] * len(target.elts)
                    stack.extend((item, part, code) for item, part in zip(target.elts, matched))
                case ast.Starred():
                    stack.append((target.value, None, code))
                case ast.Attribute() | ast.Subscript():
                    self._patch(target, value, scope, position, code)

    def _patch(
        self, target: ast.expr, value: ast.expr | None, scope: Scope, position: Position, code: tuple[ast.AST, ...]
    ) -> None:
        """`f.attribute = value`, `table[key] = value` and `globals()["f"] = value` change what a module's name is."""
        name = _module_entry(target)
        if name is not None:
            self._add(scope.module, name, position, code, value)
            return
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            target = target.value
        if isinstance(target, ast.Name) and scope.at_import:
            self._add(scope.module, target.id, position, code)

    def _patching_call(self, node: ast.Call, scope: Scope) -> None:
        """`setattr(f, "attribute", value)`, `globals().update(f=value)`, `globals().__setitem__("f", value)`."""
        match node.func, node.args:
            case ast.Name(id="setattr"), [target, key, value]:
                name = constant_text(key)
                if name is not None and _is_this_module(target):
                    self._add(scope.module, name, _end(node), (value,), value)
                elif isinstance(target, (ast.Name, ast.Attribute, ast.Subscript)):
                    self._patch(ast.Attribute(value=target, attr=name or ""), None, scope, _end(node), (value,))
            case ast.Attribute(attr="update"), arguments if _is_namespace(node.func.value):
                pairs = [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg]
                for argument in arguments:
                    if isinstance(argument, ast.Dict):
                        pairs += [(constant_text(key), value) for key, value in zip(argument.keys, argument.values)]
                for name, value in pairs:
                    if name:
                        self._add(scope.module, name, _end(node), (value,), value)
            case ast.Attribute(attr="__setitem__" | "setdefault"), [key, value] if _is_namespace(node.func.value):
                if name := constant_text(key):
                    self._add(scope.module, name, _end(node), (value,), value)

    def _add(
        self,
        scope: Scope,
        name: str,
        position: Position,
        code: tuple[ast.AST, ...] = (),
        value: ast.AST | None = None,
        *,
        path: str | None = None,
        certain: bool = False,
    ) -> Binding:
        if scope.declared.get(name) == "global":
            scope, certain = scope.module, False
        elif scope.declared.get(name) == "nonlocal":
            outer = scope.parent
            while outer is not None and (outer.kind != "function" or name not in outer.names):
                outer = outer.parent
            scope, certain = outer or scope, False
        binding = Binding(name, scope, position, code, value, path, certain)
        scope.names.setdefault(name, []).append(binding)
        return binding


# Most of any source is made of these. They bind nothing, and `_visit` would only try all its cases.
_PLAIN = (ast.Constant, ast.BinOp, ast.Subscript, ast.Expr, ast.Tuple, ast.List, ast.Compare, ast.UnaryOp, ast.keyword)


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """What a plain node is made of; operators and contexts, which all nodes share, are left out."""
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            yield from (item for item in value if isinstance(item, ast.expr))
        elif isinstance(value, ast.expr):
            yield value


def _end(node: ast.AST) -> Position:
    return (getattr(node, "end_lineno", None) or 0, getattr(node, "end_col_offset", None) or 0)


def _decorators(node: ast.AST) -> list[ast.expr]:
    return getattr(node, "decorator_list", [])


def _absolute(file: str, node: ast.ImportFrom) -> str:
    """The module that a `from` import names, relative ones counted from `exercises/`, where all files lie."""
    if not node.level:
        return node.module or ""
    package = file.split("/")[:-1]
    package = package[: max(len(package) - node.level + 1, 0)]
    return ".".join([*package, *([node.module] if node.module else [])])


def _is_main_guard(test: ast.expr) -> bool:
    match test:
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]):
            return True
    return False


def _is_this_module(node: ast.expr) -> bool:
    """`sys.modules[__name__]`"""
    match node:
        case ast.Subscript(value=ast.Attribute(attr="modules"), slice=ast.Name(id="__name__")):
            return True
    return False


def _is_namespace(node: ast.expr) -> bool:
    """`globals()`, `vars()`, `locals()` or the `__dict__` of this module"""
    match node:
        case ast.Call(func=ast.Name(id="globals" | "vars" | "locals"), args=[]):
            return True
        case ast.Call(func=ast.Name(id="vars"), args=[inner]) | ast.Attribute(value=inner, attr="__dict__"):
            return _is_this_module(inner)
    return False


def _module_entry(target: ast.expr) -> str | None:
    """The module's name that `globals()["f"] = …` or `sys.modules[__name__].f = …` binds."""
    match target:
        case ast.Subscript() if _is_namespace(target.value):
            return constant_text(target.slice)
        case ast.Attribute() if _is_this_module(target.value):
            return target.attr
    return None
