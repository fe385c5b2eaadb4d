"""From outcomes to points: the rules, one at a time."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.grading.manifest import TestOutcome, TestSpec
from autograder.grading.score import score_module, totals

PASSED = TestOutcome("passed", seconds=0.25)
FAILED = TestOutcome("failed", "expected 1, got 2")
TODO = TestOutcome("todo", "TODO: f")


def course_module(**points):
    exercises = [SimpleNamespace(name=name, points=worth) for name, worth in points.items()]
    return SimpleNamespace(id="01_attention", exercises=exercises)


MODULE = course_module(f=60, g=40)
MANIFEST = [
    TestSpec("test_f_example", "f", 0, "public"),
    TestSpec("test_f_values", "f", 40, core=True),
    TestSpec("test_f_dtypes", "f", 20),
    TestSpec("test_g_values", "g", 30, core=True),
    TestSpec("test_g_shapes", "g", 10),
]
ALL_PASSED = {spec.name: PASSED for spec in MANIFEST}


def scored(changes=None, manifest=MANIFEST, module=MODULE, **rules):
    """The exercises f and g of a module of which everything passes but what `changes` says."""
    result = score_module(module, manifest, {**ALL_PASSED, **(changes or {})}, **rules)
    return {exercise.name: exercise for exercise in result.exercises}


def outcomes(exercise):
    return {test.name: (test.outcome, test.points) for test in exercise.tests}


def test_everything_passed_is_full_marks():
    result = score_module(MODULE, MANIFEST, ALL_PASSED)
    assert (result.id, result.status, result.score, result.max_score) == ("01_attention", "graded", 100, 100)
    assert result.message == "" and result.substituted == []
    assert [(e.name, e.status, e.score, e.max_score, e.message) for e in result.exercises] == [
        ("f", "passed", 60, 60, ""),
        ("g", "passed", 40, 40, ""),
    ]
    assert outcomes(result.exercises[0]) == {
        "test_f_example": ("passed", 0),
        "test_f_values": ("passed", 40),
        "test_f_dtypes": ("passed", 20),
    }
    assert [test.max_points for test in result.exercises[0].tests] == [0, 40, 20]
    assert result.exercises[0].tests[1].seconds == 0.25


def test_a_failed_test_costs_its_own_points():
    f = scored({"test_f_dtypes": FAILED})["f"]
    assert (f.status, f.score, f.message) == ("partial", 40, FAILED.message)
    assert outcomes(f)["test_f_dtypes"] == ("failed", 0)
    assert f.tests[2].message == FAILED.message


@pytest.mark.parametrize("outcome", ["failed", "error", "timeout", "crashed", "todo"])
def test_without_its_core_an_exercise_earns_nothing(outcome):
    result = scored({"test_f_values": TestOutcome(outcome, "why")})
    f = result["f"]
    assert f.score == 0 and f.status in ("failed", "todo")
    assert outcomes(f)["test_f_dtypes"] == ("passed", 0)
    assert "core" in f.tests[2].message
    assert f.tests[0].message == ""  # a public test has no points to wait for
    assert (result["g"].status, result["g"].score) == ("passed", 40)


def test_a_test_without_an_outcome_did_not_run():
    manifest = [*MANIFEST, TestSpec("test_g_gradients", "g", 40)]
    g = scored(manifest=manifest)["g"]
    assert outcomes(g)["test_g_gradients"] == ("error", 0)
    assert g.tests[-1].message == "did not run"
    assert (g.status, g.score) == ("partial", 20)


def test_no_outcomes_at_all_is_zero():
    result = score_module(MODULE, MANIFEST, {})
    assert result.score == 0
    assert {exercise.status for exercise in result.exercises} == {"failed"}


def test_an_outcome_that_the_manifest_does_not_list_is_ignored():
    assert score_module(MODULE, MANIFEST, {**ALL_PASSED, "test_extra": PASSED}) == score_module(
        MODULE, MANIFEST, ALL_PASSED
    )


def test_a_failed_public_test_costs_no_points_but_the_tick():
    f = scored({"test_f_example": FAILED})["f"]
    assert (f.status, f.score) == ("partial", 60)


def test_public_points_never_count():
    manifest = [TestSpec("test_f_example", "f", 60, "public"), *MANIFEST[1:]]
    f = scored({"test_f_dtypes": FAILED}, manifest)["f"]
    assert f.score == 40 and f.tests[0].max_points == 0


def test_an_exercise_whose_core_is_todo_is_todo():
    f = scored({"test_f_values": TODO})["f"]
    assert (f.status, f.score, f.message) == ("todo", 0, "")


def test_a_core_that_is_not_all_todo_has_failed():
    manifest = [*MANIFEST, TestSpec("test_f_more", "f", 20, core=True)]
    f = scored({"test_f_values": TODO, "test_f_more": FAILED}, manifest)["f"]
    assert (f.status, f.message) == ("failed", FAILED.message)


def test_without_core_tests_every_test_must_be_todo():
    manifest = [TestSpec("test_f_values", "f", 30), TestSpec("test_f_dtypes", "f", 30), *MANIFEST[3:]]
    assert scored({"test_f_values": TODO, "test_f_dtypes": TODO}, manifest)["f"].status == "todo"
    assert scored({"test_f_values": TODO}, manifest)["f"].status == "partial"


def test_a_breach_costs_the_exercise_and_only_it():
    result = scored(breaches={"f": "torch.softmax is not allowed in f"})
    f = result["f"]
    assert (f.status, f.score, f.max_score, f.message) == ("policy", 0, 60, "torch.softmax is not allowed in f")
    assert all(test.points == 0 for test in f.tests)
    assert [test.max_points for test in f.tests] == [0, 40, 20]
    assert (result["g"].status, result["g"].score) == ("passed", 40)


def test_a_breach_is_a_breach_whatever_the_tests_say():
    assert scored({"test_f_values": TODO}, breaches={"f": "why"})["f"].status == "policy"
    assert scored({"test_f_values": FAILED}, breaches={"f": "why"})["f"].message == "why"


def test_a_rejected_module_lists_every_test_with_the_reason():
    result = score_module(MODULE, MANIFEST, ALL_PASSED, rejected="not UTF-8", breaches={"f": "why"})
    assert (result.status, result.score, result.max_score, result.message) == ("rejected", 0, 100, "not UTF-8")
    for exercise in result.exercises:
        assert (exercise.status, exercise.score) == ("failed", 0)
        assert all((t.outcome, t.points, t.message) == ("error", 0, "not UTF-8") for t in exercise.tests)
    assert sum(len(exercise.tests) for exercise in result.exercises) == len(MANIFEST)


def test_a_rejection_without_words_is_still_a_rejection():
    assert score_module(MODULE, MANIFEST, ALL_PASSED, rejected="").score == 0


def test_substituted_modules_are_named():
    result = score_module(MODULE, MANIFEST, ALL_PASSED, substituted=["00_numpy_to_pytorch"])
    assert result.substituted == ["00_numpy_to_pytorch"]


def test_points_that_do_not_add_up_are_scaled():
    module = course_module(f=10)
    manifest = [TestSpec("a", "f", 1, core=True), TestSpec("b", "f", 1), TestSpec("c", "f", 1)]
    result = score_module(module, manifest, {"a": PASSED, "b": PASSED, "c": PASSED})
    assert (result.score, result.exercises[0].status) == (10, "passed")
    assert [test.points for test in result.exercises[0].tests] == [3.33, 3.33, 3.33]
    assert score_module(module, manifest, {"a": PASSED, "b": PASSED, "c": FAILED}).score == 6.67


def test_an_exercise_without_hidden_points_earns_nothing():
    for manifest in ([], [TestSpec("a", "f", 0, "public")], [TestSpec("a", "f", 0, core=True)]):
        result = score_module(course_module(f=100), manifest, {"a": PASSED})
        assert (result.score, result.exercises[0].status) == (0, "failed")


def test_the_first_advice_is_the_core_tests_and_a_diagnosis_before_a_message():
    plain = TestOutcome("failed", "not core")
    core = TestOutcome("failed", "core")
    named = TestOutcome("failed", "shapes differ", "the scale is missing")
    assert scored({"test_f_dtypes": plain, "test_f_values": core})["f"].message == "core"
    assert scored({"test_f_example": plain, "test_f_values": core})["f"].message == "core"
    assert scored({"test_f_values": core, "test_f_dtypes": named})["f"].message == "core"  # the name is another mistake's
    assert scored({"test_f_values": named, "test_f_dtypes": plain})["f"].message == "the scale is missing"
    assert scored({"test_f_example": plain, "test_f_dtypes": named})["f"].message == "the scale is missing"
    assert scored({"test_f_values": core, "test_f_dtypes": TODO})["f"].message == "core"


@pytest.mark.parametrize(
    "manifest",
    [
        [*MANIFEST, MANIFEST[0]],
        [*MANIFEST, TestSpec("test_h", "h", 1)],
        [*MANIFEST, TestSpec("test_f_more", "f", -1)],
        [*MANIFEST, TestSpec("test_f_more", "f", float("nan"))],
        [*MANIFEST, TestSpec("test_f_more", "f", float("inf"))],
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(manifest):
    with pytest.raises(ValueError, match="01_attention"):
        score_module(MODULE, manifest, ALL_PASSED)


@given(
    points=st.lists(st.integers(0, 50) | st.sampled_from([0.1, 0.2, 2.5, 1 / 3]), min_size=1, max_size=8),
    worth=st.integers(1, 100),
    data=st.data(),
)
def test_a_score_lies_between_nothing_and_all_and_never_falls_when_one_more_test_passes(points, worth, data):
    manifest = [TestSpec(f"t{i}", "f", p, core=i == 0) for i, p in enumerate(points)]
    said = st.sampled_from([PASSED, FAILED, TODO, TestOutcome("timeout", "late")])
    results = {spec.name: data.draw(said) for spec in manifest}
    module = course_module(f=worth)
    before = score_module(module, manifest, results)
    after = score_module(module, manifest, {**results, data.draw(st.sampled_from(sorted(results))): PASSED})
    full = score_module(module, manifest, dict.fromkeys(results, PASSED))
    assert 0 <= before.score <= after.score <= full.score == (worth if sum(points) else 0)
    assert before == score_module(module, manifest, results)
    exercise = before.exercises[0]
    assert (exercise.status == "passed") == (exercise.score == worth and all(o is PASSED for o in results.values()))
    assert sum(test.points for test in exercise.tests) == pytest.approx(exercise.score, abs=0.005 * (len(points) + 1))


def test_totals_add_up_without_binary_dust():
    module = course_module(f=10, g=20)
    manifest = [TestSpec(n + e, e, 1) for e in "fg" for n in "abc"]
    result = score_module(module, manifest, {"af": PASSED, "ag": PASSED})
    assert totals([result, result]) == (20, 60)
    assert totals(result.exercises) == (10, 30)
    assert totals([]) == (0, 0)


BROKEN = {"test_f_values": FAILED, "test_g_values": TestOutcome("failed", "expected 3, got 4")}


def test_what_uses_a_broken_exercise_says_so_first():
    found = scored(BROKEN, built_on={"g": ["f"], "f": ["g"]})
    assert found["g"].message == "Mend f first: g uses it.\nexpected 3, got 4"
    assert found["f"].message == FAILED.message  # only what comes before in the course can be the cause


def test_what_is_tested_with_a_broken_exercise_says_so_first():
    assert scored(BROKEN, tested_with={"g": ["f"]})["g"].message == "Mend f first: tests of g use it.\nexpected 3, got 4"
    assert scored(BROKEN, built_on={"g": ["f"]}, tested_with={"g": ["f"]})["g"].message.startswith("Mend f first: g uses it.")
    assert scored(BROKEN, tested_with={"f": ["g"]})["f"].message == FAILED.message


def test_a_name_does_not_hide_that_the_mistake_may_be_anothers():
    named = {"test_g_values": TestOutcome("failed", "expected 3, got 4", diagnosis="This is 4.")}
    assert scored(BROKEN | named, built_on={"g": ["f"]})["g"].message == "Mend f first: g uses it.\nThis is 4."


@pytest.mark.parametrize(
    ("changes", "built_on"),
    [
        (BROKEN, {"f": ["g"]}),
        (BROKEN | {"test_f_values": PASSED}, {"g": ["f"]}),
        (BROKEN | {"test_f_values": TODO, "test_f_dtypes": TODO}, {"g": ["f"]}),
    ],
    ids=["not_used", "not_broken", "not_written"],
)
def test_nobody_is_sent_to_another_exercise_without_a_reason(changes, built_on):
    assert "f" not in scored(changes, built_on=built_on)["g"].message.split()
