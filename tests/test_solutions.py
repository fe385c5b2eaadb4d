"""The course's own files reach a worker compiled, and are there what they are as text."""

import marshal

import pytest

from autograder.course import load_course
from autograder.grading.remote import scenario_code
from autograder.grading.solutions import byte_code_of, compiled_solutions, solution_files
from autograder.worker.client import Job, Stopped, Worker

OUTER = """
import inspect

from exercises.inner import Kept


def source():
    return inspect.getsource(Kept.failing)
"""
FAILING = """
    def failing(self):
        return [1 // x for x in (1, 0)]
"""
INNER = f"class Kept:{FAILING}\n\ndef fail():\n    return Kept().failing()\n"
FILES = {"outer.py": OUTER, "inner.py": INNER}


def fail(module):
    from exercises import inner

    inner.fail()


@pytest.mark.parametrize("given", [[], ["inner.py"], ["inner.py", "outer.py"]], ids=str)
def test_compiled_or_not_code_comes_from_the_workers_own_file(zygote, given):
    compiled = {name: marshal.dumps(compile(FILES[name], "elsewhere", "exec")) for name in given}
    worker = Worker(zygote, Job(files=FILES, main="outer", compiled=compiled))
    key, code = scenario_code(fail)
    try:
        assert worker.request(op="call", name="source", args=(), kwargs={})["value"] == FAILING.lstrip("\n")
        said = worker.request(op="run", name="fail", args=(), kwargs={}, scenarios=key, code=code)["error"]
    finally:
        worker.close()
    assert (said["type"], said["where"]) == ("ZeroDivisionError", "inner.py, line 3: return [1 // x for x in (1, 0)]")


def test_files_are_replaced_in_a_worker_that_then_begins_anew(zygote):
    worker = Worker(zygote, Job(files=FILES, main="outer", module_seconds=5))
    key, code = scenario_code(fail)

    def replace(**texts):
        files = {f"{name}.py": text for name, text in texts.items()}
        worker.replace(files, {name: byte_code_of(name, text) for name, text in files.items()})

    try:
        for failing in (FAILING.replace("1 // x", "2 // x"), FAILING.replace("1 // x", "3 // x"), FAILING):
            replace(inner=INNER.replace(FAILING, failing))
            assert worker.request(op="call", name="source", args=(), kwargs={})["value"] == failing.lstrip("\n")
            said = worker.request(op="run", name="fail", args=(), kwargs={}, scenarios=key, code=code)["error"]
            assert said["where"] == f"inner.py, line 3: {failing.splitlines()[2].strip()}"
        replace(outer="import time\n\n\ndef source():\n    time.sleep(60)\n")
        worker.call_seconds = 0.3
        with pytest.raises(Stopped, match="did not return within 0.3 s"):
            worker.request(op="call", name="source", args=(), kwargs={})
        assert worker.seconds_left < 4.8
        replace(outer=OUTER)
        assert worker.seconds_left > 4.9
        assert (worker.call_seconds, worker.is_loaded) == (worker.job.call_seconds, False)
    finally:
        worker.close()


def test_a_module_has_the_code_of_all_that_it_builds_on():
    course = load_course()
    for module in course.modules:
        found = compiled_solutions(module, course)
        needed = {name for other in course.modules if other.id in {module.id, *module.requires} for name in other.files}
        assert needed <= found.keys() and all(code for _, code in found.values())
        assert solution_files(module).items() <= {name: text for name, (text, _) in found.items()}.items()
