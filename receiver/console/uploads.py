"""Forms that hold a file."""

from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

MULTIPART = "multipart/form-data"

_MOST = 200


class Upload(NamedTuple):
    """A file of a form; its name is what the browser says."""

    name: str
    content: bytes


async def read_parts(content_type: str, body: bytes) -> tuple[Mapping[str, str], Mapping[str, Upload]]:
    """The fields of a form, and its files, without those that were not chosen; nothing of what is no form."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        Headers({"content-type": content_type}),
        whole(),
        max_files=_MOST,
        max_fields=_MOST,
        max_part_size=len(body) + 1,
    )
    fields: dict[str, str] = {}
    files: dict[str, Upload] = {}
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError):
        return fields, files
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields[name] = value
        elif value.filename:
            files[name] = Upload(value.filename, await value.read())
    await form.close()
    return fields, files
