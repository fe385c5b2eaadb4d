"""relative_position_bucket and RelativePositionBias."""

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import changed_around, strided
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import possible_buckets, where_missing


def assert_buckets(found, relative, bidirectional, n_buckets, max_distance):
    """Each bucket is one of those that are right."""
    assert_equal(found.dtype, torch.int64, what="the dtype of the buckets")
    assert_equal(list(found.shape), list(relative.shape), what="the shape of the buckets")
    for r, bucket in zip(relative.flatten().tolist(), found.flatten().tolist()):
        right = possible_buckets(r, bidirectional, n_buckets, max_distance)
        n = n_buckets // 2 if bidirectional else n_buckets
        first = n if bidirectional and r > 0 else 0  # of the buckets of this direction
        hint = f"keys {'after' if first else 'at or before'} the query have the buckets from {first} to {first + n - 1}"
        if r > 0 and not bidirectional:
            hint = "a key after the query counts as distance 0"
        elif first <= bucket < first + n and (abs(r) if bidirectional else -r) >= n // 2:
            hint = "from E on it is E + floor(log(r / E) / log(max_distance / E) * (N - E)), N - 1 at most"
        what = f"the bucket of {r} with n_buckets={n_buckets}, max_distance={max_distance}, bidirectional={bidirectional}"
        expected = " or ".join(map(str, sorted(right)))
        assert bucket in right, f"{what} is not as expected\n  expected {expected}\n  got      {bucket}\n  hint: {hint}"


@exercise("relative_position_bucket", points=3.5, core=True)
@settings(max_examples=10)
@given(half=sizes(2, 20), more=sizes(1, 150), width=sizes(1, 4))
@example(half=16, more=120, width=3)
@example(half=20, more=1, width=1)
def test_two_directions(student, half, more, width):
    """Half of the buckets for keys at or before the query, half for those after it; exact, then logarithmic, then the last."""
    max_distance = half // 2 + more
    reach = torch.arange(-max_distance - 9, max_distance + 10)
    relative = reach[: len(reach) // width * width].reshape(-1, width)
    found = student.relative_position_bucket(relative, True, 2 * half, max_distance)
    assert_buckets(found, relative, True, 2 * half, max_distance)


@exercise("relative_position_bucket", points=3, core=True)
@settings(max_examples=10)
@given(n=sizes(2, 40), more=sizes(1, 150))
@example(n=32, more=112)
@example(n=2, more=1)
@example(n=5, more=9)
def test_one_direction(student, n, more):
    """All buckets for keys at or before the query; a key after it counts as distance 0."""
    relative = torch.arange(-n // 2 - more - 9, 20)
    found = student.relative_position_bucket(relative, bidirectional=False, n_buckets=n, max_distance=n // 2 + more)
    assert_buckets(found, relative, False, n, n // 2 + more)


@exercise("relative_position_bucket", points=0.5)
def test_the_defaults_are_t5s(student):
    """Two directions, 32 buckets, 128 the largest distance."""
    relative = torch.arange(-140, 141)
    assert_buckets(student.relative_position_bucket(relative), relative, True, 32, 128)
    assert_buckets(student.relative_position_bucket(relative, False), relative, False, 32, 128)


@exercise("relative_position_bucket", points=0.5)
def test_the_largest_distances_share_the_last_bucket(student):
    """From max_distance to a million millions; also of many buckets."""
    far = torch.tensor([-(2**40) - 1, -(10**8), -(10**6), -5000, -129, 0, 129, 5000, 10**6, 10**8, 2**40 + 1])
    for bidirectional in (True, False):
        assert_buckets(student.relative_position_bucket(far, bidirectional), far, bidirectional, 32, 128)
        reach = torch.arange(-830, 831)
        found = student.relative_position_bucket(reach, bidirectional, 602, 800)
        assert_buckets(found, reach, bidirectional, 602, 800)


@exercise("relative_position_bucket", points=0.5)
def test_positions_of_any_integer_dtype_and_shape_are_left_alone(student):
    """int32 positions, the smallest of int8, none at all, a single number, a transposed table."""
    for dtype in (torch.int64, torch.int32, torch.int16):
        table, number, nothing = torch.arange(-40, 40).reshape(2, 8, 5), torch.tensor(-3), torch.empty(0, 3)
        for relative in (table.to(dtype), number.to(dtype), nothing.to(dtype)):
            for bidirectional in (True, False):
                found = student.relative_position_bucket(relative, bidirectional)
                assert_inputs_untouched(student)
                assert_buckets(found, relative, bidirectional, 32, 128)
    for least in (torch.tensor([-128, 127], dtype=torch.int8), torch.tensor([-(2**15), 2**15 - 1], dtype=torch.int16)):
        for bidirectional in (True, False):
            assert_buckets(student.relative_position_bucket(least, bidirectional), least, bidirectional, 32, 128)
    relative = torch.arange(-30, 30).reshape(10, 6)
    assert_buckets(student.run(strided, "relative_position_bucket", [relative]), relative, True, 32, 128)
    changed = student.run(changed_around, "relative_position_bucket", [relative])
    assert_equal(changed, [], what="what else the call changed")


@exercise("relative_position_bucket", points=1)
def test_numbers_that_leave_no_buckets_are_refused(student):
    """Fewer than two buckets a direction, an odd number to be halved, a max_distance that the exact buckets reach."""
    relative = torch.arange(-3, 4)
    two, one = [(2, 128), (7, 128), (32, 8), (32, 5), (0, 9)], [(1, 128), (32, 16), (0, 9)]
    for bidirectional, n, distance in [(True, *each) for each in two] + [(False, *each) for each in one]:
        why = "there are not two buckets for each direction, or no distance between the exact ones and max_distance"
        assert_refused(student.relative_position_bucket, relative, bidirectional, n, distance, why=why)


# RelativePositionBias

BIAS_HINT = "query i stands at position n_k - n_q + i; the table's row is the bucket of key minus query"


@exercise("RelativePositionBias", points=2.5, core=True)
@settings(max_examples=8)
@given(seed=seeds(), n=sizes(1, 9), n_heads=sizes(1, 3), bidirectional=st.booleans())
@example(seed=3, n=8, n_heads=2, bidirectional=True)
@example(seed=3, n=8, n_heads=2, bidirectional=False)
def test_every_pair_of_positions_has_its_bias(student, reference, seed, n, n_heads, bidirectional):
    """(h, n, n): the table's number for this head and for the bucket of key minus query."""
    args = [n_heads, bidirectional, 8, 7], normal(seed, 8, n_heads), [(n, n)]
    actual, expected = (each.run(scenarios.bias_of, *args) for each in (student, reference))
    assert_close(actual[0], expected[0], what=f"the bias of {n} positions", hint=BIAS_HINT)


@exercise("RelativePositionBias", points=1.5, core=True)
@settings(max_examples=8)
@given(seed=seeds(), n_k=sizes(2, 9), n_q=sizes(1, 8), bidirectional=st.booleans())
@example(seed=3, n_k=7, n_q=1, bidirectional=False)
@example(seed=3, n_k=7, n_q=3, bidirectional=True)
def test_fewer_queries_are_the_last_ones(student, reference, seed, n_k, n_q, bidirectional):
    """The bias of (n_q, n_k) is the last n_q rows of that of (n_k, n_k), before and after other lengths."""
    n_q = min(n_q, n_k)
    several = [(n_q, n_k), (n_k, n_k), (1, 1), (n_q, n_k), (1, n_k + 3)]
    args = [2, bidirectional, 6, 5], normal(seed, 6, 2), several
    actual, expected = (each.run(scenarios.bias_of, *args) for each in (student, reference))
    assert_close(actual, expected, what=f"the biases of (n_q, n_k) = {several}", hint=BIAS_HINT)


@exercise("RelativePositionBias", points=1)
def test_the_table_is_a_parameter_that_learns(student, reference):
    """embedding.weight, (n_buckets, n_heads), gets a gradient, and the bias its dtype; the defaults are T5's."""
    for bidirectional in (True, False):
        args = [2, bidirectional, 6, 5], normal(1, 6, 2), 3, 7, normal(2, 2, 3, 7)
        actual, expected = (each.run(scenarios.bias_gradient, *args) for each in (student, reference))
        hint = where_missing(actual, expected, "is it detached, or looked up without gradients?")
        assert_close(actual, expected, what="the table's gradient", hint=hint)
    for dtype in (torch.float32, torch.bfloat16):
        (found,) = student.run(scenarios.bias_of, [2, True, 6, 5], normal(1, 6, 2, dtype=dtype), [(2, 3)])
        assert_equal(found.dtype, dtype, what=f"the dtype of a bias from a table of {dtype}")
    (found,) = student.run(scenarios.bias_of, [2, True, 6, 5], normal(1, 6, 2), [(0, 4)])
    assert_equal(list(found.shape), [2, 0, 4], what="the shape of the bias of no query", hint="[-0:] is everything")
    found = student.run(scenarios.structure, "RelativePositionBias", [3])
    expected = {"parameters": {"embedding.weight": [32, 3]}, "is a module": True, "shared by two": [], "changed": []}
    assert_equal(found, expected, what="what a new table is")
    tables = [{"embedding.weight": normal(seed, 6, 2)} for seed in (3, 4)]
    call = "RelativePositionBias", [2, True, 6, 5], *tables, [3, 7]
    actual, expected = (each.run(scenarios.called_after_a_change, *call) for each in (student, reference))
    assert_close(actual, expected, what="the biases before and after a change of the table", hint="keep no bias: weights change")
    args = [3], normal(1, 32, 3), [(60, 150), (2, 2100)]
    actual, expected = (each.run(scenarios.bias_of, *args) for each in (student, reference))
    assert_equal(list(actual[0].shape), [3, 60, 150], what="the shape of the bias")
    for distance in (3, 21, 41, 57):  # away from where the logarithm is a whole number
        found, expected_there = ([x[0][:, -1, 149 - distance], x[0][:, 0, 90 + distance]] for x in (actual, expected))
        assert_close(found, expected_there, what=f"the default bias at a distance of {distance}, before and after the query")
    assert_equal(list(actual[1].shape), [3, 2, 2100], what="the shape of the bias of the last two of 2100 positions")
    assert_close(actual[1][..., :900], expected[1][..., :900], what="the bias of the last two of 2100 positions to the first 900")
