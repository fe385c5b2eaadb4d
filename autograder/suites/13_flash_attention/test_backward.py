"""flash_attention_backward against autograd through the definition, and what it may cost."""

from contextlib import suppress
from dataclasses import replace

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.assertions import difference
from autograder.testing.hints import if_nan
from autograder.testing.probes import changed_around, flops, largest_tensor, strided
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import FlashCase, attention, attention_gradients, flash_cases, nan_tiles
from .costs import (
    TILE,
    assert_blocks_are_64,
    assert_hidden_tiles_cost_nothing,
    assert_memory_linear,
    assert_never_all_in_memory,
    assert_no_tensor_holds_all_scores,
    assert_scores_come_in_tiles,
)

NAME = "flash_attention_backward"
HINT = "p = exp(scores - lse); dv += pᵀ do; ds = p * (do vᵀ - delta); dq += ds k * scale; dk += dsᵀ q * scale"
CAUSAL = "the recomputed scores need the mask of the forward pass: query i sees the keys up to i + n_k - n_q"


def saved(case, k=None, v=None):
    """The arguments of a backward pass, out and lse among them as the definition gives them."""
    out, lse = attention(*case.inputs, case.causal, case.scale)
    wide = torch.float32 if case.dtype.itemsize == 2 else case.dtype
    k, v = case.k if k is None else k, case.v if v is None else v
    return [case.grad_out, case.q, k, v, out.to(case.dtype), lse.to(wide), *case.options]


def truth(case):
    return attention_gradients(case.grad_out, *case.inputs, case.causal, case.scale)


@exercise(NAME, points=5, core=True)
# One query, as in decoding, sees all keys.
@example(case=FlashCase((), n_q=1, n_k=7, d_k=3, d_v=2, block_q=2, block_k=3, causal=True, scale=None, seed=0))
@given(case=flash_cases())
@settings(max_examples=23)
def test_the_gradients_are_those_of_attention(student, case):
    """(dq, dk, dv) for ragged lengths, blocks of any size, d_k ≠ d_v, causal or not, and any scale."""
    actual, expected, hint = student.flash_attention_backward(*saved(case)), truth(case), HINT
    with suppress(Exception):  # what else goes wrong, or right, says more about the mistake
        if difference(actual, expected, "", None, None, True):
            student.flash_attention_backward(*saved(replace(case, block_q=1, block_k=1)))
            open_to_all = replace(case, causal=False)
            unmasked = student.flash_attention_backward(*saved(open_to_all))
            if case.causal and not difference(unmasked, truth(open_to_all), "", None, None, True):
                hint = CAUSAL
    assert_close(actual, expected, what=f"(dq, dk, dv): {case.shown}", hint=hint)


@exercise(NAME, points=1, core=True)
def test_the_weights_are_made_in_tiles(student, generator):
    """A backward pass that makes all weights at once is right, and is what this exercise is to replace."""
    q, k, v = normal(generator, 64, 3), normal(generator, 64, 3), normal(generator, 64, 2)
    arguments = [normal(generator, 64, 2), q, k, v, *attention(q, k, v), False, 16, 16]
    assert_scores_come_in_tiles(student, scenarios.largest_float, NAME, arguments)


@exercise(NAME, points=3)
@given(case=flash_cases(dtypes=(torch.float16, torch.bfloat16)))
@settings(max_examples=8)
def test_half_precision_is_computed_in_float32_and_rounded_once(student, case):
    """The gradients of half-precision inputs come in their dtype, rounded once, and do not overflow on the way."""
    eps, hint = torch.finfo(case.dtype).eps, "convert each tile to float32 before the products, and round once, at the end"
    once = {"rtol": 0.502 * eps, "atol": 2e-5}  # half a digit: the nearest number of that dtype
    room = {"rtol": 8 * eps, "atol": 8 * eps}  # `out`, which dq and dk need, was rounded before it came here
    q, k, v = case.inputs
    for times, scale in ((1, case.scale), (300, 1e-4)):  # 300 * 300 * d is more than float16 can hold
        case = replace(case, scale=scale)
        for name, x in (("q", q * times), ("k", k * times)):
            object.__setattr__(case, name, x)
        actual, expected, what = student.flash_attention_backward(*saved(case)), truth(case), f"for {case.dtype}"
        assert_close(actual, tuple(x.to(case.dtype) for x in expected), what=f"(dq, dk, dv) {what}", hint=hint, **room)
        assert_close(actual[2].double(), expected[2], what=f"dv {what}", hint=hint, **once)
    three = [i % case.n_k for i in range(3)]  # equal weights of three values, 0 or 3 each: out is exact, 1/3 in half is not
    k, v = k[..., three, :], (v[..., three, :] > 0).to(case.dtype) * 3
    for tensors in ((0 * q, k, v), (q, 0 * k, v)):
        out, lse = attention(*tensors)
        arguments = [case.grad_out, *tensors, out.to(case.dtype), lse.float(), False, case.block_q, case.block_k, 0.7]
        actual = student.flash_attention_backward(*arguments)
        expected = attention_gradients(case.grad_out, *tensors, scale=0.7)
        what = f"[dq, dk, dv] for {case.dtype} where all scores are 0"
        assert_close([x.double() for x in actual], list(expected), what=what, hint=hint, **once)


@exercise(NAME, points=3, core=True)
@given(case=flash_cases(causal=True, dims=1, smallest=3))
@settings(max_examples=8)
def test_the_causal_diagonal_is_that_of_the_forward_pass(student, case):
    """With lengths that differ, a key gets gradients from the queries that see it, and from no other; each call stands alone."""
    q, k, v = case.inputs
    problems = [(q, k, v), (-q, k, v), (q, k[..., 1:, :], v[..., 1:, :])]
    calls = [(case.grad_out, *x, *attention(*x, True, case.scale)) for x in problems]
    options = dict(zip(("causal", "block_q", "block_k", "scale"), case.options))
    actual = student.run(scenarios.one_after_another, NAME, calls, options)
    expected = [attention_gradients(case.grad_out, *x, True, case.scale) for x in problems]
    hint = f"{CAUSAL}; nothing may be left over from one call to the next"
    what = f"[call](dq, dk, dv), the second with -q, the third with a key less: {case.shown}"
    assert_close(actual, expected, what=what, hint=hint)


@exercise(NAME, points=1)
def test_the_defaults_are_those_of_the_forward_pass(student, generator):
    """No mask, blocks of 64 and 1 / sqrt(d_k), with 70 queries and 130 keys."""
    q, k, v = normal(generator, 70, 3), normal(generator, 130, 3), normal(generator, 130, 2)
    grad_out = normal(generator, 70, 2)
    arguments = [grad_out, q, k, v, *attention(q, k, v)]
    actual = student.flash_attention_backward(*arguments)
    assert_close(actual, attention_gradients(grad_out, q, k, v), what="(dq, dk, dv)", hint=HINT)
    q, k, v = (x[:, :1].clone() for x in (q, k, v))
    largest = student.run(largest_tensor, NAME, [q, q, k, v, *attention(q, k, v)])
    assert largest <= TILE, f"a tensor of {largest} elements was made; a tile has 64 * 64 = {64 * 64} at most"
    assert_blocks_are_64(student, scenarios.block_defaults, NAME)


@exercise(NAME, points=1)
def test_arguments_that_do_not_fit_are_refused(student, generator):
    """Blocks below 1, widths, lengths and leading dimensions that differ."""
    q, k, v = normal(generator, 2, 4, 3), normal(generator, 2, 5, 3), normal(generator, 2, 5, 2)
    out, lse = attention(q, k, v)
    backward = student.flash_attention_backward
    for blocks in ((0, 2), (2, 0), (-1, 2), (2, -3)):
        assert_refused(backward, out, q, k, v, out, lse, False, *blocks, why="blocks are at least 1")
    assert_refused(backward, out, q[..., :2], k, v, out, lse, why="q and k differ in width")
    assert_refused(backward, out, q[..., :0], k[..., :0], v, out, lse, why="a width is at least 1")
    assert_refused(backward, out, q, k[:, :4], v, out, lse, why="k and v differ in length")
    assert_refused(backward, out[:1], q[:1], k, v, out[:1], lse[:1], why="leading dimensions are not broadcast")
    assert_refused(backward, out, q, k, v[:1], out, lse, why="leading dimensions are not broadcast, v's neither")
    none = out[:, :0], q[:, :0], k, v[:1], out[:, :0], lse[:, :0]
    assert_refused(backward, *none, why="leading dimensions are not broadcast, without a query neither")


@exercise(NAME, points=1)
@given(case=flash_cases(dtypes=(torch.float32,)))
@settings(max_examples=6)
def test_dtype_is_kept_and_inputs_are_left_alone(student, case):
    """float32 in, float32 out; any strides; the arguments and the random numbers are as they were."""
    arguments, expected = saved(case), tuple(x.float() for x in truth(case))
    actual = student.flash_attention_backward(*arguments)
    assert_close(actual, expected, what=f"(dq, dk, dv): {case.shown}", rtol=1e-4, atol=2e-5)
    assert_inputs_untouched(student)
    actual = student.run(strided, NAME, arguments)
    assert_close(actual, expected, what="the result of strided arguments", rtol=1e-4, atol=2e-5)
    assert_equal(student.run(changed_around, NAME, arguments), [], what="what the call changed outside its result")


@exercise(NAME, points=2)
@given(case=flash_cases(causal=True), missing=sizes(0, 3))
@settings(max_examples=8)
def test_queries_that_see_nothing_have_no_gradient(student, case, missing):
    """More queries than keys, no keys at all, or no queries: zeros and never NaN."""
    q, k, v = case.q, case.k[..., :missing, :], case.v[..., :missing, :]
    why = "lse is -inf in such a row, and -inf - -inf is NaN: subtract 0 there, masked scores then give weights of 0"
    if missing:
        out, lse = attention(q, k, v, True)
        expected = attention_gradients(case.grad_out, q, k, v, True)
    else:
        out, lse = torch.zeros_like(case.grad_out), torch.full(q.shape[:-1], -torch.inf, dtype=q.dtype)
        expected = tuple(map(torch.zeros_like, (q, k, v)))
    actual = student.flash_attention_backward(case.grad_out, q, k, v, out, lse, True, case.block_q, case.block_k)
    what = f"(dq, dk, dv): {case.n_q} queries, {missing} keys, causal"
    assert_close(actual, expected, what=what, hint=if_nan(why, actual))
    assert_inputs_untouched(student)
    keys = case.k[..., :0, :], case.v[..., :0, :]
    arguments = [case.grad_out, case.q, *keys, 0 * case.grad_out, torch.full_like(lse, -torch.inf)]
    actual = student.run(scenarios.in_used_memory, NAME, arguments)
    assert_close(actual, tuple(map(torch.zeros_like, (case.q, *keys))), what="(dq, dk, dv) without a key", hint="0, not empty")
    none = [x[..., :0, :] for x in (case.grad_out, q, out)]
    actual = student.flash_attention_backward(none[0], none[1], case.k, case.v, none[2], lse[..., :0], True)
    expected = tuple(map(torch.zeros_like, (none[1], case.k, case.v)))
    assert_close(actual, expected, what="(dq, dk, dv) without a query")
    none = [x.unsqueeze(0)[:0] for x in saved(case)[:6]]
    actual = student.flash_attention_backward(*none, *case.options)
    assert_equal([list(x.shape) for x in actual], [list(x.shape) for x in none[1:4]], what="shapes of a batch of nothing")


@exercise(NAME, points=1)
@given(case=flash_cases(causal=True, dims=1, largest=14, smallest=5))
@settings(max_examples=12)
def test_tiles_above_the_diagonal_are_never_looked_at(student, case):
    """NaN in k and v of a tile wholly above the diagonal changes no dq of the queries that cannot see it."""
    k, v, blind = nan_tiles(case)
    dq = student.flash_attention_backward(*saved(case, k, v))[0]
    assert_inputs_untouched(student)
    hint = if_nan("skip the tile, as forward does: a weight of 0 times NaN is NaN", dq[..., blind, :])
    what = f"dq of the first {blind.stop} queries: {case.shown}"
    assert_close(dq[..., blind, :], truth(case)[0][..., blind, :], what=what, hint=hint)


@exercise(NAME, points=1)
def test_far_positions_are_whole_numbers(student):
    """Three queries at the end of 32,769 keys: the last three values get their gradient from one, two and three of them."""
    n = 32_769
    q, k, v = (torch.zeros(length, 1, dtype=torch.bfloat16) for length in (3, n, n))
    arguments = [q + 4096, q, k, v, q, attention(q, k, v, True)[1].float(), True, 64, 4000]
    actual = student.flash_attention_backward(*arguments)
    expected = list(attention_gradients(q + 4096, q, k, v, True))
    hint = "positions are int64: bfloat16 has no place 257, float16 none 2049, and int16 ends at 32767"
    actual = [x.double() for x in actual]
    if difference(actual, expected, "", 0.004, None, True):
        few = q, k[-40:], v[-40:]
        arguments = [q + 4096, *few, q, attention(*few, True)[1].float(), True, 64, 4000]
        near = [x.double() for x in student.flash_attention_backward(*arguments)]
        hint *= not difference(near, list(attention_gradients(q + 4096, *few, True)), "", 0.004, None, True)
    assert_close(actual, expected, what=f"[dq, dk, dv] of 3 queries and {n} keys", hint=hint, rtol=0.004)


@exercise(NAME, points=1)
@given(case=flash_cases(times=(1e3, 1e10)))
@settings(max_examples=7)
def test_extreme_scores_give_finite_gradients(student, case):
    """Scores of thousands and of billions, or all of them far below zero: exp(scores - lse) is never more than 1."""
    hint = "subtract lse before exp, exp(scores) / exp(lse) overflows; hidden scores are -inf, and no number is as low"
    low = replace(case, causal=True, scale=None)
    for name, x in (("q", low.q.abs()), ("k", -low.k.abs())):
        object.__setattr__(low, name, x)
    room = max(1e-6, 1e-13 * case.times)  # scores of 1e10 are known to 1e-5, and so are their weights, here times q of 1e10
    near = max(1e-9 * case.times, 1e-14 * case.times**2)
    for each in (case, low):
        actual, expected = student.flash_attention_backward(*saved(each)), truth(each)
        what = f": {each.shown}, q times {each.times:g}"
        assert_close(actual, expected, what=f"(dq, dk, dv){what}", hint=hint, rtol=room, atol=near)
        assert_close(actual[2], expected[2], what=f"dv{what}", hint=hint, rtol=room, atol=room)


@exercise(NAME, points=1)
def test_many_small_tiles_add_up_in_half_precision(student, generator):
    """A tile that brings much, then 24 of little each: bfloat16 sums would stay as they are. No more than a tile is converted."""
    one, signs, sign = torch.ones(400, 1), torch.tensor([[1.0], [-1.0]]), torch.tensor([1.0, -1.0]).repeat(200).unsqueeze(-1)
    much = torch.cat([torch.full((16, 1), 8.0), torch.full((384, 1), 0.03)])
    two, lse = torch.ones(2, 1), torch.full((400,), 2.0).log()
    many_queries = [much, one, 0 * two, signs, 0 * one, lse]  # do, q, k, v, out, lse
    many_keys = [two, 0 * two, sign, 6 * sign * much, 0 * two, torch.full((2,), 400.0).log()]
    hint = "what is summed over many tiles has to be float32 when the inputs are half precision"
    for tensors, blocks in ((many_queries, (16, 2)), (many_keys, (2, 16))):
        half = [x.bfloat16() for x in tensors[:5]]
        expected = [x.bfloat16() for x in attention_gradients(*half[:4], scale=1.0)]
        actual = student.flash_attention_backward(*half, tensors[5], False, *blocks, 1.0)
        what = f"[dq, dk, dv] of {len(half[1])} queries and {len(half[2])} keys in bfloat16, blocks {blocks}"
        assert_close(list(actual), expected, what=what, hint=hint, rtol=0.008, atol=1e-5)
    for n_q, n_k, d_k, d_v in ((64, 8, 16, 1), (8, 64, 16, 1), (8, 64, 1, 16)):
        shapes = (n_q, d_k), (n_k, d_k), (n_k, d_v), (n_q, d_v)
        q, k, v, do = (normal(generator, *shape, dtype=torch.bfloat16) for shape in shapes)
        out, lse = attention(q, k, v)
        largest = student.run(scenarios.largest_conversion, NAME, [do, q, k, v, out.bfloat16(), lse.float(), False, 4, 4])
        assert largest <= 256, (
            f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} in bfloat16, blocks of 4:\n"
            f"  {largest} elements were converted at once, and a tile has at most 4 * 16\n"
            "  hint: convert one tile at a time; a copy of all of q, k or v in float32 takes twice its memory again"
        )


@exercise(NAME, points=1)
@given(causal=st.booleans(), lead=st.sampled_from([(), (3,)]), seed=seeds())
@settings(max_examples=3)
def test_no_tensor_holds_all_weights(student, causal, lead, seed):
    """No tensor on the way is larger than a tile or an input: the weights come back one tile at a time."""

    def largest(q, k, v, *blocks):
        out, lse = attention(q, k, v, causal)
        return student.run(largest_tensor, NAME, [out, q, k, v, out, lse, causal, *blocks])

    assert_no_tensor_holds_all_scores(largest, lead, seed)


@exercise(NAME, points=0.5, core=True)
def test_the_scores_are_never_all_in_memory(student, generator):
    """Seen from outside, NumPy's arrays included: far less memory than all scores would take."""
    assert_never_all_in_memory(student, scenarios.backward_of, generator)


@exercise(NAME, points=0.5)
def test_memory_grows_with_the_length_and_not_with_its_square(student, generator):
    """Seen from outside, NumPy's arrays included: twice the length takes little more than twice the memory."""
    assert_memory_linear(student, scenarios.backward_of, generator)


@exercise(NAME, points=1)
@given(block_q=sizes(9, 12), block_k=sizes(9, 12), seed=seeds())
@settings(max_examples=2)
def test_tiles_above_the_diagonal_cost_no_work(student, block_q, block_k, seed):
    """Of the products that attention without a mask takes, the visible tiles' share, however many each tile takes."""

    def work(n_q, n_k, causal):
        q, k, v, do = (normal(seed + i, n, 4) for i, n in enumerate((n_q, n_k, n_k, n_q)))
        return student.run(flops, NAME, [do, q, k, v, *attention(q, k, v, causal), causal, block_q, block_k])

    hint = "leave out the tiles that forward leaves out, before anything is made of them"
    assert_hidden_tiles_cost_nothing(work, block_q, block_k, 4 * 4, hint)  # delta may be a product
