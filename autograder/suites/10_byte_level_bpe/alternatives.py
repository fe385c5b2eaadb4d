"""Unusual right solutions: each must get full marks."""

from autograder.testing.variants import alternative, edit


@alternative("utf8_encode", "Strings of bits, cut into sixes from the right.")
def bits_as_text(text):
    data = []
    for character in text:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            raise ValueError("a surrogate")
        if code < 128:
            data.append(code)
            continue
        n = 2 if code < 0x800 else 3 if code < 0x10000 else 4
        bits = format(code, "b").zfill({2: 11, 3: 16, 4: 21}[n])
        head = len(bits) - 6 * (n - 1)
        data.append(int("1" * n + "0" + bits[:head], 2))
        data += [int("10" + bits[k : k + 6], 2) for k in range(head, len(bits), 6)]
    return bytes(data)


@alternative("utf8_encode", "Continuation bytes are taken off the end until what is left fits the first; a generator in bytes().")
def from_the_end(text):
    def of(code):
        if code in range(0xD800, 0xE000):
            raise TypeError("a surrogate")
        if code < 0x80:
            return [code]
        tail, room = [], 0x40
        while code >= room >> (1 if tail else 0) or not tail:
            tail.insert(0, 0x80 + code % 64)
            code //= 64
            room = {1: 0x40, 2: 0x20, 3: 0x10}[len(tail)]
        return [(0xFF00 >> (len(tail) + 1)) & 0xFF | code, *tail]

    return b"".join(bytes(of(ord(c))) for c in text)


@alternative("utf8_encode", "Index by index, with to_bytes for each byte, and the surrogates looked for first.")
def looked_through_first(text):
    codes = [ord(text[i]) for i in range(len(text))]
    if any(c >> 11 == 27 for c in codes):
        raise IndexError("a surrogate")
    out = b""
    for c in codes:
        shifts = [] if c < 128 else [0] if c < 2048 else [6, 0] if c < 65536 else [12, 6, 0]
        first = c if not shifts else (c >> shifts[0] + 6) | (0xC0, 0xE0, 0xF0)[len(shifts) - 1]
        out += first.to_bytes(1, "big")
        for shift in shifts:
            out += ((c >> shift) % 64 + 128).to_bytes(1, "big")
    return out


@alternative(
    "utf8_decode", "A table of all well-formed sequences of ranges, as in the standard; the longest fitting beginning counts."
)
def table_of_ranges(data, errors="strict"):
    c = (0x80, 0xBF)
    table = [
        [(0, 0x7F)],
        [(0xC2, 0xDF), c],
        [(0xE0, 0xE0), (0xA0, 0xBF), c],
        [(0xE1, 0xEC), c, c],
        [(0xED, 0xED), (0x80, 0x9F), c],
        [(0xEE, 0xEF), c, c],
        [(0xF0, 0xF0), (0x90, 0xBF), c, c],
        [(0xF1, 0xF3), c, c, c],
        [(0xF4, 0xF4), (0x80, 0x8F), c, c],
    ]
    text, i = "", 0
    while i < len(data):
        fits, whole = 0, False
        for row in table:
            n = 0
            while n < len(row) and i + n < len(data) and row[n][0] <= data[i + n] <= row[n][1]:
                n += 1
            if n > fits:
                fits, whole = n, n == len(row)
        n = max(fits, 1)
        if whole:
            code = data[i] & (0x7F if n == 1 else 0x7F >> n)
            for byte in data[i + 1 : i + n]:
                code = code * 64 + byte % 64
            text += chr(code)
        else:
            text += {"replace": "\ufffd", "ignore": ""}[errors] if errors != "strict" else "\ufffd"
            if errors == "strict":
                raise ValueError("not UTF-8")
        i += n
    return text


@alternative("utf8_decode", "An automaton that goes byte by byte, with a byte that does not fit given to it once more.")
def an_automaton(data, errors="strict"):
    text, need, low, high, code = [], 0, 0x80, 0xBF, 0

    def wrong():
        if errors == "strict":
            raise UnicodeDecodeError("utf-8", bytes(data), 0, 1, "wrong")
        if errors not in ("replace", "ignore"):
            raise LookupError(errors)
        if errors == "replace":
            text.append("\N{REPLACEMENT CHARACTER}")

    for byte in bytes(data):
        if need:
            if low <= byte <= high:
                code, need, low, high = code * 64 + byte - 128, need - 1, 0x80, 0xBF
                if not need:
                    text.append(chr(code))
                continue
            wrong()
            need, low, high = 0, 0x80, 0xBF
        if byte < 0x80:
            text.append(chr(byte))
        elif byte < 0xC2 or byte > 0xF4:
            wrong()
        else:
            need = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
            code = byte - (0xC0, 0xE0, 0xF0)[need - 1]
            low = {0xE0: 0xA0, 0xF0: 0x90}.get(byte, 0x80)
            high = {0xED: 0x9F, 0xF4: 0x8F}.get(byte, 0xBF)
    if need:
        wrong()
    return "".join(text)


@alternative("utf8_decode", "All bytes at once, in arrays of NumPy: what begins at each place, and where it is whole.")
def in_arrays(data, errors="strict"):
    import numpy as np

    if errors not in ("strict", "replace", "ignore"):
        raise LookupError(errors)
    n, first = len(data), np.frombuffer(data, dtype=np.uint8).astype(np.int64)
    padded = np.concatenate([first, np.zeros(4, dtype=np.int64)])
    second, third, fourth = (padded[k : k + n] for k in (1, 2, 3))
    low, high = np.full(n, 0x80), np.full(n, 0xBF)
    low[first == 0xE0], high[first == 0xED], low[first == 0xF0], high[first == 0xF4] = 0xA0, 0x9F, 0x90, 0x8F
    n_bytes = np.select([first < 0x80, first < 0xC2, first < 0xE0, first < 0xF0, first < 0xF5], [1, 0, 2, 3, 4], 0)
    fits = (low <= second) & (second <= high)
    found = 1 + ((n_bytes > 1) & fits)
    for k, byte in ((2, third), (3, fourth)):
        fits = fits & (byte >> 6 == 2)
        found += (n_bytes > k) & fits
    continues = np.zeros(n + 4, dtype=bool)
    for k in (1, 2, 3):
        continues[np.flatnonzero(found > k) + k] = True
    begins, whole = ~continues[:n], found == n_bytes
    if errors == "strict" and not whole[begins].all():
        raise ValueError("not UTF-8")
    code = np.select(
        [n_bytes == k for k in (1, 2, 3, 4)],
        [
            first,
            (first & 0x1F) << 6 | second & 0x3F,
            (first & 0x0F) << 12 | (second & 0x3F) << 6 | third & 0x3F,
            (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F,
        ],
        0,
    )
    kept = begins if errors == "replace" else begins & whole
    return "".join(map(chr, np.where(whole, code, 0xFFFD)[kept].tolist()))


@alternative("bytes_to_unicode", "As GPT-2's own code does it: two lists, and a counter for the others; in an order of its own.")
def two_lists():
    keys = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    values = keys[:]
    n = 0
    for byte in reversed(range(256)):
        if byte not in keys:
            keys.append(byte)
            values.append(256 + 67 - n)
            n += 1
    return dict(zip(keys, map(chr, values)))


@alternative("bytes_to_unicode", "Closed forms for the gaps.")
def closed_forms():
    def of(b):
        if b <= 32:
            return 256 + b
        if 127 <= b <= 160:
            return 256 + 33 + b - 127
        return 0x143 if b == 173 else b

    return {b: chr(of(b)) for b in range(256)}


@alternative("pretokenize", "By hand: a kind for each character, and walking on while it stays the same.")
def by_hand(text):
    def kind(c):
        if c in "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" or "\u2000" <= c <= "\u200a":
            return "S"
        first = category(c)[0]
        return first if first in "LN" else "O"

    words, i, n = [], 0, len(text)
    while i < n:
        if text.startswith(("'s", "'t", "'m", "'d"), i):
            j = i + 2
        elif text.startswith(("'re", "'ve", "'ll"), i):
            j = i + 3
        else:
            j = i
            if text[i] == " " and i + 1 < n and kind(text[i + 1]) != "S":
                j += 1
            k = kind(text[j])
            while j < n and kind(text[j]) == k:
                j += 1
            if k == "S" and j < n and j - i > 1:
                j -= 1
        words.append(text[i:j])
        i = j
    return words


@alternative("pretokenize", "The text's kinds as a text of its own, on which the pattern is matched.")
def pattern_of_kinds(text):
    space = {*map(chr, [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])}
    kinds = "".join(" " if c == " " else "S" if c in space else {"L": "L", "N": "N"}.get(category(c)[0], "O") for c in text)
    found, at = [], 0
    one, kind = re.compile("'s|'t|'re|'ve|'m|'ll|'d"), re.compile(r" ?L+| ?N+| ?O+|[S ]+(?![^S ])|[S ]+")
    while at < len(text):
        match = one.match(text, at) or kind.match(kinds, at)
        found.append(text[at : match.end()])
        at = match.end()
    return found


@alternative("ByteTrie", "Nodes are lists of 256 places, and the ids lie beside.")
class ListsOf256:
    def __init__(self):
        self.nodes, self.ids = [[0] * 256], [None]

    def insert(self, token, token_id):
        if len(token) == 0:
            raise ValueError("empty")
        at = 0
        for byte in token:
            if not self.nodes[at][byte]:
                self.nodes.append([0] * 256)
                self.ids.append(None)
                self.nodes[at][byte] = len(self.nodes) - 1
            at = self.nodes[at][byte]
        self.ids[at] = (token_id,)

    def _at(self, token):
        at = 0
        for byte in token:
            at = self.nodes[at][byte]
            if not at:
                return None
        return self.ids[at]

    def get(self, token, default=None):
        found = self._at(token)
        return found[0] if found else default

    def __contains__(self, token):
        return self._at(token) is not None

    def longest_prefix(self, data, start=0):
        if start < 0 or start > len(data):
            raise IndexError(start)
        at, best = 0, (None, 0)
        for n, byte in enumerate(memoryview(data)[start:], 1):
            at = self.nodes[at][byte]
            if not at:
                break
            if self.ids[at]:
                best = (*self.ids[at], n)
        return best


@alternative("ByteTrie", "Nodes of another class, with slots and a mark where a token ends; insert gives the trie back.")
class NodesWithSlots:
    __slots__ = ("_root",)

    class _Node:
        __slots__ = ("children", "token_id", "ends")

        def __init__(self):
            self.children, self.token_id, self.ends = {}, None, False

    def __init__(self):
        self._root = self._Node()

    def insert(self, token, token_id):
        if token == b"":
            raise ValueError("empty")
        node = self._root
        for byte in token:
            if byte not in node.children:
                node.children[byte] = self._Node()
            node = node.children[byte]
        node.token_id, node.ends = token_id, True
        return self

    def _find(self, token):
        node = self._root
        for byte in token:
            node = node.children.get(byte)
            if node is None:
                return None
        return node

    def get(self, token, default=None):
        node = self._find(token)
        return node.token_id if node is not None and node.ends else default

    def __contains__(self, token):
        node = self._find(token)
        return node is not None and node.ends

    def longest_prefix(self, data, start=0):
        if start < 0 or start > len(data):
            raise IndexError(start)
        node, i, found = self._root, start, (None, 0)
        while i < len(data) and data[i] in node.children:
            node, i = node.children[data[i]], i + 1
            if node.ends:
                found = (node.token_id, i - start)
        return found


@alternative("ByteTrie", "One dictionary of all beginnings, which says whether a token ends there.")
class AllBeginnings:
    def __init__(self):
        self._known = {}

    def insert(self, token, token_id):
        if token == b"":
            raise ValueError("empty")
        for n in range(1, len(token)):
            self._known.setdefault(token[:n], None)
        self._known[token] = token_id

    def get(self, token, default=None):
        found = self._known.get(token)
        return default if found is None else found

    def __contains__(self, token):
        return self._known.get(token) is not None

    def longest_prefix(self, data, start=0):
        if not 0 <= start <= len(data):
            raise ValueError(start)
        best, key = (None, 0), b""
        for i in range(start, len(data)):
            key += bytes([data[i]])
            if key not in self._known:
                break
            if self._known[key] is not None:
                best = (self._known[key], len(key))
        return best


@alternative("ByteTrie", "Nested dictionaries, with the id under the key -1.")
class NestedDictionaries:
    def __init__(self):
        self.root = {}

    def insert(self, token, token_id):
        if not token:
            raise TypeError("empty")
        node = self.root
        for byte in token:
            node = node.setdefault(byte, {})
        node[-1] = token_id

    def get(self, token, default=None):
        node = self.root
        for byte in token:
            if byte not in node:
                return default
            node = node[byte]
        return node.get(-1, default)

    def __contains__(self, token):
        missing = object()
        return self.get(token, missing) is not missing

    def longest_prefix(self, data, start=0):
        if start not in range(len(data) + 1):
            raise ValueError(start)
        node, found, i = self.root, (None, 0), start
        while True:
            if -1 in node:
                found = (node[-1], i - start)
            if i == len(data) or data[i] not in node:
                return found
            node, i = node[data[i]], i + 1


@alternative("ByteTrie", "Each node hands the rest of the token to the next one.")
class Recursive:
    def __init__(self):
        self.children, self.token_id = {}, None

    def insert(self, token, token_id):
        if not token:
            raise ValueError("empty")
        self._insert(token, 0, token_id)

    def _insert(self, token, i, token_id):
        if i == len(token):
            self.token_id = token_id
        else:
            self.children.setdefault(token[i], ByteTrie())._insert(token, i + 1, token_id)

    def get(self, token, default=None):
        if not token:
            return default if self.token_id is None else self.token_id
        child = self.children.get(token[0])
        return default if child is None else child.get(token[1:], default)

    def __contains__(self, token):
        return self.get(token) is not None

    def longest_prefix(self, data, start=0):
        if not 0 <= start <= len(data):
            raise ValueError(start)

        def below(node, i, best):
            best = best if node.token_id is None else (node.token_id, i - start)
            child = node.children.get(data[i]) if i < len(data) else None
            return best if child is None else below(child, i + 1, best)

        return below(self, start, (None, 0))


@alternative("train_byte_bpe", "Whole words are taken off the counts and put back, and all pairs are looked at for the best one.")
def whole_words(text_or_path, vocab_size, special_tokens=()):
    if len(set(special_tokens)) != len(special_tokens) or not all(special_tokens):
        raise ValueError("special tokens")
    if vocab_size < 256 + len(special_tokens):
        raise ValueError("vocab_size")
    if isinstance(text_or_path, Path):
        with open(text_or_path, encoding="utf-8", newline="") as file:
            text = file.read()
    else:
        text = text_or_path
    parts = [text]
    if special_tokens:
        parts = re.split("|".join(re.escape(t) for t in sorted(special_tokens, key=lambda t: -len(t))), text)
    words = Counter()
    for part in parts:
        words.update(pretokenize(part))
    symbols = {w: [bytes((b,)) for b in w.encode("utf8")] for w in words}
    counts, where = Counter(), defaultdict(set)
    for w, s in symbols.items():
        for pair in zip(s, s[1:]):
            counts[pair] += words[w]
            where[pair].add(w)
    merges = []
    while counts and len(merges) < vocab_size - 256 - len(special_tokens):
        top = max(counts.values())
        best = max(pair for pair, n in counts.items() if n == top)
        merges.append(best)
        for w in list(where[best]):
            old = symbols[w]
            for pair in zip(old, old[1:]):
                counts[pair] -= words[w]
                if not counts[pair]:
                    del counts[pair]
                where[pair].discard(w)
            new = []
            for s in old:
                if new and s == best[1] and new[-1] == best[0]:
                    new[-1] = best[0] + best[1]
                else:
                    new.append(s)
            symbols[w] = new
            for pair in zip(new, new[1:]):
                counts[pair] += words[w]
                where[pair].add(w)
    vocab = {i: bytes([i]) for i in range(256)}
    for a, b in merges:
        vocab[len(vocab)] = a + b
    for t in special_tokens:
        vocab[len(vocab)] = t.encode()
    return vocab, merges


@alternative("train_byte_bpe", "Symbols are ids, and pairs of equal counts lie in buckets.")
def buckets_of_ids(text_or_path, vocab_size, special_tokens=()):
    special_tokens = list(special_tokens)
    if len({*special_tokens, ""}) != len(special_tokens) + 1 or vocab_size - 256 < len(special_tokens):
        raise ValueError("bad arguments")
    text = str(text_or_path.read_bytes(), "utf-8") if isinstance(text_or_path, Path) else text_or_path
    words = Counter()
    at = last = 0
    longest_first = sorted(special_tokens, key=len, reverse=True)
    first_letters = {t[0] for t in longest_first}
    while at < len(text):
        token = next((t for t in longest_first if text.startswith(t, at)), None) if text[at] in first_letters else None
        if token:
            words.update(pretokenize(text[last:at]))
            at = last = at + len(token)
        else:
            at += 1
    words.update(pretokenize(text[last:]))
    cut = [(list(word.encode()), n) for word, n in words.items()]
    tokens = [bytes([i]) for i in range(256)]
    counts, places, buckets = {}, {}, {}

    def change(pair, by, k=None):
        n = counts.get(pair, 0)
        if n:
            buckets[n].discard(pair)
            if not buckets[n]:
                del buckets[n]
        counts[pair] = n + by
        if n + by:
            buckets.setdefault(n + by, set()).add(pair)
        if k is not None:
            places.setdefault(pair, set()).add(k)

    for k, (ids, n) in enumerate(cut):
        for pair in pairwise(ids):
            change(pair, n, k)
    merges = []
    while buckets and len(tokens) < vocab_size - len(special_tokens):
        best = max(buckets[max(buckets)], key=lambda pair: (tokens[pair[0]], tokens[pair[1]]))
        merges.append((tokens[best[0]], tokens[best[1]]))
        tokens.append(b"".join(merges[-1]))
        new = len(tokens) - 1
        for k in places[best]:
            ids, n = cut[k]
            if best not in set(pairwise(ids)):
                continue
            for pair in pairwise(ids):
                change(pair, -n)
            i = 0
            while i + 1 < len(ids):
                if (ids[i], ids[i + 1]) == best:
                    ids[i : i + 2] = [new]
                i += 1
            for pair in pairwise(ids):
                change(pair, n, k)
    tokens += [t.encode() for t in special_tokens]
    return {i: t for i, t in enumerate(tokens)}, merges


PAIRS_OF_BYTES = (
    (
        "self._ranks = {(first[a], first[b]): rank for rank, (a, b) in reversed([*enumerate(merges)])}",
        "self._ranks = {tuple(pair): rank for rank, pair in reversed([*enumerate(merges)])}\n            self._first = first",
    ),
    ("self._ranks.get((ids[i], ids[j]))", "self._ranks.get((self._tokens.get(ids[i]), self._tokens.get(ids[j])))"),
    ("self._ranks.get((ids[left], ids[right]))", "self._ranks.get((self._tokens.get(ids[left]), self._tokens.get(ids[right])))"),
    (
        "heap = [(self._ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in self._ranks]",
        "heap = [(self._ranks[pair], i) for i, pair in "
        "enumerate(pairwise(bytes([b]) for b in word.encode())) if pair in self._ranks]",
    ),
)

MERGE_BODY = """        ids: list[int | None] = [*(self._byte_ids[byte] for byte in word.encode()), None]  # None: nothing is \
here (any more)
        before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))
        heap = [(self._ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in self._ranks]
        heapq.heapify(heap)
"""

BEGINS = "        return self._begin(text, self._allowed(allowed_special), is_all=True)[0]\n"

ALTERNATIVES = [
    edit(
        "pattern_with_other_order",
        "pretokenize",
        "finditer in place of findall.",
        ("_pattern().findall(text)", "[match.group() for match in _pattern().finditer(text)]"),
    ),
    edit("a_counter", "utf8_encode", "A list of numbers, made into bytes at the end.", ("data = bytearray()", "data = []")),
    edit(
        "with_lines_to_find_a_mistake",
        "utf8_encode",
        "Prints, a warning and a traceback, whose lines of source are decoded by the library that shows them.",
        (
            "    data = bytearray()\n",
            "    import traceback\n"
            "    import warnings\n\n"
            "    print(text.__class__.__name__, f'{text!r:.20}', 'für alle Zeichen', flush=True)\n"
            "    warnings.warn('noch nicht schön')\n"
            "    try:\n"
            "        raise ValueError('schön')\n"
            "    except ValueError:\n"
            "        traceback.print_exc()\n"
            "    data = bytearray()\n",
        ),
    ),
    edit(
        "value_error",
        "utf8_encode",
        "A plain ValueError for surrogates.",
        ('raise UnicodeEncodeError("utf-8", text, i, i + 1, "surrogates are not allowed")', "raise ValueError(i)"),
    ),
    edit(
        "errors_looked_at_late",
        "utf8_decode",
        "Unknown `errors` are noticed when they are needed, as Python does.",
        (
            '    if errors not in ("strict", "replace", "ignore"):\n        raise '
            'ValueError(f"errors must be strict, replace or ignore, not {errors!r}")\n',
            "",
        ),
        (
            '        elif errors == "replace":\n',
            '        elif errors not in ("replace", "ignore"):\n            raise '
            'LookupError(errors)\n        elif errors == "replace":\n',
        ),
    ),
    edit(
        "decreases_pushed",
        "train_byte_bpe",
        "Each change is pushed, and old entries are thrown away.",
        (
            "        if count > pair_counts[best]:\n            if pair_counts[best] > 0:\n                "
            "heapq.heappush(heap, Falling((pair_counts[best], best)))\n            continue\n",
            "        if count != pair_counts[best]:\n            continue\n",
        ),
        (
            "                    pair_counts[merged[-1], a] -= counts[i]\n",
            "                    pair_counts[merged[-1], a] -= counts[i]\n                    new_pairs.add((merged[-1], a))\n",
        ),
        (
            "                    pair_counts[b, word[j + 2]] -= counts[i]\n",
            "                    pair_counts[b, word[j + 2]] -= counts[i]\n                    new_pairs.add((b, word[j + 2]))\n",
        ),
    ),
    edit("pairs_of_bytes", "GPT2Tokenizer", "Ranks are found by pairs of bytes, not of ids.", *PAIRS_OF_BYTES),
    edit(
        "all_places_of_a_pair_at_once",
        "GPT2Tokenizer",
        "As GPT-2's own code does it: the best pair of all is merged at all its places, without a heap.",
        (
            MERGE_BODY,
            """        ids = [self._byte_ids[byte] for byte in word.encode()]
        while len(ids) > 1:
            rank, best = min(((self._ranks.get(pair, 1 << 60), pair) for pair in set(pairwise(ids))))
            if rank == 1 << 60:
                break
            merged, k = [], 0
            while k < len(ids):
                found = k + 1 < len(ids) and (ids[k], ids[k + 1]) == best
                merged.append(self._made[rank] if found else ids[k])
                k += 2 if found else 1
            ids = merged
        return ids
        before, after, heap = [], [], []
""",
        ),
    ),
    edit(
        "by_the_rank_of_the_joined_bytes",
        "GPT2Tokenizer",
        "As tiktoken does it: what two neighbours would make is looked up by its bytes; here with a heap.",
        (
            "self._made = [first[a + b] for a, b in merges]",
            "self._made = [first[a + b] for a, b in merges]\n            by_bytes = "
            "{a + b: rank for rank, (a, b) in enumerate(merges)}\n"
            "            tokens = self._tokens\n\n            class ByBytes:\n                def get(self, "
            "pair):\n                    return None if None in pair else by_bytes.get(tokens[pair[0]] + tokens[pair[1]])\n\n"
            "                def __getitem__(self, pair):\n                    return self.get(pair)\n\n         "
            "       def __contains__(self, pair):\n                    return self.get(pair) is not None\n\n"
            "            self._ranks = ByBytes()",
        ),
    ),
    edit(
        "a_cache_that_is_emptied",
        "GPT2Tokenizer",
        "A dictionary that is emptied when it is full, and short words only.",
        ("self._remembered = lru_cache(2**12)(self._merge)", "self._cache = {}"),
        ("self._remembered(word) if len(word) <= 2**10 else self._merge(word)", "self._from_cache(word)"),
        (
            "    def _encode_words(",
            "    def _from_cache(self, word):\n        if word in self._cache:\n            return "
            "self._cache[word]\n        ids = self._merge(word)\n        if len(word) < 40:\n"
            "            if len(self._cache) >= 4_000:\n                self._cache.clear()\n            "
            "self._cache[word] = tuple(ids)\n        return ids\n\n    def _encode_words(",
        ),
    ),
    edit(
        "more_held_back_and_nothing_remembered",
        "GPT2Tokenizer",
        "Five pre-tokens are held back, lines are collected up to 3,500 characters, and there is no cache.",
        ("words = words[:-2]", "words = words[:-5]"),
        ("if n_waiting > len(rest):", "if n_waiting > max(len(rest), 3500):"),
        ("self._remembered = lru_cache(2**12)(self._merge)", "self._remembered = self._merge"),
    ),
    edit(
        "other_ways_to_say_it",
        "GPT2Tokenizer",
        "encode splits the text at the special tokens first, decode joins decode_stream, "
        "which leaves out empty pieces, and unknown ids raise KeyError.",
        (
            BEGINS,
            "        allowed = self._allowed(allowed_special)\n        ids = []\n        for "
            "i, part in enumerate(_special_pattern(allowed).split(text)):\n"
            "            if i % 2:\n                ids.append(self._special[part])\n            else:\n        "
            "        ids.extend(self._encode_words(pretokenize(part)))\n        return ids\n",
        ),
        (
            'return b"".join(map(self._bytes_of, ids)).decode("utf-8", errors="replace")',
            'return "".join(self.decode_stream(ids))',
        ),
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            "            if piece := decoder.decode(self._bytes_of(i)):\n                yield piece\n",
        ),
        (
            '        yield decoder.decode(b"", final=True)\n',
            '        if piece := decoder.decode(b"", True):\n            yield piece\n',
        ),
        (
            '        if token_id not in self._tokens:\n            raise ValueError(f"no token '
            'has the id {token_id}")\n        return self._tokens[token_id]\n',
            "        return self._tokens[token_id]\n",
        ),
    ),
    edit(
        "key_errors",
        "GPT2Tokenizer",
        "What is missing raises KeyError, as a dictionary does, also for the names of special tokens.",
        ('raise ValueError(f"no id has the bytes {error}") from None', "raise"),
        ('raise ValueError(f"not among the special tokens: {unknown}")', "raise KeyError(unknown)"),
    ),
    edit(
        "as_early_as_can_be",
        "GPT2Tokenizer",
        "decode_stream goes byte by byte, and at ED A0 it has U+FFFD before Python's decoder, which waits for one more.",
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            """            piece = ""
            for byte in self._bytes_of(i):
                if need and low <= byte <= high:
                    held, need, low, high = held + bytes([byte]), need - 1, 0x80, 0xBF
                    piece += "" if need else held.decode()
                    continue
                piece += "\\ufffd" if need else ""
                held, need, low, high = bytes([byte]), 0, 0x80, 0xBF
                if byte < 0x80:
                    piece += chr(byte)
                elif 0xC2 <= byte < 0xF5:
                    need = 1 + (byte >= 0xE0) + (byte >= 0xF0)
                    low, high = {0xE0: 0xA0, 0xF0: 0x90}.get(byte, 0x80), {0xED: 0x9F, 0xF4: 0x8F}.get(byte, 0xBF)
                else:
                    piece += "\\ufffd"
            yield piece
""",
        ),
        (
            '        decoder = codecs.getincrementaldecoder("utf-8")("replace")\n',
            '        held, need, low, high = b"", 0, 0x80, 0xBF\n',
        ),
        ('        yield decoder.decode(b"", final=True)\n', '        yield "\\ufffd" if need else ""\n'),
    ),
    edit(
        "bytes_kept_by_hand",
        "GPT2Tokenizer",
        "decode_stream keeps the bytes of an unfinished character itself.",
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            """            held = held + self._bytes_of(i)
            whole = len(held)
            for n in (1, 2, 3):  # a beginning is one U+FFFD, and goes on in some way
                tail = held[-n:]
                goes_on = any((tail + more).decode("utf-8", "ignore") for more in CONTINUATIONS[4 - n])
                if len(tail) == n and tail.decode("utf-8", "replace") == "\\ufffd" != tail.decode("utf-8", "ignore") and goes_on:
                    whole = len(held) - n
            piece, held = held[:whole], held[whole:]
            yield piece.decode("utf-8", "replace")
""",
        ),
        (
            '        decoder = codecs.getincrementaldecoder("utf-8")("replace")\n',
            '        held = b""\n        CONTINUATIONS = [[], [b"\\x80"], [b"\\x80", b"\\x80\\x80"], '
            '[b"\\x80", b"\\x80\\x80", b"\\x80\\x80\\x80", b"\\xa0\\x80", b"\\x90\\x80\\x80"]]\n',
        ),
        ('        yield decoder.decode(b"", final=True)\n', '        yield held.decode("utf-8", "replace")\n'),
    ),
]
