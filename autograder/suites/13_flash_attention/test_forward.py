"""flash_attention_forward against attention by its definition, and what it may cost."""

from contextlib import suppress

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.assertions import difference
from autograder.testing.hints import hinted, if_nan
from autograder.testing.probes import changed_around, flops, largest_tensor, strided
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import FlashCase, attention, flash_cases, nan_tiles
from .costs import (
    TILE,
    assert_blocks_are_64,
    assert_hidden_tiles_cost_nothing,
    assert_memory_linear,
    assert_never_all_in_memory,
    assert_no_tensor_holds_all_scores,
    assert_scores_come_in_tiles,
)

NAME = "flash_attention_forward"
HINT = "each tile takes its own rows of q, k and v; divide acc by l once, after the last tile; lse = m + log(l)"
CAUSAL = "query i sees the keys up to i + n_k - n_q, whatever tile it is in"


@exercise(NAME, points=5, core=True)
# One query, as in decoding, sees all keys.
@example(case=FlashCase((), n_q=1, n_k=7, d_k=3, d_v=2, block_q=2, block_k=3, causal=True, scale=None, seed=0))
@given(case=flash_cases())
@settings(max_examples=23)
def test_out_and_lse_are_those_of_attention(student, case):
    """(out, lse) for ragged lengths, blocks of any size, d_k ≠ d_v, causal or not, and any scale."""
    actual = student.flash_attention_forward(*case.inputs, *case.options)
    expected, hint = attention(*case.inputs, case.causal, case.scale), HINT
    with suppress(Exception):  # what else goes wrong, or right, says more about the mistake
        if difference(actual, expected, "", None, None, True):
            student.flash_attention_forward(*case.inputs, case.causal, 1, 1, case.scale)
            unmasked = student.flash_attention_forward(*case.inputs, False, *case.options[1:])
            if case.causal and not difference(unmasked, attention(*case.inputs, False, case.scale), "", None, None, True):
                hint = if_nan("a query that sees nothing gets zeros, and an lse of -inf", actual) or CAUSAL
    assert_close(actual, expected, what=f"(out, lse): {case.shown}", hint=hint)


@exercise(NAME, points=1, core=True)
def test_the_scores_are_made_in_tiles(student, generator):
    """Attention that makes all scores at once is right, and is what this exercise is to replace."""
    q, k, v = normal(generator, 64, 3), normal(generator, 64, 3), normal(generator, 64, 2)
    assert_scores_come_in_tiles(student, scenarios.largest_float, NAME, [q, k, v, False, 16, 16])


@exercise(NAME, points=3)
@given(case=flash_cases(dtypes=(torch.float16, torch.bfloat16)))
@settings(max_examples=10)
def test_half_precision_is_computed_in_float32_and_rounded_once(student, case):
    """out is attention in float32, rounded to the inputs' dtype; lse stays float32. Sums keep growing and do not overflow."""
    room = {"rtol": 0.502 * torch.finfo(case.dtype).eps, "atol": 5e-6}  # half a digit: the nearest number of that dtype
    hint = "convert each tile to float32 before the products, keep m, l and acc in float32, and round out at the end"
    q, k, v = case.inputs
    for times, scale in ((1, case.scale), (300, 1e-4)):  # 300 * 300 * d is more than float16 can hold
        expected = attention(q * times, k * times, v, case.causal, scale)
        out, lse = student.flash_attention_forward(q * times, k * times, v, case.causal, case.block_q, case.block_k, scale)
        assert_close(lse, expected[1].float(), what=f"lse for {case.dtype}", hint=hint, rtol=2e-5, atol=2e-5)
        assert_equal(out.dtype, case.dtype, what="the dtype of out")
        assert_close(out.double(), expected[0], what=f"out for {case.dtype}", hint=hint, **room)


@exercise(NAME, points=3, core=True)
@given(case=flash_cases(causal=True, dims=1, smallest=3))
@settings(max_examples=8)
def test_the_causal_diagonal_ends_in_the_last_corner(student, case):
    """With more keys than queries the last query sees them all; with fewer, the first see nothing; each call stands alone."""
    q, k, v = case.inputs
    calls = [(q, k, v), (-q, k, v), (q, k[..., 1:, :], v[..., 1:, :])]
    options = dict(zip(("causal", "block_q", "block_k", "scale"), case.options))
    actual = student.run(scenarios.one_after_another, NAME, calls, options)
    expected = [attention(*call, True, case.scale) for call in calls]
    hint = f"{CAUSAL}; nothing may be left over from one call to the next"
    what = f"[call](out, lse), the second with -q, the third with a key less: {case.shown}"
    assert_close(actual, expected, what=what, hint=hint)


@exercise(NAME, points=1)
def test_the_defaults_are_no_mask_blocks_of_64_and_one_over_the_root_of_d_k(student, generator):
    """flash_attention_forward(q, k, v) alone, with 70 queries and 130 keys."""
    q, k, v = normal(generator, 70, 3), normal(generator, 130, 3), normal(generator, 130, 2)
    assert_close(student.flash_attention_forward(q, k, v), attention(q, k, v), what="(out, lse)", hint=HINT)
    largest = student.run(largest_tensor, NAME, [x[:, :1].clone() for x in (q, k, v)])
    assert largest <= TILE, f"a tensor of {largest} elements was made; a tile has 64 * 64 = {64 * 64} at most"
    assert_blocks_are_64(student, scenarios.block_defaults, NAME)
    out, _ = student.flash_attention_forward(q, k[:1], v[:1])
    hint = "a single key has a weight of 1: divide by l itself, and where l is 0 by 1; add nothing to it"
    assert_close(out, v[:1].expand(70, 2), what="out of a single key", hint=hint, rtol=1e-12, atol=0.0)


@exercise(NAME, points=1)
def test_arguments_that_do_not_fit_are_refused(student, generator):
    """Blocks below 1, widths, lengths and leading dimensions that differ: no broadcasting here."""
    q, k, v = normal(generator, 2, 4, 3), normal(generator, 2, 5, 3), normal(generator, 2, 5, 2)
    forward = student.flash_attention_forward
    for blocks in ((0, 2), (2, 0), (-1, 2), (2, -3)):
        assert_refused(forward, q, k, v, False, *blocks, why="blocks are at least 1")
    assert_refused(forward, q[..., :2], k, v, why="q and k differ in width")
    assert_refused(forward, q[..., :0], k[..., :0], v, why="a width is at least 1")
    assert_refused(forward, q, k[:, :4], v, why="k and v differ in length")
    assert_refused(forward, q[:1], k, v, why="leading dimensions are not broadcast")
    assert_refused(forward, q, k[0], v[0], why="leading dimensions are not broadcast")
    assert_refused(forward, q, k, v[:1], why="leading dimensions are not broadcast, v's neither")
    grids = q.expand(3, *q.shape), *(x.unsqueeze(1).expand(2, 3, *x.shape[1:]) for x in (k, v))
    assert_refused(forward, *grids, why="(3, 2) is not (2, 3), although both are 6")
    assert_refused(forward, q[0, 0], k[0], v[0], why="q has no length")
    assert_refused(forward, *(x.unsqueeze(1).expand(2, n, *x.shape[1:]) for x, n in ((q, 3), (k, 1), (v, 1))), why="3 is not 1")
    assert_refused(forward, q[:, :0], k, v, False, -1, 2, why="blocks are at least 1, without a query too")
    assert_refused(forward, q[:, :0], k, v[:1], why="leading dimensions are not broadcast, without a query neither")
    assert_refused(forward, q, k[:, :0], v[:, :0], False, 0, 2, why="blocks are at least 1, without a key too")
    assert_refused(forward, q[:1], k[:, :0], v[:, :0], why="leading dimensions are not broadcast, without a key neither")


@exercise(NAME, points=1)
@given(case=flash_cases(dtypes=(torch.float32,)))
@settings(max_examples=6)
def test_dtype_is_kept_and_inputs_are_left_alone(student, case):
    """float32 in, float32 out; any strides; the inputs and the random numbers are as they were."""
    arguments = [*case.inputs, *case.options]
    expected = tuple(x.float() for x in attention(*case.inputs, case.causal, case.scale))
    assert_close(student.flash_attention_forward(*arguments), expected, what=f"(out, lse): {case.shown}", rtol=1e-4, atol=1e-5)
    assert_inputs_untouched(student)
    assert_close(student.run(strided, NAME, arguments), expected, what="the result of strided inputs", rtol=1e-4, atol=1e-5)
    assert_equal(student.run(changed_around, NAME, arguments), [], what="what the call changed outside its result")


@exercise(NAME, points=2)
@given(case=flash_cases(causal=True), missing=sizes(0, 3))
@settings(max_examples=8)
def test_queries_that_see_nothing_get_zeros(student, case, missing):
    """More queries than keys, no keys at all, or no queries: zeros and an lse of -inf, never NaN."""
    q, k, v = case.q, case.k[..., :missing, :], case.v[..., :missing, :]
    why = "where l is 0, divide by 1; m is -inf there, and that is the lse"
    for causal in (True, False):
        actual = student.flash_attention_forward(q, k, v, causal, case.block_q, case.block_k)
        expected = attention(q, k, v, causal) if missing else (torch.zeros_like(actual[0]), torch.full(q.shape[:-1], -torch.inf))
        expected = (expected[0].to(q.dtype), expected[1].to(q.dtype))
        what = f"(out, lse): {case.n_q} queries, {missing} keys, causal={causal}"
        if not missing:
            assert_equal(list(actual[0].shape), [*q.shape[:-1], v.shape[-1]], what=f"the shape of out with {missing} keys")
        hint = if_nan(why, actual) or "a query that sees nothing gets zeros, and -inf for its lse"
        assert_close(actual, expected, what=what, hint=hint)

    def assert_right(v, **hint):
        actual, expected = student.flash_attention_forward(q, case.k, v, *case.options), attention(q, case.k, v, True, case.scale)
        assert_close(actual, expected, what=f"(out, lse){' of values of 0' * (not v.any())}: {case.shown}", **hint)

    hint = "lse does not depend on v; acc may be 0 where keys were seen, and it is m or l that says whether any was"
    hinted(assert_right, 0 * case.v, hint=hint, when=lambda: assert_right(case.v))
    for dtype, lse_dtype in ((q.dtype, q.dtype), (torch.float16, torch.float32)):
        for n_q, n_k, without in ((0, case.n_k, "without a query"), (case.n_q, 0, "without a key")):
            inputs = (x.to(dtype) for x in (q[..., :n_q, :], case.k[..., :n_k, :], case.v[..., :n_k, :]))
            empty = student.flash_attention_forward(*inputs, True, case.block_q, case.block_k)
            shapes = [[*case.lead, n_q, case.d_v], [*case.lead, n_q]]
            assert_equal([list(x.shape) for x in empty], shapes, what=f"shapes {without}")
            hint = f"lse is float32 for half-precision inputs, {without}, too"
            assert_equal([x.dtype for x in empty], [dtype, lse_dtype], what=f"the dtypes {without} in {dtype}", hint=hint)
    none = student.flash_attention_forward(*(x.unsqueeze(0)[:0] for x in case.inputs), *case.options)
    shapes = [[0, *case.lead, case.n_q, case.d_v], [0, *case.lead, case.n_q]]
    assert_equal([list(x.shape) for x in none], shapes, what="shapes of a batch of nothing")


@exercise(NAME, points=1)
@given(case=flash_cases(causal=True, dims=1, largest=14, smallest=5))
@settings(max_examples=12)
def test_tiles_above_the_diagonal_are_never_looked_at(student, case):
    """NaN in k and v of a tile wholly above the diagonal changes no out of the queries that cannot see it."""
    k, v, blind = nan_tiles(case)
    actual = student.flash_attention_forward(case.q, k, v, *case.options)
    assert_inputs_untouched(student)
    expected = attention(*case.inputs, True, case.scale)
    seen = actual[0][..., blind, :], actual[1][..., blind]
    hint = if_nan("skip the tile: a weight of 0 times a value of NaN is NaN", seen)
    what = f"of the first {blind.stop} queries: {case.shown}"
    assert_close(seen[0], expected[0][..., blind, :], what=f"out {what}", hint=hint)
    assert_close(seen[1], expected[1][..., blind], what=f"lse {what}", hint=hint)


@exercise(NAME, points=1)
def test_far_positions_are_whole_numbers(student):
    """Three queries at the end of 32,769 keys: the last three keys, whose values stick out, are seen by one, two and three."""
    n = 32_769
    q, k, v = (torch.zeros(length, 1, dtype=torch.bfloat16) for length in (3, n, n))
    v[-3:, 0] = torch.tensor([1e4, 2e4, 4e4])
    actual = student.flash_attention_forward(q, k, v, True, 64, 4000)
    expected, few = attention(q, k, v, True), (q, k[-40:], v[-40:])
    hint = "positions are int64: bfloat16 has no place 257, float16 none 2049, and int16 ends at 32767"
    actual = [x.double() for x in actual]
    if difference(actual, list(expected), "", 0.004, None, True):
        near = [x.double() for x in student.flash_attention_forward(*few, True, 64, 4000)]
        hint *= not difference(near, list(attention(*few, True)), "", 0.004, None, True)
    assert_close(actual, list(expected), what=f"out and lse of 3 queries and {n} keys", hint=hint, rtol=0.004)


@exercise(NAME, points=1)
@given(case=flash_cases(times=(1e3, 1e40)), sign=st.sampled_from([0.0, 1.0]))
@settings(max_examples=8)
def test_extreme_scores_neither_overflow_nor_vanish(student, case, sign):
    """Scores of thousands, or of 1e40, or all of them far below zero, in float16 below what float16 itself can hold."""
    q, k = (case.q.abs(), case.k.abs()) if sign else (case.q, case.k)
    actual = student.flash_attention_forward(q, k, case.v, *case.options)
    expected = attention(q, k, case.v, case.causal, case.scale)
    hint = "the maximum starts at -inf, not at 0 or some large negative number, and hidden scores are -inf"
    assert_close(actual, expected, what=f"(out, lse): {case.shown}", hint=hint, rtol=1e-6, atol=1e-8)
    q, k = case.q.abs(), -case.k.abs()
    actual = student.flash_attention_forward(q, k, case.v, True, case.block_q, case.block_k)
    expected = attention(q, k, case.v, True)
    what = f"(out, lse) of scores far below zero: {case.n_q} queries, {case.n_k} keys, causal"
    assert_close(actual, expected, what=what, hint=hint, rtol=1e-6, atol=1e-8)
    q, k = (torch.full_like(x[..., :1], size, dtype=torch.float16) for x, size in ((q, 300), (k, -300)))
    out, lse = student.flash_attention_forward(q, k, case.v.half(), True, case.block_q, case.block_k, 1.0)
    expected = attention(q, k, case.v.half(), True, 1.0)
    hint = "hidden scores are -inf, for the lowest number of float16 is no lower than a score in float32 may be"
    what = f"of scores of -90000: {case.n_q} queries, {case.n_k} keys, causal, float16"
    room = 2.0**-7  # float32 knows an lse of -90000 to half of that, and so a weight that is made from it
    assert_close(out.double(), expected[0], what=f"out {what}", hint=hint, rtol=room, atol=room)
    assert_close(lse, expected[1].float(), what=f"lse {what}", hint=hint)


@exercise(NAME, points=1)
def test_many_small_tiles_add_up_in_half_precision(student, generator):
    """16 weights of 1, then 30 tiles of 0.06 each: bfloat16 stays at 16, and has no place 257. No more than a tile is float32."""
    q, k, v = torch.ones(4, 1), torch.zeros(496, 1), torch.ones(496, 1)
    k[16:] = -5.59375
    out, lse = student.flash_attention_forward(*(x.bfloat16() for x in (q, k, v)), True, 2, 16)
    hint = "l and acc have to be float32 when the inputs are half precision, and positions whole numbers"
    assert_close(lse, attention(q, k, v, True)[1].float(), what="lse of 16 scores of 0 and many far below", hint=hint)
    assert_close(out, torch.ones(4, 1).bfloat16(), what="the mean of many ones", hint=hint, rtol=0.008)
    for n_q, d_k, d_v in ((32, 16, 1), (4, 1, 16)):
        q, k, v = (normal(generator, n, d, dtype=torch.bfloat16) for n, d in ((n_q, d_k), (32, d_k), (32, d_v)))
        largest = student.run(scenarios.largest_in_float32, NAME, [q, k, v, False, 4, 4])
        assert largest <= 4 * 4 * 16, (  # a tile with its width as a third dimension; q, k or v has twice as many
            f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} in bfloat16, blocks of 4:\n"
            f"  a float32 tensor of {largest} elements was made\n"
            "  hint: convert one tile at a time; a copy of all of q, k or v in float32 takes twice its memory again"
        )


@exercise(NAME, points=1)
@given(causal=st.booleans(), lead=st.sampled_from([(), (3,)]), seed=seeds())
@settings(max_examples=3)
def test_no_tensor_holds_all_scores(student, causal, lead, seed):
    """No tensor on the way, a mask neither, is larger than a tile or an input, also when one length is a single tile."""
    assert_no_tensor_holds_all_scores(
        lambda q, k, v, *blocks: student.run(largest_tensor, NAME, [q, k, v, causal, *blocks]), lead, seed
    )


@exercise(NAME, points=0.5, core=True)
def test_the_scores_are_never_all_in_memory(student, generator):
    """Seen from outside, NumPy's arrays included: far less memory than all scores would take."""
    assert_never_all_in_memory(student, scenarios.forward_of, generator)


@exercise(NAME, points=0.5)
def test_memory_grows_with_the_length_and_not_with_its_square(student, generator):
    """Seen from outside, NumPy's arrays included: twice the length takes little more than twice the memory."""
    assert_memory_linear(student, scenarios.forward_of, generator)


@exercise(NAME, points=1)
@given(block_q=sizes(9, 12), block_k=sizes(9, 12), seed=seeds())
@settings(max_examples=2)
def test_tiles_above_the_diagonal_cost_no_work(student, block_q, block_k, seed):
    """Causal attention multiplies no more than the tiles that touch or lie below the diagonal; scores may be made twice."""

    def work(n_q, n_k, causal):
        q, k, v = normal(seed, n_q, 4), normal(seed + 1, n_k, 4), normal(seed + 2, n_k, 3)
        return student.run(flops, NAME, [q, k, v, causal, block_q, block_k])

    hint = "end the inner loop where the tile's last query stops seeing, before the tile's scores are made"
    assert_hidden_tiles_cost_nothing(work, block_q, block_k, 0, hint)
