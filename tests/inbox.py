"""Somebody who is told things through Apprise, over real HTTP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


class Inbox:
    """Where messages arrive; *status* is what they are answered, once *open* is set."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.status = 200
        self.asked = Event()
        self.open = Event()
        self.open.set()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                inbox.asked.set()
                inbox.open.wait(30)
                if inbox.status == 200:
                    inbox.messages.append(f"{body['title']}\n{body['message']}")
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:secretword@127.0.0.1:{self.server.server_port}/"


@contextmanager
def receiving() -> Iterator[Inbox]:
    """An inbox for the time of the block."""
    inbox = Inbox()
    thread = Thread(target=inbox.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield inbox
    finally:
        inbox.open.set()
        inbox.server.shutdown()
        thread.join()
        inbox.server.server_close()
