"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

from autograder.testing.variants import edit

MUTANTS = [
    # GPTConfig
    edit("zero_is_a_size", "GPTConfig", "A size of 0 is accepted: sizes are positive.", ("size < 1", "size < 0")),
    edit(
        "fractions_are_sizes",
        "GPTConfig",
        "A size of 2.0 is accepted: sizes are whole numbers, and isinstance tells.",
        ("not isinstance(size, int) or isinstance(size, bool) or size < 1", "size < 1"),
    ),
    edit(
        "heads_need_not_divide",
        "GPTConfig",
        "n_heads that do not divide d_model are accepted, and crash in attention.",
        ("if self.d_model % self.n_heads != 0:", "if self.d_model < self.n_heads:"),
    ),
    edit(
        "dropout_of_one",
        "GPTConfig",
        "A dropout of 1 is accepted, which drops everything.",
        ("0 <= self.dropout < 1", "0 <= self.dropout <= 1"),
    ),
    edit(
        "layers_unchecked",
        "GPTConfig",
        "n_layers is not among the sizes that are checked.",
        (
            '("vocab_size", "context_length", "n_layers", "n_heads", "d_model")',
            '("vocab_size", "context_length", "n_heads", "d_model")',
        ),
    ),
    edit(
        "one_config_for_all",
        "GPTConfig",
        "gpt2_124m returns the same object every time: whoever changes it changes everybody's.",
        (
            "        return cls(vocab_size=50257, context_length=1024, n_layers=12, n_heads=12, d_model=768)",
            "        cls._one = getattr(cls, '_one', None) or cls()\n        return cls._one",
        ),
    ),
    edit(
        "dropout_int_refused",
        "GPTConfig",
        "A dropout of 0 is refused because it is an int: only values outside of 0 <= dropout < 1 are.",
        ("if not 0 <= self.dropout < 1:", "if not isinstance(self.dropout, float) or not 0 <= self.dropout < 1:"),
    ),
    edit(
        "large_sizes_refused",
        "GPTConfig",
        "Sizes are refused that are only large: every positive whole number is a size.",
        (
            "        if self.d_model % self",
            "        if self.vocab_size > 65536:\n            raise ValueError('16 bits')\n        if self.d_model % self",
        ),
    ),
    edit(
        "head_in_a_closure",
        "GPT",
        "A function that __init__ made keeps this model's own head, so a copy of the model computes with the original's.",
        (
            "        self.lm_head.weight = self.wte.weight\n",
            "        self.lm_head.weight = self.wte.weight\n        self.read_out = lambda x: self.lm_head(self.ln_f(x))\n",
        ),
        ("self.lm_head(self.ln_f(x[:, -1:] if last_only else x))", "self.read_out(x[:, -1:] if last_only else x)"),
    ),
    edit(
        "wider_in_a_closure",
        "MLP",
        "A function that __init__ made keeps this layer's own weights, so a copy of it computes with the original's.",
        (
            "        self.c_proj = nn.Linear(4 * config.d_model, config.d_model)",
            "        self.c_proj = nn.Linear(4 * config.d_model, config.d_model)\n        self.wider = lambda x: self.c_fc(x)",
        ),
        ("F.gelu(self.c_fc(x), ", "F.gelu(self.wider(x), "),
    ),
    edit(
        "projection_in_a_closure",
        "CausalSelfAttention",
        "A function that __init__ made keeps this layer's own weights, so a copy of it computes with the original's.",
        (
            "        self.c_proj = nn.Linear(config.d_model, config.d_model)",
            "        self.c_proj = nn.Linear(config.d_model, config.d_model)\n        self.project = lambda x: self.c_attn(x)",
        ),
        ("self.c_attn(x).split", "self.project(x).split"),
    ),
    edit(
        "text_normalised",
        "prepare_corpus",
        "Accents are joined with their letters: the text is encoded as it is.",
        ("tokenizer.encode(text)", "tokenizer.encode(__import__('unicodedata').normalize('NFC', text))"),
    ),
    edit(
        "cache_on_the_processor",
        "GPT",
        "A new cache lies on the CPU wherever the model is: it belongs on the device of the weights.",
        ("weight.dtype, weight.device)", "weight.dtype)"),
    ),
    edit(
        "paths_sorted",
        "prepare_corpus",
        "The files are sorted: they come in the order in which they were given.",
        ("for text in read_documents(paths)", "for text in read_documents(sorted(paths))"),
    ),
    edit(
        "line_ends_changed",
        "prepare_corpus",
        "Line ends are made one kind: the text is encoded as it is.",
        ("tokenizer.encode(text)", "tokenizer.encode(text.replace('\\r\\n', '\\n'))"),
    ),
    edit(
        "modes_of_children_alone",
        "evaluate",
        "Only the modes of the model and its children are put back: children have children, model.modules() has them all.",
        ("for part in model.modules()]", "for part in (model, *model.children())]"),
    ),
    edit(
        "steps_beyond_the_end",
        "train",
        "With a stop_after beyond total_steps, the run goes on after its end: the smaller of the two.",
        ("min(config.stop_after, config.total_steps)", "config.stop_after"),
    ),
    edit(
        "stop_by_index",
        "generate",
        "stop may be a set, which has no order: ask `in`.",
        ("if token in stop:", "if any(token == stop[i] for i in range(len(stop))):"),
    ),
    edit(
        "head_like_get",
        "application",
        "HEAD is answered as GET is: any other method gets 405.",
        ('environ["REQUEST_METHOD"] != allowed', 'environ["REQUEST_METHOD"].replace("HEAD", "GET") != allowed'),
    ),
    # CausalSelfAttention
    edit(
        "not_causal",
        "CausalSelfAttention",
        "Tokens see what comes after them: the mask is missing.",
        ("is_causal=t == n > 1", "is_causal=False"),
    ),
    edit(
        "causal_top_left",
        "CausalSelfAttention",
        "is_causal=True aligns the mask top-left: with older keys in the cache, the new queries are the last ones.",
        ("attn_mask=mask, dropout_p=dropout, is_causal=t == n > 1", "dropout_p=dropout, is_causal=t > 1"),
    ),
    edit(
        "blind_to_itself",
        "CausalSelfAttention",
        "With a cache, a new token does not see itself: tril(n - t).",
        (".tril(n - t)", ".tril(n - t - 1)"),
    ),
    edit(
        "channels_across_heads",
        "CausalSelfAttention",
        "Heads take every n_heads-th channel: a head's channels are neighbours.",
        ("part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)", "part.unflatten(-1, (-1, self.n_heads)).permute(0, 3, 1, 2)"),
    ),
    edit(
        "heads_not_merged_in_order",
        "CausalSelfAttention",
        "Heads are merged without moving the time axis back: transpose(1, 2) first.",
        ("y.transpose(1, 2).flatten(2)", "y.reshape(b, t, d)"),
    ),
    edit(
        "keys_queries_swapped",
        "CausalSelfAttention",
        "Queries and keys are swapped: c_attn gives queries first.",
        ("q, k, v = (part", "k, q, v = (part"),
    ),
    edit(
        "heads_before_thirds",
        "CausalSelfAttention",
        "Each head's queries, keys and values are taken side by side: in GPT-2 all queries come "
        "first, then all keys, then all values.",
        (
            "q, k, v = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in self.c_attn(x).split(d, dim=-1))",
            "q, k, v = self.c_attn(x).unflatten(-1, (self.n_heads, 3, -1)).permute(3, 0, 2, 1, 4)",
        ),
    ),
    edit(
        "scores_not_scaled",
        "CausalSelfAttention",
        "Scores are not divided by sqrt(head_dim).",
        ("is_causal=t == n > 1)", "is_causal=t == n > 1, scale=1.0)"),
    ),
    edit(
        "dropout_in_evaluation",
        "CausalSelfAttention",
        "Attention weights are dropped in evaluation, too: pass dropout_p=0.0 then.",
        ("self.dropout if self.training else 0.0", "self.dropout"),
    ),
    edit(
        "weights_never_dropped",
        "CausalSelfAttention",
        "Only the result is dropped, never the attention weights.",
        ("self.dropout if self.training else 0.0", "0.0"),
    ),
    edit(
        "always_layer_zero",
        "CausalSelfAttention",
        "The cache's layer 0 is used, whichever was asked for.",
        ("cache.update(layer, k, v)", "cache.update(0, k, v)"),
    ),
    edit(
        "detached",
        "CausalSelfAttention",
        "Gradients do not reach the keys: detach cuts them off.",
        ("q, k, v, attn_mask", "q, k.detach(), v, attn_mask"),
    ),
    edit(
        "soft_mask_100",
        "CausalSelfAttention",
        "100 is taken off the masked scores: a future token with a larger score shows all the same. Masked scores are -inf.",
        (
            "        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=t == n > 1)\n",
            "        s = q @ k.mT / (d // self.n_heads) ** 0.5\n"
            "        s = s - 100.0 * torch.ones(t, n, dtype=s.dtype).triu(n - t + 1)\n"
            "        y = F.dropout(s.softmax(-1), dropout) @ v\n",
        ),
    ),
    edit(
        "masked_scores_of_minus_1e4",
        "CausalSelfAttention",
        "Masked scores are -1e4: where the others are lower still, a token sees what comes after it. Masked scores are -inf.",
        (
            "        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=t == n > 1)\n",
            "        s = q @ k.mT / (d // self.n_heads) ** 0.5\n"
            "        s = s.masked_fill(torch.ones(t, n, dtype=torch.bool).triu(n - t + 1), -1e4)\n"
            "        y = F.dropout(s.softmax(-1), dropout) @ v\n",
        ),
    ),
    edit(
        "dropout_when_alone_only",
        "CausalSelfAttention",
        "Weights are dropped only where one token attends.",
        ("dropout_p=dropout, is_causal", "dropout_p=dropout if t == 1 else 0.0, is_causal"),
    ),
    edit(
        "mask_of_1024",
        "CausalSelfAttention",
        ("The mask has 1024 rows, whatever the config says: its size goes by the queries and keys, or by context_length."),
        (
            "mask = None if t in (1, n) else torch.ones(t, n, dtype=torch.bool, device=x.device).tril(n - t)",
            "mask = torch.ones(1024, 1024, dtype=torch.bool).tril()[n - t:n, :n]",
        ),
        ("is_causal=t == n > 1", "is_causal=False"),
    ),
    edit(
        "mask_kept_by_its_queries",
        "CausalSelfAttention",
        "A mask is kept for later calls and found again by its number of queries: the number of keys belongs to it, too.",
        ("        self.c_proj = nn", "        self._masks = {}\n        self.c_proj = nn"),
        (
            "mask = None if t in (1, n) else torch.ones(t, n, dtype=torch.bool, device=x.device).tril(n - t)",
            "if t not in self._masks or self._masks[t].shape[1] < n:\n"
            "            self._masks[t] = torch.ones(t, n, dtype=torch.bool).tril(n - t)\n"
            "        mask = None if t in (1, n) else self._masks[t][:, :n]",
        ),
    ),
    edit(
        "older_keys_of_all_layers",
        "CausalSelfAttention",
        "The number of older keys is taken from cache.length, which is the least that any layer holds: this layer's own keys "
        "tell, k.shape[2] - t after the update.",
        ("        if cache is not None:", "        past = 0 if cache is None else cache.length\n        if cache is not None:"),
        (".tril(n - t)", ".tril(past)"),
    ),
    # MLP
    edit(
        "exact_gelu", "MLP", 'This is the exact GELU; GPT-2 has the tanh form: approximate="tanh".', (', approximate="tanh"', "")
    ),
    edit(
        "gelu_missing",
        "MLP",
        "Nothing stands between the two linear layers, which are then one.",
        ('F.gelu(self.c_fc(x), approximate="tanh")', "self.c_fc(x)"),
    ),
    edit(
        "mlp_dropout_in_evaluation",
        "MLP",
        "Numbers are dropped in evaluation, too: F.dropout(y, p, self.training).",
        ("self.dropout, self.training)", "self.dropout)"),
    ),
    edit(
        "inside_dropped",
        "MLP",
        "Dropout belongs to the result, not between the layers.",
        (
            'F.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")), self.dropout, self.training)',
            'self.c_proj(F.dropout(F.gelu(self.c_fc(x), approximate="tanh"), self.dropout, self.training))',
        ),
    ),
    edit(
        "mlp_detached",
        "MLP",
        "No gradient reaches x: detach cuts it off.",
        ("self.c_proj(F.gelu(self.c_fc(x)", "self.c_proj(F.gelu(self.c_fc(x.detach())"),
    ),
    edit(
        "mlp_gives_float64",
        "MLP",
        "The result is float64 whatever x is: the input's dtype is kept.",
        (
            'return F.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))',
            'return F.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")).double()',
        ),
    ),
    edit(
        "inside_dropped_as_well",
        "MLP",
        "Numbers are dropped between the layers as well: only the result is.",
        (
            'return F.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")), self.dropout, self.training)',
            (
                'return F.dropout(self.c_proj(F.dropout(F.gelu(self.c_fc(x), approximate="tanh"), self.dropout, '
                "self.training)), self.dropout, self.training)"
            ),
        ),
    ),
    # Block
    edit(
        "post_norm",
        "Block",
        "The norms come after the additions: GPT-2's come before attention and before the feed-forward layer.",
        ("x = x + self.attn(self.ln_1(x), cache, layer)", "x = self.ln_1(x + self.attn(x, cache, layer))"),
        ("return x + self.mlp(self.ln_2(x))", "return self.ln_2(x + self.mlp(x))"),
    ),
    edit(
        "mlp_replaces",
        "Block",
        "The feed-forward layer's result takes the place of x: it should be added to it.",
        ("return x + self.mlp", "return self.mlp"),
    ),
    edit(
        "side_by_side",
        "Block",
        "Both parts read the same x, side by side: the feed-forward layer comes after attention.",
        ("x = x + self.attn(self.ln_1(x), cache, layer)", "y = self.attn(self.ln_1(x), cache, layer)"),
        ("return x + self.mlp(self.ln_2(x))", "return x + y + self.mlp(self.ln_2(x))"),
    ),
    edit("one_norm_for_both", "Block", "ln_1 is used twice, ln_2 never.", ("self.mlp(self.ln_2(x))", "self.mlp(self.ln_1(x))")),
    edit(
        "small_eps",
        "Block",
        "The norms' eps is not 1e-5.",
        ("self.ln_1 = nn.LayerNorm(config.d_model, eps=1e-5)", "self.ln_1 = nn.LayerNorm(config.d_model, eps=1e-6)"),
    ),
    edit(
        "cache_not_handed_on",
        "Block",
        "The cache is not handed on to attention.",
        ("self.attn(self.ln_1(x), cache, layer)", "self.attn(self.ln_1(x))"),
    ),
    edit(
        "added_in_place",
        "Block",
        "x is changed in place: x += y changes the caller's tensor.",
        ("x = x + self.attn(self.ln_1(x), cache, layer)", "x += self.attn(self.ln_1(x), cache, layer)"),
    ),
    edit(
        "residual_dropout",
        "Block",
        "The stream itself is dropped: attn and mlp drop numbers of their own results, and that is all.",
        ("        self.mlp = MLP(config)", "        self.mlp = MLP(config)\n        self.drop = nn.Dropout(config.dropout)"),
        ("return x + self.mlp(self.ln_2(x))", "return self.drop(x + self.mlp(self.ln_2(x)))"),
    ),
    edit(
        "config_dropout_ignored",
        "Block",
        "The block's attention does not get the config's dropout.",
        (
            "self.attn = CausalSelfAttention(config)",
            "from dataclasses import replace\n        self.attn = CausalSelfAttention(replace(config, dropout=0.0))",
        ),
    ),
    edit(
        "stream_detached",
        "Block",
        "The residual stream is detached, so that gradients reach earlier layers through attention alone.",
        ("x = x + self.attn(", "x = x.detach() + self.attn("),
    ),
    # GPT
    edit(
        "not_tied",
        "GPT",
        "lm_head has a weight of its own: it should be the very parameter wte.weight.",
        ("        self.lm_head.weight = self.wte.weight\n", ""),
    ),
    edit(
        "no_final_norm",
        "GPT",
        "ln_f is missing before the output layer.",
        ("self.lm_head(self.ln_f(x[:, -1:] if last_only else x))", "self.lm_head(x[:, -1:] if last_only else x)"),
    ),
    edit(
        "positions_from_zero",
        "GPT",
        "With a cache, the new tokens' positions begin at 0: they begin where the cache ends.",
        ("torch.arange(start, stop, device=ids.device)", "torch.arange(ids.shape[1], device=ids.device)"),
    ),
    edit(
        "loss_shifts_again",
        "GPT",
        "Targets are shifted once more: they come shifted already.",
        (
            "F.cross_entropy(logits.flatten(0, 1), targets.flatten())",
            "F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())",
        ),
    ),
    edit(
        "loss_is_a_sum",
        "GPT",
        "The loss is a sum: it should be the mean over the counted targets.",
        ("targets.flatten())", 'targets.flatten(), reduction="sum")'),
    ),
    edit(
        "residual_not_scaled",
        "GPT",
        "c_proj weights start with std 0.02: they should be smaller by sqrt(2 n_layers).",
        ('std = residual_std if name.endswith("c_proj.weight") else 0.02', "std = 0.02"),
    ),
    edit(
        "biases_left",
        "GPT",
        "Biases start where PyTorch puts them: they should be 0.",
        ('if name.endswith("bias"):\n                nn.init.zeros_(parameter)\n            elif', "if"),
    ),
    edit(
        "generator_unused",
        "GPT",
        "The generator is not used: the weights come from the global random state.",
        ("std=std, generator=generator)", "std=std)"),
    ),
    edit(
        "global_state_moved",
        "GPT",
        "With a generator, making a model moves the global random state: PyTorch's layers draw from it as they are built.",
        ("        torch.set_rng_state(global_state)  # what PyTorch's layers drew for themselves is not kept\n", ""),
    ),
    edit(
        "buffer_for_the_mask",
        "GPT",
        "There is a buffer in the state, which the published names do not have.",
        (
            "        self.config = config\n",
            '        self.config = config\n        self.register_buffer("mask", torch.ones(2, 2))\n',
        ),
    ),
    edit(
        "context_less_one",
        "GPT",
        "A text that fills the context is refused: it is not too long.",
        ("if stop > self.config.context_length:", "if stop >= self.config.context_length:"),
    ),
    edit("last_only_ignored", "GPT", "last_only gives all positions.", ("x[:, -1:] if last_only else x", "x")),
    edit(
        "all_blocks_one_layer",
        "GPT",
        "All blocks use layer 0 of the cache.",
        ("x = block(x, cache, layer)", "x = block(x, cache)"),
    ),
    edit(
        "embeddings_not_dropped",
        "GPT",
        "In training, the embeddings should be dropped as well.",
        ("        x = F.dropout(x, self.config.dropout, self.training)\n", ""),
    ),
    edit(
        "cache_in_float32",
        "GPT",
        "The cache is float32, whatever the model is.",
        ("KVCache(self.config, batch_size, weight.dtype, weight.device)", "KVCache(self.config, batch_size)"),
    ),
    edit(
        "one_cache_for_all",
        "GPT",
        "Every new cache is the same one.",
        (
            "        return KVCache(self.config, batch_size, weight.dtype, weight.device)",
            '        if not hasattr(self, "_cache") or self._cache.keys.shape[1] != batch_size:\n'
            "            self._cache = KVCache(self.config, batch_size, weight.dtype, weight.device)\n"
            "        return self._cache",
        ),
    ),
    edit(
        "forked_always",
        "GPT",
        "The global random state is put back even where the weights came from it: two models made one after "
        "the other are then alike.",
        ("        torch.set_rng_state(global_state)  # what PyTorch's layers drew for themselves is not kept\n", ""),
        (
            "                nn.init.normal_(parameter, std=std, generator=generator)\n",
            "                nn.init.normal_(parameter, std=std, generator=generator)\n"
            "        torch.set_rng_state(global_state)\n",
        ),
    ),
    edit(
        "generator_reseeded",
        "GPT",
        "Another generator is made from the first one's seed: two models from one generator are then alike.",
        (
            "        residual_std",
            "        if generator is not None and generator.device.type == 'cpu':\n"
            "            generator = torch.Generator().manual_seed(generator.initial_seed())\n"
            "        residual_std",
        ),
    ),
    edit(
        "config_elsewhere",
        "GPT",
        "The config is kept under another name: `model.config` is part of the interface.",
        ("        self.config = config\n", "        self.cfg = config\n"),
        ("        if stop > self.config.context_length:", "        if stop > self.cfg.context_length:"),
        ("context length of {self.config.context_length}", "context length of {self.cfg.context_length}"),
        ("x = F.dropout(x, self.config.dropout", "x = F.dropout(x, self.cfg.dropout"),
        ("KVCache(self.config", "KVCache(self.cfg"),
    ),
    edit(
        "config_on_class",
        "GPT",
        "The config is kept on the class: a second model changes that of the first.",
        ("        self.config = config\n", "        type(self).config = config\n"),
    ),
    edit(
        "all_logits_computed",
        "GPT",
        "All logits are computed and all but the last thrown away: cut x before the output layer.",
        (
            "logits = self.lm_head(self.ln_f(x[:, -1:] if last_only else x))",
            "logits = self.lm_head(self.ln_f(x))\n        logits = logits[:, -1:] if last_only else logits",
        ),
    ),
    edit(
        "truncated_normal",
        "GPT",
        "The normal distribution is cut off at three standard deviations.",
        (
            "nn.init.normal_(parameter, std=std, generator=generator)",
            "nn.init.trunc_normal_(parameter, std=std, a=-3 * std, b=3 * std, generator=generator)",
        ),
    ),
    edit(
        "training_loss_none_in_eval",
        "GPT",
        "There is no loss in evaluation mode: targets alone decide whether there is one.",
        ("if targets is None:", "if targets is None or not self.training:"),
    ),
    edit(
        "positions_to_1024",
        "GPT",
        "Positions end at 1024, whatever the config says: context_length tells how many there are.",
        ("torch.arange(start, stop, device=ids.device)", "torch.arange(1024, device=ids.device)[start:stop]"),
    ),
    edit(
        "positions_remembered",
        "GPT",
        "The embeddings of positions are remembered without gradients, so that after a change of the weights they are old: "
        "look them up in every call.",
        ("        x = self.wte(ids) + self.wpe(", "        rows = self.wpe("),
        (
            "# (b, t, d)\n",
            "# (b, t, d)\n"
            "        if not torch.is_grad_enabled():\n"
            "            rows = vars(self).setdefault('_rows', self.wpe.weight.clone())[start:stop]\n"
            "        x = self.wte(ids) + rows\n",
        ),
    ),
    # load_gpt2_state_dict
    edit(
        "never_transposed",
        "load_gpt2_state_dict",
        "Nothing is transposed: c_attn, c_proj and c_fc are (in, out) in the published files.",
        ("published[name] = tensor = tensor.T", "pass"),
    ),
    edit(
        "square_not_transposed",
        "load_gpt2_state_dict",
        "Only what does not fit is transposed: attn.c_proj is square and has to be, too.",
        (
            'tensor.ndim == 2 and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))',
            "tensor.ndim == 2 and name in own and tensor.T.shape == own[name].shape != tensor.shape",
        ),
    ),
    edit(
        "prefix_unknown",
        "load_gpt2_state_dict",
        "Names with `transformer.` in front are not recognised.",
        ('name.removeprefix("transformer.")', "name"),
    ),
    edit(
        "all_biases_ignored",
        "load_gpt2_state_dict",
        "Whatever is called bias is ignored as if it were a mask.",
        ('(".attn.bias", ".attn.masked_bias")', '(".bias", ".masked_bias")'),
        ("if published.keys() != own.keys():", "if not published.keys() <= own.keys():"),
    ),
    edit(
        "unknown_names_ignored",
        "load_gpt2_state_dict",
        "Names that the model does not have are ignored: they should be refused.",
        (
            "if published.keys() != own.keys():",
            "published = {name: x for name, x in published.items() if name in own}\n    if published.keys() != own.keys():",
        ),
    ),
    edit(
        "shapes_broadcast",
        "load_gpt2_state_dict",
        "A tensor of another shape is broadcast by copy_: compare shapes first.",
        ("if tensor.shape != own[name].shape:", "if tensor.ndim == 2 and tensor.shape != own[name].shape:"),
    ),
    edit(
        "copied_while_checking",
        "load_gpt2_state_dict",
        "Weights are copied before all of them are checked: a refused state then leaves a model that is half changed.",
        ('            raise ValueError(f"{name} must have', '            raise ValueError(f"{name} must have'),
        ("    if head is not None", "        own[name].data.copy_(tensor)\n    if head is not None"),
    ),
    edit(
        "head_not_compared",
        "load_gpt2_state_dict",
        "An lm_head that differs from wte is accepted: the model cannot hold both.",
        ("if head is not None and not torch.equal", "if False and not torch.equal"),
    ),
    edit(
        "parameters_replaced",
        "load_gpt2_state_dict",
        "Parameters are replaced by others: an optimiser, and the tied layer, hold the old ones. Copy into them.",
        (
            "            own[name].copy_(tensor)",
            "            owner, _, key = name.rpartition('.')\n"
            "            setattr(model.get_submodule(owner), key, nn.Parameter(tensor.to(own[name].dtype)))",
        ),
    ),
    edit(
        "given_tensors_kept",
        "load_gpt2_state_dict",
        "The parameters share memory with the state that was given: copy.",
        ("own[name].copy_(tensor)", "own[name].data = tensor.to(own[name].dtype)"),
    ),
    edit(
        "head_compared_in_part",
        "load_gpt2_state_dict",
        "Only the first row of lm_head is compared with wte.",
        (
            'if head is not None and not torch.equal(head, published["wte.weight"])',
            'if head is not None and (head.shape != published["wte.weight"].shape or not torch.equal(head[0], '
            'published["wte.weight"][0]))',
        ),
    ),
    edit(
        "head_untied",
        "load_gpt2_state_dict",
        "lm_head gets a parameter of its own when it is in the file: it stays tied to wte.",
        (
            "own[name].copy_(tensor)\n",
            (
                "own[name].copy_(tensor)\n"
                "        if head is not None:\n"
                "            model.lm_head.weight = nn.Parameter(head.clone())\n"
            ),
        ),
    ),
    edit(
        "whatever_lies_in_attn_ignored",
        "load_gpt2_state_dict",
        "All names in attn but the layers' are taken for masks: only attn.bias and attn.masked_bias are, any other is unknown.",
        ('if not name.endswith((".attn.bias", ".attn.masked_bias"))', 'if ".attn." not in name or "c_" in name'),
    ),
    edit(
        "masked_bias_anywhere",
        "load_gpt2_state_dict",
        "A masked_bias is ignored wherever it is: those in attn are masks, any other is an unknown name.",
        ('name.endswith((".attn.bias", ".attn.masked_bias"))', 'name.endswith((".attn.bias", "masked_bias"))'),
    ),
    # prepare_corpus
    edit(
        "end_behind",
        "prepare_corpus",
        "eot_id stands behind each document: it belongs before it.",
        ("[eot_id, *ids]", "[*ids, eot_id]"),
    ),
    edit(
        "first_held_out",
        "prepare_corpus",
        "The first documents are held out: it should be the last ones.",
        ('            add("train", last.popleft())', '            add("train", last.pop())'),
    ),
    edit(
        "empty_documents_count",
        "prepare_corpus",
        "Documents without tokens are kept: they should be left out.",
        (
            "        if ids := list(tokenizer.encode(text)):\n            last.append([eot_id, *ids])",
            "        last.append([eot_id, *tokenizer.encode(text)])",
        ),
    ),
    edit(
        "only_empty_texts_left_out",
        "prepare_corpus",
        "Only texts without a character are left out: one that has some may have no tokens all the same. Ask for the ids.",
        ("if ids := list(tokenizer.encode(text)):\n", "if text:\n            ids = list(tokenizer.encode(text))\n"),
    ),
    edit(
        "shards_too_large",
        "prepare_corpus",
        "A shard holds more than shard_tokens: cut documents where the shard is full.",
        (
            "tokens, buffers[split] = buffers[split][:shard_tokens], buffers[split][shard_tokens:]",
            "tokens, buffers[split] = buffers[split], []",
        ),
    ),
    edit(
        "rest_lost",
        "prepare_corpus",
        "The last shard of a split, which is not full, is never written.",
        ("        if buffer:\n            write_shard(split)", "        pass"),
    ),
    edit(
        "empty_shard_at_the_end",
        "prepare_corpus",
        "An empty shard is written where the last one is just full.",
        ("        if buffer:\n            write_shard(split)", "        write_shard(split)"),
    ),
    edit(
        "full_shard_waits",
        "prepare_corpus",
        "A shard that is full is written when the next token comes: its file should be complete as soon as it is full.",
        (
            "            buffers[split] += ids[start : start + shard_tokens]\n"
            "            if len(buffers[split]) >= shard_tokens:\n",
            "            buffers[split] += ids[start : start + shard_tokens]\n"
            "            if len(buffers[split]) > shard_tokens:\n",
        ),
    ),
    edit(
        "written_at_the_end",
        "prepare_corpus",
        "All tokens wait in memory until the end: take one document at a time, and write a shard as soon as it is full.",
        ("            if len(buffers[split]) >= shard_tokens:\n                write_shard(split)", "            pass"),
        ("        if buffer:\n            write_shard(split)", "        while buffers[split]:\n            write_shard(split)"),
    ),
    edit(
        "all_documents_kept",
        "prepare_corpus",
        "All documents wait in memory until the last is known: only n_validation of them have to.",
        (
            '        if len(last) > n_validation:\n            add("train", last.popleft())',
            '    while len(last) > n_validation:\n        add("train", last.popleft())',
        ),
    ),
    edit("big_endian", "prepare_corpus", "The numbers are big-endian.", ("dtype=DTYPE)", 'dtype=">u2")')),
    edit(
        "signed",
        "prepare_corpus",
        "Ids from 32768 on are refused: the numbers have no sign.",
        ("max(ids) <= 65535", "max(ids) <= 32767"),
    ),
    edit(
        "ids_wrap",
        "prepare_corpus",
        "An id that 16 bits do not hold wraps around without a word.",
        ("if not (0 <= min(ids) and max(ids) <= 65535):", "if False:"),
        ("np.array(tokens, dtype=DTYPE)", "np.array(tokens).astype(DTYPE)"),
    ),
    edit(
        "old_manifest_left",
        "prepare_corpus",
        "A manifest from before stays while the shards change: a run that fails then looks complete.",
        ("    (folder / MANIFEST).unlink(missing_ok=True)\n", ""),
    ),
    edit(
        "old_manifest_left_after_other_errors",
        "prepare_corpus",
        "A manifest from before is removed where something is refused, but stays when a file cannot be read or written: "
        "remove it first.",
        ("    (folder / MANIFEST).unlink(missing_ok=True)\n", ""),
        (
            '            raise ValueError(f"ids must be from 0',
            '            (folder / MANIFEST).unlink(missing_ok=True)\n            raise ValueError(f"ids must be from 0',
        ),
        (
            '        raise ValueError(f"{len(last)} documents',
            '        (folder / MANIFEST).unlink(missing_ok=True)\n        raise ValueError(f"{len(last)} documents',
        ),
    ),
    edit(
        "ids_wrap_in_32_bits",
        "prepare_corpus",
        "Ids are made 32-bit numbers before they are looked at: one from 2**32 on wraps around without a word.",
        (
            "        if ids := list(tokenizer.encode(text)):",
            "        if ids := np.array(tokenizer.encode(text), dtype=np.int64).astype(np.int32).tolist():",
        ),
    ),
    edit(
        "sizes_unchecked",
        "prepare_corpus",
        "n_validation below 1 is accepted.",
        ("if shard_tokens < 1 or n_validation < 1:", "if shard_tokens < 1:"),
    ),
    edit(
        "tokenizer_s_list_changed",
        "prepare_corpus",
        "The tokenizer's own list is changed: it may keep it.",
        (
            "if ids := list(tokenizer.encode(text)):\n            last.append([eot_id, *ids])",
            "if ids := tokenizer.encode(text):\n            ids.insert(0, eot_id)\n            last.append(ids)",
        ),
    ),
    edit(
        "text_stripped",
        "prepare_corpus",
        "The text is stripped before it is encoded: spaces and line ends at the margins are tokens, too.",
        ("tokenizer.encode(text)", "tokenizer.encode(text.strip())"),
    ),
    edit(
        "blank_skipped",
        "prepare_corpus",
        "A text of spaces is left out though it has tokens.",
        (
            "        if ids := list(tokenizer.encode(text)):\n",
            "        if text.strip() and (ids := list(tokenizer.encode(text))):\n",
        ),
    ),
    edit(
        "repeated_documents_left_out",
        "prepare_corpus",
        "A document that repeats the one before is left out.",
        (
            "        if ids := list(tokenizer.encode(text)):\n",
            "        if (ids := list(tokenizer.encode(text))) and [eot_id, *ids] not in last:\n",
        ),
    ),
    edit(
        "manifest_before_rest",
        "prepare_corpus",
        "The manifest is written before the last shards are: a folder that has one should be complete.",
        ("    for split, buffer in list(buffers.items()):\n        if buffer:\n            write_shard(split)\n", ""),
        (
            "    os.replace(unfinished, folder / MANIFEST)\n",
            "    os.replace(unfinished, folder / MANIFEST)\n"
            "    for split, buffer in list(buffers.items()):\n"
            "        if buffer:\n"
            "            write_shard(split)\n"
            "    (folder / MANIFEST).write_text(json.dumps(manifest))\n",
        ),
    ),
    edit(
        "one_shard_a_document",
        "prepare_corpus",
        ("At most one shard is written for each document, so that the rest of long ones piles up: `while`, not `if`."),
        (
            (
                "        for start in range(0, len(ids), shard_tokens):  # a long document passes through piece by "
                "piece\n"
                "            buffers[split] += ids[start : start + shard_tokens]\n"
                "            if len(buffers[split]) >= shard_tokens:\n"
                "                write_shard(split)\n"
            ),
            ("        buffers[split] += ids\n        if len(buffers[split]) >= shard_tokens:\n            write_shard(split)\n"),
        ),
        (
            ("    for split, buffer in list(buffers.items()):\n        if buffer:\n            write_shard(split)\n"),
            ("    for split in buffers:\n        while buffers[split]:\n            write_shard(split)\n"),
        ),
    ),
    edit(
        "documents_read_at_once",
        "prepare_corpus",
        "All documents are read before the first is encoded: take them one at a time.",
        ("in read_documents(paths):", "in list(read_documents(paths)):"),
    ),
    # TokenShards
    edit(
        "targets_not_shifted",
        "TokenShards",
        "y is x: the targets are the tokens one place on.",
        ("tokens[:, 1:].clone()", "tokens[:, :-1].clone()"),
    ),
    edit(
        "windows_with_a_gap",
        "TokenShards",
        "Windows lie context_length + 1 apart: one token in each is then never a target.",
        (
            "self._read(i * self.context_length, self.context_length + 1)",
            "self._read(i * (self.context_length + 1), self.context_length + 1)",
        ),
        ("(int(self.starts[-1]) - 1) // context_length", "int(self.starts[-1]) // (context_length + 1)"),
    ),
    edit(
        "one_window_too_many",
        "TokenShards",
        "The last token is taken for an input, though it has no target: (N - 1) // T windows.",
        ("(int(self.starts[-1]) - 1) // context_length", "int(self.starts[-1]) // context_length"),
    ),
    edit(
        "next_epoch_when_asked",
        "TokenShards",
        "After the last batch of an epoch, the position is still in that epoch, at a step that it does not have: go to the "
        "beginning of the next one as soon as the last batch is taken.",
        (
            "        batch = self.batch(self.step, self.epoch)\n"
            "        self.step += 1\n"
            "        if self.step == len(self):\n"
            "            self.epoch, self.step = self.epoch + 1, 0\n",
            "        if self.step == len(self):\n"
            "            self.epoch, self.step = self.epoch + 1, 0\n"
            "        batch = self.batch(self.step, self.epoch)\n"
            "        self.step += 1\n",
        ),
    ),
    edit(
        "ranks_in_blocks",
        "TokenShards",
        "Each rank has a stretch of the data of its own: at each step, the ranks' windows follow each other.",
        (
            "first = step * self.windows_per_batch + self.rank * self.batch_size",
            "first = (self.rank * len(self) + step) * self.batch_size",
        ),
    ),
    edit(
        "within_a_shard",
        "TokenShards",
        "Windows end where their shard ends: they go on in the next one.",
        (
            "offset : offset + length]\n"
            "            parts.append(part)\n"
            "            start, length, shard = start + len(part), length - len(part), shard + 1",
            "offset : offset + length]\n            parts.append(np.resize(part, length))\n            length = 0",
        ),
    ),
    edit(
        "signed_on_reading",
        "TokenShards",
        "Ids from 32768 on come out negative: the numbers have no sign.",
        ("rows.astype(np.int64)", "rows.view(np.int16).astype(np.int64)"),
    ),
    edit(
        "read_whole",
        "TokenShards",
        "All shards are read into memory: map them.",
        ('np.memmap(path, dtype=DTYPE, mode="r")', "np.fromfile(path, dtype=DTYPE)"),
    ),
    edit(
        "seed_zero_ignored",
        "TokenShards",
        "A seed of 0 is taken for none: compare with None.",
        ("if self.shuffle_seed is not None:", "if self.shuffle_seed:"),
    ),
    edit(
        "seed_does_not_count",
        "TokenShards",
        "The order depends on the epoch alone, not on the seed.",
        ("torch.tensor([self.shuffle_seed, epoch])", "torch.tensor([7, epoch])"),
    ),
    edit(
        "seed_from_a_text_s_hash",
        "TokenShards",
        "hash() of a text is another number in each process, and so is the order: make the generator's seed of the numbers.",
        (
            "torch.tensor([self.shuffle_seed, epoch]).numpy().tobytes()",
            'hash(f"{self.shuffle_seed}-{epoch}").to_bytes(8, "little", signed=True)',
        ),
    ),
    edit(
        "order_of_the_rank",
        "TokenShards",
        "Each rank has an order of its own, so ranks meet in the same windows.",
        ("torch.tensor([self.shuffle_seed, epoch])", "torch.tensor([self.shuffle_seed + self.rank, epoch])"),
    ),
    edit(
        "batches_shuffled_only",
        "TokenShards",
        "Batches are shuffled, windows are not: rows of a batch are always neighbours, and what fills no batch never comes.",
        (
            "torch.randperm(self.n_windows, generator=generator)",
            "(torch.randperm(len(self), generator=generator)[:, None] * self.windows_per_batch + "
            "torch.arange(self.windows_per_batch)).flatten()",
        ),
    ),
    edit(
        "global_seed_set",
        "TokenShards",
        "torch.manual_seed changes the random numbers of the whole program.",
        ("generator = torch.Generator().manual_seed(", "generator = torch.manual_seed("),
    ),
    edit(
        "batch_of_the_next_seen",
        "TokenShards",
        "One batch is left out after a restart.",
        ('state["epoch"], state["step"]\n', 'state["epoch"], (state["step"] + 1) % len(self)\n'),
    ),
    edit(
        "rank_in_the_state",
        "TokenShards",
        "The state of another rank is refused, but the position is the same for all.",
        ('{"split": split, "batch_size": batch_size,', '{"split": split, "rank": rank, "batch_size": batch_size,'),
    ),
    edit(
        "moved_then_refused",
        "TokenShards",
        "The position is set before the state is checked.",
        (
            "        own = {**self.sizes,",
            '        self.epoch, self.step = state["epoch"], state["step"]\n        own = {**self.sizes,',
        ),
    ),
    edit(
        "epoch_moved_then_refused",
        "TokenShards",
        "The epoch is set before the state is checked: a position that is refused leaves both as they were.",
        ("        own = {**self.sizes,", '        self.epoch = state["epoch"]\n        own = {**self.sizes,'),
    ),
    edit(
        "seed_of_zero_is_none",
        "TokenShards",
        "The state of shards without a shuffle_seed is taken for one with seed 0: 0 is a seed, and None is none.",
        ("if state[name] != own[name]", "if (state[name] or 0) != (own[name] or 0)"),
    ),
    edit(
        "rank_noted_in_the_state",
        "TokenShards",
        "The state holds the rank, so each process has another one: the position is the same for all of them.",
        ('return {"epoch": self.epoch,', 'return {"rank": self.rank, "epoch": self.epoch,'),
    ),
    edit(
        "too_short_accepted",
        "TokenShards",
        "Too few tokens for one batch are accepted.",
        ("if self.n_windows < self.windows_per_batch:", "if self.n_windows < 1:"),
    ),
    edit(
        "rank_may_be_the_last_plus_one",
        "TokenShards",
        "rank = world_size is accepted: ranks begin at 0.",
        ("not 0 <= rank < world_size", "not 0 <= rank <= world_size"),
    ),
    edit(
        "sizes_of_files_unchecked",
        "TokenShards",
        "A shard that was cut off, or is too long, is not noticed.",
        ('if path.stat().st_size != shard["n_tokens"] * DTYPE.itemsize:', "if False:"),
    ),
    edit(
        "position_moved_by_batch",
        "TokenShards",
        "batch(step) moves the position: it is for looking.",
        ("        return tokens[:, :-1].clone()", "        self.step = step\n        return tokens[:, :-1].clone()"),
    ),
    edit(
        "targets_share_memory",
        "TokenShards",
        "x and y share memory: whoever changes one changes the other. Copy both.",
        ("tokens[:, :-1].clone(), tokens[:, 1:].clone()", "tokens[:, :-1], tokens[:, 1:]"),
    ),
    edit(
        "loaded_state_kept",
        "TokenShards",
        "load_state_dict keeps the dict that it was given and changes it later: copy the numbers.",
        (
            '        self.epoch, self.step = state["epoch"], state["step"]',
            '        self._state = state\n        self.epoch, self.step = state["epoch"], state["step"]',
        ),
        (
            "        self.step += 1\n",
            "        self.step += 1\n        if hasattr(self, '_state'):\n            self._state['step'] = self.step\n",
        ),
    ),
    edit(
        "negative_steps_given",
        "TokenShards",
        "Negative steps are accepted, and mean some other batch.",
        ("if not 0 <= step < len(self):", "if step >= len(self):"),
    ),
    edit(
        "left_over_windows_given",
        "TokenShards",
        "Batch number len(shards) is accepted where windows are left over: they do not fill a batch for every process.",
        ("if not 0 <= step < len(self):", "if not 0 <= step <= len(self):"),
    ),
    edit(
        "sum_of_sizes_checked",
        "TokenShards",
        "Only the sum of the files' sizes is checked: each has to be right.",
        (
            '            if path.stat().st_size != shard["n_tokens"] * DTYPE.itemsize:',
            "            if sum((Path(folder) / s['file']).stat().st_size for s in "
            "manifest['splits'][split]['shards']) != 2 * manifest['splits'][split]['n_tokens']:",
        ),
    ),
    edit(
        "always_the_first_epoch_s_order",
        "TokenShards",
        "next_batch takes every epoch in the order of epoch 0: self.batch(self.step, self.epoch).",
        ("batch = self.batch(self.step, self.epoch)", "batch = self.batch(self.step)"),
    ),
    edit(
        "always_the_training_split",
        "TokenShards",
        "The training split is read, whichever was asked for.",
        ('manifest["splits"][split]["shards"]:', 'manifest["splits"]["train"]["shards"]:'),
    ),
    edit(
        "one_state_for_all",
        "TokenShards",
        "state_dict gives the same dict each time, so that a state that was kept changes: give a new one.",
        (
            'return {"epoch": self.epoch, "step": self.step, "shuffle_seed": self.shuffle_seed, **self.sizes}',
            (
                'state = vars(self).setdefault("_state", {})\n'
                "        state.update(self.sizes, epoch=self.epoch, step=self.step, shuffle_seed=self.shuffle_seed)\n"
                "        return state"
            ),
        ),
    ),
    edit(
        "batches_in_one_buffer",
        "TokenShards",
        "All batches lie in the same memory: the next one overwrites those before it.",
        (
            "tokens = torch.from_numpy(rows.astype(np.int64))",
            (
                "tokens = vars(self).setdefault('_buffer', torch.empty(rows.shape, dtype=torch.int64))\n"
                "        tokens.copy_(torch.from_numpy(rows.astype(np.int64)))"
            ),
        ),
        ("return tokens[:, :-1].clone(), tokens[:, 1:].clone()", "return tokens[:, :-1], tokens[:, 1:].clone()"),
    ),
    edit(
        "last_batch_given_again",
        "TokenShards",
        "The last batch is kept and given again, with what its owner has written into it: make a new one in every call.",
        (
            "        if not 0 <= step < len(self):\n",
            "        if getattr(self, '_last', [None])[0] == (step, epoch):\n"
            "            return self._last[1]\n"
            "        if not 0 <= step < len(self):\n",
        ),
        (
            "        return tokens[:, :-1].clone(), tokens[:, 1:].clone()  # one may be changed without the other\n",
            "        self._last = (step, epoch), (tokens[:, :-1].clone(), tokens[:, 1:].clone())\n        return self._last[1]\n",
        ),
    ),
    # param_groups
    edit(
        "everything_decays",
        "param_groups",
        "Everything decays: vectors should not.",
        (
            '{"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0}',
            '{"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": weight_decay}',
        ),
    ),
    edit("frozen_trained", "param_groups", "Frozen parameters are among them.", ("if parameter.requires_grad]", "]")),
    edit(
        "exactly_two_dimensions",
        "param_groups",
        "Convolutions, which have three dimensions, do not decay: two or more.",
        ("parameter.ndim >= 2", "parameter.ndim == 2"),
        ("parameter.ndim < 2", "parameter.ndim != 2"),
    ),
    edit(
        "by_name",
        "param_groups",
        "The names decide: a matrix called bias does not decay. Dimensions should.",
        (
            "trained = [parameter for parameter in model.parameters() if parameter.requires_grad]",
            "trained = [p for _, p in model.named_parameters() if p.requires_grad]\n"
            "    named = {id(p): n for n, p in model.named_parameters()}",
        ),
        ("if parameter.ndim >= 2]", "if not named[id(parameter)].endswith('bias') and parameter.ndim >= 2]"),
        ("if parameter.ndim < 2]", "if named[id(parameter)].endswith('bias') or parameter.ndim < 2]"),
    ),
    edit(
        "tied_twice",
        "param_groups",
        "A tied weight is there twice.",
        (
            "in model.parameters() if parameter.requires_grad",
            "in [p for _, p in model.named_parameters(remove_duplicate=False)] if parameter.requires_grad",
        ),
    ),
    edit(
        "empty_group_dropped",
        "param_groups",
        "A group that is empty is left out: there are two, always.",
        ("    return [\n", "    return [group for group in [\n"),
        ('"weight_decay": 0.0},\n    ]', '"weight_decay": 0.0},\n    ] if group["params"]]'),
    ),
    edit(
        "rows_of_one_are_vectors",
        "param_groups",
        "A matrix of one row is taken for a vector: the number of dimensions counts, not their sizes.",
        ("parameter.ndim >= 2", "parameter.ndim > 1 and parameter.shape[0] > 1"),
        ("parameter.ndim < 2", "not (parameter.ndim > 1 and parameter.shape[0] > 1)"),
    ),
    edit(
        "tied_by_data_ptr",
        "param_groups",
        "data_ptr() tells which weights are tied; on the meta device it is 0 for all of them: parameters() names each once.",
        (
            "for parameter in model.parameters() if",
            "for parameter in {p.data_ptr(): p for p in model.parameters()}.values() if",
        ),
    ),
    # cosine_schedule
    edit(
        "warm_up_from_zero",
        "cosine_schedule",
        "The first step has a rate of 0: (step + 1) / (warmup_steps + 1).",
        ("return max_lr * (step + 1) / (warmup_steps + 1)", "return max_lr * step / warmup_steps"),
    ),
    edit(
        "warm_up_too_fast",
        "cosine_schedule",
        "The last step of the warm-up is at max_lr already: divide by warmup_steps + 1.",
        ("return max_lr * (step + 1) / (warmup_steps + 1)", "return max_lr * (step + 1) / warmup_steps"),
    ),
    edit(
        "cosine_from_zero",
        "cosine_schedule",
        "The cosine begins at step 0 and not where the warm-up ends.",
        ("(step - warmup_steps) / (total_steps - warmup_steps)", "step / total_steps"),
    ),
    edit(
        "min_added_on_top",
        "cosine_schedule",
        "At the end of the warm-up the rate is max_lr + min_lr.",
        ("(max_lr - min_lr) *", "max_lr *"),
    ),
    edit(
        "goes_on_after_the_end",
        "cosine_schedule",
        "After total_steps the cosine goes on.",
        ("if step >= total_steps:", "if total_steps == warmup_steps and step >= total_steps:"),
    ),
    # evaluate
    edit(
        "training_mode",
        "evaluate",
        "The model runs in training mode: dropout then makes the loss larger, and another each time.",
        ("        model.eval()\n", ""),
    ),
    edit(
        "next_batches",
        "evaluate",
        "next_batch moves the position of the data: shards.batch(i) does not.",
        ("x, y = shards.batch(i)", "x, y = shards.next_batch()"),
    ),
    edit(
        "second_batches",
        "evaluate",
        "The batches begin with number 1: with 0.",
        ("x, y = shards.batch(i)", "x, y = shards.batch((i + 1) % len(shards))"),
    ),
    edit(
        "model_mode_only",
        "evaluate",
        "Not every part is back in the mode that it was in: remember part.training of each one, and set that alone, since "
        "part.train(mode) sets the parts within, too.",
        ("        for part, mode in modes:\n            part.training = mode", "        model.train(modes[0][1])"),
    ),
    edit(
        "modes_set_by_train",
        "evaluate",
        "Modes are put back by part.train(mode), which sets the parts within, too, and one of them may be shared with a part "
        "of another mode: set part.training.",
        ("            part.training = mode", "            part.train(mode)"),
    ),
    edit(
        "evaluation_mode_if_the_root_trains",
        "evaluate",
        "model.eval() is left out where the model's own mode is evaluation: parts of it may be in training mode all the same.",
        ("        model.eval()\n", "        if model.training:\n            model.eval()\n"),
    ),
    edit(
        "left_after_an_error",
        "evaluate",
        "When the model or the data raise, the modes are not put back: use finally.",
        ("    finally:\n", "    except ZeroDivisionError:\n        pass\n    else:\n"),
    ),
    edit(
        "graph_recorded",
        "evaluate",
        "A graph is recorded: torch.no_grad().",
        (", torch.no_grad():", ":"),
        ("total += model(x.to(device), y.to(device))[1]", "total += model(x.to(device), y.to(device))[1].detach()"),
    ),
    edit(
        "random_state_moved",
        "evaluate",
        "The random state is moved by a model that draws numbers.",
        (
            'with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():',
            "with torch.no_grad():",
        ),
    ),
    edit(
        "too_many_accepted",
        "evaluate",
        "More batches than there are are accepted.",
        ("if not 1 <= n_batches <= len(shards):", "if n_batches < 1:"),
        ("range(n_batches)", "range(min(n_batches, len(shards)))"),
    ),
    edit(
        "grad_on_after",
        "evaluate",
        "Gradients are recorded afterwards even where the caller had turned that off.",
        ("    return mean_over", "    torch.set_grad_enabled(True)\n    return mean_over"),
    ),
    edit(
        "gradients_cleared",
        "evaluate",
        "The caller's gradients are cleared.",
        ("        model.eval()\n", "        model.eval()\n        model.zero_grad()\n"),
    ),
    edit(
        "evaluated_in_one_process",
        "evaluate",
        "The loss is that of one process: it is the mean over all of them.",
        ("mean_over_processes(total / n_batches)", "(total / n_batches)"),
    ),
    edit(
        "frozen_by_evaluation",
        "evaluate",
        ("Afterwards the parameters do not require gradients any more: no_grad is enough, and leaves them alone."),
        ("    finally:\n", ("    finally:\n        model.requires_grad_(False)\n")),
    ),
    edit(
        "added_in_their_own_dtype",
        "evaluate",
        "The losses are added up in their own dtype: in bfloat16 the sum loses digits. Add floats.",
        ("                total += model(", "                total = (total if i else 0) + model("),
    ),
    # save_checkpoint
    edit(
        "written_in_place",
        "save_checkpoint",
        "The old checkpoint is overwritten as the new one is written: a failure then leaves neither.",
        ("        torch.save(state, unfinished)\n        os.replace(unfinished, path)", "        torch.save(state, path)"),
    ),
    edit(
        "rest_stays_behind",
        "save_checkpoint",
        "A save that fails leaves an unfinished file.",
        ("        unfinished.unlink(missing_ok=True)", "        pass"),
    ),
    edit(
        "rest_stays_after_other_errors",
        "save_checkpoint",
        "The unfinished file is removed after an OSError alone: what cannot be pickled raises others. Use finally.",
        (
            "    finally:\n        unfinished.unlink(missing_ok=True)",
            "    except OSError:\n        unfinished.unlink()\n        raise",
        ),
    ),
    edit(
        "rest_stays_when_renaming_fails",
        "save_checkpoint",
        "A complete file stays behind where os.replace fails: it belongs into the `try`, too.",
        (
            "        os.replace(unfinished, path)\n    finally:\n        unfinished.unlink(missing_ok=True)",
            "    except BaseException:\n        unfinished.unlink()\n        raise\n    os.replace(unfinished, path)",
        ),
    ),
    edit(
        "error_swallowed",
        "save_checkpoint",
        "The caller is not told that saving has failed.",
        ("    finally:\n", "    except Exception:\n        pass\n    finally:\n"),
    ),
    edit(
        "checkpoint_folder_not_made",
        "save_checkpoint",
        "The folder is not made.",
        ("    path.parent.mkdir(parents=True, exist_ok=True)\n", ""),
    ),
    edit(
        "overwritten_from_memory",
        "save_checkpoint",
        "The file under the path is overwritten: whoever reads it, or a machine that stops, finds half of it. "
        "Rename a complete file.",
        (
            "        torch.save(state, unfinished)\n        os.replace(unfinished, path)",
            "        import io\n"
            "        memory = io.BytesIO()\n"
            "        torch.save(state, memory)\n"
            "        path.write_bytes(memory.getvalue())",
        ),
    ),
    edit(
        "removed_then_renamed",
        "save_checkpoint",
        (
            "The old file is removed before the new one has its name: a machine that stops in between has none. "
            "os.replace alone does both."
        ),
        ("os.replace(unfinished, path)", ("path.unlink(missing_ok=True)\n        os.rename(unfinished, path)")),
    ),
    edit(
        "folder_swept",
        "save_checkpoint",
        "Other files of the folder are removed: only the unfinished one is yours.",
        (
            "        unfinished.unlink(missing_ok=True)",
            (
                "        unfinished.unlink(missing_ok=True)\n"
                "        [p.unlink() for p in path.parent.iterdir() if p.is_file() and p != path]"
            ),
        ),
    ),
    # train
    edit(
        "passes_added_up",
        "train",
        "The passes' gradients are added up: divide each loss by accumulation_steps.",
        ("runner(x, y)[1] / config.accumulation_steps", "runner(x, y)[1]"),
    ),
    edit(
        "not_clipped",
        "train",
        "Gradients are not clipped.",
        (
            "nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)",
            "nn.utils.clip_grad_norm_(model.parameters(), float('inf'))",
        ),
    ),
    edit(
        "clipped_in_every_pass",
        "train",
        "Gradients are clipped after every pass, and the norm of the last time is that of gradients which are clipped already: "
        "clip once a step, when all its passes are done.",
        (
            "                    loss.backward()\n",
            "                    loss.backward()\n"
            "                nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)\n",
        ),
    ),
    edit(
        "norm_after_clipping",
        "train",
        "grad_norm is that after clipping: clip_grad_norm_ returns the one before.",
        ('history["grad_norm"].append(norm.item())', 'history["grad_norm"].append(min(norm.item(), config.clip_norm))'),
    ),
    edit(
        "rate_of_the_first_group",
        "train",
        "Only the first group gets the schedule's learning rate.",
        ("for group in optimizer.param_groups:", "for group in optimizer.param_groups[:1]:"),
    ),
    edit(
        "adam_decay",
        "train",
        "This is Adam with L2 in the gradient: AdamW decays apart from it.",
        ("torch.optim.AdamW(", "torch.optim.Adam("),
    ),
    edit(
        "loss_of_the_last_pass",
        "train",
        "The loss in the history is the last pass's share, not the mean of the step.",
        ("                total += loss.detach()", "                total = loss.detach()"),
    ),
    edit(
        "dropout_off",
        "train",
        "The model trains in evaluation mode.",
        ("    model.train()\n    with open_log", "    model.eval()\n    with open_log"),
    ),
    edit(
        "training_mode_if_the_root_evaluates",
        "train",
        "model.train() is left out where the model's own mode is training: parts of it may be in evaluation mode all the same.",
        ("    model.train()\n    with open_log", "    if not model.training:\n        model.train()\n    with open_log"),
    ),
    edit(
        "training_mode_at_step_zero_alone",
        "train",
        "The model is set to training mode before step 0 alone: a run that goes on from a checkpoint trains in it, too.",
        ("    model.train()\n    with open_log", "    if not history['loss']:\n        model.train()\n    with open_log"),
    ),
    edit(
        "stopped_between_two_checkpoints",
        "train",
        "With checkpoint_every, a run that stop_after ends between two checkpoints saves none at its end.",
        (
            "due = done == last or (config.checkpoint_every and done % config.checkpoint_every == 0)",
            "due = done % config.checkpoint_every == 0 if config.checkpoint_every else done == last\n"
            "            due = due or done == config.total_steps",
        ),
    ),
    edit(
        "left_in_training_mode",
        "train",
        "The model comes back in training mode, whatever it was in.",
        ("    for part, mode in modes:\n        part.training = mode\n", ""),
    ),
    edit(
        "parts_left_in_the_model_s_mode",
        "train",
        "All parts come back in the mode of the whole model: each of them in its own, as evaluate leaves them.",
        ("    for part, mode in modes:\n        part.training = mode\n", "    model.train(modes[0][1])\n"),
    ),
    edit(
        "resumes_without_moments",
        "train",
        "A resumed run begins with fresh moments: the optimiser's state is part of the checkpoint.",
        ('        optimizer.load_state_dict(state["optimizer"])\n', ""),
    ),
    edit(
        "resumes_at_the_first_batch",
        "train",
        "A resumed run reads the data from the beginning: their position is part of the checkpoint.",
        ('        shards.load_state_dict(state["shards"])\n', ""),
    ),
    edit(
        "resumes_with_other_dropout",
        "train",
        "A resumed run has another random state, so that dropout drops others.",
        ('        set_random_state(state["random"], device)\n', ""),
    ),
    edit(
        "resumes_at_step_zero",
        "train",
        "A resumed run counts its steps from 0.",
        ('range(len(history["loss"]), last)', "range(0, last)"),
    ),
    edit(
        "schedule_ends_at_the_stop",
        "train",
        "The schedule is squeezed into stop_after: it is that of total_steps.",
        ("config.warmup_steps, config.total_steps, config.max_lr", "config.warmup_steps, last, config.max_lr"),
    ),
    edit(
        "no_checkpoint_on_the_way",
        "train",
        "checkpoint_every is not used: a crash loses the whole run.",
        ("due = done == last or (config.checkpoint_every and done % config.checkpoint_every == 0)", "due = done == last"),
    ),
    edit(
        "evaluated_before_the_step",
        "train",
        "Steps are counted from 0 where evaluations are due: the number of steps done counts.",
        (
            "(done % config.eval_every == 0 or done == config.total_steps)",
            "(step % config.eval_every == 0 or done == config.total_steps)",
        ),
    ),
    edit(
        "evaluated_without_eval_every",
        "train",
        "With eval_every=0 the last step is followed by an evaluation, if there are validation data: 0 means none.",
        (
            "if config.eval_every and (done % config.eval_every == 0 or done == config.total_steps):",
            "if validation is not None and (\n"
            "                done % (config.eval_every or config.total_steps) == 0 or done == config.total_steps\n"
            "            ):",
        ),
    ),
    edit(
        "no_last_evaluation_with_stop_after",
        "train",
        "The evaluation after the last step of all is left out where stop_after is set: it may be total_steps, or more.",
        ("or done == config.total_steps):", "or done == config.total_steps and config.stop_after is None):"),
    ),
    edit(
        "position_of_the_data_set_to_zero",
        "train",
        "A run without a checkpoint sets the data back to their beginning: it takes the batches from their position on.",
        (
            '        set_random_state(state["random"], device)\n',
            '        set_random_state(state["random"], device)\n    else:\n        shards.epoch = shards.step = 0\n',
        ),
    ),
    edit(
        "every_process_logs",
        "train",
        "All processes write the log: process 0 alone should.",
        ("open_log(config.log_path if is_main else None)", "open_log(config.log_path)"),
    ),
    edit(
        "log_overwritten",
        "train",
        "The log of the run before is overwritten: append.",
        (
            "    with open_log(config.log_path if is_main else None) as log:",
            "    if config.log_path and is_main:\n"
            "        open(config.log_path, 'w').close()\n"
            "    with open_log(config.log_path if is_main else None) as log:",
        ),
    ),
    edit(
        "speed_of_one_batch",
        "train",
        "tokens_per_second counts the tokens of one batch: a step reads accumulation_steps of them.",
        ("n_tokens = x.numel() * config.accumulation_steps *", "n_tokens = x.numel() *"),
    ),
    edit(
        "speed_by_the_clock",
        "train",
        "tokens_per_second is divided by what the clock shows: how long the step took is the difference of two readings.",
        ("n_tokens / (time.perf_counter() - start)", "n_tokens / time.perf_counter()"),
    ),
    edit(
        "speed_of_the_update",
        "train",
        "tokens_per_second is measured over the update alone, without the passes that read the tokens.",
        (
            "            norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)\n",
            "            start = time.perf_counter()\n"
            "            norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)\n",
        ),
    ),
    edit(
        "autocast_forgotten",
        "train",
        'dtype="bfloat16" changes nothing: forward passes belong under autocast.',
        ('enabled=config.dtype == "bfloat16"', "enabled=False"),
    ),
    edit(
        "autocast_around_the_run",
        "train",
        "Autocast is entered once for the whole run: it keeps its bfloat16 copies of the weights until it is left, and the model "
        "runs with those of the first step for ever. Enter it anew for each pass.",
        (
            "    with open_log(config.log_path if is_main else None) as log:",
            "    around = torch.autocast(device.type, torch.bfloat16, enabled=config.dtype == 'bfloat16')\n"
            "    with open_log(config.log_path if is_main else None) as log, around:",
        ),
    ),
    edit(
        "evaluated_without_autocast",
        "train",
        "Evaluations do not run under autocast: with bfloat16, they do as the training does.",
        (
            '                with autocast:\n                    history["validation"]',
            '                with contextlib.nullcontext():\n                    history["validation"]',
        ),
    ),
    edit(
        "weights_in_bfloat16",
        "train",
        "The weights themselves become bfloat16, which loses small updates: autocast alone is asked for.",
        (
            "    modes = [(part, part.training) for part in model.modules()]\n",
            "    model.bfloat16() if config.dtype == 'bfloat16' else None\n"
            "    modes = [(part, part.training) for part in model.modules()]\n",
        ),
    ),
    edit(
        "missing_validation_accepted",
        "train",
        "eval_every without validation data is noticed only when it is too late.",
        ("if config.eval_every and validation is None:", "if False:"),
    ),
    edit(
        "refused_after_loading",
        "train",
        "Bad settings are refused when the checkpoint has been loaded already, and the model is not as it was: check first.",
        (
            '    if config.dtype not in ("float32", "bfloat16") or config.accumulation_steps < 1:\n'
            '        raise ValueError(f"dtype is float32 or bfloat16, accumulation_steps at least 1: {config}")\n'
            "    if config.eval_every and validation is None:\n"
            '        raise ValueError("eval_every needs validation data")\n',
            "",
        ),
        (
            "    modes = [(part, part.training) for part in model.modules()]\n",
            '    if config.dtype not in ("float32", "bfloat16") or config.accumulation_steps < 1:\n'
            "        raise ValueError(str(config))\n"
            "    if config.eval_every and validation is None:\n"
            '        raise ValueError("eval_every needs validation data")\n'
            "    modes = [(part, part.training) for part in model.modules()]\n",
        ),
    ),
    edit(
        "seeds_itself",
        "train",
        "train seeds the global random state: the caller decides about it.",
        (
            "    modes = [(part, part.training) for part in model.modules()]\n",
            "    modes = [(part, part.training) for part in model.modules()]\n    torch.manual_seed(1337)\n",
        ),
        ('        set_random_state(state["random"], device)\n', ""),
        (
            "    model.train()\n    with",
            "    if history['loss']:\n        set_random_state(state['random'], device)\n    model.train()\n    with",
        ),
    ),
    edit(
        "log_at_end",
        "train",
        "The log is written when the run is over: a line belongs there as soon as it is known.",
        (
            "    with open_log(config.log_path if is_main else None) as log:",
            "    lines = []\n    with open_log(config.log_path if is_main else None) as write:\n        log = lines.append",
        ),
        ("    for part, mode in modes:\n", "        [write(x) for x in lines]\n    for part, mode in modes:\n"),
    ),
    edit(
        "negative_accumulation",
        "train",
        "accumulation_steps below 0 are accepted.",
        ("config.accumulation_steps < 1:", "config.accumulation_steps == 0:"),
    ),
    edit(
        "compile_ignored",
        "train",
        "compile=True changes nothing.",
        ("torch.compile(model) if config.compile else model", "model"),
    ),
    edit(
        "names_of_the_compiled",
        "train",
        "The checkpoint has the compiled model's names, with `_orig_mod.` in front: save the plain model's state.",
        ('"model": model.state_dict(),', '"model": runner.state_dict(),'),
    ),
    edit(
        "processes_apart",
        "train",
        "Each process trains a model of its own: DistributedDataParallel takes the mean of the gradients.",
        (
            'runner = DistributedDataParallel(runner, device_ids=[device.index] if device.type == "cuda" else None)',
            "pass",
        ),
        ("waits = dist.is_initialized() and", "waits = False and"),
    ),
    edit(
        "every_process_writes",
        "train",
        "All processes write the log and the checkpoint: process 0 alone should.",
        ("is_main = not dist.is_initialized() or dist.get_rank() == 0", "is_main = True"),
    ),
    edit(
        "loss_of_one_process",
        "train",
        "The history has the loss of one process: it is the mean over all of them.",
        ("mean_over_processes(total).item()", "total.item()"),
    ),
    edit(
        "checkpoint_in_place",
        "train",
        ("The checkpoint is written in place by torch.save: save_checkpoint leaves the old one until the new one is complete."),
        (
            ("                save_checkpoint(\n                    config.checkpoint_path,\n"),
            (
                "                Path(config.checkpoint_path).parent.mkdir(parents=True, exist_ok=True)\n"
                "                (lambda path, state: torch.save(state, path))(\n"
                "                    config.checkpoint_path,\n"
            ),
        ),
    ),
    edit(
        "never_exchanged",
        "train",
        "With accumulation, the processes never exchange gradients: no_sync is for all passes but the last.",
        ("i + 1 < config.accumulation_steps\n", "config.accumulation_steps > 1\n"),
    ),
    edit(
        "stop_met_by_chance",
        "train",
        "A run that begins with stop_after steps already done goes on: it should end at once.",
        (
            ("last = config.total_steps if config.stop_after is None else min(config.stop_after, config.total_steps)"),
            "last = config.total_steps",
        ),
        (
            "            show_progress(done",
            (
                "            if done == config.stop_after:\n"
                "                save_checkpoint(config.checkpoint_path or 'x', {'model': model.state_dict(), "
                "'optimizer': optimizer.state_dict(), 'shards': shards.state_dict(), 'history': history, 'random': "
                "random_state(device)})\n"
                "                break\n"
                "            show_progress(done"
            ),
        ),
    ),
    edit(
        "half_precision_of_another_kind",
        "train",
        "Autocast is to float16, whose range is smaller: torch.bfloat16.",
        ("torch.autocast(device.type, torch.bfloat16,", "torch.autocast(device.type, torch.float16,"),
    ),
    edit(
        "evaluated_by_process_0",
        "train",
        "Process 0 alone evaluates, and waits for ever for the others to take the mean: all of them evaluate.",
        ("if config.eval_every and (done", "if is_main and config.eval_every and (done"),
    ),
    edit(
        "resumed_by_process_0",
        "train",
        "Process 0 alone goes on from the checkpoint, the others begin anew: all of them read it.",
        ("if config.checkpoint_path is not None and Path", "if is_main and config.checkpoint_path is not None and Path"),
    ),
    edit(
        "position_replayed",
        "train",
        "A resumed run takes as many batches as were taken before, from wherever the shards are: load their position.",
        (
            '        shards.load_state_dict(state["shards"])\n',
            "        for _ in range(len(state['history']['loss']) * config.accumulation_steps):\n"
            "            shards.next_batch()\n",
        ),
    ),
    # decode_stream
    edit(
        "half_characters",
        "decode_stream",
        "Each id is decoded by itself: a character that is spread over several comes out as question marks.",
        ('if not text.endswith("\\ufffd"):', "if True:"),
    ),
    edit(
        "empty_pieces",
        "decode_stream",
        "Pieces without text are yielded.",
        ("            if text:\n                yield text", "            yield text"),
    ),
    edit(
        "waits_for_one_more",
        "decode_stream",
        "A piece comes only when the next id is there.",
        ("    waiting: list[int] = []\n", "    waiting: list[int] = []\n    ready = ''\n"),
        (
            "            if text:\n                yield text",
            "            if ready:\n                yield ready\n            ready = text",
        ),
        ("    if waiting and", "    if ready:\n        yield ready\n    if waiting and"),
    ),
    edit(
        "any_replacement_waits",
        "decode_stream",
        "A U+FFFD anywhere in the text holds all that follows back until the end: only one at the text's end may be a character "
        "that has but begun.",
        ('if not text.endswith("\\ufffd"):', 'if "\\ufffd" not in text:'),
    ),
    edit(
        "replacements_removed",
        "decode_stream",
        "Bytes that are no UTF-8 vanish: they should show as U+FFFD.",
        ("(text := tokenizer.decode(waiting))", "(text := tokenizer.decode(waiting).rstrip('\\ufffd'))"),
    ),
    edit(
        "all_of_it_once_more",
        "decode_stream",
        "Where a character never ends, the whole text comes once more at the end: only what has not been shown is left.",
        ("    waiting: list[int] = []\n", "    waiting: list[int] = []\n    everything: list[int] = []\n"),
        ("        waiting.append(token)\n", "        waiting.append(token)\n        everything.append(token)\n"),
        ("if waiting and (text := tokenizer.decode(waiting)):", "if waiting and (text := tokenizer.decode(everything)):"),
    ),
    edit(
        "list_made_first",
        "decode_stream",
        "All ids are asked for before the first piece: a stream then streams nothing.",
        ("    for token in ids:", "    for token in list(ids):"),
    ),
    edit(
        "iterators_only",
        "decode_stream",
        "A list of ids is refused: next() needs an iterator, `for` takes both.",
        ("    for token in ids:\n", "    while (token := next(ids, None)) is not None:\n"),
    ),
    edit(
        "gives_up_waiting",
        "decode_stream",
        "After some ids, half a character is yielded: however many ids it takes, wait.",
        ('if not text.endswith("\\ufffd"):', 'if not text.endswith("\\ufffd") or len(waiting) > 8:'),
    ),
    edit(
        "one_replacement_at_the_end",
        "decode_stream",
        "Several U+FFFD at the end become one: what is left comes as tokenizer.decode gives it.",
        (
            "    if waiting and (text := tokenizer.decode(waiting)):\n        yield text\n",
            "    if waiting and (text := tokenizer.decode(waiting)):\n        yield text.rstrip('\\ufffd') + '\\ufffd'\n",
        ),
    ),
    # next_token
    edit(
        "race_the_wrong_way_round",
        "next_token",
        "Probabilities times exponential noise favour the most probable token: divide by the noise, and the largest wins.",
        (
            "ids[torch.multinomial(probs, 1, generator=generator)]",
            "ids[(probs * torch.empty_like(probs).exponential_(generator=generator)).argmax()]",
        ),
    ),
    edit(
        "temperature_multiplied",
        "next_token",
        "Logits are multiplied by the temperature: divide.",
        ("(logits - logits.max()) / temperature", "(logits - logits.max()) * temperature"),
    ),
    edit(
        "ids_of_the_sorted",
        "next_token",
        "The place in the sorted order comes back, not the token's id.",
        ("int(ids[torch.multinomial(probs, 1, generator=generator)])", "int(torch.multinomial(probs, 1, generator=generator))"),
    ),
    edit(
        "top_k_one_more",
        "next_token",
        "One token too many stays in top-k.",
        ("logits[:top_k]", "logits[: None if top_k is None else top_k + 1]"),
    ),
    edit(
        "nucleus_too_small",
        "next_token",
        "The token with which the probabilities reach top_p is left out: it stays, since those before it have less than top_p "
        "together.",
        ("        before[0] = 0\n", "        before[0] = -1\n"),
        ("before < top_p", "before + probs <= top_p"),
    ),
    edit(
        "nucleus_before_top_k",
        "next_token",
        "The nucleus is taken of all tokens: of those that top-k left, renormalised.",
        ("probs = logits[:top_k].softmax(-1)", "probs = logits.softmax(-1)"),
        ("        probs = probs * (before < top_p)\n", "        probs = probs * (before < top_p)\n    probs = probs[:top_k]\n"),
    ),
    edit(
        "nucleus_in_half",
        "next_token",
        "Probabilities are added up in half precision, where small ones come to nothing.",
        ("logits.detach().cpu().double()", "logits.detach().cpu()"),
    ),
    edit(
        "greedy_draws",
        "next_token",
        "At temperature 0 a token is drawn: take the most probable one.",
        ("return int(logits.argmax())", "temperature = 1.0"),
    ),
    edit(
        "sampling_generator_unused",
        "next_token",
        "The generator is not used.",
        ("torch.multinomial(probs, 1, generator=generator)", "torch.multinomial(probs, 1)"),
    ),
    edit(
        "one_fixed_generator",
        "next_token",
        "Without a generator, the draws never change: use the global random state.",
        (
            "torch.multinomial(probs, 1, generator=generator)",
            "torch.multinomial(probs, 1, generator=generator or torch.Generator().manual_seed(0))",
        ),
    ),
    edit(
        "greedy_unchecked",
        "next_token",
        "At temperature 0, the other arguments are not checked.",
        (
            "    if top_k is not None and top_k < 1:",
            "    if temperature == 0:\n        return int(logits.argmax())\n    if top_k is not None and top_k < 1:",
        ),
    ),
    edit(
        "logits_changed",
        "next_token",
        "The logits are changed in place.",
        (
            "    logits = logits.detach().cpu().double()\n",
            "    logits -= logits.max()\n    logits = logits.detach().cpu().double()\n",
        ),
    ),
    edit(
        "large_logits_overflow",
        "next_token",
        "At low temperatures the logits overflow: subtract the maximum before you divide, in float64.",
        ("(logits - logits.max()) / temperature", "logits / temperature"),
    ),
    edit(
        "float64_cut_short",
        "next_token",
        "Logits in float64 are rounded to float32, where some that differ become equal: work in float64.",
        ("logits.detach().cpu().double()", "logits.detach().cpu().float()"),
    ),
    edit(
        "nucleus_one_too_large",
        "next_token",
        "A token more than needed stays in the nucleus: where those before it have exactly top_p, it is complete.",
        ("before < top_p", "before <= top_p"),
    ),
    edit(
        "greedy_moves_the_generator",
        "next_token",
        "At temperature 0 a number is drawn all the same: the generator should stay as it is.",
        (
            "        return int(logits.argmax())",
            "        torch.rand(1, generator=generator)\n        return int(logits.argmax())",
        ),
    ),
    edit(
        "low_temperatures_are_greedy",
        "next_token",
        "A low temperature is taken for 0: only 0 takes the most probable token, any other divides.",
        ("if temperature == 0:", "if temperature < 1e-3:"),
    ),
    # generate
    edit(
        "stop_yielded",
        "generate",
        "The stop token is yielded: the text ends before it.",
        (
            "            return\n        text.append(token)",
            "            yield token\n            return\n        text.append(token)",
        ),
    ),
    edit(
        "stops_in_the_prompt",
        "generate",
        "A stop token in the prompt ends everything: only one that was drawn does.",
        ("if token in stop:", "if token in stop or text[-1] in stop:"),
    ),
    edit(
        "no_cache",
        "generate",
        "The whole text is read at every step: the cache remembers what was read.",
        ("if cache.length == len(text) - 1 < context_length:", "if False:"),
    ),
    edit(
        "stale_cache",
        "generate",
        "Past the context the cache is not emptied: all tokens have moved to other positions.",
        (
            "            cache.truncate(0)\n            new = text[-context_length:]",
            "            cache.truncate(0 if cache.length < context_length else context_length - 1)\n"
            "            new = text[-context_length:] if cache.length == 0 else text[-1:]",
        ),
    ),
    edit(
        "mode_leaks",
        "generate",
        "The caller's code runs without gradients between two ids: no yield inside of `with torch.no_grad()`.",
        ("    for _ in range(max_new_tokens):\n", "    torch.set_grad_enabled(False)\n    for _ in range(max_new_tokens):\n"),
    ),
    edit(
        "recording_off_after_an_error",
        "generate",
        "When the model raises, gradients stay off for the whole program: `with torch.no_grad()` puts the mode back whatever "
        "happens.",
        (
            "        with torch.no_grad():  # not around the yield: the caller's code runs in there\n"
            "            logits, _ = model(torch.tensor([new], device=device), cache=cache, last_only=True)\n",
            "        before = torch.is_grad_enabled()\n"
            "        torch.set_grad_enabled(False)\n"
            "        logits, _ = model(torch.tensor([new], device=device), cache=cache, last_only=True)\n"
            "        torch.set_grad_enabled(before)\n",
        ),
    ),
    edit(
        "not_lazy",
        "generate",
        "Everything is generated before the first id is handed out.",
        ("    for _ in range(max_new_tokens):\n", "    tokens = []\n    for _ in range(max_new_tokens):\n"),
        ("            return\n", "            break\n"),
        ("        yield token\n", "        tokens.append(token)\n    yield from tokens\n"),
    ),
    edit(
        "reads_ahead",
        "generate",
        "After each id, the model reads on before anybody asks.",
        (
            "        yield token\n",
            "        if cache.length == len(text) - 1 < context_length:\n"
            "            with torch.no_grad():\n"
            "                model(torch.tensor([text[-1:]], device=device), cache=cache)\n"
            "            cache.truncate(len(text) - 1)\n"
            "        yield token\n",
        ),
    ),
    edit(
        "temperature_not_handed_on",
        "generate",
        "The temperature is not handed on to next_token.",
        ("temperature, top_k, top_p, generator)\n        if", "1.0 if temperature else 0, top_k, top_p, generator)\n        if"),
    ),
    edit(
        "empty_prompt_accepted",
        "generate",
        "An empty prompt is accepted.",
        ("if not text or max_new_tokens < 0:", "if not text and max_new_tokens:\n        text = [0]\n    if max_new_tokens < 0:"),
    ),
    edit(
        "prompt_grows",
        "generate",
        "The caller's list grows with what is generated: copy it.",
        ("text = [int(i) for i in ids]", "text = ids if isinstance(ids, list) else [int(i) for i in ids]"),
    ),
    edit(
        "tensors_yielded",
        "generate",
        "Tensors are yielded, not ints.",
        ("        yield token\n", "        yield torch.tensor(token)\n"),
    ),
    edit(
        "generator_of_its_own_by_default",
        "generate",
        "Without a generator, a new one is made, which always begins alike: the global random state decides then.",
        ("    for _ in range", "    generator = generator or torch.Generator()\n    for _ in range"),
    ),
    edit(
        "cache_kept_on_the_model",
        "generate",
        "The cache is kept on the model: two generations at once overwrite each other's.",
        (
            "model.config.context_length, model.new_cache()",
            "model.config.context_length, model.__dict__.setdefault('_c', model.new_cache())",
        ),
        ("    for _ in range", "    cache.truncate(0)\n    for _ in range"),
    ),
    edit(
        "repeated_stop_token_goes_on",
        "generate",
        "A stop token like the token before it, the prompt's last one, say, does not end the text: any that is drawn does.",
        ("        if token in stop:", "        if token in stop and token != text[-1]:"),
    ),
    # write_safetensors
    edit(
        "big_endian_length",
        "write_safetensors",
        "The header's length is big-endian.",
        ('to_bytes(8, "little")', 'to_bytes(8, "big")'),
    ),
    edit(
        "not_filled_up",
        "write_safetensors",
        "The header is not filled up to a multiple of 8.",
        ('    encoded += b" " * (-len(encoded) % 8)\n', ""),
    ),
    edit(
        "length_in_characters",
        "write_safetensors",
        "The header's length counts characters: it is the number of its bytes, and é has two of them in UTF-8.",
        ("encoded = json.dumps(header).encode()", "text = json.dumps(header, ensure_ascii=False)"),
        (
            '    encoded += b" " * (-len(encoded) % 8)\n',
            '    text += " " * (-len(text) % 8)\n    encoded = text.encode()\n',
        ),
        ("len(encoded).to_bytes", "len(text).to_bytes"),
    ),
    edit(
        "filled_with_zeros",
        "write_safetensors",
        "The header is filled up with zero bytes, which is no JSON: spaces.",
        ('b" " * (-len', 'b"\\0" * (-len'),
    ),
    edit(
        "filled_up_outside",
        "write_safetensors",
        "The fill is not counted in the header's length, so all offsets are wrong.",
        ('    encoded += b" " * (-len(encoded) % 8)\n', "    length = len(encoded)\n    encoded += b' ' * (-len(encoded) % 8)\n"),
        ("len(encoded).to_bytes", "length.to_bytes"),
    ),
    edit(
        "in_order_of_names",
        "write_safetensors",
        "Tensors are not aligned: one of single bytes shifts those of four after it.",
        ("key=lambda name: (-tensors[name].element_size(), name)", "key=lambda name: name"),
    ),
    edit(
        "strides_ignored",
        "write_safetensors",
        "The memory is written as it lies there: a transposed tensor then has its numbers in the wrong order.",
        (
            "tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8)",
            "torch.empty(0, dtype=tensors[name].dtype).set_(tensors[name].detach().untyped_storage(), "
            "tensors[name].storage_offset(), (tensors[name].numel(),)).view(torch.uint8)",
        ),
    ),
    edit(
        "metadata_lost",
        "write_safetensors",
        "The metadata are not written.",
        ('{"__metadata__": dict(metadata)} if metadata else {}', "{}"),
    ),
    edit(
        "empty_left_out",
        "write_safetensors",
        "Tensors without elements are left out.",
        (
            "    for name in names:\n        tensor = tensors[name]\n",
            "    names = [name for name in names if tensors[name].numel()]\n"
            "    for name in names:\n"
            "        tensor = tensors[name]\n",
        ),
    ),
    edit(
        "complex_accepted",
        "write_safetensors",
        "A dtype that the format does not have is written as something else.",
        ("if tensor.dtype not in DTYPE_NAMES or name", "if name"),
        ("DTYPE_NAMES[tensor.dtype]", 'DTYPE_NAMES.get(tensor.dtype, "F64")'),
    ),
    edit(
        "shared_memory_written_once",
        "write_safetensors",
        "Tensors that share memory share a place in the file: the format allows no overlaps.",
        ("    offset = 0\n", "    offset = 0\n    seen = {}\n"),
        (
            "        end = offset + tensor.numel() * tensor.element_size()\n",
            "        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype) if tensor.numel() else name\n"
            "        if key in seen:\n"
            "            header[name] = header[seen[key]]\n"
            "            continue\n"
            "        seen[key] = name\n"
            "        end = offset + tensor.numel() * tensor.element_size()\n",
        ),
        ("        for name in names:\n            raw", "        for name in seen.values():\n            raw"),
    ),
    edit(
        "header_space_first",
        "write_safetensors",
        "The header is filled up in front: spaces belong at its end.",
        ('encoded += b" " * (-len(encoded) % 8)', 'encoded = b" " * (-len(encoded) % 8) + encoded'),
    ),
    edit(
        "safetensors_appended",
        "write_safetensors",
        "A file that is there already is appended to.",
        ('open(path, "wb")', 'open(path, "ab")'),
    ),
    edit(
        "requires_grad_off",
        "write_safetensors",
        "requires_grad of the caller's tensors is turned off: detach() gives a view without it.",
        ("tensors[name].detach()", "tensors[name].requires_grad_(False)"),
    ),
    edit(
        "contiguous_in_place",
        "write_safetensors",
        "The caller's tensors are made contiguous in place: write a contiguous copy, and leave theirs where they are.",
        (
            "            raw = tensors",
            "            tensors[name].data = tensors[name].data.contiguous()\n            raw = tensors",
        ),
    ),
    # export
    edit(
        "linear_layout",
        "export",
        "Linear weights are (out, in): the published layout is (in, out).",
        ("x.T if name.endswith(turned) else x", "x"),
    ),
    edit(
        "export_only_oblong",
        "export",
        "The square attn.c_proj is not transposed.",
        ("x.T if name.endswith(turned) else x", "x.T if name.endswith(turned) and x.shape[0] != x.shape[1] else x"),
    ),
    edit(
        "head_exported",
        "export",
        "lm_head.weight is wte.weight and should not be written twice.",
        (' if name != "lm_head.weight"}', "}"),
    ),
    edit(
        "export_without_format",
        "export",
        "The metadata lack the format, without which transformers refuses the file.",
        (', {"format": "pt"})', ")"),
    ),
    edit(
        "config_in_the_working_folder",
        "export",
        "config.json lies in the working folder: it belongs beside the weights.",
        ('(path.parent / "config.json")', 'Path("config.json")'),
    ),
    edit(
        "model_turned",
        "export",
        "The model itself is transposed.",
        (
            "    write_safetensors(path, state,",
            "    for name, x in model.named_parameters():\n"
            "        if name.endswith(turned):\n"
            "            x.data = x.data.T.contiguous()\n"
            "    write_safetensors(path, state,",
        ),
    ),
    edit(
        "export_turns_to_evaluation",
        "export",
        "The model is left in evaluation mode.",
        ("    write_safe", "    model.eval()\n    write_safe"),
    ),
    # parse_request
    edit(
        "top_k_of_one_refused",
        "parse_request",
        "A top_k of 1 is refused: whole numbers are allowed from 1 on.",
        ("whole(x, 1, math.inf)", "whole(x, 2, math.inf)"),
    ),
    edit(
        "true_is_a_number",
        "parse_request",
        "true is accepted as a number: in Python, bool is a kind of int.",
        ("isinstance(value, int) and not isinstance(value, bool) and least", "isinstance(value, int) and least"),
    ),
    edit(
        "not_a_number_accepted",
        "parse_request",
        "NaN or Infinity are accepted: JSON's parser lets them through.",
        (" and abs(value) <= sys.float_info.max", ""),
    ),
    edit(
        "surrogates_accepted",
        "parse_request",
        "Half a character in the prompt is accepted, which no encoding has: it fails later, in the tokenizer.",
        (' and not any("\\ud800" <= character <= "\\udfff" for character in value)', ""),
    ),
    edit(
        "limit_less_one",
        "parse_request",
        "max_new_tokens equal to the limit is refused.",
        ("whole(x, 0, limit)", "whole(x, 0, limit - 1)"),
    ),
    edit(
        "default_above_the_limit",
        "parse_request",
        "The default of max_new_tokens is above a limit below 64.",
        ("(min(64, limit), ", "(64, "),
    ),
    edit(
        "whole_floats_accepted",
        "parse_request",
        "2.0 is accepted as a whole number.",
        (
            "isinstance(value, int) and not isinstance(value, bool) and least",
            "isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0 and least",
        ),
    ),
    edit(
        "seed_unbounded",
        "parse_request",
        "A seed of 2**63 is accepted, which a generator refuses.",
        ("whole(x, 0, 2**63 - 1)", "whole(x, 0, math.inf)"),
    ),
    edit(
        "null_refused",
        "parse_request",
        "null is refused where it is allowed.",
        (
            '"top_k": (None, lambda x: x is None or whole',
            '"top_k": (None, lambda x: x is None and "top_k" not in given_names or whole',
        ),
        ("    fields = {\n", "    given_names = set(given)\n    fields = {\n"),
    ),
    edit(
        "unknown_fields_ignored",
        "parse_request",
        "Unknown fields are ignored: a misspelt one then has no effect and nobody says so.",
        ("    if given:\n", "    if False:\n"),
    ),
    edit(
        "deep_nesting_crashes",
        "parse_request",
        "A deeply nested body raises RecursionError.",
        ("(ValueError, RecursionError)", "ValueError"),
    ),
    edit(
        "bad_bytes_crash",
        "parse_request",
        "Bytes that are no UTF-8 are read with replacements.",
        ('body.decode("utf-8")', 'body.decode("utf-8", errors="replace")'),
    ),
    edit(
        "loads_bytes",
        "parse_request",
        "json.loads of bytes guesses the encoding and takes UTF-16: decode as UTF-8 first.",
        ('json.loads(body.decode("utf-8"))', "json.loads(body)"),
    ),
    edit(
        "huge_numbers_crash",
        "parse_request",
        "A whole number that no float holds raises OverflowError in math.isfinite.",
        ("abs(value) <= sys.float_info.max", "math.isfinite(value)"),
    ),
    edit(
        "limit_of_zero_is_none",
        "parse_request",
        "With a limit of 0, the default of max_new_tokens is above it: 0 is a limit, and not none.",
        ("(min(64, limit), ", "(min(64, limit or 64), "),
    ),
    edit(
        "high_temperatures_refused",
        "parse_request",
        "Temperatures are refused that are only high: every finite number that is not negative is one.",
        ("number(x) and x >= 0", "number(x) and 2000 >= x >= 0"),
    ),
    edit(
        "long_numbers_crash",
        "parse_request",
        ("A number of thousands of digits raises a plain ValueError in json.loads, of which JSONDecodeError is one kind."),
        (
            "except (ValueError, RecursionError) as error",
            "except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error",
        ),
    ),
    edit(
        "one_request_for_all",
        "parse_request",
        "All requests are the same dict, so that the next one overwrites those before it: make a new one in each call.",
        ("    request = {}\n", "    request = vars(parse_request).setdefault('request', {})\n"),
    ),
    # application
    edit(
        "no_lock",
        "application",
        "Two requests run the model at the same time: one lock for all.",
        ("            with lock:  #", "            if True:  #"),
    ),
    edit(
        "locked_while_reading",
        "application",
        "The lock is held while a client reads: others wait for the slowest.",
        (
            "        while True:\n"
            "            with lock:  # held while the model works, not while a client reads\n"
            "                token = next(ids, None)\n"
            "            if token is None:\n"
            "                return\n"
            "            yield token",
            "        with lock:\n            yield from ids",
        ),
    ),
    edit(
        "streamed_at_the_end",
        "application",
        "All lines are computed before the first is sent.",
        ("return map(line, parts)", "return list(map(line, parts))"),
    ),
    edit(
        "request_seed_ignored",
        "application",
        "The seed is not used.",
        ('generator.manual_seed(request["seed"]) if request["seed"] is not None else generator.seed()', "generator.seed()"),
    ),
    edit(
        "seed_of_zero_ignored",
        "application",
        "A seed of 0 is taken for none.",
        ('if request["seed"] is not None else', 'if request["seed"] else'),
    ),
    edit(
        "temperature_of_zero_ignored",
        "application",
        "A temperature of 0 is taken for none: 0 is a number that may be asked for.",
        (
            'request[name] for name in ("temperature", "top_k", "top_p")}',
            'request[name] or {"temperature": 1.0}.get(name) for name in ("temperature", "top_k", "top_p")}',
        ),
    ),
    edit(
        "always_the_same_text",
        "application",
        "Without a seed, every answer is the same: torch.Generator() always begins with the same numbers.",
        ("else generator.seed()", "else None"),
    ),
    edit(
        "seeded_by_a_counter",
        "application",
        "Without a seed, requests are numbered, and the number is the seed: a server that is started again repeats itself. "
        "generator.seed() takes one that nobody can know.",
        ("    lock = threading.Lock()\n", "    lock, numbers = threading.Lock(), iter(range(10**9))\n"),
        ("else generator.seed()", "else generator.manual_seed(next(numbers))"),
    ),
    edit(
        "global_generator",
        "application",
        "The global random state is seeded: a request has a generator of its own.",
        ("        generator = torch.Generator()\n", "        generator = torch.default_generator\n"),
    ),
    edit(
        "reads_to_the_end",
        "application",
        "The body is read without its length: on a connection that stays open this waits for ever.",
        ('environ["wsgi.input"].read(int(length))', 'environ["wsgi.input"].read()'),
    ),
    edit(
        "large_bodies_read",
        "application",
        "A body that is too large is read before it is refused.",
        (
            "        if len(length) > 18 or",
            "        len(length) < 9 and environ['wsgi.input'].read(int(length))\n        if len(length) > 18 or",
        ),
    ),
    edit(
        "body_of_the_limit_refused",
        "application",
        "A body of max_body_bytes is refused: more than that is too large.",
        ("int(length) > max_body_bytes", "int(length) >= max_body_bytes"),
    ),
    edit(
        "negative_length",
        "application",
        "A negative length is accepted.",
        ("if not (length.isascii() and length.isdigit()):", "if not (length.isascii() and length.lstrip('-').isdigit()):"),
    ),
    edit(
        "length_of_zero_reads_to_the_end",
        "application",
        "A length of 0 is taken for none, and the body is read to its end, which waits for ever: then nothing is read.",
        (".read(int(length))", ".read(int(length) or -1)"),
    ),
    edit(
        "length_as_python_reads_it",
        "application",
        "A length is whatever int() takes, such as 2_6: in HTTP a whole number is digits and nothing else.",
        (
            "        if not (length.isascii() and length.isdigit()):\n",
            "        try:\n"
            "            wrong = int(length) < 0\n"
            "        except ValueError:\n"
            "            wrong = not length.isdigit() or not length.isascii()\n"
            "        if wrong:\n",
        ),
    ),
    edit(
        "stop_id_zero_lost",
        "application",
        "The id 0 is missing from the stop ids that generate gets: hand stop on as it is.",
        ("generator=generator, stop=stop)", "generator=generator, stop=[token for token in stop if token])"),
    ),
    edit(
        "every_path_generates",
        "application",
        "Unknown paths get 404.",
        ('.get(environ.get("PATH_INFO", ""))', '.get(environ.get("PATH_INFO", ""), "POST")'),
    ),
    edit("token_zero_ends", "application", "The id 0 ends the text: compare with None.", ("if token is None:", "if not token:")),
    edit(
        "isdigit_only",
        "application",
        '"²".isdigit() is true, and int("²") raises: ask for isascii(), too.',
        ("if not (length.isascii() and length.isdigit()):", "if not length.isdigit():"),
    ),
    edit(
        "lock_not_released",
        "application",
        "When the model fails, the lock is not released and all other requests wait for ever: `with lock:`.",
        (
            "            with lock:  # held while the model works, not while a client reads\n"
            "                token = next(ids, None)\n",
            "            lock.acquire()\n            token = next(ids, None)\n            lock.release()\n",
        ),
    ),
    edit(
        "generator_shared",
        "application",
        "All requests share one generator: each has its own.",
        ("    lock = threading.Lock()\n", "    lock = threading.Lock()\n    shared = torch.Generator()\n"),
        ("        generator = torch.Generator()\n", "        generator = shared\n"),
    ),
    edit(
        "locked_without_a_stream",
        "application",
        "Without a stream, the lock is held until all ids are there: requests take turns token by token.",
        ("        *pieces, end = parts\n", ("        with gate:\n            *pieces, end = parts\n")),
        ("    lock = threading.Lock()\n", ("    lock, gate = threading.RLock(), None\n    gate = lock\n")),
    ),
    edit(
        "failure_looks_complete",
        "application",
        "When the model fails on the way, the stream ends as if it were complete: let the error through.",
        (
            "                token = next(ids, None)",
            (
                "                try:\n"
                "                    token = next(ids, None)\n"
                "                except Exception:\n"
                "                    token = None"
            ),
        ),
    ),
]
