"""Hidden tests: the schedule, the batches, the vocabulary."""

import math
from functools import partial

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, seeds, settings, sizes, st

from . import scenarios, truth

# cosine_schedule


@exercise("cosine_schedule", points=2, core=True)
@settings(max_examples=15)
@given(warmup=sizes(0, 7), more=sizes(1, 9), max_lr=st.sampled_from([1.0, 3e-4]), share=st.sampled_from([0.0, 0.1, 0.9, 1.0]))
@example(warmup=4, more=9, max_lr=1.0, share=0.1)
def test_the_rate_goes_up_in_a_line_and_down_along_a_cosine(student, warmup, more, max_lr, share):
    """Every step of a whole run, and the ones after it."""
    arguments = warmup, warmup + more, max_lr, share * max_lr
    steps = list(range(warmup + more + 3))
    expected = [truth.learning_rate(step, *arguments) for step in steps]
    hint = "max_lr * (step + 1) / (warmup_steps + 1), then min_lr + (max_lr - min_lr) * (1 + cos(pi * done)) / 2"
    what = f"the rates of steps 0, 1, ... for warmup_steps, total_steps, max_lr, min_lr = {arguments}"
    actual = student.run(scenarios.schedule, steps, *arguments)
    assert_close(actual, expected, what=what, hint=hint, rtol=1e-6, atol=1e-7 * max_lr)


@exercise("cosine_schedule", points=1)
def test_the_corners_of_the_schedule_are_exactly_where_they_belong(student):
    """No warm-up, nothing but warm-up, no step at all, the halfway point, and long after the end."""
    for arguments, steps in (
        ((0, 10, 1.0, 0.5), [0, 5, 9, 10, 11, 1000]),  # no warm-up
        ((4, 4, 1.0, 0.5), [0, 3, 4, 5]),  # nothing but warm-up
        ((0, 0, 1.0, 0.5), [0, 1]),
        ((0, 1, 1.0, 0.5), [0, 1]),
        ((1, 2, 1.0, 0.0), [0, 1, 2]),
        ((100, 1100, 6e-4, 6e-5), [0, 50, 99, 100, 600, 1099, 1100, 10**9]),
        ((3, 9, 0.1, 0.4), [0, 2, 3, 6, 8, 9]),  # upwards
        ((2, 6, 0.0, 0.0), [0, 2, 4, 6]),
    ):
        expected = [truth.learning_rate(step, *arguments) for step in steps]
        what = f"the rates of steps {steps} for warmup_steps, total_steps, max_lr, min_lr = {arguments}"
        assert_close(student.run(scenarios.schedule, steps, *arguments), expected, what=what, rtol=1e-12, atol=1e-15)


@exercise("cosine_schedule", points=1)
def test_a_step_before_the_first_and_a_warmup_beyond_the_end_are_refused(student):
    """Negative numbers, and more warm-up than steps, at any step."""
    cosine_schedule = called("cosine_schedule", lambda step, **said: student.run(scenarios.schedule, [step], *said.values())[0])
    for step, warmup, total in ((-1, 2, 5), (-1, 0, 5), (0, -1, 5), (3, -1, 5), (0, 6, 5), (3, 6, 5), (7, 6, 5), (0, 0, -1)):
        said = {"step": step, "warmup_steps": warmup, "total_steps": total, "max_lr": 1.0, "min_lr": 0.1}
        why = "there is no such step" if step < 0 else "warmup_steps is not from 0 to total_steps"
        assert_refused(cosine_schedule, **said, why=why)


# get_batch


def numbered(n, seed):
    """A text whose tokens are all different, and the place of each token."""
    data = torch.randperm(n, generator=torch.Generator().manual_seed(seed)) * 3 + 1
    return data, {token: place for place, token in enumerate(data.tolist())}


@exercise("get_batch", points=1.5, core=True)
@settings(max_examples=12)
@given(spare=sizes(0, 20), batch_size=sizes(1, 9), context_length=sizes(1, 7), seed=seeds())
@example(spare=0, batch_size=4, context_length=5, seed=1)
@example(spare=7, batch_size=5, context_length=1, seed=2)
def test_each_row_is_a_piece_of_the_text_and_its_target_the_next_token(student, spare, batch_size, context_length, seed):
    """Whole pieces, one token further on in y, and nothing beyond the end."""
    data, place = numbered(context_length + 1 + spare, seed)
    seen = student.run(scenarios.batches, data, batch_size, context_length, seed, strided=bool(seed % 2))
    (x, y), shape = seen["batches"][0], (batch_size, context_length)
    for name, found in (("x", x), ("y", y)):
        assert isinstance(found, torch.Tensor), f"{name} should be a tensor, got {type(found).__name__}"
        fits = tuple(found.shape) == shape and found.dtype == torch.int64
        assert fits, f"{name} should have shape {shape} and dtype torch.int64, got {tuple(found.shape)} and {found.dtype}"
        foreign = set(found.flatten().tolist()) - set(place)
        assert not foreign, f"{name} has tokens that the text does not have: {sorted(foreign)}"
    starts = [place[row[0]] for row in x.tolist()]
    for start, row, targets in zip(starts, x, y, strict=True):
        assert start + context_length < len(data), f"a piece begins at {start}: of {len(data)} tokens none is left for y"
        assert_equal(row, data[start : start + context_length], what=f"the row of x that begins at place {start}")
        hint = "y is the same piece, one token further on"
        assert_equal(targets, data[start + 1 : start + 1 + context_length], what="the row of y beside it", hint=hint)
    assert seen["data as it was"], "the text was changed"


@exercise("get_batch", points=1)
@settings(max_examples=2)
@given(n_places=sizes(1, 5), context_length=sizes(1, 4), seed=seeds())
@example(n_places=2, context_length=3, seed=1)
@example(n_places=4, context_length=1, seed=2)
def test_every_place_is_equally_probable_and_rows_are_drawn_by_themselves(student, n_places, context_length, seed):
    """The first and the last one, too; each row and each call draws anew. Counts may be 6.5 standard deviations off."""
    data, place = numbered(context_length + n_places, seed)
    seen = student.run(scenarios.batches, data, 500, context_length, seed, 4)
    starts = [place.get(int(x[i, 0]), -1) for x, _ in seen["batches"] for i in range(500)]
    counts(starts, n_places, "the places of 2000 rows", "torch.randint(len(data) - context_length, ...)")
    pairs = [a * n_places + b for a, b in zip(starts[::2], starts[1::2])]
    counts(pairs, n_places**2, "the places of 1000 pairs of rows", "draw a place for each row")
    calls = [a * n_places + b for a, b in zip(starts[:500] + starts[1000:1500], starts[500:1000] + starts[1500:])]
    counts(calls, n_places**2, "the places of a row in two calls", "go on with the generator, do not seed it")
    long = (torch.arange(150_000) // 50_000).to(torch.uint8)
    [(x, _)] = student.run(scenarios.batches, long, 300, 1, seed)["batches"]
    counts(x[:, 0].tolist(), 3, "the thirds of a text of 150,000 tokens in 300 rows", "every place there is")
    few = student.run(scenarios.batches, data, 2, context_length, seed, 250)["batches"]
    pairs = [place.get(int(x[0, 0]), -1) * n_places + place.get(int(x[1, 0]), -1) for x, _ in few]
    counts(pairs, n_places**2, "the places of the two rows of 250 small batches", "two rows may come from one place")


def counts(found, n, what, hint):
    """Each of 0 .. n - 1 came about equally often, and nothing else."""
    p = 1 / n
    room = 6.5 * math.sqrt(len(found) * p * (1 - p)) + 1e-9
    for i in range(n):
        said = f"{what}: {i} came {found.count(i)} times of {len(found)}, expected {len(found) * p:.0f}\n  hint: {hint}"
        assert abs(found.count(i) - len(found) * p) <= room, said
    assert set(found) <= set(range(n)), f"{what}: {sorted(set(found) - set(range(n)))} are not among 0..{n - 1}"


@exercise("get_batch", points=0.5)
@settings(max_examples=2)
@given(seed=seeds())
def test_the_generator_alone_decides_which_pieces_come(student, seed):
    """The same state, the same batches; another seed or the next call, others; no other randomness is touched."""
    data, _ = numbered(200, seed)
    one, same, other = (student.run(scenarios.batches, data, 8, 4, s, 2) for s in (seed, seed, seed + 1))
    assert_equal(same["batches"], one["batches"], what="the batches from a generator of the same seed")
    assert_equal(one["changed"], [], what="what was changed around the call", hint="generator=generator, everywhere")
    (x, _), (later, _) = one["batches"]
    assert not torch.equal(x, later), "two calls with one generator gave the same batch"
    assert not torch.equal(x, other["batches"][0][0]), "generators of different seeds gave the same batch"


@exercise("get_batch", points=0.5)
def test_batches_are_int64_copies_of_data_of_any_integer_type(student):
    """uint8 saves memory and has no room for an index; writing into a batch leaves the text alone."""
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64):
        data = (torch.arange(40_000) * 7 % 120).to(dtype)  # more places than int16 counts
        x, y = student.run(scenarios.batches, data, 3, 5, 7)["batches"][0]
        assert_equal((x.dtype, y.dtype), (torch.int64, torch.int64), what=f"the dtypes of x and y of {dtype} data")
        assert_equal((x + 7) % 120, y % 120 if dtype != torch.uint8 else y, what="x, each token replaced by its successor")
    large = torch.arange(40) + 2**40  # more than int32 holds
    x, y = student.run(scenarios.batches, large, 3, 5, 7)["batches"][0]
    assert_equal(x + 1, y, what="x, each token replaced by its successor, where tokens are large")
    assert int(x.min()) >= 2**40, "large tokens were cut down: keep int64"
    for batch_size, context_length in ((1, 4), (3, 2), (1, 1)):
        seen = student.run(scenarios.batch_is_a_copy, torch.arange(10) + 5, batch_size, context_length)
        wanted = {"the batch changes with the data": False, "the data changes with the batch": False}
        assert_equal(seen, wanted, what=f"for batches of shape {(batch_size, context_length)}: whether", hint="no views")


@exercise("get_batch", points=0.5)
def test_a_text_that_is_too_short_and_sizes_below_one_are_refused(student):
    """context_length + 1 tokens are just enough."""
    data = torch.arange(6)
    student.run(scenarios.batches, data, 2, 5, 1)
    get_batch = called("get_batch", lambda data, **given: student.run(scenarios.batches, data, *given.values(), 1)["batches"][0])
    for n, batch_size, context_length in (
        (6, 2, 6),
        (6, 2, 7),
        (1, 2, 1),
        (0, 2, 1),
        (6, 0, 2),
        (6, -1, 2),
        (6, 2, 0),
        (6, 2, -1),
    ):
        why = "a size is below 1" if min(batch_size, context_length) < 1 else f"{n} tokens are too few"
        assert_refused(get_batch, data[:n], batch_size=batch_size, context_length=context_length, why=why)


# CharVocabulary

TEXTS = st.text(alphabet=st.sampled_from("abzZ 09\r\n\t.,äßé漢🙂\u0301\u200b"), min_size=1, max_size=30)


@exercise("CharVocabulary", points=1, core=True)
@settings(max_examples=12)
@given(text=TEXTS, seed=seeds())
@example(text="hello World\r\nZzz ", seed=0)
def test_characters_are_numbered_in_the_order_of_their_code_points(student, text, seed):
    """Encoding gives the places in the sorted string of the characters, and decoding leads back."""
    chars = "".join(sorted(set(text)))
    order = torch.randperm(len(text), generator=torch.Generator().manual_seed(seed)).tolist()
    texts = [text, "".join(text[i] for i in order), text[:1], text + text[::-1]]
    ids = [torch.tensor([chars.index(char) for char in one]) for one in texts]
    seen = student.run(scenarios.vocabulary, text, texts, ids)
    assert_equal((seen["len"], seen["chars"]), (len(chars), chars), what=f"(len, chars) for {text!r}", hint="sorted(set(text))")
    assert_equal(seen["encoded"], ids, what=f"texts, encoded with the vocabulary of {text!r}")
    assert_equal(seen["decoded"], texts, what="their ids, decoded")


@exercise("CharVocabulary", points=0.5)
def test_a_vocabulary_can_be_made_again_from_its_characters(student):
    """And is the same; nothing at all is a text, too; two vocabularies know nothing of each other."""
    text, nothing = "the cat sat, the dog\nsang", torch.zeros(0, dtype=torch.int64)
    seen = student.run(scenarios.vocabulary, text, [text, ""], [nothing])
    assert_equal(seen["made again"], [seen["chars"], *seen["encoded"]], what="what CharVocabulary(chars) has and encodes")
    assert_equal((seen["encoded"][1], seen["decoded"]), (nothing, [""]), what="the encoding and the decoding of nothing")
    many = "\0" + "".join(map(chr, range(40, 400))) + "\ufffd🙂"  # more than a byte counts; NUL is a character like any other
    ids = torch.arange(len(many)).flip(0)
    seen = student.run(scenarios.vocabulary, many, [many[::-1]], [ids])
    what = "363 characters and their ids, the largest first and NUL at the end"
    assert_equal((seen["encoded"], seen["decoded"]), ([ids], [many[::-1]]), what=what)
    seen = student.run(scenarios.vocabulary, "", [""], [nothing])
    assert_equal((seen["len"], seen["encoded"], seen["decoded"]), (0, [nothing], [""]), what="a vocabulary of nothing")
    found = student.run(scenarios.two_vocabularies, "cab", "xbcy", ["abc", "bcx"])
    expected = [(3, torch.tensor([0, 1, 2])), (4, torch.tensor([0, 1, 2]))]
    assert_equal(found, expected, what="(len, encoded) of two vocabularies, asked when both were made")


@exercise("CharVocabulary", points=0.5)
@settings(max_examples=2)
@given(text=TEXTS)
def test_a_character_that_the_vocabulary_does_not_have_is_refused(student, text):
    """At the beginning, at the end, alone."""
    for unknown in ("q" + text, text + "Q", "~", text[:1] + "\f" + text[1:]):
        encode = called("encode", partial(student.run, scenarios.encode, text))
        assert_refused(encode, unknown, why=f"the vocabulary of {text!r} has not all of {unknown!r}")


@exercise("CharVocabulary", points=1)
@settings(max_examples=2)
@given(text=TEXTS)
def test_an_id_outside_the_vocabulary_is_refused(student, text):
    """Negative ones, too, alone and in company."""
    n = len(set(text))
    for bad in (-1, -n, n, n + 5, -n - 1):
        for ids in ([bad], [0, bad], [bad, n - 1]):
            why = f"the ids of the vocabulary of {text!r} go from 0 to {n - 1}"
            assert_refused(called("decode", partial(student.run, scenarios.decode, text)), torch.tensor(ids), why=why)
