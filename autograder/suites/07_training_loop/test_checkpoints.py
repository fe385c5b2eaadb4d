"""Hidden tests: saving and loading. A run that goes on has to do to the last bit what it would have done."""

import torch

from autograder.testing import assert_equal, exercise
from autograder.testing.strategies import given, seeds, settings, sizes, st

from . import scenarios

PROGRESS = {
    "step": 7,
    "history": {"loss": [0.1, 1 / 3, 1e-300, 2.5e17], "lr": [], "nothing": {}},
    "nothing yet": "",
    "zero": 0,
    "text": 'Ärger\n"\\ 漢🙂',
    "deep": [[1, [2.0, [-3]]], [{"a": [{"b": 0.2}]}]],
}


def checked(seen, key, what, hint=""):
    """The run did, under this key, what the undisturbed one did."""
    assert_equal(seen[key], seen["undisturbed"], what=f"{what}: what the run did", hint=hint)


# save_checkpoint


@exercise("save_checkpoint", points=1, core=True)
@settings(max_examples=1)
@given(seed=seeds(), before=sizes(1, 4), after=sizes(2, 4))
def test_a_run_that_was_saved_goes_on_elsewhere_to_the_last_bit(student, seed, before, after):
    """Weights, buffers, the optimiser, the generator, and the progress."""
    seen = student.run(scenarios.resumed, seed, before, after, PROGRESS, dropout=0.0, dtype=torch.float64)
    hint = "what does the next step depend on? Weights, buffers, optimiser, generator"
    checked(seen, "after loading", "after loading into another run", hint)
    assert_equal(seen["progress"], PROGRESS, what="progress, as it came back")


@exercise("save_checkpoint", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_the_dice_of_dropout_are_saved(student, seed):
    """A run with dropout goes on to the last bit, too."""
    seen = student.run(scenarios.resumed, seed, 2, 3, {})
    checked(seen, "after loading", "after loading into another run", "dropout draws from PyTorch's state: torch.get_rng_state()")


@exercise("save_checkpoint", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_saving_changes_nothing(student, seed):
    """Not the model and its modes, not the generator, not the dice; the run goes on as if it had not been saved."""
    seen = student.run(scenarios.saving_changes, seed)
    wanted = {"changed": [], "modes": True, "model": True, "gradients": True, "generator": True}
    wanted["progress"] = {"step": 2, "history": {"loss": [0.5, 0.25]}}
    assert_equal(seen, wanted, what="what was changed around, and what is as it was")
    checked(student.run(scenarios.resumed, seed, 2, 3, {}), "after saving", "after saving")


@exercise("save_checkpoint", points=1)
@settings(max_examples=2)
@given(seed=seeds(), relative=st.booleans(), as_text=st.booleans())
def test_a_new_checkpoint_takes_the_place_of_the_old_one_in_one_piece(student, seed, relative, as_text):
    """Who had opened the old file reads on in the old file; nothing else appears in the folder; the last one counts."""
    seen = student.run(scenarios.saved_over, seed, 3, relative, as_text)
    listing = ["notes.txt", "run.v1.pt"]
    assert_equal(seen["listings"], [listing] * 3, what="the files in the folder after each save", hint="nothing stays behind")
    hint = "never write into the old file: write another one and os.replace it"
    readers = seen["a reader of the old file reads on"]
    assert_equal(readers, [True] * 3, what="whether readers of the three files read what these held", hint=hint)
    steps = [{"step": i} for i in range(3)]
    assert_equal((seen["progress"], seen["notes"]), (steps, "mine"), what="(the progress of each when new, the other file)")
    assert_equal(seen["weights"], seen["weights when saved"], what="the weights of the last checkpoint")
    for there, near in student.run(scenarios.renamed, seed, 2):
        assert there, "for a moment there was no checkpoint\n  hint: do not remove the old one, os.replace takes its place"
        assert near, "a file was moved from another folder\n  hint: only within one file system a rename is one step"


@exercise("save_checkpoint", points=1)
def test_what_was_there_survives_a_save_that_fails(student):
    """The error is raised, the old file is what it was, and no piece of a new one is left."""
    for there_was_one in (True, False):
        for where in ("progress", "optimizer", "progress (a PicklingError)"):
            seen = student.run(scenarios.saving_fails, 5, there_was_one, where)
            what = f"a save that fails at something in {where}, {'with' if there_was_one else 'without'} an old file:"
            assert seen["raised"], f"{what} no error was raised"
            left = ["run.pt"] if there_was_one else []
            hint = "write under another name, replace when it is complete, and clear up in a finally"
            assert_equal(seen["folder"], left, what=f"{what} the files in the folder", hint=hint)
            assert_equal(seen["as it was"], there_was_one, what=f"{what} whether the old file is as it was", hint=hint)
            assert_equal(seen["loads"], {"step": 2} if there_was_one else None, what=f"{what} what it still gives")


# load_checkpoint


@exercise("load_checkpoint", points=1, core=True)
@settings(max_examples=1)
@given(seed=seeds(), before=sizes(1, 4), after=sizes(2, 4))
def test_loading_puts_everything_back_as_often_as_one_likes(student, seed, before, after):
    """The same file loaded twice into the same run: twice the same steps follow."""
    seen = student.run(scenarios.resumed, seed, before, after, PROGRESS, dropout=0.0)
    for key in ("after loading", "after loading again"):
        checked(seen, key, key, "copy into the parameters, load_state_dict, set_state")
    assert_equal((seen["progress"], seen["progress again"]), (PROGRESS, PROGRESS), what="progress, as it came back twice")
    assert seen["progress is equal"], "progress is not equal to what was saved\n  hint: lists come back as lists"
    seen = student.run(scenarios.saved_over, seed, 2, relative=False, as_text=True)
    what = "the progress of two checkpoints, saved one after the other in one place, each loaded when it was new"
    assert_equal(seen["progress"], [{"step": 0}, {"step": 1}], what=what, hint="read the file each time")


@exercise("load_checkpoint", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_the_dice_of_dropout_are_put_back(student, seed):
    """Each time: a run with dropout goes on to the last bit, twice."""
    seen = student.run(scenarios.resumed, seed, 2, 3, {})
    for key in ("after loading", "after loading again"):
        checked(seen, key, key, "dropout draws from PyTorch's global state: torch.set_rng_state")


@exercise("load_checkpoint", points=0.5)
@settings(max_examples=1)
@given(seed=seeds(), name=st.sampled_from(["run", "run.pt", "my.run.v2"]))
def test_runs_with_the_optimisers_of_this_module_go_on(student, seed, name):
    """AdamW and SGD with momentum, from whatever name the file has."""
    for optimizer in ("AdamW", "SGD"):
        seen = student.run(scenarios.resumed, seed, 3, 3, {"step": 3}, name, optimizer, dropout=0.0)
        checked(
            seen, "after loading", f"{optimizer}, after loading", "what does a step depend on that state_dict() leaves out?"
        )


@exercise("load_checkpoint", points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_parameters_stay_the_objects_that_the_optimiser_knows(student, seed):
    """Overwritten in place, tied ones tied; modes and what requires gradients stay."""
    seen = student.run(scenarios.loading_in_place, seed)
    wanted = dict.fromkeys(("the same parameters", "in the same places", "still tied", "the same modes"), True)
    wanted["require gradients"] = [parameter.requires_grad for parameter in scenarios.Net().parameters()]
    assert_equal(seen, wanted, what="after loading", hint="model.load_state_dict copies in place")


@exercise("load_checkpoint", points=0.5)
def test_what_is_not_handed_over_is_left_alone(student):
    """A model alone; with its optimiser; with the generator, and only then PyTorch's global state is put back."""
    for parts in ((), ("optimizer",), ("generator",), ("optimizer", "generator")):
        seen = student.run(scenarios.loading_parts, 5, parts)
        alone = ["optimizer" not in parts, "generator" not in parts, "generator" not in parts]
        what = f"loading with {' and '.join(parts) or 'the model alone'}: (optimizer, generator, global state) left alone"
        assert_equal(seen["left alone"], alone, what=what)
        assert_equal((seen["weights"], seen["progress"]), (True, {"step": 3}), what="(whether the weights came, progress)")


@exercise("load_checkpoint", points=1)
def test_loading_runs_no_code_whatever_the_file_holds(student):
    """A file with a program in it is an error, and the program does not run."""
    for kind in ("in a checkpoint's place", "beside a checkpoint's content", "pickle", "numpy"):
        seen = student.run(scenarios.loading_runs_code, 5, kind)
        hint = "torch.load(..., weights_only=True)"
        what = f"loading a file that holds a program ({kind})"
        assert_equal(seen, {"an error": True, "the program ran": False}, what=what, hint=hint)
