"""Unusual right solutions: each must get full marks."""

from dataclasses import dataclass

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit(
        "dropout_out_of_its_range",
        "GPTConfig",
        "What is refused said as such: NaN gets through, of which the docstring does not speak.",
        ("if not 0 <= self.dropout < 1:", "if self.dropout < 0 or self.dropout >= 1:"),
    ),
    edit(
        "scores_by_hand",
        "CausalSelfAttention",
        "Softmax and masks written out, in place of the fused call.",
        (
            "        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=t == n > 1)\n",
            "        scores = q @ k.mT / (d // self.n_heads) ** 0.5\n"
            "        future = torch.arange(n)[None] > torch.arange(n - t, n)[:, None]\n"
            "        weights = scores.masked_fill(future, -torch.inf).softmax(-1)\n"
            "        y = F.dropout(weights, dropout) @ v\n",
        ),
    ),
    edit(
        "always_a_mask",
        "CausalSelfAttention",
        "A mask of zeros and minus infinities for every shape, and modules for dropout.",
        (
            "mask = None if t in (1, n) else torch.ones(t, n, dtype=torch.bool, device=x.device).tril(n - t)",
            "mask = torch.full((t, n), -torch.inf, dtype=x.dtype).triu(n - t + 1)",
        ),
        ("is_causal=t == n > 1", "is_causal=False"),
        (
            "self.n_heads, self.dropout = config.n_heads, config.dropout",
            "self.n_heads, self.dropout = config.n_heads, config.dropout\n        self.resid = nn.Dropout(config.dropout)",
        ),
        (
            "return F.dropout(self.c_proj(y.transpose(1, 2).flatten(2)), self.dropout, self.training)",
            "return self.resid(self.c_proj(y.transpose(1, 2).reshape(b, t, d)))",
        ),
    ),
    edit(
        "gelu_as_a_module",
        "MLP",
        "GELU and dropout as submodules, which have no parameters.",
        (
            "        self.dropout = config.dropout\n",
            '        self.act, self.drop = nn.GELU("tanh"), nn.Dropout(config.dropout)\n',
        ),
        (
            'F.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")), self.dropout, self.training)',
            "self.drop(self.c_proj(self.act(self.c_fc(x))))",
        ),
    ),
    edit(
        "cache_by_name",
        "Block",
        "The additions in one expression, the cache handed on by name.",
        (
            "        x = x + self.attn(self.ln_1(x), cache, layer)\n        return x + self.mlp(self.ln_2(x))",
            "        y = self.attn(self.ln_1(x), layer=layer, cache=cache).add(x)\n        return self.mlp(self.ln_2(y)).add(y)",
        ),
    ),
    edit(
        "initialised_by_apply",
        "GPT",
        "Built with forked random state, initialised module by module, the stack of blocks run by a counter.",
        (
            "        global_state = torch.get_rng_state()\n",
            "        fork = torch.random.fork_rng(devices=[])\n        fork.__enter__()\n",
        ),
        (
            "        torch.set_rng_state(global_state)  # what PyTorch's layers drew for themselves is not kept\n",
            "        fork.__exit__(None, None, None)\n",
        ),
        (
            "        for layer, block in enumerate(self.h):\n            x = block(x, cache, layer)\n",
            "        layer = 0\n"
            "        while layer < len(self.h):\n"
            "            x, layer = self.h[layer](x, cache=cache, layer=layer), layer + 1\n",
        ),
        ("F.cross_entropy(logits.flatten(0, 1), targets.flatten())", "F.cross_entropy(logits.transpose(1, 2), targets)"),
    ),
    edit(
        "empty_layers",
        "GPT",
        "Layers made without drawing anything, by nn.utils.skip_init's way: on the meta device, then emptied and initialised.",
        (
            "        global_state = torch.get_rng_state()\n",
            "        meta = torch.get_default_device().type == 'meta'\n        global_state = torch.get_rng_state()\n",
        ),
        ("            elif parameter.ndim == 2:\n", "            elif parameter.ndim == 2 and not meta:\n"),
        (
            "logits = self.lm_head(self.ln_f(x[:, -1:] if last_only else x))",
            "x = self.ln_f(x)\n        logits = F.linear(x[:, [-1]] if last_only else x, self.wte.weight)",
        ),
    ),
    edit(
        "copied_by_load_state_dict",
        "load_gpt2_state_dict",
        "Checked by hand, copied by PyTorch's own load_state_dict.",
        (
            "    with torch.no_grad():\n        for name, tensor in published.items():\n            own[name].copy_(tensor)\n",
            '    model.load_state_dict({**published, "lm_head.weight": published["wte.weight"]})\n',
        ),
    ),
    edit(
        "array_of_sixteen_bits",
        "prepare_corpus",
        "Buffers of Python's array module, shards written through bytes.",
        (
            "buffers: dict[str, list[int]] = {split: [] for split in splits}",
            'from array import array\n\n    buffers = {split: array("H") for split in splits}',
        ),
        ("buffers[split] += ids[start : start + shard_tokens]", "buffers[split].extend(ids[start : start + shard_tokens])"),
        ("np.array(tokens, dtype=DTYPE).tofile(folder / file)", "(folder / file).write_bytes(tokens.tobytes())"),
    ),
    edit(
        "texts_wait",
        "prepare_corpus",
        "The documents that may be held out wait as texts, and are encoded when they are written.",
        ("last: deque[list[int]] = deque()", "last: deque[str] = deque()"),
        (
            "        if ids := list(tokenizer.encode(text)):\n            last.append([eot_id, *ids])",
            "        if tokenizer.encode(text):\n            last.append(text)",
        ),
        ('add("train", last.popleft())', 'add("train", [eot_id, *tokenizer.encode(last.popleft())])'),
        (
            '    for ids in last:\n        add("validation", ids)',
            '    for text in last:\n        add("validation", [eot_id, *tokenizer.encode(text)])',
        ),
    ),
    edit(
        "read_with_seek",
        "TokenShards",
        "Files are opened anew for every window and read from the right place, without a map; hash() of the numbers, which is "
        "the same in every process, is the seed of the order.",
        (
            "            seed = torch.tensor([self.shuffle_seed, epoch]).numpy().tobytes()\n"
            '            generator = torch.Generator().manual_seed(int.from_bytes(seed, "little") % (2**63 - 25))\n',
            "            generator = torch.Generator().manual_seed(hash((self.shuffle_seed, epoch)) % 2**63)\n",
        ),
        ('self.shards.append(np.memmap(path, dtype=DTYPE, mode="r"))', "self.shards.append(path)"),
        ("np.cumsum([0, *map(len, self.shards)])", "np.cumsum([0, *(path.stat().st_size // 2 for path in self.shards)])"),
        (
            "            part = self.shards[shard][offset : offset + length]\n",
            "            part = np.fromfile(self.shards[shard], dtype=DTYPE, count=length, offset=2 * offset)\n",
        ),
    ),
    edit(
        "order_by_numpy",
        "TokenShards",
        "The order comes from NumPy's generator, and is drawn anew for every batch.",
        ("        if self._order is None or self._order[0] != epoch:\n", "        if True:\n"),
        (
            "            seed = torch.tensor([self.shuffle_seed, epoch]).numpy().tobytes()\n"
            '            generator = torch.Generator().manual_seed(int.from_bytes(seed, "little") % (2**63 - 25))\n',
            "",
        ),
        (
            "torch.randperm(self.n_windows, generator=generator)",
            "torch.from_numpy(np.random.default_rng([self.shuffle_seed, epoch]).permutation(self.n_windows))",
        ),
    ),
    edit(
        "one_counter",
        "TokenShards",
        "The position is one number, from which epoch and step are worked out; the state has it in a list of its own.",
        ("        self.epoch = self.step = 0\n", "        self._done = 0\n"),
        (
            "        self.step += 1\n        if self.step == len(self):\n            self.epoch, self.step = self.epoch + 1, 0\n",
            "        self._done += 1\n",
        ),
        ('{"epoch": self.epoch, "step": self.step, "shuffle_seed"', '{"place": [self._done], "shuffle_seed"'),
        ('self.epoch, self.step = state["epoch"], state["step"]', 'self._done = state["place"][0]'),
        (
            "    def _shuffled(self",
            "    epoch = property(lambda self: self._done // len(self))\n"
            "    step = property(lambda self: self._done % len(self))\n"
            "\n"
            "    def _shuffled(self",
        ),
    ),
    edit(
        "evaluated_with_inference_mode",
        "evaluate",
        "Inference mode, losses collected in a list, the random state put back by hand.",
        ("    try:\n", "    random_numbers, losses = torch.get_rng_state(), []\n    try:\n"),
        (
            '        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():\n',
            "        with torch.inference_mode():\n",
        ),
        (
            "                total += model(x.to(device), y.to(device))[1]\n",
            "                losses.append(model(x, y)[1].item())\n",
        ),
        ("    finally:\n", "    finally:\n        torch.set_rng_state(random_numbers)\n"),
        (
            "    return mean_over_processes(total / n_batches).item()",
            "    return mean_over_processes(torch.tensor(sum(losses) / n_batches, dtype=torch.float64)).item()",
        ),
    ),
    edit(
        "saved_through_memory",
        "save_checkpoint",
        "Written into memory first, and to a temporary file that is renamed.",
        (
            "        torch.save(state, unfinished)\n",
            "        import io\n"
            "\n"
            "        memory = io.BytesIO()\n"
            "        torch.save(state, memory)\n"
            "        unfinished.write_bytes(memory.getvalue())\n",
        ),
        ("os.replace(unfinished, path)", "unfinished.rename(path)"),
    ),
    edit(
        "clipped_by_hand",
        "train",
        "Losses are summed before they are divided, the norm is computed and applied by hand, gradients are zeroed in place.",
        (
            "loss = runner(x, y)[1] / config.accumulation_steps\n                    loss.backward()",
            "loss = runner(x, y)[1]\n"
            "                    loss = loss / config.accumulation_steps\n"
            "                    loss.backward()",
        ),
        (
            "            norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)\n",
            "            gradients = [p.grad for p in model.parameters() if p.grad is not None]\n"
            "            norm = sum(g.square().sum() for g in gradients).sqrt()\n"
            "            if norm > config.clip_norm:\n"
            "                for g in gradients:\n"
            "                    g *= config.clip_norm / norm\n",
        ),
    ),
    edit(
        "scheduled_by_lambda",
        "train",
        "The rate is set by a loop over all groups at the end of each step for the next; the "
        "checkpoint counts the steps by itself.",
        ('"random": random_state(device),\n', '"random": random_state(device),\n                        "n_steps": done,\n'),
        ('    for step in range(len(history["loss"]), last):', '    for step in range(state["n_steps"] if resumed else 0, last):')
        if False
        else (
            '        history = state["history"]\n',
            '        history = {key: list(values) for key, values in state["history"].items()}\n',
        ),
    ),
    edit(
        "a_random_state_for_each_process",
        "train",
        "The checkpoint has the random states of all processes, and each goes on from its own.",
        (
            'set_random_state(state["random"], device)',
            'set_random_state(state["random"][dist.get_rank() if dist.is_initialized() else 0], device)',
        ),
        (
            "            if config.checkpoint_path is not None and is_main and due:\n",
            "            states = [random_state(device)]\n"
            "            if dist.is_initialized():\n"
            "                states *= dist.get_world_size()\n"
            "                dist.all_gather_object(states, states[0])\n"
            "            if config.checkpoint_path is not None and is_main and due:\n",
        ),
        ('"random": random_state(device),', '"random": states,'),
    ),
    edit(
        "decoded_from_scratch",
        "decode_stream",
        "The whole text is decoded at every id, and what is new in it is yielded.",
        (
            "    waiting: list[int] = []\n"
            "    for token in ids:\n"
            "        waiting.append(token)\n"
            "        text = tokenizer.decode(waiting)\n",
            "    everything, n_shown = [], 0\n"
            "    for token in ids:\n"
            "        everything.append(token)\n"
            "        text = tokenizer.decode(everything)\n",
        ),
        (
            '        if not text.endswith("\\ufffd"):  # how decode shows a character that has only begun\n'
            "            waiting = []\n"
            "            if text:\n"
            "                yield text\n",
            '        if not text.endswith("\\ufffd") and len(text) > n_shown:\n'
            "            yield text[n_shown:]\n"
            "            n_shown = len(text)\n",
        ),
        (
            "    if waiting and (text := tokenizer.decode(waiting)):\n        yield text\n",
            "    text = tokenizer.decode(everything)\n    if len(text) > n_shown:\n        yield text[n_shown:]\n",
        ),
    ),
    edit(
        "drawn_by_noise",
        "next_token",
        "Exponential noise decides (the Gumbel trick), filters are masks, and all that are equal to the top_k-th stay.",
        (
            "    logits, ids = logits.sort(descending=True)\n    probs = logits[:top_k].softmax(-1)\n",
            "    if top_k is not None and top_k < len(logits):\n"
            "        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)\n"
            "    ids = logits.argsort(descending=True)\n"
            "    probs = logits[ids].softmax(-1)\n",
        ),
        (
            "int(ids[torch.multinomial(probs, 1, generator=generator)])",
            "int(ids[(probs / torch.empty_like(probs).exponential_(generator=generator)).argmax()])",
        ),
    ),
    edit(
        "drawn_by_the_inverse",
        "next_token",
        "One uniform number and the cumulative probabilities.",
        (
            "    return int(ids[torch.multinomial(probs, 1, generator=generator)])",
            "    reached = probs.cumsum(-1)\n"
            "    u = torch.rand((), dtype=torch.float64, generator=generator) * reached[-1]\n"
            "    return ids[int(torch.searchsorted(reached, u, right=True).clamp(max=len(probs) - 1))].item()",
        ),
    ),
    edit(
        "fresh_caches",
        "generate",
        "A new cache for every window that moves, no last_only, and the decorator form of no_grad.",
        ("            cache.truncate(0)\n", "            cache = model.new_cache()\n"),
        (
            "        with torch.no_grad():  # not around the yield: the caller's code runs in there\n"
            "            logits, _ = model(torch.tensor([new], device=device), cache=cache, last_only=True)\n",
            "        read = torch.no_grad()(lambda new, cache: model(torch.tensor([new]), cache=cache)[0])\n"
            "        logits = read(new, cache)\n",
        ),
    ),
    edit(
        "a_class_with_next",
        "generate",
        "Checked at once, in a function that returns a generator of its own, decorated with inference mode.",
        (
            "    for _ in range(max_new_tokens):\n",
            "    @torch.no_grad()\n"
            "    def step(new):\n"
            "        return model(torch.tensor(new)[None], cache=cache, last_only=True)[0][0, -1]\n"
            "\n"
            "    for _ in range(max_new_tokens):\n",
        ),
        (
            "        with torch.no_grad():  # not around the yield: the caller's code runs in there\n"
            "            logits, _ = model(torch.tensor([new], device=device), cache=cache, last_only=True)\n"
            "        token = next_token(logits[0, -1], ",
            "        token = next_token(step(new), ",
        ),
    ),
    edit(
        "each_tensor_fills_up",
        "write_safetensors",
        "Tensors by size of element and then in the given order; bytes by way of NumPy; the file made in memory.",
        ("key=lambda name: (-tensors[name].element_size(), name)", "key=lambda name: tensors[name].element_size(), reverse=True"),
        (
            '        file.write(len(encoded).to_bytes(8, "little"))\n',
            '        import struct\n\n        file.write(struct.pack("<Q", len(encoded)))\n',
        ),
        ("json.dumps(header).encode()", 'json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")'),
    ),
    edit(
        "seeded_when_imported",
        "export",
        "The file seeds PyTorch as it is imported: which is before any test, whichever test imports it.",
        ("def export(", "torch.manual_seed(1234)\n\n\ndef export("),
    ),
    edit(
        "from_named_parameters",
        "export",
        "From named_parameters, which names a tied weight once; layers are known by their class.",
        (
            "    state = {name: x.T if name.endswith(turned) else x for name, x in "
            'model.state_dict().items() if name != "lm_head.weight"}\n',
            "    linear = {f'{name}.weight' for name, layer in model.h.named_modules(prefix='h') if "
            "isinstance(layer, torch.nn.Linear)}\n"
            "    state = {name: x.data.t() if name in linear else x.data for name, x in model.named_parameters()}\n",
        ),
        ('    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")\n', ""),
    ),
    edit(
        "strictly_json",
        "parse_request",
        "NaN and Infinity make a body that is no JSON, since the standard does not have them.",
        (
            'given = json.loads(body.decode("utf-8"))',
            "def refuse(name):\n"
            '            raise ValueError(f"{name} is not JSON")\n'
            "\n"
            '        given = json.loads(body.decode("utf-8"), parse_constant=refuse)',
        ),
    ),
    edit(
        "a_list_of_lines",
        "application",
        "One condition guards the model, the request is a generator that is not mapped, headers carry a charset.",
        ("    lock = threading.Lock()\n", "    lock = threading.Semaphore(1)\n"),
        ("return map(line, parts)", "return (line(part) for part in parts)"),
        (
            '[("Content-Type", "application/x-ndjson")]',
            '[("Content-Type", "application/x-ndjson; charset=utf-8"), ("Cache-Control", "no-store")]',
        ),
    ),
]


@alternative("GPTConfig", "Plain comparisons, one after the other, with operator.index; and nobody can change it.")
@dataclass(frozen=True)
class IndexedConfig:
    vocab_size: int = 50257
    context_length: int = 1024
    n_layers: int = 12
    n_heads: int = 12
    d_model: int = 768
    dropout: float = 0.0

    def __post_init__(self):
        import operator

        for name, size in list(vars(self).items())[:-1]:
            if operator.index(size) <= 0:
                raise IndexError(name)
        if self.d_model != self.d_model // self.n_heads * self.n_heads or not (0 <= self.dropout and self.dropout < 1):
            raise TypeError("sizes")

    @staticmethod
    def gpt2_124m():
        return GPTConfig()


@alternative("param_groups", "One pass over the parameters, sorted into two lists.")
def sorted_groups(model, weight_decay):
    groups = [{"params": [], "weight_decay": weight_decay}, {"params": [], "weight_decay": 0.0}]
    for _, p in model.named_parameters():
        if p.requires_grad:
            groups[p.dim() < 2]["params"].append(p)
    return groups


@alternative("cosine_schedule", "By the square of a cosine of half the angle.")
def squared_cosine(step, warmup_steps, total_steps, max_lr, min_lr):
    if step < min(warmup_steps, total_steps):
        return (step + 1) * max_lr / (warmup_steps + 1)
    if step >= total_steps:
        return min_lr
    share = math.cos(math.pi / 2 * (step - warmup_steps) / (total_steps - warmup_steps)) ** 2
    return share * max_lr + (1 - share) * min_lr


@alternative("parse_request", "Field by field, without a table.")
def field_by_field(body, limit=1024):
    try:
        given = json.loads(bytes(body).decode())
        assert isinstance(given, dict)
    except Exception as error:
        raise BadRequest("body", "no JSON object") from error
    defaults = {"max_new_tokens": min(limit, 64), "temperature": 1.0, "top_k": None, "top_p": None, "seed": None, "stream": False}
    request = {"prompt": ""} | defaults | given

    def need(name, right):
        if not right:
            raise BadRequest(name, "is wrong")

    prompt = request["prompt"]
    try:
        need("prompt", type(prompt) is str and prompt.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadRequest("prompt", "is no text") from None
    need("max_new_tokens", type(request["max_new_tokens"]) is int and 0 <= request["max_new_tokens"] <= limit)
    t = request["temperature"]
    need("temperature", type(t) in (int, float) and 0 <= t and t != math.inf)
    need("top_k", request["top_k"] is None or type(request["top_k"]) is int and request["top_k"] > 0)
    need("top_p", request["top_p"] is None or type(request["top_p"]) in (int, float) and 0 < request["top_p"] <= 1)
    need("seed", request["seed"] is None or type(request["seed"]) is int and 0 <= request["seed"] < 2**63)
    need("stream", type(request["stream"]) is bool)
    for name in request:
        need(name, name in defaults or name == "prompt")
    return request
