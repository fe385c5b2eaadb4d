"""From text to ids and back, as far as it is particular to this module.

Everything here takes *any* tokenizer: an object with `encode(text) -> list of ids` and `decode(ids) -> text`, where decode joins
the ids' bytes and reads them as UTF-8, with U+FFFD in place of what is none. GPT-2's own (module 10) is one; `ByteTokenizer`,
which needs no files, is another.

A token is a piece of bytes, and a character may be spread over several tokens. Whoever shows a text while it is generated has
to wait until a character is whole: that is `decode_stream`.
"""

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol


class Tokenizer(Protocol):
    """What this module asks of a tokenizer."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Iterable[int]) -> str: ...


class ByteTokenizer:
    """Every byte is a token of its own, given; 256 is the end-of-text token, which has no text."""

    n_vocab = 257
    eot_id = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8"))

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(i for i in ids if i != self.eot_id).decode("utf-8", errors="replace")


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer that a command line names: "bytes", or a folder with GPT-2's `encoder.json` and `vocab.bpe`. Given.

    The latter is module 10's, which is imported only here: nothing else in this module needs it.
    """
    if name == "bytes":
        return ByteTokenizer()
    folder, package = Path(name), __name__.partition(".")[0]
    if not folder.is_dir():
        raise ValueError(f"the tokenizer is 'bytes' or a folder with encoder.json and vocab.bpe, not {name!r}")
    tokenizer = importlib.import_module(f"{package}.byte_level_bpe").GPT2Tokenizer
    return tokenizer.from_files(folder / "encoder.json", folder / "vocab.bpe")


def decode_stream(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[str]:
    """The text of ids that come one by one, in pieces of whole characters.

    A piece is yielded as soon as the ids so far end with a whole character, before the next id is asked for. So no piece ends
    with half a character, and none is empty; where a character is spread over several ids, its piece comes with the last of them.
    (A U+FFFD at the end, even one that is in the text, counts as half a character: `decode` shows both alike.)
    When the ids end, what is left comes as one last piece, as `tokenizer.decode` gives it. All pieces together are
    `tokenizer.decode(all ids)`, whether the bytes are UTF-8 or not.
    """
    ### BEGIN SOLUTION
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = tokenizer.decode(waiting)
        if not text.endswith("\ufffd"):  # how decode shows a character that has only begun
            waiting = []
            if text:
                yield text
    if waiting and (text := tokenizer.decode(waiting)):
        yield text
    ### END SOLUTION
