"""From files of text to batches: tokens on disk, in shards, read through memory maps.

Training reads the same tokens in order, again and again, from many processes, and stops in the middle. So the text is encoded
once, into files of plain 16-bit numbers ("shards"), and a manifest says what there is. A process maps the files into its
memory and reads only the pages it needs; where it is in the data is two numbers, epoch and step, which a checkpoint has to
remember.

    corpus folder    manifest.json  train_00000.bin  train_00001.bin  ...  validation_00000.bin
    a split          the tokens of its shards, one after the other: a stream of N tokens
    window i         x = stream[i T : i T + T],  y = stream[i T + 1 : i T + T + 1],  with T = context_length
    a batch          batch_size windows for each of world_size processes

The command line: python -m solutions.gpt124m.data FILE... --folder CORPUS
"""

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solutions.gpt124m.tokenizer import Tokenizer, load_tokenizer

MANIFEST = "manifest.json"
DTYPE = np.dtype("<u2")  # 16 bits, little-endian, whatever the machine: 65536 ids are enough for GPT-2's 50257


def read_documents(paths: Iterable[str | os.PathLike]) -> Iterator[str]:
    """The documents of the files, one by one, given: each line of a `.jsonl` file has one as `{"text": …}`; any other file is
    one."""
    for path in map(Path, paths):
        with path.open(encoding="utf-8") as file:
            if path.suffix == ".jsonl":
                yield from (json.loads(line)["text"] for line in file if line.strip())
            else:
                yield file.read()


def prepare_corpus(
    paths: Iterable[str | os.PathLike],
    tokenizer: Tokenizer,
    folder: str | os.PathLike,
    shard_tokens: int,
    eot_id: int,
    n_validation: int = 1,
) -> dict[str, Any]:
    """Encode documents into shards of tokens; returns the manifest.

    The documents are those of `read_documents(paths)`, in order; one that has no tokens is left out, as if it were not there.
    The last `n_validation` of them are the split "validation", all others the split "train": what is held out depends on the
    order alone, not on anybody's size. Each document is written as `eot_id` and then its tokens, so that a model which has
    read `eot_id` begins a document. A split's documents follow each other without a gap, over the ends of shards, too.

    `folder` is made if need be. A shard is a file of 16-bit little-endian numbers, `train_00000.bin`, `train_00001.bin`, …,
    `validation_00000.bin`, …; all hold exactly `shard_tokens` tokens but the last of its split, which holds 1 to `shard_tokens`.
    Last of all, `manifest.json` is written, so that a folder which has one is complete (one from before is removed first):

        {"dtype": "uint16", "eot_id": 256, "splits": {
            "train": {"n_documents": 3, "n_tokens": 70, "shards": [{"file": "train_00000.bin", "n_tokens": 64}, …]},
            "validation": {…}}}

    The returned dict is what the file holds. Memory stays bounded: a shard's file is complete as soon as it is full, and no
    more than `n_validation + 1` documents and less than one shard of tokens wait at any time.

    Raises ValueError for `shard_tokens` or `n_validation` below 1. It also does for fewer than `n_validation + 1` documents
    with tokens, and for an id (`eot_id`, too) that is not from 0 to 65535; there is no manifest in the folder then.
    """
    ### BEGIN SOLUTION
    folder = Path(folder)
    if shard_tokens < 1 or n_validation < 1:
        raise ValueError(f"shard_tokens and n_validation must be at least 1, got {shard_tokens} and {n_validation}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    splits = {split: {"n_documents": 0, "n_tokens": 0, "shards": []} for split in ("train", "validation")}
    buffers: dict[str, list[int]] = {split: [] for split in splits}

    def write_shard(split: str) -> None:
        tokens, buffers[split] = buffers[split][:shard_tokens], buffers[split][shard_tokens:]
        file = f"{split}_{len(splits[split]['shards']):05}.bin"
        np.array(tokens, dtype=DTYPE).tofile(folder / file)
        splits[split]["shards"].append({"file": file, "n_tokens": len(tokens)})

    def add(split: str, ids: list[int]) -> None:
        if not (0 <= min(ids) and max(ids) <= 65535):
            raise ValueError(f"ids must be from 0 to 65535, got {min(ids)} to {max(ids)}")
        splits[split]["n_documents"] += 1
        splits[split]["n_tokens"] += len(ids)
        for start in range(0, len(ids), shard_tokens):  # a long document passes through piece by piece
            buffers[split] += ids[start : start + shard_tokens]
            if len(buffers[split]) >= shard_tokens:
                write_shard(split)

    last: deque[list[int]] = deque()  # nobody knows which documents are the last before the end
    for text in read_documents(paths):
        if ids := list(tokenizer.encode(text)):
            last.append([eot_id, *ids])
        if len(last) > n_validation:
            add("train", last.popleft())
    if not splits["train"]["n_documents"]:
        raise ValueError(f"{len(last)} documents with tokens are too few to hold out {n_validation} and train on the rest")
    for ids in last:
        add("validation", ids)
    for split, buffer in list(buffers.items()):
        if buffer:
            write_shard(split)
    manifest = {"dtype": "uint16", "eot_id": eot_id, "splits": splits}
    unfinished = folder / f"{MANIFEST}.unfinished"
    unfinished.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, folder / MANIFEST)
    return manifest
    ### END SOLUTION


class TokenShards:
    """Batches of one split of a prepared corpus, for one of `world_size` processes.

    The split's N tokens are one stream, over the ends of its shards, and `(N - 1) // context_length` windows of it have a
    target for each token (see above): every token is a target at most once in an epoch. Batch `step` of an epoch takes the
    windows from number `step * batch_size * world_size` on: process `rank` gets `batch_size` of them, those from its `rank *
    batch_size`-th on, in order. Windows that do not fill a batch for every process are left out, so all processes have the
    same number of batches, `len(shards)`.

    With `shuffle_seed=None`, windows are numbered as they lie in the stream, in every epoch. With a seed (an int), each epoch
    has its own order of all windows, drawn from the seed and the epoch's number alone, and so the same for all processes.

    Attributes: `epoch` and `step`, the position of the next batch, both from 0 on.

    Raises ValueError when the split has too few tokens for one batch for every process, when `batch_size`, `context_length`
    or `world_size` is below 1, when `rank` is not from 0 to world_size - 1, for a split that is not in the manifest, and when
    a shard's file has another size than the manifest says.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        split: str,
        batch_size: int,
        context_length: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle_seed: int | None = None,
    ) -> None:
        ### BEGIN SOLUTION
        if min(batch_size, context_length, world_size) < 1 or not 0 <= rank < world_size:
            given = f"{batch_size=}, {context_length=}, {rank=}, {world_size=}"
            raise ValueError(f"sizes must be at least 1 and rank below world_size, got {given}")
        manifest = json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
        if split not in manifest["splits"]:
            raise ValueError(f"split must be one of {', '.join(manifest['splits'])}, got {split!r}")
        self.sizes = {"split": split, "batch_size": batch_size, "context_length": context_length, "world_size": world_size}
        self.batch_size, self.context_length, self.rank, self.shuffle_seed = batch_size, context_length, rank, shuffle_seed
        self.shards = []
        for shard in manifest["splits"][split]["shards"]:
            path = Path(folder) / shard["file"]
            if path.stat().st_size != shard["n_tokens"] * DTYPE.itemsize:
                raise ValueError(f"{path} has {path.stat().st_size} bytes, not those of {shard['n_tokens']} tokens")
            self.shards.append(np.memmap(path, dtype=DTYPE, mode="r"))
        self.starts = np.cumsum([0, *map(len, self.shards)])  # where each shard begins in the stream, and where the last one ends
        self.n_windows = (int(self.starts[-1]) - 1) // context_length
        self.windows_per_batch = batch_size * world_size
        if self.n_windows < self.windows_per_batch:
            needed = self.windows_per_batch * context_length + 1
            raise ValueError(f"{split} has {self.starts[-1]} tokens, fewer than the {needed} of one batch for every process")
        self.epoch = self.step = 0
        self._order: tuple[int, Tensor] | None = None
        ### END SOLUTION

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        ### BEGIN SOLUTION
        return self.n_windows // self.windows_per_batch
        ### END SOLUTION

    def batch(self, step: int, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Batch number `step` of an epoch: (x, y), both `(batch_size, context_length)` of int64, copies that share memory
        with nothing, nor with each other. The position stays as it is. Without a seed, a batch takes no more memory than its
        own tokens.

        Raises IndexError where step is not from 0 to len(self) - 1.
        """
        ### BEGIN SOLUTION
        if not 0 <= step < len(self):
            raise IndexError(f"step must be from 0 to {len(self) - 1}, got {step}")
        first = step * self.windows_per_batch + self.rank * self.batch_size
        numbers = range(first, first + self.batch_size)
        if self.shuffle_seed is not None:
            numbers = self._shuffled(epoch)[first : first + self.batch_size].tolist()
        rows = np.stack([self._read(i * self.context_length, self.context_length + 1) for i in numbers])
        tokens = torch.from_numpy(rows.astype(np.int64))  # (batch_size, context_length + 1)
        return tokens[:, :-1].clone(), tokens[:, 1:].clone()  # one may be changed without the other
        ### END SOLUTION

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """The batch at the position, which then moves on by one: to the beginning of the next epoch after the last batch of
        one."""
        ### BEGIN SOLUTION
        batch = self.batch(self.step, self.epoch)
        self.step += 1
        if self.step == len(self):
            self.epoch, self.step = self.epoch + 1, 0
        return batch
        ### END SOLUTION

    def state_dict(self) -> dict[str, Any]:
        """The position, the same for all processes: a dict of plain values (what JSON has). Later batches do not change it."""
        ### BEGIN SOLUTION
        return {"epoch": self.epoch, "step": self.step, "shuffle_seed": self.shuffle_seed, **self.sizes}
        ### END SOLUTION

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position: the next batches are those that followed `state_dict()` then.

        Raises ValueError for the state of shards with another split, batch_size, context_length, world_size or shuffle_seed
        (rank does not matter), since its numbers mean other places; the position is then as it was.
        """
        ### BEGIN SOLUTION
        own = {**self.sizes, "shuffle_seed": self.shuffle_seed}
        if other := {name: state[name] for name in own if state[name] != own[name]}:
            raise ValueError(f"this position is one in other batches: {other}, here {own}")
        self.epoch, self.step = state["epoch"], state["step"]
        ### END SOLUTION

    def _shuffled(self, epoch: int) -> Tensor:
        ### BEGIN SOLUTION
        if self._order is None or self._order[0] != epoch:
            seed = torch.tensor([self.shuffle_seed, epoch]).numpy().tobytes()
            generator = torch.Generator().manual_seed(int.from_bytes(seed, "little") % (2**63 - 25))
            self._order = epoch, torch.randperm(self.n_windows, generator=generator)
        return self._order[1]
        ### END SOLUTION

    def _read(self, start: int, length: int) -> np.ndarray:
        """Tokens start to start + length of the stream, from as many shards as it takes."""
        ### BEGIN SOLUTION
        parts = []
        shard = int(np.searchsorted(self.starts, start, side="right")) - 1
        while length:
            offset = start - int(self.starts[shard])
            part = self.shards[shard][offset : offset + length]
            parts.append(part)
            start, length, shard = start + len(part), length - len(part), shard + 1
        return np.concatenate(parts)
        ### END SOLUTION


def main(arguments: list[str] | None = None) -> None:
    """`python -m solutions.gpt124m.data FILE... --folder CORPUS`, given."""
    import argparse

    parser = argparse.ArgumentParser(description="Encode files of text into shards of tokens.")
    parser.add_argument("files", nargs="+", help=".jsonl files with a document a line, or files that are one document each")
    parser.add_argument("--folder", required=True, help="where the shards and the manifest go")
    parser.add_argument("--tokenizer", default="bytes", help="'bytes', or a folder with encoder.json and vocab.bpe")
    parser.add_argument("--eot-id", type=int, default=None, help="default: 256 for bytes, else 50256")
    parser.add_argument("--shard-tokens", type=int, default=100_000_000)
    parser.add_argument("--n-validation", type=int, default=1, help="how many documents, the last ones, are held out")
    chosen = parser.parse_args(arguments)
    eot_id = chosen.eot_id if chosen.eot_id is not None else 256 if chosen.tokenizer == "bytes" else 50256
    tokenizer = load_tokenizer(chosen.tokenizer)
    manifest = prepare_corpus(chosen.files, tokenizer, chosen.folder, chosen.shard_tokens, eot_id, chosen.n_validation)
    for split, found in manifest["splits"].items():
        print(f"{split}: {found['n_documents']} documents, {found['n_tokens']:,} tokens in {len(found['shards'])} shards")


if __name__ == "__main__":
    main()
