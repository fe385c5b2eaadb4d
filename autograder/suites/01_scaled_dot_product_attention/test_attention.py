"""causal_mask and scaled_dot_product_attention."""

import math
from contextlib import suppress

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, exercise
from autograder.testing.assertions import difference
from autograder.testing.hints import if_nan, if_right
from autograder.testing.probes import again_after_overwriting, changed_around, gradients, strided
from autograder.testing.strategies import (
    AttentionCase,
    attention_cases,
    broadcastable,
    composite,
    example,
    float_dtypes,
    given,
    leading_shapes,
    mask_for,
    normal,
    seeds,
    settings,
    sizes,
    st,
)

from . import scenarios
from .oracles import assert_not_accepted, attention, none_as_zeros, not_later, of_gradients


@exercise("causal_mask", points=3, core=True)
@given(n_q=sizes(1, 7), n_k=sizes(1, 7))
def test_a_query_sees_the_keys_that_are_not_later(student, n_q, n_k):
    """Entry (i, j) is True exactly where j <= i + n_k - n_q, for any two lengths."""
    assert_equal(
        student.causal_mask(n_q, n_k),
        not_later(n_q, n_k),
        what=f"causal_mask({n_q}, {n_k})",
        hint="True means visible; the last query stands beside the last key, so query i stands at i + n_k - n_q",
    )


@exercise("causal_mask", points=2)
@given(n=sizes(0, 9))
@settings(max_examples=6)
def test_keys_default_to_as_many_as_queries(student, n):
    """causal_mask(n) is the n by n lower triangle, diagonal included."""
    assert_equal(
        student.causal_mask(n),
        torch.ones(n, n, dtype=torch.bool).tril(),
        what=f"causal_mask({n})",
        hint="a token sees itself and everything before it",
    )
    longer = torch.ones(280 + n, 280 + n, dtype=torch.bool).tril()
    assert_equal(student.causal_mask(280 + n), longer, what=f"causal_mask({280 + n})")
    many = 5000 + n
    expected = torch.ones(2, many, dtype=torch.bool)
    expected[0, -1] = False  # the last query but one does not see the last key
    assert_as_small_ones(student, 2, many, expected)
    expected = torch.zeros(many, 2, dtype=torch.bool)
    expected[-2:] = torch.ones(2, 2, dtype=torch.bool).tril()
    assert_as_small_ones(student, many, 2, expected)
    assert_equal(student.run(changed_around, "causal_mask", [n]), [], what="what the call changed outside its result")
    for lengths in ([n], [n, n + 2]):
        again = student.run(again_after_overwriting, "causal_mask", lengths)
        hint = "make a new tensor at each call: one that is kept and handed out again is its callers' to change"
        what = f"causal_mask{tuple(lengths)} after an earlier result was overwritten"
        assert_equal(again, not_later(lengths[0], lengths[-1]), what=what, hint=hint)


def assert_as_small_ones(student, n_q, n_k, expected):
    """A large mask is right; where a small one is and this is not, a hint says what may lie between them."""
    actual, hint = student.causal_mask(n_q, n_k), ""
    if difference(actual, expected, "", None, None, True):
        small = min(n_q, 5), min(n_k, 5)
        hint = "a mask has any size: no table made beforehand, and positions that are counted in int64"
        hint = if_right(hint, student.causal_mask(*small), not_later(*small))
    assert_equal(actual, expected, what=f"causal_mask({n_q}, {n_k})", hint=hint)


@exercise("causal_mask", points=2)
@given(n_k=sizes(0, 9), data=st.data())
def test_new_queries_see_the_past_as_the_last_rows_of_the_square(student, n_k, data):
    """With fewer queries than keys the mask is the last rows of the square mask, as in decoding with a cache."""
    n_q = data.draw(sizes(0, n_k))
    assert_equal(
        student.causal_mask(n_q, n_k=n_k),
        torch.ones(n_k, n_k, dtype=torch.bool).tril()[n_k - n_q :],
        what=f"causal_mask({n_q}, n_k={n_k})",
        hint="the queries are the last n_q of n_k positions (bottom-right alignment)",
    )


@exercise("causal_mask", points=2)
@given(n_k=sizes(0, 6), extra=sizes(1, 5))
def test_queries_before_the_first_key_see_nothing(student, n_k, extra):
    """With more queries than keys the first rows are all False and the last query still sees every key."""
    mask = student.causal_mask(n_k + extra, n_k)
    expected = torch.cat([torch.zeros(extra, n_k, dtype=torch.bool), torch.ones(n_k, n_k, dtype=torch.bool).tril()])
    hint = "the last query stands beside the last key, the first before every key"
    hint = hint if n_k or tuple(getattr(mask, "shape", ())) != (extra, extra) else "n_k = 0 is not None"
    assert_equal(mask, expected, what=f"causal_mask({n_k + extra}, {n_k})", hint=hint)


@exercise("causal_mask", points=1)
def test_negative_lengths_are_refused(student):
    """A negative number of queries or of keys raises ValueError."""
    for lengths in ((-1,), (-2, 3), (3, -1), (0, -2)):
        assert_not_accepted(student.causal_mask, *lengths, why="a length is never negative")


@exercise("scaled_dot_product_attention", points=5, core=True)
@given(case=attention_cases())
def test_output_is_the_weighted_mean_of_the_values(student, reference, case):
    """The output is the mean of the values, weighted by softmax(q kᵀ / sqrt(d_k)) over the keys allowed."""
    actual = student.scaled_dot_product_attention(case.q, case.k, case.v, case.mask)
    expected = reference.scaled_dot_product_attention(case.q, case.k, case.v, case.mask)
    assert_close(
        actual,
        expected,
        what="(output, weights)",
        hint="scale 1 / sqrt(d_k), softmax over the keys (last dimension), True means visible",
    )


@exercise("scaled_dot_product_attention", points=3, core=True)
@given(case=attention_cases())
@example(case=AttentionCase((), 2, 3, 2, 2, torch.float64, "none", 0))
@example(case=AttentionCase((2,), 2, 3, 2, 2, torch.float64, "full", 0))
@example(case=AttentionCase((), 140, 270, 2, 3, torch.float64, "none", 0))
@example(case=AttentionCase((2, 6), 140, 270, 2, 3, torch.float64, "full", 1))
@settings(max_examples=24)
def test_output_agrees_with_pytorch(student, case):
    """Where every query sees a key, the output is that of torch.nn.functional.scaled_dot_product_attention."""
    mask = None if case.mask is None else case.mask | (torch.arange(case.n_k) == 0)
    output, weights = student.scaled_dot_product_attention(case.q, case.k, case.v, mask=mask)
    expected = F.scaled_dot_product_attention(case.q, case.k, case.v, attn_mask=mask)
    assert_close(output, expected, what="output")
    ones = torch.ones(*case.lead, case.n_q, dtype=torch.float64)
    hint = "softmax over the keys" if mask is None else "softmax over the keys, after the mask"
    assert_close(weights.sum(-1), ones, what="the sum of each row of weights", hint=hint)


@exercise("scaled_dot_product_attention", points=3)
@given(case=attention_cases(masks=("full", "shared")), row=sizes(0, 6))
@settings(max_examples=20)
def test_a_query_that_may_attend_to_nothing_gets_zeros(student, case, row):
    """A query whose mask is all False gets zero weights and a zero output, not NaN."""
    row %= case.n_q
    case.mask[..., row, :] = False
    output, weights = student.scaled_dot_product_attention(case.q, case.k, case.v, mask=case.mask)
    zeros = torch.zeros(1, dtype=torch.float64)
    hint = if_nan("the softmax of a row of -inf is 0 / 0", weights, output)
    full = "a softmax's weights add up to 1, however low all scores are: put zeros where no key may be seen"
    hint = hint or if_right(full, weights[..., row, :].sum(-1), torch.ones(case.lead, dtype=torch.float64))
    with suppress(Exception):  # whether that is because True hides, another call tells
        if hint == full:
            student.scaled_dot_product_attention(case.q, case.k, case.v, mask=torch.ones_like(case.mask))
    assert_equal(weights[..., row, :], zeros.expand(*case.lead, case.n_k), what="weights of the blind query", hint=hint)
    assert_equal(output[..., row, :], zeros.expand(*case.lead, case.d_v), what="output of the blind query", hint=hint)


@exercise("scaled_dot_product_attention", points=3)
@given(case=attention_cases(largest=5), blind=st.booleans())
@settings(max_examples=24)
def test_gradients_are_right_and_finite(student, reference, case, blind):
    """Gradients reach q, k and v through both results, and stay finite where a query may attend to nothing."""
    if case.mask is not None and blind:
        case.mask[..., 0, :] = False
        case.k[..., -1, :] *= 1e4  # hidden from all, but its scores are the largest: exp would overflow
        case.mask[..., -1] = False
    args = ["scaled_dot_product_attention", [case.q, case.k, case.v], {"mask": case.mask}]
    actual = student.run(gradients, *args)["gradients"]
    expected = reference.run(gradients, *args)["gradients"]
    actual = none_as_zeros(actual, expected)
    hint = of_gradients(actual)
    assert_close(actual, expected, what="the gradients of (q, k, v)", hint=hint, rtol=1e-8, atol=1e-10)
    one = case.seed % 3  # the others are constants
    alone = none_as_zeros(student.run(gradients, *args, wrt=[one])["gradients"], expected[one : one + 1])
    hint = "q, k and v each get their gradient, whichever of them require it"
    what = f"the gradient of {'qkv'[one]}, which alone requires one"
    assert_close(alone[0], expected[one], what=what, hint=hint, rtol=1e-8, atol=1e-10)


@exercise("scaled_dot_product_attention", points=2)
@given(case=attention_cases(), scale=st.sampled_from([0.0, 1.0, -0.7, 2]))
@example(case=AttentionCase((), 3, 4, 3, 2, torch.float64, "none", 0), scale=0.0)
@settings(max_examples=20)
def test_a_given_scale_replaces_the_default(student, case, scale):
    """`scale` multiplies the scores instead of 1 / sqrt(d_k); 0.0 is a scale too."""
    actual = student.scaled_dot_product_attention(case.q, case.k, case.v, mask=case.mask, scale=scale)
    counts = torch.ones(case.n_q, case.n_k) if case.mask is None else case.mask
    expected = attention(case.q * (scale * math.sqrt(case.d_k)), case.k, case.v, counts.double())
    hint = "a given scale multiplies the scores, in place of 1 / sqrt(d_k)"
    if scale == 0.0 and difference(actual[0], expected, "", None, None, True):
        default = student.scaled_dot_product_attention(case.q, case.k, case.v, mask=case.mask)[0]
        hint = if_right("this is the output of the default, but a scale of 0.0 is not None", actual[0], default) or hint
    assert_close(actual[0], expected, what=f"output at scale={scale}", hint=hint)
    large = 1e3 * case.q
    actual = student.scaled_dot_product_attention(large, case.k, case.v, mask=case.mask, scale=scale)
    expected = attention(large * (scale * math.sqrt(case.d_k)), case.k, case.v, counts.double())
    hint = if_nan("take off each row's largest score, the largest after the scale, which may be negative", actual[0])
    assert_close(actual[0], expected, what=f"output for large scores at scale={scale}", hint=hint, atol=1e-8)


@exercise("scaled_dot_product_attention", points=2)
@given(dtype=float_dtypes(), sign=st.sampled_from([-1.0, 1.0]), n_k=sizes(2, 7), d_k=sizes(1, 6), seed=seeds())
@settings(max_examples=16)
def test_scores_of_any_size_give_the_right_weights(student, dtype, sign, n_k, d_k, seed):
    """Scores of any size, in rows of any size, neither overflow nor outdo the mask."""
    q, k = torch.zeros(3, d_k, dtype=dtype), torch.zeros(n_k, d_k, dtype=dtype)
    q[:, 0], k[:, 0] = 2.0**20 * sign, 2.0**22  # one coordinate, powers of two: equal scores to the last bit
    v = normal(seed, n_k, 4, dtype=dtype)
    mask = torch.ones(3, n_k, dtype=torch.bool)
    mask[1, 0] = mask[2, 1:] = False
    expected = mask / mask.sum(-1, keepdim=True, dtype=dtype)  # all scores of a row are equal
    output, weights = student.scaled_dot_product_attention(q, k, v, mask=mask)
    overflow = "exp overflows at 89 in float32: subtract the row's maximum, not its log(sum(exp)), which loses digits"
    hint = if_nan(overflow, weights) or "a masked score is lower than any other, and equal scores have equal weights"
    assert_close(weights, expected, what="weights of equal large scores", hint=hint)
    assert_close(output, expected @ v, what="output", hint=hint)
    assert_close(
        student.scaled_dot_product_attention(q, k, v)[0], v.mean(0).expand(3, 4), what="output, no mask", hint=hint
    )
    low = student.scaled_dot_product_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask=mask)[1]
    what = "weights of equal large scores in bfloat16"
    hint = if_nan("bfloat16 has the range of float32", low)
    assert_close(low, expected.bfloat16(), what=what, hint=hint, rtol=0, atol=1e-2)
    q, k, mask[0] = 64 * q.sign().half(), 64 * k.sign().half(), False
    expected = mask / mask.sum(-1, keepdim=True).clamp(min=1)
    half = student.scaled_dot_product_attention(q, k, v.half(), mask=mask)[1]
    hint = if_nan("the lowest number of float16 added to a score below 0 is -inf: replace the score, add nothing", half)
    what = f"weights of scores of {4096 * sign / math.sqrt(d_k):.0f} in float16, the first query blind"
    assert_close(half, expected.half(), what=what, hint=hint, rtol=0, atol=2e-3)
    pulled = student.run(gradients, "scaled_dot_product_attention", [q, k, v.half()], {"mask": mask})["gradients"]
    hint = of_gradients(pulled)
    finite = [x is not None and bool(x.isfinite().all()) for x in pulled]
    what = "whether the gradients of q, k and v are finite for low scores in float16, the first query blind"
    assert_equal(finite, [True] * 3, what=what, hint=hint)
    q = normal(seed + 1, 3, d_k) * torch.tensor([[1e-2], [10.0], [1e5]], dtype=torch.float64)
    k, v = normal(seed + 2, n_k, d_k), v.double()
    hint = (
        "each row has a largest score of its own, among the keys that it may see: one for the whole table, or for all "
        "keys, is not enough, and clamping changes the weights"
    )
    mask = torch.ones(3, n_k, dtype=torch.bool)
    mask[:, 0] = False
    for allowed in (None, mask):
        counts = torch.ones(3, n_k) if allowed is None else allowed
        actual = student.scaled_dot_product_attention(q, k, v, mask=allowed)[0]
        expected = attention(q, k, v, counts.double())
        assert_close(actual, expected, what="output of rows of all sizes", hint=hint, atol=1e-8)


@composite
def broadcast_cases(draw):
    """q, k, v and a mask whose leading dimensions differ but broadcast, and what they broadcast to."""
    lead, n_q, n_k, d_k, d_v = (
        draw(leading_shapes(3, 3)),
        draw(sizes(1, 4)),
        draw(sizes(1, 4)),
        draw(sizes()),
        draw(sizes()),
    )
    leads = [draw(broadcastable(lead)) for _ in range(3)]
    leads[draw(st.integers(0, 2))] = lead
    scores = (*torch.broadcast_shapes(*leads[:2]), n_q, n_k)
    g = torch.Generator().manual_seed(draw(seeds()))
    q, k, v = normal(g, *leads[0], n_q, d_k), normal(g, *leads[1], n_k, d_k), normal(g, *leads[2], n_k, d_v)
    mask = mask_for(g, *(draw(broadcastable(scores)) or (n_k,)))
    return q, k, v, mask, (*lead, n_q, n_k)


def all_sizes_equal():
    """A mask of three dimensions for scores of four, all of one size: it lines up with the last three."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (normal(g, 3, 3, 3, 3) for _ in "qkv")
    return q, k, v, mask_for(g, 3, 3, 3), (3, 3, 3, 3)


def one_mask_for_all_heads():
    """Every batch entry has a mask of its own, and all its heads share it."""
    g = torch.Generator().manual_seed(1)
    q, k, v = (normal(g, 2, 3, 4, 3) for _ in "qkv")
    return q, k, v, mask_for(g, 2, 1, 4, 4), (2, 3, 4, 4)


@exercise("scaled_dot_product_attention", points=2)
@given(case=broadcast_cases())
@example(case=all_sizes_equal())
@example(case=one_mask_for_all_heads())
@settings(max_examples=24)
def test_leading_dimensions_and_masks_broadcast(student, case):
    """Leading dimensions of q, k, v broadcast against each other, and the mask against the scores."""
    q, k, v, mask, full = case
    output, weights = student.scaled_dot_product_attention(q, k, v, mask=mask)
    hint = "count dimensions from the end: -1 and -2 are yours, all others are free"
    assert_close(output, attention(q, k, v, mask.double().expand(full)), what="output", hint=hint)
    expected = attention(q, k, torch.eye(full[-1], dtype=torch.float64), mask.double())
    assert_close(weights.broadcast_to(full), expected.broadcast_to(full), what="weights", hint=hint)


@exercise("scaled_dot_product_attention", points=2)
@given(
    case=attention_cases(masks=("none", "shared"), largest=5),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
@settings(max_examples=20)
def test_dtype_is_kept(student, reference, case, dtype):
    """float32 and half-precision inputs give results of the same dtype, right to that precision, and gradients."""
    q, k, v = (0.5 * case.q).to(dtype), (0.5 * case.k).to(dtype), case.v.to(dtype)
    mask = torch.ones(case.n_q, case.n_k, dtype=torch.bool) if case.mask is None else case.mask
    output, weights = student.scaled_dot_product_attention(q, k, v, mask=case.mask)
    expected = attention(q.double(), k.double(), v.double(), mask.double()).to(dtype)
    room = {torch.float32: 1e-5, torch.float16: 8e-3, torch.bfloat16: 6e-2}[dtype]  # a few roundings of scores up to 4
    assert_close(output, expected, what="output", rtol=0, atol=room)
    assert_equal(str(weights.dtype), str(dtype), what="the dtype of weights")
    name, options = "scaled_dot_product_attention", {"mask": case.mask}
    expected = reference.run(gradients, name, [x.double() for x in (q, k, v)], options)["gradients"]
    actual = none_as_zeros(student.run(gradients, name, [q, k, v], options)["gradients"], [x.to(dtype) for x in expected])
    hint, room = of_gradients(actual), 8 * room  # sums of products of what was rounded
    what = f"in {dtype}, the gradients of (q, k, v)"
    assert_close(actual, [x.to(dtype) for x in expected], what=what, hint=hint, rtol=room, atol=room)


@exercise("scaled_dot_product_attention", points=1)
@given(n_q=sizes(2, 4), n_k=sizes(2, 4), d=sizes(2, 4), more=sizes(1, 2))
@settings(max_examples=4)
def test_what_does_not_fit_is_refused(student, n_q, n_k, d, more):
    """q and k of different widths, k and v of different lengths, and masks that are not boolean are refused."""
    q, k, v = torch.ones(n_q, d), torch.ones(n_k, d), torch.ones(n_k, 3)
    attend = student.scaled_dot_product_attention
    assert_not_accepted(attend, q, torch.ones(n_k, d + more), v, why=f"widths {d} and {d + more} differ")
    assert_not_accepted(attend, q, k, torch.ones(n_k + more, 3), why=f"{n_k} keys cannot have {n_k + more} values")
    assert_not_accepted(attend, q, torch.ones(n_k, 1), v, why=f"widths {d} and 1 differ, and widths do not broadcast")
    assert_not_accepted(attend, q, k, torch.ones(1, 3), why=f"{n_k} keys cannot share 1 value")
    assert_not_accepted(attend, q.expand(2, n_q, d), k.expand(3, n_k, d), v, why="batches of 2 and 3 do not broadcast")
    for dtype in (torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8):
        mask = torch.ones(n_q, n_k, dtype=dtype)
        assert_not_accepted(attend, q, k, v, mask=mask, why="a mask is boolean, and ones and zeros could mean anything")


@exercise("scaled_dot_product_attention", points=1)
@given(case=attention_cases(), scale=st.sampled_from([None, 0.5]))
@settings(max_examples=12)
def test_inputs_are_left_alone(student, case, scale):
    """The call changes neither q, k, v nor the mask, nor anything else outside its results."""
    expected, _ = student.scaled_dot_product_attention(case.q, case.k, case.v, case.mask, scale)
    assert_inputs_untouched(student)
    changed = student.run(changed_around, "scaled_dot_product_attention", [case.q, case.k, case.v, case.mask, scale])
    assert_equal(changed, [], what="what the call changed outside its results")
    args = [case.q, case.k, case.v, case.mask, scale]
    output, tensors, recording = student.run(scenarios.unrecorded, "scaled_dot_product_attention", args)
    assert_close(output, expected, what="output under torch.no_grad()", hint="the numbers are the same, recorded or not")
    assert_equal(tensors, [x for x in args[:4] if x is not None], what="[q, k, v, mask] after a call under torch.no_grad()")
    assert not recording, "under torch.no_grad() q, k, v or the output came to require a gradient: that is the caller's choice"
    after = student.run(scenarios.attend_after_an_update, case.q, case.k, case.v, case.mask)
    counts = torch.ones(case.n_q, case.n_k) if case.mask is None else case.mask
    expected, hint = attention(case.q, -case.k, case.v, counts.double()), ""
    if difference(after, expected, "", None, None, True):
        anew, _ = student.scaled_dot_product_attention(case.q, -case.k, case.v, case.mask)
        hint = "keep nothing from one call to the next: a tensor is the same object when its values are new"
        hint = if_right(hint, anew, expected)
    assert_close(after, expected, what="output after the caller negated its keys", hint=hint)


@exercise("scaled_dot_product_attention", points=1)
@given(case=attention_cases())
@settings(max_examples=15)
def test_strided_inputs_are_no_different(student, reference, case):
    """Views with unusual strides give what their copies give."""
    actual = student.run(strided, "scaled_dot_product_attention", [case.q, case.k, case.v], {"mask": case.mask})
    expected = reference.scaled_dot_product_attention(case.q, case.k, case.v, mask=case.mask)
    hint = ""
    if difference(actual, expected, "", None, None, True):
        plain = student.scaled_dot_product_attention(case.q, case.k, case.v, mask=case.mask)
        hint = if_right("their copies are right: transpose, and neither .view nor as_strided", plain, expected)
    assert_close(actual, expected, what="(output, weights) of strided inputs", hint=hint)


@exercise("scaled_dot_product_attention", points=1)
@given(case=attention_cases(masks=("none",), same_length=True), data=st.data())
@settings(max_examples=14)
def test_future_tokens_do_not_change_the_past(student, case, data):
    """Under a causal mask, other keys and values from position t on leave the outputs before t as they were."""
    t = data.draw(sizes(0, case.n_q - 1))
    mask = not_later(case.n_q, case.n_k)
    before, _ = student.scaled_dot_product_attention(case.q, case.k, case.v, mask=mask)
    k, v = case.k.clone(), case.v.clone()
    k[..., t:, :] = 50 * normal(case.seed + 1, *k[..., t:, :].shape)
    v[..., t:, :] = 50 * normal(case.seed + 2, *v[..., t:, :].shape)
    after, _ = student.scaled_dot_product_attention(case.q, k, v, mask=mask)
    assert_close(
        after[..., :t, :],
        before[..., :t, :],
        what=f"outputs before position {t}",
        hint="does the mask reach the softmax?",
    )
    k[..., t:, :] *= 1e16
    after, _ = student.scaled_dot_product_attention(case.q, k, v, mask=mask)
    what, hint = f"outputs before position {t}, later keys being enormous", "no visible digit depends on a hidden key"
    assert_close(after[..., :t, :], before[..., :t, :], what=what, hint=hint)
