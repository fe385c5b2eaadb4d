# %% [markdown]
# # Encoder and decoder
#
# One network reads a text, another writes one, and cross-attention joins them. In this lesson you build that pair as
# T5 has it, at a width of 64 and less, and teach it to read numbers aloud: `4 0 7 1` becomes *four thousand seventy
# one*. That is a translation in earnest. Words have no fixed place, a zero is not said at all, and what a digit is
# called depends on how many follow it.

# %% given

# %%
import random

import matplotlib.pyplot as plt

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other

# %% [markdown]
# ## Who is real?
#
# Texts of one batch differ in length, and the short ones are filled up. A mask says which tokens were written.

# %% exercise padding_mask

# %%
fig, axis = plt.subplots(figsize=(4, 1.8))
axis.imshow(padding_mask(torch.tensor([6, 3, 0, 5]), 6), cmap="Greys_r")
axis.set(xlabel="position", ylabel="text", title="white: a real token")
plt.show()

# %% [markdown]
# ## The bridge
#
# Queries from one text, keys and values from another. What a query gets is a mean of what the other text has to say,
# and the padding of that text has no part in it, whatever stands there.

# %% exercise CrossAttention

# %%
torch.manual_seed(0)
attention = CrossAttention(8, 2)
asking, answering = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
mask = padding_mask(torch.tensor([3]), 5)[:, None, None]
before = attention(asking, answering, mask)
answering[:, 3:] = 1000.0
print("change by anything at the padding:", (attention(asking, answering, mask) - before).abs().max().item())
nothing = attention(asking, answering, torch.zeros(5, dtype=torch.bool))
print("a context of padding alone gives:", nothing.abs().max().item())

# %% [markdown]
# ## Where am I? How far is it?
#
# T5 has no positions, only distances, and it is not particular about large ones. Each distance has a bucket: small
# ones their own, large ones a wide one together. On a logarithmic axis the buckets are steps of equal width.

# %% exercise relative_position_bucket

# %%
distances = torch.arange(0, 200)
fig, axes = plt.subplots(1, 2, figsize=(9, 3))
axes[0].step(distances, relative_position_bucket(-distances, bidirectional=False), label="one direction")
axes[0].step(distances, relative_position_bucket(-distances), label="two directions")
axes[0].set(xscale="symlog", xlabel="distance to a key before the query", ylabel="bucket", title="32 buckets")
axes[0].legend()
table = relative_position_bucket(torch.arange(40) - torch.arange(40)[:, None])
axes[1].imshow(table, cmap="viridis")
axes[1].set(xlabel="key", ylabel="query", title="both directions")
plt.show()

# %% exercise RelativePositionBias

# %% [markdown]
# ## Two kinds of block
#
# The encoder's block reads in both directions. The decoder's is causal, and looks at the source in its middle. It
# gives back its keys and values, so that the next token can be read alone.

# %% exercise EncoderBlock

# %% exercise DecoderBlock

# %% [markdown]
# ## The model

# %% exercise MiniT5Config

# %% exercise MiniT5

# %%
model = MiniT5(MiniT5Config(vocab_size=1000))
parts = {}
for name, weight in model.named_parameters():
    part = name.split(".")[0]
    parts[part] = parts.get(part, 0) + weight.numel()
for part, size in parts.items():
    print(f"{part:16} {size:8,}")

# %% [markdown]
# ## What it learns from
#
# The decoder reads the target one place later. Its loss asks for a little less than certainty. And where there are no
# pairs of texts, a text can be cut, and the cuts asked for.

# %% exercise shift_right

# %% exercise label_smoothed_loss

# %%
lead = torch.linspace(0, 12, 100)
curves = torch.stack([lead, *[torch.zeros_like(lead)] * 9], dim=-1)  # one logit leads, nine are equal
fig, axis = plt.subplots(figsize=(5, 3))
for smoothing in (0.0, 0.1, 0.3):
    losses = [label_smoothed_loss(row[None], torch.tensor([0]), smoothing).item() for row in curves]
    axis.plot(lead, losses, label=f"smoothing {smoothing}")
axis.set(xlabel="lead of the right logit over nine others", ylabel="loss (nats)", ylim=(0, 3))
axis.legend()
plt.show()

# %% [markdown]
# Without smoothing more certainty is always better. With it there is a best lead, and beyond it the loss grows again.

# %% exercise span_corrupt

# %%
story = "thank you for inviting me to your party last week".split()
generator = torch.Generator().manual_seed(3)
for _ in range(3):
    texts = span_corrupt(torch.arange(10), [10, 11, 12, 13], generator, corruption_rate=0.3, mean_span_length=1.5)
    print("   ->   ".join(" ".join([*story, "<0>", "<1>", "<2>", "<3>"][i] for i in text.tolist()) for text in texts))

# %% [markdown]
# ## A language of numbers
#
# The source is a number's digits, the target its name. 400 numbers below 10,000 are held out.

# %%
ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
ONES += "sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
LEXICON = ["<pad>", "</s>", *"0123456789", *ONES, *TENS, "hundred", "thousand"]


def spoken(number):
    """The words of a number from 1 to 9999."""
    if number >= 1000:
        return [ONES[number // 1000 - 1], "thousand", *spoken(number % 1000)]
    if number >= 100:
        return [ONES[number // 100 - 1], "hundred", *spoken(number % 100)]
    if number >= 20:
        return [TENS[number // 10 - 2], *spoken(number % 10)]
    return [ONES[number - 1]] if number else []


def batch_of(texts):
    """Ids, padded with 0, and which of them are real."""
    ids = [[LEXICON.index(token) for token in text] + [1] for text in texts]
    n = max(map(len, ids))
    return torch.tensor([row + [0] * (n - len(row)) for row in ids]), padding_mask(torch.tensor([len(row) for row in ids]), n)


numbers = list(range(1, 10000))
random.Random(0).shuffle(numbers)
held_out, known = numbers[:400], numbers[400:]
for number in held_out[:4]:
    print(" ".join(str(number)), "  ->  ", " ".join(spoken(number)))

# %%
torch.manual_seed(1)
reader = MiniT5(MiniT5Config(len(LEXICON), n_layers=1, n_heads=4, d_model=32))
optimizer = torch.optim.AdamW(reader.parameters(), lr=8e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=500, pct_start=0.1)
drawn, losses = random.Random(1), []
for _ in range(500):
    few = drawn.sample(known, 48)
    source, mask = batch_of([str(number) for number in few])
    target, _ = batch_of([spoken(number) for number in few])
    loss = label_smoothed_loss(reader(source, shift_right(target, 0), mask), target, 0.05, ignore_index=0)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    losses.append(loss.item())
fig, axis = plt.subplots(figsize=(5, 2.6))
axis.plot(losses)
axis.set(xlabel="step", ylabel="smoothed loss (nats)", yscale="log")
plt.show()

# %% [markdown]
# ## Reading aloud
#
# One pass of the encoder, then token by token, each read once.

# %% given

# %% exercise translate

# %%
source, mask = batch_of([str(number) for number in held_out])
spelled = [" ".join(LEXICON[i] for i in ids) for ids in translate(reader, source, 0, 1, 12, mask)]
right = sum(text == " ".join(spoken(number)) for text, number in zip(spelled, held_out))
print(f"{right} of {len(held_out)} numbers that it has never seen are right")
for number, text in list(zip(held_out, spelled))[:5]:
    print(f"{number:5d}  {text}")

# %% [markdown]
# ### Where does it look?
#
# The cross-attention of the only decoder block, one map a head: rows are the words that were read, each about to say
# the next, columns the digits. Nobody told the model which digit a word comes from.

# %%
shown = 4761
source, mask = batch_of([str(shown)])
words = ["<pad>", *spoken(shown)]
seen = []
look = reader.decoder[0].cross_attention
hook = look.register_forward_hook(lambda part, args, found: seen.append(args))
reader(source, torch.tensor([[LEXICON.index(word) for word in words]]), mask)
hook.remove()
asks, context = seen[0][:2]
keys, _ = look.project_context(context)
weights = (split_heads(look.w_q(asks), look.n_heads) @ keys.mT).softmax(-1)[0].detach()  # (h, n_q, n_k)
said = [*words[1:], "</s>"]
fig, axes = plt.subplots(1, 4, figsize=(11, 3.2), sharey=True)
for head, axis in enumerate(axes):
    axis.imshow(weights[head], cmap="viridis", vmin=0, vmax=1)
    axis.set(title=f"head {head}", xticks=range(5), xticklabels=[*str(shown), "</s>"], xlabel="digit")
axes[0].set(yticks=range(len(said)), yticklabels=said, ylabel="the word to be said")
plt.show()

# %% [markdown]
# ## How good is a translation?
#
# Whether every word is right is a hard question to ask of a French sentence. BLEU asks a softer one: how many runs of
# one to four words does a reference have as well?

# %% given

# %% exercise bleu

# %%
tries = ["the cat sat on the mat", "the cat sat on a mat", "on the mat sat the cat", "the cat sat", "the the the the the"]
for hypothesis in tries:
    print(f"{bleu([hypothesis], [['the cat sat on the mat']]):6.1f}  {hypothesis}")
print(f"\n{bleu(spelled, [[' '.join(spoken(number))] for number in held_out]):6.1f}  the numbers above, as a corpus")

# %% [markdown]
# The third line has every word right and no run of four; smoothing alone keeps it above nothing. The fourth is only
# three words long, so there are no runs of four to count, and by the rule that is a 0. Over a whole corpus such accidents
# average out, and that is what the score was made for.
#
# With real sentences and a vocabulary of word pieces the same code learns French: `python benchmarks/translation.py`.
