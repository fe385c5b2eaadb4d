"""Text out of the model, and the model out of this course.

`generate` is a Python generator: it hands out each token as soon as there is one, and does no work that nobody asks for.
Behind it is module 06's bargain: the prompt is read once, then one token a step, and the cache remembers the rest.

`export` writes the weights for everybody else. The safetensors format is made to be read without trust: no code in it, nothing
to unpickle, only a table of contents and numbers.

    8 bytes          length n of the header, little-endian
    n bytes          the header, JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, …}
    the rest         the tensors' bytes; offsets count from here

Sources: https://github.com/huggingface/safetensors, "Format"; Holtzman et al. 2020 for top-p.

The command line: python -m solutions.gpt124m.generate RUN --prompt "…"    (or --export FOLDER)
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solutions.gpt124m.model import GPT, GPTConfig
from solutions.gpt124m.tokenizer import decode_stream, load_tokenizer


def next_token(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> int:
    """Draw one token from logits `(vocab,)` of any floating dtype, with a graph behind them or without; returns its id as an int.

    Temperature 0 takes the most probable token (which of equal ones is left open) and draws nothing. Otherwise, in this
    order: logits are divided by the temperature, however low; only the `top_k` most probable tokens stay (it is left open
    which and how many of those that are equal to the last of them); of these, renormalised, only the nucleus stays: the
    fewest most probable ones whose probabilities reach `top_p` together, always at least one; then one is drawn by its
    probability. None leaves a filter out; a `top_k` beyond the vocabulary keeps all of it. A token with logit -inf is never
    drawn.

    All randomness comes from `generator` (a CPU one, wherever the logits are), or PyTorch's global one where there is none:
    the same state gives the same token. Logits stay as they are.

    Raises ValueError for a temperature that is negative or not finite, a top_k below 1, a top_p that is not in 0 < top_p <= 1.
    """
    ### BEGIN SOLUTION
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be finite and not negative, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
    if temperature == 0:
        return int(logits.argmax())
    logits = logits.detach().cpu().double()
    logits = (logits - logits.max()) / temperature  # the largest is 0: no temperature, however low, makes it overflow
    logits, ids = logits.sort(descending=True)
    probs = logits[:top_k].softmax(-1)
    if top_p is not None:
        before = probs.cumsum(-1) - probs  # what the more probable ones have together
        before[0] = 0
        probs = probs * (before < top_p)
    return int(ids[torch.multinomial(probs, 1, generator=generator)])
    ### END SOLUTION


def generate(
    model: GPT,
    ids: Sequence[int] | Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop: Collection[int] = (),
) -> Iterator[int]:
    """Continue one text: yields up to `max_new_tokens` ids, each an int, drawn by `next_token` one after the other.

    ids `(t,)` is the prompt, a list or an int64 tensor, which stays as it is. Nothing of it is yielded. When a token of
    `stop` is drawn, generation ends, and that token is not yielded.

    The model reads at most the last `context_length` tokens of the text, which is the prompt and what was drawn since. It
    reads the prompt once, and each drawn token once, alone, through its cache; only when the text outgrows the context does
    the window move on by one token a step, and then, since every token stands at a new position, the whole window is read
    anew into an empty cache. The tokens are those that reading the whole window at every step would give.

    Lazy: the model reads nothing before the first id is asked for, and nothing further once the last id has been yielded or
    nobody asks any more. No graph is recorded; between two ids, and when the model has raised, the caller's gradient mode is as
    the caller has it. The model's mode is left alone: call `model.eval()` before if there is dropout.

    Of the model, only these are used: `model(ids, cache=cache, last_only=True)` with ids `(1, t)`, which returns `(logits,
    None)`, where `last_only` may be left out; `model.new_cache()`, whose caches have `length` and `truncate(length)`;
    `model.config.context_length`; and `model.parameters()`, for the device.

    Raises ValueError, when the first id is asked for at the latest, for an empty prompt, a negative `max_new_tokens`, and
    what `next_token` refuses.
    """
    ### BEGIN SOLUTION
    text = [int(i) for i in ids]
    if not text or max_new_tokens < 0:
        given = f"got {len(text)} tokens and {max_new_tokens}"
        raise ValueError(f"the prompt needs a token and max_new_tokens must not be negative, {given}")
    device = next(model.parameters()).device
    context_length, cache = model.config.context_length, model.new_cache()
    for _ in range(max_new_tokens):
        if cache.length == len(text) - 1 < context_length:  # all but the last token is cached where it stands
            new = text[-1:]
        else:  # the prompt is unread, or the window has moved
            cache.truncate(0)
            new = text[-context_length:]
        with torch.no_grad():  # not around the yield: the caller's code runs in there
            logits, _ = model(torch.tensor([new], device=device), cache=cache, last_only=True)
        token = next_token(logits[0, -1], temperature, top_k, top_p, generator)
        if token in stop:
            return
        text.append(token)
        yield token
    ### END SOLUTION


DTYPE_NAMES = {  # what the format calls them
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def write_safetensors(path: str | os.PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors into a file of the safetensors format.

    - Eight bytes: the header's length as an unsigned little-endian number.
    - The header: a JSON object in UTF-8, filled up with spaces at its end so that the data begins at a multiple of 8. For
      each tensor `{"dtype": one of DTYPE_NAMES, "shape": [...], "data_offsets": [begin, end]}`, offsets counted from the end
      of the header; and `"__metadata__": metadata`, texts by name, if there is any.
    - The data: each tensor's numbers, little-endian, in the order of a contiguous tensor. They cover the rest of the file
      without gaps or overlaps, also where tensors share memory, and every tensor begins at a multiple of its element size. In
      which order they come is left open.

    Tensors may be of any strides, on any device, with gradients, of no dimensions or without elements. They stay as they are.
    Raises ValueError for a dtype that is not in DTYPE_NAMES and for a tensor called `__metadata__`.
    """
    ### BEGIN SOLUTION
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    # Wide elements first: sizes are powers of two, so that whatever begins behind wider ones begins at a multiple of its own.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in DTYPE_NAMES or name == "__metadata__":
            raise ValueError(f"{name}: a tensor of {tensor.dtype} cannot be written under this name")
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for name in names:
            raw = tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8)
            file.write(raw.numpy().tobytes())
    ### END SOLUTION


def hugging_face_config(config: GPTConfig) -> dict[str, Any]:
    """What `config.json` beside the weights says, so that transformers' `GPT2LMHeadModel.from_pretrained(folder)` loads them.
    Given."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        **{name: config.dropout for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop")},
        **{name: 50256 if config.vocab_size > 50256 else None for name in ("bos_token_id", "eos_token_id")},
    }


def export(model: GPT, path: str | os.PathLike) -> None:
    """Write the model's weights as GPT-2's are published, and `config.json` (`hugging_face_config`) beside them.

    `path` is the file for the weights, usually `FOLDER/model.safetensors`; its folder is made if need be. The file is what
    `write_safetensors` makes of the model's state under its own names, without `lm_head.weight`, which is `wte.weight`; the
    weights of `c_attn`, `c_proj` and `c_fc` are transposed to `(in, out)`; the dtype is the model's. Its metadata is
    `{"format": "pt"}`, which transformers asks for. So `load_gpt2_state_dict` takes back what `export` wrote. The model stays
    as it is.
    """
    ### BEGIN SOLUTION
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    state = {name: x.T if name.endswith(turned) else x for name, x in model.state_dict().items() if name != "lm_head.weight"}
    write_safetensors(path, state, {"format": "pt"})
    config = json.dumps(hugging_face_config(model.config), indent=2) + "\n"
    (path.parent / "config.json").write_text(config, encoding="utf-8")
    ### END SOLUTION


def load_trained(folder: str | os.PathLike) -> GPT:
    """The model of a run, in evaluation mode: `train`'s command line leaves `config.json` and `checkpoint.pt` there. Given."""
    model = GPT(GPTConfig(**json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))))
    model.load_state_dict(torch.load(Path(folder) / "checkpoint.pt", map_location="cpu", weights_only=True)["model"])
    return model.eval()


def main(arguments: list[str] | None = None) -> None:
    """`python -m solutions.gpt124m.generate RUN --prompt TEXT`, given."""
    import argparse

    parser = argparse.ArgumentParser(description="Continue a text with a trained model, or export the model.")
    parser.add_argument("run", help="the folder that gpt124m.train was given as --out")
    parser.add_argument("--prompt", default="\n")
    parser.add_argument("--tokenizer", default="bytes", help="'bytes', or a folder with encoder.json and vocab.bpe")
    parser.add_argument("--max-new-tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--top-k", type=int, default=None)
    parser.add_argument("--top-p", type=float, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--export", metavar="FOLDER", help="write model.safetensors and config.json there, and generate nothing")
    chosen = parser.parse_args(arguments)
    model, tokenizer = load_trained(chosen.run), load_tokenizer(chosen.tokenizer)
    if chosen.export:
        export(model, Path(chosen.export) / "model.safetensors")
        return
    generator = None if chosen.seed is None else torch.Generator().manual_seed(chosen.seed)
    sampling = chosen.temperature, chosen.top_k, chosen.top_p, generator
    ids = generate(model, tokenizer.encode(chosen.prompt), chosen.max_new_tokens, *sampling)
    print(chosen.prompt, end="", flush=True)
    for piece in decode_stream(tokenizer, ids):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
