"""Public tests for positional encoding: run `pytest exercises/02_positional_encoding`, one exercise with `-k alibi`."""

import math

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import gradients
from autograder.testing.strategies import given, normal, seeds, settings, sizes, st

COS1, SIN1 = math.cos(1.0), math.sin(1.0)
COS_SLOW, SIN_SLOW = math.cos(0.01), math.sin(0.01)  # the second clock of width 4 turns 1/100 as fast
ANGLES = {"rtol": 0.0, "atol": 5e-5}


def sinusoids(max_len, d_model):
    """A float32 table to try the other exercises on, one value at a time."""
    angle = [[p / 10000.0 ** ((c - c % 2) / d_model) for c in range(d_model)] for p in range(max_len)]
    return torch.tensor([[math.cos(a) if c % 2 else math.sin(a) for c, a in enumerate(row)] for row in angle])


@exercise("sinusoidal_encoding")
def test_sinusoidal_encoding_of_width_4_by_hand(student):
    """Two positions read off two clocks, one turning by 1 radian and one by 1/100 radian a position."""
    assert_close(
        student.sinusoidal_encoding(2, 4),
        torch.tensor([[0.0, 1.0, 0.0, 1.0], [SIN1, COS1, SIN_SLOW, COS_SLOW]]),
        what="sinusoidal_encoding(2, 4)",
        hint="channels are sin, cos of the first clock, then sin, cos of the second; position 0 comes first",
        **ANGLES,
    )


@exercise("sinusoidal_encoding")
@given(max_len=sizes(0, 50), d_model=sizes(1, 9))
@settings(max_examples=15)
def test_sinusoidal_encoding_at_any_width(student, max_len, d_model):
    """Even and odd widths, and tables of no or one position."""
    expected = sinusoids(max_len, d_model).reshape(max_len, d_model)
    hint = "an odd width ends in a sine; the exponent is 2i / d_model with d_model as given"
    assert_close(student.sinusoidal_encoding(max_len, d_model), expected, what="the table", hint=hint, **ANGLES)


@exercise("sinusoidal_encoding")
def test_sinusoidal_encoding_refuses_impossible_sizes(student):
    """No table has fewer than 0 rows or fewer than 1 channel."""
    assert_refused(student.sinusoidal_encoding, -3, 4, why="max_len is negative")
    assert_refused(student.sinusoidal_encoding, 3, 0, why="d_model is less than 1")


@exercise("add_positions")
def test_add_positions_by_hand(student):
    """Two tokens that start at position 1 get rows 1 and 2."""
    table = torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    x = torch.zeros(1, 2, 2)
    expected = torch.tensor([[[10.0, 20.0], [100.0, 200.0]]])
    assert_close(student.add_positions(x, table, 1), expected, what="zeros plus the rows from 1 on")
    assert_inputs_untouched(student)
    assert_close(student.add_positions(x, table), table[None, :2], what="zeros plus the rows from 0 on")


@exercise("add_positions")
def test_add_positions_keeps_the_dtype_of_x(student):
    """A half-precision x and a float32 table give a half-precision sum."""
    x = torch.ones(3, 2, dtype=torch.bfloat16)
    actual = student.add_positions(x, torch.ones(5, 2))
    assert_equal(actual, 2 * x, what="ones plus ones", hint="cast the rows to x.dtype")


@exercise("add_positions")
def test_add_positions_refuses_what_is_not_in_the_table(student):
    """A slice would silently return fewer rows, or rows from the end."""
    x, table = torch.zeros(3, 2), torch.zeros(4, 2)
    assert_refused(student.add_positions, x, table, 2, why="position 4 is past a table of 4 rows")
    assert_refused(student.add_positions, x, table, -1, why="there is no position -1")
    assert_refused(student.add_positions, torch.zeros(5, 2), table, why="5 tokens do not fit 4 rows")


def added_by_layer(module, weight, x, offset):
    layer = module.LearnedPositionalEmbedding(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer(x, offset)


def names_of_parameters(module):
    return {name: list(p.shape) for name, p in module.LearnedPositionalEmbedding(6, 4).named_parameters()}


@exercise("LearnedPositionalEmbedding")
def test_learned_embedding_has_one_parameter_called_weight(student):
    """named_parameters() finds weight, of shape (max_len, d_model), and nothing else."""
    hint = "self.weight = nn.Parameter(...)"
    assert_equal(student.run(names_of_parameters), {"weight": [6, 4]}, what="the layer's parameters", hint=hint)


@exercise("LearnedPositionalEmbedding")
def test_learned_embedding_adds_its_rows(student):
    """The layer returns x plus the rows of the positions that x stands at."""
    weight, x = normal(0, 5, 3, dtype=torch.float32), normal(1, 2, 2, 3, dtype=torch.float32)

    def layer(x, offset):
        return student.run(added_by_layer, weight, x, offset)

    assert_close(layer(x, 3), x + weight[3:], what="layer(x, offset=3)")
    assert_refused(layer, x, 4, why="2 tokens from position 4 on need 6 rows, not 5")


@exercise("shift_matrix")
def test_shift_matrix_of_one_step_by_hand(student):
    """Width 2 has one clock, and one step turns it by 1 radian."""
    expected = torch.tensor([[COS1, SIN1], [-SIN1, COS1]])
    assert_close(student.shift_matrix(1, 2), expected, what="shift_matrix(1, 2)", **ANGLES)


@exercise("shift_matrix")
@given(offset=st.integers(-20, 20), d_model=sizes(1, 6).map(lambda pairs: 2 * pairs))
@settings(max_examples=12)
def test_shift_matrix_moves_every_row(student, offset, d_model):
    """M @ table[p] is table[p + offset] for every p."""
    table, rows = sinusoids(60, d_model), torch.arange(20, 40)
    moved = table[rows] @ student.shift_matrix(offset, d_model).mT
    assert_close(moved, table[rows + offset], what=f"table[20:40] moved by {offset}", rtol=0.0, atol=1e-4)


@exercise("shift_matrix")
def test_shift_matrix_refuses_odd_widths(student):
    """The last sine has no cosine."""
    assert_refused(student.shift_matrix, 1, 5, why="d_model is odd")


@exercise("channel_frequencies")
def test_channel_frequencies_of_tones(student):
    """Tones of 3, 8 and 20 cycles in 64 positions."""
    positions = torch.arange(64)[:, None]
    table = torch.cos(2 * math.pi * torch.tensor([3.0, 8.0, 20.0]) / 64 * positions + 0.5)
    expected = torch.tensor([3.0, 8.0, 20.0]) / 64
    hint = "coefficient k of the transform stands for k cycles in max_len positions"
    assert_close(student.channel_frequencies(table), expected, rtol=0.0, atol=1 / 64, what="the frequencies", hint=hint)


@exercise("channel_frequencies")
def test_channel_frequencies_of_the_sinusoidal_table(student):
    """The measured frequencies agree with the formula, base^(-2i / d_model) / (2 pi), within one bin of 1 / max_len."""
    expected = torch.tensor([10000.0 ** (-(c - c % 2) / 8) / (2 * math.pi) for c in range(8)])
    actual = student.channel_frequencies(sinusoids(101, 8))
    assert_close(actual, expected, rtol=0.0, atol=1 / 101, what="the frequencies", hint="cycles, not radians")


@exercise("nearest_position")
@given(p=st.integers(0, 99), seed=seeds())
@settings(max_examples=10)
def test_nearest_position_reads_a_noisy_row(student, p, seed):
    """A row with noise added still leads back to its position."""
    table = sinusoids(100, 32)
    actual = student.nearest_position(table[p] + normal(seed, 32, dtype=torch.float32, scale=0.1), table)
    hint = "the smallest distance over all channels, as an int"
    assert_equal(actual, p, what="the position of a noisy row", hint=hint)


@exercise("nearest_position")
def test_nearest_position_is_not_fooled_by_long_rows(student):
    """The nearest row is not the one with the largest dot product."""
    table = torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    assert_equal(student.nearest_position(torch.tensor([1.0, 0.0]), table), 0, what="the position of the first row")


def signature(module, table, n_bits, seed):
    return module.position_signature(table, n_bits, torch.Generator().manual_seed(seed))


@exercise("position_signature")
@given(seed=seeds())
@settings(max_examples=3)
def test_position_signature_measures_angles(student, seed):
    """Rows at 0, 45, 90 and 180 degrees from the first differ from it in about 0, 1/4, 1/2 and all of the bits."""
    table = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0], [0.0, 3.0], [-1.0, 0.0]])
    bits = student.run(signature, table, 2000, seed)
    assert_equal([list(bits.shape), bits.dtype], [[5, 2000], torch.bool], what="[shape, dtype]")
    differing = (bits != bits[0]).double().mean(dim=1)
    expected = torch.tensor([0.0, 0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    hint = "the same random planes for all rows, through the origin"
    assert_close(differing, expected, rtol=0.0, atol=0.05, what="the share of differing bits", hint=hint)


@exercise("position_signature")
def test_position_signature_is_decided_by_the_generator(student):
    """The same generator state gives the same bits, another gives others."""
    table = sinusoids(9, 8)
    first, again, other = (student.run(signature, table, 64, seed) for seed in (1, 1, 2))
    assert_equal(again, first, what="the bits of the same seed", hint="pass generator=generator to torch.randn")
    assert not torch.equal(other, first), "two seeds gave the same bits: draw the planes from the generator"


@exercise("apply_rope")
def test_apply_rope_by_hand(student):
    """At position 1 the first pair turns by 1 radian, the second (of width 4) by 1/100; position 0 changes nothing."""
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
    assert_close(
        student.apply_rope(x, torch.tensor([0, 1])),
        torch.tensor([[1.0, 0.0, 0.0, 1.0], [COS1, SIN1, -SIN_SLOW, COS_SLOW]]),
        what="apply_rope(x, [0, 1])",
        hint="pairs are neighbouring channels, (x0, x1) and (x2, x3)",
        **ANGLES,
    )
    assert_inputs_untouched(student)


@exercise("apply_rope")
@given(m=sizes(0, 40), n=sizes(0, 40), shift=sizes(1, 40), seed=seeds())
@settings(max_examples=15)
def test_apply_rope_makes_scores_depend_on_the_distance_alone(student, m, n, shift, seed):
    """Moving query and key together does not change their dot product, and turning does not change a length."""
    q, k = normal(seed, 1, 6).repeat(2, 1), normal(seed + 1, 1, 6).repeat(2, 1)
    turned_q = student.apply_rope(q, torch.tensor([m, m + shift]))
    turned_k = student.apply_rope(k, torch.tensor([n, n + shift]))
    near, far = (turned_q * turned_k).sum(dim=1)
    assert_close(far, near, what=f"the score of positions {m + shift} and {n + shift}", rtol=0.0, atol=2e-4)
    assert_close(turned_q.norm(dim=1), q.norm(dim=1), what="the length of a turned vector", rtol=0.0, atol=2e-4)


@exercise("apply_rope")
def test_apply_rope_on_heads_batches_and_short_dtypes(student):
    """Leading dimensions are free, positions may differ from text to text, and bfloat16 stays bfloat16."""
    x, positions = normal(3, 2, 3, 4, 6), torch.tensor([[[0, 1, 2, 3]], [[7, 8, 9, 10]]])
    actual = student.apply_rope(x, positions)
    for b in range(2):
        for h in range(3):
            alone = student.apply_rope(x[b, h], positions[b, 0])
            assert_close(actual[b, h], alone, what=f"text {b}, head {h}", hint="positions[..., None] * frequencies")
    short = student.apply_rope(x.bfloat16(), positions)
    assert_close(short, actual.bfloat16(), rtol=0.0, atol=0.1, what="x in bfloat16, turned")


@exercise("apply_rope")
def test_apply_rope_passes_gradients_and_refuses_odd_widths(student):
    """A rotation's gradient is as long as what came in."""
    x, positions = normal(4, 5, 6), torch.arange(5)
    gradient = student.run(gradients, "apply_rope", [x, positions], wrt=[0])["gradients"][0]
    assert gradient is not None, "no gradient reached x: rotate x itself, without detach, .data or NumPy"
    assert_close(gradient.norm(), normal(0, 5, 6).norm(), what="the length of the gradient", rtol=1e-4)
    assert_refused(student.apply_rope, torch.zeros(2, 3), torch.arange(2), why="3 channels do not pair up")


@exercise("alibi_bias")
def test_alibi_bias_by_hand(student):
    """Two heads have the slopes 1/16 and 1/256; keys after the query do not matter."""
    bias = student.alibi_bias(2, 3, 3)
    assert_equal([list(bias.shape), bias.dtype], [[2, 3, 3], torch.float32], what="[shape, dtype]")
    distance = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
    expected = -torch.tensor([1 / 16, 1 / 256])[:, None, None] * distance
    past = torch.ones(3, 3, dtype=torch.bool).tril()
    assert_close(torch.where(past, bias, 0.0), expected, what="the bias at keys up to the query")


@exercise("alibi_bias")
@given(n_heads=sizes(1, 12), t=sizes(1, 8))
@settings(max_examples=10)
def test_alibi_bias_of_the_last_query_alone(student, n_heads, t):
    """One query over t keys stands at the last of them."""
    slopes = torch.tensor([2.0 ** (-8 * i / n_heads) for i in range(1, n_heads + 1)])
    expected = -slopes[:, None, None] * torch.arange(t - 1, -1, -1)
    hint = "query i is at n_k - n_q + i"
    assert_close(student.alibi_bias(n_heads, 1, t), expected, what=f"alibi_bias({n_heads}, 1, {t})", hint=hint)


def picture(module, table):
    from matplotlib.figure import Figure

    figure = module.plot_encoding(table.requires_grad_())
    if not isinstance(figure, Figure):
        return type(figure).__name__
    axes = [a for a in figure.axes if a.images]
    return [[list(a.images[0].get_array().shape), bool(a.get_xlabel()), bool(a.get_ylabel())] for a in axes]


@exercise("plot_encoding")
def test_plot_encoding_draws_positions_by_channels(student):
    """One heat map with a row for each position, a column for each channel, and labels on both axes."""
    hint = "axes.imshow(table.detach()), axes.set_xlabel(...), axes.set_ylabel(...), return the Figure"
    actual = student.run(picture, sinusoids(7, 4))
    assert_equal(actual, [[[7, 4], True, True]], what="[shape, x label?, y label?] of each heat map", hint=hint)
