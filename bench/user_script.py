"""What one writes without edge-lstm: paho, ONNX Runtime, and a dictionary of states.

    python -m bench.user_script HOST PORT QOS IN OUT CHANNEL...

One LSTM of 32 units and a linear head, as the shipped bundles are; the weights are random, which costs the same. The
score is the forecast's squared error against its own mean. No quality, reasons, alerts, time, gaps or warm-up.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime as ort
import paho.mqtt.client as mqtt
from onnx import TensorProto, helper, numpy_helper

HIDDEN = 32


def session(channels: int) -> ort.InferenceSession:
    """Return a model of one step: sample and state to forecast and state."""
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 4 * HIDDEN, channels), "R": (1, 4 * HIDDEN, HIDDEN), "V": (HIDDEN, channels)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.2, s).astype(np.float32), n) for n, s in shapes.items()]
    lstm = helper.make_node("LSTM", ["x", "W", "R", "", "", "h", "c"], ["", "h1", "c1"], hidden_size=HIDDEN)
    head = helper.make_node("MatMul", ["h1", "V"], ["y"])
    sample, state = (1, 1, channels), (1, 1, HIDDEN)
    ends = {"x": sample, "h": state, "c": state, "y": sample, "h1": state, "c1": state}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends.items()]
    graph = helper.make_graph([lstm, head], "step", infos[:3], infos[3:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # more only get in each other's way on one sample
    return ort.InferenceSession(model.SerializeToString(), options)


def main(host: str, port: str, qos: str, inward: str, outward: str, *channels: str) -> None:
    """Score what comes, for ever."""
    run = session(len(channels)).run
    zeros = np.zeros((1, 1, HIDDEN), np.float32)
    states: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, float]] = {}

    def on_message(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        sample = json.loads(message.payload)
        x = np.array([[[sample[name] for name in channels]]], np.float32)
        h, c, forecast, mean = states.get(message.topic) or (zeros, zeros, x, 1.0)
        error = float(((x - forecast) ** 2).mean())
        forecast, h, c = run(None, {"x": x, "h": h, "c": c})
        states[message.topic] = h, c, forecast, mean + 0.01 * (error - mean)
        score = error / (error + mean)
        out = {"stream": message.topic, "t": sample["ts"], "score": score, "surprise": error, "alert": score > 0.99}
        client.publish(f"{outward}/{message.topic}/score", json.dumps(out), int(qos))

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: client.subscribe(f"{inward}/#", int(qos))
    client.on_subscribe = lambda *_: client.publish(f"{outward}/ready", b"1")
    client.on_message = on_message
    client.max_inflight_messages_set(0)  # else paho looks through all of them at every acknowledgement
    client.connect(host, int(port))
    client.loop_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
