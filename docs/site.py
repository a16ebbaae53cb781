"""Builds the documentation as a site: `python docs/site.py [OUT]` (make docs), by default into build/site.

Pages keep their places (README.md, docs/, benchmarks/, ...), so that a link works in the repository, in an editor and
on the site alike: what mkdocs.yml lists is copied side by side, with every file that a page links to. Needs the
dependency group `docs`.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "mkdocs.yml"
STYLE = ROOT / "docs" / "site.css"
SOURCE = ROOT / "build" / "site-source"
_PAGE = re.compile(r"^\s+- (?:[^:\n]+: )?(\S+\.md)$", re.MULTILINE)
_ENTRY = re.compile(r"^\s+- ([^:\n]+):(?: (\S+\.md))?$", re.MULTILINE)
_LINK = re.compile(r"(\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def listed() -> list[Path]:
    """List the pages of the site, as mkdocs.yml orders them."""
    return [ROOT / name for name in _PAGE.findall(CONFIG.read_text())]


def llms() -> str:
    """Return the site's llms.txt (https://llmstxt.org): for language models, what each page is about."""
    navigation = CONFIG.read_text().partition("\nnav:\n")[2].partition("\ntheme:")[0]
    lines = ["# dinox-mcp", "", f"> {_summary(ROOT / 'README.md')}", "", "## Start", ""]
    for title, name in _ENTRY.findall(navigation):
        if name:
            page = ROOT / name
            lines.append(f"- [{title}]({_address(page)}): {_summary(page)}")
        else:
            lines += ["", f"## {title}", ""]
    return "\n".join([*lines, ""])


def _summary(page: Path) -> str:
    """Return the first sentence of a page's text, without links."""
    text = _FENCED.sub("", re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.DOTALL))
    text = re.sub(r"^[#!|<>].*$", "", text, flags=re.MULTILINE)
    paragraph = next((part for part in re.split(r"\n\s*\n", text) if part.strip()), "")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
    sentence, stop, _ = plain.partition(". ")
    return sentence.rstrip(":") + stop.strip()


def _address(page: Path) -> str:
    """Return the address of a page on the site, from its root."""
    folder = page.relative_to(ROOT).with_suffix("")
    return f"{folder.parent if folder.name in ('README', 'index') else folder}/"


def linked(page: Path) -> list[Path]:
    """List what a page links to in this repository, whether or not it is there."""
    targets = [target for _, target, _ in _LINK.findall(_FENCED.sub("", page.read_text()))]
    return [(page.parent / target).resolve() for target in targets if "://" not in target and ":" not in target[:8]]


def stage(target: Path) -> None:
    """Lay out the site's sources in a folder.

    Raises:
        SystemExit: a page links to what is not there, or to a page that the site does not have.
    """
    pages = listed()
    broken = [
        f"{page.relative_to(ROOT)} links to {file.relative_to(ROOT)}"
        for page in pages
        for file in linked(page)
        if not file.exists() or (file.suffix == ".md" and file not in pages)
    ]
    if broken:
        sys.exit("not on the site:\n" + "\n".join(broken))
    shutil.rmtree(target, ignore_errors=True)
    for page in pages:
        _copy(page, target).write_text(_without_folders(page))
        for file in linked(page):
            if file.is_file() and file.suffix != ".md":
                shutil.copyfile(file, _copy(file, target))
    shutil.copyfile(STYLE, _copy(STYLE, target))
    (target / "llms.txt").write_text(llms(), encoding="utf-8")


def _copy(file: Path, target: Path) -> Path:
    copy = target / file.relative_to(ROOT)
    copy.parent.mkdir(parents=True, exist_ok=True)
    return copy


def _without_folders(page: Path) -> str:
    """Give a page without links to folders: a repository shows them, a site has nothing to show."""

    def unlinked(match: re.Match[str]) -> str:
        return match[1][1:-1] if (page.parent / match[2]).is_dir() else match[0]

    return _LINK.sub(unlinked, page.read_text())


def main() -> int:
    """Stage and build; gives the exit status of the builder, which takes warnings for errors."""
    stage(SOURCE)
    builder = Path(sys.executable).with_name("zensical")
    status = subprocess.call([builder, "build", "--strict", "--clean", "--config-file", CONFIG], cwd=ROOT)  # noqa: S603
    if status == 0 and sys.argv[1:]:
        shutil.copytree(ROOT / "build" / "site", sys.argv[1], dirs_exist_ok=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
