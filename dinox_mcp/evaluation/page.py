"""The report as one HTML page that loads nothing: figures, curves, categories, confusion, thresholds, worst images."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path

import numpy as np

from dinox_mcp import __version__
from dinox_mcp.evaluation.charts import bar, line_chart, scatter_chart, small_chart
from dinox_mcp.evaluation.matching import RECALLS
from dinox_mcp.evaluation.mistakes import SCORES, Confusion, Mistakes
from dinox_mcp.evaluation.precision import Precision
from dinox_mcp.evaluation.report import FREQUENCIES, PUBLISHED, Report, Row, category_rows, count_rows, percent, tables
from dinox_mcp.evaluation.tuning import CountErrorsByThreshold
from dinox_mcp.evaluation.worst import WorstImage
from dinox_mcp.types.text import number_of

STYLE = Path(__file__).with_name("page.css")
_MAX_CONFUSED = 15  # categories of the table of confusions
_SMALL_CHARTS = 12
_MAX_ROWS = 2000
_MAX_POINTS = 5000
_SHADES = 4
_HIGHEST, _STEEPEST = 3, 50
"""A chart of wrong counts ends at three times the best value, or somewhat above where that is next to nothing."""
_MAIN = ("AP", "AP50", "AP75", "AR", *(f"AP {name}" for name in FREQUENCIES.values()))
"""The figures at the top of the page."""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What the page shows; parts that are None are left out.

    Attributes:
        report: the figures.
        own: the model's own threshold, which the mistakes are those at.
        errors: how many objects are counted wrongly by threshold.
        precision: the figures by the first rules.
        mistakes: what is right, wrong and missed.
        worst: the images with most mistakes.
        points: pairs of labelled and found counts.
    """

    report: Report
    own: float
    errors: CountErrorsByThreshold | None
    precision: Precision | None = None
    mistakes: Mistakes | None = None
    worst: Sequence[WorstImage] = ()
    points: Sequence[tuple[int, int]] = ()

    def html(self) -> str:
        """Write the page."""
        return document(f"Evaluation of {Path(self.report.annotations).name}", "".join(self._sections()))

    def _sections(self) -> Iterator[str]:
        report = self.report
        yield from heading(report)
        yield '<div class="two">'
        for title, rows in tables(report):
            is_published = rows[0][0] == PUBLISHED
            yield f"<section><h2>{escape(title)}</h2>{table(rows, last_is_ours=is_published)}"
            if is_published and report.published:
                sources = dict.fromkeys(one.source for one in report.published.models)
                yield f'<p class="faint">Not measured here: {escape("; ".join(sources))}.</p>'
            yield "</section>"
        yield "</div>"
        if self.precision is not None:
            yield from self._curves(self.precision)
        yield from self._thresholds()
        if report.precision or report.counts:
            yield from self._categories()
        if self.mistakes is not None and len(report.precision[0].categories) > 1:
            yield from self._confusion(self.mistakes.confusion(_MAX_CONFUSED))
        if self.worst:
            yield from self._worst()

    def _curves(self, precision: Precision) -> Iterator[str]:
        known = ~np.isnan(precision.curves[:, 0, 0])
        if not known.any():
            return
        curves = precision.curves[known]
        similarity = "OKS" if self.report.iou == "keypoints" else "IoU"
        lines = {
            f"{similarity} 0.50": curves[:, 0].mean(axis=0),
            f"{similarity} 0.75": curves[:, 5].mean(axis=0),
            f"mean of {similarity} 0.50 to 0.95": curves.mean(axis=(0, 1)),
        }
        yield "<h2>Precision and recall</h2>"
        yield '<p class="faint">The mean over the categories that are labelled; the area below a line is its AP.</p>'
        yield f'<div class="two">{line_chart("All categories", RECALLS, lines, ("recall", "precision"))}<div>'
        if len(curves) > 1:
            yield '<div class="smalls">'
            order = np.argsort(-precision.labelled, kind="stable")
            for place in [place for place in order.tolist() if known[place]][:_SMALL_CHARTS]:
                figures = self.report.precision[0].categories[place]
                yield small_chart(figures.name, percent(figures.ap50), RECALLS, precision.curves[place, 0])
            yield f'</div><p class="faint">The most labelled categories at {similarity} 0.50, with their AP50.</p>'
        yield "</div></div>"

    def _thresholds(self) -> Iterator[str]:
        charts = []
        marks = {f"the model's own threshold, {self.own:g}": self.own}
        if self.mistakes is not None:
            axes = ("min_score", "share")
            charts.append(line_chart("Found objects by threshold", SCORES, self.mistakes.by_score(), axes, marks))
        if self.errors is not None:
            if self.report.tuned:
                best = self.report.tuned.min_score
                marks[f"best for counting with all labels, {best:g}"] = best
            curve = self.errors.curve
            highest = _HIGHEST * max(float(curve.min()), float(curve.max()) / _STEEPEST)
            lines = {"found too many and too few": curve}
            title = "Objects counted wrongly in an image, by threshold"
            axes = ("min_score", "objects")
            charts.append(line_chart(title, self.errors.thresholds, lines, axes, marks, highest))
        if self.points:
            axes = ("labelled", "found")
            charts.append(scatter_chart("Counts of labels in images", self.points[:_MAX_POINTS], axes))
        if charts:
            yield f'<h2>Thresholds</h2><div class="two">{"".join(charts)}</div>'

    def _categories(self) -> Iterator[str]:
        report = self.report
        yield "<h2>Categories</h2>"
        if report.counts:
            yield table(count_rows(report.counts[1 : _MAX_ROWS + 1]), tall=True)
            return
        rows = category_rows(report)
        if report.tuned:
            rows[0].append("best for counting")
            for row in rows[1:]:
                best = report.tuned.labels.get(row[0])
                row.append("" if best is None else f"{best:g}")
        yield table(rows[: _MAX_ROWS + 1], tall=True, bars=rows[0].index("AP"))
        if len(rows) > _MAX_ROWS + 1:
            yield f'<p class="faint">{len(rows) - 1 - _MAX_ROWS:,} more are in report.json.</p>'

    def _confusion(self, confusion: Confusion) -> Iterator[str]:
        categories = self.report.precision[0].categories
        names = [categories[place].name for place in confusion.categories.tolist()]
        last = len(names) + 1
        yield "<h2>Confusion</h2>"
        yield (
            f'<p class="faint">At the model\'s own threshold, {self.own:g}. Rows are what is labelled, columns what '
            "was found at the same place; the categories with most mistakes, and all others together.</p>"
        )
        heads = "".join(f"<th><span>{escape(name)}</span></th>" for name in [*names, "others", "not found"])
        body = []
        for row, name in enumerate([*names, "others", "nothing labelled"]):
            total = max(int(confusion.table[row].sum()), 1)
            cells = [
                _confused(int(number), number / total, right=row == column)
                for column, number in enumerate(confusion.table[row].tolist())
            ]
            if row == last:
                cells[-1] = "<td></td>"
            body.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
        yield (
            f'<div class="scroll"><table class="confusion"><thead><tr><th></th>{heads}</tr></thead>'
            f"<tbody>{''.join(body)}</tbody></table></div>"
        )

    def _worst(self) -> Iterator[str]:
        yield "<h2>Images with most mistakes</h2>"
        yield f'<p class="faint">The {len(self.worst)} with most mistakes, at the threshold {self.own:g}.</p>'
        yield (
            '<p class="key"><span><i class="right"></i>right</span><span><i class="wrong"></i>found, and not labelled '
            'so</span><span><i class="missed"></i>labelled, and not found</span></p><div class="images">'
        )
        for one in self.worst:
            yield f"<figure>{one.svg}<figcaption><b>{escape(one.name)}</b>: {escape(one.summary)}</figcaption></figure>"
        yield "</div>"


def document(title: str, body: str) -> str:
    """Make a page of its parts. Its policy allows its own style sheet and images, and no request to leave it."""
    style = STYLE.read_text(encoding="utf-8")
    allowed = base64.b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body><main>\n{body}\n"
        f"<footer>dinox-mcp {__version__}</footer>\n</main></body>\n</html>\n"
    )


def heading(report: Report) -> Iterator[str]:
    """Write the title, what was evaluated, the main figures, and what the reader must know."""
    what = "all categories" if report.prompts == "all" else "only the categories labelled in it"
    yield f"<h1>Evaluation of {escape(Path(report.annotations).name)}</h1>"
    yield (
        f'<p>{report.answered:,} of {report.total:,} images, each searched for {what}.</p><p class="faint">Backend '
        f"{escape(report.backend)}, model {escape(report.model or 'none')}, "
        f"{number_of(report.prompt_count, 'prompt')}, scores from {report.min_score:g}.</p>"
    )
    if report.precision:
        figures = report.precision[0].figures
        shown = [(name, figures[name]) for name in _MAIN if name in figures]
        cards = "".join(f"<li><b>{percent(value)}</b><span>{escape(name)}</span></li>" for name, value in shown)
        yield f'<ul class="figures">{cards}</ul>'
    notes = [*report.notes]
    if report.unknown:
        notes.append(f"{len(report.unknown):,} prompts are unknown to the backend and count as not found")
    if report.failed:
        notes.append(f"{report.failed:,} images could not be answered and are left out")
    if report.stopped:
        notes.append(f"stopped before the end: {report.stopped}")
    if notes:
        yield f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>'


def table(rows: Sequence[Row], *, last_is_ours: bool = False, tall: bool = False, bars: int | None = None) -> str:
    """Write a table, of which the first row has the headings; the percentages of the column `bars` get bars."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = []
    for place, row in enumerate(rows[1:], start=2):
        ours = ' class="ours"' if last_is_ours and place == len(rows) else ""
        cells = [escape(cell) for cell in row]
        if bars is not None and row[bars] != percent(None):
            cells[bars] += bar(float(row[bars]) / 100)
        body.append(f"<tr{ours}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    kind = "scroll tall" if tall else "scroll"
    return (
        f'<div class="{kind}"><table class="wide"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
        "</div>"
    )


def _confused(number: int, share: float, *, right: bool) -> str:
    if not number:
        return "<td></td>"
    shade = min(_SHADES, 1 + int(share * _SHADES))
    return f'<td class="{"g" if right else "h"}{shade}">{number:,}</td>'
