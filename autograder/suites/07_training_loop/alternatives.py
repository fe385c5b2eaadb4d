"""Unusual right solutions: each must get full marks."""

import runpy
from pathlib import Path

import torch

from autograder.testing.variants import Variant, alternative, edit

SOLUTION = Path(__file__).parents[3] / "solutions" / Path(__file__).parent.name / "training_loop.py"


def pair(name: str, exercises: tuple[str, ...], says: str, definitions: str) -> list[Variant]:
    """Definitions of several functions that only work together, once for each of these exercises."""
    text = SOLUTION.read_text(encoding="utf-8")
    for part in definitions.split("\n\n\n"):
        exercise = part.split("(")[0].split()[-1]
        text = Variant(name, exercise, says, kind="alternative", definition=part.strip("\n")).apply(text)
    return [Variant(f"{name}_{exercise}", exercise, says, source=text) for exercise in exercises]


ALTERNATIVES = [
    edit(
        "any_optimizer_of_pytorch",
        "save_checkpoint",
        "The annotation names PyTorch's class for any optimiser, which says nothing about how its state is kept.",
        (
            "optimizer, generator: torch.Generator, progress: dict)",
            "optimizer: torch.optim.Optimizer, generator: torch.Generator, progress: dict)",
        ),
    ),
    edit(
        "any_optimizer_of_pytorch_or_none",
        "load_checkpoint",
        "The annotation names PyTorch's class for any optimiser, or None.",
        ("optimizer=None, generator: torch", "optimizer: torch.optim.Optimizer | None = None, generator: torch"),
    ),
    edit(
        "negative_norms_refused",
        "clip_grad_norm",
        "What is refused said as such: NaN gets through, of which the docstring does not speak.",
        ("if not max_norm >= 0:", "if max_norm < 0:"),
    ),
    edit(
        "decay_as_a_subtraction",
        "AdamW",
        "The decay is subtracted in the same line as the step.",
        ("            p.mul_(1 - self.lr * self.weight_decay)\n", ""),
        (
            "p.addcdiv_(mean, root, value=-self.lr / (1 - beta_1**t))",
            "p.sub_(self.lr * (self.weight_decay * p + mean / (1 - beta_1**t) / root))",
        ),
    ),
    edit(
        "states_as_they_come",
        "SGD",
        "The velocities are a list of tensors that are replaced, never changed; the snapshot needs no copies.",
        ("velocity.mul_(self.momentum).add_(p.grad)", "velocity = self._velocities[i] = self.momentum * velocity + p.grad"),
        (
            "for p, velocity in zip(self.params, self._velocities)",
            "for i, (p, velocity) in enumerate(zip(self.params, self._velocities))",
        ),
        ("[v.clone() for v in self._velocities]", "list(self._velocities)"),
        (
            'for velocity, saved in zip(self._velocities, state["velocities"]):\n            velocity.copy_(saved)',
            'self._velocities = list(state["velocities"])',
        ),
    ),
    edit(
        "beside_by_descriptor",
        "save_checkpoint",
        "The file is renamed within its folder, which is held by a descriptor.",
        (
            "        os.replace(unfinished, path)",
            "        folder = os.open(Path(path).parent, os.O_RDONLY)\n        try:\n"
            "            os.replace(unfinished.name, Path(path).name, src_dir_fd=folder, dst_dir_fd=folder)\n"
            "        finally:\n            os.close(folder)",
        ),
    ),
    edit(
        "velocities_as_lists",
        "SGD",
        "The snapshot holds the velocities as lists of numbers.",
        ("[v.clone() for v in self._velocities]", "[v.tolist() for v in self._velocities]"),
        ("velocity.copy_(saved)", "velocity.copy_(torch.tensor(saved, dtype=torch.float64).reshape(velocity.shape))"),
    ),
    edit(
        "own_loss_of_the_model",
        "train",
        "The model's own loss, and gradients that are divided once all passes are done.",
        ("cross_entropy(model(x_part)[0], y_part) / n_passes", "model(x_part, y_part)[1]"),
        ("total += loss.item()", "total += loss.item() / n_passes"),
        (
            "        norm = clip",
            "        for p in model.parameters():\n            if p.grad is not None:\n"
            "                p.grad /= n_passes\n        norm = clip",
        ),
    ),
    edit(
        "inference_mode",
        "evaluate",
        "inference_mode, the model's own loss, and apply to set the modes.",
        ("with torch.no_grad():", "with torch.inference_mode():"),
        ("cross_entropy(model(x)[0], y).item() * y.numel()", "float(model(x, y)[1]) * y.shape[0] * y.shape[1]"),
    ),
]  # fmt: skip


# The loss


@alternative("cross_entropy", "The log-sum-exp less the target's logit.")
def log_sum_exp_less_logit(logits, targets):
    check_targets(logits, targets)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return (wide.logsumexp(-1) - wide.gather(-1, targets[..., None])[..., 0]).mean().to(logits.dtype)


@alternative("cross_entropy", "Everything in float64 and flat, the maximum subtracted by hand, rows and columns as indices.")
def flat_and_by_hand(logits, targets):
    if tuple(targets.shape) != tuple(logits.shape)[:-1]:
        raise TypeError("shape")
    rows, columns = logits.double().reshape(-1, logits.shape[-1]), targets.reshape(-1)
    if any(not 0 <= i < rows.shape[1] for i in columns.tolist()):
        raise IndexError("targets")
    rows = rows - rows.max(dim=1, keepdim=True).values.detach()
    losses = rows.exp().sum(1).log() - rows[torch.arange(len(rows)), columns]
    return (losses.sum() / len(losses)).type(logits.dtype)


@alternative("cross_entropy", "A function with its own backward: the closed form.")
def with_its_own_backward(logits, targets, reduce=True):
    check_targets(logits, targets)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            hot = torch.zeros(x.shape, dtype=torch.bool).scatter(-1, targets[..., None], True)
            return -x.double().log_softmax(-1)[hot].mean().to(x.dtype)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            probs = x.double().softmax(-1)
            ones = torch.ones((), dtype=probs.dtype).expand(*targets.shape, 1)
            return (grad * probs.scatter_add(-1, targets[..., None], -ones) / targets.numel()).to(x.dtype)

    return Loss.apply(logits)


@alternative("cross_entropy_gradient", "On a flat copy, 1 subtracted in place at rows and columns.")
def subtracted_in_place(logits, targets):
    check_targets(logits, targets)
    n, vocab = targets.numel(), logits.shape[-1]
    flat = torch.softmax(logits.detach().double().reshape(n, vocab), dim=1)
    flat[range(n), targets.reshape(-1)] -= 1
    flat /= max(n, 1)
    return flat.reshape(logits.shape).to(logits.dtype)


@alternative("cross_entropy_gradient", "exp of the log-softmax, and a one-hot by comparison.")
def compared_with_a_range(logits, targets):
    check_targets(logits, targets)
    x = logits if logits.dtype == torch.float64 else logits.to(torch.float32)
    one_hot = targets.unsqueeze(-1) == torch.arange(x.shape[-1], device=x.device)
    return (torch.exp(x - x.logsumexp(-1, keepdim=True)) - one_hot.to(x.dtype)).div(targets.numel()).to(logits.dtype)


# Optimisers


@alternative("SGD", "Velocities are made when they are first needed, in a dict by the place of the parameter.")
class VelocitiesWhenNeeded:
    def __init__(self, params, lr, momentum=0.0, name="sgd"):
        self.params = tuple(params)
        if len(self.params) == 0 or lr < 0 or momentum < 0 or momentum >= 1:
            raise ValueError(name)
        self.lr, self.momentum, self.v = lr, momentum, {}

    def step(self, closure=None):
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            step = p.grad.detach().clone()
            if self.momentum != 0:
                if i in self.v:
                    step += self.momentum * self.v[i]
                self.v[i] = step
            p.data.add_(step, alpha=-self.lr)

    def zero_grad(self, set_to_none=True):
        for p in self.params:
            p.grad = None

    def state_dict(self):
        v = {i: x.clone() for i, x in self.v.items()}
        return {"state": v, "settings": [self.lr, self.momentum], "n": len(self.params)}

    def load_state_dict(self, state):
        if state["n"] != len(self.params):
            raise ValueError("another number of parameters")
        self.v = {i: x.clone() for i, x in state["state"].items()}
        self.lr, self.momentum = state["settings"]


@alternative("SGD", "All parameters at once, with PyTorch's functions on lists.")
class OnLists:
    def __init__(self, params, lr, momentum=0.0):
        self.params = [*params]
        if not self.params or not (lr >= 0 and 0 <= momentum < 1):
            raise TypeError("arguments")
        self.settings = {"lr": lr, "momentum": momentum}
        self.velocities = [p.detach().clone().zero_() for p in self.params]

    @property
    def lr(self):
        return self.settings["lr"]

    @lr.setter
    def lr(self, value):
        self.settings["lr"] = value

    def step(self):
        there = [i for i, p in enumerate(self.params) if p.grad is not None]
        if not there:
            return
        with torch.no_grad():
            velocities = [self.velocities[i] for i in there]
            torch._foreach_mul_(velocities, self.settings["momentum"])
            torch._foreach_add_(velocities, [self.params[i].grad for i in there])
            torch._foreach_add_([self.params[i] for i in there], velocities, alpha=-self.lr)

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def state_dict(self):
        return {**self.settings, "velocities": tuple(v.clone() for v in self.velocities)}

    def load_state_dict(self, state):
        if len(state["velocities"]) != len(self.velocities):
            raise ValueError("velocities")
        self.settings = {"lr": state["lr"], "momentum": state["momentum"]}
        self.velocities = [v.clone() for v in state["velocities"]]


@alternative(
    "AdamW", "As PyTorch computes it: both corrections folded into the size of the step and the root; its layout of the state."
)
class CorrectionsFolded:
    def __init__(self, params, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01):
        self.params = list(params)
        if not self.params:
            raise ValueError("params")
        if min(lr, eps, weight_decay, *betas) < 0 or max(betas) >= 1:
            raise ValueError("settings")
        self.lr, self.group = lr, {"betas": betas, "eps": eps, "weight_decay": weight_decay}
        self.state = {}

    def step(self):
        (b1, b2), eps, decay = self.group["betas"], self.group["eps"], self.group["weight_decay"]
        with torch.no_grad():
            for i, p in enumerate(self.params):
                if p.grad is None:
                    continue
                if i not in self.state:
                    self.state[i] = {
                        "step": torch.tensor(0.0),
                        "exp_avg": torch.zeros_like(p),
                        "exp_avg_sq": torch.zeros_like(p),
                    }
                state = self.state[i]
                state["step"] += 1
                t = state["step"].item()
                p.mul_(1 - self.lr * decay)
                state["exp_avg"].lerp_(p.grad, 1 - b1)
                state["exp_avg_sq"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                step_size, root = self.lr / (1 - b1**t), math.sqrt(1 - b2**t)
                p.addcdiv_(state["exp_avg"], (state["exp_avg_sq"].sqrt() / root).add_(eps), value=-step_size)

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def state_dict(self):
        state = {i: {name: x.clone() for name, x in entry.items()} for i, entry in self.state.items()}
        return {"state": state, "param_groups": [dict(self.group, lr=self.lr, params=list(range(len(self.params))))]}

    def load_state_dict(self, state):
        group = dict(state["param_groups"][0])
        if len(group.pop("params")) != len(self.params):
            raise ValueError("groups")
        self.lr, self.group = group.pop("lr"), group
        self.state = {i: {name: x.clone() for name, x in entry.items()} for i, entry in state["state"].items()}


@alternative(
    "AdamW",
    "eps is multiplied by the root of the correction and everything else is left uncorrected, as in section 2 of the paper.",
)
class EpsMultiplied:
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        self.slots = [{"p": p, "t": 0, "m": 0.0, "s": 0.0} for p in params]
        bad = [x for x in (lr, eps, weight_decay, *betas) if x < 0] + [beta for beta in betas if beta >= 1]
        if bad or not self.slots:
            raise ValueError(bad)
        self.lr, self.rest = lr, [*betas, eps, weight_decay]

    def step(self):
        b1, b2, eps, decay = self.rest
        for slot in self.slots:
            p, g = slot["p"], slot["p"].grad
            if g is not None:
                slot["t"] += 1
                slot["m"] = b1 * slot["m"] + (1 - b1) * g
                slot["s"] = b2 * slot["s"] + (1 - b2) * g * g
                root = (1 - b2 ** slot["t"]) ** 0.5
                size = self.lr * root / (1 - b1 ** slot["t"])
                with torch.no_grad():
                    p -= self.lr * decay * p + size * slot["m"] / (slot["s"] ** 0.5 + eps * root)

    def zero_grad(self):
        for slot in self.slots:
            slot["p"].grad = None

    def state_dict(self):
        slots = [{key: slot[key] for key in "tms"} for slot in self.slots]  # m and s are replaced, never changed
        return {"lr": self.lr, "rest": list(self.rest), "slots": slots}

    def load_state_dict(self, state):
        if len(state["slots"]) != len(self.slots):
            raise IndexError(len(self.slots))
        self.lr, self.rest = state["lr"], list(state["rest"])
        for slot, saved in zip(self.slots, state["slots"]):
            slot.update(saved)


@alternative("AdamW", "All parameters at once, with PyTorch's functions on lists, means kept in float64.")
class AdamOnLists:
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        self.params = list(params)
        if not self.params or not all(x >= 0 for x in (lr, eps, weight_decay, *betas)) or not all(b < 1 for b in betas):
            raise ValueError("arguments")
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.m = [torch.zeros(p.shape, dtype=torch.float64) for p in self.params]
        self.s = [torch.zeros(p.shape, dtype=torch.float64) for p in self.params]
        self.t = torch.zeros(len(self.params), dtype=torch.long)

    @torch.no_grad()
    def step(self):
        there = [i for i, p in enumerate(self.params) if p.grad is not None]
        if not there:
            return
        b1, b2 = self.betas
        self.t[there] += 1
        grads = [self.params[i].grad.double() for i in there]
        m, s = [self.m[i] for i in there], [self.s[i] for i in there]
        torch._foreach_lerp_(m, grads, 1 - b1)
        torch._foreach_mul_(s, b2)
        torch._foreach_addcmul_(s, grads, grads, 1 - b2)
        ts = self.t[there].tolist()
        roots = torch._foreach_sqrt(torch._foreach_div(s, [1 - b2**t for t in ts]))
        torch._foreach_add_(roots, self.eps)
        ratio = torch._foreach_div(torch._foreach_div(m, roots), [1 - b1**t for t in ts])
        for i, r in zip(there, ratio):
            p = self.params[i]
            p.copy_(p.double() * (1 - self.lr * self.weight_decay) - self.lr * r)

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def state_dict(self):
        return {
            "numbers": {"lr": self.lr, "betas": list(self.betas), "eps": self.eps, "weight_decay": self.weight_decay},
            "tensors": [[x.clone() for x in self.m], [x.clone() for x in self.s], self.t.clone()],
        }

    def load_state_dict(self, state):
        m, s, t = state["tensors"]
        if len(m) != len(self.m):
            raise ValueError("parameters")
        vars(self).update(state["numbers"])
        self.m, self.s, self.t = [x.clone() for x in m], [x.clone() for x in s], t.clone()


@alternative("clip_grad_norm", "As PyTorch does it: the norm of the norms, 1e-6 added, a factor of at most 1 for everything.")
def norm_of_norms(params, max_norm, eps=1e-6):
    if not max_norm >= 0:
        raise ValueError(max_norm)
    grads = [p.grad for p in params if p.grad is not None]
    if len(grads) == 0:
        return 0.0
    total = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(g.float() if g.itemsize < 4 else g).double() for g in grads])
    )
    factor = torch.clamp(max_norm / (total + eps), max=1.0)
    for g in grads:
        g.mul_(factor)
    return total


@alternative("clip_grad_norm", "A Python number by math.fsum, one long vector, and a list kept of the parameters.")
def one_long_vector(params, max_norm):
    if not max_norm >= 0:
        raise ValueError("max_norm")
    params = list(filter(lambda p: p.grad is not None, params))
    numbers = [x for p in params for x in p.grad.flatten().double().tolist()]
    norm = math.sqrt(math.fsum(x * x for x in numbers))
    if norm > max_norm:
        for p in params:
            p.grad.copy_(p.grad.double() * (max_norm / norm))
    return norm


# Schedule, batches, vocabulary


@alternative("cosine_schedule", "The square of the cosine of half the angle, and the three stretches in another order.")
def squared_cosine(step, warmup_steps, total_steps, max_lr, min_lr):
    if step < 0 or warmup_steps < 0 or warmup_steps > total_steps:
        raise ValueError("arguments")
    if step < warmup_steps:
        return (step + 1.0) * (max_lr / (warmup_steps + 1.0))
    if total_steps <= step:
        return float(min_lr)
    share = math.cos(0.5 * math.pi * (step - warmup_steps) / (total_steps - warmup_steps)) ** 2
    return max_lr * share + min_lr * (1.0 - share)


@alternative("get_batch", "Row by row, each place drawn by itself, slices stacked.")
def row_by_row(data, batch_size, context_length, generator):
    n_places = data.numel() - context_length
    if n_places < 1 or batch_size < 1 or context_length < 1:
        raise ValueError((n_places, batch_size, context_length))
    x = torch.empty(batch_size, context_length, dtype=torch.int64)
    y = torch.empty_like(x)
    for i in range(batch_size):
        start = int(torch.randint(0, n_places, (1,), generator=generator))
        x[i], y[i] = data[start : start + context_length], data[start + 1 : start + 1 + context_length]
    return x, y


@alternative("get_batch", "Places from uniform numbers, rows picked from all windows of the text.")
def from_all_windows(data, batch_size, context_length, generator):
    if min(batch_size, context_length) < 1 or data.shape[0] <= context_length:
        raise IndexError("sizes")
    windows = data.unfold(0, context_length + 1, 1)
    places = (torch.rand(batch_size, generator=generator, dtype=torch.float64) * len(windows)).floor().long()
    rows = windows[places].to(torch.int64)
    return rows[:, :context_length].contiguous(), rows[:, 1:].contiguous()


@alternative("get_batch", "Places drawn by multinomial, the targets looked up by themselves.")
def by_multinomial(data, batch_size, context_length, generator):
    n = len(data) - context_length
    if batch_size <= 0 or context_length <= 0 or n <= 0:
        raise ValueError("sizes")
    starts = torch.multinomial(torch.ones(n), batch_size, replacement=True, generator=generator)
    places = starts.unsqueeze(1) + torch.arange(context_length).unsqueeze(0)
    return data.long().take(places), data.long().take(places + 1)


@alternative("CharVocabulary", "A tensor of code points, searched by bisection.")
class CodePoints:
    def __init__(self, text):
        self.points = torch.tensor(sorted({ord(char) for char in text}), dtype=torch.int64)

    @property
    def chars(self):
        return "".join(chr(point) for point in self.points.tolist())

    def __len__(self):
        return self.points.numel()

    def encode(self, text):
        points = torch.tensor([ord(char) for char in text], dtype=torch.int64)
        ids = torch.searchsorted(self.points, points)
        if len(ids) and (not len(self) or not torch.equal(self.points[ids.clamp(max=len(self) - 1)], points)):
            raise ValueError("unknown characters")
        return ids

    def decode(self, ids):
        if any(i < 0 for i in ids.tolist()):
            raise IndexError("negative")
        return "".join(map(chr, self.points[ids].tolist()))


@alternative("CharVocabulary", "Two dicts, and errors that come from looking things up.")
class TwoDicts(dict):
    def __init__(self, text):
        super().__init__((char, i) for i, char in enumerate(sorted(set(text))))
        self.back = {i: char for char, i in self.items()}
        self.chars = "".join(self)

    def encode(self, text):
        try:
            return torch.LongTensor([self[char] for char in text])
        except KeyError as error:
            raise ValueError(f"{error} is unknown") from None

    def decode(self, ids):
        try:
            return "".join(self.back[int(i)] for i in ids)
        except KeyError as error:
            raise IndexError(f"{error} is no id") from None


# Checkpoints


@alternative("save_checkpoint", "The bytes are complete in memory before a temporary file with a random name is begun.")
def complete_in_memory(path, model, optimizer, generator, progress):
    import io
    import tempfile

    buffer = io.BytesIO()
    parts = model.state_dict(), optimizer.state_dict(), generator.get_state(), torch.random.get_rng_state(), progress
    torch.save(dict(zip(("model", "optimizer", "generator", "global_generator", "progress"), parts)), buffer)
    folder, name = os.path.split(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=name, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(buffer.getbuffer())
        os.rename(temporary, path)
    except BaseException:
        os.remove(temporary)
        raise


@alternative("save_checkpoint", "A hidden file beside the old one, opened only if it does not exist yet.")
def in_a_hidden_file(path, model, optimizer, generator, progress):
    path = Path(path).absolute()
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": progress}
    state |= {"generator": generator.get_state(), "global_generator": torch.get_rng_state()}
    with hidden.open("xb") as file:
        try:
            torch.save(state, file)
        except:
            hidden.unlink()
            raise
    hidden.replace(path)


@alternative("load_checkpoint", "From memory, and each tensor copied by hand; the progress first.")
def copied_by_hand(path, model, optimizer=None, generator=None):
    import io

    state = torch.load(io.BytesIO(Path(path).read_bytes()), weights_only=True)
    own = model.state_dict()  # shares its tensors with the model
    for name, value in state.pop("model").items():
        own[name].detach().copy_(value)
    progress = state.pop("progress")
    if generator:
        generator.set_state(state.pop("generator"))
        torch.default_generator.set_state(state.pop("global_generator"))
    if optimizer:
        optimizer.load_state_dict(state.pop("optimizer"))
    return progress


ALTERNATIVES += pair(
    "text_of_json",
    ("save_checkpoint", "load_checkpoint"),
    "A format of its own: JSON, tensors as their bytes in hexadecimal digits, dicts as lists of pairs.",
    """
def save_checkpoint(path, model, optimizer, generator, progress):
    import json

    def plain(value):
        if isinstance(value, torch.Tensor):
            flat = value.detach().contiguous().reshape(-1).view(torch.uint8)
            return {"tensor": bytes(flat.tolist()).hex(), "dtype": str(value.dtype)[6:], "shape": list(value.shape)}
        if isinstance(value, dict):
            return {"dict": [[key, plain(x)] for key, x in value.items()]}
        if isinstance(value, (list, tuple)):
            return {type(value).__name__: [plain(x) for x in value]}
        if value is None or isinstance(value, (bool, int, float, str)):
            return {"value": value}
        raise TypeError(f"cannot save a {type(value).__name__}")

    state = [dict(model.state_dict()), optimizer.state_dict(), generator.get_state(), torch.get_rng_state(), progress]
    text = json.dumps(plain(state))
    temporary = str(path) + "~"
    with open(temporary, "w") as file:
        file.write(text)
    os.replace(temporary, path)


def load_checkpoint(path, model, optimizer=None, generator=None):
    import json

    def back(value):
        ((kind, x),) = [pair for pair in value.items() if pair[0] not in ("dtype", "shape")]
        if kind == "tensor":
            raw = torch.tensor(list(bytes.fromhex(x)), dtype=torch.uint8)
            return raw.view(getattr(torch, value["dtype"])).reshape(value["shape"])
        if kind == "dict":
            return {key: back(y) for key, y in x}
        return {"list": list, "tuple": tuple}[kind](map(back, x)) if kind != "value" else x

    weights, optimizer_state, state, global_state, progress = back(json.loads(Path(path).read_text()))
    model.load_state_dict(weights)
    if optimizer is not None:
        optimizer.load_state_dict(optimizer_state)
    if generator is not None:
        generator.set_state(state)
        torch.set_rng_state(global_state)
    return progress
""",
)


# Evaluation and training


@alternative("evaluate", "Window by window, the sum of all losses by logsumexp.")
def window_by_window(model, data, batch_size, context_length):
    n = data.numel() - 1
    if n < 1:
        raise IndexError("nothing to predict")
    was = [(part, part.training) for part in model.modules()]
    total, start = 0.0, 0
    model.eval()
    with torch.no_grad():
        while start < n:
            window = data[start : start + context_length + 1].to(torch.int64)
            logits = model(window[:-1].unsqueeze(0))[0].squeeze(0).double()
            total += (logits.logsumexp(-1) - logits[range(len(logits)), window[1:]]).sum().item()
            start += context_length
    for part, training in was:
        part.training = training
    return total / n


@alternative("evaluate", "The last window is filled up with zeros, whose losses do not count.")
def filled_up(model, data, batch_size, context_length):
    if len(data) < 2:
        raise ValueError("data")
    n = len(data) - 1
    n_windows = -(-n // context_length)
    x, y = torch.zeros(2, n_windows * context_length, dtype=torch.long)
    x[:n], y[:n] = data[:-1], data[1:]
    losses, modes = [], [part.training for part in model.modules()]
    model.train(False)
    with torch.no_grad():
        for rows, targets in zip(x.view(n_windows, -1).split(batch_size), y.view(n_windows, -1).split(batch_size)):
            log_probs = model(rows)[0].log_softmax(-1)
            losses.append(-log_probs.gather(-1, targets[..., None]).flatten())
    for part, mode in zip(model.modules(), modes):
        part.training = mode
    return torch.cat(losses)[:n].double().mean().item()


@alternative("train", "A while loop; evaluation and saving in functions of their own; rich's bar on terminals.")
def with_a_while_loop(model, data, config):
    learn, check = data
    n, parts = config.n_steps, config.accumulation_steps
    optimizer = AdamW(list(model.parameters()), lr=config.max_lr, betas=config.betas, weight_decay=config.weight_decay)
    dice = torch.Generator()
    dice.manual_seed(config.seed)
    rows, checks, path = [], [], config.checkpoint_path
    if path and os.path.isfile(path):
        saved = load_checkpoint(path, model, optimizer, dice)
        rows, checks = saved["rows"], saved["checks"]

    def look():
        if not checks or checks[-1][0] != len(rows):
            checks.append([len(rows), evaluate(model, check, config.batch_size // parts, config.context_length)])

    def one_step(step):
        model.train()
        for p in model.parameters():
            p.grad = None
        losses = []
        x, y = get_batch(learn, config.batch_size, config.context_length, dice)
        size = config.batch_size // parts
        for i in range(0, config.batch_size, size):
            logits, _ = model(x[i : i + size])
            log_probs = logits.log_softmax(-1).flatten(0, 1)
            part = -log_probs[torch.arange(len(log_probs)), y[i : i + size].flatten()].sum() / y.numel()
            part.backward()
            losses.append(part.detach())
        norm = clip_grad_norm(model.parameters(), config.max_norm)
        optimizer.lr = cosine_schedule(step, config.warmup_steps, n, config.max_lr, config.min_lr)
        optimizer.step()
        return [float(sum(losses)), float(optimizer.lr), float(norm)]

    bar = None
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        bar = Progress(console=Console(stderr=True))
        bar.start()
        task = bar.add_task("training", total=n)
    while len(rows) < n:
        if len(rows) % config.eval_every == 0:
            look()
        rows.append(one_step(len(rows)))
        if path and (len(rows) == n or len(rows) % config.checkpoint_every == 0):
            save_checkpoint(path, model, optimizer, dice, {"rows": rows, "checks": checks})
        if bar:
            bar.update(task, completed=len(rows))
    if bar:
        bar.stop()
    look()
    names = ("loss", "lr", "grad_norm"), ("validation_step", "validation_loss")
    return {name: [row[i] for row in table] for keys, table in zip(names, (rows, checks)) for i, name in enumerate(keys)}


@alternative("save_checkpoint", "By name and not by handle, and the folder is flushed to the disk as well.")
def folder_flushed(path, model, optimizer, generator, progress):
    path = os.fspath(path)
    temporary = os.path.join(os.path.dirname(path), "." + os.path.basename(path))
    try:
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "generator": generator.get_state(),
                "global_generator": torch.get_rng_state(),
                "progress": progress,
            },
            temporary,
        )
        os.rename(temporary, path)
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except Exception:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


@alternative("load_checkpoint", "Mapped into memory, and the model last.")
def mapped(path, model, optimizer=None, generator=None):
    content = torch.load(str(path), weights_only=True, mmap=True)
    if generator is not None:
        torch.set_rng_state(content["global_generator"].clone())
        generator.set_state(content["generator"].clone())
    if optimizer is not None:
        optimizer.load_state_dict(content["optimizer"])
    missing, unexpected = model.load_state_dict(content["model"])
    assert not missing and not unexpected
    return dict(content["progress"])


@alternative("evaluate", "On a deep copy of the model, so that nothing has to be put back.")
def on_a_copy(model, data, batch_size, context_length):
    import copy

    if data.shape[0] < 2:
        raise ValueError("data")
    model = copy.deepcopy(model).eval().requires_grad_(False)
    ids, losses = data.long(), []
    with torch.no_grad():
        for start in range(0, len(ids) - 1, batch_size * context_length):
            piece = ids[start : start + batch_size * context_length + 1]
            for x, y in zip(piece[:-1].split(context_length), piece[1:].split(context_length)):
                losses += [-row[i].item() for row, i in zip(model(x[None])[0][0].log_softmax(-1), y)]
    return math.fsum(losses) / len(losses)


@alternative("SGD", "What is kept is kept under the parameter itself, and the numbers live in groups as in PyTorch.")
class KeyedByParameter:
    def __init__(self, params, lr, momentum=0.0):
        group = {"params": list(params), "momentum": momentum}
        if not group["params"] or momentum < 0.0 or momentum >= 1.0 or lr < 0.0:
            raise ValueError("arguments")
        self.param_groups, self.lr, self.state = [group], lr, dict.fromkeys(group["params"])

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    old = self.state[p]
                    self.state[p] = p.grad.clone() if old is None else torch.add(p.grad, old, alpha=group["momentum"])
                    p.add_(self.state[p], alpha=-self.lr)

    def zero_grad(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self):
        (group,) = self.param_groups
        return {"lr": self.lr, "momentum": group["momentum"], "state": [self.state[p] for p in group["params"]]}

    def load_state_dict(self, state):
        (group,) = self.param_groups
        self.lr, group["momentum"] = state["lr"], state["momentum"]
        self.state = dict(zip(group["params"], state["state"], strict=True))


@alternative("train", "Gradients by autograd.grad, added up in a list and put in place at the end; evaluations from a queue.")
def gradients_in_a_list(model, data, config):
    generator = torch.Generator()
    generator.manual_seed(config.seed)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(params, config.max_lr, config.betas, weight_decay=config.weight_decay)
    history = {name: [] for name in ("loss", "lr", "grad_norm", "validation_step", "validation_loss")}
    if config.checkpoint_path and os.path.exists(config.checkpoint_path):
        history.update(load_checkpoint(config.checkpoint_path, model, optimizer, generator)["history"])
    due = sorted({*range(0, config.n_steps, config.eval_every), config.n_steps} - set(history["validation_step"]))
    step = len(history["loss"])
    size = config.batch_size // config.accumulation_steps
    while True:
        if due and due[0] == step:
            history["validation_step"].append(due.pop(0))
            history["validation_loss"].append(evaluate(model, data[1], size, config.context_length))
        if step >= config.n_steps:
            return history
        model.train()
        x, y = get_batch(data[0], config.batch_size, config.context_length, generator)
        total, loss = None, 0.0
        for rows, targets in zip(x.split(size), y.split(size)):
            part = model(rows, targets)[1]
            found = torch.autograd.grad(part, params, allow_unused=True)
            total = found if total is None else [None if g is None else g + t for g, t in zip(found, total)]
            loss += part.item()
        for p in model.parameters():
            p.grad = None
        for p, g in zip(params, total):
            p.grad = None if g is None else g / config.accumulation_steps
        history["grad_norm"].append(float(clip_grad_norm(params, config.max_norm)))
        rate = cosine_schedule(step, config.warmup_steps, config.n_steps, config.max_lr, config.min_lr)
        optimizer.lr = rate
        optimizer.step()
        optimizer.zero_grad()
        history["loss"].append(loss / config.accumulation_steps)
        history["lr"].append(rate)
        step += 1
        if sys.stderr.isatty():
            sys.stderr.write(f"{step}/{config.n_steps}\n")
        if config.checkpoint_path and (step % config.checkpoint_every == 0 or step == config.n_steps):
            save_checkpoint(config.checkpoint_path, model, optimizer, generator, {"history": history, "step": step})


@alternative("save_checkpoint", "The unfinished file has a temporary folder to itself, beside the path.")
def in_a_folder_of_its_own(path, model, optimizer, generator, progress):
    import tempfile

    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "global_generator": torch.get_rng_state(),
        "progress": progress,
    }
    with tempfile.TemporaryDirectory(dir=Path(path).absolute().parent) as folder:
        torch.save(state, Path(folder, "checkpoint"))
        os.replace(Path(folder, "checkpoint"), path)


# The other file of the module has a file of its own for its variants.
AUTOGRAD = runpy.run_path(str(Path(__file__).with_name("autograd_alternatives.py")))
ALTERNATIVES += AUTOGRAD["ALTERNATIVES"]
globals().update({name: value for name, value in AUTOGRAD.items() if hasattr(value, "__variant__")})
