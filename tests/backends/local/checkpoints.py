"""Tiny random checkpoints of every family, built offline in milliseconds and saved as the hub has them."""

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

WORDS = ("a", "an", "the", "person", "wheel", "car", "dog", "cat", "glove", "red", "bat", "baseball", "tree")


def build(family: str, folder: Path) -> Path:
    """Write a checkpoint of a family, the same one on every call; give its folder."""
    torch.manual_seed(0)
    BUILDERS[family](folder)
    return folder


def owl(kind: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tokenizer, vocabulary = clip_tokenizer(16)
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        text = sizes | {
            "vocab_size": vocabulary,
            "max_position_embeddings": 16,
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": 0,
        }
        config = getattr(hf, f"{kind}Config")(
            text_config=text, vision_config=sizes | {"image_size": 96, "patch_size": 16}, projection_dim=32
        )
        shaken(getattr(hf, f"{kind}ForObjectDetection")(config)).save_pretrained(folder)
        images = getattr(hf, f"{kind}ImageProcessorPil")(size={"height": 96, "width": 96})
        getattr(hf, f"{kind}Processor")(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)

    return write


def grounding_dino(kind: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        sizes = {"num_attention_heads": 2, "intermediate_size": 37, "num_hidden_layers": 1}
        config = getattr(hf, f"{kind}Config")(
            backbone_config=swin(["stage2", "stage3", "stage4"]),
            text_config=hf.BertConfig(vocab_size=1100, hidden_size=32, max_position_embeddings=256, **sizes),
            **{f"{part}_attention_heads": 4 for part in ("encoder", "decoder")},
            **{f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")},
            **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
            d_model=32,
            num_queries=50,
        )
        shaken(getattr(hf, f"{kind}ForObjectDetection")(config)).save_pretrained(folder)
        images = hf.GroundingDinoImageProcessorPil(size={"shortest_edge": 128, "longest_edge": 213})
        hf.GroundingDinoProcessor(image_processor=images, tokenizer=bert_tokenizer()).save_pretrained(folder)

    return write


def swin(stages: list[str]) -> hf.SwinConfig:
    return hf.SwinConfig(
        image_size=224, embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 4, 8], window_size=7, out_features=stages
    )


def shaken(model: Any) -> Any:  # noqa: ANN401 - any model of transformers
    """Make a random model opinionated: freshly initialised ones score everything alike and centre every box."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * weight.shape[-1] ** -0.5)
            else:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model.eval()


def bert_tokenizer() -> hf.BertTokenizer:
    """A WordPiece tokenizer of letters and a few words, its separators where Grounding DINO looks for them."""
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    letters = string.ascii_lowercase + string.digits
    pieces = iter(dict.fromkeys([*letters, *",-'", *(f"##{letter}" for letter in letters), *WORDS]))
    names = [fixed.get(index) or next(pieces, f"[unused{index}]") for index in range(1100)]
    return hf.BertTokenizer(vocab={name: index for index, name in enumerate(names)}, model_max_length=256)


def clip_tokenizer(window: int) -> tuple[hf.CLIPTokenizer, int]:
    """A byte-pair tokenizer of bytes and a few words, with the size of its vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(code) for code in printable] + [chr(256 + n) for n in range(256 - len(printable))]
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
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return hf.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=window), len(vocabulary)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), "utf-8")


BUILDERS: dict[str, Callable[[Path], None]] = {
    "owlvit": owl("OwlViT"),
    "owlv2": owl("Owlv2"),
    "grounding-dino": grounding_dino("GroundingDino"),
    "mm-grounding-dino": grounding_dino("MMGroundingDino"),
}
