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
def test_a_number_and_a_column_that_were_copied(student):
    """Each gets the sum of what its copies get."""
    for shape, expected in (((), 21.0), ((2, 1), [[6.0], [15.0]]), ((1, 3), [[5.0, 7.0, 9.0]])):
        found = student.run(unbroadcast, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], shape)
        assert_equal(found, expected, what=f"the gradient for shape {shape}")
