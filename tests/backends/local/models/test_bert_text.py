"""Phrases become the tokens that Grounding DINO reads, as in transformers."""

import json
from pathlib import Path

import numpy as np
import pytest

from dinox_mcp.backends.local.models.bert_text import PhraseTokenizer, attending
from dinox_mcp.errors import BackendError, InputError
from tests.backends.local.tiny_graphs import write_phrases_vocabulary


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
