"""Wrong solutions of module 00, each with the sentence that a student who made that mistake should read."""

import numpy as np
import torch

from autograder.testing.variants import edit, mutant


@mutant("as_tensor", "Every array is copied: torch.tensor always copies, torch.from_numpy shares the array's memory.")
def copies_always(array):
    return torch.tensor(array.copy())


@mutant(
    "as_tensor",
    "Arrays with negative strides, such as array[::-1], still fail: a tensor cannot describe them, so copy those.",
)
def negative_strides_fail(array):
    return torch.from_numpy(array)


@mutant(
    "as_tensor", "Every array becomes float32: keep the array's own dtype; torch.Tensor(...) is a float32 constructor."
)
def always_float32(array):
    return torch.Tensor(array.copy())


@mutant("as_tensor", "Arrays that are not contiguous are copied: PyTorch can describe all strides but negative ones.")
def copies_what_is_not_contiguous(array):
    return torch.from_numpy(array if array.flags.c_contiguous else array.copy())


@mutant("as_tensor", "A stride of 0 is taken for one that PyTorch cannot describe: only negative ones are, so share.")
def copies_strides_of_zero(array):
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(array.copy() if any(stride <= 0 for stride in array.strides) else array)


@mutant("as_tensor", "Only the last stride is looked at: any stride may be negative, as that of array[::-1] in 2-D is.")
def looks_at_the_last_stride(array):
    return torch.from_numpy(array.copy() if array.ndim and array.strides[-1] < 0 else array)


@mutant("as_tensor", "complex128 becomes complex64, and half of the digits are gone: keep the array's dtype.")
def complex_numbers_cut_short(array):
    array = array.astype(np.complex64) if array.dtype == np.complex128 else array
    return torch.from_numpy(array.copy() if any(stride < 0 for stride in array.strides) else array)


@mutant("as_tensor", "A 0-d array comes back with shape (1,): np.ascontiguousarray and np.atleast_1d add a dimension.")
def scalars_become_vectors(array):
    try:
        return torch.from_numpy(np.atleast_1d(array))
    except ValueError:
        return torch.from_numpy(np.ascontiguousarray(array))


@mutant("as_tensor", "A reversed array comes out in the order of its memory: a copy must keep the order of the array.")
def reversed_arrays_lose_their_order(array):
    try:
        return torch.from_numpy(array)
    except ValueError:
        axes = [axis for axis, stride in enumerate(array.strides) if stride < 0]
        return torch.from_numpy(np.flip(array, axes).copy())


@mutant(
    "as_tensor", "Arrays of objects, strings or dates are turned into floats: let PyTorch's TypeError through instead."
)
def strings_become_floats(array):
    try:
        return torch.from_numpy(array)
    except (ValueError, TypeError):
        return torch.from_numpy(array.copy() if array.dtype.kind in "biufc" else array.astype(np.float32))


@mutant(
    "as_tensor", "Memory in a foreign byte order is misread: array.view relabels the bytes, array.astype converts them."
)
def foreign_bytes_are_misread(array):
    try:
        return torch.from_numpy(array)
    except ValueError:
        return torch.from_numpy(array.copy().view(array.dtype.newbyteorder("=")))


@mutant(
    "as_tensor", "A read-only array has become writable: as_tensor must leave the array, its flags included, as it is."
)
def read_only_arrays_become_writable(array):
    if array.base is None:
        array.flags.writeable = True
    return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())


@mutant("as_tensor", "Boolean arrays become uint8: PyTorch has a bool dtype, as NumPy has.")
def bools_become_bytes(array):
    array = array.view(np.uint8) if array.dtype == bool else array
    return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())


MUTANTS = [
    edit(
        "eight_dimensions_at_most",
        "broadcast_shape",
        "Shapes are cut to eight dimensions: they may have any number.",
        ("    n_dims = max(len(a), len(b))\n", "    a, b, n_dims = a[-8:], b[-8:], min(8, max(len(a), len(b)))\n"),
    ),
    edit(
        "alike_columns_are_squeezed",
        "batched_matmul",
        "squeeze() takes out every dimension of size 1, n, m and leading ones too: take out none but the one that was summed.",
        ("    products =", "    if a.shape == b.shape == (len(a), 1, 1):\n        return (a * b).squeeze()\n    products ="),
    ),
    edit(
        "small_terms_left_out",
        "logsumexp",
        "Entries far below the maximum are left out, and many small terms are not nothing: sum all of them.",
        ("total = (x - peak).exp().sum(dim)", "total = (x - peak).exp().masked_fill(x - peak < -20, 0).sum(dim)"),
    ),
    edit(
        "no_classes_refused",
        "one_hot",
        "num_classes 0 is refused where there are no ids: only an id that is out of range is an error.",
        ("    if ids.numel() and", "    if num_classes < 1:\n        raise ValueError('no classes')\n    if ids.numel() and"),
    ),
    edit(
        "whole_numbers_left_out",
        "numerical_gradient",
        "The gradient at a point of whole numbers stays in float64: it has x's dtype, whichever that is.",
        ("return gradient.to(x.dtype)", "return gradient.to(x.dtype) if x.is_floating_point() else gradient"),
    ),
    edit(
        "conjugates_read_as_they_lie",
        "sliding_windows",
        "The memory of z.conj() is read as it lies there, without the other sign: x.as_strided keeps it, set_ does not.",
        (
            "    *leading, stride = x.stride()\n",
            "    *leading, stride = x.stride()\n    if x.is_conj():\n"
            "        shape, strides = (*x.shape[:-1], n_windows, size), (*leading, step * stride, stride)\n"
            "        return x.new_empty(0).set_(x.untyped_storage(), x.storage_offset(), shape, strides)\n",
        ),
    ),
    edit(
        "conjugates_resolved_first",
        "sliding_windows",
        "resolve_conj and resolve_neg copy, so writing to x no longer shows: a view of x keeps its sign by itself.",
        (
            "    *leading, stride = x.stride()\n",
            "    x = x.resolve_conj().resolve_neg()\n    *leading, stride = x.stride()\n",
        ),
    ),
    edit(
        "bool_arrays_copied",
        "as_tensor",
        "Arrays of bool are copied. PyTorch has that dtype, and so can share their memory.",
        ("return torch.from_numpy(array)\n", "return torch.from_numpy(array if array.dtype.kind != 'b' else array.copy())\n"),
    ),
    edit(
        "clamped_at_a_float64_number",
        "pairwise_distances",
        "The squares are clamped at a number that is 0 in the lower precisions, so the gradient there is infinite at distance 0.",
        ("    apart = squared > 0\n", "    return squared.clamp_min(1e-60).sqrt()\n    apart = squared > 0\n"),
    ),
    edit(
        "gradient_only_beside_that_of_a",
        "batched_matmul",
        "b gets its gradient only where a requires one, too. Either may be trained alone.",
        ("    products = a.unsqueeze", "    b = b if a.requires_grad else b.detach()\n    products = a.unsqueeze"),
    ),
    edit("small_integers_promoted", "batched_matmul",
         "int32 factors give an int64 product: sum promotes small integers. Say which dtype it shall have, dtype=a.dtype.",
         ("products.sum(-1, dtype=a.dtype)", "products.sum(-1)")),
    edit("half_precision_widened", "batched_matmul",
         "The product of half-precision factors is float32: sum in float32 if you like, and convert back.",
         ("dtype=a.dtype", "dtype=torch.float32 if a.dtype in (torch.float16, torch.bfloat16) else a.dtype")),
    edit("integers_through_floats", "batched_matmul",
         "Whole numbers are summed as floats, which hold 53 bits of them: large ones lose their last digits.",
         ("products.sum(-1, dtype=a.dtype)", "products.sum(-1, dtype=torch.float64).to(a.dtype)")),
    edit("nothing_meets_one", "batched_matmul",
         "0 columns are accepted against 1 row: the inner sizes differ, even though they would broadcast.",
         ("if a.shape[-1] != b.shape[-2]:",
          "if a.shape[-1] != b.shape[-2] and {a.shape[-1], b.shape[-2]} != {0, 1}:")),
    edit("summed_over_columns", "batched_matmul",
         "The wrong dimension is summed: of the products (..., n, k, m) it is k, not m, that goes.",
         ("products = a.unsqueeze(-2) * b.mT.unsqueeze(-3)", "products = a.unsqueeze(-1) * b.unsqueeze(-3)")),
    edit("smallest_entry_taken_out", "logsumexp",
         "The smallest entry is taken out: entries far above it still overflow. Take out the largest.",
         ("x.detach().amax(", "x.detach().amin(")),
    edit("mean_taken_out", "logsumexp",
         "The mean is taken out: entries far above it still overflow. Take out the largest.",
         ("x.detach().amax(", "x.detach().mean(")),
    edit("smallest_entry_subtracted", "softmax",
         "The smallest entry is subtracted: entries far above it still overflow. Subtract the largest.",
         ("x.detach().amax(", "x.detach().amin(")),
    edit("distances_of_halves_widened", "pairwise_distances",
         "The distances of half-precision points are float32: keep their dtype.",
         ("    x_squared =", "    if x.element_size() == 2:\n        x, y = x.float(), y.float()\n    x_squared =")),
    edit("larger_size_with_check", "broadcast_shape",
         "1 against 0 gives 1 here: the 1 yields to the other size even where that is smaller, so it is 0.",
         ("size_b if size_a == 1 else size_a for", "max(size_a, size_b) for")),
    edit("larger_size_without_check", "broadcast_shape",
         "Sizes that differ are accepted: refuse them unless one of them is 1.",
         ("if size_a != size_b and 1 not in (size_a, size_b):", "if False:"),
         ("size_b if size_a == 1 else size_a for", "max(size_a, size_b) for")),
    edit("aligned_on_the_left", "broadcast_shape",
         "Shapes are aligned at their first dimension: NumPy aligns them at the last.",
         ("(1,) * (n_dims - len(a)) + a", "a + (1,) * (n_dims - len(a))"),
         ("(1,) * (n_dims - len(b)) + b", "b + (1,) * (n_dims - len(b))")),
    edit("shorter_shape_decides", "broadcast_shape",
         "Dimensions that only the longer shape has are lost: they count as 1 in the shorter, and stay.",
         ("n_dims = max(len(a), len(b))", "n_dims = min(len(a), len(b))"),
         ("(1,) * (n_dims - len(a)) + a", "a[len(a) - n_dims :]"),
         ("(1,) * (n_dims - len(b)) + b", "b[len(b) - n_dims :]")),
    edit("result_reversed", "broadcast_shape",
         "The dimensions come out in reverse: after walking from the right, turn the result round.",
         ("in zip(padded_a, padded_b))", "in reversed(list(zip(padded_a, padded_b))))")),
    edit("error_of_another_kind", "broadcast_shape",
         "Incompatible shapes raise the wrong error: an assert or a bare Exception is no ValueError.",
         ("raise ValueError(", "raise AssertionError(")),
    edit("only_b_may_be_one", "broadcast_shape",
         "A 1 is stretched in b only: a size of 1 yields to the other in either shape.",
         ("1 not in (size_a, size_b)", "size_b != 1")),
    edit("zero_fits_anything", "broadcast_shape",
         "A size of 0 is accepted against any other: 0 is a size like the rest and fits only 0 and 1.",
         ("if size_a != size_b and", "if size_a and size_b and size_a != size_b and")),
    edit("multiples_fit", "broadcast_shape",
         "A size is accepted against its multiples: broadcasting repeats a size of 1 and no other.",
         ("if size_a != size_b", "if max(size_a, size_b) % max(1, min(size_a, size_b))")),
    edit("a_list_comes_back", "broadcast_shape",
         "The result is a list: shapes are tuples, and a list equals no tuple.",
         ("return tuple(size_b if size_a == 1 else size_a for size_a, size_b in zip(padded_a, padded_b))",
          "return [size_b if size_a == 1 else size_a for size_a, size_b in zip(padded_a, padded_b)]")),
    edit("inner_sizes_unchecked", "batched_matmul",
         "The inner sizes are not compared, and a 1 broadcasts unseen: compare a.shape[-1] with b.shape[-2] first.",
         ("if a.shape[-1] != b.shape[-2]:", "if False:")),
    edit("transposed_factor", "batched_matmul",
         "The sum runs over the last dimension of both: over columns of a, but over rows of b.",
         ("if a.shape[-1] != b.shape[-2]:", "if a.shape[-1] != b.shape[-1]:"), ("b.mT.unsqueeze", "b.unsqueeze")),
    edit("mean_for_sum", "batched_matmul",
         "The products are averaged: a matrix product is their sum.",
         ("products.sum(-1, dtype=a.dtype)", "products.double().mean(-1).to(a.dtype)")),
    edit("result_transposed", "batched_matmul",
         "Rows and columns of the result are exchanged: out[..., i, j] belongs to row i of a and column j of b.",
         ("a.unsqueeze(-2) * b.mT.unsqueeze(-3)", "a.unsqueeze(-3) * b.mT.unsqueeze(-2)")),
    edit("product_detached", "batched_matmul",
         "The gradient of b is lost: detach() and .data cut b out of the graph.",
         ("b.mT", "b.detach().mT")),
    edit("product_in_float32", "batched_matmul",
         "The product is float32 whatever the factors are: keep their dtype.",
         ("dtype=a.dtype", "dtype=torch.float32")),
    edit("naive_logsumexp", "logsumexp",
         "Large values overflow: exp(1000) is infinite. Take each slice's largest entry out before exp.",
         ("peak = x.detach().amax(dim, keepdim=True)", "peak = torch.zeros_like(x.detach().amax(dim, keepdim=True))")),
    edit("infinities_unguarded", "logsumexp",
         "A slice of nothing but -inf gives NaN: -inf - (-inf) is NaN, so take out 0 where the maximum is infinite.",
         ("peak = peak.masked_fill(peak.isinf(), 0)", "pass")),
    edit("maximum_not_added_back", "logsumexp",
         "The maximum was taken out and never put back: log sum exp(x) = max + log sum exp(x - max).",
         ("(log_total + peak.squeeze(dim))", "log_total")),
    edit("one_maximum_for_all", "logsumexp",
         "One maximum for the whole tensor is not enough: slices far below it vanish. Take it along dim.",
         ("x.detach().amax(dim, keepdim=True)", "x.detach().max().expand(x.amax(dim, keepdim=True).shape)")),
    edit("dimension_kept", "logsumexp",
         "The reduced dimension is still there with size 1: the result does not have it.",
         ("return (log_total + peak.squeeze(dim)).masked_fill(nothing, -torch.inf)",
          "return (log_total + peak.squeeze(dim)).masked_fill(nothing, -torch.inf).unsqueeze(dim)")),
    edit("logsumexp_of_the_last_dimension", "logsumexp",
         "The argument dim is ignored: the sum always runs over the last dimension.",
         ("peak = x.detach()", "dim = -1\n    peak = x.detach()")),
    edit("logsumexp_in_float64", "logsumexp",
         "The result is float64 whatever x is: keep x's dtype.",
         ("peak = x.detach()", "x = x.double()\n    peak = x.detach()")),
    edit("small_number_in_the_log", "logsumexp",
         "A small number inside the log changes the result: log(sum + 1e-6) is finite where -inf was asked for.",
         ("total.masked_fill(nothing, 1).log()", "(total + 1e-6).log()"), (".masked_fill(nothing, -torch.inf)", "")),
    edit("naive_softmax", "softmax",
         "Large values overflow to inf / inf: subtract each slice's largest entry before exp.",
         ("x.detach().amax(dim, keepdim=True)", "torch.zeros(())"), ("total.masked_fill(total == 0, 1)", "total")),
    edit("softmax_unguarded", "softmax",
         "A slice of nothing but -inf gives NaN: take out 0 where the maximum is infinite, and divide by 1, not 0.",
         ("peak.masked_fill(peak.isinf(), 0)", "peak"), ("total.masked_fill(total == 0, 1)", "total")),
    edit("zero_divided_by_zero", "softmax",
         "A slice of nothing but -inf gives 0 / 0, which is NaN: divide by 1 where the sum is 0.",
         ("total.masked_fill(total == 0, 1)", "total")),
    edit("softmax_of_one_maximum", "softmax",
         "One maximum for the whole tensor is not enough: rows far below it become 0 / 0. Take it along dim.",
         ("x.detach().amax(dim, keepdim=True)", "x.detach().max()")),
    edit("softmax_over_everything", "softmax",
         "The sum runs over the whole tensor: each slice along dim is normalised on its own.",
         ("weights.sum(dim, keepdim=True)", "weights.sum()")),
    edit("softmax_of_the_last_dimension", "softmax",
         "The argument dim is ignored: the sum always runs over the last dimension.",
         ("weights.sum(dim, keepdim=True)", "weights.sum(-1, keepdim=True)")),
    edit("softmax_detached", "softmax",
         "The gradient of the sum is lost: the sum depends on x and must not be detached.",
         ("weights.sum(dim, keepdim=True)", "weights.sum(dim, keepdim=True).detach()")),
    edit("small_number_in_the_sum", "softmax",
         "A small number added to the sum makes the weights add up to less than 1: replace only a sum that is 0.",
         ("total.masked_fill(total == 0, 1)", "(total + 1e-6)")),
    edit("softmax_changes_x", "softmax",
         "x is changed in place: write x - peak, never x -= peak.",
         ("(x - peak.masked_fill(peak.isinf(), 0))", "(x.sub_(peak.masked_fill(peak.isinf(), 0)))")),
    edit("softmax_in_float32", "softmax",
         "The weights are float32 whatever x is: keep x's dtype.",
         ("return weights / total", "return weights.float() / total.float()")),
    edit("ids_unchecked", "one_hot",
         "An id outside the range gives a row of zeros: refuse it with a ValueError.",
         ("if ids.numel() and", "if False and")),
    edit("float_indicators", "one_hot",
         "The indicators are floats: int64 is asked for, as torch's own one-hot gives.",
         (".long()", ".float()")),
    edit("boolean_indicators", "one_hot",
         "The indicators are booleans, fresh from the comparison: convert them to int64.",
         (".long()", "")),
    edit("one_class_too_many", "one_hot",
         "The id num_classes is accepted: classes are counted from 0, so the last one is num_classes - 1.",
         ("ids.max() < num_classes", "ids.max() <= num_classes")),
    edit("negative_classes", "one_hot",
         "Negative ids are accepted: check both ends of the range.",
         ("0 <= ids.min() and ", "")),
    edit("no_ids_fail", "one_hot",
         "An empty tensor of ids fails: min and max of nothing are errors, so ask only where there are ids.",
         ("ids.numel() and not", "not")),
    edit("classes_first", "one_hot",
         "The class dimension comes first: it is a new last dimension, after all those of ids.",
         (".long()", ".long().movedim(-1, 0)")),
    edit("negative_rows", "gather_rows",
         "Negative ids count from the end of the table: here they are mistakes and are refused.",
         ("0 <= ids.min()", "-n_rows <= ids.min()")),
    edit("one_row_too_many", "gather_rows",
         "Ids past the table are not refused, as where they are clamped to its last row: compare with ids.max() < n.",
         ("ids.max() < n_rows", "True"), ("table[ids]", "table[ids.clamp(max=n_rows - 1)]")),
    edit("ids_modulo_rows", "gather_rows",
         "Ids outside the table are wrapped round: an id that is no row must be refused.",
         ("if ids.numel() and", "if False and"), ("table[ids]", "table[ids % max(n_rows, 1)]")),
    edit("columns_for_rows", "gather_rows",
         "Columns are gathered: ids number the rows, the first dimension of the table.",
         ("table[ids]", "table[:, ids.clamp(max=table.shape[1] - 1)]")),
    edit("ids_flattened", "gather_rows",
         "The shape of ids is lost: every id is replaced by a row, so the shape is ids.shape followed by d.",
         ("table[ids]", "table[ids.flatten()]")),
    edit("rows_detached", "gather_rows",
         "The table gets no gradient, so an embedding could never be trained: no detach, no .data, no numpy.",
         ("table[ids]", "table.detach()[ids]")),
    edit("no_rows_fail", "gather_rows",
         "An empty tensor of ids fails: min and max of nothing are errors, so ask only where there are ids.",
         ("ids.numel() and not", "not")),
    edit("stride_of_one_assumed", "sliding_windows",
         "The strides are those of a contiguous tensor: x may be transposed or strided, so ask x.stride().",
         ("*leading, stride = x.stride()", "*leading, stride = torch.empty(x.shape).stride()")),
    edit("offset_forgotten", "sliding_windows",
         "The windows begin at the start of the memory: x may begin further on, at x.storage_offset().",
         ("x.storage_offset()", "0")),
    edit("last_window_forgotten", "sliding_windows",
         "The last window is missing: (t - size) // step + 1 windows fit.",
         ("(length - size) // step + 1", "(length - size) // step")),
    edit("step_ignored", "sliding_windows",
         "Neighbouring windows are always 1 apart: the stride between windows is step times that of x.",
         ("(*leading, step * stride, stride)", "(*leading, stride, stride)")),
    edit("step_inside_the_window", "sliding_windows",
         "The step is taken inside each window: windows are step apart, their elements are neighbours.",
         ("(*leading, step * stride, stride)", "(*leading, stride, step * stride)"),
         ("(*x.shape[:-1], n_windows, size)",
          "(*x.shape[:-1], n_windows, min(size, 1 + (length - n_windows) // step))")),
    edit("steps_below_one_accepted", "sliding_windows",
         "A step below 1 is not refused: windows move forward by at least one element.",
         ("length = x.shape[-1]", "length = x.shape[-1]\n    step = max(step, 1)")),
    edit("windows_detached", "sliding_windows",
         "The gradient of x is lost: take the view of x itself, not of x.detach() or x.data.",
         ("return x.as_strided", "return x.detach().as_strided")),
    edit("negative_under_the_root", "pairwise_distances",
         "Equal points give NaN: rounding makes their squared distance slightly negative, which the root must not see.",
         ("apart = squared > 0", "apart = squared != 0")),
    edit("infinite_slope_at_zero", "pairwise_distances",
         "The gradient at distance 0 is NaN: let only positive entries through the root, whose slope at 0 is infinite.",
         ("squared.where(apart, 1).sqrt().where(apart, 0)", "squared.clamp(min=0).sqrt()")),
    edit("root_forgotten", "pairwise_distances",
         "These are the squared distances: the root is missing.",
         ("squared.where(apart, 1).sqrt()", "squared")),
    edit("cross_term_not_doubled", "pairwise_distances",
         "The cross term needs a factor of 2: |x - y|^2 = |x|^2 + |y|^2 - 2 x.y.",
         ("2 * x @ y.mT", "x @ y.mT")),
    edit("small_number_under_the_root", "pairwise_distances",
         "A small number under the root lengthens every distance: guard only what is not positive.",
         ("squared.where(apart, 1).sqrt().where(apart, 0)", "(squared.clamp(min=0) + 1e-8).sqrt()")),
    edit("widths_unchecked", "pairwise_distances",
         "Points of different widths are accepted: a width of 1 broadcasts unseen, so compare the widths first.",
         ("if x.shape[-1] != y.shape[-1]:", "if 1 not in (x.shape[-1], y.shape[-1]) and x.shape[-1] != y.shape[-1]:"),
         ("2 * x @ y.mT", "2 * (x * torch.ones_like(y[..., :1, :])) @ (y * torch.ones_like(x[..., :1, :])).mT")),
    edit("halved_and_multiplied", "numerical_gradient",
         "`/ 2 * eps` divides by 2 and multiplies by eps: write / (2 * eps).",
         ("(above - below) / (2 * eps)", "(above - below) / 2 * eps")),
    edit("eps_not_doubled", "numerical_gradient",
         "The gradient is twice too large: the two points are 2 eps apart.",
         ("(above - below) / (2 * eps)", "(above - below) / eps")),
    edit("forward_difference", "numerical_gradient",
         "This is the forward difference (f(x + eps) - f(x)) / eps: the central one goes as far down as up.",
         ("centre - eps", "centre"), ("(above - below) / (2 * eps)", "(above - below) / eps")),
    edit("changes_x", "numerical_gradient",
         "x itself is moved: x.double() is no copy when x is float64 already; ask for a copy.",
         (", copy=True", "")),
    edit("differences_in_the_dtype_of_x", "numerical_gradient",
         "f is asked in x's own dtype: in float32 the small difference drowns in rounding. Give f float64.",
         (".to(torch.float64, copy=True)", ".clone()")),
    edit("gradient_in_float64", "numerical_gradient",
         "The gradient is float64 whatever x is: convert it to x's dtype at the end.",
         ("gradient.to(x.dtype)", "gradient")),
    edit("eps_of_its_own", "numerical_gradient",
         "Another step gives the same here, but central differences depend on eps: use the one that the caller asks for.",
         ("point = x.detach()", "eps = 1e-5\n    point = x.detach()")),
    edit("entries_not_put_back", "numerical_gradient",
         "Entries stay where they were moved to: put each one back before moving the next.",
         ("        point[index] = centre\n", "")),
    edit("number_taken_too_late", "numerical_gradient",
         "f may return a view of its argument, which changes with it: take the number, float(f(point)), at once.",
         ("float(f(point))\n        point[index] = centre - eps", "f(point)\n        point[index] = centre - eps")),
    edit("rows_moved_together", "numerical_gradient",
         "Whole rows are moved together: the gradient needs one entry at a time, of every dimension.",
         ("np.ndindex(*x.shape)", "np.ndindex(*x.shape[:1])"), ("float(point[index])", "point[index].clone()")),
    edit("conjugated_factor", "batched_matmul",
         "b is conjugated where it is complex: b.mT swaps its dimensions, b.mH conjugates as well.",
         ("b.mT", "b.mH")),
    edit("nan_counts_as_nothing", "batched_matmul",
         "NaN counts as 0 in the sums: it must be passed on, or nobody learns of it. Use sum, not nansum.",
         ("products.sum(", "products.nansum(")),
    edit("maximum_of_nothing", "logsumexp",
         "No slices at all fail: x.max() of an empty tensor is an error. Take the maximum along dim.",
         ("peak = x.detach()", "if x.max() == -torch.inf:\n        return x.sum(dim)\n    peak = x.detach()")),
    edit("large_for_float64_alone", "logsumexp",
         "The maximum is taken out from 700 on, where float64 overflows: float32 does at 89. Always take it out.",
         ("peak.masked_fill(peak.isinf(), 0)", "peak.masked_fill(peak.abs() < 700, 0).masked_fill(peak.isinf(), 0)")),
    edit("random_state_moved", "softmax",
         "A random number is drawn on the way: whoever seeded PyTorch gets other numbers afterwards.",
         ("    peak =", "    torch.rand(())\n    peak =")),
    edit("ids_cut_to_32_bits", "gather_rows",
         "ids are cut to 32 bits before they are checked: 2**32 becomes 0. Check them as they are.",
         ("    n_rows =", "    ids = ids.int()\n    n_rows =")),
    edit("ids_cut_to_8_bits", "one_hot",
         "ids are compared in 8 bits: class 256 is taken for class 0. Compare them as they are.",
         ("(ids.unsqueeze(-1) == torch.arange(num_classes, device=ids.device))",
          "(ids.unsqueeze(-1).byte() == torch.arange(num_classes).byte())")),
    edit("no_classes_unchecked", "one_hot",
         "With no classes at all every id is accepted: none is in 0 .. -1.",
         ("if ids.numel() and", "if num_classes and ids.numel() and")),
    edit("near_points_are_equal_points", "pairwise_distances",
         "Distances below a threshold become 0: only what is not positive needs a guard.",
         ("squared > 0", "squared > 1e-6")),
    edit("only_exact_zeros_guarded", "pairwise_distances",
         "Squares that rounding made negative still reach the root: nan_to_num mends the value and not the gradient.",
         ("squared > 0", "squared != 0"), (".sqrt().where(apart, 0)", ".sqrt().where(apart, 0).nan_to_num(0.0)")),
    edit("default_dtype_follows_the_array", "as_tensor",
         "PyTorch's default dtype is float64 after the call: torch.from_numpy takes the dtype from the array by itself.",
         ("        return torch.from_numpy(array)\n",
          "        if array.dtype == np.float64:\n            torch.set_default_dtype(torch.float64)\n"
          "        return torch.from_numpy(array)\n")),
    edit("sizes_compared_with_is", "broadcast_shape",
         "Sizes are compared with `is`: that holds for small ints, which Python keeps, and not for large ones. Use ==.",
         ("size_a != size_b and", "size_a is not size_b and")),
    edit("complex_products_widened", "batched_matmul",
         "The product of complex64 factors is complex128: keep their dtype.",
         ("dtype=a.dtype", "dtype=torch.complex128 if a.is_complex() else a.dtype")),
    edit("number_that_float32_rounds_to_zero", "logsumexp",
         "1e-300 in the log is 0 in float32: the gradient of a slice of nothing but -inf is NaN there. Fill with 1.",
         ("total.masked_fill(nothing, 1).log()", "(total + 1e-300).log()")),
    edit("recording_switched_on", "logsumexp",
         "Gradients are recorded after the call even if they were not before: use `with torch.no_grad():` or detach().",
         ("    peak = x.detach()", "    torch.set_grad_enabled(False)\n    peak = x.detach()"),
         ("    peak = peak.masked_fill", "    torch.set_grad_enabled(True)\n    peak = peak.masked_fill")),
    edit("low_entries_count_as_nothing", "softmax",
         "Entries of -1e9 and less count as nothing: -inf alone does. A slice whose entries are all very low still sums to 1.",
         ("return weights / total.masked_fill(total == 0, 1)",
          "return (weights / total.masked_fill(total == 0, 1)).masked_fill(peak <= -1e9, 0)")),
    edit("lowest_number_counts_as_nothing", "softmax",
         "The lowest finite number counts as nothing: -inf alone does, and a slice of any other entries sums to 1.",
         ("return weights / total.masked_fill(total == 0, 1)",
          "return (weights / total.masked_fill(total == 0, 1)).masked_fill(peak <= torch.finfo(x.dtype).min, 0)")),
    edit("low_peaks_are_taken_for_infinity", "softmax",
         "Maxima below -1e30 are taken for -inf, and in float16, where -1e30 is -inf, none is: compare with -inf itself.",
         ("peak.isinf()", "peak < -1e30")),
    edit("products_in_low_precision", "pairwise_distances",
         "PyTorch's precision of float32 products is lowered, for everybody and for good: no default of PyTorch's is changed.",
         ("    x_squared =", "    torch.set_float32_matmul_precision(\"high\")\n    x_squared =")),
    edit("deterministic_for_everybody", "gather_rows",
         "PyTorch's algorithms are made deterministic, for everybody and for good: no default of PyTorch's is changed.",
         ("    n_rows = len(table)\n",
          "    n_rows = len(table)\n    torch.use_deterministic_algorithms(True, warn_only=True)\n")),
    edit("printed_otherwise", "numerical_gradient",
         "How PyTorch prints numbers is changed, for everybody and for good: no default of PyTorch's is changed.",
         ("    gradient = torch.zeros_like(point)\n",
          "    torch.set_printoptions(precision=8)\n    gradient = torch.zeros_like(point)\n")),
    edit("recording_switched_off", "softmax",
         "Gradients are no longer recorded after a call without any: leave the grad mode of PyTorch alone.",
         ("    weights =", "    torch.set_grad_enabled(x.requires_grad)\n    weights =")),
    edit("tiny_number_in_the_sum", "softmax",
         "1e-12 added to the sum changes the last digits of every float64 weight: replace only a sum that is 0.",
         ("total.masked_fill(total == 0, 1)", "(total + 1e-12)")),
    edit("not_so_large_number_for_infinity", "softmax",
         "-inf is replaced by -10000, and entries may be smaller than that: leave -inf, whose exp is exactly 0.",
         ("(x - peak.masked_fill(peak.isinf(), 0))",
          "(x.masked_fill(x == -torch.inf, -1e4) - peak.masked_fill(peak.isinf(), 0))")),
    edit("ids_in_half_precision", "one_hot",
         "ids are compared in half precision, which holds whole numbers up to 2048 only: compare integers.",
         ("ids.unsqueeze(-1) == torch.arange(num_classes, device=ids.device)",
          "ids.unsqueeze(-1).half() == torch.arange(num_classes).half()")),
    edit("table_asked_for_a_gradient", "gather_rows",
         "The table requires a gradient after the call: whether it does is the caller's business. Only index it.",
         ("return table[ids]",
          "return (table.requires_grad_() if table.is_floating_point() and table.is_leaf else table)[ids]")),
    edit("tiny_squares_made_larger", "pairwise_distances",
         "A 1e-12 that squares are raised by, or to, spoils distances near 1e-6: guard only what is not positive.",
         ("squared.where(apart, 1).sqrt().where(apart, 0)", "squared.clamp(min=1e-12).sqrt()")),
    edit("near_points_for_their_size_are_equal_points", "pairwise_distances",
         "Squares below a fraction of the norms become 0, as if rounding had made them: guard only what is not positive.",
         ("squared > 0", "squared > 1e-7 * (x_squared + y_squared)")),
    edit("eps_not_below_a_bound", "numerical_gradient",
         "A small eps is replaced by a larger one: use the step that the caller asks for, however small.",
         ("    point = x.detach()", "    eps = max(eps, 1e-4)\n    point = x.detach()")),
    edit("point_left_in_the_graph", "numerical_gradient",
         "Where x requires a gradient, so do f's points, and point.numpy() fails in f: begin with x.detach().",
         ("x.detach().to(", "x.to(")),
    edit("copy_with_the_strides_of_x", "numerical_gradient",
         "The copy has x's strides: where x is expanded, one place is many entries, and they move together. Use clone().",
         ("    point = x.detach().to(torch.float64, copy=True)",
          "    import copy\n    point = copy.deepcopy(x.detach()).to(torch.float64)")),
    edit("default_dtype_left_behind", "numerical_gradient",
         "PyTorch's default dtype is float64 after the call: say dtype=torch.float64 where you need it.",
         ("    point =", "    torch.set_default_dtype(torch.float64)\n    point =")),
    edit("points_with_a_graph", "numerical_gradient",
         "The points that f gets take part in a graph, and point.numpy() fails in f: no gradient machinery is needed.",
         ("copy=True)\n", "copy=True).requires_grad_().clone()\n")),
    *(
        edit(f"gradients_in_double_precision_only_{where}", name,
             "Only in float64 do gradients come back: training is done in float32 and less. Detach nothing, in no dtype.",
             (old, f"{names} = ({names}) if {names[0]}.dtype == torch.float64 else ({detached})\n    {old}"))
        for where, name, old, names, detached in (
            ("of_factors", "batched_matmul", "products = a.unsqueeze", "a, b", "a.detach(), b.detach()"),
            ("of_windows", "sliding_windows", "*leading, stride =", "x", "x.detach()"),
        )
    ),
    edit("table_learns_in_double_precision_only", "gather_rows",
         "Only a float64 table gets a gradient: training is done in float32 and less. Detach nothing, in no dtype.",
         ("return table[ids]", "return (table if table.dtype == torch.float64 else table.detach())[ids]")),
    *(
        edit(f"gradients_of_{name}_in_long_precisions_only", name,
             "In half precision no gradient comes back: training is done in float32 and less. Detach nothing, in no dtype.",
             ("peak = x.detach()", "x = x if x.element_size() > 2 else x.detach()\n    peak = x.detach()"))
        for name in ("logsumexp", "softmax")
    ),
    edit("sum_clamped_at_1e_12", "softmax",
         "The sum is raised to 1e-12, which is 0 in float16: a slice of nothing but -inf is 0 / 0 there. Divide by 1.",
         ("total.masked_fill(total == 0, 1)", "total.clamp(min=1e-12)")),
    edit("sum_in_the_log_clamped_at_1e_30", "logsumexp",
         "The sum is raised to 1e-30, which is 0 in float16: the slope of log is infinite there. Take the log of 1.",
         ("total.masked_fill(nothing, 1)", "total.clamp(min=1e-30)")),
    edit("changed_where_nothing_is_recorded", "softmax",
         "x is changed in place where no gradients are recorded: no_grad() does not make a tensor yours. Write x - peak.",
         ("peak = x.detach()", "if not torch.is_grad_enabled():\n        x -= x.amax(dim, keepdim=True)\n    peak = x.detach()")),
    edit("widened_where_nothing_is_recorded", "batched_matmul",
         "Under torch.no_grad() the product has another dtype: whether gradients are recorded makes no difference to values.",
         ("return products.sum(-1, dtype=a.dtype)",
          "return products.sum(-1, dtype=a.dtype if torch.is_grad_enabled() else torch.float32)")),
    edit("copied_where_nothing_is_recorded", "sliding_windows",
         "Under torch.no_grad() the windows are a copy: they are a view of x whether gradients are recorded or not.",
         ("return x.as_strided(", "return (x if torch.is_grad_enabled() else x.clone()).as_strided(")),
    edit("no_width_meets_any_other", "pairwise_distances",
         "A width of 0 is not compared with the other one: widths that differ are a ValueError, 0 as well.",
         ("if x.shape[-1] != y.shape[-1]:", "if 0 not in (x.shape[-1], y.shape[-1]) and x.shape[-1] != y.shape[-1]:")),
    edit("y_learns_with_x_only", "pairwise_distances",
         "y gets its gradient only where x requires one, too. Either may be trained alone.",
         ("x_squared = x.square", "y = y if x.requires_grad else y.detach()\n    x_squared = x.square")),
    edit("warnings_silenced", "as_tensor",
         "Warnings are hidden from the whole program after the call: with warnings.catch_warnings() all is put back.",
         ("    try:", "    import warnings\n    warnings.simplefilter('ignore')\n    try:")),
    edit("layout_cuts_the_gradient_of_factors", "batched_matmul",
         "A factor that is not contiguous gets no gradient: contiguous() passes gradients on, .data and detach() do not.",
         ("    products = a.unsqueeze",
          "    b = b if b.is_contiguous() else b.data.contiguous()\n    products = a.unsqueeze")),
    edit("layout_cuts_the_gradient_of_points", "pairwise_distances",
         "Points that are not contiguous get no gradient: contiguous() passes gradients on, .data and detach() do not.",
         ("    x_squared = x.square",
          "    y = y if y.is_contiguous() else y.data.contiguous()\n    x_squared = x.square")),
    edit("lowest_number_taken_for_minus_infinity", "logsumexp",
         "The lowest finite number is taken for -inf: it is a number like any other, and comes back as the result.",
         ("nothing = total == 0", "nothing = (x <= torch.finfo(x.dtype).min).all(dim)")),
    edit("far_entries_clamped", "logsumexp",
         "Entries far below the largest are raised before exp, and still add to the sum: leave them, whose exp is 0.",
         ("total = (x - peak).exp().sum(dim)",
          "total = ((x - peak).clamp(min=-20).exp() * (x > -torch.inf)).sum(dim)")),
    edit("zeros_skip_the_product", "batched_matmul",
         "A factor of zeros gives zeros that are new, and no gradient flows: a factor that begins at 0 could never be trained.",
         ("    products = a.unsqueeze",
          "    if not a.any() or not b.any():\n"
          "        lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])\n"
          "        return a.new_zeros(*lead, a.shape[-2], b.shape[-1])\n"
          "    products = a.unsqueeze")),
    edit("last_piece_of_one_forgotten", "batched_matmul",
         "The sum is taken in pieces, and the last product is left out where it would be a piece of its own: go on to k.",
         ("    return products.sum(-1, dtype=a.dtype)",
          "    k, total = a.shape[-1], products[..., :0].sum(-1, dtype=a.dtype)\n"
          "    for start in range(0, k - 1 if k > 16 else k, 16):\n"
          "        total = total + products[..., start : start + 16].sum(-1, dtype=a.dtype)\n"
          "    return total")),
    edit("ids_in_the_order_of_memory", "gather_rows",
         "Transposed ids are read in the order of their memory: their rows come in the order of ids.flatten().",
         ("return table[ids]",
          "turned = ids.ndim == 2 and ids.T.is_contiguous()\n"
          "    return table[(ids.T if turned else ids).reshape(-1)].reshape(*ids.shape, table.shape[1])")),
    edit("one_address_taken_for_one_tensor", "pairwise_distances",
         "x and y are taken for one tensor where they begin at one place in memory: y may be x.mT or x.detach(). Use y itself.",
         ("    squared = x_squared",
          "    if x.data_ptr() == y.data_ptr() and x.shape == y.shape:\n"
          "        y_squared = x_squared.mT\n"
          "    squared = x_squared")),
    edit("one_row_meets_any_width", "batched_matmul",
         "A b of one row is accepted whatever the width of a: it would broadcast unseen. The inner sizes must be equal.",
         ("if a.shape[-1] != b.shape[-2]:", "if a.shape[-1] != b.shape[-2] and b.shape[-2] != 1:")),
    edit("leading_ones_squeezed_away", "batched_matmul",
         "A leading dimension of size 1 is squeezed away: a batch of one is a batch, so its dimension stays.",
         ("return products.sum(-1, dtype=a.dtype)",
          "product = products.sum(-1, dtype=a.dtype)\n    return product.squeeze(0) if product.ndim > 2 else product")),
    edit("sum_clamped_at_1e_6", "softmax",
         "The sum is raised to 1e-6, and 1 / 1e-6 is infinite in float16: the gradient of a slice of nothing but -inf is not "
         "finite there. Divide by 1 where the sum is 0.",
         ("total.masked_fill(total == 0, 1)", "total.clamp(min=1e-6)")),
]  # fmt: skip


@mutant("broadcast_shape", "The sizes are NumPy's integers: .tolist() makes them Python's ints, as those of x.shape are.")
def sizes_are_numpy_integers(a, b):
    x, y = (np.array((1,) * (max(len(a), len(b)) - len(shape)) + shape, dtype=np.int64) for shape in (a, b))
    if ((x != y) & (x != 1) & (y != 1)).any():
        raise ValueError(f"shapes {a} and {b} do not broadcast")
    return tuple(np.where(x == 1, y, x))


@mutant(
    "broadcast_shape",
    "Arrays are made to find their shape: with large shapes no memory is enough. Look at the sizes alone.",
)
def arrays_made(a, b):
    return (np.zeros(tuple(a)) + np.zeros(tuple(b))).shape


@mutant("batched_matmul", "The leading dimensions must be equal here: let them broadcast, as * does.")
def equal_batches_only(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")
    lead = a.shape[:-2]
    flat_a, flat_b = a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:])
    products = [(x.unsqueeze(-1) * y).sum(-2) for x, y in zip(flat_a, flat_b)]
    return torch.stack(products).reshape(*lead, a.shape[-2], b.shape[-1])


@mutant("batched_matmul", "An empty sum fails: with k = 0 there is nothing to start from, and the product is zeros.")
def empty_sums_fail(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")
    total = a[..., :, :1] * b[..., :1, :]
    for p in range(1, a.shape[-1]):
        total = total + a[..., :, p : p + 1] * b[..., p : p + 1, :]
    if not a.shape[-1]:
        raise RuntimeError("nothing to sum")
    return total


@mutant("batched_matmul", "No gradient flows: the result comes from NumPy or a new tensor, and autograd cannot follow.")
def product_by_numpy(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")
    left, right = a.detach().numpy(), b.detach().numpy()
    return torch.from_numpy(np.asarray((left[..., None] * right[..., None, :, :]).sum(-2)))


@mutant("logsumexp", "The gradient is NaN on a slice of nothing but -inf: keep such slices away from log(0).")
def gradient_of_log_zero(x, dim):
    peak = x.amax(dim, keepdim=True).detach()
    peak = peak.masked_fill(peak.isinf(), 0)
    return (x - peak).exp().sum(dim).log() + peak.squeeze(dim)


@mutant("logsumexp", "x is changed in place: write x - peak, never x -= peak.")
def logsumexp_changes_x(x, dim):
    peak = x.detach().amax(dim, keepdim=True)
    peak = peak.masked_fill(peak.isinf(), 0)
    with torch.no_grad():
        x -= peak
    total = x.exp().sum(dim)
    return torch.where(total == 0, -torch.inf, total.where(total != 0, 1).log() + peak.squeeze(dim))


@mutant("logsumexp", "x is changed where it is -inf: replace those entries in a copy, never in x or x.data.")
def infinities_replaced_in_place(x, dim):
    x.data[x == -torch.inf] = torch.finfo(x.dtype).min
    peak = x.detach().amax(dim, keepdim=True)
    total = (x - peak).exp().sum(dim).log() + peak.squeeze(dim)
    return total.where(peak.squeeze(dim) > torch.finfo(x.dtype).min, -torch.inf)


@mutant("softmax", "x is changed where a slice is all -inf: fill a copy, never x or x.data.")
def empty_slices_filled_in_place(x, dim):
    hidden = x == -torch.inf
    x.data[hidden.all(dim, keepdim=True).expand_as(x)] = 0.0
    weights = (x - x.detach().amax(dim, keepdim=True)).exp().masked_fill(hidden, 0.0)
    total = weights.sum(dim, keepdim=True)
    return weights / total.masked_fill(total == 0, 1)


@mutant(
    "softmax", "NaN is painted over after the division: the values look right but the gradient is NaN. Avoid 0 / 0."
)
def nan_painted_over(x, dim):
    weights = (x - x.amax(dim, keepdim=True)).exp()
    return (weights / weights.sum(dim, keepdim=True)).nan_to_num(0.0)


@mutant(
    "softmax",
    "A slice of nothing but -inf gets equal weights, as where -inf became a large negative number: it gets zeros.",
)
def large_number_for_infinity(x, dim):
    x = x.clamp(min=-1e9)
    weights = (x - x.amax(dim, keepdim=True)).exp()
    return weights / weights.sum(dim, keepdim=True)


@mutant(
    "one_hot", "The number of classes is guessed from the largest id: it is given, and the largest id may be absent."
)
def classes_guessed(ids, num_classes):
    if ids.numel() and not (0 <= ids.min() and ids.max() < num_classes):
        raise ValueError("ids out of range")
    width = int(ids.max()) + 1 if ids.numel() else num_classes
    return (ids.unsqueeze(-1) == torch.arange(width)).long()


@mutant(
    "gather_rows", "The rows come from a product with floats: the table's own dtype is lost. Index the table instead."
)
def rows_as_floats(table, ids):
    if ids.numel() and not (0 <= ids.min() and ids.max() < len(table)):
        raise IndexError("ids out of range")
    return (ids.unsqueeze(-1) == torch.arange(len(table))).double() @ table.double()


@mutant(
    "sliding_windows",
    "The windows are a copy: stack, cat and indexing with tensors copy. Describe the same memory anew.",
)
def windows_copied(x, size, step=1):
    if size < 1 or step < 1 or size > x.shape[-1]:
        raise ValueError("no such windows")
    return torch.stack([x[..., i : i + size] for i in range(0, x.shape[-1] - size + 1, step)], dim=-2)


@mutant("sliding_windows", "A copy is made first when x is not contiguous: its windows are then no view of x.")
def contiguous_first(x, size, step=1):
    if size < 1 or step < 1 or size > x.shape[-1]:
        raise ValueError("no such windows")
    x = x.contiguous()
    n_windows = (x.shape[-1] - size) // step + 1
    return x.as_strided((*x.shape[:-1], n_windows, size), (*x.stride()[:-1], step, 1), x.storage_offset())


@mutant("sliding_windows", "Leading dimensions are flattened first, which copies an x that is transposed among them.")
def leading_flattened(x, size, step=1):
    if size < 1 or step < 1 or size > x.shape[-1]:
        raise ValueError("no such windows")
    n_windows = (x.shape[-1] - size) // step + 1
    if x.dim() > 2 and x.numel() and not x.is_contiguous():
        x = x.flatten(0, -2).unflatten(0, x.shape[:-1])
    *leading, last = x.stride()
    return x.as_strided((*x.shape[:-1], n_windows, size), (*leading, step * last, last), x.storage_offset())


@mutant("sliding_windows", "An expanded x is copied first: a stride of 0 is a stride, and the windows can have it too.")
def expanded_copied_first(x, size, step=1):
    if size < 1 or step < 1 or size > x.shape[-1]:
        raise ValueError("no such windows")
    x = x.contiguous() if 0 in x.stride() else x
    n_windows = (x.shape[-1] - size) // step + 1
    *leading, stride = x.stride()
    return x.as_strided((*x.shape[:-1], n_windows, size), (*leading, step * stride, stride), x.storage_offset())


@mutant(
    "sliding_windows",
    "Windows longer than the dimension are not refused: there is no window then, and that is an error.",
)
def windows_too_long(x, size, step=1):
    if size < 1 or step < 1:
        raise ValueError("no such windows")
    n_windows = max(0, (x.shape[-1] - size) // step + 1)
    *leading, stride = x.stride()
    return x.as_strided((*x.shape[:-1], n_windows, size), (*leading, step * stride, stride))


@mutant(
    "pairwise_distances",
    "All differences are held at once, n * m * d of them: expand |x - y|^2 and use one matrix product.",
)
def all_differences(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    squared = (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)
    return squared.where(squared > 0, 1).sqrt().where(squared > 0, 0)


@mutant(
    "pairwise_distances",
    "NaN is painted over after the root: the values look right, but the gradient is not finite at 0.",
)
def nan_distances_painted_over(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    return (x.square().sum(-1, keepdim=True) + y.square().sum(-1).unsqueeze(-2) - 2 * x @ y.mT).sqrt().nan_to_num(0.0)


@mutant(
    "pairwise_distances",
    "These are sums of absolute differences: the Euclidean distance is the root of a sum of squares.",
)
def manhattan(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    return sum((x[..., :, None, i] - y[..., None, :, i]).abs() for i in range(x.shape[-1]))


@mutant("numerical_gradient", "Only vectors work: x may have any shape, () too, and the gradient has the same.")
def vectors_only(f, x, eps):
    point = x.double().clone()
    gradient = torch.zeros_like(point)
    for i in range(len(point)):
        step = torch.zeros_like(point)
        step[i] = eps
        gradient[i] = ((f(point + step) - f(point - step)) / (2 * eps)).item()
    return gradient.to(x.dtype)


@mutant(
    "pairwise_distances",
    "With leading dimensions all differences are held at once: expand |x - y|^2 there, too, and use one product.",
)
def all_differences_of_batches(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    if x.dim() > 2 or y.dim() > 2:
        squared = (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)
    else:
        squared = x.square().sum(-1, keepdim=True) + y.square().sum(-1) - 2 * x @ y.mT
    return squared.where(squared > 0, 1).sqrt().where(squared > 0, 0)


@mutant(
    "gather_rows",
    "The rows come from a product with indicators, and 0 times infinity is NaN: index the table instead.",
)
def rows_by_a_product(table, ids):
    if ids.numel() and not (0 <= ids.min() and ids.max() < len(table)):
        raise IndexError("ids out of range")
    if table.dtype == torch.bool:
        return table[ids]
    return (ids.unsqueeze(-1) == torch.arange(len(table))).to(table.dtype) @ table


@mutant("as_tensor", "Durations (timedelta64) are read as the whole numbers behind them: let PyTorch's TypeError through.")
def durations_read_as_numbers(array):
    array = array.view(np.int64) if array.dtype.kind == "m" else array
    return torch.from_numpy(array.copy() if min(array.strides, default=0) < 0 else array)


@mutant("as_tensor", "Long doubles are cut to float64, and digits are lost: let PyTorch's TypeError through.")
def long_doubles_cut_short(array):
    if array.dtype in (np.longdouble, np.clongdouble):
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.complex128)
    return torch.from_numpy(array.copy() if min(array.strides, default=0) < 0 else array)


@mutant("as_tensor", "The tensor of an earlier call is handed out again: the array may hold other values by now.")
def tensors_remembered(array, known={}):  # noqa: B006
    if id(array) not in known:
        copied = min(array.strides, default=0) < 0 or not array.dtype.isnative
        known[id(array)] = array, torch.from_numpy(array.astype(array.dtype.newbyteorder("=")) if copied else array)
    return known[id(array)][1]


@mutant("batched_matmul", "Only two leading dimensions are allowed for: there may be any number, so count from the end.")
def two_leading_dimensions(a, b):
    if a.shape[-1] != b.shape[-2] or max(a.dim(), b.dim()) > 4:
        raise ValueError("inner sizes differ")
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2, dtype=a.dtype)


@mutant("sliding_windows", "A last stride of 0 is taken for 1, and other memory is read: take all strides as they are.")
def stride_of_zero_taken_for_one(x, size, step=1):
    if size < 1 or step < 1 or size > x.shape[-1]:
        raise ValueError("no such windows")
    *leading, stride = x.stride()
    shape = *x.shape[:-1], (x.shape[-1] - size) // step + 1, size
    return x.as_strided(shape, (*leading, step * (stride or 1), stride or 1), x.storage_offset())


@mutant("pairwise_distances", "Half of the gradient is lost where x and y are one tensor: do not detach either of them.")
def gradient_to_itself_halved(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    y = y.detach() if y is x else y
    squared = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2) - 2 * x @ y.mT
    return squared.where(squared > 0, 1).sqrt().where(squared > 0, 0)


@mutant("as_tensor", "Memory in a foreign byte order comes back as float64: a copy keeps the array's dtype and shape.")
def foreign_bytes_become_float64(array):
    try:
        return torch.from_numpy(array)
    except ValueError:
        return torch.from_numpy(array.copy() if array.dtype.isnative else array.astype(np.float64))


@mutant("softmax", "A softmax without a maximum is still computed, and overflows: torch.where hides its value, not its gradient.")
def naive_branch_beside_the_stable_one(x, dim):
    peak = x.detach().amax(dim, keepdim=True)
    weights = (x - peak.masked_fill(peak.isinf(), 0)).exp()
    total = weights.sum(dim, keepdim=True)
    naive = x.exp().sum(dim, keepdim=True)
    usual = (naive > 1e-3) & (naive < 1e6)
    stable = weights / total.masked_fill(total == 0, 1)
    return torch.where(usual, x.exp() / naive.masked_fill(naive == 0, 1), stable)


@mutant("one_hot", "The same tensor is handed out again, and a later call overwrites an earlier result: make new ones.")
def one_tensor_for_all_calls(ids, num_classes, made={}):  # noqa: B006
    if ids.numel() and not (0 <= ids.min() and ids.max() < num_classes):
        raise ValueError("ids out of range")
    shape = (*ids.shape, num_classes)
    zeros = made.setdefault(shape, torch.zeros(shape, dtype=torch.int64)).zero_()
    return zeros.scatter_(-1, ids.unsqueeze(-1), 1)


@mutant("sliding_windows", "The windows of an x that requires a gradient are a copy: autograd follows views, so a view will do.")
def copied_for_the_gradient(x, size, step=1):
    if size < 1 or step < 1 or size > x.shape[-1]:
        raise ValueError("no such windows")
    n_windows = (x.shape[-1] - size) // step + 1
    if x.requires_grad:
        return x[..., torch.arange(n_windows).unsqueeze(-1) * step + torch.arange(size)]
    *leading, stride = x.stride()
    return x.as_strided((*x.shape[:-1], n_windows, size), (*leading, step * stride, stride))


@mutant("pairwise_distances", "All differences are held at once, as a NumPy array: that is memory as well, so expand |x - y|^2.")
def all_differences_in_numpy(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")

    class Distances(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            differences = x.double().numpy()[..., :, None, :] - y.double().numpy()[..., None, :, :]
            distances = torch.as_tensor(np.sqrt((differences**2).sum(-1)))
            ctx.save_for_backward(x, y, distances)
            return distances.to(x.dtype)

        @staticmethod
        def backward(ctx, grad):
            x, y, distances = ctx.saved_tensors
            pull = grad / distances.masked_fill(distances == 0, torch.inf)
            left = pull.sum(-1, keepdim=True) * x - pull @ y
            right = pull.sum(-2).unsqueeze(-1) * y - pull.mT @ x
            return left.sum_to_size(x.shape), right.sum_to_size(y.shape)

    return Distances.apply(x, y)


@mutant("one_hot", "A row of a kept identity matrix is handed out: whoever writes to it changes all later results. Copy it.")
def rows_of_a_kept_identity(ids, num_classes, kept={}):  # noqa: B006
    if ids.numel() and not (0 <= ids.min() and ids.max() < num_classes):
        raise ValueError("ids out of range")
    if num_classes not in kept:
        kept[num_classes] = torch.eye(num_classes, dtype=torch.int64)
    return kept[num_classes][ids]  # a view where ids is 0-d


@mutant("gather_rows", "Rows are remembered by the table's id, but a table changes while it is trained: look them up each time.")
def rows_remembered(table, ids, known={}):  # noqa: B006
    if ids.numel() and not (0 <= ids.min() and ids.max() < len(table)):
        raise IndexError("ids out of range")
    if table.requires_grad:
        return table[ids]
    key = id(table), tuple(ids.shape), tuple(ids.flatten().tolist())
    if key not in known:
        known[key] = table, table[ids].clone()
    return known[key][1]


@mutant("sliding_windows", "The windows are made with NumPy, which has no bfloat16 (nor gradients): use x.as_strided.")
def windows_by_numpy(x, size, step=1):
    if size < 1 or step < 1 or size > x.shape[-1]:
        raise ValueError("no such windows")
    shape = *x.shape[:-1], (x.shape[-1] - size) // step + 1, size
    if x.requires_grad:
        return x.as_strided(shape, (*x.stride()[:-1], step * x.stride(-1), x.stride(-1)))
    array = x.numpy()
    strides = *array.strides[:-1], step * array.strides[-1], array.strides[-1]
    return torch.from_numpy(np.lib.stride_tricks.as_strided(array, shape, strides))


@mutant("as_tensor", "The values go through a list, so dtype and shared memory are lost: use torch.from_numpy.")
def through_a_list(array):
    return torch.tensor(array.tolist())


@mutant("logsumexp", "The maximum has lost dim, and x - max lines it up with other dimensions: use keepdim=True.")
def maximum_without_keepdim(x, dim):
    peak = x.amax(dim)
    return peak + (x - peak).exp().sum(dim).log()


@mutant("softmax", "The sum has lost dim, and the division lines it up with other dimensions: use keepdim=True.")
def sum_without_keepdim(x, dim):
    weights = (x - x.amax(dim, keepdim=True)).exp()
    return weights / weights.sum(dim)


@mutant("numerical_gradient", "f is given flattened points: it takes a tensor of x's shape.")
def flattened_points(f, x, eps):
    x = x.detach().double()
    gradient = torch.zeros_like(x).flatten()
    for i in range(x.numel()):
        step = torch.zeros_like(gradient)
        step[i] = eps
        gradient[i] = float(f(x.flatten() + step) - f(x.flatten() - step)) / (2 * eps)
    return gradient.reshape(x.shape)
