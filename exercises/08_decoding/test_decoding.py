"""Public tests: pytest exercises/08_decoding [-k beam]"""

import math
from itertools import product

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.strategies import assume, example, given, normal, seeds, settings, sizes, st

INF = math.inf


# What runs beside your module: each function gets it as its first argument.


def push_all(module, k, pairs):
    """The items and the length of a new heap after each push of (score, item)."""
    heap, seen = module.TopKHeap(k), []
    for score, item in pairs:
        heap.push(score, item)
        seen.append(([tuple(entry) for entry in heap.items()], len(heap)))
    return seen


def push_nan(module):
    """A score that is no number is pushed."""
    module.TopKHeap(2).push(float("nan"), "what?")


def count_comparisons(module, k, scores):
    """How often scores were compared while all of them were pushed."""
    n_compared = [0]

    class Score(float):
        def __lt__(self, other):
            n_compared[0] += 1
            return float(self) < float(other)

        def __gt__(self, other):
            n_compared[0] += 1
            return float(self) > float(other)

        def __le__(self, other):
            n_compared[0] += 1
            return float(self) <= float(other)

        def __ge__(self, other):
            n_compared[0] += 1
            return float(self) >= float(other)

    heap = module.TopKHeap(k)
    for number, score in enumerate(scores):
        heap.push(Score(score), number)
    return n_compared[0]


def draw(module, logits, seed, times=1):
    """The tokens of this many calls of sample, one generator for all."""
    generator = torch.Generator().manual_seed(seed)
    return [module.sample(logits, generator) for _ in range(times)]


def search(module, name, table, prefix, eos_id, *arguments):
    """What a search finds, and the shapes that step was called with. Row i of the table follows token i."""
    shapes = []

    def step(ids):
        shapes.append(tuple(ids.shape))
        return table[ids[:, -1]].log()

    return getattr(module, name)(step, torch.tensor(prefix), eos_id, *arguments), shapes


def speculate(module, draft_tokens, draft_probs, target_probs, seed):
    """(n_accepted, next_token) for each row of draft tokens, one generator for all."""
    generator = torch.Generator().manual_seed(seed)
    return [tuple(module.speculative_accept(row, draft_probs, target_probs, generator)) for row in draft_tokens]


# Shared by several exercises


def stays(*kept):
    """The logits 0, 1, 2, 3, 4 with -inf for those that are not named."""
    return torch.tensor([float(i) if i in kept else -INF for i in range(5)])


def logits_of(*probs):
    """Their softmax is this."""
    return torch.tensor(probs, dtype=torch.float64).log()


def assert_stay(filtered, logits, kept, what, hint=""):
    """The kept logits are what they were, all others -inf."""
    expected = torch.where(kept, logits, -INF)
    assert_equal(filtered, expected, what=what, hint=hint or "those that stay keep their logit, all others become -inf")


def assert_frequencies(tokens, probs, what, hint=""):
    """Each token came about as often as it should. A right answer fails here less than once in a million times."""
    n = len(tokens)
    for token, p in enumerate(probs):
        count, spread = tokens.count(token), math.sqrt(n * p * (1 - p))
        said = f"{what}: token {token} came {count} times of {n}, expected {n * p:.0f} give or take {3 * spread:.0f}"
        assert abs(count - n * p) <= 6 * spread, said + (f"\n  hint: {hint}" if hint else "")


def drawn(student, logits, seed):
    """The tokens of one call of sample, one for each row."""
    (tokens,) = student.run(draw, logits.clone(), seed)
    assert isinstance(tokens, torch.Tensor), f"sample should give a tensor, not {type(tokens).__name__}"
    said = f"the shape of the tokens of logits of shape {tuple(logits.shape)}: not as expected\n  expected {{}}\n  got      {{}}"
    right, came = tuple(logits.shape[:-1]), tuple(tokens.shape)
    assert came == right, said.format(right, came) + "\n  hint: the last dimension goes, all others stay"
    return tokens


def searched(student, name, *arguments):
    """What a search finds, as lists, and the shapes that step was called with."""
    found, shapes = student.run(search, name, *arguments)
    if name == "greedy_search":
        assert isinstance(found, torch.Tensor), f"greedy_search should return a tensor of ids, not {type(found).__name__}"
        return found.tolist(), shapes
    pairs = isinstance(found, tuple | list) and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in found)
    kinds = [tuple(type(part).__name__ for part in pair) for pair in found] if pairs else type(found).__name__
    right = pairs and all(isinstance(ids, torch.Tensor) for ids, _ in found)
    assert right, f"beam_search should return a list of pairs (ids, score), ids a tensor\n  got {kinds}"
    return [(ids.tolist(), score) for ids, score in found], shapes


# TopKHeap


@exercise("TopKHeap")
def test_the_three_best_of_eight(student):
    """Watch the heap after each push."""
    pairs = list(zip([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0], "abcdefgh"))
    seen = student.run(push_all, 3, pairs)
    expected = ["a", "ab", "cab", "cad", "eca", "fec", "fec", "fhe"]
    for n, ((items, length), names) in enumerate(zip(seen, expected, strict=True), 1):
        came = "".join(item for _, item in items)
        assert_equal(came, names, what=f"the items after {n} pushes", hint="a newcomer has to beat the worst of the three")
        assert_equal(length, min(n, 3), what=f"len after {n} pushes")
    assert_equal(seen[-1][0], [(9.0, "f"), (6.0, "h"), (5.0, "e")], what="items()", hint="(score, item), the best first")


@exercise("TopKHeap")
@settings(max_examples=40)
@given(scores=st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=40), k=sizes(1, 12))
@example(scores=[float(5 * i % 23) for i in range(23)], k=12)  # goes wrong where children or parents are counted from 1
def test_the_heap_agrees_with_sorting(student, scores, k):
    """Python's sort keeps equals in their order, and so does the heap."""
    seen = student.run(push_all, k, [(score, number) for number, score in enumerate(scores)])
    best = sorted(enumerate(scores), key=lambda pair: -pair[1])[:k]
    hint = "after an append walk up as far as it goes, after a new root down; of equals the first pushed is better"
    assert_equal(seen[-1][0], [(score, number) for number, score in best], what=f"the best {k} of {scores}", hint=hint)


@exercise("TopKHeap")
def test_items_need_no_order(student):
    """Dictionaries cannot be compared, and need not be."""
    seen = student.run(push_all, 2, [(1.0, {"a": 1}), (1.0, {"b": 2}), (1.0, {"c": 3})])
    assert_equal(seen[-1][0], [(1.0, {"a": 1}), (1.0, {"b": 2})], what="items()", hint="let the order of pushing decide")


@exercise("TopKHeap")
def test_a_push_walks_along_one_path(student):
    """2000 rising scores into 500 places: each one gets in, and a path is 9 long."""
    n_compared = student.run(count_comparisons, 500, [float(i) for i in range(2000)])
    said = f"2000 pushes compared scores {n_compared} times; a walk from the root to a leaf needs some 20 comparisons"
    assert n_compared <= 2000 * 80, f"{said}\n  hint: no sorting and no searching in push"


@exercise("TopKHeap")
def test_a_heap_of_nothing_and_nan_are_refused(student):
    assert_refused(student.run, push_all, 0, [], why="k is below 1")
    assert_refused(student.run, push_nan, why="NaN is neither better nor worse than anything")


# apply_temperature


@exercise("apply_temperature")
def test_temperature_by_example(student):
    logits = torch.tensor([[2.0, 0.0, -4.0], [1.0, -INF, 3.0]])
    hint = "logits / temperature; the softmax comes later"
    for temperature, expected in ((2.0, [[1.0, 0.0, -2.0], [0.5, -INF, 1.5]]), (0.5, [[4.0, 0.0, -8.0], [2.0, -INF, 6.0]])):
        actual = student.apply_temperature(logits, temperature)
        assert_close(actual, torch.tensor(expected), what=f"logits at temperature {temperature}", hint=hint)
        assert_inputs_untouched(student)


@exercise("apply_temperature")
@settings(max_examples=20)
@given(seed=seeds(), temperature=st.sampled_from([0.1, 0.5, 1.0, 1.7, 5.0]))
def test_ratios_become_powers(student, seed, temperature):
    """Twice as probable becomes 2 ** (1 / temperature) times as probable."""
    logits = normal(seed, 3, 6)
    probs = student.apply_temperature(logits, temperature).softmax(-1)
    ratios, before = probs / probs[:, :1], logits.softmax(-1) / logits.softmax(-1)[:, :1]
    assert_close(ratios, before ** (1 / temperature), what=f"ratios of probabilities at temperature {temperature}")


@exercise("apply_temperature")
def test_temperatures_that_mean_nothing_are_refused(student):
    for temperature in (0.0, -1.0, INF, math.nan):
        assert_refused(student.apply_temperature, torch.zeros(3), temperature, why="it is not above 0 and finite")


# top_k_filter


@exercise("top_k_filter")
def test_top_k_by_example(student):
    logits = torch.arange(5.0)
    for k, kept in ((1, [4]), (2, [3, 4]), (4, [1, 2, 3, 4]), (5, range(5)), (50, range(5))):
        hint = "with more places than tokens all stay" if k > 5 else "what goes becomes -inf, not 0"
        assert_equal(student.top_k_filter(logits, k), stays(*kept), what=f"0, 1, 2, 3, 4 with k = {k}", hint=hint)
        assert_inputs_untouched(student)


@exercise("top_k_filter")
@settings(max_examples=20)
@given(seed=seeds(), rows=sizes(1, 4), vocab=sizes(1, 9), k=sizes(1, 9))
def test_each_row_has_its_own_k_best(student, seed, rows, vocab, k):
    """The order of the tokens makes no difference, and neither does the row above."""
    logits = normal(seed, 2, rows, vocab)
    ranks = logits.argsort(dim=-1, descending=True).argsort(dim=-1)  # 0 for the best
    assert_stay(student.top_k_filter(logits, k), logits, ranks < k, f"random logits of {vocab} tokens with k = {k}")


@exercise("top_k_filter")
def test_no_place_at_all_is_refused(student):
    for k in (0, -2):
        assert_refused(student.top_k_filter, torch.zeros(3), k, why="k is below 1")


# top_p_filter


@exercise("top_p_filter")
def test_top_p_by_example(student):
    """Probabilities 1/2, 1/4, 3/20 and 1/10, not in this order."""
    logits = logits_of(0.15, 0.5, 0.1, 0.25)
    for p, kept in ((0.0, [1]), (0.4, [1]), (0.6, [1, 3]), (0.7, [1, 3]), (0.8, [0, 1, 3]), (0.95, range(4)), (1.0, range(4))):
        mask = torch.tensor([i in kept for i in range(4)])
        hint = "the token that carries the sum over p stays, too" if 0 < p < 1 else "at p = 0 the best stays, at 1 all do"
        assert_stay(student.top_p_filter(logits, p), logits, mask, f"probabilities 0.15, 0.5, 0.1, 0.25 with p = {p}", hint)
        assert_inputs_untouched(student)


@exercise("top_p_filter")
@settings(max_examples=30)
@given(seed=seeds(), rows=sizes(1, 3), vocab=sizes(1, 9), p=st.floats(0.05, 0.99))
def test_the_nucleus_is_the_smallest_that_reaches_p(student, seed, rows, vocab, p):
    """Enough with its least probable token, and too little without it."""
    logits = normal(seed, rows, vocab, scale=2.0)
    filtered, probs = student.top_p_filter(logits, p), logits.softmax(-1)
    assert_equal(filtered.shape, logits.shape, what="the shape of the filtered logits")
    kept = filtered > -INF
    assert_stay(filtered, logits, kept, "a random row")
    for row, mask in zip(probs, kept, strict=True):
        inside, outside = row[mask], row[~mask]
        shown = f"of the probabilities {[round(x, 3) for x in row.tolist()]} with p = {p:.3f}, {int(mask.sum())} stay"
        assert inside.sum() >= p - 1e-9, f"{shown}: together they have {inside.sum():.3f}, which is too little"
        assert inside.sum() - inside.min() < p + 1e-9, f"{shown}: they reach p without the last of them"
        assert not len(outside) or inside.min() >= outside.max(), f"{shown}: one that goes is more probable than one that stays"


@exercise("top_p_filter")
def test_what_is_gone_stays_gone(student):
    """A nucleus of what an earlier filter left."""
    logits = torch.tensor([0.0, -INF, 0.1, -INF])
    assert_equal(student.top_p_filter(logits, 1.0), logits, what="the nucleus at p = 1")
    assert_equal(student.top_p_filter(logits, 0.5), torch.tensor([-INF, -INF, 0.1, -INF]), what="the nucleus at p = 0.5")


@exercise("top_p_filter")
def test_p_is_a_probability(student):
    for p in (-0.1, 1.1):
        assert_refused(student.top_p_filter, torch.zeros(3), p, why="p is not from 0 to 1")


# min_p_filter


@exercise("min_p_filter")
def test_min_p_by_example(student):
    """Probabilities 1/2, 3/10, 3/20 and 1/20: the threshold is min_p times 1/2."""
    logits = logits_of(0.15, 0.5, 0.05, 0.3)
    for min_p, kept in ((0.0, range(4)), (0.05, range(4)), (0.2, [0, 1, 3]), (0.5, [1, 3]), (0.7, [1]), (1.0, [1])):
        mask = torch.tensor([i in kept for i in range(4)])
        hint = "what stays has at least min_p times the largest probability, 1/2"
        assert_stay(student.min_p_filter(logits, min_p), logits, mask, f"0.15, 0.5, 0.05, 0.3 with min_p = {min_p}", hint)
        assert_inputs_untouched(student)


@exercise("min_p_filter")
@settings(max_examples=20)
@given(seed=seeds(), rows=sizes(1, 4), vocab=sizes(1, 9), min_p=st.floats(0.01, 0.99))
def test_each_row_has_its_own_threshold(student, seed, rows, vocab, min_p):
    """A sure row keeps few, an unsure one many."""
    logits = normal(seed, rows, vocab) * torch.arange(1, rows + 1)[:, None]
    probs = logits.softmax(-1)
    relative = probs / probs.amax(-1, keepdim=True)
    assume(((relative - min_p).abs() > 1e-9).all())
    assert_stay(student.min_p_filter(logits, min_p), logits, relative >= min_p, f"random rows with min_p = {min_p:.3f}")


@exercise("min_p_filter")
def test_min_p_is_a_share(student):
    for min_p in (-0.1, 1.5):
        assert_refused(student.min_p_filter, torch.zeros(3), min_p, why="min_p is not from 0 to 1")


# repetition_penalty


@exercise("repetition_penalty")
def test_a_penalty_always_makes_less_probable(student):
    logits = torch.tensor([[2.0, -2.0, 1.0, 0.0], [4.0, -1.0, -3.0, 0.5]])
    ids = torch.tensor([[0, 1, 1], [2, 2, 2]])
    hint = "divide positive logits, multiply negative ones; a token that comes twice is penalised once"
    expected = torch.tensor([[1.0, -4.0, 1.0, 0.0], [4.0, -1.0, -6.0, 0.5]])
    assert_close(student.repetition_penalty(logits, ids, 2.0), expected, what="the logits after a penalty of 2", hint=hint)
    assert_inputs_untouched(student)


@exercise("repetition_penalty")
@settings(max_examples=20)
@given(seed=seeds(), t=sizes(0, 6), penalty=st.sampled_from([0.5, 1.0, 1.3, 4.0]))
def test_what_was_not_said_keeps_its_logit(student, seed, t, penalty):
    """Also when nothing has been said at all, t = 0."""
    logits, ids = normal(seed, 3, 7), torch.randint(7, (3, t), generator=torch.Generator().manual_seed(seed))
    actual = student.repetition_penalty(logits, ids, penalty)
    for row, (before, after) in enumerate(zip(logits, actual, strict=True)):
        for token, logit in enumerate(before.tolist()):
            said = token in ids[row].tolist()
            expected = logit if not said else logit / penalty if logit > 0 else logit * penalty
            what = f"logit {token} of row {row}, which was {'' if said else 'not '}said, with a penalty of {penalty}"
            assert_close(after[token].item(), expected, what=what)


@exercise("repetition_penalty")
def test_penalties_and_ids_that_make_no_sense_are_refused(student):
    logits = torch.zeros(2, 3)
    assert_refused(student.repetition_penalty, logits, torch.tensor([[0], [1]]), 0.0, why="the penalty is not above 0")
    assert_refused(student.repetition_penalty, logits, torch.tensor([[0], [3]]), 2.0, why="there is no token 3")
    assert_refused(student.repetition_penalty, logits, torch.tensor([[0]]), 2.0, why="there are two rows of logits")


# sample


@exercise("sample")
def test_tokens_come_as_often_as_they_should(student):
    """6000 darts at 0.5, 0.3, 0, 0.2."""
    probs = [0.5, 0.3, 0.0, 0.2]
    tokens = drawn(student, logits_of(*probs).expand(6000, 4), 1)
    hint = "each token has a stretch of the line as long as it is probable; a stretch of length 0 is never hit"
    assert_frequencies(tokens.tolist(), probs, "6000 draws", hint)


@exercise("sample")
def test_each_row_gets_a_dart_of_its_own(student):
    """The same distribution 1000 times over, and all distributions different."""
    tokens = drawn(student, torch.zeros(1000, 50), 2)
    n_different = len(set(tokens.tolist()))
    hint = "torch.rand of shape (..., 1), not one number for all"
    assert n_different > 40, f"1000 equal rows of 50 tokens gave only {n_different} different ones\n  hint: {hint}"
    certain = torch.full((2, 5, 5), -INF)
    certain[:, range(5), [3, 1, 4, 0, 2]] = 0.0
    (tokens,) = student.run(draw, certain, 3)
    assert_equal(tokens, torch.tensor([[3, 1, 4, 0, 2]] * 2), what="the tokens of rows that leave no choice")
    for row, expected in ((certain[0, 0], torch.tensor(3)), (certain[:1, 0], torch.tensor([3]))):
        (token,) = student.run(draw, row.clone(), 3)
        hint = "the last dimension goes, all others stay"
        assert_equal(token, expected, what=f"the token of logits of shape {tuple(row.shape)}", hint=hint)


@exercise("sample")
def test_the_generator_is_the_only_source_of_chance(student):
    logits = normal(3, 60, 9)
    first, second = student.run(draw, logits, 5, times=2)
    again, other = student.run(draw, logits, 5)[0], student.run(draw, logits, 6)[0]
    assert_equal(again, first, what="60 tokens drawn with the same seed", hint="pass generator=generator")
    assert not torch.equal(first, second), "a second call drew the same 60 tokens: the generator's state should move on"
    assert not torch.equal(first, other), "another seed drew the same 60 tokens: use the generator that is passed"


@exercise("sample")
def test_a_long_vocabulary_in_half_precision(student):
    """3000 equally probable tokens: half of the draws are from the second half."""
    tokens = drawn(student, torch.zeros(2000, 3000, dtype=torch.bfloat16), 4)
    hint = "running totals in bfloat16 stop growing; compute them in float32 or better"
    assert_frequencies([int(token >= 1500) for token in tokens.tolist()], [0.5, 0.5], "the half a token is from", hint)


# greedy_search and beam_search: token 0 is the full stop, 1 is "a", 2 is "b", and 3 only ever stands at the beginning.

TABLE = torch.tensor(
    [
        [1.00, 0.00, 0.00, 0.00],
        [0.20, 0.35, 0.45, 0.00],  # after "a"
        [0.90, 0.10, 0.00, 0.00],  # after "b"
        [0.00, 0.60, 0.40, 0.00],  # at the beginning
    ],
    dtype=torch.float64,
)
NAMES = ".ab^"


def spell(ids):
    """[3, 1, 2, 0] is "^ab."."""
    return "".join(NAMES[i] for i in ids)


def random_table(seed, vocab):
    """Probabilities of the next token after each token."""
    return normal(seed, vocab, vocab, scale=1.5).softmax(-1)


def log_prob(table, ids, n_prefix=1):
    """Of all that follows the prefix."""
    return sum(table[a, b].log().item() for a, b in zip(ids[n_prefix - 1 :], ids[n_prefix:]))


def assert_results(actual, expected, what, hint=""):
    """[(text, score)], the texts spelled."""
    assert_equal([spell(ids) for ids, _ in actual], [text for text, _ in expected], what=f"the texts of {what}", hint=hint)
    assert_close([score for _, score in actual], [score for _, score in expected], what=f"the scores of {what}", rtol=1e-6)


@exercise("greedy_search")
def test_greedy_by_hand(student):
    """The best token each time; eos_id is kept, and the text ends."""
    ids, shapes = searched(student, "greedy_search", TABLE, [3], 0, 9)
    hint = "append eos_id, then stop" if spell(ids) == "^ab" else ""
    assert_equal(spell(ids), "^ab.", what="the text", hint=hint)
    assert_equal(shapes, [(1, 1), (1, 2), (1, 3)], what="the shapes that step was called with", hint="the whole text, as a batch")


@exercise("greedy_search")
def test_greedy_stops_at_max_len(student):
    """The prefix counts."""
    for max_len, text in ((5, "^aaab"), (4, "^aaa"), (6, "^aaab.")):
        ids, _ = searched(student, "greedy_search", TABLE, [3, 1, 1, 1], 0, max_len)
        assert_equal(spell(ids), text, what=f"^aaa continued with max_len={max_len}")
    assert_refused(student.run, search, "greedy_search", TABLE, [3, 1, 1, 1], 0, 3, why="the prefix has 4 tokens")


@exercise("greedy_search")
@settings(max_examples=20)
@given(seed=seeds(), vocab=sizes(2, 6), n_new=sizes(1, 7))
def test_no_other_token_was_better(student, seed, vocab, n_new):
    """Each token of the text is the best after the one before; eos_id may stand in the prefix and ends nothing there."""
    table, eos_id = random_table(seed, vocab), seed % vocab
    ids, _ = searched(student, "greedy_search", table, [eos_id], eos_id, 1 + n_new)
    for before, after in zip(ids, ids[1:]):
        assert_equal(after, int(table[before].argmax()), what=f"the token after {before} in {ids}")
    assert len(ids) == 1 + n_new or (len(ids) > 1 and ids[-1] == eos_id), f"{ids} stops before eos_id {eos_id} and max_len"
    assert eos_id not in ids[1:-1], f"{ids} goes on after eos_id {eos_id}"


# beam_search


@exercise("beam_search")
def test_a_beam_of_two_by_hand(student):
    """Greedy search finds "ab." of probability 0.6 * 0.45 * 0.9; "b." has 0.4 * 0.9."""
    results, _ = searched(student, "beam_search", TABLE, [3], 0, 2, 4)
    expected = [("^b.", math.log(0.36)), ("^ab.", math.log(0.243))]
    assert_results(results, expected, "a beam of 2", "best first are: a, b | b., ab, aa | ab., aab, aaa")


@exercise("beam_search")
def test_the_length_penalty_orders_results(student):
    """log(0.36) / 2 is less than log(0.243) / 3: the mean of the longer text is the better one."""
    results, _ = searched(student, "beam_search", TABLE, [3], 0, 2, 4, 1.0)
    expected = [("^ab.", math.log(0.243) / 3), ("^b.", math.log(0.36) / 2)]
    assert_results(results, expected, "a beam of 2 and a penalty of 1", "divide by the number of new tokens, eos_id included")


@exercise("beam_search")
def test_an_end_that_is_not_among_the_best_is_dropped(student):
    """A beam of 1: "a." has 0.4 where "aa" has 0.6, so it is no result, though "aaa" ends up below it."""
    table = torch.tensor([[1.0, 0.0], [0.4, 0.6]], dtype=torch.float64)
    results, _ = searched(student, "beam_search", table, [1], 0, 1, 4)
    hint = "of the beam_size best candidates, those that end in eos_id are results; those further down are not"
    assert_results(results, [("aaaa", math.log(0.216))], "a beam of 1", hint)


@exercise("beam_search")
def test_an_end_takes_no_place_in_the_beam(student):
    """At the third token "b." is the best candidate. The two best that go on are "ab" and "aa", and both are continued."""
    _, shapes = searched(student, "beam_search", TABLE, [3], 0, 2, 4)
    hint = "one call for all texts of a round; the best beam_size that do not end go on"
    assert_equal(shapes[1:], [(2, 2), (2, 3)], what="the shapes that step was called with after the first round", hint=hint)


@exercise("beam_search")
@settings(max_examples=20)
@given(seed=seeds(), vocab=sizes(2, 3), n_new=sizes(1, 4), penalty=st.sampled_from([0.0, 0.6, 1.0]))
def test_a_wide_beam_finds_every_text(student, seed, vocab, n_new, penalty):
    """Beside brute force: write down all texts and sort them."""
    table, eos_id = random_table(seed, vocab), 0
    results, _ = searched(student, "beam_search", table, [1], eos_id, vocab**n_new, 1 + n_new, penalty)
    texts = set()
    for tokens in product(range(vocab), repeat=n_new):
        n = tokens.index(eos_id) + 1 if eos_id in tokens else n_new
        texts.add((1, *tokens[:n]))
    scores = sorted((log_prob(table, ids) / (len(ids) - 1) ** penalty for ids in texts), reverse=True)
    assert_equal(len(results), len(texts), what="how many texts were found", hint="each ends in eos_id or has max_len tokens")
    assert_close([score for _, score in results], scores, what="the scores, the best first", rtol=1e-6)
    for ids, score in results:
        assert_close(score, log_prob(table, ids) / (len(ids) - 1) ** penalty, what=f"the score of {ids}", rtol=1e-6)


@exercise("beam_search")
@settings(max_examples=20)
@given(seed=seeds(), vocab=sizes(2, 6), n_new=sizes(1, 6))
def test_a_beam_of_one_is_greedy_search(student, seed, vocab, n_new):
    """Without a length penalty."""
    table, eos_id = random_table(seed, vocab), seed % vocab
    results, _ = searched(student, "beam_search", table, [0, 1], eos_id, 1, 2 + n_new)
    ids = [0, 1]
    while len(ids) < 2 + n_new and (len(ids) == 2 or ids[-1] != eos_id):
        ids.append(int(table[ids[-1]].argmax()))
    assert_equal([found for found, _ in results], [ids], what="the texts of a beam of 1")
    assert_close(results[0][1], log_prob(table, ids, 2), what="its score", hint="the prefix does not count", rtol=1e-6)


@exercise("beam_search")
def test_a_beam_of_nothing_and_a_long_prefix_are_refused(student):
    assert_refused(student.run, search, "beam_search", TABLE, [3], 0, 0, 5, why="beam_size is below 1")
    assert_refused(student.run, search, "beam_search", TABLE, [3, 1, 1], 0, 2, 2, why="the prefix is longer than max_len")
    results, _ = searched(student, "beam_search", TABLE, [3, 1], 0, 2, 2)
    assert_results(results, [("^a", 0.0)], "a prefix of max_len tokens", "there is nothing left to do")


# speculative_accept

DRAFT = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
TARGET = torch.tensor([[0.3, 0.5, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)


@exercise("speculative_accept")
def test_speculation_leaves_the_target_as_it_is(student):
    """1000 drafts of one token from (0.7, 0.2, 0.1), where the target has (0.3, 0.5, 0.2)."""
    drafted = torch.multinomial(DRAFT[0], 1000, replacement=True, generator=torch.Generator().manual_seed(0))
    found = student.run(speculate, drafted[:, None], DRAFT, TARGET, 1)
    stood = [n_accepted for n_accepted, _ in found]
    hint = "accept x with probability min(1, p(x) / q(x)): in all, with 0.3 + 0.2 + 0.1"
    assert_frequencies(stood, [0.4, 0.6], "how many draft tokens stand", hint)
    first = [token if n_accepted else following for token, (n_accepted, following) in zip(drafted.tolist(), found, strict=True)]
    assert_frequencies(first, [0.3, 0.5, 0.2], "the first token", "after a refusal draw from max(0, p - q): (0, 0.3, 0.1) / 0.4")
    second = [following for n_accepted, following in found if n_accepted]
    assert_frequencies(second, [0.1, 0.1, 0.8], "the token after one that stands", "it comes from the target's last row")


@exercise("speculative_accept")
def test_the_first_refusal_is_the_last_word(student):
    """Draft and target are both certain, and agree or not."""
    sure = torch.eye(4, dtype=torch.float64)
    for target, expected in (((0, 1, 2, 3), (3, 3)), ((0, 1, 3, 0), (2, 3)), ((3, 1, 2, 0), (0, 3)), ((0, 2, 1, 3), (1, 2))):
        found = student.run(speculate, torch.tensor([[0, 1, 2]]), sure[:3], sure[list(target)], 0)
        what = f"(n_accepted, next_token) where the draft is 0, 1, 2 and the target {', '.join(map(str, target))}"
        assert_equal(found[0], expected, what=what, hint="what was drafted after a refusal is forgotten")


@exercise("speculative_accept")
@settings(max_examples=15)
@given(seed=seeds(), n=sizes(0, 4), vocab=sizes(1, 6))
def test_a_draft_like_the_target_always_stands(student, seed, n, vocab):
    """p / q is 1. With no draft at all there is still a next token."""
    probs = normal(seed, n + 1, vocab).softmax(-1)
    drafted = torch.randint(vocab, (5, n), generator=torch.Generator().manual_seed(seed))
    found = student.run(speculate, drafted, probs[:n], probs, seed)
    assert_equal([n_accepted for n_accepted, _ in found], [n] * 5, what=f"how many of {n} tokens stand")
    assert all(0 <= token < vocab for _, token in found), f"the next tokens {found} are from 0 to {vocab - 1}"


@exercise("speculative_accept")
def test_drafts_that_do_not_fit_are_refused(student):
    token = torch.tensor([[0]])
    assert_refused(student.run, speculate, token, DRAFT, TARGET[:1], 0, why="the target needs a row more than the draft")
    assert_refused(student.run, speculate, torch.tensor([[0, 1]]), DRAFT, TARGET, 0, why="there are two tokens and one row")
    assert_refused(student.run, speculate, torch.tensor([[3]]), DRAFT, TARGET, 0, why="there is no token 3")
