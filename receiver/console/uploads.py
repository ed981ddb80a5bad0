"""Forms that hold a file, exactly as browsers send them (HTML, "multipart form data"; RFC 7578).

By hand, because that form is narrow: one disposition with quoted names, quotes within as %22, no encoding
of the content.  What looks otherwise is left out.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

MULTIPART = "multipart/form-data"

_BOUNDARY = re.compile(r'boundary="?([0-9A-Za-z\'()+_,./:=?-]{1,70})"?\s*$')
_DISPOSITION = re.compile(
    r'^content-disposition: form-data; name="([^"\r\n]*)"(?:; filename="([^"\r\n]*)")?\s*$',
    re.IGNORECASE | re.MULTILINE,
)
_LONGEST_HEAD = 2000


class Upload(NamedTuple):
    """A file of a form; its name is what the browser says."""

    name: str
    content: bytes


def read_parts(content_type: str, body: bytes) -> tuple[Mapping[str, str], Mapping[str, Upload]]:
    """The fields of a form, and its files, without those that were not chosen."""
    fields: dict[str, str] = {}
    files: dict[str, Upload] = {}
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return fields, files
    # What stands before the first boundary and behind the last one is no part.
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        end = part.find(b"\r\n\r\n", 0, _LONGEST_HEAD)
        head = _DISPOSITION.search(part[: max(0, end)].decode(errors="replace"))
        if head is None:
            continue
        name, content = _named(head[1]), part[end + 4 :]
        if head[2] is None:
            fields[name] = content.decode(errors="replace")
        elif head[2]:
            files[name] = Upload(_named(head[2]), content)
    return fields, files


def _named(quoted: str) -> str:
    return quoted.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
