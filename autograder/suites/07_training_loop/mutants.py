"""Wrong solutions, each with the sentence that a student who made the mistake should read."""

import runpy
from pathlib import Path

AUTOGRAD = runpy.run_path(str(Path(__file__).with_name("autograd_mutants.py")))

MUTANTS = [*AUTOGRAD["MUTANTS"]]
globals().update({name: value for name, value in AUTOGRAD.items() if hasattr(value, "__variant__")})
