"""Hidden tests: the transformer block. The truth is PyTorch's own encoder layer with the same weights."""

from functools import partial
from itertools import product

import torch
from torch import nn

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.hints import hinted
from autograder.testing.strategies import example, given, mask_for, normal, seeds, settings, sizes, st

from . import scenarios

ENCODER_NAMES = {  # PyTorch's encoder layer: our names
    "self_attn.in_proj_weight": ["attention.w_q.weight", "attention.w_k.weight", "attention.w_v.weight"],
    "self_attn.in_proj_bias": ["attention.w_q.bias", "attention.w_k.bias", "attention.w_v.bias"],
    "self_attn.out_proj.weight": ["attention.w_o.weight"],
    "self_attn.out_proj.bias": ["attention.w_o.bias"],
    "linear1.weight": ["feed_forward.w_in.weight"],
    "linear1.bias": ["feed_forward.w_in.bias"],
    "linear2.weight": ["feed_forward.w_out.weight"],
    "linear2.bias": ["feed_forward.w_out.bias"],
    "norm1.weight": ["norm_1.weight"],
    "norm1.bias": ["norm_1.bias"],
    "norm2.weight": ["norm_2.weight"],
    "norm2.bias": ["norm_2.bias"],
}


def block_shapes(d, d_ff):
    square = {f"attention.w_{role}.weight": (d, d) for role in "qkvo"} | {
        f"attention.w_{role}.bias": (d,) for role in "qkvo"
    }
    norms = {f"norm_{i}.{name}": (d,) for i in (1, 2) for name in ("weight", "bias")}
    wide = {"feed_forward.w_in.weight": (d_ff, d), "feed_forward.w_in.bias": (d_ff,)}
    return square | norms | wide | {"feed_forward.w_out.weight": (d, d_ff), "feed_forward.w_out.bias": (d,)}


def block_weights(seed, d, d_ff):
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return {name: normal(draw, *shape, scale=0.7) for name, shape in block_shapes(d, d_ff).items()}


def encoder_layer(weights, d, n_heads, d_ff, norm_first):
    layer = nn.TransformerEncoderLayer(
        d, n_heads, d_ff, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    layer.load_state_dict({name: torch.cat([weights[key] for key in ours]) for name, ours in ENCODER_NAMES.items()})
    return layer


def assert_right(student, norm_first, by_position=False):
    """Without a mask the block's values are right, so that a mistake has to do with what is unusual elsewhere."""
    arguments, weights, x = block_case(1, 2, 3, 2, 3, 5)
    order = norm_first if by_position else {"norm_first": norm_first}
    actual = student.run(scenarios.forward, "TransformerBlock", [*arguments, order], weights, x)
    assert_close(actual, encoder_layer(weights, *arguments, norm_first=norm_first)(x).detach(), atol=1e-9)


def block_case(seed, b, t, n_heads, head_dim, d_ff):
    """Width, arguments, weights and an input of a random block."""
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    d = n_heads * head_dim
    return [d, n_heads, d_ff], block_weights(draw, d, d_ff), normal(draw, b, t, d)


ALIKE = "do the same in both modes, with and without recorded gradients"
FORMS = ["(t, t)", "(h, t, t)", "(b, 1, t, t)", "(b, h, t, t)", "(1, 1, t, t)", "(b, 1, 1, t)", "(1, t)", "causal"]
cases = given(seed=seeds(), b=sizes(1, 3), t=sizes(1, 6), n_heads=sizes(1, 3), head_dim=sizes(1, 4), d_ff=sizes(1, 9))


@exercise("TransformerBlock", points=5, core=True)
@settings(max_examples=10)
@cases
@example(seed=1, b=4, t=2, n_heads=9, head_dim=8, d_ff=70)
@example(seed=2, b=1, t=130, n_heads=1, head_dim=2, d_ff=3)
def test_the_block_is_pre_norm_by_default(student, seed, b, t, n_heads, head_dim, d_ff):
    """x + attention(norm_1(x)), then + feed_forward(norm_2(...)): PyTorch's encoder layer with norm_first=True."""
    arguments, weights, x = block_case(seed, b, t, n_heads, head_dim, d_ff)
    expected = encoder_layer(weights, *arguments, norm_first=True)(x).detach()
    actual = student.run(scenarios.forward, "TransformerBlock", arguments, weights, x)
    hint = "x = x + attention(norm_1(x)); x = x + feed_forward(norm_2(x))"
    assert_close(actual, expected, what="TransformerBlock(x)", hint=hint, atol=1e-9)


@exercise("TransformerBlock", points=4)
@settings(max_examples=10)
@cases
@example(seed=1, b=4, t=2, n_heads=9, head_dim=8, d_ff=70)
@example(seed=2, b=1, t=130, n_heads=1, head_dim=2, d_ff=3)
def test_the_block_can_be_post_norm(student, seed, b, t, n_heads, head_dim, d_ff):
    """norm_1(x + attention(x)), then norm_2(... + feed_forward(...)): norm_first=False."""
    arguments, weights, x = block_case(seed, b, t, n_heads, head_dim, d_ff)
    expected = encoder_layer(weights, *arguments, norm_first=False)(x).detach()
    actual = student.run(scenarios.forward, "TransformerBlock", [*arguments, {"norm_first": False}], weights, x)
    hint = "x = norm_1(x + attention(x)); x = norm_2(x + feed_forward(x))"
    assert_close(actual, expected, what="TransformerBlock(x), post-norm", hint=hint, atol=1e-9)


@exercise("TransformerBlock", points=2)
def test_the_block_hands_the_mask_to_attention(student, generator):
    """True means "may attend"; the mask broadcasts over batch and heads."""
    h = 2
    for form, norm_first, b in [*product(FORMS, (True, False), (2,)), *product(FORMS[::3], (True, False), (1,))]:
        t = 130 if form == "causal" else 5
        size = {"b": b, "h": h, "t": t, "1": 1}
        arguments, weights, x = block_case(generator, b, t, h, 3, 7)
        shape = (t, t) if form == "causal" else tuple(size[name] for name in form[1:-1].split(", "))
        mask = mask_for(generator, *shape, density=0.5)
        mask = mask | (torch.eye(t, dtype=torch.bool) if shape[-2] == t else torch.arange(t) == 0)
        mask = torch.ones(t, t, dtype=torch.bool).tril() if form == "causal" else mask
        blocked = ~mask.expand(b, h, t, t).reshape(b * h, t, t)
        expected = encoder_layer(weights, *arguments, norm_first=norm_first)(x, src_mask=blocked).detach()
        call = ("TransformerBlock", [*arguments, {"norm_first": norm_first}], weights, x)
        what = f"block(x, mask {form}) with b = {b}"
        by_name, by_position = student.run(scenarios.forward_both_ways, *call, mask)
        hint, when = "mask=mask, True = may attend", partial(assert_right, student, norm_first)
        hinted(assert_close, by_name, expected, what=what, hint=hint, when=when, atol=1e-9)
        assert_close(by_position, expected, what=what, hint="forward's second argument is the mask", atol=1e-9)


@exercise("TransformerBlock", points=1)
def test_the_block_gives_finite_results_where_nothing_may_be_attended_to(student, reference, generator):
    """A row of the mask that is all False adds only the output layer's bias: no NaN in value or gradient."""
    arguments, weights, x = block_case(generator, 2, 4, 2, 3, 5)
    row = torch.ones(4, 4, dtype=torch.bool)
    row[1] = False
    padded = torch.tensor([[True, True, False, False], [False] * 4])[:, None, None]  # the second text is all padding
    for norm_first, mask, training in product((True, False), (row, torch.zeros_like(row), padded), (True, False)):
        call = ("TransformerBlock", [*arguments, {"norm_first": norm_first}], weights, x, torch.ones_like(x), training)
        actual = student.run(scenarios.layer_gradients, *call, mask=mask)
        assert_close(
            actual, reference.run(scenarios.layer_gradients, *call, mask=mask), what="output and gradients", atol=1e-9
        )


@exercise("TransformerBlock", points=1)
@settings(max_examples=6)
@given(seed=seeds(), norm_first=st.booleans(), training=st.booleans())
def test_the_block_has_gradients_for_every_parameter(student, seed, norm_first, training):
    """Gradients by x and by all sixteen parameters agree with those of PyTorch's encoder layer."""
    arguments, weights, x = block_case(seed, 2, 17, 2, 3, 7)
    cotangent = normal(seed + 1, *x.shape)
    layer, leaf = encoder_layer(weights, *arguments, norm_first=norm_first), x.clone().requires_grad_()
    layer(leaf).backward(cotangent)
    truth = {"x": leaf.grad}
    for name, ours in ENCODER_NAMES.items():
        truth |= zip(ours, layer.get_parameter(name).grad.chunk(len(ours)))
    call = ("TransformerBlock", [*arguments, {"norm_first": norm_first}], weights, x, cotangent, training)
    actual = student.run(scenarios.layer_gradients, *call)
    actual, when = {key: actual[key] for key in truth}, partial(assert_right, student, norm_first)
    hinted(assert_close, actual, truth, what="the gradient", hint="detach nothing", when=when, atol=1e-8)


@exercise("TransformerBlock", points=1)
def test_the_block_has_sixteen_named_parameters(student):
    """attention, norm_1, feed_forward and norm_2, each with the parameters of its class, in both orders."""
    expected = {name: list(shape) for name, shape in block_shapes(6, 10).items()}
    for norm_first in (True, False):
        actual = student.run(scenarios.parameter_shapes, "TransformerBlock", [6, 2, 10, {"norm_first": norm_first}])
        assert_equal(actual, expected, what="the parameters of TransformerBlock(6, 2, 10)")


@exercise("TransformerBlock", points=1)
def test_future_positions_do_not_change_the_past(student, generator):
    """Under a causal mask a change at position 3 leaves positions 0 to 2 as they were."""
    arguments, weights, x = block_case(generator, 2, 6, 2, 3, 7)
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    changed = x.clone()
    changed[:, 3] += normal(generator, x.shape[-1])
    for norm_first in (True, False):
        layer = ("TransformerBlock", [*arguments, {"norm_first": norm_first}], weights)
        before = student.run(scenarios.forward, *layer, x, mask=mask)
        after = student.run(scenarios.forward, *layer, changed, mask=mask)
        assert_close(
            after[:, :3],
            before[:, :3],
            what="the output before the changed position",
            hint="attention gets the mask, and norms and feed-forward layer see each position alone",
        )
        assert not torch.allclose(after[:, 3:], before[:, 3:]), (
            "a changed input must change the output from its position on"
        )


@exercise("TransformerBlock", points=0.5)
def test_a_silent_pre_norm_block_is_the_identity(student, generator):
    """When both sublayers give zero, pre-norm passes x through exactly, however many blocks there are."""
    arguments, weights, x = block_case(generator, 2, 4, 2, 3, 7)
    for name in ("attention.w_o.weight", "attention.w_o.bias", "feed_forward.w_out.weight", "feed_forward.w_out.bias"):
        weights[name] = torch.zeros_like(weights[name])
    actual = student.run(scenarios.stack, "TransformerBlock", arguments, weights, x, 5)
    assert_equal(actual, x, what="x after five silent blocks", hint="both sublayers give 0 here, so x + 0 + 0 is left")


@exercise("TransformerBlock", points=0.5)
def test_the_block_leaves_everything_else_alone(student, generator):
    """x, parameters and global random state are as before, calls in training mode agree, float32 stays float32."""
    arguments, weights, x = block_case(generator, 2, 4, 2, 3, 7)
    for norm_first in (True, False):
        layer = ("TransformerBlock", [*arguments, {"norm_first": norm_first}], weights)
        first, again, untouched = student.run(scenarios.forward_twice, *layer, x)
        assert_equal(again, first, what="a second call, in evaluation mode", hint="no dropout here")
        assert untouched, "the call changed the global random state, default dtype or gradient mode"
        some = mask_for(generator, 4, 4)
        after, changed = student.run(scenarios.forward_and_input, *layer, x, mask=some)
        assert_equal(after, [x, some], what="[x, mask] after the call", hint="x = x + ..., not x += ...")
        assert_equal(changed, [], what="what the call changed")
        alone = student.run(scenarios.forward_after_a_mask, *layer, x, some)
        assert_close(alone, first, what="the block without a mask, after a call with one", hint="keep no mask from call to call")
        scattered = student.run(scenarios.forward_strided, *layer, x)
        assert_close(scattered, (first, first), what="the block on a non-contiguous x", hint="reshape where view fails")
        exact = student.run(scenarios.layer_gradients, *layer, x, x)
        masked = student.run(scenarios.forward, *layer, x, mask=some)
        precisions = (torch.float32, 1e-3), (torch.float16, 0.1), (torch.bfloat16, 0.5)
        for (dtype, room), training in product(precisions, (True, False)):
            single = student.run(scenarios.layer_gradients, *layer, x.to(dtype), x.to(dtype), training)
            assert single["output"].dtype == dtype, f"a {dtype} block gave {single['output'].dtype}"
            assert_close(single["output"].double(), first, what=f"the block in {dtype}", rtol=room, atol=room)
            lost = [key for key, value in single.items() if not isinstance(value, torch.Tensor)]
            assert_equal(lost, [], what=f"what no gradient reaches in {dtype}", hint="detach nothing")
            again = student.run(scenarios.forward_again, *layer, weights, x.to(dtype), mask=some)
            what = f"the block with a mask in {dtype}, in both modes, with and without recorded gradients"
            assert_close([y.double() for y in again], [masked] * 4, what=what, hint=ALIKE, rtol=room, atol=room)
            far = room * max(float(value.abs().max()) for value in exact.values())
            wide = {key: value.double() for key, value in single.items()}
            assert_close(wide, exact, what=f"output and gradients in {dtype}", hint="detach nothing", rtol=room, atol=far)
        trained, mask = block_weights(generator, arguments[0], arguments[2]), mask_for(generator, 4, 4)
        expected = student.run(scenarios.forward, *layer[:2], trained, x, mask=mask)
        actual = student.run(scenarios.forward_again, *layer, trained, x, mask=mask)
        hint = f"weights, x and mask change from call to call: keep nothing of them, and {ALIKE}"
        what = "[training, evaluation] after other weights and another mask, and both without recorded gradients"
        assert_close(actual, [expected] * 4, what=what, hint=hint)
    changed = student.run(scenarios.changed_by_making, "TransformerBlock", arguments)
    assert_equal(changed, [], what="what making the block changed", hint="set no seed and no default")
    expected = encoder_layer(weights, *arguments, norm_first=False)(x).detach()
    actual = student.run(scenarios.forward, "TransformerBlock", [*arguments, False], weights, x)
    what = "TransformerBlock(d_model, n_heads, d_ff, False)(x)"
    when = partial(assert_right, student, norm_first=False)
    hinted(assert_close, actual, expected, what=what, hint="norm_first is the fourth argument", when=when, atol=1e-9)
    other = block_weights(generator, arguments[0], arguments[2])
    made = [([*arguments, True], weights), ([*arguments, False], other), (arguments, other)]
    expected = [encoder_layer(made[i][1], *arguments, norm_first=i != 1)(x).detach() for i in range(3)]
    actual = student.run(scenarios.side_by_side, "TransformerBlock", made, x)
    hint = "each has its own order and weights, and a copy its own too"
    what = "the outputs of three blocks, and of their deep copies"
    when = partial(assert_right, student, norm_first=True)
    hinted(assert_close, actual, expected * 2, what=what, hint=hint, when=when, atol=1e-9)
