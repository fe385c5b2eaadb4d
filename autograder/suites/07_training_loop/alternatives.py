"""Unusual right solutions: each must get full marks."""

import torch

from autograder.testing.variants import alternative, edit

ALTERNATIVES = []


@alternative("cross_entropy", "The log-sum-exp less the target's logit.")
def log_sum_exp_less_logit(logits, targets):
    check_targets(logits, targets)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return (wide.logsumexp(-1) - wide.gather(-1, targets[..., None])[..., 0]).mean().to(logits.dtype)
