"""The result document: its schema, its text, and the tables drawn from it."""

import io
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from autograder.reports import console as tables
from autograder.reports.results import (
    MESSAGE_LIMIT,
    Environment,
    ExerciseResult,
    Identity,
    ModuleResult,
    Results,
    TestResult,
    clean,
    clean_line,
    read,
    schema,
    schema_text,
    to_json,
    write,
)

SCHEMA = Path(__file__).parents[1] / "docs" / "results.schema.json"
HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m[red]\r\nline\x00 \ud800 \u202eevil\u202c \x08\x7f é 注意 [/] </td>\u2028end"


def a_test(**changes):
    values = dict(name="test_f", tier="hidden", outcome="passed", points=4, max_points=4, seconds=0.1)
    return TestResult(**{**values, **changes})


def an_exercise(**changes):
    values = dict(name="f", status="passed", score=4, max_score=4, tests=[a_test()])
    return ExerciseResult(**{**values, **changes})


def a_module(**changes):
    values = dict(id="01_attention", status="graded", score=4, max_score=4, substituted=[], exercises=[an_exercise()])
    return ModuleResult(**{**values, **changes})


def results(**changes):
    values = dict(
        course=Identity(name="LLMs from scratch", digest="ab"),
        submission=Identity(name="alice", digest="cd"),
        environment=Environment.here(),
        sandbox=["landlock", "seccomp"],
        score=4,
        max_score=4,
        modules=[a_module()],
    )
    return Results(**{**values, **changes})


def printed(*many, width=80, encoding="utf-8", terminal=False):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    console = Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    for one in many:
        tables.show(one, console)
    tables.show_summary(many, console)
    file.flush()
    return raw.getvalue().decode(encoding)


# --- the document


def test_the_published_schema_is_the_models():
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()
    jsonschema.Draft202012Validator.check_schema(schema())


def test_a_result_validates_and_reads_back(tmp_path):
    result = results()
    jsonschema.validate(json.loads(to_json(result)), schema())
    path = tmp_path / "2026" / "alice" / "results.json"
    write(result, path)
    assert read(path) == result
    assert path.stat().st_mode & 0o777 == 0o644  # whoever collects the results can read them


def test_the_document_has_the_promised_keys_in_order():
    document = json.loads(to_json(results()))
    assert list(document) == [
        "schema_version", "course", "submission", "environment", "sandbox", "score", "max_score", "modules",
    ]  # fmt: skip
    assert document["schema_version"] == 1
    assert list(document["submission"]) == ["name", "digest"]
    module = document["modules"][0]
    assert {"id", "status", "score", "max_score", "substituted", "exercises"} <= set(module)
    assert {"name", "status", "score", "max_score", "tests"} <= set(module["exercises"][0])
    assert set(module["exercises"][0]["tests"][0]) == {
        "name", "title", "tier", "outcome", "points", "max_points", "message", "diagnosis", "seconds",
    }  # fmt: skip


def test_the_schema_refuses_what_the_models_refuse():
    validator = jsonschema.Draft202012Validator(schema())
    document = json.loads(to_json(results()))
    assert validator.is_valid(document)
    for change in ({"extra": 1}, {"schema_version": 2}, {"score": -1}, {"score": "4"}, {"modules": None}):
        assert not validator.is_valid(document | change)
    for key in document:
        assert not validator.is_valid({k: v for k, v in document.items() if k != key})
    document["modules"][0]["status"] = "fine"
    assert not validator.is_valid(document)


def test_text_is_stable_and_made_to_be_read():
    assert to_json(results()) == to_json(results())
    text = to_json(results(course=Identity(name="Français", digest="ab")))
    assert text.startswith('{\n  "schema_version": 1,\n') and text.endswith("}\n") and "Français" in text


@pytest.mark.parametrize(
    ("number", "text"), [(4, "4"), (4.0, "4"), (3.333333, "3.33"), (0.1 + 0.2, "0.3"), (66.665, "66.67"), (0, "0")]
)
def test_numbers_are_short(number, text):
    assert f'"score": {text},' in to_json(results(score=number))


def test_seconds_are_milliseconds_at_most():
    assert a_test(seconds=1.23456).seconds == 1.235


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("score", float("nan")),
        ("score", float("inf")),
        ("score", -1),
        ("score", None),
        ("score", 10**400),
        ("sandbox", [None]),
        ("sandbox", "landlock"),
        ("extra", 1),
    ],
)
def test_nonsense_is_refused(field, value):
    with pytest.raises(ValidationError):
        results(**{field: value})


def test_unknown_words_are_refused():
    for bad in (lambda: a_test(outcome="skipped"), lambda: a_test(tier="secret"), lambda: an_exercise(status="ok")):
        with pytest.raises(ValidationError):
            bad()


def test_writing_replaces_whole_files_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    write(results(score=1), path)
    write(results(score=2), path)
    assert read(path).score == 2
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write(results(score=1), path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(results(score=2), path)
    monkeypatch.undo()
    assert read(path).score == 1
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


# --- text from outside


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("plain é 注意\nsecond", "plain é 注意\nsecond"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("\x1b]unterminated\nnext", "\nnext"),
        ("\x1bcreset", "reset"),
        ("a\r\nb\rc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("tab\there", "tab    here"),
        ("nul\x00 bell\x07 back\x08 del\x7f", "nul bell back del"),
        ("\ud800lone", "\N{REPLACEMENT CHARACTER}lone"),
        ("\u202eright to left\u2066", "right to left"),
        ("\ufeffmark\u200b", "mark"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("x ::Error::y", "x : :Error::y"),
        ("##[group]y ##vso[task]z", "# #[group]y # #vso[task]z"),
        ("std::vector #[derive]", "std::vector #[derive]"),
        ("", ""),
    ],
)
def test_clean_keeps_text_and_drops_what_a_terminal_obeys(dirty, expected):
    assert clean(dirty) == expected


@given(st.text(st.characters(), max_size=200), st.integers(1, 50))
def test_cleaned_text_is_harmless_bounded_and_stays_as_it_is(text, limit):
    safe = clean(text, limit)
    assert len(safe) <= limit
    assert safe.isprintable() or all(c == "\n" or c.isprintable() or c.isspace() or ord(c) > 127 for c in safe)
    assert not any(ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in safe)
    assert clean(safe, limit) == safe
    line = clean_line(text, limit)
    assert "\n" not in line and len(line) <= limit and clean_line(line, limit) == line


def test_long_text_says_that_it_was_cut():
    for text in ("x" * (MESSAGE_LIMIT + 1), "x" * 10**6, "\x1b[31m" * 10**6 + "x"):
        assert len(clean(text)) <= MESSAGE_LIMIT and clean(text).endswith("…")
    assert clean("x" * MESSAGE_LIMIT) == "x" * MESSAGE_LIMIT


def test_hostile_text_everywhere_still_gives_a_valid_document(tmp_path):
    test = a_test(name=HOSTILE, outcome="failed", points=0, message=HOSTILE * 1000, diagnosis=HOSTILE)
    exercise = an_exercise(name=HOSTILE, status="failed", score=0, message=HOSTILE, tests=[test])
    module = a_module(id=HOSTILE, substituted=[HOSTILE], message=HOSTILE, exercises=[exercise])
    result = results(submission=Identity(name=HOSTILE, digest="x"), sandbox=[HOSTILE], modules=[module])
    write(result, tmp_path / "results.json")
    assert read(tmp_path / "results.json") == result
    jsonschema.validate(json.loads(to_json(result)), schema())
    assert "\x1b" not in printed(result) and "evil" in printed(result)


# --- the tables


def test_a_table_names_every_exercise_with_its_points_and_the_sentence():
    wrong = an_exercise(name="softmax", status="failed", score=0, max_score=12.5, message="the scale is missing")
    text = printed(results(modules=[a_module(exercises=[an_exercise(name="mask"), wrong])]))
    mask, softmax = (next(line for line in text.splitlines() if name in line) for name in ("mask", "softmax"))
    assert "✓" in mask and "4 / 4" in mask
    assert "✗" in softmax and "0 / 12.5" in softmax and "the scale is missing" in softmax
    assert "alice" in text and "landlock; seccomp" in text and "01_attention" in text


@pytest.mark.parametrize("status", ["passed", "partial", "failed", "todo", "policy"])
def test_every_status_has_a_mark_of_its_own(status):
    def line(status):
        text = printed(results(modules=[a_module(exercises=[an_exercise(name="exercise", status=status)])]))
        return next(line for line in text.splitlines() if "exercise" in line)

    assert [line(other) for other in tables.MARKS].count(line(status)) == 1


@pytest.mark.parametrize("width", [40, 80, 120])
def test_tables_fit_their_width_and_lose_no_word(width):
    words = [f"word{i}" for i in range(40)]
    long = an_exercise(name="a_rather_long_exercise_name", status="partial", message=" ".join(words))
    text = printed(results(modules=[a_module(exercises=[long])]), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert [word for word in text.split() if word.startswith("word")] == words


def test_only_the_beginning_of_a_long_message_is_shown():
    exercise = an_exercise(status="failed", message="\n\nfirst\n  second\n\nthird\nfourth")
    assert tables.advice(exercise) == "first\nsecond\nthird"
    assert len(tables.advice(an_exercise(message="x" * 4000))) == tables.ADVICE_LENGTH
    long = "sums: not as expected\n  expected 3\n  got      4\n  shape (2,)\n  hint: count once\n  hint: or twice"
    assert tables.advice(an_exercise(message=long)) == "sums: not as expected\nexpected 3\ngot      4\nhint: count once"


def test_markup_in_text_is_text():
    text = printed(results(modules=[a_module(exercises=[an_exercise(message="[bold]x[/bold] [/red] [1, 2]")])]))
    assert "[bold]x[/bold] [/red] [1, 2]" in text


def test_piped_output_is_plain_and_a_terminals_has_colour():
    assert "\x1b" not in printed(results())
    assert "\x1b[" in printed(results(), terminal=True)


def test_a_narrow_encoding_gets_ascii():
    exercises = [an_exercise(name=status, status=status, message="größer ✓") for status in tables.MARKS]
    printed(results(modules=[a_module(exercises=exercises)]), results(), encoding="ascii").encode("ascii")


def test_a_rejected_module_says_why():
    text = printed(results(modules=[a_module(status="rejected", score=0, message="attention.py is not UTF-8")]))
    assert "not graded: attention.py is not UTF-8" in text


def test_substitutes_are_named():
    assert "00_numpy" in printed(results(modules=[a_module(substituted=["00_numpy"])]))


def test_a_submission_without_modules_is_shown():
    assert "no module" in printed(results(modules=[], score=0, max_score=0))


PAGE = """\
alice  4 / 4
sandbox: landlock; seccomp

01_attention  4 / 4
  ✓     f  4 / 4

bob  4 / 26.5
sandbox: none

02_masks  4 / 26.5
  graded on the course's own 01_attention, since this submission's does not pass
  or is not part of it
  ✓     f                                  4 / 4
  ✗     softmax_whose_name_is_rather_l  0 / 12.5  one
        ong                                       two
                                                  three
                                                  hint: look at the axis
  TODO  later                             0 / 10

03_heads  0 / 4
  not graded: heads.py is not UTF-8

submission     score  exercises passed
alice          4 / 4            1 of 1
bob         4 / 26.5            2 of 4
"""


def test_a_page_is_easy_on_the_eye():
    lines = "\n".join(["one", "two", "three", "four", "five", "hint: look at the axis"])
    exercises = [
        an_exercise(),
        an_exercise(name="softmax_whose_name_is_rather_long", status="failed", score=0, max_score=12.5, message=lines),
        an_exercise(name="later", status="todo", score=0, max_score=10),
    ]
    graded = a_module(id="02_masks", max_score=26.5, substituted=["01_attention"], exercises=exercises)
    rejected = a_module(id="03_heads", status="rejected", score=0, message="heads.py is not UTF-8")
    bob = results(submission=Identity(name="bob", digest="x"), sandbox=[], max_score=26.5, modules=[graded, rejected])
    page = printed(results(), bob)
    assert [line.rstrip() for line in page.splitlines()] == PAGE.splitlines()


def test_what_holds_for_every_module_is_said_once():
    rejected = [a_module(id=name, status="rejected", score=0, message="too large") for name in ("01_a", "02_b")]
    assert printed(results(modules=rejected)).count("not graded: too large") == 1
    assert printed(results(modules=[*rejected, a_module()])).count("not graded: too large") == 2
    assert printed(results(modules=rejected[:1])).splitlines()[3:5] == ["01_a  0 / 4", "  not graded: too large"]


def test_several_submissions_end_in_a_summary():
    bob = results(submission=Identity(name="bob", digest="x"), score=1.5)
    last = printed(results(), bob).splitlines()[-2:]
    assert "alice" in last[0] and "4 / 4" in last[0] and "1 of 1" in last[0]
    assert "bob" in last[1] and "1.5 / 4" in last[1]
    assert "exercises passed" not in printed(bob)
