"""Tiny random checkpoints that need no torch, and their graphs in `graphs/`.

The graphs were exported by `python -m tests.backends.local.exported`.
"""

import json
import math
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from dinox_mcp.backends.local.checkpoints.graph import Architecture, architectures

GRAPHS = Path(__file__).parent / "graphs"
KINDS = {0: "None", 1: "Person", 2: "Dog", 3: "Car", 4: "SUV", 5: "Dinning Table", 6: "Monitor/TV"}
"""The `id2label` of the tiny checkpoint of D-FINE, as that of Objects365 is written."""
WORDS = ("a", "an", "the", "person", "wheel", "car", "dog", "cat", "glove", "red", "bat", "baseball", "tree")


def architecture(family: str) -> Architecture:
    """Return the architecture of a family's tiny checkpoint."""
    (found,) = (one for one in architectures(GRAPHS) if one.model_type == family)
    return found


def write_checkpoint(family: str, folder: Path) -> Path:
    """Write a checkpoint of OWL or D-FINE with the files that the older ones of the hub have; give its folder."""
    _write_weights(architecture(family), folder)
    if family == "d_fine":
        write_json(folder / "config.json", {"model_type": family, "id2label": KINDS})
        write_json(folder / "preprocessor_config.json", {"size": {"height": 128, "width": 128}, "do_normalize": False})
        return folder
    write_json(folder / "config.json", {"model_type": family})
    write_json(folder / "preprocessor_config.json", {"size": {"height": 96, "width": 96}, **NORMALISED})
    return write_clip_vocabulary(folder)


def write_masks_checkpoint(folder: Path) -> Path:
    """Write a checkpoint of SAM 2 as it is published, inside the model for videos; give its folder."""
    _write_weights(architecture("sam2"), folder)
    write_json(folder / "config.json", {"model_type": "sam2_video"})
    write_json(folder / "preprocessor_config.json", {"size": {"height": 128, "width": 128}, **NORMALISED})
    return folder


def write_phrases_checkpoint(folder: Path) -> Path:
    """Write a checkpoint of LLMDet with the vocabulary as the older ones of the hub have it; give its folder."""
    _write_weights(architecture("mm-grounding-dino"), folder)
    write_json(folder / "config.json", {"model_type": "mm-grounding-dino"})
    size = {"shortest_edge": 128, "longest_edge": 213}
    write_json(folder / "preprocessor_config.json", {"size": size, **NORMALISED})
    return write_phrases_vocabulary(folder)


def write_clip_vocabulary(folder: Path) -> Path:
    """Write the byte-pair vocabulary that `tiny_checkpoints.clip_tokenizer` has."""
    vocabulary, merges = clip_vocabulary()
    write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    return folder


def write_phrases_vocabulary(folder: Path) -> Path:
    """Write the words, one on each line, that `tiny_checkpoints.bert_tokenizer` has."""
    (folder / "vocab.txt").write_text("\n".join(phrase_words()), "utf-8")
    return folder


def phrase_words() -> list[str]:
    """List letters and a few words, with the separators where Grounding DINO has them."""
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    letters = string.ascii_lowercase + string.digits
    pieces = iter(dict.fromkeys([*letters, *",-'", *(f"##{letter}" for letter in letters), *WORDS]))
    return [fixed.get(index) or next(pieces, f"[unused{index}]") for index in range(1100)]


def _write_weights(of: Architecture, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    shapes = {**of.image, **of.text, **of.boxes}
    save_file({name: _weight(random, name, dims) for name, dims in shapes.items()}, folder / "model.safetensors")


def _weight(random: np.random.Generator, name: str, dims: Sequence[int | None]) -> npt.NDArray[np.float32]:
    shape = [len(KINDS) if side is None else side for side in dims]  # a row for each kind
    if name.endswith("running_var"):
        return np.ones(shape, np.float32)
    rows = math.prod(shape[1:]) if len(shape) == 4 else shape[-1] if len(shape) > 1 else 100  # a convolution; a matrix
    return np.asarray(random.standard_normal(shape, np.float32) * np.float32(rows) ** -0.5)


NORMALISED = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), "utf-8")


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Make a byte-pair vocabulary of bytes and a few words, and its merges."""
    letters = byte_letters()
    names = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        head, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for piece in rest:
            if (head, piece) not in merges:
                merges.append((head, piece))
                names.append(head + piece)
            head += piece
    names += ["<|startoftext|>", "<|endoftext|>"]
    return {name: index for index, name in enumerate(dict.fromkeys(names))}, merges


def byte_letters() -> list[str]:
    """List a letter for each byte, as byte-pair tokenizers write them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(code) for code in printable] + [chr(256 + n) for n in range(256 - len(printable))]
