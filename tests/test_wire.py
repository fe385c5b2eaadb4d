"""The codec: everything plain goes through unchanged, nothing else does, and mutated bytes never do more than raise WireError."""

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.testing.assertions import difference
from autograder.worker import wire

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=80)
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """A tensor of any dtype and any small shape, in one of several memory layouts, with any bits in it."""
    dtype, shape = draw(st.sampled_from(list(wire.DTYPES.values()))), draw(SHAPES)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    raw = torch.randint(0, 2 if dtype is torch.bool else 256, (*shape, dtype.itemsize), generator=generator)
    value = raw.to(torch.uint8).view(dtype).reshape(shape)
    return value.mT if len(shape) >= 2 and draw(st.booleans()) else value


VALUES = st.recursive(
    SCALARS | tensors() | st.sampled_from(list(wire.DTYPES.values())),
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4),
    max_leaves=12,
)


def through(value):
    """The value, encoded and decoded."""
    frame = wire.encode(value)
    head, body = wire.lengths(frame[:8])
    assert len(frame) == 8 + head + body
    return wire.decode(frame[8 : 8 + head], frame[8 + head :])


def same(a, b) -> bool:
    """Equal in type and to the last bit."""
    if isinstance(a, torch.Tensor):
        alike = isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return alike and (not a.numel() or torch.equal(wire.flat_bytes(a), wire.flat_bytes(b)))
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    return type(a) is type(b) and (a == b or a != a and b != b)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_plain_values_come_through_unchanged(value) -> None:
    assert same(value, through(value))


@settings(max_examples=600, deadline=None)
@given(value=VALUES, data=st.data())
def test_mutated_frames_decode_or_raise_wire_error(value, data) -> None:
    frame = bytearray(wire.encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        match data.draw(st.sampled_from(["flip", "drop", "insert", "cut", "repeat"])):
            case "flip" if at < len(frame):
                frame[at] ^= data.draw(st.integers(1, 255))
            case "drop":
                del frame[at : at + data.draw(st.integers(1, 8))]
            case "insert":
                frame[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del frame[at:]
            case "repeat":
                frame[at:at] = frame[at : at + 16]
    try:
        head, _ = wire.lengths(bytes(frame[:8]).ljust(8, b"\0"))
        wire.plain(wire.decode(bytes(frame[8 : 8 + head]), bytes(frame[8 + head :])))
    except wire.WireError:
        pass


@pytest.mark.parametrize(
    "head",
    [
        ["T", "float32", [2, 2]],
        ["T", "float32", [-1]],
        ["T", "float32", [1 << 40, 1 << 40]],
        ["T", "float32", [1 << 62]],
        ["T", "float32", [0] * 17],
        ["T", "float33", [0]],
        ["T", ["float32"], [0]],
        ["T", "float32", [True]],
        ["T", "float32", [1.0]],
        ["T", "float32"],
        ["b", 1],
        ["b", -1],
        ["b", "1"],
        ["y", "str"],
        ["d", ["a"]],
        ["d", [["l"], 1]],
        ["d", ["told", ["b", 0]], ["told", 1]],
        ["x"],
        [],
        {"a": 1},
        [["l"]],
    ],
)
def test_heads_that_no_encoder_writes_are_refused(head) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(json.dumps(head).encode(), b"")


@pytest.mark.parametrize("head", [b"", b"[", b"\xff\xfe", b"nul", b'["l"' + b',["l"' * 5000, b"[" * 100_000, b"1" * 5000])
def test_heads_that_are_not_json_are_refused(head: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(head, b"")


def test_bytes_that_belong_to_nothing_are_refused() -> None:
    with pytest.raises(wire.WireError):
        wire.decode(b"1", b"x")


def test_too_many_values_are_refused() -> None:
    with pytest.raises(wire.WireError):
        wire.decode(json.dumps(["l", *range(wire.LIMITS.values + 1)]).encode(), b"")


@pytest.mark.parametrize(("head", "body"), [(1 << 31, 0), (0, 1 << 31), (wire.LIMITS.head_bytes + 1, 0)])
def test_announced_lengths_beyond_the_limits_are_refused(head: int, body: int) -> None:
    with pytest.raises(wire.WireError):
        wire.lengths(struct.pack(">II", head, body))


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        object(),
        lambda: None,
        torch.empty(2, device="meta"),
        torch.eye(2).to_sparse(),
        torch.nn.Linear(1, 1),
        np.zeros(2),
        iter([]),
        1j,
    ],
)
def test_what_is_not_plain_is_a_type_error(value) -> None:
    with pytest.raises(TypeError):
        wire.encode([value])


def test_an_expanded_tensor_larger_than_a_message_is_refused() -> None:
    with pytest.raises(wire.WireError):
        wire.encode(torch.ones(()).expand(1 << 20, 1 << 20))


def test_numpy_scalars_subclasses_and_parameters_become_plain() -> None:
    value = through((np.float64(2.5), np.int64(3), np.bool_(True), torch.Size([2]), torch.nn.Parameter(torch.ones(1))))
    assert value[:4] == (2.5, 3, True, (2,))
    assert [type(item) for item in value] == [float, int, bool, tuple, torch.Tensor]
    assert not value[4].requires_grad


def test_a_single_value_with_a_strange_stride_comes_through() -> None:
    assert through(torch.arange(10.0)[::7][:1]).tolist() == [0.0]


def test_bools_from_hostile_bytes_are_real_bools() -> None:
    value = wire.decode(b'["T","bool",[2]]', b"\x07\x00")
    assert not difference(value, torch.tensor([True, False]), "value", 0, 0, True)
    assert wire.flat_bytes(value).tolist() == [1, 0]


def test_a_dict_whose_keys_all_have_one_hash_is_refused() -> None:
    """To put 90,000 of them into a dict takes minutes."""
    keys = [key * (2**61 - 1) for key in range(1, 90_000)]
    head = json.dumps(["d", *[[key, 0] for key in keys]]).encode()
    with pytest.raises(wire.WireError, match="alike"):
        wire.decode(head, b"")
    assert through({key: 0 for key in range(50_000)}) == {key: 0 for key in range(50_000)}
