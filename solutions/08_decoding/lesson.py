# %% [markdown]
# # Decoding
#
# A language model gives a distribution over the next token, and nothing more. Whether its text is dull, lively or
# nonsense is decided by a few dozen lines of code around it. In this lesson you write them, and try them on a model
# small enough to look into: it has read the handouts of this course, counted which word follows which, and knows
# nothing else of the world.

# %% given

# %%
import re
from pathlib import Path

import matplotlib.pyplot as plt

import exercises

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## The best few of very many
#
# Sorting a million numbers to learn which three are the largest is a waste. Keep three, and know the worst of them: a
# newcomer has to beat that one. In a heap the worst is at index 0, and after a change one walk along one path puts
# everything right again.

# %% exercise TopKHeap

# %% [markdown]
# ### What a push costs
#
# 4000 scores into k places, counting how often two scores are compared. When they come in rising order, every
# newcomer gets in and walks to a leaf: the cost grows with $\log k$, with up to two comparisons on each level. In
# random order most newcomers are turned away at the root, and for a small k a push costs little more than that one
# look. Sorting everything costs the same whatever k is, and has to keep all 4000.

# %%


class Counted(float):
    """A number that counts how often it is compared."""

    n_compared = 0

    def __lt__(self, other):
        Counted.n_compared += 1
        return float(self) < float(other)

    def __gt__(self, other):
        Counted.n_compared += 1
        return float(self) > float(other)


def pushed(k, scores):
    heap = TopKHeap(k)
    for score in scores:
        heap.push(score, None)


def comparisons(function, *arguments):
    """How many comparisons a call makes for each of 4000 scores."""
    Counted.n_compared = 0
    function(*arguments)
    return Counted.n_compared / 4000


rising = [Counted(i) for i in range(4000)]
shuffled = [rising[i] for i in torch.randperm(4000, generator=seeded(0)).tolist()]
places = [2**i for i in range(11)]
figure, axes = plt.subplots(figsize=(7.5, 3.8))
axes.plot(places, [comparisons(pushed, k, rising) for k in places], "o-", label="heap, rising order: the worst case")
axes.plot(places, [comparisons(pushed, k, shuffled) for k in places], "s-", label="heap, random order")
axes.axhline(comparisons(sorted, shuffled), color="0.5", linestyle="--", label="sorting everything, random order")
axes.set(xscale="log", xlabel="k", ylabel="comparisons for each score", ylim=(0, None))
axes.set_xticks(places, places)
axes.minorticks_off()
axes.legend()
plt.show()

# %% [markdown]
# ## Something to decode
#
# All words of the handouts, without tables and programs, and with an x for each formula. Two models come from them.
# The *bigram* model looks at the last word only; the *trigram* model at the last two, and where it has seen those
# rarely it listens to the bigram model, as that one listens to plain frequencies. So every word has some probability
# everywhere, and most have very little: the long tail that this lesson is about. Both models are a `step`: texts in,
# log-probabilities of their next word out.

# %%


def words_of(text):
    """Lower-case words, commas and full stops of a handout's prose."""
    text = text.split("## Further reading")[0]
    text = re.sub(r"```.*?```|\$\$.*?\$\$|^(?:#|\||    ).*?$|\([^)]*\)", " ", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`|\$[^$]*\$|https?://\S+", "x", re.sub(r"`(\w+)`", r"\1", text))
    words = re.findall(r"[a-z]\w*(?:[-'’][a-z]+)*|[.,]", re.sub("[:;?!]", ".", text.lower()))
    return [word for word, before in zip(words, [".", *words]) if (word, before) != (".", ".")]


handouts = sorted(Path(exercises.__file__).parent.glob("[0-9]*/README.md"))
words = [word for handout in handouts for word in words_of(handout.read_text(encoding="utf-8"))]
vocabulary = sorted(set(words))
number = {word: i for i, word in enumerate(vocabulary)}
data = torch.tensor([number[word] for word in words])
full_stop = number["."]
print(f"{len(handouts)} handouts, {len(words):,} words, {len(vocabulary):,} of them different")


def encode(text):
    return torch.tensor([number[word] for word in text.split()])


def decode(ids):
    return " ".join(vocabulary[i] for i in ids.tolist()).replace(" ,", ",").replace(" .", ".")


def counts_of(ids):
    return torch.bincount(torch.as_tensor(ids, dtype=torch.int64), minlength=len(vocabulary)).double()


def mixed(counts, fallback):
    """Probabilities from counts; the fallback counts as one more observation."""
    return (counts + fallback) / (counts.sum(-1, keepdim=True) + 1)


followers = {}  # of a pair of words: those that came after it
for one, two, three in zip(words, words[1:], words[2:]):
    followers.setdefault((number[one], number[two]), []).append(number[three])
pairs = torch.stack([counts_of(data[1:][data[:-1] == i]) for i in range(len(vocabulary))])
after_one = mixed(pairs, counts_of(data) / len(data))  # (vocab, vocab)
log_after_one = after_one.log()


def bigram(ids):
    """ids (beams, t) -> log-probabilities of the next word, (beams, vocab), after the last one."""
    return log_after_one[ids[:, -1]]


def trigram(ids):
    """The same after the last two."""
    counts = torch.stack([counts_of(followers.get(tuple(row), [])) for row in ids[:, -2:].tolist()])
    return mixed(counts, after_one[ids[:, -1]]).log()


# %% [markdown]
# ## Temperature
#
# A model's distribution can be made sharper or flatter before it is used.

# %% exercise apply_temperature

# %% [markdown]
# To the left: the words that most often come after "the". To the right: all words, from the most probable to the
# least, and what the first n of them have together. (The bend is where the words end that ever came after "the".) At
# temperature 1 a good part of the probability lies in words that are each improbable. A low temperature takes it from
# them, and with it whatever would surprise anyone; a high one gives them more, and a share to words that the model
# has never seen in this place.

# %%
log_probs = bigram(encode("the")[None])[0]
temperatures = {0.5: "-", 1.0: "--", 2.0: ":"}
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
best = log_probs.topk(10).indices
for i, (temperature, style) in enumerate(temperatures.items()):
    probs = apply_temperature(log_probs, temperature).softmax(-1)
    left.bar(torch.arange(10) + 0.27 * (i - 1), probs[best], 0.27, label=f"temperature {temperature}")
    total = probs.sort(descending=True).values.cumsum(-1)
    right.plot(range(1, len(total) + 1), total, style, label=f"temperature {temperature}", linewidth=2)
left.set_xticks(range(10), [vocabulary[i] for i in best], rotation=40, ha="right")
left.set(ylabel="probability after “the”")
right.set(xscale="log", xlabel="the n most probable words", ylabel="have together", ylim=(0, 1.02))
left.legend()
right.legend()
plt.show()

# %% [markdown]
# ## Cutting the tail
#
# Three filters. What they drop gets the logit $-\infty$, so they can follow each other.

# %% exercise top_k_filter

# %% exercise top_p_filter

# %% exercise min_p_filter

# %% [markdown]
# ### Who stays?
#
# 400 places in the handouts, and how many words each filter lets through there. The horizontal axis says how unsure
# the trigram model is: $e^{\text{entropy}}$, the number of equally probable words that would leave one as unsure.
# Top-k does not look. Where the model is sure, it lets in nonsense; where many words would do, it shuts good ones
# out. (A dot above 20 is a tie.) The other two follow the model, each in its own way: top-p asks what the words have
# *together*, and where the tail is long it has to take in very many; min-p compares each word with the best.

# %%
places = torch.linspace(2, len(data) - 1, 400).long().tolist()
logits = torch.cat([trigram(data[None, i - 2 : i]) for i in places])  # (400, vocab)
unsure = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
filters = {"top-k, k = 20": top_k_filter(logits, 20), "top-p, p = 0.9": top_p_filter(logits, 0.9)}
filters |= {"min-p, 0.1": min_p_filter(logits, 0.1)}

figure, panels = plt.subplots(1, 3, figsize=(10.5, 3.6), sharex=True, sharey=True)
for axes, (name, filtered), colour in zip(panels, filters.items(), ("C0", "C1", "C2"), strict=True):
    axes.plot(unsure.exp(), (filtered > -math.inf).sum(-1), ".", color=colour, alpha=0.5)
    axes.plot([1, 200], [1, 200], color="0.6", linewidth=1)
    axes.set(xscale="log", yscale="log", title=name, xlabel="how unsure the model is, in words")
panels[0].set(ylabel="words that stay")
plt.show()

# %% [markdown]
# ## What has been said
#
# A word that has been used may be made less probable. Log-probabilities are logits that are never positive: there, a
# penalty that always divides would do the opposite of what it should.

# %% exercise repetition_penalty

# %% [markdown]
# ## Throwing darts
#
# Everything up to here was arithmetic. This is where chance comes in.

# %% exercise sample

# %% [markdown]
# The line that the darts are thrown at, for the word after "token": the six most probable words and the stretch
# of all others, with forty darts. To the right: how far the shares of darts that hit a stretch are from its length,
# for more and more darts. Chance becomes exact slowly, as one over the root of their number.

# %%
probs = bigram(encode("token")[None])[0].exp()
best = probs.topk(6).indices
stretches = torch.cat([probs[best], 1 - probs[best].sum(0, keepdim=True)])
names = [vocabulary[i] for i in best] + ["all others"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.4), width_ratios=(3, 2))
for i, (name, end, length) in enumerate(zip(names, stretches.cumsum(0).tolist(), stretches.tolist(), strict=True)):
    left.barh(0, length, left=end - length, color=f"C{i}" if i < 6 else "0.8", edgecolor="white")
    left.text(end - length / 2, 0.5, "comma" if name == "," else "full stop" if name == "." else name, rotation=60)
darts = torch.rand(40, generator=seeded(1), dtype=torch.float64)
left.plot(darts, torch.linspace(-0.3, 0.3, 40), "k.", markersize=5)
left.set(ylim=(-0.6, 1.6), yticks=[], xlabel="the line")
left.spines["left"].set_visible(False)

thrown = [2**i for i in range(4, 15)]
tokens = sample(stretches.log().expand(20, thrown[-1], 7), seeded(2))  # twenty times the same experiment
hits = torch.stack([tokens == i for i in range(7)], dim=-1).double()
errors = [(hits[:, :n].mean(1) - stretches).square().mean().sqrt() for n in thrown]
right.plot(thrown, errors, "o-", label="distance from the lengths")
right.plot(thrown, [errors[0] * math.sqrt(thrown[0] / n) for n in thrown], "--", color="0.5", label="one over the root")
right.set(xscale="log", yscale="log", xlabel="darts", ylabel="root mean square")
right.legend()
plt.show()

# %% [markdown]
# ### Texts
#
# Thirty words from the trigram model, one setting a line. With a low temperature it strings together pieces that it
# knows by heart. With a high one, unfiltered, it falls into the tail every few words and has to find a new beginning.
# Filtered first, a high temperature stays readable: it then chooses among what is sensible, and rather freely.

# %%


def write(step, text, n_words, change, generator):
    """The text, continued by words drawn from what `change` makes of the logits."""
    ids = encode(text)
    for _ in range(n_words):
        ids = torch.cat([ids, sample(change(step(ids[None])), generator)])
    return ids


settings = {
    "temperature 0.5": lambda logits: apply_temperature(logits, 0.5),
    "temperature 1": lambda logits: logits,
    "temperature 1.5": lambda logits: apply_temperature(logits, 1.5),
    "temperature 1.5, min-p 0.1": lambda logits: apply_temperature(min_p_filter(logits, 0.1), 1.5),
    "temperature 1, top-p 0.7": lambda logits: top_p_filter(logits, 0.7),
}
for name, change in settings.items():
    print(f"{name}\n    {decode(write(trigram, '. the', 30, change, seeded(3)))[2:]} …")

# %% [markdown]
# ## Greed
#
# No chance at all: the best word each time.

# %% exercise greedy_search

# %% [markdown]
# ### Again and again
#
# A model that sees one word must go round in circles: as soon as a word comes back, so does everything after it. Real
# models see thousands of words and still fall into loops, for a sentence that stands there twice makes a third time
# more probable. The picture counts the different words in the first n. Greedy texts stop having any new ones. With a
# penalty that takes longer, but it does come: a word that was said ten times is penalised no more than one that was said
# once. Nor does the penalty know that "the" is needed more often than "tile". A drawn text uses about as many words as the
# handouts do.

# %%


def penalised(step, penalty):
    """A step in which words that stand in the text are less probable."""
    return lambda ids: repetition_penalty(step(ids), ids, penalty).log_softmax(-1)


middle = 1000 + (data[1000:] == full_stop).nonzero()[0].item()
texts = {
    "greedy, bigram": greedy_search(bigram, encode(". the"), -1, 150),  # no word is numbered -1, so nothing ends
    "greedy, trigram": greedy_search(trigram, encode(". the"), -1, 150),
    "greedy, trigram, penalty 1.3": greedy_search(penalised(trigram, 1.3), encode(". the"), -1, 150),
    "drawn, trigram": write(trigram, ". the", 148, lambda logits: logits, seeded(4)),
    "the handouts": data[middle : middle + 150],
}
figure, axes = plt.subplots(figsize=(8, 3.8))
for (name, text), style in zip(texts.items(), ("-", "-", "-", "--", ":"), strict=True):
    print(f"{name}\n    {decode(text[:32]).lstrip('. ')} …")
    axes.plot(range(1, 151), [len(text[:n].unique()) for n in range(1, 151)], style, label=name, linewidth=2)
axes.set(xlabel="words", ylabel="different ones")
axes.legend()
plt.show()

# %% [markdown]
# ## A few texts at a time
#
# The best first word need not begin the best text. Beam search follows a few texts at once, lets all their
# continuations compete, and prunes the rest.

# %% exercise beam_search

# %% [markdown]
# ### How much does a beam miss?
#
# In the bigram model a word depends on nothing but the one before, and the best text can be found exactly (Viterbi's
# algorithm, module 05). So we can say what a beam misses. To the left, texts of exactly twelve words after twelve
# different beginnings: how many nats the best text of the beam lies below the best of all. Every nat is a factor of
# $e$ in probability. A wider beam wins back some of what greed loses, and for every nat or so the beam has to
# double: the best text may begin with a word so improbable that no small beam keeps it, if the words after that are
# nearly certain. The three texts below the pictures show such a case.
#
# To the right, whole sentences from the trigram model: how many words the best one has. Without a length penalty
# every word costs something and none brings anything, so the better the search, the shorter the sentence. Translation
# systems met this as the *beam search curse*. Comparing means takes the advantage away.

# %%


def best_text(start, n_words):
    """The best of all texts of this many words after `start`, and its log-probability: Viterbi."""
    best, back = log_after_one[start], []
    for _ in range(n_words - 1):
        best, parents = (best[:, None] + log_after_one).max(0)
        back.append(parents)
    ids = [best.argmax()]
    for parents in reversed(back):
        ids.append(parents[ids[-1]])
    return torch.stack([start, *reversed(ids)]), best.max().item()


sizes = [1, 2, 4, 8, 16, 32, 64]
beginnings = data.bincount().topk(12).indices
exact = torch.tensor([best_text(start, 12)[1] for start in beginnings])
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
missed = []
for size in sizes:
    found = [beam_search(bigram, start[None], -1, size, 13)[0][1] for start in beginnings]
    missed.append(exact - torch.tensor(found))
left.plot(sizes, [gaps.max() for gaps in missed], "s--", color="C2", label="the worst of 12")
left.plot(sizes, [gaps.mean() for gaps in missed], "o-", color="C0", label="on average")
left.set(xscale="log", xlabel="texts in the beam", ylabel="nats missed", ylim=(-0.1, None))
for penalty, style in ((0.0, "o-"), (1.0, "s--")):
    lengths = []
    for size in sizes[:6]:
        sentences = [
            beam_search(trigram, torch.stack([data.new_tensor(full_stop), start]), full_stop, size, 22, penalty)[0][0]
            for start in beginnings[beginnings != full_stop][:6]
        ]
        lengths.append(sum(len(sentence) - 1 for sentence in sentences) / len(sentences))
    right.plot(sizes[:6], lengths, style, label=f"length penalty {penalty}")
right.set(xscale="log", xlabel="texts in the beam", ylabel="words in a sentence", ylim=(0, 22))
for axes, ticks in ((left, sizes), (right, sizes[:6])):
    axes.set_xticks(ticks, ticks)
    axes.minorticks_off()
    axes.legend()
plt.show()

start = beginnings[missed[3].argmax()]
for name, ids, log_prob in (
    ("greedy", *beam_search(bigram, start[None], -1, 1, 13)[0]),
    ("a beam of 8", *beam_search(bigram, start[None], -1, 8, 13)[0]),
    ("the best", *best_text(start, 12)),
):
    print(f"{name:12} {log_prob:6.1f}  {decode(ids)}")

# %%
for penalty in (0.0, 1.0):
    print(f"a beam of 8, length penalty {penalty}")
    for ids, score in beam_search(trigram, encode(". a"), full_stop, 8, 20, penalty)[:4]:
        print(f"    {score:6.2f}  {decode(ids[1:])}")

# %% [markdown]
# The results of a beam resemble each other: they differ where it costs least. And a likely text is not yet a good one.
# For translating, where the input says what has to come out, searching is right; for a conversation, drawing is.
#
# ## Speculating
#
# A large model takes as long for one position as for five. So a small model guesses a few tokens ahead, and the large
# one looks at all of them at once. It keeps what it could have said itself.

# %% exercise speculative_accept

# %% [markdown]
# ### The same text, in fewer passes
#
# The bigram model drafts k words, and the trigram model is the target. To the left, one place, after the commonest
# pair of words: the draft's q and the target's p for the most probable words. What both have, the darker part, is
# accepted. What p has more than q is what a refusal is drawn from. The dots are shares of first words in 5000
# speculations: they lie on p, but for chance, whatever q is.
#
# To the right: how many words one pass of the target gives. The curve is $(1 - a^{k+1}) / (1 - a)$, where a is how
# often a drafted word was accepted. It supposes that each word is as easy as any other. Real text has easy and hard
# places, so the points need not lie on it exactly. Longer drafts bring less and less, and each drafted word has a
# price.

# %%
generator = seeded(5)


def speculate(ids, k):
    """(ids with the words that one pass of the target gives, how many were accepted)."""
    start, draft_rows = ids, []
    for _ in range(k):
        draft_rows.append(bigram(ids[None])[0].exp())
        ids = torch.cat([ids, sample(draft_rows[-1].log()[None], generator)])
    # A Transformer computes these rows in one pass. Counting has no passes, so they come as a batch of texts.
    last_two = torch.stack([ids[i - 2 : i] for i in range(len(start), len(ids) + 1)])
    draft_probs = torch.stack(draft_rows) if k else torch.zeros(0, len(vocabulary), dtype=torch.float64)
    n_accepted, token = speculative_accept(ids[len(start) :], draft_probs, trigram(last_two).exp(), generator)
    return torch.cat([ids[: len(start) + n_accepted], ids.new_tensor([token])]), n_accepted


place = torch.tensor(max(followers, key=lambda pair: len(followers[pair])))
p, q = trigram(place[None])[0].exp(), bigram(place[None])[0].exp()
firsts = []
for draft in sample(q.log().expand(5000, -1), generator)[:, None]:
    n_accepted, token = speculative_accept(draft, q[None], torch.stack([p, p]), generator)
    firsts.append(draft[0].item() if n_accepted else token)
shares = counts_of(firsts) / len(firsts)
best = (p + q).topk(7).indices
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
left.bar(torch.arange(7) - 0.2, q[best], 0.4, color="C1", alpha=0.45, label="q, the draft")
left.bar(torch.arange(7) + 0.2, p[best], 0.4, color="C0", alpha=0.45, label="p, the target")
left.bar(torch.arange(7) - 0.2, torch.minimum(p, q)[best], 0.4, color="C1")
left.bar(torch.arange(7) + 0.2, torch.minimum(p, q)[best], 0.4, color="C0")
left.plot(torch.arange(7) + 0.2, shares[best], "ko", markersize=4, label="first words of 5000")
left.set_xticks(range(7), [{",": "comma", ".": "full stop"}.get(vocabulary[i], vocabulary[i]) for i in best], rotation=30)
left.set(ylabel=f"probability after “{decode(place)}”")
left.legend()

lengths, a_pass, accepted, tried = range(9), [], 0, 0
for k in lengths:
    text, n_passes = encode(". the"), 200
    for _ in range(n_passes):
        text, n_accepted = speculate(text, k)
        accepted, tried = accepted + n_accepted, tried + min(n_accepted + 1, k)
    a_pass.append((len(text) - 2) / n_passes)
a = accepted / tried
right.plot(lengths, a_pass, "o", label="measured, 200 passes each")
right.plot(lengths, [(1 - a ** (k + 1)) / (1 - a) for k in lengths], "--", color="0.5", label=f"formula, a = {a:.2f}")
right.set(xlabel="words drafted, k", ylabel="words for each pass of the target", ylim=(0, None))
right.legend(loc="lower right")
plt.show()
print(decode(text[2:40]), "…")

# %% [markdown]
# Not one probability was changed, so this is the rare optimisation that needs no test of quality: the text is as good
# as the target's, for it is the target's. The better the draft model, the longer the drafts that pay off. In a real
# system both models keep a cache (module 06), and a refusal cuts it back with `truncate`.
