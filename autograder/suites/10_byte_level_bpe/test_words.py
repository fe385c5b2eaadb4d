"""Hidden tests: GPT-2's pre-tokens. The truth is the reference."""

import random

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import given, seeds, settings

from . import scenarios
from .cases import EVERYTHING, LETTERS, NUMBERS, OTHERS, PLAIN, SPACES, mixture


def assert_cut(student, reference, texts, hint):
    for text, seen, expected in zip(texts, student.run(scenarios.cut, texts), reference.run(scenarios.cut, texts), strict=True):
        if seen != expected:
            text = f"pretokenize({ascii(text)})\n  expected {ascii(expected)}\n  got      {ascii(seen)}\n  hint: {hint}"
            raise AssertionError(text)


@exercise("pretokenize", points=5.5, core=True)
@settings(max_examples=14)
@given(seed=seeds())
def test_words_numbers_and_punctuation_are_cut(student, reference, seed):
    """Plain text is cut into words, numbers, punctuation and white space, a space going with what follows it."""
    assert_cut(
        student, reference, [mixture(seed + i, PLAIN, 14) for i in range(6)], "contraction, letters, numbers, others, space"
    )


@exercise("pretokenize", points=2)
def test_contractions_are_cut_off(student, reference):
    """The seven contractions of GPT-2 come first, in small letters and with the plain apostrophe, whatever follows."""
    ends = [
        "s",
        "t",
        "re",
        "ve",
        "m",
        "ll",
        "d",
        "S",
        "T",
        "RE",
        "Ve",
        "LL",
        "D",
        "l",
        "r",
        "v",
        "e",
        "n",
        "sam",
        "ttt",
        "rest",
        "lll",
        "ved",
        "dé",
        "1",
        "'",
        "",
        " s",
        "\n",
    ]
    texts = [
        f"{before}{apostrophe}{end}{after}"
        for end in ends
        for before, after in (("I", ""), ("", " x"), (" ", "y"), ("!", "!"), ("7", ""))
        for apostrophe in ("'", "’")
    ]
    texts += ["can't've", "'tis", "''s", "'s's", "y'all'd've", "!'s", "! 's", "  's", "\n's", "o'clock", "'S'll", "n't", "l'été"]
    assert_cut(student, reference, texts, "'s 't 're 've 'm 'll 'd begin a pre-token only where one begins")


@exercise("pretokenize", points=3)
@settings(max_examples=12)
@given(seed=seeds())
def test_white_space_leaves_its_last_to_what_follows(student, reference, seed):
    """Of several white spaces before anything else the last is split off; only a real space joins what follows."""
    pieces = ["a", "1", "!", "'s", "_", " ", " ", "  ", "\n", "\t", "\r\n", "\xa0", "\u3000", "\u2003", "\x85"]
    texts = [mixture(seed + i, pieces, 9) for i in range(8)]
    texts += [
        f"{before}{space}{after}"
        for before in ("", "a", "1.")
        for after in ("", "b", "2", "!", "'s", "\x1c")
        for space in ("  ", "\n\n", " \n", "\n ", "\t", "\xa0", " \xa0", "\xa0 ", "   ", "\r\n\r\n", "\u2028 ")
    ]
    assert_cut(student, reference, texts, r"\s+(?!\S): as much as is there at the end, one less before anything else")


@exercise("pretokenize", points=1.5)
def test_white_space_is_what_unicode_says(student, reference):
    """The 25 characters of White_Space, and not what str.isspace says; nor zero-width or control characters."""
    hint = "White_Space has U+0085 and U+00A0, but not U+001C to U+001F, U+180E, U+200B or U+FEFF"
    spaces = [
        chr(code)
        for code in (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
    ]
    others = [*"\x08\x0e\x1b\x1c\x1d\x1e\x1f\x7f\x84\x86\u180e\u200b\u200c\u200d\u2027\u202a\u2060\ufeff\u2800\u00ad"]
    texts = [text for c in [*spaces, *others] for text in (f"a{c}b", f"a{c}{c}b", f"a {c}!", f"{c} b", f"!{c}", f"1{c}\n")]
    assert_cut(student, reference, texts, hint)


@exercise("pretokenize", points=2)
@settings(max_examples=9)
@given(seed=seeds())
def test_letters_and_numbers_of_all_scripts_are_known(student, reference, seed):
    """Letters are category L and numbers category N in every script; combining accents, joiners and symbols are neither."""
    rng = random.Random(seed)
    hint = "unicodedata.category: L…, N…, or neither; ² ½ Ⅷ are numbers, 一 is a letter, a combining accent is neither"
    texts = [mixture(seed + i, EVERYTHING, 12) for i in range(6)]
    texts += [f"a{c}1{c} {c}." for c in LETTERS + NUMBERS + OTHERS + SPACES] if seed % 2 == 0 else []
    texts += [
        "x²+y²",
        "1½",
        "Ⅷ.",
        "一二三",
        "cafe\u0301s",
        "naïve",
        "हिन्दी",
        "3.14e-10",
        "snake_case",
        "👨‍👩‍👧",
        "٣٤",
        "a_1",
        "№5",
        "ⅷa",
        "①②",
        "x\U00030000\U0003134a1 \U00030000",
        "a\u0378b \U0003ffff1",
        "a\ue000\U000f0000b \U0010ffff",
        "a\U000e0041b\U000e0100 c",
    ]
    codes = rng.sample([*range(0xD800), *range(0xE000, 0x32000)], 60)
    texts.append("".join(f"{chr(code)}a{chr(code)}1 {chr(code)}{chr(code)} " for code in codes))
    assert_cut(student, reference, texts, hint)


@exercise("pretokenize", points=0.5)
@settings(max_examples=4)
@given(seed=seeds())
def test_nothing_is_lost(student, seed):
    """Joined, the pre-tokens are the text; none is empty, and an empty text has none."""
    texts = [mixture(seed + i, EVERYTHING, 20) for i in range(6)] + ["", " ", "\n", "'", "  ", "\x1c\x1c"]
    texts += ["a1 " * 400 + end for end in "b2"]
    for text, words in zip(texts, student.run(scenarios.cut, texts), strict=True):
        shown = ascii(text) if len(text) < 80 else f"{text[:6]!r} and so on"
        assert_equal("".join(words), text, what=f"the pre-tokens of {shown}, joined")
        assert "" not in words, f"an empty pre-token in {ascii(words)}"


@exercise("pretokenize", points=0.5)
def test_a_text_eight_times_as_long_takes_eight_times_as_long(student):
    """The time is in proportion to the length of the text, and no run of letters or others is too long to be one piece."""
    piece, seconds = "a1 it's!🙂 ", []
    for n in (1_000, 8_000):
        measured = student.measure(scenarios.cut_much, piece, n, warm_up=(piece, 2))
        lengths = [3 * n + 1, 3 * n, 3 * n, 3 * n - 1, 2]
        expected = {"pre-tokens": 5 * n + 5, "joined, they are the text": True, "lengths of the last five": lengths}
        text = " + ".join([f"{ascii(piece)} * {n}", *(f"{character!r} * {3 * n}" for character in "b1! "), "'z'"])
        assert_equal(measured.value, expected, what=f"pretokenize({text})")
        seconds.append(measured.cpu_seconds)
    short, long = seconds
    n_characters = 1_000 * (len(piece) + 12)
    said = f"{8 * n_characters} characters took {long:.3g} s, and {n_characters} took {short:.3g} s"
    hint = "step through the text with an index: text[i:] copies what is left for each pre-token, and words + [word] all words"
    assert long <= 24 * short, f"{said}\n  hint: {hint}"
