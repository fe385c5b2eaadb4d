# %% [markdown]
# # A decoder-only language model
#
# Attention, positions, heads, blocks: you have written all the parts. Stack them and you have a GPT. This lesson
# builds one of 64 dimensions, looks at it before it has learned anything, teaches it four lines of verse, and then
# asks what "the most likely text" is. The answer is not what one would hope.
#
# A language model needs a single skill, for the chain rule makes the probability of a whole text from guesses at the
# next token:
#
# $$p(x_1, \dots, x_n) = \prod_{i=1}^{n} p(x_i \mid x_1, \dots, x_{i-1})$$

# %% given

# %%
import copy

import matplotlib.pyplot as plt

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## The sizes

# %% exercise GPTConfig

# %% [markdown]
# ## The loss
#
# The model gives a number to every token of the vocabulary; the loss is $-\log p$ of the one that came. It is
# measured in *nats*, and a model that knows nothing has a loss of $\log(\text{vocabulary size})$. That is the first
# number to look at in any training run.

# %% exercise next_token_loss

# %% [markdown]
# ## The model

# %% exercise MiniGPT

# %% [markdown]
# ### The causal mask, seen from outside
#
# Twelve tokens. Change one of them, and see at which positions the logits change, and by how much. Row by row: the
# token that is changed. What comes before it does not move at all, and that is what makes it possible to train on all
# positions at once, and to keep keys and values while writing (module 06).

# %%
torch.manual_seed(0)
model = MiniGPT(GPTConfig(vocab_size=20, context_length=12))
ids = torch.randint(20, (1, 12), generator=seeded(1))
changed = ids.repeat(12, 1)
changed[range(12), range(12)] = (ids[0] + 7) % 20  # row i differs from the text at position i
with torch.no_grad():
    difference = (model(changed)[0] - model(ids)[0]).norm(dim=-1)  # (12, 12)

figure, axes = plt.subplots(figsize=(5.4, 4.4))
image = axes.imshow(difference.clamp(min=1e-3).log10().masked_fill(difference == 0, torch.nan), cmap="viridis")
axes.set(xlabel="position of the logits", ylabel="position of the changed token", xticks=range(0, 12, 2), yticks=range(0, 12, 2))
figure.colorbar(image, label="change of the logits, log10 (white: none at all)")
plt.show()

# %% [markdown]
# ## A good start
#
# PyTorch fills a new model with numbers that suit single layers. GPT-2 has a rule of its own: standard deviation
# 0.02, and less for the two layers of each block that write into the residual stream.

# %% exercise initialise

# %% [markdown]
# ### Why bother?
#
# To the left: the loss of a model that has seen nothing, for several vocabularies. It should be that of guessing
# blindly, the dotted line. PyTorch draws embeddings of standard deviation 1, the output layer is the same matrix, and
# the model is *sure* of its nonsense: it pays tens of nats for it, and would spend the first hundred steps unlearning
# its confidence.
#
# To the right: the size of the residual stream after the last block, for deeper and deeper models. Each block adds
# two terms. With GPT-2's $1/\sqrt{2n}$ on the layers that write into the stream, their sum has the same size at any
# depth.

# %%
vocabularies, losses = [16, 64, 256, 1024, 4096], {"PyTorch's start": [], "initialise": []}
for vocab_size in vocabularies:
    ids = torch.randint(vocab_size, (4, 65), generator=seeded(vocab_size))
    torch.manual_seed(0)
    model = MiniGPT(GPTConfig(vocab_size, 64))
    with torch.no_grad():
        losses["PyTorch's start"].append(model(ids[:, :-1], ids[:, 1:])[1])
        losses["initialise"].append(initialise(model, seeded(0))(ids[:, :-1], ids[:, 1:])[1])

depths, sizes = [1, 2, 4, 8, 16, 32], {"initialise": [], "the same without 1/sqrt(2n)": []}
for depth in depths:
    model = initialise(MiniGPT(GPTConfig(64, 32, n_layers=depth)), seeded(0))
    for values, factor in zip(sizes.values(), (1.0, math.sqrt(2 * depth)), strict=True):
        with torch.no_grad():
            for block in model.blocks:
                block.attention.w_o.weight *= factor
                block.feed_forward.w_out.weight *= factor
            stream = []
            hook = model.blocks[-1].register_forward_hook(lambda block, args, output, stream=stream: stream.append(output))
            model(torch.randint(64, (8, 32), generator=seeded(1)))
            hook.remove()
        values.append(stream[0].std())

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
for (name, values), marker in zip(losses.items(), "so", strict=True):
    left.plot(vocabularies, values, marker=marker, label=name)
left.plot(vocabularies, [math.log(n) for n in vocabularies], "k:", label="log(vocabulary)")
left.set(xscale="log", yscale="log", xlabel="vocabulary", ylabel="loss before training, nats")
left.set_xticks(vocabularies, vocabularies)
left.set_yticks([3, 10, 30, 100], [3, 10, 30, 100])
left.minorticks_off()
left.legend()
for (name, values), marker, colour in zip(sizes.items(), "os", ("C1", "C2"), strict=True):
    right.plot(depths, values, marker=marker, label=name, color=colour)
right.set(xscale="log", xlabel="layers", ylabel="size of the stream at the end", ylim=(0, None))
right.set_xticks(depths, depths)
right.minorticks_off()
right.legend()
plt.show()

# %% [markdown]
# ## Counting
#
# How many parameters is that? Work it out on paper, and then in a function that builds nothing.

# %% exercise count_parameters

# %% [markdown]
# The four models of the GPT-2 family, and Mini-GPT with the same vocabulary. In the smallest, nearly everything is a
# table of words; in the largest, the table hardly counts.

# %%
family = {"Mini-GPT": (2, 4, 64), "small": (12, 12, 768), "medium": (24, 16, 1024), "large": (36, 20, 1280), "XL": (48, 25, 1600)}
figure, axes = plt.subplots(figsize=(8, 3.4))
for row, (n_layers, n_heads, d_model) in enumerate(family.values()):
    one, two = (count_parameters(GPTConfig(50257, 1024, n, n_heads, d_model)) for n in (1, 2))
    blocks = n_layers * (two - one)  # what a further layer adds, times the layers
    total = count_parameters(GPTConfig(50257, 1024, n_layers, n_heads, d_model))
    axes.barh(row, blocks / total, color="C0", label="blocks" if row == 0 else None)
    axes.barh(row, 1 - blocks / total, left=blocks / total, color="C2", label="embeddings" if row == 0 else None)
    axes.text(1.01, row, f"{total / 1e6:,.1f} million", va="center")
axes.set(xlabel="share of the parameters", yticks=range(len(family)), yticklabels=family, xlim=(0, 1))
axes.invert_yaxis()
figure.legend(loc="outside upper center", ncols=2)
plt.show()

# %% [markdown]
# ## How likely is a text?
#
# One pass gives the probability of every next token; the chain rule adds up their logarithms.

# %% exercise sequence_log_prob

# %% [markdown]
# ### A model that has read four lines
#
# Training is module 07's business. As a foretaste: a Mini-GPT that reads characters, PyTorch's own optimizer, and
# four lines of a sonnet as all that it will ever know of the world.

# %%
poem = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance, or nature's changing course, untrimm'd;
But thy eternal summer shall not fade
Nor lose possession of that fair thou ow'st;
Nor shall Death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st;
So long as men can breathe, or eyes can see,
So long lives this, and this gives life to thee.
"""
characters = sorted(set(poem))


def encode(text):
    return torch.tensor([[characters.index(character) for character in text]])


def decode(ids):
    return "".join(characters[i] for i in ids.flatten().tolist())


data = encode(poem)[0]
stanza = data[: poem.index("Sometime")]
config = GPTConfig(vocab_size=len(characters), context_length=48)
model = initialise(MiniGPT(config), seeded(0))
untrained = copy.deepcopy(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
generator, history = seeded(1), []
for _ in range(160):
    starts = torch.randint(len(stanza) - config.context_length, (8,), generator=generator)
    batch = stanza[starts[:, None] + torch.arange(config.context_length + 1)]  # (8, 49)
    _, loss = model(batch[:, :-1], batch[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    history.append(loss.item())

line = "Rough winds do shake the darling buds of May,"
words = line.split(" ")
generator = seeded(2)
shuffled = [" ".join(words[i] for i in torch.randperm(len(words), generator=generator)) for _ in range(300)]

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
left.plot(history)
left.axhline(math.log(len(characters)), color="k", linestyle=":")
left.text(160, math.log(len(characters)) - 0.08, f"log({len(characters)}), guessing", ha="right", va="top")
left.set(xlabel="training step", ylabel="loss, nats a character", ylim=(0, 4))
for name, judge, colour in (("before training", untrained, "0.6"), ("after training", model, "C0")):
    with torch.no_grad():
        of_shuffled = sequence_log_prob(judge, torch.cat([encode(text) for text in shuffled]))
        of_line = sequence_log_prob(judge, encode(line)).item()
    right.hist(of_shuffled, 25, color=colour, label=f"words shuffled, {name}")
    right.axvline(of_line, color=colour, linestyle="--", label=f"the line itself, {name}")
right.set(xlabel="log-probability of 45 characters, nats", ylabel="shuffled lines", ylim=(0, 55))
right.legend(fontsize=8, loc="upper left")
plt.show()

# %% [markdown]
# Before training, all orders of the words are alike to the model. Afterwards the real line stands far to the right of
# all others, near 0: the model knows it almost by heart, and finds its shufflings unlikely, although they are made of
# the same words.
#
# ## Writing
#
# Take the likeliest next token, append it, repeat.

# %% exercise generate_greedy

# %% [markdown]
# The model never sees more than 48 characters at a time, and yet it finds its way from line to line, with a stammer
# here and there. The second prompt does not occur in the verse. Like anyone who knows a single poem, the model soon
# comes back to it.

# %%
for prompt in ("Shall I", "thee and me"):
    print(decode(generate_greedy(model, encode(prompt), 160)), "…\n")

# %% [markdown]
# ## The most likely text
#
# Greed takes the best next token, and the best first step need not lie on the best path. When a token depends on
# nothing but the one before, the best path can be found exactly: all that matters about the past is its last token.

# %% exercise most_likely_sequence

# %% [markdown]
# ### Be careful what you wish for
#
# Count which character follows which in the poem. That is a language model, if a poor one, and now we can have its
# most likely text of 60 characters, the best of $41^{60}$ or so. Beside it: greedy text, a text drawn at random from
# the model, and a piece of the poem itself. The curves add up the log-probabilities along the way.

# %%
n = len(characters)
pairs = torch.zeros(n, n).index_put((data[:-1], data[1:]), torch.tensor(1.0), accumulate=True) + 0.01
transitions = (pairs / pairs.sum(1, keepdim=True)).log()
initial = (data.bincount(minlength=n) / len(data)).log()

best, best_log_prob = most_likely_sequence(initial, transitions, 60)
greedy, drawn, generator = [initial.argmax().item()], [initial.argmax().item()], seeded(5)
for _ in range(59):
    greedy.append(transitions[greedy[-1]].argmax().item())
    drawn.append(torch.multinomial(transitions[drawn[-1]].exp(), 1, generator=generator).item())
texts = {"most likely": best, "greedy": torch.tensor(greedy), "drawn": torch.tensor(drawn), "the poem": data[3:63]}

figure, axes = plt.subplots(figsize=(8, 3.8))
for (name, text), style in zip(texts.items(), ("-", "--", "-.", ":"), strict=True):
    steps = torch.cat([initial[text[:1]], transitions[text[:-1], text[1:]]])
    axes.plot(range(1, 61), steps.cumsum(0), style, label=name, linewidth=2)
    print(f"{name:12} {steps.sum().item():7.1f}  {decode(text)!r}")
axes.set(xlabel="characters", ylabel="log-probability so far, nats")
axes.legend()
plt.show()

# %% [markdown]
# The most likely text is the dullest. A real text takes an unlikely turn every few characters, and those turns are
# what it says. No better search would mend that; large models, too, begin to repeat themselves when they are made to
# maximise. What helps is to draw from the model, with some care (module 08).
#
# In a Transformer each token depends on *all* that came before. The table of the dynamic programme would need a row
# for each prefix, and the best text stays out of reach. After this, nobody need be sorry about that.
