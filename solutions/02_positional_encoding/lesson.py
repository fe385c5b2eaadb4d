# %% [markdown]
# # Positional encoding
#
# Attention compares queries with keys and averages values. Nowhere does it ask which key came first. Shuffle a text,
# and every token gets the same output as before, in another place: to attention alone, "dog bites man" and "man bites
# dog" are one and the same.
#
# This lesson gives positions a mark of their own, in four ways. The first is the oldest and the prettiest, and it
# turns out to be two more things on the way: a signal that a Fourier transform can read, and a hash function that can
# be run backwards.

# %% given

# %%
import matplotlib.pyplot as plt
import torch.nn.functional as F

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## A row of clocks
#
# A clock with one hand tells the time to the second or the year, but not both. A row of clocks does, if each is
# slower than the one before. Vaswani et al. (2017, section 3.5) describe a position by what such clocks show: clock
# $i$ turns by $\omega_i = 10000^{-2i/d}$ radians a position, and its hand points to $(\sin \omega_i p, \cos \omega_i
# p)$. Those are two channels, so $d$ channels hold $d/2$ clocks.

# %% exercise sinusoidal_encoding

# %% [markdown]
# Eight clocks at four positions. From position 40 to 41 only the fast ones move to speak of. At position 775 the two
# fastest stand almost as they did at 40, and the slower ones tell the two apart.

# %%
table = sinusoidal_encoding(2000, 16)
periods = 2 * torch.pi * 10000 ** (torch.arange(8) / 8)
shown = [0, 40, 41, 775]

figure, panels = plt.subplots(len(shown), 8, figsize=(10, 5.4))
for row, position in zip(panels, shown, strict=True):
    for clock, axes in enumerate(row):
        sine, cosine = table[position, 2 * clock : 2 * clock + 2]
        axes.add_patch(plt.Circle((0, 0), 1, facecolor="white", edgecolor="0.6"))
        axes.plot([0, sine], [0, cosine], linewidth=2.5, solid_capstyle="round")
        axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    row[0].set_ylabel(f"position {position}")
for axes, period in zip(panels[0], periods, strict=True):
    axes.set_title(f"{period:,.0f} positions\na turn", fontsize=8)
plt.show()

# %% [markdown]
# ## Adding positions to words
#
# The table is added to the word vectors, row by row. A text may arrive in pieces, so the function is told at which
# position the piece starts.

# %% exercise add_positions

# %% [markdown]
# ### Attention without positions and with them
#
# Eleven words, five of them different; each word is a random vector, and it asks for its like. (The values here are
# the identity matrix, so that the output is the weights.)

# %%


def attention_weights(x):
    return F.scaled_dot_product_attention(x, x, torch.eye(len(x)))


words = "the dog saw the cat and the cat saw the dog".split()
vocabulary = sorted(set(words))
word_vectors = torch.randn(len(vocabulary), 64, generator=seeded(2)) / 2**0.5
x = word_vectors[[vocabulary.index(word) for word in words]]  # (11, 64)
placed = add_positions(x, sinusoidal_encoding(len(words), 64))

figure, panels = plt.subplots(1, 2, figsize=(10, 4.7))
for axes, title, vectors in zip(panels, ["without positions", "with positions"], [x, placed], strict=True):
    image = axes.imshow(attention_weights(vectors), cmap="Blues", vmin=0, vmax=0.8)
    axes.set(title=title, xlabel="key", ylabel="query")
    axes.set_xticks(range(len(words)), words, rotation=60)
    axes.set_yticks(range(len(words)), words)
figure.colorbar(image, ax=panels, label="attention weight", shrink=0.8)
plt.show()

# %% [markdown]
# To the left, all rows of "the" are equal: the word cannot know which of the four it is. To the right each row is its
# own. A word still looks for its likes, but first of all for those nearby.
#
# Here is the claim of the introduction in figures. Reverse the text, and compare what each word gets from attention:
# without positions the difference is rounding, with them it is not.

# %%


def attend(x):
    return F.scaled_dot_product_attention(x, x, x)


three = word_vectors[[0, 1, 2]]  # dog bites man
positions = sinusoidal_encoding(3, 64)
without = attend(three) - attend(three.flip(0)).flip(0)
with_positions = attend(add_positions(three, positions)) - attend(add_positions(three.flip(0), positions)).flip(0)
print("'dog bites man' against 'man bites dog', largest difference in what a word gets:")
print(f"without positions {without.abs().max():.1e}, with positions {with_positions.abs().max():.1e}")

# %% [markdown]
# ## Learned positions
#
# GPT-2 has no formula. Its table is a parameter that starts as noise and learns with the rest.

# %% exercise LearnedPositionalEmbedding

# %% [markdown]
# ### What does a table learn?
#
# Give a table of random numbers one wish only: the dot product of two rows should depend on how far apart they are,
# and fall off with the distance. No word of sines. After a second of training, look at its principal components.

# %%
torch.manual_seed(0)
embedding = LearnedPositionalEmbedding(128, 32)
distance = (torch.arange(128)[:, None] - torch.arange(128)).abs()
wish = torch.exp(-distance / 10)
optimizer = torch.optim.Adam(embedding.parameters(), lr=0.02)
for _ in range(400):
    rows = embedding(torch.zeros(128, 32))
    loss = (rows @ rows.T - wish).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

learned = embedding.weight.detach()
left_vectors, strengths, _ = torch.linalg.svd(learned)
components = left_vectors[:, :32] * strengths  # the same table, turned so that its strongest directions come first

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
left.plot(learned[:, :4], linewidth=1.3)
left.set(title="four channels of the learned table", xlabel="position", ylabel="value")
for index, style in zip((0, 1, 2, 5), ("-", "--", "-.", ":"), strict=True):
    right.plot(components[:, index], style, label=f"component {index}")
right.set(title="its principal components", xlabel="position", ylabel="value", ylim=(-0.55, 0.8))
right.legend(ncols=2)
plt.show()

# %% [markdown]
# Waves, each with half a turn more than the one before. Nobody asked for them: whatever depends on distance alone has
# waves for its principal components, and so sinusoids lie hidden in every table that has learned what "near" means.
#
# ## A shift is a matrix
#
# Moving on by $k$ positions turns clock $i$ by $k\,\omega_i$, wherever it stood before. Turning is linear. So there
# is *one* matrix that takes the row of any position $p$ to that of $p + k$, and a single linear layer is able to look
# "three words back".

# %% exercise shift_matrix

# %% [markdown]
# Along the diagonal stand the clocks' small rotations. After 1 step only the fast ones have turned, after 100 all but
# the slowest. To the right, a walk of 1000 steps of 1, by nothing but matrix products: it never leaves the table by
# more than rounding.

# %%
figure, panels = plt.subplots(1, 4, figsize=(11, 2.9), width_ratios=[1, 1, 1, 1.5])
for axes, offset in zip(panels, (1, 10, 100), strict=False):
    axes.imshow(shift_matrix(offset, 16), cmap="RdBu", vmin=-1, vmax=1)
    axes.set(title=f"shift by {offset}", xlabel="channel", ylabel="channel")

step = shift_matrix(1, 16)
here, strayed = table[0], []
for position in range(1, 1001):
    here = step @ here
    strayed.append((here - table[position]).abs().max().item())
panels[3].plot(strayed)
panels[3].set(yscale="log", ylim=(1e-8, 1), title="walking by matrix", xlabel="steps", ylabel="largest error")
plt.show()

# %% [markdown]
# ## The table as a signal
#
# Read a column of the table from top to bottom and it is a pure tone. A Fourier transform can name its frequency
# without knowing the formula, and does the same for tables that have none.

# %% exercise channel_frequencies

# %% [markdown]
# To the left: what the transform hears in the sinusoidal table, beside the formula. It tells frequencies apart in
# steps of 1/n. Clocks that do not get round once in n positions are beyond it: it hears one turn, or none, and none
# has no place on this axis. To the right: the components of the learned table from above. The transform tells whole
# turns apart, so they come in pairs, along the ruler.

# %%
n = 2048
table = sinusoidal_encoding(n, 128)
formula = (10000.0 ** (-torch.arange(0, 128, 2) / 128) / (2 * torch.pi)).repeat_interleave(2)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
left.plot(formula, color="0.4", linewidth=1, label="formula")
left.plot(channel_frequencies(table), ".", label="Fourier transform")
left.axhline(1 / n, linestyle=":", color="C2", label="one step, 1/n")
left.set(yscale="log", xlabel="channel", ylabel="cycles per position", title="sinusoidal table")
left.legend()
right.plot(channel_frequencies(components[:, :16] - components[:, :16].mean(0)) * 128, "o", label="Fourier transform")
right.plot(torch.arange(16) / 2, color="0.4", linewidth=1, label="half a turn each")
right.set(xlabel="component", ylabel="turns in 128 positions", title="learned table")
right.legend()
plt.show()

# %% [markdown]
# ## The table as a hash, backwards
#
# Each position has a vector of its own. If the vectors are far enough apart, a position can be read back from its
# vector, even from a damaged one.

# %% exercise nearest_position

# %% [markdown]
# How much damage? Each channel is a sine, about 0.7 in size. Add noise to a row and ask for its position, among 512.

# %%
noise_levels = [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0]
figure, axes = plt.subplots(figsize=(7, 3.6))
for d_model, marker in ((8, "o"), (32, "s"), (128, "^"), (512, "D")):
    table = sinusoidal_encoding(512, d_model)
    asked = torch.randint(512, (100,), generator=seeded(0)).tolist()
    noise = torch.randn(100, d_model, generator=seeded(1))
    read_back = [
        sum(nearest_position(table[p] + level * e, table) == p for p, e in zip(asked, noise, strict=True)) / 100
        for level in noise_levels
    ]
    axes.plot(noise_levels, read_back, marker=marker, label=f"width {d_model}")
axes.axvline(2**-0.5, color="0.5", linestyle=":")
axes.annotate("as loud as the table", (2**-0.5, 0.88), xytext=(4, 0), textcoords="offset points", color="0.4")
axes.set(xlabel="noise in each channel, standard deviation", ylabel="positions read back", ylim=(0, 1.03))
axes.legend()
plt.show()

# %% [markdown]
# A wide table can be read back through noise as loud as itself, because the damage has no reason to look like another
# position. That is also why the table may simply be *added* to the words: to the position, the word is noise, and the
# other way round.
#
# ## The table as a hash, in bits
#
# How little is enough? Ask of each row on which side of a few random planes it lies, and keep only the answers. This
# is a SimHash (Charikar 2002): rows at an angle $\theta$ differ in a share $\theta/\pi$ of their bits, as the buckets
# of module 01 did.

# %% exercise position_signature

# %% [markdown]
# To the left, the signatures of 200 positions: from row to row most bits stay, a few change, and the whole drifts. To
# the right, how many bits differ between positions at a given distance, beside what their angle predicts. The bumps
# are clocks that come round.

# %%
table = sinusoidal_encoding(200, 64)
signature = position_signature(table, 2048, seeded(0))
directions = F.normalize(table, dim=-1)
angle = (directions @ directions.T).clamp(-1, 1).acos() / torch.pi
differ = (signature[:, None] != signature).float().mean(-1)  # (200, 200)
distances = torch.arange(1, 120)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
left.imshow(signature[:, :96], cmap="binary", aspect="auto", interpolation="nearest")
left.set(xlabel="bit", ylabel="position", title="position_signature, 96 bits")
right.plot(distances, [differ.diagonal(int(k)).mean() for k in distances], label="bits that differ")
right.plot(distances, [angle.diagonal(int(k)).mean() for k in distances], "k:", label="angle / π")
right.axhline(0.5, color="0.7", linewidth=1)
right.set(xlabel="distance of two positions", ylabel="share", ylim=(0, 0.55))
right.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## Turning instead of adding
#
# RoPE (Su et al. 2021) leaves the words as they are. It turns queries and keys, pair of channels by pair of channels,
# by the clocks of their positions. A dot product depends on the angle *between* two vectors. So the score of a query
# at $m$ and a key at $n$ depends on $m - n$ alone.

# %% exercise apply_rope

# %% [markdown]
# Take one query and one key and let them meet at all pairs of positions. With a table added to both, the score
# depends on both positions. With RoPE it is constant along each diagonal: only the distance is left.

# %%
q, k = torch.randn(2, 64, generator=seeded(11))
table = sinusoidal_encoding(60, 64)
places = torch.arange(60)
added = add_positions(q.repeat(60, 1), table) @ add_positions(k.repeat(60, 1), table).T
turned = apply_rope(q.repeat(60, 1), places) @ apply_rope(k.repeat(60, 1), places).T

figure, panels = plt.subplots(1, 2, figsize=(10, 4.2))
for axes, title, scores in zip(panels, ["sinusoids added", "RoPE"], [added, turned], strict=True):
    image = axes.imshow(scores, cmap="cividis")
    axes.set(title=title, xlabel="position of the key", ylabel="position of the query")
    figure.colorbar(image, ax=axes, label="score", shrink=0.85)
plt.show()

# %% [markdown]
# ## A price on distance
#
# ALiBi (Press et al. 2021) has no vectors at all. It takes from each score a penalty that grows with the distance,
# steeply in the first heads and gently in the last. Nothing ends at the longest text of the training, and so such
# models read on past it.

# %% exercise alibi_bias

# %% [markdown]
# Suppose that all keys fit a query equally well. How far back does each of eight heads look? Each head's horizon is
# twice as far as that of the one before.

# %%
weights = alibi_bias(8, 1, 400)[:, 0].softmax(-1)  # (8, 400): the last query, and 400 keys that all fit equally well
figure, axes = plt.subplots(figsize=(8, 3.6))
for head, row in enumerate(weights):
    axes.plot(range(1, 401), row.flip(0).cumsum(0), color=plt.get_cmap("viridis")(head / 8), label=f"head {head}")
axes.set(xscale="log", xlim=(1, 400), ylim=(0, 1.02))
axes.set(xlabel="keys, counted back from the query", ylabel="attention that these keys get")
axes.legend(fontsize=8, ncols=2)
plt.show()

# %% [markdown]
# ## The whole table at a glance
#
# Last, the picture that every article on the subject shows, and that you can now read. Make your own.

# %% exercise plot_encoding

# %% [markdown]
# Fast clocks to the left, slow ones to the right, and sine and cosine side by side. A third of the channels hardly
# change in a hundred positions. They are there for longer texts.

# %%
plot_encoding(sinusoidal_encoding(100, 64))

# %% [markdown]
# And this is the learned table, with its strongest directions first. Half turn by half turn the same kind of waves,
# in order of frequency, slowest first.

# %%
plot_encoding(components[:, :16])
