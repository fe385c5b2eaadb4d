"""Random small models."""

from __future__ import annotations

from autograder.testing.strategies import composite, sizes, st

SMALL = {
    "vocab_size": 7,
    "context_length": 6,
    "n_layers": 2,
    "n_heads": 3,
    "d_model": 6,
    "d_ff": 5,
    "tie_embeddings": False,
}


@composite
def model_sizes(draw: st.DrawFn, layers: int = 3, context: int = 7) -> dict[str, int | bool | None]:
    """The fields of a GPTConfig: odd sizes and 1 among them, d_ff given or not, tied or not."""
    n_heads = draw(sizes(1, 3))
    return {
        "vocab_size": draw(sizes(1, 11)),
        "context_length": draw(sizes(1, context)),
        "n_layers": draw(sizes(1, layers)),
        "n_heads": n_heads,
        "d_model": n_heads * draw(sizes(1, 4)),
        "d_ff": draw(st.none() | sizes(1, 9)),
        "tie_embeddings": draw(st.booleans()),
    }
