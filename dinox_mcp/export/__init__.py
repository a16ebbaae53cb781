"""What is made of a result: crops, cut-outs, redacted copies of the image, and labels for other tools.

    exporter   exports results: what is slow runs in threads
    options    formats, options, and the report of what was made
    plan       an export as files with names, which are made one by one when they are written
    objects    crops and cut-outs
    redact     an image without the pixels of its objects
    labels     the formats of annotation tools and trainers, and CSV
    outlines   polygons around masks
    names      file names that are safe on every system
    output     files in a folder: complete or not at all, never through a link, never over another file unasked
    resources  the same for callers elsewhere: dinox:// URIs

Import the modules: the package itself loads nothing.
"""
