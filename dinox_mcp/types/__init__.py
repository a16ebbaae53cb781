"""Values that all parts of the package share: detections, boxes, masks, keypoints."""
