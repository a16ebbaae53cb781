"""The costly pass: a model looks at pictures, several of one size at once where that pays."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import groupby

from dinox_mcp.backends.local.families.base import ImageState, Interrupted, Prepared, check
from dinox_mcp.backends.local.model import Viewer
from dinox_mcp.images.picture import Picture


def look(adapter: Viewer, pictures: Sequence[Picture]) -> list[ImageState | Exception]:
    """Give the model's view of each picture, or why there is none: one that fails does not spoil the others.

    Raises:
        Interrupted: nobody wants to know any more.
    """
    views: dict[int, ImageState | Exception] = {}
    sizes: dict[int, Prepared] = {}
    for place, prepared in enumerate(_prepare_all(adapter, pictures)):
        if isinstance(prepared, Exception):
            views[place] = prepared
        else:
            sizes[place] = prepared

    def size_of(place: int) -> tuple[int, ...]:
        return sizes[place].size_key

    for _, group in groupby(sorted(sizes, key=size_of), key=size_of):
        places = list(group)
        views.update(zip(places, _encode_all(adapter, [sizes.pop(place) for place in places]), strict=True))
    return [views[place] for place in range(len(pictures))]


def _prepare_all(adapter: Viewer, pictures: Sequence[Picture]) -> list[Prepared | Exception]:
    def prepare(picture: Picture) -> Prepared | Exception:
        try:
            pixels = picture.rgb()
            check()  # decoding a large picture takes a while, and so does resizing it
            return adapter.prepare(pixels)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged picture is its asker's problem alone
            return error.with_traceback(None)

    if len(pictures) == 1:
        return [prepare(pictures[0])]
    with ThreadPoolExecutor(len(pictures)) as threads:
        contexts = [copy_context() for _ in pictures]  # without it, `check` in a thread would know of no cancellation
        return list(threads.map(lambda context, picture: context.run(prepare, picture), contexts, pictures))


def _encode_all(adapter: Viewer, batch: Sequence[Prepared]) -> list[ImageState | Exception]:
    try:
        return list(adapter.encode(batch))
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - the model's code may raise anything, such as "out of memory"
        if len(batch) == 1:
            return [error.with_traceback(None)]  # a traceback would keep its tensors in memory
    return [view for one in batch for view in _encode_all(adapter, [one])]
