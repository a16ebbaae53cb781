"""Two images of one scene: what appeared, disappeared, moved, or changed between them.

    comparison     the values: a comparison and its changes
    registration   which pixel of one image shows what a pixel of the other shows
    regions        where the registered images differ, however the light and the compression differ
    matching       which detection of one image is which of the other
    run            all of this in order, from two images with their detections to a comparison
    drawing        both images side by side, with the changes drawn

Import the modules: the package itself loads nothing.
"""
