"""Unusual right solutions: each must get full marks."""

import runpy
from pathlib import Path

AUTOGRAD = runpy.run_path(str(Path(__file__).with_name("autograd_alternatives.py")))

ALTERNATIVES = [*AUTOGRAD["ALTERNATIVES"]]
globals().update({name: value for name, value in AUTOGRAD.items() if hasattr(value, "__variant__")})
