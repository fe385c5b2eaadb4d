"""The peers that a benchmark compares with compute what it says they do. How fast they are is the benchmark's business."""

from __future__ import annotations

import importlib.util
import math
import sys
import types
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).resolve().parent.parent / "benchmarks/flash_attention.py"
GPU_ONLY = {"ours", "SDPA cuDNN", "SDPA efficient"}


@pytest.fixture(scope="module")
def benchmark() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("flash_attention_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # where dataclasses look their module up
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def few_recompilations(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two versions of a function, torch.compile runs it as it is; the benchmark has more problems than that.

    What is compiled is traced here and not made faster, which would need a C++ compiler.
    """
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 2)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def test_all_peers_are_attention(benchmark: types.ModuleType, few_recompilations: None) -> None:
    peers = benchmark.implementations()
    assert set(peers) >= GPU_ONLY | {"standard", "SDPA flash", "SDPA math", "FlexAttention"}
    for n, causal in ((128, True), (256, False), (192, True)):
        q, k, v = torch.randn(3, 1, 2, n, 64, generator=torch.Generator().manual_seed(n))
        scores = q.double() @ k.double().mT / math.sqrt(64)
        scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf) if causal else scores
        want = scores.softmax(-1) @ v.double()
        for name in peers.keys() - GPU_ONLY:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*without torch.compile.*")  # FlexAttention, if it is not compiled
                found = peers[name](q, k, v, causal)
            assert (found - want).abs().max() < 1e-5, (name, n, causal)
