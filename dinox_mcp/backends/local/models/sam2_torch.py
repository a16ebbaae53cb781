"""SAM 2 in torch: masks of boxes in an image, and over the frames of a video.

Frames of a video come one at a time. Of each object are kept: its first frame, where it is in a box, its features in
the last few frames, and a pointer for each of some more. Nothing else is kept, so that a long video takes no more
memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from dinox_mcp.backends.local.models.base import FollowingModel, ImageFeatures, Prepared, TorchModel
from dinox_mcp.backends.local.models.candidates import Floats
from dinox_mcp.backends.local.models.sam2 import Sam2Model, to_mask
from dinox_mcp.backends.local.models.shared import of_image, stacked
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask

_UPPER_LEFT, _LOWER_RIGHT = 2, 3  # labels of points that are the corners of a box


class Sam2(TorchModel, Sam2Model):
    """A SAM 2 model in torch."""

    architectures: ClassVar = {"sam2": "Sam2Model", "sam2_video": "Sam2Model"}

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of images, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            maps = self._model.get_image_embeddings(pixels)
        return [ImageFeatures(of_image(row, maps), image.size) for row, image in enumerate(batch)]

    @torch.inference_mode()
    def _logits(self, features: ImageFeatures, prompts: Floats) -> Floats:
        boxes = torch.from_numpy(prompts)[None].to(self._model.device)
        with self._computing():
            outputs = self._model(image_embeddings=list(features.arrays), input_boxes=boxes, multimask_output=False)
        logits: Floats = outputs.pred_masks[0, :, 0].float().cpu().numpy()
        return logits


@dataclass(slots=True)
class Memory:
    """What is remembered of some things, and how many frames they were followed through."""

    session: Any
    frames: int = 0


class Sam2Video(FollowingModel):
    """A SAM 2 model with its memory, prompted with boxes in a first frame.

    Features are maps (pixels, 1, channels), finest first, and then the positions of their pixels, in the same shapes.
    Each object takes tens of megabytes while a frame is processed, and a second or more on a CPU.
    """

    architectures: ClassVar = {"sam2_video": "Sam2VideoModel"}
    cpu_batch = 2

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of frames, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            vision = self._model.get_image_features(pixels, return_dict=True)

        levels = *vision.fpn_hidden_states, *vision.fpn_position_encoding
        return [
            ImageFeatures(tuple(level[:, row : row + 1].clone() for level in levels), frame.size)
            for row, frame in enumerate(batch)
        ]

    def remember(self, boxes: Sequence[Box], size: tuple[int, int]) -> Memory:
        """Begin a memory of what is in each box of a first frame of `size` (width, height)."""
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        device = self._model.device
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
    def follow(self, features: ImageFeatures, memory: Memory) -> list[Mask | None]:
        """Return the masks in the next frame, at its own size; None for what is not visible in it."""
        session, number = memory.session, memory.frames
        half = len(features.arrays) // 2
        maps, positions = list(features.arrays[:half]), list(features.arrays[half:])
        session.cache.cache_vision_features(number, {"vision_feats": maps, "vision_pos_embeds": positions})
        pixels = maps[-1].new_empty(0)  # not used where there are features
        with self._computing():
            outputs = self._model(inference_session=session, frame=pixels, frame_idx=number)
        memory.frames += 1
        session.processed_frames.clear()
        session.cache.clear_all()
        self._forget(session, number)
        return [
            to_mask(logits, features.size) if (logits > 0).any() else None
            for logits in outputs.pred_masks[:, 0].float().cpu().numpy()
        ]

    def _forget(self, session: Any, number: int) -> None:  # noqa: ANN401 - of transformers
        """Drop what no later frame needs: large masks, features of old frames, pointers of older ones."""
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
