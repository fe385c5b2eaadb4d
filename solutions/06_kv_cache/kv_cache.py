"""The key-value cache: memoization that makes generation ten times faster.

A decoder-only Transformer never looks ahead, so the keys and values of a position depend on the tokens up to it and
on nothing that comes later. Once computed they stay as they are, and yet plain generation computes them again, for
the whole text, at every step. Keep them instead, and a step has one new token to work on:

    without a cache   step n runs n tokens through the model, and n tokens attend to n keys
    with a cache      step n runs 1 token through the model, and it attends to n keys

That is module 04's `memoize` on a large scale, and the same bargain: time for space. The space is 2 · layers · kv
heads · head_dim numbers a token, and for long texts and many users it outgrows the model. The last exercise spends it
well, in blocks with a table for each sequence, as an operating system hands out pages (vLLM, Kwon et al. 2023,
"Efficient memory management for large language model serving with PagedAttention").

What a step still costs is reading: every weight and every cached key, once, for a few operations with each. `linear`,
which is given, is about that. Here PyTorch's fused functions are tools too: you have written each of them yourself.

Shapes: keys and values are (b, h, t, head_dim), h being the number of key and value heads. A cache is for inference:
it holds values and no graph, and no gradients are promised through it.
Not handled here: rows of one batch that are of different lengths, and text that slides on without being read again.
"""

from collections.abc import Hashable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.attention import causal_mask
from solutions.decoder_only import MiniGPT, generate_greedy
from solutions.multi_head_attention import GroupedQueryAttention, MultiHeadAttention, merge_heads, split_heads


class KVCache:
    """The keys and values of every layer, for texts of up to `max_len` positions.

    All memory is taken once, here, in the given dtype and on the given device: keys and values for `n_layers` layers,
    each `(batch_size, n_kv_heads, max_len, head_dim)`. Every layer fills its part on its own, from position 0 on.
    """

    def __init__(
        self,
        n_layers: int,
        batch_size: int,
        n_kv_heads: int,
        max_len: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        ### BEGIN SOLUTION
        shape = (n_layers, batch_size, n_kv_heads, max_len, head_dim)
        self._keys = torch.empty(shape, dtype=dtype, device=device)
        self._values = torch.empty(shape, dtype=dtype, device=device)
        self._lengths = [0] * n_layers  # positions that each layer holds
        ### END SOLUTION

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of t new positions to a layer; return all that the layer now holds.

        k, v `(b, h, t, head_dim)` -> k_all, v_all `(b, h, positions of this layer, head_dim)` in the cache's dtype. t
        may be 0. k and v are copied in, without a graph. Nothing else is copied: k_all and v_all are views of the cache,
        good until it next changes, so that an update costs the same however much the cache holds.

        Raises ValueError when the layer has no room for t more positions, or when k and v do not both have the shape
        `(b, h, t, head_dim)` of this cache, a batch of 1 in place of b included; the cache is then as it was.
        """
        ### BEGIN SOLUTION
        n_layers, b, h, max_len, head_dim = self._keys.shape
        if k.ndim != 4 or k.shape != v.shape or k.shape != (b, h, k.shape[2], head_dim):
            wanted = f"({b}, {h}, t, {head_dim})"
            raise ValueError(f"k and v must have shape {wanted}, got {tuple(k.shape)} and {tuple(v.shape)}")
        start = self._lengths[layer]
        stop = start + k.shape[2]
        if stop > max_len:
            raise ValueError(f"layer {layer} holds {start} of {max_len} positions, no room for {k.shape[2]} more")
        self._keys[layer, :, :, start:stop] = k.detach()
        self._values[layer, :, :, start:stop] = v.detach()
        self._lengths[layer] = stop
        return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]
        ### END SOLUTION

    @property
    def length(self) -> int:
        """How many positions every layer holds: in the middle of a forward pass, those from before it."""
        ### BEGIN SOLUTION
        return min(self._lengths)
        ### END SOLUTION

    def truncate(self, length: int) -> None:
        """Keep the first `length` positions of every layer and forget the rest, so that the next update follows them.

        Raises ValueError when `length` is negative or more than `self.length`; the cache is then as it was.
        """
        ### BEGIN SOLUTION
        if not 0 <= length <= self.length:
            raise ValueError(f"length must lie in 0..{self.length}, the positions that are there, got {length}")
        self._lengths = [length] * len(self._lengths)
        ### END SOLUTION

    def reorder(self, beam_index: Tensor) -> None:
        """Rearrange the batch in every layer: row i becomes a copy of what was row `beam_index[i]` before.

        beam_index is `(b,)` of int64; a row may be named several times and another not at all, as when a beam search
        drops some texts and continues others twice.

        Raises ValueError when beam_index is not `(b,)` or names a row past the last; the cache is then as it was.
        """
        ### BEGIN SOLUTION
        b = self._keys.shape[1]
        if beam_index.shape != (b,) or not all(0 <= row < b for row in beam_index.tolist()):
            raise ValueError(f"beam_index must name {b} rows, each in 0..{b - 1}, got {beam_index.tolist()}")
        held = max(self._lengths)
        for buffer in (self._keys, self._values):
            buffer[..., :held, :] = buffer[..., :held, :].index_select(1, beam_index)
        ### END SOLUTION

    @property
    def nbytes(self) -> int:
        """Bytes of the whole capacity, keys and values, however much of it is filled."""
        ### BEGIN SOLUTION
        return self._keys.nbytes + self._values.nbytes
        ### END SOLUTION


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """`layer(x)`; given, to be used in place of it where x may be a single row: (..., in) -> (..., out).

    With one row, each weight is read from memory for one multiplication, and reading is all that takes time. The BLAS
    under PyTorch has a routine for matrix times vector. On Intel's processors it reads as fast as memory gives; on AMD's
    it reads with one core, at half of that core's speed, and there matrix times matrix is written with more care. So
    cut the row in halves and make them two columns, and cut each row of the weight in the same way, which takes nothing
    but another shape for the same numbers:

        weight x = weight_left x_left + weight_right x_right

    The product of all halves by all holds these two and two more that nobody needs: arithmetic is free here. A weight
    below a mebibyte is in the processor's cache already, and a GPU's library chooses well by itself.
    """
    if type(layer) is not nn.Linear or layer.in_features * layer.out_features < 2**18:
        return layer(x)
    weight, bias, n_in = layer.weight, layer.bias, layer.in_features
    one_row = x.shape[-1] == x.numel() == n_in and n_in % 2 == 0
    if not one_row or x.dtype != torch.float32 or x.device.type != "cpu" or not weight.is_contiguous():
        return layer(x)
    if "AMD" not in torch.cpu.get_capabilities().get("cpu_name", ""):
        return layer(x)
    halves = weight.view(-1, n_in // 2) @ x.reshape(2, -1).mT  # (2 out, 2)
    y = halves[::2, 0] + halves[1::2, 1]  # left by left and right by right: (out,)
    return (y if bias is None else y + bias).view(*x.shape[:-1], -1)


def attend_with_cache(attention: MultiHeadAttention | GroupedQueryAttention, x: Tensor, cache: KVCache, layer: int) -> Tensor:
    """Causal self-attention of t new tokens to everything that the cache holds for this layer, and to themselves.

    x `(b, t, d_model)` -> `(b, t, d_model)`: the rows that `attention(text, mask=causal)` has at these t positions,
    the text being what was given for this layer before, followed by x. The new tokens' keys and values (those that
    `attention` makes, one for each key and value head) are appended to the cache. x and `attention` are left as they are.

    `attention` is one of module 03's: a `GroupedQueryAttention` has `n_kv_heads`, a `MultiHeadAttention` has as many
    as it has `n_heads`. Cache and x have the same dtype, and t is at least 1. Raises ValueError when the cache has no
    room; it is then as it was.
    """
    ### BEGIN SOLUTION
    b, t, _ = x.shape
    n_heads, head_dim = attention.n_heads, attention.head_dim
    n_kv_heads = getattr(attention, "n_kv_heads", n_heads)
    group = n_heads // n_kv_heads
    k_new = split_heads(linear(attention.w_k, x), n_kv_heads)  # (b, kv heads, t, head_dim)
    v_new = split_heads(linear(attention.w_v, x), n_kv_heads)
    k, v = cache.update(layer, k_new, v_new)  # (b, kv heads, n, head_dim)
    # Query heads that share a key head are put below each other, as if they were more tokens: nothing is repeated.
    q = split_heads(linear(attention.w_q, x), n_heads).reshape(b, n_kv_heads, group * t, head_dim)
    # A single new token is the last one and may see every key, so it needs no mask. Where nothing came before, the mask
    # is square and `is_causal` means the same, without making it and without the scores that it would rule out.
    square = group == 1 and t == k.shape[2]
    mask = None if t == 1 or square else causal_mask(t, k.shape[2]).to(x.device).repeat(group, 1)
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=square)
    return linear(attention.w_o, merge_heads(heads.reshape(b, n_heads, t, head_dim)))
    ### END SOLUTION


def hidden_states(model: MiniGPT, ids: Tensor, cache: KVCache) -> Tensor:
    """What `prefill` and `generate` share: the model as far as its final norm, on t new tokens, `(b, t)` -> `(b, t, d)`.

    The output layer is not part of it: generation needs the logits of the last position alone, and in a small model
    that layer is the largest.
    """
    ### BEGIN SOLUTION
    x = model.position_embedding(model.token_embedding(ids), offset=cache.length)  # (b, t, d)
    for layer, block in enumerate(model.blocks):
        x = x + attend_with_cache(block.attention, block.norm_1(x), cache, layer)
        wide = F.gelu(linear(block.feed_forward.w_in, block.norm_2(x)))  # (b, t, d_ff)
        x = x + linear(block.feed_forward.w_out, wide)
    return model.final_norm(x)
    ### END SOLUTION


def prefill(model: MiniGPT, ids: Tensor, cache: KVCache) -> Tensor:
    """Read t tokens in one pass, after those that the cache already holds: ids `(b, t)` -> logits `(b, t, vocab)`.

    The logits are those that `model` gives at these positions of the whole text, and the cache holds the whole text
    afterwards; nothing else changes. A prompt may be read in one piece or in several. t is at least 1,
    and all layers of the cache hold equally many tokens.

    Raises ValueError when the cache has no room, or when the whole text is longer than the model's context length; the
    cache is then as it was.
    """
    ### BEGIN SOLUTION
    return linear(model.lm_head, hidden_states(model, ids, cache))
    ### END SOLUTION


def decode_step(model: MiniGPT, token_ids: Tensor, cache: KVCache) -> Tensor:
    """Read one more token for each text: token_ids `(b,)` -> the logits of the token after it, `(b, vocab)`.

    The same numbers as the last row of `model(text)`, for the work of a single token: attention to the n positions of
    the cache grows with n, everything else does not. Nothing but the cache changes.

    Raises ValueError as `prefill` does; the cache is then as it was.
    """
    ### BEGIN SOLUTION
    return prefill(model, token_ids[:, None], cache)[:, 0]
    ### END SOLUTION


def generate(model: MiniGPT, ids: Tensor, max_new_tokens: int, use_cache: bool = True) -> Tensor:
    """Greedy generation, `(b, t)` -> `(b, t + max_new_tokens)`: the tokens of `generate_greedy`, sooner.

    With the cache the prompt is read once, and each new token once, alone. Without it the whole text is read again for
    every new token, as `generate_greedy` does: that is there to compare with. The tokens are the same.

    The model reads the last `model.config.context_length` tokens at most, and the result holds the whole prompt all the
    same. When the text outgrows the context, the window moves on by one token a step. Every token then stands at
    another position, all keys and values are new, and the cache is filled again from the window.

    The cache has the dtype of the model. No gradients are recorded, `ids` is left as it is, a model in train or eval
    mode stays in it, and the result is an ordinary tensor that the model may be trained on.

    Raises ValueError when `max_new_tokens` is negative or the prompt has no token to start from.
    """
    ### BEGIN SOLUTION
    b, t = ids.shape
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    if t == 0:
        raise ValueError(f"ids must hold at least one token to start from, got shape {tuple(ids.shape)}")
    if not use_cache:
        return generate_greedy(model, ids, max_new_tokens)

    context_length, weight = model.config.context_length, model.lm_head.weight
    attention = model.blocks[0].attention
    n_kv_heads = getattr(attention, "n_kv_heads", attention.n_heads)
    text = torch.cat([ids, ids.new_empty(b, max_new_tokens)], dim=1)
    with torch.inference_mode():
        max_len = min(context_length, t + max_new_tokens)
        cache = KVCache(len(model.blocks), b, n_kv_heads, max_len, attention.head_dim, dtype=weight.dtype, device=weight.device)
        for end in range(t, t + max_new_tokens):
            if cache.length == end - 1 < context_length:  # all but the last token is cached where it stands
                logits = decode_step(model, text[:, end - 1], cache)
            else:  # the prompt is unread, or the window has moved
                cache.truncate(0)
                window = text[:, max(0, end - context_length) : end]
                logits = linear(model.lm_head, hidden_states(model, window, cache)[:, -1])
            text[:, end] = logits.argmax(-1)
    return text
    ### END SOLUTION


def cache_bytes(n_layers: int, n_kv_heads: int, head_dim: int, seq_len: int, batch_size: int, dtype: torch.dtype) -> int:
    """Bytes of the keys and values of `batch_size` texts of `seq_len` tokens, without allocating any; an int.

    The dtype may be any, int8 among them: some caches are quantised.

    This is what limits how many texts one machine can serve at a time. GPT-2 small needs 36 KiB a token in float16.
    """
    ### BEGIN SOLUTION
    return 2 * n_layers * n_kv_heads * head_dim * seq_len * batch_size * dtype.itemsize
    ### END SOLUTION


class PagedKVCache:
    """One layer's keys and values of many sequences in a shared pool of blocks (vLLM, Kwon et al. 2023, section 4).

    Texts grow to lengths that nobody knows beforehand, and a `KVCache` for each of them would stand mostly empty. Here
    memory is a pool of `n_blocks` blocks of `block_size` positions each. A sequence has a table of the blocks that are
    its own, wherever they lie in the pool, and takes another only when its last one is full: a sequence of n positions
    has exactly ceil(n / block_size) blocks, and less than one block of each sequence is unused.

    A sequence is named by any hashable `seq_id`, and begins with its first append. The pool takes the dtype and the
    device of the first keys appended; all later ones have the same.

    Raises ValueError when `block_size` is less than 1.
    """

    def __init__(self, n_blocks: int, block_size: int, n_kv_heads: int, head_dim: int) -> None:
        ### BEGIN SOLUTION
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {block_size}")
        self._shape = (n_blocks, block_size, n_kv_heads, head_dim)
        self._keys: Tensor | None = None  # allocated when the dtype is known
        self._values: Tensor | None = None
        self._free = list(range(n_blocks))
        self._tables: dict[Hashable, list[int]] = {}  # the blocks of each sequence, in order
        self._lengths: dict[Hashable, int] = {}  # the positions of each sequence
        ### END SOLUTION

    def append(self, seq_id: Hashable, k: Tensor, v: Tensor) -> None:
        """Append the keys and values of t positions, `(n_kv_heads, t, head_dim)` each, to a sequence; t is at least 1.

        They are copied in, without a graph; the first append of a seq_id begins its sequence.

        Raises ValueError when k and v do not both have that shape, or when there are not enough free blocks. Then
        nothing has changed: not the sequence, not the number of free blocks, and a sequence that was unknown still is.
        """
        ### BEGIN SOLUTION
        _, block_size, h, head_dim = self._shape
        if k.ndim != 3 or k.shape != v.shape or k.shape != (h, k.shape[1], head_dim):
            wanted = f"({h}, t, {head_dim})"
            raise ValueError(f"k and v must have shape {wanted}, got {tuple(k.shape)} and {tuple(v.shape)}")
        start, table = self._lengths.get(seq_id, 0), self._tables.get(seq_id, [])
        stop = start + k.shape[1]
        n_more = -(-stop // block_size) - len(table)
        if n_more > len(self._free):
            raise ValueError(f"out of blocks: sequence {seq_id!r} needs {n_more} more, {len(self._free)} are free")
        if self._keys is None:
            self._keys, self._values = k.new_empty(self._shape), v.new_empty(self._shape)
        table = table + [self._free.pop() for _ in range(n_more)]
        position = torch.arange(start, stop)
        block, slot = torch.tensor(table)[position // block_size], position % block_size  # (t,) each
        self._keys[block, slot] = k.detach().transpose(0, 1)  # (t, h, head_dim)
        self._values[block, slot] = v.detach().transpose(0, 1)
        self._tables[seq_id], self._lengths[seq_id] = table, stop
        ### END SOLUTION

    def gather(self, seq_id: Hashable) -> tuple[Tensor, Tensor]:
        """All keys and values of a sequence in order, `(n_kv_heads, length, head_dim)` each.

        They are copies, which nothing that happens to the cache later will change.

        Raises ValueError (a KeyError will do) when there is no such sequence.
        """
        ### BEGIN SOLUTION
        if seq_id not in self._tables:
            raise ValueError(f"there is no sequence {seq_id!r}")
        table, length = self._tables[seq_id], self._lengths[seq_id]
        k, v = (pool[table].flatten(0, 1)[:length].transpose(0, 1) for pool in (self._keys, self._values))
        return k, v
        ### END SOLUTION

    def free(self, seq_id: Hashable) -> None:
        """Forget a sequence; its blocks go back to the pool, and its seq_id is unknown from now on.

        Raises ValueError (a KeyError will do) when there is no such sequence.
        """
        ### BEGIN SOLUTION
        if seq_id not in self._tables:
            raise ValueError(f"there is no sequence {seq_id!r}")
        self._free += self._tables.pop(seq_id)
        del self._lengths[seq_id]
        ### END SOLUTION

    @property
    def n_free_blocks(self) -> int:
        """How many blocks belong to no sequence."""
        ### BEGIN SOLUTION
        return len(self._free)
        ### END SOLUTION
