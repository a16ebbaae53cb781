"""Checks a converted model against what TensorFlow.js itself answers to the same input (recorded by record.mjs)."""

import json
import os
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported: its wheel for Linux reports its use

import numpy as np
import onnx
import onnxruntime
from models import EXACT, Model, sample_input
from tfjs import Array

_RECORDED = Path(__file__).with_name("recorded.json")

# Differences are compared with this where an output has no larger value: the probability that a hand is seen is nearly
# 0 in a picture without one.
_SMALLEST = 0.01

# A height and a width that are not NanoDet's own, and its strides: each has one row for each of its cells.
_OTHER_SIDES = (96, 160)
_STRIDES = {"Identity": 8, "Identity_1": 16, "Identity_2": 32, "Identity_3": 8, "Identity_4": 16, "Identity_5": 32}


def verify(model: Model, converted: onnx.ModelProto, stored: onnx.ModelProto) -> tuple[float, float]:
    """Compare a model, before and after its weights are stored in fewer bytes, with the record.

    Returns:
        How far the answers with float32 weights and with stored weights are from the recorded ones.

    Raises:
        ValueError: They differ by more than the model's tolerance.
    """
    recorded = json.loads(_RECORDED.read_text(encoding="utf-8"))["models"][model.name]
    differences = []
    for kind, made, tolerance in (("float32", converted, EXACT), (model.storage, stored, model.tolerance)):
        answer = run(made, sample_input(model))
        if answer.keys() != recorded.keys():
            raise ValueError(f"{model.name} has the outputs {sorted(answer)}, recorded are {sorted(recorded)}")
        worst = max(_difference(answer[name], recorded[name]) for name in recorded)
        if not worst <= tolerance:
            raise ValueError(f"{model.name} ({kind}) differs from TensorFlow.js by {worst:.2g}, allowed is {tolerance}")
        differences.append(worst)
    if model.free_size:
        _check_other_size(model, stored)
    return differences[0], differences[1]


def run(model: onnx.ModelProto, value: Array) -> dict[str, Array]:
    """Run a model on an input; gives its outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: value}), strict=True))


def _difference(answer: Array, recorded: dict[str, Any]) -> float:
    """Say how far an output is from the recorded one, as a part of the largest recorded value.

    Of a long output only every 61st value is recorded; its mean and root mean square stand for all of them.
    """
    if list(answer.shape) != recorded["shape"]:
        raise ValueError(f"an output has the shape {answer.shape}, recorded is {recorded['shape']}")
    values = np.array(recorded["values"])
    exact = answer.astype(np.float64).reshape(-1)
    distances = [
        np.abs(exact[:: recorded["step"]] - values).max(),
        abs(exact.mean() - recorded["mean"]),
        abs(np.sqrt(np.square(exact).mean()) - recorded["rms"]),
    ]
    return float(max(distances) / max(np.abs(values).max(), _SMALLEST))


def _check_other_size(model: Model, stored: onnx.ModelProto) -> None:
    """Check that a picture of another size, not a square, gives rows for exactly its cells."""
    height, width = _OTHER_SIDES
    answer = run(stored, sample_input(model)[:, :, :height, :width])
    for name, stride in _STRIDES.items():
        expected = (height // stride) * (width // stride)
        if answer[name].shape[1] != expected:
            raise ValueError(f"{model.name} gives {answer[name].shape[1]} rows for {name}, expected are {expected}")
