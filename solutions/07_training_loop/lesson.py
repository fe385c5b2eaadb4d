# %% [markdown]
# # The training loop
#
# A model with random weights says nothing. The loop that makes it say something is twenty lines long, the same for
# a Mini-GPT and for the largest models there are. In this lesson you build it from its parts, look at what each of them
# does by itself, and let a small model read the handouts of this course. (Where gradients come from is the other file
# of this module, `autograd.py`.)

# %% given

# %%
import pickle
import tempfile

import matplotlib.pyplot as plt

import exercises
from solutions.decoder_only import GPTConfig, MiniGPT, count_parameters, initialise

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other


def seeded(seed):
    """Randomness that is the same each time a cell is run."""
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## How surprised is the model?
#
# The loss of one prediction is $-\log p$ of what really came: 0 for a model that was certain, and without bound for
# one that had ruled it out. Its mean over many predictions is the number that training makes smaller.

# %% exercise cross_entropy

# %% [markdown]
# The gradient tells each logit where to go. It is what the model predicted less what was there.

# %% exercise cross_entropy_gradient

# %% [markdown]
# ### Predicted less observed
#
# To the left the loss of one prediction. To the right a model's prediction among five tokens, the third of which came,
# and the gradient of the loss with respect to the five logits. Going against it, the third logit rises and all others
# fall, those most that were most wrong about their chances. The bars add up to 0: softmax does not care for a constant
# that is added to all logits, so the gradient does not spend anything on one.

# %%
logits, target = torch.tensor([[0.5, 1.5, 0.8, -1.0, 0.0]]), torch.tensor([2])
p = torch.linspace(0.005, 1, 200)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.4))
left.plot(p, -p.log())
left.axhline(math.log(65), color="0.5", linestyle="--")
left.text(1, math.log(65) + 0.1, "a guess among 65 characters", ha="right", color="0.4")
left.set(xlabel="probability of what came", ylabel="loss in nats", ylim=(0, 5.5))
right.bar(torch.arange(5) - 0.2, logits.softmax(-1)[0], 0.4, label="predicted")
right.bar(torch.arange(5) + 0.2, cross_entropy_gradient(logits, target)[0], 0.4, label="gradient")
right.axhline(0, color="0.5", linewidth=0.8)
right.set(xlabel="token (number 2 came)")
right.legend()
plt.show()
print(f"loss {cross_entropy(logits, target):.4f}, the gradient's sum {cross_entropy_gradient(logits, target).sum():.1e}")

# %% [markdown]
# ## Downhill
#
# The simplest optimiser steps against the gradient. With momentum it remembers where it was going.

# %% exercise SGD

# %% exercise AdamW

# %% [markdown]
# ### A long valley
#
# A loss of two weights, thirty times as steep in one direction as in the other, and forty steps from the same place.
# Plain descent has to take steps that are small enough for the steep direction, and creeps along the other one. Momentum
# swings, and gets there. AdamW divides each weight's step by the size of its gradients, so both directions look alike
# to it, and it sets out along both at the same pace. To the right the same valley, turned. SGD does not notice: its paths are
# turned, too. AdamW measures each weight by itself, and a valley that lies across is neither one's.

# %%


def descend(make, curvature, start, n=40):
    """The path of two weights, (n + 1, 2), under a loss of 0.5 wᵀ C w."""
    w = start.clone().requires_grad_()
    optimizer, path = make([w]), [w.detach().clone()]
    for _ in range(n):
        optimizer.zero_grad()
        (0.5 * w @ curvature @ w).backward()
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path)


angle = math.radians(25)
turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
straight, start = torch.diag(torch.tensor([1.0, 30.0])), torch.tensor([-4.0, 1.4])
makers = {
    "SGD": lambda params: SGD(params, lr=0.06),
    "SGD with momentum 0.8": lambda params: SGD(params, lr=0.03, momentum=0.8),
    "AdamW": lambda params: AdamW(params, lr=0.3, betas=(0.8, 0.95), weight_decay=0.0),
}
x, y = torch.meshgrid(torch.linspace(-4.8, 2, 120), torch.linspace(-2.4, 2.4, 100), indexing="xy")
figure, panels = plt.subplots(1, 2, figsize=(10.5, 3.8))
for axes, turned in zip(panels, (torch.eye(2), turn)):
    curvature = turned @ straight @ turned.T
    points = torch.stack([x, y], -1)
    heights = 0.5 * (points @ curvature * points).sum(-1)
    axes.contour(x, y, heights, levels=[0.3, 1, 3, 8, 16, 32, 64], colors="0.8", linewidths=0.8)
    for (name, make), style in zip(makers.items(), ("o-", "s-", "^-")):
        path = descend(make, curvature, turned @ start)
        axes.plot(*path.T, style, markersize=3, linewidth=1, label=name)
    axes.plot(0, 0, "k+", markersize=12)
    axes.set(xlim=(-4.8, 2), ylim=(-2.4, 2.4), xlabel="one weight")
panels[0].set(ylabel="another weight")
panels[0].legend(loc="lower right")
plt.show()

# %% [markdown]
# ### What the corrections are for
#
# The length of AdamW's steps under a gradient that is always 1, and what it would be without one correction or the other.
# Without any, the first steps are three times too long with the usual betas, and go on being wrong for a thousand steps:
# $1 - 0.999^t$ takes that long to come near 1.

# %%
t = torch.arange(1, 1001, dtype=torch.float64)
mean, square = 1 - 0.9**t, 1 - 0.999**t  # of a gradient that is always 1
w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
optimizer, walked = AdamW([w], lr=1.0, weight_decay=0.0), [0.0]
for _ in t:
    w.grad = torch.ones_like(w)
    optimizer.step()
    walked.append(-w.item())
figure, axes = plt.subplots(figsize=(7.5, 3.4))
axes.plot(t, torch.tensor(walked).diff(), label="AdamW")
axes.plot(t, mean / square.sqrt(), "--", label="without corrections")
axes.plot(t, mean, ":", label="only s corrected")
axes.plot(t, 1 / square.sqrt(), "-.", label="only m corrected")
axes.set(xscale="log", yscale="log", xlabel="step", ylabel="length of the step / lr")
axes.legend()
plt.show()

# %% [markdown]
# ## A belt for bad batches
#
# Now and then a gradient is far longer than usual, and one such step can undo hundreds. Clipping bounds the length and keeps
# the direction.

# %% exercise clip_grad_norm

# %% [markdown]
# ### A cliff
#
# One weight on a slope that ends at a wall. Where the path touches the wall, the gradient is fifty times as long; the
# unclipped step throws the weight back by more than it had come. With clipping the same step is just a step.

# %%


def height(w):
    """A gentle slope down to the right, and a wall from 3 on."""
    return -0.5 * w + 60 * torch.relu(w - 3) ** 2


def walk(max_norm, n=30):
    w = torch.tensor([0.0], requires_grad=True)
    optimizer, path = SGD([w], lr=0.25, momentum=0.7), [0.0]
    for _ in range(n):
        optimizer.zero_grad()
        height(w).sum().backward()
        clip_grad_norm([w], max_norm)
        optimizer.step()
        path.append(w.item())
    return path


figure, axes = plt.subplots(figsize=(7.5, 3.4))
for max_norm, style in ((math.inf, "o-"), (1.0, "s-")):
    axes.plot(walk(max_norm), style, markersize=4, label="not clipped" if max_norm == math.inf else "clipped to 1")
axes.axhline(3, color="0.5", linestyle="--")
axes.text(0, 3.3, "the wall", color="0.4")
axes.set(xlabel="step", ylabel="the weight")
axes.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## Slow, fast, slow
#
# The learning rate is no constant either. It is warmed up while the running means fill, and goes down along half a cosine so
# that the last steps settle rather than jump about.

# %% exercise cosine_schedule

# %%
figure, axes = plt.subplots(figsize=(7.5, 2.8))
for n_warmup, style in ((0, ":"), (50, "-"), (200, "--")):
    rates = [cosine_schedule(step, n_warmup, 400, 1e-2, 1e-3) for step in range(450)]
    axes.plot(rates, style, label=f"{n_warmup} steps of warm-up")
axes.axvline(400, color="0.8", linewidth=0.8)
axes.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
axes.legend()
plt.show()

# %% [markdown]
# ## From text to tensors
#
# A window of T tokens is T exercises at once: after each position the model predicts the next token.

# %% exercise get_batch

# %% exercise CharVocabulary

# %% [markdown]
# The text to learn: all handouts of this course, formulas and programs included. One paragraph in ten is held out, so that
# the model is examined on text like the one it has read and yet not on the same.

# %%
handouts = [path.read_text(encoding="utf-8") for path in sorted(Path(exercises.__file__).parent.glob("[0-9]*/README.md"))]
text = "".join(char for char in "\n\n".join(handouts) if char.isascii())
paragraphs = [paragraph + "\n\n" for paragraph in text.split("\n\n")]
vocabulary = CharVocabulary(text)
train_ids = vocabulary.encode("".join(paragraph for i, paragraph in enumerate(paragraphs) if i % 10 != 5))
validation_ids = vocabulary.encode("".join(paragraphs[5::10]))
print(f"{len(handouts)} handouts; {len(train_ids):,} characters to learn from, {len(validation_ids):,} held out")
print(f"{len(vocabulary)} different ones: {vocabulary.chars!r}")
x, y = get_batch(train_ids, batch_size=3, context_length=24, generator=seeded(0))
for row, targets in zip(x, y):
    print(f"x {vocabulary.decode(row)!r:30} y {vocabulary.decode(targets)!r}")

# %% [markdown]
# ## What a run must not lose
#
# A checkpoint holds all that the next step depends on, and is written so that no moment exists in which there is neither
# the old one nor the new one.

# %% exercise save_checkpoint

# %% exercise load_checkpoint

# %% [markdown]
# ### A file that is a program
#
# A pickle may name any function to be called while it is opened. Here it only prints a line; it could as well send your
# files away. Opened as a pickle it runs. Loaded as a checkpoint it is refused.

# %%


class Innocent:
    def __reduce__(self):
        return print, ("  ... and this line was printed by the file itself.",)


with tempfile.TemporaryDirectory() as folder:
    torch.save({"model": Innocent()}, f"{folder}/weights.pt")
    print("torch.load without weights_only:")
    torch.load(f"{folder}/weights.pt", weights_only=False)
    print("load_checkpoint:")
    try:
        load_checkpoint(f"{folder}/weights.pt", nn.Linear(1, 1))
    except pickle.UnpicklingError as error:
        print("  refused:", str(error).split(".")[0])

# %% [markdown]
# ## Looking without touching
#
# The loss on held-out text, every token counted once, and not a trace left in the run.

# %% exercise evaluate

# %% [markdown]
# An untrained model guesses: its loss is about the logarithm of the number of characters.

# %%


def new_model(seed=0):
    """A MiniGPT of two layers and 48 dimensions."""
    config = GPTConfig(len(vocabulary), context_length=32, n_layers=2, n_heads=4, d_model=48)
    return initialise(MiniGPT(config), seeded(seed))


model = new_model()
loss = evaluate(model, validation_ids, batch_size=32, context_length=32)
print(f"{count_parameters(model.config):,} weights; loss {loss:.3f}, log {len(vocabulary)} = {math.log(len(vocabulary)):.3f}")

# %% [markdown]
# ## The loop
#
# What a run is made of stands in a `TrainConfig`.

# %% given

# %% exercise train

# %% [markdown]
# ### Four hundred and fifty steps
#
# Within the first steps the model learns how frequent each character is, and the loss drops to where that leads. Then come
# pairs, short words, the habits of Markdown. To the right, the norm of the gradient before clipping: whatever is above the
# dashed line was cut down to it.

# %%
settings = {"context_length": 32, "batch_size": 16, "max_lr": 1e-2, "min_lr": 1e-3}
history = train(model, (train_ids, validation_ids), TrainConfig(n_steps=450, warmup_steps=50, eval_every=50, **settings))
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
left.plot(history["loss"], color="0.75", linewidth=0.8, label="each batch")
left.plot(history["validation_step"], history["validation_loss"], "o-", label="held-out text")
counts = torch.bincount(train_ids, minlength=len(vocabulary)).double() + 1
left.axhline(-(counts / counts.sum()).log()[validation_ids].mean(), color="0.5", linestyle="--")
left.text(450, 3.47, "frequencies of characters", ha="right", color="0.4")
left.set(xlabel="step", ylabel="nats for each character")
left.legend()
right.plot(history["grad_norm"], linewidth=0.8)
right.axhline(1, color="0.5", linestyle="--")
right.set(xlabel="step", ylabel="norm of the gradient", yscale="log")
plt.show()
print(f"held-out text: {history['validation_loss'][0]:.3f} -> {history['validation_loss'][-1]:.3f} nats for each character")

# %% [markdown]
# What it writes now is no English yet, and no longer noise. With 64 dimensions, more text and some minutes, the same
# loop gets to 1.7 nats on Shakespeare (see the handout); this is what a few seconds give.

# %%


@torch.no_grad()
def write(model, n, seed=0):
    """n characters after a line break, drawn from the model at temperature 0.7."""
    ids, generator = vocabulary.encode("\n")[None], seeded(seed)
    for _ in range(n):
        probs = (model(ids[:, -32:])[0][:, -1] / 0.7).softmax(-1)
        ids = torch.cat([ids, torch.multinomial(probs, 1, generator=generator)], dim=1)
    return vocabulary.decode(ids[0])


print(write(model, 300))

# %% [markdown]
# ### One batch or four passes
#
# The same run with the batch in one pass and in four. If arithmetic were exact, so would the agreement be; as it is, the
# sums are taken in another order, and the last digits of float32 show it.

# %%
whole = TrainConfig(n_steps=20, **settings)
split = TrainConfig(n_steps=20, accumulation_steps=4, **settings)
one, four = (train(new_model(), (train_ids, validation_ids[:200]), config)["loss"] for config in (whole, split))
print("one pass   ", " ".join(f"{loss:.6f}" for loss in one[-6:]))
print("four passes", " ".join(f"{loss:.6f}" for loss in four[-6:]))
print(f"largest difference in 20 steps: {max(abs(a - b) for a, b in zip(one, four)):.1e}")

# %% [markdown]
# ### Pulling the plug
#
# A model that breaks off in the middle of its twenty-fourth pass, as a machine may. Begun again, with another model that knows
# nothing, the run goes on from its last checkpoint and ends where the undisturbed one ends: not about there, but with every
# bit the same.

# %%


class Unreliable(MiniGPT):
    """Fails in its 24th pass in training mode."""

    passes = 0

    def forward(self, ids, targets=None):
        self.passes += self.training
        if self.passes == 24:
            raise KeyboardInterrupt
        return super().forward(ids, targets)


with tempfile.TemporaryDirectory() as folder:
    texts = train_ids, validation_ids[:500]
    quiet = TrainConfig(n_steps=40, eval_every=10, **settings)
    saved = TrainConfig(n_steps=40, eval_every=10, checkpoint_path=f"{folder}/run.pt", checkpoint_every=10, **settings)
    undisturbed = train(new_model(), texts, quiet)
    try:
        train(initialise(Unreliable(model.config), seeded(0)), texts, saved)
    except KeyboardInterrupt:
        print("broken off; there is", ", ".join(path.name for path in Path(folder).iterdir()))
    resumed = train(new_model(seed=7), texts, saved)
print("the same history:", resumed == undisturbed)

# %% [markdown]
# The last line compares some hundred floating-point numbers with `==`. That is what "exact resume" means, and it is
# worth the trouble: a run that can be continued anywhere can also be repeated anywhere, and when something goes wrong at
# step 90,000, you can go back to step 89,000 and watch.
