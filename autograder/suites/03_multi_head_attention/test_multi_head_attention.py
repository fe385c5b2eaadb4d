"""MultiHeadAttention."""

from contextlib import suppress

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.assertions import difference
from autograder.testing.strategies import given, normal, seeds, settings, sizes, st

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

NAME = "MultiHeadAttention"


@exercise(NAME, points=6, core=True)
@given(case=layer_cases())
def test_the_output_is_the_papers(student, reference, case):
    """The output is Concat(head_1, ..., head_h) W_O, in self-attention and cross-attention, under every mask."""
    arguments = (NAME, *case.layer, case.x, case.context, case.mask)
    assert_close(
        student.run(scenarios.forward, *arguments),
        reference.run(scenarios.forward, *arguments),
        what="MultiHeadAttention(...)(x, context, mask)",
        hint="project, split into heads, attend, merge the heads, and only then w_o",
    )


@exercise(NAME, points=4, core=True)
@given(case=layer_cases())
@settings(max_examples=20)
def test_the_output_agrees_with_pytorch(student, case):
    """The output equals torch.nn.MultiheadAttention's with the same weights (whose masks mean the opposite)."""
    mask = with_one_key(case.mask)
    assert_close(
        student.run(scenarios.forward, NAME, *case.layer, case.x, case.context, mask),
        torch_multi_head_attention(case, mask),
        what="MultiHeadAttention(...)(x, context, mask)",
        hint="are keys and values both taken from the context? does True in the mask mean 'may attend'?",
    )


@exercise(NAME, points=1)
def test_dimensions_of_one_size_are_not_confused(student, reference):
    """With as many batch entries as queries, keys and heads each dimension of a mask keeps its place; long inputs too."""
    for case in alike():
        arguments = (NAME, *case.layer, case.x, case.context, case.mask)
        assert_close(
            student.run(scenarios.forward_in_every_mode, *arguments),
            [reference.run(scenarios.forward, *arguments)] * len(scenarios.MODES),
            what=f"the output with x {tuple(case.x.shape)} and mask {None if case.mask is None else tuple(case.mask.shape)}: "
            "in training and in evaluation mode, each with gradients and without",
            hint=of_mask(case, "(b, h, n_q, n_k)"),
        )


@exercise(NAME, points=1)
def test_scores_far_from_zero_neither_overflow_nor_vanish(student):
    """Scores near 30,000 or -30,000 give the weights of their differences, hidden keys apart."""
    check_far_from_zero(lambda c, mask: student.run(scenarios.forward, NAME, *c.layer, c.x, c.context, mask))


@exercise(NAME, points=2)
@given(n_heads=sizes(1, 4), head_dim=sizes(1, 5), bias=st.booleans())
@settings(max_examples=6)
def test_the_parameters_are_those_of_four_linear_layers(student, n_heads, head_dim, bias):
    """w_q, w_k, w_v and w_o are d_model x d_model, all with a bias or all without; n_heads and head_dim can be read."""
    d = n_heads * head_dim
    got = student.run(scenarios.parameters, NAME, {"d_model": d, "n_heads": n_heads, "bias": bias})
    expected = {f"{layer}.weight": [d, d] for layer in ("w_q", "w_k", "w_v", "w_o")}
    if bias:
        expected |= {f"{layer}.bias": [d] for layer in ("w_q", "w_k", "w_v", "w_o")}
    assert_equal(got["shapes"], expected, what=f"the shapes of the parameters with bias={bias}")
    assert_equal(got["frozen"], [], what="the parameters that do not train")
    assert_equal(got["attributes"]["n_heads"], n_heads, what="the attribute n_heads", hint="self.n_heads = n_heads")
    assert_equal(got["attributes"]["head_dim"], head_dim, "the attribute head_dim", "self.head_dim = d_model // n_heads")


@exercise(NAME, points=1)
def test_layers_have_a_bias_unless_told_otherwise(student):
    """MultiHeadAttention(d_model, n_heads) has biases."""
    for arguments, expected in (([6, 2], ["w_k.bias", "w_o.bias", "w_q.bias", "w_v.bias"]), ([6, 2, False], [])):
        shapes = student.run(scenarios.build_positionally, NAME, arguments)
        assert_equal(sorted(key for key in shapes if key.endswith("bias")), expected, what="the biases")


@exercise(NAME, points=1)
def test_new_layers_begin_at_random_and_share_nothing(student):
    """A new layer's weights are random numbers of nn.Linear's size, its own and no other layer's."""
    check_beginning(student, NAME, d_model=48, n_heads=3)


@exercise(NAME, points=2)
def test_a_width_that_the_heads_do_not_divide_is_refused(student):
    """MultiHeadAttention refuses to be built when n_heads does not divide d_model."""
    for d_model, n_heads in ((7, 2), (10, 4), (2, 3)):
        why = f"{n_heads} does not divide {d_model}"
        assert_refused(constructor(student, NAME), d_model=d_model, n_heads=n_heads, why=why)


@exercise(NAME, points=3)
@given(case=layer_cases(masks=("queries by keys", "full"), bias=True), row=st.integers(0, 4))
@settings(max_examples=8)
def test_a_query_that_may_attend_to_nothing_gets_the_output_bias(student, case, row):
    """Where a query may attend to nothing every head gives zeros, w_o adds its bias, and no gradient is NaN."""
    row = row % case.n_q
    mask = case.mask.clone()
    mask[..., row, :] = False
    got = student.run(scenarios.gradients, NAME, *case.layer, case.cotangent, case.x, case.context, mask)
    expected = case.weights["w_o.bias"].expand(case.b, -1)
    with suppress(Exception):  # more keys tell whether the mask counts
        if difference(got["value"][:, row], expected, "", None, None, True):
            more = LayerCase(2, 3, 3, case.n_heads, None, case.head_dim, True, False, "queries by keys", seed=case.seed)
            student.run(scenarios.forward, NAME, *more.layer, more.x, mask=with_one_key(more.mask))
    assert_close(got["value"][:, row], expected, what=f"the output of query {row}, which may attend to nothing")
    for name, gradient in {"x": got["x"], "context": got["context"], **got["parameters"]}.items():
        finite = gradient is None or bool(gradient.isfinite().all())
        assert finite, f"the gradient of {name} has NaN or infinite values where a query may attend to nothing"


@exercise(NAME, points=2)
@given(case=layer_cases())
@settings(max_examples=10)
def test_gradients_reach_inputs_and_every_parameter(student, reference, case):
    """x, context and every weight and bias get the gradients of the reference, in training and in evaluation mode."""
    arguments = (NAME, *case.layer, case.cotangent, case.x, case.context, case.mask, case.seed % 2 == 0)
    actual, expected = student.run(scenarios.gradients, *arguments), reference.run(scenarios.gradients, *arguments)
    assert_close(actual, expected, what="value and gradients", hint=of_gradients(actual, expected))


@exercise(NAME, points=1)
def test_gradients_flow_at_every_size_and_precision(student, reference):
    """Large inputs and single and half precision have gradients as well."""
    check_gradients(
        lambda c: student.run(scenarios.gradients, NAME, *c.layer, c.cotangent, c.x, c.context, c.mask),
        lambda c: reference.run(scenarios.gradients, NAME, *c.layer, c.cotangent, c.x, c.context, c.mask),
    )


@exercise(NAME, points=2)
@given(case=layer_cases(masks=("none",), cross=False), seed=seeds())
@settings(max_examples=8)
def test_future_tokens_do_not_change_the_past(student, case, seed):
    """Under a causal mask, changing the inputs from position p on changes no output before p."""
    p = seed % case.n_q
    mask = torch.ones(case.n_q, case.n_q, dtype=torch.bool).tril()
    other = torch.cat([case.x[:, :p], normal(seed, case.b, case.n_q - p, case.x.shape[-1])], dim=1)
    before, after = (student.run(scenarios.forward, NAME, *case.layer, x, mask=mask) for x in (case.x, other))
    assert_close(after[:, :p], before[:, :p], what=f"the outputs before position {p}", hint="is the mask passed on?")
    assert not torch.allclose(after[:, p:], before[:, p:]), f"changing the inputs from {p} on changed no output at all"


@exercise(NAME, points=1)
@given(case=layer_cases(dtype=torch.float32))
@settings(max_examples=3)
def test_precision_and_layout_are_free(student, case):
    """The layer answers in its inputs' precision, half included, however their memory is laid out."""
    mask = with_one_key(case.mask)
    assert_close(
        student.run(scenarios.forward, NAME, *case.layer, case.x, case.context, mask),
        torch_attention(case, mask),
        what="the float32 output",
        rtol=1e-4,
        atol=2e-5,
    )
    assert_close(
        student.run(scenarios.forward_strided, NAME, *case.layer, case.x, case.context, mask),
        torch_attention(case, mask),
        what="the output for inputs that are not contiguous",
        hint="view asks for contiguous memory, reshape does not",
        rtol=1e-4,
        atol=2e-5,
    )
    check_precisions(
        lambda c, mask: student.run(scenarios.forward_in_every_mode, NAME, *c.layer, c.x, c.context, mask), seed=case.seed
    )


@exercise(NAME, points=1)
def test_a_call_leaves_inputs_weights_and_random_state_alone(student):
    """A call changes neither inputs nor weights nor the global random state, and a second call says the same."""
    case = LayerCase(2, 4, 5, 3, None, 2, True, True, "full", seed=11)
    after = student.run(scenarios.forward_twice, NAME, *case.layer, case.x, case.context, case.mask)
    assert_equal(after["inputs"], [case.x, case.context, case.mask], what="[x, context, mask] after the call")
    assert_equal(after["weights"], case.weights, what="the weights after the call")
    assert_equal(after["second"], after["first"], what="the second call, in evaluation mode")
    assert_equal(after["changed"], [], what="what else the call changed", hint="attention draws no random numbers")
    in_order = student.run(scenarios.forward_positionally, NAME, *case.layer, case.x, case.context, case.mask)
    assert_equal(in_order, after["first"], what="module(x, context, mask) against module(x, context=..., mask=...)")
    check_nothing_is_kept(student, NAME, n_heads=3, n_kv_heads=None)
    assert_equal(student.run(scenarios.made, NAME, case.config), [], what="what making a layer changes")
