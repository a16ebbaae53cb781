"""Masks over the frames of a video by SAM 2 with its memory (Ravi et al., arXiv:2408.00714).

Frames come one at a time. Each thing remembers its first frame, where it is in a box, and the last few: what it looked
like there, and a pointer for each of some more. Only that is kept, so that a long video takes no more memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dinox_mcp.backends.local.checkpoints.preprocess import Preprocessor
from dinox_mcp.backends.local.models.base import Prepared
from dinox_mcp.backends.local.models.interfaces import Follower
from dinox_mcp.backends.local.models.sam2 import to_mask
from dinox_mcp.backends.local.models.shared import ViewerBase, nbytes, stacked
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask

_UPPER_LEFT, _LOWER_RIGHT = 2, 3  # labels of points that are the corners of a box


def architecture(_config: Mapping[str, Any]) -> type[Any]:
    """Name the transformers class of a checkpoint."""
    from transformers import Sam2VideoModel

    return Sam2VideoModel


def adapt(
    model: Any,  # noqa: ANN401 - a model of its `architecture`
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> Follower:
    """Wrap a loaded model."""
    return Sam2Video(model, Preprocessor.from_folder(folder), dtype)


@dataclass(frozen=True, slots=True)
class FrameState:
    """One frame: feature maps and their positions (pixels, 1, channels), finest first, and its own size in pixels."""

    features: tuple[torch.Tensor, ...]
    positions: tuple[torch.Tensor, ...]
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return nbytes((*self.features, *self.positions))


@dataclass(slots=True)
class Memory:
    """What is remembered of some things, and how many frames they were followed through."""

    session: Any
    frames: int = 0


class Sam2Video(ViewerBase):
    """A SAM 2 model with its memory, asked by boxes in a first frame."""

    @property
    def at_once(self) -> int:
        """A few: each thing takes tens of megabytes while a frame is worked on, and a second or more on a CPU."""
        return 2 if self._precision.device.type == "cpu" else 16

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[FrameState]:
        """Look at frames, all at once."""
        pixels = stacked(batch, self._precision.device)
        with self._precision.running():
            seen = self._model.get_image_features(pixels, return_dict=True)

        def of(row: int, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
            return tuple(level[:, row : row + 1].clone() for level in maps)

        return [
            FrameState(of(row, seen.fpn_hidden_states), of(row, seen.fpn_position_encoding), frame.size)
            for row, frame in enumerate(batch)
        ]

    def remember(self, boxes: Sequence[Box], size: tuple[int, int]) -> Memory:
        """Begin a memory of what is in each box of a first frame of `size` (width, height)."""
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        device = self._precision.device
        session = Sam2VideoInferenceSession(
            inference_device=device, inference_state_device=device, video_storage_device=device, dtype=torch.float32
        )
        factors = torch.tensor([self._preprocess.width / size[0], self._preprocess.height / size[1]])
        corners = torch.tensor([_UPPER_LEFT, _LOWER_RIGHT], dtype=torch.int32).view(1, 1, 2)
        for thing, box in enumerate(boxes):
            points = (torch.tensor(box).view(2, 2) * factors).view(1, 1, 2, 2)
            session.add_point_inputs(session.obj_id_to_idx(thing), 0, {"point_coords": points, "point_labels": corners})
        session.obj_with_new_inputs = list(range(len(boxes)))
        return Memory(session)

    @torch.inference_mode()
    def follow(self, state: FrameState, memory: Memory) -> list[Mask | None]:
        """Give the masks in the next frame, at its own size; None for what is not seen in it."""
        session, number = memory.session, memory.frames
        session.cache.cache_vision_features(
            number, {"vision_feats": list(state.features), "vision_pos_embeds": list(state.positions)}
        )
        looked_at = state.features[-1].new_empty(0)  # its pixels, which nobody asks for where there are features
        with self._precision.running():
            outputs = self._model(inference_session=session, frame=looked_at, frame_idx=number)
        memory.frames += 1
        session.processed_frames.clear()
        session.cache.clear_all()
        self._forget(session, number)
        return [_seen(logits, state.size) for logits in outputs.pred_masks[:, 0].float().cpu()]

    def _forget(self, session: Any, number: int) -> None:  # noqa: ANN401 - of transformers
        """Drop what no later frame asks for: large masks, looks of frames long ago, pointers of some longer ago."""
        config = self._model.config
        for kept in session.output_dict_per_obj.values():
            for frames in kept.values():
                if number in frames:
                    del frames[number]["high_res_masks"], frames[number]["pred_masks"]
            recent = kept["non_cond_frame_outputs"]
            if old := recent.get(number + 1 - config.num_maskmem):
                del old["maskmem_features"], old["maskmem_pos_enc"]
            recent.pop(number + 1 - config.max_object_pointers_in_encoder, None)
        for tracked in session.frames_tracked_per_obj.values():
            tracked.clear()


def _seen(logits: torch.Tensor, size: tuple[int, int]) -> Mask | None:
    return to_mask(logits.numpy(), size) if bool((logits > 0).any()) else None
