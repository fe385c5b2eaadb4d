"""shift_right, label_smoothed_loss and span_corrupt."""

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.probes import changed_around, strided
from autograder.testing.strategies import example, float_dtypes, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import random_ids

# shift_right


@exercise("shift_right", points=3, core=True)
@settings(max_examples=10)
@given(lead=leading_shapes(3), t=sizes(1, 6), start_id=st.sampled_from([0, 4, 9, -1, 2**40 + 1]), seed=seeds())
@example(lead=(2,), t=3, start_id=2**40 + 1, seed=1)
@example(lead=(), t=3, start_id=-1, seed=2)
def test_everything_moves_by_one(student, reference, lead, t, start_id, seed):
    """start_id first, then all tokens but the last, in the last dimension, for any leading ones."""
    ids = random_ids(9, seed, *lead, t)
    hint = "start_id comes in front, the last token goes"
    assert_equal(student.shift_right(ids, start_id), reference.shift_right(ids, start_id), what="the shifted ids", hint=hint)
    assert_inputs_untouched(student)


@exercise("shift_right", points=1)
def test_shifting_ids_of_any_kind(student):
    """No tokens at all, int32 ids, ids in another order in memory; a new tensor each time."""
    for shape, dtype in (((0,), torch.int64), ((3, 0), torch.int32)):
        ids = torch.zeros(shape, dtype=dtype)
        assert_equal(student.shift_right(ids, 4), ids, what=f"the shifted ids of shape {shape}", hint="t = 0 stays t = 0")
    for dtype in (torch.int32, torch.int16):
        expected = torch.tensor([[7, 1], [7, 3]], dtype=dtype)
        actual = student.shift_right(torch.tensor([[1, 2], [3, 4]], dtype=dtype), start_id=7)
        assert_equal(actual, expected, what=f"the shifted ids of {dtype}")
    ids = torch.tensor([2**40 + 1, 5, 2**33 + 1])
    assert_equal(student.shift_right(ids, 3), torch.tensor([3, 2**40 + 1, 5]), what="large ids, shifted")
    ids, hint = torch.tensor([[3, -100, 5], [-100, 0, 2]]), "each token moves as it is, also one that a loss will ignore"
    expected = torch.tensor([[7, 3, -100], [7, -100, 0]])
    assert_equal(student.shift_right(ids, 7), expected, what="ids with -100, shifted", hint=hint)
    ids = torch.arange(12).reshape(3, 2, 2)
    expected = torch.tensor([[[9, 0], [9, 2]], [[9, 4], [9, 6]], [[9, 8], [9, 10]]])
    assert_equal(student.run(strided, "shift_right", [ids, 9]), expected, what="the shifted ids from another order in memory")
    assert_equal(student.run(changed_around, "shift_right", [ids, 9]), [], what="what else the call changed")


# label_smoothed_loss


def torch_loss(logits, targets, smoothing, ignore_index=-100):
    """PyTorch's, and its gradient."""
    leaf = logits.clone().requires_grad_()
    options = {"label_smoothing": smoothing, "ignore_index": ignore_index}
    loss = F.cross_entropy(leaf.reshape(-1, leaf.shape[-1]), targets.reshape(-1), **options)
    loss.backward()
    return loss.detach(), leaf.grad


SMOOTHED = "(1 - smoothing) of the target's, smoothing of the mean over the vocabulary; then the mean over what counts"


def check_loss(student, logits, targets, smoothing, *ignored, of="", hint=SMOOTHED, **kwargs):
    args = logits, targets, smoothing, *ignored
    loss, gradient, untouched, unrecorded = student.run(scenarios.loss_and_gradient, *args, **kwargs)
    expected = torch_loss(*args, **kwargs)
    assert_close(loss, expected[0], what=f"the loss{of} with smoothing={smoothing}", hint=hint)
    assert_close(unrecorded, expected[0], what=f"the loss{of} under torch.no_grad() with smoothing={smoothing}", hint=hint)
    assert_close(gradient, expected[1], what=f"the gradient{of} with smoothing={smoothing}", hint=hint)
    assert_equal(untouched, True, what="whether logits and targets are as they were")


@exercise("label_smoothed_loss", points=3.5, core=True)
@settings(max_examples=14)
@given(
    lead=leading_shapes(3), t=sizes(1, 5), vocab=sizes(1, 7), smoothing=st.sampled_from([0.0, 0.1, 0.3, 1.0]), seed=seeds(),
    dtype=float_dtypes(),
)  # fmt: skip
def test_the_loss_is_cross_entropy_with_smoothed_targets(student, lead, t, vocab, smoothing, seed, dtype):
    """For any leading dimensions, vocabulary and smoothing, in float32 and float64; and so is its gradient."""
    logits = normal(seed, *lead, t, vocab, scale=2.0, dtype=dtype)
    check_loss(student, logits, random_ids(vocab, seed, *lead, t), smoothing)


@exercise("label_smoothed_loss", points=1.5, core=True)
@settings(max_examples=7)
@given(
    b=sizes(1, 3),
    t=sizes(2, 5),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    ignored=st.sampled_from([-100, 0, 2, -1, 50]),
    seed=seeds(),
)
@example(b=2, t=3, smoothing=0.1, ignored=50, seed=1)
def test_ignored_positions_do_not_count(student, b, t, smoothing, ignored, seed):
    """Neither in the sum nor in the number that it is divided by, whatever ignore_index is, a token of the vocabulary too."""
    logits, targets = normal(seed, b, t, 5), random_ids(5, seed, b, t)
    targets[0, 0], targets[-1, -1] = 1, ignored
    check_loss(student, logits, targets, smoothing, ignored)
    if ignored == -100:
        check_loss(student, logits, targets, smoothing)
    logits[-1, -1, 0] = -torch.inf
    hint = "leave the ignored positions out, or replace their losses: infinity times 0 is NaN"
    check_loss(student, logits, targets, smoothing, ignored, of=" where an ignored position rules a token out", hint=hint)


@exercise("label_smoothed_loss", points=1)
@settings(max_examples=6)
@given(smoothing=st.sampled_from([0.0, 0.1, 1.0]), shape=st.sampled_from([(2, 3), (4,), (0,), (2, 0)]), dtype=float_dtypes())
def test_no_counted_position_is_a_loss_of_zero(student, smoothing, shape, dtype):
    """With a gradient of zeros, so that such a batch can be part of training."""
    logits, targets = normal(1, *shape, 5, dtype=dtype), torch.full(shape, -100)
    loss, gradient, *_ = student.run(scenarios.loss_and_gradient, logits, targets, smoothing)
    hint = "the mean of nothing is NaN; the sum of nothing is 0, and has a graph"
    assert_close(loss, torch.zeros((), dtype=dtype), what="the loss where nothing counts", hint=hint)
    assert_equal(gradient, torch.zeros_like(logits), what="its gradient", hint=hint)
    large, _, *_ = student.run(scenarios.loss_and_gradient, torch.full_like(logits, torch.finfo(dtype).max), targets, smoothing)
    hint = "the sum of all logits overflows, and infinity times 0 is NaN"
    assert_close(large, loss, what="the loss where nothing counts and logits are as large as can be", hint=hint)


@exercise("label_smoothed_loss", points=1)
def test_large_logits_neither_overflow_nor_vanish(student):
    """Thousands apart, in float32 and float64; bfloat16 logits give a bfloat16 loss, float16 logits a float16 one."""
    for dtype in (torch.float32, torch.float64):
        for scale in (300.0, 1e4):
            logits = normal(3, 2, 4, 6, scale=scale, dtype=dtype)
            for each in (logits, logits + 5 * scale):
                hint = "log_softmax(-1) is right for any logits, with nothing added or clamped"
                check_loss(student, each, random_ids(6, 4, 2, 4), 0.1, hint=hint)
    for dtype in (torch.bfloat16, torch.float16):
        loss, *_ = student.run(scenarios.loss_and_gradient, normal(3, 2, 6, dtype=dtype), torch.tensor([1, 2]))
        assert_equal(loss.dtype, dtype, what=f"the dtype of the loss of {dtype} logits")


@exercise("label_smoothed_loss", points=0.5)
def test_the_default_smoothing_and_other_orders_in_memory(student):
    """0.1 and -100 unless said otherwise; a single position, transposed logits and targets serve; nothing else changes."""
    check_loss(student, normal(2, 5), torch.tensor(3), 0.1, of=" of logits of shape (5,) and a target of shape ()")
    logits, targets = normal(5, 3, 4, 6), random_ids(6, 6, 3, 4)
    targets[1, 1] = -100
    expected = torch_loss(logits, targets, 0.1)[0]
    assert_close(student.label_smoothed_loss(logits, targets), expected, what="the loss with the defaults")
    assert_inputs_untouched(student)
    actual = student.run(strided, "label_smoothed_loss", [logits, targets])
    assert_close(actual, expected, what="the loss of logits in another order in memory", hint="reshape or flatten, not view")
    assert_equal(student.run(changed_around, "label_smoothed_loss", [logits, targets]), [], what="what else the call changed")


@exercise("label_smoothed_loss", points=0.5)
def test_losses_that_make_no_sense_are_refused(student):
    """A smoothing outside 0..1, targets of another shape, counted targets outside the vocabulary."""
    logits, targets = normal(1, 2, 3, 5), random_ids(5, 1, 2, 3)
    for smoothing in (-0.1, 1.1):
        assert_refused(student.label_smoothed_loss, logits, targets, smoothing, why="smoothing is outside 0..1")
    for shape in ((3, 2), (6,), (2, 1), (2,), (1, 3), (2, 3, 1)):
        why = f"logits are (2, 3, 5), targets {shape}"
        assert_refused(student.label_smoothed_loss, logits, torch.zeros(shape, dtype=torch.int64), why=why)
    for bad in (5, -1, -100):
        wrong = targets.clone()
        wrong[1, 2] = bad
        ignored = {"ignore_index": -7} if bad == -100 else {}
        assert_refused(student.label_smoothed_loss, logits, wrong, why="there are 5 tokens", **ignored)


# span_corrupt


def numbers(n, rate, mean):
    """(tokens to cut, spans), by the docstring."""
    n_cut = min(max(round(n * rate), 1), n - 1)
    return n_cut, min(max(round(n_cut / mean), 1), n_cut, n - n_cut)


def spans_of(ids, sentinels, source, target):
    """[(start, stop)] of each span in ids, after every check of what the two texts must be."""
    for text, name in ((source, "input"), (target, "target")):
        assert isinstance(text, torch.Tensor), f"the {name} is a {type(text).__name__}, not a tensor"
    assert source.ndim == target.ndim == 1 and source.dtype == target.dtype == ids.dtype, (
        "input and target are 1-D, in ids' dtype"
    )
    order = {sentinel: i for i, sentinel in enumerate(sentinels)}
    source, target, ids = source.tolist(), target.tolist(), ids.tolist()
    n_spans = sum(token in order for token in source)
    marks = [token for token in source if token in order]
    assert_equal(marks, sentinels[:n_spans], what="the sentinels of the input", hint="one for each span, in their order")
    marks = [token for token in target if token in order]
    assert_equal(
        marks, sentinels[: n_spans + 1], what="the sentinels of the target", hint="one for each span and the next one as an end"
    )
    assert target[-1] == sentinels[n_spans], f"the target {target} does not end in the next sentinel"
    assert target[0] == sentinels[0], f"the target {target} does not begin with the first sentinel"
    pieces, text, spans = {}, [], []
    for token in target:
        if token in order:
            pieces[token] = current = []
        else:
            current.append(token)
    for token in source:
        if token in order:
            spans.append((len(text), len(text) + len(pieces[token])))
            text += pieces[token]
        else:
            text.append(token)
    assert_equal(text, ids, what="the text, its spans put back", hint="the target names what stood in the place of each sentinel")
    return spans


RATES = st.sampled_from([0.01, 0.15, 0.3, 0.5, 0.8, 0.99])
MEANS = st.sampled_from([1.0, 1.5, 3.0, 10.0])


@exercise("span_corrupt", points=3.5, core=True)
@settings(max_examples=14)
@given(n=sizes(2, 40), rate=RATES, mean=MEANS, seed=seeds())
@example(n=30, rate=0.15, mean=3.0, seed=1)
@example(n=12, rate=0.5, mean=1.0, seed=2)
@example(n=2, rate=0.5, mean=1.0, seed=3)
def test_the_text_can_be_put_together_again(student, n, rate, mean, seed):
    """Every span stands in the target behind its sentinel, the sentinels are in order in both; tokens may occur twice."""
    ids, sentinels = random_ids(5, seed, n) + 2**40, list(range(99, 50, -1))
    ((source, target),), changed = student.run(scenarios.corrupted, ids, sentinels, seed, rate, mean)
    spans_of(ids, sentinels, source, target)
    assert_equal(changed, [], what="what else the call changed", hint="all chance comes from the generator")


@exercise("span_corrupt", points=2, core=True)
@settings(max_examples=14)
@given(n=sizes(2, 60), rate=RATES, mean=MEANS, seed=seeds())
@example(n=27, rate=0.15, mean=3.0, seed=1)
@example(n=30, rate=0.15, mean=3.0, seed=1)
@example(n=9, rate=0.99, mean=1.0, seed=2)
@example(n=30, rate=0.15, mean=1.5, seed=2)
@example(n=50, rate=0.5, mean=10.0, seed=2)
def test_as_many_tokens_and_spans_are_cut_as_promised(student, n, rate, mean, seed):
    """round(n * rate) tokens in round(that / mean) spans, within their limits; no span is empty or touches the next."""
    ids, sentinels = torch.arange(200, 200 + n), list(range(61))
    ((source, target),), _ = student.run(scenarios.corrupted, ids, sentinels, seed, rate, mean)
    spans = spans_of(ids, sentinels, source, target)
    n_cut, n_spans = numbers(n, rate, mean)
    what = f"of {n} tokens, with a rate of {rate} and a mean of {mean}"
    assert_equal(sum(stop - start for start, stop in spans), n_cut, what=f"the number of tokens cut {what}")
    assert_equal(len(spans), n_spans, what=f"the number of spans {what}")
    assert all(start < stop for start, stop in spans), f"a span is empty: {spans}"
    apart = all(stop < start for (_, stop), (start, _) in zip(spans, spans[1:]))
    assert apart, f"two spans touch each other: {spans}\n  hint: keep at least one token between them"


@exercise("span_corrupt", points=1.5)
def test_spans_vary_from_draw_to_draw(student):
    """Places and lengths do; the same seed gives the same spans, one generator always others, in turn."""
    ids, sentinels = torch.arange(100, 120), list(range(20))
    found, _ = student.run(scenarios.corrupted, ids, sentinels, 5, 0.3, 3.0, times=80)
    again, _ = student.run(scenarios.corrupted, ids, sentinels, 5, 0.3, 3.0, times=80)
    assert_equal(again, found, what="80 draws with the same seed", hint="use the generator that is given, and nothing else")
    spans = [spans_of(ids, sentinels, source, target) for source, target in found]
    for each in spans:
        n_cut = sum(stop - start for start, stop in each)
        assert len(each) == 2 and n_cut == 6, f"{n_cut} of 20 tokens were cut in {len(each)} spans, not 6 in 2 spans"
    cut = {i for each in spans for start, stop in each for i in range(start, stop)}
    missed = set(range(2, 18)) - cut  # the outermost are seldom cut where the gaps are drawn token by token
    assert not missed, f"in 80 draws the tokens {sorted(missed)} of 20 were never cut"
    lengths = {stop - start for each in spans for start, stop in each}
    assert lengths >= {1, 2, 3, 4, 5}, f"6 tokens in 2 spans had only the lengths {sorted(lengths)} in 80 draws"
    longer = {(a[1] - a[0]) > (b[1] - b[0]) for a, b in spans}
    assert len(longer) == 2, f"the first of two spans was {'always' if True in longer else 'never'} the longer one in 80 draws"
    gaps = {after[0] - before[1] for before, after in spans}
    assert len(gaps) > 4, f"between two spans there were only {sorted(gaps)} tokens in 80 draws"
    few, _ = student.run(scenarios.corrupted, ids[:6], sentinels, 5, 0.5, 1.5, times=80)
    lengths = {stop - start for (start, stop), _ in (spans_of(ids[:6], sentinels, *each) for each in few)}
    assert lengths == {1, 2}, f"3 of 6 tokens in 2 spans: the first span was never of {3 - max(lengths)} in 80 draws"
    other, _ = student.run(scenarios.corrupted, ids, sentinels, 6, 0.3, 3.0, times=80)
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(found, other)), "another seed gives the same 80 draws"


@exercise("span_corrupt", points=0.5)
def test_the_defaults_are_t5s_and_ids_keep_their_dtype(student):
    """15 percent in spans of 3; int32 ids; sentinels of any order, as many as needed and no more, in a tuple."""
    ids, sentinels = torch.arange(100, 200, dtype=torch.int32), (7, 3, 9, 1, 8, 2)
    found, changed = student.run(scenarios.corrupted, ids, sentinels, 1, times=2)
    for source, target in found:
        spans = spans_of(ids, sentinels, source, target)
        assert_equal(len(spans), 5, what="the number of spans in 100 tokens")
        assert_equal(sum(b - a for a, b in spans), 15, what="the number of tokens cut of 100")
    assert_equal(changed, [], what="what else the calls changed")
    ((source, target),), _ = student.run(scenarios.corrupted, ids, sentinels, 1, mean_span_length=15, corruption_rate=0.3)
    assert_equal(len(spans_of(ids, sentinels, source, target)), 2, what="the number of spans, the options given by name")


@exercise("span_corrupt", points=0.5)
def test_what_cannot_be_corrupted_is_refused(student):
    """Fewer than two tokens, a batch, rates and lengths that make no sense, too few sentinels."""
    ids = torch.arange(100, 120)

    def run(ids, sentinel_ids, **options):
        return student.run(scenarios.corrupted, ids, sentinel_ids, 0, *options.values())

    corrupt = called("span_corrupt", run)
    for bad in (ids[:1], ids[:0], ids.reshape(2, 10), ids[0]):
        assert_refused(corrupt, bad, [1, 2, 3], why="ids must be one text of 2 tokens or more")
    for rate, mean in ((0.0, 3.0), (1.0, 3.0), (-0.1, 3.0), (1.5, 3.0), (0.3, 0.5), (0.3, 0.0)):
        why = "a rate is between 0 and 1, a mean length at least 1"
        assert_refused(corrupt, ids, list(range(50)), corruption_rate=rate, mean_span_length=mean, why=why)
    for sentinels in ([], [1], [1, 2]):
        why = "two spans and the end need three sentinels"
        assert_refused(corrupt, ids, sentinels, corruption_rate=0.3, mean_span_length=3.0, why=why)
    student.run(scenarios.corrupted, ids, [1, 2, 3], 0, 0.3, 3.0)
