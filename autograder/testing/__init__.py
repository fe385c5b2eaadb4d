"""What test authors use. See docs/writing-a-module.md."""

from autograder.testing.assertions import assert_close, assert_equal, assert_inputs_untouched, assert_refused
from autograder.testing.marks import exercise

__all__ = ["assert_close", "assert_equal", "assert_inputs_untouched", "assert_refused", "exercise"]
