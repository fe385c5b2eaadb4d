# %% [markdown]
# # From NumPy to PyTorch
#
# A language model is arrays, a few operations on them, and gradients that flow back through those operations. Ten small
# tools are enough to begin with, and you will write them here: each exercise is a function with its specification in the
# docstring, followed by a cell that runs its public tests. Between them are experiments. They use what you have just
# written, so they fail until you have written it.
#
# Run the next cell first: it imports what the whole notebook uses.

# %% given

# %%
import matplotlib.pyplot as plt

plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other

# %% [markdown]
# ## A tensor is a description of memory
#
# There is one block of numbers, and beside it a dtype, a shape, strides and an offset:
#
# $$\text{address of } x[i, j] = \text{offset} + i \cdot \text{stride}_0 + j \cdot \text{stride}_1 .$$
#
# Transposing, slicing and expanding write a new description of the same block. NumPy arrays are described in the same
# way, so a tensor can stand on an array's memory without moving a byte.

# %% exercise as_tensor

# %% [markdown]
# Twelve numbers in a row, and four tensors that describe them. The number in each square is an address: where in the
# block that element lies. Nothing was copied, so the array's block is all the memory there is.

# %%
block = np.arange(12.0)
matrix = as_tensor(block).reshape(3, 4)
views = {
    "x": matrix,
    "x.T": matrix.T,
    "x[:, ::2]": matrix[:, ::2],
    "x[1].expand(3, 4)": matrix[1].expand(3, 4),
}
figure, panels = plt.subplots(1, 4, figsize=(10, 3.2), layout="constrained")
for axes, (name, view) in zip(panels, views.items()):
    axes.imshow(view, cmap="cividis", vmin=0, vmax=11)
    for (i, j), address in np.ndenumerate(view.numpy()):
        axes.text(j, i, f"{address:.0f}", ha="center", va="center", color="black" if address > 6 else "white")
    axes.set(title=f"{name}\nstrides {view.stride()}", xlabel="column", ylabel="row")
    axes.set(xticks=range(view.shape[1]), yticks=range(view.shape[0]))
plt.show()

block[5] = -1.0  # NumPy writes, and every tensor that holds address 5 sees it
print([float(view.min()) for view in views.values()])

# %% [markdown]
# A stride of 0 is no trick: `expand` shows one row three times. Broadcasting is made of it.
#
# ## Broadcasting
#
# Align the shapes at their *last* dimension. Going from right to left, two sizes fit if they are equal or one of them is 1;
# a dimension that one shape does not have counts as 1.

# %% exercise broadcast_shape

# %% [markdown]
# The most expensive line in machine learning may be this one. A model gives predictions of shape $(n, 1)$, the targets have
# shape $(n,)$, and their difference raises nothing. Ask your function what it is.

# %%
targets = torch.linspace(-1, 1, 60)
predictions = targets.unsqueeze(1)  # a perfect model, with one dimension too many
print("shape of the difference:", broadcast_shape(tuple(predictions.shape), tuple(targets.shape)))

difference = predictions - targets
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.2), layout="constrained")
errors = predictions.squeeze(1) - targets
left.plot(targets, errors, color="#0072B2")
left.set(title=f"(60,) − (60,): mean square {errors.square().mean():.2f}", xlabel="target", ylabel="error", ylim=(-2, 2))
image = right.imshow(difference, cmap="PuOr", vmin=-2, vmax=2)
right.set(title=f"(60, 1) − (60,): mean square {difference.square().mean():.2f}", xlabel="target", ylabel="prediction")
figure.colorbar(image, ax=right, label="difference", shrink=0.8)
plt.show()

# %% [markdown]
# The model on the right is perfect, and its loss is far from 0: every prediction was compared with every target.
#
# ## A matrix product is a broadcast product and a sum
#
# $$\text{out}_{ij} = \sum_p a_{ip}\, b_{pj}$$
#
# Put the products for all $(i, j, p)$ side by side, sum over $p$, and any leading dimensions come along for free.

# %% exercise batched_matmul

# %% [markdown]
# The price is memory: for a moment, $n \cdot m \cdot k$ products exist at once. `@` never holds them.

# %%
for n in (16, 64, 256):
    a, b = torch.randn(n, n), torch.randn(n, n)
    same = torch.allclose(batched_matmul(a, b), a @ b, atol=1e-3)
    print(f"n = {n:3}: equal to a @ b: {same}; products {4 * n**3 / 2**20:6.2f} MiB, result {4 * n**2 / 2**20:.2f} MiB")

# %% [markdown]
# ## Exponentials overflow
#
# In float32, $e^{89}$ is infinite and $e^{-104}$ is 0. Logarithms of sums of exponentials are everywhere in language models, and
# their arguments are not small. For any constant $c$
#
# $$\log \sum_i e^{x_i} = c + \log \sum_i e^{x_i - c},$$
#
# and with $c = \max x$ the largest term is exactly 1: nothing overflows, and the sum cannot vanish.

# %% exercise logsumexp

# %% [markdown]
# The exact answer for two equal entries is $x + \log 2$, a straight line. In naive arithmetic it has two ends.

# %%
x = torch.linspace(-150, 150, 601)
pairs = torch.stack([x, x], dim=-1)
naive = pairs.exp().sum(-1).log()
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(x, logsumexp(pairs, dim=-1), color="#56B4E9", linewidth=5, label="logsumexp")
axes.plot(x, naive, color="black", linestyle="--", label="log(sum(exp))")
finite = x[naive.isfinite()]
axes.axvspan(-150, finite.min(), color="#E69F00", alpha=0.25, linewidth=0, label="naive result infinite")
axes.axvspan(finite.max(), 150, color="#E69F00", alpha=0.25, linewidth=0)
axes.set(xlabel="x, both entries", ylabel="log-sum-exp", xlim=(-150, 150))
axes.legend()
plt.show()

# %% [markdown]
# ## Softmax
#
# $\text{softmax}(x)_i = e^{x_i} / \sum_j e^{x_j}$ turns any numbers into weights that sum to 1. Attention masks with
# $-\infty$, and a query that may attend to nothing has a whole row of it. Such a row gets zeros, and never NaN.

# %% exercise softmax

# %% [markdown]
# Softmax depends on differences alone, so the *scale* of its input decides how decided it is. Dividing the same eight numbers
# by a temperature goes from the largest entry alone to no preference at all.

# %%
scores = torch.randn(8, generator=torch.Generator().manual_seed(4)).sort(descending=True).values
temperatures = torch.logspace(-1.5, 1.5, 200)
weights = softmax(scores / temperatures.unsqueeze(1), dim=-1)  # (200, 8)
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.stackplot(temperatures, weights.T, colors=plt.get_cmap("cividis")(np.linspace(0, 1, 8)), edgecolor="white", linewidth=0.5)
axes.set(xscale="log", xlabel="temperature", ylabel="weight, stacked", xlim=(temperatures[0], temperatures[-1]), ylim=(0, 1))
axes.set_title("Eight entries share a weight of 1")
plt.show()

# %% [markdown]
# ## Tokens are categories
#
# A token is handed to the model as a number, but token 7 is not larger than token 6. Its honest vector has a 1 at its own place
# and 0 everywhere else.

# %% exercise one_hot

# %% [markdown]
# An embedding layer is that vector times a table, and nobody computes it so: the product picks a row.

# %% exercise gather_rows

# %%
table = torch.randn(1000, 64, generator=torch.Generator().manual_seed(0))
ids = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
as_product = one_hot(ids, 1000).to(table.dtype) @ table
print("the same rows:", torch.equal(as_product, gather_rows(table, ids)))
print("multiplications:", ids.numel() * table.numel(), "against none")

# %% [markdown]
# ## Windows without copies
#
# Overlapping windows repeat most of their elements, in what you see and not in memory: with a stride of 1 in both
# dimensions, neighbouring rows of the result begin one element apart.

# %% exercise sliding_windows

# %% [markdown]
# A year of daily values and their monthly mean. The windows look like 336 rows of 30 numbers, and there are still
# only the 365 of the series.

# %%
days = torch.arange(365.0)
noise = torch.randn(365, generator=torch.Generator().manual_seed(1))
series = 10 - 9 * torch.cos(2 * torch.pi * days / 365) + 3 * noise
windows = sliding_windows(series, size=30)
print("windows:", tuple(windows.shape), "strides:", windows.stride(), "bytes in memory:", windows.untyped_storage().nbytes())

figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
axes.plot(days, series, ".", color="#999999", markersize=4, label="daily value")
axes.plot(days[14:350], windows.mean(-1), color="#D55E00", linewidth=2, label="mean of 30 days")
axes.set(xlabel="day", ylabel="temperature (°C)", xlim=(0, 365))
axes.legend()
plt.show()

# %% [markdown]
# ## All distances from one product
#
# Because $|x - y|^2 = |x|^2 + |y|^2 - 2\, x \cdot y$, the distances between $n$ and $m$ points need one matrix product
# and two vectors of norms, and never the $n \cdot m \cdot d$ differences.

# %% exercise pairwise_distances

# %% [markdown]
# Now look at 400 random points in 2, 16 and 512 dimensions, and at how far they are from each other. In the plane there are
# near points and far points. In 512 dimensions *every* point is about as far from every other as any: a language model
# lives in such a space, and a vector that is closer than that to another one is no accident.

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for width, colour in ((2, "#0072B2"), (16, "#E69F00"), (512, "#009E73")):
    points = torch.randn(400, width, generator=torch.Generator().manual_seed(2))
    above, right_of = torch.triu_indices(400, 400, offset=1)
    distances = pairwise_distances(points, points)[above, right_of] / (2 * width) ** 0.5
    axes.hist(distances, np.linspace(0, 2.2, 111), density=True, color=colour, alpha=0.7, label=f"{width} dimensions")
axes.set(xlabel=r"distance / $\sqrt{2d}$", ylabel="density", xlim=(0, 2.2))
axes.legend()
plt.show()

# %% [markdown]
# ## A derivative is a difference, almost
#
# $$\frac{\partial f}{\partial x_i} \approx \frac{f(x + \varepsilon e_i) - f(x - \varepsilon e_i)}{2 \varepsilon}$$
#
# It needs no theory, so it will be the judge of every gradient that you derive by hand in this course.

# %% exercise numerical_gradient

# %% [markdown]
# Which $\varepsilon$ is best? Smaller is better until it is worse: the curve bends away by about $\varepsilon^2$, and
# rounding, divided by $\varepsilon$, grows as it shrinks. The derivative of `sum(exp(x))` is known, so both errors can be
# seen.

# %%
steps = torch.logspace(-12, 0, 60, dtype=torch.float64)
place = torch.linspace(-1, 1, 9, dtype=torch.float64)
gradients = [numerical_gradient(lambda t: t.exp().sum(), place, float(step)) for step in steps]
errors = [float((gradient - place.exp()).abs().max()) for gradient in gradients]
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.loglog(steps, errors, "o-", color="#0072B2", markersize=3, label="largest error")
axes.loglog(steps, steps**2 * np.e / 6, color="#D55E00", linestyle="--", label=r"$\varepsilon^2 \cdot e / 6$: the curve bends")
axes.loglog(steps, 1e-15 / steps, color="#009E73", linestyle=":", label=r"$10^{-15} / \varepsilon$: rounding")
axes.set(xlabel=r"$\varepsilon$", ylabel="error of the gradient", ylim=(1e-13, 1))
axes.legend()
plt.show()
print(f"best step: {steps[int(np.argmin(errors))]:.0e}")

# %% [markdown]
# The best step is near $10^{-5}$, the cube root of float64's precision, and the error there is some $10^{-10}$. In
# float32 the same curve would bottom out near $10^{-4}$, which is why your function converts to float64 first.
#
# These ten functions are the whole floor. Module 01 builds attention from two of them.
