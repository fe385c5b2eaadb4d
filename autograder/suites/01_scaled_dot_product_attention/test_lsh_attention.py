"""lsh_attention, on inputs for which the buckets are known whatever rotation is drawn (up to a few possibilities)."""

import math
from contextlib import suppress

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.assertions import difference
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios
from .oracles import attention, none_as_zeros, not_later, of_gradients, pulled_back

HINT = "one rotation for q and k in each round; rounds weighed by their log-sum-exp"


def on_one_line(seed, d, *leads_and_lengths, dtype=torch.float64):
    """Vectors along one random line, either way and of any length: equal signs share every bucket, others none.

    In half precision lengths are powers of two, for else rounding would turn each vector off the line by its own angle.
    """
    g = torch.Generator().manual_seed(seed)
    line = normal(g, d, dtype=dtype)
    signs = [torch.randint(2, (*shape, 1), generator=g) * 2.0 - 1 for shape in leads_and_lengths]
    lengths = [0.2 + torch.rand(sign.shape, generator=g).double() for sign in signs]
    if dtype != torch.float64:
        lengths = [2.0 ** length.log2().round() for length in lengths]
    return [(sign * length).to(dtype) * line for sign, length in zip(signs, lengths, strict=True)]


def same_side(q, k, causal):
    """Whether query and key point the same way along their line (and the key is not later)."""
    allowed = (q @ k.mT) > 0
    return (allowed & not_later(*allowed.shape[-2:]) if causal else allowed).double()


even = st.integers(1, 4).map(lambda half: 2 * half)
options = {"n_rounds": sizes(1, 3), "causal": st.booleans()}


@exercise("lsh_attention", points=1, core=True)
@given(lead=leading_shapes(), n_q=sizes(1, 6), n_k=sizes(1, 6), d=sizes(1, 5), seed=seeds(), **options)
@settings(max_examples=20)
def test_one_bucket_is_exact_attention(student, lead, n_q, n_k, d, seed, n_rounds, causal):
    """n_buckets=1 gives exact attention for any number of rounds, causal or not, with or without a generator."""
    g = torch.Generator().manual_seed(seed)
    q, k, v = normal(g, *lead, n_q, d), normal(g, *lead, n_k, d), normal(g, *lead, n_k, 3)
    counts = not_later(n_q, n_k) if causal else torch.ones(n_q, n_k)
    expected = attention(q, k, v, counts.double())
    assert_close(student.lsh_attention(q, k, v, 1, n_rounds=n_rounds, causal=causal), expected, what="output")
    with_generator = student.run(scenarios.attend, q, k, v, 1, seed, n_rounds=n_rounds, causal=causal)
    assert_close(with_generator, expected, what="output with a generator")
    low = student.lsh_attention(q.float(), k.float(), v.float(), 1, n_rounds=n_rounds, causal=causal)
    assert_close(low, expected.float(), what="output in float32", rtol=0, atol=1e-5)


@exercise("lsh_attention", points=2, core=True)
@given(lead=leading_shapes(), n_q=sizes(1, 7), n_k=sizes(1, 7), d=sizes(2, 5), n_buckets=even, seed=seeds(), **options)
@settings(max_examples=20)
def test_same_directions_always_meet_and_opposite_ones_never(
    student, lead, n_q, n_k, d, n_buckets, seed, n_rounds, causal
):
    """For vectors along one line a query sees exactly the keys on its side, in every round; seeing none gives zeros."""
    q, k = on_one_line(seed, d, (*lead, n_q), (*lead, n_k))
    v = normal(seed + 1, *lead, n_k, 3)
    actual = student.run(scenarios.attend, q, k, v, n_buckets, seed, n_rounds=n_rounds, causal=causal)
    expected = attention(q, k, v, same_side(q, k, causal))
    with suppress(Exception):  # more of the answers say more about the mistake
        if difference(actual, expected, "", None, None, True):
            student.run(scenarios.attend_many, k, k, v, n_buckets, [seed + i for i in range(8)], n_rounds=n_rounds)
    assert_close(actual, expected, what="output", hint=HINT)


@exercise("lsh_attention", points=1)
@given(n_q=sizes(1, 5), n_k=sizes(2, 6), causal=st.booleans(), seed=seeds())
@settings(max_examples=20)
def test_two_buckets_in_the_plane_are_the_sides_of_a_line(student, n_q, n_k, causal, seed):
    """One round with two buckets in the plane is attention on either side of some line through the origin."""
    g = torch.Generator().manual_seed(seed)
    q, k, v = normal(g, n_q, 2), normal(g, n_k, 2), normal(g, n_k, 3)
    both = torch.cat([q, k])
    corners = (torch.atan2(both[:, 1], both[:, 0]) % math.pi).sort().values  # each line splits between two of these
    angles = (corners + torch.cat([corners[1:], corners[:1] + math.pi])) / 2 + math.pi / 2
    sides = both @ torch.stack([angles.cos(), angles.sin()]) > 0
    allowed = sides[:n_q, None] == sides[None, n_q:]
    if causal:
        allowed &= not_later(n_q, n_k)[:, :, None]
    possible = torch.stack([attention(q, k, v, allowed[..., i].double()) for i in range(len(angles))])
    actual = student.run(scenarios.attend, q, k, v, 2, seed, causal=causal)
    assert_equal(list(actual.shape), [n_q, 3], what="the shape of the output")
    error = (possible - actual).abs().amax(dim=(1, 2)).nan_to_num(math.inf)
    assert_close(actual, possible[error.argmin()], what="output (against the line that fits best)", hint=HINT)


def two_lines(generator):
    """Vectors along two lines at right angles in a random plane, the line that each lies on, and its sign."""
    basis = torch.linalg.qr(normal(generator, 5, 2)).Q.T
    on_second = torch.arange(12) % 2
    sign = torch.where(torch.arange(12) % 4 < 2, 1.0, -1.0).double()
    lengths = 0.5 + torch.rand(12, generator=generator).double() * 2
    return basis[on_second] * (sign * lengths)[:, None], on_second, sign


def possible_counts(on_second, sign, n_rounds, causal=False, n_buckets=2):
    """How often each query may meet each key: one table for each number of rounds in which the positive ends meet. In the
    others each meets the other's negative end; with more than two buckets it may also be that neither meets the other line.
    """
    same_line, same_sign = on_second[:, None] == on_second, sign[:, None] == sign
    tables = [
        torch.where(same_line, n_rounds * same_sign, torch.where(same_sign, m, others)).double()
        for m in range(n_rounds + 1)
        for others in range(n_rounds - m if n_buckets == 2 else 0, n_rounds - m + 1)
    ]
    return torch.stack(tables) * not_later(12, 12) if causal else torch.stack(tables)


def best_fit(actual, possible):
    """For each output the index of the possibility that is nearest."""
    return (actual[:, None] - possible).abs().amax(dim=(2, 3)).nan_to_num(math.inf).argmin(dim=1)


@exercise("lsh_attention", points=2, core=True)
def test_each_round_counts_in_full(student, generator):
    """A key met in m of the rounds weighs m times: rounds are combined by their log-sum-exp, without corrections."""
    for n_rounds, causal, n_buckets in [(1, False, 2), (2, False, 2), (3, True, 2), (4, False, 2), (4, False, 4)]:
        x, on_second, sign = two_lines(generator)
        v = normal(generator, 12, 3)
        seeds = torch.randint(2**31, (6,), generator=generator).tolist()
        actual = student.run(scenarios.attend_many, x, x, v, n_buckets, seeds, n_rounds=n_rounds, causal=causal)
        assert_equal(list(actual.shape), [6, 12, 3], what="the shape of the outputs")
        possible = attention(x, x, v, possible_counts(on_second, sign, n_rounds, causal, n_buckets))
        best = possible[best_fit(actual, possible)]
        hint = "weigh round r by exp(lse_r) / Σ exp(lse); a plain mean of rounds is something else"
        assert_close(
            actual, best, what=f"output with n_rounds={n_rounds} (against the possibility that fits best)", hint=hint
        )


@exercise("lsh_attention", points=1)
@given(n_buckets=st.sampled_from([2, 4, 40]), lead=st.sampled_from([(2,), (1, 3), (2, 2), (2, 1, 2)]), seed=seeds())
@example(n_buckets=2, lead=(2,), seed=0)
@example(n_buckets=4, lead=(1, 3), seed=1)
@example(n_buckets=40, lead=(2, 2), seed=2)
@settings(max_examples=2)
def test_there_are_as_many_buckets_as_asked_for_and_one_rotation(student, n_buckets, lead, seed):
    """Values that tell the keys apart show who met whom: n_buckets groups in a round, the same ones in every head."""
    x, n = normal(seed, 140, 20), 140  # wide, for in few dimensions many buckets are narrow and stay empty
    scores = x @ x.mT / math.sqrt(20)
    for n_rounds in (1, 8):
        args = (x, x, torch.eye(n, dtype=torch.float64), n_buckets, seed)
        weights = student.run(scenarios.attend, *args, n_rounds=n_rounds)
        assert_equal(list(weights.shape), [n, n], what="the shape of the output")
        met = weights / scores.exp()
        assert (met.diagonal() > 0).all(), "a query gives no weight to the key that equals it: one rotation hashes both"
        met = n_rounds * met / met.diagonal()[:, None]  # every query meets the key that equals it in every round
        hint = "round r counts exp(lse_r) / Σ exp(lse), so a key weighs as often as it was met"
        assert_close(met, met.round(), what="how often each query met each key", hint=hint, rtol=0, atol=1e-6)
        assert_equal(met.round(), met.round().mT, what="how often each query met each key", hint="meeting is mutual")
        groups = len(met.round().unique(dim=0))
        if n_rounds == 8 and n_buckets < 5:
            numbers = met.round().unique().int().tolist()
            hint = "n_rounds rounds, and a new rotation in each of them"
            assert len(numbers) > 7, f"in 8 rounds pairs met {numbers} times, and never any other number\n  hint: {hint}"
        if n_rounds == 1:
            assert n_buckets / 2 < groups <= n_buckets, (
                f"with n_buckets={n_buckets} the {n} vectors of one round fell into {groups} buckets"
            )
    q, v = x[:24].expand(*lead, 24, 20), normal(seed + 1, 24, 3).expand(*lead, 24, 3)
    actual = student.run(scenarios.attend, q, q, v, n_buckets, seed, n_rounds=2)
    assert_equal(list(actual.shape), [*lead, 24, 3], what="the shape of the output")
    first = actual[(0,) * len(lead)].expand_as(actual)
    hint = "one rotation serves all leading dimensions: hash them in one call"
    assert_close(actual, first, what="the output where all heads hold the same", hint=hint)


@exercise("lsh_attention", points=1)
def test_every_round_draws_a_new_rotation(student, generator):
    """Over many seeds two lines meet in none, one and both of two rounds; a round that saw nothing does not count."""
    x, on_second, sign = two_lines(generator)
    v = normal(generator, 12, 3)
    seeds = torch.randint(2**31, (40,), generator=generator).tolist()
    actual = student.run(scenarios.attend_many, x, x, v, 2, seeds, n_rounds=2)
    met = best_fit(actual, attention(x, x, v, possible_counts(on_second, sign, 2)))
    met = sorted(set(met.tolist()))
    hint = "draw from the same generator in every round; do not seed it again" * (met == [0, 2])
    assert_equal(met, [0, 1, 2], what="in how many of two rounds the lines met, over 40 seeds", hint=hint)
    queries, keys = on_second == 0, (on_second == 1) & (sign > 0)
    actual = student.run(scenarios.attend_many, x[queries], x[keys], v[keys], 2, seeds[:12], n_rounds=2)
    possible = attention(x[queries], x[keys], v[keys], possible_counts(on_second, sign, 2)[:, queries][:, :, keys])
    hint = "a round in which the query saw no key has a log-sum-exp of -inf, so its share is 0"
    what = "output where keys are seen in one round alone (against the possibility that fits best)"
    assert_close(actual, possible[best_fit(actual, possible)], what=what, hint=hint)
    basis, angle = torch.linalg.qr(normal(generator, 5, 2)).Q.mT, 2 * math.pi / 3
    q = 1e3 * torch.stack([basis[0], math.cos(angle) * basis[0] + math.sin(angle) * basis[1]])
    k, v = q[:1].expand(6, 5), normal(generator, 6, 3)  # the first query always meets them, the other now and then
    actual = student.run(scenarios.attend_many, q, k, v, 2, seeds[:16], n_rounds=3)
    mean = v.mean(0).expand(16, 2, 3)
    sees = (actual - mean).abs().amax(-1, keepdim=True).nan_to_num(math.inf) < actual.abs().amax(-1, keepdim=True)
    sees[:, 0] = True
    hint = "exp of a very small log-sum-exp is 0: a softmax over the rounds, for each query by itself, is safe"
    assert_close(actual, torch.where(sees, mean, 0.0), what="output for scores far below 0", hint=hint, atol=1e-8)
    met = int(sees[:, 1].sum())  # eleven of the sixteen are to be expected
    hint = "n_rounds rounds, and a new rotation in each of them"
    assert met > 2, f"vectors at 120 degrees met in {met} of 16 calls of three rounds with two buckets\n  hint: {hint}"


@exercise("lsh_attention", points=1)
@given(n_q=sizes(1, 5), n_k=sizes(1, 5), n_buckets=st.just(1) | even, seed=seeds(), **options)
@example(n_q=4, n_k=4, n_buckets=2, seed=2, n_rounds=2, causal=True)  # two see only later keys; v alone gets a gradient
@example(n_q=4, n_k=4, n_buckets=2, seed=0, n_rounds=2, causal=False)  # q alone gets a gradient
@example(n_q=4, n_k=4, n_buckets=2, seed=1, n_rounds=2, causal=False)  # k alone gets a gradient
@settings(max_examples=18)
def test_hashed_gradients_are_right_and_finite(student, n_q, n_k, n_buckets, seed, n_rounds, causal):
    """Gradients reach q, k and v through outputs and shares of the rounds, finite where nothing was seen."""
    q, k = on_one_line(seed, 4, (2, n_q), (2, n_k))
    v, cotangent = normal(seed + 1, 2, n_k, 3), normal(seed + 2, 2, n_q, 3)
    run = student.run(scenarios.attend_gradients, q, k, v, n_buckets, seed, cotangent, n_rounds=n_rounds, causal=causal)
    counts = same_side(q, k, causal)
    if n_buckets == 1:
        counts = (not_later(n_q, n_k) if causal else torch.ones(n_q, n_k)).double()
    expected = pulled_back(lambda q, k, v: attention(q, k, v, counts), [q, k, v], cotangent)
    actual = none_as_zeros(run["gradients"], expected)
    hint = of_gradients(actual, "; the log-sum-exp of a query that sees nothing is -inf")
    assert_close(actual, expected, what="the gradients of (q, k, v)", hint=hint, rtol=1e-8, atol=1e-10)
    only = {"only": seed % 3, "n_rounds": n_rounds, "causal": causal}  # the others are constants
    alone = student.run(scenarios.attend_gradients, q, k, v, n_buckets, seed, cotangent, **only)["gradients"]
    alone, right = none_as_zeros(alone[seed % 3 :][:1], expected[seed % 3 :][:1]), expected[seed % 3]
    what, hint = f"the gradient of {'qkv'[seed % 3]}, which alone requires one", "q, k and v each get their gradient"
    assert_close(alone[0], right, what=what, hint=hint, rtol=1e-8, atol=1e-10)


@exercise("lsh_attention", points=1)
def test_gradients_flow_through_the_shares_of_the_rounds(student, generator):
    """Where two rounds saw different keys, the gradients take into account that their shares depend on q and k."""
    x, on_second, sign = two_lines(generator)
    v, cotangent = normal(generator, 12, 3), normal(generator, 12, 3)
    tables = possible_counts(on_second, sign, 2)
    for seed in torch.randint(2**31, (8,), generator=generator).tolist():
        run = student.run(scenarios.attend_gradients, x, x, v, 2, seed, cotangent, n_rounds=2)
        counts = tables[best_fit(run["output"][None], attention(x, x, v, tables)).item()]
        expected = pulled_back(lambda q, k, v, counts=counts: attention(q, k, v, counts), [x, x, v], cotangent)
        actual = none_as_zeros(run["gradients"], expected)
        hint = of_gradients(actual) or "the shares of the rounds, exp(lse_r) / Σ exp(lse), depend on q and k"
        assert_close(actual, expected, what="the gradients of (q, k, v)", hint=hint, rtol=1e-8, atol=1e-10)


@exercise("lsh_attention", points=1)
@given(n_rounds=sizes(1, 3), causal=st.booleans(), seed=seeds())
@settings(max_examples=5)
def test_the_generator_decides_and_inputs_are_left_alone(student, n_rounds, causal, seed):
    """One seed gives one result; all is drawn from the generator, or without one the global state; q, k, v stay."""
    g = torch.Generator().manual_seed(seed)
    q, k, v = normal(g, 2, 16, 4), normal(g, 2, 16, 4), normal(g, 2, 16, 3)
    result = student.run(scenarios.attend_checked, q, k, v, 4, seed, n_rounds=n_rounds, causal=causal)
    what = "minus the output from the same seed once v was negated, under torch.no_grad()"
    assert_close(result["again"], result["first"], what=what, hint="use the generator given, and keep nothing of a call")
    hint = "hand the generator on to lsh_buckets, and leave global settings alone"
    assert_equal(result["around"], [], what="what the call changed outside its result", hint=hint)
    assert result["given"], "nothing was drawn from the generator itself, or it was seeded: a second call would repeat the first"
    for name, case in (("None", "with generator=None"), ("none", "without a generator")):
        assert result[name], f"{case} draw from the global random state, and do not seed it: hand None on to lsh_buckets"
    assert_equal(result["changed"], [], what="the inputs that were changed in place, or made to require a gradient")


@exercise("lsh_attention", points=1)
@given(
    shape=st.sampled_from([((2, 3), (3,), ()), ((), (2, 1), (3,)), ((1,), (4,), (4,))]), n_buckets=even, seed=seeds()
)
@settings(max_examples=8)
def test_hashed_attention_broadcasts_and_keeps_the_dtype(student, shape, n_buckets, seed):
    """Leading dimensions broadcast, strided views are no different, float32 stays float32, large scores are safe."""
    q, k = on_one_line(seed, 4, (*shape[0], 5), (*shape[1], 7))
    v = normal(seed + 1, *shape[2], 7, 3)
    expected = attention(q, k, v, same_side(q, k, causal=True))
    for run in (scenarios.attend, scenarios.attend_strided):
        actual = student.run(run, q, k, v, n_buckets, seed, n_rounds=2, causal=True)
        assert_close(actual, expected, what="output", hint="q and k may have different leading dimensions")
    args = (q, k, v, n_buckets, 2, True)
    assert_close(student.run(scenarios.attend_by_position, *args, seed), expected, what="output, arguments by position")
    assert_close(student.lsh_attention(*args), expected, what="output without a generator", hint="its default is None")
    actual = student.run(scenarios.attend, q.float(), k.float(), v.float(), n_buckets, seed, n_rounds=2, causal=True)
    assert_close(actual, expected.float(), what="output in float32", rtol=0, atol=1e-5)
    for dtype, room in ((torch.float16, 1.5e-2), (torch.bfloat16, 1e-1)):
        low = [*on_one_line(seed, 4, (*shape[0], 5), (*shape[1], 7), dtype=dtype), v.to(dtype)]
        actual = student.run(scenarios.attend, *low, n_buckets, seed, n_rounds=2, causal=True)
        q_wide, k_wide, v_wide = (x.double() for x in low)
        expected = attention(q_wide, k_wide, v_wide, same_side(q_wide, k_wide, causal=True)).to(dtype)
        assert_close(actual, expected, what=f"output in {dtype}", rtol=0, atol=room)
        run = student.run(scenarios.attend_gradients, *low, n_buckets, seed, expected, n_rounds=2, causal=True)
        assert None not in run["gradients"] or not expected.any(), (
            f"in {dtype} q, k and v have the gradients {['none' if x is None else 'some' for x in run['gradients']]}\n"
            "  hint: detach nothing, in no dtype"
        )
    q, k = (300.0 * torch.sign(x) for x in (q, k))  # along one diagonal: all scores that count are equal
    actual = student.run(scenarios.attend, q, k, v, n_buckets, seed, n_rounds=2, causal=True)
    counts = same_side(q, k, causal=True)
    hint = "exp of a large log-sum-exp is infinite: a softmax over the rounds is safe"
    assert_close(actual, attention(0 * q, 0 * k, v, counts), what="output for large scores", hint=hint)


@exercise("lsh_attention", points=1)
def test_odd_numbers_of_buckets_other_than_one_are_refused(student):
    """n_buckets of 3, 5, 9, -1 or -3 raises ValueError, as in lsh_buckets."""
    q = torch.ones(4, 2)
    lsh_attention = called("lsh_attention", lambda *qkv, n_buckets: student.run(scenarios.attend, *qkv, n_buckets, 0))
    for n_buckets in (3, 5, 9, -1, -3):
        assert_refused(lsh_attention, q, q, q, n_buckets=n_buckets, why=f"n_buckets={n_buckets} is odd")
