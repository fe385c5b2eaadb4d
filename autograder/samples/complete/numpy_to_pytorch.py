"""A complete submission of module 00, written as a student might: every exercise right, none as the course has it."""

import numpy as np
import torch


def as_tensor(array):
    if any(stride < 0 for stride in array.strides):
        array = np.array(array, order="C")
    return torch.from_numpy(array)


def broadcast_shape(a, b):
    result = []
    for i in range(1, max(len(a), len(b)) + 1):
        size_a = a[-i] if i <= len(a) else 1
        size_b = b[-i] if i <= len(b) else 1
        if size_a == 1:
            result.append(size_b)
        elif size_b in (1, size_a):
            result.append(size_a)
        else:
            raise ValueError(f"cannot broadcast {tuple(a)} and {tuple(b)}")
    return tuple(reversed(result))


def batched_matmul(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"cannot multiply {tuple(a.shape)} by {tuple(b.shape)}")
    return (a[..., :, :, None] * b[..., None, :, :]).sum(dim=-2, dtype=a.dtype)


def shifted_exp(x, dim):
    """exp(x - max), the max, and the sum of the former; a slice of -inf alone keeps its -inf out of the difference."""
    largest = x.detach().max(dim=dim, keepdim=True).values
    largest = torch.where(largest.isinf(), torch.zeros_like(largest), largest)
    e = torch.exp(x - largest)
    return e, largest, e.sum(dim=dim, keepdim=True)


def logsumexp(x, dim):
    _, largest, total = shifted_exp(x, dim)
    empty = total == 0
    result = torch.log(torch.where(empty, torch.ones_like(total), total)) + largest
    return torch.where(empty, torch.full_like(total, -torch.inf), result).squeeze(dim)


def softmax(x, dim):
    e, _, total = shifted_exp(x, dim)
    return e / torch.where(total == 0, torch.ones_like(total), total)


def one_hot(ids, num_classes):
    if ids.numel() > 0 and (ids.min() < 0 or ids.max() >= num_classes):
        raise ValueError(f"ids outside 0 .. {num_classes - 1}")
    result = torch.zeros(*ids.shape, num_classes, dtype=torch.int64, device=ids.device)
    return result.scatter_(-1, ids.long()[..., None], 1)


def gather_rows(table, ids):
    if ids.numel() > 0 and (ids.min() < 0 or ids.max() >= table.shape[0]):
        raise IndexError(f"ids outside 0 .. {table.shape[0] - 1}")
    return table.index_select(0, ids.flatten()).view(*ids.shape, table.shape[1])


def sliding_windows(x, size, step=1):
    n = x.shape[-1]
    if size < 1 or step < 1 or size > n:
        raise ValueError(f"windows of {size}, {step} apart, do not fit into {n}")
    strides = x.stride()
    return torch.as_strided(
        x,
        x.shape[:-1] + (1 + (n - size) // step, size),
        strides[:-1] + (strides[-1] * step, strides[-1]),
        x.storage_offset(),
    )


def pairwise_distances(x, y):
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"rows of {x.shape[-1]} and of {y.shape[-1]} numbers")
    square = (x**2).sum(-1, keepdim=True) - 2 * (x @ y.mT) + (y**2).sum(-1, keepdim=True).mT
    positive = square > 0
    root = torch.sqrt(torch.where(positive, square, torch.ones_like(square)))
    return torch.where(positive, root, torch.zeros_like(root))


def numerical_gradient(f, x, eps):
    flat = x.detach().to(torch.float64).flatten()
    slopes = []
    for i in range(flat.numel()):
        step = torch.zeros_like(flat)
        step[i] = eps
        up = f((flat + step).view(x.shape)).item()
        down = f((flat - step).view(x.shape)).item()
        slopes.append((up - down) / (2 * eps))
    return torch.tensor(slopes, dtype=torch.float64).view(x.shape).to(x.dtype)
