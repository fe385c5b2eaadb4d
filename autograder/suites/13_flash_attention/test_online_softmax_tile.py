"""online_softmax_tile: the state after any tiles is the state by its definition."""

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, exercise
from autograder.testing.hints import if_nan
from autograder.testing.probes import changed_around, strided
from autograder.testing.strategies import example, given, leading_shapes, mask_for, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import tile_state

NAME = "online_softmax_tile"
HINT = "l and acc were summed under the old maximum: multiply both by exp(m_old - m_new) before you add the tile's terms"
NOT_FIRST = "acc may be 0 where keys were seen, since values may be: l is brought to the new maximum all the same"
SIZES = {"lead": leading_shapes(2, 3), "block_q": sizes(1, 4), "n_k": sizes(1, 9), "d_v": sizes(1, 4), "seed": seeds()}
CUTS = st.lists(sizes(1, 8), max_size=4, unique=True).map(sorted)


def problem(lead, block_q, n_k, d_v, seed, masked=True, scale=2.0, dtype=torch.float64):
    """Scaled scores (..., block_q, n_k), some of them -inf, and values (..., n_k, d_v)."""
    generator = torch.Generator().manual_seed(seed)
    scores = normal(generator, *lead, block_q, n_k, scale=scale, dtype=dtype)
    if masked:
        scores = scores.masked_fill(~mask_for(generator, *lead, block_q, n_k), -torch.inf)
    return scores, normal(generator, *lead, n_k, d_v, dtype=dtype)


@exercise(NAME, points=5, core=True)
@given(cuts=CUTS, masked=st.booleans(), **SIZES)
def test_the_state_after_each_tile_is_that_of_all_keys_so_far(student, cuts, masked, lead, block_q, n_k, d_v, seed):
    """After each tile m, l and acc are the maximum and the two sums over all keys that have been seen."""
    scores, v = problem(lead, block_q, n_k, d_v, seed, masked)
    cuts = [cut for cut in cuts if cut < n_k]
    expected = [list(tile_state(scores[..., :end], v[..., :end, :])) for end in (*cuts, n_k)]
    actual = student.run(scenarios.tiles_in_a_row, scores, v, cuts)
    assert_close(actual, expected, what=f"[tile][m, l, acc] for keys cut at {cuts}", hint=HINT)


@exercise(NAME, points=2, core=True)
@given(**SIZES)
@settings(max_examples=12)
def test_one_tile_updates_any_earlier_state(student, lead, block_q, n_k, d_v, seed):
    """A state from elsewhere and a tile: the maximum of both, and both sums brought to that maximum."""
    generator = torch.Generator().manual_seed(seed)
    scores, v = problem(lead, block_q, n_k, d_v, seed)
    m, l = normal(generator, *lead, block_q, scale=3.0), normal(generator, *lead, block_q).abs() + 0.5
    values = normal(generator, *lead, block_q, d_v)
    top = torch.maximum(m, scores.amax(-1))
    p, old = (scores - top.unsqueeze(-1)).exp(), (m - top).exp()
    for acc, what, hint in ((values, "", HINT), (0 * values, " after an acc of 0", NOT_FIRST)):
        expected = (top, l * old + p.sum(-1), acc * old.unsqueeze(-1) + p @ v)
        assert_close(student.online_softmax_tile(m, l, acc, scores, v), expected, what=f"(m, l, acc){what}", hint=hint)


@exercise(NAME, points=2)
@given(order=st.permutations(range(5)), **SIZES)
@settings(max_examples=12)
def test_the_order_of_the_tiles_does_not_matter(student, order, lead, block_q, n_k, d_v, seed):
    """Five tiles in any order leave the same state."""
    n_k += 4
    scores, v = problem(lead, block_q, n_k, d_v, seed)
    edges = [n_k * i // 5 for i in range(6)]
    tiles = [[edges[i], edges[i + 1]] for i in order]
    actual = student.run(scenarios.tiles_in_order, scores, v, tiles)
    assert_close(actual, list(tile_state(scores, v)), what=f"[m, l, acc] after the tiles {tiles}", hint=HINT)


@exercise(NAME, points=2)
@given(**SIZES)
@settings(max_examples=10)
def test_a_row_that_has_seen_nothing_keeps_the_first_state(student, lead, block_q, n_k, d_v, seed):
    """Rows of -inf leave m = -inf, l = 0, acc = 0, and an earlier state is not changed by such a tile."""
    scores, v = problem(lead, block_q, n_k, d_v, seed, masked=False)
    scores[..., 0, :] = -torch.inf
    expected = tile_state(scores, v)
    first = scenarios.first_state(scores, v)
    why = "m_new is -inf in such a row and -inf - -inf is NaN: subtract 0 there instead"
    actual = student.online_softmax_tile(*first, scores, v)
    assert_close(actual, expected, what="(m, l, acc)", hint=if_nan(why, actual))
    assert_equal(actual[1][..., 0], first[1][..., 0], what="l of the row that has seen nothing", hint="0, with nothing added")
    blind = torch.full_like(scores, -torch.inf)
    actual = student.online_softmax_tile(*expected, blind, v)
    assert_close(actual, expected, what="the state after a masked tile", hint=if_nan(why, actual))


@exercise(NAME, points=2)
@given(cuts=CUTS, scale=st.sampled_from([1e3, 1e6]), shift=st.sampled_from([0.0, -2000.0, 2000.0, -1e300]), **SIZES)
@example(cuts=[2], scale=1e3, shift=-1e300, lead=(), block_q=2, n_k=5, d_v=2, seed=0)
@settings(max_examples=12)
def test_extreme_scores_neither_overflow_nor_vanish(student, cuts, scale, shift, lead, block_q, n_k, d_v, seed):
    """Scores of thousands or millions, all far below zero, even at -1e300, or far above: the state is as defined."""
    scores, v = problem(lead, block_q, n_k, d_v, seed, scale=scale)
    cuts = [cut for cut in cuts if cut < n_k]
    actual = student.run(scenarios.tiles_in_a_row, scores + shift, v, cuts)[-1]
    hint = "subtract the new maximum before exp; no finite number is as low as -inf"
    assert_close(actual, list(tile_state(scores + shift, v)), what="[m, l, acc]", hint=hint)


@exercise(NAME, points=2)
@given(cuts=CUTS, **SIZES)
@settings(max_examples=10)
def test_gradients_flow_through_the_tiles_and_are_finite(student, cuts, lead, block_q, n_k, d_v, seed):
    """scores, v, and the sums that were carried in get the gradients of softmax; masked scores and rows get 0."""
    scores, v = problem(lead, block_q, n_k, d_v, seed)
    cuts = [cut for cut in cuts if cut < n_k]
    generator = torch.Generator().manual_seed(seed + 1)
    cotangents = normal(generator, *lead, block_q, d_v), normal(generator, *lead, block_q)
    seen = (scores > -torch.inf).any(-1)
    leaves = scores.masked_fill(~seen.unsqueeze(-1), 0.0).requires_grad_(), v.clone().requires_grad_()
    kept = seen.to(scores.dtype)  # rows that see nothing count for nothing
    out, lse = leaves[0].softmax(-1) @ leaves[1], leaves[0].logsumexp(-1)
    ((out * cotangents[0]).sum(-1) * kept + lse * cotangents[1] * kept).sum().backward()
    actual = student.run(scenarios.tile_gradients, scores, v, cuts, *cotangents)
    hint = "nothing may be detached but the maximum, everywhere or nowhere; NaN: replace -inf before exp, not after"
    assert_close(actual, {"scores": leaves[0].grad, "v": leaves[1].grad}, what=f"the gradients, cuts {cuts}", hint=hint)
    blind = torch.full_like(scores, -torch.inf)
    actual = student.run(scenarios.tile_gradients, blind, v, cuts, *cotangents)
    expected = {"scores": torch.zeros_like(scores), "v": torch.zeros_like(v)}
    why = "a tile that is masked takes part like any other; its gradients are 0, neither missing nor NaN"
    assert_close(actual, expected, what=f"the gradients where all scores are -inf, cuts {cuts}", hint=why)
    m, l, acc = normal(generator, *lead, block_q), normal(generator, *lead, block_q).abs() + 0.5, cotangents[0] * 0.7
    l_, acc_ = l.clone().requires_grad_(), acc.clone().requires_grad_()
    top = torch.maximum(m, scores.amax(-1))
    p, old = (scores - top.unsqueeze(-1)).exp(), (m - top).exp()
    mean = (acc_ * old.unsqueeze(-1) + p @ v) / (l_ * old + p.sum(-1)).unsqueeze(-1)
    (mean * cotangents[0]).sum().backward()
    actual = student.run(scenarios.carried_gradients, m, l, acc, scores, v, cotangents[0])
    assert_close(actual, {"l": l_.grad, "acc": acc_.grad}, what="the gradients of the state carried in", hint=hint)


@exercise(NAME, points=1)
@example(lead=(2, 3), block_q=2, n_k=3, d_v=2, seed=1)
@given(**SIZES)
@settings(max_examples=5)
def test_dtype_and_memory_layout_are_kept_and_arguments_left_alone(student, lead, block_q, n_k, d_v, seed):
    """float32 stays float32, strides do not matter, and no argument is changed in place."""
    scores, v = problem(lead, block_q, n_k, d_v, seed, dtype=torch.float32)
    state, expected = tile_state(scores[..., :1], v[..., :1, :]), tile_state(scores, v)
    arguments = [*state, scores[..., 1:], v[..., 1:, :]] if n_k > 1 else [*scenarios.first_state(scores, v), scores, v]
    assert_close(student.online_softmax_tile(*arguments), expected, what="(m, l, acc) in float32")
    assert_inputs_untouched(student)
    assert_close(student.run(strided, NAME, arguments), expected, what="(m, l, acc) of strided arguments")
    assert_equal(student.run(changed_around, NAME, arguments), [], what="what the call changed outside its result")
