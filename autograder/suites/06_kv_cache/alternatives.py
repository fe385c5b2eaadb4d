"""Unusual right solutions: each must get full marks."""

import torch

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit(
        "narrow_and_copy",
        "KVCache",
        "Written with narrow and copy_, the layers unbound from one buffer for keys and values together.",
        (
            "        self._keys = torch.empty(shape, dtype=dtype, device=device)\n"
            "        self._values = torch.empty(shape, dtype=dtype, device=device)\n",
            "        self._both = torch.zeros((2, *shape), dtype=dtype, device=device)\n"
            "        self._keys, self._values = self._both.unbind()\n",
        ),
        (
            "self._keys[layer, :, :, start:stop] = k.detach()",
            "self._keys.select(0, layer).narrow(2, start, stop - start).copy_(k.detach())",
        ),
        ("return self._keys.nbytes + self._values.nbytes", "return self._both.numel() * self._both.element_size()"),
    ),
    edit(
        "mask_as_numbers",
        "attend_with_cache",
        "The mask is a matrix of zeros and minus infinities, for a single token too.",
        (
            "    mask = None if t == 1 or square else causal_mask(t, k.shape[2]).to(x.device).repeat(group, 1)\n",
            "    mask = x.new_full((t, k.shape[2]), -torch.inf).triu(k.shape[2] - t + 1).repeat(group, 1)\n",
        ),
        ("is_causal=square", "is_causal=False"),
    ),
    edit(
        "queries_one_by_one",
        "attend_with_cache",
        "Each new token attends by itself to as many keys as it may see, without any mask.",
        (
            "    mask = None if t == 1 or square else causal_mask(t, k.shape[2]).to(x.device).repeat(group, 1)\n"
            "    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=square)\n",
            "    q = q.unflatten(2, (group, t))\n"
            "    heads = torch.empty_like(q)\n"
            "    for i in range(t):\n"
            "        n = k.shape[2] - t + 1 + i\n"
            "        weights = (q[:, :, :, i] @ k[:, :, :n].mT / head_dim**0.5).softmax(-1)\n"
            "        heads[:, :, :, i] = weights @ v[:, :, :n]\n",
        ),
    ),
    edit(
        "a_last_row_of_a_list",
        "decode_step",
        "Each text's single token as a text of its own shape, with unsqueeze and squeeze.",
        (
            "return prefill(model, token_ids[:, None], cache)[:, 0]",
            "return prefill(model, ids=token_ids.unsqueeze(-1), cache=cache).squeeze(1)",
        ),
    ),
    edit(
        "no_grad_and_a_larger_cache",
        "generate",
        "Under no_grad, with a cache for the whole context whatever is asked for, and the result in pieces.",
        ("with torch.inference_mode():", "with torch.no_grad():"),
        ("max_len = min(context_length, t + max_new_tokens)", "max_len = context_length + 3"),
        ("text[:, end] = logits.argmax(-1)", "text[:, end] = logits.topk(1).indices.flatten()"),
    ),
]


@alternative("KVCache", "Buffers for each layer with the time dimension first, and the counts in a tensor.")
class TimeFirst:
    def __init__(self, n_layers, batch_size, n_kv_heads, max_len, head_dim, dtype=torch.float32, device=None, fill=0.0):
        shape = (max_len, batch_size, n_kv_heads, head_dim)
        self.buffers = [tuple(torch.full(shape, fill, dtype=dtype, device=device) for _ in "kv") for _ in range(n_layers)]
        self.counts = torch.zeros(n_layers, dtype=torch.long)
        self.capacity = max_len

    def update(self, layer, k, v):
        for name, x, buffer in zip("kv", (k, v), self.buffers[layer], strict=True):
            if x.dim() != 4 or x.permute(2, 0, 1, 3).shape[1:] != buffer.shape[1:] or x.size(2) != k.size(2):
                raise TypeError(f"{name} has shape {list(x.shape)}")
        positions = torch.arange(k.size(2)) + self.counts[layer]
        if len(positions) and positions[-1] >= self.capacity:
            raise IndexError("full")
        for x, buffer in zip((k, v), self.buffers[layer], strict=True):
            buffer.index_copy_(0, positions, x.detach().permute(2, 0, 1, 3).to(buffer.dtype))
        self.counts[layer] += k.size(2)
        k_all, v_all = (buffer[: int(self.counts[layer])].permute(1, 2, 0, 3) for buffer in self.buffers[layer])
        return k_all, v_all

    length = property(lambda self: int(self.counts.min()))

    def truncate(self, length):
        if length > self.length or length < 0:
            raise ValueError(length)
        self.counts.fill_(length)

    def reorder(self, beam_index):
        b = self.buffers[0][0].size(1)
        if tuple(beam_index.shape) != (b,) or (b and not 0 <= int(beam_index.min()) <= int(beam_index.max()) < b):
            raise IndexError(beam_index)
        self.buffers = [tuple(x[:, beam_index] for x in pair) for pair in self.buffers]

    @property
    def nbytes(self):
        return sum(x.numel() * x.element_size() for pair in self.buffers for x in pair)


@alternative("KVCache", "A module with buffers, so that it moves with a model; width first in memory; recursion to reorder.")
class AsModule(torch.nn.Module):
    def __init__(self, n_layers, batch_size, n_kv_heads, max_len, head_dim, dtype=torch.float32, device=None):
        super().__init__()
        self.limits = n_layers, batch_size, n_kv_heads, max_len, head_dim
        for name in ("past_keys", "past_values"):
            shape = (n_layers, batch_size, n_kv_heads, head_dim, max_len)
            self.register_buffer(name, torch.zeros(shape, dtype=dtype, device=device))
        self.used = dict.fromkeys(range(n_layers), 0)

    @torch.no_grad()
    def update(self, layer, k, v):
        _, b, h, max_len, d = self.limits
        t = k.shape[-2]
        for x in (k, v):
            if list(x.shape) != [b, h, t, d]:
                raise ValueError("shape")
        used = self.used[layer]
        if used + t > max_len:
            raise ValueError("overflow")
        self.past_keys[layer][..., used : used + t] = k.mT
        self.past_values[layer][..., used : used + t] = v.mT
        self.used[layer] = used + t
        return self.past_keys[layer][..., : used + t].mT, self.past_values[layer][..., : used + t].mT

    @property
    def length(self):
        return sorted(self.used.values())[0]

    def truncate(self, length):
        if length not in range(self.length + 1):
            raise ValueError("length")
        self.used = {layer: length for layer in self.used}

    @torch.no_grad()
    def reorder(self, beam_index):
        rows = beam_index.tolist() if beam_index.ndim == 1 else []
        if len(rows) != self.limits[1] or any(row >= len(rows) for row in rows):
            raise ValueError("beam_index")

        def place(i):
            if i == len(rows):
                return
            keys, values = self.past_keys[:, rows[i]].clone(), self.past_values[:, rows[i]].clone()
            place(i + 1)  # every row is taken out before any is put back
            self.past_keys[:, i], self.past_values[:, i] = keys, values

        place(0)

    @property
    def nbytes(self):
        return sum(x.nbytes for x in self.buffers())


@alternative("attend_with_cache", "By hand, with einsum, keys repeated for every head, and masked_fill after the scores.")
def with_einsum(attention, x, cache, layer, window=None):
    b, t, d = x.shape
    h = attention.n_heads
    kv = h if not hasattr(attention, "n_kv_heads") else attention.n_kv_heads
    q = attention.w_q(x).view(b, t, h, -1)
    k, v = (w(x).view(b, t, kv, d // h).permute(0, 2, 1, 3) for w in (attention.w_k, attention.w_v))
    k, v = (torch.repeat_interleave(y, h // kv, dim=1) for y in cache.update(layer, k, v))
    scores = torch.einsum("bthd,bhnd->bhtn", q, k) * (d // h) ** -0.5
    n = k.shape[2]
    position = torch.arange(n - t, n, device=x.device)
    scores = scores.masked_fill(torch.arange(n, device=x.device)[None, :] > position[:, None], float("-inf"))
    return attention.w_o(torch.einsum("bhtn,bhnd->bthd", scores.softmax(-1), v).reshape(b, t, d))


@alternative("attend_with_cache", "Head by head, with module 01's kind of attention in float64 and log-space weights.")
def head_by_head(attention, x, cache, layer):
    b, t, _ = x.shape
    kv = getattr(attention, "n_kv_heads", attention.n_heads)
    k, v = cache.update(layer, split_heads(attention.w_k(x), kv), split_heads(attention.w_v(x), kv))
    k, v, q = k.double(), v.double(), attention.w_q(x).double()
    visible, heads = causal_mask(t, k.shape[2]), []
    for i, q_i in enumerate(q.chunk(attention.n_heads, dim=-1)):
        j = i * kv // attention.n_heads
        scores = torch.where(visible, q_i @ k[:, j].transpose(1, 2) * q_i.shape[-1] ** -0.5, float("-inf"))
        heads.append((scores - scores.logsumexp(-1, keepdim=True)).exp() @ v[:, j])
    return attention.w_o(torch.cat(heads, dim=-1).to(x.dtype))


@alternative("prefill", "The rows of the position table are added here, after a look at whether they are there.")
def positions_added_by_hand(model, ids, cache):
    start, stop = cache.length, cache.length + ids.size(1)
    if stop > model.config.context_length:
        raise IndexError(stop)
    x = model.token_embedding.weight[ids] + model.position_embedding.weight[start:stop]
    for i in range(len(model.blocks)):
        block = model.blocks[i]
        x = attend_with_cache(block.attention, block.norm_1(x), cache, i) + x
        x = block.feed_forward(block.norm_2(x)) + x
    return F.linear(model.final_norm(x), model.lm_head.weight)


@alternative("prefill", "Each block runs its own forward, with an attention put in its place that uses the cache.")
def through_the_blocks(model, ids, cache):
    class Cached(torch.nn.Module):
        def __init__(self, attention, layer):
            super().__init__()
            self.run = lambda x: attend_with_cache(attention, x, cache=cache, layer=layer)

        def forward(self, x, context=None, mask=None):
            return self.run(x)

    x = model.position_embedding(model.token_embedding(ids), cache.length)
    for layer, block in enumerate(model.blocks):
        attention = block.attention
        block.attention = Cached(attention, layer)
        try:
            x = block(x)
        finally:
            block.attention = attention
    return model.final_norm(x) @ model.lm_head.weight.T


@alternative("decode_step", "Its own pass through the blocks, without a time dimension where there is none.")
def own_pass(model, token_ids, cache):
    place = cache.length
    if place >= len(model.position_embedding.weight):
        raise ValueError("the context is full")
    x = model.token_embedding(token_ids) + model.position_embedding.weight[place]
    for i, block in enumerate(model.blocks):
        x = x + attend_with_cache(block.attention, block.norm_1(x)[:, None, :], cache, i).squeeze(1)
        x = x + block.feed_forward(block.norm_2(x))
    return F.linear(model.final_norm(x), model.lm_head.weight)


@alternative("generate", "The tokens in a list, a fresh cache whenever the window moves, both modes in one loop.")
def list_of_tokens(model, ids, max_new_tokens, use_cache=True, verbose=False):
    if max_new_tokens < 0 or ids.shape[1] < 1:
        raise ValueError("arguments")
    attention, limit = model.blocks[0].attention, model.config.context_length
    columns, cache = list(ids.unbind(1)), None
    with torch.set_grad_enabled(False):
        for _ in range(max_new_tokens):
            window = torch.stack(columns[-limit:], dim=1)
            if not use_cache:
                logits = model(window)[0].detach()[:, -1]
            elif cache is not None and len(columns) <= limit:
                logits = decode_step(model, columns[-1], cache)
            else:
                sizes = len(model.blocks), len(ids), attention.n_heads, limit, attention.head_dim
                cache = KVCache(*sizes, dtype=next(model.parameters()).dtype, device=ids.device)
                logits = prefill(model, window, cache)[:, -1]
            columns.append(logits.max(-1)[1])
    return torch.stack(columns, dim=1)


@alternative("generate", "A generator of tokens, in eval mode meanwhile; past the context the plain model reads the window.")
def generator_of_tokens(model, ids, max_new_tokens, use_cache=True):
    limit = model.config.context_length
    if not use_cache or max_new_tokens < 0 or not ids.shape[1]:
        return generate_greedy(model, ids, max_new_tokens)

    def tokens():
        head_dim = model.config.d_model // model.config.n_heads
        dtype = model.final_norm.weight.dtype
        cache = KVCache(model.config.n_layers, ids.shape[0], model.config.n_heads, limit, head_dim, dtype)
        text, logits = ids, None
        while True:
            if text.shape[1] > limit:
                logits = model(text[:, -limit:])[0][:, -1:]
            else:
                logits = prefill(model, text[:, cache.length :], cache)
            text = torch.cat([text, logits[:, -1:].argmax(-1)], dim=1)
            yield text

    was_training = model.training
    model.eval()
    with torch.no_grad():
        text = ids.clone() if max_new_tokens == 0 else [text for _, text in zip(range(max_new_tokens), tokens())][-1]
    model.train(was_training)
    return text


@alternative("cache_bytes", "The bytes of a real tensor on the meta device, which takes no memory.")
def on_the_meta_device(n_layers, n_kv_heads, head_dim, seq_len, batch_size, dtype):
    shape = (2, n_layers, batch_size, n_kv_heads, seq_len, head_dim)
    return torch.empty(shape, dtype=dtype, device="meta").nbytes


@alternative("PagedKVCache", "Blocks are small tensors in a dictionary, made when they are taken, filled slot by slot.")
class BlocksInADictionary:
    def __init__(self, n_blocks, block_size, n_kv_heads, head_dim, name="pool"):
        if block_size <= 0:
            raise ValueError("block_size")
        self.n_free_blocks, self.block_size, self.sizes = n_blocks, block_size, (n_kv_heads, head_dim)
        self.blocks = {}  # (seq_id, number) -> (2, h, block_size, head_dim)
        self.used = {}

    def append(self, seq_id, k, v):
        h, d = self.sizes
        if k.dim() != 3 or v.dim() != 3 or (k.size(0), k.size(2)) != (h, d) or k.shape != v.shape:
            raise TypeError("shape")
        before, t = self.used.get(seq_id, 0), k.size(1)
        wanted = -(-(before + t) // self.block_size) - -(-before // self.block_size)
        if wanted > self.n_free_blocks:
            raise ValueError("out of blocks")
        self.n_free_blocks -= wanted
        for i in range(t):
            number, slot = divmod(before + i, self.block_size)
            if (seq_id, number) not in self.blocks:
                self.blocks[seq_id, number] = k.new_zeros(2, h, self.block_size, d)
            self.blocks[seq_id, number][0, :, slot] = k.detach()[:, i]
            self.blocks[seq_id, number][1, :, slot] = v.detach()[:, i]
        self.used[seq_id] = before + t

    def _numbers(self, seq_id):
        return range(-(-self.used[seq_id] // self.block_size))

    def gather(self, seq_id):
        both = torch.cat([self.blocks[seq_id, number] for number in self._numbers(seq_id)], dim=2)
        return both[0, :, : self.used[seq_id]], both[1, :, : self.used[seq_id]]

    def free(self, seq_id):
        for number in self._numbers(seq_id):
            del self.blocks[seq_id, number]
            self.n_free_blocks += 1
        del self.used[seq_id]


@alternative("PagedKVCache", "Every slot has an owner and a position; a sequence is found by looking for its slots.")
class OwnersOfSlots:
    def __init__(self, n_blocks, block_size, n_kv_heads, head_dim):
        if not block_size > 0:
            raise ValueError("block_size")
        self.block_size, self.width = block_size, (n_kv_heads, head_dim)
        self.owner = torch.full((n_blocks,), -1)
        self.position = torch.full((n_blocks, block_size), -1)
        self.pool, self.names = None, {}

    @property
    def n_free_blocks(self):
        return int((self.owner < 0).sum())

    def _slots(self, seq_id):
        if seq_id not in self.names:
            raise KeyError(seq_id)
        mine = torch.where(self.owner[:, None] == self.names[seq_id], self.position, -1).flatten()
        return mine.argsort()[int((mine < 0).sum()) :]

    def append(self, seq_id, k, v):
        if [*k.shape[:1], *k.shape[2:]] != list(self.width) or k.shape != v.shape:
            raise ValueError("shape")
        known = seq_id in self.names
        n, t = len(self._slots(seq_id)) if known else 0, k.shape[1]
        room = -n % self.block_size
        wanted = max(0, -(-(t - room) // self.block_size))
        if wanted > self.n_free_blocks:
            raise ValueError("out of blocks")
        name = self.names.setdefault(seq_id, max(self.names.values(), default=-1) + 1)
        if self.pool is None:
            self.pool = torch.empty(self.position.numel(), 2, *self.width, dtype=k.dtype)
        taken = torch.nonzero(self.owner < 0).flatten()[:wanted]
        last = self._slots(seq_id)[-1:] // self.block_size if room else taken[:0]
        free = torch.cat([torch.arange(self.block_size) + block * self.block_size for block in [*last, *taken]])
        slots = free[self.position.flatten()[free] < 0][:t]
        self.owner[taken] = name
        self.position.view(-1)[slots] = torch.arange(n, n + t)
        self.pool[slots] = torch.stack([k, v]).detach().permute(2, 0, 1, 3)

    def gather(self, seq_id):
        both = self.pool[self._slots(seq_id)].permute(1, 2, 0, 3)
        return both[0], both[1]

    def free(self, seq_id):
        mine = self.owner == self.names[seq_id]
        self.owner[mine], self.position[mine] = -1, -1
        del self.names[seq_id]


@alternative("KVCache", "One buffer, narrow and copy_, a new buffer when rows are rearranged, a named tuple.")
class OneBuffer:
    __slots__ = ("buffer", "filled")

    def __init__(self, n_layers, batch_size, n_kv_heads, max_len, head_dim, dtype=torch.float32, device=None):
        self.buffer = torch.zeros(2, n_layers, batch_size, n_kv_heads, max_len, head_dim, dtype=dtype, device=device)
        self.filled = [0] * n_layers

    @property
    def length(self):
        return sorted(self.filled)[0]

    @property
    def nbytes(self):
        return self.buffer.numel() * self.buffer.element_size()

    @torch.no_grad()
    def update(self, layer, k, v):
        from collections import namedtuple

        _, _, b, h, max_len, d = self.buffer.shape
        if k.dim() != 4 or tuple(k.shape) != (b, h, k.size(2), d) or tuple(v.shape) != tuple(k.shape):
            raise TypeError("shape")
        at, t = self.filled[layer], k.size(2)
        if t > max_len - at:
            raise IndexError("full")
        for buffer, new in zip(self.buffer[:, layer], (k, v)):
            buffer.narrow(2, at, t).copy_(new)
        self.filled[layer] += t
        return namedtuple("Held", "k v")(*self.buffer[:, layer, :, :, : at + t].unbind(0))

    def truncate(self, length):
        if length < 0 or length > self.length:
            raise IndexError("length")
        self.filled = [min(n, length) for n in self.filled]

    def reorder(self, beam_index):
        b = self.buffer.shape[2]
        if beam_index.dim() != 1 or len(beam_index) != b or (beam_index >= b).any() or (beam_index < 0).any():
            raise ValueError("beam_index")
        self.buffer = self.buffer[:, :, beam_index]


@alternative("attend_with_cache", "einsum over groups and their members, the mask from positions.")
def einsum_over_groups(attention, x, cache, layer):
    b, t, d = x.shape
    n_kv_heads = getattr(attention, "n_kv_heads", attention.n_heads)
    k, v = cache.update(layer, *(split_heads(w(x), n_kv_heads) for w in (attention.w_k, attention.w_v)))
    n = k.shape[2]
    q = attention.w_q(x).view(b, t, n_kv_heads, -1, attention.head_dim)
    scores = torch.einsum("btghd,bgnd->bghtn", q, k) / attention.head_dim**0.5
    scores = scores.masked_fill(torch.arange(n) > torch.arange(n - t, n)[:, None], float("-inf"))
    return attention.w_o(torch.einsum("bghtn,bgnd->btghd", scores.softmax(-1), v).reshape(b, t, d))


@alternative("KVCache", "An object for each layer, filled in inference mode, and properties by __getattr__.")
class ObjectForEachLayer:
    class Layer:
        def __init__(self, shape, dtype, device):
            self.k, self.v = (torch.empty(shape, dtype=dtype, device=device) for _ in "kv")
            self.n = 0

        @torch.inference_mode()
        def append(self, k, v):
            b, h, max_len, d = self.k.shape
            t = k.shape[-2]
            if tuple(k.shape) != (b, h, t, d) or k.shape != v.shape or self.n + t > max_len:
                raise ValueError("shape")
            self.k.narrow(-2, self.n, t).copy_(k)
            self.v.narrow(-2, self.n, t).copy_(v)
            self.n += t
            return self.k[..., : self.n, :], self.v[..., : self.n, :]

    def __init__(self, n_layers, batch_size, n_kv_heads, max_len, head_dim, dtype=torch.float32, device=None):
        shape = batch_size, n_kv_heads, max_len, head_dim
        self.layers = [self.Layer(shape, dtype, device) for _ in range(n_layers)]

    def __getattr__(self, name):
        if name == "length":
            return min(layer.n for layer in self.layers)
        if name == "nbytes":
            return sum(layer.k.nbytes + layer.v.nbytes for layer in self.layers)
        raise AttributeError(name)

    def update(self, layer, k, v):
        return self.layers[layer].append(k, v)

    def truncate(self, length):
        if not 0 <= length <= self.length:
            raise ValueError("length")
        for layer in self.layers:
            layer.n = length

    def reorder(self, beam_index):
        b = len(self.layers[0].k)
        if beam_index.shape != torch.Size([b]) or beam_index.max() >= b:
            raise ValueError("beam_index")
        for layer in self.layers:
            layer.k[:], layer.v[:] = layer.k[beam_index], layer.v[beam_index]


@alternative("attend_with_cache", "In inference mode, the mask made of the dtype's smallest number, in place.")
@torch.inference_mode()
def in_inference_mode(attention, x, cache, layer):
    h = attention.n_heads
    kv = getattr(attention, "n_kv_heads", h)
    k, v = cache.update(layer, split_heads(attention.w_k(x), kv), split_heads(attention.w_v(x), kv))
    q = split_heads(attention.w_q(x), h).unflatten(1, (kv, h // kv))
    scores = torch.einsum("bgmtd,bgnd->bgmtn", q, k).div_(attention.head_dim**0.5)
    smallest = torch.full(scores.shape[-2:], torch.finfo(x.dtype).min, dtype=x.dtype)
    scores += smallest.triu_(k.shape[2] - x.shape[1] + 1)
    return attention.w_o(merge_heads(torch.einsum("bgmtn,bgnd->bgmtd", scores.softmax(-1), v).flatten(1, 2)))


@alternative("attend_with_cache", "A callable object; key by key, with a running maximum and sum, in float32 or wider.")
class KeyByKey:
    def __new__(cls, attention, x, cache, layer):
        h, wide = attention.n_heads, torch.promote_types(x.dtype, torch.float32)
        kv = getattr(attention, "n_kv_heads", h)
        k, v = cache.update(layer, split_heads(attention.w_k(x), kv), split_heads(attention.w_v(x), kv))
        k, v = (y.to(wide).repeat_interleave(h // kv, 1) for y in (k, v))
        q = split_heads(attention.w_q(x), h).to(wide)
        t, n = q.shape[2], k.shape[2]
        top, total, mean = (
            torch.full(q.shape[:3], -torch.inf, dtype=wide),
            torch.zeros(q.shape[:3], dtype=wide),
            torch.zeros_like(q),
        )
        for i in range(0, n, 64):
            scores = q @ k[:, :, i : i + 64].mT / attention.head_dim**0.5
            later = torch.arange(i, min(i + 64, n)) > torch.arange(n - t, n)[:, None]
            scores = scores.masked_fill(later, -torch.inf)
            top, before = torch.maximum(top, scores.amax(-1)), top
            weights, still = (scores - top[..., None]).exp(), (before - top).exp()
            total = total * still + weights.sum(-1)
            mean = mean * still[..., None] + weights @ v[:, :, i : i + 64]
        return attention.w_o(merge_heads((mean / total[..., None]).to(x.dtype)))


@alternative("prefill", "The final norm's output is caught by a hook, in inference mode, and the result is a clone.")
def caught_by_a_hook(model, ids, cache):
    caught = []
    hook = model.final_norm.register_forward_hook(lambda norm, args, value: caught.append(value))
    try:
        with torch.inference_mode():
            hidden_states(model, ids, cache)
            logits = model.lm_head(caught[-1])
    finally:
        hook.remove()
    return logits.clone()


@alternative("decode_step", "In inference mode, with arguments as they come.")
@torch.inference_mode()
def in_inference_mode_too(*args, **kwargs):
    model, token_ids, cache = (*args, *kwargs.values())
    return model.lm_head(hidden_states(model, token_ids.view(-1, 1), cache)[:, -1])


@alternative("generate", "Each text of the batch by itself, as lists of numbers.")
def text_by_text(model, ids, max_new_tokens, use_cache=True):
    if max_new_tokens < 0 or ids.shape[1] == 0:
        raise ValueError("arguments")
    limit, attention, texts = model.config.context_length, model.blocks[0].attention, ids.tolist()
    with torch.no_grad():
        for text in texts:
            for i in range(max_new_tokens):
                window = torch.tensor([text[-limit:]])
                if not use_cache:
                    logits = model(window)[0][:, -1]
                elif i == 0 or len(text) > limit:
                    sizes = len(model.blocks), 1, attention.n_heads, limit, attention.head_dim
                    cache = KVCache(*sizes, dtype=model.lm_head.weight.dtype)
                    logits = prefill(model, window, cache)[:, -1]
                else:
                    logits = decode_step(model, window[:, -1], cache)
                text.append(int(logits.argmax()))
    return torch.tensor(texts)


@alternative("PagedKVCache", "A queue of idle blocks, one flat pool of slots, refusals by other errors.")
class FlatPool:
    def __init__(self, n_blocks, block_size, n_kv_heads, head_dim):
        from collections import deque

        if block_size <= 0:
            raise TypeError("block_size")
        self.block_size, self.width, self.n_slots = block_size, (n_kv_heads, head_dim), n_blocks * block_size
        self.idle, self.sequences, self.pool = deque(range(n_blocks)), {}, None

    @property
    def n_free_blocks(self):
        return len(self.idle)

    def slots(self, blocks, n):
        return [block * self.block_size + slot for block in blocks for slot in range(self.block_size)][:n]

    def append(self, seq_id, k, v):
        if k.dim() != 3 or k.shape != v.shape or k.shape[::2] != self.width:
            raise TypeError("shape")
        blocks, n = self.sequences.get(seq_id, ([], 0))
        total = n + k.shape[1]
        n_more = (total + self.block_size - 1) // self.block_size - len(blocks)
        if n_more > len(self.idle):
            raise IndexError("no blocks")
        if self.pool is None:
            self.pool = torch.zeros(2, self.width[0], self.n_slots, self.width[1], dtype=k.dtype)
        blocks = [*blocks, *(self.idle.popleft() for _ in range(n_more))]
        self.pool[:, :, self.slots(blocks, total)[n:]] = torch.stack((k, v)).detach()
        self.sequences[seq_id] = blocks, total

    def gather(self, seq_id):
        blocks, n = self.sequences[seq_id]
        return self.pool[:, :, self.slots(blocks, n)].unbind(0)

    def free(self, seq_id):
        self.idle.extend(self.sequences.pop(seq_id)[0])


@alternative("attend_with_cache", "PyTorch's own causal bias, aligned bottom-right.")
def with_a_causal_bias(attention, x, cache, layer):
    from torch.nn.attention.bias import causal_lower_right

    n_heads = attention.n_heads
    n_kv_heads = getattr(attention, "n_kv_heads", n_heads)
    k, v = cache.update(layer, *(split_heads(w(x), n_kv_heads) for w in (attention.w_k, attention.w_v)))
    bias = causal_lower_right(x.shape[1], k.shape[2])
    q = split_heads(attention.w_q(x), n_heads)
    return attention.w_o(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=True)))
