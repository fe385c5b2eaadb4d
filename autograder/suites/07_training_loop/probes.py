"""What runs beside a student's autograd.py: graphs of Arrays built from plain data, nodes to be put in order, functions to be
checked. Tensors come in and go out, and are NumPy arrays in between.
"""

import gc
import importlib
import sys

import numpy as np
import torch

from autograder.testing.probes import Wrong

REFUSALS = (ValueError, TypeError, IndexError)


def engine(module):
    """The module's autograd.py, which lies beside its main file."""
    package = module.__name__.rpartition(".")[0]
    return importlib.import_module(f"{package}.autograd") if package else module


def array(x):
    """An np.ndarray of its own for a tensor; anything else as it is."""
    return x.numpy().copy() if isinstance(x, torch.Tensor) else x


def out(x):
    """A tensor for an array, and in words what is none."""
    if x is None:
        return None
    if not isinstance(x, np.ndarray | np.generic):
        return f"a {type(x).__name__}"
    x = np.array(x)
    return torch.from_numpy(x) if x.dtype.kind in "fiub" else f"an array of {x.dtype}"


# unbroadcast


def unbroadcasted(module, grad, shape, layout="plain"):
    """The result as a tensor, and whether grad is as it was."""
    given = array(grad)
    if layout == "turned":  # the same numbers, in memory in another order
        given = np.array(given, order="F")
    elif layout == "scattered":
        wide = np.full((*given.shape, 2), np.nan, dtype=given.dtype)
        wide[..., 0] = given
        given = wide[..., 0]
    elif layout == "read only":
        given.flags.writeable = False
    value = out(engine(module).unbroadcast(grad=given, shape=tuple(shape)))
    return value, np.array_equal(given, array(grad))


# topological_order


def usual_limits():
    """As deep a recursion as Python allows unasked, for good; and no garbage collection, which would look through all nodes
    again and again and take longer than making them."""
    gc.disable()
    sys.setrecursionlimit(1000)
    sys.setrecursionlimit = lambda limit: None


class Node:
    """Has parents and a number; nothing can be attached to it."""

    __slots__ = ("parents", "number")

    def __init__(self, number, parents=()):
        self.number, self.parents = number, parents


class Twin(Node):
    """Equal to any other, not hashable, and false where truth is asked for."""

    __slots__ = ()
    __hash__ = None

    def __eq__(self, other):
        return True

    def __bool__(self):
        return False


class Counting:
    """Counts how often its parents are asked for."""

    __slots__ = ("_parents", "number", "asked")

    def __init__(self, number):
        self.number, self.asked = number, 0

    @property
    def parents(self):
        self.asked += 1
        if self.asked > 100 + 10 * len(self._parents):
            raise RuntimeError("the parents of one node were asked for far more often than there are links to it")
        return self._parents

    @parents.setter
    def parents(self, parents):
        self._parents = parents


def nodes_of(parents, kind=Node, many=tuple):
    """A node for each list of numbers of its parents."""
    nodes = [kind(number) for number in range(len(parents))]
    for node, numbers in zip(nodes, parents):
        node.parents = many(nodes[i] for i in numbers)
    return nodes


def listed(order):
    """What topological_order returned, if it can be gone through."""
    if not hasattr(order, "__iter__"):
        kind = "None" if order is None else f"a {type(order).__name__}"
        raise Wrong(f"topological_order returned {kind}, not a list of nodes")
    return order


def ordered(module, parents, root, kind="Node", many="tuple"):
    """The numbers of the nodes in the order that was found for the root."""
    nodes = nodes_of(parents, {"Node": Node, "Twin": Twin, "Counting": Counting}[kind], {"tuple": tuple, "list": list}[many])
    return [node.number for node in listed(engine(module).topological_order(nodes[root]))]


def ordered_chain(module, n, n_wide):
    """The order of a chain of n nodes, then that of a node with this many parents, as numbers."""
    usual_limits()
    chain = [Node(0)]
    for number in range(1, n):
        chain.append(Node(number, (chain[-1],)))
    wide = nodes_of([*([] for _ in range(n_wide)), range(n_wide)])
    order = engine(module).topological_order
    return [torch.tensor([node.number for node in listed(order(nodes[-1]))]) for nodes in (chain, wide)]


def ordered_again(module, parents, roots):
    """For each root the order, all in one graph, whether it is a list, and whether all parents are what they were."""
    nodes, seen = nodes_of(parents, many=list), []
    for root in roots:
        found = listed(engine(module).topological_order(root=nodes[root]))
        unchanged = all([p.number for p in node.parents] == numbers for node, numbers in zip(nodes, parents))
        seen.append([[node.number for node in found], isinstance(found, list), unchanged])
        found.clear()
    return seen


# Array: graphs as plain data. An operation is [name, numbers of the operands, options].


def index_of(parts):
    """What stands between the brackets: a part is [kind, *numbers]."""
    made = [
        slice(*numbers) if kind == "slice"
        else None if kind == "new"
        else Ellipsis if kind == "rest"
        else array(numbers[0]) if kind == "array"
        else list(numbers[0]) if kind == "list"
        else numbers[0]
        for kind, *numbers in parts
    ]  # fmt: skip
    return made[0] if len(made) == 1 else tuple(made)


SIGNS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "@": lambda a, b: a @ b,
}


def applied(name, operands, options):
    """What an operation gives for Arrays."""
    x = operands[0]
    if name in SIGNS:
        return SIGNS[name](*operands)
    if name == "with":  # another operand that is no Array, on the left or on the right
        other = np.float64(options["other"]) if options.get("scalar") else array(options["other"])
        return SIGNS[options["sign"]](*((other, x) if options["left"] else (x, other)))
    if name == "neg":
        return -x
    if name == "**":
        return x ** options["exponent"]
    if name in ("sum", "mean"):
        return getattr(x, name)(*options.values()) if options.get("keepdims") else getattr(x, name)(**options)
    if name == "reshape":
        return x.reshape(tuple(options["shape"])) if options.get("whole") else x.reshape(*options["shape"])
    if name == "transpose":
        return x.transpose(tuple(options["axes"])) if options.get("whole") else x.transpose(*options["axes"])
    if name == "T":
        return x.T
    if name == "[]":
        return x[index_of(options["index"])]
    return getattr(x, name)()  # exp, log, tanh, relu


def built(module, leaves, operations):
    """The Arrays of a graph: first the leaves, (tensor, requires_grad), then a result for each operation."""
    Array = engine(module).Array
    given = [np.array(array(data), order="CF"[i % 2]) for i, (data, _) in enumerate(leaves)]  # in memory in either order
    nodes = [Array(data, requires_grad=wanted) for data, (_, wanted) in zip(given, leaves)]
    for name, operands, options in operations:
        node = applied(name, [nodes[i] for i in operands], options)
        if not isinstance(node, Array):
            raise Wrong(f"the operation {options.get('sign', name)!r} gave a {type(node).__name__}, not an Array")
        nodes.append(node)
    return nodes


def total_of(module, nodes, weights):
    """One number: sums of nodes times weights, [number of the node, weight], by nothing but + * sum."""
    Array = engine(module).Array
    total = None
    for number, weight in weights:
        term = (nodes[number] * Array(array(weight))).sum()
        total = term if total is None else total + term
    return total


def graph(module, leaves, operations, weights):
    """The values of all nodes, the total, and the gradients of the leaves."""
    nodes = built(module, leaves, operations)
    total = total_of(module, nodes, weights)
    total.backward()
    return {
        "values": [out(node.data) for node in nodes[len(leaves) :]],
        "gradients": [out(node.grad) for node in nodes[: len(leaves)]],
    }


def walks(module, leaves, operations, calls):
    """The gradients of all leaves after each of several calls of backward: [root, grad or None, leaves to reset before]."""
    nodes, seen = built(module, leaves, operations), []
    for root, grad, reset in calls:
        for i in reset:
            nodes[i].grad = None
        nodes[root].backward() if grad is None else nodes[root].backward(array(grad))
        seen.append([out(node.grad) for node in nodes[: len(leaves)]])
    return seen


def walked_from(module, data, grad, kind="array"):
    """The gradient of a leaf after its own backward with this grad: none, an array or nested lists."""
    x = engine(module).Array(array(data), requires_grad=True)
    if grad is None:
        x.backward()
    else:
        x.backward(grad=array(grad) if kind == "array" else array(grad).tolist())
    return out(x.grad)


def refused_walk(module, data, grad):
    """backward of a product with such a grad."""
    Array = engine(module).Array
    y = Array(array(data), requires_grad=True) * Array(array(data))
    y.backward() if grad is None else y.backward(array(grad))


def after_a_refused_walk(module, data):
    """The gradient of a leaf where backward was refused once, and then came with a grad."""
    Array = engine(module).Array
    x = Array(array(data), requires_grad=True)
    y = x * x
    try:
        y.backward()
    except REFUSALS:
        pass
    y.backward(np.ones_like(array(data)))
    return out(x.grad)


def long_chain(module, n, number):
    """x, to which b is added n times, each sum times a number close to 1: the value, and both gradients."""
    usual_limits()
    Array = engine(module).Array
    x, b, factor = Array([1.0, 2.0], requires_grad=True), Array(0.5, requires_grad=True), Array(number)
    y = x
    for _ in range(n):
        y = (y + b) * factor
    y.sum().backward()
    return [out(y.data), out(x.grad), out(b.grad)]


def overwritten_between(module, data, factor):
    """The gradient of x from 3 x², after a walk, after it was multiplied by a factor in place, and after one more walk; after it
    was replaced by an array, and after one more walk."""
    x = engine(module).Array(array(data), requires_grad=True)
    y = x * x * 3
    y.backward(np.ones_like(x.data))
    seen = [out(x.grad)]
    x.grad *= factor
    y.backward(np.ones_like(x.data))
    seen.append(out(x.grad))
    x.grad = np.full_like(x.data, factor)
    y.backward(np.ones_like(x.data))
    return [*seen, out(x.grad)]


def descended(module, leaves, operations, weights, rate):
    """The values of all results, and the gradients of all leaves, before and after a step of gradient descent in place."""
    nodes, seen = built(module, leaves, []), []
    for _ in range(2):
        results = list(nodes)
        for name, operands, options in operations:
            results.append(applied(name, [results[i] for i in operands], options))
        total_of(module, results, weights).backward()
        gradients = [out(node.grad) for node in nodes]
        seen.append({"values": [out(node.data) for node in results[len(nodes) :]], "gradients": gradients})
        for node in nodes:
            node.data[...] -= rate * node.grad
            node.grad = None
    return seen


def ladder(module, n):
    """x doubled n times by adding it to itself: 2 ** n ways lead from the result to x. The gradient."""
    x = engine(module).Array(1.0, requires_grad=True)
    y = x
    for _ in range(n):
        y = y + y
    y.backward()
    return out(x.grad)


def made(module, kind):
    """What a leaf is that was made from something of this kind: its data, and what its other attributes are."""
    data = {
        "a number": 2.5,
        "an int": 3,
        "a bool": True,
        "a list": [[1, 2, 3], [4, 5, 6]],
        "a tuple": (0.5, 1.5),
        "int64": np.arange(6).reshape(2, 3),
        "uint8": np.array([200, 250], dtype=np.uint8),
        "bool": np.array([True, False]),
        "float16": np.array([0.1, 3.0], dtype=np.float16),
        "float32": np.array([[0.1], [3.0]], dtype=np.float32),
        "float64": np.array([0.1, 3.0]),
        "np.float32": np.float32(0.1),
        "np.float64": np.float64(0.1),
        "nothing": np.zeros((0, 3)),
    }[kind]
    Array, found = engine(module).Array, []
    for leaf in (Array(data), Array(data, True), Array(data=data, requires_grad=False)):
        what = [isinstance(leaf.data, np.ndarray), bool(leaf.requires_grad), leaf.grad is None, len(leaf.parents)]
        found.append([out(leaf.data), what])
    return found


def wanting(module, leaves, operations):
    """requires_grad of all nodes, and the gradients of the leaves after the last node's backward."""
    nodes = built(module, leaves, operations)
    nodes[-1].sum().backward()
    return [bool(node.requires_grad) for node in nodes], [out(node.grad) for node in nodes[: len(leaves)]]


def leaves_found(module, leaves, operations):
    """Whether each leaf is found by following the parents of the last node."""
    nodes = built(module, leaves, operations)
    found, waiting = {}, [nodes[-1]]
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting += list(node.parents)
    return [id(node) in found for node in nodes[: len(leaves)]]


def kinds(module, leaves, operations, weights):
    """Which data and gradients are no np.ndarrays, those without axes among them."""
    nodes = built(module, leaves, operations)
    total = total_of(module, nodes, weights)
    for _ in range(2):
        total.backward()
    arrays = [(f"the data of node {i}", node.data) for i, node in enumerate((*nodes, total))]
    arrays += [(f"the gradient of leaf {i} after two walks", node.grad) for i, node in enumerate(nodes[: len(leaves)])]
    return [f"{name} is a {type(x).__name__}" for name, x in arrays if not isinstance(x, np.ndarray)]


def changed(module, leaves, operations, weights, seed):
    """What an expression and its backward changed of what they were given."""
    Array = engine(module).Array
    given = [array(data) for data, _ in leaves]
    others = [array(x) for x, _ in leaves]
    nodes = [Array(x, requires_grad=True) for x in given]
    results, found = [], []
    for name, operands, options in operations:
        results.append(applied(name, [[*nodes, *results][i] for i in operands], options))
    for x, other in zip(nodes, others):
        results += [x + other, other - x, x * other, other / x]
    before = [x.data.copy() for x in results]
    upstream = array(seed)
    total = total_of(module, [*nodes, *results], weights)
    total.backward()
    last = results[len(operations) - 1]
    for _ in range(2):
        last.backward(upstream)
    if not all(x.flags.writeable for x in given):
        found.append("whether what a leaf was made from can be written to")
    for name, pairs in (
        ("what a leaf was made from", zip(given, (data for data, _ in leaves))),
        ("an array that was an operand", zip(others, (data for data, _ in leaves))),
        ("the data of a leaf", zip((x.data for x in nodes), (data for data, _ in leaves))),
        ("the data of a result", zip((x.data for x in results), map(torch.from_numpy, before))),
        ("the grad that backward was given", [(upstream, seed)]),
    ):
        if not all(np.array_equal(now, array(then)) for now, then in pairs):
            found.append(name)
    return found


def beside(module, leaves, operation, seed):
    """The gradients of the last leaf, z, after backward of z + an operation was given the seed once and then once more; and
    whether the seed, and the leaves, are what they were. The same the other way round, with constants as operands."""
    found = []
    for first in (True, False):
        leaves = [(data, wanted and (first or i == len(leaves) - 1)) for i, (data, wanted) in enumerate(leaves)]
        *operands, z, result = built(module, leaves, [operation])
        upstream, seen = array(seed), []
        total = z + result if first else result + z
        for _ in range(2):
            total.backward(upstream)
            seen.append(out(z.grad))
        kept = all(np.array_equal(x.data, array(data)) for x, (data, _) in zip([*operands, z], leaves))
        found.append([seen, np.array_equal(upstream, array(seed)) and kept])
    return found


def augmented(module, data, other, sign):
    """Two names for one Array, one changed by += -= *= /= **= or @=: the data of both, and the gradient in the end."""
    Array = engine(module).Array
    x = Array(array(data), requires_grad=True)
    y, other = x, Array(array(other)) if isinstance(other, torch.Tensor) else other
    if sign == "+":
        y += other
    elif sign == "-":
        y -= other
    elif sign == "*":
        y *= other
    elif sign == "/":
        y /= other
    elif sign == "**":
        y **= other
    else:
        y @= other
    y.sum().backward()
    return [out(x.data), out(y.data), out(x.grad)]


def shared(module, leaves, operations, root, seed):
    """Which gradients share memory with anything else, or cannot be written to; and those that a second walk gives after
    the first's were overwritten and reset."""
    nodes = built(module, leaves, operations)
    upstream = array(seed)
    nodes[root].backward(upstream)
    wanted = [i for i, (_, wants) in enumerate(leaves) if wants]
    found = []
    for i in wanted:
        grad = nodes[i].grad
        if not isinstance(grad, np.ndarray):
            return [f"the gradient of leaf {i} is a {type(grad).__name__}"], []
        if not grad.flags.writeable:
            found.append(f"the gradient of leaf {i} cannot be written to")
        if np.shares_memory(grad, upstream):
            found.append(f"the gradient of leaf {i} and the grad that backward was given")
        found += [f"the gradients of leaves {i} and {k}" for k in wanted if k > i and np.shares_memory(grad, nodes[k].grad)]
        datas = [k for k, x in enumerate(nodes) if np.shares_memory(grad, x.data)]
        found += [f"the gradient of leaf {i} and the data of node {k}" for k in datas]
    for i in wanted:
        if nodes[i].grad.flags.writeable:
            nodes[i].grad[...] = np.nan
        nodes[i].grad = None
    nodes[root].backward(upstream)
    return found, [out(x.grad) for x in nodes[: len(leaves)]]


# gradcheck


def function(module, coefficients, error=None):
    """sum of c x³ for all inputs, plus the product of the sums of the first and the last.

    With an error, [input, entry, slope], the value has slope times that entry in it, of which backward hears nothing.
    """
    Array = engine(module).Array

    def f(*xs):
        total = xs[0].sum() * xs[-1].sum()
        for x, c in zip(xs, coefficients):
            total = total + (x * x * x * Array(array(c))).sum()
        if error is not None:
            i, entry, slope = error
            total = total + Array(slope * xs[i].data.reshape(-1)[entry])
        return total

    return f


def checked(module, inputs, coefficients, error=None, eps=None, wanted=None, old=None):
    """What gradcheck says of `function`; `wanted`: whether each input requires a gradient, `old`: gradients from before."""
    given = [np.array(array(x), order="FC"[i % 2]) for i, x in enumerate(inputs)]  # in memory in either order
    xs = [engine(module).Array(x, requires_grad=True if wanted is None else wanted[i]) for i, x in enumerate(given)]
    for x, grad in zip(xs, old or ()):
        x.grad = array(grad)
    options = {} if eps is None else {"eps": eps}
    return verdict(engine(module).gradcheck(function(module, coefficients, error), xs, **options))


def verdict(said):
    """NumPy's booleans are booleans, too."""
    return bool(said) if isinstance(said, np.bool_) else said


def each_entry_wrong(module, inputs, coefficients, slope):
    """What gradcheck says where the gradient is wrong in one entry, for each entry of each input in turn."""
    places = [[i, entry, slope] for i, x in enumerate(inputs) for entry in range(x.numel())]
    return [checked(module, inputs, coefficients, place) for place in places]


def left_as_they_were(module, inputs, coefficients, error, old):
    """What is different about the inputs after gradcheck."""
    Array = engine(module).Array
    xs = [Array(array(x), requires_grad=True) for x in inputs]
    for x, grad in zip(xs, old):
        x.grad = array(grad)
    engine(module).gradcheck(function(module, coefficients, error), xs)
    found = []
    for x, data, grad in zip(xs, inputs, old):
        if not np.array_equal(x.data, array(data)):
            found.append("data")
        if x.data.dtype != array(data).dtype or x.data.shape != array(data).shape:
            found.append("dtype or shape")
        if (x.grad is None) != (grad is None) or (grad is not None and not np.array_equal(x.grad, array(grad))):
            found.append("grad")
        if not x.requires_grad:
            found.append("requires_grad")
        if len(x.parents):
            found.append("parents")
    return found


def checked_odd(module, kind, x, eps=None):
    """What gradcheck says of a function that is not like others."""
    Array = engine(module).Array
    options = {} if eps is None else {"eps": eps}

    def positive(x):
        """relu, its gradient that of the point itself."""
        return (x * Array((x.data > 0) * 1.0)).sum()

    functions = {
        "the input itself": lambda x: x,
        "the first of two": lambda x, y: (x * x).sum(),
        "the second of two": lambda x, y: (y * y).sum(),
        "no input": lambda x, y: Array(3.0),
        "no input, but its data": lambda x, y: (x * x).sum() + Array(y.data.sum()),
        "relu": positive,
        "a square": lambda x: (x * x).sum(),
        "its own difference": lambda x: (x - Array(x.data)).sum(),
        "all but the first": lambda x: (x[1:] * x[1:]).sum() + Array((x.data[1:] ** 2).sum()),
        "the square of a sum": lambda x: x.sum() * x.sum(),
        "nothing but its data": lambda x: Array(x.data.sum()),
        "nan": lambda x: (x * Array(np.nan)).sum(),
        "infinite": lambda x: (x * Array(np.inf)).sum(),
        "a leap from one infinity to the other": lambda x: x.sum() + Array(np.inf * np.sign(x.data).sum()),
        "not one number": lambda x: x * x,
        "not one number, and constant": lambda x: Array(x.data * 2),
        "twice as steep": lambda x: (x * x).sum() + Array((x.data**2).sum()),
    }
    xs = [Array(array(x), requires_grad=True)]
    if "two" in kind or "no input" in kind:
        xs.append(Array(array(x) + 1, requires_grad=True))
    return verdict(engine(module).gradcheck(f=functions[kind], inputs=tuple(xs), **options))
