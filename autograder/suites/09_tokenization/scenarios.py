"""What a single call cannot show: maps, vocabularies and tries in use, and steps that are counted."""

import copy
import gc
import itertools
import sys
import types

REFUSALS = (ValueError, TypeError, LookupError)
HERE = globals()


def outcome(call, *args, **kwargs):
    """The value, or the name of the refusal."""
    try:
        return call(*args, **kwargs)
    except KeyError:
        return "KeyError"
    except REFUSALS:
        return "refused"


class TooManySteps(Exception):
    """More than anybody needs."""


class Steps:
    """Counts the lines of Python that run, but for those of this file and the grader, and stops them beyond `limit`."""

    def __init__(self, limit):
        self.graders = None
        self.limit, self.n = limit, 0
        self.gives_up = False  # read by the grader, who is told when Python takes a tracer away that raises

    def __enter__(self):
        # In grading, `sys.settrace` is forbidden, and what tells of forbidden calls stands in its place: that is the grader's.
        def called(frame, event, argument):
            self.graders = frame.f_globals

        self.before = sys.gettrace()
        sys.settrace(called)
        sys.settrace(self.called)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def called(self, frame, event, argument):
        names = frame.f_globals
        return None if names is HERE or names is self.graders else self.line

    def line(self, frame, event, argument):
        if event == "line":
            self.n += 1
            if self.n > self.limit:
                self.gives_up = True
                raise TooManySteps
        return self.line


def steps_of(limit, call, *args):
    """How many lines a call runs, at most a few more than the limit; that many, too, where it did not let itself be counted."""
    with Steps(limit) as steps:
        try:
            call(*args)
        except TooManySteps:
            pass
        counted = sys.gettrace() == steps.called
    return steps.n if counted else limit + 1


# HashMap


def ids_of_an_iterator(module, tokens, text):
    """What encode gives for an iterator."""
    return list(module.Vocabulary(tokens).encode(iter(text)))


class Key:
    """A key with a number and a hash of its own; keys of the same number are equal. Counts what is asked of it."""

    n_compared = n_hashed = 0

    def __init__(self, number, hashed):
        self.number, self.hashed = number, hashed

    def __hash__(self):
        Key.n_hashed += 1
        return self.hashed

    def __eq__(self, other):
        Key.n_compared += 1
        return isinstance(other, Key) and self.number == other.number


class Choosy(Key):
    """A key that is only ready to be compared with other keys."""

    __hash__ = Key.__hash__

    def __eq__(self, other):
        if not isinstance(other, Key):
            raise TypeError(f"a key was compared with a {type(other).__name__}")
        return super().__eq__(other)


class Untouchable:
    """A value of which nothing can be asked."""

    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("a value was compared")

    def __bool__(self):
        raise RuntimeError("a value was asked whether it is true")


def in_order(key):
    """Maps have their entries in orders of their own."""
    return repr(key.number if isinstance(key, Key) else key)


def perform(mapping, name, args):
    """One operation, by name."""
    match name:
        case "set":
            return mapping.__setitem__(*args)
        case "delete":
            del mapping[args[0]]
        case "look up":
            return mapping[args[0]]
        case "get":
            return mapping.get(*args)
        case "in":
            return args[0] in mapping
        case "len":
            return len(mapping)
        case "keys":
            return sorted(mapping, key=in_order)
        case "items":
            return [[key, value] for key, value in sorted(mapping.items(), key=lambda item: in_order(item[0]))]


def use_map(module, operations):
    """What each operation [name, key, ...] on a new map gives."""
    mapping = module.HashMap()
    return [outcome(perform, mapping, name, args) for name, *args in operations]


def use_map_of_keys(module, hashes, operations, choosy=False):
    """The same with numbers for keys: number i stands for an object of hash hashes[i], made anew each time."""
    mapping, seen, kind = module.HashMap(), [], Choosy if choosy else Key
    for name, *args in operations:
        if args:
            args[0] = kind(args[0], hashes[args[0]])
        value = outcome(perform, mapping, name, args)
        if name == "keys" and isinstance(value, list):
            value = [key.number for key in value]
        if name == "items" and isinstance(value, list):
            value = [[key.number, content] for key, content in value]
        seen.append(value)
    return seen


def take_turns(module, operations):
    """The operations on two maps at a time, every second one on the other."""
    maps = [module.HashMap(), module.HashMap()]
    return [outcome(perform, maps[i % 2], name, args) for i, (name, *args) in enumerate(operations)]


def the_very_objects(module):
    """Whether keys and values come back as the very objects that went in, a key of NaN is found, and the first key stays."""
    mapping, nan, value = module.HashMap(), float("nan"), Untouchable()
    first, second = Key(1, 5), Key(1, 5)
    mapping[first] = "old"
    mapping[second] = value
    mapping[nan] = other = Untouchable()
    keys = list(mapping)
    return {
        "the value is the one that was put in": mapping[first] is value and mapping.get(second) is value,
        "the key is the one that came first": any(key is first for key in keys) and not any(key is second for key in keys),
        "NaN is found by being the same object": nan in mapping and mapping.get(nan, 0) is other,
        "another NaN is another key": float("nan") not in mapping,
        "get gives the very default": mapping.get("nobody", value) is value,
        "get gives a default by its name": mapping.get("nobody", default=value) is value,
        "there are two": len(mapping),
        "items have the very objects": any(key is first and content is value for key, content in mapping.items()),
        "deleted": [mapping.__delitem__(second), first in mapping, len(mapping)],
        "whatever marks a place may be a key and a value": all(map(is_like_others, [module.HashMap()] * len(ODD), ODD)),
    }


def the_same_key_at_once(module, n):
    """Keys that have another value right after they were set, or are there right after they were deleted."""
    mapping, keys, wrong = module.HashMap(), [(1, i) for i in range(n)], []
    for i, key in enumerate(keys):
        mapping[key] = i
        wrong += [key] if mapping.get(key) != i else []
    for key in keys:
        del mapping[key]
        wrong += [key] if key in mapping else []
    return wrong[:5]


# What may mark a free place, or one where something was deleted, and may be put in like anything else.
ODD = [..., NotImplemented, object, type, type(None), KeyError, Exception, int, str, list, len, sys, (), ((),), (None, None),
       (None, None, None), -1, -99, 1, b"", "free", "FREE", "removed", "gone", "none", "None", "null", "_", "\0"]  # fmt: skip


def is_like_others(mapping, key):
    """Whether a map takes the object for a key and a value, and gives it up again."""
    seen = [key in mapping, mapping.get(key, "nobody") == "nobody"]
    mapping[key] = key
    seen += [key in mapping, mapping[key] is key, mapping.get(key) is key, sum(one is key for one in mapping), len(mapping)]
    del mapping[key]
    return [*seen, key in mapping, len(mapping)] == [False, True, True, True, True, 1, 1, False, 0]


def counted_beside_refused_keys(module):
    """The length of a map, and how many entries it gives, once keys without a hash were to be set, deleted and set again."""
    mapping, seen = module.HashMap(), []
    for name, key in (("set", []), ("set", "a"), ("delete", []), ("set", "b"), ("set", {}), ("delete", "a")):
        outcome(perform, mapping, name, [key, 1] if name == "set" else [key])
        seen.append([len(mapping), len(list(mapping.items()))])
    return seen


def refused_without_harm(module, hashes):
    """Whether looking for a key that is not there is a KeyError three times, and what the map holds then."""
    mapping = module.HashMap()
    for number, hashed in enumerate(hashes):
        mapping[Key(number, hashed)] = number
    absent = Key(len(hashes), hashes[-1])
    seen = []
    for call in (mapping.__getitem__, mapping.__delitem__, mapping.__getitem__):
        try:
            call(absent)
            seen.append("nothing")
        except Exception as error:
            seen.append("KeyError" if isinstance(error, KeyError) else type(error).__name__)
    return seen, sorted([key.number, value] for key, value in mapping.items()), len(mapping)


def iterations(module, n):
    """Whether keys and items can be walked twice, and two walks at a time see everything."""
    mapping = module.HashMap()
    for i in range(n):
        mapping[f"key {i}"] = i
    pairs = [(one, other) for one in mapping for other in mapping]
    given, kept = mapping.items(), mapping.items()
    if isinstance(given, list):
        given.clear()  # it is the caller's
    seen = {
        "keys": sorted(mapping) == sorted(mapping),
        "pairs": len(pairs),
        "items are tuples": all(isinstance(entry, tuple) for entry in mapping.items()),
        "values": sorted(value for _, value in mapping.items()),
        "again": sorted(value for _, value in mapping.items()),
    }
    mapping["more"] = n
    mapping.items()
    return {**seen, "a list follows the map": isinstance(kept, list) and len(kept) != n}


def map_work(module, hashes, phases):
    """For each phase of operations [name, key]: steps, comparisons and hashes of all of them, at most `limit` steps each.

    Keys are objects of the given hashes.
    """
    mapping, seen = module.HashMap(), []
    for limit, operations in phases:
        Key.n_compared = Key.n_hashed = 0
        made = [(name, [] if name == "len" else [Key(number, hashes[number]), number]) for name, number in operations]

        def run(made=made):
            for name, args in made:
                outcome(perform, mapping, name, args[: 2 if name == "set" else 1])

        n_steps = steps_of(limit, run)
        seen.append([n_steps, Key.n_compared, Key.n_hashed])
        if n_steps > limit:
            break
    return seen


def of_many(module, n, texts=False):
    """How many of 2n keys are found in a map of n entries; nothing is counted here, so that there may be many.

    Keys are numbers, or texts: every other one begins as all of these do, the others have the same letters.
    """
    mapping, keys = module.HashMap(), [(i + 1) * 0x9E3779B97F4A7C15 % (2**61 - 1) for i in range(2 * n)]
    if texts:
        letters = itertools.permutations("abcdefghi")
        keys = [key for i in range(n) for key in (f"https://example.org/{i}", "".join(next(letters)))]
    for i in range(n):
        mapping[keys[i]] = i
    return sum(key in mapping for key in keys), len(mapping)


def inside(*roots):
    """All that can be reached from there: the keys, the attributes' dictionaries, everything else."""
    keys, attributes, found, todo = {}, {}, {}, list(roots)
    while todo:
        value = todo.pop()
        if isinstance(value, Key):
            keys[id(value)] = value
        if id(value) in found or isinstance(value, type | types.ModuleType | types.CodeType | str | int | float | Key):
            continue
        found[id(value)] = value
        if isinstance(value, types.FunctionType):
            todo += [cell.cell_contents for cell in value.__closure__ or ()]
            continue
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict):
            attributes[id(own)] = own
        todo += gc.get_referents(value)
        todo += own.values() if isinstance(own, dict) else []
    others = [value for key, value in found.items() if key not in attributes]
    return list(keys.values()), list(attributes.values()), others


def tables_anywhere():
    """Every dict and set that has come up since this process began, or is a module's: by its id, itself and its length."""
    values = [inner for value in gc.get_objects() for inner in (value, *gc.get_referents(value))]
    values += [vars(module) for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)]
    return {id(value): (value, len(value)) for value in values if issubclass(type(value), dict | set | frozenset)}


def names_that_came(module, n):
    """How many keys came into the dicts and sets of the whole process while n entries came into a map, alike ones once."""
    mapping = module.HashMap()
    before = tables_anywhere()
    for i in range(n):
        mapping[Key(i, 7919 * i)] = i
    after = tables_anywhere()
    del after[id(before)]
    grown = sum(max(0, size - before[key][1]) for key, (_, size) in after.items() if key in before)
    return grown + len({id(name) for key, (table, _) in after.items() if key not in before for name in list(table)})


def what_holds_the_entries(module, n):
    """Whether a map of n entries has a dict or a set in it, or there is one anywhere that has its keys, or what finds them."""
    mapping, keys = module.HashMap(), [Key(i, 7919 * i) for i in range(n)]
    for key in keys:
        mapping[key] = [key]
    del mapping[keys.pop()]
    _, attributes, others = inside(mapping)
    holders = [holder for key in keys[:5] for holder in gc.get_referrers(key)]
    tables = dict | set | frozenset
    around = [value for home in (module, module.HashMap) for name, value in vars(home).items()
              if not name.startswith("__") and not callable(value)]  # fmt: skip
    found_around, _, others_around = inside(*around)  # a logger leads to a lot, and that to no key
    return {
        "a dict or set somewhere that grows as the map does": names_that_came(module, 10 * n) >= 5 * n,
        "a dict or set in the map": any(
            value for value in others if isinstance(value, tables) or is_mapping_elsewhere_made(value, module)
        ),
        "an attribute for each entry": any(len(own) >= n // 2 for own in attributes),
        "a dict or set that has the keys": any(
            isinstance(holder, tables) and any(one is key for one in holder for key in keys[:5]) for holder in holders
        ),
        "a dict or set around the map": bool(found_around)
        and any(isinstance(value, tables) and inside(value)[0] for value in others_around),
    }


def is_mapping_elsewhere_made(value, module):
    """Whether it is some other library's mapping."""
    made = type(value)
    return hasattr(made, "keys") and hasattr(made, "__getitem__") and made.__module__ != module.__name__


def places_after_turnover(module, n, kept):
    """How many places all lists of a map have together after n keys came and went, never more than `kept` at once."""
    mapping = module.HashMap()
    for i in range(n):
        mapping[Key(i, i * 1_000_003)] = None
        if i >= kept:
            del mapping[Key(i - kept, (i - kept) * 1_000_003)]
    return sum(len(value) for value in inside(mapping)[2] if hasattr(value, "__len__") and value is not mapping)


# Vocabulary


def use_vocabulary(module, tokens, specials=None, asked=(), texts=(), ids=(), **options):
    """A vocabulary of these tokens, or from these counts: its length, whether it has what is asked, what it makes of texts
    and of ids."""
    if isinstance(tokens, dict):
        vocabulary = module.Vocabulary.from_counts(tokens, specials, **options)
    else:
        vocabulary = module.Vocabulary(tokens)
    return {
        "len": len(vocabulary),
        "in": [token in vocabulary for token in asked],
        "all tokens": outcome(vocabulary.decode, list(range(len(vocabulary)))),
        "ids": [outcome(vocabulary.encode, text) for text in texts],
        "tokens": [outcome(vocabulary.decode, row) for row in ids],
    }


def make_vocabulary(module, tokens, specials=None):
    """The length of a vocabulary made of tokens, or from counts."""
    if specials is None:
        return len(module.Vocabulary(tokens))
    return len(module.Vocabulary.from_counts(tokens, specials))


def vocabulary_of_an_iterator(module, tokens):
    """The length of a vocabulary made of an iterator over the tokens."""
    return len(module.Vocabulary(iter(tokens)))


def vocabulary_once_made(module, counts, specials):
    """Two vocabularies take turns; what was given to the first changes after it was made; its answers are overwritten; what
    iterators and subclasses give."""
    before = copy.deepcopy([counts, specials])
    first = module.Vocabulary.from_counts(counts, specials)
    given = [*reversed(list(counts)), "new"]
    second = module.Vocabulary(given)
    tokens = [*specials, *counts]
    seen = [first.encode(tokens), second.encode(list(counts)), first.decode(range(len(first)))]
    unharmed = before == [counts, specials]
    counts["later"] = 99
    specials.append("later")
    given.append("later")
    kept = [list(seen[0]), list(seen[2])]
    seen[0][:] = [-1] * len(seen[0])
    seen[2][:] = ["later"] * len(seen[2])
    first.decode([0]).append("later")
    return {
        "seen": [seen[1], *reversed(kept)],
        "later": "later" in first or "later" in second,
        "length of the second": len(second),
        "again": first.encode(iter(tokens)),
        "length": len(first),
        "decoded from an iterator": first.decode(iter(range(len(first)))),
        "unharmed": unharmed,
    }


# Trie and max_match


def trie_of(module, words):
    trie = module.Trie()
    for word in words:
        trie.insert(word)
    return trie


def use_trie(module, words, asked=(), places=()):
    """Whether the trie has each text, and its longest prefix at each (text, start)."""
    trie = trie_of(module, words)
    return [text in trie for text in asked], [trie.longest_prefix(*place) for place in places]


def grow_trie(module, words, text):
    """After each word that is inserted: what is in the trie, and the longest prefixes at all places of the text."""
    trie, seen = module.Trie(), []
    for word in words:
        trie.insert(word)
        seen.append([[other in trie for other in words], [trie.longest_prefix(text, i) for i in range(len(text) + 1)]])
    return seen


def two_tries(module, words, others, text):
    """Two tries filled in turns: what each has of all words, and its longest prefix."""
    tries = [module.Trie(), module.Trie()]
    for one, other in zip(words, others):
        tries[0].insert(one)
        tries[1].insert(other)
    return [[[word in trie for word in [*words, *others]], trie.longest_prefix(text)] for trie in tries]


def trie_refusals(module, words, text, starts):
    """What happens at the empty word, in the trie and as a word, and at starts outside of the text; and what is there then."""
    trie = trie_of(module, words)
    seen = [outcome(trie.insert, "") in ("refused", "KeyError"), "" in trie]
    seen += [outcome(trie.longest_prefix, text, start) in ("refused", "KeyError") for start in starts]
    seen += [trie.longest_prefix(text, start=0), module.Trie().longest_prefix(text), "" in module.Trie()]
    return [*seen, outcome(module.Trie().longest_prefix, text, len(text) + 1) in ("refused", "KeyError")]


class Text(str):
    """A text that counts what is looked at: characters and parts that are taken out, searches, and characters in a row."""

    n_looked = 0

    def __getitem__(self, place):
        Text.n_looked += 1
        taken = str.__getitem__(self, place)
        return Text(taken) if isinstance(place, slice) else taken

    def __iter__(self):
        for i in range(len(self)):
            yield self[i]


def counted(name):
    def method(self, *args):
        Text.n_looked += 1
        return getattr(str, name)(self, *args)

    return method


for name in ("startswith", "endswith", "find", "rfind", "index", "rindex", "count", "removeprefix", "partition"):
    setattr(Text, name, counted(name))


def trie_work(module, words, asked, limit):
    """For each (text, starts): the steps of asking for the longest prefix at all these places, and of asking whether the texts
    there are words; and how often the text was looked at."""
    trie, seen = trie_of(module, words), []
    for text, starts in asked:
        text = Text(text)

        def run(text=text, starts=starts):
            for start in starts:
                trie.longest_prefix(text, start)
                trie.__contains__(text[start : start + 9])
                trie.__contains__("q" * 20_000)  # leads nowhere at once

        Text.n_looked = 0
        seen.append([steps_of(limit * len(starts), run), Text.n_looked])
    return seen


def match(module, text, words, unk):
    """max_match with a trie of the words."""
    return module.max_match(text, trie_of(module, words), unk)


def match_twice(module, text, words, more, unk):
    """The pieces, and those after more words have been inserted, the first list having been emptied by its owner."""
    trie = trie_of(module, words)
    first = module.max_match(text, trie, unk)
    kept = list(first)
    first.clear()
    again = module.max_match(text, trie, unk)
    unk_is_a_word = unk in trie
    for word in more:
        trie.insert(word)
    return [kept, again, unk_is_a_word, module.max_match(text, trie, unk)]


# Functions


def called(module, name, args):
    """The result of a call, whether its arguments are as they were, and whether the result is one of them."""
    before = copy.deepcopy(args)
    value = getattr(module, name)(*args)
    return {"value": value, "untouched": before == args, "new": all(value is not given for given in args)}


def in_a_row(module, name, calls):
    """The results of several calls, where equal arguments are the same objects; each is overwritten once it has been copied.

    An earlier result that a later call has changed is told instead.
    """
    seen, overwritten = [], []
    for call in calls:
        value = getattr(module, name)(*(next(one for other in calls for one in other if one == given) for given in call))
        seen.append(copy.deepcopy(value))
        overwritten.append([value, *value] if isinstance(value, list | tuple) else [value])
        for made in overwritten[-1]:
            if isinstance(made, list | dict):
                made.clear()
    overwritten = [[made for made in results if isinstance(made, list | dict)] for results in overwritten]
    ids = [id(made) for results in overwritten for made in results]
    changed = [any(made or ids.count(id(made)) > 1 for made in results) for results in overwritten]
    told = ["an earlier result, which a later call has changed"]
    return [((told, 0.0) if isinstance(value, tuple) else told) if late else value for value, late in zip(seen, changed)]


def encoded_meanwhile(module, word, merges, more):
    """encode_bpe with a list of merges, and again after more have been appended to it; with a tuple of them all; and with the
    list when its first and its last pair have changed places.
    """
    first = module.encode_bpe(word, merges)
    merges.extend(more)
    found = [first, module.encode_bpe(word, merges), module.encode_bpe(word, tuple(merges))]
    merges[0], merges[-1] = merges[-1], merges[0]
    return [*found, module.encode_bpe(word, merges)]


def segmented_meanwhile(module, text, table, piece):
    """unigram_segment with a table, and again once a piece was taken out of it."""
    first = module.unigram_segment(text, table)
    del table[piece]
    return [first, module.unigram_segment(text, table)]


def with_equal_objects(module, name, ids, pair, new_id):
    """bpe_merge of objects that are equal without being the same, and cannot be hashed or ordered; their numbers."""

    class Thing:
        __hash__ = None

        def __init__(self, number):
            self.number = number

        def __eq__(self, other):
            return isinstance(other, Thing) and self.number == other.number

    merged = getattr(module, name)([Thing(i) for i in ids], (Thing(pair[0]), Thing(pair[1])), Thing(new_id))
    return [thing.number for thing in merged]


class Symbol(str):
    """A text that counts how often it is hashed and compared."""

    n_asked = 0

    def __hash__(self):
        Symbol.n_asked += 1
        return str.__hash__(self)

    def __eq__(self, other):
        Symbol.n_asked += 1
        return str.__eq__(self, other)

    def __add__(self, other):
        return Symbol(str.__add__(self, other))


def training_work(module, words, n_merges, limit):
    """Steps, hashes and comparisons of training with each of these numbers of merges."""
    counts = {tuple(map(Symbol, word)): count for word, count in words}
    seen = []
    for n in n_merges:
        Symbol.n_asked = 0
        seen.append(steps_of(limit, module.train_bpe, counts, n) + Symbol.n_asked)
    return seen


def kinds(module, name, args):
    """The type of a result, of its first entry and of what is in that, by name; what is derived from a type counts as it."""
    value = getattr(module, name)(*args)
    seen = [type_of(value)]
    while isinstance(value, list | tuple | dict) and len(value):
        value = next(iter(value))
        seen.append(type_of(value))
    return seen


def type_of(value):
    return next((known.__name__ for known in (list, tuple, dict, str) if isinstance(value, known)), type(value).__name__)
