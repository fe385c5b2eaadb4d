"""The calls that a module forbids: found in the source here, and named for the check at run time.

What the source shows is found whatever name it goes by: aliases, `from … import … as`, star imports, `getattr` with a
constant, `torch.ops.aten`, helpers and constants of the file. What only running it would show is left to the worker,
which sees the operators that are really dispatched (`runtime_rules`).
"""

from __future__ import annotations

from autograder.course import Module
from autograder.policy.check import Breach, built_on, check
from autograder.policy.families import KERNELS, forbidden_in, runtime
from autograder.policy.source import SyntaxProblem, parse

__all__ = ["Breach", "SyntaxProblem", "built_on", "check", "parse", "runtime_rules"]


def runtime_rules(module: Module) -> dict[str, dict[str, list[str]]]:
    """For each exercise that forbids something, what must not be called while it runs, as plain data.

    functions: dotted names of functions of torch's API, methods as `torch.Tensor.name`; this version of torch need not
    have all of them. operators: base names of ATen operators, without overload and without the `_` of an in-place one.
    python: dotted names of callables outside torch, or of modules, which stand for all that is in them; they need not
    be installed. classes: the same for classes and modules of torch.
    """
    rules = {each.name: forbidden_in(module, each, KERNELS) for each in module.exercises if each.forbidden}
    return {name: runtime(family) for name, family in rules.items()}
