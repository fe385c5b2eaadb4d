"""The workflows: clean for every linter, each of which is proved to find what it is there for; and what no linter knows."""

import re
from pathlib import Path

import pytest
import yaml

from autograder.ci.lint import FOLDERS, TOOLS, problems, workflows
from autograder.course import load_course
from autograder.milestones import commands, flash_attention, gpt124m

ROOT = Path(__file__).parents[1]
SAMPLES = Path(__file__).parent / "workflow_samples"
BAD = {  # what the tool has to say about it
    "actionlint_unknown_job.yml": '"build"',
    "actionlint_unknown_property.yml": '"evnt_name"',
    "check-jsonschema_unknown_key.yml": "jobs.sample",
    "zizmor_dangerous_trigger.yml": "dangerous-triggers",
    "zizmor_template_injection.yml": "template-injection",
    "zizmor_token_left_behind.yml": "artipacked",
    "zizmor_unpinned_action.yml": "unpinned-uses",
    "zizmor_write_all.yml": "excessive-permissions",
}
FILES = workflows(ROOT)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def parsed(path: Path) -> dict:
    content = yaml.safe_load(path.read_text())
    return {**content, "on": content[True]}  # YAML 1.1 reads `on` as a truth value


def jobs() -> list[tuple[str, str, dict]]:
    return [(path.name, name, job) for path in FILES for name, job in parsed(path)["jobs"].items()]


def text_of(job: dict) -> str:
    return yaml.safe_dump(job)


def test_every_workflow_there_should_be_is_linted() -> None:
    names = {folder: {path.name for path in FILES if path.parent == ROOT / folder} for folder in FOLDERS}
    ours, students = (names[folder] for folder in FOLDERS)
    assert ours == {"ci.yml", "grade.yml", "gpu-milestones.yml", "lint-workflows.yml", "release.yml"}
    assert students == {"check.yml", "request-grade.yml"}


def test_the_workflows_are_clean_for_every_linter() -> None:
    assert problems([*FILES, SAMPLES / "right.yml"]) == {}


@pytest.mark.parametrize(("name", "says"), BAD.items())
def test_a_linter_finds_what_it_is_there_for(name: str, says: str) -> None:
    tool = name.partition("_")[0]
    found = problems([SAMPLES / name], [tool])
    assert list(found) == [tool] and name in found[tool] and says in found[tool]


def test_there_is_a_bad_sample_for_every_linter() -> None:
    assert set(BAD) == {path.name for path in SAMPLES.glob("*.yml")} - {"right.yml"}
    assert {name.partition("_")[0] for name in BAD} == set(TOOLS)


def test_a_linter_that_is_not_installed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert set(problems([SAMPLES / "right.yml"])) == set(TOOLS)


def test_every_job_has_permissions_and_a_time_limit() -> None:
    for path in FILES:
        assert parsed(path)["permissions"] == {}, path.name
        assert parsed(path)["concurrency"], path.name
    for file, name, job in jobs():
        assert "permissions" in job and 0 < job["timeout-minutes"] <= 120, (file, name)


def test_every_action_is_pinned_and_the_comment_says_which_version_it_is() -> None:
    lines = [line for path in FILES for line in path.read_text().splitlines() if "uses:" in line]
    versions: dict[str, set[str]] = {}
    for line in lines:
        action, _, version = line.partition("uses:")[2].partition("#")
        assert PINNED.fullmatch(action.strip()), line
        assert re.fullmatch(r" v[0-9]+\.[0-9]+\.[0-9]+", version), line
        versions.setdefault(action.strip().partition("@")[0], set()).add(action.strip() + version)
    assert lines and all(len(each) == 1 for each in versions.values()), versions


def test_no_expression_stands_in_a_command() -> None:
    for file, name, job in jobs():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), (file, name)
            assert "\n" not in step.get("run", "").strip(), f"{file}: {name}: more than a line is a command of the autograder"


def test_no_job_that_runs_a_submission_has_a_secret_or_a_token_that_writes() -> None:
    runs_it = re.compile(r"autograder ci grade|autograder milestone|pytest exercises")
    found = [(file, name, job) for file, name, job in jobs() if runs_it.search(text_of(job))]
    assert {(file, name) for file, name, _ in found} == {
        ("check.yml", "check"), ("gpu-milestones.yml", "correct"), ("gpu-milestones.yml", "milestone"), ("grade.yml", "grade"),
    }  # fmt: skip
    for file, name, job in found:
        assert job["permissions"] == {"contents": "read"}, (file, name)
        for word in ("secrets.", "github.token", "GITHUB_TOKEN", "GH_TOKEN", "create-github-app-token"):
            assert word not in text_of(job), (file, name, word)
        assert job.get("environment") in (None, "gpu"), (file, name)


def test_nothing_of_a_pull_request_is_checked_out_where_there_is_a_token_for_it() -> None:
    for file, name, job in jobs():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}, (file, name)
    [(_, _, request)] = [each for each in jobs() if each[0] == "request-grade.yml"]
    assert "checkout" not in text_of(request) and request["permissions"] == {}


def test_no_cache_is_shared() -> None:
    for path in FILES:
        assert "cache" not in path.read_text(), path.name


def test_each_token_may_do_only_what_its_job_does() -> None:
    def asked(job: dict) -> dict[str, str]:
        steps = [step["with"] for step in job["steps"] if "app-token" in step.get("uses", "")]
        return {key: value for step in steps for key, value in step.items() if key.startswith("permission-")}

    reading = {"permission-contents": "read", "permission-pull-requests": "read"}
    writing = {"permission-checks": "write", "permission-pull-requests": "write"}
    assert {(file, name): asked(job) for file, name, job in jobs() if asked(job)} == {
        ("grade.yml", "fetch"): reading,
        ("gpu-milestones.yml", "fetch"): reading,
        ("grade.yml", "report"): writing,
        ("grade.yml", "report-failure"): writing,
        ("request-grade.yml", "request"): {"permission-actions": "write"},
    }


def test_only_staff_start_the_gpu_and_it_waits_for_the_cpu() -> None:
    path = next(path for path in FILES if path.name == "gpu-milestones.yml")
    assert set(parsed(path)["on"]) == {"workflow_dispatch"}
    job = parsed(path)["jobs"]["milestone"]
    assert job["environment"] == "gpu" and "correct" in job["needs"] and "ephemeral" in job["runs-on"]


def test_the_gpu_is_offered_every_milestone_there_is_with_its_module() -> None:
    workflow = parsed(next(path for path in FILES if path.name == "gpu-milestones.yml"))
    assert tuple(workflow["on"]["workflow_dispatch"]["inputs"]["milestone"]["options"]) == commands.NAMES
    [fetch] = [step for step in workflow["jobs"]["fetch"]["steps"] if step.get("id") == "fetch"]
    chosen = re.fullmatch(r"\$\{\{ inputs\.milestone == '(\w+)' && '(\w+)' \|\| '(\w+)' \}\}", fetch["env"]["MODULE"])
    modules = {"flash_attention": flash_attention.MODULE, "gpt124m": gpt124m.MODULE}
    assert set(modules) == set(commands.NAMES) and chosen.group(1) == "flash_attention"
    course = load_course(ROOT)
    named = [course.module(name).id for name in modules.values()]
    assert [*chosen.group(2, 3)] == named
