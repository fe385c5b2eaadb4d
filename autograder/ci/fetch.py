"""The files of a pull request that the course names, by API: nothing is cloned, checked out, unpacked or run.

Git trees are read folder by folder, from the commit down to each file that is wanted, and only names of our own are ever
looked up or written. So a repository's other content (any number of files, links, submodules, odd names, workflows, results that
somebody made up) is not even seen, and what stands in a wanted place is taken only if it is a plain file of bounded size.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from autograder.ci.api import Api, ApiError, TooLarge, is_repository, is_sha
from autograder.ci.fetched import Fetched, write
from autograder.course import Course, Module
from autograder.intake import SUBMISSION_BYTES, UsageError, notebook_of
from autograder.notebook import NOTEBOOK_BYTES
from autograder.sources import FILE_BYTES, printable, size

ROOT = "exercises"
ODD = "the API's answer is not what its documentation says"
FILE_MODES = ("100644", "100755", "100664")  # the last as old Git wrote it
_KINDS = {"120000": "a symbolic link", "160000": "a submodule", "040000": "a folder"}


class Refused(Exception):
    """This pull request is not graded as asked; the sentence says why."""


class _Problem(Exception):
    """A file or folder that is there and cannot be taken."""


@dataclass(frozen=True)
class Entry:
    """One entry of a Git tree."""

    mode: str
    sha: str
    bytes: int


def fetch(
    api: Api,
    course: Course,
    repository: str,
    pull: int,
    sha: str,
    out: Path,
    modules: Sequence[Module] = (),
    allow: Sequence[str] | None = None,
) -> Fetched:
    """Write the files of the pull request at `sha` into the folder `out`, with the note of what they are.

    Without `modules`: those of which the pull request changes a file or the notebook, as against the commit at which it left the
    base branch. `allow` are patterns (`my-org/llm-*`) of the
    repositories that may be graded; None for all of them.

    Raises:
        UsageError: an argument is malformed, or `out` is there and not empty.
        Refused: the repository is not allowed, the pull request is not open or does not lead into the default branch, or `sha` is
            not its head.
        ApiError: the API did not answer as it should.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UsageError(f"{printable(out)}: is there already; name a new or empty folder")
    base = _left_at(api, repository, base_of(api, repository, pull, sha, allow), sha)
    head_tree, base_tree = _Tree(api, repository, sha), _Tree(api, repository, base)
    wanted = list(modules) or [module for module in course.modules if _differs(module, head_tree, base_tree)]
    problems: dict[str, str] = {}
    out.mkdir(parents=True, exist_ok=True)
    room = SUBMISSION_BYTES
    for module in wanted:
        try:
            texts = _read(api, repository, module, head_tree)
            room -= sum(len(text) for file, text in texts.items() if file in module.files)
            if room < 0:
                raise _Problem(f"the submission is larger than {size(SUBMISSION_BYTES)} in all.")
        except _Problem as problem:
            problems[module.id] = str(problem)
            continue
        for file, text in texts.items():
            path = out / ROOT / module.id / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
    chosen = tuple(module.id for module in wanted)
    fetched = Fetched(repository=repository, pull=pull, sha=sha, modules=chosen, problems=problems)
    write(out, fetched)
    return fetched


def head_of(api: Api, repository: str, pull: int) -> str:
    """The commit at which the pull request is now; empty when it is not open."""
    answer = _table(api.get(f"/repos/{repository}/pulls/{pull}"))
    return str(_table(answer.get("head")).get("sha")) if answer.get("state") == "open" else ""


def base_of(api: Api, repository: str, pull: int, sha: str, allow: Sequence[str] | None = None) -> str:
    """The commit of the base of a pull request that is to be graded at `sha`. Raises as `fetch` does.

    That `sha` is this very pull request's head keeps anyone from having another's work graded as theirs.
    """
    if not is_repository(repository):
        raise UsageError(f"{ascii(repository[:80])}: is not a repository; name it as OWNER/NAME")
    if not is_sha(sha):
        raise UsageError(f"{ascii(sha[:80])}: is not a commit; give all 40 hexadecimal digits")
    if pull < 1:
        raise UsageError(f"{pull}: is not the number of a pull request")
    if allow is not None and not any(fnmatchcase(repository.lower(), pattern.lower()) for pattern in allow):
        raise Refused(f"{repository} is not among the repositories that are graded here")
    answer = _table(api.get(f"/repos/{repository}/pulls/{pull}"))
    head, base = _table(answer.get("head")), _table(answer.get("base"))
    into = _table(base.get("repo")).get("full_name")
    if not isinstance(into, str) or into.lower() != repository.lower():
        raise Refused(f"pull request {pull} does not lead into {repository}")
    if base.get("ref") != _table(base["repo"]).get("default_branch"):
        # Checks belong to a commit: one that leads elsewhere, where less of it is new, would pass for the one that counts.
        raise Refused(f"pull request {pull} of {repository} does not lead into the default branch")
    if answer.get("state") != "open":
        raise Refused(f"pull request {pull} of {repository} is not open")
    if head.get("sha") != sha:
        raise Refused(f"pull request {pull} of {repository} has moved on: {sha[:12]} is not its newest commit")
    if not is_sha(str(base.get("sha"))):
        raise ApiError("the pull request has no base commit")
    return str(base["sha"])


def _left_at(api: Api, repository: str, base: str, sha: str) -> str:
    """The newest commit that the base and the pull request share; the base itself where they share none."""
    try:  # files are listed on the first page alone
        answer = _table(api.get(f"/repos/{repository}/compare/{base}...{sha}?per_page=1&page=2"))
    except ApiError as error:
        if error.status != 404:
            raise
        return base
    shared = str(_table(answer.get("merge_base_commit")).get("sha"))
    if not is_sha(shared):
        raise ApiError(ODD)
    return shared


@dataclass
class _Tree:
    """A commit's folders, each read at most once."""

    api: Api
    repository: str
    commit: str
    folders: dict[str, Mapping[str, Entry] | str] = field(default_factory=dict)

    def find(self, path: str) -> Entry | None:
        """The entry at a path, None where there is nothing. `_Problem` where something on the way is not a folder."""
        *folders, name = path.split("/")
        sha, walked = self.commit, ""
        for part in folders:
            entry = self._folder(sha, walked).get(part)
            if entry is None:
                return None
            walked = f"{walked}/{part}".lstrip("/")
            if entry.mode != "040000":
                raise _Problem(f"{walked} is {_KINDS.get(entry.mode, 'a file')}: it must be a folder.")
            sha = entry.sha
        return self._folder(sha, walked).get(name)

    def _folder(self, sha: str, path: str) -> Mapping[str, Entry]:
        if sha not in self.folders:
            self.folders[sha] = self._listed(sha, path)
        folder = self.folders[sha]
        if isinstance(folder, str):
            raise _Problem(folder)
        return folder

    def _listed(self, sha: str, path: str) -> Mapping[str, Entry] | str:
        too_many = f"{path or 'the top folder'} has too many entries to be listed: keep only the course's files in it."
        try:
            answer = _table(self.api.get(f"/repos/{self.repository}/git/trees/{sha}"))
        except TooLarge:
            return too_many
        if answer.get("truncated") is True:
            return too_many
        if answer.get("truncated") is not False or not isinstance(answer.get("tree"), list):
            raise ApiError(ODD)
        return dict(_entry(item) for item in answer["tree"])


def _entry(item: Any) -> tuple[str, Entry]:
    item = _table(item)
    path, mode, sha, count = item.get("path"), item.get("mode"), item.get("sha"), item.get("size", 0)
    if not (isinstance(path, str) and isinstance(mode, str) and is_sha(str(sha)) and isinstance(count, int)):
        raise ApiError(ODD)
    return path, Entry(mode, str(sha), count)


def _differs(module: Module, head: _Tree, base: _Tree) -> bool:
    """Whether a file of the module, or its notebook, is not the base's; one that was deleted is no change to grade."""
    found = []
    for file in (*module.files, notebook_of(module)):
        try:
            new = head.find(f"{ROOT}/{module.id}/{file}")
        except _Problem:
            found.append(True)
            continue
        try:
            old = base.find(f"{ROOT}/{module.id}/{file}")
        except _Problem:
            old = None
        found.append(new is not None and (old is None or (old.mode, old.sha) != (new.mode, new.sha)))
    return any(found)


def _read(api: Api, repository: str, module: Module, tree: _Tree) -> dict[str, bytes]:
    texts = {}
    for file, limit in [*((file, FILE_BYTES) for file in module.files), (notebook_of(module), NOTEBOOK_BYTES)]:
        entry = tree.find(f"{ROOT}/{module.id}/{file}")
        if entry is None:
            continue
        if entry.mode not in FILE_MODES:
            raise _Problem(f"{file} is {_KINDS.get(entry.mode, 'no regular file')}: commit the file itself.")
        if entry.bytes > limit:
            raise _Problem(_too_large(file, limit))
        texts[file] = _blob(api, repository, file, entry, limit)
    return texts


def _too_large(file: str, limit: int) -> str:
    return f"{file} is larger than {size(limit)}: keep data out of it."


def _blob(api: Api, repository: str, file: str, entry: Entry, limit: int) -> bytes:
    answer = _table(api.get(f"/repos/{repository}/git/blobs/{entry.sha}", limit=2 * limit))
    try:
        data = base64.b64decode(str(answer.get("content")), validate=False)
    except (binascii.Error, ValueError):
        raise ApiError(f"{file}: the API's answer is not base64") from None
    # A blob's name is the SHA-1 of its content: what came is what the commit holds.
    if hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() != entry.sha:
        raise ApiError(f"{file}: what the API sent is not what the commit holds")
    if len(data) > limit:
        raise _Problem(_too_large(file, limit))
    return data


def _table(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, dict):
        raise ApiError(ODD)
    return answer
