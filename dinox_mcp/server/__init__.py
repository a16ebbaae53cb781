"""The MCP server: tools, resources, prompts and transports over one detector."""
