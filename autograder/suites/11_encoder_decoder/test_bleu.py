"""bleu, against the reference; tests/test_translation_peers.py compares that with sacreBLEU."""

import random

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.strategies import example, given, seeds, settings, sizes, st

from . import scenarios


def corpus(seed, n_texts, n_references, longest, words, kept=0.7):
    """Hypotheses and lists of references: each is one sentence in which words were exchanged, left out and put in."""
    rng, hypotheses, references = random.Random(seed), [], []
    vocabulary = [f"w{i}" for i in range(words)]

    def version(sentence):
        changed = []
        for word in sentence:
            changed += (
                [word] if rng.random() < kept else rng.choice([[], [rng.choice(vocabulary)], [word, rng.choice(vocabulary)]])
            )
        return " ".join(changed)

    for _ in range(n_texts):
        sentence = [rng.choice(vocabulary) for _ in range(rng.randint(1, longest))]
        hypotheses.append(version(sentence))
        references.append([version(sentence) or "w0" for _ in range(n_references)])
    return hypotheses, references


def check(student, reference, hypotheses, references, *args, where="", hint=""):
    texts = [text if len(text) <= 200 else f"{text[:197]}..." for text in map(repr, (hypotheses, references))]
    what = f"the score of {texts[0]} beside {texts[1]}{where}"
    actual, untouched, is_float = student.run(scenarios.bleu_of, hypotheses, references, *args)
    assert_close(actual, reference.bleu(hypotheses, references, *args), what=what, hint=hint, rtol=1e-9, atol=1e-9)
    assert_equal(untouched, True, what="whether the lists are as they were")
    assert_equal(is_float, True, what="whether the score is one of Python's floats")


@exercise("bleu", points=2.5, core=True)
@settings(max_examples=14)
@given(seed=seeds(), n_texts=sizes(1, 6), longest=sizes(6, 20), words=sizes(2, 30))
@example(seed=1, n_texts=5, longest=15, words=6)
def test_the_score_of_a_corpus_with_one_reference_each(student, reference, seed, n_texts, longest, words):
    """The geometric mean of four precisions of the whole corpus, times the brevity penalty, in percent."""
    hint = "add up matches and totals over the corpus first; the brevity penalty takes the whole lengths"
    check(student, reference, *corpus(seed, n_texts, 1, longest, words), hint=hint)


@exercise("bleu", points=2, core=True)
@settings(max_examples=14)
@given(seed=seeds(), n_texts=sizes(1, 5), n_references=sizes(2, 4), longest=sizes(5, 14), words=sizes(2, 12))
@example(seed=2, n_texts=4, n_references=3, longest=12, words=4)
def test_several_references(student, reference, seed, n_texts, n_references, longest, words):
    """An n-gram counts as often as the reference that has it most often; the length is the closest, the shorter of two."""
    hypotheses, references = corpus(seed, n_texts, n_references, longest, words, kept=0.6)
    references[0] = references[0][:1]  # not all have as many
    hint = "Counter's | keeps the larger count; the reference length is chosen for each hypothesis"
    check(student, reference, hypotheses, references, hint=hint)


@exercise("bleu", points=1)
@settings(max_examples=10)
@given(seed=seeds(), n_texts=sizes(1, 3), longest=sizes(4, 9))
@example(seed=5, n_texts=2, longest=8)
def test_precisions_without_a_match_are_smoothed(student, reference, seed, n_texts, longest):
    """1 / (2 * total) for the first n without a match, 1 / (4 * total) for the second."""
    hypotheses, references = corpus(seed, n_texts, 2, longest, 4, kept=0.35)
    check(student, reference, hypotheses, references, hint="where no n-gram of an order matches: 2, then 4, then 8, ...")
    for hypothesis in ("a b x c d", "a x b y c z", "a b x y a b", "a b c x d e f", "x a y z w"):
        check(student, reference, [hypothesis], [["a b c d e f"]])


@exercise("bleu", points=0.5)
def test_what_scores_zero_and_what_a_hundred(student, reference):
    """No match at all, no 4-gram at all, no token at all; a copy of a reference; one good text among bad ones."""
    for hypothesis in ("x y z w v", "", "a b c", "a", "   "):
        actual = student.bleu([hypothesis], [["a b c d"]])
        assert type(actual) is float, f"the score of {hypothesis!r} is a {type(actual).__name__}: a score is a float"
        assert_close(
            actual, 0.0, what=f"the score of {hypothesis!r}", hint="0 where some order has no n-gram, or nothing matches"
        )
    hint = "an n-gram is n tokens, not their letters in a row"
    check(student, reference, ["ab c d e f"], [["a bc d e f"]], hint=hint)
    hint = "tokens are what stands between white space: a full stop belongs to its token"
    check(student, reference, ["it costs 3.14 euros now"], [["it costs 3.15 euros now"]], hint=hint)
    hint = "a reference without a token is a reference"
    check(student, reference, ["a b c d e", ""], [["a b c d e"], [""]], hint=hint)
    for text in ("a b c d", "a a a a a", " a\tb  c d\n"):
        assert_close(student.bleu([text, text], [["x", text], [text]]), 100.0, what=f"the score of {text!r} beside itself")


@exercise("bleu", points=1)
def test_short_translations_are_punished_and_long_ones_are_not(student, reference):
    """exp(1 - r / c) where c < r, with r the closest length for each hypothesis; nothing where c >= r."""
    long, short = "a b c d e f g h i j", "a b c d e"
    cases = [
        ([short], [[long]]), ([long], [[short]]), ([short, long], [[long], [short]]), ([short, short], [[long, short], [long]]),
        ([short], [["a b c", "a b c d e f g"]]), ([short], [["a b c d e f g", "a b c"]]), (["", long], [[long], [long]]),
        ([short], [["a b c d e f", "a b c d x"]]), (["a b c d", "a b c d e f"], [["a b c d e f"], ["a b c d"]]),
        ([short], [["a b c d", "a b c d e f"]]), ([short], [["a b c d e f", "a b c d"]]),
        (["a b c d", long], [["", long], [long]]), (["don't , stop me now ."], [["do n't stop me now !", "Don't , stop me ."]]),
    ]  # fmt: skip
    for hypotheses, references in cases:
        check(student, reference, hypotheses, references, hint="of two lengths as close, r is the shorter")
    actual = student.bleu((short, long), ((long,), (short, long)))
    assert_close(actual, reference.bleu([short, long], [[long], [short, long]]), what="the score, tuples in place of lists")


@exercise("bleu", points=0.5)
@settings(max_examples=6)
@given(seed=seeds(), max_order=st.integers(1, 6))
@example(seed=1, max_order=1)
@example(seed=1, max_order=2)
def test_other_orders(student, reference, seed, max_order):
    """max_order says up to which n; the root is as high."""
    check(student, reference, *corpus(seed, 3, 2, 12, 5), max_order, where=f" with max_order={max_order}")


@exercise("bleu", points=0.5)
def test_lists_that_do_not_fit_are_refused(student):
    """Too few or no references, no hypotheses, plain strings in the place of lists."""
    for hypotheses, references in (
        (["a b", "c d"], [["a b"]]), (["a b"], [["a b"], ["c d"]]), ([], []), (["a b", "c"], [["a b"], []]), ("a b", ["a b"]),
        (["a b c d"], ["a b c d"]), (["a"], ["b"]), ("a", [["a"]]),
        (["a b", "c d"], [["a b"], "c d"]), (["a b", "c d"], [[], ["c d"]]),
    ):  # fmt: skip
        assert_refused(student.bleu, hypotheses, references, why="each hypothesis needs a list of references, and at least one")
