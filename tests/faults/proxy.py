"""A relay between a daemon and its broker that treats them as badly as networks do."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

Direction = Literal["up", "down"]  # to the broker, to the daemon
BOTH: frozenset[Direction] = frozenset(("up", "down"))
T = TypeVar("T")


class Proxy:
    """Relays TCP connections, in a thread of its own; what it does to them may be changed at any time.

    Args:
        target: port that connections go on to, on this machine.
        address: where it listens.
        port: where it listens; 0 for any.

    Attributes:
        latency_s: how much later everything arrives.
        rate: bytes a second and direction; 0 for any number.
        piece: bytes that arrive at once; 0 for any number.
        limit: bytes after which a direction's connection is closed; 0 for never.
        flips: how probable it is that a byte arrives with a wrong bit.
        held: directions in which nothing arrives until it is let through again; connections are accepted meanwhile.
        accepted: connections so far.
    """

    def __init__(self, target: int, address: str = "127.0.0.1", port: int = 0, seed: int = 0) -> None:
        self.latency_s = 0.0
        self.rate = 0
        self.piece = 0
        self.limit = 0
        self.flips = 0.0
        self.held: frozenset[Direction] = frozenset()
        self.accepted = 0
        self._target = target
        self._random = random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, address, port))
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = f"mqtt://{address}:{self.port}"

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    @property
    def open(self) -> int:
        """How many connections there are: both of their ends are."""
        return len(self._writers) // 2

    def reset(self) -> None:
        """Cut every connection, without the usual goodbye."""
        self._run(self._reset())

    async def _reset(self) -> None:
        for writer in list(self._writers):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # closed meanwhile
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, onward}
        pipes = (self._pipe(reader, onward, "up"), self._pipe(there, writer, "down"))
        tasks = {asyncio.ensure_future(pipe) for pipe in pipes}
        self._tasks |= tasks
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, onward):
            end.close()
        self._writers -= {writer, onward}
        self._tasks -= tasks

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        relayed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(self.piece or 65_536):
                while direction in self.held:
                    await asyncio.sleep(0.01)
                data = data[: self.limit - relayed] if self.limit else data
                relayed += len(data)
                await self._forward(self._damaged(data), writer)
                if self.limit and relayed >= self.limit:
                    return

    async def _forward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.rate:
            await asyncio.sleep(len(data) / self.rate)
        if self.latency_s:
            self._loop.call_later(self.latency_s, writer.write, data)  # what follows need not wait for it
            return
        writer.write(data)
        await writer.drain()

    def _damaged(self, data: bytes) -> bytes:
        if not self.flips:
            return data
        draw = self._random
        return bytes(byte ^ (1 << draw.randrange(8)) if draw.random() < self.flips else byte for byte in data)

    def close(self) -> None:
        """Cut all connections and end."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        await self._reset()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # so that the handlers of these connections are through as well
