"""Which names are the same answer: one entry of `forbidden` stands for all of its forms.

`torch.softmax`, `F.softmax`, `Tensor.softmax`, `nn.Softmax` and the ATen operator `_softmax` are one *family*. An entry
that names a member of a family means the whole family. Some families hold others (all of matrix multiplication holds
`einsum`): these are meant only by their `keys`, so that naming `torch.einsum` forbids no more than `einsum`.
A name that is in no family stands for itself.
"""

from __future__ import annotations

import builtins
import functools
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from autograder.course import Exercise, Module

BUILTIN_TYPES = ("str", "bytes", "bytearray", "int", "float", "list", "tuple", "dict", "set", "frozenset")
BUILTIN_METHODS = frozenset(
    name for type_name in BUILTIN_TYPES for name in dir(getattr(builtins, type_name)) if not name.startswith("__")
)

# What an exercise may be made of besides Python's own modules: the course's libraries, and what shows something or computes
# with numbers, where a module does not forbid it.
ALLOWED = frozenset(
    "exercises solutions numpy torch triton matplotlib mpl_toolkits regex scipy pandas seaborn PIL einops jaxtyping beartype"
    " typing_extensions rich tqdm IPython ipywidgets pytest hypothesis".split()
)


# Triton's interpreter runs kernels on a CPU, where no operator of PyTorch's is seen: it is for modules that preload it. When code
# runs, only the ways into a kernel are told of, for Triton's insides have to find each other as they are.
KERNELS = ("triton.jit", "triton.runtime.jit.jit", "triton.runtime.interpreter")


def is_strange(package: str) -> bool:
    """Whether a package is neither Python's own nor among what an exercise may be made of: somebody else's answer, perhaps."""
    return package not in ALLOWED and package not in sys.stdlib_module_names


@dataclass(frozen=True)
class Family:
    """One answer in all its forms.

    names: dotted names, in the form that `canonical` gives; a module or class stands for all that is in it.
    methods: method names that count on any value. operators: ATen base names. at_sign: the operator `@` counts.
    layers: functions and classes of `torch.nn`, as `squashed` gives them.
    keys: the entries of `forbidden` that mean this family; all `names` if empty.
    """

    names: frozenset[str]
    methods: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()
    at_sign: bool = False
    layers: frozenset[str] = frozenset()
    keys: frozenset[str] = field(default=frozenset(), compare=False)

    def __or__(self, other: Family) -> Family:
        return Family(
            self.names | other.names,
            self.methods | other.methods,
            self.operators | other.operators,
            self.at_sign or other.at_sign,
            self.layers | other.layers,
        )


NOTHING = Family(frozenset())
ANY = "*"  # any operator at all, for the check at run time


def _family(names: str = "", methods: str = "", operators: str = "", keys: str = "", at_sign: bool = False) -> Family:
    tensor = {f"torch.Tensor.{method}" for method in methods.split()}
    return Family(
        names=frozenset(names.split()) | tensor,
        methods=frozenset(methods.split()),
        operators=frozenset(operators.split()),
        at_sign=at_sign,
        keys=frozenset(keys.split()),
    )


def _function(base: str, classes: str = "", operators: str = "", names: str = "", method: bool = True) -> Family:
    """A function of torch that has the usual forms: `torch.f`, `F.f`, `torch.special.f`, a method, module classes."""
    usual = f"torch.{base} torch.nn.functional.{base} torch.special.{base} {names}"
    modules = " ".join(f"torch.nn.{name}" for name in classes.split())
    return _family(f"{usual} {modules}", base if method else "", f"{base} special_{base} {operators}")


_PRODUCTS = "matmul mm bmm mv dot vdot inner addmm baddbmm addbmm addmv"
_TRANSFORMERS = (
    "torch.nn.Transformer torch.nn.TransformerEncoder torch.nn.TransformerEncoderLayer torch.nn.TransformerDecoder "
    "torch.nn.TransformerDecoderLayer"
)
_MULTI_HEAD = (
    f"torch.nn.MultiheadAttention torch.nn.functional.multi_head_attention_forward torch.ao.nn.quantizable "
    f"torch._native_multi_head_attention {_TRANSFORMERS}"
)
_ATTENTION_OPERATORS = (
    "_scaled_dot_product_attention_math _scaled_dot_product_attention_math_for_mps _scaled_dot_product_flash_attention "
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_cudnn_attention _scaled_dot_product_fused_attention_overrideable _flash_attention_forward "
    "_efficient_attention_forward _cudnn_attention_forward"
)
_BATCH_NORMS = (
    "native_batch_norm cudnn_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional "
    "_native_batch_norm_legit_no_training _batch_norm_impl_index _batch_norm_with_update _batch_norm_with_update_functional "
    "_batch_norm_no_update"
)

FAMILIES: tuple[Family, ...] = (
    _function(
        "softmax",
        "Softmax Softmax2d Softmin",
        "_softmax _safe_softmax _masked_softmax prepare_softmax_online _sparse_softmax _nested_tensor_softmax_with_shape",
        "scipy.special.softmax torch.nn.functional.softmin torch.nn.functional.gumbel_softmax torch.softmin",
    ),
    _function("log_softmax", "LogSoftmax", "_log_softmax _sparse_log_softmax", "scipy.special.log_softmax"),
    _family(
        "torch.logsumexp torch.special.logsumexp torch.logcumsumexp scipy.special.logsumexp",
        "logsumexp logcumsumexp",
        "logsumexp special_logsumexp logcumsumexp _logcumsumexp",
    ),
    _family(
        " ".join(f"torch.{name}" for name in _PRODUCTS.split())
        + " torch.einsum torch.tensordot torch.chain_matmul torch.bilinear torch.smm torch.sspaddmm torch.hspmm"
        " torch._int_mm torch._scaled_mm torch._grouped_mm torch._addmm_activation torch.sampled_addmm"
        " torch._compute_linear_combination"
        " torch.linalg.matmul torch.linalg.multi_dot torch.linalg.vecdot"
        " torch.nn.functional.linear torch.nn.functional.bilinear"
        " torch.nn.Linear torch.nn.LazyLinear torch.nn.Bilinear"
        " numpy.matmul numpy.dot numpy.einsum numpy.tensordot numpy.inner numpy.vdot numpy.vecdot numpy.matvec"
        " numpy.vecmat numpy.linalg.matmul numpy.linalg.multi_dot numpy.linalg.tensordot numpy.linalg.vecdot"
        " numpy.ndarray.dot numpy.ndarray.__matmul__ numpy.ndarray.__rmatmul__ numpy.ndarray.__imatmul__ numpy.c_einsum"
        " numpy.matrix numpy.asmatrix numpy.bmat numpy.matrix.__mul__ numpy.matrix.__rmul__ numpy.matrix.__pow__"
        " numpy.ma.dot numpy.ma.inner numpy.ma.MaskedArray.dot numpy.convolve numpy.correlate numpy.linalg.matrix_power"
        " torch.linalg.matrix_power torch.matrix_power opt_einsum sympy.Matrix mpmath.matrix"
        " operator.matmul operator.imatmul operator.__matmul__ operator.__imatmul__",
        f"{_PRODUCTS} smm sspaddmm __matmul__ __rmatmul__ __imatmul__",
        f"{_PRODUCTS} einsum tensordot chain_matmul bilinear _trilinear linear linalg_matmul linalg_multi_dot"
        " linalg_vecdot _int_mm _scaled_mm _grouped_mm _addmm_activation _sparse_mm smm hspmm sspaddmm mkldnn_linear"
        " _scaled_mm_v2 _scaled_grouped_mm _scaled_grouped_mm_v2 _foreach_mm _sparse_addmm _mm_plus_mm _mkl_linear"
        " _linear_pointwise _convolution_pointwise _convolution_pointwise_ _convolution_transpose_pointwise"
        " _weight_int8pack_mm _mixed_dtypes_linear linear_dynamic linear_dynamic_fp16 fbgemm_linear_fp16_weight"
        " fbgemm_linear_fp16_weight_fp32_activation wrapped_fbgemm_linear_fp16_weight _compute_linear_combination"
        " matmul_backward linear_backward mkldnn_linear_backward_input mkldnn_linear_backward_weights",
        keys="@ torch.matmul torch.Tensor.matmul torch.linalg.matmul numpy.matmul operator.matmul",
        at_sign=True,
    ),
    # Operators are left out of the narrow families of products, since `@` is dispatched to the same ones.
    *(_family(f"torch.{name}", name) for name in _PRODUCTS.split()[1:] if name not in ("dot", "vdot", "inner")),
    _family("torch.dot torch.linalg.vecdot numpy.dot numpy.ndarray.dot", "dot"),
    _family("torch.inner numpy.inner", "inner"),
    _family("torch.vdot numpy.vdot", "vdot"),
    _family("torch.einsum numpy.einsum numpy.c_einsum opt_einsum", "", "einsum"),
    _family("torch.tensordot numpy.tensordot numpy.linalg.tensordot", "", "tensordot"),
    _family("torch.nn.functional.linear torch.nn.Linear torch.nn.LazyLinear", "", "linear"),
    _family("torch.nn.functional.bilinear torch.bilinear torch.nn.Bilinear", "", "bilinear _trilinear"),
    _function("one_hot", method=False),
    _family(
        "torch.nn.functional.embedding torch.embedding torch.nn.Embedding torch.nn.functional.embedding_bag"
        " torch.embedding_bag torch.nn.EmbeddingBag",
        "",
        "embedding embedding_bag _embedding_bag _embedding_bag_forward_only",
    ),
    _family(
        "torch.unfold torch.nn.functional.unfold torch.nn.Unfold torch.unfold_copy"
        " numpy.lib.stride_tricks.sliding_window_view",
        "unfold",
        "unfold unfold_copy im2col",
    ),
    _family(
        "torch.cdist torch.pdist torch.nn.functional.pdist torch.pairwise_distance"
        " torch.nn.functional.pairwise_distance torch.nn.PairwiseDistance torch._euclidean_dist"
        " scipy.spatial.distance scipy.spatial.distance_matrix",
        "",
        "cdist _cdist_forward _euclidean_dist pdist _pdist_forward pairwise_distance",
    ),
    _family(
        "torch.broadcast_shapes torch.broadcast_tensors numpy.broadcast_shapes numpy.broadcast numpy.broadcast_arrays"
        " numpy.lib.stride_tricks.broadcast_shapes numpy.lib.stride_tricks.broadcast_arrays numpy.lib._stride_tricks_impl"
        " numpy.nditer numpy.nested_iters",
        "",
        "broadcast_tensors",
    ),
    _family(
        "torch.autograd.grad torch.autograd.backward torch.autograd.functional torch.autograd.forward_ad"
        " torch.autograd.gradcheck torch.autograd.gradgradcheck torch.autograd.graph._engine_run_backward"
        " torch.func.grad torch.func.grad_and_value torch.func.vjp torch.func.jvp torch.func.jacrev torch.func.jacfwd"
        " torch.func.hessian torch.func.linearize functorch torch.autograd.Variable._execution_engine"
        " torch.autograd.variable.Variable._execution_engine torch._C._EngineBase torch._C._ImperativeEngine"
        # The engine is no operator, and so no mode sees it where a script calls it, or an operator by its name.
        " torch.jit.CompilationUnit torch._C.CompilationUnit torch._C._jit_get_operation torch._C._jit_script_compile"
        " torch._make_dual",
        "backward grad_fn",
        "backward _backward",
    ),
    _family(
        "torch.scaled_dot_product_attention torch.nn.functional.scaled_dot_product_attention torch.nn.attention"
        f" flash_attn xformers torch.onnx torch.ops.onnx {_MULTI_HEAD} "
        + " ".join(f"torch.{name} torch.nn.functional.{name}" for name in _ATTENTION_OPERATORS.split()),
        "",
        f"scaled_dot_product_attention {_ATTENTION_OPERATORS} flex_attention _native_multi_head_attention"
        " _transformer_encoder_layer_fwd _triton_scaled_dot_attention _triton_multi_head_attention",
        keys="torch.nn.functional.scaled_dot_product_attention torch.scaled_dot_product_attention torch.nn.attention",
    ),
    _family("torch.nn.attention.flex_attention", "", "flex_attention"),
    _family(
        _MULTI_HEAD,
        "",
        "_native_multi_head_attention _transformer_encoder_layer_fwd _triton_multi_head_attention",
        keys="torch.nn.MultiheadAttention torch.nn.functional.multi_head_attention_forward",
    ),
    _family(_TRANSFORMERS, "", "_transformer_encoder_layer_fwd"),
    _family(
        "torch.layer_norm torch.native_layer_norm torch.nn.functional.layer_norm torch.nn.LayerNorm",
        "",
        "layer_norm native_layer_norm",
    ),
    replace(
        _family(
            "torch.nn.functional.batch_norm torch.batch_norm torch.batch_norm_update_stats"
            + " ".join(f" torch.{name}" for name in _BATCH_NORMS.split()),
            "",
            f"batch_norm batch_norm_update_stats {_BATCH_NORMS}",
            keys="torch.batch_norm torch.nn.functional.batch_norm torch.nn.BatchNorm1d torch.nn.BatchNorm2d torch.nn.BatchNorm3d",
        ),
        layers=frozenset({"batchnorm"}),
    ),
    _function("rms_norm", "RMSNorm", "_fused_rms_norm", method=False),
    _function("gelu", "GELU", "_addmm_activation", "torch._addmm_activation", method=False),
    _function("silu", "SiLU", method=False),
    _function("relu", "ReLU", names="torch.nn.functional.relu_ torch.nn.functional.threshold torch.nn.Threshold"),
    _function("sigmoid", "Sigmoid", "special_expit", "torch.special.expit scipy.special.expit"),
    _function("tanh", "Tanh", names="numpy.tanh"),
    _function("softplus", "Softplus", method=False),
    _function("dropout", "Dropout", "native_dropout", method=False),
    _family(
        "torch.nn.functional.cross_entropy torch.nn.functional.nll_loss torch.nll_loss torch.nn.CrossEntropyLoss"
        " torch.nn.NLLLoss torch.nn.NLLLoss2d torch.nn.functional.linear_cross_entropy torch.nn.LinearCrossEntropyLoss"
        " torch.cross_entropy_loss torch.nn.functional.cross_entropy_loss torch.nn.functional.nll_loss_nd",
        "",
        "cross_entropy_loss nll_loss nll_loss_nd nll_loss2d nll_loss_forward nll_loss2d_forward",
    ),
    _family("torch.optim torch.distributed.optim", "", "_fused_sgd _fused_adam _fused_adamw _fused_adagrad"),
    _family(
        "torch.nn.utils.clip_grad_norm_ torch.nn.utils.clip_grad_norm torch.nn.utils.clip_grads_with_norm_"
        " torch.nn.utils.get_total_norm torch.nn.utils.clip_grad"
    ),
    _family("torch.tril numpy.tril", "tril", "tril"),
    _family("torch.triu numpy.triu", "triu", "triu"),
    _family(
        "torch.multinomial torch.distributions.Categorical torch.distributions.OneHotCategorical"
        " torch.distributions.Multinomial",
        "multinomial",
        "multinomial",
        keys="torch.multinomial torch.Tensor.multinomial",
    ),
    _family(
        "torch.special.entr torch.distributions.Categorical torch.distributions.OneHotCategorical scipy.special.entr"
        " scipy.stats.entropy",
        "",
        "special_entr",
        keys="torch.special.entr scipy.special.entr scipy.stats.entropy",
    ),
    _family("heapq _heapq queue.PriorityQueue asyncio sched sortedcontainers", keys="heapq _heapq"),
    _family("bisect _bisect"),
    _family("queue _queue asyncio.Queue asyncio.PriorityQueue asyncio.LifoQueue", keys="queue _queue"),
    _family(
        "functools.cache functools.lru_cache functools.cached_property functools._lru_cache_wrapper _functools._lru_cache_wrapper"
        " joblib cachetools",
        keys="functools.cache functools.lru_cache",
    ),
    _family("tokenizers tiktoken sentencepiece transformers", keys="tokenizers tiktoken sentencepiece"),
)

# Callables of modules that are forbidden as a whole, for the check at run time.
_CALLABLES = {
    "heapq": "heappush heappop heapify heapreplace heappushpop nlargest nsmallest merge _siftdown _siftup _siftdown_max"
    " _siftup_max _heappop_max _heapreplace_max _heapify_max",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "queue": "Queue LifoQueue PriorityQueue SimpleQueue",
}

_CLASS_OR_MODULE = re.compile(r"\.[A-Z]\w*$|^torch\.(optim|distributed\.optim|nn\.attention|ao\.nn\.quantizable)\b")

_MOVED = tuple(
    (re.compile(f"^{pattern}"), to)
    for pattern, to in (
        (r"torch\._C\._VariableFunctions(Class)?\.", "torch."),
        (r"torch\.(_VF|functional|masked|sparse)\.", "torch."),
        (r"torch\._C\._nn\.", "torch.nn.functional."),
        (r"torch\._C\._(special)\.special_", r"torch.\1."),
        (r"torch\._C\._(linalg)\.linalg_", r"torch.\1."),
        (r"torch\._C\._?TensorBase\.", "torch.Tensor."),
        (r"torch\._tensor\.Tensor\b", "torch.Tensor"),
        (r"torch\.nn\.(parameter\.)?(Parameter|Buffer)\.", "torch.Tensor."),
        (r"torch\.(cuda\.)?\w+Tensor\.", "torch.Tensor."),
        (r"torch\._refs\.", "torch."),
        (r"torch\._decomp\.decompositions\.", "torch."),
        (r"torch\._numpy\.", "numpy."),
        (r"torch\.nn\.modules\.\w+\.(?=[A-Z])", "torch.nn."),
        (r"torch\.nn\.utils\.clip_grad\.", "torch.nn.utils."),
        (r"torch\.optim\.\w+\.(?=[A-Z])", "torch.optim."),
        (r"torch\.distributions\.\w+\.(?=[A-Z])", "torch.distributions."),
        (r"torch\._functorch\.\w+\.", "torch.func."),
        (r"functorch\.(?=\w+$)", "torch.func."),
        (r"torch\.autograd\.gradcheck\.(?=grad)", "torch.autograd."),
        (r"numpy\._?core\.\w+\.", "numpy."),
        (r"numpy\._?core\.", "numpy."),
    )
)


@functools.lru_cache(maxsize=10_000)
def canonical(path: str) -> str:
    """The public name of what `path` leads to: `torch._C._nn.gelu` is `torch.nn.functional.gelu`.

    Modules that hand on what they import are seen through: `exercises.attention.F.gelu` is that, too.
    """
    parts = path.split(".")
    for index in range(len(parts) - 2, 0, -1):
        inner = {"torch": "torch", "F": "torch.nn.functional", "np": "numpy", "numpy": "numpy"}.get(parts[index])
        if inner:
            path = ".".join([inner, *parts[index + 1 :]])
            break
    for _ in range(3):  # a move may lead to a place that has moved, too
        for pattern, to in _MOVED:
            path, moved = pattern.subn(to, path, count=1)
            if moved:
                break
        else:
            break
    return path


def family_of(entry: str) -> Family:
    """What an entry of `forbidden` covers."""
    name = "@" if entry == "@" else canonical(entry)
    found = NOTHING
    for family in FAMILIES:
        if name in (family.keys or family.names):
            found |= family
    return found if found != NOTHING else _itself(name)


def _itself(name: str) -> Family:
    parts = name.split(".")
    last = parts[-1]
    base = last.rstrip("_") or last
    match parts:
        case ["torch", _] | ["torch", "Tensor", _]:
            return _family(f"torch.{last} torch.nn.functional.{base}", base, base)
        case ["torch", "nn", "functional", _]:
            return _layer(base)
        case ["torch", "nn", _] if last[0].isupper():
            return _layer(re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", last).lower(), name)
        case ["torch", ("special" | "linalg" | "fft") as space, _]:
            return _family(name, "", f"{space}_{last}")
        case ["torch", "ops", "aten", operator, *_]:
            return _family(f"torch.{operator}", "", operator.rstrip("_"))
        case [type_name, method] if type_name in BUILTIN_TYPES:
            return Family(frozenset({f"builtins.{name}"}), frozenset({method}))
        case [alone] if hasattr(builtins, alone):
            return Family(frozenset({f"builtins.{alone}"}))
        case _:
            return Family(frozenset({name}))


def _layer(base: str, name: str = "") -> Family:
    """A function of `torch.nn.functional` and the class of `torch.nn` that does the same."""
    covered = _family(f"torch.nn.functional.{base} torch.{base} {name}", "", f"{base} native_{base}")
    return replace(covered, layers=frozenset({squashed(base)}))


def squashed(name: str) -> str:
    """What `instance_norm`, `InstanceNorm1d` and `InstanceNorm2d` have in common: `"instancenorm"`."""
    return re.sub(r"(?<=norm)[123]d$", "", name.replace("_", "").lower())


def forbids(entries: Iterable[str]) -> Family:
    """What several entries of `forbidden` cover together."""
    covered = NOTHING
    for entry in entries:
        covered |= family_of(entry)
    return covered


def forbidden_in(module: Module, exercise: Exercise, kernels: Iterable[str] = ("triton",)) -> Family:
    """What an exercise's entries cover, and Triton in a module that has nothing to do with it, by these names."""
    covered = forbids(exercise.forbidden)
    if covered == NOTHING or any(f"{name}.".startswith("triton.") for name in module.preload):
        return covered
    return covered | Family(frozenset(kernels))


def runtime(family: Family) -> dict[str, list[str]]:
    """The family as plain data for a check at run time (see `autograder.policy.runtime_rules`)."""
    functions, classes, python = set(), set(), set()
    for name in family.names - {"torch"}:  # the worker itself is made of torch: as a whole it is found by its operators
        if name.startswith("torch."):
            is_function = name.startswith("torch.Tensor.") or not _CLASS_OR_MODULE.search(name)
            (functions if is_function else classes).add(name)
        elif not re.match(rf"builtins\.({'|'.join(BUILTIN_TYPES)})\.", name):
            python.update([f"{name}.{inner}" for inner in _CALLABLES.get(name, "").split()] or [name])
    operators = family.operators | ({ANY} if "torch" in family.names else set())
    rules = {"functions": functions, "operators": operators, "python": python, "classes": classes}
    return {key: sorted(names) for key, names in rules.items()}
