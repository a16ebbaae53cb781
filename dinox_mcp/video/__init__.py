"""Videos: objects found in key frames, followed between them, counted and drawn.

detect      what there is to choose, and what is refused; the entrance of this folder
run         one call: decode, ask, follow, draw, sum up
key_frames  which frames the backend is asked about, and how boxes move between them
source, scan, timeline, frames
            open a file, read when each frame is shown, repair its clock, decode it
track, tracking
            one track; all tracks, to which detections are assigned
masking     masks in every frame
summary     the result
drawing, output
            what is drawn on frames; the files of a call

PyAV and lap (the extra `video`) are imported only when a video is read.
"""
