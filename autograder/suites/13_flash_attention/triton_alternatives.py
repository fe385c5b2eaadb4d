"""Right kernels that were written another way; `alternatives.py` takes them over."""

import runpy
from pathlib import Path

edited = runpy.run_path(str(Path(__file__).with_name("triton_mutants.py")))["edited"]

ALTERNATIVES = [
    edited(
        "natural_exponentials",
        "exp of natural numbers in place of powers of two",
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
