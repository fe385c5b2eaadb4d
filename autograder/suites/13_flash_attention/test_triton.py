"""flash_attention of flash_attention_triton.py, on Triton's CPU interpreter, against attention by its definition in float64.

The interpreter computes float32 and float16 as a GPU does and bfloat16 wrongly, so bfloat16 is left to the GPU milestone.
It takes milliseconds for each tile: sizes are small, yet reach over several tiles and their ragged ends.
"""

import math

import numpy as np
import torch

from autograder.testing import assert_close, assert_refused, exercise
from autograder.testing.strategies import normal

NAME = "flash_attention"
ROOM = {torch.float32: 2e-5, torch.float16: 4e-3}  # of numbers of size one, summed in float32 and rounded to the dtype
CAUSAL = "query i sees the keys up to i + n_k - n_q, in every tile; a tile that is not seen whole needs a mask"
ENDS = "loads beyond n_q and n_k must give 0, and the scores of keys beyond n_k must be -inf before the maximum is taken"


def attended(module, q, k, v, causal=False, scale=None, grad=None, layouts=("plain",) * 4, between=False, wrt=(0, 1, 2)):
    """out, with `grad` the gradients of those of q, k and v at `wrt`, from the module's Triton file, and whether inputs are kept.

    The layouts are those of q, k, v and `grad`. Beside what is scattered there is NaN, and whether a kernel loaded any of it
    is told. `between` the two passes another problem of the same shapes may come.
    """
    import importlib
    import os

    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
    package, _, name = module.__name__.rpartition(".")
    kernels = importlib.import_module(f"{package}.flash_attention_triton") if name == "flash_attention" else module

    def laid_out(x, layout, wanted):
        if layout == "tokens first":  # as a projection leaves it: (b, n, h, d), seen through a transposition
            return x.transpose(-3, -2).contiguous().requires_grad_(wanted).transpose(-3, -2)
        if layout == "scattered":  # every second column in a corner of something longer and wider
            rows, columns = slice(x.shape[-2]), slice(0, 2 * x.shape[-1], 2)
            wide = x.new_full((*x.shape[:-2], x.shape[-2] + 64, 4 * x.shape[-1]), float("nan"))
            wide[..., rows, columns] = x
            return wide.requires_grad_(wanted)[..., rows, columns]
        return x.clone().requires_grad_(wanted)

    inputs = [laid_out(x, layouts[i], grad is not None and i in wrt) for i, x in enumerate((q, k, v))]
    before = [x.detach().clone() for x in inputs]
    from triton.runtime.interpreter import interpreter_builder as builder

    load, beside = builder.create_masked_load, []

    def watched(*args):
        loaded = load(*args)
        beside.append(bool(np.isnan(loaded.data).any()))
        return loaded

    if "scattered" in layouts:
        builder.create_masked_load = watched
    try:
        out = kernels.flash_attention(*inputs, causal, scale)
        result = {"out": out.detach()}
        if between:
            kernels.flash_attention(-q, v, k, not causal, 0.1)
        if grad is not None:
            wanted, gradients = [inputs[i] for i in wrt], [None] * len(wrt)
            if out.requires_grad or len(wrt) == 3:
                gradients = torch.autograd.grad(out, wanted, laid_out(grad, layouts[3], False), allow_unused=len(wrt) < 3)
            result |= dict(zip([("dq", "dk", "dv")[i] for i in wrt], gradients))
    finally:
        builder.create_masked_load = load
    result["inputs kept"] = all(torch.equal(a, b) for a, b in zip(before, inputs))
    if "scattered" in layouts:
        result["nothing beside them read"] = not any(beside)
    return result


def lse_of(module, q, k, v, scale):
    """lse as the given `attention_forward` of the module's Triton file returns it, where that is still there; else None."""
    import importlib
    import os

    os.environ["TRITON_INTERPRET"] = "1"
    kernels = importlib.import_module(module.__name__.rpartition(".")[0] + ".flash_attention_triton")
    forward = getattr(kernels, "attention_forward", None)
    return forward and forward(*(x[None, None] for x in (q, k, v)), False, scale)[1][0, 0]


def work_of(module, q, k, v):
    """How many times Triton was asked to run a kernel, and the largest floating tensor that was made, in both passes.

    Also what comes out of a forward pass whose kernels are not run, and of a backward pass in the same way; and what comes
    when kernels load every number twice as large.
    """
    import importlib
    import os

    from torch.utils._python_dispatch import TorchDispatchMode

    os.environ["TRITON_INTERPRET"] = "1"
    kernels = importlib.import_module(module.__name__.rpartition(".")[0] + ".flash_attention_triton")
    from triton.runtime.interpreter import GridExecutor
    from triton.runtime.interpreter import interpreter_builder as builder

    seen = {"launches": 0, "largest": 0, "run": False}
    launch, load = GridExecutor.__call__, builder.create_masked_load

    def counted(self, *args, **kwargs):
        seen["launches"] += 1
        return launch(self, *args, **kwargs) if seen["run"] else None

    def doubled(*args):
        loaded = load(*args)
        if loaded.data.dtype.kind == "f":
            loaded.data = loaded.data + loaded.data
        return loaded

    class Largest(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            value = operator(*args, **(kwargs or {}))
            for x in value if isinstance(value, tuple | list) else [value]:
                if isinstance(x, torch.Tensor) and x.is_floating_point():  # the interpreter copies storages as bytes
                    seen["largest"] = max(seen["largest"], x.numel())
            return value

    GridExecutor.__call__ = counted
    try:
        with Largest():
            idle = kernels.flash_attention(q, k, v)
            seen["launches"], seen["run"] = 0, True
            out = kernels.flash_attention(q.requires_grad_(), k.requires_grad_(), v.requires_grad_())
            forward, seen["run"] = seen["launches"], False
            gradients = torch.autograd.grad(out, (q, k, v), q.detach())
        work = {"forward": forward, "backward": seen["launches"] - forward, "largest": seen["largest"]}
        seen["run"], builder.create_masked_load = True, doubled
        out = kernels.flash_attention(q, k, v)
        answers = {"idle": (idle, *gradients), "doubled": (out.detach(), *torch.autograd.grad(out, (q, k, v), q.detach()))}
    finally:
        GridExecutor.__call__, builder.create_masked_load = launch, load
    return work | {case: dict(zip(("out", "dq", "dk", "dv"), values)) for case, values in answers.items()}


def products_cut(module, q, k, v, grad, causal):
    """How many products of float32 tiles both passes ask for in tf32, and how many products there are."""
    import importlib
    import os

    os.environ["TRITON_INTERPRET"] = "1"
    kernels = importlib.import_module(module.__name__.rpartition(".")[0] + ".flash_attention_triton")
    from triton.runtime.interpreter import interpreter_builder as builder

    dot, seen = builder.create_dot, []

    def watched(a, b, d, precision, *rest):
        seen.append(a.data.dtype == np.float32 and str(precision).rpartition(".")[2] == "TF32")
        return dot(a, b, d, precision, *rest)

    builder.create_dot = watched
    try:
        inputs = [x.clone().requires_grad_() for x in (q, k, v)]
        torch.autograd.grad(kernels.flash_attention(*inputs, causal), inputs, grad)
    finally:
        builder.create_dot = dot
    return sum(seen), len(seen)


def problem(generator, q_shape, k_shape, dtype=torch.float32, times=1.0):
    """q, k, v and a gradient of out."""
    shapes = q_shape, k_shape, k_shape, q_shape
    return [normal(generator, *shape, dtype=dtype, scale=times if i == 0 else 1.0) for i, shape in enumerate(shapes)]


def by_definition(q, k, v, grad, causal=False, scale=None):
    """What `attended` should return, in float64, with each head of k and v repeated for its group."""
    dtype = q.dtype
    q, k, v = (x.double().requires_grad_() for x in (q, k, v))
    group = q.shape[-3] // k.shape[-3] if q.dim() > 2 else 1
    keys, values = (x.repeat_interleave(group, -3) if group > 1 else x for x in (k, v))
    scores = q @ keys.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    n_q, n_k = scores.shape[-2:]
    seen = torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q if causal else n_k)
    weights = torch.where(seen, scores.masked_fill(~seen, torch.finfo(torch.float64).min).softmax(-1), 0.0)
    out = weights @ values
    gradients = torch.autograd.grad(out, (q, k, v), grad.double())
    values = (out.detach(), *gradients)
    return {name: x.to(dtype) for name, x in zip(("out", "dq", "dk", "dv"), values)} | {"inputs kept": True}


def compare(actual, expected, what, hint, room=None):
    """Each tensor of the answer within `room` of the largest number of the expected one."""
    assert set(actual) == set(expected), f"{what}: expected {sorted(expected)}, got {sorted(actual)}"
    for name, x in expected.items():
        size = max(1.0, float(x.abs().max())) if isinstance(x, torch.Tensor) and x.numel() else 1.0
        atol = None if isinstance(x, bool) else (room or ROOM[x.dtype]) * size
        assert_close(actual[name], x, what=f"{name}, {what}", hint=hint, rtol=0.0, atol=atol)


RAGGED = [  # n_q, n_k, head_dim, causal: less than a tile, whole tiles, a tile and a bit, widths that are no powers of two
    (1, 3, 128, False),
    (64, 64, 32, True),
    (33, 97, 24, False),
    (40, 129, 17, True),
]


@exercise(NAME, points=6, core=True)
def test_out_is_that_of_attention(student, generator):
    """Out for lengths and widths that fill no tile, causal and not, in float32."""
    for n_q, n_k, head_dim, causal in RAGGED:
        q, k, v, grad = problem(generator, (1, 2, n_q, head_dim), (1, 2, n_k, head_dim))
        expected = by_definition(q, k, v, grad, causal)
        actual = student.run(attended, q, k, v, causal)
        what = f"{n_q} queries, {n_k} keys, head_dim {head_dim}{', causal' if causal else ''}"
        compare(actual, {name: expected[name] for name in ("out", "inputs kept")}, what, CAUSAL if causal else ENDS)


@exercise(NAME, points=1)
def test_half_precision_is_summed_in_float32(student, generator):
    """float16 in, float16 out, nothing lost on the way over many keys; and two dimensions are one head."""
    q, k, v, grad = problem(generator, (8, 16), (256, 16), torch.float16, times=0.1)
    v[..., :128, :] += 64  # what these add up to is taken away again by the others: float16 would be off by 16 on the way
    v[..., 128:, :] -= 64
    q[..., 0], k[..., 0] = 160, 1  # scores of 40: float16 would know them, and m, to 0.03
    hint = "scores, m, l and acc are float32; only the weights are cast, for tl.dot"
    compare(student.run(attended, q, k, v, False, None, grad), by_definition(q, k, v, grad), "float16", hint)
    q, k, v = (torch.zeros(n, 16, dtype=torch.float16) for n in (1, 576, 576))
    q[0, 0], k[64:, 0], v[:64, 0] = 1, -11, 1  # 64 weights of 1, then 8 tiles of weights 1 / 2048: float16 stays at 64
    actual, expected = student.run(attended, q, k, v, False, math.log(2)), {"out": 0 * q, "inputs kept": True}
    expected["out"][0, 0] = 64 / 64.25
    compare(actual, expected, "float16, many small weights after large ones", hint, 1e-3)
    k[:], k[1:, 0] = 0, -1  # a weight of 1, then many of 0.5002, all of which float16 makes 0.5
    weight = 0.5 + 0.4 / 2048
    lse, expected = student.run(lse_of, q, k[:256], v[:256], -math.log(weight)), math.log(1 + 255 * weight)
    if lse is not None:
        assert_close(lse, torch.tensor([expected]), what="lse of 256 keys in float16", hint=hint, rtol=0.0, atol=1e-5)


@exercise(NAME, points=1)
def test_gradients_of_half_precision_are_summed_in_float32(student, generator):
    """8000 + 2 - 8000, one tile each: float16 makes 0 of it. All weights are equal, and every number is exact.

    A second column adds 4 · 32768 to dp and to delta, more than float16 can hold, and nothing to their difference. Of random
    numbers their difference is too large for float16 as well, but not ds.
    """

    def first_column(*parts):
        x = torch.zeros(sum(n for n, _ in parts), 16, dtype=torch.float16)
        x[:, 0] = torch.cat([torch.full((n,), float(value)) for n, value in parts])
        return x

    hint = "dp, dq, dk and dv are float32 until they are stored; only the factors of tl.dot are cast"
    queries = first_column((96, 1)), first_column((4, 0)), first_column((2, 1), (2, -1))
    keys = first_column((4, 0)), first_column((64, 1000), (64, 0.25), (64, -1000), (64, 0)), first_column((192, 1), (64, -3))
    for (q, k, v), grad in ((queries, first_column((32, 1000), (32, 0.25), (32, -1000))), (keys, first_column((4, 32)))):
        v[:, 1], grad[:, 1] = 32768, 4
        actual, expected = student.run(attended, q, k, v, False, 1.0, grad), by_definition(q, k, v, grad, False, 1.0)
        compare(actual, expected, f"float16, {len(q)} queries and {len(k)} keys", hint)
    q, k, grad = (torch.full((n, 16), x, dtype=torch.float16) for n, x in ((64, 60.0), (2, 0.0), (64, 1.0)))
    v = torch.tensor([[8.0], [-8.0]], dtype=torch.float16).expand(2, 16)  # dsᵀ q of 32 queries is 122880 before it is scaled
    actual, expected = student.run(attended, q, k, v, False, 0.01, grad), by_definition(q, k, v, grad, False, 0.01)
    compare(actual, expected, "float16, large q and a small scale", hint)
    parts = problem(generator, (20, 16), (20, 16), torch.float16)
    q, k, v, grad = (x * times for x, times in zip(parts, (1e-3, 1e-3, 100, 250)))
    actual, expected = student.run(attended, q, k, v, False, None, grad), by_definition(q, k, v, grad)
    compare(actual, expected, "float16, large v and gradient of out", hint)


@exercise(NAME, points=5, core=True)
def test_gradients_are_those_of_attention(student, generator):
    """dq, dk and dv for the same lengths and widths, in float32."""
    for n_q, n_k, head_dim, causal in RAGGED:
        q, k, v, grad = problem(generator, (1, 1, n_q, head_dim), (1, 1, n_k, head_dim))
        actual = student.run(attended, q, k, v, causal, None, grad)
        what = f"{n_q} queries, {n_k} keys, head_dim {head_dim}{', causal' if causal else ''}"
        hint = "dv = pᵀ do; ds = p (do vᵀ - delta); dq = scale ds k; dk = scale dsᵀ q"
        compare(actual, by_definition(q, k, v, grad, causal), what, hint)


@exercise(NAME, points=1)
def test_products_of_float32_keep_their_digits(student, generator):
    """tl.dot cuts float32 to tf32 unless it is told otherwise: three digits on a GPU, unseen in the interpreter."""
    q, k, v, grad = problem(generator, (1, 1, 20, 16), (1, 1, 24, 16))
    for causal in (False, True):
        cut, n = student.run(products_cut, q, k, v, grad, causal)
        assert cut == 0, (
            f"20 queries, 24 keys in float32, causal={causal}: expected no product in tf32, got {cut} of {n}\n"
            '  hint: tl.dot(..., input_precision="ieee"), in every product'
        )


@exercise(NAME, points=2)
def test_heads_of_q_share_heads_of_k_and_v(student, generator):
    """With 4 heads of q and 2 of k and v, neighbours share, dk and dv sum over those that share; batches do not mix.

    Each of q, k and v may be the only one that wants a gradient.
    """
    hint = (
        "head h of q belongs to head h // group of k and v; dk and dv are sums over the group's heads; out has q's shape;\n"
        "  what backward needs is kept in ctx, for each call anew"
    )
    for lead, heads, shared in (((), 4, 2), ((2, 1), 1, 1)):
        q, k, v, grad = problem(generator, (*lead, heads, 20, 16), (*lead, shared, 24, 16))
        actual = student.run(attended, q, k, v, True, None, grad, between=not lead)
        what = f"q {tuple(q.shape)}, k and v {tuple(k.shape)}" + (", another problem between the passes" if not lead else "")
        compare(actual, by_definition(q, k, v, grad, True), what, hint)
    expected = by_definition(q, k, v, grad, True)
    for i, name in enumerate(("dq", "dk", "dv")):
        actual = student.run(attended, q, k, v, True, None, grad, wrt=(i,))
        alone = {key: expected[key] for key in ("out", name, "inputs kept")}
        compare(actual, alone, f"the only gradient that is wanted being {name}", "each input may want a gradient alone")
    q, k, v, grad = both = problem(generator, (1, 2, 20, 16), (1, 2, 24, 16))
    expected = by_definition(*(x[:, :1] for x in both))
    for x in both:
        x[:, 1] = math.nan
    actual = student.run(attended, q, k, v, False, None, grad)
    actual = {name: x[:, :1] for name, x in actual.items() if name in ("out", "dq", "dk", "dv")} | {"inputs kept": True}
    hint = "what lies beyond a head's last query belongs to the next head: mask every load, that of delta, too"
    compare(actual, expected, "the first head, where the second one's numbers are NaN", hint)


@exercise(NAME, points=1)
def test_a_query_that_sees_nothing_gets_zeros(student, generator):
    """Causal with more queries than keys: the first rows are 0, their gradients too, and nothing is NaN."""
    q, k, v, grad = problem(generator, (1, 75, 16), (1, 20, 16))
    actual = student.run(attended, q, k, v, True, None, grad)
    hint = "a row that sees nothing is 0 in out and in dq, and adds nothing to dk and dv"
    if any(isinstance(x, torch.Tensor) and x.isnan().any() for x in actual.values()):
        hint = "with m = -inf, -inf - m is NaN: subtract 0 there; l = 0 must not divide"
    compare(actual, by_definition(q, k, v, grad, True), "20 keys for 75 queries", hint)
    none, hint = k[:, :0], "without a key all rows see nothing: out and dq are 0, dk and dv are empty"
    nothing = dict(zip(("out", "dq", "dk", "dv"), map(torch.zeros_like, (q, q, none, none)))) | {"inputs kept": True}
    compare(student.run(attended, q, none, none, False, None, grad), nothing, "no key at all", hint)


@exercise(NAME, points=1)
def test_any_strides_will_do(student, generator):
    """Transposed and scattered inputs give what contiguous ones give, and nothing beside them is read."""
    q, k, v, grad = problem(generator, (1, 2, 17, 24), (1, 2, 40, 24))
    first, second = ("tokens first", "scattered", "scattered", "scattered"), ("scattered", "tokens first", "plain", "plain")
    for layouts in (first, second):
        actual = student.run(attended, q, k, v, True, None, grad, layouts)
        hint = "step through memory with the strides you are given, each tensor has its own, and stop at its last row and column"
        expected = by_definition(q, k, v, grad, True) | {"nothing beside them read": True}
        compare(actual, expected, "q {}, k {}, v {}, the gradient of out {}".format(*layouts), hint)


@exercise(NAME, points=1)
def test_scores_of_any_size_and_scale(student, generator):
    """Scores of hundreds, below and above zero, hidden ones the largest, or all far below; a scale of 0, below, or next to 0."""
    q, k, v, grad = problem(generator, (1, 1, 20, 16), (1, 1, 70, 16), times=100.0)
    q, k = q.abs(), -k.abs()
    k[..., -1, :] *= -1  # all but the last query see nothing but scores far below 0, and must not see this one far above
    hint = "mask, then take the running maximum, subtract it before exp2, and rescale l and acc when it grows"
    # float32 rounds a score of 500 by 3e-5, which is the relative error of its weight; the gradients of k scale with q.
    compare(student.run(attended, q, k, v, True, None, grad), by_definition(q, k, v, grad, True), "large scores", hint, 5e-4)
    q, k, v, grad = problem(generator, (1, 1, 5, 16), (1, 1, 40, 16))
    for scale, causal in ((-0.3, False), (0.0, False), (1e-7, True)):
        actual = student.run(attended, q, k, v, causal, scale, grad)
        hint = "a hidden score is -inf: a low number times a small scale is not low" if causal else "the scale is an argument"
        compare(actual, by_definition(q, k, v, grad, causal, scale), f"scale {scale}", hint)
    q, k = torch.zeros_like(q), torch.zeros_like(k)
    for size in (200, 40_000):
        q[..., 0], k[..., 0] = size, -size
        actual, expected = student.run(attended, q, k, v, True, 1.0), by_definition(q, k, v, grad, True, 1.0)
        expected = {name: expected[name] for name in ("out", "inputs kept")}
        hint = "the running maximum starts at -inf, and m is -inf where nothing was seen: no other number is as low"
        compare(actual, expected, f"scores of {-size * size}", hint)
    assert_refused(student.run, attended, q.double(), k.double(), v.double(), why="float64 has no kernel")


@exercise(NAME, points=1, core=True)
def test_the_work_is_done_in_kernels(student, generator):
    """Forward and backward launch Triton kernels, and no tensor of n_q · n_k elements exists beside them."""
    q, k, v, _ = problem(generator, (1, 1, 48, 16), (1, 1, 48, 16))
    work, expected = student.run(work_of, q, k, v), by_definition(q, k, v, q)
    launched = work["forward"], work["backward"]
    said = "kernels should be launched in both passes, but {} were in forward and {} in backward"
    assert min(launched) >= 1, said.format(*launched)
    assert work["largest"] < 48 * 48, f"a tensor of {work['largest']} elements was made: the scores of 48 x 48 must not exist"
    for name, x in work["idle"].items():
        assert not torch.allclose(x, expected[name], atol=1e-3), f"{name} was computed, although no kernel had been run"
    for name, x in work["doubled"].items():
        same = torch.cosine_similarity(x.flatten(), expected[name].flatten(), dim=0)
        assert not same > 0.999, f"{name} is attention's, whatever numbers the kernels load: they have to compute it"
