# %% [markdown]
# # The key-value cache
#
# Your Mini-GPT writes one token at a time, and for each token it reads its whole text again. In this lesson it gets a
# memory. The tokens stay the same to the last one; what changes is the work that each of them takes:
#
# | to write token n | without a cache | with a cache |
# | --- | --- | --- |
# | tokens through the linear layers | n | 1 |
# | attention scores in each head | n² | n |
# | memory that stays between steps | none | keys and values of n tokens |
#
# The last line is the price, and the second half of the lesson is about paying it well.

# %% given

# %%
import time

import matplotlib.pyplot as plt

from exercises.decoder_only import GPTConfig, initialise

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


def new_model(context_length):
    return initialise(MiniGPT(GPTConfig(vocab_size=65, context_length=context_length)), seeded(0))


# %% [markdown]
# ## What stays as it is
#
# A cache is right only if what it holds does not change. Let a text grow from 1 token to 24, and look at the keys of
# the model's *last* layer, which have been through everything below. How far is each key from what it will be in the
# end? With the causal mask: nowhere at all, from the moment its token arrives. Take the mask away, and each new token
# moves the keys of all the others.

# %%
torch.manual_seed(0)
model = MiniGPT(GPTConfig(65, 24))
text = torch.randint(65, (1, 24), generator=seeded(1))


def last_keys(ids, causal):
    """Keys of the last layer, (t, d), when every token may see its past, or, without the causal mask, everything."""
    x = model.position_embedding(model.token_embedding(ids))
    for block in model.blocks[:-1]:
        x = block(x, mask=causal_mask(ids.shape[1]) if causal else None)
    return model.blocks[-1].attention.w_k(model.blocks[-1].norm_1(x))[0]


figure, panels = plt.subplots(1, 2, figsize=(9.5, 4))
for axes, causal in zip(panels, (True, False), strict=True):
    with torch.no_grad():
        final, moved = last_keys(text, causal), torch.full((24, 24), torch.nan)
        for length in range(1, 25):
            keys = last_keys(text[:, :length], causal)
            moved[length - 1, :length] = (keys - final[:length]).norm(dim=-1) / final[:length].norm(dim=-1)
    image = axes.imshow(moved, cmap="viridis", vmin=0, vmax=0.3)
    axes.set(title="causal mask" if causal else "no mask", xlabel="position of the key", ylabel="tokens read so far")
    print(f"{'causal mask' if causal else 'no mask':12} largest change of a key: {moved.nan_to_num().max():.1e}")
figure.colorbar(image, ax=panels, label="distance from the final key, relative", shrink=0.85)
plt.show()

# %% [markdown]
# ## The memory
#
# Two buffers, made once, and a count for each layer.

# %% exercise KVCache

# %% [markdown]
# ## Attention with a memory
#
# New tokens bring queries, keys and values. The keys and values go into the cache, and the queries attend to all that
# is there.

# %% exercise attend_with_cache

# %% [markdown]
# ## Reading a prompt
#
# A prompt is known from the start and is read in one pass, as in training. It may also come in pieces, onto a cache
# that already holds something.

# %% given

# %% exercise prefill

# %% [markdown]
# One text, cut in many ways. All give the logits of the uncached model, up to the rounding of float32.

# %%
model = new_model(64)
text = torch.randint(65, (1, 64), generator=seeded(2))
with torch.no_grad():
    expected = model(text)[0]
    for cuts in ([64], [32, 32], [1, 62, 1], [7] * 9 + [1], [1] * 64):
        cache = KVCache(2, 1, 4, 64, 16)
        logits = torch.cat([prefill(model, piece, cache) for piece in text.split(cuts, dim=1)], dim=1)
        print(f"{len(cuts):2} pieces: largest difference {(logits - expected).abs().max():.1e}")

# %% [markdown]
# ## Writing with a memory

# %% exercise decode_step

# %% [markdown]
# ### What one token costs
#
# The time for one more token after a text of n tokens, on your machine; mind the logarithmic axis. Without a cache the
# time grows with the text, in the end faster than the text does. With one it is almost level: the linear layers see one
# token however long the text is, and attention to n keys is cheap beside them.

# %%


def seconds(function, repeats=3):
    """The fastest of a few runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def one_token(n, cache):
    decode_step(model, text[:, n], cache)
    cache.truncate(n)  # forget it again, for the next measurement


model = new_model(1024)
text = torch.randint(65, (1, 1024), generator=seeded(3))
lengths, without_cache, with_cache = [16, 64, 128, 256, 512, 1023], [], []
with torch.inference_mode():
    for length in lengths:
        cache = KVCache(2, 1, 4, 1024, 16)
        prefill(model, text[:, :length], cache)
        with_cache.append(1000 * seconds(lambda n=length, cache=cache: one_token(n, cache), repeats=10))
        without_cache.append(1000 * seconds(lambda n=length: model(text[:, : n + 1])))

figure, axes = plt.subplots(figsize=(7, 3.8))
axes.plot(lengths, without_cache, "s-", label="without a cache")
axes.plot(lengths, with_cache, "o-", label="with a cache")
axes.set(yscale="log", xlabel="tokens in the text", ylabel="one more token, milliseconds")
axes.legend()
plt.show()
print(f"at {lengths[-1]} tokens, a step is {without_cache[-1] / with_cache[-1]:.0f} times faster with the cache")

# %% exercise generate

# %% [markdown]
# ### Where the memory ends
#
# The model here has a context of 256 tokens, and writes 320. Each dot is a token, and shows how many token positions
# went through the first layer to make it. With the cache that is 1. Then the text outgrows the context. The window
# moves, each token in it stands at another position, all keys are wrong, and the window is read again for every
# single token: the cache is of no more use.

# %%
model = new_model(256)
work = {}
for name, use_cache in (("without a cache", False), ("with a cache", True)):
    work[name] = []
    hook = model.blocks[0].norm_1.register_forward_hook(lambda norm, args, output, seen=work[name]: seen.append(output.shape[1]))
    written = generate(model, text[:, :1], 320, use_cache=use_cache)
    hook.remove()

figure, axes = plt.subplots(figsize=(8, 3.6))
for (name, positions), marker in zip(work.items(), "so", strict=True):
    axes.plot(range(1, len(positions) + 1), positions, marker, markersize=3, label=f"{name}: {sum(positions):,} in all")
axes.axvline(256, color="0.6", linestyle=":")
axes.text(253, 8, "context is full", rotation=90, ha="right", va="center", color="0.4")
axes.set(yscale="log", xlabel="token written", ylabel="positions read for it")
axes.legend(loc="center left", bbox_to_anchor=(0.3, 0.4))
plt.show()

# %% [markdown]
# This is a reason why models with *rotary* positions (module 02) have taken over: there, a key can keep its own
# rotation when the window moves.
#
# ## The price
#
# How many bytes does a text leave behind?

# %% exercise cache_bytes

# %% [markdown]
# Four shapes of model, in float16, one text. The horizontal line is the memory of a large GPU. With full attention, a
# model of 80 layers and 64 heads fills it with a single text of some 30,000 tokens, before there is room for a single
# weight. With eight key and value heads (module 03), the same text takes an eighth.

# %%
shapes = {"GPT-2 small: 12 layers, 12 heads": (12, 12, 64), "32 layers, 32 heads": (32, 32, 128)}
shapes |= {"80 layers, 64 heads": (80, 64, 128), "80 layers, 64 heads sharing 8": (80, 8, 128)}
lengths = [2**i for i in range(8, 18)]
figure, axes = plt.subplots(figsize=(8, 4))
for (name, (n_layers, n_kv_heads, head_dim)), style in zip(shapes.items(), ("-", "--", "-.", ":"), strict=True):
    sizes = [cache_bytes(n_layers, n_kv_heads, head_dim, length, 1, torch.float16) / 2**30 for length in lengths]
    axes.plot(lengths, sizes, style, label=name, linewidth=2)
axes.axhline(80, color="0.5", linewidth=1)
axes.text(256, 92, "80 GiB", color="0.4")
axes.set(xscale="log", yscale="log", xlabel="tokens in the text", ylabel="keys and values, GiB", ylim=(0.005, 700))
axes.legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown]
# ## Pages
#
# Nobody knows beforehand how long an answer will be. A buffer for the longest possible one stands mostly empty. So
# hand out memory as operating systems do, a block at a time, with a table for each text that says which blocks are
# its own.

# %% exercise PagedKVCache

# %% [markdown]
# ### How many texts fit?
#
# A server has room for 4096 positions, and a text may have up to 512. With a buffer for each, it can serve eight at a
# time, whatever they need. Below, texts of random length arrive one after the other, each grows by a token a step and
# leaves when it is done. A new text is admitted when a block is free; when a text cannot grow for want of one, the
# newest text makes room and begins again later.

# %%
wanted = (504 * torch.rand(1000, generator=seeded(4)) ** 2.5 + 8).int().tolist()  # most answers are short
token = torch.zeros(1, 1, 1)  # the keys of one position; their values make no difference here


def serve(block_size, n_steps=400):
    """Texts in progress and positions in use at each step."""
    cache, waiting, growing = PagedKVCache(4096 // block_size, block_size, 1, 1), list(enumerate(wanted)), {}
    texts, used = [], []
    for _ in range(n_steps):
        while waiting and cache.n_free_blocks:
            text_id, length = waiting.pop(0)
            cache.append(text_id, token, token)
            growing[text_id] = [1, length]
        for text_id in sorted(growing):
            if text_id in growing and growing[text_id][0] == growing[text_id][1]:  # done
                cache.free(text_id)
                del growing[text_id]
        for text_id in sorted(growing):
            if text_id in growing and growing[text_id][0] % block_size == 0 and cache.n_free_blocks == 0:
                newest = max(growing)  # it makes room, and begins again later
                cache.free(newest)
                waiting.insert(0, (newest, growing.pop(newest)[1]))
            if text_id in growing:
                cache.append(text_id, token, token)
                growing[text_id][0] += 1
        texts.append(len(growing))
        used.append(sum(length for length, _ in growing.values()))
    return texts, used


figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.7))
for name, block_size, style in (("a buffer of 512 for each", 512, "--"), ("blocks of 16", 16, "-")):
    texts, used = serve(block_size)
    left.plot(texts, style, label=name)
    right.plot([positions / 4096 for positions in used], style, label=name)
    print(f"{name:24} {sum(texts) / len(texts):5.1f} texts at a time, {sum(used) / len(used) / 4096:.0%} of the memory in use")
left.set(yscale="log", xlabel="step", ylabel="texts being written", ylim=(1, 500))
right.set(xlabel="step", ylabel="share of memory that holds a token", ylim=(0, 1))
left.legend()
plt.show()

# %% [markdown]
# The same memory serves several times as many texts, and so each step, which has to read all the weights of the model
# anyway, does several times as much. That is the whole of PagedAttention's success (Kwon et al. 2023): attention has
# not changed at all.
