"""Tiny random checkpoints of every family, built offline in milliseconds and saved as the hub has them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.backends.local.tiny_graphs import KINDS, clip_vocabulary, phrase_words, write_json


def build(family: str, folder: Path) -> Path:
    """Write a checkpoint of a family, the same one on every call; give its folder."""
    from tests.backends.local.tiny_describers import BUILDERS as DESCRIBERS  # they share what is below

    torch.manual_seed(0)
    (BUILDERS | DESCRIBERS)[family](folder)
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


def omdet(folder: Path) -> None:
    tokenizer, vocabulary = clip_tokenizer(77)
    config = hf.OmDetTurboConfig(
        backbone_config=swin(["stage2", "stage3", "stage4"]),
        text_config=clip_text(vocabulary, 77, hidden_size=16),
        **{f"{part}_hidden_dim": 32 for part in ("task_encoder", "encoder", "decoder")},
        **{f"{part}_dim_feedforward": 32 for part in ("encoder", "decoder")},
        **dict.fromkeys(("text_projection_in_dim", "text_projection_out_dim", "class_embed_dim"), 16),
        apply_layernorm_after_vision_backbone=False,
        use_timm_backbone=False,
        image_size=224,
        num_queries=50,
        decoder_num_layers=2,
        decoder_num_heads=4,
        encoder_attention_heads=4,
        encoder_in_channels=[32, 64, 128],
        vision_features_channels=[32, 32, 32],
    )
    shaken(hf.OmDetTurboForObjectDetection(config)).save_pretrained(folder)
    hf.DetrImageProcessorPil(size={"height": 224, "width": 224}, do_pad=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def sam3(folder: Path) -> None:
    tokenizer, vocabulary = clip_tokenizer(32)
    sizes = {"hidden_size": 32, "num_attention_heads": 4}
    layers = sizes | {"intermediate_size": 64}
    vit = hf.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=112,
        patch_size=14,
        window_size=4,
        global_attn_indexes=[1],
        pretrain_image_size=56,
    )
    config = hf.Sam3Config(
        vision_config=hf.Sam3VisionConfig(
            backbone_config=vit, fpn_hidden_size=32, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]]
        ),
        text_config=clip_text(vocabulary, 32, hidden_size=32),
        geometry_encoder_config=layers | {"num_layers": 1},
        detr_encoder_config=layers | {"num_layers": 1},
        detr_decoder_config=layers | {"num_layers": 2, "num_queries": 20},
        mask_decoder_config=sizes,
    )
    from transformers.models.sam3.modeling_sam3 import Sam3Model

    shaken(Sam3Model(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    images = {"size": {"height": 112, "width": 112}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
    write_json(folder / "processor_config.json", {"image_processor": images})


def d_fine(folder: Path) -> None:
    backbone = hf.HGNetV2Config(
        hidden_sizes=[8, 16, 32, 64],
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 16, 32],
        stage_mid_channels=[4, 4, 8, 16],
        stage_out_channels=[8, 16, 32, 64],
        stage_num_blocks=[1, 1, 2, 1],
        stage_numb_of_layers=[2, 2, 2, 2],
        embedding_size=8,
        out_indices=[2, 3, 4],
        use_learnable_affine_block=True,
    )
    config = hf.DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=[16, 32, 64],
        decoder_in_channels=[32, 32, 32],
        decoder_n_points=[3, 6, 3],
        **dict.fromkeys(("encoder_hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim", "d_model"), 32),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
        decoder_layers=2,
        hidden_expansion=0.5,
        depth_mult=0.34,
        num_queries=30,
        num_labels=len(KINDS),
        id2label=KINDS,
    )
    trained_like(shaken(hf.DFineForObjectDetection(config))).save_pretrained(folder)
    hf.RTDetrImageProcessorPil(size={"height": 128, "width": 128}).save_pretrained(folder)


def trained_like(model: Any) -> Any:  # noqa: ANN401 - a D-FINE model
    """Keep what convolutions compute in bounds, make batch norms differ, and give boxes their scale."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            noise = torch.rand(tensor.shape, generator=generator)
            if tensor.ndim == 4:  # (out, in, height, width)
                tensor.copy_((noise - 0.5) * 5 * tensor[0].numel() ** -0.5)
            elif name.endswith("running_mean"):
                tensor.copy_(noise * 0.2 - 0.1)
            elif name.endswith("running_var"):
                tensor.copy_(noise + 0.5)
            elif ".normalization." in name and tensor.is_floating_point():  # which `shaken` leaves as they are
                tensor.add_(noise * 0.2 - 0.1)
        model.model.decoder.up.fill_(0.5)
        model.model.decoder.reg_scale.fill_(4.0)
    return model


def clip_text(vocabulary: int, window: int, hidden_size: int) -> hf.CLIPTextConfig:
    return hf.CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=hidden_size,
        intermediate_size=37,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=window,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
    )


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
    return hf.BertTokenizer(vocab={name: index for index, name in enumerate(phrase_words())}, model_max_length=256)


def clip_tokenizer(window: int) -> tuple[hf.CLIPTokenizer, int]:
    """A byte-pair tokenizer of bytes and a few words, with the size of its vocabulary."""
    vocabulary, merges = clip_vocabulary()
    return hf.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=window), len(vocabulary)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "owlvit": owl("OwlViT"),
    "owlv2": owl("Owlv2"),
    "grounding-dino": grounding_dino("GroundingDino"),
    "mm-grounding-dino": grounding_dino("MMGroundingDino"),
    "omdet-turbo": omdet,
    "sam3": sam3,
    "d_fine": d_fine,
}
