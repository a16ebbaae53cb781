"""The gallery as Markdown: docs/gallery.md, with the questions, the calls, the images and the replies."""

from collections.abc import Iterable
from dataclasses import dataclass

from examples.gallery.cases import Case

OPENING = "people"
"""The case whose image opens the README."""


@dataclass(frozen=True)
class Played:
    """A case, the calls that were made, the last reply, what an assistant can answer, and the image."""

    case: Case
    calls: list[str]
    answer: str
    said: str
    picture: bytes


@dataclass(frozen=True)
class Unplayed:
    """A case that needs a key or a model, and so has no image yet."""

    title: str
    question: str
    calls: tuple[str, ...]
    program: str


UNPLAYED = (
    Unplayed(
        "Checking safety equipment",
        "Does everybody in site.jpg wear a hard hat and a vest?",
        (
            'detect_objects(image="site.jpg", prompts=["person", "hard hat", "safety vest"])',
            'visualize(result="…")',
            'zoom(result="…", object=3)',
        ),
        "python examples/open_vocabulary.py site.jpg person 'hard hat' 'safety vest'",
    ),
    Unplayed(
        "Describing what is there",
        "What are the things on desk.jpg, in a few words each?",
        ('detect_prompt_free(image="desk.jpg", include=["caption", "category"], max_objects=20)',),
        "python examples/region_captions.py desk.jpg",
    ),
)
_HEAD = """# Gallery

<!-- Written by python -m examples.gallery: change the cases there, not this page. -->

Each picture here was drawn by the server in answer to the calls above it, on the embedded backend: without a key, a
download or a GPU. Nothing is retouched. `python -m examples.gallery` makes them again, and a test compares what was
found in most of them.

Things beyond the [80 kinds](backends.md#what-embedded-finds), such as hard hats, and captions need the cloud or a local
model. For these, [the end](#with-a-key-or-a-local-model) has the questions, the calls and the programs, but no
pictures: this was written without a key and without published weights of local models, and we show no result that we
did not get.
"""
_TAIL = """## With a key or a local model

Set `DINOX_API_KEY`, or install a [local model](local.md). Each program draws its picture into `out/`.
"""


def page(played: Iterable[Played]) -> str:
    """Write docs/gallery.md."""
    parts = [_HEAD, *(_section(one) for one in played), _TAIL, *(_unplayed(one) for one in UNPLAYED)]
    return "\n".join(parts)


def _section(one: Played) -> str:
    case = one.case
    return (
        f"## {case.title}\n\n> {case.question}\n\n{_code(one.calls)}\n"
        f"![{case.alt}](gallery/{case.name}.jpg)\n\n{one.said}\n\n"
        f"*{case.about}*\n\n<details markdown><summary>The last answer that the model reads</summary>\n\n"
        f"```text\n{one.answer}\n```\n\n</details>\n"
    )


def _unplayed(one: Unplayed) -> str:
    return f"### {one.title}\n\n> {one.question}\n\n{_code(one.calls)}\n```sh\n{one.program}\n```\n"


def _code(calls: Iterable[str]) -> str:
    return "\n".join(("```text", *calls, "```", ""))
