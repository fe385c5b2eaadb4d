# %% [markdown]
# # Byte-level BPE
#
# The tokenizer of GPT-2, whole: from the bits of a character to a stream of ids that never ends. Along the way you see
# why the same sentence costs one language several times what it costs another.

# %% given

# %%
import tempfile
import time

import matplotlib.pyplot as plt
import torch

import exercises

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other

folder = Path(exercises.__file__).parent
handouts = {path.parent.name[:2]: path.read_text(encoding="utf-8") for path in sorted(folder.glob("[0-9]*/README.md"))}
held_out = handouts.pop("10")  # this lesson's own handout is kept for testing
text = "\n".join(handouts.values()) or held_out
print(f"{len(handouts)} handouts to learn from: {len(text):,} characters, {len(text.encode()):,} bytes")

# %% [markdown]
# ## Characters and bytes

# %% exercise utf8_encode

# %%
for character in "aé€🙂":
    data = utf8_encode(character)
    print(f"{character}   U+{ord(character):04X}   {' '.join(f'{byte:08b}' for byte in data)}")

# %% [markdown]
# ### What a sentence costs
#
# The same sentence (the first article of the Universal Declaration of Human Rights begins with it) in characters and in
# bytes. To a model that reads bytes, Hindi is nearly four times as long as English before anything is learnt.

# %%
sentences = {
    "English": "All human beings are born free and equal in dignity and rights.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
}
figure, axes = plt.subplots(figsize=(7, 3.2))
places = torch.arange(len(sentences))
axes.barh(places - 0.2, [len(s) for s in sentences.values()], 0.4, label="characters")
axes.barh(places + 0.2, [len(utf8_encode(s)) for s in sentences.values()], 0.4, label="bytes")
axes.set_yticks(places, sentences)
axes.invert_yaxis()
axes.legend()
plt.show()

# %% exercise utf8_decode

# %% [markdown]
# ### Cut anywhere, damaged anywhere
#
# One byte of a text is overwritten, at each place in turn. UTF-8 finds its feet at the next character: however the byte
# is changed, the character that it belongs to is lost, and no other. To the right, each pair of a first and a second
# byte: how many of the two-byte beginnings lead anywhere.

# %%
sample = utf8_encode("naïve café, 10 €, 日本 🙂!")
lost = []
for place in range(len(sample)):
    for byte in range(0, 256, 5):
        damaged = sample[:place] + bytes([byte]) + sample[place + 1 :]
        before, after = utf8_decode(sample), utf8_decode(damaged, "replace")
        same_end = next((n for n in range(1, len(before) + 1) if before[-n:] != after[-n:]), len(before) + 1) - 1
        same_start = next((n for n in range(1, len(before) + 1) if before[:n] != after[:n]), len(before) + 1) - 1
        lost.append(max(0, len(before) - same_start - same_end))
allowed = torch.zeros(64, 128)
for first in range(0xC0, 0x100):
    for second in range(0x80, 0x100):
        decoded = utf8_decode(bytes([first, second]), "replace")
        allowed[first - 0xC0, second - 0x80] = len(decoded) == 1
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
left.hist(lost, bins=[i - 0.5 for i in range(max(lost) + 2)], rwidth=0.8)
left.set(xlabel="characters that are not what they were", ylabel="damaged texts")
right.imshow(allowed, aspect="auto", cmap="Blues", extent=(0x80, 0x100, 0x100, 0xC0), interpolation="nearest")
right.set_xticks([0x80, 0x90, 0xA0, 0xC0, 0x100], ["80", "90", "A0", "C0", ""])
right.set_yticks([0xC2, 0xE0, 0xED, 0xF0, 0xF5], ["C2", "E0", "ED", "F0", "F5"])
right.set(xlabel="second byte", ylabel="first byte", title="dark: a character may begin like this")
plt.show()

# %% exercise bytes_to_unicode

# %%
table = bytes_to_unicode()
for shown in ("Hello world\n", "größer", "🙂"):
    print(f"{shown!r:18}", "".join(table[byte] for byte in shown.encode()))

# %% [markdown]
# ## Pre-tokens

# %% exercise pretokenize

# %%
for line in ("I'll see 12  dogs!", "IT'S the   END.\n\n", "x² is ½ of 一二", "def f(x_1):\n    return 3.14"):
    print(" · ".join(word.replace(" ", "␣").replace("\n", "⏎") for word in pretokenize(line)))
words = Counter(pretokenize(text))
print(f"\n{sum(words.values()):,} pre-tokens, {len(words):,} different ones: words repeat, and that is what makes training fast")

# %% exercise ByteTrie

# %% [markdown]
# ## Learning merges

# %% exercise train_byte_bpe

# %%
start = time.perf_counter()
vocab, merges = train_byte_bpe(text, 4000, ["<|endoftext|>"])
print(f"{len(merges):,} merges in {time.perf_counter() - start:.2f} s")
for first, last in ((0, 24), (300, 312), (1500, 1510)):
    print(f"merges {first + 1} to {last}: ", *(repr((a + b).decode(errors="replace")) for a, b in merges[first:last]))

# %% [markdown]
# ### What it would cost to count anew
#
# To the left: the time for 50 merges, with more and more text, by your function and by counting all pairs before each
# merge. To the right: in how many pre-tokens a merge changes anything. That is all that your function looks at.

# %%


def counted_anew(text, n_merges):
    """The same merges, slowly."""
    cut = [([bytes([byte]) for byte in word.encode()], n) for word, n in Counter(pretokenize(text)).items()]
    found = []
    for _ in range(n_merges):
        counts = Counter()
        for word, n in cut:
            for pair in pairwise(word):
                counts[pair] += n
        a, b = max(counts, key=lambda pair: (counts[pair], pair))
        found.append((a, b))
        for word, _ in cut:
            i = 0
            while i < len(word) - 1:
                if word[i] == a and word[i + 1] == b:
                    word[i : i + 2] = [a + b]
                i += 1
    return found


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


assert counted_anew(text[:5000], 40) == train_byte_bpe(text[:5000], 296)[1]
amounts = [len(text) // n for n in (32, 16, 8, 4, 2)]
slow = [seconds(counted_anew, text[:n], 50) for n in amounts]
fast = [seconds(train_byte_bpe, text[:n], 306) for n in amounts]
concerned = []
cut = {word: [bytes([byte]) for byte in word.encode()] for word in words}
for a, b in merges[:300]:
    n_changed = 0
    for symbols in cut.values():
        n_before, i = len(symbols), 0
        while i < len(symbols) - 1:
            if symbols[i] == a and symbols[i + 1] == b:
                symbols[i : i + 2] = [a + b]
            i += 1
        n_changed += len(symbols) < n_before
    concerned.append(n_changed)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
left.plot(amounts, slow, "s-", color="C2", label="counting anew")
left.plot(amounts, fast, "o-", color="C0", label="keeping the counts")
left.set(xscale="log", yscale="log", xlabel="characters of text", ylabel="seconds for 50 merges")
left.legend()
right.plot(range(1, len(concerned) + 1), concerned, ".", markersize=4)
right.axhline(len(words), color="0.5", linestyle="--", label="all different pre-tokens")
right.set(xlabel="merge", ylabel="pre-tokens in which it changed something", yscale="log")
right.legend()
plt.show()

# %% [markdown]
# ## The tokenizer

# %% exercise GPT2Tokenizer

# %%
tokenizer = GPT2Tokenizer(vocab, merges, ["<|endoftext|>"])
line = "Attention is a weighted mean.<|endoftext|>"
for allowed_special in ((), "all"):
    ids = tokenizer.encode(line, allowed_special)
    print(len(ids), " · ".join(vocab[i].decode(errors="replace") for i in ids))
assert list(tokenizer.encode_iterable(line, "all")) == ids and tokenizer.decode(ids) == line

# %% [markdown]
# ### Merges against the longest match
#
# Your trie can cut a text as well, always taking the longest token of the vocabulary. The vocabulary is the same, and
# the number of tokens nearly is. The ids are not: a model that was trained with the one is lost with the other.
# To the right, bytes for each token, on this handout, against the number of merges.

# %%
trie = ByteTrie()
for token_id, token in vocab.items():
    trie.insert(token, token_id)


def longest_match(word):
    data, start, found = word.encode(), 0, []
    while start < len(data):
        token_id, length = trie.longest_prefix(data, start)
        found.append(token_id)
        start += length
    return found


test_words = pretokenize(held_out)
by_merges = [tokenizer.encode(word) for word in test_words]
by_match = [longest_match(word) for word in test_words]
differing = Counter(word for word, a, b in zip(test_words, by_merges, by_match) if a != b)
print(f"{sum(map(len, by_merges)):,} tokens by merges, {sum(map(len, by_match)):,} by the longest match")
for word, _ in differing.most_common(5):
    print(f"  {word!r}: {[vocab[i] for i in tokenizer.encode(word)]} or {[vocab[i] for i in longest_match(word)]}")

steps = [n for n in (0, 100, 300, 1000, 2000) if n < len(merges)] + [len(merges)]
ratios = []
for n in steps:
    part = {i: vocab[i] for i in range(256 + n)}
    ratios.append(len(held_out.encode()) / len(GPT2Tokenizer(part, merges[:n]).encode(held_out)))
costs = {name: len(tokenizer.encode(sentence)) for name, sentence in sentences.items()}
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
left.barh(list(costs), costs.values())
left.invert_yaxis()
left.set(xlabel="tokens for the sentence")
right.plot(range(len(steps)), ratios, "o-")
right.set_xticks(range(len(steps)), steps)
right.set(xlabel="merges", ylabel="bytes for each token", ylim=(0, None))
plt.show()

# %% [markdown]
# Learnt from English, the merges help English. Everybody else pays by the byte: in time, in money, and in how much fits
# into a context.
#
# ### A long word, and a stream
#
# First, one word of n letters, encoded with your heap, and by looking for the best pair again before each merge. Then
# a stream: characters are printed as soon as all their bytes are there, never half of one.

# %%


def searched_each_time(word):
    rank = {pair: i for i, pair in enumerate(merges)}
    symbols = [bytes([byte]) for byte in word.encode()]
    while len(symbols) > 1:
        best, i = min((rank.get(pair, 1 << 30), i) for i, pair in enumerate(pairwise(symbols)))
        if best == 1 << 30:
            break
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    return symbols


lengths = [250, 500, 1000, 2000, 4000]
letters = "".join("the attention of a transformer is all that"[(i * i + 7 * i) % 42] for i in range(4000)).replace(" ", "e")
searched = [seconds(searched_each_time, letters[:n]) for n in lengths]
heaped = [seconds(GPT2Tokenizer(vocab, merges).encode, letters[:n]) for n in lengths]
figure, axes = plt.subplots(figsize=(5.2, 3.4))
axes.plot(lengths, searched, "s-", color="C2", label="looking at all pairs each time")
axes.plot(lengths, heaped, "o-", color="C0", label="a heap and a linked list")
axes.set(xscale="log", yscale="log", xlabel="letters of the word", ylabel="seconds")
axes.legend()
plt.show()

ids = tokenizer.encode("Ein Gruß: 日本 🙂")
for token_id, piece in zip(ids, tokenizer.decode_stream(ids)):
    print(f"{vocab[token_id]!s:22} {piece!r}")

# %% [markdown]
# ### In files
#
# At last, the vocabulary in the form in which GPT-2's was published, and read again.

# %%
with tempfile.TemporaryDirectory() as place:
    written = {"".join(table[byte] for byte in token): token_id for token_id, token in vocab.items()}
    lines = [" ".join("".join(table[byte] for byte in symbol) for symbol in pair) for pair in merges]
    (Path(place) / "encoder.json").write_text(json.dumps(written), encoding="utf-8")
    (Path(place) / "vocab.bpe").write_text("\n".join(["#version: 0.2", *lines]) + "\n", encoding="utf-8")
    again = GPT2Tokenizer.from_files(Path(place) / "encoder.json", Path(place) / "vocab.bpe")
assert again.encode(held_out + "<|endoftext|>", "all") == tokenizer.encode(held_out + "<|endoftext|>", "all")
print(*lines[:6], *lines[2000:2003], sep="\n")
