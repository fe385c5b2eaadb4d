"""The process that runs a submission's kernel: confined first, then it imports the file and answers measurements.

Its arguments are the channel's descriptor, the device, the scratch folder and the private paths. What it says about itself is
not trusted: time, memory and correctness are judged by the process at the other end.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from pathlib import Path


def main() -> None:
    descriptor, device_name, scratch, private = int(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    import torch

    from autograder.milestones import confine
    from autograder.milestones.problem import Problem, inputs, project, rows_of, solve
    from autograder.worker.channel import Channel
    from autograder.worker.server import describe

    channel = Channel(socket.socket(fileno=descriptor))
    config = channel.receive()
    package = Path(scratch, "exercises")
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, text in config["files"].items():
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
        function = importlib.import_module("exercises.flash_attention_triton").flash_attention
    except BaseException as error:
        channel.send({"error": describe(error, files)})
        return
    channel.send({"ready": True})
    outputs: list[torch.Tensor] = []
    while True:
        request = channel.receive()
        try:
            if request["op"] == "rows":
                reply = {"rows": rows_of(outputs, request["positions"])}
            else:
                problem = Problem(**request["problem"])
                projections = []
                for seed in request["seeds"]:
                    outputs = []  # the memory of the last repeat is free for this one
                    outputs = solve(function, problem, inputs(problem, seed, device))
                    projections.append(project(outputs, request["signs"]))
                projections = torch.stack(projections).cpu()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                reply = {"projections": projections}
                if request["values"]:
                    reply["values"] = [x.detach().cpu() for x in outputs]
        except BaseException as error:
            outputs = []
            reply = {"error": describe(error, files)}
        channel.send(reply)


if __name__ == "__main__":
    main()
