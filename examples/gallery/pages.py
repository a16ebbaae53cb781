"""The gallery as Markdown: docs/gallery.md with what the server said, and the shorter one in README.md."""

from collections.abc import Iterable
from dataclasses import dataclass

from examples.gallery.cases import Case

OPENING = "people"  # stands at the top of the README
ONLY_HERE = {OPENING, "warehouse", "shelf"}  # not in the README's short gallery
BEGIN, END = "<!-- gallery -->\n", "<!-- /gallery -->\n"


@dataclass(frozen=True)
class Played:
    """A case, the calls that were made, the last answer, what an assistant can say, and the picture."""

    case: Case
    calls: list[str]
    answer: str
    said: str
    picture: bytes


@dataclass(frozen=True)
class Unplayed:
    """A case that needs a key or a model, and so has no picture yet."""

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

Set `DINOX_API_KEY`, or `pip install 'dinox-mcp[local]'`. Each program draws its picture into `out/`.
"""


def page(played: Iterable[Played]) -> str:
    """Write docs/gallery.md."""
    parts = [_HEAD, *(_section(one) for one in played), _TAIL, *(_unplayed(one) for one in UNPLAYED)]
    return "\n".join(parts)


def with_gallery(readme: str, played: Iterable[Played]) -> str:
    """Put the short gallery between its marks: most cases, without the answers that the model reads."""
    before, _, rest = readme.partition(BEGIN)
    cases = [_short(one) for one in played if one.case.name not in ONLY_HERE]
    return before + BEGIN + "\n".join(cases) + "\n" + _to_be_made() + END + rest.partition(END)[2]


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


def _short(one: Played) -> str:
    case = one.case
    return (
        f"### {case.title}\n\n> {case.question}\n\n{_code(one.calls)}\n"
        f"![{case.alt}](docs/gallery/{case.name}.jpg)\n\n{one.said}\n"
    )


def _to_be_made() -> str:
    """Say which pictures are missing, and why."""
    rows = [f"| {one.title} | {one.question} | {' → '.join(f'`{call}`' for call in one.calls)} |" for one in UNPLAYED]
    return "\n".join(
        (
            "### With a key or a local model",
            "",
            "These have no picture yet: this was written without a key and without published weights of local models,",
            "and we show no result that we did not get. [The gallery](docs/gallery.md#with-a-key-or-a-local-model) has",
            "the programs.",
            "",
            "| | question | calls |",
            "|---|---|---|",
            *rows,
            "",
        )
    )


def _code(calls: Iterable[str]) -> str:
    return "\n".join(("```text", *calls, "```", ""))
