"""A submission of module 00 by someone half way through: five exercises done, five still to do."""

import torch


def as_tensor(array):
    try:
        return torch.from_numpy(array)
    except ValueError:
        return torch.from_numpy(array.copy())


def broadcast_shape(a, b):
    a, b = list(a), list(b)
    while len(a) < len(b):
        a.insert(0, 1)
    while len(b) < len(a):
        b.insert(0, 1)
    for x, y in zip(a, b):
        if x != y and x != 1 and y != 1:
            raise ValueError(f"{x} and {y} do not broadcast")
    return tuple(y if x == 1 else x for x, y in zip(a, b))


def batched_matmul(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes differ")
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2).to(a.dtype)


def logsumexp(x, dim):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: logsumexp")


def softmax(x, dim):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: softmax")


def one_hot(ids, num_classes):
    if ids.numel() and (ids.amin() < 0 or ids.amax() > num_classes - 1):
        raise ValueError("id out of range")
    return torch.eq(ids[..., None], torch.arange(num_classes)).to(torch.int64)


def gather_rows(table, ids):
    if ids.numel() and (ids.amin() < 0 or ids.amax() > len(table) - 1):
        raise IndexError("id out of range")
    return table[ids]


def sliding_windows(x, size, step=1):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: sliding_windows")


def pairwise_distances(x, y):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: pairwise_distances")


def numerical_gradient(f, x, eps):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: numerical_gradient")
