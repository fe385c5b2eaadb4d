"""Hidden tests: LoRA, its injection into a model and out of it, and eight-bit weights."""

import math

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import changed_around, strided
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def numbers(seed, n_in, n_out, rank, with_bias=True, dtype=torch.float64):
    """weight, bias, lora_a and lora_b."""
    shapes = (n_out, n_in), (n_out,), (rank, n_in), (n_out, rank)
    weight, bias, a, b = (normal(seed + i, *shape, dtype=dtype) for i, shape in enumerate(shapes))
    return weight, bias if with_bias else None, a, b


# LoRALinear


@exercise("LoRALinear", points=2.5, core=True)
@settings(max_examples=15)
@given(lead=leading_shapes(), n_in=sizes(1, 6), n_out=sizes(1, 6), rank=sizes(1, 4), with_bias=st.booleans(), seed=seeds())
@example(lead=(2,), n_in=3, n_out=5, rank=40, with_bias=True, seed=1)
@example(lead=(2, 3), n_in=4, n_out=3, rank=2, with_bias=True, seed=2)
@example(lead=(2, 1, 2), n_in=4, n_out=3, rank=2, with_bias=True, seed=2)
@example(lead=(0,), n_in=4, n_out=3, rank=2, with_bias=True, seed=2)
def test_the_update_is_added_to_the_base(student, lead, n_in, n_out, rank, with_bias, seed):
    """base(x) + alpha / rank · x Aᵀ Bᵀ, and the gradients of x, A and B, in eval mode too; base gets none. alpha may
    be 0 or negative. A copy of the layer has an update of its own.
    """
    weight, bias, a, b = numbers(seed, n_in, n_out, rank, with_bias)
    x, cotangent, alpha = normal(seed + 5, *lead, n_in), normal(seed + 6, *lead, n_out), (seed % 9 - 2) / 2
    leaves = [value.clone().requires_grad_() for value in (x, a, b)]
    output = torch.nn.functional.linear(leaves[0], weight, bias) + alpha / rank * (leaves[0] @ leaves[1].T @ leaves[2].T)
    output.backward(cotangent)
    found = student.run(scenarios.lora_forward, weight, bias, a, b, alpha, x, cotangent)
    hint = "scale by alpha / rank; A first, then B"
    assert_close(found["output"], output.detach(), what="the output", hint=hint)
    assert_close(found["gradients"], [leaf.grad for leaf in leaves], what="the gradients of x, lora_a, lora_b")
    actual, expected = found["gradients in eval mode"], [leaf.grad for leaf in leaves]
    assert_close(actual, expected, what="the gradients of x, lora_a, lora_b in eval mode")
    assert_equal(found["frozen"], [True] * (1 + with_bias), what="whether base's parameters have no gradient")
    output = output.detach()
    assert_close(
        found["output in eval mode"], output, what="the output in eval mode", hint="the update belongs to it as in training"
    )
    doubled = output + alpha / rank * (x @ a.T @ b.T)
    hint = "forward should look at this layer's own parameters each time"
    assert_close(
        found["of a copy"], [doubled, output], what="the output of a copy with twice the update, and the layer's", hint=hint
    )
    merged = weight + 2 * alpha / rank * b @ a
    narrow = [doubled.float(), merged.float()]
    assert_close(
        found["of a copy in float32"], narrow, what="(output, merged_weight) of the copy in float32", rtol=1e-4, atol=1e-4
    )
    another = output + torch.nn.functional.linear(x, weight, bias)
    assert_close(found["with another base"], another, what="the output once base's weight and bias have doubled")


@exercise("LoRALinear", points=1.5, core=True)
@settings(max_examples=6)
@given(with_bias=st.booleans(), rank=sizes(1, 5), dtype=st.sampled_from(DTYPES), seed=seeds())
def test_a_new_layer_starts_as_its_base(student, with_bias, rank, dtype, seed):
    """lora_b is zero, base is the layer that was given, frozen; two parameters can be trained, in base's dtype."""
    weight, bias, _, _ = numbers(seed, 3, 4, rank, with_bias, dtype)
    found = student.run(scenarios.lora_anatomy, weight, bias, rank, 7)
    base = {"base.weight": [[4, 3], dtype, False]} | ({"base.bias": [[4], dtype, False]} if with_bias else {})
    expected = base | {"lora_a": [[rank, 3], dtype, True], "lora_b": [[4, rank], dtype, True]}
    assert_equal(found["parameters"], expected, what="the parameters: shape, dtype, whether they are trained")
    assert_equal(found["state"], sorted(expected), what="the keys of the state_dict")
    assert_equal(found["buffers"], [], what="the buffers")
    assert_equal(found["base is the given layer"], True, what="whether base is the very layer")
    assert_equal(found["lora_b"], torch.zeros(4, rank, dtype=dtype), what="lora_b at the start")
    assert_close(*found["starts as base"], what="the output at the start")
    assert_equal(found["weight"], weight, what="base's weight after the merged one was written into", hint="a new tensor, always")


@exercise("LoRALinear", points=1)
def test_lora_a_is_drawn_from_the_generator(student):
    """Standard deviation 1 / sqrt(in_features), mean 0; the global random state is used only without a generator."""
    for n_in, rank, dtype in ((400, 50, torch.float32), (100, 200, torch.float16), (100, 200, torch.bfloat16)):
        weight = normal(1, 5, n_in, dtype=dtype)
        drawn, changed, free = student.run(scenarios.lora_draws, weight, rank, [3, 4, 3])
        check_draws(drawn[::2], drawn[1::2], changed, free, rank, n_in)


def check_draws(drawn, second, changed, free, rank, n_in):
    """lora_a of two layers from each of three generators, the first and the third alike, and of two layers without one."""
    size = n_in**-0.5
    assert_equal(changed, [], what="what making a layer with a generator changed around it")
    assert_equal(drawn[2], drawn[0], what="lora_a from the same seed")
    assert not torch.equal(drawn[1], drawn[0]), "lora_a is the same for another seed"
    assert not torch.equal(second[0], drawn[0]), "the second layer from one generator has the first one's lora_a"
    assert not torch.equal(free[1], free[0]), "without a generator, lora_a is the same for two layers"
    hint = "without a generator PyTorch's global random state is used"
    assert_equal(free[2], free[0], what="lora_a without a generator after torch.manual_seed with the same number", hint=hint)
    for a in (*drawn, *free):
        assert_equal(list(a.shape), [rank, n_in], what="the shape of lora_a")
        spread, middle = a.double().std().item() / size, a.double().mean().item() / size
        assert 0.96 < spread < 1.04, f"the standard deviation of lora_a is {spread * size:.4f}; 1 / sqrt({n_in}) is {size:.4f}"
        assert abs(middle) < 0.04, f"the mean of lora_a is {middle * size:.4f}, not 0"
        inner = (a.double().abs() < size).double().mean().item()
        assert 0.65 < inner < 0.715, f"{inner:.3f} of lora_a is within a standard deviation; of normal numbers 0.683 is"
        furthest = a.double().abs().max().item() / size
        assert furthest > 3, f"no number of lora_a is more than {furthest:.2f} standard deviations from 0; of 20,000 some are"
        lengths = a.double().norm(dim=1).std().item()
        assert lengths > 0.36 * size, f"all rows of lora_a have one length, to {lengths:.3f}: the numbers are not independent"


@exercise("LoRALinear", points=1)
def test_training_changes_the_update_alone(student):
    """Ten steps lower the loss, base stays as it is, and what was learned is in the merged layer."""
    weight, bias, _, _ = numbers(4, 5, 3, 2)
    losses, same, outputs = student.run(scenarios.lora_training, weight, bias, 2, normal(8, 20, 5), normal(9, 20, 3), 10)
    assert losses[-1] < 0.9 * losses[0], f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f}: does anything learn?"
    assert_equal(same, True, what="whether base is as it was")
    assert_close(outputs[1], outputs[0], what="the merged layer's output after training")


@exercise("LoRALinear", points=1)
def test_the_update_is_applied_as_two_thin_products(student):
    """rank · (in + out) multiply-adds a row beside base's own; the product of B and A is not formed."""
    weight, _, a, b = numbers(3, 40, 48, 2, dtype=torch.float32)
    for lead in ((3,), (200,), (2, 100)):
        x, needed = normal(7, *lead, 40, dtype=torch.float32), 2 * math.prod(lead) * (40 * 48 + 2 * (40 + 48))
        for count, formed in student.run(scenarios.lora_flops, weight, a, b, x):
            assert 0 < count <= 1.05 * needed, f"forward took {count:,} operations; {needed:,} are enough, in eval mode too"
            hint = "multiply x by A first, then by B, however many rows x has"
            what = f"how many new matrices as large as base's weight a forward pass made of x {(*lead, 40)}"
            assert_equal(formed, 0, what=what, hint=hint)


@exercise("LoRALinear", points=1.5, core=True)
@settings(max_examples=8)
@given(n_in=sizes(1, 5), n_out=sizes(1, 5), rank=sizes(1, 3), with_bias=st.booleans(), seed=seeds())
@example(n_in=3, n_out=5, rank=2, with_bias=False, seed=1)
@example(n_in=3, n_out=5, rank=2, with_bias=True, seed=1)
def test_merged_it_is_one_plain_layer(student, n_in, n_out, rank, with_bias, seed):
    """merged_weight is W + alpha / rank · B A; merge gives a plain nn.Linear with it and with base's bias."""
    weight, bias, a, b = numbers(seed, n_in, n_out, rank, with_bias)
    found = student.run(scenarios.lora_merging, weight, bias, a, b, 3, normal(seed + 5, 4, n_in))
    expected = weight + 3 / rank * b @ a
    assert_close(found["merged_weight"], expected, what="merged_weight()")
    assert_close(found["again"], expected, what="merged_weight() after merge()", hint="merging changes nothing")
    assert_equal(found["type"], True, what="whether merge() gives an nn.Linear")
    assert_equal(found["sizes"], [n_in, n_out], what="in_features and out_features")
    state = {"weight": expected} | ({"bias": bias} if with_bias else {})
    assert_close(found["state"], state, what="the merged layer's parameters")
    assert_close(*found["outputs"], what="the merged layer's output")
    for name, what in (("later", "merged_weight()"), ("merged later", "merge().weight")):
        assert_close(found[name], weight + 3 / rank * (b + 1) @ a, what=f"{what} after lora_b has changed")
    assert_equal(found["the first one"], torch.zeros_like(weight), what="the first merged layer, zeroed, after another merge()")


@exercise("LoRALinear", points=0.5)
def test_a_merged_layer_goes_its_own_way(student):
    """Writing into it, or into merged_weight(), changes nothing in the layer that it came from; dtypes and devices are kept."""
    for dtype in DTYPES:
        weight, bias, a, b = numbers(2, 3, 4, 2, dtype=dtype)
        found = student.run(scenarios.lora_merging, weight, bias, a, b, 4, normal(7, 2, 3, dtype=dtype))
        assert_equal(found["left alone"], True, what="whether the layer is as it was")
        expected = weight.double() + 2 * b.double() @ a.double()
        room = {torch.bfloat16: {"rtol": 2e-2, "atol": 0.15}, torch.float16: {"rtol": 2e-3, "atol": 2e-2}}.get(dtype, {})
        assert_close(found["state"]["weight"], expected.to(dtype), what=f"the merged weight in {dtype}", **room)
        outputs = [(normal(7, 2, 3, dtype=dtype).double() @ expected.T + bias.double()).to(dtype)] * 2
        assert_close(found["outputs"], outputs, what=f"the merged layer's output and the layer's, in {dtype}", **room)
    assert_equal(student.run(scenarios.lora_elsewhere), ["meta"], what="the devices of the parameters, base's being another one")


@exercise("LoRALinear", points=1)
def test_ranks_and_bases_that_make_no_sense_are_refused(student):
    """A rank of 0, a negative or broken one, and a base that is no linear layer, not even by inheritance; it can still be
    trained. One that is linear by inheritance is called as it is.
    """
    for rank in (0, -1, 1.5):
        refused, as_it_was = student.run(scenarios.lora_refusals, rank)
        assert refused, f"a rank of {rank} should be refused with a ValueError"
        assert as_it_was, f"base was frozen although a rank of {rank} was refused"
    refused, as_it_was = student.run(scenarios.lora_refusals, 2.0)
    assert as_it_was, "a rank of 2.0 ended in an error, and base was frozen by then: look at the rank first"
    refused, as_it_was = student.run(scenarios.lora_refusals, 2, "embedding")
    assert refused, "a base that is an nn.Embedding should be refused"
    assert as_it_was, "the nn.Embedding was frozen although it was refused"
    refused, as_it_was = student.run(scenarios.lora_refusals, 2, "look-alike")
    assert refused and as_it_was, "a base with a weight, a bias and in_features that is no nn.Linear should be refused, as it was"
    refused, _ = student.run(scenarios.lora_refusals, 2, "of a kind of linear")
    assert not refused, "a base of a class that inherits from nn.Linear was refused: it is an nn.Linear, too (isinstance)"
    outputs, hint = student.run(scenarios.lora_calls_its_base, normal(1, 2, 3)), "call base: it may have a forward of its own"
    assert_close(*outputs, what="the output at the start, base being of a class that inherits from nn.Linear", hint=hint)


# inject_lora


def lora_names(paths):
    """The names of what is trained at these paths."""
    return sorted(f"{path}.{name}" for path in paths for name in ("lora_a", "lora_b"))


def state_keys(paths):
    """The keys of the model's state once these layers are wrapped."""
    keys = []
    for key in scenarios.built("plain").state_dict():
        path, _, name = key.rpartition(".")
        keys += [f"{path}.base.{name}"] if path in paths else [key]
    return sorted(keys + lora_names(paths))


PATHS = {
    ("w_q",): ["blocks.0.w_q", "blocks.1.w_q", "extra.w_q", "w_q"],
    ("w_k", "w_q"): ["blocks.0.w_q", "blocks.0.w_k", "blocks.1.w_q", "blocks.1.w_k", "extra.w_q", "w_q"],
    ("0", "2", "norm", "blocks"): [f"blocks.{i}.feed_forward.{j}" for i in (0, 1) for j in (0, 2)],
    ("head",): ["head"],
}


@exercise("inject_lora", points=2.5, core=True)
def test_layers_are_replaced_by_name(student):
    """Every linear layer whose own name is listed, in lists, dicts, sequences and at the top; nothing else."""
    for names, paths in PATHS.items():
        found = student.run(scenarios.injection, "plain", list(names))
        assert_equal(found["adapters"], paths, what=f"the LoRALinears after injecting into {names}")
        assert_equal(found["returned"], paths, what=f"what inject_lora returned for {names}")
        assert_equal(found["names as before"], True, what="whether the list of names is as it was")
        assert_equal(found["around the very layers"], True, what="whether each base is the layer that was there")
        assert_equal(found["how many different"], len(paths), what="how many LoRALinears there are")
        assert_equal(found["state"], state_keys(paths), what="the keys of the state_dict")


@exercise("inject_lora", points=1.5, core=True)
def test_the_model_computes_what_it_did(student, reference):
    """At first; and with numbers in lora_b, what it should with this rank and this alpha."""
    for names in (["w_q"], ["0", "w_k"]):
        found = student.run(scenarios.injection, "plain", names, 3, 5.0)
        assert_close(*found["outputs"], what="the logits after the injection")
        known = reference.run(scenarios.injection, "plain", names, 3, 5.0)
        assert_equal([list(a.shape) for a in found["draws"]], [list(a.shape) for a in known["draws"]], what="shapes of lora_a")
    for merged, weight, b, a in student.run(scenarios.injection, "plain", ["w_q"], 5, 2.5)["updates"]:
        assert_close(merged, weight + 0.5 * b @ a, what="the merged weight of a layer with rank = 5 and alpha = 2.5")
    found = student.run(scenarios.injection, "plain", ["w_q"], 1, 0.0)
    assert_close(found["stirred"], found["outputs"][1], what="the logits with alpha = 0 and anything in lora_b")


@exercise("inject_lora", points=1)
def test_only_the_updates_can_be_trained(student):
    """Embeddings, norms, biases, other layers and single parameters are frozen, lora_a and lora_b are not."""
    for names, paths in PATHS.items():
        found = student.run(scenarios.injection, "plain", list(names))
        assert_equal(found["trainable"], lora_names(paths), what=f"what requires gradients with {names}")
        assert_equal(found["modes as before"], True, what="whether each layer is in training or eval mode as before")


@exercise("inject_lora", points=1)
def test_a_shared_layer_gets_one_update(student):
    """At all of its paths that match, in shared blocks too; a tied head keeps its tie."""
    found = student.run(scenarios.injection, "shared layer", ["w_q"])
    paths = ["blocks.0.w_q", "blocks.1.w_q", "extra.w_q", "w_q"]
    assert_equal(found["returned"], paths, what="the paths where a layer is shared by two blocks")
    assert_equal(found["adapters"], paths, what="where LoRALinears stand")
    assert_equal(found["how many different"], 3, what="how many different LoRALinears there are")
    found = student.run(scenarios.injection, "shared layer", ["alias", "twin"])
    assert_equal(found["adapters"], ["alias", "twin"], what="where LoRALinears stand when one module has the layer twice")
    assert_equal(found["how many different"], 1, what="how many LoRALinears there are when one module has the layer twice")
    found = student.run(scenarios.injection, "shared block", ["w_q", "2"])
    assert_equal(found["returned"], found["adapters"], what="the paths where a block is used twice")
    assert_equal(len(found["returned"]), 8, what="how many paths there are where a block is used twice")
    assert_equal(found["how many different"], 6, what="how many different LoRALinears there are")
    assert_close(*found["outputs"], what="the logits after the injection")
    found = student.run(scenarios.injection, "tied", ["w_q"])
    what = "whether each base is the layer that was there, where two layers share a weight"
    assert_equal(found["around the very layers"], True, what=what)
    found = student.run(scenarios.injection, "tied", ["head"])
    assert_equal(found["trainable"], lora_names(["head"]), what="what requires gradients with a tied head")
    assert_equal(found["embedding as before"], True, what="whether the embedding has the parameter that it had")


@exercise("inject_lora", points=0.5)
def test_another_injection_leaves_the_first_one(student):
    """Its updates stay, and stay trainable; its bases are not wrapped again, whereas the model's own layers called base are."""
    found = student.run(scenarios.injected_twice, ["w_q"], ["w_k", "base", "w_q", "w_q_norm", "7"])
    second = [*(f"blocks.{i}.{name}" for i in (0, 1) for name in ("w_k", "w_q_norm")), "extra.base", "extra.7", "base"]
    assert_equal(found["returned"], second, what="what the second injection returned")
    both = PATHS["w_q",] + second
    assert_equal(found["trainable"], lora_names(both), what="what requires gradients after two injections")
    assert_close(*found["outputs"], what="the logits after the second injection")
    for injected, _, _ in student.run(scenarios.deep, 20, ("a", "b", "c", "d", "7", "70"), 1):
        paths = ["inner." * i + name for i in range(20) for name in ("7", "70")]
        assert_equal(sorted(injected), sorted(paths), what="the paths of forty layers in a deep tree")
    assert not torch.equal(found["draws"][0], found["draws"][3]), "without a generator, two layers have the same lora_a"


@exercise("inject_lora", points=0.5)
def test_draws_come_from_the_generator(student):
    """In the order of the paths, for each layer once; and the global random state is left alone."""
    for kind in ("shared layer", "plain"):
        found = student.run(scenarios.injection, kind, ["w_q", "w_k"])
        hint = "LoRALinears are made in the order of the paths, one for each layer"
        assert_equal(found["draws"], found["draws in order"], what=f"each lora_a in the {kind} model", hint=hint)
    found = student.run(scenarios.injection, "plain", ["w_q"])
    again = student.run(scenarios.injection, "plain", ["w_q"])
    assert_equal(found["changed around it"], [], what="what inject_lora changed around it")
    assert_equal(again["draws"], found["draws"], what="lora_a from the same seed")
    assert not torch.equal(found["draws"][0], found["draws"][1]), "two layers have the same lora_a"
    for dtype in (torch.float32, torch.bfloat16):
        draws = student.run(scenarios.injection, "plain", ["w_q"], dtype=dtype)["draws"]
        assert_equal([a.dtype for a in draws], [dtype] * len(draws), what=f"the dtypes of lora_a in a {dtype} model")


@exercise("inject_lora", points=1)
def test_names_that_match_nothing_are_refused(student):
    """Unknown names, names of other modules, none at all, a whole path, and ranks of 0; the model is as it was."""
    unknown = ["w_z"], [], ["norm", "blocks"], ["blocks.0.w_q"], ["q"], ["W_Q"]
    for names, rank in (*((names, 2) for names in unknown), (["w_q"], 0)):
        refused, same = student.run(scenarios.injection_refused, names, rank)
        assert refused, f"names {names} with rank {rank} should be refused with a ValueError"
        assert same, f"names {names} with rank {rank} were refused, and yet the model is not as it was"
    refused, _ = student.run(scenarios.injection_refused, ["w_q"], 2, ["w_q"])
    assert refused, "where every layer of that name has its update already, nothing matches: raise a ValueError"


# merge_lora


@exercise("merge_lora", points=2.5, core=True)
def test_a_merged_model_computes_the_same_without_lora(student):
    """Plain layers in all places, in lists, dicts and sequences, and the logits of before."""
    for names, paths in PATHS.items():
        found = student.run(scenarios.merging, "plain", list(names))
        assert_equal(found["left over"], [], what="where LoRALinears are left")
        assert_equal(found["returned"], paths, what="what merge_lora returned")
        assert_equal(found["plain"], True, what="whether the layers are plain nn.Linear")
        assert_close(*found["outputs"], what="the logits after merging")
        assert_equal(found["outside as before"], True, what="whether other layers' modes and requires_grad are as they were")


@exercise("merge_lora", points=1, core=True)
def test_the_state_has_the_keys_of_before(student, reference):
    """Whoever loads the weights need not know of LoRA; the weights are those that were merged."""
    for names in (["w_q"], ["w_k", "0"], ["head"]):
        found = student.run(scenarios.merging, "plain", names)
        assert_equal(found["keys as before"], True, what=f"whether the keys of the state_dict are those of before ({names})")
        others = {key for key in found["state"] if not any(key.startswith(path + ".") for path in found["returned"])}
        plain = scenarios.built("plain").state_dict()
        assert_equal({key: found["state"][key] for key in others}, {key: plain[key] for key in others}, what="other weights")
    for dtype in (torch.float32, torch.bfloat16):
        state = student.run(scenarios.merging, "plain", ["w_q"], dtype)["state"]
        assert_equal([v.dtype for v in state.values()], [dtype] * len(state), what=f"the dtypes in the state of a {dtype} model")


@exercise("merge_lora", points=1)
def test_shared_layers_stay_shared(student):
    """One LoRALinear at several paths becomes one plain layer, with the update in it once; in shared blocks too."""
    cases = ("shared layer", ["w_q"], 4, 3), ("shared layer", ["alias", "twin"], 2, 1), ("shared block", ["w_q", "2"], 8, 6)
    for kind, names, n_paths, n_layers in cases:
        found = student.run(scenarios.merging, kind, names)
        assert_equal(len(found["returned"]), n_paths, what="how many paths were merged")
        assert_equal(found["how many different"], n_layers, what="how many plain layers there are")
        assert_equal(found["left over"], [], what="where LoRALinears are left")
        assert_close(*found["outputs"], what="the logits after merging")


@exercise("merge_lora", points=0.5)
def test_a_tied_embedding_keeps_its_numbers(student):
    """The merged head gets a weight of its own; the embedding stays as it was."""
    found = student.run(scenarios.merging, "tied", ["head"])
    assert_equal(found["embedding as before"], True, what="whether the embedding is as it was")
    assert_close(*found["outputs"], what="the logits after merging")


@exercise("merge_lora", points=0.5)
def test_layers_that_were_put_there_by_hand_are_merged_too(student):
    """Whatever made the LoRALinear, frozen ones and new ones, those of a class that inherits from it, beside modules that have no
    children or another merge; and forty in a deep tree in eval mode, twice.
    """
    for injected, merged, as_before in student.run(scenarios.deep, 20, ["7", "70"], 2):
        assert_equal(merged, injected, what="the paths that were merged in a deep tree")
        assert_equal(as_before, True, what="whether the keys of the state_dict are those of before")
    weight, _, a, b = numbers(6, 3, 3, 2)
    x = normal(9, 2, 3)
    paths, kinds, output, shared = student.run(scenarios.merging_by_hand, [weight, a, b, x])
    hint = "the last one's class inherits from LoRALinear: isinstance"
    assert_equal(paths, ["0", "4", "5"], what="what merge_lora returned", hint=hint)
    assert_equal(kinds, ["Linear", "Pooling", "ModuleList", *["Linear"] * 3], what="the layers after merging", hint=hint)
    assert_close(output, x @ (weight + b @ a / 2).T, what="the merged layer's output")
    what, hint = "whether the plain layer in the place of a new one shares base's weight", "merge gives a layer of its own"
    assert_equal(shared, False, what=what, hint=hint)


@exercise("merge_lora", points=0.5)
def test_a_model_without_lora_is_refused(student):
    """Before any injection, and after merging once."""
    for after_merging in (False, True):
        assert student.run(scenarios.merge_refused, after_merging), "there is nothing to merge: raise a ValueError"


# quantize_int8


def quantized(student, weight):
    """q and scale, checked for shapes and dtypes."""
    q, scale = student.quantize_int8(weight)
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    for name, x, shape, dtype in (("q", q, weight.shape, torch.int8), ("scale", scale, (*weight.shape[:-1], 1), wide)):
        assert isinstance(x, torch.Tensor), f"{name} should be a tensor, not {type(x).__name__}"
        assert_equal([list(x.shape), x.dtype], [list(shape), dtype], what=f"the shape and dtype of {name}")
    return q, scale


@exercise("quantize_int8", points=2.5, core=True)
@settings(max_examples=20)
@given(lead=leading_shapes(), n=sizes(1, 9), seed=seeds(), dtype=st.sampled_from([torch.float64, torch.float32]))
@example(lead=(3,), n=7, seed=1, dtype=torch.float32)
@example(lead=(), n=5, seed=2, dtype=torch.float64)
@example(lead=(2,), n=300, seed=3, dtype=torch.float32)
@example(lead=(1,), n=70_001, seed=3, dtype=torch.float32)
@example(lead=(2, 1, 2), n=3, seed=3, dtype=torch.float64)
def test_rows_are_scaled_by_their_largest_weight(student, lead, n, seed, dtype):
    """scale is max |w| / 127 of each row, q the nearest whole number; rows differ in size by orders of magnitude."""
    size = 10.0 ** torch.randint(-30, 31, (*lead, 1), generator=torch.Generator().manual_seed(seed))
    weight = (normal(seed, *lead, n) * size).to(dtype)
    q, scale = quantized(student, weight)
    assert_inputs_untouched(student)
    largest = weight.abs().amax(-1, keepdim=True)
    assert_close(scale, largest / 127, what="scale", rtol=1e-6 if dtype == torch.float32 else 1e-12, atol=0)
    error = (q.double() * scale.double() - weight.double()).abs()
    worst = (error / scale.double()).max().item()
    assert worst <= 0.5 + 1e-4, f"a weight moved by {worst:.3f} scales\n  hint: round to the nearest, at most half a scale away"
    assert_equal(q.abs().amax(-1), torch.full(lead, 127, dtype=torch.int8), what="the largest |q| of each row")
    assert_equal(q[weight == largest], torch.full_like(q[weight == largest], 127), what="q of the largest weights")


@exercise("quantize_int8", points=1, core=True)
def test_halves_go_to_the_even_number(student):
    """With a scale of 1, weights that are whole or halves can be read off, in every dtype; with the sign turned, so is q."""
    halves = [0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 126.5, 125.5, -126.5, 3.0, 0.0, 0.49, -0.51]
    expected = [0, 2, 2, 4, 0, -2, -2, 126, 126, -126, 3, 0, 0, -1]
    for end in (127.0, -127.0):
        weight = torch.tensor([[*halves, end], [*(-2 * x for x in halves), 2 * end]])
        rows = torch.tensor([[*expected, int(end)], [*(-x for x in expected), int(end)]], dtype=torch.int8)
        for dtype in DTYPES:
            q, _ = quantized(student, weight.to(dtype))
            assert_equal(q, rows, what=f"q of {dtype} weights", hint="torch.round rounds halves to the even number")
    near = torch.tensor([127.0, 0.5 + 1e-11, -0.5 - 1e-11, 1.5 - 1e-11, 100.5 + 1e-11], dtype=torch.float64)
    q, _ = quantized(student, near)
    expected = torch.tensor([127, 1, -1, 1, 101], dtype=torch.int8)
    assert_equal(q, expected, what="q of float64 weights that are nearly halves", hint="float64 for float64 weights, all the way")


@exercise("quantize_int8", points=1)
def test_rows_of_zeros_stay_zeros(student):
    """Without NaN, beside rows that are not zero, and alone."""
    weight = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.0], [0.0, 0.0, 1e-3]])
    others = weight.double()[None], weight.half(), weight.bfloat16(), torch.zeros(2, 1)
    for x in (weight, weight[:1], weight[0], weight.double(), *others):
        q, scale = quantized(student, x)
        assert scale.isfinite().all(), f"scale is {scale.flatten().tolist()}: it should be finite for a row of zeros"
        assert_close(q.double() * scale, x.double(), what="q · scale", rtol=0, atol=0.02)
        assert_equal(q[x == 0], torch.zeros_like(q[x == 0]), what="q where the weight is 0")


@exercise("quantize_int8", points=1)
@settings(max_examples=15)
@given(dtype=st.sampled_from([torch.float16, torch.bfloat16]), n=sizes(1, 40), seed=seeds())
@example(dtype=torch.float16, n=0, seed=1)
def test_half_precision_is_widened_first(student, dtype, n, seed):
    """The scale of a half-precision weight is float32 and exact to that; no weight moves by more than half of it."""
    weight = normal(seed, 5, n, dtype=dtype, scale=0.05)
    if n == 0:  # the largest and very small ones
        weight = torch.tensor([[65504.0, -65504.0, 61000.0], [5e-6, -2e-6, 1e-6], [6e-5, -2e-5, 1e-7]], dtype=dtype)
    q, scale = quantized(student, weight)
    assert_close(scale, weight.float().abs().amax(-1, keepdim=True) / 127, what="scale", rtol=1e-6, atol=0)
    worst = ((q.float() * scale - weight.float()).abs() / scale).max().item()
    assert worst <= 0.5 + 1e-4, f"a weight moved by {worst:.3f} scales"
    assert q.int().min() >= -127, "q has -128, which has no counterpart on the other side"


@exercise("quantize_int8", points=0.5)
def test_weights_of_any_strides(student):
    """Transposed or scattered in memory, without rows, trained, as large as can be; and nothing around the call changes."""
    weight = normal(3, 2, 4, 6)
    assert_equal(list(student.run(strided, "quantize_int8", [weight])), list(quantized(student, weight)), what="(q, scale)")
    quantized(student, torch.zeros(0, 4))
    own = student.run(scenarios.quantized_parameter, weight)
    assert_equal(own, list(quantized(student, weight)), what="(q, scale) of a weight that is trained")
    for dtype, large in ((torch.float32, 3e38), (torch.float64, 1.7e308)):
        q, _ = quantized(student, torch.tensor([large, -large, large / 3, -large / 3], dtype=dtype))
        assert_equal(q.tolist(), [127, -127, 42, -42], what=f"q of {dtype} weights as large as {large}")
    q, _ = quantized(student, torch.tensor([[6e4, -6e4, 2e4], [6e4, 6e4, 0.0]], dtype=torch.float16))
    rows = torch.tensor([[127, -127, 42], [127, 127, 0]], dtype=torch.int8)
    assert_equal(q, rows, what="q of float16 weights whose sum is beyond float16")
    assert_equal(student.run(changed_around, "quantize_int8", [weight]), [], what="what quantize_int8 changed around it")


@exercise("quantize_int8", points=1)
def test_weights_without_a_largest_are_refused(student):
    """NaN and infinity, of either sign, in any row."""
    for bad in (float("nan"), float("inf"), -float("inf")):
        for row in (0, 2):
            weight = torch.ones(3, 2)
            weight[row, 1] = bad
            for dtype in DTYPES:
                assert_refused(student.quantize_int8, weight.to(dtype), why=f"a {dtype} weight is {bad}")
            assert_refused(student.quantize_int8, weight[row], why=f"a weight in a single row is {bad}")
            assert_refused(student.quantize_int8, weight.view(1, 3, 2), why=f"a weight among matrices is {bad}")
