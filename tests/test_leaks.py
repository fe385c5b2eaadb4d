"""The leak check: what is planted is found however it is dressed, and what the course gives away is not taken for a leak."""

import ast
import base64
import builtins
import gzip
import html
import io
import json
import pickle
import py_compile
import re
import sqlite3
import struct
import subprocess
import textwrap
import urllib.parse
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import make_course

from autograder.authoring import leaks
from autograder.authoring.fingerprints import tokens_of
from autograder.authoring.leaks import RULES, LeakCheck
from autograder.authoring.release import contents_of, select, write_folder
from autograder.authoring.secret import words_of
from autograder.authoring.stubs import stub_source
from autograder.authoring.views import Reader, View
from autograder.course import load_course

MODULE = "01_scaled_dot_product_attention"
SOLUTION = f"solutions/{MODULE}/attention.py"
NAME = "lsh_attention"


@pytest.fixture(scope="module")
def course():
    return load_course()


@pytest.fixture(scope="module")
def check(course):
    return LeakCheck(course)


@pytest.fixture(scope="module")
def bodies(course, check):
    """The source of every solution body, by place: its function's name, its lines and its secret."""
    found = {}
    for secret in check.secrets:
        if secret.kind == "solution":
            file, _, line = secret.place.rpartition(":")
            lines = (course.root / file).read_text().split("\n")[int(line) - 1 :]
            end = next(i for i, text in enumerate(lines) if text.strip() == "### END SOLUTION")
            found[secret.place] = secret, textwrap.dedent("\n".join(lines[:end]))
    return found


@pytest.fixture(scope="module")
def body(bodies):
    """One solution body of ordinary length."""
    secret, text = max((pair for pair in bodies.values() if MODULE in pair[0].place), key=lambda pair: len(pair[1]))
    return secret, text


@pytest.fixture(scope="module")
def hidden_test(course, check):
    """One hidden test of ordinary length that no public test resembles, as it is written."""
    secret = max((s for s in check.secrets if s.kind == "hidden test" and MODULE in s.place), key=lambda s: len(s.tokens.tokens))
    file, _, line = secret.place.rpartition(":")
    text = (course.root / file).read_text()
    node = next(n for n in ast.parse(text).body if getattr(n, "lineno", 0) == int(line))
    return secret, ast.get_source_segment(text, node)


class Renamed(ast.NodeTransformer):
    """Every variable under another name."""

    def __init__(self):
        self.names = {}

    def visit_Name(self, node):
        if node.id in dir(builtins) or node.id in ("torch", "F", "np", "math"):
            return node
        return ast.copy_location(ast.Name(self.names.setdefault(node.id, f"thing_{len(self.names)}"), node.ctx), node)


def renamed(text):
    """The same code with other names, without comments, in the layout of ast.unparse."""
    return ast.unparse(Renamed().visit(ast.parse(f"def f():\n{textwrap.indent(text, '    ')}")).body[0].body)


def as_function(text, name="mine"):
    return f"def {name}(q, k, v):\n{textwrap.indent(text, '    ')}\n"


def half(text):
    """The first statements of a body, as many as make half of it."""
    statements = ast.parse(as_function(text)).body[0].body
    wanted = len(tokens_of(text).tokens) / 2
    for count in range(1, len(statements) + 1):
        part = ast.unparse(statements[:count])
        if len(tokens_of(part).tokens) >= wanted:
            return part


def notebook(source="x = 1\n", text="", metadata=None):
    outputs = [{"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)}]
    cell = {"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": outputs, "metadata": metadata or {}}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def picture(keyword, text, compressed=False):
    """A PNG with a text chunk."""
    value = b"\0" + zlib.compress(text.encode()) if compressed else text.encode()
    kind = b"zTXt" if compressed else b"tEXt"
    data = keyword + b"\0" + value
    end = b"\0\0\0\0IEND\xaeB`\x82"
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) + end


def commented(text):
    return "".join(f"# {line}\n" for line in text.splitlines())


def encoded(text):
    return base64.b64encode(gzip.compress(text.encode())).decode()


def coloured(text):
    """As IPython shows code in a traceback."""
    lines = (re.sub(r"(\w+)", "\x1b[38;5;28m\\1\x1b[39m", line) for line in text.splitlines())
    return "\n".join(f"\x1b[0;32m{number:7}\x1b[0m {line}" for number, line in enumerate(lines, 1))


def marked_up(text):
    """As a notebook that was exported to HTML shows code."""
    parts = (f'<span class="k">{html.escape(part)}</span>' if part.strip() else part for part in re.split(r"(\W)", text))
    return f"<pre>{''.join(parts)}</pre>"


def database(text):
    """An SQLite file: much of what it begins with is zeros."""
    connection = sqlite3.connect(":memory:")
    connection.execute("create table cell (source text)")
    connection.execute("insert into cell values (?)", (text,))
    return connection.serialize()


TEST = f"exercises/{MODULE}/test_attention.py"
BOOK = f"exercises/{MODULE}/attention.ipynb"
PLANTED = {
    "in a public test": (TEST, lambda t: f"import torch\n\n\n{as_function(t)}".encode()),
    "with other names, in another layout": (TEST, lambda t: as_function(renamed(t)).encode()),
    "half of it": (TEST, lambda t: as_function(half(t)).encode()),
    "half of it, renamed": ("notes.txt", lambda t: renamed(half(t)).encode()),
    "in a cell of a notebook": (BOOK, lambda t: notebook(source=t)),
    "in the output of a notebook": (BOOK, lambda t: notebook(text=t)),
    "in the metadata of a notebook": (BOOK, lambda t: notebook(metadata={"nbgrader": {"solution": t}})),
    "in comments": (f"exercises/{MODULE}/attention.py", lambda t: f"x = 1\n{commented(t)}y = 2\n".encode()),
    "in a docstring": (
        "autograder/data.py",
        lambda t: f'def f():\n    """Say:\n\n{textwrap.indent(t, "    ")}\n    """\n'.encode(),
    ),
    "in a block of Markdown": (f"exercises/{MODULE}/README.md", lambda t: f"# The idea\n\n```python\n{t}\n```\n".encode()),
    "as a quotation": ("README.md", lambda t: "".join(f"> {line}\n" for line in t.splitlines()).encode()),
    "in a string of one line": ("autograder/data.py", lambda t: f"TEXT = {t!r}\n".encode()),
    "as a list of strings": ("autograder/data.py", lambda t: f"LINES = {json.dumps(t.splitlines(), indent=4)}\n".encode()),
    "as a hint": (f"exercises/{MODULE}/module.toml", lambda t: f"hints = {json.dumps(t.splitlines(), indent=4)}\n".encode()),
    "in base64": ("autograder/data.py", lambda t: f'X = "{base64.b64encode(t.encode()).decode()}"\n'.encode()),
    "in base64 over several lines": ("data.txt", lambda t: base64.encodebytes(t.encode())),
    "compressed, in base64": ("autograder/data.py", lambda t: f'X = "{encoded(t)}"\n'.encode()),
    "in base85": ("autograder/data.py", lambda t: f"X = '{base64.b85encode(t.encode()).decode()}'\n".encode()),
    "in hexadecimal": ("autograder/data.py", lambda t: f'X = "{t.encode().hex()}"\n'.encode()),
    "in escapes": ("data.py", lambda t: ("X = '" + "".join(f"\\x{byte:02x}" for byte in t.encode()) + "'\n").encode()),
    "compressed": ("exercises/data.bin", lambda t: gzip.compress(t.encode(), mtime=0)),
    "in a zip in a zip": ("data.zip", lambda t: zipped({"inner.zip": zipped({"a.txt": t.encode()})})),
    "in a picture's text": ("docs/picture.png", lambda t: picture(b"Comment", t)),
    "in a picture's compressed text": ("docs/picture.png", lambda t: picture(b"Comment", t, compressed=True)),
    "in a picture in a notebook": (BOOK, lambda t: notebook(text=base64.b64encode(picture(b"Source", t)).decode())),
    "in UTF-16": ("notes.txt", lambda t: t.encode("utf-16")),
    "in UTF-32": ("notes.txt", lambda t: t.encode("utf-32")),
    "in a coloured traceback": (BOOK, lambda t: notebook(text=coloured(t))),
    "as HTML": ("docs/attention.html", lambda t: marked_up(t).encode()),
    "in numbers of HTML": ("README.md", lambda t: "".join(f"&#{ord(character)};" for character in t).encode()),
    "in a link": ("README.md", lambda t: f"https://example.org/?code={urllib.parse.quote(t)}".encode()),
    "in a database": ("data.db", database),
    "pickled": ("data.pkl", lambda t: pickle.dumps({"a": t})),
    "with characters that do not show": ("notes.txt", lambda t: re.sub(r"(\w)(\w)", "\\1\u200b\\2", t).encode()),
    "in wide characters": (
        "notes.txt",
        lambda t: "".join(chr(ord(c) + 0xFEE0) if 33 <= ord(c) < 127 else c for c in t).encode(),
    ),
    "backwards": ("notes.txt", lambda t: f"{t}\nreturn 1\n"[::-1].encode()),
    "as an attachment of a notebook": (
        BOOK,
        lambda t: json.dumps({"cells": [{"attachments": {"a": {"text/plain": base64.b64encode(t.encode()).decode()}}}]}).encode(),
    ),
    "a line a bullet": ("README.md", lambda t: "".join(f"- Then `{line}`, as said.\n" for line in t.splitlines()).encode()),
    "as a list of lines": ("data.json", lambda t: json.dumps({"lines": t.split("\n")}).encode()),
    "as removed lines of a patch": ("change.diff", lambda t: "".join(f"+{line}\n" for line in t.splitlines()).encode()),
}


@pytest.mark.parametrize("how", PLANTED)
def test_a_planted_body_is_found(how, check, body) -> None:
    """Wherever the body stands, the leak names the file and the function."""
    secret, text = body
    path, dress = PLANTED[how]
    found = [leak for leak in check.check(Reader().data(path, dress(text))) if leak.secret and leak.secret.place == secret.place]
    assert found, how
    assert found[0].place.startswith(path)
    assert secret.name in str(found[0]) and SOLUTION in str(found[0])


@pytest.mark.parametrize("how", [how for how in PLANTED if "half" not in how])
def test_a_planted_hidden_test_is_found(how, check, hidden_test) -> None:
    secret, text = hidden_test
    path, dress = PLANTED[how]
    found = check.check(Reader().data(path, dress(text)))
    assert secret.place in {leak.secret.place for leak in found if leak.secret}, how


def test_the_line_of_a_leak_is_named(check, body) -> None:
    text = "import torch\n" * 30 + as_function(body[1])
    (line,) = {leak.line for leak in check.check([View("a.py", text)]) if leak.secret == body[0]}
    assert 31 <= line <= 33


def test_half_of_a_hidden_test_outside_the_public_tests_is_found(check, hidden_test) -> None:
    secret, text = hidden_test
    lines = text.split("\n")
    for part in (lines[: len(lines) // 2 + 1], lines[len(lines) // 2 :]):
        found = check.check([View("README.md", "\n".join(part))])
        assert secret.place in {leak.secret.place for leak in found}


def test_reordered_statements_are_found(check, bodies) -> None:
    """Statements in the opposite order, each in a form of its own: here the statements count, not the run of tokens."""
    secret, text = max(bodies.values(), key=lambda pair: pair[1].count(" = "))
    statements = ast.parse(as_function(text)).body[0].body
    upside_down = as_function("\n".join(ast.unparse(s) for s in reversed(statements)))
    assert secret in {leak.secret for leak in check.check([View("a.py", upside_down)])}


def test_byte_code_is_read(check, course, tmp_path: Path) -> None:
    """A compiled solution, found by its operations; a compiled stub is none."""
    for name, text, leaked in (
        ("solution", (course.root / SOLUTION).read_text(), True),
        ("stub", stub_source((course.root / SOLUTION).read_text(), SOLUTION), False),
    ):
        source = tmp_path / f"{name}.py"
        source.write_text(renamed_locals(text))
        compiled = py_compile.compile(str(source), cfile=str(tmp_path / f"{name}.pyc"), doraise=True)
        found = {leak.secret.name for leak in check.check(Reader().data(f"{name}.pyc", Path(compiled).read_bytes()))}
        assert (NAME in found) == leaked, found
    unreadable = check.check(Reader().data("a.pyc", b"\0" * 40))
    assert [leak.secret for leak in unreadable] == [None]


def renamed_locals(text):
    return text.replace("weights", "w").replace("scores", "s")


def test_git_history_and_loose_objects_are_read(check, body, tmp_path: Path) -> None:
    """A body that was committed and removed again is there still; so is one that no commit names; so is a message."""

    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=b", *arguments], cwd=tmp_path, check=True, capture_output=True
        )

    git("init", "-q")
    for place in ("committed", "staged", "said"):
        file = tmp_path / f"{place}.py"
        file.write_text(f"# {place}\n{as_function(body[1])}" if place != "said" else "x = 1\n")
        git("add", "-A")
        if place == "committed":
            git("commit", "-q", "-m", "One")
            git("rm", "-q", file.name)
            git("commit", "-q", "-m", "Two")
        elif place == "staged":
            git("rm", "-q", "-f", file.name)
        else:
            git("commit", "-q", "-m", f"Three\n\n{body[1]}")
    assert [path.name for path in tmp_path.iterdir() if path.name != ".git"] == ["said.py"]
    places = [leak.place for leak in check.folder(tmp_path) if leak.secret == body[0]]
    assert sum(".git: blob" in place for place in places) == 2, places
    assert sum(".git: commit" in place for place in places) == 1, places
    git("gc", "-q", "--prune=now")  # into a pack
    assert any(".git: blob" in leak.place for leak in check.folder(tmp_path) if leak.secret == body[0])


def test_a_known_mistake_is_found_by_its_code_and_by_its_words(check, course) -> None:
    mutants = (course.root / "autograder/suites" / MODULE / "mutants.py").read_text()
    tree = ast.parse(mutants)
    definition = max((n for n in tree.body if isinstance(n, ast.FunctionDef)), key=lambda n: n.end_lineno - n.lineno)
    says = next(s for s in check.secrets if s.kind == "sentence" and f"{MODULE}/mutants.py" in s.place)
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    sentence = next(text for text in texts if words_of(text).tokens == says.tokens.tokens)
    found = check.check([View("a.md", ast.get_source_segment(mutants, definition)), View("b.md", f"Note. {sentence}")])
    assert any(leak.place == "a.md" and leak.secret.kind == "variant" for leak in found)
    assert any(leak.place == "b.md" and leak.secret == says for leak in found)


def test_half_of_every_body_is_found(check, bodies) -> None:
    """Of every solution in the course: all of it and the first half of it, under other names and laid out anew."""
    least = RULES["solution"].least
    for secret, text in bodies.values():
        tokens = len(secret.tokens.tokens)
        if tokens >= 2 * least:
            found = {leak.secret for leak in check.check([View("a.py", as_function(renamed(text)))])}
            assert secret in found, f"all of {secret}"
        if tokens >= 4 * least:  # the first half may be that of a twin, too: then the twin is named
            assert check.check([View("a.md", f"So:\n\n{textwrap.indent(half(text), '    ')}\n")]), f"half of {secret}"


def test_a_tiny_body_is_found_under_its_own_name(check, bodies) -> None:
    """A body of a few tokens is found anywhere; it is a leak where the exercise's own function has just that body."""
    tiny = [(secret, text) for secret, text in bodies.values() if len(secret.tokens.tokens) < RULES["solution"].least]
    assert len(tiny) > 3
    for secret, text in tiny:
        own = View("a.md", f"So:\n\n{as_function(renamed(text), secret.name.rpartition('.')[2])}\nand so on.\n")
        assert secret in {leak.secret for leak in check.check([own])}, secret
        other = View("a.py", as_function(renamed(text)))
        assert secret not in {leak.secret for leak in check.check([other])}, secret


def test_a_seed_is_found(tmp_path: Path) -> None:
    check = LeakCheck(load_course(make_course(tmp_path)))
    found = check.check([View("docs/a.md", "one\nseed: a secret\n")])
    assert [(leak.place, leak.line, leak.secret.kind) for leak in found] == [("docs/a.md", 2, "seed")]


def test_both_seeds_are_secret_and_an_empty_one_is_none(tmp_path: Path, monkeypatch) -> None:
    """The file's seed stays secret where the environment has another; GitHub sets a secret that is not there to nothing."""
    root = make_course(tmp_path)
    cases = (("another", "another", True), ("another", "a secret", True), ("", "a secret", True), ("", "nothing", False))
    for seed, text, found in cases:
        monkeypatch.setenv("AUTOGRADER_GRADING_SEED", seed)
        assert bool(LeakCheck(load_course(root)).check([View("docs/a.md", text)])) == found


@pytest.mark.parametrize("data", [b"PK\x03\x04 no archive", zipped({"a.pyc": b"\0" * 30})], ids=["broken", "byte code"])
def test_what_cannot_be_opened_is_said(check, data: bytes) -> None:
    """A release holds nothing that cannot be checked."""
    (leak,) = check.check(Reader().data("data.zip", data))
    assert leak.secret is None and leak.place.startswith("data.zip")


def test_a_bomb_is_refused(check) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    (leak,) = check.check(Reader(left=10_000_000).data("bomb.gz", bomb))
    assert "more than can be checked" in str(leak)


def test_a_solution_that_is_given_away_is_no_leak(tmp_path: Path) -> None:
    course = load_course(make_course(tmp_path))
    view = View("a.py", "def double(tensor):\n    return 2 * tensor\n")
    assert [leak.secret.name for leak in LeakCheck(course).check([view])] == ["double"]
    assert LeakCheck(course, ["00_tiny"]).check([view]) == []


def test_the_course_itself_raises_no_alarm(course, check, tmp_path: Path, monkeypatch) -> None:
    """Handouts, stubs, public tests, hints and the machine: no alarm, not even with the rule for solutions a quarter stricter."""
    write_folder(contents_of(course, select(course, None, None)), tmp_path)
    for name in ("RULES", "IN_PUBLIC_TESTS", "IN_HINTS"):
        rules = getattr(leaks, name)
        stricter = replace(rules["solution"], share=0.75 * rules["solution"].share)
        monkeypatch.setattr(leaks, name, {**rules, "solution": stricter})
    monkeypatch.setattr(leaks, "STATEMENTS", replace(leaks.STATEMENTS, share=0.75 * leaks.STATEMENTS.share))
    assert check.folder(tmp_path) == []
