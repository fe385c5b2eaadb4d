"""Stubs from solutions: what stays, what goes, and what is refused."""

import ast
import re
from pathlib import Path
from textwrap import dedent

import pytest
import typer
from tiny import make_course

from autograder.authoring import generated
from autograder.authoring.gate_commands import sync as sync_command
from autograder.authoring.stubs import StubError, stub_source, sync
from autograder.course import CourseError

PATH = "solutions/01_attention/attention.py"


def stub(text: str) -> str:
    return stub_source(dedent(text), PATH)


def body(text: str) -> str:
    """The stub without its two header lines."""
    return stub(text).split("\n", 2)[2]


def run(source: str) -> dict:
    names = {}
    exec(compile(source, "stub", "exec"), names)  # noqa: S102
    return names


def test_a_body_becomes_a_todo_that_names_its_function():
    expected = dedent('''\
        """The lesson."""

        import torch


        def causal_mask(n: int) -> torch.Tensor:
            """What it means."""
            # TODO: your code goes here, in place of the next line.
            raise NotImplementedError("TODO: causal_mask")
        ''')
    assert body('''\
        """The lesson."""

        import torch


        def causal_mask(n: int) -> torch.Tensor:
            """What it means."""
            ### BEGIN SOLUTION
            secret = torch.ones(n, n)
            return secret.tril()
            ### END SOLUTION
        ''') == expected


def test_the_first_line_names_the_source():
    assert PATH in stub("x = 1\n").split("\n")[0]


def test_methods_and_nested_functions_are_named_in_full():
    source = stub('''\
        class Cache:
            def __init__(self):
                """Keep the docstring."""
                ### BEGIN SOLUTION
                self.secret = 1
                ### END SOLUTION

            @property
            def length(self):
                ### BEGIN SOLUTION
                return self.secret
                ### END SOLUTION

        def memoize(function):
            def wrapper(*args):
                ### BEGIN SOLUTION
                return function(*args)
                ### END SOLUTION
            return wrapper

        async def later():
            ### BEGIN SOLUTION
            return 1
            ### END SOLUTION
        ''')
    assert re.findall(r'Error\("TODO: (.*)"\)', source) == [
        "Cache.__init__", "Cache.length", "memoize.wrapper", "later",
    ]
    names = run(source)
    with pytest.raises(NotImplementedError, match=r"^TODO: Cache\.__init__$"):
        names["Cache"]()
    with pytest.raises(NotImplementedError, match=r"^TODO: memoize\.wrapper$"):
        names["memoize"](print)(1)


def test_given_code_before_between_and_after_blocks_stays():
    source = body('''\
        def f(x):
            given_before = x
            ### BEGIN SOLUTION
            secret_one = x
            ### END SOLUTION
            given_between = x
            if x:
                ### BEGIN SOLUTION
                secret_two = x
                ### END SOLUTION
            return given_after


        CONSTANT = 3
        ''')
    assert "secret" not in source and source.count('"TODO: f"') == 2
    for given in ("given_before = x", "given_between = x", "return given_after", "CONSTANT = 3"):
        assert given in source
    indents = [len(line) - len(line.lstrip()) for line in source.split("\n") if "raise" in line]
    assert indents == [4, 8]


@pytest.mark.parametrize("indent", ["", "  ", "    ", "            "])
def test_a_markers_own_indentation_does_not_matter(indent):
    source = stub(f"def f():\n    '''Doc.'''\n{indent}### BEGIN SOLUTION\n    return 1\n{indent}### END SOLUTION\n")
    assert '    raise NotImplementedError("TODO: f")\n' in source and "return" not in source


@pytest.mark.parametrize(
    "statement",
    [
        "secret = '''\nsecret text\n    and more\n'''",
        "secret = (\n    1 +\n    # a comment\n    2\n)",
        "@secret\ndef secret():\n    return secret",
        "class Secret:\n    def secret(self):\n        return 1",
        "for secret in ():\n    pass\nelse:\n    secret = 1",
        "# secret comment\nsecret = 1  # secret\n# secret comment",
        "match secret:\n    case 1:\n        secret = 1",
        "try:\n    secret = 1\nexcept ValueError as secret:\n    pass\nfinally:\n    pass",
        "yield 'secret'",
    ],
)
def test_nothing_of_a_body_survives(statement):
    inner = "\n".join("    " + line for line in statement.split("\n"))
    source = stub_source(f"def f():\n    ### BEGIN SOLUTION\n{inner}\n    ### END SOLUTION\n", PATH)
    assert "secret" not in source.lower()
    with pytest.raises(NotImplementedError):
        run(source)["f"]()


def test_a_block_outside_every_function_becomes_a_comment():
    source = body('''\
        class Given:
            """Doc."""
            ### BEGIN SOLUTION
            secret = 1
            ### END SOLUTION

        ### BEGIN SOLUTION
        def secret():
            return 1
        ### END SOLUTION
        ''')
    assert "secret" not in source and "raise" not in source
    assert source.count("# TODO") == 2
    run(source)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from solutions.attention import f", "from exercises.attention import f"),
        ("from solutions import attention", "from exercises import attention"),
        ("import solutions.attention", "import exercises.attention"),
        ("import solutions.attention as a", "import exercises.attention as a"),
        ("def g():\n    from solutions.attention import f", "def g():\n    from exercises.attention import f"),
        ('"""\n>>> from solutions.attention import f\n"""', '"""\n>>> from exercises.attention import f\n"""'),
        (
            "import solutions.attention\nx = solutions.attention.f(solutions.attention.g)",
            "import exercises.attention\nx = exercises.attention.f(exercises.attention.g)",
        ),
        ("é = 1; solutions = 2; y = solutions", "é = 1; solutions = 2; y = solutions"),
        ("from solutions_of_mine import f", "from solutions_of_mine import f"),
        ("from scipy import solutions", "from scipy import solutions"),
    ],
)
def test_earlier_modules_are_the_students_own(line, expected):
    assert body(line + "\n") == expected + "\n"


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("def f():\n    ### BEGIN SOLUTION\n    return 1\n", 2, "never ends"),
        ("def f():\n    return 1\n    ### END SOLUTION\n", 3, "never began"),
        ("def f():\n    ### BEGIN SOLUTION\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n", 3, "inside"),
        ("def f():\n    ### BEGIN SOLUTION\n    ### END SOLUTION\n    return 1\n", 2, "no statement"),
        ("def f():\n    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION\n", 2, "exactly"),
        ("def f():\n    ### begin solution\n    return 1\n    ### end solution\n", 2, "exactly"),
        ("def f():\n    ### BEGIN SOLUTION:\n    return 1\n    ### END SOLUTION\n", 2, "exactly"),
        ("def f():\n    x = 1  ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n", 2, "alone"),
        ("### BEGIN SOLUTION\nif 1:\n    x = 1\n    ### END SOLUTION\n    y = 1\n", 4, "split"),
        ("if 1:\n    ### BEGIN SOLUTION\n    x = 1\ny = 1\n### END SOLUTION\n", 2, "split"),
        (
            "if 1:\n    ### BEGIN SOLUTION\n    x = 1\nelse:\n    y = 1\n    ### END SOLUTION\n    z = 1\n",
            2,
            "split",
        ),
        ("x = [\n    ### BEGIN SOLUTION\n    1,\n    ### END SOLUTION\n]\n", 2, "no statement"),
        ("x = 1\nclass A:\n    ### BEGIN SOLUTION\n    b = 1\n    ### END SOLUTION\n", 3, "does not compile"),
        ("x = 1\ndef f(:\n", 2, "does not parse"),
        ("x = 1\nreturn x\n", 2, "does not parse"),
        ("import os, solutions.attention\n", 1, "line of its own"),
    ],
)
def test_an_error_names_file_and_line(source, line, words):
    with pytest.raises(StubError) as error:
        stub_source(source, PATH)
    assert f"{PATH}, line {line}: " in str(error.value)
    assert words in str(error.value)


def test_markers_inside_a_string_are_text():
    source = body('x = """\n### BEGIN SOLUTION\n"""\n')
    assert ast.literal_eval(source.split("=", 1)[1].strip()) == "\n### BEGIN SOLUTION\n"


def test_line_ends_do_not_matter():
    text = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n"
    assert stub_source(text.replace("\n", "\r\n"), PATH) == stub_source(text, PATH)


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "solutions" / "01_attention"
    (folder / "package").mkdir(parents=True)
    (tmp_path / "exercises" / "01_attention").mkdir(parents=True)
    solved = "def f():\n    ### BEGIN SOLUTION\n    return 'é'\n    ### END SOLUTION\n"
    for name in ("attention.py", "lesson.py", "package/model.py"):
        (folder / name).write_text(solved, encoding="utf-8")
    (tmp_path / "solutions" / "__init__.py").write_text("")
    return tmp_path


def test_sync_writes_what_check_reports_and_then_has_nothing_to_do(course):
    wanted = [course / "exercises/01_attention/attention.py", course / "exercises/01_attention/package/model.py"]
    assert sync(course, check=True) == wanted
    assert not any(file.exists() for file in wanted)
    assert sync(course) == wanted
    first = [file.read_bytes() for file in wanted]
    assert sync(course) == sync(course, check=True) == []
    for file in wanted:
        file.write_text("out of step")
    assert sync(course) == wanted
    assert [file.read_bytes() for file in wanted] == first
    assert sorted(course.glob("exercises/**/*.*")) == wanted  # no lesson, nothing left over


def test_sync_removes_a_stub_whose_solution_is_gone_and_nothing_else(course):
    sync(course)
    own = course / "exercises/01_attention/test_attention.py"
    own.write_text("def test_given(): pass\n")
    (course / "solutions/01_attention/attention.py").unlink()
    stale = course / "exercises/01_attention/attention.py"
    assert sync(course, check=True) == [stale] and stale.exists()
    assert sync(course) == [stale] and not stale.exists()
    assert own.exists()


def test_sync_changes_nothing_when_one_solution_is_wrong(course):
    (course / "solutions/01_attention/package/model.py").write_text("### BEGIN SOLUTION\n")
    with pytest.raises(StubError, match="package/model.py"):
        sync(course)
    assert not list(course.glob("exercises/**/*.py"))


def test_sync_needs_solutions(tmp_path):
    (tmp_path / "exercises" / "01_attention").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path)


def test_the_command_says_what_it_wrote_and_what_it_removed(tmp_path, capsys):
    def said(**options) -> list[str]:
        with pytest.raises(typer.Exit):
            sync_command(course_folder=root, **options)
        return capsys.readouterr().out.splitlines()

    root = make_course(tmp_path)
    assert said() == ["written: exercises/00_tiny/tiny.py"]
    (root / "exercises/00_tiny/old.py").write_bytes((root / "exercises/00_tiny/tiny.py").read_bytes())
    assert said(check=True) == ["out of step: exercises/00_tiny/old.py"]
    assert said() == ["removed: exercises/00_tiny/old.py"] and said() == []


@pytest.mark.parametrize("folder_too", [False, True])
def test_a_solution_that_is_missing_is_said_and_nothing_is_touched(tmp_path, folder_too):
    """Whether or not there is a stub of it."""
    root = make_course(make_course(tmp_path), 1)
    stub, solution, other = (
        root / path for path in ("exercises/00_tiny/tiny.py", "solutions/00_tiny/tiny.py", "exercises/01_tiny1/tiny1.py")
    )
    if not folder_too:
        sync(root)
        other.unlink()
    solution.unlink()
    if folder_too:
        solution.parent.rmdir()
    with pytest.raises(CourseError, match=r"^solutions/00_tiny/tiny.py is missing \(module.toml names it\)$"):
        generated.sync(root)
    assert stub.exists() is not folder_too and not other.exists()
