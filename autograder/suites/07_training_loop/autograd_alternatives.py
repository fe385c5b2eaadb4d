"""Right versions of autograd.py that were written another way; `alternatives.py` takes them over."""

from functools import partial

import numpy as np

from autograder.testing.variants import alternative, edit

FILE = "autograd.py"
UNBROADCAST, ORDER, ARRAY, CHECK = "unbroadcast", "topological_order", "Array", "gradcheck"

other = partial(edit, file=FILE)

ALTERNATIVES = [
    other(
        "index_arithmetic_instead_of_add_at",
        ARRAY,
        "Gradients of parts go back through flat places and np.bincount, those of transpositions by a permutation written out.",
        (
            "            whole = np.zeros_like(self.data, dtype=g.dtype)\n"
            "            np.add.at(whole, index, g)  # whole[index] += g would keep only one of several\n"
            "            return whole\n",
            "            places = np.arange(self.data.size).reshape(self.data.shape)[index]\n"
            "            whole = np.bincount(np.ravel(places), np.ravel(g), self.data.size)\n"
            "            return whole.reshape(self.data.shape).astype(g.dtype)\n",
        ),
        (
            "        order = np.arange(self.data.ndim)\n"
            "        order = order[np.ravel(axes).astype(int)] if axes else order[::-1]  # of axes from 0 on\n"
            "        return self._result(self.data.transpose(order), (self, lambda g: g.transpose(np.argsort(order))))\n",
            "        if len(axes) == 1 and isinstance(axes[0], tuple | list):\n            axes = tuple(axes[0])\n"
            "        axes = axes or tuple(range(self.data.ndim))[::-1]\n"
            "        back = [0] * len(axes)\n        for new, old in enumerate(axes):\n            back[old] = new\n"
            "        return self._result(np.transpose(self.data, axes), (self, lambda g: np.transpose(g, back)))\n",
        ),
    ),
    other(
        "matmul_by_einsum",
        ARRAY,
        "Products by einsum; relu multiplies by a mask; exp and tanh are computed again on the way back.",
        ("product = self.data @ other.data", "product = np.matmul(self.data, other.data)"),
        ("return whole(g) @ right.mT  #", 'return np.einsum("...nm,...km->...nk", whole(g), right)  #'),
        ("g = left.mT @ whole(g)\n", 'g = np.einsum("...nk,...nm->...km", left, whole(g))\n'),
        (
            "np.maximum(self.data, 0), (self, lambda g: np.where(self.data > 0, g, 0))",
            "self.data * (self.data > 0), (self, lambda g: g * (self.data > 0))",
        ),
        ("(self, lambda g: g * value))", "(self, lambda g: np.exp(self.data) * g))"),
        ("(self, lambda g: g * (1 - value**2))", "(self, lambda g: g / np.cosh(np.clip(self.data, -300, 300)) ** 2)"),
    ),
    other(
        "graph_of_everything",
        ARRAY,
        "Constants are parents as well, and results show the gradient of the last walk.",
        ("        links = tuple(link for link in links if link[0].requires_grad)\n", ""),
        ("result.requires_grad = bool(links)", "result.requires_grad = any(parent.requires_grad for parent, _ in links)"),
        (
            "            if node.requires_grad and not node.parents:\n",
            "            if node.parents:\n                node.grad = g\n"
            "            if node.requires_grad and not node.parents:\n",
        ),
    ),
    other(
        "data_is_copied",
        ARRAY,
        "A leaf takes a copy of what it is given, contiguous; backward refuses with an IndexError and a TypeError.",
        (
            "self.data = data if data.dtype in (np.float32, np.float64) else data.astype(np.float64)",
            'self.data = np.array(data, dtype=np.float32 if data.dtype == np.float32 else np.float64, order="C")',
        ),
        ('raise ValueError(f"backward of', 'raise TypeError(f"backward of'),
        ('raise ValueError(f"grad has', 'raise IndexError(f"grad has'),
    ),
    other(
        "leaves_add_in_place",
        ARRAY,
        "A leaf owns its gradient and adds to it in place; squares are products, x ** 0 is x times 0, plus 1.",
        (
            "node.grad = np.array(g if node.grad is None else node.grad + g)",
            "if node.grad is None:\n                    node.grad = np.zeros(node.data.shape, node.data.dtype)\n"
            "                node.grad += g",
        ),
        (
            "        if exponent == 0:\n            return self._result(self.data**exponent, (self, np.zeros_like))\n",
            "        if exponent == 0:\n            return self * 0 + 1\n        if exponent == 2:\n"
            "            return self * self\n",
        ),
    ),
    other(
        "quotient_by_powers",
        ARRAY,
        "A quotient is a product with a power, a difference a sum with a product, a mean a product with a number.",
        (
            "        other = self._operand(other)\n        quotient = self.data / other.data\n"
            "        return self._result(quotient, (self, lambda g: g / other.data), "
            "(other, lambda g: -g * quotient / other.data))\n",
            "        return self * self._operand(other) ** -1\n",
        ),
        ("return self + -self._operand(other)", "return self + self._operand(other) * -1"),
        (
            "return total / (self.data.size // max(1, total.data.size))",
            "return total * (max(1, total.data.size) / max(1, self.data.size))",
        ),
        ("return self._result(-self.data, (self, lambda g: -g))", "return self * -1.0"),
    ),
    other(
        "reflected_operators_by_name",
        ARRAY,
        "2 - x is -x + 2, x.T is a transposition by axes, a sum over nothing but the last axis is a product with ones.",
        ("return self._operand(other) - self\n", "return -self + other\n"),
        ("return self.transpose()\n", "return self.transpose(tuple(range(self.data.ndim))[::-1])\n"),
        ("return self._operand(other) / self\n", "return self**-1 * other\n"),
    ),
    other(
        "one_axis_at_a_time",
        UNBROADCAST,
        "One axis at a time, from the last to the first.",
        (
            "    return grad.sum(axis=(*range(n_added), *stretched), keepdims=True).reshape(shape)\n",
            "    for axis in reversed([*range(n_added), *stretched]):\n"
            "        grad = np.add.reduce(grad, axis=axis, keepdims=axis >= n_added)\n"
            "    return grad\n",
        ),
    ),
    other(
        "refused_by_broadcast_to",
        UNBROADCAST,
        "NumPy says whether the shape broadcasts; the result is always a copy.",
        (
            "    if grad.shape == shape:\n        return grad\n",
            "    shape = tuple(shape)\n    np.broadcast_to(np.zeros(shape), grad.shape)\n",
        ),
    ),
    other(
        "differences_of_whole_copies",
        CHECK,
        "Two new inputs for every entry, compared in the end by isclose.",
        (
            "            centre = x.data[index]\n            x.data[index] = centre + eps\n"
            "            above = f(*leaves).data.item()\n"
            "            x.data[index] = centre - eps\n            below = f(*leaves).data.item()\n"
            "            x.data[index] = centre\n"
            "            numeric = (above - below) / (2 * eps)\n"
            "            if not abs(gradient[index] - numeric) <= 1e-6 + 1e-4 * abs(numeric) < np.inf:  # NaN and infinity fail\n"
            "                return False\n",
            "            step = np.zeros_like(x.data)\n            step[index] = eps\n"
            "            up, down = ([Array(y.data + sign * step if y is x else y.data) for y in leaves] for sign in (1, -1))\n"
            "            numeric = (f(*up) - f(*down)).data.sum() / 2 / eps\n"
            "            if not np.isfinite(numeric) or not np.isclose(gradient[index], numeric, rtol=1e-4, atol=1e-6):\n"
            "                return np.bool_(False)\n",
        ),
    ),
    other(
        "tuples_taken_apart",
        ARRAY,
        "Tuples alone are taken apart, requires_grad is one of NumPy's booleans, and == compares number by number.",
        ("self.data.reshape(*shape)", "self.data.reshape(shape[0] if isinstance(shape[0], tuple) else shape)"),
        ("self.requires_grad = requires_grad", "self.requires_grad = np.bool_(requires_grad)"),
        (
            "    def __mul__(self",
            "    def __eq__(self, other):\n        return self.data == getattr(other, 'data', other)\n\n    __hash__ = None\n\n"
            "    def __bool__(self):\n        return bool(self.data)\n\n    def __mul__(self",
        ),
    ),
    other(
        "verdict_of_numpy",
        CHECK,
        "All entries at once, and one of NumPy's booleans.",
        (
            "        for index in np.ndindex(x.data.shape):\n",
            "        numerics = np.empty_like(x.data)\n        for index in np.ndindex(x.data.shape):\n",
        ),
        (
            "            if not abs(gradient[index] - numeric) <= 1e-6 + 1e-4 * abs(numeric) < np.inf:  # NaN and infinity fail\n"
            "                return False\n",
            "            numerics[index] = numeric\n"
            "        agrees = np.isfinite(numerics).all() and np.all(abs(gradient - numerics) <= 1e-6 + 1e-4 * abs(numerics))\n"
            "        if not agrees:\n            return agrees\n",
        ),
        ("    return True\n", "    return np.True_\n"),
    ),
]


@alternative(UNBROADCAST, "Reshaped so that every axis is either kept or summed, by a loop over the axes of grad.", file=FILE)
def axis_by_axis(grad, shape):
    if len(shape) > grad.ndim:
        raise ValueError(f"{shape} has more axes than {grad.shape}")
    padded = (1,) * (grad.ndim - len(shape)) + tuple(shape)
    for axis, (wanted, size) in enumerate(zip(padded, grad.shape)):
        if wanted == size:
            continue
        if wanted != 1:
            raise IndexError(f"axis {axis}")
        grad = np.expand_dims(grad.sum(axis), axis)
    return np.array(grad).reshape(shape)


@alternative(UNBROADCAST, "A product with ones by einsum.", file=FILE)
def by_einsum(grad, shape):
    n_added = grad.ndim - len(shape)
    if n_added < 0 or any(n != m and n != 1 for n, m in zip(shape, grad.shape[n_added:])):
        raise ValueError("shape")
    kept = [n_added + axis for axis, size in enumerate(shape) if size != 1 or grad.shape[n_added + axis] == 1]
    return np.asarray(np.einsum(grad, list(range(grad.ndim)), kept)).reshape(shape)


@alternative(ORDER, "An iterator of parents on the stack, as recursion would have it.", file=FILE)
def iterators_on_the_stack(root):
    order, seen = [], {id(root): root}
    path = [(root, iter(root.parents))]
    while path:
        node, parents = path[-1]
        for parent in parents:
            if id(parent) not in seen:
                seen[id(parent)] = parent
                path.append((parent, iter(parent.parents)))
                break
        else:
            order.append(node)
            path.pop()
    return order


@alternative(
    ORDER, "Kahn's way: children are counted, and a node comes when its last child has come; then all is turned round.", file=FILE
)
def children_counted(root):
    children, stack, nodes = {id(root): 0}, [root], []
    while stack:
        node = stack.pop()
        nodes.append(node)
        for parent in node.parents:
            if id(parent) not in children:
                children[id(parent)] = 0
                stack.append(parent)
            children[id(parent)] += 1
    order, ready = [], [root]
    while ready:
        node = ready.pop()
        order.append(node)
        for parent in node.parents:
            children[id(parent)] -= 1
            if children[id(parent)] == 0:
                ready.append(parent)
    order.reverse()
    return order


@alternative(ORDER, "Nodes with the number of the parent that comes next: parents are asked for at each link.", file=FILE)
def numbers_of_parents_on_the_stack(root):
    order, seen, stack = [], {id(root)}, [(root, 0)]
    while stack:
        node, number = stack.pop()
        if number == len(node.parents):
            order.append(node)
            continue
        stack.append((node, number + 1))
        parent = node.parents[number]
        if id(parent) not in seen:
            seen.add(id(parent))
            stack.append((parent, 0))
    return order


@alternative(ORDER, "By depth: the longest way from a leaf, found from the leaves up, then sorted.", file=FILE)
def sorted_by_depth(root):
    from collections import deque

    nodes, children, waiting = {id(root): root}, {}, [root]
    while waiting:
        node = waiting.pop()
        for parent in node.parents:
            children.setdefault(id(parent), []).append(node)
            if id(parent) not in nodes:
                nodes[id(parent)] = parent
                waiting.append(parent)
    missing = {key: len(node.parents) for key, node in nodes.items()}
    depth = {key: 0 for key, n in missing.items() if n == 0}
    ready = deque(nodes[key] for key in depth)
    while ready:
        node = ready.popleft()
        for child in children.get(id(node), ()):
            missing[id(child)] -= 1
            if missing[id(child)] == 0:
                depth[id(child)] = 1 + max(depth[id(p)] for p in child.parents)
                ready.append(child)
    return sorted(nodes.values(), key=lambda node: depth[id(node)])


@alternative(
    CHECK, "The inputs are moved themselves, their data replaced by other arrays, and all put back in the end.", file=FILE
)
def inputs_moved_themselves(f, inputs, eps=1e-6):
    if not (isinstance(eps, float | int) and eps > 0):
        raise ValueError("eps")
    if {x.data.dtype for x in inputs} - {np.dtype(np.float64)}:
        raise TypeError("float64")
    before = [(x.data, x.grad) for x in inputs]
    try:
        for x in inputs:
            x.grad = None
        value = f(*inputs)
        if np.size(value.data) != 1:
            raise ValueError("one number")
        value.backward(np.ones(value.data.shape))
        gradients = [np.zeros(x.data.shape) if x.grad is None else np.array(x.grad) for x in inputs]
        agree = True
        for x, gradient, (data, _) in zip(inputs, gradients, before):
            if not x.requires_grad:
                continue
            numeric = np.zeros(data.size)
            for k in range(data.size):
                values = []
                for step in (eps, -eps):
                    moved = data.flatten()
                    moved[k] += step
                    x.data = moved.reshape(data.shape)
                    values.append(float(np.asarray(f(*inputs).data).reshape(-1)[0]))
                numeric[k] = (values[0] - values[1]) / (2 * eps)
            x.data = data
            difference = np.abs(gradient.reshape(-1) - numeric)
            agree = agree and bool(np.all(difference <= 1e-6 + 1e-4 * np.abs(numeric)) and np.isfinite(numeric).all())
        return agree
    finally:
        for x, (data, grad) in zip(inputs, before):
            x.data, x.grad = data, grad


@alternative(
    ARRAY, "A tape of closures: each result knows a function that adds to its operands' gradients of this walk.", file=FILE
)
class Taped:
    __array_ufunc__ = None
    __array_priority__ = 1000

    def __init__(self, data, requires_grad=False, parents=(), push=None):
        if isinstance(data, np.ndarray | np.generic) and data.dtype in ("f4", "f8"):
            self.data = np.asarray(data)
        else:
            self.data = np.asarray(data, dtype="f8")
        self.requires_grad, self.parents, self.push, self.grad = requires_grad, list(parents), push, None
        self.flow = None

    @staticmethod
    def lift(x, like):
        if isinstance(x, Taped):
            return x
        return Taped(np.asarray(x, like.data.dtype)) if type(x) in (int, float, bool) else Taped(x)

    def take(self, g):
        if not self.requires_grad:
            return
        g = np.asarray(unbroadcast(np.asarray(g), self.data.shape), self.data.dtype)  # noqa: F821
        self.flow = g if self.flow is None else np.add(self.flow, g)

    def node(self, data, parents, push):
        wants = any(p.requires_grad for p in parents)
        return Taped(data, wants, parents if wants else (), push if wants else None)

    def __add__(self, other):
        other = Taped.lift(other, self)
        return self.node(self.data + other.data, (self, other), lambda g: (self.take(g), other.take(g)))

    def __mul__(self, other):
        other = Taped.lift(other, self)
        a, b = self.data, other.data
        return self.node(a * b, (self, other), lambda g: (self.take(g * b), other.take(g * a)))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + (-Taped.lift(other, self))

    def __rsub__(self, other):
        return Taped.lift(other, self) + (-self)

    def __truediv__(self, other):
        return self * Taped.lift(other, self) ** -1

    def __rtruediv__(self, other):
        return Taped.lift(other, self) * self**-1

    def __pow__(self, n):
        a = self.data
        return self.node(a**n, (self,), lambda g: self.take(g * n * (a ** (n - 1) if n else 1)))

    def __matmul__(self, other):
        other = Taped.lift(other, self)
        a, b = self.data, other.data

        def push(g):
            if a.ndim == 1 and b.ndim == 1:
                self.take(g * b)
                other.take(g * a)
            elif a.ndim == 1:
                self.take(np.sum(np.expand_dims(g, -2) * b, axis=-1))
                other.take(a[:, None] * np.expand_dims(g, -2))
            elif b.ndim == 1:
                self.take(np.expand_dims(g, -1) * b)
                other.take(np.sum(a * np.expand_dims(g, -1), axis=-2))
            else:
                self.take(g @ np.swapaxes(b, -1, -2))
                other.take(np.swapaxes(a, -1, -2) @ g)

        return self.node(np.matmul(a, b), (self, other), push)

    def __rmatmul__(self, other):
        return Taped.lift(other, self) @ self

    def sum(self, axis=None, keepdims=False):
        a = self.data
        kept = a.sum(axis=axis, keepdims=True).shape
        return self.node(a.sum(axis, keepdims=keepdims), (self,), lambda g: self.take(np.reshape(g, kept) + np.zeros_like(a)))

    def mean(self, axis=None, keepdims=False):
        a = self.data
        value = a.mean(axis, keepdims=keepdims)
        kept = a.sum(axis=axis, keepdims=True).shape
        n = a.size / max(1, np.size(value))
        return self.node(value, (self,), lambda g: self.take(np.broadcast_to(np.reshape(g, kept), a.shape) / n))

    def exp(self):
        out = self.node(np.exp(self.data), (self,), lambda g: self.take(g * out.data))
        return out

    def log(self):
        return self.node(np.log(self.data), (self,), lambda g: self.take(g / self.data))

    def tanh(self):
        out = self.node(np.tanh(self.data), (self,), lambda g: self.take(g * (1 - out.data) * (1 + out.data)))
        return out

    def relu(self):
        on = self.data > 0
        return self.node(np.where(on, self.data, np.zeros_like(self.data)), (self,), lambda g: self.take(g * on))

    def reshape(self, *shape):
        shape = shape[0] if len(shape) == 1 and np.iterable(shape[0]) else shape
        return self.node(np.reshape(self.data, tuple(shape)), (self,), lambda g: self.take(np.reshape(g, self.data.shape)))

    def transpose(self, *axes):
        axes = axes[0] if len(axes) == 1 and np.iterable(axes[0]) else axes
        places = np.arange(self.data.size).reshape(self.data.shape).transpose(axes or None).reshape(-1)

        def push(g):
            back = np.empty(self.data.size, g.dtype)
            back[places] = np.reshape(g, -1)
            self.take(back.reshape(self.data.shape))

        return self.node(np.transpose(self.data, axes or None), (self,), push)

    T = property(lambda self: self.transpose())

    def __getitem__(self, index):
        def push(g):
            full = np.zeros(self.data.shape, g.dtype)
            np.add.at(full, index, g)
            self.take(full)

        return self.node(self.data[index].copy(), (self,), push)

    def backward(self, grad=None):
        if grad is None and self.data.size != 1:
            raise ValueError("grad")
        grad = np.ones(self.data.shape) if grad is None else np.array(grad)
        if grad.shape != self.data.shape:
            raise ValueError("shape")
        order = topological_order(self)  # noqa: F821
        self.take(grad)
        for node in order[::-1]:
            g, node.flow = node.flow, None
            if g is None:
                continue
            if node.push is not None:
                node.push(g)
            else:
                node.grad = np.array(g) if node.grad is None else np.asarray(node.grad + g)
