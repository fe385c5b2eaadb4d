"""Hidden tests: SGD and AdamW, each beside PyTorch's own over many steps."""

from functools import partial

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import composite, example, given, normal, seeds, settings, sizes, st

from . import scenarios, truth

SHAPES = st.lists(st.lists(sizes(1, 4), max_size=3).map(tuple), min_size=1, max_size=4)


def tensors(seed, shapes, dtype=torch.float64, scale=1.0):
    """One for each shape."""
    generator = torch.Generator().manual_seed(seed)
    return [normal(generator, *shape, dtype=dtype, scale=scale) for shape in shapes]


def steps(seed, shapes, n, dtype=torch.float64, scale=1.0):
    """n steps, each with new gradients."""
    new = (("gradients", tensors(seed + i, shapes, dtype, scale)) for i in range(n))
    return [operation for gradients in new for operation in (gradients, ("step",))]


def check(student, name, values, arguments, operations, hint="", layout="plain", rtol=None, atol=None):
    """After each step the parameters are where PyTorch's optimiser has them; all else is as it should be."""
    actual = student.run(scenarios.optimizer_session, name, values, arguments, operations, layout)
    expected = truth.session(name, values, arguments, operations, layout)
    for i, (found, wanted) in enumerate(zip(actual, expected, strict=True), 1):
        what = f"{name} with {arguments}, after step {i}:"
        if isinstance(wanted, dict):
            assert_close(found["parameters"], wanted["parameters"], f"{what} the parameters", hint, rtol=rtol, atol=atol)
    return actual


@composite
def adam_arguments(draw):
    """Numbers at which every part of the rule matters."""
    return {
        "lr": draw(st.sampled_from([0.3, 0.05, 0.001])),
        "betas": draw(st.sampled_from([(0.9, 0.999), (0.5, 0.8), (0.95, 0.6), (0.0, 0.9), (0.7, 0.0)])),
        "eps": draw(st.sampled_from([1e-8, 1e-3, 0.3])),
        "weight_decay": draw(st.sampled_from([0.0, 0.01, 0.9])),
    }


# What both optimisers promise; each exercise has tests of its own that call these.


def lr_is_set(student, name, arguments, seed):
    """The lr that counts is the one at the moment of the step."""
    shapes = [(3,), (2, 2)]
    operations = []
    for i, lr in enumerate([0.1, 0.5, 0.01, 0.0, 0.2, 0.2]):
        operations += [("lr", lr), *steps(seed + 10 * i, shapes, 1)]
    hint = "nothing that is kept from step to step may contain the learning rate"
    check(student, name, tensors(seed, shapes), arguments, operations, hint)
    seen = student.run(scenarios.optimizer_session, name, tensors(seed, shapes), arguments, [*steps(seed, shapes, 1)])
    assert_equal(seen[0]["lr"], float(arguments["lr"]), what="the attribute lr of a new optimiser")


def missing_gradients(student, name, arguments, seed):
    """None at first, None in between, None always, each time for another parameter."""
    shapes = [(3,), (2, 2), (3,), (1, 3)]
    operations = []
    for i, there in enumerate([(0, 1), (0,), (2,), (), (0, 1, 2), (1,), (0, 1, 2), (2,)]):
        new = tensors(seed + 10 * i, shapes)
        operations.append(("zero_grad",))
        operations += [("gradients", [g if j in there else None for j, g in enumerate(new)]), ("step",)]
    operations += [("gradients", [torch.zeros(shape, dtype=torch.float64) for shape in shapes]), ("step",)]  # which count
    hint = "no gradient, no step: the parameter, all that is kept for it, and its count of steps stay as they are"
    check(student, name, tensors(seed, shapes), arguments, operations, hint)


def gradients_stay(student, name, arguments, seed):
    """Steps leave gradients alone, and what is kept does not change with them."""
    shapes = [(3,), (2, 2)]
    values = tensors(seed, shapes)
    operations = [("gradients", tensors(seed + 1, shapes)), ("step",), ("overwrite", tensors(seed + 2, shapes)), ("step",)]
    operations += [("step",), ("overwrite", tensors(seed + 3, shapes)), ("step",)]
    seen = student.run(scenarios.optimizer_session, name, values, arguments, operations)
    for i, found in enumerate(seen, 1):
        assert found["gradients as they were"], f"step {i} changed the gradients, or replaced their tensors"
    hint = "the optimiser keeps numbers of its own, never the gradient's tensor itself"
    check(student, name, values, arguments, operations, hint)


def updates_in_place(student, name, arguments, seed):
    """The tensors that were handed over are updated, in any layout and dtype, and nothing else is changed."""
    shapes = [(2, 3), (), (0,), (1,), (3, 1, 2)]
    values = tensors(seed, shapes)
    seen = student.run(scenarios.optimizer_session, name, values, arguments, steps(seed, shapes, 2))
    assert all(found["in place"] for found in seen), "a step must change the very tensors it was given, and leave them leaves"
    check(student, name, values, arguments, steps(seed, shapes, 3), layout="scattered")
    small = tensors(seed, shapes, torch.float32)
    check(student, name, small, arguments, steps(seed, shapes, 4, torch.float32), rtol=1e-5, atol=1e-6)
    dtypes = [torch.float64, torch.float32, torch.bfloat16]
    seen = student.run(scenarios.optimizer_surroundings, name, arguments, dtypes)
    wanted = {"changed": [], "dtypes": dtypes, "finite and moved": [True] * 3, "a graph": False}
    assert_equal(seen, wanted, what="what three steps changed, the dtypes after them, and whether a graph was kept")


def state_is_a_snapshot(student, name, arguments, others, seed):
    """A state is saved, the run goes on, goes back, and goes on again; another optimiser goes on from it, too."""
    shapes = [(3,), (2, 2), (2,)]
    values, first = tensors(seed, shapes), steps(seed, shapes, 3)
    first[0] = ("gradients", [*first[0][1][:2], None])  # the third parameter is a step behind
    second = steps(seed + 50, shapes, 2)
    operations = [*first, ("lr", 0.07), ("save", "a"), ("values", values), *second, ("values", values), ("load", "a"), *second]
    operations += [("another", others), ("values", values), *second, ("values", values), ("load", "a"), *second, ("save", "b")]
    operations += [("load", "a"), ("values", values), *second, ("load", "b"), *second]
    hint = "copies go out, copies come in, and the numbers (lr and the others) belong to the state"
    check(student, name, values, arguments, operations, hint)
    found = student.run(scenarios.plain_state, name, arguments)
    odd = set(found) - {"dict", "list", "tuple", "int", "float", "bool", "str", "NoneType", "Tensor", "OrderedDict"}
    assert not odd, f"state_dict() holds {', '.join(sorted(odd))}: plain values only, tensors without a graph"
    gradients, new = first[2][1], second[0][1]
    for numbers in (arguments, {"lr": 0.1}):
        before, after = student.run(scenarios.states_around_new_gradients, name, values, numbers, gradients, new)
        what = f"{name} with {numbers}, once other numbers were written into the gradients after a step: state_dict()"
        assert_equal(after, before, what=what, hint="the optimiser keeps numbers of its own, never the gradient's tensor itself")


def apart_and_zero_grad(student, name, arguments, seed):
    """Two optimisers know nothing of each other; zero_grad leaves None everywhere."""
    shapes = [(3,), (2, 2)]
    values, gradients = tensors(seed, shapes), [tensors(seed + i, shapes) for i in range(4)]
    operations = [("gradients", [gradients[0][0], None]), ("step",), ("zero_grad",), ("zero_grad",)]
    operations += [("gradients", gradients[1]), ("step",), ("zero_grad",)]
    seen = check(student, name, values, arguments, operations)  # one alone
    found = [gradients for gradients in seen if isinstance(gradients, list)]
    assert_equal(found, [[None, None]] * 3, what="the gradients after each zero_grad()", hint="p.grad = None")
    actual = student.run(scenarios.optimizers_side_by_side, name, values, arguments, gradients)
    expected = scenarios.optimizers_side_by_side(truth, name, values, arguments, gradients)
    hint = "what is kept belongs to self: not to the class, not to a default argument"
    assert_close(actual, expected, what=f"the parameters of two {name} side by side", hint=hint)


# SGD


@exercise("SGD", points=2, core=True)
@settings(max_examples=6)
@given(shapes=SHAPES, lr=st.sampled_from([0.5, 0.1, 0.01]), momentum=st.sampled_from([0.0, 0.5, 0.9]), seed=seeds())
@example(shapes=[(3,), (2, 2), (3,)], lr=0.1, momentum=0.9, seed=1)
def test_sgd_goes_where_pytorchs_goes(student, shapes, lr, momentum, seed):
    """Step by step, with and without momentum."""
    arguments = {"lr": lr, "momentum": momentum}
    hint = "v = momentum * v + g, then p = p - lr * v"
    check(student, "SGD", tensors(seed, shapes), arguments, steps(seed, shapes, 6), hint)
    large = steps(seed, shapes, 2, scale=1e4)
    check(student, "SGD", tensors(seed, shapes), {"lr": lr}, large, "momentum is 0 where none is given")


@exercise("SGD", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_sgd_obeys_the_learning_rate_of_the_moment(student, seed):
    """A schedule sets lr between steps; the velocity knows nothing of it."""
    lr_is_set(student, "SGD", {"lr": 0.3, "momentum": 0.9}, seed)


@exercise("SGD", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_sgd_skips_parameters_without_a_gradient(student, seed):
    """Their velocity, too, waits until there is one again."""
    missing_gradients(student, "SGD", {"lr": 0.1, "momentum": 0.9}, seed)


@exercise("SGD", points=0.5)
@settings(max_examples=1)
@given(seed=seeds(), momentum=st.sampled_from([0.0, 0.9]))
@example(seed=1, momentum=0.9)
def test_sgd_leaves_gradients_alone(student, seed, momentum):
    """And is not surprised when somebody writes into them."""
    gradients_stay(student, "SGD", {"lr": 0.1, "momentum": momentum}, seed)


@exercise("SGD", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_sgd_updates_the_very_parameters_in_place(student, seed):
    """Also those of no entries, of no dimensions, of another dtype or order in memory."""
    updates_in_place(student, "SGD", {"lr": 0.1, "momentum": 0.9}, seed)


@exercise("SGD", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_the_state_of_sgd_is_a_snapshot_from_which_it_goes_on(student, seed):
    """Saved, loaded, loaded again, loaded elsewhere."""
    state_is_a_snapshot(student, "SGD", {"lr": 0.1, "momentum": 0.9}, {"lr": 0.5, "momentum": 0.1}, seed)


@exercise("SGD", points=0.5)
def test_two_sgd_are_apart_and_bad_arguments_are_refused(student):
    """Nothing is shared; no parameters, negative numbers, momentum of 1, and a foreign state are refused."""
    apart_and_zero_grad(student, "SGD", {"lr": 0.1, "momentum": 0.9}, 5)
    one = [torch.ones(2)]
    sgd = called("SGD", lambda values, **arguments: student.run(scenarios.build, "SGD", values, arguments))
    for values, arguments in (
        ([], {"lr": 0.1}),
        (one, {"lr": -0.1}),
        (one, {"lr": 0.1, "momentum": -0.1}),
        (one, {"lr": 0.1, "momentum": 1.0}),
        (one, {"lr": 0.1, "momentum": 1.5}),
    ):
        why = "one of the numbers is out of range" if values else "there are no parameters"
        assert_refused(sgd, values, **arguments, why=why)
    student.run(scenarios.build, "SGD", one, {"lr": 0.0, "momentum": 0.0})
    for n_own, n_other in ((1, 2), (2, 1)):
        foreign = partial(student.run, scenarios.load_foreign_state, "SGD", n_own, n_other)
        load = called("load_state_dict", lambda _, foreign=foreign: foreign())
        assert_refused(load, "the state of another SGD", why=f"it is of {n_other} parameters, not {n_own}")


# AdamW


@exercise("AdamW", points=3, core=True)
@settings(max_examples=10)
@given(shapes=SHAPES, arguments=adam_arguments(), seed=seeds(), scale=st.sampled_from([1.0, 1e-3]))
@example(shapes=[(3,), (2, 2)], arguments={"lr": 0.3, "betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.9}, seed=1, scale=1.0)
def test_adamw_goes_where_pytorchs_goes(student, shapes, arguments, seed, scale):
    """Step by step, whatever the numbers are."""
    operations = steps(seed, shapes, 6, scale=scale)
    hint = "decay the old p; m_hat = m / (1 - beta_1 ** t), s_hat = s / (1 - beta_2 ** t); eps goes outside the root"
    check(student, "AdamW", tensors(seed, shapes), arguments, operations, hint)


@exercise("AdamW", points=1)
@settings(max_examples=4)
@given(seed=seeds(), scale=st.sampled_from([0.0, 1e-12, 1e-6, 1e6]), eps=st.sampled_from([1e-8, 1e-5, 0.5]))
@example(seed=1, scale=1e-6, eps=1e-5)
@example(seed=1, scale=0.0, eps=1e-8)
def test_eps_counts_where_gradients_are_small(student, seed, scale, eps):
    """Gradients near eps, far below it, of 0, and enormous ones."""
    shapes = [(4,), (2, 2)]
    arguments = {"lr": 0.1, "betas": (0.9, 0.99), "eps": eps, "weight_decay": 0.1}
    operations = steps(seed, shapes, 3, scale=scale)
    hint = "lr * m_hat / (sqrt(s_hat) + eps): eps is neither under the root nor divided by anything"
    check(student, "AdamW", tensors(seed, shapes), arguments, operations, hint)


@exercise("AdamW", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_adamw_obeys_the_learning_rate_of_the_moment(student, seed):
    """A schedule sets lr between steps; it scales the step and the decay."""
    lr_is_set(student, "AdamW", {"lr": 0.3, "betas": (0.8, 0.9), "weight_decay": 0.5}, seed)


@exercise("AdamW", points=1)
@settings(max_examples=1)
@given(seed=seeds())
def test_adamw_skips_parameters_without_a_gradient(student, seed):
    """No decay, no change of the means, no step counted: each parameter has a count of its own."""
    missing_gradients(student, "AdamW", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.5}, seed)


@exercise("AdamW", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_adamw_leaves_gradients_alone(student, seed):
    """And is not surprised when somebody writes into them."""
    gradients_stay(student, "AdamW", {"lr": 0.1, "weight_decay": 0.5}, seed)


@exercise("AdamW", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_adamw_updates_the_very_parameters_in_place(student, seed):
    """Also those of no entries, of no dimensions, of another dtype or order in memory."""
    updates_in_place(student, "AdamW", {"lr": 0.1, "weight_decay": 0.5}, seed)


@exercise("AdamW", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_adamw_has_pytorchs_defaults(student, seed):
    """Without any argument but the parameters, and with one of them; a number that is given counts, also where it is 0."""
    shapes = [(3,), (2, 2)]
    zeros = ({"lr": 0.0}, {"betas": (0.0, 0.0)}, {"eps": 0.0}, {"weight_decay": 0.0})
    for arguments in ({}, {"lr": 0.2}, {"betas": (0.5, 0.5)}, {"eps": 0.1}, {"weight_decay": 0.3}, *zeros):
        values = tensors(seed, shapes)
        hint = "lr 1e-3, betas 0.9 and 0.999, eps 1e-8, weight_decay 0.01; a 0 that is given is a 0"
        check(student, "AdamW", values, arguments, steps(seed, shapes, 3, scale=1e-7), hint)


@exercise("AdamW", points=1)
@settings(max_examples=1)
@given(seed=seeds())
def test_the_state_of_adamw_is_a_snapshot_from_which_it_goes_on(student, seed):
    """Saved, loaded, loaded again, loaded elsewhere: means, counts of steps, and all numbers."""
    arguments = {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.5}
    others = {"lr": 0.5, "betas": (0.5, 0.6), "eps": 0.1, "weight_decay": 0.0}
    state_is_a_snapshot(student, "AdamW", arguments, others, seed)


@exercise("AdamW", points=0.5)
def test_two_adamw_are_apart_and_bad_arguments_are_refused(student):
    """Nothing is shared; no parameters, negative numbers, betas of 1, and a foreign state are refused."""
    apart_and_zero_grad(student, "AdamW", {"lr": 0.1, "weight_decay": 0.5}, 5)
    one = [torch.ones(2)]
    bad_betas = ((-0.1, 0.9), (1.0, 0.9), (0.9, -0.1), (0.9, 1.0), (0.9, 1.5))
    bad = [{"lr": -0.1}, {"eps": -1e-8}, {"weight_decay": -0.1}, *({"betas": betas} for betas in bad_betas)]
    adamw = called("AdamW", lambda values, **arguments: student.run(scenarios.build, "AdamW", values, arguments))
    for values, arguments in (([], {}), *((one, arguments) for arguments in bad)):
        why = "one of the numbers is out of range" if values else "there are no parameters"
        assert_refused(adamw, values, **arguments, why=why)
    student.run(scenarios.build, "AdamW", one, {"lr": 0.0, "betas": (0.0, 0.0), "eps": 0.0, "weight_decay": 0.0})
    for n_own, n_other in ((1, 2), (2, 1)):
        foreign = partial(student.run, scenarios.load_foreign_state, "AdamW", n_own, n_other)
        load = called("load_state_dict", lambda _, foreign=foreign: foreign())
        assert_refused(load, "the state of another AdamW", why=f"it is of {n_other} parameters, not {n_own}")


@exercise("AdamW", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_adamw_goes_where_pytorchs_goes_for_hundreds_of_steps(student, seed):
    """Nothing adds up to something over 200 steps."""
    shapes = [(3,), (2, 2)]
    arguments = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    check(student, "AdamW", tensors(seed, shapes), arguments, steps(seed, shapes, 200))


# clip_grad_norm


def norm_of(gradients):
    """Of all of them together, in float64."""
    there = [g.double().flatten() for g in gradients if g is not None]
    return torch.cat(there).norm().item() if there else 0.0


def check_clipped(seen, gradients, max_norm, hint="", precise=False):
    """The norm is that of before, to all digits if `precise`; all gradients are scaled by one factor, within PyTorch's addend
    of 1e-6.
    """
    norm = norm_of(gradients)
    half = any(g is not None and g.dtype in (torch.float16, torch.bfloat16) for g in gradients)
    room = 8e-3 if half else 1e-9 if precise else 2e-6
    assert_close(seen["norms"][0], norm, what="the norm that is returned", hint=hint, rtol=room)
    assert seen["scalars"], "the norm that is returned should be a scalar, of no dimensions"
    scale = max_norm / norm if norm > max_norm else 1.0
    # The norm, and with it the factor, is in float64 only where all gradients are.
    eps = max((torch.finfo(g.dtype).eps for g in gradients if g is not None), default=0.0)
    for i, (found, g) in enumerate(zip(seen["gradients"], gradients, strict=True)):
        wanted = None if g is None else (g.double() * scale).to(g.dtype)
        rtol = 2 * eps + 1.1e-6 / norm if g is not None and norm else 0.0
        what = f"gradient {i}, where the norm is {norm:.4g} and may be {max_norm:.4g}"
        assert_close(found, wanted, what=what, hint=hint, rtol=rtol, atol=0.0)


@exercise("clip_grad_norm", points=2, core=True)
@settings(max_examples=9)
@given(shapes=SHAPES, seed=seeds(), share=st.sampled_from([0.01, 0.5, 0.9, 1.1, 3.0]), scale=st.sampled_from([1.0, 50.0]))
@example(shapes=[(3,), (2, 2)], seed=1, share=0.5, scale=1.0)
@example(shapes=[(3,), (2, 2)], seed=1, share=0.5, scale=0.05)
def test_all_gradients_together_are_no_longer_than_max_norm(student, shapes, seed, share, scale):
    """Scaled by one factor where they are longer, left alone where they are not; the norm of before is returned."""
    gradients = tensors(seed, shapes, scale=scale)
    max_norm = share * norm_of(gradients)
    seen = student.run(scenarios.clip, gradients, max_norm)
    check_clipped(seen, gradients, max_norm, "one norm of all gradients together, and one factor for all")


@exercise("clip_grad_norm", points=0.5)
@settings(max_examples=3)
@given(shapes=SHAPES, seed=seeds())
def test_parameters_may_come_from_a_generator(student, shapes, seed):
    """As from model.parameters(), which can be gone through once."""
    gradients = tensors(seed, shapes)
    seen = student.run(scenarios.clip, gradients, 0.1 * norm_of(gradients), as_generator=True)
    check_clipped(seen, gradients, 0.1 * norm_of(gradients), "make a list first: a generator can be read once")


@exercise("clip_grad_norm", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_parameters_without_a_gradient_count_as_nothing(student, seed):
    """Some have none, or all; empty ones; no parameters at all."""
    (a, b, c), empty = tensors(seed, [(3,), (), (2, 2)]), torch.zeros(0, dtype=torch.float64)
    for gradients in ([None, a, None, b, c], [a, None], [empty, a], [None, None], [empty], []):
        seen = student.run(scenarios.clip, gradients, 0.5 * norm_of(gradients))
        check_clipped(seen, gradients, 0.5 * norm_of(gradients), "skip those whose grad is None")


@exercise("clip_grad_norm", points=0.5)
@settings(max_examples=2)
@given(shapes=SHAPES, seed=seeds())
def test_gradients_are_scaled_in_place_and_nothing_else_changes(student, shapes, seed):
    """The same tensors, in any order in memory; parameters as they were; short gradients to the last bit."""
    gradients = tensors(seed, shapes)
    norm = norm_of(gradients)
    for share, layout in ((0.3, "plain"), (0.3, "scattered"), (2.0, "plain"), (float("inf"), "plain")):
        seen = student.run(scenarios.clip, gradients, share * norm, layout=layout)
        what = "(the same tensors, the parameters as they were, what changed around the call)"
        found = seen["in place"], seen["parameters as they were"], seen["changed"]
        assert_equal(found, (True, True, []), what=what, hint="grad.mul_(factor), not p.grad = p.grad * factor")
        check_clipped(seen, gradients, share * norm)
        if share > 1:
            assert_equal(seen["gradients"], gradients, what="gradients that are short enough", hint="leave them alone")


@exercise("clip_grad_norm", points=0.5)
def test_gradients_of_zero_stay_zero(student):
    """Nothing is divided by nothing; a max_norm of 0 makes everything 0; a second call has nothing left to do."""
    zeros = [torch.zeros(3, dtype=torch.float64), torch.zeros((), dtype=torch.float64)]
    for max_norm in (0.0, 1.0, float("inf")):
        seen = student.run(scenarios.clip, zeros, max_norm)
        assert_equal((seen["norms"], seen["gradients"]), ([0.0], zeros), what=f"zeros, clipped to {max_norm}")
    gradients = tensors(3, [(3,), ()])
    seen = student.run(scenarios.clip, gradients, 0.0)
    assert_equal(seen["gradients"], zeros, what="gradients clipped to 0")
    seen = student.run(scenarios.clip, gradients, 0.5, times=2)
    assert_close(
        seen["norms"], [norm_of(gradients), 0.5], what="the norms of two calls in a row", rtol=1.1e-6 / norm_of(gradients)
    )


@exercise("clip_grad_norm", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_dtypes_stay_and_squares_are_added_up_in_float32_at_least(student, seed):
    """float32, both kinds of halves, several dtypes side by side; thousands of squares of 200 are too much for float16."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        gradients = tensors(seed, [(3,), (2, 2)], dtype)
        hint = "the squares of float64 and their root in float64, which the norm is in then"
        check_clipped(student.run(scenarios.clip, gradients, 0.5), gradients, 0.5, hint, precise=dtype == torch.float64)
    mixed = [*tensors(seed, [(3,)], torch.float32), *tensors(seed, [(2, 2)], torch.float64)]
    check_clipped(student.run(scenarios.clip, mixed, 0.5), mixed, 0.5)
    mixed[1] *= 1e25  # whose square float32 does not hold
    hint = "the squares of float64 in float64, whatever stands beside"
    check_clipped(student.run(scenarios.clip, mixed, 0.5), mixed, 0.5, hint)
    large = [torch.full((30, 100), 200.0, dtype=torch.float16), torch.full((5,), 300.0, dtype=torch.float16)]
    hint = "float16 ends at 65504: take the squares of grad.float()"
    check_clipped(student.run(scenarios.clip, large, 100.0), large, 100.0, hint)
    long = [torch.full((5,), 30000.0, dtype=torch.float16)]
    hint = "max_norm / norm is 1.5e-7 here: float16 has hardly such a number, the product has room in it"
    check_clipped(student.run(scenarios.clip, long, 0.01), long, 0.01, hint)
    many = [torch.ones(1, dtype=torch.bfloat16)] * 400
    hint = "in bfloat16 256 + 1 is 256: add up in float32"
    check_clipped(student.run(scenarios.clip, many, 10.0), many, 10.0, hint)


@exercise("clip_grad_norm", points=0.5)
def test_a_negative_max_norm_is_refused(student):
    """Gradients do not turn around."""
    for bad in (-1.0, -1e-9, float("-inf")):
        for gradients in ([torch.ones(2)], [torch.zeros(2)], [None]):
            clip = called("clip_grad_norm", lambda max_norm, x=gradients: student.run(scenarios.clip, x, max_norm)["norms"][0])
            assert_refused(clip, max_norm=bad, why="max_norm must not be negative")
