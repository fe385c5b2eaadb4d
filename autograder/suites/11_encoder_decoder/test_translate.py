"""translate: what is written, and how much work it takes."""

import torch

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import SMALL, mask_of, model_weights, random_ids

CONFIG = SMALL | {"vocab_size": 7, "d_model": 12, "d_ff": 8}
START, EOS = 0, 1
HINT = "encode once; the likeliest token after the last one, until eos_id or max_new_tokens"


def problem(seed, b=3, n=5):
    """The weights of a model that writes varied texts and ends some of them, sources and their lengths."""
    weights = model_weights(CONFIG, seed)
    for name, scale in (("token_embedding", 2.0), ("encoder_bias.embedding", 3.0), ("decoder_bias.embedding", 3.0)):
        weights[f"{name}.weight"] *= scale
    weights["decoder_norm.weight"] = normal(seed + 2, 12) - 1.0  # or else each token is followed by itself
    source = random_ids(7, seed + 1, b, n)
    lengths = torch.randint(1, n + 1, (b,), generator=torch.Generator().manual_seed(seed)).tolist()
    return weights, source, lengths


def check(student, reference, seed, b, n_new, masked=True, **options):
    """The same texts as the reference's, and nothing else changed."""
    weights, source, lengths = problem(seed, b)
    mask = mask_of(lengths, 5) if masked else None
    args = CONFIG, weights, source, START, EOS, n_new, mask
    actual, changed = student.run(scenarios.translated, *args, **options)
    expected, _ = reference.run(scenarios.translated, *args, **options)
    said = ", ".join(f"{name}={value}" for name, value in options.items())
    assert_equal(actual, expected, what=f"the translations of {b} sources, {n_new} tokens at most ({said})", hint=HINT)
    assert_equal(changed, [], what="what else the call changed")


@exercise("translate", points=2.5, core=True)
@settings(max_examples=4)
@given(seed=seeds(), b=sizes(1, 4), n_new=sizes(1, 9), masked=st.booleans(), use_cache=st.booleans())
@example(seed=9, b=4, n_new=9, masked=True, use_cache=True)
@example(seed=13, b=4, n_new=9, masked=False, use_cache=False)
def test_greedy_translations(student, reference, seed, b, n_new, masked, use_cache):
    """The likeliest token each time, until eos_id, which is not returned, or until there are max_new_tokens."""
    check(student, reference, seed, b, n_new, masked, use_cache=use_cache)


@exercise("translate", points=2, core=True)
@settings(max_examples=2)
@given(
    seed=seeds(), b=sizes(1, 3), n_new=sizes(1, 6), beam_size=sizes(2, 4), penalty=st.sampled_from([0.0, 1.0]),
    use_cache=st.booleans(),
)  # fmt: skip
@example(seed=13, b=3, n_new=7, beam_size=3, penalty=0.0, use_cache=True)
@example(seed=3, b=3, n_new=7, beam_size=4, penalty=1.0, use_cache=True)
@example(seed=4, b=2, n_new=6, beam_size=2, penalty=2.0, use_cache=False)
@example(seed=9, b=1, n_new=4, beam_size=9, penalty=0.0, use_cache=True)
def test_beam_translations(student, reference, seed, b, n_new, beam_size, penalty, use_cache):
    """The best result of module 08's beam search, for each source, with and without the cache, also wider than the vocabulary."""
    check(student, reference, seed, b, n_new, beam_size=beam_size, length_penalty=penalty, use_cache=use_cache)


@exercise("translate", points=1.5, core=True)
def test_nothing_is_computed_twice_with_the_cache(student, reference):
    """Matrix products: the source is encoded and projected once, and each new token is read once, alone."""
    weights, source, _ = problem(7, b=2, n=8)
    hint = "project the context once for each block, and give decode the last token and the past"
    for options, n_new in (({}, 6), ({"beam_size": 3}, 6), ({}, 20)):
        args = CONFIG, weights, source, START, -1, n_new
        found, flops, _ = student.run(scenarios.translating_flops, *args, **options)
        expected, needed, _ = reference.run(scenarios.translating_flops, *args, **options)
        assert_equal(found, expected, what=f"the translations ({options})", hint=HINT)
        assert 0 < flops <= 1.2 * needed, (
            f"2 sources, {n_new} new tokens, {options}: {flops:,} floating-point operations; {needed:,} are enough\n"
            f"  hint: {hint}"
        )


@exercise("translate", points=0.5)
def test_without_the_cache_the_text_is_read_again(student, reference):
    """That is what the cache is compared with; even so the source is encoded once."""
    weights, source, _ = problem(8, b=1, n=12)
    args = CONFIG, weights, source, START, -1, 6
    for beam_size in (1, 2):
        options = {"beam_size": beam_size, "use_cache": False}
        found, flops, read = student.run(scenarios.translating_flops, *args, **options)
        expected, needed, _ = reference.run(scenarios.translating_flops, *args, **options)
        _, cached, _ = reference.run(scenarios.translating_flops, *args, beam_size=beam_size)
        assert_equal(found, expected, what=f"the translations ({options})", hint=HINT)
        again = f"with use_cache=False the decoder reads the whole text again for every token ({options})"
        assert flops > (cached + needed) / 2, again
        once = f"the encoder reads {read} texts where there is one source ({options})"
        assert read <= 1, f"{once}\n  hint: call encode once for each source"
        if beam_size == 1:
            assert flops <= 1.2 * needed, f"{flops:,} floating-point operations, {needed:,} are enough"


@exercise("translate", points=1.5)
@settings(max_examples=1)
@given(seed=seeds(), b=sizes(2, 4), beam_size=sizes(1, 3), use_cache=st.booleans())
@example(seed=9, b=4, beam_size=1, use_cache=True)
@example(seed=14, b=2, beam_size=2, use_cache=True)
def test_each_source_is_translated_as_if_alone(student, seed, b, beam_size, use_cache):
    """Whatever stands beside it or in its padding, and whenever the others end."""
    weights, source, lengths = problem(seed, b)
    options = {"beam_size": beam_size, "use_cache": use_cache}
    args = CONFIG, weights, source, START, EOS, 7
    together, _ = student.run(scenarios.translated, *args, mask_of(lengths, 5), **options)
    alone = student.run(scenarios.translated_alone, *args, lengths, **options)
    assert_equal(together, alone, what=f"the translations of a batch, beside those of each source alone ({options})")


@exercise("translate", points=0.5)
@settings(max_examples=1)
@given(seed=seeds(), penalty=st.sampled_from([0.0, 1.0, 5.0]))
@example(seed=9, penalty=5.0)
def test_a_beam_of_one_is_greedy_whatever_the_penalty(student, reference, seed, penalty):
    """All arguments by position."""
    weights, source, lengths = problem(seed, 4)
    args = CONFIG, weights, source, START, EOS, 7, mask_of(lengths, 5)
    actual = student.run(scenarios.translated_by_position, *args, 1, penalty, True)
    expected, _ = reference.run(scenarios.translated, *args)
    assert_equal(actual, expected, what=f"the translations with a beam of 1 and a penalty of {penalty}")


@exercise("translate", points=0.5)
def test_the_ends_of_a_translation(student, reference):
    """No tokens at all, an eos_id that never comes, one that comes at once or is the start_id; lists of lists of ints."""
    weights, source, _ = problem(9)
    (text, *_), _ = student.run(scenarios.translated, CONFIG, weights, source[:1], START, -1, 70)
    assert_equal(len(text), 70, what="the length of a translation that never ends, 70 tokens at most")
    for beam_size in (1, 2):
        options = {"beam_size": beam_size}
        found, _ = student.run(scenarios.translated, CONFIG, weights, source, START, EOS, 0, **options)
        assert_equal(found, [[], [], []], what="the translations of 0 tokens")
        args = CONFIG, weights, source, 2, 2, 6
        actual, expected = (each.run(scenarios.translated, *args, **options)[0] for each in (student, reference))
        assert_equal(actual, expected, what="the translations with one token as start_id and eos_id")
        found, _ = student.run(scenarios.translated, CONFIG, weights, source, START, -1, 6, **options)
        assert_equal([len(text) for text in found], [6, 6, 6], what="the lengths of translations that never end")
        at_once = int(found[0][0])
        for eos_id in dict.fromkeys((at_once, found[2][1])):
            args = CONFIG, weights, source, START, eos_id, 6
            actual, expected = (each.run(scenarios.translated, *args, **options)[0] for each in (student, reference))
            assert_equal(actual, expected, what=f"the translations with eos_id={eos_id}", hint="cut before the first eos_id")
        kinds = student.run(scenarios.kinds_of_translations, CONFIG, weights, source, START, EOS, 5, **options)
        assert_equal(kinds, True, what="whether what comes back is a list of lists of ints")


@exercise("translate", points=0.5)
def test_the_model_stays_as_it_is_and_can_be_trained(student, reference):
    """In train mode if it was, without gradients and graphs; afterwards it learns, and the new weights count."""
    weights, source, _ = problem(10)
    for beam_size in (1, 2):
        args = CONFIG, weights, source, START, EOS, 6
        actual, expected = (
            each.run(scenarios.translated_in_train_mode, *args, beam_size=beam_size) for each in (student, reference)
        )
        assert_equal(actual, expected, what="(translations, what became of the model, translations with other weights)")
    kept = student.run(scenarios.translating_keeps_a_graph, CONFIG, weights, source, START, EOS, 3)
    assert_equal(kept, False, what="whether gradients are recorded on the way", hint="torch.no_grad()")


@exercise("translate", points=0.5)
def test_translations_that_make_no_sense_are_refused(student):
    """A negative number of tokens, no beam."""
    weights, source, _ = problem(11)

    def run(max_new_tokens, **options):
        return student.run(scenarios.translated, CONFIG, weights, source, START, EOS, max_new_tokens, **options)

    for use_cache in (True, False):
        for n, beam_size in ((-1, 1), (-1, 2), (3, 0), (3, -2)):
            options = {"beam_size": beam_size, "use_cache": use_cache}
            why = "max_new_tokens is negative" if n < 0 else "there is no beam without texts"
            assert_refused(called("translate", run), max_new_tokens=n, why=why, **options)
