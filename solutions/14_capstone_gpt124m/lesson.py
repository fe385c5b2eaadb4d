# %% [markdown]
# # Capstone: GPT-2 124M
#
# The last notebook of the course puts the pieces together. You build GPT-2 as it was published, in the main file
# `gpt124m/model.py`, which is this notebook; the other five files of the package lie beside it. At the end a very small
# GPT has read this course's own handouts, continues them, and leaves for other people's software.

# %% given

# %%
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import exercises
from solutions.gpt124m.data import TokenShards, prepare_corpus
from solutions.gpt124m.generate import export, generate
from solutions.gpt124m.tokenizer import ByteTokenizer, decode_stream
from solutions.gpt124m.train import TrainConfig, train

plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
torch.set_num_threads(1)  # tensors here are small: on a busy machine, more threads only wait for each other

# %% [markdown]
# ## The sizes
#
# Six numbers describe a model. They are checked here, once, so that nothing later has to.

# %% exercise GPTConfig

# %%
GPTConfig.gpt2_124m()

# %% [markdown]
# ## Attention, once more
#
# One linear layer makes queries, keys and values of all heads, and PyTorch's fused function does the rest. What needs
# thought is the mask. The new tokens are the *last* rows of the matrix of scores, and there may be older keys in the cache.

# %% exercise CausalSelfAttention

# %% [markdown]
# Which keys may each of three new queries see, when five are cached? `is_causal=True` answers the question as if the
# queries were the first ones; the right answer is aligned bottom-right.

# %%
queries, keys = 3, 8
top_left = torch.ones(queries, keys, dtype=torch.bool).tril()
bottom_right = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)

figure, axes = plt.subplots(1, 2, figsize=(8, 2))
for axis, mask, title in zip(axes, (top_left, bottom_right), ("is_causal=True", "what is meant"), strict=True):
    axis.imshow(mask, cmap="Greys", vmin=-0.2, vmax=1.4)
    axis.set(title=title, xlabel="key", ylabel="new query", yticks=range(queries), xticks=range(keys))
plt.show()

# %% [markdown]
# ## The rest of a block
#
# Two thirds of a block's weights are in its feed-forward layer.

# %% exercise MLP

# %% [markdown]
# The two GELUs are hard to tell apart by eye. Their difference is small, and large enough to be seen in the logits.

# %%
z = torch.linspace(-5, 5, 400)
figure, axes = plt.subplots(1, 2, figsize=(8, 2.4))
axes[0].plot(z, F.gelu(z), label="exact")
axes[0].plot(z, F.gelu(z, approximate="tanh"), "--", label="tanh")
axes[0].set(title="GELU", xlabel="input")
axes[0].legend(frameon=False)
axes[1].plot(z, F.gelu(z, approximate="tanh") - F.gelu(z))
axes[1].set(title="tanh form less exact form", xlabel="input")
plt.show()

# %% exercise Block

# %% [markdown]
# ## The model
#
# The names of the submodules are those of the published files.

# %% exercise GPT

# %% [markdown]
# On the *meta* device tensors have shapes and no numbers: the whole model can be counted without a byte of weights.

# %%
with torch.device("meta"):
    full_size = GPT(GPTConfig.gpt2_124m())
groups = {"wte": 0, "wpe": 0, "attention": 0, "feed-forward": 0, "norms": 0}
for name, parameter in full_size.named_parameters():
    kind = name.split(".")[0]
    if kind == "h":
        kind = {"attn": "attention", "mlp": "feed-forward"}.get(name.split(".")[2], "norms")
    groups["norms" if kind == "ln_f" else kind] += parameter.numel()
print(f"{sum(groups.values()):,} parameters")

plt.figure(figsize=(8, 1.8))
plt.barh(list(groups), [count / 1e6 for count in groups.values()])
plt.gca().invert_yaxis()
plt.xlabel("millions of parameters")
plt.show()

# %% [markdown]
# What does training it need, beside the weights? In float32, AdamW keeps two numbers and one gradient for each weight:
# 16 bytes in all, whatever the batch. Activations come on top; they grow with the batch, and the logits of 50257 tokens
# are the largest of them.

# %%
weights = sum(groups.values())
batch_rows, positions = 16, 1024
in_memory = {
    "weights": 4 * weights,
    "gradients": 4 * weights,
    "AdamW": 8 * weights,
    "logits (float32)": 4 * batch_rows * positions * 50257,
    "one cache of 1024 positions": 4 * 2 * 12 * 768 * 1024,
}
plt.figure(figsize=(8, 1.8))
plt.barh(list(in_memory), [count / 2**30 for count in in_memory.values()], color="C2")
plt.gca().invert_yaxis()
plt.xlabel("GiB")
plt.show()

# %% [markdown]
# ## Other people's weights

# %% exercise load_gpt2_state_dict

# %% [markdown]
# ## A run
#
# From here on the other files are at work: they build on `model.py` as it lies beside them, so finish them first. The
# corpus is what this course's handouts say; each handout is a document, and the last one is held out. Its tokens are bytes.

# %%
work = Path(tempfile.mkdtemp())
handouts = sorted(Path(exercises.__file__).parent.glob("[0-9]*/README.md"))
if len(handouts) == 1:  # no other handout is here: the end of this one is held out
    this = handouts[0].read_text(encoding="utf-8")
    handouts = [work / "to_learn_from.md", work / "held_out.md"]
    for path, part in zip(handouts, (this[: len(this) * 2 // 3], this[len(this) * 2 // 3 :])):
        path.write_text(part, encoding="utf-8")
tokenizer = ByteTokenizer()
manifest = prepare_corpus(handouts, tokenizer, work / "corpus", 2**15, tokenizer.eot_id)
for split, found in manifest["splits"].items():
    print(f"{split}: {found['n_documents']} documents, {found['n_tokens']:,} tokens in {len(found['shards'])} shards")

# %% [markdown]
# 240 steps of 8 sequences, with a stop in the middle: the run is killed after 120 steps, and goes on from its checkpoint in
# a new model that starts from other weights.

# %%
config = GPTConfig(vocab_size=tokenizer.n_vocab, context_length=64, n_layers=2, n_heads=4, d_model=128)
validation = TokenShards(work / "corpus", "validation", 8, 64)
settings = {
    "total_steps": 240, "warmup_steps": 60, "max_lr": 2e-3, "min_lr": 2e-4, "betas": (0.9, 0.99),
    "eval_every": 30, "eval_batches": min(8, len(validation)),
    "checkpoint_path": str(work / "checkpoint.pt"),
}  # fmt: skip
for seed, stop_after in ((0, 120), (1, None)):
    model = GPT(config, torch.Generator().manual_seed(seed))
    shards = TokenShards(work / "corpus", "train", 8, 64, shuffle_seed=0)
    history = train(model, shards, TrainConfig(**settings, stop_after=stop_after), validation)
    print(f"{len(history['loss'])} steps done, loss {history['loss'][-1]:.3f}")

# %%
plt.figure(figsize=(8, 2.8))
plt.plot(history["loss"], linewidth=1, label="training")
plt.plot(*zip(*history["validation"], strict=True), "o-", label="held-out handout")
plt.axhline(math.log(tokenizer.n_vocab), color="0.7", linestyle=":")
plt.text(241, math.log(tokenizer.n_vocab), " knows nothing", va="center", color="0.4")
plt.axvline(120, color="0.7", linewidth=0.8)
plt.text(121, 4.6, "killed and resumed", color="0.4")
plt.xlabel("step")
plt.ylabel("nats a byte")
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# There is no step in the curve where the run was killed, and nobody could tell it from a run that was not.
#
# What has it learned, in these few seconds? The model writes while you look; each piece is a whole character.

# %%
model.eval()
prompt = "## What to "
drawn = generate(model, tokenizer.encode(prompt), 200, temperature=0.6, top_k=30, generator=torch.Generator().manual_seed(1))
print(prompt, end="")
for piece in decode_stream(tokenizer, drawn):
    print(piece, end="")

# %% [markdown]
# ## Where the cache pays
#
# Count what the model reads. Without a cache each step reads the whole text; with it, one token, until the text is longer
# than the context of 64. From there on every token stands at a new position in each step, and the window is read anew.

# %%
read = []
hook = model.wte.register_forward_hook(lambda layer, given, value: read.append(given[0].shape[1]))
for _ in generate(model, tokenizer.encode(prompt), 80, temperature=0):
    pass
hook.remove()

plt.figure(figsize=(8, 2.2))
plt.step(range(len(read)), read, where="mid", label="with the cache")
plt.plot([min(len(prompt) + i, 64) for i in range(len(read))], "--", label="without")
plt.xlabel("step")
plt.ylabel("tokens read")
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Out of the door
#
# The exported file begins with eight bytes and a table of contents that anybody can read. The weights behind it are laid out
# as GPT-2's were published, so `load_gpt2_state_dict` takes them back, and `transformers` takes them, too.

# %%
export(model, work / "exported" / "model.safetensors")
raw = (work / "exported" / "model.safetensors").read_bytes()
header_size = int.from_bytes(raw[:8], "little")
header = json.loads(raw[8 : 8 + header_size])
print(f"{len(raw):,} bytes, {header_size:,} of them header, {len(header) - 1} tensors; the first entries:")
for name in list(header)[:4]:
    print(f"  {name}: {header[name]}")
