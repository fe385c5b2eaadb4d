"""A submission of module 00 in which one exercise waits for a number that never comes; the others are not begun."""


def broadcast_shape(a, b):
    raise NotImplementedError("TODO: broadcast_shape")


def numerical_gradient(f, x, eps):
    error = 1.0
    while error > 0:  # halving the step would have helped
        error = abs(eps)
    return error
