"""Labels become the tokens that CLIP reads, also by vocabularies of other tools."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from dinox_mcp.backends.local.models.clip_text import ClipTokenizer
from dinox_mcp.errors import BackendError
from tests.backends.local.tiny_graphs import clip_vocabulary, write_checkpoint

IDS, _ = clip_vocabulary()
BEGIN, END = IDS["<|startoftext|>"], IDS["<|endoftext|>"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint("owlv2", tmp_path / "checkpoint")


def test_a_label_is_between_a_begin_and_an_end_and_is_cut_to_the_window(folder: Path) -> None:
    ids, mask = ClipTokenizer(folder, 4)(["Dog", "red \t car cat dog"])
    assert ids.tolist() == [[BEGIN, IDS["dog</w>"], END, 0], [BEGIN, IDS["red</w>"], IDS["car</w>"], END]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert ClipTokenizer(folder, 4).overlong(["dog", "red car cat dog"]) == [1]


def test_a_file_that_adds_no_begin_and_end_is_completed(folder: Path) -> None:
    expected = ClipTokenizer(folder, 16)(["dog"])[0].tolist()
    described = json.loads(complete(folder).to_str()) | {"post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(described), "utf-8")
    assert ClipTokenizer(folder, 16)(["dog"])[0].tolist() == expected


def test_a_vocabulary_without_an_end_is_refused(folder: Path) -> None:
    described = complete(folder).to_str().replace("<|endoftext|>", "[SEP]")
    (folder / "tokenizer.json").write_text(described, "utf-8")
    with pytest.raises(BackendError, match=r"does not load \(it has no <\|endoftext\|>\); get it anew"):
        ClipTokenizer(folder, 16)


ODD = [
    *(
        "",
        "   ",
        "Dog",
        "dog's IT'S we'Ll",
        "a\tb\nc",
        "a\u00a0b\u2003c\u200bd\ufeff",
        "e\u0301 \u00e9",
        "İstanbul ẞ ΣΑΣ",
    ),
    *(
        "日本語の犬",
        "👨\u200d👩\u200d👧 👍🏽",
        "½ ² Ⅷ १२ 1234",
        "a_b-c--d!!!",
        "dog<|endoftext|>cat",
        "<|ENDOFTEXT|>",
        "a\x00b\x1c\x85",
    ),
    *("한글 ﬁ \uff21", "dog</w>", "x" * 300, "red-bat/baseball"),
]


@pytest.mark.parametrize("text", ODD)
def test_tokens_are_those_of_transformers(folder: Path, text: str) -> None:
    transformers = pytest.importorskip("transformers")
    expected = transformers.CLIPTokenizer.from_pretrained(folder)(text)["input_ids"]
    ids, _ = ClipTokenizer(folder, 10_000)([text])
    assert ids.tolist() == [expected]


def complete(folder: Path) -> Tokenizer:
    return ClipTokenizer(folder, 16)._tokenizer
