import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from dinox_mcp.backends.registry import Backends, installed
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, SettingsError, UnsupportedError
from dinox_mcp.settings import Settings
from tests.fakes import FakeBackend

pytestmark = pytest.mark.anyio

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the example plug-in the way pip does: its module and its metadata on the path."""
    site = tmp_path / "site"
    metadata = site / "dinox_mcp_color-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(PLUGIN / "color_backend.py", site)
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: 0.1.0\n")
    for group, entries in project["entry-points"].items():
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.delitem(sys.modules, "color_backend", raising=False)
    monkeypatch.syspath_prepend(site)
    return site


@pytest.mark.parametrize(("weights", "without_key"), [(True, "local"), (False, "embedded")])
def test_auto_is_the_cloud_with_a_key_else_local_where_its_weights_are_else_embedded(
    monkeypatch: pytest.MonkeyPatch, weights: bool, without_key: str
) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.has_torch", lambda: True)
    monkeypatch.setattr("dinox_mcp.backends.local.is_here", lambda _settings: weights)
    assert Backends(Settings.load()).choose() == without_key
    assert Backends(Settings.load()).choose(caller_has_key=True) == "dinox"
    assert Backends(Settings.load(api_key="k")).choose() == "dinox"
    assert Backends(Settings.load(api_key="k", backend="embedded")).choose() == "embedded"


def test_a_backend_that_is_not_ready_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.has_torch", lambda: True)
    monkeypatch.setattr("dinox_mcp.backends.local.is_here", lambda _settings: False)
    lacks = Backends(Settings.load()).unready()
    assert list(lacks) == ["dinox", "local"]
    assert "DINOX_API_KEY" in lacks["dinox"].remedy
    assert lacks["local"].remedy.startswith("run dinox-mcp pull balanced")
    assert (lacks["dinox"].installed, lacks["local"].installed) == (False, True)


def test_a_backend_is_created_once() -> None:
    backends = Backends(Settings.load())
    assert backends.get("embedded") is backends.get("embedded")


async def test_the_example_plug_in_is_a_backend_like_any_other(plugin: Path) -> None:
    image = Image.new("RGB", (200, 100), "white")
    ImageDraw.Draw(image).rectangle((20, 10, 59, 49), fill="red")
    ImageDraw.Draw(image).rectangle((120, 30, 179, 89), fill="blue")
    image.save(plugin / "shapes.png")
    async with Detector(Settings.load(backend="color")) as detector:
        everything = await detector.detect(str(plugin / "shapes.png"))
        red = await detector.detect(str(plugin / "shapes.png"), "red")
        with pytest.raises(UnsupportedError, match="forklift"):
            await detector.detect(str(plugin / "shapes.png"), "forklift")
    assert [(found.label, found.bbox) for found in red.objects] == [("red", (20, 10, 60, 50))]
    assert everything.counts == {"red": 1, "blue": 1}
    assert (everything.backend, everything.model) == ("color", "hue")


def test_the_example_plug_in_is_short() -> None:
    assert len((PLUGIN / "color_backend.py").read_text().splitlines()) < 50


def test_a_plug_in_that_does_not_load_says_so(plugin: Path) -> None:
    (plugin / "color_backend.py").write_text("import a_module_that_is_not_there")
    backends = Backends(Settings.load())
    with pytest.raises(SettingsError, match=r"'color' .*does not load.*a_module_that_is_not_there"):
        backends.get("color")
    assert "does not load" in str(next(each for each in backends.describe() if each["name"] == "color")["error"])


def test_backends_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.has_torch", lambda: False)
    described = {each["name"]: each for each in Backends(Settings.load()).describe()}
    models = {name: {model["name"]: model for model in each["models"]} for name, each in described.items()}
    assert described["embedded"]["chosen"] is True
    assert models["dinox"]["DINO-X-1.0"]["outputs"] == ["caption", "category", "hands", "masks", "pose", "text"]
    assert models["dinox"]["T-Rex-2.0"]["answers"] == [
        "examples",
        "examples in other images",
        "points as examples",
        "saved prompts",
    ]
    assert models["local"]["balanced"]["labels"] == "any noun"
    assert "QR code" in models["embedded"]["embedded"]["labels"]
    assert set(installed()) >= {"dinox", "local", "embedded"}


async def test_one_backend_that_fails_to_close_keeps_no_other_open() -> None:
    class Broken(FakeBackend):
        async def aclose(self) -> None:
            raise RuntimeError("stuck")

    good = FakeBackend(name="good")
    with pytest.raises(BackendError, match="broken: stuck"):
        await Backends(Settings.load(), [good, Broken(name="broken")]).aclose()
    assert good.closed
