"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

import math
from collections import Counter

from autograder.testing.variants import edit, mutant

MUTANTS = [
    # padding_mask
    edit(
        "one_token_too_many",
        "padding_mask",
        "One token too many is real: position j is real if j < length.",
        ("< lengths[..., None]", "<= lengths[..., None]"),
    ),
    edit(
        "padding_is_true",
        "padding_mask",
        "True stands at the padding: it means a real token here, one that may be attended to.",
        ("< lengths[..., None]", ">= lengths[..., None]"),
    ),
    edit(
        "padding_on_the_left",
        "padding_mask",
        "The last tokens are real: texts begin at position 0, and padding comes after them.",
        (
            "torch.arange(max_len, device=lengths.device) < lengths[..., None]",
            "torch.arange(max_len).flip(0) < lengths[..., None]",
        ),
    ),
    edit(
        "one_row_less_nested",
        "padding_mask",
        "Lengths of more than one dimension are laid flat: put the new dimension last, lengths[..., None].",
        ("lengths[..., None]", "lengths.reshape(-1, 1)"),
    ),
    edit(
        "numbers_for_true",
        "padding_mask",
        "The mask is of numbers: it is boolean.",
        ("< lengths[..., None]\n", "< lengths[..., None]).long()\n"),
        ("return torch", "return (torch"),
    ),
    edit(
        "as_wide_as_the_longest",
        "padding_mask",
        "The mask is as wide as the longest text: it has max_len columns.",
        ("torch.arange(max_len, device", "torch.arange(int(lengths.max()) if lengths.numel() else max_len, device"),
    ),
    edit(
        "too_long_accepted",
        "padding_mask",
        "A length above max_len is cut without a word: refuse it.",
        ("<= lengths.max() <= max_len:", "<= lengths.max():"),
    ),
    edit(
        "negative_accepted",
        "padding_mask",
        "A negative length is taken for 0: refuse it.",
        ("not 0 <= lengths.min() <= lengths.max() <= max_len", "not lengths.max() <= max_len"),
    ),
    edit(
        "only_the_first_length_checked",
        "padding_mask",
        "Only the first length is checked: every one has to fit.",
        (
            "not 0 <= lengths.min() <= lengths.max() <= max_len",
            "not 0 <= lengths.flatten()[0] <= max_len",
        ),
    ),
    edit(
        "nothing_checked_where_nothing_is",
        "padding_mask",
        "A batch of no rows is an error: min and max of nothing do not exist, so ask for numel() first.",
        ("lengths.numel() and ", ""),
    ),
    edit(
        "full_rows_refused",
        "padding_mask",
        "A length of max_len is refused: such a row has no padding, and that is fine.",
        ("<= max_len:", "< max_len:"),
    ),
    edit(
        "empty_rows_refused",
        "padding_mask",
        "A length of 0 is refused: such a row is all padding, and that is fine.",
        ("not 0 <= lengths", "not 1 <= lengths"),
    ),
    edit(
        "lengths_in_their_own_dtype",
        "padding_mask",
        "max_len is compared in the dtype of the lengths, in which 300 may be 44: make the lengths int64 first.",
        ("    lengths = lengths.long()  # a max_len of 300 has no place among uint8\n", ""),
    ),
    edit(
        "asks_for_the_first_dimension_alone",
        "padding_mask",
        "Lengths of two times no rows are an error: min and max of nothing do not exist, so ask for numel() first.",
        ("lengths.numel() and", "(lengths.ndim == 0 or len(lengths)) and"),
    ),
    edit(
        "lengths_viewed",
        "padding_mask",
        "Lengths in another order in memory are an error, as a transposed table: lengths[..., None], or reshape.",
        (
            "torch.arange(max_len, device=lengths.device) < lengths[..., None]",
            "(torch.arange(max_len) < lengths.view(-1, 1)).view(*lengths.shape, max_len)",
        ),
        ("lengths = lengths.long()", "lengths = lengths.to(torch.int64)"),
    ),
    edit(
        "masks_remembered",
        "padding_mask",
        "One mask is given to several callers: what one of them writes into it the others see. Make a new one each time.",
        ("(lengths: Tensor, max_len: int)", "(lengths: Tensor, max_len: int, known={})"),
        (
            "    return torch.arange(max_len, device=lengths.device) < lengths[..., None]",
            (
                "    mask = torch.arange(max_len, device=lengths.device) < lengths[..., None]\n"
                "    return known.setdefault((str(lengths.tolist()), max_len), mask)"
            ),
        ),
    ),
    edit(
        "positions_in_half_precision",
        "padding_mask",
        "Positions are compared in half precision, which rounds from 2048 on: leave torch.arange its int64.",
        ("torch.arange(max_len, device=lengths.device) <", "torch.arange(max_len).half() <"),
    ),
    edit(
        "no_length_checked",
        "padding_mask",
        "No length is checked: refuse a negative one, and one above max_len.",
        ("if lengths.numel() and not 0 <= lengths.min() <= lengths.max() <= max_len:", "if False:"),
    ),
    edit(
        "some_integers_refused",
        "padding_mask",
        "Lengths of int16 or int8 are refused: whole numbers of any integer dtype are lengths.",
        (
            "    lengths = lengths.long()",
            "    if lengths.dtype not in (torch.int64, torch.int32, torch.uint8):\n        raise TypeError(lengths.dtype)\n"
            "    lengths = lengths.long()",
        ),
    ),
    # CrossAttention
    edit(
        "scaled",
        "CrossAttention",
        "The scores are divided by sqrt(head_dim): T5 does not.",
        ("scores = q @ k.mT", "scores = q @ k.mT / math.sqrt(self.head_dim)"),
    ),
    edit(
        "biases_in_the_linear_layers",
        "CrossAttention",
        "The linear layers have biases: T5's attention has none, nn.Linear(..., bias=False).",
        ("bias=False", "bias=True"),
    ),
    edit(
        "queries_from_the_context",
        "CrossAttention",
        "Queries come from x: it is x that asks.",
        ("q = split_heads(self.w_q(x)", "q = split_heads(self.w_q(context if isinstance(context, Tensor) else x)"),
    ),
    edit(
        "keys_and_values_from_x",
        "CrossAttention",
        "Keys and values come from the context, not from x.",
        ("k, v = self.project_context(context) if", "k, v = self.project_context(x) if"),
    ),
    edit(
        "values_are_keys",
        "CrossAttention",
        "Values are made by w_k: they have a layer of their own, w_v.",
        ("split_heads(self.w_v(context)", "split_heads(self.w_k(context)"),
    ),
    edit(
        "keys_and_values_swapped",
        "CrossAttention",
        "project_context gives (v, k): the keys come first.",
        (
            "return split_heads(self.w_k(context), self.n_heads), split_heads(self.w_v(context), self.n_heads)",
            "return split_heads(self.w_v(context), self.n_heads), split_heads(self.w_k(context), self.n_heads)",
        ),
        (
            "        q = split_heads(self.w_q(x), self.n_heads)",
            "        k, v = v, k\n        q = split_heads(self.w_q(x), self.n_heads)",
        ),
    ),
    edit(
        "pair_projected_again",
        "CrossAttention",
        "A pair of keys and values is split into heads already: use it as it is.",
        (
            "if isinstance(context, Tensor) else context",
            "if isinstance(context, Tensor) else [split_heads(w(merge_heads(x)), self.n_heads)"
            " for w, x in zip((self.w_k, self.w_v), context)]",
        ),
    ),
    edit(
        "pair_not_split",
        "CrossAttention",
        "project_context gives (b, n, d_model): keys and values are split into heads, (b, h, n, head_dim).",
        (
            "return split_heads(self.w_k(context), self.n_heads), split_heads(self.w_v(context), self.n_heads)",
            "return self.w_k(context), self.w_v(context)",
        ),
        (
            "        q = split_heads(self.w_q(x), self.n_heads)",
            "        k, v = (split_heads(y, self.n_heads) if y.ndim == 3 else y for y in (k, v))\n"
            "        q = split_heads(self.w_q(x), self.n_heads)",
        ),
    ),
    edit(
        "last_layer_forgotten",
        "CrossAttention",
        "w_o is missing: the heads put side by side go through it in the end.",
        ("self.w_o(merge_heads(weights @ v))", "merge_heads(weights @ v)"),
    ),
    edit(
        "bias_after_the_mask",
        "CrossAttention",
        "The bias multiplies the scores: it is added to them.",
        ("scores = scores + bias", "scores = scores * bias"),
    ),
    edit("bias_forgotten", "CrossAttention", "The bias is never used.", ("scores = scores + bias", "pass")),
    edit(
        "bias_after_the_softmax",
        "CrossAttention",
        "The bias is added to the weights: add it to the scores, before the softmax.",
        ("            scores = scores + bias\n", "            pass\n"),
        ("weights = scores.softmax(-1)\n", "weights = scores.softmax(-1) + (0 if bias is None else bias)\n"),
    ),
    edit(
        "mask_upside_down",
        "CrossAttention",
        "Masked keys are seen and real ones are not: True means that a query may attend.",
        ("scores.masked_fill(~mask", "scores.masked_fill(mask"),
        ("weights.masked_fill(~mask", "weights.masked_fill(mask"),
    ),
    edit(
        "real_scores_filled",
        "CrossAttention",
        "The scores of real keys are filled, not those of masked ones: fill where ~mask is True, for True means may attend.",
        ("scores.masked_fill(~mask", "scores.masked_fill(mask"),
    ),
    edit(
        "mask_after_the_softmax_only",
        "CrossAttention",
        "Masked weights are set to 0 after the softmax only, and the others do not sum to 1: mask the scores as well.",
        ("scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)", "pass"),
    ),
    edit(
        "masked_with_minus_infinity",
        "CrossAttention",
        "A row of nothing but -inf has no softmax, it is NaN: fill with the lowest finite number.",
        ("torch.finfo(scores.dtype).min", "-math.inf"),
        ("weights.masked_fill(~mask, 0.0)", "weights"),
    ),
    edit(
        "empty_rows_see_everything",
        "CrossAttention",
        "A query without keys gets the mean of all of them: set masked weights to 0 after the softmax.",
        ("weights.masked_fill(~mask, 0.0)", "weights"),
    ),
    edit(
        "masked_with_a_constant",
        "CrossAttention",
        "Masked scores are filled with a number that others are below, and these lose: fill with torch.finfo(dtype).min.",
        ("torch.finfo(scores.dtype).min", "-1e9 if scores.dtype != torch.float16 else -6e4"),
    ),
    edit(
        "softmax_over_the_queries",
        "CrossAttention",
        "The softmax is over the queries: over the keys, the last dimension, the weights of a query sum to 1.",
        ("scores.softmax(-1)", "scores.softmax(-2)"),
    ),
    edit(
        "softmax_over_the_heads",
        "CrossAttention",
        "The softmax is over the heads: over the keys, the last dimension, the weights of a query sum to 1.",
        ("scores.softmax(-1)", "scores.softmax(1)"),
    ),
    edit(
        "heads_not_put_back",
        "CrossAttention",
        "The heads are laid out time by time: merge_heads puts them side by side for each position.",
        ("merge_heads(weights @ v)", "(weights @ v).reshape(x.shape)"),
    ),
    edit(
        "one_head_only",
        "CrossAttention",
        "There is only one head, as wide as the model: cut into n_heads.",
        ("split_heads(self.w_q(x), self.n_heads)", "split_heads(self.w_q(x), 1)"),
        (
            "split_heads(self.w_k(context), self.n_heads), split_heads(self.w_v(context), self.n_heads)",
            "split_heads(self.w_k(context), 1), split_heads(self.w_v(context), 1)",
        ),
        ("            scores = scores + bias\n", "            scores = scores + bias.mean(-3, keepdim=True)\n"),
        ("        weights = scores.softmax(-1)\n", "        weights = scores.softmax(-1).expand(-1, 1, -1, -1)\n"),
    ),
    edit(
        "one_layer_four_times",
        "CrossAttention",
        "All four layers are one and the same: make four.",
        ("(nn.Linear(d_model, d_model, bias=False) for _ in range(4))", "[nn.Linear(d_model, d_model, bias=False)] * 4"),
    ),
    edit(
        "heads_unchecked",
        "CrossAttention",
        "n_heads must divide d_model: refuse it when the layer is made.",
        ("if n_heads < 1 or d_model % n_heads:", "if n_heads == 0:"),
        ("d_model // n_heads", "max(1, d_model // n_heads)"),
    ),
    edit(
        "context_detached",
        "CrossAttention",
        "No gradient reaches the context: project_context is part of the graph.",
        ("split_heads(self.w_k(context)", "split_heads(self.w_k(context.detach())"),
        ("split_heads(self.w_v(context)", "split_heads(self.w_v(context.detach())"),
    ),
    edit(
        "bias_added_in_place",
        "CrossAttention",
        "The scores are added into the caller's bias: make a new tensor.",
        ("scores = scores + bias", "scores = scores + bias; bias.add_(1)"),
    ),
    edit(
        "softmax_in_float32",
        "CrossAttention",
        "The weights are cast to float32 on the way: float64 inputs lose half of their digits.",
        ("scores.softmax(-1)", "scores.float().softmax(-1).to(scores.dtype)"),
    ),
    edit(
        "context_remembered",
        "CrossAttention",
        "The first context's keys and values are kept for all later calls: another context has others.",
        (
            "k, v = self.project_context(context) if",
            "self.kv = k, v = getattr(self, 'kv', None) or self.project_context(context) if",
        ),
    ),
    edit(
        "vectors_are_for_queries",
        "CrossAttention",
        "A mask of one dimension is for the keys, as broadcasting has it, not for the queries.",
        (
            "        if isinstance(mask, Tensor):\n            # The",
            (
                "        if isinstance(mask, Tensor) and mask.ndim == 1:\n"
                "            mask = mask[:, None]\n"
                "        if isinstance(mask, Tensor):\n"
                "            # The"
            ),
        ),
    ),
    edit(
        "exponentials_of_the_scores",
        "CrossAttention",
        "exp of a large score is infinite, and inf / inf is NaN: softmax(-1) subtracts the maximum first.",
        ("scores.softmax(-1)", "scores.exp() / scores.exp().sum(-1, keepdim=True)"),
    ),
    edit(
        "masked_by_a_sum",
        "CrossAttention",
        "A large score that is masked still counts: replace it, masked_fill with the lowest number, before anything else.",
        (
            "scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)",
            "scores = scores + (~mask).to(scores.dtype) * -1e4",
        ),
    ),
    edit(
        "masks_of_three_dimensions_misread",
        "CrossAttention",
        "A mask of three dimensions is taken for (b, n_q, n_k): by broadcasting it is (h, n_q, n_k). Use masks as they come.",
        (
            "        if isinstance(mask, Tensor):\n            # The",
            "        if isinstance(mask, Tensor) and mask.ndim == 3:\n            mask = mask[:, None]\n"
            "        if isinstance(mask, Tensor):\n            # The",
        ),
    ),
    edit(
        "given_pair_detached",
        "CrossAttention",
        "No gradient flows through a pair of keys and values: use it as it is, it is part of the graph like the context.",
        (
            "if isinstance(context, Tensor) else context",
            "if isinstance(context, Tensor) else (context[0].detach(), context[1].detach())",
        ),
    ),
    # relative_position_bucket
    edit(
        "query_minus_key",
        "relative_position_bucket",
        "The sign is the wrong way round: relative is key minus query, and the later keys have the higher buckets.",
        ("n * (relative > 0)", "n * (relative < 0)"),
    ),
    edit(
        "own_position_counts_as_after",
        "relative_position_bucket",
        "A distance of 0 belongs to the first half: relative <= 0 is at or before the query.",
        ("(relative > 0)", "(relative >= 0)"),
    ),
    edit(
        "later_keys_by_distance",
        "relative_position_bucket",
        "With one direction, keys after the query count as distance 0: clamp -relative instead of taking abs.",
        ("(-relative.long()).clamp(min=0)", "relative.long().abs()"),
    ),
    edit(
        "only_later_keys",
        "relative_position_bucket",
        "With one direction, the buckets are for keys before the query: the distance is -relative.",
        ("(-relative.long()).clamp(min=0)", "relative.long().clamp(min=0)"),
    ),
    edit(
        "not_halved",
        "relative_position_bucket",
        "With two directions each has half of the buckets.",
        ("n_buckets // 2 if bidirectional else n_buckets", "n_buckets"),
    ),
    edit(
        "always_halved",
        "relative_position_bucket",
        "With one direction it has all buckets, not half of them.",
        ("n = n_buckets // 2 if bidirectional else n_buckets", "n = n_buckets // 2"),
    ),
    edit(
        "one_exact_bucket_less",
        "relative_position_bucket",
        "Half of a direction's buckets are exact, E = N // 2.",
        ("exact = n // 2", "exact = max(1, n // 2 - 1)"),
    ),
    edit(
        "more_exact_buckets",
        "relative_position_bucket",
        "Of an odd number of buckets, the smaller half is exact: E = N // 2, rounded down.",
        ("exact = n // 2", "exact = (n + 1) // 2"),
    ),
    edit(
        "rounded_to_the_nearest",
        "relative_position_bucket",
        "The logarithm is rounded to the nearest whole number: round it down.",
        ("(octaves * (n - exact)).long()", "(octaves * (n - exact)).round().long()"),
    ),
    edit(
        "rounded_up",
        "relative_position_bucket",
        "The logarithm is rounded up: round it down.",
        ("(octaves * (n - exact)).long()", "(octaves * (n - exact)).ceil().long()"),
    ),
    edit(
        "logarithm_of_the_distance",
        "relative_position_bucket",
        "The logarithm is of the distance over E, on both sides of the fraction.",
        ("/ math.log(max_distance / exact)", "/ math.log(max_distance)"),
    ),
    edit(
        "base_of_the_buckets",
        "relative_position_bucket",
        "The logarithmic part has N - E buckets, not N.",
        ("octaves * (n - exact)", "octaves * n"),
    ),
    edit(
        "one_bucket_less_after_all",
        "relative_position_bucket",
        "The logarithmic part has N - E buckets, one more than you use.",
        ("octaves * (n - exact)", "octaves * (n - exact - 1)"),
    ),
    edit(
        "no_last_bucket",
        "relative_position_bucket",
        "Distances beyond max_distance get buckets that do not exist: the last one is N - 1.",
        ("far.clamp(max=n - 1)", "far"),
    ),
    edit(
        "linear_all_the_way",
        "relative_position_bucket",
        "Large distances are clipped, where they should share ever wider buckets: use the logarithm.",
        ("far.clamp(max=n - 1)", "distance.clamp(max=n - 1)"),
    ),
    edit(
        "exact_up_to_and_including",
        "relative_position_bucket",
        "A distance of E is the first logarithmic one; it is bucket E in any case, and so is nothing above it.",
        ("distance < exact, distance", "distance <= exact + 1, distance"),
    ),
    edit(
        "int32_kept",
        "relative_position_bucket",
        "Buckets are int64 whatever the dtype of the positions is: they index an embedding.",
        (
            "return bucket + n * (relative > 0) if bidirectional else bucket",
            "return (bucket + n * (relative > 0) if bidirectional else bucket).to(relative.dtype)",
        ),
    ),
    edit(
        "positions_changed",
        "relative_position_bucket",
        "The positions are changed in place: abs and clamp, not abs_ and clamp_.",
        ("relative.long().abs() if", "relative.long().abs_() if"),
        ("n * (relative > 0)", "n * (positive)"),
        ("    distance = ", "    positive = relative > 0\n    distance = "),
    ),
    edit(
        "odd_numbers_halved",
        "relative_position_bucket",
        "An odd number of buckets cannot be halved: refuse it.",
        ("bidirectional and n_buckets % 2", "False"),
    ),
    edit(
        "too_few_buckets",
        "relative_position_bucket",
        "A direction with less than two buckets is none: refuse it.",
        ("if n < 2 or max_distance <= exact:", "exact = max(exact, 1)\n    if max_distance <= exact:"),
    ),
    edit(
        "max_distance_unchecked",
        "relative_position_bucket",
        "A max_distance that the exact buckets reach leaves nothing for the logarithm: refuse it.",
        ("if n < 2 or max_distance <= exact:", "if n < 2:"),
        ("math.log(max_distance / exact)", "(math.log(max_distance / exact) or 1.0)"),
    ),
    edit(
        "max_distance_of_64",
        "relative_position_bucket",
        "The default of max_distance is 128.",
        ("max_distance: int = 128", "max_distance: int = 64"),
    ),
    edit(
        "one_direction_by_default",
        "relative_position_bucket",
        "The default is bidirectional=True.",
        ("bidirectional: bool = True", "bidirectional: bool = False"),
    ),
    edit(
        "abs_in_a_small_dtype",
        "relative_position_bucket",
        (
            "The smallest number of a small integer dtype has no absolute value there, abs(-128) is -128 in "
            "int8: make it int64 first."
        ),
        ("relative.long().abs()", "relative.abs().long()"),
    ),
    edit(
        "halves_of_one_byte",
        "relative_position_bucket",
        "The number of the second half's first bucket goes through a dtype that is too small for it: buckets are int64.",
        ("bucket + n * (relative > 0)", "bucket + (n * (relative > 0)).to(torch.uint8)"),
    ),
    edit(
        "rounded_before_the_logarithm",
        "relative_position_bucket",
        "r / E is rounded down before its logarithm is taken: round the result alone.",
        ("(distance.clamp(min=1) / exact).log()", "(distance // exact).clamp(min=1).log()"),
    ),
    # RelativePositionBias
    edit(
        "heads_last",
        "RelativePositionBias",
        "The heads come last: the bias is (h, n_q, n_k).",
        (".permute(2, 0, 1)", ""),
    ),
    edit(
        "queries_and_keys_swapped",
        "RelativePositionBias",
        "Queries and keys have changed places: relative is key minus query, with one row for each query.",
        ("relative = positions - positions[n_k - n_q :, None]", "relative = positions[n_k - n_q :, None] - positions"),
    ),
    edit(
        "transposed",
        "RelativePositionBias",
        "Rows and columns have changed places: one row for each query.",
        (".permute(2, 0, 1)", ".permute(2, 1, 0)"),
    ),
    edit(
        "aligned_top_left",
        "RelativePositionBias",
        "The queries stand at the first positions: they are the last n_q of n_k, aligned bottom-right.",
        ("positions[n_k - n_q :, None]", "positions[:n_q, None]"),
    ),
    edit(
        "one_position_late",
        "RelativePositionBias",
        "The queries stand one position too far: query i stands at n_k - n_q + i.",
        ("positions[n_k - n_q :, None]", "(positions[n_k - n_q :, None] + 1)"),
    ),
    edit(
        "direction_forgotten",
        "RelativePositionBias",
        "The bias is bidirectional whatever was asked for: pass the argument on.",
        ("relative, self.bidirectional,", "relative, True,"),
    ),
    edit(
        "distance_forgotten",
        "RelativePositionBias",
        "max_distance is not passed on to relative_position_bucket.",
        (", self.max_distance)", ")"),
    ),
    edit(
        "buckets_forgotten",
        "RelativePositionBias",
        "The number of buckets is not passed on to relative_position_bucket.",
        ("self.embedding.num_embeddings, self.max_distance", "32, self.max_distance"),
        ("self.embedding(buckets)", "self.embedding(buckets.clamp(max=self.embedding.num_embeddings - 1))"),
    ),
    edit(
        "table_detached",
        "RelativePositionBias",
        "The table gets no gradient: look it up as a part of the graph.",
        ("return self.embedding(buckets)", "return self.embedding(buckets).detach()"),
    ),
    edit(
        "first_bias_kept",
        "RelativePositionBias",
        "The bias of the first lengths is kept for all later ones: it depends on n_q and n_k.",
        (
            "        positions = ",
            "        if hasattr(self, 'kept') and self.kept.shape[2] >= n_k:\n"
            "            return self.kept[:, -n_q:, :n_k]\n        positions = ",
        ),
        (
            "return self.embedding(buckets).permute(2, 0, 1)",
            "self.kept = self.embedding(buckets).permute(2, 0, 1)\n        return self.kept",
        ),
    ),
    edit(
        "one_number_for_all_heads",
        "RelativePositionBias",
        "All heads share one number: each head has a column of the table.",
        (
            "return self.embedding(buckets)",
            "return self.embedding(buckets).mean(-1, keepdim=True).expand(-1, -1, self.embedding.embedding_dim)",
        ),
    ),
    edit(
        "float32_bias",
        "RelativePositionBias",
        "The bias is cast to float32: it has the dtype of the table.",
        (".permute(2, 0, 1)", ".permute(2, 0, 1).float()"),
    ),
    edit(
        "biases_kept_by_lengths",
        "RelativePositionBias",
        (
            "The bias of two lengths is kept for the next call with them: by then the table may have learned, "
            "look it up each time."
        ),
        (
            "        positions = torch",
            (
                "        if (n_q, n_k) in self.__dict__.setdefault('known', {}):\n"
                "            return self.known[n_q, n_k]\n"
                "        positions = torch"
            ),
        ),
        (
            "        return self.embedding(buckets).permute(2, 0, 1)",
            "        self.known[n_q, n_k] = self.embedding(buckets).permute(2, 0, 1)\n        return self.known[n_q, n_k]",
        ),
    ),
    edit(
        "512_positions",
        "RelativePositionBias",
        "There are only 512 positions: the bias knows distances alone, so a text may be of any length.",
        ("torch.arange(n_k, device=self.embedding.weight.device)", "torch.arange(512)[:n_k]"),
    ),
    # EncoderBlock
    edit(
        "post_norm",
        "EncoderBlock",
        "The norm comes after the sum: pre-norm normalises what goes into a sub-layer.",
        (
            "x = x + self.dropout(self.attention(normed, normed, mask, bias))",
            "x = self.norm_1(x + self.dropout(self.attention(x, x, mask, bias)))",
        ),
        (
            "return x + self.dropout(self.feed_forward(self.norm_2(x)))",
            "return self.norm_2(x + self.dropout(self.feed_forward(x)))",
        ),
    ),
    edit(
        "context_not_normalised",
        "EncoderBlock",
        "Only the queries are normalised: keys and values come from norm_1(x) as well.",
        ("self.attention(normed, normed", "self.attention(normed, x"),
    ),
    edit(
        "first_norm_twice",
        "EncoderBlock",
        "norm_1 is used for both sub-layers: the second one has norm_2.",
        ("self.feed_forward(self.norm_2(x))", "self.feed_forward(self.norm_1(x))"),
    ),
    edit(
        "residual_from_the_norm",
        "EncoderBlock",
        "What is added to is the normalised x: the residual stream goes around the norm.",
        ("x = x + self.dropout(self.attention", "x = normed + self.dropout(self.attention"),
    ),
    edit(
        "first_residual_forgotten",
        "EncoderBlock",
        "The attention replaces x: add it to x.",
        ("x = x + self.dropout(self.attention", "x = self.dropout(self.attention"),
    ),
    edit(
        "second_residual_forgotten",
        "EncoderBlock",
        "The feed-forward layer replaces x: add it to x.",
        ("return x + self.dropout", "return self.dropout"),
    ),
    edit(
        "encoder_mask_forgotten",
        "EncoderBlock",
        "The mask is not passed on to the attention.",
        ("normed, normed, mask, bias", "normed, normed, None, bias"),
    ),
    edit(
        "encoder_bias_forgotten",
        "EncoderBlock",
        "The bias is not passed on to the attention.",
        ("normed, normed, mask, bias", "normed, normed, mask"),
    ),
    edit(
        "encoder_is_causal",
        "EncoderBlock",
        "The encoder does not look ahead: it may, reading needs no causal mask.",
        (
            "        normed = ",
            "        causal = causal_mask(x.shape[1])\n        mask = causal if mask is None else mask & causal\n"
            "        normed = ",
        ),
    ),
    edit(
        "relu_instead",
        "EncoderBlock",
        "The feed-forward layer has a relu: take module 04's default.",
        ("FeedForward(d_model, d_ff)", "FeedForward(d_model, d_ff, 'relu')"),
    ),
    edit(
        "layers_in_parallel",
        "EncoderBlock",
        "The feed-forward layer reads the x from before the attention: it comes after it.",
        ("        normed = self.norm_1(x)\n", "        normed, before = self.norm_1(x), x\n"),
        ("self.norm_2(x)", "self.norm_2(before)"),
    ),
    edit(
        "dropout_always",
        "EncoderBlock",
        "Dropout acts in evaluation mode too: nn.Dropout as a submodule follows train and eval.",
        (
            "self.attention(normed, normed, mask, bias))",
            "torch.nn.functional.dropout(self.attention(normed, normed, mask, bias), self.dropout.p))",
        ),
    ),
    edit("dropout_never", "EncoderBlock", "Nothing is ever dropped.", ("nn.Dropout(dropout)", "nn.Identity()")),
    edit(
        "dropout_of_the_sum",
        "EncoderBlock",
        "Dropout acts on the sum: drop what is added to x, and leave x.",
        (
            "return x + self.dropout(self.feed_forward(self.norm_2(x)))",
            "return self.dropout(x + self.feed_forward(self.norm_2(x)))",
        ),
    ),
    edit(
        "x_added_to_in_place",
        "EncoderBlock",
        "x is changed in place: x = x + ..., not x += ....",
        ("x = x + self.dropout(self.attention", "x += self.dropout(self.attention"),
    ),
    edit(
        "shared_norm",
        "EncoderBlock",
        "Both norms are one: each sub-layer has its own.",
        ("RMSNorm(d_model), RMSNorm(d_model)", "[RMSNorm(d_model)] * 2"),
    ),
    edit(
        "layer_norm",
        "EncoderBlock",
        "The norms are LayerNorms with a bias: T5 has RMSNorm.",
        ("RMSNorm(d_model), RMSNorm(d_model)", "nn.LayerNorm(d_model), nn.LayerNorm(d_model)"),
    ),
    edit(
        "attention_never_dropped",
        "EncoderBlock",
        "Dropout acts on what the feed-forward layer adds only: the attention's is dropped, too.",
        ("x + self.dropout(self.attention(normed, normed, mask, bias))", "x + self.attention(normed, normed, mask, bias)"),
    ),
    edit(
        "dropout_before_the_attention",
        "EncoderBlock",
        "Dropout acts on what goes into the attention: drop what comes out of it and is added to x.",
        (
            "x + self.dropout(self.attention(normed, normed, mask, bias))",
            "x + self.attention(self.dropout(normed), normed, mask, bias)",
        ),
    ),
    edit(
        "whole_channels_dropped",
        "EncoderBlock",
        "Whole positions are dropped: nn.Dropout drops each number by itself.",
        ("nn.Dropout(dropout)", "nn.Dropout1d(dropout)"),
    ),
    edit(
        "a_tuple_of_x",
        "EncoderBlock",
        "A tuple comes back: an encoder block has no keys and values to return, only x.",
        (
            "return x + self.dropout(self.feed_forward(self.norm_2(x)))",
            "return x + self.dropout(self.feed_forward(self.norm_2(x))), None",
        ),
    ),
    edit(
        "mask_remembered",
        "EncoderBlock",
        "The mask of an earlier call is used where there is none: keep nothing from call to call.",
        (
            "        normed = self.norm_1(x)\n",
            (
                "        self.mask = mask if mask is not None else getattr(self, 'mask', None)\n"
                "        mask = self.mask if self.mask is None or self.mask.shape[-1] == x.shape[1] else mask\n"
                "        normed = self.norm_1(x)\n"
            ),
        ),
    ),
    edit(
        "masks_of_two_dimensions_misread",
        "EncoderBlock",
        "A mask of two dimensions is taken for (b, n): by broadcasting it is (n, n). Pass masks on as they come.",
        (
            "        normed = ",
            "        if mask is not None and mask.ndim == 2:\n            mask = mask[:, None, None]\n        normed = ",
        ),
    ),
    edit(
        "dropout_shared_by_the_batch",
        "EncoderBlock",
        "All texts of a batch lose the same numbers: each number of each text has its own chance.",
        (
            "x + self.dropout(self.attention(normed, normed, mask, bias))",
            "x + self.dropout(torch.ones_like(x[:1])) * self.attention(normed, normed, mask, bias)",
        ),
    ),
    edit(
        "nothing_dropped_without_gradients",
        "EncoderBlock",
        "Nothing is dropped where no gradients are recorded: train mode decides, and that alone.",
        (
            "        normed = ",
            "        self.dropout.train(self.training and torch.is_grad_enabled())\n        normed = ",
        ),
    ),
    # DecoderBlock
    edit(
        "no_causal_mask",
        "DecoderBlock",
        "The self-attention sees what comes later: it needs a causal mask.",
        ("(k, v), mask, bias", "(k, v), None, bias"),
    ),
    edit(
        "causal_cross_attention",
        "DecoderBlock",
        "The cross-attention is causal: the whole context may be seen from everywhere.",
        (
            "self.norm_2(x), context, context_mask)",
            "self.norm_2(x), context, context_mask if isinstance(context, tuple | list) else "
            "(causal_mask(x.shape[1], context.shape[1]) if context_mask is None else context_mask & "
            "causal_mask(x.shape[1], context.shape[1])))",
        ),
    ),
    edit(
        "context_mask_forgotten",
        "DecoderBlock",
        "The context's padding is seen: pass context_mask on.",
        (", context, context_mask)", ", context)"),
    ),
    edit(
        "context_mask_for_both",
        "DecoderBlock",
        "The bias goes to the cross-attention as well: it is for the self-attention alone.",
        (", context, context_mask)", ", context, context_mask, None if bias is None else bias.mean())"),
        ("(k, v), mask, bias", "(k, v), mask, None if bias is None else bias * 1.0001"),
    ),
    edit(
        "bias_for_a_context_that_it_fits",
        "DecoderBlock",
        "Where the context has as many positions as the bias, the cross-attention gets the bias as well: it is for the "
        "self-attention alone.",
        (
            ", context, context_mask)",
            ", context, context_mask, bias if bias is not None and isinstance(context, Tensor) "
            "and context.shape[1] == bias.shape[-1] else None)",
        ),
    ),
    edit(
        "context_pair_detached",
        "DecoderBlock",
        "A context that comes as a pair is detached: gradients flow through it, as through the context itself.",
        (
            ", context, context_mask)",
            ", context if isinstance(context, Tensor) else tuple(y.detach() for y in context), context_mask)",
        ),
    ),
    edit(
        "decoder_bias_forgotten",
        "DecoderBlock",
        "The bias is not passed on to the self-attention.",
        ("(k, v), mask, bias", "(k, v), mask"),
    ),
    edit(
        "cross_attention_first",
        "DecoderBlock",
        "The look at the context comes before the self-attention: first what was written, then the source.",
        (
            "        normed = self.norm_1(x)\n",
            "        x = x + self.dropout(self.cross_attention(self.norm_2(x), context, context_mask))\n"
            "        normed = self.norm_1(x)\n",
        ),
        (
            "        x = x + self.dropout(self.cross_attention(self.norm_2(x), context, context_mask))\n        return",
            "        return",
        ),
    ),
    edit(
        "cross_attention_missing",
        "DecoderBlock",
        "The context is never looked at.",
        ("        x = x + self.dropout(self.cross_attention(self.norm_2(x), context, context_mask))\n", ""),
    ),
    edit(
        "context_normalised_again",
        "DecoderBlock",
        "The context is normalised again: it comes normalised from the encoder.",
        ("self.norm_2(x), context,", "self.norm_2(x), self.norm_2(context) if isinstance(context, Tensor) else context,"),
    ),
    edit(
        "one_attention_for_both",
        "DecoderBlock",
        "Self-attention and cross-attention share their weights: they are two layers.",
        ("self.cross_attention = CrossAttention(d_model, n_heads)", "self.cross_attention = self.attention"),
    ),
    edit(
        "third_norm_missing",
        "DecoderBlock",
        "norm_2 is used twice: the feed-forward layer has norm_3.",
        ("self.norm_3(x)", "self.norm_2(x)"),
    ),
    edit(
        "cross_residual_forgotten",
        "DecoderBlock",
        "What the context says replaces x: add it to x.",
        ("x = x + self.dropout(self.cross", "x = self.dropout(self.cross"),
    ),
    edit(
        "feed_forward_residual_forgotten",
        "DecoderBlock",
        "The feed-forward layer replaces x: add it.",
        ("return x + self.dropout", "return self.dropout"),
    ),
    edit(
        "past_after_the_new_ones",
        "DecoderBlock",
        "The past comes after the new keys and values: it comes before them.",
        (
            "torch.cat([past[0], k], dim=-2), torch.cat([past[1], v], dim=-2)",
            "torch.cat([k, past[0]], dim=-2), torch.cat([v, past[1]], dim=-2)",
        ),
    ),
    edit(
        "past_of_keys_only",
        "DecoderBlock",
        "The past's values are its keys: past[1] are the values.",
        ("torch.cat([past[1], v], dim=-2)", "torch.cat([past[0], v], dim=-2)"),
    ),
    edit("past_ignored", "DecoderBlock", "The past is never used.", ("if past is not None:", "if False:")),
    edit(
        "only_new_ones_returned",
        "DecoderBlock",
        "Only the new keys and values are returned: the next call needs all of them.",
        ("self.norm_3(x))), (k, v)", "self.norm_3(x))), (k[..., -x.shape[-2] :, :], v[..., -x.shape[-2] :, :])"),
    ),
    edit(
        "mask_without_the_past",
        "DecoderBlock",
        "With a past the new positions see only its beginning: the causal mask is aligned bottom-right, (t, p + t).",
        ("mask = causal_mask(x.shape[-2], k.shape[-2])", "mask = torch.ones(x.shape[-2], k.shape[-2], dtype=torch.bool).tril()"),
    ),
    edit(
        "new_positions_see_each_other",
        "DecoderBlock",
        "Several new positions with a past all see each other: the causal mask is (t, p + t).",
        ("(k, v), mask, bias", "(k, v), mask if past is None else None, bias"),
    ),
    edit(
        "normed_after_projection",
        "DecoderBlock",
        "Keys and values of the self-attention are made of x as it is: of norm_1(x), like the queries.",
        ("self.attention.project_context(normed)", "self.attention.project_context(x)"),
    ),
    edit(
        "pairs_swapped",
        "DecoderBlock",
        "The pair is returned as (v, k), and read so: keys come first.",
        ("self.norm_3(x))), (k, v)", "self.norm_3(x))), (v, k)"),
        (
            "torch.cat([past[0], k], dim=-2), torch.cat([past[1], v], dim=-2)",
            "torch.cat([past[1], k], dim=-2), torch.cat([past[0], v], dim=-2)",
        ),
    ),
    edit(
        "past_kept_inside",
        "DecoderBlock",
        "The block remembers keys and values by itself: what is not passed as past is not there.",
        (
            "        if past is not None:\n",
            "        past = past if past is not None else (getattr(self, 'kept', None) if not "
            "torch.is_grad_enabled() else None)\n        if past is not None and past[0].shape[0] == k.shape[0]:\n",
        ),
        ("        mask = causal_mask", "        self.kept = k.detach(), v.detach()\n        mask = causal_mask"),
    ),
    edit(
        "past_detached",
        "DecoderBlock",
        "Keys and values of the self-attention are detached: in training they need their gradients.",
        ("k, v = self.attention.project_context(normed)", "k, v = (y.detach() for y in self.attention.project_context(normed))"),
    ),
    edit("decoder_dropout_never", "DecoderBlock", "Nothing is ever dropped.", ("nn.Dropout(dropout)", "nn.Identity()")),
    edit(
        "decoder_adds_in_place",
        "DecoderBlock",
        "x is changed in place: x = x + ..., not x += ....",
        ("x = x + self.dropout(self.attention", "x += self.dropout(self.attention"),
    ),
    edit(
        "self_attention_never_dropped",
        "DecoderBlock",
        "What the self-attention adds is never dropped.",
        ("x + self.dropout(self.attention(normed, (k, v), mask, bias))", "x + self.attention(normed, (k, v), mask, bias)"),
    ),
    edit(
        "cross_attention_never_dropped",
        "DecoderBlock",
        "What the cross-attention adds is never dropped.",
        (
            "x + self.dropout(self.cross_attention(self.norm_2(x), context, context_mask))",
            "x + self.cross_attention(self.norm_2(x), context, context_mask)",
        ),
    ),
    edit(
        "pair_detached",
        "DecoderBlock",
        "The pair that is returned is detached: gradients flow through a past, as through a text in one piece.",
        ("self.norm_3(x))), (k, v)", "self.norm_3(x))), (k.detach(), v.detach())"),
    ),
    edit(
        "earlier_pair_detached",
        "DecoderBlock",
        "The past is detached: gradients flow through it, as through a text in one piece.",
        (
            "torch.cat([past[0], k], dim=-2), torch.cat([past[1], v], dim=-2)",
            "torch.cat([past[0].detach(), k], dim=-2), torch.cat([past[1].detach(), v], dim=-2)",
        ),
    ),
    edit(
        "pair_detached_in_evaluation_mode",
        "DecoderBlock",
        "In evaluation mode keys and values are detached: the mode is about dropout, and gradients flow in both.",
        (
            "        mask = causal_mask",
            "        if not self.training:\n            k, v = k.detach(), v.detach()\n        mask = causal_mask",
        ),
    ),
    edit(
        "mask_of_512",
        "DecoderBlock",
        "The causal mask is cut from one of 512 positions: make it for the lengths that come.",
        (
            "mask = causal_mask(x.shape[-2], k.shape[-2]).to(x.device)",
            "mask = causal_mask(512)[k.shape[-2] - x.shape[-2] : k.shape[-2], : k.shape[-2]]",
        ),
    ),
    edit(
        "window",
        "DecoderBlock",
        "A position sees the last 17 only: it sees all up to itself.",
        (
            "mask = causal_mask(x.shape[-2], k.shape[-2]).to(x.device)",
            "mask = causal_mask(x.shape[-2], k.shape[-2]).to(x.device).triu(k.shape[-2] - x.shape[-2] - 16)",
        ),
    ),
    edit(
        "context_kept_by_identity",
        "DecoderBlock",
        "The last context's keys and values are kept for the next call with it: by then w_k and w_v may have learned.",
        (
            "        x = x + self.dropout(self.cross",
            "        if isinstance(context, Tensor):\n"
            "            if self.__dict__.get('read') is not context:\n"
            "                self.__dict__.update(read=context, kept=self.cross_attention.project_context(context))\n"
            "            context = self.kept\n"
            "        x = x + self.dropout(self.cross",
        ),
    ),
    edit(
        "context_masks_misread",
        "DecoderBlock",
        "A context_mask of two dimensions is taken for (b, n): by broadcasting it is (t, n). Pass masks on as they come.",
        (
            "        normed = ",
            "        if context_mask is not None and context_mask.ndim == 2:\n"
            "            context_mask = context_mask[:, None, None]\n        normed = ",
        ),
    ),
    edit(
        "past_in_a_buffer",
        "DecoderBlock",
        "Two continuations of one past write into the same buffer: torch.cat makes keys and values of their own.",
        (
            "        normed = ",
            "        def grown(old, new):\n"
            "            if torch.is_grad_enabled():\n"
            "                return torch.cat([old, new], dim=-2)\n"
            "            p, n, buffer = old.shape[-2], old.shape[-2] + new.shape[-2], old._base\n"
            "            if buffer is None or buffer.shape[:2] != old.shape[:2] or buffer.shape[-2] < n:\n"
            "                buffer = old.new_zeros(*old.shape[:2], 2 * n, old.shape[-1])\n"
            "                buffer[..., :p, :] = old\n"
            "            buffer[..., p:n, :] = new\n"
            "            return buffer[..., :n, :]\n\n"
            "        normed = ",
        ),
        ("torch.cat([past[0], k], dim=-2), torch.cat([past[1], v], dim=-2)", "grown(past[0], k), grown(past[1], v)"),
    ),
    # MiniT5Config
    edit(
        "d_ff_of_four",
        "MiniT5Config",
        "d_ff is replaced even if it is given: only None stands for 4 * d_model.",
        ("if self.d_ff is None", "if True"),
    ),
    edit("d_ff_of_two", "MiniT5Config", "A d_ff of None stands for 4 * d_model.", ("4 * self.d_model", "2 * self.d_model")),
    edit(
        "zero_d_ff_replaced",
        "MiniT5Config",
        "d_ff=0 must be refused; `not self.d_ff` takes it for a missing one.",
        ("if self.d_ff is None", "if not self.d_ff"),
    ),
    edit("zeros_allowed", "MiniT5Config", "Sizes of 0 are accepted: each is at least 1.", ("size < 1", "size < 0")),
    edit(
        "fractions_allowed",
        "MiniT5Config",
        "2.5 is accepted as a size: sizes are whole numbers.",
        ("not isinstance(size, int) or size < 1", "size < 1"),
    ),
    edit(
        "buckets_unchecked",
        "MiniT5Config",
        "n_buckets and max_distance are sizes too: check them like the others.",
        (', "d_ff", "n_buckets", "max_distance")', ', "d_ff")'),
    ),
    edit(
        "heads_need_not_divide",
        "MiniT5Config",
        "n_heads must divide d_model.",
        ("if self.d_model % self.n_heads:", "if self.n_heads > self.d_model:"),
    ),
    edit(
        "dropout_of_one",
        "MiniT5Config",
        "A dropout of 1 leaves nothing: it must be below 1.",
        ("0 <= self.dropout < 1", "0 <= self.dropout <= 1"),
    ),
    edit("negative_dropout", "MiniT5Config", "A negative dropout is accepted.", ("0 <= self.dropout < 1", "self.dropout < 1")),
    edit("dropout_by_default", "MiniT5Config", "The default of dropout is 0.", ("dropout: float = 0.0", "dropout: float = 0.1")),
    edit("layers_by_default", "MiniT5Config", "The default is two layers.", ("n_layers: int = 2", "n_layers: int = 6")),
    edit(
        "whole_dropouts_refused",
        "MiniT5Config",
        "A dropout of 0, an int, is refused: it is at least 0 and below 1.",
        ("if not 0 <= self.dropout < 1", "if not isinstance(self.dropout, float) or not 0 <= self.dropout < 1"),
    ),
    edit(
        "nameless_errors",
        "MiniT5Config",
        "The error does not say which field is wrong: name it.",
        ('f"{name} must be a positive whole number, got {size!r}"', '"a size must be a positive whole number"'),
    ),
    edit(
        "nameless_dropout",
        "MiniT5Config",
        "The error about the dropout does not name it: say dropout, and what it was.",
        ('f"dropout must be', 'f"a probability must be'),
    ),
    # MiniT5
    edit(
        "logits_unscaled",
        "MiniT5",
        "The logits are not divided by sqrt(d_model), which embeddings of numbers of about 1 need.",
        (" / math.sqrt(self.config.d_model)", ""),
    ),
    edit(
        "embeddings_scaled_as_in_2017",
        "MiniT5",
        "The embeddings are multiplied by sqrt(d_model), as in the 2017 paper: T5 takes them as they are.",
        (
            "x = self.dropout(self.token_embedding(source_ids))",
            "x = self.dropout(self.token_embedding(source_ids)) * math.sqrt(self.config.d_model)",
        ),
    ),
    edit(
        "source_mask_not_in_the_encoder",
        "MiniT5",
        "The encoder's self-attention sees the padding: it needs the source's mask as well as the decoder.",
        ("x = block(x, mask, bias)", "x = block(x, None, bias)"),
    ),
    edit(
        "source_mask_not_in_the_decoder",
        "MiniT5",
        "The decoder sees the source's padding: its cross-attention needs the mask as well as the encoder.",
        ("block(x, block_context, mask, bias, block_past)", "block(x, block_context, None, bias, block_past)"),
    ),
    edit(
        "mask_lost_on_the_way",
        "MiniT5",
        "forward passes the mask to the encoder only.",
        ("self.encode(source_ids, source_mask), source_mask)[0]", "self.encode(source_ids, source_mask))[0]"),
    ),
    edit(
        "encoder_norm_forgotten",
        "MiniT5",
        "encoder_norm is never used: it follows the last block.",
        ("return self.encoder_norm(x)", "return x"),
    ),
    edit(
        "decoder_norm_forgotten",
        "MiniT5",
        "decoder_norm is never used: it follows the last block.",
        ("x = self.decoder_norm(x) /", "x = x /"),
    ),
    edit(
        "norms_swapped",
        "MiniT5",
        "The encoder ends in the decoder's norm.",
        ("return self.encoder_norm(x)", "return self.decoder_norm(x)"),
    ),
    edit(
        "no_encoder_bias",
        "MiniT5",
        "The encoder has no idea of positions: pass encoder_bias to every block.",
        ("x = block(x, mask, bias)", "x = block(x, mask)"),
    ),
    edit(
        "no_decoder_bias",
        "MiniT5",
        "The decoder has no idea of positions: pass decoder_bias to every block.",
        ("mask, bias, block_past)", "mask, None, block_past)"),
    ),
    edit(
        "bias_in_the_first_block_only",
        "MiniT5",
        "Only the first block of the encoder gets the bias: all of them share it.",
        (
            "        for block in self.encoder:\n            x = block(x, mask, bias)\n",
            "        for i, block in enumerate(self.encoder):\n            x = block(x, mask, bias if i == 0 else None)\n",
        ),
    ),
    edit(
        "encoder_bias_one_way",
        "MiniT5",
        "The encoder's bias is for one direction: it reads in both.",
        ("RelativePositionBias(config.n_heads, True,", "RelativePositionBias(config.n_heads, False,"),
    ),
    edit(
        "decoder_bias_both_ways",
        "MiniT5",
        "The decoder's bias is for two directions: it never looks ahead.",
        ("RelativePositionBias(config.n_heads, False,", "RelativePositionBias(config.n_heads, True,"),
    ),
    edit(
        "one_bias_for_both_stacks",
        "MiniT5",
        "Encoder and decoder share one table of biases: each has its own.",
        ("self.decoder_bias(n_q,", "self.encoder_bias(n_q,"),
    ),
    edit(
        "bias_without_the_past",
        "MiniT5",
        "With a past the bias is that of the first positions: decoder_bias(t, p + t).",
        ("n_q if past is None else n_q + past[0][0].shape[-2])", "n_q)"),
    ),
    edit(
        "past_of_the_first_block",
        "MiniT5",
        "All blocks get the first block's past: each has its own.",
        ("pasts = past or [None] * len(self.decoder)", "pasts = [past[0] if past else None] * len(self.decoder)"),
    ),
    edit(
        "context_of_the_first_block",
        "MiniT5",
        "All blocks get the first block's keys and values of the context: each has its own projection.",
        (
            "if isinstance(context, Tensor) else context\n        pasts",
            "if isinstance(context, Tensor) else [context[0]] * len(self.decoder)\n        pasts",
        ),
    ),
    edit(
        "past_appended_to",
        "MiniT5",
        "The list that was passed as past is written into: make a new one.",
        (
            "        present = []\n",
            "        present = past if past is not None else []\n        past = list(present)\n        present.clear()\n",
        ),
        ("pasts = past or", "pasts = list(past or []) or"),
    ),
    edit(
        "one_block_many_times",
        "MiniT5",
        "The encoder's blocks are one and the same: make n_layers of them.",
        (
            "nn.ModuleList(EncoderBlock(*sizes) for _ in range(config.n_layers))",
            "nn.ModuleList([EncoderBlock(*sizes)] * config.n_layers)",
        ),
    ),
    edit(
        "one_layer_less",
        "MiniT5",
        "The last decoder block is not run.",
        (
            "        for block, block_context, block_past in zip(self.decoder, contexts, pasts, strict=True):\n",
            "        for block, block_context, block_past in list(zip(self.decoder, contexts, pasts))[: max(1, "
            "len(self.decoder) - 1)]:\n",
        ),
    ),
    edit(
        "blocks_backwards",
        "MiniT5",
        "The encoder's blocks run from the last to the first.",
        ("for block in self.encoder:", "for block in reversed(self.encoder):"),
    ),
    edit(
        "context_before_the_blocks",
        "MiniT5",
        "The decoder attends to the source's embeddings: to the encoder's output.",
        (
            "self.decode(decoder_ids, self.encode(source_ids, source_mask), source_mask)[0]",
            "self.decode(decoder_ids, self.encoder_norm(self.token_embedding(source_ids)), source_mask)[0]",
        ),
    ),
    edit(
        "output_layer_of_its_own",
        "MiniT5",
        "There is an output layer with weights of its own: the embeddings serve both ends.",
        (
            "        self.dropout = nn.Dropout(config.dropout)\n",
            "        self.dropout = nn.Dropout(config.dropout)\n"
            "        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)\n",
        ),
        ("return x @ self.token_embedding.weight.T, present", "return self.head(x), present"),
    ),
    edit(
        "embeddings_detached",
        "MiniT5",
        "The embeddings get no gradient from the logits.",
        ("x @ self.token_embedding.weight.T", "x @ self.token_embedding.weight.detach().T"),
    ),
    edit(
        "encoder_without_gradients",
        "MiniT5",
        "No gradient reaches the encoder: the decoder's context is detached.",
        (
            "self.encode(source_ids, source_mask), source_mask)[0]",
            "self.encode(source_ids, source_mask).detach(), source_mask)[0]",
        ),
    ),
    edit(
        "encoder_detached_in_evaluation_mode",
        "MiniT5",
        "In evaluation mode what the encoder gives is detached: the mode is about dropout, and gradients flow in both.",
        ("return self.encoder_norm(x)", "return self.encoder_norm(x if self.training else x.detach())"),
    ),
    edit(
        "shifted_inside",
        "MiniT5",
        "forward shifts the decoder's ids: they come shifted.",
        ("return self.decode(decoder_ids,", "return self.decode(shift_right(decoder_ids, 0),"),
    ),
    edit(
        "embedding_dropout_forgotten",
        "MiniT5",
        "The source's embeddings are never dropped.",
        ("x = self.dropout(self.token_embedding(source_ids))", "x = self.token_embedding(source_ids)"),
    ),
    edit(
        "dropout_not_passed_on",
        "MiniT5",
        "The blocks get no dropout, nor do the embeddings.",
        ("config.d_ff, config.dropout", "config.d_ff, 0.0"),
        ("nn.Dropout(config.dropout)", "nn.Dropout(0.0)"),
    ),
    edit(
        "bias_kept_from_a_longer_text",
        "MiniT5",
        "The decoder's bias is kept from call to call: it depends on the lengths and on weights that change.",
        (
            "        present = []\n",
            "        present = []\n        if not torch.is_grad_enabled():\n"
            "            bias = self.kept = getattr(self, 'kept', bias) if getattr(self, 'kept', bias).shape == "
            "bias.shape else bias\n",
        ),
    ),
    edit(
        "sets_a_seed",
        "MiniT5",
        "Making a model sets a seed: leave that to the caller.",
        ("        self.config = config\n", "        self.config = config\n        torch.manual_seed(0)\n"),
    ),
    edit(
        "eval_inside",
        "MiniT5",
        "encode puts the model into evaluation mode.",
        (
            "        x = self.dropout(self.token_embedding(source_ids))",
            "        self.eval()\n        x = self.dropout(self.token_embedding(source_ids))",
        ),
    ),
    edit(
        "ids_clamped",
        "MiniT5",
        "Ids outside the vocabulary are bent into it: they are an IndexError.",
        ("self.token_embedding(source_ids)", "self.token_embedding(source_ids.clamp(0, self.config.vocab_size - 1))"),
    ),
    edit(
        "targets_embeddings_never_dropped",
        "MiniT5",
        "The target's embeddings are never dropped: those of both texts are.",
        ("x = self.dropout(self.token_embedding(decoder_ids))", "x = self.token_embedding(decoder_ids)"),
    ),
    edit(
        "dropout_after_the_encoder",
        "MiniT5",
        "Dropout acts on what the encoder gives: only on the embeddings, and in the blocks.",
        ("return self.encoder_norm(x)", "return self.dropout(self.encoder_norm(x))"),
    ),
    edit(
        "dropout_before_the_logits",
        "MiniT5",
        "Dropout acts on what the logits are made of: only on the embeddings, and in the blocks.",
        ("x = self.decoder_norm(x) / math.sqrt", "x = self.dropout(self.decoder_norm(x)) / math.sqrt"),
    ),
    edit(
        "decoder_blocks_without_dropout",
        "MiniT5",
        "The decoder's blocks get no dropout.",
        ("nn.ModuleList(DecoderBlock(*sizes)", "nn.ModuleList(DecoderBlock(*sizes[:3])"),
    ),
    edit(
        "texts_of_512",
        "MiniT5",
        "Texts of more than 512 tokens are refused: a model of distances reads any length.",
        (
            "n_q = x.shape[1]",
            "n_q = x.shape[1]\n        if n_q + (past[0][0].shape[-2] if past else 0) > 512:\n            raise ValueError",
        ),
    ),
    edit(
        "weights_started_small",
        "MiniT5",
        "Weights are initialised with a deviation of 0.02, as GPT-2's: leave them where PyTorch puts them.",
        (
            "        self.dropout = nn.Dropout(config.dropout)\n",
            "        self.dropout = nn.Dropout(config.dropout)\n        for weight in self.parameters():\n"
            "            if weight.ndim > 1:\n                nn.init.normal_(weight, std=0.02)\n",
        ),
    ),
    edit(
        "output_layer_that_shares",
        "MiniT5",
        "There is an output layer, though with the embeddings' weight, which saved weights have twice then: do without it.",
        (
            "        self.dropout = nn.Dropout(config.dropout)\n",
            "        self.dropout = nn.Dropout(config.dropout)\n"
            "        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)\n"
            "        self.head.weight = self.token_embedding.weight\n",
        ),
        ("return x @ self.token_embedding.weight.T, present", "return self.head(x), present"),
    ),
    edit(
        "decode_detaches_its_past",
        "MiniT5",
        "decode detaches the pasts that it returns: gradients flow through them, as in a text that comes in one piece.",
        ("present.append(keys_values)", "present.append(tuple(each.detach() for each in keys_values))"),
    ),
    edit(
        "decode_detaches_its_context",
        "MiniT5",
        "decode detaches a context that was projected before: gradients reach the encoder through it.",
        (
            "if isinstance(context, Tensor) else context\n        pasts",
            "if isinstance(context, Tensor) else [(k.detach(), v.detach()) for k, v in context]\n        pasts",
        ),
    ),
    edit(
        "logits_of_the_original",
        "MiniT5",
        "The logits are made by a function that holds on to this model: a copy of it still takes this one's embeddings.",
        (
            "        self.dropout = nn.Dropout(config.dropout)\n",
            "        self.dropout = nn.Dropout(config.dropout)\n"
            "        self.head = lambda x: x @ self.token_embedding.weight.T\n",
        ),
        ("return x @ self.token_embedding.weight.T, present", "return self.head(x), present"),
    ),
    # shift_right
    edit(
        "shifted_left",
        "shift_right",
        "Everything moves to the left: the first token goes, where the last one should.",
        ("torch.cat([start, ids], dim=-1)[..., : ids.shape[-1]]", "torch.cat([ids, start], dim=-1)[..., 1:]"),
    ),
    edit(
        "one_longer",
        "shift_right",
        "The result is one longer: the last token is left out, for nothing follows it.",
        ("[..., : ids.shape[-1]]", ""),
    ),
    edit(
        "first_replaced",
        "shift_right",
        "The first token is replaced by start_id and nothing moves.",
        (
            "return torch.cat([start, ids], dim=-1)[..., : ids.shape[-1]]",
            "return torch.cat([start, ids[..., 1:]], dim=-1)[..., : ids.shape[-1]]",
        ),
    ),
    edit(
        "rolled",
        "shift_right",
        "The last token comes around to the front: start_id stands there.",
        ("torch.cat([start, ids], dim=-1)[..., : ids.shape[-1]]", "ids.roll(1, -1)"),
    ),
    edit(
        "first_dimension",
        "shift_right",
        "The rows of the batch move: tokens move, in the last dimension.",
        (
            "return torch.cat([start, ids], dim=-1)[..., : ids.shape[-1]]",
            "out = ids.roll(1, 0)\n    out[:1] = start_id\n    return out",
        ),
    ),
    edit(
        "first_row_only",
        "shift_right",
        "All rows begin with start_id only if there is one batch dimension: leading dimensions are free.",
        ("(*ids.shape[:-1], 1)", "(ids.shape[0], 1)"),
    ),
    edit("zero_for_start", "shift_right", "The first token is 0 whatever start_id is.", ("1), start_id)", "1), 0)")),
    edit(
        "shifted_in_place",
        "shift_right",
        "The ids are changed in place: they are the loss's targets, too.",
        ("    start = ", "    ids[..., 1:] = ids[..., :-1].clone()\n    ids[..., :1] = start_id\n    return ids\n    start = "),
    ),
    edit(
        "int64_always",
        "shift_right",
        "The result is int64: it has the dtype of ids.",
        ("[..., : ids.shape[-1]]", "[..., : ids.shape[-1]].long()"),
    ),
    edit(
        "nothing_becomes_one",
        "shift_right",
        "No tokens become one: t = 0 stays t = 0.",
        ("[..., : ids.shape[-1]]", "[..., : max(1, ids.shape[-1])]"),
    ),
    edit(
        "start_of_one_byte",
        "shift_right",
        "start_id goes through a dtype that is too small for it: it has the dtype of ids.",
        ("ids.new_full((*ids.shape[:-1], 1), start_id)", "ids.to(torch.uint8).new_full((*ids.shape[:-1], 1), start_id % 256)"),
    ),
    edit(
        "ignored_ids_replaced",
        "shift_right",
        "Tokens of -100 become 0, as libraries do it for their own models: every token moves as it is.",
        (
            "[..., : ids.shape[-1]]",
            "[..., : ids.shape[-1]].masked_fill(torch.cat([start, ids], -1)[..., : ids.shape[-1]] == -100, 0)",
        ),
    ),
    # label_smoothed_loss
    edit(
        "no_smoothing",
        "label_smoothed_loss",
        "smoothing is not used: this is plain cross entropy.",
        ("-((1 - smoothing) * certain + smoothing * log_probs.mean())", "-certain"),
    ),
    edit(
        "shares_swapped",
        "label_smoothed_loss",
        "The shares have changed places: the target gets 1 - smoothing.",
        ("(1 - smoothing) * certain + smoothing * log_probs.mean()", "smoothing * certain + (1 - smoothing) * log_probs.mean()"),
    ),
    edit(
        "smoothing_for_the_others_only",
        "label_smoothed_loss",
        "The smoothing is shared by the other tokens only: the target gets its part of it, too, as all V do.",
        (
            "    return -((1 - smoothing) * certain + smoothing * log_probs.mean())",
            "    v = logits.shape[-1]\n    rest = (log_probs.sum(-1).mean() - certain) / max(1, v - 1)\n"
            "    return -((1 - smoothing) * certain + smoothing * rest)",
        ),
    ),
    edit(
        "sum_over_the_vocabulary",
        "label_smoothed_loss",
        "The smoothing is not divided by the vocabulary: each token gets smoothing / V.",
        ("smoothing * log_probs.mean()", "smoothing * log_probs.sum(-1).mean()"),
    ),
    edit(
        "full_certainty",
        "label_smoothed_loss",
        "The target's share is 1, and the distribution sums to more than 1: it is 1 - smoothing.",
        ("(1 - smoothing) * certain", "certain"),
    ),
    edit(
        "sign_forgotten",
        "label_smoothed_loss",
        "The sign is missing: the loss is minus a mean of log-probabilities.",
        ("return -((1", "return ((1"),
    ),
    edit(
        "sum_of_losses",
        "label_smoothed_loss",
        "This is the sum over the positions: take the mean.",
        ("smoothing * log_probs.mean())", "smoothing * log_probs.mean()) * len(targets)"),
    ),
    edit(
        "ignored_in_the_mean",
        "label_smoothed_loss",
        "Ignored positions count in the number that is divided by.",
        ("smoothing * log_probs.mean())", "smoothing * log_probs.mean()) * len(targets) / counted.numel()"),
    ),
    edit(
        "ignored_in_the_smoothing",
        "label_smoothed_loss",
        "The smoothing's part is a mean over all positions: ignored ones do not count there, either.",
        ("    counted = ", "    everything = logits.log_softmax(-1)\n    counted = "),
        ("smoothing * log_probs.mean())", "smoothing * everything.mean())"),
    ),
    edit(
        "minus_100_only",
        "label_smoothed_loss",
        "What is ignored is ignore_index, not always -100.",
        ("counted = targets != ignore_index", "counted = targets != -100"),
    ),
    edit(
        "negative_ignored",
        "label_smoothed_loss",
        "Every negative target is ignored: only ignore_index is.",
        ("counted = targets != ignore_index", "counted = (targets != ignore_index) & (targets >= 0)"),
    ),
    edit(
        "nan_for_nothing",
        "label_smoothed_loss",
        "Where nothing counts the mean of nothing, NaN, comes back: the loss is 0 then.",
        ("        return logits.sum()  # of nothing: 0, with a graph\n", "        return logits.mean()\n"),
    ),
    edit(
        "constant_for_nothing",
        "label_smoothed_loss",
        "Where nothing counts the loss is a constant, and backward fails: it needs a graph.",
        ("return logits.sum()  #", "return logits.new_zeros(())  #"),
    ),
    edit(
        "log_of_softmax",
        "label_smoothed_loss",
        "log(softmax(z)) is -inf where the softmax underflows: log_softmax does not.",
        ("logits.log_softmax(-1)", "logits.softmax(-1).log()"),
    ),
    edit(
        "probabilities",
        "label_smoothed_loss",
        "The softmax's probabilities are taken for log-probabilities.",
        ("logits.log_softmax(-1)", "logits.softmax(-1)"),
    ),
    edit(
        "softmax_over_positions",
        "label_smoothed_loss",
        "The softmax is over the positions: over the vocabulary, the last dimension.",
        ("logits.log_softmax(-1)", "logits.log_softmax(0)"),
    ),
    edit(
        "half_by_default",
        "label_smoothed_loss",
        "The default of smoothing is 0.1.",
        ("smoothing: float = 0.1", "smoothing: float = 0.0"),
    ),
    edit(
        "smoothing_unchecked",
        "label_smoothed_loss",
        "A smoothing outside 0..1 is accepted.",
        ("if not 0 <= smoothing <= 1:", "if False:"),
    ),
    edit(
        "complete_smoothing_refused",
        "label_smoothed_loss",
        "A smoothing of 1 is refused: it is the last that makes sense.",
        ("if not 0 <= smoothing <= 1:", "if not 0 <= smoothing < 1:"),
    ),
    edit(
        "shapes_unchecked",
        "label_smoothed_loss",
        "Targets of another shape are accepted: they have the logits' shape without the vocabulary.",
        (
            "    if logits.shape[:-1] != targets.shape:",
            "    logits, targets = logits.flatten(0, -2), targets.flatten()\n    if logits.shape[0] != targets.shape[0]:",
        ),
    ),
    edit(
        "targets_unchecked",
        "label_smoothed_loss",
        "Targets outside the vocabulary are bent into it: refuse them.",
        (
            "    if targets.min() < 0 or targets.max() >= logits.shape[-1]:\n",
            "    targets = targets.clamp(0, logits.shape[-1] - 1)\n    if False:\n",
        ),
    ),
    edit(
        "negative_targets_from_the_end",
        "label_smoothed_loss",
        "A target of -1 counts from the end of the vocabulary: refuse it.",
        ("targets.min() < 0 or ", ""),
        ("targets[:, None]", "targets[:, None] % logits.shape[-1]"),
    ),
    edit(
        "float32_loss",
        "label_smoothed_loss",
        "The loss is float32: it has the logits' dtype.",
        ("log_probs = logits.log_softmax(-1)", "log_probs = logits.float().log_softmax(-1)"),
    ),
    edit(
        "ignored_targets_checked",
        "label_smoothed_loss",
        "An ignore_index above the vocabulary is refused: only counted targets have to lie in it.",
        (
            "    counted = targets != ignore_index\n",
            (
                "    if targets.numel() and targets.max() >= logits.shape[-1]:\n"
                "        raise ValueError\n"
                "    counted = targets != ignore_index\n"
            ),
        ),
    ),
    edit(
        "single_positions_refused",
        "label_smoothed_loss",
        "The logits of a single position, (vocab,), are refused: leading dimensions are free, and there may be none.",
        (
            "    counted = targets != ignore_index\n",
            "    if logits.ndim < 2:\n        raise ValueError(logits.shape)\n    counted = targets != ignore_index\n",
        ),
    ),
    edit(
        "zero_of_its_own",
        "label_smoothed_loss",
        (
            "Where nothing counts the loss is a new 0 that has nothing to do with the logits: their gradient is "
            "to be zeros, not missing."
        ),
        ("return logits.sum()  #", "return torch.zeros((), dtype=logits.dtype, requires_grad=True)  #"),
    ),
    # span_corrupt
    edit(
        "final_sentinel_forgotten",
        "span_corrupt",
        "The target lacks its end, one more sentinel.",
        ("ids.new_tensor([*target, sentinel_ids[n_spans]])", "ids.new_tensor(target)"),
    ),
    edit(
        "one_sentinel_for_all",
        "span_corrupt",
        "All spans have the first sentinel: each has its own, in order.",
        ("zip(kept, pieces(n_cut, n_spans), sentinel_ids)", "zip(kept, pieces(n_cut, n_spans), [sentinel_ids[0]] * n_spans)"),
    ),
    edit(
        "sentinels_backwards",
        "span_corrupt",
        "The sentinels come in the wrong order.",
        ("pieces(n_cut, n_spans), sentinel_ids)", "pieces(n_cut, n_spans), sentinel_ids[: n_spans][::-1])"),
    ),
    edit(
        "sentinel_after_the_span",
        "span_corrupt",
        "In the target the sentinel stands behind its span: it comes before.",
        ("target += [sentinel, *rest[n_kept : n_kept + n_gone]]", "target += [*rest[n_kept : n_kept + n_gone], sentinel]"),
    ),
    edit(
        "cut_from_both",
        "span_corrupt",
        "What was cut stays in the input, behind its sentinel.",
        ("rest = rest[n_kept + n_gone :]", "rest = rest[n_kept:]"),
    ),
    edit(
        "rest_forgotten",
        "span_corrupt",
        "What is kept after the last span is missing from the input.",
        ("ids.new_tensor(source + rest)", "ids.new_tensor(source)"),
    ),
    edit(
        "a_sentinel_for_each_token",
        "span_corrupt",
        "Each cut token has a sentinel of its own: one span is one sentinel.",
        ("n_spans = min(max(round(n_cut / mean_span_length), 1), n_cut, n - n_cut)", "n_spans = min(n_cut, n - n_cut)"),
    ),
    edit(
        "always_one_span",
        "span_corrupt",
        "There is always one span: round(c / mean_span_length) of them.",
        ("n_spans = min(max(round(n_cut / mean_span_length), 1), n_cut, n - n_cut)", "n_spans = 1"),
    ),
    edit(
        "rounded_down",
        "span_corrupt",
        "The number of tokens is rounded down: round to the nearest.",
        ("max(round(n * corruption_rate)", "max(int(n * corruption_rate)"),
    ),
    edit(
        "spans_rounded_down",
        "span_corrupt",
        "The number of spans is rounded down: round to the nearest.",
        ("round(n_cut / mean_span_length)", "int(n_cut / mean_span_length)"),
    ),
    edit(
        "nothing_cut",
        "span_corrupt",
        "A short text is left whole: at least one token is cut.",
        ("max(round(n * corruption_rate), 1)", "max(round(n * corruption_rate), 0)"),
        ("n_cut, n - n_cut)", "max(1, n_cut), n - n_cut)"),
        ("pieces(n_cut, n_spans)", "(pieces(n_cut, n_spans) if n_cut else [0])"),
    ),
    edit(
        "everything_cut",
        "span_corrupt",
        "All tokens may be cut: at least one is kept.",
        ("corruption_rate), 1), n - 1)", "corruption_rate), 1), n)"),
        ("n_cut, n - n_cut)", "n_cut, max(1, n - n_cut))"),
    ),
    edit(
        "more_spans_than_kept",
        "span_corrupt",
        "There are more spans than kept tokens to part them.",
        ("n_cut, n - n_cut)", "n_cut, n - n_cut + 1)"),
    ),
    edit(
        "spans_may_touch",
        "span_corrupt",
        "Two spans may follow each other with nothing between: at least one token is kept there.",
        (
            "kept = pieces(n - n_cut + 2, n_spans + 1)",
            "kept = [1 + x for x in torch.bincount(torch.randint(n_spans + 1, (n - n_cut,), "
            "generator=generator), minlength=n_spans + 1).tolist()]\n    kept[1:-1] = [x - 1 for x in kept[1:-1]]",
        ),
    ),
    edit(
        "spans_may_be_empty",
        "span_corrupt",
        "A span may be empty: each has at least one token.",
        (
            "pieces(n_cut, n_spans), sentinel_ids)",
            "torch.bincount(torch.randint(n_spans, (n_cut,), generator=generator), minlength=n_spans).tolist(), sentinel_ids)",
        ),
    ),
    edit(
        "always_the_same_length",
        "span_corrupt",
        "All spans are about equally long: lengths vary.",
        (
            "pieces(n_cut, n_spans), sentinel_ids)",
            "[n_cut // n_spans + (i < n_cut % n_spans) for i in range(n_spans)], sentinel_ids)",
        ),
    ),
    edit(
        "always_the_same_places",
        "span_corrupt",
        "The places do not depend on chance.",
        (
            "kept = pieces(n - n_cut + 2, n_spans + 1)",
            "kept = [(n - n_cut + 2) // (n_spans + 1) + (i < (n - n_cut + 2) % (n_spans + 1)) for i in range(n_spans + 1)]",
        ),
    ),
    edit(
        "global_chance",
        "span_corrupt",
        "Chance comes from PyTorch's global state: pass generator=generator.",
        ("torch.randperm(total - 1, generator=generator)", "torch.randperm(total - 1)"),
    ),
    edit(
        "generator_made_anew",
        "span_corrupt",
        "A new generator is seeded in every call, so all draws are alike: use the one that is given.",
        ("    def pieces(", "    generator = torch.Generator().manual_seed(generator.initial_seed())\n\n    def pieces("),
    ),
    edit(
        "int64_texts",
        "span_corrupt",
        "The texts are int64: they have ids' dtype.",
        (
            "return ids.new_tensor(source + rest), ids.new_tensor([*target, sentinel_ids[n_spans]])",
            "return torch.tensor(source + rest), torch.tensor([*target, sentinel_ids[n_spans]])",
        ),
    ),
    edit(
        "target_and_input_swapped",
        "span_corrupt",
        "Target and input have changed places: (input, target).",
        (
            "return ids.new_tensor(source + rest), ids.new_tensor([*target, sentinel_ids[n_spans]])",
            "return ids.new_tensor([*target, sentinel_ids[n_spans]]), ids.new_tensor(source + rest)",
        ),
    ),
    edit(
        "sentinels_unchecked",
        "span_corrupt",
        "Too few sentinels are accepted: n_spans + 1 are needed.",
        ("len(sentinel_ids) <= n_spans", "False"),
        ("sentinel_ids[n_spans]]", "sentinel_ids[min(n_spans, len(sentinel_ids) - 1)]] if sentinel_ids else target"),
    ),
    edit(
        "one_sentinel_too_few",
        "span_corrupt",
        "As many sentinels as spans are accepted: the end needs one as well.",
        ("len(sentinel_ids) <= n_spans", "len(sentinel_ids) < n_spans"),
        ("sentinel_ids[n_spans]]", "*sentinel_ids[n_spans : n_spans + 1]]"),
    ),
    edit("rates_unchecked", "span_corrupt", "A rate of 0 or 1 or more is accepted.", ("not 0 < corruption_rate < 1 or ", "")),
    edit(
        "lengths_unchecked",
        "span_corrupt",
        "A mean length below 1 is accepted: no span is that short.",
        (" or not mean_span_length >= 1", ""),
        ("round(n_cut / mean_span_length)", "round(n_cut / (mean_span_length or 1))"),
    ),
    edit(
        "batches_flattened",
        "span_corrupt",
        "A batch is taken for one text: refuse what is not 1-D.",
        ("n = ids.shape[0] if ids.ndim == 1 else 0", "ids = ids.flatten()\n    n = len(ids)"),
    ),
    edit(
        "tokens_found_by_value",
        "span_corrupt",
        "Tokens are looked up by their value: a token may occur several times in a text, so go by positions.",
        (
            "        source += [*rest[:n_kept], sentinel]\n",
            (
                "        gone = set(rest[n_kept : n_kept + n_gone])\n"
                "        source += [*(token for token in rest[:n_kept] if token not in gone), sentinel]\n"
            ),
        ),
    ),
    edit(
        "halves_rounded_up",
        "span_corrupt",
        "Halves are rounded up: Python's round takes 2.5 to 2.",
        ("max(round(n_cut / mean_span_length), 1)", "max(int(n_cut / mean_span_length + 0.5), 1)"),
    ),
    edit(
        "sentinels_must_be_a_list",
        "span_corrupt",
        "The sentinels must be a list: any sequence does.",
        ("    if len(sentinel_ids) <= n_spans", "    sentinel_ids = sentinel_ids + []\n    if len(sentinel_ids) <= n_spans"),
    ),
    edit(
        "short_spans_first",
        "span_corrupt",
        "The short spans always come first: their order is up to chance, too.",
        ("zip(kept, pieces(n_cut, n_spans), sentinel_ids)", "zip(kept, sorted(pieces(n_cut, n_spans)), sentinel_ids)"),
    ),
    edit(
        "ids_of_16_bits",
        "span_corrupt",
        "Ids go through a dtype that is too small for them: make both texts with ids.new_tensor.",
        ("ids.new_tensor(source + rest)", "torch.tensor(source + rest).short().to(ids.dtype)"),
    ),
    edit(
        "spans_of_the_unrounded",
        "span_corrupt",
        "The number of spans is reckoned from n * corruption_rate: take the whole number of tokens that are cut.",
        ("round(n_cut / mean_span_length)", "round(n * corruption_rate / mean_span_length)"),
    ),
    edit(
        "last_sentinel_as_an_end",
        "span_corrupt",
        "The target ends in the last of all sentinels: it ends in the next one after those of the spans.",
        ("[*target, sentinel_ids[n_spans]]", "[*target, sentinel_ids[-1]]"),
    ),
    # translate
    edit(
        "eos_returned",
        "translate",
        "eos_id is part of the result: cut the text before it.",
        ("text[: text.index(eos_id)]", "text[: text.index(eos_id) + 1]"),
    ),
    edit(
        "start_returned",
        "translate",
        "start_id is part of the result.",
        ("[text[1:].tolist() for text in texts]", "[text.tolist() for text in texts]"),
    ),
    edit(
        "goes_on_after_the_end",
        "translate",
        "What comes after eos_id is part of the result: cut there.",
        (
            "[text[: text.index(eos_id)] if eos_id in text else text for text in written]",
            "[[i for i in text if i != eos_id] for text in written]",
        ),
    ),
    edit(
        "stops_when_one_ends",
        "translate",
        "All texts stop when the first one ends: go on until all have.",
        ("(texts[:, 1:] == eos_id).any(1).all()", "(texts[:, 1:] == eos_id).any()"),
    ),
    edit(
        "one_token_too_few",
        "translate",
        "There is a token less than max_new_tokens allows: start_id does not count.",
        ("while texts.shape[1] <= max_new_tokens", "while texts.shape[1] < max_new_tokens"),
    ),
    edit(
        "beam_one_token_too_few",
        "translate",
        "With a beam there is a token less than max_new_tokens allows: start_id counts for beam_search.",
        ("1 + max_new_tokens, length_penalty", "max(1, max_new_tokens), length_penalty"),
    ),
    edit(
        "mask_not_passed",
        "translate",
        "The source's padding is read as text: pass the mask on.",
        ("model.encode(source_ids, source_mask)", "model.encode(source_ids)"),
    ),
    edit(
        "mask_only_while_encoding",
        "translate",
        "The decoder sees the padding: it needs the mask at each step, too.",
        ("step = decoding_step(model, memory, source_mask, use_cache)", "step = decoding_step(model, memory, None, use_cache)"),
    ),
    edit(
        "beam_without_a_mask",
        "translate",
        "With a beam the decoder sees the padding: it needs the mask as well.",
        ("[None] * b if source_mask is None else source_mask.split(1)", "[None] * b"),
    ),
    edit(
        "penalty_ignored",
        "translate",
        "length_penalty is not passed on to the beam search.",
        ("1 + max_new_tokens, length_penalty", "1 + max_new_tokens, 0.0"),
    ),
    edit("always_greedy", "translate", "beam_size is ignored.", ("if beam_size == 1:  #", "if True:  #")),
    edit(
        "greedy_by_beam",
        "translate",
        "A beam of 1 goes on after its end and a penalty prefers the longer text: beam_size=1 is greedy search.",
        ("if beam_size == 1:  #", "if beam_size == 1 and not length_penalty:  #"),
    ),
    edit(
        "worst_of_the_beam",
        "translate",
        "The last of the beam's results is taken: the first is the best.",
        ("*options)[0][0]", "*options)[-1][0]"),
    ),
    edit(
        "cache_never_used",
        "translate",
        "use_cache changes nothing: the whole text is read at every step.",
        ("decoding_step(model, memory, source_mask, use_cache)", "decoding_step(model, memory, source_mask, False)"),
        ("decoding_step(model, *source, use_cache)", "decoding_step(model, *source, False)"),
    ),
    edit(
        "beam_without_a_cache",
        "translate",
        "The beam search has no cache: each new token is to be read once.",
        ("decoding_step(model, *source, use_cache)", "decoding_step(model, *source, False)"),
    ),
    edit(
        "cache_always_used",
        "translate",
        "use_cache=False changes nothing: then the whole text is read again.",
        ("decoding_step(model, memory, source_mask, use_cache)", "decoding_step(model, memory, source_mask, True)"),
        ("decoding_step(model, *source, use_cache)", "decoding_step(model, *source, True)"),
    ),
    edit(
        "beam_always_cached",
        "translate",
        "With a beam use_cache=False changes nothing: then the whole text is read again, there too.",
        ("decoding_step(model, *source, use_cache)", "decoding_step(model, *source, True)"),
    ),
    edit(
        "beam_encodes_at_every_step",
        "translate",
        "Without the cache a beam encodes the source for every token anew: model.decode takes what encode gave.",
        (
            "decoding_step(model, *source, use_cache) for source in zip(memory.split(1), masks)",
            "decoding_step(model, *source, use_cache) if use_cache else (lambda ids, text=text, mask=source[1]: "
            "model(text.expand(len(ids), -1), ids, mask)[:, -1].log_softmax(-1)) "
            "for text, source in zip(source_ids.split(1), zip(memory.split(1), masks))",
        ),
    ),
    edit(
        "first_source_for_all",
        "translate",
        "With a beam every source is the first: take each in turn.",
        ("zip(memory.split(1), masks)]", "zip([memory[:1]] * b, masks)]"),
    ),
    edit(
        "left_in_eval_mode",
        "translate",
        "The model is left in evaluation mode: leave it as it was.",
        ("    b = len(source_ids)\n", "    b = len(source_ids)\n    model.eval()\n"),
    ),
    edit(
        "gradients_recorded",
        "translate",
        "Gradients are recorded on the way: torch.no_grad() spares them.",
        ("@torch.no_grad()\n", ""),
    ),
    edit(
        "gradients_switched_off",
        "translate",
        "Gradients stay switched off afterwards.",
        ("    b = len(source_ids)\n", "    b = len(source_ids)\n    torch.set_grad_enabled(False)\n"),
        ("@torch.no_grad()\n", ""),
    ),
    edit(
        "negative_lengths",
        "translate",
        "A negative max_new_tokens is accepted.",
        ("    if max_new_tokens < 0:\n", "    max_new_tokens = max(0, max_new_tokens)\n    if False:\n"),
    ),
    edit(
        "no_beam_accepted",
        "translate",
        "A beam of 0 is accepted.",
        ("    if beam_size < 1:\n", "    beam_size = max(1, beam_size)\n    if False:\n"),
    ),
    edit(
        "eos_of_one",
        "translate",
        "The end is token 1 whatever eos_id is.",
        ("(texts[:, 1:] == eos_id)", "(texts[:, 1:] == 1)"),
        ("text[: text.index(eos_id)] if eos_id in text", "text[: text.index(1)] if 1 in text"),
    ),
    edit(
        "start_of_zero", "translate", "Every text begins with token 0 whatever start_id is.", ("(b, 1), start_id)", "(b, 1), 0)")
    ),
    edit(
        "start_taken_for_an_end",
        "translate",
        "The start token ends a text where it is eos_id as well: look at what was written.",
        ("(texts[:, 1:] == eos_id)", "(texts == eos_id)"),
    ),
    edit(
        "tensors_returned",
        "translate",
        "The texts are tensors: lists of ints.",
        ("[text[1:].tolist() for text in texts]", "[list(text[1:]) for text in texts]"),
    ),
    edit(
        "a_mean_of_the_source",
        "translate",
        "Longer sources than the first are cut.",
        (
            "memory = model.encode(source_ids, source_mask)",
            "memory = model.encode(source_ids[:, :4], None if source_mask is None else source_mask[:, :4])\n"
            "    source_mask = None if source_mask is None else source_mask[:, :4]",
        ),
    ),
    edit(
        "no_more_beams_than_tokens",
        "translate",
        "A beam wider than the vocabulary is refused: after a few tokens there are texts enough for it.",
        (
            "        texts = [beam_search(",
            (
                "        if beam_size > model.config.vocab_size:\n"
                "            raise ValueError(beam_size)\n"
                "        texts = [beam_search("
            ),
        ),
    ),
    edit(
        "parents_by_their_last_token",
        "translate",
        "A row's past is looked for by its last token: two texts of a beam may end alike, so compare whole texts.",
        (
            "    b = len(source_ids)\n",
            "    b = len(source_ids)\n\n"
            "    def decoding_step(model, memory, source_mask, use_cache):\n"
            "        if not use_cache:\n"
            "            return lambda ids: model.decode(ids, memory, source_mask)[0][:, -1].log_softmax(-1)\n"
            "        context = [block.cross_attention.project_context(memory) for block in model.decoder]\n"
            "        kept = {}\n\n"
            "        def step(ids):\n"
            "            past = kept.get('past')\n"
            "            if past:\n"
            "                parents = (ids[:, -2, None] == kept['read'][:, -1]).int().argmax(-1)\n"
            "                parents = parents if beam_size > 1 else torch.arange(len(ids))\n"
            "                past = [(k[parents], v[parents]) for k, v in past]\n"
            "            logits, past = model.decode(ids[:, -1:], context, source_mask, past)\n"
            "            kept.update(past=past, read=ids)\n"
            "            return logits[:, -1].log_softmax(-1)\n\n"
            "        return step\n\n",
        ),
    ),
    edit(
        "gradients_switched_on",
        "translate",
        "Gradients are switched on afterwards, also for callers who had switched them off: use torch.no_grad().",
        ("    b = len(source_ids)\n", "    b = len(source_ids)\n    torch.set_grad_enabled(False)\n"),
        ("    written = ", "    torch.set_grad_enabled(True)\n    written = "),
        ("@torch.no_grad()\n", ""),
    ),
    edit(
        "sixty_four_tokens",
        "translate",
        "There are never more than 64 tokens: max_new_tokens alone decides.",
        ("    b = len(source_ids)\n", "    b = len(source_ids)\n    max_new_tokens = min(max_new_tokens, 64)\n"),
    ),
    # bleu
    edit(
        "mean_of_sentences",
        "bleu",
        "This is the mean of the sentences' scores: corpus BLEU adds up counts first.",
        (
            "    matches, totals, n_written",
            "    if len(hypotheses) > 1:\n"
            "        return sum(bleu([h], [r], max_order) for h, r in zip(hypotheses, references)) / "
            "len(hypotheses)\n    matches, totals, n_written",
        ),
    ),
    edit(
        "not_in_percent",
        "bleu",
        "The score is between 0 and 1: BLEU is given in percent.",
        ("return 100 * math.exp", "return math.exp"),
    ),
    edit(
        "no_brevity_penalty",
        "bleu",
        "The brevity penalty is missing: translations that are too short are punished.",
        ("100 * math.exp(brevity + log_precision)", "100 * math.exp(log_precision)"),
    ),
    edit(
        "long_ones_punished",
        "bleu",
        "Long translations are rewarded or punished: the factor is at most 1 and is 1 where c >= r.",
        ("min(0.0, 1 - n_wanted / n_written)", "1 - n_wanted / n_written"),
    ),
    edit(
        "brevity_backwards",
        "bleu",
        "The brevity penalty is exp(1 - r / c): r and c have changed places.",
        ("1 - n_wanted / n_written)", "1 - n_written / n_wanted)"),
    ),
    edit(
        "longest_reference",
        "bleu",
        "r is the longest reference's length: the closest one's.",
        ("min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]", "max(len(other) for other in others)"),
    ),
    edit(
        "shortest_reference",
        "bleu",
        "r is the shortest reference's length: the closest one's.",
        ("min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]", "min(len(other) for other in others)"),
    ),
    edit(
        "longer_of_two",
        "bleu",
        "Of two lengths as close r is the longer: take the shorter.",
        (
            "min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]",
            "-min((abs(len(other) - len(tokens)), -len(other)) for other in others)[1]",
        ),
    ),
    edit(
        "first_reference_length",
        "bleu",
        "r is the first reference's length: the closest one's.",
        ("min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]", "len(others[0])"),
    ),
    edit(
        "counts_added_up",
        "bleu",
        "The counts of several references are added up: an n-gram is allowed as often as in the one that has it most often.",
        ("allowed |= count", "allowed += count"),
    ),
    edit(
        "counts_in_common",
        "bleu",
        "An n-gram is allowed only as often as all references have it.",
        (
            "ngrams, allowed = count_ngrams(tokens, i + 1), Counter()",
            "ngrams, allowed = count_ngrams(tokens, i + 1), count_ngrams(others[0], i + 1)",
        ),
        ("allowed |= count", "allowed &= count"),
    ),
    edit("last_reference_only", "bleu", "Only the last reference counts.", ("allowed |= count_ngrams", "allowed = count_ngrams")),
    edit(
        "not_clipped",
        "bleu",
        "Matches are not clipped: 'the the the' matches 'the' once.",
        ("(ngrams & allowed).total()", "sum(count for ngram, count in ngrams.items() if ngram in allowed)"),
    ),
    edit(
        "kinds_of_ngrams",
        "bleu",
        "Different n-grams are counted, each once: repeated ones count as often as they come.",
        ("(ngrams & allowed).total()", "len(ngrams & allowed)"),
        ("totals[i] += ngrams.total()", "totals[i] += len(ngrams)"),
    ),
    edit(
        "recall",
        "bleu",
        "Matches are divided by the references' n-grams: that is recall, BLEU's precision has the hypotheses'.",
        ("totals[i] += ngrams.total()", "totals[i] += allowed.total()"),
    ),
    edit(
        "arithmetic_mean",
        "bleu",
        "The precisions' arithmetic mean is taken: BLEU has the geometric one.",
        (
            "return 100 * math.exp(brevity + log_precision)",
            "return 100 * math.exp(brevity) * sum(m / t for m, t in zip(matches, totals)) / max_order",
        ),
    ),
    edit(
        "no_smoothing_at_all",
        "bleu",
        "Where an order has no match the score is 0: sacreBLEU smooths it.",
        ("if not any(matches)", "if not all(matches)"),
    ),
    edit(
        "every_half",
        "bleu",
        "Each order without a match counts as 1 / (2 * total): the second as 1 / (4 * total), and so on.",
        ("halvings += matched == 0", "halvings = 1"),
    ),
    edit(
        "smoothed_by_one",
        "bleu",
        "The first order without a match counts as 1 / total: it is 1 / (2 * total).",
        ("1 / (2**halvings * total)", "1 / (2 ** (halvings - 1) * total)"),
    ),
    edit(
        "add_one_smoothing",
        "bleu",
        "1 is added to matches and totals: sacreBLEU's default changes only orders without a match.",
        ("math.log(matched / total if matched else 1 / (2**halvings * total))", "math.log((matched + 1) / (total + 1))"),
    ),
    edit(
        "smoothed_from_nothing",
        "bleu",
        "Even a text without a single match scores: that is 0.",
        ("if not any(matches) or not all(totals):", "if not all(totals):"),
    ),
    edit(
        "orders_without_ngrams_left_out",
        "bleu",
        "Orders without any n-gram are left out: the score is 0 then.",
        ("if not any(matches) or not all(totals):", "if not any(matches):"),
        (
            "    for matched, total in zip(matches, totals):\n",
            "    max_order = sum(total > 0 for total in totals)\n"
            "    for matched, total in zip(matches[:max_order], totals[:max_order]):\n",
        ),
    ),
    edit(
        "characters",
        "bleu",
        "Characters are counted: tokens are what white space separates.",
        (
            "tokens, others = hypothesis.split(), [reference.split() for reference in several]",
            "tokens, others = list(hypothesis), [list(reference) for reference in several]",
        ),
    ),
    edit(
        "split_at_single_spaces",
        "bleu",
        "Texts are split at single spaces: two of them in a row make an empty token. split() takes any white space.",
        ("hypothesis.split()", "hypothesis.split(' ')"),
    ),
    edit("three_orders", "bleu", "The default is n-grams of up to four tokens.", ("max_order: int = 4", "max_order: int = 3")),
    edit("root_of_four", "bleu", "The root is always the fourth: it is the max_order-th.", ("/ max_order\n", "/ 4\n")),
    edit(
        "lowercased",
        "bleu",
        "Upper and lower case are made one.",
        ("tokens, others = hypothesis.split()", "tokens, others = hypothesis.upper().split()"),
    ),
    edit(
        "zip_hides_the_difference",
        "bleu",
        "More or fewer lists of references than hypotheses are accepted.",
        ("len(hypotheses) != len(references) or ", ""),
    ),
    edit("nothing_scores_zero", "bleu", "No hypotheses at all are accepted.", ("or len(hypotheses) == 0 or", "or")),
    edit(
        "strings_for_lists",
        "bleu",
        "A plain string is taken for a list of references, one for each character: refuse it.",
        ("isinstance(hypotheses, str) or any(isinstance(several, str) for several in references)", "False"),
    ),
    edit(
        "no_references_accepted",
        "bleu",
        "A hypothesis without a reference is accepted.",
        ("or not all(len(several) for several in references)", "or not any(map(len, references))"),
        ("for other in others)[1]", "for other in others or [[]])[1]"),
    ),
    edit(
        "only_the_first_string_refused",
        "bleu",
        "Only the first list of references is looked at: any of them may be a plain string.",
        ("any(isinstance(several, str) for several in references)", "isinstance(references[0] if references else '', str)"),
    ),
    edit(
        "lists_only",
        "bleu",
        "Tuples are refused: any sequences of strings do.",
        (
            "any(isinstance(several, str) for several in references)",
            "not isinstance(hypotheses, list) or any(not isinstance(several, list) for several in references)",
        ),
    ),
    edit(
        "empty_references_skipped",
        "bleu",
        "Empty references are left out: they have a length, too, and it is 0.",
        (
            "[reference.split() for reference in several]",
            "[reference.split() for reference in several if reference.strip()] or [[]]",
        ),
    ),
    edit(
        "words_of_letters",
        "bleu",
        "Punctuation is dropped: tokens are what white space separates, whatever they are made of.",
        (
            "hypothesis.split(), [reference.split() for reference in several]",
            (
                "[''.join(filter(str.isalnum, word)) for word in hypothesis.split()], [''.join(filter(lambda c: "
                "c.isalnum() or c == ' ', reference)).split() for reference in several]"
            ),
        ),
    ),
    edit(
        "short_texts_left_out",
        "bleu",
        "Hypotheses of fewer than max_order tokens are left out: their shorter n-grams count as any.",
        ("        for i in range(max_order):\n", "        for i in range(max_order if len(tokens) >= max_order else 0):\n"),
    ),
    edit(
        "brevity_of_each_text",
        "bleu",
        "A short text is punished though another is longer than its reference: r and c are sums over the corpus.",
        ("n_wanted += min((abs", "n_wanted += max(len(tokens), min((abs"),
        ("for other in others)[1]\n", "for other in others)[1])\n"),
    ),
    edit(
        "letters_in_a_row",
        "bleu",
        "The tokens of an n-gram are joined without a space, so 'ab c' and 'a bc' are one: keep tuples.",
        ("ngrams, allowed = count_ngrams(tokens, i + 1), Counter()", "ngrams, allowed = count(tokens, i + 1), Counter()"),
        ("allowed |= count_ngrams(other, i + 1)", "allowed |= count(other, i + 1)"),
        (
            "    matches, totals, n_written",
            "    def count(tokens, n):\n"
            "        return Counter(''.join(ngram) for ngram in count_ngrams(tokens, n).elements())\n\n"
            "    matches, totals, n_written",
        ),
    ),
    edit(
        "no_mask_for_a_batch_of_one",
        "MiniT5",
        "A batch of one source is read without its mask. Padding is to be hidden there, too.",
        (
            "        return self.decode(decoder_ids, self.encode(",
            "        source_mask = None if len(source_ids) == 1 else source_mask\n"
            "        return self.decode(decoder_ids, self.encode(",
        ),
    ),
    edit(
        "cache_of_eight_tokens",
        "translate",
        "From the eighth token on the whole text is read again each time. The cache serves texts of any length.",
        (
            "            texts = torch.cat([texts, step(texts)",
            "            if texts.shape[1] == 8:\n                step = decoding_step(model, memory, source_mask, False)\n"
            "            texts = torch.cat([texts, step(texts)",
        ),
    ),
    edit(
        "smoothed_in_training_alone",
        "label_smoothed_loss",
        "Under torch.no_grad() nothing is smoothed. The loss is one formula, recorded or not.",
        ("    log_probs = logits", "    smoothing = smoothing if torch.is_grad_enabled() else 0.0\n    log_probs = logits"),
    ),
]


@mutant(
    "label_smoothed_loss",
    "The mean is over the rows' means: rows with fewer counted positions weigh too much. Take one mean over all.",
)
def mean_of_row_means(logits, targets, smoothing=0.1, ignore_index=-100):
    if not 0 <= smoothing <= 1 or logits.shape[:-1] != targets.shape:
        raise ValueError(smoothing)
    counted = targets != ignore_index
    if not counted.any():
        return logits[counted].sum()
    if targets[counted].min() < 0 or targets[counted].max() >= logits.shape[-1]:
        raise ValueError(targets)
    log_probs = logits.log_softmax(-1)
    certain = log_probs.gather(-1, targets.where(counted, 0)[..., None])[..., 0]
    losses = -((1 - smoothing) * certain + smoothing * log_probs.mean(-1)) * counted
    per_row = losses.sum(-1) / counted.sum(-1).clamp(min=1)
    return per_row[counted.any(-1)].mean()


@mutant("bleu", "The precisions of the longest n-grams alone are taken: BLEU has all from 1 to max_order.")
def longest_ngrams_alone(hypotheses, references, max_order=4):
    if isinstance(hypotheses, str) or any(isinstance(several, str) for several in references):
        raise ValueError
    if len(hypotheses) != len(references) or not hypotheses or not all(references):
        raise ValueError
    matched = total = written = wanted = 0
    for hypothesis, several in zip(hypotheses, references):
        tokens, others = hypothesis.split(), [reference.split() for reference in several]
        written += len(tokens)
        wanted += min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]
        allowed = Counter()
        for other in others:
            allowed |= count_ngrams(other, max_order)
        matched += (count_ngrams(tokens, max_order) & allowed).total()
        total += count_ngrams(tokens, max_order).total()
    return 100 * math.exp(min(0.0, 1 - wanted / written)) * matched / total if total else 0.0


MUTANTS += [
    edit(
        "first_span_always_short",
        "span_corrupt",
        "One of the places where spans can be cut apart is never drawn: of `total` tokens there are total - 1.",
        (
            "torch.randperm(total - 1, generator=generator)[: n_pieces - 1]",
            "torch.randperm(max(total - 2, n_pieces - 1), generator=generator)[: n_pieces - 1]",
        ),
    ),
    edit(
        "all_logits_times_zero",
        "label_smoothed_loss",
        "Where nothing counts all logits are added up and multiplied by 0: their sum overflows, and infinity times 0 is NaN.",
        ("    logits, targets = logits[counted]", "    all_logits = logits\n    logits, targets = logits[counted]"),
        ("return logits.sum()  # of nothing", "return all_logits.sum() * 0  # of nothing"),
    ),
    edit(
        "losses_times_the_mask",
        "label_smoothed_loss",
        "Losses at ignored positions are multiplied by 0: where one is infinite that is NaN. Leave them out.",
        (
            "    logits, targets = logits[counted]",
            "    all_logits, all_targets = logits, targets\n    logits, targets = logits[counted]",
        ),
        (
            "    log_probs = logits.log_softmax(-1)\n",
            "    log_probs = all_logits.log_softmax(-1)\n"
            "    of_targets = log_probs.gather(-1, all_targets.masked_fill(~counted, 0)[..., None])[..., 0]\n"
            "    losses = (1 - smoothing) * of_targets + smoothing * log_probs.mean(-1)\n"
            "    return -(losses * counted).sum() / counted.sum()\n",
        ),
    ),
    edit(
        "detached_once_there_is_a_past",
        "DecoderBlock",
        "The pair that is returned is detached once there is a past: the third piece's gradients end at the second.",
        (
            "        return x + self.dropout(self.feed_forward(self.norm_3(x))), (k, v)",
            "        pair = (k, v) if past is None else (k.detach(), v.detach())\n"
            "        return x + self.dropout(self.feed_forward(self.norm_3(x))), pair",
        ),
    ),
    edit(
        "full_stops_split_off",
        "bleu",
        "Full stops are split off their tokens: tokens are what stands between white space.",
        (
            "tokens, others = hypothesis.split(), [reference.split() for reference in several]",
            "tokens, others = hypothesis.replace('.', ' . ').split(), [text.replace('.', ' . ').split() for text in several]",
        ),
    ),
    edit(
        "differences_of_small_integers",
        "padding_mask",
        "In uint8 5 - 200 is 61: compare lengths with max_len, or subtract in int64.",
        (
            "    lengths = lengths.long()  # a max_len of 300 has no place among uint8\n"
            "    if lengths.numel() and not 0 <= lengths.min() <= lengths.max() <= max_len:",
            "    if (lengths < 0).any() or (max_len - lengths < 0).any():",
        ),
    ),
    edit(
        "rows_of_queries_for_rows_of_texts",
        "CrossAttention",
        "A mask (n_q, n_k) is taken for one row for each text where there are as many queries as texts: let it broadcast.",
        (
            "        scores = q @ k.mT  # (b, h, n_q, n_k)\n",
            "        scores = q @ k.mT  # (b, h, n_q, n_k)\n"
            "        if isinstance(mask, Tensor) and mask.ndim == 2 and len(mask) == len(x):\n"
            "            mask = mask[:, None, None]\n",
        ),
    ),
    edit(
        "no_mask_where_all_is_masked",
        "EncoderBlock",
        "A mask that allows nothing is left out, and all is attended to: who may attend to nothing gets zeros.",
        ("normed, normed, mask, bias", "normed, normed, mask if mask is None or mask.any() else None, bias"),
    ),
    edit(
        "no_mask_where_all_of_the_context_is_masked",
        "DecoderBlock",
        "A context_mask that allows nothing is left out, and all is attended to: who may attend to nothing gets zeros.",
        ("context, context_mask))", "context, context_mask if context_mask is None or context_mask.any() else None))"),
    ),
    edit(
        "length_of_the_second_blocks_past",
        "MiniT5",
        "The length of the past is that of the second block's, and a decoder of one block has none: take the first one's.",
        ("past[0][0].shape[-2]", "past[1][0].shape[-2]"),
    ),
    edit(
        "float16_losses_widened",
        "label_smoothed_loss",
        "float16 logits give a float32 loss: it has the dtype of the logits.",
        (
            "    log_probs = logits.log_softmax(-1)\n",
            "    log_probs = logits.log_softmax(-1, dtype=torch.float32 if logits.dtype == torch.float16 else None)\n",
        ),
    ),
    edit(
        "empty_references_refused",
        "bleu",
        "A reference without a token is refused: what each hypothesis needs is a list with one reference at least.",
        ("not all(len(several) for several", "not all(any(several) for several"),
    ),
]
