"""Unusual right solutions: each must get full marks."""

import math
from collections.abc import Mapping

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit(
        "steps_that_grow",
        "HashMap",
        "Triangular probing: the steps are 1, 2, 3, ..., which visits every place of a list whose length is a power of two; "
        "marks where entries were deleted.",
        (
            "        place = self._home(hashed)\n        while (entry := self._entries[place]) is not None:\n"
            "            if entry[0] == hashed and (entry[1] is key or entry[1] == key):\n                break\n"
            "            place = (place + 1) % len(self._entries)\n        return place\n",
            "        place, step = self._home(hashed), 1\n        while (entry := self._entries[place]) is not None:\n"
            "            if entry[0] == hashed and (entry[1] is key or entry[1] == key):\n                break\n"
            "            place, step = (place + step) % len(self._entries), step + 1\n        return place\n",
        ),
        (
            "        place = self._home(entry[0])\n        while self._entries[place] is not None:\n"
            "            place = (place + 1) % len(self._entries)\n        self._entries[place] = entry\n",
            "        place, step = self._home(entry[0]), 1\n        while self._entries[place] is not None:\n"
            "            place, step = (place + step) % len(self._entries), step + 1\n        self._entries[place] = entry\n",
        ),
        (
            "        # The entries up to the next free place may have come past this one: take them out, one "
            "after the other, and put\n"
            "        # them where they are found now.\n"
            "        place = (place + 1) % len(self._entries)\n"
            "        while self._entries[place] is not None:\n"
            "            entry, self._entries[place] = self._entries[place], None\n"
            "            self._put(entry)\n"
            "            place = (place + 1) % len(self._entries)\n",
            "        self._entries[place] = (None, None, None)\n        self._n_marks = getattr(self, '_n_marks', 0) + 1\n",
        ),
        ("for entry in self._entries if entry is not None)", "for entry in self._entries if entry and entry[0] is not None)"),
        (
            "        if 3 * self._n_free < len(self._entries):\n",
            "        if 3 * (self._n_free - getattr(self, '_n_marks', 0)) < len(self._entries):\n",
        ),
        (
            "        self._entries = [None] * (2 * len(entries))\n",
            "        self._n_marks = 0\n"
            "        self._entries = [None] * (len(entries) * (2 if 2 * self._n_free < len(entries) else 1))\n",
        ),
        (
            "            if entry is not None:\n                self._put(entry)",
            "            if entry and entry[0] is not None:\n                self._put(entry)",
        ),
    ),
    edit(
        "backwards_through_the_list",
        "HashMap",
        "The next place is the one before: Python's negative indices go round the end.",
        (
            "                break\n            place = (place + 1) % len(self._entries)\n",
            "                break\n            place = (place - 1) % len(self._entries)\n",
        ),
        (
            "        place = (place + 1) % len(self._entries)\n"
            "        while self._entries[place] is not None:\n            entry,",
            "        place = (place - 1) % len(self._entries)\n"
            "        while self._entries[place] is not None:\n            entry,",
        ),
        (
            "            self._put(entry)\n            place = (place + 1) % len(self._entries)\n",
            "            self._put(entry)\n            place = (place - 1) % len(self._entries)\n",
        ),
        (
            "        place = self._home(entry[0])\n        while self._entries[place] is not None:\n"
            "            place = (place + 1) % len(self._entries)\n",
            "        place = self._home(entry[0])\n        while self._entries[place] is not None:\n"
            "            place = (place - 1) % len(self._entries)\n",
        ),
    ),
    edit(
        "plain_remainders",
        "HashMap",
        "The hash modulo an odd number of places, which grows by factors of three and starts with one place.",
        ("(hashed * 0x9E3779B97F4A7C15 >> 32) % len", "hashed % len"),
        ("[None] * 8", "[None]"),
        ("[None] * (2 * len(entries))", "[None] * (3 * len(entries) + 2)"),
        ("        if 3 * self._n_free < len(self._entries):", "        if 2 * self._n_free < len(self._entries):"),
    ),
    edit(
        "many_places_from_the_beginning",
        "HashMap",
        "A thousand places for nothing, and sparse ones later.",
        ("[None] * 8", "[None] * 1024"),
        ("        if 3 * self._n_free < len(self._entries):", "        if 4 * self._n_free < 3 * len(self._entries):"),
    ),
    edit(
        "a_list_of_items_in_a_list",
        "HashMap",
        "items() is a list, and the iterator one of a list.",
        ("(entry[1:] for entry in self._entries if entry is not None)", "[(k, v) for _, k, v in filter(None, self._entries)]"),
        ("(key for key, _ in self.items())", "iter([key for key, _ in self.items()])"),
    ),
    edit(
        "two_sorts",
        "Vocabulary",
        "A stable sort after another: by text, then by count, falling.",
        (
            "*sorted(frequent, key=lambda token: (-counts[token], token))",
            "*sorted(sorted(frequent), key=lambda token: counts[token], reverse=True)",
        ),
    ),
    edit(
        "a_hash_map_of_our_own",
        "Vocabulary",
        "The ids are in the HashMap of the exercise before.",
        (
            "self._ids = {token: i for i, token in enumerate(self._tokens)}  # a dict is a HashMap written in C\n",
            "self._ids = HashMap()\n        for i, token in enumerate(self._tokens):\n            self._ids[token] = i\n",
        ),
    ),
    edit(
        "asked_one_by_one",
        "Vocabulary",
        "Unknown tokens raise KeyError, ids that no token has IndexError.",
        (
            "        unknown = self._ids.get(UNK)\n        ids = [self._ids.get(token, unknown) for token in tokens]\n"
            "        if None in ids:\n"
            '            raise ValueError(f"there is a token that is not in the vocabulary, which has no {UNK} either")\n'
            "        return ids\n",
            "        return [self._ids[token if token in self._ids or UNK not in self._ids else UNK] for token in tokens]\n",
        ),
        (
            "        ids = list(ids)\n        if ids and not 0 <= min(ids) <= max(ids) < len(self):\n"
            '            raise ValueError(f"ids must be from 0 to {len(self) - 1}, not from {min(ids)} to {max(ids)}")\n'
            "        return [self._tokens[i] for i in ids]\n",
            "        return [self._tokens[i if i >= 0 else len(self)] for i in ids]\n",
        ),
    ),
    edit(
        "a_counter_of_pairs",
        "count_pairs",
        "A Counter, which is a dict, and pairwise instead of zip.",
        (
            "    pair_counts: dict[Pair, int] = {}\n",
            "    import collections\n    from itertools import pairwise\n\n    pair_counts = collections.Counter()\n",
        ),
        ("for pair in zip(word, word[1:]):", "for pair in pairwise(word):"),
        ("pair_counts[pair] = pair_counts.get(pair, 0) + count", "pair_counts[pair] += count"),
    ),
    edit(
        "from_right_to_left_by_index",
        "count_pairs",
        "Indices from the end.",
        (
            "        for pair in zip(word, word[1:]):\n",
            "        for i in range(len(word) - 1, 0, -1):\n            pair = (word[i - 1], word[i])\n",
        ),
    ),
    edit(
        "all_pairs_are_looked_at",
        "train_bpe",
        "max over all pairs at each merge, without a heap.",
        (
            "    heap = [Falling((count, pair)) for pair, count in pair_counts.items()]\n    heapq.heapify(heap)\n",
            "    heap = pair_counts\n",
        ),
        (
            "        count, best = heapq.heappop(heap)\n        if pair_counts[best] != count:\n"
            "            continue  # an entry from before a change, after which the pair was pushed anew\n",
            "        best = max(pair_counts, key=lambda pair: (pair_counts[pair], pair))\n",
        ),
        (
            "            if pair_counts[pair] > 0:\n                heapq.heappush(heap, Falling((pair_counts[pair], pair)))\n",
            "            if pair_counts[pair] == 0:\n                del pair_counts[pair]\n",
        ),
    ),
    edit(
        "all_pairs_are_sorted",
        "train_bpe",
        "All pairs are sorted at each merge, and counts of 0 stay among them.",
        (
            "    heap = [Falling((count, pair)) for pair, count in pair_counts.items()]\n    heapq.heapify(heap)\n",
            "    heap = pair_counts\n",
        ),
        (
            "        count, best = heapq.heappop(heap)\n        if pair_counts[best] != count:\n"
            "            continue  # an entry from before a change, after which the pair was pushed anew\n",
            "        count, best = sorted((count, pair) for pair, count in pair_counts.items())[-1]\n"
            "        if count == 0:\n            break\n",
        ),
        (
            "            if pair_counts[pair] > 0:\n                heapq.heappush(heap, Falling((pair_counts[pair], pair)))\n",
            "            pass\n",
        ),
    ),
    edit(
        "ranks_in_reverse",
        "encode_bpe",
        "The ranks from the list's end to its beginning, so that the first place is written last.",
        (
            "    for rank, pair in enumerate(merges):\n        ranks.setdefault(pair, rank)\n",
            "    ranks = {pair: rank for rank, pair in reversed(list(enumerate(merges)))}\n",
        ),
    ),
]


@alternative("HashMap", "A Mapping: some methods are inherited; keys, values and marks in lists beside each other.")
class lists_beside_each_other(Mapping):
    _free, _gone = object(), object()

    def __init__(self):
        self._keys = [self._free] * 16
        self._values = [None] * 16
        self._used = self._n = 0

    def __len__(self):
        return self._n

    def _where(self, key):
        i, mask = hash(key), len(self._keys) - 1
        perturb = i & 0xFFFFFFFFFFFFFFFF
        reusable = None
        while True:
            i &= mask
            there = self._keys[i]
            if there is self._free:
                return (i if reusable is None else reusable), False
            if there is self._gone:
                reusable = i if reusable is None else reusable
            elif there is key or there == key:
                return i, True
            perturb >>= 5
            i = 5 * i + perturb + 1

    def __getitem__(self, key):
        i, found = self._where(key)
        if not found:
            raise KeyError(key)
        return self._values[i]

    def __setitem__(self, key, value):
        i, found = self._where(key)
        self._values[i] = value
        if found:
            return
        self._used += self._keys[i] is self._free
        self._keys[i] = key
        self._n += 1
        if 3 * self._used >= 2 * len(self._keys):
            old = list(self.items())
            size = 16
            while size < 3 * self._n:
                size *= 2
            self._keys, self._values = [self._free] * size, [None] * size
            self._used = self._n = 0
            for k, v in old:
                self[k] = v

    def __delitem__(self, key):
        i, found = self._where(key)
        if not found:
            raise KeyError(key)
        self._keys[i], self._values[i] = self._gone, None
        self._n -= 1

    def __iter__(self):
        for key in self._keys:
            if key is not self._free and key is not self._gone:
                yield key

    def items(self):
        return [(key, value) for key, value in zip(self._keys, self._values) if key is not self._free and key is not self._gone]


@alternative("HashMap", "Entries in the order of insertion, as dict has them, and a sparse list of their indices.")
class in_the_order_of_insertion:
    __slots__ = ("indices", "rows", "n")

    def __init__(self):
        self.indices, self.rows, self.n = [-1] * 8, [], 0

    def __len__(self):
        return self.n

    def _slot(self, key, code):
        step = 1 + 2 * (abs(code) // 7 % 64)
        slot = code % len(self.indices)
        while self.indices[slot] >= 0:
            row = self.rows[self.indices[slot]]
            if row is not None and row[0] == code and (row[1] is key or row[1] == key):
                return slot, row
            slot = (slot + step) % len(self.indices)
        return slot, None

    def __setitem__(self, key, value):
        code = hash(key)
        slot, row = self._slot(key, code)
        if row is not None:
            row[2] = value
            return
        self.indices[slot] = len(self.rows)
        self.rows.append([code, key, value])
        self.n += 1
        if 2 * len(self.rows) > len(self.indices):
            self.rows = [row for row in self.rows if row is not None]
            self.indices = [-1] * max(8, 1 << (4 * self.n).bit_length())
            for i, row in enumerate(self.rows):
                slot, _ = self._slot(row[1], row[0])
                self.indices[slot] = i

    def __getitem__(self, key):
        _, row = self._slot(key, hash(key))
        if row is None:
            raise KeyError(key)
        return row[2]

    def __delitem__(self, key):
        slot, row = self._slot(key, hash(key))
        if row is None:
            raise KeyError(key)
        self.rows[self.indices[slot]] = None
        self.n -= 1

    def __contains__(self, key):
        return self._slot(key, hash(key))[1] is not None

    def get(self, key, default=None):
        try:
            return self[key]
        except KeyError:
            return default

    def __iter__(self):
        return iter([row[1] for row in self.rows if row is not None])

    def items(self):
        for row in self.rows:
            if row is not None:
                yield row[1], row[2]


@alternative(
    "HashMap", "Robin Hood hashing: whoever is further from home takes the place; entries are objects; it shrinks as well."
)
class the_poor_take_from_the_rich:
    class Entry:
        def __init__(self, code, key, value):
            self.code, self.key, self.value = code, key, value

    def __init__(self):
        self.cells, self.count = [None] * 4, 0

    def __len__(self):
        return self.count

    def _distance(self, entry, place):
        return (place - entry.code) % len(self.cells)

    def _place(self, key):
        code = hash(key)
        place = code % len(self.cells)
        far = 0
        while self.cells[place] is not None and self._distance(self.cells[place], place) >= far:
            entry = self.cells[place]
            if entry.code == code and (entry.key is key or entry.key == key):
                return place
            place, far = (place + 1) % len(self.cells), far + 1
        return None

    def _insert(self, entry):
        place, far = entry.code % len(self.cells), 0
        while self.cells[place] is not None:
            there = self._distance(self.cells[place], place)
            if there < far:
                entry, self.cells[place] = self.cells[place], entry
                far = there
            place, far = (place + 1) % len(self.cells), far + 1
        self.cells[place] = entry

    def _resize(self, size):
        old, self.cells = self.cells, [None] * size
        for entry in old:
            if entry is not None:
                self._insert(entry)

    def __setitem__(self, key, value):
        place = self._place(key)
        if place is not None:
            self.cells[place].value = value
            return
        if 2 * (self.count + 1) > len(self.cells):
            self._resize(2 * len(self.cells))
        self._insert(self.Entry(hash(key), key, value))
        self.count += 1

    def __getitem__(self, key):
        place = self._place(key)
        if place is None:
            raise KeyError(repr(key))
        return self.cells[place].value

    def __delitem__(self, key):
        place = self._place(key)
        if place is None:
            raise KeyError(repr(key))
        following = (place + 1) % len(self.cells)
        while self.cells[following] is not None and self._distance(self.cells[following], following) > 0:
            self.cells[place] = self.cells[following]
            place, following = following, (following + 1) % len(self.cells)
        self.cells[place] = None
        self.count -= 1
        if len(self.cells) > 4 and 8 * self.count < len(self.cells):
            self._resize(len(self.cells) // 2)

    def __contains__(self, key):
        return self._place(key) is not None

    def get(self, key, default=None):
        return self[key] if key in self else default

    def __iter__(self):
        yield from (entry.key for entry in self.cells if entry is not None)

    def items(self):
        return tuple((entry.key, entry.value) for entry in self.cells if entry is not None)


@alternative("Trie", "Dictionaries in dictionaries; the key None marks the end of a word.")
class dictionaries_all_the_way_down:
    def __init__(self):
        self.root = {}

    def insert(self, word):
        if word == "":
            raise ValueError("no empty words")
        node = self.root
        for letter in word:
            node = node.setdefault(letter, {})
        node[None] = word

    def __contains__(self, word):
        node = self.root
        for letter in word:
            if letter not in node:
                return False
            node = node[letter]
        return None in node

    def longest_prefix(self, text, start=0):
        if start < 0 or start > len(text):
            raise IndexError(start)
        node, found = self.root, ""
        while True:
            found = node.get(None, found)
            if start == len(text) or text[start] not in node:
                return found
            node = node[text[start]]
            start += 1


@alternative("Trie", "The words in one sorted list: a walk narrows the part of it that begins like the text.")
class a_sorted_list_of_words:
    def __init__(self):
        self.words = []

    def insert(self, word):
        import bisect

        if not word:
            raise ValueError(word)
        i = bisect.bisect_left(self.words, word)
        if self.words[i : i + 1] != [word]:
            self.words.insert(i, word)

    def __contains__(self, word):
        import bisect

        i = bisect.bisect_left(self.words, word)
        return self.words[i : i + 1] == [word]

    def longest_prefix(self, text, start=0):
        import bisect

        if not 0 <= start <= len(text):
            raise ValueError(start)
        low, best = 0, ""
        for end in range(start + 1, len(text) + 1):
            prefix = text[start:end]
            low = bisect.bisect_left(self.words, prefix, low)
            if low == len(self.words) or not self.words[low].startswith(prefix):
                break
            if self.words[low] == prefix:
                best = prefix
        return best


@alternative("Trie", "A node is its character, a first child and a next sibling; insertion and search call themselves.")
class children_in_a_chain:
    def __init__(self, character=None):
        self.character, self.child, self.sibling, self.end = character, None, None, False

    def _step(self, character):
        node = self.child
        while node is not None and node.character != character:
            node = node.sibling
        return node

    def insert(self, word):
        if len(word) == 0:
            raise ValueError("empty")
        self._insert(word, 0)

    def _insert(self, word, i):
        if i == len(word):
            self.end = True
            return
        node = self._step(word[i])
        if node is None:
            node = type(self)(word[i])
            node.sibling, self.child = self.child, node
        node._insert(word, i + 1)

    def __contains__(self, word):
        node = self
        for character in word:
            node = node._step(character)
            if node is None:
                return False
        return node.end

    def longest_prefix(self, text, start=0):
        if start not in range(len(text) + 1):
            raise ValueError("start")
        return text[start : start + (self._longest(text, start, 0) or 0)]

    def _longest(self, text, i, depth):
        node = self._step(text[i]) if i < len(text) else None
        longer = node._longest(text, i + 1, depth + 1) if node is not None else None
        return longer if longer is not None else depth if self.end else None


@alternative(
    "max_match", "What is left of the text is cut off at each step, and the words are asked for one length after the other."
)
def the_rest_of_the_text(text, trie, unk):
    def pieces():
        rest = text
        while rest:
            word = trie.longest_prefix(rest)
            yield word if word else unk
            rest = rest[max(1, len(word)) :]

    return list(pieces())


@alternative("max_match", "A walk over all places, passing over those inside of a word.")
def places_passed_over(text, trie, unk):
    result, busy = [], 0
    for i in range(len(text)):
        if i < busy:
            continue
        word = trie.longest_prefix(text, start=i)
        result += [word] if word != "" else [unk]
        busy = i + len(word)
    return result


@alternative(
    "count_pairs", "Pairs repeated as often as they occur would be too many: products of counts, summed by a comprehension."
)
def summed_by_pair(words):
    places = [((word[i], word[i + 1]), count) for word, count in words.items() for i in range(max(0, len(word) - 1))]
    counts = dict.fromkeys((pair for pair, _ in places), 0)
    for pair, count in places:
        counts[pair] += count
    return counts


@alternative("bpe_merge", "An iterator, and the id before it, which is held back until it is known what follows.")
def held_back(ids, pair, new_id):
    nothing = object()
    result, waiting = [], nothing
    for each in ids:
        if waiting is nothing:
            waiting = each
        elif waiting == pair[0] and each == pair[1]:
            result.append(new_id)
            waiting = nothing
        else:
            result.append(waiting)
            waiting = each
    return result if waiting is nothing else [*result, waiting]


@alternative("bpe_merge", "The places are found first, then cut out from the end to the beginning of a copy.")
def cut_out_from_the_end(ids, pair, new_id):
    ids, places, free = list(ids), [], 0
    for i, two in enumerate(zip(ids, ids[1:])):
        if i >= free and two[0] == pair[0] and two[1] == pair[1]:
            places.append(i)
            free = i + 2
    for i in reversed(places):
        ids[i : i + 2] = [new_id]
    return ids


@alternative("train_bpe", "Differences of whole words, words by pair in lists that may be out of date.")
def differences_of_counters(word_counts, n_merges):
    from itertools import pairwise

    if n_merges < 0:
        raise ValueError(n_merges)
    words = [tuple(word) for word in word_counts]
    weights = [word_counts[word] for word in word_counts]
    totals, holders, merges = {}, {}, []

    def change(i, sign):
        for pair in pairwise(words[i]):
            totals[pair] = totals.get(pair, 0) + sign * weights[i]
            if sign > 0:
                holders.setdefault(pair, []).append(i)
            elif totals[pair] == 0:
                del totals[pair]

    for i in range(len(words)):
        change(i, 1)
    for _ in range(n_merges):
        if not totals:
            break
        top = max(totals.values())
        best = max(pair for pair, total in totals.items() if total == top)
        merges.append(best)
        for i in dict.fromkeys(holders.pop(best)):
            if best in pairwise(words[i]):
                change(i, -1)
                words[i] = tuple(bpe_merge(words[i], best, best[0] + best[1]))
                change(i, 1)
    return merges


@alternative("train_bpe", "Symbols have numbers, a symbol that comes about in two ways only one; pairs of numbers are counted.")
def numbers_for_symbols(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges must not be negative")
    symbols, numbers = [], {}

    def number(symbol):
        if symbol not in numbers:
            numbers[symbol] = len(symbols)
            symbols.append(symbol)
        return numbers[symbol]

    rows = [[number(symbol) for symbol in word] for word in word_counts]
    weights = list(word_counts.values())
    table = {}  # pair of numbers -> [count, {row: places}]
    for r, row in enumerate(rows):
        for pair in zip(row, row[1:]):
            entry = table.setdefault(pair, [0, {}])
            entry[0] += weights[r]
            entry[1][r] = entry[1].get(r, 0) + 1
    merges = []
    while table and len(merges) < n_merges:
        a, b = max(table, key=lambda pair: (table[pair][0], (symbols[pair[0]], symbols[pair[1]])))
        merges.append((symbols[a], symbols[b]))
        new = number(symbols[a] + symbols[b])
        for r in [*table[a, b][1]]:
            for row, sign in ((rows[r], -1), (bpe_merge(rows[r], (a, b), new), 1)):
                for pair in zip(row, row[1:]):
                    entry = table.setdefault(pair, [0, {}])
                    entry[0] += sign * weights[r]
                    entry[1][r] = entry[1].get(r, 0) + sign
                    if entry[1][r] == 0:
                        del entry[1][r]
                    if not entry[1]:
                        del table[pair]
            rows[r] = row
    return merges


@alternative("encode_bpe", "A heap of ranks and places, one merge at a time, over a chain of neighbours.")
def a_heap_of_places(ids, merges):

    ranks = dict(zip(reversed(merges), range(len(merges) - 1, -1, -1)))
    symbols = list(ids)
    after = [*range(1, len(symbols)), -1][: len(symbols)]
    before = list(range(-1, len(symbols) - 1))
    heap = [(ranks[pair], i, pair) for i, pair in enumerate(zip(symbols, symbols[1:])) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        _, i, pair = heapq.heappop(heap)
        j = after[i] if symbols[i] is not None else -1
        if j < 0 or (symbols[i], symbols[j]) != pair:
            continue
        symbols[i], symbols[j] = pair[0] + pair[1], None
        after[i] = after[j]
        if after[i] >= 0:
            before[after[i]] = i
        for left in (before[i], i):
            right = after[left] if left >= 0 else -1
            if right >= 0 and (symbols[left], symbols[right]) in ranks:
                heapq.heappush(heap, (ranks[symbols[left], symbols[right]], left, (symbols[left], symbols[right])))
    return [symbol for symbol in symbols if symbol is not None]


@alternative("encode_bpe", "Through the list from its beginning after every merge.")
def from_the_beginning_after_every_merge(ids, merges):
    word = list(ids)
    again = True
    while again:
        again = False
        for a, b in merges:
            merged = bpe_merge(word, (a, b), a + b)
            if len(merged) < len(word):
                word, again = merged, True
                break
    return word


@alternative("encode_bpe", "Places one at a time, in a copy, the leftmost of the lowest rank.")
def one_place_at_a_time(ids, merges):
    word, ranks = [*ids], {}
    for pair in merges:
        ranks[pair] = ranks.get(pair, len(ranks))
    while True:
        ranked = [(ranks[pair], i) for i, pair in enumerate(zip(word, word[1:])) if pair in ranks]
        if not ranked:
            return word
        i = min(ranked)[1]
        word[i : i + 2] = [word[i] + word[i + 1]]


@alternative("unigram_segment", "Forwards: from each place that can be reached to the ends of the pieces that begin there.")
def forwards(text, log_probs):
    best = {0: (0.0, None)}
    lengths = sorted({len(piece) for piece, log_prob in log_probs.items() if piece and log_prob != -math.inf})
    for start in range(len(text)):
        if start in best:
            for length in lengths:
                piece = text[start : start + length]
                if len(piece) == length and piece in log_probs and log_probs[piece] != -math.inf:
                    total = best[start][0] + log_probs[piece]
                    if start + length not in best or total >= best[start + length][0]:
                        best[start + length] = (total, piece)
    if len(text) not in best:
        raise ValueError(text[:20])
    place, pieces = len(text), []
    while place:
        pieces.insert(0, best[place][1])
        place -= len(pieces[0])
    return pieces, best[len(text)][0]


@alternative("unigram_segment", "From the end of the text to its beginning, each rest with its pieces as a chain of pairs.")
def from_the_end(text, log_probs):
    rests = [None] * len(text) + [(0.0, ())]
    longest = max((len(piece) for piece in log_probs), default=0)
    for start in reversed(range(len(text))):
        for end in range(start + 1, min(len(text), start + longest) + 1):
            log_prob = log_probs.get(text[start:end])
            if log_prob is None or math.isinf(log_prob) or rests[end] is None:
                continue
            if rests[start] is None or log_prob + rests[end][0] > rests[start][0]:
                rests[start] = (log_prob + rests[end][0], (text[start:end], rests[end][1]))
    if rests[0] is None:
        raise ValueError("impossible")
    total, chain = rests[0]
    pieces = []
    while chain:
        piece, chain = chain
        pieces.append(piece)
    return pieces, float(total)


@alternative("unigram_segment", "The pieces in a trie of characters, and the sum over the pieces at the end, with fsum.")
def pieces_in_a_trie(text, log_probs):
    root = {}
    for piece, log_prob in log_probs.items():
        node = root
        for character in piece:
            node = node.setdefault(character, {})
        if piece and log_prob > -math.inf:
            node["log_prob"] = log_prob
    totals = [0.0] + [-math.inf] * len(text)
    last = [0] * (len(text) + 1)
    for start in range(len(text)):
        if totals[start] == -math.inf:
            continue
        node = root
        for end in range(start + 1, len(text) + 1):
            node = node.get(text[end - 1])
            if node is None:
                break
            if totals[start] + node.get("log_prob", -math.inf) > totals[end]:
                totals[end], last[end] = totals[start] + node["log_prob"], start
    if totals[-1] == -math.inf:
        raise ValueError("no segmentation")
    cuts = [len(text)]
    while cuts[-1]:
        cuts.append(last[cuts[-1]])
    pieces = [text[a:b] for b, a in zip(cuts, cuts[1:])][::-1]
    return pieces, math.fsum(log_probs[piece] for piece in pieces)


@alternative("unigram_segment", "The shortest way through the text, by Dijkstra's algorithm: the lengths are -log p.")
def the_shortest_way(text, log_probs):
    edges = [(piece, -log_prob) for piece, log_prob in log_probs.items() if piece and log_prob != -math.inf]
    done, heap = {}, [(0.0, 0, "", 0)]
    while heap and len(text) not in done:
        length, place, piece, parent = heapq.heappop(heap)
        if place in done:
            continue
        done[place] = (length, piece, parent)
        for piece, cost in edges:
            if text.startswith(piece, place):
                heapq.heappush(heap, (length + cost, place + len(piece), piece, place))
    if len(text) not in done:
        raise ValueError("there is no way")
    pieces, place = [], len(text)
    while place:
        _, piece, place = done[place]
        pieces.append(piece)
    pieces.reverse()
    return pieces, 0.0 - done[len(text)][0]


@alternative("HashMap", "Two places for each key, one of each half: cuckoo hashing, with a short list for those that find none.")
class two_places_for_each_key:
    def __init__(self):
        self.halves = [[None] * 8, [None] * 8]
        self.rest = []
        self.n = 0

    def _candidates(self, code):
        m = len(self.halves[0])
        return (0, code % m), (1, (code * 2654435761 >> 16) % m)

    def _entry(self, key):
        code = hash(key)
        for half, place in self._candidates(code):
            entry = self.halves[half][place]
            if entry and entry[0] == code and (entry[1] is key or entry[1] == key):
                return entry
        for entry in self.rest:
            if entry[0] == code and (entry[1] is key or entry[1] == key):
                return entry
        return None

    def _put(self, entry):
        half = 0
        for _ in range(20):
            _, place = self._candidates(entry[0])[half]
            entry, self.halves[half][place] = self.halves[half][place], entry
            if entry is None:
                return
            half = 1 - half
        self.rest.append(entry)

    def __len__(self):
        return self.n

    def __setitem__(self, key, value):
        entry = self._entry(key)
        if entry:
            entry[2] = value
            return
        self._put([hash(key), key, value])
        self.n += 1
        m = len(self.halves[0])
        if self.n > 0.8 * m or (len(self.rest) > 4 and self.n * 8 > m):
            entries = self._entries()
            self.halves, self.rest = [[None] * (2 * m), [None] * (2 * m)], []
            for each in entries:
                self._put(each)

    def _entries(self):
        return [entry for row in (*self.halves, self.rest) for entry in row if entry]

    def __getitem__(self, key):
        entry = self._entry(key)
        if entry is None:
            raise KeyError(key)
        return entry[2]

    def __delitem__(self, key):
        entry = self._entry(key)
        if entry is None:
            raise KeyError(key)
        for half, place in self._candidates(entry[0]):
            if self.halves[half][place] is entry:
                self.halves[half][place] = None
        self.rest = [other for other in self.rest if other is not entry]
        self.n -= 1

    def __contains__(self, key):
        return self._entry(key) is not None

    def get(self, key, default=None):
        entry = self._entry(key)
        return entry[2] if entry else default

    def __iter__(self):
        return iter([entry[1] for entry in self._entries()])

    def items(self):
        return [(key, value) for _, key, value in self._entries()]


@alternative("HashMap", "Two lists while it grows, and a few entries moved with every operation.")
class moves_a_few_at_a_time:
    """Two tables while it grows, a few entries moved with every operation."""

    def __init__(self):
        self.old = []
        self.moved = 0
        self.new = [None] * 8
        self.n = 0

    def __len__(self):
        return self.n

    def _find(self, table, key, h):
        i = h % len(table)
        while table[i] is not None:
            if table[i] is not False and table[i][0] == h and (table[i][1] is key or table[i][1] == key):
                return i
            i = (i + 1) % len(table)
        return -1

    def _add(self, entry):
        i = entry[0] % len(self.new)
        while self.new[i]:
            i = (i + 1) % len(self.new)
        if self.new[i] is None:
            self.used += 1
        self.new[i] = entry

    used = 0

    def _step(self):
        for _ in range(6):
            if self.moved < len(self.old):
                e = self.old[self.moved]
                if e:
                    self._add(e)
                    self.old[self.moved] = False
                self.moved += 1
        if self.moved >= len(self.old):
            self.old = []
            self.moved = 0

    def _locate(self, key):
        h = hash(key)
        for t in (self.old, self.new) if self.old else (self.new,):
            i = self._find(t, key, h)
            if i >= 0:
                return (t, i)
        return (None, -1)

    def __setitem__(self, key, value):
        t, i = self._locate(key)
        if t is not None:
            t[i][2] = value
            return
        self._step()
        if 2 * (self.used + 1) > len(self.new):
            while self.old:
                self._step()
            self.old, self.moved = (self.new, 0)
            size = 8
            while size < 6 * (self.n + 1):
                size *= 2
            self.new = [None] * size
            self.used = 0
        self._add([hash(key), key, value])
        self.n += 1

    def __getitem__(self, key):
        t, i = self._locate(key)
        if t is None:
            raise KeyError(key)
        return t[i][2]

    def __delitem__(self, key):
        t, i = self._locate(key)
        if t is None:
            raise KeyError(key)
        t[i] = False
        self.n -= 1
        self._step()

    def __contains__(self, key):
        return self._locate(key)[0] is not None

    def get(self, key, default=None):
        t, i = self._locate(key)
        return default if t is None else t[i][2]

    def __iter__(self):
        return iter([k for k, _ in self.items()])

    def items(self):
        return [(e[1], e[2]) for t in (self.old, self.new) for e in t if e]


@alternative("HashMap", "Entries of a data class, a deletion that shifts back, and half the places when few entries are left.")
class shrinks_below_a_sixth:
    """dataclass entries, backward shift, shrinks at a sixth."""

    def __init__(self):
        import dataclasses

        @dataclasses.dataclass(eq=False, slots=True)
        class Entry:
            hash: int
            key: object
            value: object

        self.Entry = Entry
        self.t = [None] * 8
        self.n = 0

    def __len__(self):
        return self.n

    def _find(self, key):
        h = hash(key)
        i = h % len(self.t)
        for j in range(len(self.t)):
            e = self.t[(i + j) % len(self.t)]
            if e is None or (e.hash == h and (e.key is key or e.key == key)):
                return (i + j) % len(self.t)
        raise RuntimeError

    def _resize(self, m):
        old = self.t
        self.t = [None] * m
        for e in old:
            if e:
                i = e.hash % m
                while self.t[i]:
                    i = (i + 1) % m
                self.t[i] = e

    def __setitem__(self, key, value):
        i = self._find(key)
        if self.t[i]:
            self.t[i].value = value
            return
        self.t[i] = self.Entry(hash(key), key, value)
        self.n += 1
        if self.n > len(self.t) // 2:
            self._resize(2 * len(self.t))

    def __getitem__(self, key):
        e = self.t[self._find(key)]
        if not e:
            raise KeyError(key)
        return e.value

    def __delitem__(self, key):
        i = self._find(key)
        if not self.t[i]:
            raise KeyError(key)
        m = len(self.t)
        j = i
        while True:
            self.t[i] = None
            while True:
                j = (j + 1) % m
                if self.t[j] is None:
                    break
                k = self.t[j].hash % m
                if not (i < k <= j if i <= j else i < k or k <= j):
                    break
            if self.t[j] is None:
                break
            self.t[i] = self.t[j]
            i = j
        self.n -= 1
        if m > 8 and self.n < m // 6:
            self._resize(m // 2)

    def __contains__(self, key):
        return self.t[self._find(key)] is not None

    def get(self, key, default=None):
        e = self.t[self._find(key)]
        return e.value if e else default

    def __iter__(self):
        return iter([e.key for e in self.t if e])

    def items(self):
        return [(e.key, e.value) for e in self.t if e]


@alternative("HashMap", "Separate chaining: each place has a list of entries.")
class a_list_for_each_place:
    """Separate chaining with nodes in lists."""

    def __init__(self):
        self.b = [[] for _ in range(8)]
        self.n = 0

    def _bucket(self, key):
        return self.b[hash(key) % len(self.b)]

    def __len__(self):
        return self.n

    def __setitem__(self, key, value):
        b = self._bucket(key)
        for i, (k, _) in enumerate(b):
            if k is key or k == key:
                b[i] = (k, value)
                return
        b.append((key, value))
        self.n += 1
        if self.n > len(self.b):
            it = list(self.items())
            self.b = [[] for _ in range(2 * len(self.b))]
            for k, v in it:
                self._bucket(k).append((k, v))

    def __getitem__(self, key):
        for k, v in self._bucket(key):
            if k is key or k == key:
                return v
        raise KeyError(key)

    def __delitem__(self, key):
        b = self._bucket(key)
        for i, (k, _) in enumerate(b):
            if k is key or k == key:
                del b[i]
                self.n -= 1
                return
        raise KeyError(key)

    def __contains__(self, key):
        try:
            self[key]
            return True
        except KeyError:
            return False

    def get(self, key, default=None):
        try:
            return self[key]
        except KeyError:
            return default

    def __iter__(self):
        return (k for b in self.b for k, _ in b)

    def items(self):
        return ((k, v) for b in self.b for k, v in b)


@alternative("Vocabulary", "Slots, a tuple of the tokens, and their order by text, in which they are looked for by bisection.")
class found_by_bisection:
    __slots__ = ("tokens", "order", "unk")

    def __init__(self, tokens):
        self.tokens = tuple(tokens)
        self.order = sorted(range(len(self.tokens)), key=self.tokens.__getitem__)
        for a, b in zip(self.order, self.order[1:]):
            if self.tokens[a] == self.tokens[b]:
                raise ValueError(self.tokens[a])
        self.unk = self._find(UNK)

    def _find(self, t):
        import bisect

        i = bisect.bisect_left(self.order, t, key=self.tokens.__getitem__)
        return self.order[i] if i < len(self.order) and self.tokens[self.order[i]] == t else None

    @classmethod
    def from_counts(cls, counts, specials, min_count=1):
        from itertools import chain

        levels = {}
        for t in sorted(counts):
            levels.setdefault(counts[t], []).append(t)
        return cls(
            chain(specials, (t for c in sorted(levels, reverse=True) if c >= min_count for t in levels[c] if t not in specials))
        )

    def __len__(self):
        return len(self.tokens)

    def __contains__(self, t):
        return self._find(t) is not None

    def encode(self, tokens):
        out = []
        for t in tokens:
            i = self._find(t)
            if i is None:
                i = self.unk
            if i is None:
                raise ValueError(t)
            out.append(i)
        return out

    def decode(self, ids):

        def one(i):
            if i < 0:
                raise IndexError(i)
            return self.tokens[i]

        return [one(i) for i in ids]


@alternative("Vocabulary", "The vocabulary is a dict whose __missing__ knows about unknown tokens.")
class a_dict_with_a_missing_method(dict):
    def __init__(self, tokens):
        for t in tokens:
            if t in self.keys():
                raise ValueError(t)
            self[t] = len(self)
        self.back = {i: t for t, i in self.items()}

    def __missing__(self, key):
        if UNK in self:
            return self[UNK]
        raise KeyError(key)

    @classmethod
    def from_counts(cls, counts, specials, min_count=1):
        s = set(specials)
        return cls(
            list(specials) + sorted((t for t in counts if counts[t] >= min_count and t not in s), key=lambda t: (-counts[t], t))
        )

    def encode(self, tokens):
        return [self[t] for t in tokens]

    def decode(self, ids):
        try:
            return [self.back[int(i)] for i in ids]
        except KeyError:
            raise ValueError("no such id") from None


@alternative("Trie", "No nodes: a set of words and one of all their beginnings.")
class a_set_of_all_beginnings:
    def __init__(self):
        self.words = set()
        self.prefixes = set()

    def insert(self, word):
        if word == "":
            raise ValueError("empty")
        self.words.add(word)
        self.prefixes.update(word[:i] for i in range(1, len(word) + 1))

    def __contains__(self, word):
        return word in self.words

    def longest_prefix(self, text, start=0):
        if start < 0 or start > len(text):
            raise ValueError
        best = ""
        end = start + 1
        while end <= len(text) and text[start:end] in self.prefixes:
            if text[start:end] in self.words:
                best = text[start:end]
            end += 1
        return best


@alternative("Trie", "A radix tree: an edge is a text, split where words part.")
class edges_of_several_characters:
    """Edges of several characters (a radix tree)."""

    def __init__(self):
        self.kids = {}
        self.end = False

    def insert(self, word):
        if not word:
            raise ValueError("empty")
        node = self
        while word:
            c = word[0]
            if c not in node.kids:
                leaf = type(self)()
                leaf.end = True
                node.kids[c] = (word, leaf)
                return
            label, kid = node.kids[c]
            n = 0
            while n < len(label) and n < len(word) and (label[n] == word[n]):
                n += 1
            if n < len(label):
                mid = type(self)()
                mid.kids[label[n]] = (label[n:], kid)
                node.kids[c] = (label[:n], mid)
                kid = mid
            node, word = (kid, word[n:])
        node.end = True

    def __contains__(self, word):
        node = self
        while word:
            if word[0] not in node.kids:
                return False
            label, kid = node.kids[word[0]]
            if not word.startswith(label):
                return False
            node, word = (kid, word[len(label) :])
        return node.end

    def longest_prefix(self, text, start=0):
        if start < 0 or len(text) < start:
            raise ValueError
        node, i, best = (self, start, start)
        while i < len(text) and text[i] in node.kids:
            label, kid = node.kids[text[i]]
            if not text.startswith(label, i):
                break
            i += len(label)
            node = kid
            if node.end:
                best = i
        return text[start:best]


@alternative("Trie", "A sorted list of words; those that begin alike are a range, narrowed by bisection.")
class a_range_of_a_sorted_list:
    """sorted list and bisect: the words that begin alike are a range."""

    def __init__(self):
        self.words = []

    def insert(self, word):
        import bisect

        if not word:
            raise ValueError
        i = bisect.bisect_left(self.words, word)
        if self.words[i : i + 1] != [word]:
            self.words.insert(i, word)

    def __contains__(self, word):
        import bisect

        i = bisect.bisect_left(self.words, word)
        return self.words[i : i + 1] == [word]

    def longest_prefix(self, text, start=0):
        import bisect

        if not 0 <= start <= len(text):
            raise ValueError
        lo, hi, best = (0, len(self.words), "")
        for n in range(1, len(text) - start + 1):
            p = text[start : start + n]
            lo = bisect.bisect_left(self.words, p, lo, hi)
            hi = bisect.bisect_left(
                self.words, p[:-1] + chr(ord(p[-1]) + 1) if ord(p[-1]) < 1114111 else p + "\U0010ffff", lo, hi
            )
            if lo >= hi:
                break
            if self.words[lo] == p:
                best = p
        return best


@alternative("Trie", "One dictionary for all edges, from the number of a node and a character to a node.")
class numbers_for_nodes:
    """one dict keyed by (node number, character)."""

    def __init__(self):
        self.edges = {}
        self.ends = [False]

    def insert(self, word):
        if len(word) < 1:
            raise TypeError("empty")
        n = 0
        for c in word:
            if (n, c) not in self.edges:
                self.edges[n, c] = len(self.ends)
                self.ends.append(False)
            n = self.edges[n, c]
        self.ends[n] = True

    def __contains__(self, word):
        n = 0
        for c in word:
            n = self.edges.get((n, c))
            if n is None:
                return False
        return self.ends[n]

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise ValueError(start)
        n = 0
        i = start
        last = start
        while i < len(text) and (n := self.edges.get((n, text[i]), -1)) >= 0:
            i += 1
            if self.ends[n]:
                last = i
        return text[start:last]


@alternative("Trie", "The bytes of the UTF-8 encoding, each a list of 256 places.")
class bytes_inside:
    """bytes inside."""

    def __init__(self):
        self.root = [None] * 257

    def insert(self, word):
        data = word.encode("utf-8", "surrogatepass")
        if not data:
            raise ValueError
        n = self.root
        for b in data:
            if n[b] is None:
                n[b] = [None] * 257
            n = n[b]
        n[256] = True

    def __contains__(self, word):
        n = self.root
        for b in word.encode("utf-8", "surrogatepass"):
            n = n[b]
            if n is None:
                return False
        return bool(n[256])

    def longest_prefix(self, text, start=0):
        if start < 0 or start > len(text):
            raise ValueError
        n = self.root
        end = start
        for i in range(start, len(text)):
            for b in text[i].encode("utf-8", "surrogatepass"):
                n = n[b]
                if n is None:
                    return text[start:end]
            if n[256]:
                end = i + 1
        return text[start:end]


@alternative("max_match", "Asks for membership, from the longest piece to the shortest.")
def one_length_after_the_other(text, trie, unk):
    out, i = ([], 0)
    while i < len(text):
        for j in range(min(len(text), i + 8), i, -1):
            if text[i:j] in trie:
                break
        else:
            j = None
        w = trie.longest_prefix(text, i)
        if len(w) > 8:
            j = i + len(w)
        out.append(unk if j is None else text[i:j])
        i = i + 1 if j is None else j
    return out


@alternative("count_pairs", "A defaultdict, and words taken apart from the end.")
def popped_from_the_end(words):
    from collections import defaultdict

    out = defaultdict(int)
    for w in words:
        s = list(w)
        while len(s) > 1:
            b = s.pop()
            out[s[-1], b] += words[w]
    return out


@alternative("bpe_merge", "A copy that is written over in place, with an index for reading and one for writing.")
def two_indices_in_a_copy(ids, pair, new_id):
    out = list(ids)
    r = w = 0
    n = len(out)
    while r < n:
        if r + 1 < n and out[r] == pair[0] and (out[r + 1] == pair[1]):
            out[w] = new_id
            r += 2
        else:
            out[w] = out[r]
            r += 1
        w += 1
    del out[w:]
    return out


@alternative("train_bpe", "All symbols in chains, and for each pair the places where it stands.")
def chains_of_symbols(word_counts, n_merges):
    """linked lists and positions by pair."""
    if not n_merges >= 0:
        raise ValueError
    sym, prv, nxt, wt = ([], [], [], [])
    for word, c in word_counts.items():
        first = len(sym)
        for k, s in enumerate(word):
            sym.append(s)
            prv.append(len(sym) - 2 if k else -1)
            nxt.append(len(sym))
            wt.append(c)
        if len(sym) > first:
            nxt[-1] = -1
    count, where = ({}, {})

    def add(i, sign):
        j = nxt[i]
        p = (sym[i], sym[j])
        count[p] = count.get(p, 0) + sign * wt[i]
        if sign > 0:
            where.setdefault(p, set()).add(i)
        else:
            where[p].discard(i)
        if count[p] == 0:
            del count[p]

    for i in range(len(sym)):
        if nxt[i] >= 0:
            add(i, 1)
    merges = []
    while len(merges) < n_merges and count:
        p = max(count, key=lambda q: (count[q], q))
        merges.append(p)
        for i in sorted(where[p]):
            if sym[i] != p[0] or nxt[i] < 0 or sym[i] is None or (sym[nxt[i]] != p[1]):
                continue
            j = nxt[i]
            if prv[i] >= 0:
                add(prv[i], -1)
            add(i, -1)
            if nxt[j] >= 0:
                add(j, -1)
            sym[i] = p[0] + p[1]
            sym[j] = None
            nxt[i] = nxt[j]
            if nxt[j] >= 0:
                prv[nxt[j]] = i
            nxt[j] = -1
            if prv[i] >= 0:
                add(prv[i], 1)
            if nxt[i] >= 0:
                add(i, 1)
    return merges


@alternative("train_bpe", "Pairs in sets by their counts, so the most frequent are in the last one.")
def pairs_by_count(word_counts, n_merges):
    """pairs in buckets by count."""
    if n_merges < 0:
        raise ValueError
    words = [(list(w), c) for w, c in word_counts.items() if len(w) > 1]
    count = {}
    holds = {}
    bucket = {}

    def move(p, d):
        old = count.get(p, 0)
        new = old + d
        if old:
            bucket[old].discard(p)
            if not bucket[old]:
                del bucket[old]
        if new:
            bucket.setdefault(new, set()).add(p)
            count[p] = new
        else:
            count.pop(p, None)

    for n, (w, c) in enumerate(words):
        for p in zip(w, w[1:]):
            move(p, c)
            holds.setdefault(p, {})[n] = 1
    out = []
    while bucket and len(out) < n_merges:
        p = max(bucket[max(bucket)])
        out.append(p)
        for n in list(holds.pop(p)):
            w, c = words[n]
            old = list(zip(w, w[1:]))
            if p not in old:
                continue
            w = bpe_merge(w, p, p[0] + p[1])
            words[n] = (w, c)
            for q in old:
                move(q, -c)
            for q in zip(w, w[1:]):
                move(q, c)
                holds.setdefault(q, {})[n] = 1
    return out


@alternative("unigram_segment", "Recursion with a cache, for which Python's limit is raised.")
def calls_as_deep_as_the_text(text, log_probs):
    import functools
    import sys

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 20 * len(text) + 1000))
    sizes = sorted({len(p) for p, v in log_probs.items() if p and v > -math.inf})

    @functools.lru_cache(None)
    def go(i):
        if i == 0:
            return (0.0, None)
        found = (-math.inf, None)
        for n in sizes:
            if n <= i and text[i - n : i] in log_probs:
                lp = go(i - n)[0] + log_probs[text[i - n : i]]
                if lp > found[0]:
                    found = (lp, n)
        return found

    total = go(len(text))[0]
    if total == -math.inf:
        raise ValueError("no")
    out = []
    i = len(text)
    while i:
        n = go(i)[1]
        out.append(text[i - n : i])
        i -= n
    return (out[::-1], total)


@alternative("unigram_segment", "An array of NumPy's, whose numbers are handed back.")
def an_array_of_log_probabilities(text, log_probs):
    import numpy as np

    best = np.full(len(text) + 1, -np.inf)
    best[0] = 0
    back = [0] * (len(text) + 1)
    longest = max([*map(len, log_probs), 0])
    for e in range(1, len(text) + 1):
        for i in range(max(0, e - longest), e):
            lp = best[i] + log_probs.get(text[i:e], -np.inf)
            if lp > best[e]:
                best[e] = lp
                back[e] = i
    if best[-1] == -np.inf:
        raise ValueError
    out = []
    e = len(text)
    while e:
        out.append(text[back[e] : e])
        e = back[e]
    out.reverse()
    return (out, best[-1])


@alternative(
    "HashMap", "Robin Hood hashing: of two entries the one that is further from home has the place; moved back on deletion."
)
class robin_hood_hashing:
    def __init__(self, capacity: int = 16, *, load: float = 0.7):
        self.capacity, self.load = (capacity, load)
        self.slots = [()] * capacity
        self.size = 0

    def __len__(self):
        return self.size

    def _dist(self, i):
        return (i - self._h(self.slots[i][0])) % self.capacity

    def _h(self, hashed):
        return (hashed ^ hashed >> 7 ^ hashed >> 17) * 2654435761 % (2**61 - 1) % self.capacity

    def _where(self, key):
        h = hash(key)
        i = self._h(h)
        dist = 0
        while self.slots[i] and self._dist(i) >= dist:
            if self.slots[i][0] == h and (self.slots[i][1] is key or self.slots[i][1] == key):
                return i
            i = (i + 1) % self.capacity
            dist += 1
        return None

    def _insert(self, h, key, value):
        cell = (h, key, value)
        i = self._h(h)
        dist = 0
        while self.slots[i]:
            there = self._dist(i)
            if there < dist:
                self.slots[i], cell = (cell, self.slots[i])
                dist = there
            i = (i + 1) % self.capacity
            dist += 1
        self.slots[i] = cell
        self.size += 1

    def __setitem__(self, key, value):
        i = self._where(key)
        if i is not None:
            h, k, _ = self.slots[i]
            self.slots[i] = (h, k, value)
            return
        if self.size + 1 > self.load * self.capacity:
            old, self.capacity, self.size = (self.slots, self.capacity * 2, 0)
            self.slots = [()] * self.capacity
            for c in filter(None, old):
                self._insert(*c)
        self._insert(hash(key), key, value)

    def __getitem__(self, key):
        if (i := self._where(key)) is None:
            raise KeyError(repr(key))
        return self.slots[i][2]

    def __delitem__(self, key):
        if (i := self._where(key)) is None:
            raise KeyError(key)
        j = (i + 1) % self.capacity
        while self.slots[j] and self._dist(j) > 0:
            self.slots[i] = self.slots[j]
            i = j
            j = (j + 1) % self.capacity
        self.slots[i] = ()
        self.size -= 1

    def __contains__(self, key):
        return self._where(key) is not None

    def get(self, key, default=None):
        return default if (i := self._where(key)) is None else self.slots[i][2]

    def __iter__(self):
        return iter([c[1] for c in self.slots if c])

    def items(self):
        return [(c[1], c[2]) for c in self.slots if c]

    def __repr__(self):
        return f"HashMap({list(self.items())})"

    def __eq__(self, other):
        return isinstance(other, robin_hood_hashing) and sorted(self) == sorted(other)

    keys = __iter__


@alternative("HashMap", "Each place counts the entries whose way leads past it; items() is a view.")
class places_that_count_who_passes:
    from dataclasses import dataclass as _dc
    from dataclasses import field as _field

    @_dc(eq=False)
    class _Slot:
        key: object = None
        value: object = None
        hashed: int = 0
        full: bool = False
        passed: int = 0

    del _dc, _field

    def __init__(self):
        self._slots = [self._Slot() for _ in range(4)]
        self._len = 0

    def __len__(self):
        return self._len

    def _way(self, h):
        n = len(self._slots)
        i = (h ^ h >> 20 ^ h >> 12) * 31 % n
        for j in range(n):
            yield self._slots[(i + j * (j + 1) // 2) % n]

    def _slot(self, key):
        h = hash(key)
        for s in self._way(h):
            if s.full and s.hashed == h and (s.key is key or s.key == key):
                return s
            if not s.full and (not s.passed):
                return None
        return None

    def __setitem__(self, key, value):
        s = self._slot(key)
        if s is not None:
            s.value = value
            return
        if (self._len + 1) * 2 > len(self._slots):
            old = [s for s in self._slots if s.full]
            self._slots = [self._Slot() for _ in range(2 * len(self._slots))]
            for o in old:
                self._place(o.hashed, o.key, o.value)
        self._place(hash(key), key, value)
        self._len += 1

    def _place(self, h, key, value):
        for s in self._way(h):
            if not s.full:
                s.key, s.value, s.hashed, s.full = (key, value, h, True)
                return
            s.passed += 1
        raise AssertionError

    def __getitem__(self, key):
        s = self._slot(key)
        if s is None:
            raise KeyError(f"no {key!r}")
        return s.value

    def __delitem__(self, key):
        s = self._slot(key)
        if s is None:
            raise KeyError(key)
        for t in self._way(s.hashed):
            if t is s:
                break
            t.passed -= 1
        s.full = False
        s.key = s.value = None
        self._len -= 1

    def __contains__(self, key):
        return self._slot(key) is not None

    def get(self, key, default=None):
        s = self._slot(key)
        return default if s is None else s.value

    def __iter__(self):
        return (s.key for s in tuple(self._slots) if s.full)

    def items(self):

        class View:
            def __init__(v, m):
                v.m = m

            def __iter__(v):
                return ((s.key, s.value) for s in v.m._slots if s.full)

            def __len__(v):
                return len(v.m)

        return View(self)


@alternative("Trie", "Nodes have one child and its next sister; no dictionary.")
class a_child_and_its_sisters:
    class _Node:
        __slots__ = ("char", "child", "next", "end")

        def __init__(self, char):
            self.char, self.child, self.next, self.end = (char, None, None, False)

        def to(self, c):
            n = self.child
            while n is not None and n.char != c:
                n = n.next
            return n

        def make(self, c):
            n = self.to(c)
            if n is None:
                n = type(self)(c)
                n.next = self.child
                self.child = n
            return n

    def __init__(self):
        self._root = self._Node("")

    def insert(self, word):
        if len(word) == 0:
            raise ValueError("empty")
        n = self._root
        for c in word:
            n = n.make(c)
        n.end = True

    def __contains__(self, word):
        n = self._root
        for c in word:
            n = n.to(c)
            if n is None:
                return False
        return n.end

    def longest_prefix(self, text, start=0):
        if start < 0 or start > len(text):
            raise IndexError("start")
        n, best, i = (self._root, 0, start)
        while n is not None:
            if n.end:
                best = i - start
            if i == len(text):
                break
            n = n.to(text[i])
            i += 1
        return text[start : start + best]


@alternative("bpe_merge", "The places are chosen first, then the list is cut there.")
def places_chosen_first(ids, pair, new_id):
    a, b = pair
    hits = [i for i in range(len(ids) - 1) if ids[i] == a and ids[i + 1] == b]
    taken, last = ([], -2)
    for i in hits:
        if i > last + 1 or (last < 0 and i >= 0):
            taken.append(i)
            last = i
    out, at = ([], 0)
    for i in taken:
        out.extend(ids[at:i])
        out.append(new_id)
        at = i + 2
    out.extend(ids[at:])
    return out


@alternative("train_bpe", "All symbols in one array with the next and the previous, and places of each pair.")
def neighbours_linked_by_place(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    sym, nxt, prv, wt = ([], [], [], [])
    where, counts = ({}, {})

    def add(i, j):
        p = (sym[i], sym[j])
        counts[p] = counts.get(p, 0) + wt[i]
        where.setdefault(p, set()).add(i)

    def sub(i, j):
        p = (sym[i], sym[j])
        counts[p] -= wt[i]
        where[p].discard(i)
        if not where[p]:
            del counts[p], where[p]

    for w, c in word_counts.items():
        base = len(sym)
        for k, s in enumerate(w):
            sym.append(s)
            wt.append(c)
            prv.append(base + k - 1 if k else -1)
            nxt.append(base + k + 1 if k + 1 < len(w) else -1)
        for k in range(len(w) - 1):
            add(base + k, base + k + 1)
    out = []
    while counts and len(out) < n_merges:
        best = max(counts.items(), key=lambda e: e[::-1])[0]
        out.append(best)
        for i in sorted(where[best]):
            j = nxt[i]
            if sym[i] != best[0] or j < 0 or sym[j] != best[1] or (i not in where.get(best, ())):
                continue
            p, n = (prv[i], nxt[j])
            sub(i, j)
            if p >= 0:
                sub(p, i)
            if n >= 0:
                sub(j, n)
            sym[i] = best[0] + best[1]
            sym[j] = None
            nxt[i] = n
            if n >= 0:
                prv[n] = i
            if p >= 0:
                add(p, i)
            if n >= 0:
                add(i, n)
    return out


@alternative("HashMap", "collections.abc.MutableMapping gives get, items and `in`; empty lists mark deletions.")
class what_mutable_mapping_adds(__import__("collections.abc", fromlist=["x"]).MutableMapping):
    def __init__(self):
        self._slots: list = [None] * 8
        self._n = self._used = 0

    def _seek(self, key):
        h = hash(key)
        mask = len(self._slots) - 1
        i = (h ^ h >> 16) & mask
        hole = None
        for step in range(1, len(self._slots) + 1):
            s = self._slots[i]
            if s is None:
                return (i if hole is None else hole, False)
            if s == []:
                hole = i if hole is None else hole
            elif s[0] is key or (s[2] == h and s[0] == key):
                return (i, True)
            i = i + step & mask
        return (hole, False)

    def __len__(self):
        return self._n

    def __setitem__(self, key, value):
        i, found = self._seek(key)
        if found:
            self._slots[i][1] = value
            return
        if self._slots[i] is None:
            self._used += 1
        self._slots[i] = [key, value, hash(key)]
        self._n += 1
        if self._used * 4 > len(self._slots) * 3:
            old = [s for s in self._slots if s]
            size = 8
            while size < len(old) * 2 + 1:
                size *= 2
            self._slots = [None] * size
            self._n = self._used = 0
            for k, v, _ in old:
                self[k] = v

    def __getitem__(self, key):
        i, found = self._seek(key)
        if not found:
            raise KeyError(key) from None
        return self._slots[i][1]

    def __delitem__(self, key):
        i, found = self._seek(key)
        if not found:
            raise KeyError(key)
        self._slots[i] = []
        self._n -= 1

    def __iter__(self):
        for s in self._slots:
            if s:
                yield s[0]


@alternative("train_bpe", "Everything step by step, with loops only, and pairs that are gone are deleted.")
def step_by_step_without_functions(word_counts, n_merges):
    if not isinstance(n_merges, int):
        raise TypeError("n_merges must be an int")
    if n_merges < 0:
        raise ValueError("n_merges must not be negative")
    words = []
    frequencies = []
    for word in word_counts:
        symbols = []
        for symbol in word:
            symbols.append(symbol)
        words.append(symbols)
        frequencies.append(word_counts[word])
    counts = {}
    places = {}
    for number in range(len(words)):
        word = words[number]
        for index in range(len(word) - 1):
            pair = (word[index], word[index + 1])
            if pair not in counts:
                counts[pair] = 0
                places[pair] = []
            counts[pair] += frequencies[number]
            if number not in places[pair][-1:]:
                places[pair].append(number)
    merges = []
    while len(merges) < n_merges:
        best_pair = None
        best_count = 0
        for pair, count in counts.items():
            if count <= 0:
                continue
            if best_pair is None:
                best_pair = pair
                best_count = count
            elif count > best_count:
                best_pair = pair
                best_count = count
            elif count == best_count and pair > best_pair:
                best_pair = pair
        if best_pair is None:
            break
        merges.append(best_pair)
        left, right = best_pair
        for number in places[best_pair]:
            word = words[number]
            new_word = []
            index = 0
            while index < len(word):
                if index + 1 < len(word) and word[index] == left and (word[index + 1] == right):
                    new_word.append(left + right)
                    index += 2
                else:
                    new_word.append(word[index])
                    index += 1
            if len(new_word) == len(word):
                continue
            for index in range(len(word) - 1):
                counts[word[index], word[index + 1]] -= frequencies[number]
            for index in range(len(new_word) - 1):
                pair = (new_word[index], new_word[index + 1])
                if pair not in counts:
                    counts[pair] = 0
                    places[pair] = []
                counts[pair] += frequencies[number]
                if number not in places[pair][-1:]:
                    places[pair].append(number)
            words[number] = new_word
        for pair in [pair for pair in counts if counts[pair] == 0]:
            del counts[pair]
            del places[pair]
    return merges


@alternative("train_bpe", "Words that become alike are counted together; all pairs are sorted; merges are named tuples.")
def alike_words_together(word_counts, n_merges):
    import collections

    P = collections.namedtuple("P", "left right")
    if n_merges < 0:
        raise ValueError
    vocab = collections.defaultdict(int)
    for w, c in word_counts.items():
        vocab[tuple(w)] += c
    stats, where = (collections.Counter(), collections.defaultdict(set))

    def note(w, sign):
        for p in zip(w, w[1:]):
            stats[p] += sign * vocab[w]
            (where[p].add if sign > 0 else where[p].discard)(w)

    for w in list(vocab):
        note(w, 1)
    merges = []
    for _ in range(n_merges):
        stats = +stats
        ranked = sorted(stats.items(), key=lambda e: (e[1], e[0]))
        if not ranked:
            break
        best = ranked[-1][0]
        merges.append(P(*best))
        for w in list(where[best]):
            note(w, -1)
            new = tuple(bpe_merge(w, best, best[0] + best[1]))
            c = vocab.pop(w)
            if new in vocab:
                note(new, -1)
            vocab[new] += c
            note(new, 1)
    return merges


@alternative("unigram_segment", "Pieces by their last character; the log-probability is summed up at the end, 0 for nothing.")
def pieces_by_their_last_character(text, log_probs):
    pieces = {p: v for p, v in log_probs.items() if p and v != -math.inf}
    by_last = {}
    for p in pieces:
        by_last.setdefault(p[-1], []).append(p)
    best = [0] + [None] * len(text)
    back = [None] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        for p in by_last.get(text[end - 1], ()):
            s = end - len(p)
            if (
                s >= 0
                and best[s] is not None
                and text.startswith(p, s)
                and (best[end] is None or best[s] + pieces[p] > best[end])
            ):
                best[end] = best[s] + pieces[p]
                back[end] = p
    if best[len(text)] is None:
        raise ValueError("cannot be segmented")
    out = []
    end = len(text)
    while end:
        out.append(back[end])
        end -= len(back[end])
    out.reverse()
    return (out, sum(pieces[p] for p in out))


@alternative("count_pairs", "All places in one sorted list, and equal ones side by side are added up.")
def sorted_and_grouped(words):
    from itertools import groupby

    places = sorted((pair, count) for word, count in words.items() for pair in zip(word, word[1:]))
    return {pair: sum(count for _, count in alike) for pair, alike in groupby(places, key=lambda place: place[0])}


@alternative("train_bpe", "Counters, of which `+` takes out what is gone, twice at each merge.")
def counters_without_what_is_gone(word_counts, n_merges):
    from collections import Counter, defaultdict

    if n_merges < 0:
        raise ValueError(f"n_merges must be at least 0, not {n_merges}")
    words = [[list(word), n] for word, n in word_counts.items()]
    counts, where = Counter(), defaultdict(Counter)
    for i, (word, n) in enumerate(words):
        for pair in zip(word, word[1:]):
            counts[pair] += n
            where[pair][i] += 1
    merges = []
    while +counts and len(merges) < n_merges:
        best = max(+counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        for i in [i for i, times in where[best].items() if times > 0]:
            word, n = words[i]
            for sign in (-1, 1):
                for pair, times in Counter(zip(word, word[1:])).items():
                    counts[pair] += sign * n * times
                    where[pair][i] += sign * times
                word[:] = bpe_merge(word, best, best[0] + best[1]) if sign < 0 else word
    return merges


@alternative("Trie", "The rest of the text is cut out and gone through.")
class what_stands_behind:
    def __init__(self):
        self.root = {}

    def insert(self, word):
        if not word:
            raise ValueError("the empty word")
        node = self.root
        for character in word:
            node = node.setdefault(character, {})
        node[""] = word

    def __contains__(self, word):
        return word != "" and self.longest_prefix(word) == word

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise IndexError("start")
        node, found = self.root, ""
        for character in text[start:]:
            if character not in node:
                break
            node = node[character]
            found = node.get("", found)
        return found
