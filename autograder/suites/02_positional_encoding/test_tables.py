"""sinusoidal_encoding, add_positions, LearnedPositionalEmbedding and plot_encoding."""

import itertools

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.assertions import difference
from autograder.testing.probes import changed_around, gradients, requires_grad, strided
from autograder.testing.strategies import composite, example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import sinusoids

# float32 angles of up to a hundred radians, however they were computed
ANGLES = {"rtol": 0.0, "atol": 5e-5}
# sums of two numbers, rounded once or twice
ROOM = {torch.bfloat16: 4e-2, torch.float16: 8e-3, torch.float32: 2e-6, torch.float64: 1e-12}
BASES = st.sampled_from([2.5, 100.0, 517.25, 1e4, 2e5])


def alike(actual, expected):
    """Whether the table is the expected one, within the room for angles."""
    return not difference(actual, expected, "", ANGLES["rtol"], ANGLES["atol"], False)


@exercise("sinusoidal_encoding", points=6, core=True)
@given(max_len=sizes(1, 80), d_model=sizes(1, 20).map(lambda pairs: 2 * pairs))
@example(max_len=2, d_model=4)
@example(max_len=9, d_model=4100)
@settings(max_examples=20)
def test_each_pair_of_channels_is_the_sine_and_cosine_of_its_clock(student, max_len, d_model):
    """Channels 2i and 2i + 1 hold the sine and the cosine of p / 10000^(2i / d_model)."""
    assert_close(
        student.sinusoidal_encoding(max_len, d_model),
        sinusoids(range(max_len), d_model),
        what="the table",
        hint="the exponent is 2i / d_model for both channels of pair i, and sine and cosine alternate",
        dtype=False,
        **ANGLES,
    )


@exercise("sinusoidal_encoding", points=3)
@given(max_len=sizes(1, 60), d_model=sizes(0, 12).map(lambda pairs: 2 * pairs + 1))
@example(max_len=2, d_model=3)
@example(max_len=5, d_model=131)
@settings(max_examples=18)
def test_an_odd_width_ends_in_a_sine(student, max_len, d_model):
    """With an odd d_model the last sine has no cosine; the exponents still divide by d_model."""
    assert_close(
        student.sinusoidal_encoding(max_len, d_model),
        sinusoids(range(max_len), d_model),
        what=f"the table of width {d_model}",
        hint="there are (d_model + 1) // 2 sines and d_model // 2 cosines; the exponent is still 2i / d_model",
        dtype=False,
        **ANGLES,
    )


@exercise("sinusoidal_encoding", points=2)
@given(max_len=sizes(2, 40), d_model=sizes(3, 20), bases=st.tuples(BASES, BASES))
@settings(max_examples=10)
def test_the_base_sets_how_slow_the_clocks_become(student, max_len, d_model, bases):
    """The argument base takes the place of 10000, in every call anew."""
    first, second = bases
    by_name = student.sinusoidal_encoding(max_len=max_len, d_model=d_model, base=first)
    by_place = student.sinusoidal_encoding(max_len, d_model, second)
    for base, actual in ((first, by_name), (second, by_place)):
        expected = sinusoids(range(max_len), d_model, base)
        others = [x for x in (first, 1e4) if x != base and alike(actual, sinusoids(range(max_len), d_model, x))]
        hint = f"this is the table at base {others[0]}" if others else ""
        assert_close(actual, expected, what=f"the table at base {base}", hint=hint, dtype=False, **ANGLES)


@exercise("sinusoidal_encoding", points=2)
@given(d_model=sizes(2, 12), more=sizes(1, 500))
@example(d_model=4, more=31_000)
@settings(max_examples=5)
def test_long_tables_are_right_to_the_last_row(student, d_model, more):
    """Rows at positions of a thousand and more are right too."""
    table = student.sinusoidal_encoding(2100 + more, d_model)
    assert_equal(list(table.shape), [2100 + more, d_model], what="the shape of the table")
    rows, first = [1000, 1251, 2099 + more], alike(table[:3], sinusoids(range(3), d_model))
    assert_close(
        table[rows],
        sinusoids(rows, d_model),
        what=f"rows {rows} of {2100 + more}",
        hint="compute the angles in float32 at least, straight from the position, not by adding up small steps" * first,
        rtol=0.0,
        atol=2e-3,
        dtype=False,
    )


@exercise("sinusoidal_encoding", points=1)
def test_the_table_is_float32_and_may_be_empty(student):
    """The table is float32 of shape (max_len, d_model), max_len 0 and 1 among them, and does not ask for gradients."""
    for max_len, d_model in [(0, 4), (0, 3), (1, 1), (1, 2), (5, 7)]:
        table = student.sinusoidal_encoding(max_len, d_model)
        what = f"(shape, dtype) of sinusoidal_encoding({max_len}, {d_model})"
        assert_equal([list(table.shape), table.dtype], [[max_len, d_model], torch.float32], what=what)
    assert_equal(student.run(changed_around, "sinusoidal_encoding", [5, 4]), [], what="what the call changed")
    again = student.run(scenarios.again_after_overwriting, "sinusoidal_encoding", [5, 4])
    expected = sinusoids(range(5), 4).float()
    hint = "hand out a copy of what you keep" * alike(student.sinusoidal_encoding(5, 4), expected)
    assert_close(again, [expected, expected], what="the table, after an earlier one was overwritten", hint=hint)
    hint = "sinusoids are written down, not learned"
    learns = student.run(requires_grad, "sinusoidal_encoding", [5, 4])
    assert_equal(learns, False, what="whether the table requires gradients", hint=hint)


@exercise("sinusoidal_encoding", points=2)
def test_impossible_sizes_are_refused(student):
    """A negative max_len and a d_model below 1 are refused."""
    assert_refused(student.sinusoidal_encoding, -1, 4, why="no table has -1 rows")
    assert_refused(student.sinusoidal_encoding, 4, 0, why="a position needs at least one channel")
    assert_refused(student.sinusoidal_encoding, 4, -2, why="a position needs at least one channel")
    assert_refused(student.sinusoidal_encoding, 0, 0, why="a table without rows has at least one channel, too")
    assert_refused(student.sinusoidal_encoding, -3, -2, why="both sizes are impossible")


@composite
def added(draw):
    """(x, table, offset) with room to spare before and after the rows that are used."""
    t, d, offset, spare = draw(sizes(1, 7)), draw(sizes(1, 6)), draw(sizes(0, 5)), draw(sizes(0, 4))
    seed = draw(seeds())
    return normal(seed, *draw(leading_shapes()), t, d), normal(seed + 1, offset + t + spare, d), offset


@exercise("add_positions", points=3, core=True)
@given(case=added())
@example(case=(normal(1, 3, 3, 2), normal(2, 5, 2), 1))  # as many texts as tokens
@example(case=(normal(1, 1200, 2), normal(2, 6000, 2), 4700))
@example(case=(normal(1, 2, 2100), normal(2, 3, 2100), 0))
@settings(max_examples=20)
def test_token_j_gets_the_row_of_position_offset_plus_j(student, case):
    """Token j of every text in the batch gets row offset + j added."""
    x, table, offset = case
    if offset % 2:
        actual = student.add_positions(x, table, offset)
    else:
        actual = student.add_positions(x=x, table=table, **({"offset": offset} if offset else {}))
    expected = torch.stack([x[..., j, :] + table[offset + j] for j in range(x.shape[-2])], dim=-2)
    what = f"x plus the rows from {offset} on"
    assert_close(actual, expected, what=what, hint="positions run along the last but one dimension")
    actual = student.run(scenarios.after_change, "add_positions", [x - 1.0, table + 1.0, offset], list(case))
    hint = "tables change in training: keep no copy of their rows, and change neither x nor the table"
    what = "[sum, sum under no_grad, [x, table]] after x and the table have changed"
    assert_close(actual, [expected, expected, [x, table]], what=what, hint=hint)


@exercise("add_positions", points=2)
@given(seed=seeds())
@settings(max_examples=1)
def test_the_sum_has_the_dtype_of_x(student, seed):
    """x keeps its dtype whatever the table's is."""
    for x_dtype, table_dtype in itertools.product(ROOM, ROOM):
        x, table = normal(seed, 2, 3, 4, dtype=x_dtype), normal(seed + 1, 5, 4, dtype=table_dtype)
        expected = (x.double() + table[1:4].double()).to(x_dtype)
        recorded, unrecorded, after = student.run(scenarios.after_change, "add_positions", [x, table, 1], [x, table, 1])
        what = f"the sum of {x_dtype} x and a {table_dtype} table"
        hint = "cast the rows to x's dtype" * (getattr(recorded, "dtype", x_dtype) != x_dtype)
        assert_close(recorded, expected, rtol=0.0, atol=ROOM[x_dtype], what=what, hint=hint)
        assert_close(unrecorded, expected, rtol=0.0, atol=ROOM[x_dtype], what=f"{what} under no_grad", hint=hint)
        what, hint = f"[{x_dtype} x, a {table_dtype} table] after the sum", "x + rows is a new tensor, x += rows is x"
        assert_equal(after, [x, table], what=what, hint=hint)


@exercise("add_positions", points=2)
@given(max_len=sizes(1, 6), t=sizes(1, 6), past=sizes(1, 4), seed=seeds())
@settings(max_examples=10)
def test_positions_outside_the_table_are_refused(student, max_len, t, past, seed):
    """A negative offset is refused, and so is a text that runs past the last row."""
    table, too_far = normal(seed, max_len, 2), max(max_len - t + past, 0)
    for lead in [(), (1,), (2, 3)]:
        x = normal(seed, *lead, t, 2)
        why = f"there are {t} tokens, and the table has {max_len} rows"
        assert_refused(student.add_positions, x, table, too_far, why=why)
        for offset in {-past, -t, -max_len}:
            assert_refused(student.add_positions, x, table, offset, why="there is no position before 0")


@exercise("add_positions", points=1)
def test_a_text_may_reach_the_last_row_and_may_be_empty(student):
    """The last row is used when the text ends there; no tokens stay no tokens."""
    table = normal(3, 5, 2)
    zeros = torch.zeros(2, 5, 2, dtype=torch.float64)
    assert_close(student.add_positions(zeros[:, :3], table, 2), table[2:].expand(2, 3, 2), what="the last three rows")
    assert_close(student.add_positions(zeros, table), table.expand(2, 5, 2), what="the whole table")
    assert_close(student.add_positions(zeros[:, :0], table), zeros[:, :0], what="the sum for no tokens")
    what, hint = "the sum for no tokens, after the last row", "where there is no token, none stands past the end"
    assert_close(student.add_positions(zeros[:, :0], table, 5), zeros[:, :0], what=what, hint=hint)
    same = student.run(scenarios.hands_x_back, "add_positions", [zeros[:, :0], table])
    assert_equal(same, False, what="whether the sum for no tokens is x itself", hint="return a new tensor in every case")
    for lead in [(0,), (2, 0), (2, 1, 3), (1, 2, 1, 2)]:
        x = normal(4, *lead, 3, 2)
        assert_close(student.add_positions(x, table, 1), x + table[1:4], what=f"the sum for x {tuple(x.shape)}")


@exercise("add_positions", points=1)
@given(case=added())
@settings(max_examples=5)
def test_inputs_are_left_as_they_were(student, case):
    """Neither x nor the table is changed, and neither needs to be contiguous."""
    x, table, offset = case
    value = student.add_positions(x, table, offset)
    assert_inputs_untouched(student)
    assert_equal(student.run(changed_around, "add_positions", list(case)), [], what="what the call changed")
    assert_close(student.run(strided, "add_positions", [x, table, offset]), value, what="the sum of strided inputs")
    kept = student.run(scenarios.arguments_after_overwriting, "add_positions", [x, torch.zeros_like(table), offset])
    hint = "hand out a new tensor, also where all that is added is zero, and where no gradients are recorded"
    assert_equal(kept[0], x, what="x, after the sum was overwritten", hint=hint)
    kept = student.run(scenarios.arguments_after_overwriting, "add_positions", [torch.zeros_like(x), table, offset])
    hint = "hand out a new tensor, also where x is zero"
    assert_equal(kept[1], table, what="the table, after the sum was overwritten", hint=hint)
    learns = student.run(scenarios.asks_for_gradients, "add_positions", [x, table, offset])
    assert_equal(learns, False, what="whether the sum requires gradients, where neither x nor the table does")


@exercise("add_positions", points=1)
@given(case=added())
@example(case=(normal(1, 3, 2, 2), normal(2, 4, 2), 1))
@settings(max_examples=4)
def test_gradients_flow_to_the_tokens_and_to_the_table(student, reference, case):
    """Both x and the table rows that were used get their gradient, of whatever dtypes they are; unused rows get zero."""
    actual = student.run(gradients, "add_positions", list(case))["gradients"]
    expected = reference.run(gradients, "add_positions", list(case))["gradients"]
    assert_close(actual, expected, what="the gradients of [x, the table]")
    x, table, offset = case
    x = x[(slice(1),) * (x.dim() - 2)]  # one text: no sums to round
    for x_dtype, table_dtype in itertools.product(ROOM, [torch.float32, torch.float64]):
        mixed = [x.to(x_dtype), table.to(table_dtype), offset]
        actual = student.run(gradients, "add_positions", mixed)["gradients"]
        expected = reference.run(gradients, "add_positions", mixed)["gradients"]
        hint = "a cast passes gradients on, if nothing is detached on the way"
        what = f"[gradient of {x_dtype} x, gradient of the {table_dtype} table]"
        assert_close(actual, expected, what=what, hint=hint)
        of_x, of_table = (student.run(gradients, "add_positions", mixed, wrt=[i])["gradients"] for i in (0, 1))
        assert_close(of_x, expected[:1], what="[gradient of x] where the table needs none")
        assert_close(of_table, expected[1:], what="[gradient of the table] where x needs none")


@exercise("LearnedPositionalEmbedding", points=4, core=True)
@given(case=added())
@settings(max_examples=15)
def test_the_layer_adds_its_own_rows(student, case):
    """forward(x, offset) is x plus the rows of `weight` from offset on."""
    x, table, offset = (value.float() if isinstance(value, torch.Tensor) else value for value in case)
    expected = x + table[offset : offset + x.shape[-2]]
    actual = student.run(scenarios.embed, table, x, offset)
    assert_close(actual, expected, what=f"layer(x, offset={offset})", hint="return the sum, not the rows alone")
    actual = student.run(scenarios.embed_again, table + 1.0, table, x, offset)
    hint = "the weights change in training: keep no copy of them, do the same in both modes, and leave x alone"
    what = "[training, training under no_grad, evaluation, evaluation under no_grad, x] after the weights have changed"
    assert_close(actual, [*[expected] * 4, x], what=what, hint=hint)


@exercise("LearnedPositionalEmbedding", points=1)
def test_the_one_parameter_is_called_weight(student):
    """The layer has one trainable float32 parameter, weight, of shape (max_len, d_model)."""
    for max_len, d_model in [(6, 4), (3, 5), (1, 1), (2100, 2), (2, 2100)]:
        assert_equal(
            student.run(scenarios.embedding_parameters, max_len, d_model),
            {"weight": [[max_len, d_model], torch.float32, True]},
            what="{name: [shape, dtype, requires_grad]}",
            hint="assign an nn.Parameter to self.weight, and to no other attribute; a plain tensor is not trained",
        )


@exercise("LearnedPositionalEmbedding", points=1)
@given(seed=seeds())
@settings(max_examples=3)
def test_each_layer_has_weights_of_its_own(student, seed):
    """Two layers, a layer and its copy, a saved layer and the one that loads it: each adds its own weight."""
    weights = [normal(seed + i, 16, 3, dtype=torch.float32) for i in range(3)]
    x = normal(seed, 2, 4, 3, dtype=torch.float32)
    sums = [x + weight[1:5] for weight in weights]
    for scenario, expected, hint in [
        (scenarios.embed_two_layers, sums[:2], "every layer makes a parameter of its own in __init__"),
        (scenarios.embed_copied_layer, sums[:2], "forward reads self.weight: what it keeps elsewhere is not copied along"),
        (scenarios.embed_after_an_offset, [x + weights[0][:4]] * 2, "an offset counts for its own call, and the default is 0"),
        (scenarios.embed_restored_layer, [sums[0], sums[0]], "what state_dict saves, load_state_dict brings back"),
        (scenarios.embed_replaced_weight, sums[1:2], "forward reads self.weight anew in each call"),
    ]:
        what = f"the sums of {scenario.__name__.removeprefix('embed_')}"
        assert_close(student.run(scenario, weights, x), expected, what=what, hint=hint)


@exercise("LearnedPositionalEmbedding", points=1)
@given(case=added())
@settings(max_examples=4)
def test_only_the_rows_in_use_learn(student, case):
    """A row's gradient is the sum over the batch of what its token received; other rows get zero."""
    x, table, offset = (value.float() if isinstance(value, torch.Tensor) else value for value in case)
    cotangent = normal(x.numel(), *x.shape, dtype=torch.float32)
    weight_gradient = torch.zeros_like(table)
    weight_gradient[offset : offset + x.shape[-2]] = cotangent.reshape(-1, *x.shape[-2:]).sum(0)
    try:
        actual = student.run(scenarios.embedding_gradients, table, x, offset, cotangent, training=False)
    except Exception:
        student.run(scenarios.embedding_gradients, table, x, offset, cotangent, training=True)  # is it the mode?
        raise
    what = "[gradient of weight, gradient of x, gradient of weight where x needs none] in evaluation mode"
    assert_close(actual, [weight_gradient, cotangent, weight_gradient], what=what)
    whole = [value[(slice(1),) * (x.dim() - 2)] for value in (x, cotangent)]  # one text: no sums to round
    for dtype, training in itertools.product(ROOM, (True, False)):
        x, cotangent = (value.to(dtype) for value in whole)
        weight_gradient[offset : offset + x.shape[-2]] = cotangent.float()
        actual = student.run(scenarios.embedding_gradients, table, x, offset, cotangent, training=training)
        mode = "training" if training else "evaluation"
        what = f"[gradient of weight, gradient of {dtype} x, gradient of weight where x needs none] in {mode} mode"
        hint = "gradients flow in any precision of x, and in both modes: eval() is not no_grad()"
        assert_close(actual, [weight_gradient, cotangent, weight_gradient], what=what, hint=hint)


@exercise("LearnedPositionalEmbedding", points=1)
def test_the_layer_refuses_positions_that_it_has_no_row_for(student):
    """Negative offsets and positions past the last row are refused."""
    weight = normal(0, 4, 2, dtype=torch.float32)
    for training, lead in [(True, ()), (True, (2,)), (False, ()), (False, (2,))]:

        def layer(x, offset=0, training=training):
            return student.run(scenarios.embed, weight, x, offset, training=training)

        x = torch.zeros(*lead, 3, 2)
        for offset in (-1, -3, -4, 2, 3, 9):
            why = f"there are no positions {offset} to {offset + 2} in 4 rows, in {'training' if training else 'evaluation'} mode"
            assert_refused(layer, x, offset, why=why)
        assert_refused(layer, torch.zeros(*lead, 5, 2), why="there are 5 tokens and 4 rows")
        assert_close(layer(x, 1), weight[1:].expand_as(x), what="the last rows, which do exist")
        assert_close(layer(x[..., :0, :]), x[..., :0, :], what="the sum for no tokens")


@exercise("LearnedPositionalEmbedding", points=1)
@given(seed=seeds())
@settings(max_examples=2)
def test_the_layer_keeps_the_dtype_of_x(student, seed):
    """The sum has the dtype of x, whatever the layer's own dtype is, and x itself is not changed."""
    weight = normal(seed, 5, 4)
    for dtype, room in ROOM.items():
        x = normal(seed + 1, 2, 3, 4, dtype=dtype)
        for own in ROOM:
            expected = (x.double() + weight[:3].to(own).double()).to(dtype)
            actual = student.run(scenarios.embed, weight, x, dtype=own)
            assert_close(actual, expected, rtol=0.0, atol=room, what=f"the sum of {dtype} x in a layer of {own}")
        expected = (x.double() + weight[:3].float().double()).to(dtype)
        sums = student.run(scenarios.embed_again, weight + 1.0, weight, x, 0)[:4]
        modes = "[training, training under no_grad, evaluation, evaluation under no_grad]"
        what = f"layer(x) for {dtype} x in {modes}, after the weights have changed"
        assert_close(sums, [expected] * 4, rtol=0.0, atol=room, what=what)
        made, used, after = student.run(scenarios.embedding_leaves, weight, x)
        assert_equal(after, x, what="x after the call")
        assert_equal([made, used], [[], []], what="what making a layer changed, and what its use changed")


@exercise("LearnedPositionalEmbedding", points=1)
def test_a_new_layer_holds_numbers(student):
    """The start values are finite: memory from torch.empty has to be filled."""
    weight = student.run(scenarios.embedding_start, 50, 7)
    assert_equal(bool(torch.isfinite(weight).all()), True, what="whether every start value is finite")
    hint = "whoever makes the layer decides the seed"
    assert_equal(student.run(scenarios.embedding_sets_a_seed, 5, 3), False, what="whether a seed is set", hint=hint)


def assert_figure(picture):
    kind = picture["type"]
    assert kind == "Figure", f"plot_encoding should return a matplotlib Figure, but it returned: {kind}"


def shown(picture, table):
    """The index of the image that shows the table."""
    assert_figure(picture)
    matching = [i for i, image in enumerate(picture["images"]) if image.shape == table.shape]
    shapes = [tuple(image.shape) for image in picture["images"]]
    turned = [image.mT for image in picture["images"] if image.mT.shape == table.shape]
    transposed = any(torch.allclose(image, table.double()) for image in turned)
    hint = "\n  hint: the picture is transposed: rows are positions, columns are channels" * transposed
    said = f"no image of {tuple(table.shape)} (positions, channels): imshow was given {shapes or 'nothing'}"
    assert matching, said + hint
    alike = [i for i in matching if torch.allclose(picture["images"][i], table.double(), rtol=1e-6, atol=1e-6)]
    which = (alike or matching)[0]
    assert_close(picture["images"][which], table.double(), rtol=1e-6, atol=1e-6, what="the numbers in the image")
    return which


@exercise("plot_encoding", points=2, core=True)
@given(max_len=sizes(2, 9), d_model=sizes(2, 9), seed=seeds())
@settings(max_examples=2)
def test_the_heat_map_shows_position_by_channel(student, max_len, d_model, seed):
    """The image has a row for each position and a column for each channel, with the table's own numbers."""
    for longer, wider in [(0, 0), (300, 300), (2100, 0), (0, 2100)]:  # a picture shows large tables whole
        table = normal(seed, longer + max_len + d_model, wider + d_model, dtype=torch.float32, scale=3.0)
        shown(student.run(scenarios.picture, table), table)


def named(label):
    """What a label names: {"position"}, {"channel"}, both, or something else altogether."""
    words = {word.strip("()[],.:").removesuffix("s") for word in label.lower().split()}
    synonyms = {"position": {"position"}, "channel": {"channel", "dimension", "dim", "feature"}}
    return {name for name, known in synonyms.items() if words & known}


@exercise("plot_encoding", points=1)
def test_both_axes_carry_a_label(student):
    """A reader can tell positions from channels, and each table has a figure to itself."""
    table = normal(1, 6, 4, dtype=torch.float32)
    picture = student.run(scenarios.picture, table, another=torch.zeros(6, 4))
    assert_figure(picture)
    zeros = [i for i, image in enumerate(picture["images"]) if image.shape == table.shape and not image.any()]
    assert not picture["handed out again"], "the same figure was returned twice for one table: make a new one in each call"
    assert not zeros, "the figure of one table also shows the table that was drawn after it: make a new figure in each call"
    which = shown(picture, table)
    labels = picture["labels"][which]
    assert all(label.strip() for label in labels), f"an axis has no label: x is {labels[0]!r}, y is {labels[1]!r}"
    along_x, along_y = (named(label) for label in labels)
    swapped = (along_x, along_y) == ({"position"}, {"channel"})
    assert not swapped, f"the labels are swapped: imshow draws columns along x, but x is {labels[0]!r} and y is {labels[1]!r}"


@exercise("plot_encoding", points=1)
def test_a_learned_table_can_be_drawn(student):
    """A table that requires gradients is drawn as well, in other precisions too."""
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        table = normal(2, 7, 3, dtype=dtype)
        picture = student.run(scenarios.picture, table, as_parameter=True)
        shown(picture, table)
        assert_equal(picture["table"], [table, True], what="[the table, whether it is trained] after it was drawn")
        assert_equal(picture["changed"], [], what="what drawing the table changed")
        hint = "return the figure, and leave it to the caller what becomes of it"
        assert_equal(picture["shown or saved"], [], what="what was done with the picture", hint=hint)
    for table in [normal(3, 1, 4, dtype=torch.float32), torch.zeros(4, 1)]:
        shown(student.run(scenarios.picture, table), table)
