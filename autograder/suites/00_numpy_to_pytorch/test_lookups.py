"""Hidden tests: one_hot and gather_rows, the exercises about token ids."""

import types

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import again_after_overwriting, strided
from autograder.testing.strategies import given, normal, seeds, settings, sizes

from . import scenarios
from .cases import FULL_SHAPES, SHAPES, assert_in_turn, if_cut_off

TABLES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool, torch.complex64
]  # fmt: skip
ONE_HOT = "a new last dimension of num_classes, with a 1 at the id and 0 elsewhere"
TORCH = types.SimpleNamespace(gather_rows=lambda table, ids: F.embedding(ids, table))


def random_ids(seed, shape, n):
    """ids in 0 .. n - 1."""
    return torch.randint(n, shape, generator=torch.Generator().manual_seed(seed))


def bad_ids(n, far):
    """Ids that are not in 0 .. n - 1: next to the range, further off, and one whose lower 32 bits are 0."""
    return n, n + far, -1, -1 - far, 2**32


def with_id(seed, shape, n, bad):
    """Random ids in 0 .. n - 1 with a single bad one at a random place."""
    ids = random_ids(seed, shape, max(n, 1))
    ids.view(-1)[seed % ids.numel()] = bad
    return ids


@exercise("one_hot", points=3, core=True)
@given(shape=FULL_SHAPES, n=sizes(), seed=seeds())
def test_each_id_has_a_single_one_in_its_place(student, reference, shape, n, seed):
    """ids of any shape give a last dimension of num_classes with a 1 at the id and 0 elsewhere."""
    ids = random_ids(seed, shape, n)
    expected = F.one_hot(ids, n)
    assert_equal(reference.one_hot(ids, n), expected)
    assert_equal(student.one_hot(ids, n), expected, "the one-hot vectors", ONE_HOT, dtype=False)
    assert_inputs_untouched(student)


@exercise("one_hot", points=1)
@settings(max_examples=5)
@given(n=sizes(), seed=seeds())
def test_one_hot_vectors_are_int64(student, n, seed):
    """Indicators are whole numbers, of dtype int64, neither bool nor float."""
    ids = random_ids(seed, (3, 2), n)
    assert_equal(student.one_hot(ids, n), F.one_hot(ids, n), "the one-hot vectors")


@exercise("one_hot", points=2)
@settings(max_examples=10)
@given(shape=FULL_SHAPES, n=sizes(1), far=sizes(1, 9), seed=seeds())
def test_ids_that_are_no_class_are_refused(student, shape, n, far, seed):
    """num_classes and above, and anything negative, are refused even where all other ids are fine."""
    for n_classes in (n, 0):
        for bad in bad_ids(n_classes, far):
            ids = with_id(seed, shape, n_classes, bad)
            assert_refused(student.one_hot, ids, n_classes, why=f"{bad} is not in 0 .. {n_classes - 1}")


@exercise("one_hot", points=1)
def test_ids_of_any_layout_and_no_ids_at_all(student):
    """No ids give an empty result, ids need not be contiguous, classes may be many, and nothing else is changed."""
    for shape in ((0,), (2, 0), (0, 3)):
        ids = torch.zeros(shape, dtype=torch.int64)
        for n in (4, 0):
            expected = torch.zeros(*shape, n, dtype=torch.int64)
            assert_equal(student.one_hot(ids, n), expected, f"the one-hot vectors of ids of shape {shape}, {n} classes")
    ids = torch.tensor([[1, 0, 2], [3, 3, 0]])
    actual = student.run(strided, "one_hot", [ids, 4])
    assert_equal(actual, F.one_hot(ids, 4), "the one-hot vectors of strided ids")
    actual = student.run(scenarios.in_turn, "one_hot", [ids, 4], [ids.flip(0), 4])
    assert_in_turn(actual, F.one_hot(ids, 4), F.one_hot(ids.flip(0), 4), "the one-hot vectors", rtol=0.0, atol=0.0)
    for one in (torch.tensor(2), ids):
        actual = student.run(again_after_overwriting, "one_hot", [one, 4])
        hint = "every call makes vectors of its own: nothing is kept from one call to the next"
        assert_equal(actual, F.one_hot(one, 4), "the one-hot vectors once an earlier result was overwritten", hint)
    ids = torch.tensor([0, 255, 256, 2048, 2049])
    assert_equal(student.one_hot(ids, 2100), F.one_hot(ids, 2100), "the one-hot vectors of 2100 classes")


@exercise("gather_rows", points=3, core=True)
@given(shape=FULL_SHAPES, n=sizes(), d=sizes(), seed=seeds())
def test_each_id_gets_its_row(student, reference, shape, n, d, seed):
    """ids of any shape give their rows of the table, in their places."""
    table, ids = normal(seed, n, d), random_ids(seed, shape, n)
    expected = F.embedding(ids, table)
    assert_equal(reference.gather_rows(table, ids), expected)
    assert_equal(student.gather_rows(table, ids), expected, "the rows", "the shape is ids.shape followed by d")
    assert_inputs_untouched(student)


@exercise("gather_rows", points=2)
@settings(max_examples=10)
@given(shape=FULL_SHAPES, n=sizes(0), far=sizes(1, 9), seed=seeds())
def test_ids_that_are_no_row_are_refused(student, shape, n, far, seed):
    """n and above, and anything negative, are refused even where all other ids are fine: -1 is not the last row."""
    for bad in bad_ids(n, far):
        ids = with_id(seed, shape, n, bad)
        assert_refused(student.gather_rows, normal(seed, n, seed % 3), ids, why=f"{bad} is not in 0 .. {n - 1}")


@exercise("gather_rows", points=2)
@settings(max_examples=15)
@given(shape=FULL_SHAPES, n=sizes(1, 4), d=sizes(1, 4), seed=seeds())
def test_gradients_of_rows_used_twice_add_up(student, shape, n, d, seed):
    """A row's gradient is the sum over all its uses, and zero for a row that nobody used."""
    args = [normal(seed, n, d), random_ids(seed, shape, n)]
    cotangent = normal(seed + 1, *shape, d)
    expected = scenarios.gradient(TORCH, "gather_rows", args, cotangent)
    actual = student.run(scenarios.gradient, "gather_rows", args, cotangent)
    assert_close(actual, expected, "the gradient of the table", if_cut_off(actual))
    whole = cotangent.round()  # small whole numbers, whose sums are exact
    expected = scenarios.gradient(TORCH, "gather_rows", args, whole)
    for dtype in (torch.float32, torch.bfloat16):
        actual = student.run(scenarios.gradient, "gather_rows", [args[0].to(dtype), args[1]], whole.to(dtype))
        assert_equal(actual, [expected[0].to(dtype)], f"the gradient of a table of {dtype}", if_cut_off(actual))


@exercise("gather_rows", points=1)
@settings(max_examples=3)
@given(shape=SHAPES, seed=seeds())
def test_tables_of_any_dtype_and_layout_and_no_ids_at_all(student, shape, seed):
    """Rows come as they are, in the table's dtype, whatever the other rows hold; ids and rows may be empty."""
    ids = random_ids(seed, shape, 5)
    for dtype in TABLES:
        table = normal(seed, 6, 3, scale=3.0).to(dtype)
        if dtype is torch.int64:
            table = table * 2**60 + 1  # no float holds these
        elif dtype is not torch.int32:
            table[5] = torch.inf  # which times 0 is NaN
        actual = student.run(strided, "gather_rows", [table, ids])
        assert_equal(actual, table[ids], f"the rows of a strided table of {dtype}")
        actual = student.run(scenarios.in_turn, "gather_rows", [table, ids], [table[:2], ids % 2])
        assert_in_turn(actual, table[ids], table.flip(0)[ids], f"the rows of a table of {dtype}", rtol=0.0, atol=0.0)
    pairs = torch.tensor([[0, 1, 2], [3, 4, 0]])
    actual = student.run(scenarios.rows_of_transposed, table, pairs)
    hint = "their order is that of ids.flatten(), however they lie in memory"
    assert_equal(actual, table[pairs], "the rows of transposed ids", hint)
    none = torch.zeros(2, 0, dtype=torch.int64)
    assert_equal(student.gather_rows(table[:0], none), table[none], "no rows of an empty table")
    assert_equal(student.gather_rows(table[:, :0], ids), table[ids][..., :0], "the rows of a table without columns")
