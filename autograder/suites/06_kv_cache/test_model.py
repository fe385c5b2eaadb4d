"""prefill and decode_step, against the logits of the whole text without a cache."""

from functools import partial

import torch

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.hints import hinted, why_refused
from autograder.testing.strategies import example, given, seeds, settings, sizes, st

from . import scenarios
from .truth import (
    SMALL,
    assert_left_alone,
    assert_products,
    attention_flops,
    linear_flops,
    logits_of,
    model_sizes,
    random_ids,
    random_weights,
)

EXACT = {"rtol": 0, "atol": 1e-10}
POSITIONS = "the first new token stands at position cache.length"


def assert_prompt_right(student):
    """A prompt that is read at once gets the right logits: a mistake has to do with what is unusual elsewhere."""
    weights, ids = random_weights(SMALL, 1), random_ids(SMALL, 1, 2, 4)
    (seen,) = student.run(scenarios.model_session, SMALL, weights, 2, 5, [("prefill", ids)])
    assert_close(seen["value"], logits_of(SMALL, weights, ids), **EXACT)


def session(student, config, weights, b, max_len, operations, refused=()):
    """What `model_session` gives; of the reads none but the operations of these numbers may be refused."""
    seen = student.run(scenarios.model_session, config, weights, b, max_len, operations)
    for i, (entry, (name, argument)) in enumerate(zip(seen, operations, strict=True)):
        if entry["refused"] and i not in refused and name in ("prefill", "decode_step"):
            call = partial(student.run, scenarios.error_of_the_model, config, weights, b, max_len, operations[: i + 1])
            so_far = f"cache.length {seen[i - 1]['length'] if i else 0}, max_len {max_len}"
            so_far += f" and a context of {config['context_length']}"
            why_refused(call, f"{name} of ids of shape {tuple(argument.shape)}, with {so_far},")
    return seen


@exercise("prefill", points=4, core=True)
@example(config=SMALL | {"n_layers": 13}, seed=1, b=1, t=4, spare=0)
@settings(max_examples=20)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(1, 9), spare=sizes(0, 3))
def test_a_prompt_read_at_once_gets_the_logits_of_the_model(student, config, seed, b, t, spare):
    """At every position, for every text of the batch."""
    t = min(t, config["context_length"])
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, t)
    (seen,) = session(student, config, weights, b, t + spare, [("prefill", ids)])
    hint = "embeddings with positions, the blocks with attend_with_cache, the final norm, the head"
    assert_close(seen["value"], logits_of(config, weights, ids), what="the logits", hint=hint, **EXACT)


@exercise("prefill", points=3)
@settings(max_examples=20)
@given(
    config=model_sizes(),
    seed=seeds(),
    b=sizes(1, 3),
    pieces=st.lists(sizes(1, 4), min_size=2, max_size=4),
    spare=sizes(0, 3),
)
def test_a_prompt_read_in_pieces_gets_the_same_logits(student, config, seed, b, pieces, spare):
    """A piece goes on where the cache ends: its positions, and what its tokens may attend to."""
    t = sum(pieces)
    config = config | {"context_length": t + seed % 3}
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, t)
    reads = [("prefill", piece) for piece in ids.split(pieces, dim=1)]
    seen = session(student, config, weights, b, t + spare, reads)
    actual = torch.cat([entry["value"] for entry in seen], dim=1)
    expected = logits_of(config, weights, ids)
    what, when = f"the logits of pieces of {pieces} tokens", partial(assert_prompt_right, student)
    hinted(assert_close, actual, expected, what=what, hint=POSITIONS, when=when, **EXACT)


@exercise("prefill", points=2)
@settings(max_examples=12)
@given(config=model_sizes(context=(3, 9)), seed=seeds(), b=sizes(1, 3), keep=sizes(0, 8))
def test_reading_on_after_truncation_forgets_what_was_cut_off(student, config, seed, b, keep):
    """The first tokens of one text, then the rest of another: as if nothing else had ever been read."""
    t = config["context_length"]
    keep = min(keep, t - 1)
    weights, ids, other = (
        random_weights(config, seed),
        random_ids(config, seed, b, t),
        random_ids(config, seed + 1, b, t),
    )
    text = torch.cat([ids[:, :keep], other[:, keep:]], dim=1)
    operations = [("prefill", ids), ("truncate", keep), ("prefill", other[:, keep:].contiguous())]
    seen = session(student, config, weights, b, t, operations)
    expected = logits_of(config, weights, text)[:, keep:]
    what, when = f"the logits after truncate({keep})", partial(assert_prompt_right, student)
    hinted(assert_close, seen[2]["value"], expected, what=what, hint=POSITIONS, when=when, **EXACT)


@exercise("prefill", points=2)
@settings(max_examples=12)
@given(config=model_sizes(context=(2, 9)), seed=seeds(), b=sizes(2, 4))
def test_reading_on_after_reordering_continues_the_chosen_texts(student, config, seed, b):
    """Row i goes on from the text that was in row beam_index[i]."""
    t = config["context_length"]
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, t - 1)
    index, last = (
        torch.randint(b, (b,), generator=torch.Generator().manual_seed(seed)),
        random_ids(config, seed + 1, b, 1),
    )
    read_on, back = ("prefill", last), ("truncate", t - 1)  # the same tokens at the same position, after other texts
    operations = [("prefill", ids), read_on, back, ("reorder", index), read_on]
    seen = session(student, config, weights, b, t, operations)
    expected = logits_of(config, weights, torch.cat([ids[index], last], dim=1))[:, -1:]
    assert_close(seen[4]["value"], expected, what=f"the logits after reorder({index.tolist()})", **EXACT)


@exercise("prefill", points=2)
@settings(max_examples=15)
@given(
    config=model_sizes(context=(2, 9)),
    seed=seeds(),
    excess=sizes(1, 3),
    bounded_by=st.sampled_from(["cache", "context"]),
)
def test_a_text_that_does_not_fit_is_refused_and_changes_nothing(student, config, seed, excess, bounded_by):
    """Too long for the cache, or for the model's context; what does fit is read as if nothing had happened."""
    t, beyond = config["context_length"], 5
    if bounded_by == "cache":
        config = config | {"context_length": t + beyond}
    weights, ids = random_weights(config, seed), random_ids(config, seed, 2, t)
    too_long = random_ids(config, seed + 1, 2, 1 + excess)
    at_once = random_ids(config, seed + 2, 2, t + excess)
    operations = [("prefill", at_once), ("prefill", ids[:, :-1].contiguous()), ("prefill", too_long)]
    operations.append(("prefill", ids[:, -1:].contiguous()))
    max_len = t if bounded_by == "cache" else t + beyond
    seen = session(student, config, weights, 2, max_len, operations, refused=(0, 2))
    assert seen[0]["refused"], f"a prompt of {t + excess} tokens should be refused: the {bounded_by} has room for {t}"
    assert_equal(seen[0]["length"], 0, what="cache.length after the refusal of the first prompt")
    assert seen[2]["refused"], f"{1 + excess} tokens should be refused: the {bounded_by} has room for 1"
    assert_equal(seen[2]["length"], t - 1, what="cache.length after the refusal")
    expected = logits_of(config, weights, ids)[:, -1:]
    assert_close(seen[3]["value"], expected, what="the logits of the token that fits", **EXACT)


@exercise("prefill", points=1, core=True)
@settings(max_examples=15)
@given(config=model_sizes(), seed=seeds(), pieces=st.lists(sizes(1, 3), min_size=1, max_size=3))
def test_the_cache_then_holds_the_whole_text(student, config, seed, pieces):
    """cache.length is the number of tokens that were read, and every layer has their keys and values."""
    config = config | {"context_length": sum(pieces)}
    weights, ids = random_weights(config, seed), random_ids(config, seed, 2, sum(pieces))
    reads = [("prefill", piece) for piece in ids.split(pieces, dim=1)]
    seen = session(student, config, weights, 2, sum(pieces), reads)
    expected = [sum(pieces[: i + 1]) for i in range(len(pieces))]
    assert_equal([entry["length"] for entry in seen], expected, what="cache.length after each piece")
    held = []
    logits_of(config, weights, ids, held)
    ones = torch.ones(2, config["n_heads"], 1, config["d_model"] // config["n_heads"], dtype=torch.float64)
    held = [tuple(torch.cat([x, ones], dim=2) for x in pair) for pair in held]
    actual = student.run(scenarios.held_after_reading, config, weights, list(ids.split(pieces, dim=1)))
    hint = "every block appends its keys and values to its own layer, by attend_with_cache"
    assert_close(actual, held, what="(k_all, v_all) of each layer, with ones appended", hint=hint, **EXACT)


@exercise("prefill", points=1)
def test_a_piece_is_read_in_one_pass_and_nothing_is_read_again(student):
    """All its tokens go through a layer together; the text before it is in the cache."""
    lengths, before = [200, 16], 0
    config = SMALL | {"context_length": 216, "n_layers": 1, "d_model": 16, "d_ff": 64}
    weights, ids = random_weights(config, 9), random_ids(config, 9, 1, 216)
    work = student.run(scenarios.reading_work, config, weights, list(ids.split(lengths, dim=1)))
    for t, (count, n_products) in zip(lengths, work, strict=True):
        needed = t * (linear_flops(config) + attention_flops(config, before + t))
        hint = "only the new tokens go through the layers, and once; the text before them is in the cache"
        assert_products(count, t * linear_flops(config))
        assert count <= 1.5 * needed, (
            f"a piece of {t} tokens after {before} took {count:,} floating-point operations; {needed:,} are needed"
            f"\n  hint: {hint}"
        )
        assert n_products <= 4, (
            f"a piece of {t} tokens went through the first feed-forward layer in {n_products} parts, and one is enough"
            "\n  hint: prefill reads all its tokens in one pass, as in training; only an answer is written token by token"
        )
        before += t


@exercise("prefill", points=1)
def test_logits_have_the_dtype_of_the_model_and_nothing_but_the_cache_changes(student):
    """In every dtype and mode, with gradients being recorded and not; the ids, wherever they lie in memory, and the model
    are left alone."""
    for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.float32):
        logits, _, changed, _, (expected, _), room = logits_and_step(student, dtype)
        assert_left_alone(changed, f"prefill in {dtype}, which was also refused once,")
        assert_close(logits, expected, what=f"the logits in {dtype}", **room)


def logits_and_step(student, dtype):
    """Those of a prompt and of a step after it, what was left behind each time, what was expected, how exactly."""
    weights, ids = random_weights(SMALL, 5, dtype), random_ids(SMALL, 5, 3, 4)
    for name in ("final_norm.weight", "final_norm.bias"):
        weights[name] *= 100 if dtype == torch.float16 else 1e6  # the logits are as large as the dtype allows
    exact = {name: value.double() for name, value in weights.items()}
    expected = logits_of(SMALL, exact, torch.cat([ids, ids[:, :1]], dim=1))
    room = {"rtol": 0, "atol": 32 * torch.finfo(dtype).eps * float(expected.abs().max())}
    expected = expected.to(dtype)
    modes = {"training": dtype.itemsize != 2, "recording": dtype in (torch.bfloat16, torch.float64)}
    seen = student.run(scenarios.ids_untouched, SMALL, weights, ids, **modes)
    return *seen, (expected[:, :-1], expected[:, -1]), room


@exercise("decode_step", points=3, core=True)
@settings(max_examples=15)
@given(config=model_sizes(context=(2, 9)), seed=seeds(), b=sizes(1, 3), prompt=sizes(1, 8), spare=sizes(0, 2))
def test_each_step_gets_the_logits_of_the_whole_text(student, config, seed, b, prompt, spare):
    """After the prompt, token by token, to the end of the context."""
    t = config["context_length"]
    prompt = min(prompt, t - 1)
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, t)
    operations = [("prefill", ids[:, :prompt].contiguous())]
    operations += [("decode_step", ids[:, i].contiguous()) for i in range(prompt, t)]
    seen = session(student, config, weights, b, t + spare, operations)
    expected, when = logits_of(config, weights, ids), partial(assert_prompt_right, student)
    for entry, i in zip(seen[1:], range(prompt, t), strict=True):
        what, logits = f"the logits at position {i} after a prompt of {prompt}", entry["value"]
        of_its_shape = getattr(logits, "shape", None) == expected[:, i].shape
        hint = POSITIONS if of_its_shape else "decode_step gives (b, vocab), of a batch of 1 too"
        hinted(assert_close, logits, expected[:, i], what=what, hint=hint, when=when, **EXACT)
        assert_equal(entry["length"], i + 1, what=f"cache.length after position {i}")


@exercise("decode_step", points=1)
@settings(max_examples=15)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3))
def test_a_text_may_begin_with_a_step(student, config, seed, b):
    """On an empty cache, the token is the first."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, config["context_length"])
    operations = [("decode_step", column.contiguous()) for column in ids.T]
    seen = session(student, config, weights, b, config["context_length"], operations)
    actual = torch.stack([entry["value"] for entry in seen], dim=1)
    what, when = "the logits of a text read by decode_step alone", partial(assert_prompt_right, student)
    hinted(assert_close, actual, logits_of(config, weights, ids), what=what, hint=POSITIONS, when=when, **EXACT)


@exercise("decode_step", points=1)
@settings(max_examples=15)
@given(config=model_sizes(context=(4, 9)), seed=seeds(), b=sizes(2, 4))
def test_steps_follow_a_beam_that_is_reordered_and_cut_back(student, config, seed, b):
    """As in beam search: some texts are dropped, others continued twice, the last token is taken back."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, 2)
    draws = torch.Generator().manual_seed(seed)
    first, second = torch.randint(b, (2, b), generator=draws)
    tokens = random_ids(config, seed + 1, 3, b)
    operations = [("prefill", ids), ("reorder", first), ("decode_step", tokens[0]), ("reorder", second)]
    operations += [("decode_step", tokens[1]), ("truncate", 3), ("decode_step", tokens[2])]
    other = random_ids(config, seed + 2, b, 3)
    operations += [("truncate", 0), ("prefill", other), ("decode_step", tokens[1])]  # the same tokens after another text
    seen = session(student, config, weights, b, 4, operations)
    text = torch.cat([ids[first], tokens[0][:, None]], dim=1)[second]
    steps = (
        (seen[4], text, tokens[1], "reordering"),
        (seen[6], text, tokens[2], "reordering and truncate(3)"),
        (seen[9], other, tokens[1], "truncate(0) and another prompt"),
    )
    for entry, before, token, when in steps:
        expected = logits_of(config, weights, torch.cat([before, token[:, None]], dim=1))[:, -1]
        assert_close(entry["value"], expected, what=f"the logits of a step after {when}", **EXACT)


@exercise("decode_step", points=1)
@settings(max_examples=10)
@given(config=model_sizes(context=(2, 9)), seed=seeds(), bounded_by=st.sampled_from(["cache", "context"]))
def test_a_step_past_the_end_is_refused_and_changes_nothing(student, config, seed, bounded_by):
    """Past the end of the cache, or of the model's context; one position earlier there is still room."""
    t = config["context_length"]
    config = config | {"context_length": t + (3 if bounded_by == "cache" else 0)}
    weights, ids = random_weights(config, seed), random_ids(config, seed, 2, t)
    last = ids[:, -1].contiguous()
    operations = [("prefill", ids), ("decode_step", last), ("truncate", t - 1), ("decode_step", last)]
    max_len = t + (3 if bounded_by == "context" else 0)
    seen = session(student, config, weights, 2, max_len, operations, refused=(1,))
    assert seen[1]["refused"], f"a step should be refused when the {bounded_by} is full"
    assert_equal(seen[1]["length"], t, what="cache.length after the refusal")
    assert_close(seen[3]["value"], logits_of(config, weights, ids)[:, -1], what="the logits of the last token", **EXACT)


@exercise("decode_step", points=1)
def test_a_step_has_the_dtype_of_the_model_and_changes_nothing_but_the_cache(student):
    """In every dtype and mode, with gradients being recorded and not; the token ids and the model are left alone."""
    for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.float32):
        _, step, before, after, (_, expected), room = logits_and_step(student, dtype)
        assert_left_alone(before, f"prefill in {dtype}, which was also refused once,")
        assert_left_alone(after, f"decode_step in {dtype}, which was also refused once,")
        assert_close(step, expected, what=f"the logits of a step in {dtype}", **room)


@exercise("decode_step", points=1, core=True)
def test_a_step_does_the_work_of_one_token(student):
    """Matrix products: two operations for each weight and text, and attention of one query to the cached keys."""
    config = SMALL | {"context_length": 130, "n_layers": 1, "d_model": 16, "d_ff": 64}
    weights = random_weights(config, 3)
    lengths, b = (16, 128), 2
    counts = student.run(scenarios.step_flops, config, weights, [random_ids(config, n, b, n) for n in lengths])
    for n, count in zip(lengths, counts, strict=True):
        needed = b * (linear_flops(config) + attention_flops(config, n + 1))
        assert_products(count, b * linear_flops(config))
        assert count <= 1.5 * needed, (
            f"with {n} cached positions, a step took {count:,} floating-point operations; {needed:,} are needed"
            "\n  hint: only the new token goes through the layers; the text before it is in the cache"
        )
