"""lsh_buckets. No test knows how R is drawn: each checks what holds for (nearly) any random rotation."""

import math

import torch

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios


def rounded(rates):
    return [round(rate, 2) for rate in rates.tolist()]


even = st.integers(1, 5).map(lambda half: 2 * half)


@exercise("lsh_buckets", points=3, core=True)
@given(lead=leading_shapes(), n=sizes(1, 6), d=sizes(1, 6), n_buckets=even, seed=seeds())
@settings(max_examples=24)
def test_bucket_depends_on_direction_alone(student, lead, n, d, n_buckets, seed):
    """Buckets are int64 in [0, n_buckets), one a vector, and scaling a vector by a positive number changes nothing."""
    x = normal(seed, *lead, n, d)
    lengths = 10 ** (2 * normal(seed + 1, *lead, n, 1))
    scaled = torch.cat([x, x * lengths, 2.0**60 * x, 2.0**-60 * x], dim=-2)
    buckets = student.run(scenarios.buckets, scaled, n_buckets, seed)
    assert_equal(str(buckets.dtype), "torch.int64", what="the dtype of the buckets")
    assert_equal(list(buckets.shape), [*lead, 4 * n], what="the shape of the buckets")
    assert ((buckets >= 0) & (buckets < n_buckets)).all(), (
        f"buckets must lie in [0, {n_buckets}), but they go from {buckets.min()} to {buckets.max()}"
    )
    of_x, of_scaled, of_longer, of_shorter = buckets.split(n, dim=-1)
    assert_equal(of_scaled, of_x, what="buckets of scaled vectors", hint="argmax does not care for length")
    hint = "leave x its dtype, round nothing, and take the argmax of xR itself"
    assert_equal(of_longer, of_x, what="buckets of vectors 2**60 times as long", hint=hint)
    assert_equal(of_shorter, of_x, what="buckets of vectors 2**60 times as short", hint=hint)


@exercise("lsh_buckets", points=2)
@given(n_buckets=st.sampled_from([2, 4, 8]), d=st.sampled_from([4, 8]), seed=seeds())
@settings(max_examples=15)
def test_every_bucket_is_used(student, n_buckets, d, seed):
    """Many random vectors reach every bucket, also with as many buckets as dimensions or more."""
    # A short column of R may win almost nowhere, but not in eight rotations.
    rotations = [seed + i for i in range(8)]
    buckets = student.run(scenarios.buckets_many, normal(seed, 250, d), n_buckets, rotations)
    used = sorted(set(buckets.flatten().tolist()))
    hint = "n_buckets / 2 columns of R and as many opposites"
    assert_equal(
        used, list(range(n_buckets)), what=f"the buckets in use by 250 random vectors (of {n_buckets})", hint=hint
    )


@exercise("lsh_buckets", points=3, core=True)
@given(lead=leading_shapes(), n=sizes(1, 6), d=sizes(2, 6), n_buckets=even, seed=seeds())
@settings(max_examples=16)
def test_opposite_vectors_are_half_the_buckets_apart(student, lead, n, d, n_buckets, seed):
    """-x lands n_buckets / 2 further on, modulo n_buckets: the second half of the scores is the first half negated."""
    x = normal(seed, *lead, n, d)
    buckets = student.run(scenarios.buckets, torch.cat([x, -x], dim=-2), n_buckets, seed)
    hint = "argmax over the concatenation [xR; -xR], in this order"
    expected = (buckets[..., :n] + n_buckets // 2) % n_buckets
    assert_equal(buckets[..., n:], expected, what="buckets of the opposite vectors", hint=hint)
    buckets = student.run(scenarios.buckets, torch.cat([x, -x], dim=-2), 600, seed)
    expected = (buckets[..., :n] + 300) % 600
    assert_equal(buckets[..., n:], expected, what="buckets of the opposite vectors, of 600", hint=hint)


@exercise("lsh_buckets", points=1)
@given(d=sizes(2, 5), n_buckets=even, seed=seeds())
@settings(max_examples=16)
def test_a_bucket_is_a_cone(student, d, n_buckets, seed):
    """Two vectors of one bucket have their sum there too: both point along one direction the most, so the sum does."""
    x = normal(seed, 12, d)
    first, second = torch.triu_indices(12, 12, offset=1)
    buckets = student.run(scenarios.buckets, torch.cat([x, x[first] + x[second]]), n_buckets, seed)
    of_x, of_sums = buckets[:12], buckets[12:]
    agree = of_x[first] == of_x[second]
    hint = "the scores xR must be linear in x, and the bucket their argmax"
    assert_equal(of_sums[agree], of_x[first][agree], what="buckets of the sums", hint=hint)


@exercise("lsh_buckets", points=1)
def test_chance_to_meet_falls_with_the_angle(student, generator):
    """With two buckets, vectors at angle θ share one with probability 1 - θ/π, along the axes and off them."""
    angles = torch.tensor([28.0, 45.0, 90.0, 120.0, 152.0], dtype=torch.float64).deg2rad()
    others = torch.stack([angles.cos(), angles.sin()], dim=-1)
    x = torch.cat([torch.tensor([[1.0, 0.0]], dtype=torch.float64), others])
    # Many planes at right angles to each other are as many trials of one call: R has rows of its own for each of them.
    planes, calls = 100, 200
    x = torch.einsum("vc,pq->pvqc", x, torch.eye(planes, dtype=torch.float64)).reshape(planes * 6, planes * 2)
    seeds = torch.randint(2**31, (calls,), generator=generator).tolist()
    buckets = student.run(scenarios.buckets_many, x.float(), 2, seeds).reshape(calls * planes, 6)
    trials = calls * planes
    rate = (buckets[:, 1:] == buckets[:, :1]).double().mean(0)
    expected = 1 - angles / math.pi
    room = 5 * (expected * (1 - expected) / trials).sqrt()  # five standard deviations
    assert ((rate - expected).abs() <= room).all(), (
        f"vectors at {angles.rad2deg().round().int().tolist()} degrees should meet at rates near {rounded(expected)}\n"
        f"  but they met at {rounded(rate)}\n  hint: R must be standard normal, and a new one for each generator"
    )
    sides = student.run(scenarios.buckets_many, torch.eye(2), 2, seeds[:100]).double()
    rates = [(sides[:, 0] == sides[:, 1]).double().mean().item(), *sides.mean(0).tolist()]
    assert all(0.25 <= rate <= 0.75 for rate in rates), (  # five standard deviations
        "in the plane, two axes should meet in half of the calls, and each lie on either side of the line in half of them,\n"
        f"  but the rates were {[round(rate, 2) for rate in rates]}\n  hint: hash x itself, with all entries of R normal"
    )
    axes = torch.eye(planes, dtype=torch.float32)
    buckets = student.run(scenarios.buckets_many, axes, 8, seeds[:100])
    rate = (buckets[:, :, None] == buckets[:, None, :]).double().mean(0).fill_diagonal_(0).max().item()
    assert rate < 0.5, f"two axes at right angles met in {rate:.0%} of the calls, not near 1/8\n  hint: R has no equal rows"
    buckets = buckets.flatten()
    rate = buckets.bincount(minlength=8) / len(buckets)
    assert rate.sub(1 / 8).abs().max().item() <= 5 * (7 / 64 / len(buckets)) ** 0.5, (
        f"eight buckets should be equally likely, but they came at rates {[round(x, 3) for x in rate.tolist()]}\n"
        "  hint: all columns of R are standard normal, and none depends on another"
    )


@exercise("lsh_buckets", points=1)
@given(lead=st.sampled_from([(3,), (2, 2), (1, 4), (2, 1, 2)]), n=sizes(2, 5), seed=seeds())
@settings(max_examples=10)
def test_one_rotation_serves_all_leading_dimensions(student, lead, n, seed):
    """The same vector has the same bucket in every batch entry and head, and whatever vectors come with it."""
    x = normal(seed, n, 6)
    buckets = student.run(scenarios.buckets, x.expand(*lead, n, 6), 8, seed)
    first = buckets[(0,) * len(lead)]
    assert_equal(
        buckets, first.expand(*lead, n), what="the buckets", hint="R is (d, n_buckets / 2), without leading dimensions"
    )
    alone = student.run(scenarios.buckets, x[:1], 8, seed)
    hint = "a bucket depends on its own vector and on R: take no mean and no spread of the others"
    assert_equal(alone, first[:1], what="the bucket of the first vector alone, from the same seed", hint=hint)


@exercise("lsh_buckets", points=1)
@given(seed=seeds())
@settings(max_examples=10)
def test_randomness_comes_from_the_generator(student, seed):
    """The generator alone decides: one seed, one result; the next call draws anew; the global state is not used."""
    for n_buckets in (8, 2):
        result = student.run(scenarios.buckets_twice, normal(seed, 64, 8), n_buckets, seed)
        assert_equal(result["again"], result["first"], what=f"the buckets (of {n_buckets}) from a generator of the same seed")
        assert not torch.equal(result["first"], result["second"]), (
            "two calls with one generator gave 64 vectors the same buckets: each call draws a rotation of its own"
        )
        hint = "pass generator=generator to torch.randn, and leave global settings alone"
        assert_equal(result["changed"], [], what="what the calls changed outside their results", hint=hint)
    without = [student.lsh_buckets(normal(seed, 64, 8), 8, None) for _ in range(2)]
    assert_equal(list(without[0].shape), [64], what="the shape of the buckets without a generator (None)")
    assert not torch.equal(*without), (
        "without a generator (None) two calls gave 64 vectors the same buckets: seed nothing, the global state draws"
    )


@exercise("lsh_buckets", points=1)
@given(dtype=st.sampled_from([torch.float32, torch.float64]), lead=leading_shapes(), seed=seeds())
@settings(max_examples=10)
def test_vectors_are_left_alone(student, dtype, lead, seed):
    """x is not changed; strided views and vectors that require grad hash like their copies; every dtype is hashed."""
    result = student.run(scenarios.buckets_of_strided, normal(seed, *lead, 5, 4, dtype=dtype), 6, seed)
    assert_equal(result["view"], result["copy"], what="buckets of a strided view")
    assert_equal(result["under no_grad"], result["copy"], what="buckets under torch.no_grad(), from the same seed")
    assert_equal(result["requires grad"], result["copy"], what="buckets of vectors that require grad")
    assert not result["changed"], "x was changed in place: normalising it is not needed"
    for low in (torch.float16, torch.bfloat16):
        x = normal(seed, *lead, 40, 4, dtype=low)
        buckets = student.run(scenarios.buckets, torch.cat([x, 2 * x], dim=-2), 6, seed)
        assert_equal(str(buckets.dtype), "torch.int64", what=f"the dtype of the buckets of {low} vectors")
        assert_equal(buckets[..., 40:], buckets[..., :40], what=f"buckets of doubled {low} vectors")
        assert len(buckets.unique()) > 1, f"all {low} vectors fell into one bucket of 6"


@exercise("lsh_buckets", points=1)
def test_an_odd_number_of_buckets_is_refused(student):
    """An odd n_buckets, 1 too, raises ValueError."""
    lsh_buckets = called("lsh_buckets", lambda x, n_buckets: student.run(scenarios.buckets, x, n_buckets, 0))
    for n_buckets in (1, 3, 5, 7, 9, 33):
        why = f"n_buckets={n_buckets} is odd: every direction needs its opposite"
        assert_refused(lsh_buckets, torch.ones(2, 3), n_buckets=n_buckets, why=why)
