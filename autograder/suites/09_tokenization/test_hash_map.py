"""Hidden tests: the hash map. The truth is Python's dict."""

import random

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import example, given, seeds, settings, sizes, st

from . import scenarios

KEYS = [
    None,
    False,
    "",
    0,
    1,
    -1,
    -2,
    2,
    1.0,
    0.5,
    True,
    "a",
    "A",
    b"a",
    (),
    (1,),
    (1.0,),
    ("a", None),
    2**61 - 1,
    2**61,
    "ä",
    1e300,
    "DELETED",
    "EMPTY",
    "TOMBSTONE",
    "<deleted>",
    "<empty>",
]

# Each gives the hash of key number i.
HASHES = {
    "all the same": lambda i: 3,
    "three different": lambda i: i % 3,
    "one after the other": lambda i: i,
    "falling below zero": lambda i: 2 - i,
    "two runs that meet": lambda i: i // 2,
    "at the end of a list": lambda i: 7 - (i % 2) * 8 * i,
    "multiples of eight": lambda i: 8 * i,
    "scattered": lambda i: (i + 1) * 0x9E3779B97F4A7C15 % (2**61 - 1),
    "scattered, four alike": lambda i: (i // 4 + 1) * 0x9E3779B97F4A7C15 % (2**61 - 1),
}


def random_operations(seed, n, keys, deleting=0.25):
    """Operations on these keys. Values are never those of another operation, but for some None."""
    rng = random.Random(seed)
    names = ["set", "look up", "in", "get", "delete"]
    weights = [0.4, 0.1, 0.15, 0.1, deleting]
    operations = []
    for i in range(n):
        name, key = rng.choices(names, weights)[0], rng.choice(keys)
        operations.append([name, key, i if i % 7 else None] if name == "set" else [name, key])
        if name == "get" and i % 2:
            operations[-1].append(-i)
        if i % 11 == 0:
            operations.append(["len"])
    return [*operations, ["len"], ["items"], ["keys"], *(["in", key] for key in keys)]


def by_dict(operations):
    """What dict does."""
    mapping = {}
    return [scenarios.outcome(scenarios.perform, mapping, name, args) for name, *args in operations]


def assert_as_dict(seen, operations, what, hint=""):
    for i, (actual, expected, operation) in enumerate(zip(seen, by_dict(operations), operations, strict=True), 1):
        if operation[0] in ("keys", "items") and isinstance(actual, list):  # 1 and True are equal, and here that matters
            actual, expected = list(map(repr, actual)), list(map(repr, expected))
        if expected == "KeyError" and actual is None:
            actual = "no error"
        assert_equal(actual, expected, what=f"{written(*operation)}, operation {i} on {what}", hint=hint)


def written(name, *args):
    """An operation as it is written in Python."""
    match name:
        case "set":
            return f"map[{args[0]!r}] = {args[1]!r}"
        case "delete":
            return f"del map[{args[0]!r}]"
        case "look up":
            return f"map[{args[0]!r}]"
        case "get":
            return f"map.get({', '.join(map(repr, args))})"
        case "in":
            return f"{args[0]!r} in map"
        case "len":
            return "len(map)"
        case _:
            return f"the {name}"


@exercise("HashMap", points=5, core=True)
@settings(max_examples=40)
@given(seed=seeds(), n=sizes(0, 120), kind=st.sampled_from(list(HASHES)), n_keys=sizes(1, 40))
@example(seed=1, n=400, kind="scattered", n_keys=150)
@example(seed=2, n=400, kind="one after the other", n_keys=150)
@example(seed=3, n=200, kind="all the same", n_keys=30)
def test_a_map_does_what_dict_does(student, seed, n, kind, n_keys):
    """Whatever is put in, changed, deleted and asked for, the answers are those of dict."""
    operations = random_operations(seed, n, range(n_keys))
    hashes = [HASHES[kind](i) for i in range(n_keys)]
    seen = student.run(scenarios.use_map_of_keys, hashes, operations)
    assert_as_dict(seen, operations, f"a map whose hashes are {kind}", "compare keys, walk on round the end, grow in time")


@exercise("HashMap", points=2)
@settings(max_examples=25)
@given(seed=seeds(), kind=st.sampled_from(list(HASHES)), n_keys=sizes(2, 30))
@example(seed=1, kind="all the same", n_keys=5)
@example(seed=2, kind="all the same", n_keys=36)
@example(seed=4, kind="three different", n_keys=12)
@example(seed=5, kind="at the end of a list", n_keys=6)
@example(seed=6, kind="two runs that meet", n_keys=20)
def test_a_deletion_leaves_everybody_else_in_reach(student, seed, kind, n_keys):
    """Keys that share places are still found after some of them are deleted, and can be put in again, once."""
    rng, keys = random.Random(seed), list(range(n_keys))
    operations = [["set", key, key] for key in keys]
    gone = rng.sample(keys, rng.randint(1, n_keys))
    for key in gone:
        operations += [["delete", key], *(["get", other, "no"] for other in keys), ["len"]]
    for key in rng.sample(keys, rng.randint(1, n_keys)):
        operations += [["set", key, -key], ["len"], ["items"]]
    operations += [["delete", key] for key in keys] + [["len"], ["keys"]]
    seen = student.run(scenarios.use_map_of_keys, [HASHES[kind](i) for i in keys], operations)
    hint = "a free place in the middle of a key's way makes it vanish; a mark that is reused too early makes it twice"
    assert_as_dict(seen, operations, f"a map with deletions whose hashes are {kind}", hint)


@exercise("HashMap", points=2)
@settings(max_examples=25)
@given(seed=seeds(), n=sizes(0, 80))
@example(seed=8, n=300)
def test_keys_may_be_anything_with_a_hash(student, seed, n):
    """None, False, empty texts and tuples are keys like others, and 1, 1.0 and True are one; so are None and False as values."""
    operations = random_operations(seed, n, KEYS, deleting=0.1)
    assert_as_dict(student.run(scenarios.use_map, operations), operations, "a map of mixed keys", "is None ever a free place?")
    values = [["set", "a", None], ["in", "a"], ["get", "a", 5], ["look up", "a"], ["set", "b", False], ["get", "b", 5], ["len"],
              ["set", "a", 0], ["get", "a", 5], ["items"], ["delete", "a"], ["get", "a"], ["len"]]  # fmt: skip
    assert_as_dict(student.run(scenarios.use_map, values), values, "a map of None and False", "ask for the key, not its value")
    if seed == 8:  # once
        operations = [[name, i, i][: 3 if name == "set" else 2] for i in range(40) for name in ("in", "set", "get")]
        operations += [["delete", 7], ["keys"], ["in", 7], ["set", 40, 40], ["items"], ["len"]]
        seen = student.run(scenarios.use_map_of_keys, [i // 2 for i in range(41)], operations, choosy=True)
        hint = "ask for a free place with `is`: a key need not be ready to be compared with what is none" * ("refused" in seen)
        assert_as_dict(seen, operations, "a map of keys that refuse to be compared with anything but keys", hint)


@exercise("HashMap", points=1.5)
def test_the_first_key_stays_and_objects_are_themselves(student):
    """A new value leaves the key as it was; values and defaults come back as the very objects; NaN is itself."""
    actual = student.run(scenarios.the_very_objects)
    assert_equal(
        actual,
        {**dict.fromkeys(actual, True), "there are two": 2, "deleted": [None, False, 1]},
        what="whether",
        hint="stored is key or stored == key",
    )
    wrong = student.run(scenarios.the_same_key_at_once, 300)
    what = "keys that have another value right after they were set, or are there right after they were deleted"
    hint = "entries move when the list grows and when one is deleted: search anew each time"
    assert_equal(wrong, [], what=what, hint=hint)
    operations = [["set", 1, "a"], ["set", True, "b"], ["items"], ["delete", 1.0], ["set", 1.0, "c"], ["items"], ["len"]]
    assert_as_dict(student.run(scenarios.use_map, operations), operations, "a map of 1, True and 1.0", "1 stays 1")


@exercise("HashMap", points=1)
def test_a_key_that_is_not_there_is_a_key_error(student):
    """map[key] and del map[key] raise KeyError for an absent key, in an empty map as in a full one, and change nothing."""
    for hashes in ([5], [5, 5, 5, 5], list(range(20)), [2] * 11):
        errors, items, length = student.run(scenarios.refused_without_harm, hashes)
        assert_equal(errors, ["KeyError"] * 3, what="what was raised by map[key], del map[key] and map[key]")
        assert_equal(items, [[i, i] for i in range(len(hashes))], what="the items after that")
        assert_equal(length, len(hashes), what="len after that", hint="count down only once the key was found")
    for length, n_entries in student.run(scenarios.counted_beside_refused_keys):
        hint = "count a key once it is there: one without a hash never is"
        assert_equal(length, n_entries, what="len, beside how many entries there are, after keys without a hash", hint=hint)
    operations = [["look up", "a"], ["delete", "a"], ["get", "a"], ["get", "a", 3], ["in", "a"], ["len"], ["keys"], ["items"]]
    assert_as_dict(student.run(scenarios.use_map, operations), operations, "an empty map")


@exercise("HashMap", points=1)
def test_walks_see_every_entry_once_each_time(student):
    """iter(map) and items() give every entry once, each time anew, and two walks do not disturb each other."""
    for n in (0, 1, 7, 60):
        actual = student.run(scenarios.iterations, n)
        expected = {"keys": True, "pairs": n * n, "items are tuples": True, "values": [*range(n)], "again": [*range(n)]}
        expected["a list follows the map"] = False
        assert_equal(actual, expected, what=f"walks over {n} entries", hint="each iteration begins at the beginning")


@exercise("HashMap", points=0.5)
def test_two_maps_share_nothing(student):
    """Two maps that take turns know nothing of each other."""
    operations = random_operations(9, 150, range(12))
    seen = student.run(scenarios.take_turns, operations)
    for i in range(2):
        assert_as_dict(seen[i::2], operations[i::2], f"map {i} of two that take turns", "make lists in __init__")


@exercise("HashMap", points=0.5, core=True)
def test_the_entries_lie_in_lists(student):
    """The map is not a dict or a set in disguise: none is in it, and none has its keys."""
    actual = student.run(scenarios.what_holds_the_entries, 30)
    assert_equal(
        actual, dict.fromkeys(actual, False), what="whether there is", hint="build it on lists: dict is the answer itself"
    )


def scattered(n):
    return [HASHES["scattered"](i) for i in range(n)]


@exercise("HashMap", points=2, core=True)
def test_a_thousand_entries_cost_no_more_steps_than_ten(student):
    """Setting and looking up takes a few steps and comparisons on average, for keys that are there and for those that are not."""
    n, most_steps, most_asked = 1000, 150, 12
    phases = [[name, [[name, i] for i in keys]]
              for name, keys in (("set", range(n)), ("get", range(n)), ("in", range(n, 2 * n)), ("set", range(n)),
                                 ("delete", range(0, n, 2)), ("look up", range(n)),
                                 ("set", range(n, n + n // 2)), ("delete", range(1, n, 2)), ("set", range(n)))]  # fmt: skip
    limits = [[most_steps * len(operations), operations] for _, operations in phases]
    seen = student.run(scenarios.map_work, scattered(2 * n), limits)
    for (name, operations), (n_steps, n_compared, n_hashed) in zip(phases, seen):
        for what, count, most in (("lines of code", n_steps, most_steps), ("comparisons", n_compared, most_asked),
                                  ("hashes", n_hashed, most_asked)):  # fmt: skip
            said = f"{len(operations)} times {name!r} on a map of up to {n} entries took {count} {what}, expected {most} each"
            hint = "begin where the hash says, and grow in proportion to what is there"
            assert count <= most * len(operations), f"{said}\n  hint: {hint}"
    n_entries, phases = 0, []
    while n_entries < 1200:
        more = n_entries // 30 + 10
        phases += [[10**6, [["set", n_entries + i] for i in range(more)]], [7500, [["in", 1300 + i] for i in range(25)]]]
        n_entries += more
    phases.append([10**6, [["set", i] for i in range(1400, 3400)]])
    seen = student.run(scenarios.map_work, scattered(3400), phases)
    for i, (n_steps, *_) in enumerate(seen):
        limit, operations = phases[i]
        said = f"on the way to 3400 entries, {len(operations)} times {operations[0][0]!r} took {n_steps} lines of code"
        hint = "a list that is nearly full has long ways: grow at two thirds"
        assert n_steps <= limit, f"{said}, expected {limit} at most\n  hint: {hint}"
    for texts in (False, True):  # what is linear, even by a list's own methods, takes too long
        actual = student.run(scenarios.of_many, 30_000, texts)
        assert_equal(actual, (30_000, 30_000), what="how many of 60,000 keys are found in a map of 30,000 entries, and len")
    operations = [[name, i] for i in range(250) for name in ("set", "get")]  # the numbers from 0 to 249 are their own hashes
    [(n_steps, *_)] = student.run(scenarios.map_work, list(range(250)), [[100 * len(operations), operations]])
    said = f"250 times 'set' and 'get' with keys whose hashes are 0, 1, 2, ... took more than {n_steps} lines of code"
    assert n_steps <= 100 * len(operations), f"{said}\n  hint: different hashes begin in different places"


@exercise("HashMap", points=0.5)
def test_the_length_is_known(student):
    """To ask for the length takes a few steps, however many entries there are."""
    phases = [[10**6, [["set", i] for i in range(1000)]], [15_000, [["len", 0]] * 100]]
    _, (n_steps, *_) = student.run(scenarios.map_work, scattered(1000), phases)
    said = f"100 times len(map) on a map of 1000 entries took more than {n_steps} lines of code, expected 150 each"
    assert n_steps <= 15_000, f"{said}\n  hint: keep the number of entries, and change it with each that comes or goes"


@exercise("HashMap", points=1)
def test_deleted_entries_are_in_nobodys_way(student):
    """After thousands of deletions a look-up is as short as before, and the lists have not grown for what is gone."""
    n, churn = 1000, []
    for i in range(600):
        churn += [["set", i], ["delete", i], ["in", i + 1]]
    absent = [["in", i] for i in range(n, n + 300)]
    phases = [["set", i] for i in range(n)], [["delete", i] for i in range(n)], absent, [*churn, *absent]
    seen = student.run(scenarios.map_work, scattered(3000), [[200 * len(operations), operations] for operations in phases])
    for i, (n_steps, *_) in enumerate(seen):
        what = ("filling the map", "deleting all", "looking for absent keys then", "many entries that come and go")[i]
        said = f"{what} took more than {n_steps} lines of code for {len(phases[i])} operations"
        assert n_steps <= 200 * len(phases[i]), f"{said}\n  hint: what is deleted must not be walked over for ever"
    phases = []
    for i in range(100, 206):  # whatever the length of the list, at some number of entries it is about to grow, or to shrink
        pairs = [[name, 206 + (21 * i + j) % 2000] for j in range(20) for name in ("set", "delete")]
        phases += [[10**6, [["set", i]]], [200 * len(pairs), pairs]]
    phases.insert(0, [10**6, [["set", i] for i in range(100)]])
    for i, (n_steps, *_) in enumerate(student.run(scenarios.map_work, scattered(2206), phases)):
        said = f"20 new entries that went at once, beside {100 + i // 2} others, took more than {n_steps} lines of code"
        hint = "where all entries were moved, there must be room for many before they are moved again"
        assert n_steps <= phases[i][0], f"{said}\n  hint: {hint}"
    n_few, n_places = (student.run(scenarios.places_after_turnover, n, 6) for n in (40, 3000))
    n_full = student.run(scenarios.places_after_turnover, 3000, 3000)
    said = f"there are {n_full} places for 3000 entries, expected 600,000 at most"
    assert n_full <= 600_000, f"{said}\n  hint: grow to twice or four times the length"
    said = f"3000 keys came and went, never more than 7 at once, and there are {n_places} places now, {n_few} after 40 keys"
    assert n_few <= 4096, f"there are {n_few} places for 7 entries\n  hint: begin with few, and grow"
    assert n_places <= 4 * n_few + 250, f"{said}\n  hint: what is deleted must not make the list grow"
