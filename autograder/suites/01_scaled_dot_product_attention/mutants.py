"""Wrong solutions of module 01, each with what a student who made that mistake should read. The most common come "
"first."""

import math

import torch
from matplotlib.figure import Figure

from autograder.testing.variants import edit, mutant

# These names belong to the solution's file, which every definition below is put into.
causal_mask = scaled_dot_product_attention = attend_in_buckets = lsh_buckets = check_shapes = None

MASK, SDPA, ENTROPY, PLOT = "causal_mask", "scaled_dot_product_attention", "attention_entropy", "plot_attention"
HASH, BUCKETS, LSH = "lsh_buckets", "bucketed_attention", "lsh_attention"

MUTANTS = [
    edit("negative_lengths_accepted", MASK, "Negative lengths are accepted. Keep the check: they raise ValueError.",
         ("if n_q < 0 or (n_k is not None and n_k < 0):", "if False:"),
         ("torch.arange(n_q)", "torch.arange(max(0, n_q))"), ("torch.arange(n_k) <=", "torch.arange(max(0, n_k)) <=")),
    edit("negative_key_counts_accepted", MASK, "A negative number of keys is accepted. Keep the check: it raises ValueError.",
         ("if n_q < 0 or (n_k is not None and n_k < 0):", "if n_q < 0:"),
         ("torch.arange(n_k) <=", "torch.arange(max(0, n_k)) <=")),
    edit("minus_a_billion", SDPA,
         "Masked scores are set to -1e9. Real scores can be lower, and then the mask loses. Use the lowest finite number.",
         ("torch.finfo(scores.dtype).min", "-1e9")),
    edit("scores_clamped", SDPA, "Large scores are clamped, which changes their weights. The softmax needs no help.",
         ("weights = scores.softmax(-1)\n    else", "weights = scores.clamp(max=80).softmax(-1)\n    else")),
    edit("any_mask_taken", SDPA, "A mask of numbers is taken for a boolean one. Refuse it: 0 and 1 could mean anything.",
         ("check_shapes(q, k, v, mask)", "mask = None if mask is None else mask.bool()\n    check_shapes(q, k, v, mask)")),
    edit("additive_masks_taken", SDPA, "A mask of numbers is added to the scores. Masks are boolean here: refuse others.",
         ("check_shapes(q, k, v, mask)", "pass"),
         ("    if mask is None:\n        weights", "    if mask is not None and mask.dtype != torch.bool:\n"
          "        weights = (scores + mask).softmax(-1)\n    elif mask is None:\n        weights")),
    edit("widths_cut", SDPA, "q and k of different widths are cut to the smaller one. They do not fit: refuse them.",
         ("check_shapes(q, k, v, mask)", "d = min(q.shape[-1], k.shape[-1])\n    q, k = q[..., :d], k[..., :d]")),
    edit("lengths_cut", SDPA, "Keys and values of different lengths are cut to the shorter. They do not fit: refuse them.",
         ("check_shapes(q, k, v, mask)", "n = min(k.shape[-2], v.shape[-2])\n    k, v = k[..., :n, :], v[..., :n, :]")),
    edit("tokens_unchecked", PLOT, "Tokens that do not fit the weights are accepted, and the picture lies. Keep the check.",
         ("if weights.ndim not in (2, 3) or tuple(weights.shape[-2:]) != tokens:", "if False:")),
    edit("negative_stop", MASK,
         "A slice's end below 0 counts from the end, and the first of many queries see keys. End it at 0.",
         ("return torch.arange(n_k) <= query_position[:, None]",
          "mask = torch.zeros(n_q, n_k, dtype=torch.bool)\n    for i in range(n_q):\n"
          "        mask[i, : i + n_k - n_q + 1] = True\n    return mask")),
    edit("output_alone", SDPA, "Only the output comes back. Two results are asked for: return (output, weights).",
         ("return weights @ v, weights", "return weights @ v")),
    edit("one_panel_is_no_list", PLOT, "For a single panel subplots returns one Axes and no list: pass squeeze=False.",
         ("panels = figure.subplots(rows, columns, squeeze=False).flat",
          "panels = figure.subplots(1, len(heads)) if len(heads) else []")),
    edit("columns_cut_off", PLOT, "The axes show only the first four columns. Leave their limits to imshow.",
         ("image = axes.imshow(", "axes.set_xlim(-0.5, 3.5)\n        image = axes.imshow("),
         ('title=f"head', 'xlim=(-0.5, 3.5), title=f"head')),
    edit("no_generator_refused", HASH, "generator=None fails: torch.randn accepts it and then uses the global random state.",
         ("rotation = torch.randn", "generator.device\n    rotation = torch.randn")),
    edit("uniform_about_zero", HASH, "R is drawn from a cube, so diagonals are likelier. Draw standard normal numbers.",
         ("torch.randn(", "torch.rand("), ("rotated = x @ rotation", "rotated = x @ (rotation - 0.5)")),
    edit("bucket_numbers_wrap", BUCKETS, "Bucket numbers wrap round at 64, and different buckets meet. Leave the numbers alone.",
         ("output, _ = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)",
          "output, _ = attend_in_buckets(q, k, v, q_buckets % 64, k_buckets % 64, causal)")),
    edit("weights_clamped", ENTROPY, "Weights below 1e-6 are taken for 1e-6 inside the logarithm: only 0 needs care.",
         ("torch.where(weights > 0, weights, 1.0).log()", "weights.clamp(min=1e-6).log()")),
    edit("every_second_label", PLOT, "With many tokens labels are left out. Every row and column has its own.",
         ("axes.set_xticks(range(len(key_tokens)), key_tokens, rotation=90)",
          "n = 1 + len(key_tokens) // 11\n        axes.set_xticks(range(0, len(key_tokens), n), key_tokens[::n])")),
    edit("eight_heads_at_most", PLOT, "Heads after the eighth are not drawn. Every head has its panel.",
         ("columns = max(1", "heads = heads[:8]\n    columns = max(1")),
    edit("generator_taken_for_granted", LSH, "generator=None fails: it is the default, and torch.randn accepts it.",
         ("outputs, lses = [], []", "generator.get_state()\n    outputs, lses = [], []")),
    edit("shares_overflow", LSH, "Shares of the rounds overflow: exp of a large lse is infinite. Take a softmax over the rounds.",
         ("torch.where(lse > -torch.inf, lse, torch.finfo(lse.dtype).min).softmax(0)",
          "lse.exp() / torch.where(lse.exp().sum(0) > 0, lse.exp().sum(0), 1.0)")),
    edit("labels_stripped", PLOT, "Tokens lose the spaces at their ends. Show each as it is: ' the' is not 'the'.",
         ("    heads = weights.detach()",
          "    query_tokens, key_tokens = ([x.strip() for x in y] for y in (query_tokens, key_tokens))\n"
          "    heads = weights.detach()")),
    edit("labels_cut_to_eight", PLOT, "Long tokens are cut after eight letters. Show each token whole.",
         ("    heads = weights.detach()",
          "    query_tokens, key_tokens = ([x[:8] for x in y] for y in (query_tokens, key_tokens))\n"
          "    heads = weights.detach()")),
    edit("blind_rounds_counted", LSH, "A round that saw no key takes a share with its zeros. Its lse is -inf, its share 0.",
         ("lse, torch.finfo(lse.dtype).min)", "lse, 0.0)")),
    edit("copy_of_the_generator", LSH, "A copy of the generator is drawn from: a second call repeats the first. Use it itself.",
         ("outputs, lses = [], []", "generator = generator and generator.clone_state()\n    outputs, lses = [], []")),
    edit("always_the_same_seed", LSH, "Without a generator a fixed seed is used. Hand None on: it stands for the global one.",
         ("outputs, lses = [], []", "generator = generator or torch.Generator().manual_seed(0)\n    outputs, lses = [], []")),
    edit("one_bucket_detached", LSH, "With n_buckets=1 no gradient reaches q and k. Hand them on as they are.",
         ("return scaled_dot_product_attention(q, k, v, mask)[0]",
          "return scaled_dot_product_attention(q.detach(), k.detach(), v, mask)[0]")),
    # causal_mask
    edit(
        "aligned_top_left",
        MASK,
        "The mask is aligned top-left. With more keys than queries the last query must still see every key: query i "
        "stands "
        "at position i + n_k - n_q.",
        ("torch.arange(n_q) + n_k - n_q", "torch.arange(n_q)"),
    ),
    edit(
        "own_position_hidden",
        MASK,
        "A query does not see the key at its own position. 'Not in the future' includes the present: use <=, not <.",
        ("torch.arange(n_k) <= query_position", "torch.arange(n_k) < query_position"),
    ),
    edit(
        "one_step_into_the_future",
        MASK,
        "Each query sees one key too many: the next token. Check the offset of the diagonal.",
        ("<= query_position[:, None]", "<= query_position[:, None] + 1"),
    ),
    edit(
        "true_means_hidden",
        MASK,
        "The mask is inverted. In this course True means 'may attend', so the future is False.",
        ("torch.arange(n_k) <= query_position", "torch.arange(n_k) > query_position"),
    ),
    edit(
        "past_hidden",
        MASK,
        "The mask shows the future and hides the past: the upper triangle where the lower one belongs.",
        ("torch.arange(n_k) <= query_position", "torch.arange(n_k) >= query_position"),
    ),
    edit(
        "zero_keys_taken_as_missing",
        MASK,
        "`n_k or n_q` (or `if not n_k`) takes a length of 0 for a missing argument. Compare with None.",
        ("n_k = n_q if n_k is None else n_k", "n_k = n_k or n_q"),
    ),
    edit(
        "shifted_the_wrong_way",
        MASK,
        "The diagonal is shifted by n_q - n_k; bottom-right alignment shifts it by n_k - n_q.",
        ("+ n_k - n_q", "+ n_q - n_k"),
    ),
    edit(
        "keys_as_rows",
        MASK,
        "Rows and columns are swapped: the shape is (n_q, n_k), queries are rows.",
        (
            "return torch.arange(n_k) <= query_position[:, None]",
            "return (torch.arange(n_k) <= query_position[:, None]).T",
        ),
    ),
    edit(
        "additive_mask",
        MASK,
        "This is an additive mask (0 and -inf). The course's masks are boolean, True where a query may attend.",
        (
            "return torch.arange(n_k) <= query_position[:, None]",
            "return torch.where(torch.arange(n_k) <= query_position[:, None], 0.0, -torch.inf)",
        ),
    ),
    edit(
        "key_count_ignored",
        MASK,
        "n_k is ignored and the mask is square: with n_k given the shape is (n_q, n_k).",
        ("n_k = n_q if n_k is None else n_k", "n_k = n_q"),
    ),
    # scaled_dot_product_attention
    edit(
        "scale_forgotten",
        SDPA,
        "This is what you get when the scores are not divided by sqrt(d_k).",
        ("scale = 1 / math.sqrt(q.shape[-1])", "scale = 1.0"),
    ),
    edit(
        "mask_inverted",
        SDPA,
        "The mask is used the wrong way round: True means 'may attend'. If you use masked_fill, fill where the mask "
        "is False.",
        ("    if mask is None:\n", "    mask = None if mask is None else ~mask\n    if mask is None:\n"),
    ),
    edit(
        "mask_inverted_with_a_billion",
        SDPA,
        "The mask is used the wrong way round: True means 'may attend', so masked_fill must fill where it is False. And set "
        "the weights there to zero after the softmax, which a row of -1e9 alone needs.",
        ("torch.where(mask, scores, torch.finfo(scores.dtype).min)", "scores.masked_fill(mask, -1e9)"),
        ("torch.where(mask, scores.softmax(-1), 0.0)", "scores.softmax(-1)"),
    ),
    edit(
        "mask_inverted_with_infinity",
        SDPA,
        "The mask is used the wrong way round: True means 'may attend', so masked_fill must fill where it is False. And the "
        "softmax of a row of -inf alone is NaN: such a row needs zeros.",
        ("torch.where(mask, scores, torch.finfo(scores.dtype).min)", "scores.masked_fill(mask, -torch.inf)"),
        ("torch.where(mask, scores.softmax(-1), 0.0)", "scores.softmax(-1)"),
    ),
    edit(
        "softmax_over_queries",
        SDPA,
        "The softmax runs over the queries (dim=-2). Each query's weights over the keys must add up to 1: dim=-1.",
        ("weights = scores.softmax(-1)", "weights = scores.softmax(-2)"),
        ("torch.where(mask, scores.softmax(-1), 0.0)", "torch.where(mask, scores.softmax(-2), 0.0)"),
    ),
    edit(
        "masked_after_the_softmax",
        SDPA,
        "This is what you get when the mask is applied after the softmax: the remaining weights no longer add up to 1.",
        ("scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)", "scores = scores * 1"),
    ),
    edit(
        "masked_with_zero",
        SDPA,
        "Masked scores are set to 0, but exp(0) is 1: they still count. They must be lower than any score before the "
        "softmax.",
        ("torch.where(mask, scores, torch.finfo(scores.dtype).min)", "torch.where(mask, scores, 0.0)"),
    ),
    edit(
        "nan_for_a_blind_query",
        SDPA,
        "A query that may attend to nothing gives NaN: the softmax of a row of -inf is 0 / 0. Its weights and output "
        "are zero.",
        (
            "scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)",
            "scores = torch.where(mask, scores, -torch.inf)",
        ),
        ("weights = torch.where(mask, scores.softmax(-1), 0.0)", "weights = scores.softmax(-1)"),
    ),
    edit(
        "uniform_for_a_blind_query",
        SDPA,
        "A query that may attend to nothing attends to everything alike: with a large negative number instead of "
        "-inf its row "
        "is constant. Set masked weights to zero after the softmax as well.",
        ("weights = torch.where(mask, scores.softmax(-1), 0.0)", "weights = scores.softmax(-1)"),
    ),
    edit(
        "mask_added_to_the_scores",
        SDPA,
        "The values are right, but the gradient is NaN where a query may attend to nothing: -inf was added to the "
        "scores, and "
        "the NaN of the softmax flows back. Select with torch.where, and keep NaN from arising.",
        (
            "scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)",
            "scores = scores + torch.where(mask, 0.0, -torch.inf).to(scores.dtype)",
        ),
        ("weights = torch.where(mask, scores.softmax(-1), 0.0)", "weights = scores.softmax(-1).nan_to_num(0.0)"),
    ),
    edit(
        "scaled_by_the_width",
        SDPA,
        "The scores are divided by d_k, not by its square root.",
        ("1 / math.sqrt(q.shape[-1])", "1 / q.shape[-1]"),
    ),
    edit(
        "multiplied_by_the_root",
        SDPA,
        "The scores are multiplied by sqrt(d_k): they should be divided by it.",
        ("1 / math.sqrt(q.shape[-1])", "math.sqrt(q.shape[-1])"),
    ),
    edit(
        "scaled_by_the_width_of_the_values",
        SDPA,
        "The scale is taken from the width of the values, d_v. It is 1 / sqrt(d_k), from the width of queries and "
        "keys.",
        ("1 / math.sqrt(q.shape[-1])", "1 / math.sqrt(v.shape[-1])"),
    ),
    edit(
        "scaled_by_the_length",
        SDPA,
        "The scale is taken from the number of keys. It is 1 / sqrt(d_k), from the last dimension of q and k.",
        ("1 / math.sqrt(q.shape[-1])", "1 / math.sqrt(k.shape[-2])"),
    ),
    edit(
        "zero_scale_taken_as_missing",
        SDPA,
        "`scale or default` takes a scale of 0.0 for a missing one. Compare with None.",
        ("if scale is None:", "if not scale:"),
    ),
    edit(
        "given_scale_on_top",
        SDPA,
        "A given scale is multiplied with 1 / sqrt(d_k). It replaces the default.",
        (
            "        scale = 1 / math.sqrt(q.shape[-1])\n",
            "        scale = 1.0\n    scale = scale / math.sqrt(q.shape[-1])\n",
        ),
    ),
    edit(
        "given_scale_ignored",
        SDPA,
        "The `scale` argument is ignored.",
        ("    if scale is None:\n        scale", "    if True:\n        scale"),
    ),
    edit(
        "divided_by_the_scale",
        SDPA,
        "A given scale divides the scores. It multiplies them: the default is 1 / sqrt(d_k), not sqrt(d_k).",
        ("scale = 1 / math.sqrt(q.shape[-1])", "scale = math.sqrt(q.shape[-1])"),
        ("(q * scale)", "(q / scale)"),
    ),
    edit(
        "softmax_that_overflows",
        SDPA,
        "exp of a large score is inf, and inf / inf is NaN. Subtract the row's largest score first (torch.softmax "
        "does).",
        ("weights = scores.softmax(-1)", "weights = scores.exp() / scores.exp().sum(-1, keepdim=True)"),
        (
            "torch.where(mask, scores.softmax(-1), 0.0)",
            "torch.where(mask, scores.exp() / scores.exp().sum(-1, keepdim=True).clamp(min=1e-300), 0.0)",
        ),
    ),
    edit(
        "mask_not_low_enough",
        SDPA,
        "Masked scores are set to -10,000. Real scores can be lower than that, and then the mask loses. Use the "
        "lowest finite "
        "number of the dtype, or -inf.",
        ("torch.finfo(scores.dtype).min", "-1e4"),
    ),
    edit(
        "weights_not_quite_normalised",
        SDPA,
        "The rows do not quite add up to 1: a small number was added to the sum in the denominator.",
        (
            "return weights @ v, weights",
            "weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)\n    return weights @ v, weights",
        ),
    ),
    edit(
        "queries_scaled_in_place",
        SDPA,
        "q *= scale changes the caller's tensor. Write q * scale.",
        ("scores = (q * scale) @ k.mT", "scores = q.mul_(scale) @ k.mT"),
    ),
    edit(
        "mask_changed_in_place",
        SDPA,
        "The caller's mask was changed in place.",
        (
            "weights = torch.where(mask, scores.softmax(-1), 0.0)",
            "weights = torch.where(mask.logical_not_(), 0.0, scores.softmax(-1))",
        ),
    ),
    edit(
        "weights_detached",
        SDPA,
        "No gradient reaches q and k: the weights were detached (or computed under torch.no_grad).",
        ("return weights @ v, weights", "weights = weights.detach()\n    return weights @ v, weights"),
    ),
    edit(
        "returned_weights_detached",
        SDPA,
        "The returned weights carry no gradient: detach them where you plot them, not here.",
        ("return weights @ v, weights", "return weights @ v, weights.detach()"),
    ),
    edit(
        "always_float32",
        SDPA,
        "The result is float32 whatever the inputs are. Keep the inputs' dtype.",
        ("return weights @ v, weights", "return (weights @ v).float(), weights.float()"),
    ),
    edit(
        "float32_inside",
        SDPA,
        "float64 inputs are computed in float32 and lose half their digits. Compute in the inputs' dtype (or a wider "
        "one).",
        ("scores = (q * scale) @ k.mT", "scores = ((q.float() * scale) @ k.float().mT).to(q.dtype)"),
    ),
    edit(
        "keys_reshaped_not_transposed",
        SDPA,
        "The keys are reshaped to (d_k, n_k), which mixes numbers of different keys. Transpose the last two "
        "dimensions.",
        ("@ k.mT", "@ k.reshape(*k.shape[:-2], k.shape[-1], k.shape[-2])"),
    ),
    edit(
        "scores_returned_as_weights",
        SDPA,
        "The second result is the scores. It should be the weights, after the softmax.",
        ("return weights @ v, weights", "return weights @ v, scores"),
    ),
    edit(
        "results_in_the_wrong_order",
        SDPA,
        "The results are in the wrong order: return (output, weights).",
        ("return weights @ v, weights", "return weights, weights @ v"),
    ),
    edit(
        "softmax_over_the_whole_table",
        SDPA,
        "The softmax runs over the whole table of scores. Each row adds up to 1 by itself.",
        (
            "weights = scores.softmax(-1)",
            "weights = scores.flatten(-2).softmax(-1).view(scores.shape)",
        ),
        (
            "torch.where(mask, scores.softmax(-1), 0.0)",
            "torch.where(mask, scores.flatten(-2).softmax(-1).view(scores.shape), 0.0)",
        ),
    ),
    edit(
        "blind_query_zero_in_the_output_alone",
        SDPA,
        "The output of a query that may attend to nothing is zero, but its weights are not.",
        (
            "return weights @ v, weights",
            "uniform = scores.softmax(-1)\n    return weights @ v, uniform",
        ),
    ),
    edit(
        "mask_of_the_first_batch_entry",
        SDPA,
        "Every batch entry uses the mask of the first one. A mask may have leading dimensions of its own.",
        (
            "    if mask is None:\n",
            "    if mask is not None and mask.ndim > 2:\n        mask = mask[(0,) * (mask.ndim - 2)]\n    if mask is "
            "None:\n",
        ),
    ),
    # attention_entropy
    edit(
        "nan_at_weight_zero",
        ENTROPY,
        "0 * log(0) is NaN. A weight of 0 adds nothing: take no logarithm of it.",
        ("torch.where(weights > 0, weights, 1.0).log()", "weights.log()"),
    ),
    edit(
        "gradient_through_the_log_of_zero",
        ENTROPY,
        "The value is right, but the gradient at weight 0 is NaN: the log of 0 was taken and replaced afterwards. "
        "Replace the "
        "weight before the log.",
        (
            "return -(weights * log_weights).sum(-1)",
            "return -torch.where(weights > 0, weights * weights.log(), 0.0).sum(-1)",
        ),
    ),
    edit(
        "in_bits",
        ENTROPY,
        "The entropy is in bits: use the natural logarithm, not log2.",
        ("weights, 1.0).log()", "weights, 1.0).log2()"),
    ),
    edit(
        "sign_forgotten",
        ENTROPY,
        "The minus sign is missing: entropy is never negative.",
        ("return -(weights", "return (weights"),
    ),
    edit(
        "small_number_in_the_log",
        ENTROPY,
        "A small number was added inside the log to save log(0), which changes every other value too. Replace only "
        "zeros.",
        ("torch.where(weights > 0, weights, 1.0).log()", "(weights + 1e-6).log()"),
    ),
    edit(
        "averaged_over_keys",
        ENTROPY,
        "The terms are averaged over the keys. Entropy is their sum.",
        (".sum(-1)", ".mean(-1)"),
    ),
    edit(
        "summed_over_queries",
        ENTROPY,
        "The sum runs over the queries (dim=-2). Each query has its own entropy: sum over the keys, dim=-1.",
        (".sum(-1)", ".sum(-2)"),
    ),
    edit(
        "averaged_over_queries",
        ENTROPY,
        "One number for a whole table. Each query has its own entropy: the result is (..., n_q).",
        (".sum(-1)", ".sum(-1).mean(-1)"),
    ),
    edit(
        "divided_by_the_largest_entropy",
        ENTROPY,
        "The entropy is divided by log(n_k), its largest possible value. Leave it in nats.",
        (".sum(-1)", ".sum(-1) / math.log(max(2, weights.shape[-1]))"),
    ),
    edit(
        "entropy_detached",
        ENTROPY,
        "No gradient reaches the weights: do not detach them or go through NumPy.",
        ("log_weights = torch", "weights = weights.detach()\n    log_weights = torch"),
    ),
    edit(
        "entropy_of_a_fresh_softmax",
        ENTROPY,
        "The weights went through another softmax. They are weights already.",
        ("log_weights = torch", "weights = weights.softmax(-1)\n    log_weights = torch"),
    ),
    edit(
        "weights_renormalised_in_place",
        ENTROPY,
        "weights[weights == 0] = ... changes the caller's tensor. Make a new one with torch.where.",
        (
            "return -(weights * log_weights).sum(-1)",
            "entropy = -(weights * log_weights).sum(-1)\n    weights.detach().clamp_(min=1e-9)\n    return entropy",
        ),
    ),
    edit(
        "entropy_in_float64",
        ENTROPY,
        "The entropy is float64 whatever the weights are. Keep their dtype.",
        (".sum(-1)", ".sum(-1).double()"),
    ),
    # plot_attention
    edit(
        "picture_transposed",
        PLOT,
        "The picture is transposed: rows are queries, columns are keys.",
        ("axes.imshow(head_weights,", "axes.imshow(head_weights.T,"),
    ),
    edit(
        "only_the_first_head",
        PLOT,
        "Only the first head is drawn. (h, n_q, n_k) needs one panel a head.",
        ("heads = weights", "weights = weights if weights.ndim == 2 else weights[:1]\n    heads = weights"),
    ),
    edit(
        "heads_averaged",
        PLOT,
        "The heads are averaged into one picture. (h, n_q, n_k) needs one panel a head.",
        ("heads = weights", "weights = weights if weights.ndim == 2 else weights.mean(0)\n    heads = weights"),
    ),
    edit(
        "tokens_on_the_wrong_sides",
        PLOT,
        "The tokens are on the wrong sides: key tokens label the columns (x), query tokens the rows (y).",
        ("range(len(key_tokens)), key_tokens, rotation=90", "range(len(query_tokens)), query_tokens, rotation=90"),
        ("range(len(query_tokens)), query_tokens)", "range(len(key_tokens)), key_tokens)"),
    ),
    edit(
        "key_tokens_ignored",
        PLOT,
        "key_tokens is ignored: the columns carry the query tokens.",
        ("key_tokens, rotation=90", "[*query_tokens, *key_tokens][: len(key_tokens)], rotation=90"),
    ),
    edit(
        "labels_without_positions",
        PLOT,
        "Tick labels were set without tick positions, so they stand at the wrong places. Set both: "
        "set_xticks(positions, labels).",
        (
            "axes.set_yticks(range(len(query_tokens)), query_tokens)",
            "names = [*query_tokens]\n"
            "        axes.yaxis.set_major_formatter(lambda y, place: names[place] if 0 <= place < len(names) else '')",
        ),
    ),
    edit(
        "repeated_tokens_merged",
        PLOT,
        "Repeated tokens were merged: each row and column has its own label, also when the token is the same.",
        (
            "axes.set_yticks(range(len(query_tokens)), query_tokens)",
            "axes.set_yticks([list(query_tokens).index(x) for x in dict.fromkeys(query_tokens)], "
            "list(dict.fromkeys(query_tokens)))",
        ),
    ),
    edit(
        "labels_shifted_by_half",
        PLOT,
        "The ticks stand on the borders of the cells. Cell i is centred at i, not at i + 0.5.",
        ("axes.set_xticks(range(len(key_tokens)),", "axes.set_xticks([j + 0.5 for j in range(len(key_tokens))],"),
    ),
    edit(
        "no_labels_at_all",
        PLOT,
        "The picture has no tokens along its sides.",
        ("        axes.set_xticks(range(len(key_tokens)), key_tokens, rotation=90)\n", ""),
        ("        axes.set_yticks(range(len(query_tokens)), query_tokens)\n", ""),
    ),
    edit(
        "weights_that_require_grad_refused",
        PLOT,
        "Weights straight from a model require grad, and .numpy() refuses them. Call .detach() first.",
        ("weights.detach().float()", "weights.float()"),
    ),
    edit(
        "half_precision_refused",
        PLOT,
        "NumPy has no bfloat16: call .float() before .numpy().",
        (".detach().float().cpu()", ".detach().cpu()"),
    ),
    edit(
        "rows_stretched",
        PLOT,
        "The rows were stretched to a maximum of 1 before drawing. Show the weights themselves.",
        ("axes.imshow(head_weights,", "axes.imshow(head_weights / max(head_weights.max(), 1e-9),"),
    ),
    edit(
        "logarithms_drawn",
        PLOT,
        "The logarithms of the weights are drawn. Show the weights themselves.",
        ("axes.imshow(head_weights,", "axes.imshow(__import__('numpy').log(head_weights + 1e-9),"),
    ),
    edit(
        "heads_in_one_tall_picture",
        PLOT,
        "All heads are stacked in one tall picture. Each head needs a panel of its own.",
        ("    columns = max(", "    heads = heads.reshape(1, -1, len(key_tokens))\n    columns = max("),
    ),
    edit(
        "axes_returned",
        PLOT,
        "The result is not the Figure: return figure, not its axes.",
        ("return figure\n", "return figure.axes[0]\n"),
    ),
    # lsh_buckets
    edit(
        "directions_interleaved",
        HASH,
        "Each column of R is followed by its opposite. The scores are [xR; -xR]: all columns first, then all "
        "opposites.",
        (
            "torch.cat([rotated, -rotated], dim=-1)",
            "torch.stack([rotated, -rotated], dim=-1).flatten(-2)",
        ),
    ),
    edit(
        "opposites_forgotten",
        HASH,
        "The argmax runs over xR alone. Take it over [xR; -xR], with n_buckets / 2 columns in R.",
        ("n_buckets // 2, generator", "n_buckets, generator"),
        ("torch.cat([rotated, -rotated], dim=-1)", "rotated"),
    ),
    edit(
        "sign_lost",
        HASH,
        "x and -x share a bucket, as where the absolute value is taken. Opposite vectors are as far apart as can be.",
        ("torch.cat([rotated, -rotated], dim=-1)", "rotated.abs()"),
    ),
    edit(
        "max_instead_of_argmax",
        HASH,
        "max(dim=-1) gives the largest values and their places, as a tuple. The bucket is the place alone: argmax.",
        (".argmax(dim=-1)", ".max(dim=-1)"),
    ),
    edit(
        "twice_as_many_buckets",
        HASH,
        "R has n_buckets columns, so that [xR; -xR] has twice as many. R is (d, n_buckets / 2).",
        ("n_buckets // 2, generator", "n_buckets, generator"),
    ),
    edit(
        "uniform_rotation",
        HASH,
        "R is drawn from [0, 1): all its directions point the same way. Draw standard normal numbers (torch.randn).",
        ("torch.randn(", "torch.rand("),
    ),
    edit(
        "generator_ignored",
        HASH,
        "The generator is ignored and the global random state used: pass generator=generator to torch.randn.",
        ("generator=generator, ", ""),
    ),
    edit(
        "generator_seeded_again",
        HASH,
        "Every call draws the same rotation, whatever generator comes in. Do not seed the generator.",
        ("generator=generator, ", "generator=torch.Generator().manual_seed(0), "),
    ),
    edit(
        "a_rotation_for_each_head",
        HASH,
        "Every batch entry and head has a rotation of its own. One R of shape (d, n_buckets / 2) serves all.",
        ("torch.randn(x.shape[-1],", "torch.randn(*x.shape[:-2], x.shape[-1],"),
    ),
    edit(
        "length_counts",
        HASH,
        "Longer vectors land elsewhere: something is added to xR or rounded. Only the direction of x counts.",
        ("rotated = x @ rotation", "rotated = x @ rotation + rotation[0]"),
    ),
    edit(
        "random_signs",
        HASH,
        "R holds random signs, so its directions lie on the diagonals only. Draw standard normal numbers.",
        ("rotated = x @ rotation", "rotated = x @ rotation.sign()"),
    ),
    edit(
        "only_one_direction",
        HASH,
        "Only two buckets are ever used: R needs n_buckets / 2 columns, not one.",
        ("rotated = x @ rotation", "rotated = (x @ rotation[:, :1]).expand(*x.shape[:-1], n_buckets // 2)"),
    ),
    edit(
        "odd_numbers_accepted",
        HASH,
        "An odd n_buckets is accepted. Buckets come in opposite pairs: raise ValueError.",
        ("if n_buckets < 2 or n_buckets % 2:", "if n_buckets < 2:"),
    ),
    edit(
        "one_bucket_accepted",
        HASH,
        "n_buckets=1 is accepted. One is odd as well: raise ValueError.",
        (
            "    if n_buckets < 2 or n_buckets % 2:",
            "    if n_buckets == 1:\n        return torch.zeros(x.shape[:-1], dtype=torch.int64)\n    if n_buckets % "
            "2:",
        ),
    ),
    edit(
        "buckets_in_int32",
        HASH,
        "Buckets are indices: int64.",
        (".argmax(dim=-1)", ".argmax(dim=-1).int()"),
    ),
    edit(
        "vectors_normalised_in_place",
        HASH,
        "x was normalised in place, which changes the caller's tensor (and is not needed: argmax does not care for "
        "length).",
        ("rotated = x @ rotation", "rotated = x.div_(x.norm(dim=-1, keepdim=True)) @ rotation"),
    ),
    edit(
        "shared_with_bits_of_signs",
        HASH,
        "The signs of xR are read as the bits of a number. The bucket is the argmax over [xR; -xR].",
        (
            "return torch.cat([rotated, -rotated], dim=-1).argmax(dim=-1)",
            "return ((rotated > 0).long() << torch.arange(n_buckets // 2)).sum(-1) % n_buckets",
        ),
    ),
    *(
        edit(f"gradients_in_double_precision_only_{where}", name,
             "Only in float64 do gradients come back: training is done in float32 and less. Detach nothing, in no dtype.",
             (old, f"{names} = ({names}) if {first}.dtype == torch.float64 else ({detached})\n    {old}"))
        for where, name, old, names, first, detached in (
            ("in_attention", SDPA, "if scale is None:", "q, k", "q", "q.detach(), k.detach()"),
            ("of_weights", ENTROPY, "log_weights =", "weights", "weights", "weights.detach()"),
            ("in_buckets", BUCKETS, "output, _ = attend_in_buckets(", "q, k", "q", "q.detach(), k.detach()"),
            ("in_rounds", LSH, "if n_buckets == 1:", "q, k", "q", "q.detach(), k.detach()"),
        )
    ),
    edit("lowest_number_added_to_the_scores", SDPA,
         "The lowest number of the dtype was added to hidden scores. In float16 that makes -inf of negative ones, and a row of "
         "nothing else NaN: replace the scores, torch.where(mask, scores, lowest).",
         ("scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)",
          "scores = scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, torch.finfo(scores.dtype).min)"),
         ("weights = torch.where(mask, scores.softmax(-1), 0.0)", "weights = scores.softmax(-1) * mask")),
    edit("weights_changed_where_nothing_is_recorded", ENTROPY,
         "Zeros are replaced in the caller's weights where no gradients are recorded: no_grad() does not make a tensor yours.",
         ("log_weights =", "if not torch.is_grad_enabled():\n        weights.clamp_(min=1e-9)\n    log_weights =")),
    edit("logarithms_remembered", ENTROPY,
         "Logarithms are kept for the tensor that gave them, but a caller may change it in place. Compute anew in each call.",
         ("log_weights = torch.where(weights > 0, weights, 1.0).log()",
          "kept = attention_entropy.__dict__.setdefault('kept', {})\n"
          "    log_weights, _ = kept.setdefault(id(weights), (torch.where(weights > 0, weights, 1.0).log(), weights))")),
    edit("normalised_in_place_where_nothing_is_recorded", HASH,
         "x is normalised in place where no gradients are recorded: no_grad() does not make a tensor yours.",
         ("rotated = x @ rotation",
          "if not torch.is_grad_enabled():\n        x /= x.norm(dim=-1, keepdim=True)\n    rotated = x @ rotation")),
    edit("one_round_where_nothing_is_recorded", LSH,
         "Under torch.no_grad() there is one round only: do as many as n_rounds says, recorded or not.",
         ("check_shapes(q, k, v)", "check_shapes(q, k, v)\n    n_rounds = n_rounds if torch.is_grad_enabled() else 1")),
    edit("keys_and_values_remembered", LSH,
         "Keys and values are kept for the tensors that held them, but a caller may change those in place. Read them anew.",
         ("check_shapes(q, k, v)", "check_shapes(q, k, v)\n    kept = lsh_attention.__dict__.setdefault('kept', {})\n"
          "    k, v, *_ = kept.setdefault((id(k), id(v)), (k.clone(), v.clone(), k, v))")),
    *(
        edit(f"constant_queries_stop_the_gradient_{where}", name,
             "Where q requires no gradient, k gets none. Each of q, k and v has its own: leave that to autograd.",
             (old, f"k = k if q.requires_grad else k.detach()\n    {old}"))
        for where, name, old in (
            ("in_buckets", BUCKETS, "output, _ = attend_in_buckets("),
            ("in_rounds", LSH, "if n_buckets == 1:"),
        )
    ),
    edit("lowest_number_added_and_zeros_put_afterwards", SDPA,
         "The values are right, the gradient is NaN: in float16 the lowest number added to a negative score is -inf, and zeros "
         "were put after the softmax. Replace the scores before it.",
         ("scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)",
          "scores = scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, torch.finfo(scores.dtype).min)")),
    edit("bucket_numbers_in_a_byte", BUCKETS,
         "Bucket numbers went through 8 bits, and different buckets meet from 256 on. Leave the numbers alone.",
         ("q_buckets, k_buckets, causal)\n    return", "q_buckets.byte(), k_buckets.byte(), causal)\n    return")),
]


@mutant(
    BUCKETS,
    "The (n_q, n_k) matrix is formed: masked full attention costs as much as full attention. Gather each bucket's "
    "rows.",
)
def full_matrix_masked(q, k, v, q_buckets, k_buckets, causal=False):
    mask = q_buckets[..., :, None] == k_buckets[..., None, :]
    if causal:
        mask = mask & causal_mask(q.shape[-2], k.shape[-2])
    return scaled_dot_product_attention(q, k, v, mask)[0]


@mutant(
    BUCKETS, "No scores are wasted, but comparing every q_bucket with every k_bucket is a boolean (n_q, n_k) matrix."
)
def full_matrix_of_booleans(q, k, v, q_buckets, k_buckets, causal=False):
    together = q_buckets[..., :, None] == k_buckets[..., None, :]
    output = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)[0]
    return torch.where(together.any(-1)[..., None], output, 0.0)


@mutant(
    BUCKETS,
    "Causality is judged by the order within the bucket. Positions refer to the original order: sort them along.",
)
def causal_within_the_bucket(q, k, v, q_buckets, k_buckets, causal=False):
    together = q_buckets[..., :, None] == k_buckets[..., None, :]
    if causal:
        rank_q = ((q_buckets[..., :, None] == q_buckets[..., None, :]) & causal_mask(q.shape[-2])).sum(-1)
        rank_k = ((k_buckets[..., :, None] == k_buckets[..., None, :]) & causal_mask(k.shape[-2])).sum(-1)
        together = together & (rank_k[..., None, :] <= rank_q[..., :, None])
    return scaled_dot_product_attention(q, k, v, together)[0]


@mutant(
    BUCKETS,
    "With causal=True and n_q != n_k positions are aligned top-left: the last query stands beside the last key.",
)
def causal_aligned_top_left(q, k, v, q_buckets, k_buckets, causal=False):
    if not causal:
        return attend_in_buckets(q, k, v, q_buckets, k_buckets, False)[0]
    together = q_buckets[..., :, None] == k_buckets[..., None, :]
    mask = torch.arange(k.shape[-2]) <= torch.arange(q.shape[-2])[:, None]
    return scaled_dot_product_attention(q, k, v, together & mask)[0]


@mutant(
    BUCKETS, "With causal=True a query does not see the key at its own position. It should: only later keys are hidden."
)
def causal_and_strict(q, k, v, q_buckets, k_buckets, causal=False):
    if not causal:
        return attend_in_buckets(q, k, v, q_buckets, k_buckets, False)[0]
    together = q_buckets[..., :, None] == k_buckets[..., None, :]
    n_q, n_k = q.shape[-2], k.shape[-2]
    return scaled_dot_product_attention(q, k, v, together & causal_mask(n_q, n_k).tril(n_k - n_q - 1))[0]


@mutant(BUCKETS, "The `causal` argument is ignored.")
def causality_ignored(q, k, v, q_buckets, k_buckets, causal=False):
    return attend_in_buckets(q, k, v, q_buckets, k_buckets, False)[0]


@mutant(BUCKETS, "A query whose bucket holds no key gives NaN: its softmax is 0 / 0. Its output is zero.")
def nan_for_a_lonely_query(q, k, v, q_buckets, k_buckets, causal=False):
    output, lse = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
    return torch.where((lse == -torch.inf)[..., None], torch.nan, output)


@mutant(BUCKETS, "A query whose bucket holds no key gets the mean of all values. Its output is zero.")
def mean_for_a_lonely_query(q, k, v, q_buckets, k_buckets, causal=False):
    output, lse = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
    return torch.where((lse == -torch.inf)[..., None], v.mean(-2, keepdim=True), output)


@mutant(BUCKETS, "The gradient is NaN where a query sees no key: a NaN of the softmax was replaced in the output only.")
def nan_in_the_gradient_of_a_lonely_query(q, k, v, q_buckets, k_buckets, causal=False):
    together = q_buckets[..., :, None] == k_buckets[..., None, :]
    if causal:
        together = together & causal_mask(q.shape[-2], k.shape[-2])
    scores = q @ k.mT / math.sqrt(q.shape[-1]) + torch.where(together, 0.0, -torch.inf).to(q.dtype)
    return (scores.softmax(-1) @ v).nan_to_num(0.0)


@mutant(
    BUCKETS, "All batch entries and heads use the buckets of the first. Each leading index may have buckets of its own."
)
def buckets_of_the_first_head(q, k, v, q_buckets, k_buckets, causal=False):
    first = [x[(0,) * (x.ndim - 1)] for x in (q_buckets, k_buckets)]
    return attend_in_buckets(q, k, v, *first, causal)[0]


@mutant(BUCKETS, "The outputs are left in sorted order. Row i of the output belongs to query i: undo the sort.")
def left_in_sorted_order(q, k, v, q_buckets, k_buckets, causal=False):
    output, _ = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
    order = q_buckets.argsort(dim=-1, stable=True).expand(output.shape[:-1])
    return output.gather(-2, order[..., None].expand(output.shape))


@mutant(BUCKETS, "The sort is undone with the sorting order itself. The inverse of a permutation is its argsort.")
def unsorted_with_the_wrong_permutation(q, k, v, q_buckets, k_buckets, causal=False):
    output, _ = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
    order = q_buckets.argsort(dim=-1, stable=True).expand(output.shape[:-1])
    twice = order.gather(-1, order)
    return output.gather(-2, twice[..., None].expand(output.shape))


@mutant(BUCKETS, "The scores are not divided by sqrt(d_k).")
def buckets_without_the_scale(q, k, v, q_buckets, k_buckets, causal=False):
    return attend_in_buckets(q * math.sqrt(q.shape[-1]), k, v, q_buckets, k_buckets, causal)[0]


@mutant(
    BUCKETS,
    "Queries and keys were cut into chunks of equal size after sorting. Buckets may differ in size: cut where they "
    "end.",
)
def chunks_of_equal_size(q, k, v, q_buckets, k_buckets, causal=False):
    n = max(1, len(set(q_buckets.flatten().tolist())))
    q_chunk, k_chunk = (
        (x.argsort(dim=-1, stable=True).argsort(dim=-1) * n).div(max(1, x.shape[-1]), rounding_mode="floor")
        for x in (q_buckets, k_buckets)
    )
    return attend_in_buckets(q, k, v, q_chunk, k_chunk, causal)[0]


@mutant(
    BUCKETS,
    "The softmax runs over all keys, and the other buckets are dropped after it: the weights no longer add up to 1.",
)
def restricted_after_the_softmax(q, k, v, q_buckets, k_buckets, causal=False):
    mask = causal_mask(q.shape[-2], k.shape[-2]) if causal else None
    weights = scaled_dot_product_attention(q, k, v, mask)[1]
    return torch.where(q_buckets[..., :, None] == k_buckets[..., None, :], weights, 0.0) @ v


@mutant(BUCKETS, "The keys are grouped by the buckets of the queries. k_buckets are theirs.")
def keys_in_the_buckets_of_the_queries(q, k, v, q_buckets, k_buckets, causal=False):
    n = k.shape[-2]
    repeated = q_buckets.repeat(*[1] * (q_buckets.ndim - 1), n // max(1, q_buckets.shape[-1]) + 1)[..., :n]
    return attend_in_buckets(q, k, v, q_buckets, repeated, causal)[0]


@mutant(BUCKETS, "No gradient reaches q, k and v: results were written into a detached tensor (or the inputs were).")
def buckets_detached(q, k, v, q_buckets, k_buckets, causal=False):
    return attend_in_buckets(q.detach(), k.detach(), v, q_buckets, k_buckets, causal)[0]


@mutant(BUCKETS, "Neighbouring buckets are seen too. A query sees the keys of its own bucket only.")
def neighbouring_buckets_too(q, k, v, q_buckets, k_buckets, causal=False):
    near = (q_buckets[..., :, None] - k_buckets[..., None, :]).abs() <= 3
    if causal:
        near = near & causal_mask(q.shape[-2], k.shape[-2])
    return scaled_dot_product_attention(q, k, v, near)[0]


@mutant(BUCKETS, "The output is float32 whatever the inputs are. Keep their dtype.")
def buckets_in_float32(q, k, v, q_buckets, k_buckets, causal=False):
    return attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)[0].float()


@mutant(
    BUCKETS,
    "The sums of exp(score) overflow for large scores: subtract the largest score of the row, or use torch.softmax.",
)
def buckets_that_overflow(q, k, v, q_buckets, k_buckets, causal=False):
    output, lse = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
    return output * lse.exp()[..., None] / torch.where(lse > -torch.inf, lse.exp(), 1.0)[..., None]


MUTANTS += [
    edit(
        "rounds_averaged",
        LSH,
        "The rounds are averaged. A round in which a query saw much must count for more: weigh it by exp(lse).",
        (".softmax(0)", ".mul(0).softmax(0)"),
    ),
    edit(
        "queries_and_keys_hashed_apart",
        LSH,
        "Queries and keys are hashed by different rotations, so that equal buckets mean nothing. One rotation for "
        "both.",
        (
            "lsh_buckets(both, n_buckets, generator).tensor_split([q.shape[:-1].numel()])",
            "(lsh_buckets(x, n_buckets, generator) for x in (q, k))",
        ),
    ),
    edit(
        "the_same_rotation_every_round",
        LSH,
        "Every round uses the same rotation, so that more rounds find nothing new. Draw a new one in each.",
        (
            "for _ in range(n_rounds):\n",
            "state = generator.get_state() if generator is not None else None\n"
            "    for _ in range(n_rounds):\n"
            "        if generator is not None:\n"
            "            generator.set_state(state)\n",
        ),
    ),
    edit(
        "only_the_last_round",
        LSH,
        "Only the last round counts. Combine all rounds by their log-sum-exp.",
        (
            "share = torch.where(lse > -torch.inf,",
            "lse = lse.clone()\n    lse[:-1] = -torch.inf\n    share = torch.where(lse > -torch.inf,",
        ),
    ),
    edit(
        "the_best_round_takes_all",
        LSH,
        "For each query only the round with the largest sum counts. Rounds share in proportion to exp(lse).",
        (".softmax(0)", ".mul(1e6).clamp(min=torch.finfo(lse.dtype).min).softmax(0)"),
    ),
    edit(
        "rounds_added_up",
        LSH,
        "The rounds are added up. The shares of the rounds must add up to 1.",
        (
            "return (share.unsqueeze(-1) * torch.stack(outputs)).sum(0)",
            "return (share.unsqueeze(-1) * torch.stack(outputs)).sum(0) * n_rounds",
        ),
    ),
    edit(
        "shares_by_lse_itself",
        LSH,
        "The rounds are weighed by lse. It is a logarithm: weigh them by exp(lse).",
        (
            "share = torch.where(lse > -torch.inf, lse, torch.finfo(lse.dtype).min).softmax(0)",
            "share = torch.where(lse > -torch.inf, lse, 0.0)\n    share = share / share.sum(0).clamp(min=1e-9)",
        ),
    ),
    edit(
        "one_round_whatever_is_asked",
        LSH,
        "n_rounds is ignored: there is only one round.",
        ("for _ in range(n_rounds):", "for _ in range(1):"),
    ),
    edit(
        "one_bucket_refused",
        LSH,
        "n_buckets=1 is refused. Here it is accepted: no hashing, exact attention.",
        ("if n_buckets == 1:", "if n_buckets == 1 and q is None:"),
    ),
    edit(
        "one_bucket_forgets_causality",
        LSH,
        "With n_buckets=1 the `causal` argument is ignored.",
        (".to(q.device) if causal else None", ".to(q.device) if causal and n_buckets > 1 else None"),
    ),
    edit(
        "one_bucket_aligned_top_left",
        LSH,
        "With n_buckets=1 and n_q != n_k the causal mask is aligned top-left.",
        ("causal_mask(q.shape[-2], k.shape[-2])", "torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()"),
    ),
    edit(
        "causality_lost_in_the_rounds",
        LSH,
        "The `causal` argument does not reach the rounds.",
        ("k_buckets.view(k.shape[:-1]), causal)", "k_buckets.view(k.shape[:-1]), False)"),
    ),
    edit(
        "nan_where_nothing_was_seen",
        LSH,
        "A query that saw no key in any round gives NaN: the softmax over rounds of nothing but -inf. Its output is "
        "zero.",
        ("torch.where(lse > -torch.inf, lse, torch.finfo(lse.dtype).min).softmax(0)", "lse.softmax(0)"),
    ),
    edit(
        "nan_hidden_from_the_value",
        LSH,
        "The value is right, but the gradient is NaN where a query saw no key in any round: the NaN of the softmax "
        "over rounds "
        "was replaced too late.",
        (
            "torch.where(lse > -torch.inf, lse, torch.finfo(lse.dtype).min).softmax(0)",
            "(lse + 0 * torch.stack(outputs).sum(-1)).softmax(0).nan_to_num(0.0)",
        ),
    ),
    edit(
        "shares_detached",
        LSH,
        "The gradient through the shares of the rounds is missing: do not detach the log-sum-exp.",
        (".softmax(0)", ".detach().softmax(0)"),
    ),
    edit(
        "rounds_without_the_generator",
        LSH,
        "The generator is not handed on: the global random state decides.",
        ("lsh_buckets(both, n_buckets, generator)", "lsh_buckets(both, n_buckets, None)"),
    ),
    edit(
        "odd_numbers_rounded_up",
        LSH,
        "An odd number of buckets above 1 is accepted. Hand it to lsh_buckets, which refuses it.",
        ("lsh_buckets(both, n_buckets, generator)", "lsh_buckets(both, n_buckets + n_buckets % 2, generator)"),
    ),
    edit(
        "fewer_than_one_bucket_taken_for_one",
        LSH,
        "n_buckets=-1 is taken for 1. It is an odd number other than 1: hand it to lsh_buckets, which refuses it.",
        ("if n_buckets == 1:", "if n_buckets <= 1:"),
    ),
    edit(
        "leading_dimensions_concatenated",
        LSH,
        "q and k with different leading dimensions are refused: they broadcast. Flatten them before hashing both in "
        "one call.",
        (
            "torch.cat([q.flatten(0, -2), k.flatten(0, -2)])",
            "torch.cat([q, k], dim=-2).flatten(0, -2)[: q.shape[:-1].numel() + k.shape[:-1].numel()]",
        ),
    ),
    edit(
        "vectors_hashed_after_normalising_in_place",
        LSH,
        "q and k were normalised in place, which changes the caller's tensors.",
        (
            "both = torch.cat(",
            "for x in (q, k):\n        x.data /= x.data.norm(dim=-1, keepdim=True)\n    both = torch.cat(",
        ),
    ),
]


@mutant(
    LSH, "Keys met in several rounds count once: the rounds were merged into one mask. Here each round counts in full."
)
def keys_met_twice_count_once(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    n_q, n_k = q.shape[-2], k.shape[-2]
    mask = torch.zeros(n_q, n_k, dtype=torch.bool)
    if n_buckets == 1:
        mask = ~mask
    else:
        both = torch.cat([q.flatten(0, -2), k.flatten(0, -2)])
        for _ in range(n_rounds):
            q_buckets, k_buckets = lsh_buckets(both, n_buckets, generator).tensor_split([q.shape[:-1].numel()])
            mask = mask | (q_buckets.view(q.shape[:-1])[..., :, None] == k_buckets.view(k.shape[:-1])[..., None, :])
    if causal:
        mask = mask & causal_mask(n_q, n_k)
    return scaled_dot_product_attention(q, k, v, mask)[0]


@mutant(LSH, "Every query sees every key: the buckets are not used at all.")
def full_attention_whatever_is_asked(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    if n_buckets > 1 and n_buckets % 2:
        raise ValueError("n_buckets must be even")
    mask = causal_mask(q.shape[-2], k.shape[-2]) if causal else None
    return scaled_dot_product_attention(q, k, v, mask)[0]


@mutant(MASK, "The mask holds ones and zeros. It must be boolean: dtype=torch.bool.")
def ones_and_zeros(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    return torch.ones(n_q, n_k).tril(n_k - n_q)


@mutant(
    PLOT, "A (h, n_q, n_k) tensor went to imshow as it is, which takes three dimensions for colours. One panel a head."
)
def heads_taken_for_colours(weights, query_tokens, key_tokens=None):
    key_tokens = query_tokens if key_tokens is None else key_tokens
    if tuple(weights.shape[-2:]) != (len(query_tokens), len(key_tokens)):
        raise ValueError("tokens and weights do not fit")
    figure = Figure()
    axes = figure.subplots()
    axes.imshow(weights.detach().float().numpy())
    axes.set_xticks(range(len(key_tokens)), key_tokens)
    axes.set_yticks(range(len(query_tokens)), query_tokens)
    return figure


@mutant(MASK, "With n_q = 0 all rows come back: mask[-0:] is mask[0:]. Cut at n - n_q, counted from the front.")
def cut_at_minus_zero(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    n = max(n_q, n_k)
    return torch.ones(n, n, dtype=torch.bool).tril()[-n_q:, n - n_k :]


@mutant(MASK, "Positions past 127 wrap round: int8 is too small for them. Leave torch.arange its own dtype.")
def positions_in_a_byte(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    position = (torch.arange(n_q) + n_k - n_q).to(torch.int8)
    return torch.arange(n_k).to(torch.int8) <= position[:, None]


@mutant(BUCKETS, "The full matrix is formed where there are leading dimensions. Gather each bucket's rows there too.")
def full_matrix_for_batches(q, k, v, q_buckets, k_buckets, causal=False):
    if max(q.ndim, k.ndim, v.ndim, q_buckets.ndim + 1, k_buckets.ndim + 1) == 2:
        return attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)[0]
    mask = q_buckets[..., :, None] == k_buckets[..., None, :]
    mask = mask & causal_mask(q.shape[-2], k.shape[-2]) if causal else mask
    return scaled_dot_product_attention(q, k, v, mask)[0]


@mutant(PLOT, "Every picture is drawn into the same figure: pyplot.gcf() hands out one that is in use. Make a new one.")
def drawn_into_the_current_figure(weights, query_tokens, key_tokens=None):
    from matplotlib import pyplot

    key_tokens = query_tokens if key_tokens is None else key_tokens
    heads = weights.detach().float().reshape(-1, len(query_tokens), len(key_tokens))
    figure = pyplot.gcf()
    for head, head_weights in enumerate(heads):
        axes = figure.add_subplot(1, len(heads), head + 1)
        axes.imshow(head_weights.numpy())
        axes.set_xticks(range(len(key_tokens)), key_tokens)
        axes.set_yticks(range(len(query_tokens)), query_tokens)
    return figure


@mutant(SDPA, "One maximum is taken for the whole table: rows far below it become 0 / 0. Each row has its own.")
def one_maximum_for_the_table(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    scores = (q @ k.mT) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    powers = (scores - scores.detach().max()).exp()
    powers = powers if mask is None else powers * mask
    total = powers.sum(-1, keepdim=True)
    weights = powers / torch.where(total > 0, total, 1.0)
    return weights @ v, weights


MUTANTS += [
    edit(
        "seeded_inside",
        SDPA,
        "torch.manual_seed is called inside, so every later draw of the whole program repeats. Nothing here is random.",
        ("    if scale is None:\n", "    torch.manual_seed(0)\n    if scale is None:\n"),
    ),
    edit(
        "small_number_of_1e_12_in_the_log",
        ENTROPY,
        "1e-12 was added inside the log. A softmax gives weights that are smaller, and their gradient is then wrong. "
        "Replace only zeros.",
        ("torch.where(weights > 0, weights, 1.0).log()", "(weights + 1e-12).log()"),
    ),
    *(
        edit(
            f"small_number_of_1e_{digits}_in_the_log",
            ENTROPY,
            f"1e-{digits} was added inside the log, which makes the entropy of other weights wrong too. Replace only zeros.",
            ("torch.where(weights > 0, weights, 1.0).log()", f"(weights + 1e-{digits}).log()"),
        )
        for digits in (8, 9, 10)
    ),
    edit(
        "settings_changed",
        PLOT,
        "matplotlib.rcParams was changed, and with it every later picture. Set sizes on this figure, or use rc_context.",
        ("    heads = weights", "    import matplotlib\n\n    matplotlib.rcParams['font.size'] = 6\n    heads = weights"),
    ),
    edit(
        "all_figures_closed",
        PLOT,
        "pyplot.close('all') closes figures that belong to others. Close none, or only your own.",
        ("    heads = weights", "    from matplotlib import pyplot\n\n    pyplot.close('all')\n    heads = weights"),
    ),
    edit(
        "no_key_tokens_taken_as_missing",
        PLOT,
        "`key_tokens or query_tokens` takes an empty list for a missing one, and accepts tokens that do not fit. Compare "
        "with None.",
        (
            "tokens = len(query_tokens), len(query_tokens if key_tokens is None else key_tokens)",
            "key_tokens = key_tokens or query_tokens\n    tokens = len(query_tokens), len(key_tokens)",
        ),
    ),
    edit(
        "hashed_after_centring",
        HASH,
        "The mean of all vectors is taken off first, so a bucket depends on what else is in the batch. Hash x itself.",
        ("rotated = x @ rotation", "rotated = (x - x.flatten(0, -2).mean(0)) @ rotation"),
    ),
    edit(
        "rotation_always_float32",
        HASH,
        "R is float32 where x is float16 or bfloat16, and @ refuses two dtypes. Give R the dtype of x.",
        ("dtype=x.dtype", "dtype=torch.float64 if x.dtype == torch.float64 else torch.float32"),
    ),
    edit(
        "vectors_that_require_grad_refused",
        HASH,
        "Vectors straight from a model require grad, and .numpy() refuses them. Stay in PyTorch, or detach first.",
        ("rotated = x @ rotation", "rotated = torch.from_numpy(x.numpy()) @ rotation"),
    ),
    edit(
        "a_fixed_seed_for_none",
        HASH,
        "Without a generator every call draws the same rotation. None stands for the global random state: hand it on.",
        ("    rotation = torch", "    generator = generator or torch.Generator().manual_seed(0)\n    rotation = torch"),
    ),
    edit(
        "columns_that_depend_on_each_other",
        HASH,
        "The columns of R depend on each other, so some buckets are much likelier. Draw all of R from randn.",
        ("rotated = x @ rotation", "rotated = x @ rotation.cumsum(-1)"),
    ),
    edit(
        "one_maximum_for_all_rounds_and_queries",
        LSH,
        "One maximum is taken for all queries: the shares of queries far below it become 0. Each query has its own.",
        (
            "share = torch.where(lse > -torch.inf, lse, torch.finfo(lse.dtype).min).softmax(0)",
            "power = (lse - lse.detach().max().clamp(min=-1e30)).exp()\n"
            "    share = power / torch.where(power.sum(0) > 0, power.sum(0), 1.0)",
        ),
    ),
]


@mutant(SDPA, "q and k are multiplied element by element, so a width of 1 broadcasts. Widths that differ do not fit.")
def widths_that_broadcast(q, k, v, mask=None, scale=None):
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError("mask must be boolean")
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(-1) * scale
    mask = torch.ones(1, dtype=torch.bool) if mask is None else mask
    scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    weights = torch.where(mask, scores.softmax(-1), 0.0)
    return (weights.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2), weights


@mutant(SDPA, "The maximum is taken over hidden keys too: where a hidden score is far larger, the rest become 0 / 0.")
def maximum_over_hidden_keys(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    scores = (q @ k.mT) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    powers = (scores - scores.detach().amax(-1, keepdim=True)).exp()
    powers = powers if mask is None else powers * mask
    total = powers.sum(-1, keepdim=True)
    weights = powers / torch.where(total > 0, total, 1.0)
    return weights @ v, weights


@mutant(PLOT, "The figure is shown. Return it: the caller decides whether to show it or to save it.")
def figure_shown(weights, query_tokens, key_tokens=None):
    from matplotlib import pyplot

    tokens = len(query_tokens), len(query_tokens if key_tokens is None else key_tokens)
    if weights.ndim not in (2, 3) or tuple(weights.shape[-2:]) != tokens:
        raise ValueError("tokens do not fit weights")
    key_tokens = query_tokens if key_tokens is None else key_tokens
    heads = weights.detach().float().reshape(-1, *tokens)
    figure, panels = pyplot.subplots(1, len(heads), squeeze=False)
    for panel, head in zip(panels.flat, heads, strict=True):
        panel.imshow(head)
        panel.set_xticks(range(len(key_tokens)), key_tokens)
        panel.set_yticks(range(len(query_tokens)), query_tokens)
    figure.show()
    return figure


@mutant(BUCKETS, "One maximum is taken for a whole bucket: rows far below it become 0 / 0. Each row has its own.")
def one_maximum_a_bucket(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    if lead:
        parts = [x.expand(*lead, *x.shape[-2:]).unbind(0) for x in (q, k, v)]
        parts += [x.expand(*lead, x.shape[-1]).unbind(0) for x in (q_buckets, k_buckets)]
        return torch.stack([one_maximum_a_bucket(*one, causal) for one in zip(*parts, strict=True)])
    output = q.new_zeros(n_q, v.shape[-1])
    for bucket in q_buckets.unique():
        i, j = (q_buckets == bucket).nonzero()[:, 0], (k_buckets == bucket).nonzero()[:, 0]
        if not len(j):
            continue
        scores = q[i] @ k[j].mT / math.sqrt(q.shape[-1])
        seen = (j <= i[:, None] + n_k - n_q) if causal else torch.ones_like(scores, dtype=torch.bool)
        powers = (scores - scores.detach().max()).exp() * seen
        total = powers.sum(-1, keepdim=True)
        output = output.index_put((i,), powers / torch.where(total > 0, total, 1.0) @ v[j])
    return output


@mutant(BUCKETS, "Hidden scores are set to -1e30, which float16 cannot hold. Use torch.finfo(dtype).min.")
def filled_with_a_number_too_large_for_half(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    if lead:
        parts = [x.expand(*lead, *x.shape[-2:]).unbind(0) for x in (q, k, v)]
        parts += [x.expand(*lead, x.shape[-1]).unbind(0) for x in (q_buckets, k_buckets)]
        return torch.stack([filled_with_a_number_too_large_for_half(*one, causal) for one in zip(*parts, strict=True)])
    output = q.new_zeros(n_q, v.shape[-1])
    for bucket in q_buckets.unique():
        i, j = (q_buckets == bucket).nonzero()[:, 0], (k_buckets == bucket).nonzero()[:, 0]
        if not len(j):
            continue
        scores = q[i] @ k[j].mT / math.sqrt(q.shape[-1])
        seen = (j <= i[:, None] + n_k - n_q) if causal else torch.ones_like(scores, dtype=torch.bool)
        weights = scores.masked_fill(~seen, -1e30).softmax(-1)
        output = output.index_put((i,), torch.where(seen.any(-1, keepdim=True), weights, 0.0) @ v[j])
    return output


@mutant(LSH, "Each batch entry and head is hashed by a rotation of its own. One rotation a round serves them all.")
def a_rotation_for_each_leading_index(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    check_shapes(q, k, v)
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    if lead:
        parts = [x.expand(*lead, *x.shape[-2:]).unbind(0) for x in (q, k, v)]
        options = n_buckets, n_rounds, causal, generator
        return torch.stack([a_rotation_for_each_leading_index(*one, *options) for one in zip(*parts, strict=True)])
    if n_buckets == 1:
        return scaled_dot_product_attention(q, k, v, causal_mask(len(q), len(k)) if causal else None)[0]
    rounds = []
    for _ in range(n_rounds):
        q_buckets, k_buckets = lsh_buckets(torch.cat([q, k]), n_buckets, generator).split([len(q), len(k)])
        rounds.append(attend_in_buckets(q, k, v, q_buckets, k_buckets, causal))
    lse = torch.stack([lse for _, lse in rounds])
    share = torch.where(lse > -torch.inf, lse, torch.finfo(lse.dtype).min).softmax(0)
    return (share.unsqueeze(-1) * torch.stack([output for output, _ in rounds])).sum(0)


MUTANTS += [
    edit(
        "mask_given_a_head_dimension",
        SDPA,
        "A mask of three dimensions was given a fourth in second place. Dimensions line up from the end: leave it as it is.",
        (
            "    if mask is None:\n",
            "    if mask is not None and mask.ndim == 3 and scores.ndim == 4 and mask.shape[0] == scores.shape[0]:\n"
            "        mask = mask.unsqueeze(1)\n"
            "    if mask is None:\n",
        ),
    ),
    edit(
        "scores_clamped_far_out",
        SDPA,
        "Scores beyond 30,000 are clamped, so that the largest two become equal. The softmax needs no help.",
        ("scores = (q * scale) @ k.mT", "scores = ((q * scale) @ k.mT).clamp(-3e4, 3e4)"),
    ),
    edit(
        "kept_positive_by_relu",
        ENTROPY,
        "relu keeps the entropy from being -0.0, but it stops the gradient of a row with one key. Leave the sum as it is.",
        ("return -(weights * log_weights).sum(-1)", "return (-(weights * log_weights).sum(-1)).relu()"),
    ),
    edit(
        "heads_taken_for_queries",
        PLOT,
        "Heads and queries are swapped where there are as many of either. The first of three dimensions is the head.",
        (
            "heads = weights.detach()",
            "if weights.ndim == 3 and weights.shape[0] == weights.shape[1]:\n"
            "        weights = weights.transpose(0, 1)\n"
            "    heads = weights.detach()",
        ),
    ),
    edit(
        "rows_of_the_rotation_repeat",
        HASH,
        "Two rows of R are equal, so two coordinates of x count as one. Each entry of R is drawn by itself.",
        ("rotated = x @ rotation", "rotation = torch.cat([rotation[:1], rotation[:-1]])\n    rotated = x @ rotation"),
    ),
    edit(
        "hashed_in_half_precision",
        HASH,
        "x is hashed in float16: long vectors overflow and near ones tie. Leave x its dtype.",
        ("rotated = x @ rotation", "rotated = x.half() @ rotation.half()"),
    ),
    edit(
        "argmax_of_a_softmax",
        HASH,
        "The argmax is taken of a softmax, in which short vectors tie. The argmax of xR itself does not care for length.",
        (".argmax(dim=-1)", ".softmax(dim=-1).argmax(dim=-1)"),
    ),
    edit(
        "lse_without_causality",
        LSH,
        "The share of a round counts keys that `causal` hides. Take the log-sum-exp over the keys that the query saw.",
        (
            "        lses.append(lse)",
            "        buckets = q_buckets.view(q.shape[:-1]), k_buckets.view(k.shape[:-1])\n"
            "        lses.append(attend_in_buckets(q, k, v, *buckets, False)[1])",
        ),
    ),
]


@mutant(BUCKETS, "Queries before the first key are moved beside it and see it. Their positions are negative: they see nothing.")
def positions_clamped_to_the_first_key(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    if lead:
        parts = [x.expand(*lead, *x.shape[-2:]).unbind(0) for x in (q, k, v)]
        parts += [x.expand(*lead, x.shape[-1]).unbind(0) for x in (q_buckets, k_buckets)]
        return torch.stack([positions_clamped_to_the_first_key(*one, causal) for one in zip(*parts, strict=True)])
    output = q.new_zeros(n_q, v.shape[-1])
    for bucket in q_buckets.unique():
        i, j = (q_buckets == bucket).nonzero()[:, 0], (k_buckets == bucket).nonzero()[:, 0]
        if not len(j):
            continue
        mask = j <= (i[:, None] + n_k - n_q).clamp(min=0) if causal else None
        output = output.index_put((i,), scaled_dot_product_attention(q[i], k[j], v[j], mask)[0])
    return output


@mutant(BUCKETS, "A bucket holds at most 128 keys, and the others are dropped. It may hold any number.")
def at_most_128_keys_in_a_bucket(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    if lead:
        parts = [x.expand(*lead, *x.shape[-2:]).unbind(0) for x in (q, k, v)]
        parts += [x.expand(*lead, x.shape[-1]).unbind(0) for x in (q_buckets, k_buckets)]
        return torch.stack([at_most_128_keys_in_a_bucket(*one, causal) for one in zip(*parts, strict=True)])
    output = q.new_zeros(n_q, v.shape[-1])
    for bucket in q_buckets.unique():
        i, j = (q_buckets == bucket).nonzero()[:, 0], (k_buckets == bucket).nonzero()[:, 0][:128]
        if not len(j):
            continue
        mask = j <= i[:, None] + n_k - n_q if causal else None
        output = output.index_put((i,), scaled_dot_product_attention(q[i], k[j], v[j], mask)[0])
    return output

MUTANTS += [
    edit(
        "kept_and_handed_out_again",
        MASK,
        "A mask that was made before is handed out again: whoever changes it changes everyone's. Make a new one at each call.",
        (
            "    n_k = n_q if n_k is None else n_k",
            "    n_k = n_q if n_k is None else n_k\n    made = causal_mask.__dict__.setdefault('made', {})\n"
            "    if (n_q, n_k) in made:\n        return made[n_q, n_k]",
        ),
        ("return torch.arange(n_k)", "return made.setdefault((n_q, n_k), torch.arange(n_k)"),
        ("query_position[:, None]", "query_position[:, None])"),
    ),
    edit(
        "masks_of_float32_taken",
        SDPA,
        "A mask of float32 is taken for a boolean one. Whatever is not boolean is refused, for it could mean anything.",
        (
            "    check_shapes(q, k, v, mask)",
            "    if mask is not None and mask.dtype == torch.float32:\n        mask = mask > 0\n    check_shapes(q, k, v, mask)",
        ),
    ),
    edit(
        "one_mask_for_the_batch",
        SDPA,
        "Where the heads share a mask, all batch entries get that of the first. A mask broadcasts: cut nothing off it.",
        (
            "        # The lowest",
            "        mask = mask[:1] if mask.ndim > 3 and mask.shape[1] == 1 else mask\n        # The lowest",
        ),
    ),
    edit(
        "exp_of_hidden_scores",
        SDPA,
        "exp of a score that is hidden overflows: the value is put right, but the gradient is 0 times infinity. "
        "Mask the scores before exp.",
        (
            "scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)",
            "low = torch.finfo(scores.dtype).min\n"
            "        top = torch.where(mask, scores, low).amax(-1, keepdim=True)\n"
            "        top = torch.where(top > low, top, scores.amax(-1, keepdim=True)).detach()\n"
            "        shares = torch.where(mask, (scores - top).exp(), 0.0)",
        ),
        (
            "weights = torch.where(mask, scores.softmax(-1), 0.0)",
            "weights = shares / shares.sum(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)",
        ),
    ),
    edit(
        "whole_numbers_are_no_scale",
        SDPA,
        "A scale that is an int is ignored. Only None stands for the default.",
        ("    if scale is None:", "    if not isinstance(scale, float):"),
    ),
    edit(
        "entropy_of_normalised_weights",
        ENTROPY,
        "The weights are divided by their sum first. The entropy is -Σ w log w of the weights as they are.",
        (
            "    log_weights =",
            "    total = weights.detach().sum(-1, keepdim=True)\n"
            "    weights = weights / torch.where(total > 0, total, 1.0)\n    log_weights =",
        ),
    ),
    edit(
        "first_512_keys_alone",
        ENTROPY,
        "Only 512 keys are counted. There may be any number of them.",
        ("    log_weights =", "    weights = weights[..., :512]\n    log_weights ="),
    ),
    edit(
        "default_dtype_changed_by_the_entropy",
        ENTROPY,
        "The default dtype is float64 after the call. Global settings are not yours to change: convert tensors instead.",
        ("    log_weights =", "    torch.set_default_dtype(torch.float64)\n    log_weights ="),
    ),
    edit(
        "tokens_turned_round_in_place",
        PLOT,
        "The caller's list of tokens is turned round in place. Make a list of your own: list(query_tokens)[::-1].",
        (
            "    key_tokens = query_tokens",
            "    if isinstance(query_tokens, list):\n"
            "        caller, query_tokens = query_tokens, list(query_tokens)\n"
            "        caller.reverse()\n    key_tokens = query_tokens",
        ),
    ),
    edit(
        "gradients_switched_off_for_the_weights",
        PLOT,
        "The caller's weights do not require grad after the call. detach() gives a tensor of your own.",
        ("weights.detach()", "weights.requires_grad_(False)"),
    ),
    edit(
        "title_on_somebody_elses_figure",
        PLOT,
        "pyplot.title writes on the figure that is current, which is somebody else's. Use the methods of your own figure.",
        ("    return figure", "    from matplotlib import pyplot\n\n    pyplot.title('attention')\n    return figure"),
    ),
    edit(
        "seeded_by_the_plot",
        PLOT,
        "The call seeds PyTorch's random numbers. A picture needs none: leave global state alone.",
        ("    return figure", "    torch.manual_seed(0)\n    return figure"),
    ),
    edit(
        "centred_by_coordinate",
        HASH,
        "Each vector loses the mean of its own coordinates before it is hashed, so its direction changes. Hash x itself.",
        ("rotated = x @", "rotated = (x - x.mean(-1, keepdim=True)) @"),
    ),
    edit(
        "default_dtype_changed_by_the_hash",
        HASH,
        "The default dtype is another one after the call. Give torch.randn its dtype instead.",
        ("    rotated =", "    torch.set_default_dtype(torch.float64)\n    rotated ="),
    ),
    edit(
        "whole_causal_mask",
        BUCKETS,
        "The whole causal mask is formed, (n_q, n_k): compare the positions of one bucket's queries and keys instead.",
        ("    return output", "    if causal:\n        causal_mask(q.shape[-2], k.shape[-2])\n    return output"),
    ),
    edit(
        "as_many_buckets_as_there_are_different_ones",
        BUCKETS,
        "Not every number need occur: go through the buckets that do, not through range(how many different ones there are).",
        (
            "    return output",
            "    return output * (q_buckets < torch.cat([q_buckets.flatten(), k_buckets.flatten()]).unique().numel())[..., None]",
        ),
    ),
    edit(
        "values_shared_by_all_keys",
        BUCKETS,
        "One value is accepted for any number of keys. Keep the check: each key has a value of its own.",
        (
            "    check_shapes(",
            "    v = v.expand(*v.shape[:-2], k.shape[-2], v.shape[-1])\n    check_shapes(",
        ),
    ),
    edit(
        "at_most_64_queries_in_a_bucket",
        BUCKETS,
        "A bucket serves at most 64 queries, and the others get zeros. It may hold any number.",
        (
            "    return output",
            "    if bool((q_buckets == q_buckets[..., :1]).all()):\n"
            "        output = torch.cat([output[..., :64, :], 0 * output[..., 64:, :]], dim=-2)\n    return output",
        ),
    ),
    edit(
        "full_matrix_in_numpy",
        BUCKETS,
        "All pairs are compared in NumPy. That is the full matrix, too: gather each bucket's rows first.",
        (
            "    return output",
            "    shared = q_buckets.numpy()[..., :, None] == k_buckets.numpy()[..., None, :]\n"
            "    seen = torch.from_numpy(shared.any(-1))[..., None]\n    return torch.where(seen, output, 0.0)",
        ),
    ),
    edit(
        "default_dtype_changed_by_the_rounds",
        LSH,
        "The default dtype is another one after the call. Global settings are not yours to change.",
        ("    if n_buckets == 1:", "    torch.set_default_dtype(torch.float64)\n    if n_buckets == 1:"),
    ),
    edit(
        "five_rounds_at_most",
        LSH,
        "After five rounds no more are done. Do as many as n_rounds says.",
        ("range(n_rounds)", "range(min(n_rounds, 5))"),
    ),
    edit(
        "sixteen_buckets_at_most",
        LSH,
        "More than 16 buckets are taken for 16. n_buckets may be any even number.",
        ("lsh_buckets(both, n_buckets, generator)", "lsh_buckets(both, min(n_buckets, 16), generator)"),
    ),
    edit(
        "global_state_seeded_for_none",
        LSH,
        "Without a generator the global one is seeded, so every call draws the same rotations. Hand None on to lsh_buckets.",
        ("    if n_buckets == 1:", "    if generator is None:\n        torch.manual_seed(0)\n    if n_buckets == 1:"),
    ),
    edit(
        "heads_of_the_values_alone_forgotten",
        BUCKETS,
        "Leading dimensions that the values alone have are refused. They broadcast, like those of queries and keys.",
        (
            "    output, _ = attend",
            "    v.expand(*torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], q_buckets.shape[:-1]), *v.shape[-2:])\n"
            "    output, _ = attend",
        ),
    ),
    edit(
        "keys_beyond_a_block_forgotten",
        SDPA,
        "Keys beyond the 256th hardly count. A row of scores has any length, and one softmax serves all of it.",
        ("scores = (q * scale) @ k.mT", "scores = (q * scale) @ k.mT - 1e4 * (torch.arange(k.shape[-2]) >= 256)"),
    ),
    edit(
        "bfloat16_through_float16",
        SDPA,
        "bfloat16 goes through float16, whose range ends at 65,504, so large scores overflow. Go through float32.",
        (
            "    if mask is None:\n        weights",
            "    if scores.dtype == torch.bfloat16:\n        scores = scores.half()\n    if mask is None:\n        weights",
        ),
        ("    return weights @ v", "    weights = weights.to(v.dtype)\n    return weights @ v"),
    ),
    edit(
        "results_remembered_by_tensor",
        SDPA,
        "Results are kept for the tensors that gave them, but a caller may change those in place. Compute anew in each call.",
        (
            "    if scale is None:",
            "    kept = vars(check_shapes).setdefault('kept', {})\n    if (q, k, v, mask, scale) in kept:\n"
            "        return kept[q, k, v, mask, scale]\n    asked = q, k, v, mask, scale\n    if scale is None:",
        ),
        ("    return weights @ v, weights", "    kept[asked] = weights @ v, weights\n    return kept[asked]"),
    ),
    edit(
        "constant_queries_stop_the_gradient",
        SDPA,
        "Where q requires no gradient, k gets none. Each of q, k and v has its own: leave that to autograd.",
        (
            "    return weights @ v",
            "    weights = weights if q.requires_grad else weights.detach()\n    return weights @ v",
        ),
    ),
    edit(
        "thinned_labels",
        PLOT,
        "Where there are many tokens, only some are shown. Every row and every column has its token: give all tick labels.",
        (
            "axes.set_xticks(range(len(key_tokens)), key_tokens",
            "step = 1 + len(key_tokens) // 40\n"
            "        axes.set_xticks(range(len(key_tokens))[::step], key_tokens[::step]",
        ),
    ),
    edit(
        "half_precision_not_hashed",
        HASH,
        "Vectors in half precision all land in bucket 0. Any floating dtype is hashed: draw R in the dtype of x.",
        ("    rotated = x @", "    rotated = (x if x.dtype.itemsize > 2 else 0 * x) @"),
    ),
    edit(
        "thirty_buckets_at_most",
        BUCKETS,
        "After thirty buckets the other queries get zeros. There may be any number of buckets.",
        (
            "    return output",
            "    among = q_buckets.unique()[:30]\n"
            "    return torch.where(torch.isin(q_buckets, among)[..., None], output, 0.0)",
        ),
    ),
    edit(
        "buckets_in_float16",
        BUCKETS,
        "bfloat16 goes through float16, whose range ends at 65,504, so large scores overflow. Go through float32.",
        (
            "    output, _ = attend",
            "    if q.dtype == torch.bfloat16:\n        halves = (x.half() for x in (q, k, v))\n"
            "        return attend_in_buckets(*halves, q_buckets, k_buckets, causal)[0].bfloat16()\n    output, _ = attend",
        ),
    ),
    edit(
        "four_rounds_at_most",
        LSH,
        "After four rounds no more are done. Do as many as n_rounds says.",
        ("range(n_rounds)", "range(min(n_rounds, 4))"),
    ),
    edit(
        "blind_rounds_at_minus_ten_thousand",
        LSH,
        "A round that saw nothing gets a log-sum-exp of -1e4, and another round's may be lower. Use the lowest finite number.",
        ("torch.finfo(lse.dtype).min", "-1e4"),
    ),
    edit(
        "top_left_where_queries_outnumber_keys",
        MASK,
        "With more queries than keys the mask falls back to top-left. Query i stands at i + n_k - n_q there, too: the first "
        "n_q - n_k queries see nothing.",
        ("torch.arange(n_q) + n_k - n_q", "torch.arange(n_q) + max(0, n_k - n_q)"),
    ),
    edit(
        "weights_clamped_at_1e_8",
        ENTROPY,
        "Weights below 1e-8 are taken for 1e-8 inside the logarithm: the gradient of a weight as small is wrong, or none at "
        "all. Only 0 needs care.",
        ("torch.where(weights > 0, weights, 1.0).log()", "weights.clamp(min=1e-8).log()"),
    ),
    edit(
        "generator_put_back_after_the_draw",
        HASH,
        "The generator's state is put back after the draw, so the next call repeats this one. Draw, and leave it as it is.",
        ("    rotation = torch.randn", "    state = generator and generator.get_state()\n    rotation = torch.randn"),
        ("    rotated = x", "    if generator:\n        generator.set_state(state)\n    rotated = x"),
    ),
    edit(
        "first_rows_of_the_mask_for_each_block",
        SDPA,
        "Queries are taken in blocks of 128, and each block gets the first rows of the mask. Cut the mask at the same rows.",
        ("    scores = (q", "    n = q.shape[-2]\n"
         "    if mask is not None and mask.ndim > 1 and mask.shape[-2] > 128:\n"
         "        mask = torch.cat([mask[..., : min(128, n - i), :] for i in range(0, n, 128)], -2)\n    scores = (q"),
    ),
    edit(
        "mask_of_four_heads",
        SDPA,
        "From the fifth head on another head's mask is used. Every leading index has its own part of the mask.",
        ("    scores = (q", "    if mask is not None and mask.ndim > 2 and mask.shape[-3] > 4:\n"
         "        mask = mask[..., torch.arange(mask.shape[-3]) % 4, :, :]\n    scores = (q"),
    ),
    edit(
        "scaled_in_place_unless_recorded",
        SDPA,
        "Where no gradients are recorded, q is scaled in place. Under torch.no_grad() the inputs are the caller's, too.",
        ("    scores = (q * scale)", "    if not torch.is_grad_enabled():\n        q.mul_(scale)\n        scale = 1.0\n"
         "    scores = (q * scale)"),
    ),
    edit(
        "gradients_asked_for",
        SDPA,
        "q is made to require a gradient, which its caller did not ask for. Leave q as it is.",
        ("    scores = (q", "    q = q.requires_grad_() if q.is_leaf else q\n    scores = (q"),
    ),
    edit(
        "causal_only_when_recorded",
        BUCKETS,
        "Under torch.no_grad() the future is seen: `causal` counts there as well.",
        ("k_buckets, causal)\n    return", "k_buckets, causal and torch.is_grad_enabled())\n    return"),
    ),
    edit(
        "buckets_of_int64_alone",
        BUCKETS,
        "Buckets of another integer type than int64 are refused. They are integers, too.",
        ("    output, _ = attend", "    if q_buckets.dtype != torch.int64:\n"
         "        raise TypeError('q_buckets must be int64')\n    output, _ = attend"),
    ),
    edit(
        "every_other_figure_closed",
        PLOT,
        "plt.close('all') closes figures that are somebody else's. Make a new one, and leave the others open.",
        ("figure = Figure(figsize=size", "import matplotlib.pyplot as plt\n\n    plt.close('all')\n"
         "    figure = plt.figure(figsize=size"),
    ),
    edit(
        "settings_back_to_their_defaults",
        PLOT,
        "matplotlib's settings were set back to their defaults. They are the caller's: leave them alone.",
        ("    heads = weights", "    import matplotlib\n\n    matplotlib.rcdefaults()\n    heads = weights"),
    ),
    edit(
        "heads_down_the_columns",
        PLOT,
        "The heads go down the columns of the grid. Their panels come in the order of the heads.",
        ("panels = figure.subplots(rows, columns, squeeze=False).flat",
         "panels = figure.subplots(rows, columns, squeeze=False).T.flat"),
    ),
]


@mutant(SDPA, "The row's maximum is taken before the scale. A negative scale turns the smallest score into the largest.")
def maximum_before_the_scale(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    if scale is None:
        scale = 1 / math.sqrt(q.shape[-1])
    scores = q @ k.mT
    seen = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    scores = torch.where(seen, scores, torch.finfo(scores.dtype).min)
    raised = torch.where(seen, ((scores - scores.amax(-1, keepdim=True)) * scale).exp(), 0.0)
    total = raised.sum(-1, keepdim=True)
    weights = raised / torch.where(total > 0, total, 1.0)
    return weights @ v, weights


@mutant(LSH, "The default generator is made once, with a seed of its own. Without a generator PyTorch's global one is used.")
def generator_made_once(
    q, k, v, n_buckets, n_rounds=1, causal=False, generator=torch.Generator().manual_seed(0)  # noqa: B008
):
    check_shapes(q, k, v)
    if n_buckets == 1:
        return scaled_dot_product_attention(q, k, v, causal_mask(q.shape[-2], k.shape[-2]) if causal else None)[0]
    outputs, lses = [], []
    for _ in range(n_rounds):
        both = lsh_buckets(torch.cat([q.flatten(0, -2), k.flatten(0, -2)]), n_buckets, generator)
        of_q, of_k = both.tensor_split([q.shape[:-1].numel()])
        output, lse = attend_in_buckets(q, k, v, of_q.view(q.shape[:-1]), of_k.view(k.shape[:-1]), causal)
        outputs.append(output)
        lses.append(lse)
    lse = torch.stack(lses)
    share = torch.where(lse > -torch.inf, lse, torch.finfo(lse.dtype).min).softmax(0)
    return (share[..., None] * torch.stack(outputs)).sum(0)


MUTANTS += [
    edit(
        "layout_cuts_the_gradient_of_keys",
        "scaled_dot_product_attention",
        "Only contiguous keys get their gradient: contiguous() passes gradients on, .data and detach() cut them off.",
        (
            "    scores = (q * scale) @ k.mT",
            "    k = k if k.is_contiguous() else k.detach().contiguous()\n    scores = (q * scale) @ k.mT",
        ),
    ),
    edit(
        "mean_of_all_keys_taken_off",
        SDPA,
        "The keys' mean is taken off before scores are computed: one enormous key, though it is hidden, costs the others their "
        "digits.",
        ("    scores = (q * scale) @ k.mT", "    k = k - k.mean(-2, keepdim=True)\n    scores = (q * scale) @ k.mT"),
    ),
    edit(
        "round_like_the_last_one_skipped",
        LSH,
        "A round in which the same queries and keys met as in the one before is skipped: each round counts in full.",
        (
            "        outputs.append(output)\n",
            "        if lses and n_buckets > 2 and torch.equal(lse, lses[-1]):\n            continue\n"
            "        outputs.append(output)\n",
        ),
    ),
    edit(
        "layout_cuts_the_gradient_of_hashed_keys",
        LSH,
        "Only contiguous keys get their gradient: contiguous() passes gradients on, .data and detach() cut them off.",
        (
            "    outputs, lses = [], []\n",
            "    k = k if k.is_contiguous() else k.detach().contiguous()\n    outputs, lses = [], []\n",
        ),
    ),
    edit(
        "logarithm_detached",
        ENTROPY,
        "The logarithm is detached, so the gradient lacks its 1: it is -(1 + log w). Detach nothing.",
        ("-(weights * log_weights)", "-(weights * log_weights.detach())"),
    ),
    edit(
        "heads_drawn_in_their_own_dtype",
        PLOT,
        "Weights of several heads are drawn in their own dtype, and NumPy has no bfloat16. Call .float() for them as well.",
        ("weights.detach().float()", "(weights.detach().float() if weights.ndim == 2 else weights.detach())"),
    ),
    edit(
        "generator_unused_for_two_buckets",
        HASH,
        "With two buckets the generator is not used. Draw with it however few buckets there are.",
        ("generator=generator", "generator=generator if n_buckets > 2 else None"),
    ),
    edit(
        "one_bucket_without_its_leading_dimensions",
        BUCKETS,
        "Where all is one bucket, the leading dimensions of the buckets are lost. They broadcast with those of q, k and v.",
        (
            "    output, _ = attend_in_buckets",
            "    if not (q_buckets.any() or k_buckets.any()):\n"
            "        mask = causal_mask(q.shape[-2], k.shape[-2]) if causal else None\n"
            "        return scaled_dot_product_attention(q, k, v, mask)[0]\n"
            "    output, _ = attend_in_buckets",
        ),
    ),
    edit(
        "one_bucket_of_queries_taken_for_all",
        BUCKETS,
        "Where all queries have one bucket, they see every key. The keys may have other buckets: look at those, too.",
        (
            "    output, _ = attend_in_buckets",
            "    if (q_buckets == q_buckets.flatten()[:1]).all():\n"
            "        k_buckets = torch.full_like(k_buckets, int(q_buckets.flatten()[0]))\n"
            "    output, _ = attend_in_buckets",
        ),
    ),
]


@mutant(BUCKETS, "A query whose keys are all later sees them all: their scores are equally low. Put zeros where nothing is seen.")
def equally_low_scores_of_a_blind_query(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    output, lse = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
    mean, _ = attend_in_buckets(torch.zeros_like(q), k, v, q_buckets, k_buckets, False)
    return torch.where((lse == -torch.inf)[..., None], mean, output)
