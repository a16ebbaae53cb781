"""The models that describe boxes at their published sizes, with random weights; see `checkpoints`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def _sam2(folder: Path, quick: bool) -> None:
    """SAM 2.1 with the tiny Hiera; its mask head is random, too."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    blocks = {"blocks_per_stage": [1, 1, 2, 1], "global_attention_blocks": [3]} if quick else {}
    backbone = hf.Sam2HieraDetConfig(**blocks)
    hf.Sam2Model(hf.Sam2Config(vision_config=hf.Sam2VisionConfig(backbone_config=backbone))).save_pretrained(folder)
    _preprocessor(folder, 1024, 1024)


def _vitpose(folder: Path, quick: bool) -> None:
    """ViTPose base with the simple decoder."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    layers = 2 if quick else 12
    backbone = hf.VitPoseBackboneConfig(num_hidden_layers=layers, out_indices=[layers])
    hf.VitPoseForPoseEstimation(hf.VitPoseConfig(backbone_config=backbone, num_labels=17)).save_pretrained(folder)
    _preprocessor(folder, 256, 192)


def _florence2(folder: Path, quick: bool) -> None:
    """Florence-2 base, whose answers end after about a dozen tokens, as captions of regions do."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    tokenizer = _tokenizer()
    ends = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    sizes: dict[str, Any] = {f"{part}_layers": 1 if quick else 6 for part in ("encoder", "decoder")}
    sizes |= {f"{part}_attention_heads": 12 for part in ("encoder", "decoder")}
    sizes |= {f"{part}_ffn_dim": 3072 for part in ("encoder", "decoder")}
    config = hf.Florence2Config(
        vision_config={"projection_dim": 768} | ({"depths": [1, 1, 1, 1]} if quick else {}),
        text_config={"model_type": "bart", "vocab_size": 51290, "d_model": 768, "max_position_embeddings": 1024}
        | {"is_encoder_decoder": True, **sizes, **ends},
        image_token_id=51289,
        **ends,
    )
    model = hf.Florence2ForConditionalGeneration(config)
    model.generation_config = hf.GenerationConfig(
        num_beams=3,
        early_stopping=True,
        no_repeat_ngram_size=3,
        min_length=10,
        exponential_decay_length_penalty=(11, 1000.0),
        **ends,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _preprocessor(folder, 768, 768)


def _tokenizer() -> Any:  # noqa: ANN401 - of transformers
    import transformers as hf

    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(code) for code in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    names = ["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"]
    tokenizer = hf.BartTokenizer(vocab={name: place for place, name in enumerate(names)}, merges=[])
    tokenizer.add_tokens([hf.AddedToken(f"<loc_{bin_}>", special=False, normalized=False) for bin_ in range(1000)])
    return tokenizer


def _preprocessor(folder: Path, height: int, width: int) -> None:
    import json

    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    config = {"size": {"height": height, "width": width}, "image_mean": mean, "image_std": deviation, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(config), encoding="utf-8")


MODELS: dict[str, tuple[str, float, Callable[[Path, bool], None]]] = {
    "sam2": ("SAM 2.1 tiny", 0, _sam2),
    "vitpose": ("ViTPose base", 0, _vitpose),
    "florence2": ("Florence-2 base", 0, _florence2),
}
