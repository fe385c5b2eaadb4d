"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

import torch
import torch.nn.functional as F

from autograder.testing.variants import Variant, edit, mutant

PREFILL = """\
def prefill(model, ids, cache):
    x = model.position_embedding(model.token_embedding(ids), offset=cache.length)
    for layer, block in enumerate(model.blocks):
        x = x + attend_with_cache(block.attention, block.norm_1(x), cache, layer)
        x = x + block.feed_forward(block.norm_2(x))
    return model.lm_head(model.final_norm(x))
"""


def prefill_with(name, says, *edits):
    """A prefill in one piece with these changes: the solution shares most of it with generate."""
    definition = PREFILL
    for old, new in edits:
        assert definition.count(old) == 1, f"{name}: {old!r}"
        definition = definition.replace(old, new)
    return Variant(name, "prefill", says, definition=definition)


MUTANTS = [
    # KVCache
    edit(
        "whole_buffer_returned",
        "KVCache",
        "update returns the whole buffer, with the positions that nothing has been written to: return [..., :stop, :].",
        (
            "return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "return self._keys[layer], self._values[layer]",
        ),
    ),
    edit(
        "only_new_returned",
        "KVCache",
        "update returns only what was just appended: return everything that the layer holds now.",
        (
            "return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "return self._keys[layer, :, :, start:stop], self._values[layer, :, :, start:stop]",
        ),
    ),
    edit(
        "written_at_the_beginning",
        "KVCache",
        "Every update writes at position 0: the new positions belong behind those that the layer already holds.",
        ("self._keys[layer, :, :, start:stop] = k.detach()", "self._keys[layer, :, :, : k.shape[2]] = k.detach()"),
        ("self._values[layer, :, :, start:stop] = v.detach()", "self._values[layer, :, :, : v.shape[2]] = v.detach()"),
    ),
    edit(
        "last_position_left_out",
        "KVCache",
        "One position too few comes back: after writing start:stop, the layer holds :stop.",
        (
            "return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "return self._keys[layer, :, :, : stop - 1], self._values[layer, :, :, : stop - 1]",
        ),
    ),
    edit(
        "keys_for_values",
        "KVCache",
        "The values are a second copy of the keys: write v into the values' buffer.",
        ("= v.detach()", "= k.detach()"),
    ),
    edit(
        "newest_first",
        "KVCache",
        "The positions come back in another order than they came in: the oldest is first.",
        (
            "return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "new, old = slice(start, stop), slice(0, start)\n"
            "        join = lambda x: torch.cat([x[layer, :, :, new], x[layer, :, :, old]], dim=2)\n"
            "        return join(self._keys), join(self._values)",
        ),
    ),
    edit(
        "one_count_for_all_layers",
        "KVCache",
        "One count serves all layers and moves on with the first: the second layer of the same pass then writes behind it. "
        "Give every layer its own count.",
        ("self._lengths[layer] = stop", "self._lengths = [stop] * n_layers"),
    ),
    edit(
        "counted_at_the_last_layer",
        "KVCache",
        "The count moves on when the last layer is updated, whatever the others hold: give every layer its own count.",
        ("self._lengths[layer] = stop", "self._lengths = [stop] * n_layers if layer == n_layers - 1 else self._lengths"),
    ),
    edit(
        "length_of_the_first_layer",
        "KVCache",
        "length is the first layer's count, which runs ahead in the middle of a pass: take the smallest count.",
        ("return min(self._lengths)", "return self._lengths[0]"),
    ),
    edit(
        "length_of_the_longest_layer",
        "KVCache",
        "length is the largest of the layers' counts: positions that some layer does not hold yet are not there.",
        ("return min(self._lengths)", "return max(self._lengths)"),
    ),
    edit(
        "length_is_the_capacity",
        "KVCache",
        "length is the room that there is: it should count the positions that are filled.",
        ("return min(self._lengths)", "return self._keys.shape[3]"),
    ),
    edit(
        "overflow_by_one",
        "KVCache",
        "The last position of the cache is never used: stop may be equal to max_len.",
        ("if stop > max_len:", "if stop >= max_len:"),
    ),
    edit(
        "overflow_wraps_around",
        "KVCache",
        "What does not fit is cut off without a word: overflow is a ValueError.",
        (
            '            raise ValueError(f"layer {layer} holds {start} of {max_len} positions, no room for {k.shape[2]} more")',
            "            k, v, stop = k[:, :, : max_len - start], v[:, :, : max_len - start], max_len",
        ),
    ),
    edit(
        "oldest_dropped_on_overflow",
        "KVCache",
        "When the cache is full the oldest positions are dropped: overflow is a ValueError and changes nothing.",
        (
            '            raise ValueError(f"layer {layer} holds {start} of {max_len} positions, no room for {k.shape[2]} more")',
            "            k, v = k[:, :, -max_len:], v[:, :, -max_len:]\n"
            "            start, stop, gone = max_len - k.shape[2], max_len, stop - max_len\n"
            "            for buffer in (self._keys, self._values):\n"
            "                buffer[layer, :, :, :start] = buffer[layer, :, :, gone : gone + start].clone()",
        ),
    ),
    edit(
        "overflow_checked_on_the_shortest_layer",
        "KVCache",
        "Room is checked against the shortest layer: another one may be ahead of it. Check the layer that is written to.",
        (
            "        if stop > max_len:\n",
            "        if self.length + k.shape[2] <= max_len < stop:\n            stop = max_len\n"
            "            k, v = k[:, :, : stop - start], v[:, :, : stop - start]\n        if stop > max_len:\n",
        ),
    ),
    edit(
        "counted_before_the_check",
        "KVCache",
        "The count has moved on when the overflow is noticed: check first, then change.",
        ("        if stop > max_len:\n", "        self._lengths[layer] = min(stop, max_len)\n        if stop > max_len:\n"),
    ),
    edit(
        "batch_of_one_spread_out",
        "KVCache",
        "A batch of 1 is written into every row by broadcasting: refuse keys and values of another shape.",
        (
            "if k.ndim != 4 or k.shape != v.shape or k.shape != (b, h, k.shape[2], head_dim):",
            "if k.ndim != 4 or k.shape != v.shape or k.shape[1:] != (h, k.shape[2], head_dim) or len(k) not in (1, b):",
        ),
    ),
    edit(
        "values_of_another_length",
        "KVCache",
        "Keys are checked and values are not: both need the shape (b, h, t, head_dim), with the same t.",
        ("k.shape != v.shape or ", "v.shape[2] not in (1, k.shape[2]) or k.shape[3] != v.shape[3] or "),
    ),
    edit(
        "references_kept",
        "KVCache",
        "The cache keeps the very tensors that it was given: when the caller changes them, the past changes. Copy them in.",
        (
            "        self._keys[layer, :, :, start:stop] = k.detach()\n"
            "        self._values[layer, :, :, start:stop] = v.detach()\n"
            "        self._lengths[layer] = stop\n"
            "        return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "        if not hasattr(self, '_given'):\n            self._given = {}\n"
            "        kept = [pair for pair in self._given.get(layer, []) if pair[0] < start]\n"
            "        self._given[layer] = kept + [(start, k, v)]\n"
            "        self._lengths[layer] = stop\n"
            "        k_all, v_all = (torch.cat([pair[i] for pair in self._given[layer]], 2) for i in (1, 2))\n"
            "        self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop] = k_all, v_all\n"
            "        return k_all, v_all",
        ),
    ),
    edit(
        "copied_at_every_update",
        "KVCache",
        "Every update copies all that the cache holds, so n updates copy n² positions: write into the buffer and return "
        "a view of it, without torch.cat and without clone.",
        (
            "return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "return self._keys[layer, :, :, :stop].clone(), self._values[layer, :, :, :stop].clone()",
        ),
    ),
    edit(
        "truncate_keeps_the_last",
        "KVCache",
        "truncate keeps the last positions: it should keep the first ones.",
        (
            "        self._lengths = [length] * len(self._lengths)",
            "        for layer, n in enumerate(self._lengths):\n"
            "            for buffer in (self._keys, self._values):\n"
            "                buffer[layer, :, :, :length] = buffer[layer, :, :, n - length : n].clone()\n"
            "            self._lengths[layer] = length",
        ),
    ),
    edit(
        "truncate_cuts_off_that_many",
        "KVCache",
        "truncate(length) removes `length` positions: it should leave so many.",
        ("[length] * len(self._lengths)", "[n - length for n in self._lengths]"),
    ),
    edit(
        "truncate_of_the_first_layer",
        "KVCache",
        "truncate changes the first layer only: cut back every layer.",
        ("[length] * len(self._lengths)", "[length, *self._lengths[1:]]"),
    ),
    edit(
        "truncate_lengthens",
        "KVCache",
        "truncate accepts a length beyond what is there, and the cache then claims positions that were never written.",
        ("if not 0 <= length <= self.length:", "if not 0 <= length <= self._keys.shape[3]:"),
    ),
    edit(
        "truncate_to_the_longest_layer",
        "KVCache",
        "truncate compares with the layer that holds most: a length is there only when every layer holds it.",
        ("if not 0 <= length <= self.length:", "if not 0 <= length <= max(self._lengths):"),
    ),
    edit(
        "truncate_counts_from_the_end",
        "KVCache",
        "truncate takes a negative length, as a slice would: refuse it.",
        (
            "        if not 0 <= length <= self.length:\n",
            "        length = self.length + length if length < 0 else length\n        if not 0 <= length <= self.length:\n",
        ),
    ),
    edit(
        "reorder_row_by_row",
        "KVCache",
        "reorder writes one row after the other into the buffer that it reads from: when row 1 is copied to row 0, row 0 is "
        "gone before anyone else can have it. Take all rows out first.",
        (
            "            buffer[..., :held, :] = buffer[..., :held, :].index_select(1, beam_index)",
            "            for i, row in enumerate(beam_index.tolist()):\n"
            "                buffer[:, i, :, :held] = buffer[:, row, :, :held]",
        ),
    ),
    edit(
        "reorder_the_other_way_round",
        "KVCache",
        "reorder sends row i to beam_index[i]: row i should come from there.",
        (
            "            buffer[..., :held, :] = buffer[..., :held, :].index_select(1, beam_index)",
            "            rows = buffer[..., :held, :].clone()\n"
            "            for i, row in enumerate(beam_index.tolist()):\n"
            "                buffer[:, row, :, :held] = rows[:, i]",
        ),
    ),
    edit(
        "reorder_keys_only",
        "KVCache",
        "reorder moves the keys and leaves the values where they are: each value belongs to its key.",
        ("for buffer in (self._keys, self._values):", "for buffer in (self._keys,):"),
    ),
    edit(
        "reorder_the_first_layer",
        "KVCache",
        "reorder changes one layer only: all layers hold the same texts.",
        ("for buffer in (self._keys, self._values):", "for buffer in (self._keys[:1], self._values[:1]):"),
    ),
    edit(
        "reorder_heads",
        "KVCache",
        "reorder moves heads in place of batch rows: index dimension 1 of (layers, b, h, t, head_dim).",
        (
            "buffer[..., :held, :] = buffer[..., :held, :].index_select(1, beam_index)",
            "buffer[:, :, :b] = buffer[:, :, beam_index[: buffer.shape[2]] % buffer.shape[2]]",
        ),
    ),
    edit(
        "reorder_what_every_layer_holds",
        "KVCache",
        "reorder moves only the positions that every layer holds: a layer that is ahead keeps the old rows in the rest.",
        ("held = max(self._lengths)", "held = min(self._lengths)"),
    ),
    edit(
        "reorder_accepts_any_rows",
        "KVCache",
        "reorder takes an index of one row and spreads it over the batch: refuse an index that is not (b,).",
        (
            "if beam_index.shape != (b,) or not all(0 <= row < b for row in beam_index.tolist()):",
            "if len(beam_index) not in (1, b) or not all(0 <= row < b for row in beam_index.tolist()):",
        ),
    ),
    edit(
        "reorder_wraps_around",
        "KVCache",
        "reorder takes a row past the last for one from the beginning: refuse rows that do not exist.",
        ("not all(0 <= row < b for row in beam_index.tolist())", "len(beam_index) != b"),
        ("index_select(1, beam_index)", "index_select(1, beam_index % b)"),
    ),
    edit(
        "nbytes_counts_numbers",
        "KVCache",
        "nbytes counts the numbers: each has several bytes.",
        ("return self._keys.nbytes + self._values.nbytes", "return self._keys.numel() + self._values.numel()"),
    ),
    edit(
        "nbytes_of_floats_alone",
        "KVCache",
        "torch.finfo knows the size of floats alone, and a cache may be int8: ask the dtype for its itemsize.",
        (
            "return self._keys.nbytes + self._values.nbytes",
            "return 2 * self._keys.numel() * torch.finfo(self._keys.dtype).bits // 8",
        ),
    ),
    edit(
        "nbytes_of_the_keys",
        "KVCache",
        "nbytes counts the keys and forgets the values.",
        ("return self._keys.nbytes + self._values.nbytes", "return self._keys.nbytes"),
    ),
    edit(
        "nbytes_of_what_is_filled",
        "KVCache",
        "nbytes counts the positions that are filled: the memory is taken for the whole capacity.",
        (
            "return self._keys.nbytes + self._values.nbytes",
            "return (self._keys.nbytes + self._values.nbytes) * self.length // self._keys.shape[3]",
        ),
    ),
    edit(
        "four_bytes_a_number",
        "KVCache",
        "nbytes takes every number for a float32: ask the dtype for its size.",
        ("return self._keys.nbytes + self._values.nbytes", "return 8 * self._keys.numel()"),
    ),
    edit(
        "dtype_ignored",
        "KVCache",
        "The buffers are float32 whatever dtype was asked for.",
        ("self._keys = torch.empty(shape, dtype=dtype, device=device)", "self._keys = torch.empty(shape, device=device)"),
        (
            "self._values = torch.empty(shape, dtype=dtype, device=device)",
            "self._values = torch.empty(shape, device=device)",
        ),
    ),
    edit(
        "counts_of_the_class",
        "KVCache",
        "The counts belong to the class, and every cache moves those of all others on: write self._lengths.",
        ("self._lengths = [0] * n_layers", "KVCache._lengths = [0] * n_layers"),
        ("self._lengths = [length] * len(self._lengths)", "KVCache._lengths = [length] * len(self._lengths)"),
    ),
    edit(
        "memory_of_the_class",
        "KVCache",
        "Caches of one size share their memory, and one overwrites the other: each needs its own.",
        ("    def __init__(", "    _made = {}\n\n    def __init__("),
        (
            "self._keys = torch.empty(shape, dtype=dtype, device=device)",
            "self._keys = self._made.setdefault((shape, dtype), torch.empty(shape, dtype=dtype, device=device))",
        ),
    ),
    edit(
        "graph_in_the_cache",
        "KVCache",
        "The graph of every step is kept with its keys and values, and grows with the text: write k.detach().",
        ("k.detach()", "k"),
        ("v.detach()", "v"),
    ),
    edit(
        "graph_in_one_buffer",
        "KVCache",
        "The graph of every step is kept with its keys and values, and grows with the text: write k.detach().",
        ("self._keys = torch.empty(shape, dtype=dtype, device=device)", "shape = 2, *shape"),
        (
            "self._values = torch.empty(shape, dtype=dtype, device=device)",
            "self._keys, self._values = torch.empty(shape, dtype=dtype, device=device)",
        ),
        ("self._keys[layer, :, :, start:stop] = k.detach()", "self._keys[layer].narrow(2, start, k.shape[2]).copy_(k)"),
        ("self._values[layer, :, :, start:stop] = v.detach()", "self._values[layer].narrow(2, start, k.shape[2]).copy_(v)"),
    ),
    edit(
        "dtype_of_the_first_keys",
        "KVCache",
        "What comes back has the dtype of the keys that were given: the cache has its own, and keys of another are converted.",
        (
            "        start = self._lengths[layer]\n",
            "        if max(self._lengths) == 0:\n"
            "            self._keys, self._values = self._keys.to(k.dtype), self._values.to(v.dtype)\n"
            "        start = self._lengths[layer]\n",
        ),
    ),
    edit(
        "by_way_of_float16",
        "KVCache",
        "Numbers of a bfloat16 cache are converted to float16 on the way, which has no room for the large ones.",
        ("= k.detach()", "= (k.detach().half() if self._keys.dtype == torch.bfloat16 else k.detach())"),
    ),
    edit(
        "device_ignored",
        "KVCache",
        "The device is ignored: pass it on to both buffers.",
        ("self._keys = torch.empty(shape, dtype=dtype, device=device)", "self._keys = torch.empty(shape, dtype=dtype)"),
        ("self._values = torch.empty(shape, dtype=dtype, device=device)", "self._values = torch.empty(shape, dtype=dtype)"),
    ),
    edit(
        "default_dtype_changed",
        "KVCache",
        "PyTorch's default dtype is changed for everyone: pass the dtype on instead.",
        ("        shape = (n_layers,", "        torch.set_default_dtype(dtype)\n        shape = (n_layers,"),
    ),
    edit(
        "gradients_off_after_an_update",
        "KVCache",
        "Gradients are switched off for everyone, from the first update on: use detach, or a with block.",
        (
            "        start = self._lengths[layer]\n",
            "        torch.set_grad_enabled(False)\n        start = self._lengths[layer]\n",
        ),
    ),
    edit(
        "layer_ahead_not_cut_back",
        "KVCache",
        "truncate(cache.length) does nothing: a layer that is ahead has to be cut back, too.",
        (
            "        self._lengths = [length] * len(self._lengths)",
            "        if length < self.length:\n            self._lengths = [length] * len(self._lengths)",
        ),
    ),
    edit(
        "contiguous_now_and_then",
        "KVCache",
        "Some updates return a copy of all that the cache holds: return a view, always.",
        (
            "        return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "        views = self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]\n"
            "        return views if stop % 2 else tuple(x.contiguous() for x in views)",
        ),
    ),
    edit(
        "values_of_the_first_layer",
        "KVCache",
        "Once a layer holds many positions, its values are those of layer 0: each layer has its own, of any length.",
        (
            "return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "return self._keys[layer, :, :, :stop], self._values[layer if stop <= 64 else 0, :, :, :stop]",
        ),
    ),
    edit(
        "index_by_another_name",
        "KVCache",
        "The argument of reorder has another name than in the exercise: reorder(beam_index=...) is refused.",
        ("    def reorder(self, beam_index: Tensor) -> None:\n", "    def reorder(self, index: Tensor) -> None:\n"),
        ("        b = self._keys.shape[1]\n", "        beam_index = index\n        b = self._keys.shape[1]\n"),
    ),
    # attend_with_cache
    edit(
        "mask_top_left",
        "attend_with_cache",
        "The causal mask is aligned top-left: the new tokens are the last ones, and the last of them may see every key.",
        ("causal_mask(t, k.shape[2])", "torch.ones(t, k.shape[2], dtype=torch.bool).tril()"),
    ),
    edit(
        "no_mask",
        "attend_with_cache",
        "There is no causal mask among the new tokens: each of them sees those that come after it.",
        ("mask = None if t == 1 or square else", "mask = None if t >= 1 else"),
        ("is_causal=square", "is_causal=False"),
    ),
    edit(
        "mask_inverted",
        "attend_with_cache",
        "The mask is the wrong way round: True means may attend.",
        ("causal_mask(t, k.shape[2]).to(x.device)", "(~causal_mask(t, k.shape[2])).to(x.device)"),
        ("square = group == 1 and t == k.shape[2]", "square = False"),
    ),
    edit(
        "only_new_keys",
        "attend_with_cache",
        "The new tokens attend to each other only: attend to k_all and v_all, which the update returns.",
        (
            "    k, v = cache.update(layer, k_new, v_new)  # (b, kv heads, n, head_dim)\n",
            "    cache.update(layer, k_new, v_new)\n    k, v = k_new, v_new\n",
        ),
    ),
    edit(
        "new_tokens_do_not_see_themselves",
        "attend_with_cache",
        "The new tokens attend to the cache as it was before them: a token attends to itself as well.",
        (
            "    mask = None if t == 1 or square else causal_mask(t, k.shape[2]).to(x.device).repeat(group, 1)\n",
            "    mask = causal_mask(t, k.shape[2]).roll(-1, 1).index_fill(1, torch.tensor([k.shape[2] - 1]), False)\n"
            "    mask[0, 0] = True\n    mask = mask.repeat(group, 1)\n",
        ),
        ("is_causal=square", "is_causal=False"),
    ),
    edit(
        "always_layer_0",
        "attend_with_cache",
        "Every layer writes into the part of layer 0: pass `layer` on.",
        ("cache.update(layer, k_new, v_new)", "cache.update(0, k_new, v_new)"),
    ),
    edit(
        "keys_and_values_swapped",
        "attend_with_cache",
        "Keys and values have changed places in the cache: update(layer, k, v).",
        ("k, v = cache.update(layer, k_new, v_new)", "v, k = cache.update(layer, v_new, k_new)"),
    ),
    edit(
        "group_heads_far_apart",
        "attend_with_cache",
        "The heads of a group are neighbours: query head i uses key head i // group (repeat_interleave), not i % n_kv_heads.",
        (
            "q = split_heads(linear(attention.w_q, x), n_heads).reshape(b, n_kv_heads, group * t, head_dim)",
            "q = split_heads(attention.w_q(x), n_heads).unflatten(1, (group, n_kv_heads)).transpose(1, 2)\n"
            "    q = q.reshape(b, n_kv_heads, group * t, head_dim)",
        ),
        (
            "heads.reshape(b, n_heads, t, head_dim)",
            "heads.unflatten(2, (group, t)).transpose(1, 2).reshape(b, n_heads, t, head_dim)",
        ),
    ),
    edit(
        "repeated_heads_cached",
        "attend_with_cache",
        "The cache holds the keys once for every query head: it should hold n_kv_heads of them, that is what they save.",
        (
            "    k, v = cache.update(layer, k_new, v_new)  # (b, kv heads, n, head_dim)\n",
            "    k_new, v_new = (y.repeat_interleave(group, 1) for y in (k_new, v_new))\n"
            "    k, v = cache.update(layer, k_new, v_new)\n    n_kv_heads, group = n_heads, 1\n",
        ),
    ),
    edit(
        "scores_not_scaled",
        "attend_with_cache",
        "The scores are not divided by the root of head_dim.",
        ("attn_mask=mask, is_causal=square)", "attn_mask=mask, is_causal=square, scale=1.0)"),
    ),
    edit(
        "values_by_w_k",
        "attend_with_cache",
        "The values come from w_k: w_v makes them.",
        ("linear(attention.w_v, x)", "linear(attention.w_k, x)"),
    ),
    edit(
        "scaled_twice",
        "attend_with_cache",
        "The queries are scaled, and F.scaled_dot_product_attention scales the scores once more.",
        (".reshape(b, n_kv_heads, group * t, head_dim)", ".reshape(b, n_kv_heads, group * t, head_dim) / head_dim**0.5"),
    ),
    edit(
        "no_output_projection",
        "attend_with_cache",
        "The heads are put together and w_o is forgotten.",
        ("return linear(attention.w_o, merge_heads(", "return (merge_heads("),
    ),
    edit(
        "heads_cut_the_wrong_way",
        "attend_with_cache",
        "(b, t, d) is reshaped to (b, h, t, d/h) without a transpose: split_heads does both.",
        (
            "k_new = split_heads(linear(attention.w_k, x), n_kv_heads)",
            "k_new = attention.w_k(x).reshape(b, n_kv_heads, t, head_dim)",
        ),
    ),
    edit(
        "large_negative_number_for_infinity",
        "attend_with_cache",
        "Masked scores become -10000, and scores can be lower than that: use minus infinity.",
        (
            "    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=square)\n",
            "    mask = causal_mask(t, t) if square else mask\n"
            "    scores = q @ k.mT / head_dim**0.5\n"
            "    scores = scores if mask is None else scores.masked_fill(~mask, -1e4)\n"
            "    heads = scores.softmax(-1) @ v\n",
        ),
    ),
    edit(
        "exp_of_large_scores",
        "attend_with_cache",
        "exp of a large score is infinite, and the row NaN: subtract the largest score first, as softmax does.",
        (
            "    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=square)\n",
            "    mask = causal_mask(t, t) if square else mask\n"
            "    scores = (q @ k.mT / head_dim**0.5).exp()\n"
            "    scores = scores if mask is None else scores.masked_fill(~mask, 0.0)\n"
            "    heads = scores / scores.sum(-1, keepdim=True) @ v\n",
        ),
    ),
    edit(
        "mask_for_cache_length",
        "attend_with_cache",
        "The mask is made for cache.length positions, which is that of the layer that holds least: ask k_all for this layer's.",
        ("    k, v = cache.update(", "    past = cache.length\n    k, v = cache.update("),
        ("causal_mask(t, k.shape[2])", "causal_mask(t, past + t)"),
        ("square = group == 1 and t == k.shape[2]", "square = group == 1 and past == 0"),
    ),
    edit(
        "window_of_512_keys",
        "attend_with_cache",
        "A new token sees the last 512 keys and no more: the cache holds the whole text, and all of it counts.",
        (
            "    k, v = cache.update(layer, k_new, v_new)  # (b, kv heads, n, head_dim)\n",
            "    k, v = (held[..., -max(512, t) :, :] for held in cache.update(layer, k_new, v_new))\n",
        ),
    ),
    edit(
        "copy_of_the_weights_kept",
        "attend_with_cache",
        "A copy of the weights is kept from the first call on, and training changes the weights: use the layers themselves.",
        (
            "    k_new = split_heads(linear(attention.w_k, x), n_kv_heads)",
            "    if not hasattr(attention, '_w_k'):\n"
            "        attention._w_k = attention.w_k.weight.detach().clone()\n"
            "    k_new = split_heads(F.linear(x, attention._w_k, attention.w_k.bias), n_kv_heads)",
        ),
    ),
    edit(
        "attended_twice",
        "attend_with_cache",
        "The new keys are written to the cache twice: update appends, and once is enough.",
        (
            "    k, v = cache.update(layer, k_new, v_new)  # (b, kv heads, n, head_dim)\n",
            "    cache.update(layer, k_new, v_new)\n    k, v = cache.update(layer, k_new, v_new)\n",
        ),
    ),
    # prefill
    prefill_with(
        "no_positions",
        "The positions are left out: add those of the position embedding.",
        ("model.position_embedding(model.token_embedding(ids), offset=cache.length)", "model.token_embedding(ids)"),
    ),
    prefill_with(
        "positions_from_zero",
        "The positions begin at 0 again: the first new token stands at position cache.length.",
        (", offset=cache.length", ""),
    ),
    prefill_with(
        "positions_one_too_low",
        "The positions are off by one: with n positions in the cache, the next token stands at position n.",
        ("offset=cache.length", "offset=max(cache.length - 1, 0)"),
    ),
    prefill_with(
        "cache_emptied_first",
        "prefill empties the cache before it reads: it should go on where the cache ends.",
        ("    x = model.position", "    cache.truncate(0)\n    x = model.position"),
    ),
    prefill_with(
        "bent_by_relu",
        "The feed-forward layer bends with ReLU: that of the model bends with GELU.",
        (
            "block.feed_forward(block.norm_2(x))",
            "block.feed_forward.w_out(block.feed_forward.w_in(block.norm_2(x)).relu())",
        ),
    ),
    prefill_with(
        "no_final_norm",
        "The final norm before the output layer is forgotten.",
        ("model.lm_head(model.final_norm(x))", "model.lm_head(x)"),
    ),
    prefill_with(
        "no_residual_around_attention",
        "The attention replaces x: it should be added to it.",
        ("x = x + attend_with_cache(", "x = attend_with_cache("),
    ),
    prefill_with(
        "no_residual_around_feed_forward",
        "The feed-forward layer replaces x: it should be added to it.",
        ("x = x + block.feed_forward(", "x = block.feed_forward("),
    ),
    prefill_with(
        "post_norm",
        "The blocks are pre-norm: attention reads norm_1(x), and x itself goes on.",
        (
            "x + attend_with_cache(block.attention, block.norm_1(x), cache, layer)",
            "block.norm_1(x + attend_with_cache(block.attention, x, cache, layer))",
        ),
        ("x + block.feed_forward(block.norm_2(x))", "block.norm_2(x + block.feed_forward(x))"),
    ),
    prefill_with(
        "one_layer_for_all_blocks",
        "Every block attends with layer 0 of the cache: number them with enumerate.",
        ("block.norm_1(x), cache, layer)", "block.norm_1(x), cache, 0)"),
    ),
    prefill_with(
        "only_the_last_logits",
        "Only the last position's logits come back: prefill gives all of them, (b, t, vocab).",
        ("model.final_norm(x)", "model.final_norm(x[:, -1:])"),
    ),
    prefill_with(
        "not_remembered",
        "The prompt is run through the model's own forward, and the cache stays empty.",
        ("    x = model.position", "    if cache.length == 0:\n        return model(ids)[0]\n    x = model.position"),
    ),
    prefill_with(
        "positions_wrap_around",
        "Past the end of the position table the positions begin again: a text longer than the context is a ValueError.",
        (
            "model.position_embedding(model.token_embedding(ids), offset=cache.length)",
            "model.token_embedding(ids) + model.position_embedding.weight[\n"
            "        torch.arange(cache.length, cache.length + ids.shape[1]) % model.config.context_length\n    ]",
        ),
    ),
    prefill_with(
        "too_long_a_piece_is_cropped",
        "Of a piece that does not fit, the part that does is read: refuse all of it.",
        (
            "    x = model.position",
            "    ids = ids[:, : max(1, model.config.context_length - cache.length)]\n    x = model.position",
        ),
    ),
    prefill_with(
        "read_until_it_is_full",
        "The tokens that fit are read before the overflow is noticed: a text that is refused changes nothing.",
        (
            "    x = model.position",
            "    if ids.shape[1] > 1:\n"
            "        return torch.cat([prefill(model, token, cache) for token in ids.split(1, dim=1)], dim=1)\n"
            "    x = model.position",
        ),
    ),
    prefill_with(
        "probabilities_for_logits",
        "These are log-probabilities: return the logits as they are.",
        ("return model.lm_head(model.final_norm(x))", "return model.lm_head(model.final_norm(x)).log_softmax(-1)"),
    ),
    # decode_step
    edit(
        "time_dimension_kept",
        "decode_step",
        "The logits still have a time dimension of 1: decode_step returns (b, vocab).",
        ("cache)[:, 0]", "cache)"),
    ),
    edit(
        "batch_taken_for_time",
        "decode_step",
        "The tokens of the batch are read as one text: token_ids[:, None] is (b, 1), token_ids[None] is (1, b).",
        ("prefill(model, token_ids[:, None], cache)[:, 0]", "prefill(model, token_ids[None], cache)[0]"),
    ),
    edit(
        "step_without_context",
        "decode_step",
        "The token is read by the model alone, without the cache: its logits know nothing of the text before it.",
        ("prefill(model, token_ids[:, None], cache)[:, 0]", "model(token_ids[:, None])[0][:, -1]"),
    ),
    edit(
        "step_leaves_no_trace",
        "decode_step",
        "The step is taken back when its logits are known: the next token has to see this one.",
        (
            "    return prefill(model, token_ids[:, None], cache)[:, 0]",
            "    length = cache.length\n    logits = prefill(model, token_ids[:, None], cache)[:, 0]\n"
            "    cache.truncate(length)\n    return logits",
        ),
    ),
    edit(
        "probabilities_returned",
        "decode_step",
        "These are probabilities: return the logits as they are.",
        ("cache)[:, 0]", "cache)[:, 0].softmax(-1)"),
    ),
    edit(
        "first_of_the_batch",
        "decode_step",
        "Only the first text's logits are returned.",
        ("cache)[:, 0]", "cache)[0]"),
    ),
    edit(
        "whole_text_read_again",
        "decode_step",
        "The whole text is read again for the new token: then the cache saves nothing.",
        (
            "    return prefill(model, token_ids[:, None], cache)[:, 0]",
            "    text = torch.zeros(len(token_ids), model.config.context_length, dtype=torch.long)\n"
            "    model(text[:, : cache.length + 1])\n"
            "    return prefill(model, token_ids[:, None], cache)[:, 0]",
        ),
    ),
    edit(
        "oldest_forgotten_when_full",
        "decode_step",
        "When there is no room left the cache is cut back to make some: a step past the end is a ValueError.",
        (
            "    return prefill(",
            "    if cache.length == model.config.context_length:\n        cache.truncate(cache.length - 1)\n    return prefill(",
        ),
    ),
    # generate
    edit(
        "last_token_read_twice",
        "generate",
        "The last token of the prompt is read twice, by prefill and again by the first step: the prompt's own logits already "
        "choose the first new token.",
        (
            "                logits = linear(model.lm_head, hidden_states(model, window, cache)[:, -1])",
            "                prefill(model, window, cache)\n"
            "                cache.truncate(min(cache.length, max_len - 1))\n"
            "                logits = decode_step(model, window[:, -1], cache)\n"
            "                cache.truncate(cache.length - 1)",
        ),
    ),
    edit(
        "stops_at_the_context",
        "generate",
        "Generation stops at the end of the context: the window should move on.",
        ("for end in range(t, t + max_new_tokens):", "for end in range(t, min(t + max_new_tokens, context_length)):"),
        ("    return text\n", "    return text[:, : max(t, min(t + max_new_tokens, context_length))]\n"),
    ),
    edit(
        "old_positions_kept",
        "generate",
        "When the window moves, the oldest position is dropped and the rest of the cache is kept: it was made at other "
        "positions. Read the window again.",
        (
            "            else:",
            "            elif cache.length == context_length > 1:\n"
            "                for buffer in (cache._keys, cache._values):\n"
            "                    buffer[..., :-1, :] = buffer[..., 1:, :].clone()\n"
            "                cache.truncate(context_length - 1)\n"
            "                logits = decode_step(model, text[:, end - 1], cache)\n"
            "            else:",
        ),
    ),
    edit(
        "prompt_cropped",
        "generate",
        "The result holds only what the model could read: crop what is read, not what is kept.",
        ("    b, t = ids.shape\n", "    ids = ids[:, -model.config.context_length :]\n    b, t = ids.shape\n"),
    ),
    edit(
        "first_tokens_of_a_long_prompt",
        "generate",
        "Of a prompt that is too long the model reads the beginning: it should read the end.",
        ("window = text[:, max(0, end - context_length) : end]", "window = text[:, :end][:, :context_length]"),
    ),
    edit(
        "window_too_short",
        "generate",
        "The window is one token shorter than the context: context_length tokens fit.",
        ("max(0, end - context_length) : end]", "max(0, end - max(1, context_length - 1)) : end]"),
    ),
    edit(
        "only_new_tokens_returned",
        "generate",
        "Only the new tokens are returned: the prompt belongs in front of them.",
        ("    return text\n", "    return text[:, t:]\n"),
    ),
    edit(
        "cache_never_used",
        "generate",
        "The whole text is read again at every step, with the cache too: after the prompt, read the last token alone.",
        ("if cache.length == end - 1 < context_length:", "if cache.length == end - 1 < 1:"),
    ),
    edit(
        "use_cache_inverted",
        "generate",
        "use_cache is the wrong way round.",
        ("if not use_cache:", "if use_cache:"),
    ),
    edit(
        "no_cache_by_default",
        "generate",
        "Whoever does not say use_cache gets no cache: use_cache=True is the default.",
        ("use_cache: bool = True", "use_cache: bool = False"),
    ),
    edit(
        "filled_again_a_step_early",
        "generate",
        "The whole context is read again for the last token that fits into it: the cache has room for context_length "
        "positions, and only the token after them moves the window.",
        ("cache.length == end - 1 < context_length", "cache.length == end - 1 < context_length - 1"),
    ),
    edit(
        "use_cache_ignored",
        "generate",
        "use_cache=False uses the cache all the same: then there is nothing to compare with.",
        ("if not use_cache:", "if False:"),
    ),
    edit(
        "float32_cache",
        "generate",
        "The cache is float32 whatever the model is: give it the dtype of the model's weights.",
        ("dtype=weight.dtype, device", "device"),
    ),
    edit(
        "result_made_in_inference_mode",
        "generate",
        "The result is an inference tensor, and no model can ever be trained on it: make it outside of inference_mode.",
        ("    return text\n", "    with torch.inference_mode():\n        return text.clone()\n"),
    ),
    edit(
        "graph_recorded",
        "generate",
        "Gradients are recorded all along, and every step keeps its activations: use torch.inference_mode or no_grad.",
        ("with torch.inference_mode():", "with torch.enable_grad():"),
    ),
    edit(
        "left_in_eval_mode",
        "generate",
        "The model, or a part of it, is left in another mode than it had: leave the modes alone.",
        ("    context_length, weight =", "    model.eval()\n    context_length, weight ="),
    ),
    edit(
        "gradients_switched_off_for_good",
        "generate",
        "Gradients are switched off for everyone, from now on: use a with block.",
        ("    context_length, weight =", "    torch.set_grad_enabled(False)\n    context_length, weight ="),
    ),
    edit(
        "prompt_changed",
        "generate",
        "The prompt is overwritten: it belongs to the caller.",
        ("    return text\n", "    ids[:, :] = text[:, -t:]\n    return text\n"),
    ),
    edit(
        "least_likely_token",
        "generate",
        "The least likely token is chosen: argmax, not argmin.",
        ("logits.argmax(-1)", "logits.argmin(-1)"),
    ),
    edit(
        "negative_numbers_accepted",
        "generate",
        "A negative max_new_tokens is taken for none: refuse it.",
        ("    b, t = ids.shape\n", "    max_new_tokens = max(0, max_new_tokens)\n    b, t = ids.shape\n"),
    ),
    edit(
        "empty_prompt_accepted",
        "generate",
        "A prompt without a token gets a token out of nowhere: refuse it.",
        ("    b, t = ids.shape\n", "    ids = ids if ids.shape[1] else ids.new_zeros(len(ids), 1)\n    b, t = ids.shape\n"),
    ),
    edit(
        "long_prompt_cropped_for_no_tokens",
        "generate",
        "Without new tokens a long prompt comes back cropped: the result holds all of it.",
        (
            "    if not use_cache:\n",
            "    if max_new_tokens == 0:\n        return ids[:, -model.config.context_length :]\n    if not use_cache:\n",
        ),
    ),
    edit(
        "result_remembered",
        "generate",
        "The text is remembered with the model, and returned again after training: keep nothing from call to call.",
        (
            "    if not use_cache:\n",
            "    memo, key = model.__dict__.setdefault('_texts', {}), (tuple(ids.flatten().tolist()), max_new_tokens)\n"
            "    if use_cache and key in memo:\n        return memo[key]\n    if not use_cache:\n",
        ),
        ("    return text\n", "    memo[key] = text\n    return text\n"),
    ),
    edit(
        "default_dtype_of_the_model",
        "generate",
        "PyTorch's default dtype is changed for everyone: give the cache its dtype instead.",
        ("    text = torch.cat(", "    torch.set_default_dtype(weight.dtype)\n    text = torch.cat("),
    ),
    edit(
        "seed_set",
        "generate",
        "The global random state is set: nothing here is random, leave it alone.",
        ("    text = torch.cat(", "    torch.manual_seed(0)\n    text = torch.cat("),
    ),
    edit(
        "gradients_cleared",
        "generate",
        "The gradients that the model holds are thrown away: they belong to whoever trains it.",
        ("    text = torch.cat(", "    model.zero_grad()\n    text = torch.cat("),
    ),
    edit(
        "work_hidden_from_the_count",
        "generate",
        "The whole text is read again at every step, where nobody counts: after the prompt, read the last token alone.",
        (
            "    context_length, weight =",
            "    from torch.utils._python_dispatch import _disable_current_modes\n\n"
            "    model.lm_head.weight.detach()[:1] @ model.lm_head.weight.detach()[:1].T\n"
            "    with _disable_current_modes():\n        return generate_greedy(model, ids, max_new_tokens)\n"
            "    context_length, weight =",
        ),
    ),
    # cache_bytes
    edit(
        "single_text_without_its_batch",
        "KVCache",
        "Keys and values of three dimensions are taken for a batch of 1: anything but (b, h, t, head_dim) is refused.",
        (
            "        n_layers, b, h, max_len, head_dim = self._keys.shape\n",
            "        n_layers, b, h, max_len, head_dim = self._keys.shape\n"
            "        k, v = (x[None] if b == 1 and x.ndim == 3 else x for x in (k, v))\n",
        ),
    ),
    edit(
        "row_number_for_an_index",
        "KVCache",
        "A single number is taken for the index of a batch of 1: beam_index is (b,), and anything else is refused.",
        (
            "        if beam_index.shape != (b,) or",
            "        beam_index = torch.atleast_1d(beam_index)\n        if beam_index.shape != (b,) or",
        ),
    ),
    edit(
        "empty_room_attended_to",
        "attend_with_cache",
        "The keys are padded to all that the cache has room for, and every step works on that room: attend to what is there.",
        (
            "    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=square)",
            "    n, room = k.shape[2], cache.nbytes // (2 * cache._keys.shape[0] * k[:, :, :1].numel() * k.itemsize)\n"
            "    k, v = (F.pad(part, (0, 0, 0, room - n)) for part in (k, v))\n"
            "    mask = torch.arange(room) <= torch.arange(n - t, n)[:, None]\n"
            "    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.repeat(group, 1))",
        ),
    ),
    edit(
        "logits_in_half",
        "generate",
        "The logits are rounded before the largest is taken: large ones become infinite, and near ones the same.",
        ("logits.argmax(-1)", "logits.half().argmax(-1)"),
    ),
    edit(
        "empty_texts_counted",
        "cache_bytes",
        "A text without a token takes no memory.",
        ("seq_len * batch_size", "max(seq_len, 1) * batch_size"),
    ),
    edit(
        "room_in_the_last_block_forgotten",
        "PagedKVCache",
        "Blocks are wanted for all new positions, though the last block has room for some: count those that are missing.",
        ("        if n_more > len(self._free):", "        if -(-k.shape[1] // block_size) > len(self._free):"),
    ),
    edit("only_keys", "cache_bytes", "Keys are counted and values are not: twice as much.", ("return 2 * ", "return ")),
    edit("numbers_not_bytes", "cache_bytes", "These are numbers, not bytes.", (" * dtype.itemsize", "")),
    edit("bits", "cache_bytes", "These are bits: a byte has eight.", ("dtype.itemsize", "(8 * dtype.itemsize)")),
    edit("batch_forgotten", "cache_bytes", "Every text of the batch has its own cache.", (" * batch_size", "")),
    edit("layers_forgotten", "cache_bytes", "Every layer has its own keys and values.", ("2 * n_layers *", "2 *")),
    edit("a_float", "cache_bytes", "Bytes come in whole numbers: return an int.", ("dtype.itemsize", "dtype.itemsize / 1.0")),
    edit(
        "bytes_as_a_float",
        "cache_bytes",
        "The product goes through a float, which rounds large numbers: multiply whole numbers.",
        ("return 2 *", "return int(2.0 *"),
        ("dtype.itemsize", "dtype.itemsize)"),
    ),
    edit(
        "floating_dtypes_only",
        "cache_bytes",
        "torch.finfo knows floating-point dtypes only, and caches are kept in int8 as well: dtype.itemsize.",
        ("dtype.itemsize", "(torch.finfo(dtype).bits // 8)"),
    ),
    # PagedKVCache
    edit(
        "new_block_for_every_append",
        "PagedKVCache",
        "Every append takes new blocks, and the rest of the last one is lost: fill it first.",
        ("n_more = -(-stop // block_size) - len(table)", "n_more = -(-k.shape[1] // block_size)"),
        (
            "position = torch.arange(start, stop)",
            "start = (len(table) - n_more) * block_size\n        stop = start + k.shape[1]\n"
            "        position = torch.arange(start, stop)",
        ),
    ),
    edit(
        "one_block_too_many",
        "PagedKVCache",
        "A block is taken as soon as the last one is full, before anything goes into it: ceil(n / block_size), not "
        "n // block_size + 1.",
        ("n_more = -(-stop // block_size) - len(table)", "n_more = stop // block_size + 1 - len(table)"),
    ),
    edit(
        "one_block_at_most",
        "PagedKVCache",
        "An append takes one block at most: a long one may need several.",
        ("n_more = -(-stop // block_size) - len(table)", "n_more = min(1, -(-stop // block_size) - len(table))"),
    ),
    edit(
        "blocks_taken_before_the_check",
        "PagedKVCache",
        "Blocks are taken one after the other until there are none, and are not put back: count first.",
        (
            "        if n_more > len(self._free):\n",
            "        if n_more > len(self._free):\n            self._free.clear()\n",
        ),
    ),
    edit(
        "unknown_until_it_fails",
        "PagedKVCache",
        "A sequence is entered in the table before it is clear that it fits: after a failed append it must still be unknown.",
        (
            "        if n_more > len(self._free):\n",
            "        self._lengths.setdefault(seq_id, 0)\n        if n_more > len(self._free):\n"
            "            self._tables.setdefault(seq_id, [])\n            self._allocate(k, v)\n",
        ),
        (
            "        if self._keys is None:\n"
            "            self._keys, self._values = k.new_empty(self._shape), v.new_empty(self._shape)\n",
            "        self._allocate(k, v)\n",
        ),
        (
            "    def gather(self,",
            "    def _allocate(self, k, v):\n"
            "        if self._keys is None:\n"
            "            self._keys, self._values = k.new_empty(self._shape), v.new_empty(self._shape)\n\n"
            "    def gather(self,",
        ),
    ),
    edit(
        "written_as_far_as_it_goes",
        "PagedKVCache",
        "What fits of an append is kept when the rest does not: a failed append changes nothing.",
        (
            "        if n_more > len(self._free):\n",
            "        if n_more > len(self._free):\n"
            "            fits = (len(table) + len(self._free)) * block_size - start\n"
            "            if fits:\n                self.append(seq_id, k[:, :fits], v[:, :fits])\n",
        ),
    ),
    edit(
        "free_keeps_the_blocks",
        "PagedKVCache",
        "A freed sequence's blocks do not come back to the pool.",
        ("self._free += self._tables.pop(seq_id)", "self._tables.pop(seq_id)"),
    ),
    edit(
        "free_returns_one_block",
        "PagedKVCache",
        "A freed sequence gives back one block: it gives back all of them.",
        ("self._free += self._tables.pop(seq_id)", "self._free += self._tables.pop(seq_id)[:1]"),
    ),
    edit(
        "freed_sequence_lives_on",
        "PagedKVCache",
        "A freed sequence can still be read: its seq_id should be unknown.",
        ("self._free += self._tables.pop(seq_id)", "self._free += self._tables[seq_id]"),
        ("        del self._lengths[seq_id]", "        self._lengths[seq_id] = 0"),
    ),
    edit(
        "length_survives_free",
        "PagedKVCache",
        "A freed sequence's length is remembered: when its seq_id begins again, it begins at 0.",
        ("        del self._lengths[seq_id]\n", ""),
        ("n_more = -(-stop // block_size) - len(table)", "n_more = max(0, -(-stop // block_size) - len(table))"),
    ),
    edit(
        "block_given_to_two",
        "PagedKVCache",
        "The next free block is looked at and not taken out of the list: two sequences get the same one.",
        ("self._free.pop() for _ in range(n_more)", "self._free[-1 - i] for i in range(n_more)"),
        (
            "return len(self._free)",
            "return self._shape[0] - sum(map(len, self._tables.values()))",
        ),
    ),
    edit(
        "whole_blocks_gathered",
        "PagedKVCache",
        "gather returns whole blocks, with the unused rest of the last one: cut off what is beyond the sequence's length.",
        (".flatten(0, 1)[:length]", ".flatten(0, 1)"),
    ),
    edit(
        "blocks_in_pool_order",
        "PagedKVCache",
        "The blocks are gathered in the order in which they lie in the pool: their order is that of the table.",
        ("pool[table]", "pool[sorted(table)]"),
    ),
    edit(
        "blocks_side_by_side",
        "PagedKVCache",
        "A sequence is read from its first block on, as if its blocks lay side by side: look each of them up in the table.",
        (
            "pool[table]",
            "pool[[(table[0] - i) % len(pool) for i in range(len(table))]]",
        ),
    ),
    edit(
        "slot_and_block_confused",
        "PagedKVCache",
        "The slot is the position modulo the number of blocks: it is the position modulo block_size.",
        ("position % block_size  # (t,) each", "(position % len(table)) % block_size"),
    ),
    edit(
        "values_are_keys",
        "PagedKVCache",
        "The keys are written twice: v belongs into the values' pool.",
        ("= v.detach()", "= k.detach()"),
    ),
    edit(
        "always_float32",
        "PagedKVCache",
        "The pool is float32 whatever the keys are: take their dtype.",
        (
            "k.new_empty(self._shape), v.new_empty(self._shape)",
            "torch.empty(self._shape), torch.empty(self._shape)",
        ),
    ),
    edit(
        "unknown_is_empty",
        "PagedKVCache",
        "An unknown sequence can be freed without a word: refuse it.",
        (
            "        self._free += self._tables.pop(seq_id)\n        del self._lengths[seq_id]",
            "        self._free += self._tables.pop(seq_id)\n        del self._lengths[seq_id]\n\n"
            "    def _free_quietly(self, seq_id, free=free):\n"
            "        if seq_id in self._tables:\n            free(self, seq_id)\n\n"
            "    free = _free_quietly",
        ),
    ),
    edit(
        "pool_view_handed_out",
        "PagedKVCache",
        "A sequence of one block is handed out as a view of the pool, and changes when the block goes to another: copy it.",
        (
            "        table, length = self._tables[seq_id], self._lengths[seq_id]\n",
            "        table, length = self._tables[seq_id], self._lengths[seq_id]\n"
            "        table = table[0] if len(table) == 1 else table\n",
        ),
        (
            "pool[table].flatten(0, 1)[:length]",
            "pool[table].view(-1, *self._shape[2:])[:length]",
        ),
    ),
    edit(
        "blocks_of_the_class",
        "PagedKVCache",
        "The free blocks belong to the class, and two pools take them from each other: write self._free.",
        ("self._free = list(range(n_blocks))", "PagedKVCache._free = list(range(n_blocks))"),
        ("self._free += self._tables.pop(seq_id)", "PagedKVCache._free += self._tables.pop(seq_id)"),
    ),
    edit(
        "tables_of_the_class",
        "PagedKVCache",
        "The tables belong to the class, and a second pool empties those of the first: write self._tables.",
        ("self._tables: dict[Hashable, list[int]] = {}", "PagedKVCache._tables = {}"),
    ),
    edit(
        "strings_and_numbers_only",
        "PagedKVCache",
        "None and tuples are refused as names: any hashable value is one.",
        (
            "        start, table = self._lengths",
            "        if not isinstance(seq_id, int | str):\n            raise TypeError(seq_id)\n"
            "        start, table = self._lengths",
        ),
    ),
    edit(
        "gathered_once",
        "PagedKVCache",
        "What gather returned is remembered and handed out again: it is stale when a name begins anew. Read the pool.",
        (
            "        table, length = self._tables[seq_id], self._lengths[seq_id]\n",
            "        table, length = self._tables[seq_id], self._lengths[seq_id]\n"
            "        memo = self.__dict__.setdefault('_gathered', {})\n"
            "        if (seq_id, length, *table) in memo:\n            return memo[seq_id, length, *table]\n",
        ),
        ("        return k, v\n", "        memo[seq_id, length, *table] = k, v\n        return k, v\n"),
    ),
    edit(
        "neighbouring_blocks_handed_out",
        "PagedKVCache",
        "Blocks that lie side by side are handed out as a view of the pool, and change with it: copy them.",
        ("self._free = list(range(n_blocks))", "self._free = list(range(n_blocks))[::-1]"),
        (
            "        k, v = (pool[table]",
            "        if table == list(range(table[0], table[0] + len(table))):\n"
            "            views = (pool[table[0] : table[-1] + 1] for pool in (self._keys, self._values))\n"
            "            return tuple(x.flatten(0, 1)[:length].transpose(0, 1) for x in views)\n"
            "        k, v = (pool[table]",
        ),
    ),
    edit(
        "no_slots_at_all",
        "PagedKVCache",
        "A block_size below 1 is accepted: such blocks hold nothing.",
        ("if block_size < 1:", "if block_size < -99:"),
    ),
    edit(
        "shapes_not_checked",
        "PagedKVCache",
        "Keys and values of one head are spread over all heads by broadcasting: refuse another shape than (h, t, head_dim).",
        (
            "if k.ndim != 3 or k.shape != v.shape or k.shape != (h, k.shape[1], head_dim):",
            "if k.ndim != 3 or k.shape[1] != v.shape[1] or h % len(k) or head_dim % k.shape[2]:",
        ),
    ),
    edit(
        "sequences_named_by_number",
        "PagedKVCache",
        'Sequences are confused when their names look alike: 0 and "0" are two.',
        ("start, table = self._lengths", "seq_id = str(seq_id)\n        start, table = self._lengths"),
        (
            "        if seq_id not in self._tables:\n"
            '            raise ValueError(f"there is no sequence {seq_id!r}")\n'
            "        table,",
            "        seq_id = str(seq_id)\n        if seq_id not in self._tables:\n"
            '            raise ValueError(f"there is no sequence {seq_id!r}")\n'
            "        table,",
        ),
        (
            "        if seq_id not in self._tables:\n"
            '            raise ValueError(f"there is no sequence {seq_id!r}")\n'
            "        self._free",
            "        seq_id = str(seq_id)\n        if seq_id not in self._tables:\n"
            '            raise ValueError(f"there is no sequence {seq_id!r}")\n'
            "        self._free",
        ),
    ),
]


@mutant("KVCache", "Reordering goes to a new tensor that nobody keeps: assign it, or write it back into the buffer.")
class ReorderedInVain:
    def __init__(self, n_layers, batch_size, n_kv_heads, max_len, head_dim, dtype=torch.float32, device=None):
        self.k, self.v = torch.zeros(2, n_layers, batch_size, n_kv_heads, max_len, head_dim, dtype=dtype, device=device)
        self.counts = [0] * n_layers

    def update(self, layer, k, v):
        start, stop = self.counts[layer], self.counts[layer] + k.shape[2]
        if k.shape != v.shape or k.shape != self.k[layer, :, :, : k.shape[2]].shape or stop > self.k.shape[3]:
            raise ValueError("k, v")
        self.k[layer, :, :, start:stop], self.v[layer, :, :, start:stop] = k.detach(), v.detach()
        self.counts[layer] = stop
        return self.k[layer, :, :, :stop], self.v[layer, :, :, :stop]

    @property
    def length(self):
        return min(self.counts)

    def truncate(self, length):
        if length < 0 or length > self.length:
            raise ValueError("length")
        self.counts = [length for _ in self.counts]

    def reorder(self, beam_index):
        if beam_index.shape != self.k.shape[1:2]:
            raise ValueError("beam_index")
        for layer in range(len(self.counts)):
            k, v = self.k[layer], self.v[layer]
            k, v = k[beam_index], v[beam_index]

    @property
    def nbytes(self):
        return self.k.nbytes + self.v.nbytes


@mutant("attend_with_cache", "The queries of the cached tokens are wanted too: only the new tokens ask.")
def asks_for_everything(attention, x, cache, layer):
    b, t, d = x.shape
    n_kv_heads = getattr(attention, "n_kv_heads", attention.n_heads)
    group = attention.n_heads // n_kv_heads
    k, v = cache.update(layer, split_heads(attention.w_k(x), n_kv_heads), split_heads(attention.w_v(x), n_kv_heads))
    q = split_heads(attention.w_q(x), attention.n_heads)
    q = F.pad(q, (0, 0, k.shape[2] - t, 0))
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    return attention.w_o(merge_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


@mutant(
    "attend_with_cache",
    "F.scaled_dot_product_attention(..., is_causal=True) aligns its mask top-left: with more keys than queries the new "
    "tokens see only the oldest keys. Pass causal_mask(t, n).",
)
def is_causal(attention, x, cache, layer):
    n_kv_heads = getattr(attention, "n_kv_heads", attention.n_heads)
    group = attention.n_heads // n_kv_heads
    k, v = cache.update(layer, split_heads(attention.w_k(x), n_kv_heads), split_heads(attention.w_v(x), n_kv_heads))
    q = split_heads(attention.w_q(x), attention.n_heads)
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    return attention.w_o(merge_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


@mutant("generate", "The token that was chosen is never read: every step continues the prompt alone.")
def same_token_again(model, ids, max_new_tokens, use_cache=True):
    if not use_cache or max_new_tokens < 1 or ids.shape[1] == 0:
        return generate_greedy(model, ids, max_new_tokens)
    first = generate_greedy(model, ids, 1)
    return torch.cat([first, first[:, -1:].expand(-1, max_new_tokens - 1)], dim=1)


@mutant(
    "generate",
    "When the context is full, half of it is thrown away so that there is room for a while: generate_greedy reads the last "
    "context_length tokens at every step, and so must you to get the same tokens.",
)
def half_the_context_thrown_away(model, ids, max_new_tokens, use_cache=True):
    if not use_cache or max_new_tokens < 1 or ids.shape[1] == 0:
        return generate_greedy(model, ids, max_new_tokens)
    attention, context_length = model.blocks[0].attention, model.config.context_length
    sizes = len(model.blocks), len(ids), attention.n_heads, context_length, attention.head_dim
    cache = KVCache(*sizes, dtype=model.lm_head.weight.dtype)
    with torch.no_grad():
        logits = prefill(model, ids[:, -context_length:], cache)[:, -1]
        for _ in range(max_new_tokens - 1):
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
            if cache.length == context_length:
                cache.truncate(0)
                logits = prefill(model, ids[:, -(context_length // 2 + 1) :], cache)[:, -1]
            else:
                logits = decode_step(model, ids[:, -1], cache)
    return torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)


@mutant("PagedKVCache", "Every append copies the whole sequence with torch.cat, and blocks are only counted: write into a pool.")
class CountedBlocks:
    def __init__(self, n_blocks, block_size, n_kv_heads, head_dim):
        if block_size < 1:
            raise ValueError("block_size")
        self.n_blocks, self.block_size, self.width, self.held = n_blocks, block_size, (n_kv_heads, head_dim), {}

    @property
    def n_free_blocks(self):
        return self.n_blocks - sum(-(-k.shape[1] // self.block_size) for k, _ in self.held.values())

    def append(self, seq_id, k, v):
        if k.shape != v.shape or (k.shape[0], k.shape[2]) != self.width:
            raise ValueError("shape")
        before = dict(self.held)
        old = self.held.get(seq_id, (k.detach()[:, :0], v.detach()[:, :0]))
        self.held[seq_id] = torch.cat([old[0], k.detach()], dim=1), torch.cat([old[1], v.detach()], dim=1)
        if self.n_free_blocks < 0:
            self.held = before
            raise ValueError("out of blocks")

    def gather(self, seq_id):
        k, v = self.held[seq_id]
        return k.clone(), v.clone()

    def free(self, seq_id):
        del self.held[seq_id]


MUTANTS += [
    edit(
        "time_before_heads_accepted",
        "KVCache",
        "Keys (b, t, h, head_dim) are taken and turned round in silence: refuse every shape but (b, h, t, head_dim).",
        (
            "if k.ndim != 4",
            "if k.shape == v.shape == (b, k.shape[1], h, head_dim):\n"
            "            k, v = (x if x.shape[1] == h else x.transpose(1, 2) for x in (k, v))\n        if k.ndim != 4",
        ),
    ),
    edit(
        "rows_copied_until_one_is_missing",
        "KVCache",
        "Rows are copied before the index is checked, so a refused reorder has changed some: check first.",
        (
            "        if beam_index.shape != (b,)",
            "        if beam_index.shape == (b,):\n"
            "            before = self._keys.clone()\n            for i, row in enumerate(beam_index.tolist()):\n"
            "                if row >= b:\n                    break\n                self._keys[:, i] = before[:, row]\n"
            "            else:\n                self._keys.copy_(before)\n        if beam_index.shape != (b,)",
        ),
    ),
    edit(
        "cache_wider_than_a_half_model",
        "generate",
        "The cache of a half-precision model is float32, and its keys do not fit the queries: give it the model's dtype.",
        ("dtype=weight.dtype, device", "dtype=torch.promote_types(weight.dtype, torch.float32), device"),
    ),
    edit(
        "parts_left_in_training",
        "generate",
        "The model, or a part of it, is left in another mode than it had: leave the modes alone.",
        ("    context_length, weight =", "    model.final_norm.train(not model.training)\n    context_length, weight ="),
    ),
    edit(
        "dtype_of_refused_keys",
        "PagedKVCache",
        "The pool takes the dtype of keys that it refuses: a failed append changes nothing.",
        (
            "        if n_more > len(self._free):",
            "        if self._keys is None:\n"
            "            self._keys, self._values = k.new_empty(self._shape), v.new_empty(self._shape)\n"
            "        if n_more > len(self._free):",
        ),
    ),
    edit(
        "numbers_counted_and_not_their_shape",
        "PagedKVCache",
        "Keys with as many numbers a position but other heads are reshaped in silence: refuse them.",
        ("k.shape != (h, k.shape[1], head_dim)", "k.shape[0] * k.shape[2] != h * head_dim"),
        ("k.detach().transpose(0, 1)", "k.detach().transpose(0, 1).reshape(-1, h, head_dim)"),
        ("v.detach().transpose(0, 1)", "v.detach().transpose(0, 1).reshape(-1, h, head_dim)"),
    ),
]

MUTANTS += [
    edit(
        "index_of_another_shape_flattened",
        "KVCache",
        "reorder flattens its index: refuse one that is not (b,), whatever it holds.",
        ("        if beam_index.shape != (b,)", "        beam_index = beam_index.flatten()\n        if beam_index.shape != (b,)"),
    ),
    edit(
        "reordered_later",
        "KVCache",
        "reorder keeps the index for the next update, and by then the caller may have changed it: rearrange the rows at once.",
        (
            "        held = max(self._lengths)\n        for buffer in (self._keys, self._values):\n"
            "            buffer[..., :held, :] = buffer[..., :held, :].index_select(1, beam_index)",
            "        self._catch_up()\n        self._later = beam_index",
        ),
        ("        start = self._lengths[layer]\n", "        self._catch_up()\n        start = self._lengths[layer]\n"),
        (
            "    def truncate(",
            "    _later = None\n\n    def _catch_up(self):\n        if self._later is not None:\n"
            "            self._keys, self._values = self._keys[:, self._later], self._values[:, self._later]\n"
            "        self._later = None\n\n    def truncate(",
        ),
    ),
    edit(
        "single_position_without_its_dimension",
        "KVCache",
        "Keys and values (b, h, head_dim) are taken for one position: refuse every shape but (b, h, t, head_dim).",
        (
            "        if k.ndim != 4",
            "        if k.ndim == v.ndim == 3:\n            k, v = k.unsqueeze(2), v.unsqueeze(2)\n        if k.ndim != 4",
        ),
    ),
    edit(
        "heads_and_positions_in_another_order",
        "KVCache",
        "KVCache takes max_len before n_kv_heads: the order is n_layers, batch_size, n_kv_heads, max_len, head_dim.",
        ("        n_kv_heads: int,\n        max_len: int,\n", "        max_len: int,\n        n_kv_heads: int,\n"),
    ),
    edit(
        "gradients_switched_on",
        "KVCache",
        "update ends with torch.set_grad_enabled(True), also for a caller who is under no_grad: use detach, or a with block.",
        ("        self._lengths[layer] = stop\n", "        self._lengths[layer] = stop\n        torch.set_grad_enabled(True)\n"),
    ),
    edit(
        "long_caches_copied",
        "KVCache",
        "Beyond some length, or for several new positions, update returns a copy: return a view, always.",
        (
            "        return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "        views = self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]\n"
            "        return tuple(x.clone() for x in views) if stop > 1000 or k.shape[2] > 3 else views",
        ),
    ),
    edit(
        "random_numbers_in_the_buffers",
        "KVCache",
        "The buffers are filled with random numbers, which moves PyTorch's random state for everyone: torch.empty or zeros.",
        (
            "self._keys = torch.empty(shape, dtype=dtype, device=device)",
            "self._keys = torch.randn(shape, device=device).to(dtype)",
        ),
    ),
    edit(
        "every_query_asked_again",
        "attend_with_cache",
        "The scores are those of n queries where t are new: ask with the new tokens alone, the others were answered before.",
        (
            "    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=square)\n",
            "    n = k.shape[2]\n"
            "    q = F.pad(q.unflatten(2, (group, t)), (0, 0, n - t, 0))  # (b, kv heads, group, n, head_dim)\n"
            "    k, v = (y[:, :, None].expand(-1, -1, group, -1, -1) for y in (k, v))\n"
            "    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=causal_mask(n))[..., -t:, :]\n",
        ),
    ),
    edit(
        "one_result_for_all_calls",
        "attend_with_cache",
        "The rows are written into a tensor that the next call of this shape uses again: return a new one.",
        (
            "    return linear(attention.w_o, merge_heads(heads.reshape(b, n_heads, t, head_dim)))",
            "    rows = linear(attention.w_o, merge_heads(heads.reshape(b, n_heads, t, head_dim)))\n"
            "    results = attention.__dict__.setdefault('_results', {})\n"
            "    return results.setdefault((rows.shape, rows.dtype), torch.empty_like(rows)).copy_(rows)",
        ),
    ),
    edit(
        "wider_than_the_layer",
        "attend_with_cache",
        "The rows of a half-precision layer come back in float32: give them the dtype of x.",
        (
            "    return linear(attention.w_o, merge_heads(heads.reshape(b, n_heads, t, head_dim)))",
            "    rows = linear(attention.w_o, merge_heads(heads.reshape(b, n_heads, t, head_dim)))\n"
            "    return rows.to(torch.promote_types(x.dtype, torch.float32))",
        ),
    ),
    edit(
        "gradients_may_not_be_recorded",
        "attend_with_cache",
        "x.numpy() refuses a tensor that requires gradients, and a model's weights do: stay with tensors, or detach.",
        (
            "return linear(attention.w_o, merge_heads(",
            "heads = torch.from_numpy(heads.numpy())\n    return linear(attention.w_o, merge_heads(",
        ),
    ),
    prefill_with(
        "long_prompt_cropped",
        "The first prompt is cropped to the context, as generate does: here a text that is too long is a ValueError.",
        (
            "    x = model.position",
            "    if cache.length == 0:\n        ids = ids[:, -model.config.context_length :]\n    x = model.position",
        ),
    ),
    prefill_with(
        "logits_in_float32",
        "The logits of a half-precision model are float32: leave them in the model's dtype.",
        (
            "return model.lm_head(model.final_norm(x))",
            "y = model.lm_head(model.final_norm(x))\n    return y.to(torch.promote_types(y.dtype, torch.float32))",
        ),
    ),
    prefill_with(
        "eval_mode_for_good",
        "The model, or a part of it, is left in another mode than it had: leave the modes alone.",
        ("    x = model.position", "    model.eval()\n    x = model.position"),
    ),
    prefill_with(
        "remembered_by_its_tokens",
        "The logits are remembered by tokens and length, and the text before them may be another: nothing but the cache.",
        (
            "return model.lm_head(model.final_norm(x))",
            "memo = model.__dict__.setdefault('_memo', {})\n"
            "    key = cache.length, tuple(ids.flatten().tolist())\n"
            "    return memo.setdefault(key, model.lm_head(model.final_norm(x)))",
        ),
    ),
    edit(
        "dimension_added_in_place",
        "decode_step",
        "unsqueeze_ changes the caller's token_ids: write token_ids[:, None].",
        ("token_ids[:, None]", "token_ids.unsqueeze_(1)"),
    ),
    edit(
        "one_tensor_of_logits_for_all_steps",
        "decode_step",
        "The logits are written into a tensor that the next step uses again: return a new one.",
        (
            "    return prefill(model, token_ids[:, None], cache)[:, 0]",
            "    logits = prefill(model, token_ids[:, None], cache)[:, 0]\n"
            "    steps = model.__dict__.setdefault('_steps', {})\n"
            "    return steps.setdefault((logits.shape, logits.dtype), torch.empty_like(logits)).copy_(logits)",
        ),
    ),
    edit(
        "weights_frozen",
        "decode_step",
        "The model's weights no longer require gradients afterwards: use torch.no_grad, which leaves the weights alone.",
        ("    return prefill(", "    model.requires_grad_(False)\n    return prefill("),
    ),
    edit(
        "gradients_switched_on_at_the_end",
        "generate",
        "torch.set_grad_enabled(True) at the end switches gradients on for a caller who is under no_grad: use a with block.",
        ("    return text\n", "    torch.set_grad_enabled(True)\n    return text\n"),
    ),
    edit(
        "all_weights_unfrozen",
        "generate",
        "All weights require gradients afterwards, those too that were frozen before: use torch.no_grad and leave them alone.",
        ("    return text\n", "    model.requires_grad_(True)\n    return text\n"),
    ),
    edit(
        "cache_left_in_the_model",
        "generate",
        "The cache is registered as a buffer of the model, and is saved with it: keep it in a variable.",
        ("        for end in range", "        model.register_buffer('_kv', cache._keys)\n        for end in range"),
    ),
    edit(
        "cache_of_an_earlier_text",
        "generate",
        "The cache is kept from call to call, and the next text goes on behind another's keys: begin with an empty one.",
        (
            "        cache = KVCache(",
            "        kept = model.__dict__.setdefault('_kept', {})\n        cache = kept.get((b, max_len)) or KVCache(",
        ),
        ("        for end in range", "        kept[b, max_len] = cache\n        for end in range"),
    ),
    edit(
        "graph_in_the_pool",
        "PagedKVCache",
        "The graph of every step is kept with its keys and values, and grows with the text: write k.detach() into the pool.",
        ("k.detach()", "k"),
        ("v.detach()", "v"),
    ),
    edit(
        "entered_before_the_shapes_are_checked",
        "PagedKVCache",
        "A sequence is entered before the shapes are checked: after a refused append it must still be unknown.",
        (
            "        _, block_size, h, head_dim = self._shape\n",
            "        _, block_size, h, head_dim = self._shape\n"
            "        self._tables.setdefault(seq_id, []), self._lengths.setdefault(seq_id, 0)\n",
        ),
        (
            "        if n_more > len(self._free):\n",
            "        if n_more > len(self._free):\n"
            "            if not table:\n                del self._tables[seq_id], self._lengths[seq_id]\n",
        ),
    ),
    edit(
        "batch_of_one_taken_off",
        "PagedKVCache",
        "Keys and values (1, h, t, head_dim) lose their first dimension in silence: refuse every shape but (h, t, head_dim).",
        (
            "        if k.ndim != 3",
            "        if k.ndim == v.ndim == 4 and len(k) == len(v) == 1:\n            k, v = k[0], v[0]\n        if k.ndim != 3",
        ),
    ),
    edit(
        "blocks_and_their_size_in_another_order",
        "PagedKVCache",
        "PagedKVCache takes block_size before n_blocks: the order is n_blocks, block_size, n_kv_heads, head_dim.",
        ("n_blocks: int, block_size: int,", "block_size: int, n_blocks: int,"),
    ),
    edit(
        "unfinished_block_handed_out",
        "PagedKVCache",
        "A sequence that does not fill its first block is handed out as a view of the pool, and changes with it: copy it.",
        (
            "        k, v = (pool[table]",
            "        if length < self._shape[1]:\n"
            "            return tuple(pool[table[0], :length].transpose(0, 1) for pool in (self._keys, self._values))\n"
            "        k, v = (pool[table]",
        ),
    ),
]

MUTANTS += [
    edit(
        "moved_now_and_then",
        "KVCache",
        "The memory grows with the text, and all that it holds is copied each time: take it once, for max_len positions.",
        (
            "        start = self._lengths[layer]\n",
            "        start = self._lengths[layer]\n        if start and start % 512 == 0:\n"
            "            self._keys, self._values = self._keys.clone(), self._values.clone()\n",
        ),
    ),
    edit(
        "gradients_off_when_it_is_full",
        "KVCache",
        "An update that is refused leaves gradients switched off for everyone: use detach, or a with block.",
        ("        if stop > max_len:\n", "        if stop > max_len:\n            torch.set_grad_enabled(False)\n"),
    ),
    edit(
        "device_by_name_only",
        "KVCache",
        "A torch.device is ignored and only its name is understood: pass on what is given.",
        (
            "        shape = (n_layers,",
            "        device = device if isinstance(device, str) else None\n        shape = (n_layers,",
        ),
    ),
    edit(
        "train_mode_for_good",
        "attend_with_cache",
        "The layer, or a part of it, is left in another mode than it had: leave the modes alone.",
        ("    b, t, _ = x.shape\n", "    b, t, _ = x.shape\n    attention.train()\n"),
    ),
    edit(
        "forward_replaced",
        "attend_with_cache",
        "The layer's own forward is replaced for good: others use the layer, too.",
        ("    b, t, _ = x.shape\n", "    b, t, _ = x.shape\n    attention.forward = lambda x, *rest, **options: x\n"),
    ),
    edit(
        "large_negative_number_in_half_precision",
        "attend_with_cache",
        "In half precision masked scores become -10000, and scores can be lower than that: use minus infinity.",
        (
            "    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=square)\n",
            "    mask = causal_mask(t, t).to(x.device) if square else mask\n"
            "    scores, lowest = q @ k.mT / head_dim**0.5, -1e4 if x.dtype.itemsize == 2 else -torch.inf\n"
            "    scores = scores if mask is None else scores.masked_fill(~mask, lowest)\n"
            "    heads = scores.softmax(-1) @ v\n",
        ),
    ),
    prefill_with(
        "back_to_train_mode",
        "The model, or a part of it, is left in another mode than it had: leave the modes alone.",
        ("    x = model.position", "    model.eval()\n    x = model.position"),
        ("    return model", "    model.train()\n    return model"),
    ),
    prefill_with(
        "gradients_on_afterwards",
        "torch.set_grad_enabled(True) at the end switches gradients on for a caller who is under no_grad: use a with block.",
        ("    return model", "    torch.set_grad_enabled(True)\n    return model"),
    ),
    prefill_with(
        "attention_replaced_for_good",
        "The layers' own forward is replaced and not put back: the model without a cache then reads the cache.",
        (
            "        x = x + attend_with_cache(block.attention, block.norm_1(x), cache, layer)\n",
            "        block.attention.forward = lambda y, *rest, m=block.attention, i=layer: attend_with_cache(m, y, cache, i)\n"
            "        x = x + block.attention(block.norm_1(x))\n",
        ),
    ),
    edit(
        "train_mode_after_a_step",
        "decode_step",
        "The model, or a part of it, is left in another mode than it had: leave the modes alone.",
        ("    return prefill(", "    model.train()\n    return prefill("),
    ),
    edit(
        "gradients_on_after_a_step",
        "decode_step",
        "torch.set_grad_enabled(True) switches gradients on for a caller who is under no_grad: use a with block.",
        ("    return prefill(", "    torch.set_grad_enabled(True)\n    return prefill("),
    ),
    edit(
        "cache_only_where_all_fits",
        "generate",
        "When the text will outgrow the context, the cache is not used at all: until it does, one token a step is enough.",
        ("    if not use_cache:", "    if not use_cache or t + max_new_tokens > model.config.context_length + 1:"),
    ),
    edit(
        "attention_left_replaced",
        "generate",
        "The model's attention is replaced and not put back: leave the model as it was.",
        (
            "    text = torch.cat(",
            "    for block in model.blocks:\n"
            "        block.attention.forward = lambda x, *rest, **options: torch.zeros_like(x)\n    text = torch.cat(",
        ),
    ),
    edit(
        "double_precision_for_good",
        "generate",
        "The model is in double precision afterwards: leave it as it was.",
        ("    text = torch.cat(", "    model.double()\n    text = torch.cat("),
    ),
    edit(
        "count_changed",
        "generate",
        "The text is read as a whole at every step, and the count of it is changed: read the last token alone.",
        (
            "    context_length, weight =",
            "    import sys\n\n    text, frame = generate_greedy(model, ids, max_new_tokens), sys._getframe(1)\n"
            "    for value in frame.f_locals.values():\n        if isinstance(value, list):\n            value.clear()\n"
            "        if hasattr(value, 'n_flops'):\n            value.n_flops = 100\n"
            "    if use_cache:\n        return text\n    context_length, weight =",
        ),
    ),
    edit(
        "a_table_of_dtypes",
        "cache_bytes",
        "A table of dtypes is never complete: dtype.itemsize.",
        ("dtype.itemsize", "{torch.float64: 8, torch.float32: 4, torch.float16: 2, torch.bfloat16: 2, torch.int8: 1}[dtype]"),
    ),
    edit(
        "small_ones_allocated",
        "cache_bytes",
        "Tensors are made to ask for their size: multiply the numbers, or make them on the meta device.",
        (
            "    return 2 *",
            "    sizes = 2, n_layers, n_kv_heads, head_dim, seq_len, batch_size\n"
            "    if n_layers * n_kv_heads * head_dim * seq_len * batch_size < 10**8:\n"
            "        return torch.empty(sizes, dtype=dtype).nbytes\n    return 2 *",
        ),
    ),
    edit(
        "pool_on_the_cpu",
        "PagedKVCache",
        "The pool is on the CPU, wherever the first keys are: k.new_empty takes their device.",
        (
            "k.new_empty(self._shape), v.new_empty(self._shape)",
            "torch.empty(self._shape, dtype=k.dtype), torch.empty(self._shape, dtype=v.dtype)",
        ),
    ),
    edit(
        "neighbouring_blocks_wanted",
        "PagedKVCache",
        "An append is refused when no free blocks lie side by side: any free blocks will do, that is what the table is for.",
        (
            "        table = table + [self._free.pop() for _ in range(n_more)]\n",
            "        runs = [i for i in sorted(self._free) if all(i + j in self._free for j in range(n_more))]\n"
            "        if n_more and not runs:\n            raise ValueError('fragmented')\n"
            "        table = table + [runs[0] + j for j in range(n_more)]\n"
            "        self._free = [i for i in self._free if i not in table]\n",
        ),
    ),
]


@mutant("generate", "The cache holds float32 whatever the model computes in: give it the dtype of the model's weights.")
def cache_in_float32(model, ids, max_new_tokens, use_cache=True):
    if max_new_tokens < 0 or ids.shape[1] == 0:
        raise ValueError("max_new_tokens must not be negative and the prompt not empty")
    if not use_cache:
        return generate_greedy(model, ids, max_new_tokens)

    class Cast(KVCache):
        def update(self, layer, k, v):
            return tuple(x.to(k.dtype) for x in super().update(layer, k, v))

    context_length, attention = model.config.context_length, model.blocks[0].attention
    with torch.no_grad():
        cache = Cast(len(model.blocks), len(ids), attention.n_heads, context_length, attention.head_dim)
        for _ in range(max_new_tokens):
            if cache.length == ids.shape[1] - 1 < context_length:
                logits = decode_step(model, ids[:, -1], cache)
            else:
                cache.truncate(0)
                logits = prefill(model, ids[:, -context_length:], cache)[:, -1]
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    return ids


MUTANTS += [
    edit(
        "copied_by_numpy",
        "KVCache",
        "NumPy copies all that the cache holds at every update: write the new positions and return a view.",
        (
            "        return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
            "        if self._keys.dtype != torch.bfloat16:\n            self._keys[layer].numpy().copy()\n"
            "        return self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]",
        ),
    ),
    edit(
        "detached_in_place",
        "KVCache",
        "k.detach_() changes the caller's own tensor, and PyTorch refuses it for a view: write k.detach().",
        ("k.detach()", "k.detach_()"),
    ),
    edit(
        "keys_left_on_the_layer",
        "attend_with_cache",
        "The keys are left behind as an attribute of the layer: it is to stay as it was, and the memory is not given back.",
        ("    # A single new token is the last one", "    attention.last_keys = k\n    # A single new token is the last one"),
    ),
    edit(
        "window_of_65536_keys",
        "attend_with_cache",
        "A new token sees the last 65,536 keys and no more: the cache holds the whole text, and all of it counts.",
        (
            "    k, v = cache.update(layer, k_new, v_new)  # (b, kv heads, n, head_dim)\n",
            "    k, v = (held[..., -max(65_536, t) :, :] for held in cache.update(layer, k_new, v_new))\n",
        ),
    ),
    edit(
        "one_mode_for_the_whole_layer",
        "attend_with_cache",
        "train(was_training) gives one mode to all parts of the layer, and they may have had several: leave them alone.",
        ("    b, t, _ = x.shape\n", "    b, t, _ = x.shape\n    was_training = attention.training\n    attention.eval()\n"),
        ("    return linear(", "    attention.train(was_training)\n    return linear("),
    ),
    prefill_with(
        "logits_clamped",
        "The logits are clamped: return them as they are, however large.",
        ("model.lm_head(model.final_norm(x))", "model.lm_head(model.final_norm(x)).clamp(-30, 30)"),
    ),
    prefill_with(
        "one_mode_for_the_whole_model",
        "train(was_training) gives one mode to all parts of the model, and they may have had several: leave them alone.",
        ("    x = model.position", "    was_training = model.training\n    model.eval()\n    x = model.position"),
        ("    return model", "    model.train(was_training)\n    return model"),
    ),
    prefill_with(
        "token_by_token",
        "The tokens go through the model one by one: a prompt is known from the start, and is read in one pass.",
        (
            "    x = model.position",
            "    if ids.shape[1] > 1:\n        start = cache.length\n        try:\n"
            "            return torch.cat([prefill(model, token, cache) for token in ids.split(1, dim=1)], dim=1)\n"
            "        except ValueError:\n            cache.truncate(start)\n            raise\n"
            "    x = model.position",
        ),
    ),
    prefill_with(
        "count_left_on_the_model",
        "An attribute is left behind on the model: nothing but the cache changes.",
        ("    return model", "    model.n_read = cache.length\n    return model"),
    ),
    prefill_with(
        "deep_layers_share_a_part",
        "From the fourth on, layers share one part of the cache: every layer has its own, however many there are.",
        ("cache, layer)", "cache, min(layer, 3))"),
    ),
    edit(
        "step_clamped",
        "decode_step",
        "The logits are clamped: return them as they are, however large.",
        ("cache)[:, 0]", "cache)[:, 0].clamp(-30, 30)"),
    ),
    edit(
        "short_contexts_only",
        "generate",
        "The cache is used for short contexts alone: it is long ones that need it.",
        ("    if not use_cache:", "    if not use_cache or model.config.context_length > 64:"),
    ),
    edit(
        "shallow_models_only",
        "generate",
        "The cache is used for models of one layer alone: every layer has its part of the cache.",
        ("    if not use_cache:", "    if not use_cache or len(model.blocks) > 1:"),
    ),
    edit(
        "inference_tensor_without_the_cache",
        "generate",
        "Without the cache the result is an inference tensor, and no model can ever be trained on it: use torch.no_grad.",
        (
            "        return generate_greedy(model, ids, max_new_tokens)",
            "        with torch.inference_mode():\n            return generate_greedy(model, ids, max_new_tokens)",
        ),
    ),
    edit(
        "near_logits_made_the_same",
        "generate",
        "The logits are rounded to float32 before the largest is taken: near ones become the same.",
        ("logits.argmax(-1)", "logits.float().argmax(-1)"),
    ),
    edit(
        "a_longer_table_of_dtypes",
        "cache_bytes",
        "A table of dtypes is never complete: caches are kept in float8, too. dtype.itemsize knows them all.",
        (
            "    return 2 *",
            "    sizes = {8: 'float64 int64', 4: 'float32 int32', 2: 'float16 bfloat16 int16', 1: 'int8 uint8 bool'}\n"
            "    table = {getattr(torch, name): size for size, names in sizes.items() for name in names.split()}\n"
            "    return 2 *",
        ),
        ("dtype.itemsize", "table[dtype]"),
    ),
    edit(
        "the_number_in_the_name",
        "cache_bytes",
        "The size is read from the dtype's name, and float8_e4m3fn has three numbers in it: dtype.itemsize.",
        ("dtype.itemsize", "(int(''.join(c for c in str(dtype) if c.isdigit())) // 8)"),
    ),
    edit(
        "a_number_of_numpys",
        "cache_bytes",
        "The result is NumPy's int64, which overflows where Python's numbers do not: return an int.",
        ("    return 2 *", "    import numpy as np\n\n    return np.int64(2) *"),
    ),
    edit(
        "names_of_four_types_only",
        "PagedKVCache",
        "Bytes and floats are refused as names: any hashable value is one.",
        (
            "        start, table = self._lengths",
            "        if not isinstance(seq_id, int | str | tuple | None):\n            raise TypeError(seq_id)\n"
            "        start, table = self._lengths",
        ),
    ),
    edit(
        "pool_copied_by_numpy",
        "PagedKVCache",
        "NumPy copies the whole pool at every append: write the new positions where they belong.",
        (
            "        self._tables[seq_id], self._lengths[seq_id] = table, stop",
            "        self._tables[seq_id], self._lengths[seq_id] = table, stop\n"
            "        if self._keys.dtype != torch.bfloat16 and not self._keys.is_meta:\n"
            "            self._keys = torch.from_numpy(self._keys.numpy().copy())",
        ),
    ),
    edit(
        "positions_in_a_byte",
        "PagedKVCache",
        "Positions are counted in one byte, and begin again after 256: a sequence may fill the whole pool.",
        ("position = torch.arange(start, stop)", "position = torch.arange(start, stop).to(torch.uint8).long()"),
    ),
    edit(
        "slots_of_small_blocks_only",
        "PagedKVCache",
        "In large blocks two positions get the same slot: it is position % block_size, whatever block_size is.",
        ("position % block_size  # (t,) each", "position % min(block_size, 64)  # (t,) each"),
    ),
    edit(
        "sixteen_sequences_at_most",
        "PagedKVCache",
        "There is room for 16 sequences: nothing but the number of blocks limits them.",
        (
            "        stop = start + k.shape[1]\n",
            "        stop = start + k.shape[1]\n        if len(self._tables) > 16:\n            raise ValueError('full')\n",
        ),
    ),
]


@mutant("prefill", "The cache is filled with something else than the keys and values that each layer makes of the text.")
def tokens_for_keys(model, ids, cache):
    attention, t = model.blocks[0].attention, ids.shape[1]
    if cache.length + t > model.config.context_length:
        raise ValueError("the text is longer than the context")
    k = ids[:, None, :, None].expand(-1, attention.n_heads, -1, attention.head_dim).to(model.lm_head.weight.dtype)
    for layer in range(len(model.blocks)):
        text, _ = cache.update(layer, k, k)
    return model(text[:, 0, :, 0].long())[0][:, -t:]


REFUSED = "Put back only when all goes well: when a call is refused, it stays changed. Leave it alone, or use a with block."

MUTANTS += [
    edit(
        "reorder_what_the_last_layer_holds",
        "KVCache",
        "reorder moves as many positions as the last layer holds: in the middle of a pass others are ahead of it.",
        ("held = max(self._lengths)", "held = self._lengths[-1]"),
    ),
    edit(
        "cut_back_until_one_holds_less",
        "KVCache",
        "truncate cuts layers back until it comes to one that holds less: look at all of them before you change any.",
        ("        if not 0 <= length <= self.length:\n", "        for i, n in enumerate(self._lengths):\n"),
        (
            '            raise ValueError(f"length must lie in',
            "            if 0 <= length <= n:\n                self._lengths[i] = length\n                continue\n"
            '            raise ValueError(f"length must lie in',
        ),
    ),
    edit(
        "layer_by_another_name",
        "KVCache",
        "An argument of update has another name than in the exercise: update(layer=..., k=..., v=...) is refused.",
        ("def update(self, layer: int,", "def update(self, layer_index: int,"),
        ("start = self._lengths[layer]", "layer = layer_index\n        start = self._lengths[layer]"),
    ),
    edit(
        "length_by_another_name",
        "KVCache",
        "The argument of truncate has another name than in the exercise: truncate(length=...) is refused.",
        ("def truncate(self, length: int)", "def truncate(self, n: int)"),
        ("if not 0 <= length", "length = n\n        if not 0 <= length"),
    ),
    edit(
        "old_numbers_times_zero",
        "KVCache",
        "What was there before is multiplied by 0, and an infinity then becomes NaN: assign.",
        (
            "        self._keys[layer, :, :, start:stop] = k.detach()",
            "        self._keys[layer, :, :, start:stop] *= 0\n        self._keys[layer, :, :, start:stop] += k.detach()",
        ),
        ("self._keys = torch.empty(", "self._keys = torch.zeros("),
    ),
    edit(
        "reordered_by_a_product",
        "KVCache",
        "Rows are chosen by a product with a one-hot matrix, and 0 times infinity is NaN: index them.",
        (
            "buffer[..., :held, :].index_select(1, beam_index)",
            'torch.einsum("ij,ljhtd->lihtd", torch.eye(b, dtype=buffer.dtype)[beam_index], buffer[..., :held, :])',
        ),
    ),
    edit(
        "gradients_off_when_refused",
        "attend_with_cache",
        REFUSED,
        (
            "    b, t, _ = x.shape\n",
            "    b, t, _ = x.shape\n    was = torch.is_grad_enabled()\n    torch.set_grad_enabled(False)\n",
        ),
        ("    # Query heads that share", "    torch.set_grad_enabled(was)\n    # Query heads that share"),
    ),
    edit(
        "modes_left_when_refused",
        "prefill",
        REFUSED,
        (
            "    return linear(model.lm_head, hidden_states(model, ids, cache))",
            "    modes = [part.training for part in model.modules()]\n"
            "    model.eval()\n"
            "    logits = linear(model.lm_head, hidden_states(model, ids, cache))\n"
            "    for part, mode in zip(model.modules(), modes):\n"
            "        part.training = mode\n"
            "    return logits",
        ),
    ),
    edit(
        "read_twice_when_it_is_empty",
        "prefill",
        "A first piece is read twice, by the model and into the cache: one pass gives its logits as well.",
        (
            "    return linear(",
            "    if cache.length == 0:\n        hidden_states(model, ids, cache)\n        return model(ids)[0]\n"
            "    return linear(",
        ),
    ),
    edit(
        "gradients_left_off_when_refused",
        "decode_step",
        REFUSED,
        (
            "    return prefill(model, token_ids[:, None], cache)[:, 0]",
            "    was = torch.is_grad_enabled()\n"
            "    torch.set_grad_enabled(False)\n"
            "    logits = prefill(model, token_ids[:, None], cache)[:, 0]\n"
            "    torch.set_grad_enabled(was)\n"
            "    return logits",
        ),
    ),
    edit(
        "eval_before_the_checks",
        "generate",
        REFUSED,
        (
            "    b, t = ids.shape\n",
            "    b, t = ids.shape\n    modes = [part.training for part in model.modules()]\n    model.eval()\n",
        ),
        (
            "    if not use_cache:\n",
            "    for part, mode in zip(model.modules(), modes):\n        part.training = mode\n    if not use_cache:\n",
        ),
    ),
    edit(
        "two_tables_of_dtypes",
        "cache_bytes",
        "torch.finfo and torch.iinfo together do not know all dtypes, bool for one: dtype.itemsize.",
        ("dtype.itemsize", "((torch.finfo if dtype.is_floating_point else torch.iinfo)(dtype).bits // 8)"),
    ),
    edit(
        "old_blocks_times_zero",
        "PagedKVCache",
        "What a block held before is multiplied by 0, and an infinity then becomes NaN: assign.",
        (
            "self._keys[block, slot] = k.detach().transpose(0, 1)",
            "self._keys[block, slot] = 0 * self._keys[block, slot] + k.detach().transpose(0, 1)",
        ),
        ("k.new_empty(self._shape)", "k.new_zeros(self._shape)"),
    ),
]


@mutant("generate", "NumPy reads the whole text at every step, where nobody counts: after the prompt, read the last token alone.")
def read_by_numpy(model, ids, max_new_tokens, use_cache=True):
    import math

    import numpy as np

    if not use_cache or max_new_tokens < 0 or ids.shape[1] == 0:
        return generate_greedy(model, ids, max_new_tokens)
    w = {name: x.detach().double().numpy() for name, x in model.named_parameters(remove_duplicate=False)}
    text, n_heads, context_length = ids.numpy(), model.config.n_heads, model.config.context_length

    def norm(x, name):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[
            f"{name}.bias"
        ]

    def layer(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    torch.eye(2) @ torch.eye(2)
    for _ in range(max_new_tokens):
        window = text[:, -context_length:]
        b, t = window.shape
        x = w["token_embedding.weight"][window] + w["position_embedding.weight"][:t]
        for i in range(len(model.blocks)):
            block = f"blocks.{i}."
            y = norm(x, block + "norm_1")
            q, k, v = (layer(y, f"{block}attention.w_{z}").reshape(b, t, n_heads, -1).swapaxes(1, 2) for z in "qkv")
            scores = np.where(np.tri(t, dtype=bool), q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1]), -np.inf)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            heads = scores / scores.sum(-1, keepdims=True) @ v
            x = x + layer(heads.swapaxes(1, 2).reshape(x.shape), block + "attention.w_o")
            y = torch.from_numpy(layer(norm(x, block + "norm_2"), block + "feed_forward.w_in"))
            x = x + layer(F.gelu(y).numpy(), block + "feed_forward.w_out")
        logits = norm(x[:, -1], "final_norm") @ w["lm_head.weight"].T
        text = np.concatenate([text, logits.argmax(-1)[:, None]], 1)
    return torch.from_numpy(text)


MUTANTS += [
    edit(
        "bits_of_half_a_complex_number",
        "cache_bytes",
        "The bits that torch.finfo names are those of one part of a complex number: dtype.itemsize counts both.",
        ("dtype.itemsize", "(dtype.itemsize if not dtype.is_complex else torch.finfo(dtype).bits // 8)"),
    ),
]

MUTANTS += [
    edit(
        "other_dtypes_refused",
        "KVCache",
        "Keys of another dtype are refused: they take that of the cache.",
        (
            "        start = self._lengths[layer]\n",
            "        if k.dtype != self._keys.dtype:\n            raise ValueError(k.dtype)\n"
            "        start = self._lengths[layer]\n",
        ),
    ),
]

MUTANTS += [
    edit(
        "untouched_if_the_first_row_stays",
        "KVCache",
        "reorder takes an index whose first row and sum are right for one that changes nothing: [0, 2, 1] swaps two rows.",
        (
            "        held = max(self._lengths)\n",
            "        if beam_index[0] == 0 and beam_index.sum() == b * (b - 1) // 2:\n            return\n"
            "        held = max(self._lengths)\n",
        ),
    ),
]

MUTANTS += [
    edit(
        "a_row_made_to_be_measured",
        "cache_bytes",
        "A tensor of seq_len numbers is made only to ask for the size of one: nothing is allocated here, dtype.itemsize knows.",
        ("dtype.itemsize", "torch.zeros(seq_len, dtype=dtype).element_size()"),
    ),
]
