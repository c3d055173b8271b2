"""HTTP to an upstream, at the level of the socket: what the rest of the house takes from it.

address     where: https, http, or a socket of this machine
settings    how long to wait, whom to trust
proxy       the way that the environment prescribes
dialing     an open connection: sockets, tls, and the proxy's tunnel
connection  HTTP/1.1 on one connection; http1 keeps many; forwarding has a proxy ask
http2       HTTP/2: as few connections as the upstream allows; multiplexed is one of them
answering   an answer as it comes in, and who waits for it: what both have in common
sweep       time limits without a timer a request
endpoint    all of it behind one address
"""

from headrace.providers.answering import ANSWER_BYTES_MAX, HEAD_BYTES_MAX, UNREAD_BYTES_MAX, Exchange
from headrace.providers.endpoint import Endpoint
from headrace.providers.proxy import Proxy, proxy_for
from headrace.providers.settings import TransportSettings

__all__ = [
    "ANSWER_BYTES_MAX",
    "HEAD_BYTES_MAX",
    "UNREAD_BYTES_MAX",
    "Endpoint",
    "Exchange",
    "Proxy",
    "TransportSettings",
    "proxy_for",
]
