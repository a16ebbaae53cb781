"""Videos: what is where from when to when, in as few questions as a setting allows.

    detect       what may be asked of a video, and where its files go
    run          the way of a call: read, ask about key frames, track, draw, sum up
    job          a video that is open, and the plan for it
    keys         key frames, and what leads from one to the next
    source       which files are read as videos, and the guards before them
    container    opening a video with FFmpeg, and choosing its main stream
    scan         how long a video is, and when each frame is shown
    timeline     one clock, where the time stamps of a file jump or go back
    orientation  which way up frames are shown
    frames       decoding, frame by frame
    sampling     which frames are key frames, and so how many questions there are
    flow         where boxes go from one key frame to the next, seen in the pixels between
    motion       where a track should be by now (Kalman filter)
    matching     which of the boxes found is which track's (optimal assignment)
    looks        what things look like, to tell those that cross apart
    trail        one track: where it is, and what was read on it
    tracking     all tracks over the key frames of a video
    drawing      the annotated frames and the contact sheet
    encoding     H.264 files
    output       the files of a call, as it goes
    record       what the backend answered so far
    summary      what is said of the tracks
    schema       the answer
    terminal     the command line

PyAV (the extra `video`) is imported only where a video is read or written.
"""
