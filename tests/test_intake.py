"""Submissions of every kind come in; hostile ones become a sentence, never an exception."""

import io
import os
import socket
import stat
import struct
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder import intake, sources
from autograder.course import Course, Exercise, Module
from autograder.intake import UsageError, clean_name, collect, name_all

CODE = "def softmax(x, dim):\n    return x\n"


def module(id: str, *files: str) -> Module:
    exercise = Exercise(name="softmax", points=100, why="It matters.", hints=("a", "b"))
    places = {name: Path("/course") / id for name in ("folder", "solution_folder", "suite_folder")}
    return Module(id=id, title="T", summary="S", files=files, exercises=(exercise,), **places)


ARRAYS = module("00_arrays", "arrays.py")
ATTENTION = module("01_attention_basics", "attention.py")
TRAINING = module("07_training", "training.py", "engine.py")
GPT = module("14_gpt", "gpt/model.py", "gpt/train.py")
COURSE = Course(root=Path("/course"), modules=(ARRAYS, ATTENTION, TRAINING, GPT))


def write(path: Path, content: str | bytes = CODE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(path: Path, members: dict[str, str | bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def found(path: Path, modules=None) -> dict[str, list[str]]:
    """Module id → accepted files; checks on the way that nothing was refused."""
    submission = collect(path, COURSE, modules)
    assert [item.problem for item in submission.modules] == [None] * len(submission.modules)
    return {item.module.id: sorted(item.files) for item in submission.modules}


def problem(path: Path, modules=(ATTENTION,)) -> str:
    """The problem of the one module that was asked for; a refused module has no files."""
    (item,) = collect(path, COURSE, modules).modules
    assert item.files == {}
    assert item.problem
    assert "\n" not in item.problem
    return item.problem


@pytest.mark.parametrize("place", ["exercises/01_attention_basics/", "01_attention_basics/", ""])
@pytest.mark.parametrize("kind", ["folder", "zip", "zip in a folder", "zip with ./"])
def test_a_file_is_found_in_its_three_places(tmp_path, place, kind):
    if kind == "folder":
        write(tmp_path / "alice" / place / "attention.py")
        path = tmp_path / "alice"
    else:
        prefix = {"zip": "", "zip in a folder": "repo-main/", "zip with ./": "./"}[kind]
        path = zipped(tmp_path / "alice.zip", {f"{prefix}{place}attention.py": CODE})
    submission = collect(path, COURSE)
    assert submission.name == "alice"
    assert [(item.module.id, item.files, item.problem) for item in submission.modules] == [
        ("01_attention_basics", {"attention.py": CODE}, None)
    ]


def test_the_place_in_the_course_layout_comes_first(tmp_path):
    write(tmp_path / "attention.py", "top = 1")
    write(tmp_path / "01_attention_basics/attention.py", "middle = 1")
    assert collect(tmp_path, COURSE).modules[0].files == {"attention.py": "middle = 1"}
    write(tmp_path / "exercises/01_attention_basics/attention.py", "deep = 1")
    assert collect(tmp_path, COURSE).modules[0].files == {"attention.py": "deep = 1"}


def test_modules_come_in_course_order_and_absent_ones_are_left_out(tmp_path):
    write(tmp_path / "training.py")
    write(tmp_path / "arrays.py")
    assert found(tmp_path) == {"00_arrays": ["arrays.py"], "07_training": ["training.py"]}
    assert list(found(tmp_path, [TRAINING, ARRAYS])) == ["00_arrays", "07_training"]


def test_a_named_module_that_is_absent_is_reported(tmp_path):
    write(tmp_path / "arrays.py")
    first, second = collect(tmp_path, COURSE, [ARRAYS, ATTENTION]).modules
    assert first.problem is None
    assert second.problem.startswith("attention.py is missing")


def test_a_module_is_there_with_any_of_its_files(tmp_path):
    write(tmp_path / "engine.py")
    write(tmp_path / "gpt/train.py")
    write(tmp_path / "14_gpt/gpt/model.py")
    assert found(tmp_path) == {"07_training": ["engine.py"], "14_gpt": ["gpt/model.py", "gpt/train.py"]}


def test_a_submission_with_nothing_in_it_is_reported_for_every_module(tmp_path):
    (tmp_path / "README.md").write_text("hello")
    submission = collect(tmp_path, COURSE)
    assert len(submission.modules) == len(COURSE.modules)
    assert all("no file of this course" in item.problem for item in submission.modules)
    assert "no file of this course" in collect(zipped(tmp_path / "a.zip", {}), COURSE).modules[0].problem


def test_where_the_files_lie_deeper_is_said(tmp_path):
    """Of folders in which a file of the course lies, or in whose `exercises`, two levels down; links are not followed."""
    for name in ("class/anna/attention.py", "class/bo/exercises/01_attention_basics/attention.py", "class/notes/readme.py"):
        write(tmp_path / name)
    assert problem(tmp_path / "class").endswith(" Its folders anna, bo have some: hand in each.")
    assert collect(tmp_path, COURSE).modules[0].problem.endswith(" Its folders class/anna, class/bo have some: hand in each.")
    (tmp_path / "link").mkdir()
    (tmp_path / "link/bo").symlink_to(tmp_path / "class/bo")
    assert problem(tmp_path / "link").endswith(" or as attention.py.")
    write(tmp_path / "link/new/attention.py")
    assert problem(tmp_path / "link").endswith(" Its folder new has some: hand that in.")
    for i in range(4):
        write(tmp_path / f"link/new{i}/attention.py")
    assert problem(tmp_path / "link").endswith(" Its folders new, new0, new1 and 2 more have some: hand in each.")


def test_archives_in_a_folder_and_files_with_names_of_their_own_are_said(tmp_path):
    write(tmp_path / "class/anna/attention.py")
    zipped(tmp_path / "class/bo.zip", {"attention.py": "x = 1\n"})
    zipped(tmp_path / "class/notes.zip", {"readme.py": "x = 1\n"})
    assert problem(tmp_path / "class").endswith(" Its folders and archives anna, bo.zip have some: hand in each.")
    (tmp_path / "alone").mkdir()
    zipped(tmp_path / "alone/bo.zip", {"attention.py": "x = 1\n"})
    assert problem(tmp_path / "alone").endswith(" Its archive bo.zip has some: hand that in.")
    (tmp_path / "alone/bo.zip").write_bytes(b"PK")
    (tmp_path / "alone/deeper").mkdir()
    write(tmp_path / "alone/deeper/attn.py")
    assert problem(tmp_path / "alone").endswith(" or as attention.py.")
    for name in ("attn.py", "my attention.ipynb", "notes.txt"):
        write(tmp_path / "alone" / name)
    assert problem(tmp_path / "alone").endswith(" It has attn.py, my attention.ipynb, which the course does not know.")


def test_only_files_that_the_course_names_are_taken(tmp_path):
    extra = [
        "conftest.py",
        "sitecustomize.py",
        "pytest.ini",
        "attention.pyc",
        "exercises/01_attention_basics/conftest.py",
        "exercises/01_attention_basics/module.toml",
        "autograder/suites/01_attention_basics/test_attention.py",
    ]
    for name in ("attention.py", *extra):
        write(tmp_path / "a" / name)
    assert found(tmp_path / "a") == {"01_attention_basics": ["attention.py"]}
    assert found(zipped(tmp_path / "a.zip", dict.fromkeys(["attention.py", *extra], CODE))) == {
        "01_attention_basics": ["attention.py"]
    }


def test_the_courses_own_solution_comes_in_as_a_student_would_hand_it_in(tmp_path):
    course = replace(COURSE, root=tmp_path)
    code = "from solutions.arrays import softmax\n\ndef f():\n    from solutions import arrays\n    solutions = 1\n"
    there, here = "from exercises.arrays import softmax", "from solutions.arrays import softmax"
    write(tmp_path / "solutions/01_attention_basics/attention.py", code)
    write(tmp_path / "student/attention.py", code)
    for path in ("solutions/01_attention_basics", "solutions/01_attention_basics/attention.py", "solutions"):
        text = collect(tmp_path / path, course, [ATTENTION]).modules[0].files["attention.py"]
        assert text == code.replace(here, there).replace("from solutions import", "from exercises import")
    assert collect(tmp_path / "student", course, [ATTENTION]).modules[0].files["attention.py"] == code


@pytest.mark.parametrize("leads_to", ["solutions", "solutions/01_attention_basics"])
@pytest.mark.parametrize("written", ["alice", "alice/", "./alice"])
def test_a_link_to_the_courses_solutions_is_no_submission(tmp_path, monkeypatch, leads_to, written):
    write(tmp_path / "solutions/01_attention_basics/attention.py")
    (tmp_path / "alice").symlink_to(tmp_path / leads_to, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    (item,) = collect(written, replace(COURSE, root=tmp_path), [ATTENTION]).modules
    assert item.files == {} and "link to the course's solutions" in item.problem


def test_a_lone_file_is_known_by_its_name_or_by_the_module_named(tmp_path):
    assert found(write(tmp_path / "attention.py")) == {"01_attention_basics": ["attention.py"]}
    assert found(write(tmp_path / "engine.py")) == {"07_training": ["engine.py"]}
    assert found(write(tmp_path / "alice.py"), [ATTENTION]) == {"01_attention_basics": ["attention.py"]}
    assert found(tmp_path / "engine.py", [TRAINING]) == {"07_training": ["engine.py"]}
    assert found(tmp_path / "alice.py", [TRAINING]) == {"07_training": ["training.py"]}
    assert collect(tmp_path / "alice.py", COURSE, [ATTENTION]).name == "alice"


def test_a_lone_file_of_an_unknown_module_is_a_usage_error(tmp_path):
    path = write(tmp_path / "alice.py")
    for modules in (None, [ARRAYS, ATTENTION]):
        with pytest.raises(UsageError, match="--module"):
            collect(path, COURSE, modules)


def test_a_wrong_command_line_is_a_usage_error_of_one_line(tmp_path):
    write(tmp_path / "notes.txt")
    os.mkfifo(tmp_path / "attention.py")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.zip"))
    for name in ("notes.txt", "attention.py", "socket.zip", "absent", "absent.py", "new\nline",
                 "x" * 300, "nul\0byte", "notes.txt/attention.py"):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            collect(tmp_path / name, COURSE)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UsageError):
        collect(Path("/dev/null"), COURSE)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"  \n\t\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"x = 1\ny = '\xff'\n", "not UTF-8 text (line 2)"),
        ("x = 1\n".encode("utf-16"), "not UTF-8"),
        (b"x = '\xed\xa0\x80'\n", "not UTF-8"),
        (b"x = 1\0\n", "NUL"),
        (b"#" * (sources.FILE_BYTES + 1), "larger than 256 KiB"),
        (b"# -*- coding: utf-7 -*-\nx = 1\n", "another encoding"),
        (b"\n# vim: set fileencoding=rot13 :\nx = 1\n", "another encoding"),
        (b"# coding: no-such-thing\n", "another encoding"),
        ("# coding: latin-1\nx = 'é'\n".encode(), "another encoding"),
        (b"\xef\xbb\xbf# coding: latin-1\nx = 1\n", "another encoding"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip", "py"])
def test_a_file_that_is_no_proper_text_is_refused(tmp_path, content, says, kind):
    if kind == "zip":
        path = zipped(tmp_path / "a.zip", {"attention.py": content})
    else:
        path = write(tmp_path / "a/attention.py", content)
        path = path.parent if kind == "folder" else path
    sentence = problem(path)
    assert sentence.startswith("attention.py ")
    assert says in sentence


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        ("x = 'Ünïcödé 你好 🙂'\n".encode(), "x = 'Ünïcödé 你好 🙂'\n"),
        (b"# coding: utf-8\nx = 1\n", "# coding: utf-8\nx = 1\n"),
        (b"# coding: latin-1\nx = 1\n", "# coding: latin-1\nx = 1\n"),
        (b"x = 1\r\ny = 2\r\n", "x = 1\r\ny = 2\r\n"),
        (b"def f(:\n", "def f(:\n"),
        (b"#" * sources.FILE_BYTES, "#" * sources.FILE_BYTES),
    ],
)
def test_proper_text_is_taken_as_it_is(tmp_path, content, text):
    assert collect(write(tmp_path / "attention.py", content), COURSE).modules[0].files == {"attention.py": text}


def test_one_refused_file_rejects_its_module_alone(tmp_path):
    write(tmp_path / "arrays.py")
    write(tmp_path / "training.py")
    write(tmp_path / "engine.py", b"\xff")
    first, second = collect(tmp_path, COURSE).modules
    assert (first.problem, list(first.files)) == (None, ["arrays.py"])
    assert (second.module.id, second.files) == ("07_training", {})
    assert second.problem.startswith("engine.py is not UTF-8")


def test_a_submission_is_bounded_in_all(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "SUBMISSION_BYTES", 2000)
    write(tmp_path / "arrays.py", "#" * 1500)
    write(tmp_path / "attention.py", "#" * 1500)
    first, second = collect(tmp_path, COURSE).modules
    assert first.problem is None
    assert "larger than" in second.problem


def test_a_link_is_never_followed(tmp_path):
    secret = write(tmp_path / "secret/attention.py")
    for name, link, target in [
        ("file", "attention.py", secret),
        ("inside", "attention.py", "other.py"),
        ("dangling", "attention.py", "nowhere"),
        ("parent", "exercises", tmp_path),
        ("module", "01_attention_basics", secret.parent),
        ("self", "01_attention_basics", "."),
    ]:
        folder = tmp_path / name
        write(folder / "other.py")
        (folder / link).symlink_to(target)
        assert "symbolic link" in problem(folder), name
    lone = tmp_path / "lone.py"
    lone.symlink_to(secret)
    assert "symbolic link" in problem(lone)
    archive = tmp_path / "link.zip"
    archive.symlink_to(zipped(tmp_path / "real.zip", {"attention.py": CODE}))
    assert "symbolic link" in problem(archive)


def test_the_submission_itself_may_be_a_link_to_a_folder(tmp_path):
    write(tmp_path / "real/attention.py")
    (tmp_path / "alice").symlink_to(tmp_path / "real")
    assert found(tmp_path / "alice") == {"01_attention_basics": ["attention.py"]}
    assert collect(tmp_path / "alice", COURSE).name == "alice"


def test_a_folder_a_pipe_or_a_socket_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "folder/attention.py").mkdir(parents=True)
    assert "is a folder" in problem(tmp_path / "folder")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe/attention.py")
    assert "no regular file" in problem(tmp_path / "pipe")
    (tmp_path / "sock").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock/attention.py"))
    assert "no regular file" in problem(tmp_path / "sock")
    assert "is a folder" in problem(zipped(tmp_path / "a.zip", {"attention.py/": ""}))
    assert "is a folder" in problem(zipped(tmp_path / "b.zip", {"attention.py/x.txt": "x"}))


def test_a_file_in_the_place_of_a_folder_is_as_good_as_nothing(tmp_path):
    write(tmp_path / "exercises", "no folder")
    write(tmp_path / "attention.py")
    assert found(tmp_path) == {"01_attention_basics": ["attention.py"]}


def test_what_may_not_be_read_is_reported(tmp_path):
    """Looked at by a child without privileges, since root may read everything."""
    tmp_path.chmod(0o755)
    write(tmp_path / "a/attention.py").chmod(0)
    (tmp_path / "b").mkdir(mode=0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.chdir(tmp_path)
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            good = "cannot be read" in problem(Path("a")) and "cannot be read" in problem(Path("b"))
            status = 0 if good else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (tmp_path / "b").chmod(0o700)


def test_a_folder_with_many_entries_is_never_listed(tmp_path, monkeypatch):
    write(tmp_path / "attention.py")
    for name in ("listdir", "scandir", "walk"):
        monkeypatch.setattr(os, name, None)
    assert found(tmp_path) == {"01_attention_basics": ["attention.py"]}


def with_attributes(path: Path, name: str, mode: int, content: str = "/etc/passwd") -> Path:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, content)
        archive.writestr("exercises/01_attention_basics/attention.py", CODE)
    return path


def test_links_and_devices_in_a_zip_are_refused(tmp_path):
    place = "exercises/01_attention_basics/attention.py"
    with pytest.warns(UserWarning, match="Duplicate"):
        assert "times" in problem(with_attributes(tmp_path / "twice.zip", place, stat.S_IFREG | 0o644))
    for number, mode in enumerate((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK)):
        info = zipfile.ZipInfo("attention.py")
        info.create_system, info.external_attr = 3, (mode | 0o777) << 16
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, CODE)
        assert ("symbolic link" if mode == stat.S_IFLNK else "no regular file") in problem(path)
    assert "symbolic link" in problem(with_attributes(tmp_path / "parent.zip", "exercises", stat.S_IFLNK | 0o777))
    assert found(with_attributes(tmp_path / "other.zip", "exercises/x", stat.S_IFLNK | 0o777)) == {
        "01_attention_basics": ["attention.py"]
    }


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../attention.py", "leads out"),
        ("a/../../attention.py", "leads out"),
        ("..", "leads out"),
        ("/etc/cron.d/x", "leads out"),
        ("C:/x.py", "leads out"),
        ("exercises\\01_attention_basics\\attention.py", "backslash"),
        ("..\\attention.py", "backslash"),
        ("\\\\server\\x", "backslash"),
    ],
)
def test_a_zip_whose_paths_climb_is_refused_as_a_whole(tmp_path, name, says):
    path = zipped(tmp_path / "a.zip", {"attention.py": CODE, name: CODE})
    assert says in problem(path)
    assert [says in item.problem for item in collect(path, COURSE).modules] == [True] * len(COURSE.modules)
    assert os.listdir(tmp_path) == ["a.zip"]


def test_a_name_cut_by_a_nul_byte_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"attention.py_.txt": CODE})
    path.write_bytes(path.read_bytes().replace(b"attention.py_", b"attention.py\0"))
    assert "leads out" in problem(path)


def test_a_bomb_is_refused_without_being_unpacked(tmp_path):
    bomb = zipped(tmp_path / "a.zip", {"attention.py": b"#" * (64 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert "larger than 256 KiB" in problem(bomb)
    # The same with a directory that lies about the size.
    data = bomb.read_bytes().replace(struct.pack("<L", 64 << 20), struct.pack("<L", 1000))
    assert "damaged" in problem(write(tmp_path / "b.zip", data))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_bound_are_refused(tmp_path, compression):
    path = zipped(tmp_path / "a.zip", {"attention.py": CODE}, compression=compression)
    assert "compressed in an unusual way" in problem(path)


def test_a_deflated_file_is_read(tmp_path):
    path = zipped(tmp_path / "a.zip", {"attention.py": CODE * 1000}, compression=zipfile.ZIP_DEFLATED)
    assert collect(path, COURSE).modules[0].files == {"attention.py": CODE * 1000}


def test_an_encrypted_member_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"attention.py": CODE})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[data.index(b"PK\x03\x04") + 6] |= 1
    assert "encrypted" in problem(write(path, bytes(data)))


def test_a_wrong_checksum_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"attention.py": CODE})
    assert "damaged" in problem(write(path, path.read_bytes().replace(b"return x", b"return y")))


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"PK\x05\x06" + b"\xff" * 18, b"\0" * 4096])
def test_what_is_no_zip_is_refused(tmp_path, content):
    assert "not a zip archive" in problem(write(tmp_path / "a.zip", content))


def test_a_zip_in_a_zip_is_not_opened(tmp_path):
    inner = zipped(tmp_path / "attention.zip", {"attention.py": CODE})
    assert "missing" in problem(zipped(tmp_path / "a.zip", {"attention.zip": inner.read_bytes()}))


def test_a_flood_of_members_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", {f"{number}": b"" for number in range(sources.ARCHIVE_MEMBERS + 1)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "over 10000 members" in problem(path)


def test_deep_paths_in_an_archive_cost_neither_time_nor_memory(tmp_path):
    """Each of these members lies below 500 folders of its own: to know all of them would take gigabytes."""
    members = {f"{number}/" + "b/" * 499 + "x": b"" for number in range(9000)}
    path = zipped(tmp_path / "a.zip", {**members, "attention.py": CODE})
    tracemalloc.start()
    start = time.process_time()
    assert collect(path, COURSE).modules[0].files == {"attention.py": CODE}
    assert time.process_time() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 8 * path.stat().st_size
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: b"#!/bin/sh\nexit\n" + data, None),
        (lambda data: data + b"junk" * 100, None),
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data.replace(b"PK\3\4", b"PK\3\5"), "damaged"),
        (lambda data: data.replace(b"attention.py", b"attentiom.py", 1), "damaged"),
        (lambda data: _set(data, 10, struct.pack("<H", 99)), "unusual way"),
        (lambda data: _set(data, 42, struct.pack("<L", 1 << 30)), "damaged"),
        (lambda data: _set(data, 20, b"\xff" * 8), "larger"),
        (lambda data: _set(data, 46, b"ATTENTION.PY"), "missing"),
        (lambda data: _set(data, 46, b"attention.p\0"), "leads out"),
    ],
)
def test_a_crafted_zip_is_read_as_it_says_or_refused(tmp_path, change, says):
    path = zipped(tmp_path / "a.zip", {"attention.py": CODE})
    write(path, change(path.read_bytes()))
    if says:
        assert says in problem(path)
    else:
        assert found(path, [ATTENTION]) == {"01_attention_basics": ["attention.py"]}


def _set(data: bytes, at: int, value: bytes) -> bytes:
    """With `value` at this place of the member's entry in the directory."""
    at += data.index(b"PK\1\2")
    return data[:at] + value + data[at + len(value) :]


def test_a_large_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ARCHIVE_BYTES", 1 << 20)
    path = tmp_path / "a.zip"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    assert "larger than 1 MiB" in problem(path)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_zip_never_raises(tmp_path_factory, data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("attention.py", CODE)
        archive.writestr("a/b.txt", "x" * 100)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.zip"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    (item,) = collect(path, COURSE, [ATTENTION]).modules
    assert (item.files == {"attention.py": CODE}) != bool(item.problem)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_taken_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "attention.py"
    path.write_bytes(content)
    (item,) = collect(path, COURSE).modules
    assert bool(item.files) != bool(item.problem)


def test_the_digest_is_that_of_the_content(tmp_path):
    write(tmp_path / "a/exercises/01_attention_basics/attention.py")
    write(tmp_path / "b/attention.py")
    write(tmp_path / "b/README.md")
    archive = zipped(tmp_path / "c.zip", {"attention.py": CODE})
    digests = {collect(path, COURSE).digest for path in (tmp_path / "a", tmp_path / "b", archive)}
    assert len(digests) == 1
    assert all(len(digest) == 64 for digest in digests)
    write(tmp_path / "b/attention.py", CODE + "\n")
    digests.add(collect(tmp_path / "b", COURSE).digest)
    write(tmp_path / "b/attention.py", b"\xff")
    digests.add(collect(tmp_path / "b", COURSE).digest)
    write(tmp_path / "b/attention.py", b"")
    digests.add(collect(tmp_path / "b", COURSE).digest)
    digests.add(collect(tmp_path / "a", COURSE, [ARRAYS, ATTENTION]).digest)
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("alice", "alice"),
        ("Alice Müller (2)", "Alice-Müller-2"),
        ("Mu\u0308ller", "M\u00fcller"),
        ("../..", "submission"),
        (".", "submission"),
        ("", "submission"),
        ("王芳", "王芳"),
        ("प्रिया", "प्रिया"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\udcffb", "a-b"),
        ("😀", "submission"),
        ("王" * 80, "王" * 80),
        ("𝔞" * 80, "𝔞" * 60),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("a/b\\c\0d\ne", "a-b-c-d-e"),
        ("x" * 200, "x" * 80),
        ("v1.2_final", "v1.2_final"),
    ],
)
def test_a_name_is_made_fit_for_a_file_system(text, name):
    assert clean_name(text) == name


def test_a_submission_is_named_after_its_folder_or_file(tmp_path, monkeypatch):
    write(tmp_path / "bob/attention.py")
    monkeypatch.chdir(tmp_path / "bob")
    assert collect(Path("."), COURSE).name == "bob"
    assert collect(Path("attention.py"), COURSE).name == "attention"
    assert collect(Path("."), COURSE, name="given").name == "given"
    write(tmp_path / "carol.v2/attention.py")
    assert collect(tmp_path / "carol.v2", COURSE).name == "carol.v2"
    write(tmp_path / "dave.zip/attention.py")
    assert collect(tmp_path / "dave.zip", COURSE).name == "dave.zip"


def test_many_submissions_have_names_of_their_own():
    paths = [Path(p) for p in ("/s/alice/attention.py", "/s/bob/attention.py", "/s/carol", "/t/Bob/Attention.py",
                               "/t/bob/attention.py", "/u/bob-attention.zip")]  # fmt: skip
    names = name_all(paths)
    assert names == [
        "alice-attention",
        "bob-attention-2",
        "carol",
        "Bob-Attention-3",
        "bob-attention-4",
        "bob-attention",
    ]
    assert names == name_all(paths)
    assert name_all([]) == []
    assert name_all([Path(f"/s/{name}") for name in ("王芳", "李明", "Müller")]) == ["王芳", "李明", "Müller"]


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=100), max_size=8))
def test_names_are_always_unique_and_safe(parts):
    names = name_all([Path("/s") / part.lstrip("/") for part in parts])
    assert len({name.casefold() for name in names}) == len(parts)
    for name in names:
        assert 1 <= len(name) <= 80 and len(name.encode()) <= 240
        assert clean_name(name) == name


def test_sources_are_not_run(tmp_path):
    path = write(tmp_path / "attention.py", "raise SystemExit('I was run')\n")
    assert found(path) == {"01_attention_basics": ["attention.py"]}
