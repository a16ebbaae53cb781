"""Checkpoints at their published sizes with random weights, built here: they cost what the real ones cost.

What they find is nonsense. They are tuned to find a few things, so that nobody is busy with thousands of boxes.
"""

import json
import shutil
import string
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.local import describers
from benchmarks.local.labels import COCO
from dinox_mcp.backends.kind_words import KINDS

_FORMAT = "2"
_WORDS = sorted({word for label in COCO for word in label.split()})


@dataclass(frozen=True)
class Checkpoint:
    """A model to measure; `min_score` lets few of its random boxes pass."""

    title: str
    folder: Path
    min_score: float


def build(name: str, cache: Path, *, quick: bool) -> Checkpoint:
    """Build a checkpoint, unless an earlier run did. A `quick` one has fewer layers and sees smaller pictures."""
    title, min_score, write = (_MODELS | describers.MODELS)[name]
    folder = cache / f"{name}-{'small' if quick else 'full'}-{_FORMAT}"
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write(unfinished, quick)
        unfinished.rename(folder)
    return Checkpoint(title, folder, min_score)


def _owl(kind: str, patch: int, side: int) -> Callable[[Path, bool], None]:
    """OWL-ViT and OWLv2 base: CLIP's two towers."""

    def write(folder: Path, quick: bool) -> None:
        import torch
        import transformers as hf

        torch.manual_seed(0)
        pixels = side // 4 if quick else side
        tokenizer, vocabulary = _clip_tokenizer()
        layers = {"num_hidden_layers": 2 if quick else 12}
        text = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "vocab_size": 49408}
        vision = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
        ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
        config = getattr(hf, f"{kind}Config")(
            text_config=text | layers | ends | {"max_position_embeddings": 16},
            vision_config=vision | layers | {"image_size": pixels, "patch_size": patch},
            projection_dim=512,
        )
        model = getattr(hf, f"{kind}ForObjectDetection")(config)
        with torch.no_grad():
            for head, bias in ((model.class_head.logit_shift, -0.25), (model.class_head.logit_scale, 40.0)):
                head.weight.zero_()
                head.bias.fill_(bias)
        model.save_pretrained(folder)
        images = getattr(hf, f"{kind}ImageProcessorPil")(size={"height": pixels, "width": pixels})
        getattr(hf, f"{kind}Processor")(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)

    return write


def _grounding_dino(folder: Path, quick: bool) -> None:
    """Grounding DINO tiny: a Swin and a BERT that attend to each other."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    stages = ["stage2", "stage3", "stage4"]
    layers = {"encoder_layers": 1, "decoder_layers": 2} if quick else {}
    config = hf.GroundingDinoConfig(
        backbone_config=hf.SwinConfig(depths=[2, 2, 6, 2], window_size=7, out_features=stages),
        text_config=hf.BertConfig(num_hidden_layers=2 if quick else 12),
        **layers,
    )
    model = hf.GroundingDinoForObjectDetection(config)
    with torch.no_grad():
        model.model.decoder.layer_norm.weight.mul_(0.05)
    model.save_pretrained(folder)
    size = {"shortest_edge": 200, "longest_edge": 333} if quick else {"shortest_edge": 800, "longest_edge": 1333}
    images = hf.GroundingDinoImageProcessorPil(size=size)
    hf.GroundingDinoProcessor(image_processor=images, tokenizer=_bert_tokenizer()).save_pretrained(folder)


def _dfine(name: str) -> Callable[[Path, bool], None]:
    """D-FINE, with the configuration that its graph is exported with."""

    def write(folder: Path, quick: bool) -> None:  # noqa: ARG001 - the graph has one size
        import torch
        import transformers as hf

        sys.path.insert(0, str(Path(__file__).parents[2] / "packaging"))
        build, _ = import_module("graphs").ARCHITECTURES[name]
        torch.manual_seed(0)
        config = build().config
        config.num_labels = len(KINDS)
        config.id2label = dict(enumerate(KINDS))
        hf.DFineForObjectDetection(config).save_pretrained(folder)
        hf.RTDetrImageProcessorPil().save_pretrained(folder)

    return write


_MODELS: dict[str, tuple[str, float, Callable[[Path, bool], None]]] = {
    "owlvit": ("OWL-ViT B/32", 0.25, _owl("OwlViT", 32, 768)),
    "owlv2": ("OWLv2 base", 0.25, _owl("Owlv2", 16, 960)),
    "grounding-dino": ("Grounding DINO tiny", 0.9, _grounding_dino),
    "dfine-small": ("D-FINE small", 0.4, _dfine("dfine-small")),
    "dfine-medium": ("D-FINE medium", 0.4, _dfine("dfine-medium")),
}


def _bert_tokenizer() -> Any:  # noqa: ANN401 - of transformers
    """WordPiece with a token a word, as BERT's has for words as common, and marks where Grounding DINO wants them."""
    import transformers as hf

    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    letters = string.ascii_lowercase
    pieces = iter(dict.fromkeys([*letters, *(f"##{letter}" for letter in letters), *_WORDS]))
    names = [fixed.get(place) or next(pieces, f"[unused{place}]") for place in range(30522)]
    return hf.BertTokenizer(vocab={name: place for place, name in enumerate(names)}, model_max_length=256)


def _clip_tokenizer() -> tuple[Any, int]:
    """Byte pairs with a token a word, as CLIP's, and the size of the vocabulary."""
    import transformers as hf

    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(code) for code in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    names = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: dict[tuple[str, str], None] = {}
    for word in _WORDS:
        head, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for piece in rest:
            merges[head, piece] = None
            head += piece
            names.append(head)
    names += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return hf.CLIPTokenizer(vocab=vocabulary, merges=list(merges), model_max_length=16), len(vocabulary)


if __name__ == "__main__":  # in a process of its own, so that the run itself needs no torch
    NAME, CACHE, QUICK = json.loads(sys.argv[1])
    build(NAME, Path(CACHE), quick=QUICK)
