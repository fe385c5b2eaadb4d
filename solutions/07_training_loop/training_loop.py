"""Training: from a model with random weights to one that has learnt its text.

The loop is short, and it is the same for a 64-dim Mini-GPT as for the largest models there are:

    x, y = a batch of the text, and the same batch one token further on
    loss = the mean of -log p(y) under the model's prediction from x
    its gradient, by backpropagation; no longer than max_norm
    one step of AdamW, at the learning rate that the schedule gives for this step

Around it stand the things that decide whether a run of hours is worth anything: a loss on text that the model has never seen,
measured without disturbing the run, and checkpoints from which the run goes on as if it had never stopped.

Sources: Polyak 1964 (momentum); Kingma & Ba 2015 (Adam); Loshchilov & Hutter 2019 (the decay of AdamW) and 2017 (the cosine);
Pascanu et al. 2013 (clipping); Goyal et al. 2017 (warm-up).
"""

import math
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


def check_targets(logits: Tensor, targets: Tensor) -> None:
    """ValueError unless targets have logits' shape without the vocabulary, and lie in 0 .. vocab - 1."""
    if targets.shape != logits.shape[:-1]:
        raise ValueError(f"targets must have shape {tuple(logits.shape[:-1])}, not {tuple(targets.shape)}")
    unknown = targets[(targets < 0) | (targets >= logits.shape[-1])]
    if len(unknown):
        raise ValueError(f"targets must be tokens from 0 to {logits.shape[-1] - 1}, not {unknown[0]}")


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean of -log p(target) over all targets, in nats, where p is the softmax of the logits.

    Large logits neither overflow nor vanish. A token of logit -inf has no probability: it costs nothing as long as it is no
    target, and infinitely much where it is one. Gradients flow, and are finite where the loss is. Half precision (float16,
    bfloat16) is computed in float32.

    logits (..., vocab), targets (...), int64, at least one -> (), in logits' dtype. ValueError where targets have not the shape
    of the logits without the vocabulary, or lie outside 0 .. vocab - 1.
    """
    ### BEGIN SOLUTION
    check_targets(logits, targets)
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    chosen = wide.log_softmax(-1).gather(-1, targets.unsqueeze(-1))  # (..., 1)
    return -chosen.mean().to(logits.dtype)
    ### END SOLUTION


def cross_entropy_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient of `cross_entropy(logits, targets)` with respect to the logits, in closed form: no graph is walked.

    What the model predicts less what was there, for each target, divided by the number of all targets. Where there is no target
    at all the result is empty. Half precision is computed in float32.

    logits (..., vocab), targets (...), int64 -> (..., vocab), in logits' dtype. ValueError as for `cross_entropy`.
    """
    ### BEGIN SOLUTION
    check_targets(logits, targets)
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    predicted = wide.softmax(-1)
    observed = torch.zeros_like(wide).scatter(-1, targets.unsqueeze(-1), 1.0)  # one-hot
    return ((predicted - observed) / targets.numel()).to(logits.dtype)
    ### END SOLUTION


class SGD:
    """Gradient descent with momentum. For each parameter p, with gradient g and velocity v:

        v = momentum * v + g        p = p - lr * v

    The velocity begins as 0, so without momentum it is the gradient itself. PyTorch's SGD does the same.

    `params` is any iterable of tensors, a generator such as `model.parameters()` among them; it is read once. `lr` is an
    attribute that may be set between steps. ValueError where there are no parameters, lr is negative, or momentum is not from 0
    to below 1.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.0):
        ### BEGIN SOLUTION
        self.params = list(params)
        if not self.params:
            raise ValueError("params must hold at least one parameter")
        if not lr >= 0:
            raise ValueError(f"lr must not be negative, got {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1, not {momentum}")
        self.lr, self.momentum = lr, momentum
        self._velocities = [torch.zeros_like(p) for p in self.params]
        ### END SOLUTION

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients that are there, in place. A parameter whose grad is None is left alone, its velocity too.

        Gradients stay as they are, and nothing that is kept here changes when they do.
        """
        ### BEGIN SOLUTION
        for p, velocity in zip(self.params, self._velocities):
            if p.grad is not None:
                velocity.mul_(self.momentum).add_(p.grad)
                p.sub_(velocity, alpha=self.lr)
        ### END SOLUTION

    def zero_grad(self) -> None:
        """Every parameter's grad becomes None."""
        ### BEGIN SOLUTION
        for p in self.params:
            p.grad = None
        ### END SOLUTION

    def state_dict(self) -> dict:
        """All that the next steps depend on beside parameters and gradients: `lr`, momentum, the velocities.

        A snapshot of plain values (dicts, lists, numbers, tensors): later steps do not change it.
        """
        ### BEGIN SOLUTION
        return {"lr": self.lr, "momentum": self.momentum, "velocities": [v.clone() for v in self._velocities]}
        ### END SOLUTION

    def load_state_dict(self, state: dict) -> None:
        """Go on as the optimiser did whose `state_dict()` this is. The snapshot can be loaded again after any number of steps.

        ValueError where it is of another number of parameters.
        """
        ### BEGIN SOLUTION
        if len(state["velocities"]) != len(self.params):
            raise ValueError(f"state is of {len(state['velocities'])} parameters, not of {len(self.params)}")
        self.lr, self.momentum = state["lr"], state["momentum"]
        for velocity, saved in zip(self._velocities, state["velocities"]):
            velocity.copy_(saved)
        ### END SOLUTION


class AdamW:
    """Adam with decoupled weight decay. For each parameter p with gradient g, at its t-th step (t = 1, 2, ...):

        m = beta_1 * m + (1 - beta_1) * g           p = p - lr * weight_decay * p
        s = beta_2 * s + (1 - beta_2) * g ** 2      p = p - lr * m_hat / (sqrt(s_hat) + eps)

    m and s, running means of the gradient and of its square, begin as 0 and are therefore too small at first: m_hat is
    m / (1 - beta_1 ** t), and s_hat is s / (1 - beta_2 ** t). The decay takes the old p and never enters the means. PyTorch's
    AdamW does the same, and has the same defaults.

    `params` is any iterable of tensors, a generator such as `model.parameters()` among them; it is read once. `lr` is an
    attribute that may be set between steps. ValueError where there are no parameters, lr, eps or weight_decay is negative, or
    one of the betas is not from 0 to below 1. Source: Loshchilov & Hutter 2019, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        ### BEGIN SOLUTION
        self.params = list(params)
        if not self.params:
            raise ValueError("params must hold at least one parameter")
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be from 0 to below 1, not {betas}")
        self.lr, self.betas, self.eps, self.weight_decay = lr, tuple(betas), eps, weight_decay
        self._n_steps = [0 for _ in self.params]
        self._means = [torch.zeros_like(p) for p in self.params]
        self._squares = [torch.zeros_like(p) for p in self.params]
        ### END SOLUTION

    @torch.no_grad()
    def step(self) -> None:
        """One step from the gradients that are there, in place.

        A parameter whose grad is None is left alone, and so are its means and its count of steps. Gradients stay as they are, and
        nothing that is kept here changes when they do.
        """
        ### BEGIN SOLUTION
        beta_1, beta_2 = self.betas
        for i, (p, mean, square) in enumerate(zip(self.params, self._means, self._squares)):
            if p.grad is None:
                continue
            self._n_steps[i] += 1
            t = self._n_steps[i]
            mean.mul_(beta_1).add_(p.grad, alpha=1 - beta_1)
            square.mul_(beta_2).addcmul_(p.grad, p.grad, value=1 - beta_2)
            root = (square / (1 - beta_2**t)).sqrt_().add_(self.eps)
            p.mul_(1 - self.lr * self.weight_decay)
            p.addcdiv_(mean, root, value=-self.lr / (1 - beta_1**t))
        ### END SOLUTION

    def zero_grad(self) -> None:
        """Every parameter's grad becomes None."""
        ### BEGIN SOLUTION
        for p in self.params:
            p.grad = None
        ### END SOLUTION

    def state_dict(self) -> dict:
        """All that the next steps depend on beside parameters and gradients: `lr` and the other numbers, means, counts of steps.

        A snapshot of plain values (dicts, lists, numbers, tensors): later steps do not change it.
        """
        ### BEGIN SOLUTION
        return {
            **{name: getattr(self, name) for name in ("lr", "betas", "eps", "weight_decay")},
            "n_steps": list(self._n_steps),
            "means": [mean.clone() for mean in self._means],
            "squares": [square.clone() for square in self._squares],
        }
        ### END SOLUTION

    def load_state_dict(self, state: dict) -> None:
        """Go on as the optimiser did whose `state_dict()` this is. The snapshot can be loaded again after any number of steps.

        ValueError where it is of another number of parameters.
        """
        ### BEGIN SOLUTION
        if len(state["means"]) != len(self.params):
            raise ValueError(f"state is of {len(state['means'])} parameters, not of {len(self.params)}")
        self.lr, self.betas, self.eps, self.weight_decay = (state[name] for name in ("lr", "betas", "eps", "weight_decay"))
        self._n_steps = list(state["n_steps"])
        for own, saved in zip(self._means + self._squares, state["means"] + state["squares"]):
            own.copy_(saved)
        ### END SOLUTION


@torch.no_grad()
def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> Tensor:
    """Make the gradient no longer than max_norm, and return the length that it had before.

    All gradients together are one long vector, of which the 2-norm is taken. If that is more than max_norm, every gradient is
    multiplied in place by max_norm / norm, so that the direction stays; otherwise all stay as they are. (PyTorch divides by
    norm + 1e-6, and you may, too.) Gradients of 0 stay 0, and a max_norm of infinity clips nothing. The squares of half precision
    are added up in float32 or better, for in float16 two squares of 200 are too many; those of float64 in float64. Nor is the
    factor rounded to half precision.

    `params` is any iterable of tensors, a generator among them; those whose grad is None count as nothing. The norm is a
    scalar, in float64 where all gradients are, and 0 where there is none. ValueError unless max_norm is 0 or more. Source:
    Pascanu et al. 2013, algorithm 1.
    """
    ### BEGIN SOLUTION
    if not max_norm >= 0:
        raise ValueError(f"max_norm must not be negative, got {max_norm}")
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    norm = torch.stack([grad.double().square().sum() for grad in grads]).sum().sqrt()
    if norm > max_norm:
        for grad in grads:
            grad.mul_(max_norm / norm)
    return norm
    ### END SOLUTION


def cosine_schedule(step: int, warmup_steps: int, total_steps: int, max_lr: float, min_lr: float) -> float:
    """The learning rate of a step, the first of which is step 0: up in a straight line, down along half a cosine.

    - Before `warmup_steps`: max_lr * (step + 1) / (warmup_steps + 1), so the first step is a small one and not nothing.
    - At `warmup_steps`: max_lr. From there to `total_steps` the cosine leads from max_lr to min_lr, with the mean of the two
      halfway.
    - From `total_steps` on: min_lr.

    ValueError where step is negative, or warmup_steps is not from 0 to total_steps. Source: Loshchilov & Hutter 2017, equation 5.
    """
    ### BEGIN SOLUTION
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps must be from 0 to total_steps={total_steps}, not {warmup_steps}")
    if step >= total_steps:
        return min_lr
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / (total_steps - warmup_steps)  # from 0 to below 1
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * done)) / 2
    ### END SOLUTION


def get_batch(data: Tensor, batch_size: int, context_length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pieces of the text, from places drawn at random, and the token that follows each position of them.

    Row i of x is `data[s : s + context_length]` and row i of y is `data[s + 1 : s + 1 + context_length]`. The place s is drawn
    for each row by itself, and every s that leaves room for y is equally probable, the first and the last one, too. So two rows
    may come from one place, and batch_size may be anything.

    data (n,), int64 or a smaller integer type -> x and y, both (batch_size, context_length), int64, copies. All randomness comes
    from `generator`. ValueError where batch_size or context_length is below 1, or data has fewer than context_length + 1 tokens.
    """
    ### BEGIN SOLUTION
    if batch_size < 1 or context_length < 1:
        raise ValueError(f"batch_size and context_length must be at least 1, not {batch_size} and {context_length}")
    if len(data) < context_length + 1:
        raise ValueError(f"data has {len(data)} tokens, fewer than context_length + 1 = {context_length + 1}")
    starts = torch.randint(len(data) - context_length, (batch_size, 1), generator=generator)
    pieces = data[starts + torch.arange(context_length + 1)].long()  # (batch_size, context_length + 1)
    return pieces[:, :-1], pieces[:, 1:]
    ### END SOLUTION


class CharVocabulary:
    """The characters of a text and their numbers: the simplest tokenizer there is.

    Each different character (Unicode code point) gets an id, from 0 on, in the order of the code points: the same characters get
    the same ids, however the text arranges them. `chars` is the string of all characters in that order, and
    `CharVocabulary(vocabulary.chars)` is the same vocabulary again.
    """

    def __init__(self, text: str):
        ### BEGIN SOLUTION
        self.chars = "".join(sorted(set(text)))
        self._ids = {char: i for i, char in enumerate(self.chars)}
        ### END SOLUTION

    def __len__(self) -> int:
        """How many different characters there are."""
        ### BEGIN SOLUTION
        return len(self.chars)
        ### END SOLUTION

    def encode(self, text: str) -> Tensor:
        """The ids of a text, (len(text),), int64. ValueError for a character that the vocabulary does not have."""
        ### BEGIN SOLUTION
        unknown = set(text) - set(self.chars)
        if unknown:
            raise ValueError(f"text has characters that are not in the vocabulary: {sorted(unknown)}")
        return torch.tensor([self._ids[char] for char in text], dtype=torch.long)
        ### END SOLUTION

    def decode(self, ids: Tensor) -> str:
        """The text of some ids (n,). ValueError for an id outside 0 .. len - 1: a negative one counts from nowhere."""
        ### BEGIN SOLUTION
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(self):
            raise ValueError(f"ids must lie in 0..{len(self) - 1}, not {ids.min()}..{ids.max()}")
        return "".join(self.chars[i] for i in ids.tolist())
        ### END SOLUTION


def save_checkpoint(path: str | Path, model: nn.Module, optimizer, generator: torch.Generator, progress: dict) -> None:
    """Write all that a run needs to go on, bit for bit, as if it had never stopped, into the file `path`.

    That is the parameters and buffers in the model's `state_dict`, `optimizer.state_dict()` (dicts, lists, tuples, numbers,
    strings, tensors), the generator's state, PyTorch's global random state (dropout draws from it), and `progress`: a dict of
    numbers, strings, lists and dicts with strings as keys. None of them is changed.

    The write is atomic: whoever reads `path` finds the whole old file or the whole new one at any moment. The new one is written
    beside the old one, in the same folder, under another name. Where saving fails, for a full disk or for something in `progress`
    that cannot be saved, the error is raised, and what was at `path` is still there.
    Either way no other file is left behind.
    """
    ### BEGIN SOLUTION
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "global_generator": torch.get_rng_state(),
        "progress": progress,
    }
    unfinished = Path(f"{path}.unfinished")  # in the same folder: only within one file system is a rename atomic
    try:
        with open(unfinished, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # the content is on the disk before it gets the name
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    ### END SOLUTION


def load_checkpoint(path: str | Path, model: nn.Module, optimizer=None, generator: torch.Generator | None = None) -> dict:
    """Put everything back as `save_checkpoint` found it, and return `progress`.

    The model's parameters and buffers are overwritten in place: they stay the objects that the optimiser knows. The optimiser
    gets its state by `load_state_dict`. With a generator, its state is put back and PyTorch's global random state with it. What
    is None is left alone, so that a model can be loaded by itself; without a generator the global state is left alone as well.

    Loading runs no code, whatever the file holds: a file that holds anything but plain data is an error, of any type.
    """
    ### BEGIN SOLUTION
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
    if generator is not None:
        generator.set_state(state["generator"])
        torch.set_rng_state(state["global_generator"])
    return state["progress"]
    ### END SOLUTION


def evaluate(model: nn.Module, data: Tensor, batch_size: int, context_length: int) -> float:
    """The mean of -log p over all tokens of `data` but the first, in nats: a number without chance in it.

    The text is read in windows of context_length tokens, one right after the other, the last one as short as it has to be; each
    token is predicted from those before it in its window. Every token counts the same, those of a short window, too. At most
    batch_size windows go through the model at a time.

    The model, any module whose `model(ids)` returns `(logits, loss)`, computes in evaluation mode and without a graph. Afterwards
    each of its submodules is in the mode in which it was; weights, gradients and all random states are untouched. data (n,) as
    for `get_batch`. ValueError where it has fewer than 2 tokens.
    """
    ### BEGIN SOLUTION
    if len(data) < 2:
        raise ValueError(f"data must have at least 2 tokens, not {len(data)}")
    data = data.long()
    n_whole = (len(data) - 1) // context_length * context_length
    whole = (ids.reshape(-1, context_length).split(batch_size) for ids in (data[:n_whole], data[1 : n_whole + 1]))
    rest = data[None, n_whole:]  # (1, 1 + fewer than context_length)
    batches = [*zip(*whole), (rest[:, :-1], rest[:, 1:])]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            total = sum(cross_entropy(model(x)[0], y).item() * y.numel() for x, y in batches if y.numel())
    finally:
        for module, mode in modes.items():
            module.training = mode
    return total / (len(data) - 1)
    ### END SOLUTION


@dataclass(frozen=True)
class TrainConfig:
    """What a run is made of beside its model and its text. ValueError for what makes no sense."""

    context_length: int  # tokens of a sequence
    n_steps: int  # updates of the weights
    batch_size: int = 32  # sequences that each update learns from ...
    accumulation_steps: int = 1  # ... in this many passes, one after the other, of equally many sequences
    warmup_steps: int = 0
    max_lr: float = 1e-3
    min_lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1  # for all parameters alike
    max_norm: float = 1.0  # of the gradient; infinity clips nothing
    eval_every: int = 100  # steps from one evaluation to the next
    seed: int = 0  # of the generator that draws the batches
    checkpoint_path: str | Path | None = None
    checkpoint_every: int = 100  # steps from one checkpoint to the next

    def __post_init__(self) -> None:
        for name in ("context_length", "batch_size", "accumulation_steps", "eval_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch_size % self.accumulation_steps:
            raise ValueError(f"accumulation_steps={self.accumulation_steps} must divide batch_size={self.batch_size}")
        if not 0 <= self.warmup_steps <= self.n_steps:
            raise ValueError(f"warmup_steps must be from 0 to n_steps={self.n_steps}, not {self.warmup_steps}")


def train(model: nn.Module, data: tuple[Tensor, Tensor], config: TrainConfig) -> dict[str, list]:
    """Train the model in place and return the history of the run.

    `data` is (training data, validation data), each as for `get_batch`; the model is any module whose `model(ids)` returns
    `(logits, loss)`. Each of the `n_steps` steps, the first of which is step 0,

    - draws one batch of `batch_size` sequences by `get_batch`, from a generator that was seeded with `config.seed` at the start;
    - takes the gradient of its mean loss, with the model in training mode, in `accumulation_steps` passes of
      `batch_size / accumulation_steps` sequences each, which gives what one pass would; gradients of before count for nothing;
    - clips it to `max_norm`;
    - updates all parameters by AdamW (`betas`, `weight_decay`, default eps) at the learning rate of `cosine_schedule` for this
      step, where `n_steps` is the total.

    `evaluate` on the validation data, with batches of the size of one pass, comes before step 0, after every `eval_every` steps
    and after the last one (once, if both fall together, as they do in a run of no steps), and leaves no trace in the run.

    The history is a dict of lists. With one entry for each step: "loss", the mean loss of the batch before the update; "lr";
    "grad_norm", before clipping. With one for each evaluation: "validation_step", the number of steps done before it, and
    "validation_loss".

    With a `checkpoint_path`, a checkpoint is written there after every `checkpoint_every` steps and after the last one. If there
    is one already when the run begins, the run goes on from it: weights and history end up as those of a run that was never
    interrupted, bit for bit.

    A progress bar is written to sys.stderr if `sys.stderr.isatty()`; otherwise nothing is printed anywhere.
    """
    ### BEGIN SOLUTION
    train_data, validation_data = data
    optimizer = AdamW(model.parameters(), config.max_lr, config.betas, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed)
    history = {"loss": [], "lr": [], "grad_norm": [], "validation_step": [], "validation_loss": []}
    if config.checkpoint_path is not None and Path(config.checkpoint_path).exists():
        history = load_checkpoint(config.checkpoint_path, model, optimizer, generator)
    n_passes = config.accumulation_steps

    def validate() -> None:
        history["validation_step"].append(len(history["loss"]))
        batch_size = config.batch_size // n_passes
        history["validation_loss"].append(evaluate(model, validation_data, batch_size, config.context_length))

    model.train()
    for step in range(len(history["loss"]), config.n_steps):
        if step % config.eval_every == 0:
            validate()
        x, y = get_batch(train_data, config.batch_size, config.context_length, generator)
        optimizer.zero_grad()
        total = 0.0
        for x_part, y_part in zip(x.chunk(n_passes), y.chunk(n_passes)):
            loss = cross_entropy(model(x_part)[0], y_part) / n_passes  # so that the parts add up to the batch's mean
            loss.backward()
            total += loss.item()
        norm = clip_grad_norm(model.parameters(), config.max_norm)
        optimizer.lr = cosine_schedule(step, config.warmup_steps, config.n_steps, config.max_lr, config.min_lr)
        optimizer.step()
        history["loss"].append(total)
        history["lr"].append(optimizer.lr)
        history["grad_norm"].append(float(norm))
        if config.checkpoint_path is not None and ((step + 1) % config.checkpoint_every == 0 or step + 1 == config.n_steps):
            save_checkpoint(config.checkpoint_path, model, optimizer, generator, history)
        if sys.stderr.isatty():
            done = 30 * (step + 1) // config.n_steps
            bar = f"\r[{'#' * done}{'.' * (30 - done)}] step {step + 1} of {config.n_steps}, loss {total:.3f}"
            print(bar, end="" if step + 1 < config.n_steps else "\n", file=sys.stderr, flush=True)
    validate()
    return history
    ### END SOLUTION
