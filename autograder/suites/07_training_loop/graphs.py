"""Random expression graphs as plain data, and what PyTorch's own autograd says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from autograder.testing.strategies import composite, normal, st

from .probes import index_of

SIGNS = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": torch.div,
    "@": torch.matmul,
}


@dataclass(frozen=True)
class Graph:
    """Leaves (tensor, requires_grad), operations [name, operands, options] and weights [node, weight] of the sum in the end."""

    leaves: list
    operations: list
    weights: list

    def __repr__(self) -> str:
        names = [f"x{i}" for i in range(len(self.leaves))] + [f"y{i}" for i in range(len(self.operations))]
        said = [f"{name} {tuple(data.shape)}{'' if wanted else ' constant'}" for name, (data, wanted) in zip(names, self.leaves)]
        for name, (operation, operands, options) in zip(names[len(self.leaves) :], self.operations):
            said.append(f"{name} = {written(operation, [names[i] for i in operands], options)}")
        return "; ".join([*said, f"sum of {', '.join(names[i] for i, _ in self.weights)}, each times a weight"])

    def _repr_pretty_(self, printer, cycle) -> None:  # Hypothesis would show the fields
        printer.text(repr(self))

    @property
    def arguments(self) -> tuple[list, list, list]:
        return self.leaves, self.operations, self.weights


def said(operation: list, *names: str) -> str:
    """An operation on leaves as one would write it: x0 and x1, or whatever their names are."""
    name, operands, options = operation
    return written(name, [names[i] if names else f"x{i}" for i in operands], options)


def written(name: str, operands: list[str], options: dict) -> str:
    """An operation as one would write it."""
    if name in SIGNS:
        return f" {name} ".join(operands)
    x = operands[0]
    match name:
        case "with":
            other = options["other"]
            other = f"np.float64({other})" if options.get("scalar") else other
            other = f"array{tuple(other.shape)}" if isinstance(other, torch.Tensor) else str(other)
            return f" {options['sign']} ".join([other, x] if options["left"] else [x, other])
        case "neg":
            return f"-{x}"
        case "**":
            return f"{x} ** {options['exponent']}"
        case "T":
            return f"{x}.T"
        case "[]":
            return f"{x}[{', '.join(shown(part) for part in options['index'])}]"
        case "reshape" | "transpose":
            return f"{x}.{name}{tuple(options.get('shape', options.get('axes')))}"
    return f"{x}.{name}({', '.join(f'{key}={value}' for key, value in options.items())})"


def shown(part: list) -> str:
    kind, *numbers = part
    match kind:
        case "slice":
            return ":".join("" if n is None else str(n) for n in numbers)
        case "new":
            return "None"
        case "rest":
            return "..."
        case "array":
            return f"array({numbers[0].tolist()})"
    return str(numbers[0])


def truth_of(name: str, operands: list[torch.Tensor], options: dict) -> torch.Tensor:
    """What an operation gives for tensors."""
    x = operands[0]
    if name in SIGNS:
        return SIGNS[name](*operands)
    match name:
        case "with":
            other = options["other"]
            if not isinstance(other, torch.Tensor):
                other = torch.tensor(other, dtype=x.dtype)
            return SIGNS[options["sign"]](*((other, x) if options["left"] else (x, other)))
        case "neg":
            return -x
        case "**":
            return x ** options["exponent"]
        case "sum" | "mean":
            axis, keepdims = options.get("axis"), options.get("keepdims", False)
            axis = tuple(range(x.dim())) if axis is None else axis
            if axis == ():  # which PyTorch takes for all
                return x.clone()
            return getattr(x, name)(dim=axis, keepdim=keepdims)
        case "reshape":
            return x.reshape(tuple(options["shape"]))
        case "transpose":
            return x.permute(tuple(options["axes"])) if options["axes"] else x.permute(tuple(reversed(range(x.dim()))))
        case "T":
            return x.permute(tuple(reversed(range(x.dim()))))
        case "[]":  # through flat places, since PyTorch has no steps backwards
            places = np.arange(x.numel()).reshape(tuple(x.shape))[index_of(options["index"])]
            return x.reshape(-1)[torch.from_numpy(np.array(places))]
    return getattr(x, name)()


def nodes_of(leaves: list, operations: list) -> list[torch.Tensor]:
    nodes = [data.clone().requires_grad_(wanted) for data, wanted in leaves]
    for name, operands, options in operations:
        nodes.append(truth_of(name, [nodes[i] for i in operands], options))
    return nodes


def truth(leaves: list, operations: list, weights: list) -> dict:
    """What `probes.graph` should give."""
    nodes = nodes_of(leaves, operations)
    sum((nodes[i] * weight).sum() for i, weight in weights).backward()
    return {
        "values": [node.detach() for node in nodes[len(leaves) :]],
        "gradients": [node.grad for node in nodes[: len(leaves)]],
    }


def walked(leaves: list, operations: list, calls: list) -> list:
    """What `probes.walks` should give."""
    nodes, seen = nodes_of(leaves, operations), []
    for root, grad, reset in calls:
        for i in reset:
            nodes[i].grad = None
        grad = torch.ones_like(nodes[root]) if grad is None else grad
        nodes[root].backward(grad, retain_graph=True)
        seen.append([None if node.grad is None else node.grad.clone() for node in nodes[: len(leaves)]])
    return seen


SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@composite
def graphs_of_sums_and_products(draw: st.DrawFn) -> Graph:
    """Up to nine operations + and * on leaves of shapes that broadcast: some constant, some used often, some not at all."""
    whole = draw(SHAPES)
    seed = draw(st.integers(0, 2**31 - 1))
    leaves = []
    for i in range(draw(st.integers(1, 4))):
        shape = tuple(draw(st.sampled_from([size, size, 1])) for size in whole)[draw(st.integers(0, len(whole))) :]
        leaves.append((normal(seed + i, *shape), i == 0 or draw(st.integers(0, 4)) > 0))
    operations = []
    for n in range(len(leaves), len(leaves) + draw(st.integers(1, 9))):
        operands = [draw(st.integers(max(0, n - 3), n - 1)), draw(st.integers(0, n - 1))]
        operations.append([draw(st.sampled_from("+*")), operands if draw(st.booleans()) else operands[::-1], {}])
    return with_weights(draw, leaves, operations, seed)


def with_weights(draw: st.DrawFn, leaves: list, operations: list, seed: int) -> Graph:
    """The graph whose total has the last node in it, sometimes others as well, and the first leaf where nothing else counts."""
    nodes = nodes_of(leaves, operations)
    last = len(nodes) - 1
    roots = [last, *draw(st.lists(st.integers(0, last), max_size=2))]
    if not any(nodes[i].requires_grad for i in roots):
        roots.append(0)
    return Graph(leaves, operations, [[i, normal(seed + 100 + k, *nodes[i].shape)] for k, i in enumerate(roots)])


NAMES = "+ - * / @ with neg ** sum mean reshape transpose T exp log tanh relu []".split()


@composite
def graphs_of_everything(draw: st.DrawFn) -> Graph:
    """Up to twelve operations of any kind, all numbers of a size at which rounding means little."""
    seed = draw(st.integers(0, 2**31 - 1))
    leaves = [(normal(seed + i, *draw(SHAPES)), i == 0 or draw(st.integers(0, 4)) > 0) for i in range(draw(st.integers(1, 3)))]
    operations, nodes = [], [data for data, _ in leaves]
    for _ in range(draw(st.integers(3, 12))):
        operation = drawn(draw, nodes, draw(st.sampled_from(NAMES)), seed + 1000 + len(nodes))
        if operation is not None:
            value = truth_of(operation[0], [nodes[i] for i in operation[1]], operation[2])
            if bool((value.abs() < 50).all()):
                operations.append(operation)
                nodes.append(value)
    return with_weights(draw, leaves, operations, seed)


def drawn(draw: st.DrawFn, nodes: list[torch.Tensor], name: str, seed: int) -> list | None:
    """An operation of this name on some of the nodes, or None where it does not suit."""
    first = draw(st.integers(max(0, len(nodes) - 3), len(nodes) - 1))
    x = nodes[first]
    if name in SIGNS:
        second = draw(st.integers(0, len(nodes) - 1))
        a, b = nodes[first], nodes[second]
        if name == "@":
            fits = a.dim() and b.dim() and a.shape[-1] == b.shape[-min(2, b.dim())] and broadcast(a.shape[:-2], b.shape[:-2])
        else:
            fits = broadcast(a.shape, b.shape) and (name != "/" or bool((b.abs() > 0.2).all()))
        return [name, [first, second], {}] if fits else None
    options: dict = {}
    match name:
        case "with":
            sign = draw(st.sampled_from("+-*/"))
            other = draw(st.sampled_from([2, 0.7, -1.3, None]))
            if other is None:
                other = normal(seed, *x.shape[1:]) if x.dim() else normal(seed, 2)
                other = torch.where(other.abs() < 0.3, 0.5, other)
            options = {"sign": sign, "other": other, "left": draw(st.booleans())}
            if sign == "/" and options["left"] and not bool((x.abs() > 0.2).all()):
                return None
        case "**":
            exponent = draw(st.sampled_from([1, 2, 3, -1, 0.5, 1.5, -2]))
            options = {"exponent": exponent}
            least = 0.3 if exponent < 0 else 1e-2
            if not bool(((x if exponent % 1 else x.abs()) > least).all()):
                return None
        case "sum" | "mean":
            options = {"axis": draw(axes_of(x.dim())), "keepdims": draw(st.booleans())}
        case "reshape":
            sizes = draw(st.permutations(list(x.shape)))
            shape = draw(st.sampled_from([[-1], [1, *sizes], sizes]))
            options = {"shape": shape, "whole": draw(st.booleans()) or not shape}
        case "transpose":
            axes = draw(st.permutations(range(x.dim())))
            options = {"axes": [axis - draw(st.sampled_from([0, x.dim()])) for axis in axes], "whole": draw(st.booleans())}
        case "log":
            if not bool((x > 0.2).all()):
                return None
        case "exp":
            if not bool((x < 3.5).all()):
                return None
        case "relu":
            if bool((x.abs() < 1e-6).any()):  # which side of 0 it is would be a matter of rounding
                return None
        case "[]":
            if not x.dim():
                return None
            options = {"index": draw(indices_of(tuple(x.shape)))}
    return [name, [first], options]


def broadcast(a: tuple, b: tuple) -> bool:
    return all(n == m or 1 in (n, m) for n, m in zip(reversed(a), reversed(b)))


def axes_of(n_dims: int) -> st.SearchStrategy:
    """None, one axis or several, counted from either end."""
    if not n_dims:
        return st.none()
    one = st.integers(-n_dims, n_dims - 1)
    several = st.lists(one, min_size=1, max_size=n_dims, unique_by=lambda axis: axis % n_dims).map(tuple)
    return st.one_of(st.none(), one, several)


@composite
def indices_of(draw: st.DrawFn, shape: tuple[int, ...]) -> list:
    """What may stand between the brackets for an array of this shape; nothing that selects nothing."""
    kind = draw(st.sampled_from(["integers", "slices", "mask", "array", "arrays"]))
    seed = draw(st.integers(0, 1000))
    if kind == "mask":
        mask = normal(seed, *shape[: draw(st.integers(1, len(shape)))]) > 0
        mask.view(-1)[0] = True
        return [["array", mask]]
    if kind == "array":
        return [["array", integers(seed, shape[0], 5)]]
    if kind == "arrays":
        return [["array", integers(seed + axis, size, 4)] for axis, size in enumerate(shape)]
    if kind == "integers":
        n = draw(st.integers(1, len(shape)))
        return [["int", draw(st.integers(-size, size - 1))] for size in shape[:n]]
    n, from_the_end = draw(st.integers(1, len(shape))), draw(st.booleans())
    parts = []
    for size in shape[-n:] if from_the_end else shape[:n]:
        parts.append(draw(st.sampled_from([
            ["slice", None, None, None], ["slice", None, None, -1], ["slice", size // 2, None, None], ["slice", None, size, 2],
            ["int", size - 1], ["slice", -1, None, None],
        ])))  # fmt: skip
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), ["new"])
    if from_the_end:
        parts.insert(0, ["rest"])
    return parts


def integers(seed: int, size: int, n: int) -> torch.Tensor:
    """n indices from -size to size - 1, of which some are likely to be the same."""
    return torch.randint(-size, size, (n,), generator=torch.Generator().manual_seed(seed))
