"""What is read of a process's memory is what its code holds, and not what the allocator makes of it."""

from autograder.worker.client import Job, Worker

MIB = 1 << 20
BETWEEN = """
import torch

kept = []


def between(n_masks):
    masks = []
    for _ in range(n_masks):
        masks.append(torch.zeros(256, 256, dtype=torch.bool))
        kept.append(bytes(1000))
    return len(masks)
"""


def test_a_mask_gives_its_memory_back_whatever_was_allocated_after_it(zygote):
    """In the heap the free pieces would stay with the process, and each next mask might need another one."""
    worker = Worker(zygote, Job(files={"between.py": BETWEEN}, main="between"))
    try:
        held = []
        for n_masks in (1, 400):  # the first call maps what it needs of PyTorch's own files
            worker.request(op="call", name="between", args=(n_masks,), kwargs={})
            held.append(worker.usage()[0])
    finally:
        worker.close()
    assert (held[1] - held[0]) / MIB < 12  # of 25: some masks fit into what the heap has free at its end
