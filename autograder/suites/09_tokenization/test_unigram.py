"""Hidden tests: the most probable segmentation. The truth is trying every one."""

import math
import random

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.strategies import example, given, seeds, settings, sizes

from . import scenarios

INF = math.inf


def table_for(seed, n, letters="ab", longest=4, chars=True):
    """Log-probabilities of pieces; that of a long one may be higher or lower than that of its parts together."""
    rng = random.Random(seed)
    pieces = {"".join(rng.choice(letters) for _ in range(rng.randint(1, longest))) for _ in range(n)} | set(
        letters if chars else ""
    )
    return {piece: -rng.uniform(0.5, 3) * len(piece) ** 0.7 for piece in sorted(pieces)}


def all_ways(text, table):
    """Every way to write the text: (log-probability, pieces)."""
    ways = [[(0.0, [])]]
    for end in range(1, len(text) + 1):
        ways.append([
            (log_prob + table[text[start:end]], [*pieces, text[start:end]])
            for start in range(end) if table.get(text[start:end], -INF) > -INF
            for log_prob, pieces in ways[start]
        ])  # fmt: skip
    return ways[-1]


def assert_way(found, text, table, expected, what, hint=""):
    """The pieces make up the text, have the log-probability that is said, and it is the best."""
    pieces, log_prob = found
    assert all(piece in table and piece for piece in pieces), f"{what}: {pieces} are not all in the table"
    assert_equal("".join(pieces), text, what=f"the text of {what}", hint="pieces in the order of the text")
    assert_close(log_prob, float(sum(table[piece] for piece in pieces)), what=f"the log_prob of {what}, against its own pieces'")
    assert_close(log_prob, float(expected), what=f"the log_prob of {what}, against the best way's", hint=hint)


@exercise("unigram_segment", points=5, core=True)
@settings(max_examples=60)
@given(seed=seeds(), n=sizes(0, 20), length=sizes(1, 11))
@example(seed=1, n=20, length=12)
@example(seed=2, n=30, length=12)
def test_no_way_is_more_probable(student, seed, n, length):
    """Beside brute force: every way to write the text is tried."""
    table = table_for(seed, n)
    rng = random.Random(seed + 1)
    text = "".join(rng.choice("ab") for _ in range(length))
    best = max(log_prob for log_prob, _ in all_ways(text, table))
    found = student.unigram_segment(text, table)
    assert_way(found, text, table, best, f"{text!r} in {table}", "the best beginning for each end, over every last piece")


@exercise("unigram_segment", points=1.5)
@settings(max_examples=20)
@given(seed=seeds(), n=sizes(3, 12))
@example(seed=5, n=8)
def test_the_best_way_is_found_where_characters_alone_are_none(student, seed, n):
    """Single characters need not be pieces: a good beginning may lead nowhere, and what cannot be written is refused."""
    table = table_for(seed, n, "abc", chars=False)
    rng = random.Random(seed)
    text = "".join(rng.choice(sorted(table)) for _ in range(4))[:14]
    ways = all_ways(text, table)
    if ways:
        assert_way(student.unigram_segment(text, table), text, table, max(ways)[0], f"{text!r} in {table}")
    else:
        assert_refused(student.unigram_segment, text, table, why="no pieces make up the text")
    fixed = {"ab": -0.1, "abc": -5.0, "d": -1.0, "cde": -9.0, "e": -1.5, "de": -0.2}
    if seed == 5:  # once
        assert_way(student.unigram_segment("abcde", fixed), "abcde", fixed, -5.2, "abcde", "ab is good, and cde behind it is bad")


@exercise("unigram_segment", points=1.5)
def test_what_cannot_be_written_is_refused(student):
    """A text that no pieces make up is a ValueError, wherever they are missing; a piece of log-probability -inf is none."""
    table = {"a": -1.0, "ab": -1.0, "cc": -2.0, "never": -INF, "b": -INF}
    for text in ("x", "ax", "xa", "axa", "c", "acca"[:2], "never", "abb", "aabccc", "a" * 40 + "x", "A", "a "):
        assert_refused(student.unigram_segment, text, table, why="no pieces make up the text")
    assert_refused(student.unigram_segment, "a", {}, why="there are no pieces")
    assert_refused(student.unigram_segment, "a", {"": -1.0}, why="the empty piece makes up nothing")
    assert_way(student.unigram_segment("aabcc", table), "aabcc", table, -4.0, "aabcc", "the rest of the table is no trouble")


@exercise("unigram_segment", points=1)
def test_nothing_and_the_empty_piece(student):
    """Empty text is no piece and log-probability 0; the empty piece is never used, however probable it is."""
    for table in ({"a": -1.0}, {}, {"": -0.5, "a": -1.0}, {"": 0.0}):
        assert_close(student.unigram_segment("", table), ([], 0.0), what=f"the empty text in {table}")
    for empty in (-0.1, 0.0):
        table = {"": empty, "a": -1.0, "aa": -1.5}
        assert_way(student.unigram_segment("aaa", table), "aaa", table, -2.5, f"aaa in {table}")


@exercise("unigram_segment", points=1)
def test_log_probabilities_of_every_size(student):
    """Log-probabilities of 0, far below, and close to each other are compared as they are; whole numbers do."""
    for table in ({"a": 0.0, "aa": 0.0, "b": -1e9, "ab": -1e8}, {"a": -0.5, "aa": 0.0, "b": -0.25, "ab": 0.0},
                  {"a": -800.0, "aa": -1600.5, "b": -900.0, "ab": -1700.25},
                  {"a": -1.0, "aa": -2.0 + 1e-7, "b": -3.0, "ab": -4.0 - 1e-7},
                  {"a": -1.0, "aa": -2.0 + 1e-10, "b": -3.0, "ab": -4.0 - 1e-10},
                  {"a": -1e300, "aa": -1e299, "b": -1e200, "ab": -2e300},
                  {"a": -1, "b": -2, "ab": -2, "aa": -3}):  # fmt: skip
        for text in ("a", "aab", "baab", "aaaab", "abab"):
            best = max(log_prob for log_prob, _ in all_ways(text, table))
            found = student.unigram_segment(text, table)
            assert_close(found[1], float(best), what=f"the log_prob of {text} in {table}", rtol=1e-12)
            assert_way(found, text, table, best, f"{text} in {table}")
    assert_equal(
        student.run(scenarios.kinds, "unigram_segment", ["ab", {"a": -1.0, "b": -1.0}])[:2], ["tuple", "list"], what="the types"
    )


@exercise("unigram_segment", points=1)
def test_texts_are_long_and_of_any_characters(student):
    """Thousands of characters, long pieces and characters from anywhere; the table and other calls are left alone."""
    table = {
        "a": -1.0,
        "ab": -1.2,
        "b": -1.1,
        "abba" * 5: -9.0,
        "é": -1.0,
        "e": -2.0,
        "\u0301": -3.0,
        "e\u0301": -4.0,
        "🙂": -0.5,
        " ": -0.7,
        "A": -0.9,
        "A ": -1.4,
        "": -0.1,
    }
    unit = "abba" * 7 + "e\u0301é🙂" + "aab A A "
    for text in (unit, unit * 40, "é" * 1500):
        found, again = student.run(scenarios.in_a_row, "unigram_segment", [[text, table], [text, table]])
        best = viterbi(text, table)
        assert_way(
            found, text, table, best, f"a text of {len(text)} characters", "a loop: Python allows 1000 calls in each other"
        )
        assert_equal(again, found, what="a second call")
    letters = {"a": -1.0, "b": -0.5}
    found = student.unigram_segment("ab" * 800, letters)
    assert_way(found, "ab" * 800, letters, -1200.0, "800 times ab, letter by letter", "a loop: Python allows 1000 calls")
    other = dict.fromkeys(table, -1.0)
    calls = [["aab", table], ["aab", other], ["aab", table]]
    calls += [["b", {"a": -1.0, "b": -1.0}], ["aab", {"aab": -1.0, "b": -9.0}]]
    seen = student.run(scenarios.in_a_row, "unigram_segment", calls)
    for found, (text, used) in zip(seen, calls, strict=True):
        assert_way(found, text, used, max(all_ways(text, used))[0], f"{text} in {used}", "keep nothing between calls")
    assert student.run(scenarios.called, "unigram_segment", ["aab", table])["untouched"], "the table was changed"
    changing = {"a": -1.0, "b": -1.0, "ab": -1.5}
    found = student.run(scenarios.segmented_meanwhile, "ab", changing, "ab")
    expected, hint = [(["ab"], -1.5), (["a", "b"], -2.0)], "keep nothing between calls: a table may change"
    assert_close(found, expected, what=f"'ab' in {changing}, and in the same table without 'ab'", hint=hint)
    marks = [*map(chr, range(256)), *"•■▁\ue000\ufffd\uffff\U0010ffff"]  # whatever marks the end of a piece
    calls = [[f"w{mark}", {"w": -1.0, f"w{mark}": -1.5, mark: -1.0}] for mark in marks if mark != "w"]
    for found, (text, used) in zip(student.run(scenarios.in_a_row, "unigram_segment", calls), calls, strict=True):
        assert_way(found, text, used, -1.5, f"{text!r} in {used}", "a piece may have any character: none can mark its end")
    table = {"a": -1.0, "b": -1.0, "ab" * 150: -3.0}
    found = student.unigram_segment("a" + "ab" * 151, table)
    assert_way(found, "a" + "ab" * 151, table, -6.0, "303 characters with a piece of 300", "pieces may be long")
    table = {"ab" * 150: -3.0}
    found = student.unigram_segment("ab" * 300, table)
    assert_way(found, "ab" * 300, table, -6.0, "twice the only piece, which has 300 characters", "nothing shorter is a piece")


def viterbi(text, table):
    best = [0.0] + [-INF] * len(text)
    for i in range(len(text)):
        for piece, log_prob in table.items():
            if piece and text.startswith(piece, i):
                best[i + len(piece)] = max(best[i + len(piece)], best[i] + log_prob)
    return best[-1]
