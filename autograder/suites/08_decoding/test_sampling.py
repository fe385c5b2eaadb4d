"""Hidden tests: drawing tokens, and speculative decoding. The truth is the distribution, and counts tell how close draws are.

A count of n draws may be some 6.5 standard deviations off: of a right answer's counts not one in a thousand million is.
"""

import math
from functools import partial

import torch

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.hints import called, hinted
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios

INF = math.inf
ALL_ONES = 0x12DD9BB3  # a word of the Mersenne twister's state that comes out as 32 ones
END_HINT = "the first stretch that ends beyond the dart, and the line is as long as its last running total says"


def assert_counts(tokens, probs, what, hint=""):
    """The tokens, int64 of any shape, are as frequent as they are probable, and so are the rarest of them together."""
    n, vocab = tokens.numel(), len(probs)
    outside = [token for token in set(tokens.flatten().tolist()) if not 0 <= token < vocab]
    assert not outside, f"{what}: {outside} are no tokens of a vocabulary of {vocab}"
    counts, probs = torch.bincount(tokens.flatten(), minlength=vocab).tolist(), probs.tolist()
    rarest = sorted(range(vocab), key=probs.__getitem__)
    groups = [(f"token {token}", [token]) for token in range(vocab)]
    groups += [(f"one of the rarest tokens {rarest[:i]}", rarest[:i]) for i in range(2, vocab)]
    for who, members in groups:
        count, p = sum(counts[token] for token in members), min(1.0, math.fsum(probs[token] for token in members))
        said = f"{what}: {who} came {count} times of {n}, the probability is {p:.3g}"
        assert n * divergence(count / n, p) <= 6.5**2 / 2, said + (f"\n  hint: {hint}" if hint else "")


def divergence(share, p):
    """How far a coin's share is from its chance, as relative entropy: n throws are so far off once in exp(n * this) at most.

    That is Chernoff's bound. It holds for rare tokens as well, whose counts are not spread like a normal distribution.
    """
    sides = ((share, p), (1 - share, 1 - p))
    return sum(0.0 if a == 0 else INF if b <= 0 else a * math.log(a / b) for a, b in sides)


# sample


def assert_right(student):
    """A few tokens come as often as they should: a mistake has to do with what is unusual elsewhere."""
    logits = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    assert_counts(student.run(scenarios.draws, logits.expand(2000, 3), 1), logits.softmax(-1), "2000 draws")


@exercise("sample", points=4, core=True)
@settings(max_examples=6)
@given(n=sizes(2, 9), scale=st.sampled_from([0.5, 1.5, 3.0]), seed=seeds())
@example(n=6, scale=1.5, seed=3)  # the least probable one has 2 %
@example(n=6, scale=2.0, seed=131)  # half a percent, less than a hundredth of the most probable
def test_tokens_are_as_frequent_as_they_are_probable(student, n, scale, seed):
    """Thousands of draws follow softmax(logits)."""
    logits = normal(seed, n, scale=scale)
    tokens = student.run(scenarios.draws, logits.expand(6000, n), seed)
    shape = tuple(tokens.shape[1:])
    assert shape == (6000,), f"the tokens of logits of shape (6000, {n}) should have shape (6000,), not {shape}"
    assert_counts(tokens, logits.softmax(-1), "6000 rows with the same logits", "softmax(logits) says how often")
    long = torch.randperm(3000, generator=torch.Generator().manual_seed(seed)).double() / 3000
    quarters = (student.run(scenarios.draws, long.expand(400, 3000), seed)[0, :, None] == long.argsort()).nonzero()[:, 1] // 750
    chances = long.sort().values.softmax(-1).reshape(4, 750).sum(-1)
    assert_counts(quarters, chances, "quarters of 3000 tokens, the least probable first", "filters are for whoever asks for them")


@exercise("sample", points=1)
@given(seed=seeds())
@settings(max_examples=3)
def test_rows_are_drawn_independently(student, seed):
    """Each row has a dart and a distribution of its own, whatever leading dimensions there are."""
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]], dtype=torch.float64)  # tokens 1: 1/2 and 3/4
    tokens = student.run(scenarios.draws, logits.expand(3000, 2, 2, 2), seed)[0]  # (3000, 2, 2)
    for row, ones in enumerate((0.5, 0.75)):
        assert_counts(tokens[..., row], torch.tensor([1 - ones, ones]), f"row {row} of 6000 pairs of rows")
    hint = "one random number for each row, not one for all"
    expected = torch.tensor([0.125, 0.375, 0.125, 0.375])
    for i, j in ((0, 0), (1, 1), (0, 1)):
        assert_counts(tokens[:, i, 0] * 2 + tokens[:, j, 1], expected, "pairs of tokens", hint)
    same = tokens[:, 0, 0]
    for one, other in ((same, tokens[:, 1, 0]), (same[:1500], same[1500:]), (same[::2], same[1::2])):
        assert_counts(one * 2 + other, torch.full((4,), 0.25), "pairs of tokens of the same logits", hint)
    many = student.run(scenarios.draws, torch.zeros(1, 64, dtype=torch.float64).expand(6400, 64), seed)
    spread = (torch.bincount(many.flatten(), minlength=64) - 100.0).square().sum() / 100  # 63 give or take 11
    said = f"6400 draws of 64 equal tokens: all counts are within {float(spread / 64) ** 0.5:.1f} standard deviations of 100"
    assert spread > 12, f"{said}, evener than chance is\n  hint: {hint}, and nothing else"


@exercise("sample", points=1.5)
@given(n=sizes(2, 9), seed=seeds())
@settings(max_examples=6)
def test_dropped_tokens_are_never_drawn(student, n, seed):
    """A token of logit -inf never comes, the others as they should; a single one that is left comes always."""
    dropped = torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.5
    dropped[seed % n] = False
    logits = normal(seed, n).masked_fill(dropped, -INF)
    tokens = student.run(scenarios.draws, logits.expand(2000, n), seed)
    assert_counts(tokens, logits.softmax(-1), f"2000 draws from {logits.tolist()}")
    alone = torch.full((300, n), -INF, dtype=torch.float64).index_fill(-1, torch.tensor([seed % n]), -1e4)
    assert_equal(student.run(scenarios.draws, alone, seed).unique().tolist(), [seed % n], what="the tokens drawn from one")
    rows = normal(seed, 12, 4, 40)
    rows[..., 0] = -INF
    for word, end in ((0, "smallest"), (ALL_ONES, "largest")):
        tokens = student.run(scenarios.draws_at_an_end, rows, word)
        said = f"tokens drawn where the generator gives its {end} number"
        assert bool(((tokens >= 0) & (tokens < 40)).all()), f"{said}: {tokens.unique().tolist()} of 40\n  hint: {END_HINT}"
        assert bool((tokens != 0).all()), f"{said}: the first was drawn, whose logit is -inf\n  hint: {END_HINT}"


@exercise("sample", points=1)
@given(seed=seeds())
@settings(max_examples=5)
def test_the_generator_decides_and_nothing_else(student, seed):
    """The same state gives the same tokens, the next call others, and no global random state is used."""
    found = student.run(scenarios.draws_again, normal(seed, 40, 7), seed)
    assert_equal(found["again"], found["first"], what="the tokens of a generator with the same seed")
    assert_equal(found["recorded"], found["first"], what="the tokens where logits require gradients")
    assert not torch.equal(found["first"], found["second"]), "a second call drew the same 40 tokens: use the generator's state"
    assert_equal(found["changed"], [], what="what else changed", hint="pass generator=generator to what draws")
    assert found["untouched"], "the logits were changed in place"
    alone = student.run(scenarios.draws_again, normal(seed, 7), seed)
    assert_equal(alone["again"], alone["first"], what="the token of logits (vocab,) from a generator with the same seed")
    assert_equal(alone["changed"], [], what="what else changed when logits were (vocab,)")
    assert alone["untouched"], "the logits (vocab,) were changed in place"
    tokens = student.run(scenarios.draws, torch.zeros(4, dtype=torch.float64), seed, 400)
    hint = "every call goes on with the generator's state, for logits (vocab,) as well"
    assert_counts(tokens, torch.full((4,), 0.25), "400 calls with four equal logits", hint)
    only = student.run(scenarios.draws_after_an_update, normal(seed, 3, 7), seed % 7, seed)
    hint = "keep nothing from one call to the next: a tensor is the same object when its values are new"
    what, when = "the tokens once only one of them is possible", partial(assert_right, student)
    hinted(assert_equal, only, torch.full((3,), seed % 7), what=what, hint=hint, when=when)


@exercise("sample", points=1)
@settings(max_examples=15)
@given(lead=leading_shapes(), n=sizes(1, 5), seed=seeds())
@example(lead=(), n=1, seed=0)
@example(lead=(0,), n=3, seed=0)
@example(lead=(3, 4), n=5, seed=1)
@example(lead=(2, 3, 2), n=4, seed=2)
def test_there_is_one_token_for_each_row(student, lead, n, seed):
    """(..., vocab) gives (...), int64; a vocabulary of one token leaves no choice."""
    tokens = student.run(scenarios.draws, normal(seed, *lead, n), seed)[0]
    assert_equal([list(tokens.shape), tokens.dtype], [list(lead), torch.int64], what="[shape, dtype] of the tokens")
    only = torch.randint(n, lead, generator=torch.Generator().manual_seed(seed))
    alone = torch.full((*lead, n), -INF, dtype=torch.float64).scatter(-1, only[..., None], 0.0)
    hint = "each token belongs to the row it was drawn for"
    actual, what = student.run(scenarios.draws, alone, seed)[0], "the only tokens that each row allows"
    hinted(assert_equal, actual, only, what=what, hint=hint, when=partial(assert_right, student))
    assert bool(((tokens >= 0) & (tokens < n)).all()), f"tokens outside the vocabulary of {n}: {tokens.tolist()}"


@exercise("sample", points=0.5)
@example(dtype=torch.float16, seed=1)
@example(dtype=torch.bfloat16, seed=2)
@given(dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]), seed=seeds())
@settings(max_examples=1)
def test_half_precision_draws_from_the_whole_vocabulary(student, dtype, seed):
    """Of thousands of equally probable tokens the last are drawn as often as the first."""
    tokens = student.run(scenarios.draws, torch.zeros(1, 1, dtype=dtype).expand(600, 4096), seed)
    hint = "running totals in half precision stand still: compute them in float32 or better"
    n_drawn = len(tokens.unique())  # 558 give or take 6
    said = f"600 draws of 4096 equal {dtype} logits gave only {n_drawn} different tokens"
    fine = "\n  hint: darts as fine as float32" if n_drawn > 1 and dtype != torch.float32 else ""
    assert n_drawn > 515, said + fine
    parts = (tokens // 512, 8, "eighths"), (tokens % 2, 2, "tokens modulo 2"), (tokens % 16, 16, "tokens modulo 16")
    for numbers, n, what in parts:
        what, chances = f"{what} of 4096 equal {dtype} logits", torch.full((n,), 1 / n)
        hinted(assert_counts, numbers, chances, what, hint=hint, when=partial(assert_right, student))
    logits = (normal(seed, 3000, 64).argsort(-1) / 16 - 2).to(dtype)  # exact in any precision, no two alike
    halves, singles = (student.run(scenarios.draws, x, seed) for x in (logits, logits.float()))
    ranks = (logits.float() * 16 + 32).round().long().gather(-1, singles[0, :, None])
    chances = (torch.arange(64, dtype=torch.float64) / 16).softmax(-1).reshape(4, 16).sum(-1)
    what, hint = "quarters of 64 logits in rising order", "filters are for whoever asks for them"
    hinted(assert_counts, ranks // 16, chances, what, hint=hint, when=partial(assert_right, student))
    n_differ = int((halves != singles).sum())  # none, or most of them where the two use other random numbers
    said = f"{n_differ} of 3000 tokens change when the same logits come as float32, so {dtype} probabilities are not exact"
    assert n_differ <= 1 or n_differ > 1000, f"{said}\n  hint: convert the logits before the softmax, not its result"


@exercise("sample", points=0.5)
@given(shift=st.sampled_from([-2000.0, 800.0, 30000.0]), seed=seeds())
@settings(max_examples=3)
@example(shift=-2000.0, seed=1)
def test_large_logits_are_no_trouble(student, shift, seed):
    """A constant added to all logits changes nothing, however large it is."""
    logits = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    tokens = student.run(scenarios.draws, (logits + shift).expand(2000, 3), seed)
    hint, when = "exp overflows; softmax subtracts the maximum", partial(assert_right, student)
    hinted(assert_counts, tokens, logits.softmax(-1), f"logits around {shift}", hint=hint, when=when)


@exercise("sample", points=0.5)
@given(seed=seeds())
@settings(max_examples=3)
def test_strides_do_not_change_what_is_drawn(student, seed):
    """Logits that are not contiguous are drawn from as their copy is."""
    view, copy = student.run(scenarios.draws_of_strided, normal(seed, 30, 6), seed)
    assert_equal(view, copy, what="the tokens of a transposed view")


# speculative_accept


def seed_from(generator):
    """A seed that nobody knows beforehand."""
    return int(torch.randint(2**31, (), generator=generator))


def rows_of_probabilities(seed, n, vocab, scale=1.0):
    return normal(seed, n, vocab, scale=scale).softmax(-1)


def assert_rows(rows, target_probs, what, hint=""):
    """Every position that was reached has the target's distribution there."""
    for position, probs in enumerate(target_probs):
        tokens = rows[:, position]
        reached = tokens[tokens >= 0]
        if len(reached) >= 100:
            assert_counts(reached, probs, f"{what}, token {position}", hint)


@exercise("speculative_accept", points=0.5)
def test_speculation_refuses_what_does_not_fit(student):
    """Rows too few or too many, another vocabulary, tokens outside it."""
    q, p, draft = torch.full((2, 3), 1 / 3), torch.full((3, 3), 1 / 3), torch.tensor([0, 1])
    fitting, accept = [draft, q, p], called("speculative_accept", partial(student.run, scenarios.speculate_once))
    shapes = (
        (2, p[None]),
        (0, draft[:, None]),
        (2, p[:2]),
        (2, p[:1]),
        (1, q[:1]),
        (0, draft[:1]),
        (2, torch.full((3, 4), 0.25)),
        (2, p.repeat(2, 1)),
    )
    for i, bad in (*shapes, (1, q[:, :2]), (2, p[:, :2])):
        given = [*fitting[:i], bad, *fitting[i + 1 :]]
        assert_refused(accept, *given, 1, why="the shapes do not fit together")
    assert_refused(accept, draft[:0], q[:0], p[:2], 1, why="there is a row too many")
    assert_refused(accept, draft[:1], torch.full((3, 5), 0.2), torch.full((2, 5), 0.2), 1, why="there are two rows too many")
    assert_refused(accept, draft[:0], torch.zeros(0, 5), torch.full((1, 7), 1 / 7), 1, why="the vocabularies differ")
    for token in (3, -1, 9):
        for bad in ([token, 1], [1, token]):
            bad = torch.tensor(bad)
            assert_refused(accept, bad, q, p, 1, why="a token is outside the vocabulary")
    never = torch.tensor([[0.0, 0.0, 1.0]]).expand(3, 3)  # so the draft's first token is refused
    for bad, why in (([0, 3], "the second token is outside the vocabulary"), ([0, 1, 0], "there are more tokens than rows")):
        assert_refused(accept, torch.tensor(bad), q, never, 1, why=why)


@exercise("speculative_accept", points=0.5)
@settings(max_examples=3)
@example(seed=1, dtype=torch.float32)
@given(seed=seeds(), dtype=st.sampled_from([torch.float64, torch.float32]))
def test_both_results_are_ints(student, seed, dtype):
    """Plain Python ints, for probabilities of either precision."""
    q, p = rows_of_probabilities(seed, 2, 3).to(dtype), rows_of_probabilities(seed + 1, 3, 3).to(dtype)
    never = torch.eye(3, dtype=dtype)[:1].expand(3, 3)  # what was drafted is impossible
    for target, how in ((p, "some may stand"), (torch.cat([q, p[2:]]), "all stand"), (never, "none stands")):
        found = student.run(scenarios.speculate_once, torch.tensor([1, 2]), q, target, seed)
        kinds = [type(x).__name__ for x in found]
        assert_equal(kinds, ["int", "int"], what=f"the types of (n_accepted, next_token) where {how}", hint="int(tensor)")


@exercise("speculative_accept", points=1)
@settings(max_examples=3)
@given(seed=seeds())
def test_the_first_refusal_ends_the_draft(student, seed):
    """The token after a refusal comes from that row, and what was drafted later is forgotten."""
    n = 6
    certain = torch.eye(n + 2, dtype=torch.float64)
    draft = torch.arange(n)
    for refused in range(n):  # the target agrees up to there, wants another token there, and would agree again later
        p = torch.stack([*certain[:n], certain[0]])
        p[refused] = certain[n + 1]
        found = student.run(scenarios.speculate_once, draft, certain[:n], p, seed)
        assert_equal(list(found), [refused, n + 1], what=f"[n_accepted, next_token] with token {refused} refused")
    found = student.run(scenarios.speculate_once, draft, certain[:n], torch.stack([*certain[:n], certain[n + 1]]), seed)
    assert_equal(list(found), [n, n + 1], what="[n_accepted, next_token] with none refused")


@exercise("speculative_accept", points=0.5)
@settings(max_examples=3)
@given(seed=seeds())
def test_speculation_depends_on_the_generator_alone(student, seed):
    """The same state gives the same results, and neither inputs nor global states change."""
    q, p = rows_of_probabilities(seed, 3, 5), rows_of_probabilities(seed + 1, 4, 5)
    found = student.run(scenarios.speculate_again, torch.tensor([0, 4, 2]), q, p, seed, 20)
    assert_equal(found["again"], found["first"], what="20 results of a generator with the same seed")
    assert len({tuple(pair) for pair in found["first"]}) > 1, "20 results in a row are all alike: use the generator's state"
    assert_equal(found["changed"], [], what="what else changed", hint="draw from the generator only")
    assert found["untouched"], "the inputs were changed in place"


@exercise("speculative_accept", points=5, core=True)
def test_every_token_has_the_targets_distribution(student, generator):
    """Whatever the draft was, the first token follows the target's first row, the second its second, and so on."""
    hint = "accept with min(1, p / q); after a refusal draw from max(0, p - q), normalised"
    for vocab, k, scale, n in ((3, 1, 1.5, 1000), (4, 2, 1.0, 1000), (5, 3, 0.7, 400)):
        seed = seed_from(generator)
        q, p = rows_of_probabilities(seed, k, vocab, scale), rows_of_probabilities(seed + 1, k + 1, vocab, scale)
        dtype = torch.float32 if k == 2 else torch.float64
        rows = student.run(scenarios.speculate, q.to(dtype), p.to(dtype), seed, n)
        assert_rows(rows, p, f"{n} speculations", hint)
        stand = (rows[:, 1] >= 0).long()  # the first draft token was accepted
        share = float(torch.minimum(q[0], p[0]).sum())
        assert_counts(stand, torch.tensor([1 - share, share]), "[refused, accepted] at the first token", hint)


@exercise("speculative_accept", points=0.5, core=True)
def test_a_token_stands_as_often_as_the_rule_says(student, generator):
    """Long drafts, close to what the target would have said: 95 of 100 tokens stand, and 400 drafts are thousands of tokens."""
    q, p = (torch.tensor(row, dtype=torch.float64) for row in ([0.5, 0.3, 0.1, 0.1], [0.475, 0.275, 0.105, 0.145]))
    rows = student.run(scenarios.speculate, q.expand(40, 4), p.expand(41, 4), seed_from(generator), 400)
    n_accepted = (rows >= 0).sum(1) - 1
    judged = torch.cat([torch.ones(int(n_accepted.sum())), torch.zeros(int((n_accepted < 40).sum()))]).long()
    hint = "a token stands with probability min(1, p / q), no more and no less"
    assert_counts(judged, torch.tensor([0.05, 0.95]), "[refused, accepted] of the tokens that were judged", hint)
    whole = 0.95**40
    assert_counts((n_accepted == 40).long(), torch.tensor([1 - whole, whole]), "[other, whole] drafts of 40 tokens", hint)
    instead = rows.gather(1, n_accepted[:, None])[n_accepted < 40]
    assert_counts(instead, torch.tensor([0.0, 0.0, 0.1, 0.9]), "what came after a refusal", "draw from max(0, p - q)")


@exercise("speculative_accept", points=2, core=True)
def test_a_perfect_draft_stands(student, generator):
    """Where draft and target agree every token is accepted, and one more comes from the target's last row."""
    for vocab, k, n in ((5, 1, 800), (4, 4, 200)):
        seed = seed_from(generator)
        p = rows_of_probabilities(seed, k + 1, vocab)
        rows = student.run(scenarios.speculate, p[:k], p, seed, n)
        assert_equal(int((rows < 0).sum()), 0, what="tokens of a perfect draft that were refused", hint="p / q is 1")
        assert_rows(rows, p, f"{n} perfect drafts", "the last token comes from target_probs[n]")


@exercise("speculative_accept", points=1)
def test_a_hopeless_draft_is_refused(student, generator):
    """Tokens that the target never takes are refused at once, and the next one is the target's."""
    seed, k = seed_from(generator), 3
    even = torch.arange(40) % 2 == 0  # what the draft says, and the target never does
    q = normal(seed, k, 40).masked_fill(~even, -INF).softmax(-1)
    p = normal(seed + 1, k + 1, 40).masked_fill(even, -INF).softmax(-1)
    rows = student.run(scenarios.speculate, q, p, seed, 400)
    assert_equal(bool((rows[:, 1:] < 0).all()), True, what="whether every draft was refused at its first token")
    assert_counts(rows[:, 0], p[0], "the tokens after 400 hopeless drafts", "row i of both, where i was refused")


def assert_first_tokens_right(student):
    """Drafts of one token are accepted or replaced as they should be."""
    q, p = (torch.tensor([row], dtype=torch.float64) for row in ([0.9, 0.1], [0.45, 0.55]))
    rows = student.run(scenarios.speculate, q, p.repeat(2, 1), 1, 500)
    assert_rows(rows, p.repeat(2, 1), "500 speculations on one token")


@exercise("speculative_accept", points=0.5)
def test_each_token_has_a_number_of_its_own(student, generator):
    """That one token stands tells nothing about the next."""
    q, p = (torch.tensor([row, row, row], dtype=torch.float64) for row in ([0.9, 0.1], [0.45, 0.55]))
    rows = student.run(scenarios.speculate, q[:2], p, seed_from(generator), 500)
    what, hint = "500 speculations on a draft that says 0 twice as often", "draw a new random number for each token"
    hinted(assert_rows, rows, p, what, hint=hint, when=partial(assert_first_tokens_right, student))


@exercise("speculative_accept", points=0.5)
def test_an_empty_draft_is_a_plain_draw(student, generator):
    """Without draft tokens the next one is drawn from the target."""
    for vocab, n in ((1, 5), (40, 1000)):
        seed = seed_from(generator)
        p = rows_of_probabilities(seed, 1, vocab)
        rows = student.run(scenarios.speculate, torch.zeros(0, vocab, dtype=torch.float64), p, seed, n)
        assert_counts(rows[:, 0], p[0], f"{n} empty drafts")
