"""What a failed check says: nothing untrue, and nothing about the test's own variables."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.testing import assert_close, messages

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


def test_a_forgotten_return_is_said_so() -> None:
    with pytest.raises(AssertionError, match="got      None\n  hint: None is what a function gives that ends without `return`"):
        assert_close(None, torch.zeros(2), hint="count the places")
    with pytest.raises(AssertionError, match="hint: detach cuts the graph"):  # a gradient that is None has other reasons
        assert_close(None, torch.zeros(2), what="the gradient of x", hint="detach cuts the graph")
    with pytest.raises(TypeError) as failed:
        output, weights = None
    assert messages.failure(failed.value).endswith("\n  hint: None is what a function gives that ends without `return`")


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
