"""Gluon for Hopper on a CPU: enough of it to run the kernels of `flash_attention_hopper.py` as they stand.

Triton's interpreter does not know Gluon, and what can go wrong in it are agreements between groups of warps: a tile that is
overwritten while it is read, a barrier that nobody opens. So every group is a thread here, of which one runs at a time, and a
schedule decides who goes on and when what is asynchronous really happens: as early as it may, as late as it may, or at random.
Shared memory is NaN until it is written, and again from the moment a copy into it is asked for until that has come. Layouts,
registers and speed are not modelled.
"""

from __future__ import annotations

import linecache
import math
import random
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton.experimental
from torch import Tensor

HOPPER = "triton.experimental.gluon.language.nvidia.hopper"


class Hazard(Exception):
    """Groups of warps that do not agree: a deadlock, or memory that is written while it is read."""


class _Stopped(BaseException):
    """Another group of the program has failed."""


class Scalar(int):
    """A number that knows `.to`, as numbers in a kernel do."""

    def to(self, dtype: torch.dtype) -> Scalar:
        return self


def _scalar_method(name: str) -> Callable:
    plain = getattr(int, name)

    def method(self: Scalar, other: Any) -> Any:
        result = plain(self, other)
        return result if result is NotImplemented else Scalar(result)

    return method


for _name in "add radd sub rsub mul rmul floordiv rfloordiv mod rmod and rand xor rxor".split():
    setattr(Scalar, f"__{_name}__", _scalar_method(f"__{_name}__"))


class Schedule:
    """When asynchronous work happens: "early", "late" or "random". Who runs next is drawn from the seed in any case.

    Groups have ranks, and the first that can goes on; ranks change now and then, so that some group may get nowhere for long.
    """

    def __init__(self, when: str, seed: int = 0):
        self.when = when
        self.random = random.Random(seed)

    def now(self) -> bool:
        """Whether something that may happen happens now."""
        return self.when == "early" or (self.when == "random" and self.random.random() < 0.3)

    def first(self, ready: Sequence[Group]) -> Group:
        """Who goes on."""
        for group in ready:
            if self.random.random() < 0.1:
                group.rank = self.random.random()
        return max(ready, key=lambda group: group.rank)


class Group:
    """Warps that run one function: where they wait, and what they have asked for that may not have happened yet."""

    def __init__(self, name: str):
        self.name = name
        self.turn = threading.Semaphore(0)
        self.waits: tuple[Barrier, int] | None = None
        self.products: list[Product] = []
        self.stores: list[tuple[Shared, Callable[[], None]]] = []
        self.unfenced: set[tuple[int, int | None]] = set()  # places it has stored to since its last fence
        self.done = False
        self.rank = 0.0


class Barrier:
    """An mbarrier: a phase ends when all have arrived and all expected bytes have come."""

    def __init__(self, name: str):
        self.name = name
        self.count = self.arrivals = self.n_bytes = self.phase = 0

    def is_open(self, parity: int) -> bool:
        return self.phase & 1 != parity

    def change(self, arrivals: int = 0, n_bytes: int = 0) -> None:
        self.arrivals += arrivals
        self.n_bytes += n_bytes
        if self.arrivals > self.count:
            raise Hazard(f"{self.name}: {self.arrivals} arrivals in a phase of {self.count}")
        if self.arrivals == self.count and self.n_bytes == 0:
            self.arrivals = 0
            self.phase += 1


class Shared:
    """A view of shared memory. `place` is what it is a part of, for those who ask whether it is in use."""

    def __init__(self, data: Tensor, place: tuple[int, int | None]):
        self.data, self.place = data, place

    @property
    def shape(self) -> list[int]:
        return list(self.data.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.data.dtype

    def index(self, i: int) -> Shared:
        if not 0 <= i < len(self.data):
            raise Hazard(f"place {i} of {len(self.data)} in shared memory")
        return Shared(self.data[i], (self.place[0], int(i)))

    def reshape(self, shape: Sequence[int]) -> Shared:
        return Shared(self.data.view(*shape), self.place)

    def permute(self, order: Sequence[int]) -> Shared:
        return Shared(self.data.permute(*order), self.place)

    def load(self, layout: Any) -> Tensor:
        machine.step()
        return self.data.clone()

    def store(self, value: Tensor) -> None:
        machine.refuse_use(self.place)
        machine.running.unfenced.add(self.place)
        self.data.copy_(value)
        machine.step()


class Product:
    """a @ b + acc, computed when the tensor cores get to it."""

    def __init__(self, a: Any, b: Shared, acc: Any):
        self.a, self.b, self.acc = a, b, acc
        self.value: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        raise Hazard(f"the {name} of a product that has not been waited for")

    def compute(self) -> None:
        a, b, acc = (_values(x) for x in (self.a, self.b, self.acc))
        self.value = a.float() @ b.float() + acc


def _values(x: Any) -> Tensor:
    if isinstance(x, Product):
        if x.value is None:
            raise Hazard("a product is used before it has been waited for")
        return x.value
    return x.data if isinstance(x, Shared) else x


class Machine:
    """One program of a kernel's grid."""

    def __init__(self, index: int, schedule: Schedule):
        self.index, self.schedule = index, schedule
        self.groups: list[Group] = []
        self.loads: list[tuple[Shared, Callable[[], None]]] = []
        self.running = Group("the program")
        self.memory = 0
        self.error: BaseException | None = None
        self._main = threading.Semaphore(0)

    def run(self, work: Sequence[tuple[Callable, tuple]]) -> None:
        self.groups = [Group(f"{getattr(function, '__name__', function)} ({i})") for i, (function, _) in enumerate(work)]
        threads = [
            threading.Thread(target=self._group, args=(group, *job), daemon=True)
            for group, job in zip(self.groups, work, strict=True)
        ]
        for thread in threads:
            thread.start()
        self._pass_on()
        self._main.acquire()
        for thread in threads:
            thread.join()
        if self.error is not None:
            raise self.error

    def _group(self, group: Group, function: Callable, args: tuple) -> None:
        group.turn.acquire()
        try:
            if self.error is None:
                function(*args)
                if group.products or group.stores:
                    raise Hazard(f"{group.name} ends with work that it has not waited for")
        except _Stopped:
            pass
        except BaseException as error:
            self.error = self.error or error
        group.done = True
        try:
            self._pass_on()
        except Hazard as error:
            self.error = self.error or error
            self._pass_on()

    def _pass_on(self) -> None:
        """Let somebody else run; the program is over when nobody is left."""
        if all(group.done for group in self.groups):
            self._main.release()
            return
        self.running = self._next()
        self.running.turn.release()

    def _next(self) -> Group:
        alive = [group for group in self.groups if not group.done]
        if self.error is not None:
            return alive[0]
        while True:
            ready = [group for group in alive if group.waits is None or group.waits[0].is_open(group.waits[1])]
            if ready:
                return self.schedule.first(ready)
            if not self.loads:
                waits = "; ".join(f"{g.name} for {g.waits[0].name}, phase {g.waits[1]}" for g in alive)
                raise Hazard(f"deadlock in program {self.index}: {waits}")
            self._load()

    def step(self) -> None:
        """A moment at which others may go on and things may happen."""
        me = self.running
        if not self.groups:  # before the groups part
            return
        while self.loads and self.schedule.now():
            self._load()
        while me.products and self.schedule.now():
            me.products.pop(0).compute()
        while me.stores and self.schedule.now():
            me.stores.pop(0)[1]()
        self.running = self._next()
        if self.running is not me:
            self.running.turn.release()
            me.turn.acquire()
        if self.error is not None:
            raise _Stopped

    def _load(self) -> None:
        self.loads.pop(self.schedule.random.randrange(len(self.loads)))[1]()

    def refuse_use(self, place: tuple[int, int | None]) -> None:
        """Whoever is about to write there must not find others at work."""
        reading = [p for group in self.groups for p in group.products if place in _places(p)]
        copying = self.loads + [store for group in self.groups for store in group.stores]
        if reading or any(tile.place == place for tile, _ in copying):
            raise Hazard(f"place {place[1]} of shared memory is written while it is in use")


def _places(product: Product) -> list[tuple[int, int | None]]:
    return [x.place for x in (product.a, product.b) if isinstance(x, Shared)]


machine: Machine = None  # of the program that runs now


class TensorDescriptor:
    """A tensor as the copy engine sees it: tiles of `block`, zeros beyond the end."""

    def __init__(self, base: Tensor, shape: Sequence[int], strides: Sequence[int], block: Sequence[int], layout: Any):
        assert list(base.shape) == list(shape) and list(base.stride()) == list(strides)
        self.base, self.dtype, self.layout = base, base.dtype, layout
        self.block_type = SimpleNamespace(shape=list(block), nbytes=math.prod(block) * base.element_size())

    def part(self, start: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where a tile lies in the tensor, and which of its rows and columns that is."""
        here, there = [], []
        for first, size, n in zip(start, self.block_type.shape, self.base.shape, strict=True):
            low, high = max(int(first), 0), min(int(first) + size, n)
            high = max(low, high)
            here.append(slice(low, high))
            there.append(slice(low - int(first), high - int(first)))
        return tuple(here), tuple(there)


def _copy_in(desc: TensorDescriptor, start: Sequence[int], barrier: Barrier, target: Shared) -> None:
    machine.refuse_use(target.place)
    target.data.fill_(math.nan)

    def arrive() -> None:
        here, there = desc.part(start)
        target.data.zero_()
        target.data[there] = desc.base[here]
        barrier.change(n_bytes=-desc.block_type.nbytes)

    machine.loads.append((target, arrive))
    machine.step()


def _copy_out(desc: TensorDescriptor, start: Sequence[int], source: Shared) -> None:
    if any(source.place in group.unfenced for group in machine.groups):
        raise Hazard("the copy engine may not see what was stored: a fence is missing")

    def write() -> None:
        here, there = desc.part(start)
        desc.base[here] = source.data[there]

    machine.running.stores.append((source, write))
    machine.step()


def _store_wait(pending: int) -> None:
    machine.step()
    stores = machine.running.stores
    while len(stores) > pending:
        stores.pop(0)[1]()


def _product(a: Any, b: Shared, acc: Any, use_acc: bool = True, is_async: bool = False) -> Product:
    product = Product(a, b, acc if use_acc else torch.zeros_like(_values(acc)))
    machine.running.products.append(product)
    machine.step()
    return product if is_async else _product_wait(0, [product])


def _product_wait(pending: int, deps: Sequence[Any]) -> Any:
    machine.step()
    products = machine.running.products
    while len(products) > pending:
        products.pop(0).compute()
    done = tuple(x.value.clone() if isinstance(x, Product) and x.value is not None else x for x in deps)
    return done if len(done) > 1 else done[0]


def _init(barrier: Barrier, count: int) -> None:
    barrier.count = count


def _wait(barrier: Barrier, parity: int) -> None:
    machine.running.waits = barrier, int(parity)
    me = machine.running
    machine.step()
    me.waits = None


def _arrive(barrier: Barrier, count: int = 1) -> None:
    barrier.change(arrivals=count)
    machine.step()


def _expect(barrier: Barrier, n_bytes: int) -> None:
    barrier.change(arrivals=1, n_bytes=n_bytes)
    machine.step()


class _Barriers:
    def __init__(self, n: int):
        self.places = [Barrier(f"barrier {machine.memory}.{i}") for i in range(n)]

    def index(self, i: int) -> Barrier:
        return self.places[i]


class _MBarrierLayout:
    pass


def _allocate(dtype: torch.dtype, shape: Sequence[int], layout: Any) -> Any:
    machine.memory += 1
    if isinstance(layout, _MBarrierLayout):
        return _Barriers(shape[0])
    return Shared(torch.full(list(map(int, shape)), math.nan, dtype=dtype), (machine.memory, None))


class Pointer:
    """Numbers in a flat tensor, from an offset on; an offset may be a vector."""

    def __init__(self, base: Tensor, offset: Any = 0):
        self.base, self.offset = base, offset

    def __add__(self, more: Any) -> Pointer:
        return Pointer(self.base, self.offset + more)

    def at(self, mask: Tensor | None) -> Tensor:
        offset = torch.as_tensor(self.offset)
        offset = offset if mask is None else offset[mask]
        if offset.numel() and not 0 <= offset.min() <= offset.max() < self.base.numel():
            raise Hazard("memory beyond the end of a tensor")
        return offset


def _store(pointer: Pointer, value: Tensor, mask: Tensor | None = None) -> None:
    pointer.base.view(-1)[pointer.at(mask)] = value if mask is None else value[mask]


class _Kernel:
    """What `gluon.jit` makes of a function: it can be called, and launched over a grid."""

    def __init__(self, function: Callable):
        self.function, self.__name__ = function, function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __getitem__(self, grid: tuple[int]) -> Callable:
        def launch(*args: Any, num_warps: int = 4, maxnreg: int = 0, **constants: Any) -> None:
            global machine
            given = [Pointer(arg) if isinstance(arg, Tensor) else arg for arg in args]
            for index in range(grid[0]):
                machine = Machine(index, schedule)
                self.function(*given, **constants)

        return launch


def _jit(function: Callable | None = None, **options: Any) -> Callable:
    return _Kernel if function is None else _Kernel(function)


def _least(pick: Callable, of_tensors: Callable) -> Callable:
    def chosen(a: Any, b: Any) -> Any:
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            return of_tensors(torch.as_tensor(a), torch.as_tensor(b))
        return Scalar(pick(a, b))

    return chosen


class _Layout:
    def __init__(self, *args: Any, **kwargs: Any):
        pass

    @classmethod
    def get_default_for(cls, *args: Any) -> _Layout:
        return cls()


def _language() -> types.ModuleType:
    gl = types.ModuleType("triton.experimental.gluon.language")
    gl.constexpr, gl.static_range = lambda value: value, range
    gl.int64, gl.float32, gl.float16, gl.bfloat16 = torch.int64, torch.float32, torch.float16, torch.bfloat16
    gl.NVMMADistributedLayout = gl.DotOperandLayout = gl.SliceLayout = gl.NVMMASharedLayout = _Layout
    gl.allocate_shared_memory = _allocate
    gl.program_id = lambda axis: Scalar(machine.index)
    gl.warp_specialize = lambda work, warps, registers: machine.run(work)
    gl.minimum, gl.maximum = _least(min, torch.minimum), _least(max, torch.maximum)
    gl.cdiv = lambda a, b: Scalar(-(-a // b))
    gl.arange = lambda start, end, layout: torch.arange(start, end)
    gl.zeros = lambda shape, dtype, layout: torch.zeros(shape, dtype=dtype)
    gl.full = lambda shape, value, dtype, layout: torch.full(shape, value, dtype=dtype)
    gl.zeros_like, gl.where, gl.exp2, gl.log2 = torch.zeros_like, torch.where, torch.exp2, torch.log2
    gl.max, gl.sum = (lambda x, axis: x.amax(axis)), (lambda x, axis: x.sum(axis))
    gl.convert_layout = lambda x, layout: x
    gl.load = lambda pointer: pointer.base.view(-1)[pointer.at(None)]
    gl.store = _store
    return gl


def _modules() -> dict[str, types.ModuleType]:
    gluon, gl = types.ModuleType("triton.experimental.gluon"), _language()
    gluon.jit, gluon.language = _jit, gl
    hopper, host = types.ModuleType(HOPPER), types.ModuleType("triton.experimental.gluon.nvidia.hopper")
    hopper.mbarrier = SimpleNamespace(
        MBarrierLayout=_MBarrierLayout,
        init=lambda b, count: setattr(b, "count", count),
        expect=_expect,
        wait=_wait,
        arrive=_arrive,
    )
    hopper.tma = SimpleNamespace(async_load=_copy_in, async_store=_copy_out, store_wait=_store_wait)
    hopper.warpgroup_mma, hopper.warpgroup_mma_wait = _product, _product_wait
    hopper.fence_async_shared = lambda: machine.running.unfenced.clear()
    host.TensorDescriptor = TensorDescriptor
    return {module.__name__: module for module in (gluon, gl, hopper, host)}


schedule = Schedule("early")


@contextmanager
def scheduled(when: str, seed: int = 0) -> Iterator[None]:
    """Kernels that are launched inside run by this schedule."""
    global schedule
    before, schedule = schedule, Schedule(when, seed)
    try:
        yield
    finally:
        schedule = before


def load(path: Path, *edits: tuple[str, str]) -> types.ModuleType:
    """The kernels' file as a module whose Gluon is this one. Each edit replaces a text that occurs once."""
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
        text = text.replace(old, new)
    module = types.ModuleType(f"emulated_{path.stem}")
    module.__file__ = file = f"{path}-{len(edits)}-{hash(text)}" if edits else str(path)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)  # Triton reads a function's source
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")  # for what is written in Triton itself
        ours = _modules()
        for name in ours:
            patch.setitem(sys.modules, name, ours[name])
        patch.setattr(triton.experimental, "gluon", ours["triton.experimental.gluon"], raising=False)
        exec(compile(text, file, "exec"), module.__dict__)
    return module
