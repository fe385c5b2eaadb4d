"""Wrong solutions, each with the sentence that a student who made the mistake should read."""

import math

from torch import nn

from autograder.testing.variants import edit, mutant

MHA, GQA, LOOP = "MultiHeadAttention", "GroupedQueryAttention", "attention_per_head"
MERGE, DIVIDE = "merge_attention", "divide_and_conquer_attention"

SPLIT_LINE = "return x.unflatten(-1, (n_heads, d // n_heads)).transpose(-3, -2)"
ATTEND = "heads, _ = scaled_dot_product_attention(q, k, v, mask=mask)"
MERGED_OUT = "out = (weight_a / total).unsqueeze(-1) * out_a + (weight_b / total).unsqueeze(-1) * out_b"
PIECE = "out, lse = (weights / total) @ v[..., start:stop, :], "
NO_KEYS = "return (scores if mask is None else scores.masked_fill(~mask, 0.0)) @ v"
KEYS = "self.w_k = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)"
VALUES = "self.w_v = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)"

PIECES = "n_k = k.shape[-2]"
TOP = "top = torch.maximum(lse_a, lse_b).detach()"
LAST = "self.w_o = nn.Linear(d_model, d_model, bias=bias)"
ROUND = "b, t, _ = x.shape"
TURN = "out, _ = scaled_dot_product_attention(q, k, v, mask=None if mask is None else mask[:, head])"
OWN_SCORES = (
    "scores = (q @ k.mT / math.sqrt({width})).masked_fill(~{mask}, {low})\n"
    "            {heads} = scores.softmax(-1).masked_fill(~{mask}, 0.0) @ v"
)
TOO_LOW_FOR_HALF = (
    "Hidden scores of -1e9: float16 has no such number and fails, and scores may be lower still. Take -inf, or "
    "torch.finfo(scores.dtype).min."
)
KEPT_METHOD = (
    "A copy of the layer (copy.deepcopy) computes with the weights of the layer it was copied from: a function that is kept "
    "in __init__ holds on to them. Use self.w_o in forward."
)
ONLY_WITH_INPUTS = "Where x requires no gradient the weights get none either, though they are what is trained: record always."
ONLY_DOUBLE_HAS_GRADIENTS = (
    "Only in float64 do gradients come back: training is done in float32 and less. Detach nothing, in no dtype."
)


def own_scores(name: str, exercise: str, says: str, low: str):
    """The scores of masked heads computed in the exercise itself, hidden ones set to `low`."""
    if exercise == LOOP:
        masked = OWN_SCORES.format(width="module.head_dim", mask="mask[:, head]", low=low, heads="out")
        old, new = TURN, f"if mask is None:\n            {TURN}\n        else:\n            {masked}"
    else:
        masked = OWN_SCORES.format(width="self.head_dim", mask="mask", low=low, heads="heads")
        old, new = ATTEND, f"if mask is None:\n            {ATTEND}\n        else:\n            {masked}"
    return edit(name, exercise, says, (old, new))


MUTANTS = [
    edit(
        "pieces_of_n_heads_channels",
        "split_heads",
        "x.split(n_heads, -1) cuts pieces of n_heads channels: n_heads pieces are asked for, of d / n_heads each.",
        (SPLIT_LINE, "return torch.stack(x.split(n_heads, dim=-1), dim=1)"),
    ),
    edit(
        "batch_entries_joined",
        "merge_heads",
        "Batch entries were joined, and not heads: a loop over x goes over the batch. x.unbind(1) gives the heads.",
        ("return x.transpose(-3, -2).flatten(-2)", "return torch.cat(list(x), dim=-1)"),
    ),
    edit(
        "shares_without_a_last_dimension",
        MERGE,
        "The shares are (..., n_q) and the outputs (..., n_q, d_v): weigh them with share.unsqueeze(-1).",
        (MERGED_OUT, "out = weight_a / total * out_a + weight_b / total * out_b"),
    ),
    edit(
        "lse_with_a_last_dimension",
        MERGE,
        "lse comes back as (..., n_q, 1), with the last dimension that the outputs needed: (..., n_q) is asked for.",
        ("masked_fill(empty, -torch.inf)", "masked_fill(empty, -torch.inf).unsqueeze(-1)"),
    ),
    edit(
        "the_pair_returned",
        DIVIDE,
        "The pair (out, lse) comes back, which the recursion needs: the result is out alone.",
        ("return attend(0, n_k)[0]", "return attend(0, n_k)"),
    ),
    # split_heads
    edit(
        "split_by_one_reshape",
        "split_heads",
        "A single reshape to (b, h, t, d/h) deals whole positions to the heads. Cut d into (h, d/h) first, then "
        "move h in front of t.",
        (SPLIT_LINE, "return x.reshape(*x.shape[:-2], n_heads, x.shape[-2], d // n_heads)"),
    ),
    edit(
        "heads_interleaved",
        "split_heads",
        "Head i has taken every h-th channel, beginning at i; it should have d/h neighbouring channels: cut d "
        "into (h, d/h), not (d/h, h).",
        (SPLIT_LINE, "return x.unflatten(-1, (d // n_heads, n_heads)).movedim(-1, -3)"),
    ),
    edit(
        "heads_left_behind_time",
        "split_heads",
        "The result is (b, t, h, d/h): the heads still have to move in front of t, to stand beside the batch.",
        (".transpose(-3, -2)", ""),
    ),
    edit(
        "head_width_before_time",
        "split_heads",
        "The last two dimensions are the wrong way round: the result should be (b, h, t, d/h), not (b, h, d/h, t).",
        (".transpose(-3, -2)", ".transpose(-3, -2).mT"),
    ),
    edit(
        "leftover_channels_dropped",
        "split_heads",
        "When n_heads does not divide the width, channels were dropped without a word; raise a ValueError.",
        ("if n_heads < 1 or d % n_heads:", "if n_heads < 1:"),
        ("x.unflatten(", "x[..., : d // n_heads * n_heads].unflatten("),
    ),
    edit(
        "split_as_if_contiguous",
        "split_heads",
        "The strides are those of an x whose rows lie one after the other: x may lie otherwise, so use reshape or unflatten.",
        (
            SPLIT_LINE,
            "b, t = x.shape[:2]\n    return x.as_strided((b, n_heads, t, d // n_heads), (t * d, d // n_heads, d, 1))",
        ),
    ),
    edit(
        "split_detached",
        "split_heads",
        "No gradient comes back through split_heads: do not detach, and use no .data.",
        ("x.unflatten(", "x.detach().unflatten("),
    ),
    edit(
        "split_in_single_precision",
        "split_heads",
        "split_heads only moves numbers; it should not change their dtype.",
        ("x.unflatten(", "x.double().unflatten("),
    ),
    # merge_heads
    edit(
        "merged_without_moving_heads",
        "merge_heads",
        "The heads were joined without moving them behind t first, so positions are mixed: transpose back, then flatten.",
        ("x.transpose(-3, -2).flatten(-2)", "x.reshape(*x.shape[:-3], x.shape[-2], x.shape[-3] * x.shape[-1])"),
    ),
    edit(
        "merged_interleaved",
        "merge_heads",
        "The heads' channels are interleaved; head i belongs into the i-th slice: flatten (h, head_dim), not (head_dim, h).",
        ("x.transpose(-3, -2).flatten(-2)", "x.movedim(-3, -1).flatten(-2)"),
    ),
    edit(
        "heads_averaged",
        "merge_heads",
        "The heads were added up; they should be laid side by side, (b, t, h * head_dim).",
        ("x.transpose(-3, -2).flatten(-2)", "x.sum(-3)"),
    ),
    edit(
        "merged_with_view",
        "merge_heads",
        "After a transpose memory is not contiguous and view refuses: use reshape or flatten, which copy where they must.",
        (".flatten(-2)", ".view(*x.shape[:-3], x.shape[-2], x.shape[-3] * x.shape[-1])"),
    ),
    edit(
        "time_left_behind_heads",
        "merge_heads",
        "The result should be (b, t, h * head_dim): (b, h, t, head_dim) was flattened over t instead of h.",
        ("x.transpose(-3, -2).flatten(-2)", "x.flatten(-2)"),
    ),
    edit(
        "merged_as_if_contiguous",
        "merge_heads",
        "The strides are those of an x whose heads lie one after the other: x may lie otherwise, so transpose and flatten.",
        (
            "return x.transpose(-3, -2).flatten(-2)",
            "b, h, t, d = x.shape\n    return x.as_strided((b, t, h, d), (h * t * d, d, t * d, 1)).flatten(-2)",
        ),
    ),
    edit(
        "merge_detached",
        "merge_heads",
        "No gradient comes back through merge_heads: do not detach, and use no .data.",
        ("x.transpose", "x.detach().transpose"),
    ),
    # MultiHeadAttention
    edit(
        "mask_ignored",
        MHA,
        "The mask makes no difference: it has to be passed on to scaled_dot_product_attention.",
        (ATTEND, "heads, _ = scaled_dot_product_attention(q, k, v)"),
    ),
    edit(
        "mask_inverted",
        MHA,
        "This is what you get when the mask means 'may not attend'; here True means 'may attend'.",
        (ATTEND, "heads, _ = scaled_dot_product_attention(q, k, v, mask=None if mask is None else ~mask)"),
    ),
    edit(
        "output_not_projected",
        MHA,
        "The merged heads were returned as they are: the last step is w_o.",
        ("return self.w_o(merge_heads(heads))", "return merge_heads(heads)"),
    ),
    edit(
        "context_ignored",
        MHA,
        "Keys and values came from x although a context was given: cross-attention takes both from the context.",
        ("context = x if context is None else context", "context = x"),
    ),
    edit(
        "values_from_x",
        MHA,
        "The values came from x; with a context, keys and values both come from it.",
        ("self.w_v(context)", "self.w_v(x)"),
    ),
    edit(
        "keys_from_x",
        MHA,
        "The keys came from x; with a context, keys and values both come from it.",
        ("self.w_k(context)", "self.w_k(x)"),
    ),
    edit(
        "queries_from_context",
        MHA,
        "The queries came from the context; x asks, the context answers.",
        ("self.w_q(x)", "self.w_q(context)"),
    ),
    edit(
        "one_head_over_the_full_width",
        MHA,
        "All heads attended as one: split queries, keys and values before the attention, not after.",
        (
            ATTEND,
            "whole = mask if mask is None or mask.dim() < 3 else mask[..., 0, :, :]\n"
            "        heads = scaled_dot_product_attention(*map(merge_heads, (q, k, v)), mask=whole)[0]\n"
            "        heads = split_heads(heads, self.n_heads)",
        ),
    ),
    edit(
        "scaled_by_the_full_width",
        MHA,
        "The scores were divided by sqrt(d_model); each head divides by the square root of its own width, head_dim.",
        (ATTEND, "heads, _ = scaled_dot_product_attention(q, k, v, mask=mask, scale=x.shape[-1] ** -0.5)"),
    ),
    edit(
        "scale_twice",
        MHA,
        "scaled_dot_product_attention already divides by sqrt(head_dim); dividing once more is one time too many.",
        (ATTEND, "heads, _ = scaled_dot_product_attention(q / math.sqrt(self.head_dim), k, v, mask=mask)"),
    ),
    edit(
        "keys_and_values_swapped",
        MHA,
        "Keys and values have changed places: w_k makes what is compared, w_v what is averaged.",
        (ATTEND, "heads, _ = scaled_dot_product_attention(q, v, k, mask=mask)"),
    ),
    edit(
        "heads_merged_by_reshape",
        MHA,
        "The heads' outputs were reshaped to (b, n_q, d_model) without moving the heads behind the positions: use merge_heads.",
        ("merge_heads(heads)", "heads.reshape(x.shape)"),
    ),
    edit(
        "bias_always_there",
        MHA,
        "With bias=False none of the four layers has a bias.",
        ("self.w_o = nn.Linear(d_model, d_model, bias=bias)", "self.w_o = nn.Linear(d_model, d_model)"),
    ),
    edit(
        "no_output_bias",
        MHA,
        "All four layers have a bias unless bias=False; w_o has none.",
        ("self.w_o = nn.Linear(d_model, d_model, bias=bias)", "self.w_o = nn.Linear(d_model, d_model, bias=False)"),
    ),
    edit(
        "bias_off_by_default",
        MHA,
        "MultiHeadAttention(d_model, n_heads) should have biases: the default is bias=True.",
        ("bias: bool = True", "bias: bool = False"),
    ),
    edit(
        "keys_share_the_values_layer",
        MHA,
        "w_k and w_v are one and the same layer here; they are two, with weights of their own.",
        ("self.w_v = nn.Linear(d_model, d_model, bias=bias)", "self.w_v = self.w_k"),
    ),
    edit(
        "any_width_accepted",
        MHA,
        "A d_model that n_heads does not divide should be refused when the module is built, with a ValueError.",
        ("if n_heads < 1 or d_model % n_heads:", "if n_heads < 1:"),
    ),
    edit(
        "refused_by_assert",
        MHA,
        "A bad argument was refused by assert; python -O skips assertions. Raise a ValueError that names the argument.",
        (
            "if n_heads < 1 or d_model % n_heads:",
            "assert d_model % n_heads == 0\n        if n_heads < 1 or d_model % n_heads:",
        ),
    ),
    edit(
        "mask_changed_in_place",
        MHA,
        "The caller's mask was changed in place: a name that ends in an underscore writes into its tensor.",
        (ATTEND, "mask = mask if mask is None else ~mask.logical_not_()\n        " + ATTEND),
    ),
    edit(
        "head_dim_a_float",
        MHA,
        "head_dim is a whole number: d_model // n_heads.",
        ("self.head_dim = d_model // n_heads", "self.head_dim = d_model / n_heads"),
    ),
    edit(
        "projections_detached",
        MHA,
        "Some weights get no gradient: nothing between the inputs and the result may be detached.",
        ("split_heads(self.w_k(context), self.n_heads)", "split_heads(self.w_k(context).detach(), self.n_heads)"),
    ),
    edit(
        "residual_added",
        MHA,
        "x was added to the result. The residual connection belongs to the block around this module, not into it.",
        ("return self.w_o(merge_heads(heads))", "return x + self.w_o(merge_heads(heads))"),
    ),
    edit(
        "computed_in_single_precision",
        MHA,
        "The output is float32 whatever the input was; keep the input's dtype.",
        ("return self.w_o(merge_heads(heads))", "return self.w_o(merge_heads(heads)).float()"),
    ),
    edit(
        "half_a_dropout",
        MHA,
        "Two equal calls give different outputs: there is no dropout here, and no other randomness.",
        ("self.w_o(merge_heads(heads))", "self.w_o(F.dropout(merge_heads(heads), 0.1))"),
    ),
    edit(
        "empty_rows_uniform",
        MHA,
        "A query that may attend to nothing was given the mean of all values; every head should give it zeros.",
        (
            ATTEND,
            "scores = q @ k.mT / math.sqrt(self.head_dim)\n"
            "        heads = (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-1) @ v",
        ),
    ),
    edit(
        "empty_rows_nan",
        MHA,
        "A query that may attend to nothing gets NaN, because softmax over nothing but -inf is 0 / 0. It should get zeros.",
        (
            ATTEND,
            "scores = q @ k.mT / math.sqrt(self.head_dim)\n"
            "        heads = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1) @ v",
        ),
    ),
    edit(
        "empty_rows_patched_afterwards",
        MHA,
        "The output is right, but where a query may attend to nothing gradients are NaN: -inf was added to its scores, "
        "and nan_to_num after the softmax is too late.",
        (
            ATTEND,
            "scores = q @ k.mT / math.sqrt(self.head_dim)\n"
            "        scores = scores if mask is None else scores + torch.zeros(()).where(mask, -torch.inf)\n"
            "        heads = scores.softmax(-1).nan_to_num(0.0) @ v",
        ),
    ),
    # attention_per_head
    edit(
        "the_module_called_as_it_is",
        LOOP,
        "This computes all heads at once. The exercise asks for one head at a time, so that no tensor holds all heads' scores.",
        ("b, t, _ = x.shape", "return module(x, mask=mask)"),
    ),
    edit(
        "mask_of_the_first_head",
        LOOP,
        "Every head used the first head's mask: head i uses mask[:, i], after expanding the mask to (b, h, t, t).",
        ("mask[:, head]", "mask[:, 0]"),
    ),
    edit(
        "mask_forgotten_in_the_loop",
        LOOP,
        "The mask makes no difference: pass each head its own part of it.",
        ("mask=None if mask is None else mask[:, head]", "mask=None"),
    ),
    edit(
        "mask_cut_along_the_batch",
        LOOP,
        "The mask was cut along the batch instead of along the heads: mask[:, head], not mask[head].",
        ("mask[:, head]", "mask[head % b].unsqueeze(0)[:, head]"),
    ),
    edit(
        "columns_instead_of_rows",
        LOOP,
        "A head's part of a linear layer is a slice of the rows of its weight, for the layer computes x @ "
        "weight.T; columns were taken.",
        ("F.linear(x, layer.weight[rows],", "F.linear(x, layer.weight[:, rows].T,"),
    ),
    edit(
        "bias_forgotten_in_the_loop",
        LOOP,
        "The biases of w_q, w_k and w_v were left out: each head needs its slice of them.",
        ("None if layer.bias is None else layer.bias[rows]", "None"),
    ),
    edit(
        "a_bias_taken_for_granted",
        LOOP,
        "With bias=False the layers' bias is None and cannot be cut: handle that.",
        ("None if layer.bias is None else layer.bias[rows]", "layer.bias[rows]"),
    ),
    edit(
        "output_layer_forgotten_in_the_loop",
        LOOP,
        "The heads' outputs were concatenated but not sent through w_o.",
        ("return module.w_o(torch.cat(heads, dim=-1))", "return torch.cat(heads, dim=-1)"),
    ),
    edit(
        "heads_joined_in_reverse",
        LOOP,
        "The heads' outputs lie in the wrong order: head i belongs into the i-th slice of the width.",
        ("torch.cat(heads, dim=-1)", "torch.cat(heads[::-1], dim=-1)"),
    ),
    edit(
        "output_bias_once_per_head",
        LOOP,
        "w_o was applied to every head by itself and the results added, so its bias was added once per head instead of once.",
        (
            "return module.w_o(torch.cat(heads, dim=-1))",
            "parts = module.w_o.weight.split(module.head_dim, dim=1)\n"
            "    return sum(F.linear(out, part, module.w_o.bias) for out, part in zip(heads, parts))",
        ),
    ),
    edit(
        "weights_detached_in_the_loop",
        LOOP,
        "No gradient reaches w_q, w_k and w_v: use the parameters themselves, not .data or detached copies.",
        ("F.linear(x, layer.weight[rows],", "F.linear(x, layer.weight.data[rows],"),
    ),
    edit(
        "scaled_by_the_full_width_in_the_loop",
        LOOP,
        "The scores were divided by sqrt(d_model); each head divides by the square root of its own width, head_dim.",
        ("scaled_dot_product_attention(q, k, v, ", "scaled_dot_product_attention(q, k, v, scale=x.shape[-1] ** -0.5, "),
    ),
    edit(
        "two_dimensional_masks_only",
        LOOP,
        "A mask with fewer or more dimensions than (t, t) was not understood: expand any mask to (b, h, t, t) first.",
        ("mask = mask.expand(b, module.n_heads, t, t)", "mask = mask.reshape(t, t).expand(b, module.n_heads, t, t)"),
    ),
    # merge_attention
    edit(
        "plain_mean_of_the_parts",
        MERGE,
        "The two outputs were averaged with equal weight; each counts by exp(lse), its share of the denominator.",
        (MERGED_OUT, "out = (out_a + out_b) / 2"),
    ),
    edit(
        "parts_added_up",
        MERGE,
        "The outputs were added, but each is already divided by its own part's denominator: weigh them by exp(lse - merged lse).",
        (MERGED_OUT, "out = out_a + out_b"),
    ),
    edit(
        "weighted_by_lse_itself",
        MERGE,
        "The outputs were weighted by lse; lse is a logarithm, and its exponential is the weight.",
        (MERGED_OUT, "out = (out_a * lse_a[..., None] + out_b * lse_b[..., None]) / (lse_a + lse_b)[..., None]"),
    ),
    edit(
        "weights_swapped",
        MERGE,
        "Each output was weighted with the other side's share.",
        (MERGED_OUT, "out = (weight_b / total).unsqueeze(-1) * out_a + (weight_a / total).unsqueeze(-1) * out_b"),
    ),
    edit(
        "not_divided_by_the_total",
        MERGE,
        "The weights do not add up to one: divide by their sum.",
        (MERGED_OUT, "out = weight_a.unsqueeze(-1) * out_a + weight_b.unsqueeze(-1) * out_b"),
    ),
    edit(
        "maximum_not_added_back",
        MERGE,
        "The maximum was subtracted before exp but not added back to the merged lse.",
        ("(top + total.log())", "total.log()"),
    ),
    edit(
        "lse_added",
        MERGE,
        "The two lse were added; the merged one is log(exp(lse_a) + exp(lse_b)).",
        ("return out, (top + total.log()).masked_fill(empty, -torch.inf)", "return out, lse_a + lse_b"),
    ),
    edit(
        "lse_of_the_larger",
        MERGE,
        "The merged lse is larger than either: log(exp(lse_a) + exp(lse_b)), not their maximum.",
        ("(top + total.log())", "top"),
    ),
    edit(
        "merged_sum_instead_of_its_log",
        MERGE,
        "The second result is the sum of exponentials; lse is its logarithm.",
        ("(top + total.log()).masked_fill(empty, -torch.inf)", "(top.exp() * total).masked_fill(empty, 0.0)"),
    ),
    edit(
        "base_two",
        MERGE,
        "The merged lse uses the logarithm to base 2; it is the natural logarithm.",
        ("total.log()", "total.log2()"),
    ),
    edit(
        "no_shift",
        MERGE,
        "exp overflows for a large lse and underflows for a very negative one: subtract the larger of the two first.",
        ("top = torch.maximum(lse_a, lse_b).detach()", "top = torch.zeros_like(torch.maximum(lse_a, lse_b))"),
    ),
    edit(
        "always_shifted_by_the_first",
        MERGE,
        "Everything was shifted by lse_a, which is not always the larger one: exp(lse_b - lse_a) can overflow.",
        ("top = torch.maximum(lse_a, lse_b).detach()", "top = lse_a.detach()"),
    ),
    edit(
        "two_empty_sides_nan",
        MERGE,
        "Where both sides are empty, -inf minus -inf made NaN: shift by 0 there.",
        ("top = top.masked_fill(top == -torch.inf, 0.0)", "top = top + 0.0"),
    ),
    edit(
        "empty_side_as_zero",
        MERGE,
        "An lse of -inf was taken for 0, so that an empty side counts as much as a score of 0; it should count for nothing.",
        (
            "top = torch.maximum(lse_a, lse_b).detach()",
            "lse_a, lse_b = lse_a.nan_to_num(neginf=0.0), lse_b.nan_to_num(neginf=0.0)\n    top = "
            "torch.maximum(lse_a, lse_b).detach()",
        ),
    ),
    edit(
        "empty_lse_zero",
        MERGE,
        "Where both sides are empty the merged lse came out as 0; it is -inf, or the next merge counts a part that is not there.",
        (".masked_fill(empty, -torch.inf)", ""),
    ),
    edit(
        "only_out_returned",
        MERGE,
        "merge_attention returns two tensors, (out, lse).",
        ("return out, (top + total.log()).masked_fill(empty, -torch.inf)", "return out"),
    ),
    edit(
        "one_side_detached",
        MERGE,
        "lse_a was cut from the graph: both sides' lse need gradients. Only the maximum may be detached.",
        ("weight_a, weight_b = (lse_a - top).exp()", "weight_a, weight_b = (lse_a.detach() - top).exp()"),
    ),
    edit(
        "other_side_detached",
        MERGE,
        "lse_b was cut from the graph: both sides' lse need gradients. Only the maximum may be detached.",
        (", (lse_b - top).exp()", ", (lse_b.detach() - top).exp()"),
    ),
    edit(
        "weights_detached",
        MERGE,
        "The weights were cut from the graph: lse_a and lse_b need gradients too. Only the maximum may be detached.",
        (
            "weight_a, weight_b = (lse_a - top).exp(), (lse_b - top).exp()",
            "weight_a, weight_b = (lse_a - top).exp().detach(), (lse_b - top).exp().detach()",
        ),
    ),
    edit(
        "nan_in_the_gradient_only",
        MERGE,
        "The values are right, but where both sides are empty gradients are NaN: torch.where after logaddexp is too late.",
        (
            "return out, (top + total.log()).masked_fill(empty, -torch.inf)",
            "return out, torch.logaddexp(lse_a, lse_b)",
        ),
    ),
    edit(
        "merged_in_place",
        MERGE,
        "merge_attention changed its inputs: out_a *= w writes into the caller's tensor.",
        (MERGED_OUT, "out = out_a.mul_((weight_a / total)[..., None]).add_((weight_b / total)[..., None] * out_b)"),
    ),
    edit(
        "always_double",
        MERGE,
        "The result is float64 whatever came in; it should have its inputs' dtype.",
        (MERGED_OUT, MERGED_OUT + "\n    out = out.double()"),
    ),
    # divide_and_conquer_attention
    edit(
        "scale_forgotten",
        DIVIDE,
        "The scores were not divided by sqrt(d_k).",
        ("q = q / math.sqrt(q.shape[-1])", "q = q + 0.0"),
    ),
    edit(
        "scaled_in_place",
        DIVIDE,
        "The caller's q was scaled in place: write q = q / s, not q /= s.",
        ("q = q / math.sqrt(q.shape[-1])", "q /= math.sqrt(q.shape[-1])"),
    ),
    edit(
        "scaled_by_the_value_width",
        DIVIDE,
        "The scale is 1 / sqrt(d_k), the width of queries and keys, not of the values.",
        ("q = q / math.sqrt(q.shape[-1])", "q = q / math.sqrt(v.shape[-1])"),
    ),
    edit(
        "mask_ignored_in_the_pieces",
        DIVIDE,
        "The mask makes no difference: each piece needs its own columns of it.",
        ("scores = scores.masked_fill(~mask[..., start:stop], -torch.inf)", "scores = scores + 0.0"),
    ),
    edit(
        "mask_meaning_inverted",
        DIVIDE,
        "This is what you get when the mask means 'may not attend'; here True means 'may attend'.",
        ("~mask[..., start:stop]", "mask[..., start:stop]"),
    ),
    edit(
        "first_columns_of_the_mask",
        DIVIDE,
        "Every piece used the first columns of the mask; piece start:stop needs the columns start:stop.",
        ("~mask[..., start:stop]", "~mask[..., : stop - start]"),
    ),
    edit(
        "mask_not_expanded_over_keys",
        DIVIDE,
        "A mask whose last dimension is 1 stands for every key: expand it to n_k columns before cutting it into pieces.",
        ("mask = mask.expand(*mask.shape[:-1], n_k)", "mask = mask.view_as(mask)"),
    ),
    edit(
        "last_key_dropped",
        DIVIDE,
        "Halves of an odd number of keys lost one: the second half goes from the middle to the end.",
        ("attend(middle, stop))", "attend(middle, middle + (stop - start) // 2))"),
    ),
    edit(
        "only_whole_blocks",
        DIVIDE,
        "Keys behind the last whole block were left out: n_k need not be a multiple of block.",
        ("return attend(0, n_k)[0]", "return attend(0, max(n_k // block * block, 1))[0]"),
    ),
    edit(
        "halves_averaged",
        DIVIDE,
        "The halves' outputs were averaged; merge_attention weighs them by their log-sum-exp.",
        (
            "return merge_attention(*attend(start, middle), *attend(middle, stop))",
            "(a, m), (b, n) = attend(start, middle), attend(middle, stop)\n            return (a + b) / 2, torch.maximum(m, n)",
        ),
    ),
    edit(
        "pieces_lse_without_maximum",
        DIVIDE,
        "A piece's log-sum-exp lacks the maximum that was subtracted before exp, so that the pieces are weighed wrongly.",
        ("(top + total.log())", "total.log()"),
    ),
    edit(
        "pieces_lse_without_sum",
        DIVIDE,
        "A piece's lse is only its maximum; add the logarithm of the sum of exponentials.",
        ("(top + total.log())", "top"),
    ),
    edit(
        "pieces_not_normalised",
        DIVIDE,
        "A piece's output was not divided by its sum of exponentials; merge_attention expects weighted means.",
        ("(weights / total) @", "weights @"),
    ),
    edit(
        "one_value_piece_for_all",
        DIVIDE,
        "Every piece took the first values; keys start:stop go with the values start:stop.",
        ("@ v[..., start:stop, :]", "@ v[..., : stop - start, :]"),
    ),
    edit(
        "all_at_once",
        DIVIDE,
        "All scores were formed at once: memory grows with n_q * n_k. Cut the keys in half until at most block are left.",
        ("if stop - start > block:", "if stop - start > max(block, n_k):"),
    ),
    edit(
        "pieces_twice_the_block",
        DIVIDE,
        "The recursion stopped too early: a piece may have at most block keys.",
        ("if stop - start > block:", "if stop - start > 2 * block:"),
    ),
    edit(
        "never_ending_halving",
        DIVIDE,
        "With block = 1 the halving never ends: a piece of exactly block keys is small enough.",
        ("if stop - start > block:", "if stop - start >= block:"),
    ),
    edit(
        "one_block_peeled_off_at_a_time",
        DIVIDE,
        "One block was cut off at each step, n_k / block calls deep; halving is only log2(n_k / block) deep.",
        ("middle = (start + stop) // 2", "middle = start + block"),
    ),
    edit(
        "zero_blocks_accepted",
        DIVIDE,
        "A block below 1 should be refused with a ValueError.",
        ("    if block < 1:\n", "    block = max(block, 1)\n    if block < 1:\n"),
    ),
    edit(
        "no_keys_no_answer",
        DIVIDE,
        "Without a single key the output is zeros of shape (..., n_q, d_v): an empty piece has no maximum to take.",
        ("if n_k == 0:", "if n_k < 0:"),
    ),
    edit(
        "no_keys_wrong_width",
        DIVIDE,
        "Without keys the zeros have the wrong width: the output is (..., n_q, d_v).",
        (NO_KEYS, "return torch.zeros_like(q)"),
    ),
    edit(
        "empty_piece_nan",
        DIVIDE,
        "A row without a key to attend to in one piece became NaN: its maximum is -inf, and -inf minus -inf is NaN.",
        ("top = top.masked_fill(top == -torch.inf, 0.0)", "top = top + 0.0"),
    ),
    edit(
        "empty_piece_counts",
        DIVIDE,
        "A piece in which a row may attend to nothing must have lse -inf there; here it counts in the merge.",
        (".masked_fill(empty, -torch.inf)", ""),
    ),
    edit(
        "large_negative_instead_of_minus_infinity",
        DIVIDE,
        "A large negative number in place of -inf makes a row that may attend to nothing the mean of all values; "
        "it should be zero.",
        ("-torch.inf)\n        top", "-1e9)\n        top"),
    ),
    edit(
        "no_maximum_subtracted",
        DIVIDE,
        "exp overflows for large scores: subtract each row's maximum first.",
        ("top = scores.detach().amax(-1, keepdim=True)", "top = torch.zeros_like(scores[..., :1])"),
    ),
    edit(
        "pieces_without_gradient",
        DIVIDE,
        "No gradient flows through the weights: detach the maximum only.",
        ("weights = (scores - top).exp()", "weights = (scores - top).exp().detach()"),
    ),
    edit(
        "pieces_lse_without_gradient",
        DIVIDE,
        "The values are right, the gradients are not: the pieces' log-sum-exp needs gradients too.",
        ("(top + total.log())", "(top + total.detach().log())"),
    ),
    edit(
        "mask_only_as_large_as_the_scores",
        DIVIDE,
        "A mask may have leading dimensions that q and k do not have; masked_fill_ in place cannot grow the scores.",
        ("scores = scores.masked_fill(", "scores = scores.clone().masked_fill_("),
    ),
    # GroupedQueryAttention
    edit(
        "key_heads_taken_in_turn",
        GQA,
        "The key heads were used in turn, 0 1 0 1; neighbouring query heads share one: 0 0 1 1 (repeat_interleave, not repeat).",
        (
            "k = split_heads(self.w_k(context), self.n_kv_heads).repeat_interleave(group, dim=1)",
            "k = split_heads(self.w_k(context), self.n_kv_heads).repeat(1, group, 1, 1)",
        ),
        (
            "v = split_heads(self.w_v(context), self.n_kv_heads).repeat_interleave(group, dim=1)",
            "v = split_heads(self.w_v(context), self.n_kv_heads).repeat(1, group, 1, 1)",
        ),
    ),
    edit(
        "value_heads_taken_in_turn",
        GQA,
        "Keys and values of one query head come from different shared heads: both are repeated in the same way, 0 0 1 1.",
        (
            "v = split_heads(self.w_v(context), self.n_kv_heads).repeat_interleave(group, dim=1)",
            "v = split_heads(self.w_v(context), self.n_kv_heads).repeat(1, group, 1, 1)",
        ),
    ),
    edit(
        "first_key_head_for_all",
        GQA,
        "All query heads used the first key and value head; query head i uses head i // group.",
        (
            "k = split_heads(self.w_k(context), self.n_kv_heads).repeat_interleave(group, dim=1)",
            "k = split_heads(self.w_k(context), self.n_kv_heads)[:, :1].expand(-1, self.n_heads, -1, -1)",
        ),
        (
            "v = split_heads(self.w_v(context), self.n_kv_heads).repeat_interleave(group, dim=1)",
            "v = split_heads(self.w_v(context), self.n_kv_heads)[:, :1].expand(-1, self.n_heads, -1, -1)",
        ),
    ),
    edit(
        "key_width_from_the_query_width",
        GQA,
        "w_k and w_v make d_model channels here. Let them make n_kv_heads * head_dim, with head_dim = d_model / n_heads.",
        (KEYS, "self.w_k = nn.Linear(d_model, d_model, bias=bias)"),
        (VALUES, "self.w_v = nn.Linear(d_model, d_model, bias=bias)"),
        ("split_heads(self.w_k(context), self.n_kv_heads)", "split_heads(self.w_k(context), self.n_heads)[:, ::group]"),
        ("split_heads(self.w_v(context), self.n_kv_heads)", "split_heads(self.w_v(context), self.n_heads)[:, ::group]"),
    ),
    edit(
        "wider_key_heads",
        GQA,
        "Fewer key heads do not become wider: every head has head_dim = d_model / n_heads channels.",
        ("self.head_dim = d_model // n_heads", "self.head_dim = d_model // n_kv_heads"),
    ),
    edit(
        "any_sharing_accepted",
        GQA,
        "n_kv_heads must divide n_heads; anything else should be refused with a ValueError.",
        ("if n_kv_heads < 1 or n_heads % n_kv_heads:", "if n_kv_heads < 1:"),
    ),
    edit(
        "any_width_accepted_in_groups",
        GQA,
        "A d_model that n_heads does not divide should be refused when the module is built, with a ValueError.",
        ("if n_heads < 1 or d_model % n_heads:", "if n_heads < 1:"),
    ),
    edit(
        "mask_ignored_in_groups",
        GQA,
        "The mask makes no difference: it has to be passed on to scaled_dot_product_attention.",
        (ATTEND, "heads, _ = scaled_dot_product_attention(q, k, v)"),
    ),
    edit(
        "context_ignored_in_groups",
        GQA,
        "Keys and values came from x although a context was given: cross-attention takes both from the context.",
        ("context = x if context is None else context", "context = x"),
    ),
    edit(
        "bias_of_keys_always_there",
        GQA,
        "With bias=False none of the four layers has a bias.",
        (KEYS, "self.w_k = nn.Linear(d_model, n_kv_heads * self.head_dim)"),
    ),
    edit(
        "shared_heads_detached",
        GQA,
        "w_v gets no gradient: repeat the heads without cutting the graph.",
        ("split_heads(self.w_v(context), self.n_kv_heads)", "split_heads(self.w_v(context), self.n_kv_heads).detach()"),
    ),
    edit(
        "number_of_shared_heads_not_kept",
        GQA,
        "The attribute n_kv_heads is missing or wrong: whoever builds a cache for this module needs to read it.",
        ("self.n_kv_heads = n_kv_heads", "self.n_kv_heads = n_heads // n_kv_heads"),
        ("self.n_heads // self.n_kv_heads", "self.n_kv_heads"),
        ("self.w_k(context), self.n_kv_heads", "self.w_k(context), self.n_heads // self.n_kv_heads"),
        ("self.w_v(context), self.n_kv_heads", "self.w_v(context), self.n_heads // self.n_kv_heads"),
    ),
    edit(
        "split_mixed_beyond_64_positions",
        "split_heads",
        "From some size on the heads are mixtures of positions: there is no largest size.",
        (SPLIT_LINE, "x = x if x.shape[-2] <= 64 else x.mT.reshape(x.shape)\n    " + SPLIT_LINE),
    ),
    edit(
        "split_detached_but_in_float64",
        "split_heads",
        ONLY_DOUBLE_HAS_GRADIENTS,
        (SPLIT_LINE, "x = x if x.dtype == torch.float64 else x.detach()\n    " + SPLIT_LINE),
    ),
    edit(
        "split_into_floats",
        "split_heads",
        "Whole numbers became floating-point ones: split_heads only moves numbers.",
        (SPLIT_LINE, "x = x if x.is_floating_point() else x.float()\n    " + SPLIT_LINE),
    ),
    edit(
        "merge_of_at_most_eight_heads",
        "merge_heads",
        "Heads from the ninth on are laid out in another order: there is no largest number of heads.",
        ("return x.", "x = x if x.shape[-3] <= 8 else x.flip(-3)\n    return x."),
    ),
    own_scores("minus_a_thousand_million_in_half_precision", MHA, TOO_LOW_FOR_HALF, "-1e9"),
    own_scores("minus_a_thousand_million_in_half_precision_in_groups", GQA, TOO_LOW_FOR_HALF, "-1e9"),
    own_scores("minus_a_thousand_million_in_half_precision_in_the_loop", LOOP, TOO_LOW_FOR_HALF, "-1e9"),
    own_scores(
        "hidden_scores_are_only_minus_60000",
        MHA,
        "Where all scores are very low, hidden keys got weight: no number such as -60000 is lower than any score. Take -inf, "
        "or torch.finfo(scores.dtype).min.",
        "-6e4",
    ),
    edit(
        "output_layer_kept_in_a_function",
        MHA,
        KEPT_METHOD,
        (LAST, LAST + "\n        self._out = lambda heads: self.w_o(merge_heads(heads))"),
        ("return self.w_o(merge_heads(heads))", "return self._out(heads)"),
    ),
    edit(
        "output_layer_kept_in_a_function_in_groups",
        GQA,
        KEPT_METHOD,
        (LAST, LAST + "\n        self._out = lambda heads: self.w_o(merge_heads(heads))"),
        ("return self.w_o(merge_heads(heads))", "return self._out(heads)"),
    ),
    edit(
        "no_gradients_for_weights_alone",
        MHA,
        ONLY_WITH_INPUTS,
        ("return self.w_o(merge_heads(heads))", "return self.w_o(merge_heads(heads if x.requires_grad else heads.detach()))"),
    ),
    edit(
        "no_gradients_for_weights_alone_in_groups",
        GQA,
        ONLY_WITH_INPUTS,
        ("return self.w_o(merge_heads(heads))", "return self.w_o(merge_heads(heads if x.requires_grad else heads.detach()))"),
    ),
    edit(
        "no_gradients_for_weights_alone_in_the_loop",
        LOOP,
        ONLY_WITH_INPUTS,
        ("heads.append(out)", "heads.append(out if x.requires_grad else out.detach())"),
    ),
    edit(
        "gradients_in_double_precision_only",
        MHA,
        ONLY_DOUBLE_HAS_GRADIENTS,
        (ATTEND, "k = k if k.dtype == torch.float64 else k.detach()\n        " + ATTEND),
    ),
    edit(
        "at_most_eight_heads",
        MHA,
        "With more than eight heads the values of the others are lost: there is no largest number of heads.",
        (ATTEND, "v = torch.cat([v[:, :8], torch.zeros_like(v[:, 8:])], dim=1)\n        " + ATTEND),
    ),
    edit(
        "few_heads_all_at_once",
        LOOP,
        "Where x is short all heads are computed at once: one head at a time, however little there is to do.",
        (ROUND, "if x.shape[1] < 40:\n        return module(x, mask=mask)\n    " + ROUND),
    ),
    edit(
        "all_heads_at_once_while_gradients_are_on",
        LOOP,
        "While gradients are recorded all heads are computed at once: training needs the memory most.",
        (ROUND, "if torch.is_grad_enabled():\n        return module(x, mask=mask)\n    " + ROUND),
    ),
    edit(
        "merged_with_gradients_in_double_precision_only",
        MERGE,
        ONLY_DOUBLE_HAS_GRADIENTS,
        (TOP, "lse_a = lse_a if lse_a.dtype == torch.float64 else lse_a.detach()\n    " + TOP),
    ),
    edit(
        "merged_otherwise_without_gradients",
        MERGE,
        "Under torch.no_grad() the result is another: whether gradients are recorded makes no difference to values.",
        (TOP, "lse_a = lse_a if torch.is_grad_enabled() else lse_a + 1\n    " + TOP),
    ),
    edit(
        "short_sequences_all_at_once",
        DIVIDE,
        "Up to some length all keys are scored at once: block alone says how many scores may be held.",
        (PIECES, PIECES + "\n    block = n_k if block and 0 < n_k <= 64 else block"),
    ),
    edit(
        "blocks_of_at_least_eight",
        DIVIDE,
        "Small blocks are made larger: a piece has at most block keys, however few that are.",
        (PIECES, PIECES + "\n    block = max(block, 8)"),
    ),
    edit(
        "peeled_off_under_a_mask",
        DIVIDE,
        "With a mask one block at a time is peeled off, so that the recursion is as deep as there are blocks: cut in the middle.",
        ("middle = (start + stop) // 2", "middle = (start + stop) // 2 if mask is None else start + block"),
    ),
    edit(
        "scored_twice_under_a_mask",
        DIVIDE,
        "With a mask each key is scored twice: once is enough, masked or not.",
        ("            scores = scores.masked_fill(", "            scores = (q @ k[..., start:stop, :].mT).masked_fill("),
    ),
    edit(
        "keys_without_gradient_where_no_query_needs_one",
        DIVIDE,
        "Where q requires no gradient k gets none: each input has its own.",
        (PIECES, PIECES + "\n    k = k if q.requires_grad else k.detach()"),
    ),
    edit(
        "hidden_scores_are_only_minus_a_thousand_million",
        DIVIDE,
        "A hidden key counted where all others have very low scores: no number such as -1e9 is lower than any score. Use -inf.",
        (
            "scores.masked_fill(~mask[..., start:stop], -torch.inf)",
            "scores.masked_fill(~mask[..., start:stop], -1e9 if scores.dtype == torch.float64 else -torch.inf)",
        ),
        (
            "return attend(0, n_k)[0]",
            "out = attend(0, n_k)[0]\n    return out if mask is None else out * mask.any(-1, keepdim=True)",
        ),
    ),
]


@mutant(
    DIVIDE,
    "The mask was applied after the softmax, so the weights of the other keys do not add up to one: mask before exp.",
)
def masked_after_the_softmax(q, k, v, block, mask=None):
    if block < 1:
        raise ValueError("block must be at least 1")
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return (weights if mask is None else weights * mask) @ v


@mutant(MHA, "The heads share one narrow projection: w_q, w_k and w_v are d_model x d_model, a slice for every head.")
class MultiHeadAttentionNarrow(nn.Module):
    def __init__(self, d_model, n_heads, bias=True):
        super().__init__()
        if d_model % n_heads:
            raise ValueError("n_heads must divide d_model")
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        self.w_q = nn.Linear(self.head_dim, self.head_dim, bias=bias)
        self.w_k = nn.Linear(self.head_dim, self.head_dim, bias=bias)
        self.w_v = nn.Linear(self.head_dim, self.head_dim, bias=bias)
        self.w_o = nn.Linear(d_model, d_model, bias=bias)

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        q, k, v = (split_heads(y, self.n_heads) for y in (x, context, context))
        return self.w_o(merge_heads(scaled_dot_product_attention(self.w_q(q), self.w_k(k), self.w_v(v), mask)[0]))


@mutant(
    GQA,
    "The query heads of a group were averaged; only keys and values are shared, every query head attends by itself.",
)
class GroupedQueryAttentionAveraged(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, bias=True):
        super().__init__()
        if d_model % n_heads or n_heads % n_kv_heads:
            raise ValueError("the heads do not divide")
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, d_model // n_heads
        self.w_q, self.w_o = (nn.Linear(d_model, d_model, bias=bias) for _ in range(2))
        self.w_k, self.w_v = (nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias) for _ in range(2))

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        group = self.n_heads // self.n_kv_heads
        q = split_heads(self.w_q(x), self.n_heads).unflatten(1, (self.n_kv_heads, group)).mean(2)
        k, v = (split_heads(layer(context), self.n_kv_heads) for layer in (self.w_k, self.w_v))
        mask = mask[..., ::group, :, :] if mask is not None and mask.dim() > 2 and mask.shape[-3] > 1 else mask
        heads = scaled_dot_product_attention(q, k, v, mask=mask)[0]
        return self.w_o(merge_heads(heads.repeat_interleave(group, dim=1)))


MUTANTS += [
    edit(
        "hidden_scores_are_only_small",
        DIVIDE,
        "Hidden keys get a score of -10,000, and visible ones may have less: mask with -inf.",
        ("~mask[..., start:stop], -torch.inf", "~mask[..., start:stop], -1e4"),
        (
            "    return attend(0, n_k)[0]",
            "    out = attend(0, n_k)[0]\n    return out if mask is None else out.masked_fill(~mask.any(-1, keepdim=True), 0.0)",
        ),
    ),
    edit(
        "random_state_reset_by_merging",
        "merge_heads",
        "The call sets PyTorch's global seed: nothing here is random.",
        ("    return", "    torch.manual_seed(0)\n    return"),
    ),
    edit(
        "another_scale_in_evaluation",
        MHA,
        "The layer answers differently in evaluation mode: nothing here depends on the mode.",
        ("self.w_o(merge_heads(heads))", "self.w_o(merge_heads(heads) * (1.0 if self.training else 0.9))"),
    ),
    edit(
        "masks_of_all_keys_or_none_ignored",
        LOOP,
        "A mask of shape (t, 1), which hides all keys from some queries, broadcasts over the keys like any other.",
        (
            "mask.expand(b, module.n_heads, t, t)",
            "mask[..., :1, :].expand(b, module.n_heads, t, t) if mask.shape[-1] < t else mask.expand(b, module.n_heads, t, t)",
        ),
    ),
]


MUTANTS += [
    edit(
        "half_precision_widened",
        "split_heads",
        "A float16 x comes back as float32: splitting moves numbers and leaves their dtype alone.",
        ("    return x.unflatten", "    x = x.float() if x.dtype == torch.float16 else x\n    return x.unflatten"),
    ),
    edit(
        "half_precision_merged_wider",
        "merge_heads",
        "A float16 x comes back as float32: merging moves numbers and leaves their dtype alone.",
        ("x.transpose(-3, -2)", "(x.float() if x.dtype == torch.float16 else x).transpose(-3, -2)"),
    ),
    edit(
        "seed_set_by_the_layer",
        MHA,
        "Making a layer sets PyTorch's seed, so all layers start alike: leave the seed alone.",
        ("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ),
    edit(
        "mask_of_the_first_call",
        MHA,
        "The mask of the first call is used for all later ones: keep nothing of a call.",
        (
            "heads, _ = ",
            "if mask is not None:\n            mask = self.__dict__.setdefault('_masks', {}).setdefault(mask.shape, "
            "mask)\n        heads, _ = ",
        ),
    ),
    edit(
        "keys_of_the_first_call",
        MHA,
        "Keys and values are kept for each context, though the weights or the context may change: compute them anew.",
        (
            "heads, _ = ",
            "k, v = self.__dict__.setdefault('_memory', {}).setdefault(context.data_ptr(), (k, v))\n        heads, _ = ",
        ),
    ),
    edit(
        "half_precision_refused",
        MHA,
        "A half-precision layer fails: heads are widened to float32 and w_o does not take them. Keep the dtype.",
        (
            "scaled_dot_product_attention(q, k, v, mask=mask)",
            "scaled_dot_product_attention(*(y if y.dtype == torch.float64 else y.float() for y in (q, k, v)), mask=mask)",
        ),
    ),
    edit(
        "module_put_into_evaluation",
        LOOP,
        "The module is left in evaluation mode: a function that uses a module does not change it.",
        ("heads = []", "heads = []\n    module.eval()"),
    ),
    edit(
        "first_side_passed_on_where_both_are_empty",
        "merge_attention",
        "Where both sets are empty, out_a comes back as it is: whatever stands there counts for nothing, the result is zero.",
        ("    return out, (top", "    out = torch.where(empty.unsqueeze(-1), out_a, out)\n    return out, (top"),
    ),
    edit(
        "mean_where_both_are_empty",
        MERGE,
        "Where both sets are empty the mean of out_a and out_b comes back: what stands there counts for nothing, the result is "
        "zero.",
        ("    return out, (top", "    out = torch.where(empty.unsqueeze(-1), (out_a + out_b) / 2, out)\n    return out, (top"),
    ),
    edit(
        "lowest_number_taken_for_empty",
        MERGE,
        "An lse of the dtype's lowest finite number is taken for that of an empty set: only -inf says that a set is empty.",
        (
            "    return out, (top",
            "    empty = torch.maximum(lse_a, lse_b) <= torch.finfo(lse_a.dtype).min\n"
            "    out = out.masked_fill(empty.unsqueeze(-1), 0.0)\n    return out, (top",
        ),
    ),
    edit(
        "merged_into_the_first_side_of_several_heads",
        MERGE,
        "In a batch with heads the result is written into the caller's out_a: make a new tensor, whatever the dimensions.",
        (
            "    return out, (top",
            "    if out.ndim > 3 and out.shape == out_a.shape and not out.requires_grad:\n"
            "        out = out_a.copy_(out)\n    return out, (top",
        ),
    ),
    edit(
        "four_keys_at_least",
        DIVIDE,
        "Pieces of four keys are not cut any more where block is less: a piece has at most block keys, however few those are.",
        ("if stop - start > block:", "if stop - start > max(block, 4):"),
    ),
    edit(
        "maximum_kept_above_minus_ten_thousand",
        DIVIDE,
        "The maximum that is subtracted was limited from below, so that lower scores vanish in exp: subtract it as it is, and "
        "0 only where it is -inf.",
        ("amax(-1, keepdim=True)", "amax(-1, keepdim=True).clamp(min=-1e4)"),
    ),
    edit(
        "one_dimensional_mask_for_queries",
        DIVIDE,
        "A mask (n_k,) is taken for one of queries where both lengths are equal: it broadcasts from the right, over keys.",
        (
            "mask = mask.expand(*mask.shape[:-1], n_k)",
            "mask = mask[:, None] if mask.dim() == 1 and len(mask) == q.shape[-2] else mask\n"
            "        mask = mask.expand(*mask.shape[:-1], n_k)",
        ),
    ),
    edit(
        "one_key_more_than_a_block",
        DIVIDE,
        "Pieces of block + 1 keys are not cut any more: a piece has at most block keys.",
        ("if stop - start > block:", "if stop - start > block + 1:"),
    ),
    edit(
        "half_precision_pieces_widened",
        DIVIDE,
        "A bfloat16 q gives a float32 result: keep the dtype.",
        (
            "q = q / math.sqrt(q.shape[-1])",
            "q, k, v = (x.float() if x.dtype == torch.bfloat16 else x for x in (q, k, v))\n    q = q / math.sqrt(q.shape[-1])",
        ),
    ),
    edit(
        "seed_set_by_grouped_layers",
        GQA,
        "Making a layer sets PyTorch's seed, so all layers start alike: leave the seed alone.",
        ("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ),
]


LAST_LAYER = "self.w_o = nn.Linear(d_model, d_model, bias=bias)"
CONTEXT = "context = x if context is None else context"
WITHOUT_MAXIMUM = (
    "weights = (q @ k.mT / math.sqrt(self.head_dim)).exp()\n"
    "        weights = weights if mask is None else weights * mask\n"
    "        total = weights.sum(-1, keepdim=True)\n"
    "        heads = weights / total.masked_fill(total == 0, 1.0) @ v"
)
THREE_DIMENSIONS = (
    "if mask is not None and mask.dim() == 3 and len(mask) == len(x):\n            mask = mask.unsqueeze(1)\n        " + ATTEND
)
VIEWED = "self.w_q(x.view(-1, x.shape[-1])).view(x.shape)"
FROM_ZEROS = LAST_LAYER + "\n        nn.init.zeros_(self.w_o.weight)"
NO_OVERFLOW = "exp overflows for large scores and vanishes for very negative ones: subtract each row's maximum before exp."
HEADS_NOT_BATCH = (
    "A mask of three dimensions was taken for one mask for each batch entry where both numbers are equal; it broadcasts "
    "from the right, so its first dimension is the heads'."
)
NOT_CONTIGUOUS = "view fails on an input that is not contiguous in memory: use reshape, or let the linear layer keep the shape."
BEGINS_AT_ZERO = "w_o begins with zeros, so a new layer answers nothing but its bias: leave the weights as nn.Linear makes them."
GRADIENTS_IN_EVALUATION = "In evaluation mode no gradient comes back: eval() turns off dropout, not gradients. Do not detach."

MUTANTS += [
    # split_heads and merge_heads
    edit(
        "split_of_the_first_call",
        "split_heads",
        "The heads of an earlier call come back for a tensor in the same memory, whose numbers have changed: keep nothing.",
        (
            "    d = x.shape[-1]",
            "    kept = split_heads.__dict__.setdefault('kept', {})\n"
            "    x = kept.setdefault((x.data_ptr(), x.shape), x.clone())\n    d = x.shape[-1]",
        ),
    ),
    edit(
        "input_made_to_require_gradients",
        "split_heads",
        "The call makes its input require gradients; a flag of the caller's tensor is not ours to change.",
        ("    d = x.shape[-1]", "    x.requires_grad_()\n    d = x.shape[-1]"),
    ),
    edit(
        "merge_of_the_first_call",
        "merge_heads",
        "What an earlier call merged comes back for a tensor in the same memory, whose numbers have changed: keep nothing.",
        (
            "    return",
            "    kept = merge_heads.__dict__.setdefault('kept', {})\n"
            "    x = kept.setdefault((x.data_ptr(), x.shape), x.clone())\n    return",
        ),
    ),
    # MultiHeadAttention
    edit("softmax_without_the_maximum", MHA, NO_OVERFLOW, (ATTEND, WITHOUT_MAXIMUM)),
    edit(
        "hidden_scores_are_only_minus_a_hundred",
        MHA,
        "Hidden keys get a score of -100, and visible ones may have less: mask with -inf or the dtype's lowest number.",
        (
            ATTEND,
            "scores = q @ k.mT / math.sqrt(self.head_dim)\n"
            "        if mask is not None:\n            scores = scores.masked_fill(~mask, -100.0)\n"
            "        heads = (scores.softmax(-1) if mask is None else scores.softmax(-1) * mask) @ v",
        ),
    ),
    edit("mask_of_the_heads_taken_for_the_batch", MHA, HEADS_NOT_BATCH, (ATTEND, THREE_DIMENSIONS)),
    edit(
        "mask_taken_for_padding",
        MHA,
        "A mask (n_q, n_k) was taken for one of padding, (b, n_k), where n_q equals b; it broadcasts from the right.",
        (
            ATTEND,
            "if mask is not None and mask.shape == (len(x), context.shape[1]):\n"
            "            mask = mask[:, None, None]\n        " + ATTEND,
        ),
    ),
    edit(
        "batch_and_heads_of_the_mask_swapped",
        MHA,
        "The mask's first two dimensions have changed places, which shows only where they differ: it is (b, h, n_q, n_k).",
        (
            ATTEND,
            "if mask is not None and mask.dim() == 4 and mask.shape[0] == mask.shape[1]:\n"
            "            mask = mask.transpose(0, 1)\n        " + ATTEND,
        ),
    ),
    edit(
        "long_inputs_causal",
        MHA,
        "Long inputs are masked although no mask was given: without one every query attends to every key, at any length.",
        (
            ATTEND,
            "if mask is None and x.shape[1] > 16:\n"
            "            mask = torch.ones(x.shape[1], context.shape[1], dtype=torch.bool).tril()\n        " + ATTEND,
        ),
    ),
    edit(
        "long_contexts_cut_off",
        MHA,
        "Only the first 64 tokens of the context are looked at: there is no largest length.",
        (CONTEXT, "context = (x if context is None else context)[:, :64]"),
    ),
    edit("input_viewed", MHA, NOT_CONTIGUOUS, ("self.w_q(x)", VIEWED)),
    edit("output_layer_begins_at_zero", MHA, BEGINS_AT_ZERO, (LAST_LAYER, FROM_ZEROS)),
    edit(
        "layers_begin_alike",
        MHA,
        "w_k begins as a copy of w_q: each layer begins with random numbers of its own.",
        (LAST_LAYER, LAST_LAYER + "\n        self.w_k.load_state_dict(self.w_q.state_dict())"),
    ),
    edit(
        "weights_begin_large",
        MHA,
        "New weights are standard normal, many times what nn.Linear makes, so scores grow with the width: leave them.",
        (
            LAST_LAYER,
            LAST_LAYER + "\n        for parameter in self.parameters():\n            nn.init.normal_(parameter)",
        ),
    ),
    edit(
        "layers_registered_twice",
        MHA,
        "Each parameter has two names, so that a checkpoint holds it twice: register a layer once, as w_q, w_k, w_v or w_o.",
        (LAST_LAYER, LAST_LAYER + "\n        self.layers = nn.ModuleList([self.w_q, self.w_k, self.w_v, self.w_o])"),
    ),
    edit(
        "weights_shared_by_all_layers",
        MHA,
        "Two layers have one w_q in common, so that training one changes the other: make new layers in __init__.",
        (
            "self.w_q = nn.Linear(d_model, d_model, bias=bias)",
            "made = MultiHeadAttention.__dict__.get('made', {})\n"
            "        self.w_q = made.get((d_model, bias)) or nn.Linear(d_model, d_model, bias=bias)\n"
            "        MultiHeadAttention.made = {**made, (d_model, bias): self.w_q}",
        ),
    ),
    edit(
        "no_gradients_in_evaluation",
        MHA,
        GRADIENTS_IN_EVALUATION,
        (
            "return self.w_o(merge_heads(heads))",
            "y = self.w_o(merge_heads(heads))\n        return y if self.training else y.detach()",
        ),
    ),
    edit(
        "weights_kept_while_gradients_are_off",
        MHA,
        "Without gradients the weights of the first such call are used for ever: training changes them, read them anew.",
        (
            "q = split_heads(self.w_q(x), self.n_heads)",
            "weight = self.w_q.weight\n"
            "        if not torch.is_grad_enabled():\n"
            "            weight = self.__dict__.setdefault('_kept', weight.detach().clone())\n"
            "        q = split_heads(F.linear(x, weight, self.w_q.bias), self.n_heads)",
        ),
    ),
    # attention_per_head
    edit(
        "all_heads_at_once_under_a_mask",
        LOOP,
        "With a mask all heads are computed at once: one head at a time, mask or not, so that no tensor holds all scores.",
        ("    heads = []", "    if mask is not None:\n        return module(x, mask=mask)\n    heads = []"),
    ),
    edit(
        "single_precision_widened_in_the_loop",
        LOOP,
        "The result is float64 whatever x was; keep the input's dtype.",
        ("return module.w_o(torch.cat(heads, dim=-1))", "return module.w_o(torch.cat(heads, dim=-1)).double()"),
    ),
    edit(
        "heads_widened_in_the_loop",
        LOOP,
        "The heads are float64 and w_o is not, so that a float32 module fails: go back to the input's dtype before w_o.",
        ("heads.append(out)", "heads.append(out.double())"),
    ),
    edit(
        "mask_of_the_heads_taken_for_the_batch_in_the_loop",
        LOOP,
        HEADS_NOT_BATCH,
        (
            "        mask = mask.expand",
            "        mask = mask.unsqueeze(1) if mask.dim() == 3 and len(mask) == b else mask\n        mask = mask.expand",
        ),
    ),
    edit(
        "mask_taken_for_padding_in_the_loop",
        LOOP,
        "A mask (t, t) was taken for one of padding, (b, t), where t equals b; it broadcasts from the right.",
        (
            "        mask = mask.expand",
            "        mask = mask[:, None, None] if mask.shape == (b, t) else mask\n        mask = mask.expand",
        ),
    ),
    edit(
        "softmax_without_the_maximum_in_the_loop",
        LOOP,
        NO_OVERFLOW,
        (
            "out, _ = scaled_dot_product_attention(q, k, v, mask=None if mask is None else mask[:, head])",
            "weights = (q @ k.mT / math.sqrt(module.head_dim)).exp()\n"
            "        weights = weights if mask is None else weights * mask[:, head]\n"
            "        total = weights.sum(-1, keepdim=True)\n"
            "        out = weights / total.masked_fill(total == 0, 1.0) @ v",
        ),
    ),
    edit(
        "input_viewed_in_the_loop",
        LOOP,
        NOT_CONTIGUOUS,
        ("    heads = []", "    x = x.view(b * t, -1).view(b, t, -1)\n    heads = []"),
    ),
    edit(
        "frozen_parameters_thawed",
        LOOP,
        "Parameters that were frozen require gradients after the call: a function that uses a module does not change it.",
        ("    heads = []", "    heads = []\n    module.requires_grad_(True)"),
    ),
    edit(
        "gradients_cleared",
        LOOP,
        "The gradients that the module held are gone after the call: clearing them is the optimiser's business.",
        ("    heads = []", "    heads = []\n    module.zero_grad()"),
    ),
    edit(
        "no_gradients_in_evaluation_in_the_loop",
        LOOP,
        GRADIENTS_IN_EVALUATION,
        (
            "return module.w_o(torch.cat(heads, dim=-1))",
            "y = module.w_o(torch.cat(heads, dim=-1))\n    return y if module.training else y.detach()",
        ),
    ),
    edit(
        "module_copied_once",
        LOOP,
        "Without gradients a copy of the module is kept and used from then on: its weights change, read them anew.",
        (
            "    b, t, _ = x.shape",
            "    b, t, _ = x.shape\n    if not torch.is_grad_enabled():\n        import copy\n\n"
            "        module = module.__dict__.setdefault('_kept', copy.deepcopy(module))",
        ),
    ),
    # merge_attention
    edit(
        "one_maximum_for_all_rows",
        MERGE,
        "All rows were shifted by the largest lse of any; a row far below it vanishes. Take each row's own maximum.",
        ("torch.maximum(lse_a, lse_b).detach()", "torch.maximum(lse_a, lse_b).detach().amax().expand(lse_a.shape)"),
    ),
    edit(
        "ties_forgotten",
        MERGE,
        "Where both lse are equal neither is larger, and nothing was subtracted: use torch.maximum, or >= on one side.",
        (
            "torch.maximum(lse_a, lse_b).detach()",
            "((lse_a > lse_b) * lse_a.nan_to_num(neginf=0.0) + (lse_b > lse_a) * lse_b.nan_to_num(neginf=0.0)).detach()",
        ),
    ),
    edit(
        "zero_taken_for_empty",
        MERGE,
        "An lse of 0 was taken for an empty set; the empty set's is -inf, and 0 is that of one key with score 0.",
        ("empty = total == 0", "empty = (total == 0) | (lse_a == 0) & (lse_b == -torch.inf)"),
    ),
    edit(
        "very_low_taken_for_empty",
        MERGE,
        "A very negative lse was taken for an empty set: only -inf is one.",
        ("empty = total == 0", "empty = torch.maximum(lse_a, lse_b) < -1e6"),
    ),
    edit(
        "overflow_in_the_gradient_only",
        MERGE,
        "The values are right, but 1 / (1 + exp(x)) has the gradient inf / inf for a large x: use torch.sigmoid.",
        (
            MERGED_OUT,
            "gap = lse_b.masked_fill(lse_b == -torch.inf, -1e300) - lse_a.masked_fill(lse_a == -torch.inf, -1e300)\n"
            "    share = (1 / (1 + gap.exp())).masked_fill(empty, 0.0)\n"
            "    out = share.unsqueeze(-1) * out_a + (1 - share).masked_fill(empty, 0.0).unsqueeze(-1) * out_b",
        ),
    ),
    edit(
        "empty_rows_cleaned_in_the_input",
        MERGE,
        "out_a was set to zero in place where its set is empty: that writes into the caller's tensor.",
        (
            "    top = torch.maximum",
            "    out_a.detach().masked_fill_((lse_a == -torch.inf).unsqueeze(-1), 0.0)\n    top = torch.maximum",
        ),
    ),
    edit(
        "empty_only_in_double_precision",
        MERGE,
        "In single and half precision two empty sets do not give an lse of -inf: it is -inf in every dtype.",
        (".masked_fill(empty, -torch.inf)", ".masked_fill(empty, -torch.inf if lse_a.dtype is torch.float64 else -1e4)"),
    ),
    edit(
        "heads_of_the_layer_made_last",
        MHA,
        "The number of heads is kept in the class, which all layers share: the next layer that is made changes it for this one. "
        "Write self.n_heads.",
        ("self.n_heads = n_heads", "type(self).n_heads = n_heads"),
    ),
    edit(
        "layers_in_double_precision",
        MHA,
        "The weights of a new layer are float64: nn.Linear makes them in the default dtype, float32, and .to(dtype) changes it.",
        (LAST_LAYER, f"{LAST_LAYER}\n        self.double()"),
    ),
    edit(
        "biases_begin_at_one",
        MHA,
        "The output layer begins with biases of one: leave the weights as nn.Linear makes them.",
        (LAST_LAYER, f"{LAST_LAYER}\n        _ = nn.init.ones_(self.w_o.bias) if bias else None"),
    ),
    edit(
        "seed_of_python_set",
        MHA,
        "Making a layer sets the seed of Python's random numbers, for the whole program: leave global state alone.",
        ("self.n_heads = n_heads", "self.n_heads = n_heads\n        __import__('random').seed(0)"),
    ),
    edit(
        "no_more_than_512_tokens",
        MHA,
        "Keys from the 513th on are ignored: attention has no largest length.",
        (ATTEND, "k, v, mask = k[:, :, :512], v[:, :, :512], None if mask is None else mask[..., :512]\n        " + ATTEND),
    ),
    edit(
        "maximum_over_hidden_keys",
        MHA,
        "The maximum that is subtracted before exp counts hidden keys as well; where one of them is far above the rest, all the "
        "others vanish. Set hidden scores to -inf first.",
        (
            ATTEND,
            "scores = q @ k.mT / math.sqrt(self.head_dim)\n"
            "        weights = (scores - scores.detach().amax(-1, keepdim=True)).exp()\n"
            "        weights = weights if mask is None else weights * mask\n"
            "        total = weights.sum(-1, keepdim=True)\n"
            "        heads = weights / total.masked_fill(total == 0, 1.0) @ v",
        ),
    ),
    # attention_per_head
    edit(
        "queries_in_turn_instead_of_heads",
        LOOP,
        "The loop goes over the queries and calls the module for each: that attends with all heads at once. Loop over the heads.",
        (
            "    heads = []\n",
            "    if mask is not None:\n"
            "        return torch.cat([module(x[:, i : i + 1], x, mask[..., i : i + 1, :]) for i in range(t)], dim=1)\n"
            "    return torch.cat([module(x[:, i : i + 1], x) for i in range(t)], dim=1)\n"
            "    heads = []\n",
        ),
    ),
    edit(
        "heads_at_once_in_a_thread",
        LOOP,
        "Another thread computes all heads at once: its memory counts as well. Finish each head before the next.",
        (
            "    heads = []\n",
            "    from concurrent.futures import ThreadPoolExecutor\n"
            "    q, k, v = (split_heads(layer(x), module.n_heads) for layer in (module.w_q, module.w_k, module.w_v))\n"
            "    with ThreadPoolExecutor(1) as pool:\n"
            "        out, _ = pool.submit(scaled_dot_product_attention, q, k, v, mask).result()\n"
            "    return module.w_o(merge_heads(out))\n"
            "    heads = []\n",
        ),
    ),
    # divide_and_conquer_attention
    edit(
        "no_keys_leading_dimensions_of_q_alone",
        DIVIDE,
        "Without keys the zeros have the leading dimensions of q alone; those of q, k and v broadcast.",
        (NO_KEYS, "return q.new_zeros(*q.shape[:-1], v.shape[-1])"),
    ),
    edit(
        "block_not_checked_without_keys",
        DIVIDE,
        "A block below 1 is accepted when there are no keys: check the block first.",
        ("    if block < 1:\n", "    if block < 1 and k.shape[-2] > 0:\n"),
    ),
    edit(
        "float16_pieces_widened",
        DIVIDE,
        "A float16 q gives a float32 result: keep the dtype.",
        (
            "q = q / math.sqrt(q.shape[-1])",
            "q, k, v = (x.float() if x.dtype is torch.float16 else x for x in (q, k, v))\n    q = q / math.sqrt(q.shape[-1])",
        ),
    ),
    edit(
        "mask_turned_into_numbers_at_once",
        DIVIDE,
        "The whole mask was turned into numbers to add, n_q * n_k of them: mask each piece's scores by its own columns.",
        (
            "        mask = mask.expand(*mask.shape[:-1], n_k)",
            "        mask = mask.expand(*mask.shape[:-1], n_k)\n"
            "        mask = torch.zeros(mask.shape, dtype=q.dtype).masked_fill(~mask, -torch.inf)",
        ),
        ("scores = scores.masked_fill(~mask[..., start:stop], -torch.inf)", "scores = scores + mask[..., start:stop]"),
    ),
    edit(
        "batches_all_at_once",
        DIVIDE,
        "With leading dimensions all scores are formed at once: halve the keys there, too.",
        ("if stop - start > block:", "if stop - start > (block if q.dim() == 2 else n_k):"),
    ),
    edit(
        "odd_blocks_rounded_up",
        DIVIDE,
        "An odd block was rounded up to an even one: a piece has at most block keys, whatever the block.",
        ("if stop - start > block:", "if stop - start > block + block % 2:"),
    ),
    edit(
        "overflow_thrown_away_too_late",
        DIVIDE,
        "The values are right, the gradient is NaN: exp overflowed in values that torch.where throws away afterwards.",
        (
            "        total = weights.sum(-1, keepdim=True)",
            "        plain = scores.exp()\n"
            "        weights = torch.where(plain.isfinite() & (plain > 0), plain / top.exp(), weights)\n"
            "        total = weights.sum(-1, keepdim=True)",
        ),
    ),
    edit(
        "many_keys_causal",
        DIVIDE,
        "Many keys are masked although no mask was given: without one every query attends to every key.",
        (
            "    n_k = k.shape[-2]",
            "    n_k = k.shape[-2]\n    if mask is None and n_k == q.shape[-2] > 12:\n"
            "        mask = torch.ones(n_k, n_k, dtype=torch.bool).tril()",
        ),
    ),
    edit(
        "halved_though_it_fits_a_block",
        DIVIDE,
        "A piece of exactly block keys is halved once more: only pieces of more than block keys are.",
        ("if stop - start > block:", "if stop - start >= max(block, 2):"),
    ),
    edit(
        "cut_off_the_middle",
        DIVIDE,
        "The keys are cut into nine tenths and one tenth, which goes far deeper than log2(n_k / block): cut in the middle.",
        ("middle = (start + stop) // 2", "middle = start + max(1, (stop - start) * 9 // 10)"),
    ),
    edit(
        "all_at_once_in_numpy",
        DIVIDE,
        "NumPy holds all scores at once: attend to at most block keys at a time.",
        (
            "    if n_k == 0:\n",
            "    if n_k and not (q.requires_grad or k.requires_grad or v.requires_grad):\n"
            "        scores = q.double().numpy() @ k.mT.double().numpy()\n"
            "        if mask is not None:\n"
            "            scores = scores + (1 - mask.double()).masked_fill(~mask, torch.inf).neg().numpy()\n"
            "        weights = torch.from_numpy(scores).softmax(-1).nan_to_num(0.0).numpy()\n"
            "        return torch.from_numpy(weights @ v.double().numpy()).to(q.dtype)\n"
            "    if n_k == 0:\n",
        ),
    ),
    # GroupedQueryAttention
    edit(
        "mask_before_context_in_groups",
        GQA,
        "The arguments are in another order: forward(x, context, mask), the context first.",
        (
            "context: Tensor | None = None, mask: Tensor | None = None",
            "mask: Tensor | None = None, context: Tensor | None = None",
        ),
    ),
    edit(
        "bias_by_name_alone",
        GQA,
        "The bias cannot be given as the fourth argument: GroupedQueryAttention(d_model, n_heads, n_kv_heads, bias).",
        ("n_kv_heads: int, bias: bool = True", "n_kv_heads: int, *, bias: bool = True"),
    ),
    edit("softmax_without_the_maximum_in_groups", GQA, NO_OVERFLOW, (ATTEND, WITHOUT_MAXIMUM)),
    edit("mask_of_the_heads_taken_for_the_batch_in_groups", GQA, HEADS_NOT_BATCH, (ATTEND, THREE_DIMENSIONS)),
    edit("input_viewed_in_groups", GQA, NOT_CONTIGUOUS, ("self.w_q(x)", VIEWED)),
    edit("output_layer_begins_at_zero_in_groups", GQA, BEGINS_AT_ZERO, (LAST_LAYER, FROM_ZEROS)),
    edit(
        "half_precision_refused_in_groups",
        GQA,
        "A half-precision layer fails: heads are widened to float32 and w_o does not take them. Keep the dtype.",
        (
            "scaled_dot_product_attention(q, k, v, mask=mask)",
            "scaled_dot_product_attention(*(y if y.dtype is torch.float64 else y.float() for y in (q, k, v)), mask=mask)",
        ),
    ),
    edit(
        "no_gradients_in_evaluation_in_groups",
        GQA,
        GRADIENTS_IN_EVALUATION,
        (
            "return self.w_o(merge_heads(heads))",
            "y = self.w_o(merge_heads(heads))\n        return y if self.training else y.detach()",
        ),
    ),
    edit(
        "keys_sharing_one_layer_with_other_models",
        GQA,
        "Two layers have one w_k in common, so that training one changes the other: make new layers in __init__.",
        (
            KEYS,
            "made = GroupedQueryAttention.__dict__.get('made', {})\n"
            "        self.w_k = made.get((d_model, n_kv_heads * self.head_dim, bias)) or "
            "nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)\n"
            "        GroupedQueryAttention.made = {**made, (d_model, n_kv_heads * self.head_dim, bias): self.w_k}",
        ),
    ),
    edit(
        "heads_of_the_layer_made_last_in_groups",
        GQA,
        "The number of key heads is kept in the class, which all layers share: the next layer that is made changes it for this "
        "one. Write self.n_kv_heads.",
        ("self.n_kv_heads = n_kv_heads", "type(self).n_kv_heads = n_kv_heads"),
    ),
    *(
        edit(
            f"mask_of_the_call_before_{where}",
            name,
            "Without a mask the one of an earlier call is used. mask=None means that every key may be seen.",
            (
                "heads, _ =",
                "self.last_mask = getattr(self, 'last_mask', None) if mask is None else mask\n"
                "        if self.last_mask is not None and self.last_mask.shape[-2:] == (q.shape[-2], k.shape[-2]):\n"
                "            mask = self.last_mask\n        heads, _ =",
            ),
        )
        for where, name in (("in_heads", MHA), ("in_groups", GQA))
    ),
    edit(
        "fused_weights_kept_for_self_attention",
        MHA,
        "In self-attention w_q, w_k and w_v are put together once and kept. They change in training: put them together anew.",
        (
            "        q = split_heads(self.w_q(x), self.n_heads)",
            "        if context is x and not torch.is_grad_enabled():\n"
            "            parts = self.w_q, self.w_k, self.w_v\n"
            "            if not hasattr(self, 'fused'):\n"
            "                self.fused = [(p.weight.clone(), p.bias if p.bias is None else p.bias.clone()) for p in parts]\n"
            "            q, k, v = (split_heads(F.linear(x, *p), self.n_heads) for p in self.fused)\n"
            "            return self.w_o(merge_heads(scaled_dot_product_attention(q, k, v, mask=mask)[0]))\n"
            "        q = split_heads(self.w_q(x), self.n_heads)",
        ),
    ),
    *(
        edit(
            f"minus_1e30_in_float16_{where}",
            name,
            "A hidden score of -1e30 is -inf in float16, and a row of nothing else is NaN there. Take the lowest number of the "
            "scores' dtype.",
            (
                ATTEND,
                "scores = q @ k.mT / self.head_dim**0.5\n"
                "        if mask is not None:\n"
                "            scores = scores + torch.where(mask, 0.0, -1e30).to(scores.dtype)\n"
                "        weights = scores.softmax(-1)\n"
                "        heads = (weights if mask is None else weights * mask.any(-1, keepdim=True)) @ v",
            ),
        )
        for where, name in (("in_heads", MHA), ("in_groups", GQA))
    ),
    edit(
        "small_shares_dropped",
        MERGE,
        "A side whose share is below a millionth counts for nothing. Its values may be as large as its share is small.",
        (
            "total = weight_a + weight_b",
            "weight_a, weight_b = (w.masked_fill(w < 1e-6, 0.0) for w in (weight_a, weight_b))\n    total = weight_a + weight_b",
        ),
    ),
    edit(
        "memory_read_from_its_beginning",
        "split_heads",
        "x was read from the beginning of its memory; a slice of a larger tensor begins later. Use reshape, not as_strided.",
        (
            SPLIT_LINE,
            "b, t, _ = x.shape\n    s = x.stride()\n"
            "    return x.as_strided((b, n_heads, t, d // n_heads), (s[0], d // n_heads * s[2], s[1], s[2]), 0)",
        ),
    ),
    edit(
        "lowest_number_added_to_the_scores",
        MHA,
        "The lowest number of the dtype was added to hidden scores. In float16 that makes -inf of negative ones, and a row of "
        "nothing else NaN: replace the scores, torch.where(mask, scores, lowest).",
        (
            ATTEND,
            "if mask is None:\n"
            "            mask = torch.ones(1, 1, dtype=torch.bool)\n"
            "        low = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, torch.finfo(q.dtype).min)\n"
            "        heads = ((q @ k.mT / math.sqrt(self.head_dim) + low).softmax(-1) * mask) @ v",
        ),
    ),
    edit(
        "heads_left_on_the_module",
        LOOP,
        "The call leaves an attribute on the module: a function that uses a module does not change it.",
        ("heads.append(out)", "heads.append(out)\n        module.head_outputs = heads"),
    ),
    edit(
        "empty_sides_filled_where_nothing_is_recorded",
        MERGE,
        "An lse of -inf was replaced in the caller's tensor where no gradients are recorded: no_grad() does not make it yours.",
        (TOP, "if not torch.is_grad_enabled():\n        lse_a.clamp_(min=-1e3)\n    " + TOP),
    ),
    edit(
        "scaled_in_place_where_nothing_is_recorded",
        DIVIDE,
        "The caller's q was scaled in place where no gradients are recorded: no_grad() does not make a tensor yours.",
        (PIECES, PIECES + "\n    if not torch.is_grad_enabled():\n        q /= math.sqrt(q.shape[-1])\n"
         "        q = q * math.sqrt(q.shape[-1])"),
    ),
    edit(
        "difference_added_to_the_first_side",
        MERGE,
        "out_a + share * (out_b - out_a) loses out_b where out_a is large, also where out_a's set is empty: weigh each side "
        "by its own share.",
        (
            MERGED_OUT,
            "out = out_a + (weight_b / total).unsqueeze(-1) * (out_b - out_a)\n"
            "    out = out.masked_fill(empty.unsqueeze(-1), 0.0)",
        ),
    ),
    edit(
        "all_hidden_leading_dimensions_of_q_alone",
        DIVIDE,
        "Where all keys are hidden the zeros have the leading dimensions of q alone; those of q, k, v and the mask broadcast.",
        (
            PIECES,
            PIECES + "\n    if mask is not None and not mask.any():\n        return q.new_zeros(*q.shape[:-1], v.shape[-1])",
        ),
    ),
    edit(
        "nothing_divided",
        DIVIDE,
        "All scores are made at once, whatever the block. Halve the keys until no more than block are left.",
        (
            "    n_k = k.shape[-2]\n",
            "    return scaled_dot_product_attention(q, k, v, mask=mask)[0]\n    n_k = k.shape[-2]\n",
        ),
    ),
]


MUTANTS += [
    edit(
        "layout_cuts_the_gradient_of_heads",
        "split_heads",
        "Only a contiguous x gets its gradient: contiguous() passes gradients on, .data and detach() cut them off.",
        (
            "    d = x.shape[-1]\n",
            "    d = x.shape[-1]\n    x = x if x.is_contiguous() else x.detach().contiguous()\n",
        ),
    ),
]
