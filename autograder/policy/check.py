"""Forbidden calls, found in the source: what each exercise reaches, matched with what it forbids."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from autograder.course import Module
from autograder.policy.families import BUILTIN_METHODS, NOTHING, Family, canonical, forbidden_in, is_strange, squashed
from autograder.policy.scopes import Binder, Binding, Scope, position_of, scope_of
from autograder.policy.source import SyntaxProblem, parse
from autograder.policy.values import TENSOR, Resolver

BREACHES_TOLD = 20
EVALUATED_TEXTS = 50
EVALUATED_LENGTH = 10_000

_OPERATORS_IN_PYTHON = ("torch._decomp.", "torch._refs.")  # operators written once more, under their own names
_TABLES_OF_OPERATORS = ("torch._decomp", "torch._inductor.decomposition")  # and by operator, so that no name need be said
PRYING = ("__closure__", "__globals__", "cell_contents", "f_globals", "f_locals")  # into the variables of others
_NO_TENSORS = ("path", "self", "instance", "class", "function", "module", "object")


@dataclass(frozen=True)
class Breach:
    """A forbidden call in what an exercise uses: where it stands, what it is and the sentence for the student."""

    exercise: str
    file: str
    line: int
    call: str
    message: str


@dataclass(frozen=True)
class _Mention:
    """Something in the source that may be forbidden: a dotted path, a method (`sure` of a tensor or not), or `@`."""

    file: str
    line: int
    kind: str
    name: str
    sure: bool = False
    of_builtin: bool = False  # the object is known to be no tensor, but perhaps a str, list, …


@dataclass(eq=False, slots=True)
class _Facts:
    """What a piece of code mentions, and the bindings of its module that it uses."""

    mentions: list[_Mention] = field(default_factory=list)
    uses: list[Binding] = field(default_factory=list)


def check(module: Module, sources: dict[str, str]) -> list[Breach]:
    """Every use of a forbidden call in `sources` (file name → text), per exercise, in the order of the source.

    An exercise uses what its own definition mentions, and what the helpers, aliases and constants that it reaches
    mention, in all files of the module. It does not answer for earlier exercises that it uses; a later one, such as the base
    of its class, is a helper. To mention is to use: `table = {"s": torch.softmax}` counts. A file that does not parse has no
    breaches.
    """
    if not any(exercise.forbidden for exercise in module.exercises):
        return []
    return _analysis(module, sources).breaches()


def built_on(module: Module, sources: dict[str, str]) -> dict[str, list[str]]:
    """For each exercise the module's other exercises that its definition uses, itself or by way of helpers and of each other."""
    return _analysis(module, sources).built_on()


def _analysis(module: Module, sources: dict[str, str]) -> _Analysis:
    """The latest one is kept: what fails its tests is looked through by `check` first, and then by `built_on`."""
    if not _latest or _latest[0] is not module or _latest[1] != sources:
        _latest[:] = [module, dict(sources), _Analysis(module, sources)]
    return _latest[2]


_latest: list = []


class _Analysis:
    def __init__(self, module: Module, sources: dict[str, str]):
        self.module = module
        trees = {file: tree for file, text in sources.items() if not isinstance(tree := parse(file, text), SyntaxProblem)}
        self.prying = [place for file, tree in trees.items() for place in _prying(file, sources[file], tree)]
        self.binders = {file: Binder(file) for file in trees}
        for file, tree in trees.items():
            self.binders[file].bind(tree.body)
        self.resolver = Resolver(self.binders)
        self.own_packages = {path.partition(".")[0] for path in self.resolver.own}
        self.own_attributes = frozenset().union(*(binder.attributes for binder in self.binders.values()))
        self.order = {(module.file_of(exercise), exercise.name): index for index, exercise in enumerate(module.exercises)}
        self.facts: dict[Binding, _Facts] = {}
        self.evaluated = 0

    def breaches(self) -> list[Breach]:
        found: list[Breach] = []
        for exercise in self.module.exercises:
            forbidden = forbidden_in(self.module, exercise)
            file = self.module.file_of(exercise)
            if forbidden == NOTHING or file not in self.binders:
                continue
            calls: dict[tuple[str, int, str], Breach] = {}
            for mention, helper in self._reached(file, exercise.name):
                call = self._forbidden_call(mention, forbidden)
                if call is not None:
                    key = (mention.file, mention.line, call)
                    calls.setdefault(key, _breach(exercise.name, mention, call, helper))
            told = [calls[key] for key in sorted(calls)]
            # Wherever that stands, it may blind whoever watches the calls.
            told += [_breach_by_prying(exercise.name, *place) for place in self.prying]
            found += told[:BREACHES_TOLD]
        return found

    def built_on(self) -> dict[str, list[str]]:
        found = {}
        for exercise in self.module.exercises:
            file = self.module.file_of(exercise)
            queue = deque(self.binders[file].module.visible(exercise.name) if file in self.binders else ())
            reached = set(queue)
            while queue:
                new = [used for used in self._facts_of(queue.popleft()).uses if used not in reached]
                reached.update(new)
                queue.extend(new)
            used = {(binding.scope.file, binding.name) for binding in reached if binding.scope.parent is None}
            others = [other for other in self.module.exercises if other.name != exercise.name]
            found[exercise.name] = [other.name for other in others if (self.module.file_of(other), other.name) in used]
        return found

    def _reached(self, file: str, exercise: str) -> list[tuple[_Mention, str]]:
        """All that the exercise mentions, each with the helper that mentions it ("" for the exercise itself)."""
        scope = self.binders[file].module
        roots = scope.visible(exercise)
        mentions = [(mention, "") for mention in self._bound_to_something_else(exercise, scope, roots)]
        roots = [*roots, *self._put_in_from_outside(file)]
        own = self.order[file, exercise]
        reached = set(roots)
        queue = deque((binding, "") for binding in roots)
        while queue:
            binding, helper = queue.popleft()
            facts = self._facts_of(binding)
            mentions += [(mention, helper) for mention in facts.mentions]
            for used in facts.uses:
                if used not in reached and self.order.get((used.scope.file, used.name), len(self.order)) > own:
                    reached.add(used)
                    queue.append((used, used.name))
        return mentions

    def _put_in_from_outside(self, file: str) -> list[Binding]:
        """`from exercises import autograd` in another file of the module, and there `autograd.backward = …`."""
        paths = {"exercises", "solutions", *(path for path, own in self.resolver.own.items() if own == file)}
        scopes = [binder.module for other, binder in self.binders.items() if other != file]
        changed = [bound for scope in scopes for bound in scope.names.values() if any(each.path in paths for each in bound)]
        return [binding for bound in changed for binding in bound if binding.path is None]

    def _bound_to_something_else(self, exercise: str, scope: Scope, roots: list[Binding]) -> list[_Mention]:
        """`from torch import softmax` and `from torch import *` give an exercise's name to what they import."""
        if roots:
            places = [(binding.path, binding.position) for binding in roots if binding.path is not None]
        else:
            places = [(f"{star}.{exercise}", position) for star, position in scope.stars]
        return [_Mention(scope.file, position[0], "path", path) for path, position in places]

    def _facts_of(self, binding: Binding) -> _Facts:
        facts = self.facts.get(binding)
        if facts is None:
            facts = self.facts[binding] = _Facts()
            targets = self.resolver.targets(binding)
            if targets != [binding]:
                facts.uses += targets
            self._read(binding.code, facts, binding.scope.file)
        return facts

    def _read(self, code: tuple[ast.AST, ...], facts: _Facts, file: str) -> None:
        stack = list(code)
        while stack:
            node = stack.pop()
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                    arguments = node.args
                    stack += [part for part in (*arguments.defaults, *arguments.kw_defaults) if part is not None]
                    if isinstance(node, ast.Lambda):
                        stack.append(node.body)
                    else:
                        stack += [*node.decorator_list, *node.body]
                    continue
                case ast.AnnAssign():
                    stack += [node.target] if node.value is None else [node.target, node.value]
                    continue
                case ast.Name() if isinstance(node.ctx, ast.Load):
                    self._name(node, facts, file)
                case ast.Attribute() if isinstance(node.ctx, ast.Load):
                    if self._attribute(node, facts, file):
                        continue
                case ast.Subscript():
                    self._paths(node, facts, file)
                    if isinstance(node.value, ast.Call):
                        self._entries(node.value, node.slice, facts, file)
                case ast.Call():
                    stack += self._call(node, facts, file)
                    if asked_for := self._types_asked_for(node):
                        stack += [part for part in ast.iter_child_nodes(node) if part is not node.args[1]]
                        stack += [part for part in asked_for if not self._is_pythons_own(part)]
                        continue
                case ast.MatchClass() if self._is_pythons_own(node.cls):
                    stack += [*node.patterns, *node.kwd_patterns]
                    continue
                case ast.BinOp(op=ast.MatMult()) | ast.AugAssign(op=ast.MatMult()):
                    facts.mentions.append(_Mention(file, node.lineno, "@", "@"))
            stack.extend(ast.iter_child_nodes(node))

    def _name(self, node: ast.Name, facts: _Facts, file: str, *, mention: bool = True) -> None:
        for binding in self.resolver.lookup(node):
            for target in self.resolver.targets(binding):
                if target.scope.kind == "module":
                    facts.uses.append(target)
        if mention:
            self._paths(node, facts, file)

    def _paths(self, node: ast.expr, facts: _Facts, file: str) -> bool:
        """Note what paths the expression may be; whether it can be nothing else."""
        values = self.resolver.values(node)
        paths = [value.text for value in values if value.kind == "path"]
        facts.mentions += [_Mention(file, node.lineno, "path", text) for text in paths]
        return bool(paths) and len(paths) == len(values)

    def _attribute(self, node: ast.Attribute, facts: _Facts, file: str) -> bool:
        """Note an attribute; True if all of it has been dealt with."""
        for value in self.resolver.values(node.value):
            if value.kind == "module":  # `engine.helper`, where `engine` is another file of the submission
                facts.uses += self.binders[value.text].module.visible(node.attr)
            elif value.kind == "object":
                facts.mentions.append(_Mention(file, node.lineno, "path", f"{value.text}.{node.attr}"))
        is_path = self._paths(node, facts, file)
        if not is_path:
            self._method(node.value, node.attr, node.lineno, facts, file)
            return False
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name):
            self._name(root, facts, file, mention=False)
            return True
        return False

    def _method(self, base: ast.expr, name: str, line: int, facts: _Facts, file: str) -> None:
        values = self.resolver.values(base)
        sure = bool(values & TENSOR)
        if not sure and values and all(value.kind in _NO_TENSORS for value in values):
            return
        of_builtin = not sure and bool(values) and all(value.kind in ("plain", "text", "display") for value in values)
        facts.mentions.append(_Mention(file, line, "method", name, sure, of_builtin))

    def _call(self, node: ast.Call, facts: _Facts, file: str) -> list[ast.AST]:
        """Note what the call is in disguise; code that it runs from a constant text."""
        self._paths(node, facts, file)
        for value in self.resolver.values(node.func):
            if value.kind == "path" and node.args:
                texts = [item.text for item in self.resolver.values(node.args[-1 if len(node.args) == 1 else 0])
                         if item.kind == "text"]  # fmt: skip
                match value.text:
                    case "builtins.getattr" if len(node.args) > 1:
                        for item in self.resolver.values(node.args[1]):
                            if item.kind == "text":
                                self._method(node.args[0], item.text, node.lineno, facts, file)
                                self._getattr_of_module(node.args[0], item.text, facts)
                    case "operator.attrgetter" | "operator.methodcaller":
                        names = [part for text in texts for part in text.split(".")[:10]]
                        facts.mentions += [_Mention(file, node.lineno, "method", name) for name in names]
                    case "builtins.eval" | "builtins.exec" | "builtins.compile":
                        return [statement for text in texts for statement in self._evaluated(text, node)]
            elif value.kind == "getter" and node.args:
                self._method(node.args[0], value.text.rpartition(".")[2], node.lineno, facts, file)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "__getitem__") and node.args:
            self._entries(node.func.value, node.args[0], facts, file)
        return []

    def _types_asked_for(self, node: ast.Call) -> list[ast.expr]:
        """`dict` in `isinstance(x, (dict, list))`, which asks for a type and makes nothing of it."""
        if len(node.args) != 2 or node.keywords:
            return []
        functions = self.resolver.values(node.func)
        if not functions or any(value.text not in ("builtins.isinstance", "builtins.issubclass") for value in functions):
            return []
        kinds = node.args[1]
        return kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]

    def _is_pythons_own(self, node: ast.expr) -> bool:
        """Whether a name is one of Python's own, and nothing else."""
        values = self.resolver.values(node) if isinstance(node, ast.Name) else ()
        return bool(values) and all(value.kind == "path" and value.text.startswith("builtins.") for value in values)

    def _getattr_of_module(self, base: ast.expr, name: str, facts: _Facts) -> None:
        for value in self.resolver.values(base):
            if value.kind == "module":
                facts.uses += self.binders[value.text].module.visible(name)

    def _entries(self, namespace: ast.expr, key: ast.expr, facts: _Facts, file: str) -> None:
        """`globals()["helper"]` uses `helper`."""
        match namespace:
            case ast.Call(func=ast.Name(id="globals" | "vars" | "locals"), args=[]):
                for value in self.resolver.values(key):
                    if value.kind == "text":
                        facts.uses += scope_of(namespace).module.visible(value.text)
                for value in self.resolver.module_entries(namespace, key):
                    if value.kind == "path":
                        facts.mentions.append(_Mention(file, namespace.lineno, "path", value.text))

    def _evaluated(self, text: str, node: ast.Call) -> list[ast.AST]:
        self.evaluated += 1
        if self.evaluated > EVALUATED_TEXTS or len(text) > EVALUATED_LENGTH:
            return []
        scope = scope_of(node)
        tree = parse(scope.file, text.strip())
        if isinstance(tree, SyntaxProblem):
            return []
        stack: list[ast.AST] = [tree]
        while stack:
            inner = stack.pop()
            if hasattr(inner, "lineno"):
                inner.lineno, inner.col_offset = position_of(node)
                inner.end_lineno, inner.end_col_offset = position_of(node)
            stack.extend(ast.iter_child_nodes(inner))
        self.binders[scope.file].bind(tree.body, Scope("function", scope.file, scope, scope.at_import, node))
        return list(tree.body)

    def _forbidden_call(self, mention: _Mention, forbidden: Family) -> str | None:
        """The name to tell the student, if the family covers the mention."""
        match mention.kind:
            case "@":
                return "@" if forbidden.at_sign else None
            case "path":
                package = mention.name.partition(".")[0]
                if _covers(forbidden, mention.name):
                    return mention.name
                return package if is_strange(package) and package not in self.own_packages else None
        name = mention.name
        base = name if name in forbidden.methods else name.rstrip("_")
        if base not in forbidden.methods:
            return None
        of_tensor = f"torch.Tensor.{base}" in forbidden.names
        if of_tensor and (mention.sure or not (mention.of_builtin or self._is_someone_elses(name))):
            return f"torch.Tensor.{name}"
        of_builtin = any(path.startswith("builtins.") and path.endswith(f".{base}") for path in forbidden.names)
        if of_builtin and not mention.sure and (mention.of_builtin or name not in self.own_attributes):
            return f".{name}()"
        return None

    def _is_someone_elses(self, name: str) -> bool:
        """An object that may or may not be a tensor more likely is what the file, or Python, gives such a method."""
        return name in self.own_attributes or name in BUILTIN_METHODS


def _covers(forbidden: Family, path: str) -> bool:
    public = canonical(path)
    parts = public.split(".")
    if parts[:2] == ["torch", "ops"] and len(parts) > 3:  # `aten`, and PyTorch's libraries such as `mkldnn`
        operator = parts[3].rstrip("_")
        is_covered = operator in forbidden.operators or f"torch.{operator}" in forbidden.names
        if is_covered or parts[2] == "aten":
            return is_covered
    if path.startswith(_OPERATORS_IN_PYTHON) and not forbidden.operators.isdisjoint({parts[-1], parts[-1].strip("_")}):
        return True
    if forbidden.operators and f"{path}.".startswith(tuple(f"{table}." for table in _TABLES_OF_OPERATORS)):
        return True
    for name in {public, path}:  # `safetensors.torch.save_file` is a function of safetensors, though it looks like torch's
        words = name.split(".")
        for prefix in (".".join(words[:count]) for count in range(1, len(words) + 1)):
            if prefix in forbidden.names or (prefix.endswith("_") and prefix.rstrip("_") in forbidden.names):
                return True
    match parts:
        case ["torch", "nn", "functional", name, *_]:
            return squashed(name) in forbidden.layers
        case ["torch", "nn", name, *_] if name[:1].isupper():
            return squashed(name) in forbidden.layers
    return False


def _prying(file: str, text: str, tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Where the file names an attribute that leads into another function's variables: file, line, attribute."""
    if any(name in text for name in PRYING):
        for node in ast.walk(tree):
            named = node.attr if isinstance(node, ast.Attribute) else node.value if isinstance(node, ast.Constant) else None
            if named in PRYING:
                yield file, node.lineno, named


def _breach_by_prying(exercise: str, file: str, line: int, name: str) -> Breach:
    message = f"{file}, line {line}: {name} is not allowed: it leads into the variables of functions that are not yours."
    return Breach(exercise, file, line, name, message)


def _breach(exercise: str, mention: _Mention, call: str, helper: str) -> Breach:
    via = f" (reached through {helper})" if helper else ""
    why = "this exercise asks you to write it yourself"
    if call.isidentifier() and is_strange(call) or call.partition(".")[0] == "triton":
        why = "exercises are written with Python, NumPy and PyTorch"
    message = f"{mention.file}, line {mention.line}: {call} is not allowed in {exercise}{via}: {why}."
    return Breach(exercise, mention.file, mention.line, call, message)
