# %% [markdown]
# # Feed-forward layers and the residual stream
#
# Attention carries information from one position to another. This lesson builds what happens to it there: a norm that
# keeps numbers in range, a feed-forward layer that works on each position alone, and a residual stream to which every
# layer only adds.
#
# The second half takes a step back. A stack of residual layers is a bundle of $2^n$ paths, and to count them, or to
# cut the stack in the best places, you will need the art of solving every smaller problem once.

# %% given

# %%
from itertools import pairwise

import matplotlib.pyplot as plt

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## A soft gate
#
# GELU multiplies $x$ by the probability that a standard normal variable lies below it: large numbers pass, negative
# ones hardly, and in between there is no corner. GPT-2 uses an approximation with tanh, from the time when the error
# function was slow.

# %% exercise gelu

# %% [markdown]
# On the scale of the function the two forms cannot be told apart. Their difference, to the right, is at most 0.0005.
# That is small for one layer, and plain to see in the logits of a model whose weights were trained with the other
# form.

# %%
x = torch.linspace(-5, 5, 1001, dtype=torch.float64)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
left.plot(x, torch.relu(x), ":", color="0.4", label="ReLU")
left.plot(x, gelu(x), label="GELU, exact")
left.plot(x, gelu(x, "tanh"), "--", label="GELU, tanh")
left.set(xlim=(-4, 3), ylim=(-0.3, 3), xlabel="x", ylabel="output")
left.legend()
right.plot(x, gelu(x, "tanh") - gelu(x))
right.set(xlabel="x", ylabel="tanh form − exact form")
plt.show()

# %% [markdown]
# ## Norms
#
# After a few layers, numbers would grow or die out. Layer norm brings every vector to mean 0 and variance 1, then
# scales and shifts each channel by what it has learned.

# %% exercise LayerNorm

# %% [markdown]
# Going backward through it by hand is worth an evening once in a lifetime. Each entry of $x$ reaches the loss on
# three roads: directly, through the mean, and through the variance.

# %% exercise layer_norm_backward

# %% [markdown]
# ### Two directions that no gradient takes
#
# Add a constant to all of $x$, or multiply what is left by a factor, and layer norm returns what it did before. So
# the gradient can have nothing to say about these two directions. Put unit vectors through your function, and the
# rows that come back are the Jacobian. Of its 16 singular values, 14 are 1 / std and two are zero: the gradient is
# steeper where the input was smaller.

# %%
direction = torch.randn(16, generator=seeded(0), dtype=torch.float64)
direction = (direction - direction.mean()) / direction.std(correction=0)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=[1, 1.5])
for std, marker in ((0.5, "o"), (1.0, "s"), (4.0, "^")):
    inputs = (3 + std * direction).expand(16, 16)
    jacobian, _, _ = layer_norm_backward(torch.eye(16, dtype=torch.float64), inputs, torch.ones(16, dtype=torch.float64), 0.0)
    right.plot(range(1, 17), torch.linalg.svdvals(jacobian), marker=marker, label=f"std of x: {std}")
    if std == 1.0:
        image = left.imshow(jacobian, cmap="RdBu", vmin=-1, vmax=1)
left.set(title="Jacobian, std 1", xlabel="entry of x", ylabel="entry of y")
figure.colorbar(image, ax=left, shrink=0.8)
right.set(xlabel="singular value, in order of size", ylabel="value", ylim=(-0.1, 2.2))
right.legend(loc="center left", bbox_to_anchor=(0.02, 0.67))
plt.show()

# %% [markdown]
# RMS norm leaves out the mean and the shift, and nobody seems to miss them: many large models since 2023 use it.

# %% exercise RMSNorm

# %% [markdown]
# ### Where the vectors go
#
# Five hundred vectors of three channels, and where the norms put them. RMS norm keeps only their direction, so they
# land on a sphere. Layer norm also takes away the mean, and of the sphere remains the circle of those whose channels
# add up to 0.

# %%
cloud = torch.randn(500, 3, generator=seeded(1)) * torch.tensor([1.0, 1.5, 0.7]) + torch.tensor([0.8, 0.0, -0.3])
with torch.no_grad():
    places = {"x": cloud, "RMSNorm(x)": RMSNorm(3)(cloud), "LayerNorm(x)": LayerNorm(3)(cloud)}
figure = plt.figure(figsize=(10.5, 3.8))
for number, (name, points) in enumerate(places.items(), start=1):
    axes = figure.add_subplot(1, 3, number, projection="3d")
    axes.scatter(*points.T, c=cloud[:, 0], cmap="viridis", s=6)
    axes.set(title=name, xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), zlim=(-2.5, 2.5))
    axes.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2], zticks=[-2, 0, 2])
    axes.set_box_aspect((1, 1, 1), zoom=0.9)
    axes.view_init(elev=20, azim=15)
plt.show()

# %% [markdown]
# ## Widen, bend, narrow
#
# Two thirds of a block's parameters are in its feed-forward layer, if that is four times as wide as the stream. It sees
# one position at a time.

# %% exercise FeedForward

# %% [markdown]
# SwiGLU has two wide layers. One says what could pass, the other how much of it does.

# %% exercise SwiGLU

# %% [markdown]
# ### What the bend is good for
#
# One number in, one number out, and a curve to fit. (The input has a second channel, constantly 1, and the second
# output is ignored.) Twelve units of ReLU make a line with corners, and some of them never find a place where they
# are of use. GELU rounds the corners off, and its gradient reaches every unit. SwiGLU multiplies two functions of x;
# ten of its units have about as many parameters.

# %%
inputs = torch.stack([torch.linspace(-2, 2, 100), torch.ones(100)], dim=-1)
curve = torch.sin(3.5 * inputs[:, 0]) * torch.exp(-inputs[:, 0] / 2)
figure, panels = plt.subplots(1, 3, figsize=(10.5, 3.2), sharey=True)
candidates = {
    "ReLU": lambda: FeedForward(2, 12, "relu"),
    "GELU": lambda: FeedForward(2, 12, "gelu"),
    "SwiGLU": lambda: SwiGLU(2, 10),
}
for axes, (name, make) in zip(panels, candidates.items(), strict=True):
    torch.manual_seed(6)
    layer = make()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    for _ in range(400):
        loss = (layer(inputs)[:, 0] - curve).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    n_parameters = sum(p.numel() for p in layer.parameters())
    axes.plot(inputs[:, 0], curve, color="0.75", linewidth=5, label="curve to fit")
    axes.plot(inputs[:, 0], layer(inputs)[:, 0].detach(), label="layer")
    axes.set(title=f"{name}: {n_parameters} parameters, error {loss.item() ** 0.5:.3f}", xlabel="x")
panels[0].set_ylabel("y")
panels[0].legend()
plt.show()

# %% [markdown]
# ## The block
#
# Attention, then the feed-forward layer, each added to the stream. In post-norm, the original, the norm stands *on*
# the stream. In pre-norm it stands on the branch, and from the first layer to the last there is a straight line on
# which nothing stands.

# %% exercise TransformerBlock

# %% [markdown]
# ### Where the norm stands
#
# Stack 24 blocks, fresh from Xavier's initialisation, and send a gradient back through them, from right to left. The
# left picture shows how strong it is at each layer, the right one how large the stream is on its way forward.
# Post-norm keeps the stream at one size, but each norm divides the gradient by the size that the stream had before
# it, and soon three quarters of it are gone; only in the first layers does it grow back. In pre-norm nothing stands in
# its way, and every layer only adds to it. The price is a stream that grows.

# %%
depth, width = 24, 32
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
for name, norm_first, marker in (("pre-norm", True, "o"), ("post-norm", False, "s")):
    torch.manual_seed(0)
    stack = [TransformerBlock(width, 4, 4 * width, norm_first=norm_first) for _ in range(depth)]
    for parameter in [p for block in stack for p in block.parameters() if p.ndim == 2]:
        nn.init.xavier_normal_(parameter)
    stream = [torch.randn(8, 16, width, generator=seeded(1), requires_grad=True)]
    for block in stack:
        stream.append(block(stream[-1]))
        stream[-1].retain_grad()
    (stream[-1] * torch.randn(8, 16, width, generator=seeded(2))).sum().backward()
    left.plot([x.grad.norm() / stream[-1].grad.norm() for x in stream], marker=marker, markersize=4, label=name)
    right.plot([x.detach().square().mean().sqrt() for x in stream], marker=marker, markersize=4, label=name)
left.set(yscale="log", xlabel="layer", ylabel="gradient, 1 at the last layer")
left.set_yticks([0.2, 0.5, 1, 2, 5], [0.2, 0.5, 1, 2, 5])
left.minorticks_off()
right.set(xlabel="layer", ylabel="size of the stream, root mean square", ylim=(0, None))
left.legend()
plt.show()

# %% [markdown]
# ## Remember what you have computed
#
# The second half of the lesson is about work that is done twice. A decorator can prevent it: call a function once for
# each set of arguments, and keep the answer.

# %% exercise memoize

# %% [markdown]
# How many ways lead through a grid, from the top left to the bottom right, by steps right and down? The function
# below has two lines. Without memory it is called almost twice as often as there are ways; with memory, once for each
# field.

# %%


def ways(rows, columns):
    """Ways through a grid, without memory; counts its own calls."""
    calls[0] += 1
    return 1 if rows == 0 or columns == 0 else ways(rows - 1, columns) + ways(rows, columns - 1)


sizes, without_memory, with_memory = list(range(1, 10)), [], []
for size in sizes:
    calls = [0]
    answer = ways(size, size)
    without_memory.append(calls[0])

    @memoize
    def remembered_ways(rows, columns):
        return 1 if rows == 0 or columns == 0 else remembered_ways(rows - 1, columns) + remembered_ways(rows, columns - 1)

    assert remembered_ways(size, size) == answer
    with_memory.append(remembered_ways.cache_info().misses)

figure, axes = plt.subplots(figsize=(7, 3.4))
axes.plot(sizes, without_memory, "s-", label="without memory")
axes.plot(sizes, with_memory, "o-", label="memoized")
axes.set(yscale="log", xlabel="size of the grid", ylabel="times that the function ran")
axes.legend()
plt.show()
print(f"100 x 100, memoized: {remembered_ways(100, 100):.3e} ways, {remembered_ways.cache_info().misses:,} calls")

# %% [markdown]
# The cache of keys and values that makes language models fast (module 06) is this decorator on a larger scale.
#
# ## A stack is a bundle of paths
#
# Every residual layer can be walked through or around, so $n$ layers are $2^n$ paths. How many of them go through
# exactly $k$ layers? There are too many to walk, but the counts for $n$ layers follow from those for $n - 1$.

# %% exercise residual_path_counts

# %% [markdown]
# ### The long paths are many and say little
#
# A linear stack of 48 layers $x + \varepsilon W_i x$ shows what the paths carry. Its output is a polynomial in
# $\varepsilon$, and the coefficient of $\varepsilon^k$ is the sum over all paths of length $k$. Evaluate the stack at
# 49 complex roots of unity, and a Fourier transform returns the coefficients: $2^{48}$ paths, sorted by length, from
# 49 runs. Each layer here passes on two fifths of its input.

# %%
depth, width = 48, 64
layers = 0.4 * torch.randn(depth, width, width, generator=seeded(3), dtype=torch.float64) / width**0.5
start = torch.nn.functional.normalize(torch.randn(width, generator=seeded(4), dtype=torch.float64), dim=0)
roots = torch.exp(2j * torch.pi * torch.arange(depth + 1) / (depth + 1))
runs = start.to(torch.complex128).expand(depth + 1, width)
for layer in layers.to(torch.complex128):
    runs = runs + roots[:, None] * (runs @ layer.T)
by_length = (torch.fft.fft(runs, dim=0) / (depth + 1)).norm(dim=-1)

counts = torch.tensor(residual_path_counts(depth), dtype=torch.float64)
figure, axes = plt.subplots(figsize=(8, 3.6))
axes.bar(range(depth + 1), counts / counts.sum(), color="C0", label="share of the paths")
axes.bar(range(depth + 1), by_length / by_length.sum(), color="C2", alpha=0.75, label="share of the signal")
axes.set(xlabel="length of the path, in layers", ylabel="share")
axes.legend()
plt.show()
short, signal = counts[:13].sum() / counts.sum(), by_length[:13].sum() / by_length.sum()
print(f"paths of at most 12 layers: {short:.2%} of all, {signal:.0%} of the signal")

# %% [markdown]
# Most paths go through about half of the layers. Nearly all of the signal takes the few short ones. A deep residual
# network behaves like a crowd of shallow ones (Veit et al. 2016), and that is a reason why a single layer can be
# removed from it and hardly be missed.
#
# ## Where to cut
#
# For the backward pass, training keeps what each layer computed. To save memory, keep it only at a few checkpoints,
# and compute one segment between two of them again when its turn comes. The costliest segment sets the peak. Where
# should the cuts be?

# %% exercise optimal_checkpoints

# %% [markdown]
# Sixteen layers of different cost, cut into four. To the right is a stack of 64 equal layers with checkpoints that
# cost a layer each: few segments are long, many segments mean many checkpoints, and the least memory lies near
# $\sqrt{64} = 8$ segments. So the memory for training grows with the square root of the depth, for the price of one
# more forward pass (Chen et al. 2016).

# %%
costs = [3, 7, 2, 2, 9, 4, 1, 1, 6, 2, 8, 3, 3, 5, 1, 4]
boundaries, peak = optimal_checkpoints(costs, 4)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
for segment, (begin, end) in enumerate(pairwise(boundaries)):
    left.bar(range(begin, end), costs[begin:end], color=f"C{segment}")
    left.text((begin + end - 1) / 2, 9.6, f"{sum(costs[begin:end])}", ha="center", weight="bold", color=f"C{segment}")
left.set(title=f"four segments: the costliest is {peak}", xlabel="layer", ylabel="cost", ylim=(0, 10.5), xticks=range(0, 16, 3))

segments = list(range(1, 33))
peaks = [optimal_checkpoints([1] * 64, n)[1] for n in segments]
right.plot(segments, peaks, "--", label="costliest segment")
right.plot(segments, segments, ":", label="checkpoints")
total = [n + peak for n, peak in zip(segments, peaks, strict=True)]
right.plot(segments, total, "o-", markersize=3, label="both")
right.axhline(64, color="0.6", linewidth=1)
right.text(32, 62, "everything kept", ha="right", va="top", color="0.4")
right.set(title=f"64 layers: at best {min(total)} instead of 64", xlabel="segments", ylabel="memory, in layers", ylim=(0, 70))
right.legend(loc="upper center", bbox_to_anchor=(0.45, 0.85))
plt.show()
