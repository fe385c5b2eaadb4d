"""Module 14 beside other people's software: transformers, safetensors, torchrun's processes, a socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import torch
import transformers

from solutions.gpt124m.data import TokenShards, prepare_corpus
from solutions.gpt124m.generate import export, generate
from solutions.gpt124m.model import GPT, GPTConfig, load_gpt2_state_dict
from solutions.gpt124m.serve import application, serve
from solutions.gpt124m.tokenizer import ByteTokenizer
from solutions.gpt124m.train import TrainConfig, train

ROOT = Path(__file__).resolve().parents[1]
SIZES = [
    {"vocab_size": 71, "context_length": 24, "n_layers": 3, "n_heads": 4, "d_model": 32},
    {"vocab_size": 130, "context_length": 9, "n_layers": 1, "n_heads": 1, "d_model": 20},
    {"vocab_size": 17, "context_length": 1024, "n_layers": 2, "n_heads": 3, "d_model": 24},
]


def hugging_face(sizes: dict, seed: int = 0):
    """transformers' model of these sizes, with weights at which everything matters."""
    config = transformers.GPT2Config(
        vocab_size=sizes["vocab_size"],
        n_positions=sizes["context_length"],
        n_embd=sizes["d_model"],
        n_layer=sizes["n_layers"],
        n_head=sizes["n_heads"],
        bos_token_id=None,
        eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3 + (".ln_" in name and name.endswith("weight"))
    return model.double()


@pytest.mark.parametrize("sizes", SIZES)
def test_logits_are_those_of_transformers(sizes: dict) -> None:
    """With the prefix, as GPT2LMHeadModel has it, and without, as the published file; up to the last position."""
    peer, model = hugging_face(sizes), GPT(GPTConfig(**sizes)).double().eval()
    ids = torch.randint(sizes["vocab_size"], (2, sizes["context_length"]), generator=torch.Generator().manual_seed(1))
    for state in (peer.state_dict(), peer.transformer.state_dict()):
        load_gpt2_state_dict(model, state)
        with torch.no_grad():
            torch.testing.assert_close(model(ids)[0], peer(ids).logits)
    for parameter in model.parameters():
        parameter.data.zero_()


@pytest.mark.parametrize("sizes", SIZES[:2])
def test_transformers_and_safetensors_read_what_is_exported(sizes: dict, tmp_path: Path) -> None:
    """from_pretrained(folder) gives the same logits, and the greedy continuation is the same."""
    from safetensors.torch import load_file

    model = GPT(GPTConfig(**sizes)).eval()
    load_gpt2_state_dict(model, hugging_face(sizes, 3).state_dict())
    export(model, tmp_path / "model.safetensors")
    peer = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    ids = torch.randint(sizes["vocab_size"], (1, 5), generator=torch.Generator().manual_seed(2))
    ids[0, 2] = 0  # a token like any other, though the peer is told to pad with it
    every = torch.ones_like(ids)
    with torch.no_grad():
        torch.testing.assert_close(model(ids)[0], peer(ids).logits)
        n = sizes["context_length"] - 5
        said = peer.generate(ids, attention_mask=every, max_new_tokens=n, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert list(generate(model, ids[0], n, temperature=0)) == said[0, 5:].tolist()
    again = load_gpt2_state_dict(GPT(GPTConfig(**sizes)), load_file(tmp_path / "model.safetensors"))
    assert all(torch.equal(x, again.state_dict()[name]) for name, x in model.state_dict().items())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


TWO_PROCESSES = """
    import os, sys, torch
    import torch.distributed as dist
    from solutions.gpt124m.data import TokenShards
    from solutions.gpt124m.model import GPT, GPTConfig
    from solutions.gpt124m.train import TrainConfig, train

    torch.set_num_threads(1)
    folder, out, stop = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo")
    model = GPT(GPTConfig(257, 8, 1, 2, 8), torch.Generator().manual_seed(0)).double()
    sizes = 2, 8, rank, world
    config = TrainConfig(total_steps=4, warmup_steps=1, max_lr=1e-2, accumulation_steps=2, eval_every=2, eval_batches=2,
                         checkpoint_path=os.path.join(out, "c.pt"), log_path=os.path.join(out, "log"), stop_after=stop or None)
    shards = TokenShards(folder, "train", *sizes, shuffle_seed=1)
    history = train(model, shards, config, TokenShards(folder, "validation", *sizes))
    torch.save([history, model.state_dict()], os.path.join(out, f"rank{rank}.pt"))
    dist.destroy_process_group()
"""


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(tmp_path: Path) -> None:
    """Weights of both, losses, norms and validation; in two goes, the second from the first one's checkpoint."""
    texts = tmp_path / "texts.txt"
    texts.write_text("To be or not to be. " * 60)
    held_out = tmp_path / "held_out.txt"
    held_out.write_text("That is the question. " * 20)
    prepare_corpus([texts, held_out], ByteTokenizer(), tmp_path / "corpus", 500, 256)
    script = tmp_path / "two.py"
    script.write_text(textwrap.dedent(TWO_PROCESSES))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    for stop in (2, 0):
        port = str(free_port())
        arguments = [sys.executable, str(script), str(tmp_path / "corpus"), str(tmp_path), str(stop)]
        started = [
            subprocess.Popen(arguments, env=environment | {"RANK": rank, "MASTER_PORT": port}, stderr=subprocess.PIPE, text=True)
            for rank in "01"
        ]
        for process in started:
            _, said = process.communicate(timeout=240)
            assert process.returncode == 0, said[-2000:]
    two = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]

    model = GPT(GPTConfig(257, 8, 1, 2, 8), torch.Generator().manual_seed(0)).double()
    config = TrainConfig(total_steps=4, warmup_steps=1, max_lr=1e-2, accumulation_steps=2, eval_every=2, eval_batches=2)
    shards = TokenShards(tmp_path / "corpus", "train", 4, 8, shuffle_seed=1)
    history = train(model, shards, config, TokenShards(tmp_path / "corpus", "validation", 4, 8))
    for their_history, their_state in two:
        for key in ("loss", "lr", "grad_norm", "validation"):
            torch.testing.assert_close(torch.tensor(their_history[key]), torch.tensor(history[key]))
        torch.testing.assert_close(their_state, dict(model.state_dict()), check_device=False)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]  # by one process alone


def test_a_real_server_streams_to_several_clients() -> None:
    """Over a socket: health, an answer, a stream, an error; and a client that goes away in the middle."""
    model = GPT(GPTConfig(257, 32, 1, 2, 8), torch.Generator().manual_seed(0)).eval()
    server = serve(application(model, ByteTokenizer(), stop={256}, limit=40), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def ask(method: str, path: str, body: str = "") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()

    try:
        assert ask("GET", "/health") == (200, b'{"status": "ok"}\n')
        body = json.dumps({"prompt": "Once", "max_new_tokens": 40, "seed": 3})
        status, whole = ask("POST", "/generate", body)
        leaving = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        leaving.request("POST", "/generate", json.dumps({"prompt": "Once", "stream": True, "max_new_tokens": 40}))
        leaving.close()
        streamed = ask("POST", "/generate", body[:-1] + ', "stream": true}')[1]
        lines = [json.loads(line) for line in streamed.splitlines()]
        assert status == 200 and lines[-1] == {"done": True, "n_tokens": json.loads(whole)["n_tokens"]}
        assert "".join(line["text"] for line in lines[:-1]) == json.loads(whole)["text"]
        assert ask("POST", "/generate", '{"prompt": 3}')[0] == 400 and ask("GET", "/x")[0] == 404
        answers: list = [None] * 4
        clients = [threading.Thread(target=lambda i=i: answers.__setitem__(i, ask("POST", "/generate", body))) for i in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
        assert answers == [(200, whole)] * 4
    finally:
        server.shutdown()
        server.server_close()


def test_the_command_lines_make_a_corpus_a_run_a_text_and_an_export(tmp_path: Path) -> None:
    """Each with `python -m`, in this order."""
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": "All the world is a stage. " * 9}) + "\n" for _ in range(5)))

    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def command(name: str, *arguments: str, status: int = 0) -> str:
        line = [sys.executable, "-m", f"solutions.gpt124m.{name}", *arguments]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=240, env=environment)
        assert done.returncode == status, done.stderr[-2000:]
        return done.stderr if status else done.stdout

    run, corpus = str(tmp_path / "run"), str(tmp_path / "corpus")
    assert "train: 4 documents" in command("data", str(texts), "--folder", corpus)
    sizes = "--vocab-size 257 --context-length 16 --n-layers 1 --n-heads 2 --d-model 8 --batch-size 2".split()
    said = command("train", "--folder", corpus, "--out", run, *sizes, "--total-steps", "3", "--warmup-steps", "1")
    assert said.startswith("3 steps, loss 5.")
    described = (tmp_path / "run/config.json").read_text()
    said = command("train", "--folder", corpus, "--out", run, *sizes, "--n-layers", "2", status=2)
    assert "holds the run of a model with n_layers 1; name another folder" in said
    assert (tmp_path / "run/config.json").read_text() == described, "the run that is there is not lost"
    assert command("generate", run, "--prompt", "All", "--max-new-tokens", "5", "--seed", "1").startswith("All")
    command("generate", run, "--export", str(tmp_path / "exported"))
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == ["config.json", "model.safetensors"]
    assert "--port" in command("serve", "--help")
