"""Tiny random checkpoints of the models that describe boxes, saved as the hub has them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.backends.local.tiny_checkpoints import shaken
from tests.backends.local.tiny_graphs import byte_letters, write_json


def sam2(kind: str) -> Callable[[Path], None]:
    """SAM 2 alone, or as it is published: inside the model for videos."""

    def write(folder: Path) -> None:
        width = 128 if kind == "Sam2Video" else 32  # that of its memory's features, 64, must divide it
        backbone = hf.Sam2HieraDetConfig(
            hidden_size=16,
            image_size=[128, 128],
            blocks_per_stage=[1, 1, 2, 1],
            embed_dim_per_stage=[16, 32, 64, 128],
            num_attention_heads_per_stage=[1, 2, 4, 8],
            global_attention_blocks=[3],
            window_size_per_stage=[8, 4, 8, 4],
        )
        parts: dict[str, Any] = {
            "vision_config": hf.Sam2VisionConfig(
                backbone_config=backbone,
                backbone_channel_list=[128, 64, 32, 16],
                backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
                fpn_hidden_size=width,
            ),
            "prompt_encoder_config": {"hidden_size": width, "image_size": 128, "patch_size": 16},
            "mask_decoder_config": {
                "hidden_size": width,
                "mlp_dim": 64,
                "num_attention_heads": 4,
                "iou_head_hidden_dim": width,
            },
        }
        if kind == "Sam2Video":
            parts |= {"image_size": 128, "memory_attention_hidden_size": width, "memory_encoder_hidden_size": width}
            parts |= {"memory_attention_feed_forward_hidden_size": 64, "memory_encoder_output_channels": 64}
            parts |= {"memory_fuser_embed_dim": width, "mask_downsampler_embed_dim": width}
            parts |= {"memory_attention_num_layers": 1, "memory_attention_downsample_rate": 1}
            parts |= {"memory_attention_rope_feat_sizes": [8, 8], "memory_fuser_intermediate_dim": 64}
        config = getattr(hf, f"{kind}Config")(**parts)
        shaken(getattr(hf, f"{kind}Model")(config)).save_pretrained(folder)
        write_json(
            folder / "preprocessor_config.json",
            {
                "size": {"height": 128, "width": 128},
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
                "resample": 2,
                "rescale_factor": 1 / 255,
            },
        )
        write_json(folder / "processor_config.json", {"point_pad_value": -10, "target_size": 128})

    return write


def vitpose(experts: int = 1, points: int = 17) -> Callable[[Path], None]:
    """ViTPose, also with a mixture of experts."""

    def write(folder: Path) -> None:
        backbone = hf.VitPoseBackboneConfig(
            image_size=[64, 48],
            patch_size=[16, 16],
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            out_indices=[2],
            mlp_ratio=2,
            num_experts=experts,
            part_features=8,
        )
        config = hf.VitPoseConfig(backbone_config=backbone, num_labels=points, use_simple_decoder=True)
        shaken(hf.VitPoseForPoseEstimation(config)).save_pretrained(folder)
        hf.VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(folder)

    return write


def florence2(folder: Path) -> None:
    """Florence-2, which writes letters that mean nothing."""
    tokenizer = bart_tokenizer()
    ends = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    layers = {f"{part}_layers": 1 for part in ("encoder", "decoder")}
    layers |= {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
    layers |= {f"{part}_ffn_dim": 64 for part in ("encoder", "decoder")}
    config = hf.Florence2Config(
        vision_config={
            "depths": [1, 1, 1, 1],
            "embed_dim": [16, 32, 64, 128],
            "num_heads": [1, 2, 4, 8],
            "num_groups": [1, 2, 4, 8],
            "window_size": 6,
            "projection_dim": 32,
        },
        text_config={"model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32, **layers, **ends}
        | {"max_position_embeddings": 512, "is_encoder_decoder": True},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        **ends,
    )
    model = shaken(hf.Florence2ForConditionalGeneration(config))
    with torch.no_grad():  # letters are likelier than positions, so that there is something to read
        model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("<loc_0>") :] *= 0.3
    beams = {"num_beams": 3, "early_stopping": True, "no_repeat_ngram_size": 3}  # as published
    model.generation_config = hf.GenerationConfig(
        **beams, min_length=8, forced_bos_token_id=0, forced_eos_token_id=2, **ends
    )
    model.save_pretrained(folder)
    images = hf.CLIPImageProcessorPil(
        size={"height": 192, "width": 192}, crop_size={"height": 192, "width": 192}, do_center_crop=False
    )
    images.image_seq_length = (192 // 32) ** 2 + 1
    parsing: dict[str, Any] = {kind: {} for kind in ("ocr", "phrase_grounding", "pure_text", "polygons", "bboxes")}
    parsing |= {f"description_with_{kind}": {} for kind in ("bboxes", "polygons", "bboxes_or_polygons")}
    hf.Florence2Processor(image_processor=images, tokenizer=tokenizer, post_processor_config=parsing).save_pretrained(
        folder
    )


def bart_tokenizer() -> Any:  # noqa: ANN401 - of transformers
    """Bytes, and the thousand positions that regions are told by."""
    names = ["<s>", "<pad>", "</s>", "<unk>", *byte_letters(), "<mask>", *(f"<loc_{bin_}>" for bin_ in range(1000))]
    vocabulary = {name: place for place, name in enumerate([*names, "<image>"])}
    tokenizer = hf.BartTokenizer(vocab=vocabulary, merges=[], extra_special_tokens={"image_token": "<image>"})
    tokenizer.add_tokens([hf.AddedToken(f"<loc_{bin_}>", special=False, normalized=False) for bin_ in range(1000)])
    return tokenizer


BUILDERS: dict[str, Callable[[Path], None]] = {
    "sam2": sam2("Sam2"),
    "sam2_video": sam2("Sam2Video"),
    "vitpose": vitpose(),
    "vitpose-plus": vitpose(experts=6),
    "vitpose-wholebody": vitpose(points=133),
    "florence2": florence2,
}
