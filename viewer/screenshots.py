# ruff: noqa: INP001 - a script, no package
"""Take the pictures of docs/viewer.md and docs/compare.md: what the embedded backend finds, on the page.

python viewer/screenshots.py (needs Chromium and playwright; run it in the repository's root)
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.viewer.page import PageFile
from examples.compare_images import painted

SAMPLE = Path("examples/sample.png")
DOCS = Path("docs")


async def main() -> None:
    """Write the pages, open them, the first at two sizes, and take their pictures."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        async with Detector(Settings.load(backend="embedded")) as detector:
            page = PageFile(file, 1, opens=False)
            await page.add(detector, await detector.detect(str(SAMPLE)))
            page.finish()
            changes = PageFile(Path(folder) / "changes.html", 2, opens=False)
            await changes.add_comparison(detector, await detector.compare(*painted()))
            changes.finish()
        async with async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            wide = await _open(browser, file, width=1180, height=680, scheme="light")
            await wide.locator("#list li", has_text="QR code").first.click()
            await wide.screenshot(path=DOCS / "viewer.jpg", type="jpeg", quality=88)
            phone = await _open(browser, file, width=390, height=760, scheme="dark")
            await phone.screenshot(path=DOCS / "viewer-phone.jpg", type="jpeg", quality=88)
            compared = await _open(browser, Path(folder) / "changes.html", width=1000, height=510, scheme="light")
            await compared.locator("#change-2").click()
            await compared.screenshot(path=DOCS / "compare-page.jpg", type="jpeg", quality=80)
            await browser.close()


async def _open(browser: Browser, file: Path, *, width: int, height: int, scheme: str) -> Page:
    page = await browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    await page.goto(file.as_uri())
    await page.wait_for_timeout(1500)  # its policy lets nobody wait in the page for the picture
    return page


if __name__ == "__main__":
    asyncio.run(main())
