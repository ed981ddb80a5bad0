"""Requests byte by byte, for senders that no HTTP client would be."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

from tests.system.service import Project, Service


def head(project: Project, *headers: str) -> bytes:
    """Of a request for a single event, with further *headers*."""
    # A public token, as it needs no base64.
    path = f"/track/v2/projects/{project.token}/customers/events"
    lines = (f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Token {project.public_token}", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=15) as connection:
        yield connection


def status_of(connection: socket.socket) -> int:
    """Of the answer that comes next."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status
