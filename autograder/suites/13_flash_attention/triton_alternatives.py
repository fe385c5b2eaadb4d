"""Right kernels that were written another way; `alternatives.py` takes them over."""

import runpy
from pathlib import Path

edited = runpy.run_path(str(Path(__file__).with_name("triton_mutants.py")))["edited"]
KEYS = (
    "        k = _load(_rows(k_head, k_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)\n"
    '        scores = tl.dot(q, tl.trans(k), input_precision="ieee")  # (block_q, block_k), float32\n'
)

ALTERNATIVES = [
    edited(
        "natural_exponentials_of_masked_weights",
        "exp of natural numbers, a loop by while, products of float32, weights masked and not scores",
        ("    for start in range(begin, end, BLOCK_K):\n        keys = start + tl.arange(0, BLOCK_K)\n" + KEYS,
         "    start = begin\n    while start < end:\n        keys = start + tl.arange(0, BLOCK_K)\n" + KEYS),
        ("        m = m_new\n", "        m = m_new\n        start += BLOCK_K\n"),
        ('acc = tl.dot(p.to(v.dtype), v, acc * rescale[:, None], input_precision="ieee")',
         'acc = acc * rescale[:, None] + tl.dot(p, v.to(tl.float32), input_precision="ieee")'),
        ('dv = tl.dot(p.to(grad.dtype), grad, dv, input_precision="ieee")',
         'dv += tl.dot(p, grad.to(tl.float32), input_precision="ieee")'),
        ('dk = tl.dot(ds.to(q.dtype), q, dk, input_precision="ieee")',
         'dk += tl.dot(ds, q.to(tl.float32), input_precision="ieee")'),
        ('            scores = tl.where(queries[None, :] >= first_seen[:, None], scores, float("-inf"))\n        p = '
         "tl.exp2(scores * scale_log2 - lse[None, :])\n",
         "            scores = scores\n        p = tl.exp2(scores * scale_log2 - lse[None, :])\n"
         "        if MASKED:\n            p = tl.where(queries[None, :] >= first_seen[:, None], p, 0.0)\n"),
        ("p = tl.exp2(scores * scale_log2 - shift[:, None])", "p = tl.exp((scores * scale_log2 - shift[:, None]) * LN_2)"),
        ("rescale = tl.exp2(m - shift)", "rescale = tl.exp((m - shift) * LN_2)"),
    ),
    edited(
        "everything_masked_in_other_tiles",
        "one loop, in which every tile is masked, over tiles of other shapes, from contiguous copies of the inputs",
        ("return seen_by_first // BLOCK_K * BLOCK_K, end, last_seen", "return seen_by_first * 0, end, last_seen"),
        ("Plan(Tiles(32, 64, 4, 1), Tiles(32, 64, 4, 1), Tiles(32, 64, 4, 1))\n    if dtype",
         "Plan(Tiles(64, 32, 4, 1), Tiles(64, 32, 4, 1), Tiles(128, 32, 4, 1))\n    if dtype"),
        ("return attention.apply(q4, k4, v4, causal, scale)",
         "return attention.apply(*(x.contiguous() for x in (q4, k4, v4)), causal, scale)"),
    ),
]  # fmt: skip
