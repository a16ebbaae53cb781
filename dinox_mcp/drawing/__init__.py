"""What goes out as an image: boxes, masks, numbered tags, crops, and encoded images.

    views      encoded images for replies, resources and files; crops
    output     annotated images written into files
    annotate   objects drawn on an image, or as numbered dots
    style      what is drawn, and in which colors
    tags       the tag of an object: what it says and how it looks
    layout     where tags are placed
    legend     the descriptions that do not fit on tags
    lines      skeletons of bodies and hands, and trails of tracks
    text       lines of text in any script, and their line breaks
    fonts      the fonts of OpenCV, of Pillow, and of the system
    sheet      frames side by side
    encode     images as bytes

Import the modules: the package itself loads nothing.
"""
