"""Constant load on one address while a test does something, and an account of every request."""

import asyncio
import collections
import threading
import time

# How long one request may take, in seconds.
PATIENCE = 5


class Load:
    """Sends requests from entering to leaving, over connections that are kept and over new ones.

    A request is answered or failed. One that meets a kept connection closed beforehand goes over a
    new one, as with every client.
    """

    def __init__(self, address, port=80, host="test.example", path="/", per_second=200, connections=16):
        self.address, self.port = address, port
        self.head = f"GET {path} HTTP/1.1\r\nhost: {host}\r\n"
        self.pause = connections / per_second
        self.connections = connections
        self.statuses = collections.Counter()
        self.failures = []
        self.slowest = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    @property
    def requests(self):
        return self.statuses.total() + len(self.failures)

    def __str__(self):
        counts = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.requests} requests: {counts}, {len(self.failures)} failed, slowest {self.slowest:.3f} s {self.failures[:5]}"

    async def run(self):
        await asyncio.gather(*(self.client(number) for number in range(self.connections)))

    async def client(self, number):
        """Every second client closes its connection after each request."""
        keep, stream = number % 2 == 0, None
        await asyncio.sleep(self.pause * number / self.connections)
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    if stream is None or stream[0].at_eof():
                        stream = await asyncio.open_connection(self.address, self.port)
                    status, kept = await self.ask(*stream, keep)
                self.statuses[status] += 1
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self.failures.append(f"{time.strftime('%T')} {type(error).__name__}: {error}")
                kept = False
            taken = time.monotonic() - began
            self.slowest = max(self.slowest, taken)
            if stream is not None and not kept:
                stream[1].close()
                stream = None
            await asyncio.sleep(max(0, self.pause - taken))
        if stream is not None:
            stream[1].close()

    async def ask(self, reader, writer, keep):
        """The status of the answer, and whether the connection can be used again."""
        writer.write((self.head + ("" if keep else "connection: close\r\n") + "\r\n").encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        fields = dict(line.split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
        await reader.readexactly(int(fields.get("content-length", "0")))
        return status, keep and "close" not in fields.get("connection", "")
