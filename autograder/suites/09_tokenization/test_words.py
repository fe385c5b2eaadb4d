"""Hidden tests: vocabularies, tries and the longest match. The truth is sorting, and trying every word at every place."""

import random
from functools import partial

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, seeds, settings, sizes, st

from . import scenarios

TOKENS = [
    "the",
    "of",
    "The",
    "",
    "a",
    "b",
    "é",
    "e\u0301",
    "🙂",
    "🙃",
    "\ufb01",
    "zebra",
    "z",
    "Z",
    "ab",
    "aa",
    "<pad>",
    "<eos>",
    "10",
    "9",
    " ",
    " the",
]


def counts_for(seed, n):
    """Counts of tokens, many of them equal, in an order that says nothing."""
    rng = random.Random(seed)
    return {token: rng.choice([1, 1, 2, 3, 3, 10]) for token in rng.sample(TOKENS, min(n, len(TOKENS)))}


def numbered(counts, specials, min_count=1):
    """All tokens in the order of their ids."""
    rest = [token for token in counts if counts[token] >= min_count and token not in specials]
    rest.sort()
    rest.sort(key=lambda token: counts[token], reverse=True)
    return list(specials) + rest


@exercise("Vocabulary", points=4, core=True)
@settings(max_examples=40)
@given(seed=seeds(), n=sizes(0, 20), specials=st.sampled_from([[], ["<unk>"], ("<pad>", "<unk>", "<eos>"), ["z", "<pad>", "a"]]))
@example(seed=1, n=20, specials=["<pad>", "<unk>", "<eos>"])
def test_specials_first_then_the_most_frequent(student, seed, n, specials):
    """Ids: the specials in their order, then by falling count, and of equally frequent tokens the smaller text first."""
    counts = counts_for(seed, n)
    expected = numbered(counts, specials)
    shuffled = random.Random(seed).sample(expected, len(expected))
    actual = student.run(scenarios.use_vocabulary, counts, specials, expected, [expected, shuffled], [list(range(len(expected)))])
    assert_equal(actual["all tokens"], expected, what=f"the tokens of {counts} by id", hint="sort by (-count, token)")
    assert_equal(actual["ids"], [[*range(len(expected))], [expected.index(t) for t in shuffled]], what="the ids of the tokens")
    assert_equal(actual["len"], len(expected), what="len", hint="the specials count")
    assert_equal(actual["in"], [True] * len(expected), what="whether the tokens are in it")


@exercise("Vocabulary", points=1)
@settings(max_examples=20)
@given(seed=seeds(), min_count=sizes(-1, 11))
@example(seed=3, min_count=3)
@example(seed=3, min_count=11)
def test_rare_tokens_stay_out(student, seed, min_count):
    """A token needs min_count occurrences, exactly that many are enough; specials need none."""
    counts, specials = counts_for(seed, 14) | {"nobody": 0}, ["<unk>", "a"]
    expected = numbered(counts, specials, min_count)
    actual = student.run(scenarios.use_vocabulary, counts, specials, list(counts), min_count=min_count)
    assert_equal(actual["all tokens"], expected, what=f"the tokens of {counts} with min_count={min_count}")
    assert_equal(actual["in"], [token in expected for token in counts], what="whether each token is in it")
    default = student.run(scenarios.use_vocabulary, counts, specials)
    assert_equal(default["all tokens"], numbered(counts, specials), what="the tokens with the default of 1", hint="0 is too few")


@exercise("Vocabulary", points=2)
@settings(max_examples=20)
@given(seed=seeds(), place=sizes(0, 2))
@example(seed=1, place=0)
def test_unknown_tokens_are_read_as_unk(student, seed, place):
    """What the vocabulary does not have gets the id of "<unk>", wherever that stands; without one it is refused."""
    counts = counts_for(seed, 10)
    specials = ["<pad>", "<bos>"]
    specials.insert(place, "<unk>")
    tokens = list(counts)
    text = [*tokens[:3], "never seen", "<unk>", "THE", *tokens[3:5], "<pad>", "🦓", f" {tokens[0]}", f"{tokens[1]}\n"]
    actual = student.run(scenarios.use_vocabulary, counts, specials, text, [text, [], ["never seen"]])
    expected = numbered(counts, specials)
    ids = [expected.index(token) if token in expected else place for token in text]
    assert_equal(actual["ids"], [ids, [], [place]], what=f"the ids of {text}", hint='"<unk>" for what is unknown, 0 is an id too')
    assert_equal(actual["in"], [token in expected for token in text], what="whether each is in it", hint="unknown is not in it")
    learnt = student.run(scenarios.use_vocabulary, {"a": 9, "<unk>": 5, "b": 1}, ["<pad>"], [], [["b", "c", "a"]])
    assert_equal(learnt["ids"], [[3, 2, 1]], what='the ids of b, c, a where "<unk>" was counted', hint="a token like others")
    without = student.run(
        scenarios.use_vocabulary,
        counts,
        ["<pad>"],
        [],
        [["never seen"], ["<pad>", "never seen"], ["never seen", "<pad>"], ["<pad>"]],
    )
    refused = [value in ("refused", "KeyError") for value in without["ids"]]
    assert_equal(refused, [True, True, True, False], what='whether each text is refused without "<unk>"')


@exercise("Vocabulary", points=1.5)
@settings(max_examples=15)
@given(seed=seeds(), n=sizes(1, 12))
def test_ids_that_no_token_has_are_refused(student, seed, n):
    """Ids from 0 to len - 1 are tokens, in any order and more than once; all others, negative ones too, are refused."""
    counts = counts_for(seed, n)
    expected = numbered(counts, ["<unk>"])
    rng = random.Random(seed)
    ids = [rng.randrange(len(expected)) for _ in range(15)]
    bad = [[-1], [0, -len(expected)], [len(expected)], [0, 10**6], [-len(expected) - 1], [0, len(expected), 0]]
    actual = student.run(scenarios.use_vocabulary, counts, ["<unk>"], [], [], [ids, [], [len(expected) - 1], *bad])
    tokens = [expected[i] for i in ids]
    assert_equal(actual["tokens"][:3], [tokens, [], [expected[-1]]], what=f"the tokens of {ids}, of [] and of the last id")
    for row, value in zip(bad, actual["tokens"][3:], strict=True):
        assert value in ("refused", "KeyError"), f"decode({row}) with {len(expected)} tokens is {value}, and should be refused"


@exercise("Vocabulary", points=1)
def test_a_token_has_one_id(student):
    """Vocabulary(tokens) takes the tokens as they come and refuses one that comes twice, as from_counts does for specials."""
    actual = student.run(scenarios.use_vocabulary, ["b", "a", "<unk>", ""], None, ["", "c"], [["a", "b", "c", ""]], [[3, 0]])
    expected = {
        "len": 4,
        "in": [True, False],
        "all tokens": ["b", "a", "<unk>", ""],
        "ids": [[1, 0, 2, 3]],
        "tokens": [["", "b"]],
    }
    assert_equal(actual, expected, what="Vocabulary(['b', 'a', '<unk>', ''])", hint="in the order in which they come")
    ids = student.run(scenarios.ids_of_an_iterator, ["b", "a"], ["a", "b", "a"])
    assert_equal(ids, [1, 0, 1], what='encode(iter(["a", "b", "a"])), without "<unk>"', hint="an iterator can be walked once")
    (ids,) = student.run(scenarios.use_vocabulary, ["b", "a", "<unk>", "b a"], None, [], ["b a"])["ids"]
    assert_equal(ids, [0, 2, 1], what="encode of the text 'b a'", hint="a text is an iterable of characters")
    for make in (scenarios.make_vocabulary, scenarios.vocabulary_of_an_iterator):
        assert_refused(called("Vocabulary", partial(student.run, make)), ["a", "b", "a"], why="a token comes twice")
    from_counts = called("Vocabulary.from_counts", partial(student.run, scenarios.make_vocabulary))
    assert_refused(from_counts, {"a": 1}, ["x", "y", "x"], why="a special comes twice")
    assert_equal(student.run(scenarios.make_vocabulary, []), 0, what="the length of an empty one")
    length = student.run(scenarios.vocabulary_of_an_iterator, ["b", "a"])
    assert_equal(length, 2, what="the length of one that is made from an iterator")


@exercise("Vocabulary", points=0.5)
def test_a_vocabulary_is_fixed_once_it_is_made(student):
    """Vocabularies share nothing, change nothing that they are given, and do not follow its changes; iterators will do."""
    actual = student.run(scenarios.vocabulary_once_made, {"a": 2, "b": 3, "<s>": 9, "c": 2, "no": 0}, ["<unk>", "<s>"])
    tokens = ["<unk>", "<s>", "b", "a", "c"]
    expected = {
        "seen": [[4, 3, 2, 1, 0], tokens, [0, 1, 3, 2, 1, 4, 0]],
        "later": False,
        "again": [0, 1, 3, 2, 1, 4, 0],
        "length": 5,
        "length of the second": 6,
        "decoded from an iterator": tokens,
        "unharmed": True,
    }
    assert_equal(actual, expected, what="the vocabulary", hint="copy what is given")


# Trie

# á is 128 characters after a, and \uf642 65536 before 🙂
LETTERS = ["a", "b", "á", "🙂", "e", "\u0301", "*", "$", "#", "\0", " ", ".", "A", "\uf642", "\n"]


def words_for(seed, n, longest=6, letters=LETTERS, mostly=2):
    """Words that begin alike, end within each other and repeat."""
    rng = random.Random(seed)
    return [
        "".join(rng.choice(letters[: rng.choice([mostly, len(letters)])]) for _ in range(rng.randint(1, longest)))
        for _ in range(n)
    ]


def text_for(seed, words, n=8):
    """Words, and what is none, in a row."""
    rng = random.Random(seed + 1)
    return "".join(rng.choice([*words, *LETTERS, "x"]) for _ in range(n))


def prefix_by_trying(words, text, start=0):
    return max((word for word in words if text.startswith(word, start)), key=len, default="")


@exercise("Trie", points=5, core=True)
@settings(max_examples=40)
@given(seed=seeds(), n=sizes(0, 25))
@example(seed=2, n=60)
def test_the_longest_word_at_each_place(student, seed, n):
    """longest_prefix is the longest word that the text goes on with at a place, and "" where there is none."""
    words = words_for(seed, n)
    text = text_for(seed, words)
    places = [(text, start) for start in range(len(text) + 1)] + [(text,), ("",), ("", 0)]
    _, actual = student.run(scenarios.use_trie, words, [], places)
    expected = [prefix_by_trying(words, *place) for place in places]
    for place, found, right in zip(places, actual, expected, strict=True):
        assert_equal(found, right, what=f"longest_prefix{place} with the words {words}", hint="remember the last end of a word")


@exercise("Trie", points=2)
@settings(max_examples=30)
@given(seed=seeds(), n=sizes(0, 20))
@example(seed=4, n=50)
def test_only_what_was_inserted_is_a_word(student, seed, n):
    """Beginnings, ends and continuations of words are no words unless they were inserted."""
    words = words_for(seed, n)
    asked = sorted({part for word in words for i in range(len(word) + 1) for part in (word[:i], word[i:], word + word[:i])})
    asked += ["", "x", "ax", *words_for(seed + 1, 10)]
    actual, _ = student.run(scenarios.use_trie, words, asked, [])
    for text, found in zip(asked, actual, strict=True):
        assert_equal(found, text in words, what=f"{text!r} in a trie of {words}", hint="mark the node where a word ends")


@exercise("Trie", points=1.5)
@settings(max_examples=15)
@given(seed=seeds(), n=sizes(1, 12))
@example(seed=0, n=3)
def test_words_may_come_in_any_order(student, seed, n):
    """Each word is there from its insertion on, the longer ones before or after the shorter, and twice is once."""
    words = words_for(seed, n, longest=4)
    words += ["abab", "ab", "a", "abab", "aba"]
    text = text_for(seed, words, 5)
    seen = student.run(scenarios.grow_trie, words, text)
    for i, (contained, prefixes) in enumerate(seen, 1):
        there = words[:i]
        assert_equal(contained, [word in there for word in words], what=f"which of {words} are there after {i}")
        expected = [prefix_by_trying(there, text, start) for start in range(len(text) + 1)]
        assert_equal(
            prefixes, expected, what=f"the longest prefixes in {text!r} after {there}", hint="an insertion takes nothing away"
        )
    long = ["ab" * 100, "ab" * 130]
    places = [("ab" * 139, 0), ("ab" * 139, 20), ("ab" * 99, 0), (long[1], 0), ("x" + long[1], 1)]
    _, found = student.run(scenarios.use_trie, long, [], places)
    expected, what = [long[1], long[0], "", long[1], long[1]], "the longest prefixes with words of 200 and 260 characters"
    assert_equal(found, expected, what=what)
    pair = student.run(scenarios.two_tries, ["ab", "abc", "b"], ["abcd", "x", "a"], "abcd")
    expected = [[[True, True, True, False, False, False], "abc"], [[False, False, False, True, True, True], "abcd"]]
    assert_equal(pair, expected, what="two tries filled in turns", hint="each node has a dictionary of its own")


@exercise("Trie", points=1)
def test_places_outside_of_the_text_are_refused(student):
    """The empty word is refused and changes nothing; a start below 0 or beyond the end is refused."""
    for words, text in ((["a", "ab"], "abc"), (["x"], "")):
        starts = [-1, len(text) + 1, -len(text) - 2, 100]
        actual = student.run(scenarios.trie_refusals, words, text, starts)
        expected = [True, False, *[True] * len(starts), prefix_by_trying(words, text), "", False, True]
        asked = ["insert('') is refused", "'' is a word then", *(f"longest_prefix({text!r}, {i}) is refused" for i in starts)]
        asked += [f"longest_prefix({text!r}, 0)", "longest_prefix without words", "'' is a word without words"]
        asked += ["a start beyond the end is refused without words"]
        right = actual[:2] == expected[:2]
        hint = "text[-1] is no error in Python: look at start first" if right else "the empty word is none"
        actual, expected = dict(zip(asked, actual, strict=True)), dict(zip(asked, expected, strict=True))
        assert_equal(actual, expected, what=f"a trie of {words}", hint=hint)
    # None of the characters is a mark, whatever marks the end of a word.
    others = [*map(chr, range(256)), *"•■▁\ue000\ufffd\uffff\U0010ffff"]
    stems = [f"w{i}{other}z" for i, other in enumerate(others)], [f"v{i}{other}z" for i, other in enumerate(others)]
    words = [*stems[0], *stems[1], *(stem[:-2] for stem in stems[1])]
    asked = [stem[:end] for stem in (*stems[0], *stems[1]) for end in (-2, -1, None)]
    contained, found = student.run(scenarios.use_trie, words, asked, [(stem[:-1],) for stem in (*stems[0], *stems[1])])
    hint = "what marks the end of a word must not be a character that words may have"
    for text, actual in zip(asked, contained, strict=True):
        assert_equal(actual, text in words, what=f"{text!r} in a trie of words like 'w0\\0z', 'v0\\0z' and 'v0'", hint=hint)
    expected = [""] * len(others) + [stem[:-2] for stem in stems[1]]
    assert_equal(found, expected, what="the longest prefixes of 'w0\\0' and the like", hint=hint)


@exercise("Trie", points=1.5)
def test_a_look_up_follows_the_text_and_no_further(student):
    """A look-up takes about as many steps as the match is long, however many words there are and however long one is."""
    letters = list("abcdefgh")
    alike = ["bab" + word for word in words_for(5, 1500, longest=7, letters=letters, mostly=8)]  # they all begin like that
    words = [*alike, "a" * 270, "b" * 260 + "c", *("aaa" + "z" * n for n in range(1, 250))]  # words of so many lengths
    ends = "".join(words_for(6, 1000, letters=letters, mostly=8))
    starts = [sum(map(len, alike[:i])) for i in range(60)]
    asked = [("".join(alike[:60]) + ends, starts), ("aab" * 50 + ends, list(range(150)))]
    asked.append(("q" * 20_000 + "aab", [20_000] * 5))
    for (_, starts), (n_steps, n_looked) in zip(asked, student.run(scenarios.trie_work, words, asked, 400)):
        said = f"{len(starts)} look-ups, each with a match of a few characters, ran more than {n_steps} lines of code"
        assert n_steps <= 400 * len(starts), f"{said}\n  hint: walk down from the root, and stop where no edge leads on"
        said = f"{len(starts)} look-ups, each with a match of a few characters, looked at the text {n_looked} times"
        hint = "one character after the other from start on, not one word after the other"
        assert n_looked <= 1000 * len(starts), f"{said}\n  hint: {hint}"


# max_match


def match_by_trying(text, words, unk):
    pieces, rest = [], text
    while rest:
        word = prefix_by_trying(words, rest)
        pieces.append(word or unk)
        rest = rest[len(word) or 1 :]
    return pieces


@exercise("max_match", points=4, core=True)
@settings(max_examples=40)
@given(seed=seeds(), n=sizes(0, 15), unk=st.sampled_from(["<unk>", "?", "", "ab"]))
@example(seed=1, n=12, unk="<unk>")
def test_the_longest_match_from_left_to_right(student, seed, n, unk):
    """Each piece is the longest word that fits where the one before ends, and unk stands for one character."""
    if seed == 1:  # neither the fewest pieces nor those that are found from the end
        text, words = "abcdwxyz", ["a", "ab", "bcd", "c", "d", "w", "wxy", "x", "yz", "z"]
        expected, what = ["ab", "c", "d", "wxy", "z"], f"the pieces of {text!r} with the words {words}"
        actual = student.run(scenarios.match, text, words, unk)
        assert_equal(actual, expected, what=what, hint="the longest word each time")
    words = words_for(seed, n, longest=4)
    text = text_for(seed, words, 10)
    actual = student.run(scenarios.match, text, words, unk)
    assert_equal(actual, match_by_trying(text, words, unk), what=f"the pieces of {text!r} with the words {words}")


@exercise("max_match", points=1)
def test_every_unknown_character_is_an_unk_of_its_own(student):
    """Unknown characters in a row, at the beginning and at the end are one unk each; nothing in nothing is nothing."""
    cases = [("xxabxx", ["ab"]), ("", ["a"]), ("", []), ("🙂é", []), ("e\u0301", ["e"]),
             ("x\u0301y", ["y"]), (" a  b ", ["a", "b"]),
             ("abx", ["a", "abc"]), ("x", ["xx"]),
             ("aaaa", ["aaa"]), ("abcab", ["abcd", "b"]), ("\tab\r\n", ["ab"]), ("ab" * 90, ["ab" * 80]),
             ("<unk>", []), ("a<unk>", ["a", "un"])]  # fmt: skip
    for text, words in cases:
        actual = student.run(scenarios.match, text, words, "<unk>")
        what = f"the pieces of {text!r} with the words {words}"
        assert_equal(actual, match_by_trying(text, words, "<unk>"), what=what, hint="after an unk, go on with the next character")
    for text, words, unk in (("abab", ["ab"], "ab"), ("xabx", ["ab", "b"], "ab"), ("AB ab", ["ab"], "b")):
        actual = student.run(scenarios.match, text, words, unk)
        what = f"the pieces of {text!r} with the words {words} and unk {unk!r}"
        assert_equal(actual, match_by_trying(text, words, unk), what=what, hint="unk may be a word as well")


@exercise("max_match", points=1)
def test_matching_changes_neither_trie_nor_lists(student):
    """The same text again has the same pieces, words that come later count from then on, and long texts are no trouble."""
    actual = student.run(scenarios.match_twice, "abcabx", ["ab", "c"], ["abc", "x"], "?")
    before, what = ["ab", "c", "ab", "?"], "the pieces before, again, whether unk is a word now, the pieces with more words"
    assert_equal(actual, [before, before, False, ["abc", "ab", "x"]], what=what)
    words = ["ab", "a", "ba"]
    text = "abbxa" * 800
    assert_equal(
        student.run(scenarios.match, text, words, "?"), ["ab", "?", "?", "a"] * 800, what="the pieces of 800 times abbxa"
    )
