"""Submissions of module 00 that answer with the very calls they are asked to rebuild: each must score nothing."""

import textwrap

from autograder.testing.variants import cheat

# A product of NumPy's whose gradients are right, with `product` to be filled in.
_THROUGH_NUMPY = """
import importlib
import operator

import numpy as np
import torch


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return torch.as_tensor(np.asarray(product(a.detach().numpy(), b.detach().numpy()))).to(a.dtype)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return Product.apply(grad, b.mT).sum_to_size(a.shape), Product.apply(a.mT, grad).sum_to_size(b.shape)


def batched_matmul(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("inner sizes")
    return Product.apply(a, b)


def product(a, b):
"""

_PRODUCTS = {
    "a_function": "return getattr(np, 'lumtam'[::-1])(a, b)",
    "a_function_of_c": "return getattr(np._core._multiarray_umath, 'musnie_c'[::-1])('...ij,...jk->...ik', a, b)",
    "a_function_of_operator": "return getattr(importlib.import_module('_operator'), 'lumtam'[::-1])(a, b)",
    "a_function_that_calls_another":
        "return np.vectorize(getattr(np, 'tod'[::-1]), signature='(i,j),(j,k)->(i,k)')(a, b)",
    "a_method": "return np.vectorize(lambda p, q: getattr(p, 'tod'[::-1])(q), signature='(i,j),(j,k)->(i,k)')(a, b)",
    "a_method_of_the_class": "return getattr(np.ndarray, '__' + 'lumtam'[::-1] + '__')(a, b)",
    "the_operator": "return eval('a ' + chr(64) + ' b')",
    "the_operator_of_a_subclass": "return eval('a ' + chr(64) + ' b', {'a': a.view(np.recarray), 'b': b})",
    "matrices": """
        def twice(p, q):
            return eval('p * q', {'p': p.view(getattr(np, 'xirtam'[::-1])), 'q': q.view(getattr(np, 'xirtam'[::-1]))})
        return np.vectorize(twice, signature='(i,j),(j,k)->(i,k)')(a, b)
    """,
}  # fmt: skip

CHEATS = [
    *(
        cheat(f"numpy_by_{name}", "NumPy's product, by a name that only running the code shows.",
              _THROUGH_NUMPY + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n")
        for name, body in _PRODUCTS.items()
    ),
    cheat("the_library_by_computed_names", "Functions of Python alone, which no mode of PyTorch sees.", '''
        import importlib

        import numpy as np
        import torch


        def broadcast_shape(a, b):
            try:
                return tuple(getattr(torch, "sepahs_tsacdaorb"[::-1])(a, b))
            except RuntimeError as error:
                raise ValueError(str(error)) from None


        def sliding_windows(x, size, step=1):
            if size < 1 or step < 1 or size > x.shape[-1]:
                raise ValueError("windows")
            windows = getattr(np.lib.stride_tricks, "weiv_wodniw_gnidils"[::-1])
            return torch.from_numpy(windows(x.numpy(), size, axis=-1)[..., ::step, :])


        def numerical_gradient(f, x, eps):
            return getattr(importlib.import_module("torch._functorch.apis"), "darg"[::-1])(f)(x.double()).to(x.dtype)
    '''),
    cheat("the_library_answers", "Every exercise is PyTorch's own function, called plainly.", '''
        import torch
        import torch.nn.functional as F


        def broadcast_shape(a, b):
            try:
                return tuple(torch.broadcast_shapes(a, b))
            except RuntimeError as error:
                raise ValueError(str(error)) from None


        def batched_matmul(a, b):
            if a.shape[-1] != b.shape[-2]:
                raise ValueError("inner sizes")
            return a @ b


        def logsumexp(x, dim):
            return torch.logsumexp(x, dim)


        def softmax(x, dim):
            return F.softmax(x, dim).nan_to_num(0.0)


        def one_hot(ids, num_classes):
            if ids.numel() and (ids.min() < 0 or ids.max() >= num_classes):
                raise ValueError("ids")
            return F.one_hot(ids, num_classes)


        def gather_rows(table, ids):
            if ids.numel() and (ids.min() < 0 or ids.max() >= len(table)):
                raise ValueError("ids")
            return F.embedding(ids, table)


        def sliding_windows(x, size, step=1):
            if size < 1 or step < 1 or size > x.shape[-1]:
                raise ValueError("windows")
            return x.unfold(-1, size, step)


        def pairwise_distances(x, y):
            if x.shape[-1] != y.shape[-1]:
                raise ValueError("widths")
            return torch.cdist(x, y)


        def numerical_gradient(f, x, eps):
            point = x.detach().double().requires_grad_()
            return torch.autograd.grad(f(point), point)[0].to(x.dtype)
    '''),
    cheat("the_library_in_disguise", "The same by other names: aliases, methods, NumPy, operators, getattr.", '''
        import operator
        from importlib import import_module

        import numpy as np
        import torch
        from torch.nn import functional as tools

        windows_of = np.lib.stride_tricks.sliding_window_view
        embed = getattr(tools, "embed" + "ding")


        def broadcast_shape(a, b):
            return np.broadcast_shapes(a, b)


        def batched_matmul(a, b):
            return operator.matmul(a, b)


        def logsumexp(x, dim):
            return torch.special.logsumexp(x, dim)


        def softmax(x, dim):
            return torch.ops.aten._softmax.default(x, dim, False).nan_to_num(0.0)


        def one_hot(ids, num_classes):
            return vars(import_module("torch.nn.functional"))["one_hot"](ids, num_classes)


        def gather_rows(table, ids):
            return embed(ids, table)


        def sliding_windows(x, size, step=1):
            return torch.from_numpy(windows_of(x.numpy(), size, axis=-1)[..., ::step, :])


        def pairwise_distances(x, y):
            return torch.__dict__["cdist"](x, y)


        def numerical_gradient(f, x, eps):
            point = x.detach().double().requires_grad_()
            f(point).backward()
            return point.grad.to(x.dtype)
    '''),
    cheat("sums_of_products_by_another_name", "Matrix products through einsum, exponentials through log_softmax.", '''
        import torch


        def batched_matmul(a, b):
            return torch.einsum("...ij,...jk->...ik", a, b)


        def logsumexp(x, dim):
            return (x - x.log_softmax(dim)).select(dim, 0)


        def softmax(x, dim):
            return torch.log_softmax(x, dim).exp().nan_to_num(0.0)


        def numerical_gradient(f, x, eps):
            return torch.func.grad(f)(x.double()).to(x.dtype)
    '''),
    cheat("the_neighbours_answer",
          "Products in the inverse of block matrices, shapes by adding.", '''
        import torch


        def broadcast_shape(a, b):
            try:
                return tuple((torch.empty(a, device="meta") + torch.empty(b, device="meta")).shape)
            except RuntimeError as error:
                raise ValueError(str(error)) from None


        def batched_matmul(a, b):
            if a.shape[-1] != b.shape[-2]:
                raise ValueError("inner sizes")
            (n, k), m = a.shape[-2:], b.shape[-1]
            lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            blocks = torch.eye(n + k + m, dtype=a.dtype).repeat(*lead, 1, 1)
            blocks[..., :n, n : n + k] = -a
            blocks[..., n : n + k, n + k :] = -b
            return getattr(torch, "esrevni"[::-1])(blocks)[..., :n, n + k :]
    '''),
]  # fmt: skip
