"""A decoder-only Transformer, and what it means to generate from one.

A language model gives every text a probability by the chain rule,

    p(x_1, ..., x_n) = p(x_1) p(x_2 | x_1) ... p(x_n | x_1, ..., x_{n-1}),

so one network that answers "which token comes next?" is all that is needed. Here it is built from the blocks of
module 04, initialised and counted as GPT-2 is (Radford et al. 2019, "Language models are unsupervised multitask
learners"), trained by the mean of -log p(next token), and run forward one token at a time.

The last exercise asks for the best whole sequence rather than the best next token. Where a token depends on the one
before it alone, dynamic programming finds it exactly; where it depends on everything before it, as in a Transformer,
the table would need a row for every prefix, and that is why language models are decoded greedily, or with the
searches of module 08.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solutions.attention import causal_mask
from solutions.feedforward_residual import LayerNorm, TransformerBlock
from solutions.positional_encoding import LearnedPositionalEmbedding


@dataclass
class GPTConfig:
    """The sizes of a model, checked once so that nothing later has to.

    `d_ff=None` stands for `4 * d_model` and is replaced by that number, so `config.d_ff` is always an int.

    Raises ValueError, its message naming the field, for a size that is not a positive whole number (an int: 8.0, "8"
    and, for any size but `d_ff`, None are none) and for a `d_model` that `n_heads` does not divide.
    """

    vocab_size: int
    context_length: int  # the most tokens that the model sees at once
    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 64
    d_ff: int | None = None  # width of the feed-forward layer
    tie_embeddings: bool = True  # the output layer shares the token embedding's weight

    def __post_init__(self) -> None:
        ### BEGIN SOLUTION
        sizes = ["vocab_size", "context_length", "n_layers", "n_heads", "d_model"]
        if self.d_ff is not None:
            sizes.append("d_ff")
        for name in sizes:
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a positive whole number, got {size!r}")
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads must divide d_model, got n_heads={self.n_heads}, d_model={self.d_model}")
        if self.d_ff is None:
            self.d_ff = 4 * self.d_model  # a number by now
        ### END SOLUTION


def next_token_loss(logits: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """Mean of `-log p(target)` in nats over the positions whose target is not `ignore_index`.

    logits `(..., vocab)`, targets `(...)` of int64 -> a scalar of the logits' dtype.

    Nothing is shifted here: `targets[..., i]` is the token that should follow position i. For a text `ids` that means
    the model reads `ids[:, :-1]` and the targets are `ids[:, 1:]`. Large logits neither overflow nor vanish, and
    tokens ruled out by a logit of `-inf` cost nothing as long as they are not targets; gradients are finite. The mean
    over no position at all is NaN, as in PyTorch.

    Raises ValueError when targets do not have the shape of the logits without the vocabulary, and for a counted target
    outside `0 .. vocab - 1`.
    """
    ### BEGIN SOLUTION
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"targets must have shape {tuple(logits.shape[:-1])}, got {tuple(targets.shape)}")
    counted = targets != ignore_index
    logits, targets = logits[counted], targets[counted]  # (n, vocab), (n,)
    if targets.numel() and (targets.min() < 0 or targets.max() >= logits.shape[-1]):
        raise ValueError(f"targets must lie in 0..{logits.shape[-1] - 1}, got {targets.min()}..{targets.max()}")
    return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()
    ### END SOLUTION


class MiniGPT(nn.Module):
    """A pre-norm decoder-only Transformer with learned positions.

    Attributes, with these names, since later modules and saved weights rely on them:

    - `config`: the `GPTConfig`
    - `token_embedding`: `nn.Embedding`, weight `(vocab_size, d_model)`
    - `position_embedding`: module 02's `LearnedPositionalEmbedding` or an `nn.Embedding`, weight
      `(context_length, d_model)`
    - `blocks`: `nn.ModuleList` of `n_layers` of module 04's `TransformerBlock`, pre-norm
    - `final_norm`: module 04's `LayerNorm` or PyTorch's own, after the last block
    - `lm_head`: `nn.Linear(d_model, vocab_size)` without bias; with `tie_embeddings` its weight is the very parameter
      of the token embedding

    There are no other parameters; buffers, such as a mask that is made once, are yours to choose. Weights start
    wherever PyTorch puts them; `initialise` makes them GPT-2's.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = LearnedPositionalEmbedding(config.context_length, config.d_model)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.d_model, config.n_heads, config.d_ff) for _ in range(config.n_layers)
        )
        self.final_norm = LayerNorm(config.d_model)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.token_embedding.weight
        ### END SOLUTION

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """ids `(b, t)` -> logits `(b, t, vocab)` of the token after each position, and the loss.

        Position i sees the tokens up to i and none after it. With targets `(b, t)` the loss is their
        `next_token_loss`, otherwise it is None.

        Raises ValueError when t exceeds the context length, IndexError for ids outside the vocabulary.
        """
        ### BEGIN SOLUTION
        n_tokens, context_length = ids.shape[1], self.config.context_length
        if n_tokens > context_length:
            raise ValueError(f"ids has {n_tokens} tokens, more than the context length of {context_length}")
        x = self.position_embedding(self.token_embedding(ids))  # (b, t, d)
        mask = causal_mask(n_tokens).to(ids.device)
        for block in self.blocks:
            x = block(x, mask=mask)
        logits = self.lm_head(self.final_norm(x))  # (b, t, vocab)
        return logits, None if targets is None else next_token_loss(logits, targets)
        ### END SOLUTION


def initialise(model: MiniGPT, generator: torch.Generator | None = None) -> MiniGPT:
    """GPT-2's initialisation: sets every parameter of the model in place, and returns the model.

    Weights of embeddings and linear layers are normal with mean 0 and std 0.02. The two layers of each block that
    write into the residual stream, `attention.w_o` and `feed_forward.w_out`, have std `0.02 / sqrt(2 n_layers)`: so
    many terms are added up there, and this keeps the variance of their sum independent of depth (Radford et al. 2019,
    section 2.3). Biases are 0, norm weights 1.

    Parameters stay the objects that they are, tied ones tied, and the model in train or eval mode. Every draw comes
    from `generator`; PyTorch's global random state is used only when there is none.
    """
    ### BEGIN SOLUTION
    residual_std = 0.02 / math.sqrt(2 * model.config.n_layers)
    for name, parameter in model.named_parameters():  # names a tied weight once
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif "norm" in name:
            nn.init.ones_(parameter)
        else:
            writes_residual = name.endswith(("w_o.weight", "w_out.weight"))
            nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)
    return model
    ### END SOLUTION


def count_parameters(config: GPTConfig) -> int:
    """The number of parameters of `MiniGPT(config)` in closed form, without building it; a tied weight counts once.

    GPT-2 small, `GPTConfig(50257, 1024, n_layers=12, n_heads=12, d_model=768)`, has 124,439,808.
    """
    ### BEGIN SOLUTION
    d, d_ff = config.d_model, config.d_ff
    attention = 4 * (d * d + d)  # w_q, w_k, w_v, w_o
    feed_forward = (d * d_ff + d_ff) + (d_ff * d + d)  # w_in, w_out
    norm = 2 * d
    embeddings = (config.vocab_size + config.context_length) * d
    head = 0 if config.tie_embeddings else config.vocab_size * d
    return embeddings + config.n_layers * (attention + feed_forward + 2 * norm) + norm + head
    ### END SOLUTION


def sequence_log_prob(model: nn.Module, ids: Tensor) -> Tensor:
    """Log-probability of each row of `ids` given its first token: the sum over i >= 1 of `log p(ids[i] | ids[:i])`.

    ids `(b, t)` -> `(b,)`, in nats, of the logits' dtype; gradients flow to the model.

    t may be anything from 1, where the empty sum is 0, to `context_length + 1`, since the last token is predicted and
    never read. `model` may be any module whose `model(ids)` returns `(logits, loss)`; it stays in train or eval mode.
    """
    ### BEGIN SOLUTION
    n_predicted = ids.shape[1] - 1
    logits, _ = model(ids[:, : max(n_predicted, 1)])
    log_probs = logits[:, :n_predicted].log_softmax(-1)  # (b, t - 1, vocab)
    return log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1).sum(-1)
    ### END SOLUTION


def generate_greedy(model: nn.Module, ids: Tensor, max_new_tokens: int) -> Tensor:
    """Append the most likely next token, `max_new_tokens` times: `(b, t)` -> `(b, t + max_new_tokens)`.

    The model reads the last `model.config.context_length` tokens at most; the result holds the whole prompt all the
    same. No gradients are recorded, `ids` is left as it is, and a model in train or eval mode stays in it. `model` may
    be any module with that config whose `model(ids)` returns `(logits, loss)`.

    Raises ValueError when `max_new_tokens` is negative or the prompt has no token to start from.
    """
    ### BEGIN SOLUTION
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    if ids.shape[1] == 0:
        raise ValueError(f"ids must hold at least one token to start from, got shape {tuple(ids.shape)}")
    with torch.no_grad():
        for _ in range(max_new_tokens):
            logits, _ = model(ids[:, -model.config.context_length :])
            next_ids = logits[:, -1].argmax(-1, keepdim=True)  # (b, 1)
            ids = torch.cat([ids, next_ids], dim=1)
    return ids
    ### END SOLUTION


def most_likely_sequence(initial_log_probs: Tensor, transition_log_probs: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The likeliest sequence of `length` tokens under a first-order model, by the Viterbi recursion (Viterbi 1967).

    `initial_log_probs[j]`, `(n,)`, is log p(the first token is j); `transition_log_probs[i, j]`, `(n, n)`, is
    log p(j follows i); `-inf` marks what cannot happen. With best_1 the initial log-probabilities and

        best_{t+1}[j] = max_i (best_t[i] + transition[i, j])

    the answer is the largest entry of best_length, and the choices made on the way lead back to its tokens: about
    `length n^2` steps where trying every sequence takes `n^length`.

    Returns ids `(length,)`, int64, and their log-probability, a scalar of the tables' dtype through which gradients
    flow. Among equally likely sequences any will do; when every sequence is impossible the log-probability is `-inf`.
    Raises ValueError when `length` is less than 1 or the tables are not `(n,)` and `(n, n)`.
    """
    ### BEGIN SOLUTION
    n = len(initial_log_probs)
    if initial_log_probs.shape != (n,) or transition_log_probs.shape != (n, n):
        shapes = f"{tuple(initial_log_probs.shape)} and {tuple(transition_log_probs.shape)}"
        raise ValueError(f"initial_log_probs and transition_log_probs must have shapes (n,) and (n, n), got {shapes}")
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    best = initial_log_probs  # (n,), over all sequences so far that end in each token
    came_from = []
    for _ in range(length - 1):
        best, previous = (best[:, None] + transition_log_probs).max(dim=0)
        came_from.append(previous)
    log_prob, token = best.max(dim=0)
    path = [token]
    for previous in reversed(came_from):
        path.append(previous[path[-1]])
    return torch.stack(path[::-1]), log_prob
    ### END SOLUTION
