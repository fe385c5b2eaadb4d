"""The training run: groups of parameters, the schedule, evaluation, checkpoints, and the loop that holds them together.

A run of days will be interrupted. So everything that a step depends on is either in the configuration or in the checkpoint:
weights, optimiser, the position in the data, the random state, the number of steps done. Then a run that was stopped and
resumed *is* the run that was not.

A step on n GPUs is the step of one GPU on n times the batch: each process takes the gradient of its own part, and
DistributedDataParallel replaces it by the mean over all processes during backward. With accumulation that is needed only once a
step, in the last of its passes.

    python -m solutions.gpt124m.train --folder CORPUS --out RUN                                       one process
    torchrun --standalone --nproc_per_node=8 -m solutions.gpt124m.train --folder CORPUS --out RUN …   eight

Sources: Radford et al. 2019; Brown et al. 2020, appendix B, for AdamW's constants, the clipping and the schedule; Loshchilov &
Hutter 2017.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from solutions.gpt124m.data import TokenShards
from solutions.gpt124m.model import GPT, GPTConfig


def param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The two groups of parameters that `torch.optim.AdamW` gets, in this order:

    - `{"params": […], "weight_decay": weight_decay}`: every parameter with two dimensions or more (matrices, embeddings)
    - `{"params": […], "weight_decay": 0.0}`: every other (biases, norms' weights, scalars)

    Each in the order of `model.parameters()`, which names a tied weight once; parameters that do not require gradients are in
    neither. Decay keeps matrices small; a bias or a norm's weight has a place of its own to be, which is not zero.
    """
    ### BEGIN SOLUTION
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    ### END SOLUTION


def cosine_schedule(step: int, warmup_steps: int, total_steps: int, max_lr: float, min_lr: float) -> float:
    """The learning rate of a step, the first of which is step 0, as in module 07.

    - Before `warmup_steps`: max_lr * (step + 1) / (warmup_steps + 1).
    - From there to `total_steps`: half a cosine from max_lr, at warmup_steps, to min_lr, at total_steps.
    - From `total_steps` on: min_lr.
    """
    ### BEGIN SOLUTION
    if step >= total_steps:
        return min_lr
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / (total_steps - warmup_steps)  # from 0 to below 1
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * done)) / 2
    ### END SOLUTION


def evaluate(model: nn.Module, shards: TokenShards, n_batches: int) -> float:
    """The mean loss of the batches 0 to n_batches - 1 of epoch 0, `shards.batch(i)`, as a float.

    `model(x, y)` returns `(logits, loss)`. It runs in evaluation mode and records no graph. Afterwards every submodule is in
    the mode that it was in before, and PyTorch's random state is what it was, also when the model raises. The position of
    `shards` does not move. Batches are moved to the device of the model's parameters. Where processes are joined in a group,
    the mean is over all of them.

    Raises ValueError where n_batches is not from 1 to len(shards).
    """
    ### BEGIN SOLUTION
    if not 1 <= n_batches <= len(shards):
        raise ValueError(f"n_batches must be from 1 to {len(shards)}, got {n_batches}")
    device = next(model.parameters()).device
    modes = [(part, part.training) for part in model.modules()]
    total = torch.zeros((), dtype=torch.float64, device=device)
    try:
        model.eval()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
            for i in range(n_batches):
                x, y = shards.batch(i)
                total += model(x.to(device), y.to(device))[1]
    finally:
        for part, mode in modes:
            part.training = mode
    return mean_over_processes(total / n_batches).item()
    ### END SOLUTION


def save_checkpoint(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write `state` by `torch.save`, all or nothing.

    Under `path` there is the old file or the complete new one, at any moment, also when the writing fails half-way. Then the
    error goes on to the caller, and no other file stays behind in the folder, which is made if need be.
    """
    ### BEGIN SOLUTION
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")  # in the same folder: a rename cannot cross file systems
    try:
        torch.save(state, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    ### END SOLUTION


@dataclass
class TrainConfig:
    """What a run depends on beside the model and the data; given."""

    total_steps: int = 1000
    warmup_steps: int = 100
    max_lr: float = 6e-4
    min_lr: float = 6e-5
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    accumulation_steps: int = 1  # batches of each process that make one step
    dtype: str = "float32"  # or "bfloat16": forward passes under autocast, the weights stay as they are
    compile: bool = False  # torch.compile the model's forward pass
    eval_every: int = 0  # steps between evaluations; 0: none
    eval_batches: int = 10
    checkpoint_path: str | None = None
    checkpoint_every: int = 0  # steps between checkpoints; 0: only at the end
    stop_after: int | None = None  # end as if interrupted when so many steps are done
    log_path: str | None = None  # a file of JSON lines


def train(
    model: nn.Module, shards: TokenShards, config: TrainConfig, validation: TokenShards | None = None
) -> dict[str, list]:
    """Train the model in place; returns the history.

    `model(x, y)` returns `(logits, loss)`. Each step, the first of which is step 0,

    - takes `accumulation_steps` batches, `shards.next_batch()`, and the gradient of the mean of their losses, with the model
      in training mode and, for dtype "bfloat16", under autocast; gradients from before count for nothing;
    - clips its total norm, over all parameters, to `clip_norm`;
    - updates by AdamW (`betas`, eps 1e-8) with the `param_groups`, at the learning rate of `cosine_schedule` for this step.

    With `eval_every`, `evaluate(model, validation, eval_batches)` follows, under the same autocast, when the number of steps
    done is a multiple of it, and after the last step of all (once, if both fall together). It leaves no trace in the run.

    The history is a dict of lists: "loss" (the mean loss of each step, before its update), "lr", "grad_norm" (before
    clipping), one entry a step; "validation", a list of [number of steps done, loss]. With `log_path`, lines of JSON are
    appended to that file as the run goes: {"step": number of steps done, "loss", "lr", "grad_norm", "tokens_per_second"} for
    each step and {"step", "validation_loss"} for each evaluation.

    With `checkpoint_path`, a checkpoint is saved there (`save_checkpoint`) when the number of steps done is a multiple of
    `checkpoint_every`, and at the end. It is a dict that `torch.load(path, weights_only=True)` reads; its "model" is
    `model.state_dict()`. If there is one when the run begins, the run goes on from it, whatever the model's weights and the
    position of shards are: weights, history, position and random state end up as those of a run that was not interrupted, bit
    for bit on a CPU. With `stop_after`, the run ends when so many steps are done in all, with a checkpoint; the schedule is
    that of `total_steps` all the same.

    Every submodule comes back in the mode in which it was. In a group of processes, started by torchrun, all processes train one
    model: the gradient is the mean over processes, and process 0 alone writes files. Progress goes to sys.stderr if that is a
    terminal.

    Raises ValueError for a dtype that is neither "float32" nor "bfloat16", for `accumulation_steps` below 1, and for
    `eval_every` without validation; the model is then as it was.
    """
    ### BEGIN SOLUTION
    if config.dtype not in ("float32", "bfloat16") or config.accumulation_steps < 1:
        raise ValueError(f"dtype is float32 or bfloat16, accumulation_steps at least 1: {config}")
    if config.eval_every and validation is None:
        raise ValueError("eval_every needs validation data")
    device = next(model.parameters()).device
    is_main = not dist.is_initialized() or dist.get_rank() == 0
    optimizer = torch.optim.AdamW(param_groups(model, config.weight_decay), lr=config.max_lr, betas=config.betas, eps=1e-8)
    history: dict[str, list] = {"loss": [], "lr": [], "grad_norm": [], "validation": []}
    if config.checkpoint_path is not None and Path(config.checkpoint_path).exists():
        state = torch.load(config.checkpoint_path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        shards.load_state_dict(state["shards"])
        history = state["history"]
        set_random_state(state["random"], device)

    modes = [(part, part.training) for part in model.modules()]
    runner = torch.compile(model) if config.compile else model
    if dist.is_initialized():
        runner = DistributedDataParallel(runner, device_ids=[device.index] if device.type == "cuda" else None)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.dtype == "bfloat16")
    last = config.total_steps if config.stop_after is None else min(config.stop_after, config.total_steps)
    model.train()
    with open_log(config.log_path if is_main else None) as log:
        for step in range(len(history["loss"]), last):
            start = time.perf_counter()
            lr = cosine_schedule(step, config.warmup_steps, config.total_steps, config.max_lr, config.min_lr)
            for group in optimizer.param_groups:
                group["lr"] = lr
            model.zero_grad(set_to_none=True)
            total = torch.zeros((), dtype=torch.float64, device=device)
            for i in range(config.accumulation_steps):
                x, y = (part.to(device, non_blocking=True) for part in shards.next_batch())
                # Gradients are summed where they are; processes exchange them once, in the last backward pass.
                waits = dist.is_initialized() and i + 1 < config.accumulation_steps
                with runner.no_sync() if waits else contextlib.nullcontext():
                    with autocast:
                        loss = runner(x, y)[1] / config.accumulation_steps
                    loss.backward()
                total += loss.detach()
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            done = step + 1
            history["loss"].append(mean_over_processes(total).item())
            history["lr"].append(lr)
            history["grad_norm"].append(norm.item())
            n_tokens = x.numel() * config.accumulation_steps * (dist.get_world_size() if dist.is_initialized() else 1)
            speed = n_tokens / (time.perf_counter() - start)
            log({"step": done, **{key: history[key][-1] for key in ("loss", "lr", "grad_norm")}, "tokens_per_second": speed})
            if config.eval_every and (done % config.eval_every == 0 or done == config.total_steps):
                with autocast:
                    history["validation"].append([done, evaluate(model, validation, config.eval_batches)])
                log({"step": done, "validation_loss": history["validation"][-1][1]})
            due = done == last or (config.checkpoint_every and done % config.checkpoint_every == 0)
            if config.checkpoint_path is not None and is_main and due:
                save_checkpoint(
                    config.checkpoint_path,
                    {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "shards": shards.state_dict(),
                        "history": history,
                        "random": random_state(device),
                    },
                )
            show_progress(done, config.total_steps, history, speed, end=done == last)
    for part, mode in modes:
        part.training = mode
    return history
    ### END SOLUTION


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of the processes' values; the value itself where there is one process. Given."""
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """PyTorch's global random states, as far as a run on this device uses them. Given."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """The counterpart of `random_state`. Given."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextlib.contextmanager
def open_log(path: str | os.PathLike | None) -> Iterator[Any]:
    """A function that appends a dict to the file as one line of JSON, at once; one that does nothing without a path. Given."""
    if path is None:
        yield lambda entry: None
        return
    with open(path, "a", encoding="utf-8") as file:
        yield lambda entry: (file.write(json.dumps(entry) + "\n"), file.flush())


def show_progress(done: int, total: int, history: dict[str, list], speed: float, end: bool) -> None:
    """One line on a terminal that is written over at every step, by process 0. Given."""
    if sys.stderr.isatty() and (not dist.is_initialized() or dist.get_rank() == 0):
        bar = "#" * (30 * done // total)
        line = f"\r[{bar:.<30}] step {done} of {total}, loss {history['loss'][-1]:.3f}, {speed:,.0f} tokens/s"
        print(line, end="\n" if end else "", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """`python -m solutions.gpt124m.train --folder CORPUS --out RUN`, alone or under torchrun, given."""
    import argparse

    parser = argparse.ArgumentParser(description="Train a GPT on a prepared corpus; run again, it goes on from its checkpoint.")
    parser.add_argument("--folder", required=True, help="a corpus made by gpt124m.data")
    parser.add_argument("--out", required=True, help="where the checkpoint and the log go")
    for name, value in GPTConfig.gpt2_124m().__dict__.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--batch-size", type=int, default=16, help="sequences of one pass of one process")
    parser.add_argument("--shuffle-seed", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1337, help="of the initial weights")
    own = ("compile", "checkpoint_path", "log_path", "stop_after", "betas")
    for name, value in TrainConfig().__dict__.items():
        if name not in own:
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--compile", action="store_true")
    chosen = vars(parser.parse_args(arguments))
    sizes = {name: chosen[name] for name in GPTConfig().__dict__}
    out = Path(chosen["out"])
    if (out / "config.json").exists():
        there = json.loads((out / "config.json").read_text(encoding="utf-8"))
        if other := ", ".join(f"{name} {there.get(name)}" for name in sizes if there.get(name) != sizes[name]):
            parser.error(f"--out {out}: holds the run of a model with {other}; name another folder for this one")

    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if "WORLD_SIZE" in os.environ:  # started by torchrun
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    model = GPT(GPTConfig(**sizes), torch.Generator().manual_seed(chosen["seed"]))
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(sizes) + "\n", encoding="utf-8")
    fields = {name: chosen[name] for name in TrainConfig().__dict__ if name in chosen}
    config = TrainConfig(**fields, checkpoint_path=str(out / "checkpoint.pt"), log_path=str(out / "log.jsonl"))
    shape = chosen["batch_size"], chosen["context_length"], rank, world_size
    shards = TokenShards(chosen["folder"], "train", *shape, shuffle_seed=chosen["shuffle_seed"])
    validation = TokenShards(chosen["folder"], "validation", *shape) if config.eval_every else None
    history = train(model.to(device), shards, config, validation)
    if rank == 0:
        steps, validation = len(history["loss"]), history["validation"][-1:] or "not asked for"
        print(f"{steps} steps, loss {history['loss'][-1]:.4f}, validation {validation}")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
