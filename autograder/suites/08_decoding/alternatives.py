"""Unusual right solutions: each must get full marks."""

import math

import torch

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit(
        "p_out_of_its_range",
        "top_p_filter",
        "What is refused said as such: NaN gets through, of which the docstring does not speak.",
        ("if not 0 <= p <= 1:", "if p < 0 or p > 1:"),
    ),
    edit(
        "min_p_out_of_its_range",
        "min_p_filter",
        "What is refused said as such: NaN gets through, of which the docstring does not speak.",
        ("if not 0 <= min_p <= 1:", "if min_p < 0 or min_p > 1:"),
    ),
    edit(
        "penalties_at_0_and_below",
        "repetition_penalty",
        "What is refused said as such: NaN gets through, of which the docstring does not speak.",
        ("if not penalty > 0:", "if penalty <= 0:"),
    ),
    edit(
        "the_root_is_at_one",
        "TopKHeap",
        "Children by shifts of the index, the parent by integer arithmetic of another form.",
        ("parent = (i - 1) // 2\n", "parent = (i + 1) // 2 - 1\n"),
        ("for child in (2 * i + 1, 2 * i + 2)", "for child in range((i << 1) + 1, (i << 1) + 3)"),
    ),
    edit(
        "largest_of_a_copy",
        "top_k_filter",
        "A full sort instead of topk, and torch.where instead of masked_fill.",
        (
            "    kth = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]  # (..., 1)\n"
            "    return logits.masked_fill(logits < kth, -math.inf)\n",
            "    kth = logits.sort(dim=-1).values[..., max(0, logits.size(-1) - k)].unsqueeze(-1)\n"
            "    return torch.where(logits >= kth, logits, torch.full_like(logits, float('-inf')))\n",
        ),
    ),
    edit(
        "exactly_k",
        "top_k_filter",
        "Exactly k tokens stay, also where more are equal to the k-th.",
        (
            "    kth = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]  # (..., 1)\n"
            "    return logits.masked_fill(logits < kth, -math.inf)\n",
            "    best = logits.topk(min(k, logits.shape[-1]), dim=-1)\n"
            "    return torch.full_like(logits, -math.inf).scatter(-1, best.indices, best.values)\n",
        ),
    ),
    edit(
        "smallest_probability_of_the_nucleus",
        "top_p_filter",
        "A threshold on the probabilities: the least one of the nucleus, found by counting.",
        (
            "    before = probs.cumsum(-1) - probs  # what the more probable ones have together\n"
            "    dropped = before >= p\n"
            "    dropped[..., 0] = False\n"
            "    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)\n",
            "    n_kept = (probs.cumsum(-1) < p).sum(-1, keepdim=True).clamp(max=probs.shape[-1] - 1) + 1\n"
            "    rank = order.argsort(-1)\n"
            "    return torch.where(rank < n_kept, logits, logits.new_tensor(-math.inf))\n",
        ),
    ),
    edit(
        "probabilities_are_compared",
        "min_p_filter",
        "Probabilities against a share of the largest, in float64.",
        (
            "    distance = logits.amax(-1, keepdim=True).double() - logits  # log of how many times as probable the best is\n"
            "    return logits.masked_fill(distance > -math.log(min_p), -math.inf)\n",
            "    log_probs = logits.double().log_softmax(-1)\n"
            "    kept = log_probs >= log_probs.max(dim=-1, keepdim=True).values + math.log(min_p)\n"
            "    return logits.masked_fill(kept.logical_not(), -math.inf)\n",
        ),
    ),
    edit(
        "gather_and_scatter",
        "repetition_penalty",
        "Only the logits of the tokens that occur are looked at, and put back; twice is the same as once.",
        (
            "    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)\n"
            "    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)\n"
            "    return torch.where(seen, penalised, logits)\n",
            "    there = logits.gather(-1, ids)\n"
            "    return logits.scatter(-1, ids, torch.where(there < 0, there * penalty, there / penalty))\n",
        ),
    ),
    edit(
        "the_best_of_a_race",
        "sample",
        "Each token draws a time, the sooner the more probable it is, and the first one wins.",
        (
            "    line = logits.double().softmax(-1).cumsum(-1)  # (..., vocab): where each token's stretch ends\n"
            "    darts = torch.rand(*line.shape[:-1], 1, generator=generator, dtype=line.dtype, device=line.device) "
            "* line[..., -1:]\n"
            "    return torch.searchsorted(line, darts, right=True).squeeze(-1)\n",
            "    times = torch.empty(logits.shape, dtype=torch.float64).exponential_(generator=generator)\n"
            "    return (logits.double() - times.log()).argmax(-1)\n",
        ),
    ),
    edit(
        "counted_ends",
        "sample",
        "How many stretches end before the dart is the number of the token; float32 throughout.",
        ("logits.double().softmax(-1).cumsum(-1)", "logits.float().softmax(-1).cumsum(-1)"),
        ("torch.searchsorted(line, darts, right=True).squeeze(-1)", "(line <= darts).sum(-1)"),
    ),
    edit(
        "texts_of_a_fixed_length",
        "greedy_search",
        "The text's place is made at once and filled.",
        (
            "    ids = prefix\n"
            "    while len(ids) < max_len:\n"
            "        token = step(ids[None])[0].argmax()\n"
            "        ids = torch.cat([ids, token[None]])\n"
            "        if token == eos_id:\n"
            "            break\n"
            "    return ids\n",
            "    ids = torch.empty(max_len, dtype=torch.int64)\n"
            "    ids[: len(prefix)] = prefix\n"
            "    for t in range(len(prefix), max_len):\n"
            "        ids[t] = step(ids[:t].reshape(1, -1)).topk(1).indices.item()\n"
            "        if int(ids[t]) == eos_id:\n"
            "            return ids[: t + 1].clone()\n"
            "    return ids\n",
        ),
    ),
    edit(
        "a_quotient",
        "speculative_accept",
        "The quotient is formed where it can be.",
        (
            "        if torch.rand((), generator=generator, dtype=p.dtype, device=p.device) * q[token] >= p[token]:\n",
            "        ratio = float(p[token] / q[token]) if q[token] > 0 else (1.0 if p[token] > 0 else 0.0)\n"
            "        if not torch.rand(1, generator=generator, dtype=torch.float64).item() < ratio:\n",
        ),
    ),
    edit(
        "counted_only_when_taken_in",
        "TopKHeap",
        "Only what gets in is counted.",
        ("        self._n_pushed += 1\n        if len", "        if len"),
        (
            "            self._entries.append(entry)\n",
            "            self._n_pushed += 1\n            self._entries.append(entry)\n",
        ),
        ("elif self._entries[0] < entry:", "elif self._entries[0][0] < score:"),
        ("            self._entries[0] = entry\n", "            self._n_pushed += 1\n            self._entries[0] = entry\n"),
    ),
    edit(
        "no_more_than_needed_in_the_last_round",
        "beam_search",
        "In the last round the beam_size best candidates are enough, whether they end or not: no other can be a better result.",
        (
            "topk(min(2 * beam_size, totals.numel()))",
            "topk(min(beam_size * (1 if len(beam[0][0]) + 1 == max_len else 2), totals.numel()))",
        ),
    ),
    edit(
        "stops_when_nothing_can_get_better",
        "beam_search",
        "Without a penalty scores only fall, so the search ends when the worst result beats the best text in the beam.",
        (
            "        beam = candidates[:beam_size]\n",
            "        beam = candidates[:beam_size]\n"
            "        if length_penalty == 0 and beam and len(results) == beam_size and results.items()[-1][0] >= beam[0][1]:\n"
            "            beam = []\n",
        ),
    ),
    edit(
        "the_rest_of_the_number",
        "speculative_accept",
        "What is left of the number decides what comes instead.",
        (
            "        if torch.rand((), generator=generator, dtype=p.dtype, device=p.device) * q[token] >= p[token]:\n"
            "            missing = (p - q).clamp(min=0)\n"
            "            return i, int(sample((missing if missing.any() else p).log(), generator))\n",
            "        u = float(torch.rand(1, generator=generator, dtype=torch.float64))\n"
            "        ratio = float(p[token] / q[token])\n"
            "        if u >= ratio:\n"
            "            missing = (p - q).clamp(min=0)\n"
            "            ends = missing.cumsum(0)\n"
            "            left = (u - ratio) / (1 - ratio) * ends[-1]\n"
            "            return i, min(vocab - 1, int((ends <= left).sum()))\n",
        ),
    ),
]


@alternative("TopKHeap", "A list that is kept sorted by insertion from the end, without a heap at all.")
class SortedList:
    def __init__(self, k):
        if not k >= 1:
            raise IndexError("k")
        self.size, self.kept = k, []

    def __len__(self):
        return len(self.kept)

    def push(self, score, item):
        if math.isnan(score):
            raise TypeError("a score has to be comparable")
        low, high = 0, len(self.kept)
        while low < high:
            middle = (low + high) // 2
            if self.kept[middle][0] >= score:
                low = middle + 1
            else:
                high = middle
        self.kept.insert(low, (score, item))
        if len(self.kept) > self.size:
            self.kept.pop()

    def items(self):
        return self.kept[:]


@alternative("TopKHeap", "Two lists and a dict beside each other, each entry an index; the heap is written with recursion.")
class HeapOfIndices:
    __slots__ = ("k", "heap", "score", "thing", "clock")

    def __init__(self, k: int) -> None:
        if k <= 0:
            raise ValueError("k must be positive")
        self.k, self.heap, self.score, self.thing, self.clock = k, [], {}, {}, 0

    def __len__(self) -> int:
        return len(self.heap)

    def worse(self, a, b):
        return self.score[a] < self.score[b] or (self.score[a] == self.score[b] and a > b)

    def up(self, i):
        above = (i - 1) >> 1
        if i and self.worse(self.heap[i], self.heap[above]):
            self.heap[i], self.heap[above] = self.heap[above], self.heap[i]
            self.up(above)

    def down(self, i):
        low = i
        for child in (2 * i + 1, 2 * i + 2):
            if child < len(self.heap) and self.worse(self.heap[child], self.heap[low]):
                low = child
        if low != i:
            self.heap[i], self.heap[low] = self.heap[low], self.heap[i]
            self.down(low)

    def push(self, score, item):
        assert_number = score - score == 0 or abs(score) == math.inf
        if not assert_number:
            raise ValueError("score is NaN")
        new, self.clock = self.clock, self.clock + 1
        self.score[new], self.thing[new] = score, item
        self.heap.append(new)
        self.up(len(self.heap) - 1)
        if len(self.heap) > self.k:
            gone, last = self.heap[0], self.heap.pop()
            if self.heap:
                self.heap[0] = last
                self.down(0)
            del self.score[gone], self.thing[gone]

    def items(self):
        order = sorted(self.heap, key=lambda i: (-self.score[i], i))
        return [(self.score[i], self.thing[i]) for i in order]


@alternative("apply_temperature", "A product with the inverse, after another form of the check.")
def by_the_inverse(logits, temperature):
    if temperature != temperature or temperature <= 0 or temperature == float("inf"):
        raise ValueError("the temperature has to be a positive number")
    return torch.div(logits, temperature)


@alternative("top_k_filter", "Row by row, with Python's own sorting.")
def in_python(logits, k):
    if k <= 0:
        raise ValueError("k")
    rows = []
    for row in logits.reshape(-1, logits.shape[-1]):
        values, filled = row.tolist(), torch.full_like(row, float("-inf"))
        for i in sorted(range(len(values)), key=values.__getitem__)[-k:]:
            filled[i] = row[i]
        rows.append(filled)
    return torch.stack(rows).reshape(logits.shape)


@alternative("top_p_filter", "Row by row, tokens are taken until they are enough.")
def taken_one_by_one(logits, p):
    if not (p >= 0 and p <= 1):
        raise ValueError("p has to be a probability")
    rows = logits.reshape(-1, logits.shape[-1])
    kept = torch.zeros(rows.shape, dtype=torch.bool)
    for row, keep in zip(rows.double().softmax(-1), kept):
        total = 0.0
        for token in row.argsort(descending=True).tolist():
            keep[token] = True
            total += float(row[token])
            if total >= p and p < 1:
                break
    return logits.masked_fill(~kept.view(logits.shape), float("-inf"))


@alternative("min_p_filter", "As a sum: zeros where a token stays, minus infinity where not.")
def a_sum(logits, min_p):
    if min_p < 0 or min_p > 1 or min_p != min_p:
        raise ValueError("min_p must lie in [0, 1]")
    probs = logits.double().softmax(dim=-1)
    gone = probs < probs.max(-1, keepdim=True)[0] * min_p
    return logits + torch.zeros_like(logits).masked_fill_(gone, -torch.inf)


@alternative("repetition_penalty", "Exact copies, row by row and token by token.")
def token_by_token(logits, ids, penalty):
    vocab = logits.shape[-1]
    if logits.shape[:-1] != ids.shape[:-1] or not penalty > 0:
        raise ValueError("what should be penalised, and how much?")
    rows = logits.reshape(-1, vocab)
    out = rows.clone()
    for i, tokens in enumerate(ids.reshape(len(rows), ids.shape[-1])):
        for token in set(int(t) for t in tokens):
            if token < 0 or token >= vocab:
                raise IndexError(f"there is no token {token}")
            out[i, token] = rows[i, token] * penalty if rows[i, token] < 0 else rows[i, token] / penalty
    return out.reshape(logits.shape)


@alternative("sample", "NumPy's search in each row, with numbers from the generator.")
def in_numpy(logits, generator):
    import numpy as np

    *lead, vocab = logits.shape
    flat = logits.detach().reshape(-1, vocab).double()
    ends = torch.cumsum((flat - flat.amax(-1, keepdim=True)).exp(), -1).numpy()
    darts = torch.rand(len(flat), dtype=torch.float64, generator=generator).numpy()
    found = [np.searchsorted(row, dart * row[-1], side="right") for row, dart in zip(ends, darts)]
    return torch.tensor(np.array(found, dtype=np.int64)).reshape(lead)


@alternative("sample", "Python's random numbers, seeded from the generator, and bisect.")
def with_pythons_numbers(logits, generator):
    import bisect
    import random

    chance = random.Random(int(torch.randint(2**62, (), generator=generator)))
    vocab, tokens = logits.shape[-1], []
    for row in logits.reshape(-1, vocab).double().softmax(-1).cumsum(-1).tolist():
        tokens.append(bisect.bisect_right(row, chance.random() * row[-1]))
    return torch.tensor(tokens, dtype=torch.int64).reshape(logits.shape[:-1])


@alternative("greedy_search", "With recursion.")
def recursively(step, prefix, eos_id, max_len):
    n = prefix.numel()
    if n > max_len:
        raise ValueError("no room for the prefix")
    if n == max_len:
        return prefix.clone()
    best = step(prefix.unsqueeze(0)).argmax(dim=-1).to(prefix.dtype)
    longer = torch.hstack((prefix, best))
    return longer if best.item() == eos_id else recursively(step, longer, eos_id, max_len)


@alternative("beam_search", "Plain lists of all candidates, sorted whole; results are sorted at the end.")
def all_candidates_sorted(step, prefix, eos_id, beam_size, max_len, length_penalty=0.0):
    if beam_size <= 0 or prefix.shape[0] > max_len:
        raise ValueError("nothing can be found")
    start = len(prefix)
    beam, done = [(0.0, prefix.tolist())], []
    for _ in range(start, max_len):
        if not beam:
            break
        rows = step(torch.tensor([ids for _, ids in beam], dtype=torch.int64)).tolist()
        candidates = []
        for (total, ids), row in zip(beam, rows):
            candidates += [(total + more, [*ids, token]) for token, more in enumerate(row) if more > -math.inf]
        candidates.sort(key=lambda pair: pair[0], reverse=True)
        ended = [pair for pair in candidates[:beam_size] if pair[1][-1] == eos_id]
        beam = [pair for pair in candidates if pair[1][-1] != eos_id][:beam_size]
        done += ended
    done += beam
    scored = [(torch.tensor(ids, dtype=torch.int64), total / max(len(ids) - start, 1) ** length_penalty) for total, ids in done]
    return sorted(scored, key=lambda pair: pair[1], reverse=True)[:beam_size]


@alternative("beam_search", "The beam is a tensor, and eos_id's column is looked at by itself.")
def beam_as_a_tensor(step, prefix, eos_id, beam_size, max_len, length_penalty=0.0):
    if beam_size < 1:
        raise ValueError("beam_size")
    n = int(prefix.shape[0])
    if n > max_len:
        raise ValueError("max_len")
    texts, totals, results = prefix[None], torch.zeros(1, dtype=torch.float64), []
    while texts.shape[1] < max_len and len(texts):
        table = totals[:, None] + step(texts).double()
        vocab = table.shape[1]
        order = table.flatten().argsort(descending=True)
        order = order[table.flatten()[order].isfinite()]
        parents, tokens = order // vocab, order % vocab
        is_end = tokens == eos_id
        for index in order[:beam_size][is_end[:beam_size]]:
            ids = torch.cat([texts[index // vocab], torch.tensor([eos_id])])
            results.append((float(table.flatten()[index]), ids))
        going = order[~is_end][:beam_size]
        texts = torch.cat([texts[parents[~is_end][:beam_size]], tokens[~is_end][:beam_size, None]], dim=1)
        totals = table.flatten()[going]
    results += [(float(total), ids) for total, ids in zip(totals, texts)]
    scored = [(ids, total / max(1, len(ids) - n) ** length_penalty) for total, ids in results]
    scored.sort(key=lambda pair: -pair[1])
    return scored[:beam_size]


@alternative("speculative_accept", "All random numbers at once, and the rows compared at once.")
def all_at_once(draft_tokens, draft_probs, target_probs, generator):
    n, vocab = draft_probs.shape
    if tuple(draft_tokens.shape) != (n,) or tuple(target_probs.shape) != (n + 1, vocab):
        raise ValueError("shapes")
    if ((draft_tokens < 0) | (draft_tokens >= vocab)).any():
        raise ValueError("tokens")
    chance = torch.rand(n + 1, generator=generator, dtype=torch.float64)
    index = torch.arange(n)
    p, q = target_probs[index, draft_tokens].double(), draft_probs[index, draft_tokens].double()
    refused = (chance[:n] * q >= p).nonzero().flatten().tolist()
    i = refused[0] if refused else n
    row = target_probs[i].double()
    if i < n:
        left = torch.relu(row - draft_probs[i].double())
        row = left if left.sum() > 0 else row
    token = torch.searchsorted(row.cumsum(0), chance[n] * row.sum(), right=True)
    return i, min(int(token), vocab - 1)


@alternative("speculative_accept", "Rows are walked through together, and multinomial draws.")
def with_multinomial(draft_tokens, draft_probs, target_probs, generator):
    if draft_probs.dim() != 2 or target_probs.shape != (draft_probs.shape[0] + 1, draft_probs.shape[1]):
        raise ValueError("target_probs needs one row more than draft_probs")
    if draft_tokens.shape != draft_probs.shape[:1]:
        raise ValueError("one row of draft_probs for each token")
    if draft_tokens.numel() and (draft_tokens.min() < 0 or draft_tokens.max() >= draft_probs.shape[1]):
        raise ValueError("a token outside the vocabulary")
    n_accepted, rest = 0, target_probs[-1]
    for token, q, p in zip(draft_tokens, draft_probs, target_probs):
        if torch.rand([], generator=generator) < p[token] / q[token]:
            n_accepted += 1
            continue
        rest = (p - q).clamp_min(0)
        rest = rest if rest.any() else p
        break
    return n_accepted, torch.multinomial(rest.double(), 1, generator=generator).item()


@alternative("min_p_filter", "In float32, with probabilities; a positional second argument.")
def single(logits, min_p, /):
    if not 0 <= min_p <= 1:
        raise ValueError(f"min_p = {min_p}")
    if not min_p:
        return torch.clone(logits)
    p = torch.softmax(logits.float(), dim=-1)
    return logits.masked_fill(p < p.amax(dim=-1, keepdim=True) * min_p, float("-inf"))


@alternative("greedy_search", "A generator of tokens.")
def from_a_generator(step, prefix, eos_id, max_len):
    def tokens(ids):
        while len(ids) < max_len:
            with torch.no_grad():
                (row,) = step(torch.tensor([ids]))
            ids = [*ids, int(row.max(0).indices)]
            yield ids[-1]
            if ids[-1] == eos_id:
                return

    if len(prefix) > max_len:
        raise ValueError("max_len")
    return torch.tensor([*prefix.tolist(), *tokens(prefix.tolist())], dtype=prefix.dtype)


@alternative("beam_search", "Always beam_size rows, of which some are impossible; any arguments.")
def padded(*args, **kwargs):
    def run(step, prefix, eos_id, beam_size, max_len, length_penalty=0.0):
        if beam_size < 1 or len(prefix) > max_len:
            raise ValueError("beam_size or max_len")
        n, results = len(prefix), []
        texts = prefix.repeat(beam_size, 1)
        totals = torch.full((beam_size,), -math.inf, dtype=torch.float64)
        totals[0] = 0
        while texts.shape[1] < max_len:
            table = totals[:, None] + step(texts)
            vocab = table.shape[1]
            values, flat = table.flatten().sort(descending=True, stable=True)
            going, score = [], []
            for rank in range(min(len(flat), 2 * beam_size)):
                if values[rank] == -math.inf:
                    break
                ids = torch.cat([texts[flat[rank] // vocab], flat[rank : rank + 1] % vocab])
                if ids[-1] == eos_id:
                    if rank < beam_size:
                        results.append((ids, values[rank].item() / (len(ids) - n) ** length_penalty))
                elif len(going) < beam_size:
                    going.append(ids)
                    score.append(values[rank].item())
            if not going:
                totals = totals[:0]
                break
            while len(going) < beam_size:
                going.append(going[0])
                score.append(-math.inf)
            texts, totals = torch.stack(going), torch.tensor(score, dtype=torch.float64)
        for ids, total in zip(texts, totals.tolist()):
            if total > -math.inf:
                results.append((ids, total / max(1, len(ids) - n) ** length_penalty))
        return sorted(results, key=lambda pair: pair[1], reverse=True)[:beam_size]

    return run(*args, **kwargs)


@alternative("speculative_accept", "NumPy and a race.")
def race(draft_tokens, draft_probs, target_probs, generator):
    import numpy as np

    if draft_probs.ndim != 2:
        raise ValueError("draft_probs")
    n, vocab = draft_probs.shape
    if draft_tokens.shape != (n,) or target_probs.shape != (n + 1, vocab):
        raise ValueError("shapes")
    tokens, q, p = draft_tokens.tolist(), draft_probs.double().numpy(), target_probs.double().numpy()
    if any(not 0 <= t < vocab for t in tokens):
        raise ValueError("tokens")
    times = torch.empty(vocab, dtype=torch.float64).exponential_(generator=generator).numpy()
    u = torch.rand(max(n, 1), generator=generator, dtype=torch.float64).flip(0).tolist()
    for i, t in enumerate(tokens):
        if u[i] > min(1.0, p[i, t] / q[i, t]):
            left = np.maximum(p[i] - q[i], 0)
            return i, int(np.argmax(left / left.sum() / times))
    return n, int(np.argmax(p[n] / times))


@alternative("apply_temperature", "A class that is called like a function and gives a tensor.")
class Divided:
    def __new__(cls, logits, temperature):
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ValueError(f"temperature {temperature}")
        return (logits.double() * (1.0 / temperature)).to(logits.dtype)


@alternative("top_k_filter", "The k-th smallest from the other end, in float64, any arguments.")
def by_kthvalue(*args, **kwargs):
    def filtered(logits, k):
        if int(k) <= 0:
            raise ValueError("k")
        n = logits.size(-1)
        if k >= n:
            return logits
        threshold = torch.kthvalue(logits.double(), n - k + 1, dim=-1, keepdim=True)[0]
        return torch.where(logits.double() < threshold, torch.tensor(-torch.inf, dtype=logits.dtype), logits)

    return filtered(*args, **kwargs)


@alternative("top_k_filter", "A heap for each row finds the tokens that stay.")
def with_the_heap(logits, k):
    if k < 1:
        raise ValueError("k")
    rows = logits.reshape(-1, logits.shape[-1])
    stays = torch.zeros(rows.shape, dtype=torch.bool)
    for row, keep in zip(rows.tolist(), stays):
        heap = TopKHeap(k)
        for token, logit in enumerate(row):
            heap.push(logit, token)
        for _, token in heap.items():
            keep[token] = True
    return torch.where(stays.view(logits.shape), logits, -math.inf)


@alternative("top_p_filter", "Running totals in float32 that include the token itself, and the decisions moved by one place.")
def moved_by_one(logits, p):
    if not 0 <= p <= 1:
        raise ValueError("p")
    if p == 1:
        return logits
    values, order = torch.sort(logits, descending=True)
    dropped = values.float().softmax(dim=-1).cumsum(dim=-1) >= p
    dropped[..., 1:] = dropped[..., :-1].clone()
    dropped[..., 0] = False
    return torch.where(dropped.scatter(-1, order, dropped), torch.full_like(logits, -math.inf), logits)


@alternative("beam_search", "A heap of twice the beam's size for each round's candidates as well, in plain numbers.")
def heaps_for_everything(step, prefix, eos_id, beam_size, max_len, length_penalty=0.0):
    if beam_size < 1 or len(prefix) > max_len:
        raise ValueError("beam_size or max_len")
    beam, results = [(0.0, prefix)], TopKHeap(beam_size)

    def finish(log_prob, ids):
        results.push(log_prob / max(1, len(ids) - len(prefix)) ** length_penalty, ids)

    while beam and len(beam[0][1]) < max_len:
        heap = TopKHeap(2 * beam_size)
        for (log_prob, ids), row in zip(beam, step(torch.stack([ids for _, ids in beam])).tolist()):
            for token, more in enumerate(row):
                if more > -math.inf:
                    heap.push(log_prob + more, (ids, token))
        beam = []
        for rank, (log_prob, (ids, token)) in enumerate(heap.items()):
            longer = torch.cat([ids, torch.tensor([token])])
            if token != eos_id:
                beam.append((log_prob, longer))
            elif rank < beam_size:
                finish(log_prob, longer)
        beam = beam[:beam_size]
    for log_prob, ids in beam:
        finish(log_prob, ids)
    return [(ids, score) for score, ids in results.items()]


@alternative("speculative_accept", "A row of zeros after the draft's, so that the last token is drawn as any other is.")
def a_row_of_zeros(draft_tokens, draft_probs, target_probs, generator):
    n, vocab = draft_probs.shape
    if draft_tokens.shape != torch.Size([n]) or target_probs.shape != torch.Size([n + 1, vocab]):
        raise ValueError("shapes")
    tokens, i = draft_tokens.tolist(), 0
    if not all(0 <= token < vocab for token in tokens):
        raise IndexError("tokens")
    q = torch.cat([draft_probs, draft_probs.new_zeros(1, vocab)])
    while i < n and torch.rand(1, generator=generator) < target_probs[i, tokens[i]] / q[i, tokens[i]]:
        i += 1
    left = (target_probs[i] - q[i]).clamp(min=0)
    return i, sample((left / left.sum()).log(), generator).item()
