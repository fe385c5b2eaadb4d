"""What a single call cannot show: heaps in use, many draws from one generator, searches over a table of probabilities."""

import gc
import weakref

import torch

from autograder.testing.probes import changed_around, differences, gradients, strided, surroundings


class Thing:
    """An item that cannot be compared, hashed or asked whether it is true; it knows its number."""

    __hash__ = None

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        raise RuntimeError("an item was compared")

    __lt__ = __gt__ = __le__ = __ge__ = __ne__ = __eq__

    def __bool__(self):
        raise RuntimeError("an item was asked whether it is true")


def use_heap(module, k, scores, asked=()):
    """Push the numbers 0, 1, ... with these scores; [items, length] after each number of pushes in `asked`, then at the end."""
    heap = module.TopKHeap(k)
    seen = []
    for number, score in enumerate(scores):
        if number in asked:
            seen.append([_pairs(heap.items()), len(heap)])
        heap.push(score, number)
    return [*seen, [_pairs(heap.items()), len(heap)]]


def _pairs(items):
    return [[score, item] for score, item in items]


def use_heap_of_things(module, k, scores):
    """The same with items that cannot be compared; their numbers, the best first."""
    heap = module.TopKHeap(k)
    for number, score in enumerate(scores):
        heap.push(score, Thing(number))
    return [thing.number for _, thing in heap.items()]


def items_themselves(module):
    """Whether the very items come back: None, a list, a dict, a tensor."""
    items = [None, [1], {"a": 1}, torch.ones(2), [1]]
    heap = module.TopKHeap(len(items))
    for score, item in enumerate(items):
        heap.push(-score, item)
    return [found is item for (_, found), item in zip(heap.items(), items)]


def kinds_of_items(module):
    """Whether items() gives a list, and whether of tuples."""
    heap = module.TopKHeap(2)
    heap.push(1.0, "one")
    heap.push(2.0, "other")
    items = heap.items()
    return [isinstance(items, list), all(isinstance(pair, tuple) for pair in items)]


def two_heaps(module, scores, others):
    """Two heaps of 3 and 2 filled in turns; the items of both."""
    one, other = module.TopKHeap(3), module.TopKHeap(2)
    for score, second in zip(scores, others):
        one.push(score, "one")
        other.push(second, "other")
    return [_pairs(one.items()), _pairs(other.items())]


def list_changed_by_its_owner(module, scores):
    """The items after the list of an earlier call has been emptied by whoever it was given to."""
    heap = module.TopKHeap(3)
    for number, score in enumerate(scores):
        heap.push(score, number)
    heap.items().clear()
    return [_pairs(heap.items()), len(heap)]


def heap_of(module, k):
    """The length of a new heap of this size."""
    return len(module.TopKHeap(k))


def refusing_heap(module, k, n_before):
    """A heap of this size, into which after `n_before` others a score is pushed that is no number."""
    heap = module.TopKHeap(k)
    for _ in range(n_before):
        heap.push(1.0, "one")
    heap.push(float("nan"), "none")


def heap_after_a_refusal(module, scores):
    """The items after a push of NaN that was refused, between the others."""
    heap = module.TopKHeap(len(scores))
    for number, score in enumerate(scores):
        heap.push(score, number)
        if number == 1:
            try:
                heap.push(float("nan"), "none")
            except (ValueError, TypeError, IndexError):
                pass
    return [_pairs(heap.items()), len(heap)]


def items_alive(module, k, n):
    """How many of n items, and of their scores, are still in memory after all have been pushed and looked at in between."""

    class Item:
        pass

    class Score(float):
        pass

    heap, items, scores = module.TopKHeap(k), [], []
    for number in range(n):
        item, score = Item(), Score((number * 7919) % n)
        items.append(weakref.ref(item))
        scores.append(weakref.ref(score))
        heap.push(score, item)
        if number == n // 2:
            heap.items()
    del item, score
    gc.collect()
    return [sum(found() is not None for found in references) for references in (items, scores)]


def comparisons(module, k, scores):
    """How often scores were compared while all were pushed, and the items afterwards."""
    n_compared = [0]

    def counted(name):
        compare = getattr(float, name)

        def method(self, other):
            n_compared[0] += 1
            return compare(self, float(other) if isinstance(other, float) else other)

        return method

    names = ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__")
    kind = type("Score", (float,), {name: counted(name) for name in names} | {"__hash__": float.__hash__})
    kind.__neg__ = lambda self: kind(float.__neg__(self))
    heap = module.TopKHeap(k)
    for number, score in enumerate(scores):
        heap.push(kind(score), number)
    return [n_compared[0], [[float(score), item] for score, item in heap.items()]]


def filter_each(module, name, cases):
    """For each [logits, number] what the filter gives, and the logits afterwards."""
    return [[getattr(module, name)(logits, number), logits] for logits, number in cases]


def all_around(module, name, args):
    """The result, that of numbers with gaps between them, a part of it from transposed ones, gradients, and what changed."""
    firsts, spaced = ([take(x) if isinstance(x, torch.Tensor) else x for x in args] for take in (lambda x: x[0], _with_gaps))
    return {
        "plain": getattr(module, name)(*args),
        "turned": strided(module, name, firsts),
        "spaced": getattr(module, name)(*spaced),
        "pulled": gradients(module, name, args),
        "changed": changed_around(module, name, args),
    }


def _with_gaps(x):
    """The same numbers, each second one of a larger tensor in each dimension, the very first not among them."""
    view = x.new_zeros([2 * size + 2 for size in x.shape])[tuple(slice(2, None, 2) for _ in x.shape)]
    return view.copy_(x)


def draws(module, logits, seed, calls=1):
    """`calls` results of sample with one generator of this seed, stacked."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([module.sample(logits, generator) for _ in range(calls)])


def draws_again(module, logits, seed):
    """Two results of one generator, the first of a fresh one of the same seed, also of logits with gradients, what else
    was changed, whether logits were."""
    before, copy, generator = surroundings(), logits.clone(), torch.Generator().manual_seed(seed)
    first, second = module.sample(logits, generator), module.sample(logits, generator=generator)
    again = module.sample(logits, torch.Generator().manual_seed(seed))
    recorded = module.sample(copy.clone().requires_grad_(), torch.Generator().manual_seed(seed))
    return {
        "recorded": recorded.detach(),
        "first": first,
        "second": second,
        "again": again,
        "changed": differences(before),
        "untouched": torch.equal(logits, copy),
    }


def draws_after_an_update(module, logits, token, seed):
    """What is drawn from logits that have been drawn from before, once they leave room for one token alone."""
    module.sample(logits, torch.Generator().manual_seed(seed))
    logits.fill_(-float("inf"))
    logits[..., token] = 0.0
    return module.sample(logits, torch.Generator().manual_seed(seed))


def draws_at_an_end(module, rows, word):
    """What is drawn for each of some (4, vocab) logits where the generator's third and fourth word are what is asked for.

    They are its second number in float64, its third and fourth in float32.
    """
    found = []
    for logits in rows:
        generator = torch.Generator().manual_seed(1)
        torch.rand(1, generator=generator)  # from here on the words to come are in the state: `next`, then 624 of 8 bytes
        state = generator.get_state()
        state[16:].view(torch.int64)[4:6] = word  # `next` is at 0, and the first word has been used
        generator.set_state(state)
        found.append(module.sample(logits, generator))
    return torch.stack(found)


def draws_of_strided(module, logits, seed):
    """What is drawn from a transposed view, and from its contiguous copy."""
    view = torch.empty(logits.shape[::-1], dtype=logits.dtype).mT.copy_(logits)
    return [module.sample(x, torch.Generator().manual_seed(seed)) for x in (view, logits)]


def step_from(table, calls, given=None):
    """A step whose log-probabilities depend on the whole text: row `code` of the table, the text read as a number.

    What it is called with goes to `calls`, what it gives to `given`, with a copy.
    """

    def step(ids):
        vocab = table.shape[-1]
        calls.append([list(ids.shape), str(ids.dtype)])
        code = torch.zeros(len(ids), dtype=torch.int64)
        for column in ids.unbind(1):
            code = (code * vocab + column + 1) % len(table)
        rows = table[code]
        if given is not None:
            given.append([rows, rows.clone()])
        return rows

    return step


def _changed(before, given):
    n_changed = sum(not torch.equal(rows, copy) for rows, copy in given)
    return differences(before) + ["what step gave"] * bool(n_changed)


def search_greedily(module, table, prefix, eos_id, max_len):
    """The ids found, the shapes that step was called with, the prefix afterwards, and what else was changed."""
    calls, given, before = [], [], surroundings()
    found = module.greedy_search(step_from(table, calls, given), prefix, eos_id, max_len)
    return {"ids": found, "calls": calls, "prefix": prefix, "changed": _changed(before, given)}


def search_beam(module, table, prefix, eos_id, beam_size, max_len, **options):
    """The results as [ids, score], what kinds these are, the shapes that step was called with, and what was changed."""
    calls, given, before = [], [], surroundings()
    found = module.beam_search(step_from(table, calls, given), prefix, eos_id, beam_size, max_len, **options)
    changed, is_list = _changed(before, given), isinstance(found, list)
    results = [[torch.as_tensor(ids).tolist(), float(score)] for ids, score in found]
    kinds = [[f"{ids.dtype}, {ids.dim()} dimension" if isinstance(ids, torch.Tensor) else type(ids).__name__,
              isinstance(score, float | int)] for ids, score in found]  # fmt: skip
    return {"results": results, "is_list": is_list, "kinds": kinds, "calls": calls, "prefix": prefix, "changed": changed}


def search_a_recorded_model(module, name, table, *arguments):
    """The (best) text found by a step whose log-probabilities require gradients."""
    found = getattr(module, name)(step_from(table.requires_grad_(), []), *arguments)
    return list(map(int, found[0][0] if isinstance(found, list) else found))


def search_by_position(module, table, prefix, eos_id, beam_size, max_len, length_penalty):
    """The results as [ids, score], the length penalty being the last of the arguments without a name."""
    found = module.beam_search(step_from(table, []), prefix, eos_id, beam_size, max_len, length_penalty)
    return [[torch.as_tensor(ids).tolist(), float(score)] for ids, score in found]


def speculate(module, draft_probs, target_probs, seed, n):
    """n speculations on drafts drawn from draft_probs: each a row of the tokens that stand, the next one, and -1 for the rest."""
    drafter, generator = torch.Generator().manual_seed(seed + 1), torch.Generator().manual_seed(seed)
    k = len(draft_probs)
    drafts = torch.zeros(n, 0, dtype=torch.int64)
    if k:
        drafts = torch.multinomial(draft_probs, n, replacement=True, generator=drafter).T
    rows = torch.full((n, k + 1), -1)
    for row, draft in zip(rows, drafts):
        n_accepted, token = module.speculative_accept(draft, draft_probs, target_probs, generator)
        row[:n_accepted] = draft[:n_accepted]
        row[n_accepted] = token
    return rows


def speculate_once(module, draft_tokens, draft_probs, target_probs, seed):
    """What speculative_accept returns with a generator of this seed."""
    return module.speculative_accept(draft_tokens, draft_probs, target_probs, torch.Generator().manual_seed(seed))


def speculate_again(module, draft_tokens, draft_probs, target_probs, seed, n):
    """n results of one generator and of a fresh one of the same seed, what else was changed, and whether the inputs were."""
    before, given = surroundings(), [draft_tokens, draft_probs, target_probs]
    copies = [x.clone() for x in given]
    found = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(seed)
        found.append([list(module.speculative_accept(*given, generator)) for _ in range(n)])
    return {
        "first": found[0],
        "again": found[1],
        "changed": differences(before),
        "untouched": all(map(torch.equal, given, copies)),
    }
