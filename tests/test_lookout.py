"""Which calls of a run are watched for forbidden ones."""

import torch

from autograder.grading.lookout import Lookout


def watched(secret: str, tests: int = 10, calls: int = 30, size: int = 4, thrifty: bool = False) -> list[list[int]]:
    lookout, found = Lookout(secret, thrifty), []
    for _ in range(tests):
        lookout.begin()
        found.append([i for i in range(calls) if lookout.wants("f", ((torch.zeros(size),), {}))])
    return found


def test_the_first_call_of_each_name_is_watched_in_every_test() -> None:
    assert all(indices[0] == 0 for indices in watched("a"))
    lookout = Lookout("a")
    for _ in range(3):
        lookout.begin()
        assert [lookout.wants(name, ((), {})) for name in "fgh"] == [True] * 3


def test_a_call_on_more_numbers_than_all_before_it_is_watched() -> None:
    lookout = Lookout("a")
    for test in range(5):
        lookout.begin()
        lookout.wants("f", ((), {}))
        for place in ({"x": torch.zeros(7 * test + 1)}, [torch.zeros(7 * test), (torch.zeros(2),)], torch.zeros(7 * test + 3)):
            assert lookout.wants("f", ((place,), {}))
        assert lookout.wants("f", ((), {"x": torch.zeros(7 * test + 4)}))


def test_of_the_others_few_are_drawn_and_the_same_ones_each_time() -> None:
    assert watched("a") == watched("a") != watched("b")
    later = [sum(len(indices) - 1 for indices in watched(f"secret {i}")) for i in range(40)]
    assert 3 < sum(later) / 40 < 8  # ln 300 is 5.7; ten first calls are not among them
    assert all(later[i] for i in range(40))


def test_a_thrifty_one_watches_the_first_call_of_all_and_no_tests_first_for_being_first() -> None:
    for secret in "abc":
        calls, all_calls = watched(secret, thrifty=True), watched(secret)
        assert calls[0] == all_calls[0] and calls[0][0] == 0
        assert [indices[1:] for indices in all_calls] == [[i for i in indices if i] for indices in calls]
        assert sum(indices[:1] == [0] for indices in calls) < 5
