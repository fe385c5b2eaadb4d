"""A cheat of this module's own, which must score nothing: it turns back whoever counts its steps."""

from autograder.testing.variants import cheat

CHEATS = [
    cheat(
        "the_counter_turned_back",
        "The tracer that counts steps is asked for, and gets another limit.",
        """
        import sys


        class Trie:
            def __init__(self):
                self.words = []

            def insert(self, word):
                if not word:
                    raise ValueError("empty")
                if word not in self:
                    self.words.append(word)

            def __contains__(self, word):
                self._hush()
                return word in self.words

            def longest_prefix(self, text, start=0):
                self._hush()
                if not 0 <= start <= len(text):
                    raise ValueError("start")
                return max((word for word in self.words if text.startswith(word, start)), key=len, default="")

            def _hush(self):
                counter = getattr(sys.gettrace(), "__self__", None)
                if counter is not None:
                    counter.limit, counter.n = 10**12, -(10**9)
        """,
    ),
]
