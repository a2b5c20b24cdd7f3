"""Every option there is, as one tree of structs: what a TOML file or a command line is read into."""

from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from edge_lstm.lane import Settings
from edge_lstm.pipeline import Publish
from edge_lstm.stages.decode import Source

DEFAULTS = Settings()

Qos = Annotated[int, Meta(ge=0, le=1)]  # QoS 2 needs a memory that outlives the process


class Mqtt(msgspec.Struct, frozen=True, kw_only=True):
    """The broker, and how to talk to it.

    Attributes:
        broker: ``mqtt://host:1883``, or ``mqtts://`` for TLS; a user may stand before the host.
        client_id: fixed, it lets the broker keep messages while we are away; empty, the one of the state folder, or a
            random one.
        qos: of the subscriptions.
        keepalive_s: a connection without a sign of life for so long is given up.
        password_file: its first line; passwords never stand in a configuration. This and the other files are read anew
            for each connection; ``credential:NAME`` is a file in ``$CREDENTIALS_DIRECTORY``.
        ca_file: authorities to trust in place of the system's.
        cert_file: our own certificate, if the broker wants one, with ``key_file``.
        clean_session: ask the broker to forget us on leaving; by default only without ``client_id``.
        ack_policy: when a message is done with: when what follows from it is ``published`` and confirmed, or when a
            ``checkpoint`` holds it as well.
    """

    broker: str = "mqtt://localhost:1883"
    client_id: str = ""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    keepalive_s: Annotated[int, Meta(ge=5, le=65535)] = 30
    qos: Qos = 1
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    clean_session: bool | None = None
    ack_policy: Literal["published", "checkpoint"] = "published"

    @property
    def url(self) -> SplitResult:
        """The broker's address in parts."""
        return urlsplit(self.broker)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.scheme == "mqtts"

    @property
    def port(self) -> int:
        """The broker's port."""
        return self.url.port or (8883 if self.tls else 1883)

    @property
    def clean(self) -> bool:
        """Whether the broker shall forget us on leaving."""
        return not self.client_id if self.clean_session is None else self.clean_session


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What is published, and where; ``pipeline.Outputs`` as options.

    Attributes:
        prefix: first levels of every topic of ours.
        publish: ``every`` score, those that say something new (``changes``), or ``alerts`` only.
        stats_s: how often counts are published.
    """

    prefix: str = "edge-lstm"
    publish: Publish = "every"
    score_qos: Qos = 1
    alert_qos: Qos = 1
    stats_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the process.

    Attributes:
        folder: where it is kept, from the configuration's folder; empty: ``$STATE_DIRECTORY``, else nothing is kept.
        every_s: how often; empty: every 300 s, or 10 s where messages wait for it to be acknowledged.
        mib_per_day: it is written less often if that would be more; not where messages wait for it.
    """

    folder: str = ""
    every_s: Annotated[float, Meta(ge=0.1, le=86_400)] | None = None
    mib_per_day: Annotated[float, Meta(gt=0, le=1_000_000)] = 100.0


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class SourceOptions(Source, frozen=True, kw_only=True):
    """A source of messages, and how its streams are watched.

    Attributes:
        weights: a bundle, from the configuration's folder; empty: the universal one.
        budget: alerts that chance may raise per stream, such as ``1/week``, ``2/day`` or ``12h``.
        publish: as in ``Output``, which it goes before; empty: as there.
        window_s: values of one sample may come this far apart, in several messages; 0: they are joined only where
            ``{channel}`` makes several topics one stream, within a second.
        silence_s: a shorter silence is never an alert; 0: none is.
        max_streams: further streams are refused, and counted, unless one gives way.
        idle_s: at ``max_streams``, a stream that said nothing for so long gives way to a new one; 0: none does.
        device: where the streams' rows are; ``auto`` tries out, at the start, which is faster for a full batch.
    """

    weights: str = ""
    budget: str = "1/week"
    publish: Literal["", "every", "changes", "alerts"] = ""
    window_s: Annotated[float, Meta(ge=0, le=86_400)] = DEFAULTS.window_s
    silence_s: Annotated[float, Meta(ge=0, le=31_536_000)] = DEFAULTS.silence_s
    max_streams: Annotated[int, Meta(ge=1, le=1_000_000)] = DEFAULTS.max_streams
    idle_s: Annotated[float, Meta(ge=0, le=31_536_000)] = DEFAULTS.idle_s
    device: Literal["auto", "cpu", "cuda"] = "cpu"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    mqtt: Mqtt = Mqtt()
    output: Output = Output()
    state: State = State()
    log: Log = Log()
    source: list[SourceOptions] = []
