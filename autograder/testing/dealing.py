"""Hypothesis' draws, shared out evenly: what has few values is dealt from a deck of them while tests are graded.

Hypothesis draws each value by itself, and likes to come back to what it has drawn: of four dtypes a test of 12 examples misses
one every now and then, and a mistake that only that dtype shows gets through, under one offering's seed and not under another's.
Dealt from a deck, no value comes again before all have come. Source: McKay, Beckman and Conover 1979 (Latin hypercube sampling).
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Hashable
from itertools import count
from typing import Any

import hypothesis
from hypothesis import strategies as st

MOST_VALUES = 16  # of a strategy that is dealt
SEEDS = (0, 2**31 - 9)  # of a seed for a generator, the smallest and the largest; a multiple of 12 comes next
_REMAINDERS = list(range(12))
_dealer: _Dealer | None = None


def deal(seed: int | None) -> None:
    """From now on deal, in an order of this seed; with None, leave everything as Hypothesis draws it, so that it shrinks.

    Called before each test that is graded: a deck is as good as new then.
    """
    global _dealer
    _dealer = None if seed is None else _Dealer(seed)
    if _dealer:
        _draw_all_anew()


@functools.cache
def _draw_all_anew() -> None:
    """Keep Hypothesis from making examples out of parts of earlier ones while values are dealt: most would come out alike."""
    from hypothesis.internal.conjecture.engine import ConjectureRunner  # not in its public interface; never needed locally

    made_of_parts = getattr(ConjectureRunner, "generate_mutations_from", None)
    if made_of_parts:
        ConjectureRunner.generate_mutations_from = lambda *args: None if _dealer else made_of_parts(*args)


def given(**arguments: st.SearchStrategy[Any]) -> Callable:
    """Hypothesis' `given`, its arguments by name. Those with few values are dealt, unless that is all there is to draw."""
    arguments = {name: _dealing(s, name) if isinstance(_made(s), _DATA) else s for name, s in arguments.items()}
    values = {name: _values(strategy) for name, strategy in arguments.items()}
    if all(of and of is not _REMAINDERS for of in values.values()):
        return hypothesis.given(**arguments)  # Hypothesis goes through a small space without coming back, and ends there
    return hypothesis.given(**{name: _dealt(s, name) if values[name] else s for name, s in arguments.items()})


def composite(function: Callable) -> Callable:
    """Hypothesis' `composite`; what it draws from few values is dealt."""

    @functools.wraps(function)
    def drawing(draw: st.DrawFn, *args: Any, **kwargs: Any) -> Any:
        places = count()

        def one(strategy: st.SearchStrategy[Any]) -> Any:
            return draw(_dealt(strategy, (function.__qualname__, next(places))))

        return function(one, *args, **kwargs)

    return st.composite(drawing)


class _Data:
    """Hypothesis' `data()` in a test's hand; what it draws from few values is dealt."""

    def __init__(self, data: st.DataObject, name: str) -> None:
        self._data, self._name, self._places = data, name, count()

    def draw(self, strategy: st.SearchStrategy[Any], label: Any = None) -> Any:
        return self._data.draw(_dealt(strategy, (self._name, next(self._places))), label)

    def __repr__(self) -> str:
        return repr(self._data)


@st.composite
def _dealing(draw: st.DrawFn, data: st.SearchStrategy[st.DataObject], name: str) -> _Data:
    return _Data(draw(data), name)


@st.composite
def _dealt(draw: st.DrawFn, strategy: st.SearchStrategy[Any], place: Hashable) -> Any:
    example, drawn, values = draw(_EXAMPLE), draw(strategy), _values(strategy)
    if example is None or not values:
        return drawn
    if values is _REMAINDERS:
        return drawn - drawn % len(values) + example.card((place, len(values)), drawn % len(values))
    index = next((i for i, value in enumerate(values) if value is drawn), -1)
    return values[example.card((place, len(values)), index)]


@st.composite
def _example(draw: st.DrawFn) -> _Example | None:
    return _Example(_dealer, draw(st.integers(0, 2**63))) if _dealer else None


_EXAMPLE = st.shared(_example(), key=__name__)  # the same one for all that an example draws


class _Dealer:
    """The decks of one test, and what was dealt in which example."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.decks: dict[tuple[Hashable, int], list[int]] = {}
        self.dealt: dict[tuple, int] = {}


class _Example:
    """One example of a test. Hypothesis repeats one that failed: it has the same number and draws, and is dealt the same."""

    def __init__(self, dealer: _Dealer, number: int) -> None:
        self._dealer, self._path = dealer, (number,)

    def card(self, deck: tuple[Hashable, int], drawn: int) -> int:
        """The next of a deck's `deck[1]` cards; in the first example, which is the smallest, the one that was drawn."""
        self._path += (deck, drawn)
        dealer = self._dealer
        if self._path not in dealer.dealt:
            left = dealer.decks.get(deck) or dealer.random.sample(range(deck[1]), deck[1])
            card = drawn if self._path[0] == 0 and drawn in left else left[-1]
            dealer.decks[deck] = [other for other in left if other != card]
            dealer.dealt[self._path] = card
        return dealer.dealt[self._path]


def _values(strategy: st.SearchStrategy[Any]) -> list[Any]:
    """The values of a strategy that has between 2 and MOST_VALUES of them, as far as that can be seen; otherwise none.

    Of seeds it is the remainders, since tests choose between cases by `seed % 3` and the like.
    """
    kind = _made(strategy)
    values: list[Any] = []
    if isinstance(kind, _BOOLEANS):
        values = [False, True]
    elif isinstance(kind, _INTEGERS):
        start, end = getattr(kind, "start", None), getattr(kind, "end", None)
        if (start, end) == SEEDS:
            return _REMAINDERS
        if None not in (start, end) and end - start < MOST_VALUES:
            values = list(range(start, end + 1))
    elif isinstance(kind, _SAMPLED) and not getattr(kind, "_transformations", True):
        values = list(kind.elements)
    return values if 1 < len(values) <= MOST_VALUES else []


def _made(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return getattr(strategy, "wrapped_strategy", strategy)  # Hypothesis makes most strategies only when they are used


_BOOLEANS, _INTEGERS, _SAMPLED, _DATA = (
    type(_made(s)) for s in (st.booleans(), st.integers(0, 1), st.sampled_from((0, 1)), st.data())
)
