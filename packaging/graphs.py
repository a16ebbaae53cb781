"""Export the graphs of models that ONNX Runtime runs: their structure alone, each weight named as in the checkpoint.

A graph is small, so that it is part of the package; the weights come from the authors' own safetensors files when the
model is loaded (`dinox_mcp.backends.local.checkpoints.graph`). Needs torch, transformers and onnx, and no network:
the architectures are built with random weights.

    python packaging/graphs.py            # writes dinox_mcp/backends/local/graphs/*.onnx
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as hf
from export_dfine import export_dfine
from export_grounding import export_grounding
from export_owl import export_owl
from export_sam2 import export_sam2
from exporting import shake

FOLDER = Path(__file__).parent.parent / "dinox_mcp/backends/local/graphs"


def _owlv2_base() -> Any:  # noqa: ANN401
    config = hf.Owlv2Config(attn_implementation="eager")
    config.vision_config.image_size, config.vision_config.patch_size = 960, 16
    return hf.Owlv2ForObjectDetection(config)


def _owlvit_base_32() -> Any:  # noqa: ANN401
    config = hf.OwlViTConfig(attn_implementation="eager")
    config.vision_config.image_size, config.vision_config.patch_size = 768, 32
    return hf.OwlViTForObjectDetection(config)


def _grounding_dino_tiny() -> Any:  # noqa: ANN401
    return hf.GroundingDinoForObjectDetection(hf.GroundingDinoConfig(decoder_bbox_embed_share=False))


def _llmdet_tiny() -> Any:  # noqa: ANN401
    own = {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False}
    return hf.MMGroundingDinoForObjectDetection(hf.MMGroundingDinoConfig(**own))


def _dfine(sizes: dict[str, Any], **options: Any) -> Any:  # noqa: ANN401
    """Make a model of a published size, as transformers' conversion of the authors' checkpoints does."""
    backbone = hf.HGNetV2Config(
        stage_downsample=[False, True, True, True],
        stage_light_block=[False, False, True, True],
        stage_kernel_size=[3, 3, 5, 5],
        embedding_size=32,
        out_indices=[2, 3, 4],
        use_learnable_affine_block=True,
        **sizes,
    )
    config = hf.DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=backbone.stage_out_channels[1:],
        decoder_n_points=[3, 6, 3],
        **options,
    )
    return hf.DFineForObjectDetection(config)


def _dfine_small() -> Any:  # noqa: ANN401
    """Make D-FINE-S."""
    sizes = {
        "hidden_sizes": [128, 256, 512, 1024],
        "stem_channels": [3, 16, 16],
        "stage_in_channels": [16, 64, 256, 512],
        "stage_mid_channels": [16, 32, 64, 128],
        "stage_out_channels": [64, 256, 512, 1024],
        "stage_num_blocks": [1, 1, 2, 1],
        "stage_numb_of_layers": [3, 3, 3, 3],
    }
    return _dfine(sizes, decoder_layers=3, hidden_expansion=0.5, depth_mult=0.34)


def _dfine_medium() -> Any:  # noqa: ANN401
    """Make D-FINE-M."""
    sizes = {
        "hidden_sizes": [192, 384, 768, 1536],
        "stem_channels": [3, 24, 32],
        "stage_in_channels": [32, 96, 384, 768],
        "stage_mid_channels": [32, 64, 128, 256],
        "stage_out_channels": [96, 384, 768, 1536],
        "stage_num_blocks": [1, 1, 3, 1],
        "stage_numb_of_layers": [4, 4, 4, 4],
    }
    return _dfine(sizes, decoder_layers=4, hidden_expansion=1.0, depth_mult=0.67)


Export = Callable[[Any, Path, str], list[Path]]
ARCHITECTURES: dict[str, tuple[Callable[[], Any], Export]] = {
    "owlv2-base": (_owlv2_base, export_owl),
    "owlvit-base-32": (_owlvit_base_32, export_owl),
    "sam2-tiny": (lambda: hf.Sam2Model(hf.Sam2Config()), export_sam2),  # its default is this one
    "grounding-dino-tiny": (_grounding_dino_tiny, export_grounding),
    "llmdet-tiny": (_llmdet_tiny, export_grounding),
    "dfine-small": (_dfine_small, export_dfine),
    "dfine-medium": (_dfine_medium, export_dfine),
}


def main() -> None:
    """Export all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(ARCHITECTURES)}")
    for name in parser.parse_args().names or ARCHITECTURES:
        build, export = ARCHITECTURES[name]
        for path in export(shake(build()), FOLDER, name):
            print(f"{path.relative_to(FOLDER.parents[3])}: {path.stat().st_size / 1024:.0f} KiB")  # noqa: T201 - it is a program


if __name__ == "__main__":
    main()
