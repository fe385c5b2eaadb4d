"""Data sets by name: from the folder named by AUTOGRADER_DATA, else downloaded once and kept in the user's cache.

`datasets/registry.toml` lists them. Whatever the source, a file is used only when it is, byte for byte, the one listed.
"""

import hashlib
import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REGISTRY = Path(__file__).parents[1] / "datasets" / "registry.toml"
FOLDER_VARIABLE = "AUTOGRADER_DATA"
CACHE_NAME = "llm-from-scratch-course"
DOWNLOAD_SECONDS = 60


class DataError(Exception):
    """A data set is unknown, cannot be had, or is not the file that the course expects; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """One entry of the registry. `url` is empty where the file cannot be downloaded."""

    name: str
    file: str
    about: str
    sha256: str
    bytes: int
    licence: str
    url: str = ""


def datasets(registry: Path = REGISTRY) -> Mapping[str, Dataset]:
    """Every data set of the registry, by name. Raises DataError naming the entry that is wrong."""
    try:
        entries = tomllib.loads(registry.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{registry}: {error}") from error
    found = {}
    for name, entry in entries.items():
        try:
            found[name] = Dataset(name=name, **entry)
        except TypeError as error:
            raise DataError(f"{registry}: [{name}]: {error}") from error
    return found


def path(name: str, registry: Path = REGISTRY) -> Path:
    """The checked file of a data set.

    Raises DataError for an unknown name, a file that differs from the one listed, and a download that fails.
    """
    known = datasets(registry)
    if name not in known:
        raise DataError(f"there is no data set {name!r}; there is {', '.join(sorted(known))}")
    dataset = known[name]
    return _in_folder(dataset) or _download(dataset)


def text(name: str, registry: Path = REGISTRY) -> str:
    """The whole text of a data set, line ends as they are in the file."""
    return path(name, registry).read_bytes().decode("utf-8")


def _in_folder(dataset: Dataset) -> Path | None:
    named = os.environ.get(FOLDER_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(f"{FOLDER_VARIABLE} is {named!r}, which is no folder")
    file = folder / dataset.file
    if not file.exists():
        return None
    try:
        size = file.stat().st_size
        digest = _sha256(file) if size == dataset.bytes else ""
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    if size != dataset.bytes:
        raise DataError(f"{file} has {size:,} bytes instead of {dataset.bytes:,}: {_OTHER}")
    if digest != dataset.sha256:
        raise DataError(f"{file} has sha256 {digest} instead of {dataset.sha256}: {_OTHER}")
    return file


_OTHER = "it is another version or damaged. Remove it, or put the right one in its place"


def _download(dataset: Dataset) -> Path:
    if not dataset.url:
        raise DataError(
            f"{dataset.name} has no public download. Put {dataset.file} (sha256 {dataset.sha256}) into a folder and "
            f"set {FOLDER_VARIABLE} to that folder"
        )
    import pooch  # only here: a module that needs no download starts faster without requests
    from requests import RequestException

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        return Path(
            pooch.retrieve(
                dataset.url,
                known_hash=f"sha256:{dataset.sha256}",
                fname=dataset.file,
                path=pooch.os_cache(CACHE_NAME),
                downloader=pooch.HTTPDownloader(timeout=DOWNLOAD_SECONDS),
            )
        )
    except (RequestException, OSError, ValueError) as error:  # pooch: ValueError for another hash
        raise DataError(
            f"{dataset.name} could not be downloaded from {dataset.url}: {error}. Without a network, put "
            f"{dataset.file} into a folder and set {FOLDER_VARIABLE} to that folder"
        ) from error


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
