"""Public tests of the capstone: pytest exercises/14_capstone_gpt124m [-k generate]"""

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.strategies import given, normal, seeds, settings, sizes

SMALL = {"vocab_size": 11, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 8}

# What runs beside your module: each function gets model.py as its first argument, and looks for the other files next to it.


def fields(module, own):
    config = module.GPTConfig(**own)
    names = ("vocab_size", "context_length", "n_layers", "n_heads", "d_model", "dropout")
    return {name: getattr(config, name) for name in names}


def sizes_refused(module, all_sizes):
    refused = []
    for own in all_sizes:
        try:
            module.GPTConfig(**own)
            refused.append(False)
        except (ValueError, TypeError, IndexError):
            refused.append(True)
    return refused


def beside_torch(module, sizes, x):
    """CausalSelfAttention, and PyTorch's MultiheadAttention with the same weights."""
    torch.manual_seed(0)
    layer = module.CausalSelfAttention(module.GPTConfig(**sizes)).double()
    peer = torch.nn.MultiheadAttention(sizes["d_model"], sizes["n_heads"], batch_first=True).double()
    peer.load_state_dict({
        "in_proj_weight": layer.c_attn.weight, "in_proj_bias": layer.c_attn.bias,
        "out_proj.weight": layer.c_proj.weight, "out_proj.bias": layer.c_proj.bias,
    })  # fmt: skip
    t = x.shape[1]
    with torch.no_grad():
        return layer(x), peer(x, x, x, attn_mask=torch.ones(t, t, dtype=torch.bool).triu(1), need_weights=False)[0]


def through_a_cache(module, sizes, x):
    torch.manual_seed(0)
    config = module.GPTConfig(**sizes)
    layer, cache = module.CausalSelfAttention(config).double(), module.KVCache(config, len(x), x.dtype)
    with torch.no_grad():
        return layer(x), torch.cat([layer(piece, cache, 1).clone() for piece in x.split([1, 3, 1], dim=1)], dim=1)


def mlp_and_its_parts(module, sizes, x):
    torch.manual_seed(0)
    layer = module.MLP(module.GPTConfig(**sizes)).double()
    with torch.no_grad():
        return layer(x), layer.c_proj(torch.nn.functional.gelu(layer.c_fc(x), approximate="tanh"))


def block_and_its_parts(module, sizes, x):
    torch.manual_seed(0)
    block = module.Block(module.GPTConfig(**sizes)).double()
    with torch.no_grad():
        after = x + block.attn(block.ln_1(x))
        return block(x), after + block.mlp(block.ln_2(after)), block.ln_1.eps


def counted(module):
    with torch.device("meta"):
        model = module.GPT(module.GPTConfig.gpt2_124m())
    return sum(parameter.numel() for parameter in model.parameters()), model.lm_head.weight is model.wte.weight


def logits_by_parts(module, sizes, ids, targets):
    model = module.GPT(module.GPTConfig(**sizes), torch.Generator().manual_seed(0)).double().eval()
    with torch.no_grad():
        logits, loss = model(ids, targets)
        x = model.wte(ids) + model.wpe(torch.arange(ids.shape[1]))
        for block in model.h:
            x = block(x)
        expected = model.ln_f(x) @ model.wte.weight.T
        return logits, expected, loss, torch.nn.functional.cross_entropy(expected.flatten(0, 1), targets.flatten())


def logits_token_by_token(module, sizes, ids):
    model = module.GPT(module.GPTConfig(**sizes), torch.Generator().manual_seed(0)).double().eval()
    cache = model.new_cache(len(ids))
    with torch.no_grad():
        rows = [model(token, cache=cache)[0].clone() for token in ids.split(1, dim=1)]
        return torch.cat(rows, dim=1), model(ids)[0], cache.length


def loaded_again(module, sizes, prefix):
    """The state of a model that has read another one's state in the published layout, and that other state."""
    first, second = (
        module.GPT(module.GPTConfig(**sizes), torch.Generator().manual_seed(0)).double().eval(),
        module.GPT(module.GPTConfig(**sizes)).double(),
    )
    published = {}
    for name, x in first.state_dict().items():
        if name != "lm_head.weight":
            linear = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
            published[prefix + name] = x.T.contiguous() if linear else x
    published[f"{prefix}h.0.attn.bias"] = torch.ones(1, 1, 8, 8).tril()
    module.load_gpt2_state_dict(second, published)
    return second.state_dict(), first.state_dict()


def small_corpus(module, texts, shard_tokens, n_validation):
    """The numbers in the files of a corpus of bytes, and the manifest."""
    import importlib
    import json
    import tempfile
    from pathlib import Path

    data, tokenizer = (importlib.import_module(f"{module.__name__.rpartition('.')[0]}.{name}") for name in ("data", "tokenizer"))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        source = Path(folder, "texts.jsonl")
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        manifest = data.prepare_corpus(
            [source], tokenizer.ByteTokenizer(), Path(folder, "corpus"), shard_tokens, 256, n_validation
        )
        files = {path.name: path.read_bytes() for path in Path(folder, "corpus").glob("*.bin")}
    return {
        name: torch.frombuffer(bytearray(data), dtype=torch.uint16).tolist() for name, data in sorted(files.items())
    }, manifest


def batches(module, tokens, cut, options, n):
    """n batches of each rank, from two shards of these tokens."""
    import importlib
    import json
    import tempfile
    from pathlib import Path

    data = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.data")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        shards = []
        for i, piece in enumerate((tokens[:cut], tokens[cut:])):
            torch.tensor(piece).to(torch.uint16).numpy().tofile(Path(folder, f"train_{i:05}.bin"))
            shards.append({"file": f"train_{i:05}.bin", "n_tokens": len(piece)})
        split = {"n_documents": 1, "n_tokens": len(tokens), "shards": shards}
        Path(folder, "manifest.json").write_text(json.dumps({"dtype": "uint16", "eot_id": 0, "splits": {"train": split}}))
        ranks = [data.TokenShards(folder, "train", rank=rank, **options) for rank in range(options["world_size"])]
        first = [[shards.next_batch() for _ in range(n)] for shards in ranks]
        state = ranks[0].state_dict()
        following = ranks[0].next_batch()
        again = data.TokenShards(folder, "train", rank=0, **options)
        again.load_state_dict(json.loads(json.dumps(state)))
        return first, following, again.next_batch()


def groups(module):
    """The names in each group of a small model, and their decay."""
    import importlib

    train = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.train")
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 3, bias=False))
    model[2].weight = model[0].weight
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = train.param_groups(model, 0.1)
    if not isinstance(found, list | tuple) or not all(isinstance(group, dict) and "params" in group for group in found):
        return None
    return [[[names.get(id(p), "?") for p in group["params"]], group.get("weight_decay")] for group in found]


def rates(module, steps, *args):
    import importlib

    schedule = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.train").cosine_schedule
    return [schedule(step, *args) for step in steps]


def trained(module, job, pairs, config):
    """A small model's weights, the history and the loss: `job` says what is done. See the tests."""
    import importlib
    import os
    import tempfile

    train = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.train")

    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.norm = torch.nn.Embedding(7, 4), torch.nn.LayerNorm(4)
            self.dropout, self.head = torch.nn.Dropout(0.3 if job != "plain" else 0.0), torch.nn.Linear(4, 7)

        def forward(self, ids, targets=None):
            logits = self.head(self.dropout(self.norm(self.embedding(ids))))
            return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    class Shards:
        position = 0

        def __len__(self):
            return len(pairs)

        def batch(self, step, epoch=0):
            return pairs[step]

        def next_batch(self):
            self.position += 1
            return pairs[(self.position - 1) % len(pairs)]

        def state_dict(self):
            return {"position": self.position}

        def load_state_dict(self, state):
            self.position = state["position"]

    def new(seed=0):
        torch.manual_seed(seed)
        return Tiny().double(), Shards()

    model, shards = new()
    if job == "evaluate":
        model.norm.eval()
        before, value = torch.get_rng_state(), train.evaluate(model, shards, 2)
        same = [model.training, model.norm.training, shards.position, bool(torch.equal(before, torch.get_rng_state()))]
        with torch.no_grad():
            return value, sum(model.eval()(x, y)[1].item() for x, y in pairs[:2]) / 2, same
    if job == "resume":
        train.train(model, shards, train.TrainConfig(**config))
        with tempfile.TemporaryDirectory(dir=".") as folder:
            path = os.path.join(folder, "checkpoint.pt")
            train.train(*new(), train.TrainConfig(**config, checkpoint_path=path, stop_after=2))
            again, _ = new(5)
            train.train(again, Shards(), train.TrainConfig(**config, checkpoint_path=path))
        return dict(again.state_dict()), dict(model.state_dict())
    peer = Tiny().double()
    peer.load_state_dict(model.state_dict())
    shrinking = {"params": [peer.embedding.weight, peer.head.weight], "weight_decay": config["weight_decay"]}
    others = {"params": [peer.norm.weight, peer.norm.bias, peer.head.bias], "weight_decay": 0.0}
    optimizer, losses = torch.optim.AdamW([shrinking, others], lr=config["max_lr"], betas=(0.9, 0.95)), []
    for i in range(config["total_steps"]):  # two passes a step, at a constant rate
        optimizer.zero_grad()
        loss = (peer(*pairs[2 * i])[1] + peer(*pairs[2 * i + 1])[1]) / 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    history = train.train(model, shards, train.TrainConfig(**config))
    return dict(model.state_dict()), dict(peer.state_dict()), history["loss"], losses


def saved(module, state):
    """What is found after saving, and after a save that fails half-way; and the folder's files."""
    import importlib
    import os
    import tempfile

    train = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.train")

    class Broken:
        def __reduce__(self):
            raise OSError("the disk is full")

    with tempfile.TemporaryDirectory(dir=".") as folder:
        path, told = os.path.join(folder, "run", "checkpoint.pt"), False
        train.save_checkpoint(path, state)
        try:
            train.save_checkpoint(path, {"a": torch.ones(3), "broken": Broken()})
        except OSError:
            told = True
        try:
            found = torch.load(path, weights_only=True)
        except Exception:  # whatever a broken file does to it
            found = None
        return found, told, os.listdir(os.path.join(folder, "run"))


def text_pieces(module, text):
    """The pieces of a text's bytes, and how many bytes had been asked for when each of them came."""
    import importlib

    tokenizer = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.tokenizer")
    asked = []
    stream = tokenizer.decode_stream(tokenizer.ByteTokenizer(), (asked.append(i) or i for i in text.encode()))
    return [[piece, len(asked)] for piece in stream]


def draws(module, logits, n, options):
    import importlib

    next_token = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.generate").next_token
    generator = torch.Generator().manual_seed(0)
    return torch.tensor([next_token(logits, generator=generator, **options) for _ in range(n)])


def continued(module, sizes, ids, n):
    """Greedy generation with your GPT, and the same by reading the whole window at every step."""
    import importlib

    generate = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.generate").generate
    model = module.GPT(module.GPTConfig(**sizes), torch.Generator().manual_seed(3)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
        text = list(ids)
        for _ in range(n):
            text.append(int(model(torch.tensor([text[-sizes["context_length"] :]]))[0][0, -1].argmax()))
    read = []
    model.register_forward_pre_hook(
        lambda _, args, named: read.append((*args, *named.values())[0].shape[1]), with_kwargs=True
    )
    stream = generate(model, ids, n, temperature=0)
    before = sum(read)
    return [*stream], text[len(ids) :], before, read


def file_of(module, tensors):
    import importlib
    import tempfile
    from pathlib import Path

    write = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.generate").write_safetensors
    with tempfile.TemporaryDirectory(dir=".") as folder:
        write(Path(folder, "x.safetensors"), tensors, {"format": "pt"})
        return Path(folder, "x.safetensors").read_bytes()


def parts_of(data):
    """The header of a safetensors file, and what follows it."""
    import json

    size = int.from_bytes(data[:8], "little")
    said = f"the first eight bytes say, little-endian, that the header has {size} bytes; the file has {len(data)} in all"
    assert size <= len(data) - 8, said
    try:
        header = json.loads(data[8 : 8 + size])
    except ValueError as error:
        raise AssertionError(f"the header, {size} bytes after the first eight, is not JSON: {error}") from None
    assert isinstance(header, dict), f"the header should be a JSON object, and is {header!r:.80}"
    return header, data[8 + size :]


def numbers_of(header, body, name, dtype):
    """One tensor's numbers, in a row."""
    assert name in header, f"{name!r} is not in the header, which has {', '.join(sorted(header)[:6])}, …"
    begin, end = header[name]["data_offsets"]
    n_bytes = torch.empty(header[name]["shape"], dtype=dtype).nbytes
    said = f"data_offsets of {name!r} are [{begin}, {end}]: begin and end of its {n_bytes} bytes, counted from the header's end"
    assert end - begin == n_bytes and 0 <= begin <= end <= len(body), said
    return torch.frombuffer(bytearray(body[begin:end]), dtype=dtype)


def exported(module, sizes):
    """The file of an exported model, its config.json (None where there is none), and a weight as the model has it."""
    import importlib
    import json
    import tempfile
    from pathlib import Path

    export = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.generate").export
    model = module.GPT(module.GPTConfig(**sizes), torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        export(model, Path(folder, "out", "model.safetensors"))
        data, config = Path(folder, "out", "model.safetensors").read_bytes(), Path(folder, "out", "config.json")
        config = json.loads(config.read_text()) if config.exists() else None
    return data, config, model.h[0].attn.c_proj.weight.detach()


def request_of(module, bodies):
    """Each body's request, or the name of the field that is wrong."""
    import importlib

    serve, answers = importlib.import_module(f"{module.__name__.rpartition('.')[0]}.serve"), []
    for body in bodies:
        try:
            answers.append(serve.parse_request(body, limit=100))
        except serve.BadRequest as error:
            answers.append(error.field)
    return answers


def answers_to(module, requests):
    """Status, type and body of the answers to [(method, path, body)], by an application that PEP 3333's validator watches; its
    model says "héllo" whatever it is asked."""
    import importlib
    import io
    from wsgiref.util import setup_testing_defaults
    from wsgiref.validate import validator

    serve, tokenizer = (
        importlib.import_module(f"{module.__name__.rpartition('.')[0]}.{name}") for name in ("serve", "tokenizer")
    )

    def says(model, ids, max_new_tokens, **options):
        return iter("h\u00e9llo".encode()[:max_new_tokens])

    app, answers = validator(serve.application(None, tokenizer.ByteTokenizer(), generate=says)), []
    for method, path, body in requests:
        environ, seen = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(body)}, []
        setup_testing_defaults(environ)
        environ |= {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json", "QUERY_STRING": "", "SCRIPT_NAME": ""}

        def start(status, headers, exc_info=None, seen=seen):
            seen.append((status, headers))
            return lambda data: None

        result = app(environ, start)
        chunks = list(result)
        result.close()
        status, headers = seen[0]
        answers.append(
            [
                status[:3],
                {name.lower(): value for name, value in headers}["content-type"].partition(";")[0],
                b"".join(chunks).decode(),
            ]
        )
    return answers


# The tests


@exercise("GPTConfig")
def test_gpt2_s_sizes_are_the_defaults_and_impossible_ones_are_refused(student):
    """50257 tokens, 1024 positions, 12 layers of 12 heads, width 768."""
    expected = {"vocab_size": 50257, "context_length": 1024, "n_layers": 12, "n_heads": 12, "d_model": 768, "dropout": 0.0}
    assert_equal(student.run(fields, {}), expected, what="the fields of GPTConfig()")
    cases = [{"n_layers": 0}, {"d_model": 10, "n_heads": 4}, {"dropout": 1.0}, {"dropout": 0.5}]
    for own, was_refused, wanted in zip(cases, student.run(sizes_refused, cases), [True, True, True, False]):
        said = ", ".join(f"{name}={size}" for name, size in own.items())
        assert was_refused == wanted, f"GPTConfig({said}) should{'' if wanted else ' not'} be refused with a ValueError"


@exercise("CausalSelfAttention")
@settings(max_examples=10)
@given(seed=seeds(), heads=sizes(1, 4), t=sizes(1, 7))
def test_attention_agrees_with_pytorch_s_module(student, seed, heads, t):
    """With the same weights, and a causal mask."""
    config = SMALL | {"n_heads": heads, "d_model": 3 * heads}
    actual, expected = student.run(beside_torch, config, normal(seed, 2, t, 3 * heads))
    assert_close(
        actual, expected, what="the rows", hint="queries, keys, values: in this order, each of all heads; is there a mask?"
    )


@exercise("CausalSelfAttention")
def test_pieces_through_a_cache_give_the_same_rows(student):
    """One token, then three, then one."""
    expected, actual = student.run(through_a_cache, SMALL, normal(1, 2, 5, 8))
    hint = "new queries are the last ones: is_causal=True is right only where there are no older keys"
    assert_close(actual, expected, what="the rows of pieces", hint=hint)


@exercise("MLP")
def test_the_feed_forward_layer_is_two_linear_ones_and_gelu(student):
    """In its tanh form."""
    actual, expected = student.run(mlp_and_its_parts, SMALL, normal(2, 3, 8, scale=3.0))
    assert_close(actual, expected, what="the value", hint='F.gelu(x, approximate="tanh")')


@exercise("Block")
def test_both_parts_are_added_to_the_stream(student):
    """Attention of a norm of x, then the feed-forward layer of a norm of that."""
    actual, expected, eps = student.run(block_and_its_parts, SMALL, normal(3, 2, 4, 8))
    assert_close(actual, expected, what="the value", hint="x + attn(ln_1(x)), then x + mlp(ln_2(x))")
    assert_close(eps, 1e-5, what="the norms' eps")


@exercise("GPT")
def test_it_has_124439808_parameters(student):
    """The output layer's weight is the token embedding's, and counted once."""
    count, tied = student.run(counted)
    assert tied or count != 163_037_184, "lm_head.weight should be the very parameter wte.weight, and is one of its own"
    assert_equal(count, 124_439_808, what="the number of parameters of GPT(GPTConfig.gpt2_124m())")
    assert tied, "lm_head.weight should be the very parameter wte.weight"


@exercise("GPT")
def test_logits_are_those_of_its_parts_in_order(student):
    """And the loss is PyTorch's cross entropy."""
    ids, targets = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[2, 3, 4], [5, -100, 7]])
    logits, expected, loss, expected_loss = student.run(logits_by_parts, SMALL, ids, targets)
    assert_close(logits, expected, what="the logits", hint="wte[ids] + wpe[positions], the blocks, ln_f, lm_head")
    assert_close(loss, expected_loss, what="the loss", hint="the mean over the targets that are not -100")


@exercise("GPT")
def test_token_by_token_through_a_cache_the_logits_are_the_same(student):
    """Positions go on where the cache ends."""
    actual, expected, length = student.run(logits_token_by_token, SMALL, torch.tensor([[1, 2, 3, 4, 5]]))
    assert_close(actual, expected, what="the logits", hint="ask for cache.length before the first block")
    assert_equal(length, 5, what="cache.length")


@exercise("load_gpt2_state_dict")
def test_published_weights_are_read_with_the_prefix_and_without(student):
    """Linear weights are (in, out) there; masks are ignored."""
    for prefix in ("", "transformer."):
        actual, expected = student.run(loaded_again, SMALL, prefix)
        assert_equal(actual, expected, what="the state", hint="the square attn.c_proj is transposed, too")


@exercise("prepare_corpus")
def test_three_documents_in_shards_of_four_tokens(student):
    """The end-of-text token stands before each document; the last document is held out."""
    files, manifest = student.run(small_corpus, ["abc", "", "de", "f"], 4, 1)
    expected = {"train_00000.bin": [256, 97, 98, 99], "train_00001.bin": [256, 100, 101], "validation_00000.bin": [256, 102]}
    assert_equal(files, expected, what="the shards")
    shards = [{"file": "train_00000.bin", "n_tokens": 4}, {"file": "train_00001.bin", "n_tokens": 3}]
    assert isinstance(manifest, dict), f"prepare_corpus should return the manifest, a dict, and returned {manifest!r:.80}"
    expected, train = {"n_documents": 2, "n_tokens": 7, "shards": shards}, manifest.get("splits", {}).get("train", {})
    assert_equal(train, expected, what="the manifest's train split")


@exercise("TokenShards")
def test_two_processes_share_the_windows_and_a_position_is_found_again(student):
    """Windows of two tokens, batches of two windows, over the border between two shards."""
    options = {"batch_size": 2, "context_length": 2, "world_size": 2}
    first, following, again = student.run(batches, list(range(100, 120)), 5, options, 1)
    x = [[[100, 101], [102, 103]], [[104, 105], [106, 107]]]
    hint = "y is x moved on by one; rank r has the windows from step * B * W + r * B on"
    for rank, ((batch,), rows) in enumerate(zip(first, x)):
        expected = torch.tensor(rows), torch.tensor(rows) + 1
        assert_equal(batch, expected, what=f"rank {rank}'s first (x, y)", hint=hint)
    assert_equal(again, following, what="the batch after the position was restored")


@exercise("param_groups")
def test_matrices_decay_and_vectors_do_not(student):
    """A tied weight is there once."""
    expected = [[["0.weight"], 0.1], [["0.bias", "1.weight", "1.bias"], 0.0]]
    found = student.run(groups)
    assert found is not None, 'param_groups should return a list of two dicts, each {"params": […], "weight_decay": …}'
    assert_equal(len(found), 2, what="the number of groups")
    for i, (names, decay) in enumerate(expected):
        said = f"of the {('first', 'second')[i]} group"
        assert_equal(found[i][0], names, what=f"the names {said}'s params", hint="p.ndim >= 2 tells a matrix from a vector")
        assert found[i][1] is not None, f"{said}, a dict, there is no 'weight_decay': AdamW would then take its own, 0.01"
        assert_equal(found[i][1], decay, what=f"the weight_decay {said}")


@exercise("cosine_schedule")
def test_up_in_a_line_and_down_along_half_a_cosine(student):
    """Two steps of warm-up in ten, from 1.0 down to 0.2."""
    steps = [0, 1, 2, 6, 10, 11]
    for step, rate, expected in zip(steps, student.run(rates, steps, 2, 10, 1.0, 0.2), [1 / 3, 2 / 3, 1.0, 0.6, 0.2, 0.2]):
        assert_close(rate, expected, what=f"cosine_schedule({step}, 2, 10, 1.0, 0.2)")


def pairs_of(n):
    generator = torch.Generator().manual_seed(1)
    return [tuple(torch.randint(7, (2, 5), generator=generator) for _ in range(2)) for _ in range(n)]


@exercise("evaluate")
def test_the_mean_loss_of_two_batches_and_no_trace(student):
    """In evaluation mode; every part's mode, the position and the random state stay."""
    value, expected, left = student.run(trained, "evaluate", pairs_of(3), {})
    hint = "model.eval(); shards.batch(0) and shards.batch(1); the mean of the two losses"
    assert_close(value, expected, what="the loss", hint=hint, rtol=2e-6)
    names = ("model.training", "model.norm.training", "the shards' position", "whether the random state is as it was,")
    for name, found, wanted in zip(names, left, [True, False, 0, True]):
        assert_equal(found, wanted, what=f"{name} afterwards")


@exercise("save_checkpoint")
def test_a_failed_save_leaves_the_old_checkpoint(student):
    """And nothing else in the folder."""
    state = {"step": 3, "weights": torch.arange(3.0)}
    found, told, files = student.run(saved, state)
    hint = "write another file in the same folder, and os.replace it when it is complete"
    assert found is not None, f"after a save that failed half-way, torch.load cannot read the file under path\n  hint: {hint}"
    assert_equal(found, state, what="the state under path after a save that failed half-way", hint=hint)
    assert told, "a save that fails should pass the error on to the caller"
    assert_equal(files, ["checkpoint.pt"], what="the files in the folder", hint="the unfinished file goes in any case")


@exercise("train")
def test_three_steps_of_two_passes_are_adamw_s(student):
    """With clipping and decay, at a constant rate."""
    config = {"total_steps": 3, "warmup_steps": 0, "max_lr": 0.05, "min_lr": 0.05, "weight_decay": 0.2, "accumulation_steps": 2}
    state, expected, losses, expected_losses = student.run(trained, "plain", pairs_of(6), config)
    assert_equal(len(losses), 3, what='the number of losses in history["loss"]', hint="one a step, not one a pass")
    hint = "a step's loss is the mean over its passes: divide each by accumulation_steps"
    for step, (loss, wanted) in enumerate(zip(losses, expected_losses)):
        assert_close(loss, wanted, what=f'history["loss"][{step}]', hint=hint, rtol=1e-6)
        hint = "once a step: zero_grad, all passes backward, clip_grad_norm_ to clip_norm, the step's rate, optimizer.step()"
    assert_close(state, expected, what="the weights", hint=hint, rtol=1e-5, atol=1e-8)


@exercise("train")
def test_stopped_and_resumed_is_not_stopped(student):
    """Bit for bit, with dropout."""
    config = {"total_steps": 5, "warmup_steps": 1, "max_lr": 0.05}
    actual, expected = student.run(trained, "resume", pairs_of(3), config)
    assert_equal(
        actual,
        expected,
        what="the weights",
        hint="weights, optimiser, position, random state, history: all are in the checkpoint",
    )


@exercise("decode_stream")
def test_a_character_comes_with_its_last_byte(student):
    """One, two, three and four bytes."""
    actual = student.run(text_pieces, "a\u00e9\u20ac\U0001f600")
    hint = "wait while the decoded text ends with U+FFFD; what was shown is not shown again"
    assert_equal([piece for piece, _ in actual], ["a", "\u00e9", "\u20ac", "\U0001f600"], what="the pieces", hint=hint)
    for (piece, asked), wanted in zip(actual, [1, 3, 6, 10]):
        what, hint = f"how many bytes had been asked for when {piece!r} came", "yield a piece before you ask for the next id"
        assert_equal(asked, wanted, what=what, hint=hint)


@exercise("next_token")
def test_filters_leave_what_they_should(student):
    """Of the probabilities 0.1, 0.4, 0.3, 0.2."""
    logits = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()
    cases = [
        ({"temperature": 0}, [1]),
        ({"top_k": 2}, [1, 2]),
        ({"top_p": 0.6}, [1, 2]),
        ({"top_k": 2, "top_p": 0.5}, [1]),
        ({}, [0, 1, 2, 3]),
    ]
    for options, expected in cases:
        tokens = student.run(draws, logits, 200, options)
        assert_equal(sorted(set(tokens.tolist())), expected, what=f"the tokens that are drawn with {options}")
    share = student.run(draws, logits, 2000, {}).eq(1).double().mean().item()
    assert abs(share - 0.4) < 0.06, f"token 1 should be drawn in 0.4 of all cases, it was in {share:.3f}"


@exercise("generate")
def test_the_cache_changes_no_token_and_nothing_is_read_too_early(student):
    """Also past the context; your GPT is needed for this one."""
    tokens, expected, before, read = student.run(continued, SMALL, [1, 2, 3], 9)
    assert_equal(tokens, expected, what="the tokens")
    assert_equal(before, 0, what="the tokens that were read before anybody asked")
    assert_equal(
        read[:6], [3, 1, 1, 1, 1, 1], what="the tokens read at the first six steps", hint="one token a step through the cache"
    )


@exercise("write_safetensors")
def test_a_file_of_two_tensors_is_as_the_format_says(student):
    """Length, header, numbers."""
    tensors = {"a": torch.tensor([[1, 2]], dtype=torch.uint8), "w": torch.tensor([1.0, -2.0])}
    data = student.run(file_of, tensors)
    header, body = parts_of(data)
    hint = "fill it up with spaces at its end"
    assert_equal((len(data) - len(body)) % 8, 0, what="the header's length modulo 8", hint=hint)
    assert_equal(header.pop("__metadata__", {}), {"format": "pt"}, what='"__metadata__" in the header')
    for name, dtype in (("a", "U8"), ("w", "F32")):
        assert name in header, f"the tensor {name!r} is not in the header"
        assert_equal(header[name]["dtype"], dtype, what=f"the dtype of {name!r} in the header")
        assert_equal(header[name]["shape"], list(tensors[name].shape), what=f"the shape of {name!r} in the header")
        assert_equal(numbers_of(header, body, name, tensors[name].dtype), tensors[name].flatten(), what=f"the numbers of {name}")


@exercise("export")
def test_the_file_has_the_published_names_and_layout(student):
    """No lm_head; the square c_proj is transposed as well; config.json is beside it."""
    data, config, own = student.run(exported, SMALL)
    header, body = parts_of(data)
    assert "lm_head.weight" not in header, "lm_head.weight is in the file: leave it out, it is wte.weight"
    for name in ("wte.weight", "h.1.mlp.c_fc.bias"):
        assert name in header, f"{name!r} is not in the header, which has {', '.join(sorted(header)[:6])}, …"
    assert config is not None, "there is no config.json beside the file"
    assert_equal(config["n_embd"], 8, what="n_embd in config.json")
    name = "h.0.attn.c_proj.weight"
    weight = numbers_of(header, body, name, torch.float32).view(header[name]["shape"])
    assert_equal(weight, own.T.contiguous(), what="h.0.attn.c_proj.weight in the file")


@exercise("parse_request")
def test_defaults_are_filled_in_and_what_is_wrong_is_named(student):
    """Three bodies that are right, and four that are not."""
    defaults = {"max_new_tokens": 64, "temperature": 1.0, "top_k": None, "top_p": None, "seed": None, "stream": False}
    bodies = [
        b'{"prompt": "a"}',
        b'{"prompt": "", "stream": true}',
        b'{"prompt": "a", "top_k": true}',
        b'{"prompt": "a", "temperature": 1e999}',
    ]
    bodies += [b'{"prompt": "a", "stop": 3}', b"hello", b'{"prompt": "a", "max_new_tokens": 101}']
    expected = [{"prompt": "a"} | defaults, "prompt", "top_k", "temperature", "stop", "body", "max_new_tokens"]
    for body, found, wanted in zip(bodies, student.run(request_of, bodies), expected):
        kind = "the request" if isinstance(wanted, dict) else "the field that BadRequest names"
        assert_equal(found, wanted, what=f"for the body {body!r} with limit=100, {kind}")


@exercise("application")
def test_answers_are_json_with_a_stream_or_without(student):
    """By the rules of WSGI, which a validator checks."""
    import json

    requests = [("POST", "/generate", b'{"prompt": "a"}'), ("POST", "/generate", b'{"prompt": "a", "stream": true}')]
    requests += [("GET", "/health", b""), ("GET", "/generate", b""), ("GET", "/x", b""), ("POST", "/generate", b'{"prompt": 3}')]
    plain, stream, health, *errors = student.run(answers_to, requests)
    assert_equal(plain[:2], ["200", "application/json"], what="[status, type] of the answer")
    assert_equal(json.loads(plain[2]), {"text": "h\u00e9llo", "n_tokens": 6}, what="the answer")
    lines = [json.loads(line) for line in stream[2].splitlines()]
    assert_equal(stream[:2], ["200", "application/x-ndjson"], what="[status, type] of the stream")
    assert_equal(lines, [{"text": character} for character in "h\u00e9llo"] + [{"done": True, "n_tokens": 6}], what="its lines")
    assert_equal(json.loads(health[2]), {"status": "ok"}, what="the health")
    assert_equal(
        [error[0] for error in errors], ["405", "404", "400"], what="the statuses of GET /generate, GET /x and a bad prompt"
    )
    assert_equal(json.loads(errors[2][2])["field"], "prompt", what="the field that is named")
