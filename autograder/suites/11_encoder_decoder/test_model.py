"""MiniT5Config and MiniT5."""

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import DEEP, SMALL, mask_of, model_shapes, model_sizes, model_weights, random_ids, random_mask, where_missing

# MiniT5Config


@exercise("MiniT5Config", points=1, core=True)
@settings(max_examples=5)
@given(config=model_sizes())
def test_a_configuration_holds_its_sizes(student, reference, config):
    """The fields as they were given; a d_ff of None becomes 4 * d_model, and no other one changes."""
    actual, expected = (each.run(scenarios.config_fields, **config) for each in (student, reference))
    assert_equal(actual, expected, what="the fields", hint="d_ff=None stands for 4 * d_model")
    assert_equal(student.run(scenarios.config_survives, **config), True, what="whether it is equal when made from its fields")


@exercise("MiniT5Config", points=0.5, core=True)
def test_the_defaults(student):
    """Two layers, four heads, a width of 64, T5's buckets and no dropout; fields in their order."""
    expected = {
        "vocab_size": 50, "n_layers": 2, "n_heads": 4, "d_model": 64, "d_ff": 256, "dropout": 0.0, "n_buckets": 32,
        "max_distance": 128,
    }  # fmt: skip
    assert_equal(student.run(scenarios.config_fields, 50), expected, what="the fields of MiniT5Config(50)")
    given = 9, 1, 3, 12, 7, 0.25, 16, 40
    actual = student.run(scenarios.config_fields, *given)
    assert_equal(actual, dict(zip(expected, given)), what="the fields given by position")


def said(error):
    """What the student's error says, without the line of the file that raised it."""
    return str(error).rpartition(", line ")[0] or str(error)


@exercise("MiniT5Config", points=1.5)
def test_sizes_that_make_no_model_are_refused(student):
    """Zeros, negative numbers, fractions, heads that do not divide the width, a dropout of 1 or below 0."""
    make = called("MiniT5Config", lambda *sizes, **fields: student.run(scenarios.config_fields, *sizes, **fields))
    for name in ("vocab_size", "n_layers", "n_heads", "d_model", "d_ff", "n_buckets", "max_distance"):
        for bad in (0, -4, 2.5, "8"):
            why = f"{name} must be a positive whole number"
            assert_refused(make, **(SMALL | {name: bad}), why=why)
            try:
                student.run(scenarios.config_fields, **(SMALL | {name: bad}))
            except ValueError as error:
                unnamed = f"{name}={bad!r} is refused with an error that does not name {name}\n  it says: {error}"
                assert name in said(error), unnamed
            except (TypeError, IndexError):  # Python's own, of "8" < 1 say
                pass
    for n_heads, d_model in ((4, 6), (3, 64), (128, 64)):
        why = "n_heads must divide d_model"
        assert_refused(make, 9, n_heads=n_heads, d_model=d_model, why=why)
    for dropout in (1.0, -0.1, 1.5):
        why = f"dropout must be at least 0 and below 1, and {dropout} is not"
        assert_refused(make, 9, dropout=dropout, why=why)
    for bad, names in (({"dropout": 1.5}, ["dropout"]), ({"n_heads": 3}, ["n_heads", "d_model"])):
        try:
            student.run(scenarios.config_fields, 9, **bad)
        except (ValueError, TypeError, IndexError) as error:
            named = any(name in said(error) for name in names)
            assert named, f"{bad} is refused with an error that does not name {names[0]}\n  it says: {error}"
    student.run(scenarios.config_fields, 1, 1, 1, 1, 1, 0.999, 1, 1)
    student.run(scenarios.config_fields, 9, dropout=0)


# MiniT5

HINT = "tokens without positions, the stacks with one bias each, their norms, then (x / sqrt(d_model)) @ embeddings.T"


def problem(config, seed, b=2, n=4, t=3, masked=True):
    """The weights, and (source, ids, mask)."""
    vocab = config["vocab_size"]
    source, ids = random_ids(vocab, seed, b, n), random_ids(vocab, seed + 1, b, t)
    return model_weights(config, seed), (source, ids, random_mask(seed, b, n, density=0.8) if masked else None)


@exercise("MiniT5", points=4, core=True)
@settings(max_examples=6)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), n=sizes(1, 6), t=sizes(1, 6), masked=st.booleans())
@example(config=DEEP, seed=1, b=2, n=6, t=5, masked=True)
@example(config=DEEP, seed=2, b=2, n=5, t=6, masked=False)
@example(config=SMALL, seed=5, b=1, n=6, t=4, masked=True)
def test_logits_are_those_of_an_encoder_and_a_decoder(student, reference, config, seed, b, n, t, masked):
    """With the same weights the model gives the reference's logits, for any sizes, lengths and masks."""
    weights, args = problem(config, seed, b, n, t, masked)
    actual, expected = (each.run(scenarios.logits, config, weights, *args) for each in (student, reference))
    assert_close(actual, expected, what="the logits", hint=HINT, rtol=1e-8, atol=1e-9)


@exercise("MiniT5", points=2, core=True)
@settings(max_examples=4)
@given(seed=seeds(), lengths=st.lists(sizes(1, 6), min_size=2, max_size=4), more=sizes(0, 3))
@example(seed=4, lengths=[5, 2, 1], more=2)
def test_padding_changes_nothing(student, seed, lengths, more):
    """A batch of mixed lengths gives each text what it gets alone, whatever stands in the padding and however much there is."""
    b, n = len(lengths), max(lengths) + more
    weights, (source, ids, _) = problem(SMALL, seed, b, n, 4)
    mask = mask_of(lengths, n)
    other = torch.where(mask, source, random_ids(9, seed + 7, b, n))
    alone = [(source[i : i + 1, :length], ids[i : i + 1], None) for i, length in enumerate(lengths)]
    several = [(source, ids, mask), (other, ids, mask), *alone]
    found, changed, *rows = student.run(scenarios.logits_of_several, SMALL, weights, several)
    hint = "the source's mask belongs to the encoder's self-attention and to the decoder's cross-attention"
    assert_close(changed, found, what="the logits after a change of the padding", hint=hint)
    assert_close(found, torch.cat(rows), what="the logits of the batch, beside those of each text alone", hint=hint, atol=1e-9)


@exercise("MiniT5", points=1.5)
@settings(max_examples=2)
@given(config=model_sizes(), seed=seeds(), n=sizes(1, 4), t=sizes(1, 5), pieces=sizes(1, 3), as_pairs=st.booleans())
@example(config=SMALL, seed=1, n=4, t=5, pieces=2, as_pairs=True)
@example(config=SMALL, seed=1, n=4, t=4, pieces=3, as_pairs=False)
@example(config=SMALL | {"n_layers": 1}, seed=1, n=2, t=2, pieces=1, as_pairs=False)
def test_gradients_reach_every_weight(student, reference, config, seed, n, t, pieces, as_pairs):
    """Embeddings (from all three places), both tables of biases, every block and both norms; also of a text in pieces."""
    weights, args = problem(config, seed, 2, n, t)
    call = config, weights, *args, normal(seed, 2, t, config["vocab_size"])
    actual, expected = (each.run(scenarios.model_gradients, *call) for each in (student, reference))
    hint = where_missing(actual, expected, "is something detached, or a copy?")
    assert_close(actual, expected, what="the gradient", hint=hint, rtol=1e-7, atol=1e-8)
    actual = student.run(scenarios.model_gradients_in_pieces, *call, pieces, as_pairs)
    context = "projected before" if as_pairs else "as it is"
    what = f"the gradient of {t} tokens decoded in pieces of {pieces} in evaluation mode, the context {context}"
    hint = "decode detaches neither its past nor its context"
    assert_close(actual, expected, what=what, hint=hint, rtol=1e-7, atol=1e-8)


@exercise("MiniT5", points=2)
@settings(max_examples=5)
@given(seed=seeds(), t=sizes(1, 6), pieces=sizes(1, 3), masked=st.booleans(), as_pairs=st.booleans())
@example(seed=1, t=5, pieces=1, masked=True, as_pairs=True)
@example(seed=2, t=6, pieces=2, masked=False, as_pairs=False)
def test_decoding_in_pieces_gives_the_logits_of_the_whole(student, reference, seed, t, pieces, masked, as_pairs):
    """With the past, and with the context as it is or projected for each block; no past is changed."""
    weights, args = problem(DEEP, seed, 2, 4, t, masked)
    actual, untouched = student.run(scenarios.logits_in_pieces, DEEP, weights, *args, pieces, as_pairs)
    expected = reference.run(scenarios.logits, DEEP, weights, *args)
    hint = "the bias is decoder_bias(t, p + t); each block has its own past and its own context"
    assert_close(actual, expected, what=f"the logits of {t} tokens in pieces of {pieces}", hint=hint, rtol=1e-8, atol=1e-9)
    assert_equal(untouched, True, what="whether each past is as it was")


@exercise("MiniT5", points=1)
@settings(max_examples=3)
@given(seed=seeds(), b=sizes(1, 3), n=sizes(1, 5), masked=st.booleans())
def test_encoding_and_decoding_are_the_two_halves(student, reference, seed, b, n, masked):
    """encode gives what the decoder attends to, normalised; decode gives logits and one pair for each block."""
    weights, (source, ids, mask) = problem(SMALL, seed, b, n, 3, masked)
    mask = None if mask is None else mask.index_fill(1, torch.tensor(0), True)
    actual, expected = (each.run(scenarios.encoded, SMALL, weights, source, mask) for each in (student, reference))
    real = torch.ones(b, n, dtype=torch.bool) if mask is None else mask
    assert_close(
        actual[real], expected[real], what="the encoder's output at real tokens", hint="encoder_norm comes last", atol=1e-9
    )
    assert bool(actual.isfinite().all()), "the encoder's output is not finite at padding"
    actual, expected = (
        each.run(scenarios.logits_in_two_steps, SMALL, weights, source, ids, mask) for each in (student, reference)
    )
    assert_close(actual, expected, what="(logits, shapes of the past)", hint=HINT, rtol=1e-8, atol=1e-9)


@exercise("MiniT5", points=1)
@settings(max_examples=3)
@given(seed=seeds(), t=sizes(2, 6))
def test_the_decoder_does_not_look_ahead_and_the_encoder_does(student, seed, t):
    """Later target tokens change no earlier logits; the last source token changes all of them."""
    weights, (source, ids, _) = problem(SMALL, seed, 2, 4, t)
    several = [(source, ids, None)]
    for i in range(1, t):
        several.append((source, torch.cat([ids[:, :i], (ids[:, i:] + 1) % 9], dim=1), None))
    several.append((torch.cat([source[:, :3], (source[:, 3:] + 1) % 9], dim=1), ids, None))
    several.append((source, ids[:, :1], None))
    found, *others, elsewhere, short = student.run(scenarios.logits_of_several, SMALL, weights, several)
    for i, other in enumerate(others, 1):
        assert_close(other[:, :i], found[:, :i], what=f"the logits before position {i} when the tokens from there on change")
    assert_close(short, found[:, :1], what="the logits of the first token alone")
    unchanged = (elsewhere - found).abs().amax(-1) < 1e-9
    assert not bool(unchanged.any()), "the last source token does not reach every target position"


@exercise("MiniT5", points=0.5)
@settings(max_examples=4)
@given(config=model_sizes())
def test_the_parameters_have_these_names_and_are_no_others(student, config):
    """Two models share nothing, and making one sets no seed."""
    found = student.run(scenarios.model_structure, config)
    expected = {
        "parameters": {name: list(shape) for name, shape in model_shapes(config).items()},
        "config is the one given": True,
        "shared by two": [],
        "blocks": [config["n_layers"]] * 2,
        "heads": [[config["n_heads"]] * config["n_layers"]] * 2,
    }
    hint = "one embedding for both ends, one bias for each stack, no output layer"
    assert_equal(found, expected, what="the structure", hint=hint)
    assert_equal(student.run(scenarios.changed_by_building, config), [], what="what making a model changes")


@exercise("MiniT5", points=0.5)
def test_weights_start_where_pytorch_puts_them(student):
    """Embeddings are standard normal, linear layers uniform within 1 / sqrt(d_model): nothing else is initialised."""
    d, config = 64, {"vocab_size": 200, "n_layers": 1, "n_buckets": 128, "max_distance": 999}
    for name, weight in student.run(scenarios.first_weights, config).items():
        kind, usual = ("Embedding", 1.0) if "embedding" in name else ("Linear", (3 * d) ** -0.5)
        spread, largest = weight.std().item(), weight.abs().max().item()
        found = f"{name} starts with a standard deviation of {spread:.3g} and a largest number of {largest:.3g}"
        said = f"{found}; in PyTorch's nn.{kind} the deviation is {usual:.3g}\n  hint: leave the weights where PyTorch puts them"
        assert 0.85 < spread / usual < 1.15 and (kind == "Embedding" or largest <= d**-0.5 + 1e-6), said


@exercise("MiniT5", points=0.5)
def test_the_models_dropout(student, reference):
    """In train mode only; it reaches the blocks and the embeddings."""
    weights, args = problem(SMALL, 5, 2, 5, 4)
    quiet, noisy, again, still = student.run(scenarios.model_with_dropout, SMALL, 0.3, weights, *args)
    expected = reference.run(scenarios.logits, SMALL, weights, *args)
    assert_close([quiet, still], [expected, expected], what="the logits in evaluation mode", rtol=1e-8, atol=1e-9)
    assert not torch.equal(noisy, expected) and not torch.equal(noisy, again), "nothing is dropped in train mode"
    # Blocks that add nothing leave the embeddings and their dropout; embeddings of next to nothing, what the last block adds.
    inert = {name: torch.zeros_like(x) if "w_o" in name else x for name, x in weights.items()}
    last = {f"{stack}.1.feed_forward.w_out.bias": torch.full((6,), 3.0).double() for stack in ("encoder", "decoder")}
    last["token_embedding.weight"] = 1e-6 * weights["token_embedding.weight"]
    for where, each in (("the embeddings", inert), ("what the last block adds", inert | last)):
        memory, logits = student.run(scenarios.encoded_and_decoded_with_dropout, SMALL, 0.5, each, *args[:2], 6)
        x = logits @ torch.linalg.pinv(each["token_embedding.weight"].T)  # what the logits were made of
        for stack, found in (("encoder", memory), ("decoder", x)):
            share = (found.abs() < 1e-3 * found.abs().amax()).double().mean().item()
            what = f"with a dropout of 0.5, {share:.0%} of {where} are dropped in the {stack}, not half"
            assert 0.37 < share < 0.63, (
                f"{what}\n  hint: dropout acts on the embeddings of both texts and in the blocks, nowhere else"
            )


@exercise("MiniT5", points=1)
def test_arguments_and_settings_are_left_alone(student, reference):
    """Ids in any order in memory, new weights, float32, long texts, a row all padding; nothing is remembered or changed."""
    weights, args = problem(SMALL, 6, 3, 4, 5)
    args[2][1] = False
    expected = reference.run(scenarios.logits, SMALL, weights, *args)
    for training in (True, False):
        found, changed = student.run(scenarios.logits_of_scattered, SMALL, weights, *args, training)
        assert_close(found, expected, what="the logits of ids in another order in memory", rtol=1e-8, atol=1e-9)
        assert_equal(changed, [], what="what is no longer as it was before the call")
    others = model_weights(SMALL, 7)
    call = SMALL, weights, others, *args
    actual, expected = (each.run(scenarios.logits_before_and_after, *call) for each in (student, reference))
    what = "the logits: at first, of a deep copy with other weights, of the model again, and when it has the others too"
    assert_close(actual, expected, what=what, rtol=1e-8, atol=1e-9)
    single = {name: x.float() for name, x in weights.items()}
    found = student.run(scenarios.logits, SMALL, single, *args)
    assert_close(found, expected[0].float(), what="the logits in float32", rtol=1e-3, atol=1e-3)
    half = student.run(scenarios.logits, SMALL, {name: x.bfloat16() for name, x in weights.items()}, *args)
    assert_equal(half.dtype, torch.bfloat16, what="the dtype of the logits of a bfloat16 model")
    long, shallow = (random_ids(9, 8, 1, 530), random_ids(9, 9, 1, 520)), SMALL | {"n_layers": 1, "n_heads": 1}
    call = shallow, model_weights(shallow, 8), *long
    actual, expected = (each.run(scenarios.logits, *call) for each in (student, reference))
    assert_close(actual, expected, what="the logits of texts of 530 and 520 tokens", rtol=1e-7, atol=1e-8)
    model = called("MiniT5(config)", lambda *ids: student.run(scenarios.logits, SMALL, weights, *ids))
    for bad in (-1, 9):
        for place in (0, 1):
            wrong = [x.clone() for x in args]
            wrong[place][0, 0] = bad
            assert_refused(model, *wrong, why=f"the vocabulary has 9 tokens, and {bad} is none", error="an IndexError")
