"""Hidden tests: temperature, the filters and the repetition penalty. The truth is a plain computation in float64."""

import math

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import passes
from autograder.testing.probes import gradients
from autograder.testing.strategies import assume, example, float_dtypes, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios

INF = math.inf
HALF = (torch.float16, torch.bfloat16)


def kept(filtered, logits, what):
    """Where a filter kept its logits; whatever it did not keep must be -inf."""
    assert isinstance(filtered, torch.Tensor), f"{what} should be a tensor, not {type(filtered).__name__}"
    shapes = f"the shape of {what}: not as expected\n  expected {tuple(logits.shape)}\n  got      {tuple(filtered.shape)}"
    assert filtered.shape == logits.shape, shapes
    assert_equal(filtered.dtype, logits.dtype, what=f"the dtype of {what}")
    stays = filtered != -INF
    assert_equal(filtered[stays], logits[stays], what=f"{what} where it is not -inf", hint="what stays, stays as it is")
    return stays


def check_filter(student, name, *cases):
    """A filter keeps just what is expected: cases are (logits, number, where logits stay) and perhaps a hint."""
    found = student.run(scenarios.filter_each, name, [[logits, number] for logits, number, *_ in cases])
    for (filtered, after), (logits, number, expected, *hint) in zip(found, cases, strict=True):
        what = f"{name}(logits, {number:.6g})"
        stays = kept(filtered, logits, what)
        assert_equal(stays, expected & (logits != -INF), what=f"where {what} keeps a logit", hint="".join(hint))
        assert_equal(after, logits, what=f"the logits after {what}", hint="use masked_fill, not masked_fill_")


def check_surroundings(student, reference, name, logits, *arguments):
    """Strides do not matter, gradients flow to what is not -inf, and nothing around the call changes."""
    found = student.run(scenarios.all_around, name, [logits, *arguments])
    assert_equal(found["spaced"], found["plain"], what=f"{name} of logits with gaps between them")
    assert_equal(found["turned"], found["plain"][0], what=f"{name} of transposed logits")
    assert_equal(found["changed"], [], what=f"what {name} changed around it")
    pulled, expected = found["pulled"], reference.run(gradients, name, [logits, *arguments])
    hint = "the result has to be computed from the logits themselves, without detach, item or tolist on the way"
    assert pulled["gradients"][0] is not None, f"no gradient flows through {name}\n  hint: {hint}"
    stays = pulled["value"] != -INF
    hint = hint if passes(assert_close, pulled["value"], expected["value"], atol=1e-6, dtype=False) else ""
    gradient, right = (torch.where(stays, x["gradients"][0], 0.0) for x in (pulled, expected))
    assert_close(gradient, right, what=f"the gradient of {name} at the logits that stay", hint=hint)


# Temperature


@exercise("apply_temperature", points=2, core=True)
@settings(max_examples=20)
@given(lead=leading_shapes(), n=sizes(1, 9), temperature=st.floats(0.05, 20), scale=st.sampled_from([3, 1e6]), seed=seeds())
@example(lead=(2,), n=5, temperature=0.3, scale=1e6, seed=1)
def test_logits_are_divided_by_the_temperature(student, lead, n, temperature, scale, seed):
    """The log of the ratio of two probabilities is divided by the temperature."""
    logits = normal(seed, *lead, n, scale=scale)
    actual, hint = student.apply_temperature(logits, temperature), "logits / temperature, and nothing else"
    assert_close(actual, logits / temperature, what=f"logits at temperature {temperature}", hint=hint, rtol=1e-12, atol=1e-12)


@exercise("apply_temperature", points=1)
@settings(max_examples=12)
@given(dtype=float_dtypes(half=True), temperature=st.sampled_from([0.25, 0.5, 1.0, 2.0]), seed=seeds())
@example(dtype=torch.float16, temperature=0.5, seed=4)
@example(dtype=torch.float32, temperature=2, seed=1)
@example(dtype=torch.float64, temperature=2.0**-60, seed=2)
@example(dtype=torch.float64, temperature=2.0**60, seed=3)
def test_temperature_keeps_the_dtype(student, dtype, temperature, seed):
    """Logits of any precision, an int as temperature."""
    logits = normal(seed, 3, 5, dtype=dtype)
    for x in (logits, logits[0], logits[0, 0]):  # a single number has no dimension to go along
        actual = student.apply_temperature(x, temperature)
        assert_inputs_untouched(student)
        assert_equal(actual, x / temperature, what=f"{dtype} logits of shape {list(x.shape)} / {temperature}")


@exercise("apply_temperature", points=0.5)
@settings(max_examples=8)
@given(seed=seeds())
def test_dropped_tokens_stay_dropped_at_any_temperature(student, reference, seed):
    """-inf stays -inf, the logits that came in stay as they were, and gradients flow."""
    logits = normal(seed, 2, 6).index_fill(-1, torch.tensor([1, 4]), -INF)
    for temperature in (0.5, 3.0):
        actual = student.apply_temperature(logits, temperature)
        assert_inputs_untouched(student)
        assert_close(actual, logits / temperature, what="logits of which some are -inf")
    for temperature in (0.7, 1.0):
        check_surroundings(student, reference, "apply_temperature", logits.reshape(2, 2, 3), temperature)


@exercise("apply_temperature", points=0.5)
def test_temperatures_without_a_distribution_are_refused(student):
    """0, a negative number, an infinite one and NaN are no temperatures."""
    for temperature in (0.0, 0, -0.5, -1, INF, -INF, math.nan):
        assert_refused(student.apply_temperature, torch.zeros(3), temperature, why="temperature must be above 0 and finite")


# Top-k


def check_top_k(student, logits, k):
    filtered = student.top_k_filter(logits, k)
    what = f"top_k_filter(logits, {k})"
    stays = kept(filtered, logits, what)
    places = min(k, logits.shape[-1])
    kth = logits.sort(dim=-1, descending=True).values[..., places - 1 : places]
    larger = (logits > kth) & (logits != -INF)
    assert_equal(stays & larger, larger, what=f"where {what} keeps a logit above the {k}-th largest")
    assert_equal(stays & (logits < kth), torch.zeros_like(stays), what=f"where {what} keeps one below it", hint="-inf, not 0")
    n_finite = (logits != -INF).sum(-1).clamp(max=places)
    assert_equal(stays.sum(-1) >= n_finite, n_finite >= 0, what=f"whether {what} keeps as many as it should")


@exercise("top_k_filter", points=4, core=True)
@settings(max_examples=25)
@given(lead=leading_shapes(), n=sizes(1, 12), k=sizes(1, 14), seed=seeds())
@example(lead=(2,), n=3000, k=2500, seed=5)
@example(lead=(2, 3), n=7, k=3, seed=1)
@example(lead=(2, 1, 3), n=6, k=2, seed=4)
@example(lead=(), n=5, k=5, seed=2)
@example(lead=(2,), n=5, k=50, seed=3)
def test_the_k_largest_stay(student, lead, n, k, seed):
    """In every row the k largest logits stay as they are, all others are -inf."""
    check_top_k(student, normal(seed, *lead, n, scale=4), k)
    assert_inputs_untouched(student, hint="use masked_fill, not masked_fill_")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).double()
    check_top_k(student, 1 + order * 1e-12, k)  # float64 tells them apart


@exercise("top_k_filter", points=1.5)
@settings(max_examples=20)
@given(n=sizes(1, 12), k=sizes(1, 12), n_kinds=st.integers(1, 3), seed=seeds())
def test_ties_leave_no_fewer_than_k(student, n, k, n_kinds, seed):
    """Where logits are equal, none above the k-th largest is lost and none below it is kept."""
    generator = torch.Generator().manual_seed(seed)
    check_top_k(student, torch.randint(n_kinds, (3, n), generator=generator).double() - 1, k)


@exercise("top_k_filter", points=1)
@settings(max_examples=15)
@given(n=sizes(2, 10), k=sizes(1, 10), seed=seeds())
def test_top_k_of_what_another_filter_left(student, n, k, seed):
    """Logits that are -inf already take no place from others, and all others may be negative."""
    logits = normal(seed, 4, n) - 5
    logits[torch.rand(4, n, generator=torch.Generator().manual_seed(seed)) < 0.5] = -INF
    check_top_k(student, logits, k)
    check_top_k(student, -1000.0 * normal(seed, 2, n).argsort(-1), k)  # as probabilities all but one are 0


@exercise("top_k_filter", points=0.5)
@settings(max_examples=12)
@given(dtype=float_dtypes(half=True), k=sizes(1, 6), seed=seeds())
@example(dtype=torch.bfloat16, k=3, seed=1)
@example(dtype=torch.float16, k=3, seed=1)
def test_top_k_keeps_the_dtype(student, dtype, k, seed):
    """Logits of any precision."""
    check_top_k(student, normal(seed, 2, 6, dtype=dtype), k)


@exercise("top_k_filter", points=0.5)
@settings(max_examples=8)
@given(n=sizes(1, 8), k=sizes(1, 9), seed=seeds())
@example(n=4, k=4, seed=1)
def test_top_k_minds_its_own_business(student, reference, n, k, seed):
    """Any strides, gradients flow, and nothing else changes."""
    check_surroundings(student, reference, "top_k_filter", normal(seed, 2, 3, n), k)


@exercise("top_k_filter", points=0.5)
def test_top_k_refuses_to_keep_nothing(student):
    """k below 1."""
    for k in (0, -1, -3):
        assert_refused(student.top_k_filter, torch.zeros(2, 4), k, why="k is below 1")


# Top-p


def nucleus(logits, rank, edge=0):
    """Where the `rank` + 1 most probable tokens are, and a p that they reach and one fewer do not.

    It lies in the middle between what they have and what one fewer has, or just (for float32) below (1) or above (-1) that.
    """
    probs, order = logits.double().softmax(-1).sort(dim=-1, descending=True)
    room = max(float(probs[rank]) / 2 - 2e-6, 0.0)
    p = float(probs[: rank + 1].sum() - probs[rank] / 2) + edge * room
    return torch.zeros_like(probs, dtype=torch.bool).scatter(-1, order[: rank + 1], True), p


@exercise("top_p_filter", points=0.5)
def test_top_p_refuses_what_is_no_probability(student):
    """p below 0 or above 1."""
    for p in (-0.1, -1, 1.01, 2):
        assert_refused(student.top_p_filter, torch.zeros(2, 4), p, why="p is not from 0 to 1")


@exercise("top_p_filter", points=5, core=True)
@settings(max_examples=30)
@given(n=sizes(1, 12), rank=st.integers(0, 11), seed=seeds())
@example(n=6, rank=0, seed=5)
@example(n=6, rank=5, seed=6)
@example(n=9, rank=3, seed=7)
def test_the_nucleus_is_the_smallest_set_that_reaches_p(student, n, rank, seed):
    """The most probable tokens stay until they have p together, the one that reaches it included."""
    rank %= n
    logits = (normal(seed, n, scale=1.5) * 1024).round() / 1024  # so that float32 holds them also around 3000
    assume(len(logits.unique()) == n)
    stays, p = nucleus(logits, rank)
    several = torch.stack([logits, logits.flip(0), logits.roll(1)])[:, None, None]  # every row has its own order
    expected = torch.stack([stays, stays.flip(0), stays.roll(1)])[:, None, None]
    check_filter(
        student,
        "top_p_filter",
        *((logits, nucleus(logits, rank, edge)[1], stays, "a token stays if those before it do not reach p without it")
          for edge in (0, -1, 1)),
        (several, p, expected, "sort every row, and put each decision back in its place"),
        (torch.stack([logits + 3000, logits - 3000]), p, stays.expand(2, n), "a softmax minds no constant"),
    )  # fmt: skip
    flat, steep = torch.zeros(n, dtype=torch.float64), -40.0 * torch.arange(n).double()
    unlike = torch.stack([flat, steep, flat])  # of one kind of row as many stay as it takes, of the other one
    flat_kept = torch.arange(n) < math.ceil(n * 0.7)
    found = kept(student.top_p_filter(unlike, 0.7 - 1e-6), unlike, "top_p_filter of even and steep rows")
    expected = [int(flat_kept.sum()), 1, int(flat_kept.sum())]
    assert_equal(found.sum(-1).tolist(), expected, what="how many stay in even, steep and even rows", hint="each row has its own")


@exercise("top_p_filter", points=2)
@settings(max_examples=20)
@given(n=sizes(1, 9), seed=seeds())
def test_one_token_always_stays(student, n, seed):
    """At p = 0, and where one token is more probable than p alone, the best one stays and no other."""
    logits = normal(seed, 3, n)
    best = torch.zeros(3, n, dtype=torch.bool).scatter(-1, logits.argmax(-1, keepdim=True), True)
    hint, sure = "the first token has none before it: it stays whatever p is", logits + 50 * best
    few = [(logits, p, best, hint) for p in (0.0, 0, 1e-9, 0.5 / n)]
    check_filter(student, "top_p_filter", *few, *((sure, p, best, "one token reaches p alone") for p in (0.9, 0.99999, 1 - 1e-9)))


@exercise("top_p_filter", points=1)
@settings(max_examples=12)
@given(n=sizes(1, 9), seed=seeds())
def test_at_p_1_nothing_is_dropped(student, n, seed):
    """p = 1 keeps every token, those as well whose probability is lost in the rounding of the sum."""
    logits = [normal(seed, 2, n, scale=scale) for scale in (1, 30, 5000)] + [normal(seed, 1, 5000, dtype=torch.float32)]
    hint = "a sum of floats may reach 1 before the last token"
    cases = [(x, p, torch.ones_like(x, dtype=torch.bool), hint) for x in logits for p in (1.0, 1)]
    check_filter(student, "top_p_filter", *cases)


def assert_right(student):
    """Of a few equal float32 logits as many stay as should."""
    stays = student.top_p_filter(torch.zeros(8), 0.7) != -INF
    assert_equal(int(stays.sum()), 6)


@exercise("top_p_filter", points=1.5)
@settings(max_examples=8)
@given(dtype=st.sampled_from([torch.float32, *HALF]), exponent=st.integers(2, 12))
@example(dtype=torch.float16, exponent=12)
@example(dtype=torch.bfloat16, exponent=12)
@example(dtype=torch.float64, exponent=2)
def test_many_small_probabilities_add_up(student, dtype, exponent):
    """Of 2^n equally probable tokens just as many stay as have p together, in half precision too."""
    n = 2**exponent
    logits = torch.full((2, n), -1.5, dtype=dtype)
    shares = (0.25, 0.5, 0.75)
    found = student.run(scenarios.filter_each, "top_p_filter", [[logits, share] for share in shares])
    for share, (filtered, _) in zip(shares, found, strict=True):
        stays = kept(filtered, logits, f"top_p_filter of {n} equal {dtype} logits")
        expected, n_kept = [int(share * n)] * 2, stays.sum(-1).tolist()
        hint = "a sum that reaches p is enough: >=, not >" if n_kept == [expected[0] + 1] * 2 else ""
        right_in_float32 = dtype in HALF and passes(assert_right, student)
        hint = "sums of probabilities are float32 or better" if right_in_float32 and not hint else hint
        assert_equal(n_kept, expected, what=f"how many of {n} equal logits stay at p = {share}", hint=hint)
    order = torch.randperm(6000, generator=torch.Generator().manual_seed(exponent))
    rising = order.double() / 1500  # no two alike, the most probable 0.07 % and the least probable 0.001 %
    cases = [(rising, *nucleus(rising, rank)[::-1], "sort the whole vocabulary") for rank in (200, 4000)]
    check_filter(student, "top_p_filter", *cases)


@exercise("top_p_filter", points=1)
@settings(max_examples=15)
@given(n=sizes(2, 9), rank=st.integers(0, 8), seed=seeds())
def test_the_nucleus_of_what_another_filter_left(student, n, rank, seed):
    """Tokens of logit -inf have no probability; what is left is a distribution of its own."""
    logits = normal(seed, n) - 50
    stays, p = nucleus(logits, rank % n)
    with_dropped = torch.cat([torch.tensor([-INF]), logits, torch.tensor([-INF, -INF])])
    expected = torch.cat([torch.tensor([False]), stays, torch.tensor([False, False])])
    check_filter(student, "top_p_filter", (with_dropped, p, expected))


@exercise("top_p_filter", points=0.5)
@settings(max_examples=12)
@given(dtype=float_dtypes(half=True), rank=st.integers(0, 5), seed=seeds())
@example(dtype=torch.float16, rank=2, seed=1)
@example(dtype=torch.bfloat16, rank=2, seed=1)
def test_top_p_keeps_the_dtype(student, dtype, rank, seed):
    """Logits of any precision, far from each other."""
    logits = (torch.randperm(6, generator=torch.Generator().manual_seed(seed)) / 2).to(dtype)
    stays, p = nucleus(logits, rank)
    check_filter(student, "top_p_filter", (logits, p, stays))


@exercise("top_p_filter", points=0.5)
@settings(max_examples=8)
@given(n=sizes(1, 8), p=st.sampled_from([0.3, 0.6, 0.9]), seed=seeds())
@example(n=4, p=1.0, seed=1)
@example(n=4, p=0.0, seed=2)
def test_top_p_minds_its_own_business(student, reference, n, p, seed):
    """Any strides, gradients flow, and nothing else changes."""
    check_surroundings(student, reference, "top_p_filter", normal(seed, 2, 3, n), p)


# Min-p


def above(logits, rank):
    """Where the `rank` + 1 most probable tokens are, and the ratios to the best of the last of them and the next (or less)."""
    ratios, order = (logits - logits.amax()).double().exp().sort(descending=True)
    following = ratios[rank + 1] if rank + 1 < len(ratios) else ratios[rank] / 2
    stays = torch.zeros(len(logits), dtype=torch.bool).scatter(0, order[: rank + 1], True)
    return stays, float(ratios[rank]), float(following)


@exercise("min_p_filter", points=3, core=True)
@settings(max_examples=25)
@given(n=sizes(1, 12), rank=st.integers(0, 11), seed=seeds())
@example(n=8, rank=2, seed=1)
def test_tokens_close_to_the_best_one_stay(student, n, rank, seed):
    """A token stays if its probability is at least min_p times the largest, in every row for itself."""
    logits = (normal(seed, n, scale=1.5) * 4096).round() / 4096  # so that float32 holds them also around 1000
    assume(len(logits.unique()) == n)
    stays, last, following = above(logits, rank % n)
    hint = "a token stays if it is at least min_p times as probable as the most probable one"
    edges = [(logits, min_p, stays, hint) for min_p in (last * (1 - 1e-5), following * (1 + 1e-5))]
    even = torch.zeros(n, dtype=torch.float64)
    rows = torch.stack([logits - 1000, logits.flip(0) + 1000, even])[:, None, None]
    expected = torch.stack([stays, stays.flip(0), even == 0])[:, None, None]
    hint = "each row has a best token of its own"
    check_filter(student, "min_p_filter", *edges, (rows, (last + following) / 2, expected, hint))


@exercise("min_p_filter", points=1)
@settings(max_examples=12)
@given(n=sizes(1, 9), seed=seeds())
def test_min_p_of_0_keeps_all_and_of_1_the_best(student, n, seed):
    """At 0 every token stays, however improbable; at 1 only the most probable, all of them where several are."""
    logits = normal(seed, 2, n, scale=5000)
    hint = "at 0 all stay: what is log(0)?"
    cases = [(logits, number, torch.ones(2, n, dtype=torch.bool), hint) for number in (0.0, 0)]
    best = torch.zeros(2, n, dtype=torch.bool).scatter(-1, logits.argmax(-1, keepdim=True), True)
    cases += [(logits, number, best) for number in (1.0, 1)]
    steps = -10.0 * torch.arange(9).double()
    hint = "a small share is still a share"
    cases += [(steps, number, steps >= math.log(number), hint) for number in (1e-6, 1e-20, 1e-30)]
    long = torch.randperm(3000, generator=torch.Generator().manual_seed(seed)).double() / 1000
    cases += [(long, number, long >= 2.999 + math.log(number)) for number in (0.1, 0.8)]
    twins = torch.tensor([1.0, 2.0, 2.0, -1.0])
    check_filter(student, "min_p_filter", *cases, (twins, 1.0, twins == 2, "at least as probable is enough"))


@exercise("min_p_filter", points=0.5)
@settings(max_examples=15)
@given(n=sizes(1, 9), rank=st.integers(0, 8), seed=seeds())
def test_min_p_of_what_another_filter_left(student, n, rank, seed):
    """-inf stays -inf."""
    logits = normal(seed, n)
    stays, last, following = above(logits, rank % n)
    with_dropped, expected = torch.cat([torch.tensor([-INF]), logits]), torch.cat([torch.tensor([False]), stays])
    check_filter(student, "min_p_filter", (with_dropped, (last + following) / 2, expected))


@exercise("min_p_filter", points=0.5)
@settings(max_examples=12)
@given(dtype=float_dtypes(half=True), rank=st.integers(0, 5), seed=seeds())
@example(dtype=torch.float16, rank=2, seed=1)
@example(dtype=torch.bfloat16, rank=2, seed=1)
def test_min_p_keeps_the_dtype(student, dtype, rank, seed):
    """Logits of any precision, far from each other."""
    logits = (torch.randperm(6, generator=torch.Generator().manual_seed(seed)) / 2).to(dtype)
    stays, last, following = above(logits, rank)
    near = torch.tensor([0.0, -1e-3], dtype=dtype)
    hint = "in half precision two probabilities that differ may be one number: compare logits, or go through float32"
    far = torch.tensor([9.0, 0.0], dtype=dtype)
    edges = [(near, 1.0, near == 0, hint), (far, math.exp(-8.999), far == 9, hint), (far, math.exp(-9.001), far < 10, hint)]
    near = torch.tensor([0.0, -2.0], dtype=dtype)
    hint = "in half precision the largest logit plus log(min_p) is another threshold: compare in float32 or better"
    edges += [(near, math.exp(-1.9999), near == 0, hint), (near, math.exp(-2.0001), near < 1, hint)]
    check_filter(student, "min_p_filter", (logits, (last + following) / 2, stays), *edges)


@exercise("min_p_filter", points=0.5)
@settings(max_examples=8)
@given(n=sizes(1, 8), min_p=st.sampled_from([0.1, 0.5, 0.9]), seed=seeds())
@example(n=4, min_p=0.0, seed=1)
@example(n=4, min_p=1.0, seed=2)
def test_min_p_minds_its_own_business(student, reference, n, min_p, seed):
    """Any strides, gradients flow, and nothing else changes."""
    check_surroundings(student, reference, "min_p_filter", normal(seed, 2, 3, n), min_p)


@exercise("min_p_filter", points=0.5)
def test_min_p_refuses_what_is_no_share(student):
    """min_p below 0 or above 1."""
    for min_p in (-0.1, -1, 1.01, 2):
        assert_refused(student.min_p_filter, torch.zeros(2, 4), min_p, why="min_p is not from 0 to 1")


# The repetition penalty


def penalised(logits, ids, penalty):
    """By hand, one row and one token at a time."""
    result = logits.clone()
    for row, (old, seen) in enumerate(zip(logits.reshape(-1, logits.shape[-1]), ids.reshape(-1, ids.shape[-1]), strict=True)):
        for token in set(seen.tolist()):
            value = float(old[token])
            result.view(-1, logits.shape[-1])[row, token] = value / penalty if value > 0 else value * penalty
    return result


@exercise("repetition_penalty", points=4, core=True)
@settings(max_examples=25)
@given(lead=leading_shapes(), n=sizes(1, 9), t=sizes(1, 6), penalty=st.floats(0.05, 20), seed=seeds())
@example(lead=(), n=6, t=6, penalty=0.05, seed=5)
@example(lead=(), n=6, t=6, penalty=20.0, seed=6)
@example(lead=(), n=6, t=3, penalty=2.0, seed=1)
@example(lead=(3,), n=6, t=3, penalty=0.5, seed=2)
@example(lead=(2, 1, 3), n=5, t=2, penalty=1.5, seed=3)
@example(lead=(), n=6000, t=3000, penalty=1.5, seed=4)
@example(lead=(), n=6, t=6, penalty=1e-4, seed=7)
@example(lead=(), n=6, t=6, penalty=1e4, seed=8)
def test_tokens_that_occurred_become_less_probable(student, lead, n, t, penalty, seed):
    """A positive logit is divided by the penalty, a negative one multiplied by it, once for each token; others stay."""
    generator = torch.Generator().manual_seed(seed)
    logits, ids = normal(generator, *lead, n, scale=2), torch.randint(n, (*lead, t), generator=generator)
    actual = student.repetition_penalty(logits, ids, penalty)
    assert_inputs_untouched(student, hint="choose with torch.where; scatter_ writes into what it is called on")
    hint = "tokens in ids: logit / penalty where it is positive, logit * penalty where it is negative; others stay"
    assert_close(actual, penalised(logits, ids, penalty), what=f"logits with penalty {penalty}", hint=hint, rtol=1e-6)


@exercise("repetition_penalty", points=1.5)
@settings(max_examples=15)
@given(times=st.integers(2, 5), seed=seeds())
def test_a_token_is_penalised_once(student, times, seed):
    """However often it occurred, and in every row for itself."""
    logits = normal(seed, 2, 5, scale=2)
    ids = torch.tensor([[1] * times + [3], [0] + [4] * times])
    actual = student.repetition_penalty(logits, ids, 1.5)
    what = f"logits of tokens that occurred {times} times"
    hint = "a token is penalised once, however often it came"
    assert_close(actual, penalised(logits, ids, 1.5), what=what, hint=hint, rtol=1e-6)


@exercise("repetition_penalty", points=0.5)
@settings(max_examples=12)
@given(lead=leading_shapes(), n=sizes(1, 7), seed=seeds())
def test_no_ids_and_a_penalty_of_1_change_nothing(student, lead, n, seed):
    """At the beginning of a text nothing has been said yet."""
    logits = normal(seed, *lead, n)
    nothing = torch.zeros(*lead, 0, dtype=torch.int64)
    assert_equal(student.repetition_penalty(logits, nothing, 2.0), logits, what="logits without any ids")
    first = torch.zeros(*lead, 1, dtype=torch.int64)
    assert_equal(student.repetition_penalty(logits, first, 1.0), logits, what="logits with a penalty of 1")


@exercise("repetition_penalty", points=0.5)
def test_dropped_tokens_and_zeros_stay(student):
    """-inf stays -inf and 0 stays 0, whether the penalty is above 1 or below."""
    logits = torch.tensor([-INF, 0.0, 2.0, -2.0, -INF], dtype=torch.float64)
    for penalty in (2.0, 0.5, 4):
        actual = student.repetition_penalty(logits, torch.tensor([0, 1, 2, 3]), penalty)
        expected = torch.tensor([-INF, 0.0, 2.0 / penalty, -2.0 * penalty, -INF], dtype=torch.float64)
        assert_close(actual, expected, what=f"{logits.tolist()} with penalty {penalty}")
        close = torch.tensor([3e-4, -3e-4, 1e-9, -1e-9, 1e-4], dtype=torch.float64)
        actual = student.repetition_penalty(close, torch.tensor([0, 1, 2, 3]), penalty) * 1e9
        what = f"a thousand million times {close.tolist()} with penalty {penalty}"
        assert_close(actual, penalised(close, torch.tensor([0, 1, 2, 3]), penalty) * 1e9, what=what)


@exercise("repetition_penalty", points=0.5)
@settings(max_examples=8)
@given(dtype=float_dtypes(half=True), seed=seeds())
@example(dtype=torch.float16, seed=1)
@example(dtype=torch.bfloat16, seed=1)
def test_the_penalty_keeps_the_dtype(student, dtype, seed):
    """Logits of any precision."""
    logits = normal(seed, 2, 5, dtype=dtype)
    ids = torch.tensor([[0, 2], [4, 4]])
    for penalty in (2.0, 1.3):
        actual = student.repetition_penalty(logits, ids, penalty)
        assert_close(actual, penalised(logits, ids, penalty), what=f"{dtype} logits with penalty {penalty}")


@exercise("repetition_penalty", points=0.5)
@settings(max_examples=8)
@given(n=sizes(1, 7), seed=seeds())
def test_the_penalty_minds_its_own_business(student, reference, n, seed):
    """Any strides, gradients flow, and nothing else changes."""
    ids = normal(seed, 2, 3, n).argsort(-1)[..., :4]
    for seen, penalty in ((ids, 1.3), (ids, 1.0), (ids[..., :0], 1.3)):
        check_surroundings(student, reference, "repetition_penalty", normal(seed, 2, 3, n), seen, penalty)


@exercise("repetition_penalty", points=0.5)
def test_the_penalty_refuses_what_makes_no_sense(student):
    """A penalty that is not above 0, ids outside the vocabulary, other leading dimensions."""
    logits, ids = torch.zeros(2, 4), torch.zeros(2, 3, dtype=torch.int64)
    for penalty in (0.0, 0, -1.5):
        assert_refused(student.repetition_penalty, logits, ids, penalty, why="penalty is not above 0")
    for wrong in (4, 7, -1, -4):
        for row in (0, 1):
            bad = ids.clone()
            bad[row, 1] = wrong
            for penalty in (2.0, 1.0):
                assert_refused(student.repetition_penalty, logits, bad, penalty, why="an id is outside")
    for shape in ((3,), (1, 3), (3, 3), (2, 2, 3), (2, 1, 3)):
        bad = torch.zeros(shape, dtype=torch.int64)
        assert_refused(student.repetition_penalty, logits, bad, 2.0, why="the leading dimensions differ")
    deeper, bad = torch.zeros(2, 3, 4), torch.zeros(2, 2, 3, dtype=torch.int64)
    assert_refused(student.repetition_penalty, deeper, bad, 2.0, why="the second of the leading dimensions differs")
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    assert_refused(student.repetition_penalty, logits, nothing, 0.0, why="penalty is not above 0, though there are no ids")
    assert_refused(student.repetition_penalty, logits, nothing.repeat(2, 1), 2.0, why="the leading dimensions differ")
