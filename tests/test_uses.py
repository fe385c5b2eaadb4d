"""Which other exercises an exercise's tests use, read off a suite's source."""

import textwrap
from pathlib import Path

from autograder.course import load_course
from autograder.grading.uses import used_by_tests

SUITE = {
    "test_files.py": """
        from autograder.testing import exercise
        from . import scenarios
        from .cases import trained as learned

        def unrelated(module):
            return module.plot(module)

        @exercise("load", points=5, core=True)
        def test_what_was_saved_comes_back(student):
            student.run(scenarios.there_and_back)

        @exercise("train", points=5)
        def test_it_learns(student, reference):
            assert learned(student) == reference.evaluate(3) and plot(2) and other.save(1)

        @exercise("plot", points=5)
        def test_it_draws(student):
            student.plot(1)
    """,
    "scenarios.py": """
        class Both:
            def there(self, module):
                return module.save("x")

        def there_and_back(module):
            return Both().there(module), module.load("x")
    """,
    "cases.py": """
        def trained(student):
            return trained(student) or student.AdamW().step()

        def plot(module):
            return module.load(module)
    """,
    "mutants.py": "def trained(module):\n    return module.plot()\n",
}


def test_tests_scenarios_and_helpers_are_followed(tmp_path: Path) -> None:
    for name, text in SUITE.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    found = used_by_tests([tmp_path], ["save", "load", "AdamW", "train", "evaluate", "plot"])
    assert found == {"save": [], "load": ["save"], "AdamW": [], "train": ["AdamW"], "evaluate": [], "plot": []}


def test_in_the_course_a_checkpoint_is_read_with_what_wrote_it() -> None:
    module = load_course(Path(__file__).resolve().parents[1]).module("07")
    found = used_by_tests([module.folder, module.suite_folder], [exercise.name for exercise in module.exercises])
    assert "save_checkpoint" in found["load_checkpoint"] and "load_checkpoint" not in found["cross_entropy"]
