"""Public tests: pytest exercises/01_scaled_dot_product_attention [-k causal_mask]"""

import math

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import called, if_nan
from autograder.testing.probes import gradients, largest_tensor
from autograder.testing.strategies import attention_cases, given, leading_shapes, normal, seeds, settings, sizes, st


@exercise("causal_mask")
def test_causal_mask_of_three_tokens(student):
    """Three tokens: the first sees itself, the last sees all."""
    expected = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    assert_equal(student.causal_mask(3), expected, what="causal_mask(3)", hint="True means 'may attend'")


@exercise("causal_mask")
def test_causal_mask_aligns_the_last_query_with_the_last_key(student):
    """With two queries and five keys, the queries are the last two of five positions."""
    expected = torch.tensor([[True, True, True, True, False], [True, True, True, True, True]])
    assert_equal(student.causal_mask(2, 5), expected, what="causal_mask(2, 5)", hint="align bottom-right, not top-left")
    expected = torch.tensor([[False, False], [True, False], [True, True]])
    assert_equal(student.causal_mask(3, 2), expected, what="causal_mask(3, 2)", hint="align bottom-right, not top-left")


@exercise("scaled_dot_product_attention")
def test_attention_by_hand(student):
    """Scores 0 and log 3 (after scaling) give weights 1/4 and 3/4."""
    q = torch.tensor([[2.0, 0.0, 0.0, 0.0]])  # 1 / sqrt(4) halves the scores
    k = torch.tensor([[0.0, 1.0, 0.0, 0.0], [math.log(3), 0.0, 0.0, 0.0]])
    v = torch.tensor([[0.0, 8.0], [4.0, 0.0]])
    output, weights = student.scaled_dot_product_attention(q, k, v)
    assert_close(weights, torch.tensor([[0.25, 0.75]]), what="weights", hint="divide q kᵀ by sqrt(d_k) = 2, then softmax")
    assert_close(output, torch.tensor([[3.0, 2.0]]), what="output", hint="weights times values")


@exercise("scaled_dot_product_attention")
@given(case=attention_cases())
def test_attention_agrees_with_pytorch(student, case):
    """The output is PyTorch's, with and without a mask, for any leading dimensions."""
    mask = None if case.mask is None else case.mask | (torch.arange(case.n_k) == 0)
    output, weights = student.scaled_dot_product_attention(case.q, case.k, case.v, mask)
    assert_close(output, F.scaled_dot_product_attention(case.q, case.k, case.v, attn_mask=mask), what="output")
    assert_close(weights @ case.v, output, what="weights @ v", hint="return (output, weights), in this order")
    assert_inputs_untouched(student)


@exercise("scaled_dot_product_attention")
def test_a_query_without_any_key_gets_zeros_and_no_nan(student):
    """Where the mask is False in a whole row: zero weights, zero output, finite gradients."""
    q, k, v = normal(1, 2, 4), normal(2, 3, 4), normal(3, 3, 5)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    output, weights = student.scaled_dot_product_attention(q, k, v, mask)
    hint = if_nan("softmax of a row of -inf is 0 / 0", weights, output)
    hint = hint or "where the mask is False no weight is left, however low all the scores of a row are"
    assert_equal(weights[1], torch.zeros(3, dtype=torch.float64), what="weights of the blind query", hint=hint)
    assert_equal(output[1], torch.zeros(5, dtype=torch.float64), what="output of the blind query", hint=hint)
    found = student.run(gradients, "scaled_dot_product_attention", [q, k, v], {"mask": mask})["gradients"]
    for name, gradient in zip("qkv", found, strict=True):
        assert gradient is not None and gradient.isfinite().all(), (
            f"the gradient of {name} should be finite, got {gradient}\n"
            "  hint: a NaN that is replaced later is still in the gradient; keep it from arising"
        )


@exercise("attention_entropy")
def test_entropy_by_hand(student):
    """One key: 0. Four alike: log 4. A half and two quarters: 1.5 log 2. Nothing at all: 0."""
    weights = torch.tensor([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.25, 0.25, 0], [0.0] * 4], dtype=torch.float64)
    expected = torch.tensor([0.0, math.log(4), 1.5 * math.log(2), 0.0], dtype=torch.float64)
    assert_close(student.attention_entropy(weights), expected, what="entropy", hint="0 log 0 counts as 0; nats, not bits")


@exercise("attention_entropy")
@given(lead=leading_shapes(), n_q=sizes(), n_k=sizes(), seed=seeds())
def test_entropy_agrees_with_pytorch(student, lead, n_q, n_k, seed):
    """The entropy of each row is that of torch.distributions.Categorical."""
    weights = normal(seed, *lead, n_q, n_k).softmax(-1)
    expected = torch.distributions.Categorical(probs=weights).entropy()
    assert_close(student.attention_entropy(weights), expected, "entropy", hint="-Σ w log w over the keys, natural logarithm")


@exercise("attention_entropy")
def test_entropy_has_a_finite_gradient_at_weight_zero(student):
    """The gradient is -(1 + log w) at positive weights, and not NaN or infinite at weight 0."""
    weights = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    (gradient,) = student.run(gradients, "attention_entropy", [weights])["gradients"]
    assert gradient is not None and gradient.isfinite().all(), (
        f"expected a finite gradient, got {gradient}\n  hint: where() after log() is too late, the log of 0 is taken"
    )


def drawn(module, weights, *tokens):
    """The images of the figure's axes, and the tick labels at the centres of rows and columns."""
    figure = module.plot_attention(weights, *tokens)
    panels = []
    for axes in figure.axes:
        for image in axes.images:
            height, width = image.get_array().shape[:2]
            left, right, bottom, top = image.get_extent()
            first, last = (bottom, top) if image.origin == "lower" else (top, bottom)
            sides = [
                (axes.get_yticklabels(which="both"), 1, height, first, last),
                (axes.get_xticklabels(which="both"), 0, width, left, right),
            ]
            rows, columns = (
                [
                    next((x.get_text() for x in labels if abs(x.get_position()[axis] - centre) < 1e-3), "")
                    for centre in (start + (end - start) * (i + 0.5) / n for i in range(n))
                ]
                for labels, axis, n, start, end in sides
            )
            panels.append([torch.tensor(image.get_array().tolist()), rows, columns])
    return panels


@exercise("plot_attention")
def test_plot_shows_the_weights_and_the_tokens(student):
    """A (2, 3) matrix is one heat map of two rows and three columns with the tokens along its sides."""
    weights = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    panels = student.run(drawn, weights, ["le", "chat"], ["the", "cat", "the"])
    assert len(panels) == 1, f"expected one image drawn by imshow, found {len(panels)}"
    image, rows, columns = panels[0]
    assert_close(image, weights, what="the image", hint="rows are queries, columns are keys")
    assert_equal(rows, ["le", "chat"], what="the tick labels of the rows")
    assert_equal(columns, ["the", "cat", "the"], what="the tick labels of the columns", hint="a tick for every key")


@exercise("plot_attention")
def test_plot_has_a_panel_for_each_head(student):
    """Three heads are three heat maps; without key_tokens the query tokens label both sides."""
    weights = normal(1, 3, 2, 2, dtype=torch.float32).softmax(-1)
    panels = student.run(drawn, weights, ["a", "b"])
    assert len(panels) == 3, f"expected three images, one a head, found {len(panels)}"
    for head, (image, _, _) in enumerate(panels):
        assert_close(image, weights[head], what=f"the image of head {head}")
    assert ["a", "b"] in [columns for _, _, columns in panels], "the keys should be labelled with the query tokens"


def hashed(module, x, n_buckets, seed):
    """lsh_buckets with a generator of this seed."""
    return module.lsh_buckets(x, n_buckets, torch.Generator().manual_seed(seed))


@exercise("lsh_buckets")
@given(lead=leading_shapes(), n=sizes(), d=sizes(2), half=sizes(1, 4), seed=seeds())
def test_buckets_of_longer_and_opposite_vectors(student, lead, n, d, half, seed):
    """3x shares the bucket of x, and -x is n_buckets / 2 further on."""
    x = normal(seed, *lead, n, d)
    of_x, of_longer, of_opposite = student.run(hashed, torch.cat([x, 3 * x, -x], dim=-2), 2 * half, seed).split(n, dim=-1)
    assert of_x.dtype == torch.int64 and 0 <= of_x.min() and of_x.max() < 2 * half, f"expected int64 in [0, {2 * half})"
    assert_equal(of_longer, of_x, what="the buckets of 3x")
    assert_equal(of_opposite, (of_x + half) % (2 * half), what="the buckets of -x", hint="argmax over [xR; -xR]")


@exercise("lsh_buckets")
def test_buckets_come_from_the_generator(student):
    """One seed gives the same buckets twice, another others; near vectors meet more often than far ones."""
    x = normal(0, 200, 8)
    first = student.run(hashed, x, 8, 1)
    assert_equal(student.run(hashed, x, 8, 1), first, what="buckets from the same seed", hint="draw R with the generator")
    assert not torch.equal(student.run(hashed, x, 8, 2), first), "another seed should give another rotation"
    near = (student.run(hashed, x + 0.1 * normal(1, 200, 8), 8, 1) == first).double().mean()
    far = (student.run(hashed, normal(2, 200, 8), 8, 1) == first).double().mean()
    assert near > 0.6 > 0.4 > far, f"near vectors met at rate {near:.2f}, unrelated ones at {far:.2f}"


@exercise("lsh_buckets")
def test_odd_numbers_of_buckets_are_refused(student):
    """One bucket, or three, cannot come in opposite pairs."""
    lsh_buckets = called("lsh_buckets", lambda x, n_buckets: student.run(hashed, x, n_buckets, 0))
    assert_refused(lsh_buckets, torch.ones(2, 2), n_buckets=1, why="n_buckets=1 is odd")
    assert_refused(lsh_buckets, torch.ones(2, 2), n_buckets=3, why="n_buckets=3 is odd")


@exercise("bucketed_attention")
def test_buckets_by_hand(student):
    """With equal keys a query averages the values of its own bucket; one that is alone gets zeros."""
    q, k = torch.ones(4, 2), torch.ones(3, 2)
    v = torch.tensor([[1.0], [2.0], [4.0]])
    q_buckets, k_buckets = torch.tensor([7, 0, 7, 3]), torch.tensor([7, 0, 7])
    actual = student.bucketed_attention(q, k, v, q_buckets, k_buckets)
    assert_close(actual, torch.tensor([[2.5], [2.0], [2.5], [0.0]]), what="output", hint="row i belongs to query i")
    actual = student.bucketed_attention(q, k, v, q_buckets, k_buckets, causal=True)
    expected = torch.tensor([[0.0], [0.0], [1.0], [0.0]])  # the queries stand at positions -1, 0, 1, 2
    assert_close(actual, expected, what="output, causal", hint="positions in the original order, bottom-right aligned")


@exercise("bucketed_attention")
@given(case=attention_cases(masks=("none",)), n_buckets=sizes(1, 3))
@settings(max_examples=20)
def test_buckets_agree_with_a_mask(student, case, n_buckets):
    """The output is that of PyTorch's attention under the mask of equal buckets."""
    g = torch.Generator().manual_seed(case.seed)
    q_buckets = torch.randint(n_buckets, (*case.lead, case.n_q), generator=g)
    k_buckets = torch.randint(n_buckets, (*case.lead, case.n_k), generator=g)
    k_buckets[..., 0] = q_buckets[..., 0]
    mask = q_buckets[..., :, None] == k_buckets[..., None, :]
    expected = F.scaled_dot_product_attention(case.q, case.k, case.v, attn_mask=mask | ~mask.any(-1, keepdim=True))
    expected = torch.where(mask.any(-1, keepdim=True), expected, 0.0)
    actual = student.bucketed_attention(case.q, case.k, case.v, q_buckets, k_buckets)
    hint = "scale 1 / sqrt(d_k), keys of the query's own bucket, and each leading index has its own buckets"
    assert_close(actual, expected, what="output", hint=hint)


@exercise("bucketed_attention")
def test_buckets_never_make_the_full_matrix(student):
    """With four buckets of 64 tokens each, no tensor has 256 x 256 elements."""
    x, buckets = normal(1, 256, 2), torch.arange(256) % 4
    largest = student.run(largest_tensor, "bucketed_attention", [x, x, x, buckets, buckets])
    assert largest < 256 * 256, f"a tensor of {largest} elements was made; the full matrix has {256 * 256}"


@exercise("lsh_attention")
@given(case=attention_cases(masks=("none",)), n_rounds=sizes(1, 3))
@settings(max_examples=15)
def test_one_bucket_is_full_attention(student, case, n_rounds):
    """n_buckets=1 is exact attention, whatever the number of rounds."""
    actual = student.lsh_attention(case.q, case.k, case.v, 1, n_rounds=n_rounds)
    assert_close(actual, F.scaled_dot_product_attention(case.q, case.k, case.v), what="output")


def hashed_attention(module, q, k, v, n_buckets, seed, **options):
    """lsh_attention with a generator of this seed."""
    return module.lsh_attention(q, k, v, n_buckets, generator=torch.Generator().manual_seed(seed), **options)


@exercise("lsh_attention")
@given(n_rounds=sizes(1, 3), causal=st.booleans(), half=sizes(1, 4), seed=seeds())
@settings(max_examples=15)
def test_a_direction_meets_itself_and_never_its_opposite(student, n_rounds, causal, half, seed):
    """Queries and keys x or -x: whatever the rotation, x sees exactly the keys x, and -x the keys -x."""
    x = normal(seed, 4)
    q, k = torch.stack([x, -x, x, x]), torch.stack([x, x, -x, x])
    v = torch.tensor([[1.0], [2.0], [4.0], [6.0]], dtype=torch.float64)
    expected = [[1.0], [0.0], [1.5], [3.0]] if causal else [[3.0], [4.0], [3.0], [3.0]]
    actual = student.run(hashed_attention, q, k, v, 2 * half, seed, n_rounds=n_rounds, causal=causal)
    expected = torch.tensor(expected, dtype=torch.float64)
    assert_close(
        actual,
        expected,
        what="output",
        hint="hash q and k with one rotation; a round in which nothing was seen weighs 0",
    )
