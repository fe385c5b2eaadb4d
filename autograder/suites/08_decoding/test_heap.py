"""Hidden tests: the heap. The truth is sorting everything."""

from functools import partial

import torch

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.hints import called, hinted
from autograder.testing.strategies import example, given, settings, st

from . import scenarios

SCORES = st.lists(st.integers(-40, 40).map(lambda n: n / 8), max_size=40)


def best(scores, k):
    """[score, number] of the k best, the first of equals before the others."""
    ranked = sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))[:k]
    return [[score, number] for number, score in ranked]


def order_hint(items, expected):
    """What to look at where the entries are not as expected."""
    if not isinstance(items, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in items):
        return ""
    if [pair[::-1] for pair in items] == expected:
        return "entries are (score, item), in this order"
    if sorted(map(str, items)) == sorted(map(str, expected)):
        return "these are the k best, in another order: items() gives the best first"
    return "after a push the root is the worst of those held: walk up to the root, or down to the last child"


def assert_right(student):
    """A few different scores come out right: a mistake has to do with what is unusual elsewhere."""
    scores = [3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0]
    [[items, _]] = student.run(scenarios.use_heap, 4, scores)
    assert_equal(items, best(scores, 4))


@exercise("TopKHeap", points=4, core=True)
@settings(max_examples=20)
@given(scores=st.lists(st.integers(-400, 400), unique=True, max_size=40), k=st.integers(1, 12))
@example(scores=[*range(31)], k=7)
@example(scores=[*range(31, 0, -1)], k=7)
@example(scores=[5, 1, 4, 2, 3, 0, 9, 8, 7, 6], k=10)
@example(scores=[13 * i % 101 for i in range(101)], k=20)  # deep enough for what goes wrong below the third level
@example(scores=[37 * i % 43 for i in range(43)], k=12)
@example(scores=[*range(260, 0, -1), 1000], k=260)  # the worst comes last, and rises through the whole heap
@example(scores=[-5, -3, -4, -1], k=1)
def test_the_k_best_come_out_best_first(student, scores, k):
    """However many are pushed and in whatever order, items() are the k best, the best first."""
    [[items, _]] = student.run(scenarios.use_heap, k, [float(score) for score in scores])
    expected = best([float(score) for score in scores], k)
    what = f"[[score, item], ...] of {len(scores)} pushed, k = {k}"
    assert_equal(items, expected, what=what, hint=order_hint(items, expected))
    close = [1 + score * 2.0**-40 for score in scores]  # the same order, and hardly any differences
    [[items, _]] = student.run(scenarios.use_heap, k, close)
    assert_equal(items, best(close, k), what="items with scores close to each other", hint="compare scores as they are")


@exercise("TopKHeap", points=2)
@settings(max_examples=15)
@given(scores=st.lists(st.sampled_from([0.0, 1.0, 2.0]), max_size=25), k=st.integers(1, 9))
@example(scores=[1.0] * 9, k=4)
@example(scores=[1.0, 1.0, 2.0], k=2)
@example(scores=[float(i * i % 7 % 3) for i in range(25)], k=9)
@example(scores=[float(5 * i % 13 % 3) for i in range(25)], k=6)
@example(scores=[0.0] * 8 + [1.0, 2.0] * 6, k=7)
def test_of_equal_scores_the_first_is_the_better_one(student, scores, k):
    """Equal scores come in the order in which they were pushed, and a newcomer that is only equal does not get in."""
    [[items, _]] = student.run(scenarios.use_heap, k, scores)
    what, hint = f"[[score, item], ...] for scores {scores}, k = {k}", "let the order of pushing decide"
    hinted(assert_equal, items, best(scores, k), what=what, hint=hint, when=partial(assert_right, student))


def assert_right_at_the_end(student, scores, k):
    """Asked once, at the end, the heap has the right items."""
    [[items, _]] = student.run(scenarios.use_heap, k, scores)
    assert_equal(items, best(scores, k))


@exercise("TopKHeap", points=1.5)
@settings(max_examples=12)
@given(scores=SCORES, k=st.integers(1, 8), asked=st.lists(st.integers(0, 39), max_size=6, unique=True))
@example(scores=[3.0, 1.0, 2.0, 0.5, 2.5, 9.0, 1.5, 4.0], k=3, asked=[3, 5, 6])
@example(scores=[1.0] * 9, k=6, asked=[2, 4, 8])
def test_looking_changes_nothing(student, scores, k, asked):
    """items() may be asked at any time, and leaves the heap as it is."""
    asked = sorted(number for number in asked if number < len(scores))
    seen = student.run(scenarios.use_heap, k, scores, asked)
    for n_pushed, [items, _] in zip([*asked, len(scores)], seen, strict=True):
        what = f"[[score, item], ...] after {n_pushed} pushes"
        when = partial(assert_right_at_the_end, student, scores, k)
        hinted(assert_equal, items, best(scores[:n_pushed], k), what=what, hint="pop from a copy", when=when)
    after = student.run(scenarios.list_changed_by_its_owner, scores)
    expected = [best(scores, 3), min(3, len(scores))]
    what = "[items, length] when an earlier list was emptied"
    when = partial(assert_right_at_the_end, student, scores, 3)
    hinted(assert_equal, after, expected, what=what, hint="hand out a new list", when=when)


@exercise("TopKHeap", points=1.5)
@settings(max_examples=8)
@given(scores=st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), max_size=20), k=st.integers(1, 6))
@example(scores=[1.0, 1.0, 1.0], k=2)
def test_items_may_be_anything(student, scores, k):
    """Items that cannot be compared are no trouble, and the very objects come back."""
    numbers = student.run(scenarios.use_heap_of_things, k, scores)
    hint = "entries (score, item) compare their items where the scores are equal"
    expected, when = [number for _, number in best(scores, k)], partial(assert_right, student)
    hinted(assert_equal, numbers, expected, what="the items, by number", hint=hint, when=when)
    assert_equal(student.run(scenarios.items_themselves), [True] * 5, what="whether the very items come back")
    kinds = student.run(scenarios.kinds_of_items)
    assert_equal(kinds, [True, True], what="whether items() is a list, and each entry a tuple", hint="[(score, item), ...]")


@exercise("TopKHeap", points=1)
def test_len_counts_the_entries(student):
    """len(heap) grows with the pushes and stops at k; without any push there is nothing."""
    for k, n in ((1, 0), (1, 1), (1, 5), (4, 3), (4, 4), (4, 9)):
        seen = student.run(scenarios.use_heap, k, [float(i % 3) for i in range(n)], list(range(n)))
        assert_equal([length for _, length in seen], [min(i, k) for i in range(n + 1)], what=f"len after each push, k = {k}")


@exercise("TopKHeap", points=1)
def test_what_cannot_be_ordered_is_refused(student):
    """A heap of no place and a score that is NaN are refused, and nothing is changed by that."""
    for k in (0, -1, -5):
        assert_refused(called("TopKHeap", partial(student.run, scenarios.heap_of)), k, why="k is below 1")
    for k in (1, 2, 9):
        for n_before in (0, 1):
            sizes = k, n_before
            push = called(f"TopKHeap({k}).push", lambda *_, s=sizes: student.run(scenarios.refusing_heap, *s))
            why = f"the score is NaN, after {n_before} other pushes" if n_before else "the score is NaN"
            assert_refused(push, float("nan"), "none", why=why)
    items, length = student.run(scenarios.heap_after_a_refusal, [2.0, 3.0, 1.0])
    what, hint, when = "the items after a refusal", "refuse before anything changes", partial(assert_right, student)
    hinted(assert_equal, items, [[3.0, 1], [2.0, 0], [1.0, 2]], what=what, hint=hint, when=when)
    assert_equal(length, 3, what="len after a refusal")


@exercise("TopKHeap", points=1)
def test_two_heaps_know_nothing_of_each_other(student):
    """Each heap has entries and a k of its own; scores may be infinite."""
    inf = float("inf")
    expected = [[[inf, "one"], [4.0, "one"], [3.0, "one"]], [[9.0, "other"], [8.0, "other"]]]
    actual = student.run(scenarios.two_heaps, [3.0, -inf, inf, 4.0], [7.0, 8.0, -inf, 9.0])
    what, when = "the items of two heaps filled in turns", partial(assert_right, student)
    hinted(assert_equal, actual, expected, what=what, hint="keep nothing on the class", when=when)
    infinite = [-inf, inf, -inf, 0.0]
    [[items, length]] = student.run(scenarios.use_heap, 5, infinite)
    what, expected = "[items, len] of infinite scores", [best(infinite, 5), 4]
    hinted(assert_equal, [items, length], expected, what=what, hint="-inf is a score, too", when=when)


@exercise("TopKHeap", points=1, core=True)
def test_only_k_are_kept(student):
    """Of many items k stay in memory."""
    n_items, n_scores = student.run(scenarios.items_alive, 5, 300)
    hint = "push is where the worst leaves: a list of everything that is sorted at the end is no heap"
    assert n_items <= 6, f"{n_items} of 300 items are kept, though there is room for 5\n  hint: {hint}"
    assert n_scores <= 6, f"{n_scores} of 300 scores are kept, though there is room for 5\n  hint: {hint}"


@exercise("TopKHeap", points=1)
def test_a_push_takes_a_walk(student, generator):
    """A push compares as often as the heap is deep, not as often as it is long."""
    for k, n in ((256, 2000), (2500, 4000)):
        scores = (torch.randperm(n, generator=generator) // 3).double().tolist()  # three of each
        most = n * (6 * k.bit_length() + 20)
        counted, items = student.run(scenarios.comparisons, k, scores)
        said = f"{n} pushes into {k} places compared scores {counted} times, a heap does with {most}"
        assert counted <= most, f"{said}\n  hint: walk along one path of the heap; do not sort or search it at each push"
        what, when = f"the items of {n} pushed, k = {k}", partial(assert_right, student)
        hinted(assert_equal, items, best(scores, k), what=what, hint="walk the whole way, however long", when=when)
