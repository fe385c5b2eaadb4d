"""What a single call cannot show: texts that do not cross the boundary, tries and tokenizers in use, and work that is counted."""

import builtins
import dis
import functools
import gc
import itertools
import json
import linecache
import os
import random
import sys
import traceback
import tracemalloc
import types
from collections import UserDict
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


class Telling(type):
    """`type`, which tells the noting builtin types from values: for type("")(data, "utf-8") is str(data, "utf-8")."""

    def __call__(cls, *args, **kwargs):
        told = type(*args, **kwargs)
        return CONVERTING[told.__name__] if told in (str, bytes, bytearray) else told

    def __instancecheck__(cls, value):
        return isinstance(value, type)


CONVERTING = {builtin.__name__: Converting(builtin.__name__, (builtin,), {}) for builtin in (str, bytes, bytearray)}
NOTING = {**CONVERTING, "type": Telling("type", (type,), {})}
CALLED = ("__name__", "__qualname__")  # what is asked of a class to say what it is called
# C's functions that encode or decode: of Python's codecs, and the one with which NumPy calls methods of texts.
CONVERTERS = {"utf_8_encode", "utf_8_decode", "_vec_string"}


def noting_instead(names):
    """For the names of a module that stand for such a type, or for all builtins, what is to stand there."""
    instead = {}
    for name, value in names.items():
        if value is builtins:
            instead[name] = types.SimpleNamespace(**vars(builtins) | NOTING)
        elif isinstance(value, type) and value in (str, bytes, bytearray, type):
            instead[name] = NOTING[value.__name__]
    return instead


@functools.cache
def asked_for_classes(code):
    """For each place where the code asks for a `__class__`, what came before: how it was loaded, and its name or value.

    To say what a class is called nobody needs more of it.
    """
    steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
    return {
        step.offset: (before.opname, before.argval)
        for before, step, then in zip(steps, steps[1:], steps[2:])
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and step.argval == "__class__" and then.argval not in CALLED
    }


def asks_for_the_class(frame):
    """Whether the next step asks a text or bytes for its `__class__`, which converts as str(...) and bytes(...) do.

    Or a class, whose own may be `type`; or what no name stands for, which may be a text.
    """
    loaded, name = asked_for_classes(frame.f_code).get(frame.f_lasti, ("", None))
    if not loaded:
        return False
    named = {**vars(builtins), **frame.f_globals, **frame.f_locals}
    value = name if loaded == "LOAD_CONST" else named.get(name, "") if isinstance(name, str) else ""
    return isinstance(value, (str, bytes, bytearray, type))


def shows_source(frame, module):
    """Whether a library looks a line of source up and shows it, as a warning or a traceback does."""
    while frame is not None and frame.f_globals is not vars(module):
        if frame.f_code.co_filename == traceback.__file__:
            return True
        if frame.f_code is linecache.updatecache.__code__:
            return frame.f_locals["filename"].startswith((module.__file__, os.path.dirname(os.__file__)))
        frame = frame.f_back
    return False


def done_by_python(module, name, value):
    """What the function gives, whether Python's own methods do the work, there or in a library, and whether anybody looks at
    the single elements."""
    n_steps = [0]
    noting = NOTING | noting_instead(vars(module))
    own = {key: vars(module)[key] for key in noting if key in vars(module)}

    def trace(frame, event, argument):
        if frame.f_globals is not vars(module):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            n_steps[0] += 1
            Converting.n += asks_for_the_class(frame)
        return trace

    def profile(frame, event, argument):
        own = getattr(argument, "__self__", None) if event == "c_call" and argument.__name__ in ("encode", "decode") else None
        converts = isinstance(own, (str, bytes, bytearray)) or (event == "c_call" and argument.__name__ in CONVERTERS)
        Converting.n += converts and not shows_source(frame, module)
        if event == "c_call" and argument.__name__ == "frombuffer" and frame.f_globals is vars(module):
            Touched.n += 1  # who computes with an array of all bytes at once takes no steps of Python

    Touched.n = Converting.n = 0
    vars(module).update(noting)
    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        result = getattr(module, name)(WatchedText(value) if isinstance(value, str) else WatchedBytes(value))
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
        for key in noting:
            vars(module).pop(key)
        vars(module).update(own)
    return {
        "value": list(map(ord, result)) if isinstance(result, str) else result,
        "encoded or decoded by a method": Converting.n > 0,
        "nobody looked at it": Touched.n == 0 and n_steps[0] < len(value) // 2,
    }


def tables(module):
    """bytes_to_unicode of three calls, each of which is changed by its owner before the next."""
    seen = []
    for _ in range(3):
        table = module.bytes_to_unicode()
        seen.append(dict(table))
        table[65] = "changed"
        table.pop(32, None)
    return seen


# Pre-tokens


def cut(module, texts):
    """pretokenize of each text. The lists are changed by their owner after each. An error says at which text it came."""
    seen = []
    for text in texts:
        try:
            words = module.pretokenize(text)
        except (NotImplementedError, KeyError):  # a key is shown by its repr, and so would be all that is added to it
            raise
        except Exception as error:
            error.args = (f"{error}, in pretokenize({ascii(text)[:100]})",)
            raise
        seen.append(list(words) if isinstance(words, list) else f"a {type(words).__name__}, which is no list")
        if isinstance(words, list):
            words.append("changed")
    return seen


def cut_much(module, piece, n):
    """What pretokenize makes of n pieces and of runs of 3 n letters, numbers, others and white space."""
    text = piece * n + "".join(character * 3 * n for character in "b1! ") + "z"
    words = module.pretokenize(text)
    return {
        "pre-tokens": len(words),
        "joined, they are the text": "".join(words) == text,
        "lengths of the last five": [len(word) for word in words[-5:]],
    }


# The trie


def use_trie(module, steps, errors_are_caught=True):
    """What each step gives: ["insert", token, id], ["get", token, ...], ["in", token], ["longest", data, ...]; a dictionary at
    the end of a step has arguments by their names. Errors that may be refusals are caught, unless they are to be seen."""
    trie, seen = module.ByteTrie(), []
    for name, *args in steps:
        method = {"insert": "insert", "get": "get", "in": "__contains__", "longest": "longest_prefix"}[name]
        by_name = args.pop() if isinstance(args[-1], dict) else {}
        call = functools.partial(getattr(trie, method), *args, **by_name)
        seen.append(outcome(call) if errors_are_caught else call())
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


class NotedBytes(bytes):
    """Notes the places of its bytes that are handed out."""

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        self.places += range(len(self))[index] if isinstance(index, slice) else [range(len(self))[index]]
        return super().__getitem__(index)


def bytes_looked_at(module, tokens, data, starts):
    """The longest prefixes at all these places; and for each the first and the last place that was looked at, or copied, and how
    many were."""
    trie, found, looked_at = module.ByteTrie(), [], []
    for i, token in enumerate(tokens):
        trie.insert(token, i)
    data = NotedBytes(data)
    for start in starts:
        data.places = []
        found.append(trie.longest_prefix(data, start))
        looked_at.append([min(data.places, default=start), max(data.places, default=start), len(data.places)])
    return found, looked_at


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
    """What each call learns, as it is when all are done. What it returned is changed by its owner, who takes all back at the end;
    and the special tokens have to stay."""
    returned, stays = [], []
    for text, vocab_size, special_tokens in calls:
        before = list(special_tokens)
        vocab, merges = module.train_byte_bpe(text, vocab_size, special_tokens)
        stays.append(special_tokens == before)
        returned.append((vocab, merges))
        vocab[-1] = b"changed"
        if isinstance(merges, list):
            merges.append("changed")
    for vocab, merges in returned:
        vocab.pop(-1, None)
        if isinstance(merges, list) and merges[-1:] == ["changed"]:
            merges.pop()
    return [[dict(vocab), list(merges), same] for (vocab, merges), same in zip(returned, stays)]


# The tokenizer


def tokenizer_of(module, vocab, merges, special_tokens):
    return module.GPT2Tokenizer(vocab, [tuple(pair) for pair in merges], special_tokens)


def encode_all(module, vocabulary, texts, *args):
    """encode of each text."""
    tokenizer = tokenizer_of(module, *vocabulary)
    return [tokenizer.encode(text, *args) for text in texts]


def encode_with(module, vocabulary, cases):
    """encode of each (text, allowed_special), and "changed" where that was done to the special tokens; the list "as a set" stands
    for a set."""
    tokenizer, seen = tokenizer_of(module, *vocabulary), []
    for text, allowed in cases:
        if isinstance(allowed, list) and allowed[:1] == ["as a set"]:
            allowed = set(allowed[1:])
        before = allowed if isinstance(allowed, str) else allowed.copy()
        seen.append(outcome(tokenizer.encode, text=text, allowed_special=allowed))
        if allowed != before:
            seen[-1] = "changed: allowed_special"
    return seen


def decode_all_ids(module, vocabulary, rows):
    """decode of each list of ids."""
    tokenizer = tokenizer_of(module, *vocabulary)
    return [outcome(tokenizer.decode, ids=iter(ids)) for ids in rows]


def there_and_back(module, vocabulary, texts):
    """Each text, encoded and decoded."""
    tokenizer = tokenizer_of(module, *vocabulary)
    return [tokenizer.decode(tokenizer.encode(text)) for text in texts]


def made_with(module, vocabulary):
    """ "refused" or "accepted"; without special tokens where the vocabulary has only two parts."""
    by_name = dict(zip(["vocab", "merges", "special_tokens"], vocabulary))
    return outcome(lambda: module.GPT2Tokenizer(**by_name) and "accepted")


def from_files(module, vocab, merges, texts, allowed, rows, as_text=False):
    """A tokenizer from two files with these contents: the texts in ids, and the ids in texts."""
    # Two processes may share a folder.
    paths = [os.path.abspath(f"{name}-{os.getpid()}") for name in ("vocab.json", "merges.txt")]
    for path, content in zip(paths, (vocab, merges)):
        Path(path).write_bytes(content)
    if as_text:
        tokenizer = module.GPT2Tokenizer.from_files(vocab=paths[0], merges=paths[1])
    else:
        tokenizer = module.GPT2Tokenizer.from_files(*map(Path, paths))
    for path in paths:
        os.unlink(path)
    return [tokenizer.encode(text, allowed) for text in texts], [tokenizer.decode(ids) for ids in rows]


def in_pieces(module, vocabulary, rows, *args):
    """encode_iterable of each list of lines, given as a list and as an iterator."""
    tokenizer = tokenizer_of(module, *vocabulary)

    def ids(lines):
        return list(tokenizer.encode_iterable(lines=lines, **dict(zip(["allowed_special"], args))))

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


def random_lines(words, seed, most=12):
    """Lines of up to so many words each, without end."""
    rng = random.Random(seed)
    while True:
        yield " ".join(rng.choices(words, k=rng.randint(1, most))) + "\n"


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


def held_back_of_long_lines(module, vocabulary, words, seed, n_characters):
    """The most characters that were drawn and not given at any time, of lines of up to 3,000 words, beyond the last line."""
    lengths = {i: len(token) for i, token in vocabulary[0].items()}
    drawn = given = last = most = 0

    def lines():
        nonlocal drawn, last
        for line in random_lines(words, seed, 3000):
            if drawn > n_characters:
                return
            drawn, last = drawn + len(line), len(line)
            yield line

    for i in tokenizer_of(module, *vocabulary).encode_iterable(lines()):
        given += lengths[i]
        most = max(most, drawn - given - last)
    return {"held back": most, "given": given, "drawn": drawn}


def remembered(module, vocabulary, n_short, n_long, length, seed):
    """How many more bytes are in use after many different short words, and after some long ones; and how many ids there were of
    each character."""
    tokenizer, rng = tokenizer_of(module, *vocabulary), random.Random(seed)
    tokenizer.encode("ab ab")
    long_words = [" " + "".join(rng.choices("abcdefgh", k=length)) for _ in range(n_long)]
    tracemalloc.start()
    try:
        n_ids = sum(len(tokenizer.encode(word)) for word in long_words)
        n_characters = sum(map(len, long_words))
        gc.collect()
        for_long = tracemalloc.get_traced_memory()[0]
        for i in range(0, n_short, 1000):
            words = ["".join(chr(97 + (k // 26**p) % 26) for p in range(4)) for k in range(i, i + 1000)]
            n_ids += len(tokenizer.encode(" ".join(words)))
            n_characters += len(" ".join(words))
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - for_long, for_long, n_ids / n_characters
    finally:
        tracemalloc.stop()


def decode_in_pieces(module, vocabulary, rows):
    """decode_stream of each list of ids, joined; given as a list and as an iterator."""
    tokenizer = tokenizer_of(module, *vocabulary)

    def text(ids):
        return "".join(tokenizer.decode_stream(ids=ids))

    return [[outcome(text, ids), outcome(text, iter(ids))] for ids in rows]


def with_many_merges(module, texts, first_id, seed):
    """The texts in ids and back: all 65,536 pairs of bytes are merges, and 81 of four letters; ids begin with the first one."""
    rng = random.Random(seed)
    merges = [(bytes([a]), bytes([b])) for a in range(256) for b in range(256)]
    rng.shuffle(merges)
    twos = [bytes(pair) for pair in itertools.product(b"abc", repeat=2)]
    merges += itertools.product(twos, twos)
    tokens = [*(bytes([byte]) for byte in range(256)), *(a + b for a, b in merges)]
    rng.shuffle(tokens)
    tokenizer = module.GPT2Tokenizer(dict(enumerate(tokens, first_id)), merges)
    rows = [tokenizer.encode(text) for text in texts]
    return rows, [tokenizer.decode(ids) for ids in rows]


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
    others = UserDict(other[0]), tuple(tuple(pair) for pair in other[1]), iter(other[2])
    tokenizers = module.GPT2Tokenizer(vocab, merges, special), module.GPT2Tokenizer(*others)
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


def as_json(vocab, ascii_only=True, indent=None):
    return json.dumps(vocab, ensure_ascii=ascii_only, indent=indent).encode()
