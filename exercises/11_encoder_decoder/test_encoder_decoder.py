"""Public tests: pytest exercises/11_encoder_decoder [-k bleu]"""

import math

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.assertions import brief
from autograder.testing.hints import called
from autograder.testing.strategies import given, normal, seeds, settings, sizes, st

# What runs beside your module: each function gets it as its first argument.


def attend(module, sizes, x, context, mask=None, bias=None, project=False):
    """The output of a CrossAttention and its weights by name."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    attention = randomise(module.CrossAttention(*sizes), 1)
    read = attention.project_context(context) if project else context
    return attention(x, read, mask, bias), {name: weight.detach() for name, weight in attention.named_parameters()}


def run_block(module, name, args, kwargs=None):
    """x from a block of width 6 with two heads."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    found = randomise(getattr(module, name)(6, 2, 5), 2)(*args, **(kwargs or {}))
    return found[0] if isinstance(found, tuple | list) else found


def run_block_in_pieces(module, x, context):
    """x from a DecoderBlock, token by token."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    block, rows, past = randomise(module.DecoderBlock(6, 2, 5), 2), [], None
    for token in x.split(1, dim=1):
        row, past = block(token, context, past=past)
        rows.append(row)
    return torch.cat(rows, dim=1)


def parameter_shapes(module, name, *sizes):
    """The shapes of a layer's parameters."""
    return {each: list(weight.shape) for each, weight in getattr(module, name)(*sizes).named_parameters()}


def bias_of(module, sizes, n_q, n_k):
    """The bias of a RelativePositionBias whose table holds 0, 1, 2, ... in the first column, 100, 101, ... in the second."""
    one = module.RelativePositionBias(*sizes)
    n_buckets, n_heads = one.embedding.weight.shape
    with torch.no_grad():
        one.embedding.weight.copy_(torch.arange(n_buckets)[:, None] + 100 * torch.arange(n_heads))
    with torch.no_grad():
        return one(n_q, n_k)


def config_fields(module, *args, **fields):
    """Some of the fields of a configuration."""
    config = module.MiniT5Config(*args, **fields)
    return [config.vocab_size, config.n_layers, config.n_heads, config.d_model, config.d_ff, config.dropout]


def run_model(module, several, seed=3):
    """The logits of one model for several (source, decoder_ids, mask)."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    small = {"vocab_size": 9, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5, "n_buckets": 8, "max_distance": 12}
    model = randomise(module.MiniT5(module.MiniT5Config(**small)), seed)
    return [model(*each).detach() for each in several]


def run_model_in_pieces(module, source, ids, mask):
    """The logits token by token, the context projected once."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    small = {"vocab_size": 9, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5, "n_buckets": 8, "max_distance": 12}
    model = randomise(module.MiniT5(module.MiniT5Config(**small)), 3)
    memory, rows, past = model.encode(source, mask), [], None
    context = [block.cross_attention.project_context(memory) for block in model.decoder]
    for token in ids.split(1, dim=1):
        row, past = model.decode(token, context, mask, past)
        rows.append(row.detach())
    return torch.cat(rows, dim=1)


def without_gradient(module, source, ids):
    """The names of the parameters that get no gradient."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    small = {"vocab_size": 9, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5, "n_buckets": 8, "max_distance": 12}
    model = randomise(module.MiniT5(module.MiniT5Config(**small)), 3)
    model(source, ids).square().sum().backward()
    return [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]


def corrupt(module, ids, sentinels, seed, *args):
    """(input, target), and the same again with a generator of the same seed."""
    return [module.span_corrupt(ids, sentinels, torch.Generator().manual_seed(seed), *args) for _ in range(2)]


def run_translate(module, source, n, lengths=None, seed=5, **options):
    """Translations by a small model with random weights."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    small = {"vocab_size": 9, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5, "n_buckets": 8, "max_distance": 12}
    model = randomise(module.MiniT5(module.MiniT5Config(**small)), seed)
    with torch.no_grad():
        model.decoder_norm.weight -= 2.0  # or else each token is followed by itself
        model.decoder_bias.embedding.weight *= 4
    mask = None if lengths is None else torch.arange(source.shape[1]) < torch.tensor(lengths)[:, None]
    return module.translate(model, source, 0, 1, n, mask, **options), model.training


def search_by_hand(module, source, n, seed=5):
    """Greedy translation of one source, by calling the whole model at every step."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    small = {"vocab_size": 9, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5, "n_buckets": 8, "max_distance": 12}
    model = randomise(module.MiniT5(module.MiniT5Config(**small)), seed)
    with torch.no_grad():
        model.decoder_norm.weight -= 2.0
        model.decoder_bias.embedding.weight *= 4
    ids = torch.zeros(1, 1, dtype=torch.int64)
    for _ in range(n):
        token = model(source, ids)[0, -1].argmax()
        if token == 1:
            break
        ids = torch.cat([ids, token[None, None]], dim=1)
    return ids[0, 1:].tolist()


def read_positions(module, source, n, **options):
    """How many positions pass the decoder's last norm while one source is translated."""

    def randomise(part, seed):
        """The layer or model in float64, with random weights."""
        part, generator = part.double().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.6 + ("norm" in name))
        return part

    small = {"vocab_size": 9, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5, "n_buckets": 8, "max_distance": 12}
    model, seen = randomise(module.MiniT5(module.MiniT5Config(**small)), 5), []
    model.decoder_norm.register_forward_hook(lambda part, args, found: seen.append(found.shape[0] * found.shape[1]))
    module.translate(model, source, 0, -1, n, **options)
    return sum(seen)


# padding_mask


@exercise("padding_mask")
def test_the_first_tokens_are_real(student):
    expected = torch.tensor([[True, True, False], [False, False, False], [True, True, True]])
    actual = student.padding_mask(torch.tensor([2, 0, 3]), 3)
    hint = "position j is real if j < length: such a comparison is the mask, in booleans"
    assert_equal(actual, expected, what="the mask of lengths 2, 0 and 3", hint=hint)
    nested = student.padding_mask(torch.tensor([[2], [0]]), 3)
    assert_equal(nested, expected[:2, None], what="the mask of lengths [[2], [0]]", hint="lengths[..., None]")
    assert_inputs_untouched(student)


@exercise("padding_mask")
def test_lengths_outside_are_refused(student):
    assert_refused(student.padding_mask, torch.tensor([1, 4]), 3, why="4 is more than max_len")
    assert_refused(student.padding_mask, torch.tensor([1, -1]), 3, why="-1 is no length")


# CrossAttention


@exercise("CrossAttention")
@settings(max_examples=15)
@given(seed=seeds(), n_heads=sizes(1, 3), n_q=sizes(1, 4), n_k=sizes(1, 5), biased=st.booleans(), project=st.booleans())
def test_attention_is_pytorchs_without_a_scale(student, seed, n_heads, n_q, n_k, biased, project):
    """F.scaled_dot_product_attention with scale=1 and the bias as its mask gives the same, for a context and for its pair."""
    d = 2 * n_heads
    x, context = normal(seed, 2, n_q, d), normal(seed + 1, 2, n_k, d)
    bias = normal(seed + 2, n_heads, n_q, n_k) if biased else None
    output, weights = student.run(attend, [d, n_heads], x, context, None, bias, project)
    q, k, v = (
        (y @ weights[f"{name}.weight"].T).unflatten(-1, (n_heads, 2)).transpose(1, 2)
        for name, y in (("w_q", x), ("w_k", context), ("w_v", context))
    )
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
    expected = heads.transpose(1, 2).flatten(2) @ weights["w_o.weight"].T
    assert_close(output, expected, what="the output", hint="no division by sqrt(head_dim); queries from x, the rest from context")


@exercise("CrossAttention")
def test_padding_has_no_weight_and_nothing_is_zero(student):
    """A masked key may hold anything; a row without keys is zeros, never NaN."""
    x, context = normal(1, 2, 3, 4), normal(2, 2, 5, 4)
    mask = torch.tensor([[True, True, False, False, False], [False] * 5])[:, None, None]
    other = context.clone()
    other[0, 2:] = 100.0
    first, _ = student.run(attend, [4, 2], x, context, mask)
    second, _ = student.run(attend, [4, 2], x, other, mask)
    short, _ = student.run(attend, [4, 2], x[:1], context[:1, :2])
    assert_close(second, first, what="the output after a change at masked keys", hint="mask the scores before the softmax")
    assert_close(first[:1], short, what="the output beside that of the real keys alone")
    hint = "fill with torch.finfo(dtype).min, not -inf, and set masked weights to 0 after the softmax"
    assert_close(first[1], torch.zeros_like(first[1]), what="the output of a row without keys", hint=hint)


@exercise("CrossAttention")
def test_the_attention_has_four_weights(student):
    expected = {f"{name}.weight": [6, 6] for name in ("w_q", "w_k", "w_v", "w_o")}
    assert_equal(student.run(parameter_shapes, "CrossAttention", 6, 2), expected, what="the parameters", hint="bias=False")
    make = called("CrossAttention", lambda *sizes: student.run(parameter_shapes, "CrossAttention", *sizes))
    assert_refused(make, 6, 4, why="4 heads do not divide a width of 6")


# relative_position_bucket and RelativePositionBias


@exercise("relative_position_bucket")
def test_buckets_by_hand(student):
    """Eight buckets, 16 the largest distance: 0 to 3 are exact with one direction, 0 and 1 with two."""
    relative = -torch.arange(0, 20)
    one = student.relative_position_bucket(relative, False, 8, 16)
    # 4 + log(r / 4) / log(4) * 4, rounded down: 5 is 4.64, 6 is 5.17, 7 is 5.61, 9 is 6.34, 11 is 6.92, 12 is 7.17
    expected = {0: 0, 3: 3, 4: 4, 5: 4, 6: 5, 7: 5, 9: 6, 11: 6, 12: 7, 16: 7, 19: 7}
    for r, bucket in expected.items():
        hint = "distances below E = 4 have buckets of their own" if r < 4 else "round down, N - 1 at most"
        assert_equal(int(one[r]), bucket, what=f"the bucket of -{r} with one direction, 8 buckets, max_distance=16", hint=hint)
    after = student.relative_position_bucket(torch.tensor([1, 5, 100]), False, 8, 16)
    assert_equal(after, torch.tensor([0, 0, 0]), what="the buckets of later keys, one direction", hint="they count as distance 0")
    two = student.relative_position_bucket(torch.tensor([-30, -5, -1, 0, 1, 5, 30]), True, 8, 16)
    hint = "relative <= 0 has the first half of the buckets"
    assert_equal(two, torch.tensor([3, 2, 1, 0, 5, 6, 7]), what="the buckets of -30, -5, -1, 0, 1, 5, 30", hint=hint)


@exercise("relative_position_bucket")
@settings(max_examples=20)
@given(n=st.sampled_from([4, 8, 32, 50]), bidirectional=st.booleans(), more=sizes(1, 100))
def test_buckets_grow_with_distance_to_the_last(student, n, bidirectional, more):
    """Each direction begins with exact buckets, never goes back, and ends in its last one."""
    each = n // 2 if bidirectional else n
    distance = each // 2 + more
    found = student.relative_position_bucket(-torch.arange(distance + 5), bidirectional, n, distance).tolist()
    assert_equal(found[: each // 2], list(range(each // 2)), what="the buckets of the smallest distances")
    assert sorted(found) == found, f"the buckets {found} do not grow with the distance"
    assert_equal(found[distance + 1 :], [each - 1] * 4, what="the buckets beyond max_distance")


@exercise("relative_position_bucket")
def test_too_few_buckets_are_refused(student):
    for n, distance in ((2, 128), (7, 128), (32, 8)):
        why = "each direction needs two buckets, and max_distance lies beyond the exact ones"
        assert_refused(student.relative_position_bucket, torch.arange(3), True, n, distance, why=why)


@exercise("RelativePositionBias")
def test_a_bias_for_every_pair(student):
    """Rows are queries. With one direction and 8 buckets, distances 0 to 3 have buckets of their own."""
    expected = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [2, 1, 0, 0], [3, 2, 1, 0]])
    actual = student.run(bias_of, [2, False, 8, 16], 4, 4)
    hint = "(h, n_q, n_k); key minus query; the table has a column for each head"
    assert_close(actual, torch.stack([expected, 100 + expected]), what="the bias", hint=hint)
    last = student.run(bias_of, [2, False, 8, 16], 1, 4)
    assert_close(last[0], expected[3:], what="the bias of the last query alone", hint="the queries are the last n_q positions")
    both = student.run(bias_of, [1, True, 8, 16], 2, 3)
    assert_close(both[0], torch.tensor([[1.0, 0, 5], [2, 1, 0]]), what="the bias of the last two of three, both directions")


# Blocks


@exercise("EncoderBlock")
def test_an_encoder_block_sees_everything_that_is_not_masked(student):
    x = normal(1, 2, 4, 6)
    full = student.run(run_block, "EncoderBlock", [x])
    other = x.clone()
    other[:, 3] += 1.0
    changed = student.run(run_block, "EncoderBlock", [other])
    seen = (changed[:, :3] - full[:, :3]).abs().amax(-1) > 1e-9
    assert bool(seen.all()), "the last token does not reach the ones before it: an encoder has no causal mask"
    mask = torch.tensor([True, True, True, False])
    found = [student.run(run_block, "EncoderBlock", [each, mask])[:, :3] for each in (x, other)]
    assert_close(found[1], found[0], what="x after a change at a masked token", hint="pass the mask on to the attention")


@exercise("EncoderBlock")
def test_an_encoder_block_has_these_parameters(student):
    names = student.run(parameter_shapes, "EncoderBlock", 6, 2, 5)
    expected = {f"attention.{name}.weight" for name in ("w_q", "w_k", "w_v", "w_o")} | {"norm_1.weight", "norm_2.weight"}
    expected |= {f"feed_forward.{name}.{kind}" for name in ("w_in", "w_out") for kind in ("weight", "bias")}
    assert_equal(sorted(expected - set(names)), [], what="the parameters that are missing", hint="each norm is one of its own")
    assert_equal(sorted(set(names) - expected), [], what="the parameters that should not be there")


@exercise("DecoderBlock")
def test_a_decoder_block_is_causal_and_sees_the_whole_context(student):
    x, context = normal(1, 2, 4, 6), normal(2, 2, 3, 6)
    full = student.run(run_block, "DecoderBlock", [x, context])
    other, elsewhere = x.clone(), context.clone()
    other[:, 2:] += 1.0
    elsewhere[:, 2] += 1.0
    changed = student.run(run_block, "DecoderBlock", [other, context])
    what = "x before position 2 when the tokens from there on change"
    assert_close(changed[:, :2], full[:, :2], what=what, hint="its self-attention needs causal_mask(t, t)")
    changed = student.run(run_block, "DecoderBlock", [x, elsewhere])
    assert bool(((changed - full).abs().amax(-1) > 1e-9).all()), "the context's last token does not reach every position"


@exercise("DecoderBlock")
def test_a_decoder_block_goes_on_from_a_past(student):
    x, context = normal(3, 2, 5, 6), normal(4, 2, 3, 6)
    whole = student.run(run_block, "DecoderBlock", [x, context])
    hint = "the past's keys and values come first; the causal mask is causal_mask(t, p + t)"
    assert_close(student.run(run_block_in_pieces, x, context), whole, what="x token by token", hint=hint)


# MiniT5


@exercise("MiniT5Config")
def test_a_configuration_is_checked(student):
    names = "vocab_size", "n_layers", "n_heads", "d_model", "d_ff", "dropout"
    for asked, call, d_ff in (({}, "MiniT5Config(50)", 256), ({"d_ff": 7}, "MiniT5Config(50, d_ff=7)", 7)):
        for name, found, wanted in zip(names, student.run(config_fields, 50, **asked), (50, 2, 4, 64, d_ff, 0.0)):
            assert_equal(found, wanted, what=f"the {name} of {call}")
    make = called("MiniT5Config", lambda *sizes, **fields: student.run(config_fields, *sizes, **fields))
    for fields in ({"n_layers": 0}, {"d_ff": 0}, {"n_heads": 3}, {"d_model": 2.5}, {"dropout": 1.0}, {"n_buckets": -1}):
        assert_refused(make, 50, **fields, why="no model has such sizes")


@exercise("MiniT5")
def test_padding_changes_nothing(student):
    """A batch of three lengths, beside each text alone."""
    source, ids = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0], [2, 0, 0, 0]]), torch.tensor([[0, 2, 3], [0, 5, 5], [0, 8, 1]])
    lengths = [4, 2, 1]
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    alone = [(source[i : i + 1, :n], ids[i : i + 1], None) for i, n in enumerate(lengths)]
    together, *rows = student.run(run_model, [(source, ids, mask), *alone])
    hint = "the mask belongs to the encoder's self-attention and to the decoder's cross-attention"
    assert_close(together, torch.cat(rows), what="the logits of the batch", hint=hint)


@exercise("MiniT5")
def test_the_decoder_is_causal_and_the_encoder_is_not(student):
    source, ids = torch.tensor([[3, 4, 5, 6]]), torch.tensor([[0, 2, 3, 4]])
    several = [(source, ids), (source, torch.tensor([[0, 2, 7, 8]])), (torch.tensor([[3, 4, 5, 7]]), ids)]
    full, other, elsewhere = student.run(run_model, several)
    assert_close(other[:, :2], full[:, :2], what="the logits before a change in the target", hint="position i sees ids up to i")
    assert bool(((elsewhere - full).abs().amax(-1) > 1e-9).all()), "the last source token does not reach every target position"


@exercise("MiniT5")
def test_decoding_token_by_token_gives_the_same_logits(student):
    source, ids = torch.tensor([[3, 4, 5], [7, 8, 0]]), torch.tensor([[0, 2, 3, 4, 4], [0, 6, 1, 1, 2]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    (whole,) = student.run(run_model, [(source, ids, mask)])
    hint = "the bias of t new positions is decoder_bias(t, p + t); each block has its own past and context"
    assert_close(student.run(run_model_in_pieces, source, ids, mask), whole, what="the logits token by token", hint=hint)


@exercise("MiniT5")
def test_every_parameter_learns(student):
    missing = student.run(without_gradient, torch.tensor([[3, 4, 5]]), torch.tensor([[0, 2, 3]]))
    assert_equal(missing, [], what="the parameters without a gradient", hint="is something detached, or never used?")


# Training


@exercise("shift_right")
def test_everything_moves_by_one(student):
    ids = torch.tensor([[5, 6, 7], [8, 9, 1]])
    expected = torch.tensor([[0, 5, 6], [0, 8, 9]])
    assert_equal(student.shift_right(ids, 0), expected, what="the shifted ids", hint="start_id comes in, the last token goes")
    assert_inputs_untouched(student, "put the new ids together in a tensor of their own: the loss needs the old ones")
    assert_equal(student.shift_right(ids[0, :1], 4), torch.tensor([4]), what="a single token, shifted")


@exercise("label_smoothed_loss")
@settings(max_examples=20)
@given(seed=seeds(), vocab=sizes(2, 6), smoothing=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_the_loss_is_pytorchs(student, seed, vocab, smoothing):
    """F.cross_entropy with label_smoothing, ignored positions left out."""
    logits, targets = normal(seed, 2, 3, vocab), torch.randint(vocab, (2, 3), generator=torch.Generator().manual_seed(seed))
    targets[0, 1] = -100
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)
    actual = student.label_smoothed_loss(logits, targets, smoothing)
    hint = "a mean over the counted positions of (1 - smoothing) and smoothing times the vocabulary's mean"
    assert_close(actual, expected, what=f"the loss with smoothing={smoothing}", hint=hint)


@exercise("label_smoothed_loss")
def test_nothing_counted_is_zero(student):
    loss = student.label_smoothed_loss(normal(1, 2, 5), torch.full((2,), 3), 0.1, ignore_index=3)
    assert_close(loss, torch.zeros((), dtype=torch.float64), what="the loss where nothing counts", hint="the sum of nothing is 0")
    assert_refused(student.label_smoothed_loss, normal(1, 2, 5), torch.tensor([0, 5]), why="there are 5 tokens")
    assert_refused(student.label_smoothed_loss, normal(1, 2, 5), torch.tensor([0]), why="there are two rows of logits")


@exercise("span_corrupt")
@settings(max_examples=20)
@given(seed=seeds(), n=sizes(2, 30), rate=st.sampled_from([0.15, 0.5, 0.9]), mean=st.sampled_from([1.0, 3.0]))
def test_spans_go_back_into_their_places(student, seed, n, rate, mean):
    """Put what follows each sentinel of the target in its place in the input: that is the text."""
    ids, sentinels = torch.arange(100, 100 + n), list(range(40))
    found, again = student.run(corrupt, ids, sentinels, seed, rate, mean)
    for each in (found, again):
        pair = isinstance(each, tuple | list) and len(each) == 2 and all(isinstance(text, torch.Tensor) for text in each)
        assert pair, f"span_corrupt returns two tensors, input and target, but this is {brief(each)}"
    source, target = (text.tolist() for text in found)
    what, hint = "the texts from a generator of the same seed", "generator=generator"
    assert_equal([text.tolist() for text in again], [source, target], what=what, hint=hint)
    n_spans = sum(token < 100 for token in source)
    marks = [token for token in target if token < 100]
    assert_equal(marks, sentinels[: n_spans + 1], what="the target's sentinels", hint="one for each span, and one as an end")
    spans = {mark: target[target.index(mark) + 1 : target.index(mark + 1)] for mark in marks[:-1]}
    text = [token for mark in source for token in (spans[mark] if mark < 100 else [mark])]
    assert_equal(text, ids.tolist(), what="the text, put together again", hint=f"input {source}, target {target}")
    n_cut = min(max(round(n * rate), 1), n - 1)
    assert_equal(len(target) - n_spans - 1, n_cut, what=f"the number of tokens cut of {n} at a rate of {rate}")
    what, wanted = f"the number of spans, of {n_cut} tokens cut and {n - n_cut} kept", max(round(n_cut / mean), 1)
    assert_equal(n_spans, min(wanted, n_cut, n - n_cut), what=what)
    touching = [a for a, b in zip(source, source[1:]) if a < 100 and b < 100]
    assert not touching, f"two spans touch each other in {source}"


@exercise("span_corrupt")
def test_too_few_sentinels_are_refused(student):
    def run(ids, sentinel_ids, **options):
        return student.run(corrupt, ids, sentinel_ids, 0, *options.values())

    cut, options = called("span_corrupt", run), {"corruption_rate": 0.3, "mean_span_length": 3.0}
    assert_refused(cut, torch.arange(100, 120), [1, 2], **options, why="two spans and the end need three sentinels")
    assert_refused(cut, torch.arange(100, 101), [1, 2], why="one token cannot be cut")


# translate


@exercise("translate")
def test_greedy_search_is_the_likeliest_token_each_time(student):
    """Beside a loop that calls the whole model at every step; sources of different lengths in one batch."""
    source, lengths = torch.tensor([[3, 4, 5, 6], [7, 8, 2, 0], [2, 5, 0, 0], [6, 0, 0, 0]]), [4, 3, 2, 1]
    expected = [student.run(search_by_hand, source[i : i + 1, :n], 7) for i, n in enumerate(lengths)]
    for use_cache in (False, True):
        actual, training = student.run(run_translate, source, 7, lengths, use_cache=use_cache)
        hint = "cut before eos_id, go on until all have ended, pass the mask on"
        assert_equal(actual, expected, what=f"the translations with use_cache={use_cache}", hint=hint)
    assert_equal(training, False, what="whether the model is in train mode afterwards")


@exercise("translate")
def test_the_cache_changes_no_beam(student):
    source, lengths = torch.tensor([[3, 4, 5, 6], [7, 8, 2, 0], [2, 5, 0, 0]]), [4, 3, 2]
    for beam_size, penalty in ((2, 0.0), (4, 1.0)):
        options = {"beam_size": beam_size, "length_penalty": penalty}
        plain, cached = (student.run(run_translate, source, 6, lengths, use_cache=each, **options)[0] for each in (False, True))
        hint = "a row's past is that of the row it continues: which one was that?"
        what = f"the translations with the cache (beam_size={beam_size}, length_penalty={penalty})"
        assert_equal(cached, plain, what=what, hint=hint)


@exercise("translate")
def test_each_token_is_read_once(student):
    source = torch.tensor([[3, 4, 5, 6]])
    hint = "decode(texts[:, -1:], context, mask, past)"
    assert_equal(student.run(read_positions, source, 12), 12, what="the positions that the decoder read for 12 tokens", hint=hint)
    plain = student.run(read_positions, source, 12, use_cache=False)
    assert_equal(plain, 78, what="the positions read for 12 tokens without the cache, 1 + 2 + ... + 12")


@exercise("translate")
def test_no_beam_and_negative_lengths_are_refused(student):
    source = torch.tensor([[3, 4]])
    write = called("translate", lambda max_new_tokens, **options: student.run(run_translate, source, max_new_tokens, **options))
    assert_refused(write, max_new_tokens=5, beam_size=0, why="there is no beam of 0")
    assert_refused(write, max_new_tokens=-1, why="max_new_tokens is negative")
    assert_equal(student.run(run_translate, source, 0)[0], [[]], what="the translations of 0 tokens")


# bleu


@exercise("bleu")
def test_bleu_by_hand(student):
    """Of "a b c d x" beside "a b c d e": 4 of 5 tokens, 3 of 4 pairs, 2 of 3 triples, 1 of 2 runs of four."""
    actual = student.bleu(["a b c d x"], [["a b c d e"]])
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert_close(actual, expected, what="the score", hint="the geometric mean of the four precisions, in percent")
    actual = student.bleu(["a b c d"], [["a b c d e f"]])
    assert_close(actual, 100 * math.exp(1 - 6 / 4), what="the score of a text that is too short", hint="exp(1 - r / c)")
    assert_close(student.bleu(["a b c d e f"], [["a b c d e f"]]), 100.0, what="the score of the reference itself")


@exercise("bleu")
def test_matches_are_clipped_and_counted_over_the_corpus(student):
    actual = student.bleu(["a a a a"], [["a b"]], 1)
    assert_close(actual, 25.0, what="the score of 'a a a a' beside 'a b', single tokens", hint="'a' matches once")
    actual = student.bleu(["a a a"], [["a b c", "x a a"]], 1)
    what, hint = "the score of 'a a a' beside 'a b c' and 'x a a', single tokens", "as often as the one that has it most often"
    assert_close(actual, 100 * 2 / 3, what=what, hint=hint)
    actual = student.bleu(["a b c d", "x y"], [["a b c d"], ["z w"]], 2)
    expected = 100 * math.sqrt(4 / 6 * 3 / 4)
    assert_close(actual, expected, what="the score of two texts, pairs at most", hint="add up first, then divide")


@exercise("bleu")
def test_the_closest_length_and_the_smoothing(student):
    actual = student.bleu(["a b c d"], [["a b c d e", "a b c"]], 1)
    assert_close(actual, 100.0, what="the score with references of 5 and 3 tokens", hint="of two as close, the shorter")
    actual = student.bleu(["a b x c d"], [["a b y c d"]])
    expected = 100 * (4 / 5 * 2 / 4 * 1 / (2 * 3) * 1 / (4 * 2)) ** 0.25
    assert_close(
        actual, expected, what="the score without a match of three or four", hint="1 / (2 * total), then 1 / (4 * total)"
    )
    for hypothesis in ("x y z w", "a b c", ""):
        assert_close(student.bleu([hypothesis], [["a b c d"]]), 0.0, what=f"the score of {hypothesis!r} beside 'a b c d'")


@exercise("bleu")
def test_strings_for_lists_are_refused(student):
    assert_refused(student.bleu, ["a b"], ["a b"], why="references[0] is a string and not a list of strings")
    assert_refused(student.bleu, ["a b", "c"], [["a b"]], why="there are two hypotheses and one list of references")
