"""A course of one module with one small exercise, made in a folder: what the machine's own tests grade."""

import re
import textwrap
from pathlib import Path

PACKAGE = """
    from pathlib import Path

    __path__ += [str(folder) for folder in sorted(Path(__file__).parent.glob("[0-9][0-9]_*"))]
"""

FILES = {
    "exercises/__init__.py": PACKAGE,
    "solutions/__init__.py": PACKAGE,
    "exercises/00_tiny/module.toml": '''
        title = "Tiny"
        summary = "Twice a tensor."
        files = ["tiny.py"]
        preload = []

        [limits]
        module_seconds = 20
        call_seconds = 1
        load_seconds = 2
        memory_mb = 512

        [[exercises]]
        name = "double"
        points = 70
        why = "It is the smallest exercise there is."
        hints = ["Add.", "x + x"]
        forbidden = ["torch.ldexp", "numpy.ldexp", "graphlib"]

        [[exercises]]
        name = "Halver"
        points = 30
        why = "Classes are tested through scenarios."
        hints = ["Divide.", "x / 2"]
    ''',
    "exercises/00_tiny/test_tiny.py": '''
        import torch
        from autograder.testing import assert_close, exercise


        @exercise("double")
        def test_one_becomes_two(student):
            """Twice 1 is 2."""
            assert_close(student.double(torch.ones(1)), torch.full((1,), 2.0))


        def halve(module, x):
            return module.Halver()(x)


        @exercise("Halver")
        def test_two_becomes_one(student):
            """Half of 2 is 1."""
            assert_close(student.run(halve, torch.full((1,), 2.0)), torch.ones(1))
    ''',
    "exercises/00_tiny/README.md": """
        # Twice and half

        Write `double`, then `Halver`.
    """,
    "solutions/00_tiny/tiny.py": '''
        """Twice and half."""

        import torch


        def double(x: torch.Tensor) -> torch.Tensor:
            """x (...) -> 2 x (...)."""
            ### BEGIN SOLUTION
            return 2 * x
            ### END SOLUTION


        class Halver:
            """Calling it halves a tensor."""

            def __call__(self, x: torch.Tensor) -> torch.Tensor:
                ### BEGIN SOLUTION
                return x / 2
                ### END SOLUTION
    ''',
    "autograder/suites/00_tiny/test_tiny_hidden.py": '''
        from autograder.testing import assert_close, assert_inputs_untouched, exercise
        from autograder.testing.strategies import given, normal, seeds, settings, sizes

        from . import scenarios


        @exercise("double", points=50, core=True)
        @settings(max_examples=10)
        @given(seed=seeds(), n=sizes())
        def test_every_value_is_doubled(student, reference, seed, n):
            """Every value is doubled."""
            x = normal(seed, n)
            assert_close(student.double(x), reference.double(x), hint="add x to itself")


        @exercise("double", points=20)
        def test_the_input_is_left_alone(student, generator):
            """The input is left as it was."""
            student.double(normal(generator, 3))
            assert_inputs_untouched(student)


        @exercise("Halver", points=30, core=True)
        def test_every_value_is_halved(student, reference, generator):
            """Every value is halved."""
            x = normal(generator, 3)
            assert_close(student.run(scenarios.halved, x), reference.run(scenarios.halved, x))
    ''',
    "autograder/suites/00_tiny/scenarios.py": '''
        def halved(module, x):
            return module.Halver()(x)
    ''',
    "autograder/suites/00_tiny/mutants.py": '''
        from autograder.testing.variants import edit, mutant

        MUTANTS = [
            edit("tripled", "double", "This is three times x, not twice.", ("2 * x", "3 * x")),
            edit("unchanged", "double", "This is x itself.", ("2 * x", "1 * x")),
        ]


        @mutant("double", "x is changed in place.")
        def in_place(x):
            x *= 2
            return x


        @mutant("Halver", "This is a third.")
        class Thirds:
            def __call__(self, x):
                return x / 3
    ''',
    "autograder/suites/00_tiny/alternatives.py": '''
        from autograder.testing.variants import alternative


        @alternative("double", "A loop over the values.")
        def one_by_one(x):
            return torch.stack([value + value for value in x.flatten()]).reshape(x.shape)
    ''',
    "autograder/suites/offering.toml": 'name = "Tiny course"\ngrading_seed = "a secret"\n',
}  # fmt: skip


def numbered(text: str, number: int) -> str:
    """The text, or file name, as it is in the module of that number; number 0 is called plain tiny."""

    def renamed(found: re.Match) -> str:
        return found[0].replace("00_", f"{number:02}_") + str(number)

    return re.sub(r"\b(?:00_)?tiny(?=\b|_)", renamed, text) if number else text


def make_course(root: Path, number: int = 0) -> Path:
    """Write the course into the folder and return it; a number gives its module another name, so that a course can have many."""
    for name, text in FILES.items():
        path = root / numbered(name, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(numbered(textwrap.dedent(text).lstrip("\n"), number))
    return root
