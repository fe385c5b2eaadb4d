"""Names under `forbidden`: what they may be, and what is said of one that nothing has."""

from types import SimpleNamespace

import pytest

from autograder.authoring.forbidden import unknown_names


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("torch.sofmax", "torch has no sofmax. Did you mean torch.softmax?"),
        ("troch.softmax", "there is no troch here. Did you mean torch.softmax?"),
        ("torch.nn.functional.pad_sequences", "torch.nn.functional has no pad_sequences."),
        ("torch.nn.functionals.relu", "torch.nn has no functionals. Did you mean torch.nn.functional?"),
        ("numpy.linalg.inverse", "numpy.linalg has no inverse. Did you mean numpy.linalg.inv?"),
        ("heapq.heapmerge", "heapq has no heapmerge. Did you mean heapq.merge?"),
        ("str.encoded", "str has no encoded. Did you mean str.encode?"),
        ("heapqueue", ""),  # a package that is not installed may have any name
    ],
)
def test_a_name_that_nothing_has_is_said(name, why):
    assert list(unknown_names(module(name))) == ([f"first forbids {name}: {why}"] if why else [])


def test_modules_operators_and_packages_that_are_not_installed_are_names():
    names = "@ * dict str.encode heapq torch.optim torch.Tensor.unfold numpy.einsum torch._inductor torch.thnn_conv2d torch.ops"
    names += " torch.nn.functional.pad_sequence"
    assert list(unknown_names(module(*names.split(), "jax", "scipy.special", "tensorflow", "math.sumprod"))) == []


def module(*forbidden):
    """A module whose first exercise forbids these."""
    return SimpleNamespace(exercises=[SimpleNamespace(name="first", forbidden=forbidden)])
