# %% [markdown]
# # FlashAttention
#
# A text of 64,000 tokens has four billion attention scores, for every head. Module 01 writes them down, all at once.
# In this lesson they are computed just the same, each of them, and none is written down. The result is equal, the
# memory grows with the length instead of its square, and although the arithmetic gets more, the time gets less.
#
# The last part sounds impossible. It comes from how computers are built: on one large GPU,
#
# | | how much it holds | how fast it moves or computes |
# | --- | --- | --- |
# | the large memory (HBM) | 80 GB | 3 TB a second |
# | the small memory (SRAM), beside each of 132 processors | 228 KB | ten times as fast |
# | the arithmetic units | | 1000 trillion operations a second |
#
# While a single byte comes from the large memory, the arithmetic units could do 300 operations. Who reads little is
# fast. So fetch a *tile* of queries and a tile of keys into the small memory, do there all that can be done with them,
# and come back with the result.

# %% given

# %%
import time
import weakref
from collections import Counter

import matplotlib.pyplot as plt
from matplotlib.colors import PowerNorm
from torch.utils._python_dispatch import TorchDispatchMode

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


def standard_attention(q, k, v, causal=False):
    """Module 01's attention: all scores, then all weights, as whole tensors."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    return scores.softmax(-1) @ v


# %% [markdown]
# ## A softmax that does not wait
#
# If scores are not to be written down, they must be used up tile by tile, in passing. But a softmax divides by a sum
# over *all* keys, and subtracts a maximum over all keys before that. Neither is known before the last tile has gone by.
#
# So keep both up to date: a running maximum `m`, a running sum `l`, and the running output `acc`, not yet divided by
# `l`. When a tile raises the maximum, what was summed before shrinks by `exp(m_old - m_new)`.

# %% exercise online_softmax_tile

# %% [markdown]
# ### Watching it change its mind
#
# One query and 48 keys, in six tiles of eight. The values are the rows of the identity matrix, and so `acc / l` *is*
# the weights: those that softmax would give if the text ended here. In the middle, each row is one more tile. In the
# second tile a key comes along that outshines all before it, and in the fifth another. What they dim is never read
# again; it is in `acc`, and `acc` shrinks as a whole. The last row is the softmax of all.

# %%
scores = 1.3 * torch.randn(1, 48, generator=seeded(20))
scores[0, 13], scores[0, 37] = 4.0, 5.5
values, tiles = torch.eye(48), range(0, 48, 8)
m, l, acc = torch.full((1,), -torch.inf), torch.zeros(1), torch.zeros(1, 48)
maxima, sums, so_far = [], [], []
for left in tiles:
    m, l, acc = online_softmax_tile(m, l, acc, scores[:, left : left + 8], values[left : left + 8])
    maxima.append(m.item())
    sums.append(l.item())
    so_far.append(acc[0] / l)

figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(9, 6.6), sharex=True, height_ratios=[2.2, 2, 1.4])
top.vlines(range(48), scores.min() - 0.5, scores[0], color="0.85")
top.plot(scores[0], "o", markersize=4, label="score")
edges = [left - 0.5 for left in (*tiles, 48)]
top.stairs(maxima, edges, baseline=None, color="C2", linewidth=2, label="m, the largest so far")
top.set(ylabel="score", ylim=(scores.min() - 0.5, 7.5), xlim=(-0.5, 47.5))
top.legend(loc="upper left", ncols=2)
weights, brighter = torch.stack(so_far), PowerNorm(0.5, vmin=0, vmax=0.6)  # small weights are to be seen, too
middle.imshow(weights, cmap="viridis", norm=brighter, aspect="auto", extent=(-0.5, 47.5, 6.5, 0.5))
middle.set(ylabel="tiles so far", yticks=range(1, 7), title="the weights, if the text ended here")
bottom.stairs(sums, edges, color="C1", fill=True)
bottom.set(xlabel="key", ylabel="l", title="l, the sum of exp(score − m): it falls when m rises")
for axes in (top, middle, bottom):
    for edge in edges[1:-1]:
        axes.axvline(edge, color="0.6", linewidth=0.7, linestyle=":")
plt.show()
print(f"last row against softmax: {(so_far[-1] - scores[0].softmax(-1)).abs().max():.1e}")

# %% [markdown]
# Nothing here depends on where the tiles begin or in which order they come. Cut 256 keys at random places, let the
# pieces come in random order, a hundred times:

# %%
scores, values = 3 * torch.randn(4, 256, generator=seeded(0)), torch.randn(256, 8, generator=seeded(1))
exact, generator, furthest = scores.softmax(-1) @ values, seeded(2), 0.0
for _ in range(100):
    order = torch.randperm(256, generator=generator)
    cuts = torch.randperm(255, generator=generator)[:9].add(1).sort().values.tolist()
    m, l, acc = torch.full((4,), -torch.inf), torch.zeros(4), torch.zeros(4, 8)
    for keys in order.tensor_split(cuts):
        m, l, acc = online_softmax_tile(m, l, acc, scores[:, keys], values[keys])
    furthest = max(furthest, (acc / l[:, None] - exact).abs().max().item())
print(f"furthest from the softmax of all scores: {furthest:.1e}")

# %% [markdown]
# ## All tiles
#
# Two loops: over tiles of queries, and for each of them over the tiles of keys that it may see.

# %% exercise flash_attention_forward

# %% [markdown]
# ### Which keys has a query touched?
#
# There is a way to find out without reading any code: poison. Put NaN into one key and its value. Whatever output
# turns NaN has touched it, since anything times NaN is NaN, even with a weight of zero.
#
# To the left, standard attention with a causal mask. The mask sets the weights of the future to zero, but the products
# are computed all the same, and the poison reaches *every* query: the whole square is work. To the right, yours. Tiles
# above the diagonal are never entered, and the staircase is what is left of the work.

# %%
n = 64
q, k, v = torch.randn(3, n, 16, generator=seeded(3))
ways = {"standard": lambda k, v: standard_attention(q, k, v, causal=True)}
for block_q, block_k in ((16, 16), (8, 32), (4, 4)):
    blocks = {"causal": True, "block_q": block_q, "block_k": block_k}
    ways[f"tiles of {block_q} × {block_k}"] = lambda k, v, blocks=blocks: flash_attention_forward(q, k, v, **blocks)[0]

figure, panels = plt.subplots(1, 4, figsize=(11, 3.2), sharey=True)
for axes, (name, attend) in zip(panels, ways.items(), strict=True):
    touched = torch.zeros(n, n)
    for key in range(n):
        poison = torch.zeros(n, 1)
        poison[key] = torch.nan
        touched[:, key] = attend(k + poison, v + poison).isnan().any(-1)
    axes.imshow(touched, cmap="Blues", vmin=0, vmax=1.5)
    axes.plot([-0.5, n - 0.5], [-0.5, n - 0.5], color="C2", linewidth=1.2)
    axes.set(title=f"{name}\n{touched.mean():.0%} touched", xlabel="poisoned key")
panels[0].set_ylabel("query")
plt.show()

# %% [markdown]
# Smaller tiles follow the diagonal more closely, down to half of the square. But each tile costs a visit. We shall see
# below what else speaks for large ones.
#
# ### Exact
#
# Many fast attentions are approximations: module 01's hashing was one. This one is not. Take float64 as the truth and
# ask how far everything else is from it. In float32 the tiles are as good as the whole. In bfloat16, which has two
# to three digits, they are *better*: a tile in the small memory can afford float32, and is rounded once, at the end. Standard
# attention rounds its scores and its weights too, because it has to write them down.

# %%
lengths = [64, 128, 256, 512, 1024, 2048]
errors = {(way, dtype): [] for dtype in (torch.bfloat16, torch.float32) for way in ("standard", "flash")}
for n in lengths:
    q, k, v = torch.randn(3, n, 64, generator=seeded(n), dtype=torch.float64)
    for (way, dtype), seen in errors.items():
        inputs = [x.to(dtype) for x in (3 * q, k, v)]
        truth = standard_attention(*(x.double() for x in inputs))
        out = standard_attention(*inputs) if way == "standard" else flash_attention_forward(*inputs, block_q=128, block_k=128)[0]
        seen.append(((out.double() - truth).norm() / truth.norm()).item())

figure, axes = plt.subplots(figsize=(7.5, 3.8))
for (way, dtype), seen in errors.items():
    bits, style = str(dtype).removeprefix("torch."), "s--" if way == "standard" else "o-"
    axes.plot(lengths, seen, style, color="C0" if way == "standard" else "C1", label=way if dtype == torch.bfloat16 else None)
    if way == "standard":
        axes.annotate(bits, (lengths[0], seen[0]), xytext=(0, 9), textcoords="offset points", color="0.4")
axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="error relative to float64", ylim=(1e-7, 3e-2))
axes.set_xticks(lengths, lengths)
axes.minorticks_off()
axes.legend(loc="center right")
plt.show()

# %% [markdown]
# ## The way back
#
# The backward pass needs the weights, all n² of them, and they are gone. Standard attention kept them for this moment.
# Here one number a query was kept, `lse`, and from it every tile of weights can be made again: `exp(scores - lse)`.

# %% exercise flash_attention_backward

# %% exercise FlashAttention

# %% [markdown]
# ### The memory, operation by operation
#
# We listen to PyTorch and count the bytes of all tensors that are alive, after each operation of a forward and a
# backward pass, for 1024 tokens. Standard attention climbs: scores, mask, weights, then the same again for the
# gradients. In tiles, the memory is a flat line with a tremor. It takes more operations, and each one is small.

# %%


class Alive(TorchDispatchMode):
    """Bytes of all tensors that operations have made and that somebody still holds, after each operation."""

    def __init__(self):
        super().__init__()
        self.holders, self.history, self.now = Counter(), [], 0

    def release(self, storage, size):
        self.holders[storage] -= 1
        self.now -= size * (self.holders[storage] == 0)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(x, Tensor):  # views share a storage, which counts once
                storage, size = x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()
                self.now += size * (self.holders[storage] == 0)
                self.holders[storage] += 1
                weakref.finalize(x, self.release, storage, size)
        self.history.append(self.now)
        return result


def bytes_alive(attend, n):
    """Bytes alive after each operation of one pass, forward and backward."""
    q, k, v = (x.requires_grad_() for x in torch.randn(3, n, 64, generator=seeded(n)))
    with Alive() as alive:
        attend(q, k, v).sum().backward()
    return [size / 2**20 for size in alive.history]


def tiled(q, k, v):
    return FlashAttention.apply(q, k, v, True, 128, 128)


def whole(q, k, v):
    return standard_attention(q, k, v, causal=True)


figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9))
for name, attend, color in (("standard", whole, "C0"), ("flash, tiles of 128", tiled, "C1")):
    history = bytes_alive(attend, 1024)
    progress = torch.linspace(0, 1, len(history))
    left.fill_between(progress, history, step="post", alpha=0.35, color=color)
    left.step(progress, history, where="post", color=color, linewidth=1.2, label=f"{name}: {len(history):,} operations")
    lengths = [256, 512, 1024, 2048, 4096]
    peaks = [max(bytes_alive(attend, n)) for n in lengths]
    right.plot(lengths, peaks, "s--" if attend is whole else "o-", color=color, label=name)
    print(f"{name:20} {peaks[-1]:6.1f} MiB at {lengths[-1]} tokens, {peaks[-1] / peaks[-2]:.1f} times as much as at half")
left.set(xlabel="from the start of the forward to the end of the backward pass", ylabel="alive, MiB", xlim=(0, 1), ylim=0)
left.legend(loc="upper left", fontsize=8)
left.set_ylim(0, 1.3 * left.get_ylim()[1])
right.set(xscale="log", yscale="log", xlabel="tokens", ylabel="peak, MiB")
right.set_xticks(lengths, lengths)
right.minorticks_off()
right.legend(loc="upper left", fontsize=8)
plt.show()

# %% [markdown]
# ## Counting bytes before writing code
#
# Memory is one thing, time another. What takes the time on a GPU is the traffic to and from the large memory, and that
# can be counted on paper.

# %% exercise hbm_traffic

# %% [markdown]
# To the left, the traffic of one head of width 64. All curves grow with the square of the length in the end, for
# `flash` still reads all the keys once for every tile of queries. But its n² is divided by the height of the tile. The
# taller the tile, the less is moved; tiles of 16 queries move more than standard attention does.
#
# To the right, the same as a *roofline* (Williams et al. 2009). A GPU with 3 TB and 1000 trillion operations a second
# needs some 300 operations for each byte to be busy. To the left of the ridge it waits for memory, and to the right it
# computes. Standard attention is stuck on the slope, at a tenth of the machine, however long the text. Tiles of 256
# queries come close to the roof. The number of operations is the same at all of these points.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9))
lengths = [2**i for i in range(7, 17)]
left.plot(lengths, [hbm_traffic(n, 64, 64, 64)[0] / 2**20 for n in lengths], "s--", color="C0", label="standard")
for block_q, color in ((16, "C3"), (64, "C1"), (256, "C2")):
    moved = [hbm_traffic(n, 64, block_q, 64)[1] / 2**20 for n in lengths]
    left.plot(lengths, moved, "o-", markersize=4, color=color, label=f"flash, {block_q} queries a tile")
left.set(xscale="log", yscale="log", xlabel="tokens", ylabel="MiB moved by one head")
left.legend(fontsize=8)

n, bandwidth, peak = 16_384, 3e12, 1e15
intensities = torch.logspace(0.5, 4, 200)
right.plot(intensities, (intensities * bandwidth).clamp(max=peak) / 1e12, color="0.3")
right.axvline(peak / bandwidth, color="0.7", linestyle=":")
right.text(peak / bandwidth * 1.1, 13, "ridge", color="0.4")
points = [("standard", 0, 64, "C0", "s"), ("16", 1, 16, "C3", "o"), ("64", 1, 64, "C1", "o"), ("256", 1, 256, "C2", "o")]
for name, which, block_q, color, marker in points:
    intensity = 4 * n * n * 64 / hbm_traffic(n, 64, block_q, 64)[which]  # two products of 2 n² d operations each
    reached = min(intensity * bandwidth, peak) / 1e12
    right.plot(intensity, reached, marker, color=color, markersize=9)
    below = {"xytext": (8, -12), "textcoords": "offset points", "color": color}
    right.annotate(name if which == 0 else f"{name} queries", (intensity, reached), **below)
right.set(xscale="log", yscale="log", xlabel="operations for each byte moved", ylabel="at most, trillion operations a second")
right.set(ylim=(9, 2500))
plt.show()

# %% [markdown]
# ## How large may a tile be?
#
# As large as the small memory allows.

# %% exercise pick_blocks

# %% [markdown]
# The more small memory, the taller the tiles and the less traffic: in steps, because of the powers of two, along a line
# that falls like 1/M. Dao et al. prove that no exact attention can do better for all M. The dotted lines are the shared
# memory of one processor in three generations of GPUs.

# %%
n, sizes = 16_384, [2**exponent for exponent in torch.linspace(13, 20, 200).tolist()]
figure, axes = plt.subplots(figsize=(8.5, 4))
for d, color in ((64, "C0"), (128, "C1"), (256, "C2")):
    moved = [hbm_traffic(n, d, *pick_blocks(d, int(size)))[1] / 2**20 for size in sizes]
    axes.plot([size / 1024 for size in sizes], moved, color=color, linewidth=2, label=f"flash, width {d}")
axes.axhline(hbm_traffic(n, 64, 64, 64)[0] / 2**20, color="0.4", linestyle="--", label="standard, width 64")
for name, size in (("V100", 96), ("A100", 163), ("H100", 227)):
    axes.axvline(size, color="0.6", linestyle=":", linewidth=1)
    axes.text(size, 7.2, f" {name}", rotation=90, ha="right", va="bottom", color="0.4", fontsize=8)
    narrow, wide = pick_blocks(64, size * 1024), pick_blocks(128, size * 1024)
    print(f"{name}, {size} KiB: blocks of {narrow} at width 64, {wide} at width 128")
axes.set(xscale="log", yscale="log", xlabel="small memory M, KiB", ylabel="MiB moved by one head, 16K tokens", ylim=(6, 20_000))
axes.set_xticks([8, 16, 32, 64, 128, 256, 512, 1024], [8, 16, 32, 64, 128, 256, 512, 1024])
axes.minorticks_off()
axes.legend(fontsize=8, loc="upper right")
plt.show()

# %% [markdown]
# ## Does it pay without a GPU?
#
# This notebook's processor has a small and a large memory too: its cache, and the rest. So the same trade should show,
# if the tiles are large enough that Python's loop is not what takes the time. The clock runs on your machine:

# %%


def seconds(function, repeats=3):
    """The fastest of a few runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


lengths, figure_size = [512, 1024, 2048, 4096, 6144], (7.5, 3.8)
figure, axes = plt.subplots(figsize=figure_size)
inputs = {n: torch.randn(3, n, 64, generator=seeded(n)) for n in lengths}
times = [1000 * seconds(lambda n=n: standard_attention(*inputs[n], causal=True)) for n in lengths]
axes.plot(lengths, times, "s--", color="C0", label="standard")
for block, color in ((64, "C3"), (128, "C1"), (512, "C2")):
    tiles = [1000 * seconds(lambda n=n, b=block: flash_attention_forward(*inputs[n], True, b, b)) for n in lengths]
    axes.plot(lengths, tiles, "o-", color=color, label=f"flash, tiles of {block}")
axes.set(xscale="log", yscale="log", xlabel="tokens, causal", ylabel="forward pass, milliseconds")
axes.set_xticks(lengths, lengths)
axes.minorticks_off()
axes.legend()
plt.show()
print(f"at {lengths[-1]} tokens, tiles of 512 take {times[-1] / tiles[-1]:.1f} times less time than standard attention")

# %% [markdown]
# Small tiles pay for each visit, as on the GPU. Large ones usually win here too, and with a causal mask they do half
# of the work besides. A GPU gains several times as much, but only if *one* program does all of the inner loop:
# PyTorch's operations put down their results in the large memory after each line. That program is the kernel, and it is
# the last exercise.
