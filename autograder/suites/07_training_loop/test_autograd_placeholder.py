"""A placeholder."""

import numpy as np

from autograder.testing import assert_equal, exercise


def unbroadcast(module, grad, shape):
    """As lists."""
    import importlib

    package, _, name = module.__name__.rpartition(".")
    module = module if name == "autograd" else importlib.import_module(f"{package}.autograd")
    return module.unbroadcast(np.array(grad), shape).tolist()


@exercise("unbroadcast", points=42, core=True)
def test_what_was_copied_is_added_up(student):
    """A row that was added to every row of a matrix."""
    assert_equal(student.run(unbroadcast, [[1.0, 2.0], [3.0, 4.0]], (2,)), [4.0, 6.0])
