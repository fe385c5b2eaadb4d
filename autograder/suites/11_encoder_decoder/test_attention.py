"""padding_mask and CrossAttention."""

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.probes import again_after_overwriting, strided
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import attention_shapes, random_mask, random_weights, where_missing

# padding_mask


@exercise("padding_mask", points=2.5, core=True)
@settings(max_examples=14)
@given(
    lead=leading_shapes(4),
    n=sizes(0, 9),
    seed=seeds(),
    dtype=st.sampled_from([torch.int64, torch.int32, torch.uint8, torch.int16, torch.int8]),
)
@example(lead=(3,), n=5, seed=4, dtype=torch.int64)
@example(lead=(3,), n=5, seed=4, dtype=torch.int8)
def test_the_first_tokens_of_each_row_are_real(student, reference, lead, n, seed, dtype):
    """True at the first lengths[i] positions of row i and False after them, for lengths of any shape and integer dtype."""
    lengths = torch.randint(n + 1, lead, generator=torch.Generator().manual_seed(seed)).to(dtype)
    actual = student.padding_mask(lengths, n)
    hint = "position j is real if j < length: such a comparison is the mask, in booleans"
    assert_equal(actual, reference.padding_mask(lengths, n), what=f"the mask of {lengths.tolist()} in {n}", hint=hint)
    assert_inputs_untouched(student)


@exercise("padding_mask", points=0.5)
def test_empty_and_full_rows(student):
    """A length of 0 is a row of False, one of max_len a row of True; a batch may be empty, a max_len large."""
    expected = torch.tensor([[False] * 3, [True] * 3])
    assert_equal(student.padding_mask(torch.tensor([0, 3]), 3), expected, what="the mask of lengths 0 and 3")
    empty = torch.tensor([], dtype=torch.int64)
    assert_equal(student.padding_mask(empty, 4), torch.zeros(0, 4, dtype=torch.bool), what="the mask of no rows")
    none = student.padding_mask(torch.zeros(2, 0, dtype=torch.int32), 4)
    assert_equal(none, torch.zeros(2, 0, 4, dtype=torch.bool), what="the mask of two times no rows")
    lengths, hint = torch.tensor([200, 0, 255], dtype=torch.uint8), "max_len need not fit into the dtype of the lengths"
    expected = torch.arange(1030) < lengths.long()[:, None]
    assert_equal(student.padding_mask(lengths, 1030), expected, what="the mask of uint8 lengths in 1030", hint=hint)
    long, hint = torch.tensor([4097, 2049, 257]), "no position may be rounded: half precision ends at 2048, bfloat16 at 256"
    expected_long = torch.arange(4500) < long[:, None]
    assert_equal(student.padding_mask(long, 4500), expected_long, what="the mask of lengths of thousands in 4500", hint=hint)
    nested = torch.tensor([[0, 2, 1], [3, 1, 0]])
    hint = "lengths[..., None], or reshape: view needs one order in memory"
    expected_nested = torch.arange(3) < nested[..., None]
    found = student.run(strided, "padding_mask", [nested, 3])
    assert_equal(found, expected_nested, what="the mask of lengths in another order in memory", hint=hint)
    again = student.run(again_after_overwriting, "padding_mask", [lengths, 300])
    assert_equal(again, expected[:, :300], what="the mask of a second call, the first one's having been written into")
    assert_equal(student.padding_mask(max_len=1, lengths=torch.tensor([0])), torch.zeros(1, 1, dtype=torch.bool), what="by name")


@exercise("padding_mask", points=1)
def test_lengths_that_do_not_fit_are_refused(student):
    """Negative ones, and those above max_len, wherever they stand."""
    for lengths, n in (([-1, 4], 3), ([2, -1], 3), ([4, 1], 3), ([1, 4], 3), ([1], 0), ([[-1], [0]], 2), ([[0], [3]], 2)):
        assert_refused(student.padding_mask, torch.tensor(lengths), n, why="a length is outside 0..max_len")
    lengths = torch.tensor([3, 200], dtype=torch.uint8)  # in whose dtype 5 - 200 is 61
    assert_refused(student.padding_mask, lengths, 5, why="a length is outside 0..max_len")


# CrossAttention

HINT = "scores are q @ k.mT plus the bias, with no scale; softmax over the context; w_o in the end"


def problem(seed, b, n_heads, n_q, n_k, head_dim, masked, biased):
    """(sizes, weights, x, context, mask, bias); a mask has rows of nothing."""
    d = n_heads * head_dim
    shapes = {"none": None, "keys": (b, 1, 1, n_k), "queries": (n_q, n_k), "all": (b, n_heads, n_q, n_k)}
    shapes |= {"vector": (n_k,), "column": (n_q, 1), "heads": (n_heads, n_q, n_k)}
    shape, bias_shape = shapes[masked], {**shapes, "keys": (n_heads, n_q, n_k)}[biased]
    return (
        [d, n_heads],
        random_weights(attention_shapes(d), seed),
        normal(seed + 1, b, n_q, d),
        normal(seed + 2, b, n_k, d),
        None if shape is None else random_mask(seed, *shape),
        None if bias_shape is None else normal(seed + 3, *bias_shape),
    )


KINDS = st.sampled_from(["none", "keys", "queries", "all", "vector", "column", "heads"])
PROBLEMS = {
    "seed": seeds(), "b": sizes(1, 3), "n_heads": sizes(1, 3), "n_q": sizes(1, 5), "n_k": sizes(1, 6), "head_dim": sizes(1, 4),
    "masked": KINDS, "biased": KINDS,
}  # fmt: skip


@exercise("CrossAttention", points=4, core=True)
@settings(max_examples=10)
@given(**PROBLEMS)
@example(seed=1, b=2, n_heads=2, n_q=3, n_k=5, head_dim=3, masked="none", biased="none")
@example(seed=2, b=2, n_heads=2, n_q=4, n_k=4, head_dim=3, masked="keys", biased="all")
@example(seed=8, b=2, n_heads=2, n_q=2, n_k=3, head_dim=2, masked="queries", biased="keys")  # as many queries as texts
@example(seed=4, b=2, n_heads=3, n_q=4, n_k=3, head_dim=1, masked="vector", biased="vector")
@example(seed=6, b=3, n_heads=2, n_q=3, n_k=4, head_dim=2, masked="heads", biased="heads")
@example(seed=5, b=3, n_heads=1, n_q=4, n_k=3, head_dim=2, masked="column", biased="column")
def test_each_query_gets_its_mean_of_the_context(student, reference, **sizes):
    """softmax(q kᵀ + bias) v in each head, without a scale, then w_o: for any lengths, masks and biases."""
    layer, weights, *args = problem(**sizes)
    actual = student.run(scenarios.called, "CrossAttention", layer, weights, args)
    expected = reference.run(scenarios.called, "CrossAttention", layer, weights, args)
    assert_close(actual, expected, what="the output", hint=HINT)


@exercise("CrossAttention", points=2, core=True)
@settings(max_examples=9)
@given(**PROBLEMS)
def test_keys_and_values_may_be_computed_before(student, reference, **sizes):
    """project_context gives keys and values by head, and forward takes that pair as it takes the context."""
    layer, weights, *args = problem(**sizes)
    pair, from_pair, from_context = student.run(scenarios.projected, layer, weights, *args)
    expected, expected_output, _ = reference.run(scenarios.projected, layer, weights, *args)
    assert_close(pair, expected, what="(k, v)", hint="split_heads of w_k(context) and of w_v(context): (b, h, n, head_dim)")
    assert_close(from_context, expected_output, what="the output for the context", hint=HINT)
    assert_close(from_pair, expected_output, what="the output for the pair", hint="use the pair as it is; project it no more")


@exercise("CrossAttention", points=1)
@settings(max_examples=7)
@given(seed=seeds(), b=sizes(2, 4), n_heads=sizes(1, 3), n_q=sizes(1, 3), n_k=sizes(1, 4), one=st.booleans())
def test_any_pair_of_keys_and_values_serves(student, reference, seed, b, n_heads, n_q, n_k, one):
    """Also a pair whose keys and values come from elsewhere, and one of batch 1 for a larger batch of queries."""
    d = 2 * n_heads
    x, (k, v) = normal(seed, b, n_q, d), (normal(seed + i, 1 if one else b, n_heads, n_k, 2) for i in (1, 2))
    args = [d, n_heads], random_weights(attention_shapes(d), seed), x, k, v, random_mask(seed, b, 1, n_q, n_k)
    actual, untouched = student.run(scenarios.attended_to_any_pair, *args)
    expected, _ = reference.run(scenarios.attended_to_any_pair, *args)
    assert_close(actual, expected, what="the output for a pair", hint="(k, v): keys first; let them broadcast")
    assert_equal(untouched, True, what="whether the pair is as it was")


@exercise("CrossAttention", points=2)
@settings(max_examples=7)
@given(seed=seeds(), n_heads=sizes(1, 3), n_q=sizes(1, 4), n_k=sizes(2, 6))
def test_masked_keys_have_no_weight(student, seed, n_heads, n_q, n_k):
    """What stands at a masked key changes nothing, however large it or the bias is."""
    layer, weights, x, context, _, _ = problem(seed, 2, n_heads, n_q, n_k, 2, "none", "none")
    mask = torch.arange(n_k) < torch.tensor([n_k - 1, 1])[:, None]
    for scale, size in ((0.0, 50.0), (1.0, 1e12), (-1e12, 50.0)):
        other = torch.where(mask[..., None], context, size * normal(seed + 9, *context.shape))
        bias = (torch.full((n_heads, n_q, n_k), scale) if scale < 0 else scale * normal(seed + 5, n_heads, n_q, n_k)).double()
        several = [(x, each, mask[:, None, None], bias) for each in (context, other)]
        found = [student.run(scenarios.called, "CrossAttention", layer, weights, list(args)) for args in several]
        hint = "fill masked scores before the softmax with torch.finfo(dtype).min: it is below any score"
        what = f"the output after a change at masked keys (to numbers of about {size:g}, bias of {scale:g})"
        assert_close(found[1], found[0], what=what, hint=hint)
    alone = student.run(scenarios.called, "CrossAttention", layer, weights, [x[1:], context[1:, :1], None, bias[..., :1]])
    what = f"the output for the only real key (bias of {scale:g})"
    assert_close(found[0][1:], alone, what=what, hint=f"its weight is 1; {hint}", atol=1e-8)


@exercise("CrossAttention", points=1.5)
@settings(max_examples=4)
@given(seed=seeds(), n_heads=sizes(1, 3), n_q=sizes(1, 4), n_k=sizes(0, 4), masked=st.sampled_from(["row", "one query", "all"]))
@example(seed=1, n_heads=2, n_q=3, n_k=0, masked="row")
@example(seed=2, n_heads=2, n_q=3, n_k=4, masked="one query")
def test_a_query_without_keys_gets_zeros(student, seed, n_heads, n_q, n_k, masked):
    """Never NaN, nor in the gradients; the other rows of the batch are as always."""
    layer, weights, x, context, _, bias = problem(seed, 2, n_heads, n_q, n_k, 2, "none", "keys")
    mask = torch.ones(2, 1, n_q, n_k, dtype=torch.bool)
    mask[{"row": 1, "one query": (slice(None), slice(None), 0), "all": slice(None)}[masked]] = False
    args = [x, context, mask, bias]
    found = student.run(scenarios.called, "CrossAttention", layer, weights, args)
    empty = ~mask.any(-1)[:, 0]
    hint = "set the weights of masked keys to 0 after the softmax"
    assert_close(found[empty], torch.zeros_like(found[empty]), what="the output without keys", hint=hint)
    cotangent = normal(seed, *x.shape)
    own, given = student.run(scenarios.layer_gradients, "CrossAttention", layer, weights, args, cotangent, [0, 1, 3])
    finite = all(bool(each.isfinite().all()) for each in [*own.values(), *given])
    assert finite, f"a gradient is not finite where queries have no key\n  hint: {hint}, and fill no score with -inf"
    if n_k and masked != "all":
        full = student.run(scenarios.called, "CrossAttention", layer, weights, [x, context, None, bias])
        assert_close(found[~empty], full[~empty], what="the output of queries that have all keys")


@exercise("CrossAttention", points=1.5)
@settings(max_examples=7)
@given(**PROBLEMS)
def test_gradients_reach_everything(student, reference, **sizes):
    """x, the context, the bias and all four weights get theirs."""
    layer, weights, *args = problem(**sizes)
    wrt = [0, 1] if args[3] is None else [0, 1, 3]
    args = "CrossAttention", layer, weights, args, normal(sizes["seed"], *args[0].shape), wrt
    actual, expected = (each.run(scenarios.layer_gradients, *args) for each in (student, reference))
    hint = where_missing(actual, expected, "is something detached?")
    assert_close(actual, expected, what="(gradients of weights, of arguments)", hint=hint, rtol=1e-7, atol=1e-9)
    actual = student.run(scenarios.gradients_through_the_pair, *args[1:])
    what, hint = (
        "(gradients of weights, of arguments) with the context as a pair, in evaluation mode",
        "those of the context itself: detach no pair",
    )
    assert_close(actual, expected, what=what, hint=hint, rtol=1e-7, atol=1e-9)


@exercise("CrossAttention", points=1)
def test_the_layer_has_four_weights_and_no_bias(student):
    """w_q, w_k, w_v and w_o, each its own, new for every layer; n_heads and head_dim; heads must divide the width."""
    found = student.run(scenarios.structure, "CrossAttention", [6, 3])
    names = {"w_q", "w_k", "w_v", "w_o"}
    assert_equal(found["parameters"], {f"{name}.weight": [6, 6] for name in names}, what="the parameters")
    assert_equal(found["shared by two"], [], what="the parameters that two new layers share")
    assert_equal(found["changed"], [], what="what making a layer changed elsewhere")
    n_heads, head_dim = student.run(scenarios.heads_of, 6, 3)
    assert_equal(n_heads, 3, what="the attribute n_heads of CrossAttention(6, 3)")
    assert_equal(head_dim, 2, what="the attribute head_dim of CrossAttention(6, 3)", hint="d_model // n_heads, an int")
    make = called("CrossAttention", lambda *sizes: student.run(scenarios.made, "CrossAttention", *sizes))
    for d, n_heads in ((6, 4), (2, 4), (7, 2)):
        assert_refused(make, d, n_heads, why="n_heads does not divide d_model")


@exercise("CrossAttention", points=0.5)
def test_half_and_single_precision_stay(student, reference):
    """The output has the dtype of weights and inputs; in float16 masked scores do not overflow, nor do large ones anywhere."""
    layer, weights, *args = problem(3, 2, 2, 3, 4, 3, "keys", "keys")
    large = [1e3 * args[0], *args[1:]]
    actual, expected = (each.run(scenarios.called, "CrossAttention", layer, weights, large) for each in (student, reference))
    assert_close(actual, expected, what="the output where scores are in the thousands", hint="softmax(-1)", rtol=1e-7, atol=1e-7)
    args[2][0] = False
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        cast = [{name: x.to(dtype) for name, x in weights.items()}, [x.to(dtype) if x.is_floating_point() else x for x in args]]
        actual = student.run(scenarios.called, "CrossAttention", layer, *cast)
        expected = reference.run(scenarios.called, "CrossAttention", layer, weights, args).to(dtype)
        room = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.02}[dtype]
        assert_close(actual, expected, what=f"the output in {dtype}", hint="take the fill from torch.finfo", rtol=0, atol=room)


@exercise("CrossAttention", points=0.5)
def test_arguments_are_left_alone_and_nothing_is_remembered(student, reference):
    """Inputs in any order in memory, two layers in turns, new weights: each call gives what it must."""
    layer, weights, *args = problem(5, 2, 2, 3, 4, 3, "all", "all")
    found, untouched, changed = student.run(scenarios.called_scattered, "CrossAttention", layer, weights, args)
    expected = reference.run(scenarios.called, "CrossAttention", layer, weights, args)
    assert_close(found, expected, what="the output for arguments in another order in memory")
    assert_equal(untouched, True, what="whether the arguments are as they were")
    assert_equal(changed, [], what="what else the call changed")
    several = [args, problem(6, 2, 2, 3, 4, 3, "none", "none")[2:], problem(7, 1, 2, 5, 2, 3, "keys", "none")[2:], args]
    turns = "CrossAttention", layer, weights, random_weights(attention_shapes(6), 8), several
    actual, expected = (each.run(scenarios.called_in_turns, *turns) for each in (student, reference))
    assert_close(actual, expected, what="the outputs of two layers in turns", hint="keep nothing from call to call")
    turns = "CrossAttention", layer, weights, random_weights(attention_shapes(6), 8), args
    actual, expected = (each.run(scenarios.called_after_a_change, *turns) for each in (student, reference))
    assert_close(actual, expected, what="the outputs before and after a change of the weights")
