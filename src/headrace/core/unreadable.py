"""What a decoder of JSON or MessagePack raises for bytes that it can't read, whoever sent them."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""It is not the form, not the kind, or not the value that is asked for; no UTF-8; or nested too deep."""
