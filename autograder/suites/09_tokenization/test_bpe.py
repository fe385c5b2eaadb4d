"""Hidden tests: byte-pair encoding. The truth is counting everything anew at each merge, and following the rule by hand."""

import random

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.strategies import assume, example, given, seeds, settings, sizes

from . import scenarios

ALPHABETS = ["a", "ab", "abc", "abcdefgh", "aéﬁ🙂", "\u0301e-", " a.\0", "\na A"]
MARKED = [("l", "o", "w", "</w>"), ("lo", "w"), ("l", "ow"), ("s", "lo", "w"), ("lo", "lo", "lo"), ("x",), ()]


def corpus(seed, n, longest=8):
    """Words and counts, many of the counts equal."""
    rng = random.Random(seed)
    letters = rng.choice(ALPHABETS)
    words = {"".join(rng.choice(letters) for _ in range(rng.randint(0, longest))) for _ in range(n)}
    return {word: rng.choice([1, 1, 2, 5, 1000]) for word in sorted(words)}


def in_bytes(words):
    """The same with tuples of single bytes."""
    counts = {}
    for word, count in words.items():
        data = tuple(bytes([byte]) for byte in word.encode())
        counts[data] = counts.get(data, 0) + count
    return counts


def pairs_of(words):
    """[(symbols, count)] -> how often each pair is there."""
    counts = {}
    for symbols, count in words:
        for i in range(len(symbols) - 1):
            pair = (symbols[i], symbols[i + 1])
            counts[pair] = counts.get(pair, 0) + count
    return counts


def merged(symbols, pair, new):
    result, i = [], 0
    while i < len(symbols):
        found = tuple(symbols[i : i + 2]) == pair
        result.append(new if found else symbols[i])
        i += 2 if found else 1
    return result


def learnt(words, n_merges):
    """By counting anew each time."""
    words, merges = [(list(word), count) for word, count in words.items()], []
    while len(merges) < n_merges and (counts := pairs_of(words)):
        merges.append(max(counts, key=lambda pair: (counts[pair], pair)))
        a, b = merges[-1]
        words = [(merged(symbols, (a, b), a + b), count) for symbols, count in words]
    return merges


def encoded(symbols, merges):
    symbols = list(symbols)
    while there := [merges.index(pair) for pair in zip(symbols, symbols[1:]) if pair in merges]:
        a, b = merges[min(there)]
        symbols = merged(symbols, (a, b), a + b)
    return symbols


def encoded_one_by_one(symbols, merges):
    """One place at a time, which for merges that were learnt is the same."""
    symbols = list(symbols)
    while there := [(merges.index(pair), i) for i, pair in enumerate(zip(symbols, symbols[1:])) if pair in merges]:
        i = min(there)[1]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    return symbols


def shown(value):
    """What fits on a line or two."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def assert_merges(actual, words, n_merges, hint=""):
    """The same merges; the first that differs is told with what came before it."""
    expected = learnt(words, n_merges)
    if isinstance(actual, list | tuple):
        for i, (pair, right) in enumerate(zip(actual, expected)):
            before = f" after {shown(expected[:i][-6:])}" if i else ""
            what = f"merge {i + 1} of {n_merges}{before}, learnt from {shown(words)},"
            said = f"{what} is not as expected\n  expected {right}\n  got      {shown(pair)}"
            assert pair == right, said + (f"\n  hint: {hint}" if hint else "")
    assert_equal(actual, expected, what=f"{n_merges} merges learnt from {shown(words)}", hint=hint)


# count_pairs


@exercise("count_pairs", points=5, core=True)
@settings(max_examples=40)
@given(seed=seeds(), n=sizes(0, 15))
@example(seed=1, n=40)
def test_every_place_counts_as_often_as_its_word(student, seed, n):
    """Each pair of neighbours counts at every place of every word, as often as the word occurs."""
    words = corpus(seed, n)
    expected = pairs_of(words.items())
    assert_equal(
        student.count_pairs(words), expected, what=f"the pairs of {shown(words)}", hint="add the word's count at each place"
    )


@exercise("count_pairs", points=1)
def test_pairs_overlap_and_have_an_order(student):
    """aaa has (a, a) twice; (a, b) is not (b, a); words of one symbol or none have no pair, and no pair goes across words."""
    for words in ({"aaa": 1}, {"aaaa": 3, "aa": 1}, {"ab": 2, "ba": 5}, {"a": 7, "b": 7}, {"": 1}, {}, {"abab": 1, "a": 9},
                  {"ab c": 3, " b": 2, "b ": 5, "b b\n": 1}, {"ab": 2, ("a", "b"): 3, ("ab",): 7},
                  {"ab": 2**24 + 1, "bc": 1}, {"ab": 2**53, "xab": 1}):  # fmt: skip
        assert_equal(student.count_pairs(words), pairs_of(words.items()), what=f"the pairs of {shown(words)}")


@exercise("count_pairs", points=1)
@settings(max_examples=15)
@given(seed=seeds())
def test_symbols_may_be_longer_and_of_bytes(student, seed):
    """In a tuple, a symbol may be of several characters, or of bytes: ("a", "bc") is not ("ab", "c")."""
    rng = random.Random(seed)
    for words in ({word: rng.randint(1, 5) for word in MARKED}, in_bytes(corpus(seed, 8))):
        assert_equal(
            student.count_pairs(words), pairs_of(words.items()), what=f"the pairs of {shown(words)}", hint="words are not joined"
        )


@exercise("count_pairs", points=1)
def test_counting_changes_nothing_and_begins_at_zero(student):
    """The words stay as they are, and each call counts for itself; the result is a dict whose keys are tuples."""
    words = {"aab": 2, "a": 5, "": 1, "ba": 1}
    seen = student.run(scenarios.called, "count_pairs", [words])
    assert_equal(seen, {"value": pairs_of(words.items()), "untouched": True, "new": True}, what=f"count_pairs({words})")
    twice = student.run(scenarios.in_a_row, "count_pairs", [[words], [words], [{"xy": 1}], [{}]])
    expected = [pairs_of(words.items())] * 2 + [{("x", "y"): 1}, {}]
    assert_equal(twice, expected, what="four calls in a row", hint="a default argument or a global that is changed lives on")
    assert_equal(student.run(scenarios.kinds, "count_pairs", [words])[1:], ["tuple", "str"], what="the types in it")


# bpe_merge


@exercise("bpe_merge", points=5, core=True)
@settings(max_examples=50)
@given(seed=seeds(), n=sizes(0, 20), n_ids=sizes(1, 4))
@example(seed=1, n=60, n_ids=2)
def test_every_place_of_the_pair_is_merged(student, seed, n, n_ids):
    """Wherever the pair stands there is the new id, and everything else is there as before."""
    rng = random.Random(seed)
    ids = [rng.randrange(n_ids) for _ in range(n)]
    pair = (rng.randrange(n_ids), rng.randrange(n_ids))
    new_id = rng.choice([256, 99, pair[0], pair[1]])
    actual = student.bpe_merge(ids, pair, new_id)
    assert_equal(
        actual, merged(ids, pair, new_id), what=f"{ids} with {pair} merged into {new_id}", hint="go on by 2 after a merge"
    )


@exercise("bpe_merge", points=1.5)
def test_runs_are_merged_from_the_left(student):
    """a, a, a gives new, a; what was merged is not merged again, even if the new id is one of the pair."""
    cases = [([7] * n, (7, 7), new) for n in range(8) for new in (1, 7)]
    cases += [
        ([1, 2, 2], (1, 2), 1),
        ([1, 1, 2], (1, 2), 2),
        ([1, 1, 1, 2], (1, 1), 2),
        ([0, 0, 0], (0, 0), 0),
        ([1, 2], (2, 1), 5),
    ]
    cases += [([1, 2, 1], (1, 2), 3), ([2, 1, 2], (1, 2), 3), ([1, 2, 1, 2, 1], (1, 2), 3), ([5, 1], (1, 5), 0), ([3], (3, 3), 4)]
    for ids, pair, new in cases:
        actual = student.bpe_merge(ids, pair, new)
        assert_equal(
            actual, merged(ids, pair, new), what=f"{ids} with {pair} merged into {new}", hint="compare the ids as they were"
        )


@exercise("bpe_merge", points=1.5)
def test_ids_of_any_kind_and_a_new_list(student):
    """Texts, bytes, tuples and things without a hash are merged, too; the input stays, and the result is a list of its own."""
    for ids, pair, new in (("banana", ("a", "n"), "an"), ((b"a", b"b", b"a"), (b"a", b"b"), b"ab"),
                           (["lo", "w"], ("l", "ow"), "low"),
                           (("a", "", "b"), ("", "b"), None), ([None, 0, False, ""], (0, False), -1),
                           ([(1, 2), (3,), (), 5, (3,)], ((1, 2), (3,)), (1, 2, 3)),
                           ([1, "1", None, 1.5, "1"], ("1", None), "1"), ([1.0, True, 2, 3.0], (1, 1), 7),
                           *(([*ends, 5, *ends[::-1]], pair, 9) for none in (None, -1, 0, "") for ends in ([], [5, 6])
                             for pair in ((5, none), (none, 5)))):  # fmt: skip
        seen = student.run(scenarios.called, "bpe_merge", [ids, pair, new])
        assert_equal(seen, {"value": merged(ids, pair, new), "untouched": True, "new": True}, what=f"{ids} with {pair} merged")
    for ids in ([1, 2, 3, 1, 2], [3, 3], []):
        seen = student.run(scenarios.called, "bpe_merge", [ids, (1, 2), 9])
        hint = "build a new list; popping from ids changes the caller's"
        assert_equal(seen, {"value": merged(ids, (1, 2), 9), "untouched": True, "new": True}, what=f"merging in {ids}", hint=hint)
    things = student.run(scenarios.with_equal_objects, "bpe_merge", [1, 2, 1, 1, 2, 3], (1, 2), 3)
    assert_equal(things, [3, 1, 3, 3], what="the numbers of merged objects", hint="compare with ==, not with `is`")
    digits = [11, 2, 1, 25, 1, 2, 12]
    assert_equal(student.bpe_merge(digits, (1, 2), 3), [11, 2, 1, 25, 3, 12], what=f"{digits} with (1, 2) merged into 3")
    big = [1000, 1001, 1000, 1001]
    assert_equal(student.bpe_merge(big, (1000, 1001), 2000), [2000, 2000], what=f"{big} with (1000, 1001) merged into 2000")
    long = student.bpe_merge([1, 2] * 1500, (1, 2), 3)
    assert_equal(long, [3] * 1500, what="3000 ids merged into 1500", hint="a loop: Python allows 1000 calls in each other")


# train_bpe


@exercise("train_bpe", points=8, core=True)
@settings(max_examples=50)
@given(seed=seeds(), n=sizes(0, 15), n_merges=sizes(0, 12))
@example(seed=0, n=3, n_merges=6)
@example(seed=3, n=40, n_merges=40)
@example(seed=4, n=40, n_merges=60)
@example(seed=5, n=25, n_merges=500)
def test_merges_as_by_counting_anew(student, seed, n, n_merges):
    """Each merge is the most frequent pair of the words as they are after those before it."""
    words = corpus(seed, n)
    hint = "counts of pairs beside a merge change as well; a word counts as often as it occurs"
    assert_merges(student.train_bpe(words, n_merges), words, n_merges, hint)


@exercise("train_bpe", points=2)
@settings(max_examples=25)
@given(seed=seeds(), n=sizes(1, 12))
@example(seed=1, n=12)
def test_of_equally_frequent_pairs_the_greatest(student, seed, n):
    """Ties are broken by the pair itself, first symbol first; a pair that came earlier or is longer has no right of way."""
    rng = random.Random(seed)
    letters = rng.sample("abcdefgzAZé🙂", 6)
    words = {"".join(rng.sample(letters, rng.randint(2, 5))): 1 for _ in range(n)}
    assert_merges(student.train_bpe(words, 12), words, 12, "max by (count, pair): the pair itself, not its text")
    fixed = [{"ab": 1, "ac": 1, "b": 1}, {("ab", "c"): 1, ("a", "bcd"): 1, ("a", "c"): 1}, {"zy": 1, "yz": 1},
             {"a z": 1, ("a", " "): 1, ("a ", "z"): 1, ("a", "z"): 1, ("a\n", "b"): 1},
             {"ab": 2**53, "cd": 2**53 + 1, "xy": 2**53}]  # fmt: skip
    for words in fixed if seed == 1 else ():  # once
        assert_merges(student.train_bpe(words, 9), words, 9)


@exercise("train_bpe", points=2)
@settings(max_examples=20)
@given(seed=seeds(), n_merges=sizes(1, 12))
@example(seed=7, n_merges=12)
def test_runs_of_one_symbol(student, seed, n_merges):
    """Words such as aaaa, where places overlap: counts after a merge are those of the merged words."""
    rng = random.Random(seed)
    words = {}
    for _ in range(rng.randint(1, 6)):
        words["".join(rng.choice("ab") * rng.randint(1, 5) for _ in range(rng.randint(1, 4)))] = rng.randint(1, 4)
    hint = "take off all old pairs of a word, merge, add all new ones: then runs are no trouble"
    assert_merges(student.train_bpe(words, n_merges), words, n_merges, hint)


@exercise("train_bpe", points=2)
@settings(max_examples=20)
@given(seed=seeds(), n_merges=sizes(1, 15))
@example(seed=1, n_merges=15)
def test_words_of_longer_symbols_and_of_bytes(student, seed, n_merges):
    """Words may be tuples of longer symbols, or of bytes; words that become alike count both, and pairs may come again."""
    rng = random.Random(seed)
    tuples = {word: rng.randint(1, 9) for word in rng.sample(MARKED, 5)}
    tuples |= {("a", "b", "c"): 3, ("ab", "c"): 2, ("a", "bc"): 2, ("abc", "d"): 2, ("a", "bc", "d"): 1}
    again = {("abc", "d"): 10, ("ab", "c", "d"): 5, ("ab", "c"): 3}  # first (abc, d), then (ab, c), then (abc, d)
    alike = {"ab": 2, ("a", "b"): 3, "cd": 4, "ab c": 1, ("ab", " ", "c"): 9}
    for words in (tuples, in_bytes(corpus(seed, 10)), *([again, alike] if seed == 1 else ())):  # the fixed ones once
        assert_merges(student.train_bpe(words, n_merges), words, n_merges, "the symbol is a + b")


@exercise("train_bpe", points=1)
def test_there_are_no_more_merges_than_pairs(student):
    """When no word has two symbols left there are fewer merges; none are asked for, none come; fewer than none are refused."""
    for words, n in (
        ({"abc": 2, "ab": 1}, 50),
        ({"a": 5, "": 2}, 3),
        ({}, 3),
        ({"abcd": 1}, 3),
        ({"abcd": 1}, 2),
        ({"ab": 1}, 0),
        ({"abcdefghijklmnopqrstuvwxyz" * 2: 3, "klmn": 1}, 60),
        ({"".join(chr(0x4E00 + i + j) for j in range(4)): 1 for i in range(0, 400, 4)}, 400),
    ):
        assert_merges(student.train_bpe(words, n), words, n, "a pair that occurs once counts")
    for words in ({"abc": 1}, {"a": 1}, {}):
        assert_refused(student.train_bpe, words, -1, why="n_merges is below 0")


@exercise("train_bpe", points=1)
def test_training_changes_nothing_and_remembers_nothing(student):
    """The counts stay as they are, and a second training knows nothing of the first; the result is a list of tuples."""
    words, others = {"abab": 3, ("a", "b"): 1, "x": 2, "ccc": 2, "": 1}, {"abab": 1, "cc": 9}
    seen = student.run(scenarios.called, "train_bpe", [words, 4])
    assert_equal(seen, {"value": learnt(words, 4), "untouched": True, "new": True}, what=f"train_bpe({words}, 4)")
    calls = [[words, 4], [others, 3], [words, 1], [words, 4], [{}, 4]]
    twice = student.run(scenarios.in_a_row, "train_bpe", calls)
    assert_equal(twice, [learnt(*call) for call in calls], what="five trainings in a row", hint="keep nothing between calls")
    assert_equal(student.run(scenarios.kinds, "train_bpe", [words, 4]), ["list", "tuple", "str"], what="the types of the result")


@exercise("train_bpe", points=2)
def test_only_words_that_hold_the_pair_are_gone_through(student):
    """A merge that concerns a dozen words costs as little with a thousand others beside them as the look at all pairs does."""
    rng = random.Random(2)
    rare = sorted({"".join(rng.choice("abcd") for _ in range(6)) for _ in range(1200)})
    words = [[list(word), 1] for word in rare] + [[["s", f"t{i}", f"u{i}"], 10**6 + i] for i in range(12)]
    first, all_of_them = student.run(scenarios.training_work, words, [2, 12], 3_000_000)
    work, most = all_of_them - first, 10 * len(rare)
    said = f"10 merges in words of their own beside {len(rare)} others took {work} steps, expected {most} at most"
    assert work <= most, (
        f"{said}\n  hint: keep the counts, and for each pair which words hold it; change both where a word changes"
    )


# encode_bpe


@exercise("encode_bpe", points=5, core=True)
@settings(max_examples=50)
@given(seed=seeds(), n=sizes(1, 12), n_merges=sizes(0, 25), longest=sizes(1, 14))
@example(seed=0, n=3, n_merges=5, longest=4)
@example(seed=3, n=12, n_merges=25, longest=40)
@example(seed=2, n=12, n_merges=25, longest=40)
def test_merges_apply_in_the_order_of_their_ranks(student, seed, n, n_merges, longest):
    """A word, one of those that the merges were learnt from or another, comes out as merging by rank makes it."""
    words = corpus(seed, n)
    merges = learnt(words, n_merges)
    letters = sorted({letter for word in words for letter in word} | {"x"})
    rng = random.Random(seed)
    for word in (*sorted(words)[:2], "".join(rng.choice(letters) for _ in range(longest))):
        expected = encoded(word, merges)
        assume(expected == encoded_one_by_one(word, merges))
        actual = student.encode_bpe(word, merges)
        assert_equal(
            actual, expected, what=f"{word!r} with the merges {shown(merges)}", hint="the pair that stands first in the list"
        )


@exercise("encode_bpe", points=2)
def test_rank_decides_and_not_place_or_length(student):
    """The earlier merge wins over the one further left and over the longer piece; runs are merged from the left."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    twos = list(zip(letters[::2], letters[1::2]))
    cases = [(letters * 2, [*twos, *((a + b, c + d) for (a, b), (c, d) in zip(twos, twos[1:]))]),
             ("abc", [("b", "c"), ("a", "b"), ("ab", "c")]),
             ("abc", [("b", "c"), ("a", "b")]), ("abc", [("a", "b"), ("b", "c")]), ("aaaaa", [("a", "a")]),
             ("aaa", [("a", "a"), ("aa", "a")]),
             ("aaaa", [("a", "a"), ("aa", "aa")]), ("abcd", [("b", "c"), ("a", "b"), ("c", "d"), ("ab", "cd")]),
             ("lower", [("l", "o"), ("lo", "w"), ("e", "r")]),
             ("abab", [("a", "b"), ("ab", "ab")]), ("aaab", [("a", "b"), ("a", "a")]),
             ("abcd", [("b", "c"), ("a", "b"), ("bc", "d"), ("a", "bc")]),
             ("cd", [("a", "b"), ("a", "b"), ("c", "d")]), ("abcd", [("ab", "cd"), ("a", "b"), ("a", "b"), ("c", "d")]),
             ("ab", []), ("", [("a", "b")]), ("a", [("a", "a")]), ("a b ", [(" ", "b"), ("a", " b")]),
             (letters * 3, [(letters[:i], letters[i]) for i in range(1, 26)])]  # fmt: skip
    for word, merges in cases:
        assert_equal(student.encode_bpe(word, merges), encoded(word, merges), what=f"{word!r} with the merges {shown(merges)}")


@exercise("encode_bpe", points=1.5)
def test_a_late_pair_with_an_early_rank_is_merged(student):
    """Ranks are looked at anew after each merge, also those that were passed; of two ranks of a pair the first counts."""
    cases = [("abc", [("ab", "c"), ("a", "b")]), ("abcd", [("abc", "d"), ("ab", "c"), ("a", "b")]),
             ("xabc", [("x", "abc"), ("a", "bc"), ("b", "c")]), ("abcd", [("ab", "c"), ("a", "b"), ("c", "d")]),
             ("abcd", [("a", "b"), ("b", "c"), ("a", "b")]), ("abc", [("b", "c"), ("a", "b"), ("b", "c")]),
             *((("abc", "d", "ab", "c", "d"), [("abc", "d"), ("ab", "c"), *more]) for more in ([("x", "y")], []))]  # fmt: skip
    for word, merges in cases:
        hint = "until none of the neighbours is in the list: going through the list once is not enough"
        assert_equal(
            student.encode_bpe(word, merges), encoded(word, merges), what=f"{word!r} with the merges {shown(merges)}", hint=hint
        )


@exercise("encode_bpe", points=1.5)
@settings(max_examples=15)
@given(seed=seeds(), n_merges=sizes(1, 20))
@example(seed=2, n_merges=20)
def test_symbols_of_bytes_and_longer_ones_are_merged(student, seed, n_merges):
    """Words may be tuples of bytes, or hold longer symbols, which are not taken apart; joined they are what they were."""
    words = in_bytes(corpus(seed, 8))
    merges = learnt(words, n_merges)
    for word in list(words)[:3]:
        expected = encoded(word, merges)
        assume(expected == encoded_one_by_one(word, merges))
        assert_equal(student.encode_bpe(word, merges), expected, what=f"{word} with {shown(merges)}", hint="(a, b) becomes a + b")
        assert_equal(student.encode_bpe(list(word), merges), expected, what=f"the same as a list, {word}, with {shown(merges)}")
    fixed = ("l", "o", "w", "</w>"), ["lo", "w</w>"], ("low", "</w>"), ("l", "ow", "lo", "w")
    for word in fixed if seed == 2 else ():  # once
        ranks = [("l", "o"), ("lo", "w"), ("low", "</w>"), ("lo", "w</w>")]
        assert_equal(
            student.encode_bpe(word, ranks), encoded(word, ranks), what=f"{word} with {ranks}", hint="keep symbols whole"
        )


@exercise("encode_bpe", points=1)
def test_encoding_changes_nothing_and_remembers_nothing(student):
    """Neither the word nor the merges change, the result is a new list, and another list of merges gives other results."""
    word, merges, others = list("ababc"), [("a", "b"), ("ab", "ab")], [("b", "a"), ("b", "c")]
    for args in ([word, merges], [word, []], [["ab"], merges], [[], merges], [("a", "b"), merges], [word, [*others, *others]]):
        seen = student.run(scenarios.called, "encode_bpe", args)
        assert_equal(seen, {"value": encoded(*args), "untouched": True, "new": True}, what=f"encode_bpe{tuple(args)}")
    long = "".join(chr(0x4E00 + i) for i in range(60))
    growing = [(long[:i], long[i]) for i in range(1, 60)]
    for word_, merges_, more in ((word, merges, others), ("abc", [("b", "c")], [("a", "bc")]), (long, growing[:5], growing[5:])):
        expected = [encoded(word_, merges_), *[encoded(word_, [*merges_, *more])] * 2]
        expected.append(encoded(word_, [more[-1], *merges_[1:], *more[:-1], merges_[0]]))
        what = f"{word_!r} with {shown(merges_)}, with more merges in the same list, in a tuple, with its ends exchanged"
        assert_equal(student.run(scenarios.encoded_meanwhile, word_, merges_, more), expected, what=what)
    many = student.encode_bpe("ab" * 1050, [("a", "b")])
    assert_equal(many, ["ab"] * 1050, what="1050 times ab", hint="a loop: Python allows 1000 calls in each other")
    calls = [[word, merges], [word, others], [word, merges], [word, merges[:1]], [word, []]]
    seen = student.run(scenarios.in_a_row, "encode_bpe", calls)
    assert_equal(
        seen, [encoded(*call) for call in calls], what="five calls in a row", hint="what is cached depends on the merges"
    )
