"""What the watch of a single call sees."""

import subprocess
import sys
import textwrap
import types

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from autograder.policy.families import KERNELS
from autograder.worker import callables, namespaces
from autograder.worker.audit import Audit
from autograder.worker.namespaces import Namespace

X = torch.eye(3)


def breaches(code: str) -> set[str]:
    """The names that are noted while the code runs as a student's, for an exercise to which _softmax is forbidden."""
    audit = Audit({"call": {"operators": ["_softmax"]}})
    audit.files = frozenset({"call.py"})
    scope = {"torch": torch, "x": X, "mode": _get_current_dispatch_mode}
    exec(compile(f"def call():\n    {code}\n", "call.py", "exec"), scope)
    with audit.watch("call", 1):
        scope["call"]()
    return {name for _, name, _ in audit.breaches}


def test_an_operator_is_seen_however_often_others_were_and_under_any_function() -> None:
    assert breaches("for _ in range(3): x.exp().sum(-1); torch.relu(x)") == set()
    for call in (
        "x.softmax(-1)",
        "torch.nn.Softmax(-1)(x)",
        "torch.ops.aten._softmax(x, -1, False)",
        "x.exp(); x.exp(); x.softmax(0)",
    ):
        assert breaches(call) == {"aten::_softmax"}


def test_an_exercise_answers_for_a_later_one_that_it_calls_and_not_for_an_earlier_one() -> None:
    for rules, blamed in (
        ({"call": {"operators": ["_softmax"]}, "Other": {"operators": ["tril"]}}, {"call"}),
        ({"Other": {"operators": ["tril"]}, "call": {"operators": ["_softmax"]}}, set()),
        ({"call": {"operators": ["tril"]}, "Other": {"operators": ["_softmax"]}}, {"Other"}),
        ({"Other": {"operators": ["_softmax"]}, "call": {"operators": ["tril"]}}, {"Other"}),
    ):
        audit, scope = Audit(rules), {"x": X}
        audit.files = frozenset({"call.py"})
        source = "class Other:\n    def softmax(x):\n        return x.softmax(-1)\ndef call():\n    Other.softmax(x)\n"
        exec(compile(source, "call.py", "exec"), scope)
        with audit.watch("call", 1):
            scope["call"]()
        assert {exercise for exercise, _, _ in audit.breaches} == blamed


def test_operators_with_keywords_and_in_place_ones_do_what_they_do() -> None:
    assert breaches("y = torch.zeros(3); y.add_(1, alpha=2); assert y.tolist() == [2, 2, 2]") == set()
    assert breaches("y = torch.empty(3, 3); torch.add(x, x, alpha=-1, out=y); assert not y.any()") == set()


def test_what_is_looked_past_cannot_be_added_to() -> None:
    for added in ("s", "torch.ops.aten.exp.default"):
        code = f"s = torch.ops.aten._softmax.default; mode()._harmless[id(s)] = {added}; x.softmax(-1)"
        assert breaches(code) == {"a change of the grader's own objects"}


def test_a_static_method_tells_of_its_calls(monkeypatch) -> None:
    class Home:
        @staticmethod
        def answer(n: int) -> int:
            return n + 1

    called = []
    monkeypatch.setitem(sys.modules, "made", types.ModuleType("made"))
    sys.modules["made"].Home = Home
    monkeypatch.setattr(callables, "_PLACED", {})
    callables.replace("made.Home.answer", lambda function, alias: lambda *args: called.append(alias) or function(*args))
    assert (Home.answer(1), Home().answer(2)) == (2, 3)
    assert called == ["answer", "answer"] and callables.in_place()


def test_a_class_that_takes_its_arguments_in_new_still_does(monkeypatch) -> None:
    made = types.ModuleType("made")
    exec("class Pair(tuple):\n    def __new__(cls, a, b=2): return tuple.__new__(cls, (a, b))", vars(made))
    made.Pair.__module__, called = "made", []
    monkeypatch.setitem(sys.modules, "made", made)
    monkeypatch.setattr(callables, "_PLACED", {})
    callables.replace("made.Pair", lambda function, alias: lambda *args, **by: called.append(alias) or function(*args, **by))
    assert made.Pair(1) == (1, 2) and made.Pair(1, b=3) == (1, 3)
    assert called == ["Pair", "Pair"]


def printed(code: str) -> list[str]:
    """The lines that the code prints in a process of its own."""
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def run_guarded(rules: dict, *calls: str, loaded: str = "torch._refs") -> list[str]:
    """What each call prints of its breaches, in a process of its own: what is put in the place of others' code stays there."""
    code = f"""
        import json, sys
        import torch, torch._decomp, torch._refs, {loaded}
        from autograder.worker import imports
        from autograder.worker.audit import Audit

        imports.note_loaded()
        audit = Audit({{"call": {rules}}})
        audit.files = frozenset({{"call.py"}})
        audit.guard()
        library = compile("import sched", json.__file__.replace("__init__", "made"), "exec")
        source, installed = "import importlib\\ndef load(name): importlib.import_module(name)", {{}}
        exec(compile(source, torch.__file__.replace("__init__", "made"), "exec"), installed)

        for text in {calls}:
            scope = {{"library": library, "load": installed["load"], "torch": torch, "x": torch.eye(3)}}
            audit.breaches = []
            exec(compile(f"def call():\\n    {{text}}\\n", "call.py", "exec"), scope)
            with audit.watch("call", 1):
                scope["call"]()
            print(*sorted({{name for _, name, _ in audit.breaches}}))
    """
    return printed(code)


def test_a_package_loaded_in_plain_sight_tells_of_its_calls_and_one_that_a_library_needs_is_its_own_affair() -> None:
    assert run_guarded(
        {"python": ["graphlib", "sched"]},
        "import importlib.util; importlib.util.find_spec('graphlib')",
        "import graphlib",
        "import sys; vars(sys.modules['graphlib'])['TopologicalSorter']()",
        "exec(library)",
        "exec('import sched')",
    ) == ["", "", "graphlib", "", ""]


def test_operators_that_pytorch_takes_apart_or_has_written_again_are_seen() -> None:
    assert run_guarded(
        {"functions": ["torch.softmax", "torch.nn.functional.one_hot"], "operators": ["one_hot", "_softmax"]},
        "torch._refs.exp(x)",
        "torch._refs.softmax(x, 0)",
        "torch._decomp.decompositions._softmax(x, 0, False)",
        "torch.ops.aten.one_hot(x.long(), 3)",
        "torch.ops.aten.one_hot.default(x.long(), 3)",
        "torch._C._jit_get_operation('aten::relu')[0](x)",
    ) == [
        "", "torch._refs.softmax", "torch._decomp.decompositions._softmax", "aten::one_hot", "aten::one_hot",
        "torch._C._jit_get_operation",
    ]  # fmt: skip


def test_what_pytorch_and_python_consist_of_has_to_stay() -> None:
    found = run_guarded(
        {"functions": ["torch.softmax"]},
        "import os; before = os.write; os.write = print; os.write = before",
        "torch.Tensor.mine = 3",
        "import torch._dynamo, torch.fx",
        "torch.Tensor.relu = torch.Tensor.exp",
        "del torch.Tensor.relu",  # a change that was there before the call
        "x.relu()",
        "import os; os.write = lambda *arguments: len(arguments[1])",
        "import os; os.write = os.readv; torch.Tensor.numpy = torch.Tensor.tolist",
    )
    changed = "a change of what PyTorch or Python itself consists of"
    assert found == ["", "", "", changed, changed, "", changed, changed]


def test_what_others_code_does_is_not_the_students_to_set() -> None:
    noted, taken = "object.__setattr__ (what others' code does)", "object.__delattr__ (what others' code does)"
    assert run_guarded(
        {"functions": ["torch.softmax"]},
        "mine = lambda: 0; mine.__code__ = (lambda: 1).__code__; mine.__defaults__ = ()",
        "layer = torch.nn.Linear(1, 1); layer.__class__ = type('Mine', (torch.nn.Linear,), {})",
        "import json; json.dumps.__defaults__ = None",
        "import json; json.dumps.__kwdefaults__ = json.dumps.__kwdefaults__",
        "import json; vars(json.JSONEncoder)['encode'].__code__ = (lambda self, o: '').__code__",
        "import torch.overrides as home; home.__class__ = type('Other', (type(home),), {})",
        "torch.nn.Linear.__bases__ = torch.nn.Linear.__bases__",
    ) == ["", "", taken, noted, noted, noted, noted]


def test_no_mode_is_left_behind_and_none_ends_otherwise() -> None:
    changed, kind = "a change of what PyTorch or Python itself consists of", "torch.overrides.TorchFunctionMode"
    assert run_guarded(
        {"functions": ["torch.softmax"], "operators": ["_softmax"]},
        "torch.set_default_device('cpu'); torch.zeros(2)",
        "torch.zeros(2)",
        "torch.set_default_device(None)",
        "with torch.overrides.BaseTorchFunctionMode(): x.exp()",
        f"k = {kind}; end = k.__exit__; k.__exit__ = lambda mode, *error: (setattr(k, '__exit__', end), end(mode, *error))[1]",
        "torch.overrides.BaseTorchFunctionMode().__exit__(None, None, None); torch.zeros(2)",
        "x.exp()",
        "torch.overrides.BaseTorchFunctionMode().__enter__()",
        "x.exp()",
    ) == ["", "", "", "", changed, changed, "", changed, changed]


def test_a_thread_is_watched_in_whichever_call_it_goes_on() -> None:
    """It begins in a call that is not watched, and does its work in one that is."""
    students = """
        def call(is_first):
            if is_first:
                start(work, ())
            else:
                waiting.release()
                while not done:
                    pass

        def work():
            waiting.acquire()
            done.append(torch.softmax(torch.ones(2), 0))
    """
    code = f"""
        import _thread
        import torch
        from autograder.worker.audit import Audit

        audit = Audit({{"call": {{"functions": ["torch.softmax"]}}}})
        audit.files = frozenset({{"call.py"}})
        audit.guard()
        scope = {{"start": _thread.start_new_thread, "torch": torch, "waiting": _thread.allocate_lock(), "done": []}}
        scope["waiting"].acquire()
        exec(compile({textwrap.dedent(students)!r}, "call.py", "exec"), scope)
        scope["call"](True)
        with audit.watch("call", 1):
            scope["call"](False)
        print(audit.breaches)
    """
    assert printed(code) == ["[('call', 'torch.softmax', 12)]"]


def test_frames_are_given_to_nobody_unheard() -> None:
    assert run_guarded(
        {"functions": ["torch.softmax"]},
        "import traceback; traceback.format_stack(); traceback.print_exc",
        "import logging; logging.getLogger('a').debug('b')",
        "import signal; signal.signal(signal.SIGINT, lambda number, frame: print(frame)); signal.raise_signal(signal.SIGINT)",
        "import traceback; traceback.walk_stack(None)",
        "import logging; logging.currentframe()",
        "import sys; sys.setprofile(None)",
        "import sys; sys.settrace(None)",
        "import inspect; inspect.getclosurevars(inspect.getsource)",
    ) == ["", "", "None", "", "traceback.walk_stack", "logging.currentframe", "sys.setprofile (the variables of other code)",
          "sys.settrace (the variables of other code)", "inspect.getclosurevars"]  # fmt: skip


def test_frames_are_heard_of_in_calls_that_are_not_watched() -> None:
    code = """
        from autograder.worker.audit import Audit

        audit, told = Audit({"call": {"functions": ["torch.softmax"]}}), []
        audit.tell = told.append
        audit.files = frozenset({"call.py"})
        audit.guard()
        scope = {}
        exec(compile("import sys\\n\\ndef call():\\n    sys._getframe()\\n", "call.py", "exec"), scope)
        scope["call"]()
        print(told)
    """
    assert printed(code) == ["[('call', 'sys._getframe (the variables of other code)', 4)]"]


def test_what_is_noted_is_told_at_once_and_what_the_grader_does_afterwards_is_its_own() -> None:
    audit, told = Audit({"call": {"operators": ["_softmax"]}}), []
    audit.tell = told.append
    audit.files = frozenset({"call.py"})
    scope = {"x": X}
    exec(compile("def late():\n    x.softmax(0)\n\n\ndef call():\n    x.softmax(0)\n", "call.py", "exec"), scope)
    with audit.watch("call", 1):
        scope["call"]()
        assert told == [("call", "aten::_softmax", 6)]
        audit.breaches.clear()
    for called in ("call", None):
        told.clear()
        audit.breaches.clear()
        with audit.watch(called, 1) as is_over:
            is_over()
            X.softmax(0)
            assert told == []
            scope["late"]()
        assert told == [("call", "aten::_softmax", 2)]


def test_lines_that_a_warning_shows_are_nobodys_decoding() -> None:
    assert run_guarded(
        {"python": ["codecs"]},
        "import linecache; linecache.clearcache(); linecache.getlines(linecache.__file__)",
        "import linecache, codecs; getattr(codecs, 'getreader')('utf-8')",
    ) == ["", "codecs"]


def test_where_python_numbers_its_dictionaries_no_change_of_a_namespace_goes_unseen() -> None:
    class Home:
        given = 1

    namespace = Namespace(Home).keep(but=["__doc__"])
    assert not namespace.is_unchanged()  # it is not known yet to be as expected
    namespace.settle()
    assert namespace.is_unchanged() == namespaces.ARE_NUMBERED == (sys.version_info < (3, 14))
    Home.more = 2
    assert not namespace.is_unchanged() and namespace.is_kept() and namespace.added() == {"more", "__doc__"}
    Home.given, kept = 3, Home.given
    assert not namespace.is_unchanged() and not namespace.is_kept()
    Home.given = kept
    assert not namespace.is_unchanged() and namespace.is_kept()
    del Home.given
    assert not namespace.is_kept()


def test_a_namespace_whose_dictionary_has_no_number_is_looked_through(monkeypatch) -> None:
    monkeypatch.setattr(namespaces, "ARE_NUMBERED", False)
    made = types.ModuleType("made")
    namespace = Namespace(made).keep()
    namespace.settle()
    assert not namespace.is_unchanged() and namespace.is_kept()
    made.__name__ = "other"
    assert not namespace.is_kept()


def test_pytorchs_modes_are_entered_where_they_have_something_to_look_for() -> None:
    seen = {}
    for kind in ("python", "functions", "operators"):
        audit = Audit({"call": {kind: ["torch.softmax" if kind == "functions" else "_softmax"]}})
        with audit.watch("call", 1):
            seen[kind] = (torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack())
    assert seen == {"python": (0, 0), "functions": (1, 0), "operators": (0, 1)}


def test_what_tells_of_calls_leads_to_none_of_the_graders_variables() -> None:
    """Neither what is replaced in libraries, nor what comes with it, is a function of Python's."""
    assert run_guarded(
        {"python": ["numpy.matmul", "numpy.ndarray.dot", "operator.matmul", "heapq.merge", "sched"]},
        "import _signal, _thread, heapq, importlib.machinery as m, inspect, numpy, operator, torch._ops as o, torch.library; "
        "replaced = [numpy.matmul, numpy.ndarray.dot, operator.matmul, heapq.merge, _thread.start_new_thread, _signal.signal,"
        " inspect.getclosurevars, m.SourceFileLoader.get_code, m.SourceFileLoader.exec_module, torch.library.get_kernel,"
        " o.OpOverload.__call__, torch.overrides._pop_mode]; "
        "names = ['__globals__', '__closure__', '__code__', '__wrapped__']; "
        "print([f for f in replaced for name in names if getattr(f, name, None) is not None])",
    ) == ["[]", ""]


def test_kernels_are_seen_by_whatever_name_they_are_made_and_those_that_pytorch_makes_are_its_own_affair(monkeypatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert run_guarded(
        {"python": list(KERNELS)},
        "import json, sys; sys.modules['notirt'[::-1]].jit(json.dumps)",
        "import json, sys; getattr(sys.modules['reterpretni.emitnur.notirt'[::-1]], 'noitcnuFdeterpretnI'[::-1])(json.dumps)",
        "import torch._inductor.runtime.triton_helpers",
        loaded="torch._dynamo",
    ) == ["triton.jit", "triton.runtime.interpreter", ""]


def test_operators_in_pytorchs_tables_of_decompositions_are_seen_whatever_they_are_found_by() -> None:
    found = "f = [f for op, f in {}.items() if str(op) == 'aten._soft' + 'max.default'][0]; f(x, 0, False)"
    table, softmax = "torch._decomp.decomposition_table", "getattr(torch.ops.aten, '_soft' + 'max')"
    assert run_guarded(
        {"functions": ["torch.softmax"], "operators": ["_softmax", "softmax"]},
        found.format(table),
        found.format(f"torch._decomp.get_decompositions([{softmax}])"),
        "import torch._inductor.decomposition as d; " + found.format("d.decompositions"),
        f"f = [f for op, f in {table}.items() if str(op) == 'aten.gelu_backward.default'][0]; f(x, x)",
    ) == ["torch._decomp, _softmax"] * 3 + [""]


def test_libraries_do_not_lead_to_the_variables_of_a_scenario() -> None:
    theirs = "made = {}; exec(compile('def f(n: \\'globals()\\'): return n', 'scenarios.py', 'exec'), made); f = made['f']; "
    calls = (
        theirs + "import typing; typing.get_type_hints(f)",
        theirs + "import inspect; inspect.signature(f, eval_str=True)",
        theirs + "import inspect, functools; inspect.signature(f); functools.wraps(f)(lambda n: f(n))(1); f.__annotations__",
        "import typing; exec('def g(n: \\'int\\'): return n'); typing.get_type_hints(locals()['g'])",
        "def f(n: 'int'): return n\n    import typing; typing.get_type_hints(f)",
    )
    way_in = "__globals__ (the variables of other code)"
    assert run_guarded({"python": ["sched"]}, *calls) == [way_in, way_in, "", "", ""]


AUTOGRAD = {"operators": ["_backward", "backward"], "functions": ["torch.Tensor.grad_fn", "torch._make_dual"]}


def test_nodes_of_a_graph_that_the_students_code_runs_are_seen_by_whatever_name() -> None:
    graph = "import torch, io; a = x.clone().requires_grad_(); y = a.exp(); "
    engine = "torch.autograd.Variable._execution_engine.run_backward"
    last = "type('F', (torch.autograd.Function,), dict(forward=staticmethod(lambda ctx, y: found.append(ctx) or y.clone())))"
    assert run_guarded(
        AUTOGRAD,
        graph + "a.detach().exp(); str(y)",
        graph + f"{engine}((y,), (x,), False, False, (a,), allow_unreachable=False, accumulate_grad=False)",
        graph + "torch.autograd.grad(y.sum(), a)",
        graph + "y.grad_fn(x)",
        graph + "torch.autograd.graph.get_gradient_edge(y)",
        graph + f"found = []; {last}.apply(y); found[0].next_functions",
        "import torch.autograd.forward_ad as f; level = f.enter_dual_level(); f.make_dual(x, x); f.exit_dual_level()",
    ) == [
        "",
        "torch.autograd, the engine",
        "torch.autograd, the engine",
        "torch.Tensor.grad_fn",
        "torch.Tensor.grad_fn",
        "torch.autograd, the graph",
        "torch._make_dual",
    ]


def test_a_backward_pass_that_others_begin_and_what_a_students_own_function_does_in_it_is_no_breach() -> None:
    audit = Audit({"call": {"operators": ["_backward"]}})
    audit.files, audit.others = frozenset({"call.py"}), {id(globals())}
    source = """
        class Twice(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return 2 * x
            @staticmethod
            def backward(ctx, g):
                return call(g)
        def call(x):
            return x * 2
        def started(y):
            torch.autograd.grad(y, [x])
        def asked(f):
            f()
    """
    scope = {"torch": torch, "x": X.clone().requires_grad_()}
    exec(compile(textwrap.dedent(source), "call.py", "exec"), scope)
    with audit.watch(None):
        scope["Twice"].apply(scope["x"].exp()).exp().sum().backward()
    with audit.watch("call", 1):
        scope["asked"](lambda: torch.autograd.grad(scope["x"].exp().sum(), scope["x"]))  # a function that it was given
    assert audit.breaches == []
    with audit.watch("call", 1):
        scope["started"](scope["x"].exp().sum())
    assert audit.breaches == [("call", "torch.autograd, the engine", 12)]


def test_each_exercise_has_a_breach_of_its_own_however_many_others_have() -> None:
    names = [f"exercise{i}" for i in range(40)]
    audit = Audit({name: {"operators": ["_softmax"]} for name in names})
    audit.files = frozenset({"call.py"})
    scope = {"x": X}
    exec(compile("".join(f"def {name}():\n    x.softmax(0)\n" for name in names), "call.py", "exec"), scope)
    with audit.watch(None):
        for name in [*names[:1] * 30, *names]:
            scope[name]()
    assert [exercise for exercise, _, _ in audit.breaches] == names


def test_where_pytorch_as_a_whole_is_forbidden_any_operator_is_a_breach() -> None:
    rules = {"call": {"operators": ["*"]}, "free": {"functions": ["torch.softmax"]}}
    given = {"work": X.exp, "given": (lambda: X.exp())}  # the second is a scenario's
    for called, name, does in (
        ("call", "call", "work"), (None, "call", "work"), ("free", "", "work"), (None, "", "work"), ("call", "", "given"),
    ):  # fmt: skip
        audit, scope = Audit(rules), dict(given)
        audit.others.add(id(globals()))
        audit.files = frozenset({"call.py"})
        exec(compile(f"def call():\n    {does}()\ndef free():\n    {does}()\n", "call.py", "exec"), scope)
        with audit.watch(called, 1):
            scope[name or called or "free"]()
        assert [exercise for exercise, _, _ in audit.breaches] == [name] * bool(name)


def test_strange_packages_and_second_copies_are_heard_of_when_they_are_loaded_out_of_sight() -> None:
    again = "import importlib.util as u; s = u.spec_from_file_location('other', u.find_spec({!r}).origin); "
    again += "s.loader.exec_module(u.module_from_spec(s))"
    assert run_guarded(
        {"python": ["heapq", "functools.cache"]},
        "import importlib; importlib.import_module('annotated_doc')",
        "import importlib; importlib.import_module('tqdm.version')",
        "import importlib; importlib.import_module('pydantic' + '_core')",
        again.format("heapq"),
        again.format("functools"),
        again.format("string"),
        "import annotated_types",
        "import sys; sys.modules.pop('annotated_doc'); load('annotated_doc')",
        "import heapq; heapq.__spec__.loader.get_source('heapq')",
        "import heapq; open(heapq.__file__).close()",
        "import heapq, linecache; linecache.clearcache(); linecache.getlines(heapq.__file__)",
        "import string; open(string.__file__).close()",
        "import sys; sys.modules.pop('heapq'); import heapq, os; os.path.exists(heapq.__cached__)",
    ) == ["import annotated_doc", "", "import pydantic_core", "import heapq", "import functools", "", "", "",
          "import heapq", "import heapq", "", "", ""]  # fmt: skip


def test_a_tracer_that_raises_is_not_taken_away_by_the_students_code() -> None:
    """A scenario counts the steps of honest code, and stops it after too many."""
    code = """
        import sys
        from autograder.worker.audit import Audit

        class Steps:
            gives_up = False

            def __init__(self, knows):
                self.knows = knows

            def called(self, frame, event, argument):
                return self.line

            def line(self, frame, event, argument):
                self.gives_up = self.knows
                raise TimeoutError

        audit = Audit({"call": {"functions": ["torch.softmax"]}})
        audit.files = frozenset({"call.py"})
        audit.guard()
        scope = {}
        exec(compile("def call():\\n    return 1\\n", "call.py", "exec"), scope)
        for knows in (True, False):
            with audit.watch(None):
                sys.settrace(Steps(knows).called)
                try:
                    scope["call"]()
                except TimeoutError:
                    pass
            print(*(name for _, name, _ in audit.breaches))
    """
    assert printed(code) == ["", "sys.settrace (the variables of other code)"]
