"""Unusual right solutions. Each must get full marks."""

import math

import torch
from torch import nn

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit(
        "dropout_out_of_its_range",
        "MiniT5Config",
        "What is refused said as such: NaN gets through, of which the docstring does not speak.",
        ("if not 0 <= self.dropout < 1:", "if self.dropout < 0 or self.dropout >= 1:"),
    ),
    edit(
        "smoothing_out_of_its_range",
        "label_smoothed_loss",
        "What is refused said as such: NaN gets through, of which the docstring does not speak.",
        ("if not 0 <= smoothing <= 1:", "if smoothing < 0 or smoothing > 1:"),
    ),
    edit(
        "mask_by_cumulative_sum",
        "padding_mask",
        "Positions counted from 1 and compared the other way round.",
        (
            "torch.arange(max_len, device=lengths.device) < lengths[..., None]",
            "torch.ones(*lengths.shape, max_len, dtype=torch.int64).cumsum(-1) <= lengths.unsqueeze(-1)",
        ),
    ),
    edit(
        "minus_infinity_then_zeros",
        "CrossAttention",
        "Masked with -inf; rows of NaN become zeros before anything sees them, and their gradients too.",
        ("torch.finfo(scores.dtype).min", "-math.inf"),
    ),
    edit(
        "masked_exponentials",
        "CrossAttention",
        "The softmax by hand: exponentials times the mask, divided by their sum.",
        ("weights = scores.softmax(-1)\n", "weights = scores\n"),
        (
            "            weights = weights.masked_fill(~mask, 0.0)\n",
            "            pass\n"
            "        if weights.shape[-1]:\n"
            "            weights = (weights - weights.detach().amax(-1, keepdim=True)).exp()\n"
            "        if mask is not None:\n"
            "            weights = weights * mask\n"
            "        weights = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)\n",
        ),
    ),
    edit(
        "einsum_over_heads",
        "CrossAttention",
        "Scores and values by einsum.",
        ("scores = q @ k.mT", 'scores = torch.einsum("bhqd,bhkd->bhqk", q, k.expand(len(q), -1, -1, -1))'),
        ("weights @ v", 'torch.einsum("bhqk,bhkd->bhqd", weights, v.expand(len(q), -1, -1, -1))'),
    ),
    edit(
        "heads_split_by_view",
        "CrossAttention",
        "The heads are cut by hand; values are mixed head by head in a loop.",
        (
            "q = split_heads(self.w_q(x), self.n_heads)",
            "q = self.w_q(x).reshape(*x.shape[:2], self.n_heads, self.head_dim).permute(0, 2, 1, 3)",
        ),
        ("merge_heads(weights @ v)", "torch.cat([weights[:, i] @ v[:, i] for i in range(self.n_heads)], dim=-1)"),
    ),
    edit(
        "double_logarithms",
        "relative_position_bucket",
        "The logarithms are computed in float64.",
        ("(distance.clamp(min=1) / exact).log()", "(distance.clamp(min=1).double() / exact).log()"),
    ),
    edit(
        "difference_of_logarithms",
        "relative_position_bucket",
        "A difference of two logarithms instead of the logarithm of a quotient, a hair below.",
        (
            "(distance.clamp(min=1) / exact).log() / math.log(max_distance / exact)",
            "(distance.clamp(min=exact).double().log() - math.log(exact)) / (math.log(max_distance) - math.log(exact))",
        ),
        ("(octaves * (n - exact)).long()", "(octaves * (n - exact) * (1 - 1e-9)).floor().long()"),
    ),
    edit(
        "embedding_by_index",
        "RelativePositionBias",
        "The table is indexed, transposed first; the bias of all positions, of which the last rows are taken.",
        ("self.embedding(buckets).permute(2, 0, 1)", "self.embedding.weight.T[:, buckets]"),
        ("positions - positions[n_k - n_q :, None]", "(positions - positions[:, None])[n_k - n_q :]"),
    ),
    edit(
        "functional_dropout",
        "EncoderBlock",
        "Dropout as a function that is told about train mode; keys and values are projected by hand.",
        ("self.dropout = nn.Dropout(dropout)", "self.p = dropout"),
        (
            "x + self.dropout(self.attention(normed, normed, mask, bias))",
            "x + torch.nn.functional.dropout("
            "self.attention(normed, self.attention.project_context(normed), mask, bias), self.p, self.training)",
        ),
        (
            "x + self.dropout(self.feed_forward(self.norm_2(x)))",
            "x + torch.nn.functional.dropout(self.feed_forward(self.norm_2(x)), self.p, self.training)",
        ),
    ),
    edit(
        "causal_mask_by_comparison",
        "DecoderBlock",
        "The mask is a comparison of positions, and a single new token has none.",
        (
            "mask = causal_mask(x.shape[-2], k.shape[-2]).to(x.device)",
            "places = torch.arange(k.shape[-2])\n        mask = places <= places[k.shape[-2] - x.shape[-2] :, None]",
        ),
        ("(k, v), mask, bias", "(k, v), None if x.shape[-2] == 1 else mask, bias"),
    ),
    edit(
        "lists_for_pairs",
        "DecoderBlock",
        "The pair is returned as a list; the context is projected before it is attended to.",
        ("self.norm_3(x))), (k, v)", "self.norm_3(x))), [k, v]"),
        ("self.attention(normed, (k, v)", "self.attention(normed, tuple((k, v))"),
        (
            "        x = x + self.dropout(self.cross",
            "        if isinstance(context, Tensor):\n            context = self.cross_attention.project_context(context)\n"
            "        x = x + self.dropout(self.cross",
        ),
    ),
    edit(
        "frozen_fields",
        "MiniT5Config",
        "The sizes are checked with isinstance and operators of their own; a numpy-like bool is no size.",
        ("not isinstance(size, int) or size < 1", "type(size) is not int or size <= 0"),
    ),
    edit(
        "masks_expanded",
        "MiniT5",
        "The source's mask is expanded to all queries; where there is none there is one of True.",
        (
            "mask = None if source_mask is None else source_mask[:, None, None, :]  # (b, 1, 1, n)\n        bias",
            "mask = None if source_mask is None else source_mask[:, None, None, :].expand(-1, -1, x.shape[1], -1)\n        bias",
        ),
        (
            "        x = self.dropout(self.token_embedding(source_ids))",
            "        source_mask = torch.ones_like(source_ids, dtype=torch.bool) if source_mask is None else source_mask\n"
            "        x = self.dropout(self.token_embedding(source_ids))",
        ),
    ),
    edit(
        "a_tuple_of_pasts",
        "MiniT5",
        "The embeddings are scaled for the output, not x; the pasts come back as a tuple.",
        ("weight.T, present", "weight.T, tuple(present)"),
        (" / math.sqrt(self.config.d_model)\n", "\n"),
        ("x @ self.token_embedding.weight.T", "nn.functional.linear(x, self.token_embedding.weight * self.config.d_model**-0.5)"),
    ),
    edit(
        "forward_by_pairs",
        "MiniT5",
        "forward projects the context for each block and decodes with that; padding rows of the encoder become zeros.",
        (
            "return self.decode(decoder_ids, self.encode(source_ids, source_mask), source_mask)[0]",
            "memory = self.encode(source_ids, source_mask)\n"
            "        pairs = tuple(block.cross_attention.project_context(memory) for block in self.decoder)\n"
            "        return self.decode(decoder_ids, pairs, source_mask)[0]",
        ),
        (
            "return self.encoder_norm(x)",
            "x = self.encoder_norm(x)\n        return x if source_mask is None else x.masked_fill(~source_mask[..., None], 0.0)",
        ),
    ),
    edit(
        "dropout_by_blocks",
        "MiniT5",
        "The dropout of the embeddings is a function that is told about train mode.",
        ("        self.dropout = nn.Dropout(config.dropout)\n", ""),
        (
            "self.dropout(self.token_embedding(source_ids))",
            "nn.functional.dropout(self.token_embedding(source_ids), self.config.dropout, self.training)",
        ),
        (
            "self.dropout(self.token_embedding(decoder_ids))",
            "nn.functional.dropout(self.token_embedding(decoder_ids), self.config.dropout, self.training)",
        ),
    ),
    edit(
        "rolled_and_overwritten",
        "shift_right",
        "Rolled, and the first token overwritten.",
        (
            "    start = ids.new_full((*ids.shape[:-1], 1), start_id)\n"
            "    return torch.cat([start, ids], dim=-1)[..., : ids.shape[-1]]",
            "    shifted = ids.roll(1, dims=-1)\n    shifted[..., :1] = start_id\n    return shifted",
        ),
    ),
    edit(
        "soft_targets",
        "label_smoothed_loss",
        "The smoothed distribution is written down and multiplied out.",
        (
            "    certain = log_probs.gather(-1, targets[:, None]).mean()\n",
            "    wanted = torch.full_like(log_probs, smoothing / logits.shape[-1])\n"
            "    wanted.scatter_add_(-1, targets[:, None], torch.full_like(log_probs[:, :1], 1 - smoothing))\n",
        ),
        ("-((1 - smoothing) * certain + smoothing * log_probs.mean())", "-(wanted * log_probs).sum(-1).mean()"),
    ),
    edit(
        "logsumexp_minus_logits",
        "label_smoothed_loss",
        "The normaliser once, and logits instead of log-probabilities.",
        ("log_probs = logits.log_softmax(-1)", "log_probs = logits - logits.logsumexp(-1, keepdim=True)"),
    ),
    edit(
        "greedy_without_log_softmax",
        "translate",
        "Texts as lists, put together at every step; ended ones are followed by eos_id.",
        (
            "texts = torch.cat([texts, step(texts).argmax(-1, keepdim=True)], dim=1)",
            "ended = (texts[:, 1:] == eos_id).any(1)\n"
            "            chosen = step(texts).argmax(-1)\n"
            "            texts = torch.cat([texts, torch.where(ended, texts[:, -1], chosen)[:, None]], dim=1)",
        ),
    ),
    edit(
        "one_source_at_a_time",
        "translate",
        "Each source is translated alone, greedy search too.",
        (
            "        step = decoding_step(model, memory, source_mask, use_cache)\n"
            "        while texts.shape[1] <= max_new_tokens and not (texts[:, 1:] == eos_id).any(1).all():\n"
            "            texts = torch.cat([texts, step(texts).argmax(-1, keepdim=True)], dim=1)\n",
            "        rows = []\n"
            "        for i in range(b):\n"
            "            mask = None if source_mask is None else source_mask[i : i + 1]\n"
            "            step, row = decoding_step(model, memory[i : i + 1], mask, use_cache), texts[i : i + 1]\n"
            "            while row.shape[1] <= max_new_tokens and eos_id not in row[0, 1:].tolist():\n"
            "                row = torch.cat([row, step(row).argmax(-1, keepdim=True)], dim=1)\n"
            "            rows.append(row[0])\n"
            "        texts = rows\n",
        ),
    ),
    edit(
        "counts_by_hand",
        "bleu",
        "Matches counted with min and max instead of & and |.",
        (
            "allowed |= count_ngrams(other, i + 1)  # the larger count of each",
            "for ngram, count in count_ngrams(other, i + 1).items():\n"
            "                    allowed[ngram] = max(allowed[ngram], count)",
        ),
        ("(ngrams & allowed).total()", "sum(min(count, allowed[ngram]) for ngram, count in ngrams.items())"),
    ),
    edit(
        "product_and_root",
        "bleu",
        "A product of precisions and its root.",
        ("log_precision, halvings = 0.0, 0", "product, halvings = 1.0, 0"),
        (
            "log_precision += math.log(matched / total if matched else 1 / (2**halvings * total)) / max_order",
            "product *= matched / total if matched else 1 / (2**halvings * total)",
        ),
        ("100 * math.exp(brevity + log_precision)", "100 * math.exp(brevity) * product ** (1 / max_order)"),
    ),
]


@alternative("relative_position_bucket", "Every bucket is decided by counting borders, position by position, in Python.")
def counted_borders(relative, bidirectional=True, n_buckets=32, max_distance=128):
    n = n_buckets // 2 if bidirectional else n_buckets
    exact = n // 2
    if n < 2 or max_distance <= exact or (bidirectional and n_buckets % 2):
        raise ValueError(n_buckets)

    def bucket(r):
        first = n if bidirectional and r > 0 else 0
        r = abs(r) if bidirectional else max(-r, 0)
        if r < exact:
            return first + r
        borders = [exact * (max_distance / exact) ** (i / (n - exact)) for i in range(1, n - exact)]
        return first + exact + sum(r >= border for border in borders)

    return torch.tensor([bucket(r) for r in relative.flatten().tolist()], dtype=torch.int64).reshape(relative.shape)


@alternative("span_corrupt", "As in T5's own code: a text begins with what is kept and ends with a span.")
def kept_first(ids, sentinel_ids, generator, corruption_rate=0.15, mean_span_length=3.0):
    if ids.ndim != 1 or len(ids) < 2 or not 0 < corruption_rate < 1 or not mean_span_length >= 1:
        raise ValueError(ids.shape)
    n = len(ids)
    n_cut = min(max(round(n * corruption_rate), 1), n - 1)
    n_spans = min(max(round(n_cut / mean_span_length), 1), n_cut, n - n_cut)
    if len(sentinel_ids) < n_spans + 1:
        raise ValueError(sentinel_ids)

    def lengths(total):
        begins = torch.zeros(total - 1, dtype=torch.int64)
        begins[: n_spans - 1] = 1
        number = torch.cat([torch.zeros(1, dtype=torch.int64), begins[torch.randperm(total - 1, generator=generator)]]).cumsum(0)
        return torch.bincount(number, minlength=n_spans).tolist()

    source, target, at = [], [], 0
    for kept, cut, sentinel in zip(lengths(n - n_cut), lengths(n_cut), sentinel_ids):
        source += [ids[at : at + kept], ids.new_tensor([sentinel])]
        target += [ids.new_tensor([sentinel]), ids[at + kept : at + kept + cut]]
        at += kept + cut
    return torch.cat(source), torch.cat([*target, ids.new_tensor([sentinel_ids[n_spans]])])


@alternative("span_corrupt", "Python's chance, seeded by the generator; tokens dealt out one by one, the ends seldom cut.")
def dealt_one_by_one(ids, sentinel_ids, generator, corruption_rate=0.15, mean_span_length=3.0):
    import random

    n = ids.numel()
    if ids.ndim != 1 or n < 2 or not 0 < corruption_rate < 1 or not mean_span_length >= 1:
        raise ValueError(ids.shape)
    n_cut = max(1, min(n - 1, round(n * corruption_rate)))
    n_spans = max(1, min(round(n_cut / mean_span_length), n_cut, n - n_cut))
    if len(sentinel_ids) < n_spans + 1:
        raise ValueError(sentinel_ids)
    chance = random.Random(int(torch.randint(2**62, (), generator=generator)))
    cut, kept = [1] * n_spans, [0] + [1] * (n_spans - 1) + [0]
    for pieces, total in ((cut, n_cut), (kept, n - n_cut)):
        for _ in range(total - sum(pieces)):
            pieces[chance.randrange(len(pieces))] += 1
    source, target, at = [], [], 0
    for before, gone, sentinel in zip(kept, cut, sentinel_ids):
        source += [*ids[at : at + before].tolist(), sentinel]
        target += [sentinel, *ids[at + before : at + before + gone].tolist()]
        at += before + gone
    source, target = [*source, *ids[at:].tolist()], [*target, sentinel_ids[n_spans]]
    return torch.tensor(source, dtype=ids.dtype), torch.tensor(target, dtype=ids.dtype)


@alternative("RelativePositionBias", "The bias of each diagonal is looked up once and laid out.")
class Diagonals(nn.Module):
    def __init__(self, n_heads, bidirectional=True, n_buckets=32, max_distance=128):
        super().__init__()
        self.embedding = nn.Embedding(n_buckets, n_heads)
        self.options = bidirectional, n_buckets, max_distance

    def forward(self, n_q, n_k):
        relative = torch.arange(-n_k + 1, n_k)
        diagonal = self.embedding(relative_position_bucket(relative, *self.options)).T  # (h, 2 n_k - 1)
        rows = [diagonal[:, n_k - 1 - i : 2 * n_k - 1 - i] for i in range(n_k - n_q, n_k)]
        return torch.stack(rows, dim=1) if rows else diagonal.new_zeros(len(diagonal), 0, n_k)


@alternative("label_smoothed_loss", "Nothing is selected: ignored positions have weight zero.")
def weighted_positions(logits, targets, smoothing=0.1, ignore_index=-100):
    if not 0 <= smoothing <= 1 or logits.shape[:-1] != targets.shape:
        raise ValueError(smoothing)
    counted = targets != ignore_index
    if (counted & ((targets < 0) | (targets >= logits.shape[-1]))).any():
        raise ValueError(targets)
    log_probs = torch.log_softmax(logits, dim=-1)
    chosen = log_probs.gather(-1, torch.where(counted, targets, 0).unsqueeze(-1)).squeeze(-1)
    losses = (1 - smoothing) * chosen + smoothing * log_probs.mean(-1)
    return -torch.where(counted, losses, 0).sum() / max(int(counted.sum()), 1)


@alternative("translate", "The beam's pasts are kept by text in a dictionary, one row each.")
@torch.no_grad()
def memoized_pasts(
    model, source_ids, start_id, eos_id, max_new_tokens, source_mask=None, beam_size=1, length_penalty=0.0, use_cache=True
):
    if max_new_tokens < 0 or beam_size < 1:
        raise ValueError(beam_size)
    memory, found = model.encode(source_ids, source_mask), []
    for i in range(len(source_ids)):
        mask = None if source_mask is None else source_mask[i : i + 1]
        context = memory[i : i + 1]
        pairs = [block.cross_attention.project_context(context) for block in model.decoder] if use_cache else None
        pasts = {}

        def step(ids, mask=mask, context=context, pairs=pairs, pasts=pasts):
            if not use_cache:
                return model.decode(ids, context, mask)[0][:, -1].log_softmax(-1)
            texts = [tuple(row) for row in ids.tolist()]
            past = None
            if len(texts[0]) > 1:
                rows = [pasts[text[:-1]] for text in texts]
                past = [tuple(torch.cat([row[layer][j] for row in rows]) for j in (0, 1)) for layer in range(len(model.decoder))]
            logits, past = model.decode(ids[:, -1:], pairs, mask, past)
            for j, text in enumerate(texts):
                pasts[text] = [(k[j : j + 1], v[j : j + 1]) for k, v in past]
            return logits[:, -1].log_softmax(-1)

        prefix = source_ids.new_tensor([start_id])
        penalty = 0.0 if beam_size == 1 else length_penalty
        text = beam_search(step, prefix, eos_id, beam_size, 1 + max_new_tokens, penalty)[0][0][1:].tolist()
        found.append(text[: text.index(eos_id)] if eos_id in text else text)
    return found


@alternative("bleu", "n-grams as joined strings, plain dictionaries, sums of logarithms by hand.")
def plain_dictionaries(hypotheses, references, max_order=4):
    if isinstance(hypotheses, str) or len(hypotheses) != len(references) or len(hypotheses) == 0:
        raise ValueError(len(hypotheses))
    if any(isinstance(several, str) or len(several) == 0 for several in references):
        raise TypeError("each hypothesis needs a list of references")

    def counts(text, n):
        found = {}
        words = text.split()
        for i in range(len(words) - n + 1):
            key = " ".join(words[i : i + n])
            found[key] = found.get(key, 0) + 1
        return found

    c = sum(len(text.split()) for text in hypotheses)
    r = 0
    for text, several in zip(hypotheses, references):
        lengths = sorted(len(other.split()) for other in several)
        r += min(lengths, key=lambda length: abs(length - len(text.split())))
    logs, missing, anything = [], 1.0, False
    for n in range(1, max_order + 1):
        match = total = 0
        for text, several in zip(hypotheses, references):
            tables = [counts(other, n) for other in several]
            for key, count in counts(text, n).items():
                total += count
                match += min(count, max(table.get(key, 0) for table in tables))
        anything = anything or match > 0
        if total == 0:
            return 0.0
        if match == 0:
            missing *= 2
        logs.append(math.log(match / total) if match else -math.log(missing * total))
    return 100.0 * min(1.0, math.exp(1 - r / c)) * math.exp(sum(logs) / max_order) if anything else 0.0
