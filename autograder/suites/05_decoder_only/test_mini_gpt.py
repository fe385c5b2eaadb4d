"""MiniGPT, against the same model made of PyTorch's own layers and against Hugging Face's GPT-2."""

from functools import partial

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called, passes
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes

from . import scenarios
from .cases import SMALL, model_sizes
from .truth import gradients, hugging_face_logits, pytorch_logits, random_ids, random_weights, weight_shapes

HINT = "tokens + positions, the blocks under a causal mask, the final norm, then the head"


def filled(sizes):
    """The sizes with d_ff spelled out."""
    return sizes | {"d_ff": sizes["d_ff"] or 4 * sizes["d_model"]}


@exercise("MiniGPT", points=6, core=True)
@example(config=SMALL | {"n_layers": 13}, seed=1, b=7, t=4)
@settings(max_examples=20)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(1, 7))
def test_logits_are_those_of_a_pre_norm_stack_with_a_causal_mask(student, config, seed, b, t):
    """The same weights in PyTorch's own encoder layers give the same logits, for any sizes and lengths."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, min(t, config["context_length"]))
    logits, loss = student.run(scenarios.forward, config, weights, ids)
    assert_close(logits, pytorch_logits(config, weights, ids), what="the logits", hint=HINT, rtol=0, atol=1e-9)
    assert_equal(loss, None, what="the loss without targets")


@exercise("MiniGPT", points=4)
@settings(max_examples=8)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(1, 7))
def test_logits_and_gradients_are_those_of_hugging_face_gpt2(student, config, seed, b, t):
    """With its weights copied over, GPT2LMHeadModel gives the same logits to 1e-10 and the same gradients."""
    config = filled(config)
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, min(t, config["context_length"]))
    cotangent = normal(seed, *ids.shape, config["vocab_size"])
    logits, actual = student.run(scenarios.parameter_gradients, config, weights, ids, cotangent)
    expected = hugging_face_logits(config, weights, ids)
    assert_close(logits, expected, what="the logits", hint=HINT, rtol=0, atol=1e-10)
    expected = gradients(hugging_face_logits, config, weights, ids, lambda logits: (logits * cotangent).sum())
    assert_close(zeros_for_none(actual, weights), expected, what="the gradient", rtol=1e-8, atol=1e-9)


def zeros_for_none(found, weights):
    """A weight that nothing depends on may have no gradient or a gradient of zeros."""
    return {name: torch.zeros_like(weights[name]) if grad is None else grad for name, grad in found.items()}


@exercise("MiniGPT", points=3)
@settings(max_examples=8)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(2, 7))
def test_gradients_reach_every_parameter(student, config, seed, b, t):
    """Embeddings, every block, the final norm and the head: each gets the gradient that PyTorch's own layers give."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, min(t, config["context_length"]))
    cotangent = normal(seed, b, ids.shape[1], config["vocab_size"])
    logits, actual = student.run(scenarios.parameter_gradients, config, weights, ids, cotangent)
    expected = gradients(pytorch_logits, config, weights, ids, lambda logits: (logits * cotangent).sum())
    right = passes(assert_close, logits, pytorch_logits(config, weights, ids), atol=1e-6, dtype=False)
    hint = "the logits are right: is something detached, or computed under no_grad?" if right else ""
    assert_close(zeros_for_none(actual, weights), expected, what="the gradient", hint=hint, rtol=1e-8, atol=1e-9)


@exercise("MiniGPT", points=3)
@settings(max_examples=8)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(1, 7))
def test_targets_give_the_loss_beside_the_logits(student, config, seed, b, t):
    """The loss is the mean cross entropy of logits and targets, position by position; -100 does not count."""
    shape = b, min(t, config["context_length"])
    weights, ids, targets = (
        random_weights(config, seed),
        random_ids(config, seed, *shape),
        random_ids(config, seed + 1, *shape),
    )
    targets[0, 1:2] = -100

    def cross_entropy(logits):
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    expected = pytorch_logits(config, weights, ids)
    hint = "targets are shifted already; the loss is next_token_loss(logits, targets)"
    for bad in (-1, config["vocab_size"]):
        outside, why = targets.clone(), f"{bad} is no token, and a loss is that of next_token_loss"
        outside[-1, -1] = bad
        model = called("MiniGPT(config)", partial(student.run, scenarios.forward, config, weights))
        assert_refused(model, ids, outside, why=why)
    none = torch.full_like(targets, -100)
    actual, found, (loss, own) = student.run(scenarios.loss_gradients, config, weights, ids, targets, none)
    assert_close(actual[0], expected, what="the logits", hint=HINT, rtol=0, atol=1e-9)
    assert_close(actual[1], cross_entropy(expected), what="the loss", hint=hint, rtol=0, atol=1e-9)
    expected = gradients(pytorch_logits, config, weights, ids, cross_entropy)
    assert_close(zeros_for_none(found, weights), expected, what="the gradient of the loss", rtol=1e-8, atol=1e-9)
    expected = loss if loss.isnan() else own
    assert_close(loss, expected, what="the loss when no target counts", hint="pass on what next_token_loss returns")


@exercise("MiniGPT", points=2)
@settings(max_examples=10)
@given(config=model_sizes(), seed=seeds(), t=sizes(2, 7))
def test_later_tokens_do_not_change_earlier_logits(student, config, seed, t):
    """Position i sees the tokens up to i: neither another ending nor a shorter text changes what came before."""
    t = min(t, config["context_length"])
    weights, ids = random_weights(config, seed), random_ids(config, seed, 2, t)
    others = [torch.cat([ids[:, :i], random_ids(config, seed + i, 2, t - i)], dim=1) for i in range(1, t)]
    short, changed, again = student.run(scenarios.forward_of_beginnings, config, weights, ids, others)
    full = pytorch_logits(config, weights, ids)
    assert_close(short[-1], full, what="the logits in evaluation mode", atol=1e-9)
    for i, logits in enumerate(changed, 1):
        what = f"the logits before position {i} when the tokens from there on change"
        assert_close(logits[:, :i], full[:, :i], what=what, atol=1e-9)
    hint = "is a mask that was kept from a longer text cut to size at its first rows and columns?"
    for i, logits in enumerate(short, 1):
        assert_close(logits, full[:, :i], what=f"the logits of the first {i} tokens alone", atol=1e-9)
        what = f"the logits of the first {i} tokens after a longer text, under no_grad"
        assert_close(again[i - 1], logits, what=what, hint=hint)


@exercise("MiniGPT", points=0.5)
def test_new_weights_count_at_once(student):
    """The logits are those of the weights as they are now, not as they were at an earlier call, and a copy has its own."""
    for tied in (True, False):
        config = SMALL | {"tie_embeddings": tied}
        weights, others, ids = random_weights(config, 6), random_weights(config, 7), random_ids(config, 8, 2, 5)
        others["final_norm.weight"] *= 100
        others["token_embedding.weight"] *= 10
        others["position_embedding.weight"] *= 10
        actual = student.run(scenarios.forward_before_and_after, config, weights, others, ids)
        expected = [pytorch_logits(config, values, ids) for values in (weights, others, weights)]
        hint = "keep no copy of a weight, and nothing computed from one, from call to call, and no function that holds the model"
        what = "the logits after a change of the weights, and of a deep copy made before it"
        assert_close(actual[0], expected[0], what="the logits", atol=1e-9)
        assert_close(actual[1:], expected[1:], what=what, hint=hint, atol=1e-9)


@exercise("MiniGPT", points=0.5)
@settings(max_examples=8)
@given(config=model_sizes(), seed=seeds(), b=sizes(2, 4), t=sizes(1, 5))
def test_rows_of_a_batch_do_not_meet(student, config, seed, b, t):
    """Each text gets the logits that it would get alone."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, min(t, config["context_length"]))
    together, *alone = student.run(scenarios.forward_of_several, config, weights, [ids, *ids.split(1)])
    assert_close(together, torch.cat(alone), what="the logits of the batch")


@exercise("MiniGPT", points=2)
def test_tied_ends_are_one_parameter_and_untied_ends_are_two(student):
    """A tied head is the token embedding's own parameter, and stays so; an untied one has its own weight."""
    hints = {
        True: "assign the parameter, do not copy its values: lm_head.weight is token_embedding.weight",
        False: "lm_head has a weight of its own",
    }
    what = "whether lm_head.weight is token_embedding.weight (at first, after a training step, in a copy)"
    for tied in (True, False):
        actual = student.run(scenarios.still_tied, SMALL | {"tie_embeddings": tied})
        assert_equal(actual, [tied] * 3, what=f"with tie_embeddings={tied}, {what}", hint=hints[tied])


@exercise("MiniGPT", points=2)
@settings(max_examples=12)
@given(config=model_sizes())
def test_the_model_has_the_parameters_of_its_parts_and_no_others(student, config):
    """As many parameters as embeddings, blocks, final norm and head have together."""
    expected = sum(weight.numel() for weight in random_weights(config, 0).values())
    actual, shared, wide, constant = student.run(scenarios.built_twice, config)
    if actual != expected:
        shapes = {name: list(weight.shape) for name, weight in random_weights(config, 0).items()}
        assert_equal(student.run(scenarios.shapes, config), shapes, what="the shapes of the parameters")
    assert_equal(actual, expected, what="the number of parameters")
    assert_equal(shared, [], what="the parameters that two models share", hint="make every part anew in __init__")
    assert_equal(wide, [], what="the parameters that are not float32 at first", hint="leave them as PyTorch makes them")
    hint = "leave them as PyTorch makes them: equal weights stay equal, and learn nothing"
    assert_equal(constant, [], what="the weights whose entries are all the same at first", hint=hint)
    changed = student.run(scenarios.changed_by_building, config)
    assert_equal(changed, [], what="what making a model changes", hint="leave seeds and global settings to the caller")


@exercise("MiniGPT", points=1)
@settings(max_examples=12)
@given(config=model_sizes())
def test_the_parts_have_the_names_that_later_modules_use(student, config):
    """config, token_embedding, position_embedding, blocks, final_norm, lm_head, and the four parts of each block."""
    expected = {
        "is a module": True,
        "config is the one given": True,
        "its fields": filled(config),
        "the fields of what was given": filled(config),
        "blocks": config["n_layers"],
        "distinct blocks": config["n_layers"],
        "heads": [config["n_heads"]] * config["n_layers"],
        "parts of a block are modules": True,
        "parts of the model are modules": True,
        "lm_head has a bias": False,
        "lm_head shares its weight": config["tie_embeddings"],
    }
    assert_equal(student.run(scenarios.structure, config), expected, what="the structure")
    names = [*weight_shapes(config), *(["lm_head.weight"] if config["tie_embeddings"] else [])]
    missing = student.run(scenarios.names_missing_from_saved_weights, config, names)
    assert_equal(missing, [], what="the names that state_dict() lacks", hint="parts are registered by self.name = module")


@exercise("MiniGPT", points=1)
def test_texts_up_to_the_context_length_are_read_and_longer_ones_refused(student):
    """Exactly context_length tokens are fine; one more is an error, not a silent cut."""
    for context, vocab in ((1, 7), (5, 70_000), (140, 7)):
        config = SMALL | {"context_length": context, "vocab_size": vocab}
        weights, ids = random_weights(config, 0), random_ids(config, 1, 2, context + 2)
        logits, _ = student.run(scenarios.forward, config, weights, ids[:, :context])
        expected = pytorch_logits(config, weights, ids[:, :context])
        assert_close(logits, expected, what="the logits of a text that just fits", atol=1e-9)
        long, why = ids[:, : context + 1], f"the context length is {context}"
        for too_long in (ids, long):
            model = called("MiniGPT(config)", partial(student.run, scenarios.forward, config, weights))
            assert_refused(model, too_long, why=why)
        assert_refused(model, long, long, why=f"{why}, with targets too")
        why = f"{why}, in evaluation mode and without gradients too"
        model = called("MiniGPT(config)", partial(student.run, scenarios.forward_in_evaluation, config, weights))
        assert_refused(model, long, why=why)


@exercise("MiniGPT", points=1)
def test_ids_outside_the_vocabulary_are_refused(student):
    """-1 is not the last token of the vocabulary, wherever it stands."""
    weights, why = random_weights(SMALL, 0), "the vocabulary has 7 tokens"
    for bad in (-1, -7, 7, 100):
        for ids in (torch.tensor([[0, 6, bad]]), torch.tensor([[0, 6, 1], [bad, 6, 2]])):
            model = called("MiniGPT(config)", partial(student.run, scenarios.forward, SMALL, weights))
            assert_refused(model, ids, why=why)
            assert_refused(model, ids, ids.clamp(0, 6), why=f"{why}, with targets too")
            late = f"{why}, in evaluation mode and without gradients too"
            model = called("MiniGPT(config)", partial(student.run, scenarios.forward_in_evaluation, SMALL, weights))
            assert_refused(model, ids, why=late)


@exercise("MiniGPT", points=1)
def test_ids_may_lie_in_memory_in_any_order_and_are_left_alone(student):
    """A batch that was stacked column by column gives the same logits and loss, and is not changed."""
    weights, ids, targets = random_weights(SMALL, 3), random_ids(SMALL, 4, 3, 5), random_ids(SMALL, 5, 3, 5)
    targets[0, 1] = -100
    logits, loss, untouched = student.run(scenarios.forward_of_scattered_ids, SMALL, weights, ids, targets)
    expected = pytorch_logits(SMALL, weights, ids)
    assert_close(logits, expected, what="the logits of ids that are not contiguous", atol=1e-9)
    assert_close(loss, F.cross_entropy(expected.flatten(0, 1), targets.flatten()), what="the loss", atol=1e-9)
    assert_equal(untouched, True, what="whether ids and targets are as they were")
    for training in (True, False):
        results, changed = student.run(scenarios.changed_by_forward, SMALL, weights, ids, targets, training)
        wanted = expected, F.cross_entropy(expected.flatten(0, 1), targets.flatten())
        what = f"(logits, loss) with model.training={training}, with gradients recorded and without"
        assert_close(results, [wanted, wanted], what=what, atol=1e-9)
        hint = "forward draws nothing, leaves the mode alone, and leaves it to the caller whether gradients are recorded"
        assert_equal(changed, [], what="what is no longer as it was before the call", hint=hint)


@exercise("MiniGPT", points=1)
def test_a_float32_model_computes_in_float32(student):
    """Logits and loss have the dtype of the weights, bfloat16 and float16 too."""
    weights, ids = random_weights(SMALL, 3, torch.float32), random_ids(SMALL, 4, 3, 5)
    expected = pytorch_logits(SMALL, weights, ids)
    actual = student.run(scenarios.forward, SMALL, weights, ids, ids)
    expected = expected, F.cross_entropy(expected.flatten(0, 1), ids.flatten())
    wide = isinstance(actual, tuple | list) and any(getattr(x, "dtype", None) == torch.float64 for x in actual)
    hint = "no .double() and no float64 constants" if wide else ""
    assert_close(actual, expected, what="(logits, loss)", hint=hint, rtol=1e-5, atol=5e-5)
    for dtype in (torch.bfloat16, torch.float16):
        half = {name: value.to(dtype) for name, value in weights.items()}
        logits, loss, own = student.run(scenarios.losses_of_the_same_logits, SMALL, half, ids, ids)
        assert_equal(logits.dtype, dtype, what=f"the dtype of the logits of a {dtype} model")
        expected = loss.dtype if loss.dtype is dtype else own.dtype
        what, hint = f"the dtype of the loss of a {dtype} model", "pass the logits on as they are"
        assert_equal(loss.dtype, expected, what=what, hint=hint)
