"""Public tests: pytest exercises/05_decoder_only [-k generate_greedy]"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.probes import gradients
from autograder.testing.strategies import given, leading_shapes, normal, seeds, settings, sizes, st

SMALL = {"vocab_size": 7, "context_length": 6, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5}


# What runs beside your module: each function gets it as its first argument.


def config_fields(module, *args, **fields):
    """The fields of a configuration."""
    config = module.GPTConfig(*args, **fields)
    names = ("vocab_size", "context_length", "n_layers", "n_heads", "d_model", "d_ff", "tie_embeddings")
    return {name: getattr(config, name) for name in names}


def count(module, *args, **fields):
    """count_parameters of a configuration."""
    return module.count_parameters(module.GPTConfig(*args, **fields))


def run_model(module, seed, several_ids, targets=None, **fields):
    """Random weights, by name; logits for each of several inputs; the loss of the first one."""
    model = module.MiniGPT(module.GPTConfig(**fields)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    weights = {name: weight.detach() for name, weight in model.named_parameters(remove_duplicate=False)}
    return weights, [model(ids)[0] for ids in several_ids], model(several_ids[0], targets)[1]


def look_at_model(module, **fields):
    """Numbers of blocks and parameters, and how the two ends hang together."""
    model = module.MiniGPT(module.GPTConfig(**fields))
    return {
        "blocks": len(model.blocks),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "lm_head.weight is token_embedding.weight": model.lm_head.weight is model.token_embedding.weight,
    }


def initialised(module, seed, **fields):
    """All parameters after `initialise`, and whether PyTorch's global random state stayed as it was."""
    model = module.MiniGPT(module.GPTConfig(**fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    before = torch.get_rng_state()
    module.initialise(model, torch.Generator().manual_seed(seed))
    return dict(model.named_parameters()), torch.equal(before, torch.get_rng_state())


def with_bigram_model(module, table, context_length, function, ids, *args):
    """Call a function with a model that predicts the next token from the last one, by the rows of a table."""
    from types import SimpleNamespace

    class Bigram(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(table)
            self.config = SimpleNamespace(vocab_size=len(table), context_length=context_length)
            self.n_read, self.recorded = 0, False

        def forward(self, ids, targets=None):
            self.n_read = max(self.n_read, ids.shape[1])
            logits = self.table[ids]
            self.recorded = self.recorded or logits.requires_grad
            return logits, None

    model = Bigram()
    with torch.enable_grad():  # and back to what it was before, whatever the call leaves behind
        return getattr(module, function)(model, ids, *args), model.n_read, model.recorded


# GPTConfig


@exercise("GPTConfig")
def test_config_defaults(student):
    expected = {"vocab_size": 65, "context_length": 128, "n_layers": 2, "n_heads": 4, "d_model": 64, "d_ff": 256}
    actual = student.run(config_fields, 65, 128)
    assert_equal(actual, expected | {"tie_embeddings": True}, what="the fields of GPTConfig(65, 128)")


@exercise("GPTConfig")
def test_config_keeps_a_given_d_ff(student):
    assert_equal(student.run(config_fields, 65, 128, d_ff=100)["d_ff"], 100, what="GPTConfig(65, 128, d_ff=100).d_ff")
    assert_equal(student.run(config_fields, 65, 128, d_model=8)["d_ff"], 32, what="GPTConfig(65, 128, d_model=8).d_ff")


@exercise("GPTConfig")
def test_config_refuses_impossible_sizes(student):
    def config(*args, **fields):
        return student.run(config_fields, *args, **fields)

    config.__name__ = "GPTConfig"
    for name in SMALL:
        assert_refused(config, **(SMALL | {name: 0}), why=f"{name} must be positive")
    assert_refused(config, 65, 128, n_heads=3, why="3 heads cannot share 64 channels")


# next_token_loss


@exercise("next_token_loss")
def test_loss_by_hand(student):
    """Logits 0 and log 3 are probabilities 1/4 and 3/4."""
    logits = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]])
    expected = torch.tensor(-(math.log(0.75) + math.log(0.25)) / 2)
    assert_close(student.next_token_loss(logits, torch.tensor([1, 1])), expected, what="the loss of 3/4 and 1/4")
    alone = student.next_token_loss(logits, torch.tensor([1, -100]))
    hint = "leave out positions whose target is ignore_index, above and below the fraction bar"
    assert_close(
        alone, torch.tensor(-math.log(0.75)), what="the loss when the second position does not count", hint=hint
    )


@exercise("next_token_loss")
@given(seed=seeds(), lead=leading_shapes(5), vocab=sizes(2, 9), ignore_index=st.sampled_from([-100, -1, 0]))
def test_loss_and_gradient_agree_with_pytorch(student, seed, lead, vocab, ignore_index):
    logits = normal(seed, *lead, vocab, scale=3.0)
    targets = torch.randint(vocab, lead, generator=torch.Generator().manual_seed(seed))
    targets[torch.rand(lead, generator=torch.Generator().manual_seed(seed + 1)) < 0.3] = ignore_index
    targets.view(-1)[0] = 1
    leaf = logits.clone().requires_grad_()
    expected = F.cross_entropy(leaf.view(-1, vocab), targets.view(-1), ignore_index=ignore_index)
    actual = student.run(gradients, "next_token_loss", [logits, targets], {"ignore_index": ignore_index})
    assert_close(actual["value"], expected.detach(), what="the loss", hint="mean of -log_softmax(logits)[target]")
    (slope,) = torch.autograd.grad(expected, leaf)
    ratio = (actual["gradients"][0] * slope).sum() / slope.square().sum()  # the probe pulls back a random multiple
    assert_close(actual["gradients"][0], slope * ratio, what="the gradient of the logits (up to a factor)")
    student.next_token_loss(logits, targets, ignore_index=ignore_index)
    assert_inputs_untouched(student)


@exercise("next_token_loss")
def test_loss_of_large_logits_is_finite(student):
    logits = torch.tensor([[1e4, 0.0, -torch.inf]], dtype=torch.float64)
    overflow = "use log_softmax or logsumexp: exp(10000) is infinite and log(softmax) can be log(0)"
    for target, expected in ((0, 0.0), (1, 1e4)):
        actual = student.next_token_loss(logits, torch.tensor([target]))
        hint = overflow if isinstance(actual, torch.Tensor) and not actual.isfinite().all() else ""
        assert_close(
            actual, torch.tensor(expected, dtype=torch.float64), what=f"the loss of target {target}", hint=hint
        )


@exercise("next_token_loss")
def test_loss_refuses_targets_that_are_no_tokens(student):
    for bad in (-1, 3):
        assert_refused(student.next_token_loss, torch.zeros(2, 3), torch.tensor([0, bad]), why=f"{bad} is not in 0..2")
    assert_refused(
        student.next_token_loss, torch.zeros(2, 3, 5), torch.zeros(3, 2, dtype=torch.long), why="shapes differ"
    )


# MiniGPT


def pytorch_logits(weights, ids, n_layers, n_heads, d_model, d_ff, **_):
    """The same model made of PyTorch's own layers."""
    t = ids.shape[1]
    x = weights["token_embedding.weight"][ids] + weights["position_embedding.weight"][:t]
    for i in range(n_layers):
        layer = nn.TransformerEncoderLayer(
            d_model, n_heads, d_ff, 0.0, activation="gelu", batch_first=True, norm_first=True, dtype=torch.float64
        )
        attention = f"blocks.{i}.attention."
        state = {
            f"self_attn.in_proj_{kind}": torch.cat([weights[f"{attention}{w}.{kind}"] for w in ("w_q", "w_k", "w_v")])
            for kind in ("weight", "bias")
        }
        names = {
            "attention.w_o": "self_attn.out_proj", "norm_1": "norm1", "norm_2": "norm2",
            "feed_forward.w_in": "linear1", "feed_forward.w_out": "linear2",
        }  # fmt: skip
        for ours, theirs in names.items():
            state |= {f"{theirs}.{kind}": weights[f"blocks.{i}.{ours}.{kind}"] for kind in ("weight", "bias")}
        layer.load_state_dict(state)
        x = layer(x, src_mask=torch.ones(t, t, dtype=torch.bool).triu(1))
    x = F.layer_norm(x, (d_model,), weights["final_norm.weight"], weights["final_norm.bias"])
    return (x @ weights["lm_head.weight"].T).detach()


@exercise("MiniGPT")
@settings(max_examples=15)
@given(seed=seeds(), b=sizes(1, 3), t=sizes(1, 6), n_layers=sizes(1, 3), tied=st.booleans())
def test_model_agrees_with_pytorch(student, seed, b, t, n_layers, tied):
    """The same weights in PyTorch's own layers give the same logits and the same loss."""
    fields = SMALL | {"n_layers": n_layers, "tie_embeddings": tied}
    ids, targets = torch.randint(7, (2, b, t), generator=torch.Generator().manual_seed(seed))
    weights, (logits,), loss = student.run(run_model, seed, [ids], targets, **fields)
    expected = pytorch_logits(weights, ids, **fields)
    hint = "tokens + positions, pre-norm blocks under the causal mask, the final norm, the head"
    assert_close(logits, expected, what="the logits", hint=hint, rtol=0, atol=1e-9)
    expected = F.cross_entropy(expected.view(-1, 7), targets.reshape(-1))
    assert_close(loss, expected, what="the loss", hint="targets are shifted already", rtol=0, atol=1e-9)


@exercise("MiniGPT")
def test_model_does_not_look_ahead(student):
    ids = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, 2, 6, 6, 6]])
    _, (both, short), loss = student.run(run_model, 1, [ids, ids[:1, :3].contiguous()], **SMALL)
    assert_close(
        both[1, :3], both[0, :3], what="the logits before the texts differ", hint="a position sees the tokens up to it"
    )
    assert_close(short, both[:1, :3], what="the logits of the first three tokens alone")
    assert_equal(loss, None, what="the loss without targets")


@exercise("MiniGPT")
def test_model_has_its_parts(student):
    for tied, parameters in ((True, 616), (False, 616 + 42)):
        expected = {"blocks": 2, "parameters": parameters, "lm_head.weight is token_embedding.weight": tied}
        hint = "nn.ModuleList for the blocks, no bias in lm_head, and tying assigns the parameter itself"
        actual = student.run(look_at_model, **SMALL, tie_embeddings=tied)
        assert_equal(actual, expected, what=f"the model with tie_embeddings={tied}", hint=hint)


@exercise("MiniGPT")
def test_model_refuses_what_it_cannot_read(student):
    model = called("MiniGPT(config)", lambda ids: student.run(run_model, 1, [ids], **SMALL)[1][0])
    assert_refused(model, torch.zeros(1, 7, dtype=torch.long), why="7 tokens do not fit into a context_length of 6")
    assert_refused(model, torch.tensor([[7]]), why="token 7 is not in 0..6")


# initialise


@exercise("initialise")
@settings(max_examples=4)
@given(seed=seeds(), n_layers=sizes(1, 3))
def test_initialise_follows_gpt2(student, seed, n_layers):
    """0.02, less for the layers that write into the residual stream, zeros and ones; the generator decides alone."""
    fields = {"vocab_size": 151, "context_length": 67, "n_layers": n_layers, "d_model": 48}
    parameters, untouched = student.run(initialised, seed, **fields)
    assert untouched, "PyTorch's global random state has changed\n  hint: pass generator=generator to every draw"
    for name, value in parameters.items():
        if name.endswith("bias") or "norm" in name:
            assert_equal(value, torch.full_like(value, 0.0 if name.endswith("bias") else 1.0), what=name)
            continue
        std = 0.02 / math.sqrt(2 * n_layers) if name.endswith(("w_o.weight", "w_out.weight")) else 0.02
        measured, room = value.std().item(), 6 / math.sqrt(2 * value.numel())
        assert abs(measured / std - 1) < room, f"the std of {name} should be about {std:.4f}, but it is {measured:.4f}"
    again, _ = student.run(initialised, seed, **fields)
    assert_equal(again, parameters, what="the parameters after the same seed again")


# count_parameters


@exercise("count_parameters")
def test_count_by_hand(student):
    """Embeddings 10, attention 24, feed-forward 17, three norms 12; an untied head 6 more."""
    tiny = {"vocab_size": 3, "context_length": 2, "n_layers": 1, "n_heads": 1, "d_model": 2, "d_ff": 3}
    assert_equal(student.run(count, **tiny), 63, what="the parameters of a tiny model")
    assert_equal(student.run(count, **tiny, tie_embeddings=False), 69, what="the parameters of a tiny untied model")


@exercise("count_parameters")
def test_count_of_gpt2(student):
    actual = student.run(count, 50257, 1024, n_layers=12, n_heads=12, d_model=768)
    hint = "its embeddings are tied" if actual == 124_439_808 + 50257 * 768 else ""
    assert_equal(actual, 124_439_808, what="the parameters of GPT-2 small", hint=hint)


# sequence_log_prob and generate_greedy, on a model that is a table


CYCLE = torch.tensor([[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [0.8, 0.1, 0.1]], dtype=torch.float64).log()


@exercise("sequence_log_prob")
def test_log_prob_by_hand(student):
    """0 then 1 then 2 then 0: 0.6 * 0.7 * 0.8; 2, 2, 2, 2: 0.1 * 0.1 * 0.1."""
    ids = torch.tensor([[0, 1, 2, 0], [2, 2, 2, 2]])
    log_prob, n_read, _ = student.run(with_bigram_model, CYCLE, 3, "sequence_log_prob", ids)
    expected = torch.tensor([0.6 * 0.7 * 0.8, 0.1**3], dtype=torch.float64).log()
    assert_close(
        log_prob, expected, what="the log-probabilities", hint="logits at position i predict the token at i + 1"
    )
    assert_equal(n_read, 3, what="the number of tokens read", hint="the last token is predicted, never read")


@exercise("sequence_log_prob")
def test_log_prob_of_a_single_token_is_zero(student):
    log_prob, *_ = student.run(with_bigram_model, CYCLE, 3, "sequence_log_prob", torch.tensor([[0], [2]]))
    assert_close(log_prob, torch.zeros(2, dtype=torch.float64), what="the log-probability of one token, given itself")


@exercise("generate_greedy")
def test_generate_follows_the_likeliest_token(student):
    """The likeliest tokens go round: 0, 1, 2, 0, 1, 2, ..."""
    prompt = torch.tensor([[0], [2]])
    ids, n_read, recorded = student.run(with_bigram_model, CYCLE, 4, "generate_greedy", prompt, 6)
    assert_equal(ids, torch.tensor([[0, 1, 2, 0, 1, 2, 0], [2, 0, 1, 2, 0, 1, 2]]), what="prompt and continuation")
    assert n_read <= 4, (
        f"the model read {n_read} tokens at once, its context length is 4\n  hint: ids[:, -context_length:]"
    )
    assert not recorded, "gradients were recorded\n  hint: with torch.no_grad():"


@exercise("generate_greedy")
def test_generate_keeps_a_prompt_longer_than_the_context(student):
    prompt = torch.tensor([[2, 2, 1, 1, 0, 0]])
    ids, *_ = student.run(with_bigram_model, CYCLE, 2, "generate_greedy", prompt, 2)
    cropped = isinstance(ids, torch.Tensor) and ids.shape[-1] < 8
    hint = "crop what the model reads, not what you keep" if cropped else ""
    assert_equal(ids, torch.tensor([[2, 2, 1, 1, 0, 0, 1, 2]]), what="prompt and continuation", hint=hint)
    ids, *_ = student.run(with_bigram_model, CYCLE, 2, "generate_greedy", prompt, 0)
    assert_equal(ids, prompt, what="the result for max_new_tokens=0")


@exercise("generate_greedy")
def test_generate_refuses_bad_arguments(student):
    bad = (
        (torch.tensor([[0]]), -1, "-1 tokens cannot be appended"),
        (torch.zeros(1, 0, dtype=torch.long), 1, "there is no token to start from"),
    )
    generate = called("generate_greedy", lambda ids, n: student.run(with_bigram_model, CYCLE, 2, "generate_greedy", ids, n)[0])
    for prompt, n, why in bad:
        assert_refused(generate, prompt, n, why=why)


# most_likely_sequence


@exercise("most_likely_sequence")
def test_best_sequence_is_not_the_greedy_one(student):
    """Token 0 is likelier at first (0.6), but what follows it is at most 0.5 likely: 0.3 in all. 1, 1 has 0.4 * 0.9."""
    initial = torch.tensor([0.6, 0.4], dtype=torch.float64).log()
    transition = torch.tensor([[0.5, 0.5], [0.1, 0.9]], dtype=torch.float64).log()
    ids, log_prob = student.most_likely_sequence(initial, transition, 2)
    one_kept = isinstance(ids, torch.Tensor) and ids.flatten()[:1].tolist() == [0]
    hint = "keep the best sequence for every last token, not just one" if one_kept else ""
    assert_equal(ids, torch.tensor([1, 1]), what="ids", hint=hint)
    assert_close(log_prob, torch.tensor(0.36, dtype=torch.float64).log(), what="the log-probability")


@exercise("most_likely_sequence")
@given(seed=seeds(), n=sizes(1, 3), length=sizes(1, 5))
def test_best_sequence_by_brute_force(student, seed, n, length):
    """No sequence among all n^length is likelier."""
    initial, transition = normal(seed, n).log_softmax(-1), normal(seed + 1, n, n, scale=2.0).log_softmax(-1)

    def score(ids):
        return float(initial[ids[0]]) + sum(float(transition[i, j]) for i, j in itertools.pairwise(ids))

    best = max(score(ids) for ids in itertools.product(range(n), repeat=length))
    ids, log_prob = student.most_likely_sequence(initial, transition, length)
    assert_close(log_prob, torch.tensor(best, dtype=torch.float64), what="the log-probability of the best sequence")
    assert_equal(tuple(ids.shape), (length,), what="the shape of ids")
    hint = "row i is where you are, column j where you go; follow the backpointers from the best last token"
    assert_close(score(ids.tolist()), best, what=f"the log-probability of ids {ids.tolist()}", hint=hint)


@exercise("most_likely_sequence")
def test_best_sequence_avoids_what_is_impossible(student):
    """Only 0, 1, 0, 1, ... can happen."""
    inf = torch.inf
    initial, transition = torch.tensor([0.0, -inf]), torch.tensor([[-inf, 0.0], [0.0, -inf]])
    ids, log_prob = student.most_likely_sequence(initial, transition, 5)
    assert_equal(ids, torch.tensor([0, 1, 0, 1, 0]), what="ids")
    assert_equal(log_prob, torch.tensor(0.0), what="the log-probability")
    assert_refused(student.most_likely_sequence, initial, transition, 0, why="a sequence has at least one token")
