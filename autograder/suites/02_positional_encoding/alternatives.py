"""Right solutions that look nothing like ours; each must score full marks."""

import torch
from torch import nn

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit(
        "mean_removed_first",
        "channel_frequencies",
        "Takes each channel's mean off before the transform.",
        ("torch.fft.rfft(table.double(), dim=0)", "torch.fft.rfft(table - table.mean(dim=0), dim=0)"),
    ),
    edit(
        "power_in_double",
        "channel_frequencies",
        "Compares powers, in double precision.",
        ("torch.fft.rfft(table.double(), dim=0).abs()", "torch.fft.rfft(table.double(), dim=0, norm='ortho').abs().square()"),
    ),
    edit(
        "bit_at_zero",
        "position_signature",
        "Counts a projection of exactly zero as True.",
        ("> 0", ">= 0"),
    ),
    edit(
        "bits_of_the_other_side",
        "position_signature",
        "Names the other side of each plane True.",
        ("> 0", "< 0"),
    ),
    edit(
        "future_keys_at_minus_infinity",
        "alibi_bias",
        "Masks the keys after the query in the bias itself.",
        (
            "return -slopes[:, None, None] * distance",
            "return (-slopes[:, None, None] * distance).masked_fill(distance < 0, float('-inf'))",
        ),
    ),
]


@alternative("sinusoidal_encoding", "Loops over positions and channels with Python's own math.")
def one_value_at_a_time(max_len, d_model, base=10000.0):
    import math

    if max_len < 0 or d_model < 1:
        raise ValueError("max_len and d_model")
    table = torch.zeros(max_len, d_model)
    for p in range(max_len):
        for channel in range(d_model):
            angle = p / math.pow(base, (channel - channel % 2) / d_model)
            table[p, channel] = math.cos(angle) if channel % 2 else math.sin(angle)
    return table


@alternative(
    "sinusoidal_encoding",
    "All in float32, frequencies by exp and log, written into strided slices, as in most tutorials.",
)
def slices_and_exponentials(max_len, d_model, base=10000.0):
    import math

    if max_len < 0 or d_model < 1:
        raise ValueError("max_len and d_model")
    table = torch.zeros(max_len, d_model)
    position = torch.arange(max_len, dtype=torch.float32).unsqueeze(1)
    div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(base) / d_model))
    table[:, 0::2] = torch.sin(position * div_term)
    table[:, 1::2] = torch.cos(position * div_term[: d_model // 2])
    return table


@alternative(
    "sinusoidal_encoding",
    "NumPy, with the cosine as a sine a quarter turn ahead; the result is a transposed view.",
)
def sines_with_a_phase(max_len, d_model, base=10000.0):
    import numpy as np

    if max_len < 0 or d_model < 1:
        raise TypeError("max_len and d_model")
    channels = np.arange(d_model)[:, None]
    angles = np.arange(max_len)[None, :] / np.power(float(base), (channels - channels % 2) / d_model)
    return torch.from_numpy(np.sin(angles + channels % 2 * np.pi / 2).astype(np.float32)).T


@alternative("sinusoidal_encoding", "Each row from the one before, by turning complex clock hands.")
def clock_hands_that_turn(max_len, d_model, base=10000.0, *, hands=None):
    import math

    if max_len < 0 or d_model < 1:
        raise ValueError("max_len and d_model")
    pairs = (d_model + 1) // 2
    step = [complex(math.cos(w), math.sin(w)) for w in (base ** (-2 * i / d_model) for i in range(pairs))]
    hands, rows = [1 + 0j] * pairs, []
    for _ in range(max_len):
        rows.append([part for hand in hands for part in (hand.imag, hand.real)][:d_model])
        hands = [hand * turn for hand, turn in zip(hands, step)]
    return torch.tensor(rows, dtype=torch.float32).reshape(max_len, d_model)


@alternative("add_positions", "Looks the positions up with F.embedding after checking them one by one.")
def rows_by_lookup(x, table, offset=0):
    import torch.nn.functional as F

    positions = list(range(offset, offset + x.size(-2)))
    if any(p < 0 or p >= len(table) for p in positions):
        raise IndexError(f"a position of {positions} is not in the table")
    ids = torch.tensor(positions, dtype=torch.long)
    return torch.add(F.embedding(ids, table).type_as(x), x)


@alternative("add_positions", "Adds in double precision and casts at the end, token by token.")
def sum_in_double_token_by_token(x, table, offset=0):
    if offset < 0:
        raise ValueError("offset")
    if offset + x.shape[-2] > table.shape[0]:
        raise ValueError("past the table")
    tokens = [(token.double() + table[offset + j].double()).to(x.dtype) for j, token in enumerate(x.unbind(-2))]
    return torch.stack(tokens, dim=-2) if tokens else x.clone()


@alternative("add_positions", "Picks the rows with a matrix product and a one-hot selection.")
def rows_by_selection_matrix(x, table, offset=0):
    t, n = x.shape[-2], table.shape[0]
    if offset < 0 or offset + t > n:
        raise ValueError("positions outside the table")
    selection = torch.eye(n, dtype=table.dtype)[offset : offset + t]
    return x + torch.mm(selection, table).to(x.dtype).expand_as(x)


@alternative(
    "LearnedPositionalEmbedding",
    "Is an nn.Embedding, whose parameter is called weight as well; starts at PyTorch's normal noise.",
)
class AnEmbedding(nn.Embedding):
    def forward(self, x, offset=0):
        t = x.shape[-2]
        if offset < 0 or offset + t > self.num_embeddings:
            raise ValueError("positions outside the table")
        return x + super().forward(torch.arange(offset, offset + t)).to(x.dtype)


@alternative("LearnedPositionalEmbedding", "Starts at zero and registers its parameter by name; remembers its sizes.")
class StartsAtZero(nn.Module):
    def __init__(self, max_len, d_model, init_std=0.0):
        super().__init__()
        self.max_len, self.d_model = max_len, d_model
        self.register_parameter("weight", nn.Parameter(torch.empty(max_len, d_model)))
        nn.init.zeros_(self.weight)
        self.register_buffer("position_ids", torch.arange(max_len), persistent=False)

    def forward(self, x, offset=0):
        t = x.shape[-2]
        if offset < 0 or offset + t > self.max_len:
            raise IndexError("positions outside the table")
        return x + self.weight.index_select(0, self.position_ids[offset : offset + t]).to(x.dtype)


@alternative("shift_matrix", "The matrix exponential of the clocks' generator.")
def matrix_exponential(offset, d_model, base=10000.0):
    if d_model % 2 == 1:
        raise ValueError("d_model must be even")
    velocity = torch.zeros(d_model, d_model, dtype=torch.float64)
    for i in range(0, d_model, 2):
        velocity[i, i + 1] = base ** (-i / d_model)
        velocity[i + 1, i] = -velocity[i, i + 1]
    return torch.matrix_exp(offset * velocity).float()


@alternative("shift_matrix", "One step to the power of the offset; the inverse for negative ones.")
def power_of_one_step(offset, d_model, base=10000.0):
    import math

    if d_model % 2:
        raise ValueError("d_model must be even")
    step = torch.zeros(d_model, d_model, dtype=torch.float64)
    for i in range(d_model // 2):
        w = 1.0 / base ** (2 * i / d_model)
        block = [[math.cos(w), math.sin(w)], [-math.sin(w), math.cos(w)]]
        step[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(block, dtype=torch.float64)
    return torch.linalg.matrix_power(step, offset).to(torch.float32)


@alternative("shift_matrix", "Filled entry by entry in float32.")
def filled_in_single_precision(offset, d_model, base=10000.0):
    import math

    if d_model % 2:
        raise ValueError("d_model must be even")
    matrix = torch.zeros(d_model, d_model)
    even = torch.arange(0, d_model, 2)
    angle = offset * torch.exp(-even.float() / d_model * math.log(base))
    matrix[even, even] = matrix[even + 1, even + 1] = torch.cos(angle)
    matrix[even, even + 1] = torch.sin(angle)
    matrix[even + 1, even] = -torch.sin(angle)
    return matrix


@alternative("channel_frequencies", "NumPy's FFT under a Hann window, padded with zeros to a finer grid.")
def windowed_and_padded(table):
    import numpy as np

    values = table.detach().numpy().astype(np.float64)
    n = len(values)
    spectrum = np.abs(np.fft.rfft((values - values.mean(0)) * np.hanning(n + 1)[:n, None], n=4 * n, axis=0))
    return torch.from_numpy(np.fft.rfftfreq(4 * n)[spectrum.argmax(0)]).to(table.dtype)


@alternative(
    "channel_frequencies",
    "A Fourier transform written out as a product with cosines and sines; frequency 0 left out.",
)
def transform_by_hand(table):
    import math

    n = table.shape[0]
    turns = 2 * math.pi * torch.outer(torch.arange(1, n // 2 + 1), torch.arange(n)).double() / n
    power = (torch.cos(turns) @ table.double()) ** 2 + (torch.sin(turns) @ table.double()) ** 2
    return ((power.argmax(dim=0) + 1) / n).to(table.dtype)


@alternative("channel_frequencies", "The full FFT with mirror images folded, one column at a time.")
def full_transform_column_by_column(table):
    n = table.shape[0]
    best = [int(torch.fft.fft(column).abs().argmax()) for column in table.T]
    return torch.tensor([min(k, n - k) / n for k in best], dtype=table.dtype)


@alternative("nearest_position", "A loop that keeps the best row so far, in plain Python.")
def best_so_far(vector, table):
    import math

    target, best, best_distance = vector.tolist(), -1, math.inf
    for p, row in enumerate(table.tolist()):
        distance = math.dist(row, target)
        if distance < best_distance:
            best, best_distance = p, distance
    return best


@alternative("nearest_position", "torch.cdist and a full sort.")
def sorted_distances(vector, table):
    return int(torch.argsort(torch.cdist(vector[None].double(), table.double())[0])[0])


@alternative("nearest_position", "City-block distance.")
def city_block(vector, table):
    import numpy as np

    return int(np.argmin(np.abs(table.numpy() - vector.numpy()).sum(axis=1)))


@alternative("position_signature", "One plane at a time, each a unit vector, with the sign as the bit.")
def one_plane_at_a_time(table, n_bits, generator):
    bits = []
    for _ in range(n_bits):
        direction = torch.randn(table.shape[-1], generator=generator, dtype=torch.float64)
        direction = direction / direction.norm()
        bits.append(torch.sign(torch.mv(table.double(), direction)) == 1)
    return torch.stack(bits, dim=1)


@alternative(
    "position_signature",
    "Normal directions by Box and Muller from uniform numbers, bits major, returned transposed.",
)
def box_and_muller(table, n_bits, generator):
    import math

    u, v = torch.rand(2, n_bits, table.shape[1], generator=generator, dtype=torch.float64)
    directions = torch.sqrt(-2 * torch.log1p(-u)) * torch.cos(2 * math.pi * v)
    return torch.signbit(directions @ table.T.double()).T


@alternative(
    "position_signature",
    "Directions made orthogonal to each other in groups of d_model, which are still even in every direction.",
)
def orthogonal_planes(table, n_bits, generator):
    d, directions = table.shape[1], []
    for _ in range(-(-n_bits // d)):
        q, r = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
        directions.append(q * torch.sign(torch.diagonal(r)))
    return (table.double() @ torch.cat(directions, dim=1)[:, :n_bits]).gt(0)


@alternative("apply_rope", "Pairs as complex numbers, times powers of i on the unit circle.")
def complex_numbers(x, positions, base=10000.0):
    d = x.shape[-1]
    if d % 2 != 0:
        raise ValueError("odd width")
    work = torch.float64 if x.dtype == torch.float64 else torch.float32
    angles = positions.unsqueeze(-1).double() / base ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
    turn = torch.complex(angles.cos().to(work), angles.sin().to(work))
    pairs = torch.view_as_complex(x.to(work).reshape(*x.shape[:-1], d // 2, 2).contiguous())
    return torch.view_as_real(pairs * turn).reshape(x.shape).type_as(x)


@alternative("apply_rope", "x cos + rotate(x) sin with repeated angles, in x's own precision but for the angles.")
def rotate_half_interleaved(x, positions, base=10000.0):
    d = x.size(-1)
    if d % 2:
        raise ValueError("odd width")
    precision = torch.float64 if x.dtype == torch.float64 else torch.float32
    inv_freq = 1.0 / (base ** (torch.arange(0, d, 2).to(precision) / d))
    angles = (positions.to(precision).unsqueeze(-1) * inv_freq).repeat_interleave(2, dim=-1)
    swapped = torch.empty_like(x)
    swapped[..., 0::2] = -x[..., 1::2]
    swapped[..., 1::2] = x[..., 0::2]
    return x * angles.cos().to(x.dtype) + swapped * angles.sin().to(x.dtype)


@alternative("apply_rope", "A rotation matrix for each token, from shift_matrix's blocks.")
def a_matrix_for_each_token(x, positions, base=10000.0):
    d = x.shape[-1]
    if d % 2:
        raise ValueError("odd width")
    angles = positions[..., None].double() * torch.tensor(
        [base ** (-2 * i / d) for i in range(d // 2)], dtype=torch.float64
    )
    matrix = torch.zeros(*angles.shape[:-1], d, d, dtype=torch.float64)
    even = torch.arange(0, d, 2)
    matrix[..., even, even] = matrix[..., even + 1, even + 1] = angles.cos()
    matrix[..., even, even + 1] = -angles.sin()
    matrix[..., even + 1, even] = angles.sin()
    return (matrix @ x.double()[..., None])[..., 0].to(x.dtype)


@alternative("apply_rope", "One pair of channels after the other, joined at the end.")
def pair_by_pair(x, positions, base=10000.0):
    import math

    channels = x.unbind(-1)
    if len(channels) % 2:
        raise ValueError("odd width")
    out = []
    for i in range(len(channels) // 2):
        angle = positions.double() * math.pow(base, -2 * i / len(channels))
        a, b = channels[2 * i].double(), channels[2 * i + 1].double()
        out += [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
    return torch.stack(out, dim=-1).to(x.dtype)


@alternative("alibi_bias", "Three nested loops over Python floats, with the distance's absolute value.")
def three_loops(n_heads, n_q, n_k):
    bias = torch.zeros(n_heads, n_q, n_k)
    for head in range(n_heads):
        for i in range(n_q):
            for j in range(n_k):
                bias[head, i, j] = -abs(n_k - n_q + i - j) * 0.5 ** (8 * (head + 1) / n_heads)
    return bias


@alternative("alibi_bias", "Slopes as powers of the first slope; the last rows of one square, expanded bias.")
def rows_of_the_square(n_heads, n_q, n_k):
    start = 2 ** (-8 / n_heads)
    slopes = torch.tensor([start**i for i in range(1, n_heads + 1)], dtype=torch.float32)
    n = max(n_q, n_k)
    back = (torch.arange(n)[:, None] - torch.arange(n)[None]).clamp(min=0).float()
    whole = torch.einsum("h,qk->hqk", -slopes, back)
    return whole[:, n - n_q :, n - n_k :]


@alternative("plot_encoding", "pyplot, matshow's cousin with the origin below, no colour bar.")
def with_pyplot(table):
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    ax.imshow(table.detach().double().numpy(), origin="lower", aspect="auto", cmap="viridis")
    plt.xlabel("embedding dimension")
    plt.ylabel("token position")
    return fig


@alternative("plot_encoding", "A heat map beside two sample channels, in one figure of two axes.")
def with_a_second_panel(table):
    import matplotlib.pyplot as plt
    import numpy as np

    values = np.asarray(table.detach().tolist())
    figure, (left, right) = plt.subplots(1, 2)
    left.plot(values[:, :2])
    right.imshow(values, extent=(0, values.shape[1], values.shape[0], 0))
    right.set_xlabel("channel")
    right.set_ylabel("position")
    return figure


@alternative("sinusoidal_encoding", "Points on the unit circle as complex numbers, their two parts swapped.")
def points_on_the_circle(max_len, d_model, base=10000.0):
    if not (max_len >= 0 and d_model >= 1):
        raise ValueError("max_len and d_model")
    clocks = torch.pow(torch.tensor(base, dtype=torch.float64), -2 * torch.arange((d_model + 1) // 2) / d_model)
    angles = torch.outer(torch.arange(max_len).double(), clocks)
    return torch.view_as_real(torch.polar(torch.ones_like(angles), angles)).flip(-1).flatten(1)[:, :d_model].float()


@alternative("add_positions", "Lets narrow find out what does not fit, and adds x to the expanded rows.")
def rows_expanded_first(x, table, offset=0):
    if offset < 0:
        raise ValueError("offset")
    try:
        rows = table.narrow(0, offset, x.shape[-2])
    except RuntimeError as error:
        raise ValueError("past the table") from error
    return rows.to(x.dtype).expand(x.shape).add(x)


@alternative("nearest_position", "Squares multiplied out in double precision, without the vector's own.")
def squares_multiplied_out(vector, table):
    rows, v = table.double(), vector.double()
    return int(((rows * rows).sum(1) - 2 * rows @ v).argmin())


@alternative("apply_rope", "A 2 x 2 matrix for each pair, applied with einsum.")
def matrices_by_einsum(x, positions, base=10000.0):
    d = x.shape[-1]
    if d % 2:
        raise TypeError("odd width")
    clocks = torch.tensor([base ** (-2.0 * i / d) for i in range(d // 2)], dtype=torch.float64)
    angles = torch.einsum("...,i->...i", positions.double(), clocks)
    rows = torch.stack([angles.cos(), -angles.sin()], -1), torch.stack([angles.sin(), angles.cos()], -1)
    pairs = x.double().unflatten(-1, (-1, 2))
    return torch.einsum("...ij,...j->...i", torch.stack(rows, -2), pairs).flatten(-2).to(x.dtype)


@alternative("channel_frequencies", "Appends zeros up to a power of two, whose bins are closer together.")
def padded_to_a_power_of_two(table):
    n = 1 << (len(table) - 1).bit_length()
    sizes = torch.fft.rfft(table, n=n, dim=0).abs()
    return torch.fft.rfftfreq(n, dtype=table.dtype)[sizes.argmax(dim=0)]


@alternative("nearest_position", "torch.cdist in the table's own precision, whatever way it chooses.")
def distances_by_cdist(vector, table):
    return torch.cdist(vector[None], table).argmin().item()


@alternative("LearnedPositionalEmbedding", "Is a function that makes a module of a class of its own.")
def a_module_made_by_a_function(max_len, d_model):
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(max_len, d_model), std=0.02))

        def forward(self, x, offset=0):
            return add_positions(x, self.weight, offset)

    return Positions()


@alternative("add_positions", "An autograd function with a backward pass written by hand.")
def backward_by_hand(x, table, offset=0):
    stop = offset + x.shape[-2]
    if offset < 0 or stop > len(table):
        raise ValueError("outside the table")

    class Add(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, table):
            ctx.save_for_backward(table)
            return x + table[offset:stop].to(x.dtype)

        @staticmethod
        def backward(ctx, gradient):
            (table,) = ctx.saved_tensors
            of_table = torch.zeros_like(table)
            of_table[offset:stop] = gradient.sum_to_size(gradient.shape[-2:]).to(table.dtype)
            return gradient, of_table

    return Add.apply(x, table)
