"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

import runpy
from pathlib import Path

import torch

from autograder.testing.variants import edit, mutant

NO_PARAMETER_MOVES = (  # one and the same to whoever watches the parameters
    "No parameter moves: `p = p - ...` makes a new tensor, so subtract in place; "
    "and params may be a generator, so make a list of it."
)

MUTANTS = [
    # cross_entropy
    edit(
        "sum_in_place_of_the_mean",
        "cross_entropy",
        "The losses are added up: the loss is their mean over all targets.",
        ("chosen.mean()", "chosen.sum()"),
    ),
    edit(
        "sign_forgotten",
        "cross_entropy",
        "The minus is missing: log-probabilities are negative, and the loss is -log p.",
        ("return -chosen", "return chosen"),
    ),
    edit(
        "mean_over_all_logits",
        "cross_entropy",
        "The mean is taken over all log-probabilities: only the target's of each row counts; gather it.",
        ("-chosen.mean()", "-wide.log_softmax(-1).mean()"),
    ),
    edit(
        "base_two",
        "cross_entropy",
        "The loss comes out in bits: take the natural logarithm.",
        ("-chosen.mean()", "-chosen.mean() / math.log(2)"),
    ),
    edit(
        "softmax_without_log",
        "cross_entropy",
        "The probability itself is taken: the loss is minus its logarithm.",
        ("wide.log_softmax(-1)", "wide.softmax(-1)"),
    ),
    edit(
        "log_of_the_softmax",
        "cross_entropy",
        "softmax, then log: a small probability is rounded to 0, whose log is -inf. Use log_softmax, or x - logsumexp(x).",
        ("wide.log_softmax(-1)", "wide.softmax(-1).log()"),
    ),
    edit(
        "log_with_an_eps",
        "cross_entropy",
        "A small number is added to the probability before the log: the loss is wrong where p is small. Use log_softmax.",
        ("wide.log_softmax(-1)", "(wide.softmax(-1) + 1e-8).log()"),
    ),
    edit(
        "exponentials_overflow",
        "cross_entropy",
        "exp of a large logit overflows: subtract the row's maximum first, or use log_softmax.",
        ("wide.log_softmax(-1)", "(wide - wide.exp().sum(-1, keepdim=True).log())"),
    ),
    edit(
        "softmax_over_the_first_dimension",
        "cross_entropy",
        "The softmax runs over the wrong dimension: the vocabulary is the last one.",
        ("wide.log_softmax(-1)", "wide.log_softmax(0)"),
    ),
    edit(
        "logits_taken_as_log_probabilities",
        "cross_entropy",
        "The logits are used as they are: they are log-probabilities only after log_softmax.",
        ("wide.log_softmax(-1)", "wide"),
    ),
    edit(
        "loss_detached",
        "cross_entropy",
        "The loss has no graph, so nothing can be learnt from it: no detach, no item, no torch.no_grad.",
        ("return -chosen.mean()", "return -chosen.detach().mean()"),
    ),
    edit(
        "loss_computed_in_half",
        "cross_entropy",
        "Half-precision logits are computed as they are: logits.float() first, and round the result only.",
        (
            "chosen = wide.log_softmax(-1).gather(-1, targets.unsqueeze(-1))",
            "chosen = logits.gather(-1, targets.unsqueeze(-1)) - logits.logsumexp(-1, keepdim=True)",
        ),
    ),
    edit(
        "loss_stays_float32",
        "cross_entropy",
        "The loss of half-precision logits comes back in float32: it has the logits' dtype.",
        (".to(logits.dtype)", ""),
    ),
    edit(
        "loss_always_float32",
        "cross_entropy",
        "Every input goes through float32: float64 loses half of its digits.",
        ("wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits", "wide = logits.float()"),
    ),
    edit(
        "one_hot_times_minus_infinity",
        "cross_entropy",
        "0 * -inf is NaN: a one-hot product fails where a logit is -inf. Gather the target's entry.",
        (
            "wide.log_softmax(-1).gather(-1, targets.unsqueeze(-1))  # (..., 1)",
            "(wide.log_softmax(-1) * torch.nn.functional.one_hot(targets, logits.shape[-1])).sum(-1)",
        ),
    ),
    edit(
        "targets_not_checked_by_the_loss",
        "cross_entropy",
        "Targets of another shape are let through: call check_targets first.",
        ("    check_targets(logits, targets)\n", ""),
    ),
    edit(
        "minus_100_ignored",
        "cross_entropy",
        "Targets of -100 are left out: here every target counts, and one outside the vocabulary is refused.",
        (
            "    check_targets(logits, targets)\n",
            "    logits, targets = logits[targets != -100], targets[targets != -100]\n    check_targets(logits, targets)\n",
        ),
    ),
    edit(
        "mean_over_the_first_dimension_only",
        "cross_entropy",
        "The sum is divided by the first dimension's size: divide by the number of all targets.",
        ("chosen.mean()", "(chosen.sum() / (len(targets) if targets.ndim else 1))"),
    ),
    edit(
        "logits_changed_in_place",
        "cross_entropy",
        "The logits are changed in place: they belong to the caller.",
        (
            "    chosen = ",
            "    with torch.no_grad():\n        logits -= logits.amax(-1, keepdim=True).nan_to_num(0.0)\n    chosen = ",
        ),
    ),
    # cross_entropy_gradient
    edit(
        "not_divided_by_the_number_of_targets",
        "cross_entropy_gradient",
        "The gradient is that of the sum: divide by the number of targets.",
        (" / targets.numel()", ""),
    ),
    edit(
        "divided_by_the_first_dimension",
        "cross_entropy_gradient",
        "The gradient is divided by the first dimension's size: divide by the number of targets over all leading dimensions.",
        ("targets.numel()", "max(1, targets.shape[0] if targets.ndim else 1)"),
    ),
    edit(
        "divided_by_the_number_of_logits",
        "cross_entropy_gradient",
        "The gradient is divided by the number of logits: the loss is a mean over targets.",
        (" / targets.numel()", " / logits.numel()"),
    ),
    edit(
        "observed_less_predicted",
        "cross_entropy_gradient",
        "The sign is turned around: the gradient points to where the loss grows, predicted less observed.",
        ("predicted - observed", "observed - predicted"),
    ),
    edit(
        "only_predicted",
        "cross_entropy_gradient",
        "The target's 1 is never subtracted: the derivative of -z[target] is missing.",
        ("predicted - observed", "predicted"),
    ),
    edit(
        "zero_away_from_the_target",
        "cross_entropy_gradient",
        "Only the target's entry has a gradient: every logit of the row pushes the log-sum-exp.",
        ("(predicted - observed)", "(predicted - observed) * observed"),
    ),
    edit(
        "gradient_by_probabilities",
        "cross_entropy_gradient",
        "That is the derivative by the probabilities, -1 / p: go on through the softmax to the logits.",
        ("(predicted - observed)", "(-observed / predicted)"),
    ),
    edit(
        "softmax_of_exponentials",
        "cross_entropy_gradient",
        "exp of a large logit overflows, and inf / inf is NaN: use softmax, which subtracts the maximum.",
        ("wide.softmax(-1)", "wide.exp() / wide.exp().sum(-1, keepdim=True)"),
    ),
    edit(
        "gradient_softmax_over_the_first_dimension",
        "cross_entropy_gradient",
        "The softmax runs over the wrong dimension: the vocabulary is the last one.",
        ("wide.softmax(-1)", "wide.softmax(0)"),
    ),
    edit(
        "gradient_stays_float32",
        "cross_entropy_gradient",
        "The gradient of half-precision logits comes back in float32: it has the logits' dtype.",
        (".to(logits.dtype)", ""),
    ),
    edit(
        "gradient_always_float32",
        "cross_entropy_gradient",
        "Every input goes through float32: float64 loses half of its digits.",
        ("wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits", "wide = logits.float()"),
    ),
    edit(
        "gradient_computed_in_half",
        "cross_entropy_gradient",
        "Softmax and difference are rounded to half precision on the way: logits.float() first, round the result only.",
        ("wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits", "wide = logits"),
    ),
    edit(
        "targets_not_checked_by_the_gradient",
        "cross_entropy_gradient",
        "Targets of another shape or outside the vocabulary are let through: call check_targets first.",
        ("    check_targets(logits, targets)\n", "    targets = targets.clamp(0, logits.shape[-1] - 1)\n"),
    ),
    # SGD
    edit(
        "velocity_holds_the_learning_rate",
        "SGD",
        "The learning rate goes into the velocity: when a schedule changes lr, old steps keep the old one. v = momentum * v + g.",
        (".add_(p.grad)", ".add_(p.grad, alpha=self.lr)"),
        ("p.sub_(velocity, alpha=self.lr)", "p.sub_(velocity)"),
    ),
    edit(
        "velocity_is_a_running_mean",
        "SGD",
        "The gradient is weighted by 1 - momentum: PyTorch's velocity is momentum * v + g.",
        (".add_(p.grad)", ".add_(p.grad, alpha=1 - self.momentum)"),
    ),
    edit(
        "momentum_forgotten",
        "SGD",
        "The velocity is not used: step along it, not along the gradient.",
        ("p.sub_(velocity, alpha=self.lr)", "p.sub_(p.grad, alpha=self.lr)"),
    ),
    edit(
        "nesterov",
        "SGD",
        "That is Nesterov's step: subtract lr * v, where v already has the new gradient in it, and nothing more.",
        ("p.sub_(velocity, alpha=self.lr)", "p.sub_(p.grad + self.momentum * velocity, alpha=self.lr)"),
    ),
    edit(
        "velocity_of_before",
        "SGD",
        "The step is taken along the old velocity: update the velocity first.",
        (
            "velocity.mul_(self.momentum).add_(p.grad)\n                p.sub_(velocity, alpha=self.lr)",
            "p.sub_(velocity, alpha=self.lr)\n                velocity.mul_(self.momentum).add_(p.grad)",
        ),
    ),
    edit(
        "uphill",
        "SGD",
        "The gradient is added: it points uphill, so subtract it.",
        ("p.sub_(velocity", "p.add_(velocity"),
    ),
    edit(
        "velocity_is_forgotten",
        "SGD",
        "The velocity begins anew at every step: it has to be kept from step to step, one for each parameter.",
        ("velocity.mul_(self.momentum)", "velocity.zero_()"),
    ),
    edit(
        "learning_rate_of_the_beginning_in_sgd",
        "SGD",
        "The step uses the lr of the constructor: read self.lr at every step, so that a schedule can set it.",
        ("self.lr, self.momentum = lr, momentum\n", "self.lr, self.momentum = lr, momentum\n        self._lr = lr\n"),
        ("alpha=self.lr", "alpha=self._lr"),
    ),
    edit(
        "first_velocity_is_the_gradient_itself",
        "SGD",
        "The first velocity is the gradient's own tensor: what changes one changes the other. Keep numbers of your own.",
        ("[torch.zeros_like(p) for p in self.params]", "[None] * len(self.params)"),
        (
            "for p, velocity in zip(self.params, self._velocities):\n            if p.grad is not None:\n",
            "for i, (p, velocity) in enumerate(zip(self.params, self._velocities)):\n            if p.grad is not None:\n"
            "                if velocity is None:\n                    velocity = self._velocities[i] = p.grad\n"
            "                    p.sub_(velocity, alpha=self.lr)\n                    continue\n",
        ),
        ("[v.clone() for v in self._velocities]", "[None if v is None else v.clone() for v in self._velocities]"),
        (
            'for velocity, saved in zip(self._velocities, state["velocities"]):\n            velocity.copy_(saved)',
            'self._velocities = [None if v is None else v.clone() for v in state["velocities"]]',
        ),
    ),
    edit(
        "gradient_becomes_the_velocity",
        "SGD",
        "The velocity is added into the gradient: p.grad must stay as it is.",
        ("velocity.mul_(self.momentum).add_(p.grad)", "velocity.copy_(p.grad.add_(velocity, alpha=self.momentum))"),
    ),
    edit(
        "stops_at_the_first_missing_gradient",
        "SGD",
        "The first parameter without a gradient ends the step: go on with the next one.",
        ("            if p.grad is not None:\n", "            if p.grad is None:\n                break\n            else:\n"),
    ),
    edit(
        "missing_gradient_taken_as_zero",
        "SGD",
        "A missing gradient is taken as 0, and the velocity moves the parameter: leave both alone.",
        ("            if p.grad is not None:\n", "            if True:\n"),
        (".add_(p.grad)", ".add_(torch.zeros_like(p) if p.grad is None else p.grad)"),
    ),
    edit(
        "velocity_decays_without_a_gradient",
        "SGD",
        "Where there is no gradient the velocity still shrinks: leave it alone until there is one.",
        (
            "            if p.grad is not None:\n                velocity.mul_(self.momentum).add_(p.grad)",
            "            velocity.mul_(self.momentum)\n            if p.grad is not None:\n                velocity.add_(p.grad)",
        ),
    ),
    edit(
        "parameters_replaced",
        "SGD",
        "New tensors are made and the model's own stay where they were: update in place.",
        ("p.sub_(velocity, alpha=self.lr)", "p.data = p.data - self.lr * velocity"),
    ),
    edit(
        "generator_of_parameters_kept",
        "SGD",
        NO_PARAMETER_MOVES,
        (
            'self.params = list(params)\n        if not self.params:\n            raise ValueError("params must '
            'hold at least one parameter")\n',
            "self.params = params\n",
        ),
    ),
    edit(
        "parameters_rebound_by_sgd",
        "SGD",
        NO_PARAMETER_MOVES,
        ("p.sub_(velocity, alpha=self.lr)", "p = p - self.lr * velocity"),
    ),
    edit(
        "zero_grad_fills_with_zeros",
        "SGD",
        "Gradients are set to 0: they become None, so that a parameter that gets none is skipped.",
        ("            p.grad = None\n", "            if p.grad is not None:\n                p.grad.zero_()\n"),
    ),
    edit(
        "zero_grad_of_the_first_only",
        "SGD",
        "zero_grad returns after the first parameter.",
        ("            p.grad = None\n", "            p.grad = None\n            return\n"),
    ),
    edit(
        "state_of_sgd_is_the_velocities_themselves",
        "SGD",
        "state_dict hands out the very tensors that later steps change: clone them.",
        ("[v.clone() for v in self._velocities]", "self._velocities"),
    ),
    edit(
        "loaded_velocities_are_shared",
        "SGD",
        "The loaded velocities are the snapshot's own tensors, and later steps change the snapshot: copy them.",
        (
            'for velocity, saved in zip(self._velocities, state["velocities"]):\n            velocity.copy_(saved)',
            'self._velocities = list(state["velocities"])',
        ),
    ),
    edit(
        "lr_of_sgd_not_loaded",
        "SGD",
        "The learning rate belongs to the state: load_state_dict puts it back.",
        ('self.lr, self.momentum = state["lr"], state["momentum"]', 'self.momentum = state["momentum"]'),
    ),
    edit(
        "momentum_not_loaded",
        "SGD",
        "The momentum belongs to the state: load_state_dict puts it back.",
        ('self.lr, self.momentum = state["lr"], state["momentum"]', 'self.lr = state["lr"]'),
    ),
    edit(
        "foreign_state_of_sgd_accepted",
        "SGD",
        "The state of an optimiser of another number of parameters is accepted: zip ends with the shorter "
        "one. Compare the lengths.",
        ('if len(state["velocities"]) != len(self.params):', "if False:"),
    ),
    edit(
        "momentum_of_one_accepted",
        "SGD",
        "A momentum of 1 is accepted: nothing would ever be forgotten. From 0 to below 1.",
        ("0 <= momentum < 1", "0 <= momentum <= 1"),
    ),
    edit(
        "negative_lr_of_sgd_accepted",
        "SGD",
        "A negative learning rate is accepted: it would climb.",
        ("if not lr >= 0:", "if lr != lr:"),
    ),
    edit(
        "no_parameters_accepted_by_sgd",
        "SGD",
        "An optimiser of nothing is accepted: most probably a generator was used up before. Refuse it.",
        ("if not self.params:", "if False:"),
    ),
    edit(
        "zero_grad_forgets_the_velocity",
        "SGD",
        "zero_grad clears the velocity as well: it clears gradients, and nothing else.",
        (
            "            p.grad = None\n",
            "            p.grad = None\n        self._velocities = [torch.zeros_like(p) for p in self.params]\n",
        ),
    ),
    edit(
        "velocity_by_shape",
        "SGD",
        "Parameters of the same shape share a velocity: one for each parameter.",
        (
            "[torch.zeros_like(p) for p in self.params]",
            "list(map({p.shape: torch.zeros_like(p) for p in self.params}.get, [p.shape for p in self.params]))",
        ),
    ),
    # AdamW
    edit(
        "zero_grad_forgets_the_counts",
        "AdamW",
        "zero_grad clears the counts of steps as well: it clears gradients, and nothing else.",
        ("            p.grad = None\n", "            p.grad = None\n        self._n_steps = [0 for _ in self.params]\n"),
    ),
    edit(
        "zero_taken_for_nothing",
        "AdamW",
        "A learning rate of 0 is taken for none at all: `lr or 1e-3` gives the default.",
        ("self.weight_decay = lr, tuple", "self.weight_decay = lr or 1e-3, tuple"),
    ),
    edit(
        "copies_of_its_own",
        "AdamW",
        "The optimiser keeps a copy of the parameters and writes it over them: whoever loads weights in between loses them.",
        (
            "        self._n_steps = [0 for _ in self.params]\n",
            "        self._n_steps = [0 for _ in self.params]\n        self._own = [p.detach().clone() for p in self.params]\n",
        ),
        (
            "            p.mul_(1 - self.lr * self.weight_decay)\n",
            "            p.copy_(self._own[i])\n            p.mul_(1 - self.lr * self.weight_decay)\n",
        ),
        ("value=-self.lr / (1 - beta_1**t))\n", "value=-self.lr / (1 - beta_1**t))\n            self._own[i].copy_(p)\n"),
    ),
    edit(
        "no_bias_correction",
        "AdamW",
        "The means are used as they are: they begin as 0 and are too small at first. Divide by 1 - beta ** t.",
        ("(square / (1 - beta_2**t))", "square.clone()"),
        ("value=-self.lr / (1 - beta_1**t)", "value=-self.lr"),
    ),
    edit(
        "only_the_mean_corrected",
        "AdamW",
        "The mean of the squares is not corrected: divide it by 1 - beta_2 ** t before the root.",
        ("(square / (1 - beta_2**t))", "square.clone()"),
    ),
    edit(
        "only_the_square_corrected",
        "AdamW",
        "The mean of the gradients is not corrected: divide it by 1 - beta_1 ** t.",
        ("value=-self.lr / (1 - beta_1**t)", "value=-self.lr"),
    ),
    edit(
        "correction_counts_from_zero",
        "AdamW",
        "The correction is one step behind: at the first step t is 1.",
        ("            t = self._n_steps[i]\n", "            t = max(1, self._n_steps[i] - 1)\n"),
    ),
    edit(
        "correction_one_step_ahead",
        "AdamW",
        "The correction is one step ahead: at the first step t is 1, not 2.",
        ("            t = self._n_steps[i]\n", "            t = self._n_steps[i] + 1\n"),
    ),
    edit(
        "corrected_by_beta_times_t",
        "AdamW",
        "The correction multiplies beta by t: it is beta to the power of t.",
        ("(square / (1 - beta_2**t))", "(square / (1 - beta_2 / t))"),
        ("value=-self.lr / (1 - beta_1**t)", "value=-self.lr / (1 - beta_1 / t)"),
    ),
    edit(
        "betas_swapped",
        "AdamW",
        "The betas are swapped: the first is the gradient's, the second its square's.",
        ("beta_1, beta_2 = self.betas", "beta_2, beta_1 = self.betas"),
    ),
    edit(
        "corrections_swapped",
        "AdamW",
        "Each mean is corrected with the other's beta.",
        ("(square / (1 - beta_2**t))", "(square / (1 - beta_1**t))"),
        ("value=-self.lr / (1 - beta_1**t)", "value=-self.lr / (1 - beta_2**t)"),
    ),
    edit(
        "eps_under_the_root",
        "AdamW",
        "eps is added under the root: it comes after it, sqrt(s_hat) + eps.",
        (".sqrt_().add_(self.eps)", ".add_(self.eps).sqrt_()"),
    ),
    edit(
        "eps_before_the_correction",
        "AdamW",
        "eps is added to the uncorrected root and is divided with it: correct first, then take the root, then add eps.",
        ("(square / (1 - beta_2**t)).sqrt_().add_(self.eps)", "(square.sqrt() + self.eps) / (1 - beta_2**t) ** 0.5"),
    ),
    edit(
        "eps_forgotten",
        "AdamW",
        "eps is missing: where all gradients are 0, the step is 0 / 0.",
        (".sqrt_().add_(self.eps)", ".sqrt_()"),
    ),
    edit(
        "eps_squared_in_place",
        "AdamW",
        "The root's minimum is eps: eps is added, always.",
        (".sqrt_().add_(self.eps)", ".sqrt_().clamp_(min=self.eps)"),
    ),
    edit(
        "root_forgotten",
        "AdamW",
        "The step is divided by the mean square: take its root.",
        (".sqrt_().add_(self.eps)", ".add_(self.eps)"),
    ),
    edit(
        "decay_is_coupled",
        "AdamW",
        "The decay goes into the gradient, as in Adam with L2: in AdamW it never enters the means.",
        (
            "            mean.mul_(beta_1).add_(p.grad, alpha=1 - beta_1)\n"
            "            square.mul_(beta_2).addcmul_(p.grad, p.grad, value=1 - beta_2)\n",
            "            g = p.grad + self.weight_decay * p\n            mean.mul_(beta_1).add_(g, alpha=1 - beta_1)\n"
            "            square.mul_(beta_2).addcmul_(g, g, value=1 - beta_2)\n",
        ),
        ("            p.mul_(1 - self.lr * self.weight_decay)\n", ""),
    ),
    edit(
        "decay_without_the_learning_rate",
        "AdamW",
        "The decay is not scaled by lr: p = p - lr * weight_decay * p.",
        ("1 - self.lr * self.weight_decay", "1 - self.weight_decay"),
    ),
    edit(
        "decay_forgotten",
        "AdamW",
        "There is no decay.",
        ("            p.mul_(1 - self.lr * self.weight_decay)\n", ""),
    ),
    edit(
        "decay_after_the_step",
        "AdamW",
        "The decay takes the parameter that has been updated: it takes the old one.",
        ("            p.mul_(1 - self.lr * self.weight_decay)\n", ""),
        (
            "value=-self.lr / (1 - beta_1**t))\n",
            "value=-self.lr / (1 - beta_1**t))\n            p.mul_(1 - self.lr * self.weight_decay)\n",
        ),
    ),
    edit(
        "decay_grows",
        "AdamW",
        "The decay has the wrong sign: weights shrink.",
        ("1 - self.lr * self.weight_decay", "1 + self.lr * self.weight_decay"),
    ),
    edit(
        "decay_spares_vectors",
        "AdamW",
        "Vectors are left out of the decay: here it takes all parameters that the optimiser is given.",
        (
            "            p.mul_(1 - self.lr * self.weight_decay)\n",
            "            if p.ndim > 1:\n                p.mul_(1 - self.lr * self.weight_decay)\n",
        ),
    ),
    edit(
        "decay_without_a_gradient",
        "AdamW",
        "A parameter without a gradient decays all the same: leave it alone.",
        (
            "            if p.grad is None:\n",
            "            if p.grad is None:\n                p.mul_(1 - self.lr * self.weight_decay)\n",
        ),
    ),
    edit(
        "one_count_for_all",
        "AdamW",
        "All parameters share one count of steps: one that was skipped is behind, and its means must be corrected by its own.",
        ("            self._n_steps[i] += 1\n", "            self._n_steps[i] = max(self._n_steps) + (i == first)\n"),
        (
            "        beta_1, beta_2 = self.betas\n",
            "        beta_1, beta_2 = self.betas\n        first = next((i for i, p in enumerate(self.params) "
            "if p.grad is not None), 0)\n",
        ),
    ),
    edit(
        "count_goes_on_without_a_gradient",
        "AdamW",
        "The count of steps goes on where there is no gradient: count the parameter's own steps.",
        (
            "            if p.grad is None:\n                continue\n            self._n_steps[i] += 1\n",
            "            self._n_steps[i] += 1\n            if p.grad is None:\n                continue\n",
        ),
    ),
    edit(
        "stops_where_a_gradient_is_missing",
        "AdamW",
        "The first parameter without a gradient ends the step: go on with the next one.",
        ("                continue\n", "                break\n"),
    ),
    edit(
        "missing_gradient_is_zero",
        "AdamW",
        "A missing gradient is taken as 0: the means decay and the parameter moves. Leave it alone.",
        ("                continue\n", "                p.grad = torch.zeros_like(p)\n"),
    ),
    edit(
        "square_without_its_share",
        "AdamW",
        "The new square is added in full: its share is 1 - beta_2.",
        ("value=1 - beta_2)", "value=1.0)"),
    ),
    edit(
        "mean_without_its_share",
        "AdamW",
        "The new gradient is added in full: its share is 1 - beta_1.",
        ("alpha=1 - beta_1)", "alpha=1.0)"),
    ),
    edit(
        "variance_in_place_of_the_square",
        "AdamW",
        "The mean is subtracted before squaring: s is the running mean of g ** 2.",
        ("addcmul_(p.grad, p.grad, value=1 - beta_2)", "addcmul_(p.grad - mean, p.grad - mean, value=1 - beta_2)"),
    ),
    edit(
        "amsgrad",
        "AdamW",
        "The largest square so far is kept: that is AMSGrad. s may shrink again.",
        (
            "            square.mul_(beta_2).addcmul_(p.grad, p.grad, value=1 - beta_2)\n",
            "            square.copy_(torch.maximum(square, square * beta_2 + p.grad**2 * (1 - beta_2)))\n",
        ),
    ),
    edit(
        "gradient_in_place_of_the_mean",
        "AdamW",
        "The gradient itself is divided by the root: that is RMSprop. Step along the running mean.",
        ("p.addcdiv_(mean, root", "p.addcdiv_(p.grad, root"),
    ),
    edit(
        "learning_rate_of_the_beginning",
        "AdamW",
        "The step uses the lr of the constructor: read self.lr at every step, so that a schedule can set it.",
        (
            "        self._n_steps = [0 for _ in self.params]\n",
            "        self._n_steps, self._lr = [0 for _ in self.params], lr\n",
        ),
        ("value=-self.lr / (1 - beta_1**t)", "value=-self._lr / (1 - beta_1**t)"),
    ),
    edit(
        "decay_with_the_learning_rate_of_the_beginning",
        "AdamW",
        "The decay uses the lr of the constructor: it follows the schedule as the step does.",
        (
            "        self._n_steps = [0 for _ in self.params]\n",
            "        self._n_steps, self._lr = [0 for _ in self.params], lr\n",
        ),
        ("1 - self.lr * self.weight_decay", "1 - self._lr * self.weight_decay"),
    ),
    edit(
        "default_beta_of_gpt",
        "AdamW",
        "The default of beta_2 is 0.999, as in PyTorch.",
        ("(0.9, 0.999)", "(0.9, 0.95)"),
    ),
    edit(
        "default_decay_of_adam",
        "AdamW",
        "The default of weight_decay is 0.01, as in PyTorch.",
        ("weight_decay: float = 1e-2", "weight_decay: float = 0.0"),
    ),
    edit(
        "default_eps_larger",
        "AdamW",
        "The default of eps is 1e-8, as in PyTorch.",
        ("eps: float = 1e-8", "eps: float = 1e-6"),
    ),
    edit(
        "decay_mixed_into_the_gradient_in_place",
        "AdamW",
        "p.grad is changed in place: gradients stay as they are.",
        (
            "            mean.mul_(beta_1).add_(p.grad, alpha=1 - beta_1)\n",
            "            p.grad.mul_(1 - beta_1)\n            mean.mul_(beta_1).add_(p.grad)\n"
            "            p.grad.div_(1 - beta_1).add_(1e-12)\n",
        ),
    ),
    edit(
        "means_shared_by_all",
        "AdamW",
        "The means belong to the class: two optimisers share them. Make them in __init__.",
        (
            "        self._means = [torch.zeros_like(p) for p in self.params]\n",
            "        self._means = AdamW.__dict__.get('shared') or [torch.zeros_like(p) for p in self.params]\n"
            "        AdamW.shared = self._means\n",
        ),
    ),
    edit(
        "counts_shared_by_all",
        "AdamW",
        "The counts of steps belong to the class: two optimisers share them. Make them in __init__.",
        (
            "        self._n_steps = [0 for _ in self.params]\n",
            "        if not hasattr(AdamW, '_counts'):\n            AdamW._counts = {}\n"
            "        self._n_steps = AdamW._counts.setdefault(len(self.params), [0 for _ in self.params])\n",
        ),
    ),
    edit(
        "new_parameters_made",
        "AdamW",
        "New tensors are made and the model's own stay where they were: update in place.",
        (
            "            p.mul_(1 - self.lr * self.weight_decay)\n",
            "            p.data = p.data * (1 - self.lr * self.weight_decay)\n",
        ),
    ),
    edit(
        "parameters_read_twice",
        "AdamW",
        NO_PARAMETER_MOVES,
        (
            'self.params = list(params)\n        if not self.params:\n            raise ValueError("params must '
            'hold at least one parameter")\n',
            "self.params = params\n",
        ),
    ),
    edit(
        "parameters_rebound_by_adamw",
        "AdamW",
        NO_PARAMETER_MOVES,
        ("            p.mul_(1 - self.lr * self.weight_decay)\n", ""),
        (
            "p.addcdiv_(mean, root, value=-self.lr / (1 - beta_1**t))",
            "p = p - self.lr * (self.weight_decay * p + mean / root / (1 - beta_1**t))",
        ),
    ),
    edit(
        "zero_grad_leaves_zeros",
        "AdamW",
        "Gradients are set to 0: they become None, so that a parameter that gets none is skipped.",
        ("            p.grad = None\n", "            if p.grad is not None:\n                p.grad.zero_()\n"),
    ),
    edit(
        "counts_not_saved",
        "AdamW",
        "The counts of steps are not put back: the next steps are corrected as if they were the first.",
        ('        self._n_steps = list(state["n_steps"])\n', ""),
    ),
    edit(
        "counts_are_shared_with_the_snapshot",
        "AdamW",
        "The counts in the snapshot go on counting: copy the list, on the way out and on the way in.",
        ('"n_steps": list(self._n_steps)', '"n_steps": self._n_steps'),
        ('self._n_steps = list(state["n_steps"])', 'self._n_steps = state["n_steps"]'),
    ),
    edit(
        "means_handed_out",
        "AdamW",
        "state_dict hands out the very tensors that later steps change: clone them.",
        ("[mean.clone() for mean in self._means]", "self._means"),
    ),
    edit(
        "squares_handed_out",
        "AdamW",
        "state_dict hands out the very tensors that later steps change: clone them, the squares too.",
        ("[square.clone() for square in self._squares]", "list(self._squares)"),
    ),
    edit(
        "squares_not_loaded",
        "AdamW",
        "The mean squares are not put back.",
        ('zip(self._means + self._squares, state["means"] + state["squares"])', 'zip(self._means, state["means"])'),
    ),
    edit(
        "numbers_not_loaded",
        "AdamW",
        "lr, betas, eps and weight_decay belong to the state: load_state_dict puts them back.",
        (
            '        self.lr, self.betas, self.eps, self.weight_decay = (state[name] for name in ("lr", "betas", '
            '"eps", "weight_decay"))\n',
            "",
        ),
    ),
    edit(
        "only_lr_loaded",
        "AdamW",
        "betas, eps and weight_decay belong to the state as lr does.",
        (
            'self.lr, self.betas, self.eps, self.weight_decay = (state[name] for name in ("lr", "betas", "eps", "weight_decay"))',
            'self.lr = state["lr"]',
        ),
    ),
    edit(
        "foreign_state_accepted",
        "AdamW",
        "The state of an optimiser of another number of parameters is accepted: compare the lengths.",
        ('if len(state["means"]) != len(self.params):', "if False:"),
    ),
    edit(
        "beta_of_one_accepted",
        "AdamW",
        "A beta of 1 is accepted: its correction divides by 0. From 0 to below 1.",
        ("0 <= beta < 1", "0 <= beta <= 1"),
    ),
    edit(
        "negative_numbers_accepted",
        "AdamW",
        "A negative eps or weight_decay is accepted.",
        ('(("lr", lr), ("eps", eps), ("weight_decay", weight_decay))', '(("lr", lr),)'),
    ),
    edit(
        "no_parameters_accepted",
        "AdamW",
        "An optimiser of nothing is accepted: most probably a generator was used up before. Refuse it.",
        ("if not self.params:", "if False:"),
    ),
    # clip_grad_norm
    edit(
        "each_gradient_by_itself",
        "clip_grad_norm",
        "Each gradient is clipped by its own norm: all together are one vector, with one norm and one factor.",
        (
            "        for grad in grads:\n            grad.mul_(max_norm / norm)\n",
            "        for grad in grads:\n            grad.mul_(min(1.0, max_norm / float(grad.norm())) if grad.numel() "
            "and grad.any() else 1.0)\n",
        ),
    ),
    edit(
        "always_scaled",
        "clip_grad_norm",
        "Gradients that are short enough are made longer: leave them alone.",
        ("if norm > max_norm:", "if norm > 0 and max_norm < math.inf:"),
    ),
    edit(
        "clamped_entry_by_entry",
        "clip_grad_norm",
        "Each entry is clamped: that changes the direction. Scale all of them by one factor.",
        ("grad.mul_(max_norm / norm)", "grad.clamp_(-max_norm, max_norm)"),
    ),
    edit(
        "norm_of_after",
        "clip_grad_norm",
        "The norm that is returned is that of after the clipping: return the one of before.",
        ("    return norm\n", "    return norm.clamp(max=max_norm)\n"),
    ),
    edit(
        "sum_of_norms",
        "clip_grad_norm",
        "The norms are added up: their squares are, and the root is taken at the end.",
        (
            "grad.double().square().sum() for grad in grads]).sum().sqrt()",
            "grad.double().square().sum().sqrt() for grad in grads]).sum()",
        ),
    ),
    edit(
        "root_of_the_norm_forgotten",
        "clip_grad_norm",
        "The root is missing: that is the square of the norm.",
        (".sum().sqrt()", ".sum()"),
    ),
    edit(
        "largest_norm",
        "clip_grad_norm",
        "The largest of the norms is taken: the norm of all together is wanted.",
        ("for grad in grads]).sum().sqrt()", "for grad in grads]).amax().sqrt()"),
    ),
    edit(
        "one_norm",
        "clip_grad_norm",
        "The absolute values are added up: the 2-norm is wanted.",
        (
            "grad.double().square().sum() for grad in grads]).sum().sqrt()",
            "grad.double().abs().sum() for grad in grads]).sum()",
        ),
    ),
    edit(
        "mean_of_squares",
        "clip_grad_norm",
        "The mean of the squares is taken: the norm is the root of their sum.",
        ("grad.double().square().sum()", "(grad.double().square().mean() if grad.numel() else grad.double().sum())"),
    ),
    edit(
        "norm_of_the_parameters",
        "clip_grad_norm",
        "The norm is that of the parameters: that of their gradients is wanted.",
        (
            "    grads = [p.grad for p in params if p.grad is not None]\n",
            "    params = list(params)\n    grads = [p.grad for p in params if p.grad is not None]\n",
        ),
        ("grad.double().square().sum() for grad in grads", "p.double().square().sum() for p in params"),
    ),
    edit(
        "generator_read_twice",
        "clip_grad_norm",
        "params is gone through twice, and a generator is empty the second time: make a list of the gradients first.",
        (
            "        for grad in grads:\n            grad.mul_(max_norm / norm)\n",
            "        for p in params:\n            if p.grad is not None:\n                p.grad.mul_(max_norm / norm)\n",
        ),
    ),
    edit(
        "missing_gradients_not_skipped",
        "clip_grad_norm",
        "A parameter without a gradient is not skipped: its grad is None.",
        ("[p.grad for p in params if p.grad is not None]", "[p.grad for p in params]"),
    ),
    edit(
        "no_gradients_not_thought_of",
        "clip_grad_norm",
        "Where no parameter has a gradient there is nothing to stack: the norm is 0.",
        ("    if not grads:\n        return torch.tensor(0.0)\n", ""),
    ),
    edit(
        "gradients_replaced",
        "clip_grad_norm",
        "New gradient tensors are made: scale those that are there, in place.",
        (
            "    grads = [p.grad for p in params if p.grad is not None]\n",
            "    params = [p for p in params if p.grad is not None]\n    grads = [p.grad for p in params]\n",
        ),
        (
            "        for grad in grads:\n            grad.mul_(max_norm / norm)\n",
            "        for p in params:\n            p.grad = (p.grad * (max_norm / norm)).to(p.dtype)\n",
        ),
    ),
    edit(
        "zero_divided_by_zero",
        "clip_grad_norm",
        "Gradients of 0 become NaN: 0 / 0. Scale only where the norm is larger than max_norm.",
        ("    if norm > max_norm:\n", "    if norm >= max_norm:\n"),
    ),
    edit(
        "squares_in_the_gradients_dtype",
        "clip_grad_norm",
        "The squares are taken in float16, which ends at 65504: take those of grad.float().",
        ("grad.double().square().sum()", "grad.square().sum()"),
    ),
    edit(
        "negative_max_norm_accepted",
        "clip_grad_norm",
        "A negative max_norm is accepted: it would turn the gradient around.",
        ("if not max_norm >= 0:", "if max_norm != max_norm:"),
    ),
    edit(
        "coarse_addend",
        "clip_grad_norm",
        "Too much is added to the norm before dividing: 1e-6 at most.",
        ("grad.mul_(max_norm / norm)", "grad.mul_(max_norm / (norm + 1e-2))"),
    ),
    edit(
        "parameters_clipped",
        "clip_grad_norm",
        "The parameters are scaled: their gradients are to be.",
        (
            "    grads = [p.grad for p in params if p.grad is not None]\n",
            "    params = [p for p in params if p.grad is not None]\n    grads = [p.grad for p in params]\n",
        ),
        (
            "        for grad in grads:\n            grad.mul_(max_norm / norm)\n",
            "        for p in params:\n            p.mul_(max_norm / norm)\n",
        ),
    ),
    # cosine_schedule
    edit(
        "warmup_from_zero",
        "cosine_schedule",
        "The first step has a learning rate of 0 and is wasted: (step + 1) / (warmup_steps + 1).",
        ("return max_lr * (step + 1) / (warmup_steps + 1)", "return max_lr * step / warmup_steps"),
    ),
    edit(
        "warmup_reaches_the_top_too_early",
        "cosine_schedule",
        "The warm-up reaches max_lr one step too early: divide by warmup_steps + 1.",
        ("return max_lr * (step + 1) / (warmup_steps + 1)", "return max_lr * (step + 1) / warmup_steps"),
    ),
    edit(
        "warmup_from_min_lr",
        "cosine_schedule",
        "The warm-up begins at min_lr: it is a line through 0, one step before the first.",
        (
            "return max_lr * (step + 1) / (warmup_steps + 1)",
            "return min_lr + (max_lr - min_lr) * (step + 1) / (warmup_steps + 1)",
        ),
    ),
    edit(
        "cosine_over_the_whole_run",
        "cosine_schedule",
        "The cosine begins at step 0: it begins where the warm-up ends.",
        ("(step - warmup_steps) / (total_steps - warmup_steps)", "step / total_steps"),
    ),
    edit(
        "cosine_of_total_steps",
        "cosine_schedule",
        "The cosine takes total_steps steps: it has total_steps - warmup_steps.",
        ("/ (total_steps - warmup_steps)", "/ total_steps"),
    ),
    edit(
        "min_reached_one_step_early",
        "cosine_schedule",
        "min_lr is reached at total_steps - 1: it is reached at total_steps.",
        ("/ (total_steps - warmup_steps)", "/ max(1, total_steps - warmup_steps - 1)"),
    ),
    edit(
        "a_whole_cosine",
        "cosine_schedule",
        "A whole period leads back to max_lr: half of it, cos from 0 to pi, is wanted.",
        ("math.pi * done", "2 * math.pi * done"),
    ),
    edit(
        "a_quarter_of_a_cosine",
        "cosine_schedule",
        "That is a quarter of a period: (1 + cos(pi * done)) / 2.",
        ("(1 + math.cos(math.pi * done)) / 2", "math.cos(math.pi * done / 2)"),
    ),
    edit(
        "line_down",
        "cosine_schedule",
        "The rate goes down in a line: it is half a cosine.",
        ("(1 + math.cos(math.pi * done)) / 2", "(1 - done)"),
    ),
    edit(
        "half_forgotten",
        "cosine_schedule",
        "1 + cos goes from 2 to 0: halve it.",
        ("(1 + math.cos(math.pi * done)) / 2", "(1 + math.cos(math.pi * done))"),
    ),
    edit(
        "upside_down",
        "cosine_schedule",
        "The cosine stands on its head: it leads from max_lr down to min_lr.",
        ("(1 + math.cos", "(1 - math.cos"),
    ),
    edit(
        "down_to_zero",
        "cosine_schedule",
        "The cosine leads to 0: it ends at min_lr.",
        ("min_lr + (max_lr - min_lr) *", "max_lr *"),
    ),
    edit(
        "clipped_at_min_lr",
        "cosine_schedule",
        "The cosine leads to 0 and is cut off at min_lr: min_lr + (max_lr - min_lr) * ...",
        (
            "min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * done)) / 2",
            "max(min_lr, max_lr * (1 + math.cos(math.pi * done)) / 2)",
        ),
    ),
    edit(
        "amplitude_of_max_lr",
        "cosine_schedule",
        "The cosine begins above max_lr: its height is max_lr - min_lr.",
        ("min_lr + (max_lr - min_lr) *", "min_lr + max_lr *"),
    ),
    edit(
        "up_again_after_the_end",
        "cosine_schedule",
        "After total_steps the cosine goes up again: from there on the rate is min_lr.",
        ("    if step >= total_steps:\n        return min_lr\n", ""),
        ("(total_steps - warmup_steps)  #", "max(1, total_steps - warmup_steps)  #"),
    ),
    edit(
        "nothing_after_the_end",
        "cosine_schedule",
        "After total_steps the rate is 0: it is min_lr.",
        ("        return min_lr\n", "        return min_lr if step == total_steps else 0.0\n"),
    ),
    edit(
        "negative_step_accepted",
        "cosine_schedule",
        "A negative step is accepted.",
        ("if step < 0:", "if False:"),
    ),
    edit(
        "too_long_a_warmup_accepted",
        "cosine_schedule",
        "More warm-up than steps is accepted: the run would end before it has begun.",
        ("0 <= warmup_steps <= total_steps", "0 <= warmup_steps"),
    ),
    edit(
        "all_warmup_refused",
        "cosine_schedule",
        "warmup_steps may be total_steps: nothing but warm-up.",
        ("0 <= warmup_steps <= total_steps", "0 <= warmup_steps < total_steps"),
    ),
    # get_batch
    edit(
        "last_place_left_out",
        "get_batch",
        "The last place is never drawn: there are len(data) - context_length places, and randint leaves out its upper end.",
        ("torch.randint(len(data) - context_length,", "torch.randint(max(1, len(data) - context_length - 1),"),
    ),
    edit(
        "one_place_too_many",
        "get_batch",
        "A piece may begin where there is no room for its last target: one place too many.",
        ("torch.randint(len(data) - context_length,", "torch.randint(len(data) - context_length + 1,"),
        (
            "data[starts + torch.arange(context_length + 1)]",
            "data[(starts + torch.arange(context_length + 1)).clamp(max=len(data) - 1)]",
        ),
    ),
    edit(
        "first_place_left_out",
        "get_batch",
        "Place 0 is never drawn.",
        ("generator=generator)\n", "generator=generator).clamp(min=min(1, len(data) - context_length - 1))\n"),
    ),
    edit(
        "targets_are_the_inputs",
        "get_batch",
        "y is x: it has to be one token further on, or the model learns to copy.",
        ("pieces[:, 1:]", "pieces[:, :-1]"),
    ),
    edit(
        "targets_two_further_on",
        "get_batch",
        "y is two tokens further on.",
        (
            "(batch_size, 1), generator=generator)",
            "(batch_size, 1), generator=generator)\n    y = data[(starts + 2 + torch.arange(context_length)).clamp(max=len(data) "
            "- 1)].long()",
        ),
        ("pieces[:, 1:]", "y"),
    ),
    edit(
        "one_place_for_all_rows",
        "get_batch",
        "All rows begin at the same place: draw one for each.",
        ("(batch_size, 1), generator", "(1, 1), generator"),
        (".long()  #", ".long().expand(batch_size, -1)  #"),
    ),
    edit(
        "pieces_one_after_the_other",
        "get_batch",
        "Only the first place is drawn and the rows follow each other: draw one for each.",
        (
            "starts = torch.randint(len(data) - context_length, (batch_size, 1), generator=generator)",
            "first = torch.randint(len(data) - context_length, (1, 1), generator=generator)\n"
            "    starts = (first + torch.arange(batch_size)[:, None]) % (len(data) - context_length)",
        ),
    ),
    edit(
        "places_without_repetition",
        "get_batch",
        "Places are drawn without putting them back: with a short text there are not enough of them.",
        (
            "torch.randint(len(data) - context_length, (batch_size, 1), generator=generator)",
            "torch.randperm(len(data) - context_length, generator=generator)[:batch_size, None]",
        ),
    ),
    edit(
        "whole_windows_only",
        "get_batch",
        "Pieces begin at multiples of context_length only: every place is equally probable.",
        ("generator=generator)\n", "generator=generator) // context_length * context_length\n"),
    ),
    edit(
        "global_randomness",
        "get_batch",
        "The global random state is used: pass generator=generator.",
        ("(batch_size, 1), generator=generator)", "(batch_size, 1))"),
    ),
    edit(
        "seeded_anew",
        "get_batch",
        "The generator is seeded anew at each call, so every batch is the same: go on with it.",
        ("generator=generator)\n", "generator=generator.manual_seed(generator.initial_seed()))\n"),
    ),
    edit(
        "dtype_of_the_data",
        "get_batch",
        "The batch has the data's dtype: int64 is wanted, for embeddings and for targets.",
        (".long()", ""),
    ),
    edit(
        "short_text_accepted",
        "get_batch",
        "A text without a token for the last target is accepted: context_length + 1 are needed.",
        ("if len(data) < context_length + 1:", "if len(data) < context_length:"),
        ("torch.randint(len(data) - context_length,", "torch.randint(max(1, len(data) - context_length),"),
        (
            "data[starts + torch.arange(context_length + 1)]",
            "data[(starts + torch.arange(context_length + 1)).clamp(max=len(data) - 1)]",
        ),
    ),
    edit(
        "exact_text_refused",
        "get_batch",
        "context_length + 1 tokens are enough.",
        ("if len(data) < context_length + 1:", "if len(data) <= context_length + 1:"),
    ),
    edit(
        "empty_sizes_accepted",
        "get_batch",
        "A batch_size or context_length below 1 is accepted.",
        ("if batch_size < 1 or context_length < 1:", "if batch_size < 0 or context_length < 0:"),
    ),
    edit(
        "time_first",
        "get_batch",
        "Rows and columns are swapped: (batch_size, context_length).",
        ("return pieces[:, :-1], pieces[:, 1:]", "return pieces[:, :-1].T, pieces[:, 1:].T"),
    ),
    edit(
        "long_pieces",
        "get_batch",
        "x has the last target in it as well: context_length columns are wanted.",
        ("return pieces[:, :-1], pieces[:, 1:]", "return pieces, pieces[:, 1:]"),
    ),
    # CharVocabulary
    edit(
        "order_of_appearance",
        "CharVocabulary",
        "Ids follow the order in which characters appear: sort them, so that they do not depend on how the text goes.",
        ("sorted(set(text))", "dict.fromkeys(text)"),
    ),
    edit(
        "ids_from_one",
        "CharVocabulary",
        "Ids begin with 1: they begin with 0.",
        ("enumerate(self.chars)", "enumerate(self.chars, 1)"),
    ),
    edit(
        "sorted_backwards",
        "CharVocabulary",
        "The characters are sorted backwards.",
        ("sorted(set(text))", "sorted(set(text), reverse=True)"),
    ),
    edit(
        "upper_and_lower_case_alike",
        "CharVocabulary",
        "Upper and lower case are the same to it: they are different characters.",
        ("sorted(set(text))", "sorted(set(text.lower()))"),
        ("for char in text], dtype", "for char in text.lower()], dtype"),
        ("set(text) - set(self.chars)", "set(text.lower()) - set(self.chars)"),
    ),
    edit(
        "white_space_dropped",
        "CharVocabulary",
        "White space is dropped: it is text as well.",
        ("sorted(set(text))", "sorted(set(text.strip()))"),
    ),
    edit(
        "unknown_characters_skipped",
        "CharVocabulary",
        "Characters that the vocabulary does not have are skipped: refuse them, or the text changes without a word.",
        ("if unknown:", "if False:"),
        ("for char in text], dtype", "for char in text if char in self._ids], dtype"),
    ),
    edit(
        "unknown_characters_are_zero",
        "CharVocabulary",
        "Characters that the vocabulary does not have become id 0: refuse them.",
        ("if unknown:", "if False:"),
        ("self._ids[char] for", "self._ids.get(char, 0) for"),
    ),
    edit(
        "negative_ids_count_from_the_end",
        "CharVocabulary",
        "A negative id counts from the end, as Python's indices do: it is no id, refuse it.",
        ("if len(ids) and not 0 <= ids.min() <= ids.max() < len(self):", "if len(ids) and not ids.max() < len(self):"),
    ),
    edit(
        "nothing_not_encoded_as_int64",
        "CharVocabulary",
        "The encoding of an empty text is float32, as torch.tensor([]) is: say dtype=torch.long.",
        (", dtype=torch.long)", ")"),
    ),
    edit(
        "ids_shared_by_all",
        "CharVocabulary",
        "The ids belong to the class: a second vocabulary changes the first one's. Make them in __init__.",
        (
            "        self._ids = {char: i for i, char in enumerate(self.chars)}\n",
            "        CharVocabulary._ids = {char: i for i, char in enumerate(self.chars)}\n",
        ),
    ),
    edit(
        "float_ids",
        "CharVocabulary",
        "Ids are int32: int64 is wanted.",
        ("dtype=torch.long", "dtype=torch.int32"),
    ),
    # save_checkpoint
    edit(
        "written_over_the_old_file",
        "save_checkpoint",
        "The old file is written over: where that is interrupted, there is neither the old one nor the new "
        "one. Write another one and os.replace it.",
        ('unfinished = Path(f"{path}.unfinished")', "unfinished = Path(path)"),
        ("    finally:\n        unfinished.unlink(missing_ok=True)", "    finally:\n        pass"),
    ),
    edit(
        "saved_in_memory_then_written_over",
        "save_checkpoint",
        "The bytes are complete before they are written, but they are written over the old file: a full disk "
        "leaves half of them.",
        (
            '        with open(unfinished, "wb") as file:\n            torch.save(state, file)\n            file.flush()\n'
            "            os.fsync(file.fileno())  # the content is on the disk before it gets the name\n"
            "        os.replace(unfinished, path)\n",
            "        import io\n        buffer = io.BytesIO()\n        torch.save(state, buffer)\n"
            "        Path(path).write_bytes(buffer.getvalue())\n",
        ),
    ),
    edit(
        "copied_over_the_old_file",
        "save_checkpoint",
        "The complete file is copied over the old one: a copy can be interrupted, a rename cannot. os.replace.",
        ("        os.replace(unfinished, path)\n", "        Path(path).write_bytes(unfinished.read_bytes())\n"),
    ),
    edit(
        "old_file_removed_first",
        "save_checkpoint",
        "The old file is removed before the new one is complete: os.replace takes its place in one piece.",
        ("    try:\n", "    Path(path).unlink(missing_ok=True)\n    try:\n"),
    ),
    edit(
        "unfinished_file_left_behind",
        "save_checkpoint",
        "Where saving fails, a piece of the new file is left behind: remove it in a finally.",
        ("        unfinished.unlink(missing_ok=True)\n", "        pass\n"),
    ),
    edit(
        "copy_left_behind",
        "save_checkpoint",
        "A second copy of the checkpoint is left in the folder: rename it, do not copy it.",
        (
            "        os.replace(unfinished, path)\n",
            '        os.replace(unfinished, path)\n        Path(f"{path}.backup").write_bytes(Path(path).read_bytes())\n',
        ),
    ),
    edit(
        "error_swallowed",
        "save_checkpoint",
        "An error while saving is swallowed: a run that cannot be saved has to say so.",
        ("    finally:\n        unfinished", "    except Exception:\n        pass\n    finally:\n        unfinished"),
    ),
    edit(
        "dropout_dice_not_saved",
        "save_checkpoint",
        "PyTorch's global random state is not saved, and dropout draws from it: torch.get_rng_state().",
        ('"global_generator": torch.get_rng_state()', '"global_generator": torch.Generator().get_state()'),
    ),
    edit(
        "generator_not_saved",
        "save_checkpoint",
        "The generator's state is not saved, only its seed: the run would draw its first batches once more.",
        ("generator.get_state()", "torch.Generator().manual_seed(generator.initial_seed()).get_state()"),
    ),
    edit(
        "buffers_not_saved",
        "save_checkpoint",
        "Only parameters are saved: a model has buffers as well. model.state_dict().",
        ("model.state_dict()", "model.state_dict() | {name: torch.zeros_like(x) for name, x in model.named_buffers()}"),
    ),
    edit(
        "optimiser_saved_as_new",
        "save_checkpoint",
        "The optimiser's state is not saved: the next step depends on it.",
        (
            '"optimizer": optimizer.state_dict()',
            "\"optimizer\": {**optimizer.state_dict(), **({'state': {}} if 'state' in optimizer.state_dict() else {})}",
        ),
    ),
    edit(
        "progress_of_the_top_level_only",
        "save_checkpoint",
        "What lies deep in progress is turned into text.",
        (
            '"progress": progress',
            '"progress": {key: value if not isinstance(value, list) else str(value) for key, value in progress.items()}',
        ),
    ),
    edit(
        "weights_in_half_precision",
        "save_checkpoint",
        "The weights are rounded to save room: then the run does not go on bit for bit.",
        ("model.state_dict()", "{k: x.bfloat16() if x.is_floating_point() else x for k, x in model.state_dict().items()}"),
    ),
    edit(
        "model_left_in_evaluation_mode",
        "save_checkpoint",
        "The model is put into evaluation mode: saving changes nothing.",
        ("model.state_dict()", "model.eval().state_dict()"),
    ),
    edit(
        "seeded_while_saving",
        "save_checkpoint",
        "A seed is set while saving: saving changes no random state.",
        ("torch.get_rng_state()", "torch.manual_seed(0).get_state()"),
    ),
    edit(
        "suffix_replaced",
        "save_checkpoint",
        "The name is changed: the file has to lie at `path`.",
        ("os.replace(unfinished, path)", 'os.replace(unfinished, Path(path).with_suffix(".ckpt"))'),
    ),
    # load_checkpoint
    edit(
        "programs_allowed",
        "load_checkpoint",
        "weights_only=False runs whatever program the file holds: weights_only=True.",
        ("weights_only=True", "weights_only=False"),
    ),
    edit(
        "programs_allowed_where_plain_data_fail",
        "load_checkpoint",
        "Where weights_only=True refuses, the file is loaded without it: that is the door that it was to shut.",
        (
            '    state = torch.load(path, map_location="cpu", weights_only=True)\n',
            '    try:\n        state = torch.load(path, map_location="cpu", weights_only=True)\n    except Exception:\n'
            '        state = torch.load(path, map_location="cpu", weights_only=False)\n',
        ),
    ),
    edit(
        "global_state_not_put_back",
        "load_checkpoint",
        "PyTorch's global random state is not put back: dropout goes on with other dice.",
        ('        torch.set_rng_state(state["global_generator"])\n', ""),
    ),
    edit(
        "global_state_always_put_back",
        "load_checkpoint",
        "Without a generator the global random state is put back, too: what is not handed over is left alone.",
        ('        torch.set_rng_state(state["global_generator"])\n', '    torch.set_rng_state(state["global_generator"])\n'),
    ),
    edit(
        "generator_not_put_back",
        "load_checkpoint",
        "The generator's state is not put back: other batches come.",
        ('        generator.set_state(state["generator"])\n', ""),
    ),
    edit(
        "optimiser_not_loaded",
        "load_checkpoint",
        "The optimiser's state is not put back: it begins anew.",
        ("    if optimizer is not None:\n", "    if False:\n"),
    ),
    edit(
        "optimiser_always_wanted",
        "load_checkpoint",
        "A model cannot be loaded without its optimiser: None is left alone.",
        ("    if optimizer is not None:\n        optimizer", "    optimizer"),
    ),
    edit(
        "weights_not_loaded",
        "load_checkpoint",
        "The weights are not put back.",
        ('    model.load_state_dict(state["model"])\n', ""),
    ),
    edit(
        "parameters_assigned",
        "load_checkpoint",
        "The parameters are replaced by new ones, and the optimiser goes on with the old: copy into them (assign=False).",
        ('model.load_state_dict(state["model"])', 'model.load_state_dict(state["model"], assign=True)'),
    ),
    edit(
        "only_parameters_loaded",
        "load_checkpoint",
        "Only parameters are put back: buffers belong to the model as well.",
        (
            '    model.load_state_dict(state["model"])\n',
            "    with torch.no_grad():\n        for name, p in model.named_parameters():\n"
            '            p.copy_(state["model"][name])\n',
        ),
    ),
    edit(
        "model_put_into_evaluation_mode",
        "load_checkpoint",
        "The model is put into evaluation mode: it stays in the mode in which it is.",
        ('    return state["progress"]\n', '    model.eval()\n    return state["progress"]\n'),
    ),
    edit(
        "everything_returned",
        "load_checkpoint",
        "Everything that was saved is returned: progress alone is wanted.",
        ('return state["progress"]', 'return {"progress": state["progress"]}'),
    ),
    edit(
        "gradients_switched_off",
        "load_checkpoint",
        "The parameters no longer require gradients after loading.",
        ('    return state["progress"]\n', '    model.requires_grad_(False)\n    return state["progress"]\n'),
    ),
    edit(
        "errors_of_loading_swallowed",
        "load_checkpoint",
        "A file that cannot be loaded gives an empty progress: that is an error, or a run begins anew without a word.",
        (
            '    state = torch.load(path, map_location="cpu", weights_only=True)\n',
            '    try:\n        state = torch.load(path, map_location="cpu", weights_only=True)\n'
            "    except Exception:\n        return {}\n",
        ),
    ),
    # evaluate
    edit(
        "mean_of_means",
        "evaluate",
        "The mean over batches is taken: a short one counts as much as a long one. Weigh each by its number of targets.",
        (
            "total = sum(cross_entropy(model(x)[0], y).item() * y.numel() for x, y in batches if y.numel())",
            "losses = [cross_entropy(model(x)[0], y).item() for x, y in batches if y.numel()]\n"
            "            total = sum(losses) / len(losses) * (len(data) - 1)",
        ),
    ),
    edit(
        "short_window_left_out",
        "evaluate",
        "The last, shorter window is left out: every token but the first counts.",
        ("[*zip(*whole), (rest[:, :-1], rest[:, 1:])]", "list(zip(*whole)) or [(rest[:, :-1], rest[:, 1:])]"),
        ("/ (len(data) - 1)\n", "/ max(n_whole, 1)\n"),
    ),
    edit(
        "divided_by_all_tokens",
        "evaluate",
        "The first token is counted as well: nothing predicts it. Divide by len(data) - 1.",
        ("return total / (len(data) - 1)", "return total / len(data)"),
    ),
    edit(
        "stays_in_training_mode",
        "evaluate",
        "Dropout is on: call model.eval() first.",
        ("    model.eval()\n", "    model.train()\n"),
    ),
    edit(
        "mode_not_restored",
        "evaluate",
        "The model stays in evaluation mode: dropout is off for the rest of the run.",
        ("            module.training = mode\n", "            pass\n"),
    ),
    edit(
        "everything_put_into_training_mode",
        "evaluate",
        "Everything is put into training mode afterwards: put back each module's own mode.",
        ("            module.training = mode\n", "            module.training = True\n"),
    ),
    edit(
        "mode_of_the_top_only",
        "evaluate",
        "All parts get the mode that the whole model had: each has its own.",
        ("            module.training = mode\n", "            module.training = modes[model]\n"),
    ),
    edit(
        "graph_recorded",
        "evaluate",
        "A graph is recorded that nobody needs: torch.no_grad().",
        ("with torch.no_grad():", "with torch.enable_grad():"),
    ),
    edit(
        "gradients_switched_off_for_good",
        "evaluate",
        "Gradients are switched off for good: use torch.no_grad() as a context.",
        (
            "        with torch.no_grad():\n            total",
            "        torch.set_grad_enabled(False)\n        if True:\n            total",
        ),
    ),
    edit(
        "overlapping_windows",
        "evaluate",
        "Windows overlap: tokens are counted several times. Each window begins where the one before ended.",
        (
            "    batches = [*zip(*whole), (rest[:, :-1], rest[:, 1:])]\n",
            "    batches = [(data[None, i : i + context_length], data[None, i + 1 : i + 1 + context_length])"
            " for i in range(max(1, len(data) - context_length))]\n"
            "    batches = [(x[:, : y.shape[1]], y) for x, y in batches]\n",
        ),
        ("return total / (len(data) - 1)", "return total / sum(y.numel() for _, y in batches)"),
    ),
    edit(
        "first_target_of_each_window_lost",
        "evaluate",
        "One target is lost at the end of each window: the target of its last token is the first of the next window.",
        (
            "    batches = [*zip(*whole), (rest[:, :-1], rest[:, 1:])]\n",
            "    batches = [(data[None, i : i + context_length][:, :-1], data[None, i + 1 : i + context_length])"
            " for i in range(0, len(data), context_length)]\n",
        ),
        ("return total / (len(data) - 1)", "return total / max(1, sum(y.numel() for _, y in batches))"),
    ),
    edit(
        "everything_in_one_pass",
        "evaluate",
        "All windows go through the model at once: batch_size at a time.",
        (".split(batch_size)", ".split(len(data))"),
    ),
    edit(
        "tensor_returned",
        "evaluate",
        "A tensor is returned: a Python float is wanted.",
        ("return total / (len(data) - 1)", "return torch.tensor(total / (len(data) - 1))"),
    ),
    edit(
        "perplexity",
        "evaluate",
        "That is the perplexity, e to the loss: the loss in nats is wanted.",
        ("return total / (len(data) - 1)", "return math.exp(total / (len(data) - 1))"),
    ),
    edit(
        "nothing_to_predict_accepted",
        "evaluate",
        "A text without a second token is not refused: there is nothing to predict, so raise a ValueError.",
        ("if len(data) < 2:", "if False:"),
        ("return total / (len(data) - 1)", "return total / max(1, len(data) - 1)"),
    ),
    edit(
        "evaluated_on_random_batches",
        "evaluate",
        "Random pieces are evaluated: all windows, one after the other, so that there is no chance in the number.",
        (
            "    batches = [*zip(*whole), (rest[:, :-1], rest[:, 1:])]\n",
            "    g = torch.Generator().manual_seed(0)\n    t = min(context_length, len(data) - 1)\n"
            "    batches = [get_batch(data, batch_size, t, g) for _ in range(10)]\n",
        ),
        ("return total / (len(data) - 1)", "return total / sum(y.numel() for _, y in batches)"),
    ),
    edit(
        "gradients_removed",
        "evaluate",
        "Gradients are set to None: evaluation leaves them as they are.",
        ("    model.eval()\n", "    model.eval()\n    model.zero_grad()\n"),
    ),
    edit(
        "weighed_by_rows",
        "evaluate",
        "Losses are weighed by rows: a short row has fewer targets. Multiply by y.numel().",
        ("y.numel() for x", "y.shape[0] * context_length for x"),
    ),
    edit(
        "empty_window_counted",
        "evaluate",
        "Where the text divides evenly, an empty window is left, whose mean is NaN: leave it out.",
        (" if y.numel())", ")"),
    ),
    # train
    edit(
        "loss_after_the_update",
        "train",
        "The history has the loss of after the update: it is the one whose gradient was taken.",
        (
            '        history["loss"].append(total)\n',
            "        with torch.no_grad():\n            total = cross_entropy(model(x)[0], y).item()\n"
            '        history["loss"].append(total)\n',
        ),
    ),
    edit(
        "schedule_ends_one_step_early",
        "train",
        "The schedule's total is n_steps - 1: it is n_steps.",
        (
            "config.warmup_steps, config.n_steps, config",
            "config.warmup_steps, max(config.n_steps - 1, config.warmup_steps), config",
        ),
    ),
    edit(
        "history_shared_by_all_runs",
        "train",
        "All runs write into one history: make a new one for each.",
        ('    history = {"loss"', '    history = vars(train).setdefault("history", {"loss"'),
        ('"validation_loss": []}\n', '"validation_loss": []})\n'),
    ),
    edit(
        "gradients_never_zeroed",
        "train",
        "Gradients of earlier steps are never set to None and add up.",
        ("        optimizer.zero_grad()\n", ""),
    ),
    edit(
        "zeroed_in_every_pass",
        "train",
        "Gradients are set to None before each pass: only the last one counts. Once for each step.",
        ("            loss.backward()\n", "            optimizer.zero_grad()\n            loss.backward()\n"),
    ),
    edit(
        "zeroed_after_the_step_only",
        "train",
        "Gradients that were there before train began count in the first step: set them to None before the first pass.",
        ("        optimizer.zero_grad()\n", ""),
        ("        optimizer.step()\n", "        optimizer.step()\n        optimizer.zero_grad()\n"),
    ),
    edit(
        "passes_undivided",
        "train",
        "Neither loss nor gradient of a pass is divided by accumulation_steps: they add up to more than the batch's mean.",
        ("cross_entropy(model(x_part)[0], y_part) / n_passes", "cross_entropy(model(x_part)[0], y_part)"),
    ),
    edit(
        "passes_not_weighted",
        "train",
        "Each pass counts in full: the gradient is accumulation_steps times too long. Divide each loss by their number.",
        ("cross_entropy(model(x_part)[0], y_part) / n_passes", "cross_entropy(model(x_part)[0], y_part)"),
        ("total += loss.item()", "total += loss.item() / n_passes"),
    ),
    edit(
        "loss_of_the_last_pass",
        "train",
        "The history has the loss of the last pass: it is the mean over the whole batch.",
        ("total += loss.item()", "total = loss.item() * n_passes"),
    ),
    edit(
        "loss_of_all_passes_added",
        "train",
        "The history has the sum of the passes' losses: it is the mean over the whole batch.",
        ("total += loss.item()", "total += loss.item() * n_passes"),
    ),
    edit(
        "a_step_for_each_pass",
        "train",
        "There is a step for each pass: passes add up, and one step follows.",
        (
            "            total += loss.item()\n",
            "            total += loss.item()\n            if x_part is not x and n_passes > 1:\n"
            "                optimizer.step()\n",
        ),
    ),
    edit(
        "one_pass_for_everything",
        "train",
        "The whole batch goes through the model at once: in accumulation_steps passes.",
        ("zip(x.chunk(n_passes), y.chunk(n_passes))", "[(x, y)]"),
        (" / n_passes  #", "  #"),
    ),
    edit(
        "clipped_in_every_pass",
        "train",
        "The gradient is clipped after each pass: clip the sum of all, once.",
        (
            "            total += loss.item()\n",
            "            total += loss.item()\n            clip_grad_norm(model.parameters(), config.max_norm)\n",
        ),
    ),
    edit(
        "not_clipped",
        "train",
        "The gradient is not clipped, its norm is only measured.",
        ("clip_grad_norm(model.parameters(), config.max_norm)", "clip_grad_norm(model.parameters(), math.inf)"),
    ),
    edit(
        "clipped_after_the_step",
        "train",
        "The gradient is clipped when the step is already done.",
        ("        norm = clip_grad_norm(model.parameters(), config.max_norm)\n", ""),
        (
            "        optimizer.step()\n",
            "        optimizer.step()\n        norm = clip_grad_norm(model.parameters(), config.max_norm)\n",
        ),
    ),
    edit(
        "norm_of_after_clipping",
        "train",
        "The history has the norm of after the clipping: that of before says how the run is doing.",
        ("append(float(norm))", "append(min(float(norm), config.max_norm))"),
    ),
    edit(
        "schedule_one_step_ahead",
        "train",
        "The schedule is one step ahead: the first step is step 0.",
        ("cosine_schedule(step, ", "cosine_schedule(step + 1, "),
    ),
    edit(
        "schedule_one_step_behind",
        "train",
        "lr is set after the step, so each step uses the rate of the one before.",
        (
            "        optimizer.lr = cosine_schedule(step, config.warmup_steps, config.n_steps, config.max_lr, "
            "config.min_lr)\n        optimizer.step()\n",
            "        optimizer.step()\n        optimizer.lr = cosine_schedule(step, config.warmup_steps, config.n_steps, "
            "config.max_lr, config.min_lr)\n",
        ),
    ),
    edit(
        "no_schedule",
        "train",
        "The learning rate is always max_lr: set optimizer.lr for each step.",
        ("optimizer.lr = cosine_schedule(step, config.warmup_steps, config.n_steps, config.max_lr, config.min_lr)", "pass"),
    ),
    edit(
        "schedule_without_warmup",
        "train",
        "warmup_steps is not passed on.",
        ("cosine_schedule(step, config.warmup_steps,", "cosine_schedule(step, 0,"),
    ),
    edit(
        "default_betas",
        "train",
        "The configuration's betas are not passed on to AdamW.",
        ("config.max_lr, config.betas, weight_decay", "config.max_lr, weight_decay"),
    ),
    edit(
        "default_weight_decay",
        "train",
        "The configuration's weight_decay is not passed on to AdamW.",
        (", weight_decay=config.weight_decay)", ")"),
    ),
    edit(
        "trained_with_sgd",
        "train",
        "The steps are SGD's: AdamW is wanted.",
        (
            "AdamW(model.parameters(), config.max_lr, config.betas, weight_decay=config.weight_decay)",
            "SGD(model.parameters(), config.max_lr)",
        ),
    ),
    edit(
        "always_the_same_batch",
        "train",
        "One batch is drawn for the whole run: draw one for each step.",
        (
            "    model.train()\n",
            "    model.train()\n    x, y = get_batch(train_data, config.batch_size, config.context_length, generator)\n",
        ),
        (
            "        x, y = get_batch(train_data, config.batch_size, config.context_length, generator)\n        optimizer",
            "        optimizer",
        ),
    ),
    edit(
        "generator_seeded_in_every_step",
        "train",
        "The generator is seeded at every step: the same batch comes each time.",
        (
            "get_batch(train_data, config.batch_size, config.context_length, generator)",
            "get_batch(train_data, config.batch_size, config.context_length, generator.manual_seed(config.seed))",
        ),
    ),
    edit(
        "seed_ignored",
        "train",
        "The seed of the configuration is not used.",
        ("torch.Generator().manual_seed(config.seed)", "torch.Generator().manual_seed(1337)"),
    ),
    edit(
        "global_seed_set",
        "train",
        "torch.manual_seed changes the random state of the whole program: seed a generator of your own.",
        (
            "generator = torch.Generator().manual_seed(config.seed)",
            "generator = torch.Generator().manual_seed(config.seed)\n    torch.manual_seed(config.seed)",
        ),
    ),
    edit(
        "a_batch_for_each_pass",
        "train",
        "Each pass draws a whole batch: one batch for each step, split into passes.",
        (
            "        for x_part, y_part in zip(x.chunk(n_passes), y.chunk(n_passes)):\n",
            "        for i in range(n_passes):\n            if i:\n                x, y = get_batch(train_data, "
            "config.batch_size, config.context_length, generator)\n"
            "            x_part, y_part = x, y\n",
        ),
    ),
    edit(
        "learns_the_validation_data",
        "train",
        "Batches are drawn from the validation data.",
        ("get_batch(train_data,", "get_batch(validation_data,"),
    ),
    edit(
        "evaluated_on_the_training_data",
        "train",
        "The training data is evaluated: the validation data says what was understood.",
        ("evaluate(model, validation_data,", "evaluate(model, train_data,"),
    ),
    edit(
        "never_in_training_mode",
        "train",
        "The model that came in evaluation mode is trained in it: model.train().",
        ("    model.train()\n", ""),
    ),
    edit(
        "no_evaluation_before_the_first_step",
        "train",
        "There is no evaluation before step 0: it says where the run begins.",
        ("if step % config.eval_every == 0:", "if step % config.eval_every == 0 and step:"),
    ),
    edit(
        "no_evaluation_at_the_end",
        "train",
        "There is no evaluation after the last step.",
        ("    validate()\n    return history", "    return history"),
    ),
    edit(
        "evaluated_twice_at_the_end",
        "train",
        "Where the last step is a multiple of eval_every, the run is evaluated twice after it.",
        (
            '        history["grad_norm"].append(float(norm))\n',
            '        history["grad_norm"].append(float(norm))\n        if step + 1 == config.n_steps and config.n_steps '
            "% config.eval_every == 0:\n            validate()\n",
        ),
    ),
    edit(
        "validation_step_one_too_few",
        "train",
        "validation_step is the index of the last step: it is the number of steps done.",
        (
            'history["validation_step"].append(len(history["loss"]))',
            'history["validation_step"].append(max(0, len(history["loss"]) - 1))',
        ),
    ),
    edit(
        "validation_batches_as_large_as_all_passes",
        "train",
        "Evaluation takes batch_size sequences at a time: where training has to split them, evaluation has to as well.",
        ("batch_size = config.batch_size // n_passes", "batch_size = config.batch_size"),
    ),
    edit(
        "no_checkpoint",
        "train",
        "No checkpoint is written.",
        ("            save_checkpoint(config.checkpoint_path, model, optimizer, generator, history)\n", "            pass\n"),
    ),
    edit(
        "no_checkpoint_at_the_end",
        "train",
        "No checkpoint is written after the last step: a run that is done would do its last steps again.",
        (
            "((step + 1) % config.checkpoint_every == 0 or step + 1 == config.n_steps)",
            "(step + 1) % config.checkpoint_every == 0",
        ),
    ),
    edit(
        "checkpoint_only_at_the_end",
        "train",
        "The only checkpoint comes after the last step: one every checkpoint_every steps.",
        ("((step + 1) % config.checkpoint_every == 0 or step + 1 == config.n_steps)", "step + 1 == config.n_steps"),
    ),
    edit(
        "checkpoint_one_step_early",
        "train",
        "The checkpoint comes when step is a multiple of checkpoint_every: step + 1 is the number of steps done.",
        ("((step + 1) % config.checkpoint_every == 0 or", "(step % config.checkpoint_every == 0 or"),
    ),
    edit(
        "checkpoint_one_step_too_soon",
        "train",
        "The checkpoint comes one step before checkpoint_every steps are done: when step + 1 is a multiple of it.",
        ("((step + 1) % config.checkpoint_every == 0 or", "((step - 1) % config.checkpoint_every == 0 or"),
    ),
    edit(
        "checkpoint_never_loaded",
        "train",
        "A checkpoint that is there is not loaded: the run begins anew.",
        ("if config.checkpoint_path is not None and Path(config.checkpoint_path).exists():", "if False:"),
    ),
    edit(
        "history_begins_anew",
        "train",
        "The weights are loaded, the history is not: the run counts from 0 and loses what it knew.",
        ("        history = load_checkpoint(", "        load_checkpoint("),
    ),
    edit(
        "optimiser_begins_anew",
        "train",
        "The optimiser is not loaded: its means begin as 0.",
        (
            "load_checkpoint(config.checkpoint_path, model, optimizer, generator)",
            "load_checkpoint(config.checkpoint_path, model, None, generator)",
        ),
    ),
    edit(
        "batches_begin_anew",
        "train",
        "The generator is not loaded: the run sees its first batches again.",
        (
            "load_checkpoint(config.checkpoint_path, model, optimizer, generator)",
            "load_checkpoint(config.checkpoint_path, model, optimizer)",
        ),
    ),
    edit(
        "loop_begins_at_zero",
        "train",
        "The loop begins with step 0 after loading: begin with the step that comes next.",
        ('range(len(history["loss"]), config.n_steps)', "range(config.n_steps)"),
    ),
    edit(
        "step_done_twice",
        "train",
        "The last saved step is done again after loading.",
        ('range(len(history["loss"]), config.n_steps)', 'range(max(0, len(history["loss"]) - 1), config.n_steps)'),
    ),
    edit(
        "evaluated_again_after_loading",
        "train",
        "Loading is followed by an evaluation that the uninterrupted run does not have.",
        (
            "        history = load_checkpoint(config.checkpoint_path, model, optimizer, generator)\n",
            "        history = load_checkpoint(config.checkpoint_path, model, optimizer, generator)\n        resumed = True\n",
        ),
        (
            "    model.train()\n",
            '    model.train()\n    if history["loss"] and len(history["loss"]) < config.n_steps and len(history["loss"]) '
            "% config.eval_every:\n        validate()\n",
        ),
    ),
    edit(
        "always_a_progress_bar",
        "train",
        "The progress bar is written into pipes and files: only if sys.stderr.isatty().",
        ("if sys.stderr.isatty():", "if True:"),
    ),
    edit(
        "stdout_is_asked",
        "train",
        "stdout is asked whether it is a terminal, and the bar goes to stderr: ask sys.stderr.",
        ("if sys.stderr.isatty():", "if sys.stdout.isatty():"),
    ),
    edit(
        "never_a_progress_bar",
        "train",
        "There is no progress bar on a terminal.",
        ("if sys.stderr.isatty():", "if False:"),
    ),
    edit(
        "progress_on_stdout",
        "train",
        "The progress bar is written to stdout, where results go: sys.stderr.",
        ("file=sys.stderr, flush=True", "flush=True"),
    ),
    edit(
        "losses_printed",
        "train",
        "Losses are printed even where the output is piped.",
        (
            '        history["validation_loss"].append(',
            '        print("evaluating")\n        history["validation_loss"].append(',
        ),
    ),
    edit(
        "tensors_in_the_history",
        "train",
        "The history holds tensors: Python floats are wanted.",
        ("append(float(norm))", "append(norm)"),
    ),
    # What does not show at first sight
    edit(
        "bfloat16_forgotten",
        "cross_entropy",
        "float16 is computed in float32, bfloat16 is not: it has even fewer digits.",
        ("in (torch.float16, torch.bfloat16)", "in (torch.float16,)"),
    ),
    edit(
        "gradient_of_contiguous_logits_only",
        "cross_entropy_gradient",
        "view takes only what lies in memory row by row: logits may lie there in any order. Use reshape, or no reshaping at all.",
        ("wide.softmax(-1)", "wide.view(-1, wide.shape[-1]).softmax(-1).view(wide.shape)"),
    ),
    edit(
        "list_of_parameters_shared",
        "SGD",
        "The list that was passed is kept itself: it is the caller's, who may change it. Make one of your own.",
        ("self.params = list(params)", "self.params = params if isinstance(params, list) else list(params)"),
    ),
    edit(
        "large_gradients_clamped",
        "SGD",
        "Gradients are cut to an interval: they are taken as they are.",
        ("add_(p.grad)", "add_(p.grad.clamp(-5, 5))"),
    ),
    edit(
        "gradient_of_zeros_skipped",
        "SGD",
        "A parameter whose gradient is all zeros is left alone: only one whose grad is None is; the velocity goes on.",
        ("if p.grad is not None:", "if p.grad is not None and p.grad.any():"),
    ),
    edit(
        "squares_added_up_in_bfloat16",
        "clip_grad_norm",
        "The sum over all gradients is in their own dtype: in bfloat16 256 + 1 is 256. Add up in float32.",
        (
            "norm = torch.stack([grad.double().square().sum() for grad in grads]).sum().sqrt()",
            "norm = sum(grad.square().sum() if grad.dtype == torch.bfloat16 else grad.double().square().sum() for grad in grads)"
            ".sqrt()",
        ),
    ),
    edit(
        "norm_of_one_dimension",
        "clip_grad_norm",
        "The norm comes back with a dimension of size 1: it is a scalar.",
        ("    return norm\n", "    return norm[None]\n"),
    ),
    edit(
        "negative_max_norm_accepted_without_gradients",
        "clip_grad_norm",
        "A negative max_norm is accepted where there are no gradients: ask for it first.",
        ("if not max_norm >= 0:", "params = list(params)\n    if not max_norm >= 0 and any(p.grad is not None for p in params):"),
    ),
    edit(
        "ids_as_bytes",
        "CharVocabulary",
        "Ids go through a byte: a vocabulary may have more than 256 characters.",
        ("for i in ids.tolist()", "for i in ids.to(torch.uint8).tolist()"),
    ),
    edit(
        "length_from_the_largest_id",
        "CharVocabulary",
        "The length is one more than the largest id: where there are no characters there is no largest, and the length is 0.",
        ("return len(self.chars)", "return max(self._ids.values()) + 1"),
    ),
    edit(
        "old_file_removed_before_the_new_one_comes",
        "save_checkpoint",
        "The old checkpoint is removed before the new one takes its place: for a moment there is none. os.replace does both.",
        (
            "        os.replace(unfinished, path)",
            "        Path(path).unlink(missing_ok=True)\n        os.rename(unfinished, path)",
        ),
    ),
    edit(
        "old_file_put_aside",
        "save_checkpoint",
        "The old checkpoint is put aside before the new one takes its place: for a moment there is none. Use os.replace.",
        (
            "        os.replace(unfinished, path)",
            "        aside = Path(f'{path}.old')\n        if Path(path).exists():\n            os.rename(path, aside)\n"
            "        os.rename(unfinished, path)\n        aside.unlink(missing_ok=True)",
        ),
    ),
    edit(
        "written_in_another_folder",
        "save_checkpoint",
        "The new file is written in the folder of temporary files: that may be another disk, from which it has to be copied.",
        ('Path(f"{path}.unfinished")', 'Path(os.environ.get("TMPDIR", "/tmp")) / "unfinished"'),
    ),
    edit(
        "cleared_up_after_some_errors",
        "save_checkpoint",
        "The unfinished file is removed after some errors only: a value that cannot be saved raises others. Use finally.",
        (
            "    finally:\n        unfinished.unlink(missing_ok=True)",
            "    except OSError:\n        unfinished.unlink(missing_ok=True)\n        raise",
        ),
    ),
    edit(
        "gradients_cleared_while_saving",
        "save_checkpoint",
        "Saving clears the model's gradients: it changes nothing.",
        ("    state = {", "    model.zero_grad()\n    state = {"),
    ),
    edit(
        "lists_come_back_as_tuples",
        "load_checkpoint",
        "Lists in progress come back as tuples: a history goes on growing, and lists are lists.",
        ('return state["progress"]', 'return {k: tuple(v) if isinstance(v, list) else v for k, v in state["progress"].items()}'),
    ),
    edit(
        "checkpoint_remembered",
        "load_checkpoint",
        "What was loaded is remembered by its path: the file may be another one by now.",
        (
            'state = torch.load(path, map_location="cpu", weights_only=True)',
            "known = load_checkpoint.__dict__\n    state = known.get(str(path)) or torch.load(path, weights_only=True)\n"
            "    known[str(path)] = state",
        ),
    ),
    edit(
        "recording_switched_on_at_the_end",
        "evaluate",
        "Gradients are recorded again in any case: they may have been switched off by the caller. Use `with torch.no_grad():`.",
        ("    return total", "    torch.set_grad_enabled(True)\n    return total"),
    ),
    edit(
        "parameters_frozen",
        "evaluate",
        "The parameters require no gradient afterwards, and nothing can be learnt any more: use torch.no_grad().",
        ("    model.eval()\n", "    model.eval()\n    model.requires_grad_(False)\n"),
    ),
    edit(
        "modes_of_children_only",
        "evaluate",
        "Only the modes of the model and of its children are put back: children have children. Go through model.modules().",
        ("for module in model.modules()}", "for module in [model, *model.children()]}"),
    ),
    edit(
        "no_norm_where_nothing_is_clipped",
        "train",
        "With a max_norm of infinity the norm in the history is not that of the gradient: nothing is clipped, but it has a norm.",
        ("        norm = clip", "        norm = torch.tensor(0.0) if math.isinf(config.max_norm) else clip"),
    ),
    # rarer mistakes, of every exercise
    edit(
        "loss_of_halves_detached",
        "cross_entropy",
        "In half precision the loss has no graph: logits.float() keeps it, logits.detach() and .data do not.",
        ("wide = logits.float() if", "wide = logits.detach().float() if"),
    ),
    edit(
        "gradient_of_float16_in_float16",
        "cross_entropy_gradient",
        "Only bfloat16 is computed in float32: float16 has to be, too, or what is left of p - 1 near p = 1 is rounding.",
        ("in (torch.float16, torch.bfloat16)", "== torch.bfloat16"),
    ),
    edit(
        "eps_in_the_place_of_the_decay",
        "AdamW",
        "The arguments have another order than the stub's: AdamW(params, lr, betas, eps, weight_decay) is called wrongly then.",
        (
            "        eps: float = 1e-8,\n        weight_decay: float = 1e-2,\n",
            "        weight_decay: float = 1e-2,\n        eps: float = 1e-8,\n",
        ),
    ),
    edit(
        "factor_in_the_gradients_dtype",
        "clip_grad_norm",
        "The factor max_norm / norm is rounded to the gradient's dtype: float16 has no numbers between 0 and 6e-8.",
        ("grad.mul_(max_norm / norm)", "grad.mul_((max_norm / norm).to(grad.dtype))"),
    ),
    edit(
        "generator_by_another_name",
        "get_batch",
        "An argument has another name than in the stub: whoever calls get_batch(..., generator=g) gets an error.",
        ("generator: torch.Generator)", "rng: torch.Generator)"),
        ("generator=generator", "generator=rng"),
    ),
    edit(
        "places_rounded",
        "get_batch",
        "Places are uniform numbers that are rounded: the first and the last one come half as often. Round down, from n places.",
        (
            "torch.randint(len(data) - context_length, (batch_size, 1), generator=generator)",
            "(torch.rand(batch_size, 1, generator=generator) * (len(data) - context_length - 1)).round().long()",
        ),
    ),
    edit(
        "places_in_the_datas_dtype",
        "get_batch",
        "Places are kept in the dtype of the data: in uint8 they begin again at 0 after 255.",
        ("    pieces = data", "    starts = starts.to(data.dtype).long().clamp(min=0)\n    pieces = data"),
    ),
    edit(
        "places_drawn_in_the_datas_dtype",
        "get_batch",
        "Places are drawn in the dtype of the data, and int16 has no room for those of a text of more than 32,768 tokens.",
        (
            "(batch_size, 1), generator=generator)",
            "(batch_size, 1), generator=generator, dtype=torch.int64 if data.dtype == torch.uint8 else data.dtype)",
        ),
    ),
    edit(
        "two_bytes_of_places",
        "get_batch",
        "No place beyond the first 65,536 is ever drawn: a text may be longer.",
        ("torch.randint(len(data) - context_length,", "torch.randint(min(len(data) - context_length, 2**16),"),
    ),
    edit(
        "weights_in_single_precision",
        "save_checkpoint",
        "What is float64 in the model is saved as float32: to the last bit means each tensor in its own dtype.",
        ("model.state_dict()", "{name: x.float() if x.is_floating_point() else x for name, x in model.state_dict().items()}"),
    ),
    edit(
        "path_has_to_be_text",
        "train",
        "checkpoint_path may be a Path, too, and a Path cannot be added to a text.",
        ("Path(config.checkpoint_path).exists()", 'os.path.exists("" + config.checkpoint_path)'),
    ),
    edit(
        "no_decay_taken_for_the_usual_one",
        "train",
        "A weight_decay of 0 in the config becomes another one: `or` takes 0 for nothing. Hand over what the config says.",
        ("weight_decay=config.weight_decay", "weight_decay=config.weight_decay or 0.1"),
    ),
    edit(
        "float64_squared_in_float32_beside_others",
        "clip_grad_norm",
        "Squares of float64 are taken in float32 where the first gradient is no float64, and may be infinite there.",
        ("grad.double().square()", "grad.to(grads[0].dtype if grads[0].dtype == torch.float64 else torch.float32).square()"),
    ),
]


@mutant("SGD", "The class keeps the velocities by the parameter's name in a dict of the class: optimisers share them. Use self.")
class VelocitiesOfTheClass:
    kept = {}

    def __init__(self, params, lr, momentum=0.0):
        self.params, self.lr, self.momentum = list(params), lr, momentum
        if not self.params or not lr >= 0 or not 0 <= momentum < 1:
            raise ValueError("arguments")
        for i, p in enumerate(self.params):
            self.kept.setdefault(i, torch.zeros_like(p))

    @torch.no_grad()
    def step(self):
        for i, p in enumerate(self.params):
            if p.grad is not None:
                self.kept[i] = self.momentum * self.kept[i] + p.grad
                p -= self.lr * self.kept[i]

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def state_dict(self):
        return {"lr": self.lr, "momentum": self.momentum, "kept": [self.kept[i].clone() for i in range(len(self.params))]}

    def load_state_dict(self, state):
        if len(state["kept"]) != len(self.params):
            raise ValueError("parameters")
        self.lr, self.momentum = state["lr"], state["momentum"]
        self.kept.update({i: x.clone() for i, x in enumerate(state["kept"])})


@mutant("cosine_schedule", "Everything is rounded to six digits.")
def rounded(step, warmup_steps, total_steps, max_lr, min_lr):
    if step < 0 or not 0 <= warmup_steps <= total_steps:
        raise ValueError("step")
    if step >= total_steps:
        return min_lr
    if step < warmup_steps:
        return round(max_lr * (step + 1) / (warmup_steps + 1), 6)
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    return round(min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * done)) / 2, 6)


@mutant("get_batch", "The rows of a batch never come from one place: draw each place by itself, so that two may be the same.")
def places_that_differ(data, batch_size, context_length, generator):
    if batch_size < 1 or context_length < 1 or len(data) < context_length + 1:
        raise ValueError("sizes")
    n_places = len(data) - context_length
    starts = torch.randperm(n_places, generator=generator)[:batch_size]
    if batch_size > n_places:
        starts = torch.randint(n_places, (batch_size,), generator=generator)
    pieces = data[starts[:, None] + torch.arange(context_length + 1)].long()
    return pieces[:, :-1], pieces[:, 1:]


@mutant("get_batch", "Tokens go through int32, which has no room for large ones: convert to int64 at once.")
def tokens_cut_to_int32(data, batch_size, context_length, generator):
    if batch_size < 1 or context_length < 1 or len(data) < context_length + 1:
        raise ValueError("sizes")
    starts = torch.randint(len(data) - context_length, (batch_size, 1), generator=generator)
    pieces = data.int()[starts + torch.arange(context_length + 1)].long()
    return pieces[:, :-1], pieces[:, 1:]


@mutant("get_batch", "A batch of one row is a view of the text: writing into it changes the text. Make a copy.")
def a_view_for_one_row(data, batch_size, context_length, generator):
    if batch_size < 1 or context_length < 1 or len(data) < context_length + 1:
        raise ValueError("sizes")
    starts = torch.randint(len(data) - context_length, (batch_size,), generator=generator).tolist()
    if batch_size == 1:
        (s,) = starts
        return data[None, s : s + context_length].long(), data[None, s + 1 : s + 1 + context_length].long()
    x = torch.stack([data[s : s + context_length] for s in starts]).long()
    return x, torch.stack([data[s + 1 : s + 1 + context_length] for s in starts]).long()


MUTANTS += [
    edit(
        "tokens_compared_in_half",
        "cross_entropy_gradient",
        "Tokens are compared in the logits' dtype, and bfloat16 has no 257: two tokens are taken for one. They are int64.",
        (
            "torch.zeros_like(wide).scatter(-1, targets.unsqueeze(-1), 1.0)",
            "(torch.arange(wide.shape[-1], dtype=logits.dtype) == targets.unsqueeze(-1).to(logits.dtype)).to(wide.dtype)",
        ),
    ),
    edit(
        "decoded_by_numpy",
        "CharVocabulary",
        "NumPy's texts lose a NUL at their end, and a NUL is a character like any other: join Python's.",
        (
            'return "".join(self.chars[i] for i in ids.tolist())',
            "import numpy as np\n\n"
            '        return "".join(np.array(list(self.chars), dtype=str)[ids.numpy()]) if len(ids) else ""',
        ),
    ),
    edit(
        "no_last_rate_taken_for_the_usual_one",
        "train",
        "A min_lr of 0 in the config becomes another one: `or` takes 0 for nothing. Hand over what the config says.",
        ("config.max_lr, config.min_lr)", "config.max_lr, config.min_lr or config.max_lr / 10)"),
    ),
]


# The other file of the module has a file of its own for its variants.
AUTOGRAD = runpy.run_path(str(Path(__file__).with_name("autograd_mutants.py")))
MUTANTS += AUTOGRAD["MUTANTS"]
globals().update({name: value for name, value in AUTOGRAD.items() if hasattr(value, "__variant__")})

MUTANTS += [
    edit(
        "parameters_saved_as_float32",
        "save_checkpoint",
        "Parameters are saved as float32: those of a float64 model come back rounded.",
        (
            '"model": model.state_dict(),',
            '"model": model.state_dict() | {name: p.detach().float() for name, p in model.named_parameters()},',
        ),
    ),
    edit(
        "norms_below_one_taken_as_one",
        "clip_grad_norm",
        "The factor is max_norm / max(norm, 1): where the norm is below 1, too much is taken away. Divide by the norm itself.",
        ("grad.mul_(max_norm / norm)", "grad.mul_(max_norm / max(norm, 1.0))"),
    ),
    edit(
        "cleared_up_after_a_few_kinds_of_errors",
        "save_checkpoint",
        "The unfinished file is removed after a few kinds of errors: what cannot be saved raises others, too. Use finally.",
        (
            "    finally:\n        unfinished.unlink(missing_ok=True)",
            "    except (OSError, RuntimeError, TypeError, AttributeError):\n        unfinished.unlink(missing_ok=True)\n"
            "        raise",
        ),
    ),
    edit(
        "no_checkpoint_of_a_short_run",
        "train",
        "A run of fewer steps than checkpoint_every leaves no checkpoint: one is written after the last step, too.",
        ("or step + 1 == config.n_steps):", "or step + 1 == config.n_steps > config.checkpoint_every):"),
    ),
    edit(
        "warmup_ends_before_the_last_step",
        "train",
        "warmup_steps is cut down to one less than n_steps: a run may be all warm-up.",
        ("cosine_schedule(step, config.warmup_steps,", "cosine_schedule(step, min(config.warmup_steps, config.n_steps - 1),"),
    ),
    edit(
        "gradient_divided_in_half",
        "cross_entropy_gradient",
        "The difference is rounded to half precision before it is divided, and once more after: divide first, round once.",
        (
            "((predicted - observed) / targets.numel()).to(logits.dtype)",
            "(predicted - observed).to(logits.dtype) / targets.numel()",
        ),
    ),
    edit(
        "norms_below_one_never_clipped",
        "clip_grad_norm",
        "Nothing is clipped where the norm is below 1: max_norm may be smaller still, and it alone counts.",
        ("if norm > max_norm:", "if norm >= 1.0 and norm > max_norm:"),
    ),
    edit(
        "velocity_is_the_gradient_without_momentum",
        "SGD",
        "Without momentum the velocity is the gradient's own tensor and changes with it: keep a copy.",
        (
            "for p, velocity in zip(self.params, self._velocities)",
            "for i, (p, velocity) in enumerate(zip(self.params, self._velocities))",
        ),
        (
            "velocity.mul_(self.momentum).add_(p.grad)",
            "velocity = self._velocities[i] = self.momentum * velocity + p.grad if self.momentum else p.grad",
        ),
    ),
    edit(
        "gradients_replaced_behind_their_tensors",
        "clip_grad_norm",
        "`grad.data = …` gives the gradient other memory: scale the numbers where they are, in place.",
        ("grad.mul_(max_norm / norm)", "grad.data = grad * (max_norm / norm)"),
    ),
    edit(
        "bar_on_stdout",
        "train",
        "The progress bar is written to stdout, where results go, and only its end to sys.stderr.",
        (
            'print(bar, end="" if step + 1 < config.n_steps else "\\n", file=sys.stderr, flush=True)',
            'print(bar, end="", flush=True)\n            print(file=sys.stderr)',
        ),
    ),
]


@mutant(
    "SGD",
    "The first velocity is the gradient's own tensor, into which the next gradient is written: begin with a copy.",
)
class FirstVelocityOfTheGradient:
    def __init__(self, params, lr, momentum=0.0):
        self.params, self.lr, self.momentum = list(params), lr, momentum
        if not self.params or not lr >= 0 or not 0 <= momentum < 1:
            raise ValueError("arguments")
        self.kept = [None for _ in self.params]

    @torch.no_grad()
    def step(self):
        for i, p in enumerate(self.params):
            if p.grad is not None:
                self.kept[i] = p.grad if self.kept[i] is None else self.momentum * self.kept[i] + p.grad
                p -= self.lr * self.kept[i]

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def state_dict(self):
        return {"lr": self.lr, "momentum": self.momentum, "kept": [None if v is None else v.clone() for v in self.kept]}

    def load_state_dict(self, state):
        if len(state["kept"]) != len(self.params):
            raise ValueError("parameters")
        self.lr, self.momentum = state["lr"], state["momentum"]
        self.kept = [None if v is None else v.clone() for v in state["kept"]]
