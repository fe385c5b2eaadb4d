"""split_heads, merge_heads and attention_per_head."""

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import gradients
from autograder.testing.strategies import given, normal, seeds, settings, sizes

from . import scenarios
from .cases import (
    LayerCase,
    alike,
    check_far_from_zero,
    check_gradients,
    check_precisions,
    heads_by_slices,
    layer_cases,
    of_gradients,
    of_mask,
    torch_attention,
    torch_multi_head_attention,
    with_one_key,
)

SIZES = {"b": sizes(1, 3), "t": sizes(1, 6), "n_heads": sizes(1, 4), "head_dim": sizes(1, 5), "seed": seeds()}
LARGE = (70, 2, 3, 2), (1, 1100, 2, 3), (2, 3, 66, 3), (1, 2, 2, 400)  # (b, t, n_heads, head_dim)
ANEW = "inputs, masks and weights change from call to call: keep nothing of them"


@exercise("split_heads", points=4, core=True)
@given(**SIZES)
@settings(max_examples=15)
def test_head_i_is_the_ith_slice_of_the_channels(student, b, t, n_heads, head_dim, seed):
    """Head i of split_heads(x, h) holds the channels i * d/h to (i + 1) * d/h of every position."""
    x = normal(seed, b, t, n_heads * head_dim)
    assert_equal(
        student.split_heads(x, n_heads),
        heads_by_slices(x, n_heads),
        what="split_heads(x, n_heads)",
        hint="cut d into (h, d/h) first, then move h in front of t; a single reshape to (b, h, t, d/h) mixes positions",
    )


@exercise("split_heads", points=1)
def test_split_heads_has_no_largest_size(student):
    """split_heads cuts many batch entries, positions, heads and channels like few."""
    for b, t, n_heads, head_dim in LARGE:
        x = normal(1, b, t, n_heads * head_dim)
        what = f"split_heads(x {tuple(x.shape)}, {n_heads})"
        assert_equal(student.split_heads(x, n_heads), heads_by_slices(x, n_heads), what=what)


@exercise("split_heads", points=1)
def test_a_width_that_the_heads_do_not_divide_is_refused(student):
    """split_heads refuses a number of heads that does not divide the width."""
    assert_refused(student.split_heads, torch.zeros(2, 3, 7), 2, why="2 does not divide 7")
    assert_refused(student.split_heads, torch.zeros(2, 4, 6), 4, why="4 does not divide 6")
    assert_refused(student.split_heads, torch.zeros(1, 8, 3), 6, why="6 does not divide 3")


@exercise("split_heads", points=1)
@given(**SIZES)
@settings(max_examples=5)
def test_gradients_flow_back_through_the_split(student, b, t, n_heads, head_dim, seed):
    """split_heads passes gradients back to the channels that they belong to."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        x = normal(seed, b, t, n_heads * head_dim, dtype=dtype)
        got = student.run(gradients, "split_heads", [x, n_heads], seed=seed)
        assert_equal(got["value"], heads_by_slices(x, n_heads), what=f"split_heads of {dtype} that requires gradients")
        cotangent = torch.randn(got["value"].shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
        assert_equal(got["gradients"], [torch.cat(cotangent.unbind(1), dim=-1)], what=f"the gradient of x in {dtype}")


@exercise("split_heads", points=1)
@given(**SIZES)
@settings(max_examples=5)
def test_split_heads_keeps_dtype_and_input_at_any_layout(student, b, t, n_heads, head_dim, seed):
    """split_heads works on any dtype and memory layout and leaves its input alone."""
    for dtype in (torch.int64, torch.bfloat16, torch.float16, torch.float32):
        x = normal(seed, b, t, n_heads * head_dim, dtype=dtype)
        assert_equal(student.split_heads(x, n_heads), heads_by_slices(x, n_heads), what=f"split_heads of {dtype}")
    assert_inputs_untouched(student)
    assert_equal(student.run(scenarios.left_behind, "split_heads", [x, n_heads]), [], what="what the call changed")
    again = student.run(scenarios.with_other_numbers, "split_heads", [x, n_heads])
    what = "split_heads(x) once x holds other numbers than in an earlier call, [without gradients, with]"
    assert_equal(again, [heads_by_slices(x, n_heads)] * 2, what=what, hint=ANEW)
    got = student.run(scenarios.strided, "split_heads", x, n_heads)
    assert_equal(got, heads_by_slices(x, n_heads), what="split_heads(x), where x is part of a larger tensor")


@exercise("merge_heads", points=1)
def test_merge_heads_has_no_largest_size(student):
    """merge_heads joins many batch entries, positions, heads and channels like few."""
    for b, t, n_heads, head_dim in LARGE:
        x = normal(1, b, n_heads, t, head_dim)
        assert_equal(student.merge_heads(x), torch.cat(x.unbind(1), dim=-1), what=f"merge_heads(x {tuple(x.shape)})")


@exercise("merge_heads", points=3, core=True)
@given(**SIZES)
@settings(max_examples=15)
def test_merged_heads_lie_side_by_side(student, b, t, n_heads, head_dim, seed):
    """merge_heads puts head i back into the i-th slice of the channels."""
    x = normal(seed, b, n_heads, t, head_dim)
    assert_equal(
        student.merge_heads(x),
        torch.cat(x.unbind(1), dim=-1),
        what="merge_heads(x)",
        hint="move h back behind t before joining (h, d/h); view needs contiguous memory, reshape does not",
    )


@exercise("merge_heads", points=1)
@given(**SIZES)
@settings(max_examples=5)
def test_gradients_flow_back_through_the_merge(student, b, t, n_heads, head_dim, seed):
    """merge_heads passes gradients back to the heads that they belong to."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        x = normal(seed, b, n_heads, t, head_dim, dtype=dtype)
        got = student.run(gradients, "merge_heads", [x], seed=seed)
        assert_equal(got["value"], torch.cat(x.unbind(1), dim=-1), what=f"merge_heads of {dtype} that requires gradients")
        cotangent = torch.randn(got["value"].shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
        assert_equal(got["gradients"], [heads_by_slices(cotangent, n_heads)], what=f"the gradient of x in {dtype}")


@exercise("merge_heads", points=1)
@given(**SIZES)
@settings(max_examples=5)
def test_merge_heads_keeps_dtype_and_input_at_any_layout(student, b, t, n_heads, head_dim, seed):
    """merge_heads works on any dtype and memory layout and leaves its input alone."""
    for dtype in (torch.int64, torch.bfloat16, torch.float16, torch.float32):
        x = normal(seed, b, n_heads, t, head_dim, dtype=dtype)
        expected = torch.cat(x.unbind(1), dim=-1)
        assert_equal(student.merge_heads(x), expected, what=f"merge_heads of {dtype}")
    assert_inputs_untouched(student)
    assert_equal(student.run(scenarios.left_behind, "merge_heads", [x]), [], what="what the call changed")
    again = student.run(scenarios.with_other_numbers, "merge_heads", [x])
    what = "merge_heads(x) once x holds other numbers than in an earlier call, [without gradients, with]"
    assert_equal(again, [expected] * 2, what=what, hint=ANEW)
    got = student.run(scenarios.strided, "merge_heads", x)
    assert_equal(got, expected, what="merge_heads(x), where x is part of a larger tensor")


@exercise("attention_per_head", points=3, core=True)
@given(case=layer_cases(cross=False))
@settings(max_examples=20)
def test_the_loop_gives_what_the_batched_heads_give(student, reference, case):
    """attention_per_head(module, x, mask) equals module(x, mask=mask), whatever the mask broadcasts from."""
    assert_close(
        student.run(scenarios.per_head, *case.layer, case.x, case.mask),
        reference.run(scenarios.forward, "MultiHeadAttention", *case.layer, case.x, mask=case.mask),
        what="attention_per_head(module, x, mask)",
        hint="head i uses its own head_dim rows of w_q, w_k, w_v and of their biases, and its own part of the mask",
    )


@exercise("attention_per_head", points=2, core=True)
@given(case=layer_cases(cross=False))
@settings(max_examples=12)
def test_the_loop_agrees_with_pytorch(student, case):
    """attention_per_head equals torch.nn.MultiheadAttention with the same weights."""
    mask = with_one_key(case.mask)
    assert_close(
        student.run(scenarios.per_head, *case.layer, case.x, mask),
        torch_multi_head_attention(case, mask),
        what="attention_per_head(module, x, mask)",
    )


@exercise("attention_per_head", points=1)
def test_the_loop_confuses_no_dimensions_of_one_size(student, reference):
    """With as many batch entries as tokens and heads each dimension of a mask keeps its place; long inputs too."""
    for case in alike(cross=(False,)):
        assert_close(
            student.run(scenarios.per_head_in_every_mode, *case.layer, case.x, case.mask),
            [reference.run(scenarios.forward, "MultiHeadAttention", *case.layer, case.x, mask=case.mask)] * len(scenarios.MODES),
            what=f"the output with x {tuple(case.x.shape)} and mask {None if case.mask is None else tuple(case.mask.shape)}: "
            "in training and in evaluation mode, each with gradients and without",
            hint=of_mask(case, "(b, h, t, t): expand it to that, then take [:, head]"),
        )


@exercise("attention_per_head", points=1)
def test_the_loop_takes_any_precision_layout_and_size_of_scores(student):
    """The loop answers in its input's precision, half included, at any memory layout and any size of the scores."""
    check_precisions(lambda c, mask: student.run(scenarios.per_head_in_every_mode, *c.layer, c.x, mask), cross=False)
    case = LayerCase(2, 4, 4, 3, None, 2, True, False, "queries by keys", seed=3)
    mask = with_one_key(case.mask)
    got = student.run(scenarios.per_head_strided, *case.layer, case.x, mask)
    hint = "view asks for contiguous memory, reshape does not"
    assert_close(got, torch_attention(case, mask), what="the output for inputs that are not contiguous", hint=hint)
    check_far_from_zero(lambda c, mask: student.run(scenarios.per_head, *c.layer, c.x, mask), cross=False)


@exercise("attention_per_head", points=1)
@given(case=layer_cases(cross=False))
@settings(max_examples=12)
def test_the_loop_has_the_gradients_of_the_module(student, reference, case):
    """Through attention_per_head, x and every parameter get the module's gradients, in evaluation mode as well."""
    arguments = (*case.layer, case.cotangent, case.x, case.mask, case.seed % 2 == 0)
    actual = student.run(scenarios.per_head_gradients, *arguments)
    plain = ("MultiHeadAttention", *case.layer, case.cotangent, case.x)
    expected = reference.run(scenarios.gradients, *plain, mask=case.mask)
    hint = of_gradients(actual, expected, ": use the module's own weights")
    assert_close(actual, expected, what="value and gradients of attention_per_head", hint=hint)


@exercise("attention_per_head", points=1)
def test_the_loop_has_gradients_at_every_size_and_precision(student, reference):
    """Through attention_per_head gradients flow in large inputs and in single and half precision as well."""
    check_gradients(
        lambda c: student.run(scenarios.per_head_gradients, *c.layer, c.cotangent, c.x, c.mask),
        lambda c: reference.run(scenarios.gradients, "MultiHeadAttention", *c.layer, c.cotangent, c.x, mask=c.mask),
        cross=False,
    )


@exercise("attention_per_head", points=1, core=True)
def test_one_head_is_computed_at_a_time(student, generator):
    """attention_per_head does not make the scores of all heads at once, nor have the module make them."""
    b, t, n_heads = 2, 48, 8
    case = LayerCase(b, t, t, n_heads, None, 1, True, False, "none", seed=generator.initial_seed())
    _, largest, _, calls = student.run(scenarios.per_head_largest, *case.layer, case.x)
    assert not calls, "the module itself was called, which attends with all heads at once\n  hint: loop over the heads"
    assert largest < n_heads * b * t * t, (
        f"the largest tensor on the way has {largest} elements, as many as the scores of all {n_heads} heads\n"
        "  hint: loop over the heads and finish each one (scores, softmax, values) before the next"
    )


@exercise("attention_per_head", points=1)
def test_no_tensor_holds_the_scores_of_all_heads(student, reference, generator):
    """attention_per_head never makes the scores of more than one head at a time, whatever the mask."""
    for b, t, n_heads, masked, bias, dtype in (
        (2, 48, 8, "none", True, torch.float64),
        (2, 48, 8, "queries by keys", True, torch.float64),
        (2, 48, 8, "full", True, torch.float64),
        (1, 70, 10, "keys", False, torch.float32),
        (3, 12, 4, "padding", True, torch.float64),
    ):
        one, seed = b * t * t, generator.initial_seed()
        case = LayerCase(b, t, t, n_heads, None, 1, bias, False, masked, seed=seed, dtype=dtype)
        recorded = masked != "none"
        output, largest, total, calls = student.run(scenarios.per_head_largest, *case.layer, case.x, case.mask, recorded)
        shape = "no mask" if case.mask is None else f"a mask {tuple(case.mask.shape)}"
        assert largest < 2 * one, (
            f"with {shape} the largest tensor on the way has {largest} elements;\n"
            f"  the scores of one head have b * t * t = {one}, those of all {n_heads} heads {n_heads * one}\n"
            "  hint: loop over the heads and finish each one (scores, softmax, values) before the next; a mask turned into\n"
            "  numbers counts, too: take each head's part of it"
        )
        assert total >= n_heads * one, (
            f"all tensors on the way together have {total} elements, and the scores of {n_heads} heads {n_heads * one}:\n"
            "  hint: compute them with PyTorch, where they can be counted"
        )
        assert not calls, "the module itself was called, which attends with all heads at once"
        expected = reference.run(scenarios.forward, "MultiHeadAttention", *case.layer, case.x, mask=case.mask)
        room = {"rtol": 1e-4, "atol": 1e-4} if dtype is torch.float32 else {}
        assert_close(output, expected, what=f"the output with {n_heads} heads and {shape}", **room)


@exercise("attention_per_head", points=1)
def test_the_loop_leaves_its_inputs_and_the_module_alone(student):
    """attention_per_head changes neither its inputs nor the module, keeps nothing, and draws no random numbers."""
    case = LayerCase(2, 4, 4, 3, None, 2, True, False, "full", seed=7)
    after = student.run(scenarios.per_head_twice, *case.layer, case.x, case.mask)
    assert_equal(after["inputs"], [case.x, case.mask], what="[x, mask] after the call")
    assert_equal(after["weights"], case.weights, what="the module's weights after the call")
    assert_equal(after["second"], after["first"], what="the second of two equal calls")
    assert_equal(after["training"], [False, True], what="whether the module is in training mode, as it was")
    assert_equal(after["frozen"], ["w_v.bias", "w_v.weight"], what="the parameters that do not train, as before")
    ones = {key: torch.ones_like(value) for key, value in case.weights.items()}
    assert_equal(after["gradients"], ones, what="the gradients that the module held before the call")
    assert_equal(after["changed"], [], what="what else the call changed", hint="attention draws no random numbers")
    other = LayerCase(2, 4, 4, 3, None, 2, True, False, "full", seed=17)
    again = student.run(scenarios.per_head_again, case.config, other.weights, case.weights, case.x, case.mask)
    expected = [after["first"]] * 2
    assert_close(again, expected, what="[with gradients, without], after other weights and inputs", hint=ANEW)
