"""divide_and_conquer_attention."""

import math

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import if_nan
from autograder.testing.probes import flops, gradients, strided
from autograder.testing.strategies import (
    attention_cases,
    broadcastable,
    given,
    mask_for,
    normal,
    seeds,
    settings,
    sizes,
    st,
)

from . import scenarios
from .cases import ROOM, partial_attention

NAME = "divide_and_conquer_attention"


@exercise(NAME, points=3, core=True)
@given(case=attention_cases(largest=11), block=sizes(1, 12))
def test_the_parts_add_up_to_exact_attention(student, case, block):
    """For any number of keys and any block, the result is attention over all keys; empty rows are zero."""
    assert_close(
        student.divide_and_conquer_attention(case.q, case.k, case.v, block, case.mask),
        partial_attention(case.q, case.k, case.v, case.mask)[0],
        what=f"divide_and_conquer_attention(q, k, v, block={block}, mask), {case.n_k} keys",
        hint="does each piece take its own keys, its own values and its own columns of the mask?",
    )


@exercise(NAME, points=2, core=True)
@given(case=attention_cases(largest=9, masks=("none",)), block=sizes(1, 10))
@settings(max_examples=15)
def test_the_result_agrees_with_pytorch(student, case, block):
    """Without a mask the result equals F.scaled_dot_product_attention(q, k, v)."""
    assert_close(
        student.divide_and_conquer_attention(case.q, case.k, case.v, block),
        F.scaled_dot_product_attention(case.q, case.k, case.v),
        what=f"divide_and_conquer_attention(q, k, v, block={block}), {case.n_k} keys",
    )


@exercise(NAME, points=2)
@given(data=st.data(), n_q=sizes(1, 4), n_k=sizes(1, 7), block=sizes(1, 4), seed=seeds())
@settings(max_examples=18)
def test_leading_dimensions_and_masks_broadcast(student, data, n_q, n_k, block, seed):
    """Leading dimensions of q, k and v broadcast, and so does the mask, over keys too."""
    lead = (2, 3)
    g = torch.Generator().manual_seed(seed)
    q, k, v = (normal(g, *data.draw(broadcastable(lead)), n, 3) for n in (n_q, n_k, n_k))
    last = data.draw(st.sampled_from([(n_q, n_k), (1, n_k), (n_q, 1), (1, 1)]))
    mask = mask_for(g, *data.draw(broadcastable(lead)), *last)
    x, row = normal(g, n_k, 3), mask_for(g, n_k)  # a mask for the keys alone, and as many queries as keys, fewer or more
    for queries, keys in ((x, row), (x[:1], row), (normal(g, n_k + 2, 3), row[:1])):
        expected = partial_attention(queries, x, x, keys)[0]
        what = f"the result for {len(queries)} queries, {n_k} keys and a mask {tuple(keys.shape)}"
        assert_close(student.divide_and_conquer_attention(queries, x, x, block, keys), expected, what=what)
    zeros = torch.zeros_like(partial_attention(q, k, v, mask)[0])
    hidden = student.divide_and_conquer_attention(q, k, v, block, torch.zeros_like(mask))
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}, mask {tuple(mask.shape)}"
    hint = "zeros of the same shape as any other result"
    assert_equal(hidden, zeros, what=f"the result for {shapes}, all keys hidden", hint=hint)
    assert_close(
        student.divide_and_conquer_attention(q, k, v, block, mask=mask),
        partial_attention(q, k, v, mask)[0],
        what=f"the result for {shapes}",
        hint="a mask of shape (n_q, 1) means every key: expand it to n_k columns before cutting it",
    )


@exercise(NAME, points=1)
@given(n_q=sizes(1, 4), d_v=sizes(1, 4), block=sizes(1, 9), masked=st.booleans())
@settings(max_examples=5)
def test_no_keys_give_zeros(student, n_q, d_v, block, masked):
    """With no keys at all the output is zero and has the right shape."""
    q, k, v = normal(1, 2, n_q, 3), normal(1, 2, 0, 3), normal(1, 2, 0, d_v)
    mask = torch.ones(n_q, 0, dtype=torch.bool) if masked else None
    for dtype in (torch.float32, torch.float64):
        expected = torch.zeros(2, n_q, d_v, dtype=dtype)
        got = student.divide_and_conquer_attention(q.to(dtype), k.to(dtype), v.to(dtype), block, mask)
        assert_equal(got, expected, what=f"the result for n_k = 0 in {dtype}")
    k, v = normal(1, 3, 1, 0, 3), normal(1, 2, 0, d_v)
    expected = torch.zeros(3, 2, n_q, d_v, dtype=torch.float64)
    got = student.divide_and_conquer_attention(q[0], k, v, block)
    hint = "leading dimensions of q, k and v broadcast without keys, too"
    assert_equal(got, expected, what="the result for n_k = 0, k (3, 1, 0, 3) and v (2, 0, d_v)", hint=hint)


@exercise(NAME, points=1)
def test_a_block_below_one_is_refused(student):
    """block = 0 and negative blocks are refused."""
    q, k, v = normal(1, 2, 3), normal(1, 4, 3), normal(1, 4, 3)
    assert_refused(student.divide_and_conquer_attention, q, k, v, 0, why="a block has at least one key")
    assert_refused(student.divide_and_conquer_attention, q, k, v, -2, why="a block has at least one key")
    assert_refused(student.divide_and_conquer_attention, q, k[:0], v[:0], 0, why="a block has at least one key")


@exercise(NAME, points=1, core=True)
def test_the_scores_are_never_made_all_at_once(student, generator):
    """No tensor holds the scores of all queries and keys: the keys are divided first."""
    n_q, n_k, block = 40, 136, 8
    q, k, v = normal(generator, n_q, 1), normal(generator, n_k, 1), normal(generator, n_k, 1)
    outputs, largest = student.run(scenarios.largest_of_floats, NAME, [q, k, v, block, None])
    what = f"the result for {n_q} queries and {n_k} keys in blocks of {block}, [without gradients, with]"
    assert_close(outputs, [partial_attention(q, k, v)[0]] * 2, what=what)
    assert largest < n_q * n_k, (
        f"with {n_q} queries, {n_k} keys and block {block} a tensor of {largest} elements was made: n_q * n_k is {n_q * n_k}\n"
        "  hint: halve the keys until no more than block are left, attend to each piece, and merge the results"
    )


@exercise(NAME, points=1)
def test_memory_and_work_do_not_grow_with_the_square(student, generator):
    """No tensor has more than n_q * block elements for each of d_k, and each key is scored once."""
    n_q, n, block = 40, 17 * 8, 8
    q, k, v = (normal(generator, rows, 1) for rows in (n_q, n, n))
    batch = [normal(generator, 2, n // 2, 1) for _ in range(3)]
    for arguments in (
        [q, k, v, block, None],
        [q, k, v, block, mask_for(generator, n)],
        [q, k, v, block, mask_for(generator, n_q, n)],
        [*batch, 33, None],
        [*(normal(generator, 2, 2, 16, 1) for _ in range(3)), 4, mask_for(generator, 2, 2, 16, 16)],
        [normal(generator, 40, 1), *(normal(generator, 24, 1) for _ in range(2)), 4, None],
        [normal(generator, 40, 1), *(normal(generator, 4, 1) for _ in range(2)), 2, None],
        [*(normal(generator, 34, 2, dtype=torch.float32) for _ in range(3)), 8, mask_for(generator, 34)],
    ):
        *qkv, block, mask = arguments
        shapes = ", ".join(str(tuple(x.shape)) for x in qkv)
        outputs, largest = student.run(scenarios.largest_of_floats, NAME, arguments)
        what, room = f"the result for q, k and v {shapes}, [without gradients, with]", ROOM[qkv[0].dtype]
        assert_close(outputs, [partial_attention(*qkv, mask)[0]] * 2, what=what, rtol=room, atol=room)
        most = math.prod(qkv[0].shape) * block
        assert largest <= most, (
            f"with q, k and v {shapes}, block {block} and {'no mask' if mask is None else f'a mask {tuple(mask.shape)}'} the\n"
            f"  largest tensor on the way has {largest} elements; n_q * block * d_k per leading index makes {most}"
        )
        work = student.run(flops, NAME, arguments)
        once = 2 * math.prod(qkv[0].shape[:-1]) * qkv[1].shape[-2] * (qkv[1].shape[-1] + qkv[2].shape[-1])
        most = 1.4 * once  # merging the parts by a matrix product is a little more
        assert work <= most, f"{work} floating-point operations, where scoring each key once takes {once}"
    n_q, n_k, block = 256, 2**14, 512
    q, k, v = (normal(generator, n, 2, dtype=torch.float32) for n in (n_q, n_k, n_k))
    measured = student.measure(NAME, q, k, v, block, warm_up=(q[:9], k[:9], v[:9], 4))
    one, peak = n_q * block * 4, measured.peak_bytes
    all_scores = n_k // block * one
    assert peak < 0.8 * all_scores, (
        f"{peak / 1e6:.0f} MB of memory for {n_q} queries and {n_k} keys in blocks of {block}\n"
        f"  all scores at once take {all_scores / 1e6:.0f} MB, those of a block {one / 1e6:.1f} MB"
    )
    expected = F.scaled_dot_product_attention(q, k, v)
    assert_close(measured.value, expected, what=f"the result for {n_q} queries and {n_k} keys", rtol=1e-4, atol=1e-4)


@exercise(NAME, points=1)
def test_the_recursion_is_shallow(student, generator):
    """Halving is logarithmic, no more than block keys are halved, and all keys count."""
    n_k = 64
    q, k, v = normal(generator, 1, 2), normal(generator, n_k, 2), normal(generator, n_k, 1)
    output, depth, _ = student.run(scenarios.taken_apart, NAME, [q, k, v, 1, None])
    assert_close(output, partial_attention(q, k, v)[0], what=f"{n_k} keys in blocks of one")
    assert depth <= 3 * math.log2(n_k), (
        f"{n_k} keys in blocks of one: the recursion is {depth} calls deep, where halving takes about log2({n_k}) = 6\n"
        "  hint: cut in the middle; peeling off one block at a time goes n_k / block calls deep"
    )
    output, _, merges = student.run(scenarios.taken_apart, NAME, [q, k, v, n_k // 4, None])
    assert_close(output, partial_attention(q, k, v)[0], what=f"{n_k} keys in blocks of {n_k // 4}")
    assert merges <= 4, (
        f"{merges} calls of merge_attention for {n_k} keys in blocks of {n_k // 4}: they make four pieces\n"
        "  hint: a piece of at most block keys, exactly block included, is attended to directly"
    )
    q, k, v, mask = normal(generator, 3, 2), normal(generator, 160, 2), normal(generator, 160, 1), mask_for(generator, 3, 160)
    output, depth, _ = student.run(scenarios.taken_apart, NAME, [q, k, v, 8, mask])
    assert_close(output, partial_attention(q, k, v, mask)[0], what="160 keys in blocks of eight, masked")
    assert depth <= 3 * math.log2(20), f"160 keys in blocks of eight, masked: the recursion is {depth} calls deep"


@exercise(NAME, points=1)
def test_no_size_is_too_large(student, generator):
    """Many queries, keys, channels, leading dimensions, and a block far beyond the keys: all of them count."""
    for lead, n_q, n_k, d_k, d_v, block, masked in (
        ((), 70, 70, 3, 3, 8, False),
        ((), 1, 1100, 2, 2, 9, True),
        ((), 1100, 9, 2, 2, 10**6, True),
        ((), 3, 5, 130, 400, 2, False),
        ((70,), 2, 3, 2, 2, 2, True),
        ((2, 1, 3, 2), 2, 5, 2, 3, 2, True),
    ):
        q, k, v = (normal(generator, *lead, *end) for end in ((n_q, d_k), (n_k, d_k), (n_k, d_v)))
        mask = mask_for(generator, n_q, n_k) if masked else None
        assert_close(
            student.divide_and_conquer_attention(q, k, v, block, mask),
            partial_attention(q, k, v, mask)[0],
            what=f"the result for q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}, block {block}",
            hint="" if masked else "without a mask every query attends to every key",
        )


@exercise(NAME, points=1)
@given(case=attention_cases(largest=7, masks=("shared",)), block=sizes(1, 4))
@settings(max_examples=10)
def test_gradients_are_right_and_finite_at_empty_rows(student, case, block):
    """q, k and v get the gradients of ordinary attention; a row or a piece without a key to attend to makes no NaN."""
    case.mask[0] = False
    got = student.run(gradients, NAME, [case.q, case.k, case.v, block, case.mask], wrt=[0, 1, 2], seed=case.seed)
    cotangent = torch.randn(got["value"].shape, generator=torch.Generator().manual_seed(case.seed), dtype=torch.float64)
    some = case.mask.any(-1)  # the definition's own gradient is NaN in empty rows: leave them out, they add nothing
    q, k, v = (x.clone().requires_grad_() for x in (case.q, case.k, case.v))
    partial_attention(q[..., some, :], k, v, case.mask[some])[0].backward(cotangent[..., some, :])
    for name, x, gradient in zip("qkv", (q, k, v), got["gradients"]):
        nothing = torch.zeros_like(x)  # where all is hidden, nothing depends on it
        assert_close(
            nothing if gradient is None else gradient,
            nothing if x.grad is None else x.grad,
            what=f"the gradient of {name}",
            hint=if_nan("NaN comes from -inf - -inf or log(0): replace the value before, not after", gradient)
            or "nothing may be detached but the maximum",
        )
    far = student.run(gradients, NAME, [1e4 * case.q, case.k, case.v, block, case.mask], wrt=[0, 1, 2])["gradients"]
    for name, gradient in zip("qkv", far):
        hint = "a softmax of large scores is right only if exp is taken of nothing above 0, in values thrown away too"
        finite = gradient is None or gradient.isfinite().all()
        assert finite, f"the gradient of {name} is not finite for scores of ten thousand\n  hint: {hint}"


@exercise(NAME, points=1)
def test_each_input_alone_gets_its_gradients(student, reference, generator):
    """q, k and v get their gradients together and alone, with a mask or without, at any size and precision."""
    for lead, n_q, n_k, block, masked, dtype in (
        ((), 4, 7, 2, False, torch.float64),
        ((2, 1, 2), 1, 5, 8, True, torch.float64),
        ((), 3, 70, 9, True, torch.float64),
        ((2,), 3, 5, 1, False, torch.float32),
        ((), 3, 5, 2, True, torch.bfloat16),
    ):
        q, k, v = (normal(generator, *lead[i:], n, 2, dtype=dtype) for i, n in ((1, n_q), (1, n_k), (0, n_k)))
        mask = mask_for(generator, *lead, n_q, n_k) if masked else None
        if mask is not None:
            mask[..., 0] = True
        for wrt in ([0, 1, 2], [0], [1], [2]):
            arguments = (gradients, NAME, [q, k, v, block, mask], None, wrt)
            shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}, block {block}, {dtype}"
            assert_close(
                student.run(*arguments),
                reference.run(*arguments),
                what=f"value and gradients for {shapes}, of {' and '.join('qkv'[i] for i in wrt)}",
                rtol=ROOM[dtype],
                atol=ROOM[dtype],
            )


@exercise(NAME, points=1)
@given(case=attention_cases(dtypes=(torch.float32, torch.float64)), block=sizes(1, 4), scale=st.sampled_from([1.0, 200.0]))
@settings(max_examples=10)
def test_large_scores_dtype_and_inputs(student, case, block, scale):
    """Scores of any size do not overflow, the dtype stays, inputs stay, strides and random state do not matter."""
    q = case.q * scale
    expected = partial_attention(q.double(), case.k.double(), case.v.double(), case.mask)[0].to(case.dtype)
    room = {"rtol": 1e-3, "atol": 1e-3} if case.dtype is torch.float32 else {"rtol": 1e-8, "atol": 1e-9}
    arguments = [q, case.k, case.v, block, case.mask]
    assert_close(student.divide_and_conquer_attention(*arguments), expected, what=f"scores about {scale:g}", **room)
    assert_inputs_untouched(student)
    assert_close(student.run(strided, NAME, arguments), expected, what="the result of strided inputs", **room)
    assert_equal(student.run(scenarios.left_behind, NAME, arguments), [], what="what the call changed")
    again = student.run(scenarios.with_other_numbers, NAME, arguments)
    hint = "keep nothing of a call for the next"
    what = "the result once the inputs hold other numbers, [without gradients, with]"
    assert_close(again, [expected] * 2, what=what, hint=hint, **room)
    for dtype in (torch.bfloat16, torch.float16):
        half = [x.to(dtype) for x in (case.q, case.k, case.v)]
        actual = student.divide_and_conquer_attention(*half, block, case.mask)
        expected = partial_attention(*(x.double() for x in half), case.mask)[0].to(dtype)
        room = 32 * torch.finfo(dtype).eps  # a few products and merges, rounded after each
        assert_close(actual, expected, what=f"the result in {dtype}", rtol=room, atol=room)
    mask = mask_for(case.seed, case.q.shape[-2], case.n_k)
    q, k, v = case.q.double() * 1e10, case.k.double(), case.v.double()
    assert_close(
        student.divide_and_conquer_attention(q, k, v, block, mask),
        partial_attention(q, k, v, mask)[0],
        what="scores about ten thousand million, masked",
        hint="no finite number is as low as a hidden key's score: use -inf",
        rtol=1e-6,
        atol=1e-6,
    )
