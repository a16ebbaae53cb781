"""Recipes that a person picks in the host (MCP prompts), and completions for what they fill in."""

from collections.abc import Sequence
from contextlib import suppress

from mcp.server import MCPServer
from mcp.types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from dinox_mcp.detector import Detector
from dinox_mcp.errors import DinoxError
from dinox_mcp.types.detection import DetectionResult

_MAX_COMPLETIONS = 100
_LABEL_ARGUMENTS = {"what", "items"}


def register(mcp: MCPServer) -> None:
    """Add the prompts to a server."""

    @mcp.prompt(title="Count objects")
    def count_objects(image: str, what: str) -> str:
        """Count things in an image, with evidence."""
        return (
            f"Count {what} in {image}. Call count_objects with prompts for {what}, then visualize the result and "
            "check it by eye: look for missed ones, doubles and wrong ones, and zoom where you doubt. If it is wrong, "
            "call it again with another min_score, better words, or one of them as an example. Answer with the "
            "number per label, how sure you are, and the numbers of the objects that you doubt."
        )

    @mcp.prompt(title="Describe a scene")
    def describe_scene(image: str) -> str:
        """Describe an image by what is detected in it and where."""
        return (
            f"Describe {image}. Call detect_prompt_free, then visualize the result. Say what there is, how many of "
            "each, where things are in the image (left, right, front, back) and how they stand to each other; quote "
            "text that is readable. Keep to what was detected or can be seen, and say what is uncertain."
        )

    @mcp.prompt(title="Compare two images")
    def compare_pictures(before: str, after: str, what: str = "") -> str:
        """Find what changed between two images."""
        only = f" and prompts for {what}" if what else ""
        return (
            f"Compare {before} (before) with {after} (after). Call compare_images with both{only}, then visualize its "
            "side-by-side image and check each change by eye; zoom where you doubt. List what appeared, disappeared, "
            "moved and reads differently, by label and position, with the counts before and after in a table, and say "
            "which changes you doubt."
        )

    @mcp.prompt(title="Check a safety list")
    def check_safety(image: str, items: str = "hard hat, safety vest, fire extinguisher, exit sign") -> str:
        """Check an image against a list of things that must be there."""
        return (
            f"Check {image} against this list: {items}. Call detect_objects with the listed things and person as "
            "prompts, then visualize the result; zoom on each person to see whether what they must wear is on them. "
            "Answer with a table: item, found or missing, how many, object numbers, remark. Not detected is not the "
            "same as not there: say where the view is blocked or the score is low."
        )


def register_completions(mcp: MCPServer, detector: Detector) -> None:
    """Add the completions of what a person fills in."""

    @mcp.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK leaves it untyped
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        # The SDK does not say to this handler who calls: over HTTP, where results have owners, it offers no ids.
        local = detector.settings.transport == "stdio"
        recent = [stored.result for stored in detector.store.recent()] if local else []
        if argument.name in _LABEL_ARGUMENTS:
            return _last_label(argument.value, _known_labels(detector, recent))
        if argument.name in {"image", "before", "after"}:
            values = [f"dinox://results/{result.result_id}" for result in recent]
        elif argument.name == "number":
            chosen = (context.arguments or {}).get("result_id") if context else None
            values = [str(found.id) for result in recent if result.result_id == chosen for found in result.objects]
        elif isinstance(ref, ResourceTemplateReference):
            values = [result.result_id for result in recent]
        else:
            return None
        return _completion([value for value in values if value.startswith(argument.value)])


def _known_labels(detector: Detector, recent: Sequence[DetectionResult]) -> list[str]:
    """List labels worth suggesting: those of closed vocabularies, and of recent results."""
    labels: dict[str, None] = {}
    for name in detector.backends.usable():
        with suppress(DinoxError):  # a suggestion must not fail
            labels |= dict.fromkeys(detector.backends.get(name).capabilities().labels or ())
    for result in recent:
        labels |= dict.fromkeys(result.counts)
    return list(labels)


def _last_label(typed: str, labels: list[str]) -> Completion:
    """Complete the last label of a list that is being typed."""
    head, comma, last = typed.rpartition(",")
    done = f"{head}{comma} " if comma else ""
    return _completion([done + label for label in labels if label.casefold().startswith(last.strip().casefold())])


def _completion(values: list[str]) -> Completion:
    return Completion(values=values[:_MAX_COMPLETIONS], total=len(values), has_more=len(values) > _MAX_COMPLETIONS)
