"""Hidden tests: UTF-8. The truth is Python's own."""

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import composite, example, given, seeds, settings

from . import scenarios
from .cases import EDGES, code_points, wrong_bytes

MARKS = "how many bytes, which mark in each, which six bits?"


def shown(codes):
    return " ".join(f"U+{code:04X}" for code in codes) or "nothing"


def assert_same_text(actual, expected, what):
    """assert_equal for a long text, of which only the place of the first difference is told."""
    if type(actual) is not str:
        assert_equal(actual, expected, what=what)
    i = next((i for i, (seen, right) in enumerate(zip(actual, expected)) if seen != right), min(len(actual), len(expected)))
    said = f"{what} should have {len(expected)} characters, and has {len(actual)}; the first that is wrong is at index {i}"
    assert actual == expected, said


def assert_by_hand(seen, elements, hint):
    """Nobody else did the work."""
    assert not seen["encoded or decoded by a method"], f"a method or a type of Python does the work\n  hint: {hint}"
    assert not seen["nobody looked at it"], f"{elements} are not looked at one by one\n  hint: put the bits together by hand"


# utf8_encode


@composite
def four_texts(draw):
    """Of characters of all lengths."""
    seed = draw(seeds())
    return ["".join(map(chr, code_points(seed + i, 12, at_ends=0))) for i in range(4)]


@exercise("utf8_encode", points=4.5, core=True)
@settings(max_examples=12)
@given(texts=four_texts())
def test_every_character_has_its_bytes(student, texts):
    """Texts of characters of all lengths have the bytes that UTF-8 says."""
    for text in texts:
        actual = student.utf8_encode(text)
        hint = MARKS if isinstance(actual, bytes | bytearray) else "give bytes: bytes(numbers) makes them of a list of numbers"
        assert_equal(actual, text.encode(), what=f"the bytes of {shown(map(ord, text))}", hint=hint)


@exercise("utf8_encode", points=1.5)
def test_one_more_byte_begins_at_the_right_character(student):
    """The last character of each length, the first of the next one, and what looks special but is not."""
    ends = (
        0,
        0x7F,
        0x80,
        0xFF,
        0x100,
        0x7FF,
        0x800,
        0xFFF,
        0x1000,
        0xD7FF,
        0xE000,
        0xF8FF,
        0xFDD0,
        0xFDEF,
        0xFEFF,
        0xFFFD,
        0xFFFE,
        0xFFFF,
        0x10000,
        0x1FFFF,
        0x3FFFF,
        0x40000,
        0xFFFFF,
        0x100000,
        0x10FFFF,
    )
    for code in ends:
        assert_equal(student.utf8_encode(chr(code)), chr(code).encode(), what=f"the bytes of U+{code:04X}", hint=MARKS)
    assert_equal(student.utf8_encode(""), b"", what="the bytes of no text")
    for text in ("aé€🙂" * 2000, "aé€🙂" * 100 + "b", "a" * 66_000 + "é"):
        assert_equal(student.utf8_encode(text), text.encode(), what=f"the bytes of a text of {len(text)} characters", hint=MARKS)


@exercise("utf8_encode", points=1.5)
def test_surrogates_are_refused(student):
    """A surrogate raises an error wherever it stands, also next to the other half of a pair."""
    rows = [
        [0xD800],
        [0xDBFF],
        [0xDC00],
        [0xDFFF],
        [0x41, 0xD900],
        [0xDABC, 0x41],
        [0x1F642, 0xDE42],
        [0xD83D, 0xDE42],
        [0xDE42, 0xD83D],
        [0x41, 0x42, 0xDCFF, 0x43],
        [*[0x41] * 5000, 0xDFFF],
    ]
    for codes, seen in zip(rows, student.run(scenarios.encode_codes, rows)):
        assert_equal(seen, "refused", what=f"utf8_encode of {shown(codes[-4:])}", hint="U+D800 to U+DFFF are no characters")
    fine = [[0xD7FF, 0xE000], [0x41]]
    expected = ["".join(map(chr, codes)).encode() for codes in fine]
    assert_equal(student.run(scenarios.encode_codes, fine), expected, what="utf8_encode of their neighbours")


@exercise("utf8_encode", points=0.5, core=True)
def test_the_bits_are_put_together_by_hand(student):
    """The characters are looked at one by one, and no method of Python encodes them."""
    text = "aé€🙂" * 100
    seen = student.run(scenarios.done_by_python, "utf8_encode", text)
    assert_equal(seen["value"], text.encode(), what=f"the bytes of {text[:4]!r} * 100", hint=MARKS)
    assert_by_hand(seen, "the characters", "`encode` and `bytes(text, ...)` are the answer itself")


# utf8_decode


@exercise("utf8_decode", points=4.5, core=True)
@settings(max_examples=12)
@given(seed=seeds())
@example(seed=0)
def test_every_character_is_read_again(student, seed):
    """The bytes of texts give the texts, whatever is to be done with errors."""
    texts = ["".join(map(chr, code_points(seed + i, 12))) for i in range(4)]
    texts += [chr(0xFEFF) + "a", "a" + chr(0xFEFF), "a\x00b\uffff", "\ufffd", "a\r\nb\r\r\n"] if seed % 3 == 0 else []
    for text in texts:
        for errors in ((), ("strict",), ("replace",), ("ignore",)):
            kwargs = {"errors": errors[0]} if errors else {}
            actual = student.utf8_decode(text.encode(), **kwargs)
            assert_equal(actual, text, what=f"utf8_decode of {text.encode()} {''.join(errors)}".strip(), hint=MARKS)


def assert_as_python(student, rows, errors, hint):
    for data, seen in zip(rows, student.run(scenarios.decode_all, rows, errors), strict=True):
        try:
            expected = list(map(ord, data.decode("utf-8", errors)))
        except ValueError:
            expected = "refused"
        if seen != expected:
            said = (
                [row if isinstance(row, str) else shown(row) for row in (expected, seen)]
                if isinstance(seen, list | str)
                else [shown(expected), repr(seen)]
            )
            if seen == "refused" and errors != "strict":
                hint = "nothing is refused here; was a byte behind the end asked for?"
            text = f"{data.hex(' ')} with errors={errors!r}\n  expected {said[0]}\n  got      {said[1]}\n  hint: {hint}"
            raise AssertionError(text)


@exercise("utf8_decode", points=3)
@settings(max_examples=18)
@given(seed=seeds())
def test_each_run_that_is_wrong_is_replaced_once(student, seed):
    """One U+FFFD stands for the longest run of bytes that begins a character, or for a byte with which none begins."""
    rows = [wrong_bytes(seed + i, 8) for i in range(12)]
    hint = "go on with the first byte that does not fit; it may begin a character"
    assert_as_python(student, rows, "replace", hint)


@exercise("utf8_decode", points=1.5)
def test_all_first_and_second_bytes_are_told_apart(student):
    """Overlong forms, surrogates and numbers above U+10FFFF are no characters: what each first byte lets follow."""
    rows = [
        bytes([first, second, *more])
        for first in (*range(0x80, 0x100), 0x41)
        for second in EDGES
        for more in ((), (0x80,), (0x80, 0xBF))
    ]
    hint = "after E0 come A0 to BF, after ED 80 to 9F, after F0 90 to BF, after F4 80 to 8F"
    assert_as_python(student, rows, "replace", hint)
    beginnings = (b"\xe1\x80", b"\xed\x9f", b"\xf1\x80", b"\xf4\x8f\xbf")
    rows = [beginning + bytes([byte]) + b"\x80" for beginning in beginnings for byte in EDGES]
    assert_as_python(student, rows, "replace", "the third and the fourth byte are 80 to BF")
    text = "aé€🙂" * 7000
    assert_same_text(student.utf8_decode(text.encode()), text, "utf8_decode of 70,000 bytes")
    data = text.encode() + b"a\xff\xe2\x82" * 3000
    for errors in ("replace", "ignore"):
        what = f"utf8_decode of 82,000 bytes, many of them wrong, with errors={errors!r}"
        assert_same_text(student.utf8_decode(data, errors), data.decode(errors=errors), what)


@exercise("utf8_decode", points=1)
@settings(max_examples=8)
@given(seed=seeds())
def test_what_is_ignored_leaves_nothing(student, seed):
    """With errors="ignore" nothing stands where the bytes were wrong, and everything else is there."""
    assert_as_python(student, [wrong_bytes(seed + i, 8) for i in range(12)], "ignore", "what is wrong is left out, no more")


@exercise("utf8_decode", points=1.5)
@settings(max_examples=12)
@given(seed=seeds())
@example(seed=1)
def test_wrong_bytes_are_refused_when_strict(student, seed):
    """By default, and with errors="strict", whatever is not UTF-8 raises an error: also a character cut short at the end."""
    rows = [wrong_bytes(seed + i, 5) for i in range(12)]
    rows += [
        b"\xf0\x9f\x98",
        b"a\xe2\x82",
        b"\xc3",
        b"\x80",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"a\xffb",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf5\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80\x80",
        b"",
        b"a" * 1000 + b"\xff",
    ]
    assert_as_python(student, rows, "strict", "nothing wrong may pass, and nothing right be refused")
    for data, seen in zip(rows, student.run(scenarios.decode_all, rows)):
        was = "refused" if student.run(scenarios.decode_all, [data], "strict") == ["refused"] else "accepted"
        now = "refused" if seen == "refused" else "accepted"
        assert_equal(now, was, what=f"{data.hex(' ')} without `errors`", hint="the default is strict")


@exercise("utf8_decode", points=1)
def test_other_ways_to_treat_errors_are_refused(student):
    """Wrong bytes with any other `errors` are refused."""
    rows = [b"a\xff", b"a\xe2\x82", b"\xed\xa0\x80"]
    for errors in ("", "Replace", "IGNORE", "r", "surrogateescape", "surrogatepass", "backslashreplace"):
        for data, seen in zip(rows, student.run(scenarios.decode_all, rows, errors)):
            if seen != "refused":
                actual = ascii("".join(map(chr, seen)) if isinstance(seen, list) else seen)
                said = f"utf8_decode({data}, {errors!r}) should be refused with a ValueError\n  but it returned {actual}"
                raise AssertionError(f"{said}\n  hint: strict, replace or ignore")


@exercise("utf8_decode", points=0.5, core=True)
def test_the_bits_are_taken_apart_by_hand(student):
    """The bytes are looked at one by one, and no method of Python decodes them."""
    text = "aé€🙂" * 100
    seen = student.run(scenarios.done_by_python, "utf8_decode", text.encode())
    what = f"the code points of utf8_decode of the bytes of {text[:4]!r} * 100"
    assert_equal(seen["value"], list(map(ord, text)), what=what, hint=MARKS)
    assert_by_hand(seen, "the bytes", "`decode` and `str(data, ...)` are the answer itself")


# bytes_to_unicode


@exercise("bytes_to_unicode", points=5, core=True)
def test_the_table_is_that_of_gpt_2(student):
    """Each of the 256 bytes has GPT-2's character."""
    actual = student.bytes_to_unicode()
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    if not isinstance(actual, dict) or sorted(actual, key=str) != sorted(range(256), key=str):
        raise AssertionError(f"the table should be a dict whose keys are the numbers 0 to 255, got {repr(actual)[:80]}")
    for byte in range(256):
        expected = chr(byte) if byte in printable else chr(256 + others.index(byte))
        hint = "33 to 126, 161 to 172 and 174 to 255 are themselves; count the others from U+0100 on"
        assert_equal(actual[byte], expected, what=f"the character of byte {byte}", hint=hint)


@exercise("bytes_to_unicode", points=1)
def test_each_call_gives_a_table_of_its_own(student, reference):
    """Who changes a table changes nobody else's."""
    expected = reference.bytes_to_unicode()
    calls = ("first", "second, the first having been changed,", "third, the second having been changed,")
    for when, seen in zip(calls, student.run(scenarios.tables)):
        hint = "" if when == "first" else "a new dictionary at each call"
        assert_equal(len(seen), 256, what=f"the length of the table of the {when} call", hint=hint)
        assert_equal(seen, expected, what=f"the table of the {when} call", hint=hint)
