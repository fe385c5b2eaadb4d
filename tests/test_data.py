"""Data sets come from the named folder or from the network, and are the right ones or not used at all."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from autograder import data

CONTENT = "To be, or not to be\r\nété\n".encode()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path):
    """A folder and the address under which it is served."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty AUTOGRADER_DATA, and a cache that is nobody's."""
    named = tmp_path / "data"
    named.mkdir()
    monkeypatch.setenv(data.FOLDER_VARIABLE, str(named))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return named


def registry(tmp_path: Path, url: str = "", content: bytes = CONTENT) -> Path:
    file = tmp_path / "registry.toml"
    file.write_text(
        '[hamlet]\nfile = "hamlet.txt"\nabout = "A play."\nlicence = "public domain"\n'
        + (f'url = "{url}"\n' if url else "")
        + f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nbytes = {len(content)}\n'
    )
    return file


def test_the_courses_own_registry_is_sound():
    entries = data.datasets()
    assert {"tinyshakespeare", "tatoeba-eng-fra"} <= set(entries)
    for name, entry in entries.items():
        assert entry.name == name and entry.bytes > 0 and entry.licence and entry.about
        assert len(entry.sha256) == 64 and int(entry.sha256, 16)
        assert Path(entry.file).name == entry.file
        assert not entry.url or urlsplit(entry.url).scheme == "https"


def test_the_named_folder_comes_first(folder, site, tmp_path):
    served, address = site
    (folder / "hamlet.txt").write_bytes(CONTENT)
    (served / "hamlet.txt").write_bytes(b"other")
    listed = registry(tmp_path, f"{address}/hamlet.txt")
    assert data.path("hamlet", listed) == folder / "hamlet.txt"
    assert data.text("hamlet", listed) == CONTENT.decode()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"!", b"", CONTENT * 2])
def test_another_file_in_the_folder_is_refused_and_not_quietly_replaced(folder, site, tmp_path, content):
    served, address = site
    (served / "hamlet.txt").write_bytes(CONTENT)
    (folder / "hamlet.txt").write_bytes(content)
    with pytest.raises(data.DataError, match=r"hamlet\.txt has .* instead of"):
        data.path("hamlet", registry(tmp_path, f"{address}/hamlet.txt"))


def test_a_folder_in_the_files_place_is_a_clear_error(folder, tmp_path):
    (folder / "hamlet.txt").mkdir()
    with pytest.raises(data.DataError, match=r"hamlet\.txt"):
        data.path("hamlet", registry(tmp_path))


def test_what_the_folder_lacks_is_downloaded_once(folder, site, tmp_path):
    served, address = site
    (served / "hamlet.txt").write_bytes(CONTENT)
    listed = registry(tmp_path, f"{address}/hamlet.txt")
    first = data.path("hamlet", listed)
    assert first.read_bytes() == CONTENT and tmp_path / "cache" in first.parents
    (served / "hamlet.txt").unlink()
    assert data.path("hamlet", listed) == first


def test_without_the_variable_it_is_downloaded_too(folder, site, tmp_path, monkeypatch):
    monkeypatch.delenv(data.FOLDER_VARIABLE)
    served, address = site
    (served / "hamlet.txt").write_bytes(CONTENT)
    assert data.text("hamlet", registry(tmp_path, f"{address}/hamlet.txt")) == CONTENT.decode()


def test_a_download_of_something_else_is_refused_and_not_kept(folder, site, tmp_path):
    served, address = site
    (served / "hamlet.txt").write_bytes(b"something else")
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.path("hamlet", registry(tmp_path, f"{address}/hamlet.txt"))
    assert not list((tmp_path / "cache").rglob("hamlet*"))


def test_a_missing_page_and_a_dead_server_say_what_to_do(folder, site, tmp_path):
    _, address = site
    for url in (f"{address}/nothing.txt", "http://127.0.0.1:9/hamlet.txt"):
        with pytest.raises(data.DataError, match=f"could not be downloaded from {url}.*{data.FOLDER_VARIABLE}"):
            data.path("hamlet", registry(tmp_path, url))


def test_what_cannot_be_downloaded_says_where_to_put_it(folder, tmp_path):
    with pytest.raises(data.DataError, match=rf"no public download.*hamlet\.txt.*{data.FOLDER_VARIABLE}"):
        data.path("hamlet", registry(tmp_path))


def test_an_unknown_name_lists_the_known_ones(folder, tmp_path):
    with pytest.raises(data.DataError, match="'macbeth'.*hamlet"):
        data.path("macbeth", registry(tmp_path))


def test_a_variable_that_names_no_folder_is_an_error(folder, tmp_path, monkeypatch):
    monkeypatch.setenv(data.FOLDER_VARIABLE, str(folder / "missing"))
    with pytest.raises(data.DataError, match=data.FOLDER_VARIABLE):
        data.path("hamlet", registry(tmp_path))


@pytest.mark.parametrize("content", ["[hamlet", "[hamlet]\nfile = 'x'\n", "[hamlet]\ncolour = 'red'\n", "hamlet = 1\n"])
def test_a_registry_that_is_wrong_names_itself(tmp_path, content):
    file = tmp_path / "registry.toml"
    file.write_text(content)
    with pytest.raises(data.DataError, match=r"registry\.toml"):
        data.datasets(file)
    with pytest.raises(data.DataError, match=r"registry\.toml"):
        data.datasets(tmp_path / "missing" / "registry.toml")
