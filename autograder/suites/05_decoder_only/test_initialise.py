"""initialise: measured, kind by kind."""

import itertools
import math
from functools import partial

import torch

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.hints import hinted
from autograder.testing.strategies import example, given, seeds, settings, sizes, st

from . import scenarios
from .cases import SMALL, model_sizes

# Wide enough that a standard deviation is measured to a few percent: 1 / sqrt(2 n), six times over.
WIDE = {"vocab_size": 151, "context_length": 67, "n_layers": 3, "n_heads": 2, "d_model": 48, "d_ff": 80}
MISSING = "{} {} were found in the initialised model, and not {}\n  hint: has MiniGPT all its parts, by their names?"
RESIDUAL = ("attention.w_o.weight", "feed_forward.w_out.weight")


def kinds(parameters):
    """Parameters by kind."""
    found = {"bias": {}, "norm": {}, "residual": {}, "plain": {}}
    for name, value in parameters.items():
        if name.endswith("bias"):
            kind = "bias"
        elif "norm" in name:
            kind = "norm"
        else:
            kind = "residual" if name.endswith(RESIDUAL) else "plain"
        found[kind][name] = value
    return found


def assert_normal(name, value, std, hint=""):
    """Mean 0 and the given standard deviation, to within six of the measurement's own deviations."""
    measured, mean, n = value.double().std().item(), value.double().mean().item(), value.numel()
    assert abs(measured / std - 1) < 6 / (2 * n) ** 0.5, (
        f"the standard deviation of {name} is not as expected\n"
        f"  expected {std:.5f}\n  got      {measured:.5f}" + (f"\n  hint: {hint}" if hint else "")
    )
    assert abs(mean) < 6 * std / n**0.5, f"the mean of {name} is not as expected\n  expected 0\n  got      {mean:.5f}"


def assert_right(student):
    """With a generator the weights of a float32 model have the right deviations."""
    found = kinds(student.run(scenarios.initialised, WIDE, 0, 7.0))
    for kind, std in (("plain", 0.02), ("residual", 0.02 / 6**0.5)):
        for name, value in found[kind].items():
            assert_normal(name, value, std)


@exercise("initialise", points=4, core=True)
@settings(max_examples=4)
@given(seed=seeds(), n_layers=sizes(1, 3), fill=st.sampled_from([None, 0.0, 7.0]), tied=st.booleans())
def test_weights_of_embeddings_and_linear_layers_have_std_0_02(student, seed, n_layers, fill, tied):
    """Both embeddings, w_q, w_k, w_v, w_in and the head: normal around 0, whatever was there before."""
    config = WIDE | {"n_layers": n_layers, "tie_embeddings": tied}
    plain = kinds(student.run(scenarios.initialised, config, seed, fill))["plain"]
    assert len(plain) == 3 + 4 * n_layers, MISSING.format(len(plain), "embeddings and linear layers", 3 + 4 * n_layers)
    for name, value in plain.items():
        assert_normal(name, value, 0.02, hint="0.02 for all embeddings and linear layers but w_o and w_out")


@exercise("initialise", points=3, core=True)
@example(seed=1, n_layers=13)
@settings(max_examples=5)
@given(seed=seeds(), n_layers=sizes(1, 5))
def test_layers_that_write_into_the_residual_stream_shrink_with_depth(student, seed, n_layers):
    """w_o and w_out have std 0.02 / sqrt(2 n_layers)."""
    residual = kinds(student.run(scenarios.initialised, WIDE | {"n_layers": n_layers}, seed, 7.0))["residual"]
    assert len(residual) == 2 * n_layers, MISSING.format(len(residual), "w_o and w_out", 2 * n_layers)
    for name, value in residual.items():
        assert_normal(name, value, 0.02 / (2 * n_layers) ** 0.5, hint="w_o and w_out, scaled by 1 / sqrt(2 n_layers)")


@exercise("initialise", points=2)
@settings(max_examples=10)
@given(config=model_sizes(), seed=seeds())
def test_biases_are_zero_and_norm_weights_one(student, config, seed):
    """Every bias of every linear layer and norm, and every norm's weight, whatever was there before."""
    for fill, hint in ((7.0, "is it divided by what was measured?"), (math.nan, "what was there before was NaN: set it anew")):
        found = kinds(student.run(scenarios.initialised, config, seed, fill))
        for kind, what, number in (("bias", "biases", 8 * config["n_layers"] + 1), ("norm", "norms", 2 * config["n_layers"] + 1)):
            assert len(found[kind]) == number, MISSING.format(len(found[kind]), what, number)
        for kind, expected in (("bias", 0.0), ("norm", 1.0)):
            for name, value in found[kind].items():
                why = hint if bool(value.isnan().any()) else ""
                assert_equal(value, torch.full_like(value, expected), what=name, hint=why)
        for name, value in (found["plain"] | found["residual"]).items():
            assert value.isfinite().all(), f"{name} must be finite, got {value.tolist()}\n  hint: {hint}"


@exercise("initialise", points=1)
def test_the_numbers_are_normal_and_not_uniform(student):
    """68% lie within one standard deviation and 0.3% beyond three: neither uniform nor cut off; no two weights go together."""
    config = WIDE | {"n_layers": 1, "vocab_size": 400, "tie_embeddings": False}
    found = kinds(student.run(scenarios.initialised, config, 11, None, torch.float64))
    drawn = {name: value / 0.02 for name, value in found["plain"].items()}
    drawn |= {name: value / 0.02 * 2**0.5 for name, value in found["residual"].items()}
    for name, value in drawn.items():
        for bound, share in ((1.0, 0.68269), (2.0, 0.95450), (3.0, 0.99730)):
            inside = (value.abs() < bound).double().mean().item()
            room = 6 * (share * (1 - share) / value.numel()) ** 0.5
            if not abs(inside - share) < room:  # another deviation, before another distribution
                assert_normal(name, value * 0.02, 0.02)
            assert abs(inside - share) < room, (
                f"the share of {name} within {bound:g} standard deviations is not that of a normal distribution\n"
                f"  expected {share:.4f}\n  got      {inside:.4f}"
            )
    for name, value in drawn.items():
        least = min(value.std(0).min().item(), value.std(1).min().item())
        hint = "every row is drawn, that of token 0 and of the last position too"
        assert least > 0.3, (
            f"the standard deviation of a row or column of {name} is not as expected\n"
            f"  expected about 1 (times 0.02, or the residual layers' own)\n  got      {least:.3f}\n  hint: {hint}"
        )
    for (one, x), (other, y) in itertools.combinations(drawn.items(), 2):
        for z in (y, y.T) if x.shape == y.shape == y.T.shape else (y,):
            correlation = (x * z).mean().item() if x.shape == z.shape else 0.0
            assert abs(correlation) < 6 / x.numel() ** 0.5, (
                f"{one} and {other} should have nothing to do with each other\n  expected a correlation of about 0\n"
                f"  got      {correlation:.3f}\n  hint: every weight gets numbers of its own"
            )
    for kind, linear in (("the embeddings", False), ("the linear layers", True)):
        together = torch.cat([value.flatten() for name, value in drawn.items() if name.startswith("blocks") is linear])
        outside, expected = int((together.abs() >= 3).sum()), 0.0027 * len(together)
        assert abs(outside - expected) < 6 * expected**0.5, (
            f"the number of weights of {kind} beyond 3 standard deviations is not that of a normal distribution\n"
            f"  expected {expected:.0f}\n  got      {outside}"
        )


@exercise("initialise", points=1)
def test_the_generator_alone_decides(student):
    """The same seed gives the same model, another seed another one; no two weights within a model are alike."""
    same = student.run(scenarios.initialise_twice, SMALL, 1, 1)
    assert_equal(
        same[1], same[0], what="the parameters of a second model with the same seed", hint="draw from generator alone"
    )
    first, second, again = student.run(scenarios.initialise_twice, SMALL, 1, 2)
    hint = "keep nothing from call to call: every call draws all weights from the generator that it is given"
    assert_equal(again, second, what="the parameters of the first model after the second seed", hint=hint)
    drawn = (first != 0) & (first != 1)
    assert not (first[drawn] == second[drawn]).any(), (
        "another seed must give other weights: is the generator used for all of them?"
    )
    for seed, whose in ((None, "PyTorch's global generator"), (1, "the same generator")):
        first, second = student.run(scenarios.initialise_twice_from_one_generator, SMALL, seed)
        assert not (first[drawn] == second[drawn]).any(), (
            f"a second model drawn from {whose} must differ from the first\n"
            "  hint: draw from the generator itself, not from a copy or from its seed"
        )
    weights = first[drawn].abs().tolist()
    assert len(set(weights)) > 0.99 * len(weights), (
        "weights repeat within a model: draw on from one generator, never restart it"
    )


@exercise("initialise", points=1)
def test_the_global_random_state_is_touched_only_without_a_generator(student):
    """With a generator PyTorch's global state stays; without one torch.manual_seed decides."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        changed = student.run(scenarios.changed_by_initialise, SMALL, dtype)
        hint = "pass generator= to every draw"
        assert_equal(changed, [], what="what initialise changed although it was given a generator", hint=hint)
    config = WIDE | {"n_layers": 2}
    one, same, other = (student.run(scenarios.initialised, config, seed, 7.0, use_global=True) for seed in (1, 1, 2))
    assert_close(same, one, what="the parameters after the same torch.manual_seed")
    assert not torch.equal(one["token_embedding.weight"], other["token_embedding.weight"]), (
        "without a generator the weights must depend on torch.manual_seed"
    )
    embedding, hint = one["token_embedding.weight"], "the rule is the same without a generator"
    when = partial(assert_right, student)
    hinted(assert_normal, "token_embedding.weight", embedding, 0.02, hint=hint, when=when)


@exercise("initialise", points=1)
def test_parameters_are_changed_in_place(student):
    """An optimiser made before still holds the model's parameters; they need gradients, and tied ends stay tied."""
    for tied, training in ((True, True), (False, False)):
        expected = {
            "the parameters are the same objects": True,
            "they require gradients where they did": True,
            "frozen ones have new values": True,
            "they are leaves of the graph": True,
            "lm_head shares its weight": tied,
            "gradients are recorded": True,
            "the configuration is as it was": True,
            "every part is in the mode that it was in": True,
        }
        actual = student.run(scenarios.initialise_in_place, SMALL | {"tie_embeddings": tied}, training)
        assert_equal(
            actual,
            expected,
            what="what initialise leaves as it is",
            hint="every parameter is set, frozen ones too, in place (as nn.init.normal_ does); nothing else changes",
        )


@exercise("initialise", points=1)
def test_the_model_comes_back_in_its_own_dtype(student):
    """`model = initialise(MiniGPT(config))` is the very model, and a float64 model stays one."""
    assert student.run(scenarios.initialise_returns_the_model, SMALL), (
        "initialise must return the model that it was given"
    )
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        found = kinds(student.run(scenarios.initialised, WIDE, 0, 7.0, dtype))
        dtypes = {name: value.dtype for kind in found.values() for name, value in kind.items()}
        assert_equal(dtypes, dict.fromkeys(dtypes, dtype), what="the dtypes of the parameters")
        for kind, std in (("plain", 0.02), ("residual", 0.02 / 6**0.5)):
            for name, value in found[kind].items():
                hint, when = f"the rule is the same for a {dtype} model", partial(assert_right, student)
                hinted(assert_normal, name, value, std, hint=hint, when=when)
