"""Hidden tests: greedy and beam search. The truth is walking over every possible text, or following the rule by hand."""

import math
from functools import partial
from itertools import product

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called, hinted
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

from . import scenarios

INF = math.inf


def table_for(seed, vocab, dropped=0.0, scale=1.5, likely=None, rows=200):
    """Log-probabilities of the next token for every text; some tokens are impossible, one is likelier than others.

    Long texts need more rows: a text that comes back to one could take its turns in any order, all with the same score.
    """
    n_texts = min(rows, 100_000 // vocab)
    logits = normal(seed, n_texts, vocab, scale=scale)
    if likely is not None:
        logits[:, likely] += 2
    if dropped:
        impossible = torch.rand(n_texts, vocab, generator=torch.Generator().manual_seed(seed + 1)) < dropped
        impossible[:, 0] = False
        logits = logits.masked_fill(impossible, -INF)
    return logits.log_softmax(-1)


def row_of(table, ids):
    """What `scenarios.step_from` gives for one text."""
    code = 0
    for token in ids:
        code = (code * table.shape[1] + token + 1) % len(table)
    return table[code].tolist()


def log_prob_of(table, prefix, ids):
    return sum(row_of(table, ids[:i])[ids[i]] for i in range(len(prefix), len(ids)))


def score_of(table, prefix, ids, length_penalty=0.0):
    return log_prob_of(table, prefix, ids) / max(1, len(ids) - len(prefix)) ** length_penalty


def greedily(table, prefix, eos_id, max_len):
    ids = list(prefix)
    while len(ids) < max_len:
        row = row_of(table, ids)
        ids.append(row.index(max(row)))
        if ids[-1] == eos_id:
            break
    return ids


def all_texts(vocab, prefix, eos_id, max_len):
    """Every continuation that ends in eos_id, or has max_len tokens."""
    n_new = max_len - len(prefix)
    for n in range(1, n_new + 1):
        for new in product(range(vocab), repeat=n):
            if eos_id not in new[:-1] and (new[-1] == eos_id or n == n_new):
                yield [*prefix, *new]


def by_the_rule(table, prefix, eos_id, beam_size, max_len, length_penalty):
    """The results of beam search, followed step by step: [ids, score], the best first."""
    beam, results = [(0.0, list(prefix))], []
    while beam and len(beam[0][1]) < max_len:
        candidates = [
            (log_prob + value, [*ids, token])
            for log_prob, ids in beam for token, value in enumerate(row_of(table, ids)) if value > -INF
        ]  # fmt: skip
        candidates.sort(key=lambda pair: -pair[0])
        results += [ids for _, ids in candidates[:beam_size] if ids[-1] == eos_id]
        beam = [pair for pair in candidates if pair[1][-1] != eos_id][:beam_size]
    results += [ids for _, ids in beam]
    scored = [[ids, score_of(table, prefix, ids, length_penalty)] for ids in results]
    return sorted(scored, key=lambda pair: -pair[1])[:beam_size]


def assert_results(actual, expected, what, hint=""):
    """The same scores in the same order, and the same texts except where two scores are the same but for rounding."""
    assert_equal(len(actual), len(expected), what=f"the number of results of {what}", hint=hint)
    scores = [[score for _, score in results] for results in (actual, expected)]
    assert_close(*scores, what=f"the scores of {what}", hint=hint, rtol=1e-4, atol=1e-5)
    for i, (ids, _) in enumerate(actual):
        alike = [other for other, score in expected if abs(score - scores[1][i]) < 1e-4]
        assert ids in alike, f"{what}: result {i} is {ids}, expected {alike[0]}" + (f"\n  hint: {hint}" if hint else "")


def searched(student, scenario, prefix, **arguments):
    """What a search gives over some table."""
    return student.run(getattr(scenarios, scenario), table_for(1, 3), torch.as_tensor(prefix), *arguments.values())


# Greedy search


@exercise("greedy_search", points=4, core=True)
@settings(max_examples=25)
@given(vocab=sizes(2, 6), t=sizes(1, 4), more=sizes(1, 8), scale=st.sampled_from([1.5, 1e-3]), seed=seeds())
@example(vocab=4, t=2, more=6, scale=1.5, seed=3)
@example(vocab=3, t=40, more=8, scale=1.5, seed=4)
@example(vocab=5000, t=2, more=6, scale=1.5, seed=5)
def test_greedy_takes_the_best_token_each_time(student, vocab, t, more, scale, seed):
    """Every new token is the most probable one after the whole text so far."""
    table, prefix = table_for(seed, vocab, scale=scale), [seed % vocab] * t
    found = student.run(scenarios.search_greedily, table, torch.tensor(prefix), vocab - 1, t + more)
    expected = torch.tensor(greedily(table, prefix, vocab - 1, t + more))
    assert_equal(found["ids"], expected, what="the text", hint="step sees the whole text, and its best token is appended")


def always(vocab, *tokens):
    """A table after which text n (of the prefix 0) is continued by tokens[n]."""
    table = torch.full((200, vocab), -9.0, dtype=torch.float64)
    ids = [0]
    for token in tokens:
        code = 0
        for each in ids:
            code = (code * vocab + each + 1) % 200
        table[code, token] = -0.1
        ids.append(token)
    return table


@exercise("greedy_search", points=1)
def test_greedy_stops_at_eos_and_keeps_it(student):
    """The text ends with its first new eos_id; eos_id 0 is a token like any other, and one outside the vocabulary never comes."""
    for eos_id, tokens in ((2, [1, 2]), (2, [2]), (0, [1, 1, 0]), (1, [2, 1]), (399, [1, 399])):
        table = always(max(3, eos_id + 1), *tokens)
        found = student.run(scenarios.search_greedily, table, torch.tensor([0]), eos_id, 9)["ids"]
        without_its_end = isinstance(found, torch.Tensor) and found.tolist() == [0, *tokens[:-1]]
        hint = "append first, then look" if without_its_end else ""
        assert_equal(found, torch.tensor([0, *tokens]), what=f"the text with eos_id {eos_id}", hint=hint)
    for eos_id in (-1, 7):
        table = table_for(5, 3)
        found = student.run(scenarios.search_greedily, table, torch.tensor([0]), eos_id, 7)["ids"]
        assert_equal(found, torch.tensor(greedily(table, [0], eos_id, 7)), what=f"the text with eos_id {eos_id}")


@exercise("greedy_search", points=1)
@settings(max_examples=10)
@given(t=sizes(1, 5), more=st.integers(0, 4), seed=seeds())
@example(t=4, more=0, seed=1)
@example(t=1, more=150, seed=2)
def test_max_len_counts_the_prefix(student, t, more, seed):
    """The whole text has max_len tokens at most; a prefix as long as that comes back as it is."""
    again = torch.zeros(9, 4).log_softmax(-1) + torch.tensor([0.0, 0.0, 1.0, 0.0])
    found = student.run(scenarios.search_greedily, again, torch.tensor([0]), 99, 20)["ids"]
    ended = isinstance(found, torch.Tensor) and 1 < len(found.flatten()) < 20
    hint = "a text that repeats itself goes on: only eos_id and max_len end it" if ended else ""
    assert_equal(found, torch.tensor([0, *[2] * 19]), what="the text where token 2 is always the best", hint=hint)
    prefix = torch.randint(4, (t,), generator=torch.Generator().manual_seed(seed))
    found = student.run(scenarios.search_greedily, table_for(seed, 4), prefix, 99, t + more)
    assert_equal(len(found["ids"]), t + more, what=f"the length with a prefix of {t} and max_len {t + more}")
    assert_equal(found["ids"][:t], prefix, what="the beginning of the text", hint="the prefix is part of it")
    expected = torch.tensor(greedily(table_for(seed, 4), prefix.tolist(), 99, t + more))
    assert_equal(found["ids"], expected, what="the text", hint="step sees the whole text, however long it has become")
    assert_equal(len(found["calls"]), more, what="how often step was called")


@exercise("greedy_search", points=0.5)
@settings(max_examples=5)
@given(seed=seeds())
def test_an_eos_in_the_prefix_ends_nothing_greedily(student, seed):
    """Only what is new can end the text."""
    table = table_for(seed, 4)
    for prefix in ([3], [1, 3], [3, 3, 2]):
        found = student.run(scenarios.search_greedily, table, torch.tensor(prefix), 3, 7)["ids"]
        assert_equal(found, torch.tensor(greedily(table, prefix, 3, 7)), what=f"the text after {prefix}, eos_id 3")


@exercise("greedy_search", points=0.5)
@settings(max_examples=5)
@given(t=sizes(1, 4), more=sizes(1, 4), seed=seeds())
def test_step_is_called_once_for_each_new_token(student, t, more, seed):
    """With ids (1, t), int64, of the whole text."""
    prefix = torch.zeros(t, dtype=torch.int64)
    found = student.run(scenarios.search_greedily, table_for(seed, 4), prefix, 99, t + more)
    expected = [[[1, t + i], "torch.int64"] for i in range(more)]
    assert_equal(found["calls"], expected, what="[shape, dtype] of what step was called with")


@exercise("greedy_search", points=0.5)
def test_greedy_refuses_a_prefix_that_is_too_long(student):
    """There is no text of 2 tokens that begins with 3."""
    for t, max_len in ((3, 2), (3, 1), (3, 0), (1, 0)):
        prefix = torch.zeros(t, dtype=torch.int64)
        call = called("greedy_search", partial(searched, student, "search_greedily"))
        assert_refused(call, prefix=prefix, eos_id=2, max_len=max_len, why="the prefix is longer")


@exercise("greedy_search", points=0.5)
@settings(max_examples=5)
@given(t=sizes(1, 4), seed=seeds())
def test_greedy_leaves_the_prefix_alone(student, t, seed):
    """The caller's prefix and what step gave are what they were, and the text is int64."""
    prefix = torch.randint(4, (t,), generator=torch.Generator().manual_seed(seed))
    found = student.run(scenarios.search_greedily, table_for(seed, 4), prefix.clone(), 3, t + 3)
    assert_equal(found["prefix"], prefix, what="the prefix afterwards")
    assert_equal(found["ids"].dtype, torch.int64, what="the dtype of the text")
    assert_equal(found["changed"], [], what="what else greedy_search changed")
    found = student.run(scenarios.search_greedily, table_for(seed, 4, dropped=0.5), prefix.clone(), 3, t + 3)
    assert_equal(found["changed"], [], what="what greedy_search changed where tokens are impossible")
    arguments = table_for(seed, 4), prefix, 3, t + 3
    text = student.run(scenarios.search_a_recorded_model, "greedy_search", *arguments)
    expected, what = greedily(table_for(seed, 4), prefix.tolist(), 3, t + 3), "the text where what step gives requires gradients"
    hint = "a model's log-probabilities do, outside torch.no_grad(): detach them for NumPy"
    assert_equal(text, expected, what=what, hint=hint if found["ids"].tolist() == expected else "")


# Beam search


def search(student, table, prefix, eos_id, beam_size, max_len, **options):
    return student.run(scenarios.search_beam, table, torch.tensor(prefix), eos_id, beam_size, max_len, **options)


@exercise("beam_search", points=0.5)
def test_beam_search_refuses_what_makes_no_sense(student):
    """A beam of no text, a prefix that is too long."""
    for beam_size in (0, -1):
        call = called("beam_search", partial(searched, student, "search_beam"))
        assert_refused(call, prefix=[0], eos_id=2, beam_size=beam_size, max_len=5, why="beam_size is below 1")
    for prefix, max_len in (([0, 1], 1), ([0, 1], 0), ([0], 0)):
        why = "the prefix is longer than max_len"
        assert_refused(call, prefix=prefix, eos_id=2, beam_size=2, max_len=max_len, why=why)


@exercise("beam_search", points=0.5)
@settings(max_examples=4)
@given(t=sizes(1, 3), seed=seeds())
def test_beam_search_leaves_the_prefix_alone(student, t, seed):
    """The caller's prefix and what step gave are what they were."""
    prefix = torch.randint(3, (t,), generator=torch.Generator().manual_seed(seed)).tolist()
    for max_len in (t, t + 3):
        found = search(student, table_for(seed, 3), prefix, 2, 3, max_len)
        assert_equal(found["prefix"].tolist(), prefix, what="the prefix afterwards")
        assert_equal(found["changed"], [], what="what else beam_search changed")
        changed = search(student, table_for(seed, 3, dropped=0.5), prefix, 2, 3, max_len)["changed"]
        assert_equal(changed, [], what="what beam_search changed where tokens are impossible")
        assert found["is_list"], "the results should be a list of pairs (ids, score)"
        expected = [["torch.int64, 1 dimension", True]] * len(found["kinds"])
        what = "[what the ids of a result are, whether the score is a plain number]"
        assert_equal(found["kinds"], expected, what=what, hint="(ids as a tensor (t,), int64; score as a float)")
    arguments = table_for(seed, 3), torch.tensor(prefix), 2, 3, t + 3
    text = student.run(scenarios.search_a_recorded_model, "beam_search", *arguments)
    [[expected, _], *_] = by_the_rule(arguments[0], prefix, 2, 3, t + 3, 0.0)
    what, hint = "the text where what step gives requires gradients", ""
    if [ids for ids, _ in found["results"][:1]] == [expected]:
        hint = "a model's log-probabilities do, outside torch.no_grad(): detach them for NumPy"
    assert_equal(text, expected, what=what, hint=hint)


@exercise("beam_search", points=6, core=True)
@settings(max_examples=15)
@given(vocab=sizes(2, 4), t=sizes(1, 2), more=sizes(1, 4), penalty=st.sampled_from([0.0, 0.7, 1.0]), seed=seeds())
@example(vocab=3, t=1, more=4, penalty=0.0, seed=2)
@example(vocab=3, t=2, more=3, penalty=1.0, seed=3)
def test_a_wide_beam_is_exact(student, vocab, t, more, penalty, seed):
    """A beam as wide as there are texts finds all of them, in the order of their scores."""
    table, prefix, eos_id = table_for(seed, vocab), [seed % vocab] * t, (seed + 1) % vocab
    beam_size = vocab**more
    texts = list(all_texts(vocab, prefix, eos_id, t + more))
    expected = [[ids, score_of(table, prefix, ids, penalty)] for ids in texts]
    expected.sort(key=lambda pair: -pair[1])
    found = search(student, table, prefix, eos_id, beam_size, t + more, length_penalty=penalty)["results"]
    assert_results(found, expected, f"a beam of {beam_size}", "every text that ends in eos_id or has max_len tokens is a result")
    even = torch.zeros_like(table).log_softmax(-1).float()
    found = search(student, even, prefix, eos_id, beam_size, t + more, length_penalty=penalty)["results"]
    what, hint = "the texts where all tokens are equally probable", "texts of equal score are different texts"
    assert_equal(sorted(ids for ids, _ in found), sorted(texts), what=what, hint=hint)
    scores = sorted((score_of(even, prefix, ids, penalty) for ids in texts), reverse=True)
    assert_close([score for _, score in found], scores, what="their scores", rtol=1e-4, atol=1e-5)


@exercise("beam_search", points=4, core=True)
@settings(max_examples=25)
@given(vocab=sizes(2, 6), beam_size=sizes(1, 5), more=sizes(1, 6), penalty=st.sampled_from([0.0, 0.0, 1.0, 2.0]), seed=seeds())
@example(vocab=4, beam_size=2, more=5, penalty=0.0, seed=8)
@example(vocab=3, beam_size=3, more=6, penalty=1.0, seed=9)
@example(vocab=6, beam_size=5, more=4, penalty=0.0, seed=16)  # where many end, not all of them are among the best
@example(vocab=6, beam_size=5, more=4, penalty=0.0, seed=19)  # the tenth best still goes on: five before it end
@example(vocab=3, beam_size=1, more=4, penalty=1.0, seed=12)  # a beam of one goes on after a text that ends
@example(vocab=2000, beam_size=4, more=3, penalty=0.0, seed=10)
def test_a_narrow_beam_follows_the_rule(student, vocab, beam_size, more, penalty, seed):
    """The best candidates of the whole table go on; of the best beam_size those that end in eos_id are results."""
    prefix, eos_id = [seed % vocab], (seed + 1) % vocab
    hint = "rank the candidates of all texts together; texts that end leave room for others"
    for likely in (None, eos_id):  # where many texts want to end, a few others have to go on all the same
        table = table_for(seed, vocab, likely=likely)
        expected = by_the_rule(table, prefix, eos_id, beam_size, 1 + more, penalty)
        found = search(student, table, prefix, eos_id, beam_size, 1 + more, length_penalty=penalty)["results"]
        assert_results(found, expected, f"a beam of {beam_size} over {vocab} tokens, eos_id {eos_id}", hint)


@exercise("beam_search", points=1.5)
@settings(max_examples=12)
@given(vocab=sizes(2, 6), more=sizes(1, 7), seed=seeds())
def test_a_beam_of_one_is_greedy(student, vocab, more, seed):
    """With one text in the beam and no length penalty the result is greedy search's."""
    table = table_for(seed, vocab)
    text = greedily(table, [0], vocab - 1, 1 + more)
    found = search(student, table, [0], vocab - 1, 1, 1 + more)["results"]
    assert_results(found, [[text, score_of(table, [0], text)]], "a beam of 1")


@exercise("beam_search", points=1.5)
@settings(max_examples=8)
@given(vocab=sizes(2, 5), beam_size=sizes(1, 5), more=sizes(1, 5), seed=seeds())
def test_a_round_is_one_call_of_step(student, vocab, beam_size, more, seed):
    """All texts of a round go through step together: at most beam_size rows, int64, one call for each length."""
    calls = search(student, table_for(seed, vocab), [1], 0, beam_size, 1 + more)["calls"]
    lengths = [shape[1] for shape, _ in calls]
    assert_equal(lengths, list(range(1, len(lengths) + 1)), what="the lengths that step saw", hint="one batch, not a loop")
    assert len(lengths) <= more, f"step was called {len(lengths)} times for {more} new tokens"
    rows = [shape[0] for shape, _ in calls]
    assert max(rows) <= beam_size, f"step was called with {rows} rows, the beam holds {beam_size}"
    assert_equal(sorted({dtype for _, dtype in calls}), ["torch.int64"], what="the dtypes that step saw")


@exercise("beam_search", points=1.5)
@settings(max_examples=10)
@given(penalty=st.sampled_from([0.5, 1.0, 3, -1.0]), beam_size=sizes(2, 6), seed=seeds())
@example(penalty=3, beam_size=4, seed=0)
@example(penalty=0.5, beam_size=5, seed=1)
def test_the_length_penalty_divides_by_the_new_tokens(student, penalty, beam_size, seed):
    """A score is the log-probability by the number of new tokens (eos_id counted, the prefix not) to the power of the penalty."""
    table, prefix = table_for(seed, 3), [0, 2, 1]
    found = search(student, table, prefix, 1, beam_size, 7, length_penalty=penalty)["results"]
    for ids, score in found:
        expected = score_of(table, prefix, ids, penalty)
        assert_close(score, expected, what=f"the score of {ids}, penalty {penalty}", rtol=1e-4, atol=1e-5)
    expected = by_the_rule(table, prefix, 1, beam_size, 7, penalty)

    def plainly_right():
        plain = search(student, table, prefix, 1, beam_size, 7)["results"]
        assert_results(plain, by_the_rule(table, prefix, 1, beam_size, 7, 0.0), "")

    what, hint = f"a beam of {beam_size}, penalty {penalty}", "the penalty orders results, not candidates"
    hinted(assert_results, found, expected, what, hint=hint, when=plainly_right)
    found = student.run(scenarios.search_by_position, table, torch.tensor(prefix), 1, beam_size, 7, penalty)
    assert_results(found, expected, f"a beam of {beam_size}, the penalty {penalty} as the last argument")
    found = search(student, table, prefix, 1, beam_size, 7)["results"]
    assert_results(found, by_the_rule(table, prefix, 1, beam_size, 7, 0.0), f"a beam of {beam_size}", "no penalty is 0.0")


def assert_right(student, vocab, beam_size, more):
    """Where nothing is impossible the results are right: a mistake has to do with what is unusual elsewhere."""
    table = table_for(2, vocab)
    found = search(student, table, [0], 0, beam_size, 1 + more)["results"]
    assert_results(found, by_the_rule(table, [0], 0, beam_size, 1 + more, 0.0), "")


@exercise("beam_search", points=1)
@settings(max_examples=10)
@given(vocab=sizes(2, 5), beam_size=sizes(1, 9), more=sizes(1, 4), seed=seeds())
@example(vocab=3, beam_size=9, more=3, seed=0)  # fewer texts are possible than the beam has room for
def test_impossible_tokens_are_in_no_result(student, vocab, beam_size, more, seed):
    """A candidate of log-probability -inf is none, even where there is room in the beam."""
    table = table_for(seed, vocab, dropped=0.6)
    for eos_id in (0, vocab - 1):  # the first is never impossible
        found = search(student, table, [0], eos_id, beam_size, 1 + more)["results"]
        expected = by_the_rule(table, [0], eos_id, beam_size, 1 + more, 0.0)
        what, when = f"a beam of {beam_size}, eos_id {eos_id}", partial(assert_right, student, vocab, beam_size, more)
        hinted(assert_results, found, expected, what, hint="-inf is no candidate, nor an end", when=when)
    table = table_for(seed, vocab, scale=5000)  # as a number the product of a few such probabilities would be 0
    found = search(student, table, [0], 0, beam_size, 1 + more)["results"]
    hint = "very improbable is not impossible: add log-probabilities, form no product of probabilities"
    expected = by_the_rule(table, [0], 0, beam_size, 1 + more, 0.0)
    hinted(assert_results, found, expected, f"a beam of {beam_size}", hint=hint, when=when)


@exercise("beam_search", points=1)
@settings(max_examples=5)
@given(beam_size=sizes(1, 4), t=sizes(1, 4), seed=seeds())
def test_the_ends_of_a_search(student, beam_size, t, seed):
    """A prefix of max_len tokens is the one result; an eos_id in the prefix ends nothing; one that never comes does no harm."""
    prefix = torch.randint(3, (t,), generator=torch.Generator().manual_seed(seed)).tolist()
    for penalty in (0.0, 1.0):
        found = search(student, table_for(seed, 3), prefix, 2, beam_size, t, length_penalty=penalty)
        assert_results(found["results"], [[prefix, 0.0]], f"a prefix of max_len tokens, penalty {penalty}")
        assert_equal(len(found["calls"]), 0, what="how often step was called for it")
    for start, eos_id, max_len in (([2], 2, 5), ([2, 2], 2, 5), ([0], -1, 5), ([0] * 20, 3, 90)):
        table = table_for(seed + 1, 3, rows=200 if max_len < 90 else 5003)
        found = search(student, table, start, eos_id, beam_size, max_len)["results"]
        expected = by_the_rule(table, start, eos_id, beam_size, max_len, 0.0)
        assert_results(found, expected, f"a beam of {beam_size} after {start}, eos_id {eos_id}")
    table = torch.tensor([[0.0, -INF, -INF]]).repeat(200, 1)  # after the second token all texts end
    table[2] = torch.tensor([0.2, 0.5, 0.3]).log()
    expected = by_the_rule(table, [1], 0, beam_size, 6, 0.0)
    found = search(student, table, [1], 0, beam_size, 6)["results"]
    assert_results(found, expected, f"a beam of {beam_size} in which all texts end before max_len")


@exercise("beam_search", points=0.5)
@settings(max_examples=8)
@given(beam_size=sizes(2, 9), seed=seeds())
def test_results_differ_and_come_best_first(student, beam_size, seed):
    """No text comes twice, scores fall, and there are at most beam_size."""
    found = search(student, table_for(seed, 4), [1], 0, beam_size, 6)["results"]
    texts, scores = [ids for ids, _ in found], [score for _, score in found]
    assert len({tuple(ids) for ids in texts}) == len(texts), f"a text comes twice: {texts}\n  hint: begin with one text"
    assert_equal(sorted(scores, reverse=True), scores, what="the scores, sorted")
    assert 1 <= len(found) <= beam_size, f"{len(found)} results of a beam of {beam_size}"
