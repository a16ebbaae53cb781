"""Eyes for AI assistants: an MCP server that finds objects in pictures, exactly."""

__version__ = "0.1.0"
