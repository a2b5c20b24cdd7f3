"""The daemon as a process, against a real broker."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge_lstm.bundle import Bundle, write
from edge_lstm.daemon.commands.record import line
from edge_lstm.lane import Settings
from edge_lstm.messages import Alert, Message
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.replay.recorded import messages_of
from edge_lstm.stages.decode import Source
from tests.bundles import random_bundle, random_stream
from tests.daemon.conftest import Broker, Daemon, Listener, wait_for
from tests.test_detector import deaf

pytestmark = pytest.mark.broker

Listen = Callable[..., Listener]
Start = Callable[..., Daemon]


def stream(rows: int, topic: str = "plant/pump/data", start: int = 0) -> list[Message]:
    t, x = random_stream(start + rows, 3, 7)
    samples = zip(t.tolist()[start:], x.tolist()[start:], strict=True)
    return [
        Message(topic, json.dumps({"c0": c0, "c1": c1, "c2": c2, "t": at}).encode()) for at, (c0, c1, c2) in samples
    ]


def online(daemon: Daemon, listener: Listener, times: int = 1) -> None:
    def said() -> bool:
        assert daemon.process.poll() is None, daemon.process.communicate()
        return listener.payloads("edge-lstm/status").count(b"online") >= times

    wait_for(said, "the daemon to be online", 30.0)


def times_of(listener: Listener, topic: str = "edge-lstm/plant/pump/data/score") -> list[float]:
    return [json.loads(payload)["t"] for payload in listener.payloads(topic)]


def options(broker: Broker, weights: Path) -> list[str]:
    return ["run", "--broker", broker.url, "--topic", "plant/+/data", "--weights", str(weights)]


def test_scores_are_those_of_the_pipeline_bit_for_bit(
    broker: Broker, listen: Listen, start: Start, bundle: Bundle, weights: Path
) -> None:
    listener = listen()
    daemon = start(*options(broker, weights))
    online(daemon, listener)
    sent = [message for pair in zip(stream(300), stream(300, "plant/fan/data"), strict=True) for message in pair]
    for message in sent:
        listener.publish(message.topic, message.payload)
    scores = [f"edge-lstm/plant/{name}/data/score" for name in ("pump", "fan")]
    wait_for(lambda: all(len(listener.payloads(topic)) == 300 for topic in scores), "600 scores")

    offline = Pipeline([Route(Source("plant/+/data"), bundle, Settings(), Outputs())]).handle(sent)
    for topic in {message.topic for message in offline}:
        assert listener.payloads(topic) == [message.payload for message in offline if message.topic == topic]
    code, log = daemon.end()
    assert code == 0, log
    assert listener.status() == "offline"
    stats = json.loads(listener.payloads("edge-lstm/stats")[-1])
    assert (stats["received"], stats["scored"], stats["streams"], stats["dropped"]) == (600, 600, 2, {})
    info = json.loads(listener.payloads("edge-lstm/info")[-1])
    assert info["sources"][0]["model"] == f"{bundle.metadata.name}-{bundle.digest}"


@pytest.mark.parametrize("qos", [0, 1])
def test_changes_are_those_of_the_pipeline(
    broker: Broker, listen: Listen, start: Start, bundle: Bundle, weights: Path, tmp_path: Path, qos: int
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"[mqtt]\nbroker = '{broker.url}'\nqos = {qos}\n[output]\nscore_qos = {qos}\npublish = 'alerts'\n"
        f"[[source]]\ntopic = 'plant/+/data'\nweights = '{weights}'\npublish = 'changes'\n"
    )
    listener = listen()
    daemon = start("run", "-c", config)
    online(daemon, listener)
    sent = stream(300)
    outputs = Outputs(publish="changes", score_qos=qos)
    offline = Pipeline([Route(Source("plant/+/data"), bundle, Settings(), outputs)]).handle(sent)
    for message in sent:
        listener.publish(message.topic, message.payload, qos)
    topic = "edge-lstm/plant/pump/data/score"
    expected = [message.payload for message in offline if message.topic == topic]
    wait_for(lambda: len(listener.payloads(topic)) >= len(expected), "the scores that say something new")
    code, log = daemon.end()
    assert code == 0, log
    assert listener.payloads(topic) == expected
    assert 2 <= len(expected) < 300
    assert json.loads(listener.payloads("edge-lstm/stats")[-1])["scored"] == 300


def test_the_will_tells_of_a_sudden_end(broker: Broker, listen: Listen, start: Start, weights: Path) -> None:
    listener = listen()
    daemon = start(*options(broker, weights))
    online(daemon, listener)
    daemon.end(signal.SIGKILL)
    wait_for(lambda: listener.status() == "offline", "the will", 2.0)
    late = listen()
    wait_for(lambda: late.status() == "offline", "the retained status")
    assert late.messages[0].retain


def test_a_broker_that_comes_back_is_found_again(broker: Broker, listen: Listen, start: Start, weights: Path) -> None:
    listener = listen()
    daemon = start(*options(broker, weights))
    online(daemon, listener)
    broker.stop()
    broker.start()
    again = listen()
    online(daemon, again)
    again.publish(*_plain(stream(1)[0]))
    wait_for(lambda: times_of(again), "a score after the restart")
    code, log = daemon.end()
    assert code == 0
    assert "lost after" in log
    assert "connected again" in log


def _plain(message: Message) -> tuple[str, bytes]:
    return message.topic, message.payload


def test_a_daemon_waits_for_its_broker(broker: Broker, listen: Listen, start: Start, weights: Path) -> None:
    broker.stop()
    daemon = start(*options(broker, weights))
    assert daemon.process.stderr is not None
    assert "Connection refused; trying again" in daemon.process.stderr.readline()
    broker.start()
    online(daemon, listen())


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_no_message_of_a_burst_is_lost(
    broker: Broker, listen: Listen, start: Start, weights: Path, tmp_path: Path, protocol: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"[mqtt]\nbroker = '{broker.url}'\nprotocol = '{protocol}'\n[output]\nscore_qos = 1\n"
        f"[[source]]\ntopic = 'plant/+/data'\nweights = '{weights}'\n"
    )
    listener = listen()
    daemon = start("run", "-c", config)
    online(daemon, listener)
    sent = stream(2000)
    for message in sent:
        listener.publish(message.topic, message.payload)
    wait_for(lambda: len(times_of(listener)) >= 2000, "2,000 scores", 20.0)
    assert times_of(listener) == [json.loads(message.payload)["t"] for message in sent]
    assert daemon.end()[0] == 0


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_what_was_not_finished_comes_again(
    broker: Broker, listen: Listen, start: Start, weights: Path, tmp_path: Path, protocol: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"[mqtt]\nbroker = '{broker.url}'\nclient_id = 'fixed'\nprotocol = '{protocol}'\n"
        f"[[source]]\ntopic = 'plant/+/data'\nweights = '{weights}'\n"
    )
    listener = listen()
    daemon = start("run", "-c", config)
    online(daemon, listener)
    sent = stream(1500)
    for message in sent:
        listener.publish(message.topic, message.payload)
    wait_for(lambda: len(times_of(listener)) > 100, "some scores")
    daemon.end(signal.SIGKILL)
    online(start("run", "-c", config), listener, 2)
    expected = {json.loads(message.payload)["t"] for message in sent}
    wait_for(lambda: set(times_of(listener)) == expected, "a score for every sample", 20.0)


def alerts_of(listener: Listener, stream: str = "plant/pump/data") -> list[Alert]:
    return [msgspec.json.decode(found, type=Alert) for found in listener.payloads(f"edge-lstm/{stream}/alert")]


@pytest.fixture
def calm_weights(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle that only silence makes raise an alert."""
    write(deaf(bundle), tmp_path / "deaf.safetensors")
    return tmp_path / "deaf.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_stalled_broker_is_no_silence_and_a_lost_sensor_is(
    broker: Broker, listen: Listen, start: Start, calm_weights: Path, tmp_path: Path, protocol: str
) -> None:
    """The only sensor speaks through a stall of the broker, and then stops."""
    config = tmp_path / "config.toml"
    config.write_text(
        f"[mqtt]\nbroker = '{broker.url}'\nprotocol = '{protocol}'\n"
        f"[[source]]\ntopic = 'plant/+/data'\nweights = '{calm_weights}'\nsilence_s = 3\n"
    )
    listener = listen()
    daemon = start("run", "-c", config)
    online(daemon, listener)
    stalled = False
    for k, message in enumerate(stream(95)):
        if k in (30, 90):
            stalled = not stalled
            broker.signal(signal.SIGSTOP if stalled else signal.SIGCONT)
        listener.publish(message.topic, message.payload)
        time.sleep(0.1)
    wait_for(lambda: len(times_of(listener)) == 95, "95 scores")
    stopped = time.time()
    assert alerts_of(listener) == []
    wait_for(lambda: alerts_of(listener), "silence")
    [silence] = alerts_of(listener)
    assert (silence.reason, silence.phase) == ("silence", "start")
    assert time.time() - stopped < 3.0 + 4.0
    assert abs(silence.start - stopped) < 1.5
    code, log = daemon.end()
    assert code == 0
    assert "lost after" not in log
    late = listen()
    wait_for(lambda: alerts_of(late), "the retained alert")
    [end] = alerts_of(late)
    assert (end.reason, end.phase, end.start) == ("silence", "end", silence.start)
    assert end.end is not None
    assert end.end >= silence.t


def test_tls(tls_port: int, certificates: Path, listen: Listen, start: Start, weights: Path) -> None:
    listener = listen()
    arguments = ["run", "--broker", f"mqtts://localhost:{tls_port}", "--topic", "plant/+/data", "--weights", weights]
    stranger = start(*arguments, "--ca-file", certificates / "stranger.pem")
    assert stranger.process.stderr is not None
    assert "certificate verify failed" in stranger.process.stderr.readline()
    online(start(*arguments, "--ca-file", certificates / "ca.pem"), listener)
    sent = stream(500)
    for message in sent:
        listener.publish(message.topic, message.payload)
    wait_for(lambda: len(times_of(listener)) == 500, "500 scores")


def test_garbage_is_counted_and_told_once(broker: Broker, listen: Listen, start: Start, weights: Path) -> None:
    listener = listen()
    daemon = start(*options(broker, weights))
    online(daemon, listener)
    for _ in range(50):
        listener.publish("plant/pump/data", b"\xff\x00{")
    listener.publish("plant/pump/data", b'{"c0": 1, "c1": 2, "c2": 3, "t": 5}')
    wait_for(lambda: times_of(listener) == [5.0], "the score of the good one")
    time.sleep(1.1)  # the chore that logs
    code, log = daemon.end()
    stats = json.loads(listener.payloads("edge-lstm/stats")[-1])
    assert code == 0
    assert sum(stats["dropped"].values()) == 50
    assert log.count("dropped") == len(stats["dropped"])


NAMES = ["\ufffe", "\ufdd0x", "\U0010ffff", "/" * 100, "\x7f", "+", "#", "$SYS", "%"]


def test_a_name_that_brokers_do_not_take_is_no_way_to_cut_us_off(
    broker: Broker, listen: Listen, start: Start, tmp_path: Path
) -> None:
    """Each key would be part of a topic of ours, on top of a topic that is as deep as brokers take."""
    write(random_bundle("adaptive"), tmp_path / "one.safetensors")
    listener = listen()
    daemon = start("run", "--broker", broker.url, "--topic", "s/#", "--weights", str(tmp_path / "one.safetensors"))
    online(daemon, listener)
    for k, topic in enumerate(("s/a", "s" + "/" * 60, "s" + "/" * 190)):
        for name in NAMES:
            listener.publish(topic, json.dumps({"t": k, name: 1}, ensure_ascii=False).encode())
    listener.publish("s/last", b'{"t": 5, "v": 1}')
    wait_for(lambda: times_of(listener, "edge-lstm/s/last/v/score") == [5.0], "the score of the last one")
    code, log = daemon.end()
    stats = json.loads(listener.payloads("edge-lstm/stats")[-1])
    assert code == 0, log
    assert stats["connects"] == 1, log
    assert stats["scored"] == 9
    assert stats["dropped"] == {"bad_type": 10, "bad_topic": 9}


def test_record_writes_what_replay_reads(broker: Broker, listen: Listen, start: Start, tmp_path: Path) -> None:
    listener = listen("nothing")
    listener.publish("plant/kept", b"old", retain=True)
    out = tmp_path / "day.jsonl"
    recorder = start("record", "--broker", broker.url, "--topic", "plant/#", "-o", out)
    wait_for(lambda: out.exists() and out.stat().st_size, "the retained message")
    listener.publish("plant/1", '{"x": "°C"}'.encode())
    listener.publish("plant/2", b"\xff\xfe", qos=0)
    wait_for(lambda: out.read_text().count("\n") == 3, "three lines")
    assert recorder.end(signal.SIGINT)[0] == 0
    read = list(messages_of(out))
    assert [(m.topic, m.payload, m.retain, m.qos) for m in read] == [
        ("plant/kept", b"old", True, 1),
        ("plant/1", '{"x": "°C"}'.encode(), False, 1),
        ("plant/2", b"\xff\xfe", False, 0),
    ]
    assert all(abs(m.arrived - time.time()) < 60 for m in read)
    assert "".join(map(line, read)) == out.read_text()


def test_record_ends_by_itself_and_needs_a_broker(broker: Broker, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl"
    recorder = start("record", "--broker", broker.url, "--topic", "#", "-o", out, "--seconds", "0.3")
    assert recorder.process.wait(10) == 0
    broker.stop()
    recorder = start("record", "--broker", broker.url, "--topic", "#", "-o", out)
    _, error = recorder.process.communicate(timeout=10)
    assert recorder.process.returncode == 69
    assert error.startswith("edge-lstm: ")
    assert "Connection refused" in error
    assert error.count("\n") == 1
