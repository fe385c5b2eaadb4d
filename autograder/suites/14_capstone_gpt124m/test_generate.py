"""Sampling, generation with a stand-in for the model, and files."""

import math

import torch

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import given, normal, seeds, settings, sizes, st

from . import probes
from .truth import SMALL, TORCH_DTYPES, model_sizes, published, random_weights, read_safetensors, tensors_in

# next_token


def distribution(logits, temperature=1.0, top_k=None, top_p=None):
    """The probability of each token, from the words of the exercise."""
    logits = logits.double() / temperature
    order = logits.argsort(descending=True).tolist()[: top_k or None]
    probs = logits[order].softmax(-1)
    result, total = torch.zeros(len(logits), dtype=torch.float64), 0.0
    for token, p in zip(order, probs.tolist()):
        if top_p is not None and total >= top_p:
            break
        result[token] = p
        total += p
    return result / result.sum()


def check_frequencies(student, logits, seed, options, given=""):
    """Of 500 draws, each token has its share, five standard deviations more or less; and nothing else changed."""
    tokens, left = student.run(probes.draws, logits, 500, seed, options)
    assert left["all are ints"], f"with {given or options}, next_token should return an int"
    assert left["logits are as they were"], "next_token changed the logits that it was given"
    assert not left["changed for everyone"], f"changed for everyone: {', '.join(left['changed for everyone'])}"
    expected, found = distribution(logits, **options), tokens.bincount(minlength=len(logits)).double() / 500
    for token in range(len(logits)):
        far = 5 * math.sqrt(expected[token] * (1 - expected[token]) / 500)
        assert abs(found[token] - expected[token]) <= far, (
            f"with {given or options}, token {token} should come with probability {expected[token]:.3f},"
            f" it came in {found[token]:.3f} of 500 draws"
            "\n  hint: divide by the temperature, keep top_k, renormalise, keep the nucleus, draw"
        )


@exercise("next_token", points=0.5, core=True)
@settings(max_examples=4)
@given(
    seed=seeds(),
    vocab=sizes(2, 8),
    temperature=st.sampled_from((0.5, 1.0, 1.7)),
    k=sizes(0, 9),
    p=st.sampled_from((None, 0.3, 0.6, 0.85)),
)
def test_tokens_come_as_often_as_their_probability_after_the_filters_says(student, seed, vocab, temperature, k, p):
    """Temperature, then top-k, then the nucleus of what is left, renormalised; ints; logits as they were."""
    logits = normal(seed, vocab, scale=1.5, dtype=torch.float64 if seed % 2 else torch.float32)
    check_frequencies(student, logits, seed, {"temperature": temperature, "top_k": k or None, "top_p": p})


@exercise("next_token", points=1)
@settings(max_examples=4)
@given(seed=seeds(), vocab=sizes(1, 9))
def test_the_most_probable_token_is_taken_without_chance(student, seed, vocab):
    """At temperature 0, with top_k=1, with the smallest top_p, and temperatures next to 0; in any dtype, with -inf."""
    logits = normal(seed, vocab, scale=3.0)
    logits[seed % vocab] = logits.max() + 0.5
    if vocab > 2:
        logits[(seed + 1) % vocab] = -math.inf
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        for options in (
            {"temperature": 0},
            {"top_k": 1},
            {"top_p": 1e-9},
            {"temperature": 1e-4},
            {"temperature": 1e-40, "top_p": 1.0},
        ):
            tokens, left = student.run(probes.draws, logits.to(dtype), 2, seed, options)
            assert_equal(tokens.tolist(), [seed % vocab] * 2, what=f"two draws with {options} in {dtype}")
            assert left["all are ints"], f"with {options} in {dtype}, a token should be an int"
            quiet = left["the generator is as it was"] or options != {"temperature": 0}
            assert quiet, "at temperature 0 the generator moved on: nothing is drawn then"


@exercise("next_token", points=0.5, core=True)
def test_filters_leave_what_they_should_in_this_order(student):
    """Temperature before the filters, top-k before the nucleus, which is the smallest that reaches top_p; or none."""
    seven = torch.tensor([0.4, *[0.1] * 6], dtype=torch.float64).log()
    check_frequencies(student, seven, 1, {}, given="probabilities of 0.4 and six times 0.1, and no filters")
    four = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
    tokens, _ = student.run(probes.draws, four, 60, 1, {"top_k": 2, "top_p": 0.5})
    assert_equal(sorted(set(tokens.tolist())), [0], what="the tokens drawn of 0.4, 0.3, 0.2, 0.1 with top_k=2 and then top_p=0.5")
    tokens, _ = student.run(probes.draws, four, 60, 1, {"temperature": 0.2, "top_p": 0.7})
    assert_equal(
        sorted(set(tokens.tolist())), [0], what="the tokens drawn of 0.4, 0.3, 0.2, 0.1 at temperature 0.2 with top_p=0.7"
    )
    hint = "the token with which the probabilities reach top_p belongs to the nucleus, and none after it"
    for p, n in ((0.3, 1), (0.65, 2), (0.75, 3), (0.95, 4)):
        tokens, _ = student.run(probes.draws, four, 200, 1, {"top_p": p})
        what = f"the tokens drawn of 0.4, 0.3, 0.2, 0.1 with top_p={p}"
        assert_equal(sorted(set(tokens.tolist())), list(range(n)), what=what, hint=hint)


@exercise("next_token", points=0.5)
def test_what_is_drawn_does_not_hang_on_rounding(student):
    """Sums of many are exact, low temperatures do not overflow, a nucleus may end on a token's edge, -inf is never drawn."""
    close = torch.tensor([5.0, 5.0 + 1e-9], dtype=torch.float64)
    for temperature in (0, 1e-12, 1e-308):
        tokens, _ = student.run(probes.draws, close, 5, 1, {"temperature": temperature})
        what = f"the tokens drawn of the logits 5 and 5 + 1e-9 in float64 at temperature {temperature}"
        hint = "work in float64, and subtract the maximum before you divide: the largest is 0 then and cannot overflow"
        assert_equal(tokens.tolist(), [1] * 5, what=what, hint=hint)
    for n, p in ((2, 0.5), (4, 0.5), (4, 0.25), (8, 0.625)):
        tokens, _ = student.run(probes.draws, torch.zeros(n), 60, 1, {"top_p": p})
        n_drawn = len(set(tokens.tolist()))
        assert n_drawn == n * p, (
            f"of {n} tokens of probability {1 / n}, {n * p:.0f} reach top_p={p} together, and {n_drawn} were drawn"
            "\n  hint: a token stays if those before it have less than top_p together, not as much"
        )
    flat = torch.zeros(1000, dtype=torch.float16)
    tokens, _ = student.run(probes.draws, flat, 30, 1, {"top_p": 0.9})
    assert len(set(tokens.tolist())) > 15, (
        "of 1000 equal tokens in half precision, only a few were ever drawn\n  hint: add up in float64"
    )
    many = student.run(probes.draws, torch.linspace(0, -1e-3, 50257), 20, 1, {"temperature": 0.9})[0]
    assert max(many.tolist()) > 5000, "of 50257 tokens that are about equal, none beyond the first 5000 was drawn in 20 draws"
    for temperature in (1e-3, 1e-9, 1e-15):
        three = torch.tensor([-50.0, 0.0, 0.0], dtype=torch.float64) * temperature
        tokens, _ = student.run(probes.draws, three, 60, 1, {"temperature": temperature})
        what = f"the tokens drawn of the logits -50, 0 and 0, all times {temperature:g}, at temperature {temperature:g}"
        hint = "only a temperature of 0 takes the most probable token; any other divides the logits, however low it is"
        assert_equal(sorted(set(tokens.tolist())), [1, 2], what=what, hint=hint)
    flat[7:] = -math.inf
    tokens, _ = student.run(probes.draws, flat, 60, 1, {"top_k": 500, "top_p": 1.0})
    assert max(tokens.tolist()) < 7, "a token whose logit is -inf was drawn"


@exercise("next_token", points=0.5)
def test_one_generator_gives_one_sequence_and_bad_arguments_are_refused(student):
    """Its own generator, or the global random state where there is none; temperature 0 draws nothing."""
    logits = torch.zeros(50)
    first, again, other = (student.run(probes.draws, logits, 12, seed, {})[0] for seed in (1, 1, 2))
    assert_equal(again, first, what="twelve draws from the same generator")
    alike = torch.equal(first, other)
    assert not alike, "two seeds gave the same twelve draws"
    assert len(set(first.tolist())) > 4, f"twelve draws from one generator should differ, got {first.tolist()}"
    first, again, other = student.run(probes.draws_globally, logits, 12, [1, 1, 2], {})
    assert_equal(again, first, what="twelve draws after the same torch.manual_seed")
    assert first != other, "without a generator, the global random state should decide"
    bad = [{"temperature": -1.0}, {"temperature": math.inf}, {"temperature": math.nan}, {"top_k": 0}, {"top_k": -1}]
    bad += [{"top_p": 0.0}, {"top_p": 1.5}, {"top_p": -0.5}, {"temperature": 0, "top_k": 0}]
    good = [{"top_k": 50}, {"top_k": 51}, {"top_p": 1.0}, {"temperature": 0, "top_k": 3, "top_p": 0.5}]
    answers = student.run(probes.draws_refused, logits, bad + good)
    for i, (options, was_refused) in enumerate(zip(bad + good, answers, strict=True)):
        assert was_refused == (i < len(bad)), f"next_token with {options} should{'' if i < len(bad) else ' not'} be refused"


# generate


QUIET = {"all are ints": True, "the prompt is as it was": True, "changed for everyone": []}


@exercise("generate", points=2, core=True)
@settings(max_examples=20)
@given(seed=seeds(), vocab=sizes(2, 9), t=sizes(1, 6), n=sizes(0, 8), spare=sizes(0, 2))
def test_greedy_tokens_are_those_of_reading_the_whole_text_at_every_step(student, reference, seed, vocab, t, n, spare):
    """The prompt from a list or a tensor; ints; not the prompt itself."""
    spec = (seed, vocab, max(1, t + n - 1 + spare))
    ids = torch.randint(vocab, (t,), generator=torch.Generator().manual_seed(seed)).tolist()
    tokens, _, _, left = student.run(probes.generated, spec, ids, n, {"temperature": 0}, as_tensor=bool(seed % 2))
    assert_equal(tokens, reference.run(probes.greedily, spec, ids, n), what=f"the {n} tokens after {ids}")
    assert_equal({key: left[key] for key in QUIET}, QUIET, what="what generate left behind")


@exercise("generate", points=1)
@settings(max_examples=15)
@given(seed=seeds(), vocab=sizes(2, 9), context=sizes(1, 5), t=sizes(1, 9), n=sizes(1, 9))
def test_past_the_context_the_window_moves_on(student, reference, seed, vocab, context, t, n):
    """The last context_length tokens are read, each at its new position; a long prompt is cropped from the start."""
    spec = (seed, vocab, context)
    ids = torch.randint(vocab, (t,), generator=torch.Generator().manual_seed(seed)).tolist()
    tokens, _, _, _ = student.run(probes.generated, spec, ids, n, {"temperature": 0})
    hint = "when the window moves every position changes: empty the cache and read the window anew"
    assert_equal(tokens, reference.run(probes.greedily, spec, ids, n), what=f"the {n} tokens after {ids}", hint=hint)


@exercise("generate", points=1)
@settings(max_examples=15)
@given(
    seed=seeds(),
    t=sizes(1, 6),
    n=sizes(1, 8),
    temperature=st.sampled_from((0.7, 1.0, 2.0)),
    k=sizes(0, 5),
    p=st.sampled_from((None, 0.7)),
    stop=sizes(0, 3),
)
def test_sampled_tokens_are_next_token_s_one_after_the_other(student, seed, t, n, temperature, k, p, stop):
    """All options are handed on, the generator is used once a token; a stop token ends the text and is not part of it."""
    spec = (seed, 9, 7)
    ids = torch.randint(9, (t,), generator=torch.Generator().manual_seed(seed)).tolist()
    options = {
        "temperature": temperature,
        "top_k": k or None,
        "top_p": p,
        "stop": [0, 3, 5] if stop == 0 else ids[:1] if stop == 1 else (),
    }
    tokens, expected, _, _ = student.run(probes.generated, spec, ids, n, options, seed=seed)
    assert_equal(tokens, expected, what=f"the tokens after {ids} with {options}")
    if stop == 1:
        tokens, _, _, _ = student.run(probes.generated, (seed, 1, 7), [0], n, options | {"stop": [0]}, seed=seed)
        assert_equal(tokens, [], what="the tokens after [0] with stop=[0], where 0 is the only token of all")


@exercise("generate", points=1, core=True)
def test_each_token_is_read_once_and_only_when_somebody_asks(student):
    """The prompt at once, then one token a step; nothing before the first id is asked for, nothing after the last."""
    spec, ids = (3, 9, 20), [1, 2, 3, 4, 5]
    _, read = student.run(probes.read_for, spec, ids, 8)
    hint = "through the cache, the model needs the new token alone"
    assert sum(read) <= 12, f"for 8 tokens after 5, the model read {sum(read)} tokens, {read}; 12 are enough\n  hint: {hint}"
    _, read = student.run(probes.read_for, (3, 9, 6), ids, 4)
    assert sum(read) <= 5 + 1 + 6 + 6, f"with a context of 6, 4 tokens after 5 take 5 + 1 + 6 + 6 tokens to read, not {read}"
    _, read = student.run(probes.read_for, spec, ids, 0)
    assert sum(read) == 0, f"for no token, the model read {read}"
    seen = student.run(probes.steps_of, spec, ids, 4, 4)
    assert seen[0][0] == 0, f"the model read {seen[0][0]} tokens before anybody asked for an id"
    counts = [count for count, _ in seen[1:]]
    assert counts[0] <= 5 and counts[-1] <= 8, (
        f"after 1, 2, 3 and 4 ids the model had read {counts} tokens; [5, 6, 7, 8] are enough"
    )
    recording = [grad for _, grad in seen]
    assert_equal(recording, [True] * 5, what="whether gradients are recorded between the ids", hint="no yield inside of no_grad")


@exercise("generate", points=1)
def test_modes_are_left_alone_and_bad_arguments_are_refused(student, reference):
    """No graph, whatever the caller's mode; two generations at once do not meet; an empty prompt is refused."""
    spec, ids = (5, 9, 6), [1, 2, 3]
    for training in (True, False):
        for recording in (True, False):
            arguments = {"training": training, "recording": recording, "seed": 2}
            _, _, read, left = student.run(probes.generated, spec, ids, 5, {"top_k": 4}, **arguments)
            wanted = QUIET | {
                "modes and whether a graph was recorded": [(training, False)],
                "the mode afterwards": training,
                "recording afterwards": recording,
            }
            assert_equal(left, wanted, what="what generate left behind")
    recording = student.run(probes.recording_after_a_failure, spec, ids)
    assert recording, "the model raised, and afterwards no gradients are recorded any more\n  hint: `with torch.no_grad():`"
    for prompts in (([1, 2], [3]), ([1, 2], [3, 4])):
        both = student.run(probes.generations_at_once, spec, *prompts, 6)
        expected = [reference.run(probes.greedily, spec, prompt, 6) for prompt in prompts]
        assert_equal(both, expected, what=f"the tokens of two generations after {prompts} that take turns")
    one, same, other = student.run(probes.generated_globally, spec, ids, 12, [1, 1, 2])
    assert_equal(same, one, what="12 tokens without a generator after the same torch.manual_seed")
    assert one != other, "without a generator, the global random state should decide; two states gave the same 12 tokens"
    bad = [
        ([], 3, {}),
        ([], 0, {}),
        ([1], -1, {}),
        ([1], 2, {"temperature": -1.0}),
        ([1], 2, {"top_k": 0}),
        ([1], 2, {"temperature": 0, "top_k": 0}),
        ([1], 2, {"top_p": 0.0}),
    ]
    answers = student.run(probes.generations_refused, spec, [*bad, ([1], 0, {}), ([1], 1, {"top_p": 1.0})])
    for case, was_refused in zip(bad, answers):
        assert was_refused, f"generate with (ids, max_new_tokens, options) = {case} should be refused"
    for case, was_refused in zip(("max_new_tokens=0", "top_p=1.0"), answers[-2:], strict=True):
        assert not was_refused, f"generate with {case} should not be refused"


# write_safetensors


def some_tensors(seed, kinds="F32"):
    """Tensors by name, of the format's dtypes in turn."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3,), (2, 3), (), (1, 2, 3), (0,), (4, 0, 2), (5, 1), (7,)]
    tensors = {}
    for i, shape in enumerate(shapes):
        dtype = TORCH_DTYPES[kinds[(i + seed) % len(kinds)]]
        x = torch.randint(-100, 100, shape, generator=generator)
        tensors[("w.", "h.0.", "é", "")[i % 4] + "zyxwvuts"[i]] = x.abs().to(dtype) if dtype == torch.uint8 else x.to(dtype)
    return tensors


def check_file(data, tensors):
    try:
        header, start = read_safetensors(data)
    except ValueError as error:
        hint = "the first eight bytes count the header's bytes, spaces included, and not its characters"
        raise AssertionError(f"this is no file of the format: {error}\n  hint: {hint}") from None
    header.pop("__metadata__", None)
    assert_equal(sorted(header), sorted(tensors), what="the names in the header")
    for name, x in tensors.items():
        entry = dict(header[name])
        begin, end = entry.pop("data_offsets")
        dtype = next(key for key, value in TORCH_DTYPES.items() if value == x.dtype)
        assert_equal(
            entry, {"dtype": dtype, "shape": list(x.shape)}, what=f"the header's entry for {name!r}, without data_offsets"
        )
        assert_equal(end - begin, x.numel() * x.element_size(), what=f"the bytes of {name!r} by its data_offsets")
    assert_equal(
        tensors_in(data), tensors, what="the tensors", hint="contiguous, little-endian, offsets counted from the header's end"
    )
    spans = sorted(entry["data_offsets"] for entry in header.values())
    end = 0
    for begin, stop in spans:
        assert begin == end or begin == stop, f"data_offsets {spans} leave a gap or overlap"
        end = max(end, stop)
    assert_equal(len(data) - start, end, what="the number of bytes of data")


@exercise("write_safetensors", points=2, core=True)
@settings(max_examples=15)
@given(seed=seeds(), metadata=st.sampled_from((None, {"format": "pt"}, {"a": "é\n", "b": ""})))
def test_a_reader_of_the_format_finds_the_tensors(student, seed, metadata):
    """Of every dtype and shape, scalars and empty ones too; the metadata, where there is any."""
    tensors = some_tensors(seed, list(TORCH_DTYPES))
    data, same, files = student.run(probes.written, tensors, metadata)
    check_file(data, tensors)
    header, _ = read_safetensors(data)
    assert_equal(header.get("__metadata__", {}), metadata or {}, what="the metadata")
    assert same, "a tensor was changed"
    assert_equal(files, ["x.safetensors"], what="the files in the folder")


@exercise("write_safetensors", points=1)
@settings(max_examples=12)
@given(seed=seeds(), n=sizes(0, 8))
def test_data_begin_at_multiples_and_have_no_gaps(student, seed, n):
    """The header is filled up with spaces to a multiple of 8, each tensor begins at one of its element size."""
    tensors = dict(list(some_tensors(seed, list(TORCH_DTYPES)).items())[:n])
    data, _, _ = student.run(probes.written, tensors)
    check_file(data, tensors)
    header, start = read_safetensors(data)
    assert "__metadata__" not in header, "without metadata, the header should have no '__metadata__'"
    assert start % 8 == 0, f"the data begin at byte {start}, not at a multiple of 8\n  hint: spaces at the header's end"
    assert not data[8:start].rstrip(b" ")[-1:].isspace(), "the header is filled up with something else than spaces"
    assert data[8:9] == b"{", "the header should begin with '{', right after its length\n  hint: spaces at the header's end"
    for name, entry in header.items():
        size = TORCH_DTYPES[entry["dtype"]].itemsize
        assert entry["data_offsets"][0] % size == 0, (
            f"{name!r} has elements of {size} bytes and begins at {entry['data_offsets'][0]}"
        )


@exercise("write_safetensors", points=1)
def test_tensors_may_lie_in_memory_in_any_way(student, generator):
    """Transposed, strided, overlapping, expanded, in training; what the format has no name for is refused."""
    tensors = {
        "a": normal(generator, 3, 4),
        "b": normal(generator, 2, 3, 2, dtype=torch.float32),
        "c": torch.arange(6).view(2, 3),
    }
    for how in ("scattered", "strided", "trained"):
        data, same, _ = student.run(probes.written, tensors, how=how)
        check_file(data, tensors)
        assert same, "a tensor was changed, or moved in memory\n  hint: tensor.contiguous() is another one where it has to be"
    x = normal(generator, 5, 2)
    data = student.run(probes.written_shared, x)
    check_file(data, {"a": x[:3], "b": x[1:], "c": x, "d": x, "e": x[:1].expand(4, 2)})
    cases = [{"z": "complex64"}, {"a": "float32", "z": "complex128"}, {"__metadata__": "float32"}, {"a": "bool"}]
    for case, was_refused in zip(cases, student.run(probes.writes_refused, cases), strict=True):
        wanted = case != {"a": "bool"}
        assert was_refused == wanted, f"tensors of {case} should{'' if wanted else ' not'} be refused"


# export


@exercise("export", points=2, core=True)
@settings(max_examples=10)
@given(config=model_sizes(), seed=seeds(), dtype=st.sampled_from((torch.float32, torch.bfloat16, torch.float64)))
def test_the_file_has_the_published_names_and_layout(student, config, seed, dtype):
    """Without lm_head; the linear weights as (in, out), the square ones too; the model's dtype; metadata for transformers."""
    weights = random_weights(config, seed, dtype)
    data, _, _, same, changed = student.run(probes.exported, config, weights, "model.safetensors")
    check_file(data, published(weights))
    assert_equal(read_safetensors(data)[0].get("__metadata__"), {"format": "pt"}, what="the metadata")
    assert same and not changed, f"the model was changed: {not same}; changed for everyone: {changed}"


@exercise("export", points=1)
def test_config_json_lies_beside_the_weights(student, reference):
    """In a folder that is made for both; with the sizes of the model."""
    for config, path in (
        (SMALL | {"dropout": 0.1}, "out/of/here/w.safetensors"),
        (SMALL | {"n_layers": 1}, "x/model.safetensors"),
    ):
        weights = random_weights(config, 1, torch.float32)
        _, described, files, _, _ = student.run(probes.exported, config, weights, path)
        assert_equal(files, sorted(["config.json", path.rpartition("/")[2]]), what="the files in the folder")
        _, expected, _, _, _ = reference.run(probes.exported, config, weights, path)
        assert_equal(described, expected, what="config.json")
