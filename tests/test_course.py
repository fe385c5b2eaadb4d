"""The course as data: what a module.toml may say, and how a mistake in it is reported."""

import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from autograder.course import DEFAULT_SEED, CourseError, load_course

EXERCISE = """
[[exercises]]
name = "{name}"
points = {points}
why = "It matters."
hints = ["Look.", "Look closer."]
"""

ATTENTION = """
title = "Attention"
summary = "Weighted means."
files = ["attention.py"]
requires = ["00_arrays"]
""" + EXERCISE.format(name="causal_mask", points=100)

ARRAYS = (
    """
title = "Arrays"
summary = "From arrays to tensors."
files = ["arrays.py", "engine/core.py"]
"""
    + EXERCISE.format(name="softmax", points=60)
    + EXERCISE.format(name="one_hot", points=40)
)


@pytest.fixture(autouse=True)
def no_seed_in_the_environment(monkeypatch):
    monkeypatch.delenv("AUTOGRADER_GRADING_SEED", raising=False)


@pytest.fixture
def root(tmp_path) -> Path:
    write(tmp_path, "00_arrays", ARRAYS)
    write(tmp_path, "01_attention_basics", ATTENTION)
    return tmp_path


def write(root: Path, module: str, text: str) -> None:
    folder = root / "exercises" / module
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "module.toml").write_text(text, encoding="utf-8")


def error(root: Path, old: str = "", new: str = "", text: str = ATTENTION) -> str:
    """The message of the CourseError after one edit of module 01."""
    assert old in text
    write(root, "01_attention_basics", text.replace(old, new, 1) if old else text + new)
    with pytest.raises(CourseError) as caught:
        load_course(root)
    return str(caught.value)


def test_modules_come_in_order_with_their_folders(root):
    course = load_course(root)
    first, second = course.modules
    assert [module.id for module in course.modules] == ["00_arrays", "01_attention_basics"]
    assert (first.number, first.stem, first.main_file) == ("00", "arrays", "arrays.py")
    assert second.requires == ("00_arrays",)
    assert second.folder == root / "exercises/01_attention_basics"
    assert second.solution_folder == root / "solutions/01_attention_basics"
    assert second.suite_folder == root / "autograder/suites/01_attention_basics"


def test_limits_have_defaults_and_can_be_set(root):
    limits = load_course(root).module("00").limits
    assert (limits.module_seconds, limits.call_seconds, limits.load_seconds, limits.memory_mb) == (60, 10, 10, 2048)
    write(root, "01_attention_basics", ATTENTION + "[limits]\nmodule_seconds = 90\nmemory_mb = 4096\n")
    limits = load_course(root).module("01").limits
    assert (limits.module_seconds, limits.call_seconds, limits.memory_mb) == (90, 10, 4096)


def test_an_exercise_is_found_by_name(root):
    module = load_course(root).module("00")
    assert module.exercise("one_hot").points == 40
    assert module.file_of(module.exercise("one_hot")) == "arrays.py"
    with pytest.raises(CourseError, match="Did you mean one_hot"):
        module.exercise("onehot")


def test_everything_is_frozen(root):
    course = load_course(root)
    with pytest.raises(pydantic.ValidationError):
        course.modules[0].exercises[0].points = 1
    with pytest.raises(AttributeError):
        course.root = Path("/")


@pytest.mark.parametrize(
    ("old", "new", "key", "problem"),
    [
        ("points = 100", "points = 0", "exercises[0].points", "must be greater than 0"),
        ("points = 100", 'points = "100"', "exercises[0].points", "must be a valid integer"),
        ("points = 100", "points = 100.0", "exercises[0].points", "must be a valid integer"),
        ("points = 100", "points = 90", "exercises", "points add up to 90"),
        ('name = "causal_mask"', 'name = "causal-mask"', "exercises[0].name", "not a Python name"),
        ('name = "causal_mask"', 'name = "class"', "exercises[0].name", "not a Python name"),
        ('why = "It matters."', 'why = " "', "exercises[0].why", "must not be empty"),
        ('why = "It matters."\n', "", "exercises[0].why", "is missing"),
        ('why = "It matters."', 'why = "a"\nwhynot = "b"', "exercises[0].whynot", "unknown key"),
        ('["Look.", "Look closer."]', '["Look."]', "exercises[0].hints", "at least 2"),
        ('["Look.", "Look closer."]', '["a", "b", "c", "d"]', "exercises[0].hints", "at most 3"),
        ('["Look.", "Look closer."]', '["Look.", ""]', "exercises[0].hints[1]", "must not be empty"),
        ("hints =", 'forbidden = ["torch softmax"]\nhints =', "exercises[0].forbidden[0]", "not a Python name"),
        ("hints =", 'forbidden = "torch.softmax"\nhints =', "exercises[0].forbidden", "must be an array"),
        ("hints =", 'file = "other.py"\nhints =', "exercises", "not one of files"),
        ('title = "Attention"', 'title = ""', "title", "must not be empty"),
        ('title = "Attention"', 'titel = "Attention"', "title", "is missing"),
        ('title = "Attention"', 'title = "a"\nid = "01_other"', "id", "unknown key"),
        ('title = "Attention"', 'title = "a"\nfolder = "x"', "folder", "unknown key"),
        ('["attention.py"]', "[]", "files", "at least 1"),
        ('["attention.py"]', '["../attention.py"]', "files[0]", "not a relative path"),
        ('["attention.py"]', '["/attention.py"]', "files[0]", "not a relative path"),
        ('["attention.py"]', "['a\\b.py']", "files[0]", "not a relative path"),
        ('["attention.py"]', '["./attention.py"]', "files[0]", "not a relative path"),
        ('["attention.py"]', '["attention.txt"]', "files[0]", "not a relative path"),
        ('["attention.py"]', '["my-attention.py"]', "files[0]", "not a Python name"),
        ('["attention.py"]', '["attention.py", "attention.py"]', "files", "is there twice"),
        ('["attention.py"]', '["arrays.py"]', "files[0]", "already a file of 00_arrays"),
        ('["00_arrays"]', '["00_array"]', "requires[0]", "Did you mean 00_arrays"),
        ('["00_arrays"]', '["01_attention_basics"]', "requires[0]", "not an earlier module"),
        ("", "[limits]\nmemory_mb = 0", "limits.memory_mb", "greater than 0"),
        ("", "[limits]\ncall_seconds = inf", "limits.call_seconds", "finite number"),
        ("", "[limits]\nseconds = 3", "limits.seconds", "unknown key"),
        ("", EXERCISE.format(name="causal_mask", points=1), "exercises", "is there twice"),
    ],
)
def test_a_mistake_is_reported_with_file_and_key(root, old, new, key, problem):
    message = error(root, old, new)
    assert f"exercises/01_attention_basics/module.toml: {key}: " in message
    assert problem in message


def test_several_mistakes_are_reported_together(root):
    message = error(root, "points = 100", "points = -1\nextra = 1")
    assert len(message.splitlines()) == 2


def test_a_toml_error_names_the_line(root):
    assert "exercises/01_attention_basics/module.toml: not valid TOML" in error(root, "summary =", "summary ")
    assert "line 3" in error(root, "summary =", "summary ")


def test_a_module_toml_that_is_not_utf8_is_reported(root):
    (root / "exercises/01_attention_basics/module.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(CourseError, match="01_attention_basics/module.toml: is not UTF-8"):
        load_course(root)


def test_two_modules_cannot_share_a_number(root):
    write(root, "01_zebra", ATTENTION.replace("attention.py", "zebra.py"))
    with pytest.raises(CourseError, match="01_zebra/module.toml: the number 01 is taken"):
        load_course(root)


def test_a_folder_without_module_toml_is_ignored_until_it_has_python_files(root):
    (root / "exercises/02_later").mkdir()
    (root / "exercises/02_later/README.md").write_text("soon")
    assert len(load_course(root).modules) == 2
    (root / "exercises/02_later/later.py").write_text("")
    with pytest.raises(CourseError, match="exercises/02_later"):
        load_course(root)


@pytest.mark.parametrize(
    "key",
    ["1", "01", 1, "01_attention_basics", "attention_basics", "attention.py", "exercises/01_attention_basics/"],
)
def test_a_module_has_many_names(root, key):
    assert load_course(root).module(key).id == "01_attention_basics"


@pytest.mark.parametrize("key", ["0", "00", "000", "arrays", "core", 0])
def test_number_zero_and_the_stems_of_further_files_work_too(root, key):
    assert load_course(root).module(key).id == "00_arrays"


@pytest.mark.parametrize("key", ["2", "10", "", "attentoin", "-1", "01_attention", "١"])
def test_an_unknown_module_lists_what_there_is(root, key):
    with pytest.raises(CourseError, match="There is: 00_arrays, 01_attention_basics"):
        load_course(root).module(key)


def test_a_misspelt_module_is_guessed(root):
    with pytest.raises(CourseError, match="Did you mean 01_attention_basics"):
        load_course(root).module("attentoin")


def test_the_digest_changes_with_every_graded_file_and_only_with_those(root):
    course = load_course(root)
    seen = {course.digest()}
    assert course.digest() in seen
    relevant = [
        "exercises/01_attention_basics/test_attention.py",
        "solutions/01_attention_basics/attention.py",
        "autograder/suites/01_attention_basics/test_attention.py",
        "autograder/suites/01_attention_basics/deep/data.json",
    ]
    for name in relevant:
        for content in ("a", "b"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
            digest = course.digest()
            assert digest not in seen, name
            seen.add(digest)
    last = course.digest()
    irrelevant = [
        "exercises/01_attention_basics/attention.py",
        "exercises/01_attention_basics/README.md",
        "solutions/01_attention_basics/__pycache__/attention.cpython-311.pyc",
        "autograder/suites/offering.toml",
    ]
    for name in irrelevant:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('name = "x"')
        assert course.digest() == last, name
    (root / "exercises/01_attention_basics/module.toml").write_text(ATTENTION + "\n")
    assert course.digest() != last


def test_the_digest_does_not_depend_on_where_the_course_lies(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere")
    write(other, "01_attention_basics", ATTENTION)
    write(other, "00_arrays", ARRAYS)
    assert load_course(other).digest() == load_course(root).digest()


def test_settings_have_defaults_without_the_staff_file(root):
    settings = load_course(root).settings
    assert settings.name == "LLMs from scratch"
    assert settings.grading_seed == DEFAULT_SEED
    assert settings.show_hidden == "message"


def offering(root: Path, text: str) -> None:
    path = root / "autograder/suites/offering.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_settings_are_read_and_the_environment_wins(root, monkeypatch):
    offering(root, 'name = "Autumn"\ngrading_seed = "secret"\nshow_hidden = "title"\n')
    settings = load_course(root).settings
    assert (settings.name, settings.grading_seed, settings.show_hidden) == ("Autumn", "secret", "title")
    monkeypatch.setenv("AUTOGRADER_GRADING_SEED", "from outside")
    assert load_course(root).settings.grading_seed == "from outside"


@pytest.mark.parametrize(
    "text", ['show_hidden = "all"', 'grading_seed = ""', "grading_seed = 7", 'seed = "x"', "name ="]
)
def test_a_mistake_in_the_settings_is_reported(root, text):
    offering(root, text)
    with pytest.raises(CourseError, match="autograder/suites/offering.toml"):
        load_course(root)


def test_a_root_without_a_course_is_refused(tmp_path):
    with pytest.raises(CourseError, match="no exercises/ folder"):
        load_course(tmp_path)
    (tmp_path / "exercises").mkdir()
    with pytest.raises(CourseError, match="no module"):
        load_course(tmp_path)


def test_the_trusted_side_does_not_import_torch():
    code = "import sys, autograder.course, autograder.intake, autograder.policy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
