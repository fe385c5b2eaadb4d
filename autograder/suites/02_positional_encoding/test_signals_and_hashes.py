"""shift_matrix, channel_frequencies, nearest_position and position_signature."""

import math

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import changed_around, requires_grad, strided
from autograder.testing.strategies import example, float_dtypes, given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import angle_fractions, apart, clocks, hamming, rows_of_many_lengths, sinusoids, tones

EVEN = sizes(1, 16).map(lambda pairs: 2 * pairs)
# float32 entries, angles of up to a hundred radians, sums of two terms
SHIFTS = {"rtol": 0.0, "atol": 1e-4}


def assert_shifts(matrix, offset, d_model, base=10000.0, first=0, room=SHIFTS):
    """The matrix takes each of forty rows to the row `offset` positions on."""
    positions = range(first, first + 40)
    assert_close(
        sinusoids(positions, d_model, base) @ matrix.double().mT,
        sinusoids([p + offset for p in positions], d_model, base),
        what=f"M @ table[p] for p from {first}, offset {offset}",
        hint="M acts on columns: its 2 x 2 block for clock w is [[cos, sin], [-sin, cos]] of w times the offset",
        **room,
    )


@exercise("shift_matrix", points=5, core=True)
@given(offset=st.integers(-60, 60), d_model=EVEN)
@example(offset=1, d_model=4)
@example(offset=7, d_model=514)
@settings(max_examples=18)
def test_one_matrix_moves_every_position(student, offset, d_model):
    """M @ table[p] is table[p + offset] at every p, for offsets of both signs."""
    matrix = student.shift_matrix(offset, d_model)
    assert_equal(list(matrix.shape), [d_model, d_model], what="the shape of M")
    assert_shifts(matrix, offset, d_model)
    assert_shifts(matrix, offset, d_model, first=200)


@exercise("shift_matrix", points=2)
@given(offset=st.integers(-30, 30), d_model=EVEN, bases=st.permutations([5.0, 77.5, 5e5]))
@settings(max_examples=6)
def test_the_shift_follows_the_base(student, offset, d_model, bases):
    """A table with another base needs the matrix of that base."""
    for base in bases[:2]:
        assert_shifts(student.shift_matrix(offset=offset, d_model=d_model, base=base), offset, d_model, base)
    assert_shifts(student.shift_matrix(offset, d_model, bases[2]), offset, d_model, bases[2])


@exercise("shift_matrix", points=2)
@given(a=st.integers(-40, 40), b=st.integers(-40, 40), d_model=EVEN)
@settings(max_examples=8)
def test_shifts_add_up_and_undo_each_other(student, a, b, d_model):
    """M(a) M(b) is M(a + b), M(0) is the identity, and M(-a) undoes M(a)."""
    m_a, m_b, m_ab, m_0, m_back = (student.shift_matrix(k, d_model).double() for k in (a, b, a + b, 0, -a))
    identity = torch.eye(d_model, dtype=torch.float64)
    assert_close(m_0, identity, what="M(0)", **SHIFTS)
    assert_close(m_a @ m_b, m_ab, what=f"M({a}) M({b})", **SHIFTS)
    assert_close(m_back @ m_a, identity, what=f"M({-a}) M({a})", **SHIFTS)


@exercise("shift_matrix", points=1)
def test_the_matrix_is_float32_as_the_table_is(student):
    """M multiplies a float32 table as it is, however far it moves it, and does not ask for gradients."""
    for offset in (0, -2, 20_011, -3001):
        matrix = student.shift_matrix(offset, 6)
        assert_equal(matrix.dtype, torch.float32, what=f"the dtype of M({offset})")
        assert_shifts(matrix, offset, 6, room={"rtol": 0.0, "atol": 2e-3})  # float32 angles of thousands of radians
    hint = "M is written down, not learned"
    assert_equal(student.run(requires_grad, "shift_matrix", [3, 6]), False, what="whether M requires gradients", hint=hint)
    for offset, d_model in ((3, 2), (0, 6), (1, 4)):
        matrix = student.shift_matrix(offset, d_model)
        table = sinusoids(range(9), d_model).float()
        assert_close(table[: 9 - offset] @ matrix.mT, table[offset:], what=f"table[: 9 - {offset}] @ M.T", **SHIFTS)
        again = student.run(scenarios.again_after_overwriting, "shift_matrix", [offset, d_model])
        hint = "hand out a copy of what you keep"
        assert_equal(again, [matrix, matrix], what="M, after an earlier one was overwritten", hint=hint)
        changed = student.run(changed_around, "shift_matrix", [offset, d_model])
        assert_equal(changed, [], what="what the call changed")
    one_step = {"rtol": 0.0, "atol": 3e-6}  # float32 angles of a radian and less
    assert_shifts(student.shift_matrix(1, 24), 1, 24, room=one_step)


@exercise("shift_matrix", points=2)
def test_an_odd_width_is_refused(student):
    """The last sine of an odd width has no cosine to turn with, so no M exists, whatever the offset."""
    for offset, d_model in [(2, 1), (2, 3), (-1, 7), (0, 5), (3, 131)]:
        assert_refused(student.shift_matrix, offset, d_model, why="no such matrix exists for an odd d_model")


SPECTRUM = "cycles per position: the index of the largest |coefficient| along the positions, divided by max_len"


def assert_within_one_bin(actual, frequencies, n, bins=1.001, hint=SPECTRUM):
    """Each frequency is at most one bin, 1/n, away."""
    assert_close(
        actual,
        frequencies,
        what=f"the frequencies of {n} positions",
        hint=hint,
        rtol=0.0,
        atol=bins / n,
        dtype=False,
    )


@exercise("channel_frequencies", points=3, core=True)
@given(n=sizes(48, 130), d_model=sizes(2, 24), base=st.sampled_from([100.0, 1000.0, 1e4]))
@example(n=60, d_model=4, base=100.0)
@example(n=1100, d_model=12, base=1e4)
@settings(max_examples=15)
def test_the_spectrum_agrees_with_the_closed_form(student, n, d_model, base):
    """Channels 2i and 2i + 1 of a sinusoidal table turn base^(-2i / d_model) / (2 pi) times a position."""
    frequencies = (clocks(d_model, base) / (2 * torch.pi)).repeat_interleave(2)[:d_model]
    actual = student.channel_frequencies(table=sinusoids(range(n), d_model, base).float())
    assert_within_one_bin(actual, frequencies, n)
    if n > 1000:
        at = torch.arange(4 * n)[:, None]  # a tone that lasts a quarter of the time, and then another
        late = torch.where(at < n, torch.cos(0.3 * at), torch.cos(0.87 * at))
        assert_within_one_bin(student.channel_frequencies(late), torch.tensor([0.87 / (2 * math.pi)]), 4 * n)


@exercise("channel_frequencies", points=2)
@given(n=sizes(24, 101), channels=sizes(1, 6), seed=seeds())
@example(n=24, channels=2, seed=0)
@example(n=24, channels=300, seed=1)  # wider than long
@example(n=25, channels=24, seed=2)  # square
@settings(max_examples=15)
def test_pure_tones_of_any_phase_and_size_are_named(student, n, channels, seed):
    """A cosine of any frequency up to one half, any phase and any size is recognised."""
    table, frequencies = tones(seed, n, channels)
    fastest = torch.tensor([n // 2 / n], dtype=torch.float64)  # that n positions can tell: at even n up, down, up, down
    table = torch.cat([table, torch.cos(2 * math.pi * fastest * torch.arange(n)[:, None]).float()], dim=1)
    frequencies = torch.cat([frequencies, fastest])
    actual = student.channel_frequencies(table)
    assert_within_one_bin(actual, frequencies, n)
    hint = "coefficient k stands for k cycles in max_len positions"
    assert_equal(bool((actual <= 0.5).all()), True, what="whether no tone is faster than half a cycle a position", hint=hint)


@exercise("channel_frequencies", points=1)
@given(low=sizes(7, 11), high=sizes(20, 26), size=st.sampled_from([1e-7, 1.0, 1e7]))
@example(low=9, high=23, size=1.0)
@example(low=10, high=25, size=1e7)
@settings(max_examples=2)
def test_the_largest_part_of_a_mixture_is_named(student, low, high, size):
    """Of several tones in one column the one with the largest coefficient counts, whatever its phase and the column's size."""
    n = 128  # a power of two: whoever appends zeros up to one appends none
    turns = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    sides = [(low, high), (high, low)]
    mixtures = [
        (a * turns + phase).cos() + 0.95 * (b * turns + math.pi / 4).cos()
        for a, b in sides
        for phase in (0.0, math.pi / 2, math.pi)
    ]
    mixtures += [torch.where(torch.arange(n) < 50, (b * turns).sin(), (a * turns).sin()) for a, b in sides]
    frequencies = torch.tensor([low] * 3 + [high] * 3 + [low, high], dtype=torch.float64) / n
    actual = student.channel_frequencies((size * torch.stack(mixtures, dim=1)).float())
    assert_within_one_bin(actual, frequencies, n)
    for n, k in [(2, 1), (3, 1), (4, 1), (4, 2), (5, 2), (8, 3)] if size == 1.0 else []:
        column = (2 * math.pi * k / n * torch.arange(n)[:, None]).cos()
        assert_within_one_bin(student.channel_frequencies(column), torch.tensor([k / n]), n)
    for n, k in [(33, 14), (65, 29), (129, 58)] if size == 1.0 else []:
        column = (2 * math.pi * k / n * torch.arange(n)[:, None]).cos()
        # a finer grid, from zeros appended, has a point within 0.3 bins
        assert_within_one_bin(student.channel_frequencies(column), torch.tensor([k / n], dtype=torch.float64), n, bins=0.4)


@exercise("channel_frequencies", points=1)
@given(dtype=float_dtypes(), n=sizes(24, 60), channels=sizes(1, 5), seed=seeds())
@settings(max_examples=6)
def test_frequencies_have_the_dtype_of_the_table(student, dtype, n, channels, seed):
    """One frequency for each channel, in the table's dtype, none of them negative."""
    table, frequencies = tones(seed, n, channels, dtype)
    actual = student.channel_frequencies(table)
    assert_inputs_untouched(student)
    assert_equal([list(actual.shape), actual.dtype], [[channels], dtype], what="(shape, dtype) of the frequencies")
    assert_equal(bool((actual >= 0).all()), True, what="whether every frequency is at least 0")
    assert_within_one_bin(actual, frequencies, n)


@exercise("channel_frequencies", points=1)
@given(n=sizes(24, 60), channels=sizes(1, 5), seed=seeds())
@settings(max_examples=4)
def test_the_table_survives_its_analysis(student, n, channels, seed):
    """The table itself is not changed, and need not be contiguous."""
    table, frequencies = tones(seed, n, channels)
    actual = student.channel_frequencies(table)
    assert_inputs_untouched(student)
    changed = student.run(changed_around, "channel_frequencies", [table])
    assert_equal(changed, [], what="what the call changed")
    assert_within_one_bin(actual, frequencies, n)
    assert_within_one_bin(student.run(strided, "channel_frequencies", [table]), frequencies, n)
    *results, (after,) = student.run(scenarios.after_change, "channel_frequencies", [table.flip(0).cumsum(0)], [table])
    for actual in results:
        assert_within_one_bin(actual, frequencies, n)
    assert_equal(after, table, what="the table, after a call under no_grad")
    hint = "a learned table requires gradients: NumPy takes table.detach()"
    actual = student.run(scenarios.frequencies_of_a_learned_table, table)
    assert_within_one_bin(actual, frequencies, n, hint=hint)


@exercise("nearest_position", points=3, core=True)
@given(max_len=sizes(1, 90), d_model=sizes(8, 20))
@settings(max_examples=10)
def test_each_row_leads_back_to_its_position(student, max_len, d_model):
    """The row of position p comes back as p, at even and odd widths."""
    table = sinusoids(range(max_len), d_model).float()
    positions = sorted({0, max_len // 3, max_len // 2, max_len - 1})
    actual = [int(student.nearest_position(table[p], table)) for p in positions]
    assert_equal(actual, positions, what=f"the positions of rows {positions}")
    assert_inputs_untouched(student)


@exercise("nearest_position", points=2)
@given(p=st.integers(0, 499), d_model=sizes(16, 40).map(lambda pairs: 2 * pairs), seed=seeds())
@settings(max_examples=18)
def test_noise_does_not_move_the_position(student, p, d_model, seed):
    """A row with noise added, much smaller than the distance between rows, still comes back as its position."""
    table = sinusoids(range(500), d_model)
    noisy = table[p] + normal(seed, d_model, scale=0.1)
    hint = "look for the smallest distance over all channels, not for an equal row or a single clock"
    assert_equal(int(student.nearest_position(vector=noisy, table=table)), p, what="the position of a noisy row", hint=hint)


@exercise("nearest_position", points=2)
@given(n=sizes(1, 30), d=sizes(8, 14), p=st.integers(0, 29), seed=seeds())
@settings(max_examples=12)
def test_rows_of_any_length_lead_back_to_their_positions(student, n, d, p, seed):
    """Rows of very different lengths, as in a learned table, come back too."""
    table, p = rows_of_many_lengths(seed, n, d), p % n
    hint = "the largest dot product favours long rows: take the smallest distance"
    assert_equal(int(student.nearest_position(table[p], table)), p, what="the position of a row", hint=hint)
    hint = "rows of one direction are told apart by their lengths alone: the angle between them is 0"
    ray = table[:1] * torch.arange(1.0, n + 1)[:, None]
    assert_equal(int(student.nearest_position(ray[p], ray)), p, what="the position of one of several parallel rows", hint=hint)
    assert_inputs_untouched(student)
    what = "the position of a vector far beyond the last of several parallel rows"
    assert_equal(int(student.nearest_position(3 * ray[-1], ray)), n - 1, what=what, hint="some row is always the nearest")
    hint = "a long row is no nearer for being long: compare distances as they are, not as shares of a length"
    actual = int(student.nearest_position(2.5 * table[0], table[:1] * torch.tensor([[1.0], [10.0]])))
    assert_equal(actual, 0, what="the position of 2.5 times a row, beside 10 times the row", hint=hint)
    corners = torch.cat([torch.zeros(1, d), torch.eye(d)])  # row i differs from row 0 in channel i - 1 alone
    for i in {1 + p % d, d}:
        what = f"the position of the row that differs from the first in channel {i - 1} alone"
        assert_equal(int(student.nearest_position(corners[i], corners)), i, what=what, hint="every channel counts")
    wide = torch.zeros(3, 2100)
    wide[1, 1500] = wide[2, -1] = 1.0
    actual = [int(student.nearest_position(row, wide)) for row in wide]
    assert_equal(actual, [0, 1, 2], what="the positions of rows that differ in one of 2100 channels", hint="every channel counts")
    close = table[:1] + 1e-4 * normal(seed, n, d)
    assert_equal(int(student.nearest_position(close[p], close)), p, what="the position of one of several rows close together")
    few = close[:25].float()
    what, q = "the position of one of at most 25 float32 rows close together", p % len(few)
    hint = "subtract first, then square: squares multiplied out cancel"
    assert_equal(int(student.nearest_position(few[q], few)), q, what=what, hint=hint)
    noise = normal(seed + 1, d)
    noisy = close[p] + noise / noise.norm() * 0.2 * apart(close)
    assert_equal(int(student.nearest_position(noisy, close)), p, what="the position of a noisy row of several close together")
    steps = torch.arange(6.0, dtype=torch.float64)[:, None].expand(6, d)
    near = "other rows may be nearly equal to the vector: take the nearest of all, not the first that is near enough"
    small = "the squares of such small differences are 0 in float32: measure float64 rows in float64"
    for rows, hint in ((1000 + 5e-3 * steps, near), (1e-7 * steps, near), (1e-30 * steps, small)):
        what = f"the position of row 4 of 6 rows that lie {rows[1, 0] - rows[0, 0]:.1g} apart in every channel"
        assert_equal(int(student.nearest_position(rows[4], rows)), 4, what=what, hint=hint)
    actual = int(student.nearest_position(2.0 * torch.eye(100)[0], torch.tensor([[0.0], [1.0]]).expand(2, 100)))
    what = "the position of (2, 0, 0, ...), beside a row of 100 zeros and a row of 100 ones"
    assert_equal(actual, 0, what=what, hint="the distance takes the differences of all channels together")
    column = table[:, :1] + 100.0 * torch.arange(n)[:, None]  # a width of 1
    assert_equal(int(student.nearest_position(column[p], column)), p, what="the position of a row of one channel")


@exercise("nearest_position", points=1)
def test_the_position_is_a_python_int(student):
    """The result can index a list, and the inputs are left alone."""
    table = sinusoids(range(12), 10)
    for p in (5, 0):
        kind = student.run(scenarios.type_of_position, table[p], table)
        assert_equal(kind, "int", what=f"the type of position {p}", hint="see Tensor.item()")
    assert_equal(student.run(strided, "nearest_position", [table[5], table]), 5, what="the position of row 5 of a strided table")
    actual = student.nearest_position(table[5], table)
    assert_equal(actual, 5, what="the position of row 5")
    assert_inputs_untouched(student)
    changed = student.run(changed_around, "nearest_position", [table[5].clone(), table])
    assert_equal(changed, [], what="what the call changed")
    changed = [table[7].clone(), table.flip(0)]
    actual = student.run(scenarios.after_change, "nearest_position", [table[5].clone(), table], changed)
    hint = "tables change in training: keep nothing of them, and change neither the vector nor the table"
    what = "[position, position under no_grad, [vector, table]] after the vector and the table have changed"
    assert_equal(actual, [4, 4, changed], what=what, hint=hint)
    long = sinusoids(range(2100), 10)
    assert_equal(student.nearest_position(long[2077], long), 2077, what="the position of row 2077 of 2100")


def many_bits(student, table, n_bits, seed):
    """The signatures, after those of a single bit: the first call on the largest table so far is watched, and takes longer."""
    student.run(scenarios.signature, table, 1, seed)
    return student.run(scenarios.signature, table, n_bits, seed)


@exercise("position_signature", points=3, core=True)
@given(n=sizes(2, 9), d=sizes(8, 20), seed=seeds())
@settings(max_examples=8)
def test_bits_differ_as_often_as_the_angle_says(student, n, d, seed):
    """Two rows at an angle a differ in a / pi of the bits, up to chance."""
    table = rows_of_many_lengths(seed, n, d)
    table[n // 2] = -table[0] + 0.3 * table[n // 2]
    bits = many_bits(student, table, 4096, seed)
    assert_equal(list(bits.shape), [n, 4096], what="the shape of the signatures")
    # one plane hits with probability a / pi: six standard deviations of 4096 planes
    assert_close(
        hamming(bits),
        angle_fractions(table),
        what="the fraction of differing bits",
        hint="one set of planes through the origin for all rows; the bit is the sign of the projection",
        rtol=0.0,
        atol=0.047,
    )


@exercise("position_signature", points=1)
def test_a_single_bit_follows_the_angle_too(student):
    """Between two directions, too, and in signatures of one bit, bits differ as often as the angle says."""
    corner = many_bits(student, torch.tensor([[1.0, 0.0], [1.0, 0.4]], dtype=torch.float64), 10_000, 29)
    assert_close(
        hamming(corner)[0, 1].item(),
        math.atan(0.4) / math.pi,
        what="the fraction of bits in which (1, 0) and (1, 0.4) differ",
        hint="uniform numbers fill a square, which has corners: directions are even if their numbers are normal",
        rtol=0.0,
        atol=0.016,  # five standard deviations; a square gives 0.1 in place of 0.121
    )
    bits = student.run(scenarios.signature_bit_by_bit, torch.tensor([[1.0, 0.0], [1.0, 0.4]]), 700, 17)
    assert_close(
        hamming(bits)[0, 1].item(),
        math.atan(0.4) / math.pi,
        what="the fraction of one-bit signatures in which (1, 0) and (1, 0.4) differ",
        hint="a direction has d_model numbers: scale those together, if any, and not one number of "
        "every direction; and each call draws new ones: leave the generator's state where the draw has taken it",
        rtol=0.0,
        atol=0.075,  # six standard deviations; signs in place of normal numbers give 0 in place of 0.121
    )


@exercise("position_signature", points=2)
@given(seed=seeds(), d_model=sizes(16, 40).map(lambda pairs: 2 * pairs))
@settings(max_examples=4)
def test_the_hamming_distance_grows_with_the_distance(student, seed, d_model):
    """In a sinusoidal table, positions further apart differ in more bits."""
    bits = many_bits(student, sinusoids(range(160), d_model).float(), 2048, seed)
    shares = {k: float((bits[k:] != bits[:-k]).double().mean()) for k in (1, 2, 4, 16, 128)}
    growing = list(shares.values())
    assert growing[0] > 0.04 and all(a < b for a, b in zip(growing, growing[1:])), (
        "the share of differing bits should grow with the distance and begin above 0.04, but at a distance of "
        + ", ".join(f"{k} it is {share:.3f}" for k, share in shares.items())
    )
    bits = student.run(scenarios.signature, normal(seed, 60, 16), 64, seed)
    patterns = {tuple(column) for column in torch.cat([bits, ~bits], dim=1).T.tolist()}
    hint = "draw a direction for each bit, and use none twice or from both sides"
    assert_equal(len(patterns), 128, what="the number of patterns in 64 bits and their opposites, over 60 rows", hint=hint)


@exercise("position_signature", points=1)
@given(seed=seeds())
@settings(max_examples=4)
def test_the_generator_decides_the_bits(student, seed):
    """The same generator state gives the same bits, another state gives others, and a used generator has moved on."""
    table = normal(seed, 6, 8)
    first, second = student.run(scenarios.signature_twice, table, 64, seed)
    again, other = (student.run(scenarios.signature, table, 64, s) for s in (seed, seed + 1))
    assert_equal(again, first, what="the signatures by an equal generator")
    assert not torch.equal(other, first), "another seed gave the same 384 bits: are they drawn from the generator?"
    assert not torch.equal(second, first), "the same generator gave the same 384 bits twice: is it drawn from?"


@exercise("position_signature", points=1)
def test_only_the_generator_is_drawn_from(student):
    """No global random state decides the bits or changes."""
    outcome = student.run(scenarios.signature_and_random_state, normal(5, 6, 8), 64, 11)
    assert_equal(outcome["signatures"][0], outcome["signatures"][1], what="the bits under another global seed")
    assert_equal(outcome["changed"], [], what="what the calls changed", hint="all randomness comes from the generator")


@exercise("position_signature", points=1)
@given(dtype=float_dtypes(), n=sizes(1, 9), d=sizes(1, 9), n_bits=sizes(1, 9), seed=seeds())
@settings(max_examples=9)
def test_signatures_are_booleans_for_tables_of_either_precision(student, dtype, n, d, n_bits, seed):
    """A bool for each row and bit; float32 and float64 tables give them alike."""
    bits = student.run(scenarios.signature, normal(seed, n, d, dtype=dtype), n_bits, seed)
    assert_equal([list(bits.shape), bits.dtype], [[n, n_bits], torch.bool], what="(shape, dtype) of the bits")
    table = 3.0 * normal(seed, n, d, dtype=dtype)
    first, strided_bits, after = student.run(scenarios.signature_leaves_table, table, n_bits, seed)
    assert_equal(after, table, what="the table, after the call", hint="work on a copy: x = x * s, not x *= s")
    assert_equal(strided_bits, first, what="the bits of a strided table")


@exercise("position_signature", points=1)
@given(scale=st.sampled_from([2.0**-20, 0.25, 1024.0]), d=st.sampled_from([11, 700]), seed=seeds())
@settings(max_examples=6)
def test_the_length_of_a_row_does_not_matter(student, scale, d, seed):
    """Scaling the table changes no bit: the planes pass through the origin, and only the side counts."""
    one_channel_each = torch.eye(d, dtype=torch.float64)[torch.linspace(0, d - 1, 11).long()]
    table = torch.cat([normal(seed, 8, d), one_channel_each])
    bits, scaled = (student.run(scenarios.signature, rows, 128, seed) for rows in (table, table[:-3] * scale))
    hint = "planes pass through the origin, and are the same however many rows there are"
    assert_equal(scaled, bits[:-3], what=f"the bits of all but the last three rows, times {scale}", hint=hint)
    both = student.run(scenarios.signature, torch.cat([table, -table]), 16, seed)
    n = len(table)
    hint = "a row and its opposite lie on different sides of every plane through the origin"
    assert_equal(both[n:], ~both[:n], what=f"the 16 bits of the {n} opposite rows", hint=hint)
    many = student.run(scenarios.signature, table[:, :11].repeat(120, 1), 16, seed)
    few = student.run(scenarios.signature, table[:, :11], 16, seed)
    assert_equal(many, few.repeat(120, 1), what=f"the bits of the same {n} rows, 120 times over")
