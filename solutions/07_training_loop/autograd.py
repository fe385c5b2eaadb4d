"""Reverse-mode automatic differentiation over NumPy: what happens in `loss.backward()`.

A computation is a graph. Each result remembers its parents, the arrays that it was computed from, and for each of them a
*pullback*: the function that makes of a gradient with respect to the result one with respect to the parent. The derivative of
a product y = a b by a is b, so the pullback to a is g -> g b. `backward` walks through the graph once, from the result to where
it came from, and applies every pullback on the way. What reaches an array in several ways is added up: the chain rule. One
walk gives the derivatives by all the inputs, however many there are, for about twice the price of computing the result.

Sources: Linnainmaa 1970, who had it first; Baydin et al. 2018, "Automatic differentiation in machine learning: a survey".

Not handled: gradients of gradients, changing data in place between the forward and the backward pass, Arrays as exponents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def unbroadcast(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of broadcasting: what `grad` holds for the copies of a number is added up for the number itself.

    An array of this shape was broadcast to grad's shape, by NumPy's rule: axes were put before its own, and axes of size 1 were
    stretched. Each of its numbers then took part in several places, and its gradient is the sum over them.

    grad, floating, any shape -> shape, in grad's dtype. grad stays as it is; where nothing was broadcast the result may be grad
    itself. ValueError where `shape` does not broadcast to grad's shape.
    """
    ### BEGIN SOLUTION
    if grad.shape == shape:
        return grad
    n_added = grad.ndim - len(shape)
    if n_added < 0 or any(size not in (1, stretched) for size, stretched in zip(shape, grad.shape[n_added:])):
        raise ValueError(f"shape {shape} does not broadcast to grad's shape {grad.shape}")
    stretched = [axis for axis, size in enumerate(shape, start=n_added) if size == 1 != grad.shape[axis]]
    return grad.sum(axis=(*range(n_added), *stretched), keepdims=True).reshape(shape)
    ### END SOLUTION


def topological_order(root: Any) -> list[Any]:
    """All nodes that `root` depends on, parents before children: `root` is the last.

    A node is any object with an attribute `parents`, a tuple or list of the nodes that it was made from, empty for a leaf.
    `root` depends on itself, on its parents, on their parents, and so on, never in a circle. Each node comes once, however
    many ways lead to it. Two nodes are the same only if they are one object: they may be equal to each other, and
    need not be hashable. Which of the valid orders it is, is left open.

    Time is proportional to the number of nodes and of links between them. Nothing is recursive, so that a chain of 100,000 nodes
    is no problem. No node is changed.
    """
    ### BEGIN SOLUTION
    order, seen = [], set()
    stack = [(root, False)]
    while stack:
        node, parents_are_done = stack.pop()
        if parents_are_done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))  # to come back to, after its parents
            stack.extend((parent, False) for parent in node.parents)
    return order
    ### END SOLUTION


Pullback = Callable[[np.ndarray], np.ndarray]  # from the gradient with respect to a result to that with respect to a parent


class Array:
    """A NumPy array that knows how it was computed.

    Attributes:
        data: np.ndarray, the values. float32 and float64 stay what they are; all else that NumPy makes an array of real numbers
            from (numbers, lists, integers, booleans, float16) becomes float64. It may share memory with what was passed. Between
            a walk and the next computation, a leaf's may be written to: `x.data -= lr * x.grad`.
        requires_grad: whether a gradient is wanted. A result requires one if any of its operands does, and not otherwise.
        grad: for a leaf (an Array made by this constructor) that requires a gradient, None until `backward` has reached it,
            then an np.ndarray of data's shape and dtype. It is writable and shares memory with nothing else. Set it to None to
            start again. A leaf that requires none keeps None. What it is for results is left open.
        parents: the Arrays that it was computed from, as `topological_order` wants them. Empty for a leaf; which of those that
            require no gradient are in it is left open.

    Operators `+ - * / @` take an Array, a Python number, or what NumPy makes an array from, on either side of an Array. Operands
    broadcast, and dtypes mix, as NumPy's do: float32 with float64 gives float64, and a Python number takes the dtype of the
    Array that it meets. Neither an operation nor `backward` changes data, or any array that it was given.

    With g the gradient with respect to a result, the pullback to each operand is named in each method's docstring.
    """

    __array_ufunc__ = None  # tells NumPy to leave `ndarray + Array` to Array.__radd__

    def __init__(self, data: Any, requires_grad: bool = False):
        """A leaf."""
        ### BEGIN SOLUTION
        data = np.asarray(data)
        self.data = data if data.dtype in (np.float32, np.float64) else data.astype(np.float64)
        self.requires_grad = requires_grad
        self.grad: np.ndarray | None = None
        self.parents: tuple[Array, ...] = ()
        self._pullbacks: tuple[Pullback, ...] = ()
        ### END SOLUTION

    def __repr__(self) -> str:
        return f"Array({self.data}, requires_grad={self.requires_grad})"

    ### BEGIN SOLUTION
    def _operand(self, other: Any) -> Array:
        """The other operand of an operator, as an Array."""
        if isinstance(other, Array):
            return other
        return Array(np.asarray(other, self.data.dtype) if isinstance(other, int | float) else other)

    @staticmethod
    def _result(data: np.ndarray, *links: tuple[Array, Pullback]) -> Array:
        """An Array that was computed from others; a link is (parent, its pullback). No graph is kept of constants."""
        result = Array(data)
        links = tuple(link for link in links if link[0].requires_grad)
        result.requires_grad = bool(links)
        result.parents = tuple(parent for parent, _ in links)
        result._pullbacks = tuple(pullback for _, pullback in links)
        return result

    ### END SOLUTION

    def __add__(self, other: Any) -> Array:
        """self + other: g to both."""
        ### BEGIN SOLUTION
        other = self._operand(other)
        return self._result(self.data + other.data, (self, lambda g: g), (other, lambda g: g))
        ### END SOLUTION

    def __mul__(self, other: Any) -> Array:
        """self * other: to each, g times the other."""
        ### BEGIN SOLUTION
        other = self._operand(other)
        return self._result(self.data * other.data, (self, lambda g: g * other.data), (other, lambda g: g * self.data))
        ### END SOLUTION

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """The sum over an axis, over several, or over all (None): g, for each of the numbers that were added.

        Axes may be negative. With keepdims the axes that are summed over stay, with size 1.
        """
        ### BEGIN SOLUTION
        def spread(g: np.ndarray) -> np.ndarray:
            g = g if keepdims or axis is None else np.expand_dims(g, axis)
            return np.broadcast_to(g, self.data.shape)

        return self._result(self.data.sum(axis=axis, keepdims=keepdims), (self, spread))
        ### END SOLUTION

    def backward(self, grad: Any = None) -> None:
        """Add to the `grad` of every leaf that requires one the gradient of sum(self * grad) with respect to it.

        Leaves that self does not depend on keep what they have. A graph may be walked several times, from one root or from
        several that share parts: each time adds. Where nothing requires a gradient there is nothing to do. A chain of 100,000
        operations is no problem.

        grad: an np.ndarray of data's shape, or what NumPy makes one from. It may be left out where data holds a single number,
        in whatever shape, and is 1 then. ValueError where it is left out otherwise, or has another shape than data.
        """
        ### BEGIN SOLUTION
        if grad is None:
            if self.data.size != 1:
                raise ValueError(f"backward of shape {self.data.shape} needs a grad: only that of a single number is 1")
            grad = np.ones_like(self.data)
        grad = np.asarray(grad, dtype=self.data.dtype)
        if grad.shape != self.data.shape:
            raise ValueError(f"grad has shape {grad.shape}, data {self.data.shape}")
        grads = {id(self): grad}  # of the nodes that are still to come, as far as it is known
        for node in reversed(topological_order(self)):
            g = grads.pop(id(node))  # complete: all that was computed from the node has been here
            if node.requires_grad and not node.parents:
                node.grad = np.array(g if node.grad is None else node.grad + g)
            for parent, pullback in zip(node.parents, node._pullbacks):
                share = unbroadcast(pullback(g), parent.data.shape).astype(parent.data.dtype, copy=False)
                grads[id(parent)] = grads[id(parent)] + share if id(parent) in grads else share
        ### END SOLUTION

    def __radd__(self, other: Any) -> Array:
        """other + self, where other is no Array."""
        ### BEGIN SOLUTION
        return self + other
        ### END SOLUTION

    def __rmul__(self, other: Any) -> Array:
        """other * self, where other is no Array."""
        ### BEGIN SOLUTION
        return self * other
        ### END SOLUTION

    def __neg__(self) -> Array:
        """-self: -g."""
        ### BEGIN SOLUTION
        return self._result(-self.data, (self, lambda g: -g))
        ### END SOLUTION

    def __sub__(self, other: Any) -> Array:
        """self - other: g, and -g."""
        ### BEGIN SOLUTION
        return self + -self._operand(other)
        ### END SOLUTION

    def __rsub__(self, other: Any) -> Array:
        """other - self, where other is no Array."""
        ### BEGIN SOLUTION
        return self._operand(other) - self
        ### END SOLUTION

    def __truediv__(self, other: Any) -> Array:
        """self / other: g / other, and -g self / other²."""
        ### BEGIN SOLUTION
        other = self._operand(other)
        quotient = self.data / other.data
        return self._result(quotient, (self, lambda g: g / other.data), (other, lambda g: -g * quotient / other.data))
        ### END SOLUTION

    def __rtruediv__(self, other: Any) -> Array:
        """other / self, where other is no Array."""
        ### BEGIN SOLUTION
        return self._operand(other) / self
        ### END SOLUTION

    def __pow__(self, exponent: float) -> Array:
        """self ** exponent, a Python number: g exponent self ** (exponent - 1); where the exponent is 0, that is 0 at 0 too."""
        ### BEGIN SOLUTION
        if exponent == 0:
            return self._result(self.data**exponent, (self, np.zeros_like))
        return self._result(self.data**exponent, (self, lambda g: g * exponent * self.data ** (exponent - 1)))
        ### END SOLUTION

    def __matmul__(self, other: Any) -> Array:
        """self @ other, by the rules of `np.matmul`: g otherᵀ, and selfᵀ g.

        Shapes: (..., n, k) @ (..., k, m) -> (..., n, m), where leading axes broadcast. A vector (k,) on the left counts as one
        row, on the right as one column, and the axis that it lent disappears from the result.
        """
        ### BEGIN SOLUTION
        other = self._operand(other)
        product = self.data @ other.data
        is_row, is_column = self.data.ndim == 1, other.data.ndim == 1
        left = self.data[None, :] if is_row else self.data  # (..., n, k)
        right = other.data[:, None] if is_column else other.data  # (..., k, m)

        def whole(g: np.ndarray) -> np.ndarray:
            """g with the axes that vectors lent: (..., n, m)."""
            g = g[..., None] if is_column else g
            return g[..., None, :] if is_row else g

        def to_left(g: np.ndarray) -> np.ndarray:
            return whole(g) @ right.mT  # of a row (..., 1, k), which unbroadcast makes (k,)

        def to_right(g: np.ndarray) -> np.ndarray:
            g = left.mT @ whole(g)
            return g[..., 0] if is_column else g

        return self._result(product, (self, to_left), (other, to_right))
        ### END SOLUTION

    def __rmatmul__(self, other: Any) -> Array:
        """other @ self, where other is no Array."""
        ### BEGIN SOLUTION
        return self._operand(other) @ self
        ### END SOLUTION

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """The sum divided by the number of numbers that are added; arguments as for `sum`."""
        ### BEGIN SOLUTION
        total = self.sum(axis, keepdims)
        return total / (self.data.size // max(1, total.data.size))
        ### END SOLUTION

    def exp(self) -> Array:
        """e to the power of each number: g exp(self)."""
        ### BEGIN SOLUTION
        value = np.exp(self.data)
        return self._result(value, (self, lambda g: g * value))
        ### END SOLUTION

    def log(self) -> Array:
        """The natural logarithm: g / self."""
        ### BEGIN SOLUTION
        return self._result(np.log(self.data), (self, lambda g: g / self.data))
        ### END SOLUTION

    def tanh(self) -> Array:
        """The hyperbolic tangent, finite for any finite number: g (1 - tanh(self)²)."""
        ### BEGIN SOLUTION
        value = np.tanh(self.data)
        return self._result(value, (self, lambda g: g * (1 - value**2)))
        ### END SOLUTION

    def relu(self) -> Array:
        """The larger of each number and 0: g where the number is above 0, elsewhere 0, at 0 as well."""
        ### BEGIN SOLUTION
        return self._result(np.maximum(self.data, 0), (self, lambda g: np.where(self.data > 0, g, 0)))
        ### END SOLUTION

    def reshape(self, *shape: Any) -> Array:
        """The same numbers in another shape, as `np.reshape`: g in the old shape.

        `x.reshape(2, 3)` and `x.reshape((2, 3))` are the same. One size may be -1, which means what is left.
        """
        ### BEGIN SOLUTION
        return self._result(self.data.reshape(*shape), (self, lambda g: g.reshape(self.data.shape)))
        ### END SOLUTION

    def transpose(self, *axes: Any) -> Array:
        """Axis i of the result is axis axes[i] of self; without axes their order is reversed. To self: g, transposed back.

        `x.transpose(1, 0)` and `x.transpose((1, 0))` are the same. Axes may be negative.
        """
        ### BEGIN SOLUTION
        order = np.arange(self.data.ndim)
        order = order[np.ravel(axes).astype(int)] if axes else order[::-1]  # of axes from 0 on
        return self._result(self.data.transpose(order), (self, lambda g: g.transpose(np.argsort(order))))
        ### END SOLUTION

    @property
    def T(self) -> Array:  # noqa: N802
        """All axes in reversed order."""
        ### BEGIN SOLUTION
        return self.transpose()
        ### END SOLUTION

    def __getitem__(self, index: Any) -> Array:
        """self[index], as NumPy indexes: integers, slices, None, Ellipsis, masks, integer arrays or lists, and tuples of these.

        To self: g where it was taken from, 0 elsewhere. A number that was taken several times gets the sum.
        """
        ### BEGIN SOLUTION
        def put_back(g: np.ndarray) -> np.ndarray:
            whole = np.zeros_like(self.data, dtype=g.dtype)
            np.add.at(whole, index, g)  # whole[index] += g would keep only one of several
            return whole

        return self._result(self.data[index], (self, put_back))
        ### END SOLUTION


def gradcheck(f: Callable[..., Array], inputs: Sequence[Array], eps: float = 1e-6) -> bool:
    """Whether `backward` gives the gradients of f that central differences give.

    `f(*inputs)` is an Array that holds a single number. For each entry of each input that requires a gradient,

        numeric = (f at entry + eps  -  f at entry - eps) / (2 eps)

    is compared with the entry of the gradient that one `backward` gives; an input that it does not reach has gradient 0. They
    agree where |gradient - numeric| <= 1e-6 + 1e-4 |numeric|; what is not finite never agrees. True if all entries agree, False
    if any does not. Inputs that require no gradient are held fixed.

    Inputs are float64 leaves, and as they were afterwards: data, `grad` and all. A `grad` from before does not count. ValueError
    where an input is float32, in which such small differences drown in rounding, where eps is not above 0, or where f gives
    more than a single number.
    """
    ### BEGIN SOLUTION
    if not eps > 0:
        raise ValueError(f"eps must be above 0, not {eps}")
    if any(x.data.dtype != np.float64 for x in inputs):
        raise ValueError(f"inputs must be float64, not {[str(x.data.dtype) for x in inputs]}")
    leaves = [Array(x.data.copy(), x.requires_grad) for x in inputs]
    f(*leaves).backward()
    for x in leaves:
        if not x.requires_grad:
            continue
        gradient = np.zeros_like(x.data) if x.grad is None else x.grad
        for index in np.ndindex(x.data.shape):
            centre = x.data[index]
            x.data[index] = centre + eps
            above = f(*leaves).data.item()
            x.data[index] = centre - eps
            below = f(*leaves).data.item()
            x.data[index] = centre
            numeric = (above - below) / (2 * eps)
            if not abs(gradient[index] - numeric) <= 1e-6 + 1e-4 * abs(numeric) < np.inf:  # NaN and infinity fail
                return False
    return True
    ### END SOLUTION
