"""Keeps the README's table of settings true to the settings: `python -m tests.readme` writes it, a test compares."""

from pathlib import Path

from pydantic import SecretStr

from dinox_mcp.settings import Settings, environment_name

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->\n"


def settings_table() -> str:
    """Write a row for each option."""
    rows = ["| variable | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, (), SecretStr("")) else f"`{field.default}`"
        rows.append(f"| `{environment_name(name)}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """Put the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + settings_table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
