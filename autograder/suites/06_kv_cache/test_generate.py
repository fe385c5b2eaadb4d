"""generate, against greedy search that reads the whole text at every step."""

from functools import partial

import torch

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.hints import called, hinted
from autograder.testing.strategies import given, seeds, settings, sizes

from . import scenarios
from .truth import (
    SMALL,
    assert_left_alone,
    assert_products,
    attention_flops,
    greedy,
    linear_flops,
    logits_of,
    model_sizes,
    random_ids,
    random_weights,
)

NOTHING = "there is no token to start from"
LINEAR = "read the prompt once, then one token a step; only where the window has moved, read it again"


def assert_right(student):
    """An ordinary prompt is continued well: a mistake has to do with what is unusual elsewhere."""
    config = SMALL | {"context_length": 9}
    check(student, config, 1, 2, 3, 4)


def check(student, config, seed, b, t, n, hint="", when=lambda: None):
    """The tokens are those of greedy search: with the cache, which is the default, and without it; a hint, and when."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, t)
    expected = greedy(config, weights, ids, n)
    actual = student.run(scenarios.texts_of, config, weights, ids, n)
    for text, how in zip(actual, ("with the cache", "without the cache"), strict=True):
        hinted(assert_equal, text, expected, what=f"prompt and continuation, {how}", hint=hint, when=when)


def assert_linear(config, b, t, n, count, read, hint):
    """As many tokens were read and operations done as where each token is read once while the window rests."""
    context_length = config["context_length"]
    beyond = max(0, t + n - context_length - 1)  # so many times the whole window is read again
    n_read = t + n - 1 + (context_length - 1) * beyond
    said = f"a prompt of {t} and {n} new tokens" + (f", for {b} texts," if b > 1 else "")
    assert sum(read) <= 1.5 * b * n_read, (
        f"{sum(read)} tokens went through the first block for {said}, and {b * n_read} are enough\n  hint: {hint}"
    )
    reading = t * attention_flops(config, t)  # a prompt that is read at once may be scored in full
    writing = sum(attention_flops(config, i + 1) for i in range(t, min(context_length, t + n - 1)))
    writing += beyond * context_length * attention_flops(config, context_length)
    needed = b * (n_read * linear_flops(config) + reading + writing)
    assert_products(count, b * n_read * (linear_flops(config) - 2 * config["d_model"] * config["vocab_size"]))
    assert count <= 1.5 * needed, f"{said} took {count:,} floating-point operations; {needed:,} are needed\n  hint: {hint}"


@exercise("generate", points=1)
@settings(max_examples=10)
@given(config=model_sizes(context=(2, 6)), seed=seeds(), b=sizes(1, 2), n=sizes(0, 7))
def test_nothing_but_the_result_is_left_behind(student, config, seed, b, n):
    """No graph; the prompt, the model and PyTorch's modes and random state as they were; no new tokens, no change."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, 2)
    for on in (True, False):
        actual = student.run(scenarios.generated, config, weights, ids, n, use_cache=True, training=on, recording=on)
        assert_equal(actual["ids"], greedy(config, weights, ids, n), what=f"prompt and {n} new tokens")
        assert not actual["a graph was recorded"], "generate recorded a graph for gradients\n  hint: torch.inference_mode()"
        assert_left_alone(actual["changed"], f"generate, which refused -1 new tokens and made {n},")


@exercise("generate", points=1)
def test_a_negative_number_of_tokens_and_an_empty_prompt_are_refused(student):
    """With the cache and without it."""
    weights = random_weights(SMALL, 7)
    for use_cache in (True, False):
        for t, n, why in ((2, -1, "-1 tokens cannot be appended"), (0, 1, NOTHING), (0, 0, NOTHING)):
            ids = random_ids(SMALL, 7, 1, t)
            call = called("generate", partial(student.run, scenarios.generated, SMALL, weights))
            assert_refused(call, ids, n, use_cache=use_cache, why=why)


@exercise("generate", points=4, core=True)
@settings(max_examples=20)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(1, 6), n=sizes(1, 7))
def test_tokens_are_those_of_greedy_search_with_and_without_the_cache(student, config, seed, b, t, n):
    """The prompt, then the most likely next token again and again."""
    config = config | {"context_length": t + n + seed % 3 - 1}  # the last token is never read
    hint = "without the cache it is right: after the prompt, read the token that was chosen last, and only that one"
    check(student, config, seed, b, t, n, hint=hint, when=lambda: assert_right_without(student, config, seed, b, t, n))


def assert_right_without(student, config, seed, b, t, n):
    """Without the cache the tokens are right."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, t)
    assert_equal(student.run(scenarios.texts_of, config, weights, ids, n)[1], greedy(config, weights, ids, n))


@exercise("generate", points=1)
@settings(max_examples=10)
@given(config=model_sizes(context=(1, 5)), seed=seeds(), b=sizes(1, 2), beyond=sizes(1, 5), n=sizes(0, 4))
def test_a_prompt_longer_than_the_context_is_cropped_for_the_model_only(student, config, seed, b, beyond, n):
    """The model reads its end, the result holds all of it."""
    hint, when = "crop what is read, not what is kept", partial(assert_right, student)
    check(student, config, seed, b, config["context_length"] + beyond, n, hint=hint, when=when)


@exercise("generate", points=1)
def test_the_model_can_be_trained_on_what_it_generated(student):
    """The result is an ordinary tensor, in float32 too; from the same prompt the trained model goes on as it now must."""
    for dtype, use_cache in ((torch.float32, True), (torch.float64, True), (torch.float32, False)):
        weights, trained = (random_weights(SMALL, seed, dtype) for seed in (6, 7))
        ids, other = random_ids(SMALL, 6, 2, 3), random_ids(SMALL, 8, 2, 9)
        arguments = SMALL, weights, trained, ids, other, 6, use_cache
        gradient, text, another = student.run(scenarios.trained_on_generated, *arguments)
        hint = "nothing of a model or a text may be kept from one call to the next"
        when = partial(assert_right, student)
        hinted(assert_equal, text, greedy(SMALL, trained, ids, 6), what="the text after training", hint=hint, when=when)
        assert_equal(another, greedy(SMALL, trained, other, 6), what="the text after that, from another prompt", hint=hint)
        hint = "tensors made under torch.inference_mode() stay out of autograd for good: make the result outside of it"
        assert bool(gradient.isfinite().all()) and bool((gradient != 0).any()), f"there is no gradient\n  hint: {hint}"


@exercise("generate", points=1)
def test_a_model_in_half_precision_generates_too(student):
    """The cache takes the model's dtype; each new token has a logit as large as any, up to the rounding of the dtype."""
    config = SMALL | {"context_length": 8}
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        weights, ids = random_weights(config, 12, dtype), random_ids(config, 12, 2, 3)
        seen = student.run(scenarios.generated, config, weights, ids, 8)
        text = seen["ids"]
        assert_left_alone(seen["changed"], f"generate in {dtype}")
        assert_equal([list(text.shape), text[:, :3]], [[2, 11], ids], what="[shape, prompt]")
        exact = {name: value.double() for name, value in weights.items()}
        for end in range(3, 11):
            logits = logits_of(config, exact, text[:, max(0, end - 8) : end])[:, -1]
            short = logits.amax(-1) - logits.gather(-1, text[:, end : end + 1]).squeeze(-1)
            room = 64 * torch.finfo(dtype).eps * float(logits.abs().max())
            assert bool((short <= room).all()), f"in {dtype}, a token was chosen for position {end} that is not the likeliest"
    config = config | {"tie_embeddings": False}
    weights = random_weights(config, 12)
    for name, value in weights.items():  # values that float64 alone can hold, made large again; logits likewise
        value *= 1e-60 if ".w_v." in name else 1e60 if name.endswith("w_o.weight") else 1e6 if "final_norm" in name else 1.0
    weights["lm_head.weight"][1::2] = weights["lm_head.weight"][:-1:2] * (1 + 1e-9)  # so near that float32 sees no difference
    expected = greedy(config, weights, ids, 8)
    for text in student.run(scenarios.texts_of, config, weights, ids, 8):
        assert_equal(text, expected, what="the text of a model in float64", hint="cache and logits have the dtype of the model")


@exercise("generate", points=1)
def test_without_the_cache_the_whole_text_is_read_at_every_step(student):
    """That is what the cache is compared with."""
    config = SMALL | {"context_length": 24, "n_layers": 1, "d_model": 16, "d_ff": 64}
    weights, ids, n = random_weights(config, 4), random_ids(config, 4, 1, 4), 20
    count, _, _ = student.run(scenarios.generation_flops, config, weights, ids, n, False)
    # The output layer may be spared at all positions but the last.
    needed = sum((4 + i) * (linear_flops(config) - 2 * 16 * config["vocab_size"]) for i in range(n))
    assert count >= needed, (
        f"{n} new tokens took {count:,} floating-point operations; to read the whole text for each takes {needed:,}"
        "\n  hint: use_cache=False is generate_greedy"
    )


@exercise("generate", points=1, core=True)
def test_the_cache_makes_the_work_linear(student, reference):
    """Matrix products: every token goes through the layers once, and attends to those before it."""
    small = SMALL | {"context_length": 48, "n_layers": 1, "d_model": 16, "d_ff": 64}
    large = small | {"context_length": 1030, "n_layers": 2, "tie_embeddings": False}
    for config, dtype, b, t, n in (
        (small, torch.float64, 1, 4, 46),
        (small, torch.float64, 2, 30, 15),
        (large, torch.float32, 3, 2, 20),
    ):
        weights, ids = random_weights(config, 3, dtype), random_ids(config, n, b, t)
        count, read, made = student.run(scenarios.generation_flops, config, weights, ids, n, True, training=b == 1)
        assert_linear(config, b, t, n, count, read, hint=LINEAR)
        if config is small:  # work that is no matrix product makes tensors of the whole text all the same
            *_, most = reference.run(scenarios.generation_flops, config, weights, ids, n, False)
            said = f"tensors of {made:,} bytes were made with the cache, where reading all at every step makes {most:,}"
            assert made <= most / 2, f"{said}\n  hint: {LINEAR}"


@exercise("generate", points=1)
def test_no_token_is_read_twice_while_the_text_fits(student):
    """By default, and up to the last token that fits into the context."""
    config = SMALL | {"context_length": 132, "n_layers": 1, "d_model": 16, "d_ff": 64}
    weights = random_weights(config, 3)
    for b, t, n in ((2, 30, 5), (1, 2, 131)):
        count, read, _ = student.run(scenarios.generation_flops, config, weights, random_ids(config, n, b, t), n)
        hint = "the cache is the default; while the text fits into the context, nothing that it holds is read again"
        assert_linear(config, b, t, n, count, read, hint=hint)


@exercise("generate", points=2)
@settings(max_examples=15)
@given(config=model_sizes(context=(1, 5)), seed=seeds(), b=sizes(1, 3), t=sizes(1, 4), n=sizes(3, 9))
def test_past_the_context_the_window_moves_on(student, config, seed, b, t, n):
    """The last context_length tokens are read, each at its new position, and the result keeps all tokens."""
    hint = "when the window moves every position changes: empty the cache and fill it again, for every token"
    check(student, config, seed, b, min(t, config["context_length"]), n, hint=hint, when=partial(assert_right, student))
