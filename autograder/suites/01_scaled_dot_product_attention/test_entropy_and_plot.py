"""attention_entropy and plot_attention."""

import math

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, exercise
from autograder.testing.hints import if_nan
from autograder.testing.probes import changed_around, gradients, strided
from autograder.testing.strategies import (
    given,
    leading_shapes,
    mask_for,
    normal,
    seeds,
    settings,
    sizes,
    st,
)

from . import scenarios
from .oracles import assert_not_accepted, cotangent_of

WORDS = ["the", "cat", "sat", "on", "the", "mat", "$x_1$", "Ġof", "the"]


def weights_for(seed, *shape, density=0.7):
    """Rows that add up to 1, with exact zeros among them; a row of zeros now and then."""
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    weights = normal(generator, *shape).exp() * mask_for(generator, *shape, density=density)
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(total > 0, total, 1.0)


@exercise("attention_entropy", points=4, core=True)
@given(lead=leading_shapes(), n_q=sizes(), n_k=sizes(), seed=seeds())
def test_entropy_is_the_expected_surprise_in_nats(student, lead, n_q, n_k, seed):
    """The entropy of a row is -Σ w log w with the natural logarithm, one number for each query."""
    weights = normal(seed, *lead, n_q, n_k, scale=2.0).softmax(-1)
    rows = [-math.fsum(w * math.log(w) for w in row) for row in weights.reshape(-1, n_k).tolist()]
    assert_close(
        student.attention_entropy(weights),
        torch.tensor(rows, dtype=torch.float64).reshape(*lead, n_q),
        what="entropy",
        hint="natural logarithm, minus sign, sum over the keys (last dimension)",
    )


@exercise("attention_entropy", points=2)
@given(n=sizes(1, 9), n_seen=sizes(1, 9))
@settings(max_examples=16)
def test_a_weight_of_zero_adds_nothing(student, n, n_seen):
    """0 log 0 is 0: one key gives 0, m keys alike give log m, a row of zeros gives 0."""
    n_seen = min(n, n_seen)
    one, even, none = torch.eye(n, dtype=torch.float64)[0], torch.zeros(n).double(), torch.zeros(n).double()
    even[n - n_seen :] = 1 / n_seen
    actual = student.attention_entropy(torch.stack([one, even, none]))
    expected = torch.tensor([0.0, math.log(n_seen), 0.0], dtype=torch.float64)
    what = f"entropy of one key, of {n_seen} alike, of none"
    hint = "a weight of 0 adds 0, and nothing is added inside the log"
    hint = if_nan("0 * log(0) is NaN: take no logarithm of 0", actual) or hint
    assert_close(actual, expected, what=what, hint=hint)
    wide = torch.full((2, 3000), 1 / 3000, dtype=torch.float64)
    wide[1] *= 0.5
    expected = torch.tensor([math.log(3000), 0.5 * math.log(6000)], dtype=torch.float64)
    hint = "-Σ w log w as it stands: of any number of keys, whatever their weights add up to"
    assert_close(student.attention_entropy(wide), expected, what="entropy of 3000 keys, and of half their weights", hint=hint)
    tiny = torch.tensor([1e-4, 1e-6, 1e-8], dtype=torch.float64)
    expected = -tiny * tiny.log() - (1 - tiny) * torch.log1p(-tiny)
    actual = student.attention_entropy(torch.stack([tiny, 1 - tiny], dim=-1))
    assert_close(actual, expected, what="entropy of a nearly certain row", hint="a small weight is not 0", atol=1e-10)


@exercise("attention_entropy", points=2)
@given(lead=leading_shapes(dims=1), n_q=sizes(1, 5), n_k=sizes(1, 6), seed=seeds())
@settings(max_examples=20)
def test_gradient_is_right_and_finite(student, lead, n_q, n_k, seed):
    """The gradient is -(1 + log w) at positive weights, and finite at weight 0."""
    weights = weights_for(seed, *lead, n_q, n_k)
    (actual,) = student.run(gradients, "attention_entropy", [weights], seed=seed)["gradients"]
    if actual is None and not weights.any():
        actual = torch.zeros_like(weights)  # where all weights are 0, nothing depends on them
    assert actual is not None, "no gradient reaches the weights: do not detach or leave PyTorch"
    assert actual[weights > 0].isfinite().all(), "the gradient is not finite, at positive weights"
    assert actual.isfinite().all(), "the gradient at weight 0 is not finite: take no log of 0, not even to discard it"
    cotangent = cotangent_of(seed, weights.shape[:-1])[..., None]
    expected = -(1 + torch.where(weights > 0, weights, 1.0).log()) * cotangent
    assert_close(torch.where(weights > 0, actual, 0.0), torch.where(weights > 0, expected, 0.0), what="the gradient")
    tiny = torch.tensor([1e-9, 1e-14, 1e-30], dtype=torch.float64)
    weights = torch.stack([tiny, 1 - tiny], dim=-1)
    (actual,) = student.run(gradients, "attention_entropy", [weights], seed=seed)["gradients"]
    expected = -(1 + weights.log()) * cotangent_of(seed, (3,))[:, None]
    hint = "a softmax gives weights as small as these, and they are not 0: add nothing inside the log, clamp nothing"
    assert_close(actual, expected, what="the gradient at weights near 0 and 1", hint=hint, rtol=1e-6)


@exercise("attention_entropy", points=1)
@given(dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]), seed=seeds())
@settings(max_examples=15)
def test_entropy_keeps_the_dtype(student, dtype, seed):
    """The entropy has the dtype of the weights, and so has their gradient."""
    weights = weights_for(seed, 2, 3, 4).to(dtype)
    wide = weights.double()
    expected = -(wide * torch.where(wide > 0, wide, 1.0).log()).sum(-1)
    room = {torch.float32: 1e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    assert_close(student.attention_entropy(weights), expected.to(dtype), what="entropy", rtol=0, atol=room)
    (actual,) = student.run(gradients, "attention_entropy", [weights], seed=seed)["gradients"]
    expected = -(1 + torch.where(wide > 0, wide, 1.0).log()) * cotangent_of(seed, wide.shape[:-1])[..., None]
    assert actual is not None or not weights.any(), f"no gradient reaches the weights in {dtype}: detach nothing, in no dtype"
    actual = torch.zeros_like(weights) if actual is None else actual
    assert actual.isfinite().all(), f"the gradient is not finite in {dtype}: take no log of 0, not even to discard it"
    seen, room = wide > 0, 4 * room
    assert_close(actual[seen], expected[seen].to(dtype), what=f"the gradient in {dtype}", rtol=room, atol=room)


@exercise("attention_entropy", points=1)
@given(seed=seeds())
@settings(max_examples=5)
def test_entropy_leaves_the_weights_alone(student, reference, seed):
    """The weights are not changed, and strided weights give what their copies give."""
    weights = weights_for(seed, 2, 3, 5)
    expected = student.attention_entropy(weights)
    assert_inputs_untouched(student, hint="make a new tensor: weights[weights == 0] = 1, say, changes the caller's")
    assert_close(student.run(strided, "attention_entropy", [weights]), expected, what="entropy of strided weights")
    assert_close(expected, reference.attention_entropy(weights), what="entropy")
    output, tensors, recording = student.run(scenarios.unrecorded, "attention_entropy", [weights])
    hint = "the weights may hold other numbers than in an earlier call: keep nothing"
    assert_close(output, expected, what="entropy under torch.no_grad(), after other weights", hint=hint)
    assert_equal(tensors, [weights], what="the weights after a call under torch.no_grad()")
    assert not recording, "under torch.no_grad() the weights or the entropy came to require a gradient"
    changed = student.run(changed_around, "attention_entropy", [weights])
    assert_equal(changed, [], what="what the call changed outside its result")


def assert_drawn(panels, heads):
    """One heat map a head, each showing that head's weights."""
    expected = f"{len(heads)} heat map{'s' if len(heads) > 1 else ''} drawn by imshow, one a head"
    assert len(panels) == len(heads), f"expected {expected}, found {len(panels)} axes with an image"
    for head, (panel, weights) in enumerate(zip(panels, heads, strict=True)):
        assert len(panel["images"]) == 1, f"panel {head} holds {len(panel['images'])} images, not one"
        hint = "rows are queries, columns are keys; show the weights themselves"
        assert_close(panel["images"][0], weights.double(), what=f"the image of panel {head}", hint=hint, atol=1e-6)
        assert panel["whole"], f"panel {head} shows only a part of its image: its axes' limits cut rows or columns off"


def assert_labelled(panels, side, tokens):
    """The tokens label this side of some panel, and no panel shows anything else there."""
    assert panels, "there is no heat map, drawn by imshow, whose rows and columns could be labelled"
    found = [panel[side] for panel in panels]
    wrong = [labels for labels in found if labels != tokens and any(labels)]  # blank is fine where panels share an axis
    hint = f"\n  hint: set positions and labels together: axes.set_{'y' if side == 'rows' else 'x'}ticks(range(n), tokens)"
    for i, (actual, expected) in enumerate(zip((wrong or found or [[]])[0], tokens, strict=False)):
        said = f"the tick label of {side[:-1]} {i} of {len(tokens)} should be {expected!r}, but it is {actual!r}{hint}"
        assert actual == expected or (tokens in found and not wrong), said
    assert tokens in found and not wrong, f"the {side} should be labelled {tokens}, but they are not{hint}"


@exercise("plot_attention", points=4, core=True)
def test_one_heat_map_shows_the_weights(student, generator):
    """For (n_q, n_k) the figure has one heat map, with queries as rows and keys as columns."""
    for n_q, n_k in [(3, 5), (4, 1), (1, 1)]:
        weights = weights_for(generator, n_q, n_k)
        panels = student.run(scenarios.drawn, weights, WORDS[:n_q], WORDS[:n_k])
        assert_drawn(panels, [weights])


@exercise("plot_attention", points=2, core=True)
def test_each_head_has_its_panel(student, generator):
    """For (h, n_q, n_k) the figure has h heat maps, in the order of the heads."""
    for h, n_q, n_k in [(1, 2, 2), (3, 3, 3), (4, 2, 3), (17, 1, 2)]:
        weights = weights_for(generator, h, n_q, n_k)
        panels = student.run(scenarios.drawn, weights, WORDS[:n_q], WORDS[:n_k])
        assert_drawn(panels, list(weights))


@exercise("plot_attention", points=2)
def test_tokens_label_rows_and_columns(student, generator):
    """Query token i is the tick label of row i and key token j that of column j, repeated tokens too."""
    spaced = [" the", "the", "unquestionably"], ["The ", " unquestionable"]
    many = ((), [*WORDS, "a", "b", "c"], tuple(WORDS * 8)), ((3,), tuple(WORDS), WORDS[3:5])
    for lead, queries, keys in [((), WORDS[:4], WORDS[2:]), ((), ["a"], ["b"]), ((), *spaced), *many]:
        weights = weights_for(generator, *lead, len(queries), len(keys))
        panels = student.run(scenarios.drawn, weights, queries, key_tokens=keys)
        assert_labelled(panels, "rows", list(queries))
        assert_labelled(panels, "columns", list(keys))


@exercise("plot_attention", points=1)
def test_keys_are_labelled_like_queries_by_default(student):
    """Without key_tokens the query tokens label both sides."""
    panels = student.run(scenarios.drawn, weights_for(1, 5, 5), WORDS[:5])
    assert_labelled(panels, "rows", WORDS[:5])
    assert_labelled(panels, "columns", WORDS[:5])


@exercise("plot_attention", points=1)
def test_every_call_makes_a_figure_of_its_own(student, generator):
    """A second picture leaves the first one as it was."""
    first, second = weights_for(generator, 2, 3), weights_for(generator, 3, 4, 4)
    panels = student.run(scenarios.drawn_after_another, first, WORDS[:2], WORDS[:3], second, WORDS[:4])
    hint = "make a new figure: pyplot.gcf() and figures with a name hand out one that is in use"
    hint *= panels["first"] > 1  # where the first has too few of them, that is something else
    assert_equal(panels, {"first": 1, "second": 3}, what="the heat maps in each of the two figures", hint=hint)


@exercise("plot_attention", points=1)
def test_tokens_that_do_not_fit_are_refused(student):
    """There is one token for each query and one for each key, else a ValueError says what does not fit."""

    def plot_attention(weights, *tokens):
        return f"a figure with {len(student.run(scenarios.drawn, weights, *tokens))} heat maps"

    for shape, queries, keys in [
        ((3, 4), 3, 3),
        ((3, 4), 4, 4),
        ((2, 3, 3), 2, 3),
        ((3, 4), 3, None),
        ((4,), 4, 4),
        ((3, 3), 3, 0),
    ]:
        tokens = [WORDS[:queries]] if keys is None else [WORDS[:queries], WORDS[:keys]]
        why = f"weights of shape {shape} do not fit {queries} query tokens and {queries if keys is None else keys} key tokens"
        assert_not_accepted(plot_attention, torch.ones(shape), *tokens, why=why)


@exercise("plot_attention", points=1)
def test_weights_straight_from_the_model_can_be_drawn(student):
    """Weights that require grad, of any floating dtype, are drawn and left alone; the result is a Figure."""
    weights = weights_for(3, 4, 5).float()
    result = student.run(scenarios.figure_made, weights, WORDS[:4], WORDS[:5])
    expected = {"is a Figure": True, "saved as PNG": True, "was shown": False, "arguments changed": []}
    expected |= {"settings changed": [], "other figures closed or changed": False}
    hint = "return the Figure, do not show it; draw a copy of the weights; leave rcParams and other figures alone"
    assert_equal(result, expected, what="the result", hint=hint)
    for dtype, lead in ((torch.float16, ()), (torch.bfloat16, ()), (torch.bfloat16, (2,))):
        weights = weights_for(2, *lead, 2, 4).to(dtype)
        heads = list(weights) if lead else [weights]
        assert_drawn(student.run(scenarios.drawn, weights, WORDS[:2], WORDS[:4], requires_grad=True), heads)
