"""The corpus and its batches, against lists of numbers."""

import torch

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import composite, given, seeds, settings, sizes, st

from . import scenarios
from .truth import batch, stream

EOT = 500


@composite
def some_documents(draw, least=2, most=8):
    """Documents of ids, none of them empty."""
    n = draw(sizes(least, most))
    generator = torch.Generator().manual_seed(draw(seeds()))
    lengths = torch.randint(1, 12, (n,), generator=generator).tolist()
    return [torch.randint(0, 400, (length,), generator=generator).tolist() for length in lengths]


def expected_corpus(documents, shard_tokens, eot_id, n_validation):
    """(manifest, files) of such a corpus."""
    documents = [ids for ids in documents if ids]
    parts = {"train": documents[:-n_validation], "validation": documents[-n_validation:]}
    files, manifest = {}, {"dtype": "uint16", "eot_id": eot_id, "splits": {}}
    for split, own in parts.items():
        tokens = stream(own, eot_id)
        pieces = [tokens[i : i + shard_tokens] for i in range(0, len(tokens), shard_tokens)]
        named = {f"{split}_{i:05}.bin": piece for i, piece in enumerate(pieces)}
        files |= named
        shards = [{"file": name, "n_tokens": len(piece)} for name, piece in named.items()]
        manifest["splits"][split] = {"n_documents": len(own), "n_tokens": len(tokens), "shards": shards}
    return manifest, files


def check(student, documents, shard_tokens, eot_id=EOT, n_validation=None, hint="", **options):
    manifest, files, intact = student.run(
        scenarios.prepared, documents, shard_tokens, eot_id, n_validation=n_validation, **options
    )
    expected, expected_files = expected_corpus(documents, shard_tokens, eot_id, n_validation or 1)
    shards = {name: tokens for name, tokens in files.items() if name != "manifest.json"}
    assert_equal(shards, expected_files, what="the shards", hint=hint)
    assert_equal(manifest, expected, what="the manifest that is returned", hint=hint)
    assert_equal(files.get("manifest.json"), expected, what="manifest.json", hint=hint)
    assert intact, "a list that the tokenizer returned was changed: it may keep it\n  hint: [eot_id, *ids] is a new list"


@exercise("prepare_corpus", points=3, core=True)
@settings(max_examples=20)
@given(documents=some_documents(), shard_tokens=sizes(1, 40), how=st.sampled_from(("jsonl", "txt", "both")))
def test_shards_hold_all_documents_each_behind_its_end_of_text_token(student, documents, shard_tokens, how):
    """In order, over the ends of shards; the manifest says what is in the files."""
    hint = "files in the order given; eot_id, then the document; only the last shard of a split holds less than shard_tokens"
    check(student, documents, shard_tokens, how=how, hint=hint)


@exercise("prepare_corpus", points=1)
@settings(max_examples=15)
@given(
    documents=some_documents(5, 9), n_validation=sizes(1, 4), shard_tokens=sizes(1, 30), empty=st.lists(sizes(0, 8), max_size=4)
)
def test_the_last_documents_with_tokens_are_held_out(student, documents, n_validation, shard_tokens, empty):
    """Whatever their sizes; a document without tokens is left out wherever it stands, and does not count."""
    for place in empty:
        documents.insert(place, [])
    if len(empty) > 2:
        documents.append([])
    check(student, documents, shard_tokens, n_validation=n_validation, hint="the last n_validation documents that have tokens")


@exercise("prepare_corpus", points=1)
def test_ids_of_all_16_bits_and_documents_longer_than_shards_fit(student, generator):
    """Little-endian, up to 65535; a single document fills many shards; a shard that is just full has no empty one after it."""
    long = torch.randint(0, 65536, (100,), generator=generator).tolist() + [65535, 0, 256]
    check(student, [long, long[:50]], 7, eot_id=65535)
    check(student, [[1, 2, 3], [4], [5, 6, 7]], 4, eot_id=0)
    check(student, [[1], [2], [3]], 1, eot_id=256)
    check(student, [[1], [2], [3, 4]], 10**6, eot_id=1)


@exercise("prepare_corpus", points=1)
@settings(max_examples=6)
@given(seed=seeds(), shard_tokens=sizes(2, 60), n_validation=sizes(1, 3))
def test_less_than_a_shard_waits_in_memory(student, seed, shard_tokens, n_validation):
    """Whenever a document is read, all but the last shard and the documents that may be held out are on the disk."""
    generator = torch.Generator().manual_seed(seed)
    documents = [[i] + [1] * n for i, n in enumerate(torch.randint(0, 11, (120,), generator=generator).tolist())]
    just_full = [[i] + [1] * (shard_tokens - 2) for i in range(n_validation + 5)]  # each fills a shard, and no more
    for given_documents, largest in ((documents, 12), (just_full, shard_tokens)):
        most = student.run(scenarios.waiting, given_documents, shard_tokens, n_validation)
        limit = shard_tokens - 1 + largest * (n_validation + 1)
        assert most <= limit, (
            f"with shards of {shard_tokens} tokens, {most} tokens waited in memory; at most {limit} need to"
            "\n  hint: write a shard as soon as it is full; read one document at a time; only the last n_validation wait"
        )


@exercise("prepare_corpus", points=1)
def test_what_makes_no_corpus_is_refused_and_leaves_no_manifest(student):
    """Too few documents, sizes below 1, ids that 16 bits do not hold: then not even a manifest from before is left."""
    good = [[1, 2], [3]]
    cases = {
        "no document": ([], 8, 0, 1),
        "one document": ([[1]], 8, 0, 1),
        "two documents of which two are held out": (good, 8, 0, 2),
        "two documents, one of them empty": ([[1], []], 8, 0, 1),
        "shard_tokens=0": (good, 0, 0, 1),
        "shard_tokens=-1": (good, -1, 0, 1),
        "n_validation=0": (good, 8, 0, 0),
        "n_validation=-1": (good, 8, 0, -1),
        "the id 65536": ([[1, 65536], [3], [4]], 8, 0, 1),
        "the id 65536 in what is held out": ([[1], [3, 65536]], 8, 0, 1),
        "the id 2**32": ([[1, 2**32], [3], [4]], 8, 0, 1),
        "the id -1": ([[1], [-1], [2]], 8, 0, 1),
        "eot_id=65536": (good, 8, 65536, 1),
        "eot_id=-1": (good, 8, -1, 1),
    }
    answers = student.run(scenarios.corpora_refused, list(cases.values()))
    for what, (was_refused, complete) in zip(cases, answers, strict=True):
        assert was_refused, f"{what} should be refused"
        at_fault = "=" in what  # an argument, refused before anything is touched, perhaps
        assert not complete or at_fault, f"{what} was refused, but the folder has a manifest, as if it were complete"


@exercise("prepare_corpus", points=1)
def test_a_second_corpus_takes_the_place_of_the_first(student):
    """The manifest names the new shards, and they hold the new tokens alone; the folder may be there already."""
    before = [[9] * 5, [8] * 30, [7] * 5]
    check(student, [[1, 2, 3], [4, 5], [6]], 3, twice=before)
    hint = "the text as it is, line ends and accents too: no strip; what has tokens is a document, the same one twice, too"
    check(
        student,
        [[32, 65, 10], [10], [32, 9], [66], [66], [65, 13, 10, 66], [0xFEFF, 101, 0x301], [10, 67, 32]],
        4,
        characters=True,
        hint=hint,
    )
    again, complete = student.run(scenarios.last_shard_unwritable)
    said = "the last shard could not be written, but the folder has a manifest, as if it were complete"
    assert not complete, f"{said}\n  hint: write the manifest when all shards are there"
    assert not again, f"{said}\n  hint: remove the manifest from before first, whatever may come"


# TokenShards


def cut(tokens, seed):
    """The tokens in shards of odd sizes, some of them of a single token."""
    generator, shards = torch.Generator().manual_seed(seed), []
    most = max(4, len(tokens) // 2)
    while tokens:
        n = int(torch.randint(1, most, (), generator=generator)) if len(shards) < 4 else len(tokens)
        shards.append(tokens[:n])
        tokens = tokens[n:]
    return shards


@composite
def layouts(draw, most_steps=3):
    """(tokens, shards, batch_size, context_length, world_size, batches of an epoch)."""
    size, t, world, steps = draw(sizes(1, 3)), draw(sizes(1, 5)), draw(sizes(1, 3)), draw(sizes(1, most_steps))
    windows = steps * size * world + draw(sizes(0, size * world - 1)) if size * world > 1 else steps
    n = windows * t + 1 + draw(sizes(0, t - 1)) if t > 1 else windows + 1
    generator = torch.Generator().manual_seed(draw(seeds()))
    tokens = torch.randint(0, 65536, (n,), generator=generator).tolist()
    return tokens, cut(tokens, n), size, t, world, steps


@exercise("TokenShards", points=4, core=True)
@settings(max_examples=25)
@given(layout=layouts())
def test_batches_are_the_windows_of_the_stream_shared_out_among_processes(student, layout):
    """x and y of every step for every rank, over the ends of shards; y is x moved on by one; what fills no batch is left out."""
    tokens, shards, size, t, world, steps = layout
    split = ("train", "validation", "test")[len(tokens) % 3]
    batches, lengths, still = student.run(scenarios.epoch, shards, size, t, world, split=split)
    assert still, "looking at a batch moved the position, or changed what is everyone's"
    assert_equal(lengths, [steps] * world, what="len(shards) of each rank")
    for rank, own in enumerate(batches):
        expected = [batch(tokens, step, size, t, rank, world) for step in range(steps)]
        hint = "window i begins at token i * context_length; rank r has the windows from step * B * W + r * B on"
        for step, pair in enumerate(expected):
            assert_equal(own[step], pair, what=f"with world_size={world}, rank {rank}'s shards.batch({step})", hint=hint)


@exercise("TokenShards", points=1)
@settings(max_examples=15)
@given(layout=layouts(), n=sizes(1, 8))
def test_next_batch_goes_through_the_epochs(student, layout, n):
    """Step by step, then from the beginning again; epoch and step are the position of the next batch; nothing else is touched."""
    tokens, shards, size, t, world, steps = layout
    rank = len(tokens) % world
    seen, changed, files, intact, fresh = student.run(scenarios.followed, shards, size, t, n, rank=rank, world=world)
    batches, positions = zip(*seen)
    expected = [batch(tokens, i % steps, size, t, rank, world) for i in range(n)]
    hint = ""
    for i, pair in enumerate(expected):
        assert_equal(batches[i], pair, what=f"batch {i + 1} of next_batch(), (x, y)", hint=hint)
        hint = "x and y are copies: one that is changed changes nothing else"
    expected = [[(i + 1) // steps, (i + 1) % steps] for i in range(n)]
    hint = "after the last batch of an epoch, the position is the next one's beginning at once"
    assert_equal(list(positions), expected, what=f"[epoch, step] after each batch, {steps} to an epoch", hint=hint)
    assert not changed, f"changed for everyone: {', '.join(changed)}"
    assert fresh, "batch(step) gave what somebody had written into the same batch before\n  hint: a new copy in every call"
    assert intact, "a batch that somebody has already was written to when later ones were taken: each is a copy of its own"
    held = [files[name] for name in sorted(files) if name.endswith(".bin")]
    assert_equal(held, shards, what="the files afterwards")


@exercise("TokenShards", points=2)
@settings(max_examples=4)
@given(seed=seeds(), size=sizes(1, 3), t=sizes(1, 4), world=sizes(1, 3), extra=sizes(0, 1))
def test_a_seed_gives_every_epoch_an_order_of_its_own(student, seed, size, t, world, extra):
    """Each window at most once an epoch, the same order for every rank and every time, another for another epoch or seed."""
    windows = 12 * size * world + extra * (size * world - 1)
    tokens = list(range(windows * t + 1))
    shards, key = cut(tokens, seed), seed % 1000
    orders = {}
    for which in ((key, 0), (key, 1), (key + 1, 0), (key, 0)):
        options = {"seed": which[0], "epoch": which[1], "elsewhere": which in orders}
        batches, lengths, still = student.run(scenarios.epoch, shards, size, t, world, **options)
        assert still, "looking at a batch moved the position, or changed what is everyone's (the global random state, say)"
        assert_equal(lengths, [12] * world, what="len(shards) of each rank")
        order = []
        for step in range(12):
            for own in batches:
                x, y = own[step]
                assert_equal(y, x + 1, what="y, where token i is the number i")
                assert bool((x[:, 0] % t == 0).all()) and bool((x == x[:, :1] + torch.arange(t)).all()), "a row is no window"
                order += (x[:, 0] // t).tolist()
        assert len(set(order)) == len(order), (
            "a window came twice in one epoch\n  hint: one order for all ranks, from the seed alone"
        )
        if which in orders:
            hint = "hash() of a text is another number in each process: give the generator a seed made of the numbers"
            assert_equal(order, orders[which], what="the order once more (as in another process)", hint=hint)
        orders[which] = order
    first, second, other = orders.values()
    assert first != sorted(first), "with a seed the windows should not come as they lie in the stream"
    assert first != second, "two epochs have the same order"
    assert first != other, "two seeds give the same order"
    seen = student.run(scenarios.followed, shards, size, t, 26, seed=key, rank=world - 1, world=world)[0]
    for which in range(2):
        expected = student.run(scenarios.epoch, shards, size, t, world, seed=key, epoch=which)[0][-1]
        followed = [batch for batch, _ in seen[12 * which : 12 * which + 12]]
        assert_equal(
            followed, expected, what=f"the batches of epoch {which} by next_batch", hint="self.batch(self.step, self.epoch)"
        )
    left = set()
    for which in range(8):  # 5 windows of a token, batches of 4
        ((batch,),), _, _ = student.run(scenarios.epoch, [list(range(6))], 4, 1, seed=key, epoch=which)
        left.add(10 - int(batch[0].sum()))
    assert len(left) > 1, "the same window is left out in every epoch: all windows take part in the order"


@exercise("TokenShards", points=2)
@settings(max_examples=15)
@given(layout=layouts(), before=sizes(0, 7), after=sizes(1, 5), seed=st.sampled_from((None, 0, 3)))
def test_a_restored_position_is_followed_by_the_same_batches(student, layout, before, after, seed):
    """In a new object, in another process, back in the same one; through JSON; with an order of the seed's or without."""
    tokens, shards, size, t, world, steps = layout
    runs, unchanged, alike = student.run(scenarios.resumed, shards, size, t, before, after, seed=seed, world=world)
    first, last, new, new_last, back = runs
    assert_equal(new, first, what="the batches of a new object that was sent to the position")
    assert_equal(new_last, last, what=f"the batches of rank {world - 1}, sent to rank 0's position")
    assert_equal(back, first, what="the batches of the same object, sent back")
    assert alike, f"state_dict() of ranks 0 and {world - 1} of {world} differ: the position is the same for all processes"
    assert unchanged, "a state changed when it was loaded or later batches were taken: copy the numbers, in and out"
    if seed is None:
        expected = [batch(tokens, (before + i) % steps, size, t, 0, world) for i in range(after)]
        assert_equal(first, expected, what="the batches before anything was restored")


@exercise("TokenShards", points=1)
def test_a_position_in_other_batches_is_refused(student):
    """Another split, batch size, context length, number of processes or seed; another rank is no matter."""
    shards = [list(range(60)), list(range(60, 100))]
    first = {"split": "train", "batch_size": 2, "context_length": 4, "rank": 1, "world_size": 2, "shuffle_seed": 5}
    other = [{"split": "validation"}, {"batch_size": 3}, {"context_length": 3}, {"rank": 1, "world_size": 3}]
    other += [{"shuffle_seed": None}, {"shuffle_seed": 6}, {"rank": 0}, {}]
    for seed, changes in ((5, other), (0, [{"shuffle_seed": None}, {}]), (None, [{"shuffle_seed": 0}, {}])):
        own = first | {"shuffle_seed": seed}
        answers = student.run(scenarios.states_refused, shards, own, [own | change for change in changes], 8)
        for change, (was_refused, position) in zip(changes, answers, strict=True):
            wanted = bool(change) and change != {"rank": 0}
            assert was_refused == wanted, (
                f"a state with shuffle_seed={seed} should{'' if wanted else ' not'} be refused by shards that differ in "
                f"{change or 'nothing'}"
            )
            assert_equal(position, [0, 1] if wanted else [1, 2], what="[epoch, step] afterwards")


@exercise("TokenShards", points=1)
def test_too_few_tokens_and_bad_arguments_are_refused(student):
    """One batch for every process has to be there, with its last target; shards have to be as long as the manifest says."""
    plain = {"split": "train", "batch_size": 2, "context_length": 4, "rank": 0, "world_size": 3}
    for n, wanted in ((24, True), (25, False), (26, False), (1, True)):
        answers = student.run(scenarios.shards_refused, [[1] * (n // 2), [1] * (n - n // 2)], [plain])
        assert answers == [wanted], f"{n} tokens should{'' if wanted else ' not'} be refused, where one batch takes 25"
    bad = [
        {"batch_size": 0},
        {"context_length": 0},
        {"world_size": 0},
        {"batch_size": -1},
        {"rank": 3},
        {"rank": -1},
        {"split": "test"},
    ]
    answers = student.run(scenarios.shards_refused, [[1] * 100], [plain | change for change in bad] + [plain])
    for change, was_refused in zip(bad, answers):
        assert was_refused, f"{change} should be refused"
    assert not answers[-1], "rank 0 of 3 should not be refused"
    few, some = ([list(range(40)), [1]], 2, 4), ([list(range(100)), [1]], 4, 5)  # of some, 2 processes leave 4 windows over
    two = {"world_size": 2}
    for layout, n, options in ((few, 5, {}), (some, 2, two), (some, 2, two | {"shuffle_seed": 1})):
        steps = [-1, n, n + 1, 0, n - 1]
        answers = student.run(scenarios.steps_refused, *layout, steps, **options)
        for step, was_refused in zip(steps, answers, strict=True):
            wanted = not 0 <= step < n
            assert was_refused == wanted, f"batch({step}) of {n} batches should{'' if wanted else ' not'} be refused"
    for damage in ([0, -2], [0, 2], [0, -1], [2, 0], [2, -2]):
        answers = student.run(scenarios.shards_refused, [[1] * 50, [1] * 50], [plain], damage=damage)
        assert answers == [True], f"two files that have {damage[0]} and {damage[1]} bytes more than they should are to be refused"


@exercise("TokenShards", points=1)
def test_only_what_a_batch_needs_is_read(student):
    """Three files of 15 MB: a batch, from their ends, too, takes a few pages, and not a copy of them."""
    n = 15 * 2**19
    tail = list(range(1, 9))
    step = (n // 4 - 1) // 2  # its last window goes over to the second shard
    measured = student.measure(scenarios.batch_of_many, n, 3, 2, 4, step, tail, warm_up=(40, 3, 2, 4, 1, tail))
    x, y = measured.value
    assert_equal([x, y], [torch.tensor([tail[:4], tail[4:]]), torch.tensor([tail[1:5], [*tail[5:], 0]])], what="a batch")
    assert measured.peak_bytes < 8e6, (
        f"a batch of 8 tokens took {measured.peak_bytes / 1e6:.0f} MB of memory"
        "\n  hint: np.memmap reads pages when they are asked for"
    )
