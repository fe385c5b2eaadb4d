"""Streams of text and requests, with stand-ins for the model, the tokenizer and generate."""

import json
import math

import torch

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import example, given, settings, sizes, st

from . import probes

SOME_TEXT = st.text(st.sampled_from("aZ 9\nßéñ€हि漢字😀🧑\u0301\ufeff"), max_size=12)
# A character for each way in which UTF-8 begins one: C2, DF, E0 A0, E0 A4, E1, ED, EE, EF, F0, F1, F4.
EACH_BEGINNING = "".join(map(chr, (0x80, 0x7FF, 0x800, 0x939, 0x1000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x40000, 0x10FFFF)))
DEFAULTS = {"max_new_tokens": 64, "temperature": 1.0, "top_k": None, "top_p": None, "seed": None, "stream": False}

# decode_stream


@exercise("decode_stream", points=2, core=True)
@settings(max_examples=30)
@given(data=st.one_of(st.binary(max_size=14), SOME_TEXT.map(str.encode)), cuts=st.lists(sizes(0, 13), max_size=6))
@example(data=b"abc\xf0\x9f", cuts=[2, 2, 4])  # a character that never ends, after text that has been shown
@example(data=b"a\xff\xff", cuts=[1, 2, 2])
def test_the_pieces_together_are_the_decoded_text(student, data, cuts):
    """Whatever the bytes are and however tokens cut them; no piece is empty; all ids are read, and not before the first piece."""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in zip(places, places[1:])] + [b"", b"!"]
    ids = [*range(len(pieces) - 2), *([len(pieces) - 2] if len(cuts) % 2 else []), *([len(pieces) - 1] if len(cuts) % 3 else [])]
    seen, n_asked = student.run(probes.streamed, pieces, ids)
    expected = b"".join(pieces[i] for i in ids).decode("utf-8", errors="replace")
    assert_equal("".join(text for text, _ in seen), expected, what=f"the text of {[pieces[i] for i in ids]}")
    assert all(text for text, _ in seen), "a piece is empty"
    assert_equal(n_asked, len(ids), what="the number of ids that were asked for")
    seen, _ = student.run(probes.streamed, None, list(b"abcd"))
    at_once = [text for text, asked in seen if asked < 4]
    assert at_once, "of b'abcd', no piece came before all ids had been asked for\n  hint: decode as the ids come, one by one"


@exercise("decode_stream", points=1)
@settings(max_examples=20)
@given(text=SOME_TEXT)
@example(text=EACH_BEGINNING)
def test_a_character_comes_with_its_last_byte_and_not_before(student, text):
    """Each byte a token: a piece a character, as soon as the last of its bytes is there."""
    data = text.encode()
    seen, _ = student.run(probes.streamed, None, list(data))
    expected, n = [], 0
    for character in text:
        n += len(character.encode())
        expected.append((character, n))
    hint = "wait while the decoded text ends with U+FFFD; do not ask for the next id before yielding"
    assert_equal(seen, expected, what="[(piece, ids asked for by then), …]", hint=hint)
    both = student.run(probes.streams_at_once, list(data), list(b"ab" + data))
    assert_equal(both, [text, "ab" + text], what="the texts of two streams that take turns, one of an iterator, one of a list")
    pieces, ids = [b"\xf0\x9f", b"", b"\x98\x80", b"\xff"], [0, *[1] * 40, 2]
    assert_equal(student.run(probes.streamed, pieces, ids)[0], [("😀", 42)], what="a character with 40 empty tokens in it")
    seen, _ = student.run(probes.streamed, [b"\xff", b"a", b"b"], [0, 1, 2])
    by_then = ["".join(text for text, asked in seen if asked <= n) for n in (2, 3)]
    hint = "a U+FFFD in the middle is no character that has only begun: ask how the text ends"
    what = r"the text after two and after three of the ids of b'\xff', b'a' and b'b'"
    assert_equal(by_then, ["\ufffda", "\ufffdab"], what=what, hint=hint)
    seen, _ = student.run(probes.streamed, pieces, [*[3] * 40, 0, 2])
    assert_equal("".join(text for text, _ in seen), "\ufffd" * 40 + "😀", what="the text after 40 bytes that are none")


# parse_request


def body_of(**fields):
    return json.dumps(fields).encode()


@exercise("parse_request", points=1, core=True)
@settings(max_examples=25)
@given(
    prompt=SOME_TEXT.filter(bool),
    n=sizes(0, 50),
    temperature=st.sampled_from((0.0, 0.5, 3.25, 1e300)),
    k=st.sampled_from((None, 1, 10**6)),
    p=st.sampled_from((None, 1e-3, 0.5, 1.0)),
    seed=st.sampled_from((None, 0, 7, 2**63 - 1)),
    stream=st.booleans(),
    left_out=st.sets(sizes(0, 5)),
)
@example(prompt="a", n=0, temperature=0.0, k=1, p=1.0, seed=0, stream=True, left_out=set())
@example(prompt="a", n=50, temperature=1e300, k=10**6, p=1e-3, seed=2**63 - 1, stream=False, left_out=set())
def test_all_fields_are_there_with_their_values_or_defaults(student, prompt, n, temperature, k, p, seed, stream, left_out):
    """In any order; null where it is allowed; the limit is one for the default, too."""
    given_fields = dict(zip(DEFAULTS, (n, temperature, k, p, seed, stream)))
    fields = {name: value for i, (name, value) in enumerate(given_fields.items()) if i not in left_out}
    fields = {"prompt": prompt} | fields
    if n % 2:
        fields = dict(reversed(fields.items()))
    for options, default in (({}, 64), ({"limit": 50}, 50)):
        value = student.run(probes.parsed, json.dumps(fields, ensure_ascii=bool(n % 3)).encode(), options)
        assert_equal(value, DEFAULTS | {"max_new_tokens": default, "prompt": prompt} | fields, what="the request")


@exercise("parse_request", points=2)
def test_the_field_that_is_wrong_is_named(student):
    """Types, ranges, what JSON's parser lets through, unknown names; and bodies that are no JSON object."""
    wrong = {
        "prompt": [None, 3, "", [], ["a"], {}, True, "\ud800", "a\udfffb"],
        "max_new_tokens": [-1, 51, 2.0, 1.5, "3", None, True, [1], math.inf, math.nan],
        "temperature": [-0.1, "1", None, True, math.inf, -math.inf, math.nan, [0.5]],
        "top_k": [0, -1, 1.0, 2.5, "5", True, False, math.nan],
        "top_p": [0, 0.0, -0.5, 1.0001, 2, "0.5", True, math.inf, math.nan],
        "seed": [-1, 2**63, 1.0, "1", True, math.nan, 10**30],
        "stream": [None, 0, 1, "true", [], 1.0],
    }
    cases = [(name, {"prompt": "a", name: value}) for name, values in wrong.items() for value in values]
    cases += [
        ("prompt", {}),
        ("prompt", {"stream": True}),
        ("best_of", {"prompt": "a", "best_of": 2}),
        ("", {"prompt": "a", "": 1}),
    ]
    cases += [
        ("prompt", {"zzz": 1, "stream": 3}),
        ("top_k", {"stream": 3, "top_k": 0, "prompt": "a"}),
        ("seed", {"x": 1, "prompt": "a", "seed": -1}),
    ]
    cases += [("Prompt", {"prompt": "a", "Prompt": "b"}), ("\ud800", {"prompt": "a", "\ud800": 1})]
    bodies = [(name, json.dumps(fields).encode()) for name, fields in cases]
    raw = [
        b"",
        b"hello",
        b"[]",
        b"3",
        b"null",
        b'"a"',
        b'{"prompt": "a"',
        b'{"prompt": "a"} x',
        b"\xff",
        b'{"prompt": "\xe9"}',
        b"{'prompt': 'a'}",
    ]
    raw += ['{"prompt": "a"}'.encode(code) for code in ("utf-16", "utf-16-le", "utf-32")]
    raw += [b"[" * 100_000, b'{"prompt": ' * 50_000, b'[{"prompt": "a"}]']
    bodies += [("body", body) for body in raw]
    bodies += [("temperature", b'{"prompt": "a", "temperature": 1e400}'), ("top_k", b'{"prompt": "a", "top_k": -0}')]
    bodies += [
        (None, b' {"prompt": "a", "max_new_tokens": 50}\n'),
        (None, '{"prompt": "é", "temperature": 2}'.encode()),
        (None, body_of(prompt="a", top_p=1)),
        (None, body_of(prompt="aé" * 20_000)),
    ]
    bodies += [(None, b'{"prompt": "\\ud83d\\ude00"}'), (None, body_of(prompt=" "))]
    answers = student.run(probes.fields_at_fault, [body for _, body in bodies], {"limit": 50})
    for (name, body), found in zip(bodies, answers, strict=True):
        wanted = "should be accepted" if name is None else f"should be refused for {name!r}"
        if b"NaN" in body or b"Infinity" in body:  # which are not JSON, though Python's parser takes them
            name = "body" if found == "body" else name
        came = "accepted" if found is None else found if found.startswith("raises") else f"refused for {found!r}"
        assert found == name, f"the body {body[:70]!r} {wanted}; it is: {came}"
    for name in ("temperature", "top_p", "seed"):  # larger than any float
        (found,) = student.run(probes.fields_at_fault, [b'{"prompt": "a", "%s": 1%s}' % (name.encode(), b"0" * 400)], {})
        assert found in (name, *[None] * (name == "temperature")), f"{name} of 10**400 should be refused; it is: {found}"
    bodies = [b'{"prompt": "a", "seed": 1%s}' % (b"0" * 5000), b"1" * 5000]  # more digits than Python turns into a number
    for body, found in zip(bodies, student.run(probes.fields_at_fault, bodies, {})):
        what = f"the body {body[:20]!r}… of {len(body)} bytes should be refused for 'body' or 'seed'; it is: {found}"
        assert found in ("body", "seed"), f"{what}\n  hint: json.loads raises ValueError, of which JSONDecodeError is one kind"
    request = student.run(probes.parsed, body_of(prompt="a"), {"limit": 0})
    assert_equal(request["max_new_tokens"], 0, what="the default of max_new_tokens with a limit of 0")
    bodies = [body_of(prompt="a", top_k=3), body_of(prompt="b"), body_of(prompt="a\0b")]
    expected = [DEFAULTS | {"prompt": "a", "top_k": 3}, DEFAULTS | {"prompt": "b"}, DEFAULTS | {"prompt": "a\0b"}]
    assert_equal(student.run(probes.parsed_in_turn, bodies), expected, what="three requests, looked at after all are read")


# application


def post(length="right", **fields):
    return ("POST", "/generate", body_of(**fields), length)


@exercise("application", points=1, core=True)
@settings(max_examples=10)
@given(
    text=SOME_TEXT,
    prompt=SOME_TEXT.filter(bool),
    n=sizes(0, 30),
    seed=st.sampled_from((0, 5, 2**40)),
    k=st.sampled_from((None, 3)),
    temperature=st.sampled_from((0.5, 0.0)),
)
def test_a_request_is_answered_with_the_text_of_the_generated_ids(student, text, prompt, n, seed, k, temperature):
    """generate gets the prompt's ids and all options; a seed decides the numbers that are drawn; characters are whole."""
    tokens = list(text.encode())
    fields = {"prompt": prompt, "max_new_tokens": n, "temperature": temperature, "top_k": k, "top_p": 0.75, "seed": seed}
    answers, calls, changed = student.run(probes.answered, [post(**fields)] * 2, tokens, options={"stop": [256, 0], "limit": 40})
    expected_text = bytes(tokens[:n]).decode("utf-8", errors="replace")
    wanted = {"status": "200", "type": "application/json", "allow": None, "length": True, "read": len(body_of(**fields))}
    value = {"text": expected_text, "n_tokens": min(n, len(tokens))}
    assert_equal(answers, [wanted | {"value": value}] * 2, what="the answers to one request, sent twice")
    drawn = torch.rand(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    call = {
        "ids": list(prompt.encode()),
        "n": n,
        "drawn": drawn,
        "model": "the model",
        "temperature": temperature,
        "top_k": k,
        "top_p": 0.75,
    }
    assert_equal(
        calls,
        [call | {"stop": [0, 256], "own generator": True}] * 2,
        what="what generate was called with",
        hint="each request has a torch.Generator of its own; stop and the rest are handed on as they are",
    )
    assert not changed, f"changed for everyone: {', '.join(changed)}"


@exercise("application", points=1, core=True)
@settings(max_examples=8)
@given(text=SOME_TEXT)
def test_a_stream_sends_each_piece_as_soon_as_it_is_there(student, text):
    """A line of JSON a character, drawn when the line is asked for; and a line that says that it is the end."""
    tokens = list(text.encode())
    seen, status, kind = student.run(probes.lines_of, body_of(prompt="a", stream=True, seed=1), tokens)
    assert_equal([status, kind], ["200", "application/x-ndjson"], what="[status, type]")
    for chunk, _ in seen:
        assert chunk.endswith(b"\n") and chunk.count(b"\n") == 1, f"each chunk should be one whole line, got {chunk!r}"
    expected, n = [], 0
    for character in text:
        n += len(character.encode())
        expected.append(({"text": character}, n))
    expected.append(({"done": True, "n_tokens": len(tokens)}, len(tokens)))
    found = [(json.loads(chunk), n) for chunk, n in seen]
    assert_equal(
        found,
        expected,
        what="[(line, ids drawn by then), …]",
        hint="return a generator of lines, and nothing is computed before it is asked for",
    )
    seen, _, _ = student.run(probes.lines_of, body_of(prompt="a", stream=True), [226, 130])
    assert_equal(
        [json.loads(chunk) for chunk, _ in seen],
        [{"text": "\ufffd"}, {"done": True, "n_tokens": 2}],
        what="the lines of half a character",
    )
    seen, _, _ = student.run(probes.lines_of, body_of(prompt="a", stream=True), [72, 0, 73])
    wanted = [{"text": "H"}, {"text": "\0"}, {"text": "I"}, {"done": True, "n_tokens": 3}]
    assert_equal([json.loads(chunk) for chunk, _ in seen], wanted, what="the lines of the ids 72, 0 and 73", hint="0 is an id")


@exercise("application", points=1)
def test_what_cannot_be_answered_gets_its_status_and_a_reason(student):
    """400 with the field, 404, 405 with Allow, 413; and health. Only the body is read, and not one that is too large."""
    ok = body_of(prompt="a", seed=1)
    large = body_of(prompt="a" * 300)
    full = body_of(prompt="a" * (200 - len(body_of(prompt="", seed=1))), seed=1)
    cases = [
        (("GET", "/health", b""), "200", None, None, 0),
        (("GET", "/health", b"", None), "200", None, None, 0),
        (("POST", "/health", ok), "405", "GET", None, 0),
        (("GET", "/generate", b""), "405", "POST", None, 0),
        (("DELETE", "/generate", ok), "405", "POST", None, 0),
        (("HEAD", "/health", b""), "405", "GET", None, 0),
        (("GET", "/", b""), "404", None, None, 0),
        (("POST", "/generate/", ok), "404", None, None, 0),
        (("POST", "/nothing", ok), "404", None, None, 0),
        (("POST", "/generate", large), "413", None, None, 0),
        (("POST", "/generate", ok, "1" * 5000), "413", None, None, 0),
        (("POST", "/generate", full), "200", None, None, 200),
        (("POST", "/generate", body_of(prompt="")), "400", None, "prompt", len(body_of(prompt=""))),
        (("POST", "/generate", body_of(prompt="a", top_k=0)), "400", None, "top_k", None),
        (("POST", "/generate", b"hello"), "400", None, "body", 5),
        (("POST", "/generate", body_of(prompt="\0")), "400", None, "prompt", None),
        (("POST", "/generate", ok, None), "400", None, "body", 0),
        (("POST", "/generate", ok, ""), "400", None, "body", 0),
        (("POST", "/generate", ok, "-5"), "400", None, "body", 0),
        (("POST", "/generate", ok, "ten"), "400", None, "body", 0),
        (("POST", "/generate", ok, "²"), "400", None, "body", 0),
        (("POST", "/generate", ok, "2_6"), "400", None, "body", 0),
        (("POST", "/generate", ok, "0"), "400", None, "body", 0),
        (("POST", "/generate", body_of(prompt="a", max_new_tokens=6)), "400", None, "max_new_tokens", None),
    ]
    options = {"max_body_bytes": 200, "limit": 5}
    answers, calls, _ = student.run(probes.answered, [request for request, *_ in cases], [65], options=options)
    for (request, status, allow, field, n_read), answer in zip(cases, answers, strict=True):
        method, path, body, *length = request
        what = f"{method} {path} with {len(body)} bytes" + (f" and CONTENT_LENGTH {length[0]!r:.20}" if length else "")
        if length and len(length[0] or "") > 4300 and answer["status"] == "400":
            continue  # more digits than Python makes a number of: refused as no number or as too large
        assert_equal(answer["status"], status, what=f"the status of {what}")
        assert_equal(
            [answer["type"], answer["length"]], ["application/json", True], what=f"[type, right length] of the answer to {what}"
        )
        assert_equal(answer["allow"], allow, what=f"the header Allow in the answer to {what}")
        if n_read is not None:
            assert_equal(answer["read"], n_read, what=f"the bytes of the body that were read of {what}")
        value = answer["value"]
        assert isinstance(value, dict), f"the answer to {what} should be a JSON object, got {value!r}"
        if path == "/health" and status == "200":
            assert_equal(value, {"status": "ok"}, what="the health")
        if status[0] == "4":
            reason = value.get("error")
            assert isinstance(reason, str) and reason, f"the answer to {what} should have a text in 'error', got {value}"
            assert_equal(value.get("field"), field, what=f"the field in the answer to {what}")
    assert_equal(len(calls), 1, what="the number of requests that reached generate")
    empty = student.run(probes.answered, [post(prompt="a")], [65], pieces=None, options={"limit": 0})[0][0]["value"]
    assert_equal(empty, {"text": "", "n_tokens": 0}, what="the answer with a limit of 0")


@exercise("application", points=1)
def test_requests_take_turns_token_by_token(student):
    """A client that reads slowly keeps nobody waiting, and no two run the model at the same time; no seed, no repetition."""
    text = list(b"hello")
    same = student.run(probes.taking_turns, body_of(prompt="a", stream=True), text)
    assert same is not None, (
        "a second request waits until the first one's client has read everything\n  hint: hold the lock around next(ids) alone"
    )
    assert same, "two requests at once got different texts"
    body = body_of(prompt="a", stream=True)
    after = student.run(probes.after_a_failure, [body, body_of(prompt="a", max_new_tokens=2, stream=True)], [72, 105, None])
    assert after is not None, (
        "after a request whose model failed, the next one waits for ever"
        "\n  hint: `with lock:` lets go of the lock after an error, too"
    )
    assert b'"done"' not in after[0], "the model failed on the way, but the answer has the line that says it is complete"
    alone = student.run(probes.while_decoding, body_of(prompt="a", max_new_tokens=3), [72, 105, 33])
    assert alone, (
        "without a stream, a request waits until another one has all its ids"
        "\n  hint: they take turns token by token: hold the lock around next(ids) alone, with a stream and without"
    )
    bodies = [body_of(prompt="a", stream=stream, seed=1) for stream in (True, False, True, False)]
    answers, most = student.run(probes.at_once, bodies, text * 4)
    assert_equal(
        most, 1, what="the most requests that drew a token at the same time", hint="one lock for all requests of an application"
    )
    whole = json.loads(answers[1])
    assert_equal(whole, {"text": "hello" * 4, "n_tokens": 20}, what="an answer among four at once")
    assert answers[0] == answers[2] and answers[1] == answers[3], "the same request got different answers at the same time"
    _, calls, _ = student.run(probes.answered, [post(prompt="a")] * 3, text, n_apps=2)
    drawn = [tuple(call["drawn"]) for call in calls]
    assert len(set(drawn[:3])) == 3, "without a seed, two requests drew the same numbers"
    assert len(set(drawn)) == 6, "without a seed, a second application drew the numbers that the first one drew"
    assert all(call["own generator"] for call in calls), "without a seed, a request should have a generator of its own, too"
