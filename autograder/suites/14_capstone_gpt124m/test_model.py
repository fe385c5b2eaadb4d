"""The model and the published weights, against the same in plain lines (`truth`)."""

import torch

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.strategies import given, normal, seeds, settings, sizes, st

from . import scenarios
from .truth import (
    SMALL,
    attended,
    block,
    fed_forward,
    logits_of,
    model_sizes,
    of_block,
    published,
    random_ids,
    random_weights,
    shapes_of,
)

QUIET = {"the ids are as they were": True, "the targets are as they were": True, "changed for everyone": []}


def check_copy(student, name, config, weights, x, value):
    """A copy of the layer computes with weights of its own."""
    copied = student.run(scenarios.layer_copied, name, config, weights, x)
    what = "the value of a copy.deepcopy of the layer, whose own weights are set to 0"
    assert_close(copied, value, what=what, hint="a function that __init__ makes keeps the self of then")


def in_dtype(dtype):
    """Room for results that were computed in this dtype."""
    return {torch.float32: {"rtol": 1e-4, "atol": 1e-4}, torch.bfloat16: {"rtol": 0.1, "atol": 0.1}}.get(dtype, {})


WIDE = {"vocab_size": 2, "context_length": 9, "n_layers": 1, "n_heads": 1, "d_model": 64, "dropout": 0.5}
LONG = {"vocab_size": 3, "context_length": 1100, "n_layers": 1, "n_heads": 1, "d_model": 2}


# GPTConfig


@exercise("GPTConfig", points=1, core=True)
def test_the_defaults_are_gpt2_s_sizes_and_fields_are_kept(student, generator):
    """Six fields, by name and by position."""
    names = ("vocab_size", "context_length", "n_layers", "n_heads", "d_model", "dropout")
    expected = dict(zip(names, (50257, 1024, 12, 12, 768, 0.0)))
    assert_equal(student.run(scenarios.config_fields), expected, what="the fields of gpt2_124m()")
    assert_equal(student.run(scenarios.config_fields, {}), expected, what="the default fields")
    sizes = torch.randint(1, 9, (4,), generator=generator).tolist()
    other = dict(zip(names, (*sizes[:3], sizes[3], 5 * sizes[3], 0.25)))
    assert_equal(student.run(scenarios.config_fields, other), other, what="the fields that were given")


@exercise("GPTConfig", points=2)
def test_impossible_sizes_are_refused_and_possible_ones_are_not(student):
    """Each size by itself; heads that do not divide the width; dropout from 0 to below 1."""
    bad = [
        {name: size} for name in ("vocab_size", "context_length", "n_layers", "n_heads", "d_model") for size in (0, -1, 2.5, "12")
    ]
    bad += [{"n_layers": -12}, {"d_model": 8, "n_heads": 3}, {"d_model": 2, "n_heads": 4}, {"d_model": -12, "n_heads": -12}]
    bad += [{"dropout": p} for p in (-0.1, 1.0, 1.5)]
    good = [{"dropout": p} for p in (0, 0.0, 0.999)] + [
        {"vocab_size": 100_000, "context_length": 4096, "n_layers": 96, "n_heads": 96, "d_model": 12288},
        {"d_model": 12, "n_heads": 12},
        {"d_model": 1, "n_heads": 1},
        {"vocab_size": 1},
    ]
    answers = student.run(scenarios.configs_refused, bad + good)
    for fields, was_refused in zip(bad + good, answers, strict=True):
        wanted = fields in bad
        right = was_refused == wanted
        assert right, f"GPTConfig with {fields} should{'' if wanted else ' not'} be refused"


# CausalSelfAttention


@exercise("CausalSelfAttention", points=3, core=True)
@settings(max_examples=25)
@given(config=model_sizes(context=(7, 9)), seed=seeds(), b=sizes(1, 3), t=sizes(1, 7))
def test_rows_are_those_of_causal_attention(student, config, seed, b, t):
    """Queries, keys and values from one layer, heads that are neighbours, scores scaled and masked, and x left alone."""
    weights = of_block(random_weights(config, seed), "h.0.attn.")
    x = normal(seed + 1, b, t, config["d_model"], scale=60.0 if seed % 3 == 0 else 1.0)
    value, same, changed = student.run(scenarios.layer_rows, "CausalSelfAttention", config, weights, x)
    hint = "c_attn gives all queries, then all keys, then all values; channels of one head are neighbours; masked scores are -inf"
    assert_close(value, attended(x, weights, config["n_heads"]), what="the rows", hint=hint)
    if b == 1:
        check_copy(student, "CausalSelfAttention", config, weights, x, value)
    assert same and not changed, f"x was changed: {not same}; changed for everyone: {changed}"


@exercise("CausalSelfAttention", points=1.5)
@settings(max_examples=20)
@given(config=model_sizes(context=(12, 13)), seed=seeds(), b=sizes(1, 2), pieces=st.lists(sizes(1, 4), min_size=2, max_size=3))
def test_with_a_cache_pieces_give_the_rows_of_the_whole(student, config, seed, b, pieces):
    """However a text is cut; the given layer of the cache is used and no other."""
    weights = of_block(random_weights(config, seed), "h.0.attn.")
    x = normal(seed + 1, b, sum(pieces), config["d_model"])
    layer = seed % 2
    expected = attended(x, weights, config["n_heads"])
    dtype = torch.float32 if seed % 3 == 1 else torch.float64
    weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    rows, lengths = student.run(scenarios.layer_in_pieces, "CausalSelfAttention", config, weights, x.to(dtype), pieces, 2, layer)
    hint = "new queries are the last ones: is_causal=True is right only where there are no older keys"
    what = f"the rows of pieces of {pieces} tokens"
    assert_close(rows, expected.to(dtype), what=what, hint=hint, **in_dtype(dtype))
    wanted = [0, 0]
    wanted[layer] = sum(pieces)
    assert_equal(lengths, wanted, what="the positions that the cache's two layers hold")


@exercise("CausalSelfAttention", points=0.5)
def test_texts_may_be_longer_than_gpt2_s_context(student):
    """1100 tokens at once, or the last 10 after 1090; 12 heads, text after text; scores so low that a mask may be above them."""
    weights, x = of_block(random_weights(LONG, 3), "h.0.attn."), normal(4, 1, 1100, 2)
    expected = attended(x, weights, 1)
    many = {"vocab_size": 2, "context_length": 9, "n_layers": 1, "n_heads": 12, "d_model": 24}
    own, y = of_block(random_weights(many, 5), "h.0.attn."), normal(6, 2, 9, 24)
    rows = student.run(scenarios.layer_in_turn, many, own, y, ([3, 3, 3], [3, 3], [9]))
    wanted = [attended(y[:, :n], own, 12) for n in (9, 6, 9)]
    hint = "a mask that is kept goes by both, the number of queries and the number of keys"
    assert_close(rows, wanted, what="the rows of three texts with 12 heads, one after the other", hint=hint)
    for pieces in ([1100], [1090, 10]):
        rows, _ = student.run(scenarios.layer_in_pieces, "CausalSelfAttention", LONG, weights, x, pieces)
        hint = "a mask's size is not 1024: it goes by the queries and keys that there are, or by config.context_length"
        assert_close(rows, expected, what=f"the rows of pieces of {pieces} tokens", hint=hint)
    low = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    low["c_attn.weight"] = torch.cat([1e2 * torch.eye(2), -1e2 * torch.eye(2), torch.eye(2)]).double()
    low["c_proj.weight"] = torch.eye(2).double()
    x = torch.tensor([[[10.0, 10.0], [10.0, 10.0], [1.0, 1.0]]]).double()
    rows, _, _ = student.run(scenarios.layer_rows, "CausalSelfAttention", LONG, low, x)
    hint = "masked scores are -inf, and no number"
    assert_close(rows, attended(x, low, 1), what="the rows of a text whose scores are below -1e6", hint=hint)


@exercise("CausalSelfAttention", points=1)
@settings(max_examples=8)
@given(config=model_sizes(context=(5, 7)), seed=seeds(), t=sizes(1, 5))
def test_gradients_reach_x_and_every_weight(student, reference, config, seed, t):
    """In training mode, without dropout; and the layer has these parameters and no others."""
    weights = of_block(random_weights(config, seed), "h.0.attn.")
    x, cotangent = normal(seed + 1, 2, t, config["d_model"]), normal(seed + 2, 2, t, config["d_model"])
    arguments = "CausalSelfAttention", config, weights, x, cotangent
    actual, expected = (which.run(scenarios.layer_gradients, *arguments) for which in (student, reference))
    assert_close(actual, expected, what="the gradients")
    shapes = {name: list(tensor.shape) for name, tensor in sorted(weights.items())}
    assert_equal(student.run(scenarios.layer_parameters, "CausalSelfAttention", config), shapes, what="the parameters")


@exercise("CausalSelfAttention", points=1)
def test_dropout_takes_weights_and_results_in_training_only(student):
    """With one token, its weight of 1 is dropped or doubled, and then each number of the result."""
    d = WIDE["d_model"]
    weights = {"c_attn.weight": torch.cat([torch.eye(d)] * 3), "c_proj.weight": torch.eye(d)}
    weights = {name: x.double() for name, x in weights.items()}
    weights |= {"c_attn.bias": torch.zeros(3 * d).double(), "c_proj.bias": torch.zeros(d).double()}
    x = torch.ones(200, 1, d, dtype=torch.float64)
    evaluated = student.run(scenarios.dropped, "CausalSelfAttention", WIDE, weights, x, False)
    assert_close(
        evaluated, x.expand(4, *x.shape), what="the rows in evaluation mode", hint="dropout_p is not 0 by itself in eval"
    )
    three = student.run(scenarios.dropped, "CausalSelfAttention", WIDE, weights, x[:, :1].expand(-1, 3, -1), True)[0, :, -1]
    sums = three.amax(-1)  # of three weights of 1/3, those that are left, twice doubled
    for left, wanted in enumerate((0.125, 0.375, 0.375, 0.125)):
        share = ((sums - left * 4 / 3).abs() < 1e-6).double().mean().item()
        near = abs(share - wanted) < 0.15
        assert near, (
            f"with dropout 0.5 and three tokens of weight 1/3, {left} of the last one's weights should be left"
            f" in {wanted} of the rows, not in {share:.2f}"
        )
    trained = student.run(scenarios.dropped, "CausalSelfAttention", WIDE, weights, x, True)[0]
    rows = (trained != 0).any(-1).double().mean().item()
    assert 0.3 < rows < 0.7, f"with dropout 0.5 and one token, half of the rows should be dropped as a whole, not {1 - rows:.2f}"
    left = trained[(trained != 0).any(-1).squeeze(-1)]
    share = (left != 0).double().mean().item()
    assert 0.4 < share < 0.6, f"of the rows that are left, half of the numbers should be dropped, not {1 - share:.2f}"
    assert_close(left[left != 0], torch.full_like(left[left != 0], 4.0), what="what is left, twice doubled")


def assert_layer_learns(student, name, config, weights, x, expected):
    """Gradients of x and every weight, in training mode without dropout, are those of the plain lines; float32 stays float32."""
    x = x[None] if name == "MLP" and x.ndim == 1 else x
    cotangent = normal(7, *x.shape)
    leaves = {key: tensor.clone().requires_grad_() for key, tensor in {"x": x, **weights}.items()}
    expected(leaves["x"], leaves).backward(cotangent)
    gradients = {key: tensor.grad for key, tensor in leaves.items()}
    actual = student.run(scenarios.layer_gradients, name, config, weights, x, cotangent)
    assert_close(actual, gradients, what="the gradients", hint="no detach, and no no_grad", rtol=1e-6, atol=1e-8)
    narrow = {key: tensor.float() for key, tensor in weights.items()}
    value, _, _ = student.run(scenarios.layer_rows, name, config, narrow, x.float())
    assert_close(value, expected(x, weights).float(), what="the value in float32", **in_dtype(torch.float32))


# MLP


@exercise("MLP", points=2, core=True)
@settings(max_examples=10)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(1, 5))
def test_values_are_those_of_two_layers_and_gelu_s_tanh_form(student, config, seed, b, t):
    """Four times as wide inside; (d,), (t, d) and (b, t, d) alike; exact to the digits in which the two GELUs differ."""
    weights = of_block(random_weights(config, seed), "h.0.mlp.")
    x = normal(seed + 1, *(b, t)[: seed % 3], config["d_model"], scale=2.0)
    value, same, changed = student.run(scenarios.layer_rows, "MLP", config, weights, x)
    assert_close(value, fed_forward(x, weights), what="the value", hint='F.gelu(x, approximate="tanh")')
    if b == 1:
        check_copy(student, "MLP", config, weights, x, value)
    assert_layer_learns(student, "MLP", config, weights, x, fed_forward)
    assert same and not changed, f"x was changed: {not same}; changed for everyone: {changed}"
    shapes = {name: list(tensor.shape) for name, tensor in sorted(weights.items())}
    assert_equal(student.run(scenarios.layer_parameters, "MLP", config), shapes, what="the parameters")


@exercise("MLP", points=1)
def test_dropout_takes_numbers_of_the_result_in_training_only(student):
    """Half of them, and the rest is doubled; in evaluation the result is always the same."""
    weights = of_block(random_weights(WIDE, 3), "h.0.mlp.")
    x = normal(4, 20, 64)
    trained, plain = student.run(scenarios.dropped, "MLP", WIDE, weights, x, True), fed_forward(x, weights)
    expected = torch.where(trained == 0, 0.0, 2 * plain)
    assert_close(trained, expected, what="what is left, doubled", hint="only the result is dropped, nothing before c_proj")
    weights |= {"c_proj.weight": torch.zeros(64, 256).double(), "c_proj.bias": torch.ones(64).double()}
    x = normal(4, 100, 64)
    evaluated = student.run(scenarios.dropped, "MLP", WIDE, weights, x, False)
    assert_close(evaluated, torch.ones(4, 100, 64).double(), what="the values in evaluation mode")
    trained = student.run(scenarios.dropped, "MLP", WIDE, weights, x, True)
    share = (trained == 2).double().mean().item()
    both = ((trained == 2) | (trained == 0)).all()
    assert bool(both) and 0.4 < share < 0.6, f"half of the numbers should be 2, the others 0; {share:.2f} of them are 2"


# Block


@exercise("Block", points=2, core=True)
@settings(max_examples=9)
@given(config=model_sizes(context=(6, 8)), seed=seeds(), b=sizes(1, 2), t=sizes(1, 6))
def test_both_parts_read_a_norm_and_are_added_to_the_stream(student, config, seed, b, t):
    """Norms have eps 1e-5, which shows in small numbers, before attention and before the feed-forward layer."""
    weights = of_block(random_weights(config, seed))
    x = normal(seed + 1, b, t, config["d_model"], scale=1.0 if seed % 2 else 3e-3)
    value, same, changed = student.run(scenarios.layer_rows, "Block", config, weights, x)
    expected = block(x, weights, config["n_heads"])
    assert_close(value, expected, what="the value", hint="x + attn(ln_1(x)), then x + mlp(ln_2(x))")
    if seed % 2:
        assert_layer_learns(student, "Block", config, weights, x, lambda x, weights: block(x, weights, config["n_heads"]))
    assert same and not changed, f"x was changed: {not same}; changed for everyone: {changed}"
    shapes = {name: list(tensor.shape) for name, tensor in sorted(weights.items())}
    assert_equal(student.run(scenarios.layer_parameters, "Block", config), shapes, what="the parameters")


@exercise("Block", points=1)
@settings(max_examples=6)
@given(config=model_sizes(context=(10, 11)), seed=seeds(), pieces=st.lists(sizes(1, 3), min_size=2, max_size=3))
def test_a_block_hands_the_cache_and_its_number_on(student, config, seed, pieces):
    """Pieces through the cache give the rows of the whole, in the layer that was named."""
    weights = of_block(random_weights(config, seed))
    x = normal(seed + 1, 2, sum(pieces), config["d_model"])
    rows, lengths = student.run(scenarios.layer_in_pieces, "Block", config, weights, x, pieces, 3, seed % 3)
    assert_close(rows, block(x, weights, config["n_heads"]), what="the rows", hint="self.attn(self.ln_1(x), cache, layer)")
    wanted = [sum(pieces) if layer == seed % 3 else 0 for layer in range(3)]
    assert_equal(lengths, wanted, what="the positions that the cache's three layers hold")
    weights = of_block(random_weights(WIDE, seed))
    weights |= {name: torch.zeros_like(weights[name]) for name in weights if "c_proj" in name}
    weights |= {"attn.c_proj.bias": torch.full((64,), 100.0).double(), "mlp.c_proj.bias": torch.full((64,), 1e4).double()}
    x = normal(seed + 2, 20, 1, 64, scale=0.1)
    for training, values in ((False, (10100.0,)), (True, (0.0, 200.0, 20000.0, 20200.0))):
        rows = student.run(scenarios.dropped, "Block", WIDE, weights, x, training)[0] - x
        near = torch.stack([(rows - value).abs() < 1e-6 for value in values])
        shares = near.double().mean((1, 2, 3)).tolist()
        right = bool(near.any(0).all()) and min(shares) > 0.6 / len(values)
        assert right, (
            f"in {'training' if training else 'evaluation'} mode with dropout 0.5, where attention gives 100 and the feed-forward"
            f" layer 10000, a block should add one of {values} to x, each as often; it does in shares of {shares}"
            "\n  hint: attn and mlp drop numbers of their own results, and the block nothing more"
        )


# GPT


@exercise("GPT", points=2.5, core=True)
@settings(max_examples=11)
@given(config=model_sizes(), seed=seeds(), b=sizes(1, 3), t=sizes(1, 7))
def test_logits_and_loss_are_those_of_gpt2(student, config, seed, b, t):
    """Up to the whole context; targets of -100 do not count; without targets there is no loss."""
    t = min(t, config["context_length"])
    weights, ids, targets = random_weights(config, seed), random_ids(config, seed, b, t), random_ids(config, seed + 1, b, t)
    targets[(random_ids(config, seed + 2, b, t) == 0) & (torch.arange(b * t).view(b, t) > 0)] = -100
    expected = logits_of(config, weights, ids)
    logits, loss, left = student.run(scenarios.gpt_outputs, config, weights, ids)
    assert_close([logits, loss], [expected, None], what="[logits, loss] without targets")
    assert_equal(left, QUIET, what="what forward left behind")
    logits, loss, left = student.run(scenarios.gpt_outputs, config, weights, ids, targets, training=True)
    counted = targets != -100
    mean = -expected[counted].log_softmax(-1).gather(-1, targets[counted][:, None]).mean()
    assert_close([logits, loss], [expected, mean], what="[logits, loss] with targets")
    loss = student.run(scenarios.gpt_outputs, config, weights, ids, targets)[1]
    assert_close(loss, mean, what="the loss in evaluation mode")
    assert_equal(left, QUIET, what="what forward left behind")


@exercise("GPT", points=0.5)
def test_ids_and_targets_may_lie_anywhere_in_memory(student):
    """As ids[:, :-1] and ids[:, 1:] do, whose rows do not follow each other."""
    weights, ids, targets = random_weights(SMALL, 3), random_ids(SMALL, 3, 3, 5), random_ids(SMALL, 4, 3, 5)
    expected = logits_of(SMALL, weights, ids)
    mean = -expected.log_softmax(-1).gather(-1, targets[..., None]).mean()
    try:
        actual = list(student.run(scenarios.gpt_outputs_anywhere, SMALL, weights, ids, targets)[:2])
    except RuntimeError as error:
        hint = "flatten and reshape copy where view refuses"
        error.args = (f"{error}\n  hint: {hint}",)
        raise
    assert_close(actual, [expected, mean], what="[logits, loss] of ids and targets with gaps in memory")


@exercise("GPT", points=1)
def test_it_has_124439808_parameters_under_the_published_names(student):
    """On the meta device; lm_head.weight is the very parameter wte.weight, and nothing else is in the state."""
    for config in (None, SMALL):
        sizes = config or {"vocab_size": 50257, "context_length": 1024, "n_layers": 12, "n_heads": 12, "d_model": 768}
        shapes = {name: list(shape) for name, shape in shapes_of(sizes).items()}
        count = sum(torch.Size(shape).numel() for shape in shapes.values())
        shapes["lm_head.weight"] = shapes["wte.weight"]
        wanted = {
            "parameters": count,
            "shapes": dict(sorted(shapes.items())),
            "one parameter": True,
            "training": True,
            "config": True,
        }
        assert_equal(student.run(scenarios.gpt_parts, config), wanted, what="the model's state")


@exercise("GPT", points=1)
def test_weights_start_as_gpt2_s_do(student):
    """std 0.02, smaller in the layers that write into the stream; from the generator, or from the global random state."""
    config = {"vocab_size": 300, "context_length": 90, "n_layers": 3, "n_heads": 2, "d_model": 64}
    state, changed = student.run(scenarios.initial_state, config, 11)
    assert not changed, f"with a generator, making a model changed {', '.join(changed)}"
    for name, x in state.items():
        if x.ndim == 1:
            assert_equal(x, torch.full_like(x, float(name.endswith("weight"))), what=name)
            continue
        std = 0.02 / 6**0.5 if name.endswith("c_proj.weight") else 0.02
        far = 6 * std / (2 * x.numel()) ** 0.5
        found = x.std().item()
        assert abs(found - std) < far, f"the standard deviation of {name} should be {std:.5f}, it is {found:.5f}"
        assert abs(x.mean().item()) < 6 * std / x.numel() ** 0.5, f"the mean of {name} should be 0, it is {x.mean().item():.5f}"
        largest = x.abs().max().item()
        assert largest > 3.02 * std, f"{name} should be normal, not uniform or cut off"
    again, _ = student.run(scenarios.initial_state, config, 11)
    assert_equal(again, state, what="the weights from the same generator")
    small = SMALL | {"d_model": 16}
    for own in (True, False):
        states = [student.run(scenarios.initial_state, small, seed, own_generator=own)[0] for seed in (1, 1, 2)]
        where = "from a generator" if own else "from the global random state"
        assert_equal(states[1], states[0], what=f"the weights {where} with the same seed")
        for name in ("wte.weight", "h.1.mlp.c_proj.weight"):
            alike = torch.equal(states[0][name], states[2][name])
            assert not alike, f"two seeds gave the same {name} {where}"
        alike = torch.equal(*student.run(scenarios.first_weights, small, own))
        assert not alike, (
            f"two models that are made one after the other {where} start alike"
            "\n  hint: draw from the generator that was given, or from the global one, so that it moves on"
        )
    matrices = [x.flatten()[:8] for name, x in states[0].items() if x.ndim == 2 and name != "lm_head.weight"]
    assert len({tuple(x.tolist()) for x in matrices}) == len(matrices), "two matrices start with the same numbers"


@exercise("GPT", points=1)
@settings(max_examples=15)
@given(config=model_sizes(context=(9, 10)), seed=seeds(), b=sizes(1, 2), pieces=st.lists(sizes(1, 3), min_size=1, max_size=3))
def test_through_a_cache_pieces_have_the_logits_of_the_whole(student, config, seed, b, pieces):
    """Positions go on where the cache ends; last_only gives the last of each piece, with a cache or without."""
    weights, ids = random_weights(config, seed), random_ids(config, seed, b, sum(pieces))
    expected = logits_of(config, weights, ids)
    rows, last, alone, lengths = student.run(scenarios.gpt_in_pieces, config, weights, ids, pieces)
    hint = "ask for cache.length before the first block: it grows while the blocks run"
    assert_close(rows, expected, what=f"the logits of pieces of {pieces} tokens", hint=hint)
    ends = torch.tensor(pieces).cumsum(0) - 1
    assert_close(last, expected[:, ends], what="the logits with last_only")
    assert_close(alone, expected[:, -1:], what="the logits of the whole text with last_only")
    assert_equal(lengths, [sum(pieces)] * 2, what="the caches' lengths")


@exercise("GPT", points=1)
def test_last_only_computes_the_last_logits_and_no_others(student):
    """It shows in the memory that the logits of a large vocabulary take."""
    wide = {"vocab_size": 10_000, "context_length": 250, "n_layers": 1, "n_heads": 1, "d_model": 2}
    measured = student.measure(scenarios.last_logits, wide, 4, 250, warm_up=(SMALL, 2, 4))
    assert_equal(measured.value, [4, 1, 10_000], what="the logits' shape with last_only")
    peak = measured.peak_bytes
    assert peak < 2e7, (
        f"the last logits of 4 texts took {peak / 1e6:.0f} MB of memory; those of all positions take 40 MB"
        "\n  hint: cut x, not the logits: the output layer is the largest product of all"
    )


@exercise("GPT", points=1)
def test_gradients_of_the_loss_reach_every_parameter(student, reference):
    """Also both uses of the tied one; and the logits follow the weights when they change, of one model or two."""
    weights, ids, targets = random_weights(SMALL, 4), random_ids(SMALL, 5, 2, 6), random_ids(SMALL, 6, 2, 6)
    actual, expected = (which.run(scenarios.gpt_gradients, SMALL, weights, ids, targets) for which in (student, reference))
    assert_close(actual, expected, what="the gradients")
    weights_then = random_weights(SMALL, 9)
    logits = student.run(scenarios.after_new_weights, SMALL, weights, weights_then, ids)
    expected = logits_of(SMALL, weights_then, ids), logits_of(SMALL, weights, ids)
    what = "the logits after the weights were changed, and those of a copy.deepcopy from before"
    assert_close(logits, expected, what=what, hint="forward looks at self's own parts each time")
    other = SMALL | {"context_length": 6}
    second, long = random_weights(other, 8), random_ids(SMALL, 7, 2, 8)
    logits = student.run(scenarios.two_models, [SMALL, other], weights, second, long, ids)
    expected = logits_of(other, second, ids), logits_of(SMALL, weights, long)
    assert_close(logits, expected, what="the logits of two models of unlike sizes at once")


@exercise("GPT", points=1)
def test_what_is_too_long_is_refused_and_the_cache_stays_as_it_was(student):
    """The cached part counts; ids outside the vocabulary are refused, too. And dropout begins with the embeddings."""
    weights = random_weights(SMALL, 4)
    cases = [
        ("a text of 9 tokens, where the context length is 8,", random_ids(SMALL, 1, 1, 9), True),
        ("the id 11, where the vocabulary has 11 tokens,", torch.tensor([[11]]), True),
        ("the id -1", torch.tensor([[-1]]), True),
        ("a text of 8 tokens, where the context length is 8,", random_ids(SMALL, 1, 1, 8), False),
        ("the id 10, where the vocabulary has 11 tokens,", torch.tensor([[10]]), False),
    ]
    answers = student.run(scenarios.gpt_refuses, SMALL, weights, [ids for _, ids, _ in cases])
    for (what, _, wanted), was_refused in zip(cases, answers, strict=True):
        assert was_refused == wanted, f"{what} should{'' if wanted else ' not'} be refused"
    long = student.run(scenarios.gpt_refuses, LONG, random_weights(LONG, 4), [random_ids(LONG, 1, 1, n) for n in (1100, 1101)])
    assert not long[0], "a text of 1100 tokens should not be refused, where the context length is 1100"
    assert long[1], "a text of 1101 tokens should be refused, where the context length is 1100"
    for dtype in (torch.float64, torch.float32):
        weights = random_weights(SMALL, 4, dtype)
        ids, more = random_ids(SMALL, 2, 2, 7), random_ids(SMALL, 3, 2, 2)
        was_refused, lengths, logits = student.run(scenarios.gpt_past_the_end, SMALL, weights, ids, more)
        assert was_refused, "9 tokens should be refused where the context length is 8"
        assert_equal(lengths, [7, 7], what="the positions that the cache holds after the refusal")
        expected = logits_of(SMALL, random_weights(SMALL, 4), torch.cat([ids, more[:, :1]], dim=1))[:, -1:]
        room = {} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-3}
        assert_close(logits, expected.to(dtype), what="the logits of the token that fits", **room)
    shape = [2, 3, 2, 8, 4]
    wanted = [shape, torch.float32, 0, [2, 1, 2, 8, 4], True, "meta"]
    what = "[keys' shape, dtype, length, …] of new caches, and the device of one whose model is elsewhere"
    assert_equal(student.run(scenarios.gpt_cache, SMALL, weights, 3), wanted, what=what)
    config = WIDE | {"vocab_size": 50}
    weights, ids = random_weights(config, 1), random_ids(config, 1, 8, 9)
    plain = weights["wte.weight"][ids] + weights["wpe.weight"]
    seen = student.run(scenarios.embeddings_dropped, config, weights, ids, False)
    assert_close(seen, plain, what="the embeddings in evaluation mode")
    seen = student.run(scenarios.embeddings_dropped, config, weights, ids, True)
    share = (seen != 0).double().mean().item()
    assert 0.4 < share < 0.6, f"half of the embeddings' numbers should be dropped in training, not {1 - share:.2f}"
    assert_close(seen[seen != 0], 2 * plain[seen != 0], what="the embeddings that are left, doubled")


# load_gpt2_state_dict


def variations(config, weights, seed):
    """The published state in the forms in which it is found."""
    state = published(weights)
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 4, 4).tril() for i in range(config["n_layers"])}
    masks |= {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(config["n_layers"])}
    if seed % 2:
        state |= masks
    if seed % 3 == 1:
        state = dict(reversed(state.items()))
    if seed % 4 > 1:
        state = {f"transformer.{name}": x for name, x in state.items()}
    if seed % 5 % 2:
        state["lm_head.weight"] = weights["wte.weight"].clone()
    return state


@exercise("load_gpt2_state_dict", points=2, core=True)
@settings(max_examples=12)
@given(config=model_sizes(), seed=seeds(), t=sizes(1, 7))
def test_the_model_then_has_the_published_logits(student, config, seed, t):
    """With the prefix or without, with masks or without, with lm_head or without; square matrices are transposed as well."""
    weights = random_weights(config, seed)
    ids = random_ids(config, seed, 2, min(t, config["context_length"]))
    expected = logits_of(config, weights, ids)
    state = variations(config, weights, seed)
    logits, own, _ = student.run(scenarios.loaded, config, state, ids, torch.float64)
    hint = "c_attn, c_proj and c_fc are (in, out) in the published files, the square ones, too; copy, do not keep"
    assert_close(logits, expected, what="the logits", hint=hint)
    weights["lm_head.weight"] = weights["wte.weight"]
    assert_equal(own, weights, what="the model's state")


@exercise("load_gpt2_state_dict", points=1)
def test_parameters_stay_the_objects_that_they_are(student):
    """In the model's dtype, also from a state in another; the state is only read."""
    for dtype, given_in in ((torch.float32, torch.float16), (torch.float64, torch.float32), (torch.bfloat16, torch.float32)):
        weights = random_weights(SMALL, 3, given_in)
        ids = random_ids(SMALL, 1, 1, 3)
        state = published(weights) | {"lm_head.weight": weights["wte.weight"].clone()}
        _, own, seen = student.run(scenarios.loaded, SMALL, state, ids, dtype)
        names = (
            "it returns the model",
            "the parameters are the same objects",
            "they require gradients",
            "the state is as it was",
        )
        assert_equal(seen, dict.fromkeys(names, True), what="what could be seen")
        weights["lm_head.weight"] = weights["wte.weight"]
        assert_equal(own, {name: x.to(dtype) for name, x in weights.items()}, what=f"the state in {dtype}")


@exercise("load_gpt2_state_dict", points=2)
def test_what_does_not_fit_is_refused_and_changes_nothing(student):
    """A name too few or too many, a wrong shape, layers as nn.Linear has them, an lm_head of its own."""
    weights = random_weights(SMALL, 3)
    state = published(weights)
    last = list(state)[-1]
    cases = {
        "without its last name": {name: x for name, x in state.items() if name != last},
        "without wte.weight": {name: x for name, x in state.items() if name != "wte.weight"},
        "without wte.weight, but with lm_head": {n: x for n, x in state.items() if n != "wte.weight"}
        | {"lm_head.weight": state["wte.weight"]},
        "with a third layer": state | {f"h.2.{name}": x for name, x in of_block(state).items()},
        "with an unknown name": state | {"wse.weight": torch.ones(2, 8).double()},
        "with a name that is no mask": state | {"h.0.mlp.bias": torch.ones(1, 1, 4, 4)},
        "with a weight in attn that is no mask": state | {"h.0.attn.q_norm.weight": torch.ones(4)},
        "with a mask outside of attn": state | {"h.0.mlp.masked_bias": torch.tensor(-1e4)},
        "with a vocabulary that is larger": state | {"wte.weight": torch.ones(12, 8).double()},
        "with fewer positions": state | {"wpe.weight": torch.ones(7, 8).double()},
        "with a last bias of another size": state | {last: torch.ones(9).double()},
        "with a bias that would broadcast": state | {last: torch.ones(1).double()},
        "with a norm that would broadcast": state | {"ln_f.weight": torch.ones(()).double()},
        "with linear layers as nn.Linear has them": weights,
        "with one layer turned": state | {"h.1.mlp.c_fc.weight": weights["h.1.mlp.c_fc.weight"]},
        "with another lm_head": state | {"lm_head.weight": state["wte.weight"] + 1},
        "with an lm_head that differs in its last row": state
        | {"lm_head.weight": torch.cat([state["wte.weight"][:-1], state["wte.weight"][-1:] + 1])},
        "with an lm_head that differs a little": state | {"lm_head.weight": state["wte.weight"] * (1 + 1e-9)},
        "with an lm_head of another size": state | {"lm_head.weight": torch.ones(12, 8).double()},
        "that is empty": {},
    }
    answers = student.run(scenarios.load_refused, SMALL, list(cases.values()))
    for what, (was_refused, unchanged) in zip(cases, answers, strict=True):
        assert was_refused, f"a state {what} should be refused"
        assert unchanged, f"a state {what} was refused, but the model is changed: check everything before copying anything"
