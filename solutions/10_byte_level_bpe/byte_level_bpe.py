"""Byte-level byte-pair encoding: the tokenizer of GPT-2, from the bits of UTF-8 to a stream of tokens.

A computer stores a text as bytes, and there are only 256 of them. A tokenizer that begins with bytes can write every text in
every language, and never meets a character it does not know. GPT-2's has four parts:

1. UTF-8 turns characters into bytes, one to four for each.
2. A text is cut into pre-tokens (words, numbers, punctuation, space), so that no token reaches across two words.
3. Merges, learnt by byte-pair encoding, join the bytes of each pre-token.
4. Special tokens such as "<|endoftext|>" stand beside all that: they are never cut, merged or learnt.

Sources: The Unicode Standard, section 3.9 (UTF-8); Sennrich et al. 2016, "Neural machine translation of rare words with
subword units"; Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.2.
"""

import codecs
import heapq
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from unicodedata import category

Pair = tuple[bytes, bytes]


def utf8_encode(text: str) -> bytes:
    """The text in UTF-8.

    A code point goes into one to four bytes, its bits where the x are, the highest first:

        up to U+007F     0xxxxxxx
        up to U+07FF     110xxxxx 10xxxxxx
        up to U+FFFF     1110xxxx 10xxxxxx 10xxxxxx
        up to U+10FFFF   11110xxx 10xxxxxx 10xxxxxx 10xxxxxx

    UnicodeEncodeError, which is a ValueError, for a surrogate (U+D800 to U+DFFF): these are no characters.
    """
    ### BEGIN SOLUTION
    data = bytearray()
    for i, character in enumerate(text):
        code = ord(character)
        if code < 0x80:
            data.append(code)
        elif code < 0x800:
            data += bytes([0xC0 | code >> 6, 0x80 | code & 0x3F])
        elif 0xD800 <= code < 0xE000:
            raise UnicodeEncodeError("utf-8", text, i, i + 1, "surrogates are not allowed")
        elif code < 0x10000:
            data += bytes([0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F])
        else:
            data += bytes([0xF0 | code >> 18, 0x80 | code >> 12 & 0x3F, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F])
    return bytes(data)
    ### END SOLUTION


def utf8_decode(data: bytes, errors: str = "strict") -> str:
    """The text whose UTF-8 is `data`; what `bytes.decode` gives, also for bytes that are no UTF-8.

    Not every pattern of bits is a character. No character has a longer form than it needs (so C0 and C1 never occur, nor does
    80 to 9F after E0, or 80 to 8F after F0), none is a surrogate (no A0 to BF after ED), none lies above U+10FFFF (no 90 to BF
    after F4, and no F5 to FF at all), and none lacks a byte.

    Where the bytes are wrong, `errors` says what to do:
    - "strict": raise UnicodeDecodeError, which is a ValueError;
    - "replace": put one U+FFFD for each longest run of bytes with which a character could begin, and for each byte with which
      none could, and go on right behind. F0 9F 98 41 gives U+FFFD and "A", ED A0 80 gives three of U+FFFD;
    - "ignore": the same with nothing in place of U+FFFD.

    A byte order mark (EF BB BF) is the character U+FEFF like any other. ValueError (or LookupError) for wrong bytes where
    `errors` is none of the three. Source: The Unicode Standard, table 3-7, and "U+FFFD Substitution of Maximal Subparts".
    """
    ### BEGIN SOLUTION
    if errors not in ("strict", "replace", "ignore"):
        raise ValueError(f"errors must be strict, replace or ignore, not {errors!r}")
    characters, i = [], 0
    while i < len(data):
        first, start = data[i], i
        n_bytes = 0  # with 80 to C1 and F5 to FF no character begins
        if first < 0x80:
            n_bytes = 1
        elif 0xC2 <= first < 0xF5:
            n_bytes = 2 + (first >= 0xE0) + (first >= 0xF0)
        code = first & (0, 0x7F, 0x1F, 0x0F, 0x07)[n_bytes]
        low, high = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}.get(first, (0x80, 0xBF))
        i += 1
        while i - start < n_bytes and i < len(data) and low <= data[i] <= high:
            code = code << 6 | data[i] & 0x3F
            low, high = 0x80, 0xBF  # only the second byte may be restricted further
            i += 1
        if i - start == n_bytes:
            characters.append(chr(code))
        elif errors == "strict":
            raise UnicodeDecodeError("utf-8", data, start, i, "no character begins like this, or it is cut short")
        elif errors == "replace":
            characters.append("\ufffd")
    return "".join(characters)
    ### END SOLUTION


def bytes_to_unicode() -> dict[int, str]:
    """GPT-2's printable character for each byte, with which its vocabulary is written down.

    The bytes 33 to 126, 161 to 172 and 174 to 255 are the characters with these code points. The 68 others, in their order, are
    the characters from U+0100 on: byte 0 is "Ā", byte 32, the space, is "Ġ", and byte 173, the last, is "Ń". A new dictionary at
    each call.
    """
    ### BEGIN SOLUTION
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256)}
    ### END SOLUTION


@cache
def _pattern() -> re.Pattern[str]:
    """A helper, if you like: GPT-2's pattern for `re`. Its \\w also has numbers and "_", its \\d only decimal numbers."""
    ### BEGIN SOLUTION
    ranges: list[list[int]] = []  # of the other numbers, none of which lies above the second plane
    for code in range(0x20000):
        if category(chr(code)) in ("Nl", "No"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    numbers = "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
    space = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    return re.compile(
        rf"'(?:[stmd]|re|ve|ll)| ?[^\W\d_{numbers}]+| ?[\d{numbers}]+| ?(?:[^\w{space}]|_)+|[{space}]+(?![^{space}])|[{space}]+"
    )
    ### END SOLUTION


def pretokenize(text: str) -> list[str]:
    """The text in pre-tokens, as GPT-2 cuts it; joined, they are the text again.

    From left to right, what comes next is the first of these that fits, as long as possible:

    1. a contraction: 's 't 're 've 'm 'll 'd, in small letters, with the apostrophe U+0027, whatever follows;
    2. letters, all that follow each other, with a space before them if there is one;
    3. numbers, likewise;
    4. characters that are neither letters nor numbers nor white space, likewise;
    5. white space, all that follows each other; but if a character that is none comes after it, the last of the white space is
       left to what comes next, unless it is the only one. "a   b" is "a", "  ", " b", and "a\\n\\nb" is "a", "\\n", "\\n", "b".

    Letters are the characters whose category in Unicode (`unicodedata.category`) begins with L, numbers those with N: "²", "½",
    "Ⅷ" and "٣" are numbers, "一" is a letter, and an accent that is a character of its own is neither. White space is Unicode's
    White_Space: U+0009 to U+000D, U+0020, U+0085, U+00A0, U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F and U+3000.
    That is not what `str.isspace` says: U+001C to U+001F are no white space here, nor are U+180E, U+200B and U+FEFF. "A space"
    in 2 to 4 is U+0020 alone.

    Takes time in proportion to the length of the text. The pattern of GPT-2, for programs that know \\p:
    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+
    """
    ### BEGIN SOLUTION
    return _pattern().findall(text)
    ### END SOLUTION


class ByteTrie:
    """A tree of byte strings, each with an id: a node's children are found by the next byte.

    Bytes are numbers from 0 to 255, so a way through the tree needs no characters. The longest token with which some data goes on
    is found in one walk down.
    """

    def __init__(self):
        """No tokens."""
        ### BEGIN SOLUTION
        self._children = {}  # the ByteTrie for each next byte
        self._id = None  # of the token that ends here
        ### END SOLUTION

    def insert(self, token: bytes, token_id: int) -> None:
        """Take in the token with its id, any int; a token that is there already gets the new id. ValueError for b""."""
        ### BEGIN SOLUTION
        if not token:
            raise ValueError("the empty token begins everywhere")
        node = self
        for byte in token:
            node = node._children.setdefault(byte, ByteTrie())
        node._id = token_id
        ### END SOLUTION

    def get(self, token: bytes, default: int | None = None) -> int | None:
        """The token's id; the default where it was not inserted, as b"" never is, nor is the mere beginning of a token."""
        ### BEGIN SOLUTION
        node = self
        for byte in token:
            node = node._children.get(byte)
            if node is None:
                return default
        return default if node._id is None else node._id
        ### END SOLUTION

    def __contains__(self, token: bytes) -> bool:
        """`token in trie`: whether it was inserted."""
        ### BEGIN SOLUTION
        return self.get(token) is not None
        ### END SOLUTION

    def longest_prefix(self, data: bytes, start: int = 0) -> tuple[int | None, int]:
        """(id, length) of the longest token with which `data` goes on at index `start`; (None, 0) where no token does.

        Looks at no byte before `start`, nor at any behind the first that leads nowhere. ValueError (or IndexError) unless
        0 <= start <= len(data).
        """
        ### BEGIN SOLUTION
        if not 0 <= start <= len(data):
            raise ValueError(f"start must be from 0 to {len(data)}, not {start}")
        node, best, length = self, None, 0
        for i in range(start, len(data)):
            node = node._children.get(data[i])
            if node is None:
                break
            if node._id is not None:
                best, length = node._id, i + 1 - start
        return best, length
        ### END SOLUTION


def _special_pattern(special_tokens: Iterable[str]) -> re.Pattern[str]:
    """A helper, if you like: finds special tokens, of several at a place the longest; its `split` keeps them."""
    ### BEGIN SOLUTION
    longest_first = sorted(special_tokens, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})" if longest_first else "((?!))")  # which is never found
    ### END SOLUTION


def train_byte_bpe(
    text_or_path: str | Path, vocab_size: int, special_tokens: Sequence[str] = ()
) -> tuple[dict[int, bytes], list[Pair]]:
    """Learn byte-pair encoding: (vocab, merges), where vocab gives the bytes of each id.

    A str is the text itself; a Path is a file whose bytes are the text in UTF-8, line ends as they are. Special tokens split the
    text, from left to right, the longest where several fit: what lies between them is cut by `pretokenize`, each part for itself,
    and the special tokens themselves are not counted. Then, again and again, the pair of neighbours that occurs most often in all
    pre-tokens is merged in all of them, from left to right: in a a a, (a, a) is counted twice and merged once. Of equally
    frequent pairs, the greatest is merged, as Python compares tuples of bytes.

    The ids 0 to 255 are the single bytes, then come the merges in their order, and then the special tokens, in theirs, in UTF-8.
    `vocab_size` counts them all. There are fewer where no pre-token has a pair left; the special tokens follow right behind then.

    Counts each different pre-token once, with how often it occurs, and at a merge goes through no pre-token that does not hold
    the pair: 1,000 merges of 5,000 different words take a fraction of a second, and far longer if all was counted anew.

    ValueError where vocab_size is below 256 and the number of special tokens, or a special token is empty or comes twice.
    Source: Sennrich et al. 2016, section 3.2; Radford et al. 2019, section 2.2.
    """
    ### BEGIN SOLUTION
    if len(set(special_tokens)) < len(special_tokens) or "" in special_tokens:
        raise ValueError("a special token is empty, or comes twice")
    n_merges = vocab_size - 256 - len(special_tokens)
    if n_merges < 0:
        raise ValueError(f"vocab_size must be at least {256 + len(special_tokens)}, not {vocab_size}")

    text = text_or_path.read_bytes().decode() if isinstance(text_or_path, Path) else text_or_path
    parts = _special_pattern(special_tokens).split(text)[::2]
    word_counts = Counter(word for part in parts for word in pretokenize(part))
    counts = list(word_counts.values())
    words = [[bytes([byte]) for byte in word.encode()] for word in word_counts]
    pair_counts: dict[Pair, int] = defaultdict(int)
    found_in: dict[Pair, set[int]] = defaultdict(set)  # the numbers of the words that hold a pair, or held it once
    for i, word in enumerate(words):
        for pair in pairwise(word):
            pair_counts[pair] += counts[i]
            found_in[pair].add(i)

    class Falling(tuple):
        """(count, pair) for heapq, whose first entry is the smallest: here, the greatest."""

        __lt__ = tuple.__gt__

    # A pair comes into being with the merge that makes one of its two symbols, and from then on it only grows rarer. So it is
    # pushed once, and again when it comes up with a count that is no longer true.
    heap = [Falling((count, pair)) for pair, count in pair_counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        count, best = heapq.heappop(heap)
        if count > pair_counts[best]:
            if pair_counts[best] > 0:
                heapq.heappush(heap, Falling((pair_counts[best], best)))
            continue
        merges.append(best)
        (a, b), ab = best, best[0] + best[1]
        new_pairs: set[Pair] = set()
        for i in found_in.pop(best):
            word, merged, j = words[i], [], 0
            while j < len(word):
                if word[j] != a or word[j + 1 : j + 2] != [b]:
                    merged.append(word[j])
                    j += 1
                    continue
                # x a b y becomes x ab y: three pairs lose a place, two win one.
                pair_counts[best] -= counts[i]
                if merged:
                    pair_counts[merged[-1], a] -= counts[i]
                    pair_counts[merged[-1], ab] += counts[i]
                    new_pairs.add((merged[-1], ab))
                if j + 2 < len(word):
                    pair_counts[b, word[j + 2]] -= counts[i]
                    pair_counts[ab, word[j + 2]] += counts[i]
                    new_pairs.add((ab, word[j + 2]))
                merged.append(ab)
                j += 2
            words[i] = merged
            for pair in pairwise(merged):
                if ab in pair:
                    found_in[pair].add(i)
        for pair in new_pairs:
            if pair_counts[pair] > 0:  # else it came and went within a run
                heapq.heappush(heap, Falling((pair_counts[pair], pair)))

    tokens = [*(bytes([byte]) for byte in range(256)), *(a + b for a, b in merges), *(token.encode() for token in special_tokens)]
    return dict(enumerate(tokens)), merges
    ### END SOLUTION


class GPT2Tokenizer:
    """From text to ids and back, with the bytes, the merges and the special tokens of a vocabulary.

    With GPT-2's files it does what GPT-2 and tiktoken's `gpt2` do, for all characters that Python's Unicode knows.

    To encode, `pretokenize` cuts the text; each pre-token begins as its bytes in UTF-8, and as long as two neighbours are a pair
    of the merges, the pair that stands first in the list is merged, and of several places of it the one furthest left. What is
    left are the ids. That takes about n log n steps for a pre-token of n bytes: 100,000 letters without a space are a matter of a
    second, and would be one of many minutes if all neighbours were looked at for each merge. What was worked out for a pre-token
    may be remembered, for at most 2**12 of them at a time, none of more than 2**10 characters.

    Nothing that is handed over is changed, nor does a change to it later change the tokenizer.
    """

    def __init__(self, vocab: Mapping[int, bytes], merges: Sequence[Pair], special_tokens: Iterable[str] = ()):
        """The vocabulary, as `train_byte_bpe` gives it: the bytes of each id, and the merges in the order of learning.

        The ids may be any numbers from 0 on, in any order. Of two ids with the same bytes, the smaller stands for the bytes, and
        the larger for the special token. ValueError (or KeyError) where one of the 256 bytes, what a merge makes, or a special
        token has no id.
        """
        ### BEGIN SOLUTION
        self._tokens = dict(vocab)
        first = {self._tokens[i]: i for i in sorted(self._tokens, reverse=True)}
        last = {self._tokens[i]: i for i in sorted(self._tokens)}
        try:
            self._byte_ids = [first[bytes([byte])] for byte in range(256)]
            self._ranks = {(first[a], first[b]): rank for rank, (a, b) in reversed([*enumerate(merges)])}  # the first counts
            self._made = [first[a + b] for a, b in merges]  # by rank
            self._special = {token: last[token.encode()] for token in special_tokens}
        except KeyError as error:
            raise ValueError(f"no id has the bytes {error}") from None
        self._remembered = lru_cache(2**12)(self._merge)
        ### END SOLUTION

    @classmethod
    def from_files(cls, vocab: str | Path, merges: str | Path) -> "GPT2Tokenizer":
        """The tokenizer of two files in the form in which GPT-2's were published, both of them in UTF-8.

        `vocab` (encoder.json) is an object in JSON that gives the id of each token. `merges` (vocab.bpe) has, after a first line
        "#version: 0.2", a merge in each line, the two tokens with a space between them. In both, each byte of a token is written
        as the character that `bytes_to_unicode` gives it. Tokens that are neither one byte nor made by a merge are special ones:
        in GPT-2's files, that is "<|endoftext|>" alone.
        """
        ### BEGIN SOLUTION
        byte_of = {character: byte for byte, character in bytes_to_unicode().items()}

        def to_bytes(token: str) -> bytes:
            return bytes(byte_of[character] for character in token)

        tokens = {i: to_bytes(token) for token, i in json.loads(Path(vocab).read_text(encoding="utf-8")).items()}
        lines = Path(merges).read_text(encoding="utf-8").splitlines()[1:]
        pairs = [(to_bytes(a), to_bytes(b)) for a, b in map(str.split, filter(None, lines))]
        made = {a + b for a, b in pairs}
        return cls(tokens, pairs, [token.decode() for token in tokens.values() if len(token) > 1 and token not in made])
        ### END SOLUTION

    def encode(self, text: str, allowed_special: Iterable[str] = ()) -> list[int]:
        """The ids of the text.

        A special token in the text is text like any other, unless it is in `allowed_special`, a set or list of special tokens, or
        "all" for all of them. Those allowed split the text, from left to right, the longest where several fit, and each is one
        id; what lies between them is encoded as if it stood alone. ValueError (or KeyError) for a name that is no special token,
        and for a str other than "all".
        """
        ### BEGIN SOLUTION
        return self._begin(text, self._allowed(allowed_special), is_all=True)[0]
        ### END SOLUTION

    def encode_iterable(self, lines: Iterable[str], allowed_special: Iterable[str] = ()) -> Iterator[int]:
        """The ids of `"".join(lines)`, one after the other: exactly those of `encode`, wherever the lines end.

        Words and special tokens may go over the end of a line, and what is white space at the end of one depends on the next. A
        line may be any str, also an empty one.

        Lines are drawn as they are needed, so there may be infinitely many. What has been read and is not yet given is never more
        than 2**12 characters, the last line, and a few times the longest pre-token and special token: with lines and words of
        ordinary length, memory does not grow with the number of lines. The time for a word that goes over many lines grows like
        its length, or like n log n.
        """
        ### BEGIN SOLUTION
        allowed = self._allowed(allowed_special)
        rest, waiting, n_waiting = "", [], 0
        for line in lines:
            waiting.append(line)
            n_waiting += len(line)
            if n_waiting > len(rest):  # so a word of many lines is looked at each time it is twice as long, not each time
                text = "".join([rest, *waiting])
                ids, end = self._begin(text, allowed)
                rest, waiting, n_waiting = text[end:], [], 0
                yield from ids
        yield from self._begin("".join([rest, *waiting]), allowed, is_all=True)[0]
        ### END SOLUTION

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids. Bytes that are no UTF-8 become U+FFFD, as with `bytes.decode(errors="replace")`.

        ValueError (or KeyError) for an id that the vocabulary does not have.
        """
        ### BEGIN SOLUTION
        return b"".join(map(self._bytes_of, ids)).decode("utf-8", errors="replace")
        ### END SOLUTION

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of the ids in pieces, each as early as possible: joined, they are what `decode` gives.

        An id may end in the middle of a character. Whole characters are given before the next id is drawn, and never a part of
        one: bytes with which a character begins stay back until it is complete, or until it is clear that it will not be.
        ValueError (or KeyError) for an id that the vocabulary does not have. Pieces may be empty.
        """
        ### BEGIN SOLUTION
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for i in ids:
            yield decoder.decode(self._bytes_of(i))
        yield decoder.decode(b"", final=True)
        ### END SOLUTION

    ### BEGIN SOLUTION
    def _bytes_of(self, token_id: int) -> bytes:
        if token_id not in self._tokens:
            raise ValueError(f"no token has the id {token_id}")
        return self._tokens[token_id]

    def _allowed(self, allowed_special: Iterable[str]) -> list[str]:
        """The special tokens that count as such."""
        if allowed_special == "all":
            return list(self._special)
        if isinstance(allowed_special, str):
            raise ValueError(f'a set or list of special tokens, or "all", not {allowed_special!r}')
        allowed = list(allowed_special)
        if unknown := set(allowed) - set(self._special):
            raise ValueError(f"not among the special tokens: {unknown}")
        return allowed

    def _begin(self, text: str, allowed: list[str], is_all: bool = False) -> tuple[list[int], int]:
        """The ids of the beginning of the text that are the same whatever follows, and its length; of all if that is all."""
        ids, start = [], 0
        end = len(text) if is_all else self._may_go_on(text, start, allowed)
        for special in _special_pattern(allowed).finditer(text):
            if special.start() >= end:
                break
            ids += self._encode_words(pretokenize(text[start : special.start()]))
            ids.append(self._special[special.group()])
            start = special.end()
            end = max(end, start) if is_all else self._may_go_on(text, start, allowed)
        words = pretokenize(text[start:end])
        if not is_all:
            words = words[:-2]  # the last may go on, and so may an apostrophe and a letter: 'v is the beginning of 've
        return ids + self._encode_words(words), start + sum(map(len, words))

    def _may_go_on(self, text: str, start: int, allowed: list[str]) -> int:
        """The first place from `start` on where a special token may begin whose end is not there yet; else the text's end."""
        longest = max(map(len, allowed), default=0)
        for i in range(max(start, len(text) - longest + 1), len(text)):
            if any(token.startswith(text[i:]) and token != text[i:] for token in allowed):
                return i
        return len(text)

    ### END SOLUTION

    ### BEGIN SOLUTION
    def _encode_words(self, words: list[str]) -> list[int]:
        ids: list[int] = []
        for word in words:
            ids += self._remembered(word) if len(word) <= 2**10 else self._merge(word)
        return ids

    def _merge(self, word: str) -> list[int]:
        """The ids of a pre-token: a linked list of symbols, and a heap of the places where two may be merged."""
        ids: list[int | None] = [*(self._byte_ids[byte] for byte in word.encode()), None]  # None: nothing is here (any more)
        before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))
        heap = [(self._ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in self._ranks]
        heapq.heapify(heap)
        while heap:
            rank, i = heapq.heappop(heap)
            j = after[i]
            if self._ranks.get((ids[i], ids[j])) != rank:
                continue  # one of the two has been merged meanwhile
            ids[i], ids[j] = self._made[rank], None
            after[i] = after[j]
            before[after[i]] = i
            for left, right in ((before[i], i), (i, after[i])):  # before[0] is -1, where None is, too
                if (rank := self._ranks.get((ids[left], ids[right]))) is not None:
                    heapq.heappush(heap, (rank, left))
        return [i for i in ids if i is not None]

    ### END SOLUTION
