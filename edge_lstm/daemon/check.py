"""From options to what runs, with everything that is wrong with them.

``edge-lstm check`` and ``edge-lstm run`` both come through here, so what one accepts the other runs.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from edge_lstm.bundle import Bundle, read
from edge_lstm.core.engine import Device
from edge_lstm.daemon import toml
from edge_lstm.daemon.broker import Broker, open_broker
from edge_lstm.daemon.config import Config, Log, Output, SourceOptions
from edge_lstm.daemon.folder import refuse_shared
from edge_lstm.daemon.toml import Place, Problems
from edge_lstm.daemon.traffic import HELD
from edge_lstm.device import faster
from edge_lstm.errors import ConfigError, EdgeLstmError
from edge_lstm.lane import Settings
from edge_lstm.options import default_weights, parse_budget
from edge_lstm.pipeline import Outputs, Route
from edge_lstm.stages.decode import Decoder
from edge_lstm.stages.topics import is_sound, overlaps

T = TypeVar("T")

_BARE = ("number", "esphome", "statestream")
_MOST_SOURCES = 256  # each has a table of its own
_DEEPEST_STREAM = 16  # levels of a stream's name that are looked at for loops


class Prepared(NamedTuple):
    """What a configuration comes to, ready to run."""

    config: Config
    broker: Broker
    routes: list[Route]
    folder: Path | None  # of the state

    @property
    def filters(self) -> list[str]:
        """What to subscribe to."""
        return [route.decoder.pattern.filter for route in self.routes]

    def verbose(self) -> "Prepared":
        """Return the same, logging everything."""
        return self._replace(config=msgspec.structs.replace(self.config, log=Log(level="debug")))


class InvalidConfigError(ConfigError):
    """Everything that is wrong with a configuration.

    Attributes:
        problems: one line each.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def prepare_file(path: Path) -> Prepared:
    """Read a configuration file, and everything that it names.

    Raises:
        ConfigError: it can't be run.
    """
    data, problems = toml.read(path)
    return _prepare(data, path.parent, problems)


def prepare_options(data: dict[str, Any]) -> Prepared:
    """Take options from a command line, in the file's structure.

    Raises:
        ConfigError: they can't be run.
    """
    return _prepare(data, Path(), Problems("command line"))


def _prepare(data: dict[str, Any], folder: Path, problems: Problems) -> Prepared:
    config = toml.to_struct(data, Config, (), problems)
    if len(config.source) > _MOST_SOURCES:
        problems.add(("source",), f"there are {len(config.source)} sources, expected at most {_MOST_SOURCES}")
        raise InvalidConfigError(problems.found)
    if not data.get("source"):
        problems.add((), "there is no [[source]]; name at least one topic to watch")
    broker = open_broker(config.mqtt, folder, problems)
    _check_output(config.output, problems)
    _check_topics(config, problems)
    state = _state_folder(config, folder, problems)
    routes = Routes(config.output, folder, problems).build(config.source)
    if problems.found or broker is None:
        raise InvalidConfigError(problems.found)
    return Prepared(config, broker, routes, state)


def _state_folder(config: Config, folder: Path, problems: Problems) -> Path | None:
    """Return where the state is kept, if it is."""
    own = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd's
    if config.mqtt.ack_policy == "checkpoint" and not (config.state.folder or own):
        problems.add(
            ("mqtt", "ack_policy"), "ack_policy = 'checkpoint' needs a place for checkpoints; set folder in [state]"
        )
    named = config.state.folder or own
    if not named:
        return None
    try:
        path = toml.file_of(folder, "folder", named)
        with suppress(OSError):  # it may be made later
            refuse_shared(path, path.stat())
    except ConfigError as error:
        problems.add(("state", "folder"), str(error))
        return None
    return path


class Routes:
    """Makes routes of sources; bundles that several name are read once."""

    def __init__(self, output: Output, folder: Path, problems: Problems) -> None:
        self._outputs = Outputs(**{name: getattr(output, name) for name in Outputs.__struct_fields__})
        self._folder = folder
        self._problems = problems
        self._bundles: dict[Path, Bundle] = {}

    def build(self, sources: list[SourceOptions]) -> list[Route]:
        """Return a route for each source that has nothing wrong with it."""
        routes = (self._route(source, ("source", n)) for n, source in enumerate(sources) if source.topic)
        return [route for route in routes if route is not None]

    def _route(self, source: SourceOptions, place: Place) -> Route | None:
        before = len(self._problems.found)
        self._try(place, lambda: Decoder(source))
        budget_s = self._try(place, lambda: parse_budget(source.budget))
        bundle = self._try((*place, "weights"), lambda: self._bundle(source))
        if bundle is not None:
            self._try(place, lambda: _check_channels(source, bundle))
        if len(self._problems.found) > before or bundle is None or budget_s is None:
            return None
        settings = Settings(
            budget_s=budget_s,
            window_s=source.window_s,
            silence_s=source.silence_s,
            max_streams=source.max_streams,
            idle_s=source.idle_s,
            device=self._device(source, bundle),
        )
        outputs = msgspec.structs.replace(self._outputs, publish=source.publish or self._outputs.publish)
        return self._try((*place, "device"), lambda: Route(source, bundle, settings, outputs))

    def _device(self, source: SourceOptions, bundle: Bundle) -> Device:
        """Return where the rows go; a source that leaves it open gets what takes a full batch in less time."""
        if source.device == "auto":
            return faster(bundle.weights, min(source.max_streams, HELD))
        return source.device

    def _bundle(self, source: SourceOptions) -> Bundle:
        path = toml.file_of(self._folder, "weights", source.weights) if source.weights else default_weights()
        if path not in self._bundles:
            self._bundles[path] = read(path)
        return self._bundles[path]

    def _try(self, place: Place, function: Callable[[], T]) -> T | None:
        """Return what a function returns; note what it finds wrong."""
        try:
            return function()
        except EdgeLstmError as error:
            self._problems.add(place, str(error))
            return None


def _check_channels(source: SourceOptions, bundle: Bundle) -> None:
    """Refuse a source that can't give the bundle what it was fitted on."""
    needed = bundle.metadata.channel_names
    if bundle.metadata.judge == "adaptive":
        return  # each channel is a stream of its own
    bare = source.format in _BARE
    if bare and not source.channels and "{channel}" not in source.topic and needed != ("value",):
        raise ConfigError(
            f"format {source.format!r} gives one number without a name, and the bundle needs {', '.join(needed)}; "
            "put {channel} into the topic where their names stand"
        )
    if not source.channels or ("{channel}" in source.topic and not bare):
        return  # they are found in the payload, or get their names from the topic
    missing = [name for name in needed if name not in source.channels]
    if missing:
        raise ConfigError(
            f"channels has no {', '.join(map(repr, missing))}, which the bundle {bundle.metadata.name!r} needs; "
            f"it was fitted on {', '.join(needed)}"
        )


def _check_output(output: Output, problems: Problems) -> None:
    prefix = output.prefix
    if not prefix or set(prefix) & set("+#") or prefix[0] in "$/" or prefix[-1] == "/" or not is_sound(prefix):
        message = f"prefix is {prefix[:60]!r}, expected levels of a topic such as 'edge-lstm' or 'plant/edge-lstm'"
        problems.add(("output",), message)


def _check_topics(config: Config, problems: Problems) -> None:
    """Refuse topics that would bring a message twice, or our own messages back."""
    topics = [source.topic for source in config.source]
    ours = _own_topics(config.output.prefix)
    for n, topic in enumerate(topics):
        earlier = next((other for other in topics[:n] if other and overlaps(other, topic)), None)
        if topic and earlier:
            message = f"topic {topic!r} overlaps {earlier!r}; a message may belong to one source only"
            problems.add(("source", n), message)
        own = next((own for own in ours if overlaps(own, topic)), None)
        if topic and own:
            message = f"topic {topic!r} takes in {own!r}, which we publish; narrow it, or change the output's prefix"
            problems.add(("source", n), message)


def _own_topics(prefix: str) -> list[str]:
    """Return filters of what we publish."""
    own = [f"{prefix}/{name}" for name in ("status", "info", "stats")]
    for depth in range(1, _DEEPEST_STREAM + 1):
        own += [f"{prefix}{'/+' * depth}/{name}" for name in ("score", "alert")]
    return own
