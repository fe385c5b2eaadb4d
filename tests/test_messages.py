"""What a failed check says: nothing untrue, and nothing about the test's own variables."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.grading.lookout import Lookout
from autograder.grading.remote import RemoteModule
from autograder.testing import assert_close, assert_equal, assert_refused, messages
from autograder.testing.assertions import NO_RETURN
from autograder.worker.client import Job, Worker

INF = float("inf")


def said(actual: list[float], expected: list[float]) -> str:
    with pytest.raises(AssertionError) as failed:
        assert_close(torch.tensor(actual, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64))
    return str(failed.value)


@pytest.mark.parametrize(("actual", "expected"), [([1.0, 3e300], [1.0, INF]), ([-1e30, INF], [-INF, INF]), ([INF], [-INF])])
def test_an_infinite_error_is_not_called_a_small_one(actual: list[float], expected: list[float]) -> None:
    message = said(actual, expected)
    assert "largest error" not in message and "six digits" not in message
    assert "expected inf" in message or "expected -inf" in message


def test_numbers_that_differ_are_shown_so_that_they_do() -> None:
    assert "expected 0.8371751, got 0.8371752" in said([0.8371752], [0.8371751])
    assert "expected 0.5, got 0.75" in said([0.75], [0.5])
    assert "all is right to six digits" in said([1.0, 0.8371752], [1.0, 0.8371751])
    assert "all is right to six digits" not in said([1e6, 0.27], [1e6, 0.5])  # little, next to what else is there


def test_numbers_near_the_largest_are_shown_as_they_are() -> None:
    message = said([1.498e307, 0.25], [INF, 0.1234567])
    assert "got      [1.498e+307, 0.25]" in message and "expected [inf, 0.12346]" in message


def test_what_fails_only_at_times_is_told_by_its_first_failure() -> None:
    calls = []

    @settings(database=None)
    @given(n=st.integers(3, 5))
    def check(n: int) -> None:
        calls.append(n)
        assert len(calls) > 1, "the sum is 4"

    with pytest.raises(Exception) as failed:
        check()
    assert messages.failure(failed.value).splitlines()[0] == "the sum is 4"
    assert "not each time that it is called so" in messages.failure(failed.value)
    assert "Hypothesis" not in messages.failure(failed.value)


def test_a_wrong_dtype_gets_a_hint_about_dtypes() -> None:
    for hint, shown in (("move h next to t", "keep the dtype of what came in"), ("go through float32", "go through float32")):
        with pytest.raises(AssertionError, match=f"hint: {shown}"):
            assert_close(torch.zeros(2), torch.zeros(2, dtype=torch.float64), hint=hint)
    with pytest.raises(AssertionError, match="hint: count the places"):  # nothing was lost on the way here
        assert_close(torch.zeros(2), torch.zeros(2, dtype=torch.int64), hint="count the places")


@given(scores=st.just([0.5] * 9), size=st.just(3), text=st.just("a" * 700), data=st.data())
@settings(max_examples=1)
def fails(scores: list[float], size: int, text: str, data: st.DataObject) -> None:
    raise AssertionError("the sum is wrong\nassert 4.5 == 3\n +  where 4.5 = sum(scores)")


def test_an_example_is_shown_whole_and_the_tests_own_code_is_not() -> None:
    with pytest.raises(AssertionError) as failed:
        fails()
    first, example = messages.failure(failed.value).splitlines()
    assert first == "the sum is wrong"
    assert example.startswith(f"  with scores=[{', '.join(['0.5'] * 9)}], size=3, text='aaaa")
    assert len(example) < 300 and example.endswith("...")


def test_the_lines_of_a_plain_assert_stand_where_those_of_others_do() -> None:
    with pytest.raises(AssertionError) as failed:
        assert not INF, "two are too many\n  expected 1\n  hint: count them"  # pytest moves these lines
    assert messages.failure(failed.value) == "two are too many\n  expected 1\n  hint: count them"
    for text in ("a\n  b\n    c", "a\n    b\n  c"):
        assert messages.failure(AssertionError(text)) == text


def test_what_hypothesis_says_beside_the_arguments_is_not_shown() -> None:
    error = AssertionError("the sum is wrong")
    error.add_note(
        "Failing test case: t(\n    # The test always failed\n    seed=0,\n    sizes=[1,\n        2],  # or any other\n)"
    )
    for note in ("Explanation:", "    These lines were always and only run by failing test cases:", "        /course/a.py:52"):
        error.add_note(note)
    assert messages.failure(error) == "the sum is wrong\n  with seed=0, sizes=[1, 2]"


def test_large_tensors_among_the_arguments_are_told_by_their_shapes() -> None:
    class Case(NamedTuple):
        q: torch.Tensor
        k: torch.Tensor
        n: int

    @given(
        case=st.just(Case(torch.full((2, 3, 4), -INF), torch.zeros(0, 3), 4)),
        many=st.just(torch.zeros(40, 40)),
        few=st.just([torch.tensor([1, 2]), torch.ones(2, 1, dtype=torch.float64)]),
        single=st.just(torch.tensor([0.5] * 40, requires_grad=True)),
    )
    @settings(max_examples=1)
    def fails(case, many, few, single):
        raise AssertionError("the sum is wrong")

    with pytest.raises(AssertionError) as failed:
        fails()
    assert messages.failure(failed.value).split("\n  with ")[1] == (
        "case=Case(q=tensor of shape (2, 3, 4), k=tensor of shape (0, 3), n=4), many=large tensor, "
        "few=[tensor([1, 2]), tensor([[1.], [1.]], dtype=torch.float64)], single=tensor of shape (40,)"
    )


def test_a_forgotten_return_is_said_so() -> None:
    with pytest.raises(AssertionError, match="^the result is None, as of a function that ends without `return`\n"):
        assert_close(None, torch.zeros(2), hint="count the places")
    with pytest.raises(AssertionError, match="hint: detach cuts the graph"):  # a gradient that is None has other reasons
        assert_close(None, torch.zeros(2), what="the gradient of x", hint="detach cuts the graph")
    with pytest.raises(TypeError) as failed:
        output, weights = None
    assert messages.failure(failed.value).endswith("\n  hint: was something None, as of a function that ends without `return`?")


@pytest.mark.parametrize("call", [lambda f: f(), lambda f: f(1, 2), lambda f: f(1, scale=2), lambda f: f(1, x=2)])
def test_arguments_with_other_names_get_a_hint_about_the_stub(call) -> None:
    def doubled(x: int) -> int:
        return 2 * x

    with pytest.raises(TypeError) as failed:
        call(doubled)
    assert messages.failure(failed.value).endswith("the arguments are those of the stub")


def test_an_error_of_another_kind_gets_no_hint() -> None:
    with pytest.raises(TypeError) as failed:
        len(3)
    assert "hint" not in messages.failure(failed.value)


def test_a_number_and_a_tensor_are_told_apart() -> None:
    with pytest.raises(AssertionError, match=r"hint: a plain number, where a tensor is expected: \.item\(\)"):
        assert_close(1.0, torch.tensor(1.0), hint="count the places")
    with pytest.raises(AssertionError, match="hint: a tensor, where a plain number is expected"):
        assert_close([torch.tensor(1.0)], [1.0], hint="count the places")


def test_of_a_dict_the_keys_are_shown_that_are_missing_or_too_many() -> None:
    for actual, expected, lines in (
        ({0: 0, 2: 0}, {1: 0, 2: 0}, ["missing: 1", "not expected: 0"]),
        ({"a": 0, "b": 0}, {"a": 0}, ["not expected: 'b'"]),
        ({}, {n: 0 for n in range(300)}, ["missing: 0, 1, 2, 3, 4, 5, ... (300 in all)"]),
    ):
        with pytest.raises(AssertionError) as failed:
            assert_close(actual, expected, "the words")
        assert str(failed.value) == "\n  ".join(["the words: the keys are not as expected", *lines])
    with pytest.raises(AssertionError, match=r"\n  expected a dict with the keys 'a'\n  got      3"):
        assert_close(3, {"a": 0})


def test_where_no_error_is_allowed_its_size_is_not_compared() -> None:
    with pytest.raises(AssertionError) as failed:
        assert_equal(torch.tensor([1, 2]), torch.tensor([1, 3]))
    assert "allowed" not in str(failed.value) and "expected 3, got 2" in str(failed.value)


def test_a_message_from_the_students_process_is_no_key() -> None:
    error = KeyError("your code raised KeyError: 'x'")
    error.from_student = True
    assert messages.failure(error) == "your code raised KeyError: 'x'"

    def fails_itself(x: int) -> None:
        raise error

    with pytest.raises(AssertionError, match="because x is odd\n  but your code raised KeyError: 'x'$"):
        assert_refused(fails_itself, 1, why="x is odd")


def in_capitals(module, x):
    return module.half(x).upper()


def halves(module, xs):
    return [module.half(x) for x in xs]


def test_what_a_test_does_is_not_called_by_names_that_only_the_test_knows(zygote) -> None:
    half = "def half(x):\n    return None if x is None else x / 2\n"
    worker = Worker(zygote, Job(files={"half.py": half}, main="half"))
    said = []
    try:
        student = RemoteModule(worker, frozenset({"half"}), {}, Lookout(""))
        for call in (
            lambda: student.half("a"), lambda: student.run(halves, [4, "a"]), lambda: student.run(in_capitals, 4),
            lambda: student.run(in_capitals, None), lambda: student.half(),
        ):  # fmt: skip
            with pytest.raises((TypeError, AttributeError)) as failed:
                call()
            said.append(messages.failure(failed.value))
    finally:
        worker.close()
    error = "TypeError: unsupported operand type(s) for /: 'str' and 'int'\n"
    error += "  half.py, line 2: return None if x is None else x / 2"
    unusable = "the test could not use what came back: AttributeError:"
    assert said == [
        f"half raised {error}",
        f"your code raised {error}",
        f"{unusable} 'float' object has no attribute 'upper'",
        f"{unusable} 'NoneType' object has no attribute 'upper'\n  hint: was something {NO_RETURN}?",
        "half raised TypeError: half() missing 1 required positional argument: 'x'\n"
        "  hint: names, order and defaults of the arguments are those of the stub",
    ]


def test_a_part_of_a_result_is_called_by_its_name_or_place() -> None:
    """What is wrong is called as a reader would call it: by a name that the label has for it, or else by its indices."""

    def first_words(actual: object, expected: object, what: str) -> str:
        with pytest.raises(AssertionError) as failed:
            assert_equal(actual, expected, what)
        return str(failed.value).partition(":")[0]

    for what, called in (
        ("(a, b) for x = [1, 2]", "b for x = [1, 2]"),
        ("[x, mask] after the call", "mask after the call"),
        ("(a, b, c)", "(a, b, c)[1]"),  # which has two parts only
        ("the gradients of x and bias", "the gradients of bias"),
        ("the gradients of (q, k), both ways", "the gradients of k, both ways"),
        ("the gradients of x, w with 2 shards", "the gradients of w with 2 shards"),
        ("the gradients of x and its weight", "the gradients of x and its weight, at [1]"),
        ("f(x, mask=None)", "f(x, mask=None)[1]"),
        ("out", "out[1]"),
        ("what x = [1, 2] gives", "what x = [1, 2] gives, at [1]"),
        ("each sum", "each sum, at [1]"),
    ):
        assert first_words((1, 2), (1, 3), what) == called
    assert first_words([[1], {"a": [2, 3]}], [[1], {"a": [2, 4]}], "each sum") == "each sum, at [1]['a'][1]"
    assert first_words({" ": [1]}, {" ": [2]}, "out") == "out[' '][0]"
    with pytest.raises(AssertionError, match="^a map: asking changes it: yes, and it should be no$"):
        assert_equal({"asking changes it": True}, {"asking changes it": False}, "a map")


def test_whether_something_is_so_is_answered_by_yes_or_no() -> None:
    for actual, expected, said in ((True, False, "yes, and it should be no"), (False, True, "no, and it should be yes")):
        with pytest.raises(AssertionError) as failed:
            assert_equal(actual, expected, "whether x is as it was", "work on a copy")
        assert str(failed.value) == f"whether x is as it was: {said}\n  hint: work on a copy"
    with pytest.raises(AssertionError, match="^whether each stays, at \\[1\\]: no, and it should be yes$"):
        assert_equal([True, False], [True, True], "whether each stays")
    with pytest.raises(AssertionError, match="expected True\n  got      1$"):
        assert_equal(1, True, "whether it stays")


def test_long_texts_are_shown_where_they_differ() -> None:
    for text, other, at, shown in (
        ("a" * 100 + "b" * 30, "a" * 100 + "c" * 30, 100, (repr("a" * 10 + "b" * 20), repr("a" * 10 + "c" * 20))),
        (b"a" * 100, b"a" * 90, 90, (repr(b"a" * 20), repr(b"a" * 10))),
    ):
        with pytest.raises(AssertionError) as failed:
            assert_equal(other, text, "the text")
        start = f"from index {at - 10} on"
        assert str(failed.value).split("\n  ") == [
            f"the text, first at index {at}: not as expected",
            f"expected {shown[0]} {start}, {len(text)} in all",
            f"got      {shown[1]} {start}, {len(other)} in all",
        ]
    with pytest.raises(AssertionError, match="^the text: not as expected\n  expected 'abc'\n  got      'abd'$"):
        assert_equal("abd", "abc", "the text")
