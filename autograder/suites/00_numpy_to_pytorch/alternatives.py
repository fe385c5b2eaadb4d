"""Unusual right solutions of module 00: each must get full marks."""

import numpy as np
import torch

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit("float64_inside", "softmax", "Everything is computed in float64 and converted back at the end.",
         ("peak = x.detach()", "dtype, x = x.dtype, x.double()\n    peak = x.detach()"),
         ("return weights / total.masked_fill(total == 0, 1)",
          "return (weights / total.masked_fill(total == 0, 1)).to(dtype)")),
    edit("gradient_through_the_maximum", "logsumexp", "The maximum stays in the graph; its two contributions cancel.",
         ("x.detach().amax", "x.amax")),
    edit("maximum_of_any_size", "softmax", "The maximum comes from max, with the index that goes with it.",
         ("x.detach().amax(dim, keepdim=True)", "x.max(dim, keepdim=True).values")),
    edit("offset_left_to_torch", "sliding_windows", "as_strided takes x's own offset where none is given.",
         ("return x.as_strided(", "return torch.as_strided(x, "), (", x.storage_offset())", ")")),
]  # fmt: skip


@alternative("as_tensor", "Looks at the strides first, copies read-only arrays and goes through DLPack.")
def strides_first(array):
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 16 or array.dtype == np.longdouble:
        raise TypeError(f"no tensor has dtype {array.dtype}")
    if not array.dtype.isnative:
        raise ValueError("foreign byte order")
    describable = all(s >= 0 and s % array.itemsize == 0 for s in array.strides)
    if not describable or not array.flags.writeable:
        array = array.copy()
    return torch.from_dlpack(array)


@alternative("as_tensor", "torch.as_tensor shares too; a copy is made only where some stride is negative.")
def by_as_tensor(array):
    return torch.as_tensor(array.copy() if any(stride < 0 for stride in array.strides) else array)


@alternative("as_tensor", "torch.asarray, which shares all but 0-d arrays; np.ascontiguousarray for negative strides.")
def by_asarray(array, /, *, copy=None):
    if any(stride < 0 for stride in array.strides):
        return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    return torch.asarray(array)


@alternative("as_tensor", "Undoes the negative strides on a view, and copies that into a flipped view of new memory.")
def flipped_twice(array):
    axes = [axis for axis, stride in enumerate(array.strides) if stride < 0]
    if not axes:
        return torch.from_numpy(array)
    copied = np.empty(array.shape, array.dtype)
    np.flip(copied, axes)[...] = np.flip(array, axes)
    return torch.from_numpy(copied)


@alternative("broadcast_shape", "Recursion on the last dimension, with sets.")
def recursive(a, b):
    if not a or not b:
        return tuple(a or b)
    sizes = {a[-1], b[-1]} - {1}
    if len(sizes) > 1:
        raise ValueError("incompatible")
    return (*recursive(a[:-1], b[:-1]), sizes.pop() if sizes else 1)


@alternative("broadcast_shape", "The result is a torch.Size, which is a tuple, and the error is found with an index.")
def as_size(a, b):
    from itertools import zip_longest

    sizes = []
    for x, y in zip_longest(reversed(a), reversed(b), fillvalue=1):
        if x == y or y == 1:
            sizes.insert(0, x)
        elif x == 1:
            sizes.insert(0, y)
        else:
            raise TypeError("incompatible")
    return torch.Size(sizes)


@alternative("batched_matmul", "A loop over the inner dimension adds outer products to zeros.")
def outer_products(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")
    total = torch.zeros_like(a[..., :, :1] * b[..., :1, :]) if a.shape[-1] else None
    if total is None:
        return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)
    for column, row in zip(a.unbind(-1), b.unbind(-2)):
        total = total + column.unsqueeze(-1) * row.unsqueeze(-2)
    return total


@alternative("batched_matmul", "Halves the inner dimension until one outer product is left.")
def divide_and_conquer(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")

    def product(left, right):
        k = left.shape[-1]
        if k == 0:
            return (left.sum(-1, keepdim=True) * right.sum(-2, keepdim=True)).to(left.dtype)
        if k == 1:
            return left * right
        half = k // 2
        return product(left[..., :half], right[..., :half, :]) + product(left[..., half:], right[..., half:, :])

    return product(a, b)


@alternative("batched_matmul", "Looks at its inputs with NumPy, which takes products of its own on the way.")
def looked_at_with_numpy(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")
    for values in (a.detach().float().numpy(), b.detach().float().numpy()):
        np.linalg.norm(values), np.isfinite(values).all(), np.arange(values.size), np.array_repr(values)
        np.polyfit(np.arange(4.0), np.arange(4.0), 1), np.linalg.matrix_rank(np.eye(2))
        np.ctypeslib.as_ctypes(np.ones(3))
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2, dtype=torch.result_type(a, b))


@alternative("batched_matmul", "Every entry on its own, stacked.")
def entry_by_entry(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")
    if 0 in a.shape or 0 in b.shape:
        lead = broadcast_shape(a.shape[:-2], b.shape[:-2])
        return a.new_zeros(*lead, a.shape[-2], b.shape[-1])
    rows = [
        torch.stack([(a[..., i, :] * b[..., :, j]).sum(-1, dtype=a.dtype) for j in range(b.shape[-1])], -1)
        for i in range(a.shape[-2])
    ]
    return torch.stack(rows, -2)


@alternative("logsumexp", "A running maximum and sum over the entries one by one, as FlashAttention keeps them.")
def online(x, dim):
    peak = torch.full_like(x.select(dim, 0), -torch.inf)
    total = torch.zeros_like(peak)
    for entry in x.unbind(dim):
        new = torch.maximum(peak, entry.detach())
        safe = new.masked_fill(new == -torch.inf, 0)
        total = total * (peak - safe).exp() + (entry - safe).exp()
        peak = new
    nothing = total == 0
    return torch.where(nothing, -torch.inf, total.masked_fill(nothing, 1).log() + peak.masked_fill(nothing, 0))


@alternative("logsumexp", "Sorted, largest first, with log1p of the rest.")
def sorted_first(x, dim):
    x = x.movedim(dim, -1).sort(-1, descending=True).values
    largest = x[..., 0]
    safe = largest.detach().masked_fill(largest == -torch.inf, 0)
    rest = (x[..., 1:] - safe.unsqueeze(-1)).exp().sum(-1)
    return largest + (rest / (largest - safe).exp().masked_fill(largest == -torch.inf, 1)).log1p()


@alternative("softmax", "In log space: exp(x - logsumexp(x)), with the module's own logsumexp.")
def in_log_space(x, dim):
    lse = logsumexp(x, dim).unsqueeze(dim)
    return torch.where(lse == -torch.inf, 0.0, x - lse.masked_fill(lse == -torch.inf, 0)).exp() * (lse != -torch.inf)


@alternative("softmax", "An autograd function with its own backward pass, and keyword arguments of its own.")
def own_backward(x, dim, *, fill=0.0):
    class Softmax(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            weights = (x - x.amax(dim, keepdim=True)).exp().nan_to_num(fill)
            weights = weights / weights.sum(dim, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
            ctx.save_for_backward(weights)
            return weights

        @staticmethod
        def backward(ctx, grad):
            (weights,) = ctx.saved_tensors
            return weights * (grad - (weights * grad).sum(dim, keepdim=True))

    return Softmax.apply(x)


@alternative("softmax", "One slice after another, put together again at the end.")
def slice_by_slice(x, dim):
    rows = x.movedim(dim, -1)
    out = [
        (row - row.max()).exp() / (row - row.max()).exp().sum() if row.max() > -torch.inf else row.exp() * 0
        for row in rows.reshape(-1, rows.shape[-1])
    ]
    return torch.stack(out).reshape(rows.shape).movedim(-1, dim) if out else x.exp()


@alternative("one_hot", "Ones are scattered into zeros; bad ids are found with any.")
def scattered(ids, num_classes):
    if ((ids < 0) | (ids >= num_classes)).any():
        raise IndexError("ids out of range")
    return torch.zeros(*ids.shape, num_classes, dtype=torch.int64).scatter_(-1, ids.unsqueeze(-1), 1)


@alternative("one_hot", "Rows of the identity matrix.")
def rows_of_identity(ids, num_classes):
    if any(not 0 <= i < num_classes for i in ids.flatten().tolist()):
        raise ValueError("ids out of range")
    return torch.eye(num_classes, dtype=torch.int64)[ids]


@alternative("gather_rows", "index_select on the flattened ids, reshaped.")
def index_selected(table, ids):
    if ((ids < 0) | (ids >= table.shape[0])).any():
        raise ValueError("ids out of range")
    return table.index_select(0, ids.reshape(-1)).reshape(*ids.shape, table.shape[1])


@alternative("gather_rows", "torch.gather with ids expanded over the columns.")
def gathered(table, ids):
    if ids.numel() and (ids.min() < 0 or ids.max() >= len(table)):
        raise IndexError("ids out of range")
    columns = ids.reshape(-1, 1).expand(-1, table.shape[1])
    return torch.gather(table, 0, columns).unflatten(0, ids.shape) if ids.dim() else table[int(ids)].clone()


@alternative("gather_rows", "Row by row in a Python loop; a single row is a view of the table.")
def row_by_row(table, ids):
    if ids.dim() == 0:
        if not 0 <= int(ids) < table.shape[0]:
            raise IndexError("id out of range")
        return table[int(ids)]
    if not len(ids):
        return table.new_zeros(*ids.shape, table.shape[1])
    return torch.stack([row_by_row(table, one) for one in ids])


@alternative("sliding_windows", "All windows one apart, then every step-th of them: a view of a view.")
def every_window_then_some(x, size, step=1):
    if not (1 <= size <= x.shape[-1] and step >= 1):
        raise ValueError("no such windows")
    n = x.shape[-1] - size + 1
    everyone = torch.as_strided(x, [*x.shape[:-1], n, size], [*x.stride(), x.stride(-1)], x.storage_offset())
    return everyone[..., ::step, :]


@alternative("pairwise_distances", "A loop over the coordinates adds squared differences of shape (n, m).")
def coordinate_by_coordinate(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    lead = broadcast_shape(x.shape[:-2], y.shape[:-2])
    squared = x.new_zeros(*lead, x.shape[-2], y.shape[-2])
    for i in range(x.shape[-1]):
        squared = squared + (x[..., i].unsqueeze(-1) - y[..., i].unsqueeze(-2)) ** 2
    return torch.where(squared == 0, 0.0, torch.where(squared == 0, 1.0, squared).sqrt())


@alternative("pairwise_distances", "One product of extended points: (-2 x, |x|^2, 1) times (y, 1, |y|^2).")
def extended_points(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    left = torch.cat([-2 * x, (x * x).sum(-1, keepdim=True), torch.ones_like(x[..., :1].sum(-1, True))], -1)
    right = torch.cat([y, torch.ones_like(y[..., :1].sum(-1, True)), (y * y).sum(-1, keepdim=True)], -1)
    squared = (left @ right.mT).clamp(min=0)
    return squared.masked_fill(squared == 0, 1).sqrt() * (squared > 0)


@alternative("pairwise_distances", "Row by row, with NumPy-like broadcasting inside each row.")
def point_by_point(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    if not x.shape[-2]:
        return (x.sum(-1).unsqueeze(-1) + y.sum(-1).unsqueeze(-2)) * 0
    rows = [(point.unsqueeze(-2) - y).square().sum(-1) for point in x.unbind(-2)]
    squared = torch.stack(rows, -2)
    near = squared <= 0
    return squared.masked_fill(near, 1).sqrt().masked_fill(near, 0)


@alternative("numerical_gradient", "A fresh point for every question, made from the rows of an identity matrix.")
def unit_vectors(f, x, eps):
    flat = x.detach().double().reshape(-1)
    slopes = [
        (f((flat + e).reshape(x.shape)) - f((flat - e).reshape(x.shape))).item() / (2 * eps)
        for e in eps * torch.eye(len(flat), dtype=torch.float64)
    ]
    return torch.tensor(slopes, dtype=torch.float64).reshape(x.shape).to(x.dtype)


@alternative("numerical_gradient", "NumPy keeps the points, and a class asks the questions.")
def with_numpy(f, x, eps):
    class Questions:
        def __init__(self, values):
            self.values = values

        def ask(self, index, change):
            values = self.values.copy()
            values[index] += change
            return float(f(torch.from_numpy(values)))

    questions = Questions(x.detach().double().numpy())
    gradient = np.zeros(x.shape)
    for index, _ in np.ndenumerate(gradient):
        gradient[index] = (questions.ask(index, eps) - questions.ask(index, -eps)) / (2 * eps)
    return torch.as_tensor(gradient).to(x.dtype)


@alternative("broadcast_shape", "Any number of shapes, popped from stacks.")
def stacks_of_sizes(*shapes):
    stacks, sizes = [list(shape) for shape in shapes], ()
    while any(stacks):
        left = {stack.pop() for stack in stacks if stack} - {1}
        if len(left) > 1:
            raise ValueError(f"{shapes} do not broadcast")
        sizes = (*left, *sizes) if left else (1, *sizes)
    return sizes


@alternative("batched_matmul", "An autograd function with its own backward pass, called as a class.")
class own_products(torch.autograd.Function):
    def __new__(cls, *factors):
        a, b = factors
        if a.size(-1) != b.size(-2):
            raise ValueError("inner sizes differ")
        return cls.apply(a, b)

    @staticmethod
    def product(a, b):
        return (a[..., None, :] * b.transpose(-1, -2)[..., None, :, :]).sum(-1, dtype=a.dtype)

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return own_products.product(a, b)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        left, right = own_products.product(grad, b.mH), own_products.product(a.mH, grad)
        return left.sum_to_size(a.shape), right.sum_to_size(b.shape)


@alternative("batched_matmul", "A dot product of two vectors, mapped over columns, rows and batches.")
def mapped(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")
    lead = broadcast_shape(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    if 0 in (*lead, a.shape[-2], b.shape[-1]):
        return a.new_zeros(*lead, a.shape[-2], b.shape[-1])
    product = torch.vmap(torch.vmap(lambda row, column: (row * column).sum(dtype=row.dtype), (None, 1)), (0, None))
    for _ in lead:
        product = torch.vmap(product)
    return product(a.expand(*lead, *a.shape[-2:]), b.expand(*lead, *b.shape[-2:]))


@alternative("logsumexp", "A tournament: entries meet in pairs, max + log1p(exp(min - max)), until one is left.")
def tournament(x, dim):
    x = x.movedim(dim, 0)
    while len(x) > 1:
        x = torch.cat([x, torch.full_like(x[:1], -torch.inf)]) if len(x) % 2 else x
        high, low = torch.maximum(x[::2], x[1::2]), torch.minimum(x[::2], x[1::2])
        alone = low == -torch.inf
        gap = low.masked_fill(alone, 0) - high.masked_fill(alone, 0)
        x = torch.where(alone, high, high.masked_fill(alone, 0) + gap.exp().log1p())
    return x.squeeze(0)


@alternative("logsumexp", "Slice by slice, of the finite entries alone; where there are none the result is a constant.")
def of_the_finite_entries(x, dim):
    rows, found = x.movedim(dim, -1), []
    for row in rows.reshape(-1, rows.shape[-1]):
        kept = row[row > -torch.inf]
        found.append(kept.max() + (kept - kept.max()).exp().sum().log() if len(kept) else row.new_tensor(-torch.inf))
    return torch.stack(found).reshape(rows.shape[:-1]) if found else x.sum(dim)


@alternative("softmax", "Each weight from differences alone: 1 / sum over j of exp(x_j - x_i).")
def from_differences(x, dim):
    x = x.movedim(dim, -1)
    nothing = x == -torch.inf
    peak = x.detach().amax(-1, keepdim=True)
    shown = torch.where(nothing, peak.masked_fill(peak == -torch.inf, 0), x)
    total = (shown.unsqueeze(-2) - shown.unsqueeze(-1)).masked_fill(nothing.unsqueeze(-2), -torch.inf).exp().sum(-1)
    no_weight = nothing | total.isinf()
    return (1 / total.masked_fill(no_weight, 1)).masked_fill(no_weight, 0).movedim(-1, dim)


@alternative("softmax", "In powers of two, divided by their norm.")
def powers_of_two(x, dim):
    peak = x.detach().max(dim, keepdim=True).values
    weights = ((x - torch.where(peak == -torch.inf, 0, peak)) / np.log(2)).exp2()
    return torch.nn.functional.normalize(weights, p=1, dim=dim, eps=0.25)


@alternative("gather_rows", "Columns of the transposed table, moved to the end.")
def columns_of_the_transpose(*args):
    table, ids = args
    if any(i not in range(len(table)) for i in ids.flatten().tolist()):
        raise ValueError("ids out of range")
    return table.mT[..., ids].movedim(0, -1)


@alternative("pairwise_distances", "The hypotenuse of what was summed so far and the next coordinate.")
def hypotenuses(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    lead = broadcast_shape(tuple(x.shape[:-2]), tuple(y.shape[:-2]))
    total = x.new_zeros(*lead, x.shape[-2], y.shape[-2])
    for p, q in zip(x.unbind(-1), y.unbind(-1)):
        step = p.unsqueeze(-1) - q.unsqueeze(-2)
        still = (total == 0) & (step == 0)
        total = total.masked_fill(still, 1).hypot(step).masked_fill(still, 0)
    return total


@alternative("pairwise_distances", "An autograd function whose backward pass is a matrix product as well.")
def own_gradient(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")

    class Distances(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            squared = x.pow(2).sum(-1)[..., None] + y.pow(2).sum(-1)[..., None, :] - 2 * x @ y.mT
            distances = squared.clamp(min=0).sqrt()
            ctx.save_for_backward(x, y, distances)
            return distances

        @staticmethod
        def backward(ctx, grad):
            x, y, distances = ctx.saved_tensors
            pull = grad * distances.masked_fill(distances == 0, torch.inf).reciprocal()
            left = pull.sum(-1, keepdim=True) * x - pull @ y
            right = pull.sum(-2).unsqueeze(-1) * y - pull.mT @ x
            return left.sum_to_size(x.shape), right.sum_to_size(y.shape)

    return Distances.apply(x, y)


@alternative("numerical_gradient", "float64 is PyTorch's default for the time of the call, and put back after it.")
def another_default_for_a_while(f, x, eps):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        point, slopes = torch.empty(x.shape).copy_(x.detach()), torch.empty(x.shape)
        for index in np.ndindex(*x.shape):
            step = torch.zeros(x.shape)
            step[index] = eps
            slopes[index] = (f(point + step).item() - f(point - step).item()) / (eps + eps)
    finally:
        torch.set_default_dtype(before)
    return slopes.to(x.dtype)


@alternative("numerical_gradient", "Steps go up, down and back up on a flat view, without any gradient mode.")
@torch.inference_mode()
def up_down_and_back(f, x, eps):
    point = x.to(torch.float64).clone(memory_format=torch.contiguous_format)
    flat, slopes = point.view(-1), []
    for i in range(flat.numel()):
        flat[i] += eps
        above = f(point).item()
        flat[i] -= 2 * eps
        below = f(point).item()
        flat[i] += eps
        slopes.append((above - below) / (2 * eps))
    return torch.tensor(slopes, dtype=torch.float64).view(x.shape).to(x.dtype)


@alternative("logsumexp", "Entry after entry by softplus, log(e^a + e^b) = max + softplus(min - max), with -inf left out.")
def by_softplus(x, dim):
    first, *others = x.unbind(dim)
    for entry in others:
        high, low = torch.maximum(first, entry), torch.minimum(first, entry)
        alone = low == -torch.inf
        gap = low.masked_fill(alone, 0) - high.masked_fill(alone, 0)
        both = high.masked_fill(alone, 0) + torch.nn.functional.softplus(gap)
        first = torch.where(alone, high, both)
    return first


@alternative("softmax", "Sorted first, so that the largest entry leads each slice, and scattered back to its places.")
def sorted_and_scattered(x, dim):
    entries, places = x.sort(dim, descending=True)
    largest = entries.narrow(dim, 0, 1).detach()
    weights = (entries - largest.nan_to_num(neginf=0.0)).exp()
    total = weights.sum(dim, keepdim=True)
    return torch.zeros_like(weights).scatter(dim, places, weights / (total + (total == 0)))


@alternative("one_hot", "Counted with bincount in one long row.")
def counted(ids, num_classes):
    flat = ids.flatten()
    if flat.numel() and (flat.amin() < 0 or flat.amax() > num_classes - 1):
        raise IndexError("ids out of range")
    places = torch.arange(flat.numel()) * num_classes + flat
    return torch.bincount(places, minlength=flat.numel() * num_classes).reshape(*ids.shape, num_classes)


@alternative("gather_rows", "Row after row of the table is put where its number stands, with torch.where.")
def row_by_row_of_the_table(table, ids):
    if ids.numel() and not bool(((ids >= 0) & (ids < len(table))).all()):
        raise ValueError("ids out of range")
    rows = table.new_zeros(*ids.shape, table.shape[1])
    for number, row in enumerate(table):
        rows = torch.where((ids == number).unsqueeze(-1), row, rows)
    return rows


@alternative("pairwise_distances", "Centred first, which costs nothing; the roots of positive squares are scattered into zeros.")
def centred_and_scattered(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError("widths differ")
    if x.numel() and y.numel():
        centre = y.detach().mean(-2, keepdim=True)
        x, y = x - centre, y - centre
    squared = (x**2).sum(-1, keepdim=True) + (y**2).sum(-1, keepdim=True).mT - 2 * torch.einsum("...nd,...md->...nm", x, y)
    return torch.zeros_like(squared).masked_scatter(squared > 0, squared[squared > 0].sqrt())
