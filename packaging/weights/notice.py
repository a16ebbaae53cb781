"""Writes what stands beside the models: where they come from and under which licence, and their sizes and hashes."""

import hashlib
import json
import textwrap

from models import Model
from source import PACKAGE, VERSION

_BEGINNING = f"""\
The neural networks in this folder
==================================

They were taken from the npm package {PACKAGE}, version {VERSION}, by Vladimir Mandic,
which holds them as graph models of TensorFlow.js, and converted by packaging/weights/make.py of dinox-mcp.
Nothing was trained anew.

The networks are under the Apache License, version 2.0, of which dinox-mcp's own LICENSE is a copy
(https://www.apache.org/licenses/LICENSE-2.0). The npm package that collects them is under the MIT License, which
stands at the end.
"""
_CHANGES = {
    "int8": "Converted to ONNX. The weights of convolutions are stored as int8 with a float32 factor for each channel, "
    "larger other constants as float16.",
    "float16": "Converted to ONNX. Weights are stored as float16, which changes no value.",
}
_FREE_SIZE = " Height and width of the input are free (multiples of 32)."


def manifest(files: dict[str, bytes]) -> str:
    """Write the size and SHA-256 of each file, which dinox-mcp compares when it loads one."""
    entries = {name: {"size": len(content), "sha256": _sha256(content)} for name, content in files.items()}
    return json.dumps(entries, indent=2) + "\n"


def notice(models: dict[Model, bytes], package_license: str) -> str:
    """Write where each file comes from, who made it, its licence and what was changed."""
    parts = [_BEGINNING]
    for model, content in models.items():
        rows = {
            "Source": f"{PACKAGE} {VERSION}: models/{model.name}.json, models/{model.name}.bin",
            "Project": model.project,
            "Authors": model.authors,
            "Licence": "Apache-2.0",
            "Changes": _CHANGES[model.storage] + (_FREE_SIZE if model.free_size else ""),
            "Size": f"{len(content)} bytes",
            "SHA-256": _sha256(content),
        }
        title = f"{model.name}.onnx"
        lines = [title, "-" * len(title)]
        for key, text in rows.items():
            lines += textwrap.wrap(f"{key + ':':<9}{text}", 118, subsequent_indent=" " * 9)
        parts.append("\n".join(lines) + "\n")
    title = f"Licence of {PACKAGE}"
    parts.append(f"{title}\n{'-' * len(title)}\n{package_license.strip()}\n")
    return "\n".join(parts)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
