"""What goes out: boxes, masks, numbered tags, crops, and the bytes of a picture.

    style      what is drawn
    annotate   objects on a picture
    skeletons  bodies and hands
    words      what is written about an object
    dots       objects to be counted
    strokes    lines and dots of both
    tags       the tag of one object, made of ink from `text`, set in one of the `faces` (and `fonts`)
    layout     where a tag goes
    tagging    the tags of a picture, of its `shapes`
    legend     what has no room on tags, beside the picture, in lines from `wrap`
    trails     where tracked objects came from
    colors     one colour per label or number
    crops      a part of a picture
    sheet      frames side by side
    encode     pictures as bytes

Nothing here knows of backends, files or MCP. Import the modules: the package itself loads nothing.
"""
