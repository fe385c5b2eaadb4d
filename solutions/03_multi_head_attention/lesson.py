# %% [markdown]
# # Multi-head attention
#
# One attention gives each word one weighted mean of the others. But a word stands in several relations at once: to
# the verb it belongs to, to the word before it, to the name it refers to. So the width of the model is cut into
# slices, and each slice attends on its own.
#
# The lesson has a second thread. What can be computed in parts can be computed in parallel, or in little memory, or
# on many machines. Heads are parts. Less obviously, so are the keys of a single head.

# %% given

# %%
import copy
from unittest.mock import patch

import matplotlib.pyplot as plt
from torch.utils._python_dispatch import TorchDispatchMode

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## Cutting the width
#
# A tensor `(b, t, d)` becomes `(b, h, t, d/h)`: the heads stand beside the batch, and everything that broadcasts over
# a batch from now on does all heads at once. Head $i$ holds the $i$-th slice of the channels, at *every* position.

# %% exercise split_heads

# %% [markdown]
# A tensor in which every number says where it comes from: position $t$ and channel $c$ hold $t$ in colour and $c$ in
# writing. To the left, it is cut into three heads as it should be. To the right is what a bare `reshape(b, h, t,
# d/h)` makes of it. It has the right shape and raises nothing, and its heads are mixtures of positions.

# %%
positions, channels = torch.arange(4), torch.arange(6)
colour = positions[:, None].expand(4, 6)[None]  # (b, t, d), each number its position
writing = channels.expand(4, 6)[None]

figure, panels = plt.subplots(1, 7, figsize=(11, 2.9), width_ratios=[1, 1, 1, 0.5, 1, 1, 1])
cuts = [(split_heads(colour, 3), split_heads(writing, 3)), (colour.reshape(1, 3, 4, 2), writing.reshape(1, 3, 4, 2))]
for name, heads, (which_position, which_channel) in zip(("split_heads", "reshape"), (panels[:3], panels[4:]), cuts, strict=True):
    for head, axes in enumerate(heads):
        axes.imshow(which_position[0, head], cmap="cividis", vmin=0, vmax=3)
        for row in range(4):
            for column in range(2):
                shade = "white" if which_position[0, head, row, column] < 2 else "black"
                axes.text(column, row, f"c{which_channel[0, head, row, column]}", ha="center", va="center", color=shade)
        axes.set(title=f"{name}\nhead {head}", xticks=[], yticks=range(4))
    heads[0].set_ylabel("row of the head")
panels[3].axis("off")
plt.show()

# %% exercise merge_heads

# %% [markdown]
# ## The layer
#
# Four linear layers and module 01's attention. The heads meet again in `w_o`, and nowhere before.

# %% exercise MultiHeadAttention

# %% [markdown]
# ### What one head cannot do
#
# A small task: at each position, say which token stood *one* place back, and which stood *two* places back. The input
# says which token stands where; a single layer is to learn the rest. All layers below have the same width and the
# same number of parameters, and differ in nothing but the number of heads.

# %%
n_tokens, length, width = 16, 16, 64


def two_back(batch, generator):
    """Random texts as vectors (b, t, 64), and what to say at each position (b, t, 64)."""
    tokens = torch.eye(n_tokens)[torch.randint(n_tokens, (batch, length), generator=generator)]  # (b, t, 16)
    places = torch.eye(length).expand(batch, length, length)
    x = torch.cat([tokens, places, torch.zeros(batch, length, 32)], dim=-1)
    target = torch.cat([tokens.roll(1, dims=1), tokens.roll(2, dims=1), torch.zeros(batch, length, 32)], dim=-1)
    return x, target


def mistakes(layer, x, target):
    """The part of the task that is missed, 1 for saying nothing at all; the first two positions have nothing to look back on."""
    return (layer(x) - target)[:, 2:].square().sum() / target[:, 2:].square().sum()


def trained(layer, steps=300):
    """Train a layer on the task; returns the mistakes at each step."""
    optimizer = torch.optim.Adam(layer.parameters(), lr=5e-3)
    generator, history = seeded(0), []
    for _ in range(steps):
        loss = mistakes(layer, *two_back(32, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history


layers = {}
figure, axes = plt.subplots(figsize=(7, 3.6))
for n_heads, style in ((1, "-"), (2, "--"), (4, "-.")):
    torch.manual_seed(0)
    layers[n_heads] = MultiHeadAttention(width, n_heads)
    axes.plot(trained(layers[n_heads]), style, label=f"{n_heads} head{'s' * (n_heads > 1)}")
axes.set(xlabel="training step", ylabel="part of the task missed", ylim=(0, 1.1))
axes.legend()
plt.show()

# %% [markdown]
# A single head is stuck near one half, however wide it is. It can look at both tokens, but it brings home their
# *mean*, and a mean does not say which was which. Two heads bring home two means.
#
# Listen in on the layers while they attend, and see how they divide the work.

# %%


def weights_heard(layer, x, mask=None):
    """The attention weights (b, h, n_q, n_k) that the layer gets from module 01's function on its way."""
    heard, attend = [], scaled_dot_product_attention

    def listener(*args, **kwargs):
        output, weights = attend(*args, **kwargs)
        heard.append(weights.detach())
        return output, weights

    with patch.dict(globals(), scaled_dot_product_attention=listener):
        layer(x, mask=mask)
    return heard[0]


x, target = two_back(64, seeded(1))
figure, panels = plt.subplots(1, 7, figsize=(11.5, 2.2))
shown = [(n_heads, head) for n_heads in (1, 2, 4) for head in range(n_heads)]
for axes, (n_heads, head) in zip(panels, shown, strict=True):
    axes.imshow(weights_heard(layers[n_heads], x)[:, head].mean(0), cmap="Blues", vmin=0, vmax=1)
    axes.set(title=f"{n_heads} head{'s' * (n_heads > 1)}: head {head}", xticks=[], yticks=[], xlabel="key", ylabel="query")
    axes.title.set_fontsize(9)
    axes.spines[:].set_visible(True)
plt.show()

# %% [markdown]
# ## Heads are parallel work
#
# Since heads do not speak to each other, they may as well be computed one after the other, or on different machines.
# Write the layer once more as a loop that never holds the scores of more than one head.

# %% exercise attention_per_head

# %% [markdown]
# ### Are all of them needed?
#
# A head that is silenced (its columns of `w_o` set to zero) leaves the others as they were. So we can ask of each
# head what the layer would miss without it. Michel et al. (2019) did this to a trained translation model and to BERT:
# most heads, taken away one at a time, were hardly missed.

# %%
figure, axes = plt.subplots(figsize=(7, 3.2))
places, labels = [], []
for n_heads in (1, 2, 4):
    layer = layers[n_heads]
    for head in range(n_heads):
        silenced = copy.deepcopy(layer)
        silenced.w_o.weight.data[:, head * layer.head_dim : (head + 1) * layer.head_dim] = 0
        places.append(len(places) + n_heads / 2)
        labels.append(f"head {head}\nof {n_heads}")
        missed = mistakes(lambda x, layer=silenced: attention_per_head(layer, x), x, target).item()
        axes.bar(places[-1], missed, color="C0")
        axes.bar(places[-1], mistakes(layer, x, target).item(), color="C2", width=0.5)
axes.set(ylabel="part of the task missed", xticks=places, xticklabels=labels)
axes.legend(axes.patches[:2], ["without the head", "with all heads"])
plt.show()

# %% [markdown]
# Of two heads, each does half of the task. Four share it, and the loss of any one of them costs less.
#
# ## Softmax in parts
#
# Now to the keys of one head. Softmax seems to need all scores at once, for its denominator is a sum over all of
# them. But let a query attend to a part of the keys, and keep two things: the output, and the log of the denominator,
# `lse`. Two such pairs make the pair of both parts:
#
# $$\mathrm{out} = \frac{e^{\mathrm{lse}_A}\,\mathrm{out}_A + e^{\mathrm{lse}_B}\,\mathrm{out}_B}
# {e^{\mathrm{lse}_A} + e^{\mathrm{lse}_B}},
# \qquad \mathrm{lse} = \log\left(e^{\mathrm{lse}_A} + e^{\mathrm{lse}_B}\right)$$

# %% exercise merge_attention

# %% [markdown]
# ### A tree in the plane of values
#
# Eight keys; their values are the dots, larger where the score is higher. A single key is a part of its own: the
# output is its value and the lse its score. Merge neighbours, then neighbours of those: each merged output lies on
# the line between its two parts, nearer to the weightier one. The root is where full attention puts the cross.

# %%
values = torch.randn(8, 2, generator=seeded(8))
scores = torch.randn(8, generator=seeded(5)) * 1.2
exact, _ = scaled_dot_product_attention(torch.ones(1, 1), scores[:, None], values, scale=1.0)

figure, axes = plt.subplots(figsize=(7, 4.6))
axes.scatter(*values.T, s=90 * scores.exp() ** 0.7, color="C0", zorder=3, label="the keys' values")
parts = [(values[i : i + 1], scores[i : i + 1]) for i in range(8)]
for level in (1, 2, 3):
    merged = [merge_attention(*parts[i], *parts[i + 1]) for i in range(0, len(parts), 2)]
    for i, (out, _) in enumerate(merged):
        for part, _ in parts[2 * i : 2 * i + 2]:
            axes.plot([part[0, 0], out[0, 0]], [part[0, 1], out[0, 1]], color=f"C{level}", linewidth=level, zorder=2)
        axes.plot(*out[0], "o", color=f"C{level}", zorder=4, label=f"merged, level {level}" if i == 0 else None)
    parts = merged
axes.plot(*exact[0], "x", color="black", markersize=13, markeredgewidth=2.5, zorder=5, label="full attention")
axes.set(xlabel="value, channel 0", ylabel="value, channel 1")
axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# The order makes no difference. Here are 64 keys, merged in a thousand random orders; the results differ in the last
# digits of float32.

# %%
values, scores = torch.randn(64, 4, generator=seeded(0)), 3 * torch.randn(64, generator=seeded(1))
exact, _ = scaled_dot_product_attention(torch.ones(1, 1), scores[:, None], values, scale=1.0)
generator, furthest = seeded(2), 0.0
for _ in range(1000 // 20):
    orders = torch.stack([torch.randperm(64, generator=generator) for _ in range(20)])  # twenty orders side by side
    out, lse = values[orders[:, 0]], scores[orders[:, 0]]
    for step in range(1, 64):
        out, lse = merge_attention(out, lse, values[orders[:, step]], scores[orders[:, step]])
    furthest = max(furthest, (out - exact).abs().max().item())
print(f"furthest from full attention: {furthest:.1e}")

# %% [markdown]
# ## Divide and conquer
#
# Halve the keys, attend to each half, merge. Below a certain size, attend directly. No one ever holds all scores.

# %% exercise divide_and_conquer_attention

# %% [markdown]
# We record the largest tensor that comes up on the way. With all scores at once it grows with the square of the
# length. In blocks of 64 keys it grows like the length. Both compute the same number of scores, and the same result.

# %%


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = result if isinstance(result, (tuple, list)) else [result]
        self.elements = max([self.elements, *(x.numel() for x in tensors if isinstance(x, Tensor))])
        return result


lengths = [128, 256, 512, 1024, 2048, 4096]
at_once, in_blocks, differences = [], [], []
for n in lengths:
    q, k, v = torch.randn(3, n, 32, generator=seeded(n))
    with Largest() as largest:
        exact, _ = scaled_dot_product_attention(q, k, v)
    at_once.append(largest.elements)
    with Largest() as largest:
        out = divide_and_conquer_attention(q, k, v, block=64)
    in_blocks.append(largest.elements)
    differences.append((out - exact).abs().max().item())

figure, axes = plt.subplots(figsize=(7, 3.6))
axes.plot(lengths, at_once, "s-", label="all scores at once")
axes.plot(lengths, in_blocks, "o-", label="divide and conquer, block = 64")
axes.set(xscale="log", yscale="log", xlabel="keys and queries", ylabel="elements of the largest tensor")
axes.set_xticks(lengths, lengths)
axes.minorticks_off()
axes.legend()
plt.show()
print(f"largest difference between the two: {max(differences):.1e}")

# %% [markdown]
# This is the heart of FlashAttention (module 13): the blocks become tiles that fit into a GPU's fastest memory. In
# ring attention they are the shares of different machines. Neither is an approximation.
#
# ## Sharing keys and values
#
# A model that writes has to keep the keys and values of all it has read, for each head. Ainslie et al. (2023) let
# neighbouring query heads share them.

# %% exercise GroupedQueryAttention

# %% [markdown]
# To the left, the task from above with four query heads and four, two or a single head of keys and values. Different
# queries ask different questions of the same keys, and the task is still learned. To the right is what the sharing
# saves: keys and values of 100,000 tokens in a model of 32 layers with 32 query heads of width 128, in float16.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
for n_kv_heads, style in ((4, "-"), (2, "--"), (1, "-.")):
    torch.manual_seed(0)
    left.plot(trained(GroupedQueryAttention(width, 4, n_kv_heads)), style, label=f"{n_kv_heads} of 4")
left.set(xlabel="training step", ylabel="part of the task missed", ylim=(0, 1.1))
left.legend(title="key and value heads")

kv_heads = [32, 8, 1]
gibibytes = [2 * 32 * n * 128 * 100_000 * 2 / 2**30 for n in kv_heads]  # keys and values, layers, heads, width, tokens, bytes
bars = right.barh([f"{n} of 32" for n in kv_heads], gibibytes)
right.bar_label(bars, fmt="%.1f GiB", padding=4)
right.set(xlabel="keys and values of one text, GiB", ylabel="key and value heads", xlim=(0, 58))
right.invert_yaxis()
plt.show()
