"""The command line, run in a folder with two QR codes, a blank image and a broken one."""

from pathlib import Path

import cv2
import pytest
from PIL import Image

from dinox_mcp.cli.main import main
from tests.fakes import png
from tests.install.conftest import home, install  # noqa: F401 - fixtures of test_install.py


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command line with the backend that needs nothing; give status, stdout and stderr."""
    status = 0
    try:
        main(arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def save_code(text: str, name: str) -> None:
    code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode(text), 4, 4, 4, 4, 0, value=255)
    Image.fromarray(code).resize((200, 200), Image.Resampling.NEAREST).save(name)


@pytest.fixture(autouse=True)
def qr_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with two pictures of a QR code, one blank picture and one file that is no picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("DINOX_MCP_BACKEND", "embedded")
    for name in ("one", "two"):
        save_code(f"parcel {name}", f"{name}.png")
    Path("blank.png").write_bytes(png())
    Path("broken.png").write_text("no picture")
