"""A failed test in a few lines: what the check said, the example it failed on, and the line of the student's file."""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection
from pathlib import Path

from autograder.testing.assertions import NO_RETURN, words

FIXTURES = ("student=", "reference=", "generator=", "self=", "data=data(")
LONGEST = 200  # of an example's argument
TODO = "TODO: "
SOMETIMES = "\n  and not each time that it is called so: something is kept, drawn or left unset"
UNUSABLE = "the test could not use what came back"
_TENSOR = re.compile(r"tensor\((\[[^()]*\])(?:, size=\(([\d, ]*)\))?[^()]*\)")
_CALLED_OTHERWISE = re.compile(
    r"\(\) (takes .* but .* given|missing \d+ required|got an unexpected keyword|got multiple values|got some positional-only)"
)


class StillToDo(BaseException):
    """A stub was called. No Exception, so that Hypothesis does not call it a hundred times more for the smallest example."""


def failure(error: BaseException) -> str:
    """What the check said, and the example that Hypothesis found. The same text for the same failure, run after run."""
    if type(error).__name__ == "FlakyFailure":  # Hypothesis tried the example again, and it passed or failed otherwise
        return failure(error.exceptions[0]) + SOMETIMES
    text = words(error).strip()
    if not isinstance(error, AssertionError) and not getattr(error, "from_student", False):
        text = f"{UNUSABLE}: {type(error).__name__}: {text}" + advice(text)
    text = text.partition("\nassert ")[0]  # what pytest adds to a message is the test's own code, about its own variables
    first, *more = text.split("\n")
    if more and all(line.startswith("    ") for line in more):  # and it moves all lines but the first to the right
        text = "\n".join([first, *(line[2:] for line in more)])
    text = (text or "the check failed") + example(error)
    return re.sub(r" at 0x[0-9a-f]+", "", text)  # addresses differ from run to run


def advice(message: str) -> str:
    """A hint for an error that the code of a test met in what it was given, or met when it called; empty where there is none."""
    if "NoneType" in message:
        return f"\n  hint: was something {NO_RETURN}?"
    if "values to unpack" in message:
        return "\n  hint: return as many results as the docstring names"
    if message.startswith("Mismatch in shape: grad_output"):
        return "\n  hint: the result has another shape than it should"
    if _CALLED_OTHERWISE.search(message):
        return "\n  hint: names, order and defaults of the arguments are those of the stub"
    return ""


def example(error: BaseException) -> str:
    """The arguments of the failing example, from Hypothesis's notes on the exception; empty where there are none."""
    given: list[str] = []
    for note in getattr(error, "__notes__", ()):
        if given:  # what comes after them is not about them, such as the lines that only failing examples ran
            break
        for line in (line.partition("  # or any")[0] for line in note.splitlines() if not line.lstrip().startswith("#")):
            if re.match(r"    \w+=", line):
                given.append(line.strip())
            elif given and (line.startswith("     ") or line == "    ),"):  # a value goes on
                given[-1] += " " * given[-1].endswith(",") + line.strip()
    shown = [argument.rstrip(",").replace(", )", ")") for argument in given if not argument.startswith(FIXTURES)]
    shown = [argument if len(argument) <= LONGEST else _TENSOR.sub(_by_shape, argument) for argument in shown]
    shown = [argument if len(argument) <= LONGEST else f"{argument[:LONGEST - 3]}..." for argument in shown]
    return "\n  with " + ", ".join(shown)[:600] if shown else ""


def _by_shape(printed: re.Match) -> str:
    """A tensor's shape, from how it is printed, in place of its numbers."""
    numbers, size = printed.groups()
    if size is not None:  # it has none
        return f"tensor of shape ({size})"
    if "..." in numbers:
        return "large tensor"
    open_lists, sizes = [], {}
    for character in numbers:
        if character == "[":
            open_lists.append(1)
        elif character == "," and open_lists:
            open_lists[-1] += 1
        elif character == "]":
            sizes[len(open_lists)] = open_lists.pop()
    return f"tensor of shape {tuple(sizes[depth] for depth in sorted(sizes))}"


def todo(error: BaseException) -> str | None:
    """The name of the exercise (or Class.method) whose stub was called, if that is what failed."""
    message = str(error)
    if type(error) is NotImplementedError and not message:
        return _nbgraders_stub(error)
    unwritten = isinstance(error, (NotImplementedError, StillToDo)) and message.startswith(TODO)
    return message.removeprefix(TODO) if unwritten else None


def _nbgraders_stub(error: BaseException) -> str | None:
    """The function of a notebook that raised the error itself: the stubs that nbgrader makes do not say whose they are."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_globals.get("__name__") != "__main__":
        return None
    name = trace.tb_frame.f_code.co_qualname.partition(".<locals>")[0]
    return name if name[:1] != "<" else None


def place(error: BaseException, files: Collection[Path]) -> str:
    """The innermost line of these files that the exception passed, as `file.py, line 7: text`; empty when it passed none."""
    names = {str(file) for file in files}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in names]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
