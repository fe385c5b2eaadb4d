"""Public tests of module 03: small examples, shapes, and PyTorch's own attention as the judge."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.strategies import given, mask_for, normal, seeds, settings, sizes

LAYERS = ("w_q", "w_k", "w_v", "w_o")


def module_output(module, name, config, weights, x, context=None, mask=None):
    """Build `name(**config)`, give it the weights, and run it."""
    layer = getattr(module, name)(**config).to(x.dtype)
    parameters = dict(layer.named_parameters())
    with torch.no_grad():
        for key, value in weights.items():
            parameters[key].copy_(value)
    return layer(x, context=context, mask=mask)


def loop_output(module, config, weights, x, mask=None):
    """The same through attention_per_head."""
    layer = module.MultiHeadAttention(**config).to(x.dtype)
    parameters = dict(layer.named_parameters())
    with torch.no_grad():
        for key, value in weights.items():
            parameters[key].copy_(value)
    return module.attention_per_head(layer, x, mask)


def parameter_shapes(module, name, config):
    return {key: list(value.shape) for key, value in getattr(module, name)(**config).named_parameters()}


def build(module, name, config):
    getattr(module, name)(**config)


def constructor(student, name):
    """A function called `name` that builds the module, for assert_refused to call."""

    def construct(**config):
        return student.run(build, name, config)

    construct.__name__ = name
    return construct


def gradients_of_merge(module, out_a, lse_a, out_b, lse_b):
    inputs = [x.requires_grad_() for x in (out_a, lse_a, out_b, lse_b)]
    out, lse = module.merge_attention(*inputs)
    (out.sum() + lse[lse.isfinite()].sum()).backward()
    return [x.grad for x in inputs]


def random_weights(seed, d, d_kv=None, bias=True):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, width in zip(LAYERS, (d, d_kv or d, d_kv or d, d)):
        weights[f"{name}.weight"] = normal(generator, width, d, scale=1.5 / math.sqrt(d))
        if bias:
            weights[f"{name}.bias"] = normal(generator, width)
    return weights


def pytorch_attention(weights, n_heads, x, context, mask):
    """nn.MultiheadAttention with these weights; its mask is True where a query may NOT attend."""
    d = x.shape[-1]
    oracle = nn.MultiheadAttention(d, n_heads, batch_first=True, dtype=x.dtype)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([weights[f"{name}.weight"] for name in LAYERS[:3]]))
        oracle.in_proj_bias.copy_(torch.cat([weights[f"{name}.bias"] for name in LAYERS[:3]]))
        oracle.out_proj.weight.copy_(weights["w_o.weight"])
        oracle.out_proj.bias.copy_(weights["w_o.bias"])
        return oracle(x, context, context, attn_mask=~mask, need_weights=False)[0]


# split_heads and merge_heads


@exercise("split_heads")
def test_four_channels_make_two_heads_of_two(student):
    """Position [1 2 3 4] gives head 0 [1 2] and head 1 [3 4]."""
    x = torch.tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]])  # (b=1, t=3, d=4)
    expected = torch.tensor([[[[1.0, 2], [5, 6], [9, 10]], [[3, 4], [7, 8], [11, 12]]]])  # (b=1, h=2, t=3, 2)
    assert_equal(
        student.split_heads(x, 2),
        expected,
        what="split_heads(x, 2)",
        hint="first (b, t, d) -> (b, t, h, d/h), then swap t and h; one reshape to (b, h, t, d/h) mixes the positions",
    )


@exercise("split_heads")
def test_seven_channels_do_not_make_two_heads(student):
    """split_heads refuses a width that n_heads does not divide."""
    assert_refused(student.split_heads, torch.zeros(1, 3, 7), 2, why="2 does not divide 7")


@exercise("merge_heads")
def test_two_heads_of_two_make_four_channels(student):
    """Heads [1 2] and [3 4] of a position lie side by side again: [1 2 3 4]."""
    x = torch.tensor([[[[1.0, 2], [5, 6], [9, 10]], [[3, 4], [7, 8], [11, 12]]]])
    expected = torch.tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]])
    assert_equal(
        student.merge_heads(x),
        expected,
        what="merge_heads(x)",
        hint="swap h and t back before you join the last two dimensions",
    )


@exercise("merge_heads")
@given(b=sizes(1, 3), t=sizes(1, 5), n_heads=sizes(1, 4), head_dim=sizes(1, 4), seed=seeds())
@settings(max_examples=15)
def test_merging_undoes_splitting(student, b, t, n_heads, head_dim, seed):
    """merge_heads(split_heads(x, h)) is x."""
    x = normal(seed, b, t, n_heads * head_dim)
    assert_equal(student.merge_heads(student.split_heads(x, n_heads)), x, what="merge_heads(split_heads(x, n_heads))")


# MultiHeadAttention


@exercise("MultiHeadAttention")
def test_it_has_four_linear_layers(student):
    """w_q, w_k, w_v, w_o: d_model x d_model, all with a bias or all without."""
    weights = {f"{name}.weight": [6, 6] for name in LAYERS}
    biases = {f"{name}.bias": [6] for name in LAYERS}
    for bias, expected in ((True, weights | biases), (False, weights)):
        config = {"d_model": 6, "n_heads": 2, "bias": bias}
        got = student.run(parameter_shapes, "MultiHeadAttention", config)
        assert_equal(got, expected, what=f"the parameters with bias={bias}")


@exercise("MultiHeadAttention")
def test_a_width_of_seven_cannot_have_two_heads(student):
    """MultiHeadAttention refuses a d_model that n_heads does not divide."""
    assert_refused(constructor(student, "MultiHeadAttention"), d_model=7, n_heads=2, why="2 does not divide 7")


@exercise("MultiHeadAttention")
def test_one_head_with_identity_weights_is_plain_attention(student):
    """With identity matrices for weights and one head, the module is scaled dot-product attention of x with itself."""
    x = normal(1, 2, 4, 3)
    weights = {f"{name}.weight": torch.eye(3, dtype=x.dtype) for name in LAYERS}
    config = {"d_model": 3, "n_heads": 1, "bias": False}
    actual = student.run(module_output, "MultiHeadAttention", config, weights, x)
    assert_close(actual, F.scaled_dot_product_attention(x, x, x), what="the output")


@exercise("MultiHeadAttention")
@given(b=sizes(1, 3), n_q=sizes(1, 5), n_k=sizes(1, 5), n_heads=sizes(1, 4), head_dim=sizes(1, 4), seed=seeds())
@settings(max_examples=20)
def test_it_agrees_with_pytorchs_module(student, b, n_q, n_k, n_heads, head_dim, seed):
    """With the same weights the output is nn.MultiheadAttention's: x asks, the context answers, the mask is obeyed."""
    d = n_heads * head_dim
    weights, x, context = random_weights(seed, d), normal(seed + 1, b, n_q, d), normal(seed + 2, b, n_k, d)
    mask = mask_for(seed, n_q, n_k)
    mask[:, 0] = True
    actual = student.run(
        module_output, "MultiHeadAttention", {"d_model": d, "n_heads": n_heads}, weights, x, context=context, mask=mask
    )
    assert_close(
        actual,
        pytorch_attention(weights, n_heads, x, context, mask),
        what="the output",
        hint="keys and values come from the context; True in our mask means 'may attend'; w_o comes after merging",
    )


@exercise("MultiHeadAttention")
def test_each_head_obeys_its_own_part_of_the_mask(student):
    """A mask (b, h, n_q, n_k) may close other keys to each head; a query with no key at all gets w_o's bias."""
    weights, x = random_weights(3, 4), normal(4, 1, 3, 4)
    mask = mask_for(5, 1, 2, 3, 3)
    mask[..., 0] = True
    mask[:, :, 1] = False
    actual = student.run(module_output, "MultiHeadAttention", {"d_model": 4, "n_heads": 2}, weights, x, mask=mask)
    assert_close(actual[:, 1], weights["w_o.bias"].expand(1, 4), what="the output of the query without a key")
    rows = [0, 2]
    open_mask = mask[:, :, rows]
    expected = pytorch_attention(weights, 2, x[:, rows], x, open_mask[0])
    assert_close(actual[:, rows], expected, what="the other outputs")


# attention_per_head


@exercise("attention_per_head")
@given(b=sizes(1, 3), t=sizes(1, 5), n_heads=sizes(1, 4), head_dim=sizes(1, 4), seed=seeds())
@settings(max_examples=15)
def test_one_head_after_the_other_gives_the_same(student, b, t, n_heads, head_dim, seed):
    """attention_per_head(module, x, mask) equals module(x, mask=mask), with and without biases."""
    d = n_heads * head_dim
    x, mask = normal(seed + 1, b, t, d), mask_for(seed, b, n_heads, t, t)
    bias = seed % 2 == 0
    weights, config = random_weights(seed, d, bias=bias), {"d_model": d, "n_heads": n_heads, "bias": bias}
    assert_close(
        student.run(loop_output, config, weights, x, mask),
        student.run(module_output, "MultiHeadAttention", config, weights, x, mask=mask),
        what=f"attention_per_head(module, x, mask) with bias={bias}",
        hint="which rows of w_q.weight and which entries of w_q.bias belong to head i? and which part of the mask?",
    )


@exercise("attention_per_head")
def test_the_loop_agrees_with_pytorchs_module(student):
    """attention_per_head equals nn.MultiheadAttention under a causal mask."""
    weights, x = random_weights(7, 6), normal(8, 2, 5, 6)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    actual = student.run(loop_output, {"d_model": 6, "n_heads": 3}, weights, x, mask)
    assert_close(actual, pytorch_attention(weights, 3, x, x, mask), what="attention_per_head(module, x, mask)")


# merge_attention


@exercise("merge_attention")
def test_two_keys_merge_by_their_scores(student):
    """Score log 3 with value 4, score log 1 with value 8: weights 3/4 and 1/4, mean 5, lse log 4."""
    out, lse = student.merge_attention(
        torch.tensor([[4.0]]), torch.tensor([math.log(3)]), torch.tensor([[8.0]]), torch.tensor([0.0])
    )
    assert_close(out, torch.tensor([[5.0]]), what="out", hint="each side counts by exp(lse) over the sum of both")
    assert_close(lse, torch.tensor([math.log(4)]), what="lse", hint="log(exp(lse_a) + exp(lse_b))")


@exercise("merge_attention")
def test_an_empty_side_counts_for_nothing(student):
    """Where one side has lse = -inf the other is the result; where both have, the result is 0 and -inf."""
    inf = torch.inf
    out_a, lse_a = torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([2.0, -inf, -inf])
    out_b, lse_b = torch.tensor([[0.0], [3.0], [0.0]]), torch.tensor([-inf, 5.0, -inf])
    out, lse = student.merge_attention(out_a, lse_a, out_b, lse_b)
    assert_close(out, torch.tensor([[1.0], [3.0], [0.0]]), what="out", hint="-inf minus -inf is NaN")
    assert_close(lse, torch.tensor([2.0, 5.0, -inf]), what="lse")
    for name, gradient in zip(
        ("out_a", "lse_a", "out_b", "lse_b"), student.run(gradients_of_merge, out_a, lse_a, out_b, lse_b)
    ):
        assert gradient is not None and gradient.isfinite().all(), (
            f"the gradient of {name} is {gradient}\n  hint: replace -inf before the operation that would make NaN of it"
        )


@exercise("merge_attention")
def test_large_scores_do_not_overflow(student):
    """lse of 1000 on both sides: the mean of both outputs, and 1000 + log 2."""
    thousand = torch.tensor([1000.0], dtype=torch.float64)
    out_a, out_b = torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([[4.0]], dtype=torch.float64)
    for sign in (1, -1):
        out, lse = student.merge_attention(out_a, sign * thousand, out_b, sign * thousand)
        assert_close(out, torch.tensor([[3.0]], dtype=torch.float64), what=f"out with both lse {sign * 1000}")
        assert_close(lse, sign * thousand + math.log(2), what=f"lse with both lse {sign * 1000}")


# divide_and_conquer_attention


@exercise("divide_and_conquer_attention")
@given(n_q=sizes(1, 5), n_k=sizes(1, 11), d_k=sizes(1, 4), d_v=sizes(1, 4), block=sizes(1, 12), seed=seeds())
@settings(max_examples=25)
def test_the_parts_add_up_to_attention(student, n_q, n_k, d_k, d_v, block, seed):
    """For every number of keys and every block the result is F.scaled_dot_product_attention's."""
    q, k, v = normal(seed, 2, n_q, d_k), normal(seed + 1, 2, n_k, d_k), normal(seed + 2, 2, n_k, d_v)
    assert_close(
        student.divide_and_conquer_attention(q, k, v, block),
        F.scaled_dot_product_attention(q, k, v),
        what=f"divide_and_conquer_attention(q, k, v, {block}) with {n_k} keys",
        hint="try block >= n_k first: if that is right, look at how parts are cut and merged",
    )


@exercise("divide_and_conquer_attention")
@given(n_q=sizes(1, 5), n_k=sizes(1, 9), block=sizes(1, 4), seed=seeds())
@settings(max_examples=20)
def test_every_part_obeys_its_columns_of_the_mask(student, n_q, n_k, block, seed):
    """With a mask the result is F.scaled_dot_product_attention's; a row that may attend to nothing is zero."""
    q, k, v = normal(seed, n_q, 3), normal(seed + 1, n_k, 3), normal(seed + 2, n_k, 2)
    mask = mask_for(seed, n_q, n_k)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).nan_to_num(0.0)
    expected[~mask.any(-1)] = 0
    assert_close(
        student.divide_and_conquer_attention(q, k, v, block, mask=mask), expected, what="the result under a mask"
    )


@exercise("divide_and_conquer_attention")
def test_a_block_of_nothing_is_refused(student):
    """block must be at least 1."""
    x = normal(1, 4, 2)
    assert_refused(student.divide_and_conquer_attention, x, x, x, 0, why="a block has at least one key")


# GroupedQueryAttention


@exercise("GroupedQueryAttention")
def test_keys_and_values_have_fewer_heads(student):
    """With 6 query heads of width 2 and 3 key heads, w_k and w_v are 6 x 12."""
    got = student.run(
        parameter_shapes, "GroupedQueryAttention", {"d_model": 12, "n_heads": 6, "n_kv_heads": 3, "bias": False}
    )
    expected = {"w_q.weight": [12, 12], "w_k.weight": [6, 12], "w_v.weight": [6, 12], "w_o.weight": [12, 12]}
    assert_equal(got, expected, what="the parameters")


@exercise("GroupedQueryAttention")
def test_heads_that_cannot_share_evenly_are_refused(student):
    """n_kv_heads must divide n_heads, and n_heads must divide d_model."""
    for config in ({"d_model": 12, "n_heads": 4, "n_kv_heads": 3}, {"d_model": 10, "n_heads": 4, "n_kv_heads": 2}):
        assert_refused(constructor(student, "GroupedQueryAttention"), **config, why="the heads do not divide")


@exercise("GroupedQueryAttention")
@given(n_kv_heads=sizes(1, 3), group=sizes(1, 3), head_dim=sizes(1, 3), t=sizes(1, 5), seed=seeds())
@settings(max_examples=20)
def test_neighbouring_query_heads_share_a_key_head(student, n_kv_heads, group, head_dim, t, seed):
    """The output is that of F.scaled_dot_product_attention(..., enable_gqa=True) between the linear layers."""
    n_heads, d = n_kv_heads * group, n_kv_heads * group * head_dim
    w, x = random_weights(seed, d, n_kv_heads * head_dim), normal(seed + 1, 2, t, d)
    q, k, v = (
        F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"]).unflatten(-1, (-1, head_dim)).transpose(1, 2)
        for name in LAYERS[:3]
    )
    heads = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    expected = F.linear(heads.transpose(1, 2).flatten(2), w["w_o.weight"], w["w_o.bias"])
    config = {"d_model": d, "n_heads": n_heads, "n_kv_heads": n_kv_heads}
    mask = torch.ones(t, t, dtype=torch.bool).tril()
    assert_close(
        student.run(module_output, "GroupedQueryAttention", config, w, x, mask=mask),
        expected,
        what="the output",
        hint="with 4 query heads and 2 key heads the key heads are used in the order 0 0 1 1, not 0 1 0 1",
    )
