"""Reads a graph model of TensorFlow.js: a JSON file with nodes, and a binary file with the values of its constants."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_TYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "float16": np.dtype("<f2")}


@dataclass(frozen=True)
class Node:
    """One operation of the graph.

    Attributes:
        name: Its name, by which other nodes refer to its outputs.
        operation: What it does, in TensorFlow's words, such as `Conv2D`.
        inputs: For each input, the node that makes it and the number of that node's output.
        attributes: TensorFlow's attributes, still in their JSON form.
    """

    name: str
    operation: str
    inputs: list[tuple[str, int]]
    attributes: dict[str, Any]

    def integer(self, name: str) -> int:
        """Give an attribute that is a whole number; 0 where it is left out, as in protocol buffers."""
        return int(self.attributes.get(name, {}).get("i", 0))

    def real(self, name: str) -> float:
        """Give an attribute that is a real number."""
        return float(self.attributes[name]["f"])

    def flag(self, name: str) -> bool:
        """Give an attribute that is true or false."""
        return bool(self.attributes.get(name, {}).get("b", False))

    def text(self, name: str) -> str:
        """Give an attribute that is a word."""
        return base64.b64decode(self.attributes[name]["s"]).decode()

    def texts(self, name: str) -> list[str]:
        """Give an attribute that is a list of words."""
        words = self.attributes.get(name, {}).get("list", {}).get("s", [])
        return [base64.b64decode(word).decode() for word in words]

    def integers(self, name: str) -> list[int]:
        """Give an attribute that is a list of whole numbers."""
        return [int(number) for number in self.attributes[name]["list"].get("i", [])]

    def type(self, name: str) -> str:
        """Give an attribute that is a type of number, such as `DT_FLOAT`."""
        return str(self.attributes[name]["type"])

    def shape(self) -> tuple[int, ...]:
        """Give the shape that an input of the graph (a `Placeholder`) has."""
        return tuple(int(axis["size"]) for axis in self.attributes["shape"]["shape"]["dim"])


@dataclass(frozen=True)
class Graph:
    """A graph model.

    Attributes:
        nodes: Its operations; each stands after those that it uses.
        constants: The values of the nodes that are constants, by name.
        outputs: The names of the nodes whose results are the model's answer.
    """

    nodes: list[Node]
    constants: dict[str, Array]
    outputs: list[str]


def read(description: bytes, values: bytes) -> Graph:
    """Read a graph model from its JSON file and its binary file."""
    model = json.loads(description)
    signature = model.get("signature") or model["userDefinedMetadata"]["signature"]
    return Graph(
        nodes=[_node(node) for node in model["modelTopology"]["node"]],
        constants=_constants(model["weightsManifest"], values),
        outputs=[output["name"].removesuffix(":0") for output in signature["outputs"].values()],
    )


def _node(node: dict[str, Any]) -> Node:
    inputs = []
    for reference in node.get("input", []):
        if not reference.startswith("^"):  # "^" names a node that has to run before, but whose result is not used
            name, _, number = reference.partition(":")
            inputs.append((name, int(number or 0)))
    return Node(node["name"], node["op"], inputs, node.get("attr", {}))


def _constants(manifest: list[dict[str, Any]], values: bytes) -> dict[str, Array]:
    """Cut the binary file into constants; those stored as float16 become float32, which changes no value."""
    constants: dict[str, Array] = {}
    position = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = _TYPES[entry.get("quantization", entry)["dtype"]]
        count = int(np.prod(entry["shape"]))
        array = np.frombuffer(values, stored, count, position).reshape(entry["shape"])
        constants[entry["name"]] = array.astype(_TYPES[entry["dtype"]])
        position += array.nbytes
    if position != len(values):
        raise ValueError(f"the constants take {position} bytes, but the binary file has {len(values)}")
    return constants
