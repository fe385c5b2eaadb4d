"""From arrays to tensors: what maps one to one, what shares memory, what broadcasts.

A tensor is an array that remembers how it was made, so that gradients can flow back through it. Everything else in this
module you could do in NumPy: memory and strides, broadcasting, a softmax that does not overflow, lookups, views,
distances, and a derivative by finite differences. The rest of the course is built from these ten pieces.

Leading dimensions, written `...`, are free: any number of them, of any size, 0 included. dtype and device of the input
are kept, inputs are never changed, and gradients flow through everything that is computed from floating-point input.
Nothing else is changed either: no earlier result, no random state, no default of PyTorch's.

Sources: Harris et al. 2020, "Array programming with NumPy"; Paszke et al. 2019, "PyTorch: An Imperative Style,
High-Performance Deep Learning Library"; Blanchard, Higham and Higham 2021, "Accurately computing the log-sum-exp and
softmax functions".
"""

from collections.abc import Callable

import numpy as np
import torch


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """The array as a tensor of the same shape, dtype and values.

    The tensor shares the array's memory whenever PyTorch can describe that memory: any dtype that PyTorch has, any
    non-negative strides. Writing to one then changes the other. Where PyTorch cannot (negative strides), the values
    are copied.

    A read-only array may be shared (PyTorch warns that its tensor must not be written to) or copied; either way the
    array stays read-only. Memory in a foreign byte order, or with strides that are no multiple of the element size,
    may be copied or refused (ValueError), never misread.

    Raises:
        TypeError: the dtype has no counterpart in PyTorch (object, str, datetime64, ...).
    """
    ### BEGIN SOLUTION
    try:
        return torch.from_numpy(array)
    except ValueError:  # memory that sizes and non-negative strides cannot describe; a copy lies in plain order
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    ### END SOLUTION


def broadcast_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that two arrays of shapes `a` and `b` broadcast to: NumPy's rule, by hand.

    Shapes are aligned at their last dimension; a missing dimension counts as 1; two sizes are compatible when they are
    equal or one of them is 1, and the other one is the result. `()` is a shape, and 0 is a size like any other. The
    result is a tuple of ints; no array is made.

    Raises:
        ValueError: two aligned sizes differ and neither is 1.
    """
    ### BEGIN SOLUTION
    n_dims = max(len(a), len(b))
    padded_a = (1,) * (n_dims - len(a)) + a
    padded_b = (1,) * (n_dims - len(b)) + b
    for size_a, size_b in zip(padded_a, padded_b):
        if size_a != size_b and 1 not in (size_a, size_b):
            raise ValueError(f"shapes {a} and {b} do not broadcast: {size_a} against {size_b}")
    return tuple(size_b if size_a == 1 else size_a for size_a, size_b in zip(padded_a, padded_b))
    ### END SOLUTION


def batched_matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Matrix products `(..., n, k) x (..., k, m) -> (..., n, m)`; the leading dimensions broadcast.

    `out[..., i, j] = sum over p of a[..., i, p] * b[..., p, j]`; an empty sum (k = 0) is 0. `a` and `b` have the same
    dtype, and the result has it too. Built from broadcasting, products and sums.

    Raises:
        ValueError: the inner sizes differ (k = 1 against k = 5 too: these do not broadcast).
    """
    ### BEGIN SOLUTION
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"inner sizes of a {tuple(a.shape)} and b {tuple(b.shape)} differ")
    products = a.unsqueeze(-2) * b.mT.unsqueeze(-3)  # (..., n, 1, k) * (..., 1, m, k) -> (..., n, m, k)
    return products.sum(-1, dtype=a.dtype)
    ### END SOLUTION


def logsumexp(x: torch.Tensor, dim: int) -> torch.Tensor:
    """`log(sum(exp(x)))` over dimension `dim` (negative counts from the end), which the result no longer has.

    Stable: the largest entry of each slice is taken out before `exp`, so that neither large nor very negative values
    overflow or vanish: `log sum exp(x) = max + log sum exp(x - max)`. Entries of `-inf` count as nothing; a slice of
    nothing but `-inf` gives `-inf`, and its gradient is finite. Size of `dim`: at least 1; the others may be 0.
    """
    ### BEGIN SOLUTION
    peak = x.detach().amax(dim, keepdim=True)  # a constant for the gradient: it cancels from the formula
    peak = peak.masked_fill(peak.isinf(), 0)  # -inf - -inf would be NaN
    total = (x - peak).exp().sum(dim)
    nothing = total == 0
    log_total = total.masked_fill(nothing, 1).log()  # log'(0) is infinite, so those slices take no part in log
    return (log_total + peak.squeeze(dim)).masked_fill(nothing, -torch.inf)
    ### END SOLUTION


def softmax(x: torch.Tensor, dim: int) -> torch.Tensor:
    """`exp(x) / sum(exp(x))` over dimension `dim` (negative counts from the end); the shape stays.

    Stable for large values as `logsumexp` is. Entries of `-inf` get weight 0; a slice of nothing but `-inf` gives
    zeros, never NaN, and its gradient is finite. All other slices sum to 1. Size of `dim`: at least 1; the others may be 0.
    """
    ### BEGIN SOLUTION
    peak = x.detach().amax(dim, keepdim=True)
    weights = (x - peak.masked_fill(peak.isinf(), 0)).exp()
    total = weights.sum(dim, keepdim=True)
    return weights / total.masked_fill(total == 0, 1)
    ### END SOLUTION


def one_hot(ids: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Indicator vectors: ids `(...)` to `(..., num_classes)`, both int64, with a 1 at each id and 0 everywhere else.

    Raises:
        ValueError or IndexError: an id is not in `0 .. num_classes - 1`; a negative id does not count from the end.
    """
    ### BEGIN SOLUTION
    if ids.numel() and not (0 <= ids.min() and ids.max() < num_classes):
        raise ValueError(f"ids must be in 0 .. {num_classes - 1}, got {ids.min()} .. {ids.max()}")
    return (ids.unsqueeze(-1) == torch.arange(num_classes, device=ids.device)).long()
    ### END SOLUTION


def gather_rows(table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Rows of a table by number: table `(n, d)` of any dtype, ids `(...)` of dtype int64 -> `(..., d)`.

    This is what an embedding layer does. The gradient of a row is the sum over all the places where it was used.

    Raises:
        IndexError or ValueError: an id is not in `0 .. n - 1`; a negative id does not count from the end.
    """
    ### BEGIN SOLUTION
    n_rows = len(table)
    if ids.numel() and not (0 <= ids.min() and ids.max() < n_rows):
        raise IndexError(f"ids must be in 0 .. {n_rows - 1}, got {ids.min()} .. {ids.max()}")
    return table[ids]
    ### END SOLUTION


def sliding_windows(x: torch.Tensor, size: int, step: int = 1) -> torch.Tensor:
    """All windows of `size` neighbours along the last dimension, `step` apart: `(..., t) -> (..., n_windows, size)`.

    `out[..., i, j] = x[..., i * step + j]` for every window that fits entirely: `n_windows = (t - size) // step + 1`.
    The result is a view of x's memory, whatever x's strides and offset: nothing is copied, writing to x shows in it.

    Raises:
        ValueError: `size` or `step` is less than 1, or `size` is greater than t.
    """
    ### BEGIN SOLUTION
    length = x.shape[-1]
    if size < 1 or step < 1 or size > length:
        raise ValueError(f"no windows of size {size} and step {step} in a dimension of size {length}")
    n_windows = (length - size) // step + 1
    *leading, stride = x.stride()
    return x.as_strided((*x.shape[:-1], n_windows, size), (*leading, step * stride, stride), x.storage_offset())
    ### END SOLUTION


def pairwise_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Euclidean distances between all rows of x and all rows of y: `(..., n, d), (..., m, d) -> (..., n, m)`.

    `|x - y|^2 = |x|^2 + |y|^2 - 2 x.y`, so that one matrix product does the work (`@` is a tool here) and no
    intermediate has n * m * d elements. Rounding may leave that sum a little below 0: never negative under the root.
    At distance 0 the gradient is finite (the root's own would be infinite). Leading dimensions broadcast.

    Raises:
        ValueError: the widths d of x and y differ.
    """
    ### BEGIN SOLUTION
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"widths of x {tuple(x.shape)} and y {tuple(y.shape)} differ")
    x_squared = x.square().sum(-1).unsqueeze(-1)  # (..., n, 1)
    y_squared = y.square().sum(-1).unsqueeze(-2)  # (..., 1, m)
    squared = x_squared + y_squared - 2 * x @ y.mT
    apart = squared > 0
    return squared.where(apart, 1).sqrt().where(apart, 0)  # where it is not apart, no gradient passes the root
    ### END SOLUTION


def numerical_gradient(f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, eps: float) -> torch.Tensor:
    """The gradient of a scalar function at x by central differences, in x's shape (any) and dtype.

    `gradient[i] = (f(x + eps * e_i) - f(x - eps * e_i)) / (2 * eps)`, one entry of x moved at a time. `f` takes a
    tensor of x's shape in float64, whatever x's dtype (in float32 the small difference would drown in rounding), and
    returns a scalar tensor, possibly a view of its argument. No gradient machinery is used; f need not have any.
    """
    ### BEGIN SOLUTION
    point = x.detach().to(torch.float64, copy=True)
    gradient = torch.zeros_like(point)
    for index in np.ndindex(*x.shape):
        centre = float(point[index])
        point[index] = centre + eps
        above = float(f(point))
        point[index] = centre - eps
        below = float(f(point))
        point[index] = centre
        gradient[index] = (above - below) / (2 * eps)
    return gradient.to(x.dtype)
    ### END SOLUTION
