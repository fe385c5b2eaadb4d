"""Groups, schedule, evaluation, checkpoints and the run, against PyTorch's optimiser in a plain loop."""

import math

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.strategies import example, given, seeds, settings, sizes, st

from . import scenarios
from .truth import learning_rate, trained

PLAIN = {
    "total_steps": 5, "warmup_steps": 2, "max_lr": 0.05, "min_lr": 0.01, "weight_decay": 0.3, "betas": (0.8, 0.9),
    "clip_norm": 1.0, "accumulation_steps": 1,
}  # fmt: skip


def some_batches(seed, n, b=2, t=4, vocab=7):
    generator = torch.Generator().manual_seed(seed)
    return [tuple(torch.randint(vocab, (b, t), generator=generator) for _ in range(2)) for _ in range(n)]


def losses_of(model, batches):
    with torch.no_grad():
        return [F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten()).item() for x, y in batches]


# param_groups


def check_groups(found, expected, model):
    """Group by group: the names, then the decay."""
    assert found is not None, 'param_groups should return a list of two dicts, {"params": […], "weight_decay": …}'
    assert_equal(len(found), 2, what=f"the number of groups of {model}", hint="two, also where one of them is empty")
    for i, wanted in enumerate(expected):
        said = f"the {('first', 'second')[i]} group of {model}"
        hint = "p.ndim >= 2 tells a matrix from a vector; p.requires_grad, what is trained"
        assert_equal(found[i]["params"], wanted["params"], what=f"the names of the params in {said}", hint=hint)
        decay = found[i]["weight_decay"]
        hint = "AdamW's own weight_decay, 0.01, is that of a group which says none" if decay == 0.01 else ""
        assert_equal(decay, wanted["weight_decay"], what=f"the weight_decay of {said}", hint=hint)


@exercise("param_groups", points=2, core=True)
def test_matrices_decay_and_vectors_do_not(student, generator):
    """Two groups, matrices first; a tied weight is in one of them, once; what is not trained is in neither."""
    decay = round(float(torch.rand((), generator=generator)), 3)
    groups, trained_before = student.run(scenarios.groups_of, decay, "plain")
    expected = [
        {"weight_decay": decay, "params": ["embedding.weight", "mix.weight"]},
        {"weight_decay": 0.0, "params": ["scale", "norm.weight", "norm.bias", "mix.bias"]},
    ]
    check_groups(groups, expected, "a small language model")
    assert_equal(trained_before, [True, False, True, True, True, True, True], what="requires_grad afterwards")


@exercise("param_groups", points=1)
def test_it_is_the_number_of_dimensions_that_counts_and_no_name(student):
    """A matrix called bias decays, a vector called weight does not, nor a norm's; three dimensions are as good as two."""
    groups, _ = student.run(scenarios.groups_of, 0.1, "odd names")
    expected = [
        {"weight_decay": 0.1, "params": ["bias", "scale", "ln_1.weight"]},
        {"weight_decay": 0.0, "params": ["weight", "ln_1.bias"]},
    ]
    check_groups(groups, expected, "a model with odd names")


@exercise("param_groups", points=1)
def test_frozen_parameters_are_left_out_and_a_group_may_be_empty(student):
    """Two groups all the same."""
    groups, _ = student.run(scenarios.groups_of, 0.1, "frozen")
    expected = [
        {"weight_decay": 0.1, "params": ["mix.weight"]},
        {"weight_decay": 0.0, "params": ["scale", "norm.weight", "mix.bias"]},
    ]
    check_groups(groups, expected, "a model that is frozen in part")
    groups, _ = student.run(scenarios.groups_of, 0.1, "matrices only")
    expected = [{"weight_decay": 0.1, "params": ["weight"]}, {"weight_decay": 0.0, "params": []}]
    check_groups(groups, expected, "a linear layer without bias")
    groups, _ = student.run(scenarios.groups_of, 0.1, "on the meta device")
    expected = [{"weight_decay": 0.1, "params": ["weight"]}, {"weight_decay": 0.0, "params": ["bias"]}]
    check_groups(groups, expected, "a linear layer on the meta device")
    groups, _ = student.run(scenarios.groups_of, 0.0, "vectors only")
    expected = [{"weight_decay": 0.0, "params": []}, {"weight_decay": 0.0, "params": ["weight", "bias"]}]
    check_groups(groups, expected, "a layer norm")


# cosine_schedule


@exercise("cosine_schedule", points=2, core=True)
@settings(max_examples=20)
@given(warmup=sizes(0, 6), rest=sizes(1, 9), seed=seeds())
def test_the_rate_goes_up_in_a_line_and_down_along_half_a_cosine(student, warmup, rest, seed):
    """At every step of a run."""
    generator = torch.Generator().manual_seed(seed)
    low, high = sorted(torch.rand(2, generator=generator, dtype=torch.float64).tolist())
    total = warmup + rest
    steps = list(range(total))
    actual = student.run(scenarios.schedule, steps, warmup, total, high, low)
    expected = [learning_rate(step, warmup, total, high, low) for step in steps]
    for step in steps:
        said = f"cosine_schedule({step}, warmup_steps={warmup}, total_steps={total}, max_lr={high:.4g}, min_lr={low:.4g})"
        assert_close(actual[step], expected[step], what=said)


@exercise("cosine_schedule", points=1)
def test_from_the_last_step_on_it_is_the_smallest_rate(student):
    """Also long after the end, and in a run that is warm-up alone."""
    assert_close(
        student.run(scenarios.schedule, [9, 10, 11, 500], 3, 10, 1.0, 0.1)[1:], [0.1] * 3, what="the rates from step 10 on"
    )
    actual = student.run(scenarios.schedule, [0, 1, 2, 3, 4], 4, 4, 1.0, 0.1)
    assert_close(actual, [0.2, 0.4, 0.6, 0.8, 0.1], what="the rates with a warm-up of all 4 steps")
    assert_close(student.run(scenarios.schedule, [0, 1], 0, 2, 1.0, 0.0), [1.0, 0.5], what="the rates without a warm-up")


# evaluate


@exercise("evaluate", points=2, core=True)
@settings(max_examples=8)
@given(seed=seeds(), b=sizes(1, 3), t=sizes(1, 5), n=sizes(1, 4), more=sizes(0, 2))
def test_it_is_the_mean_loss_of_the_first_batches(student, seed, b, t, n, more):
    """In evaluation mode, so that dropout takes nothing; the same when asked again."""
    batches = some_batches(seed, n + more, b, t)
    values, _ = student.run(scenarios.evaluated, seed, batches, n, twice=True)
    expected = sum(losses_of(scenarios.tiny(seed), batches[:n])) / n
    assert_close(
        values,
        [expected] * 2,
        what=f"the mean loss of {n} batches, twice",
        hint="shards.batch(0) to batch(n_batches - 1)",
        rtol=2e-6,  # the mean may be made in a tensor of PyTorch's default dtype, float32
    )
    if n == 2:
        value = student.run(scenarios.evaluated_in_bfloat16, [(torch.tensor([[i]]),) * 2 for i in range(2)])
        what = "the mean loss of a model whose losses are 1 and 1 + 1/128, both in bfloat16"
        assert_close(value, 1 + 1 / 256, what=what, hint="bfloat16 has three digits: add floats", rtol=1e-4)


@exercise("evaluate", points=1)
def test_it_leaves_no_trace(student):
    """Modes of all parts, random state, position, gradients, also where the model draws numbers or the data fail."""
    batches = some_batches(3, 3)
    for modes in ((True, True), (True, False), (False, False), (False, True)):
        for fails_at in (None, 1):
            value, left = student.run(scenarios.evaluated, 2, batches, 3, modes=modes, fails_at=fails_at, noise=True)
            assert (value == "raised") == (fails_at is not None), "an error of the data should be passed on"
            wanted = {
                "the modes": [*modes, modes[0], modes[0]],
                "how the model ran": [(False, False, False)],
                "the position": 1,
                "trained": 6,
                "gradients": [1.0],
                "changed for everyone": [],
            }
            said = {
                "the modes": "[model, dropout, norm, the dropout's container].training after evaluate",
                "how the model ran": "[(model.training, dropout.training, whether a graph was recorded)] while evaluate ran",
                "the position": "the position of the shards after evaluate",
                "trained": "how many parameters require gradients after evaluate",
                "gradients": "the sums of the .grad that are there after evaluate",
                "changed for everyone": "what evaluate changed for everyone",
            }
            for name, what in said.items():
                assert_equal(left[name], wanted[name], what=what)


@exercise("evaluate", points=1)
def test_more_batches_than_there_are_are_refused_and_fewer_than_one(student):
    """All of them are not too many."""
    counts = [0, -1, 4, 1, 3]
    answers = student.run(scenarios.evaluation_refused, some_batches(1, 3), counts)
    for n, was_refused in zip(counts, answers, strict=True):
        wanted = not 1 <= n <= 3
        assert was_refused == wanted, f"with 3 batches, n_batches={n} should{'' if wanted else ' not'} be refused"
    batches = some_batches(2, 2)
    mean = sum(losses_of(scenarios.tiny(3), batches)) / 2
    value = student.run(scenarios.evaluated_together, 3, batches)
    assert_close(
        value,
        mean / 2,
        what="the mean over two processes of which the other has a loss of 0",
        hint="mean_over_processes",
        rtol=2e-6,
    )


# save_checkpoint


@exercise("save_checkpoint", points=2, core=True)
def test_the_newest_state_is_there_and_nothing_else(student, generator):
    """Under the path, in a folder that is made for it, in place of the one before."""
    states = [{"step": i, "weights": [torch.rand(3, generator=generator)], "lr": {"a": 0.5}} for i in range(3)]
    for path in ("runs/deep/checkpoint.pt", "checkpoint"):
        found, files = student.run(scenarios.checkpoints, states, path)
        expected = [(state, True, True) for state in states]
        hint = "write under another name in the same folder, then os.replace alone: the old file is there until the new one is"
        what = "[(what torch.load finds after a save, whether the file before is whole, and there until it is replaced), …]"
        assert_equal(found, expected, what=what, hint=hint)
        if "/" in path:
            assert_equal(files, ["checkpoint.pt", "log.jsonl"], what="the files in the folder, where log.jsonl is another's")


@exercise("save_checkpoint", points=1)
def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_other_file(student, generator):
    """The caller hears of it."""
    state = {"weights": torch.rand(4, generator=generator)}
    for first, full in ((True, True), (False, True), (True, False), (False, False)):
        told, found, files = student.run(scenarios.checkpoint_failed, state, "runs/checkpoint.pt", first, full)
        assert told, "the error should be passed on to the caller"
        hint = "write under another name in the same folder, then os.replace; clean up in `finally`"
        assert_equal(found, state if first else None, what="what is there under the path afterwards", hint=hint)
        wanted = ["checkpoint.pt", "log.jsonl"] if first else ["log.jsonl"]
        assert_equal(files, wanted, what="the files in the folder, where log.jsonl is another's", hint=hint)
    files = student.run(scenarios.checkpoint_in_the_way)
    hint = "os.replace may fail, too: clean up in `finally`"
    assert_equal(files, ["checkpoint.pt"], what="what is in the folder when checkpoint.pt is a folder itself", hint=hint)


# train


def expected_run(seed, batches, config):
    model = scenarios.tiny(seed)
    history = trained(model, batches * (1 + config["total_steps"] * config["accumulation_steps"] // len(batches)), config)
    return {"state": scenarios.state_of(model), "history": history | {"validation": []}}


def check(actual, expected, hint=""):
    assert_close(actual["history"], expected["history"], what="the history", hint=hint, rtol=1e-6, atol=1e-9)
    assert_close(actual["state"], expected["state"], what="the weights at the end", hint=hint, rtol=1e-5, atol=1e-8)


@exercise("train", points=3, core=True)
@settings(max_examples=8)
@given(seed=seeds(), steps=sizes(1, 6), warmup=sizes(0, 3), clip=st.sampled_from((0.05, 1.0, 1e9)), stale=st.booleans())
def test_steps_are_those_of_adamw_with_clipping_and_the_schedule(student, seed, steps, warmup, clip, stale):
    """Weights and history; matrices decay; what is frozen stays; gradients from before count for nothing."""
    config = PLAIN | {"total_steps": steps, "warmup_steps": min(warmup, steps), "clip_norm": clip}
    batches = some_batches(seed, 4)
    first = seed % 3
    actual = student.run(scenarios.run, seed, batches, config, stale=stale, position=first)
    check(actual, expected_run(seed, batches[first:] + batches[:first], config))
    assert_equal(actual["position"] - first, steps, what="the number of batches that were taken")
    assert actual["the config is as it was"], "the config was changed: it is the caller's"


@exercise("train", points=2, core=True)
@settings(max_examples=5)
@given(seed=seeds(), passes=sizes(2, 4), b=sizes(1, 3))
def test_several_passes_make_the_step_of_one_large_batch(student, seed, passes, b):
    """Accumulation takes the mean over the passes; each takes a batch of its own."""
    config = PLAIN | {"total_steps": 3, "accumulation_steps": passes}
    batches = some_batches(seed, 3 * passes, b)
    actual = student.run(scenarios.run, seed, batches, config)
    hint = "divide each loss by accumulation_steps; step and zero_grad once a step"
    check(actual, expected_run(seed, batches, config), hint)
    merged = [tuple(torch.cat(parts) for parts in zip(*batches[i : i + passes])) for i in range(0, 3 * passes, passes)]
    check(actual, expected_run(seed, merged, config | {"accumulation_steps": 1}), hint)


@exercise("train", points=2)
@settings(max_examples=4)
@given(seed=seeds(), passes=sizes(1, 2), stops=st.lists(sizes(1, 6), min_size=1, max_size=2, unique=True), every=sizes(0, 2))
@example(seed=0, passes=1, stops=[3], every=2)
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(student, seed, passes, stops, every):
    """Bit for bit, with dropout: weights, moments, schedule, position, random state and history; in one file that is whole."""
    config = PLAIN | {"total_steps": 7, "accumulation_steps": passes, "eval_every": 3, "eval_batches": 2}
    batches, model = some_batches(seed, 5), {"dropout": 0.4}
    whole = student.run(scenarios.run, seed, batches, config, model=model, validation=batches)
    stops = sorted([*stops, stops[0]])  # a run that has ended there already does nothing
    pieces, files, same, lengths = student.run(
        scenarios.interrupted, seed, batches, config | {"checkpoint_every": every}, stops, model=model, validation=batches
    )
    expected = {key: whole[key] for key in pieces}
    hint = "what a step depends on: weights, optimiser, position, random state, steps done; and the model trains in training mode"
    assert_equal(pieces, expected, what=f"the run that was stopped after {stops} steps", hint=hint)
    done = [min(stop, 7) for stop in stops] + [7, 7]
    assert_equal(lengths, done, what="the steps that were done at the end of each run")
    assert_equal(files, ["c.pt"], what="the files in the checkpoint's folder")
    assert same, 'torch.load(path)["model"] should be the state of the model at the end of each run, one with stop_after, too'
    for stop in (9, 2):
        options = PLAIN | {"total_steps": 2, "stop_after": stop, "eval_every": 9, "eval_batches": 1}
        short = student.run(scenarios.run, seed, batches, options, validation=batches)
        assert_equal(short["position"], 2, what=f"the steps of a run of 2 with stop_after={stop}")
        steps = [step for step, _ in short["history"]["validation"]]
        hint = "after the last step of all, whether stop_after is set or not" * (not steps)
        what = f"the steps at which a run of 2 was evaluated with stop_after={stop} and eval_every=9"
        assert_equal(steps, [2], what=what, hint=hint)
    again, n_read, logged, intact = student.run(scenarios.crashed, seed, batches, PLAIN | {"total_steps": 7}, 2, 3)
    whole = student.run(scenarios.run, seed, batches, PLAIN | {"total_steps": 7})
    assert_equal(again, {key: whole[key] for key in again}, what="a run that went on from a checkpoint of its own, after a crash")
    assert_equal(n_read, 5, what="the steps that were left to do after the checkpoint of step 2", hint="checkpoint_every")
    assert_equal(logged, [1, 2, 3], what="the steps in the log after a crash in the 4th", hint="write each line when it is known")
    assert intact, "a checkpoint was overwritten in place: a machine that stops then has none\n  hint: save_checkpoint"


@exercise("train", points=1)
@settings(max_examples=4)
@given(seed=seeds(), every=sizes(1, 4), training=st.booleans())
def test_evaluation_comes_when_it_should_and_leaves_no_trace(student, seed, every, training):
    """After every eval_every steps and after the last one, once; the run is the one without; the model's mode is as it was."""
    config, batches = PLAIN | {"total_steps": 6, "eval_batches": 2}, some_batches(seed, 5)
    held_out = some_batches(seed + 1, 3)
    model = {"dropout": 0.3, "noise": True}
    given = {"model": model, "validation": held_out, "training": training, "dropping": not training}
    plain = student.run(scenarios.run, seed, batches, config, **given)
    options = config | {"eval_every": every}
    actual = student.run(scenarios.run, seed, batches, options, **given)
    steps = [step for step, _ in actual["history"]["validation"]]
    assert_equal(steps, sorted({*range(every, 7, every), 6}), what="the steps at which it was evaluated")
    hint = "eval_every 0 means none, also with validation data"
    assert_equal(plain["history"]["validation"], [], what="the evaluations with eval_every=0", hint=hint)
    for run in (plain, actual):
        what = "whether [the model, its dropout, its norm] is in training mode afterwards, as before"
        assert_equal(run["training"], [training, not training, training], what=what)
        n_trained = sum(notes[0] == notes[4] == "True" for notes in run["seen"])
        assert_equal(
            n_trained, 6, what="the passes in training mode, dropout's too", hint="model.train() sets the mode of every part"
        )
    bare, bare_plain = (run | {"seen": [], "history": run["history"] | {"validation": []}} for run in (actual, plain))
    assert_equal(bare, bare_plain, what="the run with evaluations")
    other = student.run(scenarios.run, seed, batches, config, global_seed=seed + 1, **given)
    alike = other["history"]["loss"] == plain["history"]["loss"]
    assert not alike, (
        "with dropout, two global random states gave the same run\n  hint: no torch.manual_seed in train: the caller decides"
    )
    options = config | {"eval_every": 6}
    actual = student.run(scenarios.run, seed, batches, options, validation=held_out)
    end = scenarios.filled(scenarios.tiny(seed), actual["state"]).eval()
    expected = [[6, sum(losses_of(end, held_out[:2])) / 2]]
    assert_close(actual["history"]["validation"], expected, what="the validation loss after the last step")


@exercise("train", points=0.75)
def test_the_log_has_a_line_for_every_step_and_every_evaluation(student):
    """JSON, as the run goes, behind what is there already; the numbers are those of the history."""
    batches = some_batches(5, 4)
    config = PLAIN | {"total_steps": 4, "eval_every": 2, "eval_batches": 1}
    lines, histories = student.run(scenarios.logged, 3, batches, config, batches)
    expected = []
    for history in histories:
        for step in range(4):
            expected.append({"step": step + 1, **{key: history[key][step] for key in ("loss", "lr", "grad_norm")}})
            if step % 2:
                expected.append({"step": step + 1, "validation_loss": history["validation"][step // 2][1]})
    speeds = [line.pop("tokens_per_second", None) for line in lines]
    assert_close(lines, expected, what="the lines, without tokens_per_second")
    for line, speed in zip(lines, speeds):
        if "loss" in line:
            assert isinstance(speed, int | float) and 0 < speed < math.inf, (
                f"tokens_per_second should be a positive number, got {speed}"
            )


@exercise("train", points=0.25)
def test_the_log_says_how_many_tokens_a_second_were_read(student):
    """Of all the batches of a step, over the time that it took: measured over one step or several, the highest figure is not
    below that of the whole run, nor above that of the passes alone."""
    n_tokens, seconds = 2 * 2 * 4, 0.015  # two batches of two texts of four tokens
    config = PLAIN | {"total_steps": 3, "accumulation_steps": 2}
    speeds, took = student.run(scenarios.speeds, 3, some_batches(5, 8), config, seconds)
    low, high, highest = 3 * n_tokens / took, n_tokens / (2 * seconds), max(speeds)
    assert 0.99 * low <= highest <= 1.01 * high, (
        f"tokens_per_second should be from {low:.0f} to {high:.0f}, got {highest:.0f}: 3 steps of {n_tokens} tokens took "
        f"{took:.3f} s in all, and each step at least {2 * seconds} s\n"
        "  hint: the tokens of all accumulation_steps, divided by the seconds that the step took"
    )


@exercise("train", points=0.5)
def test_processes_share_gradients_and_losses_and_the_first_one_writes_files(student):
    """As one of two processes: the other one has gradients and losses of 0, so that all means are the half."""
    batches = some_batches(6, 1) * 2
    config = PLAIN | {"total_steps": 1, "eval_every": 1, "eval_batches": 2, "clip_norm": 1e9, "accumulation_steps": 2}
    alone = student.run(scenarios.run, 2, batches, config, validation=batches)["history"]
    for rank in (0, 1):
        history, files = student.run(scenarios.joined, 2, batches, config, rank)
        hint = "DistributedDataParallel(model) for the forward passes of training"
        norm, (whole,) = history["grad_norm"][0], alone["grad_norm"]
        # Exchanged in each of the two passes, the first one's half is halved once more: the other process is but pretended.
        right = any(math.isclose(norm, share * whole, rel_tol=1e-6) for share in (0.5, 0.375))
        assert right, (
            f"in process {rank}, the norm of the mean gradient should be {whole / 2}, got {norm}"
            f"\n  hint: {hint}; runner.no_sync() around all passes but the last"
        )
        halves = [x / 2 for x in alone["loss"]]
        assert_close(history["loss"], halves, what=f"the mean loss in process {rank}", hint="mean_over_processes", rtol=1e-6)
        ((step, loss),) = history["validation"]
        half = alone["validation"][0][1] / 2
        near = step == 1 and math.isclose(loss, half, rel_tol=1e-4)
        assert near, f"in process {rank}, the mean validation loss should be {half} after step 1, got {history['validation']}"
        wanted = ["c.pt", "log.jsonl"] if rank == 0 else []
        assert_equal(files, wanted, what=f"the files that process {rank} wrote", hint="process 0 alone writes files")
        again = student.run(scenarios.joined_again, 2, batches, config | {"total_steps": 2}, rank)
        hint = "all processes go on from the checkpoint"
        assert_equal(again, [2, 2], what=f"[steps in all, passes] of process {rank} where one of two steps was done", hint=hint)


@exercise("train", points=0.5)
def test_bfloat16_is_for_forward_passes_and_bad_settings_are_refused(student):
    """Autocast in every forward pass of training, weights as wide as before; what is refused changes nothing."""
    batches = some_batches(4, 4)
    for dtype in ("float32", "bfloat16"):
        options = PLAIN | {"dtype": dtype, "accumulation_steps": 2, "eval_every": 4, "eval_batches": 1}
        actual = student.run(scenarios.run, 1, batches, options, validation=batches)
        wanted = "torch.bfloat16" if dtype == "bfloat16" else "None"
        for when, training in (("training", "True"), ("evaluation", "False")):
            seen = {notes[2] for notes in actual["seen"] if notes[0] == training}
            what = f"what the model ran in under autocast in {when}, with dtype={dtype!r}"
            assert_equal(sorted(seen), [wanted], what=what)
        wide = {name: x.dtype for name, x in actual["state"].items()}
        assert_equal(wide, dict.fromkeys(wide, torch.float64), what="the dtypes of the weights at the end")
        assert all(math.isfinite(loss) for loss in actual["history"]["loss"]), "a loss is not finite"
    exact = expected_run(1, batches, PLAIN | {"accumulation_steps": 2})
    room = {"rtol": 0.05, "atol": 0.05}
    assert_close(actual["history"]["loss"], exact["history"]["loss"], what="the losses in bfloat16, roughly", **room)
    options = PLAIN | {"total_steps": 6, "warmup_steps": 0, "min_lr": 0.05, "dtype": "bfloat16"}
    exact_now = expected_run(1, batches[:2], options)["history"]["loss"]
    actual = student.run(scenarios.run, 1, batches[:2], options, dtype=torch.float32)["history"]["loss"]
    assert_close(actual, exact_now, what="the losses of float32 weights in bfloat16, roughly", **room)
    n_runs, losses, names, own = student.run(scenarios.compiled, 1, batches, PLAIN | {"accumulation_steps": 2})
    assert n_runs >= 10, f"with compile=True, 10 passes should run what torch.compile gave; {n_runs} did"
    assert_close(losses, exact["history"]["loss"], what="the losses with compile=True", rtol=1e-6, atol=1e-9)
    assert_equal(
        names, own, what='the names in a checkpoint\'s "model" with compile=True', hint="model.state_dict(), the plain one's"
    )
    bad = [{"dtype": "float16"}, {"dtype": "bf16"}, {"accumulation_steps": 0}, {"accumulation_steps": -1}, {"eval_every": 2}]
    answers = student.run(scenarios.training_refused, batches, [PLAIN | change for change in bad])
    for change, (was_refused, unchanged) in zip([change for change in bad for _ in range(2)], answers, strict=True):
        assert was_refused, f"{change} (without validation) should be refused"
        hint = "refuse before the checkpoint is read"
        assert unchanged, f"{change} was refused, but the model has changed\n  hint: {hint}"
