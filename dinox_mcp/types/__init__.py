"""Values that every part of the package speaks: detections, boxes, masks, keypoints."""
