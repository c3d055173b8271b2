"""One hash for any number of records, and a short proof that one is among them (as in RFC 6962: leaves and nodes are hashed apart)."""

import hashlib
from collections.abc import Sequence

import msgspec

EMPTY = hashlib.sha256(b"").digest()


class Proof(msgspec.Struct, frozen=True):
    """The hashes beside the way from a leaf to the root, and on which side each lies (`left` before ours)."""

    path: tuple[tuple[bool, bytes], ...]


def leaf(content: bytes) -> bytes:
    return hashlib.sha256(b"\0" + content).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaves in their order; of none it is the hash of nothing."""
    level = list(leaves)
    while len(level) > 1:
        level = [_node(level[at : at + 2]) for at in range(0, len(level), 2)]
    return level[0] if level else EMPTY


def proof_of(leaves: Sequence[bytes], at: int) -> Proof:
    """What shows that the leaf at this place is under the root."""
    level, path = list(leaves), list[tuple[bool, bytes]]()
    while len(level) > 1:
        beside = at ^ 1
        if beside < len(level):
            path.append((beside < at, level[beside]))
        level = [_node(level[start : start + 2]) for start in range(0, len(level), 2)]
        at //= 2
    return Proof(tuple(path))


def proves(proof: Proof, content: bytes, root: bytes) -> bool:
    """Whether a record with this content is under the root."""
    found = leaf(content)
    for left, beside in proof.path:
        found = _node([beside, found] if left else [found, beside])
    return found == root


def _node(pair: Sequence[bytes]) -> bytes:
    """Of two their hash; one alone goes up as it is."""
    return pair[0] if len(pair) == 1 else hashlib.sha256(b"\1" + pair[0] + pair[1]).digest()
