"""sequence_log_prob and generate_greedy, on a toy model that notices how it is called and on MiniGPT."""

import itertools
from functools import partial

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called, hinted
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes

from . import scenarios
from .cases import SMALL, model_sizes
from .truth import pytorch_logits, random_ids, random_weights, toy_logits


def toy(seed, vocab, width=4, dtype=torch.float64):
    """Weights of a toy model: embedding (vocab, width), output (width, vocab)."""
    return normal(seed, vocab, width, dtype=dtype), normal(seed + 1, width, vocab, dtype=dtype, scale=2.0)


def toy_logits_of_all(embedding, output, ids):
    """What the toy model predicts after each beginning of each row: (b, t, vocab)."""
    return (embedding[ids] * torch.arange(1, ids.shape[1] + 1)[:, None]).cumsum(1).sin() @ output


def tokens(seed, vocab, *shape):
    """Token ids."""
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(seed))


def chain_rule(embedding, output, row, banned=None):
    """The log-probability of one text given its first token, token by token; one token may be impossible."""
    ruled_out = torch.arange(output.shape[1]) == (-1 if banned is None else banned)
    logits = [toy_logits(embedding, output, row[:i]).masked_fill(ruled_out, -torch.inf) for i in range(1, len(row))]
    terms = [F.log_softmax(z, -1)[token] for z, token in zip(logits, row[1:])]
    return sum(terms, torch.zeros((), dtype=embedding.dtype))


def assert_log_probs_right(student):
    """Ordinary texts have the right log-probabilities: a mistake has to do with what is unusual elsewhere."""
    embedding, output = toy(2, 6)
    ids = tokens(2, 6, 3, 5)
    actual, _ = student.run(scenarios.log_prob, embedding, output, 9, ids)
    assert_close(actual, torch.stack([chain_rule(embedding, output, row) for row in ids.tolist()]))


@exercise("sequence_log_prob", points=4, core=True)
@settings(max_examples=20)
@given(seed=seeds(), vocab=sizes(1, 9), b=sizes(1, 4), t=sizes(2, 8), spare=sizes(0, 3))
def test_the_log_probability_is_the_sum_over_the_tokens_after_the_first(student, seed, vocab, b, t, spare):
    """log p(x_2 | x_1) + log p(x_3 | x_1, x_2) + ..., each row by itself."""
    embedding, output = toy(seed, vocab)
    ids = tokens(seed, vocab, b, t)
    actual, _ = student.run(scenarios.log_prob, embedding, output, t + spare, ids)
    expected = torch.stack([chain_rule(embedding, output, row) for row in ids.tolist()])
    hint = "the sum of log p(token that came); logits at position i predict the token at i + 1"
    assert_close(actual, expected, what="the log-probability of each row", hint=hint)


@exercise("sequence_log_prob", points=2)
@settings(max_examples=12)
@given(seed=seeds(), vocab=sizes(1, 4), t=sizes(2, 4))
def test_the_probabilities_of_all_continuations_add_up_to_one(student, seed, vocab, t):
    """Given the first token, something must follow: a true probability, of a MiniGPT too."""
    config = SMALL | {"vocab_size": vocab, "n_layers": 1}
    weights = random_weights(config, seed)
    ids = torch.tensor([(seed % vocab, *rest) for rest in itertools.product(range(vocab), repeat=t - 1)])
    actual = student.run(scenarios.log_prob_of_mini_gpt, config, weights, ids)
    assert_close(
        actual.exp().sum(),
        torch.ones((), dtype=torch.float64),
        what=f"the sum of the probabilities of all {len(ids)} texts",
    )
    log_probs = pytorch_logits(config, weights, ids[:, :-1]).log_softmax(-1)
    sums = [sum(float(p[i, token]) for i, token in enumerate(row[1:])) for p, row in zip(log_probs, ids.tolist())]
    expected = torch.tensor(sums, dtype=torch.float64)
    assert_close(actual, expected, what="the log-probability under a MiniGPT")


@exercise("sequence_log_prob", points=1)
def test_the_last_token_is_predicted_and_never_read(student):
    """A text may be one token longer than the context length, and that and the vocabulary may be large."""
    embedding, output = toy(5, 6)
    ids = tokens(5, 6, 3, 5)
    actual, _ = student.run(scenarios.log_prob, embedding, output, 4, ids)
    expected = torch.stack([chain_rule(embedding, output, row) for row in ids.tolist()])
    what, when = "the log-probability of texts of context_length + 1 tokens", partial(assert_log_probs_right, student)
    hinted(assert_close, actual, expected, what=what, hint="the model reads ids[:, :-1]", when=when)
    for vocab, b, t in ((70_000, 2, 3), (5, 70, 300)):
        embedding, output = toy(13, vocab)
        ids = tokens(14, vocab, b, t)
        actual, _ = student.run(scenarios.log_prob, embedding, output, t - 1, ids)
        log_probs = toy_logits_of_all(embedding, output, ids[:, :-1]).log_softmax(-1)
        expected = log_probs.gather(-1, ids[:, 1:, None])[..., 0].sum(-1)
        assert_close(actual, expected, what=f"the log-probability of {b} texts of {t} tokens from a vocabulary of {vocab}")


@exercise("sequence_log_prob", points=0.5)
def test_a_single_token_has_log_probability_zero(student):
    """Given itself, it is certain: the empty sum."""
    embedding, output = toy(6, 6)
    for b, dtype in ((1, torch.float64), (3, torch.float64), (2, torch.float32), (2, torch.bfloat16)):
        weights = embedding.to(dtype), output.to(dtype)
        actual, _ = student.run(scenarios.log_prob, *weights, 4, tokens(6, 6, b, 1))
        assert_close(actual, torch.zeros(b, dtype=dtype), what="the log-probability of a single token")


@exercise("sequence_log_prob", points=1)
@settings(max_examples=8)
@given(seed=seeds(), vocab=sizes(2, 6), b=sizes(1, 3), t=sizes(2, 6))
def test_gradients_flow_to_the_model(student, seed, vocab, b, t):
    """Raising the probability of a text is a matter of following its gradient, and the weights as they are then count."""
    embedding, output = (weight.requires_grad_() for weight in toy(seed, vocab))
    ids, cotangent = tokens(seed, vocab, b, t), normal(seed + 2, b)
    total = sum(c * chain_rule(embedding, output, row) for c, row in zip(cotangent, ids.tolist()))
    expected = torch.autograd.grad(total, [embedding, output])
    actual, after = student.run(scenarios.log_prob_gradients, embedding.detach(), output.detach(), t, ids, cotangent)
    what, hint = "the gradient of the model's weights", "no no_grad, no .item() on the way"
    hinted(assert_close, actual, expected, what=what, hint=hint, when=partial(assert_log_probs_right, student))
    embedding, output = embedding.detach() + expected[0], output.detach() + expected[1]
    recorded, changed = student.run(scenarios.log_prob_without_gradients, embedding.detach(), output.detach(), t, ids)
    hint = "whether gradients are recorded is for the caller to say"
    assert_equal(recorded, False, what="whether a graph was recorded under torch.no_grad()", hint=hint)
    assert_equal(changed, [], what="what is no longer as it was before the call", hint=hint)
    expected = torch.stack([chain_rule(embedding, output, row) for row in ids.tolist()])
    assert_close(after, expected, what="the log-probabilities under the weights after a step", hint="keep nothing between calls")


@exercise("sequence_log_prob", points=1)
def test_log_probabilities_have_the_dtype_of_the_logits_and_survive_large_ones(student):
    """float32 in, float32 out; a text of probability e^-10000 has a finite log-probability; ids are left alone."""
    for dtype, rtol in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        embedding, output = toy(7, 5, dtype=dtype)
        output, ids = output * 1000, tokens(7, 5, 2, 6)
        training = dtype is torch.float32
        actual, changed = student.run(scenarios.log_prob, embedding, output, 6, ids, training=training)
        expected = torch.stack([chain_rule(embedding, output, row) for row in ids.tolist()])
        hint = "log(softmax) underflows: use log_softmax"
        what, when = f"{dtype} log-probabilities of logits in the thousands", partial(assert_log_probs_right, student)
        hinted(assert_close, actual, expected, what=what, hint=hint, when=when, rtol=rtol)
        hint = "leave the modes alone, or put every part back into its own"
        assert_equal(changed, [], what="what is no longer as it was before the call", hint=hint)
    embedding, output = toy(7, 5)
    for dtype in (torch.bfloat16, torch.float16):
        actual, _ = student.run(scenarios.log_prob, embedding, output, 6, ids, dtype=dtype)
        log_probs = toy_logits_of_all(embedding, output, ids[:, :-1]).to(dtype).double().log_softmax(-1)
        expected = log_probs.gather(-1, ids[:, 1:, None])[..., 0].sum(-1).to(dtype)
        assert_close(actual, expected, what=f"the log-probability where logits are {dtype}", rtol=0.02, atol=0.1)
    embedding, output = embedding.bfloat16(), output.bfloat16()
    actual, _ = student.run(scenarios.log_prob, embedding, output, 6, ids, dtype=torch.float64)
    what = "the dtype of the log-probability where logits are float64, and the weights bfloat16"
    assert_equal(actual.dtype, torch.float64, what=what)


@exercise("sequence_log_prob", points=0.5)
def test_a_token_that_the_model_rules_out_costs_nothing_unless_it_comes(student):
    """A logit of -inf is a probability of 0: no NaN in texts without that token, -inf for texts with it."""
    embedding, output = toy(11, 6)
    ids = torch.tensor([[0, 1, 2, 4, 1], [5, 4, 4, 0, 2], [0, 1, 3, 4, 1]])
    actual, _ = student.run(scenarios.log_prob, embedding, output, 6, ids, banned=3)
    expected = torch.stack([chain_rule(embedding, output, row, banned=3) for row in ids.tolist()])
    hint = "-inf * 0 is NaN: gather the log-probabilities of the tokens that came, do not multiply by a one-hot matrix"
    hint = hint if isinstance(actual, torch.Tensor) and bool(actual.isnan().any()) else ""
    assert_close(actual, expected, what="the log-probabilities where token 3 is impossible", hint=hint)


def greedy(embedding, output, context_length, row, n):
    """Greedy search for one prompt, token by token."""
    row = list(row)
    for _ in range(n):
        row.append(int(toy_logits(embedding, output, row[-context_length:]).argmax()))
    return row


def assert_greedy_right(student):
    """An ordinary prompt is continued well: a mistake has to do with what is unusual elsewhere."""
    embedding, output = toy(2, 6)
    ids = tokens(2, 6, 2, 3)
    actual = student.run(scenarios.generated, embedding, output, 9, ids, 4)["ids"]
    assert_equal(actual, torch.tensor([greedy(embedding, output, 9, row, 4) for row in ids.tolist()]))


@exercise("generate_greedy", points=4, core=True)
@settings(max_examples=20)
@given(seed=seeds(), vocab=sizes(1, 9), b=sizes(1, 4), t=sizes(1, 6), n=sizes(0, 6))
def test_each_new_token_is_the_likeliest_after_all_before_it(student, seed, vocab, b, t, n):
    """The prompt, then the most likely next token again and again, each row of the batch by itself."""
    embedding, output = toy(seed, vocab)
    ids = tokens(seed, vocab, b, t)
    actual = student.run(scenarios.generated, embedding, output, t + n, ids, n)["ids"]
    expected = torch.tensor([greedy(embedding, output, t + n, row, n) for row in ids.tolist()])
    assert_equal(
        actual,
        expected,
        what="prompt and continuation",
        hint="argmax of the logits at the last position, then append it",
    )


@exercise("generate_greedy", points=2)
@settings(max_examples=20)
@given(seed=seeds(), vocab=sizes(2, 9), b=sizes(1, 3), t=sizes(1, 9), n=sizes(1, 8), context=sizes(1, 5))
@example(seed=4, vocab=6, b=2, t=2, n=3, context=12)
def test_the_model_reads_only_the_last_tokens_that_fit(student, seed, vocab, b, t, n, context):
    """Beyond the context length the oldest tokens are no longer read; the result still begins with the whole prompt."""
    embedding, output = toy(seed, vocab)
    ids = tokens(seed, vocab, b, t)
    result = student.run(scenarios.generated, embedding, output, context, ids, n)
    expected = torch.tensor([greedy(embedding, output, context, row, n) for row in ids.tolist()])
    hint = "crop what the model reads to ids[:, -context_length:], keep all" if context < t + n - 1 else ""
    when = partial(assert_greedy_right, student)
    hinted(assert_equal, result["ids"], expected, what="prompt and continuation", hint=hint, when=when)
    text = student.run(scenarios.generated, embedding, output, context, ids, n, causal=False)["ids"]
    what = "prompt and continuation by a model whose predictions depend on later tokens too"
    why = "give it the text alone: it may be any module, whose predictions may depend on everything that it reads"
    assert_equal(text, expected, what=what, hint=why)
    most = result["most tokens read at once"]
    assert most <= context, f"the model was given {most} tokens at once, and its context_length is {context}"
    assert most <= t + n, f"the model was given {most} tokens at once, but no text had more than {t + n}\n  hint: {why}"


@exercise("generate_greedy", points=0.5)
def test_texts_and_vocabularies_may_be_large(student):
    """Seventy long texts at once, and token numbers up to 70,000."""
    for vocab, b, t, n, context in ((70_000, 2, 2, 3, 4), (5, 70, 150, 151, 290)):
        embedding, output = toy(15, vocab)
        expected = ids = tokens(16, vocab, b, t)
        actual = student.run(scenarios.generated, embedding, output, context, ids, n)["ids"]
        for _ in range(n):
            logits = toy_logits_of_all(embedding, output, expected[:, -context:])[:, -1]
            expected = torch.cat([expected, logits.argmax(-1, keepdim=True)], dim=1)
        assert_equal(actual, expected, what=f"prompt and {n} new tokens, of {b} texts from a vocabulary of {vocab}")


@exercise("generate_greedy", points=0.5)
@settings(max_examples=10)
@given(config=model_sizes(layers=2, context=5), seed=seeds(), b=sizes(1, 3), t=sizes(1, 6), n=sizes(1, 6))
def test_a_mini_gpt_continues_its_prompt(student, config, seed, b, t, n):
    """The same on a real model: every new token has the largest logit among PyTorch's own."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, t)
    actual = student.run(scenarios.generated_by_mini_gpt, config, weights, ids, n)
    assert_equal(actual[:, :t], ids, what="the prompt")
    assert_equal(tuple(actual.shape), (b, t + n), what="the shape")
    for i in range(t, t + n):
        read = actual[:, max(0, i - config["context_length"]) : i]
        logits = pytorch_logits(config, weights, read)[:, -1]
        chosen = logits.gather(-1, actual[:, i : i + 1])
        assert_close(chosen, logits.amax(-1, keepdim=True), what=f"the logit of the token chosen for position {i}")


@exercise("generate_greedy", points=1)
def test_generating_records_no_gradients(student):
    """No graph is built for what is never differentiated; afterwards gradients are recorded as before."""
    embedding, output = toy(8, 6)
    for recording in (True, False):
        result = student.run(scenarios.generated, embedding, output, 9, tokens(8, 6, 2, 3), 4, recording=recording)
        recorded = result["a graph was recorded"]
        assert not recorded, "the model ran with gradients recorded\n  hint: with torch.no_grad():"
        hint = "use no_grad as a context, not set_grad_enabled; greedy search draws no random numbers"
        what = "what is no longer as it was before -1 new tokens were refused, then 4 made"
        assert_equal(result["changed"], [], what=what, hint=hint)
        what = "whether the embedding, which was frozen, and the output layer, which was not, require gradients afterwards"
        assert_equal(result["[embedding, output] require gradients"], [False, True], what=what)


@exercise("generate_greedy", points=0.5)
def test_logits_are_compared_as_they_are_and_any_of_equal_ones_will_do(student):
    """Logits in the thousands, whose exponentials are infinite, logits that nearly agree, and logits that are all the same."""
    embedding, output = toy(12, 6)
    ids, near = tokens(12, 6, 3, 2), output[:, :1] - 1e-8 * output
    *texts, actual = student.run(scenarios.generated_in_turn, embedding, [output * 1000, near, output * 0], 9, ids, 5)
    hint = "the largest logit, as it is now, belongs to the likeliest token: no exp, no rounding, nothing kept from call to call"
    for text, weights, which in zip(texts, (output * 1000, near), ("are in the thousands", "differ by 1e-8"), strict=True):
        expected = torch.tensor([greedy(embedding, weights, 9, row, 5) for row in ids.tolist()])
        what, when = f"prompt and continuation where logits {which}", partial(assert_greedy_right, student)
        hinted(assert_equal, text, expected, what=what, hint=hint, when=when)
    tiny = output * 2e-5
    text = student.run(scenarios.generated_in_turn, embedding, [tiny], 9, ids, 5, dtype=torch.float16)[0]
    expected = torch.tensor([greedy(embedding, tiny, 9, row, 5) for row in ids.tolist()])
    what, hint = "prompt and continuation where float16 logits are near 0", "compare logits: their softmax is rounded"
    hinted(assert_equal, text, expected, what=what, hint=hint, when=partial(assert_greedy_right, student))
    assert_equal(tuple(actual.shape), (3, 7), what="the shape of prompt and continuation", hint="argmax names one token")
    assert_equal(actual[:, :2], ids, what="the prompt")
    assert ((actual >= 0) & (actual < 6)).all(), f"tokens must lie in 0..5, got {actual.tolist()}"
    two = tokens(12, 2, 3, 2)
    actual = student.run(scenarios.generated, *toy(12, 2), 15, two, 12, banned=1)["ids"]
    what, hint = "the new tokens where token 1 of two is impossible", "a logit of -inf is a probability of 0"
    assert_equal(actual[:, 2:], torch.zeros_like(actual[:, 2:]), what=what, hint=hint)


@exercise("generate_greedy", points=0.5)
def test_model_and_prompt_are_left_as_they_were(student):
    """The model and its parts stay in training or in evaluation, as each of them was; the prompt is not written to."""
    embedding, output = toy(9, 6)
    for training in (True, False):
        for n in (0, 3):
            result = student.run(scenarios.generated, embedding, output, 9, tokens(9, 6, 2, 3), n, training)
            what = f"the training flags of the model and of one part of it after {n} tokens, and -1 that were refused"
            modes, hint = [training, training], "leave the modes alone, or put every part back into its own"
            assert_equal(result["[model, part] are in training"], modes, what=what, hint=hint)
            what = "whether the weights and the gradients that were in them are as they were"
            assert_equal(result["weights and gradients are as they were"], True, what=what)
            assert_equal(result["the prompt is as it was"], True, what="whether the prompt is as it was")


@exercise("generate_greedy", points=1)
def test_a_negative_number_of_tokens_and_an_empty_prompt_are_refused(student):
    """There is nothing to take away, and nothing to start from."""
    embedding, output = toy(10, 6)
    ids = tokens(10, 6, 2, 3)
    go_on = called("generate_greedy", lambda ids, max_new_tokens: student.run(
        scenarios.generated, embedding, output, 9, ids, max_new_tokens
    ))  # fmt: skip
    for n in (-1, -5):
        for prompt in (ids, ids[:1]):
            assert_refused(go_on, prompt, max_new_tokens=n, why="max_new_tokens is negative")
    for n in (0, 2):
        assert_refused(go_on, ids[:, :0], max_new_tokens=n, why="the prompt is empty")
