"""What a single call cannot show: texts that do not cross the boundary, tries and tokenizers in use, and work that is counted."""

import gc
import itertools
import json
import os
import random
import sys
import tracemalloc
from pathlib import Path

REFUSALS = (ValueError, TypeError, LookupError)


def outcome(call, *args, **kwargs):
    """The value, or "refused"."""
    try:
        return call(*args, **kwargs)
    except REFUSALS:
        return "refused"


# UTF-8


def encode_codes(module, rows):
    """utf8_encode of each text, given by its code points; "refused" where it is. What is not bytes is called by its type."""
    seen = [outcome(module.utf8_encode, "".join(map(chr, codes))) for codes in rows]
    return [data if data == "refused" or isinstance(data, bytes) else f"a {type(data).__name__}" for data in seen]


def decode_all(module, rows, *args, **kwargs):
    """utf8_decode of each, as a list of code points; "refused" where it is."""
    decoded = [outcome(module.utf8_decode, data, *args, **kwargs) for data in rows]
    return [text if text == "refused" or not isinstance(text, str) else list(map(ord, text)) for text in decoded]


class Touched:
    """Notes whether somebody looks at single characters or bytes."""

    n = 0


class WatchedText(str):
    """A text that notes when it is walked, indexed or encoded by itself."""

    def __iter__(self):
        Touched.n += 1
        return super().__iter__()

    def __getitem__(self, index):
        Touched.n += 1
        return super().__getitem__(index)


class WatchedBytes(bytes):
    """Bytes that note when they are walked or indexed."""

    def __iter__(self):
        Touched.n += 1
        return super().__iter__()

    def __getitem__(self, index):
        Touched.n += 1
        return super().__getitem__(index)


class Converting(type):
    """A builtin type that notes calls such as bytes(text, "utf-8") and str(data, "utf-8")."""

    n = 0

    def __call__(cls, *args, **kwargs):
        Converting.n += len(args) > 1 or bool(kwargs)
        return cls.__base__(*args, **kwargs)

    def __instancecheck__(cls, value):
        return isinstance(value, cls.__base__)


CONVERTING = {builtin.__name__: Converting(builtin.__name__, (builtin,), {}) for builtin in (str, bytes, bytearray)}


def done_by_python(module, name, value):
    """What the function gives, whether Python's own methods do the work, there or in a library, and whether anybody looks at
    the single elements."""
    n_steps, calls = [0], set()
    own = {key: vars(module)[key] for key in CONVERTING if key in vars(module)}

    def trace(frame, event, argument):
        if frame.f_globals is not vars(module):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            n_steps[0] += 1
        return trace

    def profile(frame, event, argument):
        if event == "c_call" and isinstance(getattr(argument, "__self__", None), (str, bytes, bytearray)):
            calls.add(argument.__name__)

    Touched.n = Converting.n = 0
    vars(module).update(CONVERTING)
    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        result = getattr(module, name)(WatchedText(value) if isinstance(value, str) else WatchedBytes(value))
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
        for key in CONVERTING:
            vars(module).pop(key)
        vars(module).update(own)
    return {
        "value": list(map(ord, result)) if isinstance(result, str) else result,
        "encoded or decoded by a method": bool(calls & {"encode", "decode"}) or Converting.n > 0,
        "nobody looked at it": Touched.n == 0 and n_steps[0] < len(value) // 2,
    }


def table_twice(module):
    """bytes_to_unicode of two calls, the first of which is changed by its owner before the second."""
    first = module.bytes_to_unicode()
    kept = dict(first)
    first[65] = "changed"
    del first[32]
    return kept, dict(module.bytes_to_unicode())


# Pre-tokens


def cut(module, texts):
    """pretokenize of each text. The lists are changed by their owner after each."""
    seen = []
    for text in texts:
        words = module.pretokenize(text)
        seen.append(list(words) if isinstance(words, list) else words)
        if isinstance(words, list):
            words.append("changed")
    return seen


def cut_much(module, piece, n):
    """What pretokenize makes of n pieces and a long word."""
    text = piece * n + "b" * 3000
    words = module.pretokenize(text)
    return {"pre-tokens": len(words), "joined, they are the text": "".join(words) == text, "the last": words[-1]}


# The trie


def use_trie(module, steps):
    """What each step gives: ["insert", token, id], ["get", token, ...], ["in", token], ["longest", data, ...]."""
    trie, seen = module.ByteTrie(), []
    for name, *args in steps:
        method = {"insert": "insert", "get": "get", "in": "__contains__", "longest": "longest_prefix"}[name]
        seen.append(outcome(getattr(trie, method), *args))
        if name == "insert" and seen[-1] != "refused":
            seen[-1] = None  # whatever it returns
    return seen


def two_tries(module, steps):
    """The same with two tries that take turns."""
    tries, seen = [module.ByteTrie(), module.ByteTrie()], []
    for i, (name, *args) in enumerate(steps):
        method = {"insert": "insert", "get": "get", "in": "__contains__", "longest": "longest_prefix"}[name]
        seen.append(outcome(getattr(tries[i % 2], method), *args))
        if name == "insert" and seen[-1] != "refused":
            seen[-1] = None
    return seen


class CountedBytes(bytes):
    """Counts how many of its bytes are handed out."""

    n = 0

    def __iter__(self):
        for byte in super().__iter__():
            CountedBytes.n += 1
            yield byte

    def __getitem__(self, index):
        value = super().__getitem__(index)
        CountedBytes.n += 1 if isinstance(value, int) else len(value)
        return value


def bytes_looked_at(module, tokens, data, starts):
    """The longest prefixes at all these places, and how many bytes of the data were looked at, or copied, for them."""
    trie = module.ByteTrie()
    for i, token in enumerate(tokens):
        trie.insert(token, i)
    data, CountedBytes.n = CountedBytes(data), 0
    found = [trie.longest_prefix(data, start) for start in starts]
    return found, CountedBytes.n


# Training


def train_from_file(module, data, vocab_size, special_tokens):
    """What is learnt from a file of these bytes, given as a Path."""
    path = Path("corpus.txt")
    path.write_bytes(data)
    return module.train_byte_bpe(path, vocab_size, special_tokens)


def train_from_a_name(module, name, data, vocab_size):
    """What is learnt from a text which is the name of a file that is there."""
    Path(name).write_bytes(data)
    return module.train_byte_bpe(name, vocab_size)


def train_in_turns(module, calls):
    """What each call learns; what it returned is emptied by its owner after that, and the special tokens have to stay."""
    seen = []
    for text, vocab_size, special_tokens in calls:
        before = list(special_tokens)
        vocab, merges = module.train_byte_bpe(text, vocab_size, special_tokens)
        seen.append([dict(vocab), list(merges), special_tokens == before])
        vocab.clear()
        if isinstance(merges, list):
            merges.clear()
    return seen


# The tokenizer


def tokenizer_of(module, vocab, merges, special_tokens):
    return module.GPT2Tokenizer(vocab, [tuple(pair) for pair in merges], special_tokens)


def encode_all(module, vocabulary, texts, *args):
    """encode of each text."""
    tokenizer = tokenizer_of(module, *vocabulary)
    return [tokenizer.encode(text, *args) for text in texts]


def encode_with(module, vocabulary, cases):
    """encode of each (text, allowed_special); the list "as a set" stands for a set."""
    tokenizer, seen = tokenizer_of(module, *vocabulary), []
    for text, allowed in cases:
        if isinstance(allowed, list) and allowed[:1] == ["as a set"]:
            allowed = set(allowed[1:])
        seen.append(outcome(tokenizer.encode, text, allowed_special=allowed))
    return seen


def decode_all_ids(module, vocabulary, rows):
    """decode of each list of ids."""
    tokenizer = tokenizer_of(module, *vocabulary)
    return [outcome(tokenizer.decode, iter(ids)) for ids in rows]


def there_and_back(module, vocabulary, texts):
    """Each text, encoded and decoded."""
    tokenizer = tokenizer_of(module, *vocabulary)
    return [tokenizer.decode(tokenizer.encode(text)) for text in texts]


def made_with(module, vocabulary):
    """ "refused" or "accepted"."""
    return outcome(lambda: tokenizer_of(module, *vocabulary) and "accepted")


def from_files(module, vocab, merges, texts, allowed, rows, as_text=False):
    """A tokenizer from two files with these contents: the texts in ids, and the ids in texts."""
    paths = [os.path.abspath("vocab.json"), os.path.abspath("merges.txt")]
    for path, content in zip(paths, (vocab, merges)):
        Path(path).write_bytes(content)
    tokenizer = module.GPT2Tokenizer.from_files(*(paths if as_text else map(Path, paths)))
    for path in paths:
        os.unlink(path)
    return [tokenizer.encode(text, allowed) for text in texts], [tokenizer.decode(ids) for ids in rows]


def in_pieces(module, vocabulary, rows, *args):
    """encode_iterable of each list of lines, given as a list and as an iterator."""
    tokenizer = tokenizer_of(module, *vocabulary)

    def ids(lines):
        return list(tokenizer.encode_iterable(lines, **dict(zip(["allowed_special"], args))))

    return [[outcome(ids, lines), outcome(ids, iter(lines))] for lines in rows]


def two_streams(module, vocabulary, texts):
    """encode_iterable of two texts, and decode_stream of their ids, drawn in turns."""
    tokenizer = tokenizer_of(module, *vocabulary)
    streams = [iter(tokenizer.encode_iterable(text.splitlines(keepends=True))) for text in texts]
    ids = [[], []]
    for pair in itertools.zip_longest(*streams):
        for row, i in zip(ids, pair):
            row += [] if i is None else [i]
    written = ["", ""]
    for pair in itertools.zip_longest(*(tokenizer.decode_stream(row) for row in ids)):
        for k, piece in enumerate(pair):
            written[k] += piece or ""
    return ids, written


def random_lines(words, seed):
    """Lines of a few words each, without end."""
    rng = random.Random(seed)
    while True:
        yield " ".join(rng.choices(words, k=rng.randint(1, 12))) + "\n"


def endless(module, vocabulary, words, seed, n_ids):
    """The first ids of lines without end, and how many lines were drawn for them."""
    tokenizer, n_lines = tokenizer_of(module, *vocabulary), [0]

    def lines():
        for line in random_lines(words, seed):
            n_lines[0] += 1
            if n_lines[0] > 100_000:
                raise RuntimeError("too many lines were drawn")
            yield line

    ids = list(itertools.islice(tokenizer.encode_iterable(lines()), n_ids))
    return ids, n_lines[0]


def held_back(module, vocabulary, words, seed, n_characters):
    """The most characters that were drawn and not given at any time, and how many bytes more are held at the end of the stream
    than in the middle; all special tokens count."""
    tokenizer = tokenizer_of(module, *vocabulary)
    lengths = {i: len(token) for i, token in vocabulary[0].items()}
    drawn = given = most = 0
    middle = None

    def lines():
        nonlocal drawn
        for line in random_lines(words, seed):
            if drawn + len(line) > n_characters:
                return
            drawn += len(line)
            yield line

    tokenizer.encode(" ".join(words))
    tracemalloc.start()
    try:
        for i in tokenizer.encode_iterable(lines(), "all"):
            given += lengths[i]
            most = max(most, drawn - given)
            if middle is None and given > n_characters // 3:
                gc.collect()
                middle = tracemalloc.get_traced_memory()[0]
            elif given < 5 * n_characters // 6:
                end = 0
            elif not end:
                gc.collect()
                end = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return {"held back": most, "given": given, "drawn": drawn, "grown by": end - middle}


def remembered(module, vocabulary, n_short, n_long, length, seed):
    """How many more bytes are in use after many different short words, and after some long ones."""
    tokenizer, rng = tokenizer_of(module, *vocabulary), random.Random(seed)
    tokenizer.encode("ab ab")
    long_words = [" " + "".join(rng.choices("abcdefgh", k=length)) for _ in range(n_long)]
    tracemalloc.start()
    try:
        for word in long_words:
            tokenizer.encode(word)
        gc.collect()
        for_long = tracemalloc.get_traced_memory()[0]
        for i in range(0, n_short, 1000):
            words = ["".join(chr(97 + (k // 26**p) % 26) for p in range(4)) for k in range(i, i + 1000)]
            tokenizer.encode(" ".join(words))
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - for_long, for_long
    finally:
        tracemalloc.stop()


def decode_in_pieces(module, vocabulary, rows):
    """decode_stream of each list of ids, joined; given as a list and as an iterator."""
    tokenizer = tokenizer_of(module, *vocabulary)

    def text(ids):
        return "".join(tokenizer.decode_stream(ids))

    return [[outcome(text, ids), outcome(text, iter(ids))] for ids in rows]


def written_so_far(module, vocabulary, ids):
    """For each id, what decode_stream has given when it comes for the next one."""
    tokenizer, seen, given = tokenizer_of(module, *vocabulary), [], []

    def drawn():
        for i in ids:
            yield i
            seen.append("".join(given))

    for piece in tokenizer.decode_stream(drawn()):
        given.append(piece)
    return seen, "".join(given)


def used_and_changed(module, vocabulary, other, texts):
    """Two tokenizers take turns; what they were made from changes, and so do the lists that they gave."""
    vocab, merges, special = dict(vocabulary[0]), [tuple(pair) for pair in vocabulary[1]], list(vocabulary[2])
    given = dict(vocab), list(merges), list(special)
    tokenizers = module.GPT2Tokenizer(vocab, merges, special), tokenizer_of(module, *other[:2], iter(other[2]))
    seen = []
    for text in texts:
        for tokenizer in tokenizers:
            ids = tokenizer.encode(text, "all")
            seen.append(list(ids))
            ids.append(0)
    kept = given == (vocab, merges, special)
    vocab.clear(), merges.clear(), special.clear()
    again = [tokenizers[0].encode(text, "all") for text in texts]
    words = [tokenizers[0].decode(ids) for ids in again]
    return {"seen": seen, "again": again, "decoded": words, "untouched": kept}


def as_json(vocab, ascii_only=True):
    return json.dumps(vocab, ensure_ascii=ascii_only).encode()
