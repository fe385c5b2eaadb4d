"""Wrong solutions, each with the sentence that a student who made the mistake should read."""

import math
import runpy
from pathlib import Path

import torch
from torch.autograd.function import once_differentiable

from autograder.testing.variants import edit, mutant

TILE, FORWARD, BACKWARD = "online_softmax_tile", "flash_attention_forward", "flash_attention_backward"
FUNCTION, TRAFFIC, BLOCKS = "FlashAttention", "hbm_traffic", "pick_blocks"

TILE_RETURN = "return m_new, l * rescale + p.sum(-1), acc * rescale.unsqueeze(-1) + p @ v"
SHIFT = "shift = m_new.masked_fill(m_new == -torch.inf, 0.0)"
SCALE = "scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale"
Q_TILE = "q_tile = q[..., top:bottom, :].to(dtype) * scale"
SEEN = "seen = min(bottom + offset, n_k) if causal else n_k"
CROSSED = "if causal and right > top + offset + 1:"
CHECK = "    check_arguments(q, k, v, block_q, block_k)\n"
SAVE = "ctx.save_for_backward(q, k, v, out, lse)"
RETURN = "return *flash_attention_backward(grad_out, *ctx.saved_tensors, *ctx.options), None, None, None, None"
LENGTHS = "    n_q, n_k = q.shape[-2], k.shape[-2]\n"
BROADCAST = (
    "    if q.shape[:-2] != k.shape[:-2]:\n        lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2])\n"
    "        q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))\n"
)

MUTANTS = [
    # online_softmax_tile
    edit(
        "nothing_rescaled",
        TILE,
        "Neither l nor acc was brought to the new maximum: multiply both by exp(m - m_new) before you add the tile's terms.",
        (TILE_RETURN, "return m_new, l + p.sum(-1), acc + p @ v"),
    ),
    edit(
        "acc_not_rescaled",
        TILE,
        "acc was summed under the old maximum and has to be multiplied by exp(m - m_new), as l is.",
        ("acc * rescale.unsqueeze(-1)", "acc"),
    ),
    edit(
        "rescaled_without_a_last_dimension",
        TILE,
        "The factor is (..., block_q) and acc (..., block_q, d_v): multiply by rescale.unsqueeze(-1).",
        ("acc * rescale.unsqueeze(-1)", "acc * rescale"),
    ),
    edit(
        "sum_not_rescaled",
        TILE,
        "l was summed under the old maximum and has to be multiplied by exp(m - m_new), as acc is.",
        ("l * rescale", "l"),
    ),
    edit(
        "rescaled_the_wrong_way",
        TILE,
        "The old sums were multiplied by exp(m_new - m). The new maximum is the larger one, so they have to shrink: "
        "exp(m - m_new).",
        ("rescale = (m - shift).exp()", "rescale = (shift - m.masked_fill(m == -torch.inf, 0.0)).exp()"),
    ),
    edit(
        "maximum_of_the_tile_alone",
        TILE,
        "The maximum is that of this tile alone; it has to be the larger of the old one and the tile's.",
        ("torch.maximum(m, scores.amax(-1))", "scores.amax(-1)"),
    ),
    edit(
        "one_maximum_for_all_rows",
        TILE,
        "One maximum was taken for all rows of the tile: each query has its own, the largest of its row of scores.",
        ("torch.maximum(m, scores.amax(-1))", "torch.maximum(m, scores.amax((-2, -1)).unsqueeze(-1))"),
    ),
    edit(
        "terms_under_the_old_maximum",
        TILE,
        "The tile's terms were computed with the old maximum: subtract the new one, or they overflow and do not fit l.",
        ("p = (scores - shift.unsqueeze(-1)).exp()", "p = (scores - m.masked_fill(m == -torch.inf, 0.0).unsqueeze(-1)).exp()"),
    ),
    edit(
        "nan_where_nothing_was_seen",
        TILE,
        "A row whose scores are all -inf became NaN: -inf - -inf. Where the new maximum is -inf, subtract 0 instead.",
        (SHIFT, "shift = m_new"),
    ),
    edit(
        "nan_hidden_behind_where",
        TILE,
        "The values are right and the gradients NaN: what hides NaN after exp comes too late. Replace the maximum before.",
        (SHIFT, "shift = m_new"),
        (TILE_RETURN, "p, rescale = p.nan_to_num(0.0), rescale.nan_to_num(0.0)\n    " + TILE_RETURN),
    ),
    edit(
        "maximum_of_nothing_is_zero",
        TILE,
        "A row that has seen nothing must keep m = -inf; a maximum of 0 would outweigh the negative scores of later tiles.",
        ("return m_new,", "return shift,"),
    ),
    edit(
        "normalised_in_every_tile",
        TILE,
        "acc was divided by l inside the tile. It is the unnormalised output: the division comes once, after the last tile.",
        (
            TILE_RETURN,
            "l_new = l * rescale + p.sum(-1)\n"
            "    return m_new, l_new, (acc * rescale.unsqueeze(-1) + p @ v) / l_new.clamp_min(1e-300).unsqueeze(-1)",
        ),
    ),
    edit(
        "normalised_within_the_tile",
        TILE,
        "The tile's weights were normalised by the tile's own sum; they have to stay exp(score - m_new).",
        (TILE_RETURN, TILE_RETURN.replace("p @ v", "p @ v / p.sum(-1, keepdim=True).clamp_min(1e-300)")),
    ),
    edit(
        "maximum_detached_in_one_place",
        TILE,
        "The maximum is detached in the exponents but not in m, so m + log(l) has a wrong gradient: both, or neither.",
        (SHIFT, SHIFT.replace("m_new.masked", "m_new.detach().masked")),
    ),
    edit(
        "weights_detached",
        TILE,
        "No gradient reaches the scores: do not detach the tile's weights.",
        (".exp()  # (..., block_q, block_k)", ".exp().detach()"),
    ),
    edit(
        "carry_detached",
        TILE,
        "No gradient reaches the tiles before this one: l and acc must not be detached.",
        (TILE_RETURN, TILE_RETURN.replace("l * ", "l.detach() * ").replace("acc * ", "acc.detach() * ")),
    ),
    edit(
        "sums_changed_in_place",
        TILE,
        "The caller's l and acc were changed in place: write l * rescale, not l *= rescale.",
        (TILE_RETURN, "return m_new, l.mul_(rescale) + p.sum(-1), acc.mul_(rescale.unsqueeze(-1)) + p @ v"),
    ),
    edit(
        "scores_changed_in_place",
        TILE,
        "The caller's scores were changed in place: a name that ends in an underscore writes into its tensor.",
        ("p = (scores - shift.unsqueeze(-1)).exp()", "p = scores.sub_(shift.unsqueeze(-1)).exp()"),
    ),
    edit(
        "powers_of_two",
        TILE,
        "These are powers of two; without log2(e) in the scale it has to be exp.",
        ("(scores - shift.unsqueeze(-1)).exp()", "(scores - shift.unsqueeze(-1)).exp2()"),
        ("(m - shift).exp()", "(m - shift).exp2()"),
    ),
    edit(
        "exponents_clipped",
        TILE,
        "Small exponents were clipped, so that hidden keys keep a little weight: exp(-inf) is exactly 0 and needs no help.",
        ("p = (scores - shift.unsqueeze(-1)).exp()", "p = (scores - shift.unsqueeze(-1)).clamp_min(-20.0).exp()"),
    ),
    edit(
        "tile_in_single_precision",
        TILE,
        "The dtype was changed on the way: compute in the dtype that comes in.",
        ("p = (scores - shift.unsqueeze(-1)).exp()", "p = (scores - shift.unsqueeze(-1)).float().exp().to(scores.dtype)"),
    ),
    edit(
        "values_viewed",
        TILE,
        "view needs memory in order, which v need not have: @ takes any leading dimensions and strides.",
        ("p @ v", "(p.flatten(0, -3) @ v.view(-1, *v.shape[-2:])).view(acc.shape) if v.dim() > 3 else p @ v"),
    ),
    # flash_attention_forward
    edit(
        "scale_forgotten",
        FORWARD,
        "The scores were not scaled: multiply by 1 / sqrt(d_k), or by `scale` where it is given.",
        (Q_TILE, Q_TILE.replace(" * scale", "")),
    ),
    edit(
        "scale_ignored",
        FORWARD,
        "The argument `scale` makes no difference: use it where it is not None.",
        (SCALE, "scale = 1 / math.sqrt(q.shape[-1])"),
    ),
    edit(
        "scale_of_zero_taken_for_none",
        FORWARD,
        "scale=0.0 was taken for None: `scale or ...` asks for truth; ask `scale is None`.",
        (SCALE, "scale = scale or 1 / math.sqrt(q.shape[-1])"),
    ),
    edit(
        "scaled_by_the_width_of_v",
        FORWARD,
        "The default scale is 1 / sqrt(d_k), from the width of q and k; this one used the width of v.",
        (SCALE, SCALE.replace("q.shape", "v.shape")),
    ),
    edit(
        "diagonal_aligned_top_left",
        FORWARD,
        "The diagonal is aligned top-left. With n_k keys and n_q queries, query i sees the keys up to i + n_k - n_q.",
        ("offset = n_k - n_q", "offset = 0"),
    ),
    edit(
        "causal_ignored",
        FORWARD,
        "causal=True makes no difference: hide the keys after i + n_k - n_q from query i.",
        (SEEN, "seen = n_k"),
        (CROSSED, "if False:"),
    ),
    edit(
        "diagonal_hidden",
        FORWARD,
        "Query i does not see the key at i + n_k - n_q itself; that one is visible, only later keys are hidden.",
        ("columns > rows + offset", "columns >= rows + offset"),
        (CROSSED, "if causal:"),
    ),
    edit(
        "mask_counts_from_the_tile",
        FORWARD,
        "The mask was made from positions within the tile: add where the tile begins, for queries and for keys.",
        ("columns = torch.arange(left, right, device=q.device)", "columns = torch.arange(right - left, device=q.device)"),
        (
            "rows = torch.arange(top, bottom, device=q.device).unsqueeze(-1)",
            "rows = torch.arange(bottom - top, device=q.device).unsqueeze(-1)",
        ),
    ),
    edit(
        "last_crossed_tile_not_masked",
        FORWARD,
        "A tile whose last key its first query does not see had no mask; it is seen whole where right <= top + n_k - n_q + 1.",
        (CROSSED, "if causal and right > top + offset + 2:"),
    ),
    edit(
        "only_the_last_tile_masked",
        FORWARD,
        "Only the last tile of keys was masked. When block_q is larger than block_k the diagonal crosses several tiles.",
        (CROSSED, "if causal and right >= seen:"),
    ),
    edit(
        "hidden_scores_merely_low",
        FORWARD,
        "Hidden scores were set to a low number. Real scores can be lower still, and a row that sees nothing needs -inf.",
        ("columns > rows + offset, -torch.inf)", "columns > rows + offset, -1e4)"),
    ),
    edit(
        "hidden_weight_through_zero",
        FORWARD,
        "Hidden scores were set to 0, which is a score like any other: exp(0) is 1. Use -inf.",
        ("columns > rows + offset, -torch.inf)", "columns > rows + offset, 0.0)"),
    ),
    edit(
        "hidden_tiles_computed",
        FORWARD,
        "Tiles above the diagonal were computed and then masked: they cost work, and a NaN in them gets out. Skip them.",
        (SEEN, "seen = n_k"),
    ),
    edit(
        "one_tile_too_few",
        FORWARD,
        "The last tile of keys was skipped although the tile's last query sees its first key.",
        (SEEN, "seen = min(bottom + offset - 1, n_k) if causal else n_k"),
    ),
    edit(
        "never_divided",
        FORWARD,
        "out is acc, still unnormalised: divide by l after the last tile.",
        ("acc / l.unsqueeze(-1)", "acc"),
    ),
    edit(
        "lse_without_the_maximum",
        FORWARD,
        "lse is log(l) alone; l was summed under the maximum, so lse = m + log(l).",
        ("= m + l.log()", "= l.log().masked_fill(m == -torch.inf, -torch.inf)"),
    ),
    edit(
        "lse_to_the_base_of_two",
        FORWARD,
        "lse is to be a natural logarithm; this one is to the base of two.",
        ("= m + l.log()", "= (m + l.log()) / math.log(2)"),
    ),
    edit(
        "lse_of_nothing_is_zero",
        FORWARD,
        "The lse of a query that sees nothing is the logarithm of an empty sum: -inf.",
        ("= m + l.log()", "= (m + l.log()).masked_fill(m == -torch.inf, 0.0)"),
    ),
    edit(
        "lse_is_the_sum",
        FORWARD,
        "l was returned in the place of lse: take m + log(l), which cannot overflow.",
        ("= m + l.log()", "= (m + l.log()).exp()"),
    ),
    edit(
        "nan_for_queries_that_see_nothing",
        FORWARD,
        "A query that sees nothing got 0 / 0: where l is 0, divide by 1.",
        ("        l.masked_fill_(m == -torch.inf, 1.0)  # saw nothing: 0 / 1 and -inf + log(1)\n", ""),
    ),
    edit(
        "maximum_starts_at_zero",
        FORWARD,
        "The running maximum started at 0: scores far below zero then vanish. Start at -inf.",
        ("m = q_tile.new_full(q_tile.shape[:-1], -torch.inf)", "m = q_tile.new_zeros(q_tile.shape[:-1])"),
        ("l.masked_fill_(m == -torch.inf, 1.0)", "l.masked_fill_(l == 0, 1.0)"),
    ),
    edit(
        "last_queries_dropped",
        FORWARD,
        "The last queries were dropped: n_q need not be a multiple of block_q, and the last tile may be a smaller one.",
        ("range(0, n_q, block_q)", "range(0, n_q - n_q % block_q, block_q)"),
        ("out = q.new_empty(", "out = q.new_zeros("),
        ("lse = q.new_empty(", "lse = q.new_zeros("),
    ),
    edit(
        "last_keys_dropped",
        FORWARD,
        "The last keys were dropped: n_k need not be a multiple of block_k, and the last tile may be a smaller one.",
        ("range(0, seen, block_k)", "range(0, min(seen, n_k - n_k % block_k), block_k)"),
    ),
    edit(
        "last_keys_padded_with_zeros",
        FORWARD,
        "The last tile was filled up with zeros and those counted as keys: their scores have to be -inf, not 0.",
        (
            "m, l, acc = online_softmax_tile(m, l, acc, scores, v[..., left:right, :].to(dtype))",
            "m, l, acc = online_softmax_tile("
            "m, l, acc, torch.nn.functional.pad(scores, (0, block_k - right + left)), "
            "torch.nn.functional.pad(v[..., left:right, :].to(dtype), (0, 0, 0, block_k - right + left)))",
        ),
    ),
    edit(
        "state_kept_between_tiles_of_queries",
        FORWARD,
        "m, l and acc have to start afresh for each tile of queries.",
        (
            "        m = q_tile.new_full(q_tile.shape[:-1], -torch.inf)\n        l = torch.zeros_like(m)\n"
            "        acc = q_tile.new_zeros(*m.shape, v.shape[-1])\n",
            "        if top == 0:\n            m = q_tile.new_full(q_tile.shape[:-1], -torch.inf)\n"
            "            l = torch.zeros_like(m)\n            acc = q_tile.new_zeros(*m.shape, v.shape[-1])\n"
            "        m, l, acc = m[..., : bottom - top], l[..., : bottom - top], acc[..., : bottom - top, :]\n",
        ),
    ),
    edit(
        "half_precision_throughout",
        FORWARD,
        "Half-precision inputs were computed with in half precision: m, l, acc and lse have to be float32.",
        ("dtype = accumulation_dtype(q.dtype)", "dtype = q.dtype"),
    ),
    edit(
        "lse_rounded_to_half",
        FORWARD,
        "lse was rounded to half precision; the backward pass needs it in float32.",
        ("lse = q.new_empty(q.shape[:-1], dtype=dtype)", "lse = q.new_empty(q.shape[:-1])"),
    ),
    edit(
        "scores_in_half_precision",
        FORWARD,
        "The scores were computed in half precision: they overflow, or lose digits. Convert the tiles to float32 first.",
        (
            "scores = q_tile @ k[..., left:right, :].to(dtype).mT",
            "scores = (q[..., top:bottom, :] @ k[..., left:right, :].mT).to(dtype) * scale",
        ),
    ),
    edit(
        "weights_rounded_to_half",
        FORWARD,
        "The running output was rounded to half precision after each tile: keep acc in float32, round out once at the end.",
        ("v[..., left:right, :].to(dtype))\n", "v[..., left:right, :].to(dtype))\n            acc = acc.to(q.dtype).to(dtype)\n"),
    ),
    edit(
        "out_in_single_precision",
        FORWARD,
        "out has to keep the dtype of q.",
        ("out = q.new_empty(*q.shape[:-1], v.shape[-1])", "out = q.new_empty(*q.shape[:-1], v.shape[-1], dtype=torch.float32)"),
    ),
    edit(
        "whole_mask_made",
        FORWARD,
        "The causal mask of all queries and keys was made at once: it has n_q n_k elements. Make that of one tile at a time.",
        (
            "scores.masked_fill_(columns > rows + offset, -torch.inf)",
            "hidden = ~torch.ones(n_q, n_k, dtype=torch.bool).tril(offset)\n"
            "                scores.masked_fill_(hidden[top:bottom, left:right], -torch.inf)",
        ),
    ),
    edit(
        "every_tile_kept",
        FORWARD,
        "Every tile of scores is kept in a list, and together they are all scores. Let go of a tile before you begin the next.",
        ("    for top in range", "    kept = []\n    for top in range"),
        ("m, l, acc = online_softmax_tile(", "kept.append(scores)\n            m, l, acc = online_softmax_tile("),
    ),
    edit(
        "blocks_ignored",
        FORWARD,
        "block_q and block_k make no difference: all scores of a head are made at once.",
        (LENGTHS, LENGTHS + "    block_q, block_k = n_q or 1, n_k or 1\n"),
    ),
    edit(
        "keys_in_blocks_of_block_q",
        FORWARD,
        "The tiles have block_q keys, and block_k makes no difference: step through the keys by block_k.",
        ("range(0, seen, block_k)", "range(0, seen, block_q)"),
        ("right = min(left + block_k, n_k)", "right = min(left + block_q, n_k)"),
    ),
    edit(
        "whole_rows_of_scores",
        FORWARD,
        "Only the queries are tiled: a tile of queries still meets all keys at once. The keys need a loop of their own.",
        (LENGTHS, LENGTHS + "    block_k = n_k or 1\n"),
    ),
    edit(
        "queries_scaled_in_place",
        FORWARD,
        "q was scaled in place, and the caller's tensor with it: q * scale makes a new one.",
        (Q_TILE, "q_tile = q[..., top:bottom, :].mul_(scale).to(dtype)"),
    ),
    edit(
        "forward_refuses_nothing",
        FORWARD,
        "Arguments that do not fit together were accepted: call check_arguments first.",
        (CHECK, ""),
    ),
    edit(
        "forward_broadcasts",
        FORWARD,
        "Leading dimensions were broadcast; here they have to be equal, and anything else is refused with a ValueError.",
        (CHECK, BROADCAST + CHECK),
    ),
    # flash_attention_backward
    edit(
        "delta_forgotten",
        BACKWARD,
        "ds is p * dp here. Softmax has a second term: ds = p * (dp - delta), delta being the row sums of grad_out * out.",
        ("p * (do @ v_tile.mT - delta)", "p * (do @ v_tile.mT)"),
    ),
    edit(
        "delta_added",
        BACKWARD,
        "delta has to be subtracted: ds = p * (dp - delta).",
        ("(do @ v_tile.mT - delta)", "(do @ v_tile.mT + delta)"),
    ),
    edit(
        "delta_of_the_tile_alone",
        BACKWARD,
        "delta was summed over the keys of one tile; it belongs to the whole row: the sum of grad_out * out over the channels.",
        (
            "ds = p * (do @ v_tile.mT - delta)",
            "dp = do @ v_tile.mT\n            ds = p * (dp - (p * dp).sum(-1, keepdim=True))",
        ),
    ),
    edit(
        "delta_without_a_last_dimension",
        BACKWARD,
        "delta is (..., block_q) and lines up with the keys: keepdim=True lines it up with the queries.",
        (".sum(-1, keepdim=True)  # (..., block_q, 1)", ".sum(-1)"),
    ),
    edit(
        "delta_a_mean",
        BACKWARD,
        "delta is the sum of grad_out * out over the channels, not their mean.",
        (".sum(-1, keepdim=True)  # (..., block_q, 1)", ".mean(-1, keepdim=True)"),
    ),
    edit(
        "dq_not_scaled",
        BACKWARD,
        "dq lacks the scale: scores = scale * q k, so dq = scale * ds k.",
        ("= dq_tile * scale", "= dq_tile"),
    ),
    edit(
        "dk_not_scaled",
        BACKWARD,
        "dk lacks the scale: scores = scale * q k, so dk = scale * dsᵀ q.",
        ("ds.mT @ q_tile", "ds.mT @ q[..., top:bottom, :].to(dtype)"),
    ),
    edit(
        "dk_scaled_twice",
        BACKWARD,
        "dk was scaled twice: q was scaled already when it was multiplied by dsᵀ.",
        ("ds.mT @ q_tile", "ds.mT @ q_tile * scale"),
    ),
    edit(
        "backward_scale_ignored",
        BACKWARD,
        "The argument `scale` makes no difference in the backward pass: use it where it is not None.",
        (SCALE, "scale = 1 / math.sqrt(q.shape[-1])"),
    ),
    edit(
        "backward_scale_of_zero_taken_for_none",
        BACKWARD,
        "scale=0.0 was taken for None: `scale or ...` asks for truth; ask `scale is None`.",
        (SCALE, "scale = scale or 1 / math.sqrt(q.shape[-1])"),
    ),
    edit(
        "backward_diagonal_top_left",
        BACKWARD,
        "The diagonal of the backward pass is aligned top-left; query i sees the keys up to i + n_k - n_q, as in forward.",
        ("offset = n_k - n_q", "offset = 0"),
    ),
    edit(
        "backward_without_a_mask",
        BACKWARD,
        "The recomputed scores were not masked: with causal=True hidden keys must get -inf again, as in the forward pass.",
        (CROSSED, "if False:"),
    ),
    edit(
        "backward_one_tile_too_few",
        BACKWARD,
        "The last tile of keys was skipped although the tile's last query sees its first key.",
        (SEEN, "seen = min(bottom + offset - 1, n_k) if causal else n_k"),
    ),
    edit(
        "backward_diagonal_hidden",
        BACKWARD,
        "Query i does not see the key at i + n_k - n_q itself here; in the forward pass it does.",
        ("columns > rows + offset", "columns >= rows + offset"),
        (CROSSED, "if causal:"),
    ),
    edit(
        "backward_last_crossed_tile_not_masked",
        BACKWARD,
        "A tile whose last key its first query does not see had no mask; it is seen whole where right <= top + n_k - n_q + 1.",
        (CROSSED, "if causal and right > top + offset + 2:"),
    ),
    edit(
        "backward_mask_on_the_last_tile_alone",
        BACKWARD,
        "Only the last tile of keys was masked. When block_q is larger than block_k the diagonal crosses several tiles.",
        (CROSSED, "if causal and right >= seen:"),
    ),
    edit(
        "backward_computes_hidden_tiles",
        BACKWARD,
        "Tiles above the diagonal were computed and then masked: they cost work, and a NaN in them gets out. Skip them.",
        (SEEN, "seen = n_k"),
    ),
    edit(
        "backward_throws_hidden_scores_away",
        BACKWARD,
        "Scores above the diagonal were made and then thrown away: leave the tile out before its first product.",
        (SEEN, "seen = n_k"),
        (
            "p = (scores - lse_tile).exp()",
            "if causal and left >= bottom + offset:\n                break\n            p = (scores - lse_tile).exp()",
        ),
    ),
    edit(
        "backward_keys_in_blocks_of_block_q",
        BACKWARD,
        "The tiles have block_q keys, and block_k makes no difference: step through the keys by block_k.",
        ("range(0, seen, block_k)", "range(0, seen, block_q)"),
        ("right = min(left + block_k, n_k)", "right = min(left + block_q, n_k)"),
    ),
    edit(
        "nan_where_lse_is_minus_infinity",
        BACKWARD,
        "A query that sees nothing has lse = -inf, and -inf - -inf is NaN: subtract 0 there.",
        ("        lse_tile = lse_tile.masked_fill(lse_tile == -torch.inf, 0.0)  # saw nothing: exp(-inf - 0) is 0\n", ""),
    ),
    edit(
        "weights_not_normalised",
        BACKWARD,
        "The weights are exp(scores) without the denominator: subtract lse in the exponent.",
        ("p = (scores - lse_tile).exp()", "p = scores.exp()"),
    ),
    edit(
        "weights_through_a_quotient",
        BACKWARD,
        "exp(scores) / exp(lse) overflows where scores are large: subtract first, exp(scores - lse).",
        ("p = (scores - lse_tile).exp()", "p = scores.exp() / lse_tile.exp()"),
    ),
    edit(
        "weights_normalised_in_the_tile",
        BACKWARD,
        "The weights were normalised within the tile; a softmax runs over all keys, and lse is what you know of the others.",
        ("p = (scores - lse_tile).exp()", "p = scores.softmax(-1).nan_to_num(0.0)"),
    ),
    edit(
        "dk_overwritten",
        BACKWARD,
        "dk holds the last tile of queries alone: a key gets gradients from every query, so add.",
        ("dk[..., left:right, :] += ds", "dk[..., left:right, :] = ds"),
    ),
    edit(
        "dv_overwritten",
        BACKWARD,
        "dv holds the last tile of queries alone: a value gets gradients from every query, so add.",
        ("dv[..., left:right, :] += p", "dv[..., left:right, :] = p"),
    ),
    edit(
        "dq_overwritten",
        BACKWARD,
        "dq holds the last tile of keys alone: a query gets gradients from every key, so add.",
        ("dq_tile += ds @ k_tile", "dq_tile = ds @ k_tile"),
    ),
    edit(
        "dv_through_scores_gradient",
        BACKWARD,
        "dv was made with ds; the values are averaged with the weights, so dv = pᵀ grad_out.",
        (
            "            dv[..., left:right, :] += p.mT @ do\n            ds = p * (do @ v_tile.mT - delta)\n",
            "            ds = p * (do @ v_tile.mT - delta)\n            dv[..., left:right, :] += ds.mT @ do\n",
        ),
    ),
    edit(
        "gradients_in_another_order",
        BACKWARD,
        "The gradients come in the order dq, dk, dv.",
        ("return dq, dk.to(k.dtype), dv.to(v.dtype)", "return dk.to(k.dtype), dv.to(v.dtype), dq"),
    ),
    edit(
        "dk_and_dv_swapped",
        BACKWARD,
        "dk and dv have changed places.",
        ("return dq, dk.to(k.dtype), dv.to(v.dtype)", "return dq, dv.to(v.dtype), dk.to(k.dtype)"),
    ),
    edit(
        "backward_in_half_precision",
        BACKWARD,
        "Half-precision inputs were computed with in half precision: convert each tile to float32 and round once, at the end.",
        ("dtype = accumulation_dtype(q.dtype)", "dtype = q.dtype"),
        ("lse_tile = lse[..., top:bottom].unsqueeze(-1)", "lse_tile = lse[..., top:bottom].unsqueeze(-1).to(dtype)"),
    ),
    edit(
        "dk_summed_in_half_precision",
        BACKWARD,
        "dk and dv are summed over all tiles of queries in half precision, where sums stop growing: sum in float32.",
        (
            "dk, dv = torch.zeros_like(k, dtype=dtype), torch.zeros_like(v, dtype=dtype)",
            "dk, dv = torch.zeros_like(k), torch.zeros_like(v)",
        ),
        ("+= p.mT @ do", "+= (p.mT @ do).to(dv.dtype)"),
        ("+= ds.mT @ q_tile", "+= (ds.mT @ q_tile).to(dk.dtype)"),
    ),
    edit(
        "dq_summed_in_half_precision",
        BACKWARD,
        "dq is summed over all tiles of keys in half precision, where sums stop growing: sum in float32.",
        ("dq_tile = torch.zeros_like(q_tile)", "dq_tile = torch.zeros_like(q_tile, dtype=q.dtype)"),
        ("dq_tile += ds @ k_tile", "dq_tile += (ds @ k_tile).to(q.dtype)"),
    ),
    edit(
        "gradients_left_in_float32",
        BACKWARD,
        "The gradients have to come in the dtypes of q, k and v.",
        ("return dq, dk.to(k.dtype), dv.to(v.dtype)", "return dq.to(dtype), dk, dv"),
    ),
    edit(
        "backward_drops_the_last_queries",
        BACKWARD,
        "The last queries were dropped: the last tile may be smaller than block_q.",
        ("range(0, n_q, block_q)", "range(0, n_q - n_q % block_q, block_q)"),
        ("dq = torch.empty_like(q)", "dq = torch.zeros_like(q)"),
    ),
    edit(
        "backward_drops_the_last_keys",
        BACKWARD,
        "The last keys were dropped: the last tile may be smaller than block_k.",
        ("range(0, seen, block_k)", "range(0, min(seen, n_k - n_k % block_k), block_k)"),
    ),
    edit(
        "backward_keeps_every_tile",
        BACKWARD,
        "Every tile of weights is kept in a list, and together they are all weights. Let go of a tile before you begin the next.",
        ("    for top in range", "    kept = []\n    for top in range"),
        ("            ds = p * (", "            kept.append(p)\n            ds = p * ("),
    ),
    edit(
        "backward_converts_whole",
        BACKWARD,
        "All of k and v was converted to float32 at once, copies of twice the size: convert each tile where it is used.",
        (CHECK, CHECK + "    given, (k, v) = q.dtype, (x.to(accumulation_dtype(x.dtype)) for x in (k, v))\n"),
        ("return dq, dk.to(k.dtype), dv.to(v.dtype)", "return dq, dk.to(given), dv.to(given)"),
    ),
    edit(
        "backward_ignores_blocks",
        BACKWARD,
        "block_q and block_k make no difference: all weights of a head are made at once.",
        (LENGTHS, LENGTHS + "    block_q, block_k = n_q or 1, n_k or 1\n"),
    ),
    edit(
        "gradient_changed_in_place",
        BACKWARD,
        "grad_out was changed in place; autograd may hand the same tensor to others.",
        ("    for top in range", "    grad_out.mul_(out).div_(out)\n    for top in range"),
    ),
    edit(
        "backward_refuses_nothing",
        BACKWARD,
        "Arguments that do not fit together were accepted: call check_arguments first.",
        (CHECK, ""),
    ),
    # FlashAttention
    edit(
        "options_lost_in_backward",
        FUNCTION,
        "The backward pass ran with the defaults: it needs the causal, block_q, block_k and scale of the forward pass.",
        ("*ctx.saved_tensors, *ctx.options)", "*ctx.saved_tensors)"),
    ),
    edit(
        "causal_lost_in_backward",
        FUNCTION,
        "The backward pass ran without the causal mask of the forward pass: keep `causal` in ctx.",
        ("ctx.options = (causal, block_q", "ctx.options = (False, block_q"),
    ),
    edit(
        "scale_lost_in_backward",
        FUNCTION,
        "The backward pass ran with the default scale: keep `scale` in ctx.",
        ("ctx.options = (causal, block_q, block_k, scale)", "ctx.options = (causal, block_q, block_k, None)"),
    ),
    edit(
        "options_lost_in_forward",
        FUNCTION,
        "The forward pass ran with the defaults: hand causal, block_q, block_k and scale on to flash_attention_forward.",
        ("flash_attention_forward(q, k, v, causal, block_q, block_k, scale)", "flash_attention_forward(q, k, v)"),
    ),
    edit(
        "lse_returned_too",
        FUNCTION,
        "apply returns out alone; lse goes into ctx.",
        ("        return out\n", "        return out, lse\n"),
        ("def backward(ctx, grad_out: Tensor)", "def backward(ctx, grad_out: Tensor, grad_lse: Tensor)"),
    ),
    edit(
        "function_swaps_dk_and_dv",
        FUNCTION,
        "The gradients of k and v have changed places: they come in the order of forward's arguments.",
        (
            RETURN,
            "dq, dk, dv = flash_attention_backward(grad_out, *ctx.saved_tensors, *ctx.options)\n"
            "        return dq, dv, dk, None, None, None, None",
        ),
    ),
    edit(
        "gradients_missing_for_the_options",
        FUNCTION,
        "backward returns one gradient for every argument of forward: four times None for the options.",
        ("*ctx.options), None, None, None, None", "*ctx.options),"),
    ),
    edit(
        "twice_differentiable_without_a_word",
        FUNCTION,
        "A second derivative was computed, and is wrong, since lse has no past: put @once_differentiable under @staticmethod.",
        ("    @once_differentiable\n", ""),
    ),
    edit(
        "gradient_viewed",
        FUNCTION,
        "The gradient of a sum is one number seen many times, and view refuses such memory: use reshape, or leave it as it is.",
        ("flash_attention_backward(grad_out,", "flash_attention_backward(grad_out.view(-1).view(grad_out.shape),"),
    ),
    edit(
        "gradient_of_ones",
        FUNCTION,
        "The incoming gradient was taken for ones: hand grad_out on.",
        ("flash_attention_backward(grad_out,", "flash_attention_backward(torch.ones_like(grad_out),"),
    ),
    edit(
        "inputs_detached_by_hand",
        FUNCTION,
        "k and v get no gradient: return all three.",
        (RETURN, RETURN.replace("return *", "return ").replace("options)", "options)[0], None, None")),
    ),
    # hbm_traffic
    edit(
        "tiles_rounded_down",
        TRAFFIC,
        "A last, smaller tile of queries reads k and v as well: round the number of tiles up.",
        ("-(-n // block_q)", "n // block_q"),
    ),
    edit(
        "lse_in_four_bytes",
        TRAFFIC,
        "lse was counted with 4 bytes a number; here it has bytes_per_element, like everything else.",
        ("flash * bytes_per_element", "(flash - n) * bytes_per_element + 4 * n"),
    ),
    edit(
        "tiles_a_fraction",
        TRAFFIC,
        "n / block_q is a fraction; the number of tiles is a whole number, rounded up.",
        ("-(-n // block_q)", "n / block_q"),
    ),
    edit(
        "tiles_through_a_float",
        TRAFFIC,
        "The result is a float, or was one on the way: -(-n // block_q) rounds up in whole numbers.",
        ("flash = 2 * n * d", "flash = 2.0 * n * d"),
    ),
    edit(
        "traffic_in_elements",
        TRAFFIC,
        "These are elements; multiply by bytes_per_element.",
        ("return standard * bytes_per_element, flash * bytes_per_element", "return standard, flash"),
    ),
    edit(
        "lse_not_counted",
        TRAFFIC,
        "FlashAttention writes lse as well, one number for each query.",
        (" * query_tiles + n\n", " * query_tiles\n"),
    ),
    edit(
        "keys_read_once",
        TRAFFIC,
        "k and v were counted once; every tile of queries reads all of them again.",
        ("2 * n * d * query_tiles", "2 * n * d"),
    ),
    edit(
        "tiles_of_keys_counted",
        TRAFFIC,
        "The number of tiles of keys was used: what is read again and again depends on the tiles in the outer loop, the queries.",
        ("-(-n // block_q)", "-(-n // block_k)"),
    ),
    edit(
        "scores_written_once",
        TRAFFIC,
        "Standard attention writes and reads both scores and weights: 4 n² elements.",
        ("4 * n * n\n", "2 * n * n\n"),
    ),
    edit(
        "traffic_swapped",
        TRAFFIC,
        "The order is (standard, flash).",
        ("standard = 4", "flash = 4"),
        ("flash = 2", "standard = 2"),
    ),
    edit(
        "traffic_of_nothing_accepted",
        TRAFFIC,
        "An argument below 1 makes no sense and should be refused with a ValueError.",
        ("if min(n, d, block_q, block_k, bytes_per_element) < 1:", "if min(n, d, block_q, bytes_per_element) < 0:"),
    ),
    # pick_blocks
    edit(
        "memory_must_not_be_full",
        BLOCKS,
        "The tiles may fill the memory to the last byte: the bound is <=, not <.",
        ("rows = sram_bytes // (2 * d * bytes_per_element)", "rows = (sram_bytes - 1) // (2 * d * bytes_per_element)"),
    ),
    edit(
        "block_q_must_not_fill_the_memory",
        BLOCKS,
        "block_q stops short where it would fill the memory to the last byte: it may, the bound is <= and not <.",
        (
            "(rows - 1).bit_length()",
            "max(1, (sram_bytes - 1) // (2 * d * bytes_per_element) - 1).bit_length()",
        ),
    ),
    edit(
        "no_powers_of_two",
        BLOCKS,
        "The blocks fit, but they are not powers of two.",
        ("block_q = 1 << ((rows - 1).bit_length() - 1)", "block_q = max(1, rows // 2)"),
        ("block_k = 1 << ((rows - block_q).bit_length() - 1)", "block_k = rows - block_q"),
    ),
    edit(
        "square_blocks",
        BLOCKS,
        "The blocks are equal. They need not be: a larger block_q saves traffic, so take the largest that leaves room for a key.",
        ("block_q = 1 << ((rows - 1).bit_length() - 1)", "block_q = 1 << ((rows // 2).bit_length() - 1)"),
        ("block_k = 1 << ((rows - block_q).bit_length() - 1)", "block_k = block_q"),
    ),
    edit(
        "blocks_swapped",
        BLOCKS,
        "It is block_q that saves traffic when it grows; block_k got the larger one.",
        ("return block_q, block_k", "return block_k, block_q"),
    ),
    edit(
        "output_forgotten",
        BLOCKS,
        "These blocks need more memory: four tiles have to fit, two of block_q rows (q, output) and two of block_k (k, v).",
        ("(2 * d * bytes_per_element)", "(d * bytes_per_element)"),
    ),
    edit(
        "memory_in_elements",
        BLOCKS,
        "sram_bytes was taken for a number of elements: each one has bytes_per_element bytes.",
        ("sram_bytes // (2 * d * bytes_per_element)", "sram_bytes // (2 * d)"),
    ),
    edit(
        "no_room_for_a_key",
        BLOCKS,
        "block_q takes all the memory and leaves no room for a single key: block_q + block_k has to fit.",
        ("(rows - 1).bit_length()", "rows.bit_length()"),
        ("block_k = 1 << ((rows - block_q).bit_length() - 1)", "block_k = 1 << max(0, (rows - block_q).bit_length() - 1)"),
    ),
    edit(
        "smallest_blocks",
        BLOCKS,
        "Blocks of 1 fit, and move the most bytes: take the largest block_q that fits, then the largest block_k.",
        ("return block_q, block_k", "return 1, 1"),
    ),
    edit(
        "too_small_a_memory_accepted",
        BLOCKS,
        "When not even one query and one key fit there is no answer: raise a ValueError.",
        ("    if rows < 2:\n", "    rows = max(rows, 2)\n    if rows < 2:\n"),
    ),
]

# The kernels' mistakes have a file of their own.
MUTANTS += runpy.run_path(str(Path(__file__).with_name("triton_mutants.py")))["MUTANTS"]


@mutant(FORWARD, "This is standard attention: right, but all n_q n_k scores exist at once. Loop over tiles.")
def standard_attention(q, k, v, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)  # noqa: F821
    dtype = accumulation_dtype(q.dtype)  # noqa: F821
    n_q, n_k = q.shape[-2], k.shape[-2]
    scores = q.to(dtype) @ k.to(dtype).mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        scores = scores.masked_fill(~torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q), -torch.inf)
    return (scores.softmax(-1).nan_to_num(0.0) @ v.to(dtype)).to(q.dtype), scores.logsumexp(-1)


@mutant(BACKWARD, "All weights were computed at once: right, but they have n_q n_k elements. Loop over the tiles, as in forward.")
def standard_backward(grad_out, q, k, v, out, lse, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)  # noqa: F821
    dtype = accumulation_dtype(q.dtype)  # noqa: F821
    n_q, n_k = q.shape[-2], k.shape[-2]
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = q.to(dtype) @ k.to(dtype).mT * scale
    if causal:
        scores = scores.masked_fill(~torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q), -torch.inf)
    p = (scores - lse.masked_fill(lse == -torch.inf, 0.0).unsqueeze(-1)).exp()
    do = grad_out.to(dtype)
    ds = p * (do @ v.to(dtype).mT - (do * out.to(dtype)).sum(-1, keepdim=True)) * scale
    return (ds @ k.to(dtype)).to(q.dtype), (ds.mT @ q.to(dtype)).to(k.dtype), (p.mT @ do).to(v.dtype)


@mutant(FUNCTION, "The weights were saved for the backward pass: n_q n_k numbers. Save lse and compute them again, tile by tile.")
class WeightsSaved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, causal=False, block_q=64, block_k=64, scale=None):
        n_q, n_k = q.shape[-2], k.shape[-2]
        ctx.scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        scores = q @ k.mT * ctx.scale
        if causal:
            scores = scores.masked_fill(~torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q), -torch.inf)
        p = scores.softmax(-1).nan_to_num(0.0)
        ctx.save_for_backward(q, k, v, p)
        return p @ v

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        q, k, v, p = ctx.saved_tensors
        dp = grad_out @ v.mT
        ds = p * (dp - (p * dp).sum(-1, keepdim=True)) * ctx.scale
        return ds @ k, ds.mT @ q, p.mT @ grad_out, None, None, None, None


@mutant(FUNCTION, "FlashAttention has to be a torch.autograd.Function; left to autograd, every tile is kept for backward.")
class LeftToAutograd:
    @staticmethod
    def apply(q, k, v, causal=False, block_q=64, block_k=64, scale=None):
        rows = []
        n_q, n_k = q.shape[-2], k.shape[-2]
        scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        for top in range(0, n_q, block_q):
            q_tile = q[..., top : top + block_q, :] * scale
            m = q_tile.new_full(q_tile.shape[:-1], -torch.inf)
            l, acc = torch.zeros_like(m), q_tile.new_zeros(*m.shape, v.shape[-1])  # noqa: E741
            for left in range(0, n_k, block_k):
                scores = q_tile @ k[..., left : left + block_k, :].mT
                if causal:
                    i = torch.arange(top, top + scores.shape[-2]).unsqueeze(-1)
                    j = torch.arange(left, left + scores.shape[-1])
                    scores = scores.masked_fill(j > i + n_k - n_q, -torch.inf)
                m, l, acc = online_softmax_tile(m, l, acc, scores, v[..., left : left + block_k, :])  # noqa: E741, F821
            rows.append(acc / l.masked_fill(l == 0, 1.0).unsqueeze(-1))
        return torch.cat(rows, dim=-2)


@mutant(BLOCKS, "Blocks are multiples of 16 here; they are to be powers of two, from 1 on.")
def multiples_of_sixteen(d, sram_bytes, bytes_per_element=2):
    rows = sram_bytes // (2 * d * bytes_per_element)
    if rows < 2:
        raise ValueError("too small")
    return max(16, rows // 2 // 16 * 16), max(16, rows // 2 // 16 * 16)


MUTANTS += [
    edit(
        "gradients_off_for_good",
        "flash_attention_forward",
        "Gradients are switched off and stay off for the whole program: use torch.no_grad() as a context, if at all.",
        (
            "    check_arguments(q, k, v, block_q, block_k)",
            "    check_arguments(q, k, v, block_q, block_k)\n    torch.set_grad_enabled(False)",
        ),
    ),
    edit(
        "acc_rounded_before_the_division",
        "flash_attention_forward",
        "acc is rounded to half precision before it is divided, and the quotient once more: round once, at the end.",
        ("= acc / l.unsqueeze(-1)", "= acc.to(q.dtype).to(dtype) / l.unsqueeze(-1)"),
    ),
    edit(
        "values_broadcast",
        "flash_attention_forward",
        "The leading dimensions of v broadcast: here those of q, k and v are equal, and others are refused.",
        (
            "    check_arguments(q, k, v, block_q, block_k)",
            "    check_arguments(q, k, k[..., : v.shape[-2], :] if v.shape[-2] < k.shape[-2] else k, block_q, block_k)\n"
            "    if k.shape[-2] != v.shape[-2]:\n        raise ValueError('lengths')",
        ),
    ),
    edit(
        "backward_values_broadcast",
        "flash_attention_backward",
        "The leading dimensions of v broadcast: here those of q, k and v are equal, and others are refused.",
        (
            "    check_arguments(q, k, v, block_q, block_k)",
            "    check_arguments(q, k, k, block_q, block_k)\n"
            "    if k.shape[-2] != v.shape[-2]:\n        raise ValueError('lengths')\n"
            "    v = v.expand(*q.shape[:-2], *v.shape[-2:])",
        ),
    ),
    edit(
        "options_of_the_last_call",
        "FlashAttention",
        "The options are kept in the class, so a second call overwrites those of the first: put them into ctx.",
        ("ctx.options = (causal", "FlashAttention.options = (causal"),
        ("*ctx.options", "*FlashAttention.options"),
    ),
    edit(
        "tensors_of_the_last_call",
        "FlashAttention",
        "The tensors are kept in the class, so a second call overwrites those of the first: use ctx.save_for_backward.",
        ("ctx.save_for_backward(q, k, v, out, lse)", "FlashAttention.saved = (q, k, v, out, lse)"),
        ("*ctx.saved_tensors", "*FlashAttention.saved"),
    ),
    edit(
        "inputs_converted_whole",
        FORWARD,
        "All of q, k or v was converted to float32 at once, a copy of twice the size: convert each tile where it is used.",
        (CHECK, CHECK + "    given, (q, k, v) = q.dtype, (x.to(accumulation_dtype(x.dtype)) for x in (q, k, v))\n"),
        ("return out, lse", "return out.to(given), lse"),
    ),
    edit(
        "masks_remembered_by_place",
        FORWARD,
        "Masks are remembered between calls by the tile's place alone, but they also depend on n_k - n_q: make them anew.",
        (
            "scores.masked_fill_(columns > rows + offset, -torch.inf)",
            "masks = flash_attention_forward.__dict__.setdefault('masks', {})\n"
            "                hidden = masks.setdefault((top, left, bottom - top, right - left), columns > rows + offset)\n"
            "                scores.masked_fill_(hidden, -torch.inf)",
        ),
    ),
    edit(
        "maximum_starts_at_a_low_number",
        FORWARD,
        "The running maximum started at -1e9, and scores below that vanish: start at -inf.",
        ("m = q_tile.new_full(q_tile.shape[:-1], -torch.inf)", "m = q_tile.new_full(q_tile.shape[:-1], -1e9)"),
        ("        l.masked_fill_(m", "        m.masked_fill_(l == 0, -torch.inf)\n        l.masked_fill_(m"),
    ),
    edit(
        "batch_of_nothing_refused",
        FORWARD,
        "A leading dimension of 0 makes reshape(-1, ...) fail, for -1 could be anything: leave the leading dimensions alone.",
        (CHECK, CHECK + "    q.reshape(-1, q.shape[-2], q.shape[-1])\n"),
    ),
    edit(
        "delta_in_half_precision",
        BACKWARD,
        "delta was summed in half precision: convert grad_out and out to float32 before they are multiplied.",
        (
            "delta = (do * out[..., top:bottom, :]).sum(-1, keepdim=True)",
            "delta = (grad_out[..., top:bottom, :] * out[..., top:bottom, :]).sum(-1, keepdim=True).to(dtype)",
        ),
    ),
    edit(
        "weights_rounded_before_dv",
        BACKWARD,
        "The weights were rounded to half precision before dv was made of them; dv is rounded once, at the end.",
        ("+= p.mT @ do", "+= p.to(q.dtype).to(dtype).mT @ do"),
    ),
    edit(
        "backward_hides_with_a_low_number",
        BACKWARD,
        "Hidden scores were set to -1e9 in the backward pass. Where lse is as low, they get a weight: use -inf.",
        ("columns > rows + offset, -torch.inf)", "columns > rows + offset, -1e9)"),
        ("p = (scores - lse_tile).exp()", "p = (scores - lse_tile).exp() * (lse[..., top:bottom, None] > -torch.inf)"),
    ),
    edit(
        "dq_rounded_before_it_is_scaled",
        BACKWARD,
        "dq was rounded to half precision and then scaled, which rounds it again: scale the float32 sum, then round once.",
        ("= dq_tile * scale", "= dq_tile.to(q.dtype) * scale"),
    ),
    edit(
        "lse_saved_in_half_precision",
        FUNCTION,
        "lse was rounded to the dtype of q before it was saved; the backward pass needs all its digits.",
        (SAVE, "ctx.save_for_backward(q, k, v, out, lse.to(q.dtype).to(lse.dtype))"),
    ),
    edit(
        "options_used_up",
        FUNCTION,
        "The first backward pass uses up what ctx holds, and a second one (retain_graph=True) finds nothing: read, don't pop.",
        ("ctx.options = (causal, block_q, block_k, scale)", "ctx.options = [(causal, block_q, block_k, scale)]"),
        ("*ctx.options)", "*(ctx.options.pop() if ctx.options else ()))"),
    ),
    edit(
        "gradients_only_when_q_wants_one",
        FUNCTION,
        "k and v got no gradient because q wants none: each input is asked for on its own, in ctx.needs_input_grad.",
        (RETURN, "if not ctx.needs_input_grad[0]:\n            return (None,) * 7\n        " + RETURN),
    ),
    edit(
        "two_negative_arguments_accepted",
        BLOCKS,
        "Only 0 is refused. d and bytes_per_element have to be at least 1; the product of two negative ones looks like a size.",
        ("d < 1 or bytes_per_element < 1", "d == 0 or bytes_per_element == 0"),
    ),
    edit(
        "sums_with_an_epsilon",
        TILE,
        "Something is added to l so that it is never 0; a row that has seen nothing keeps l = 0, and all others are off.",
        ("p.sum(-1),", "p.sum(-1) + 1e-12,"),
    ),
    edit(
        "one_query_aligned_top_left",
        FORWARD,
        "A single query, as in decoding, saw the first key alone: it is the last one, and sees all keys.",
        ("offset = n_k - n_q", "offset = n_k - n_q if n_q > 1 else 0"),
    ),
    edit(
        "backward_one_query_aligned_top_left",
        BACKWARD,
        "A single query, as in decoding, saw the first key alone: it is the last one, and sees all keys.",
        ("offset = n_k - n_q", "offset = n_k - n_q if n_q > 1 else 0"),
    ),
    edit(
        "keys_cleaned_in_place",
        FORWARD,
        "NaN in k was overwritten, and with it the caller's own tensor: skip the tile, and leave the inputs as they are.",
        ("    for top in", "    k.nan_to_num_(0.0)\n    for top in"),
    ),
    edit(
        "backward_keys_cleaned_in_place",
        BACKWARD,
        "NaN in k was overwritten, and with it the caller's own tensor: skip the tile, and leave the inputs as they are.",
        ("    for top in", "    k.nan_to_num_(0.0)\n    for top in"),
    ),
    edit(
        "no_queries_no_check",
        FORWARD,
        "Without a query nothing is computed, and nothing was checked either: check the arguments before anything else.",
        (CHECK, "    if q.shape[-2]:\n    " + CHECK),
    ),
    edit(
        "backward_no_queries_no_check",
        BACKWARD,
        "Without a query nothing is computed, and nothing was checked either: check the arguments before anything else.",
        (CHECK, "    if q.shape[-2]:\n    " + CHECK),
    ),
    edit(
        "positions_rounded",
        FORWARD,
        "Positions were made in the dtype of q, where bfloat16 knows every whole number up to 256 only: leave them int64.",
        ("(left, right, device=q.device)", "(left, right, device=q.device, dtype=q.dtype)"),
        ("(top, bottom, device=q.device)", "(top, bottom, device=q.device, dtype=q.dtype)"),
    ),
    edit(
        "leading_dimensions_counted",
        FORWARD,
        "Only the number of heads was compared: leading dimensions of (2, 3) and (3, 2) are both 6, and are not equal.",
        (
            CHECK,
            "    if q.shape[:-2].numel() == k.shape[:-2].numel() and k.shape[:-2] == v.shape[:-2]:\n"
            "        k, v = (x.reshape(*q.shape[:-2], *x.shape[-2:]) for x in (k, v))\n" + CHECK,
        ),
    ),
    edit(
        "blocks_swapped_in_backward",
        FUNCTION,
        "block_q and block_k changed places on the way to the backward pass: right, but its tiles are others, up to all scores.",
        ("ctx.options = (causal, block_q, block_k, scale)", "ctx.options = (causal, block_k, block_q, scale)"),
    ),
    edit(
        "tiles_rounded_by_a_fraction",
        TRAFFIC,
        "Adding 0.99 rounds up for small blocks only: one query more than whole tiles of 4096 is a tile, too.",
        ("-(-n // block_q)", "int(n / block_q + 0.99)"),
    ),
    edit(
        "dq_left_empty",
        BACKWARD,
        "Without a key dq is whatever the memory held: torch.empty_like is not zeros.",
        ("    offset = n_k - n_q\n", "    if n_k == 0:\n        return torch.empty_like(q), k, v\n    offset = n_k - n_q\n"),
    ),
    edit(
        "maximum_with_a_floor",
        TILE,
        "A maximum below -1e20 was taken for that of a row that has seen nothing: only -inf means that.",
        (SHIFT, "shift = m_new.masked_fill(m_new < -1e20, 0.0)"),
    ),
    edit(
        "divided_by_a_little_more",
        FORWARD,
        "Something is added to l before it divides, so that every out is a little too small: where l is 0, divide by 1 instead.",
        ("acc / l.unsqueeze(-1)", "acc / (l.unsqueeze(-1) + 1e-10)"),
    ),
    edit(
        "hidden_by_the_lowest_half",
        FORWARD,
        "Hidden scores got the lowest number of q's dtype; in float16 that is -65504, and scores may be lower: use -inf.",
        ("columns > rows + offset, -torch.inf)", "columns > rows + offset, torch.finfo(q.dtype).min)"),
        (
            "        l.masked_fill_(m",
            "        nothing = torch.arange(top, bottom) + offset < (0 if causal else -n_q)\n"
            "        m, acc = m.masked_fill(nothing, -torch.inf), acc.masked_fill(nothing.unsqueeze(-1), 0.0)\n"
            "        l.masked_fill_(m",
        ),
    ),
    edit(
        "positions_in_few_bits",
        FORWARD,
        "Positions were made in int16, where the one after 32767 is -32768: leave them int64.",
        ("(left, right, device=q.device)", "(left, right, device=q.device).to(torch.int16)"),
        ("(top, bottom, device=q.device)", "(top, bottom, device=q.device).to(torch.int16)"),
    ),
    edit(
        "backward_positions_rounded",
        BACKWARD,
        "Positions were made in the dtype of q, where bfloat16 knows every whole number up to 256 only: leave them int64.",
        ("(left, right, device=q.device)", "(left, right, device=q.device, dtype=q.dtype)"),
        ("(top, bottom, device=q.device)", "(top, bottom, device=q.device, dtype=q.dtype)"),
    ),
    edit(
        "weights_rounded_before_ds",
        BACKWARD,
        "The weights were rounded to half precision before ds was made of them: what is on the way stays float32.",
        ("ds = p * (do", "ds = p.to(q.dtype).to(dtype) * (do"),
    ),
    edit(
        "blocks_of_32_and_128",
        FORWARD,
        "Without block_q and block_k the tiles have 32 queries and 128 keys; the defaults are 64 and 64.",
        ("block_q: int = 64", "block_q: int = 32"),
        ("block_k: int = 64", "block_k: int = 128"),
    ),
    edit(
        "backward_blocks_of_32_and_128",
        BACKWARD,
        "Without block_q and block_k the tiles have 32 queries and 128 keys; the defaults are 64 and 64.",
        ("block_q: int = 64", "block_q: int = 32"),
        ("block_k: int = 64", "block_k: int = 128"),
    ),
    edit(
        "second_derivative_dropped",
        FUNCTION,
        "A second derivative is neither computed nor refused: under no_grad it is left out without a word. Put "
        "@once_differentiable under @staticmethod.",
        ("    @once_differentiable\n", ""),
        (RETURN, "with torch.no_grad():\n            " + RETURN),
    ),
    edit(
        "lse_of_no_query_in_half_precision",
        FORWARD,
        "Without a query lse came in half precision; it is float32 there, too.",
        ("lse = q.new_empty(q.shape[:-1], dtype=dtype)", "lse = q.new_empty(q.shape[:-1], dtype=dtype if n_q else q.dtype)"),
    ),
    edit(
        "acc_of_zero_is_the_first_state",
        TILE,
        "An acc of 0 was taken for the first state and l was begun anew: values may be 0. Only where m is -inf was nothing seen.",
        ("rescale = (m - shift).exp()", "rescale = torch.where((acc == 0).all(-1), 0.0, (m - shift).exp())"),
    ),
    edit(
        "acc_of_zero_has_seen_nothing",
        FORWARD,
        "A query whose acc is 0 was taken for one that has seen nothing: values may be 0. It is m or l that says so.",
        ("        l.masked_fill_(m", "        m = m.masked_fill((acc == 0).all(-1), -torch.inf)\n        l.masked_fill_(m"),
    ),
    edit(
        "tiles_with_values_of_zero_skipped",
        FORWARD,
        "A tile whose values are all 0 was skipped, but its keys count in l and lse, and so in out.",
        (
            "            scores = q_tile",
            "            if not v[..., left:right, :].any():\n                continue\n            scores = q_tile",
        ),
    ),
    edit(
        "mask_of_all_keys",
        FORWARD,
        "The mask of a tile of queries was made for all n_k keys at once: the scores come in tiles, and so does their mask.",
        (SEEN, SEEN + "\n        hidden = torch.arange(n_k) > torch.arange(top, bottom).unsqueeze(-1) + offset"),
        ("columns > rows + offset", "hidden[:, left:right]"),
    ),
    edit(
        "mask_of_all_keys_where_causal",
        FORWARD,
        "The mask of a tile of queries was made for all n_k keys at once: the scores come in tiles, and so does their mask.",
        (SEEN, SEEN + "\n        hidden = torch.arange(n_k) > torch.arange(top, bottom)[:, None] + offset if causal else None"),
        ("columns > rows + offset", "hidden[:, left:right]"),
    ),
    edit(
        "backward_converts_all_queries",
        BACKWARD,
        "All of q was converted to float32 at once, a copy of twice the size: convert each tile where it is used.",
        (CHECK, CHECK + "    given, q = q.dtype, q.to(accumulation_dtype(q.dtype))\n"),
        ("return dq, dk", "return dq.to(given), dk"),
    ),
    edit(
        "masked_tile_left_out",
        TILE,
        "A tile that is masked throughout was left out, and its scores and v have no gradient at all: it has to be 0.",
        ("    m_new = torch.maximum", "    if scores.isneginf().all():\n        return m, l, acc\n    m_new = torch.maximum"),
    ),
    edit(
        "half_an_lse_without_a_key",
        FORWARD,
        "Without a key, lse has the inputs' dtype: it is float32 for half-precision inputs, there too.",
        (
            CHECK,
            CHECK + "    if k.shape[-2] == 0:\n"
            "        return q.new_zeros(*q.shape[:-1], v.shape[-1]), q.new_full(q.shape[:-1], -torch.inf)\n",
        ),
    ),
    edit(
        "nothing_refused_without_a_key",
        FORWARD,
        "Without a key, zeros were returned before the arguments were looked at: check_arguments comes first.",
        (
            CHECK,
            "    if k.shape[-2] == v.shape[-2] == 0:\n        out = q.new_zeros(*q.shape[:-1], v.shape[-1])\n"
            "        return out, q.new_full(q.shape[:-1], -torch.inf, dtype=accumulation_dtype(q.dtype))\n" + CHECK,
        ),
    ),
]
