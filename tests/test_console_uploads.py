"""Forms with a file, as browsers send them, and what no browser sends."""

import asyncio
from collections.abc import Mapping

import pytest

from receiver.console import uploads
from receiver.console.uploads import Upload


def read_parts(kind: str, body: bytes) -> tuple[Mapping[str, str], Mapping[str, Upload]]:
    return asyncio.run(uploads.read_parts(kind, body))


def parts(*parts: tuple[str, bytes], boundary: str = "XX") -> bytes:
    written = [f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts]
    return b"".join(written) + f"--{boundary}--\r\n".encode()


KIND = "multipart/form-data; boundary=XX"
NAMED = 'Content-Disposition: form-data; name="file"; filename="Kundän a.csv"\r\nContent-Type: text/csv'


def test_the_bytes_of_a_file_are_as_they_were() -> None:
    content = b"a,b\r\n\xff\xfe\x00\r--X\n\r\n--X--\r\n"

    fields, files = read_parts(
        KIND, parts(('Content-Disposition: form-data; name="proof"', b"p"), (NAMED, content))
    )

    assert fields == {"proof": "p"}
    assert files == {"file": Upload("Kundän a.csv", content)}


def test_a_file_that_was_not_chosen_is_none() -> None:
    head = (
        'Content-Disposition: form-data; name="file"; filename=""\r\nContent-Type: application/octet-stream'
    )

    assert read_parts(KIND, parts((head, b""))) == ({}, {})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", parts((NAMED, b"x"))),
        ('multipart/form-data; boundary=""', parts((NAMED, b"x"))),
        (KIND, b""),
        (KIND, b"--XX"),
        (KIND, b"--XX\r\n" * 1000),
        (KIND, parts((NAMED, b"x"))[:-20]),
        (KIND, parts(("Content-Disposition: attachment", b"x"))),
        (KIND, parts(("X: " + "y" * 5000 + "\r\n" + NAMED, b"x"))),
        (KIND, b"\r\n\r\n" * 1000),
    ],
)
def test_what_no_browser_sends_holds_nothing(kind: str, body: bytes) -> None:
    assert read_parts(kind, body) == ({}, {})


def test_a_field_is_text_whatever_its_bytes() -> None:
    head = 'Content-Disposition: form-data; name="note"'

    assert read_parts(KIND, parts((head, b"\xff\r\n")))[0] == {"note": "ÿ\r\n"}
