"""The lane at the socket: who reads too slowly, or leaves, closes the way of chunks that pass everything by."""

import asyncio

import uvicorn
from uvicorn.server import ServerState

from headrace.api import Heads, Lane
from headrace.api.socket import Exchange, SocketSettings
from tests.unit.api.test_heads import Wire, application

ASKED = b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def test_express_is_closed_to_who_speaks_also_where_another_waits_behind() -> None:
    speaking: list[Exchange] = []
    closed: list[str] = []

    async def handler(exchange: Exchange) -> None:
        speaking.append(exchange)
        exchange.begin(b"")
        await asyncio.sleep(3_600)

    config = uvicorn.Config(application, ws="none", lifespan="off", log_config=None)
    loop = asyncio.get_running_loop()
    lane = Lane(config, ServerState(), {}, loop, handlers={b"/v1/x": handler}, heads=Heads(), settings=SocketSettings())
    wire = Wire()
    lane.connection_made(wire)
    lane.data_received(ASKED + ASKED)
    await asyncio.sleep(0.01)
    (first,) = speaking
    write = first.express(lambda: closed.append("too slow"))
    assert write is not None
    write(b"1\r\nx\r\n")
    assert wire.said.endswith(b"1\r\nx\r\n")
    lane.pause_writing()
    assert closed == ["too slow"]
    assert first.express(lambda: None) is None, "not before it has caught up"
    lane.resume_writing()
    assert first.express(lambda: closed.append("left")) is not None
    lane.connection_lost(None)
    assert closed == ["too slow", "left"]
    assert first.express(lambda: None) is None
