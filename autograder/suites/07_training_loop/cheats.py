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
    cheat(
        "an_optimiser_by_its_file",
        "The function behind PyTorch's SGD, in the module where it is written.",
        """
        import sys

        import torch


        class SGD:
            def __init__(self, params, lr, momentum=0.0):
                self.params = list(params)
                if not self.params or not lr >= 0 or not 0 <= momentum < 1:
                    raise ValueError("no parameters, lr or momentum")
                self.lr, self.momentum = lr, momentum
                self.velocities = [torch.zeros_like(p) for p in self.params]

            @torch.no_grad()
            def step(self):
                step = getattr(sys.modules["dgs.mitpo.hcrot"[::-1]], "dgs"[::-1])
                for p, v in zip(self.params, self.velocities):
                    if p.grad is not None:
                        step([p], [p.grad], [v], foreach=False, weight_decay=0.0, momentum=self.momentum, lr=self.lr,
                             dampening=0.0, nesterov=False, maximize=False)

            def zero_grad(self):
                for p in self.params:
                    p.grad = None

            def state_dict(self):
                return {"velocities": [v.clone() for v in self.velocities]}

            def load_state_dict(self, state):
                for v, saved in zip(self.velocities, state["velocities"]):
                    v.copy_(saved)
        """,
    ),
]
