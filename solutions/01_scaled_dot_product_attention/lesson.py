# %% [markdown]
# # Scaled dot-product attention
#
# A token asks a question, every token offers an answer, and the asker takes home a mixture of the answers in which
# the fitting ones weigh most. That one operation is all that moves information between the tokens of a Transformer:
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V$$
#
# You write it in seven exercises. After each one there is an experiment with what you have just written, and most of
# them end in a picture. Change the numbers and run them again: that is what they are for.

# %% given

# %%
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## Who may look at whom
#
# A language model is to guess the next token, so no token may see a later one. The rule is a table of booleans with a
# row for each query and a column for each key, and in this course **True means "may attend"**.
#
# Queries and keys need not be equally many. A model that has read a thousand tokens and gets three more asks three
# questions about a thousand and three keys, and its questions are the *last* three. So the table is aligned at its
# bottom right corner.

# %% exercise causal_mask

# %% [markdown]
# Three tables. In the middle one the queries are the last three of ten tokens. To the right there are more queries
# than keys, and the first queries stand before the beginning of everything: they may look at nothing at all. Such
# rows are no accident, they come up when texts of different length are padded to one size, and every exercise below
# has to survive them.

# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 3.2))
for axes, (n_q, n_k) in zip(panels, [(8, 8), (3, 10), (8, 5)], strict=True):
    axes.imshow(causal_mask(n_q, n_k), cmap="Blues", vmin=0, vmax=1.4)
    axes.set(title=f"causal_mask({n_q}, {n_k})", xlabel="key", ylabel="query", xticks=range(n_k), yticks=range(n_q))
    axes.spines[:].set_visible(True)
plt.show()

# %% [markdown]
# ## The mechanism
#
# Read the formula from the inside out. $QK^\top$ holds a score for each query and key. Divided by $\sqrt{d_k}$, it
# goes through a softmax, row by row, and comes out as weights that add up to 1. The weights times $V$ are means of
# the values.
#
# Two things deserve care. The mask acts on the scores, *before* the softmax, so that what remains still adds up to 1.
# And a row without a single True must give zeros, with a finite gradient.

# %% exercise scaled_dot_product_attention

# %% [markdown]
# ### A curve through noise, without any training
#
# Attention is older than it looks. Give it the features $q = (x, 1)$ and $k = (x', -\tfrac{1}{2}x'^2)$. Then $q \cdot
# k = -\tfrac{1}{2}(x - x')^2 + \tfrac{1}{2}x^2$, and since the softmax ignores what all keys have in common, a query
# at $x$ weighs the measurement at $x'$ by a bell curve of their distance. That is kernel regression (Nadaraya and
# Watson, 1964), and it draws a curve through noisy measurements with nothing learned at all. `scale` sets the width
# of the bell, as $1/\text{width}^2$.

# %%
x_seen = torch.rand(80, generator=seeded(0)).sort().values * 6
y_seen = torch.sin(2 * x_seen) + 0.3 * x_seen + 0.35 * torch.randn(80, generator=seeded(1))
x_asked = torch.linspace(0, 6, 300)

q = torch.stack([x_asked, torch.ones_like(x_asked)], dim=-1)
k = torch.stack([x_seen, -(x_seen**2) / 2], dim=-1)
v = y_seen[:, None]

figure, panels = plt.subplots(1, 3, figsize=(10.5, 3.2), sharey=True)
for axes, width in zip(panels, [0.03, 0.2, 1.5], strict=True):
    curve, weights = scaled_dot_product_attention(q, k, v, scale=1 / width**2)
    axes.plot(x_seen, y_seen, "o", color="0.65", markersize=3.5, label="values at the keys")
    axes.plot(x_asked, torch.sin(2 * x_asked) + 0.3 * x_asked, "k:", linewidth=1, label="the truth")
    axes.plot(x_asked, curve, linewidth=2.2, label="attention")
    axes.set(title=f"width {width}: scale {1 / width**2:.4g}", xlabel="x")
panels[0].set_ylabel("y")
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# A large scale makes attention pick single measurements and copy their noise. A small one averages over everything
# and flattens the curve. In between lies the truth. A Transformer learns $W_Q$ and $W_K$, and with them how sharply
# to look.
#
# ## How widely does a query look?
#
# One number sums up a row of weights: its entropy $-\sum_j w_j \log w_j$. It is 0 when all the weight lies on one key
# and $\log n_k$ when it is spread evenly, so $e^{\text{entropy}}$ is the number of keys that a query looks at.

# %% exercise attention_entropy

# %% [markdown]
# ### Why divide by $\sqrt{d_k}$?
#
# Take random queries and keys and let them become wider. The dot product of two vectors of $d_k$ standard normal numbers
# has standard deviation $\sqrt{d_k}$: the wider they are, the larger the scores. To the left, the number of keys that a
# query looks at, out of 64. To the right, the gradient that comes back to the scores. (With the identity matrix for
# keys and a scale of 1, the scores are the queries themselves, so that this gradient can be read off.)

# %%
widths = [2**i for i in range(1, 11)]
choices = {"scale 1": lambda d_k: 1.0, "scale 1 / sqrt(d_k)": lambda d_k: d_k**-0.5}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
for (name, scale), marker in zip(choices.items(), "so", strict=True):
    looked_at, gradient = [], []
    for d_k in widths:
        q, k = torch.randn(2, 16, 64, d_k, generator=seeded(d_k))
        _, weights = scaled_dot_product_attention(q, k, k, scale=scale(d_k))
        looked_at.append(attention_entropy(weights).exp().mean())

        scores = torch.randn(1024, 64, generator=seeded(0)) * scale(d_k) * d_k**0.5  # as large as those of q and k
        output, _ = scaled_dot_product_attention(scores.requires_grad_(), torch.eye(64), torch.eye(64), scale=1.0)
        output[:, 0].sum().backward()
        gradient.append(scores.grad.norm(dim=-1).median())
    left.plot(widths, looked_at, marker=marker, label=name)
    right.plot(widths, gradient, marker=marker, label=name)
left.set(xscale="log", ylim=(0, 64), xlabel="width d_k", ylabel="keys looked at, exp(entropy)")
right.set(xscale="log", yscale="log", xlabel="width d_k", ylabel="median gradient of a row of scores")
left.legend()
plt.show()

# %% [markdown]
# Without the division a wide query looks at a single key, whichever it happens to be, and learns nothing from having
# done so: the softmax has become a step, and a step has no slope. With it, the width makes no difference.
#
# ## A picture of it
#
# Attention weights are among the few inner parts of a network that one can simply look at. You will draw many of
# these pictures, so make a good one now: rows are queries, columns are keys, and there is a panel for each head.

# %% exercise plot_attention

# %% [markdown]
# ### Four heads that nobody trained
#
# What a head looks for depends on what queries and keys are made of. Here they are made by hand, from the letters of
# a tongue twister: head 0 compares which letters the words contain, head 1 their first letters, head 2 their last two
# letters, and head 3 how long they are.

# %%
words = "peter piper picked a peck of pickled peppers".split()


def letter_vectors(parts):
    """A vector for each word that counts its letters, brought to length 1."""
    counts = torch.tensor([[float(part.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] for part in parts])
    return counts / counts.norm(dim=-1, keepdim=True)


all_letters = letter_vectors(words)
first_letter = letter_vectors([word[0] for word in words])
ending = letter_vectors([word[-2:] for word in words])
length = letter_vectors([chr(ord("a") + len(word)) for word in words])  # a letter for each length
heads = torch.stack([all_letters, first_letter, ending, length])  # (h, t, 26)

_, weights = scaled_dot_product_attention(heads, heads, heads, scale=6.0)
plot_attention(weights, words)

# %% [markdown]
# One sentence, four relations: this is why attention has heads (module 03). Here is head 1 once more, with
# `causal_mask`. Each word has only itself and its predecessors to choose from, and the first has no choice at all.

# %%
_, weights = scaled_dot_product_attention(first_letter, first_letter, first_letter, mask=causal_mask(len(words)), scale=6.0)
plot_attention(weights, words)

# %% [markdown]
# ## Long texts: look only where it is worth it
#
# The table of scores has $n_q \cdot n_k$ entries. A text of 100,000 tokens has ten thousand million of them in each
# head, and after the softmax nearly all are nearly zero. If we knew beforehand which keys point in a query's
# direction, we could leave out the rest.
#
# A *locality-sensitive hash* knows, roughly and quickly. Draw a random matrix $R$, and let a vector go to the one of
# the directions $[xR; -xR]$ that it points along the most. Near vectors tend to choose alike.

# %% exercise lsh_buckets

# %% [markdown]
# To the left, eight buckets in the plane: sectors of random width, and opposite sectors are equally wide. To the
# right, how often two vectors at a given angle meet in a bucket, measured over many hashes. With two buckets the hash
# asks on which side of a random line a vector lies, and theory says $1 - \theta/\pi$ (dotted). More buckets separate
# more strictly.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=[1, 1.5])
points = torch.randn(3000, 2, generator=seeded(3))
buckets = lsh_buckets(points, 8, seeded(276))
left.scatter(*points.T, c=buckets, cmap=plt.get_cmap("viridis", 8), s=5)
for bucket in buckets.unique():
    direction = points[buckets == bucket].mean(0)
    x, y = 2.6 * direction / direction.norm()
    left.text(x, y, str(bucket.item()), ha="center", va="center", bbox={"facecolor": "white", "pad": 2})
left.set(aspect="equal", title="8 buckets in the plane", xlabel="x[0]", ylabel="x[1]", xlim=(-3, 3), ylim=(-3, 3))

angles = torch.linspace(0, torch.pi, 41)
pairs = torch.zeros(41, 2, 32)  # two vectors of width 32 at each angle
pairs[:, 0, 0] = 1
pairs[:, 1, 0], pairs[:, 1, 1] = angles.cos(), angles.sin()
degrees = angles * 180 / torch.pi
for n_buckets in (2, 8, 64):
    meets, generator = torch.zeros(41), seeded(4)
    for _ in range(1000):
        buckets = lsh_buckets(pairs, n_buckets, generator)
        meets += buckets[:, 0] == buckets[:, 1]
    right.plot(degrees, meets / 1000, label=f"{n_buckets} buckets")
right.plot(degrees, 1 - angles / torch.pi, "k:", label="1 - angle / π")
right.set(xlabel="angle between two vectors, degrees", ylabel="share of hashes that agree", xticks=range(0, 181, 30))
right.legend()
plt.show()

# %% [markdown]
# ## Attention inside buckets
#
# Next comes attention in which a query sees the keys of its own bucket and no others. The buckets are arguments here,
# so you can try it with buckets of your own. `attend_in_buckets` is where the work for this exercise and the last one
# can live; it is not graded by itself.

# %% given

# %% exercise bucketed_attention

# %% [markdown]
# What do the buckets throw away? Below are 96 tokens that speak of twelve topics. To the left is full attention in
# the order of the text: the weights look scattered. To the right are the same weights with the tokens sorted by
# bucket. They fall into blocks, and `bucketed_attention` computes the framed blocks and nothing else. (The colours show
# square roots, so that small weights can be seen.) What a token gives to itself, the dark diagonal, is always in a
# block, so look at the last number below, too.

# %%


def topical_tokens(n, n_topics, generator, d=64):
    """n vectors of width d, in random order, each near the centre of its topic; long enough to make attention sharp."""
    centres = torch.randn(n_topics, d, generator=generator)
    topic = torch.arange(n)[torch.randperm(n, generator=generator)] % n_topics
    return 12 * torch.nn.functional.normalize(centres[topic] + 0.45 * torch.randn(n, d, generator=generator), dim=-1)


x = topical_tokens(96, 12, seeded(4))
buckets = lsh_buckets(x, 8, seeded(12))
order = buckets.argsort(stable=True)
_, weights = scaled_dot_product_attention(x, x, x)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.7))
left.imshow(weights.sqrt(), cmap="Blues")
left.set(title="full attention, in order of the text", xlabel="key", ylabel="query")
right.imshow(weights[order][:, order].sqrt(), cmap="Blues")
right.set(title="the same, sorted by bucket", xlabel="key", ylabel="query")
start = 0
for size in buckets.unique(return_counts=True)[1].tolist():
    right.add_patch(Rectangle((start - 0.5, start - 0.5), size, size, fill=False, edgecolor="C2", linewidth=2))
    start += size
plt.show()

same_bucket = buckets[:, None] == buckets
print(f"scores computed: {same_bucket.float().mean():.0%} of the table")
print(f"attention that lies in the blocks: {weights[same_bucket].sum() / weights.sum():.0%}")
to_others = weights.clone().fill_diagonal_(0)
print(f"of what tokens give to others: {to_others[same_bucket].sum() / to_others.sum():.0%}")

# %% [markdown]
# ## Several rounds
#
# One hash is unlucky for some tokens: a border runs between them and their neighbours. So hash again with another
# rotation, and combine what the rounds have found. A round that met many fitting keys must count for more than one
# that met few, and the log-sum-exp of the scores says how many it met.

# %% exercise lsh_attention

# %% [markdown]
# ### Four thousand needles in a haystack
#
# There are 4096 keys, and each query is a noisy copy of one of them: that is the key it should find. Full attention
# compares all 16.8 million pairs. Each point below is a number of buckets and of rounds, from 1 to 16: how many of
# the pairs are compared, and how many queries come back with the value of their key. Whoever compares pairs at random
# gets the dotted line.

# %%
n = 4096
keys = 14 * torch.nn.functional.normalize(torch.randn(n, 64, generator=seeded(5)), dim=-1)
wanted = torch.randperm(n, generator=seeded(6))  # the key that each query is a copy of
queries = keys[wanted] + 0.8 * torch.randn(n, 64, generator=seeded(7))
values = torch.randn(n, 8, generator=seeded(8)).sign()  # eight bits to take home
both = torch.cat([queries, keys])

figure, axes = plt.subplots(figsize=(7.5, 4))
for n_buckets, marker in ((16, "o"), (64, "s"), (256, "^")):
    q_sizes, k_sizes = (lsh_buckets(both, n_buckets, seeded(0)).view(2, n)[i].bincount(minlength=n_buckets) for i in (0, 1))
    share = (q_sizes * k_sizes).sum().item() / n**2  # of all pairs, in one round
    rounds, found = [1, 2, 4, 8, 16], []
    for n_rounds in rounds:
        output = lsh_attention(queries, keys, values, n_buckets, n_rounds, generator=seeded(9))
        found.append(((output - values[wanted]).abs().amax(-1) < 0.5).float().mean().item())
    axes.plot([share * n_rounds for n_rounds in rounds], found, marker=marker, label=f"{n_buckets} buckets")
    print(f"{n_buckets:3} buckets, 8 rounds: {8 * share:5.1%} of the pairs compared, {found[3]:.1%} of the keys found")
share = torch.logspace(-2.4, 0, 100)
axes.plot(share, share, "k:", label="comparing at random")
axes.set(xscale="log", xlabel="pairs compared, as a share of all", ylabel="queries that find their key", ylim=(0, 1.04))
axes.legend(loc="lower right")
plt.show()
