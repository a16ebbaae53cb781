"""`python -m dinox_mcp` is `dinox-mcp`."""

from dinox_mcp.cli.main import main

if __name__ == "__main__":
    main()
