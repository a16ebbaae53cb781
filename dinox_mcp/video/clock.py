"""Times as people read them."""


def clock(time: float) -> str:
    """Write seconds as minutes and seconds: 62.5 is 1:02.5."""
    minutes, seconds = divmod(round(time, 1), 60)
    return f"{int(minutes)}:{seconds:04.1f}"
