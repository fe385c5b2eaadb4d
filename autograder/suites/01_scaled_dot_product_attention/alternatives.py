"""Unusual right solutions of module 01: each must score full marks."""

import math

import torch
from matplotlib.figure import Figure

from autograder.testing.variants import alternative

# These names belong to the solution's file, which every definition below is put into.
causal_mask = scaled_dot_product_attention = attend_in_buckets = lsh_buckets = check_shapes = None

MASK, SDPA, ENTROPY, PLOT = "causal_mask", "scaled_dot_product_attention", "attention_entropy", "plot_attention"
HASH, BUCKETS, LSH = "lsh_buckets", "bucketed_attention", "lsh_attention"


@alternative(MASK, "The lower triangle with a shifted diagonal.")
def shifted_triangle(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    return torch.ones(n_q, n_k).tril(n_k - n_q).bool()


@alternative(MASK, "NumPy, turned upside down: the upper triangle, rotated by half a turn.")
def triangle_rotated_by_numpy(n_q, n_k=None, dtype=bool):
    import numpy

    n_k = n_q if n_k is None else n_k
    return torch.from_numpy(numpy.triu(numpy.ones((n_q, n_k), dtype=dtype))[::-1, ::-1].copy())


@alternative(MASK, "Entry by entry, and returned as a view with strides of another order.")
def entry_by_entry(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    columns = torch.zeros(n_k, n_q, dtype=torch.bool)
    for i in range(n_q):
        for j in range(n_k):
            columns[j, i] = n_q - i <= n_k - j
    return columns.T


@alternative(MASK, "The last rows of a square that is large enough for both lengths.")
def cut_from_a_square(n_q, n_k=None):
    if min(n_q, n_k or 0) < 0:
        raise IndexError('negative length')
    n_k = n_q if n_k is None else n_k
    n = max(n_q, n_k)
    return torch.tril(torch.full((n, n), True))[n - n_q :, n - n_k :]


@alternative(SDPA, "-inf before the softmax, and the NaN of blind rows replaced where no gradient passes.")
def minus_infinity_and_fill(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.einsum("...qd,...kd->...qk", q, k) * scale
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights.masked_fill(mask.logical_not(), 0.0)
    return torch.einsum("...qk,...kd->...qd", weights, v), weights


@alternative(SDPA, "One query after another, each with the keys that it may see picked out by index.")
def one_query_after_another(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    mask = torch.ones(n_q, n_k, dtype=torch.bool) if mask is None else mask
    n_lead = math.prod(lead)  # sizes may be 0, and then no -1 stands for it
    flat = [x.expand(*lead, *x.shape[-2:]).reshape(n_lead, *x.shape[-2:]) for x in (q, k, v)]
    allowed = mask.expand(*lead, n_q, n_k).reshape(n_lead, n_q, n_k)
    outputs, all_weights = [], []
    for q_one, k_one, v_one, allowed_one in zip(*flat, allowed, strict=True):
        for i in range(n_q):
            seen = allowed_one[i].nonzero().flatten()
            weights = ((k_one[seen] * q_one[i]).sum(-1) * scale).softmax(0)
            outputs.append((weights[:, None] * v_one[seen]).sum(0))
            all_weights.append(weights.new_zeros(n_k).index_put((seen,), weights))
    output = torch.stack(outputs).reshape(*lead, n_q, v.shape[-1])
    return output, torch.stack(all_weights).reshape(*lead, n_q, n_k)


@alternative(SDPA, "In logarithms: exp(score - log-sum-exp), in float64 inside.")
def in_log_space(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = torch.matmul(q.double(), k.double().transpose(-2, -1)).mul(scale)
    if mask is None:
        mask = torch.ones(1, 1, dtype=torch.bool)
    lowest = torch.full_like(scores, -1e30)
    log_weights = torch.log_softmax(torch.where(mask, scores, lowest), dim=-1)
    weights = log_weights.exp() * mask
    return torch.matmul(weights, v.double()).to(v.dtype), weights.to(q.dtype)


@alternative(SDPA, "The softmax by hand: shift by the maximum of what may be seen, and never divide by zero.")
def softmax_by_hand(q, k, v, mask=None, scale=None, *, keep_graph=True):
    check_shapes(q, k, v, mask)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = scale * (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(-1)
    seen = torch.ones_like(scores) if mask is None else mask.to(scores.dtype).expand(scores.shape)
    if scores.shape[-1]:
        lowest = torch.where(seen > 0, scores, scores.amin(-1, keepdim=True))
        scores = torch.where(seen > 0, scores, lowest) - lowest.amax(-1, keepdim=True).detach()
    powers = torch.where(seen > 0, scores, 0.0).exp() * seen
    total = powers.sum(-1, keepdim=True)
    weights = powers / torch.where(total == 0, torch.ones_like(total), total)
    return (weights.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2), weights


@alternative(
    SDPA, "Leading dimensions by recursion, then one key after another with a running maximum and a running sum."
)
def recursive_and_online(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    mask = torch.ones(n_q, n_k, dtype=torch.bool) if mask is None else mask
    mask = mask.expand(*lead, n_q, n_k)
    q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))
    if lead:
        results = [recursive_and_online(*one, scale) for one in zip(q, k, v, mask, strict=True)]
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True))
    highest = q.new_full((n_q, 1), -torch.inf)
    powers, total = q.new_zeros(n_q, 0), q.new_zeros(n_q, 1)
    for j in range(n_k):
        seen = mask[:, j : j + 1]
        score = scale * (q * k[j]).sum(-1, keepdim=True)
        higher = torch.where(seen, torch.maximum(highest, score.detach()), highest)
        shrink = torch.where(higher > -torch.inf, highest - higher, 0.0).exp()
        power = torch.where(seen, score - torch.where(seen, higher, score.detach()), 0.0).exp() * seen
        powers, total, highest = torch.cat([powers * shrink, power], -1), total * shrink + power, higher
    weights = powers / torch.where(total > 0, total, 1.0)
    return weights @ v, weights


@alternative(SDPA, "A class with a call, keys transposed by permute, results as a list.")
def by_a_class(q, k, v, mask=None, scale=None):
    class Head:
        def __init__(self, width):
            self.scale = width**-0.5 if scale is None else scale

        def __call__(self, q, k, v):
            order = [*range(k.dim() - 2), k.dim() - 1, k.dim() - 2]
            scores = torch.matmul(q, k.permute(order)) * self.scale
            hidden = torch.zeros_like(scores, dtype=torch.bool) if mask is None else (~mask).expand_as(scores)
            weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(dim=-1)
            weights = weights * hidden.logical_not()
            return [torch.matmul(weights, v), weights]

    return Head(q.size(-1))(q, k, v)


@alternative(ENTROPY, "The smallest normal number stands in for 0 inside the logarithm.")
def clamped_logarithm(weights):
    return -(weights * weights.clamp(min=torch.finfo(weights.dtype).tiny).log()).sum(dim=-1)


@alternative(ENTROPY, "Only positive weights are touched, row by row.")
def row_by_row(weights):
    rows = (
        weights.reshape(-1, weights.shape[-1]) if weights.numel() else weights.new_zeros(weights.shape[:-1].numel(), 0)
    )
    entropies = [torch.dot(row[row > 0], -torch.log(row[row > 0])) for row in rows]
    return torch.stack(entropies).reshape(weights.shape[:-1])


@alternative(ENTROPY, "In float64 and in bits, converted back to nats and to the dtype of the weights.")
def bits_to_nats(weights):
    wide = weights.to(torch.float64)
    bits = torch.log2(torch.where(wide == 0, torch.ones_like(wide), wide))
    return torch.einsum("...k,...k->...", wide, bits).mul(-math.log(2)).to(weights.dtype)


@alternative(PLOT, "pyplot with a shared y axis: query tokens on the left only, a colour bar for each panel.")
def pyplot_with_shared_axes(weights, query_tokens, key_tokens=None):
    from matplotlib import pyplot

    key_tokens = list(query_tokens if key_tokens is None else key_tokens)
    heads = weights.detach().to(torch.float32)
    heads = heads[None] if heads.dim() == 2 else heads
    if heads.shape[1:] != (len(query_tokens), len(key_tokens)):
        raise ValueError('one token for each row and column')
    figure, axes = pyplot.subplots(1, heads.shape[0], sharey=True, squeeze=False)
    for head, panel in zip(heads, axes[0], strict=True):
        image = panel.imshow(head.tolist(), cmap="Greys", aspect="auto")
        pyplot.colorbar(image, ax=panel)
        panel.set_xticks(range(len(key_tokens)))
        panel.set_xticklabels(key_tokens, rotation=45, ha="right")
    axes[0][0].set_yticks(list(range(len(query_tokens))))
    axes[0][0].set_yticklabels(list(query_tokens))
    return figure


@alternative(
    PLOT, "Panels below each other, keys along the top, a formatter instead of a list of labels, no colour bar."
)
def column_with_keys_on_top(weights, query_tokens, key_tokens=None):
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    key_tokens = query_tokens if key_tokens is None else key_tokens
    fits = weights.shape[-2:] == (len(query_tokens), len(key_tokens))
    if weights.dim() > 3 or not fits:
        raise ValueError('one token for each row and column')
    heads = weights.detach().double().reshape(-1, len(query_tokens), len(key_tokens))
    figure = Figure(figsize=(6, 4 * len(heads)))
    for number, head in enumerate(heads):
        panel = figure.add_subplot(len(heads), 1, number + 1)
        panel.imshow(head.numpy(), vmin=0, interpolation="nearest")
        panel.xaxis.tick_top()
        for axis, tokens in ((panel.xaxis, key_tokens), (panel.yaxis, query_tokens)):
            axis.set_major_locator(MultipleLocator(1))
            axis.set_major_formatter(
                FuncFormatter(lambda x, _, names=tuple(tokens): names[round(x)] if -0.5 < x < len(names) - 0.5 else "")
            )
    return figure


@alternative(
    PLOT, "A square grid with empty places left in it, the first query at the bottom, labels on the outer panels only."
)
def grid_with_empty_places(weights, query_tokens, key_tokens=None):
    from matplotlib import pyplot

    key_tokens = query_tokens if key_tokens is None else key_tokens
    fits = weights.shape[-2:] == (len(query_tokens), len(key_tokens))
    if weights.dim() > 3 or not fits:
        raise ValueError('one token for each row and column')
    heads = weights.detach().float().reshape(-1, len(query_tokens), len(key_tokens)).numpy()
    side = math.ceil(len(heads) ** 0.5)
    figure, grid = pyplot.subplots(side, side, sharex=True, sharey=True, squeeze=False)
    pyplot.setp(grid, xticks=range(len(key_tokens)), yticks=range(len(query_tokens)))
    pyplot.setp(grid, xticklabels=key_tokens, yticklabels=query_tokens)
    for number, head in enumerate(heads):
        panel = grid[number // side, number % side]
        panel.imshow(head, origin="lower", cmap="magma")
        panel.set_title(f"Head {number + 1}")
    figure.suptitle("attention")
    return figure


@alternative(HASH, "One direction after another, keeping the best so far; R drawn in float64 as (n_buckets / 2, d).")
def one_direction_after_another(x, n_buckets, generator):
    if n_buckets % 2 == 1:
        raise ValueError("n_buckets must be even")
    half = n_buckets // 2
    directions = torch.randn(half, x.shape[-1], generator=generator, dtype=torch.float64)
    best = torch.full(x.shape[:-1], -torch.inf, dtype=torch.float64)
    bucket = torch.zeros(x.shape[:-1], dtype=torch.int64)
    for sign, first in ((1, 0), (-1, half)):
        for i, direction in enumerate(directions):
            score = sign * (x.double() * direction).sum(-1)
            bucket = torch.where(score > best, first + i, bucket)
            best = torch.maximum(best, score)
    return bucket


@alternative(HASH, "The column of largest absolute value first, then its sign; through NumPy.")
def largest_absolute_value(x, n_buckets, generator):
    import numpy

    if n_buckets % 2:
        raise ValueError("n_buckets must be even")
    rotation = torch.empty(x.shape[-1], n_buckets // 2, dtype=torch.float64).normal_(generator=generator).numpy()
    rotated = numpy.asarray(x.detach().double()) @ rotation
    column = numpy.abs(rotated).argmax(-1)
    value = numpy.take_along_axis(rotated, column[..., None], -1)[..., 0]
    return torch.as_tensor(column + (value < 0) * (n_buckets // 2), dtype=torch.int64)


@alternative(HASH, "Directions at right angles to each other as far as there is room: a rotation in the strict sense.")
def truly_a_rotation(x, n_buckets, generator):
    if n_buckets % 2:
        raise ValueError("n_buckets must be even")
    d, blocks, wide = x.shape[-1], [], torch.promote_types(x.dtype, torch.float32)
    for _ in range(0, n_buckets // 2, d):
        basis, upper = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=wide))
        blocks.append(basis * upper.diagonal().sign())
    rotation = torch.cat(blocks, dim=-1)[:, : n_buckets // 2].to(x.dtype)
    both = torch.cat([rotation, -rotation], dim=-1)
    return torch.nn.functional.normalize(x, dim=-1).matmul(both).max(dim=-1).indices


@alternative(BUCKETS, "A loop over leading indices and buckets, each bucket's rows picked out by a boolean vector.")
def boolean_vector_for_each_bucket(q, k, v, q_buckets, k_buckets, causal=False):
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    output = q.new_zeros(*lead, n_q, v.shape[-1])
    q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))
    q_buckets, k_buckets = q_buckets.expand(*lead, n_q), k_buckets.expand(*lead, n_k)
    for index in torch.cartesian_prod(*map(torch.arange, lead)).reshape(-1, len(lead)).tolist() if lead else [()]:
        at = tuple(index)
        for bucket in set(q_buckets[at].tolist()):
            rows, columns = q_buckets[at] == bucket, k_buckets[at] == bucket
            mask = None
            if causal:
                mask = columns.nonzero().T <= rows.nonzero() + n_k - n_q
            output[at][rows] = scaled_dot_product_attention(q[at][rows], k[at][columns], v[at][columns], mask)[0]
    return output


@alternative(BUCKETS, "Buckets padded to the largest one and attended to in one batch.")
def padded_to_the_largest_bucket(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    if lead:
        parts = [x.expand(*lead, *x.shape[-2:]).unbind(0) for x in (q, k, v)]
        parts += [x.expand(*lead, x.shape[-1]).unbind(0) for x in (q_buckets, k_buckets)]
        return torch.stack([padded_to_the_largest_bucket(*one, causal) for one in zip(*parts, strict=True)])
    if n_q == 0 or n_k == 0:
        return (q.sum() + k.sum() + v.sum()) * q.new_zeros(n_q, v.shape[-1])

    def table(buckets, names):  # row r: where bucket names[r] has its members, padded with -1
        members = [(buckets == name).nonzero().flatten() for name in names]
        return torch.nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=-1)

    names = q_buckets.unique()
    rows, columns = table(q_buckets, names), table(k_buckets, names)
    mask = (columns >= 0)[:, None, :]
    if causal:
        mask = mask & (columns[:, None, :] <= rows[:, :, None] + n_k - n_q)
    tiles, _ = scaled_dot_product_attention(q[rows], k[columns], v[columns], mask)
    return q.new_zeros(n_q, v.shape[-1]).index_put((rows[rows >= 0],), tiles[rows >= 0])


@alternative(
    BUCKETS, "One query at a time, with a dictionary of where each bucket's keys are; result added in by index."
)
def dictionary_of_buckets(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    heads = math.prod(lead)
    q, k, v = (x.expand(*lead, *x.shape[-2:]).reshape(heads, *x.shape[-2:]) for x in (q, k, v))
    q_buckets = q_buckets.expand(*lead, n_q).reshape(heads, n_q).tolist()
    k_buckets = k_buckets.expand(*lead, n_k).reshape(heads, n_k).tolist()
    output = torch.zeros(heads, n_q, v.shape[-1], dtype=v.dtype)
    for head in range(heads):
        places = {}
        for j, bucket in enumerate(k_buckets[head]):
            places.setdefault(bucket, []).append(j)
        for i, bucket in enumerate(q_buckets[head]):
            seen = [j for j in places.get(bucket, []) if not causal or j <= i + n_k - n_q]
            if seen:
                weights = (k[head, seen] @ q[head, i] / math.sqrt(q.shape[-1])).softmax(0)
                output[head, i] = weights @ v[head, seen]
    return output.reshape(*lead, n_q, v.shape[-1])


@alternative(
    LSH, "One dense table that counts in how many rounds a query meets a key; its logarithm is added to the scores."
)
def table_of_counts(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    n_q, n_k = q.shape[-2], k.shape[-2]
    counts = torch.zeros(*torch.broadcast_shapes(q.shape[:-2], k.shape[:-2]), n_q, n_k, dtype=q.dtype)
    if n_buckets == 1:
        counts += 1
    else:
        split = [q.shape[:-1].numel(), k.shape[:-1].numel()]
        both = torch.cat([q.reshape(-1, q.shape[-1]), k.reshape(-1, k.shape[-1])])
        for _ in range(n_rounds):
            of_q, of_k = lsh_buckets(both, n_buckets, generator).split(split)
            counts += of_q.reshape(q.shape[:-1])[..., :, None] == of_k.reshape(k.shape[:-1])[..., None, :]
    if causal:
        counts *= causal_mask(n_q, n_k)
    seen = counts > 0
    scores = q @ k.mT / math.sqrt(q.shape[-1]) + torch.where(seen, counts, 1.0).log()
    weights = torch.where(seen, torch.where(seen, scores, -1e30).softmax(-1), 0.0)
    return weights @ v


@alternative(LSH, "The rounds are one more leading dimension of a single call; shares by logsumexp.")
def rounds_as_a_leading_dimension(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    if n_buckets == 1:
        zeros = [torch.zeros(x.shape[:-1], dtype=torch.int64) for x in (q, k)]
        return attend_in_buckets(q, k, v, *zeros, causal)[0]
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    both = torch.cat([x.expand(*lead, *x.shape[-2:]) for x in (q, k)], dim=-2)
    buckets = torch.stack([lsh_buckets(both, n_buckets, generator) for _ in range(n_rounds)])
    q_buckets, k_buckets = buckets.split([q.shape[-2], k.shape[-2]], dim=-1)
    outputs, lse = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
    seen = lse > -torch.inf
    finite = torch.where(seen, lse, -1e30)
    share = torch.where(seen, finite - finite.logsumexp(0), -torch.inf).exp()
    return torch.einsum("r...q,r...qd->...qd", share, outputs)


@alternative(
    LSH, "Two rounds merge at a time into a running result; q and k are hashed apart by generators of equal state."
)
def running_merge(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    if n_buckets == 1:
        mask = causal_mask(q.shape[-2], k.shape[-2]) if causal else None
        return scaled_dot_product_attention(q, k, v, mask)[0]
    if generator is None:
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    total = lse_total = None
    for _ in range(n_rounds):
        state = generator.get_state()
        q_buckets = lsh_buckets(q, n_buckets, generator)
        k_buckets = lsh_buckets(k, n_buckets, torch.Generator().set_state(state))
        output, lse = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
        if total is None:
            total, lse_total = output, lse
            continue
        seen, seen_before = lse > -torch.inf, lse_total > -torch.inf
        either = seen | seen_before
        new = torch.where(seen & seen_before, lse - torch.where(seen_before, lse_total, 0.0), 0.0)
        share = torch.where(seen & seen_before, torch.sigmoid(new), seen.to(output.dtype))
        merged = torch.logaddexp(torch.where(seen, lse, -1e30), torch.where(seen_before, lse_total, -1e30))
        total = total + share[..., None] * (output - total)
        lse_total = torch.where(either, merged, -torch.inf)
    return total


@alternative(PLOT, "The picture has coordinates of its own (extent), and the labels stand at the centres of its cells.")
def cells_with_corners_at_whole_numbers(weights, query_tokens, key_tokens=None, *, cmap="Blues"):
    from matplotlib import pyplot

    keys = list(query_tokens if key_tokens is None else key_tokens)
    if list(weights.shape[-2:]) != [len(query_tokens), len(keys)]:
        raise IndexError('one token for each row and column')
    heads = weights.detach().double().reshape(-1, len(query_tokens), len(keys))
    figure, panels = pyplot.subplots(len(heads), 1, squeeze=False)
    for panel, head in zip(panels.flat, heads, strict=True):
        panel.imshow(head, extent=(0, len(keys), len(query_tokens), 0), aspect="auto", cmap=cmap)
        panel.set_xticks([j + 0.5 for j in range(len(keys))], keys)
        panel.set_yticks([i + 0.5 for i in range(len(query_tokens))], list(query_tokens))
    return figure


@alternative(PLOT, "The tokens, dollars escaped, are labels of minor ticks; major ticks draw the grid between the cells.")
def labels_at_minor_ticks(weights, query_tokens, key_tokens=None):
    from matplotlib.ticker import FixedFormatter, FixedLocator

    keys = query_tokens if key_tokens is None else key_tokens
    if tuple(weights.shape[-2:]) != (len(query_tokens), len(keys)) or weights.ndim not in (2, 3):
        raise ValueError("tokens do not fit weights")
    heads = weights.detach().float().reshape(-1, *weights.shape[-2:]).numpy()
    figure = Figure()
    for number, head in enumerate(heads):
        panel = figure.add_subplot(len(heads), 1, number + 1)
        panel.imshow(head)
        for axis, tokens in ((panel.xaxis, keys), (panel.yaxis, query_tokens)):
            axis.set_major_locator(FixedLocator([i - 0.5 for i in range(len(tokens) + 1)]))
            axis.set_major_formatter("")
            axis.set_minor_locator(FixedLocator(list(range(len(tokens)))))
            axis.set_minor_formatter(FixedFormatter([token.replace("$", r"\$") for token in tokens]))
            axis.grid(True, which="major", color="w")
    return figure


@alternative(BUCKETS, "A list of the pairs that share a bucket; softmax by scattered maxima and sums.")
def list_of_pairs(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    if lead:
        parts = [x.expand(*lead, *x.shape[-2:]).unbind(0) for x in (q, k, v)]
        parts += [x.expand(*lead, x.shape[-1]).unbind(0) for x in (q_buckets, k_buckets)]
        return torch.stack([list_of_pairs(*one, causal) for one in zip(*parts, strict=True)])
    members = {}
    for j, bucket in enumerate(k_buckets.tolist()):
        members.setdefault(bucket, []).append(j)
    pairs = [(i, j) for i, bucket in enumerate(q_buckets.tolist()) for j in members.get(bucket, ())]
    if causal:
        pairs = [(i, j) for i, j in pairs if j <= i + n_k - n_q]
    i, j = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    scores = (q[i] * k[j]).sum(-1) / math.sqrt(q.shape[-1])
    top = torch.full((n_q,), -torch.inf, dtype=scores.dtype).scatter_reduce(0, i, scores.detach(), "amax")
    powers = (scores - top[i]).exp()
    total = torch.zeros(n_q, dtype=scores.dtype).index_add(0, i, powers)
    output = torch.zeros(n_q, v.shape[-1], dtype=v.dtype).index_add(0, i, powers[:, None] * v[j])
    return output / torch.where(total > 0, total, 1.0)[:, None]


@alternative(SDPA, "Rows by torch.vmap, once for the queries and once for each leading dimension.")
def mapped_over_rows(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    n_q, n_k = q.shape[-2], k.shape[-2]
    mask = torch.ones(n_q, n_k, dtype=torch.bool) if mask is None else mask
    mask = mask.expand(*lead, n_q, n_k)
    q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))

    def row(q, k, v, mask):
        scores = torch.where(mask, (k * q).sum(-1) * scale, torch.finfo(q.dtype).min)
        weights = torch.where(mask, scores.softmax(0), 0.0)
        return (weights[:, None] * v).sum(0), weights

    mapped = torch.vmap(row, in_dims=(0, None, None, 0))
    for _ in lead:
        mapped = torch.vmap(mapped)
    return mapped(q, k, v, mask)


@alternative(SDPA, "A torch.autograd.Function with a backward of its own; arguments collected by *args and **kwargs.")
def softmax_with_its_own_backward(*args, **kwargs):
    given = dict(zip(("q", "k", "v", "mask", "scale"), args, strict=False)) | kwargs
    q, k, v, mask, scale = (given.get(name) for name in ("q", "k", "v", "mask", "scale"))
    check_shapes(q, k, v, mask)
    scale = q.shape[-1] ** -0.5 if scale is None else scale

    class Softmax(torch.autograd.Function):
        @staticmethod
        def forward(ctx, scores):
            if mask is not None:
                scores = torch.where(mask, scores, -torch.inf)
            top = scores.amax(-1, keepdim=True)
            powers = (scores - torch.where(top > -torch.inf, top, 0.0)).exp()
            total = powers.sum(-1, keepdim=True)
            weights = powers / torch.where(total > 0, total, 1.0)
            ctx.save_for_backward(weights)
            return weights

        @staticmethod
        def backward(ctx, g):
            (weights,) = ctx.saved_tensors
            return weights * (g - (weights * g).sum(-1, keepdim=True))

    weights = Softmax.apply(q @ k.transpose(-1, -2) * scale)
    return weights @ v, weights


@alternative(SDPA, "The sum of the row is one more column of the values, and the division comes last.")
def ones_beside_the_values(q, k, v, mask=None, scale=None):
    check_shapes(q, k, v, mask)
    scores = (q @ k.mT) * (q.shape[-1] ** -0.5 if scale is None else scale)
    seen = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand(scores.shape)
    top = scores.detach().masked_fill(~seen, -torch.inf).amax(-1, keepdim=True)
    powers = torch.where(seen, scores - torch.where(top.isinf(), 0.0, top), -torch.inf).exp()
    together = powers @ torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
    total = together[..., -1:]
    weights = powers / powers.sum(-1, keepdim=True).clamp(min=torch.finfo(powers.dtype).tiny)
    return together[..., :-1] / torch.where(total > 0, total, 1.0), weights


@alternative(ENTROPY, "Positive weights picked out by index and their terms added up by row.")
def terms_added_up_by_row(weights):
    flat = weights.reshape(-1, weights.shape[-1])
    row, column = flat.nonzero(as_tuple=True)
    terms = -flat[row, column] * flat[row, column].log()
    return flat.new_zeros(len(flat)).index_add(0, row, terms).reshape(weights.shape[:-1])


@alternative(PLOT, "A class: the figure draws itself when it is made.")
class FigureOfItsOwnKind(Figure):
    def __init__(self, weights, query_tokens, key_tokens=None):
        keys = list(query_tokens if key_tokens is None else key_tokens)
        if weights.ndim not in (2, 3) or list(weights.shape[-2:]) != [len(query_tokens), len(keys)]:
            raise ValueError("tokens do not fit weights")
        super().__init__(figsize=(5, 5))
        heads = weights.detach().float().reshape(-1, len(query_tokens), len(keys))
        places = self.add_gridspec(1, len(heads), wspace=0.5)
        for number, head in enumerate(heads):
            panel = self.add_subplot(places[0, number])
            panel.imshow(head.numpy(), norm="linear", alpha=0.9)
            panel.xaxis.set_ticks(list(range(len(keys))))
            panel.xaxis.set_ticklabels(keys)
            panel.yaxis.set_ticks(list(range(len(query_tokens))))
            panel.yaxis.set_ticklabels(list(query_tokens))
            panel.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)


@alternative(HASH, "Normal numbers by Box and Muller from uniform ones; the largest absolute value, then its sign.")
def by_box_and_muller(x, n_buckets, generator):
    if n_buckets % 2:
        raise ValueError("n_buckets must be even")
    half = n_buckets // 2
    first, second = torch.rand(2, x.shape[-1], half, generator=generator, dtype=torch.float64)
    rotation = (-2 * (1 - first).log()).sqrt() * (2 * math.pi * second).cos()
    rotated = x.detach().double() @ rotation
    best = rotated.abs().argmax(-1, keepdim=True)
    return (best + half * (rotated.gather(-1, best) < 0)).squeeze(-1)


@alternative(BUCKETS, "PyTorch's own attention inside each bucket, for the queries that see a key of it.")
def fused_attention_in_each_bucket(q, k, v, q_buckets, k_buckets, causal=False):
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)), q_buckets.shape[:-1], k_buckets.shape[:-1])
    rows = [x.expand(*lead, *x.shape[-2:]).flatten(0, len(lead)).unflatten(0, (-1, x.shape[-2])) for x in (q, k, v)]
    rows += [x.expand(*lead, x.shape[-1]).reshape(-1, x.shape[-1]) for x in (q_buckets, k_buckets)]
    outputs = []
    for one_q, one_k, one_v, of_q, of_k in zip(*rows, strict=True):
        output = one_v.new_zeros(n_q, v.shape[-1])
        for bucket in sorted({*of_q.tolist()} & {*of_k.tolist()}):
            i, j = (of_q == bucket).nonzero()[:, 0], (of_k == bucket).nonzero()[:, 0]
            visible = (j <= i[:, None] + n_k - n_q) | (not causal)
            seeing = visible.any(-1)
            i, visible = i[seeing], visible[seeing]
            if len(i):
                found = torch.nn.functional.scaled_dot_product_attention(one_q[i], one_k[j], one_v[j], attn_mask=visible)
                output = output.index_copy(0, i, found)
        outputs.append(output)
    return torch.stack(outputs).view(*lead, n_q, v.shape[-1])


@alternative(HASH, "R from Python's own generator, seeded by a number that is drawn from the one given.")
def drawn_by_python(x, n_buckets, generator):
    import random

    if n_buckets % 2:
        raise ValueError("n_buckets must be even")
    own = random.Random(torch.randint(2**40, (), generator=generator).item())
    rows = [[own.gauss(0, 1) for _ in range(n_buckets // 2)] for _ in range(x.shape[-1])]
    wide = torch.promote_types(x.dtype, torch.float32)
    rotated = x.detach().to(wide) @ torch.tensor(rows, dtype=wide)
    return torch.stack([rotated, -rotated], dim=-2).flatten(-2).argmax(-1)


@alternative(LSH, "One softmax over the keys of all rounds side by side, so that a key met twice stands there twice.")
def rounds_side_by_side(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    n_q, n_k = q.shape[-2], k.shape[-2]
    visible = causal_mask(n_q, n_k) if causal else torch.ones(n_q, n_k, dtype=torch.bool)
    if n_buckets == 1:
        return scaled_dot_product_attention(q, k, v, visible)[0]
    both = torch.cat([q.reshape(-1, q.shape[-1]), k.reshape(-1, k.shape[-1])])
    met = []
    for _ in range(n_rounds):
        of_q, of_k = lsh_buckets(both, n_buckets, generator).split([q.shape[:-1].numel(), k.shape[:-1].numel()])
        met.append(visible & (of_q.reshape(q.shape[:-1])[..., None] == of_k.reshape(k.shape[:-1])[..., None, :]))
    copies = (torch.cat([x] * n_rounds, dim=-2) for x in (k, v))
    return scaled_dot_product_attention(q, *copies, mask=torch.cat(met, dim=-1))[0]


@alternative(PLOT, "One subfigure for each head.")
def a_subfigure_for_each_head(weights, query_tokens, key_tokens=None):
    from matplotlib import pyplot

    key_tokens = list(query_tokens if key_tokens is None else key_tokens)
    if weights.ndim not in (2, 3) or tuple(weights.shape[-2:]) != (len(query_tokens), len(key_tokens)):
        raise ValueError("tokens do not fit")
    heads = weights.detach().double().numpy().reshape(-1, len(query_tokens), len(key_tokens))
    figure = pyplot.figure(layout="constrained")
    for part, head in zip(figure.subfigures(1, len(heads), squeeze=False).flat, heads, strict=True):
        axes = part.subplots()
        axes.imshow(head, vmin=0, vmax=1)
        axes.set_xticks(range(len(key_tokens)), key_tokens)
        axes.set_yticks(range(len(query_tokens)), query_tokens)
    return figure
