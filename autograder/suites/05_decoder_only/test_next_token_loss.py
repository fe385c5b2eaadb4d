"""next_token_loss, against PyTorch's cross entropy."""

import math
from functools import partial

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import hinted
from autograder.testing.probes import gradients
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios


def problem(seed, lead, vocab, dtype=torch.float64, ignored=None, density=0.3):
    """Logits, and targets some of which are `ignored`; one position at least counts (if there is any)."""
    generator = torch.Generator().manual_seed(seed)
    logits = normal(generator, *lead, vocab, dtype=dtype, scale=2.0)
    targets = torch.randint(vocab, lead, generator=generator)
    if ignored is not None and targets.numel():
        targets[torch.rand(lead, generator=generator) < density] = ignored
        first = 1 if ignored == 0 and vocab > 1 else 0
        targets.view(-1)[-1] = first
    return logits, targets


def cross_entropy(logits, targets, ignore_index=-100):
    """PyTorch's own."""
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=ignore_index)


def assert_right(student):
    """Ordinary logits and targets have the right loss: a mistake has to do with what is unusual elsewhere."""
    logits, targets = problem(3, (2, 4), 5, ignored=-100)
    assert_close(student.next_token_loss(logits, targets), cross_entropy(logits, targets))


@exercise("next_token_loss", points=4, core=True)
@example(seed=1, lead=(3, 2, 4), vocab=5, ignored=-100)
@example(seed=2, lead=(2, 1, 3, 2, 2), vocab=3, ignored=-100)
@settings(max_examples=25)
@given(seed=seeds(), lead=leading_shapes(5, dims=3), vocab=sizes(1, 11), ignored=st.sampled_from([None, -100]))
def test_the_loss_is_the_mean_of_minus_log_p_of_the_targets(student, seed, lead, vocab, ignored):
    """logsumexp(logits) - logits[target], averaged over the positions that count."""
    logits, targets = problem(seed, lead, vocab, ignored=ignored)
    hint = "the mean of -log_softmax(logits)[target], over the positions that count; nothing is shifted here"
    assert_close(student.next_token_loss(logits, targets), cross_entropy(logits, targets), what="the loss", hint=hint)


@exercise("next_token_loss", points=2)
@given(seed=seeds(), lead=leading_shapes(6, dims=2), vocab=sizes(2, 7), ignored=st.sampled_from([0, -1, 1, 50256]))
def test_any_number_may_mark_the_positions_that_do_not_count(student, seed, lead, vocab, ignored):
    """ignore_index may be a padding token within the vocabulary, or any number outside it."""
    logits, targets = problem(seed, lead, vocab, ignored=ignored, density=0.5)
    targets.view(-1)[-1] = 1 if ignored == 0 else 0
    actual = student.next_token_loss(logits, targets, ignored)
    hint = "compare with ignore_index, not with -100, and look at the range of the counted targets alone"
    expected, what = cross_entropy(logits, targets, ignored), f"the loss with ignore_index={ignored}"
    hinted(assert_close, actual, expected, what=what, hint=hint, when=lambda: assert_right(student))


@exercise("next_token_loss", points=1)
def test_large_logits_neither_overflow_nor_lose_the_loss(student, generator):
    """With logits of size 10,000 the loss is what PyTorch says it is."""
    logits, targets = normal(generator, 3, 4, 5, scale=1e4), torch.randint(5, (3, 4), generator=generator)
    hint = "exp(10000) is infinite and log(softmax) is -inf: use logsumexp or log_softmax"
    for dtype in (torch.float64, torch.float32):
        for shift in (0.0, -1e5, 1e5):
            z = logits.to(dtype) + shift
            actual, what = student.next_token_loss(z, targets), f"the loss of {dtype} logits of size 10,000 or 100,000"
            when = partial(assert_right, student)
            hinted(assert_close, actual, cross_entropy(z, targets), what=what, hint=hint, when=when)
            z[1, 2, targets[1, 2]] = -torch.inf
            why = "-log 0 is infinite: a target that was ruled out is no small mistake"
            what = "the loss when a target has the logit -inf"
            assert_close(student.next_token_loss(z, targets), z.new_tensor(torch.inf), what=what, hint=why)


@exercise("next_token_loss", points=2)
@given(seed=seeds(), lead=leading_shapes(4, dims=2), vocab=sizes(2, 6), scale=st.sampled_from([1.0, 1.0, 5e3]))
@example(seed=5, lead=(4, 4), vocab=5, scale=1.0)  # seven positions do not count, each token is ruled out in two of them
def test_gradients_are_those_of_cross_entropy_and_finite(student, seed, lead, vocab, scale):
    """Tokens ruled out by -inf and positions that do not count get the gradient 0, never NaN; large logits get theirs."""
    logits, targets = problem(seed, lead, vocab, ignored=-100)
    logits = logits * scale
    ruled_out = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    anyone = torch.randint(vocab, targets.shape, generator=torch.Generator().manual_seed(seed + 1))
    kept = targets.where(targets >= 0, anyone)[..., None]  # PyTorch's own gradient is NaN where all is -inf
    logits = logits.masked_fill(ruled_out.scatter(-1, kept, torch.zeros_like(kept, dtype=torch.bool)), -torch.inf)
    result = student.run(gradients, "next_token_loss", [logits, targets])
    leaf = logits.clone().requires_grad_()
    expected = cross_entropy(leaf, targets)
    assert_close(result["value"], expected.detach(), what="the loss with -inf at other tokens than the target")
    cotangent = torch.randn((), generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # the probe's own
    (expected * cotangent).backward()
    actual = result["gradients"][0]
    if actual is None:
        hint = "detach nothing"
    else:
        hint = "-inf * 0 is NaN: gather, do not multiply" if bool(actual.isnan().any()) else ""
    assert_close(actual, leaf.grad, what="the gradient of the logits", hint=hint)


@exercise("next_token_loss", points=1)
def test_targets_outside_the_vocabulary_are_refused(student, generator):
    """A target that is neither a token nor ignore_index is an error; -1 is not the last token."""
    logits = normal(generator, 2, 3, 5)
    for bad in (-1, -100, 5, 6, 10**6):
        targets, ignored = torch.tensor([[0, 4, 1], [2, bad, 3]]), -7 if bad == -100 else -100
        why = f"{bad} is no token of a vocabulary of 5"
        assert_refused(student.next_token_loss, logits, targets, ignore_index=ignored, why=why)


@exercise("next_token_loss", points=1)
def test_targets_of_another_shape_are_refused(student, generator):
    """Targets have the logits' shape without the vocabulary: a shape that broadcasts will not do."""
    logits = normal(generator, 2, 3, 5)
    for shape in ((3, 2), (6,), (2, 4), (2, 3, 1), (1, 2, 3), (2, 3, 5), (1, 3), (2,), ()):
        targets = torch.ones(shape, dtype=torch.long)
        assert_refused(student.next_token_loss, logits, targets, why="there is one target for each position")
    targets = torch.ones(1, dtype=torch.long)
    assert_refused(student.next_token_loss, logits[0, 0], targets, why="a single position has a single target, of shape ()")


@exercise("next_token_loss", points=1)
@settings(max_examples=15)
@given(seed=seeds(), lead=leading_shapes(4, dims=2), vocab=sizes(1, 6), ignored=st.sampled_from([-100, None]))
@example(seed=0, lead=(2, 3), vocab=5, ignored=-100)
@example(seed=0, lead=(2, 3), vocab=5, ignored=None)
def test_tensors_that_are_not_contiguous_are_fine_and_left_alone(student, seed, lead, vocab, ignored):
    """ids[:, 1:] is a view into a larger tensor; logits and targets are read each time, never changed."""
    logits, targets = problem(seed, lead, vocab, ignored=ignored)
    others, expected = problem(seed + 1, lead, vocab, ignored=ignored), cross_entropy(logits, targets)
    result = student.run(scenarios.read_and_left_alone, "next_token_loss", [logits, targets], others)
    assert_close(result[0], expected, what="the loss of tensors that are not contiguous")
    assert_equal(result[1], [], what="what the call changed")
    assert_equal(result[2], [False, False], what="whether logits and targets require gradients after the call")
    hint = "keep nothing from call to call"
    assert_close(result[3], cross_entropy(*others), what="the loss when the same tensors hold other numbers", hint=hint)
    assert_close(student.next_token_loss(logits, targets), expected)
    assert_inputs_untouched(student)


@exercise("next_token_loss", points=1)
def test_the_loss_is_a_scalar_of_the_dtype_of_the_logits(student, generator):
    """A tensor of no dimensions: float32 for float32 logits, bfloat16 for bfloat16 ones, over 1,400 positions as over 6."""
    for dtype in (torch.float64, torch.float32):
        for shape in ((4, 5), (2, 700)):
            logits, targets = normal(generator, *shape, 300, dtype=dtype), torch.randint(300, shape, generator=generator)
            expected = cross_entropy(logits, targets)
            assert_close(student.next_token_loss(logits, targets), expected, what=f"the loss of {shape} {dtype} logits")
    for dtype in (torch.bfloat16, torch.float16):
        for shape in ((2, 3), (2, 700)):
            logits, targets = normal(generator, *shape, 6, dtype=dtype), torch.randint(6, shape, generator=generator)
            expected = cross_entropy(logits.double(), targets).to(dtype)
            actual = student.next_token_loss(logits, targets)
            hint = "add up many numbers in more digits than bfloat16 has"
            assert_close(actual, expected, what=f"the loss of {shape} {dtype} logits", hint=hint, rtol=0.02, atol=0.03)


@exercise("next_token_loss", points=0.5)
def test_the_mean_over_nothing_is_nan(student, generator):
    """Where no position counts there is no mean: NaN, as in PyTorch, and not 0, a perfect prediction."""
    logits = normal(generator, 2, 3, 5)
    for ignored in (-100, 2):
        loss = student.next_token_loss(logits, torch.full((2, 3), ignored), ignore_index=ignored)
        assert_close(loss, torch.tensor(math.nan, dtype=torch.float64), what="the loss of float64 logits")
    logits[1, 2] = math.nan
    try:
        loss = student.next_token_loss(logits, torch.ones(2, 3, dtype=torch.long))
    except ValueError:  # as PyTorch's distributions do
        pass
    else:
        hint = "a model whose numbers have become NaN must show it"
        assert_close(loss, torch.tensor(math.nan, dtype=torch.float64), what="the loss when logits are NaN", hint=hint)
    for lead in ((0,), (2, 0)):
        loss = student.next_token_loss(torch.zeros(*lead, 5), torch.zeros(lead, dtype=torch.long))
        assert_close(loss, torch.tensor(math.nan), what=f"the loss of float32 logits for targets of shape {lead}")


@exercise("next_token_loss", points=0.5)
def test_knowing_nothing_costs_the_log_of_the_vocabulary_size(student):
    """Equal logits give every token the probability 1 / vocab, whatever the targets are: log(vocab) nats."""
    for vocab in (1, 2, 65, 128_256):
        targets = torch.tensor([[0, vocab - 1, -100]])
        logits = torch.full((1, 3, vocab), 0.5, dtype=torch.float64)
        loss = student.next_token_loss(logits=logits, targets=targets)
        expected = torch.tensor(math.log(vocab), dtype=torch.float64)
        what, hint = f"the loss of equal logits of {vocab} tokens", f"log({vocab}), the natural logarithm"
        assert_close(loss, expected, what=what, hint=hint)
