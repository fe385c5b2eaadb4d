"""Hidden tests: the tokenizer, with small vocabularies that were learnt, and with the beginning of GPT-2's. The truth is the
reference."""

import codecs
import itertools
import random

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import example, given, seeds, settings

from . import scenarios
from .cases import COMPOSED, EVERYTHING, PLAIN, corpus, cut_up, mixture, vocabulary, vocabulary_of_lines, written

# A character for each way in which UTF-8 begins one: C2, DF, E0 A0, E0 A4, E1, ED, EE, EF, F0, F1, F4.
EACH_BEGINNING = (0x80, 0x7FF, 0x800, 0x939, 0x1000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x40000, 0x10FFFF)
SPECIAL = ("<|endoftext|>", "<|a|>", "<|a|><|b|>", "<|b|>", "..", "<s>", "ab", "abc", "x|y", "<|" + "no 1 " * 20 + "|>")

# A text, and merges. A whole word, a pair whose halves are taken apart, and a later pair where one has gone (a, bc for a, b) have
# no right of their own.
UNUSUAL_MERGES = (
    ("theh", ("h", "e"), ("t", "he"), ("t", "h")),
    ("whole", ("o", "l")),
    ("abcd", ("b", "c"), ("a", "b"), ("bc", "d"), ("a", "bc")),
)

# A line that is longer than all that may wait: behind it, a stream is cut at the line's end. Nothing joins on to it.
LONG_LINE = f"{'x' * 49} " * 100 + "1"
CUTS = (
    ("we'l", "l go"),
    ("we'v", "e"),
    ("a ", "b"),
    ("a  ", "  b"),
    ("<|endoftext|", ">"),
    ("<|a|>", "<|b|>"),
    ("<|a|><|b|", ">"),
)
CUT_MERGES = [(b"'", b"l"), (b"'l", b"l"), (b"'", b"v"), (b"'v", b"e"), (b" ", b" "), (b" ", b"b")]


def shown(value):
    text = ascii(value)
    return text if len(text) <= 160 else f"{text[:160]}…"


def call(case):
    """encode of (text, allowed_special), as one would write it."""
    text, allowed = case
    is_set = isinstance(allowed, list) and allowed[:1] == ["as a set"]
    allowed = f"{{{', '.join(map(repr, allowed[1:]))}}}" if is_set and allowed[1:] else "set()" if is_set else repr(allowed)
    return f"encode({shown(text)}, allowed_special={allowed})"


def assert_each(actual, expected, given, what, hint="", show=shown):
    """Row by row, with what was given."""
    for seen, right, row in zip(actual, expected, given, strict=True):
        if seen != right:
            where = ""
            if isinstance(seen, list) and isinstance(right, list):
                i = next((i for i, (a, b) in enumerate(zip(seen, right)) if a != b), min(len(seen), len(right)))
                where = f", first at index {i}"
            said = f"{what} of {show(row)}{where}\n  expected {shown(right)}\n  got      {shown(seen)}"
            raise AssertionError(said + (f"\n  hint: {hint}" if hint else ""))


def texts_of(seed, n=6):
    """Texts like those that the vocabulary of the seed was learnt from, and others."""
    return [corpus(seed % 5 if i % 2 else seed + i, 12) for i in range(n - 1)] + [mixture(seed, PLAIN, 20)]


@exercise("GPT2Tokenizer", points=5.5, core=True)
@settings(max_examples=8)
@given(seed=seeds())
def test_texts_have_their_ids(student, reference, seed):
    """With vocabularies that were learnt, texts are encoded by merging the pairs in the order in which they were learnt."""
    known = vocabulary(seed % 5, 20 + 40 * (seed % 3))
    texts = [
        *texts_of(seed),
        "",
        "a",
        "aaaaaaa",
        " ",
        "\n\n  x",
        "é🙂日本",
        "<|endoftext|>",
        "bababababa babababa",
        "a     bo  da",
        "x'sa'llo 'sasa 'lli",
        f"{'ba' * 40}x {'ba' * 40}s {'ba' * 40}",
        "ba" * 520,
        *COMPOSED,
        mixture(seed, EVERYTHING, 20),
    ]
    expected = reference.run(scenarios.encode_all, known, texts)
    hint = "the pair that stands first in the merges, at each of its places, until none is left; ids from the vocabulary"
    assert_each(student.run(scenarios.encode_all, known, texts), expected, texts, "the ids", hint)
    for text, *merges in UNUSUAL_MERGES:
        pairs = [tuple(map(str.encode, pair)) for pair in merges]
        tokens = [*(bytes([byte]) for byte in range(256)), *dict.fromkeys(a + b for a, b in pairs), b"whole"]
        given = dict(enumerate(tokens)), pairs, []
        expected, what = reference.run(scenarios.encode_all, given, [text]), f"with the merges {merges}, the ids"
        assert_each(student.run(scenarios.encode_all, given, [text]), expected, [text], what, hint)


@exercise("GPT2Tokenizer", points=2.5, core=True)
@settings(max_examples=7)
@given(seed=seeds())
def test_ids_have_their_text(student, reference, seed):
    """What was encoded is decoded to the same; any ids are decoded by joining their bytes, and wrong bytes become U+FFFD."""
    rng, known = random.Random(seed), vocabulary(seed % 5, 60)
    texts = [text for text in texts_of(seed) if text] + ["\ufeffab", "\ufeff\ufeff"]
    assert_each(student.run(scenarios.there_and_back, known, texts), texts, texts, "decode(encode(text))")
    rows = [rng.choices(list(known[0]), k=rng.randint(0, 8)) for _ in range(8)] + [[], [max(known[0])]]
    rows += [[rng.choice([i for i, token in known[0].items() if max(token) > 127]) for _ in range(5)] for _ in range(4)]
    expected = reference.run(scenarios.decode_all_ids, known, rows)
    assert_each(
        student.run(scenarios.decode_all_ids, known, rows),
        expected,
        rows,
        "the text",
        'join all bytes, then decode with "replace"',
    )


# The first 256 ids, and the first merges, of GPT-2's published files.
GPT2_MERGES = (
    "Ġ t|Ġ a|h e|i n|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|Ġ o|e n|Ġ c|i t|i s|a n|o r|e s|Ġ b|"
    "e d|Ġ f|in g|Ġ p|o u|Ġa n|a l|a r|Ġt o|Ġ m|Ġo f|Ġ in|Ġ d|Ġ h|Ġan d|i c|a s|l e|Ġt h|i on|"
    "o m|l l|en t|Ġ n|Ġ l|s t|Ġ re|v e|Ġ e|r o|l y|Ġb e|Ġ g|Ġ T|c t|Ġ S|i d|o t|Ġ I|u t|"
    "e t|Ġ A|Ġ is|Ġ on|i m|a m|o w|a y|a d|s e|Ġth at|Ġ C|i g|Ġf or|a c|Ġ y|v er|u r|Ġ u|l d|"
    "Ġs t|Ġ M|' s|Ġ he|Ġ it|at ion|it h|i r|c e|Ġy ou|i l|Ġ B|Ġw h|o l|Ġ P|Ġw ith|Ġ 1|t er|c h|Ġa s|"
    'Ġw e|Ġ (|n d|i ll|Ġ D|i f|Ġ 2|a g|er s|k e|Ġ "|Ġ H|e m|Ġc on|Ġ W|Ġ R|he r|Ġw as|Ġ r|o d|'
    "Ġ F|u l|at e|Ġa t"
)
IDS_OF_GPT2 = [
    [
        51,
        258,
        294,
        278,
        318,
        326,
        340,
        318,
        77,
        6,
        83,
        339,
        81,
        82,
        11,
        290,
        314,
        6,
        297,
        307,
        351,
        345,
        379,
        352,
        17,
        287,
        262,
        366,
        78,
        335,
        1,
        336,
        341,
        13,
        198,
        198,
        220,
        311,
        258,
        373,
        357,
        83,
        258,
        260,
        8,
        319,
        262,
        267,
        83,
        372,
        319,
        68,
    ],
    [39, 68, 50256, 260],
]


@exercise("GPT2Tokenizer", points=3)
@settings(max_examples=3)
@given(seed=seeds())
@example(seed=12)
@example(seed=13)
def test_files_are_read_in_their_published_form(student, reference, seed):
    """encoder.json and vocab.bpe, as str or Path: ids are those of the file, # may be a token, what no merge makes is special."""
    rng, known = random.Random(seed), vocabulary(seed % 5, 60, special_tokens=(*SPECIAL[: seed % 3 + 1], "[é🙂]"))
    last = [(a + b).decode(errors="ignore") for a, b in known[1][-3:]]
    vocab, merges = written(known)
    if seed % 2:
        extra = ["# #", "## ##"]
        merges += ("\n".join(extra) + "\n").encode()
        vocab |= {line.replace(" ", ""): max(vocab.values()) + 1 + i for i, line in enumerate(extra)}
    order = rng.sample(range(len(vocab)), len(vocab))  # the special tokens' ids are not the largest
    vocab = {token: order[i] for i, token in enumerate(vocab)}
    items = rng.sample(list(vocab.items()), len(vocab))
    files = scenarios.as_json(dict(items), ascii_only=bool(seed % 4), indent=1 if seed % 3 else None), merges
    texts = [*texts_of(seed), "### # ## a##b ####", " ".join(last), "x <|endoftext|><|a|>y <|b|>[é🙂]", "\x00\x7f\xad\xa0", "0.2"]
    rows = [rng.choices(list(vocab.values()), k=8) for _ in range(3)]
    for allowed in ((), "all"):
        args = (*files, texts, allowed, rows, bool(seed % 2))
        for actual, right, given_, what in zip(
            student.run(scenarios.from_files, *args),
            reference.run(scenarios.from_files, *args),
            (texts, rows),
            ("the ids", "the text"),
        ):
            assert_each(
                actual,
                right,
                given_,
                f"{what} (allowed_special={allowed!r})",
                "the first line of the merges is their version; no other is skipped",
            )


@exercise("GPT2Tokenizer", points=1)
def test_vocabularies_as_large_as_that_of_gpt_2(student, reference):
    """With GPT-2's first merges and order of bytes the ids are tiktoken's; 65,617 merges and large ids are no limit."""
    merges = [tuple(line.split(" ")) for line in GPT2_MERGES.split("|")]
    table = [*map(chr, (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)))]
    vocab = {token: i for i, token in enumerate([*table, *(a + b for a, b in merges)])} | {"<|endoftext|>": 50256}
    files = scenarios.as_json(vocab), ("#version: 0.2\n" + "\n".join(GPT2_MERGES.split("|")) + "\n").encode()
    texts = [
        "The thing is that it isn't hers, and I'll be with you at 12 in the "
        '"old" station.\n\n  She was (there) on the other one',
        "He<|endoftext|>re",
    ]
    expected = IDS_OF_GPT2
    actual, back = student.run(scenarios.from_files, *files, texts, "all", expected)
    assert_each(actual, expected, texts, "the ids")
    assert_each(back, texts, expected, "the text")
    texts = ["abacabcbbcac cabbabcacbacaab bcbcaa", "é🙂日本 that's\x00"]
    for first_id in (0, 2**70):
        args = scenarios.with_many_merges, texts, first_id, 11
        for actual, right in zip(student.run(*args), reference.run(*args)):
            assert_each(actual, right, texts, f"ids or text, with 65,617 merges and ids from {first_id} on,")


@exercise("GPT2Tokenizer", points=3)
@settings(max_examples=10)
@given(seed=seeds())
def test_only_special_tokens_that_are_allowed_count_as_such(student, reference, seed):
    """By default a special token is plain text; allowed ones split the text, the longest where several fit."""
    rng, known = random.Random(seed), vocabulary(seed % 4, 40, special_tokens=SPECIAL)
    cases = []
    for _ in range(10):
        text = "".join(
            rng.choices(
                [*SPECIAL, *SPECIAL[:4], "<|", "|>", " ", "  ", "lo", "\n", ".", "c", "a", "b", "'", "s", "é"],
                k=rng.randint(0, 12),
            )
        )
        some = rng.sample(SPECIAL, rng.randint(0, 5))
        cases += [(text, rng.choice(["all", [], some, ["as a set", *some], list(SPECIAL)]))]
    cases += [
        ("a  <|a|>  b", "all"),
        ("a  <|a|>  b", []),
        ("don<|b|>'t", ["<|b|>"]),
        ("<|a|><|b|>", ["<|a|>", "<|b|>"]),
        ("<|a|><|b|>", "all"),
        ("x|y", "all"),
        ("<|A|>AB <|ENDOFTEXT|>", "all"),
        ("xxy", "all"),
        ("abcab", ["ab", "abc"]),
        ("abcab", ["abc", "ab"]),
        ("abcab", ["as a set", "ab"]),
        ("aabc", ["abc"]),
        (f"{SPECIAL[-1]}{SPECIAL[-1][:-1]} {SPECIAL[-1]}", "all"),
    ]
    expected = reference.run(scenarios.encode_with, known, cases)
    hint = "leftmost first, longest of those; what lies between is encoded by itself; | and . are plain characters"
    assert_each(student.run(scenarios.encode_with, known, cases), expected, cases, "the ids", hint, call)
    cases = [(text, allowed) for text in ("a <|a|>lo", "se  mo", "") for allowed in ("all", [])]
    for n_merges, of_what in ((0, "merges and special tokens"), (20, "special tokens")):  # "se" and "mo" are among the 20
        known = vocabulary(0, n_merges, special_tokens=())
        expected = reference.run(scenarios.encode_with, known, cases)
        what = f"without any {of_what}, the ids"
        assert_each(student.run(scenarios.encode_with, known, cases), expected, cases, what, show=call)


@exercise("GPT2Tokenizer", points=0.5)
def test_the_larger_of_two_ids_is_that_of_the_special_token(student, reference):
    """Where a byte or a merge has the bytes of a special token, the smaller id is that of plain text; both are decoded."""
    vocab, merges, _ = vocabulary(1, 40)
    token = next((a + b).decode() for a, b in merges if (a + b).isalpha())
    special = ["X", token, "."]
    more = dict(enumerate(map(str.encode, special), max(vocab) + 1))
    cases = [(f"aX {token}X..{token}", allowed) for allowed in ([], "all", ["X"], [token, "."])]
    for both in (vocab | more, more | vocab):
        expected = reference.run(scenarios.encode_with, (both, merges, special), cases)
        seen = student.run(scenarios.encode_with, (both, merges, special), cases)
        assert_each(seen, expected, cases, "the ids", "compare the ids, not the order of the dictionary", call)
        rows = [[i] for i, text in both.items() if text in map(str.encode, special)]
        texts = [both[i].decode() for (i,) in rows]
        hint = "a vocabulary turned round has one id for each token, and loses the others: decode by id"
        assert_each(student.run(scenarios.decode_all_ids, (both, merges, special), rows), texts, rows, "the text", hint)
        pieces = [[text, text] for text in texts]
        assert_each(student.run(scenarios.decode_in_pieces, (both, merges, special), rows), pieces, rows, "the pieces", hint)


@exercise("GPT2Tokenizer", points=3)
@settings(max_examples=6)
@given(seed=seeds())
def test_pieces_are_encoded_as_the_whole(student, reference, seed):
    """encode_iterable gives the ids of the joined text, wherever a word, white space, a contraction or a special token is cut."""
    rng, known = random.Random(seed), vocabulary(seed % 4, 40, special_tokens=SPECIAL)
    pieces = [*PLAIN, *SPECIAL, *SPECIAL[:4], "'", "'", "v", "e", "l", "r", "é", "🙂"]
    texts = ["".join(rng.choices(pieces, k=rng.randint(0, 12))) for _ in range(8)] + texts_of(seed, 3)
    texts += [
        "we've",
        "I'll 'll",
        "a'''re",
        "a  b \n c  ",
        "x <|endoftext|> y",
        "<|a|><|b|>",
        "<|a|><|a|",
        "abab",
        "..",
        ". .",
        "don't",
        "a'r",
        "it's  ",
        *COMPOSED,
    ]
    rows = [cut_up(seed + i, text, rng.choice([1, 1, 2, 4, 9])) for i, text in enumerate(texts)]
    rows += [["we'v", "e"], ["'v", "e x"], ["I'l", "l"], ["x 'r", "a"], ["'", "l", "l"], ["a ", " b"], ["a", " ", " ", "b"]]
    joined = ["".join(lines) for lines in rows]
    for allowed in ([], ["all"], [[token for token in SPECIAL if rng.random() < 0.5]]):
        expected = [[ids, ids] for ids in reference.run(scenarios.encode_all, known, joined, *allowed)]
        hint = "the last pre-token may go on, and so may 'v, two spaces, or <|end: keep them until more is there"
        what = f"[ids of a list, ids of an iterator] (allowed_special={shown(allowed)})"
        assert_each(student.run(scenarios.in_pieces, known, rows, *allowed), expected, rows, what, hint)
    rows = [["a\n", "\n", "\n", "b\n", "   c\n", "\n", " d"], ["\n", "\n", "b"], ["a\n", "   c\n"]]  # as a file is read
    rows += [["a\n\n", "b"], ["a.", "..", " b"], ["a !", "? b"], ["b 🙂", "🙂\n"]]
    known = vocabulary_of_lines()
    expected = [[ids, ids] for ids in reference.run(scenarios.encode_all, known, ["".join(lines) for lines in rows])]
    hint = "what stands at a line's end, be it white space, a full stop or a face, may go on in the next line"
    assert_each(student.run(scenarios.in_pieces, known, rows), expected, rows, "[ids of a list, ids of an iterator]", hint)
    special = ["<|endoftext|>", "<|a|>", "<|a|><|b|>", "<|b|>"]
    tokens = [*(bytes([byte]) for byte in range(256)), *(a + b for a, b in CUT_MERGES), *map(str.encode, special)]
    known = dict(enumerate(tokens)), CUT_MERGES, special
    for allowed, cuts in (("all", CUTS), ([], CUTS[: 4 * (seed % 2)])):
        rows = [[LONG_LINE + end, start] for end, start in cuts]
        long, *right = reference.run(scenarios.encode_all, known, [LONG_LINE, *map("".join, rows)], allowed)
        seen = student.run(scenarios.in_pieces, known, rows, allowed)
        seen = [[ids[len(long) :] if isinstance(ids, list) else ids for ids in both] for both in seen]
        what = f"behind a long line, [ids of a list, ids of an iterator] (allowed_special={allowed!r})"
        hint = "hold back what may go on, whenever ids are given: the last pre-token, 'v, two spaces, or <|end"
        assert_each(seen, [[ids[len(long) :]] * 2 for ids in right], cuts, what, hint)


@exercise("GPT2Tokenizer", points=1.5)
def test_a_stream_is_read_as_it_comes(student, reference):
    """Lines are drawn as they are needed, little of what was drawn is held back, and nothing of what was given is kept."""
    known = vocabulary(2, 40)
    words = sorted(set(corpus(2, 300, foreign=False).replace(",", "").replace(".", "").split()))
    (ids, n_lines), (right, _) = (side.run(scenarios.endless, known, words, 5, 800) for side in (student, reference))
    assert_equal(
        ids, right, what="the first 800 ids of lines without end", hint="a generator, which draws lines only as far as it must"
    )
    n = 70_000
    seen = student.run(scenarios.held_back, known, [*words, "<|endoftext|>"], 6, n)
    assert_equal(seen["given"], seen["drawn"], what="the number of characters that have ids in the end")
    said = f"of {n} characters in short lines, {seen['held back']} were drawn at some time whose ids had not been given"
    assert seen["held back"] <= 2**12 + 1000, f"{said}\n  hint: give ids while lines come"
    said = f"between the first third and the end of a stream of {n} characters, memory grew by {seen['grown by']} bytes"
    assert seen["grown by"] <= 50_000, f"{said}\n  hint: keep neither lines nor ids that are done with"
    seen = student.run(scenarios.held_back_of_long_lines, known, words, 7, 120_000)
    assert_equal(seen["given"], seen["drawn"], what="the number of characters of long lines that have ids in the end")
    said = f"beside the last of some long lines, {seen['held back']} characters had been drawn at some time and not given"
    assert seen["held back"] <= 2**12 + 1000, f"{said}\n  hint: count characters, not lines"


@exercise("GPT2Tokenizer", points=1.5)
@settings(max_examples=12)
@given(seed=seeds())
def test_pieces_of_text_are_the_whole_text(student, reference, seed):
    """decode_stream, joined, is what decode gives, also where characters are cut in two, or wrong, or never end."""
    rng, known = random.Random(seed), vocabulary(seed % 5, 30)
    single = {token[0]: i for i, token in known[0].items() if len(token) == 1}
    texts = [mixture(seed + i, ["é", "🙂", "日", "हि", "a", " ", "\ufeff"], 6).encode() for i in range(5)]
    texts += [
        bytes(
            rng.choices(
                [0x41, 0x80, 0xBF, 0xC3, 0xE2, 0x82, 0xAC, 0xED, 0xA0, 0xF0, 0x9F, 0x98, 0xF4, 0x90, 0xFF], k=rng.randint(0, 7)
            )
        )
        for _ in range(8)
    ]
    texts += [data[: rng.randint(0, len(data))] for data in texts]
    rows = [[single[byte] for byte in data] for data in texts] + [rng.choices(list(known[0]), k=7) for _ in range(3)]
    expected = [[text, text] for text in reference.run(scenarios.decode_all_ids, known, rows)]
    hint = "keep the bytes of a character that may still go on; at the end replace what is left of one"
    what = "[the text from a list, from an iterator], joined,"
    assert_each(student.run(scenarios.decode_in_pieces, known, rows), expected, rows, what, hint)


@exercise("GPT2Tokenizer", points=1)
def test_each_character_is_written_as_soon_as_it_is_there(student, reference):
    """Before decode_stream draws the next id, it has given all whole characters of those before, and all that cannot be one."""
    vocab, merges, special = vocabulary(1, 30)
    more = max(vocab) + 1
    known = vocab | {more: b"ab\xe6\x97", more + 1: b"\xa5c\xf0", more + 2: "é\ufffd".encode()}, merges, special
    id_of = {token: i for i, token in known[0].items()}
    texts = [
        "aé🙂日本 low".encode(),
        "🙂🙂".encode(),
        b"abc",
        "a\ufffdb".encode(),
        "".join(map(chr, EACH_BEGINNING)).encode(),
        # No A0 to BF after ED: it is clear then that it is wrong, yet Python's decoder waits for one byte more.
        b"\xff\x80a\xe2\x82b\xf0\x9f\x98\xc3\xa9c",
        b"\xed\xe0\x80\x80\xf0\x80\x80\x80\xf4\x90\x80\x80\xc0\x80\xf5\x80\x80\x80a",
    ]
    rows = [[id_of[bytes([byte])] for byte in text] for text in texts] + [[more, more + 1, id_of[b"a"], more + 2, more + 1, more]]
    for ids in rows:
        seen, whole = student.run(scenarios.written_so_far, known, ids)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        right = list(itertools.accumulate(decoder.decode(known[0][i]) for i in ids))
        assert_equal(
            seen,
            right,
            what=f"what was given after each of the tokens {[known[0][i] for i in ids]}",
            hint="a generator that gives at once what is certain: whole characters, and U+FFFD for what cannot become one",
        )
        assert_equal(whole, right[-1] + decoder.decode(b"", final=True), what="the whole text")


@exercise("GPT2Tokenizer", points=1)
def test_tokenizers_share_nothing_and_change_nothing(student, reference):
    """Two tokenizers take turns, what they were made from changes later, and lists that were returned are their owner's."""
    first, second = vocabulary(1, 40, special_tokens=SPECIAL), vocabulary(3, 40)
    texts = ["low low", *texts_of(1, 4), "a", "a", "low low", "<|endoftext|>a"]
    args = scenarios.used_and_changed, first, second, texts
    actual, expected = student.run(*args), reference.run(*args)
    for key, right in expected.items():
        hint = "copy what you keep, and make caches in __init__"
        assert_equal(actual[key], right, what=f"{key!r} of two tokenizers that take turns", hint=hint)
    texts = ["☃🙂ü" * 20 + corpus(1, 40), "ü☃🙂" * 20 + corpus(3, 50)]
    assert_equal(
        student.run(scenarios.two_streams, first, texts),
        reference.run(scenarios.two_streams, first, texts),
        what="two streams in turns",
    )


@exercise("GPT2Tokenizer", points=1.5)
def test_a_long_word_takes_no_square_of_its_length(student, reference):
    """A word of 70,000 letters is encoded in the time that a call has, and so is a stream of 30,000 single letters."""
    known = vocabulary(0, 100)
    rng = random.Random(3)
    syllables = [token.decode() for token in known[0].values() if token.isalpha() and token.isascii()]
    text = "".join(rng.choices(syllables, k=70_000))[:70_000]
    expected = reference.run(scenarios.encode_all, known, [text])
    assert_each(
        student.run(scenarios.encode_all, known, [text]),
        expected,
        [text],
        "the ids",
        "a heap of (rank, place), and who stands beside whom",
    )
    id_of = {token: i for i, token in known[0].items()}
    rows = [[id_of[letter.encode()] for letter in text]]
    assert_each(student.run(scenarios.decode_all_ids, known, rows), [text], ["70,000 ids"], "the text")
    assert_each(student.run(scenarios.decode_in_pieces, known, rows), [[text, text]], ["70,000 ids"], "the pieces, joined,")
    text = text[:30_000]
    expected = [reference.run(scenarios.encode_all, known, [text]) * 2]
    assert_each(
        student.run(scenarios.in_pieces, known, [list(text)], "all"),
        expected,
        ["its letters"],
        "the ids",
        "join when twice as much is there",
    )


@exercise("GPT2Tokenizer", points=0.5)
def test_what_is_remembered_is_bounded(student):
    """After 12,000 different words, and words of 1,100 letters, no more is remembered than the class says."""
    known = vocabulary(0, 0, n_words=5)
    for_short, for_long, n_ids = student.run(scenarios.remembered, known, 12_000, 40, 1_100, 4)
    assert_equal(n_ids, 1.0, what="without merges, the number of ids of each character of 12,000 words")
    hint = "\n  hint: lru_cache(2**12), and only for words of at most 2**10 characters"
    assert for_long <= 250_000, f"after 40 words of 1,100 letters {for_long} bytes more are in use than before{hint}"
    assert for_short <= 1_700_000, f"after 12,000 different words {for_short} bytes more are in use than before{hint}"


@exercise("GPT2Tokenizer", points=0.5)
def test_what_the_vocabulary_does_not_have_is_refused(student):
    """Ids that no token has, names that are no special tokens, and vocabularies with something missing raise an error."""
    vocab, merges, special = vocabulary(1, 30)
    known = vocab, merges, special
    unknown = max(vocab) + 1
    fine = min(vocab)
    for ids in ([unknown], [fine, unknown], [unknown - 2], [-1], [fine, -2]):
        seen = student.run(scenarios.decode_all_ids, known, [ids]) + student.run(scenarios.decode_in_pieces, known, [ids])[0]
        assert_equal(seen, ["refused"] * 3, what=f"decode and decode_stream of {ids}", hint="tokens[-1] is no error")
    dollar = vocab | {unknown: b"$"}, merges, [*special, "$"]
    for allowed in (["<|nobody|>"], ["<|endoftext|>", "x"], "<|endoftext|>", ["all"], "", "$"):
        has = dollar if allowed == "$" else known
        seen = (
            student.run(scenarios.encode_with, has, [("a<|endoftext|>", allowed)])
            + student.run(scenarios.in_pieces, has, [["a"]], allowed)[0]
        )
        assert_equal(
            seen,
            ["refused"] * 3,
            what=f"encode and encode_iterable (twice) with allowed_special={allowed!r}",
            hint='each name has to be that of a special token, and a str is "all" or no set of names',
        )
    seen = student.run(scenarios.encode_with, known, [("a", ["as a set", "<|nobody|>"]), ("a", ["as a set", "<|endoftext|>"])])
    assert_equal(seen[0], "refused", what="encode with allowed_special={'<|nobody|>'}", hint="a set may name what is not there")
    assert seen[1] != "refused", "encode with allowed_special={'<|endoftext|>'} was refused: a set is as good as a list"
    for parts in (known, known[:2]):
        assert_equal(student.run(scenarios.made_with, parts), "accepted", what=f"a vocabulary of {len(parts)} parts")
    for missing in (b"q", b"\x00", b"\x7f", b"\xff", *map(b"".join, (merges[0], merges[-1])), b"<|endoftext|>"):
        less = {i: token for i, token in vocab.items() if token != missing}
        seen = student.run(scenarios.made_with, (less, merges, special))
        assert_equal(seen, "refused", what=f"a vocabulary without {missing}", hint="GPT2Tokenizer(...) itself refuses it")
    seen = student.run(scenarios.made_with, (vocab, merges, [*special, "<|nobody|>"]))
    assert_equal(seen, "refused", what="a special token that has no id", hint="GPT2Tokenizer(...) itself refuses it")
