"""Ports of this machine for servers that are told theirs before they start."""

import itertools
import os
import random
import socket
from collections.abc import Iterator

# Below the ports that the kernel gives to connections (32768 and above unless somebody changed it): no connection takes the
# port of a server that is down for a moment, nor is a client that asks for it then connected with itself.
FIRST, END = 12_000, 32_000
# Test processes that run at once draw from ports of their own.
PROCESSES_MAX = 16
PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES_MAX


def in_turn() -> Iterator[int]:
    """Every port of this process, again and again: one that was given away is not given again soon."""
    ports = range(FIRST + PROCESS, END, PROCESSES_MAX)
    begin = random.SystemRandom().randrange(len(ports))
    return itertools.cycle([*ports[begin:], *ports[:begin]])


PORTS = in_turn()


def free_port() -> int:
    """A port on which nobody listens."""
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("the ports never end")


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"
