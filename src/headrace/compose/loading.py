"""The process that loads the usage log, as the server owns it."""

import asyncio
import logging
import sys

from headrace.storage import Layout

log = logging.getLogger("headrace")
LOADING_S = 60.0
LOADER_PAUSE_S = 5


class Loading:
    """Owns the process that loads the usage log into SQLite, and starts another when it dies: the log is the truth and can wait."""

    def __init__(self, layout: Layout, sync_interval_ms: int) -> None:
        self._layout, self._interval_ms = layout, sync_interval_ms
        self._process: asyncio.subprocess.Process | None = None

    async def keep_running(self) -> None:
        while True:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "headrace.storage", str(self._layout.root), str(self._interval_ms), stdin=asyncio.subprocess.PIPE
            )
            status = await self._process.wait()
            log.error("the usage loader ended with status %d; it is started again in %d s", status, LOADER_PAUSE_S)
            await asyncio.sleep(LOADER_PAUSE_S)

    async def finish(self) -> None:
        """Let it take a last pass, and end."""
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(LOADING_S):
                await process.wait()
        except TimeoutError:
            log.warning("the usage loader is far behind: what is left is loaded by the next start, or by `headrace usage`")
            process.kill()
            await process.wait()
