"""Wrong solutions, each with the sentence that a student who made that mistake should read."""

import math

import torch
from torch import nn

from autograder.testing.variants import edit, mutant

MUTANTS = [
    # GPTConfig
    edit(
        "d_ff_always_replaced",
        "GPTConfig",
        "A d_ff that was given must be kept: only None is replaced by 4 * d_model.",
        ("        if self.d_ff is None:\n            self.d_ff", "        if True:\n            self.d_ff"),
    ),
    edit(
        "d_ff_left_none",
        "GPTConfig",
        "d_ff stays None: replace it by 4 * d_model in __post_init__.",
        ("            self.d_ff = 4 * self.d_model  # a number by now\n", "            pass\n"),
    ),
    edit(
        "zero_d_ff_taken_for_missing",
        "GPTConfig",
        "d_ff=0 is a size that must be refused; `if not self.d_ff` takes it for a missing one. Ask `is None`.",
        ("if self.d_ff is not None", "if self.d_ff"),
        ("if self.d_ff is None", "if not self.d_ff"),
    ),
    edit(
        "zero_allowed",
        "GPTConfig",
        "A size of zero is accepted: every size must be at least 1.",
        ("size < 1", "size < 0"),
    ),
    edit(
        "fractions_allowed",
        "GPTConfig",
        "2.5 is accepted as a size: sizes are whole numbers.",
        ("not isinstance(size, int) or ", ""),
    ),
    edit(
        "d_ff_unchecked",
        "GPTConfig",
        "d_ff is a size too: check it like the others.",
        ("if self.d_ff is not None", "if False"),
    ),
    edit(
        "divisibility_unchecked",
        "GPTConfig",
        "n_heads must divide d_model: refuse it here, before split_heads fails.",
        ("if self.d_model % self.n_heads:", "if False:"),
    ),
    edit(
        "divisibility_backwards",
        "GPTConfig",
        "The remainder is taken the wrong way round: n_heads must divide d_model.",
        ("self.d_model % self.n_heads", "self.n_heads % self.d_model"),
    ),
    edit(
        "more_heads_than_channels_only",
        "GPTConfig",
        "It is not enough that there are no more heads than channels: n_heads must divide d_model.",
        ("self.d_model % self.n_heads", "self.d_model < self.n_heads"),
    ),
    edit(
        "untied_by_default",
        "GPTConfig",
        "tie_embeddings is True by default.",
        ("tie_embeddings: bool = True", "tie_embeddings: bool = False"),
    ),
    # next_token_loss
    edit(
        "ignored_positions_in_the_mean",
        "next_token_loss",
        "You divide by the number of all positions: those with ignore_index must not be counted.",
        (".mean()", ".sum() / counted.numel()"),
    ),
    edit(
        "ignore_index_forgotten",
        "next_token_loss",
        "Positions whose target is ignore_index must be left out.",
        ("targets != ignore_index", "torch.ones_like(targets, dtype=torch.bool)"),
    ),
    edit(
        "always_minus_100",
        "next_token_loss",
        "The ignored value is the argument ignore_index, not always -100.",
        ("targets != ignore_index", "targets != -100"),
    ),
    edit(
        "negative_targets_ignored",
        "next_token_loss",
        "A negative target gets through: only ignore_index may be negative, and any other target below 0 is an error.",
        ("targets != ignore_index", "(targets != ignore_index) & (targets >= 0)"),
    ),
    edit(
        "sum_of_the_losses",
        "next_token_loss",
        "This is the sum over the positions: the loss is their mean.",
        (".mean()", ".sum()"),
    ),
    edit(
        "log_forgotten",
        "next_token_loss",
        "The logarithm is missing: the loss is the mean of -log p, not of -p.",
        ("logits.log_softmax(-1)", "logits.softmax(-1)"),
    ),
    edit(
        "sign_forgotten",
        "next_token_loss",
        "The sign is missing: the loss is minus the mean log-probability.",
        ("return -logits", "return logits"),
    ),
    edit(
        "shifted_again",
        "next_token_loss",
        "Targets come shifted already: compare logits[i] with targets[i], not with targets[i + 1].",
        (
            "    counted = targets",
            "    if targets.ndim and targets.shape[-1] > 1:\n"
            "        logits, targets = logits[..., :-1, :], targets[..., 1:]\n    counted = targets",
        ),
    ),
    edit(
        "log_of_the_softmax",
        "next_token_loss",
        "log(softmax(z)) is -inf where the softmax underflows: log_softmax subtracts the log-sum-exp instead.",
        ("logits.log_softmax(-1)", "logits.softmax(-1).log()"),
    ),
    edit(
        "softmax_with_epsilon",
        "next_token_loss",
        "Adding a small number inside the logarithm changes the loss and hides large ones: use log_softmax.",
        ("logits.log_softmax(-1)", "(logits.softmax(-1) + 1e-9).log()"),
    ),
    edit(
        "softmax_over_positions",
        "next_token_loss",
        "The softmax must run over the vocabulary, the last dimension.",
        ("logits.log_softmax(-1)", "logits.log_softmax(0)"),
    ),
    edit(
        "in_bits",
        "next_token_loss",
        "This is the loss in bits: use the natural logarithm, so that it is in nats.",
        (".mean()", ".mean() / math.log(2)"),
    ),
    edit(
        "one_hot_times_log_probs",
        "next_token_loss",
        "0 * -inf is NaN: pick the log-probabilities that count, by gather or an index, instead of multiplying others by 0.",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "one_hot = torch.nn.functional.one_hot(targets, logits.shape[-1])\n"
            "    return -(one_hot * logits.log_softmax(-1)).sum(-1).mean()",
        ),
    ),
    edit(
        "negative_targets_wrap",
        "next_token_loss",
        "A target of -1 is not the last token: refuse targets below 0 other than ignore_index.",
        ("targets.min() < 0 or ", ""),
        (".gather(-1, targets[:, None])", ".gather(-1, targets[:, None] % logits.shape[-1])"),
    ),
    edit(
        "too_large_targets_clamped",
        "next_token_loss",
        "A target beyond the vocabulary must be refused, not clamped.",
        (" or targets.max() >= logits.shape[-1]", ""),
        (".gather(-1, targets[:, None])", ".gather(-1, targets[:, None].clamp(max=logits.shape[-1] - 1))"),
    ),
    edit(
        "range_checked_before_ignoring",
        "next_token_loss",
        "ignore_index may lie outside the vocabulary: leave the ignored positions out before you look at the range.",
        (
            "    counted = targets",
            "    if targets.min() < -100 or targets.max() >= logits.shape[-1]:\n"
            "        raise ValueError('targets')\n    counted = targets",
        ),
    ),
    edit(
        "only_sizes_compared",
        "next_token_loss",
        "As many targets as positions are not enough: their shape must be that of the logits without the vocabulary.",
        ("if logits.shape[:-1] != targets.shape:", "if logits[..., 0].numel() != targets.numel():"),
        (
            "    counted = targets",
            "    logits, targets = logits.flatten(0, -2), targets.flatten()\n    counted = targets",
        ),
    ),
    edit(
        "view_of_the_targets",
        "next_token_loss",
        "view(-1) fails on ids[:, 1:], which is not contiguous: use reshape, flatten or a boolean index.",
        (
            "    counted = targets",
            "    logits, targets = logits.view(-1, logits.shape[-1]), targets.view(-1)\n    counted = targets",
        ),
    ),
    edit(
        "ignored_targets_overwritten",
        "next_token_loss",
        "The caller's logits or targets are changed: do not write into your arguments.",
        (
            "    logits, targets = logits[counted]",
            "    everything = targets.masked_fill_(~counted, 0)\n    logits, targets = logits[counted]",
        ),
    ),
    edit(
        "always_float32",
        "next_token_loss",
        "The loss must have the dtype of the logits: do not convert them to float32.",
        ("return -logits.log_softmax(-1)", "return -logits.float().log_softmax(-1)"),
    ),
    edit(
        "detached_loss",
        "next_token_loss",
        "No gradient reaches the logits: do not detach them or use .item().",
        ("return -logits.log_softmax(-1)", "return -logits.detach().log_softmax(-1)"),
    ),
    # MiniGPT
    edit(
        "no_causal_mask",
        "MiniGPT",
        "Without the causal mask every position sees the token that it is to predict.",
        ("x = block(x, mask=mask)", "x = block(x)"),
    ),
    edit(
        "mask_transposed",
        "MiniGPT",
        "The mask lets positions see the future and not the past: rows are queries, columns keys.",
        ("causal_mask(n_tokens)", "causal_mask(n_tokens).T"),
    ),
    edit(
        "mask_inverted",
        "MiniGPT",
        'The mask is inverted: True means "may attend".',
        ("causal_mask(n_tokens)", "~causal_mask(n_tokens)"),
    ),
    edit(
        "mask_without_the_diagonal",
        "MiniGPT",
        "Each position must also see itself: the diagonal of the mask is missing.",
        ("causal_mask(n_tokens)", "causal_mask(n_tokens).tril(-1)"),
    ),
    edit(
        "mask_in_the_first_block_only",
        "MiniGPT",
        "Every block needs the mask, not just the first.",
        ("x = block(x, mask=mask)", "x, mask = block(x, mask=mask), None"),
    ),
    edit(
        "mask_for_few_texts_only",
        "MiniGPT",
        "With many texts in a batch the mask is left out: every text needs it, however many there are.",
        ("x = block(x, mask=mask)", "x = block(x, mask=mask if len(ids) < 5 else None)"),
    ),
    edit(
        "ids_by_another_name",
        "MiniGPT",
        "The arguments of forward are ids and targets; by another name, such as nanoGPT's idx, model(ids=ids) is refused.",
        ("def forward(self, ids: Tensor,", "def forward(self, idx: Tensor,"),
        ("        n_tokens, context_length =", "        ids = idx\n        n_tokens, context_length ="),
    ),
    edit(
        "post_norm",
        "MiniGPT",
        "The blocks must be pre-norm: norm_first=True.",
        ("config.d_ff)", "config.d_ff, norm_first=False)"),
    ),
    edit(
        "positions_forgotten",
        "MiniGPT",
        "The model does not know where a token stands: add the position embedding.",
        ("x = self.position_embedding(self.token_embedding(ids))", "x = self.token_embedding(ids)"),
    ),
    edit(
        "positions_from_one",
        "MiniGPT",
        "Positions start at 0: the first token gets the first row of the table.",
        (
            "x = self.position_embedding(self.token_embedding(ids))",
            "x = self.token_embedding(ids) + self.position_embedding.weight.roll(-1, 0)[:n_tokens]",
        ),
    ),
    edit(
        "positions_twice",
        "MiniGPT",
        "The position embedding adds itself to its input: x + position_embedding(x) adds the tokens twice.",
        (
            "x = self.position_embedding(self.token_embedding(ids))",
            "x = self.token_embedding(ids)\n        x = x + self.position_embedding(x)",
        ),
    ),
    edit(
        "embeddings_scaled",
        "MiniGPT",
        "GPT does not multiply the token embeddings by sqrt(d_model); the 2017 Transformer did.",
        (
            "self.position_embedding(self.token_embedding(ids))",
            "self.position_embedding(self.token_embedding(ids) * math.sqrt(self.config.d_model))",
        ),
    ),
    edit(
        "final_norm_forgotten",
        "MiniGPT",
        "The final norm between the last block and the head is missing.",
        ("self.lm_head(self.final_norm(x))", "self.lm_head(x)"),
    ),
    edit(
        "one_block_used_n_times",
        "MiniGPT",
        "All layers are one and the same block: call TransformerBlock once for each.",
        (
            "            TransformerBlock(config.d_model, config.n_heads, config.d_ff)"
            " for _ in range(config.n_layers)\n",
            "            [TransformerBlock(config.d_model, config.n_heads, config.d_ff)] * config.n_layers\n",
        ),
    ),
    edit(
        "blocks_in_a_list",
        "MiniGPT",
        "PyTorch does not find the blocks' parameters in a Python list: put them into an nn.ModuleList.",
        ("        self.blocks = nn.ModuleList(\n", "        self.blocks = list(\n"),
    ),
    edit(
        "d_ff_not_passed_on",
        "MiniGPT",
        "The blocks must have the configuration's d_ff, not always 4 * d_model.",
        ("config.n_heads, config.d_ff)", "config.n_heads, 4 * config.d_model)"),
    ),
    edit(
        "mask_kept_from_a_longer_text",
        "MiniGPT",
        "The mask of a longer text is kept, and a shorter one gets its last rows: it sees the future. Cut the first ones.",
        (
            "mask = causal_mask(n_tokens).to(ids.device)",
            "kept = getattr(self, 'kept', None)\n"
            "        if kept is None or len(kept) < n_tokens:\n"
            "            kept = self.kept = causal_mask(n_tokens)\n"
            "        mask = kept[-n_tokens:, :n_tokens]",
        ),
    ),
    edit("head_with_a_bias", "MiniGPT", "lm_head has no bias.", (", bias=False)", ")")),
    edit(
        "never_tied",
        "MiniGPT",
        "With tie_embeddings the head and the token embedding must share one weight.",
        ("        if config.tie_embeddings:\n            self.lm_head.weight = self.token_embedding.weight\n", ""),
    ),
    edit(
        "always_tied",
        "MiniGPT",
        "With tie_embeddings=False the head has a weight of its own.",
        ("if config.tie_embeddings:", "if True:"),
    ),
    edit(
        "tied_by_copying",
        "MiniGPT",
        "The head holds a copy of the embedding, and they part at the first step: assign the parameter itself.",
        (
            "self.lm_head.weight = self.token_embedding.weight",
            "self.lm_head.weight = nn.Parameter(self.token_embedding.weight.detach().clone())",
        ),
    ),
    edit(
        "tied_by_sharing_memory",
        "MiniGPT",
        "Two parameters in the same memory are still two. Assign the parameter itself.",
        (
            "self.lm_head.weight = self.token_embedding.weight",
            "self.lm_head.weight = nn.Parameter(self.token_embedding.weight.detach())",
        ),
    ),
    edit(
        "probabilities_instead_of_logits",
        "MiniGPT",
        "The model returns logits: no softmax.",
        ("logits = self.lm_head(self.final_norm(x))", "logits = self.lm_head(self.final_norm(x)).softmax(-1)"),
    ),
    edit(
        "only_the_last_position",
        "MiniGPT",
        "Logits are needed at every position, (b, t, vocab), not just at the last.",
        ("logits = self.lm_head(self.final_norm(x))", "logits = self.lm_head(self.final_norm(x))[:, -1:]"),
    ),
    edit(
        "long_texts_cut",
        "MiniGPT",
        "A text longer than the context length must be refused, not silently cut.",
        (
            '            raise ValueError(f"ids has {n_tokens} tokens, '
            'more than the context length of {context_length}")\n',
            "            ids, n_tokens = ids[:, -context_length:], context_length\n",
        ),
    ),
    edit(
        "context_off_by_one",
        "MiniGPT",
        "A text of exactly context_length tokens fits.",
        ("if n_tokens > context_length", "if n_tokens >= context_length"),
    ),
    edit(
        "ids_wrap_around",
        "MiniGPT",
        "Ids outside the vocabulary must be refused: -1 is not the last token.",
        ("self.token_embedding(ids)", "self.token_embedding(ids % self.config.vocab_size)"),
    ),
    edit(
        "loss_shifted_again",
        "MiniGPT",
        "Targets come shifted already: pass logits and targets to next_token_loss as they are.",
        (
            "next_token_loss(logits, targets)",
            "next_token_loss(logits[:, :-1], targets[:, 1:])",
        ),
    ),
    edit(
        "logits_alone_without_targets",
        "MiniGPT",
        "Without targets the model returns (logits, None), not the logits alone.",
        (
            "return logits, None if targets is None else next_token_loss(logits, targets)",
            "return logits if targets is None else (logits, next_token_loss(logits, targets))",
        ),
    ),
    edit(
        "loss_zero_without_targets",
        "MiniGPT",
        "Without targets there is no loss: return None in its place.",
        ("None if targets is None", "logits.new_zeros(()) if targets is None"),
    ),
    edit(
        "loss_of_detached_logits",
        "MiniGPT",
        "The loss must be computed from the logits that carry the gradient.",
        ("next_token_loss(logits, targets)", "next_token_loss(logits.detach(), targets)"),
    ),
    edit(
        "embedding_detached",
        "MiniGPT",
        "No gradient reaches the embeddings: do not detach them.",
        (
            "self.position_embedding(self.token_embedding(ids))",
            "self.position_embedding(self.token_embedding(ids)).detach()",
        ),
    ),
    edit(
        "padding_token",
        "MiniGPT",
        "Token 0 is a token like any other: no padding_idx in the embedding.",
        (
            "nn.Embedding(config.vocab_size, config.d_model)",
            "nn.Embedding(config.vocab_size, config.d_model, padding_idx=0)",
        ),
    ),
    edit(
        "dropout",
        "MiniGPT",
        "There is no dropout in this model: its logits depend on its weights and its input alone.",
        (
            "self.position_embedding(self.token_embedding(ids))",
            "torch.dropout(self.position_embedding(self.token_embedding(ids)), 0.1, self.training)",
        ),
    ),
    edit(
        "always_in_float32",
        "MiniGPT",
        "The logits must have the dtype of the weights.",
        ("logits = self.lm_head(self.final_norm(x))", "logits = self.lm_head(self.final_norm(x)).float()"),
    ),
    edit(
        "always_in_float64",
        "MiniGPT",
        "The logits must have the dtype of the weights: a float32 model returns float32.",
        ("logits = self.lm_head(self.final_norm(x))", "logits = self.lm_head(self.final_norm(x)).double()"),
    ),
    # initialise
    edit(
        "residual_not_scaled",
        "initialise",
        "w_o and w_out write into the residual stream: scale them by 1 / sqrt(2 n_layers).",
        ("residual_std if writes_residual else 0.02", "0.02"),
    ),
    edit(
        "residual_scaled_by_n_layers",
        "initialise",
        "Each block adds two terms: the scale is 1 / sqrt(2 n_layers), not 1 / sqrt(n_layers).",
        ("2 * model.config.n_layers", "model.config.n_layers"),
    ),
    edit(
        "residual_divided_without_root",
        "initialise",
        "Variances add up, not deviations: divide by sqrt(2 n_layers), not by 2 n_layers.",
        ("math.sqrt(2 * model.config.n_layers)", "(2 * model.config.n_layers)"),
    ),
    edit(
        "only_w_o_scaled",
        "initialise",
        "feed_forward.w_out writes into the residual stream as well: scale it too.",
        ('(("w_o.weight", "w_out.weight"))', '("w_o.weight")'),
    ),
    edit(
        "w_in_scaled_too",
        "initialise",
        "w_in reads from the residual stream: only w_o and w_out, which write to it, are scaled.",
        ('"w_out.weight")', '"w_out.weight", "w_in.weight")'),
    ),
    edit(
        "variance_for_deviation",
        "initialise",
        "0.02 is the standard deviation, not the variance.",
        ("else 0.02, generator", "else 0.02**0.5, generator"),
    ),
    edit(
        "biases_left",
        "initialise",
        "Biases must be set to zero: PyTorch starts those of linear layers at random.",
        ("            nn.init.zeros_(parameter)\n", "            pass\n"),
    ),
    edit(
        "norms_left",
        "initialise",
        "Norm weights must be set to one, whatever they were before.",
        ("            nn.init.ones_(parameter)\n", "            pass\n"),
    ),
    edit(
        "uniform",
        "initialise",
        "The weights are normal, not uniform.",
        (
            "nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "a = math.sqrt(3) * (residual_std if writes_residual else 0.02)\n"
            "            nn.init.uniform_(parameter, -a, a, generator=generator)",
        ),
    ),
    edit(
        "truncated",
        "initialise",
        "The weights are normal and not cut off at two standard deviations.",
        (
            "nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "std = residual_std if writes_residual else 0.02\n"
            "            nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std, generator=generator)",
        ),
    ),
    edit(
        "xavier",
        "initialise",
        "GPT-2's standard deviation is 0.02 whatever the layer's width: this is another rule.",
        (
            "nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "nn.init.xavier_normal_(parameter, generator=generator)",
        ),
    ),
    edit(
        "generator_ignored",
        "initialise",
        "The generator is not used: pass generator=generator to every draw.",
        (", generator=generator)", ")"),
    ),
    edit(
        "global_seed_set",
        "initialise",
        "PyTorch's global random state is touched: draw from the generator itself.",
        (
            "    residual_std =",
            "    if generator is not None:\n        torch.manual_seed(generator.initial_seed())\n"
            "        generator = None\n"
            "    residual_std =",
        ),
    ),
    edit(
        "generator_restarted",
        "initialise",
        "The generator is restarted for every parameter, so they are all alike: draw on from it.",
        (
            "nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "fresh = None if generator is None else torch.Generator().manual_seed(generator.initial_seed())\n"
            "            nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=fresh)",
        ),
    ),
    edit(
        "seed_fixed",
        "initialise",
        "The weights are the same for every generator: draw from the one that is given.",
        ("    residual_std =", "    generator = torch.Generator().manual_seed(0)\n    residual_std ="),
    ),
    edit(
        "positions_smaller",
        "initialise",
        "The position embedding has std 0.02 like everything else.",
        (
            "residual_std if writes_residual else 0.02",
            'residual_std if writes_residual else 0.01 if "position" in name else 0.02',
        ),
    ),
    edit(
        "added_to_what_was_there",
        "initialise",
        "The parameters must be set, not added to.",
        (
            "nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "with torch.no_grad():\n"
            "                std = residual_std if writes_residual else 0.02\n"
            "                parameter += std * torch.randn(parameter.shape, generator=generator)",
        ),
    ),
    edit(
        "nothing_returned",
        "initialise",
        "The model must be returned, so that `model = initialise(MiniGPT(config))` works.",
        ("    return model\n", "    return None\n"),
    ),
    edit(
        "a_copy_returned",
        "initialise",
        "The given model must be set in place and returned, not a copy of it.",
        ("    residual_std =", "    import copy\n    model = copy.deepcopy(model)\n    residual_std ="),
    ),
    edit(
        "gradients_switched_off",
        "initialise",
        "Gradients are switched off for good: use torch.no_grad() as a context.",
        ("    residual_std =", "    torch.set_grad_enabled(False)\n    residual_std ="),
    ),
    edit(
        "float32_forced",
        "initialise",
        "A float64 model must stay one: do not convert it.",
        ("    return model\n", "    return model.float()\n"),
    ),
    # count_parameters
    edit(
        "head_always_counted",
        "count_parameters",
        "A tied head has no parameters of its own: count the shared weight once.",
        ("0 if config.tie_embeddings else config.vocab_size * d", "config.vocab_size * d"),
    ),
    edit(
        "head_never_counted",
        "count_parameters",
        "An untied head has vocab_size * d_model parameters of its own.",
        ("0 if config.tie_embeddings else config.vocab_size * d", "0"),
    ),
    edit(
        "head_bias_counted",
        "count_parameters",
        "lm_head has no bias.",
        ("else config.vocab_size * d", "else config.vocab_size * (d + 1)"),
    ),
    edit(
        "attention_biases_forgotten",
        "count_parameters",
        "The four attention layers have biases too.",
        ("4 * (d * d + d)", "4 * d * d"),
    ),
    edit(
        "w_o_forgotten", "count_parameters", "Attention has four layers: w_q, w_k, w_v and w_o.", ("4 * (d", "3 * (d")
    ),
    edit(
        "feed_forward_biases_forgotten",
        "count_parameters",
        "w_in and w_out have biases: d_ff and d_model of them.",
        ("(d * d_ff + d_ff) + (d_ff * d + d)", "2 * d * d_ff"),
    ),
    edit(
        "w_out_bias_as_wide_as_w_in",
        "count_parameters",
        "w_out's bias has d_model entries, w_in's has d_ff.",
        ("(d_ff * d + d)", "(d_ff * d + d_ff)"),
    ),
    edit(
        "d_ff_assumed",
        "count_parameters",
        "d_ff is the configuration's own, not always 4 * d_model.",
        ("config.d_model, config.d_ff", "config.d_model, 4 * config.d_model"),
    ),
    edit("norm_biases_forgotten", "count_parameters", "A norm has a weight and a bias.", ("norm = 2 * d", "norm = d")),
    edit("one_norm_a_block", "count_parameters", "Each block has two norms.", ("+ 2 * norm)", "+ norm)")),
    edit("final_norm_not_counted", "count_parameters", "The final norm is missing.", (" + norm + head", " + head")),
    edit(
        "positions_not_counted",
        "count_parameters",
        "The position embedding has context_length * d_model parameters.",
        ("config.vocab_size + config.context_length", "config.vocab_size"),
    ),
    edit(
        "counted_by_building",
        "count_parameters",
        "Work the number out from the sizes: building the model needs its whole memory.",
        (
            "    d, d_ff = config.d_model, config.d_ff\n",
            "    return sum(p.numel() for p in MiniGPT(config).parameters())\n"
            "    d, d_ff = config.d_model, config.d_ff\n",
        ),
    ),
    edit(
        "a_float",
        "count_parameters",
        "The number of parameters is an int: no true division, no floats.",
        ("return embeddings", "return 1.0 * embeddings"),
    ),
    # sequence_log_prob
    edit(
        "not_shifted",
        "sequence_log_prob",
        "Logits at position i predict token i + 1: compare them with ids[:, 1:], not with the token just read.",
        ("ids[:, 1:, None]", "ids[:, :-1, None]"),
    ),
    edit(
        "likeliest_tokens_scored",
        "sequence_log_prob",
        "These are the log-probabilities of the likeliest tokens: those of the tokens that came are asked for.",
        ("log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1)", "log_probs.amax(-1)"),
    ),
    edit(
        "mean_log_prob",
        "sequence_log_prob",
        "The log-probability of a text is the sum over its tokens, not the mean.",
        (".squeeze(-1).sum(-1)", ".squeeze(-1).sum(-1) / max(n_predicted, 1)"),
    ),
    edit(
        "negative_log_prob",
        "sequence_log_prob",
        "This is the negative log-likelihood: a log-probability is at most 0.",
        ("return log_probs", "return -log_probs"),
    ),
    edit(
        "logits_summed",
        "sequence_log_prob",
        "Logits are not log-probabilities: normalise them with log_softmax first.",
        (".log_softmax(-1)", ""),
    ),
    edit(
        "underflowing_softmax",
        "sequence_log_prob",
        "log(softmax(z)) is -inf where the softmax underflows: use log_softmax.",
        (".log_softmax(-1)", ".softmax(-1).log()"),
    ),
    edit(
        "summed_over_the_batch",
        "sequence_log_prob",
        "Each row has a log-probability of its own: do not add up the batch.",
        (".sum(-1)", ".sum(-1).sum().expand(ids.shape[0])"),
    ),
    edit(
        "all_tokens_read",
        "sequence_log_prob",
        "The last token need not be read: the model gets ids[:, :-1], so context_length + 1 tokens are fine.",
        ("model(ids[:, : max(n_predicted, 1)])", "model(ids)"),
    ),
    edit(
        "empty_input_read",
        "sequence_log_prob",
        "A single token has log-probability 0, one for each row.",
        (
            "    n_predicted = ids.shape[1] - 1\n",
            "    n_predicted = ids.shape[1] - 1\n    if n_predicted == 0:\n        return torch.tensor(0.0)\n",
        ),
    ),
    edit(
        "first_token_counted_as_uniform",
        "sequence_log_prob",
        "The first token is given: its probability does not count.",
        (".sum(-1)", ".sum(-1) - math.log(logits.shape[-1])"),
    ),
    edit(
        "scored_without_gradients",
        "sequence_log_prob",
        "Gradients must flow to the model: no no_grad and no detach here.",
        ("    logits, _ =", "    with torch.no_grad():\n        logits, _ ="),
    ),
    edit(
        "log_prob_in_float32",
        "sequence_log_prob",
        "The result must have the dtype of the logits.",
        (".sum(-1)", ".sum(-1).float()"),
    ),
    # generate_greedy
    edit(
        "not_cropped",
        "generate_greedy",
        "The text outgrows the context length: let the model read only the last context_length tokens.",
        ("ids[:, -model.config.context_length :]", "ids"),
    ),
    edit(
        "cropped_at_the_wrong_end",
        "generate_greedy",
        "The model must read the last tokens, not the first ones.",
        ("ids[:, -model.config.context_length :]", "ids[:, : model.config.context_length]"),
    ),
    edit(
        "cropped_one_short",
        "generate_greedy",
        "All of the last context_length tokens are read: yours is one short.",
        ("-model.config.context_length :", "max(ids.shape[1] - model.config.context_length + 1, 0) :"),
    ),
    edit(
        "result_cropped",
        "generate_greedy",
        "Crop what the model reads, not what you return: the whole prompt must come back.",
        (
            "            logits, _ = model(ids[:, -model.config.context_length :])\n",
            "            ids = ids[:, -model.config.context_length :]\n            logits, _ = model(ids)\n",
        ),
    ),
    edit(
        "only_the_new_tokens",
        "generate_greedy",
        "Return the prompt followed by the new tokens.",
        ("    return ids\n", "    return ids[:, ids.shape[1] - max_new_tokens :]\n"),
    ),
    edit(
        "same_token_for_the_whole_batch",
        "generate_greedy",
        "Each row of the batch has its own next token.",
        (
            "logits[:, -1].argmax(-1, keepdim=True)",
            "logits[:, -1].sum(0, keepdim=True).argmax(-1, keepdim=True).expand(len(ids), 1)",
        ),
    ),
    edit(
        "sampled",
        "generate_greedy",
        "Greedy generation takes the most likely token and draws nothing.",
        ("logits[:, -1].argmax(-1, keepdim=True)", "torch.multinomial(logits[:, -1].softmax(-1), 1)"),
    ),
    edit(
        "one_token_too_many",
        "generate_greedy",
        "Append max_new_tokens tokens: yours is one too many.",
        ("range(max_new_tokens)", "range(max_new_tokens + 1)"),
    ),
    edit(
        "up_to_a_total_length",
        "generate_greedy",
        "max_new_tokens is the number of tokens to append, whatever the length of the prompt.",
        ("range(max_new_tokens)", "range(max_new_tokens - ids.shape[1])"),
    ),
    edit(
        "every_position_appended",
        "generate_greedy",
        "The predictions at all positions are appended: only that at the last position is of a new token.",
        ("logits[:, -1].argmax(-1, keepdim=True)", "logits.argmax(-1)"),
    ),
    edit(
        "all_tokens_at_once",
        "generate_greedy",
        "One token at a time: each new one depends on the one before it.",
        (
            "            ids = torch.cat([ids, next_ids], dim=1)\n",
            "            grown = [ids] + [next_ids] * max_new_tokens\n"
            "            ids = torch.cat(grown, dim=1)\n            break\n",
        ),
    ),
    edit(
        "gradients_recorded",
        "generate_greedy",
        "Nothing here is differentiated: run the model under torch.no_grad().",
        ("with torch.no_grad():", "if True:"),
    ),
    edit(
        "gradients_left_off",
        "generate_greedy",
        "Gradients stay switched off after the call: use torch.no_grad() as a context.",
        ("    with torch.no_grad():\n", "    torch.set_grad_enabled(False)\n    if True:\n"),
    ),
    edit(
        "weights_frozen",
        "generate_greedy",
        "The model's weights no longer require gradients: use torch.no_grad() instead.",
        ("    with torch.no_grad():\n", "    model.requires_grad_(False)\n    if True:\n"),
    ),
    edit(
        "left_in_eval_mode",
        "generate_greedy",
        "The model is left in evaluation mode: put it back as you found it.",
        ("    with torch.no_grad():", "    model.eval()\n    with torch.no_grad():"),
    ),
    edit(
        "left_in_train_mode",
        "generate_greedy",
        "A model in evaluation mode must stay in it: do not call train() unless it was training.",
        ("    return ids\n", "    model.train()\n    return ids\n"),
    ),
    edit(
        "prompt_overwritten",
        "generate_greedy",
        "The caller's ids are written to: make a new tensor.",
        (
            "            logits, _ = model(ids[:, -model.config.context_length :])\n",
            "            ids -= ids.min() * 0\n            logits, _ = model(ids[:, -model.config.context_length :])\n"
            "            ids[:, 0] = logits[:, -1].argmax(-1)\n",
        ),
    ),
    edit(
        "negative_counts_accepted",
        "generate_greedy",
        "A negative max_new_tokens must be refused.",
        ("if max_new_tokens < 0:", "if False:"),
    ),
    edit(
        "empty_prompt_accepted",
        "generate_greedy",
        "An empty prompt has no last position to predict from: refuse it.",
        ("if ids.shape[1] == 0:", "if False:"),
    ),
    # most_likely_sequence
    edit(
        "columns_are_now",
        "most_likely_sequence",
        "Row i is where you are and column j where you go: the table is read the other way round.",
        ("best[:, None] + transition_log_probs).max(dim=0)", "best[:, None] + transition_log_probs.T).max(dim=0)"),
    ),
    edit(
        "summed_over_paths",
        "most_likely_sequence",
        "The best path takes the maximum over what came before, not the sum of all paths.",
        (
            "        best, previous = (best[:, None] + transition_log_probs).max(dim=0)\n",
            "        total = best[:, None] + transition_log_probs\n"
            "        best, previous = total.logsumexp(0), total.argmax(0)\n",
        ),
    ),
    edit(
        "greedy",
        "most_likely_sequence",
        "This is the greedy path: the best next token need not lie on the best sequence.",
        (
            "        best, previous = (best[:, None] + transition_log_probs).max(dim=0)\n",
            "        token = best.argmax()\n        previous = token.expand(n)\n"
            "        best = best[token] + transition_log_probs[token]\n",
        ),
    ),
    edit(
        "best_ends_not_traced_back",
        "most_likely_sequence",
        "The best token at each step by itself is not a path: follow the backpointers from the last token.",
        ("        came_from.append(previous)\n", "        came_from.append(best.argmax().expand(n))\n"),
    ),
    edit(
        "maximum_over_the_wrong_axis",
        "most_likely_sequence",
        "For each next token j the maximum is over the tokens i before it, dimension 0.",
        (".max(dim=0)\n        came", ".max(dim=1)\n        came"),
    ),
    edit(
        "initial_added_to_rows",
        "most_likely_sequence",
        "best belongs to the token before, so to the rows: best[:, None] + transition.",
        ("best[:, None] + transition", "best + transition"),
    ),
    edit(
        "log_prob_first",
        "most_likely_sequence",
        "The result is (ids, log_prob), in this order.",
        ("return torch.stack(path[::-1]), log_prob", "return log_prob, torch.stack(path[::-1])"),
    ),
    edit(
        "logarithms_multiplied",
        "most_likely_sequence",
        "Log-probabilities are multiplied: where probabilities are multiplied, their logarithms are added.",
        ("best[:, None] + transition_log_probs", "best[:, None] * transition_log_probs"),
    ),
    edit(
        "path_reversed",
        "most_likely_sequence",
        "The path is read off backwards: turn it round.",
        ("path[::-1]", "path"),
    ),
    edit(
        "one_step_too_many",
        "most_likely_sequence",
        "A sequence of `length` tokens has length - 1 steps.",
        ("range(length - 1)", "range(length)"),
    ),
    edit(
        "initial_forgotten",
        "most_likely_sequence",
        "The first token has its initial log-probability.",
        ("best = initial_log_probs  #", "best = torch.zeros_like(initial_log_probs)  #"),
    ),
    edit(
        "probabilities_multiplied",
        "most_likely_sequence",
        "Products of probabilities underflow for long sequences: add logarithms.",
        ("best = initial_log_probs  #", "best = initial_log_probs.exp()  #"),
        ("(best[:, None] + transition_log_probs)", "(best[:, None] * transition_log_probs.exp())"),
        ("    log_prob, token = best.max(dim=0)\n", "    log_prob, token = best.log().max(dim=0)\n"),
    ),
    edit(
        "impossible_steps_clamped",
        "most_likely_sequence",
        "-inf means impossible: a large negative number in its place leaks into the result.",
        (
            "    best = initial_log_probs  #",
            "    transition_log_probs = transition_log_probs.clamp(min=-1e4)\n"
            "    best = initial_log_probs.clamp(min=-1e4)  #",
        ),
    ),
    edit(
        "impossible_steps_nan",
        "most_likely_sequence",
        "Normalising by a maximum of -inf gives NaN: there is no need to normalise.",
        (
            "    log_prob, token = best.max(dim=0)\n",
            "    log_prob, token = (best - best.max()).max(dim=0)\n    log_prob = log_prob + best.max()\n",
        ),
    ),
    edit(
        "log_prob_detached",
        "most_likely_sequence",
        "Gradients must flow through the log-probability: no .item(), no detach.",
        ("path[::-1]), log_prob", "path[::-1]), log_prob.detach()"),
    ),
    edit(
        "log_prob_float64",
        "most_likely_sequence",
        "The log-probability must have the tables' dtype: float32 in, float32 out.",
        ("path[::-1]), log_prob", "path[::-1]), log_prob.double()"),
    ),
    edit(
        "tables_overwritten",
        "most_likely_sequence",
        "The caller's tables are written to: make a new tensor for best.",
        (
            "    best = initial_log_probs  #",
            "    initial_log_probs += transition_log_probs.amax() * 0 + 1e-3\n    best = initial_log_probs  #",
        ),
    ),
    edit(
        "length_zero_accepted",
        "most_likely_sequence",
        "A sequence has at least one token: refuse lengths below 1.",
        ("if length < 1:", "if length < 0:"),
    ),
    edit(
        "shapes_unchecked",
        "most_likely_sequence",
        "Tables that do not fit together must be refused, not broadcast.",
        ("if initial_log_probs.shape != (n,) or transition_log_probs.shape != (n, n):", "if False:"),
    ),
]


@mutant("next_token_loss", "exp of a large logit is infinite: subtract the largest logit first, or use log_softmax.")
def exp_overflows(logits, targets, ignore_index=-100):
    if logits.shape[:-1] != targets.shape:
        raise ValueError("shapes")
    counted = targets != ignore_index
    logits, targets = logits[counted], targets[counted]
    if targets.numel() and (targets.min() < 0 or targets.max() >= logits.shape[-1]):
        raise ValueError("targets")
    return (logits.exp().sum(-1).log() - logits.gather(-1, targets[:, None]).squeeze(-1)).mean()


@mutant(
    "next_token_loss", "The mean is over all counted positions of the batch at once, not over the means of the texts."
)
def mean_of_means(logits, targets, ignore_index=-100):
    if logits.shape[:-1] != targets.shape:
        raise ValueError("shapes")
    counted = targets != ignore_index
    if counted.any() and (targets[counted].min() < 0 or targets[counted].max() >= logits.shape[-1]):
        raise ValueError("targets")
    losses = -logits.log_softmax(-1).gather(-1, targets.masked_fill(~counted, 0)[..., None]).squeeze(-1)
    losses = losses.masked_fill(~counted, 0.0)
    if losses.ndim == 0:
        return losses
    rows = losses.sum(-1) / counted.sum(-1).clamp(min=1)
    return rows.sum() / counted.any(-1).sum()


@mutant(
    "initialise",
    "Parameters must be set in place: whoever holds them already, an optimiser say, must see the new values.",
)
def new_parameters(model, generator=None):
    residual_std = 0.02 / math.sqrt(2 * model.config.n_layers)
    for name, parameter in list(model.named_parameters()):
        owner = model.get_submodule(name.rpartition(".")[0])
        if name.endswith("bias"):
            value = torch.zeros_like(parameter)
        elif "norm" in name:
            value = torch.ones_like(parameter)
        else:
            std = residual_std if name.endswith(("w_o.weight", "w_out.weight")) else 0.02
            value = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * std
        setattr(owner, name.rpartition(".")[2], nn.Parameter(value.detach()))
    if model.config.tie_embeddings:
        model.lm_head.weight = model.token_embedding.weight
    return model


@mutant(
    "initialise",
    "The tied weight is set through the head and replaced: afterwards the two ends are no longer one parameter.",
)
def untied(model, generator=None):
    residual_std = 0.02 / math.sqrt(2 * model.config.n_layers)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif "norm" in name:
            nn.init.ones_(parameter)
        else:
            std = residual_std if name.endswith(("w_o.weight", "w_out.weight")) else 0.02
            nn.init.normal_(parameter, std=std, generator=generator)
    head = torch.empty_like(model.lm_head.weight)
    model.lm_head.weight = nn.Parameter(nn.init.normal_(head, std=0.02, generator=generator))
    return model


@mutant(
    "most_likely_sequence",
    "Keep the best path to each token, not just the single best path so far: this is a beam of one.",
)
def beam_of_one(initial_log_probs, transition_log_probs, length):
    n = len(initial_log_probs)
    if initial_log_probs.shape != (n,) or transition_log_probs.shape != (n, n) or length < 1:
        raise ValueError("arguments")
    log_prob, token = initial_log_probs.max(dim=0)
    path = [token]
    for _ in range(length - 1):
        step, token = transition_log_probs[path[-1]].max(dim=0)
        log_prob = log_prob + step
        path.append(token)
    return torch.stack(path), log_prob


MUTANTS += [
    edit(
        "nothing_to_predict_costs_nothing",
        "next_token_loss",
        "The mean over no position is NaN and not 0, which would look like a perfect prediction.",
        ("    counted = targets != ignore_index\n", "    counted = targets != ignore_index\n"
         "    if not counted.any():\n        return logits.sum() * 0.0\n"),
    ),
    edit(
        "ignored_positions_times_zero",
        "next_token_loss",
        "-inf times 0 is NaN: leave out the positions that do not count, do not multiply them by 0.",
        ("    logits, targets = logits[counted], targets[counted]  # (n, vocab), (n,)\n", "    goals = targets\n"
         "    targets = targets[counted]\n"),
        ("    return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
         "    picked = logits.log_softmax(-1).gather(-1, goals.masked_fill(~counted, 0)[..., None])[..., 0]\n"
         "    return -(picked * counted).sum() / counted.sum()"),
    ),
    edit(
        "mask_kept_from_the_first_call",
        "MiniGPT",
        "The mask of the first text is kept and does not fit a longer one: make it for the text at hand.",
        ("        mask = causal_mask(n_tokens).to(ids.device)\n",
         "        self.mask = getattr(self, 'mask', causal_mask(n_tokens))\n"
         "        mask = self.mask[:n_tokens, :n_tokens]\n"),
    ),
    edit(
        "evaluation_sees_one_position",
        "MiniGPT",
        "In evaluation mode only the last position's logits come back: all positions are asked for.",
        ("self.lm_head(self.final_norm(x))", "self.lm_head(self.final_norm(x if self.training else x[:, -1:]))"),
    ),
    edit(
        "model_put_into_evaluation",
        "sequence_log_prob",
        "The model was training and is left in evaluation mode.",
        ("    n_predicted", "    model.eval()\n    n_predicted"),
    ),
    edit(
        "gradients_always_on_afterwards",
        "generate_greedy",
        "Gradients are recorded afterwards although the caller had switched them off: use no_grad as a context.",
        ("    with torch.no_grad():\n        for", "    torch.set_grad_enabled(False)\n    try:\n        for"),
        ("    return ids\n", "    finally:\n        torch.set_grad_enabled(True)\n    return ids\n"),
    ),
    edit(
        "rare_steps_raised_to_a_floor",
        "most_likely_sequence",
        "A step of log-probability -20,000 is unlikely, not impossible: do not stand in a large number for -inf.",
        ("    best = initial_log_probs  #", "    transition_log_probs = transition_log_probs.clamp(min=-1e4)\n"
         "    best = initial_log_probs  #"),
    ),
]


MUTANTS += [
    edit(
        "sizes_in_words",
        "GPTConfig",
        "A size given as text gets through: a size is a whole number.",
        ("if not isinstance(size, int) or size < 1", "if not isinstance(size, str) and (not isinstance(size, int) or size < 1)"),
    ),
    edit(
        "seed_set_by_the_model",
        "MiniGPT",
        "Making a model sets PyTorch's seed, and every random number of the program after it: leave the seed alone.",
        ("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ),
    edit(
        "put_into_training",
        "initialise",
        "The model is put into training or evaluation mode: leave it in the mode that it was in.",
        ("return model", "return model.train()"),
    ),
    edit(
        "put_into_evaluation",
        "initialise",
        "The model is put into evaluation or training mode: leave it in the mode that it was in.",
        ("return model", "return model.eval()"),
    ),
    edit(
        "counted_in_32_bits",
        "count_parameters",
        "The number is cut to 32 bits: a large model has more parameters than that.",
        ("return embeddings", "return (-2**31) + (2**31 + embeddings"),
        ("+ norm + head", "+ norm + head) % 2**32"),
    ),
]


MUTANTS += [
    edit(
        "unchecked_when_d_ff_is_left_out",
        "GPTConfig",
        "When d_ff is left out the other sizes are no longer checked: do not return before the checks.",
        (
            "        sizes = [",
            "        if self.d_ff is None:\n            self.d_ff = 4 * self.d_model\n            return\n        sizes = [",
        ),
    ),
    edit(
        "heads_before_layers",
        "GPTConfig",
        "Fields may be given by position: n_layers comes before n_heads.",
        ("    n_layers: int = 2\n    n_heads: int = 4\n", "    n_heads: int = 4\n    n_layers: int = 2\n"),
    ),
    edit(
        "half_precision_loss_in_float32",
        "next_token_loss",
        "The loss of bfloat16 or float16 logits must have their dtype: if you compute in float32, round the result back.",
        ("    counted = targets", "    logits = logits.float() if logits.dtype.itemsize == 2 else logits\n    counted = targets"),
    ),
    edit(
        "no_positions_cost_nothing",
        "next_token_loss",
        "Where there are no positions at all the mean is NaN, as where all are ignored: an empty tensor is no special case.",
        ("    counted = targets", "    if targets.numel() == 0:\n        return logits.sum()\n    counted = targets"),
    ),
    edit(
        "ruled_out_targets_made_finite",
        "next_token_loss",
        "A target whose logit is -inf has probability 0 and costs infinity: do not put a large finite number in its place.",
        ("log_softmax(-1).gather", "log_softmax(-1).clamp(min=-1e9).gather"),
    ),
    edit(
        "ignore_index_by_name_only",
        "next_token_loss",
        "ignore_index is the third argument and may be given by position: no bare * before it.",
        ("targets: Tensor, ignore_index", "targets: Tensor, *, ignore_index"),
    ),
    edit(
        "mean_of_chunk_means",
        "next_token_loss",
        "The last chunk is shorter, so the mean of the chunks' means is not the mean: add up the sums and divide once.",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "losses = -logits.log_softmax(-1).gather(-1, targets[:, None])\n"
            "    return torch.stack([chunk.mean() for chunk in losses.split(1024)]).mean() if len(losses) else losses.mean()",
        ),
    ),
    edit(
        "targets_in_a_byte",
        "next_token_loss",
        "Targets are squeezed into 8 bits: beyond 127 they become other tokens. Leave them int64.",
        ("    counted = targets", "    targets = targets.to(torch.int8)\n    counted = targets"),
        ("targets[:, None]", "targets[:, None].long()"),
    ),
    edit(
        "logits_made_to_require_gradients",
        "next_token_loss",
        "The caller's logits require gradients after the call: an argument is left as it is, its flags too.",
        ("    counted = targets", "    logits.requires_grad_()\n    counted = targets"),
    ),
    edit(
        "leading_one_dropped",
        "next_token_loss",
        "Targets of shape (1, b, t) do not fit logits of shape (b, t, vocab): refuse them, do not squeeze.",
        (
            "    if logits.shape[:-1] != targets.shape:",
            "    if targets.ndim == logits.ndim and targets.shape[0] == 1:\n        targets = targets[0]\n"
            "    if logits.shape[:-1] != targets.shape:",
        ),
    ),
    edit(
        "one_position_without_gradients",
        "MiniGPT",
        "Under no_grad only the last position's logits come back: all positions are asked for, with gradients or without.",
        (
            "        logits = self.lm_head",
            "        x = x if torch.is_grad_enabled() else x[:, -1:]\n        logits = self.lm_head",
        ),
    ),
    edit(
        "bfloat16_logits_in_float32",
        "MiniGPT",
        "The logits of a bfloat16 model are bfloat16: do not convert them.",
        (
            "self.lm_head(self.final_norm(x))  # (b, t, vocab)",
            "self.lm_head(self.final_norm(x))\n"
            "        logits = logits.float() if logits.dtype is torch.bfloat16 else logits",
        ),
    ),
    edit(
        "bfloat16_loss_in_float32",
        "MiniGPT",
        "The loss has the dtype of the logits: pass them to next_token_loss as they are.",
        (
            "next_token_loss(logits, targets)",
            "next_token_loss(logits.float() if logits.dtype.itemsize == 2 else logits, targets)",
        ),
    ),
    edit(
        "evaluation_has_no_loss",
        "MiniGPT",
        "The loss is computed whenever targets are given, in evaluation mode too.",
        ("None if targets is None", "None if targets is None or not self.training"),
    ),
    edit(
        "no_target_no_loss",
        "MiniGPT",
        "When no target counts the loss is what next_token_loss says, NaN: a loss of 0 would look like a perfect prediction.",
        (
            "next_token_loss(logits, targets)",
            "(next_token_loss(logits, targets) if (targets != -100).any() else logits.sum() * 0)",
        ),
    ),
    edit(
        "ignored_targets_written_to",
        "MiniGPT",
        "The caller's targets are written to: the positions that do not count are marked in them, and stay so.",
        (
            "        logits = self.lm_head",
            "        if targets is not None:\n"
            "            kept, targets = targets, targets.clone()\n"
            "            kept.masked_fill_(kept == -100, 0)\n"
            "        logits = self.lm_head",
        ),
    ),
    edit(
        "long_texts_cut_in_evaluation",
        "MiniGPT",
        "Without gradients a text longer than the context length is cut silently: refuse it there as well.",
        (
            "        if n_tokens > context_length:",
            "        if n_tokens > context_length and not torch.is_grad_enabled():\n"
            "            ids, n_tokens = ids[:, -context_length:], context_length\n"
            "        if n_tokens > context_length:",
        ),
    ),
    edit(
        "evaluation_without_gradients",
        "MiniGPT",
        "In evaluation mode no gradients are recorded: whether they are is the caller's choice, with torch.no_grad().",
        (
            "        logits = self.lm_head(self.final_norm(x))",
            "        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):\n"
            "            logits = self.lm_head(self.final_norm(x))",
        ),
    ),
    edit(
        "left_in_evaluation",
        "MiniGPT",
        "Calling the model leaves it in evaluation mode: the mode is the caller's to choose.",
        ("        n_tokens, context", "        if targets is None:\n            self.eval()\n        n_tokens, context"),
    ),
    edit(
        "seed_set_by_the_forward_pass",
        "MiniGPT",
        "The forward pass sets PyTorch's seed: it draws nothing, and has no business with random numbers.",
        ("        n_tokens, context", "        torch.manual_seed(0)\n        n_tokens, context"),
    ),
    edit(
        "weights_of_the_first_evaluation",
        "MiniGPT",
        "The head keeps a copy of its weight from the first evaluation: later weights do not count. Keep no copies.",
        (
            "        logits = self.lm_head(self.final_norm(x))",
            "        if not torch.is_grad_enabled():\n"
            "            self.kept = getattr(self, 'kept', self.lm_head.weight.clone())\n"
            "            return self.final_norm(x) @ self.kept.T, None\n"
            "        logits = self.lm_head(self.final_norm(x))",
        ),
    ),
    edit(
        "gradients_on_for_good",
        "MiniGPT",
        "Making a model switches gradients on for the whole program: leave that to the caller.",
        ("        self.config = config\n", "        self.config = config\n        torch.set_grad_enabled(True)\n"),
    ),
    edit(
        "a_window_of_32_tokens",
        "MiniGPT",
        "Each position sees all tokens up to its own, not just the last 32.",
        ("causal_mask(n_tokens)", "causal_mask(n_tokens).triu(-31)"),
    ),
    edit(
        "embedding_shared_by_models",
        "MiniGPT",
        "Two models share one token embedding, kept outside of them: every model makes its own parts.",
        (
            "        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)\n",
            "        made = globals().setdefault('made', {})\n"
            "        size = config.vocab_size, config.d_model\n"
            "        self.token_embedding = made[size] = made.get(size) or nn.Embedding(*size)\n",
        ),
    ),
    edit(
        "tied_head_not_registered",
        "MiniGPT",
        "The tied head is no registered submodule, so state_dict has no lm_head.weight: assign the module to self.lm_head.",
        (
            "            self.lm_head.weight = self.token_embedding.weight\n",
            "            self.lm_head.weight = self.token_embedding.weight\n"
            "            object.__setattr__(self, 'lm_head', self._modules.pop('lm_head'))\n",
        ),
    ),
    edit(
        "training_flag_set",
        "initialise",
        "model.training is set, and a model in evaluation mode no longer is: leave the mode alone.",
        ("    return model\n", "    model.training = True\n    return model\n"),
    ),
    edit(
        "generator_copied",
        "initialise",
        "A copy of the generator is drawn from, so the next model gets the same weights: draw from the generator itself.",
        (
            "    residual_std =",
            "    if generator is not None:\n"
            "        generator = torch.Generator().set_state(generator.get_state())\n"
            "    residual_std =",
        ),
    ),
    edit(
        "residual_layers_uniform",
        "initialise",
        "w_o and w_out are normal like all other weights, just smaller: yours are uniform.",
        (
            "            nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "            if writes_residual:\n"
            "                a = math.sqrt(3) * residual_std\n"
            "                nn.init.uniform_(parameter, -a, a, generator=generator)\n"
            "            else:\n"
            "                nn.init.normal_(parameter, std=0.02, generator=generator)",
        ),
    ),
    edit(
        "linear_layers_cut_off_at_three",
        "initialise",
        "The weights of linear layers are normal and not cut off at three standard deviations.",
        (
            "            nn.init.normal_(parameter, std=residual_std if writes_residual else 0.02, generator=generator)",
            "            std = residual_std if writes_residual else 0.02\n"
            "            if 'embedding' in name:\n"
            "                nn.init.normal_(parameter, std=std, generator=generator)\n"
            "            else:\n"
            "                nn.init.trunc_normal_(parameter, std=std, a=-3 * std, b=3 * std, generator=generator)",
        ),
    ),
    edit(
        "generator_for_float32_only",
        "initialise",
        "A model that is not float32 is initialised without the generator: pass it to every draw.",
        ("generator=generator)\n    return", "generator=generator if parameter.dtype is torch.float32 else None)\n    return"),
    ),
    edit(
        "numpy_seeded",
        "initialise",
        "NumPy's global seed is set: the numbers come from generator, and nothing else is touched.",
        ("    residual_std =", "    import numpy\n    numpy.random.seed(0)\n    residual_std ="),
    ),
    edit(
        "bfloat16_made_float32",
        "initialise",
        "A bfloat16 model must stay one: do not convert it.",
        ("    return model\n", "    return model.float() if model.lm_head.weight.dtype.itemsize == 2 else model\n"),
    ),
    edit(
        "counted_in_float32",
        "count_parameters",
        "A float32 has 24 bits, and large numbers of parameters are rounded: count in Python's whole numbers.",
        ("return embeddings", "count = embeddings"),
        ("+ norm + head", "+ norm + head\n    return int(torch.tensor(count, dtype=torch.float32))"),
    ),
    edit(
        "d_ff_that_is_given_ignored",
        "count_parameters",
        "In a wide model a d_ff that was given is taken for 4 * d_model: count with config.d_ff, whatever it is.",
        (
            "d, d_ff = config.d_model, config.d_ff",
            "d, d_ff = config.d_model, config.d_ff if config.d_model < 16 else 4 * config.d_model",
        ),
    ),
    edit(
        "column_for_a_vector",
        "most_likely_sequence",
        "An initial table of shape (n, 1) is flattened: initial_log_probs is (n,), and any other shape is refused.",
        ("initial_log_probs.shape != (n,) or", "initial_log_probs.numel() != n or"),
        ("best = initial_log_probs  #", "best = initial_log_probs.reshape(-1)  #"),
    ),
    edit(
        "counts_kept_by_too_little",
        "count_parameters",
        "The number is kept from an earlier call and d_ff or tie_embeddings were others then: a formula needs no cache.",
        (
            "    d, d_ff = config.d_model, config.d_ff\n",
            "    d, d_ff = config.d_model, config.d_ff\n"
            "    key = config.vocab_size, config.context_length, config.n_layers, d\n"
            "    kept = globals().setdefault('kept', {})\n"
            "    if key in kept:\n        return kept[key]\n",
        ),
        ("return embeddings", "kept[key] = embeddings"),
        ("+ norm + head", "+ norm + head\n    return kept[key]"),
    ),
    edit(
        "the_loss_asked_for",
        "sequence_log_prob",
        "The model is asked for a loss: it may be any module that can be called as model(ids), so use the logits.",
        (
            "    n_predicted = ids.shape[1] - 1\n",
            "    n_predicted = ids.shape[1] - 1\n    if n_predicted:\n"
            "        return torch.stack([-model(row[None, :-1], row[None, 1:])[1] * n_predicted for row in ids])\n",
        ),
    ),
    edit(
        "config_needed",
        "sequence_log_prob",
        "The model may be any module: it need not have a config.",
        (
            "    n_predicted =",
            "    if ids.shape[1] > model.config.context_length + 1:\n        raise ValueError('ids')\n    n_predicted =",
        ),
    ),
    edit(
        "log_probs_times_one_hot",
        "sequence_log_prob",
        "0 * -inf is NaN when the model rules a token out: pick the tokens' log-probabilities with gather.",
        (
            "return log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1).sum(-1)",
            "one_hot = nn.functional.one_hot(ids[:, 1:], log_probs.shape[-1])\n"
            "    return (log_probs * one_hot).sum((-1, -2))",
        ),
    ),
    edit(
        "impossible_texts_made_finite",
        "sequence_log_prob",
        "A text with a token of probability 0 has the log-probability -inf: do not clamp it.",
        (".log_softmax(-1)", ".log_softmax(-1).clamp(min=-1e30)"),
    ),
    edit(
        "single_token_in_float64",
        "sequence_log_prob",
        "The zero of a single token must have the dtype of the logits.",
        (
            "    n_predicted = ids.shape[1] - 1\n",
            "    n_predicted = ids.shape[1] - 1\n    if n_predicted == 0:\n"
            "        return torch.zeros(len(ids), dtype=torch.float64)\n",
        ),
    ),
    edit(
        "half_precision_log_prob_in_float32",
        "sequence_log_prob",
        "The log-probability of bfloat16 logits is bfloat16: if you compute in float32, round the result back.",
        (".log_softmax(-1)", ".to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)"),
    ),
    edit(
        "view_of_the_ids",
        "sequence_log_prob",
        "view fails on ids that are not contiguous: use reshape, or do without.",
        ("    n_predicted =", "    ids = ids.view(-1).view(ids.shape)\n    n_predicted ="),
    ),
    edit(
        "view_of_the_prompt",
        "generate_greedy",
        "view fails on a prompt that is not contiguous: use reshape, or do without.",
        ("    with torch.no_grad():", "    ids = ids.view(-1).view(ids.shape)\n    with torch.no_grad():"),
    ),
    edit(
        "all_likeliest_tokens_appended",
        "generate_greedy",
        "Where several tokens are equally likely one of them is appended, not all: take argmax.",
        (
            "            next_ids = logits[:, -1].argmax(-1, keepdim=True)  # (b, 1)\n",
            "            likeliest = logits[:, -1] == logits[:, -1].amax(-1, keepdim=True)\n"
            "            next_ids = likeliest.nonzero()[:, 1].reshape(len(ids), -1)\n",
        ),
    ),
    edit(
        "half_precision_tables_in_float32",
        "most_likely_sequence",
        "The log-probability must have the tables' dtype, bfloat16 too.",
        ("path[::-1]), log_prob", "path[::-1]), log_prob.to(torch.promote_types(log_prob.dtype, torch.float32))"),
    ),
    edit(
        "tables_made_to_require_gradients",
        "most_likely_sequence",
        "The caller's tables require gradients after the call: an argument is left as it is, its flags too.",
        ("    best = initial_log_probs  #", "    initial_log_probs.requires_grad_()\n    best = initial_log_probs  #"),
    ),
    edit(
        "no_ids_when_impossible",
        "most_likely_sequence",
        "When every sequence is impossible they are all equally likely: return any one of the right length, with -inf.",
        (
            "    return torch.stack",
            "    if log_prob == -torch.inf:\n        return torch.empty(0, dtype=torch.int64), log_prob\n    return torch.stack",
        ),
    ),
    edit(
        "all_best_ends_returned",
        "most_likely_sequence",
        "Several last tokens are equally good and all of them come back: take one of them, argmax say.",
        ("    path = [token]\n", "    path = list((best == log_prob).nonzero().flatten())\n"),
    ),
    edit(
        "single_rows_broadcast",
        "most_likely_sequence",
        "A table of one row or column is not (n, n): refuse it, do not broadcast it.",
        (
            "transition_log_probs.shape != (n, n):",
            "transition_log_probs.shape not in ((n, n), (1, n), (n, 1), (1, 1)):",
        ),
        ("    if length < 1:", "    transition_log_probs = transition_log_probs.expand(n, n)\n    if length < 1:"),
    ),
    edit(
        "shapes_unchecked_for_one_token",
        "most_likely_sequence",
        "Tables of the wrong shape must be refused for a length of 1 as well, although no step is taken then.",
        ("or transition_log_probs.shape", "or length > 1 and transition_log_probs.shape"),
    ),
    edit(
        "backpointers_in_a_byte",
        "most_likely_sequence",
        "The backpointers are kept in 8 bits: with more than 256 tokens they wrap around.",
        ("came_from.append(previous)", "came_from.append(previous.to(torch.uint8).long())"),
    ),
]


MUTANTS += [
    edit(
        "first_ignored_ends_the_text",
        "next_token_loss",
        "What follows an ignored position counts all the same: leave out those with ignore_index, not the rest of the text.",
        (
            "counted = targets != ignore_index",
            "counted = targets != ignore_index\n    counted = counted.cumprod(-1).bool() if targets.ndim else counted",
        ),
    ),
    edit(
        "one_maximum_for_the_batch",
        "next_token_loss",
        "The largest logit of the whole batch is subtracted, and rows far below it underflow: take each row's own.",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "z = logits - (logits.max() if len(logits) else 0)\n"
            "    return (z.exp().sum(-1).log() - z.gather(-1, targets[:, None])[:, 0]).mean()",
        ),
    ),
    edit(
        "normaliser_detached",
        "next_token_loss",
        "The gradient of the log-sum-exp is missing, so only the target's logit is pushed: detach the maximum at most.",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "return (logits.logsumexp(-1).detach() - logits.gather(-1, targets[:, None])[:, 0]).mean()",
        ),
    ),
    edit(
        "token_zero_masked",
        "MiniGPT",
        "Token 0 is masked as if it were padding: it is a token like any other, and the causal mask is the only one.",
        (
            "mask = causal_mask(n_tokens).to(ids.device)",
            "mask = causal_mask(n_tokens) & (ids != 0)[:, None, None] | torch.eye(n_tokens, dtype=torch.bool)",
        ),
    ),
    edit(
        "depth_so_far",
        "initialise",
        "All blocks have the scale 1 / sqrt(2 n_layers), the first ones too: it is not the number of blocks up to this one.",
        (
            "residual_std if writes_residual else 0.02, generator",
            "0.02 / math.sqrt(2 * (int(name.split('.')[1]) + 1)) if writes_residual else 0.02, generator",
        ),
    ),
    edit(
        "padding_row_zeroed",
        "initialise",
        "The first row of the token embedding is set to 0 as if it were padding: token 0 is a token like any other.",
        (
            "    return model\n",
            "    with torch.no_grad():\n        model.token_embedding.weight[0] = 0.0\n    return model\n",
        ),
    ),
    edit(
        "frozen_parameters_left",
        "initialise",
        "Parameters that require no gradient are left as they were: every parameter is set.",
        ("        if name.endswith(", "        if not parameter.requires_grad:\n            continue\n        if name.endswith("),
    ),
    edit(
        "frozen_parameters_thawed",
        "initialise",
        "Parameters that were frozen require gradients afterwards: set their values, not their flags.",
        ("    return model\n", "    return model.requires_grad_()\n"),
    ),
    edit(
        "configuration_used_up",
        "count_parameters",
        "The configuration is changed by the count: it is the caller's, so work with copies of its numbers.",
        (
            "    d, d_ff =",
            "    n = 0\n    while config.n_layers:\n        n, config.n_layers = n + 1, config.n_layers - 1\n    d, d_ff =",
        ),
        ("config.n_layers * (", "n * ("),
    ),
    edit(
        "exponentials_compared",
        "generate_greedy",
        "exp of a large logit is infinite, and then several tokens look equally likely: compare the logits themselves.",
        ("logits[:, -1].argmax", "logits[:, -1].exp().argmax"),
    ),
    edit(
        "weights_thawed",
        "generate_greedy",
        "Weights that were frozen require gradients afterwards: no_grad does what is wanted and changes no flag.",
        ("    return ids\n", "    model.requires_grad_()\n    return ids\n"),
    ),
    edit(
        "impossible_refused",
        "most_likely_sequence",
        "That no sequence is possible is an answer, the log-probability -inf, and not an error.",
        ("    path = [token]\n", "    if log_prob == -torch.inf:\n        raise ValueError('impossible')\n    path = [token]\n"),
    ),
]

MUTANTS += [
    edit(
        "none_for_any_size",
        "GPTConfig",
        "Only d_ff may be None; no other size can be left out.",
        (
            "            size = getattr(self, name)\n",
            "            size = getattr(self, name)\n            if size is None:\n                continue\n",
        ),
    ),
    edit(
        "whole_floats_are_sizes",
        "GPTConfig",
        "8.0 is a float, and range(8.0) an error three calls later: a size is an int.",
        ("not isinstance(size, int) or size < 1", "isinstance(size, str) or size < 1 or size % 1"),
    ),
    edit(
        "d_ff_of_one_widened",
        "GPTConfig",
        "A d_ff that was given stays as it is, 1 too; only None stands for 4 * d_model.",
        ("if self.d_ff is None:", "if self.d_ff is None or self.d_ff == 1:"),
    ),
    edit(
        "nan_of_another_dtype",
        "next_token_loss",
        "The loss has the dtype of the logits, NaN too: torch.tensor(nan) is float32 whatever they are.",
        (
            "    logits, targets = logits[counted]",
            "    if not counted.any():\n        return torch.tensor(math.nan)\n    logits, targets = logits[counted]",
        ),
    ),
    edit(
        "zero_times_infinity",
        "next_token_loss",
        "A weight of zero does not take away an infinite loss, 0 * inf is NaN: leave out what does not count before you add up.",
        (
            "    logits, targets = logits[counted], targets[counted]  # (n, vocab), (n,)\n",
            "    targets = targets.masked_fill(~counted, logits.shape[-1] - 1)\n",
        ),
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "losses = -logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)\n"
            "    return (losses * counted).sum() / counted.sum()",
        ),
    ),
    edit(
        "mean_of_means_in_many_dimensions",
        "next_token_loss",
        "The mean is over all counted positions at once, however many dimensions they have, and not over means.",
        (
            "    logits, targets = logits[counted]",
            "    if logits.dim() > 3:\n"
            "        return torch.stack([next_token_loss(z, y, ignore_index) for z, y in zip(logits, targets)]).nanmean()\n"
            "    logits, targets = logits[counted]",
        ),
    ),
    edit(
        "cropped_with_its_targets",
        "MiniGPT",
        "A text that is too long is refused, with targets as without them, and never cut.",
        (
            "        n_tokens, context_length =",
            "        if targets is not None:\n"
            "            longest = self.config.context_length\n"
            "            ids, targets = ids[:, :longest], targets[:, :longest]\n"
            "        n_tokens, context_length =",
        ),
    ),
    edit(
        "scaled_by_what_was_drawn",
        "initialise",
        "Draw with the standard deviation 0.02, and do not measure what came: a single number has no deviation, and becomes NaN.",
        (
            "generator=generator)",
            "generator=generator)\n"
            "            parameter.data.mul_((residual_std if writes_residual else 0.02) / parameter.data.std())",
        ),
    ),
    edit(
        "same_again_without_a_generator",
        "initialise",
        "Without a generator draw from PyTorch's own, so that it moves on: a copy of it gives the next model the same weights.",
        (
            "    residual_std = 0.02",
            "    generator = generator or torch.Generator().manual_seed(torch.initial_seed())\n    residual_std = 0.02",
        ),
    ),
    edit(
        "remembers_the_texts",
        "sequence_log_prob",
        "A log-probability that was kept is wrong as soon as the model has been trained on: work it out each time.",
        (
            "    n_predicted =",
            "    memo, key = sequence_log_prob.__dict__.setdefault('memo', {}), (model, str(ids.tolist()))\n"
            "    if key in memo:\n        return memo[key]\n    n_predicted =",
        ),
        ("    return log_probs", "    memo[key] = None\n    memo[key] = log_probs"),
        (".squeeze(-1).sum(-1)", ".squeeze(-1).sum(-1)\n    return memo[key]"),
    ),
    edit(
        "dtype_of_the_weights",
        "sequence_log_prob",
        "The log-probability has the dtype of the logits, and a model's weights may have another.",
        (".squeeze(-1).sum(-1)", ".squeeze(-1).sum(-1).to(next(model.parameters()).dtype)"),
    ),
    edit(
        "remembers_the_prompts",
        "generate_greedy",
        "A text that was kept is wrong as soon as the model has been trained on: run the model each time.",
        (
            "    with torch.no_grad():",
            "    memo, key = generate_greedy.__dict__.setdefault('memo', {}), (model, str(ids.tolist()), max_new_tokens)\n"
            "    if key in memo:\n        return memo[key]\n    with torch.no_grad():",
        ),
        ("    return ids\n", "    memo[key] = ids\n    return ids\n"),
    ),
    edit(
        "compared_in_half_precision",
        "generate_greedy",
        "Rounded logits may be equal where the logits are not: compare them as they are.",
        ("logits[:, -1].argmax", "logits[:, -1].half().argmax"),
    ),
    edit(
        "remembers_the_tables",
        "most_likely_sequence",
        "The same tensors may hold other numbers when they come again: keep nothing from call to call.",
        (
            "    n = len(initial_log_probs)\n",
            "    n = len(initial_log_probs)\n"
            "    memo, key = most_likely_sequence.__dict__.setdefault('memo', {}),"
            " (initial_log_probs, transition_log_probs, length)\n"
            "    if key in memo:\n        return memo[key]\n",
        ),
        (
            "    return torch.stack(path[::-1]), log_prob",
            "    memo[key] = torch.stack(path[::-1]), log_prob\n    return memo[key]",
        ),
    ),
]


MUTANTS += [
    edit(
        "equal_when_equally_wide",
        "GPTConfig",
        "Two configurations are equal when all their fields are: leave the comparison to the dataclass.",
        (
            "    def __post_init__",
            "    def __eq__(self, other):\n        return self.d_model == other.d_model\n\n    def __post_init__",
        ),
    ),
    edit(
        "large_vocabularies_refused",
        "GPTConfig",
        "A size has no upper limit: some vocabularies have a million tokens.",
        ("or size < 1", "or not 1 <= size <= 200_000"),
    ),
    edit(
        "added_up_in_half_precision",
        "next_token_loss",
        "A sum of many losses in bfloat16 stops growing: take the mean, which PyTorch adds up in float32.",
        (
            "return -logits.log_softmax(-1).gather(-1, targets[:, None]).mean()",
            "losses, total = -logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0], logits.new_zeros(())\n"
            "    for loss in losses:\n        total = total + loss\n    return total / losses.new_tensor(len(losses))",
        ),
    ),
    edit(
        "nan_left_out",
        "next_token_loss",
        "nanmean leaves out what has become NaN, and a model that has broken down looks well: take the mean.",
        (".mean()", ".nanmean()"),
    ),
    edit(
        "gradients_switched_on",
        "next_token_loss",
        "Gradients are recorded from now on although the caller had switched them off: leave that to the caller.",
        ("    counted = ", "    torch.set_grad_enabled(True)\n    counted = "),
    ),
    edit(
        "tokens_in_sixteen_bits",
        "MiniGPT",
        "Token numbers beyond 32,767 do not fit into 16 bits, and a vocabulary may be larger.",
        ("self.token_embedding(ids)", "self.token_embedding(ids.to(torch.int16).int())"),
    ),
    edit(
        "a_window_of_128_tokens",
        "MiniGPT",
        "Each position sees all tokens up to its own, not just the last 128.",
        ("causal_mask(n_tokens).to(ids.device)", "causal_mask(n_tokens).triu(-127)"),
    ),
    edit(
        "mask_in_the_first_four_blocks",
        "MiniGPT",
        "Every block needs the mask, however many there are.",
        ("for block in self.blocks:", "for i, block in enumerate(self.blocks):"),
        ("mask=mask)", "mask=mask if i < 4 else None)"),
    ),
    edit(
        "first_row_of_ids_checked",
        "MiniGPT",
        "Ids below 0 must be refused in every row, not in the first one alone: weight[-1] is the last token's.",
        (
            "x = self.position_embedding(self.token_embedding(ids))",
            "if (ids[0] < 0).any():\n            raise IndexError('ids')\n"
            "        x = self.position_embedding(self.token_embedding.weight[ids])",
        ),
    ),
    edit(
        "configuration_written_to",
        "MiniGPT",
        "The configuration is changed: whoever reads its n_layers later must find what was given.",
        ("        self.config = config\n", "        self.config, n = config, config.n_layers\n        config.n_layers = 0\n"),
        ("range(config.n_layers)", "range(n)"),
    ),
    edit(
        "negative_targets_do_not_count",
        "MiniGPT",
        "The loss is next_token_loss(logits, targets): of negative targets only -100 is left out, and -1 is an error.",
        ("next_token_loss(logits, targets)", "next_token_loss(logits, targets.masked_fill(targets < 0, -100))"),
    ),
    edit(
        "gradients_whatever_the_caller_says",
        "MiniGPT",
        "Gradients are recorded even under no_grad: whether they are is the caller's choice.",
        (
            "        logits = self.lm_head(self.final_norm(x))",
            "        with torch.enable_grad():\n            logits = self.lm_head(self.final_norm(x))",
        ),
    ),
    edit(
        "no_loss_without_gradients",
        "MiniGPT",
        "The loss is computed whenever targets are given, under no_grad too: that is how a model is evaluated.",
        ("None if targets is None", "None if targets is None or not torch.is_grad_enabled()"),
    ),
    edit(
        "copies_use_the_first_model",
        "MiniGPT",
        "A function made in __init__ holds the model that it was made in, and a deep copy goes on using that one's weights.",
        ("self.lm_head(self.final_norm(x))", "self.predict(x)"),
        (
            "            self.lm_head.weight = self.token_embedding.weight\n",
            "            self.lm_head.weight = self.token_embedding.weight\n"
            "        self.predict = lambda x: self.lm_head(self.final_norm(x))\n",
        ),
    ),
    edit(
        "all_zeros_at_first",
        "MiniGPT",
        "Weights that start at zero are all alike and stay so: leave them where PyTorch puts them.",
        (
            "            self.lm_head.weight = self.token_embedding.weight\n",
            "            self.lm_head.weight = self.token_embedding.weight\n"
            "        for parameter in self.parameters():\n            nn.init.zeros_(parameter)\n",
        ),
    ),
    edit(
        "logits_cut_off",
        "MiniGPT",
        "Logits may be of any size: do not clamp them.",
        ("        return logits, None", "        logits = logits.clamp(-50, 50)\n        return logits, None"),
    ),
    edit(
        "w_o_copied_from_w_q",
        "initialise",
        "Each weight gets random numbers of its own: w_o is w_q once more, only smaller.",
        (
            "    return model",
            "    with torch.no_grad():\n        for block in model.blocks:\n"
            "            block.attention.w_o.weight.copy_(block.attention.w_q.weight * residual_std / 0.02)\n    return model",
        ),
    ),
    edit(
        "half_precision_left",
        "initialise",
        "A bfloat16 model is left as it was: the rule is the same for every dtype.",
        (
            "    for name, parameter",
            "    if model.lm_head.weight.dtype is torch.bfloat16:\n        return model\n    for name, parameter",
        ),
    ),
    edit(
        "ten_blocks_at_most",
        "initialise",
        "The eleventh block has two digits in its names, and from there on yours are not scaled: look at a name's end.",
        ("writes_residual = ", "writes_residual = name[8:9] == '.' and "),
    ),
    edit(
        "first_generator_kept",
        "initialise",
        "The generator of the first call is kept, and a second call does not draw from the one that it is given.",
        ("    residual_std = ", "    generator = model.__dict__.setdefault('generator', generator)\n    residual_std = "),
    ),
    edit(
        "counted_in_float64",
        "count_parameters",
        "A float has 53 bits, and beyond that not every whole number is one: count in Python's whole numbers.",
        ("    d, d_ff = config.d_model, config.d_ff", "    d, d_ff = float(config.d_model), float(config.d_ff)"),
        ("+ norm + head", "+ norm + head)"),
        ("return embeddings", "return int(embeddings"),
    ),
    edit(
        "texts_cut_at_64_tokens",
        "sequence_log_prob",
        "A text may be as long as the model's context and one token more: do not cut it.",
        ("    n_predicted =", "    ids = ids[:, :64]\n    n_predicted ="),
    ),
    edit(
        "gradients_asked_for",
        "sequence_log_prob",
        "Gradients are recorded even under no_grad: whether they are is the caller's choice.",
        ("    logits, _ = ", "    with torch.enable_grad():\n        logits, _ = "),
    ),
    edit(
        "gradients_thrown_away",
        "generate_greedy",
        "The gradients that the model holds are thrown away: whoever writes a sample while training still needs them.",
        ("    with torch.no_grad():", "    model.zero_grad()\n    with torch.no_grad():"),
    ),
    edit(
        "impossible_tokens_chosen",
        "generate_greedy",
        "A logit of -inf is a probability of 0, and a 0 in its place may be the largest of all: leave it as it is.",
        ("logits[:, -1].argmax", "logits[:, -1].nan_to_num(neginf=0.0).argmax"),
    ),
    edit(
        "tokens_kept_in_half_precision",
        "generate_greedy",
        "Token numbers beyond 2,048 are rounded in float16: keep them as int64.",
        ("torch.cat([ids, next_ids], dim=1)", "torch.cat([ids.half(), next_ids.half()], dim=1).long()"),
    ),
]

MUTANTS += [
    edit(
        "numpys_number",
        "count_parameters",
        "The count is a number of NumPy's, which overflows where Python's own do not: return an int.",
        ("    return embeddings +", "    import numpy as np\n\n    return np.int64(embeddings) +"),
    ),
    edit(
        "evaluation_before_the_checks",
        "generate_greedy",
        "When a call is refused the model is left in evaluation mode: check first, or put it back in a finally clause.",
        ("    if max_new_tokens < 0:", "    was = model.training\n    model.eval()\n    if max_new_tokens < 0:"),
        ("    return ids", "    model.train(was)\n    return ids"),
    ),
    edit(
        "gradients_off_before_the_checks",
        "generate_greedy",
        "When a call is refused gradients stay switched off: use torch.no_grad() as a context, or check first.",
        (
            "    if max_new_tokens < 0:",
            "    was = torch.is_grad_enabled()\n    torch.set_grad_enabled(False)\n    if max_new_tokens < 0:",
        ),
        ("    return ids", "    torch.set_grad_enabled(was)\n    return ids"),
    ),
]

MUTANTS += [
    edit(
        "d_ff_of_the_default_width",
        "GPTConfig",
        "A d_ff that is left out is 256 whatever d_model is: its default is None, for 4 * d_model.",
        ("    d_ff: int | None = None  # width", "    d_ff: int | None = 256  # width"),
    ),
    edit(
        "compared_in_float32",
        "most_likely_sequence",
        "Scores that differ in the eighth digit are equal in float32: compare in the tables' own dtype.",
        (
            "        best, previous = (best[:, None] + transition_log_probs).max(dim=0)\n",
            "        scores = best[:, None] + transition_log_probs\n        previous = scores.float().argmax(dim=0)\n"
            "        best = scores.gather(0, previous[None])[0]\n",
        ),
        ("    log_prob, token = best.max(dim=0)\n", "    token = best.float().argmax()\n    log_prob = best[token]\n"),
    ),
]

MUTANTS += [
    edit(
        "view_where_all_count",
        "next_token_loss",
        "Where no position is ignored view is used, which fails on logits that are not contiguous: use reshape or flatten.",
        (
            "    logits, targets = logits[counted], targets[counted]  # (n, vocab), (n,)\n",
            "    if counted.all():\n"
            "        logits, targets = logits.view(-1, logits.shape[-1]), targets.reshape(-1)\n"
            "    else:\n"
            "        logits, targets = logits[counted], targets[counted]\n",
        ),
    ),
    edit(
        "padded_to_the_context_length",
        "generate_greedy",
        "The text is filled up with zeros to the context length: give the model no tokens that are not in the text.",
        (
            "            logits, _ = model(ids[:, -model.config.context_length :])\n",
            "            read = ids[:, -model.config.context_length :]\n"
            "            n_missing = model.config.context_length - read.shape[1]\n"
            "            logits, _ = model(torch.nn.functional.pad(read, (0, n_missing)))\n"
            "            logits = logits[:, : read.shape[1]]\n",
        ),
    ),
]

MUTANTS += [
    edit(
        "logits_detached_beside_the_loss",
        "MiniGPT",
        "Where targets are given the logits carry no gradient: detach nothing, whoever calls may want both.",
        (
            "        return logits, None if targets is None else next_token_loss(logits, targets)\n",
            "        if targets is not None:\n            return logits.detach(), next_token_loss(logits, targets)\n"
            "        return logits, None\n",
        ),
    ),
    edit(
        "biases_times_zero",
        "initialise",
        "0 times NaN is NaN: set a bias to 0, whatever was there before.",
        ("nn.init.zeros_(parameter)", "parameter.data.mul_(0)"),
    ),
    edit(
        "zero_in_single_precision",
        "sequence_log_prob",
        "The log-probability of a single token has the logits' dtype as well, also where that is bfloat16.",
        (
            "    log_probs = logits",
            "    if not n_predicted:\n        wide = logits.dtype == torch.float64\n"
            "        return torch.zeros(len(ids), dtype=torch.float64 if wide else torch.float32)\n    log_probs = logits",
        ),
    ),
    edit(
        "probabilities_compared",
        "generate_greedy",
        "Softmax rounds, and then several tokens look equally likely in half precision: compare the logits themselves.",
        ("logits[:, -1].argmax", "logits[:, -1].softmax(-1).argmax"),
    ),
    edit(
        "room_for_new_tokens_is_read",
        "generate_greedy",
        "The zeros that wait for new tokens are read as if they were text: give the model the tokens that are there so far.",
        (
            "    with torch.no_grad():\n        for _ in range(max_new_tokens):\n"
            "            logits, _ = model(ids[:, -model.config.context_length :])\n"
            "            next_ids = logits[:, -1].argmax(-1, keepdim=True)  # (b, 1)\n"
            "            ids = torch.cat([ids, next_ids], dim=1)\n",
            "    t, width = ids.shape[1], model.config.context_length\n"
            "    ids = torch.cat([ids, ids.new_zeros(len(ids), max_new_tokens)], dim=1)\n"
            "    with torch.no_grad():\n        for end in range(t, t + max_new_tokens):\n"
            "            start = max(0, end - width)\n"
            "            logits, _ = model(ids[:, start : start + width].clone())\n"
            "            ids[:, end] = logits[:, end - start - 1].argmax(-1)\n",
        ),
    ),
    edit(
        "embeddings_held_to_a_norm",
        "MiniGPT",
        "max_norm shortens embeddings that are longer, and changes the weights in the forward pass: leave it out.",
        ("nn.Embedding(config.vocab_size, config.d_model)", "nn.Embedding(config.vocab_size, config.d_model, max_norm=8.0)"),
    ),
]
