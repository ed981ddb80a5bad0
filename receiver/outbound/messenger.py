"""How people are told something: through Apprise, to all that ALERT_URLS name."""

import logging
from collections.abc import Sequence

from receiver import telemetry
from receiver.settings import Settings


class Messenger:
    """Sends messages; to nobody where no URL is set."""

    def __init__(self, settings: Settings) -> None:
        self._urls = [url.get_secret_value() for url in settings.alert_urls]

    @property
    def reaches_anybody(self) -> bool:
        return bool(self._urls)

    def send(self, title: str, lines: Sequence[str]) -> bool:
        """Whether somebody was told.

        A URL that fails beside one that works is logged and not tried again: who was told is not to be
        told twice.
        """
        import apprise  # a quarter of a second, which only those pay who are told something

        for logger in ("apprise", "urllib3"):  # which quote URLs, and these hold secrets
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
        sent = 0
        for url in self._urls:
            target = apprise.Apprise()
            target.add(url)
            sent += bool(target.notify(title=title, body="\n".join(lines)))
        if sent < len(self._urls):
            telemetry.log("notice_failed", level=logging.WARNING)
        return sent > 0
