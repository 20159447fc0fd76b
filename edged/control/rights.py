"""Who asks, as the kernel says it, and who may change things.

Reading is for everybody who can open the socket (its mode and group decide that). Changing is for root, the user that
edged runs as, and members of control.group.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct

import msgspec

_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class Peer(msgspec.Struct, frozen=True):
    """The process at the other end of a Unix socket, as it was when it connected."""

    pid: int
    uid: int
    gid: int

    @staticmethod
    def of(sock: socket.socket) -> Peer:
        """`sock` is connected; OSError when it is no Unix socket."""
        return Peer(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))

    def __str__(self) -> str:
        name = _name(self.uid)
        return f"uid {self.uid} ({name})" if name else f"uid {self.uid}"


def may_change(peer: Peer, group: str) -> bool:
    """Asks the system's user database, which may wait for a network."""
    if peer.uid in (0, os.geteuid()):
        return True
    gid = group_id(group)
    return gid is not None and gid in _groups(peer)


def group_id(name: str) -> int | None:
    """None: there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _groups(peer: Peer) -> set[int]:
    """SO_PEERCRED tells the primary group alone; the others are the user's by the database."""
    name = _name(peer.uid)
    return {peer.gid, *os.getgrouplist(name, peer.gid)} if name else {peer.gid}
