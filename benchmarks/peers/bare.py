"""The least that a server of the same SDK can be: one trivial tool over stdio."""

from mcp.server import MCPServer

mcp = MCPServer("bare")


@mcp.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


if __name__ == "__main__":
    mcp.run("stdio")
