"""Hidden tests: evaluation and the loop.

Which batches a run draws is the student's get_batch's business. So the run is recorded, on a text in which targets follow from
inputs, and computed again from the batches that it drew.
"""

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, seeds, settings, sizes, st

from . import scenarios, truth

# evaluate

SUMMED_ANYHOW = 2e-6  # losses may be added up in a tensor of PyTorch's default dtype, float32


def text(n, vocab, seed):
    """Random tokens."""
    return torch.randint(vocab, (n,), generator=torch.Generator().manual_seed(seed))


@exercise("evaluate", points=2, core=True)
@settings(max_examples=6)
@given(n=sizes(2, 40), batch_size=sizes(1, 5), context_length=sizes(1, 9), seed=seeds())
@example(n=30, batch_size=2, context_length=4, seed=1)
@example(n=13, batch_size=2, context_length=4, seed=1)
@example(n=3, batch_size=4, context_length=8, seed=1)
def test_every_token_but_the_first_counts_the_same(student, n, batch_size, context_length, seed):
    """Windows of context_length, one right after the other, the last one shorter where the text ends."""
    weights, data = truth.random_weights(6, 3, seed), text(n, 6, seed)
    seen = student.run(scenarios.evaluation, weights, data, batch_size, context_length)
    expected = truth.windowed_loss(scenarios.model_of(weights), data, context_length)
    hint = "each loss times its number of targets, added up, divided by len(data) - 1"
    what = f"the loss of {n} tokens in windows of {context_length}, {batch_size} at a time"
    assert_close(seen["value"], expected, what=what, hint=hint, rtol=SUMMED_ANYHOW)
    assert seen["a float"], "the result should be a Python float"


@exercise("evaluate", points=1)
@settings(max_examples=1)
@given(seed=seeds(), mixed=st.booleans())
@example(seed=1, mixed=True)
@example(seed=2, mixed=False)
def test_evaluation_leaves_no_trace(student, seed, mixed):
    """Evaluation mode, no graph; afterwards each submodule's mode, the weights, gradients and dice are what they were."""
    weights, data = truth.random_weights(6, 3, seed), text(22, 6, seed)
    seen = student.run(scenarios.evaluation, weights, data, 2, 4, dropout=0.5, mixed=mixed)
    expected = truth.windowed_loss(scenarios.model_of(weights), data, 4)
    hint = "model.eval()" if seen["in training mode"] else ""
    assert_close(seen["value"], expected, what="the loss of a model with dropout", hint=hint, rtol=SUMMED_ANYHOW)
    wanted = {"in training mode": False, "with a graph": False, "modes as before": True, "changed": []}
    wanted |= dict.fromkeys(("gradients as before", "requires_grad as before", "data as before", "weights as before"), True)
    hint = "a part of a model may be in evaluation mode for good: put back each module's own mode"
    assert_equal({key: seen[key] for key in wanted}, wanted, what="what could be seen from outside", hint=hint)


@exercise("evaluate", points=0.5)
def test_windows_go_through_the_model_batch_size_at_a_time(student):
    """None is longer than context_length, no pass has more than batch_size; small integer types will do."""
    weights = truth.random_weights(6, 3, 4)
    for n, batch_size, context_length in ((50, 3, 4), (150, 1, 3), (9, 100, 2), (50, 2, 100)):
        data = text(n, 6, 5).to(torch.uint8)
        seen = student.run(scenarios.evaluation, weights, data, batch_size, context_length)
        said = f"{n} tokens with batch_size={batch_size}, context_length={context_length}: shapes {seen['shapes']}"
        assert all(b <= batch_size and t <= context_length for b, t in seen["shapes"]), said
        expected = truth.windowed_loss(scenarios.model_of(weights), data, context_length)
        assert_close(seen["value"], expected, what="the loss of uint8 data", rtol=SUMMED_ANYHOW)


@exercise("evaluate", points=0.5)
def test_a_text_with_nothing_to_predict_is_refused(student):
    """One token, or none."""
    weights = truth.random_weights(6, 3, 4)
    for n in (0, 1):
        evaluate = called("evaluate", lambda x, **sizes: student.run(scenarios.evaluation, weights, x, **sizes)["value"])
        assert_refused(evaluate, text(n, 6, 1), batch_size=2, context_length=4, why=f"the text has {n} tokens")


# train

VOCAB, WIDTH = 7, 3
BASE = {"context_length": 4, "n_steps": 6, "batch_size": 4, "eval_every": 3, "max_lr": 0.05, "min_lr": 0.005, "seed": 3}


def texts(seed, n=60):
    """(training data, its successors, validation data)."""
    data, successor = truth.cyclic(VOCAB, n, seed)
    return data, successor, text(23, VOCAB, seed)


def batches_of(run, config):
    """The batches that a run learnt from, its passes put together."""
    n = config.get("accumulation_steps", 1)
    passes = run["learnt from"]
    expected = f"passes in training mode: {config['n_steps'] * n} expected ({n} for each of {config['n_steps']} steps)"
    assert len(passes) == config["n_steps"] * n, f"{expected}, got {len(passes)}"
    shape = (config["batch_size"] // n, config["context_length"])
    odd = [tuple(x.shape) for x in passes if tuple(x.shape) != shape]
    assert not odd, f"each pass should see ids of shape {shape}, got {odd[0]}"
    return [torch.cat(passes[i : i + n]) for i in range(0, len(passes), n)]


def check_run(student, seed, hint="", stale=False, dtype=torch.int64, **changes):
    """Every number of the history, and the weights at the end, are those of the batches that were drawn."""
    config = BASE | changes
    (data, successor, validation), weights = texts(seed), truth.random_weights(VOCAB, WIDTH, seed)
    run = student.run(scenarios.training, weights, [data.to(dtype), validation.to(dtype)], config, stale=stale)[0]
    # Whether 1e-6 is added to the norm is left open: the one of the two that is nearer.
    expected = min(
        (truth.replay(weights, batches_of(run, config), successor, validation, config, addend) for addend in (0.0, 1e-6)),
        key=lambda replayed: truth.distance(run["weights"], replayed["weights"]),
    )
    shown = {key: config[key] for key in ("n_steps", "batch_size", "eval_every", *changes)}
    assert_equal(sorted(run["history"]), sorted(expected["history"]), what="the keys of the history")
    for key, wanted in expected["history"].items():
        rtol = 1e-8 if key == "validation_step" else SUMMED_ANYHOW
        assert_close(run["history"][key], wanted, what=f'with {shown}: history["{key}"]', hint=hint, rtol=rtol, atol=1e-10)
    assert_close(
        run["weights"], expected["weights"], what=f"with {shown}: the weights at the end", hint=hint, rtol=1e-7, atol=1e-9
    )
    return run


@exercise("train", points=2.5, core=True)
@settings(max_examples=1)
@given(seed=seeds(), max_norm=st.sampled_from([0.2, 100.0, float("inf")]), warmup_steps=sizes(0, 3))
@example(seed=1, max_norm=0.2, warmup_steps=2)
@example(seed=2, max_norm=float("inf"), warmup_steps=0)
def test_each_step_is_a_step_of_adamw_from_the_clipped_gradient_of_its_batch(student, seed, max_norm, warmup_steps):
    """Losses, learning rates, norms, evaluations and the weights at the end."""
    numbers = {"betas": (0.8, 0.9), "weight_decay": 0.5}
    hint = "zero_grad, loss, backward, clip, set lr, step: in this order, once for each step"
    check_run(student, seed, hint, max_norm=max_norm, warmup_steps=warmup_steps, **numbers)
    check_run(student, seed, stale=True, dtype=torch.uint8, n_steps=2, weight_decay=0.0, min_lr=0.0)
    check_run(student, seed, n_steps=2, warmup_steps=2)


@exercise("train", points=0.5)
def test_a_progress_bar_is_shown_on_a_terminal_and_nowhere_else(student):
    """Nothing is printed when the output is piped."""
    (data, _, validation), weights = texts(5), truth.random_weights(VOCAB, WIDTH, 5)
    for stdout in (False, True):
        piped = student.run(scenarios.printed, weights, [data, validation], BASE, (stdout, False))
        what = f"characters on (stdout, stderr), stderr being no terminal{' and stdout one' if stdout else ''}"
        assert_equal(piped, [0, 0], what=what, hint="sys.stderr.isatty()")
    out, err = student.run(scenarios.printed, weights, [data, validation], BASE, (False, True))
    assert_equal(out, 0, what="characters on stdout where stderr is a terminal", hint="the bar goes to sys.stderr")
    assert err > 0, "sys.stderr says that it is a terminal, and no progress bar was written to it"


@exercise("train", points=0.5)
def test_evaluations_come_before_the_first_step_every_so_often_and_at_the_end(student):
    """Once where two of these fall together; on the validation data alone, in passes of the size of training's."""
    for n_steps, eval_every in ((6, 3), (4, 3), (3, 1), (2, 5), (0, 2)):
        run = check_run(student, 5, n_steps=n_steps, eval_every=eval_every, accumulation_steps=2)
        large = [tuple(x.shape) for x in run["evaluated on"] if x.shape[0] > 2]
        assert not large, f"with passes of 2 sequences the model was evaluated on ids of shape {large[0]}"


@exercise("train", points=1)
@settings(max_examples=2)
@given(seed=seeds(), n=st.sampled_from([2, 3, 6]))
@example(seed=1, n=3)
def test_passes_that_are_added_up_give_the_step_of_the_large_batch(student, seed, n):
    """Each pass counts 1 / accumulation_steps; gradients of before train count nothing."""
    hint = "divide each pass's loss by accumulation_steps, clip once, step once"
    check_run(student, seed, hint, batch_size=6, accumulation_steps=n, max_norm=0.5, stale=True)


@exercise("train", points=1.5)
@settings(max_examples=1)
@given(
    seed=seeds(),
    stop_at=st.sampled_from([2, 3, 4, 7]),
    eval_every=st.sampled_from([1, 2, 3]),
    every=st.sampled_from([2, 3]),
    dropout=st.sampled_from([0.0, 0.5]),
)
@example(seed=1, stop_at=4, eval_every=2, every=2, dropout=0.5)
@example(seed=1, stop_at=5, eval_every=2, every=3, dropout=0.0)
def test_a_run_that_breaks_off_goes_on_from_its_checkpoint_to_the_last_bit(student, seed, stop_at, eval_every, every, dropout):
    """History and weights are those of a run that was never interrupted; a run that is done is not done again."""
    (data, _, validation), weights = texts(seed), truth.random_weights(VOCAB, WIDTH, seed)
    config = BASE | {"n_steps": 9, "eval_every": eval_every, "checkpoint_every": every, "warmup_steps": 2}
    others = truth.random_weights(VOCAB, WIDTH, seed + 1)
    seen = student.run(scenarios.interrupted, weights, others, [data, validation], config, stop_at, dropout)
    whole, resumed, repeated = seen["runs"]
    assert seen["broke off"], f"the model broke off at pass {stop_at}, and train went on"
    assert_equal(seen["folder"], ["run.pt"], what="the files in the folder of the checkpoint")
    saved = stop_at // every * every
    what = f"checkpoints every {every} steps, broken off in step {stop_at}, evaluated every {eval_every}:"
    hint = "put back history, weights, optimiser, generator and dice; begin with the step that comes next"
    for key in whole:
        assert_equal(resumed[key], whole[key], what=f"{what} the {key} in the end", hint=hint)
    assert_equal(resumed["passes"], 9 - saved, what=f"{what} the steps that were left", hint="go on after the last saved step")
    for key in whole:
        assert_equal(repeated[key], whole[key], what=f"the {key} of a finished run that is begun once more")
    assert_equal(
        repeated["passes"], 0, what="the steps of a finished run that is begun once more", hint="save after the last step"
    )
    short = student.run(scenarios.files_of_a_run, weights, [data, validation], BASE | {"n_steps": 2, "checkpoint_every": 5})
    what, hint = "the files of a run of 2 steps with checkpoint_every=5", "save after the last step, whatever its number is"
    assert_equal(short, ["run.pt"], what=what, hint=hint)


@exercise("train", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_evaluation_leaves_no_trace_in_a_run_with_dropout(student, seed):
    """However often it is evaluated, a run is the same to the last bit; it learns in training mode from step to step."""
    (data, _, validation), weights = texts(seed), truth.random_weights(VOCAB, WIDTH, seed)
    often, seldom = (
        student.run(scenarios.training, weights, [data, validation], BASE | {"eval_every": n}, dropout=0.5, seed=1)[0]
        for n in (1, 100)
    )
    batches_of(often, BASE), batches_of(seldom, BASE)
    for what, a, b in (
        ("losses", often["history"]["loss"], seldom["history"]["loss"]),
        ("weights", often["weights"], seldom["weights"]),
    ):
        assert_equal(a, b, what=f"the {what} of a run that is evaluated often, against one that is not")
    again = student.run(scenarios.training, weights, [data, validation], BASE, runs=2)
    assert_equal(again[1], again[0], what="a second run of the same", hint="nothing is kept from one call to the next")


@exercise("train", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_the_batches_are_those_of_get_batch_from_a_generator_of_the_seed(student, seed):
    """From the training data, one batch for each step; nothing of the seed or the dice leaks out."""
    (data, _, validation), weights = texts(seed, 200), truth.random_weights(VOCAB, WIDTH, seed)
    for config in (BASE | {"seed": 3}, BASE | {"seed": 8, "accumulation_steps": 4}):
        run = student.run(scenarios.training, weights, [data, validation], config, seed=seed)[0]
        wanted = student.run(scenarios.batches_of_a_run, data, 4, 4, config["seed"], config["n_steps"])
        hint = "one generator, seeded once with config.seed, and one call of get_batch for each step"
        assert_equal(batches_of(run, config), wanted, what=f"the batches with seed={config['seed']}", hint=hint)
    seen = student.run(scenarios.train_surroundings, weights, [data, validation], BASE)
    assert_equal(seen, {"changed": [], "data as it was": True}, what="what train changed around it")
