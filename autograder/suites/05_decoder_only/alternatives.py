"""Unusual right solutions. Each must get full marks."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit(
        "logsumexp_minus_the_chosen_logit",
        "next_token_loss",
        "The log-probability from logsumexp instead of log_softmax.",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "return (logits.logsumexp(-1) - logits.gather(-1, targets[:, None])[:, 0]).mean()",
        ),
    ),
    edit(
        "largest_logit_subtracted_by_hand",
        "next_token_loss",
        "A log-softmax by hand, and a division by the count in place of mean().",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "z = logits - logits.detach().amax(-1, keepdim=True)\n"
            "    log_z = z.exp().sum(-1).log()\n"
            "    return (log_z - z[torch.arange(len(z)), targets]).sum() / counted.sum()",
        ),
    ),
    edit(
        "position_table_as_nn_embedding",
        "MiniGPT",
        "Positions looked up in an nn.Embedding.",
        (
            "self.position_embedding = LearnedPositionalEmbedding(",
            "self.position_embedding = nn.Embedding(",
        ),
        (
            "x = self.position_embedding(self.token_embedding(ids))",
            "x = self.token_embedding(ids) + self.position_embedding(torch.arange(n_tokens, device=ids.device))",
        ),
    ),
    edit(
        "head_built_first",
        "MiniGPT",
        "The head comes first in the list of parameters, and the embedding takes its weight.",
        (
            "        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)\n",
            "        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)\n"
            "        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)\n",
        ),
        (
            "        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)\n        if",
            "        if",
        ),
        (
            "self.lm_head.weight = self.token_embedding.weight",
            "self.token_embedding.weight = self.lm_head.weight",
        ),
    ),
    edit(
        "mask_kept_as_a_buffer",
        "MiniGPT",
        "The mask of the longest text is a persistent buffer, cut to size in each call; the model initialises itself.",
        (
            "        if config.tie_embeddings:\n            self.lm_head.weight = self.token_embedding.weight\n",
            "        if config.tie_embeddings:\n            self.lm_head.weight = self.token_embedding.weight\n"
            "        n = config.context_length\n"
            "        self.register_buffer('mask', torch.ones(1, 1, n, n, dtype=torch.bool).tril())\n"
            "        initialise(self)\n",
        ),
        ("mask = causal_mask(n_tokens).to(ids.device)", "mask = self.mask[:, :, :n_tokens, :n_tokens]"),
    ),
    edit(
        "position_by_position",
        "MiniGPT",
        "The logits of each position from a pass of its own over the tokens up to it.",
        (
            "logits = self.lm_head(self.final_norm(x))  # (b, t, vocab)",
            "rows = []\n"
            "        for i in range(1, n_tokens + 1):\n"
            "            y = self.position_embedding(self.token_embedding(ids[:, :i]))\n"
            "            for block in self.blocks:\n"
            "                y = block(y, causal_mask(i))\n"
            "            rows.append(self.lm_head(self.final_norm(y[:, -1])))\n"
            "        logits = torch.stack(rows, dim=1)",
        ),
    ),
    edit(
        "loss_by_pytorch",
        "MiniGPT",
        "The loss in forward is PyTorch's cross entropy.",
        (
            "next_token_loss(logits, targets)",
            "nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())",
        ),
    ),
    edit(
        "pytorch_layer_norm_at_the_end",
        "MiniGPT",
        "The final norm is PyTorch's own, the blocks run through functools.reduce.",
        ("LayerNorm(config.d_model)", "nn.LayerNorm(config.d_model)"),
        (
            "        for block in self.blocks:\n            x = block(x, mask=mask)\n",
            "        import functools\n\n"
            "        x = functools.reduce(lambda y, block: block(y, mask), self.blocks, x)\n",
        ),
    ),
]


@alternative("GPTConfig", "A frozen dataclass with a field of its own and a property.")
@dataclass(frozen=True)
class Frozen:
    vocab_size: int
    context_length: int
    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 64
    d_ff: int | None = None
    tie_embeddings: bool = True
    dropout: float = 0.0

    def __post_init__(self):
        sizes = (self.vocab_size, self.context_length, self.n_layers, self.n_heads, self.d_model)
        sizes += () if self.d_ff is None else (self.d_ff,)
        if any(type(size) is not int for size in sizes):
            raise TypeError(f"sizes must be ints: {sizes}")
        if min(sizes) <= 0 or self.d_model // self.n_heads * self.n_heads != self.d_model:
            raise ValueError(f"bad sizes: {sizes}")
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", self.d_model * 4)

    @property
    def head_dim(self):
        return self.d_model // self.n_heads


@alternative("next_token_loss", "One position at a time, in Python.")
def loss_in_a_loop(logits, targets, ignore_index=-100, reduction="mean"):
    if logits.ndim != targets.ndim + 1 or any(a != b for a, b in zip(logits.shape, targets.shape)):
        raise ValueError(f"{tuple(logits.shape)} and {tuple(targets.shape)}")
    rows, goals = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1).tolist()
    losses = []
    for row, goal in zip(rows, goals):
        if goal == ignore_index:
            continue
        if goal not in range(len(row)):
            raise IndexError(goal)
        losses.append(torch.logsumexp(row, 0) - row[goal])
    return torch.stack(losses).mean() if losses else logits.new_tensor(math.nan)


@alternative("next_token_loss", "Ignored positions stay in the sum with weight zero; computed in float64.")
def weighted_loss(logits, targets, ignore_index=-100):
    if logits.shape[:-1] != targets.shape:
        raise ValueError("shapes")
    counts = targets.ne(ignore_index)
    safe = torch.where(counts, targets, 0)
    if ((safe < 0) | (safe >= logits.shape[-1])).any():
        raise IndexError("targets")
    log_p = torch.log_softmax(logits.double(), dim=-1)
    picked = torch.take_along_dim(log_p, safe.unsqueeze(-1), dim=-1).squeeze(-1)
    return (torch.where(counts, -picked, 0.0).sum() / counts.sum()).to(logits.dtype)


@alternative(
    "MiniGPT", "Keyword arguments with defaults of its own, helper methods, and the embedding as a matrix product."
)
class WithHelpers(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        self.config = config
        width, vocab = config.d_model, config.vocab_size
        self.blocks = nn.ModuleList([])
        for _ in range(config.n_layers):
            self.blocks.append(TransformerBlock(width, config.n_heads, config.d_ff, True))  # noqa: F821
        self.final_norm = LayerNorm(width)  # noqa: F821
        self.position_embedding = LearnedPositionalEmbedding(config.context_length, width)  # noqa: F821
        self.token_embedding = nn.Embedding(vocab, width)
        self.lm_head = nn.Linear(width, vocab, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.token_embedding.weight
        self.to(device)

    def embed(self, ids):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.config.vocab_size:
            raise IndexError("ids")
        one_hot = nn.functional.one_hot(ids, self.config.vocab_size).to(self.token_embedding.weight.dtype)
        return one_hot @ self.token_embedding.weight + self.position_embedding.weight[None, : ids.size(1)]

    def hidden(self, ids):
        steps = torch.arange(ids.size(1))
        visible = steps[:, None] >= steps
        x = self.embed(ids)
        for i in range(len(self.blocks)):
            x = self.blocks[i](x, mask=visible.expand(x.size(0), 1, -1, -1))
        return self.final_norm(x)

    def forward(self, ids, targets=None, return_hidden=False):
        if ids.size(1) > self.config.context_length:
            raise ValueError("too long")
        hidden = self.hidden(ids)
        logits = torch.einsum("btd,vd->btv", hidden, self.lm_head.weight)
        loss = next_token_loss(logits, targets) if targets is not None else None  # noqa: F821
        return (logits, loss, hidden) if return_hidden else (logits, loss)


@alternative(
    "initialise", "Layer by layer, by type, as GPT-2 implementations often do it; the residual layers drawn twice."
)
def by_type(model, generator=None):
    def draw(weight, std):
        with torch.no_grad():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * std)

    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            draw(module.weight, 0.02)
            if getattr(module, "bias", None) is not None:
                module.bias.data.zero_()
    draw(model.position_embedding.weight, 0.02)
    norms = [model.final_norm] + [norm for block in model.blocks for norm in (block.norm_1, block.norm_2)]
    for norm in norms:
        norm.weight.data.fill_(1.0)
        norm.bias.data.fill_(0.0)
    for block in model.blocks:
        for layer in (block.attention.w_o, block.feed_forward.w_out):
            draw(layer.weight, 0.02 / math.sqrt(2 * len(model.blocks)))
    return model


@alternative("initialise", "One long draw, dealt out to the parameters.")
def one_draw(model, generator=None):
    parameters = dict(model.named_parameters())
    total = sum(p.numel() for p in parameters.values())
    numbers = torch.empty(total).normal_(0.0, 0.02, generator=generator)
    depth = model.config.n_layers
    with torch.no_grad():
        for (name, parameter), part in zip(parameters.items(), numbers.split([p.numel() for p in parameters.values()])):
            if name.endswith(".bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.zero_().add_(1)
            elif "w_o." in name or "w_out." in name:
                parameter.copy_(part.view_as(parameter) * (2 * depth) ** -0.5)
            else:
                parameter.copy_(part.view_as(parameter))
    return model


@alternative("count_parameters", "A polynomial in the width.")
def polynomial(config):
    d, f, v, t, n = config.d_model, config.d_ff, config.vocab_size, config.context_length, config.n_layers
    return 4 * n * d**2 + d * (n * (2 * f + 9) + v * (2 - bool(config.tie_embeddings)) + t + 2) + n * f


@alternative("count_parameters", "A list of shapes, multiplied and added up.")
def by_shapes(config):
    d, f = config.d_model, config.d_ff
    block = [(d, d), (d,)] * 4 + [(f, d), (f,), (d, f), (d,)] + [(d,)] * 4
    shapes = [(config.vocab_size, d), (config.context_length, d), (d,), (d,)]
    if not config.tie_embeddings:
        shapes.append((config.vocab_size, d))
    return sum(map(math.prod, shapes)) + config.n_layers * sum(map(math.prod, block))


@alternative("sequence_log_prob", "Text by text and token by token, each prefix read from scratch.")
def prefix_by_prefix(model, ids):
    values = []
    for row in ids:
        total = 0.0
        for i in range(1, len(row)):
            logits, _ = model(row[None, :i])
            total = total + torch.log_softmax(logits[0, -1], dim=0)[row[i]]
        values.append(total)
    if ids.shape[1] == 1:
        return next(model.parameters()).new_zeros(len(ids))
    return torch.stack(values)


@alternative("sequence_log_prob", "From PyTorch's cross entropy, with the single token on its own.")
def minus_cross_entropy(model, ids):
    b, t = ids.shape
    if t == 1:
        return model(ids)[0].sum((1, 2)) * 0
    logits = model(ids[:, :-1])[0]
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return losses.sum(dim=1).neg()


@alternative(
    "sequence_log_prob", "As many predictions as there are tokens after the first, an empty input for a single one."
)
def empty_input(model, ids):
    log_p = nn.functional.log_softmax(model(ids[:, :-1])[0], dim=-1)
    batch, place = torch.arange(len(ids))[:, None], torch.arange(ids.shape[1] - 1)
    return log_p[batch, place, ids[:, 1:]].sum(1)


@alternative("generate_greedy", "A recursive function under inference mode; the last logits through topk.")
def recursive(model, ids, max_new_tokens):
    if max_new_tokens < 0 or ids.size(1) < 1:
        raise ValueError("nothing to generate from")
    with torch.inference_mode():

        def grow(text, n):
            if n == 0:
                return text
            read = text[:, max(0, text.size(1) - model.config.context_length) :]
            choice = model(read)[0][:, -1].topk(1).indices
            return grow(torch.hstack((text, choice)), n - 1)

        return grow(ids.clone(), max_new_tokens)


@alternative(
    "generate_greedy", "The result is allocated once; evaluation mode meanwhile, and what was found afterwards."
)
def preallocated(model, ids, max_new_tokens, verbose=False):
    b, t = ids.shape
    if max_new_tokens < 0:
        raise ValueError("max_new_tokens")
    if not t:
        raise ValueError("ids")
    was_training = model.training
    model.eval()
    text = torch.zeros(b, t + max_new_tokens, dtype=torch.long)
    text[:, :t] = ids
    try:
        with torch.no_grad():
            for end in range(t, t + max_new_tokens):
                start = max(0, end - model.config.context_length)
                text[:, end] = model(text[:, start:end])[0][:, -1, :].max(dim=-1)[1]
    finally:
        model.train(was_training)
    return text


@alternative("generate_greedy", "Each text of the batch by itself, as a Python list.")
def one_text_at_a_time(model, ids, max_new_tokens):
    if max_new_tokens < 0 or ids.shape[-1] == 0:
        raise ValueError("arguments")

    @torch.no_grad()
    def continued(text):
        for _ in range(max_new_tokens):
            logits = model(torch.tensor([text[-model.config.context_length :]]))[0]
            text.append(int(logits[0, -1].argmax()))
        return text

    return torch.tensor([continued(row) for row in ids.tolist()])


@alternative(
    "most_likely_sequence",
    "Backwards: the best score of everything that can still follow, then the path from the front.",
)
def backwards(initial_log_probs, transition_log_probs, length):
    n = initial_log_probs.shape[0]
    if length < 1 or tuple(initial_log_probs.shape) != (n,) or tuple(transition_log_probs.shape) != (n, n):
        raise ValueError("arguments")
    to_come = [torch.zeros_like(initial_log_probs)]
    for _ in range(length - 1):
        to_come.append((transition_log_probs + to_come[-1]).amax(dim=1))
    ids = [int((initial_log_probs + to_come.pop()).argmax())]
    log_prob = initial_log_probs[ids[0]]
    while to_come:
        ids.append(int((transition_log_probs[ids[-1]] + to_come.pop()).argmax()))
        log_prob = log_prob + transition_log_probs[ids[-2], ids[-1]]
    return torch.tensor(ids), log_prob


@alternative(
    "most_likely_sequence",
    "Whole paths are carried along in Python lists; the score is read from the tables at the end.",
)
def paths_carried(initial_log_probs, transition_log_probs, length):
    if initial_log_probs.ndim != 1 or length < 1:
        raise ValueError("arguments")
    n = len(initial_log_probs)
    if transition_log_probs.shape != torch.Size([n, n]):
        raise ValueError("arguments")
    first, step = initial_log_probs.tolist(), transition_log_probs.tolist()
    best = [(first[j], [j]) for j in range(n)]
    for _ in range(length - 1):
        best = [max(((s + step[path[-1]][j], path + [j]) for s, path in best), key=lambda x: x[0]) for j in range(n)]
    path = torch.tensor(max(best, key=lambda x: x[0])[1])
    return path, initial_log_probs[path[0]] + transition_log_probs[path[:-1], path[1:]].sum()


@alternative("most_likely_sequence", "Divide and conquer: the best way from each token to each other, in halves.")
def halves(initial_log_probs, transition_log_probs, length):
    n = len(initial_log_probs)
    if initial_log_probs.shape != (n,) or transition_log_probs.shape != (n, n) or length < 1:
        raise ValueError("arguments")

    def ways(steps):
        """Best scores (n, n) of `steps` steps from i to j, and the tokens after i on them, (n, n, steps)."""
        if steps == 1:
            return transition_log_probs, torch.arange(n).expand(n, n)[..., None]
        left, left_path = ways(steps // 2)
        right, right_path = ways(steps - steps // 2)
        score, middle = (left[:, :, None] + right[None]).max(dim=1)
        i, j = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
        return score, torch.cat([left_path[i, middle], right_path[middle, j]], dim=-1)

    if length == 1:
        log_prob, first = initial_log_probs.max(0)
        return first[None], log_prob
    score, path = ways(length - 1)
    total = initial_log_probs[:, None] + score
    best = int(total.argmax())
    return torch.cat([torch.tensor([best // n]), path[best // n, best % n]]), total[best // n, best % n]


@alternative("GPTConfig", "Frozen, with slots, and fills in d_ff past its own lock.")
@dataclass(frozen=True, slots=True)
class FrozenConfig:
    vocab_size: int
    context_length: int
    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 64
    d_ff: int | None = None
    tie_embeddings: bool = True

    def __post_init__(self):
        import numbers

        if self.d_ff is None:
            object.__setattr__(self, "d_ff", 4 * self.d_model)
        for name in ("vocab_size", "context_length", "n_layers", "n_heads", "d_model", "d_ff"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral):
                raise TypeError(f"{name}: {value!r}")
            if value <= 0:
                raise ValueError(name)
        if self.d_model % self.n_heads != 0:
            raise ValueError("n_heads")


@alternative("initialise", "Module by module, and the residual layers shrunk afterwards.")
def shrunk_afterwards(model, generator=None):
    done = set()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                if id(part.weight) not in done:
                    part.weight.copy_(torch.randn(part.weight.shape, generator=generator, dtype=part.weight.dtype) * 0.02)
                    done.add(id(part.weight))
                if getattr(part, "bias", None) is not None:
                    part.bias.zero_()
            elif isinstance(part, LayerNorm):
                part.weight.fill_(1.0)
                part.bias.fill_(0.0)
        model.position_embedding.weight.normal_(0.0, 0.02, generator=generator)
        for block in model.blocks:
            for layer in (block.attention.w_o, block.feed_forward.w_out):
                layer.weight.mul_((2 * len(model.blocks)) ** -0.5)
    return model


@alternative("most_likely_sequence", "From the end backwards: the best that can still come after each token.")
def best_that_can_still_come(initial_log_probs, transition_log_probs, length):
    n = initial_log_probs.numel()
    if tuple(initial_log_probs.shape) != (n,) or tuple(transition_log_probs.shape) != (n, n) or length < 1:
        raise TypeError("tables or length")
    future, choices = torch.zeros_like(initial_log_probs), []
    for _ in range(length - 1):
        future, choice = (transition_log_probs + future).max(1)
        choices.insert(0, choice)
    total = initial_log_probs + future
    ids = [int(total.argmax())]
    for choice in choices:
        ids.append(int(choice[ids[-1]]))
    return torch.tensor(ids), total[ids[0]]


ALTERNATIVES += [
    edit(
        "float32_for_half_precision",
        "next_token_loss",
        "Half precision is computed in float32 and rounded once at the end.",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "wide = logits.to(torch.promote_types(logits.dtype, torch.float32))\n"
            "    return wide.log_softmax(-1).gather(-1, targets[:, None]).mean().neg().to(logits.dtype)",
        ),
    ),
    edit(
        "one_hot_chosen_by_where",
        "next_token_loss",
        "A boolean one-hot matrix, and zeros where it is false.",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "chosen = torch.arange(logits.shape[-1]) == targets[:, None]\n"
            "    return -torch.where(chosen, logits.log_softmax(-1), 0.0).sum() / len(targets)",
        ),
    ),
    edit(
        "blocks_in_a_sequential",
        "MiniGPT",
        "The blocks are held by an nn.Sequential that is walked through, one mask is kept for each length.",
        (
            "        self.blocks = nn.ModuleList(\n            TransformerBlock(config.d_model, config.n_heads, config.d_ff)"
            " for _ in range(config.n_layers)\n        )\n",
            "        self.masks = {}\n        self.blocks = nn.Sequential()\n"
            "        for i in range(config.n_layers):\n"
            "            self.blocks.add_module(str(i), TransformerBlock(config.d_model, config.n_heads, config.d_ff))\n",
        ),
        (
            "mask = causal_mask(n_tokens).to(ids.device)",
            "if n_tokens not in self.masks:\n            self.masks[n_tokens] = causal_mask(n_tokens)\n"
            "        mask = self.masks[n_tokens].to(ids.device)",
        ),
    ),
    edit(
        "activations_recomputed",
        "MiniGPT",
        "The blocks' activations are recomputed in the backward pass, and ends are tied again in every call.",
        (
            "        n_tokens, context_length =",
            "        from torch.utils.checkpoint import checkpoint\n\n"
            "        if self.config.tie_embeddings:\n            self.lm_head.weight = self.token_embedding.weight\n"
            "        n_tokens, context_length =",
        ),
        ("x = block(x, mask=mask)", "x = checkpoint(block, x, mask, use_reentrant=False)"),
    ),
    edit(
        "no_dropout_yet",
        "MiniGPT",
        "A dropout layer of probability 0 and a head through F.linear and the embedding's own weight.",
        (
            "        self.final_norm =",
            "        self.drop = nn.Dropout(0.0)\n        self.final_norm =",
        ),
        (
            "x = self.position_embedding(self.token_embedding(ids))",
            "x = self.drop(self.position_embedding(self.token_embedding(ids)))",
        ),
        (
            "self.lm_head(self.final_norm(x))",
            "nn.functional.linear(\n            self.final_norm(x),\n"
            "            self.token_embedding.weight if self.config.tie_embeddings else self.lm_head.weight,\n        )",
        ),
    ),
    edit(
        "box_and_muller",
        "initialise",
        "Normal numbers made of uniform ones (Box and Muller 1958), in float64, the last parameter first.",
        ("in model.named_parameters():", "in reversed(list(model.named_parameters())):"),
        (
            "            nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "            std = residual_std if writes_residual else 0.02\n"
            "            u, v = torch.rand((2, *parameter.shape), generator=generator, dtype=torch.float64)\n"
            "            normal = (-2 * (1 - u).log()).sqrt() * (2 * math.pi * v).cos()\n"
            "            parameter.data.copy_(std * normal)",
        ),
    ),
    edit(
        "new_data",
        "initialise",
        "The parameters get new data, drawn by torch.normal.",
        (
            "            nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "            std = residual_std if writes_residual else 0.02\n"
            "            parameter.data = torch.normal(0.0, std, parameter.shape, generator=generator).to(parameter)",
        ),
    ),
    edit(
        "a_distribution_for_each_position",
        "sequence_log_prob",
        "The log-probabilities come from torch.distributions.",
        (
            "    log_probs = logits[:, :n_predicted].log_softmax(-1)  # (b, t - 1, vocab)\n"
            "    return log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1).sum(-1)",
            "    if not n_predicted:\n        return logits.new_zeros(len(ids))\n"
            "    predicted = torch.distributions.Categorical(logits=logits[:, :n_predicted])\n"
            "    return predicted.log_prob(ids[:, 1:]).sum(1)",
        ),
    ),
    edit(
        "mapped_over_the_batch",
        "sequence_log_prob",
        "Row by row through torch.vmap.",
        (
            "return log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1).sum(-1)",
            "return torch.vmap(lambda p, y: p.gather(-1, y[:, None]).sum())(log_probs, ids[:, 1:])",
        ),
    ),
    edit(
        "loss_times_length",
        "sequence_log_prob",
        "Minus the mean loss of each row, times the number of its predictions.",
        (
            "    log_probs = logits",
            "    if n_predicted:\n"
            "        return torch.stack([next_token_loss(z, y) for z, y in zip(logits, ids[:, 1:])]) * -n_predicted\n"
            "    log_probs = logits",
        ),
    ),
    edit(
        "weights_frozen_meanwhile",
        "generate_greedy",
        "The weights require no gradients meanwhile, and what they did before afterwards; the maximum is NumPy's.",
        (
            "    with torch.no_grad():\n        for",
            "    found = [(weight, weight.requires_grad) for weight in model.parameters()]\n"
            "    try:\n        model.requires_grad_(False)\n        for",
        ),
        ("logits[:, -1].argmax(-1, keepdim=True)", "torch.from_numpy(logits[:, -1].numpy().argmax(-1))[:, None]"),
        (
            "    return ids\n",
            "    finally:\n        for weight, required in found:\n            weight.requires_grad_(required)\n    return ids\n",
        ),
    ),
]


@alternative("GPTConfig", "A dataclass with a __new__ of its own, whose fields are checked by a match statement.")
@dataclass
class Sizes:
    vocab_size: int
    context_length: int
    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 64
    d_ff: int | None = None
    tie_embeddings: bool = True

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __post_init__(self):
        self.d_ff = 4 * self.d_model if self.d_ff is None else self.d_ff
        for name, value in vars(self).items():
            match value:
                case bool() if name == "tie_embeddings":
                    continue
                case int() if value > 0:
                    continue
            raise ValueError(f"{name}={value!r}")
        if divmod(self.d_model, self.n_heads)[1]:
            raise ValueError(f"n_heads={self.n_heads}, d_model={self.d_model}")


@alternative("next_token_loss", "A function with a backward pass of its own: softmax minus one-hot.")
def own_backward(logits, targets, ignore_index=-100):
    if logits.shape[:-1] != targets.shape:
        raise ValueError("shapes")
    counted = targets != ignore_index
    if counted.any() and not 0 <= targets[counted].min() <= targets[counted].max() < logits.shape[-1]:
        raise ValueError("targets")

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z, y):
            log_p = z.log_softmax(-1)
            ctx.save_for_backward(log_p, y)
            return -log_p[torch.arange(len(y)), y].mean()

        @staticmethod
        def backward(ctx, grad):
            log_p, y = ctx.saved_tensors
            grad_z = log_p.exp()
            grad_z[torch.arange(len(y)), y] -= 1
            return grad_z * grad / len(y), None

    return Loss.apply(logits[counted], targets[counted])


@alternative("most_likely_sequence", "From the top down, each subproblem remembered; plain Python floats.")
def remembered(initial_log_probs, transition_log_probs, length):
    import functools

    n = initial_log_probs.shape[0] if initial_log_probs.ndim == 1 else -1
    if transition_log_probs.shape != (n, n) or length < 1:
        raise ValueError("arguments")
    first, step = initial_log_probs.tolist(), transition_log_probs.tolist()

    @functools.cache
    def best(t, j):
        """The best score of t + 1 tokens that end in j, and the token before j."""
        return max((best(t - 1, i)[0] + step[i][j], i) for i in range(n)) if t else (first[j], -1)

    ids = [max(range(n), key=lambda j: best(length - 1, j))]
    for t in range(length - 1, 0, -1):
        ids.append(best(t, ids[-1])[1])
    ids = torch.tensor(ids[::-1])
    return ids, sum((transition_log_probs[i, j] for i, j in zip(ids, ids[1:])), initial_log_probs[ids[0]])


@alternative("most_likely_sequence", "The table in NumPy, the score from PyTorch's tables.")
def in_numpy(initial_log_probs, transition_log_probs, length):
    import numpy as np

    n = len(initial_log_probs)
    if tuple(initial_log_probs.shape) != (n,) or tuple(transition_log_probs.shape) != (n, n) or length < 1:
        raise ValueError("arguments")
    best, step = (table.detach().double().numpy() for table in (initial_log_probs, transition_log_probs))
    before = np.zeros((length, n), dtype=np.int64)
    for t in range(1, length):
        before[t] = (best[:, None] + step).argmax(0)
        best = (best[:, None] + step).max(0)
    ids = np.empty(length, dtype=np.int64)
    ids[-1] = best.argmax()
    for t in range(length - 1, 0, -1):
        ids[t - 1] = before[t, ids[t]]
    ids = torch.from_numpy(ids)
    return ids, initial_log_probs[ids[0]] + transition_log_probs[ids[:-1], ids[1:]].sum()


@alternative("most_likely_sequence", "No backpointers: the gradient of the best score says which steps it takes.")
def read_off_the_gradient(initial_log_probs, transition_log_probs, length):
    n = len(initial_log_probs)
    if initial_log_probs.shape != (n,) or transition_log_probs.shape != (n, n) or length < 1:
        raise ValueError("arguments")
    with torch.enable_grad():
        first = initial_log_probs.detach().clone().requires_grad_()
        steps = [transition_log_probs.detach().clone().requires_grad_() for _ in range(length - 1)]
        best = first
        for step in steps:
            best = (best[:, None] + step).max(0).values
        taken = torch.autograd.grad(best.max(0).values, [first, *steps])
    ids = torch.stack([grad.argmax() % n for grad in taken])
    return ids, initial_log_probs[ids[0]] + transition_log_probs[ids[:-1], ids[1:]].sum()


ALTERNATIVES += [
    edit(
        "small_ids_and_a_flat_loss",
        "MiniGPT",
        "ids in 32 bits, a mask of ones, the loss of all positions in one row.",
        ("self.token_embedding(ids)", "self.token_embedding(ids.to(torch.int32))"),
        ("causal_mask(n_tokens).to(ids.device)", "torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()"),
        ("next_token_loss(logits, targets)", "next_token_loss(logits.flatten(0, 1), targets.reshape(-1), ignore_index=-100)"),
    ),
    edit(
        "no_targets_given",
        "generate_greedy",
        "The model is called with targets=None.",
        ("model(ids[:, -model.config.context_length :])", "model(ids[:, -model.config.context_length :], None)"),
    ),
    edit(
        "sorted_by_logit",
        "generate_greedy",
        "A narrow window, and the first of the tokens sorted by their logits.",
        (
            "model(ids[:, -model.config.context_length :])",
            "model(ids.narrow(1, max(0, ids.shape[1] - model.config.context_length),"
            " min(ids.shape[1], model.config.context_length)))",
        ),
        ("logits[:, -1].argmax(-1, keepdim=True)", "logits.select(1, -1).sort(-1, descending=True).indices[:, :1]"),
    ),
]


@alternative("sequence_log_prob", "A generator of steps, added up by reduce; its arguments are positional only.")
def added_up_step_by_step(model, ids, /):
    import functools
    import operator

    def steps():
        if ids.size(1) < 2:
            yield model(ids)[0][:, 0, 0] * 0
            return
        logits = model(ids[:, :-1])[0]
        for i in range(logits.size(1)):
            yield logits[:, i].log_softmax(1)[range(len(ids)), ids[:, i + 1]]

    return functools.reduce(operator.add, steps())


@alternative("GPTConfig", "Sizes are checked whenever one is set.")
@dataclass(order=True, unsafe_hash=True)
class CheckedWhenSet:
    vocab_size: int
    context_length: int
    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 64
    d_ff: int | None = None
    tie_embeddings: bool = True

    def __setattr__(self, name, value):
        if name != "tie_embeddings" and not (name == "d_ff" and value is None):
            if type(value) is not int or value < 1:
                raise TypeError(f"{name} must be a positive whole number")
        object.__setattr__(self, name, value)

    def __post_init__(self):
        self.d_ff = self.d_ff or 4 * self.d_model
        if self.d_model % self.n_heads:
            raise ValueError("n_heads must divide d_model")


@alternative("generate_greedy", "A generator of new tokens that keeps no more than the window that the model reads.")
def stream(model, ids, max_new_tokens):
    if max_new_tokens < 0 or not ids.size(1):
        raise ValueError("nothing to do, or nothing to start from")

    def new_tokens(window):
        for _ in range(max_new_tokens):
            window = window[:, -model.config.context_length :]
            with torch.no_grad():
                new = torch.argmax(model(window)[0][:, -1, :], dim=-1)[:, None]
            window = torch.cat((window, new), 1)
            yield new

    return torch.cat([ids, *new_tokens(ids)], dim=1)


@alternative("most_likely_sequence", "The cheapest path from a heap, as Dijkstra found it; the score is read from the tables.")
def cheapest_path(initial_log_probs, transition_log_probs, length):
    import heapq

    n = initial_log_probs.numel()
    if initial_log_probs.ndim != 1 or transition_log_probs.shape != (n, n) or length < 1:
        raise ValueError("sizes")
    first, step = initial_log_probs.tolist(), transition_log_probs.tolist()
    heap, came_from = [(-score, 0, j, None) for j, score in enumerate(first)], {}
    heapq.heapify(heap)
    while True:
        cost, t, j, previous = heapq.heappop(heap)
        if (t, j) in came_from:
            continue
        came_from[t, j] = previous
        if t == length - 1:
            break
        for k in range(n):
            if (t + 1, k) not in came_from:
                heapq.heappush(heap, (cost - step[j][k], t + 1, k, j))
    path = [j]
    for t in range(length - 1, 0, -1):
        path.append(came_from[t, path[-1]])
    path = torch.tensor(path[::-1])
    return path, initial_log_probs[path[0]] + transition_log_probs[path[:-1], path[1:]].sum()
