"""GPT-2 124M: the whole model, and the published weights in it.

Everything here you have built before: attention (01, 03), blocks (04), the decoder (05), the cache (06). So PyTorch's own
functions are tools now, and what is left is the one thing that they do not give: a model that agrees with the published one to
the last digits, in 124,439,808 parameters (Radford et al. 2019, "Language models are unsupervised multitask learners").

    x = wte[ids] + wpe[positions]
    x = x + attn(ln_1(x));  x = x + mlp(ln_2(x))          for each of n_layers blocks
    logits = ln_f(x) wteᵀ

The submodules have GPT-2's published names (`wte`, `h.0.attn.c_attn`, …), so that a checkpoint is read by looking its names up.
Linear layers are PyTorch's, with weights `(out, in)`; GPT-2's were published by a framework that keeps them `(in, out)`, and
turning them around is what `load_gpt2_state_dict` is for.

Shapes: b texts of t tokens; d = d_model; h heads. Read the file from top to bottom: sizes, cache, attention, feed-forward,
block, model, weights.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class GPTConfig:
    """The sizes of a model; the defaults are those of GPT-2 124M.

    Raises ValueError for a size that is not a positive whole number, for a `d_model` that `n_heads` does not divide, and for a
    dropout outside `0 <= dropout < 1`.
    """

    vocab_size: int = 50257
    context_length: int = 1024  # the most tokens that the model sees at once
    n_layers: int = 12
    n_heads: int = 12
    d_model: int = 768
    dropout: float = 0.0

    def __post_init__(self) -> None:
        ### BEGIN SOLUTION
        sizes = ("vocab_size", "context_length", "n_layers", "n_heads", "d_model")
        for name in sizes:
            size = getattr(self, name)
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError(f"{name} must be a positive whole number, got {size!r}")
        if self.d_model % self.n_heads != 0:
            raise ValueError(f"n_heads must divide d_model, got n_heads={self.n_heads}, d_model={self.d_model}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, got {self.dropout}")
        ### END SOLUTION

    @classmethod
    def gpt2_124m(cls) -> "GPTConfig":
        """GPT-2's smallest: 12 layers of 12 heads, width 768, 1024 positions, 50257 tokens, no dropout."""
        ### BEGIN SOLUTION
        return cls(vocab_size=50257, context_length=1024, n_layers=12, n_heads=12, d_model=768)
        ### END SOLUTION


class KVCache:
    """The keys and values of every layer for up to `context_length` positions, given: module 06 is about it.

    `update(layer, k, v)` appends `(b, h, t, head_dim)` to one layer and returns all that this layer holds, as views. `length` is
    the number of positions that every layer holds; `truncate(length)` keeps the first ones.
    """

    def __init__(self, config: GPTConfig, batch_size: int = 1, dtype: torch.dtype = torch.float32, device=None) -> None:
        head_dim = config.d_model // config.n_heads
        shape = (2, config.n_layers, batch_size, config.n_heads, config.context_length, head_dim)
        self.keys, self.values = torch.empty(shape, dtype=dtype, device=device)
        self.lengths = [0] * config.n_layers

    @property
    def length(self) -> int:
        return min(self.lengths)

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        start = self.lengths[layer]
        stop = start + k.shape[2]
        if stop > self.keys.shape[3]:
            raise ValueError(f"the cache holds {start} of {self.keys.shape[3]} positions, no room for {k.shape[2]} more")
        self.keys[layer, :, :, start:stop] = k.detach()
        self.values[layer, :, :, start:stop] = v.detach()
        self.lengths[layer] = stop
        return self.keys[layer, :, :, :stop], self.values[layer, :, :, :stop]

    def truncate(self, length: int) -> None:
        self.lengths = [min(length, held) for held in self.lengths]


class CausalSelfAttention(nn.Module):
    """Multi-head causal self-attention with one linear layer for queries, keys and values together.

    Submodules: `c_attn`, `nn.Linear(d, 3 d)`, whose output is all queries, then all keys, then all values, each of them head
    after head; `c_proj`, `nn.Linear(d, d)`. In training, `config.dropout` of the attention weights and of the result is dropped.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.n_heads, self.dropout = config.n_heads, config.dropout
        self.c_attn = nn.Linear(config.d_model, 3 * config.d_model)
        self.c_proj = nn.Linear(config.d_model, config.d_model)
        ### END SOLUTION

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        """x `(b, t, d)` -> `(b, t, d)`; token i attends to the tokens up to i, with scores scaled by 1 / sqrt(head_dim).

        With a cache, the new tokens follow those that it holds for this layer: they attend to all of these as well, and their
        own keys and values are appended. t is at least 1.
        """
        ### BEGIN SOLUTION
        b, t, d = x.shape
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in self.c_attn(x).split(d, dim=-1))
        if cache is not None:
            k, v = cache.update(layer, k, v)  # (b, h, n, head_dim)
        n = k.shape[2]
        # The new tokens are the last ones, so the mask is aligned bottom-right; one token alone may see everything.
        mask = None if t in (1, n) else torch.ones(t, n, dtype=torch.bool, device=x.device).tril(n - t)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=t == n > 1)
        return F.dropout(self.c_proj(y.transpose(1, 2).flatten(2)), self.dropout, self.training)
        ### END SOLUTION


class MLP(nn.Module):
    """The position-wise layer: `c_fc`, `nn.Linear(d, 4 d)`, GELU in its tanh form, `c_proj`, `nn.Linear(4 d, d)`, dropout.

    GPT-2 was trained with the approximation gelu(x) ≈ x/2 (1 + tanh(sqrt(2/π) (x + 0.044715 x³))) (Hendrycks & Gimpel 2016);
    the exact one gives other logits.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.dropout = config.dropout
        self.c_fc = nn.Linear(config.d_model, 4 * config.d_model)
        self.c_proj = nn.Linear(4 * config.d_model, config.d_model)
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """x `(..., d)` -> `(..., d)`."""
        ### BEGIN SOLUTION
        return F.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")), self.dropout, self.training)
        ### END SOLUTION


class Block(nn.Module):
    """One pre-norm block: `ln_1`, `attn`, `ln_2`, `mlp`; the norms are `nn.LayerNorm` with eps 1e-5."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.ln_1 = nn.LayerNorm(config.d_model, eps=1e-5)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.d_model, eps=1e-5)
        self.mlp = MLP(config)
        ### END SOLUTION

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        """x `(b, t, d)` -> `(b, t, d)`: attention, then the feed-forward layer, each of a norm of x and added to x."""
        ### BEGIN SOLUTION
        x = x + self.attn(self.ln_1(x), cache, layer)
        return x + self.mlp(self.ln_2(x))
        ### END SOLUTION


class GPT(nn.Module):
    """GPT-2. The names in its `state_dict` are GPT-2's published ones, and `lm_head.weight`:

    - `wte`: `nn.Embedding(vocab_size, d)`, tokens; `wpe`: `nn.Embedding(context_length, d)`, positions
    - `h`: `nn.ModuleList` of `n_layers` blocks; `ln_f`: `nn.LayerNorm(d)`
    - `lm_head`: `nn.Linear(d, vocab_size)` without bias, whose weight is the very parameter `wte.weight`

    There is nothing else in the state. `config` is the GPTConfig. Weights are initialised as GPT-2's are: normal with
    std 0.02, those of the two `c_proj` of each block with std 0.02 / sqrt(2 n_layers); biases 0, norms 1 and 0. All numbers are
    drawn from `generator`; from PyTorch's global random state only where there is none.

    `torch.device("meta")` gives the shapes alone, for counting: 124,439,808 parameters for `GPTConfig.gpt2_124m()`.
    """

    def __init__(self, config: GPTConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.config = config
        global_state = torch.get_rng_state()
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        self.wpe = nn.Embedding(config.context_length, config.d_model)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.d_model, eps=1e-5)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight
        torch.set_rng_state(global_state)  # what PyTorch's layers drew for themselves is not kept
        residual_std = 0.02 / math.sqrt(2 * config.n_layers)
        for name, parameter in self.named_parameters():  # names a tied weight once
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                std = residual_std if name.endswith("c_proj.weight") else 0.02
                nn.init.normal_(parameter, std=std, generator=generator)
        ### END SOLUTION

    def forward(
        self, ids: Tensor, targets: Tensor | None = None, cache: KVCache | None = None, last_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """ids `(b, t)` -> logits `(b, t, vocab)` of the token after each position, and the loss.

        With targets `(b, t)`, the loss is the mean of -log p(target) over the targets that are not -100; otherwise it is None.
        With a cache, ids are t new tokens after those that it holds; it holds them, too, afterwards. The logits are those
        that the whole text has at these positions. With `last_only`, the logits of the last position alone are computed,
        `(b, 1, vocab)`: generation needs no others. `last_only` goes without targets. t is at least 1. In training,
        `config.dropout` of the embeddings is dropped.

        Raises ValueError when the text, the cached part included, is longer than the context length, and leaves the cache as
        it was; IndexError for ids outside the vocabulary.
        """
        ### BEGIN SOLUTION
        start = 0 if cache is None else cache.length
        stop = start + ids.shape[1]
        if stop > self.config.context_length:
            raise ValueError(f"a text of {stop} tokens is longer than the context length of {self.config.context_length}")
        x = self.wte(ids) + self.wpe(torch.arange(start, stop, device=ids.device))  # (b, t, d)
        x = F.dropout(x, self.config.dropout, self.training)
        for layer, block in enumerate(self.h):
            x = block(x, cache, layer)
        logits = self.lm_head(self.ln_f(x[:, -1:] if last_only else x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        ### END SOLUTION

    def new_cache(self, batch_size: int = 1) -> KVCache:
        """An empty KVCache for this model, in the dtype and on the device of its weights."""
        ### BEGIN SOLUTION
        weight = self.wte.weight
        return KVCache(self.config, batch_size, weight.dtype, weight.device)
        ### END SOLUTION


def load_gpt2_state_dict(model: GPT, state_dict: Mapping[str, Tensor]) -> GPT:
    """Copy GPT-2's published weights into the model, in place and in the model's dtype; returns the model.

    The published layout: the names of `model.state_dict()`, all with or all without `transformer.` in front. The weights of
    `c_attn`, `c_proj` and `c_fc` are `(in, out)`, so they are transposed. Buffers called `….attn.bias` and
    `….attn.masked_bias` hold masks and are ignored. `lm_head.weight` (never prefixed) may be left out; where it is there, it
    must be equal to `wte.weight`, to which it is tied.

    Parameters stay the objects that they are, and `state_dict` stays as it is. Raises ValueError for a name that is missing or
    unknown, a shape that does not fit, or an lm_head that differs; the model is then unchanged.
    """
    ### BEGIN SOLUTION
    published = {name.removeprefix("transformer."): tensor for name, tensor in state_dict.items()}
    published = {name: x for name, x in published.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    head = published.pop("lm_head.weight", None)
    own = {name: parameter for name, parameter in model.named_parameters() if name != "lm_head.weight"}
    if published.keys() != own.keys():
        missing, unknown = sorted(own.keys() - published.keys()), sorted(published.keys() - own.keys())
        raise ValueError(f"missing: {missing[:5] or 'nothing'}; unknown: {unknown[:5] or 'nothing'}")
    for name, tensor in published.items():
        if tensor.ndim == 2 and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            published[name] = tensor = tensor.T
        if tensor.shape != own[name].shape:
            raise ValueError(f"{name} must have shape {tuple(own[name].shape)}, got {tuple(tensor.shape)} (as nn.Linear has it)")
    if head is not None and not torch.equal(head, published["wte.weight"]):
        raise ValueError("lm_head.weight differs from wte.weight, but the two are one parameter")
    with torch.no_grad():
        for name, tensor in published.items():
            own[name].copy_(tensor)
    return model
    ### END SOLUTION
