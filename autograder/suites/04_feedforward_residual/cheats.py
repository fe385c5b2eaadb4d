"""Submissions of module 04 that leave the work to a near relative of the forbidden call: each must score nothing."""

from textwrap import dedent as _dedent

from autograder.testing.variants import cheat

# A layer norm of leaves, with a graph, and a walk along one.
_GRAPH = """
import torch
from torch import nn


def _graph(x, weight, eps):
    with torch.enable_grad():
        leaves = [x.detach().clone(), weight.detach().clone(), torch.zeros_like(weight)]
        x, weight, bias = (leaf.requires_grad_() for leaf in leaves)
        centred = x - x.mean(-1, keepdim=True)
        y = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps) * weight + bias
    return y, (x, weight, bias)
"""
_WALK = """

def _walk(node, g, leaves):
    found, queue = {}, [(node, g)]
    while queue:
        node, g = queue.pop()
        if hasattr(node, "variable"):
            before = found.get(id(node.variable), 0)
            found[id(node.variable)] = before + g.sum_to_size(node.variable.shape)
            continue
        given = node(g)
        given = given if isinstance(given, tuple) else (given,)
        for (after, i), share in zip(node.next_functions, given):
            if after is not None and share is not None:
                inner = not hasattr(after, "variable")
                queue.append((after, share.sum_to_size(after._input_metadata[i].shape) if inner else share))
    return tuple(found[id(leaf)] for leaf in leaves)
"""

CHEATS = [
    cheat(
        "layer_norm_by_rms_norm",
        "The mean is subtracted by hand; PyTorch's RMS norm does the rest.",
        """
        import torch
        import torch.nn.functional as F
        from torch import nn


        class LayerNorm(nn.Module):
            def __init__(self, d_model, eps=1e-5):
                super().__init__()
                self.eps = eps
                self.weight = nn.Parameter(torch.ones(d_model))
                self.bias = nn.Parameter(torch.zeros(d_model))

            def forward(self, x):
                if x.shape[-1:] != self.weight.shape:
                    raise ValueError("width")
                centred = x - x.mean(-1, keepdim=True)
                return getattr(F, "rms" + "_norm")(centred, self.weight.shape, self.weight, self.eps) + self.bias
        """,
    ),
    cheat(
        "rms_norm_by_layer_norm",
        "x beside -x has mean 0, so that PyTorch's layer norm of both is the RMS norm.",
        """
        import torch
        import torch.nn.functional as F
        from torch import nn


        class RMSNorm(nn.Module):
            def __init__(self, d_model, eps=1e-6):
                super().__init__()
                self.eps = eps
                self.weight = nn.Parameter(torch.ones(d_model))

            def forward(self, x):
                d = len(self.weight)
                if x.shape[-1:] != (d,):
                    raise ValueError("width")
                pair = torch.cat([x, -x], dim=-1)
                return getattr(F, "layer" + "_norm")(pair, (2 * d,), eps=self.eps)[..., :d] * self.weight
        """,
    ),
    cheat(
        "memoize_by_typing",
        "The cache that the typing module has for itself, with the calls and runs counted around it.",
        """
        import functools
        import typing
        from typing import NamedTuple


        class CacheInfo(NamedTuple):
            hits: int
            misses: int


        def memoize(function):
            calls, runs = [], []

            def counted(*args, **kwargs):
                runs.append(1)
                return function(*args, **kwargs)

            cached = getattr(typing, "_tp" + "_cache")(counted)

            @functools.wraps(function)
            def remembering(*args, **kwargs):
                hash((args, tuple(kwargs.values())))
                calls.append(1)
                return cached(*args, **dict(sorted(kwargs.items())))

            remembering.cache_info = lambda: CacheInfo(len(calls) - len(runs), len(runs))
            return remembering
        """,
    ),
    cheat(
        "the_engine_itself",
        "Autograd's engine, under a name that is put together.",
        _GRAPH + _dedent("""

        def layer_norm_backward(grad_output, x, weight, eps):
            y, leaves = _graph(x, weight, eps)
            engine = getattr(getattr(torch.autograd, "elbairaV"[::-1]), "enigne_noitucexe_"[::-1])
            run = getattr(engine, "drawkcab_nur"[::-1])
            return run((y,), (grad_output,), False, False, leaves, allow_unreachable=False, accumulate_grad=False)
        """),
    ),
    cheat(
        "node_by_node",
        "No engine: the nodes of the graph are called one after the other.",
        _GRAPH + _WALK + _dedent("""

        def layer_norm_backward(grad_output, x, weight, eps):
            y, leaves = _graph(x, weight, eps)
            return _walk(getattr(y, "nf_darg"[::-1]), grad_output, leaves)
        """),
    ),
    cheat(
        "nodes_behind_a_node",
        "The nodes of the graph are found behind one of the student's own.",
        _GRAPH + _WALK + _dedent("""

        class _Last(torch.autograd.Function):
            @staticmethod
            def forward(ctx, y, nodes):
                nodes.append(ctx)
                return y.clone()

            @staticmethod
            def backward(ctx, g):
                return g, None


        def layer_norm_backward(grad_output, x, weight, eps):
            y, leaves = _graph(x, weight, eps)
            with torch.enable_grad():
                _Last.apply(y, nodes := [])
            return _walk(getattr(nodes[0], "snoitcnuf_txen"[::-1])[0][0], grad_output, leaves)
        """),
    ),
    cheat(
        "norms_of_batches",
        "Each row is a channel of a batch of one: PyTorch's batch norm does the rest, and for RMS norm on x beside -x.",
        """
        import torch
        import torch.nn.functional as F
        from torch import nn


        class LayerNorm(nn.Module):
            def __init__(self, d_model, eps=1e-5):
                super().__init__()
                self.eps = eps
                self.weight = nn.Parameter(torch.ones(d_model))
                self.bias = nn.Parameter(torch.zeros(d_model))

            def forward(self, x):
                d = len(self.weight)
                if x.shape[-1] != d:
                    raise ValueError("width")
                z = torch._native_batch_norm_legit(x.reshape(1, -1, d), None, None, True, 0.0, self.eps)[0]
                return z.reshape(x.shape) * self.weight + self.bias


        class RMSNorm(nn.Module):
            def __init__(self, d_model, eps=1e-6):
                super().__init__()
                self.eps = eps
                self.weight = nn.Parameter(torch.ones(d_model))

            def forward(self, x):
                d = len(self.weight)
                if x.shape[-1] != d:
                    raise ValueError("width")
                z = F.batch_norm(torch.cat([x, -x], -1).reshape(1, -1, 2 * d), None, None, training=True, eps=self.eps)
                return z[..., :d].reshape(x.shape) * self.weight
        """,
    ),
    cheat(
        "somebody_elses_memory",
        "Another package that is installed beside PyTorch remembers results.",
        """
        import functools
        from typing import NamedTuple

        from prompt_toolkit.cache import memoized


        class CacheInfo(NamedTuple):
            hits: int
            misses: int


        def memoize(function):
            calls, runs = [], []

            def counted(*args, **kwargs):
                runs.append(1)
                return function(*args, **kwargs)

            cached = memoized(maxsize=1 << 60)(counted)

            @functools.wraps(function)
            def remembering(*args, **kwargs):
                calls.append(1)
                return cached(*args, **kwargs)

            remembering.cache_info = lambda: CacheInfo(len(calls) - len(runs), len(runs))
            return remembering
        """,
    ),
    cheat(
        "functools_once_more",
        "A second copy of functools, without its part in C.",
        """
        import functools
        import importlib.util
        import sys
        from typing import NamedTuple

        _part, sys.modules["_functools"] = sys.modules["_functools"], None
        _spec = importlib.util.spec_from_file_location("other", importlib.util.find_spec("functools").origin)
        _other = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(_other)
        sys.modules["_functools"] = _part


        class CacheInfo(NamedTuple):
            hits: int
            misses: int


        def memoize(function):
            calls, runs = [], []

            def counted(*args, **kwargs):
                runs.append(1)
                return function(*args, **kwargs)

            cached = getattr(_other, "ehcac_url"[::-1])(maxsize=None)(counted)

            @functools.wraps(function)
            def remembering(*args, **kwargs):
                hash((args, tuple(kwargs.values())))
                calls.append(1)
                return cached(*args, **dict(sorted(kwargs.items())))

            remembering.cache_info = lambda: CacheInfo(len(calls) - len(runs), len(runs))
            return remembering
        """,
    ),
    cheat(
        "the_engine_in_a_text",
        "Autograd's engine, called by code that is made of a text.",
        _GRAPH + _dedent("""

        _SCOPE = {}
        exec("def run(engine, *args, **kwargs): return getattr(engine, 'drawkcab_nur'[::-1])(*args, **kwargs)", _SCOPE)


        def layer_norm_backward(grad_output, x, weight, eps):
            y, leaves = _graph(x, weight, eps)
            engine = getattr(getattr(torch.autograd, "elbairaV"[::-1]), "enigne_noitucexe_"[::-1])
            args = (engine, (y,), (grad_output,), False, False, leaves)
            return _SCOPE["run"](*args, allow_unreachable=False, accumulate_grad=False)
        """),
    ),
    cheat(
        "remembered_since_the_import",
        "One of functools' memories is made while the file is imported, under a name that is put together.",
        """
        import functools
        import sys
        from typing import NamedTuple

        _BOX = []


        def _fill():
            remember = getattr(sys.modules["slootcnuf"[::-1]], "ehcac_url"[::-1])
            _BOX.append(remember(None)(lambda function, /, *args, **kwargs: function(*args, **kwargs)))


        _fill()


        class CacheInfo(NamedTuple):
            hits: int
            misses: int


        def memoize(function):
            calls, runs = [], []

            def counted(*args, **kwargs):
                runs.append(1)
                return function(*args, **kwargs)

            @functools.wraps(function)
            def remembering(*args, **kwargs):
                hash((args, tuple(kwargs.values())))
                calls.append(1)
                return _BOX[0](counted, *args, **dict(sorted(kwargs.items())))

            remembering.cache_info = lambda: CacheInfo(len(calls) - len(runs), len(runs))
            return remembering
        """,
    ),
    cheat(
        "backward_from_a_table",
        "PyTorch's own way to take the backward pass apart, found in a table by the operator's name.",
        """
        import sys

        import torch


        def layer_norm_backward(grad_output, x, weight, eps):
            table = getattr(sys.modules["pmoced_.hcrot"[::-1]], "elbat_noitisopmoced"[::-1])
            name = "tluafed.drawkcab_mron_reyal_evitan.neta"[::-1]
            (apart,) = [way for op, way in table.items() if str(op) == name]
            mean = x.mean(-1, keepdim=True)
            inverse = torch.rsqrt((x - mean).square().mean(-1, keepdim=True) + eps)
            return tuple(apart(grad_output, x, [x.shape[-1]], mean, inverse, weight, weight, [True, True, True]))
        """,
    ),
    cheat(
        "a_cache_of_pytorch_s",
        "PyTorch has a cache for its own tables of shardings.",
        """
        from torch.distributed.tensor._sharding_prop import LocalLRUCache

        def memoize(function):
            return LocalLRUCache(function)
        """,
    ),
]
