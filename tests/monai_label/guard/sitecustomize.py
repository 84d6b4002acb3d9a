"""Put first on a server's PYTHONPATH: refuses and writes down every connection that leaves the machine.

Audit hooks see what Python code does with sockets and names, in the server and in every Python process that it starts.
"""

from __future__ import annotations

import ipaddress
import os
import sys

LOG = os.environ.get("BUNDLE_TRAFFIC_LOG", "")
LOCAL_NAMES = {"", "localhost", "localhost.localdomain", "0.0.0.0", "::"}


def _is_local(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(str(name).split("%")[0]).is_loopback
    except ValueError:
        return False


def _hook(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        # tuples are internet addresses; anything else is a socket of this machine
        host = address[0] if isinstance(address, tuple) and address else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    if not _is_local(host):
        with open(LOG, "a", encoding="utf-8") as log:
            log.write(f"{event} {host}\n")
        raise PermissionError(f"{event}: {host} is outside this machine")


if LOG:
    sys.addaudithook(_hook)
