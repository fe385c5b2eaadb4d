"""Does a release hold what it must not? Every text in it is compared with every secret part of the course.

Two measures, and either is enough. *Tokens*: how much of a part is covered by runs of WIDTH tokens that the text has,
too; renaming, comments, layout and quoting change nothing. *Statements*: how much of a part's statements, weighed by
their size, a definition in the text has, in any order. What the stub of a solution shows does not count, and what the
course's public tests show does not count as part of a hidden test, except in the public tests themselves.

A body of a few tokens is found in any program. Below `least` tokens a part counts as leaked only where a definition
of its own name has just its statements, whatever the variables are called.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autograder.authoring.fingerprints import WIDTH, nested, statements_of, tokens_of
from autograder.authoring.secret import Kind, Secret, code_objects, code_tokens, public_tests, secrets_of, words_of
from autograder.authoring.stubs import stub_source
from autograder.authoring.views import Reader, View
from autograder.course import Course


@dataclass(frozen=True)
class Rule:
    """From which share of a part on, and from how many tokens on, it is a leak; `run` tokens are one in any case."""

    share: float
    least: int
    run: int = 10**6


# tests/test_leaks.py shows the room on both sides: half of every body is found, and nothing that the course gives away is.
RULES: dict[Kind, Rule] = {
    "solution": Rule(0.4, 14, run=48),
    "hidden test": Rule(0.4, 24),
    "test helper": Rule(0.6, 30),
    "variant": Rule(0.6, 24),
    "sentence": Rule(0.8, 8),
}
# A public test may look much like a hidden one: there only a hidden test that is all there counts.
IN_PUBLIC_TESTS: dict[Kind, Rule] = {
    **RULES,
    "hidden test": Rule(0.85, 40),
    "test helper": Rule(0.85, 48),
    "sentence": Rule(1.0, 14),
}
# The last hint of an exercise is nearly the code, on purpose; it must not be all of it.
IN_HINTS: dict[Kind, Rule] = {**RULES, "solution": Rule(0.8, 14)}
STATEMENTS = Rule(0.4, 14)  # of a solution's or variant's nodes
BYTE_CODE = Rule(0.5, 24)
SENTENCE_WIDTH = 6
TINY_NODES = 4  # `return self` is nobody's secret

_PUBLIC_TEST = re.compile(r"exercises/[0-9][0-9]_\w+/test_\w+\.py")
_HINTS = re.compile(r"exercises/[0-9][0-9]_\w+/module\.toml")
_OURS = re.compile(r"autograder/.*")
_DEFINITION = re.compile(r"^([ \t]*)(?:async[ \t]+)?(?:def|class)[ \t]+\w", re.MULTILINE)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Leak:
    """One secret part found in one place, or a file that could not be checked (`secret` is None)."""

    place: str
    line: int
    secret: Secret | None
    overlap: str
    weight: float = 1.0

    def __str__(self) -> str:
        where = f"{self.place}:{self.line}" if self.line else self.place
        return f"{where}: {self.overlap}" + (f" of {self.secret}" if self.secret else "")


class LeakCheck:
    """The secret parts of a course, ready to be looked for."""

    def __init__(self, course: Course, solved: Iterable[str] = ()):
        solved = set(solved)
        self.secrets = secrets_of(course, solved)
        self._given = _given_code(course, solved)
        self._public = {s for file in public_tests(course.modules) for _, s in tokens_of(_text(file)).shingles()}

    def folder(self, root: Path, reader: Reader | None = None) -> list[Leak]:
        """What has leaked into the files under `root`, the worst of each place and part."""
        return self.check((reader or Reader()).folder(root))

    def check(self, views: Iterable[View]) -> list[Leak]:
        """What has leaked into these texts."""
        found: dict[tuple[str, str], Leak] = {}
        for view in views:
            for leak in self._leaks(view):
                key = leak.place, str(leak.secret)
                if key not in found or leak.weight > found[key].weight:
                    found[key] = leak
        return list(found.values())

    def _leaks(self, view: View) -> Iterator[Leak]:
        if view.problem:
            yield Leak(view.place, 0, None, view.problem)
        elif view.code is not None:
            yield from self._in_byte_code(view)
        else:
            yield from self._by_tokens(view)
            yield from self._by_statements(view)
            yield from self._by_words(view)

    def _by_tokens(self, view: View) -> Iterator[Leak]:
        tokens = tokens_of(view.text)
        ours, rules = bool(_OURS.fullmatch(_file(view.place))), _rules(view.place)
        for number, covered, first in _overlaps(self._index, tokens.shingles(), WIDTH):
            secret = self.secrets[number]
            if ours and secret.kind == "test helper":
                continue  # what hidden and public tests share lies in autograder.testing
            rule, total = rules[secret.kind], len(self._places[number])
            if rules is not IN_PUBLIC_TESTS:
                covered, total = covered - self._shown[number], len(self._places[number] - self._shown[number])
            if len(covered) >= max(rule.least, min(rule.share * total, rule.run)):
                share = len(covered) / total
                yield Leak(view.place, tokens.lines[first], secret, f"{len(covered)} of {total} tokens ({share:.0%})", share)

    def _by_statements(self, view: View) -> Iterator[Leak]:
        for name, line, body in _definitions(view.text):
            shapes = Counter(statements_of(body))
            found: dict[int, int] = defaultdict(int)
            for shape, count in shapes.items():
                for number, its_count in self._by_shape.get(shape, ()):
                    found[number] += min(count, its_count) * shape[1]
            for number, size in found.items():
                secret, total = self.secrets[number], self._sizes[number]
                if size == total >= TINY_NODES and secret.name.rpartition(".")[2] == name and secret.kind != "test helper":
                    if shapes == Counter(secret.shapes):
                        yield Leak(view.place, line, secret, "the whole body")
                if secret.kind in ("solution", "variant") and len(secret.tokens.tokens) >= RULES[secret.kind].least:
                    share = STATEMENTS.share if secret.kind == "solution" else RULES["variant"].share
                    if size >= max(STATEMENTS.least, share * total):
                        yield Leak(view.place, line, secret, f"{size / total:.0%} of the statements", size / total)

    def _by_words(self, view: View) -> Iterator[Leak]:
        rule = _rules(view.place)["sentence"]
        words = words_of(view.text)
        runs = enumerate(zip(*(words.tokens[i:] for i in range(SENTENCE_WIDTH)), strict=False))
        for number, covered, first in _overlaps(self._sentences, runs, SENTENCE_WIDTH):
            secret = self.secrets[number]
            total = len(secret.tokens.tokens)
            if len(covered) >= max(rule.least, rule.share * total):
                yield Leak(view.place, words.lines[first], secret, f"{len(covered)} of {total} words", len(covered) / total)
        for secret in self.secrets:
            if secret.kind == "seed" and secret.text in view.text:
                line = view.text[: view.text.index(secret.text)].count("\n") + 1
                yield Leak(view.place, line, secret, "the whole text")

    def _in_byte_code(self, view: View) -> Iterator[Leak]:
        tokens = tuple(token for part in code_objects(view.code) for token in code_tokens(part))
        runs = ((i, tokens[i : i + WIDTH]) for i in range(len(tokens) - WIDTH + 1))
        for number, covered, _ in _overlaps(self._codes, runs, WIDTH):
            secret = self.secrets[number]
            total = len(secret.code)
            if len(covered) >= max(BYTE_CODE.least, BYTE_CODE.share * total):
                share = len(covered) / total
                yield Leak(view.place, 0, secret, f"{len(covered)} of {total} operations ({share:.0%})", share)
        for part in code_objects(view.code):
            for constant in part.co_consts:
                if isinstance(constant, str) and len(constant) >= 20:
                    yield from self._leaks(View(f"{view.place} (a constant)", constant))

    @cached_property
    def _index(self) -> dict[tuple[str, ...], list[tuple[int, int]]]:
        index = defaultdict(list)
        for number, secret in enumerate(self.secrets):
            if secret.kind not in ("sentence", "seed"):
                for place, shingle in secret.tokens.shingles():
                    if shingle not in self._given:
                        index[shingle].append((number, place))
        return dict(index)

    @cached_property
    def _places(self) -> dict[int, set[int]]:
        """The tokens of each secret part that runs can cover at all: not what is given, nor rows of bare names."""
        places: dict[int, set[int]] = defaultdict(set)
        for found in self._index.values():
            for number, place in found:
                places[number].update(range(place, place + WIDTH))
        return places

    @cached_property
    def _shown(self) -> dict[int, set[int]]:
        """For each secret part, the places that a public test shows as well."""
        shown = defaultdict(set)
        for number, secret in enumerate(self.secrets):
            if secret.kind not in ("solution", "sentence", "seed"):
                for place, shingle in secret.tokens.shingles():
                    if shingle in self._public:
                        shown[number].update(range(place, place + WIDTH))
        return shown

    @cached_property
    def _by_shape(self) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """For each shape, the secret parts that have it, and how often."""
        index = defaultdict(list)
        for number, secret in enumerate(self.secrets):
            for shape, count in Counter(secret.shapes).items():
                index[shape].append((number, count))
        return dict(index)

    @cached_property
    def _sizes(self) -> list[int]:
        return [sum(size for _, size in secret.shapes) for secret in self.secrets]

    @cached_property
    def _sentences(self) -> dict[tuple[str, ...], list[tuple[int, int]]]:
        parts = ((n, s.tokens.tokens) for n, s in enumerate(self.secrets) if s.kind == "sentence")
        return _index_runs(parts, SENTENCE_WIDTH)

    @cached_property
    def _codes(self) -> dict[tuple[str, ...], list[tuple[int, int]]]:
        return _index_runs(((number, secret.code) for number, secret in enumerate(self.secrets)), WIDTH)


def _rules(place: str) -> dict[Kind, Rule]:
    file = _file(place)
    if _PUBLIC_TEST.fullmatch(file) or _OURS.fullmatch(file):
        return IN_PUBLIC_TESTS
    return IN_HINTS if _HINTS.fullmatch(file) else RULES


def _file(place: str) -> str:
    """The file, of a text that is one in other words: `a.py (without markup)`."""
    return place.partition(" (")[0]


def _index_runs(parts: Iterable[tuple[int, Sequence[str]]], width: int) -> dict[tuple[str, ...], list[tuple[int, int]]]:
    index = defaultdict(list)
    for number, tokens in parts:
        for place in range(len(tokens) - width + 1):
            index[tuple(tokens[place : place + width])].append((number, place))
    return dict(index)


def _overlaps(
    index: dict[tuple[str, ...], list[tuple[int, int]]], runs: Iterable[tuple[int, tuple[str, ...]]], width: int
) -> Iterator[tuple[int, set[int], int]]:
    """For each secret part that has runs in common: its number, its places that are covered, and where that begins."""
    covered: dict[int, set[int]] = defaultdict(set)
    first: dict[int, int] = {}
    for start, run in runs:
        for number, place in index.get(run, ()):
            covered[number].update(range(place, place + width))
            first.setdefault(number, start)
    for number, places in covered.items():
        yield number, places, first[number]


def _given_code(course: Course, solved: set[str]) -> set[tuple[str, ...]]:
    """What stubs show, and solutions that are given away."""
    given: set[tuple[str, ...]] = set()
    for module in course.modules:
        for file in sorted(module.solution_folder.rglob("*.py")):
            text = _text(file)
            shown = text if module.id in solved else stub_source(text, file.relative_to(course.root).as_posix())
            given.update(shingle for _, shingle in tokens_of(shown).shingles())
    return given


def _definitions(text: str) -> Iterator[tuple[str, int, list[ast.stmt]]]:
    """Every function in a text, Python or not, and the text's own statements: name, line and body."""
    tree = _parsed(text)
    if tree is not None:
        yield "", 1, [node for node in tree.body if not isinstance(node, (*_FUNCTIONS, ast.ClassDef))]
        yield from _functions(tree, 0)
        return
    lines = text.replace("\r", "\n").split("\n")
    for match in _DEFINITION.finditer("\n".join(lines)):
        start = "\n".join(lines).count("\n", 0, match.start())
        indent = len(match.group(1))
        end = start + 1
        while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
            end += 1
        part = _parsed(textwrap.dedent("\n".join(lines[start:end])))
        if part is not None:
            yield from _functions(part, start)


def _functions(tree: ast.Module, offset: int) -> Iterator[tuple[str, int, list[ast.stmt]]]:
    for node in nested(tree.body):
        if isinstance(node, _FUNCTIONS):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.name, node.lineno + offset, body


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():  # a text cut out of another may have escapes that are none
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")
