"""The 124M milestone where there is no GPU: its protocol on a tiny model, its judgement, and what a submission cannot do."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from autograder.cli import app
from autograder.course import load_course
from autograder.intake import collect
from autograder.milestones import gpt124m as milestone
from autograder.milestones.grade import grade_training

ROOT = Path(__file__).resolve().parents[1]
TINY = {"vocab_size": 300, "context_length": 16, "n_layers": 1, "n_heads": 2, "d_model": 16}
SMALL = milestone.Scale(
    device="cpu", model=TINY, batch_size=8, total_steps=60, max_lr=1e-2, dtype="float32", eval_batches=20
)  # fmt: skip


@pytest.fixture(scope="module")
def course():
    return load_course(ROOT)


@pytest.fixture(scope="module")
def text() -> str:
    rng = random.Random(1)
    return " ".join(rng.choice(["the cat", "sat", "on", "a mat", "and", "slept"]) for _ in range(2000))


def handed_in(course, folder: Path, *changes: tuple[str, str, str]) -> object:
    """The solution as a submission in `folder`, with (file, old, new) replaced."""
    module = course.module(milestone.MODULE)
    for name in module.files:
        source = (module.solution_folder / name).read_text(encoding="utf-8").replace("from solutions.", "from exercises.")
        for file, old, new in changes:
            if file == name:
                assert old in source
                source = source.replace(old, new)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source, encoding="utf-8")
    return collect(folder, course, [module])


def outcomes(result) -> dict[str, str]:
    return {test.name: test.outcome for test in result.modules[0].exercises[0].tests}


def test_points_add_up_and_names_differ():
    specs = milestone.manifest(milestone.Scale())
    assert sum(spec.points for spec in specs) == 100 and len({spec.name for spec in specs}) == len(specs)
    assert [spec.name for spec in specs if spec.core] == ["trains"]


def test_the_model_is_gpt2_124m(course):
    gpt = milestone.Solution(course.root).model
    with torch.device("meta"):
        model = gpt.GPT(gpt.GPTConfig(**milestone.GPT2_124M))
    assert sum(p.numel() for p in model.parameters()) == 124_439_808


def test_every_field_of_the_given_configuration_is_set(course):
    given = milestone.Solution(course.root).train.TrainConfig()
    assert milestone.Scale().training.keys() == vars(given).keys()


def test_the_solution_learns_and_gets_its_points(course, text, tmp_path):
    result = grade_training(course, handed_in(course, tmp_path), SMALL, text)
    tests = {test.name: test for test in result.modules[0].exercises[0].tests}
    assert {name for name, test in tests.items() if not name.startswith("speed")} == {
        "trains",
        *[f"loss_within_{x:g}" for x in milestone.LOSSES],
    }
    assert all(test.outcome == "passed" for name, test in tests.items() if not name.startswith("speed")), result
    loss = float(tests["trains"].message.split()[1])
    assert loss < 2.5  # of a text that is nearly all spelling; log(300) is 5.7
    assert result.sandbox[-1].startswith("seccomp")


def test_what_does_not_train_is_not_hidden_by_what_it_says(course, text, tmp_path):
    lazy = ("gpt124m/train.py", "            optimizer.step()\n", "")
    result = grade_training(course, handed_in(course, tmp_path, lazy), SMALL, text)
    found = outcomes(result)
    assert found["trains"] == "passed" and {found[f"loss_within_{x:g}"] for x in milestone.LOSSES} == {"failed"}


AT_THE_END = "    for part, mode in modes:\n        part.training = mode\n"  # of `train`


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (AT_THE_END, "    model.wte.weight.data.fill_(float('nan'))\n", "nan"),
        (AT_THE_END, "    model.ln_f = None\n", "ln_f"),
        (AT_THE_END, "    import os\n    os._exit(0)\n", "ended"),
        (AT_THE_END, "    raise NotImplementedError('TODO: train')\n", "TODO"),
        (AT_THE_END, "    torch.save = lambda *args: open(args[1], 'w').close()\n", "cannot be read"),
        (AT_THE_END, "    torch.save = lambda *args: None\n", "no weights"),
    ],
)
def test_an_end_without_weights_is_said(course, text, tmp_path, old, new, said):
    result = grade_training(course, handed_in(course, tmp_path, ("gpt124m/train.py", old, new)), SMALL, text)
    assert result.score == 0
    assert said in result.model_dump_json()


def test_the_text_that_is_held_out_does_not_reach_the_submission(course, text, tmp_path):
    spy = "    import pathlib\n    raise RuntimeError(sorted(p.name for p in pathlib.Path('corpus').iterdir()))\n"
    change = ("gpt124m/train.py", AT_THE_END, spy)
    result = grade_training(course, handed_in(course, tmp_path, change), SMALL, text)
    said = result.model_dump_json()
    assert "train_00000.bin" in said and "validation_00000.bin" not in said


def test_a_run_is_judged_against_the_solutions():
    run = milestone.Run
    judged = {name: o.outcome for name, o in milestone.judge(SMALL, run(1.9, 2.07), run(1.0, 2.0)).items()}
    assert judged == {
        "trains": "passed", "loss_within_0.3": "passed", "loss_within_0.1": "passed", "loss_within_0.05": "failed",
        "speed_0.5": "passed", "speed_0.8": "failed",
    }  # fmt: skip


def test_a_missing_file_and_a_stub_are_said(course, text, tmp_path):
    module = course.module(milestone.MODULE)
    (tmp_path / "gpt124m").mkdir()
    (tmp_path / "gpt124m" / "model.py").write_text("x = 1\n")
    missing = grade_training(course, collect(tmp_path, course, [module]), SMALL, text)
    assert missing.score == 0 and "gpt124m/data.py is missing" in missing.model_dump_json()
    stub = grade_training(course, collect(module.folder, course, [module]), SMALL, text)
    assert stub.score == 0 and {e.status for e in stub.modules[0].exercises} == {"todo"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so(tmp_path):
    done = CliRunner().invoke(app, ["milestone", "gpt124m", str(tmp_path)])
    assert done.exit_code == 1 and "needs a CUDA GPU" in done.stderr


def test_a_text_that_is_not_there_is_a_mistake_in_the_command(tmp_path):
    for name, text in (("gpt124m", tmp_path / "none.txt"), ("flash_attention", tmp_path)):
        done = CliRunner().invoke(app, ["milestone", name, str(tmp_path), "--text", str(text)])
        assert done.exit_code != 0
