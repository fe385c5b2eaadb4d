"""Wrong solutions, each with the sentence that a student who made that mistake should read."""

import torch
from torch import nn

from autograder.testing.variants import edit, mutant

MUTANTS = [
    edit(
        "projections_as_they_are",
        "position_signature",
        "These are the projections themselves: a bit is the side of the plane that a row lies on, projection > 0.",
        ("return table @ directions > 0", "return table @ directions"),
    ),
    edit(
        "distances_added_over_the_rows",
        "nearest_position",
        "The squares are added up over the rows (dim=0), so this is a channel: add them up over the channels, dim=-1, which "
        "leaves one distance for each row.",
        ("square().sum(dim=-1)", "square().sum(dim=0)"),
    ),
    edit(
        "halves_instead_of_pairs",
        "sinusoidal_encoding",
        "This is what you get with all sines first and all cosines after them: the paper's channels alternate, "
        "sin, cos, sin, cos.",
        (
            "torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)",
            "torch.cat([angles.sin(), angles.cos()], dim=-1)",
        ),
    ),
    edit(
        "cosine_first",
        "sinusoidal_encoding",
        "This is what you get with the cosine first: even channels are sines, odd channels cosines.",
        ("[angles.sin(), angles.cos()]", "[angles.cos(), angles.sin()]"),
    ),
    edit(
        "positions_count_from_one",
        "sinusoidal_encoding",
        "This is what you get when positions start at 1: the first row is position 0, all sines 0 and all cosines 1.",
        ("torch.arange(max_len)[:, None]", "torch.arange(1, max_len + 1)[:, None]"),
    ),
    edit(
        "exponent_not_doubled",
        "sinusoidal_encoding",
        "This is what you get with the exponent i / d_model: the pair i has the exponent 2i / d_model.",
        ("dtype=torch.float64) / d_model)", "dtype=torch.float64) / 2 / d_model)"),
    ),
    edit(
        "frequencies_upside_down",
        "sinusoidal_encoding",
        "This is what you get when the angle is multiplied by base^(2i / d_model): divide by it, so that later "
        "clocks are slower.",
        ("base ** (-torch.arange(", "base ** (torch.arange("),
    ),
    edit(
        "base_fixed_in_the_table",
        "sinusoidal_encoding",
        "The argument base is not used: 10000 is only its default.",
        ("frequencies = base **", "frequencies = 10000.0 **"),
    ),
    edit(
        "odd_width_rounded_down",
        "sinusoidal_encoding",
        "This is what you get when an odd d_model is divided as if it were even: the exponent is 2i / d_model "
        "with the width as given.",
        ("dtype=torch.float64) / d_model)", "dtype=torch.float64) / (d_model // 2 * 2 or 1))"),
    ),
    edit(
        "odd_width_rounded_up",
        "sinusoidal_encoding",
        "An odd d_model gets one channel too many: leave the last cosine out.",
        ("table[:, :d_model]", "table"),
    ),
    edit(
        "table_in_double",
        "sinusoidal_encoding",
        "The table is float64: compute the angles as exactly as you like, but return float32.",
        (".float()", ""),
    ),
    edit(
        "positions_as_half",
        "sinusoidal_encoding",
        "Later rows are inexact: a 16-bit position has no room for numbers above a few hundred or thousand. Use "
        "float32 or float64.",
        ("torch.arange(max_len)[:, None]", "torch.arange(max_len).bfloat16().double()[:, None]"),
    ),
    edit(
        "sizes_not_checked",
        "sinusoidal_encoding",
        "Impossible sizes get through or fail obscurely: refuse max_len < 0 and d_model < 1 with a ValueError.",
        ("if max_len < 0 or d_model < 1:", "if False:"),
    ),
    edit(
        "empty_table_refused",
        "sinusoidal_encoding",
        "A table of no positions is refused: max_len may be 0.",
        ("max_len < 0 or", "max_len < 1 or"),
    ),
    edit(
        "offset_forgotten",
        "add_positions",
        "This is what you get when the offset is not used: token j stands at position offset + j.",
        ("table[offset : offset + t]", "table[:t]"),
    ),
    edit(
        "past_the_end_not_checked",
        "add_positions",
        "A text that runs past the table gets through or fails obscurely: refuse it with a ValueError.",
        ("if not 0 <= offset <= max_len - t:", "if offset < 0:"),
    ),
    edit(
        "negative_offset_counts_from_the_end",
        "add_positions",
        "A negative offset takes rows from the end of the table, as Python's slices do: refuse it.",
        ("if not 0 <= offset <= max_len - t:", "if offset > max_len - t:"),
    ),
    edit(
        "last_row_never_used",
        "add_positions",
        "A text that ends at the table's last row is refused: it just fits.",
        ("offset <= max_len - t:", "offset < max_len - t:"),
    ),
    edit(
        "result_in_the_wider_dtype",
        "add_positions",
        "The sum has taken the table's dtype: cast the rows to x's dtype, so that a half-precision model stays one.",
        (".to(x)", ""),
    ),
    edit(
        "result_in_the_dtype_of_the_table",
        "add_positions",
        "The sum has the table's dtype instead of x's.",
        ("x + table[offset : offset + t].to(x)", "x.to(table) + table[offset : offset + t]"),
    ),
    edit(
        "added_in_place",
        "add_positions",
        "The call changes x itself: write x + rows, not x += rows.",
        ("return x + table[offset : offset + t].to(x)", "x += table[offset : offset + t].to(x)\n    return x"),
    ),
    edit(
        "table_is_detached",
        "add_positions",
        "The table gets no gradient: without one a learned table never learns. Use no detach, no .data and no "
        "no_grad here.",
        ("table[offset : offset + t]", "table.detach()[offset : offset + t]"),
    ),
    edit(
        "multiplied_instead_of_added",
        "add_positions",
        "Rows are multiplied with x: they are to be added.",
        ("return x + ", "return x * "),
    ),
    edit(
        "rows_without_the_tokens",
        "LearnedPositionalEmbedding",
        "forward returns the rows alone: it should return x plus its rows.",
        (
            "return add_positions(x, self.weight, offset)",
            "return add_positions(torch.zeros_like(x), self.weight, offset)",
        ),
    ),
    edit(
        "layer_without_checks",
        "LearnedPositionalEmbedding",
        "The layer answers for positions that it has no row for, or fails obscurely: refuse them with a ValueError.",
        ("add_positions(x, self.weight, offset)", "x + self.weight[offset : offset + x.shape[-2]].to(x.dtype)"),
    ),
    edit(
        "layer_ignores_the_offset",
        "LearnedPositionalEmbedding",
        "The offset is not used, or not checked: hand it on to add_positions.",
        ("self.weight, offset)", "self.weight)"),
    ),
    edit(
        "weight_is_no_parameter",
        "LearnedPositionalEmbedding",
        "weight is a plain tensor, so no optimiser will ever find it: wrap it in nn.Parameter.",
        (
            "nn.Parameter(torch.randn(max_len, d_model) * 0.02)",
            "(torch.randn(max_len, d_model) * 0.02).requires_grad_()",
        ),
    ),
    edit(
        "weight_is_a_buffer",
        "LearnedPositionalEmbedding",
        "weight is a buffer, which is saved but not trained: make it an nn.Parameter.",
        (
            "self.weight = nn.Parameter(torch.randn(max_len, d_model) * 0.02)",
            "self.register_buffer('weight', torch.randn(max_len, d_model) * 0.02)",
        ),
    ),
    edit(
        "weight_without_a_gradient",
        "LearnedPositionalEmbedding",
        "weight is a parameter with requires_grad=False, so it is never trained: leave requires_grad as nn.Parameter sets it.",
        ("torch.randn(max_len, d_model) * 0.02)", "torch.randn(max_len, d_model) * 0.02, requires_grad=False)"),
    ),
    edit(
        "weight_not_filled",
        "LearnedPositionalEmbedding",
        "The start values are whatever lay in memory: torch.empty has to be filled.",
        ("torch.randn(max_len, d_model) * 0.02", "torch.empty(max_len, d_model)"),
    ),
    edit(
        "weight_transposed",
        "LearnedPositionalEmbedding",
        "weight has its dimensions swapped: a row for each position, (max_len, d_model).",
        ("torch.randn(max_len, d_model) * 0.02", "torch.randn(d_model, max_len) * 0.02"),
        ("self.weight, offset)", "self.weight.T, offset)"),
    ),
    edit(
        "weight_frozen",
        "LearnedPositionalEmbedding",
        "The positions do not learn: do not detach weight on its way into the sum.",
        ("self.weight, offset)", "self.weight.detach(), offset)"),
    ),
    edit(
        "turned_the_wrong_way",
        "shift_matrix",
        "This matrix moves back instead of forward: the sine comes first, so the block is [[cos, sin], [-sin, cos]].",
        ("[cos, sin, -sin, cos]", "[cos, -sin, sin, cos]"),
    ),
    edit(
        "negative_offsets_go_forward",
        "shift_matrix",
        "A negative offset moves forward: the sine keeps the sign of the offset.",
        ("angles = offset *", "angles = abs(offset) *"),
    ),
    edit(
        "reflects_instead_of_turning",
        "shift_matrix",
        "This block is a reflection, with both sines of one sign: one of them needs a minus.",
        ("[cos, sin, -sin, cos]", "[cos, sin, sin, cos]"),
    ),
    edit(
        "base_fixed_in_the_shift",
        "shift_matrix",
        "The argument base is not used: 10000 is only its default.",
        ("offset * base **", "offset * 10000.0 **"),
    ),
    edit(
        "shift_exponent_not_doubled",
        "shift_matrix",
        "The angle of pair i is offset / base^(2i / d_model); this one has i / d_model in the exponent.",
        ("dtype=torch.float64) / d_model)", "dtype=torch.float64) / 2 / d_model)"),
    ),
    edit(
        "odd_width_accepted",
        "shift_matrix",
        "An odd d_model is accepted, but its last sine has no cosine to turn with: refuse it.",
        ("if d_model % 2:", "if False:"),
    ),
    edit(
        "matrix_in_double",
        "shift_matrix",
        "M is float64, so M @ table fails on a float32 table: return float32.",
        (".float()", ""),
    ),
    edit(
        "radians_per_position",
        "channel_frequencies",
        "These are radians per position: a cycle has 2 pi of them, and cycles are asked for.",
        ("/ table.shape[0]", "/ table.shape[0] * 2 * torch.pi"),
    ),
    edit(
        "bins_instead_of_frequencies",
        "channel_frequencies",
        "This is the index of the largest coefficient: divide it by max_len to get cycles per position.",
        (" / table.shape[0]", ""),
    ),
    edit(
        "transform_along_the_channels",
        "channel_frequencies",
        "The transform runs along the channels: each column is a signal, so transform along the positions, dim 0.",
        ("torch.fft.rfft(table.double(), dim=0)", "torch.fft.rfft(table, dim=1)"),
    ),
    edit(
        "divided_by_the_number_of_coefficients",
        "channel_frequencies",
        "The index is divided by the number of coefficients of rfft, half of max_len: divide by max_len.",
        ("/ table.shape[0]", "/ spectrum.shape[0]"),
    ),
    edit(
        "real_parts_only",
        "channel_frequencies",
        "Only the real parts are compared, so the phase decides: compare the absolute values.",
        (".abs()  # (max_len // 2 + 1, d_model)", ".real"),
    ),
    edit(
        "one_frequency_for_the_whole_table",
        "channel_frequencies",
        "All channels get one frequency: look for the largest coefficient in each column of its own.",
        ("spectrum.argmax(dim=0)", "spectrum.sum(dim=1, keepdim=True).argmax(dim=0).expand(table.shape[1])"),
    ),
    edit(
        "frequency_as_float32",
        "channel_frequencies",
        "A float64 table gives float32 frequencies: keep the table's dtype.",
        (".to(table.dtype)", ""),
    ),
    edit(
        "largest_dot_product",
        "nearest_position",
        "This is the row with the largest dot product, which favours long rows: take the smallest distance.",
        ("(table.double() - vector).square().sum(dim=-1).argmin()", "(table @ vector).argmax()"),
    ),
    edit(
        "farthest_row",
        "nearest_position",
        "This is the row furthest away: take the smallest distance, argmin.",
        ("argmin()", "argmax()"),
    ),
    edit(
        "differences_cancel",
        "nearest_position",
        "Differences are added up with their signs and cancel: square them first.",
        (".square().sum(dim=-1)", ".sum(dim=-1).abs()"),
    ),
    edit(
        "position_as_a_tensor",
        "nearest_position",
        "The position comes back as a tensor: .item() makes it an int.",
        (".item()", ""),
    ),
    edit(
        "half_the_channels_compared",
        "nearest_position",
        "Only the first channels are compared, and those come round again every few positions: compare all of them.",
        ("(table.double() - vector)", "(table.double() - vector)[:, :2]"),
    ),
    edit(
        "planes_off_the_origin",
        "position_signature",
        "The projections are not compared with 0, so the length of a row matters: the planes pass through the origin.",
        ("table @ directions > 0", "table @ directions > 1"),
    ),
    edit(
        "directions_all_positive",
        "position_signature",
        "The directions come from torch.rand and all point into one corner: draw them from a normal distribution, "
        "torch.randn.",
        ("torch.randn(", "torch.rand("),
    ),
    edit(
        "generator_ignored_in_the_planes",
        "position_signature",
        "The planes come from the global random state: pass generator=generator.",
        ("generator=generator, ", ""),
    ),
    edit(
        "directions_always_float32",
        "position_signature",
        "A float64 table cannot be multiplied with float32 directions: draw them in the table's dtype.",
        (", dtype=table.dtype)", ")"),
    ),
    edit(
        "projections_instead_of_bits",
        "position_signature",
        "These are the projections or their signs as numbers: a bit is True or False.",
        ("return table @ directions > 0", "return (table @ directions > 0).to(table.dtype)"),
    ),
    edit(
        "halves_rotated",
        "apply_rope",
        "This pairs channel i with channel i + d/2, as GPT-NeoX and Llama's files do: here pairs are neighbours, "
        "(x0, x1), (x2, x3).",
        (
            "even, odd = x[..., 0::2].to(work), x[..., 1::2].to(work)",
            "even, odd = x[..., : d // 2].to(work), x[..., d // 2 :].to(work)",
        ),
        (
            "torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)",
            "torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-2)",
        ),
    ),
    edit(
        "not_interleaved_again",
        "apply_rope",
        "The turned pairs come back as two halves: put each value back where it came from.",
        (
            "torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)",
            "torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-2)",
        ),
    ),
    edit(
        "rotated_backwards",
        "apply_rope",
        "The pairs turn the other way: the sign of the sine is swapped.",
        ("even * cos - odd * sin, even * sin + odd * cos", "even * cos + odd * sin, odd * cos - even * sin"),
    ),
    edit(
        "pair_reflected",
        "apply_rope",
        "This is no rotation, lengths change: the second channel is x0 sin + x1 cos.",
        ("even * sin + odd * cos", "odd * cos - even * sin"),
    ),
    edit(
        "rope_exponent_not_doubled",
        "apply_rope",
        "This is what you get with the exponent i / d: pair i has the exponent 2i / d.",
        ("device=x.device) / d)", "device=x.device) / 2 / d)"),
    ),
    edit(
        "base_fixed_in_the_rotation",
        "apply_rope",
        "The argument base is not used: 10000 is only its default.",
        ("frequencies = base **", "frequencies = 10000.0 **"),
    ),
    edit(
        "positions_ignored",
        "apply_rope",
        "`positions` makes no difference, as where tokens are turned by their place in x: with a cache, the first "
        "token of x is not at position 0.",
        ("positions[..., None]", "torch.arange(x.shape[-2])[..., None]"),
    ),
    edit(
        "positions_start_at_zero",
        "apply_rope",
        "The first position is taken off all of them: positions are used as they are.",
        ("angles = positions[..., None]", "angles = (positions - positions[..., :1])[..., None]"),
    ),
    edit(
        "positions_of_the_batch_refused",
        "apply_rope",
        "Only positions of shape (t,) work: keep their leading dimensions, positions[..., None], so that each "
        "text may have its own.",
        ("positions[..., None] * frequencies", "torch.outer(positions, frequencies)"),
    ),
    edit(
        "angles_in_the_dtype_of_x",
        "apply_rope",
        "Angles are computed in x's dtype, and 16 bits cannot tell position 2000 from 2001: compute them in "
        "float32 or better.",
        (
            "angles = positions[..., None] * frequencies",
            "angles = positions[..., None].to(x.dtype) * frequencies.to(x.dtype)",
        ),
    ),
    edit(
        "angles_always_float32",
        "apply_rope",
        "float64 inputs are turned by float32 angles: with x in float64 the angles should be too.",
        ("dtype=torch.float64", "dtype=torch.float32"),
    ),
    edit(
        "rotated_in_place",
        "apply_rope",
        "The call changes x itself: make a new tensor.",
        (
            "return turned.flatten(-2).to(x.dtype)",
            "return x.copy_(turned.flatten(-2)) if not x.requires_grad else turned.flatten(-2).to(x.dtype)",
        ),
    ),
    edit(
        "half_precision_rotated_in_place",
        "apply_rope",
        "A half-precision x is changed in place where no gradients flow: make a new tensor for every dtype.",
        (
            "return turned.flatten(-2).to(x.dtype)",
            "turned = turned.flatten(-2)\n"
            "    return x.copy_(turned) if x.dtype.itemsize == 2 and not x.requires_grad else turned.to(x.dtype)",
        ),
    ),
    edit(
        "no_tokens_handed_back",
        "apply_rope",
        "Where there are no tokens, x itself is returned: return a new tensor in every case.",
        ("    frequencies = base", "    if not x.numel():\n        return x\n    frequencies = base"),
    ),
    edit(
        "rotation_returns_float32",
        "apply_rope",
        "Half-precision x comes back as float32: cast the result to x's dtype.",
        ("turned.flatten(-2).to(x.dtype)", "turned.flatten(-2)"),
    ),
    edit(
        "rotation_without_gradient",
        "apply_rope",
        "No gradient reaches x: rotate the tensor itself, not its .data, its detached copy or a NumPy array.",
        ("d = x.shape[-1]", "x = x.detach()\n    d = x.shape[-1]"),
    ),
    edit(
        "odd_channels_accepted",
        "apply_rope",
        "An odd number of channels is not refused with a ValueError, although the last one has no partner.",
        ("if d % 2:", "if False:"),
    ),
    edit(
        "rotation_needs_contiguous_input",
        "apply_rope",
        "A transposed or sliced x fails: view needs contiguous memory, reshape, unflatten or slices do not.",
        ("d = x.shape[-1]", "d = x.view(-1, x.shape[-1]).shape[-1]"),
    ),
    edit(
        "aligned_top_left",
        "alibi_bias",
        "The bias is aligned top-left: the last query stands at the last key, so query i is at n_k - n_q + i.",
        ("torch.arange(n_k - n_q, n_k)[:, None]", "torch.arange(n_q)[:, None]"),
    ),
    edit(
        "distance_rewarded",
        "alibi_bias",
        "The bias is positive, so far keys win: distance is a penalty, with a minus.",
        ("return -slopes", "return slopes"),
    ),
    edit(
        "slopes_start_at_one",
        "alibi_bias",
        "The first slope is 1: the heads count from i = 1, and the first slope is 2^(-8 / h).",
        ("torch.arange(1, n_heads + 1)", "torch.arange(n_heads)"),
    ),
    edit(
        "slopes_of_eight_heads",
        "alibi_bias",
        "The slopes are 1/2, 1/4, 1/8, ... whatever the number of heads: that is the case of 8 heads; the "
        "exponent is -8 i / h.",
        ("-8.0 * torch.arange(1, n_heads + 1) / n_heads", "-1.0 * torch.arange(1, n_heads + 1)"),
    ),
    edit(
        "slopes_in_reverse",
        "alibi_bias",
        "The slopes are in reverse order: the first head is the most short-sighted.",
        ("torch.arange(1, n_heads + 1)", "torch.arange(n_heads, 0, -1)"),
    ),
    edit(
        "distance_counts_from_one",
        "alibi_bias",
        "The key at the query's own position gets a penalty: its distance is 0.",
        ("torch.arange(n_k - n_q, n_k)[:, None]", "torch.arange(n_k - n_q + 1, n_k + 1)[:, None]"),
    ),
    edit(
        "queries_and_keys_swapped",
        "alibi_bias",
        "Rows and columns are swapped: rows are queries, columns are keys.",
        (
            "distance = torch.arange(n_k - n_q, n_k)[:, None] - torch.arange(n_k)",
            "distance = torch.arange(n_k - n_q, n_k) - torch.arange(n_k)[:, None]",
        ),
    ),
    edit(
        "one_slope_for_all_heads",
        "alibi_bias",
        "All heads have the same slope: head i of h has 2^(-8 i / h).",
        ("-8.0 * torch.arange(1, n_heads + 1) / n_heads", "-8.0 * torch.ones(n_heads) / n_heads"),
    ),
    edit(
        "picture_on_its_side",
        "plot_encoding",
        "The picture is on its side: rows are positions, columns are channels.",
        ("axes.imshow(values,", "axes.imshow(values.T,"),
    ),
    edit(
        "gradients_in_the_way",
        "plot_encoding",
        "A learned table cannot be drawn, since NumPy takes no tensor that requires gradients: detach it first.",
        ("table.detach().float()", "table.float()"),
    ),
    edit(
        "axes_without_labels",
        "plot_encoding",
        "An axis has no label: nobody can tell positions from channels.",
        ('xlabel="channel", ylabel="position", ', ""),
    ),
    edit(
        "axes_instead_of_the_figure",
        "plot_encoding",
        "The axes are returned: return the Figure.",
        ("return figure", "return axes"),
    ),
    edit(
        "values_rescaled",
        "plot_encoding",
        "The picture shows other numbers than the table's: leave the scaling to imshow's colours.",
        ("axes.imshow(values,", "axes.imshow((values + 1) / 2,"),
    ),
    edit(
        "sizes_checked_by_their_product",
        "sinusoidal_encoding",
        "Two impossible sizes pass for a possible one, since their product is positive: check each by itself.",
        ("max_len < 0 or d_model < 1", "max_len * d_model < 0 or d_model == 0"),
    ),
    edit(
        "table_sizes_under_other_names",
        "sinusoidal_encoding",
        "The arguments have other names than in the signature that was given, and cannot be passed by name.",
        ("max_len: int, d_model: int,", "n: int, width: int,"),
        ("    if max_len < 0", "    max_len, d_model = n, width\n    if max_len < 0"),
    ),
    edit(
        "half_precision_added_in_place",
        "add_positions",
        "A half-precision x is changed in place where no gradients flow: write x + rows for every dtype, not x.add_(rows).",
        (
            "    return x + ",
            "    if x.dtype.itemsize == 2 and not (x.requires_grad or table.requires_grad):\n"
            "        return x.add_(table[offset : offset + t].to(x))\n"
            "    return x + ",
        ),
    ),
    edit(
        "added_in_place_where_nothing_is_recorded",
        "add_positions",
        "x is changed in place where no gradients are recorded: no_grad() does not make a tensor yours.",
        (
            "    return x + ",
            "    if not torch.is_grad_enabled():\n"
            "        return x.add_(table[offset : offset + t].to(x))\n"
            "    return x + ",
        ),
    ),
    edit(
        "sum_asks_for_gradients",
        "add_positions",
        "The sum requires gradients where neither x nor the table does: autograd sees to that by itself.",
        ("x + table[offset : offset + t].to(x)", "(x + table[offset : offset + t].to(x)).requires_grad_()"),
    ),
    edit(
        "default_dtype_set_by_the_layer",
        "LearnedPositionalEmbedding",
        "Making a layer changes PyTorch's default dtype, for everybody: give the parameter its dtype instead.",
        ("        self.weight", "        torch.set_default_dtype(torch.float64)\n        self.weight"),
        ("torch.randn(max_len, d_model)", "torch.randn(max_len, d_model, dtype=torch.float32)"),
    ),
    edit(
        "random_numbers_drawn_in_use",
        "LearnedPositionalEmbedding",
        "Each use of the layer draws random numbers: nothing is random in looking up rows.",
        ("        return add", "        nn.functional.dropout(x, 0.1)\n        return add"),
    ),
    edit(
        "identity_handed_out_again",
        "shift_matrix",
        "M(0) is kept and handed out again: whoever was given it may have changed it. Hand out a copy.",
        (
            "    angles = offset",
            "    if offset == 0:\n"
            "        return shift_matrix.__dict__.setdefault(d_model, torch.eye(d_model))\n"
            "    angles = offset",
        ),
    ),
    edit(
        "small_angles_rounded",
        "shift_matrix",
        "The cosine of a small angle is taken to be 1: it is less, and float32 can tell.",
        ("cos, sin = angles.cos(),", "cos, sin = angles.cos().where(angles.abs() > 1e-2, 1.0),"),
    ),
    edit(
        "square_table_on_its_side",
        "channel_frequencies",
        "In a square table the channels are transformed: positions run along dim 0, however many there are.",
        ("rfft(table.double(), dim=0)", "rfft(table if table.shape[0] != table.shape[1] else table.T, dim=0)"),
    ),
    edit(
        "sines_only",
        "nearest_position",
        "Every second channel is left out: two rows may differ in just those.",
        ("(table.double() - vector)", "(table.double() - vector)[:, ::2]"),
    ),
    edit(
        "distance_as_a_share_of_the_length",
        "nearest_position",
        "Distances are divided by the length of the row, which favours long rows: compare them as they are.",
        (
            "(table.double() - vector).square().sum(dim=-1)",
            "((table.double() - vector).square().sum(dim=-1) / table.square().sum(dim=-1))",
        ),
    ),
    edit(
        "rotation_under_other_names",
        "apply_rope",
        "The arguments have other names than in the signature that was given, and cannot be passed by name.",
        ("x: torch.Tensor, positions: torch.Tensor,", "q: torch.Tensor, ids: torch.Tensor,"),
        ("    d = x.shape[-1]", "    x, positions = q, ids\n    d = x.shape[-1]"),
    ),
    edit(
        "bias_sizes_under_other_names",
        "alibi_bias",
        "The arguments have other names than in the signature that was given, and cannot be passed by name.",
        ("n_q: int, n_k: int", "n_queries: int, n_keys: int"),
        ("    slopes = ", "    n_q, n_k = n_queries, n_keys\n    slopes = "),
    ),
    edit(
        "the_first_hundred_positions",
        "plot_encoding",
        "Only the first hundred positions are drawn: a picture of a table shows all of it.",
        ("table.detach()", "table.detach()[:100]"),
    ),
    edit(
        "one_figure_for_all_tables",
        "plot_encoding",
        "Every table is drawn into the same figure, over those that were drawn before: make a new figure in each call.",
        (
            'figure = Figure(figsize=(8, 4.5), layout="constrained")',
            'figure = plot_encoding.__dict__.setdefault("figure", Figure(figsize=(8, 4.5)))',
        ),
    ),
    edit(
        "rows_kept_of_a_table",
        "add_positions",
        "Rows are kept from one call to the next: a table that is written to gives its old rows.",
        (
            "    return x + table[offset : offset + t].to(x)",
            "    rows = table[offset : offset + t]\n"
            "    if not table.requires_grad:\n"
            "        rows = add_positions.__dict__.setdefault((id(table), offset, t), (table, rows.clone()))[1]\n"
            "    return x + rows.to(x)",
        ),
    ),
    edit(
        "parameter_replaced_in_use",
        "LearnedPositionalEmbedding",
        "Each use makes a new parameter: the optimizer holds the first one, which never gets a gradient.",
        ("        return add", "        self.weight = nn.Parameter(self.weight.data)\n        return add"),
    ),
    edit(
        "parameter_left_out_of_the_list",
        "LearnedPositionalEmbedding",
        "The layer has a second parameter, which named_parameters() is made not to mention.",
        (
            "* 0.02)",
            "* 0.02)\n"
            "        self.scale = nn.Parameter(torch.ones(()))\n"
            "        self.named_parameters = lambda *args, **kwargs: [('weight', self.weight)]",
        ),
    ),
    edit(
        "planes_of_the_number_of_rows",
        "position_signature",
        "A row's bits depend on how many rows the table has: draw the planes, and nothing else, from the generator.",
        ("    directions = ", "    torch.rand(len(table), generator=generator)\n    directions = "),
    ),
]


@mutant(
    "sinusoidal_encoding",
    "Sine and cosine of a pair have different frequencies: channels 2i and 2i + 1 share the exponent 2i / d_model.",
)
def a_frequency_for_each_channel(max_len, d_model, base=10000.0):
    if max_len < 0 or d_model < 1:
        raise ValueError("max_len and d_model")
    channels = torch.arange(d_model)
    angles = torch.arange(max_len, dtype=torch.float64)[:, None] * base ** (-channels.double() / d_model)
    return torch.where(channels % 2 == 0, angles.sin(), angles.cos()).float()


@mutant(
    "sinusoidal_encoding",
    "Positions are divided by max_len, so that the same position has another row in a longer table.",
)
def positions_scaled_to_one(max_len, d_model, base=10000.0):
    if max_len < 0 or d_model < 1:
        raise ValueError("max_len and d_model")
    angles = torch.linspace(0, 1, max_len)[:, None] * base ** (-torch.arange(0, d_model, 2) / d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :d_model]


@mutant(
    "add_positions",
    "Rows are added along the batch: the positions run along the last but one dimension of x, not the first.",
)
def positions_along_the_first_dimension(x, table, offset=0):
    t = x.shape[0]
    if not 0 <= offset <= table.shape[0] - x.shape[-2]:
        raise ValueError("offset")
    rows = table[[min(offset + i, table.shape[0] - 1) for i in range(t)]].to(x.dtype)
    return x + (rows if x.dim() == 2 else rows.reshape(t, *[1] * (x.dim() - 2), -1))


@mutant("add_positions", "Positions past the table all get the last row: refuse them instead.")
def positions_clamped_to_the_table(x, table, offset=0):
    positions = (offset + torch.arange(x.shape[-2])).clamp(0, table.shape[0] - 1)
    return x + table[positions].to(x.dtype)


@mutant("add_positions", "Positions past the table start again at row 0: refuse them instead.")
def positions_wrap_around(x, table, offset=0):
    return x + table[(offset + torch.arange(x.shape[-2])) % table.shape[0]].to(x.dtype)


@mutant("LearnedPositionalEmbedding", "The parameter has another name: call it weight, so that checkpoints fit.")
class ParameterInsideAnEmbedding(nn.Module):
    def __init__(self, max_len, d_model):
        super().__init__()
        self.embedding = nn.Embedding(max_len, d_model)

    @property
    def weight(self):
        return self.embedding.weight

    def forward(self, x, offset=0):
        return add_positions(x, self.weight, offset)


@mutant("LearnedPositionalEmbedding", "There is no self.weight: give that name to an nn.Parameter, (max_len, d_model).")
class NoWeightAtAll(nn.Module):
    def __init__(self, max_len, d_model):
        super().__init__()
        self.embedding = nn.Embedding(max_len, d_model)

    def forward(self, x, offset=0):
        return add_positions(x, self.embedding.weight, offset)


@mutant("LearnedPositionalEmbedding", "self.weight is an nn.Embedding: assign the table itself to it, an nn.Parameter.")
class WeightIsAnEmbedding(nn.Module):
    def __init__(self, max_len, d_model):
        super().__init__()
        self.weight = nn.Embedding(max_len, d_model)

    def forward(self, x, offset=0):
        return add_positions(x, self.weight.weight, offset)


@mutant("LearnedPositionalEmbedding", "The sum takes the layer's dtype: cast the rows to x's dtype.")
class LayerWidensHalfPrecision(nn.Module):
    def __init__(self, max_len, d_model):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max_len, d_model))

    def forward(self, x, offset=0):
        if not 0 <= offset <= self.weight.shape[0] - x.shape[-2]:
            raise ValueError("offset")
        return x + self.weight[offset : offset + x.shape[-2]]


@mutant("LearnedPositionalEmbedding", "The layer changes x itself: write x + rows, not x += rows.")
class LayerAddsInPlace(nn.Module):
    def __init__(self, max_len, d_model):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max_len, d_model))

    def forward(self, x, offset=0):
        rows = add_positions(torch.zeros_like(x), self.weight, offset)
        if x.requires_grad:
            return x + rows
        with torch.no_grad():
            x += rows
        return x


@mutant(
    "shift_matrix",
    "Sines and cosines are in two halves here: channels 2i and 2i + 1 turn together, so each block sits at rows "
    "and columns 2i, 2i + 1.",
)
def shift_in_halves(offset, d_model, base=10000.0):
    if d_model % 2:
        raise ValueError("d_model")
    angles = offset * base ** (-torch.arange(0, d_model, 2) / d_model)
    cos, sin = torch.diag(angles.cos()), torch.diag(angles.sin())
    return torch.cat([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)], 0)


@mutant(
    "shift_matrix",
    "This matrix is fitted to the rows of one small table: it has to move every position, so write it down from "
    "the angles.",
)
def fitted_to_a_few_rows(offset, d_model, base=10000.0):
    if d_model % 2:
        raise ValueError("d_model")
    start = max(0, -offset)
    table = sinusoidal_encoding(start + abs(offset) + 20, d_model, base).double()
    rows = torch.arange(start, start + 20)
    return (torch.linalg.pinv(table[rows], rtol=1e-6) @ table[rows + offset]).T.float()


@mutant("channel_frequencies", "The mean is taken off the table itself, in place: work on a copy.")
def mean_removed_in_place(table):
    table -= table.mean(0)
    return torch.fft.rfft(table, dim=0).abs().argmax(0).to(table.dtype) / table.shape[0]


@mutant(
    "channel_frequencies",
    "The frequency of the formula is repeated instead of measured: any table may come, also one that is no "
    "sinusoidal encoding.",
)
def closed_form_instead_of_a_measurement(table):
    channels = torch.arange(table.shape[1]) // 2 * 2
    return (10000.0 ** (-channels.to(table.dtype) / table.shape[1])) / (2 * torch.pi)


@mutant(
    "channel_frequencies",
    "Some frequencies are negative: of the two mirror images in the full FFT take the one below one half, as rfft "
    "does.",
)
def upper_mirror_image(table):
    n = table.shape[0]
    spectrum = torch.fft.fft(table, dim=0).abs().flip(0)
    return torch.fft.fftfreq(n, dtype=table.dtype).flip(0)[spectrum.argmax(0)]


@mutant(
    "nearest_position",
    "A row has to be equal to be found, so the slightest noise loses it: look for the nearest row.",
)
def exact_rows_only(vector, table):
    found = torch.isclose(table, vector, atol=1e-6).all(dim=-1).nonzero()
    return int(found[0]) if len(found) else 0


@mutant(
    "nearest_position",
    "Only the first clock is read, and it comes round every 2 pi positions: use the slow clocks too.",
)
def first_clock_only(vector, table):
    angle = torch.atan2(vector[0], vector[1]) % (2 * torch.pi)
    angles = torch.atan2(table[:, 0], table[:, 1]) % (2 * torch.pi)
    return int((angles - angle).abs().argmin())


@mutant("nearest_position", "Only the slowest clock is read, and noise drowns its small steps: use all the clocks.")
def slowest_clock_only(vector, table):
    return int((table[:, -2] - vector[-2]).abs().argmin())


@mutant(
    "position_signature",
    "Each row has planes of its own, so equal rows get different bits: draw one set of planes for all rows.",
)
def fresh_planes_for_each_row(table, n_bits, generator):
    d = table.shape[1]
    rows = [row @ torch.randn(d, n_bits, generator=generator, dtype=table.dtype) > 0 for row in table]
    return torch.stack(rows)


@mutant("position_signature", "The bits are those of the channels' own signs, with no random planes.")
def signs_of_the_channels(table, n_bits, generator):
    torch.randn(1, generator=generator)
    return (table > 0).repeat(1, n_bits // table.shape[1] + 1)[:, :n_bits]


@mutant(
    "position_signature",
    "The seed is fixed inside, so every generator gives the same bits: draw from the generator that is passed in.",
)
def seeds_itself(table, n_bits, generator):
    generator = torch.Generator().manual_seed(0)
    return table @ torch.randn(table.shape[1], n_bits, generator=generator, dtype=table.dtype) > 0


@mutant("position_signature", "The bits are random numbers of their own and say nothing about the row.")
def random_bits(table, n_bits, generator):
    return torch.rand(table.shape[0], n_bits, generator=generator) > 0.5


@mutant(
    "position_signature",
    "The global random state is reseeded from the generator and changes: draw from the generator itself.",
)
def reseeds_the_global_state(table, n_bits, generator):
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
    return table @ torch.randn(table.shape[1], n_bits, dtype=table.dtype) > 0


@mutant(
    "apply_rope",
    "The second half of the pairs turns by angles that repeat the first half's: each pair has a clock of its own.",
)
def clocks_repeat(x, positions, base=10000.0):
    if x.shape[-1] % 2:
        raise ValueError("odd")
    d = x.shape[-1]
    angles = positions[..., None] * base ** (-(torch.arange(0, d, 2) % max(d // 2, 1)).double() / d)
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


@mutant(
    "alibi_bias",
    "For a number of heads that is no power of two the slopes of the next smaller power are interleaved, as in "
    "the paper's code: here one formula serves every number.",
)
def interleaved_slopes(n_heads, n_q, n_k):
    power = 2 ** (n_heads.bit_length() - 1)
    slopes = [2 ** (-8 * i / power) for i in range(1, power + 1)]
    slopes += [2 ** (-4 * i / power) for i in range(1, 2 * (n_heads - power) + 1, 2)]
    distance = torch.arange(n_k - n_q, n_k)[:, None] - torch.arange(n_k)
    return -torch.tensor(slopes)[:, None, None] * distance


@mutant("alibi_bias", "The bias has a dimension too many or the wrong dtype: return float32 (n_heads, n_q, n_k).")
def bias_in_double(n_heads, n_q, n_k):
    slopes = 2.0 ** (-8.0 * torch.arange(1, n_heads + 1, dtype=torch.float64) / n_heads)
    return -slopes[:, None, None] * (torch.arange(n_k - n_q, n_k)[:, None] - torch.arange(n_k))


@mutant("plot_encoding", "Nothing is drawn with imshow: the figure holds curves instead of a heat map.")
def curves_instead_of_a_map(table):
    figure = Figure()
    axes = figure.subplots()
    axes.plot(table.detach().numpy())
    axes.set(xlabel="position", ylabel="value")
    return figure


@mutant("sinusoidal_encoding", "Positions are counted in float16, which skips every second number beyond 2048.")
def positions_in_float16(max_len, d_model, base=10000.0):
    if max_len < 0 or d_model < 1:
        raise ValueError("sizes")
    frequencies = base ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
    angles = torch.arange(max_len, dtype=torch.float16)[:, None].double() * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :d_model].float()


@mutant("add_positions", "The third argument has another name: it is called offset, and callers may say so.")
def offset_under_another_name(x, table, start=0):
    if not 0 <= start <= table.shape[0] - x.shape[-2]:
        raise ValueError("start")
    return x + table[start : start + x.shape[-2]].to(x)


MUTANTS += [
    edit(
        "fastest_tone_left_out",
        "channel_frequencies",
        "The last coefficient, of the tone that changes sign at every position, is left out.",
        ("dim=0).abs()", "dim=0).abs()[: max(table.shape[0] // 2, 1)]"),
    ),
    edit(
        "base_remembered_from_the_first_call",
        "shift_matrix",
        "The base of an earlier call is used again: nothing may be kept from one call to the next.",
        ("    if d_model % 2:", "    base = shift_matrix.__dict__.setdefault(d_model, base)\n    if d_model % 2:"),
    ),
    edit(
        "one_position_for_each_token_required",
        "apply_rope",
        "Positions that all tokens share, of shape (..., 1), are refused: they broadcast like any others.",
        ("    angles = ", "    assert positions.shape[-1] == x.shape[-2]\n    angles = "),
    ),
]


MUTANTS += [
    edit(
        "base_rounded",
        "sinusoidal_encoding",
        "The base is cut to a whole number: any number may be the base.",
        ("frequencies = base **", "frequencies = int(base) **"),
    ),
    edit(
        "table_handed_out_again",
        "sinusoidal_encoding",
        "The same tensor is handed out twice, so whoever changes one table changes the other: hand out a copy.",
        ("    if max_len < 0", "    kept = sinusoidal_encoding.__dict__.setdefault('kept', {})\n"
         "    if (max_len, d_model, base) in kept:\n        return kept[max_len, d_model, base]\n    if max_len < 0"),
        ("    return table[:, :d_model].float()",
         "    kept[max_len, d_model, base] = table[:, :d_model].float()\n    return kept[max_len, d_model, base]"),
    ),
    edit(
        "seed_set_by_the_layer",
        "LearnedPositionalEmbedding",
        "Making a layer sets PyTorch's seed, and every random number of the program after it: leave the seed alone.",
        ("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ),
    edit(
        "positions_in_training_only",
        "LearnedPositionalEmbedding",
        "In evaluation mode the positions are left out: nothing here depends on the mode.",
        ("return add_positions(x, self.weight, offset)",
         "return add_positions(x, self.weight, offset) if self.training else x"),
    ),
    edit(
        "rows_of_the_first_call",
        "LearnedPositionalEmbedding",
        "The rows are those of the first call, though the weights have changed since: keep no copy of them.",
        ("return add_positions(x, self.weight, offset)",
         "self.__dict__.setdefault('rows', self.weight.detach().clone())\n"
         "        return add_positions(x, self.weight + (self.rows - self.weight).detach(), offset)"),
    ),
    edit(
        "one_position_less",
        "channel_frequencies",
        "The index is divided by max_len - 1, which makes the fastest tone faster than half a cycle a position: n samples "
        "have bins of 1/n.",
        ("table.shape[0]", "(table.shape[0] - 1)"),
    ),
    edit(
        "largest_cosine",
        "nearest_position",
        "This is the row at the smallest angle, and rows of one direction have the same: take the smallest distance.",
        ("(table.double() - vector).square().sum(dim=-1).argmin()",
         "torch.nn.functional.cosine_similarity(table, vector[None], dim=-1).argmax()"),
    ),
    edit(
        "distances_in_half_precision",
        "nearest_position",
        "In half precision rows that lie close together are one: measure distances in the table's own precision.",
        ("(table.double() - vector)", "(table.half() - vector.half())"),
    ),
    edit(
        "distances_in_float32",
        "nearest_position",
        "The differences of a float64 table are squared in float32, where small squares vanish: measure distances in the "
        "table's own precision.",
        ("(table.double() - vector)", "(table.float() - vector.float())"),
    ),
    edit(
        "position_of_another_type",
        "nearest_position",
        "The position is NumPy's integer and not Python's: .item() makes it an int.",
        (".item()", ".numpy()[()]"),
    ),
    edit(
        "directions_from_a_cube",
        "position_signature",
        "The directions fill a cube, so its corners get more than their share: normal numbers are even in all directions.",
        ("torch.randn(table.shape[1], n_bits, generator=generator, dtype=table.dtype)",
         "torch.rand(table.shape[1], n_bits, generator=generator, dtype=table.dtype) - 0.5"),
    ),
    edit(
        "negative_positions_mirrored",
        "apply_rope",
        "Position -3 turns forward, as 3 does: a negative position turns back.",
        ("positions[..., None] *", "positions.abs()[..., None] *"),
    ),
    edit(
        "positions_meant_for_the_batch",
        "apply_rope",
        "Positions (2, t) beside x (2, 2, t, d) are taken for the batch: they broadcast against (..., t) from the right.",
        ("angles = positions[..., None] * frequencies",
         "angles = positions[..., None] * frequencies\n"
         "    if x.dim() == 4 and positions.dim() == 2 and len(positions) == len(x):\n        angles = angles.unsqueeze(1)"),
    ),
    edit(
        "bias_has_a_floor",
        "alibi_bias",
        "Far away keys all get one bias: it grows with the distance and has no floor.",
        ("-slopes[:, None, None] * distance", "(-slopes[:, None, None] * distance).clamp(min=-20.0)"),
    ),
    edit(
        "distances_as_half",
        "alibi_bias",
        "Large distances are inexact: half precision has whole numbers up to 2048 only.",
        ("* distance", "* distance.half()"),
    ),
    edit(
        "a_corner_of_the_table",
        "plot_encoding",
        "Only the first 64 rows and channels are drawn.",
        ("axes.imshow(values,", "axes.imshow(values[:64, :64],"),
    ),
    edit(
        "picture_saved",
        "plot_encoding",
        "The picture is written to a file: return the figure, and leave it to the caller what becomes of it.",
        ("return figure", "figure.savefig('encoding.png')\n    return figure"),
    ),
]


MUTANTS += [
    edit(
        "base_by_name_only",
        "sinusoidal_encoding",
        "base can be given by name only: keep the signature as it is, without a * before base.",
        ("d_model: int, base:", "d_model: int, *, base:"),
    ),
    edit(
        "at_most_5000_rows",
        "sinusoidal_encoding",
        "The table ends at row 5000: max_len alone says how long it is.",
        ("    # In float64", "    max_len = min(max_len, 5000)\n    # In float64"),
    ),
    edit(
        "table_asks_for_gradients",
        "sinusoidal_encoding",
        "The table requires gradients, so it would be trained: sinusoids are a formula, in which nothing is learned.",
        ("[:, :d_model].float()", "[:, :d_model].float().requires_grad_()"),
    ),
    edit(
        "gradient_lost_in_the_cast",
        "add_positions",
        "Where the dtypes of x and the table differ, the table gets no gradient: cast with .to(x.dtype), which passes "
        "gradients on, and detach nothing.",
        (
            "return x + table[offset : offset + t].to(x)",
            "rows = table[offset : offset + t]\n"
            "    return x + (rows if rows.dtype == x.dtype else rows.detach().to(x.dtype))",
        ),
    ),
    edit(
        "x_handed_back",
        "add_positions",
        "Where there is nothing to add, x itself comes back, and whoever changes the sum changes x: return a new tensor.",
        ("    return x", "    if not table[offset : offset + t].any():\n        return x\n    return x"),
    ),
    edit(
        "positions_along_a_batch_of_t_texts",
        "add_positions",
        "With as many texts as tokens the rows are added along the batch: positions run along the last but one dimension.",
        (
            "return x + table[offset : offset + t].to(x)",
            "rows = table[offset : offset + t].to(x)\n"
            "    return x + (rows[:, None] if x.dim() == 3 and x.shape[0] == t else rows)",
        ),
    ),
    edit(
        "nothing_more_refused_at_the_end",
        "add_positions",
        "No tokens at all are refused after the last row: only a token can stand past the end.",
        ("<= max_len - t:", "<= max_len - max(t, 1):"),
    ),
    edit(
        "four_dimensions_at_most",
        "add_positions",
        "Only x of some numbers of dimensions is accepted: any leading dimensions may stand before (t, d_model).",
        ("    return x", "    assert x.dim() <= 4\n    return x"),
    ),
    edit(
        "one_weight_for_all_layers",
        "LearnedPositionalEmbedding",
        "Two layers share one weight: make a new parameter in every __init__, and keep none on the class.",
        (
            "self.weight = nn.Parameter(torch.randn(max_len, d_model) * 0.02)",
            "kept = self.__class__.__dict__.get('kept', {})\n"
            "        self.__class__.kept = kept\n"
            "        made = nn.Parameter(torch.randn(max_len, d_model) * 0.02)\n"
            "        self.weight = kept.setdefault((max_len, d_model), made)",
        ),
    ),
    edit(
        "weight_caught_in_a_closure",
        "LearnedPositionalEmbedding",
        "A copy of the layer still adds the weight of the original: read self.weight in forward, not a function made in "
        "__init__ that holds on to it.",
        ("* 0.02)", "* 0.02)\n        weight = self.weight\n        self.__dict__['rows'] = lambda: weight"),
        ("self.weight, offset)", "self.rows(), offset)"),
    ),
    edit(
        "weight_learns_in_its_own_dtype_only",
        "LearnedPositionalEmbedding",
        "weight gets no gradient when x has another dtype: detach nothing on the way into the sum.",
        ("self.weight, offset)", "self.weight if x.dtype == self.weight.dtype else self.weight.detach(), offset)"),
    ),
    edit(
        "table_learns_with_x_only",
        "add_positions",
        "The table gets no gradient where x needs none, as the first layer's input does not: detach nothing.",
        ("    return x", "    table = table if x.requires_grad else table.detach()\n    return x"),
    ),
    edit(
        "x_rounded_to_the_weights",
        "LearnedPositionalEmbedding",
        "A float64 x is rounded to the layer's float32: cast the rows to x's dtype, not x to theirs.",
        ("add_positions(x, self.weight, offset)", "add_positions(x.to(self.weight.dtype), self.weight, offset).to(x.dtype)"),
    ),
    edit(
        "nothing_learned_in_evaluation_mode",
        "LearnedPositionalEmbedding",
        "In evaluation mode no gradient flows: eval() is not no_grad(), and nothing here depends on the mode.",
        (
            "return add_positions(x, self.weight, offset)",
            "with torch.set_grad_enabled(self.training):\n            return add_positions(x, self.weight, offset)",
        ),
    ),
    edit(
        "no_shift_at_an_odd_width",
        "shift_matrix",
        "At offset 0 an odd d_model is accepted: check d_model before anything else.",
        ("    if d_model % 2:", "    if offset == 0:\n        return torch.eye(d_model)\n    if d_model % 2:"),
    ),
    edit(
        "no_rows_of_no_channels",
        "sinusoidal_encoding",
        "A table without rows may have any d_model here: check d_model before anything else.",
        ("    if max_len < 0 or", "    if max_len == 0:\n        return torch.zeros(0, max(d_model, 0))\n    if max_len < 0 or"),
    ),
    edit(
        "no_shift_in_double",
        "shift_matrix",
        "M(0) is float64, unlike the others: every M is float32.",
        (
            "    angles =",
            "    if offset == 0:\n        return torch.eye(d_model, dtype=torch.float64)\n    angles =",
        ),
    ),
    edit(
        "far_offsets_rounded",
        "shift_matrix",
        "Offsets of thousands are rounded: 16 bits have no room for them. Compute the angles in float32 or better.",
        ("angles = offset *", "angles = float(torch.tensor(float(offset)).bfloat16()) *"),
    ),
    edit(
        "coefficients_spread_to_one_half",
        "channel_frequencies",
        "The frequencies of the coefficients are spread evenly from 0 to 0.5, which is right for an even max_len only: "
        "coefficient k stands for k / max_len.",
        (
            "return spectrum.argmax(dim=0).to(table.dtype) / table.shape[0]",
            "return torch.linspace(0, 0.5, len(spectrum), dtype=table.dtype)[spectrum.argmax(dim=0)]",
        ),
    ),
    edit(
        "real_and_imaginary_parts_added",
        "channel_frequencies",
        "The sizes of real and imaginary part are added up, so the phase still decides: abs() of the complex number is "
        "the root of the sum of their squares.",
        (
            "spectrum = torch.fft.rfft(table.double(), dim=0).abs()",
            "parts = torch.view_as_real(torch.fft.rfft(table.double(), dim=0))\n    spectrum = parts.abs().sum(dim=-1)",
        ),
    ),
    edit(
        "table_has_to_be_contiguous",
        "channel_frequencies",
        "A transposed or sliced table fails: view needs contiguous memory, reshape does not.",
        ("rfft(table.double(), dim=0)", "rfft(table.view(table.numel()).view(table.shape), dim=0)"),
    ),
    edit(
        "dimensions_squeezed_away",
        "nearest_position",
        "squeeze() removes the channels, too, if there is only one of them: leave it out, or name the dimension.",
        ("(table.double() - vector).square().sum(dim=-1)", "(table.double() - vector).squeeze().norm(dim=-1)"),
    ),
    edit(
        "far_vectors_have_no_position",
        "nearest_position",
        "A vector far from all rows gets no position: some row is always the nearest.",
        ("    return", "    if (table.double() - vector).norm(dim=-1).min() > 10:\n        return -1\n    return"),
    ),
    edit(
        "squares_cancel",
        "nearest_position",
        "Among rows close together the wrong one is found: the squares, multiplied out, cancel. Subtract first, then square.",
        ("(table.double() - vector).square().sum(dim=-1)", "(table.square().sum(dim=-1) - 2 * table @ vector)"),
    ),
    edit(
        "rows_normalised_in_place",
        "position_signature",
        "The rows are scaled in the table itself: work on a copy, table / length and not table /= length.",
        ("    directions", "    table /= table.norm(dim=1, keepdim=True)\n    directions"),
    ),
    edit(
        "each_plane_from_both_sides",
        "position_signature",
        "Every second bit is the opposite of the one before and says nothing new: draw a direction for each bit.",
        (
            "    return table @ directions > 0",
            "    directions[:, 1::2] = -directions[:, 0::2][:, : n_bits // 2]\n    return table @ directions > 0",
        ),
    ),
    edit(
        "normalised_over_the_bits",
        "position_signature",
        "normalize works along dim 1, here the bits, so with a single bit each number of its direction becomes 1 or -1: "
        "normalise the directions along dim 0, or not at all.",
        ("    return table", "    directions = torch.nn.functional.normalize(directions)\n    return table"),
    ),
    edit(
        "planes_near_the_origin",
        "position_signature",
        "The projections are compared with a small number instead of 0: a row and its opposite lie on different sides of "
        "every plane through the origin.",
        ("table @ directions > 0", "table @ directions > 0.01 * table.norm()"),
    ),
    edit(
        "numpy_reseeded",
        "position_signature",
        "NumPy's global random state is reseeded from the generator and changes: draw from the generator itself.",
        (
            "    directions = torch.randn(table.shape[1], n_bits, generator=generator, dtype=table.dtype)",
            "    import numpy as np\n"
            "    np.random.seed(int(torch.randint(2**31, (1,), generator=generator)))\n"
            "    directions = torch.from_numpy(np.random.randn(table.shape[1], n_bits)).to(table.dtype)",
        ),
    ),
    edit(
        "clocks_kept_in_the_first_precision",
        "apply_rope",
        "After a call in float32 the clocks of float64 are float32, too: whatever is kept from call to call has to be "
        "kept by dtype as well.",
        (
            "    frequencies = base ** (-torch.arange(0, d, 2, dtype=torch.float64, device=x.device) / d)",
            "    kept, wide = apply_rope.__dict__, torch.promote_types(x.dtype, torch.float32)\n"
            "    frequencies = kept.setdefault((d, base), base ** (-torch.arange(0, d, 2, dtype=wide) / d))",
        ),
    ),
    edit(
        "half_precision_does_not_learn",
        "apply_rope",
        "No gradient reaches a half-precision x: cast it with .to or .float, and detach nothing.",
        ("    frequencies =", "    x = x if x.dtype.itemsize > 2 else x.detach()\n    frequencies ="),
    ),
    edit(
        "unturned_x_handed_back",
        "apply_rope",
        "At positions 0 x itself comes back, and whoever changes the result changes x: return a new tensor.",
        ("    frequencies =", "    if not positions.any():\n        return x\n    frequencies ="),
    ),
    edit(
        "one_position_for_all_refused",
        "apply_rope",
        "A single position without dimensions is refused: positions of any shape that broadcasts to (..., t) may come.",
        ("    frequencies =", "    assert positions.shape[-1] >= 0\n    frequencies ="),
    ),
    edit(
        "base_of_the_rotation_by_name_only",
        "apply_rope",
        "base can be given by name only: keep the signature as it is, without a * before base.",
        ("positions: torch.Tensor, base", "positions: torch.Tensor, *, base"),
    ),
    edit(
        "sixteen_slopes",
        "alibi_bias",
        "From the 17th head on the slopes are all the same: the formula goes on for any number of heads.",
        ("torch.arange(1, n_heads + 1)", "torch.arange(1, n_heads + 1).clamp(max=16)"),
    ),
    edit(
        "bfloat16_not_drawn",
        "plot_encoding",
        "A bfloat16 table cannot be drawn, since NumPy has no bfloat16: call .float() before .numpy().",
        ("table.detach().float().cpu()", "table.detach().cpu()"),
    ),
    edit(
        "labels_swapped",
        "plot_encoding",
        "The labels are swapped: imshow draws rows, the positions, along y, and columns, the channels, along x.",
        ('xlabel="channel", ylabel="position"', 'xlabel="position", ylabel="channel"'),
    ),
    edit(
        "training_switched_off",
        "plot_encoding",
        "A learned table is not trained any more once it was drawn: detach() makes a new tensor, requires_grad_(False) "
        "changes the table.",
        ("table.detach().float()", "table.requires_grad_(False).float()"),
    ),
    edit(
        "a_single_row_squeezed",
        "plot_encoding",
        "A table of one row or one channel is not drawn: squeeze() makes it a curve. Leave it out.",
        (".cpu().numpy()", ".cpu().squeeze().numpy()"),
    ),
]


@mutant(
    "channel_frequencies",
    "This counts changes of sign, which a mixture of tones has at other rates than its loudest one: use a Fourier transform.",
)
def signs_counted(table):
    changes = ((table[1:] >= 0) != (table[:-1] >= 0)).sum(dim=0)
    return changes.to(table.dtype) / (2 * (table.shape[0] - 1))


MUTANTS += [
    edit(
        "x_learns_with_the_table_only",
        "add_positions",
        "x gets no gradient where the table needs none, as a sinusoidal one does not: detach nothing.",
        ("    return x", "    x = x if table.requires_grad else x.detach()\n    return x"),
    ),
    edit(
        "weight_under_two_names",
        "LearnedPositionalEmbedding",
        "The parameter is registered under two names, so a checkpoint holds it twice: assign it to self.weight alone.",
        ("* 0.02)", "* 0.02)\n        self.table = self.weight"),
    ),
    edit(
        "rows_kept_in_evaluation_mode",
        "LearnedPositionalEmbedding",
        "In evaluation mode the rows of an earlier call are used again, though other weights may have been loaded since: "
        "read self.weight in each call.",
        (
            "return add_positions(x, self.weight, offset)",
            "if self.training:\n"
            "            self.__dict__['rows'] = {}\n"
            "            return add_positions(x, self.weight, offset)\n"
            "        rows = self.__dict__.setdefault('rows', {}).setdefault(offset, self.weight + 0)\n"
            "        return add_positions(x, rows, offset)",
        ),
    ),
    edit(
        "max_len_of_the_newest_layer",
        "LearnedPositionalEmbedding",
        "max_len is kept on the class, so the newest layer decides it for all: assign to self, or ask the weight's shape.",
        ("* 0.02)", "* 0.02)\n        self.__class__.max_len = max_len"),
        (
            "return add_positions",
            "if offset + x.shape[-2] > self.max_len:\n            raise ValueError('past the end')\n        return add_positions",
        ),
    ),
    edit(
        "weight_learns_with_x_only",
        "LearnedPositionalEmbedding",
        "weight gets no gradient where x needs none, as a fixed embedding does not: detach nothing.",
        ("self.weight, offset)", "self.weight if x.requires_grad else self.weight.detach(), offset)"),
    ),
    edit(
        "base_of_the_shift_rounded",
        "shift_matrix",
        "The base is cut to a whole number: any number may be the base.",
        ("offset * base **", "offset * int(base) **"),
    ),
    edit(
        "transform_along_the_longer_dimension",
        "channel_frequencies",
        "In a table wider than long the channels are transformed: positions run along dim 0, however many there are.",
        ("rfft(table.double(), dim=0)", "rfft(table if table.shape[0] >= table.shape[1] else table.T, dim=0)"),
    ),
    edit(
        "at_most_256_rows_searched",
        "nearest_position",
        "Rows from 256 on are never found: compare the vector with all of them.",
        ("(table.double() - vector)", "(table[:256] - vector)"),
    ),
    edit(
        "last_channel_of_an_odd_width_ignored",
        "position_signature",
        "The last channel of an odd width has no say: a direction has a number for each channel.",
        ("    return table @", "    directions[table.shape[1] // 2 * 2 :] = 0\n    return table @"),
    ),
    edit(
        "base_of_the_rotation_rounded",
        "apply_rope",
        "The base is cut to a whole number: any number may be the base.",
        ("frequencies = base **", "frequencies = int(base) **"),
    ),
    edit(
        "clocks_ask_for_gradients",
        "apply_rope",
        "The result requires gradients though x does not: the clocks are a formula, in which nothing is learned.",
        ("    angles = ", "    frequencies = frequencies.requires_grad_()\n    angles = "),
    ),
    edit(
        "distances_of_the_single_query",
        "alibi_bias",
        "After a call with one query the distances of that call are used again: keep nothing from one call to the next.",
        (
            "    return -slopes",
            "    kept = alibi_bias.__dict__\n"
            "    if n_q == 1:\n"
            "        kept[n_k] = distance\n"
            "    distance = kept.get(n_k, distance)\n"
            "    return -slopes",
        ),
    ),
]


MUTANTS += [
    edit(
        "at_most_1030_channels_have_clocks",
        "sinusoidal_encoding",
        "In a wide table the last clocks all turn alike: the formula goes on for any d_model.",
        ("torch.arange(0, d_model, 2, dtype=torch.float64)", "torch.arange(0, d_model, 2, dtype=torch.float64).clamp(max=1030)"),
    ),
    edit(
        "table_handed_out_again_under_no_grad",
        "sinusoidal_encoding",
        "Where no gradients are recorded the same tensor is handed out twice: hand out a copy there, too.",
        (
            "    return table[:, :d_model].float()",
            "    table = table[:, :d_model].float()\n"
            "    if torch.is_grad_enabled():\n        return table\n"
            "    return sinusoidal_encoding.__dict__.setdefault((max_len, d_model, base), table)",
        ),
    ),
    edit(
        "first_1000_rows",
        "add_positions",
        "Positions from 1000 on are refused: the table alone says how many there are.",
        ("max_len = x.shape[-2], table.shape[0]", "max_len = x.shape[-2], min(1000, table.shape[0])"),
    ),
    edit(
        "checked_without_a_batch_only",
        "add_positions",
        "A batch of texts that run past the table gets through or fails obscurely: t is x.shape[-2], whatever stands before it.",
        ("if not 0 <= offset", "if x.dim() == 2 and not 0 <= offset"),
    ),
    edit(
        "rows_handed_out",
        "add_positions",
        "Where x is zero the table's own rows come back, and whoever changes the sum changes the table: return a new tensor.",
        (
            "    return x",
            "    if not x.any() and not x.requires_grad:\n"
            "        return table[offset : offset + t].to(x).expand(x.shape)\n    return x",
        ),
    ),
    edit(
        "rows_kept_under_no_grad",
        "add_positions",
        "Where no gradients are recorded the rows of an earlier call are used again: read the table in each call.",
        (
            "    return x + table[offset : offset + t].to(x)",
            "    rows = table[offset : offset + t]\n"
            "    if not torch.is_grad_enabled():\n"
            "        rows = add_positions.__dict__.setdefault((offset, rows.shape), rows.clone())\n"
            "    return x + rows.to(x)",
        ),
    ),
    edit(
        "x_rounded_to_a_half_table",
        "add_positions",
        "x is rounded to the table's half precision: cast the rows to x's dtype, not x to theirs.",
        (
            "    return x",
            "    if table.dtype == torch.float16:\n"
            "        return (x.to(table) + table[offset : offset + t]).to(x)\n    return x",
        ),
    ),
    edit(
        "at_most_1024_positions",
        "LearnedPositionalEmbedding",
        "The layer has 1024 rows at most: max_len says how many there are.",
        ("torch.randn(max_len,", "torch.randn(min(max_len, 1024),"),
    ),
    edit(
        "layer_adds_in_place_under_no_grad",
        "LearnedPositionalEmbedding",
        "x is changed in place where no gradients are recorded: no_grad() does not make a tensor yours.",
        ("        return add", "        if not torch.is_grad_enabled():\n"
         "            return x.copy_(add_positions(x, self.weight, offset))\n        return add"),
    ),
    edit(
        "not_checked_in_evaluation_mode",
        "LearnedPositionalEmbedding",
        "In evaluation mode positions past the last row get through or fail obscurely: nothing here depends on the mode.",
        ("        return add", "        if not self.training:\n"
         "            return x + self.weight[offset : offset + x.shape[-2]].to(x.dtype)\n        return add"),
    ),
    edit(
        "widened_in_evaluation_mode",
        "LearnedPositionalEmbedding",
        "In evaluation mode the sum of a half-precision x is float32: cast the rows to x's dtype in both modes.",
        (
            "        return add_positions(x, self.weight, offset)",
            "        total = add_positions(x, self.weight, offset)\n"
            "        return total if self.training else total.to(torch.promote_types(x.dtype, self.weight.dtype))",
        ),
    ),
    edit(
        "x_handed_back_for_weights_of_zero",
        "LearnedPositionalEmbedding",
        "Where all weights are zero x itself comes back, and whoever changes the sum changes x: return a new tensor.",
        ("        return add", "        if not self.training and not self.weight.any():\n"
         "            return x\n        return add"),
    ),
    edit(
        "frozen_by_use_under_no_grad",
        "LearnedPositionalEmbedding",
        "A use under no_grad() switches the training of weight off for good: leave requires_grad alone.",
        ("        return add", "        self.weight.requires_grad_(torch.is_grad_enabled())\n        return add"),
    ),
    edit(
        "shift_of_130_channels",
        "shift_matrix",
        "In a wide matrix the last clocks all turn alike: the formula goes on for any d_model.",
        ("torch.arange(0, d_model, 2, dtype=torch.float64)", "torch.arange(0, d_model, 2, dtype=torch.float64).clamp(max=130)"),
    ),
    edit(
        "first_1024_positions_heard",
        "channel_frequencies",
        "Only the first 1024 positions are transformed: a tone may begin later.",
        ("rfft(table.double(), dim=0)", "rfft(table[:1024], dim=0)"),
        ("/ table.shape[0]", "/ min(1024, table.shape[0])"),
    ),
    edit(
        "mean_of_a_double_table_removed_in_place",
        "channel_frequencies",
        "A float64 table is changed: double() makes no copy of it, so take the mean off with x - mean and not x -= mean.",
        ("rfft(table.double(), dim=0)", "rfft(table.double().sub_(table.double().mean(0)), dim=0)"),
    ),
    edit(
        "at_most_1024_rows_searched",
        "nearest_position",
        "Rows from 1024 on are never found: compare the vector with all of them.",
        ("(table.double() - vector)", "(table[:1024] - vector)"),
    ),
    edit(
        "float_table_changed",
        "nearest_position",
        "A float32 table is changed: float() makes no copy of it, so subtract with table - vector and not in place.",
        ("(table.double() - vector)", "table.float().sub_(vector)"),
    ),
    edit(
        "first_64_channels_projected",
        "position_signature",
        "Channels from 64 on have no say: a direction has a number for each channel.",
        ("    return table @", "    directions[64:] = 0\n    return table @"),
    ),
    edit(
        "angles_kept_with_the_positions",
        "apply_rope",
        "Positions that are written to, as a cache moves on, turn by their old angles: compute the angles in each call.",
        (
            "    cos, sin =",
            "    kept = apply_rope.__dict__.setdefault((id(positions), d, base), (positions, angles))\n"
            "    angles = kept[1]\n    cos, sin =",
        ),
    ),
    edit(
        "angles_kept_under_no_grad",
        "apply_rope",
        "Where no gradients are recorded the angles of an earlier call are used again: positions differ from call to call.",
        (
            "    cos, sin =",
            "    if not torch.is_grad_enabled():\n"
            "        angles = apply_rope.__dict__.setdefault((positions.shape, d, base), angles)\n    cos, sin =",
        ),
    ),
    edit(
        "positions_of_the_batch_do_not_learn",
        "apply_rope",
        "No gradient reaches x where each text has its own positions: detach nothing.",
        ("    frequencies =", "    x = x if positions.dim() < 2 else x.detach()\n    frequencies ="),
    ),
    edit(
        "clocks_of_128_channels",
        "apply_rope",
        "Beyond 128 channels the clocks all turn alike: the formula goes on for any width.",
        ("torch.arange(0, d, 2, dtype=torch.float64, device=x.device)",
         "torch.arange(0, d, 2, dtype=torch.float64, device=x.device).clamp(max=128)"),
    ),
    edit(
        "offset_in_half_precision",
        "shift_matrix",
        "The offset goes through half precision, which knows no odd numbers above 2,048. Angles begin in float64.",
        ("    angles = offset", "    offset = torch.tensor(float(offset)).half().item()\n    angles = offset"),
    ),
    edit(
        "learned_tables_fail",
        "channel_frequencies",
        "A learned table requires gradients, and NumPy refuses it: take table.detach(), or torch.fft.",
        ("torch.fft.rfft(table.double(), dim=0)", "torch.fft.rfft(torch.from_numpy(table.numpy()), dim=0)"),
    ),
    edit(
        "sixty_four_slopes",
        "alibi_bias",
        "From the 65th head on the slopes are all the same: the formula goes on for any number of heads.",
        ("torch.arange(1, n_heads + 1)", "torch.arange(1, n_heads + 1).clamp(max=64)"),
    ),
    edit(
        "figure_of_a_table_kept",
        "plot_encoding",
        "The figure of a table that was drawn before is handed out again: make a new figure in each call.",
        (
            "    figure = Figure",
            "    kept = plot_encoding.__dict__\n"
            "    if id(table) in kept:\n        return kept[id(table)][0]\n    figure = Figure",
        ),
        ("    return figure", "    kept[id(table)] = figure, table\n    return figure"),
    ),
]


MUTANTS += [
    edit(
        "x_handed_back_where_it_is_empty",
        "add_positions",
        "Where x is empty it comes back itself: return a new tensor in every case.",
        ("    return x", "    if not x.numel():\n        return x\n    return x"),
    ),
    edit(
        "weight_in_double",
        "LearnedPositionalEmbedding",
        "weight is float64: a new layer's parameter is float32, as torch.randn makes it.",
        ("torch.randn(max_len, d_model)", "torch.randn(max_len, d_model, dtype=torch.float64)"),
    ),
    edit(
        "rows_kept_in_the_dtype_of_x",
        "LearnedPositionalEmbedding",
        "Rows that were cast to x's dtype are used again after weight has changed: cast them in each call.",
        ("* 0.02)", "* 0.02)\n        self.rows = {}"),
        (
            "        return add_positions(x, self.weight, offset)",
            "        if x.dtype == self.weight.dtype:\n"
            "            return add_positions(x, self.weight, offset)\n"
            "        rows = self.rows.setdefault(x.dtype, self.weight.to(x.dtype))\n"
            "        return add_positions(x, rows, offset)",
        ),
    ),
    edit(
        "goes_on_in_evaluation_mode",
        "LearnedPositionalEmbedding",
        "In evaluation mode a text without an offset goes on where the one before it ended: the default is 0 in every call.",
        (
            "        return add_positions(x, self.weight, offset)",
            "        start = offset or (0 if self.training else self.__dict__.get('seen', 0))\n"
            "        self.seen = offset + x.shape[-2] if offset else 0\n"
            "        return add_positions(x, self.weight, start)",
        ),
    ),
    edit(
        "imaginary_parts_only",
        "channel_frequencies",
        "Only the imaginary parts are compared, so the phase decides: abs() of the complex number has both.",
        (".abs()  # (max_len // 2 + 1, d_model)", ".imag.abs()"),
    ),
    edit(
        "first_row_that_is_close",
        "nearest_position",
        "The first row that allclose takes for equal is returned, though another may be nearer: compare all distances.",
        (
            "    return",
            "    for p, row in enumerate(table.double()):\n"
            "        if torch.allclose(row, vector.double()):\n            return p\n    return",
        ),
    ),
    edit(
        "first_row_within_a_millionth",
        "nearest_position",
        "The first row within a small distance is returned, though another may be nearer: compare all distances.",
        (
            "    return",
            "    near = ((table.double() - vector).norm(dim=-1) < 1e-6).nonzero()\n"
            "    if len(near):\n        return near[0].item()\n    return",
        ),
    ),
    edit(
        "largest_difference_alone",
        "nearest_position",
        "Only the largest difference of a row counts: add up the squares of all of them.",
        (".square().sum(dim=-1)", ".abs().amax(dim=-1)"),
    ),
    edit(
        "positions_as_float32",
        "apply_rope",
        "Positions become float32, which has no odd numbers above 2^24: where x is float64 the angles begin in float64.",
        ("positions[..., None] *", "positions.float()[..., None] *"),
    ),
    edit(
        "picture_shown",
        "plot_encoding",
        "The picture is shown: return the figure, and leave it to the caller what becomes of it.",
        ("return figure", "import matplotlib.pyplot as plt\n    plt.show()\n    return figure"),
    ),
]


@mutant("LearnedPositionalEmbedding", "An offset is kept and used again where none is given: the default is 0 in every call.")
class OffsetThatSticks(nn.Module):
    last = 0

    def __init__(self, max_len, d_model):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max_len, d_model) * 0.02)

    def forward(self, x, offset=0):
        self.last = offset or self.last
        return x + self.weight[self.last : self.last + x.shape[-2]].to(x.dtype)


@mutant("position_signature", "Rows are scaled in the table itself where no gradients are recorded: work on a copy, always.")
def rows_normalised_in_place_under_no_grad(table, n_bits, generator):
    if not torch.is_grad_enabled():
        table /= table.norm(dim=1, keepdim=True)
    return table @ torch.randn(table.shape[1], n_bits, generator=generator, dtype=table.dtype) > 0


@mutant("LearnedPositionalEmbedding", "The layer counts on from one call to the next: without an offset every text begins at 0.")
class PositionsCountedOn(nn.Module):
    seen = 0

    def __init__(self, max_len, d_model):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max_len, d_model) * 0.02)

    def forward(self, x, offset=0):
        start = offset or self.seen
        if not 0 <= start <= len(self.weight) - x.shape[-2]:
            start = offset
        self.seen = start + x.shape[-2]
        return add_positions(x, self.weight, start)


@mutant("add_positions", "x is multiplied by sqrt(d_model). That is the token embedding's business: return x + rows.")
def scaled_as_token_embeddings(x, table, offset=0):
    if not 0 <= offset <= table.shape[0] - x.shape[-2]:
        raise ValueError("positions")
    return x * x.shape[-1] ** 0.5 + table[offset : offset + x.shape[-2]].to(x)


@mutant("channel_frequencies", "The fastest tone comes out as -1/2, as fftfreq has it: take rfft and rfftfreq.")
def fastest_tone_is_negative(table):
    found = torch.fft.fft(table, dim=0).abs().argmax(0)
    return torch.fft.fftfreq(table.shape[0], dtype=table.dtype)[found]


@mutant("nearest_position", "argmin runs over all numbers of the table: make one distance of each row first.")
def argmin_of_all_numbers(vector, table):
    return (table.double() - vector).abs().argmin().item()


@mutant("apply_rope", "The turned pairs are stacked, (..., d / 2, 2): flatten the last two dimensions.")
def pairs_left_stacked(x, positions, base=10000.0):
    if x.shape[-1] % 2:
        raise ValueError("odd")
    work = torch.promote_types(x.dtype, torch.float32)
    frequencies = base ** (-torch.arange(0, x.shape[-1], 2, dtype=torch.float64) / x.shape[-1])
    angles = positions[..., None] * frequencies
    cos, sin = angles.cos().to(work), angles.sin().to(work)
    even, odd = x[..., 0::2].to(work), x[..., 1::2].to(work)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).to(x.dtype)


MUTANTS += [
    edit(
        "layout_cuts_the_gradient_of_rotated",
        "apply_rope",
        "Only a contiguous x gets its gradient: contiguous() passes gradients on, .data and detach() cut them off.",
        (
            "    d = x.shape[-1]\n",
            "    d = x.shape[-1]\n    x = x if x.is_contiguous() else x.detach().contiguous()\n",
        ),
    ),
]
