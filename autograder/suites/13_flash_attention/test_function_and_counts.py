"""FlashAttention as autograd sees it; hbm_traffic and pick_blocks against counting one by one."""

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.strategies import given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import attention, attention_gradients, flash_cases
from .costs import TILE, assert_blocks_are_64, assert_memory_linear, assert_never_all_in_memory, assert_no_tensor_holds_all_scores

NAME = "FlashAttention"


@exercise(NAME, points=2, core=True)
@given(case=flash_cases())
@settings(max_examples=20)
def test_apply_gives_attention_and_its_gradients(student, case):
    """out is attention, and backward gives q, k and v their gradients, whatever the options."""
    actual = student.run(scenarios.applied, *case.inputs, list(case.options), cotangent=case.grad_out)
    expected = {
        "out": attention(*case.inputs, case.causal, case.scale)[0],
        "gradients": list(attention_gradients(case.grad_out, *case.inputs, case.causal, case.scale)),
        "inputs": [*case.inputs, case.grad_out],
    }
    hint = "hand the same causal, block_q, block_k and scale to both passes; gradients in the order of the arguments"
    assert_close(actual, expected, what=f"FlashAttention: {case.shown}", hint=hint)


@exercise(NAME, points=1)
@given(case=flash_cases(dims=1, causal=False))
@settings(max_examples=3)
def test_gradients_go_where_they_are_wanted(student, case):
    """Some inputs need none; the defaults may be left out; views, and the expanded gradient of a sum, are no trouble."""
    gradients = attention_gradients(torch.ones_like(case.grad_out), *case.inputs)
    for wrt in ([0], [1], [2]):
        actual = student.run(scenarios.applied, *case.inputs, [], wrt=wrt)["gradients"]
        expected = [x if i in wrt else None for i, x in enumerate(gradients)]
        assert_close(actual, expected, what=f"the gradients when input {wrt} alone wants one and out.sum() is pulled back")
    actual = student.run(scenarios.without_gradients, *case.inputs, [False, 64, 64, None])
    expected = {"out": attention(*case.inputs)[0], "attached": False}
    assert_close(actual, expected, what="what comes under no_grad")
    several = [torch.stack([x, -x, 2 * x]).reshape(-1, 3, *x.shape[-2:]) for x in (*case.inputs, case.grad_out)]
    q, k, v, grad_out = (torch.cat([x, x.flip(1)]) for x in several)  # (b, 3, n, d) with b > 1: a view of (3, b, n, d)
    actual = student.run(scenarios.applied_through_views, q, k, v, [True], grad_out)
    gradients = list(attention_gradients(grad_out, q, k, v, True))
    expected = {"out": attention(q, k, v, True)[0], "gradients": gradients}
    assert_close(actual, expected, what="out and gradients of transposed views", hint="reshape where view refuses")
    problems = [(q, k, v, [True, 2, 3, 0.7], grad_out), (k, q, q + 1, [False, 5, 1], normal(case.seed, *k.shape))]
    actual = student.run(scenarios.applied_twice, *problems)
    expected = []
    for a, b, c, (causal, _, _, *scale), cotangent in problems:
        expected.append({"out": attention(a, b, c, causal, *scale)[0]})
        expected[-1]["gradients"] = [2 * x for x in attention_gradients(cotangent, a, b, c, causal, *scale)]
    hint = "what backward needs belongs to ctx, which each call has of its own, and not to the class; it is read, not used up"
    assert_close(actual[:2], expected, what="two calls, then the gradients of both, twice", hint=hint)
    assert_equal(actual[2:], [[]], what="what the calls changed outside their results")


@exercise(NAME, points=1)
def test_out_and_gradients_keep_the_dtype_and_lse_all_its_digits(student, generator):
    """Equal scores of 40 and any values, in each dtype: the gradient of v depends on nothing but the incoming one and lse."""
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        q, k = torch.full((5, 4), 3.25, dtype=dtype), torch.full((6, 4), 3.125, dtype=dtype)
        v, grad_out = (normal(generator, n, 3, dtype=dtype) for n in (6, 5))
        actual = student.run(scenarios.applied, q, k, v, [False, 2, 4, 1.0], cotangent=grad_out)
        hint = "out and the gradients in the dtype of the inputs; lse is kept as it comes, in float32"
        expected = [x.to(dtype) for x in (attention(q, k, v)[0], *attention_gradients(grad_out, q, k, v, scale=1.0))]
        eps = max(torch.finfo(dtype).eps, 1e-6)
        close = {"hint": hint, "rtol": 16 * eps, "atol": 16 * eps}
        assert_close([actual["out"], *actual["gradients"]], expected, what=f"[out, dq, dk, dv] in {dtype}", **close)
        what = f"dv in {dtype}"
        assert_close(actual["gradients"][2], expected[3], what=what, hint=hint, rtol=1.01 * eps, atol=2e-5)


@exercise(NAME, points=1)
def test_nothing_of_the_size_of_the_scores_is_made(student, generator):
    """Both passes together: no tensor larger than a tile or an input."""
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    assert_no_tensor_holds_all_scores(
        lambda q, k, v, *blocks: student.run(scenarios.largest_in_training, q, k, v, [True, *blocks, None]), (), seed
    )
    largest = student.run(scenarios.largest_in_training, *(normal(generator, 130, 1) for _ in range(3)), [])
    hint = "block_q and block_k are 64 when they are not given"
    assert largest <= TILE, f"a tensor of {largest} elements was made; a tile has 64 * 64 = {64 * 64} at most\n  hint: {hint}"
    assert_blocks_are_64(student, scenarios.block_defaults, NAME)
    q, k, v = normal(generator, 160, 3), normal(generator, 16, 3), normal(generator, 16, 2)
    largest = student.run(scenarios.largest_in_training, q, k, v, [False, 16, 160, None])
    hint = "block_q and block_k go to both passes, in this order"
    assert largest <= 3 * 16 * 16, f"a tensor of {largest} elements was made; a tile has 16 * 16 at most\n  hint: {hint}"


@exercise(NAME, points=1, core=True)
def test_no_weights_are_kept_for_the_backward_pass(student, generator):
    """Between the passes q, k, v, out and lse are all that is kept."""
    options = [True, 16, 16, None]
    q, k, v = normal(generator, 96, 3), normal(generator, 120, 3), normal(generator, 120, 2)
    kept = student.run(scenarios.kept_for_backward, q, k, v, options)
    needed = 96 * 3 + 120 * 3 + 120 * 2 + 96 * 2 + 96
    assert kept <= 2 * needed, (
        f"{kept} elements are kept for the backward pass; q, k, v, out and lse have {needed}, the scores {96 * 120}\n"
        "  hint: save lse, and compute the weights again"
    )


@exercise(NAME, points=0.5, core=True)
def test_the_scores_are_never_all_in_memory(student, generator):
    """Seen from outside, NumPy's arrays included: far less memory than all scores would take."""
    assert_never_all_in_memory(student, scenarios.train, generator)


@exercise(NAME, points=0.5)
def test_memory_grows_with_the_length_and_not_with_its_square(student, generator):
    """Seen from outside, over both passes, NumPy's arrays included."""
    assert_memory_linear(student, scenarios.train, generator)


@exercise(NAME, points=1)
def test_it_is_an_autograd_function_that_is_once_differentiable(student, generator):
    """A second derivative is refused: it would be wrong without a word."""
    assert_equal(student.run(scenarios.is_a_function), True, what="whether FlashAttention is a torch.autograd.Function")
    q, k, v = (normal(generator, 4, 3) for _ in range(3))
    answer = student.run(scenarios.second_derivative, q, k, v)
    assert answer == "refused", (
        "a second derivative should raise an error\n"
        "  hint: @once_differentiable under @staticmethod; lse is kept as a number, so its own derivative is missing"
    )


def counted_traffic(n, d, block_q, block_k):
    """Elements that are moved, reads and writes counted one tile and one tensor at a time."""
    standard = sum([n * d, n * d, n * n])  # read q, k; write scores
    standard += sum([n * n, n * n])  # read scores; write weights
    standard += sum([n * n, n * d, n * d])  # read weights, v; write out
    flash = 0
    for top in range(0, n, block_q):
        rows = min(block_q, n - top)
        flash += rows * d  # read a tile of q
        for left in range(0, n, block_k):
            flash += 2 * min(block_k, n - left) * d  # read a tile of k and one of v
        flash += rows * d + rows  # write out, lse
    return standard, flash


@exercise("hbm_traffic", points=3, core=True)
@given(n=sizes(1, 90), d=sizes(1, 130), block_q=sizes(1, 40), block_k=sizes(1, 40), size=st.sampled_from([1, 2, 4, 8]))
@settings(max_examples=30)
def test_traffic_is_what_one_counts_tile_by_tile(student, n, d, block_q, block_k, size):
    """The bytes of both methods, exactly, also when the blocks do not divide n."""
    standard, flash = counted_traffic(n, d, block_q, block_k)
    what = f"hbm_traffic({n}, {d}, {block_q}, {block_k}, {size})"
    hint = "ceil(n / block_q) tiles of queries read all of k and v; count lse, and bytes rather than elements"
    actual = student.hbm_traffic(n, d, block_q, block_k, size)
    assert_equal(actual, (size * standard, size * flash), what=what, hint=hint)
    expected = (2 * standard, 2 * flash)
    actual = student.hbm_traffic(n, d, block_q, block_k)
    assert_equal(actual, expected, what="with two bytes an element, the default", hint=hint)


@exercise("hbm_traffic", points=1)
def test_traffic_of_large_problems_is_exact_and_nonsense_is_refused(student):
    """Whole numbers of any size; arguments below 1 are refused."""
    n, d = 2**30 + 1, 128  # the last tile has a single query
    expected = (2 * (4 * n * d + 4 * n * n), 2 * (2 * n * d + 2 * n * d * -(-n // 4096) + n))
    hint = "n // block_q with rounding up in whole numbers; math.ceil(n / block_q) goes through a float"
    assert_equal(student.hbm_traffic(n, d, 4096, 1), expected, what="hbm_traffic of a billion tokens", hint=hint)
    for position in range(5):
        for less in (0, -1):
            arguments = [8, 8, 4, 4, 2]
            arguments[position] = less
            assert_refused(student.hbm_traffic, *arguments, why="every argument is at least 1")


def best_blocks(d, sram_bytes, size):
    """Of all pairs of powers of two that fit, the largest block_q and then the largest block_k; None when none fits."""
    powers = [2**i for i in range(12)]
    fitting = [(a, b) for a in powers for b in powers if (2 * a + 2 * b) * d * size <= sram_bytes]
    return max(fitting, default=None)


@exercise("pick_blocks", points=3, core=True)
@given(d=sizes(1, 160), rows=st.integers(2, 500), rest=seeds(), size=st.sampled_from([1, 2, 4]))
@settings(max_examples=25)
def test_blocks_are_the_best_of_all_that_fit(student, d, rows, rest, size):
    """The largest block_q that leaves room for a key, then the largest block_k, at any size of the fast memory."""
    hint = "block_q decides the traffic: the largest that leaves room for a key, then the largest block_k beside it"
    assert_equal(student.pick_blocks(1, 201, 1), (64, 32), what="pick_blocks(1, 201, 1), room for 100 rows", hint=hint)
    unit = 2 * d * size
    sram_bytes = rows * unit + rest % unit
    for case in ((d, sram_bytes, size), (d, 2 ** (rows % 9) * unit + unit, size), (d, 2 ** (rows % 9 + 1) * unit, size)):
        hint = "powers of two; block_q + block_k is at most sram_bytes // (2 * d * bytes_per_element), and may equal it"
        assert_equal(student.pick_blocks(*case), best_blocks(*case), what=f"pick_blocks{case}", hint=hint)
    large = 4 * d * size * 2**40 - 2 * d * size  # one row less than two blocks of 2 ** 40
    actual = student.pick_blocks(d, large, size)
    assert_equal(actual, (2**40, 2**39), what=f"pick_blocks({d}, {large}, {size}), a very large memory")
    expected = best_blocks(d, sram_bytes * 4, 2)
    if expected:
        actual = student.pick_blocks(d, sram_bytes * 4)
        assert_equal(actual, expected, what=f"pick_blocks({d}, {sram_bytes * 4}), two bytes an element")


@exercise("pick_blocks", points=1)
@given(d=sizes(1, 200), size=st.sampled_from([1, 2, 4]))
@settings(max_examples=6)
def test_memory_too_small_for_one_query_and_one_key_is_refused(student, d, size):
    """Just enough gives (1, 1); one byte less, none, or no width at all are refused."""
    assert_equal(student.pick_blocks(d, 4 * d * size, size), (1, 1), what=f"pick_blocks({d}, {4 * d * size}, {size})")
    for sram_bytes in (4 * d * size - 1, 0, -64):
        assert_refused(student.pick_blocks, d, sram_bytes, size, why="not even blocks of 1 fit")
    assert_refused(student.pick_blocks, 0, 1024, size, why="a width is at least 1")
    assert_refused(student.pick_blocks, d, 1024, 0, why="an element has at least one byte")
    assert_refused(student.pick_blocks, -d, 4096, -size, why="both are at least 1, although their product is positive")
