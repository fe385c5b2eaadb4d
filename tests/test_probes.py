"""What probes count is what PyTorch counts, and what it leaves out."""

import threading
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from autograder.testing.probes import Flops, Largest, Wrong, changed_around, flops, gradients

X, W = torch.randn(2, 3, 5), torch.randn(7, 5, requires_grad=True)


def with_gradients():
    (torch.einsum("bte,fe->btf", X, W).sum() + (X @ W.mT).square().mean()).backward()


def without_any_graph():
    with torch.inference_mode():
        F.linear(X, W) @ torch.ones(7, 2)


CALLS = {
    "linear": lambda: F.linear(X, W, torch.ones(7)),
    "convolution": lambda: F.conv1d(X, torch.randn(4, 3, 2)),
    "layers": lambda: torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(torch.randn(2, 5, 8)).sum().backward(),
    "no product": lambda: X.softmax(-1).sort(),
    "with_gradients": with_gradients,
    "without_any_graph": without_any_graph,
}


@pytest.mark.parametrize("name", CALLS)
def test_operations_are_those_of_flop_counter_mode(name):
    with FlopCounterMode(display=False) as theirs:
        CALLS[name]()
    assert flops(types.SimpleNamespace(call=CALLS[name]), "call", ()) == theirs.get_total_flops()
    assert (theirs.get_total_flops() > 0) == (name != "no product")


def test_products_with_vectors_and_fused_attention_count():
    """Which FlopCounterMode does not count on a CPU."""
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 2, 4, 6, 8))
    attention = 2 * (2 * 2 * 4 * 6 * 6 * 8)
    with Flops() as counted:
        X[0, 0] @ W[0], X[0] @ W[0], torch.addmv(torch.ones(3), X[0], W[0], alpha=2)
    assert counted.n_flops == 2 * 5 + 2 * 3 * 5 + 2 * 3 * 5
    with Flops() as counted:
        out = F.scaled_dot_product_attention(q, k, v)
    assert counted.n_flops == attention
    with Flops() as counted:
        out.sum().backward()
    assert counted.n_flops == 2.5 * attention  # the scores once more, and four products


def test_counters_in_counters_count_both():
    with Flops() as outer:
        F.linear(X, W)
        with Flops() as inner:
            F.linear(X, W)
    assert (outer.n_flops, inner.n_flops) == (2 * 2 * 2 * 3 * 5 * 7, 2 * 2 * 3 * 5 * 7)


def test_threads_are_counted_too():
    """Work handed to a thread counts as well, and afterwards threads start as they did before."""
    before = threading._start_new_thread if hasattr(threading, "_start_new_thread") else threading._start_joinable_thread
    x = torch.ones(3, 4)
    with Largest() as seen, Flops() as counted:
        thread = threading.Thread(target=lambda: x @ torch.ones(4, 50))
        thread.start()
        thread.join()
    assert seen.n_elements == 200
    assert counted.n_flops == 2 * 3 * 4 * 50
    assert before in (getattr(threading, name, None) for name in ("_start_new_thread", "_start_joinable_thread"))


CHANGES = {
    "PyTorch's random state": [lambda: torch.rand(1), lambda: torch.manual_seed(0)],
    "NumPy's random state": [np.random.rand],
    "the default dtype": [lambda: torch.set_default_dtype(torch.float64)],
    "whether gradients are recorded": [lambda: torch.set_grad_enabled(False)],
    "the precision of float32 products": [
        lambda: torch.set_float32_matmul_precision("high"),
        lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    ],
    "whether algorithms are deterministic": [lambda: torch.use_deterministic_algorithms(True, warn_only=True)],
    "how PyTorch prints": [lambda: torch.set_printoptions(sci_mode=False), lambda: torch.set_printoptions(precision=2)],
    "how NumPy prints": [lambda: np.set_printoptions(suppress=True)],
}


@pytest.mark.parametrize(("name", "change"), [(name, change) for name in CHANGES for change in CHANGES[name]])
def test_what_a_call_changes_for_everyone_is_named_each_time(name, change):
    module = types.SimpleNamespace(change=change, nothing=lambda: torch.ones(2) @ torch.ones(2))
    assert [changed_around(module, "change", ()) for _ in range(2)] == [[name], [name]]
    assert changed_around(module, "nothing", ()) == []


def halved_where_strided(x):
    return x if x.is_contiguous() else 0.5 * x + 0.5 * x.detach()


def of_another_size_each_time(x, sizes=iter(range(1, 100))):  # noqa: B008
    return next(sizes) * x if x.is_contiguous() else x.detach()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: (x if x.is_contiguous() else x.detach().contiguous()) * X.detach(), "is lost"),
        (halved_where_strided, "is another one"),
        (lambda x: x.detach(), ""),  # which the test sees by itself
        (of_another_size_each_time, ""),
        (lambda x: x.view(-1), ""),  # fails where x is strided
        (lambda x: x.contiguous().sqrt(), ""),  # NaN, and infinite at 0
    ],
)
def test_gradients_are_the_same_where_an_input_is_not_contiguous(function, said):
    module = types.SimpleNamespace(function=function)
    if not said:
        gradients(module, "function", [X])
    else:
        with pytest.raises(Wrong, match=f"function: .* {said} .argument 1"):
            gradients(module, "function", [X])
