"""A submission of module 01 that never gets as far as its functions: the loop stands in the module itself."""

import itertools

for attempt in itertools.count():
    total = attempt


def causal_mask(n_q, n_k=None):
    return total
