"""merge_attention."""

import math
from contextlib import suppress

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, exercise
from autograder.testing.assertions import difference
from autograder.testing.hints import if_nan, if_right, unless_finite
from autograder.testing.probes import gradients, strided
from autograder.testing.strategies import (
    attention_cases,
    float_dtypes,
    given,
    leading_shapes,
    normal,
    seeds,
    settings,
    sizes,
    st,
)

from . import scenarios
from .cases import ROOM, partial_attention

NAME = "merge_attention"
HINT = "each side counts by its share of the softmax's denominator: exp(lse_a) / (exp(lse_a) + exp(lse_b))"


def parts(case, *cuts):
    """The (out, lse) of the case's keys between the cuts: 0, the cuts, n_k."""
    edges = [0, *sorted(cut % (case.n_k + 1) for cut in cuts), case.n_k]
    pieces = [slice(a, b) for a, b in zip(edges, edges[1:])]
    return [
        partial_attention(case.q, case.k[..., s, :], case.v[..., s, :], None if case.mask is None else case.mask[..., s])
        for s in pieces
    ]


@exercise(NAME, points=4, core=True)
@given(case=attention_cases(largest=8), cut=st.integers(0, 8))
@settings(max_examples=22)
def test_two_parts_merge_into_attention_over_all_keys(student, case, cut):
    """Attention over the first keys merged with attention over the rest is attention over all keys, out and lse."""
    (out_a, lse_a), (out_b, lse_b) = parts(case, cut)
    assert_close(
        student.merge_attention(out_a, lse_a, out_b, lse_b),
        partial_attention(case.q, case.k, case.v, case.mask),
        what="merge_attention(...) = (out, lse)",
        hint=HINT,
    )


@exercise(NAME, points=2, core=True)
@given(lead=leading_shapes(), n_q=sizes(1, 5), d_v=sizes(1, 5), seed=seeds())
@settings(max_examples=20)
def test_merging_follows_the_reference(student, reference, lead, n_q, d_v, seed):
    """For any two sides the merged (out, lse) equals the reference's."""
    g = torch.Generator().manual_seed(seed)
    sides = [normal(g, *lead, n_q, d_v), normal(g, *lead, n_q, scale=3)]
    sides += [normal(g, *lead, n_q, d_v), normal(g, *lead, n_q, scale=3)]
    expected = reference.merge_attention(*sides)
    assert_close(student.merge_attention(*sides), expected, what="merge_attention(...) = (out, lse)", hint=HINT)


@exercise(NAME, points=1)
def test_merging_has_no_largest_size(student, reference, generator):
    """Many rows, wide values and many leading dimensions are merged like few."""
    for lead, n_q, d_v in (((), 1100, 2), ((70,), 2, 3), ((2, 1, 3, 2), 2, 2), ((), 3, 400)):
        sides = [normal(generator, *lead, n_q, *end) for end in ((d_v,), (), (d_v,), ())]
        what = f"(out, lse) for {n_q} queries, d_v = {d_v} and leading dimensions {lead}"
        assert_close(student.merge_attention(*sides), reference.merge_attention(*sides), what=what)


@exercise(NAME, points=1)
@given(case=attention_cases(largest=8), cut=st.integers(0, 8), other=st.integers(0, 8))
@settings(max_examples=10)
def test_the_order_of_merging_does_not_matter(student, case, cut, other):
    """Merging is associative and commutative: (a b) c, a (b c) and c (b a) are one and the same."""
    a, b, c = parts(case, cut, other)
    left = student.merge_attention(*student.merge_attention(*a, *b), *c)
    right = student.merge_attention(*a, *student.merge_attention(*b, *c))
    back = student.merge_attention(*c, *student.merge_attention(*b, *a))
    assert_close(left, partial_attention(case.q, case.k, case.v, case.mask), what="merge(merge(a, b), c)")
    assert_close(right, left, what="merge(a, merge(b, c)) against merge(merge(a, b), c)")
    assert_close(back, left, what="merge(c, merge(b, a)) against merge(merge(a, b), c)")


@exercise(NAME, points=1)
@given(n_q=sizes(1, 5), d_v=sizes(1, 5), seed=seeds())
@settings(max_examples=10)
def test_an_empty_side_counts_for_nothing(student, n_q, d_v, seed):
    """Where one side has lse = -inf the result is the other side, on the left and on the right."""
    g = torch.Generator().manual_seed(seed)
    out, lse, empty = normal(g, 2, n_q, d_v), normal(g, 2, n_q), torch.full((2, n_q), -torch.inf, dtype=torch.float64)
    other = 1e30 * normal(g, 2, n_q, d_v)  # however large
    lse[0, 0] = 0.0  # a single key of score 0
    for arguments in ((out, lse, other, empty), (other, empty, out, lse)):
        assert_close(student.merge_attention(*arguments), (out, lse), what="(out, lse) with one empty side")


@exercise(NAME, points=2)
@given(n_q=sizes(1, 5), d_v=sizes(1, 5), seed=seeds())
@settings(max_examples=15)
def test_two_empty_sides_are_empty(student, n_q, d_v, seed):
    """Where both sides have lse = -inf the result is zeros and -inf, never NaN; other rows are not disturbed."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.rand(n_q, generator=g) < 0.5
    rows[seed % n_q] = True
    lse_a, lse_b = (normal(g, n_q).masked_fill(rows, -torch.inf) for _ in range(2))
    out_a, out_b = (normal(g, n_q, d_v) for _ in range(2))  # what stands beside an lse of -inf counts for nothing
    out, lse = student.merge_attention(out_a, lse_a, out_b, lse_b)
    zeros = torch.zeros_like(out_a[rows])
    with suppress(Exception):  # whether the mistake lies in empty sides alone, others tell
        if out[rows].isnan().any():
            student.merge_attention(out_a, normal(g, n_q), out_b, normal(g, n_q))
    hint = if_nan("-inf - -inf is NaN", out[rows])
    assert_equal(out[rows], zeros, what="out where both sides are empty", hint=hint)
    assert_equal(lse[rows], lse_a[rows], what="lse where both sides are empty")
    assert_close(lse[~rows], torch.logaddexp(lse_a, lse_b)[~rows], what="lse in the other rows")
    weight = torch.sigmoid(lse_a - lse_b)[~rows, None]
    assert_close(out[~rows], weight * out_a[~rows] + (1 - weight) * out_b[~rows], what="out in the other rows")


@exercise(NAME, points=2)
@given(n_q=sizes(1, 5), d_v=sizes(1, 5), shift=st.sampled_from([100.0, 800.0, 1e5, 2.0**30]), seed=seeds())
@settings(max_examples=12)
def test_scores_of_any_size_neither_overflow_nor_vanish(student, n_q, d_v, shift, seed):
    """Adding a row's number to both its lse adds it to the merged lse and leaves out as it is, however large it is."""
    g = torch.Generator().manual_seed(seed)
    out_a, out_b = normal(g, n_q, d_v), normal(g, n_q, d_v)
    lse_a, lse_b = ((normal(g, n_q) * 1024).round() / 1024 for _ in range(2))  # so that adding the shift rounds nothing
    lse_b[seed % n_q] = lse_a[seed % n_q]  # neither is the larger
    room = 4 * shift * torch.finfo(torch.float64).eps  # a large lse is itself rounded
    shift = shift * (-1.0) ** torch.arange(n_q, dtype=torch.float64) * (-1) ** (seed % 2)  # up in one row, down in the next
    weight = torch.sigmoid(lse_a - lse_b)[:, None]
    expected = weight * out_a + (1 - weight) * out_b, torch.logaddexp(lse_a, lse_b) + shift
    actual = student.merge_attention(out_a, lse_a + shift, out_b, lse_b + shift)
    hint = ""
    if difference(actual, expected, "", 1e-8 + room, 1e-9 + room, True):
        easier = student.merge_attention(out_a, lse_a, out_b, lse_b)
        hint = "exp(1000) is inf and exp(-1000) is 0: subtract the larger lse of each row before exp"
        hint = if_right(hint, easier, (expected[0], torch.logaddexp(lse_a, lse_b)))
    assert_close(
        actual,
        expected,
        what=f"(out, lse) with both lse near {shift.tolist()}",
        hint=hint,
        rtol=1e-8 + room,
        atol=1e-9 + room,
    )
    for gap in (16.0, 20.0):  # a share of exp(-gap) is little, and not nothing
        near, share = torch.zeros(2, 1, dtype=torch.float64), 1 / (1 + math.exp(-gap))
        small, large = (near, near[:, 0]), (near + math.exp(gap), near[:, 0] - gap)
        for sides in ((*small, *large), (*large, *small)):
            out, _ = student.merge_attention(*sides)
            hint = if_right("drop no side, however small its share: what it stands for may be large", out, near)
            assert_close(out, near + share, what=f"out of 0 and exp({gap:g}), lse {gap:g} apart", hint=hint, rtol=1e-6)
    lowest = torch.full_like(lse_a, torch.finfo(torch.float64).min)
    _, lse = student.merge_attention(out_a, lowest, out_b, lowest)
    what, hint = "whether lse is finite where both are the lowest finite number", "only an lse of -inf says that a side is empty"
    assert_equal(bool(lse.isfinite().all()), True, what=what, hint=hint)
    far = student.merge_attention(out_a, lse_a, out_b, lse_b - 1e6)
    assert_close(far, (out_a, lse_a), what="(out, lse) when b lies a million below a")
    far = student.merge_attention(out_a, lse_a - 1e6, out_b, lse_b)
    assert_close(far, (out_b, lse_b), what="(out, lse) when a lies a million below b")


@exercise(NAME, points=2)
@given(n_q=sizes(1, 5), d_v=sizes(1, 4), seed=seeds())
@settings(max_examples=10)
def test_gradients_are_right_and_finite_at_empty_sides(student, reference, n_q, d_v, seed):
    """Gradients equal the reference's; rows with one or two empty sides have finite ones, no NaN."""
    g = torch.Generator().manual_seed(seed)
    lse_a = normal(g, n_q).masked_fill(torch.rand(n_q, generator=g) < 0.5, -torch.inf)
    lse_b = normal(g, n_q).masked_fill(torch.rand(n_q, generator=g) < 0.5, -torch.inf)
    lse_a[0] = lse_b[0] = -torch.inf
    out_a, out_b = (normal(g, n_q, d_v) * lse.isfinite()[:, None] for lse in (lse_a, lse_b))
    got = student.run(gradients, "merge_attention", [out_a, lse_a, out_b, lse_b], seed=seed)["gradients"]
    expected = reference.run(gradients, "merge_attention", [out_a, lse_a, out_b, lse_b], seed=seed)["gradients"]
    some = lse_a.isfinite() | lse_b.isfinite()
    for name, gradient, right in zip(("out_a", "lse_a", "out_b", "lse_b"), got, expected):
        gradient = torch.zeros_like(right) if gradient is None else gradient  # where all rows are empty, nothing depends on it
        finite = gradient.isfinite()
        with suppress(Exception):  # whether the mistake lies in empty sides alone, others tell
            if not finite.all():
                student.merge_attention(out_a, normal(g, n_q), out_b, normal(g, n_q))
        assert finite.all(), (
            f"the gradient of {name} is not finite in {int((~finite).sum())} of {finite.numel()} values\n"
            "  hint: torch.where after the fact does not help; replace -inf before the operation that makes NaN"
        )
        assert_close(gradient[some], right[some], what=f"the gradient of {name} where not both sides are empty")
    apart = 2000.0 * torch.rand(n_q, generator=g).round().double() - 1000.0  # one side counts for all, exp overflows
    far = [out_a, normal(g, n_q), out_b, normal(g, n_q) + apart]
    got = student.run(gradients, "merge_attention", far, seed=seed)["gradients"]
    hint = unless_finite("1 / (1 + exp(1000)) is 0, but its gradient is inf / inf: exponentiate nothing above 0", got)
    assert_close(
        got,
        reference.run(gradients, "merge_attention", far, seed=seed)["gradients"],
        what="the gradients with one lse a thousand above the other",
        hint=hint or "nothing may be detached but the maximum",
    )
    for shape, dtype in (((2, 1, 70), torch.float64), ((n_q + 1,), torch.float32), ((2, n_q + 1), torch.bfloat16)):
        sides = [normal(g, *shape, *end, dtype=dtype) for end in ((d_v,), (), (d_v,), ())]
        sides[1][..., 0] = -torch.inf  # an empty side
        for wrt in ([0, 1, 2, 3], [seed % 4]):
            arguments = (gradients, NAME, sides)
            assert_close(
                student.run(*arguments, wrt=wrt, seed=seed),
                reference.run(*arguments, wrt=wrt, seed=seed),
                what=f"value and gradients in {dtype} where only the arguments {wrt} require them",
                rtol=ROOM[dtype],
                atol=ROOM[dtype],
            )


@exercise(NAME, points=1)
@given(dtype=float_dtypes(half=True), n_q=sizes(1, 4), d_v=sizes(1, 4), seed=seeds())
@settings(max_examples=12)
def test_dtype_inputs_and_layout_do_not_matter(student, dtype, n_q, d_v, seed):
    """The result has its inputs' dtype, empty sides or not; inputs stay as they are and need not be contiguous."""
    g = torch.Generator().manual_seed(seed)
    sides = [normal(g, n_q, d_v, dtype=dtype), normal(g, n_q, dtype=dtype)]
    sides += [normal(g, n_q, d_v, dtype=dtype), normal(g, n_q, dtype=dtype)]
    for lse in sides[1::2]:
        lse[torch.rand(n_q, generator=g) < 0.4] = -torch.inf
    out_a, lse_a, out_b, lse_b = (x.double() for x in sides)
    lse = torch.logaddexp(lse_a, lse_b)
    share_a, share_b = ((x - lse).exp().nan_to_num(0.0)[:, None] for x in (lse_a, lse_b))
    expected = [x.to(dtype) for x in (share_a * out_a + share_b * out_b, lse)]
    room = 8 * torch.finfo(dtype).eps
    assert_close(student.merge_attention(*sides), expected, what=f"(out, lse) in {dtype}", rtol=room, atol=room)
    assert_inputs_untouched(student)
    assert_equal(student.run(scenarios.left_behind, NAME, sides), [], what="what the call changed")
    got = student.run(scenarios.with_other_numbers, NAME, sides)
    hint = "keep nothing of a call for the next"
    what = "(out, lse) once the inputs hold other numbers, [without gradients, with]"
    assert_close(got, [expected] * 2, what=what, hint=hint, rtol=room, atol=room)
    got = student.run(strided, "merge_attention", sides)
    assert_close(got, expected, what="(out, lse) of strided inputs", rtol=room, atol=room)
    several, expected = ([x.expand(2, 3, *x.shape).clone() for x in tensors] for tensors in (sides, expected))
    what = f"(out, lse) of a batch of 2 with 3 heads in {dtype}"
    assert_close(student.merge_attention(*several), expected, what=what, rtol=room, atol=room)
    assert_inputs_untouched(student)
