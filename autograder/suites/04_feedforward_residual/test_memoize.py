"""Hidden tests: memoization. The truth is counting by hand."""

import torch

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import example, given, settings, st

from . import scenarios

ARGUMENTS = st.lists(st.sampled_from([-2, -1, 0, 2, "2", "a", "", None, [1, 2], ["a", 2]]), max_size=3)
KEYWORDS = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from([-2, -1, 2, "2", None]), max_size=2)


def as_written(value):
    """Lists stand for the tuples that the scenario makes of them."""
    return [tuple(x) if isinstance(x, list) else x for x in value]


def expected_results(calls):
    return [[as_written(args), kwargs] for args, kwargs in calls]


def distinct(calls):
    return len({(tuple(as_written(args)), frozenset(kwargs.items())) for args, kwargs in calls})


def key_hint(results, expected, hint):
    """The hint, if the first wrong result is that of another call before it."""
    if not isinstance(results, list):
        return ""
    i = next((i for i, (actual, right) in enumerate(zip(results, expected)) if actual != right), 0)
    return hint if results[i : i + 1] and results[i] in expected[:i] else ""


@exercise("memoize", points=3, core=True)
@settings(max_examples=25)
@given(calls=st.lists(st.tuples(ARGUMENTS, KEYWORDS), max_size=8), repeats=st.integers(1, 2))
def test_the_function_runs_once_per_distinct_arguments(student, calls, repeats):
    """Every call gets its own result, and equal calls run the function once."""
    calls = calls * repeats
    results, ran, _ = student.run(scenarios.memoized_calls, calls)
    expected = expected_results(calls)
    hint = key_hint(results, expected, "two calls share a key")
    assert_equal(results, expected, what="the results of the calls", hint=hint)
    assert_equal(ran, distinct(calls), what="how often the function ran", hint="once per distinct arguments")


@exercise("memoize", points=0.5)
@settings(max_examples=8)
@given(arguments=st.lists(st.integers(0, 4), max_size=10))
@example(arguments=[1, 1, 2, 1])
@example(arguments=[*range(300), *range(300)])
def test_cache_info_counts_hits_and_misses(student, arguments):
    """After every call cache_info() gives the calls answered from memory and those that ran the function."""
    expected = [
        [len(seen) - len(set(seen)), len(set(seen))] for seen in (arguments[:i] for i in range(len(arguments) + 1))
    ]
    actual = student.run(scenarios.memoized_counts, arguments)
    for i, ((hits, misses, ran), (wanted_hits, wanted_misses)) in enumerate(zip(actual, expected, strict=True)):
        after = f"after {i} call{'s' * (i != 1)}"
        assert_equal(hits, wanted_hits, what=f"the hits {after}")
        assert_equal(misses, wanted_misses, what=f"the misses {after}")
        assert_equal(ran, wanted_misses, what=f"how often the function ran in {i} call{'s' * (i != 1)}")


@exercise("memoize", points=0.5)
def test_the_memory_has_no_bounds(student):
    """However many different calls there were, the first is still remembered."""
    hint = "once per distinct arguments, and nothing is forgotten"
    for n in (129, 6000, 70_000):
        right, ran, counts = student.run(scenarios.memoized_many, n)
        said = f"{n} different calls, three times over"
        assert right, f"some results are wrong in {said}"
        assert_equal(ran, n, what=f"how often the function ran in {said}", hint=hint)
        assert_equal(counts, [2 * n, n], what=f"[hits, misses] of {said}", hint=hint)


@exercise("memoize", points=1)
def test_the_order_of_keywords_does_not_matter(student):
    """f(a=1, b=2) and f(b=2, a=1) are one call; other names or values are another."""
    same = [([], {"a": 1, "b": 2}), ([], {"b": 2, "a": 1})]
    other = [([], {"a": 2, "b": 1}), ([], {"a": 1, "c": 2}), ([], {"a": 1}), ([1, 2], {}), ([], {})]
    for names in ("abcd", "abcdefghijklmnopqrst"):
        several = [([0], dict.fromkeys(order, 1)) for order in (names, names[::-1], names[1:] + names[:1])]
        last = [([0], dict.fromkeys(names, 1) | {name: 2}) for name in names]
        what = f"runs of one call with {len(names)} keywords in three orders"
        assert_equal(student.run(scenarios.memoized_calls, several)[1], 1, what=what)
        what = f"runs of calls with {len(names)} keywords, another of which differs in each"
        assert_equal(student.run(scenarios.memoized_calls, last)[1], len(names), what=what)
    _, ran, counted = student.run(scenarios.memoized_calls, same)
    assert_equal([ran, counted], [1, [1, 1]], what="runs and [hits, misses] of f(a=1, b=2), f(b=2, a=1)")
    results, ran, _ = student.run(scenarios.memoized_calls, same + other)
    expected = expected_results(same + other)
    hint = key_hint(results, expected, "keyword names and values are both part of the key")
    assert_equal(results, expected, what="the results", hint=hint)
    assert_equal(ran, 6, what="how often the function ran")


@exercise("memoize", points=1)
def test_arguments_that_only_look_alike_are_told_apart(student):
    """f(("a", 1)) is not f(a=1); 1 is not "1"; -1 and -2 share a hash and nothing else."""
    calls = [
        ([["a", 1]], {}), ([], {"a": 1}), (["a", 1], {}), ([1], {}), (["1"], {}), ([1, 2], {}), ([[1, 2]], {}),
        ([2, 1], {}), ([1, 1], {}), (["1, 2"], {}), ([1, 2, 3, 4], {}), ([1, 2, 3, 5], {}),
        ([None, ["a", 1]], {}), (["kwargs", ["a", 1]], {}), ([], {"a": 1, "b": 2}),
        (["a", 1, "b", 2], {}), (["a", "b", 1, 2], {}), ([["a", 1], ["b", 2]], {}), ([["a", "b"], [1, 2]], {}),
        ([], {"0": 1}), ([0, 1], {}), ([], {"key": 1}), ([], {"key": 2}), ([], {"function": 1}), ([], {"args": 1}),
        ([-1], {}), ([-2], {}), ([], {"a": -1}), ([], {"a": -2}), ([None], {}), (["None"], {}), ([], {}), ([[]], {}),
        ([], {"a": "1"}), ([], {"a": "1,b=2"}), ([], {"a": None}), ([], {"a": "None"}), (["A", 1], {}), (["a ", 1], {}),
        ([], {"A": 1}), ([3 + 2**61 - 1], {}), ([3 + 2**64], {}), ([3], {}), ([0.25], {}), ([0.25 + 2**-40], {}),
        *[([7] * i + [8] + [7] * (99 - i), {}) for i in (0, 50, 99)], ([7] * 100, {}),
    ]  # fmt: skip
    results, ran, _ = student.run(scenarios.memoized_calls, calls * 2)
    expected = expected_results(calls * 2)
    hint = key_hint(results, expected, "two calls share a key; one that is made of text or of hash() alone collides")
    assert_equal(results, expected, what="the results", hint=hint)
    assert_equal(ran, len(calls), what="how often the function ran")
    n_calls, ran, wrong = student.run(scenarios.memoized_look_alikes, [0, 5, -1, "", "|", "*", "**", "kw", "__kwargs__", ()])
    what, hint = "(runs, wrong results) of as many different calls", "a key in two parts: (args, frozenset(kwargs.items()))"
    assert_equal((ran, wrong), (n_calls, 0), what=what, hint=hint)
    for by_name in (False, True):
        actual = student.run(scenarios.memoized_hash_collision, 5, by_name)
        assert_equal(actual, ([0, 1, 2, 3, 4] * 2, 5), what="five keys of one hash and one repr()")


@exercise("memoize", points=1)
def test_none_and_false_are_remembered_like_any_value(student):
    """A function that returned None once is not asked again."""
    values = [None, False, 0, "", 3.5, torch.zeros(2), [], (None,)]
    results, ran = student.run(scenarios.memoized_values, values)
    assert_equal(results, [[value, value] for value in values], what="the results")
    assert_equal(
        ran, len(values), what="how often the function ran", hint="ask the dictionary whether the key is there"
    )
    same = student.run(scenarios.memoized_objects, 3)
    expected = dict.fromkeys(("object", "list", "dict", "set", "ValueError", "nan", "Ellipsis", "NotImplemented"), True)
    assert_equal(same, expected, what="whether the very object comes back", hint="remember the result, not a copy")


@exercise("memoize", points=1)
def test_a_call_that_raises_is_not_remembered(student):
    """An exception comes through as it is, and the next call runs the function again."""
    kinds = "ZeroDivisionError AttributeError ValueError StopIteration RuntimeError AssertionError IndexError OSError"
    kinds += " OverflowError NotImplementedError RecursionError NameError EOFError KeyboardInterrupt Unlucky KeyError"
    kinds = kinds.split()
    for failures in (1, len(kinds)):
        outcomes, ran, hits = student.run(scenarios.memoized_failures, failures)
        expected = [-1] + [f"{kind}: attempt {i + 1}" for i, kind in enumerate(kinds[:failures])] + [2, 2]
        hint = "an exception comes through as it is, and only results are remembered"
        assert_equal(outcomes, expected, what="what the calls gave", hint=hint)
        assert_equal(ran, failures + 1, what="how often the function ran")
        hint = "a call that raises is no hit, and what other calls gave stays in the memory"
        assert_equal(hits, 2, what=f"hits in {failures + 4} calls, {failures} of which raised", hint=hint)
    assert_equal(
        student.run(scenarios.memoized_type_error), 2, what="runs of a function that raises TypeError in two calls"
    )


@exercise("memoize", points=0.5)
def test_unhashable_arguments_are_refused(student):
    """A list or a dict cannot be a key: TypeError, by position and by name, and the function does not run."""
    for kind in ("list", "dict", "set", "bytearray", "list in a tuple"):
        for by_name in (False, True):
            refused, runs, hits = student.run(scenarios.memoized_unhashable, kind, by_name)
            call = f"a call with a {kind}{', by name' if by_name else ''}"
            assert refused, f"{call} was answered: raise a TypeError, since it cannot be found again"
            assert_equal(runs, 0, what=f"how often the function ran for {call}", hint="look for the key before you call it")
            assert_equal(hits, 0, what=f"the hits after {call}", hint="what was refused was found nowhere")


@exercise("memoize", points=0.5)
def test_recursion_uses_the_memory_too(student):
    """A memoized Fibonacci function runs once for each number below n."""
    expected = (102334155, 41, [38, 41])
    assert_equal(student.run(scenarios.memoized_recursion, 40), expected, what="(fibonacci(40), runs, [hits, misses])")


@exercise("memoize", points=0.5)
def test_each_function_has_a_memory_of_its_own(student):
    """Two decorated functions called with the same argument do not answer for each other."""
    expected = ([6, -3, 6], [1, 1], [0, 1])
    assert_equal(
        student.run(scenarios.memoized_pair, 3), expected, what="(results, counts of one, counts of the other)"
    )
    actual = student.run(scenarios.memoized_namesakes, 3)
    expected = [[n, n, [1, 1]] for n in (6, 9, 15, 15)]
    hint = "make the memory where the function is decorated; its name says nothing"
    assert_equal(actual, expected, what="[result, result, [hits, misses]] of four functions of one name", hint=hint)


@exercise("memoize", points=0.5)
def test_name_and_docstring_are_kept(student):
    """The decorated function still introduces itself by its own name."""
    expected = ("greet", "Say hello.", "hello you", "hello me")
    actual = student.run(scenarios.memoized_metadata)
    hint = "functools.wraps" if actual[:2] != expected[:2] else ""
    assert_equal(actual, expected, what="(name, docstring, results)", hint=hint)
