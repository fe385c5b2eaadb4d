"""Texts, bytes and vocabularies for the tests. All characters have had their category since Unicode 9 or longer."""

import functools
import random

from solutions import byte_level_bpe

LETTERS = "aZéßñœǅʰªºЖяΩλשعकไ中一二三日ハ한𝒜𐐷𠀋"
NUMBERS = "0159٣५๓²³¹¼½Ⅷⅷ①⑳〇〡፩𝟘𝟗𐄇𐅀🄀"
OTHERS = '.,!?-_$+()#@"“”’‘…—€™©Ⓐ🙂\u0301\u0308\u093f\u094d\u200d\u200b\u180e\ufeff\x00\x1c\x1d\x1e\x1f\x7f\u20dd\ufffd\ue000'
SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]

PLAIN = [
    "a",
    "b",
    "the",
    "low",
    "er",
    "don",
    "we",
    "I",
    "X",
    "s",
    "ll",
    "12",
    "12345",
    "7",
    ".",
    ",",
    "!",
    "-",
    " ",
    " ",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "'",
    *CONTRACTIONS,
]
EVERYTHING = [*LETTERS, *NUMBERS, *OTHERS, *SPACES, *CONTRACTIONS, " ", " ", "  ", "'", "a", "1"]


def mixture(seed, pieces, n):
    """Up to n of the pieces, one after the other."""
    rng = random.Random(seed)
    return "".join(rng.choices(pieces, k=rng.randint(0, n)))


# Texts that are not what Unicode's normal forms make of them: a letter and its accent, other code points for one look.
COMPOSED = ["e\u0301 a\u0308", "\u212b\u2126", "\u1112\u1161\u11ab", "\ufb01\uff21", "a\r\n\r\nb"]


def corpus(seed, n_words=60, foreign=True):
    """Words of a few syllables, some of them often, some foreign, with punctuation."""
    rng = random.Random(seed)
    syllables = [rng.choice("bcdfglmnrst") + rng.choice("aeiou") for _ in range(6)] + (
        ["é", "ß", "日本", "🙂"] if foreign else []
    )
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(max(1, n_words // 4))]
    return "".join(
        rng.choice(words) + rng.choice([" ", " ", " ", ", ", ".\n", "  ", "     ", " 12 ", "'s ", "'ll "]) for _ in range(n_words)
    )


@functools.cache
def vocabulary_of_lines():
    """(vocab, merges, []) in which line ends, the white space behind them, marks and faces have been merged."""
    return *byte_level_bpe.train_byte_bpe("a\n\n\nb\n   c\n\n d ... !? 🙂🙂" * 20, 296), []


def vocabulary(seed, n_merges=60, special_tokens=("<|endoftext|>",), scrambled=True, n_words=300):
    """(vocab, merges, special_tokens), learnt from a corpus of the seed; the ids of bytes and merges in an order of their own."""
    text = corpus(seed, n_words)
    vocab, merges = byte_level_bpe.train_byte_bpe(text, 256 + n_merges + len(special_tokens), special_tokens)
    if scrambled:
        n = len(vocab) - len(special_tokens)
        order = random.Random(seed).sample(range(n), n)
        vocab = {(order[i] if i < n else i + 3): token for i, token in vocab.items()}
    return vocab, merges, list(special_tokens)


def written(vocabulary):
    """The vocabulary as the contents of two files: {token: id} and the lines of merges."""
    vocab, merges, _ = vocabulary
    table = byte_level_bpe.bytes_to_unicode()
    as_text = lambda token: "".join(table[byte] for byte in token)  # noqa: E731
    lines = ["#version: 0.2", *(f"{as_text(a)} {as_text(b)}" for a, b in merges)]
    return {as_text(token): i for i, token in vocab.items()}, ("\n".join(lines) + "\n").encode()


def cut_up(seed, text, longest=4):
    """The text in pieces, some of them empty."""
    rng, pieces, start = random.Random(seed), [], 0
    while start < len(text):
        end = start + rng.randint(0, longest)
        pieces.append(text[start:end])
        start = end
    return pieces


def code_points(seed, n, at_ends=0.3):
    """Code points from all lengths, the ends of their ranges more often."""
    rng = random.Random(seed)
    ends = [
        0,
        0x7F,
        0x80,
        0x7FF,
        0x800,
        0xFFF,
        0x1000,
        0xD7FF,
        0xE000,
        0xFDD0,
        0xFDEF,
        0xFEFF,
        0xFFFD,
        0xFFFE,
        0xFFFF,
        0x10000,
        0x3FFFF,
        0x40000,
        0x10FFFF,
    ]
    ranges = [(0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)]
    return [rng.choice(ends) if rng.random() < at_ends else rng.randrange(*rng.choice(ranges)) for _ in range(rng.randint(0, n))]


EDGES = [
    0x00,
    0x41,
    0x7F,
    0x80,
    0x8F,
    0x90,
    0x9F,
    0xA0,
    0xBF,
    0xC0,
    0xC1,
    0xC2,
    0xDF,
    0xE0,
    0xE1,
    0xEC,
    0xED,
    0xEE,
    0xEF,
    0xF0,
    0xF1,
    0xF3,
    0xF4,
    0xF5,
    0xF8,
    0xFF,
]


def wrong_bytes(seed, n):
    """Bytes that are hardly ever UTF-8: edges of the ranges, and characters cut short."""
    rng = random.Random(seed)
    data = b""
    for _ in range(rng.randint(0, n)):
        character = chr(rng.choice([0x41, 0xE9, 0x20AC, 0xD7FF, 0xE000, 0x1F642, 0x10FFFF])).encode()
        data += rng.choice([bytes([rng.choice(EDGES)]), character, character[: rng.randint(1, len(character))]])
    return data
