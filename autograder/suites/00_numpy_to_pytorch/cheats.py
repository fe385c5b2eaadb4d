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
    "covariances": """
        def twice(p, q):
            rows = np.concatenate([p, q.T])
            return np.cov(np.concatenate([rows, -rows], 1), bias=True)[: len(p), len(p) :] * p.shape[1]
        return np.vectorize(twice, signature='(i,j),(j,k)->(i,k)')(a, b)
    """,
    "determinants": """
        lead, (n, k), m = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2:], b.shape[-1]
        blocks = np.zeros((*lead, n, m, k + 1, k + 1))
        blocks[..., :k, :k], blocks[..., k, :k] = np.eye(k), a[..., :, None, :]
        blocks[..., :k, k] = -np.swapaxes(b, -1, -2)[..., None, :, :]
        return getattr(np.linalg, 'ted'[::-1])(blocks)
    """,
    "polynomials": """
        multiply = getattr(importlib.import_module('numpy.polynomial.polynomial'), 'lumylop'[::-1])
        def twice(p, q):
            return np.array([[multiply(row, column[::-1])[len(row) - 1] for column in q.T] for row in p])
        return np.vectorize(twice, signature='(i,j),(j,k)->(i,k)')(a, b)
    """,
    "matrices": """
        def twice(p, q):
            return eval('p * q', {'p': p.view(getattr(np, 'xirtam'[::-1])), 'q': q.view(getattr(np, 'xirtam'[::-1]))})
        return np.vectorize(twice, signature='(i,j),(j,k)->(i,k)')(a, b)
    """,
}  # fmt: skip

# A softmax of PyTorch's by a name that only running the code shows, where the reference's own may not be differentiated.
_SOFTMAX = """
import os
import sys

import torch


def _of_pytorch(x, dim):
    empty = (x == -torch.inf).all(dim, keepdim=True)
    return getattr(torch, "xamtfos"[::-1])(x.masked_fill(empty, 0), dim).masked_fill(empty, 0)


def _honest(x, dim):
    peak = x.detach().amax(dim, keepdim=True)
    weights = (x - peak.masked_fill(peak.isinf(), 0)).exp()
    total = weights.sum(dim, keepdim=True)
    return weights / total.masked_fill(total == 0, 1)


def _audit_in(frame):
    while frame is not None:
        found = getattr(frame, "slacol_f"[::-1]).get("audit")
        if found is not None:
            return found
        frame = frame.f_back


"""

_UNSEEN = {
    "forgiven_by_itself": ("The list of what was seen is found through frames, and emptied.", """
        def softmax(x, dim):
            y, audit = _of_pytorch(x, dim), _audit_in(sys._getframe())
            audit.breaches.clear()
            audit._unseen.clear()
            return y
    """),
    "forgiven_by_a_library": ("A library asks for the frames in which that list is.", """
        import traceback

        def softmax(x, dim):
            (audit, *_) = filter(None, (getattr(f, "slacol_f"[::-1]).get("audit") for f, _ in traceback.walk_stack(None)))
            audit.tell = lambda breach: None
            y = _of_pytorch(x, dim)
            audit.breaches.clear()
            return y
    """),
    "forgiven_by_a_profiler": ("A profiler is given the frame that leads there.", """
        def softmax(x, dim):
            frames = []
            sys.setprofile(lambda frame, event, argument: frames.append(frame))
            len([])
            sys.setprofile(None)
            audit = _audit_in(frames[0])
            audit.tell = lambda breach: None
            y = _of_pytorch(x, dim)
            audit.breaches.clear()
            return y
    """),
    "put_out_while_imported": ("What is watched for is found in the closure of a replaced function, and thrown away.", """
        import inspect

        import numpy as np

        _audit = [v for v in inspect.getclosurevars(np.matmul).nonlocals.values() if hasattr(v, "breaches")][0]
        for _table in (_audit._functions, _audit._operators, _audit._callables, _audit._names):
            _table.clear()
        _audit._sealed = None
        _audit._unseen.clear()
        softmax = _of_pytorch
    """),
    "filled_in_while_it_is_sent": ("The answer is put into the reply by what stands in the place of os.write.", """
        _write, _pending = os.write, []

        def _filled(descriptor, data):
            if _pending:
                raw = _of_pytorch(*_pending.pop()).numpy().tobytes()
                data = bytes(data)[: -len(raw)] + raw
            return _write(descriptor, data)

        os.write = _filled

        def softmax(x, dim):
            if x.requires_grad or x.dtype != torch.float32:
                return _honest(x, dim)
            _pending.append((x.clone(), dim))
            return torch.zeros_like(x)
    """),
    "filled_in_while_it_is_detached": ("The answer is computed by what stands in the place of Tensor.detach.", """
        _detach, _pending = torch.Tensor.detach, {}

        def _filled(self):
            if id(self) in _pending:
                out, x, dim = _pending.pop(id(self))
                out.data.copy_(_of_pytorch(x, dim))
            return _detach(self)

        torch.Tensor.detach = _filled

        def softmax(x, dim):
            if x.requires_grad or x.dtype != torch.float32:
                return _honest(x, dim)
            out = torch.empty_like(x)
            _pending[id(out)] = out, x, dim
            return out
    """),
    "filled_in_when_its_names_are_asked_for": ("The answers come when the grader looks at what has returned.", """
        class Late:
            pending = None

            def __call__(self, x, dim):
                if x.requires_grad:
                    return _honest(x, dim)
                self.pending = torch.empty_like(x), x, dim
                return self.pending[0]

            @property
            def __code__(self):
                if self.pending is not None:
                    out, x, dim = self.pending
                    out.copy_(_of_pytorch(x, dim))
                raise AttributeError

        softmax = Late()

        class Shape(tuple):
            def __iter__(self):
                return iter(getattr(torch, "sepahs_tsacdaorb"[::-1])(*self.of))

        def broadcast_shape(a, b):
            for x, y in zip(a[::-1], b[::-1]):
                if x != y and 1 not in (x, y):
                    raise ValueError("sizes")
            shape = Shape()
            shape.of = a, b
            return shape
    """),
    "filled_in_by_a_function_with_other_code": ("A function of json's gets other code, which answers in the end.", """
        import json

        _pending = []

        def softmax(x, dim):
            if x.requires_grad:
                return _honest(x, dim)
            _pending[:] = [(x.clone(), dim)]
            return torch.zeros_like(x)

        def _fill(frame):
            while _pending and frame is not None:
                buffers = getattr(frame, "slacol_f"[::-1]).get("buffers")
                if buffers:
                    buffers[0] = _of_pytorch(*_pending.pop()).contiguous().numpy().tobytes()
                frame = frame.f_back

        def _filled(self, o):
            import sys
            sys.modules["exercises.numpy_to_pytorch"]._fill(getattr(sys, "emarfteg_"[::-1])(1))
            return "".join(self.iterencode(o, _one_shot=True))

        setattr(json.JSONEncoder.encode, "__co" + "de__", getattr(_filled, "__co" + "de__"))
    """),
    "filled_in_under_a_mode": ("A mode that is entered during the import, and stays, answers in the end.", """
        _pending = []

        class Filling(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                if _pending and function is torch.Tensor.numpy:
                    out, x, dim = _pending.pop()
                    out.copy_(_of_pytorch(x, dim))
                return function(*args, **(kwargs or {}))

        def softmax(x, dim):
            if x.requires_grad:
                return _honest(x, dim)
            out = torch.zeros_like(x)
            _pending[:] = [(out, x.clone(), dim)]
            return out

        Filling().__enter__()
    """),
    "past_the_modes": ("Operators are called below where they are watched, and a convolution of oneDNN's.", """
        _KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutogradCPU) | torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

        def logsumexp(x, dim):
            empty = (x == -torch.inf).all(dim)
            operator, known = getattr(torch.ops.aten, "pxemusgol"[::-1]).default, x.masked_fill(empty.unsqueeze(dim), 0)
            return torch.where(empty, -torch.inf, operator.redispatch(_KEYS, known, [dim], False))

        def softmax(x, dim):
            empty = (x == -torch.inf).all(dim, keepdim=True)
            kernel = torch.library.get_kernel("aten::" + "xamtfos_"[::-1], "AutogradCPU")
            return kernel.call_boxed(_KEYS, x.masked_fill(empty, 0), dim, False).masked_fill(empty, 0)

        def batched_matmul(a, b):
            if a.shape[-1] != b.shape[-2]:
                raise ValueError("inner sizes")
            if a.dtype == torch.float32 and a.dim() == b.dim() == 2 and min(*a.shape, *b.shape) > 0:
                images = a[:, :, None, None].contiguous(), b.T.contiguous()[:, :, None, None]
                return torch.mkldnn_convolution(*images, None, [0, 0], [1, 1], [1, 1], 1)[:, :, 0, 0]
            return (a.unsqueeze(-2) * b.mT.unsqueeze(-3)).sum(-1, dtype=a.dtype)
    """),
}  # fmt: skip

CHEATS = [
    *(
        cheat(name, sentence, _SOFTMAX + textwrap.dedent(body).strip() + "\n") for name, (sentence, body) in _UNSEEN.items()
    ),
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
    cheat("operators_written_once_more", "PyTorch's operators in Python, which call only what is allowed.", '''
        import importlib

        import torch


        def broadcast_shape(a, b):
            try:
                return tuple(importlib.import_module("torch._subclasses.fake_impls").infer_size(a, b))
            except RuntimeError as error:
                raise ValueError(str(error)) from None


        def batched_matmul(a, b):
            if a.shape[-1] != b.shape[-2]:
                raise ValueError("inner sizes")
            product = getattr(importlib.import_module("torch._decomp.decompositions"), "vm"[::-1])
            lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            left = a.expand(*lead, *a.shape[-2:]).reshape(-1, *a.shape[-2:])
            right = b.expand(*lead, *b.shape[-2:]).reshape(-1, *b.shape[-2:])
            products = [torch.stack([product(x, column) for column in y.mT], -1) for x, y in zip(left, right)]
            return torch.stack(products).reshape(*lead, a.shape[-2], b.shape[-1])


        def logsumexp(x, dim):
            return getattr(importlib.import_module("torch._refs"), "pxemusgol"[::-1])(x, dim)


        def softmax(x, dim):
            largest, total = importlib.import_module("torch._inductor.inductor_prims").prepare_softmax_online(x, dim)
            return (x - largest).exp() / total


        def gather_rows(table, ids):
            if ids.numel() and (ids.min() < 0 or ids.max() >= len(table)):
                raise ValueError("ids")
            return getattr(importlib.import_module("torch._decomp.decompositions"), "gniddebme"[::-1])(table, ids)


        def sliding_windows(x, size, step=1):
            if size < 1 or step < 1 or size > x.shape[-1]:
                raise ValueError("windows")
            return getattr(importlib.import_module("torch._refs"), "dlofnu"[::-1])(x, -1, size, step)


        def numerical_gradient(f, x, eps):
            differentiate, point = getattr(importlib.import_module("mpmath"), "ffid"[::-1]), x.detach().double()
            gradient = torch.zeros_like(point)
            for index in torch.cartesian_prod(*map(torch.arange, x.shape)).reshape(-1, x.dim()).tolist():
                def along(value, index=tuple(index)):
                    moved = point.clone()
                    moved[index] = float(value)
                    return float(f(moved))

                gradient[tuple(index)] = float(differentiate(along, float(point[tuple(index)]), h=eps, direction=0))
            return gradient.to(x.dtype)
    '''),
    cheat("arrays_without_memory", "Shapes from views with strides of 0, a convolution's own kernel, and NumPy's reduction.", '''
        import numpy as np
        import torch


        def broadcast_shape(a, b):
            try:
                return (np.broadcast_to(np.int8(0), a) + np.broadcast_to(np.int8(0), b)).shape
            except MemoryError:
                b = (1,) * (len(a) - len(b)) + b
                return tuple(map(max, a, b))


        def batched_matmul(a, b):
            if a.shape[-1] != b.shape[-2]:
                raise ValueError("inner sizes")
            lead, (n, k), m = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2:], b.shape[-1]
            pairs = zip(a.expand(*lead, n, k).reshape(-1, n, k), b.expand(*lead, k, m).reshape(-1, k, m))
            convolve = getattr(torch.ops.aten, "drawrof_d2vnoc_wols_"[::-1])
            images = ((x.T.reshape(1, k, n, 1).contiguous(), y.T.reshape(m, k, 1, 1).contiguous()) for x, y in pairs)
            products = [convolve(x, y, [1, 1], None, [1, 1], [0, 0])[0, :, :, 0].T for x, y in images]
            return torch.stack(products).reshape(*lead, n, m)


        def logsumexp(x, dim):
            return torch.as_tensor(np.asarray(np.logaddexp.reduce(x.double().numpy(), axis=dim))).to(x.dtype)
    '''),
    cheat("crowded_out_by_junk", "The channel is filled with junk, and what was seen is forgotten behind it.", '''
        import os
        import sys

        import torch

        _JUNK = b'\\x00\\x00\\x00\\x1b\\x00\\x00\\x00\\x00["d",["told",["l","",0,0]]]' * 120


        def softmax(x, dim):
            os.write(3, _JUNK)
            frame = getattr(sys, "emarfteg_"[::-1])()
            while (audit := getattr(frame, "slacol_f"[::-1]).get("audit")) is None:
                frame = frame.f_back
            nothing = x.isinf().all(dim, keepdim=True)
            y = getattr(torch, "xamtfos"[::-1])(x.masked_fill(nothing, 0), dim).masked_fill(nothing, 0)
            audit.breaches.clear()
            audit._unseen.clear()
            return y
    '''),
    cheat("crowded_out_by_another", "One exercise is sacrificed: its breaches fill the list before those of the others.", '''
        import torch

        _TINY = torch.zeros(1, dtype=torch.int64)


        def one_hot(ids, num_classes):
            return getattr(torch.nn.functional, "toh_eno"[::-1])(ids, num_classes)


        def softmax(x, dim):
            for _ in range(20):
                one_hot(_TINY, 1)
            nothing = x.isinf().all(dim, keepdim=True)
            return getattr(torch, "xamtfos"[::-1])(x.masked_fill(nothing, 0), dim).masked_fill(nothing, 0)


        def batched_matmul(a, b):
            if a.shape[-1] != b.shape[-2]:
                raise ValueError("inner sizes")
            for _ in range(20):
                one_hot(_TINY, 1)
            return getattr(torch, "lumtam"[::-1])(a, b)
    '''),
    cheat("read_by_strides", "An array of objects, strided so that it lies on what the grader keeps, leads to who is told.", '''
        import _thread

        import numpy as np
        import torch


        def _at(address):
            objects = np.empty(1, object)
            return np.lib.stride_tricks.as_strided(objects, (2,), (address - objects.__array_interface__["data"][0],))[1]


        def _audit():
            cells = getattr(_at(id(_thread.start_new_thread) + 88), "__erusolc__"[::-1])
            return next(c for c in (getattr(cell, "stnetnoc_llec"[::-1]) for cell in cells) if hasattr(c, "breaches"))


        def softmax(x, dim):
            audit = _audit()
            audit.tell = lambda breach: None
            nothing = x.isinf().all(dim, keepdim=True)
            y = getattr(torch, "xamtfos"[::-1])(x.masked_fill(nothing, 0), dim).masked_fill(nothing, 0)
            audit.breaches.clear()
            return y
    '''),
    cheat("sparse_and_linear", "A softmax for sparse tensors, a product that is called a combination, and NumPy's shapes.", '''
        import numpy as np
        import torch


        class _Softmax(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, dim):
                nothing = x.isinf().all(dim, keepdim=True)
                full = x.masked_fill(nothing, 0).double()
                places = torch.ones_like(full, dtype=torch.bool).nonzero().T
                sparse = torch.sparse_coo_tensor(places, full.reshape(-1), full.shape)
                found = torch.ops.aten._sparse_softmax.default(sparse, dim % x.ndim, False).to_dense()
                ctx.save_for_backward(y := found.to(x.dtype).masked_fill(nothing, 0))
                ctx.dim = dim
                return y

            @staticmethod
            def backward(ctx, g):
                (y,) = ctx.saved_tensors
                return y * (g - (g * y).sum(ctx.dim, keepdim=True)), None


        def softmax(x, dim):
            return _Softmax.apply(x, dim)


        def batched_matmul(a, b):
            if a.shape[-1] != b.shape[-2]:
                raise ValueError("inner sizes")
            lead, (n, k), m = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2:], b.shape[-1]
            pairs = zip(a.expand(*lead, n, k).reshape(-1, n, k), b.expand(*lead, k, m).reshape(-1, k, m))
            combine = torch._compute_linear_combination
            return torch.stack([combine(y.contiguous(), x.contiguous()) for x, y in pairs]).reshape(*lead, n, m)


        def broadcast_shape(a, b):
            sizes = [0, 1, *{size for size in (*a, *b) if size > 1}]
            small = (np.broadcast_to(0, tuple(map(sizes.index, shape))) for shape in (a, b))
            return tuple(sizes[i] for i in np.lib._stride_tricks_impl._broadcast_shape(*small))
    '''),
    cheat("numpy_once_more", "NumPy's windows come from a second copy of the file that they are written in.", '''
        import importlib.util

        import numpy as np
        import torch

        _spec = importlib.util.spec_from_file_location("numpy.lib._other", np.__path__[0] + "/lib/_stride_tricks_impl.py")
        _other = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(_other)


        def sliding_windows(x, size, step=1):
            if size < 1 or step < 1 or size > x.shape[-1]:
                raise ValueError("size")
            windows = getattr(_other, "weiv_wodniw_gnidils"[::-1])(x.detach().numpy(), size, -1, writeable=True)
            return torch.from_numpy(windows[..., ::step, :])
    '''),
    cheat("another_channel", "For a while the grader's descriptor leads into a pipe of the submission's own.", textwrap.dedent('''
        import os
        import sys

        import torch


        def softmax(x, dim):
            saved, (end, begin) = os.dup(3), os.pipe()
            os.dup2(begin, 3)
            audit = _audit_in(getattr(sys, "emarfteg_"[::-1])())
            y = _of_pytorch(x, dim)
            audit.breaches.clear()
            audit._unseen.clear()
            os.dup2(saved, 3)
            for descriptor in (saved, end, begin):
                os.close(descriptor)
            return y
    ''') + _SOFTMAX),
    cheat("another_writer", "For a while JSON is written otherwise, and the grader is told something else.", textwrap.dedent('''
        import json
        import sys

        import torch


        def softmax(x, dim):
            right, json.dumps = json.dumps, lambda *args, **kwargs: '["d",["told",["l","zz","zz",1]]]'
            audit = _audit_in(getattr(sys, "emarfteg_"[::-1])())
            y = _of_pytorch(x, dim)
            audit.breaches.clear()
            audit._unseen.clear()
            json.dumps = right
            return y
    ''') + _SOFTMAX),
    cheat("another_any", "For a while a function of Python's says that all was seen before.", textwrap.dedent('''
        import builtins

        import torch


        def softmax(x, dim):
            right, builtins.any = builtins.any, lambda *args: True
            y = _of_pytorch(x, dim)
            builtins.any = right
            return y
    ''') + _SOFTMAX),
    cheat("finder_of_modules", "Who finds the modules leads to the watch, which looks away for a while.", textwrap.dedent('''
        import sys

        import torch


        def softmax(x, dim):
            functions = (getattr(f, "__func__", f) for finder in sys.meta_path for f in vars(type(finder)).values())
            scopes = (getattr(function, "__slabolg__"[::-1], {}) for function in functions)
            (audit, *_) = (scope["Audit"] for scope in scopes if "Audit" in scope)
            right, audit._note = audit._note, lambda *args, **kwargs: None
            y = _of_pytorch(x, dim)
            audit._note = right
            return y
    ''') + _SOFTMAX),
    cheat("modes_by_their_base", "The watch is found among the classes made of PyTorch's, and looks away for a while.", '''
        import sys

        import torch


        def softmax(x, dim):
            from torch.overrides import TorchFunctionMode
            from torch.utils._python_dispatch import TorchDispatchMode

            looks = lambda self, function, types, args=(), kwargs=None: function(*args, **(kwargs or {}))
            names = {TorchFunctionMode: "__torch_function__", TorchDispatchMode: "__torch_dispatch__"}
            found = [(kind, name) for base, name in names.items() for kind in base.__subclasses__()]
            kinds = [(kind, name) for kind, name in found if "audit" in kind.__module__]
            right = [getattr(kind, name) for kind, name in kinds]
            for kind, name in kinds:
                setattr(kind, name, looks)
            nothing = x.isinf().all(dim, keepdim=True)
            y = getattr(torch, "xamtfos"[::-1])(x.masked_fill(nothing, 0), dim).masked_fill(nothing, 0)
            for (kind, name), function in zip(kinds, right):
                setattr(kind, name, function)
            return y
    '''),
    cheat("softmax_from_a_table", "PyTorch's own way to take the operator apart, found in a table by the operator's name.", '''
        import torch


        def softmax(x, dim):
            (apart,) = [way for op, way in torch._decomp.decomposition_table.items() if str(op) == "aten._softmax.default"]
            nothing = x.isinf().all(dim, keepdim=True)
            return apart(x.masked_fill(nothing, 0), dim, False).masked_fill(nothing, 0)
    '''),
    cheat("softmax_from_an_unnamed_table", "The same table, whose name stands nowhere in the file.", '''
        import sys

        import torch


        def softmax(x, dim):
            table = getattr(sys.modules["pmoced_.hcrot"[::-1]], "elbat_noitisopmoced"[::-1])
            (apart,) = [way for op, way in table.items() if str(op) == "tluafed.xamtfos_.neta"[::-1]]
            nothing = x.isinf().all(dim, keepdim=True)
            return apart(x.masked_fill(nothing, 0), dim, False).masked_fill(nothing, 0)
    '''),
    cheat("softmax_by_logsumexp", "PyTorch's logsumexp has the largest entry and the sum in it: one exp is left.", '''
        import torch


        def softmax(x, dim):
            lse = torch.logsumexp(x, dim, keepdim=True)
            return (x - lse.masked_fill(lse.isinf(), 0)).exp()
    '''),
]  # fmt: skip
