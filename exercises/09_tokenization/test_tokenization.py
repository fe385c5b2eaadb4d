"""Public tests: pytest exercises/09_tokenization [-k trie]"""

import math
from itertools import product

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, settings, sizes, st

# What runs beside your module: each function gets it as its first argument.


def operate(module, operations):
    """What each operation on a new map gives; "KeyError" where one is raised."""
    mapping, seen = module.HashMap(), []
    for name, *args in operations:
        try:
            if name == "set":
                mapping[args[0]] = args[1]
                seen.append(None)
            elif name == "delete":
                del mapping[args[0]]
                seen.append(None)
            elif name == "items":
                seen.append(sorted(([key, value] for key, value in mapping.items()), key=repr))
            elif name == "keys":
                seen.append(sorted(mapping, key=repr))
            else:
                seen.append({"look up": mapping.__getitem__, "in": mapping.__contains__, "get": mapping.get,
                             "len": mapping.__len__}[name](*args))  # fmt: skip
        except KeyError:
            seen.append("KeyError")
    return seen


def delete_among_equals(module, n, gone):
    """n keys of the same hash; after the deletion of those in `gone`: the values of the others, and len."""

    class Key(int):
        def __hash__(self):
            return 5

    mapping = module.HashMap()
    for i in range(n):
        mapping[Key(i)] = i
    for i in gone:
        del mapping[Key(i)]
    return [mapping.get(Key(i)) for i in range(n)], len(mapping)


def count_comparisons(module, n):
    """How often keys are compared while n of them are put in and looked up, and n others are not found."""
    n_compared = [0]

    class Key:
        def __init__(self, number):
            self.number = number

        def __hash__(self):
            return (self.number + 1) * 0x9E3779B97F4A7C15 % (2**61 - 1)

        def __eq__(self, other):
            n_compared[0] += 1
            return isinstance(other, Key) and self.number == other.number

    mapping = module.HashMap()
    for i in range(n):
        mapping[Key(i)] = i
    return sum(Key(i) in mapping for i in range(2 * n)), n_compared[0]


def hash_tables_in_use(module, n):
    """The attributes of a map of n entries that are a dict or a set, and how many of these anywhere have its keys."""
    import gc

    class Key:
        pass

    mapping, keys = module.HashMap(), [Key() for _ in range(n)]
    for key in keys:
        mapping[key] = None
    attributes = getattr(mapping, "__dict__", {})
    tables = [name for name, value in attributes.items() if isinstance(value, dict | set | frozenset)]
    holders = [holder for holder in gc.get_referrers(keys[0]) if isinstance(holder, dict | set | frozenset)]
    return tables, sum(keys[0] in holder for holder in holders)


def vocabulary_from(module, counts, specials, texts=(), ids=(), **options):
    """All tokens by id, and what encode and decode make of the texts and the ids."""
    vocabulary = module.Vocabulary.from_counts(counts, specials, **options)
    tokens = vocabulary.decode(range(len(vocabulary)))
    return tokens, [vocabulary.encode(text) for text in texts], [vocabulary.decode(row) for row in ids]


def is_in_vocabulary(module, counts, specials, tokens):
    """Whether each token is in the vocabulary."""
    vocabulary = module.Vocabulary.from_counts(counts, specials)
    return [token in vocabulary for token in tokens]


def refuses(module, counts, specials, token):
    """Whether the vocabulary refuses to encode the token."""
    try:
        module.Vocabulary.from_counts(counts, specials).encode([token])
    except (ValueError, LookupError):
        return True
    return False


def vocabulary_of(module, tokens):
    """A vocabulary's length."""
    return len(module.Vocabulary(tokens))


def look_up(module, words, asked, places=()):
    """Which texts are in a trie of the words, and the longest prefix at each (text, start)."""
    trie = module.Trie()
    for word in words:
        trie.insert(word)
    return [text in trie for text in asked], [trie.longest_prefix(*place) for place in places]


def match(module, text, words, unk):
    """max_match with a trie of the words."""
    trie = module.Trie()
    for word in words:
        trie.insert(word)
    return module.max_match(text, trie, unk)


# HashMap


@exercise("HashMap")
def test_a_map_keeps_what_is_put_in(student):
    """As a dict would."""
    operations = [["len"], ["set", "a", 1], ["set", "b", 2], ["set", "a", 3], ["len"], ["look up", "a"], ["in", "b"], ["in", "c"],
                  ["get", "c"], ["get", "c", 7], ["look up", "c"], ["delete", "a"], ["delete", "a"], ["len"],
                  ["items"]]  # fmt: skip
    expected = [0, None, None, None, 2, 3, True, False, None, 7, "KeyError", None, "KeyError", 1, [["b", 2]]]
    for operation, actual, right in zip(operations, student.run(operate, operations), expected, strict=True):
        assert_equal(actual, right, what=f"{operation}")


@exercise("HashMap")
def test_nothing_is_an_ordinary_key(student):
    """None, False and "" may be keys and values; 1, 1.0 and True are one key, and the first of them stays."""
    operations = [["set", None, 0], ["set", "", None], ["set", 1, "one"], ["set", True, "yes"], ["in", None], ["in", ""],
                  ["in", 0],
                  ["get", "", 5], ["look up", 1.0], ["len"], ["keys"]]  # fmt: skip
    expected = [None, None, None, None, True, True, False, None, "yes", 3, ["", 1, None]]
    actual = student.run(operate, operations)
    for operation, found, right in zip(operations[:-1], actual, expected):
        assert_equal(found, right, what=f"{operation}", hint="what marks a free place must not be equal to any key")
    assert_equal(repr(actual[-1]), repr(expected[-1]), what="the keys", hint="a new value leaves the key as it was")


@exercise("HashMap")
def test_deleting_one_does_not_hide_another(student):
    """Five keys of the same hash lie one behind the other; then some are deleted."""
    for gone in ([0], [1], [3], [0, 1], [2, 1, 0], [4, 0]):
        values, length = student.run(delete_among_equals, 5, gone)
        expected = [None if i in gone else i for i in range(5)]
        hint = "a search stops at a free place, so a deletion must not leave one in the middle of a way"
        assert_equal(values, expected, what=f"the values of keys 0 to 4 after {gone} were deleted", hint=hint)
        assert_equal(length, 5 - len(gone), what="len")


OPERATION = st.tuples(st.sampled_from(["set", "set", "look up", "in", "get", "delete"]), sizes(0, 12), sizes(0, 99))


@exercise("HashMap")
@settings(max_examples=40)
@given(drawn=st.lists(OPERATION, max_size=60), step=st.sampled_from([1, 8, -1]))
@example(drawn=[("set", i % 40, i) for i in range(60)], step=8)
def test_the_map_agrees_with_dict(student, drawn, step):
    """Whatever is done to it, in whatever order."""
    operations = [[name, step * key, value] if name == "set" else [name, step * key] for name, key, value in drawn]
    operations += [["len"], ["items"]]
    truth, expected = {}, []
    for name, *args in operations:
        match name:
            case "set":
                truth[args[0]] = args[1]
                expected.append(None)
            case "delete":
                expected.append(None if args[0] in truth else "KeyError")
                truth.pop(args[0], None)
            case "look up":
                expected.append(truth.get(args[0], "KeyError"))
            case "in":
                expected.append(args[0] in truth)
            case "get":
                expected.append(truth.get(args[0]))
            case "len":
                expected.append(len(truth))
            case "items":
                expected.append(sorted(([key, value] for key, value in truth.items()), key=repr))
    for i, (actual, right) in enumerate(zip(student.run(operate, operations), expected, strict=True), 1):
        assert_equal(actual, right, what=f"{operations[i - 1]}, operation {i}")


@exercise("HashMap")
def test_more_entries_need_no_more_comparisons(student):
    """A thousand keys in, a thousand found, a thousand not found: a few comparisons each."""
    found, n_compared = student.run(count_comparisons, 1000)
    assert_equal(found, 1000, what="how many of 2000 keys are in the map")
    said = f"3000 operations on 1000 keys compared keys {n_compared} times, expected at most 20000"
    assert n_compared <= 20_000, f"{said}\n  hint: begin where the hash says, and make the list longer in time"


@exercise("HashMap")
def test_the_map_is_no_dict_in_disguise(student):
    """The entries lie in lists."""
    tables, n_holders = student.run(hash_tables_in_use, 20)
    assert not tables, f"self.{tables[0]} is a dict or a set\n  hint: that is what you are building here: use a list"
    assert not n_holders, "a dict or a set has the map's keys\n  hint: that is what you are building here: use a list"


# Vocabulary

COUNTS = {"the": 9, "of": 4, "a": 9, "model": 4, "zebra": 1}


@exercise("Vocabulary")
def test_ids_by_rank(student):
    """Specials first, then the most frequent; of equals the smaller text."""
    tokens, ids, _ = student.run(vocabulary_from, COUNTS, ["<pad>", "<unk>"], [["the", "model", "yak"], []])
    expected = ["<pad>", "<unk>", "a", "the", "model", "of", "zebra"]
    assert_equal(tokens, expected, what="the tokens by id", hint="sort by (-count, token)")
    assert_equal(ids, [[3, 4, 1], []], what="the ids of the, model, yak, and of nothing", hint='yak is unknown: "<unk>"')
    tokens, _, _ = student.run(vocabulary_from, COUNTS, ["of", "<s>"], min_count=4)
    assert_equal(tokens, ["of", "<s>", "a", "the", "model"], what="the tokens with min_count=4, where of is a special")


@exercise("Vocabulary")
@settings(max_examples=25)
@given(counts=st.dictionaries(st.text("abé🙂", max_size=3), sizes(1, 4), max_size=12))
def test_decoding_takes_back_encoding(student, counts):
    """For all tokens, in any order."""
    text = [*reversed(counts), *counts]
    _, [ids], _ = student.run(vocabulary_from, counts, ["<unk>"], [text])
    assert_equal(sorted(set(ids)), list(range(1, len(counts) + 1)), what="the ids of all tokens, sorted")
    _, _, [tokens] = student.run(vocabulary_from, counts, ["<unk>"], ids=[ids])
    assert_equal(tokens, text, what="the tokens of the ids")


@exercise("Vocabulary")
def test_what_is_not_there_is_refused(student):
    """Unknown tokens without "<unk>", ids that no token has, tokens that come twice."""
    assert_equal(student.run(is_in_vocabulary, COUNTS, ["<unk>"], ["a", "<unk>", "yak"]), [True, True, False], what="`in`")
    decode = called("vocabulary.decode", lambda ids: student.run(vocabulary_from, COUNTS, ["<pad>", "<unk>"], [], [ids])[2][0])
    for ids in ([-1], [7], [0, 100]):
        assert_refused(decode, ids, why="ids are from 0 to 6, and Python's negative indices are none")
    assert student.run(refuses, COUNTS, ["<pad>"], "yak"), 'yak has no id, there is no "<unk>": refuse it with a ValueError'
    assert_refused(called("Vocabulary", lambda tokens: student.run(vocabulary_of, tokens)), ["a", "b", "a"], why="a comes twice")


# Trie and max_match

WORDS = ["to", "token", "tokens", "in", "inn", "🙂"]


@exercise("Trie")
def test_the_longest_prefix(student):
    """Of "to" and "token", the longer one, if the text goes on like that."""
    for text, start, expected in (("tokenization", 0, "token"), ("tokyo", 0, "to"), ("tokens", 0, "tokens"), ("take", 0, ""),
                                  ("a token", 2, "token"), ("a token", 3, ""), ("i🙂", 1, "🙂"), ("in", 2, ""),
                                  ("", 0, "")):  # fmt: skip
        _, [actual] = student.run(look_up, WORDS, [], [(text, start)])
        hint = "walk down the tree, and remember the last node at which a word ended"
        assert_equal(actual, expected, what=f"longest_prefix({text!r}, {start})", hint=hint)
    _, [actual] = student.run(look_up, WORDS, [], [("inner",)])
    assert_equal(actual, "inn", what="longest_prefix('inner')", hint="start is 0 where it is not given")


@exercise("Trie")
def test_beginnings_of_words_are_no_words(student):
    asked = ["to", "tok", "token", "tokens", "tokensx", "", "i", "🙂", "x"]
    actual, _ = student.run(look_up, WORDS, asked)
    for text, found in zip(asked, actual, strict=True):
        assert_equal(found, text in WORDS, what=f"{text!r} in the trie", hint="mark the nodes at which a word ends")


@exercise("Trie")
@settings(max_examples=40)
@given(words=st.lists(st.text("ab", min_size=1, max_size=4), max_size=10), text=st.text("ab", max_size=8), start=sizes(0, 8))
def test_the_trie_agrees_with_trying_every_word(student, words, text, start):
    start = min(start, len(text))
    expected = max((word for word in words if text.startswith(word, start)), key=len, default="")
    contained, [actual] = student.run(look_up, words, [text], [(text, start)])
    assert_equal(actual, expected, what=f"longest_prefix({text!r}, {start}) with the words {words}")
    assert_equal(contained, [text in words], what=f"{text!r} in a trie of {words}")


@exercise("Trie")
def test_empty_words_and_impossible_places_are_refused(student):
    insert = called("trie.insert", lambda word: student.run(look_up, ["a", word], [])[0] or None)
    assert_refused(insert, "", why="the empty word begins everywhere")
    longest_prefix = called("trie.longest_prefix", lambda text, start: student.run(look_up, WORDS, [], [(text, start)])[1][0])
    for start in (-1, 4):
        assert_refused(longest_prefix, "inn", start=start, why="start is from 0 to the length of the text")


@exercise("max_match")
def test_the_longest_match_by_hand(student):
    words = ["un", "unhappy", "happi", "ness", "h", "a"]
    for text, expected in (("unhappiness", ["un", "happi", "ness"]), ("unhappy", ["unhappy"]), ("xunyy", ["?", "un", "?", "?"]),
                           ("haha", ["h", "a", "h", "a"]), ("", [])):  # fmt: skip
        hint = "append the longest word, or unk for one character, and go on right behind it"
        assert_equal(student.run(match, text, words, "?"), expected, what=f"the pieces of {text!r}", hint=hint)


@exercise("max_match")
@settings(max_examples=25)
@given(words=st.lists(st.text("ab", min_size=1, max_size=3), max_size=6), text=st.text("abc", max_size=12))
def test_pieces_make_up_the_text(student, words, text):
    """Each piece is a word, or unk where no word begins; joined, they are the text."""
    place = 0
    for piece in student.run(match, text, words, "<unk>"):
        if piece == "<unk>":
            assert not any(text.startswith(word, place) for word in words), f"{text!r}, {words}: a word begins at {place}"
            place += 1
        else:
            assert piece in words and text.startswith(piece, place), f"{text!r}, {words}: {piece!r} at {place}"
            place += len(piece)
    assert_equal(place, len(text), what=f"the length of the pieces of {text!r}")


# Byte-pair encoding: the words of Sennrich et al., and runs

CORPUS = {"low": 5, "lower": 2, "newest": 6, "widest": 3}


@exercise("count_pairs")
def test_pairs_count_as_often_as_their_words(student):
    actual = student.count_pairs({"low": 5, "lower": 2})
    expected = {("l", "o"): 7, ("o", "w"): 7, ("w", "e"): 2, ("e", "r"): 2}
    assert_equal(actual, expected, what="the pairs of low (5 times) and lower (twice)", hint="add the word's count at each place")
    assert_equal(student.count_pairs({"aaa": 1}), {("a", "a"): 2}, what="the pairs of aaa", hint="places may overlap")
    assert_equal(
        student.count_pairs({"a": 3, "": 1, "ab": 1, "ba": 1}), {("a", "b"): 1, ("b", "a"): 1}, what="the pairs of short words"
    )
    for words, expected in (
        ({("l", "ow", "er"): 4}, {("l", "ow"): 4, ("ow", "er"): 4}),
        ({(b"l", b"o"): 1}, {(b"l", b"o"): 1}),
    ):
        hint = "a tuple's entries are symbols"
        assert_equal(student.count_pairs(words), expected, what=f"the pairs of {words}", hint=hint)


@exercise("count_pairs")
@settings(max_examples=25)
@given(words=st.dictionaries(st.text("ab", max_size=6), sizes(1, 5), max_size=6))
def test_there_are_as_many_places_as_symbols_but_one(student, words):
    expected = sum(count * max(0, len(word) - 1) for word, count in words.items())
    assert_equal(sum(student.count_pairs(words).values()), expected, what=f"the number of places in {words}")


@exercise("bpe_merge")
def test_merging_by_hand(student):
    for ids, pair, expected in (([1, 2, 3, 1, 2], (1, 2), [9, 3, 9]), ([1, 1, 1], (1, 1), [9, 1]), ([1, 1, 1, 1], (1, 1), [9, 9]),
                                ([2, 1], (1, 2), [2, 1]), ([1], (1, 1), [1]), ([], (1, 2), [])):  # fmt: skip
        actual = student.bpe_merge(ids, pair, 9)
        assert_equal(actual, expected, what=f"{ids} with {pair} merged into 9", hint="on by two after a merge, by one else")
    actual = student.bpe_merge(["l", "o", "w", "l", "o"], ("l", "o"), "lo")
    assert_equal(actual, ["lo", "w", "lo"], what="l o w l o with (l, o) merged")
    ids = [1, 2, 1, 2]
    student.bpe_merge(ids, (1, 2), 9)
    assert_equal(ids, [1, 2, 1, 2], what="the ids that were given", hint="build a new list")


@exercise("bpe_merge")
@settings(max_examples=40)
@given(ids=st.lists(sizes(0, 2), max_size=14), pair=st.tuples(sizes(0, 2), sizes(0, 2)))
def test_taking_merges_apart_gives_the_ids_back(student, ids, pair):
    merged = student.bpe_merge(ids, pair, 9)
    apart = [each for i in merged for each in (pair if i == 9 else [i])]
    assert_equal(apart, ids, what=f"{merged}, with 9 taken apart into {pair}")
    assert pair not in zip(merged, merged[1:]), f"{ids} with {pair} merged into 9 is {merged}: the pair is still there"


@exercise("train_bpe")
def test_training_by_hand(student):
    """es 9 and st 9: the greater one; then est 9; then lo, ow 7: the greater one."""
    actual = student.train_bpe(CORPUS, 6)
    expected = [("s", "t"), ("e", "st"), ("o", "w"), ("l", "ow"), ("w", "est"), ("n", "e")]
    for i, pair in enumerate(expected):
        assert_equal(actual[i : i + 1], [pair], what=f"merge {i + 1} of {CORPUS}", hint="max by (count, pair)")
    assert_equal(student.train_bpe({"ab": 3}, 5), [("a", "b")], what="5 merges of ab", hint="stop when there are no pairs")
    assert_equal(student.train_bpe(CORPUS, 0), [], what="no merges")
    assert_equal(student.train_bpe({(b"a", b"b", b"b"): 1}, 2), [(b"b", b"b"), (b"a", b"bb")], what="merges of bytes")
    assert_refused(student.train_bpe, CORPUS, -1, why="n_merges is below 0")


@exercise("train_bpe")
@settings(max_examples=40)
@given(words=st.dictionaries(st.text("abc", max_size=8), sizes(1, 4), max_size=8), n=sizes(0, 10))
@example(words={"aaaa": 1, "aaab": 2, "baa": 3}, n=5)
def test_training_agrees_with_counting_anew(student, words, n):
    """Slowly: count everything, merge everywhere, again."""
    lists, expected = [(list(word), count) for word, count in words.items()], []
    while len(expected) < n:
        places = [(pair, count) for symbols, count in lists for pair in zip(symbols, symbols[1:])]
        counts = {pair: sum(count for other, count in places if other == pair) for pair, _ in places}
        if not counts:
            break
        a, b = max(counts, key=lambda pair: (counts[pair], pair))
        expected.append((a, b))
        for symbols, _ in lists:
            for i in range(len(symbols) - 1):
                if symbols[i : i + 2] == [a, b]:
                    symbols[i : i + 2] = [a + b]
    hint = "a merge changes the counts of the pairs beside it as well, in every word that holds the pair"
    assert_equal(student.train_bpe(words, n), expected, what=f"{n} merges of {words}", hint=hint)


@exercise("encode_bpe")
def test_the_earliest_merge_wins(student):
    merges = [("s", "t"), ("e", "st"), ("o", "w"), ("l", "ow"), ("w", "est")]
    for word, expected in (("lowest", ["low", "est"]), ("newest", ["n", "e", "west"]), ("slow", ["s", "low"]),
                           ("toe", ["t", "o", "e"]),
                           ("", []), ("w", ["w"])):  # fmt: skip
        assert_equal(student.encode_bpe(word, merges), expected, what=f"{word!r} with the merges {merges}")
    actual = student.encode_bpe("abc", [("b", "c"), ("a", "b")])
    assert_equal(actual, ["a", "bc"], what="abc with (b, c) before (a, b)", hint="rank decides, not the place in the word")
    assert_equal(student.encode_bpe("aaa", [("a", "a")]), ["aa", "a"], what="aaa with (a, a)", hint="from the left")
    actual = student.encode_bpe("abc", [("ab", "c"), ("a", "b")])
    assert_equal(actual, ["abc"], what="abc with (ab, c) before (a, b)", hint="after each merge, look at all ranks again")
    actual = student.encode_bpe((b"a", b"b", b"a"), [(b"a", b"b")])
    assert_equal(actual, [b"ab", b"a"], what="bytes", hint="the new symbol is a + b")


@exercise("encode_bpe")
@settings(max_examples=30)
@given(word=st.text("abc", max_size=10), n=sizes(0, 6))
def test_symbols_make_up_the_word(student, word, n):
    """And no two neighbours are left that could be merged."""
    merges = [("a", "b"), ("ab", "c"), ("c", "c"), ("ab", "ab"), ("b", "a"), ("a", "a")][:n]
    symbols = student.encode_bpe(word, merges)
    assert_equal("".join(symbols), word, what=f"the symbols of {word!r}, joined")
    left = [pair for pair in zip(symbols, symbols[1:]) if pair in merges]
    assert not left, f"{word!r} with {merges} is {symbols}: {left} could be merged"


# unigram_segment

PIECES = {
    "un": -2.0,
    "re": -2.0,
    "unre": -5.0,
    "ad": -3.0,
    "read": -2.5,
    "able": -2.0,
    "readable": -5.0,
    "a": -3.0,
    "b": -3.5,
    "le": -3.0,
}


@exercise("unigram_segment")
def test_the_most_probable_way_by_hand(student):
    for text, expected, total in (
        ("unreadable", ["un", "read", "able"], -6.5),
        ("able", ["able"], -2.0),
        ("ab", ["a", "b"], -6.5),
    ):
        pieces, log_prob = student.unigram_segment(text, PIECES)
        hint = "the best way to each end: over all last pieces, the best way to where it begins"
        assert_equal(pieces, expected, what=f"the pieces of {text!r}", hint=hint)
        assert_close(log_prob, total, what=f"the log-probability of {text!r}", hint="the sum over its pieces")
    assert_close(student.unigram_segment("", PIECES), ([], 0.0), what="the empty text")
    assert_refused(student.unigram_segment, "unix", PIECES, why="no pieces make it up")
    pieces, log_prob = student.unigram_segment("ab" * 1000, PIECES)
    assert_equal(len(pieces), 2000, what="the number of pieces of a long text")
    assert_close(log_prob, -6500.0, what="its log-probability")


@exercise("unigram_segment")
@settings(max_examples=30)
@given(text=st.text("ab", min_size=1, max_size=8), log_probs=st.lists(sizes(-30, -1), min_size=14, max_size=14))
def test_no_other_way_is_better(student, text, log_probs):
    """Beside brute force: between any two characters there is a cut or not."""
    pieces = ["".join(letters) for n in (1, 2, 3) for letters in product("ab", repeat=n)]
    table = {piece: log_prob / 8 for piece, log_prob in zip(pieces, log_probs, strict=True)}
    best = -math.inf
    for cuts in product([False, True], repeat=len(text) - 1):
        places = [0, *(i for i, cut in enumerate(cuts, 1) if cut), len(text)]
        best = max(best, sum(table.get(text[a:b], -math.inf) for a, b in zip(places, places[1:])))
    found, log_prob = student.unigram_segment(text, table)
    assert_equal("".join(found), text, what=f"the pieces of {text!r}, joined")
    assert_close(log_prob, sum(table.get(piece, -math.inf) for piece in found), what=f"log_prob, against {found}")
    assert_close(log_prob, best, what=f"the log-probability of {text!r} in {table}")
