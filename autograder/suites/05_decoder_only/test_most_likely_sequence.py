"""most_likely_sequence, against all sequences where they can be tried and against max-plus matrix powers where not."""

import math

import pytest
import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.strategies import assume, given, normal, seeds, settings, sizes

from . import scenarios
from .truth import best_score, score


def chain(seed, n, dtype=torch.float64, density=1.0):
    """A Markov chain: log-probabilities of the first token (n,) and of each step (n, n), some of them impossible."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(n + 1, n, generator=generator, dtype=torch.float64) ** 2
    weights = weights * (torch.rand(n + 1, n, generator=generator) < density)
    log_probs = (weights / weights.sum(-1, keepdim=True).clamp(min=1e-300)).log().to(dtype)
    return log_probs[0].clone(), log_probs[1:].clone()


def assert_best(actual, initial, transition, length, best, hint="", rtol=1e-9):
    """ids are a sequence of that length with the best score, and log_prob is that score."""
    ids, log_prob = actual
    turned = ids.shape == () and getattr(log_prob, "shape", None) == (length,)
    hint_on_order = "\n  hint: the result is (ids, log_prob)" if turned else ""
    said = f"the shape of ids: not as expected\n  expected ({length},)\n  got      {tuple(ids.shape)}{hint_on_order}"
    assert tuple(ids.shape) == (length,), said
    assert_equal(ids.dtype, torch.int64, what="the dtype of ids")
    assert_close(log_prob, torch.tensor(best, dtype=initial.dtype), what="the log-probability", hint=hint, rtol=rtol)
    assert (ids >= 0).all() and (ids < len(initial)).all(), f"ids must lie in 0..{len(initial) - 1}, got {ids.tolist()}"
    found = score(initial, transition, ids)
    assert found == pytest.approx(best, rel=rtol, abs=1e-12), (
        f"ids {ids.tolist()[:20]} have the log-probability {found}, the best sequence has {best}\n"
        "  hint: follow the backpointers from the best last token; row i is where you are, column j where you go"
    )


@exercise("most_likely_sequence", points=4, core=True)
@given(seed=seeds(), n=sizes(1, 4), length=sizes(1, 5))
def test_no_sequence_is_likelier(student, seed, n, length):
    """The best of all n^length sequences, found by trying every one of them, is not better."""
    initial, transition = chain(seed, n)
    best = best_score(initial, transition, length)
    hint = "best[j] = max over i of best[i] + transition[i, j]; the first token has only its initial probability"
    assert_best(student.most_likely_sequence(initial, transition, length), initial, transition, length, best, hint)


def max_plus(a, b):
    """The matrix product with max for sum and + for product."""
    return (a[:, :, None] + b[None]).amax(1)


def best_by_powers(initial, transition, length):
    """The best score by repeated squaring of the transition matrix in max-plus algebra."""
    total, power, steps = initial[None], transition, length - 1
    while steps:
        total = max_plus(total, power) if steps % 2 else total
        power, steps = max_plus(power, power), steps // 2
    return float(total.max())


@exercise("most_likely_sequence", points=1)
@settings(max_examples=8)
@given(seed=seeds(), n=sizes(2, 9), length=sizes(30, 120))
def test_long_sequences_are_found_without_trying_them_all(student, seed, n, length):
    """Hundreds of tokens: the recursion needs n^2 steps for each."""
    initial, transition = chain(seed, n)
    actual = student.most_likely_sequence(initial, transition, length)
    assert_best(actual, initial, transition, length, best_by_powers(initial, transition, length))


@exercise("most_likely_sequence", points=0.5)
def test_probabilities_too_small_for_a_float_are_no_trouble(student, generator):
    """Eight rare tokens of about equal probability, 190 times: less than 1e-330 in all, and a fine logarithm."""
    initial, transition = (normal(generator, *shape, scale=0.1).log_softmax(-1) - 3 for shape in ((8,), (8, 8)))
    actual = student.most_likely_sequence(initial, transition, 190)
    log_prob = actual[1]
    lost = isinstance(log_prob, torch.Tensor) and not bool(log_prob.isfinite().all())
    hint = "add logarithms: a product of so many probabilities underflows to 0" if lost else ""
    assert_best(actual, initial, transition, 190, best_by_powers(initial, transition, 190), hint)


@exercise("most_likely_sequence", points=0.5)
def test_any_number_of_tokens_and_any_of_several_best_sequences_will_do(student):
    """300 tokens, the last ones the best; 240 steps; and tables in which every sequence is equally likely."""
    n = 300
    initial, transition = torch.full((n,), -7.0, dtype=torch.float64), torch.full((n, n), -7.0, dtype=torch.float64)
    initial[290], transition[290, 131], transition[131, 258], transition[258, 299] = -1.0, -1.0, -2.0, -0.5
    arguments = {"initial_log_probs": initial, "transition_log_probs": transition, "length": 4}
    assert_best(student.most_likely_sequence(**arguments), initial, transition, 4, -4.5)
    for tables in ([-5.0, -5.0 + 1e-7], [-5.0 + 1e-7, -5.0]):  # the same number in float32
        initial, transition = torch.tensor(tables, dtype=torch.float64), torch.eye(2, dtype=torch.float64).log()
        assert_best(student.most_likely_sequence(initial, transition, 3), initial, transition, 3, -5.0 + 1e-7)
    initial, transition = chain(5, 3)
    best = best_by_powers(initial, transition, 240)
    assert_best(student.most_likely_sequence(initial, transition, 240), initial, transition, 240, best)
    for n in (1, 2, 3):
        even = torch.full((n + 1, n), 1 / n, dtype=torch.float64).log()
        for length in (1, 4):
            actual = student.most_likely_sequence(even[0].clone(), even[1:].clone(), length)
            assert_best(actual, even[0], even[1:], length, -length * math.log(n))


@exercise("most_likely_sequence", points=1)
@settings(max_examples=20)
@given(seed=seeds(), n=sizes(1, 4), length=sizes(1, 4))
def test_what_cannot_happen_is_avoided_or_reported(student, seed, n, length):
    """-inf marks impossible steps; when no sequence is possible the log-probability is -inf, never NaN."""
    for unlikely in (-2e4, -2e12):  # nearly impossible, and the only way: 0 0 1
        tables = torch.zeros(2, dtype=torch.float64), torch.full((2, 2), -torch.inf, dtype=torch.float64)
        tables[0][1], tables[1][0, 0], tables[1][0, 1] = -torch.inf, unlikely, 0.0
        assert_best(student.most_likely_sequence(*tables, 3), *tables, 3, unlikely)
    initial, transition = chain(seed, n, density=0.4)
    best = best_score(initial, transition, length)
    actual = student.most_likely_sequence(initial, transition, length)
    if best > -torch.inf:
        assert_best(actual, initial, transition, length, best)
    else:
        assert_equal(float(actual[1]), best, what="the log-probability when every sequence is impossible")
        ids = actual[0]
        assert_equal([tuple(ids.shape), ids.dtype], [(length,), torch.int64], what="ids when every sequence is impossible")
        assert (ids >= 0).all() and (ids < n).all(), f"ids must lie in 0..{n - 1}, got {ids.tolist()}"


@exercise("most_likely_sequence", points=1)
@settings(max_examples=12)
@given(seed=seeds(), n=sizes(1, 5), length=sizes(1, 9))
def test_the_gradient_counts_the_steps_of_the_best_sequence(student, seed, n, length):
    """Raising log p(j | i) raises the best score once for every time the best sequence goes from i to j."""
    initial, transition = chain(seed, n, density=0.7)
    assume(best_by_powers(initial, transition, length) > -torch.inf)
    ids, found = student.run(scenarios.best_sequence_gradients, initial, transition, length)
    first, steps = torch.zeros(n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
    first[ids[0]] = 1.0
    for i, j in zip(ids[:-1].tolist(), ids[1:].tolist()):
        steps[i, j] += 1.0
    cut_off = any(bool(right.any()) and not bool(actual.any()) for actual, right in zip(found, [first, steps]))
    hint = "no .item() and no float() on the way to log_prob" if cut_off else ""
    assert_close(found, [first, steps], what="the gradients of the log-probability", hint=hint)


@exercise("most_likely_sequence", points=1)
@settings(max_examples=12)
@given(seed=seeds(), n=sizes(1, 4), length=sizes(1, 4))
def test_tables_of_any_layout_and_dtype_are_read_and_left_alone(student, seed, n, length):
    """A strided view or float32 will do; the log-probability has the tables' dtype, and they are read, never written to."""
    for dtype, rtol in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        initial, transition = chain(seed, n, dtype)
        best = best_score(initial, transition, length)
        others, tables = chain(seed + 1, n, dtype), (initial, transition)
        result = student.run(scenarios.read_and_left_alone, "most_likely_sequence", [initial, transition, length], others)
        assert_best(result[0], *tables, length, best, rtol=rtol)
        assert_equal(result[1], [], what="what the call changed")
        assert_equal(result[2], [False, False], what="whether the tables require gradients after the call")
        hint = "keep nothing from call to call: here the same tables hold other numbers than before"
        assert_best(result[3], *others, length, best_score(*others, length), hint, rtol=rtol)
        assert_best(student.most_likely_sequence(initial, transition, length), *tables, length, best, rtol=rtol)
        assert_inputs_untouched(student)
    for dtype in (torch.bfloat16, torch.float16):
        initial, transition = chain(seed, n, dtype)
        log_prob = student.most_likely_sequence(initial, transition, length)[1]
        best = torch.tensor(best_score(initial, transition, length), dtype=dtype)
        assert_close(log_prob, best, what=f"the log-probability of {dtype} tables", rtol=0.03, atol=0.03)


@exercise("most_likely_sequence", points=1)
def test_impossible_lengths_and_shapes_are_refused(student):
    """A sequence has at least one token, and the two tables speak of the same tokens."""
    initial, transition = chain(3, 3)
    for length in (0, -1):
        assert_refused(student.most_likely_sequence, initial, transition, length, why="length must be at least 1")
    others = [transition[:2], transition[:, :2], transition[:2, :2], transition[0], transition[None]]
    for other in (*others, transition[:1], transition[:, :1], transition[:1, :1], transition[0, 0]):
        for length in (1, 2):
            assert_refused(student.most_likely_sequence, initial, other, length, why="transition_log_probs must be (n, n)")
    others = [initial[None], initial[:, None], initial[:, None, None], initial[:2], initial[:1], initial[0]]
    for other in (*others, transition):
        for length in (1, 2):
            assert_refused(student.most_likely_sequence, other, transition, length, why="initial_log_probs must be (n,)")
