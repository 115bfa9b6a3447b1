"""Who of a stack listens on what, for the tests that nothing of it can be reached from elsewhere."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from cluster.stack.stack import Stack


def listeners(stack: Stack) -> list[tuple[str, str]]:
    """Address and description of each TCP port that a process of the stack, or a child of one, listens on."""
    services = {}
    for status in stack.status():
        if status.pid is None:
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(status.pid)
            services |= {member.pid: status.name for member in [process, *process.children(recursive=True)]}
    return [
        (connection.laddr.ip, f"{services[connection.pid]}: {_describe(connection)}")
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid in services
    ]


def open_to_others(stack: Stack) -> list[str]:
    """The listeners that are not on loopback, each with its service, process and port. Fails if nobody listens."""
    found = listeners(stack)
    assert found
    return [description for address, description in found if not _is_loopback(address)]


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)  # how Java shows an IPv4 address
    return (mapped or parsed).is_loopback


def _describe(connection: psutil._common.sconn) -> str:
    name = "gone meanwhile"
    with contextlib.suppress(psutil.Error):
        name = " ".join(" ".join(psutil.Process(connection.pid).cmdline()).split())[:200]
    return f"process {connection.pid} ({name}) listens on {connection.laddr.ip} port {connection.laddr.port}"
