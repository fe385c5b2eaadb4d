"""Hidden tests: the two dynamic programmes. The truth is trying every possibility."""

import math
from itertools import combinations, pairwise, product

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.assertions import brief
from autograder.testing.probes import changed_around
from autograder.testing.strategies import example, given, settings, st

from . import scenarios

# Residual paths


@exercise("residual_path_counts", points=3, core=True)
def test_path_counts_agree_with_walking_every_path(student):
    """In stacks of 1 to 10 layers, in no order, every one of the 2^n paths is walked and counted by its length."""
    for n in (3, 10, *range(1, 10), 1):
        lengths = [sum(path) for path in product((0, 1), repeat=n)]
        expected = [lengths.count(length) for length in range(n + 1)]
        hint = "one count for each length from 0 to n: each layer is walked through or around"
        assert_equal(student.residual_path_counts(n), expected, what=f"residual_path_counts({n})", hint=hint)


def only_rounded(actual, expected):
    """Whether counts are right but for their type, or where they are too large for a float or 64 bits."""
    if not isinstance(actual, list) or len(actual) != len(expected):
        return False
    return all(isinstance(a, int | float) and (a == e or e > 2**53) for a, e in zip(actual, expected))


@exercise("residual_path_counts", points=2)
def test_path_counts_are_exact_for_deep_stacks(student):
    """64, 100, 300 and 600 layers: exact integers (not floats, not 64 bits), without walking 2^n paths."""
    for n in (40, 64, 100, 300, 600):
        expected = [math.comb(n, length) for length in range(n + 1)]
        actual = student.residual_path_counts(n)
        hint = "Python ints are exact at any size, floats and 64 bits are not" if only_rounded(actual, expected) else ""
        assert_equal(actual, expected, what=f"residual_path_counts({n})", hint=hint)


@exercise("residual_path_counts", points=0.5)
def test_no_layers_leave_one_path(student):
    """Without layers there is one path, of length 0."""
    assert_equal(student.residual_path_counts(0), [1], what="residual_path_counts(0)")
    for n, expected in ((0, [1]), (3, [1, 3, 3, 1])):
        assert_equal(student.residual_path_counts(n), expected, what=f"residual_path_counts({n})")
        again, kinds = student.run(scenarios.counts_after_the_result_was_changed, n)
        what = f"residual_path_counts({n}), the list of an earlier call having been changed by its caller"
        assert_equal(again, expected, what=what, hint="hand out a new list each time")
        hint = "Python's own ints have any size; NumPy's overflow"
        assert_equal(kinds, ["int"], what=f"the types of residual_path_counts({n})", hint=hint)
    changed = student.run(changed_around, "residual_path_counts", [3])
    assert_equal(changed, [], what="what the call changed", hint="set no seed and no default")


@exercise("residual_path_counts", points=0.5)
def test_path_counts_refuse_a_negative_depth(student):
    """There is no stack of -1 layers."""
    for n in (-1, -2, -5, -100, -(10**6)):
        assert_refused(student.residual_path_counts, n, why="n_layers is negative")


# Checkpoints


def best_split(costs, n_segments):
    """(the smallest possible peak, boundaries that have it), by trying every split."""
    n = len(costs)
    splits = ([0, *cuts, n] for used in range(min(n_segments, n)) for cuts in combinations(range(1, n), used))
    return min((max(sum(costs[a:b]) for a, b in pairwise(split)), split) for split in splits)


def least_peak(costs, n_segments):
    """The smallest possible peak."""
    return best_split(costs, n_segments)[0]


def peak_hint(peak, costs, n_segments):
    """What there is to say of a wrong peak: that there is a better split, or none so good."""
    if type(peak) not in (int, float):
        return "the result is (boundaries, peak), and peak a plain number"
    least, split = best_split(costs, n_segments)
    return f"the largest segment of {split} costs {least}" if peak > least else f"no split has a peak below {least}"


def check_boundaries(boundaries, costs, n_segments, peak):
    n = len(costs)
    order = "\n  hint: the result is (boundaries, peak)"
    assert isinstance(boundaries, list | tuple), f"boundaries should be a list, not {type(boundaries).__name__}{order}"
    boundaries = list(boundaries)
    shown = f"boundaries {brief(boundaries)} for costs {brief(costs)}"
    assert all(type(b) is int for b in boundaries), f"{shown}: not all are ints"
    assert boundaries[:1] == [0] and boundaries[-1:] == [n], f"{shown}: they begin with 0 and end with {n}"
    assert all(a < b for a, b in pairwise(boundaries)), f"{shown}: they rise strictly, no segment is empty"
    assert len(boundaries) - 1 <= n_segments, f"{shown}: {len(boundaries) - 1} segments where {n_segments} are allowed"
    assert_close(max(sum(costs[a:b]) for a, b in pairwise(boundaries)), peak, what=f"the largest segment of {shown}")


COSTS = st.lists(st.integers(0, 20), min_size=1, max_size=8)


@exercise("optimal_checkpoints", points=4, core=True)
@settings(max_examples=30)
@given(costs=COSTS, n_segments=st.integers(1, 6))
@example(costs=[9, 1, 1, 1, 9], n_segments=3)
@example(costs=[2, 3, 4, 5, 6], n_segments=2)
@example(costs=[1, 1, 1, 1, 10, 1], n_segments=3)
@example(costs=[20, 1, 1, 2, 1, 3, 1], n_segments=2)
@example(costs=[1, 3, 1, 2, 1, 1, 20], n_segments=2)
def test_no_split_has_a_smaller_peak(student, costs, n_segments):
    """The peak is the smallest of all possible splits, as an exact int."""
    _, peak = student.optimal_checkpoints(costs, n_segments)
    what, hint = f"the peak for costs {costs} in {n_segments} segments", peak_hint(peak, costs, n_segments)
    assert_equal(peak, least_peak(costs, n_segments), what=what, hint=hint)


@exercise("optimal_checkpoints", points=2.5)
@settings(max_examples=30)
@given(costs=COSTS, n_segments=st.integers(1, 6))
def test_the_boundaries_are_a_split_with_that_peak(student, costs, n_segments):
    """From 0 to len(costs), strictly rising, at most n_segments segments, and the largest one is the best possible."""
    boundaries, _ = student.optimal_checkpoints(costs, n_segments)
    check_boundaries(boundaries, costs, n_segments, least_peak(costs, n_segments))


@exercise("optimal_checkpoints", points=1)
def test_more_segments_than_layers_and_layers_that_cost_nothing(student):
    """More segments than layers, one layer, free layers, no layers at all."""
    for costs, n_segments in (
        ([3, 1, 2], 3),
        ([3, 1, 2], 50),
        ([7], 1),
        ([7], 4),
        ([0, 0, 0], 2),
        ([0, 5, 0, 0, 5], 4),
        ([5] * 11, 11),
    ):
        boundaries, peak = student.optimal_checkpoints(costs, n_segments)
        assert_equal(peak, least_peak(costs, n_segments), what=f"the peak for costs {costs} in {n_segments} segments")
        check_boundaries(boundaries, costs, n_segments, peak)
    for n_segments in (1, 3):
        assert_equal(
            student.optimal_checkpoints([], n_segments),
            ([0], 0),
            what=f"optimal_checkpoints([], {n_segments})",
            dtype=False,
        )


@exercise("optimal_checkpoints", points=1)
def test_costs_may_be_floats_or_very_large(student):
    """Fractions are not rounded, and integers beyond 2^53 stay exact."""
    for unit, n_segments in product((1.0, 2.0**-30), (1, 2, 3, 4)):
        fractions = [unit * cost for cost in (0.5, 0.25, 1.75, 0.125, 0.625, 0.5, 1.0)]
        boundaries, peak = student.optimal_checkpoints(fractions, n_segments)
        what = f"the peak for costs {fractions} in {n_segments} segments"
        assert_close(peak, least_peak(fractions, n_segments), what=what, rtol=1e-12, atol=0.0)
        check_boundaries(boundaries, fractions, n_segments, least_peak(fractions, n_segments))
    exact = "costs are added as they are: nothing is rounded"
    tenths = [0.1, 0.7, 0.3, 1.9, 0.2, 1.1]
    for n_segments in (1, 2, 4):
        _, peak = student.optimal_checkpoints(tenths, n_segments)
        what = f"the peak for costs {tenths} in {n_segments} segments"
        assert_close(peak, least_peak(tenths, n_segments), what=what, hint=exact, rtol=1e-12, atol=0.0)
    for costs, n_segments in (([0.65, 0.65, 0.14], 2), ([0.58, 0.11, 0.57], 2), ([0.13, 0.21, 0.55, 0.72, 0.78], 4)):
        boundaries, peak = student.optimal_checkpoints(costs, n_segments)
        what, hint = f"the peak for costs {costs} in {n_segments} segments", peak_hint(peak, costs, n_segments)
        assert_close(peak, least_peak(costs, n_segments), what=what, hint=hint, rtol=1e-12, atol=0.0)
    mixed = [1, 2.5, 0.25, 3, 0.5]
    for n_segments in (1, 2, 4):
        boundaries, peak = student.optimal_checkpoints(mixed, n_segments)
        what = f"the peak for costs {mixed} in {n_segments} segments"
        assert_close(peak, float(least_peak(mixed, n_segments)), what=what, hint=exact)
        check_boundaries(boundaries, mixed, n_segments, float(least_peak(mixed, n_segments)))
    large = [2**60 + 1, 2**61 + 3, 2**60 + 7, 2**59 + 1, 2**61 + 9]
    for costs, n_segments in product((large, [cost << 20 | 1 for cost in large]), (1, 2, 3)):
        boundaries, peak = student.optimal_checkpoints(costs, n_segments)
        assert_equal(peak, least_peak(costs, n_segments), what=f"the peak for costs {costs} in {n_segments} segments")
        check_boundaries(boundaries, costs, n_segments, peak)


def least_peak_by_bisection(costs, n_segments):
    """The smallest limit that greedily filled segments keep: exact for integers, at any size."""
    low, high = max(costs), sum(costs)
    while low < high:
        limit, used, filled = (low + high) // 2, 1, 0
        for cost in costs:
            used, filled = (used + 1, cost) if filled + cost > limit else (used, filled + cost)
        low, high = (low, limit) if used <= n_segments else (limit + 1, high)
    return low


@exercise("optimal_checkpoints", points=0.5)
def test_the_list_of_costs_is_left_as_it_was(student):
    """The caller's list is read, never written to."""
    for costs in ([3, 1, 2, 0], [5], []):
        for n_segments in (1, 3, 9):
            after = student.run(scenarios.costs_afterwards, list(costs), n_segments)
            assert_equal(after, costs, what="the costs after the call", hint="work on a copy: costs = list(costs)")
    first, again = student.run(scenarios.boundaries_after_the_result_was_changed, [1, 1, 1, 5], 2)
    assert_equal(first, ([0, 3, 4], 5), what="optimal_checkpoints([1, 1, 1, 5], 2)")
    what = "optimal_checkpoints([1, 1, 1, 5], 2), the boundaries of an earlier call having been changed by its caller"
    assert_equal(again, ([0, 3, 4], 5), what=what, hint="hand out a new list each time")
    changed = student.run(changed_around, "optimal_checkpoints", [[3, 1, 2, 0], 2])
    assert_equal(changed, [], what="what the call changed", hint="set no seed and no default")
    _, peak = student.optimal_checkpoints((3, 1, 2, 0), 2)
    assert_equal(peak, 3, what="the peak for costs given as a tuple", hint="any sequence of costs will do")


@exercise("optimal_checkpoints", points=0.5)
def test_a_hundred_layers_are_no_trouble(student, generator):
    """100 layers have more splits than can be tried one by one; 130 are no trouble either."""
    for n, n_segments in ((100, 2), (100, 10), (100, 30), (100, 70), (100, 100), (130, 3)):
        costs = torch.randint(1, 1000, (n,), generator=generator).tolist()
        boundaries, peak = student.optimal_checkpoints(costs, n_segments)
        expected = least_peak_by_bisection(costs, n_segments)
        assert_equal(peak, expected, what=f"the peak for {n} costs in {n_segments} segments")
        check_boundaries(boundaries, costs, n_segments, expected)


@exercise("optimal_checkpoints", points=0.5)
def test_checkpoints_refuse_what_makes_no_sense(student):
    """Fewer than one segment or a negative cost is an error."""
    below = (([1, 2], 0), ([1, 2], -1), ([], 0), ([], -3))
    negative = ([1, 4, 2, 5, -2, 3], 2), ([-1], 1), ([-3, 1], 2), ([1, -2], 9), ([2.0, -1e-12], 2), ([1.5, 2.0, -0.5], 2)
    for costs, n_segments in (*below, *negative):
        assert_refused(
            student.optimal_checkpoints, costs, n_segments, why="a cost is negative or n_segments is below 1"
        )
