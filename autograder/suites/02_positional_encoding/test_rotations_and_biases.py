"""apply_rope and alibi_bias."""

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import changed_around, gradients, requires_grad, strided
from autograder.testing.strategies import (
    broadcastable,
    example,
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
from .cases import rotated

EVEN = sizes(1, 8).map(lambda pairs: 2 * pairs)
# float32 angles of up to a hundred radians, however they were computed
ANGLES = {"rtol": 0.0, "atol": 2e-4}
ROOM = {torch.float64: 1e-9, torch.float32: ANGLES["atol"], torch.float16: 2e-2, torch.bfloat16: 8e-2}


def drawn_positions(seed, *shape, largest=60):
    """Whole positions in any order, with repeats."""
    return torch.randint(0, largest + 1, shape, generator=torch.Generator().manual_seed(seed))


@exercise("apply_rope", points=5, core=True)
@given(lead=leading_shapes(), t=sizes(1, 7), d=EVEN, seed=seeds())
@example(lead=(), t=2, d=4, seed=0)
@example(lead=(2,), t=3, d=514, seed=0)
@example(lead=(), t=1500, d=4, seed=0)
@example(lead=(2, 3), t=1, d=8, seed=0)
@settings(max_examples=20)
def test_each_pair_turns_by_its_clock(student, lead, t, d, seed):
    """Channels (2i, 2i + 1), as a complex number, are multiplied by exp(i a) with a = position / 10000^(2i / d)."""
    x, positions = normal(seed, *lead, t, d), drawn_positions(seed, t)
    assert_close(
        student.apply_rope(x, positions),
        rotated(x, positions),
        what=f"x turned at positions {positions.tolist()}",
        hint="pairs are neighbours, (x0, x1), (x2, x3), ...; positive angles take x0 towards x1",
        **ANGLES,
    )
    if t < 8:
        expected, changed = rotated(x, positions + 3), [x, positions + 3]
        actual = student.run(scenarios.after_change, "apply_rope", [x + 1.0, positions], changed)
        hint = "keep no angles of positions that may have changed since, and change neither x nor the positions"
        what = "[x turned, x turned under no_grad, [x, positions]] after x and the positions have changed"
        assert_close(actual, [expected, expected, changed], what=what, hint=hint, **ANGLES)


@exercise("apply_rope", points=1)
@given(m=st.integers(-20, 30), n=st.integers(-20, 30), shift=sizes(1, 50), d=EVEN, seed=seeds())
@settings(max_examples=20)
def test_scores_know_only_the_distance(student, m, n, shift, d, seed):
    """The dot product of a query at m and a key at n does not change when both move by the same distance."""
    q, k = normal(seed, 1, d).expand(2, d), normal(seed + 1, 1, d).expand(2, d)
    of_q, of_k = torch.tensor([m, m + shift]), torch.tensor([n, n + shift])
    near, far = (student.apply_rope(q, of_q) * student.apply_rope(k, of_k)).sum(-1)
    assert_close(far, near, what=f"the score at {m + shift}, {n + shift}", **ANGLES)
    expected = (rotated(q, of_q) * rotated(k, of_k)).sum(-1)
    assert_close(near, expected[0], what=f"the score at {m}, {n}", **ANGLES)


@exercise("apply_rope", points=1)
@given(bases=st.permutations([10.0, 77.7, 5e5]), t=sizes(2, 6), d=EVEN, seed=seeds())
@settings(max_examples=6)
def test_the_base_sets_how_slow_the_rotations_become(student, bases, t, d, seed):
    """The argument base takes the place of 10000."""
    x, positions = normal(seed, t, d + 2), drawn_positions(seed, t)
    for base in bases[:2]:
        actual = student.apply_rope(x=x, positions=positions, base=base)
        assert_close(actual, rotated(x, positions, base), rtol=0.0, atol=1e-9, what=f"x turned at base {base}")
    for dtype, room in ROOM.items():
        short = x.to(dtype)
        what, expected = f"{dtype} x turned at base {bases[2]}", rotated(short, positions, bases[2]).to(dtype)
        assert_close(student.apply_rope(short, positions, bases[2]), expected, what=what, rtol=0.0, atol=room)


@exercise("apply_rope", points=1)
@given(
    shape=leading_shapes(3, 2).flatmap(lambda lead: st.tuples(st.just(lead), broadcastable(lead))),
    t=st.sampled_from([5, 5, 1]),
    seed=seeds(),
    dtype=float_dtypes(half=True),
)
@settings(max_examples=16)
def test_each_text_of_a_batch_may_have_its_own_positions(student, shape, t, seed, dtype):
    """Positions broadcast against x's (..., t): a text may have its own, and all its tokens may share one."""
    lead, own = shape
    x, positions = normal(seed, *lead, 5, 6), drawn_positions(seed, *own, t)
    hint = "make angles of shape positions.shape + (d / 2,), which broadcasts against the pairs"
    assert_close(student.apply_rope(x, positions), rotated(x, positions), what="x turned", hint=hint, **ANGLES)
    x, positions = x.to(dtype), positions + 900
    room = 2e-3 if dtype == torch.float32 else ROOM[dtype]  # float32 angles of up to a thousand radians
    expected = rotated(x, positions).to(dtype)
    actual = student.run(scenarios.after_change, "apply_rope", [x, positions], [x, positions])[:2]
    what, hint = f"[{dtype} x turned, the same under no_grad]", "positions of every shape turn x in the same precision"
    assert_close(actual, [expected, expected], what=what, hint=hint, rtol=0.0, atol=room)


@exercise("apply_rope", points=1)
def test_positions_of_any_shape_stand_beside_the_last_dimensions(student):
    """Positions align with x's (..., t) from the right, whatever their shape, and may be integers of any width."""
    for x_shape, shape in [
        ((2, 2, 5, 6), (2, 5)),  # beside the second 2
        ((2, 2, 5, 6), (2, 1, 5)),
        ((3, 5, 6), (3, 5)),
        ((5, 5, 6), (5, 1)),
        ((2, 3, 2, 5, 6), (3, 1, 5)),
        ((1, 2, 1, 2, 5, 6), (5,)),
        ((2, 5, 6), ()),
        ((2, 0, 6), (2, 0)),
        ((0, 3, 6), (3,)),
    ]:
        x, positions = normal(5, *x_shape), drawn_positions(6, *shape)
        actual = student.apply_rope(x, positions)
        assert_close(actual, rotated(x, positions), what=f"x {x_shape} turned at positions {shape}", **ANGLES)
    x, positions = normal(7, 3, 4), torch.tensor([100, 3, 7], dtype=torch.int32)
    assert_close(student.apply_rope(x, positions), rotated(x, positions), what="x turned at int32 positions", **ANGLES)
    assert_inputs_untouched(student)


@exercise("apply_rope", points=1)
@given(t=sizes(1, 6), d=EVEN, seed=seeds())
@settings(max_examples=8)
def test_double_precision_is_kept_in_the_angles(student, t, d, seed):
    """float64 in, float64 accuracy out, also at positions in the thousands, and after a call in float32."""
    x, positions = normal(seed, t, d), drawn_positions(seed, t, largest=400_000)
    student.apply_rope(x.float(), positions)  # which leaves nothing behind
    hint = "angles made from a float32 arange have seven digits, and a large position uses them up"
    assert_close(student.apply_rope(x, positions), rotated(x, positions), rtol=0.0, atol=1e-9, hint=hint)
    x, positions = normal(seed, 1, 2), torch.tensor([2**24 + 1])
    what, hint = "x turned at position 2^24 + 1", "float32 has no odd numbers above 2^24: the angles of a float64 x are float64"
    assert_close(student.apply_rope(x, positions), rotated(x, positions), rtol=0.0, atol=1e-6, what=what, hint=hint)


@exercise("apply_rope", points=1)
@given(dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]), d=EVEN, seed=seeds())
@settings(max_examples=12)
def test_short_dtypes_keep_their_dtype_and_exact_angles(student, dtype, d, seed):
    """Half-precision x comes back in its dtype, turned by angles that are exact at positions in the thousands."""
    x, positions = normal(seed, 6, d, dtype=dtype), drawn_positions(seed, 6, largest=13_000) - 4000
    room = 8e-3 if dtype == torch.float32 else ROOM[dtype]  # float32 angles of up to nine thousand radians
    hint = "bfloat16 cannot tell position 2000 from 2001: compute the angles in float32 and cast at the end"
    expected = rotated(x, positions).to(dtype)
    assert_close(student.apply_rope(x, positions), expected, rtol=0.0, atol=room, hint=hint)
    _, unrecorded, after = student.run(scenarios.after_change, "apply_rope", [x, positions], [x, positions])
    assert_close(unrecorded, expected, rtol=0.0, atol=room, what="x turned under no_grad", hint=hint)
    assert_equal(after, [x, positions], what=f"[{dtype} x, the positions] after x was turned", hint="make a new tensor")


@exercise("apply_rope", points=1)
@given(lead=leading_shapes(2, 1), t=sizes(1, 5), d=EVEN, seed=seeds())
@example(lead=(), t=2, d=4, seed=0)
@example(lead=(2,), t=70, d=16, seed=0)
@settings(max_examples=5)
def test_gradients_are_turned_back(student, lead, t, d, seed):
    """The gradient of x, of any float dtype, is the incoming gradient, turned by the opposite angles."""
    x, positions = normal(seed, *lead, t, d), drawn_positions(seed, *lead[seed % 2 :], t)
    cotangent = normal(0, *lead, t, d)  # as the probe draws it
    actual = student.run(gradients, "apply_rope", [x, positions], wrt=[0])["gradients"][0]
    assert_close(actual, rotated(cotangent, -positions), what="the gradient of x", **ANGLES)
    for dtype, room in ROOM.items():
        actual = student.run(gradients, "apply_rope", [x.to(dtype), positions], wrt=[0])["gradients"][0]
        expected = rotated(cotangent.to(dtype), -positions).to(dtype)
        assert_close(actual, expected, what=f"the gradient of {dtype} x", rtol=0.0, atol=room)


@exercise("apply_rope", points=1)
def test_an_odd_number_of_channels_is_refused(student):
    """Channels that do not pair up are refused."""
    for shape in [(4, 5), (2, 3, 1), (0, 3), (2, 131), (2, 3, 4, 5)]:
        assert_refused(student.apply_rope, torch.zeros(shape), torch.arange(shape[-2]), why=f"{shape[-1]} is odd")


@exercise("apply_rope", points=1)
@given(lead=leading_shapes(), t=sizes(1, 5), d=EVEN, seed=seeds())
@example(lead=(2,), t=0, d=4, seed=0)
@settings(max_examples=4)
def test_x_is_left_alone_however_it_lies_in_memory(student, lead, t, d, seed):
    """x is not changed in place and need not be contiguous; no tokens stay no tokens."""
    x, positions = normal(seed, *lead, t, d), drawn_positions(seed, t)
    value = student.apply_rope(x, positions)
    assert_inputs_untouched(student)
    assert_equal(student.run(changed_around, "apply_rope", [x, positions]), [], what="what the call changed")
    assert_close(value, rotated(x, positions), what="x turned", **ANGLES)
    assert_close(student.run(strided, "apply_rope", [x, positions]), value, what="a strided x turned", **ANGLES)
    learns = student.run(scenarios.asks_for_gradients, "apply_rope", [x, positions])
    assert_equal(learns, False, what="whether x turned requires gradients", hint="the clocks are not learned")
    kept = student.run(scenarios.arguments_after_overwriting, "apply_rope", [x, 0 * positions])
    hint = "hand out a new tensor, also where nothing turns"
    assert_equal(kept[0], x, what="x, after x turned at positions 0 was overwritten", hint=hint)
    same = student.run(scenarios.hands_x_back, "apply_rope", [x[..., :0, :], positions[:0]])
    assert_equal(same, False, what="whether no tokens turned are x itself", hint="return a new tensor in every case")


def visible(n_q, n_k):
    """Which keys stand at or before which query, bottom-right aligned: bool (n_q, n_k)."""
    return torch.arange(n_k) <= torch.arange(n_k - n_q, n_k)[:, None]


def expected_bias(n_heads, n_q, n_k):
    """The paper's numbers where the key is at or before the query, zeros elsewhere, float64."""
    slopes = torch.tensor([2.0 ** (-8 * (head + 1) / n_heads) for head in range(n_heads)], dtype=torch.float64)
    rows = [torch.arange(n_k - n_q + i, -n_q + i, -1).clamp(min=0) for i in range(n_q)]
    distances = torch.stack(rows) if rows else torch.zeros(0, n_k)
    return -slopes[:, None, None] * distances


def assert_bias(actual, n_heads, n_q, n_k):
    assert_equal(list(actual.shape), [n_heads, n_q, n_k], what="the shape of the bias")
    assert_close(
        torch.where(visible(n_q, n_k), actual.double(), 0.0),
        expected_bias(n_heads, n_q, n_k),
        what=f"the bias of {n_heads} heads, {n_q} queries, {n_k} keys, at keys up to the query",
        hint="minus slope times distance; query i stands at n_k - n_q + i; slopes are 2^(-8 i / h) for i = 1 to h",
        rtol=1e-5,
        atol=1e-6,
    )


@exercise("alibi_bias", points=4, core=True)
@given(n_heads=sizes(1, 13), n_q=sizes(1, 7), more=sizes(0, 5))
@settings(max_examples=20)
def test_the_bias_is_minus_slope_times_distance(student, n_heads, n_q, more):
    """Each head takes its slope times the distance off the score, at any number of heads."""
    assert_bias(student.alibi_bias(n_heads, n_q, n_q + more), n_heads, n_q, n_q + more)


@exercise("alibi_bias", points=2)
@given(n_heads=sizes(1, 6), t=sizes(2, 9))
@settings(max_examples=8)
def test_the_last_query_stands_at_the_last_key(student, n_heads, t):
    """A single new query over t keys gets the last row of the square bias: what a cache needs."""
    one = student.alibi_bias(n_heads=n_heads, n_q=1, n_k=t)
    assert_bias(one, n_heads, 1, t)
    square = student.alibi_bias(n_heads, t, t)
    assert_bias(square, n_heads, t, t)
    hint = "align bottom-right, as the causal mask is"
    assert_close(one, square[:, -1:], what="the bias of the last query alone", hint=hint)


@exercise("alibi_bias", points=1)
@given(n_heads=sizes(1, 5), n_k=sizes(1, 4), more=sizes(1, 4))
@settings(max_examples=6)
def test_more_queries_than_keys_are_aligned_at_the_end(student, n_heads, n_k, more):
    """With more queries than keys the first queries stand before every key; the others are unaffected."""
    assert_bias(student.alibi_bias(n_heads, n_k + more, n_k), n_heads, n_k + more, n_k)


@exercise("alibi_bias", points=1)
def test_the_bias_is_float32_and_ready_to_be_added(student):
    """The bias is float32 (h, n_q, n_k), and no queries give no rows."""
    for n_heads, n_q, n_k in [(1, 1, 1), (3, 2, 5), (4, 0, 3)]:
        bias = student.alibi_bias(n_heads, n_q, n_k)
        assert_equal([list(bias.shape), bias.dtype], [[n_heads, n_q, n_k], torch.float32], "(shape, dtype) of the bias")
    # far back it goes on, and to the last whole number
    for n_heads, n_q, n_k in [(3, 2, 2101), (1, 2, 5003), (130, 2, 3), (1, 270, 271)]:
        assert_bias(student.alibi_bias(n_heads, n_q, n_k), n_heads, n_q, n_k)
    learns = student.run(requires_grad, "alibi_bias", [2, 3, 4])
    assert_equal(learns, False, what="whether the bias requires gradients", hint="slopes are written down, not learned")
    bias, again = student.alibi_bias(2, 3, 4), student.run(scenarios.again_after_overwriting, "alibi_bias", [2, 3, 4])
    hint = "hand out a copy of what you keep"
    assert_equal(again, [bias, bias], what="the bias, after an earlier one was overwritten", hint=hint)
    assert_equal(student.run(changed_around, "alibi_bias", [2, 3, 4]), [], what="what the call changed")
