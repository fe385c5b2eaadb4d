"""The Triton kernels of module 13, compiled for GPUs that this machine does not have.

Compiling needs a process in which Triton does not interpret, so the file runs itself once (`python test_….py`, `--all` for
every case) and the tests read what it prints: for each kernel the shared memory, the registers and the spilled bytes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}  # CUDA programming guide, table of compute capabilities
EVERYWHERE = 99 * 1024  # the plan for devices other than Hopper has to fit on 8.6 and 8.9 too
# (capability, dtype, head_dim, causal, group, n_q); `--all` has many more, for whoever changes a plan
CASES = [
    (90, "bfloat16", 128, True, 1, 4096),
    (80, "float16", 80, True, 2, 1000),
]
HOPPER = [(128, True, 1), (128, True, 4), (128, False, 1), (64, True, 1)]  # (head_dim, causal, group) for the kernels of Hopper
FORWARD_ONLY = [(80, "float32", 128, False, 1, 1000)]  # compiling takes seconds, and float32 is nobody's fast path


def every_case() -> list[tuple]:
    """Both capabilities and masks, at widths that fill a tile and widths that are padded, lengths that do and that do not."""
    return [
        (capability, dtype, head_dim, causal, group, n_q)
        for capability in SHARED_MEMORY
        for group in (1, 2)
        for dtype in ("bfloat16", "float32")
        for head_dim, n_q in ((128, 4096), (128, 1000), (80, 1000), (64, 4096), (48, 1000), (16, 4096))
        for causal in (True, False)
    ]


def launches(case: tuple) -> list[tuple]:
    """(kernel, arguments, options) of every launch that the given launch code makes for a case; nothing runs."""
    import torch
    import triton

    from solutions import flash_attention_triton as module

    capability, dtype, head_dim, causal, group, n_q = case
    seen = []

    def record(kernel, *args, grid, warmup, **kwargs):
        seen.append((kernel, args, kwargs))

    run, plan_for = triton.JITFunction.run, module._plan_for
    triton.JITFunction.run = record
    module._plan_for = lambda q, k: module.plan(q.dtype, q.shape[-1], divmod(capability, 10), q.shape[1] > k.shape[1])
    try:
        shape = (1, 4, n_q, head_dim), (1, 4 // group, n_q + 16, head_dim)
        q, k = (torch.empty(*size, dtype=getattr(torch, dtype)) for size in shape)
        out, lse = module.attention_forward(q, k, k, causal, 0.1)
        module.attention_backward(out, q, k, k, out, lse, causal, 0.1)
    finally:
        triton.JITFunction.run, module._plan_for = run, plan_for
    return seen


def specialise(value, path: tuple, constants: dict, attributes: dict):
    """The type of a launch argument as Triton's own launcher sees it: 1 is a constant, multiples of 16 are known to be that."""
    import torch

    if isinstance(value, tuple):
        return tuple(specialise(item, (*path, i), constants, attributes) for i, item in enumerate(value))
    if isinstance(value, torch.Tensor):
        attributes[path] = [["tt.divisibility", 16]]
        names = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
        return "*" + names[value.dtype]
    if isinstance(value, float):
        return "fp32"
    if value == 1:
        constants[path] = 1
        return "constexpr"
    if value % 16 == 0:
        attributes[path] = [["tt.divisibility", 16]]
    return "i32" if value < 2**31 else "i64"


def compiled(kernel, args: tuple, kwargs: dict, capability: int) -> dict:
    """What one launch's kernel needs on a GPU of that capability."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    options = {key: value for key, value in kwargs.items() if key not in names}
    constants = {(names.index(key),): value for key, value in kwargs.items() if key in names}
    attributes: dict = {}
    signature = {name: specialise(arg, (i,), constants, attributes) for i, (name, arg) in enumerate(zip(names, args))}
    signature |= {name: "constexpr" for name in names[len(args) :]}
    source = ASTSource(kernel, signature, constants, attributes)
    with contextlib.redirect_stdout(io.StringIO()) as log:  # where Triton prints what its assembler says
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return needs(kernel.__name__, made, log.getvalue())


def needs(name: str, made, said: str) -> dict:
    """The resources of a compiled kernel, from its metadata and from what the assembler said."""
    return {
        "kernel": name,
        "shared": made.metadata.shared,
        "registers": int(re.search(r"Used (\d+) registers", said)[1]),
        "spilled": sum(map(int, re.findall(r"(\d+) bytes spill", said))),
        "wgmma": "wgmma" in made.asm["ptx"],
        "mma": "mma.sync" in made.asm["ptx"],
    }


class NoDevice:
    """Stands in for Triton's driver where kernels are compiled for a device that is not there."""

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def hopper_kernels(head_dim: int, causal: bool, group: int) -> list[dict]:
    """What each kernel of flash_attention_hopper.py needs, launched as the file launches it, at several lengths, but not run."""
    import torch
    import triton
    from triton.compiler.compiler import CompiledKernel

    from solutions import flash_attention_hopper as module

    triton.runtime.driver.set_active(NoDevice())
    CompiledKernel._init_handles = lambda self: None  # it would load the kernel onto the device
    run, found = triton.JITFunction.run, []

    def compile_only(kernel, *args, grid, warmup, **kwargs):
        with contextlib.redirect_stdout(io.StringIO()) as log:
            made = run(kernel, *args, grid=grid, warmup=True, **kwargs)
        if log.getvalue():  # or else it is one that was compiled for other lengths
            found.append(needs(kernel.__name__, made, log.getvalue()))

    triton.JITFunction.run = compile_only
    try:
        for n_q, n_k in ((1000, 1000), (4096, 4096), (1, 1000), (1000, 1)):
            q = torch.empty(1, 4, n_q, head_dim, dtype=torch.bfloat16)
            k = torch.empty(1, 4 // group, n_k, head_dim, dtype=torch.bfloat16)
            out, lse = module.attention_forward(q, k, k, causal, 0.1)
            module.attention_backward(out, q, k, k, out, lse, causal, 0.1)
    finally:
        triton.JITFunction.run = run
    return found


def hopper_launches() -> dict:
    """What reaches the launcher when flash_attention_hopper.py runs three times: by way of Triton, then without asking it."""
    import torch
    import triton
    from triton.compiler.compiler import CompiledKernel

    from solutions import flash_attention_hopper as module

    def written(value) -> str:
        tensor = getattr(value, "base", value)
        if isinstance(tensor, torch.Tensor):
            return f"{tensor.dtype} {tuple(tensor.shape)} {getattr(value, 'block_shape', '')} {getattr(value, 'layout', '')}"
        return f"{type(value).__name__} {value}"

    class Launcher:
        def __get__(self, made, _):
            return lambda *args: reached.append([made.name, *map(written, args[:3]), *map(written, args[9:])])

        def __set__(self, made, value) -> None:  # the constructor's None
            pass

    def asked_of_triton(kernel, *args, **kwargs):
        asked.append(kernel.__name__)
        return run(kernel, *args, **kwargs)

    triton.runtime.driver.set_active(NoDevice())
    CompiledKernel._init_handles = lambda self: None
    CompiledKernel.launch_metadata = lambda *args: None
    CompiledKernel.run, CompiledKernel.function = Launcher(), None
    module._COMPILED.clear()
    run, triton.JITFunction.run = triton.JITFunction.run, asked_of_triton
    calls = []
    for n, scale in ((300, 1), (300, 1), (1, 0.5)):  # what Triton would take for constants: a length and a scale of 1
        reached, asked = [], []
        q = torch.empty(1, 4, n, 64, dtype=torch.bfloat16)
        with contextlib.redirect_stdout(io.StringIO()):
            out, lse = module.attention_forward(q, q, q, True, scale)
            module.attention_backward(out, q, q, q, out, lse, True, scale)
        calls.append({"reached": reached, "asked": asked})
    triton.JITFunction.run = run
    return {"case": [90, "launches"], "calls": calls}


def main() -> None:
    sys.path.insert(0, str(ROOT))
    os.environ.update(TRITON_ALWAYS_COMPILE="1", TRITON_DUMP_PTXAS_LOG="1")
    for case in every_case() if "--all" in sys.argv else [*CASES, *FORWARD_ONLY]:
        for kernel, args, kwargs in launches(case)[: 1 if case in FORWARD_ONLY else None]:
            print(json.dumps({"case": list(case), **compiled(kernel, args, kwargs, case[0])}), flush=True)
    for case in HOPPER:
        for kernel in hopper_kernels(*case):
            print(json.dumps({"case": [90, "hopper", *case], **kernel}), flush=True)
    print(json.dumps(hopper_launches()), flush=True)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TRITON_")}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton")), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def kernels(everything) -> list[dict]:
    return [kernel for kernel in everything if not {"hopper", "launches"} & set(kernel["case"])]


@pytest.fixture
def for_hopper(everything) -> list[dict]:
    return [kernel for kernel in everything if "hopper" in kernel["case"]]


def test_hoppers_own_kernels_fit_and_serve_all_lengths(for_hopper):
    names = ["_forward_kernel", "_keys_backward_kernel", "_queries_backward_kernel"]
    found = [kernel["kernel"] for kernel in for_hopper]
    assert found.count("_delta_kernel") == len({head_dim for head_dim, _, _ in HOPPER})  # the same for every mask and group
    assert [name for name in found if name != "_delta_kernel"] == names * len(HOPPER)
    for kernel in for_hopper:
        assert 0 <= kernel["shared"] <= SHARED_MEMORY[90], kernel
        assert kernel["wgmma"] == (kernel["kernel"] != "_delta_kernel"), kernel
        if kernel["kernel"] != "_delta_kernel":  # 168 on the average: consumers take 240, the producer 24
            assert kernel["registers"] == 168, kernel
        assert kernel["spilled"] == 0, kernel


def test_triton_is_asked_once_which_kernel_hopper_needs(everything):
    first, again, other = [case["calls"] for case in everything if "launches" in case["case"]][0]
    names = ["_forward_kernel", "_delta_kernel", "_keys_backward_kernel", "_queries_backward_kernel"]
    assert first["asked"] == names and again["asked"] == other["asked"] == ["_delta_kernel"]
    assert [launch[0] for launch in other["reached"]] == names
    assert first["reached"] == again["reached"], "launched by itself, a kernel must get what Triton would give it"
    assert [len(launch) for launch in other["reached"]] == [len(launch) for launch in first["reached"]]
    scales = [value for launch in other["reached"] for value in launch if value.startswith("float")]
    assert [scale[:9] for scale in scales] == ["float 0.7", "float 0.5", "float 0.7", "float 0.5", "float 0.7"], scales


def test_every_kernel_compiles(kernels):
    assert [tuple(kernel["case"]) for kernel in kernels] == [case for case in CASES for _ in range(4)] + FORWARD_ONLY
    names = ["_forward_kernel", "_delta_kernel", "_keys_backward_kernel", "_queries_backward_kernel"]
    assert [kernel["kernel"] for kernel in kernels] == names * len(CASES) + names[:1]


def test_tiles_fit_into_shared_memory(kernels):
    for kernel in kernels:
        capability = kernel["case"][0]
        room = SHARED_MEMORY[90] if capability == 90 and kernel["case"][1] != "float32" else EVERYWHERE
        assert 0 <= kernel["shared"] <= room, kernel
    assert any(kernel["shared"] > 0 for kernel in kernels)


def test_no_register_is_spilled(kernels):
    for kernel in kernels:
        assert kernel["spilled"] == 0 and 0 < kernel["registers"] <= 255, kernel


def test_half_precision_runs_on_the_tensor_cores(kernels):
    for kernel in kernels:
        if kernel["kernel"] != "_delta_kernel" and kernel["case"][1] != "float32":
            assert kernel["wgmma" if kernel["case"][0] == 90 else "mma"], kernel


def test_float32_is_not_cut_to_fewer_bits(kernels):
    assert not any(kernel["mma"] or kernel["wgmma"] for kernel in kernels if kernel["case"][1] == "float32")


if __name__ == "__main__":
    main()
