"""The student's day on small courses: status, check, hint and watch, in processes of their own, as a student runs them."""

import functools
import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tiny import FILES

from autograder.course import load_course
from autograder.student import show, watch
from autograder.student.files import Watched, digest
from autograder.student.outcome import ExerciseOutcome, ModuleOutcome
from autograder.student.progress import load_progress
from autograder.student.runs import Run, warm
from autograder.student.written import changed, definitions, unwritten

COMMAND = """
import typer
from autograder import cli
from autograder.student import commands
cli.app = typer.Typer()
commands.register(cli.app)
cli.main()
"""

STUB = '''
import torch


def double(x):
    """Twice x."""
    raise NotImplementedError("TODO: double")


class Halver:
    """Half of x."""

    def __call__(self, x):
        raise NotImplementedError("TODO: Halver.__call__")
'''
RIGHT = """
import torch


def double(x):
    return 2 * x


class Halver:
    def __call__(self, x):
        return x / 2
"""
LOOP = """    while True:
        try:
            pass
        except Exception:
            pass"""
WRONG = RIGHT.replace("2 * x", "3 * x")
# Each is the only file of a module `NN_<name>`, with the tests of the tiny course.
STATES = {
    "stub": STUB,
    "right": RIGHT,
    "wrong": WRONG.replace("    return 3", "    print('x is', x.tolist())\n    return 3"),
    "raises": RIGHT.replace("x / 2", "x / y").replace("2 * x", "x * float(input())"),
    "unread": RIGHT.replace("class Halver:", "class Halver"),
    "unknown": RIGHT.replace("import torch", "import torch\nfrom exercises.right import quadruple"),
    "waiting": RIGHT.replace("import torch", "from exercises.stub import twice").replace("2 * x", "twice(x)"),
    "forever": RIGHT.replace("    return 2 * x", LOOP),
    "asleep": RIGHT.replace("    return 2 * x", "    import time\n    time.sleep(1000)"),
    "leaving": RIGHT.replace("    return 2 * x", "    import os\n    os._exit(0)"),
    "ending": "import sys\nsys.exit('no')\n",
    "foreign": RIGHT.replace("import torch", "import torch\nfrom exercises import wrong\nfrom exercises.right import double"),
    "renamed": RIGHT.replace("def double", "def doubled").replace("class Halver", "class Halves"),
    "unsaved": "\n",
}  # fmt: skip


def write_module(root: Path, number: int, name: str, text: str) -> Path:
    folder = root / "exercises" / f"{number:02}_{name}"
    folder.mkdir(parents=True)
    toml = textwrap.dedent(FILES["exercises/00_tiny/module.toml"]).replace("tiny.py", f"{name}.py")
    if name == "waiting":
        toml = toml.replace("[limits]", 'requires = ["00_stub"]\n\n[limits]', 1)
    if name == "unknown":
        toml = toml.replace("[limits]", 'requires = ["01_right"]\n\n[limits]', 1)
    files = {"module.toml": toml, f"test_{name}.py": textwrap.dedent(FILES["exercises/00_tiny/test_tiny.py"]), f"{name}.py": text}
    for file, content in files.items():
        # Another module waits for this one's exercise, which therefore has a name of its own.
        (folder / file).write_text(content.replace("double", "twice") if name == "stub" else content)
    return folder / f"{name}.py"


def make_course(root: Path, states: dict[str, str]) -> Path:
    for number, (name, text) in enumerate(states.items()):
        write_module(root, number, name, text)
    (root / "exercises/__init__.py").write_text(textwrap.dedent(FILES["exercises/__init__.py"]))
    (root / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    return root


def student(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, *arguments, "--course", str(root)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A course in which every module went another way, and what `check` printed of it."""
    root = make_course(tmp_path_factory.mktemp("states"), STATES)
    return root, student(root, "check", *(f"{number:02}" for number in range(len(STATES))))


def section(output: str, name: str) -> str:
    """What `check` printed of one module."""
    told = re.split(r"^(?=\d\d_\w+  )", output.split(f"_{name}  ", 1)[1], flags=re.MULTILINE)[0]
    return re.sub(" +", " ", told)


def test_check_runs_every_module_to_its_end(checked) -> None:
    _, done = checked
    assert done.returncode == 1, done.stderr
    assert re.findall(r"^\d\d_(\w+)  ", done.stdout, re.MULTILINE) == list(STATES)
    assert "Traceback" not in done.stdout + done.stderr and "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("stub", ["· twice 70 TODO", "· Halver 30 TODO", "next: twice (70 points)"]),
        ("right", ["✓ double 70 1 of 1 test", "2 of 2 exercises, 100 of 100 points in reach"]),
        ("wrong", ["✗ double 70 FAILED", "double: Twice 1 is 2.", "expected 2, got 3", "your code printed:", "x is [1.0]"]),
        ("raises", ["your code raised OSError: input() has nobody to ask\n raises.py, line 6: return x * float(input())"]),
        ("raises", ["your code raised NameError: name 'y' is not defined", "raises.py, line 11: return x / y"]),
        ("unread", ["nothing can be tested yet", "Python cannot read unread.py", "unread.py, line 9: class Halver"]),
        ("unknown", ["unknown.py cannot be imported: ImportError: cannot import name 'quadruple'", "unknown.py, line 3: from"]),
        ("waiting", ["· double 70 TODO: first finish twice of 00_stub", "next: double waits; first finish twice of", "✓ Halver"]),
        ("forever", ["more than 1 s: is there a loop that never ends?\n it was at forever.py, line ", "✓ Halver"]),
        ("asleep", ["had to be stopped: is there a loop that never ends?", "✓ Halver"]),
        ("leaving", ["your code ended the whole process", "✓ Halver"]),
        ("ending", ["nothing can be tested yet", "it ends the program (sys.exit)", "ending.py, line 2: sys.exit('no')"]),
        ("foreign", ["nothing can be tested yet", "foreign.py, line 3: exercises.wrong is not there when this module is graded"]),
        ("renamed", ["✗ double 70 FAILED", "the file does not define double", "the file does not define Halver"]),
        ("unsaved", ["nothing can be tested yet", "unsaved.py is empty: save your work"]),
    ],
)
def test_check_says_what_a_student_can_act_on(checked, name: str, says: list[str]) -> None:
    told = section(checked[1].stdout, name)
    for words in says:
        assert words in told, told


def test_status_tells_of_the_last_runs_and_runs_nothing(checked) -> None:
    root, _ = checked
    before = (root / ".autograder/progress.json").read_bytes()
    told = json.loads(student(root, "status", "--json").stdout)
    assert (root / ".autograder/progress.json").read_bytes() == before
    modules = {module["id"][3:]: module for module in told["modules"]}
    statuses = {name: [exercise["status"] for exercise in module["exercises"]] for name, module in modules.items()}
    assert statuses["stub"] == ["todo", "todo"] and statuses["right"] == ["passed", "passed"]
    assert statuses["wrong"] == ["failed", "passed"] and statuses["asleep"] == ["failed", "passed"]
    assert modules["right"]["points"] == 100 and modules["wrong"]["points"] == 30
    assert "cannot read" in modules["unread"]["problem"]
    assert told["next"] == {"module": "00_stub", "exercise": "twice"}
    assert not any(module["stale"] for module in modules.values())


def test_pytest_shows_one_line_per_exercise_and_each_lesson_once(checked) -> None:
    root, _ = checked
    endless = ("forever", "asleep", "leaving")  # plain pytest leaves those to Ctrl-C
    shown = [str(path) for path in sorted((root / "exercises").glob("*_*")) if path.name[3:] not in endless]
    command = [sys.executable, "-m", "pytest", *shown, "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    output = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300).stdout
    assert re.search(r"^00_stub\n  twice   TODO\n  Halver  TODO     Halver.__call__\n", output, re.MULTILINE), output
    assert re.search(r"^01_right\n  double  passed   1 of 1 test\n  Halver  passed   1 of 1 test\n", output, re.MULTILINE)
    assert re.search(r"^02_wrong\n  double  FAILED   0 of 1 test\n  Halver  passed", output, re.MULTILINE)
    assert "double: Twice 1 is 2.\n" in output and "expected 2, got 3" in output and "x is [1.0]" in output
    assert re.search(r"^04_unread\n  double  not run\n  Halver  not run", output, re.MULTILINE)
    assert output.count("Python cannot read unread.py") == 1
    assert "double  TODO     first finish twice of 00_stub" in output
    assert "Traceback" not in output and "short test summary" not in output and "NotImplementedError" not in output
    assert "3 todo" in output


@pytest.fixture
def course(tmp_path: Path) -> Path:
    return make_course(tmp_path, {"tiny": STUB, "later": STUB})


def test_a_process_that_waits_does_what_a_fork_does(course: Path) -> None:
    """Where libraries do not survive a fork (macOS), the next process is warmed up in advance."""
    (course / "exercises/00_tiny/tiny.py").write_text(WRONG)
    loaded = load_course(course)
    starter = warm(loaded.modules, fork=False)
    try:
        outcome = Run(loaded, loaded.module("00"), starter).wait()
    finally:
        starter.close()
    assert [exercise.status for exercise in outcome.exercises] == ["failed", "passed"], outcome
    assert "expected 2, got 3" in outcome.exercises[0].message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Triton is for Linux")
def test_a_warm_process_runs_kernels_in_tritons_interpreter(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    toml = course / "exercises/00_tiny/module.toml"
    toml.write_text(toml.read_text().replace('preload = []', 'preload = ["triton.language"]', 1))
    interpreted = "    import triton.language\n    assert 'Interpreted' in type(triton.language.cdiv).__name__\n    return 2 * x"
    (course / "exercises/00_tiny/tiny.py").write_text(RIGHT.replace("    return 2 * x", interpreted))
    done = student(course, "check", "00")
    assert done.returncode == 0, done.stdout


def test_what_fails_comes_before_what_is_still_to_do(course: Path) -> None:
    (course / "exercises/00_tiny/tiny.py").write_text(STUB.replace('NotImplementedError("TODO: Halver.__call__")', "KeyError"))
    assert "next: Halver" in student(course, "check", "00").stdout
    assert "hint 1 of 2 for Halver" in student(course, "hint", "00").stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short enough", ["short enough"]),
        ("  ✗  name   TODO: first finish another_one", ["  ✗  name   TODO:", "      first finish", "      another_one"]),
        ("in exercises/00_numbers/a_long_name.py and on", ["in", "      exercises/00_numbers/a_long_name.py", "      and on"]),
        ("exercises/00_numbers/a_long_name.py", ["exercises/00_numbers/a_long_name.py"]),
    ],
)
def test_a_narrow_terminal_breaks_lines_between_words(text: str, shown: list[str]) -> None:
    """A path stays whole, so that it can be copied; what goes to a file or another program stays one line."""
    for terminal, expected in ((True, shown), (False, [text])):
        console = Console(file=io.StringIO(), width=20, force_terminal=terminal, color_system=None)
        show.line(console, text[:6], (text[6:], "red"), hang=6)
        assert console.file.getvalue().splitlines() == expected


def test_hints_come_one_at_a_time_and_are_remembered(course: Path) -> None:
    first, second, third = (student(course, "hint", "00", "double").stdout for _ in range(3))
    assert "hint 1 of 2" in first and "Add." in first and "x + x" not in first
    assert "hint 2 of 2" in second and "x + x" in second and "Add." not in second
    assert "hint 2 of 2" in third and "no further hint" in third
    again = student(course, "hint", "00", "--again").stdout
    assert "Add." in again and "x + x" in again
    refused = student(course, "hint", "00", "dubble")
    assert refused.returncode == 2 and "Did you mean double?" in refused.stderr


def passing(course: Path) -> tuple[ModuleOutcome, str]:
    loaded = load_course(course)
    module = loaded.module("00")
    outcomes = tuple(ExerciseOutcome(exercise.name, "passed", 1, 1) for exercise in module.exercises)
    return ModuleOutcome(module, outcomes), digest(loaded, module)


def test_a_run_is_stale_once_a_file_that_decided_it_changes(course: Path) -> None:
    path = course / "exercises/00_tiny/tiny.py"
    path.write_text(RIGHT)
    load_progress(course).remember(*passing(course))
    told = [json.loads(student(course, "status", "--json").stdout)["modules"][0]]
    path.write_text(STUB.replace('raise NotImplementedError("TODO: double")', "return 2 * x"))
    told.append(json.loads(student(course, "status", "--json").stdout)["modules"][0])
    assert [module["stale"] for module in told] == [False, True]
    assert [exercise["status"] for exercise in told[1]["exercises"]] == ["passed", "todo"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"schema_version": 1, "modules": {"00_tiny": {"digest": 3}}}', "is damaged"),
        ('{"schema_version": 1, "hints": {"00_tiny": {"double": -4}}}', "is damaged"),
        ('{"schema_version": 2, "stars": []}', "is of a newer version"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_progress_that_makes_no_sense_is_put_aside_with_a_word(course: Path, text: str | bytes, why: str) -> None:
    folder = course / ".autograder"
    folder.mkdir()
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "progress.json").write_bytes(data)
    progress = load_progress(course)
    assert why in progress.notice and "anew" in progress.notice
    assert (folder / "progress.json.old").read_bytes() == data
    outcome, digested = passing(course)
    progress.remember(outcome, digested)
    again = load_progress(course)
    assert not again.notice and again.record(outcome.module).exercises["double"].status == "passed"


def test_progress_that_cannot_be_written_is_said_and_no_more(course: Path) -> None:
    (course / ".autograder").write_text("a file where the folder would be")
    progress = load_progress(course)
    progress.remember(*passing(course))
    assert "could not be kept" in progress.notice


def test_half_a_surrogate_pair_in_an_error_is_kept_as_a_question_mark(course: Path) -> None:
    """`raise ValueError("bad \\udc80")`, say; and an exercise whose name is no text either."""
    outcome, digested = passing(course)
    waiting = ExerciseOutcome("double", "todo", waits_for="bad \udc80")
    load_progress(course).remember(ModuleOutcome(outcome.module, (waiting,), "bad \udc80"), digested)
    kept = load_progress(course).record(outcome.module)
    assert kept.problem == kept.exercises["double"].waits_for == "bad ?"


def test_two_commands_at_once_keep_each_others_progress(course: Path) -> None:
    outcome, digested = passing(course)
    one, other = load_progress(course), load_progress(course)
    one.remember(outcome, digested)
    other.hint_shown(outcome.module, "double", 1)
    kept = load_progress(course)
    assert kept.record(outcome.module) and kept.hints_shown(outcome.module, "double") == 1
    assert (course / ".autograder/.gitignore").read_text() == "*\n"


def test_stubs_and_edits_are_found_without_running_anything(course: Path) -> None:
    module = load_course(course).module("00")
    path = module.folder / "tiny.py"
    assert unwritten(module) == {"double", "Halver"}
    before = definitions(module)
    path.write_text(STUB.replace('raise NotImplementedError("TODO: double")', "return 2 * x  # quick") + "\nraise SystemExit\n")
    assert unwritten(module) == {"Halver"} and changed(before, definitions(module)) == ["double"]
    path.write_text("def (")
    assert unwritten(module) == frozenset()


def test_a_saved_file_is_reported_once_it_stays_as_it_is(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_course(course)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    watched = Watched(loaded, loaded.modules)
    path = course / "exercises/00_tiny/tiny.py"

    def look(seconds: float) -> list[str]:
        clock[0] += seconds
        return [module.id for module in watched.saved()]

    assert look(1) == []
    path.write_text("half a f")
    assert look(0.01) == []
    path.write_text("half a file, and the other half")
    assert [look(0.1), look(0.1), look(0.1)] == [[], ["00_tiny"], []]
    path.rename(path.with_suffix(".bak"))
    assert [look(0.1), look(0.1)] == [[], []]  # an editor may put the new file in its place any moment
    shutil.copy(path.with_suffix(".bak"), path)
    assert [look(0.1), look(0.1)] == [[], ["00_tiny"]]
    path.unlink()
    assert [look(0.1), look(0.3), look(0.4)] == [[], [], ["00_tiny"]]
    (path.parent / "test_mine.py").write_text("")
    assert [look(0.1), look(0.1), look(0.1)] == [[], ["00_tiny"], []]


def test_watch_shows_the_exercise_that_was_edited_while_another_file_cannot_be_read(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = course / "exercises/00_tiny"
    toml = (folder / "module.toml").read_text().replace('"tiny.py"]', '"tiny.py", "more.py"]')
    (folder / "module.toml").write_text(toml.replace('name = "Halver"', 'name = "Halver"\nfile = "more.py"'))
    double, halver = STUB.split("class Halver")
    (folder / "tiny.py").write_text(double)
    (folder / "more.py").write_text(f"class Halver{halver}")
    monkeypatch.setattr(watch, "Run", lambda *_: None)
    loaded = load_course(course)
    module = loaded.module("00")
    session = watch._Session(loaded, [module], load_progress(course), Console(file=io.StringIO()), None, False)

    def focus(file: str, text: str) -> str:
        (folder / file).write_text(text)
        session.save([module])
        return session.focus

    assert focus("more.py", "class Halver:") == ""
    assert focus("tiny.py", double.replace("raise", "return 2 * x\n    raise")) == "double"
    assert focus("more.py", f"class Halver{halver}") == "double"  # as it was before it could not be read
    assert focus("more.py", f"class Halver{halver}        # half\n        return x / 2\n") == "Halver"


class Terminal:
    """`autograder watch` at a terminal of its own."""

    def __init__(self, *command: str):
        import pty

        self.ours, theirs = pty.openpty()
        self.theirs = theirs
        self.before = self.settings()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
            preexec_fn=lambda: _control(theirs),
        )  # fmt: skip
        self.text = ""

    def settings(self) -> list:
        import termios

        return termios.tcgetattr(self.theirs)

    def expect(self, *words: str, seconds: float = 90) -> str:
        """Read on until all the words have come; what came is then forgotten."""
        end = time.monotonic() + seconds
        while not all(word in self.text for word in words):
            assert time.monotonic() < end, f"waited for {words}, got:\n{self.text}"
            if select.select([self.ours], [], [], 0.2)[0]:
                data = os.read(self.ours, 65536).decode("utf-8", "replace")
                self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data)
        came, self.text = self.text, ""
        return came

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


def _control(descriptor: int) -> None:
    """Make the terminal this session's own, so that the command is in its foreground."""
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal(course: Path) -> Iterator[Terminal]:
    opened = Terminal(sys.executable, "-c", COMMAND, "watch", "--course", str(course))
    yield opened
    opened.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_watch_follows_a_student_through_an_afternoon(course: Path, terminal: Terminal) -> None:
    path = course / "exercises/00_tiny/tiny.py"
    terminal.expect("next: double (70 points) in exercises/00_tiny/tiny.py", "0 of 2 exercises", "h hint")
    path.write_text(WRONG)
    terminal.expect("1 of 2 exercises", "double: Twice 1 is 2.", "expected 2, got 3", "h hint")
    terminal.press("h")
    terminal.expect("hint 1 of 2 for double", "Add.")
    path.write_text(RIGHT.replace("class Halver:", "class Halver"))
    terminal.expect("nothing can be tested yet", "Python cannot read tiny.py", "h hint")
    path.write_text(RIGHT.replace("    return 2 * x", "    while True: pass"))
    terminal.expect("is there a loop that never ends?", "it was at tiny.py, line 6", "1 of 2 exercises", "h hint")
    path.write_text(RIGHT.replace("    return 2 * x", "    import time\n    time.sleep(1000)"))
    terminal.expect("double: still running")
    new = path.with_name("tiny.py.swp")
    new.write_text(RIGHT)
    new.replace(path)  # while the last run still sleeps
    terminal.expect("every exercise of 00_tiny passes", "next: exercises/01_later/README.md", "h hint")
    (course / "exercises/01_later/later.py").write_text(RIGHT)
    terminal.expect("01_later  2 of 2 exercises", "h hint")
    terminal.press("rq")
    assert terminal.process.wait(60) == 0
    assert terminal.settings() == terminal.before
    kept = load_progress(course)
    assert kept.hints_shown(load_course(course).module("00"), "double") == 1
    assert kept.record(load_course(course).module("01")).exercises["Halver"].status == "passed"


def test_watch_is_plain_where_there_is_no_terminal_and_ends_with_control_c(course: Path) -> None:
    command = [sys.executable, "-c", COMMAND, "watch", "00", "--course", str(course)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "ascii"}
    # Whoever runs the tests in the background may have had Control-C ignored, which children inherit.
    heeded = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, preexec_fn=heeded)
    try:
        output = b""
        while b"hint: autograder" not in output:
            data = process.stdout.readline()
            assert data, output
            output += data
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    text = output.decode("ascii")
    assert "next: double (70 points)" in text and "hint: autograder hint 00 double" in text and "\x1b" not in text
