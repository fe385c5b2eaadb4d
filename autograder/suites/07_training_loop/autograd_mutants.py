"""Wrong versions of autograd.py, each with the sentence that a student who made the mistake should read; `mutants.py` takes
them over.
"""

from functools import partial

import numpy as np

from autograder.testing.variants import edit, mutant

FILE = "autograd.py"
UNBROADCAST, ORDER, ARRAY, CHECK = "unbroadcast", "topological_order", "Array", "gradcheck"

wrong = partial(edit, file=FILE)

# Texts of the solution that several mistakes replace.
REFUSAL = "    if n_added < 0 or any(size not in (1, stretched) for size, stretched in zip(shape, grad.shape[n_added:])):\n"
SUMMED = "return grad.sum(axis=(*range(n_added), *stretched), keepdims=True).reshape(shape)"
ADD = "return self._result(self.data + other.data, (self, lambda g: g), (other, lambda g: g))"
MUL = "return self._result(self.data * other.data, (self, lambda g: g * other.data), (other, lambda g: g * self.data))"
TO_LEAF = "node.grad = np.array(g if node.grad is None else node.grad + g)"
SHARE = "share = unbroadcast(pullback(g), parent.data.shape).astype(parent.data.dtype, copy=False)"
ARRIVED = "grads[id(parent)] = grads[id(parent)] + share if id(parent) in grads else share"
WALK = "for node in reversed(topological_order(self)):"
ASKED = "if node.requires_grad and not node.parents:"
OPERAND = "return Array(np.asarray(other, self.data.dtype) if isinstance(other, int | float) else other)"
DATA = "self.data = data if data.dtype in (np.float32, np.float64) else data.astype(np.float64)"
QUOTIENT = "return self._result(quotient, (self, lambda g: g / other.data), (other, lambda g: -g * quotient / other.data))"
POWER = "(self, lambda g: g * exponent * self.data ** (exponent - 1))"
BACK = "g = g if keepdims or axis is None else np.expand_dims(g, axis)"
ALIKE = (
    "            if not abs(gradient[index] - numeric) <= 1e-6 + 1e-4 * abs(numeric) < np.inf:  # NaN and infinity fail\n"
    "                return False\n"
)
LEAVES = "leaves = [Array(x.data.copy(), x.requires_grad) for x in inputs]"

MUTANTS = [
    wrong(
        "mean_divides_by_zero",
        ARRAY,
        "The number of results may be 0, and then mean divides by it: of shape (0, 3), along axis 1, it has shape (0,).",
        ("max(1, total.data.size)", "total.data.size"),
    ),
    # unbroadcast
    wrong(
        "stretched_axes_stay",
        UNBROADCAST,
        "Only the axes that were added are summed over: those that were stretched from size 1 have to be, too.",
        (SUMMED, "return grad.sum(axis=tuple(range(n_added)))"),
    ),
    wrong(
        "added_axes_stay",
        UNBROADCAST,
        "Only the axes that were stretched are summed over: those that `shape` does not have have to be, too.",
        (SUMMED, "return grad.sum(axis=tuple(stretched), keepdims=True)"),
    ),
    wrong(
        "stretched_axes_vanish",
        UNBROADCAST,
        "An axis that was stretched disappears instead of having size 1 again: keepdims=True, or reshape in the end.",
        (SUMMED, "return grad.sum(axis=(*range(n_added), *stretched))"),
    ),
    wrong(
        "mean_of_the_copies",
        UNBROADCAST,
        "This is the mean over the copies: each of them had its effect, so their gradients are added up.",
        ("return grad.sum(", "return grad.mean("),
    ),
    wrong(
        "largest_of_the_copies",
        UNBROADCAST,
        "This takes the largest of the copies' gradients: they are added up.",
        ("return grad.sum(", "return grad.max("),
    ),
    wrong(
        "axes_added_at_the_end",
        UNBROADCAST,
        "The shapes are aligned on the left: NumPy aligns them on the right, new axes come first.",
        (
            "    n_added = grad.ndim - len(shape)\n",
            "    n_added = grad.ndim - len(shape)\n    grad = np.moveaxis(grad, range(len(shape)), range(n_added, "
            "grad.ndim)) if n_added > 0 else grad\n",
        ),
    ),
    wrong(
        "one_axis_only",
        UNBROADCAST,
        "Only the first of the axes that were added is summed over: there may be several.",
        (SUMMED, "return grad.sum(axis=(*range(min(n_added, 1)), *stretched), keepdims=True).reshape(shape)"),
    ),
    wrong(
        "first_stretched_axis_only",
        UNBROADCAST,
        "Only the first of the axes that were stretched is summed over: there may be several.",
        ("*stretched), keepdims", "*stretched[:1]), keepdims"),
    ),
    wrong(
        "stretched_axes_counted_in_shape",
        UNBROADCAST,
        "The axes of size 1 are counted in `shape`, but summed over in grad, which may have more axes before them.",
        ("enumerate(shape, start=n_added) if size == 1 != grad.shape[axis]", "enumerate(shape) if size == 1 != grad.shape[axis]"),
    ),
    wrong(
        "reshaped_by_force",
        UNBROADCAST,
        "A shape that only has as many entries is taken for one that broadcasts: compare size by size, from the right.",
        (
            "    n_added = grad.ndim",
            "    if grad.size == np.prod(shape, dtype=int):\n        return grad.reshape(shape)\n    n_added = grad.ndim",
        ),
    ),
    wrong(
        "nothing_refused",
        UNBROADCAST,
        "A shape that does not broadcast to grad's is not refused.",
        (REFUSAL, "    if n_added < 0:\n"),
    ),
    wrong(
        "broadcast_either_way",
        UNBROADCAST,
        "It is asked whether the shapes go together, not whether `shape` broadcasts to grad's: grad must not be the smaller one.",
        (
            REFUSAL + '        raise ValueError(f"shape {shape} does not broadcast to grad\'s shape {grad.shape}")\n',
            "    if n_added < 0 or any(n != m and 1 not in (n, m) for n, m in zip(shape, grad.shape[n_added:])):\n"
            "        raise ValueError('shape')\n"
            "    grad = np.broadcast_to(grad, np.broadcast_shapes(shape, grad.shape))\n",
        ),
    ),
    wrong(
        "always_float64",
        UNBROADCAST,
        "A float32 gradient comes back as float64.",
        (SUMMED, "return grad.sum(axis=(*range(n_added), *stretched), keepdims=True, dtype=np.float64).reshape(shape)"),
    ),
    wrong(
        "float64_when_nothing_is_summed",
        UNBROADCAST,
        "A float32 gradient comes back as float64 where nothing was broadcast.",
        ("        return grad\n", "        return grad.astype(float)\n"),
    ),
    wrong(
        "sizes_above_1_only",
        UNBROADCAST,
        "An axis of size 1 may have been stretched to 0 as well: a sum of nothing is 0.",
        ("if size == 1 != grad.shape[axis]", "if size == 1 < grad.shape[axis]"),
    ),
    wrong(
        "empty_gradients_pass",
        UNBROADCAST,
        "An empty gradient comes back as it is, in its own shape: the result has the shape that was asked for.",
        ("    if grad.shape == shape:\n", "    if grad.shape == shape or not grad.size:\n"),
    ),
    # topological_order
    wrong(
        "children_first",
        ORDER,
        "The order is the other way round: parents come before children, the root is the last.",
        ("return order\n", "return order[::-1]\n"),
    ),
    wrong(
        "root_left_out",
        ORDER,
        "The root itself is missing: it is the last of the order.",
        ("return order\n", "return order[:-1]\n"),
    ),
    wrong(
        "leaves_left_out",
        ORDER,
        "Nodes without parents are missing: they are where gradients end up.",
        ("            order.append(node)\n", "            if node.parents:\n                order.append(node)\n"),
    ),
    wrong(
        "appended_when_met",
        ORDER,
        "A node is put into the order when it is met, before its parents are: its turn is when they are done.",
        (
            "        if parents_are_done:\n            order.append(node)\n        elif id(node) not in seen:\n",
            "        if id(node) not in seen:\n            order.append(node)\n",
        ),
        ("            stack.append((node, True))  # to come back to, after its parents\n", ""),
    ),
    wrong(
        "depth_first_reversed",
        ORDER,
        "The order in which nodes are met is reversed. That is right for trees; where a node is met early by a short way, "
        "a node that "
        "depends on it may follow by a longer one.",
        (
            "        if parents_are_done:\n            order.append(node)\n        elif id(node) not in seen:\n",
            "        if id(node) not in seen:\n            order.append(node)\n",
        ),
        ("            stack.append((node, True))  # to come back to, after its parents\n", ""),
        ("return order\n", "return order[::-1]\n"),
    ),
    wrong(
        "breadth_first_reversed",
        ORDER,
        "Nodes are ordered by their distance from the root. Where a short and a long way lead to the same node, that is "
        "not enough.",
        (
            "        node, parents_are_done = stack.pop()\n        if parents_are_done:\n            order.append(node)\n"
            "        elif id(node) not in seen:\n",
            "        node, _ = stack.pop(0)\n        if id(node) not in seen:\n            order.append(node)\n",
        ),
        ("            stack.append((node, True))  # to come back to, after its parents\n", ""),
        ("return order\n", "return order[::-1]\n"),
    ),
    wrong(
        "nodes_several_times",
        ORDER,
        "A node to which several ways lead comes several times: remember which were there already.",
        ("elif id(node) not in seen:", "else:"),
    ),
    wrong(
        "seen_when_put_on_the_stack",
        ORDER,
        "A node is marked when it is put on the stack. If another parent of the same child depends on it, it comes too "
        "late: mark it "
        "when it is taken from the stack.",
        (
            "            stack.extend((parent, False) for parent in node.parents)\n",
            "            for parent in node.parents:\n                if id(parent) not in marked:\n"
            "                    marked.add(id(parent))\n"
            "                    stack.append((parent, False))\n",
        ),
        ("    order, seen = [], set()\n", "    order, seen, marked = [], set(), {id(root)}\n"),
    ),
    wrong(
        "first_parent_only",
        ORDER,
        "Only the first parent of each node is followed.",
        ("for parent in node.parents)", "for parent in node.parents[:1])"),
    ),
    wrong(
        "two_parents_at_most",
        ORDER,
        "Only two parents of each node are followed: there may be any number.",
        ("for parent in node.parents)", "for parent in node.parents[:2])"),
    ),
    wrong(
        "equal_nodes_are_one",
        ORDER,
        "Nodes are compared by ==, so that equal ones count as one: remember their `id`.",
        ("elif id(node) not in seen:", "elif not any(node == other for other in seen):"),
        ("order, seen = [], set()", "order, seen = [], []"),
        ("seen.add(id(node))", "seen.append(node)"),
    ),
    wrong(
        "nodes_hashed",
        ORDER,
        "The nodes themselves are put into a set, but they need not be hashable: put their `id` there.",
        ("elif id(node) not in seen:", "elif node not in seen:"),
        ("seen.add(id(node))", "seen.add(node)"),
    ),
    wrong(
        "seen_for_ever",
        ORDER,
        "What was seen in one call is still known in the next one, and left out there: begin each call with an empty set.",
        ("    order, seen = [], set()\n", "    seen = topological_order.__dict__.setdefault('seen', set())\n    order = []\n"),
    ),
    wrong(
        "parents_used_up",
        ORDER,
        "The parents are taken out of the nodes' own lists: the graph must stay as it is.",
        (
            "            stack.extend((parent, False) for parent in node.parents)\n",
            "            stack.extend((parent, False) for parent in node.parents)\n"
            "            if isinstance(node.parents, list):\n                node.parents.clear()\n",
        ),
    ),
    wrong(
        "a_generator_of_nodes",
        ORDER,
        "The order is an iterator, which can be walked through only once: make it a list.",
        ("return order\n", "return iter(order)\n"),
    ),
    # Array: the graph
    wrong(
        "gradient_overwritten",
        ARRAY,
        "What arrives at a node on a second way takes the place of what was there: it has to be added, as in x * x or x + x.",
        (ARRIVED, "grads[id(parent)] = share"),
    ),
    wrong(
        "first_way_only",
        ARRAY,
        "Only the gradient that arrives first counts: what comes on other ways has to be added.",
        (ARRIVED, "grads.setdefault(id(parent), share)"),
    ),
    wrong(
        "parents_once_each",
        ARRAY,
        "Where both operands are the same node it gets its gradient only once: x * x has the derivative 2x.",
        (
            "links = tuple(link for link in links if link[0].requires_grad)",
            "links = tuple({id(link[0]): link for link in links if link[0].requires_grad}.values())",
        ),
    ),
    wrong(
        "broadcasting_forgotten",
        ARRAY,
        "A gradient has the shape of the result, not that of the operand that was broadcast to it: unbroadcast it.",
        (SHARE, "share = np.asarray(pullback(g)).astype(parent.data.dtype, copy=False)"),
    ),
    wrong(
        "added_in_place",
        ARRAY,
        "Gradients are added in place, to arrays that others use as well, such as the g that + hands to both operands: a = "
        "a + b.",
        (
            ARRIVED,
            "if id(parent) in grads:\n                    grads[id(parent)] += share\n                else:\n"
            "                    grads[id(parent)] = share if share.flags.writeable else share.copy()",
        ),
    ),
    wrong(
        "added_in_place_at_leaves",
        ARRAY,
        "A leaf's gradient is changed in place, and it is the very array that somebody else passed on: take a copy, add "
        "with a + b.",
        (
            TO_LEAF,
            "if node.grad is None:\n                    node.grad = np.asarray(g) if np.asarray(g).flags.writeable else "
            "np.array(g)\n                else:\n                    node.grad += g",
        ),
    ),
    wrong(
        "leaves_without_copies",
        ARRAY,
        "The gradients of two leaves are one array, as + handed it to both: give each leaf a copy.",
        (TO_LEAF, "node.grad = np.asarray(g if node.grad is None else node.grad + g)"),
    ),
    wrong(
        "gradients_start_anew",
        ARRAY,
        "Each backward overwrites the gradients of the one before: it has to add to them.",
        (TO_LEAF, "node.grad = np.array(g)"),
    ),
    wrong(
        "one_seed_for_every_walk",
        ARRAY,
        "A gradient that has been given is left out of account: g begins with it, not with 1.",
        ("grads = {id(self): grad}", "grads = {id(self): np.ones_like(grad)}"),
    ),
    wrong(
        "counted_once_more_by_results",
        ARRAY,
        "Results keep the gradients of an earlier walk and pass them on once more: what belongs to a walk is forgotten at "
        "its end.",
        (
            "            g = grads.pop(id(node))  # complete: all that was computed from the node has been here\n",
            "            g = grads.pop(id(node))\n            if node.parents and node is not self:\n"
            "                g = node.grad = g if node.grad is None else node.grad + g\n",
        ),
    ),
    wrong(
        "root_kept_from_before",
        ARRAY,
        "The root's own gradient is added to from walk to walk, so that a second backward counts twice.",
        (
            "        grads = {id(self): grad}",
            "        self._seed = getattr(self, '_seed', 0) + grad\n        grad = self._seed\n        grads = {id(self): grad}",
        ),
    ),
    wrong(
        "graph_used_up",
        ARRAY,
        "The graph is gone after one backward, so that a second one does nothing: it may be walked several times.",
        (
            "                grads[id(parent)] = grads",
            "                node._spent = True\n                grads[id(parent)] = grads",
        ),
        (
            "        grads = {id(self): grad}",
            "        if getattr(self, '_spent', False):\n            return\n        grads = {id(self): grad}",
        ),
    ),
    wrong(
        "order_of_creation_reversed_wrongly",
        ARRAY,
        "The walk begins at the leaves: it has to begin at the root, children before parents.",
        (WALK, "for node in topological_order(self):"),
        ("g = grads.pop(id(node))", "g = grads.pop(id(node), None)"),
        (ASKED, "if g is None:\n                continue\n            " + ASKED),
    ),
    wrong(
        "depth_first_walk",
        ARRAY,
        "A node passes on what it has when it is first met; what comes to it later on other ways is lost, or counted "
        "twice. Walk in topological order.",
        (
            WALK,
            "nodes, known = [], [self]\n        while known:\n            nodes.append(known.pop(0))\n"
            "            known += [p for p in nodes[-1].parents if all(p is not q for q in (*nodes, *known))]\n"
            "        for node in nodes:",
        ),
        ("g = grads.pop(id(node))", "g = grads.pop(id(node), 0)"),
    ),
    wrong(
        "recursive_walk",
        ARRAY,
        "backward calls itself for each parent: a long chain is too deep for that, and a node with many children is "
        "visited once for each.",
        (
            WALK,
            "def pass_on(node, g):\n            if node.requires_grad and not node.parents:\n"
            "                node.grad = np.array(g if node.grad is None else node.grad + g)\n"
            "            for parent, pullback in zip(node.parents, node._pullbacks):\n"
            "                pass_on(parent, unbroadcast(pullback(g), parent.data.shape).astype(parent.data.dtype, "
            "copy=False))\n\n"
            "        pass_on(self, grad)\n        for node in ():",
        ),
    ),
    wrong(
        "constants_get_gradients",
        ARRAY,
        "Leaves that require no gradient get one as well.",
        (
            "links = tuple(link for link in links if link[0].requires_grad)",
            "wanted = any(parent.requires_grad for parent, _ in links)",
        ),
        ("result.requires_grad = bool(links)", "result.requires_grad = wanted"),
        (ASKED, "if not node.parents:"),
    ),
    wrong(
        "everything_requires_gradients",
        ARRAY,
        "A result of constants says that it requires a gradient: it does only if an operand does.",
        ("result.requires_grad = bool(links)", "result.requires_grad = True"),
    ),
    wrong(
        "both_operands_must_require",
        ARRAY,
        "A result requires a gradient only where all operands do: one is enough.",
        (
            "links = tuple(link for link in links if link[0].requires_grad)",
            "links = links if all(parent.requires_grad for parent, _ in links) else ()",
        ),
    ),
    wrong(
        "requires_gradients_by_default",
        ARRAY,
        "A leaf requires a gradient although nobody asked for it: the default is False.",
        (
            "def __init__(self, data: Any, requires_grad: bool = False):",
            "def __init__(self, data: Any, requires_grad: bool = True):",
        ),
        ("result = Array(data)\n", "result = Array(data, False)\n"),
    ),
    wrong(
        "gradients_begin_with_0",
        ARRAY,
        "A leaf's gradient is 0 from the beginning: it is None until backward has reached the leaf.",
        ("self.grad: np.ndarray | None = None", "self.grad = np.zeros_like(self.data)"),
    ),
    wrong(
        "any_shape_begins_with_1",
        ARRAY,
        "backward without a gradient is not refused for a result of several numbers.",
        ("if self.data.size != 1:", "if False:"),
    ),
    wrong(
        "shape_must_be_empty",
        ARRAY,
        "backward without a gradient is refused for shape (1,), although it holds a single number.",
        ("if self.data.size != 1:", "if self.data.shape != ():"),
    ),
    wrong(
        "empty_begins_with_1",
        ARRAY,
        "backward without a gradient is not refused for a result without any number.",
        ("if self.data.size != 1:", "if self.data.size > 1:"),
    ),
    wrong(
        "gradient_is_broadcast",
        ARRAY,
        "A gradient that only broadcasts to data's shape is not refused.",
        (
            "        if grad.shape != self.data.shape:\n"
            '            raise ValueError(f"grad has shape {grad.shape}, data {self.data.shape}")\n',
            "        grad = np.broadcast_to(grad, self.data.shape)\n",
        ),
    ),
    wrong(
        "gradient_of_any_shape_with_as_many",
        ARRAY,
        "A gradient that only has as many entries as data is not refused.",
        (
            "        if grad.shape != self.data.shape:\n"
            '            raise ValueError(f"grad has shape {grad.shape}, data {self.data.shape}")\n',
            "        grad = grad.reshape(self.data.shape)\n",
        ),
    ),
    wrong(
        "refused_too_late",
        ARRAY,
        "backward has changed gradients already when it refuses to go on: look at the gradient first.",
        (
            "            if self.data.size != 1:\n",
            "            if self.data.size != 1:\n                for node in topological_order(self):\n"
            "                    node.grad = np.zeros_like(node.data) + 1\n",
        ),
    ),
    # Array: sums and products
    wrong(
        "product_without_the_other",
        ARRAY,
        "In a product each operand gets g times the other one, not g times itself.",
        (MUL, "return self._result(self.data * other.data, (self, lambda g: g * self.data), (other, lambda g: g * other.data))"),
    ),
    wrong(
        "product_without_g",
        ARRAY,
        "A product passes on its local derivative and forgets g: the chain rule multiplies by what came from behind.",
        (
            MUL,
            "return self._result(self.data * other.data, (self, lambda g: other.data + 0 * g), (other, lambda g: self.data "
            "+ 0 * g))",
        ),
    ),
    wrong(
        "second_factor_constant",
        ARRAY,
        "The second operand of a product gets no gradient.",
        (MUL, "return self._result(self.data * other.data, (self, lambda g: g * other.data))"),
    ),
    wrong(
        "sum_passes_on_to_one",
        ARRAY,
        "The second operand of a sum gets no gradient.",
        (ADD, "return self._result(self.data + other.data, (self, lambda g: g))"),
    ),
    wrong(
        "sum_without_g",
        ARRAY,
        "sum passes on 1 to each number and forgets g.",
        ("            return np.broadcast_to(g, self.data.shape)\n", "            return np.ones_like(self.data)\n"),
    ),
    wrong(
        "axes_do_not_come_back",
        ARRAY,
        "The axes that sum took away do not come back before g is spread, so that it lands on the wrong axis: np.expand_dims.",
        (
            BACK,
            "g = np.asarray(g) if keepdims or axis is None else (g if np.ndim(g) and np.shape(g) == "
            "self.data.shape[-np.ndim(g):] else np.expand_dims(g, axis))",
        ),
    ),
    wrong(
        "axis_of_size_1_put_first",
        ARRAY,
        "The axes that sum took away come back at the front, whichever they were.",
        (BACK, "g = g if keepdims or axis is None else np.reshape(g, (1,) * (self.data.ndim - np.ndim(g)) + np.shape(g))"),
    ),
    wrong(
        "axis_0_is_none",
        ARRAY,
        "An axis of 0 is taken for no axis at all: `if axis` is False for it, so ask `axis is None`.",
        (
            "return self._result(self.data.sum(axis=axis, keepdims=keepdims)",
            "axis = axis or None\n        return self._result(self.data.sum(axis=axis, keepdims=keepdims)",
        ),
    ),
    wrong(
        "several_axes_not_at_all",
        ARRAY,
        "sum over several axes brings back only the first of them.",
        (BACK, "g = g if keepdims or axis is None else np.expand_dims(g, axis[0] if isinstance(axis, tuple) else axis)"),
    ),
    wrong(
        "keepdims_ignored",
        ARRAY,
        "keepdims is not heeded: with it, the axes that are summed over stay, with size 1.",
        (
            "self.data.sum(axis=axis, keepdims=keepdims), (self, spread)",
            "self.data.sum(axis=axis), (self, lambda g: np.broadcast_to(g if axis is None else np.expand_dims(g, axis), "
            "self.data.shape))",
        ),
    ),
    wrong(
        "keepdims_lets_axes_come_twice",
        ARRAY,
        "With keepdims the axes are there already, and get a second one each: expand only without it.",
        (BACK, "g = g if axis is None else np.expand_dims(g, axis)"),
    ),
    wrong(
        "negative_axes_counted_short",
        ARRAY,
        "A negative axis is counted in the result, which has fewer axes: bring it to 0 or more, by the axes of the operand.",
        (
            BACK,
            "g = g if keepdims or axis is None else np.expand_dims(g, tuple(a % max(1, np.ndim(g)) for a in (axis if "
            "isinstance(axis, tuple) else (axis,))))",
        ),
    ),
    wrong(
        "mean_over_all_numbers",
        ARRAY,
        "mean divides by the number of all numbers: over an axis it is those along that axis that count.",
        ("return total / (self.data.size // max(1, total.data.size))", "return total / self.data.size"),
    ),
    wrong(
        "mean_over_one_of_several_axes",
        ARRAY,
        "mean over several axes divides by the size of one of them only: by the product of all.",
        (
            "return total / (self.data.size // max(1, total.data.size))",
            "return total / (self.data.size if axis is None else self.data.shape[axis[0] if isinstance(axis, tuple) else axis])",
        ),
    ),
    wrong(
        "mean_with_the_gradient_of_a_sum",
        ARRAY,
        "mean has the gradient of a sum: it has to be divided as well.",
        (
            "        total = self.sum(axis, keepdims)\n        return total / (self.data.size // max(1, total.data.size))\n",
            "        total = self.sum(axis, keepdims)\n"
            "        return total + (total.data / (self.data.size // max(1, total.data.size)) - total.data)\n",
        ),
    ),
    wrong(
        "mean_without_keepdims",
        ARRAY,
        "mean does not hand on keepdims.",
        ("total = self.sum(axis, keepdims)", "total = self.sum(axis)"),
    ),
    # Array: operators
    wrong(
        "difference_with_a_plus",
        ARRAY,
        "The second operand of a difference gets g: it has to be -g.",
        (
            "return self + -self._operand(other)",
            "other = self._operand(other)\n        return self._result(self.data - other.data, (self, lambda g: g), "
            "(other, lambda g: g))",
        ),
    ),
    wrong(
        "negation_passes_g",
        ARRAY,
        "-x passes on g: it has to be -g.",
        ("return self._result(-self.data, (self, lambda g: -g))", "return self._result(-self.data, (self, lambda g: g))"),
        (
            "return self + -self._operand(other)",
            "other = self._operand(other)\n        return self._result(self.data - other.data, (self, lambda g: g), "
            "(other, lambda g: -g))",
        ),
    ),
    wrong(
        "differences_turned_round",
        ARRAY,
        "2 - x gives x - 2: __rsub__ has the other operand on the left.",
        ("return self._operand(other) - self\n", "return self - other\n"),
    ),
    wrong(
        "quotients_turned_round",
        ARRAY,
        "1 / x gives x / 1: __rtruediv__ has the other operand on the left.",
        ("return self._operand(other) / self\n", "return self / other\n"),
    ),
    wrong(
        "matrix_products_turned_round",
        ARRAY,
        "array @ x gives x @ array: __rmatmul__ has the other operand on the left, and @ does not commute.",
        ("return self._operand(other) @ self\n", "return self @ other\n"),
    ),
    wrong(
        "ndarrays_take_over",
        ARRAY,
        "ndarray + Array is an array of objects: NumPy leaves the work to Array.__radd__ only where __array_ufunc__ is None.",
        ("    __array_ufunc__ = None  # tells NumPy to leave `ndarray + Array` to Array.__radd__\n", ""),
    ),
    wrong(
        "arrays_refused_as_operands",
        ARRAY,
        "An operand that is an ndarray is not taken: only Arrays and numbers are.",
        (
            OPERAND,
            "if not isinstance(other, int | float):\n            raise TypeError('an Array or a number')\n"
            "        return Array(np.asarray(other, self.data.dtype))",
        ),
    ),
    wrong(
        "numbers_are_float64",
        ARRAY,
        "A Python number makes float64 of a float32 Array: it takes the dtype of the Array that it meets.",
        (OPERAND, "return Array(other)"),
    ),
    wrong(
        "ints_are_float64",
        ARRAY,
        "An int makes float64 of a float32 Array: it takes the dtype of the Array that it meets, as a float does.",
        ("isinstance(other, int | float) else other", "isinstance(other, float) else other"),
    ),
    wrong(
        "operands_take_the_dtype_of_the_left",
        ARRAY,
        "The right operand is brought to the dtype of the left one: float32 with float64 gives float64.",
        (
            "        if isinstance(other, Array):\n            return other\n",
            "        if isinstance(other, Array):\n            return other if other.data.dtype == self.data.dtype else "
            "other._as(self.data.dtype)\n",
        ),
        (
            "    @staticmethod\n    def _result(",
            "    def _as(self, dtype):\n        return self._result(self.data.astype(dtype), (self, lambda g: g))\n\n"
            "    @staticmethod\n    def _result(",
        ),
    ),
    wrong(
        "all_data_float64",
        ARRAY,
        "float32 data becomes float64.",
        (DATA, "self.data = data.astype(np.float64)"),
    ),
    wrong(
        "all_data_float32",
        ARRAY,
        "What is no floating array becomes float32: it has to be float64.",
        (DATA, "self.data = data if data.dtype in (np.float32, np.float64) else data.astype(np.float32)"),
    ),
    wrong(
        "integers_stay_integers",
        ARRAY,
        "Integer data stays integer: it has to be float64, or gradients are cut off.",
        (DATA, "self.data = data"),
    ),
    wrong(
        "float16_stays",
        ARRAY,
        "float16 data stays float16: all but float32 and float64 becomes float64.",
        (DATA, "self.data = data if data.dtype.kind == 'f' else data.astype(np.float64)"),
    ),
    wrong(
        "gradients_in_the_dtype_of_the_result",
        ARRAY,
        "The gradient of a float32 leaf is float64, as that of the result is: it has the dtype of its own data.",
        (SHARE, "share = unbroadcast(pullback(g), parent.data.shape)"),
    ),
    wrong(
        "scalars_of_numpy",
        ARRAY,
        "data of a sum, or a gradient without axes, is a NumPy scalar: np.asarray makes an ndarray of it.",
        (TO_LEAF, "node.grad = g.copy() if node.grad is None else node.grad + g"),
    ),
    wrong(
        "quotient_without_square",
        ARRAY,
        "The denominator gets -g x / y: it has to be divided by y once more.",
        (QUOTIENT, "return self._result(quotient, (self, lambda g: g / other.data), (other, lambda g: -g * quotient))"),
    ),
    wrong(
        "quotient_without_minus",
        ARRAY,
        "The gradient of a denominator has a minus: -g x / y².",
        (
            QUOTIENT,
            "return self._result(quotient, (self, lambda g: g / other.data), (other, lambda g: g * quotient / other.data))",
        ),
    ),
    wrong(
        "quotient_without_numerator",
        ARRAY,
        "The gradient of a denominator has the numerator in it: -g x / y².",
        (QUOTIENT, "return self._result(quotient, (self, lambda g: g / other.data), (other, lambda g: -g / other.data**2))"),
    ),
    wrong(
        "denominator_constant",
        ARRAY,
        "A denominator gets no gradient.",
        (QUOTIENT, "return self._result(quotient, (self, lambda g: g / other.data))"),
    ),
    wrong(
        "power_without_exponent",
        ARRAY,
        "The gradient of x ** n has the factor n.",
        (POWER, "(self, lambda g: g * self.data ** (exponent - 1))"),
    ),
    wrong(
        "power_not_lowered",
        ARRAY,
        "The gradient of x ** n has x ** (n - 1), not x ** n.",
        (POWER, "(self, lambda g: g * exponent * self.data**exponent)"),
    ),
    wrong(
        "power_by_dividing",
        ARRAY,
        "n x ** n / x is NaN where x is 0: use x ** (n - 1).",
        (POWER, "(self, lambda g: g * exponent * self.data**exponent / self.data)"),
    ),
    wrong(
        "power_by_logarithms",
        ARRAY,
        "x ** n is not exp(n log x) where x is negative or 0.",
        (
            "return self._result(self.data**exponent, (self, lambda g",
            "return self._result(np.exp(exponent * np.log(self.data)), (self, lambda g",
        ),
    ),
    wrong(
        "power_of_0_is_nan_at_0",
        ARRAY,
        "The gradient of x ** 0 is NaN where x is 0, since 0 ** -1 is infinite: it is 0 everywhere.",
        ("        if exponent == 0:\n            return self._result(self.data**exponent, (self, np.zeros_like))\n", ""),
    ),
    # Array: @
    wrong(
        "power_of_1_is_flat_at_0",
        ARRAY,
        "Where x has a 0, the gradient of x ** 1 is made 0 like that of x ** 0: it is g, at 0 too.",
        ("        if exponent == 0:", "        if exponent == 0 or exponent == 1 and not self.data.all():"),
    ),
    wrong(
        "matmul_not_transposed",
        ARRAY,
        "The gradient of the left operand is g @ otherᵀ: the transposition is missing.",
        ("return whole(g) @ right.mT  #", "return whole(g) @ (right if right.shape[-1] == right.shape[-2] else right.mT)  #"),
    ),
    wrong(
        "matmul_sides_swapped",
        ARRAY,
        "The gradient of the right operand is selfᵀ @ g, in this order.",
        ("g = left.mT @ whole(g)\n", "g = (whole(g).mT @ left) if left.shape[-1] == right.shape[-1] else left.mT @ whole(g)\n"),
    ),
    wrong(
        "matmul_of_matrices_only",
        ARRAY,
        "Vectors on the left of @ get no right gradient: give them the axis that they lack.",
        ("return g[..., None, :] if is_row else g\n", "return g\n"),
    ),
    wrong(
        "matmul_columns_keep_their_axis",
        ARRAY,
        "The gradient of a vector on the right of @ keeps the axis that it was lent: take it away again.",
        ("return g[..., 0] if is_column else g\n", "return g\n"),
    ),
    wrong(
        "matmul_transposes_all_axes",
        ARRAY,
        "In a batch only the last two axes are transposed: .T turns round all of them, .mT and swapaxes(-1, -2) do not.",
        ("return whole(g) @ right.mT  #", "return whole(g) @ right.T  #"),
    ),
    wrong(
        "matmul_batches_of_the_left_only",
        ARRAY,
        "A batch that was broadcast is not added up again for the right operand: unbroadcast its gradient.",
        (
            "return g[..., 0] if is_column else g\n",
            "g = g[..., 0] if is_column else g\n            return g if g.ndim <= other.data.ndim else g[(0,) * (g.ndim - "
            "other.data.ndim)]\n",
        ),
    ),
    # Array: functions
    wrong(
        "exp_passes_g",
        ARRAY,
        "exp passes on g: it has to be g times exp(x).",
        ("return self._result(value, (self, lambda g: g * value))", "return self._result(value, (self, lambda g: g))"),
    ),
    wrong(
        "log_times_x",
        ARRAY,
        "log passes on g x: it has to be g / x.",
        ("(self, lambda g: g / self.data))", "(self, lambda g: g * self.data))"),
    ),
    wrong(
        "tanh_without_square",
        ARRAY,
        "The derivative of tanh is 1 - tanh(x)², with a square.",
        ("g * (1 - value**2)", "g * (1 - value)"),
    ),
    wrong(
        "tanh_by_exponentials",
        ARRAY,
        "tanh from exp(x) is NaN where that overflows: np.tanh is finite for any finite number.",
        (
            "value = np.tanh(self.data)",
            "up, down = np.exp(self.data), np.exp(-self.data)\n        value = (up - down) / (up + down)",
        ),
    ),
    wrong(
        "relu_at_0_passes",
        ARRAY,
        "At 0 relu lets the gradient pass: it is 0 there.",
        ("np.where(self.data > 0, g, 0)", "np.where(self.data >= 0, g, 0)"),
    ),
    wrong(
        "relu_passes_everything",
        ARRAY,
        "relu lets the gradient pass everywhere.",
        ("lambda g: np.where(self.data > 0, g, 0)", "lambda g: g"),
    ),
    wrong(
        "leaky_relu",
        ARRAY,
        "Below 0 relu and its gradient are 0: this one leaks.",
        (
            "np.maximum(self.data, 0), (self, lambda g: np.where(self.data > 0, g, 0))",
            "np.maximum(self.data, 0.01 * self.data), (self, lambda g: np.where(self.data > 0, g, 0.01 * g))",
        ),
    ),
    # Array: shapes and parts
    wrong(
        "reshaped_in_fortran_order",
        ARRAY,
        "The numbers are read column by column: reshape reads them row by row, last axis first.",
        (
            "self.data.reshape(*shape), (self, lambda g: g.reshape(self.data.shape))",
            "self.data.reshape(*shape, order='F'), (self, lambda g: g.reshape(self.data.shape, order='F'))",
        ),
    ),
    wrong(
        "gradient_not_reshaped_back",
        ARRAY,
        "g comes back in another order than the numbers went: reshape it to the old shape, in the same order.",
        ("lambda g: g.reshape(self.data.shape)", "lambda g: g.reshape(self.data.shape[::-1]).T"),
    ),
    wrong(
        "parents_stay_empty",
        ARRAY,
        "A result's `parents` is empty: it holds the Arrays that it was computed from.",
        ("result.parents = tuple(parent for parent, _ in links)", "result._from = tuple(parent for parent, _ in links)"),
        ("        self.parents: tuple[Array, ...] = ()\n", "        self.parents = self._from = ()\n"),
        (
            WALK,
            "seen, stack, order = set(), [(self, False)], []\n        while stack:\n            node, done = stack.pop()\n"
            "            if done:\n                order.append(node)\n            elif id(node) not in seen:\n"
            "                seen.add(id(node))\n"
            "                stack.append((node, True))\n                stack += [(parent, False) for parent in node._from]\n"
            "        for node in reversed(order):",
        ),
        (ASKED, "if node.requires_grad and not node._from:"),
        (
            "for parent, pullback in zip(node.parents, node._pullbacks):",
            "for parent, pullback in zip(node._from, node._pullbacks):",
        ),
    ),
    wrong(
        "reshaped_as_it_lies_in_memory",
        ARRAY,
        "The numbers are taken in the order in which they lie in memory: reshape reads them row by row.",
        ("self.data.reshape(*shape), (self", 'self.data.reshape(*shape, order="A"), (self'),
    ),
    wrong(
        "gradient_reshaped_as_it_lies_in_memory",
        ARRAY,
        "g is taken in the order in which it lies in memory, and a transposition may have changed that: row by row.",
        ("lambda g: g.reshape(self.data.shape)", 'lambda g: g.reshape(self.data.shape, order="A")'),
    ),
    wrong(
        "reshape_takes_no_tuple",
        ARRAY,
        "x.reshape((2, 3)) is not understood: a tuple has to be as good as single sizes.",
        ("self.data.reshape(*shape), (self", "self.data.reshape(tuple(size + 0 for size in shape)), (self"),
    ),
    wrong(
        "transposed_twice_the_same_way",
        ARRAY,
        "g is transposed by the same axes again: that leads back only for two axes. It needs the inverse permutation.",
        ("g.transpose(np.argsort(order))", "g.transpose(order)"),
    ),
    wrong(
        "argsort_of_negative_axes",
        ARRAY,
        "np.argsort of axes that are negative is not their inverse: count them from 0 first.",
        (
            "        order = order[np.ravel(axes).astype(int)] if axes else order[::-1]  # of axes from 0 on\n",
            "        order = np.ravel(axes).astype(int) if axes else order[::-1]\n",
        ),
    ),
    wrong(
        "transpose_takes_no_tuple",
        ARRAY,
        "x.transpose((1, 0)) is not understood: a tuple has to be as good as single axes.",
        ("order[np.ravel(axes).astype(int)] if axes", "order[[axis + 0 for axis in axes]] if axes"),
    ),
    wrong(
        "repeated_indices_kept_once",
        ARRAY,
        "Where an index comes several times, only one of its gradients is kept: np.add.at adds them all.",
        ("np.add.at(whole, index, g)  #", "whole[index] += g  #"),
    ),
    wrong(
        "repeated_indices_overwritten",
        ARRAY,
        "Where an index comes several times, the last gradient takes the place of the others: np.add.at adds them all.",
        ("np.add.at(whole, index, g)  #", "whole[index] = g  #"),
    ),
    wrong(
        "list_of_different_numbers_overwrites",
        ARRAY,
        "A list of different numbers is taken to repeat nothing, but -3 may be the same place as 0: np.add.at always.",
        (
            "            np.add.at(whole, index, g)  #",
            "            if isinstance(index, list) and len(set(index)) == len(index):\n"
            "                whole[index] = g\n                return whole\n            np.add.at(whole, index, g)  #",
        ),
    ),
    wrong(
        "array_of_different_numbers_overwrites",
        ARRAY,
        "An array of different numbers is taken to repeat nothing, but -3 may be the same place as 0: np.add.at always.",
        (
            "            np.add.at(whole, index, g)  #",
            "            if isinstance(index, np.ndarray) and len(np.unique(index)) == index.size:\n"
            "                whole[index] = g\n                return whole\n            np.add.at(whole, index, g)  #",
        ),
    ),
    wrong(
        "numbers_of_g_in_the_order_of_memory",
        ARRAY,
        "The numbers of g are put back in the order in which they lie in memory, and a transposed g lies there in another one: "
        "ravel() goes row by row.",
        (
            "            np.add.at(whole, index, g)  #",
            "            places = np.arange(self.data.size).reshape(self.data.shape)[index]\n"
            "            np.add.at(whole.reshape(-1), np.ravel(places), np.asarray(g).ravel(order='K'))\n"
            "            return whole\n            np.add.at(whole, index, g)  #",
        ),
    ),
    wrong(
        "places_remembered",
        ARRAY,
        "The array that gradients are put back into is made once, and still holds those of an earlier walk: make a new one "
        "each time.",
        (
            "        def put_back(g: np.ndarray) -> np.ndarray:\n            whole = np.zeros_like(self.data, dtype=g.dtype)\n",
            "        whole = np.zeros_like(self.data)\n\n        def put_back(g: np.ndarray) -> np.ndarray:\n",
        ),
    ),
    wrong(
        "data_changed_by_plus_equals",
        ARRAY,
        "x += y changes the Array that others hold as well: an operation makes a new one.",
        (
            "    def __neg__(self) -> Array:\n",
            "    def __iadd__(self, other):\n        self.data = self.data + self._operand(other).data\n"
            "        return self\n\n    def __neg__(self) -> Array:\n",
        ),
    ),
    # gradcheck
    wrong(
        "always_right",
        CHECK,
        "It says True whatever it finds: return False where an entry differs.",
        (ALIKE, "            assert numeric == numeric or True\n"),
    ),
    wrong(
        "first_input_only",
        CHECK,
        "Only the first input is looked at.",
        ("    for x in leaves:\n", "    for x in leaves[:1]:\n"),
    ),
    wrong(
        "last_input_decides",
        CHECK,
        "Only the last input decides: one entry that differs, anywhere, is enough for False.",
        ("    for x in leaves:\n", "    for x in leaves[-1:]:\n"),
    ),
    wrong(
        "first_entry_only",
        CHECK,
        "Only the first entry of each input is looked at.",
        ("for index in np.ndindex(x.data.shape):", "for index in list(np.ndindex(x.data.shape))[:1]:"),
    ),
    wrong(
        "first_entry_decides",
        CHECK,
        "It says True as soon as one entry agrees: all have to.",
        (ALIKE, ALIKE + "            return True\n"),
    ),
    wrong(
        "last_entry_forgotten",
        CHECK,
        "The last entry of an input with several is not looked at.",
        ("for index in np.ndindex(x.data.shape):", "for index in list(np.ndindex(x.data.shape))[: max(1, x.data.size - 1)]:"),
    ),
    wrong(
        "diagonal_only",
        CHECK,
        "All entries of an input are moved together: a sum of errors may be 0, and a sum of gradients is not what is compared.",
        (
            "            x.data[index] = centre + eps\n",
            "            before = x.data.copy()\n            x.data[...] = before + eps\n",
        ),
        ("            x.data[index] = centre - eps\n", "            x.data[...] = before - eps\n"),
        ("            x.data[index] = centre\n", "            x.data[...] = before\n"),
    ),
    wrong(
        "forward_differences",
        CHECK,
        "This is a difference to one side only, whose error falls with eps and not with its square: take f on both sides.",
        ("x.data[index] = centre - eps", "x.data[index] = centre"),
        ("/ (2 * eps)", "/ eps"),
    ),
    wrong(
        "half_the_width",
        CHECK,
        "The two points are eps apart, half of it on each side: the first is at entry + eps.",
        ("x.data[index] = centre + eps", "x.data[index] = centre + eps / 2"),
        ("x.data[index] = centre - eps", "x.data[index] = centre - eps / 2"),
        ("/ (2 * eps)", "/ eps"),
    ),
    wrong(
        "divided_by_eps",
        CHECK,
        "The two points are 2 eps apart: divide by that.",
        ("/ (2 * eps)", "/ eps"),
    ),
    wrong(
        "eps_ignored",
        CHECK,
        "eps is not used: 1e-6 is only its default.",
        ("    leaves = [", "    eps = 1e-6\n    leaves = ["),
    ),
    wrong(
        "other_default_of_eps",
        CHECK,
        "The default of eps is 1e-6: with a larger one a kink nearby is taken for a mistake.",
        ("eps: float = 1e-6) -> bool:", "eps: float = 0.1) -> bool:"),
    ),
    wrong(
        "entry_not_put_back",
        CHECK,
        "An entry that was moved stays where it was moved to while the next ones are.",
        ("            x.data[index] = centre\n            numeric", "            numeric"),
    ),
    wrong(
        "put_back_by_adding",
        CHECK,
        "An input is moved in place and brought back by adding and subtracting, which leaves rounding errors behind: keep "
        "the old number.",
        (LEAVES, "leaves = [Array(x.data, x.requires_grad) for x in inputs]"),
        ("x.data[index] = centre + eps", "x.data[index] += eps"),
        ("x.data[index] = centre - eps", "x.data[index] -= 2 * eps"),
        ("            x.data[index] = centre\n            numeric", "            x.data[index] += eps\n            numeric"),
    ),
    wrong(
        "left_moved_when_wrong",
        CHECK,
        "After a verdict of False the entry stays moved: put it back before anything is returned.",
        (LEAVES, "leaves = [Array(x.data, x.requires_grad) for x in inputs]"),
        ("            x.data[index] = centre\n            numeric", "            numeric"),
        (ALIKE, ALIKE + "            x.data[index] = centre\n"),
    ),
    wrong(
        "gradients_of_before_count",
        CHECK,
        "backward adds to what is in grad already, so that a gradient from before counts: begin without one.",
        (LEAVES, "leaves = list(inputs)"),
    ),
    wrong(
        "gradients_left_behind",
        CHECK,
        "The inputs keep the gradients of the check: put back what they had.",
        (LEAVES, "leaves = list(inputs)\n    for x in leaves:\n        x.grad = None"),
    ),
    wrong(
        "gradients_cleared_in_the_end",
        CHECK,
        "The inputs lose the gradients that they had: put them back.",
        (LEAVES, "for x in inputs:\n        x.grad = None\n    " + LEAVES),
    ),
    wrong(
        "requires_grad_switched_on",
        CHECK,
        "Inputs that require no gradient are checked as well: they are held fixed.",
        (LEAVES, "leaves = [Array(x.data.copy(), True) for x in inputs]"),
        (
            "f(*leaves).backward()",
            "f(*leaves).backward()\n    for leaf, x in zip(leaves, inputs):\n"
            "        leaf.grad = leaf.grad if x.requires_grad else np.zeros_like(leaf.data)",
        ),
    ),
    wrong(
        "unreached_inputs_skipped",
        CHECK,
        "An input that backward does not reach is passed over: its gradient is 0, and may be wrong.",
        ("        if not x.requires_grad:\n", "        if not x.requires_grad or x.grad is None:\n"),
    ),
    wrong(
        "unreached_inputs_wrong",
        CHECK,
        "An input that backward does not reach counts as wrong: its gradient is 0, which may be right.",
        (
            "gradient = np.zeros_like(x.data) if x.grad is None else x.grad",
            "if x.grad is None:\n            return False\n        gradient = x.grad",
        ),
    ),
    wrong(
        "values_kept_as_views",
        CHECK,
        "f may return its own input, whose data is then moved further: take the number out at once.",
        ("above = f(*leaves).data.item()", "above = f(*leaves).data"),
        ("below = f(*leaves).data.item()", "below = f(*leaves).data"),
        (
            "            x.data[index] = centre\n            numeric = (above - below) / (2 * eps)\n",
            "            numeric = ((above - below) / (2 * eps)).item()\n            x.data[index] = centre\n",
        ),
    ),
    wrong(
        "compared_by_norms",
        CHECK,
        "The gradients are compared as a whole, and a small wrong entry vanishes beside large ones: compare entry by entry.",
        ("        for index in np.ndindex", "        numerics = np.zeros_like(x.data)\n        for index in np.ndindex"),
        (
            ALIKE,
            "            numerics[index] = numeric\n"
            "        if not np.linalg.norm(gradient - numerics) <= 1e-6 + 1e-4 * np.linalg.norm(numerics):\n"
            "            return False\n",
        ),
    ),
    wrong(
        "compared_by_the_largest",
        CHECK,
        "The room for a difference is that of the largest entry, in which a small wrong one vanishes: it is 1e-4 of its own.",
        (ALIKE, ALIKE.replace("abs(numeric)", "max(abs(numeric), np.abs(leaf_max).max())")),
        (
            "    for x in leaves:\n",
            "    leaf_max = np.array([0 if x.grad is None or not x.grad.size else np.abs(x.grad).max() for x in leaves])\n "
            "   for x in leaves:\n",
        ),
    ),
    wrong(
        "relative_errors_only",
        CHECK,
        "Only the relative difference counts, so that a gradient of 0 is wrong by the slightest rounding: 1e-6 is allowed "
        "as well.",
        ("1e-6 + 1e-4 * abs(numeric)", "1e-4 * abs(numeric)"),
    ),
    wrong(
        "absolute_errors_only",
        CHECK,
        "Only the absolute difference counts, so that a large gradient is wrong by the slightest rounding: 1e-4 of it is "
        "allowed as well.",
        ("1e-6 + 1e-4 * abs(numeric)", "1e-6"),
    ),
    wrong(
        "larger_of_the_two_allowances",
        CHECK,
        "The room is the larger of 1e-6 and 1e-4 |numeric|: it should be their sum, which is up to twice as much.",
        ("1e-6 + 1e-4 * abs(numeric)", "max(1e-6, 1e-4 * abs(numeric))"),
    ),
    wrong(
        "too_generous",
        CHECK,
        "Differences of a hundredth pass: the room is 1e-6 + 1e-4 |numeric|.",
        ("1e-6 + 1e-4 * abs(numeric)", "1e-2 + 1e-2 * abs(numeric)"),
    ),
    wrong(
        "sign_ignored",
        CHECK,
        "Only gradients that are too large are found, not those that are too small: take the absolute difference.",
        ("if not abs(gradient[index] - numeric) <=", "if not gradient[index] - numeric <="),
    ),
    wrong(
        "absolute_values_compared",
        CHECK,
        "A gradient with the wrong sign passes: compare the numbers, not their absolute values.",
        ("if not abs(gradient[index] - numeric) <=", "if not abs(abs(gradient[index]) - abs(numeric)) <="),
    ),
    wrong(
        "nan_passes",
        CHECK,
        "NaN passes, for `nan > room` is False: ask for `difference <= room`.",
        (
            "if not abs(gradient[index] - numeric) <= 1e-6 + 1e-4 * abs(numeric) < np.inf:",
            "if abs(gradient[index] - numeric) > 1e-6 + 1e-4 * abs(numeric):",
        ),
    ),
    wrong(
        "eps_of_nan_accepted",
        CHECK,
        "An eps of NaN is not refused, for `nan <= 0` is False: ask for `not eps > 0`.",
        ("if not eps > 0:", "if eps <= 0:"),
    ),
    wrong(
        "old_gradient_times_0",
        CHECK,
        "A gradient from before is multiplied by 0, and infinity times 0 is NaN: begin with None.",
        (
            LEAVES,
            LEAVES + "\n    for x, given in zip(leaves, inputs):\n"
            "        x.grad = None if given.grad is None else 0 * given.grad",
        ),
    ),
    wrong(
        "eps_of_0_accepted",
        CHECK,
        "An eps of 0 is not refused.",
        ("if not eps > 0:", "if not eps >= 0:"),
    ),
    wrong(
        "negative_eps_accepted",
        CHECK,
        "A negative eps is not refused.",
        ("if not eps > 0:", "if eps == 0:"),
    ),
    wrong(
        "float32_accepted",
        CHECK,
        "float32 inputs are not refused, although differences of 1e-6 drown in their rounding.",
        ("if any(x.data.dtype != np.float64 for x in inputs):", "if False:"),
    ),
    wrong(
        "first_dtype_only",
        CHECK,
        "Only the first input's dtype is looked at.",
        ("if any(x.data.dtype != np.float64 for x in inputs):", "if inputs[0].data.dtype != np.float64:"),
    ),
    wrong(
        "relu_in_place",
        ARRAY,
        "relu sets g to 0 in place, and g belongs to others as well: make a new array of it.",
        (
            "np.maximum(self.data, 0), (self, lambda g: np.where(self.data > 0, g, 0))",
            "np.maximum(self.data, 0), (self, lambda g: np.multiply(g, self.data > 0, out=g) if isinstance(g, np.ndarray) "
            "and g.flags.writeable else g * (self.data > 0))",
        ),
    ),
    wrong(
        "negation_of_g_in_place",
        ARRAY,
        "-x turns the sign of g in place, and g belongs to others as well: make a new array of it.",
        (
            "(self, lambda g: -g)",
            "(self, lambda g: np.negative(g, out=g) if isinstance(g, np.ndarray) and g.flags.writeable else -g)",
        ),
    ),
    wrong(
        "repeated_pairs_of_indices",
        ARRAY,
        "Where a pair of indices comes several times only one of its gradients is kept: np.add.at adds them all.",
        (
            "np.add.at(whole, index, g)  # whole[index] += g would keep only one of several\n",
            "if isinstance(index, tuple):\n                whole[index] = g\n            else:\n"
            "                np.add.at(whole, index, g)\n",
        ),
    ),
    wrong(
        "given_gradient_keeps_its_dtype",
        ARRAY,
        "A float32 leaf gets the float64 gradient that backward was given: a gradient has the dtype of its data.",
        ("grad = np.asarray(grad, dtype=self.data.dtype)", "grad = np.asarray(grad)"),
    ),
    wrong(
        "arrays_without_axes_cast",
        ARRAY,
        "A float64 array without axes is cast to the Array's float32 like a Python number: it counts as float64 like any other.",
        (
            OPERAND,
            "alike = np.ndim(other) == 0 and not isinstance(other, np.generic)\n"
            "        return Array(np.asarray(other, self.data.dtype) if alike or isinstance(other, float) else other)",
        ),
    ),
    wrong(
        "lists_cast",
        ARRAY,
        "A list of floats is cast to the Array's float32: NumPy makes float64 of a list, and only a lone number takes the "
        "Array's dtype.",
        (
            OPERAND,
            "return Array(other if isinstance(other, np.ndarray | np.generic) else np.asarray(other, self.data.dtype))",
        ),
    ),
    wrong(
        "lists_refused_as_operands",
        ARRAY,
        "An operand that is a list is not taken: np.asarray makes an array of it.",
        (OPERAND, "if isinstance(other, list):\n            raise TypeError('a list')\n        " + OPERAND),
    ),
    wrong(
        "constants_refused",
        ARRAY,
        "backward of a result that requires no gradient raises an error: it has nothing to do.",
        (
            "        if grad is None:\n",
            "        if not self.requires_grad:\n            raise ValueError('constant')\n        if grad is None:\n",
        ),
    ),
    wrong(
        "moved_through_a_flat_copy",
        CHECK,
        "An entry is moved in x.data.reshape(-1), which is a copy where data is not contiguous: use an index of all axes.",
        (LEAVES, 'leaves = [Array(x.data.copy(order="K"), x.requires_grad) for x in inputs]'),
        (
            "for index in np.ndindex(x.data.shape):",
            "flat, wide = x.data.reshape(-1), gradient.reshape(-1)\n        for index in range(x.data.size):",
        ),
        ("centre = x.data[index]", "centre = flat[index]"),
        ("x.data[index] = centre + eps", "flat[index] = centre + eps"),
        ("x.data[index] = centre - eps", "flat[index] = centre - eps"),
        ("            x.data[index] = centre\n            numeric", "            flat[index] = centre\n            numeric"),
        ("abs(gradient[index] - numeric)", "abs(wide[index] - numeric)"),
    ),
    wrong(
        "eps_relative_to_the_entry",
        CHECK,
        "The entry is moved by eps times itself: it is moved by eps.",
        (
            "            centre = x.data[index]\n",
            "            centre = x.data[index]\n            eps_here = eps * max(abs(centre), 1e-12)\n",
        ),
        ("x.data[index] = centre + eps", "x.data[index] = centre + eps_here"),
        ("x.data[index] = centre - eps", "x.data[index] = centre - eps_here"),
        ("/ (2 * eps)", "/ (2 * eps_here)"),
    ),
    wrong(
        "always_wrong",
        CHECK,
        "It says False where all entries agree. If Array's tests fail, too, its gradients may be to blame.",
        ("    return True\n", "    return False\n"),
    ),
    # What does not show at first sight
    wrong(
        "two_stretched_axes_at_most",
        UNBROADCAST,
        "Only the first two of the stretched axes are summed over: there may be any number of them.",
        ("*stretched), keepdims", "*stretched[:2]), keepdims"),
    ),
    wrong(
        "false_nodes_skipped",
        ORDER,
        "Nodes are asked whether they are true, and left out where they are not: that says nothing about whether they are there.",
        ("        if parents_are_done:", "        if not node:\n            continue\n        if parents_are_done:"),
    ),
    wrong(
        "order_searched_for_each_node",
        ORDER,
        "The whole order is searched for each node, which takes longer the longer it is: keep the ids in a set.",
        ("elif id(node) not in seen:", "elif id(node) not in seen and all(node is not other for other in order):"),
    ),
    wrong(
        "gradient_summed_up_elsewhere",
        ARRAY,
        "The sum of all walks is kept beside `grad`, so that what was written into `grad` meanwhile is lost: add to `grad`.",
        (
            TO_LEAF,
            "node._sum = np.array(g if node.grad is None else node._sum + g)\n                node.grad = node._sum.copy()",
        ),
    ),
    wrong(
        "lists_refused_in_products",
        ARRAY,
        "array @ x and x @ array work with arrays alone: lists are operands, too.",
        (
            "        other = self._operand(other)\n        product",
            "        other.shape if not isinstance(other, Array) else ()\n        other = self._operand(other)\n        product",
        ),
    ),
    wrong(
        "lists_refused_on_the_left_of_products",
        ARRAY,
        "array @ x works with arrays alone: lists are operands, too.",
        ("return self._operand(other) @ self", "return Array(other.view()) @ self"),
    ),
    wrong(
        "axes_put_back_one_by_one",
        ARRAY,
        "The axes that were summed over are put back one by one as they come: in which order is not the same. Sort them.",
        (
            BACK,
            "for a in () if keepdims or axis is None else axis if isinstance(axis, tuple) else (axis,):\n"
            "                g = np.expand_dims(g, a)",
        ),
    ),
    wrong(
        "exponent_clipped",
        ARRAY,
        "exp is that of a number cut to an interval: np.exp of the number itself.",
        ("value = np.exp(self.data)", "value = np.exp(np.clip(self.data, -20, 20))"),
    ),
    wrong(
        "log_of_a_little_more",
        ARRAY,
        "A small number is added before the log: the log of small numbers is wrong then.",
        ("np.log(self.data)", "np.log(self.data + 1e-12)"),
    ),
    wrong(
        "power_in_place",
        ARRAY,
        "x **= 2 changes the data of x, and with it that of whoever else holds it: leave __ipow__ out.",
        (
            "    def __mul__(self",
            "    def __ipow__(self, n):\n        self.data **= n\n        return self\n\n    def __mul__(self",
        ),
    ),
    wrong(
        "product_in_place",
        ARRAY,
        "x @= y changes x itself, and with it whoever else holds it: leave __imatmul__ out.",
        (
            "    def __mul__(self",
            "    def __imatmul__(self, other):\n        self.data = self.data @ other.data\n"
            "        return self\n\n    def __mul__(self",
        ),
    ),
    wrong(
        "data_made_read_only",
        ARRAY,
        "The array that was passed cannot be written to any more: leave it as it is, or copy it.",
        (
            "        self.requires_grad = requires_grad\n",
            "        self.data.flags.writeable = False\n        self.requires_grad = requires_grad\n",
        ),
    ),
    wrong(
        "relu_of_constants_in_place",
        ARRAY,
        "relu overwrites the data of an Array that requires no gradient: make a new array.",
        ("np.maximum(self.data, 0)", "np.maximum(self.data, 0, out=None if self.requires_grad else self.data)"),
    ),
    wrong(
        "eps_relative_to_large_entries",
        CHECK,
        "eps grows with the entry: the two points are eps away, neither more nor less.",
        (
            "            centre = x.data[index]\n",
            "            centre = x.data[index]\n            h = eps * max(1.0, abs(centre))\n",
        ),
        ("centre + eps", "centre + h"),
        ("centre - eps", "centre - h"),
        ("(2 * eps)", "(2 * h)"),
    ),
    wrong(
        "larger_of_both_tolerances",
        CHECK,
        "The tolerance is the larger of 1e-6 and 1e-4 |numeric|: it is their sum.",
        ("1e-6 + 1e-4 * abs(numeric)", "max(1e-6, 1e-4 * abs(numeric))"),
    ),
    wrong(
        "inputs_moved_and_moved_back",
        CHECK,
        "x - eps + eps is not x where x is tiny: keep the number and put that back, or work on a copy.",
        (LEAVES, "leaves = [Array(x.data, x.requires_grad) for x in inputs]"),
        ("            x.data[index] = centre\n", "            x.data[index] += eps\n"),
    ),
    wrong(
        "first_fifty_entries_only",
        CHECK,
        "Only so many entries of an input are looked at: any of them may be wrong.",
        ("in np.ndindex(x.data.shape)", "in list(np.ndindex(x.data.shape))[:50]"),
    ),
    # rarer mistakes, of every exercise
    wrong(
        "ones_in_front_accepted",
        UNBROADCAST,
        "A shape with more axes than grad is accepted where the axes too many have size 1: broadcasting takes no axes away.",
        ("if n_added < 0 or any(", "if any("),
    ),
    wrong(
        "float16_widened",
        UNBROADCAST,
        "A float16 gradient comes back as float32: the result has grad's dtype, whichever that is.",
        (SUMMED, SUMMED.replace("keepdims=True", "keepdims=True, dtype=max(grad.dtype, np.dtype('f4'))")),
    ),
    wrong(
        "product_takes_the_dtype_of_the_left",
        ARRAY,
        "float32 @ float64 gives float32: as in NumPy, it is float64, whichever of the two stands on the left.",
        ("product = self.data @ other.data", "product = (self.data @ other.data).astype(self.data.dtype)"),
    ),
    wrong(
        "quotient_takes_the_dtype_of_the_left",
        ARRAY,
        "float32 / float64 gives float32: as in NumPy, it is float64, whichever of the two stands on the left.",
        ("quotient = self.data / other.data", "quotient = (self.data / other.data).astype(self.data.dtype)"),
    ),
    wrong(
        "parts_of_constants_want_gradients",
        ARRAY,
        "A part of a constant says that it requires a gradient: a result requires one if an operand does, and not otherwise.",
        (
            "return self._result(self.data[index], (self, put_back))",
            "part = self._result(self.data[index], (self, put_back))\n        part.requires_grad = True\n        return part",
        ),
    ),
    wrong(
        "power_of_0_is_a_constant",
        ARRAY,
        "x ** 0 is made a constant: its gradient is 0, and still it is a result of x and requires a gradient if x does.",
        ("return self._result(self.data**exponent, (self, np.zeros_like))", "return Array(self.data**exponent)"),
    ),
    wrong(
        "lists_within_tuples_overwritten",
        ARRAY,
        "Repeated indices are added up where the index is an array or a list, but not in x[:, [0, 0]]: use np.add.at always.",
        (
            "            np.add.at(whole, index, g)  #",
            "            parts = index if isinstance(index, tuple) else (index,)\n"
            "            if not isinstance(index, list) and not any(isinstance(part, np.ndarray) for part in parts):\n"
            "                whole[index] += g\n                return whole\n            np.add.at(whole, index, g)  #",
        ),
    ),
    wrong(
        "exp_remembered",
        ARRAY,
        "exp is computed once for each Array and remembered, though data may have changed since, by gradient descent.",
        ("value = np.exp(self.data)\n", 'value = self.__dict__.setdefault("_exp", np.exp(self.data))\n'),
    ),
    wrong(
        "negative_powers_of_absolute_values",
        ARRAY,
        "The sign of x is lost in x ** -1 and other negative powers.",
        (
            "return self._result(self.data**exponent, (self, lambda g",
            "base = abs(self.data) if exponent < 0 else self.data\n        return self._result(base**exponent, (self, lambda g",
        ),
    ),
    wrong(
        "constant_root_gets_a_gradient",
        ARRAY,
        "backward of a leaf that requires no gradient leaves one in it: it keeps None.",
        (ASKED, "if (node.requires_grad or node is self) and not node.parents:"),
    ),
    wrong(
        "infinite_slope_agrees",
        CHECK,
        "An infinite difference makes the room for errors infinite, too, and everything agrees: what is not finite never does.",
        (" < np.inf:", ":"),
    ),
    wrong(
        "constant_result_taken_as_right",
        CHECK,
        "Where the result requires no gradient the answer is True at once: but f may depend on its inputs all the same.",
        ("f(*leaves).backward()", "y = f(*leaves)\n    if not y.requires_grad:\n        return True\n    y.backward()"),
    ),
    wrong(
        "float32_constants_accepted",
        CHECK,
        "A float32 input is accepted where it requires no gradient: differences of f drown in its rounding, too.",
        ("for x in inputs):", "for x in inputs if x.requires_grad):"),
    ),
    wrong(
        "matrices_on_the_left_by_transposes",
        ARRAY,
        "other @ self is computed from both transposed, which reverses all axes, those of a batch as well: make other an Array.",
        ("return self._operand(other) @ self", "return (self.transpose() @ np.asarray(other).T).transpose()"),
    ),
    wrong(
        "booleans_are_no_numbers",
        ARRAY,
        "True and False are not taken for Python numbers and make float64 of float32: ask by isinstance, for they are ints.",
        ("isinstance(other, int | float)", "type(other) in (int, float)"),
    ),
    edit(
        "plain_arrays_take_the_dtype",
        "Array",
        "A plain array is brought into the Array's own dtype. Only Python's numbers are: dtypes mix as NumPy's do.",
        ("np.asarray(other, self.data.dtype) if isinstance(other, int | float) else other", "np.asarray(other, self.data.dtype)"),
    ),
    edit(
        "axes_spread_one_by_one",
        "Array",
        "The axes that were summed over are put back one at a time, so that negative ones are counted in too few dimensions.",
        (
            "            g = g if keepdims or axis is None else np.expand_dims(g, axis)\n",
            "            if not keepdims and axis is not None:\n"
            "                for each in sorted(axis if isinstance(axis, tuple) else (axis,)):\n"
            "                    g = np.expand_dims(g, each)\n",
        ),
    ),
    edit(
        "differences_of_zero_end_it",
        "gradcheck",
        "An entry whose numeric is 0 ends the comparison. Compare it like any other: the gradient may be something else.",
        (
            "            if not abs(gradient[index]",
            "            if numeric == 0:\n                break\n            if not abs(gradient[index]",
        ),
    ),
    edit(
        "differences_of_zero_left_out",
        "gradcheck",
        "Entries whose numeric is 0 are left out. Compare them like any other: the gradient may be something else.",
        (
            "            if not abs(gradient[index]",
            "            if numeric == 0:\n                continue\n            if not abs(gradient[index]",
        ),
    ),
]


@mutant(UNBROADCAST, "The gradient is summed in place, into grad itself: it must stay as it is.", file=FILE)
def summed_into_the_gradient(grad, shape):
    if np.ndim(grad) < len(shape):
        raise ValueError("shape")
    for size, stretched in zip(shape, grad.shape[grad.ndim - len(shape) :]):
        if size not in (1, stretched):
            raise ValueError("shape")
    while grad.ndim > len(shape):
        for row in grad[1:]:
            if grad.flags.writeable:
                grad[0] += row
        grad = grad.sum(axis=0) if not grad.flags.writeable or not len(grad) else grad[0].copy()
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return grad.sum(axis=axes, keepdims=True).reshape(shape)


@mutant(UNBROADCAST, "The numbers are taken as they lie in memory: a transposed grad has another order.", file=FILE)
def read_from_memory(grad, shape):
    n_added = grad.ndim - len(shape)
    if n_added < 0 or any(size not in (1, other) for size, other in zip(shape, grad.shape[n_added:])):
        raise ValueError("shape")
    grad = grad.ravel(order="K").reshape(grad.shape)
    axes = tuple(n_added + axis for axis, size in enumerate(shape) if size == 1)
    return grad.sum(axis=(*range(n_added), *axes), keepdims=True).reshape(shape)


@mutant(
    ORDER,
    "It calls itself for each parent, and a chain of 100,000 nodes is too deep for that: use a stack of your own.",
    file=FILE,
)
def recursive(root):
    order, seen = [], set()

    def visit(node):
        if id(node) not in seen:
            seen.add(id(node))
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(root)
    return order


@mutant(
    ORDER,
    "It walks along every way to a node, and there are 2 to the power of n in a ladder of n: look at each node once.",
    file=FILE,
)
def along_every_way(root):
    order, stack = [], [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            if all(node is not other for other in order):
                order.append(node)
        else:
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


@mutant(ORDER, "Nodes are marked in themselves, and not all can be: keep a set of their ids.", file=FILE)
def marked_in_the_nodes(root):
    order, stack = [], [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif not getattr(node, "visited", False):
            node.visited = True
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


@mutant(ORDER, "It is recursive, as deep as Python is told to allow: a stack of your own needs no permission.", file=FILE)
def recursion_allowed(root):
    import sys

    sys.setrecursionlimit(10**7)
    order, seen = [], set()

    def visit(node):
        if id(node) not in seen:
            seen.add(id(node))
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(root)
    return order
