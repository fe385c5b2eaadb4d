"""Public tests of module 13: small examples, and PyTorch's own attention as the judge."""

import math

import pytest
import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.probes import largest_tensor
from autograder.testing.strategies import given, leading_shapes, normal, seeds, settings, sizes, st

BLOCKS = {"block_q": sizes(1, 5), "block_k": sizes(1, 5)}
LENGTHS = {"lead": leading_shapes(2, 2), "n_q": sizes(1, 8), "n_k": sizes(1, 8), "d_k": sizes(1, 4), "d_v": sizes(1, 4)}


FORWARD = "return out and lse: lse is m + log(l) of the scaled scores, and scale is 1 / sqrt(d_k) where it is None"


def pytorch_attention(q, k, v, causal=False, scale=None):
    """F.scaled_dot_product_attention with the causal mask aligned bottom-right; every query must see a key."""
    mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(k.shape[-2] - q.shape[-2]) if causal else None
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def three_tiles(module, scores, v):
    """The state after three tiles of two keys each."""
    m, l = torch.full(scores.shape[:-1], -torch.inf, dtype=scores.dtype), torch.zeros(scores.shape[:-1], dtype=scores.dtype)
    acc = torch.zeros(*m.shape, v.shape[-1], dtype=v.dtype)
    for left in (0, 2, 4):
        m, l, acc = module.online_softmax_tile(m, l, acc, scores[..., left : left + 2], v[..., left : left + 2, :])
    return m, l, acc


def gradients_of_apply(module, q, k, v, grad_out, options):
    """out of FlashAttention, and the gradients of q, k and v."""
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    out = module.FlashAttention.apply(*inputs, *options)
    out.backward(grad_out)
    return [out.detach(), *(x.grad for x in inputs)]


# online_softmax_tile


@exercise("online_softmax_tile")
def test_two_tiles_by_hand(student):
    """Scores [0, log 2] after a tile with the single score 0 and value 10."""
    m, l, acc = torch.zeros(1), torch.ones(1), torch.tensor([[10.0]])
    scores, v = torch.tensor([[0.0, math.log(2.0)]]), torch.tensor([[20.0], [30.0]])
    expected = (torch.tensor([math.log(2.0)]), torch.tensor([2.0]), torch.tensor([[45.0]]))
    assert_close(
        student.online_softmax_tile(m, l, acc, scores, v),
        expected,
        what="(m, l, acc)",
        hint="the maximum rises from 0 to log 2: l and acc are halved first, then 1/2 + 1 and 20/2 + 30 are added",
    )


@exercise("online_softmax_tile")
@given(lead=leading_shapes(2, 2), block_q=sizes(1, 3), seed=seeds())
@settings(max_examples=10)
def test_after_the_last_tile_acc_over_l_is_softmax_times_v(student, lead, block_q, seed):
    """Three tiles of two keys each: acc / l is softmax(scores) @ v, and m + log(l) is the log-sum-exp."""
    scores, v = normal(seed, *lead, block_q, 6, scale=3.0), normal(seed + 1, *lead, 6, 2)
    m, l, acc = student.run(three_tiles, scores, v)
    assert_close(acc / l.unsqueeze(-1), scores.softmax(-1) @ v, what="acc / l")
    assert_close(m + l.log(), scores.logsumexp(-1), what="m + log(l)")


@exercise("online_softmax_tile")
def test_a_masked_row_keeps_its_first_state(student):
    """A row of -inf leaves m = -inf, l = 0 and acc = 0, without NaN."""
    scores = torch.tensor([[-torch.inf, -torch.inf], [0.0, -torch.inf]])
    first = (torch.full((2,), -torch.inf), torch.zeros(2), torch.zeros(2, 1))
    expected = (torch.tensor([-torch.inf, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([[0.0], [5.0]]))
    actual = student.online_softmax_tile(*first, scores, torch.tensor([[5.0], [7.0]]))
    assert_close(actual, expected, what="(m, l, acc)", hint="-inf - -inf is NaN: subtract 0 where the maximum is -inf")


# flash_attention_forward


@exercise("flash_attention_forward")
@given(seed=seeds(), scale=st.sampled_from([None, 0.5]), **LENGTHS, **BLOCKS)
@settings(max_examples=14)
def test_forward_agrees_with_pytorch(student, lead, n_q, n_k, d_k, d_v, block_q, block_k, scale, seed):
    """For any lengths and blocks, out is F.scaled_dot_product_attention and lse the log of its softmax's denominator."""
    q, k, v = normal(seed, *lead, n_q, d_k), normal(seed + 1, *lead, n_k, d_k), normal(seed + 2, *lead, n_k, d_v)
    scores = q @ k.mT * (d_k**-0.5 if scale is None else scale)
    assert_close(
        student.flash_attention_forward(q, k, v, False, block_q, block_k, scale),
        (pytorch_attention(q, k, v, scale=scale), scores.logsumexp(-1)),
        what=f"(out, lse) of {n_q} queries and {n_k} keys, blocks {block_q} and {block_k}",
        hint="the last tiles may be smaller than a block" if n_q % block_q or n_k % block_k else FORWARD,
    )


@exercise("flash_attention_forward")
@given(lead=leading_shapes(2, 1), n_q=sizes(1, 7), more=sizes(0, 4), seed=seeds(), **BLOCKS)
@settings(max_examples=14)
def test_causal_forward_agrees_with_pytorch(student, lead, n_q, more, block_q, block_k, seed):
    """With as many keys as queries or more, the last query sees all of them."""
    q, k, v = normal(seed, *lead, n_q, 3), normal(seed + 1, *lead, n_q + more, 3), normal(seed + 2, *lead, n_q + more, 2)
    out = student.flash_attention_forward(q, k, v, causal=True, block_q=block_q, block_k=block_k)[0]
    what = f"out of {n_q} queries and {n_q + more} keys, blocks {block_q} and {block_k}, causal"
    assert_close(out, pytorch_attention(q, k, v, True), what=what, hint="query i sees the keys up to i + n_k - n_q")


@exercise("flash_attention_forward")
def test_a_query_that_sees_nothing_gets_zeros(student):
    """Three queries, one key, causal: the first two see nothing; their lse is -inf."""
    v = torch.tensor([[4.0]])
    expected = (torch.tensor([[0.0], [0.0], [4.0]]), torch.tensor([-torch.inf, -torch.inf, 1.0]))
    actual = student.flash_attention_forward(torch.ones(3, 1), torch.ones(1, 1), v, causal=True, block_q=2, block_k=2)
    assert_close(actual, expected, what="(out, lse)")


@exercise("flash_attention_forward")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_lse_of_half_precision_is_float32(student, dtype):
    """out keeps the dtype of q; lse is float32, and as precise."""
    q, k, v = (normal(seed, 9, 4, dtype=dtype) for seed in range(3))
    out, lse = student.flash_attention_forward(q, k, v, block_q=2, block_k=2)
    assert_close(lse, (q.float() @ k.float().mT / 2).logsumexp(-1), what="lse", hint="convert each tile to float32")
    assert_equal(out.dtype, dtype, what="the dtype of out")


@exercise("flash_attention_forward")
def test_no_tensor_has_a_number_for_each_query_and_key(student):
    """96 queries and 96 keys of width 3 in blocks of 16: no tensor has 9216 elements, and no mask."""
    q, k, v = (normal(seed, 96, 3) for seed in range(3))
    for causal in (False, True):
        largest = student.run(largest_tensor, "flash_attention_forward", [q, k, v, causal, 16, 16])
        assert largest < 96 * 96, f"causal={causal}: a tensor of {largest} elements was made; a mask counts too"


@exercise("flash_attention_forward")
def test_forward_refuses_what_does_not_fit(student):
    """Blocks below 1, and leading dimensions that differ."""
    q, k, v = torch.zeros(2, 4, 3), torch.zeros(2, 5, 3), torch.zeros(2, 5, 3)
    assert_refused(student.flash_attention_forward, q, k, v, False, 0, 4, why="a block has at least one query")
    assert_refused(student.flash_attention_forward, q[:1], k, v, why="leading dimensions do not broadcast here")


# flash_attention_backward and FlashAttention


@exercise("flash_attention_backward")
@given(causal=st.booleans(), lead=leading_shapes(2, 1), n_q=sizes(1, 7), more=sizes(0, 4), seed=seeds(), **BLOCKS)
@settings(max_examples=14)
def test_backward_agrees_with_autograd(student, causal, lead, n_q, more, block_q, block_k, seed):
    """(dq, dk, dv) are what autograd finds through F.scaled_dot_product_attention."""
    shapes = ((n_q, 3), (n_q + more, 3), (n_q + more, 2))
    q, k, v = (normal(seed + i, *lead, *shape).requires_grad_() for i, shape in enumerate(shapes))
    grad_out = normal(seed + 3, *lead, n_q, 2)
    out = pytorch_attention(q, k, v, causal)
    out.backward(grad_out)
    scores = (q @ k.mT).detach() * 3**-0.5
    if causal:
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(more), -torch.inf)
    saved = [x.detach() for x in (q, k, v, out)] + [scores.logsumexp(-1)]
    assert_close(
        student.flash_attention_backward(grad_out, *saved, causal, block_q, block_k),
        (q.grad, k.grad, v.grad),
        what=f"(dq, dk, dv) of {n_q} queries and {n_q + more} keys, blocks {block_q} and {block_k}, causal={causal}",
        hint="p = exp(scores - lse), with the mask and the scale of the forward pass; then the five lines of the docstring",
    )


@exercise("FlashAttention")
@given(causal=st.booleans(), n_q=sizes(1, 7), more=sizes(0, 4), seed=seeds(), **BLOCKS)
@settings(max_examples=10)
def test_apply_agrees_with_pytorch_forward_and_backward(student, causal, n_q, more, block_q, block_k, seed):
    """out and the three gradients are those of F.scaled_dot_product_attention."""
    shapes = ((2, n_q, 3), (2, n_q + more, 3), (2, n_q + more, 2))
    q, k, v = (normal(seed + i, *shape).requires_grad_() for i, shape in enumerate(shapes))
    grad_out = normal(seed + 3, 2, n_q, 2)
    out = pytorch_attention(q, k, v, causal, 0.7)
    out.backward(grad_out)
    options = [causal, block_q, block_k, 0.7]
    actual = student.run(gradients_of_apply, q.detach(), k.detach(), v.detach(), grad_out, options)
    assert_close(actual, [out.detach(), q.grad, k.grad, v.grad], what="[out, dq, dk, dv]")


# hbm_traffic and pick_blocks


@exercise("hbm_traffic")
def test_the_traffic_of_two_thousand_tokens(student):
    """n = 2048, d = 64, blocks of 128, two bytes: 34.6 million bytes against 8.9 million."""
    hint = "bytes as ints: the elements of the docstring times bytes_per_element, which is 2 where it is not given"
    actual = student.hbm_traffic(2048, 64, 128, 128)
    assert_equal(actual, (34603008, 8916992), what="hbm_traffic(2048, 64, 128, 128)", hint=hint)
    actual, hint = student.hbm_traffic(5, 3, 2, 4, 1), "5 queries in tiles of 2 are three tiles: round up"
    assert_equal(actual, (160, 125), what="hbm_traffic(5, 3, 2, 4, 1)", hint=hint)


@exercise("pick_blocks")
def test_the_blocks_of_an_h100(student):
    """227 KiB of shared memory, width 128, two bytes: 256 queries and 128 keys; a kilobyte holds one of each."""
    assert_equal(student.pick_blocks(128, 227 * 1024), (256, 128), what="pick_blocks(128, 227 * 1024)")
    assert_equal(student.pick_blocks(128, 1024), (1, 1), what="pick_blocks(128, 1024)")
    assert_refused(student.pick_blocks, 128, 1023, why="one query and one key need 1024 bytes")
