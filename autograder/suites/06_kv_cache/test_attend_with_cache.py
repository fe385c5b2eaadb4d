"""attend_with_cache, against causal attention over the whole text by PyTorch's own function."""

from functools import partial

import torch

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.hints import hinted
from autograder.testing.strategies import composite, example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .truth import assert_left_alone, attention_rows

HINT = "new queries against all cached keys, with the causal mask aligned bottom-right"


@composite
def layer_sizes(draw, grouped=False):
    """The arguments of a MultiHeadAttention or a GroupedQueryAttention."""
    n_kv_heads, group = draw(sizes(1, 3)), draw(sizes(1, 3)) if grouped else 1
    n_heads = n_kv_heads * group
    layer = {"d_model": n_heads * draw(sizes(1, 4)), "n_heads": n_heads, "bias": draw(st.booleans())}
    return layer | ({"n_kv_heads": n_kv_heads} if grouped else {})


def weights_of(layer, seed, dtype=torch.float64):
    """The weights of such a layer by name."""
    d = layer["d_model"]
    d_kv = d // layer["n_heads"] * layer.get("n_kv_heads", layer["n_heads"])
    weights = {}
    for i, (name, rows) in enumerate({"w_q": d, "w_k": d_kv, "w_v": d_kv, "w_o": d}.items()):
        weights[f"{name}.weight"] = normal(seed + 2 * i, rows, d, dtype=dtype, scale=0.7)
        if layer["bias"]:
            weights[f"{name}.bias"] = normal(seed + 2 * i + 1, rows, dtype=dtype)
    return weights


def rows_of(layer, weights, x):
    """The rows of causal attention over the whole of x."""
    return attention_rows(weights, x, layer["n_heads"], layer.get("n_kv_heads", layer["n_heads"]))


def assert_right(student, pieces=(4,)):
    """The rows of an ordinary text in these pieces are right: a mistake has to do with what is unusual elsewhere."""
    layer = {"d_model": 6, "n_heads": 2, "bias": True}
    weights, x = weights_of(layer, 1), normal(2, 2, sum(pieces), 6)
    actual = student.run(scenarios.attended, layer, weights, x, list(pieces), sum(pieces) + 1)
    assert_close(actual, rows_of(layer, weights, x))


@exercise("attend_with_cache", points=4, core=True)
@given(layer=layer_sizes(), seed=seeds(), b=sizes(1, 3), pieces=st.lists(sizes(1, 4), min_size=1, max_size=4))
def test_pieces_attended_to_one_after_the_other_give_the_rows_of_the_whole(student, layer, seed, b, pieces):
    """However a text is cut into pieces, its rows are those of causal attention over all of it."""
    weights, x = weights_of(layer, seed), normal(seed + 99, b, sum(pieces), layer["d_model"])
    actual = student.run(scenarios.attended, layer, weights, x, pieces, sum(pieces) + seed % 3)
    what, when = f"the rows of pieces of {pieces} tokens", partial(assert_right, student)
    hinted(assert_close, actual, rows_of(layer, weights, x), what=what, hint=HINT, when=when)


@exercise("attend_with_cache", points=3)
@given(layer=layer_sizes(grouped=True), seed=seeds(), b=sizes(1, 3), pieces=st.lists(sizes(1, 4), min_size=1, max_size=4))
def test_grouped_heads_share_the_keys_and_values_that_are_cached(student, layer, seed, b, pieces):
    """A GroupedQueryAttention: the cache holds n_kv_heads, query head i uses number i // (n_heads / n_kv_heads)."""
    weights, x = weights_of(layer, seed), normal(seed + 99, b, sum(pieces), layer["d_model"])
    actual = student.run(scenarios.attended, layer, weights, x, pieces, sum(pieces) + seed % 3)
    hint = "heads of one group are neighbours: repeat_interleave, not repeat; the mask is the same for all heads"
    what, when = f"the rows of pieces of {pieces} tokens, in groups of heads", partial(assert_right, student, (3, 2))
    hinted(assert_close, actual, rows_of(layer, weights, x), what=what, hint=hint, when=when)


@exercise("attend_with_cache", points=2)
@settings(max_examples=15)
@given(layer=layer_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(2, 9))
def test_single_tokens_see_all_that_came_before(student, layer, seed, b, t):
    """Token by token, as in generation."""
    weights, x = weights_of(layer, seed), normal(seed + 99, b, t, layer["d_model"])
    actual = student.run(scenarios.attended, layer, weights, x, [1] * t, t)
    hint = "a single new token may attend to every key: with a mask of (1, n), all of it is True"
    what, when = "the rows of single tokens, one after the other", partial(assert_right, student, (3, 2))
    hinted(assert_close, actual, rows_of(layer, weights, x), what=what, hint=hint, when=when)


@exercise("attend_with_cache", points=1)
def test_a_long_text_is_remembered_to_its_beginning(student):
    """The cache is no window: after a thousand positions the first ones still count, and only new tokens ask."""
    layer = {"d_model": 4, "n_heads": 2, "bias": False}
    weights, x = weights_of(layer, 5), normal(104, 1, 1030, layer["d_model"])

    def heads(name, x):
        return torch.nn.functional.linear(x, weights[f"{name}.weight"]).unflatten(-1, (2, 2)).transpose(1, 2)

    k, v = (heads(name, x[:, :1027]) for name in ("w_k", "w_v"))
    actual, count = student.run(scenarios.attended_onto, layer, weights, k, v, x[:, 1027:], [1, 2], 2000)
    hint = "attend to all keys that `update` returns"
    expected, when = rows_of(layer, weights, x)[:, 1027:], partial(assert_right, student, (3, 2))
    hinted(assert_close, actual, expected, what="the rows of 3 tokens after 1027", hint=hint, when=when)
    needed = 3 * (2 * 4 * 4 * 4 + 4 * 4 * 1030)  # three queries: four products with weights, scores and means of 1030
    assert count <= 1.5 * needed, (
        f"3 new tokens after 1027 took {count:,} floating-point operations; {needed:,} are needed"
        "\n  hint: the new tokens alone have queries; those of the text before them were answered when they were read"
    )
    (k, v), x = (normal(seed, 1, 2, 70_000, 2, scale=0.1) for seed in (6, 7)), x[:, :2]  # no window of 65,536 either
    actual, _ = student.run(scenarios.attended_onto, layer, weights, k, v, x, [1, 1])
    q, k_new, v_new = (heads(name, x) for name in ("w_q", "w_k", "w_v"))
    k, v, seen = torch.cat([k, k_new], 2), torch.cat([v, v_new], 2), torch.ones(2, 70_002, dtype=torch.bool).tril(70_000)
    rows = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)
    expected = torch.nn.functional.linear(rows, weights["w_o.weight"])
    assert_close(actual, expected, what="the rows of 2 tokens after 70,000", hint=hint)


@exercise("attend_with_cache", points=1)
@settings(max_examples=15)
@example(layer={"d_model": 4, "n_heads": 2, "bias": False}, seed=18, past=2, t=3)  # a row has large negative scores alone
@given(layer=layer_sizes(), seed=seeds(), past=sizes(1, 4), t=sizes(2, 5))
def test_later_tokens_of_a_piece_do_not_change_earlier_rows(student, layer, seed, past, t):
    """Nobody looks ahead, within a piece either, however large the scores are, in bfloat16 too."""
    scale, dtype = 100.0 if seed % 2 else 1e6, torch.float64 if seed % 3 else torch.bfloat16
    weights, x = weights_of(layer, seed, dtype), normal(seed + 99, 1, past + t, layer["d_model"], dtype=dtype, scale=scale)
    other = x.clone()
    other[:, -1] *= -3.0
    rows = [student.run(scenarios.attended, layer, weights, text, [past, t], past + t) for text in (x, other)]
    hint = HINT + "; a masked score is minus infinity, not only a large negative number"
    assert_close(rows[1][:, :-1], rows[0][:, :-1], what="the rows before the token that was changed", hint=hint)
    large = {"rtol": 1e-6, "atol": 1e-8 * scale}  # the rounding of large scores is multiplied by exp
    if dtype == torch.float64:
        what, when = "the rows with large scores", partial(assert_right, student, (3, 2))
        hinted(assert_close, rows[0], rows_of(layer, weights, x), what=what, hint=hint, when=when, **large)


@exercise("attend_with_cache", points=1)
@settings(max_examples=15)
@given(layer=layer_sizes(), seed=seeds(), b=sizes(1, 2), t=sizes(1, 5))
def test_every_layer_has_its_own_part_of_the_cache(student, layer, seed, b, t):
    """Two layers that take turns, token by token, do not meet."""
    first, second = weights_of(layer, seed), weights_of(layer, seed + 50)
    x = normal(seed + 99, b, t, layer["d_model"])
    actual = student.run(scenarios.attended_in_two_layers, layer, first, second, x)
    expected = [rows_of(layer, first, x), rows_of(layer, second, x)]
    what, when = "the rows of layer 0 and of layer 1", partial(assert_right, student, (3, 2))
    hinted(assert_close, actual, expected, what=what, hint="pass `layer` on to the cache", when=when)
    pieces = [1, t, 1] if t > 1 else [1]
    x = normal(seed + 98, b, sum(pieces), layer["d_model"])
    actual = student.run(scenarios.attended, layer, first, x, pieces, x.shape[1], n_layers=2, layer=1)
    hint = "cache.length is that of the layer that holds least; k_all says how many positions this one holds"
    what = "the rows of layer 1, with nothing in layer 0"
    hinted(assert_close, actual, rows_of(layer, first, x), what=what, hint=hint, when=when)


@exercise("attend_with_cache", points=2)
@settings(max_examples=15)
@given(layer=layer_sizes(grouped=True), seed=seeds(), b=sizes(1, 2), pieces=st.lists(sizes(1, 3), min_size=1, max_size=3))
def test_the_cache_then_holds_the_keys_and_values_of_all_tokens(student, layer, seed, b, pieces):
    """Once each, split into the heads that they have, in the order of the text."""
    weights, x = weights_of(layer, seed), normal(seed + 99, b, sum(pieces), layer["d_model"])
    head_dim = layer["d_model"] // layer["n_heads"]
    expected = []
    for name in ("w_k", "w_v"):
        y = torch.nn.functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))
        y = y.unflatten(-1, (-1, head_dim)).transpose(1, 2)
        expected.append(torch.cat([y, torch.ones_like(y[:, :, :1])], dim=2))
    held, length = student.run(scenarios.keys_after_attending, layer, weights, x, pieces)
    assert_equal(length, sum(pieces), what="cache.length")
    hint = "append keys and values as they come from w_k and w_v: n_kv_heads of them, unscaled, once"
    assert_close(held, tuple(expected), what="(k_all, v_all), with ones appended", hint=hint)


@exercise("attend_with_cache", points=1)
@settings(max_examples=15)
@given(layer=layer_sizes(), seed=seeds(), t=sizes(2, 5), excess=sizes(1, 3))
def test_tokens_that_do_not_fit_are_refused_and_leave_the_cache_as_it_was(student, layer, seed, t, excess):
    """The token that does fit, given next, gets the row that it would have got anyway; another in its place, its own."""
    weights, x = weights_of(layer, seed), normal(seed + 99, 2, t, layer["d_model"])
    too_long = normal(seed + 98, 2, 1 + excess, layer["d_model"])
    refused, length, last = student.run(scenarios.attended_past_the_end, layer, weights, x, too_long)
    assert refused, f"{1 + excess} tokens should be refused by a cache that has room for 1"
    assert_equal(length, t - 1, what="cache.length after the refusal")
    other = torch.cat([x[:, :-1], -x[:, -1:]], dim=1)
    expected = [rows_of(layer, weights, text)[:, -1:] for text in (x, other)]
    assert_close(last, expected, what="[the row of the token that fits, that of another after truncate]")


@exercise("attend_with_cache", points=1)
def test_x_may_lie_in_memory_in_any_order_and_nothing_but_the_cache_changes(student):
    """In every dtype, which the rows have too, and in every mode; x and the layer stay as they were."""
    layer = {"d_model": 12, "n_heads": 4, "bias": True}
    weights, trained = (weights_of(layer, seed, torch.float32) for seed in (7, 70))
    x = normal(8, 3, 5, 12, dtype=torch.float32)
    actual = student.run(scenarios.attended_before_and_after_training, layer, weights, trained, x)
    assert_close(actual[0], rows_of(layer, weights, x), what="the rows")
    hint = "weights change in training: keep no copy of them"
    assert_close(actual[1], rows_of(layer, trained, x), what="the rows after a change of the weights", hint=hint)
    for i, dtype in enumerate((torch.bfloat16, torch.float16, torch.float64, torch.float32)):
        weights, x = weights_of(layer, 7, dtype), normal(8, 3, 5, 12, dtype=dtype)
        modes = {"training": i % 2 == 0, "recording": i < 2}
        actual, changed = student.run(scenarios.attended_scattered, layer, weights, x, **modes)
        assert_left_alone(changed, "attend_with_cache, which was also refused once,")
        expected = rows_of(layer, {name: value.double() for name, value in weights.items()}, x.double())
        room = {"rtol": 0, "atol": 8 * torch.finfo(dtype).eps * float(expected.abs().max())}
        assert_close(actual, expected.to(dtype), what=f"the rows in {dtype}", **room)
