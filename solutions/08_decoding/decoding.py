"""From probabilities to text: which token comes next, and which text is the best one.

A language model gives a distribution over the next token and nothing more. Decoding makes a text of it:

    logits -> temperature -> filters (top-k, top-p, min-p) -> sample            one text, drawn
    prefix -> the best token, again and again                                   one text, greedy
    prefix -> the best few texts, extended and pruned together                  beam search
    a small model's guesses -> accepted or replaced                             speculative decoding

Filters set the logits of what may not be chosen to -inf, so they can follow each other, and a softmax at the end gives what is
left its probabilities. The best few of many are a job for a heap, which this module begins with.

Sources: Williams 1964 (the heap); Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p); Nguyen et al. 2024 (min-p); Keskar et
al. 2019 (the repetition penalty); Wu et al. 2016, section 7 (beam search with a length penalty, there of another form);
Leviathan et al. 2023 (speculative decoding).
"""

import math
from collections.abc import Callable
from typing import Any

import torch


class TopKHeap:
    """The k best of everything that was pushed, by score: a binary heap whose root is the worst of them.

    What comes in has to beat the root only, so n pushes take n log k steps and room for k entries. Of equal scores the one that
    was pushed first is the better one. Items are never compared with each other, so they may be anything.

    A heap is a list in which the entry at i is no better than its children at 2i + 1 and 2i + 2. After a change at the end or at
    the root, one walk up or down puts that right again.

    ValueError where k is below 1, or a score is NaN, which is neither better nor worse than anything.
    """

    def __init__(self, k: int):
        ### BEGIN SOLUTION
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        self.k = k
        self._entries: list[tuple[float, int, Any]] = []  # (score, -order, item): never two alike in the first two
        self._n_pushed = 0
        ### END SOLUTION

    def __len__(self) -> int:
        """How many entries there are: k at most."""
        ### BEGIN SOLUTION
        return len(self._entries)
        ### END SOLUTION

    def push(self, score: float, item: Any) -> None:
        """Take the item in, if it is among the k best so far; the worst leaves for it."""
        ### BEGIN SOLUTION
        if score != score:
            raise ValueError("score must be a number, not NaN")
        entry = (score, -self._n_pushed, item)
        self._n_pushed += 1
        if len(self._entries) < self.k:
            self._entries.append(entry)
            self._sift_up(len(self._entries) - 1)
        elif self._entries[0] < entry:
            self._entries[0] = entry
            self._sift_down(0)
        ### END SOLUTION

    def items(self) -> list[tuple[float, Any]]:
        """(score, item) of all that are held, the best first. The heap stays as it is."""
        ### BEGIN SOLUTION
        return [(score, item) for score, _, item in sorted(self._entries, key=lambda entry: entry[:2], reverse=True)]
        ### END SOLUTION

    ### BEGIN SOLUTION
    def _sift_up(self, i: int) -> None:
        """Let the entry at i change places with its parent for as long as it is the worse one."""
        parent = (i - 1) // 2
        while i > 0 and self._entries[i] < self._entries[parent]:
            self._entries[i], self._entries[parent] = self._entries[parent], self._entries[i]
            i, parent = parent, (parent - 1) // 2

    def _sift_down(self, i: int) -> None:
        """Let the entry at i change places with its worse child for as long as that is worse than itself."""
        while True:
            children = [child for child in (2 * i + 1, 2 * i + 2) if child < len(self._entries)]
            worst = min(children, key=lambda child: self._entries[child][:2], default=i)
            if not self._entries[worst] < self._entries[i]:
                return
            self._entries[i], self._entries[worst] = self._entries[worst], self._entries[i]
            i = worst

    ### END SOLUTION


def apply_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits divided by the temperature: below 1 the distribution grows sharper, above 1 flatter.

    The ratio of two probabilities becomes its power of 1 / temperature; the order of the tokens stays.

    Shapes: any -> the same, in logits' dtype; gradients flow. ValueError unless temperature is above 0 and finite: the limit at
    0 has a function of its own, `greedy_search`.
    """
    ### BEGIN SOLUTION
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0 and finite, not {temperature}")
    return logits / temperature
    ### END SOLUTION


def top_k_filter(logits: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest logits stay as they are, all others become -inf.

    With k at or above the vocabulary's size all stay. Where several are equal to the k-th largest, it is left open which and how
    many of these stay, as long as k do.

    Shapes: (..., vocab) -> the same, in logits' dtype; gradients flow to what stays. ValueError where k is below 1.
    Source: Fan et al. 2018, section 5.
    """
    ### BEGIN SOLUTION
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    kth = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < kth, -math.inf)
    ### END SOLUTION


def top_p_filter(logits: torch.Tensor, p: float) -> torch.Tensor:
    """The nucleus: the fewest most probable tokens whose probabilities reach p together. All others become -inf.

    A token stays if those more probable than it do not reach p without it, so the most probable one always stays, at p = 0 alone;
    at p = 1 nothing is dropped. Which of equally probable tokens come first is left open. Probabilities are added up in float32
    or better: in half precision, many small ones come to nothing.

    Shapes: (..., vocab) -> the same, in logits' dtype; gradients flow to what stays. ValueError unless 0 <= p <= 1.
    Source: Holtzman et al. 2020, section 3.1.
    """
    ### BEGIN SOLUTION
    if not 0 <= p <= 1:
        raise ValueError(f"p must be from 0 to 1, not {p}")
    if p == 1:
        return logits.clone()
    probs, order = logits.double().softmax(-1).sort(dim=-1, descending=True)
    before = probs.cumsum(-1) - probs  # what the more probable ones have together
    dropped = before >= p
    dropped[..., 0] = False
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)
    ### END SOLUTION


def min_p_filter(logits: torch.Tensor, min_p: float) -> torch.Tensor:
    """Tokens at least `min_p` times as probable as the most probable one stay, all others become -inf.

    So a model that is sure of itself leaves few to choose from, and one that is not leaves many. At min_p = 0 all stay, at 1 only
    the most probable. Probabilities are compared in float32 or better.

    Shapes: (..., vocab) -> the same, in logits' dtype; gradients flow to what stays. ValueError unless 0 <= min_p <= 1.
    Source: Nguyen et al. 2024, section 3.
    """
    ### BEGIN SOLUTION
    if not 0 <= min_p <= 1:
        raise ValueError(f"min_p must be from 0 to 1, not {min_p}")
    if min_p == 0:
        return logits.clone()
    distance = logits.amax(-1, keepdim=True).double() - logits  # log of how many times as probable the best is
    return logits.masked_fill(distance > -math.log(min_p), -math.inf)
    ### END SOLUTION


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """The tokens in `ids` become less probable: a positive logit is divided by the penalty, a negative one multiplied by it.

    A token that occurs several times is penalised once. A penalty below 1 makes repetition more probable, 1 changes nothing.

    logits (..., vocab); ids (..., t), int64, with the same leading dimensions; t may be 0 -> (..., vocab) in logits' dtype;
    gradients flow. ValueError where penalty is not above 0, an id is outside the vocabulary, or the leading dimensions differ.
    Source: Keskar et al. 2019, section 4.1, for logits of either sign.
    """
    ### BEGIN SOLUTION
    if not penalty > 0:
        raise ValueError(f"penalty must be above 0, not {penalty}")
    if ids.shape[:-1] != logits.shape[:-1]:
        raise ValueError(f"ids {tuple(ids.shape)} and logits {tuple(logits.shape)} differ in their leading dimensions")
    if ids.numel() and not 0 <= ids.min() <= ids.max() < logits.shape[-1]:
        raise ValueError(f"ids must be from 0 to {logits.shape[-1] - 1}, not from {ids.min()} to {ids.max()}")
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalised, logits)
    ### END SOLUTION


def sample(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw a token for every row from softmax(logits).

    Lay the probabilities side by side on a line of length 1 and throw a dart at it: the token is the one whose stretch was hit.
    Rows are drawn independently of each other, a token of logit -inf is never drawn, and the same state of the generator gives
    the same tokens. Probabilities are float32 or better.

    Shapes: (..., vocab) -> (...), int64. Each row has at least one finite logit; logits may require gradients. All
    randomness comes from `generator`.
    """
    ### BEGIN SOLUTION
    line = logits.double().softmax(-1).cumsum(-1)  # (..., vocab): where each token's stretch ends
    darts = torch.rand(*line.shape[:-1], 1, generator=generator, dtype=line.dtype, device=line.device) * line[..., -1:]
    return torch.searchsorted(line, darts, right=True).squeeze(-1)
    ### END SOLUTION


Step = Callable[[torch.Tensor], torch.Tensor]  # ids (beams, t) -> log-probabilities of the next token, (beams, vocab)


def greedy_search(step: Step, prefix: torch.Tensor, eos_id: int, max_len: int) -> torch.Tensor:
    """The prefix, continued by the most probable token each time, until that is `eos_id` or there are max_len tokens.

    `step` takes ids (1, t), int64, and gives the log-probabilities of the next token, (1, vocab), which may require gradients. It
    may keep these: they are not changed in place. An `eos_id` in the prefix ends nothing, and one outside the vocabulary never
    comes. Which of equally probable tokens is taken is left open.

    prefix (t,), int64, of one token or more -> (t + new,), int64, the prefix and `eos_id` included. max_len counts the prefix.
    ValueError where the prefix is longer than that; if it is as long, it comes back as it is.
    """
    ### BEGIN SOLUTION
    if len(prefix) > max_len:
        raise ValueError(f"max_len must be at least the prefix's {len(prefix)} tokens, not {max_len}")
    ids = prefix
    while len(ids) < max_len:
        token = step(ids[None])[0].argmax()
        ids = torch.cat([ids, token[None]])
        if token == eos_id:
            break
    return ids
    ### END SOLUTION


def beam_search(
    step: Step, prefix: torch.Tensor, eos_id: int, beam_size: int, max_len: int, length_penalty: float = 0.0
) -> list[tuple[torch.Tensor, float]]:
    """The most probable continuations of the prefix, as far as a beam of this size finds them: (ids, score), the best first.

    Each round extends every text in the beam by every token, all in one call of `step`, and puts these candidates in the order of
    their log-probabilities. Of the `beam_size` best, those that end in `eos_id` are results. The beam of the next round are the
    `beam_size` best of those that do not. Candidates of log-probability -inf are none. When the texts in the beam have max_len
    tokens, they are results as well; the best `beam_size` of all results are returned.

    A result's score is its log-probability (of what follows the prefix, `eos_id` included) divided by
    (number of new tokens) ** length_penalty, which only orders the results: 0 favours short texts, 1 compares means. A beam as
    wide as there are texts makes the search exact; a beam of 1 without a penalty is greedy search.

    `step` as for `greedy_search`, of ids (beams, t) with at most beam_size rows. prefix (t,), int64, of one token or more; ids
    (t + new,), int64, the prefix included, no two alike; score a float. With a prefix of max_len tokens the one result is that
    prefix, with a score of 0. An `eos_id` in the prefix ends nothing, and one outside the vocabulary never comes. ValueError
    where beam_size is below 1 or the prefix is longer than max_len.
    """
    ### BEGIN SOLUTION
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, not {beam_size}")
    if len(prefix) > max_len:
        raise ValueError(f"max_len must be at least the prefix's {len(prefix)} tokens, not {max_len}")
    results = TopKHeap(beam_size)

    def finish(ids: torch.Tensor, log_prob: float) -> None:
        results.push(log_prob / max(1, len(ids) - len(prefix)) ** length_penalty, ids)

    beam = [(prefix, 0.0)]
    while beam and len(beam[0][0]) < max_len:
        log_probs = step(torch.stack([ids for ids, _ in beam])).double()  # (beams, vocab)
        totals = log_probs + torch.tensor([[log_prob] for _, log_prob in beam], dtype=torch.float64, device=log_probs.device)
        # Each text has one candidate that ends: among twice as many as the beam holds there are enough that do not.
        best = totals.flatten().topk(min(2 * beam_size, totals.numel()))
        candidates = []
        for rank, (log_prob, index) in enumerate(zip(best.values.tolist(), best.indices.tolist())):
            parent, token = divmod(index, totals.shape[1])
            if log_prob == -math.inf or (token == eos_id and rank >= beam_size):
                continue
            ids = torch.cat([beam[parent][0], prefix.new_tensor([token])])
            if token == eos_id:
                finish(ids, log_prob)
            else:
                candidates.append((ids, log_prob))
        beam = candidates[:beam_size]
    for ids, log_prob in beam:
        finish(ids, log_prob)
    return [(ids, score) for score, ids in results.items()]
    ### END SOLUTION


def speculative_accept(
    draft_tokens: torch.Tensor, draft_probs: torch.Tensor, target_probs: torch.Tensor, generator: torch.Generator
) -> tuple[int, int]:
    """How many of a draft model's tokens stand, and the token that follows them: `(n_accepted, next_token)`.

    The draft model drew its tokens one after the other from q = draft_probs[i]; the target model would have drawn them from
    p = target_probs[i], and has looked at all of them at once. Token x is accepted with probability min(1, p(x) / q(x)). At the
    first that is not, the next token is drawn from what p has more than q, max(0, p - q), normalised, and the rest of the draft
    is forgotten. If all stand, the next token is drawn from the target's last row. Every token then has exactly the target's
    distribution, whatever the draft was; a better draft only makes more of them stand.

    draft_tokens (n,), int64; draft_probs (n, vocab); target_probs (n + 1, vocab); rows sum to 1; n may be 0. Both results are
    ints. All randomness comes from `generator`. ValueError where the shapes do not fit together or a token is outside the
    vocabulary.
    Source: Leviathan et al. 2023, section 2.3 and appendix A.1.
    """
    ### BEGIN SOLUTION
    n, vocab = draft_probs.shape
    if draft_tokens.shape != (n,) or target_probs.shape != (n + 1, vocab):
        shapes = [tuple(x.shape) for x in (draft_tokens, draft_probs, target_probs)]
        raise ValueError(f"draft_tokens, draft_probs and target_probs must be (n,), (n, vocab), (n + 1, vocab), not {shapes}")
    if n and not 0 <= draft_tokens.min() <= draft_tokens.max() < vocab:
        raise ValueError(f"draft_tokens must be from 0 to {vocab - 1}")
    for i, token in enumerate(draft_tokens.tolist()):
        p, q = target_probs[i].double(), draft_probs[i].double()
        if torch.rand((), generator=generator, dtype=p.dtype, device=p.device) * q[token] >= p[token]:
            missing = (p - q).clamp(min=0)
            return i, int(sample((missing if missing.any() else p).log(), generator))
    return n, int(sample(target_probs[n].log(), generator))
    ### END SOLUTION
