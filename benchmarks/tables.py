"""What is printed: one table a question, in Markdown that can be read as it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

NOT_MEASURED = "-"


@dataclass
class Table:
    """One question and its answers: a row a figure, a column a contender, and the goal.

    `remarks` are sentences below the table.
    """

    title: str
    contenders: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, what: str, *figures: str, goal: str = "", met: bool | None = None) -> None:
        """Add a row; `met` says whether ours reaches the goal."""
        mark = {None: "", True: ": met", False: ": MISSED"}[met]
        padding = [NOT_MEASURED] * (len(self.contenders) - len(figures))
        self.rows.append([what, *figures, *padding, goal + mark])

    def __str__(self) -> str:
        lines = [["", *self.contenders, "goal"], *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:-1]), "-" * widths[-1]]
        first, *rest = widths
        table = "\n".join(
            "| "
            + " | ".join([line[0].ljust(first), *map(str.rjust, line[1:-1], rest), line[-1].ljust(rest[-1])])
            + " |"
            for line in [lines[0], rule, *lines[1:]]
        )
        return "\n\n".join([f"## {self.title}", table, *self.remarks])
