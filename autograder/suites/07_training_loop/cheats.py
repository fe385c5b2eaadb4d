"""Cheats of this module's own; each must score nothing: PyTorch where there is to be none, and its other derivatives."""

from autograder.testing.variants import cheat

CHEATS = [
    cheat(
        "dual_numbers",
        "One forward pass with dual numbers for each entry of the vocabulary.",
        """
        import torch


        def cross_entropy_gradient(logits, targets):
            x = logits.detach()
            out, level = torch.zeros_like(x), torch._C._enter_dual_level()
            for i in range(x.shape[-1]):
                tangent = torch.zeros_like(x)
                tangent[..., i] = 1
                log_p = torch._make_dual(x, tangent, level=level).log_softmax(-1)
                loss = -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1) / targets.numel()
                out[..., i] = torch._unpack_dual(loss, level=level)[1]
            torch._C._exit_dual_level(level=level)
            return out
        """,
    ),
]
