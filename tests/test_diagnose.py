"""Mutants that explain a failure are run here, in the grader: they must leave nothing behind."""

import itertools
import os
import time
from collections import deque
from pathlib import Path

import pytest
import torch

from autograder.grading.lookout import Lookout
from autograder.grading.remote import Call, RemoteModule, Transcript, transcript
from autograder.testing.assertions import assert_refused
from autograder.testing.diagnose import Explanations, Known, Version, diagnose, in_a_fork, name_mistakes
from autograder.worker.client import Job, Worker

CHECKED = """
def half(x):
    if x < 0:
        raise TypeError("x is below 0")
    return x / 2
"""


def test_a_file_that_a_mutant_writes_is_gone_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [written, where] = in_a_fork(lambda: [str(Path("picture.png").write_text("")), os.getcwd()])
    assert written == "0" and where != str(tmp_path) and not Path(where).exists()
    assert os.getcwd() == str(tmp_path) and not list(tmp_path.iterdir())


def test_what_a_mutant_prints_is_not_seen(capfd):
    assert in_a_fork(lambda: [str(os.write(1, b"step 1") + os.write(2, b"loss 2.3"))]) == ["14"]
    assert capfd.readouterr() == ("", "")


def test_a_mutant_that_loops_or_dies_explains_nothing_and_takes_nothing_from_those_before_it():
    def found(then):
        yield "axis"
        then()
        yield "scale"

    assert in_a_fork(lambda: found(lambda: time.sleep(600)), wait=0.5) == ["axis"]
    assert in_a_fork(lambda: found(lambda: deque(itertools.count(), maxlen=0)), seconds=1) == ["axis"]
    assert in_a_fork(lambda: found(lambda: os._exit(7))) == ["axis"]
    assert in_a_fork(lambda: found(lambda: None)) == ["axis", "scale"]


def test_an_exercise_has_only_so_much_time_for_all_its_failed_tests():
    known = Known(Version("def f(x): return x", "f.py"), (Version("def f(x): return -x", "sign/f.py", "sign"),))
    for spent, names in ((0.0, {"values": "sign"}), (11.5, {"values": "sign"}), (12.0, {}), (30.0, {})):
        explanations = Explanations(known, "f", spent=spent)
        explanations.look_for("values", [[Call("f", (1,), {}, value=-1)]])
        assert explanations.names([]) == names
    slow = Version("def f(x):\n    n = 10 ** 6\n    while n: n -= 1\n    return -x", "slow/f.py", "slow")
    explanations = Explanations(Known(known.right, (slow,)), "f")
    explanations.look_for("values", [[Call("f", (1,), {}, value=-1)]])
    assert explanations.spent > 0 and explanations.names([]) == {"values": "slow"}


def test_a_crash_that_nothing_explains_is_tried_once():
    wrong = Version("def f(x):\n    if x > 2: raise KeyError(x)\n    return x", "f.py/large", "large")
    explanations = Explanations(Known(Version("def f(x): return x", "f.py"), (wrong,)), "f")
    for x in (1, 3):
        explanations.look_for(f"with {x}", [[Call("f", (x,), {}, error="KeyError", said=str(x))]])
    assert explanations.names([]) == {}  # what fails for 1 is not what fails for large numbers only
    explanations = Explanations(explanations.known, "f")
    explanations.look_for("with 3", [[Call("f", (1,), {}, value=1), Call("f", (3,), {}, error="KeyError", said="3")]])
    explanations.look_for("with 4", [[Call("f", (4,), {}, error="KeyError", said="4")]])
    assert explanations.names([]) == {"with 3": "large", "with 4": "large"}


def test_what_behaves_most_like_the_code_names_the_mistake():
    right = "def f(x): return abs(x)"
    wrong = {"sign": "def f(x): return x", "square": "def f(x): return x * x if x > 1 else x"}
    known = Known(Version(right, "f.py"), tuple(Version(text, f"{says}/f.py", says) for says, text in wrong.items()))

    def passed(x):
        return [[Call("f", (x,), {}, value=abs(x))]]

    both = {"values": ["sign", "square"], "sizes": []}
    assert name_mistakes(both, [], known, "f") == {"values": "sign"}
    assert name_mistakes(both, [passed(1), passed(3)], known, "f") == {"values": "sign"}
    assert name_mistakes({**both, "more": ["square"]}, [], known, "f") == {"values": "square", "more": "square"}
    assert name_mistakes({**both, "more": ["square"]}, [passed(3), passed(4)], known, "f") == {"values": "sign", "more": "square"}


def test_of_a_call_that_should_be_refused_it_only_matters_whether_it_was_and_gave_anything():
    right = "def f(x):\n    if x < 0: raise ValueError('x')\n    return x"
    wrong = {"unchecked": "def f(x): return x", "lost": "def f(x):\n    if x < 0: raise KeyError('x')\n    return x"}
    known = Known(Version(right, "f.py"), tuple(Version(text, f"{says}/f.py", says) for says, text in wrong.items()))

    def explained(**how):
        return diagnose([[Call("f", (1,), {}, value=1), Call("f", (-1,), {}, **how)]], known, "f")

    assert explained(value=7, refused=False) == ["unchecked"]
    assert explained(refused=False) == []  # it returned nothing, whatever it was given
    assert explained(value=7) == []
    assert explained(error="KeyError", said="'x'", refused=False) == ["lost"]
    assert explained(error="KeyError", said="'y'", refused=False) == []  # another crash
    assert explained(error="ZeroDivisionError", refused=False) == []
    assert explained(error="TypeError", refused=True) == []  # as the solution does, by another of the errors that refuse
    assert explained(error="TypeError") == []


def test_a_mistake_that_moves_an_answer_by_little_is_told_from_others_that_do() -> None:
    right = "import torch\ndef f(x): return {'moved': x + torch.arange(3) * 1e-3}"
    wrong = {"backwards": right.replace("1e-3", "-1e-3"), "backwards and more": right.replace("1e-3", "-1.4e-3")}
    known = Known(Version(right, "f.py"), tuple(Version(text, f"{says}/f.py", says) for says, text in wrong.items()))
    x = torch.full((3,), 100.0, dtype=torch.float64)  # the two agree to within 1e-5 of it

    def explained(step: float) -> list[str]:
        return diagnose([[Call("f", (x,), {}, value={"moved": x + torch.arange(3) * step})]], known, "f")

    assert explained(-1e-3) == ["backwards"]
    assert explained(-1.4e-3) == ["backwards and more"]
    assert explained(-1.2e-3) == []


def test_the_transcript_says_which_calls_were_to_be_refused(zygote):
    worker = Worker(zygote, Job(files={"half.py": CHECKED}, main="half"))
    try:
        student = RemoteModule(worker, frozenset({"half"}), {}, Lookout(""))
        assert student.half(4) == 2
        assert_refused(student.half, -1)
        with pytest.raises(AssertionError, match="should be refused with a ValueError"):
            assert_refused(student.half, 3)
        with pytest.raises(TypeError):
            student.half(-1)
    finally:
        worker.close()
    [calls] = transcript(student).executions
    assert [(call.value, call.error, call.refused) for call in calls] == [
        (2.0, "", None), (None, "TypeError", True), (1.5, "", False), (None, "TypeError", None),
    ]  # fmt: skip


DRAWS = """
import random

import numpy as np
import torch

start = {start}


def total(n):
    return float(sum(torch.{law}(n)) + np.random.rand() + random.random() + start)
"""


def test_what_draws_is_replayed_as_in_a_child_that_begins(zygote):
    def version(start="torch.rand(())", law="rand", says=""):
        return Version(DRAWS.format(start=start, law=law), f"{says}/total.py", says)

    known = Known(version(), (version(law="randn", says="law"), version(start="0", says="start")))
    for handed_in, named in ((known.wrong[0], ["law"]), (known.wrong[1], ["start"]), (version(start="1"), []), (known.right, [])):
        worker = Worker(zygote, Job(files={"total.py": handed_in.text}, main="total"))
        try:
            student = RemoteModule(worker, frozenset({"total"}), {}, Lookout(""))
            for n in (2, 3):
                student.total(n)
        finally:
            worker.close()
        assert diagnose(transcript(student).executions, known, "total") == named


def test_the_first_and_the_last_of_many_calls_are_kept():
    kept = Transcript()
    for x in range(100):
        kept.add(Call("f", (x,), {}))
    assert [call.args[0] for call in kept.executions[-1]] == [*range(12), *range(88, 100)]


def test_a_loss_of_digits_is_named_where_nothing_else_differs():
    right = "def f(x): return x / 3"
    wrong = {"digits": "def f(x): return round(x / 3, 7)", "sign": "def f(x): return -x / 3"}
    known = Known(Version(right, "f.py"), tuple(Version(text, f"{says}/f.py", says) for says, text in wrong.items()))
    for value, named in ((0.3333333, ["digits"]), (1 / 3, []), (0.33333334, []), (-1 / 3, ["sign"]), (-0.3333334, ["sign"])):
        assert diagnose([[Call("f", (1,), {}, value=value)]], known, "f") == named
