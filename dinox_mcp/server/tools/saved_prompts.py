"""The tools that keep visual prompts under a name."""

from typing import Annotated

from mcp.types import CallToolResult, TextContent

from dinox_mcp.detector import Detector
from dinox_mcp.server import parameters as p
from dinox_mcp.server.arguments import PlainSpokenServer
from dinox_mcp.server.parameters import offered
from dinox_mcp.server.replies import SavedPromptReply, saved_prompt_reply
from dinox_mcp.server.requests import RequestContext, caller_of, progress_of, tool_errors
from dinox_mcp.server.tools.register import tool


def register(mcp: PlainSpokenServer, detector: Detector) -> None:
    """Add the tools."""

    @tool(mcp, "Save a visual prompt", read_only=False, needs="saved prompts")
    async def save_prompt(
        name: p.PromptName,
        image: p.SameImage,
        examples: p.Examples,
        ctx: RequestContext,
        label: p.PromptLabel = None,
        model: p.Model = None,
    ) -> Annotated[CallToolResult, SavedPromptReply]:
        """Keep what examples look like under a name, for detect_by_example in any picture later ({"saved": name}).

        A prompt of the same name is replaced. It works with the model that made it.
        """
        with tool_errors():
            chosen = offered(model, detector, caller_of(ctx))
            prompt = await detector.save_prompt(
                name,
                image,
                examples,
                label=label,
                model=chosen,
                caller=caller_of(ctx),
                progress=progress_of(ctx),
            )
            return saved_prompt_reply(prompt)

    @tool(
        mcp,
        "Delete a visual prompt",
        read_only=False,
        destructive=True,
        structured_output=False,
        needs="saved prompts",
    )
    async def delete_prompt(name: p.PromptName, ctx: RequestContext) -> CallToolResult:
        """Delete a prompt that save_prompt has saved."""
        with tool_errors():
            detector.saved.delete(name, caller_of(ctx).tenant)
            left = ", ".join(detector.saved.list(caller_of(ctx).tenant)[:20]) or "none"
            return CallToolResult(content=[TextContent(text=f"Deleted the saved prompt {name!r:.80}. Left: {left}.")])
