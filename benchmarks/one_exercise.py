"""A course of one exercise, the softmax, with five checks: as a course of this repository and as cells of a notebook.

Both forms are made from the same text, so both graders run the same checks on the same answer.
"""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE = "00_softmax"
FILE = "softmax.py"


@dataclass(frozen=True)
class Check:
    """One check. `body` calls `softmax` and raises AssertionError; a public check has no points."""

    name: str
    says: str
    body: str
    points: int
    core: bool = False


CHECKS = (
    Check(
        "test_values_agree_with_torch",
        "The values are those of torch.softmax.",
        """
        x = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        for dim in (0, 1, -1):
            assert torch.allclose(softmax(x, dim), torch.softmax(x, dim))
        """,
        40,
        core=True,
    ),
    Check(
        "test_large_values_do_not_overflow",
        "Values of a thousand and more give no NaN.",
        """
        x = torch.tensor([[1000.0, 1001.0, -1000.0]])
        assert torch.allclose(softmax(x, -1), torch.softmax(x, -1))
        """,
        30,
    ),
    Check(
        "test_a_constant_changes_nothing",
        "Adding a constant to every value changes nothing.",
        """
        x = torch.randn(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        assert torch.allclose(softmax(x + 3, 1), softmax(x, 1))
        """,
        20,
    ),
    Check(
        "test_dtype_is_kept",
        "float32 in, float32 out.",
        """
        assert softmax(torch.zeros(2, 3), -1).dtype == torch.float32
        """,
        10,
    ),
    Check(
        "test_rows_add_up_to_one",
        "Every row adds up to 1.",
        """
        x = torch.arange(12.0).reshape(3, 4)
        assert torch.allclose(softmax(x, -1).sum(-1), torch.ones(3))
        """,
        0,
    ),
)

HEAD = '''def softmax(x, dim):
    """The softmax of x over the dimension dim, stable for large values; same shape and dtype as x."""
'''
ANSWER = """    exps = (x - x.amax(dim, keepdim=True)).exp()
    return exps / exps.sum(dim, keepdim=True)
"""
MARKED_ANSWER = f"    ### BEGIN SOLUTION\n{ANSWER}    ### END SOLUTION\n"
IMPORTS = "import torch\n"

MODULE_TOML = f"""title = "Softmax"
summary = "One exercise, for measuring the grader."
files = ["{FILE}"]

[[exercises]]
name = "softmax"
points = 100
why = "Scores become weights."
hints = ["Subtract the largest value first.", "Then exponentiate, and divide by the sum."]
forbidden = ["torch.softmax", "torch.log_softmax"]
"""


def make_course(root: Path) -> None:
    """Write the course below `root`, which `load_course(root)` then reads."""
    files = {
        f"exercises/{MODULE}/module.toml": MODULE_TOML,
        f"exercises/{MODULE}/test_softmax.py": _tests([check for check in CHECKS if not check.points]),
        f"solutions/{MODULE}/{FILE}": f"{IMPORTS}\n\n{HEAD}{MARKED_ANSWER}",
        f"autograder/suites/{MODULE}/test_softmax_hidden.py": _tests([check for check in CHECKS if check.points]),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for package in ("exercises", "solutions"):
        shutil.copy(ROOT / package / "__init__.py", root / package / "__init__.py")


def make_submissions(folder: Path, names: list[str]) -> list[Path]:
    """A right submission of the exercise for every name."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / FILE).write_text(f"{IMPORTS}\n\n{HEAD}{ANSWER}", encoding="utf-8")
    return [folder / name for name in names]


def cell_of_checks() -> str:
    """All checks as one notebook cell: each in a function of its own, so that none sees another's names."""
    return "\n".join(f"def {check.name}():\n{_body(check)}\n\n{check.name}()" for check in CHECKS)


def _tests(checks: list[Check]) -> str:
    text = "import torch\n\nfrom autograder.testing import exercise\n"
    for check in checks:
        points = f", points={check.points}" if check.points else ""
        core = ", core=True" if check.core else ""
        text += f'\n\n@exercise("softmax"{points}{core})\ndef {check.name}(student):\n    """{check.says}"""\n'
        text += f"    softmax = student.softmax\n{_body(check)}\n"
    return text


def _body(check: Check) -> str:
    return textwrap.indent(textwrap.dedent(check.body).strip(), "    ")
