"""How close the results of the operators of an int8 file are to those in float."""

import json
import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.quantization import calibration
from pipeline.quantization.simulation import Simulation

FIRST = 1  # operators of the file before the first step: the QUANTIZE of the input
COLOURS = ("#d73027", "#fee08b", "#1a9850")  # of the least, the middle and the largest ratio
MOST_DB = 100.0  # where nothing differs


def signal_to_noise(made: Simulation, images: npt.NDArray[Any]) -> list[float]:
    """Compare every operator with the float network, weights as they were before training.

    `10 log10(sum f^2 / sum (f - q)^2)`, with `f` in float and `q` in int8.

    Args:
        made: With its trained weights and ranges.
        images: Raw, [N, H, W, C] in 0..255.

    Returns:
        Decibels per step of the network; 100 where the two are equal.
    """
    net = made.network
    values = [made.tensors[id(step.makes[0])] for step in net.steps]
    pixels = images.astype(np.float32)
    received = keras.Model(made.model.input, values)(pixels, training=False)
    scaled = pixels * np.float32(net.scale) + np.float32(net.offset)
    expected = list(calibration.floating(net, scaled))[1:]  # the first is the image
    found = []
    for (_, float_values), int8_values in zip(expected, received, strict=True):
        whole = np.asarray(float_values, np.float64)
        noise = float(np.sum((whole - np.asarray(int8_values, np.float64)) ** 2))
        signal = float(np.sum(whole**2))
        ratio = 10 * math.log10(signal / noise) if signal and noise else MOST_DB
        found.append(min(ratio if noise else MOST_DB, MOST_DB))
    return found


def overlay(ratios: list[float]) -> str:
    """The ratios as node data that Google's Model Explorer lays over the graph of the file.

    Source: https://github.com/google-ai-edge/model-explorer/wiki.
    """
    stops = zip((0.0, 0.5, 1.0), COLOURS, strict=True)
    data = {
        "name": "signal to noise of int8, dB",
        "results": {str(FIRST + n): {"value": round(db, 1)} for n, db in enumerate(ratios)},
        "gradient": [{"stop": stop, "bgColor": colour} for stop, colour in stops],
    }
    return json.dumps(data, indent=1)
