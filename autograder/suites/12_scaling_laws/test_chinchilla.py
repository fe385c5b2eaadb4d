"""Hidden tests: the loss of Chinchilla's law, its fit and its optimum."""

import math

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import gradients
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

from . import scenarios

LAW = "E + A / n^alpha + B / d^beta, the five constants being in this order: E, A, B, alpha, beta"
PUBLISHED = (1.69, 406.4, 410.7, 0.34, 0.28)
INF, NAN = math.inf, math.nan


def constants():
    """(E, A, B, alpha, beta) from the range that is promised."""
    spread = st.floats(math.log(20), math.log(5000)).map(math.exp)
    return st.tuples(st.floats(0.5, 4), spread, spread, st.floats(0.2, 0.6), st.floats(0.2, 0.6))


def law(n, d, params):
    """The formula."""
    E, A, B, alpha, beta = params
    return E + A / n**alpha + B / d**beta


# chinchilla_loss


@exercise("chinchilla_loss", points=1.5, core=True)
@settings(max_examples=20)
@given(params=constants(), n=st.floats(1e5, 1e12), d=st.floats(1e6, 1e14))
@example(params=PUBLISHED, n=70e9, d=1.4e12)
@example(params=PUBLISHED, n=1e20, d=1e25)
def test_the_three_terms_add_up(student, params, n, d):
    """What cannot be learned, what a small model misses, what a short training leaves out."""
    actual = student.chinchilla_loss(n, d, params)
    assert_close(actual, law(n, d, params), what=f"the loss of n = {n:.4g}, d = {d:.4g}", hint=LAW, rtol=1e-12)
    whole = student.chinchilla_loss(int(n), int(d), list(params))
    assert_close(whole, law(int(n), int(d), params), what="the loss of whole numbers, params a list", rtol=1e-12)
    same, _ = student.run(scenarios.lists_untouched, "chinchilla_loss", [n, d, list(params)])
    assert_equal(same, True, what="whether params, a list, is as it was")


@exercise("chinchilla_loss", points=1.5, core=True)
@settings(max_examples=10)
@given(params=constants(), rows=sizes(1, 7), columns=sizes(1, 4), seed=seeds())
def test_losses_of_a_grid(student, params, rows, columns, seed):
    """Tensors broadcast against each other and against numbers, and keep their dtype."""
    n, d = normal(seed, rows, 1).exp() * 1e8, normal(seed + 1, columns).exp() * 1e10
    for dtype, rtol in ((torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)):
        x, y = (v.clamp(max=torch.finfo(dtype).max).to(dtype) for v in (n, d))
        actual = student.chinchilla_loss(x, y, params)
        assert_inputs_untouched(student)
        hint = "tensors stay tensors and broadcast; the dtype stays, too"
        assert_close(actual, law(x, y, params), what=f"the losses of a {dtype} grid", hint=hint, rtol=rtol)
        assert_close(student.chinchilla_loss(x, 1e10, params), law(x, 1e10, params), what="with d a number", rtol=rtol)
        single = student.chinchilla_loss(x[0, 0], y[0], params)
        assert_close(single, law(x[0, 0], y[0], params), what=f"the loss of {dtype} tensors without dimensions", rtol=rtol)
        single = student.chinchilla_loss(x[0, 0], 1e10, params)
        what = f"the loss of n, a {dtype} tensor without dimensions, and a number"
        assert_close(single, law(x[0, 0], 1e10, params), what=what, rtol=rtol)
        assert_close(student.chinchilla_loss(1e9, y, params), law(1e9, y, params), what="with n a number", rtol=rtol)


@exercise("chinchilla_loss", points=1)
@settings(max_examples=6)
@given(params=constants(), seed=seeds())
def test_the_loss_can_be_differentiated(student, params, seed):
    """The gradients by n and d are those of the formula, where the other one is a number, too."""
    _, A, B, alpha, beta = params
    for dtype, rtol in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        n, d = normal(seed, 3, 1, dtype=dtype).exp(), normal(seed + 1, 2, dtype=dtype).exp()
        for given_n, given_d, shape in ((n, d, (3, 2)), (n, 2.0, (3, 1)), (3.0, d, (2,))):
            found = student.run(gradients, "chinchilla_loss", [given_n, given_d, params], seed=seed)["gradients"]
            cotangent = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
            by_n = -(cotangent * alpha * A / n ** (alpha + 1)).sum(-1, keepdim=True) if given_n is n else None
            by_d = -(cotangent * beta * B / d ** (beta + 1)).view(-1, 2).sum(0) if given_d is d else None
            expected = [gradient for gradient in (by_n, by_d) if gradient is not None]
            assert_close(found, expected, what="the gradients by n and d, as far as they are tensors", rtol=rtol)


# fit_chinchilla


def runs_of(params, grid, noise=None):
    """Training runs over a grid of n and d; noise gives a factor for each."""
    (n_low, n_high, n_count), (d_low, d_high, d_count) = grid
    runs = []
    for i in range(n_count):
        for j in range(d_count):
            n = n_low * (n_high / n_low) ** (i / (n_count - 1))
            d = d_low * (d_high / d_low) ** (j / (d_count - 1))
            runs.append([n, d, law(n, d, params) * (1.0 if noise is None else noise[len(runs)].item())])
    return runs


GRIDS = (((1e7, 1e10, 5), (1e9, 1e11, 5)), ((3e7, 1e9, 4), (3e8, 1e10, 4)), ((1e8, 1e10, 6), (1e10, 1e12, 3)))
VALLEYS = 1383  # a seed for runs whose sum has a valley with another bottom, in which a single start may end
SQUARES = 42  # and one for runs whose least sum of squares lies in such a valley
TOKENS_COUNT = (0.6, 60.0, 5000.0, 0.2, 0.58), ((1e9, 1e11, 5), (1e7, 1e10, 5))  # tokens buy much, parameters little
STEEP = (1.0, 2000.0, 400.0, 0.5, 0.3), ((1e4, 1e8, 6), (1e8, 1e11, 4))  # losses from 22 down to 1.4


def drawn_law(seed):
    """Constants from the promised range at which each term is at least a tenth of the loss in some run, and a grid."""
    generator = torch.Generator().manual_seed(seed)
    grid = GRIDS[seed % len(GRIDS)]
    while True:
        u = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
        A, B = (20 * 250**v for v in u[1:3])
        params = (0.5 + 3.5 * u[0], A, B, 0.2 + 0.4 * u[3], 0.2 + 0.4 * u[4])
        E, A, B, alpha, beta = params
        runs = runs_of(params, grid)
        shares = [(E / loss, A / n**alpha / loss, B / d**beta / loss) for n, d, loss in runs]
        if min(map(max, zip(*shares))) >= 0.12:
            return params, grid


def huber_sum(params, runs):
    """What is to be minimised, as the docstring has it."""
    n, d, loss = torch.tensor(runs, dtype=torch.float64).T
    size = (law(n, d, params).log() - loss.log()).abs()
    return torch.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 0.5e-3)).sum().item()


def five(found):
    """The five numbers that came, checked for being that."""
    assert isinstance(found, tuple | list) and len(found) == 5, f"fit_chinchilla should return five numbers, not {found!r}"
    assert all(type(v) is float for v in found), f"fit_chinchilla should return five floats, not {found!r}"
    return tuple(found)


@exercise("fit_chinchilla", points=5, core=True)
def test_the_constants_come_back_from_runs_without_noise(student, generator):
    """The published constants and others, each to one part in a thousand."""
    seed = int(torch.randint(10**6, (), generator=generator))
    for params, grid in [(PUBLISHED, GRIDS[0]), drawn_law(seed)]:
        found = five(student.fit_chinchilla(runs_of(params, grid)))
        hint = "start from many places; minimise to the end; undo every change of variables"
        assert_close(found, params, what=f"(E, A, B, alpha, beta) from runs made with {params}", hint=hint, rtol=1e-3, atol=0)


@exercise("fit_chinchilla", points=2.5, core=True)
def test_noisy_runs_get_the_least_sum_of_huber_losses(student, reference, generator):
    """Runs that went wrong, to either side, pull no harder than delta; the sum is within a hundredth of the least."""
    seed = int(torch.randint(10**6, (), generator=generator))
    cases = [(drawn_law(seed), seed, 0.002, 0.85), (STEEP, VALLEYS, 0.0007, 1.0)]
    cases += [(drawn_law(key), key, 0.01, 1.3) for key in (VALLEYS, SQUARES)]
    for (params, grid), key, spread, wrong in cases:
        count = grid[0][2] * grid[1][2]
        numbers = torch.Generator().manual_seed(key)
        noise = normal(numbers, count, scale=spread).exp()
        noise[torch.randperm(count, generator=numbers)[:3]] *= wrong
        runs = runs_of(params, grid, noise)
        if grid == STEEP[1]:
            runs.reverse()  # the runs that say most come first, and some of them four times, as with other seeds
            runs += runs[1:6] * 3
        best = huber_sum(reference.fit_chinchilla(runs), runs)
        found = five(student.fit_chinchilla(runs))
        assert min(found) >= 0 and max(found) < INF, f"the constants should be positive and finite, not {found}"
        actual = huber_sum(found, runs)
        assert actual <= 1.01 * best, (
            f"the sum of Huber losses at {tuple(round(v, 4) for v in found)} is {actual:.6g}, and it can be {best:.6g}"
            "\n  hint: residuals are differences of logarithms; beyond delta = 0.001 they count linearly; start from many places"
        )


@exercise("fit_chinchilla", points=0.5)
def test_many_runs_in_any_order(student, generator):
    """A hundred runs, shuffled; and hundreds of runs of one size before those of the others. All of them count."""
    params, _ = drawn_law(int(torch.randint(10**6, (), generator=generator)) * 3)
    runs = runs_of(params, ((1e7, 1e10, 10), (1e9, 1e11, 10)))
    shuffled = [runs[i] for i in torch.randperm(100, generator=generator).tolist()]
    assert_close(five(student.fit_chinchilla(shuffled)), params, what="(E, A, B, alpha, beta)", rtol=1e-3, atol=0)
    params, grid = TOKENS_COUNT
    one_size = [[1e9, 1e7 * 1.015**i, law(1e9, 1e7 * 1.015**i, params)] for i in range(300)]
    found = five(student.fit_chinchilla(one_size + runs_of(params, grid)))
    assert_close(found, params, what="(E, A, B, alpha, beta) of 325 runs, 300 of one size first", rtol=1e-3, atol=0)


@exercise("fit_chinchilla", points=1)
def test_runs_may_be_a_tensor_or_tuples_of_any_numbers(student):
    """A tensor (n_runs, 3), or triples with whole numbers; nothing that was there changes."""
    runs = [[round(n), round(d), loss] for n, d, loss in runs_of(PUBLISHED, GRIDS[0])]
    found = five(student.fit_chinchilla(torch.tensor(runs, dtype=torch.float64)))
    assert_inputs_untouched(student)
    assert_close(found, PUBLISHED, what="(E, A, B, alpha, beta)", rtol=1e-3, atol=0)
    assert_close(five(student.fit_chinchilla(tuple(map(tuple, runs)))), found, what="those of tuples", rtol=1e-3, atol=0)
    same, changed = student.run(scenarios.lists_untouched, "fit_chinchilla", [runs[20:4:-1]])
    assert_equal(changed, [], what="what fit_chinchilla changed around it")
    assert_equal(same, True, what="whether the list of runs is as it was")


@exercise("fit_chinchilla", points=1)
def test_runs_that_say_nothing_are_refused(student):
    """Fewer than five, or numbers that have no logarithm; five are enough for an answer, of which nothing is promised."""
    runs = runs_of(PUBLISHED, GRIDS[1])
    five(student.fit_chinchilla(runs[::4] + runs[1:2]))
    for few in ([], runs[:1], runs[:4]):
        assert_refused(student.fit_chinchilla, few, why="five constants need five runs")
    assert_refused(student.fit_chinchilla, torch.tensor(runs[:4]), why="five constants need five runs")
    for place, bad in ((0, 0.0), (1, -1e9), (2, 0.0), (2, NAN), (2, INF), (0, INF), (2, -2.0)):
        spoilt = [list(run) for run in runs]
        spoilt[7][place] = bad
        assert_refused(student.fit_chinchilla, spoilt, why=f"a run has {bad}")
        assert_refused(student.fit_chinchilla, torch.tensor(spoilt, dtype=torch.float64), why=f"a run, in a tensor, has {bad}")


# compute_optimal


@exercise("compute_optimal", points=2.5, core=True)
@settings(max_examples=20)
@given(params=constants(), c=st.floats(1e15, 1e26))
@example(params=PUBLISHED, c=5.76e23)
@example(params=PUBLISHED, c=0.01)
def test_equation_4_of_the_paper(student, params, c):
    """The closed form; and the whole budget is spent, c = 6 n d."""
    _, A, B, alpha, beta = params
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    expected = (G * (c / 6) ** (beta / (alpha + beta)), (c / 6) ** (alpha / (alpha + beta)) / G)
    actual = student.compute_optimal(c, params)
    hint = "n grows with c to the power of beta / (alpha + beta); c = 6 n d"
    assert_close(actual, expected, what=f"(n, d) for c = {c:.4g}", hint=hint, rtol=1e-9, atol=0)
    same, _ = student.run(scenarios.lists_untouched, "compute_optimal", [c, list(params)])
    assert_equal(same, True, what="whether params, a list, is as it was")


@exercise("compute_optimal", points=1)
@settings(max_examples=10)
@given(params=constants(), c=st.floats(1e16, 1e24))
def test_no_neighbour_on_the_budget_is_better(student, params, c):
    """A model a little larger or smaller, trained for as many operations, has a higher loss."""
    n, d = student.compute_optimal(c, params)
    assert_close(6 * n * d, c, what="6 n d", rtol=1e-9)
    for factor in (0.8, 0.95, 1.05, 1.25):
        assert law(n * factor, d / factor, params) > law(n, d, params), f"with {factor} times the parameters the loss is lower"


@exercise("compute_optimal", points=1)
@settings(max_examples=8)
@given(params=constants(), seed=seeds(), lead=st.sampled_from([(), (3,), (2, 1, 2)]))
def test_budgets_in_a_tensor(student, reference, params, seed, lead):
    """Any shape, also without a budget in it; the dtype stays, and gradients flow."""
    for dtype, rtol in ((torch.float64, 1e-10), (torch.float32, 1e-4), (torch.bfloat16, 0.5)):
        c = (normal(seed, *lead).exp() * 1e20).to(dtype)
        actual = student.compute_optimal(c, list(params))
        assert_inputs_untouched(student)
        found = [student.compute_optimal(v, params) for v in c.flatten().tolist()]
        expected = [torch.tensor(x, dtype=torch.float64).view(lead).to(dtype) for x in zip(*found)]
        assert_close(actual, expected, what="(n, d) of a tensor of budgets", rtol=rtol, atol=0)
    c = torch.tensor([600.0, 6e4], dtype=torch.float16)
    actual, wide = student.compute_optimal(c, PUBLISHED), student.compute_optimal(c.double(), PUBLISHED)
    assert_close(actual, [x.half() for x in wide], what="(n, d) of budgets in float16", rtol=2e-2, atol=0)
    both = [side.run(gradients, "compute_optimal", [c.double(), PUBLISHED]) for side in (student, reference)]
    found, expected = (by["gradients"] for by in both)
    assert_close(found, expected, what="the budget's gradient", hint="gradients flow: do not detach c")
    none = student.compute_optimal(torch.ones(0), PUBLISHED)
    assert_equal(list(none), [torch.ones(0)] * 2, what="(n, d) of no budgets")


@exercise("compute_optimal", points=0.5)
def test_a_whole_number_is_a_budget_too(student):
    """An int, be it longer than 64 bits; and nothing is rounded."""
    for c in (1, 1000, 588 * 10**21):
        for params in (PUBLISHED, (1.7, 400.0, 400.0, 0.5, 0.25)):
            whole = student.compute_optimal(c, params)
            assert_close(whole[0] * whole[1] * 6, float(c), what=f"6 n d for the budget {c}, an int", rtol=1e-9)
            assert_close(whole, student.compute_optimal(float(c), params), what=f"(n, d) of the int {c}", rtol=1e-12)


@exercise("compute_optimal", points=1)
def test_a_budget_of_nothing_is_refused(student):
    """Zero or less, in a tensor as well."""
    for c in (0, 0.0, -1e20, torch.tensor([1e20, 0.0]), torch.tensor([-1.0, 1.0]), torch.tensor(-1.0), torch.tensor(0.0)):
        assert_refused(student.compute_optimal, c, PUBLISHED, why="a budget must be positive")
