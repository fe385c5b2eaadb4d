"""An encoder-decoder Transformer: one network reads a text, another writes one, and cross-attention joins them.

A translation is a text of its own, under a condition. The chain rule of module 05 holds with a source s on the right of
every bar,

    p(y_1, ..., y_m | s) = p(y_1 | s) p(y_2 | y_1, s) ... p(y_m | y_1, ..., y_{m-1}, s),

and the model is in two parts. The encoder reads all of s at once, in both directions, for nothing of it has to be
guessed. The decoder is module 05's language model with one more step in each block: its queries meet the keys and
values of the encoder's output. That step is the oldest attention there is (Bahdanau et al. 2015), older than the
Transformer.

The model is T5 (Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text
Transformer") at a width of 64: pre-norm with RMSNorm, attention without biases and without a scale, and positions that
are nothing but a number added to each score, looked up by distance.

Shapes: source (b, n), target (b, t), width d, h heads. Texts of one batch differ in length; `padding_mask` says which
tokens are real, and padding changes nothing for anybody else. As everywhere, True in a mask means "may attend".
Not handled here: sharing a cache between sentences, and beams of several sentences in one batch.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solutions.attention import causal_mask
from solutions.decoding import beam_search
from solutions.feedforward_residual import FeedForward, RMSNorm
from solutions.multi_head_attention import merge_heads, split_heads

KeysValues = tuple[Tensor, Tensor]  # (b, h, n, head_dim) each


def padding_mask(lengths: Tensor, max_len: int) -> Tensor:
    """Which tokens of a padded batch are real: True at the first `lengths[i]` positions of row i, False after them.

    lengths `(...)`, whole numbers of any integer dtype, 0 among them -> boolean `(..., max_len)`, on their device.

    Raises ValueError when a length is negative or larger than `max_len`.
    """
    ### BEGIN SOLUTION
    lengths = lengths.long()  # a max_len of 300 has no place among uint8
    if lengths.numel() and not 0 <= lengths.min() <= lengths.max() <= max_len:
        raise ValueError(f"lengths must lie in 0..{max_len}, got {lengths.tolist()}")
    return torch.arange(max_len, device=lengths.device) < lengths[..., None]
    ### END SOLUTION


class CrossAttention(nn.Module):
    """Multi-head attention in which x asks and a context answers, as T5 has it.

        scores = q kᵀ + bias            softmax over the context, then the weighted mean of its values

    There is no division by sqrt(head_dim) (weights can learn that factor) and no bias in a linear layer. Self-attention
    is the case in which the context is x itself.

    Submodules: `w_q`, `w_k`, `w_v`, `w_o`, each an `nn.Linear(d_model, d_model)` without a bias. Attributes: `n_heads`
    and `head_dim = d_model / n_heads`. Head i has the i-th slice of the channels, as module 03's `split_heads` cuts.

    Raises ValueError when `n_heads` does not divide `d_model`.
    Source: Vaswani et al. 2017, section 3.2.3; Raffel et al. 2020, section 2.1.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads must divide d_model, got d_model={d_model}, n_heads={n_heads}")
        self.n_heads = n_heads
        self.head_dim = d_model // n_heads
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        ### END SOLUTION

    def project_context(self, context: Tensor) -> KeysValues:
        """The keys and values of a context: `(b, n, d_model)` -> two of `(b, h, n, head_dim)`.

        They depend on nothing but the context, so a decoder that attends to the same one at every step computes them
        once.
        """
        ### BEGIN SOLUTION
        return split_heads(self.w_k(context), self.n_heads), split_heads(self.w_v(context), self.n_heads)
        ### END SOLUTION

    def forward(self, x: Tensor, context: Tensor | KeysValues, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """x `(b, n_q, d_model)` attends to the context -> `(b, n_q, d_model)`.

        `context` is a tensor `(b, n_k, d_model)` or the pair that `project_context` made of one; the result is the
        same. The pair's batch may be 1 where x's is larger. `mask` is boolean, True where a query may attend, `bias` is
        added to the scores; both broadcast to `(b, h, n_q, n_k)`, so a `padding_mask` comes as `mask[:, None, None,
        :]`.

        Keys that are masked have weight 0. A query that may attend to nothing, for all is masked or n_k is 0, gets
        zeros. Gradients are finite, there too.
        """
        ### BEGIN SOLUTION
        k, v = self.project_context(context) if isinstance(context, Tensor) else context  # (b, h, n_k, head_dim)
        q = split_heads(self.w_q(x), self.n_heads)  # (b, h, n_q, head_dim)
        scores = q @ k.mT  # (b, h, n_q, n_k)
        if bias is not None:
            scores = scores + bias
        if isinstance(mask, Tensor):
            # The lowest finite number, not -inf: a row of nothing but -inf has no softmax. The second fill is for it.
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        if isinstance(mask, Tensor):
            weights = weights.masked_fill(~mask, 0.0)
        return self.w_o(merge_heads(weights @ v))
        ### END SOLUTION


def relative_position_bucket(
    relative: Tensor, bidirectional: bool = True, n_buckets: int = 32, max_distance: int = 128
) -> Tensor:
    """The bucket of each distance: one for each of the small ones, ever wider ones for what is further away.

    `relative` is the key's position minus the query's, of any integer dtype and shape -> int64 of that shape, in
    `0 .. n_buckets - 1`.

    With `bidirectional`, half of the buckets are for keys at or before the query (`relative <= 0`) and the other half,
    with higher numbers, for those after it. Without, all are for keys at or before the query, and a key after it counts
    as distance 0. So each direction has N buckets. Let E be N // 2; a distance r, never negative, has the bucket

        r                                                                 where r < E, and else
        min(E + floor(log(r / E) / log(max_distance / E) * (N - E)), N - 1)

    so all distances from `max_distance` on have the last one. Where the number to be rounded down is a whole one above 0,
    as at r = 16, 32 and 64 with the defaults, the logarithm's own rounding decides, and the bucket below is right as well.

    Raises ValueError when N is less than 2, when an odd number of buckets is to be halved, and unless `max_distance >
    E`. Source: Raffel et al. 2020, section 2.1, and the code published with it.
    """
    ### BEGIN SOLUTION
    if bidirectional and n_buckets % 2:
        raise ValueError(f"n_buckets must be even to serve two directions, got {n_buckets}")
    n = n_buckets // 2 if bidirectional else n_buckets  # of one direction
    exact = n // 2
    if n < 2 or max_distance <= exact:
        raise ValueError(f"too few buckets or distances: n_buckets={n_buckets}, max_distance={max_distance}")
    distance = relative.long().abs() if bidirectional else (-relative.long()).clamp(min=0)
    octaves = (distance.clamp(min=1) / exact).log() / math.log(max_distance / exact)  # 0 at `exact`, 1 at `max_distance`
    far = exact + (octaves * (n - exact)).long()
    bucket = torch.where(distance < exact, distance, far.clamp(max=n - 1))
    return bucket + n * (relative > 0) if bidirectional else bucket
    ### END SOLUTION


class RelativePositionBias(nn.Module):
    """A number for every head and bucket of distance, added to the scores: all that T5 knows about positions.

    Submodule: `embedding`, an `nn.Embedding(n_buckets, n_heads)`. One such table serves all layers of a stack, so a
    model has two: one for the encoder, in both directions, one for the decoder.
    """

    def __init__(self, n_heads: int, bidirectional: bool = True, n_buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.bidirectional, self.max_distance = bidirectional, max_distance
        self.embedding = nn.Embedding(n_buckets, n_heads)
        ### END SOLUTION

    def forward(self, n_q: int, n_k: int) -> Tensor:
        """The bias of the last n_q of n_k positions to all n_k of them: `(h, n_q, n_k)`, in the embedding's dtype.

        Aligned bottom-right, as `causal_mask`: query i stands at position `n_k - n_q + i`. With a cache, where one new
        token asks and everything before it answers, that is the last row alone. `n_q` may be 0.
        """
        ### BEGIN SOLUTION
        positions = torch.arange(n_k, device=self.embedding.weight.device)
        relative = positions - positions[n_k - n_q :, None]  # (n_q, n_k), key minus query
        buckets = relative_position_bucket(relative, self.bidirectional, self.embedding.num_embeddings, self.max_distance)
        return self.embedding(buckets).permute(2, 0, 1)  # (n_q, n_k, h) -> (h, n_q, n_k)
        ### END SOLUTION


class EncoderBlock(nn.Module):
    """A pre-norm block that sees the whole text: self-attention, then the feed-forward layer, each added to x.

        x = x + dropout(attention(norm_1(x)))
        x = x + dropout(feed_forward(norm_2(x)))

    Submodules: `attention` (a `CrossAttention`), `feed_forward` (module 04's `FeedForward` with its own default),
    `norm_1` and `norm_2` (module 04's `RMSNorm`).
    """

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float = 0.0) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.attention = CrossAttention(d_model, n_heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.norm_1, self.norm_2 = RMSNorm(d_model), RMSNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """x `(b, n, d_model)` -> the same shape; mask and bias are those of `CrossAttention`, and broadcast alike.

        Dropout, of the probability given, acts in train mode only.
        """
        ### BEGIN SOLUTION
        normed = self.norm_1(x)
        x = x + self.dropout(self.attention(normed, normed, mask, bias))
        return x + self.dropout(self.feed_forward(self.norm_2(x)))
        ### END SOLUTION


class DecoderBlock(nn.Module):
    """A pre-norm block that writes: causal self-attention, then a look at the context, then the feed-forward layer.

        x = x + dropout(attention(norm_1(x)))
        x = x + dropout(cross_attention(norm_2(x), context))
        x = x + dropout(feed_forward(norm_3(x)))

    Submodules: `attention` and `cross_attention` (both `CrossAttention`), `feed_forward` (module 04's `FeedForward`
    with its own default), `norm_1`, `norm_2` and `norm_3` (module 04's `RMSNorm`). The context comes normalised and is
    not normalised again.
    """

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float = 0.0) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.attention = CrossAttention(d_model, n_heads)
        self.cross_attention = CrossAttention(d_model, n_heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.norm_1, self.norm_2, self.norm_3 = RMSNorm(d_model), RMSNorm(d_model), RMSNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(
        self,
        x: Tensor,
        context: Tensor | KeysValues,
        context_mask: Tensor | None = None,
        bias: Tensor | None = None,
        past: KeysValues | None = None,
    ) -> tuple[Tensor, KeysValues]:
        """x `(b, t, d_model)` -> the new x, and the self-attention's keys and values up to here.

        `context`, a tensor or a pair, and `context_mask` are those of `CrossAttention`. `bias` is for the
        self-attention, which is causal: a position sees those up to itself.

        `past` is what an earlier call returned for the p positions before these, as pair `(b, h, p, head_dim)`; the t
        new ones see them too, and the pair that is returned has all p + t. `past` itself is left as it is. So a text
        gives the same rows, and the same gradients, whether it comes in one piece or in several. `bias` broadcasts to
        `(b, h, t, p + t)`.
        """
        ### BEGIN SOLUTION
        normed = self.norm_1(x)
        k, v = self.attention.project_context(normed)  # of the new positions alone
        if past is not None:
            k, v = torch.cat([past[0], k], dim=-2), torch.cat([past[1], v], dim=-2)
        mask = causal_mask(x.shape[-2], k.shape[-2]).to(x.device)
        x = x + self.dropout(self.attention(normed, (k, v), mask, bias))
        x = x + self.dropout(self.cross_attention(self.norm_2(x), context, context_mask))
        return x + self.dropout(self.feed_forward(self.norm_3(x))), (k, v)
        ### END SOLUTION


@dataclass
class MiniT5Config:
    """The sizes of a model, checked once. (Whether buckets and distances fit is for `relative_position_bucket` to say.)

    `d_ff=None` stands for `4 * d_model` and is replaced by that number.

    Raises ValueError, naming the field, for a size that is not a positive whole number, for a `d_model` that `n_heads`
    does not divide, and for a `dropout` that is not at least 0 and below 1.
    """

    vocab_size: int  # source and target share one vocabulary
    n_layers: int = 2  # of the encoder, and as many of the decoder
    n_heads: int = 4
    d_model: int = 64
    d_ff: int | None = None  # width of the feed-forward layer
    dropout: float = 0.0
    n_buckets: int = 32  # of relative positions
    max_distance: int = 128

    def __post_init__(self) -> None:
        ### BEGIN SOLUTION
        if self.d_ff is None:
            self.d_ff = 4 * self.d_model
        for name in ("vocab_size", "n_layers", "n_heads", "d_model", "d_ff", "n_buckets", "max_distance"):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a positive whole number, got {size!r}")
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads must divide d_model, got n_heads={self.n_heads}, d_model={self.d_model}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout!r}")
        ### END SOLUTION


class MiniT5(nn.Module):
    """T5 at a width of 64: an encoder, a decoder, and one table of embeddings for both ends.

    Attributes, with these names, since saved weights rely on them:

    - `config`: the `MiniT5Config`
    - `token_embedding`: `nn.Embedding`, weight `(vocab_size, d_model)`, for source and target, and for the output
    - `encoder` and `decoder`: `nn.ModuleList`s of `n_layers` of `EncoderBlock` and `DecoderBlock`
    - `encoder_bias` and `decoder_bias`: one `RelativePositionBias` each, bidirectional and not, for the self-attention of
      all layers of the stack; the cross-attention has none
    - `encoder_norm` and `decoder_norm`: module 04's `RMSNorm`, after the last block

    There is no output layer: logits are `decoder_norm(x) / sqrt(d_model)` times the embeddings, each token's own. The
    factor makes up for embeddings that are d_model numbers of about 1 (Raffel et al. 2020, their code).

    Dropout acts on the embeddings of both texts, and in the blocks. Weights start wherever PyTorch puts them.
    """

    def __init__(self, config: MiniT5Config) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.config = config
        sizes = config.d_model, config.n_heads, config.d_ff, config.dropout
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = nn.ModuleList(EncoderBlock(*sizes) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(DecoderBlock(*sizes) for _ in range(config.n_layers))
        self.encoder_bias = RelativePositionBias(config.n_heads, True, config.n_buckets, config.max_distance)
        self.decoder_bias = RelativePositionBias(config.n_heads, False, config.n_buckets, config.max_distance)
        self.encoder_norm, self.decoder_norm = RMSNorm(config.d_model), RMSNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        ### END SOLUTION

    def encode(self, source_ids: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """Read the source: ids `(b, n)` -> `(b, n, d_model)`, what the decoder attends to.

        `source_mask` `(b, n)` is True at real tokens, all of them when it is None. What stands at the others changes
        nothing at a real one; their own rows are finite and mean nothing.
        """
        ### BEGIN SOLUTION
        x = self.dropout(self.token_embedding(source_ids))  # (b, n, d)
        mask = None if source_mask is None else source_mask[:, None, None, :]  # (b, 1, 1, n)
        bias = self.encoder_bias(x.shape[1], x.shape[1])  # (h, n, n), the same for every layer
        for block in self.encoder:
            x = block(x, mask, bias)
        return self.encoder_norm(x)
        ### END SOLUTION

    def decode(
        self,
        decoder_ids: Tensor,
        context: Tensor | Sequence[KeysValues],
        source_mask: Tensor | None = None,
        past: Sequence[KeysValues] | None = None,
    ) -> tuple[Tensor, list[KeysValues]]:
        """ids `(b, t)` -> logits `(b, t, vocab)` of the token after each, and what to pass as `past` for the next ones.

        `context` is what `encode` gave, or a list with the `project_context` of each block's cross-attention, which
        need not be computed again. `past`, one pair for each block, is what an earlier call returned for the positions
        before these; it is left as it is. Gradients flow through both, as in a text that comes in one piece.
        """
        ### BEGIN SOLUTION
        x = self.dropout(self.token_embedding(decoder_ids))  # (b, t, d)
        mask = None if source_mask is None else source_mask[:, None, None, :]  # (b, 1, 1, n)
        contexts = [context] * len(self.decoder) if isinstance(context, Tensor) else context
        pasts = past or [None] * len(self.decoder)
        n_q = x.shape[1]
        bias = self.decoder_bias(n_q, n_q if past is None else n_q + past[0][0].shape[-2])
        present = []
        for block, block_context, block_past in zip(self.decoder, contexts, pasts, strict=True):
            x, keys_values = block(x, block_context, mask, bias, block_past)
            present.append(keys_values)
        x = self.decoder_norm(x) / math.sqrt(self.config.d_model)
        return x @ self.token_embedding.weight.T, present
        ### END SOLUTION

    def forward(self, source_ids: Tensor, decoder_ids: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """source `(b, n)` and what the decoder reads `(b, t)` -> logits `(b, t, vocab)` of the token after each position.

        In training `decoder_ids` is the target moved by `shift_right`. Position i sees the whole source, and
        `decoder_ids` up to i.

        Raises IndexError for ids outside the vocabulary.
        """
        ### BEGIN SOLUTION
        return self.decode(decoder_ids, self.encode(source_ids, source_mask), source_mask)[0]
        ### END SOLUTION


def shift_right(ids: Tensor, start_id: int) -> Tensor:
    """What the decoder reads while it learns to write `ids`: the same tokens, one place later, after a start token.

    `(..., t)` -> `(..., t)` in the same dtype: `start_id` first, and the last token left out, for nothing follows it.
    With t = 0 there is nothing to read, either.
    """
    ### BEGIN SOLUTION
    start = ids.new_full((*ids.shape[:-1], 1), start_id)
    return torch.cat([start, ids], dim=-1)[..., : ids.shape[-1]]
    ### END SOLUTION


def label_smoothed_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.1, ignore_index: int = -100) -> Tensor:
    """Cross entropy with a target that is not quite certain, mean over the positions that count.

    logits `(..., vocab)`, targets `(...)` of int64 -> a scalar of the logits' dtype. Where the target is y, the model
    is asked for the distribution that gives each of the V tokens `smoothing / V`, and y `1 - smoothing` more:

        loss = -(1 - smoothing) log p(y) - smoothing / V * sum_v log p(v)

    Positions whose target is `ignore_index` do not count. When none counts the loss is 0, and its gradient is 0
    everywhere. Large logits neither overflow nor vanish.

    Raises ValueError unless `0 <= smoothing <= 1`, when targets do not have the shape of the logits without the
    vocabulary, and for a counted target outside `0 .. V - 1`.
    Source: Szegedy et al. 2016, section 7.
    """
    ### BEGIN SOLUTION
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must lie in 0..1, got {smoothing}")
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"targets must have shape {tuple(logits.shape[:-1])}, got {tuple(targets.shape)}")
    counted = targets != ignore_index
    logits, targets = logits[counted], targets[counted]  # (n, vocab), (n,)
    if targets.numel() == 0:
        return logits.sum()  # of nothing: 0, with a graph
    if targets.min() < 0 or targets.max() >= logits.shape[-1]:
        raise ValueError(f"targets must lie in 0..{logits.shape[-1] - 1}, got {targets.min()}..{targets.max()}")
    log_probs = logits.log_softmax(-1)
    certain = log_probs.gather(-1, targets[:, None]).mean()
    return -((1 - smoothing) * certain + smoothing * log_probs.mean())
    ### END SOLUTION


def span_corrupt(
    ids: Tensor,
    sentinel_ids: Sequence[int],
    generator: torch.Generator,
    corruption_rate: float = 0.15,
    mean_span_length: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """T5's pre-training task: cut spans out of a text, and ask for them. Returns (input, target).

        ids       thank you for inviting me to your party last week
        input     thank you <0> me to your party <1> week
        target    <0> for inviting <1> last <2>

    ids `(n,)` with n at least 2 -> two 1-D tensors in its dtype. Each span is replaced by a sentinel, a different one
    for each, in the order of `sentinel_ids`. The target has, for each span, its sentinel and the tokens that it stands
    for, and then one more sentinel as an end. So putting the spans back in the place of their sentinels gives the text.

    Exactly `round(n * corruption_rate)` tokens are cut, but at least 1 and at most n - 1; and of the c tokens cut and
    the n - c kept, exactly `round(c / mean_span_length)` spans are made, but at least 1 and at most c and n - c.
    (`round` is Python's.) No span is empty, and between two spans at least one token is kept. Which spans these are is
    decided by `generator` alone: their places vary from draw to draw, and so do their lengths, wherever they can.

    Raises ValueError when ids is not 1-D or has fewer than 2 tokens, unless `0 < corruption_rate < 1` and
    `mean_span_length >= 1`, and when there are no more sentinels than spans.
    Source: Raffel et al. 2020, section 3.1.4.
    """
    ### BEGIN SOLUTION
    n = ids.shape[0] if ids.ndim == 1 else 0
    if n < 2:
        raise ValueError(f"ids must be one text of at least 2 tokens, got shape {tuple(ids.shape)}")
    if not 0 < corruption_rate < 1 or not mean_span_length >= 1:
        raise ValueError(f"cannot cut a share of {corruption_rate} in spans of {mean_span_length}")
    n_cut = min(max(round(n * corruption_rate), 1), n - 1)
    n_spans = min(max(round(n_cut / mean_span_length), 1), n_cut, n - n_cut)
    if len(sentinel_ids) <= n_spans:
        raise ValueError(f"{n_spans} spans need {n_spans + 1} sentinels, got {len(sentinel_ids)}")

    def pieces(total: int, n_pieces: int) -> list[int]:
        """Lengths of at least 1 that add up to total: choose where, of the total - 1 places between two, to cut."""
        cuts = torch.randperm(total - 1, generator=generator)[: n_pieces - 1].sort().values.tolist()
        return [after - before for before, after in zip([-1, *cuts], [*cuts, total - 1])]

    # One more kept piece than spans: before, between, after. The outer two may be empty, so they are made one longer first.
    kept = pieces(n - n_cut + 2, n_spans + 1)
    kept[0], kept[-1] = kept[0] - 1, kept[-1] - 1
    source, target, rest = [], [], ids.tolist()
    for n_kept, n_gone, sentinel in zip(kept, pieces(n_cut, n_spans), sentinel_ids):
        source += [*rest[:n_kept], sentinel]
        target += [sentinel, *rest[n_kept : n_kept + n_gone]]
        rest = rest[n_kept + n_gone :]
    return ids.new_tensor(source + rest), ids.new_tensor([*target, sentinel_ids[n_spans]])
    ### END SOLUTION


Step = Callable[[Tensor], Tensor]  # ids (rows, t) -> log-probabilities of the next token, (rows, vocab)


def decoding_step(model: MiniT5, memory: Tensor, source_mask: Tensor | None, use_cache: bool) -> Step:
    """The decoder as the searches want it: a function from texts `(rows, t)` to log-probabilities `(rows, vocab)`.

    `memory` `(b, n, d_model)` is the encoder's output; rows is b, or b is 1. With the cache, keys and values of the
    context are computed here, once, and each call reads the last token of its texts alone. A beam drops some texts and
    continues others twice; a row's past is found again by what it says, since texts of one beam are all different.
    """
    ### BEGIN SOLUTION
    if not use_cache:
        return lambda ids: model.decode(ids, memory, source_mask)[0][:, -1].log_softmax(-1)
    context = [block.cross_attention.project_context(memory) for block in model.decoder]
    past = read = None

    def step(ids: Tensor) -> Tensor:
        nonlocal past, read
        if past is not None and not torch.equal(ids[:, :-1], read):
            parents = (ids[:, None, :-1] == read).all(-1).int().argmax(-1)  # (rows,), which text each continues
            past = [(k[parents], v[parents]) for k, v in past]
        logits, past = model.decode(ids[:, -1:], context, source_mask, past)
        read = ids
        return logits[:, -1].log_softmax(-1)

    return step
    ### END SOLUTION


@torch.no_grad()
def translate(
    model: MiniT5,
    source_ids: Tensor,
    start_id: int,
    eos_id: int,
    max_new_tokens: int,
    source_mask: Tensor | None = None,
    beam_size: int = 1,
    length_penalty: float = 0.0,
    use_cache: bool = True,
) -> list[list[int]]:
    """Translate a batch of sources `(b, n)`: for each, the ids that the model writes after `start_id`.

    A text ends with `eos_id` or when it has `max_new_tokens` tokens, `eos_id` among them. Neither `start_id` nor that
    last `eos_id` is part of what is returned, so a text may be empty. Each source gets the translation that it would
    get alone.

    `beam_size=1` is greedy search: the likeliest token each time, whatever the length penalty. Otherwise it is the best
    result of module 08's `beam_search`, with its rule and its `length_penalty`. Which of several tokens of equal score
    is taken is left open.

    The source is encoded once. With `use_cache`, keys and values of the source are computed once too, and each token of
    a text goes through the decoder once; without, the decoder reads the whole text again for every token, which is
    there to compare with. The texts are the same. No gradients are recorded, and a model in train or eval mode stays in
    it.

    Raises ValueError when `max_new_tokens` is negative or `beam_size` less than 1.
    """
    ### BEGIN SOLUTION
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    b = len(source_ids)
    memory = model.encode(source_ids, source_mask)
    texts = source_ids.new_full((b, 1), start_id)
    if beam_size == 1:  # all sources together
        step = decoding_step(model, memory, source_mask, use_cache)
        while texts.shape[1] <= max_new_tokens and not (texts[:, 1:] == eos_id).any(1).all():
            texts = torch.cat([texts, step(texts).argmax(-1, keepdim=True)], dim=1)
    else:  # one after the other, the beam being the batch
        masks = [None] * b if source_mask is None else source_mask.split(1)
        steps = [decoding_step(model, *source, use_cache) for source in zip(memory.split(1), masks)]
        options = eos_id, beam_size, 1 + max_new_tokens, length_penalty
        texts = [beam_search(step, start, *options)[0][0] for step, start in zip(steps, texts)]
    written = [text[1:].tolist() for text in texts]
    return [text[: text.index(eos_id)] if eos_id in text else text for text in written]
    ### END SOLUTION


def count_ngrams(tokens: Sequence[str], n: int) -> Counter:
    """How often each run of n tokens occurs; given."""
    return Counter(zip(*(tokens[i:] for i in range(n))))


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], max_order: int = 4) -> float:
    """Corpus BLEU in percent: how many n-grams of the translations occur in human ones, and whether they are too short.

    Texts are strings of tokens with white space between them; `references[i]` are the references of `hypotheses[i]`, at
    least one.

        BLEU = 100 * min(1, exp(1 - r / c)) * (p_1 p_2 ... p_N)^(1 / N),   N = max_order

    p_n is matches by all: of all n-grams of all hypotheses, those that their references have as well. An n-gram counts
    as a match at most as often as it occurs in that one of the references which has it most often. c is the number of
    tokens of all hypotheses, r that of the references, for each hypothesis the one whose length is closest, the shorter
    of two that are as close.

    As in sacreBLEU, of which this is the score of tokenised text: where some p_n has no match, it is 1 / (2^k * all)
    for the k-th such n, counted from the shortest n-grams. The score is 0 where there is no match of any order, or no
    n-gram of some order at all.

    Raises ValueError when there are not as many lists of references as hypotheses, none at all, a hypothesis without a
    reference, or a plain string where a list is wanted.
    Source: Papineni et al. 2002; Post 2018.
    """
    ### BEGIN SOLUTION
    if isinstance(hypotheses, str) or any(isinstance(several, str) for several in references):
        raise ValueError("hypotheses must be a list of strings, and references a list of lists of strings")
    if len(hypotheses) != len(references) or len(hypotheses) == 0 or not all(len(several) for several in references):
        raise ValueError(f"got {len(hypotheses)} hypotheses and references for {len(references)}, each needs one at least")
    matches, totals, n_written, n_wanted = [0] * max_order, [0] * max_order, 0, 0
    for hypothesis, several in zip(hypotheses, references):
        tokens, others = hypothesis.split(), [reference.split() for reference in several]
        n_written += len(tokens)
        n_wanted += min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]
        for i in range(max_order):
            ngrams, allowed = count_ngrams(tokens, i + 1), Counter()
            for other in others:
                allowed |= count_ngrams(other, i + 1)  # the larger count of each
            matches[i] += (ngrams & allowed).total()  # the smaller count of each
            totals[i] += ngrams.total()
    if not any(matches) or not all(totals):
        return 0.0
    log_precision, halvings = 0.0, 0
    for matched, total in zip(matches, totals):
        halvings += matched == 0
        log_precision += math.log(matched / total if matched else 1 / (2**halvings * total)) / max_order
    brevity = min(0.0, 1 - n_wanted / n_written)
    return 100 * math.exp(brevity + log_precision)
    ### END SOLUTION
