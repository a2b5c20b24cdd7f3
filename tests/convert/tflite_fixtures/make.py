"""Makes the fixtures of this folder with TensorFlow 2.21 and Keras 2 (tf-keras 2.21): ``python make.py``."""

import os
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # Keras 3 does not give LiteRT's LSTM operator

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

HERE = Path(__file__).parent
layers = tf.keras.layers


def window_model(width: int = 2, units: int = 16, window: int = 12) -> Any:
    """Two LSTM layers, the last step of the second, a dense layer."""
    return tf.keras.Sequential(
        [
            layers.InputLayer(input_shape=(window, width), batch_size=1),
            layers.LSTM(units, return_sequences=True),
            layers.LSTM(units),
            layers.Dense(width),
        ]
    )


def scaled_model() -> Any:
    """A scaler in the model, an LSTM whose every step is handed on, two dense layers."""
    scaler = layers.Normalization(mean=[20.0, 1.5], variance=[25.0, 0.09])
    return tf.keras.Sequential(
        [
            layers.InputLayer(input_shape=(8, 2), batch_size=1),
            scaler,
            layers.LSTM(12, return_sequences=True),
            layers.TimeDistributed(layers.Dense(6, activation="relu")),
            layers.TimeDistributed(layers.Dense(1, activation="sigmoid")),
        ]
    )


def stream_model() -> Any:
    """One row at a time."""
    return window_model(width=3, units=8, window=1)


def wide_model() -> Any:
    """Wide enough that dynamic range quantization, which skips small matrices, quantizes all."""
    return window_model(width=32, units=32, window=10)


def converted(model: Any, kind: str) -> bytes:
    width = model.input_shape[-1]
    function = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec(model.input_shape, tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind.startswith("int8"):
        rng = np.random.default_rng(0)
        rows = [rng.uniform(-3, 3, (1, model.input_shape[1], width)).astype(np.float32) for _ in range(50)]
        converter.representative_dataset = lambda: ([row] for row in rows)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def expected(content: bytes, x: Any) -> Any:
    """Return what LiteRT gives for windows x (w, T, I), each from the zero state, and for one row goes on."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for window in x:
        if len(window) > 1:
            interpreter.reset_all_variables()
        scale, zero = given["quantization"]
        stored = np.clip(np.round(window / scale) + zero, -128, 127).astype(np.int8) if scale else window
        interpreter.set_tensor(given["index"], stored[None].astype(given["dtype"]))
        interpreter.invoke()
        scale, zero = result["quantization"]
        out = interpreter.get_tensor(result["index"]).astype(np.float64)
        outputs.append((out - zero) * scale if scale else out)
    return np.concatenate(outputs)


MODELS = {
    "keras_float": (window_model, "float"),
    "keras_float16": (window_model, "float16"),
    "keras_int8": (window_model, "int8"),
    "keras_int8_float_io": (window_model, "int8_float_io"),
    "keras_dynamic_range": (wide_model, "dynamic_range"),
    "keras_scaled": (scaled_model, "float"),
    "keras_stream": (stream_model, "float"),
}

if __name__ == "__main__":
    for name, (build, kind) in MODELS.items():
        tf.keras.utils.set_random_seed(7)
        model = build()
        for weights in model.weights:  # biases are zeros otherwise
            if weights.name.endswith("bias:0"):
                weights.assign_add(tf.random.normal(weights.shape, stddev=0.2))
        content = converted(model, kind)
        x = np.random.default_rng(1).uniform(-3, 3, (20, *model.input_shape[1:])).astype(np.float32)
        if name == "keras_scaled":
            x = x * np.array([5.0, 0.3], np.float32) + np.array([20.0, 1.5], np.float32)
        (HERE / f"{name}.tflite").write_bytes(content)
        np.savez_compressed(HERE / f"{name}.npz", x=x, y=expected(content, x))
