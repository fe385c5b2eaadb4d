"""What a single call cannot show: layers loaded with given weights and run, functions that count their calls."""

import copy
import math
import random

import numpy as np
import torch

from autograder.testing.probes import Wrong, differences, global_state, surroundings


def build(module, name, arguments, weights=None, dtype=torch.float64):
    """The layer `name(*arguments)` in `dtype` with these weights; a dict among the arguments is keyword arguments."""
    options = arguments[-1] if arguments and isinstance(arguments[-1], dict) else {}
    layer = getattr(module, name)(*[x for x in arguments if not isinstance(x, dict)], **options)
    layer = layer if dtype is None else layer.to(dtype)
    parameters = dict(layer.named_parameters())
    for key, value in (weights or {}).items():
        if key not in parameters:
            raise Wrong(f"{name} has no parameter called {key}; {what_else(layer, weights, key)}")
        try:
            with torch.no_grad():
                parameters[key].copy_(value)
        except RuntimeError:
            shapes = f"{tuple(parameters[key].shape)}, where {tuple(value.shape)} was expected"
            raise Wrong(f"the parameter {key} of {name} has shape {shapes}") from None
    return layer


def what_else(layer, wanted, key):
    """What a layer has in place of a parameter that it lacks."""
    if key in plain_tensors_of(layer):
        return "it is a plain tensor"
    others = [name for name, _ in layer.named_parameters() if name not in wanted]
    if others:
        return f"it has {', '.join(others[:4])}{' ...' if len(others) > 4 else ''} instead"
    return "it has the others" if any(True for _ in layer.parameters()) else "it has none at all"


def plain_tensors_of(layer):
    """The names of the layer's own tensors that are no parameters."""
    return sorted(key for key, value in vars(layer).items() if isinstance(value, torch.Tensor))


def plain_tensors(module, name, arguments):
    """The names of a new layer's own tensors that are no parameters."""
    return plain_tensors_of(build(module, name, arguments))


def parameter_shapes(module, name, arguments):
    """The layer's parameters: names and shapes."""
    return {key: list(value.shape) for key, value in build(module, name, arguments).named_parameters()}


def made_with_a_function(module, name, arguments):
    """Make the layer with one of PyTorch's functions as its last argument."""
    getattr(module, name)(*arguments, torch.tanh)


def refused_when(module, name, arguments):
    """When the layer is refused: as soon as it is built, only when it is used, or never."""
    refusals = ValueError, TypeError, LookupError
    try:
        layer = build(module, name, arguments)
    except refusals:
        return "when it is built"
    try:
        layer(torch.zeros(1, arguments[0], dtype=torch.float64))
    except refusals:
        return "only when it is used"
    return "never"


def changed_by_making(module, name, arguments):
    """What making the layer changed for good: global settings, and random states that it set whatever they were before.

    That random numbers are drawn for the weights is no change in this sense.
    """
    states = []
    for seed in (1, 2):
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        before = global_state()
        build(module, name, arguments, dtype=None)
        states.append(global_state())
    changed = {key for state in states for key in before if "random" not in key and state[key] != before[key]}
    return sorted(changed | {key for key in before if "random" in key and states[0][key] == states[1][key]})


def side_by_side(module, name, made, x, **options):
    """The outputs of several layers, each from its own (arguments, weights), all of them made before the first is used;
    then those of their deep copies, the parameters of the layers themselves having been set to zero."""
    layers = [build(module, name, arguments, weights, x.dtype) for arguments, weights in made]
    outputs = [layer(x, **options) for layer in layers]
    copies = [copy.deepcopy(layer) for layer in layers]
    with torch.no_grad():
        for layer in layers:
            for value in layer.parameters():
                value.zero_()
    return outputs + [layer(x, **options) for layer in copies]


def parameter_names(module, name, arguments):
    """The names of the layer's parameters; a parameter that is registered under two names is named twice."""
    return sorted(key for key, _ in build(module, name, arguments).named_parameters(remove_duplicate=False))


def forward_again(module, name, arguments, first, weights, x, **options):
    """The outputs in training and in evaluation mode, then the same while no gradients are recorded, of a layer that was
    in use before with the weights `first`, with another x, of another shape too, and other options."""
    layer = build(module, name, arguments, first, x.dtype)
    other = x.flip(0)
    for mode in (True, False, True):
        layer.train(mode)(other, **{key: value.flip(-1) for key, value in options.items()})
    layer(other[:1], **options)
    other.copy_(x)  # the very tensor, with other numbers in it
    parameters = dict(layer.named_parameters())
    with torch.no_grad():
        for key, value in weights.items():
            parameters[key].copy_(value)
    outputs = [layer.train(mode)(other, **options) for mode in (True, False)]
    with torch.no_grad():
        return outputs + [layer.train(mode)(other, **options) for mode in (True, False)]


def forward_in_evaluation(module, name, arguments, weights, x):
    """The output for x in evaluation mode."""
    return build(module, name, arguments, weights, x.dtype).eval()(x)


def forward_after_a_mask(module, name, arguments, weights, x, mask):
    """The output for x alone, of a layer that was given a mask before."""
    layer = build(module, name, arguments, weights, x.dtype)
    layer(x, mask=mask)
    return layer(x)


def initial_parameters(module, name, arguments):
    """The layer's parameters as they are at the start."""
    return {key: value.detach() for key, value in build(module, name, arguments, dtype=None).named_parameters()}


def forward(module, name, arguments, weights, x, dtype=None, **options):
    """The layer's output for x."""
    return build(module, name, arguments, weights, dtype or x.dtype)(x, **options)


def forward_strided(module, name, arguments, weights, x):
    """The output for x, and for the same values with the last two dimensions swapped in memory."""
    layer = build(module, name, arguments, weights, x.dtype)
    return layer(x), layer(x.mT.contiguous().mT)


def forward_and_input(module, name, arguments, weights, x, **options):
    """x and the other tensors after a call in each mode, with gradients recorded and without, and the names of what the
    calls changed beside them."""
    layer, changed = build(module, name, arguments, weights, x.dtype), []
    for training, recorded in ((True, True), (False, True), (True, False), (False, False)):
        layer.train(training)
        before = surroundings()
        with torch.set_grad_enabled(recorded):
            layer(x, **options)
        changed += [key for key, value in layer.named_parameters() if key in weights and not torch.equal(value, weights[key])]
        changed += ["the training mode"] * (layer.training != training) + ["x.requires_grad"] * x.requires_grad
        changed += differences(before)
    return [x.detach(), *options.values()], changed


def forward_twice(module, name, arguments, weights, x, **options):
    """The outputs in training and in evaluation mode, and whether everything global is as before."""
    layer = build(module, name, arguments, weights, x.dtype).train()
    before = surroundings()
    return layer(x, **options), layer.eval()(x, **options), not differences(before)


def layer_gradients(module, name, arguments, weights, x, cotangent, training=True, **options):
    """The output, and the gradients by x and by every named parameter when `cotangent` is pulled back."""
    layer = build(module, name, arguments, weights, x.dtype).train(training)
    x = x.clone().requires_grad_()
    output = layer(x, **options)
    output.backward(cotangent)
    gradients = {key: value.grad for key, value in layer.named_parameters() if key in weights}
    return {"output": output, "x": x.grad, **gradients}


def forward_of_another_dtype(module, name, arguments, weights, x):
    """The output for x of a layer in the dtype of the weights."""
    return build(module, name, arguments, weights, next(iter(weights.values())).dtype)(x)


def forward_both_ways(module, name, arguments, weights, x, mask):
    """The outputs when the mask is given by name, and when it is the second positional argument, not contiguous."""
    layer = build(module, name, arguments, weights, x.dtype)
    return layer(x, mask=mask), layer(x, mask.mT.contiguous().mT)


def after_other_numbers(module, name, args, other):
    """The results of two calls, the tensors among `args` having been given the numbers of `other` in between; of a third
    while no gradients are recorded; and the tensors afterwards."""
    first = getattr(module, name)(*args)
    for x, y in zip(args, other):
        x.copy_(y)
    second = getattr(module, name)(*args)
    with torch.no_grad():
        return first, second, getattr(module, name)(*args), args[: len(other)]


def counts_after_the_result_was_changed(module, n_layers):
    """What a second call gives when the first one's result has been overwritten by whoever it was given to, and the
    types of its numbers."""
    counts = module.residual_path_counts(n_layers)
    if isinstance(counts, list):
        counts[:] = [-1] * (len(counts) + 1)
    again = module.residual_path_counts(n_layers)
    return again, sorted({type(count).__name__ for count in again})


def costs_afterwards(module, costs, n_segments):
    """The list of costs after the call."""
    module.optimal_checkpoints(costs, n_segments)
    return costs


def boundaries_after_the_result_was_changed(module, costs, n_segments):
    """What a first call gives, and a second when whoever got the first one's boundaries has overwritten them."""
    boundaries, peak = module.optimal_checkpoints(costs, n_segments)
    first = copy.copy(boundaries), peak
    if isinstance(boundaries, list):
        boundaries[:] = [-1]
    return first, module.optimal_checkpoints(costs, n_segments)


def stack(module, name, arguments, weights, x, depth):
    """The output of `depth` layers that share the same weights, one after the other."""
    layer = build(module, name, arguments, weights, x.dtype)
    for _ in range(depth):
        x = layer(x)
    return x


def counts(function):
    """[hits, misses], whatever form `cache_info()` has: attributes, a dict or a pair."""
    if callable(function) and not hasattr(function, "cache_info"):
        raise Wrong("the function that memoize returned has no cache_info()")
    info = function.cache_info()
    if hasattr(info, "hits"):
        return [info.hits, info.misses]
    return [info["hits"], info["misses"]] if isinstance(info, dict) else list(info)[:2]


def memoized_calls(module, calls):
    """A memoized function that returns its arguments, called with each (args, kwargs): results, runs, counts."""
    ran = []

    @module.memoize
    def probe(*args, **kwargs):
        ran.append(1)
        return [list(args), dict(kwargs)]

    results = []
    for args, kwargs in calls:
        args = tuple(tuple(x) if isinstance(x, list) else x for x in args)
        results.append(probe(*args, **kwargs))
    return results, len(ran), counts(probe)


def memoized_look_alikes(module, marks):
    """Calls whose keys are the same once positional and keyword arguments stand side by side with a mark between them, or
    once a single argument is its own key: how many there are, how often the function ran, and how many results are wrong."""
    ran = []

    @module.memoize
    def probe(*args, **kwargs):
        ran.append(1)
        return args, kwargs

    items = ("a", 1), ("b", 2)
    pairs = (items[:1], frozenset(items[:1])), (items, frozenset(items))
    calls = [((), {}), ((), {"a": 1}), ((), {"a": 1, "b": 2})]
    for sorted_items, as_set in pairs:
        flat = sum(sorted_items, ())
        calls += [((sorted_items,), {}), ((as_set,), {}), (((), sorted_items), {}), (((), as_set), {})]
        for mark in (*marks, ..., dict, frozenset(), object, str, tuple):
            calls += [((mark, *flat), {}), ((mark, *sorted_items), {}), (((mark, *sorted_items),), {})]
            calls += [((mark, as_set), {})] if mark != () else []
    calls += [((1, 2), {})]
    for args, kwargs in ((), {}), ((1, 2), {}), ((), {"a": 1}):  # a single argument that is the whole key of another call
        items = tuple(kwargs.items())
        calls += [(((args, frozenset(items)),), {}), (((args, items),), {})]
    results = [probe(*args, **kwargs) for args, kwargs in calls]
    return len(calls), len(ran), [result == call for result, call in zip(results, calls)].count(False)


def memoized_many(module, n):
    """Whether a memoized function was right in three calls for each of n numbers, the numbers one after the other, how
    often it ran, and the counts."""
    ran = []

    @module.memoize
    def probe(i):
        ran.append(i)
        return -i

    right = [probe(i) for _ in range(3) for i in range(n)] == [-i for _ in range(3) for i in range(n)]
    return right, len(ran), counts(probe)


def memoized_counts(module, arguments):
    """The counts after each call of a memoized function, with the number of times that it really ran."""
    ran = []

    @module.memoize
    def square(x):
        ran.append(x)
        return x * x

    history = [[*counts(square), len(ran)]]
    for x in arguments:
        square(x)
        history.append([*counts(square), len(ran)])
    return history


def memoized_values(module, values):
    """A memoized function that returns values[i], called twice for each i; the results and how often it ran."""
    ran = []

    @module.memoize
    def look_up(i):
        ran.append(i)
        return values[i]

    return [[look_up(i), look_up(i)] for i in range(len(values))], len(ran)


def memoized_failures(module, failures):
    """A memoized function that raises the first `failures` times; what came of two calls more than that."""
    class Unlucky(Exception):
        pass

    kinds = KeyError, ZeroDivisionError, AttributeError, ValueError, StopIteration, RuntimeError, AssertionError, IndexError
    kinds += OSError, OverflowError, NotImplementedError, RecursionError, NameError, EOFError, KeyboardInterrupt, Unlucky
    ran = []

    @module.memoize
    def unlucky(x):
        if x == 0:
            return -1
        ran.append(x)
        if len(ran) <= failures:
            raise kinds[len(ran) % len(kinds)](f"attempt {len(ran)}")
        return x + 1

    outcomes = [unlucky(0)]
    for _ in range(failures + 2):
        try:
            outcomes.append(unlucky(1))
        except kinds as error:
            outcomes.append(f"{type(error).__name__}: {error.args[0]}")
    unlucky(0)
    return outcomes, len(ran), counts(unlucky)[0]


def memoized_type_error(module):
    """A memoized function that itself raises TypeError: how often it ran in two calls."""
    ran = []

    @module.memoize
    def broken(x):
        ran.append(x)
        raise TypeError("from the function itself")

    for _ in range(2):
        try:
            broken(1)
        except TypeError:
            continue
        raise Wrong("the function's TypeError did not come through")
    return len(ran)


def memoized_unhashable(module, kind, by_name):
    """Call a memoized function with an argument that cannot be hashed: whether it was refused, how often the function ran,
    and the hits that were counted.
    """
    ran, kinds = [], {"list": [1, 2], "dict": {"a": 1}, "set": {1}, "bytearray": bytearray(b"a"), "list in a tuple": ([1],)}
    argument = kinds[kind]
    remembered = module.memoize(lambda x=None: ran.append(x))
    refused = False
    try:
        remembered(x=argument) if by_name else remembered(argument)
    except (TypeError, ValueError, IndexError):
        refused = True
    return refused, len(ran), counts(remembered)[0]


def memoized_recursion(module, n):
    """The n-th Fibonacci number by its definition, memoized; the number of calls that ran."""
    ran = []

    @module.memoize
    def fibonacci(i):
        ran.append(i)
        return i if i < 2 else fibonacci(i - 1) + fibonacci(i - 2)

    return fibonacci(n), len(ran), counts(fibonacci)


def memoized_pair(module, x):
    """Two memoized functions called with the same arguments: each has a memory of its own."""

    @module.memoize
    def double(n):
        return 2 * n

    @module.memoize
    def negative(n):
        return -n

    results = [double(x), negative(x), double(x)]
    return results, counts(double), counts(negative)


def memoized_namesakes(module, x):
    """Two memoized functions from one factory, so of one name, and one function memoized twice; results and counts."""

    def multiple_of(factor):
        def multiple(n):
            return factor * n

        return multiple

    twice, thrice = module.memoize(multiple_of(2)), module.memoize(multiple_of(3))
    plain = multiple_of(5)
    once, again = module.memoize(plain), module.memoize(plain)
    functions = twice, thrice, once, again
    return [[function(x), function(x), counts(function)] for function in functions]


def memoized_objects(module, n):
    """For each kind of result, whether n calls of a memoized function all gave the very object that it had returned."""

    def maker(kind, made):
        def make():
            made.append(kind())
            return made[-1]

        return make

    kinds = {kind.__name__: kind for kind in (object, list, dict, set, ValueError)}
    kinds |= {"nan": lambda: math.nan, "Ellipsis": lambda: ..., "NotImplemented": lambda: NotImplemented}
    outcomes = {}
    for name, kind in kinds.items():
        made = []
        make = module.memoize(maker(kind, made))
        outcomes[name] = all([make() is made[0] for _ in range(n)]) and len(made) == 1
    return outcomes


def memoized_metadata(module):
    """Name and docstring of a decorated function."""

    @module.memoize
    def greet(name="you"):
        """Say hello."""
        return f"hello {name}"

    return greet.__name__, greet.__doc__, greet(), greet("me")


def memoized_hash_collision(module, n, by_name):
    """n different keys that all have one hash; the results and how often the function ran."""

    class Key:
        def __init__(self, number):
            self.number = number

        def __hash__(self):
            return 7

        def __eq__(self, other):
            return isinstance(other, Key) and self.number == other.number

        def __repr__(self):
            return "Key"

    ran = []

    @module.memoize
    def number(key):
        ran.append(key)
        return key.number

    keys = [Key(i % n) for i in range(2 * n)]
    return [number(key=key) if by_name else number(key) for key in keys], len(ran)
