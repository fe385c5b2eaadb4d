"""Hidden tests: training. The truth is the reference."""

import random

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.strategies import example, given, seeds, settings, sizes

from . import scenarios
from .cases import corpus


def shown(value):
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]}…"


def assert_learnt(actual, expected, what, hint=""):
    """The same merges and the same vocabulary; the first that differs is told."""
    assert isinstance(actual, list | tuple) and len(actual) == 2, f"expected (vocab, merges), got {shown(actual)}"
    (vocab, merges), (right_vocab, right_merges) = actual, expected
    if not isinstance(vocab, dict) or not isinstance(merges, list | tuple):
        said = f"expected (vocab, merges), a dictionary from ids to bytes and a list of pairs, got {shown(actual)}"
        raise AssertionError(said)
    merges = [tuple(pair) if isinstance(pair, list) else pair for pair in merges]
    for pair in merges:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(symbol, bytes) for symbol in pair)):
            raise AssertionError(f"each merge should be a pair of bytes such as {right_merges[:1]}, got {shown(pair)}")
    said = f"\n  hint: {hint}" if hint else ""
    for i, (pair, right) in enumerate(zip(merges, right_merges)):
        before = f" after {shown(right_merges[:i][-5:])}" if i else ""
        if pair != right:
            text = f"merge {i + 1}{before}, learnt from {what},\n  expected {right}\n  got      {shown(pair)}{said}"
            raise AssertionError(text)
    assert_equal(len(merges), len(right_merges), what=f"the number of merges learnt from {what}", hint=hint)
    assert_equal(
        vocab, right_vocab, what=f"the vocabulary learnt from {what}", hint="bytes, merges in their order, special tokens"
    )


def compare(student, reference, text, vocab_size, special_tokens=(), hint=""):
    special_tokens = list(special_tokens)
    expected = reference.train_byte_bpe(text, vocab_size, special_tokens)
    actual = student.train_byte_bpe(text, vocab_size, special_tokens)
    what = ascii(text) if len(text) < 80 else f"a text of {len(text)} characters"
    what = f"{what} (vocab_size={vocab_size}, special_tokens={special_tokens})"
    assert_learnt(actual, expected, what, hint)


@exercise("train_byte_bpe", points=8, core=True)
@settings(max_examples=12)
@given(seed=seeds(), n_merges=sizes(1, 60))
@example(seed=1, n_merges=150)
def test_the_most_frequent_pair_is_merged_each_time(student, reference, seed, n_merges):
    """The merges and the vocabulary that are learnt from a text of words, some of them foreign."""
    compare(student, reference, corpus(seed, 70), 256 + n_merges, hint="count what has changed, and nothing that has not")


@exercise("train_byte_bpe", points=2.5)
@settings(max_examples=12)
@given(seed=seeds())
def test_of_equally_frequent_pairs_the_greatest_is_merged(student, reference, seed):
    """Ties go to the greatest pair of bytes: also of runs, of beginnings of each other, and of bytes above 127."""
    rng = random.Random(seed)
    letters = rng.choice(["a", "ab", "abc", "zyx", "éèß", "aé🙂", "0a1", "日本語"])
    words = ["".join(rng.choices(letters, k=rng.randint(1, 7))) for _ in range(6)]
    for text in (" ".join(words), "\n".join(rng.choices(words, k=9)), letters[0] * rng.randint(1, 19)):
        compare(student, reference, text, 256 + 25, hint="compare tuples of bytes: (count, (left, right)), the greatest first")


@exercise("train_byte_bpe", points=1)
def test_pairs_are_counted_place_by_place(student, reference):
    """In runs each place counts though only every second can be merged; a word counts as often as it occurs."""
    texts = [
        "aaab aaab bbbb",
        "aaaa bb bb bb",
        "ab" * 9 + " ba",
        "xaaa xaaa aa aa aa",
        "low low low lower newest widest",
        "The THE the Those LOW Low",
        "a b a b a b",
        "a  b  b",
        "one\n\n\ntwo\n\n\n",
        "don't won't",
        "aabaab abaaba",
        "ababa babab " * 3,
        "ééé éé",
        "\ufeff",
        "a\x00\x00 a\x00\x00\x0c\x0c\x0cb\u2028\u2028c",
        "aa " * 66_000 + "bcbc " * 1_000,
    ]
    for text in texts:
        compare(student, reference, text, 256 + 12, hint="zip(word, word[1:]) for each pre-token; merge from the left")


@exercise("train_byte_bpe", points=1.5)
def test_ids_are_bytes_then_merges_then_special_tokens(student, reference):
    """The ids follow each other from 0, special tokens in their order at the end, in UTF-8, also if the text has none of them."""
    text = "the theme then, the thesis"
    for special_tokens in ([], ["<|endoftext|>"], ["<b>", "<a>", "é🙂"], ["zzz", "a" * 30, "z"]):
        for n_merges in (0, 1, 7):
            compare(
                student, reference, text, 256 + n_merges + len(special_tokens), special_tokens, "vocab_size counts all of them"
            )
    compare(student, reference, text, 256 + 3)
    expected = reference.train_byte_bpe(text, 262)
    assert_learnt(student.train_byte_bpe(text, 262), expected, "a text without the argument special_tokens")
    expected = reference.train_byte_bpe(text, 263, ["th", "the"])
    assert_learnt(student.train_byte_bpe(text, 263, ("th", "the")), expected, "a text with a tuple of special tokens")
    actual = student.train_byte_bpe(text_or_path=text, vocab_size=263, special_tokens=["th", "the"])
    assert_learnt(actual, expected, "a text, all arguments given by their names")
    many = [*(f"<{i}>" for i in range(300)), "=" * 100]
    compare(student, reference, f"the <299> the <7>the=={'=' * 100}=", 256 + 5 + 301, many, "all of them split the text")


@exercise("train_byte_bpe", points=3)
@settings(max_examples=6)
@given(seed=seeds())
def test_special_tokens_split_the_text(student, reference, seed):
    """Nothing of a special token is counted, nothing is merged across one; of several that fit, the longest counts."""
    rng = random.Random(seed)
    sets = [
        ["<|endoftext|>"],
        ["<s>", "</s>"],
        ["ab", "abc"],
        ["abc", "ab"],
        ["a.", "|", "(", "[x]", "\\d"],
        [" "],
        ["aa"],
        ["\n\n", " ab"],
        ["éa", "🙂"],
        ["<|a|>", "<|a|><|b|>", "<|b|>"],
    ]
    for special_tokens in rng.sample(sets, 4):
        pieces = [
            *special_tokens,
            *special_tokens,
            "ab",
            "abc",
            "a",
            "a.",
            " ab",
            " ",
            "  ",
            "low",
            "'s",
            "\n",
            "é",
            "|",
            "x",
            "ax",
        ]
        text = "".join(rng.choices(pieces, k=25))
        compare(
            student, reference, text, 256 + 15 + len(special_tokens), special_tokens, "split first, then cut each part by itself"
        )
    for text, special_tokens in (
        ("low<|x|>er low<|x|>er", ["<|x|>"]),
        ("a  <|x|>b  <|x|>b a", ["<|x|>"]),
        ("aXXa aXXa", ["X"]),
        ("aXbXaXb", ["X"]),
        ("axxbX axxbX", ["X"]),
    ):
        compare(student, reference, text, 256 + 8 + 1, special_tokens, "split first, then cut each part by itself")
    marks = "\x00\x01\x02\x03\x1f\x7f\ue000\ufffd\uffff\U0010ffff"
    text = "".join(f"!{mark}!{mark}<s>" for mark in marks)
    compare(student, reference, text, 302, ["<s>"], "only special tokens split; any other character may be text")


@exercise("train_byte_bpe", points=1)
def test_training_stops_when_no_pair_is_left(student, reference):
    """With fewer merges than were asked for, the special tokens follow right behind; from no text nothing is learnt."""
    for text in ("", "a", "a b", "ab", "abc abc", "aaaa", "🙂", "<x><x>", " ", "\n\n"):
        for special_tokens in ([], ["<x>", "<y>"]):
            compare(student, reference, text, 300, special_tokens, "stop when no pre-token has two symbols")


@exercise("train_byte_bpe", points=1)
def test_a_path_is_read_as_utf_8(student, reference):
    """A Path is a file of UTF-8, whose line ends and byte order mark stay; a str is a text, whatever it looks like."""
    texts = ["the é the é 🙂🙂", "a\r\nb\r\nc\r\n\r\n", "\ufeffa \ufeffa", "\ufeffa a", "a\rb\rb", "x<s>\r\n<s>x"]
    texts += ["a\x0c\x0cb\x85\x85c\u2028\u2028d", "ab" * 2**15 + "a\n\n\n b"]
    for text in texts:
        actual = student.run(scenarios.train_from_file, text.encode(), 275, ["<s>"])
        what = ascii(text) if len(text) < 80 else f"the text {text[:8]}…, whose first word has {text.index(chr(10))} letters"
        hint = "in text mode, Python changes line ends; and no part of a file, be it a line or 4,096 bytes, can be cut by itself"
        assert_learnt(actual, reference.train_byte_bpe(text, 275, ["<s>"]), f"a file with {what}", hint)
    text = "a\r\n\r\nb" * 20
    actual = student.train_byte_bpe(text, 260)
    assert_learnt(actual, reference.train_byte_bpe(text, 260), f"the text {text[:6]!r} * 20", "a str is the text itself")
    for name in ("corpus", "corpus.txt"):
        actual = student.run(scenarios.train_from_a_name, name, b"xyz xyz xyz", 270)
        assert_learnt(actual, reference.train_byte_bpe(name, 270), f"the text {name!r}", "only a Path is a file")


@exercise("train_byte_bpe", points=1)
def test_impossible_vocabularies_are_refused(student):
    """vocab_size has to have room for all bytes and special tokens; these are not empty, and none comes twice."""
    for args in (
        ("ab", 255),
        ("ab", 0),
        ("ab", -1),
        ("ab ab", 256, ["<s>"]),
        ("ab", 257, ["<s>", "<t>"]),
        ("ab", 300, ["<s>", "<t>", "<s>"]),
        ("ab", 300, [""]),
        ("ab", 300, ["<s>", ""]),
    ):
        assert_refused(student.train_byte_bpe, *args, why="256 bytes and all special tokens have to have a place")
    assert_equal(
        len(student.train_byte_bpe("ab ab", 258, ["<s>", "<t>"])[0]), 258, what="the smallest vocabulary with two special tokens"
    )


@exercise("train_byte_bpe", points=1)
def test_each_training_begins_anew(student, reference):
    """Several trainings know nothing of each other, and the list of special tokens stays as it is."""
    calls = [
        ["low lower", 262, ["<s>"]],
        ["low lower", 262, ["<s>"]],
        ["xy xy", 258, []],
        ["", 300, ["<t>", "<t><t>", "<s>"]],
        ["low lower", 260, []],
    ]
    for i, (seen, (text, vocab_size, special_tokens)) in enumerate(zip(student.run(scenarios.train_in_turns, calls), calls)):
        expected = reference.train_byte_bpe(text, vocab_size, special_tokens)
        assert_learnt(
            seen[:2], expected, f"{text!r}, call {i + 1} of five", "a default argument or a global that is changed lives on"
        )
        assert_equal(seen[2], True, what="whether special_tokens is as it was")


@exercise("train_byte_bpe", points=1.5)
def test_merges_do_not_go_through_all_words(student, reference):
    """350 merges of 12,000 different words are learnt in the time that a call has, which counting anew would not be."""
    rng = random.Random(7)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er")]
    text = " ".join("".join(rng.choices(syllables, k=rng.randint(2, 5))) for _ in range(12_000))
    compare(student, reference, text, 256 + 350, hint="keep the counts, and for each pair the words that hold it")


@exercise("train_byte_bpe", points=0.5)
def test_merges_cost_nothing_where_the_pair_is_not(student, reference):
    """400 merges within 100 frequent words take little time beside 8,000 rare words, which have none of their pairs."""
    rng = random.Random(8)
    frequent = ["".join(rng.choices("aeiouyhjkw", k=8)) for _ in range(100)]
    rare = {"".join(rng.choices("bcdfglmnprstvxz", k=6)) for _ in range(8_000)}
    text = " ".join([*(frequent * 250), *rare])
    expected = reference.train_byte_bpe(text, 256 + 400)
    without, all_of_it = (
        student.measure("train_byte_bpe", text, 256 + n_merges, [], warm_up=("ab", 257, [])) for n_merges in (0, 400)
    )
    hint = "count each different pre-token once, and go only through those that hold the pair"
    assert_learnt(all_of_it.value, expected, "100 frequent and 8,000 rare words", hint)
    merging = all_of_it.cpu_seconds - without.cpu_seconds
    said = f"400 merges took {merging:.2f} s more than none, which took {without.cpu_seconds:.2f} s"
    assert merging <= 0.15 + without.cpu_seconds, f"{said}\n  hint: {hint}"
