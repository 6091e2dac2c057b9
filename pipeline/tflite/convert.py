"""Convert Keras models and SavedModels to `.tflite` files: float32, int8, int16x8."""

import re
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from pipeline.errors import ModelError
from pipeline.graph import keras_file, rebuild
from pipeline.system import quiet
from pipeline.tflite.read import read

# What a file made from a SavedModel is larger by, at most: a signature and longer names.
SIGNATURE_BYTES = 160


def calibration(images: np.ndarray) -> np.ndarray:
    """Make float32 calibration images of raw ones `[N, H, W, C]`, with a black and a white pixel.

    The converter takes the smallest and largest values that it sees as the range of the input. If
    no image held a black and a white pixel, the scale of the input would be below 1, and a photo's
    uint8 pixels would stand for darker ones than the network was trained on.
    """
    made = np.array(images, np.float32)
    made[0, 0, 0], made[0, -1, -1] = 0, 255
    return made


def convert_float(model: keras.Model) -> bytes:
    """Convert a Keras 3 model to a float32 `.tflite` with a batch of 1.

    Raises:
        ModelError: the converter refuses it; says why.
    """
    import tensorflow as tf

    module, function = _serving(model)
    return _convert(tf.lite.TFLiteConverter.from_concrete_functions([function], module))


def convert_float_file(path: Path) -> bytes:
    """Convert a `.keras` file as `convert_float` converts a model."""
    return convert_float(keras_file.load(path))


def convert_int8(
    saved_model: Path,
    images: np.ndarray | None = None,
    io: Literal["uint8", "int8"] = "uint8",
    per_channel_dense: bool = True,
) -> bytes:
    """Convert a SavedModel to int8 with input and output of type `io`, `[1, H, W, C]` -> `[1, K]`.

    Args:
        saved_model: A quantization-aware trained model, or a float one together with `images`.
        images: Calibration images, float32 `[N, H, W, C]`, as the network takes them; they set
            the ranges of activations that training has not set.
        io: Phones and browsers take uint8, the Edge TPU takes int8.
        per_channel_dense: Whether kernels of dense layers have a scale per channel, which the
            Edge TPU cannot read.

    Raises:
        ModelError: the converter refuses it, or an operator would still compute in floating
            point; names it.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter._experimental_disable_per_channel_quantization_for_dense_layers = (
        not per_channel_dense
    )
    return _int8(converter, images, io)


def convert_int16x8(saved_model: Path, images: np.ndarray) -> bytes:
    """Convert a float SavedModel to int16 activations and int8 weights; float32 in and out.

    The converter refuses a uint8 input here; the first operator makes int16 of the float32 input.

    Args:
        saved_model: A network with float weights.
        images: Calibration images, float32 `[N, H, W, C]`; they set the ranges of activations.

    Raises:
        ModelError: the converter refuses it, or an operator would compute in floating point.
    """
    import tensorflow as tf

    sets, converter = tf.lite.OpsSet, tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [
        sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    model = _convert(converter)
    _refuse_float({op.name for op in read(model).float_operators} - {"QUANTIZE", "DEQUANTIZE"})
    return model


def ptq(model: keras.Model, images: np.ndarray) -> bytes:
    """Quantize a Keras 3 model after training: `save_float` and `convert_int8` without files.

    About three times faster; the file lacks a signature, see `SIGNATURE_BYTES`.

    Args:
        model: Functional, float.
        images: Raw, `[N, H, W, C]` in 0..255; `calibration` is made of them.

    Raises:
        ModelError: as `convert_int8`.
    """
    import tensorflow as tf

    module, function = _serving(model)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.experimental_lower_to_saved_model = False  # it would write and read one
    return _int8(converter, calibration(images))


def _int8(converter: Any, images: np.ndarray | None, io: str = "uint8") -> bytes:
    """Convert to integers, and check that no operator stays in floating point."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io)
    if images is not None:
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    model = _convert(converter)
    _refuse_float({op.name for op in read(model).float_operators})
    return model


def _refuse_float(left: set[str]) -> None:
    """Refuse a file where operators of these names compute in floating point."""
    if left:
        # conversions are named only if nothing else is in floating point
        names = sorted(left - {"QUANTIZE", "DEQUANTIZE"} or left)
        raise ModelError(f"operators stay in floating point. Received: {', '.join(names)}")


def _convert(converter: Any) -> bytes:
    """Run the converter, and shorten its error to one line."""
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        with quiet.muted():
            return bytes(converter.convert())
    except (ConverterError, RuntimeError, ValueError) as error:
        missing = re.findall(r"error: '(?:tf|tfl)\.(\w+)' op", str(error))
        found = re.search(r"error: (.+)", str(error)) or re.search(r"(.+)", str(error))
        reason = ", ".join(dict.fromkeys(missing)) or (found[1].strip() if found else "no reason")
        raise ModelError(
            f"the converter to .tflite refuses the model. Received: {reason}. "
            "Build the model without it"
        ) from error


def save_float(model: keras.Model, directory: Path) -> None:
    """Write a Keras 3 model as a SavedModel with a batch of 1."""
    import tensorflow as tf

    module, function = _serving(model)
    tf.saved_model.save(module, str(directory), signatures=function)


def _serving(model: keras.Model) -> tuple[Any, Any]:
    """A model's function for one image, and the module that owns its variables.

    Without an owner that TensorFlow can walk, the converter would leave variables in the file,
    uninitialized, instead of freezing their values. Tensors are named after the layers: Keras alone
    opens two scopes for every call, so that a tensor named `conv_1` may belong to `conv`.
    """
    import tensorflow as tf

    def scoped(layer: Any, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            with keras.name_scope(name, caller=layer):
                return layer(*args, **kwargs)

        return call

    module = tf.Module()
    module.owned = [variable.value for variable in model.variables]
    spec = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="image")
    function = tf.function(lambda image: {"scores": rebuild.called(model, image, scoped)})
    return module, function.get_concrete_function(spec)
