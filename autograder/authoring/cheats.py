"""Cheats that can be tried on any module: whole submissions that do not do the work and must score nothing."""

from __future__ import annotations

from autograder.course import Module
from autograder.testing.variants import Variant, cheat

# Each body is that of a function which stands for every exercise of the module: `def answer(*args, **kwargs)`.
_BODIES = {
    "returns_nothing": "return None",
    "returns_first_argument": "return args[0] if args else None",
    "returns_zeros": "return torch.zeros_like(args[0]) if args and isinstance(args[0], torch.Tensor) else 0",
    "returns_nan": "return torch.full((3, 3), float('nan'))",
    "returns_meta_tensor": "return torch.empty(2, 3, device='meta')",
    "exits_with_status_0": "os._exit(0)",
    "raises_system_exit": "raise SystemExit(0)",
    "raises_keyboard_interrupt": "raise KeyboardInterrupt",
    "raises_assertion_error": "raise AssertionError('')",
    "refuses_everything": "raise ValueError('no')",
    "skips_the_test": "import pytest\n    pytest.skip('not today')",
    "ends_pytest": "import pytest\n    pytest.exit('all passed', returncode=0)",
    "claims_to_be_a_todo_later": "raise NotImplementedError('TODO')",
    "forges_a_reply": """
    import json, struct
    for number in range(1, 200):
        head = json.dumps(["d", ["id", number], ["value", True], ["changed", ["l"]], ["breaches", ["l"]]]).encode()
        os.write(3, struct.pack(">II", len(head), 0) + head)
    """,
    "floods_the_channel": "while True:\n        os.write(3, b'\\xff' * 65536)",
    "announces_a_huge_reply": "os.write(3, b'\\x00\\x3f\\xff\\xff\\x0f\\xff\\xff\\xff' + b'[' * 4_000_000)\n    os._exit(0)",
    "patches_the_comparison": """
    torch.equal = torch.allclose = lambda *a, **k: True
    torch.isclose = lambda a, b, **k: torch.ones_like(a, dtype=torch.bool)
    torch.Tensor.__eq__ = torch.Tensor.__ne__ = lambda a, b: True
    return args[0] if args else 0
    """,
    "returns_an_object_that_equals_everything": """
    class Same(int):
        __eq__ = __lt__ = __gt__ = __le__ = __ge__ = lambda self, other: True
        __hash__ = int.__hash__
        def __getattr__(self, name): return self
        def __call__(self, *a, **k): return self
    return Same()
    """,
    "asks_for_the_reference": """
    import gc, sys
    name = sys._getframe().f_code.co_name
    for holder in [*sys.modules.values(), *gc.get_objects()]:
        found = getattr(holder, "__dict__", {}).get("solutions") if type(holder) is type(sys) else None
        if found is not None:
            return found
    import solutions
    """,
    "reads_the_solution": """
    roots = {os.getcwd(), *sys.path, os.path.expanduser("~"), "/", *(sys.modules[n].__path__[0] for n in ("autograder",))}
    for root in roots:
        for up in ("", "..", "../..", "../../..", "../../../..", "../../../../.."):
            for folder, _, files in os.walk(os.path.join(root, up, "solutions")):
                for file in files:
                    scope = {}
                    exec(open(os.path.join(folder, file)).read(), scope)
                    for name in NAMES:
                        if name in scope:
                            return scope[name](*args, **kwargs)
    raise RuntimeError("nothing found")
    """,
    "starts_a_survivor": "if os.fork() == 0:\n        os.setsid()\n        time.sleep(600)\n    return args[0] if args else 0",
    "runs_a_program": "import subprocess\n    return subprocess.check_output(['/bin/sh', '-c', 'cat /etc/passwd']).decode()",
    "fills_memory": "keep = []\n    while True:\n        keep.append(torch.ones(1 << 22))",
    "recurses": "sys.setrecursionlimit(10**9)\n    return answer(*args, **kwargs)",
    "never_returns": "while True:\n        pass",
}

# Each is run when the file is imported.
_IMPORTS = {
    "exits_while_imported": "os._exit(0)",
    "raises_system_exit_while_imported": "sys.exit(0)",
    "loops_while_imported": "while True: pass",
    "deletes_the_server": "for name in list(sys.modules):\n    if name.startswith('autograder'): del sys.modules[name]",
    "closes_every_descriptor": "os.closerange(0, 100)",
}

# What takes all that it may have shows no more when it may have more.
LESS = {
    "never_returns": {"call_seconds": 0.1, "module_seconds": 0.2},
    "loops_while_imported": {"load_seconds": 0.1},
    "fills_memory": {"memory_mb": 64},
}


def general(module: Module) -> list[Variant]:
    """The general cheats, as submissions of this module."""
    names = [exercise.name for exercise in module.exercises]
    aliases = "\n".join(f"{name} = answer" for name in names)
    head = f"import os, sys, time\nimport torch\n\nNAMES = {names!r}\n\n\n"
    found = [
        cheat(name, "", f"{head}def answer(*args, **kwargs):\n    {body.strip()}\n\n\n{aliases}\n")
        for name, body in _BODIES.items()
    ]
    todo = "def answer(*args, **kwargs):\n    raise RuntimeError\n\n\n"
    return found + [cheat(name, "", f"{head}{todo}{aliases}\n{line}\n") for name, line in _IMPORTS.items()]
