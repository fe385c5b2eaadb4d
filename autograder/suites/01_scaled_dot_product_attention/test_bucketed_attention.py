"""bucketed_attention, against dense attention under the mask of equal buckets."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, exercise
from autograder.testing.probes import changed_around, gradients, largest_tensor, strided
from autograder.testing.strategies import broadcastable, example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios
from .oracles import (
    assert_not_accepted,
    attention,
    cotangent_of,
    none_as_zeros,
    not_later,
    of_gradients,
    pulled_back,
    same_bucket,
)


@dataclass(frozen=True)
class Case:
    """Queries, keys and values with random buckets: uneven ones, some without queries, some without keys."""

    lead: tuple[int, ...]
    n_q: int
    n_k: int
    d_k: int
    d_v: int
    n_buckets: int
    causal: bool
    seed: int

    def tensors(self):
        g = torch.Generator().manual_seed(self.seed)
        q, k = normal(g, *self.lead, self.n_q, self.d_k), normal(g, *self.lead, self.n_k, self.d_k)
        buckets = [self.buckets(g, *self.lead, n) for n in (self.n_q, self.n_k)]
        return [q, k, normal(g, *self.lead, self.n_k, self.d_v), *buckets]

    def buckets(self, g, *shape):
        return 256 * torch.randint(self.n_buckets, shape, generator=g)  # with gaps in the numbering

    def expected(self, q, k, v, q_buckets, k_buckets):
        return attention(q, k, v, same_bucket(q_buckets, k_buckets, self.causal).double())


def cases(largest=9, causal=None, same_length=False):
    length = sizes(1, largest)
    drawn = st.builds(
        Case,
        lead=leading_shapes(3, 2),
        n_q=length,
        n_k=length,
        d_k=sizes(1, 5),
        d_v=sizes(1, 5),
        n_buckets=sizes(1, 4),
        causal=st.booleans() if causal is None else st.just(causal),
        seed=seeds(),
    )
    return drawn.map(lambda c: Case(**{**c.__dict__, "n_k": c.n_q})) if same_length else drawn


@exercise("bucketed_attention", points=3, core=True)
@given(case=cases())
def test_a_query_attends_to_its_own_bucket(student, case):
    """The output is exact attention under the mask of equal buckets, causal or not, for buckets of any size."""
    inputs = case.tensors()
    assert_close(
        student.bucketed_attention(*inputs, causal=case.causal),
        case.expected(*inputs),
        what="output",
        hint="scale 1 / sqrt(d_k); results go back to their query's place; every leading index has its own buckets",
    )


@exercise("bucketed_attention", points=1)
@given(case=cases(causal=False))
@settings(max_examples=12)
def test_one_bucket_gives_full_attention(student, case):
    """When all buckets are equal, the output is that of full attention."""
    q, k, v, q_buckets, k_buckets = case.tensors()
    actual = student.bucketed_attention(q, k, v, torch.full_like(q_buckets, 5), torch.full_like(k_buckets, 5))
    assert_close(actual, F.scaled_dot_product_attention(q, k, v), what="output")
    for n_q, n_k in ((2, 300), (300, 2)):
        q, k, v = normal(case.seed, n_q, 3), normal(case.seed + 1, n_k, 3), normal(case.seed + 2, n_k, 2)
        actual = student.bucketed_attention(q, k, v, torch.zeros(n_q).long(), torch.zeros(n_k).long())
        hint = "a bucket may hold any number of queries and keys, all of them"
        what = f"output for a bucket of {n_q} queries and {n_k} keys"
        assert_close(actual, F.scaled_dot_product_attention(q, k, v), what=what, hint=hint)
    q, k, v = normal(case.seed, 150, 3), normal(case.seed + 1, 300, 3), normal(case.seed + 2, 300, 2)
    actual = student.bucketed_attention(q, k, v, torch.zeros(150).long(), torch.zeros(300).long(), causal=True)
    what = "output for a causal bucket of 150 queries and 300 keys"
    assert_close(actual, attention(q, k, v, not_later(150, 300).double()), what=what, hint=hint)
    q, k, v = q[:4], k[:5], v[:5]
    actual = student.bucketed_attention(q, k, v, torch.zeros(4).long(), torch.zeros(3, 5).long())
    what, expected = "output for one bucket, the keys' given three times over", F.scaled_dot_product_attention(q, k, v)
    assert_close(actual, expected.expand(3, 4, 2), what=what, hint="leading dimensions of the buckets count as well")


@exercise("bucketed_attention", points=3)
def test_the_full_matrix_is_never_formed(student, generator):
    """With several buckets no tensor holds n_q x n_k elements, neither scores nor booleans."""
    for n_q, n_k, n_buckets, causal in [
        (256, 256, 8, False),
        (256, 256, 64, True),
        (192, 320, 4, True),
        (160, 224, 3, False),
    ]:
        width = min(2, n_buckets // 2)  # so narrow that a list of the pairs that share a bucket is smaller than the matrix
        q, k, v = (normal(generator, n, width) for n in (n_q, n_k, n_k))
        buckets = [(torch.arange(n) % n_buckets)[torch.randperm(n, generator=generator)] for n in (n_q, n_k)]
        largest = student.run(largest_tensor, "bucketed_attention", [q, k, v, *buckets, causal])
        assert largest < n_q * n_k, (
            f"with {n_q} queries, {n_k} keys and {n_buckets} buckets a tensor of {largest} elements was made: "
            f"n_q * n_k is {n_q * n_k}\n  hint: gather each bucket's rows first; not all against all"
        )
        actual = student.bucketed_attention(q, k, v, *buckets, causal=causal)
        assert_close(actual, attention(q, k, v, same_bucket(*buckets, causal).double()), what="output")
    q, k, v = (normal(generator, 2, 256, 2) for _ in "qkv")
    buckets = (torch.arange(256) % 16).expand(2, 256)
    for causal in (False, True):
        largest = student.run(largest_tensor, "bucketed_attention", [q, k, v, buckets, buckets, causal])
        assert largest < 256 * 256, (
            f"for two heads of 256 queries and keys in 16 buckets a tensor of {largest} elements was made, "
            "no fewer than n_q * n_k\n  hint: leading dimensions do not change the rule: gather each bucket's rows first"
        )
    n = 4096
    q, k, v = (normal(generator, n, 2) for _ in "qkv")
    buckets = (torch.arange(n) % 512)[torch.randperm(n, generator=generator)]
    few = [x[:8] for x in (q, k, v, buckets, buckets)]
    peak = student.measure("bucketed_attention", q, k, v, buckets, buckets, warm_up=few).peak_bytes
    assert peak < n * n * 3 / 4, (
        f"with {n} queries and keys in 512 buckets the call took {peak / 2**20:.0f} MiB: n_q * n_k booleans are "
        f"{n * n / 2**20:.0f} MiB\n  hint: a table of all pairs is as large in NumPy and in lists"
    )


@exercise("bucketed_attention", points=2)
@given(case=cases(largest=6))
@settings(max_examples=16)
def test_bucketed_gradients_are_right_and_finite(student, case):
    """Gradients reach q, k and v, and are zero for a query that sees no key."""
    inputs = case.tensors()
    if case.causal:
        inputs[1][..., -1, :] *= 1e3  # hidden from all but the last query, with the largest scores: exp would overflow
    actual = student.run(gradients, "bucketed_attention", [*inputs, case.causal], seed=case.seed)["gradients"]
    cotangent = cotangent_of(case.seed, (*case.lead, case.n_q, case.d_v))
    expected = pulled_back(lambda *qkv: case.expected(*qkv, *inputs[3:]), inputs[:3], cotangent)
    actual = none_as_zeros(actual, expected)
    hint = of_gradients(actual)
    assert_close(actual, expected, what="the gradients of (q, k, v)", hint=hint, rtol=1e-8, atol=1e-10)
    one = case.seed % 3  # the others are constants
    alone = student.run(gradients, "bucketed_attention", [*inputs, case.causal], wrt=[one], seed=case.seed)["gradients"]
    alone = none_as_zeros(alone, expected[one : one + 1])
    what, hint = f"the gradient of {'qkv'[one]}, which alone requires one", "q, k and v each get their gradient"
    assert_close(alone[0], expected[one], what=what, hint=hint, rtol=1e-8, atol=1e-10)


@exercise("bucketed_attention", points=2)
@given(case=cases(causal=True, same_length=True), data=st.data())
@settings(max_examples=14)
def test_future_keys_do_not_change_the_past(student, case, data):
    """With causal=True, keys, values and key buckets from position t on do not matter before t."""
    q, k, v, q_buckets, k_buckets = case.tensors()
    t = data.draw(sizes(0, case.n_q - 1))
    before = student.bucketed_attention(q, k, v, q_buckets, k_buckets, causal=True)
    other = Case(**{**case.__dict__, "seed": case.seed + 1}).tensors()
    for old, new in zip((k, v), other[1:3], strict=True):
        old[..., t:, :] = 20 * new[..., t:, :]
    k_buckets[..., t:] = other[4][..., t:]
    after = student.bucketed_attention(q, k, v, q_buckets, k_buckets, causal=True)
    hint = "causality is about positions in the original order, not within the bucket"
    hint *= not (before.isnan().any() or after.isnan().any())
    assert_close(after[..., :t, :], before[..., :t, :], what=f"outputs before position {t}", hint=hint)
    assert_close(after, attention(q, k, v, same_bucket(q_buckets, k_buckets, True).double()), what="output", hint=hint)


def broadcast_leads():
    """The leading dimensions of q, k, v, q_buckets and k_buckets: five shapes that broadcast."""
    return leading_shapes(3, 2).flatmap(lambda lead: st.tuples(*(broadcastable(lead) for _ in range(5))))


@exercise("bucketed_attention", points=1)
@given(leads=broadcast_leads(), n_q=sizes(1, 6), n_k=sizes(1, 6), causal=st.booleans(), seed=seeds())
@example(leads=((2, 3), (), (), (), ()), n_q=3, n_k=4, causal=False, seed=0)
@example(leads=((), (2,), (), (), ()), n_q=4, n_k=3, causal=True, seed=1)
@example(leads=((), (), (2, 1), (), ()), n_q=3, n_k=4, causal=True, seed=2)
@example(leads=((), (), (), (2,), ()), n_q=4, n_k=3, causal=False, seed=3)
@example(leads=((), (1,), (), (), (3, 2)), n_q=3, n_k=4, causal=False, seed=4)
@settings(max_examples=20)
def test_leading_dimensions_of_tensors_and_buckets_broadcast(student, leads, n_q, n_k, causal, seed):
    """Leading dimensions of q, k, v and both bucket tensors broadcast against each other."""
    g = torch.Generator().manual_seed(seed)
    q, k, v = normal(g, *leads[0], n_q, 3), normal(g, *leads[1], n_k, 3), normal(g, *leads[2], n_k, 2)
    q_buckets, k_buckets = (torch.randint(3, (*x, n), generator=g) for x, n in zip(leads[3:], (n_q, n_k), strict=True))
    actual = student.bucketed_attention(q, k, v, q_buckets, k_buckets, causal)
    assert_close(actual, attention(q, k, v, same_bucket(q_buckets, k_buckets, causal).double()), what="output")


@exercise("bucketed_attention", points=1)
@given(case=cases())
@settings(max_examples=15)
def test_a_query_alone_in_its_bucket_gets_zeros(student, case):
    """A query whose bucket holds no key gets zeros, never NaN, and so does everyone when no bucket does."""
    q, k, v, q_buckets, k_buckets = case.tensors()
    q_buckets[..., -1] = 1
    output = student.bucketed_attention(q, k, v, q_buckets, k_buckets, causal=case.causal)
    zeros = torch.zeros(*case.lead, case.d_v).double()
    assert_equal(output[..., -1, :], zeros, what="output of the last query, which is alone in its bucket")
    output = student.bucketed_attention(q, k, v, q_buckets, k_buckets + 1024, causal=case.causal)
    assert_equal(output, torch.zeros(*case.lead, case.n_q, case.d_v).double(), what="output when no bucket is shared")


@exercise("bucketed_attention", points=1)
@given(n_q=sizes(2, 4), n_k=sizes(2, 4), d=sizes(2, 4), more=sizes(1, 2))
@settings(max_examples=4)
def test_shapes_that_do_not_fit_are_refused(student, n_q, n_k, d, more):
    """Widths of q and k, lengths of k and v, and the number of buckets on either side must agree."""
    q, k, v = torch.ones(n_q, d), torch.ones(n_k, d), torch.ones(n_k, 3)
    of_q, of_k = torch.zeros(n_q, dtype=torch.int64), torch.zeros(n_k, dtype=torch.int64)
    attend = student.bucketed_attention
    assert_not_accepted(attend, q, torch.ones(n_k, d + more), v, of_q, of_k, why=f"widths {d} and {d + more} differ")
    assert_not_accepted(attend, q, k, torch.ones(n_k + more, 3), of_q, of_k, why=f"{n_k} keys cannot have {n_k + more} values")
    longer = [torch.zeros(n + more, dtype=torch.int64) for n in (n_q, n_k)]
    assert_not_accepted(attend, q, k, v, longer[0], of_k, why=f"{n_q} queries cannot have {n_q + more} buckets")
    assert_not_accepted(attend, q, k, v, of_q, longer[1], why=f"{n_k} keys cannot have {n_k + more} buckets")
    assert_not_accepted(attend, q, torch.ones(n_k, 1), v, of_q, of_k, why=f"widths {d} and 1 differ, and widths do not broadcast")
    assert_not_accepted(attend, q, k, v[:1], of_q, of_k, why=f"{n_k} keys cannot share 1 value")


@exercise("bucketed_attention", points=1)
@given(case=cases(), dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
@settings(max_examples=12)
def test_inputs_and_their_dtype_are_kept(student, case, dtype):
    """The dtype is kept, nothing is changed in place, strided views are no different, large scores are safe."""
    q, k, v, *buckets = case.tensors()
    low = [(0.5 * x).to(dtype) for x in (q, k, v)]
    actual = student.bucketed_attention(*low, *buckets, case.causal)
    assert_inputs_untouched(student)
    expected = case.expected(*(x.double() for x in low), *buckets).to(dtype)
    room = {torch.float32: 1e-5, torch.float16: 8e-3, torch.bfloat16: 6e-2}[dtype]
    assert_close(actual, expected, what="output", rtol=0, atol=room)
    actual = student.run(gradients, "bucketed_attention", [*low, *buckets, case.causal], seed=case.seed)["gradients"]
    cotangent = cotangent_of(case.seed, (*case.lead, case.n_q, case.d_v))
    wide = pulled_back(lambda *qkv: case.expected(*qkv, *buckets), [x.double() for x in low], cotangent)
    actual = none_as_zeros(actual, [x.to(dtype) for x in wide])
    what, hint, more = f"in {dtype}, the gradients of (q, k, v)", of_gradients(actual), 8 * room  # sums of rounded products
    assert_close(actual, [x.to(dtype) for x in wide], what=what, hint=hint, rtol=more, atol=more)
    changed = student.run(changed_around, "bucketed_attention", [*low, *buckets, case.causal])
    assert_equal(changed, [], what="what the call changed outside its result")
    args = [q, k, v, *buckets]
    output, tensors, recording = student.run(scenarios.unrecorded, "bucketed_attention", [*args, case.causal])
    assert_close(output, case.expected(*args), what="output under torch.no_grad()")
    assert_equal(tensors, args, what="[q, k, v, q_buckets, k_buckets] after a call under torch.no_grad()")
    assert not recording, "under torch.no_grad() q, k, v or the output came to require a gradient: that is the caller's choice"
    narrow = student.bucketed_attention(q, k, v, *(x.int() for x in buckets), case.causal)
    assert_close(narrow, case.expected(*args), what="output for int32 buckets", hint="integers of any width are integers")
    views = student.run(strided, "bucketed_attention", [q, k, v, *buckets, case.causal])
    assert_close(views, case.expected(q, k, v, *buckets), what="output for strided inputs")
    for wide, room in ((torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 6e-2)):  # float16 ends at 65,504
        axis = 300.0 * case.d_k**0.25 * torch.eye(case.d_k, dtype=wide)[0]  # scores of 90,000
        for sign in (1, -1):
            large = student.bucketed_attention(sign * axis.expand_as(q), axis.expand_as(k), v.to(wide), *buckets, case.causal)
            hint = "a hidden score must be lower than any other: the lowest finite number, or -inf"
            what = "output for large and equal scores"
            assert_close(large, case.expected(0 * q, k, v, *buckets).to(wide), what=what, hint=hint, rtol=0, atol=room)
    q = q * 10.0 ** (torch.arange(case.n_q) % 3 * 3 - 2)[:, None]  # rows of length 0.01, 10, 10,000 times the usual
    mixed = student.bucketed_attention(q, k, v, *buckets, case.causal)
    hint = "each row has a largest score of its own, among the keys that it sees: subtract that one"
    assert_close(mixed, case.expected(q, k, v, *buckets), what="output for rows of all sizes", hint=hint, atol=1e-8)
