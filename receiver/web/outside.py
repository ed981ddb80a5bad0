"""How whoever asks sees us: behind a proxy that is not how we see ourselves."""

from starlette.requests import Request

from receiver.web.state import State


def scheme_of(request: Request[State]) -> str:
    """What the viewer's browser speaks: TLS ends in the proxy, which says so.

    Whoever lies about it only misleads themselves.
    """
    told = {request.headers.get("x-forwarded-proto", ""), request.headers.get("origin", "").partition(":")[0]}
    return "https" if "https" in told else request.url.scheme


def address_of(request: Request[State]) -> str:
    """``https://host``, as it was asked for."""
    return f"{scheme_of(request)}://{request.url.netloc}"
