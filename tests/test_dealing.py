"""Values are shared out evenly where tests are graded, in the same order every time, and left alone elsewhere."""

from collections import Counter

import hypothesis
import pytest

from autograder.testing.dealing import composite, deal, given
from autograder.testing.strategies import seeds, settings, sizes, st

GRADED = hypothesis.settings.get_profile("grading")


@pytest.fixture(autouse=True)
def nothing_dealt_afterwards():
    yield
    deal(None)


@composite
def pairs(draw):
    return draw(sizes(1, 4)), draw(st.sampled_from("ab"))


def examples(seed, /, **arguments):
    """What a test of these arguments is called with when it is graded with this seed."""
    seen = []

    @settings(GRADED, max_examples=24)
    @given(**arguments)
    def test(**values):
        seen.append(values)

    deal(seed)
    test()
    return seen


@pytest.mark.parametrize("seed", range(1, 5))
def test_few_values_are_used_equally_often_and_no_example_twice(seed):
    seen = examples(seed, kind=st.sampled_from([1.0, 2.0, 3.0]), flag=st.booleans(), pair=pairs(), seed=seeds())
    assert len(set(map(str, seen))) == 24
    for of in (lambda x: x["kind"], lambda x: x["flag"], lambda x: x["pair"][0], lambda x: x["pair"][1]):
        counts = Counter(map(of, seen))
        assert max(counts.values()) - min(counts.values()) <= 2, counts
    assert len({(x["kind"], x["flag"]) for x in seen}) == 6


def test_what_a_test_draws_in_its_own_body_is_used_equally_often():
    seen = []

    @settings(GRADED, max_examples=24)
    @given(n=sizes(1, 3), seed=seeds(), data=st.data())
    def test(n, seed, data):
        seen.append((n, data.draw(sizes(0, 3)), data.draw(st.sampled_from("ab"), "letter")))

    deal(5)
    test()
    assert Counter(number for _, number, _ in seen) == dict.fromkeys(range(4), 6)
    assert Counter(letter for *_, letter in seen) == {"a": 12, "b": 12}
    assert len({(number, letter) for _, number, letter in seen}) == 8


def test_the_first_example_is_the_smallest_and_a_seed_decides_the_rest():
    arguments = {"n": sizes(1, 6), "pair": pairs(), "seed": seeds()}
    first, *_ = once = examples(7, **arguments)
    assert first == {"n": 1, "pair": (1, "a"), "seed": 0}
    assert examples(7, **arguments) == once
    assert examples(8, **arguments) != once


def test_an_example_that_failed_is_repeated_as_it_was():
    seen = []

    @settings(GRADED)
    @given(n=sizes(1, 6), pair=pairs(), seed=seeds())
    def test(n, pair, seed):
        seen.append((n, pair, seed))
        assert not (n == 5 and pair[1] == "b")

    deal(3)
    with pytest.raises(AssertionError):  # and no complaint of Hypothesis that it could not be repeated
        test()
    (n, (_, letter), _) = seen[-1]
    assert (n, letter) == (5, "b") and seen.count(seen[-1]) > 1


def test_a_small_space_is_gone_through_once():
    assert sorted(x["flag"] for x in examples(1, flag=st.booleans())) == [False, True]


def test_seeds_have_all_remainders_so_that_tests_can_choose_by_them():
    seen = [x["seed"] for x in examples(2, n=sizes(1, 3), seed=seeds())][:24]
    assert Counter(seed % 12 for seed in seen) == dict.fromkeys(range(12), 2)
    assert 0 <= min(seen) and max(seen) < 2**31


def test_what_is_not_graded_shrinks():
    failed = []

    @settings(phases=tuple(hypothesis.Phase), derandomize=True, database=None)
    @given(n=sizes(1, 9), pair=pairs(), seed=seeds())
    def test(n, pair, seed):
        if n > 3 and pair[0] > 1:
            failed.append((n, pair, seed))
            raise AssertionError

    deal(None)
    with pytest.raises(AssertionError):
        test()
    assert failed[-1] == (4, (2, "a"), 0)
