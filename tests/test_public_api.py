"""The public names of the package: these, and importing them costs nothing before they are used."""

import subprocess
import sys

import pytest

import dinox_mcp

PUBLIC = {
    *("Detector", "Settings", "Options", "VisualPrompt", "Caller", "Picture"),
    *("DetectionResult", "DetectedObject", "Detection", "Count", "SearchResult", "BatchResult", "VideoResult"),
    *("Comparison", "Change"),
    *("Backend", "Call", "Capabilities", "DetectionRequest", "Detections", "Fit", "Model", "Unready"),
    *("DinoxError", "InputError", "BackendError", "errors"),
    *("Style", "write_annotated", "to_coco", "masks", "build_server", "Exported", "ExportOptions"),
}


def test_the_public_names_are_these() -> None:
    assert set(dinox_mcp.__all__) == PUBLIC
    assert set(dir(dinox_mcp)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_leads_to_what_is_called_so(name: str) -> None:
    found = getattr(dinox_mcp, name)
    assert found.__name__.rpartition(".")[2] == name
    assert found.__doc__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'dinox_mcp' has no attribute 'Asker'"):
        dinox_mcp.Asker  # noqa: B018 - the access is what is tested


def test_importing_the_package_imports_nothing() -> None:
    program = "import sys; before = set(sys.modules); import dinox_mcp; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert run.stdout.split() == ["dinox_mcp"]
