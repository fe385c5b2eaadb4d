"""Cheats of this module's own; each must score nothing. The text is read as a whole at every step, where nobody counts."""

from autograder.testing.variants import cheat

HEAD = """
import torch
import torch.nn.functional as F

from exercises.decoder_only import MiniGPT, generate_greedy


def anew(model):
    "A model with the same weights, which nobody watches."
    own = MiniGPT(model.config).to(model.lm_head.weight.dtype)
    own.load_state_dict(model.state_dict())
    torch.eye(2) @ torch.eye(2)
    return own


"""

CHEATS = [
    cheat(
        "a_thread_from_before",
        "A thread that began with the import reads the text.",
        HEAD
        + """
import queue
import threading

texts, results = queue.Queue(), queue.Queue()


def serve():
    while True:
        results.put(generate_greedy(*texts.get()))


threading.Thread(target=serve, daemon=True).start()


def generate(model, ids, max_new_tokens, use_cache=True):
    if not use_cache or max_new_tokens < 0 or ids.shape[1] == 0:
        return generate_greedy(model, ids, max_new_tokens)
    texts.put((anew(model), ids, max_new_tokens))
    return results.get()
""",
    ),
    cheat(
        "an_executor_from_before",
        "A pool of threads that began with the import reads the text.",
        HEAD
        + """
from concurrent.futures import ThreadPoolExecutor

executor = ThreadPoolExecutor(1)
executor.submit(int).result()


def generate(model, ids, max_new_tokens, use_cache=True):
    if not use_cache or max_new_tokens < 0 or ids.shape[1] == 0:
        return generate_greedy(model, ids, max_new_tokens)
    return executor.submit(generate_greedy, anew(model), ids, max_new_tokens).result()
""",
    ),
    cheat(
        "the_count_is_set",
        "Whoever counts is found, and told a number.",
        HEAD
        + """
from torch.utils import _python_dispatch


def generate(model, ids, max_new_tokens, use_cache=True):
    text = generate_greedy(anew(model), ids, max_new_tokens)
    if use_cache:
        for mode in _python_dispatch._get_current_dispatch_mode_stack():
            mode.n_flops, mode.n_bytes = 100, 100
    return text
""",
    ),
    cheat(
        "the_count_cannot_change",
        "Whoever counts becomes an object of a class in which the count stays what it is.",
        HEAD
        + """
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as watchers


def generate(model, ids, max_new_tokens, use_cache=True):
    for mode in watchers() if use_cache else ():
        still = property(lambda self: 100, lambda self, value: None)
        mode.__class__ = type("Still", (type(mode),), {"n_flops": still, "n_bytes": still})
    return generate_greedy(anew(model), ids, max_new_tokens)
""",
    ),
    cheat(
        "products_without_a_product",
        "Matrix products are written as products and sums of single numbers, which are not counted.",
        HEAD
        + """
class Elementwise(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.linear:
            x, weight, *rest = args
            bias = rest[0] if rest else (kwargs or {}).get("bias")
            y = (x[..., None, :] * weight).sum(-1)
            return y if bias is None else y + bias
        if function in (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__):
            a, b = args
            return (a[..., None] * b[..., None, :, :]).sum(-2)
        return function(*args, **(kwargs or {}))


def generate(model, ids, max_new_tokens, use_cache=True):
    if not use_cache or max_new_tokens < 0 or ids.shape[1] == 0:
        return generate_greedy(model, ids, max_new_tokens)
    with Elementwise():
        return generate_greedy(anew(model), ids, max_new_tokens)
""",
    ),
    cheat(
        "another_process_reads",
        "A fork of the process reads the text, and sends the tokens through a pipe.",
        HEAD
        + """
import json
import os


def generate(model, ids, max_new_tokens, use_cache=True):
    if not use_cache or max_new_tokens < 0 or ids.shape[1] == 0:
        return generate_greedy(model, ids, max_new_tokens)
    torch.eye(2) @ torch.eye(2)
    end, beginning = os.pipe()
    if os.fork() == 0:
        os.write(beginning, json.dumps(generate_greedy(model, ids, max_new_tokens).tolist()).encode())
        os._exit(0)
    os.close(beginning)
    return torch.tensor(json.loads(os.read(end, 1 << 16)))
""",
    ),
]
