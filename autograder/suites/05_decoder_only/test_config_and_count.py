"""GPTConfig and count_parameters."""

from functools import partial

import torch
from torch import nn

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, settings

from . import scenarios
from .cases import SMALL, model_sizes


@exercise("GPTConfig", points=2, core=True)
@settings(max_examples=20)
@given(sizes=model_sizes())
def test_a_configuration_holds_the_sizes_it_was_given(student, sizes):
    """Every field keeps its value; only a missing d_ff is filled in."""
    actual = student.run(scenarios.config_fields, **sizes)
    others_right = isinstance(actual, dict) and actual | {"d_ff": 0} == sizes | {"d_ff": 0}
    hint = "d_ff=None stands for 4 * d_model, and for nothing else" if others_right else ""
    assert_equal(actual, filled(sizes), what="the fields of the configuration", hint=hint)


def filled(sizes):
    """The sizes with d_ff spelled out."""
    return sizes | {"d_ff": 4 * sizes["d_model"] if sizes["d_ff"] is None else sizes["d_ff"]}


@exercise("GPTConfig", points=1)
def test_the_defaults_are_a_two_layer_model_of_width_64(student):
    """Vocabulary and context length come first, in this order; everything else has the course's default."""
    expected = {
        "vocab_size": 65, "context_length": 128, "n_layers": 2, "n_heads": 4, "d_model": 64, "d_ff": 256,
        "tie_embeddings": True,
    }  # fmt: skip
    assert_equal(student.run(scenarios.config_fields, 65, 128), expected, what="the fields of GPTConfig(65, 128)")
    assert_equal(
        student.run(scenarios.config_fields, 65, 128, d_model=32),
        expected | {"d_model": 32, "d_ff": 128},
        what="the fields of GPTConfig(65, 128, d_model=32)",
        hint="a d_ff that is left out is 4 * d_model",
    )
    hint = "the fields stand in this order"
    largest = (1_000_003, 10_000_001, 1001, 3, 900_003, 4_000_001, True)
    for values in ((128256, 8192, 24, 32, 4096, 14336, False), (1, 1, 1, 1, 1, 1, True), largest):
        actual = student.run(scenarios.config_fields, *values)
        assert_equal(actual, dict(zip(expected, values)), what=f"the fields of GPTConfig{values}", hint=hint)


@exercise("GPTConfig", points=1)
def test_sizes_that_are_not_positive_whole_numbers_are_refused(student):
    """0, -1, 2.5, 8.0, "8" and None are no sizes, whichever field they are given for; only d_ff may be None."""
    for name in ("vocab_size", "context_length", "n_layers", "n_heads", "d_model", "d_ff"):
        for value in (0, -1, -SMALL[name], 2.5, float(SMALL[name]), str(SMALL[name]), *([None] if name != "d_ff" else [])):
            why = f"{name} must be a positive whole number"
            for d_ff in (SMALL["d_ff"], None):  # a size that was left out is no reason not to look at the others
                make = called("GPTConfig", partial(student.run, scenarios.config_fields))
                assert_refused(make, **(SMALL | {"d_ff": d_ff, name: value}), why=why)


@exercise("GPTConfig", points=1)
def test_heads_that_do_not_divide_the_width_are_refused(student):
    """Every head gets the same number of channels, so n_heads must divide d_model."""
    for d_model, n_heads in ((64, 3), (6, 4), (2, 4), (9, 2)):
        for d_ff in (SMALL["d_ff"], None):
            bad = SMALL | {"d_model": d_model, "n_heads": n_heads, "d_ff": d_ff}
            make = called("GPTConfig", partial(student.run, scenarios.config_fields))
            assert_refused(make, **bad, why="n_heads must divide d_model")


@exercise("GPTConfig", points=1)
@settings(max_examples=12)
@given(sizes=model_sizes())
def test_a_configuration_can_be_written_out_and_read_back(student, sizes):
    """GPTConfig(**dataclasses.asdict(config)) equals config, as a checkpoint needs it; one of other sizes does not."""
    full = filled(sizes)
    others = [full | {name: full[name] + 1} for name in ("vocab_size", "context_length", "n_layers", "d_ff")]
    others += [full | {"d_model": 2 * full["d_model"]}, full | {"tie_embeddings": not full["tie_embeddings"]}]
    others += [full | {"n_heads": 1}] if full["n_heads"] > 1 else []
    same, fields, equal, changed = student.run(scenarios.config_after_a_round_trip, sizes, others)
    assert same, (
        "GPTConfig(**dataclasses.asdict(config)) is not equal to config\n  hint: is it a dataclass with these fields?"
    )
    assert_equal(fields, full, what="the fields of GPTConfig(**dataclasses.asdict(config))")
    hint = "a dataclass compares all its fields by itself: it needs no __eq__"
    assert_equal(equal, [False] * len(others), what="whether configurations of other sizes equal the first", hint=hint)
    assert_equal(changed, [], what="what making a configuration changed")


def built_from_pytorch(sizes):
    """Parameters of the same model made of PyTorch's own layers."""
    d, vocab = sizes["d_model"], sizes["vocab_size"]
    block = nn.TransformerEncoderLayer(d, sizes["n_heads"], sizes["d_ff"] or 4 * d)
    parts = [nn.Embedding(vocab, d), nn.Embedding(sizes["context_length"], d)]
    parts += [nn.LayerNorm(d)] + [block] * sizes["n_layers"]
    if not sizes["tie_embeddings"]:
        parts.append(nn.Linear(d, vocab, bias=False))
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


@exercise("count_parameters", points=4, core=True)
@example(sizes=SMALL | {"n_heads": 4, "d_model": 64, "d_ff": 100})
@settings(max_examples=12)
@given(sizes=model_sizes())
def test_the_count_is_that_of_the_built_model(student, reference, sizes):
    """Embeddings, blocks, final norm and head, each parameter once: as many as PyTorch's own layers have."""
    expected = built_from_pytorch(sizes)
    assert expected == reference.run(scenarios.built_parameters, **sizes)
    hint = "a tied head counts once; every linear layer has a bias but for lm_head; norms have weight and bias"
    assert_equal(
        student.run(scenarios.parameter_count, **sizes), expected, what=f"count_parameters of {sizes}", hint=hint
    )
    other = sizes | {"tie_embeddings": not sizes["tie_embeddings"], "d_ff": 7}
    actual = student.run(scenarios.parameter_count, **other)
    assert_equal(actual, built_from_pytorch(other), what=f"count_parameters of {other} right after {sizes}", hint=hint)


@exercise("count_parameters", points=2)
def test_gpt2_and_its_distilled_half_have_their_published_sizes(student):
    """GPT-2 small, 124,439,808 parameters, and DistilGPT2, which has half its layers."""
    for n_layers, published in ((12, 124_439_808), (6, 81_912_576)):
        sizes = {"vocab_size": 50257, "context_length": 1024, "n_layers": n_layers, "n_heads": 12, "d_model": 768}
        actual = student.run(scenarios.parameter_count, **sizes)
        hint = "the embeddings are tied" if actual == published + 50257 * 768 else ""
        assert_equal(actual, published, what=f"the size of GPT-2 with {n_layers} layers", hint=hint)
    sizes |= {"context_length": 2047, "n_layers": 96, "n_heads": 3, "d_model": 12291, "tie_embeddings": False}
    beyond = sizes | {"vocab_size": 1_000_003, "context_length": 10_000_001, "n_layers": 1001, "d_model": 900_003}
    for large, what in ((sizes, "as large as GPT-3"), (beyond, "with more parameters than a float counts one by one")):
        with torch.device("meta"):  # shapes without memory
            expected = built_from_pytorch(large | {"d_ff": None})
        actual = student.run(scenarios.parameter_count, **large)
        nearly = isinstance(actual, int | float) and abs(actual - expected) < 1e-6 * expected
        hint = "Python's own whole numbers have no end, and / makes floats of them" if nearly else ""
        assert_equal(actual, expected, what=f"the size of a model {what}", hint=hint)


@exercise("count_parameters", points=2)
def test_counting_builds_nothing(student):
    """A closed form needs no tensor of the model's size: a model may be counted that would not fit into memory."""
    sizes = {"vocab_size": 5003, "context_length": 1009, "n_layers": 3, "n_heads": 4, "d_model": 128}
    changed = student.run(scenarios.changed_by_counting, **sizes)
    hint = "building a model draws random numbers, and the configuration is the caller's"
    assert_equal(changed, [], what="what counting changed", hint=hint)
    largest, kind = student.run(scenarios.largest_tensor_while_counting, **sizes)
    assert_equal(kind, "int", what="the type of the count", hint="a NumPy number overflows, and json refuses it")
    assert largest < 5003, (
        f"counting made a tensor of {largest} elements: work the number out from the sizes, without a model"
    )
