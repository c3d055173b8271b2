"""All that a usage log says of one request, found by reading it."""

from pathlib import Path

from headrace.metering import Record, admitted
from headrace.storage.segment import read_pieces, records_in, segments


def records_of(usage: Path, request: str) -> list[Record]:
    """The newest segments are read first, and none after one that has it: what a request comes to is said near its admission."""
    sought = request.encode()
    found: list[Record] = []
    for path in reversed(segments(usage)):
        for piece in read_pieces(path, live=True):
            mentioning = [payload for payload in piece.found.alone if sought in payload]
            found += [record for record in records_in(mentioning) if isinstance(record, Record) and admitted(record).request == request]
    return found
