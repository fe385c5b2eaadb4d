"""Hints that are shown only where they are about the mistake that was made."""

import math

import pytest
import torch

from autograder.testing import assert_close, assert_refused
from autograder.testing.hints import called, hinted, if_nan, if_right, passes, unless_finite, why_refused

ONE, TWO, NAN = torch.ones(1), torch.full((1,), 2.0), torch.full((1,), math.nan)


def said(check, *args, **kwargs) -> str:
    with pytest.raises(AssertionError) as failure:
        check(*args, **kwargs)
    return str(failure.value)


def test_a_hint_is_shown_where_the_second_look_passes():
    looks = []

    def right():
        looks.append(1)
        assert_close(ONE, ONE)

    hinted(assert_close, ONE, ONE, hint="look", when=right)
    assert not looks  # no second look without a failure
    assert said(hinted, assert_close, ONE, TWO, hint="look", when=right).endswith("\n  hint: look")
    assert "hint" not in said(hinted, assert_close, ONE, TWO, hint="look", when=lambda: assert_close(ONE, TWO))
    assert "hint" not in said(hinted, assert_close, ONE, TWO, hint="look", when=lambda: 1 / 0)
    assert passes(assert_close, ONE, ONE) and not passes(assert_close, ONE, TWO)


def test_hints_look_at_what_came_back():
    assert if_right("look", ONE, ONE) == "look" and if_right("look", ONE, TWO) == ""
    assert if_nan("look", ONE, (TWO, [NAN])) == "look" and if_nan("look", ONE, None, "text", [TWO / 0]) == ""
    assert unless_finite("look", [TWO / 0]) == "look" and unless_finite("look", ONE, torch.arange(3)) == ""


def test_a_refused_call_is_told_by_the_name_that_the_student_knows():
    def config_fields(n):
        return n

    message = said(assert_refused, called("Config", config_fields), -1)
    assert message.startswith("Config(-1) should be refused with a ValueError")

    def refuse():
        raise ValueError("no more room")

    assert said(why_refused, refuse, "the fourth append") == "the fourth append was refused\n  no more room"
    assert "not when it was asked again" in said(why_refused, lambda: None, "the fourth append")
