"""Module 06's `linear` is the layer itself, on the way that a single row takes and on all others."""

import pytest
import torch
from torch import nn

from solutions.decoder_only import GPTConfig, MiniGPT, generate_greedy
from solutions.kv_cache import generate, linear


@pytest.fixture(params=["AMD EPYC", "Intel Xeon"], autouse=True)
def processor(request, monkeypatch):
    """The way of either maker's processors, whatever this machine's is."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": request.param})
    return request.param


def test_the_layer_is_called_where_it_is_fast_already(processor, monkeypatch):
    called, forward = [], nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda layer, x: called.append(1) or forward(layer, x))
    linear(nn.Linear(512, 512), torch.zeros(1, 512))
    assert bool(called) == (processor == "Intel Xeon")


def test_a_row_of_any_shape_gives_what_the_layer_gives():
    torch.manual_seed(0)
    for n_in, n_out, bias in ((512, 512, True), (1024, 257, False), (514, 1031, True), (515, 600, True), (64, 64, True)):
        layer = nn.Linear(n_in, n_out, bias=bias)
        rows = torch.randn(6, n_in)
        every_second = rows.repeat_interleave(2, -1)[..., ::2]  # the same numbers, not side by side
        for x in (rows[0], rows[1:2], rows[None, :1], every_second[2:3], rows, rows[:0]):
            torch.testing.assert_close(linear(layer, x), layer(x), rtol=0, atol=2e-6)  # sums of size 1, in another order
        x, layer = rows[0].double(), layer.double()
        torch.testing.assert_close(linear(layer, x), layer(x), rtol=0, atol=0)


def test_a_transposed_weight_and_a_layer_that_is_more_than_linear_are_used_as_they_are():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    x = torch.randn(1, 1, 512, generator=torch.Generator().manual_seed(1))
    transposed = nn.Linear(512, 600)
    transposed.weight = nn.Parameter(torch.randn(512, 600).T)
    for layer in (transposed, Doubled(512, 600), nn.Sequential(nn.Linear(512, 600))):
        torch.testing.assert_close(linear(layer, x), layer(x), rtol=0, atol=0)


def test_a_row_of_another_width_is_refused():
    """1024 numbers would fit a weight of 512 columns, were its rows taken two at a time."""
    layer = nn.Linear(512, 512)
    for n_in in (256, 1024, 514):
        with pytest.raises(RuntimeError):
            linear(layer, torch.zeros(1, n_in))


def test_a_model_that_is_wide_enough_for_it_writes_the_same_tokens():
    torch.manual_seed(2)
    model = MiniGPT(GPTConfig(vocab_size=700, context_length=12, n_layers=1, n_heads=4, d_model=512))
    ids = torch.randint(700, (1, 3))
    assert torch.equal(generate(model, ids, 14), generate_greedy(model, ids, 14))
