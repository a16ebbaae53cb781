"""Texts become the tokens that CLIP and Grounding DINO read, as in transformers."""

import json
from pathlib import Path

import numpy as np
import pytest

from dinox_mcp.backends.local.models.texts import ClipTokenizer, PhraseTokenizer, attending
from dinox_mcp.errors import BackendError, InputError
from tests.backends.local.tiny_graphs import clip_vocabulary, write_clip_vocabulary, write_phrases_vocabulary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_phrases_vocabulary(tmp_path)


def names(folder: Path, ids: list[int]) -> list[str]:
    known = {number: word for word, number in vocabulary(folder).items()}
    return [known[one] for one in ids]


def vocabulary(folder: Path) -> dict[str, int]:
    return {word: number for number, word in enumerate((folder / "vocab.txt").read_text("utf-8").splitlines())}


def test_labels_are_phrases_that_end_with_a_full_stop(folder: Path) -> None:
    ids, spans = PhraseTokenizer(folder, 256).sentence(["Dog", "baseball bat", "Žid?"])
    words = names(folder, ids)
    assert words == ["[CLS]", "dog", ".", "baseball", "bat", ".", "z", "##i", "##d", ".", "[SEP]"]
    assert [words[span] for span in spans] == [["dog"], ["baseball", "bat"], ["z", "##i", "##d"]]


def test_a_complete_description_reads_as_the_vocabulary_does(folder: Path) -> None:
    expected = PhraseTokenizer(folder, 256).sentence(["a red car", "[SEP] dog"])
    tokenizer = PhraseTokenizer(folder, 256)._tokenizer
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").unlink()
    assert PhraseTokenizer(folder, 256).sentence(["a red car", "[SEP] dog"]) == expected


def test_labels_fill_windows_in_their_order(folder: Path) -> None:
    text = PhraseTokenizer(folder, 8)
    assert text.windows(["dog", "red car", "a cat", "dog"]) == [[0, 1], [2, 3]]
    assert text.overlong(["dog", "a red car dog", "a red car dog cat tree"]) == [2]
    assert len(text.sentence(["a red car dog cat tree"])[0]) == 8


def test_a_label_of_separators_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"'\?\.' says nothing to the model"):
        PhraseTokenizer(folder, 256).windows(["dog", "?."])


def test_a_caption_keeps_its_stops_and_says_where_its_words_are(folder: Path) -> None:
    text = PhraseTokenizer(folder, 256)
    ids, offsets = text.caption("A dog. A  cat")
    assert names(folder, ids) == ["[CLS]", "a", "dog", ".", "a", "cat", ".", "[SEP]"]
    assert offsets == {1: (0, 1), 2: (2, 5), 4: (7, 8), 5: (10, 13)}
    assert names(folder, text.caption("a dog.")[0])[-2:] == [".", "[SEP]"]
    assert (text.fits("dog " * 253), text.fits("dog " * 254)) == (True, False)


def test_tokens_attend_within_their_phrase_and_are_counted_from_its_beginning() -> None:
    together, places = attending([101, 7, 8, 1012, 9, 1029, 102])
    assert places.tolist() == [0, 0, 1, 2, 0, 1, 0]
    expected = np.eye(7)
    expected[1:4, 1:4] = expected[4:6, 4:6] = 1
    assert np.array_equal(together, expected)


def test_one_token_attends_to_itself() -> None:
    together, places = attending([101])
    assert (together.tolist(), places.tolist()) == ([[1]], [0])


@pytest.mark.parametrize("damage", ["missing", "without a begin", "no JSON"])
def test_a_damaged_vocabulary_is_one_line_with_the_remedy(folder: Path, damage: str) -> None:
    if damage == "no JSON":
        (folder / "tokenizer.json").write_text("{", "utf-8")
    elif damage == "missing":
        (folder / "vocab.txt").unlink()
    else:
        words = (folder / "vocab.txt").read_text("utf-8").replace("[CLS]", "[BEGIN]")
        (folder / "vocab.txt").write_text(words, "utf-8")
    with pytest.raises(BackendError, match=r"does not load \(.*\); get it anew with dinox-mcp pull"):
        PhraseTokenizer(folder, 256)


def test_case_is_kept_where_the_checkpoint_says_so(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}), "utf-8")
    ids, _ = PhraseTokenizer(folder, 256).sentence(["ŽID"])
    assert names(folder, ids)[1] == "[UNK]"  # its accent stays, which this vocabulary does not have


IDS, _ = clip_vocabulary()
BEGIN, END = IDS["<|startoftext|>"], IDS["<|endoftext|>"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip_vocabulary(tmp_path)


def test_a_label_is_between_a_begin_and_an_end_and_is_cut_to_the_window(clip: Path) -> None:
    ids, mask = ClipTokenizer(clip, 4)(["Dog", "red \t car cat dog"])
    assert ids.tolist() == [[BEGIN, IDS["dog</w>"], END, 0], [BEGIN, IDS["red</w>"], IDS["car</w>"], END]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert ClipTokenizer(clip, 4).overlong(["dog", "red car cat dog"]) == [1]


def test_a_file_that_adds_no_begin_and_end_is_completed(clip: Path) -> None:
    expected = ClipTokenizer(clip, 16)(["dog"])[0].tolist()
    described = json.loads(ClipTokenizer(clip, 16)._tokenizer.to_str()) | {"post_processor": None}
    (clip / "tokenizer.json").write_text(json.dumps(described), "utf-8")
    assert ClipTokenizer(clip, 16)(["dog"])[0].tolist() == expected


def test_a_vocabulary_without_an_end_is_refused(clip: Path) -> None:
    described = ClipTokenizer(clip, 16)._tokenizer.to_str().replace("<|endoftext|>", "[SEP]")
    (clip / "tokenizer.json").write_text(described, "utf-8")
    with pytest.raises(BackendError, match=r"does not load \(it has no <\|endoftext\|>\); get it anew"):
        ClipTokenizer(clip, 16)


def test_blank_lines_of_an_older_file_are_skipped(clip: Path) -> None:
    expected = ClipTokenizer(clip, 16)(["red dog"])[0].tolist()
    merges = clip / "merges.txt"
    merges.write_text(merges.read_text("utf-8").replace("\n", "\n\n", 2) + "\n \n\n", "utf-8")
    assert ClipTokenizer(clip, 16)(["red dog"])[0].tolist() == expected


ODD = [
    "",
    "   ",
    "Dog",
    "dog's IT'S we'Ll",
    "a\tb\nc",
    "a\u00a0b\u2003c\u200bd\ufeff",
    "e\u0301 \u00e9",
    "İstanbul ẞ ΣΑΣ",
    "日本語の犬",
    "👨\u200d👩\u200d👧 👍🏽",
    "½ ² Ⅷ १२ 1234",
    "a_b-c--d!!!",
    "dog<|endoftext|>cat",
    "<|ENDOFTEXT|>",
    "a\x00b\x1c\x85",
    "한글 ﬁ \uff21",
    "dog</w>",
    "x" * 300,
    "red-bat/baseball",
]


def test_tokens_are_those_of_transformers(clip: Path) -> None:
    transformers = pytest.importorskip("transformers")
    expected = transformers.CLIPTokenizer.from_pretrained(clip)(ODD)["input_ids"]
    ids, mask = ClipTokenizer(clip, 10_000)(ODD)
    assert [row[:length].tolist() for row, length in zip(ids, mask.sum(axis=1), strict=True)] == expected
