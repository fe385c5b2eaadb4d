"""Hidden tests: the trie of bytes. The truth is a dictionary."""

import random

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import given, seeds, settings, sizes

from . import scenarios


def in_a_dict(steps):
    """What the steps give, from a dictionary."""
    ids, seen = {}, []
    for name, *args in steps:
        args = [*args[:-1], *args[-1].values()] if isinstance(args[-1], dict) else args
        if name == "insert":
            ids[args[0]] = args[1]
            seen.append(None)
        elif name == "get":
            seen.append(ids.get(*args))
        elif name == "in":
            seen.append(args[0] in ids)
        else:
            data, start = args[0], args[1] if len(args) > 1 else 0
            found = max((token for token in ids if data.startswith(token, start)), key=len, default=None)
            seen.append((None, 0) if found is None else (ids[found], len(found)))
    return seen


def random_token(rng, alphabet, longest=6):
    return bytes(rng.choices(alphabet, k=rng.randint(1, longest)))


def shown(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def call(step):
    """A step as one would write it."""
    name, *args = step
    by_name = args.pop() if isinstance(args[-1], dict) else {}
    said = ", ".join([*map(shown, args), *(f"{key}={value}" for key, value in by_name.items())])
    return f"{said} in trie" if name == "in" else f"{'longest_prefix' if name == 'longest' else name}({said})"


def inside(step, before):
    """The tokens that steps before have put into the trie, first those that this step may meet."""
    ids = {token: token_id for name, token, token_id in before if name == "insert"}
    asked = step[1][step[2] :] if step[0] == "longest" and isinstance(step[-1], int) else step[1]
    tokens = sorted(ids, key=lambda token: not (asked.startswith(token) or token.startswith(asked)))
    listed = [f"{shown(token)} (id {shown(ids[token])})" for token in tokens[:6]] + ["…"] * (len(tokens) > 6)
    return f"with {', '.join(listed) or 'nothing'} inside"


def first_wrong(seen, steps):
    """(index, what was expected there) of the first step that went wrong; None where none did."""
    for i, (actual, expected, step) in enumerate(zip(seen, in_a_dict(steps), steps, strict=True)):
        if step[0] == "longest" and isinstance(actual, list):
            actual = tuple(actual)
        if actual == "refused" if step[0] == "insert" else repr(actual) != repr(expected):
            return i, expected
    return None


def right_alone(student, steps):
    """Whether these steps go right when nothing else is done."""
    return first_wrong(student.run(scenarios.use_trie, steps), steps) is None


def assert_same(student, seen, steps, hint=""):
    """All steps went right; of the first one that did not, the call and the tokens in the trie are told."""
    wrong = first_wrong(seen, steps)
    if wrong is None:
        return
    i, expected = wrong
    before = [step[:2] + [step[2].get("token_id") if isinstance(step[2], dict) else step[2]]
              for step in steps[:i] if step[0] == "insert"]  # fmt: skip
    what = f"{inside(steps[i], before)}, {call(steps[i])}"
    if seen[i] == "refused":
        try:
            student.run(scenarios.use_trie, steps[: i + 1], errors_are_caught=False)
        except Exception as error:
            raise AssertionError(f"{what}: an error\n  {error.args[0]}") from None
    assert_equal(seen[i], expected, what=what, hint=hint)


@exercise("ByteTrie", points=5, core=True)
@settings(max_examples=18)
@given(seed=seeds(), n=sizes(0, 25))
def test_the_longest_token_that_fits_is_found(student, seed, n):
    """get, `in` and longest_prefix say what is there, at every place of some data."""
    rng = random.Random(seed)
    alphabet = rng.choice([b"ab", b"abc", bytes([0, 255]), bytes(range(256)), "é🙂".encode()])
    steps = [["insert", random_token(rng, alphabet), rng.randrange(1000)] for _ in range(n)]
    tokens = [step[1] for step in steps] + [random_token(rng, alphabet) for _ in range(4)]
    steps += [[name, token] for token in tokens for name in ("get", "in")]
    data = b"".join(rng.choices(tokens, k=4)) + random_token(rng, alphabet)
    steps += [["longest", data, start] for start in range(len(data) + 1)] + [["longest", data]]
    hint = "remember the last token that you came past, not how far the tree led"
    assert_same(student, student.run(scenarios.use_trie, steps), steps, hint)


@exercise("ByteTrie", points=1)
def test_ids_may_be_anything_and_the_newest_counts(student):
    """0 is an id like others, and so is -1; two tokens may have the same; a token that comes again gets the new id."""
    steps = [
        ["insert", b"ab", 0],
        ["in", b"ab"],
        ["get", b"ab"],
        ["get", b"ab", 7],
        ["longest", b"abc"],
        ["insert", b"abc", -1],
        ["longest", b"abcd"],
        ["in", b"abc"],
        ["get", b"a"],
        ["get", b"a", 5],
        ["in", b"a"],
        ["longest", b"a"],
        ["insert", b"ab", 9],
        ["get", b"ab"],
        ["longest", b"abx"],
        ["insert", b"a", 9],
        ["longest", b"ax"],
        ["get", b"abc"],
        ["insert", b"abc", 0],
        ["longest", b"abc"],
        ["get", b"x", 0],
        ["insert", b"abc", 2**40],
        ["longest", b"abc"],
        ["insert", b"y", -7],
        ["get", b"y"],
        ["insert", b"y", 2**70],
        ["get", b"y"],
        ["insert", b"y", -(2**70)],
        ["get", b"y"],
        ["insert", b"z", {"token_id": 8}],
        ["get", b"z", {"default": 5}],
        ["get", b"zz", {"default": 5}],
        ["longest", b"yz", {"start": 1}],
        ["insert", b"\x00", 3],
        ["longest", b"\x00\x00"],
        ["get", b"\x00\x00"],
        ["get", b"", 4],
        ["in", b""],
        ["insert", b"q" * 600, 11],
        ["get", b"q" * 600],
        ["in", b"q" * 599],
        ["longest", b"q" * 700],
    ]
    assert_same(student, student.run(scenarios.use_trie, steps), steps, "an id may be 0; what was not inserted has none")


@exercise("ByteTrie", points=1)
@settings(max_examples=10)
@given(seed=seeds())
def test_tokens_come_and_questions_between_them(student, seed):
    """Insertions and questions in turns: a question leaves nothing behind in the tree."""
    rng = random.Random(seed)
    steps = []
    for i in range(30):
        steps += [
            rng.choice([["insert", random_token(rng, b"ab", 4), i], ["get", random_token(rng, b"ab", 4)]]),
            ["in", random_token(rng, b"abc", 4)],
            ["longest", random_token(rng, b"ab", 8), 0],
        ]
    seen, hint = student.run(scenarios.use_trie, steps), ""
    wrong = first_wrong(seen, steps)
    if wrong is not None:
        without_questions = [step for step in steps[: wrong[0]] if step[0] == "insert"] + [steps[wrong[0]]]
        hint = "looking up must not make nodes" if right_alone(student, without_questions) else ""
    assert_same(student, seen, steps, hint)


@exercise("ByteTrie", points=1)
def test_empty_tokens_and_places_outside_are_refused(student):
    """insert refuses b""; longest_prefix refuses a start below 0 or behind the end, but not at the end."""
    refused = [["insert", b"", 1], ["longest", b"abc", -1], ["longest", b"abc", 4], ["longest", b"abc", 99], ["longest", b"", 1]]
    fine = [["insert", b"a", 1], ["in", b""], ["longest", b"abc", 3], ["longest", b"", 0], ["longest", b"a", 0]]
    for step in refused:
        after = [["insert", b"c", 2], ["get", b""], ["in", b""], ["longest", b"ac"], ["longest", b"ca"]]
        seen = student.run(scenarios.use_trie, [step, *after])
        hint = "0 <= start <= len(data); data[-1] is no error" if step[0] == "longest" else "b'' is no token"
        if seen[0] != "refused":
            raise AssertionError(f"{call(step)} should be refused with a ValueError\n  it returned {seen[0]}\n  hint: {hint}")
        assert_same(student, seen[1:], after, f"{call(step)} was refused before that, and leaves nothing behind")
    assert_same(student, student.run(scenarios.use_trie, fine), fine)


@exercise("ByteTrie", points=1)
@settings(max_examples=6)
@given(seed=seeds())
def test_two_tries_share_nothing(student, seed):
    """Two tries that take turns know nothing of each other."""
    rng = random.Random(seed)
    steps = [
        step
        for i in range(10)
        for token in [random_token(rng, b"ab", 3)]
        for step in (
            ["insert", token, i],
            ["insert", token + b"x", -i],
            ["get", token],
            ["get", token],
            ["in", token + b"x"],
            ["in", token],
            ["longest", b"abab"],
            ["longest", b"abab"],
        )
    ]
    seen = student.run(scenarios.two_tries, steps)
    for i in range(2):
        wrong = first_wrong(seen[i::2], steps[i::2])
        alone = wrong is not None and right_alone(student, steps[i::2][: wrong[0] + 1])
        assert_same(student, seen[i::2], steps[i::2], "make the dictionary in __init__" if alone else "")


@exercise("ByteTrie", points=1)
def test_only_the_bytes_on_the_way_are_looked_at(student):
    """A walk looks at the bytes from `start` up to the first that leads nowhere, however long the data or the tokens are."""
    short = [b"a", b"ab", b"b" * 600, b"c" + b"ab" * 290], b"abxa" * 1000, list(range(0, 4000, 8)), [(1, 2)] * 500
    rng = random.Random(5)
    tokens = [rng.randbytes(230) for _ in range(300)]
    long = tokens, b"".join(tokens), list(range(0, 69_000, 230)), [(i, 230) for i in range(300)]
    for tokens, data, starts, expected in (short, long):
        found, looked_at = student.run(scenarios.bytes_looked_at, tokens, data, starts)
        what = f"the longest prefixes of {len(data)} bytes, where the longest token has {max(map(len, tokens))}"
        assert_equal([tuple(pair) for pair in found], expected, what=what)
        for start, (_, length), (first, last, n_bytes) in zip(starts, expected, looked_at):
            said = f"a walk from {start} to {start + length} looked at, or copied, bytes from {first} to {last}"
            assert start <= first and last <= start + length, f"{said}\n  hint: neither data[start:] nor any other copy"
            said = f"a walk of {length + 1} steps looked at, or copied, {n_bytes} bytes"
            assert n_bytes <= 4 * (length + 1), f"{said}\n  hint: one walk down, not one try for each length"
