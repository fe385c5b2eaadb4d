"""The workflows, checked without a network: for holes (zizmor), the schema (check-jsonschema) and mistakes (actionlint)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDERS = (".github/workflows", "autograder/authoring/release_files/.github/workflows")
TOOLS = {
    "zizmor": ("--offline", "--persona=pedantic", "--no-progress", "--quiet", "--format=plain"),
    "check-jsonschema": ("--builtin-schema", "vendor.github-workflows"),
    # Without shellcheck and pyflakes the answer does not depend on what else is installed.
    "actionlint": ("-shellcheck=", "-pyflakes=", "-no-color"),
}


def workflows(root: Path) -> list[Path]:
    """The workflow files of this repository and of the students'."""
    return sorted(path for folder in FOLDERS for path in (root / folder).glob("*.y*ml"))


def problems(files: Sequence[Path], tools: Sequence[str] = tuple(TOOLS)) -> dict[str, str]:
    """By tool, what it has to say against the files; a tool that is missing says so."""
    found = {}
    for tool in tools:
        program = Path(sys.executable).parent / tool
        if not program.is_file():
            found[tool] = f"{tool} is not installed: pip install -c constraints.txt {tool}"
            continue
        command = [program, *TOOLS[tool], *files]
        environment = {**os.environ, "NO_COLOR": "1"}
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, timeout=120)
        if done.returncode:
            found[tool] = (done.stdout + done.stderr).strip() or f"exit status {done.returncode}"
    return found
