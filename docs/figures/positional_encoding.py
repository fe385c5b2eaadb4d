"""Draw attention with and without positions for module 02's handout: `python docs/figures/positional_encoding.py`."""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from solutions.attention import scaled_dot_product_attention  # noqa: E402
from solutions.positional_encoding import add_positions, sinusoidal_encoding  # noqa: E402

TOKENS = "the dog saw the cat and the cat saw the dog".split()
D_MODEL = 64
TARGET = ROOT / "exercises/02_positional_encoding/attention_with_and_without_positions.png"


def word_vectors(tokens: list[str]) -> torch.Tensor:
    """A random vector for each word, about as long as a row of the sinusoidal table; the same word, the same vector."""
    vectors = torch.randn(len(set(tokens)), D_MODEL, generator=torch.Generator().manual_seed(0)) / 2**0.5
    row = {word: i for i, word in enumerate(dict.fromkeys(tokens))}
    return vectors[[row[word] for word in tokens]]


def draw(panels: dict[str, torch.Tensor]) -> Figure:
    """One heat map for each title, with the tokens along both sides and one colour scale for all."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    for axes, (title, weights) in zip(figure.subplots(1, len(panels)), panels.items()):
        image = axes.imshow(weights, cmap="Blues", vmin=0.0, vmax=max(float(w.max()) for w in panels.values()))
        axes.set(title=title, xlabel="key", ylabel="query")
        axes.set_xticks(range(len(TOKENS)), TOKENS, rotation=60)
        axes.set_yticks(range(len(TOKENS)), TOKENS)
    figure.colorbar(image, ax=figure.axes, label="attention weight", shrink=0.8)
    return figure


def main() -> None:
    words = word_vectors(TOKENS)
    placed = add_positions(words, sinusoidal_encoding(len(TOKENS), D_MODEL))
    weights = {
        "without positions: equal words, equal rows": scaled_dot_product_attention(words, words, words)[1],
        "with positions: each row is its own": scaled_dot_product_attention(placed, placed, placed)[1],
    }
    draw(weights).savefig(TARGET, dpi=110)


if __name__ == "__main__":
    main()
