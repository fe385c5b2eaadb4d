"""Scenarios of module 00: what needs arrays, views, gradients or functions beside the student's code."""

import warnings

import numpy as np
import torch

from autograder.testing.probes import differences, require_in_any_layout, surroundings


def laid_out(values, layout):
    """A NumPy array of these values (a tensor), lying in memory as `layout` says."""
    plain = values.numpy().copy()
    if layout == "plain" or (plain.ndim == 0 and layout != "offset"):
        return plain
    if layout == "fortran":
        return np.asfortranarray(plain)
    if layout == "transposed":
        return np.ascontiguousarray(plain.T).T
    if layout == "strided":
        larger = np.zeros([2 * size + 1 for size in plain.shape], plain.dtype)
        view = larger[tuple(slice(1, None, 2) for _ in plain.shape)]
        view[...] = plain
        return view
    if layout == "offset":
        larger = np.zeros((3, *plain.shape), plain.dtype)
        larger[2] = plain
        return larger[2, ...]
    if layout == "repeated":  # stride 0: one entry seen again and again along the first dimension
        return np.lib.stride_tricks.as_strided(plain[:1].copy(), plain.shape, (0, *plain.strides[1:]))
    axes = {
        "reversed": range(plain.ndim),
        "reversed_first": range(plain.ndim)[:1],
        "reversed_last": range(plain.ndim)[-1:],
    }[layout]
    flipped = np.flip(np.flip(plain, tuple(axes)).copy(), tuple(axes))
    # NumPy calls a reversed axis of size 1 contiguous: np.ascontiguousarray would hand it back as it is.
    return plain if flipped.flags.c_contiguous else flipped


def converted(module, values, layout):
    """as_tensor of an array with these values."""
    return module.as_tensor(laid_out(values, layout))


def array_after(module, values, layout):
    """The array's values after as_tensor was called on it."""
    array = laid_out(values, layout)
    module.as_tensor(array)
    return torch.tensor(array.copy())


def converted_twice(module, values, layout, new_values):
    """as_tensor of an array, and of the same array once other values were written to it, and what else the calls changed."""
    array = laid_out(values, layout)
    around = surroundings()
    before = module.as_tensor(array).clone()
    array[...] = new_values.numpy()
    return before, module.as_tensor(array).clone(), differences(around)


def written_both_ways(module, values, layout, to_array, to_tensor):
    """Write to the array and read the tensor, then write to the tensor and read the array."""
    array = laid_out(values, layout)
    tensor = module.as_tensor(array)
    array[...] = to_array.numpy()
    seen_in_tensor = tensor.clone()
    # With a stride of 0 all rows are one: PyTorch writes to each place in memory once only.
    rows = 0 if layout == "repeated" else ...
    tensor[rows].copy_(to_tensor[rows])
    return seen_in_tensor, torch.tensor(array.copy())


def read_only(module, values):
    """as_tensor of a read-only array: its values, and whether the array can be written to and warnings are shown as before."""
    array = values.numpy().copy()
    array.flags.writeable = False
    with warnings.catch_warnings(record=True):  # PyTorch warns where it shares; that is expected here
        warnings.simplefilter("always")
        before = list(warnings.filters)
        tensor = module.as_tensor(array).clone()
        same = warnings.filters == before
    return tensor, array.flags.writeable, same


def kinds_of_sizes(module, a, b):
    """The types of the numbers that broadcast_shape gives, by name."""
    return [type(size).__name__ for size in module.broadcast_shape(a, b)]


def odd_memory(module, values, kind):
    """as_tensor of memory that PyTorch cannot describe, or "refused"."""
    plain = values.numpy()
    if kind == "byte order":
        array = plain.astype(plain.dtype.newbyteorder("S"))
    else:
        array = np.zeros(plain.shape, dtype=[("flag", "i1"), ("value", plain.dtype)])["value"]
        array[...] = plain
    try:
        return module.as_tensor(array)
    except (ValueError, TypeError, BufferError):
        return "refused"


def as_tensor_of_an_array(module, values, kind):
    """as_tensor of an array made from a list, with a dtype given by name."""
    return module.as_tensor(np.array(values, dtype=kind))


def gradient(module, name, args, cotangent, wrt=(0,)):
    """Pull the cotangent back through module.name(*args) to the arguments at `wrt`; None where no gradient flows."""

    def pulled(laid_out):
        leaves = list(args)
        for i in wrt:
            leaves[i] = laid_out(args[i].clone()).requires_grad_()
        value = getattr(module, name)(*leaves)
        if not value.requires_grad:
            return None
        return list(torch.autograd.grad(value, [leaves[i] for i in wrt], cotangent, allow_unused=True))

    found = pulled(lambda x: x)
    if found is not None:
        require_in_any_layout(name, lambda laid_out: pulled(laid_out) or [None] * len(wrt), found, wrt)
    return found


def gradient_and_view(module, x, size, step, cotangent):
    """The gradient of x through its windows, and the windows once 1 was added to that x, which takes part in a graph."""
    x = x.clone().requires_grad_()
    windows = module.sliding_windows(x, size, step)
    pulled = torch.autograd.grad(windows, x, cotangent)[0] if windows.requires_grad else None
    with torch.no_grad():
        x += 1
    return pulled, windows.detach().clone()


def in_turn(module, name, first, second):
    """A call's result once another one was made, what both changed beside it, and the call anew, its first input reversed.
    The second and the third are made while no gradients are recorded."""
    call, first = getattr(module, name), [x.clone() if isinstance(x, torch.Tensor) else x for x in first]
    torch.set_grad_enabled(True)  # an earlier call may have left it off
    before = surroundings()
    result = call(*first)
    changed = differences(before)
    with torch.no_grad():
        before = surroundings()
        call(*second)
        changed += differences(before)
    if any(x.requires_grad for x in first if isinstance(x, torch.Tensor)):
        changed.append("whether an input requires a gradient")
    result = result.clone()
    first[0].detach().copy_(first[0].detach().flip(0))
    given = [x.clone() if isinstance(x, torch.Tensor) else x for x in first]
    with torch.no_grad():
        again = call(*first)
    if not all(torch.equal(x, y) for x, y in zip(first, given) if isinstance(x, torch.Tensor)):
        changed.append("an input, under torch.no_grad()")
    return result, changed, again


def gradient_to_itself(module, points, cotangent, detached):
    """The distances of one tensor to itself, or to itself detached, and the cotangent pulled back through them."""
    points = points.clone().requires_grad_()
    value = module.pairwise_distances(points, points.detach() if detached else points)
    pulled = torch.autograd.grad(value, points, cotangent)[0] if value.requires_grad else None
    return value.detach().square(), pulled


def distances_to_its_transpose(module, x):
    """The distances of the rows of a square x to its columns."""
    return module.pairwise_distances(x, x.mT)


def laid_out_tensor(values, layout):
    """A tensor of these values, lying in memory as `layout` says."""
    if layout == "transposed":
        return values.permute(*reversed(range(values.dim()))).contiguous().permute(*reversed(range(values.dim())))
    if layout == "strided":
        larger = torch.zeros(*values.shape[:-1], 3 * values.shape[-1] + 2, dtype=values.dtype)
        view = larger[..., 2::3]
    elif layout == "offset":
        view = torch.zeros(3, *values.shape, dtype=values.dtype)[1]
    else:
        view = torch.zeros_like(values)
    return view.copy_(values)


def rows_of_transposed(module, table, ids):
    """gather_rows with ids that lie column after column in memory."""
    return module.gather_rows(table, laid_out_tensor(ids, "transposed"))


def windows_of(module, values, layout, size, step):
    """sliding_windows of a tensor that lies in memory as `layout` says."""
    return module.sliding_windows(laid_out_tensor(values, layout), size, step)


def windows_of_expanded(module, values, n_rows, size, recorded):
    """sliding_windows of one row seen n_rows times, with stride 0, before and after the row is written to."""
    with torch.set_grad_enabled(recorded):
        windows = module.sliding_windows(values.expand(n_rows, -1), size)
    before = windows.clone()
    values += 1
    return before, windows.clone()


def windows_of_conjugates(module, z, size):
    """sliding_windows of the conjugate of z and of its imaginary part, before and after 1 + 2j is added to z."""
    z, seen = z.clone(), []
    windows = [module.sliding_windows(x, size) for x in (z.conj(), z.conj().imag)]
    for _ in range(2):
        seen += [x.resolve_conj().resolve_neg().clone() for x in windows]
        z += 1 + 2j
    return seen


def windows_of_repeated(module, values, length, size, step):
    """sliding_windows of rows in which one element is seen again and again: the last stride is 0."""
    return module.sliding_windows(values.unsqueeze(-1).expand(-1, length), size, step)


def windows_after_writing(module, values, layout, size, step, new_values):
    """Take the windows, write to x, and read the windows; then add 1 to the first window and read x."""
    x = laid_out_tensor(values, layout)
    windows = module.sliding_windows(x, size, step)
    x.copy_(new_values)
    seen = windows.clone()
    windows[..., 0, :] += 1
    return seen, x.clone()


def cubes(module, x, coefficients, eps):
    """The numerical gradient of sum(c x^3)."""
    return module.numerical_gradient(lambda point: (coefficients * point**3).sum(), x, eps)


def coupled(module, x, matrix, eps):
    """The numerical gradient of sin(x)' M sin(x): every entry matters to every other."""

    def f(point):
        wave = point.sin().flatten()
        return wave @ matrix @ wave

    return module.numerical_gradient(f, x, eps)


def through_numpy(module, x, eps, tracked=False):
    """The numerical gradient of a function that autograd cannot follow, at an x that may require a gradient."""
    x = x.clone().requires_grad_(tracked)
    return module.numerical_gradient(lambda point: torch.tensor(np.exp(point.numpy()).sum()), x, eps)


def of_a_view(module, x, index, eps):
    """The numerical gradient of a function that returns a view of its argument."""
    return module.numerical_gradient(lambda point: point.flatten()[index], x, eps)


def points_asked(module, x, eps):
    """What f was given: dtypes and shapes, and the largest distance of a coordinate from that of x."""
    seen, moved = set(), [0.0]

    def f(point):
        seen.add((str(point.dtype), tuple(point.shape)))
        moved.append(float((point - x).abs().max()))
        return point.sum()

    module.numerical_gradient(f, x, eps)
    return sorted(seen), max(moved)


def x_around_numerical_gradient(module, x, eps):
    """x as f saw it from outside during the calls and after them, and what the call changed beside it."""
    torch.set_grad_enabled(True)  # an earlier call may have left it off
    before, during = surroundings(), []

    def f(point):
        during.append(bool((x == original).all()))
        return (point**2).sum()

    original = x.clone()
    module.numerical_gradient(f, x, eps)
    return all(during), x, x.requires_grad, differences(before)


def of_transposed(module, x, coefficients, eps):
    """The numerical gradient of sum(c x^3) at a point that is not contiguous."""
    point = x.T.contiguous().T
    return module.numerical_gradient(lambda p: (coefficients * p**3).sum(), point, eps)


def of_expanded(module, row, n_rows, coefficients, eps):
    """The numerical gradient of sum(c x^3) at one row seen n_rows times, with stride 0."""
    return module.numerical_gradient(lambda p: (coefficients * p**3).sum(), row.expand(n_rows, -1), eps)
