"""Checks whose failure messages teach: what was expected, what came, where they first differ, what to look at."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Room for another order of summation over a few hundred terms of size one, and for no more than that.
TOLERANCE = {
    torch.float64: (1e-9, 1e-11),
    torch.float32: (1e-5, 3e-6),
    torch.float16: (2e-3, 2e-3),
    torch.bfloat16: (1.6e-2, 1.6e-2),
    torch.complex64: (1e-5, 3e-6),
    torch.complex128: (1e-9, 1e-11),
}
REFUSALS = (ValueError, TypeError, IndexError)
NEARLY = 2e-6  # of the largest value: what float32 leaves of a float64, or an epsilon
NEARLY_RIGHT = "all is right to six digits: was anything float32 on the way, an accumulator perhaps, or a small number added?"
DTYPE = "keep the dtype of what came in: a tensor that is made anew is float32 unless it is told otherwise"
HINT = "\n  hint: "
NO_TENSOR = f"{HINT}a plain number, where a tensor is expected: .item(), float() and int() leave tensors behind"
NO_NUMBER = f"{HINT}a tensor, where a plain number is expected: .item() gives it"
NO_RETURN = "None, as of a function that ends without `return`"
_YES = {True: "yes", False: "no"}
_AT = ", at ["  # before the indices of a part of what a sentence names
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_LISTED = re.compile(
    r"(?:^|(?<=gradients of ))[(\[](?P<all>[A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)+)[)\]]"
    r"|(?<=gradients of )(?P<gradients>[a-z]\w*(?:, \w+)*(?:,| and) \w+)(?=$|[,:]| (?:with|where|when|for|in|at|after|from) )"
)
_expected: list[str] = []  # what the calls being made are expected to do, other than to return


def assert_close(
    actual: Any,
    expected: Any,
    what: str = "the result",
    hint: str = "",
    rtol: float | None = None,
    atol: float | None = None,
    dtype: bool = True,
) -> None:
    """Same structure, shapes, dtypes (unless `dtype=False`) and values within the tolerance of the expected dtype.

    Floats and integers are compared as scalars; tuples, lists and dicts entry by entry; NaN equals only an expected NaN.
    """
    problem = difference(actual, expected, what, rtol, atol, dtype)
    if problem and actual is None and "gradient" not in what:  # a gradient that is None has other reasons
        raise AssertionError(f"{what} is {NO_RETURN}\n  expected {_sequence(expected)}")
    if _lost_its_dtype(problem) and not any(word in hint for word in ("dtype", "float", "precision")):
        hint = DTYPE
    if problem:
        raise AssertionError(problem + (f"\n  hint: {hint}" if hint and HINT not in problem else ""))


def _lost_its_dtype(problem: str) -> bool:
    """Whether a difference is that of a result in float32 which should have another floating dtype."""
    wanted = any(f"expected torch.{name}\n" in problem for name in ("float64", "float16", "bfloat16"))
    return problem.startswith("the dtype of") and wanted and problem.endswith("got      torch.float32")


def assert_equal(actual: Any, expected: Any, what: str = "the result", hint: str = "", dtype: bool = True) -> None:
    """Exactly equal: as `assert_close` with no tolerance at all."""
    assert_close(actual, expected, what, hint, rtol=0.0, atol=0.0, dtype=dtype)


def assert_refused(function: Callable, *args: Any, why: str = "", error: str = "a ValueError", **kwargs: Any) -> None:
    """Calling with these bad arguments raises ValueError, TypeError or IndexError; `error` is what the docstring names."""
    name = getattr(function, "__name__", "the function")
    if args and callable(args[0]):  # student.run(scenario, ...)
        name, shown = getattr(args[0], "__name__", name), args[1:]
    else:
        shown = args
    call = f"{name}({', '.join([*map(brief, shown), *(f'{key}={brief(value)}' for key, value in kwargs.items())])})"
    reason = f" because {why}" if why else ""
    try:
        with _refusal_expected():
            value = function(*args, **kwargs)
    except REFUSALS:
        return
    except NotImplementedError:
        raise
    except Exception as other:
        said = words(other) if getattr(other, "from_student", False) else f"it raised {type(other).__name__}: {other}"
        raise AssertionError(f"{call} should be refused with {error}{reason}\n  but {said}") from None
    raise AssertionError(f"{call} should be refused with {error}{reason}\n  but it returned {brief(value)}")


@contextmanager
def _refusal_expected() -> Iterator[None]:
    _expected.append("refusal")
    try:
        yield
    finally:
        _expected.pop()


def refusal_is_expected() -> bool:
    """Whether the call being made is one of `assert_refused`: which value it gives, and how it refuses, does not matter then."""
    return bool(_expected)


def words(error: BaseException) -> str:
    """An exception's message. That of a KeyError from the student's process is a text, and no key to be quoted."""
    told = isinstance(error, KeyError) and getattr(error, "from_student", False)
    return str(error.args[0] if told else error)


def assert_inputs_untouched(student: Any, hint: str = "work on a copy: x = x * s, not x *= s") -> None:
    """The last call of `student.function(...)` left every tensor that it was given as it was."""
    changed = student.inputs_changed
    if changed:
        raise AssertionError(f"the call changed its input in place: {', '.join(changed)}\n  hint: {hint}")


def brief(value: Any) -> str:
    """A value in a few characters: tensors by dtype and shape, small ones by their values."""
    if isinstance(value, torch.Tensor):
        shape = tuple(value.shape)
        name = f"{str(value.dtype).removeprefix('torch.')} tensor of shape {shape}"
        return f"{name} = {value.tolist()}" if 0 < value.numel() <= 6 else name
    if type(value) in (tuple, list) and any(isinstance(part, torch.Tensor) for part in value):
        parts = [brief(part) for part in value[:5]] + ["..."] * (len(value) > 5)
        return f"({', '.join(parts)})" if type(value) is tuple else f"[{', '.join(parts)}]"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def difference(actual: Any, expected: Any, what: str, rtol: float | None, atol: float | None, dtype: bool) -> str:
    """What differs, in a few lines; empty when nothing does. The rules are those of `assert_close`."""
    if isinstance(expected, torch.Tensor):
        return _compare_tensors(actual, expected, what, rtol, atol, dtype)
    if isinstance(expected, bool) or expected is None or isinstance(expected, str | bytes | torch.dtype):
        same = type(actual) is type(expected) and actual == expected
        if not same and (what.startswith("whether ") or ": " in what) and type(actual) is type(expected) is bool:
            return f"{what}: {_YES[actual]}, and it should be {_YES[expected]}"
        if not same and type(actual) is type(expected) and isinstance(expected, str | bytes) and brief(actual) == brief(expected):
            return _long_texts(what, expected, actual)
        return "" if same else _difference(what, brief(expected), brief(actual))
    if isinstance(expected, int | float):
        return _compare_numbers(actual, expected, what, rtol, atol)
    if isinstance(expected, tuple | list):
        if not isinstance(actual, tuple | list) or len(actual) != len(expected):
            return _difference(what, _sequence(expected), _sequence(actual))
        pairs = list(zip(actual, expected, strict=True))
    elif isinstance(expected, dict):
        if not isinstance(actual, dict):
            return _difference(what, f"a dict with the keys {_keys(expected)}" if expected else "{}", brief(actual))
        missing, extra = ([key for key in one if key not in other] for one, other in ((expected, actual), (actual, expected)))
        if missing or extra:
            lines = [f"{label}: {_keys(keys)}" for label, keys in (("missing", missing), ("not expected", extra)) if keys]
            return "\n  ".join([f"{what}: the keys are not as expected", *lines])
        pairs = [(actual[key], expected[key]) for key in expected]
    else:
        raise TypeError(f"expected: cannot compare a {type(expected).__name__}")
    at = next((i for i, (a, e) in enumerate(pairs) if difference(a, e, "", rtol, atol, dtype)), None)
    if at is None:
        return ""
    part = _entry(what, list(expected)[at]) if isinstance(expected, dict) else _part(what, at, len(expected))
    return difference(*pairs[at], part, rtol, atol, dtype)


def _part(what: str, at: int, n: int) -> str:
    """How one of the n parts of a sequence is called: "(a, b) of x" has the parts "a of x" and "b of x", others have indices."""
    listed = _LISTED.search(what)
    names = re.findall(r"[\w.]+", (listed["all"] or listed["gradients"]).replace(" and ", ", ")) if listed else []
    return what[: listed.start()] + names[at] + what[listed.end() :] if len(names) == n else _at(what, at)


def _entry(what: str, key: Any) -> str:
    """How a dict's entry is called: by its key, and where that is a sentence, by this alone."""
    return f"{what}: {key}" if isinstance(key, str) and " " in key.strip() else _at(what, key)


def _at(what: str, index: Any) -> str:
    """As "x[0]" or "f(x, y)[0]", but "the sum of each rank, at [0]"; and at [0][1] is a part of that."""
    words_outside = " " in _BRACKETS.sub("", what) and _AT not in what
    return f"{what}{_AT if words_outside else '['}{index!r}]"


def _compare_numbers(actual: Any, expected: float, what: str, rtol: float | None, atol: float | None) -> str:
    kind = "int" if isinstance(expected, int) else "number"
    if isinstance(actual, bool) or not isinstance(actual, int if kind == "int" else int | float):
        return _difference(what, f"the {kind} {expected}", brief(actual)) + NO_NUMBER * isinstance(actual, torch.Tensor)
    if isinstance(expected, int):
        return "" if actual == expected else _difference(what, str(expected), str(actual))
    default_rtol, default_atol = TOLERANCE[torch.float64]
    room = {"rel_tol": default_rtol if rtol is None else rtol, "abs_tol": default_atol if atol is None else atol}
    if math.isclose(actual, expected, **room) or (math.isnan(actual) and math.isnan(expected)):
        return ""
    nearly = f"\n  {NEARLY_RIGHT}" if math.isclose(actual, expected, rel_tol=NEARLY) else ""
    return _difference(what, repr(expected), repr(actual)) + nearly


def _compare_tensors(
    actual: Any, expected: torch.Tensor, what: str, rtol: float | None, atol: float | None, dtype: bool
) -> str:
    if not isinstance(actual, torch.Tensor):
        return _difference(what, brief(expected), brief(actual)) + NO_TENSOR * (type(actual) in (int, float))
    if actual.shape != expected.shape:
        return _difference(f"the shape of {what}", str(tuple(expected.shape)), str(tuple(actual.shape)))
    if dtype and actual.dtype != expected.dtype:
        return _difference(f"the dtype of {what}", str(expected.dtype), str(actual.dtype))
    default_rtol, default_atol = TOLERANCE.get(expected.dtype, (0.0, 0.0))
    rtol = default_rtol if rtol is None else rtol
    atol = default_atol if atol is None else atol
    wide = torch.complex128 if expected.is_complex() or actual.is_complex() else torch.float64
    if not (expected.is_floating_point() or expected.is_complex() or actual.is_floating_point() or actual.is_complex()):
        wrong = actual != expected
    else:
        wrong = ~torch.isclose(actual.to(wide), expected.to(wide), rtol=rtol, atol=atol, equal_nan=True)
    if not bool(wrong.any()):
        return ""
    error = (actual.to(wide) - expected.to(wide)).abs()[wrong]
    finite, sizes = error[error.isfinite()], expected.to(wide).abs()
    most = NEARLY * sizes[sizes.isfinite()].max() if bool(sizes.isfinite().any()) else 0.0
    room = 0.01 * sizes[wrong].nan_to_num(nan=0.0, posinf=0.0) + NEARLY  # a small sum of large numbers loses more digits
    nearly = expected.dtype in (torch.float64, torch.complex128) and bool(((error <= most) & (error <= room)).all())
    index = tuple(torch.nonzero(wrong)[0].tolist())
    lines = [f"{what}: wrong in {int(wrong.sum())} of {wrong.numel()} values"]
    place = f"first at index {index}: " if index else ""
    lines.append(place + "expected {}, got {}".format(*_told_apart(expected[index], actual[index])))
    if int(torch.isnan(actual.to(wide)).sum()) > int(torch.isnan(expected.to(wide)).sum()):
        lines.append(f"NaN in {int(torch.isnan(actual).sum())} of {actual.numel()} values")
    elif finite.numel() and (rtol or atol):
        lines.append(f"largest error {float(finite.max()):.3g} (allowed: {atol:.3g} + {rtol:.3g} x |expected|)")
    lines.append(f"shape {tuple(expected.shape)}, {str(expected.dtype).removeprefix('torch.')}")
    if nearly:
        lines.append(NEARLY_RIGHT)
    elif 0 < expected.numel() <= 12:
        lines += [f"expected {_rounded(expected)}", f"got      {_rounded(actual)}"]
    return "\n  ".join(lines)


def _difference(what: str, expected: str, actual: str) -> str:
    return f"{what}: not as expected\n  expected {expected}\n  got      {actual}"


def _long_texts(what: str, expected: str | bytes, actual: str | bytes) -> str:
    """Where two texts that begin alike differ, with a little of what stands around that."""
    at = next((i for i, (a, b) in enumerate(zip(actual, expected)) if a != b), min(len(actual), len(expected)))
    start = max(at - 10, 0)
    shown = [f"{brief(text[start : at + 20])} from index {start} on, {len(text)} in all" for text in (expected, actual)]
    return _difference(f"{what}, first at index {at}", *shown)


def _sequence(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}: {brief(value)}"
    return brief(value)


def _keys(keys: Collection) -> str:
    """The first keys, and how many there are where these are not all."""
    shown = ", ".join(map(brief, list(keys)[:6]))
    return f"{shown}, ... ({len(keys)} in all)" if len(keys) > 6 else shown


def _told_apart(*values: torch.Tensor) -> list[str]:
    """The numbers with as many digits as it takes to tell them apart, and with six at least."""
    items = [value.item() for value in values]
    for digits in (6, 9, 12, 17):
        texts = [f"{item:.{digits}g}" if isinstance(item, float) else str(item) for item in items]
        if len(set(texts)) == len(texts):
            break
    return texts


def _rounded(value: torch.Tensor) -> str:
    if not value.is_floating_point():
        return str(value.tolist())
    wide = value.double()
    return str(torch.where(wide.abs() < 1e9, wide.round(decimals=5), wide).tolist())  # rounding scales, and may overflow
