"""From text to tokens: hash maps and tries, then byte-pair encoding and its rivals, from scratch.

A language model reads ids, small whole numbers. Somebody has to cut the text into pieces and number them:

    pieces and their ids           Vocabulary, on a hash map
    the longest known piece        Trie, max_match                           WordPiece, the longest first
    the most frequent neighbours   count_pairs, bpe_merge, train_bpe, encode_bpe            GPT-2
    the most probable cut          unigram_segment                           SentencePiece's unigram model

Text is a str here, and its smallest pieces are characters, that is, code points: "é" is one of them, or two, "e" and a
combining accent. Whoever wants to be able to write any text begins with bytes instead, in the next module. `train_bpe` and
`encode_bpe` are ready for that: the symbols that they merge may be of str or of bytes.

Sources: Knuth 1973, section 6.4 (open addressing, with deletion); Fredkin 1960 (tries); Schuster & Nakajima 2012 and Song et
al. 2021 (the longest match); Gage 1994 and Sennrich et al. 2016 (byte-pair encoding); Kudo 2018 (the unigram model).
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

UNK = "<unk>"


class HashMap:
    """What dict does: values by key, in a few steps on average however many there are.

    Open addressing: the entries lie in one list that has more places than entries. A key's hash says where to begin looking, and
    where another key lies there already, the search goes on to the next place, round the end, up to the key or a free place. Two
    rules keep that short: the list grows before it is full, and a deletion leaves no free place in the middle of a way that a
    search has to go.

    As in dict, a key may be anything that has a hash, None and False too; two keys are the same if they are one object, or
    are equal (and so have the same hash): 1, 1.0 and True are one key; and a new value for a key leaves the key itself as it is.
    In which order the entries come is left open, and so is what happens to an iteration when the map is changed meanwhile.

    The entries lie in lists (or tuples): no dict and no set is in a HashMap. The steps of an operation are few on average, also
    after many deletions, provided that not many keys have the same hash; and there are places in proportion to the most entries
    that there ever were at once, not to all that have come and gone.
    """

    def __init__(self):
        """An empty map."""
        ### BEGIN SOLUTION
        self._entries: list[tuple[int, Any, Any] | None] = [None] * 8  # (hash, key, value), or a free place
        self._n_free = len(self._entries)
        ### END SOLUTION

    def __len__(self) -> int:
        """How many entries there are."""
        ### BEGIN SOLUTION
        return len(self._entries) - self._n_free
        ### END SOLUTION

    def __setitem__(self, key: Any, value: Any) -> None:
        """`map[key] = value`: a new entry, or a new value for a key that is there."""
        ### BEGIN SOLUTION
        place = self._find(key)
        if self._entries[place] is not None:
            hashed, key, _ = self._entries[place]  # the key stays the one that came first
            self._entries[place] = (hashed, key, value)
            return
        self._entries[place] = (hash(key), key, value)
        self._n_free -= 1
        if 3 * self._n_free < len(self._entries):
            self._grow()
        ### END SOLUTION

    def __getitem__(self, key: Any) -> Any:
        """`map[key]`. KeyError where there is no such key."""
        ### BEGIN SOLUTION
        entry = self._entries[self._find(key)]
        if entry is None:
            raise KeyError(key)
        return entry[2]
        ### END SOLUTION

    def __delitem__(self, key: Any) -> None:
        """`del map[key]`. KeyError where there is no such key."""
        ### BEGIN SOLUTION
        place = self._find(key)
        if self._entries[place] is None:
            raise KeyError(key)
        self._entries[place] = None
        self._n_free += 1
        # The entries up to the next free place may have come past this one: take them out, one after the other, and put
        # them where they are found now.
        place = (place + 1) % len(self._entries)
        while self._entries[place] is not None:
            entry, self._entries[place] = self._entries[place], None
            self._put(entry)
            place = (place + 1) % len(self._entries)
        ### END SOLUTION

    def __contains__(self, key: Any) -> bool:
        """`key in map`, whatever its value."""
        ### BEGIN SOLUTION
        return self._entries[self._find(key)] is not None
        ### END SOLUTION

    def get(self, key: Any, default: Any = None) -> Any:
        """The key's value, or the default where there is no such key."""
        ### BEGIN SOLUTION
        entry = self._entries[self._find(key)]
        return default if entry is None else entry[2]
        ### END SOLUTION

    def __iter__(self) -> Iterator[Any]:
        """The keys, each once."""
        ### BEGIN SOLUTION
        return (key for key, _ in self.items())
        ### END SOLUTION

    def items(self) -> Iterable[tuple[Any, Any]]:
        """(key, value) of every entry. Should it be a list, it is the caller's: to change it does not change the map."""
        ### BEGIN SOLUTION
        return (entry[1:] for entry in self._entries if entry is not None)
        ### END SOLUTION

    ### BEGIN SOLUTION
    def _find(self, key: Any) -> int:
        """The place of the key's entry, or the free place where it would go."""
        hashed = hash(key)
        place = self._home(hashed)
        while (entry := self._entries[place]) is not None:
            if entry[0] == hashed and (entry[1] is key or entry[1] == key):
                break
            place = (place + 1) % len(self._entries)
        return place

    def _home(self, hashed: int) -> int:
        """Where a search begins. The hash of a whole number is that number: a product mixes its digits (Knuth 1973)."""
        return (hashed * 0x9E3779B97F4A7C15 >> 32) % len(self._entries)

    def _put(self, entry: tuple[int, Any, Any]) -> None:
        """An entry whose key is not there: into the first free place."""
        place = self._home(entry[0])
        while self._entries[place] is not None:
            place = (place + 1) % len(self._entries)
        self._entries[place] = entry

    def _grow(self) -> None:
        """Twice as many places. That is done so rarely that an entry is moved once or twice on average."""
        entries = self._entries
        self._entries = [None] * (2 * len(entries))
        self._n_free += len(self._entries) - len(entries)
        for entry in entries:
            if entry is not None:
                self._put(entry)

    ### END SOLUTION


class Vocabulary:
    """Tokens and their ids: 0, 1, 2, ...

    A token that the vocabulary does not have is read as "<unk>" (`UNK`) where it has that one, and refused where it has not. What
    a vocabulary is made from it neither changes nor follows, and what it gives is a list of its own each time.
    """

    def __init__(self, tokens: Iterable[str]):
        """The tokens in the order of their ids. ValueError where one comes twice."""
        ### BEGIN SOLUTION
        self._tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self._tokens)}  # a dict is a HashMap written in C
        if len(self._ids) < len(self._tokens):
            raise ValueError("a token comes twice")
        ### END SOLUTION

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], specials: Sequence[str], min_count: int = 1) -> "Vocabulary":
        """The specials in their order, then what occurs at least `min_count` times, the most frequent first.

        Of equally frequent tokens the smaller one, as Python compares texts, comes first. A special that has a count as well
        stays where it is and does not come again. ValueError where a special comes twice.
        """
        ### BEGIN SOLUTION
        frequent = [token for token, count in counts.items() if count >= min_count and token not in specials]
        return cls([*specials, *sorted(frequent, key=lambda token: (-counts[token], token))])
        ### END SOLUTION

    def __len__(self) -> int:
        """How many tokens there are, the specials included."""
        ### BEGIN SOLUTION
        return len(self._tokens)
        ### END SOLUTION

    def __contains__(self, token: str) -> bool:
        """`token in vocabulary`: whether it has an id of its own."""
        ### BEGIN SOLUTION
        return token in self._ids
        ### END SOLUTION

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token. ValueError (or KeyError) for an unknown one where there is no "<unk>"."""
        ### BEGIN SOLUTION
        unknown = self._ids.get(UNK)
        ids = [self._ids.get(token, unknown) for token in tokens]
        if None in ids:
            raise ValueError(f"there is a token that is not in the vocabulary, which has no {UNK} either")
        return ids
        ### END SOLUTION

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The token of each id. ValueError (or IndexError) for an id that no token has; no id is negative."""
        ### BEGIN SOLUTION
        ids = list(ids)
        if ids and not 0 <= min(ids) <= max(ids) < len(self):
            raise ValueError(f"ids must be from 0 to {len(self) - 1}, not from {min(ids)} to {max(ids)}")
        return [self._tokens[i] for i in ids]
        ### END SOLUTION


class Trie:
    """A set of words as a tree: words that begin alike share their beginning.

    An edge is a character, so a word is a way down from the root, and its last node is marked. A look-up takes a step for each
    character, and stops with the first that leads nowhere: how many words there are, or how long the longest is, does not matter.
    Words may be hundreds of characters long.
    """

    def __init__(self):
        """No words."""
        ### BEGIN SOLUTION
        self._children: dict[str, Trie] = {}
        self._is_word = False
        ### END SOLUTION

    def insert(self, word: str) -> None:
        """Take the word in; one that is there already changes nothing. ValueError for the empty word."""
        ### BEGIN SOLUTION
        if not word:
            raise ValueError("the empty word begins everywhere")
        node = self
        for character in word:
            node = node._children.setdefault(character, Trie())
        node._is_word = True
        ### END SOLUTION

    def __contains__(self, word: str) -> bool:
        """`word in trie`: whether it was inserted. The beginning of a word is no word for that, nor is the empty text."""
        ### BEGIN SOLUTION
        node = self
        for character in word:
            node = node._children.get(character)
            if node is None:
                return False
        return node._is_word
        ### END SOLUTION

    def longest_prefix(self, text: str, start: int = 0) -> str:
        """The longest word with which `text` goes on at index `start`; "" where no word does.

        Takes at most one step more than there are characters of the text on the tree's edges there: neither the text before
        nor the text behind is looked at. ValueError (or IndexError) unless 0 <= start <= len(text).
        """
        ### BEGIN SOLUTION
        if not 0 <= start <= len(text):
            raise ValueError(f"start must be from 0 to {len(text)}, not {start}")
        node, end = self, start
        for i in range(start, len(text)):
            node = node._children.get(text[i])
            if node is None:
                break
            if node._is_word:
                end = i + 1
        return text[start:end]
        ### END SOLUTION


def max_match(text: str, trie: Trie, unk: str) -> list[str]:
    """The text in pieces: from left to right, each time the longest word of the trie that fits.

    Where no word fits, the piece is `unk`, in place of one character: three such characters in a row are three times `unk`. The
    next piece begins right behind. Greedy as it is, this need not find the cut with the fewest pieces. Empty text: []. The trie
    stays as it is.

    Source: Song et al. 2021, section 2, without the marks that WordPiece puts inside of words.
    """
    ### BEGIN SOLUTION
    pieces, start = [], 0
    while start < len(text):
        word = trie.longest_prefix(text, start)
        pieces.append(word or unk)
        start += len(word) or 1
    return pieces
    ### END SOLUTION


# Byte-pair encoding takes a word apart into symbols and merges them. A word is a str, whose symbols are its characters, or a
# tuple of symbols: ("l", "o", "w", "</w>"), or (b"l", b"o", b"w"). Merging a and b makes the symbol a + b.
Symbol = str | bytes
Word = str | tuple[Symbol, ...]
Pair = tuple[Symbol, Symbol]


def count_pairs(words: Mapping[Word, int]) -> dict[Pair, int]:
    """How often each two symbols stand next to each other, in this order.

    `words` says how often each word occurs, at least once, and every place in it counts that often. Places may overlap: "aaa"
    has the pair ("a", "a") twice. Neighbours are neighbours in a word, never across words. Pairs that do not occur are not in
    the result.
    """
    ### BEGIN SOLUTION
    pair_counts: dict[Pair, int] = {}
    for word, count in words.items():
        for pair in zip(word, word[1:]):
            pair_counts[pair] = pair_counts.get(pair, 0) + count
    return pair_counts
    ### END SOLUTION


def bpe_merge(ids: Sequence[Any], pair: tuple[Any, Any], new_id: Any) -> list[Any]:
    """A new list in which `new_id` stands wherever the two of `pair` stood next to each other.

    From left to right, and what has been merged is not looked at again: (a, a) in a, a, a gives new_id, a. Ids may be numbers,
    texts or whatever can be compared for equality, and thousands; `new_id` may be one that is there already.
    """
    ### BEGIN SOLUTION
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged
    ### END SOLUTION


def train_bpe(word_counts: Mapping[Word, int], n_merges: int) -> list[Pair]:
    """The merges that byte-pair encoding learns from words and how often each occurs (at least once), in their order.

    Each time, the most frequent pair of neighbours (as `count_pairs` counts) is merged in all words (as `bpe_merge` merges):
    (a, b) becomes the symbol a + b. Of equally frequent pairs the greatest is taken, as Python compares tuples. When no word has
    two symbols left there are fewer than `n_merges`. Should one symbol come about in several ways, a pair may be merged, and be
    in the list, again.

    Words that do not hold the pair are not gone through at a merge: the counts are kept, and changed where words change. To look
    at all pairs for the best one is fine.

    ValueError where n_merges is below 0. Source: Sennrich et al. 2016, section 3.2.
    """
    ### BEGIN SOLUTION
    if n_merges < 0:
        raise ValueError(f"n_merges must be at least 0, not {n_merges}")

    class Falling(tuple):
        """(count, pair) for heapq, whose first entry is the smallest: here, the greatest."""

        __lt__ = tuple.__gt__

    words = [list(word) for word in word_counts]
    counts = list(word_counts.values())
    pair_counts = count_pairs(word_counts)
    found_in: dict[Pair, set[int]] = {}  # the numbers of the words that hold a pair
    for i, word in enumerate(words):
        for pair in zip(word, word[1:]):
            found_in.setdefault(pair, set()).add(i)
    heap = [Falling((count, pair)) for pair, count in pair_counts.items()]
    heapq.heapify(heap)

    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        count, best = heapq.heappop(heap)
        if pair_counts[best] != count:
            continue  # an entry from before a change, after which the pair was pushed anew
        merges.append(best)
        changed = set()
        for i in list(found_in[best]):
            for pair in zip(words[i], words[i][1:]):
                pair_counts[pair] -= counts[i]
                found_in[pair].discard(i)
                changed.add(pair)
            words[i] = bpe_merge(words[i], best, best[0] + best[1])
            for pair in zip(words[i], words[i][1:]):
                pair_counts[pair] = pair_counts.get(pair, 0) + counts[i]
                found_in.setdefault(pair, set()).add(i)
                changed.add(pair)
        for pair in changed:
            if pair_counts[pair] > 0:
                heapq.heappush(heap, Falling((pair_counts[pair], pair)))
    return merges
    ### END SOLUTION


def encode_bpe(ids: Sequence[Symbol], merges: Sequence[Pair]) -> list[Symbol]:
    """A word in the symbols that merging makes of it.

    As long as there are neighbours that are a pair of `merges`: of these, take the pair that stands first in the list, and merge
    it wherever it stands in the word (as `bpe_merge` does), (a, b) into a + b. A pair that comes about late and stands early in
    the list has its turn then. One that is in the list several times counts as at its first place. Merging one place at a time,
    the one furthest left first, is as good: lists that were learnt give the same.

    `ids` are the word's symbols, a str or a sequence, maybe thousands, and remain what they are; the result is a list of its own.
    Source: Sennrich et al. 2016, and Radford et al. 2019, whose code proceeds like this.
    """
    ### BEGIN SOLUTION
    ranks: dict[Pair, int] = {}  # made at each call: whoever encodes many words keeps it
    for rank, pair in enumerate(merges):
        ranks.setdefault(pair, rank)
    symbols = list(ids)
    while len(symbols) > 1:
        best = min(zip(symbols, symbols[1:]), key=lambda pair: ranks.get(pair, math.inf))
        if best not in ranks:
            break
        symbols = bpe_merge(symbols, best, best[0] + best[1])
    return symbols
    ### END SOLUTION


def unigram_segment(text: str, log_probs: Mapping[str, float]) -> tuple[list[str], float]:
    """The most probable way to write the text as pieces, and its log-probability, the sum of theirs: (pieces, log_prob).

    Every piece is a key of `log_probs`; the empty one, if it is there, is never used, and one of log-probability -inf is none.
    Of several equally probable ways any may be returned, in a list of its own. Empty text: ([], 0.0). A text may be thousands of
    characters long.

    The best way to write the first n characters ends in some piece, and what stands before it is written in the best way as well:
    so go through the ends from left to right, and remember where the last piece begins (Viterbi's algorithm).

    ValueError where the pieces cannot make up the text. Source: Kudo 2018, section 3.2.
    """
    ### BEGIN SOLUTION
    longest = max(map(len, log_probs), default=0)
    best = [0.0] + [-math.inf] * len(text)  # best[n]: the log-probability of the first n characters
    begins = [0] * (len(text) + 1)  # where the last piece of these begins
    for end in range(1, len(text) + 1):
        for start in range(max(0, end - longest), end):
            log_prob = best[start] + log_probs.get(text[start:end], -math.inf)
            if log_prob > best[end]:
                best[end], begins[end] = log_prob, start
    if best[-1] == -math.inf:
        raise ValueError("no pieces make up the text")
    pieces, end = [], len(text)
    while end > 0:
        pieces.append(text[begins[end] : end])
        end = begins[end]
    return pieces[::-1], best[-1]
    ### END SOLUTION
