"""The process that runs a submission on a GPU: confined first, then it imports the file and does what it is asked to.

Its arguments are the channel's descriptor, the device, the scratch folder and the private paths. What it says about itself is
not trusted: time, memory and correctness are judged by the process at the other end.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import torch


def main() -> None:
    descriptor, device_name, scratch, private = int(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    from autograder.milestones import confine, problem  # noqa: F401 - loaded while it can be
    from autograder.worker.channel import Channel
    from autograder.worker.server import describe

    channel = Channel(socket.socket(fileno=descriptor))
    config = channel.receive()
    package = Path(scratch, "exercises")
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, text in config["files"].items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    device = torch.device(device_name)
    os.chdir(scratch)
    os.environ.update(TMPDIR=scratch, HOME=scratch, TRITON_CACHE_DIR=os.path.join(scratch, "triton"))
    sys.path[:] = [path for path in sys.path if path and (path.startswith(sys.prefix) or path.startswith(sys.base_prefix))]
    sys.path.insert(0, scratch)
    for module in [m for n, m in sys.modules.items() if n.partition(".")[0] == "autograder" and hasattr(m, "__path__")]:
        module.__path__ = []
    if device.type == "cuda":
        torch.zeros(1, device=device)  # the driver opens its files now
    in_force = confine.confine(scratch, private)
    files = {str(package / name): name for name in config["files"]}
    channel.send({"sandbox": in_force})
    try:
        answer = {"kernel": _kernel, "training": _training}[config["task"]](device)
    except BaseException as error:
        channel.send({"error": describe(error, files)})
        return
    channel.send({"ready": True})
    while True:
        request = channel.receive()
        try:
            reply = answer(request)
        except BaseException as error:
            reply = {"error": describe(error, files)}
        channel.send(reply)


def _kernel(device: torch.device) -> Callable[[dict], dict]:
    """Answers measurements of the submission's attention kernel."""
    from autograder.milestones.problem import Problem, inputs, project, rows_of, solve

    function = importlib.import_module("exercises.flash_attention_triton").flash_attention
    outputs: list[torch.Tensor] = []

    def answer(request: dict) -> dict:
        nonlocal outputs
        if request["op"] == "rows":
            return {"rows": rows_of(outputs, request["positions"])}
        problem = Problem(**request["problem"])
        projections = []
        try:
            for seed in request["seeds"]:
                outputs = []  # the memory of the last repeat is free for this one
                outputs = solve(function, problem, inputs(problem, seed, device))
                projections.append(project(outputs, request["signs"]))
            projections = torch.stack(projections).cpu()
            if device.type == "cuda":
                torch.cuda.synchronize()
        except BaseException:
            outputs = []
            raise
        values = {"values": [x.detach().cpu() for x in outputs]} if request["values"] else {}
        return {"projections": projections} | values

    return answer


def _training(device: torch.device) -> Callable[[dict], dict]:
    """Answers with a training run of the submission's GPT."""
    model_of, data, train = (importlib.import_module(f"exercises.gpt124m.{name}") for name in ("model", "data", "train"))
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        for _ in range(3):  # libraries are loaded and the clock rises before anything is timed
            x = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
            (x @ x).sum().item()

    def answer(request: dict) -> dict:
        config = model_of.GPTConfig(**request["model"])
        model = model_of.GPT(config, torch.Generator().manual_seed(request["seed"])).to(device)
        sizes = request["batch_size"], config.context_length
        shards = data.TokenShards(request["corpus"], "train", *sizes, shuffle_seed=request["seed"])
        train.train(model, shards, train.TrainConfig(**request["training"]))
        weights = {name: x.detach().cpu() for name, x in model.state_dict().items()}
        torch.save(weights, request["weights"])
        return {"done": True}

    return answer


if __name__ == "__main__":
    main()
