"""Mistakes that are made in the kernels of flash_attention_triton.py; `mutants.py` takes them over.

The kernels are functions beside the exercise's own, so a mutant here is a whole file: the solution with some texts replaced.
"""

from pathlib import Path

from autograder.testing.variants import Variant

FILE = "flash_attention_triton.py"
SOLUTION = Path(__file__).parents[3] / "solutions" / Path(__file__).parent.name / FILE


def edited(name: str, says: str, *edits: tuple[str, str]) -> Variant:
    """The solution with each old text, which must occur exactly once there, replaced by a new one."""
    source = SOLUTION.read_text(encoding="utf-8")
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"{name}: {old!r} occurs {source.count(old)} times in {FILE}, not once")
        source = source.replace(old, new)
    return Variant(f"triton_{name}", "flash_attention", says, source=source, file=FILE)


MUTANTS = [
    edited(
        "not_rescaled",
        "acc is not rescaled when the running maximum grows: multiply it by exp2(m - m_new) before the next tile is added.",
        ("acc * rescale[:, None]", "acc"),
    ),
    edited(
        "maximum_forgotten",
        "m is not taken over from tile to tile: set m = m_new at the end of the loop.",
        ("        m = m_new\n", ""),
    ),
    edited(
        "maximum_of_one_tile",
        "m_new is the maximum of the tile alone: it has to be the maximum of that and of m.",
        ("m_new = tl.maximum(m, tl.max(scores, 1) * scale_log2)", "m_new = tl.max(scores, 1) * scale_log2"),
    ),
    edited(
        "no_maximum",
        "No maximum is subtracted: large scores overflow. Subtract the running maximum before exp2.",
        ("        m_new = tl.maximum(m, tl.max(scores, 1) * scale_log2)\n", "        m_new = tl.zeros_like(m)\n"),
        ('m = tl.full((BLOCK_Q,), float("-inf"), tl.float32)', "m = tl.zeros((BLOCK_Q,), tl.float32)"),
    ),
    edited(
        "products_in_tf32",
        'A product of float32 is left to the default, tf32, which keeps three digits on a GPU: input_precision="ieee".',
        (
            'scores = tl.dot(q, tl.trans(k), input_precision="ieee")  # (block_q, block_k), float32\n',
            "scores = tl.dot(q, tl.trans(k))\n",
        ),
    ),
    edited(
        "nan_for_blind_rows",
        "Rows that have seen nothing become NaN: where m_new is -inf, subtract 0 instead.",
        ('shift = tl.where(m_new == float("-inf"), 0.0, m_new)', "shift = m_new"),
    ),
    edited(
        "mask_one_off",
        "The causal mask is one key short: a query sees its own position, keys up to and with last_seen.",
        (
            'scores = tl.where(keys[None, :] <= last_seen[:, None], scores, float("-inf"))\n        m_new',
            'scores = tl.where(keys[None, :] < last_seen[:, None], scores, float("-inf"))\n        m_new',
        ),
    ),
    edited(
        "not_masked",
        "Masked tiles are not masked: scores of keys after last_seen must be -inf before the maximum is taken.",
        (
            'scores = tl.where(keys[None, :] <= last_seen[:, None], scores, float("-inf"))\n        m_new',
            "scores = scores\n        m_new",
        ),
    ),
    edited(
        "natural_exponential",
        "scale_log2 holds the factor log2(e) for powers of two: with exp instead of exp2 the scores are scaled twice.",
        ("p = tl.exp2(scores * scale_log2 - shift[:, None])", "p = tl.exp(scores * scale_log2 - shift[:, None])"),
        ("rescale = tl.exp2(m - shift)", "rescale = tl.exp(m - shift)"),
    ),
    edited(
        "values_stand_still",
        "Every tile takes the first tile's values: those of the keys from `start` on belong to it.",
        (
            "v = _load(_rows(v_head, v_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)\n        acc",
            "v = _load(_rows(v_head, v_strides, start * 0, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)\n        acc",
        ),
    ),
    edited(
        "half_precision_accumulator",
        "acc is kept in the inputs' dtype: it has to be float32 until it is stored.",
        ("        m = m_new\n    return", "        acc = acc.to(v.dtype).to(tl.float32)\n        m = m_new\n    return"),
    ),
    edited(
        "backward_without_delta",
        "ds lacks delta: ds = p * (dp - delta), where delta is the row sum of out times its gradient.",
        ("ds = p * (dp - delta[None, :])", "ds = p * dp"),
        ("ds = p * (dp - delta[:, None])", "ds = p * dp"),
    ),
    edited(
        "keys_backward_not_masked",
        "dk and dv count queries that do not see the key: mask the scores where MASKED says so.",
        ('scores = tl.where(queries[None, :] >= first_seen[:, None], scores, float("-inf"))', "scores = scores"),
    ),
    edited(
        "ragged_end_of_queries",
        "The last tile of queries reads beyond n_q: pass RAGGED to the load, and let lse be inf there.",
        ("lse = _load_lse(lse_ptr + queries, queries < n_q)", "lse = _load_lse(lse_ptr + queries, queries < n_q - 1)"),
    ),
    edited(
        "keys_and_values_swapped",
        "dk and dv are swapped: dv is the sum of pᵀ do, dk that of dsᵀ q.",
        ("    return dk, dv\n", "    return dv, dk\n"),
    ),
    edited(
        "dq_from_values",
        "dq multiplies ds with v: the gradient of q is a sum of keys, dq += ds k.",
        ("dq = tl.dot(ds.to(k.dtype), k, dq,", "dq = tl.dot(ds.to(k.dtype), v, dq,"),
    ),
    edited(
        "masked_after_the_maximum",
        "The maximum was taken before the scores were masked: a large hidden score makes all visible weights vanish.",
        (
            '            scores = tl.where(keys[None, :] <= last_seen[:, None], scores, float("-inf"))\n        m_new',
            "            scores = scores\n        m_new",
        ),
        (
            "        rescale = tl.exp2(m - shift)\n",
            "        if MASKED:\n            p = tl.where(keys[None, :] <= last_seen[:, None], p, 0.0)\n"
            "        rescale = tl.exp2(m - shift)\n",
        ),
    ),
    edited(
        "strides_of_another_tensor",
        "The values are read with the strides of k: each tensor has its own, and v_strides are those of v.",
        (
            "_load(_rows(v_head, v_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)\n        acc",
            "_load(_rows(v_head, k_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)\n        acc",
        ),
    ),
    edited(
        "sum_in_half_precision",
        "The running sum is kept in the inputs' dtype, where small weights no longer add to a large sum: l has to be float32.",
        ("l = l * rescale + tl.sum(p, 1)", "l = (l * rescale + tl.sum(p, 1)).to(q.dtype).to(tl.float32)"),
    ),
    edited(
        "dk_in_half_precision",
        "dk is summed in the inputs' dtype: it has to be float32 until it is stored.",
        (
            'dk = tl.dot(ds.to(q.dtype), q, dk, input_precision="ieee")',
            'dk = tl.dot(ds.to(q.dtype), q, dk, input_precision="ieee").to(q.dtype).to(tl.float32)',
        ),
    ),
    edited(
        "ds_of_rounded_products",
        "p dp and p delta are rounded to the inputs' dtype before they are subtracted: subtract in float32, then round ds.",
        (
            "        ds = p * (dp - delta[None, :])\n",
            "        ds = (p * dp).to(q.dtype) - (p * delta[None, :]).to(q.dtype)\n",
        ),
    ),
    edited(
        "columns_beyond_the_keys_read",
        "Columns from head_dim on belong to something else, and 0 times NaN is NaN: load k with PADDED, so that they are 0.",
        (
            "_load(_rows(k_head, k_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)\n        scores",
            "_load(_rows(k_head, k_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, False)\n        scores",
        ),
    ),
    edited(
        "columns_beyond_the_queries_read",
        "Columns from head_dim on belong to something else, and 0 times NaN is NaN: load q with PADDED, so that they are 0.",
        ("queries < n_q, is_column, RAGGED, PADDED)\n        lse", "queries < n_q, is_column, RAGGED, False)\n        lse"),
    ),
    edited(
        "keys_beyond_the_end_read",
        "Keys beyond n_k were read and then masked; what lies there belongs to something else, or to nobody: mask the load.",
        (
            "_load(_rows(k_head, k_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)\n        scores",
            "_load(_rows(k_head, k_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, False, PADDED)\n        scores",
        ),
    ),
    edited(
        "columns_beyond_the_gradient_read",
        "Columns from head_dim on belong to something else, and 0 times NaN is NaN: load grad with PADDED, so that they are 0.",
        (
            "_rows(grad_head, grad_strides, start, BLOCK_Q, WIDTH), queries < n_q, is_column, RAGGED, PADDED)",
            "_rows(grad_head, grad_strides, start, BLOCK_Q, WIDTH), queries < n_q, is_column, RAGGED, False)",
        ),
    ),
    edited(
        "kernels_for_show",
        "The kernels run, and what they compute is thrown away: out has to be theirs.",
        (
            "        out, lse = attention_forward(q, k, v, causal, scale)\n",
            "        from exercises import flash_attention as tiles\n\n"
            "        attention_forward(q, k, v, causal, scale)\n"
            "        keys, values = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))\n"
            "        out, lse = tiles.flash_attention_forward(q, keys, values, causal, 16, 16, scale)\n",
        ),
    ),
    edited(
        "gradient_laid_out_as_queries",
        "The gradient of out is read with the strides of q: each tensor has its own, and grad_strides are those of the gradient.",
        ("_rows(grad_head, grad_strides, start, BLOCK_Q, WIDTH)", "_rows(grad_head, q_strides, start, BLOCK_Q, WIDTH)"),
    ),
    edited(
        "no_more_than_64_columns",
        "Columns from 64 on are left out: a head may be 128 wide, and WIDTH has to reach over all of it.",
        (
            "            WIDTH=triton.next_power_of_2(head_dim), BLOCK_Q=tiles.block_q",
            "            WIDTH=min(64, triton.next_power_of_2(head_dim)), BLOCK_Q=tiles.block_q",
        ),
    ),
    edited(
        "options_of_the_last_call",
        "causal and scale are kept in the class, so a second call overwrites those of the first: put them into ctx.",
        ("ctx.causal, ctx.scale = causal, scale", "TritonAttention.causal, TritonAttention.scale = causal, scale"),
        ("lse, ctx.causal, ctx.scale), None", "lse, TritonAttention.causal, TritonAttention.scale), None"),
    ),
    edited(
        "kernels_that_only_say_so",
        "The kernels write a one, and PyTorch computes: out, dq, dk and dv have to be made by kernels, from q, k and v.",
        (
            "        out, lse = attention_forward(q, k, v, causal, scale)\n",
            "        from exercises import flash_attention as tiles\n\n"
            "        keys, values = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))\n"
            "        out, lse = tiles.flash_attention_forward(q, keys, values, causal, 16, 16, scale)\n"
            "        out *= one_from_a_kernel(q)\n",
        ),
        (
            "        return *attention_backward(grad, q, k, v, out, lse, ctx.causal, ctx.scale), None, None\n",
            "        from exercises import flash_attention as tiles\n\n"
            "        group = q.shape[1] // k.shape[1]\n"
            "        keys, values = (x.repeat_interleave(group, 1) for x in (k, v))\n"
            "        found = tiles.flash_attention_backward(grad, q, keys, values, out, lse, ctx.causal, 16, 16, ctx.scale)\n"
            "        dq, dk, dv = (x * one_from_a_kernel(q) for x in found)\n"
            "        dk, dv = (x.unflatten(1, (-1, group)).float().sum(2).to(q.dtype) for x in (dk, dv))\n"
            "        return dq, dk, dv, None, None\n",
        ),
        (
            "class TritonAttention(",
            "@triton.jit\ndef _one(x_ptr):\n    tl.store(x_ptr, 1.0)\n\n\n"
            "def one_from_a_kernel(q):\n    one = torch.zeros(1)\n    _one[(1,)](one)\n    return one.to(q.dtype)\n\n\n"
            "class TritonAttention(",
        ),
    ),
    edited(
        "maximum_from_a_low_number",
        "The running maximum starts at -10000, and rows whose scores are all lower come out as 0: start at -inf.",
        ('m = tl.full((BLOCK_Q,), float("-inf"), tl.float32)', "m = tl.full((BLOCK_Q,), -1.0e4, tl.float32)"),
    ),
    edited(
        "hidden_by_a_number",
        "Hidden scores are -1e6, which a small scale makes a score like any other: -inf.",
        (
            'scores = tl.where(queries[None, :] >= first_seen[:, None], scores, float("-inf"))',
            "scores = tl.where(queries[None, :] >= first_seen[:, None], scores, -1.0e6)",
        ),
    ),
    edited(
        "delta_beyond_the_queries_read",
        "delta is read beyond n_q, where it is the next head's or nobody's, and 0 times NaN is NaN: mask the load.",
        (
            "delta = tl.load(delta_ptr + queries, mask=queries < n_q, other=0.0)\n        dp",
            "delta = tl.load(delta_ptr + queries)\n        dp",
        ),
    ),
    edited(
        "gradients_only_when_q_wants_one",
        "k and v got no gradient because q wants none: leave out autograd only where no input wants a gradient, or nowhere.",
        (
            "    return attention.apply(q4, k4, v4, causal, scale)",
            "    if not q.requires_grad:\n        return attention_forward(q4, k4, v4, causal, scale)[0].reshape(q.shape)\n"
            "    return attention.apply(q4, k4, v4, causal, scale)",
        ),
    ),
    edited(
        "factors_of_ds_in_half_precision",
        "p and dp - delta were rounded before they were multiplied; dp - delta may be more than float16 holds: round ds alone.",
        ("ds = p * (dp - delta[None, :])", "ds = p.to(q.dtype) * (dp - delta[None, :]).to(q.dtype)"),
    ),
    edited(
        "rounded_weights_summed",
        "The weights were rounded to the inputs' dtype before l summed them: round them for tl.dot alone.",
        ("l = l * rescale + tl.sum(p, 1)", "l = l * rescale + tl.sum(p.to(q.dtype).to(tl.float32), 1)"),
    ),
    edited(
        "low_scores_taken_for_hidden",
        "A row whose scores are all below -1000000 is taken for one that sees nothing: m is -inf there, and nothing else is.",
        ('tl.where(m_new == float("-inf"), 0.0, m_new)', "tl.where(m_new < -1.0e6, 0.0, m_new)"),
    ),
    edited(
        "sums_of_a_tile_in_half_precision",
        "What a tile adds to dk was rounded to float16, which may not hold it before it is scaled: sum all tiles in float32.",
        (
            'dk = tl.dot(ds.to(q.dtype), q, dk, input_precision="ieee")',
            'dk += tl.dot(ds.to(q.dtype), q, input_precision="ieee").to(q.dtype).to(tl.float32)',
        ),
    ),
]
