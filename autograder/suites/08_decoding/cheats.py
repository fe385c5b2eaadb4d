"""Cheats of this module's own; each must score nothing. Python's heap has parts that nobody is meant to call."""

from autograder.testing.variants import cheat

_HEAP = """
import importlib.util
import sys

{how}


class TopKHeap:
    def __init__(self, k):
        if k < 1:
            raise ValueError("k")
        self.k, self.n, self.heap = k, 0, []

    def __len__(self):
        return len(self.heap)

    def push(self, score, item):
        if score != score:
            raise ValueError("nan")
        entry, self.n = (score, -self.n, item), self.n + 1
        if len(self.heap) < self.k:
            self.heap.append(entry)
            _down(self.heap, 0, len(self.heap) - 1)
        elif self.heap[0][0] < score:
            self.heap[0] = entry
            _up(self.heap, 0)

    def items(self):
        return [(score, item) for score, _, item in sorted(self.heap, key=lambda entry: entry[:2], reverse=True)]
"""

CHEATS = [
    cheat(
        "the_heaps_private_parts",
        "The functions behind heapq's own, under names that are put together.",
        _HEAP.format(how="""
_heap = sys.modules["qpaeh"[::-1]]
_down, _up = (getattr(_heap, name[::-1]) for name in ("nwodtfis_", "putfis_"))
"""),
    ),
    cheat(
        "heapq_once_more",
        "A second copy of heapq, without its part in C.",
        _HEAP.format(how="""
_spec = importlib.util.spec_from_file_location("other", importlib.util.find_spec("qpaeh"[::-1]).origin)
_heap = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_heap)
_down, _up = (getattr(_heap, name[::-1]) for name in ("nwodtfis_", "putfis_"))
"""),
    ),
    cheat(
        "heapq_as_a_text",
        "The text of heapq is run once more.",
        _HEAP.format(how="""
_scope = {"__name__": "other"}
exec(open(importlib.util.find_spec("qpaeh"[::-1]).origin).read(), _scope)
_down, _up = (_scope[name[::-1]] for name in ("nwodtfis_", "putfis_"))
"""),
    ),
    cheat(
        "heapq_as_a_script",
        "The file of heapq is run as a script.",
        _HEAP.format(how="""
import runpy

_scope = runpy.run_path(importlib.util.find_spec("qpaeh"[::-1]).origin)
_down, _up = (_scope[name[::-1]] for name in ("nwodtfis_", "putfis_"))
"""),
    ),
]
