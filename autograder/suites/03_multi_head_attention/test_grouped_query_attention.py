"""GroupedQueryAttention."""

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.strategies import given, settings, sizes, st

from . import scenarios
from .cases import (
    LayerCase,
    alike,
    check_beginning,
    check_far_from_zero,
    check_gradients,
    check_nothing_is_kept,
    check_precisions,
    constructor,
    layer_cases,
    of_gradients,
    of_mask,
    torch_attention,
    torch_multi_head_attention,
    with_one_key,
)

NAME = "GroupedQueryAttention"


@exercise(NAME, points=3, core=True)
@given(case=layer_cases(grouped=True))
@settings(max_examples=22)
def test_query_heads_share_keys_and_values_in_groups(student, reference, case):
    """Query head i attends with key and value head i // group, in self- and cross-attention, under every mask."""
    arguments = (NAME, *case.layer, case.x, case.context, case.mask)
    hint = "project, split into heads, attend, merge the heads, and only then w_o"
    if 1 < case.n_kv_heads < case.n_heads:
        hint = "neighbours share: with 4 heads and 2 key heads the key heads are used as 0 0 1 1, not 0 1 0 1"
    assert_close(
        student.run(scenarios.forward, *arguments),
        reference.run(scenarios.forward, *arguments),
        what="GroupedQueryAttention(...)(x, context, mask)",
        hint=hint,
    )


@exercise(NAME, points=2, core=True)
@given(case=layer_cases(grouped=True))
@settings(max_examples=15)
def test_the_output_agrees_with_pytorch(student, case):
    """The output equals F.scaled_dot_product_attention(..., enable_gqa=True) between the same linear maps."""
    mask = with_one_key(case.mask)
    assert_close(
        student.run(scenarios.forward, NAME, *case.layer, case.x, case.context, mask),
        torch_attention(case, mask),
        what="GroupedQueryAttention(...)(x, context, mask)",
    )


@exercise(NAME, points=1)
def test_shared_heads_confuse_no_dimensions_of_one_size(student, reference):
    """With as many batch entries as queries, keys and heads each dimension of a mask keeps its place; long inputs too."""
    for case in alike(n_kv_heads=2):
        arguments = (NAME, *case.layer, case.x, case.context, case.mask)
        assert_close(
            student.run(scenarios.forward_in_every_mode, *arguments),
            [reference.run(scenarios.forward, *arguments)] * len(scenarios.MODES),
            what=f"the output with x {tuple(case.x.shape)} and mask {None if case.mask is None else tuple(case.mask.shape)}: "
            "in training and in evaluation mode, each with gradients and without",
            hint=of_mask(case, "(b, n_heads, n_q, n_k)"),
        )


@exercise(NAME, points=1)
def test_shared_heads_take_any_precision_layout_and_size_of_scores(student):
    """The layer answers in its inputs' precision, half included, at any memory layout and any size of the scores."""
    check_precisions(
        lambda c, mask: student.run(scenarios.forward_in_every_mode, NAME, *c.layer, c.x, c.context, mask), n_kv_heads=2
    )
    case = LayerCase(2, 4, 5, 4, 2, 2, True, True, "full", seed=3)
    mask = with_one_key(case.mask)
    got = student.run(scenarios.forward_strided, NAME, *case.layer, case.x, case.context, mask)
    hint = "view asks for contiguous memory, reshape does not"
    assert_close(got, torch_attention(case, mask), what="the output for inputs that are not contiguous", hint=hint)
    check_far_from_zero(lambda c, mask: student.run(scenarios.forward, NAME, *c.layer, c.x, c.context, mask), n_kv_heads=2)


@exercise(NAME, points=1)
@given(case=layer_cases())
@settings(max_examples=10)
def test_without_sharing_it_is_multi_head_attention(student, case):
    """With n_kv_heads == n_heads the output is multi-head attention's with the same weights."""
    mask = with_one_key(case.mask)
    config = {**case.config, "n_kv_heads": case.n_heads}
    assert_close(
        student.run(scenarios.forward, NAME, config, case.weights, case.x, case.context, mask),
        torch_multi_head_attention(case, mask),
        what="GroupedQueryAttention(d_model, n_heads, n_kv_heads=n_heads)",
    )


@exercise(NAME, points=1)
@given(n_kv_heads=sizes(1, 3), group=sizes(1, 3), head_dim=sizes(1, 4), bias=st.booleans())
@settings(max_examples=6)
def test_only_keys_and_values_have_fewer_heads(student, n_kv_heads, group, head_dim, bias):
    """w_k and w_v have n_kv_heads * head_dim rows, w_q and w_o d_model; the attributes can be read."""
    n_heads = n_kv_heads * group
    d, d_kv = n_heads * head_dim, n_kv_heads * head_dim
    config = {"d_model": d, "n_heads": n_heads, "n_kv_heads": n_kv_heads, "bias": bias}
    got = student.run(scenarios.parameters, NAME, config)
    widths = {"w_q": d, "w_k": d_kv, "w_v": d_kv, "w_o": d}
    expected = {f"{layer}.weight": [width, d] for layer, width in widths.items()}
    if bias:
        expected |= {f"{layer}.bias": [width] for layer, width in widths.items()}
    assert_equal(got["shapes"], expected, what=f"the shapes of the parameters with bias={bias}")
    assert_equal(got["frozen"], [], what="the parameters that do not train")
    attributes = {"n_heads": n_heads, "n_kv_heads": n_kv_heads, "head_dim": head_dim}
    assert_equal(got["attributes"], attributes, what="the attributes")
    in_order = student.run(scenarios.build_positionally, NAME, [d, n_heads, n_kv_heads])
    assert "w_k.bias" in in_order, "GroupedQueryAttention(d_model, n_heads, n_kv_heads) has biases by default"
    in_order = student.run(scenarios.build_positionally, NAME, [d, n_heads, n_kv_heads, False])
    assert "w_k.bias" not in in_order, "GroupedQueryAttention(d_model, n_heads, n_kv_heads, False) has no biases"


@exercise(NAME, points=1)
def test_new_grouped_layers_begin_at_random_and_share_nothing(student):
    """A new layer's weights are random numbers of nn.Linear's size, its own and no other layer's."""
    check_beginning(student, NAME, d_model=48, n_heads=6, n_kv_heads=2)


@exercise(NAME, points=1)
def test_heads_that_do_not_divide_are_refused(student):
    """It refuses n_heads that do not divide d_model, and n_kv_heads that do not divide n_heads."""
    for d_model, n_heads, n_kv_heads, why in (
        (10, 4, 2, "4 does not divide 10"),
        (12, 4, 3, "3 does not divide 4"),
        (12, 6, 4, "4 does not divide 6"),
        (12, 2, 4, "2 query heads cannot be shared among 4 key heads"),
    ):
        config = {"d_model": d_model, "n_heads": n_heads, "n_kv_heads": n_kv_heads}
        assert_refused(constructor(student, NAME), **config, why=why)


@exercise(NAME, points=1)
@given(case=layer_cases(grouped=True))
@settings(max_examples=12)
def test_gradients_of_shared_heads_add_up(student, reference, case):
    """Inputs and parameters get the reference's gradients; a shared key head collects those of its whole group."""
    arguments = (NAME, *case.layer, case.cotangent, case.x, case.context, case.mask, case.seed % 2 == 0)
    actual, expected = student.run(scenarios.gradients, *arguments), reference.run(scenarios.gradients, *arguments)
    hint = of_gradients(actual, expected, "; gradients flow in evaluation mode as well")
    assert_close(actual, expected, what="value and gradients", hint=hint)


@exercise(NAME, points=1)
def test_gradients_of_shared_heads_flow_at_every_size_and_precision(student, reference):
    """Many heads that share, large inputs and single and half precision have gradients as well."""
    check_gradients(
        lambda c: student.run(scenarios.gradients, NAME, *c.layer, c.cotangent, c.x, c.context, c.mask),
        lambda c: reference.run(scenarios.gradients, NAME, *c.layer, c.cotangent, c.x, c.context, c.mask),
        n_kv_heads=2,
    )


@exercise(NAME, points=1)
def test_empty_rows_and_repeated_calls_leave_nothing_behind(student):
    """An empty row gets w_o's bias; a call keeps float32 and changes no input, weight or random state."""
    case = LayerCase(2, 4, 5, 6, 2, 3, True, True, "full", seed=13, dtype=torch.float32)
    mask = case.mask.clone()
    mask[..., 1, :] = False
    after = student.run(scenarios.forward_twice, NAME, *case.layer, case.x, case.context, mask)
    bias = case.weights["w_o.bias"].expand(2, -1)
    assert_close(after["first"][:, 1], bias, what="the output of a query that may attend to nothing")
    assert_equal(after["inputs"], [case.x, case.context, mask], what="[x, context, mask] after the call")
    assert_equal(after["weights"], case.weights, what="the weights after the call")
    assert_equal(after["second"], after["first"], what="the second call, in evaluation mode")
    assert_equal(after["changed"], [], what="what else the call changed", hint="attention draws no random numbers")
    in_order = student.run(scenarios.forward_positionally, NAME, *case.layer, case.x, case.context, mask)
    assert_equal(in_order, after["first"], what="module(x, context, mask) against module(x, context=..., mask=...)")
    check_nothing_is_kept(student, NAME, n_heads=6, n_kv_heads=2)
    assert_equal(student.run(scenarios.made, NAME, case.config), [], what="what making a layer changes")
