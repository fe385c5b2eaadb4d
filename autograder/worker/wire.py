"""The codec of the boundary: plain typed values as one JSON head and raw buffers, and nothing else.

A frame is `u32 head length, u32 body length | head | body`. The head is JSON; in it None, bool, int, float and str stand for
themselves, and every other value is a JSON list that begins with a tag. Tensors and bytes lie in the body, each at a
multiple of 64 bytes. Decoding trusts nothing: every length, depth, dtype and byte count is checked, and any surprise is
a WireError. There is no pickle and no way to name a class.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from autograder.worker.apart import keep_builtins

keep_builtins(globals())
HEADER = struct.Struct(">II")
ALIGNMENT = 64

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"
    ).split()
}
_SCALARS = frozenset((bool, int, float, str))
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Limits:
    """What one frame may hold; anything beyond is refused before memory is spent on it."""

    head_bytes: int = 4 << 20
    body_bytes: int = 256 << 20
    depth: int = 32
    values: int = 200_000
    alike: int = 100
    dims: int = 16


LIMITS = Limits()


class WireError(Exception):
    """The bytes are not a well-formed frame."""


def plain(value: Any, depth: int = 0) -> Any:
    """The value as plain data, or TypeError naming what cannot cross.

    NumPy scalars become Python numbers; subclasses of int, float, str, list, tuple and dict become those; a Parameter
    becomes a tensor; tensors are detached. Other tensor subclasses, and tensors without data of their own on the CPU,
    are refused.
    """
    if value is None or type(value) in (bool, int, float, str, bytes, torch.dtype):
        return value
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        return _plain_tensor(value)
    if depth >= LIMITS.depth:
        raise TypeError(f"the value is nested more than {LIMITS.depth} levels deep")
    if isinstance(value, torch.Tensor):
        raise TypeError(f"a {type(value).__name__} (a subclass of torch.Tensor) where a plain tensor was expected")
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, tuple):
        return tuple(plain(item, depth + 1) for item in value)
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {plain(key, depth + 1): plain(item, depth + 1) for key, item in value.items()}
    raise TypeError(f"a {type(value).__name__} where a tensor, number, string, list, tuple or dict was expected")


def _plain_tensor(value: torch.Tensor) -> torch.Tensor:
    if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_nested:
        kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        raise TypeError(f"a {kind} tensor on {value.device} where an ordinary CPU tensor was expected")
    if value.dtype not in NAMES:
        raise TypeError(f"a tensor of dtype {value.dtype}, which cannot be compared")
    return value.detach()


def encode(value: Any, limits: Limits = LIMITS) -> bytes:
    """One frame. TypeError for what is not plain data, WireError for what is too large."""
    buffers: list[memoryview | bytes] = []
    size = 0

    def place(buffer: memoryview | bytes, n_bytes: int) -> int:
        nonlocal size
        buffers.append(buffer)
        size += -size % ALIGNMENT + n_bytes
        if size > limits.body_bytes:
            raise WireError(f"more than {limits.body_bytes >> 20} MiB in one message")
        return n_bytes

    def tree(item: Any, depth: int) -> Any:
        kind = type(item)
        if item is None or kind in _SCALARS:
            return item
        if depth > limits.depth:
            raise TypeError(f"the value is nested more than {limits.depth} levels deep")
        if kind is torch.Tensor:
            tensor = _plain_tensor(item)
            n_bytes = tensor.numel() * tensor.element_size()
            if n_bytes > limits.body_bytes:  # an expanded tensor may be larger than its memory
                raise WireError(f"a tensor of more than {limits.body_bytes >> 20} MiB")
            place(_bytes_of(tensor) if n_bytes else b"", n_bytes)
            return ["T", NAMES[tensor.dtype], list(tensor.shape)]
        if kind is bytes:
            return ["b", place(item, len(item))]
        if kind is tuple:
            return ["t", *[tree(entry, depth + 1) for entry in item]]
        if kind is list:
            return ["l", *[tree(entry, depth + 1) for entry in item]]
        if kind is dict:
            return ["d", *[[tree(key, depth + 1), tree(entry, depth + 1)] for key, entry in item.items()]]
        if kind is torch.dtype:
            return ["y", NAMES[item]]
        return tree(plain(item, depth), depth)

    try:
        head = json.dumps(tree(value, 0), separators=(",", ":")).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise WireError(f"a value that cannot be written down: {error}") from None
    if len(head) > limits.head_bytes:
        raise WireError(f"more than {limits.head_bytes >> 20} MiB of structure in one message")
    parts = [HEADER.pack(len(head), size), head]
    offset = 0
    for buffer in buffers:
        padding = -offset % ALIGNMENT
        parts += [bytes(padding), buffer]
        offset += padding + len(buffer)
    return b"".join(parts)


def _bytes_of(tensor: torch.Tensor) -> bytes | memoryview:
    try:
        return tensor.numpy().tobytes()  # in C order, whatever the strides
    except (TypeError, RuntimeError):  # bfloat16, or a lazily conjugated tensor
        return memoryview(flat_bytes(tensor).numpy())


def flat_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's values as a contiguous one-dimensional uint8 tensor, a copy only where it has to be."""
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.stride() != (1,):  # a single value counts as contiguous whatever its stride
        flat = flat.new_empty(flat.shape).copy_(flat)
    return flat.view(torch.uint8)


def lengths(header: bytes, limits: Limits = LIMITS) -> tuple[int, int]:
    """Head and body length announced by a frame's first eight bytes; WireError where they pass the limits."""
    head, body = HEADER.unpack(header)
    if head > limits.head_bytes or body > limits.body_bytes:
        raise WireError(f"a message that announces {head} + {body} bytes")
    return head, body


def decode_frame(frame: bytes) -> Any:
    """The value of one whole frame; WireError for anything that `encode` would not have written."""
    if len(frame) < HEADER.size:
        raise WireError("a frame without a header")
    head, body = lengths(frame[: HEADER.size])
    if len(frame) != HEADER.size + head + body:
        raise WireError("a frame of another length than it announces")
    return decode(frame[HEADER.size : HEADER.size + head], memoryview(frame)[HEADER.size + head :])


def decode(head: bytes, body: bytes | bytearray | memoryview, limits: Limits = LIMITS) -> Any:
    """The value of one frame; WireError for anything that `encode` would not have written."""
    body = memoryview(body)
    offset = 0
    count = 0

    def take(n_bytes: int) -> memoryview:
        nonlocal offset
        start = offset + -offset % ALIGNMENT
        if n_bytes > len(body) - start:
            raise WireError("a value that reaches past the end of the message")
        offset = start + n_bytes
        return body[start:offset]

    def value(item: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > limits.values:
            raise WireError(f"more than {limits.values} values in one message")
        if item is None or isinstance(item, bool | int | float | str):
            return item
        if not isinstance(item, list) or not item or depth > limits.depth:
            raise WireError("a value of unknown form")
        tag, *rest = item
        if tag == "l":
            return [value(entry, depth + 1) for entry in rest]
        if tag == "t":
            return tuple(value(entry, depth + 1) for entry in rest)
        if tag == "d":
            pairs = [entry for entry in rest if isinstance(entry, list) and len(entry) == 2]
            if len(pairs) != len(rest):
                raise WireError("a dict entry that is not a pair")
            entries = [(value(key, depth + 1), value(entry, depth + 1)) for key, entry in pairs]
            if len(entries) > limits.alike and _most_alike(entries) > limits.alike:
                raise WireError("a dict whose keys all look alike")
            found = dict(entries)
            if len(found) < len(entries):
                raise WireError("a dict with a key twice")
            return found
        if tag == "y" and len(rest) == 1 and isinstance(rest[0], str) and rest[0] in DTYPES:
            return DTYPES[rest[0]]
        if tag == "b" and len(rest) == 1 and _is_size(rest[0]):
            return bytes(take(rest[0]))
        if tag == "T" and len(rest) == 2:
            return tensor(*rest)
        raise WireError("a value of unknown form")

    def tensor(name: Any, shape: Any) -> torch.Tensor:
        if not isinstance(name, str) or name not in DTYPES:
            raise WireError("a tensor of unknown dtype")
        if not isinstance(shape, list) or len(shape) > limits.dims or not all(map(_is_size, shape)):
            raise WireError("a tensor of impossible shape")
        dtype = DTYPES[name]
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes > limits.body_bytes:
            raise WireError("a tensor larger than its message")
        raw = take(n_bytes)
        if not n_bytes:
            return torch.empty(shape, dtype=dtype)
        if dtype is torch.bool:  # a hostile byte need be neither 0 nor 1
            return (torch.frombuffer(bytearray(raw), dtype=torch.uint8) != 0).reshape(shape)
        return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)

    try:
        result = value(json.loads(head), 0)
    except WireError:
        raise
    except Exception as error:  # a hostile head can break the parser in many ways; all mean the same
        raise WireError(f"a message that cannot be read ({type(error).__name__})") from None
    if offset != len(body):
        raise WireError("a message with bytes that belong to nothing")
    return result


def _most_alike(entries: list[tuple[Any, Any]]) -> int:
    """How many of the keys have the same hash, at most: a dict compares them all with each other."""
    hashes = sorted(hash(key) for key, _ in entries)
    return max(sum(1 for _ in group) for _, group in itertools.groupby(hashes))


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number <= 1 << 40
