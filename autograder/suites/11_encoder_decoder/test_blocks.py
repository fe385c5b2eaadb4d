"""EncoderBlock and DecoderBlock."""

import torch

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.assertions import brief
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import block_shapes, mask_of, random_mask, random_weights, where_missing

D, HEADS, D_FF = 6, 2, 5
LAYER = [D, HEADS, D_FF]
KINDS = ("EncoderBlock", "DecoderBlock")
HINTS = {
    "EncoderBlock": "x + attention(norm_1(x)), then x + feed_forward(norm_2(x)); mask and bias go to the attention",
    "DecoderBlock": "causal self-attention with the bias, cross-attention with context and context_mask, then feed_forward",
}


def weights_of(kind, seed, d=D, d_ff=D_FF):
    """Random weights for a block."""
    return random_weights(block_shapes(d, d_ff, kind), seed)


def arguments(kind, seed, b=2, t=4, n=5, d=D, heads=HEADS, plain=False, form=0):
    """What a block is called with: x, and its mask and bias of one of four forms (none of them if plain)."""
    x = normal(seed, b, t, d)
    n = t if kind == "EncoderBlock" else n
    mask = random_mask(seed, *((b, 1, 1, n), (t, n), (heads, t, n), (n,))[form])
    bias = normal(seed + 1, *((heads, t, t), (b, heads, t, t), (t, t), (heads, 1, t))[form])
    before = [x] if kind == "EncoderBlock" else [x, normal(seed + 2, b, n, d)]
    return before if plain else [*before, mask, bias]


def first(found):
    """x, without the keys and values that a DecoderBlock gives as well."""
    return found[0] if isinstance(found, tuple | list) else found


def check_values(student, reference, kind, seed, b, t, n, heads, width, d_ff, plain, form):
    d = heads * width
    args = kind, [d, heads, d_ff], weights_of(kind, seed, d, d_ff), arguments(kind, seed, b, t, n, d, heads, plain, form)
    actual, expected = (each.run(scenarios.called, *args) for each in (student, reference))
    if kind == "DecoderBlock":
        pair = isinstance(actual, tuple | list) and len(actual) == 2
        assert pair, f"a DecoderBlock returns two things, x and the pair (k, v), but this is {brief(actual)}"
    else:
        assert isinstance(actual, torch.Tensor), (
            f"an EncoderBlock returns x and nothing else, but this is a {type(actual).__name__}"
        )
    assert_close(first(actual), first(expected), what="the new x", hint=HINTS[kind])


def check_gradients(student, reference, kind):
    args = arguments(kind, 3)
    wrt = [0, 2] if kind == "EncoderBlock" else [0, 1, 3]
    args[1 if kind == "EncoderBlock" else 2] = None
    if kind == "EncoderBlock":
        args, wrt = args[:1] + [None] + args[2:], [0, 2]
    call = kind, LAYER, weights_of(kind, 4), args, normal(5, *args[0].shape), wrt
    actual, expected = (each.run(scenarios.layer_gradients, *call) for each in (student, reference))
    hint = where_missing(actual, expected, "is something detached?")
    assert_close(actual, expected, what="(gradients of weights, of arguments)", hint=hint, rtol=1e-7, atol=1e-9)
    if kind == "DecoderBlock":
        actual = student.run(scenarios.layer_gradients, *call, as_pair=True)
        hint = where_missing(actual, expected, "those of the context itself: detach no pair")
        what = "(gradients of weights, of arguments) with the context as the pair that cross_attention.project_context gives"
        assert_close(actual, expected, what=what, hint=hint, rtol=1e-7, atol=1e-9)


def check_dropout(student, kind):
    """Off in evaluation mode, on in train mode, before each sum."""
    call = kind, LAYER, 0.5, weights_of(kind, 6), arguments(kind, 7, b=2, t=8)
    (quiet, noisy, again, still), without = student.run(scenarios.with_dropout, *call)
    hint = "nn.Dropout as a submodule knows about train and eval mode"
    assert_close([quiet, still], [without, without], what="x in evaluation mode", hint=hint)
    assert not torch.equal(noisy, without) and not torch.equal(noisy, again), f"nothing is dropped in train mode\n  hint: {hint}"
    # One sub-layer alone adds something; in train mode that is, number by number, dropped or divided by 1 - p.
    parts = ("attention", "feed_forward") if kind == "EncoderBlock" else ("attention", "cross_attention", "feed_forward")
    for part in parts:
        weights = weights_of(kind, 6)
        for name, x in weights.items():
            if name.startswith(tuple(f"{other}.w_o" for other in parts if other != part)):
                x.zero_()  # w_o of the other attentions, w_out of another feed_forward
        quiet, added = student.run(scenarios.dropped, kind, LAYER, 0.25, weights, arguments(kind, 7, b=3, t=8, plain=True), 8)
        kept, gone = torch.isclose(added, quiet / 0.75), added.abs() < 1e-12
        what = f"dropout acts on what {part} adds to x, on that alone and once, with and without gradients: "
        what += "each number is dropped or divided by 1 - p"
        assert bool((kept | gone).all()), what
        share = kept.double().mean().item()
        assert 0.68 < share < 0.82, f"with a dropout of 0.25, {share:.0%} of what {part} adds are kept, not three quarters"
        alike = [bool((kept.all(dim) | gone.all(dim)).all()) for dim in (-1, -2, -3)]
        what = f"of what {part} adds, whole positions or channels or the same numbers of all texts are dropped: "
        what += "each number has its own chance"
        assert not any(alike), what


def check_parameters(student, kind):
    found = student.run(scenarios.structure, kind, LAYER)
    shapes = {name: list(shape) for name, shape in block_shapes(D, D_FF, kind).items()}
    hint = "attention without biases, feed_forward with them, one RMSNorm for each sub-layer"
    assert_equal(found["parameters"], shapes, what="the parameters of a new block", hint=hint)
    assert_equal(found["shared by two"], [], what="the parameters that two new blocks share")
    assert_equal(found["changed"], [], what="what making a block changed elsewhere")


def check_memory(student, reference, kind):
    """Arguments untouched, in any order in memory, a mask of False alone among them; nothing kept from call to call."""
    weights, others, args = weights_of(kind, 8), weights_of(kind, 9), arguments(kind, 10)
    found, untouched, changed = student.run(scenarios.called_scattered, kind, LAYER, weights, args)
    expected = reference.run(scenarios.called, kind, LAYER, weights, args)
    assert_close(first(found), first(expected), what="x for arguments in another order in memory")
    assert_equal(untouched, True, what="whether the arguments are as they were")
    assert_equal(changed, [], what="what else the call changed")
    several = [args, arguments(kind, 12, plain=True), arguments(kind, 11, 2, 6, 2), args]
    call = kind, LAYER, weights, others, several
    actual, expected = (each.run(scenarios.called_in_turns, *call) for each in (student, reference))
    pairs = [[[first(x) for x in turn] for turn in found] for found in (actual, expected)]
    assert_close(*pairs, what="x of two blocks in turns", hint="keep nothing from call to call")
    call = kind, LAYER, weights, others, args
    actual, expected = ([first(x) for x in each.run(scenarios.called_after_a_change, *call)] for each in (student, reference))
    hint = "keep nothing that was made of weights: they learn"
    assert_close(actual, expected, what="x before and after a change of the weights", hint=hint)
    none = arguments(kind, 1, 1, 1, 1, form=3)
    none[2 if kind == "DecoderBlock" else 1] = torch.tensor([False])
    actual, expected = (first(each.run(scenarios.called, kind, LAYER, weights, none)) for each in (student, reference))
    assert_close(actual, expected, what="x where the mask allows nothing", hint="who may attend to nothing gets zeros")
    low = [{name: x.float() for name, x in weights.items()}, [x.float() if x.is_floating_point() else x for x in args]]
    found = student.run(scenarios.called, kind, LAYER, *low)
    expected = reference.run(scenarios.called, kind, LAYER, weights, args)
    assert_close(first(found), first(expected).float(), what="x in float32", rtol=1e-4, atol=1e-4)
    low = [{name: x.bfloat16() for name, x in weights.items()}, [x.bfloat16() if x.is_floating_point() else x for x in args]]
    assert_equal(first(student.run(scenarios.called, kind, LAYER, *low)).dtype, torch.bfloat16, what="the dtype of x in bfloat16")


VALUES = {
    "seed": seeds(), "b": sizes(1, 3), "t": sizes(1, 5), "n": sizes(1, 5), "heads": sizes(1, 3), "width": sizes(1, 3),
    "d_ff": sizes(1, 7), "plain": st.booleans(), "form": st.integers(0, 3),
}  # fmt: skip


@exercise("EncoderBlock", points=3, core=True)
@settings(max_examples=8)
@given(**VALUES)
@example(seed=1, b=2, t=4, n=1, heads=2, width=3, d_ff=5, plain=False, form=0)
@example(seed=2, b=2, t=4, n=1, heads=2, width=3, d_ff=5, plain=True, form=0)
@example(seed=3, b=3, t=3, n=1, heads=2, width=2, d_ff=5, plain=False, form=1)
def test_an_encoder_block_attends_then_feeds_forward(student, reference, **sizes):
    """Pre-norm: self-attention in both directions with mask and bias, and the feed-forward layer, each added to x."""
    check_values(student, reference, "EncoderBlock", **sizes)


@exercise("EncoderBlock", points=0.5)
def test_an_encoder_blocks_gradients(student, reference):
    """x, the bias and every weight get theirs."""
    check_gradients(student, reference, "EncoderBlock")


@exercise("EncoderBlock", points=0.5)
def test_an_encoder_blocks_dropout(student):
    """In train mode only, on what each sub-layer adds."""
    check_dropout(student, "EncoderBlock")


@exercise("EncoderBlock", points=0.5)
def test_an_encoder_blocks_parameters(student):
    """attention, feed_forward, norm_1 and norm_2, and no others."""
    check_parameters(student, "EncoderBlock")


@exercise("EncoderBlock", points=0.5)
def test_an_encoder_block_keeps_nothing(student, reference):
    """Arguments are left alone, and each call stands for itself, also one whose mask allows nothing."""
    check_memory(student, reference, "EncoderBlock")


@exercise("DecoderBlock", points=2.5, core=True)
@settings(max_examples=8)
@given(**VALUES)
@example(seed=1, b=2, t=4, n=5, heads=2, width=3, d_ff=5, plain=False, form=0)
@example(seed=2, b=2, t=4, n=3, heads=2, width=3, d_ff=5, plain=True, form=0)
@example(seed=3, b=3, t=3, n=4, heads=2, width=2, d_ff=5, plain=False, form=1)
@example(seed=4, b=2, t=4, n=4, heads=2, width=3, d_ff=5, plain=False, form=0)  # the bias would fit the context, too
def test_a_decoder_block_attends_twice_then_feeds_forward(student, reference, **sizes):
    """Pre-norm: causal self-attention with the bias, cross-attention with the context and its mask, the feed-forward layer."""
    check_values(student, reference, "DecoderBlock", **sizes)


@exercise("DecoderBlock", points=2.5, core=True)
@settings(max_examples=6)
@given(
    seed=seeds(), pieces=st.lists(sizes(1, 3), min_size=1, max_size=4), n=sizes(1, 4), biased=st.booleans(), as_pair=st.booleans()
)
@example(seed=1, pieces=[2, 1, 3, 1], n=3, biased=True, as_pair=True)
def test_a_text_in_pieces_gives_the_rows_of_the_whole(student, reference, seed, pieces, n, biased, as_pair):
    """With the pair of the call before as the past; the last pair holds the keys and values of all positions."""
    t = sum(pieces)
    x, context, mask, bias = arguments("DecoderBlock", seed, 2, t, n)
    call = LAYER, weights_of("DecoderBlock", seed), x, context, mask, bias if biased else None
    rows, past, untouched = student.run(scenarios.decoded_in_pieces, *call, pieces, as_pair)
    whole, expected_past, _ = reference.run(scenarios.decoded_in_pieces, *call, [t], False)
    hint = "keys and values of the past come before the new ones; the causal mask is bottom-right aligned"
    assert_close(rows, whole, what=f"the rows of {t} positions in pieces of {pieces}", hint=hint)
    assert_close(
        past, expected_past, what="the self-attention's (k, v) after the last piece", hint="(b, h, p + t, head_dim), past first"
    )
    assert_equal(untouched, True, what="whether each past is as it was", hint="concatenate into a new tensor")


@exercise("DecoderBlock", points=0.5)
def test_one_past_serves_two_continuations(student, reference):
    """A beam continues one text in several ways, however long it is."""
    x, context = normal(1, 2, 3, D), normal(2, 2, 4, D)
    call = LAYER, weights_of("DecoderBlock", 3), x, normal(4, 2, 1, D), normal(5, 2, 1, D), context
    actual, expected = (each.run(scenarios.two_continuations, *call) for each in (student, reference))
    hint = "what a call appends is not for the next: torch.cat makes new keys and values"
    assert_close(actual[0], expected[0], what="the rows of two continuations of one past", hint=hint)
    assert_close(actual[1], expected[1], what="the rows that go on from each of the two", hint=hint)
    past = normal(6, 2, HEADS, 2100, D // HEADS), normal(7, 2, HEADS, 2100, D // HEADS)
    call = "DecoderBlock", LAYER, weights_of("DecoderBlock", 3), [x, context, None, None, past]
    actual, expected = (first(each.run(scenarios.called, *call)) for each in (student, reference))
    assert_close(actual, expected, what="the rows after a past of 2100 positions", hint="a text may be of any length")


@exercise("DecoderBlock", points=0.5)
@settings(max_examples=4)
@given(seed=seeds(), t=sizes(2, 5))
def test_later_positions_and_masked_context_change_nothing(student, seed, t):
    """A position sees those up to itself, and of the context what the mask allows, be its row empty or not."""
    weights, (x, context) = weights_of("DecoderBlock", seed), arguments("DecoderBlock", seed, 2, t, 4, plain=True)
    mask = mask_of([3, 0], 4)
    full = first(student.run(scenarios.called, "DecoderBlock", LAYER, weights, [x, context, mask[:, None, None]]))
    assert bool(full.isfinite().all()), "x is not finite where a context is all padding"
    for i in range(1, t):
        other, elsewhere = x.clone(), torch.where(mask[..., None], context, normal(seed + i, *context.shape))
        other[:, i:] = normal(seed + i, 2, t - i, D)
        found = first(student.run(scenarios.called, "DecoderBlock", LAYER, weights, [other, elsewhere, mask[:, None, None]]))
        assert_close(
            found[:, :i], full[:, :i], what=f"x before position {i}", hint="causal_mask(t, p + t) for the self-attention"
        )


@exercise("DecoderBlock", points=0.5)
def test_a_decoder_blocks_gradients(student, reference):
    """x, the context, the bias and every weight get theirs, and what is there as the past alone."""
    check_gradients(student, reference, "DecoderBlock")
    x, context = arguments("DecoderBlock", 3, plain=True)
    call = LAYER, weights_of("DecoderBlock", 4), x, 2, context, normal(5, 2, 2, D)
    actual, expected = (each.run(scenarios.gradient_through_a_past, *call) for each in (student, reference))
    hint = "detach neither the pair that is returned nor the past: the gradients are those of the text in one piece"
    hint = where_missing(actual[:, :2], expected[:, :2], hint)
    what = "the gradient of the last 2 of 4 rows, one after the other, the first 2 being the past, in evaluation mode"
    assert_close(actual, expected, what=what, hint=hint)


@exercise("DecoderBlock", points=0.5)
def test_a_decoder_blocks_dropout(student):
    """In train mode only, on what each sub-layer adds."""
    check_dropout(student, "DecoderBlock")


@exercise("DecoderBlock", points=0.5)
def test_a_decoder_blocks_parameters(student):
    """attention, cross_attention, feed_forward and three norms, and no others."""
    check_parameters(student, "DecoderBlock")


@exercise("DecoderBlock", points=0.5)
def test_a_decoder_block_keeps_nothing(student, reference):
    """Arguments are left alone, and each call stands for itself, also one whose mask allows nothing."""
    check_memory(student, reference, "DecoderBlock")
