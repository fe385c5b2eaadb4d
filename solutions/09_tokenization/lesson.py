# %% [markdown]
# # Tokenization
#
# Before a language model reads a text, the text is cut into pieces and the pieces are numbered. In this lesson you
# write all that is needed for it, from the hash map at the bottom to byte-pair encoding, and try it on the only text
# that is at hand: the handouts of this course.

# %% given

# %%
import re
import time
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import exercises

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def prose(text):
    """A handout without its programs, tables and formulas."""
    return re.sub(r"```.*?```|\$\$.*?\$\$|`[^`]*`|\$[^$]*\$|^\|.*?$", " ", text, flags=re.DOTALL | re.MULTILINE)


folder = Path(exercises.__file__).parent
texts = {path.parent.name: prose(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[0-9]*/README.md"))}
words_in = {name: re.findall(r"[^\W\d_]+", text.lower()) for name, text in texts.items()}
held_out = [name for name in texts if name.startswith("09")][0]  # this lesson's own handout is kept for testing
training = [word for name, words in words_in.items() if name != held_out for word in words]
testing = words_in[held_out]
if not training:  # no other handout is here
    training, testing = testing[: len(testing) * 2 // 3], testing[len(testing) * 2 // 3 :]
print(f"handouts to learn from: {len(training):,} words, {len(set(training)):,} of them different")
print(f"one to test with: {len(testing):,} words, {len(set(testing) - set(training)):,} of them never seen")

# %% [markdown]
# ## A place for every key
#
# Counting words needs a table that says quickly where a word's count is. Python has one, and you are about to write
# it: a list with more places than entries, in which a key itself says where to look.

# %% exercise HashMap

# %% [markdown]
# ### What a search costs
#
# To the left: how often two keys are compared when one is looked up, in a list and in your map. A list is searched
# from the front; the map begins where the hash says, so it does not matter how many others there are.
#
# To the right: how many places a search looks at before it finds a free one, when a share of all places is taken.
# The dots are a simulation, the curve is Knuth's formula $\frac12(1 + 1/(1 - \alpha)^2)$. Where a run of taken places
# has formed, it catches whatever falls into it, and grows: that is why the curve bends so sharply. Growing at two
# thirds keeps everyone on the flat part.


# %%
class CountedKey:
    """A key that counts how often it is compared."""

    n_compared = 0

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return hash((self.number, "key"))

    def __eq__(self, other):
        CountedKey.n_compared += 1
        return self.number == other.number


def comparisons(container, n):
    """How often keys are compared on average when one of n is looked up."""
    CountedKey.n_compared = 0
    asked = range(0, n, max(1, n // 50))
    for number in asked:
        CountedKey(number) in container  # noqa: B015
    return CountedKey.n_compared / len(asked)


def simulated(share, n_places=4096):
    """Places that a search looks at, the free one included, averaged over all places where it may begin."""
    taken = [False] * n_places
    for place in torch.randint(n_places, (int(share * n_places),), generator=torch.Generator().manual_seed(1)).tolist():
        while taken[place]:
            place = (place + 1) % n_places
        taken[place] = True
    total, free_at = 0, taken.index(False) + n_places
    for place in range(free_at, free_at - n_places, -1):
        free_at = free_at if taken[place % n_places] else place
        total += free_at - place + 1
    return total / n_places


sizes = [2**i for i in range(1, 12)]
in_list, in_map = [], []
for n in sizes:
    mapping, keys = HashMap(), [CountedKey(number) for number in range(n)]
    for key in keys:
        mapping[key] = None
    in_list.append(comparisons(keys, n))
    in_map.append(comparisons(mapping, n))
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
left.plot(sizes, in_list, "s-", color="C2", label="a list")
left.plot(sizes, in_map, "o-", color="C0", label="your map")
left.set(xscale="log", yscale="log", xlabel="entries", ylabel="comparisons for each look-up")
left.legend()
shares = [i / 20 for i in range(1, 19)]
fine = torch.linspace(0, 0.92, 100)
right.plot(fine, 0.5 * (1 + 1 / (1 - fine) ** 2), color="0.5", label="Knuth's formula")
right.plot(shares, [simulated(share) for share in shares], "o", label="4096 places, simulated")
right.axvline(2 / 3, color="C1", linestyle="--", label="two thirds")
right.set(xlabel="share of the places that are taken", ylabel="places looked at", ylim=(0, 50))
right.legend()
plt.show()

# %% [markdown]
# ## Numbers for words
#
# The simplest tokenizer there is: every word is a token.

# %% exercise Vocabulary

# %% [markdown]
# ### Never enough words
#
# To the left: how often the words of the handouts occur, from the most frequent to the rarest. On a double logarithmic
# scale that is nearly a straight line (Zipf's law), here as in any text: the word of rank r occurs about 1/r times as
# often as the first. To the right: the share of the words of *this* handout that a vocabulary of the others does
# not have. However many words it takes in, some stay unknown, and to a model all of these are one and the same
# `<unk>`.

# %%
counts = Counter(training)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
ranked = sorted(counts.values(), reverse=True)
left.plot(range(1, len(ranked) + 1), ranked, ".", label="the handouts")
left.plot([1, len(ranked)], [ranked[0], ranked[0] / len(ranked)], "--", color="0.5", label="one over the rank")
left.set(xscale="log", yscale="log", xlabel="rank", ylabel="how often")
left.legend()
sizes_of, unknown = [], []
for min_count in (1, 2, 3, 5, 8, 12, 20, 40, 80):
    vocabulary = Vocabulary.from_counts(counts, [UNK], min_count)
    ids = vocabulary.encode(testing)
    sizes_of.append(len(vocabulary))
    unknown.append(ids.count(0) / len(ids))
right.plot(sizes_of, unknown, "o-")
right.set(xscale="log", xlabel="words in the vocabulary", ylabel="share of unknown words", ylim=(0, None))
plt.show()
vocabulary = Vocabulary.from_counts(counts, [UNK], min_count=2)
print(" ".join(vocabulary.decode(vocabulary.encode(testing[60:110]))))

# %% [markdown]
# ## The longest piece
#
# So tokens have to be smaller than words. Say we have a list of pieces: to cut a text, take the longest that
# fits, again and again. A trie finds it in one walk.

# %% exercise Trie

# %% [markdown]
# Twelve words of the handouts that begin alike. Blue dots are the ends of words. To find the longest prefix of a
# text, walk along its characters until there is no edge, and remember the last blue dot.

# %%
shown = [word for word in sorted(counts) if word.startswith(("tok", "tra"))][:12]
prefixes = sorted({word[:i] for word in shown for i in range(len(word) + 1)})
trie = Trie()
for word in shown:
    trie.insert(word)
height = {word: i for i, word in enumerate(shown)}
for prefix in sorted(prefixes, key=len, reverse=True):  # a node lies in the middle of its children
    children = [height[other] for other in prefixes if other[:-1] == prefix and other]
    if children:
        height[prefix] = (min(children) + max(children)) / 2 if prefix not in shown else height[prefix]
figure, axes = plt.subplots(figsize=(10, 4))
for prefix in prefixes:
    if prefix:
        parent = prefix[:-1]
        axes.plot([len(parent), len(prefix)], [height[parent], height[prefix]], color="0.7", linewidth=1, zorder=1)
        axes.text(len(prefix) - 0.3, 0.3 * height[parent] + 0.7 * height[prefix], prefix[-1], ha="center", va="bottom")
    is_word = prefix in trie
    axes.plot(len(prefix), height[prefix], "o", color="C0" if is_word else "0.8", markersize=8 if is_word else 5)
axes.set(xlabel="characters read", yticks=[])
axes.spines["left"].set_visible(False)
plt.show()
n_characters = sum(map(len, counts))
n_nodes = len({word[:i] for word in counts for i in range(len(word) + 1)})
print(f"{len(counts):,} words of {n_characters:,} characters share {n_nodes:,} nodes")

# %% exercise max_match

# %%
pieces = Trie()
for piece in ["un", "unre", "ad", "read", "able", "to", "token", "is", "iz", "ation", "er", "s", "es", "i", "z", "a", "t"]:
    pieces.insert(piece)
for word in ("unreadable", "tokenization", "tokenizers", "readability"):
    print(f"{word:14}{' · '.join(max_match(word, pieces, '?'))}")

# %% [markdown]
# Greedy, and dependent on somebody's list of pieces. Where does a good list come from?
#
# ## Pieces that are learnt
#
# Byte-pair encoding begins with characters, and makes one symbol of the two that most often stand together. Then it
# does so again.

# %% exercise count_pairs

# %%
pairs = count_pairs(counts)
letters = "etaoinshrdlucmfpg"
table = torch.tensor([[float(pairs.get((one, other), 0)) for other in letters] for one in letters])
figure, axes = plt.subplots(figsize=(5.6, 4.6))
image = axes.imshow(table, cmap="Blues")
axes.set_xticks(range(len(letters)), letters)
axes.set_yticks(range(len(letters)), letters)
axes.set(xlabel="second", ylabel="first", title="How often two letters stand together")
figure.colorbar(image)
plt.show()
print("the most frequent:", ", ".join(f"{a}{b} {n}" for (a, b), n in sorted(pairs.items(), key=lambda item: -item[1])[:10]))

# %% exercise bpe_merge

# %% exercise train_bpe

# %% [markdown]
# ### Watching it learn
#
# The first merges are letters that any English word may have, then come endings and short words, then the words
# that this course cannot do without.

# %%
merges = train_bpe(counts, 3000)
new_symbols = [a + b for a, b in merges]
for start, end in ((0, 25), (200, 215), (800, 812)):
    print(f"merges {start + 1} to {end}:  {' '.join(new_symbols[start:end])}")

# %% [markdown]
# ### Why the counts are kept
#
# To the left: how long training takes, for 60 merges of more and more words, by counting everything anew at each
# merge and by your function. To the right: in how many words each merge changed something. The first merges
# are everywhere, and after a few hundred a merge concerns a handful of words, while counting anew would go
# through all of them each time.

# %%


def counted_anew(word_counts, n_merges):
    """The same merges, slowly."""
    cut, found = {word: list(word) for word in word_counts}, []
    for _ in range(n_merges):
        totals = count_pairs({tuple(symbols): word_counts[word] for word, symbols in cut.items()})
        found.append(max(totals.items(), key=lambda item: item[::-1])[0])
        cut = {word: bpe_merge(symbols, found[-1], "".join(found[-1])) for word, symbols in cut.items()}
    return found


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


everything = list(counts.items())
amounts = sorted({min(n, len(everything)) for n in (125, 250, 500, 1000, 2000)})
slow = [seconds(counted_anew, dict(everything[:n]), 60) for n in amounts]
fast = [seconds(train_bpe, dict(everything[:n]), 60) for n in amounts]
assert counted_anew(dict(everything[:300]), 40) == train_bpe(dict(everything[:300]), 40)

concerned, words_left = [], [list(word) for word in counts]
for a, b in merges[:600]:
    merged_words = [bpe_merge(symbols, (a, b), a + b) if a in symbols else symbols for symbols in words_left]
    concerned.append(sum(len(new) < len(old) for new, old in zip(merged_words, words_left)))
    words_left = merged_words
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
left.plot(amounts, slow, "s-", color="C2", label="counting anew")
left.plot(amounts, fast, "o-", color="C0", label="keeping the counts")
left.set(xscale="log", yscale="log", xlabel="different words", ylabel="seconds for 60 merges")
left.set_xticks(amounts, amounts)
left.minorticks_off()
left.legend()
right.plot(range(1, len(concerned) + 1), concerned, ".", markersize=3)
right.axhline(len(counts), color="0.5", linestyle="--", label="all words")
right.set(xlabel="merge", ylabel="words in which it changed something", yscale="log")
right.legend()
plt.show()

# %% [markdown]
# ## Reading with what was learnt
#
# New words are cut by the same merges, in the order in which they were learnt. No word of known letters is unknown
# any more.

# %% exercise encode_bpe

# %%
for word in ("tokenization", "unreadable", "gradients", "hashing", "zebra"):
    print(word)
    for n in (0, 30, 100, 300, 1000, 3000):
        print(f"    {n:5} merges: {' · '.join(encode_bpe(word, merges[:n]))}")

# %% [markdown]
# ### How much is a token?
#
# To the left: characters for each token, against the number of merges. On the handouts it learnt from, it
# goes up to the mean length of a word; on this handout, which it has not seen, it stays below, for some of the merges
# make words that only the others have. To the right: what the same 1000 merges make of texts they were not learnt from.
# A tokenizer is fitted to its training text, and whoever writes something else pays for it: with longer
# sequences, that is, with time, memory and a shorter context.

# %%


def characters_per_token(words, n_merges):
    """Averaged over the words as they occur."""
    n_of, characters, tokens = Counter(words), 0, 0
    for word, n in n_of.items():
        characters += n * len(word)
        tokens += n * len(encode_bpe(word, merges[:n_merges]))
    return characters / tokens


steps = [0, 10, 30, 100, 300, 1000, 3000]
sample_of_training = training[:: max(1, len(training) // 3000)]
programs = " ".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("[0-9]*/test_*.py")))
code = re.findall(r"[^\W\d_]+", programs[:30000])
others = {
    "the training handouts": sample_of_training,
    "this handout": testing,
    "tests in Python": [word.lower() for word in code],
    "a sentence in German": "eine sprache die das modell beim lernen nie gesehen hat zerfällt in sehr kleine stücke".split(),
    "a sentence in Finnish": "kieli jota malli ei ole nähnyt hajoaa hyvin pieniin osiin ja maksaa siksi enemmän".split(),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
for name, style in (("the training handouts", "o-"), ("this handout", "s--")):
    left.plot(range(len(steps)), [characters_per_token(others[name], n) for n in steps], style, label=name)
left.set_xticks(range(len(steps)), steps)
left.set(xlabel="merges", ylabel="characters for each token", ylim=(0, None))
left.legend()
right.barh(list(others), [characters_per_token(words, 1000) for words in others.values()], color="C0")
right.invert_yaxis()
right.set(xlabel="characters for each token after 1000 merges")
plt.show()

# %% [markdown]
# ## The most probable cut
#
# BPE never asks whether a cut is a good one. The unigram model gives every piece a probability, and looks for the
# cut with the greatest product.

# %% exercise unigram_segment

# %% [markdown]
# ### Learning the probabilities
#
# We take the characters and the symbols of 1200 merges as pieces, all equally probable to begin with. Then, a few
# times: cut all words in the most probable way, count the pieces, and take these counts for the next
# probabilities. (Kudo's method weighs all cuts by their probability and throws pieces away; this is its simplest
# relative.)
#
# The picture is the word "retraining": every arc is a piece that fits, with its log-probability (single letters
# are left out), and the coloured path is the best. The sum along it is greater than along any other.

# %%
known = {letter: 1.0 for word in counts for letter in word} | {symbol: 1.0 for symbol in new_symbols[:1200]}
for _ in range(4):
    total = sum(known.values())
    log_probs = {piece: math.log(n / total) for piece, n in known.items()}
    known = dict.fromkeys(known, 0.1)  # nothing becomes impossible
    for word, n in counts.items():
        for piece in unigram_segment(word, log_probs)[0]:
            known[piece] += n

word = "retraining"
best, log_prob = unigram_segment(word, log_probs)
ends = [len("".join(best[: i + 1])) for i in range(len(best))]
path = set(zip([0, *ends], ends))
figure, axes = plt.subplots(figsize=(10, 3.8))
angle = torch.linspace(0, math.pi, 40)
for start in range(len(word)):
    for end in range(start + 1, len(word) + 1):
        if word[start:end] in log_probs and (end - start > 1 or (start, end) in path):
            on_path = (start, end) in path
            x, y = (start + end) / 2 - (end - start) / 2 * angle.cos(), (end - start) / 2 * angle.sin()
            axes.plot(x, y, color="C0" if on_path else "0.75", linewidth=3 if on_path else 1, zorder=3 if on_path else 1)
            above = {"ha": "center", "va": "bottom", "fontsize": 8, "color": "C0" if on_path else "0.4"}
            axes.text((start + end) / 2, (end - start) / 2, f"{log_probs[word[start:end]]:.1f}", **above)
for i, letter in enumerate(word):
    axes.text(i + 0.5, -0.3, letter, ha="center", va="top", fontsize=14)
axes.plot(range(len(word) + 1), [0] * (len(word) + 1), "|", color="0.3", markersize=12)
axes.set(ylim=(-0.9, None), yticks=[], xticks=[], title=f"{' · '.join(best)}: {log_prob:.2f}")
for side in ("left", "bottom"):
    axes.spines[side].set_visible(False)
plt.show()

# %% [markdown]
# ### Three ways to cut
#
# The same pieces, three rules. For most words they agree; here are words of this handout for which they do not. The
# longest match is led astray by a long beginning, byte-pair encoding by its history.

# %%
pieces = Trie()
for piece in known:
    pieces.insert(piece)
rules = {
    "longest match": lambda word: max_match(word, pieces, UNK),
    "byte-pair encoding": lambda word: encode_bpe(word, merges[:1200]),
    "most probable": lambda word: unigram_segment(word, log_probs)[0],
}
n_of = Counter(word for word in testing if all(letter in known for letter in word))
cuts = {word: [rule(word) for rule in rules.values()] for word in n_of}
print(" " * 15 + "".join(f"{name:26}" for name in rules))
for word in [word for word in cuts if max(cuts[word]) != min(cuts[word])][:8]:
    print(f"{word:15}" + "".join(f"{' · '.join(cut):26}" for cut in cuts[word]))
totals = [sum(n * len(cuts[word][i]) for word, n in n_of.items()) for i in range(3)]
print("\ntokens for this handout:", ", ".join(f"{name} {total}" for name, total in zip(rules, totals)))

# %% [markdown]
# None of them knows what a word means, and a model learns to live with any of them. What it cannot repair is a piece
# that does not exist: letters that no training text had are still unknown. The next module begins with the 256 bytes
# instead of letters, and then there is nothing that cannot be written.
