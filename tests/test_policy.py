"""Forbidden calls in the source: what must be found, and what must not be taken for one."""

import argparse
import ast
import sys
import textwrap
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.course import Exercise, Module
from autograder.policy import SyntaxProblem, built_on, check, parse, runtime_rules
from autograder.policy.families import KERNELS, canonical, family_of

FOLDERS = {name: Path("/course") for name in ("folder", "solution_folder", "suite_folder")}


def module(*exercises: tuple[str, list[str]], files=("work.py",), places=None) -> Module:
    points = [100 // len(exercises)] * len(exercises)
    points[0] += 100 - sum(points)
    return Module(
        id="01_work",
        title="T",
        summary="S",
        files=files,
        exercises=tuple(
            Exercise(
                name=name,
                points=share,
                why="w",
                hints=("a", "b"),
                forbidden=tuple(forbidden),
                file=(places or {}).get(name),
            )  # fmt: skip
            for (name, forbidden), share in zip(exercises, points)
        ),
        **FOLDERS,
    )


HEAD = """\
import functools
import heapq
import importlib
import operator
import sys
from functools import partial
import numpy as np
import torch
import torch as t
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
"""


def breaches(source: str, *forbidden: str, head: str = HEAD):
    """The breaches of an exercise called `target`; `source` is the whole file below its usual imports."""
    return check(module(("target", list(forbidden))), {"work.py": head + textwrap.dedent(source)})


def body(*lines: str) -> str:
    """An exercise of these statements."""
    return "def target(x, dim=-1):\n" + "".join(f"    {line}\n" for line in lines)


SOFTMAX = [
    body("return torch.softmax(x, dim)"),
    body("return t.softmax(x, dim)"),
    body("return F.softmax(x, dim)"),
    body("return nn.functional.softmax(x, dim)"),
    body("return torch.nn.functional.softmax(x, dim)"),
    body("return torch.special.softmax(x, dim)"),
    body("return torch.Tensor.softmax(x, dim)"),
    body("return Tensor.softmax(x, dim)"),
    body("return nn.Softmax(dim)(x)"),
    body("return nn.Softmax2d()(x)"),
    body("return torch.nn.modules.activation.Softmax(dim)(x)"),
    body("return torch.softmax(x, dim, out=x)"),
    body("return torch.softmax_(x, dim)"),
    body("return F.softmin(-x, dim)"),
    body("return torch.ops.aten.softmax(x, dim)"),
    body("return torch.ops.aten.softmax.int(x, dim)"),
    body("return torch.ops.aten._softmax.default(x, dim, False)"),
    body("return torch.ops.aten._safe_softmax(x, dim)"),
    body("return torch._C._nn.softmax(x, dim)"),
    body("return torch._C._VariableFunctions.softmax(x, dim)"),
    body("return torch._C._special.special_softmax(x, dim)"),
    body("return torch._VF.softmax(x, dim)"),
    body("return torch._refs.softmax(x, dim)"),
    body("return torch.masked.softmax(x, dim)"),
    body("return torch.sparse.softmax(x, dim)"),
    body("return F.torch.softmax(x, dim)"),
    body("return torch.functional.F.softmax(x, dim)"),
    body("return x.softmax(dim)"),
    body("return x.softmax_(dim)"),
    body("return (x + 1).softmax(dim)"),
    body("return x[0].exp().softmax(dim)"),
    body("return x.view(-1).softmax(dim).view(3)"),
    body("return type(x).softmax(x, dim)"),
    body("return x.__class__.softmax(x, dim)"),
    body("s = torch.softmax", "return s(x, dim)"),
    body("a, b = torch.exp, torch.softmax", "return b(x, dim)"),
    body("fn = F", "return fn.softmax(x, dim)"),
    body("fn = api = F", "return api.softmax(x, dim)"),
    body("return (lambda y: torch.softmax(y, dim))(x)"),
    body("return list(map(torch.softmax, [x]))"),
    body("return partial(F.softmax, dim=dim)(x)"),
    body("return functools.reduce(torch.softmax, [x, dim])"),
    body("return {'s': torch.softmax}['s'](x, dim)"),
    body("return [F][0].softmax(x, dim)"),
    body("return {'f': F}['f'].softmax(x, dim)"),
    body("return (F if dim else torch).softmax(x, dim)"),
    body("return (fn := F).softmax(x, dim)"),
    body("return getattr(torch, 'softmax')(x, dim)"),
    body("return getattr(torch, 'soft' 'max')(x, dim)"),
    body("return getattr(torch, 'soft' + 'max')(x, dim)"),
    body("name = 'softmax'", "return getattr(F, name)(x, dim)"),
    body("return getattr(torch, f\"soft{'max'}\")(x, dim)"),
    body("return getattr(torch, ''.join(['soft', 'max']))(x, dim)"),
    body("return getattr(torch, 'softmax', None)(x, dim)"),
    body("return getattr(getattr(torch, 'nn'), 'functional').softmax(x, dim)"),
    body("return getattr(x, 'softmax')(dim)"),
    body("return torch.__getattribute__('softmax')(x, dim)"),
    body("return torch.__dict__['softmax'](x, dim)"),
    body("return torch.__dict__.get('softmax')(x, dim)"),
    body("return vars(torch)['softmax'](x, dim)"),
    body("return operator.attrgetter('softmax')(torch)(x, dim)"),
    body("return operator.attrgetter('nn.functional.softmax')(torch)(x, dim)"),
    body("return operator.attrgetter('softmax')(x)(dim)"),
    body("return operator.methodcaller('softmax', dim)(x)"),
    body("return sys.modules['torch'].softmax(x, dim)"),
    body("return importlib.import_module('torch').softmax(x, dim)"),
    body("return importlib.import_module('torch.nn.functional').softmax(x, dim)"),
    body("return __import__('torch').softmax(x, dim)"),
    body("return eval('torch.softmax(x, dim)')"),
    body("return eval('x.softmax(dim)')"),
    body("exec('from torch import softmax as s; y = s(x, dim)')"),
    body("import torch.nn.functional as G", "return G.softmax(x, dim)"),
    body("from torch import softmax", "return softmax(x, dim)"),
    body("from torch import softmax as sm", "return sm(x, dim)"),
    body("from torch.nn import functional", "return functional.softmax(x, dim)"),
    body("from torch.nn import *", "return x") + "from torch import softmax as target\n",
    body("import torch.nn.functional", "return torch.nn.functional.softmax(x, dim)"),
    body("def inner(y):", "    return y.softmax(dim)", "return inner(x)"),
    body("for f in [torch.softmax]:", "    x = f(x, dim)", "return x"),
    body("with torch.no_grad():", "    y = [v.softmax(dim) for v in x]", "return y"),
    body("try:", "    return x.softmax(dim)", "except Exception:", "    return x"),
    body("match dim:", "    case 0:", "        return torch.softmax(x, 0)"),
    "from torch import softmax as sm\n" + body("return sm(x, dim)"),
    "from torch import *\n" + body("return softmax(x, dim)"),
    "from torch.nn.functional import *\n" + body("return softmax(x, dim)"),
    "import torch.nn.functional as F, torch as u\n" + body("return u.softmax(x, dim)"),
    "_s = torch.softmax\n" + body("return _s(x, dim)"),
    "_s, _e = torch.softmax, torch.exp\n" + body("return _s(x, dim)"),
    "_s: object = torch.softmax\n" + body("return _s(x, dim)"),
    "_a = torch.softmax\n_b = _a\n_c = _b\n" + body("return _c(x, dim)"),
    "_table = {'s': torch.softmax}\n" + body("return _table['s'](x, dim)"),
    "_s = functools.partial(torch.softmax, dim=-1)\n" + body("return _s(x)"),
    "_s = lambda x, dim: x.softmax(dim)\n" + body("return _s(x, dim)"),
    "_name = 'softmax'\n" + body("return getattr(torch, _name)(x, dim)"),
    "def _get():\n    return F\n" + body("return _get().softmax(x, dim)"),
    "def _one(x):\n    return _two(x)\ndef _two(x):\n    return x.softmax(-1)\n" + body("return _one(x)"),
    body("return _later(x)") + "def _later(x):\n    return torch.softmax(x, -1)\n",
    "class Helper:\n    def go(self, x):\n        return F.softmax(x, -1)\n" + body("return Helper().go(x)"),
    "class Helper:\n    s = torch.softmax\n" + body("return Helper.s(x, dim)"),
    "class Helper:\n    def go(self, x):\n        return F.softmax(x, -1)\n_h = Helper()\n" + body("return _h.go(x)"),
    "class Base:\n    def go(self, x):\n        return x.softmax(-1)\nclass Helper(Base):\n    pass\n"
    + body("return Helper().go(x)"),
    "_cache = []\ndef _fill(x):\n    _cache.append(x.softmax(-1))\n" + body("_fill(x)", "return _cache[0]"),
    "if True:\n    from torch import softmax as sm\nelse:\n    sm = None\n" + body("return sm(x, dim)"),
    "try:\n    _s = torch.softmax\nexcept AttributeError:\n    _s = None\n" + body("return _s(x, dim)"),
    "for _f in (torch.exp, torch.softmax):\n    pass\n" + body("return _f(x, dim)"),
    "def target(x, dim=-1, _s=torch.softmax):\n    return _s(x, dim)\n",
    "def _wrap(f):\n    return lambda g: f\n@_wrap(torch.softmax)\ndef target(x, dim=-1):\n    return x\n",
    "target = torch.softmax\n",
    "target = functools.partial(torch.softmax, dim=-1)\n",
    "target = lambda x, dim: torch.softmax(x, dim)\n",
    "from torch import softmax as target\n",
    body("return x") + "target = F.softmax\n",
    body("return x") + "globals()['target'] = F.softmax\n",
    body("return x") + "globals().update(target=F.softmax)\n",
    body("return x") + "globals().update({'target': F.softmax})\n",
    body("return x") + "setattr(sys.modules[__name__], 'target', F.softmax)\n",
    body("return x") + "sys.modules[__name__].target = F.softmax\n",
    body("return x") + "def _swap():\n    global target\n    target = F.softmax\n_swap()\n",
    body("return x") + "if True:\n    target = F.softmax\n",
    "class target:\n    pass\ntarget.forward = nn.Softmax.forward\n",
    "class target:\n    pass\nsetattr(target, 'forward', F.softmax)\n",
    "class target(nn.Softmax):\n    pass\n",
    "class target:\n    def forward(self, x):\n        return x.softmax(-1)\n",
    "class target:\n    def __init__(self):\n        self.f = nn.Softmax(-1)\n",
    "class target(torch.Tensor):\n    def go(self):\n        return self.softmax(-1)\n",
    "def _help(x):\n    return x.softmax(-1)\n" + body("return globals()['_help'](x)"),
    "def _help(x):\n    return x.softmax(-1)\n" + body("return globals().get('_help')(x)"),
    "def _help(x):\n    return x.softmax(-1)\n" + body("return globals().__getitem__('_help')(x)"),
    "_s = F.softmax\n" + body("return globals()['_s'](x, dim)"),
    body("s = F.softmax", "return locals()['s'](x, dim)"),
    body("return (lambda y=torch.softmax(x, dim): y)()"),
    body("def inner(*, y=x.softmax(dim)):", "    return y", "return inner()"),
    "from torch import softmax as _old\n_s = _old\ndef _old(x):\n    return x\n" + body("return _s(x, dim)"),
    "async def target(x):\n    return torch.softmax(x, -1)\n",
]  # fmt: skip


@pytest.mark.parametrize("source", SOFTMAX)
def test_softmax_is_found_under_any_name(source):
    found = breaches(source, "torch.softmax")
    assert found
    assert {breach.exercise for breach in found} == {"target"}
    assert all(breach.message.startswith(f"work.py, line {breach.line}: ") for breach in found)


@pytest.mark.parametrize("source", SOFTMAX)
def test_nothing_is_found_where_nothing_is_forbidden(source):
    assert breaches(source) == []
    assert breaches(source, "torch.cumsum") == []


INNOCENT = [
    body("e = torch.exp(x - x.amax(dim, keepdim=True))", "return e / e.sum(dim, keepdim=True)"),
    body("'''Like torch.softmax(x, dim).'''", "# torch.softmax(x)", "return x  # x.softmax(-1)"),
    body("print('torch.softmax')", "return x"),
    body("softmax = x.exp()", "return softmax / softmax.sum()"),
    body("softmax = lambda y: y.exp()", "return softmax(x)"),
    body("def softmax(y):", "    return y.exp()", "return softmax(x)"),
    body("return dict(softmax=x)"),
    body("return x.configure(softmax=True)"),
    body("x.softmax = 3", "return x"),
    body("return [softmax for softmax in x]"),
    body("for softmax in x:", "    softmax(1)", "return x"),
    body("with open('f') as softmax:", "    return softmax(x)"),
    body("try:", "    pass", "except ValueError as softmax:", "    return softmax(x)"),
    body("return {'softmax': x}['softmax']"),
    body("return x if dim == 'softmax' else -x"),
    body("y: 'torch.softmax' = x", "return y"),
    body("y: torch.softmax", "return x"),
    body("return F, torch, nn"),
    body("return F.log_softmax(x, dim)"),
    body("return torch.softmax_like(x)"),
    body("return getattr(torch, 'exp')(x)"),
    body("return np.softmax"),
    body("return getattr(x, dim)"),
    body("return getattr(torch.nn, '')"),
    body("return getattr(torch, 'softmax\\nhello')"),
    body("return importlib.import_module('torch.softmax of\\nnothing')"),
    "def target(softmax, dim):\n    return softmax(dim)\n",
    "def target(x, softmax=None):\n    return softmax(x)\n",
    "def target(x: torch.softmax) -> torch.softmax:\n    return x\n",
    "def softmax(x):\n    return x.exp()\n" + body("return softmax(x)"),
    "from exercises.numpy_to_pytorch import softmax\n" + body("return softmax(x, dim)"),
    "from exercises import numpy_to_pytorch as n\n" + body("return n.softmax(x, dim)"),
    "import exercises.numpy_to_pytorch\n" + body("return exercises.numpy_to_pytorch.softmax(x, dim)"),
    "from solutions.numpy_to_pytorch import softmax\n" + body("return softmax(x, dim)"),
    "from torch import softmax\ndef softmax(x, dim):\n    return x\n" + body("return softmax(x, dim)"),
    "from torch import *\ndef softmax(x, dim):\n    return x\n" + body("return softmax(x, dim)"),
    "from torch import softmax\n" + body("return x"),
    "_unused = torch.softmax\n" + body("return x"),
    "def _unused(x):\n    return x.softmax(-1)\n" + body("return x"),
    "_s = torch.softmax\n_s = torch.exp\n" + body("return _s(x)"),
    "_s = torch.softmax\n" + body("_s = x", "return _s"),
    "_s = torch.softmax\n" + body("return [_s for _s in x]"),
    "assert torch.softmax(torch.ones(2), 0).sum() == 1\n" + body("return x"),
    "print(torch.softmax(torch.ones(2), 0))\n" + body("return x"),
    "if __name__ == '__main__':\n    target = torch.softmax\n    print(torch.softmax)\n" + body("return x"),
    "target = torch.softmax\n" + body("return x"),
    "class Helper:\n    def softmax(self, x):\n        return x.exp()\n"
    "    def go(self, x):\n        return self.softmax(x)\n" + body("return Helper().go(x)"),
    "class Helper:\n    def softmax(self, x):\n        return x.exp()\n" + body("h = Helper()", "return h.softmax(x)"),
    "class Helper:\n    @staticmethod\n    def softmax(x):\n        return x.exp()\n"
    + body("return Helper.softmax(x)"),
    "class Helper:\n    def softmax(self, x):\n        return x.exp()\ndef _go(h, x):\n    return h.softmax(x)\n"
    + body("return _go(Helper(), x)"),
    "class target(nn.Module):\n    def softmax(self, x):\n        return x.exp()\n"
    "    def forward(self, x):\n        return self.softmax(x)\n",
    "class target(nn.Module):\n    def __init__(self, softmax):\n"
    "        super().__init__()\n        self.softmax = softmax\n"
    "    def forward(self, x):\n        return self.softmax(x)\n",
    "class target:\n    softmax = 3\n    def get(self):\n        return self.softmax\n",
    "def target(x, options: dict):\n    return options.softmax\n",
    body("return getattr(torch), globals().get(), operator.attrgetter()(x), eval()"),
    body("return eval('softmax(x')"),
    body("return globals()[x], globals().get(x)('softmax')"),
]  # fmt: skip


@pytest.mark.parametrize("source", INNOCENT)
def test_what_only_looks_like_softmax_is_not_taken_for_it(source):
    assert breaches(source, "torch.softmax") == []


def test_a_method_of_the_students_own_does_not_hide_the_tensors():
    source = """
    class Helper:
        def softmax(self, x):
            return x.exp()
    def target(x: torch.Tensor, dim):
        return x.softmax(dim)
    """
    assert breaches(source, "torch.softmax")
    assert breaches(source.replace("torch.Tensor", "Tensor | None"), "torch.softmax")
    assert breaches(source.replace("x.softmax", "operator.attrgetter('softmax')(x)"), "torch.softmax")
    assert breaches(source.replace("x.softmax(dim)", "getattr(x, 'softmax')(dim)"), "torch.softmax")
    assert breaches(
        source.replace("x: torch.Tensor", "x").replace("x.softmax", "torch.exp(x).T.softmax"), "torch.softmax"
    )


HEAPS = """\
def _get():
    return heapq
class _Box:
    h = heapq
"""


@pytest.mark.parametrize(
    "line",
    [
        "heapq.heappush(x, 1)",
        "sys.modules['heapq'].heappush(x, 1)",
        "sys.modules.get('heapq').heappush(x, 1)",
        "vars(heapq)['heappush'](x, 1)",
        "heapq.__dict__['heappush'](x, 1)",
        "heapq.__dict__.get('heappush')(x, 1)",
        "heapq.__dict__.pop('heappush')(x, 1)",
        "heapq.__getattribute__('heappush')(x, 1)",
        "{'h': heapq}['h'].heappush(x, 1)",
        "{'h': heapq}.get('h').heappush(x, 1)",
        "{'a': x, 'h': heapq}[dim].heappush(x, 1)",
        "{None: x, 'h': heapq}[dim].heappush(x, 1)",
        "[x, heapq][1].heappush(x, 1)",
        "(x, heapq)[-1].heappush(x, 1)",
        "(x, heapq)[dim].heappush(x, 1)",
        "(heapq if dim else x).heappush(x, 1)",
        "(x if dim else heapq).heappush(x, 1)",
        "(x or heapq).heappush(x, 1)",
        "(h := heapq).heappush(x, 1)",
        "(lambda: heapq)().heappush(x, 1)",
        "(lambda: heapq.heappush)()(x, 1)",
        "_get().heappush(x, 1)",
        "_Box.h.heappush(x, 1)",
        "getattr(heapq, 'heap' + 'push')(x, 1)",
        "getattr(heapq, f\"{'heap'}push\")(x, 1)",
        "getattr(heapq, ''.join(['heap', 'push']))(x, 1)",
        "getattr(heapq, 'heappush' if dim else 'heapify')(x, 1)",
        "globals()['heapq'].heappush(x, 1)",
        "globals().get('heapq').heappush(x, 1)",
        "operator.attrgetter('heappush')(heapq)(x, 1)",
        "importlib.import_module('heapq').heappush(x, 1)",
        "importlib.__import__('heapq').heappush(x, 1)",
        "__import__('heapq').heappush(x, 1)",
        "type(heapq).heappush(heapq)",
        "eval('heapq.heappush')(x, 1)",
    ],
)
def test_a_function_that_is_no_tensors_method_is_found_where_its_module_leads(line):
    assert [breach.call for breach in breaches(HEAPS + body(f"return {line}"), "heapq.heappush")] == ["heapq.heappush"]


@pytest.mark.parametrize(
    "line",
    [
        "heapq.heappushpop(x, 1)",
        "{'h': heapq, 'o': operator}['o'].heappush(x, 1)",
        "[operator, heapq][0].heappush(x, 1)",
        "(operator, heapq)[-2].heappush(x, 1)",
        "getattr(operator, 'heappush')(x)",
        "vars(operator)['heappush'](x)",
        "sys.path['heapq'].heappush",
        "heapq.__dict__.update('heappush')",
        "heapq.__dict__.get()",
        "getattr(heapq, '-'.join(['heap', 'push']))",
        "getattr(heapq, 'heap' * 2)",
        "''.join('heapq').heappush",
        "'heapq'.join(['a']).heappush(x)",
        "'heapq'.heappush",
        "type('heapq', (), {}).heappush(x)",
        "type(heapq, 'heappush', x)",
        "getattr(heapq), getattr('heappush'), getattr(), vars(), type(), operator.attrgetter()",
    ],
)
def test_what_does_not_lead_to_it_is_not_taken_for_it(line):
    assert breaches(HEAPS + body(f"return {line}"), "heapq.heappush") == []


@pytest.mark.parametrize(
    ("forbidden", "line"),
    [
        ("torch.log_softmax", "x.log_softmax(-1)"),
        ("torch.log_softmax", "nn.LogSoftmax(-1)(x)"),
        ("torch.logsumexp", "torch.special.logsumexp(x, -1)"),
        ("torch.logsumexp", "x.logcumsumexp(-1)[..., -1]"),
        ("torch.logsumexp", "torch.ops.aten.logsumexp(x, -1)"),
        ("@", "x @ x"),
        ("@", "torch.einsum('ij,jk', x, x)"),
        ("torch.matmul", "x @ x"),
        ("torch.matmul", "x.__matmul__(x)"),
        ("torch.matmul", "x.mm(x)"),
        ("torch.matmul", "x.addmm_(x, x)"),
        ("torch.matmul", "torch.bmm(x, x)"),
        ("torch.matmul", "F.linear(x, x)"),
        ("torch.matmul", "nn.Linear(3, 3)(x)"),
        ("torch.matmul", "torch.linalg.multi_dot([x, x])"),
        ("torch.matmul", "torch.chain_matmul(x, x)"),
        ("torch.matmul", "torch.functional.tensordot(x, x)"),
        ("torch.matmul", "np.matmul(x, x)"),
        ("torch.matmul", "np.einsum('ij,jk', x, x)"),
        ("torch.matmul", "np.linalg.multi_dot([x, x])"),
        ("torch.matmul", "torch._numpy.matmul(x, x)"),
        ("torch.matmul", "x.numpy().dot(x)"),
        ("torch.matmul", "operator.matmul(x, x)"),
        ("torch.matmul", "functools.reduce(operator.matmul, [x, x])"),
        ("torch.matmul", "torch.ops.aten.mm.default(x, x)"),
        ("torch.matmul", "torch.sparse.mm(x, x)"),
        ("numpy.matmul", "x @ x"),
        ("torch.bmm", "x.bmm(x)"),
        ("torch.einsum", "np.einsum('ij', x)"),
        ("torch.nn.functional.linear", "nn.Linear(1, 2)"),
        ("torch.nn.functional.one_hot", "F.one_hot(x)"),
        ("torch.nn.functional.one_hot", "torch._C._nn.one_hot(x)"),
        ("torch.nn.functional.embedding", "nn.Embedding(1, 1)(x)"),
        ("torch.nn.Embedding", "F.embedding_bag(x, x)"),
        ("torch.Tensor.unfold", "x.unfold(0, 1, 1)"),
        ("torch.Tensor.unfold", "np.lib.stride_tricks.sliding_window_view(x, 2)"),
        ("torch.nn.Unfold", "x.unfold(0, 1, 1)"),
        ("torch.cdist", "nn.PairwiseDistance()(x, x)"),
        ("torch.cdist", "F.pdist(x)"),
        ("torch.broadcast_shapes", "np.broadcast(x, x).shape"),
        ("torch.broadcast_shapes", "torch.broadcast_tensors(x, x)"),
        ("torch.autograd.grad", "x.backward()"),
        ("torch.autograd.grad", "torch.func.grad(x)"),
        ("torch.autograd.grad", "torch.autograd.functional.jacobian(x, x)"),
        ("torch.autograd.grad", "torch.autograd.gradcheck.gradcheck(x, x)"),
        ("torch.autograd.grad", "torch._functorch.eager_transforms.grad(x)"),
        ("torch.autograd.grad", "torch.autograd.Variable._execution_engine.run_backward(x)"),
        ("torch.autograd.grad", "torch.jit.CompilationUnit(x)"),
        ("torch.autograd.grad", "torch._C._jit_get_operation(x)"),
        ("torch.Tensor.backward", "torch.ops.aten._backward(x, [x])"),
        ("torch.nn.functional.scaled_dot_product_attention", "F.scaled_dot_product_attention(x, x, x)"),
        ("torch.nn.functional.scaled_dot_product_attention", "torch._C._nn.scaled_dot_product_attention(x, x, x)"),
        ("torch.nn.functional.scaled_dot_product_attention", "torch.onnx.ops.attention(x, x, x)"),
        ("torch.nn.functional.scaled_dot_product_attention", "torch.ops.onnx.Attention.opset23(x, x, x)"),
        ("torch.nn.functional.scaled_dot_product_attention", "nn.MultiheadAttention(2, 1)"),
        ("torch.nn.functional.scaled_dot_product_attention", "nn.TransformerEncoderLayer(2, 1)"),
        ("torch.nn.functional.scaled_dot_product_attention", "F.multi_head_attention_forward(x)"),
        (
            "torch.nn.functional.scaled_dot_product_attention",
            "torch.nn.attention.flex_attention.flex_attention(x, x, x)",
        ),
        (
            "torch.nn.functional.scaled_dot_product_attention",
            "torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default(x, x, x)",
        ),
        ("torch.nn.MultiheadAttention", "nn.modules.activation.MultiheadAttention(2, 1)"),
        ("torch.nn.LayerNorm", "F.layer_norm(x, (2,))"),
        ("torch.nn.functional.layer_norm", "torch.native_layer_norm(x)"),
        ("torch.nn.RMSNorm", "torch.rms_norm(x, (2,))"),
        ("torch.nn.GELU", "F.gelu(x)"),
        ("torch.nn.functional.gelu", "torch.ops.aten.gelu(x)"),
        ("torch.nn.functional.silu", "nn.SiLU()(x)"),
        ("torch.nn.functional.cross_entropy", "nn.CrossEntropyLoss()(x, x)"),
        ("torch.nn.functional.cross_entropy", "F.nll_loss(x, x)"),
        ("torch.nn.functional.cross_entropy", "torch._decomp.decompositions.nll_loss_forward(x, x, None, 1, -100)[0]"),
        ("torch.softmax", "torch._decomp.decompositions._softmax(x, -1, False)"),
        ("torch.optim", "torch.optim.SGD([x])"),
        ("torch.optim", "torch.optim.adamw.AdamW([x])"),
        ("torch.optim.AdamW", "torch.optim.adamw.AdamW([x])"),
        ("torch.nn.utils.clip_grad_norm_", "nn.utils.clip_grad.clip_grad_norm_(x)"),
        ("heapq", "heapq.heappush(x, 1)"),
        ("torch.matmul", "torch.ops.mkldnn._linear_pointwise(x, x, None, 'none', [], '')"),
        ("torch.matmul", "torch.ops.mkldnn._convolution_pointwise_(x, x)"),
        ("heapq", "importlib.import_module('heapq').heappush(x, 1)"),
        ("heapq", "__import__('heapq').nlargest(1, x)"),
        ("heapq", "[h for h in (heapq,)]"),
        ("functools.cache", "functools.lru_cache(None)(x)"),
        ("functools.cache", "__import__('_functools')._lru_cache_wrapper(x, None, False, tuple)"),
        ("torch.nn.functional.gelu", "torch._addmm_activation(x, x, x, use_gelu=True)"),
        ("torch.multinomial", "x.multinomial(1)"),
        ("torch.multinomial", "torch.distributions.categorical.Categorical(x).sample()"),
        ("torch.topk", "x.topk(1)"),
        ("torch.special.entr", "torch.distributions.Categorical(x).entropy()"),
        ("torch.tril", "x.tril_()"),
        ("torch.tril", "np.tril(x)"),
        ("torch.sort", "torch.exp(x).sort()"),
        ("torch.linalg.norm", "torch.linalg.norm(x)"),
        ("torch.nn.functional.group_norm", "nn.GroupNorm(1, 2)(x)"),
        ("torch.nn.GroupNorm", "F.group_norm(x, 1)"),
        ("torch.nn.functional.instance_norm", "nn.InstanceNorm1d(2)(x)"),
        ("torch.nn.BatchNorm2d", "F.batch_norm(x)"),
        ("torch.nn.functional.mse_loss", "nn.MSELoss()(x, x)"),
        ("torch.nn.MSELoss", "F.mse_loss(x, x)"),
        ("torch.nn.Conv2d", "F.conv2d(x, x)"),
        ("torch.nn.Transformer.generate_square_subsequent_mask", "nn.Transformer().generate_square_subsequent_mask(3)"),
        ("torch.distributions", "torch.distributions.Categorical(x).entropy()"),
        ("str.encode", "x.encode()"),
        ("str.encode", "'text'.encode()"),
        ("str.encode", "str.encode(x)"),
        ("sorted", "sorted(x)"),
        ("torch.nn.functional.scaled_dot_product_attention", "__import__('flash_attn').flash_attn_func(x)"),
    ],
)
def test_a_family_is_found_in_each_of_its_forms(forbidden, line):
    assert breaches(body(f"return {line}"), forbidden)


@pytest.mark.parametrize(
    ("forbidden", "line"),
    [
        ("torch.einsum", "x @ x"),
        ("torch.matmul", "torch.ops.mkldnn.max_pool2d(x, 2)"),
        ("torch.einsum", "torch.bmm(x, x)"),
        ("torch.bmm", "x @ x"),
        ("torch.nn.functional.linear", "x @ x"),
        ("torch.softmax", "x.log_softmax(-1)"),
        ("torch.nn.MultiheadAttention", "F.scaled_dot_product_attention(x, x, x)"),
        ("torch.nn.attention.flex_attention", "F.scaled_dot_product_attention(x, x, x)"),
        ("torch.nn.TransformerEncoderLayer", "nn.MultiheadAttention(2, 1)"),
        ("torch.special.entr", "torch.multinomial(x, 1)"),
        ("torch.optim.AdamW", "torch.optim.SGD([x])"),
        ("torch.triu", "x.tril()"),
        ("torch.nn.Conv2d", "nn.Conv1d(1, 1, 1)"),
        ("torch.nn.functional.group_norm", "nn.LayerNorm(2)"),
        ("torch.nn.Transformer.generate_square_subsequent_mask", "nn.Transformer()"),
        ("torch.matmul", "torch.Generator().dot"),
        ("torch.matmul", "(x * x).sum(-1)"),
        ("torch.sort", "[3, 1].sort()"),
        ("torch.sort", "x.sort()"),
        ("torch.split", "'a b'.split()"),
        ("torch.split", "x.split(' ')"),
        ("torch.where", "np.where(x)"),
        ("sorted", "x.sorted()"),
        ("str.encode", "torch.exp(x).encode()"),
        ("heapq", "queue.heappush(x)"),
        ("heapq", "x.heappush(1)"),
        ("torch.nn.utils.clip_grad_norm_", "nn.utils.clip_grad_value_(x, 1)"),
        ("torch.autograd.grad", "torch.autograd.Function"),
    ],
)
def test_a_family_ends_where_it_should(forbidden, line):
    assert breaches(body(f"return {line}"), forbidden) == []


def test_the_at_sign_of_an_assignment_counts():
    assert breaches(body("x @= x", "return x"), "@")[0].call == "@"


def test_unused_imports_and_decorators_of_the_standard_library():
    assert breaches("import heapq\nimport bisect\n" + body("return x"), "heapq", "bisect") == []
    assert breaches("@functools.cache\ndef target(x):\n    return x\n", "functools.cache")
    assert breaches("from functools import lru_cache as memo\n@memo\ndef target(x):\n    return x\n", "functools.cache")
    assert breaches("from heapq import *\n" + body("heappush(x, 1)"), "heapq")


def test_a_star_brings_only_the_built_in_names_that_are_there():
    star = "from torch import *\nfrom numpy import *\nfrom heapq import *\n"
    assert breaches(star + body("return [len(pair) for pair in zip(sorted(x), reversed(x))]"), "torch", "numpy") == []
    assert [each.call for each in breaches(star + body("return sum(x)"), "torch")] == ["torch.sum"]
    assert breaches(star + body("return max(x)"), "numpy") and breaches(star + body("return exp(x)"), "torch")


def test_triton_is_for_modules_that_preload_it():
    kernel = "import triton\nimport triton.language as tl\n@triton.jit\ndef kernel(x):\n    tl.softmax(x)\n"
    found = breaches(kernel + body("kernel[(1,)](x)"), "torch.exp")
    assert {each.call for each in found} == {"triton.jit", "triton.language.softmax"}
    why = "(reached through kernel): exercises are written with Python, NumPy and PyTorch."
    assert all(each.message.endswith(why) for each in found)
    assert breaches(kernel + body("return x"), "torch.exp") == [] == breaches(kernel + body("kernel[(1,)](x)"))
    with_kernels = module(("target", ["torch.exp"])).model_copy(update={"preload": ("triton.experimental.gluon",)})
    assert check(with_kernels, {"work.py": HEAD + kernel + body("kernel[(1,)](x)")}) == []
    rules = runtime_rules(module(("target", ["torch.exp"]))), runtime_rules(with_kernels)
    assert ["triton.jit" in each["target"]["python"] for each in rules] == [True, False]


def test_tables_of_operators_are_forbidden_where_an_operator_is():
    found = "return [f for op, f in {}.items() if 'softmax' in str(op)][0](x, dim, False)"
    for table in ("torch._decomp.decomposition_table", "torch._inductor.decomposition.decompositions"):
        assert breaches("import torch._inductor.decomposition\n" + body(found.format(table)), "torch.softmax")
    assert breaches(body("import torch._decomp as d", "return d.get_decompositions(x)"), "@")
    assert breaches("import torch._inductor.config\n" + body("torch._inductor.config.debug = True"), "torch.softmax") == []


def test_each_exercise_answers_for_itself():
    rules = module(("first", []), ("second", ["torch.softmax"]), ("third", ["torch.softmax", "@"]))
    source = HEAD + textwrap.dedent("""
    def _helper(x):
        return x @ x
    def first(x):
        return torch.softmax(x, -1)
    def second(x):
        return first(x)
    class third:
        def go(self, x):
            return _helper(second(x))
    """)
    (breach,) = check(rules, {"work.py": source})
    assert (breach.exercise, breach.file, breach.call) == ("third", "work.py", "@")
    assert source.splitlines()[breach.line - 1].strip() == "return x @ x"
    assert breach.message == (
        f"work.py, line {breach.line}: @ is not allowed in third (reached through _helper): "
        "this exercise asks you to write it yourself."
    )
    (breach,) = breaches(body("exec('y = 1\\n\\n\\ny = x.softmax(-1)')", "return y"), "torch.softmax")
    assert breach.line == HEAD.count("\n") + 2  # of the text that is run: where it stands
    (breach,) = breaches("\n\nfrom torch import softmax as target\n", "torch.softmax")
    assert breach.line == HEAD.count("\n") + 3


def test_a_later_exercise_is_a_helper_of_an_earlier_one():
    rules = module(("first", ["torch.softmax"]), ("second", ["torch.softmax"]), ("third", ["torch.softmax"]))
    for first in ("def first(x): return second(x)", "class first(second): pass", "first = second"):
        source = HEAD + f"def second(x):\n    return torch.softmax(x, -1)\n{first}\ndef third(x): return second(x)\n"
        assert [breach.exercise for breach in check(rules, {"work.py": source})] == ["first", "second"], first


def test_a_call_of_another_exercise_is_not_a_call_of_its_namesake_in_torch():
    rules = module(("softmax", ["torch.softmax"]), ("attention", ["torch.softmax"]))
    source = HEAD + "def softmax(x):\n    return x.exp()\ndef attention(x):\n    return softmax(x)\n"
    assert check(rules, {"work.py": source}) == []
    source = (
        HEAD + "from torch import *\ndef softmax(x):\n    return x.exp()\ndef attention(x):\n    return softmax(x)\n"
    )
    assert check(rules, {"work.py": source}) == []
    source = HEAD + "softmax = torch.softmax\ndef attention(x):\n    return softmax(x, -1)\n"
    assert {breach.exercise for breach in check(rules, {"work.py": source})} == {"softmax", "attention"}


def test_the_line_is_that_of_the_call():
    (breach,) = breaches(body("y = x", "return torch.softmax(y, dim)"), "torch.softmax")
    assert breach.line == HEAD.count("\n") + 3
    assert breach.call == "torch.softmax"
    assert breach.message == (
        f"work.py, line {breach.line}: torch.softmax is not allowed in target: "
        "this exercise asks you to write it yourself."
    )


def test_a_package_with_a_module_called_torch_is_not_torch():
    subject = module(("write", ["safetensors"]))
    source = "def write(x):\n    from safetensors.torch import save_file\n    save_file(x)\n"
    assert [breach.call for breach in check(subject, {"work.py": source})][:1] == ["safetensors.torch.save_file"]


def test_packages_that_no_exercise_is_made_of_are_found_where_they_are_used():
    head = HEAD + "import pydantic_core as core\nfrom rich import print\nfrom numpy.lib import stride_tricks\n"
    (breach,) = breaches(body("return core.SchemaValidator(x)"), "torch.softmax", head=head)
    assert breach.call == "pydantic_core"
    why = "pydantic_core is not allowed in target: exercises are written with Python, NumPy and PyTorch."
    assert breach.message == f"work.py, line {breach.line}: {why}"
    fine = body("print(x, stride_tricks, importlib, F, sys.modules['numpy'])", "return x")
    assert breaches(fine, "torch.softmax", head=head) == []
    assert breaches(body("return core.SchemaValidator(x)"), head=head) == []  # where nothing is forbidden at all
    assert [breach.call for breach in breaches(body("return __import__('attrs').x"), "torch.softmax")] == ["attrs"]
    files = {"engine.py": "def helper(x): return x\n", "work.py": "import engine\ndef target(x): return engine.helper(x)\n"}
    assert check(module(("target", ["torch.softmax"]), files=tuple(files), places={"target": "work.py"}), files) == []


def test_helpers_in_another_file_of_the_module_are_reached():
    files = ("engine.py", "loop.py", "deep/inner.py")
    rules = module(("other", []), ("target", ["torch.softmax"]), files=files, places={"target": "loop.py"})
    helper = "import torch\ndef helper(x):\n    return x.softmax(-1)\ndef other(x):\n    return x.softmax(-1)\n"
    for lines in (
        ["from exercises.engine import helper", "def target(x): return helper(x)"],
        ["from solutions.engine import helper as h", "def target(x): return h(x)"],
        ["from .engine import helper", "def target(x): return helper(x)"],
        ["from exercises.engine import *", "def target(x): return helper(x)"],
        ["from exercises import engine", "def target(x): return engine.helper(x)"],
        ["import exercises.engine", "def target(x): return exercises.engine.helper(x)"],
        ["import exercises.engine as e", "def target(x): return getattr(e, 'helper')(x)"],
        ["def target(x):", "    from exercises.engine import helper", "    return helper(x)"],
        ["from exercises.deep.inner import again", "def target(x): return again(x)"],
    ):
        inner = "from ..engine import helper as again\n"
        found = check(rules, {"engine.py": helper, "loop.py": "\n".join(lines), "deep/inner.py": inner})
        assert [(breach.exercise, breach.file, breach.line) for breach in found] == [("target", "engine.py", 3)], lines
    innocent = "from exercises.engine import other\ndef target(x): return other(x)\n"
    assert check(rules, {"engine.py": helper, "loop.py": innocent}) == []


def test_what_another_file_puts_in_an_exercises_place_is_reached():
    rules = module(("target", ["torch.softmax"]), ("other", []), files=("loop.py", "engine.py"), places={"target": "engine.py"})
    engine = "def target(x): raise NotImplementedError\n"
    helper = "import torch\ndef mine(x):\n    return x.softmax(-1)\ndef other(x):\n    return x.softmax(-1)\n"
    for lines in (
        ["from exercises import engine", "engine.target = mine"],
        ["import exercises.engine as e", "e.target = mine"],
        ["import exercises.engine", "exercises.engine.target = mine"],
        ["from . import engine", "engine.target = mine"],
        ["from exercises import engine", "setattr(engine, 'target', mine)"],
    ):
        found = check(rules, {"engine.py": engine, "loop.py": helper + "\n".join(lines)})
        assert [(breach.exercise, breach.file, breach.line) for breach in found] == [("target", "loop.py", 3)], lines
    innocent = "from exercises import engine\ndef mine(x): return engine.target(x)\n"
    assert check(rules, {"engine.py": engine, "loop.py": helper + innocent}) == []
    third = {"engine.py": engine, "more.py": engine, "loop.py": helper + "from exercises import more\nmore.target = mine\n"}
    assert check(rules.model_copy(update={"files": tuple(third)}), third) == []


def test_a_missing_or_broken_file_has_no_breaches():
    rules = module(("target", ["torch.softmax"]), files=("work.py", "more.py"))
    good = HEAD + body("return x.softmax(-1)")
    assert check(rules, {}) == []
    assert check(rules, {"work.py": "def target(:\n"}) == []
    assert check(rules, {"work.py": "x = 1\n"}) == []
    assert len(check(rules, {"work.py": good, "more.py": "def ("})) == 1


def test_breaches_are_in_the_order_of_exercises_and_lines_and_bounded():
    rules = module(("second", ["@"]), ("first", ["@"]))
    source = "def first(x):\n    return x @ x\ndef second(x):\n" + "    x = x @ x\n" * 100
    found = check(rules, {"work.py": source})
    assert [breach.exercise for breach in found] == ["second"] * 20 + ["first"]
    assert [breach.line for breach in found][:20] == list(range(4, 24))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("torch._C._nn.gelu", "torch.nn.functional.gelu"),
        ("torch.functional.einsum", "torch.einsum"),
        ("torch._C.TensorBase.softmax", "torch.Tensor.softmax"),
        ("torch._C._TensorBase.softmax", "torch.Tensor.softmax"),
        ("torch.FloatTensor.softmax", "torch.Tensor.softmax"),
        ("torch.Tensor.softmax", "torch.Tensor.softmax"),
        ("torch.Tensor.numpy", "torch.Tensor.numpy"),
        ("torch.from_numpy", "torch.from_numpy"),
        ("torch.nn.modules.linear.Linear", "torch.nn.Linear"),
        ("torch._refs.nn.functional.gelu", "torch.nn.functional.gelu"),
        ("torch.functional.torch._VF.einsum", "torch.einsum"),
        ("exercises.attention.np.einsum", "numpy.einsum"),
        ("numpy.core.multiarray.dot", "numpy.dot"),
        ("heapq.heappush", "heapq.heappush"),
    ],
)
def test_a_name_has_one_canonical_form(path, name):
    assert canonical(path) == name
    assert canonical(name) == name


def test_every_form_of_a_family_means_the_family():
    assert family_of("torch.softmax") == family_of("torch.nn.Softmax") == family_of("torch.nn.functional.softmax")
    assert family_of("torch.matmul") == family_of("@")
    assert family_of("torch.optim.Adam").names == {"torch.optim.Adam"}
    assert family_of("torch.cumsum").methods == {"cumsum"}


def test_rules_for_run_time_are_plain_data_for_each_exercise():
    rules = runtime_rules(
        module(("a", ["torch.softmax"]), ("b", []), ("c", ["@", "heapq"]), ("d", ["torch.optim", "str.encode"]))
    )
    assert list(rules) == ["a", "c", "d"]
    for rule in rules.values():
        assert set(rule) == {"functions", "operators", "python", "classes"}
        assert all(names == sorted(set(names)) for names in rule.values())
        assert all(isinstance(name, str) for names in rule.values() for name in names)
    assert {"torch.softmax", "torch.Tensor.softmax", "torch.nn.functional.softmax"} <= set(rules["a"]["functions"])
    assert {"softmax", "_softmax", "_safe_softmax"} <= set(rules["a"]["operators"])
    assert "torch.nn.Softmax" in rules["a"]["classes"]
    assert {"heapq.heappush", "numpy.matmul", "operator.matmul"} <= set(rules["c"]["python"])
    assert {"torch.Tensor.__matmul__", "torch.Tensor.__rmatmul__"} <= set(rules["c"]["functions"])
    assert {"mm", "bmm", "mv", "dot", "addmm", "baddbmm"} <= set(rules["c"]["operators"])
    assert rules["d"]["python"] == sorted(KERNELS)
    assert rules["d"]["classes"] == ["torch.distributed.optim", "torch.optim"]


def test_a_narrow_entry_does_not_catch_the_at_sign_at_run_time():
    for entry in ("torch.einsum", "torch.bmm", "torch.mm", "torch.nn.functional.linear", "torch.tensordot"):
        (rule,) = runtime_rules(module(("a", [entry]))).values()
        assert not {"mm", "bmm", "mv", "dot", "addmm", "matmul"} & set(rule["operators"])
        assert "torch.Tensor.__matmul__" not in rule["functions"]


def test_the_tables_names_exist_in_torch():
    """A typing mistake in the table would be a hole: the forms that students use must be real."""
    torch = pytest.importorskip("torch")
    for entry in (
        "torch.softmax", "torch.log_softmax", "torch.logsumexp", "torch.matmul", "torch.cdist", "torch.tril",
        "torch.nn.functional.one_hot", "torch.nn.functional.embedding", "torch.nn.functional.cross_entropy",
        "torch.nn.LayerNorm", "torch.nn.RMSNorm", "torch.nn.GELU", "torch.nn.MultiheadAttention", "torch.multinomial",
        "torch.nn.functional.scaled_dot_product_attention", "torch.autograd.grad", "torch.broadcast_shapes",
    ):  # fmt: skip
        family = family_of(entry)
        operators = [name for name in family.operators if not hasattr(torch.ops.aten, name)]
        assert len(operators) <= len(family.operators) // 2, (entry, operators)
        missing = [name for name in family.methods if not hasattr(torch.Tensor, name)]
        assert missing in ([], ["__imatmul__"]), entry


# Parsing


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\ndef f(:\n", 2),
        ("x = (\n", 1),
        ("\tx = 1\n        y = 2\n", 1),
        ("'abc", 1),
        ("x = 1\0", None),
        ("\ud800", None),
    ],
)
def test_a_syntax_error_has_a_line_and_a_reason(text, line):
    problem = parse("work.py", text)
    assert isinstance(problem, SyntaxProblem)
    assert line is None or problem.line == line
    assert problem.message


BOMBS = [
    "(" * 100_000,
    "x = " + "(" * 150 + "1" + ")" * 150,
    "x = " + "[" * 50_000 + "]" * 50_000,
    "x = " + "-" * 200_000 + "1",
    "x = " + "not " * 60_000 + "1",
    "x = " + "1+" * 120_000 + "1",
    "x = " + "a." * 120_000 + "a",
    "x = a" + "()" * 120_000,
    "x = a" + "[0]" * 80_000,
    "x = " + "lambda: " * 30_000 + "1",
    "x = " + "1 if 1 else " * 20_000 + "1",
    "x = " + "1 ** " * 50_000 + "1",
    "x = " + "f'{" * 100 + "1" + "}'" * 100,
    "\n".join(" " * depth + "if 1:" for depth in range(90)) + "\n" + " " * 90 + "pass",
    "x = " + "{" * 90 + "**{" * 5,
    "x = " + "'a' " * 60_000,
    "x = " + "9" * 5000,
    "async " * 40_000,
    "def f():\n" + "  yield " * 30_000,
    "@f\n" * 80_000 + "def f(): pass",
    "x = " + "a := " * 50_000 + "1",
    "if 1: pass\n" + "elif 1: pass\n" * 19_000,
]


@pytest.mark.parametrize("text", BOMBS)
def test_nesting_bombs_end_in_a_tree_or_a_problem(text):
    assert len(text) <= 256 * 1024
    assert isinstance(parse("work.py", text), ast.Module | SyntaxProblem)
    check(module(("target", ["torch.softmax", "@"])), {"work.py": text + "\n" + body("return x")})
    built_on(module(("target", [])), {"work.py": text + "\n" + body("return x")})


FLOODS = [
    "x = 1\n" * 40_000,
    "F = 1\n" * 10_000 + "import torch.nn.functional as F\n" + "F.a\n" * 20_000,
    "def target(x):\n" + "    x = x.a(x)\n" * 15_000,
    "def target(x):\n" + "    x = x + f(x)\n" * 12_000 + "    return x.softmax(-1)\n",
    "a0 = torch\n" + "".join(f"a{n + 1} = a{n}\n" for n in range(12_000)) + "def target(x): return a12000.softmax(x)\n",
    "".join(f"def f{n}(): return f{n + 1}()\n" for n in range(6_000)) + "def target(): return f0()\n",
    "".join(f"def f{n}(): return f{n - 1}, f{n + 1}, f{n // 2}\n" for n in range(5_000))
    + "def target(): return f9()\n",
    "def target(x):\n    return [" + "x.a," * 60_000 + "]\n",
    "s = 'a'\n" + "s = s + s\n" * 20_000 + "def target(x): return getattr(torch, s)\n",
    "if x:\n" + "    from torch import softmax as target\n" * 5_000,
    "from torch import *\n" * 10_000 + "def target(x):\n" + "    u(x)\n" * 5_000,
    "def target(x):\n" + "    eval('x.softmax(1)')\n" * 8_000,
    "def target(x):\n" + "    globals()['target']\n" * 8_000,
    "class target:\n" + "    def f(self): return self.f\n" * 7_000,
]


@pytest.mark.parametrize("text", FLOODS)
def test_a_flood_of_source_is_looked_through(text):
    """Work that grows with the square of the source would take minutes here and be stopped by the suite's own limit."""
    assert len(text) <= 256 * 1024
    course = module(("target", ["torch.softmax", "@"]), ("other", ["heapq"]))
    check(course, {"work.py": HEAD + text})
    built_on(course, {"work.py": HEAD + text})


@pytest.mark.parametrize("line", ["real = np.matmul.__closure__", "seen = getattr(np.matmul, '__globals__')",
                                  "above = sys._getframe(1).f_locals"])  # fmt: skip
def test_a_way_into_the_variables_of_others_is_a_breach_wherever_it_stands(line):
    course = module(("target", ["torch.softmax"]), ("other", []))
    (breach,) = check(course, {"work.py": HEAD + body("return x") + f"\n{line}\n"})
    assert breach.exercise == "target" and "variables of functions that are not yours" in breach.message
    assert not check(course, {"work.py": HEAD + body("return x") + f"\n# {line}\n"})


def test_names_and_functions_that_the_compiler_would_take_long_for_are_a_problem():
    """It tells each function of all names around it; what is as long but plain is none."""
    names, functions = "".join(f"a{i} = " for i in range(20_000)) + "0", "[" + "lambda: 0, " * 8_000 + "]"
    assert parse("work.py", f"def f():\n    {names}\n    {functions}\n") == SyntaxProblem(0, "too many names and functions")
    for text in (names, f"x = {functions}"):
        assert isinstance(parse("work.py", text), ast.Module)


def test_a_flood_of_fields_in_f_strings_is_a_problem():
    """To parse them took the square of their number, before Python 3.12; braces elsewhere are none of them."""
    for text in ("x = f'" + "{a}" * 20_000 + "'\n", "x = (\n" + "rF'{a}'\n" * 20_000 + ")\n"):
        problem = getattr(parse("work.py", text), "message", "")
        assert problem == ("too many fields in f-strings" if sys.version_info < (3, 12) else "")
    for text in ("x = '" + "{a}" * 20_000 + "'\n", "x = [" + "{}, " * 20_000 + "]\n", "x = f'" + "{a}" * 9_000 + "'\n"):
        assert isinstance(parse("work.py", text), ast.Module)
    assert parse("work.py", "x = '" + "{" * 20_000).message != "too many fields in f-strings"


@pytest.mark.parametrize("line", ["isinstance(x, dict)", "isinstance(x, (list, dict))", "issubclass(type(x), dict)",
                                  "match_it(x)"])  # fmt: skip
def test_to_ask_for_a_type_is_not_to_use_it(line):
    helper = "def match_it(x):\n    match x:\n        case dict():\n            return 1\n"
    assert not breaches(helper + body(f"return {line}"), "dict")


@pytest.mark.parametrize("line", ["isinstance(x, d := dict)", "isinstance(dict(), list)", "isinstance(x, [dict][0])",
                                  "issubclass(dict, list)", "mine(x, dict)", "isinstance(x, dict())",
                                  "isinstance(x, (dict, make(dict)))"])  # fmt: skip
def test_a_type_that_is_more_than_asked_for_is_used(line):
    helper = "def mine(x, kind):\n    return kind()\n"
    assert breaches(helper + body(f"return {line}"), "dict")
    assert breaches("def isinstance(x, kind):\n    return kind()\n" + body("return isinstance(x, dict)"), "dict")


def test_a_call_behind_a_flood_is_found():
    text = HEAD + "x = 1\n" * 20_000 + body("y = x" + ".a" * 200, *["y = y + 1"] * 5_000, "return y.softmax(-1)")
    assert len(check(module(("target", ["torch.softmax"])), {"work.py": text})) == 1


FRAGMENTS = st.sampled_from(
    ["torch", "softmax", "x", ".", "(", ")", "[", "]", "{", "}", " = ", ":", ":=", ",", "@", "*", "**", "\n", "    ",
     "def target(x):\n    ", "class target:\n    ", "for x in x:\n        ", "if x:\n        ", " if x else ",
     "lambda x: ", "return ", "await ", "yield ", "global target\n",
     "import torch\n", "from torch import *\n", "'softmax'", "''",
     "'a.b'", "getattr", "setattr", "globals()", "eval"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(FRAGMENTS, max_size=30))
def test_the_check_takes_any_text(fragments):
    check(module(("target", ["torch.softmax", "@", "heapq"])), {"work.py": "".join(fragments)})


def test_the_machines_own_sources_are_read_without_trouble():
    """Real code with every kind of statement."""
    for path in (Path(ast.__file__), Path(typing.__file__), Path(argparse.__file__)):
        check(module(("parse", ["torch.softmax", "sorted"]), files=("work.py",)), {"work.py": path.read_text()})


USES = {
    "by its name": "def second(x):\n    return first(x)",
    "through a helper": "def helper(x):\n    return first(x)\n\ndef second(x):\n    return helper(x)",
    "through a table": "KNOWN = {'one': first}\n\ndef second(x):\n    return KNOWN['one'](x)",
    "by another name": "alias = first\n\ndef second(x):\n    return alias(x)",
    "in a method": "class second:\n    def forward(self, x):\n        return first(x)",
    "as its base": "class second(first):\n    pass",
    "through the third": "def third(x):\n    return first(x)\n\ndef second(x):\n    return third(x)",
}


@pytest.mark.parametrize("text", USES.values(), ids=USES)
def test_which_exercises_an_exercise_is_built_on_is_known(text):
    course = module(("first", []), ("second", []), ("third", []))
    found = built_on(course, {"work.py": f"def first(x):\n    return x\n\n{text}\n"})
    assert found["first"] == [] and found["second"] == (["first", "third"] if "third" in text else ["first"])


@pytest.mark.parametrize(
    "text",
    [
        "def second(x):\n    first = abs\n    return first(x)",
        "def second(first):\n    return first",
        "def second(x):\n    return x.first",
        "def second(x):\n    'first'",
        "def second(x:",
        "",
    ],
)
def test_what_is_only_called_the_same_is_not_built_on(text):
    course = module(("first", []), ("second", []))
    assert built_on(course, {"work.py": f"def first(x):\n    return second(x)\n\n{text}\n"})["second"] == []


def test_exercises_of_other_files_and_circles_are_followed():
    course = module(("first", []), ("second", []), files=("work.py", "more.py"), places={"second": "more.py"})
    text = "from exercises.work import first\n\ndef second(x):\n    return second(first(x))\n"
    assert built_on(course, {"work.py": "def first(x):\n    return x\n", "more.py": text}) == {"first": [], "second": ["first"]}


def test_torch_as_a_whole_is_found_in_the_source_alone():
    """What runs an exercise is made of torch: to watch all of it would break the models that scenarios build."""
    course = module(("a", ["torch", "torch.Tensor.backward"]))
    (rule,) = runtime_rules(course).values()
    assert "torch" not in rule["python"] and "torch.autograd.grad" in rule["functions"]
    assert [breach.call for breach in check(course, {"work.py": "import torch as t\n\ndef a(x):\n    return t.zeros(x)\n"})]
