"""Ready scenarios: what a single call across the boundary cannot show.

They run beside the student's code and hold no expected value.
"""

import _thread
import functools
import math
import pickle
import random
import threading

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_ATEN = torch.ops.aten
FORMULAS = flop_registry | {  # a copy, before any of the student's code runs; what PyTorch's own counter leaves out is added
    _ATEN.dot: lambda a, b, out_val: 2 * a.numel(),
    _ATEN.mv: lambda a, b, out_val: 2 * a.numel(),
    _ATEN.addmv: lambda bias, a, b, out_val, **factors: 2 * a.numel(),
    _ATEN._scaled_dot_product_flash_attention_for_cpu: flop_registry[_ATEN._scaled_dot_product_flash_attention],
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        _ATEN._scaled_dot_product_flash_attention_backward
    ],
}


_NUMPY_PRINTS = np.get_printoptions()


def gradients(module, name, args, kwargs=None, wrt=None, seed=0):
    """Call module.name, pull a fixed random cotangent back through every floating output.

    Returns {"value": outputs, "gradients": one for each floating tensor argument (or those at the positions `wrt`)}.
    A gradient that does not exist comes back as None. Inputs that are not contiguous must have the same gradients.
    """
    positions = wrt if wrt is not None else [i for i, x in enumerate(args) if _is_float(x)]

    def pulled(laid_out):
        leaves = list(args)
        for i in positions:
            leaves[i] = laid_out(args[i].clone()).requires_grad_()
        value = getattr(module, name)(*leaves, **(kwargs or {}))
        outputs = [x for x in (value if isinstance(value, tuple | list) else [value]) if _is_float(x)]
        generator = torch.Generator().manual_seed(seed)
        cotangents = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) for x in outputs]
        live = [(x, g) for x, g in zip(outputs, cotangents) if x.requires_grad]
        if live:
            torch.autograd.backward([x for x, _ in live], [g for _, g in live])
        return value, [leaves[i].grad for i in positions]

    value, found = pulled(lambda x: x)
    require_in_any_layout(name, lambda laid_out: pulled(laid_out)[1], found, positions)
    return {"value": value, "gradients": found}


class Wrong(AssertionError):
    """What a probe itself saw going wrong, in words for the student."""


def require_in_any_layout(name, pulled, found, positions):
    """`pulled(scattered)`, the gradients of leaves that are not contiguous, are those `found` where they are.

    What fails there, is not finite, or differs from call to call is left to other tests.
    """
    try:
        of_scattered = pulled(scattered)
        different = [i for i, *pair in zip(positions, of_scattered, found) if _differ(*pair)]
        if not different or any(_differ(*pair) for pair in zip(pulled(lambda x: x), found)):
            return
    except Exception:
        return
    lost = "is lost" if of_scattered[positions.index(different[0])] is None else "is another one"
    raise Wrong(
        f"{name}: the gradient of an input that does not lie contiguously in memory {lost} (argument {different[0] + 1})\n"
        "  hint: a transposed or strided tensor takes part in the graph as any other: "
        "contiguous() and reshape() pass gradients on, .data and detach() do not"
    )


def _differ(gradient, expected):
    """Whether a gradient is missing, or has nothing but its leading digits in common with a finite one that is expected."""
    if expected is None or not expected.isfinite().all():
        return False
    if gradient is None:
        return bool(expected.any())
    room = torch.finfo(expected.dtype).eps ** 0.25 * max(1.0, float(expected.abs().max())) if expected.numel() else 0.0
    return not bool(((gradient - expected).abs() <= room).all())


def strided(module, name, args, kwargs=None):
    """Call module.name with tensor arguments that are not contiguous, as `scattered` lays them out."""
    return getattr(module, name)(*map(scattered, args), **{key: scattered(x) for key, x in (kwargs or {}).items()})


def expanded(module, name, args, sizes, kwargs=None):
    """Call module.name with tensor arguments expanded (stride 0) to the given sizes; None leaves an argument as it is."""
    return getattr(module, name)(*(x if size is None else x.expand(size) for x, size in zip(args, sizes)), **(kwargs or {}))


def random_state_untouched(module, name, args, kwargs=None):
    """Whether the global random state is the same after the call as before."""
    before = torch.get_rng_state()
    getattr(module, name)(*args, **(kwargs or {}))
    return torch.equal(before, torch.get_rng_state())


def surroundings():
    """Everything global that a call might change without being asked to, away from where an earlier call left it."""
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(False)
    torch.set_printoptions(profile="default")
    np.set_printoptions(**_NUMPY_PRINTS)
    torch.rand(1), np.random.rand(), random.random()
    return global_state()


def global_state():
    """The global states by name."""
    return {
        "PyTorch's random state": torch.get_rng_state().numpy().tobytes(),
        "NumPy's random state": pickle.dumps(np.random.get_state()),
        "Python's random state": random.getstate(),
        "the default dtype": torch.get_default_dtype(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "the precision of float32 products": _matmul_precision(),
        "whether algorithms are deterministic": torch.get_deterministic_debug_mode(),
        "how PyTorch prints": dict(vars(torch._tensor_str.PRINT_OPTS)),
        "how NumPy prints": np.get_printoptions(),
    }


def _matmul_precision():
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set for one backend alone
        return torch.backends.cuda.matmul.fp32_precision


def differences(before):
    """The names of what is no longer as it was: `before` is what `surroundings` gave."""
    after = global_state()
    return [name for name in before if before[name] != after[name]]


def changed_around(module, name, args, kwargs=None):
    """What a call of module.name changed outside its own result, gradients being recorded when it begins."""
    torch.set_grad_enabled(True)
    before = surroundings()
    getattr(module, name)(*args, **(kwargs or {}))
    return differences(before)


def sets_a_seed(make):
    """Whether make() leaves PyTorch's random state the same whatever it was before, as after torch.manual_seed."""
    before, after = torch.get_rng_state(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        make()
        after.append(torch.get_rng_state())
    torch.set_rng_state(before)
    return torch.equal(*after)


def twice(module, name, args, kwargs=None):
    """The results of two calls in a row."""
    first = getattr(module, name)(*args, **(kwargs or {}))
    return [first, getattr(module, name)(*args, **(kwargs or {}))]


def again_after_overwriting(module, name, args, kwargs=None):
    """The result of a second call, the first one's having been overwritten by whoever it was given to.

    It is put back at the end: what is kept and handed out again is right in later calls, and a test that is tried once
    more fails where it did.
    """
    storage = getattr(module, name)(*args, **(kwargs or {})).untyped_storage()
    before = storage.clone()
    storage.fill_(0)
    again = getattr(module, name)(*args, **(kwargs or {})).clone()
    storage.copy_(before)
    return again


def requires_grad(module, name, args, kwargs=None):
    """Whether the (first floating) output is attached to the graph of its floating arguments."""
    args = [x.clone().requires_grad_() if _is_float(x) else x for x in args]
    value = getattr(module, name)(*args, **(kwargs or {}))
    outputs = [x for x in (value if isinstance(value, tuple | list) else [value]) if _is_float(x)]
    return bool(outputs) and outputs[0].requires_grad


class InThreads(TorchDispatchMode):
    """A mode that is on in the threads that begin while it is on, too."""

    _times_on = 0

    def __enter__(self):
        self._times_on += 1
        if self._times_on == 1:  # a mode may be entered again within itself
            names = ("start_new_thread", "start_joinable_thread", "_start_new_thread", "_start_joinable_thread")
            homes = [(home, name) for home in (_thread, threading) for name in names if name in vars(home)]
            self._starters = [(home, name, vars(home)[name]) for home, name in homes]
            for home, name, start in self._starters:
                setattr(home, name, self._followed(start))
        return super().__enter__()

    def __exit__(self, *error):
        self._times_on -= 1
        if not self._times_on:
            for home, name, start in self._starters:
                setattr(home, name, start)
        return super().__exit__(*error)

    def _followed(self, start):
        def started(function, *rest, **options):
            def run(*args, **kwargs):
                with _OnBehalf(self):
                    return function(*args, **kwargs)

            return start(run, *rest, **options)

        return started


class _OnBehalf(TorchDispatchMode):
    """Tells another mode, which is on in the thread that started this one."""

    def __init__(self, other):
        super().__init__()
        self.other = other

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        return self.other.__torch_dispatch__(operator, types, args, kwargs)


class Largest(InThreads):
    """Remembers the most elements that any storage made by an operator could hold, and how many all had in sum."""

    def __init__(self):
        super().__init__()
        self.n_elements = self.total = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        value = operator(*args, **(kwargs or {}))
        for x in value if isinstance(value, tuple | list) else [value]:
            if isinstance(x, torch.Tensor) and x.layout is torch.strided and self.counts(x):
                self.n_elements = max(self.n_elements, x.untyped_storage().nbytes() // x.element_size())
                self.total += x.numel()
        return value

    def counts(self, x):
        """Whether a tensor is one of those that matter."""
        return True


def largest_tensor(module, name, args, kwargs=None):
    """The number of elements of the largest tensor (its storage) that the call made, inputs and views of them included."""
    with Largest() as seen:
        getattr(module, name)(*args, **(kwargs or {}))
    return seen.n_elements


class Flops(InThreads):
    """Counts the floating-point operations of matrix products, as PyTorch's FlopCounterMode does, in a fraction of its time.

    Products with vectors and the fused attention of CPUs, which that one leaves out, are counted too.
    """

    def __init__(self):
        super().__init__()
        self.n_flops = 0

    @classmethod
    def _should_skip_dynamo(cls):
        return False

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not isinstance(operator, torch._ops.OpOverload):
            return operator(*args, **kwargs)
        formula = FORMULAS.get(operator.overloadpacket)
        if formula is None and _is_composite(operator):  # made of others that count
            with self:
                return operator.decompose(*args, **kwargs)
        value = operator(*args, **kwargs)
        if formula is not None:
            self.n_flops += formula(*args, **kwargs, out_val=value)
        return value


@functools.cache
def _is_composite(operator):
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), "CompositeImplicitAutograd")


def flops(module, name, args, kwargs=None):
    """Floating-point operations of the matrix products that the call dispatched."""
    with Flops() as counted:
        getattr(module, name)(*args, **(kwargs or {}))
    return counted.n_flops


def _is_float(x):
    return isinstance(x, torch.Tensor) and x.is_floating_point()


def scattered(x):
    """The same numbers, every second one of a larger tensor whose dimensions lie the other way round in memory, and which
    begins before them: by an even number, which `torch.view_as_complex` asks for."""
    if not isinstance(x, torch.Tensor) or x.dim() == 0:
        return x
    larger = torch.zeros([2 * size + 2 for size in reversed(x.shape)], dtype=x.dtype)
    view = larger[tuple(slice(2, None, 2) for _ in x.shape)].permute(*reversed(range(x.dim())))
    view.copy_(x)
    return view


def n_values(*shape):
    """The product of the sizes."""
    return math.prod(shape)
