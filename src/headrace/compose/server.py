"""uvicorn's server with our lane, our signals, and a look once a second at connections that take too long."""

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn

from headrace.api import Lane

SETTLING_S = 5.0


class Server(uvicorn.Server):
    """uvicorn's server, with our signals, and a look once a second at connections that take too long."""

    def stop(self) -> None:
        """A signal: finish what runs. Again: at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the loop's own handlers call `stop`; uvicorn's would end the process by the signal instead of with 0

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, Lane):
                    connection.sweep(now)
        return await super().on_tick(counter)


async def settle(server: Server) -> None:
    """Answers that were cancelled at the deadline still settle what they used."""
    connections = [one for one in server.server_state.connections if isinstance(one, Lane)]
    left = {*server.server_state.tasks, *(task for connection in connections for task in connection.running())}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=SETTLING_S)
