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
