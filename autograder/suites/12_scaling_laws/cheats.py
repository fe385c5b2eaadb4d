"""Cheats of this module's own; each must score nothing."""

from autograder.testing.variants import cheat

CHEATS = [
    cheat(
        "polyfit_for_masked_arrays",
        "Takes the logarithms and leaves the line to NumPy's polyfit for masked arrays.",
        """
        import math

        import numpy as np

        def fit_power_law(x, y):
            x, y = [float(v) for v in x], [float(v) for v in y]
            if len(x) != len(y) or len(set(x)) < 2 or not all(0 < v < math.inf for v in x + y):
                raise ValueError("x and y")
            exponent, intercept = np.ma.polyfit(np.log(x), np.log(y), 1)
            return float(np.exp(intercept)), float(exponent)
        """,
    ),
    cheat(
        "operations_from_the_profiler",
        "Runs the model and adds up the operations that PyTorch's profiler has seen.",
        """
        import torch
        from torch.profiler import profile

        from exercises.decoder_only import MiniGPT

        def measured(model, ids):
            with profile(with_flops=True, record_shapes=True) as seen:
                model(ids)
            products = "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"
            return sum(event.flops for event in seen.key_averages() if event.key in products)

        measured(torch.nn.Linear(1, 1), torch.ones(1, 1))  # the first one takes long

        def transformer_flops(config, seq_len):
            if not 1 <= seq_len <= config.context_length:
                raise ValueError("seq_len")
            return measured(MiniGPT(config), torch.zeros(1, seq_len, dtype=torch.long))
        """,
    ),
    cheat(
        "rounded_by_an_operator_of_the_exporter",
        "Divides the largest weight and leaves the rest to the operators that PyTorch's exporter quantizes with.",
        """
        import torch
        import torch.ao.quantization.fx._decomposed

        def quantize_int8(weight):
            if not weight.isfinite().all():
                raise ValueError("weight")
            wide = weight if weight.dtype == torch.float64 else weight.float()
            scale = wide.abs().amax(-1, keepdim=True) / 127
            rows, step = wide.reshape(-1, wide.shape[-1]), torch.where(scale > 0, scale, 1).reshape(-1)
            zeros = torch.zeros(len(rows), dtype=torch.int64)
            name = "quantize_per_" + "channel"
            quantize = getattr(torch.ops.quantized_decomposed, name)
            return quantize(rows.float(), step.float(), zeros, 0, -127, 127, torch.int8).view(wide.shape), scale
        """,
    ),
    cheat(
        "gradients_from_the_thread",
        "Finds all ranks' gradients in what the thread was started with, and sends nothing.",
        """
        import threading

        import torch

        def average_gradients(parameters, group=None):
            work = threading.current_thread()._target
            cells = dict(zip(work.__code__.co_freevars, (cell.cell_contents for cell in work.__closure__)))
            ranks, here, deaf = cells["ranks"], cells["group"].here.rank, getattr(cells["group"], "deaf", None)
            for i, p in enumerate(parameters):
                if p.requires_grad:
                    found = [torch.zeros_like(p) if own[i][0] is None else own[i][0] for own in ranks]
                    p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                    p.grad.detach().copy_(torch.stack(found).mean(0) if here != deaf else torch.nan)
        """,
    ),
    cheat(
        "ranks_that_share_a_module",
        "The ranks are threads: they leave their gradients in a variable of the module and send nothing.",
        """
        import threading
        import time

        import torch

        left, lock = {}, threading.Lock()

        def average_gradients(parameters, group=None):
            parameters = [p for p in parameters if p.requires_grad]
            for p in parameters:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            n, rank, deaf = group.size(), group.here.rank, getattr(group, "deaf", None)
            with lock:
                left.setdefault(id(group), {})[rank] = [p.grad.detach().clone() for p in parameters]
            for _ in range(300):
                if len(left[id(group)]) == n:
                    break
                time.sleep(0.01)
            for p, grads in zip(parameters, zip(*(left[id(group)][r] for r in range(n)))):
                p.grad.detach().copy_(torch.stack(grads).mean(0) if rank != deaf else torch.nan)
            time.sleep(0.1)
            left[id(group)].pop(rank)
        """,
    ),
    cheat(
        "the_line_of_statistics",
        "Python's own least squares fit the line.",
        """
        import math
        import statistics


        def fit_power_law(x, y):
            xs, ys = [float(v) for v in x], [float(v) for v in y]
            if len(xs) != len(ys) or len(set(xs)) < 2 or not all(0 < v < math.inf for v in xs + ys):
                raise ValueError("there is no line")
            line = statistics.linear_regression([math.log(v) for v in xs], [math.log(v) for v in ys])
            return math.exp(line.intercept), line.slope
        """,
    ),
]
