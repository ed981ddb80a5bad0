"""Work that a thread does again and again, whatever happens: one that ended would let things lie for ever."""

import logging
import threading
from collections.abc import Callable

from receiver import telemetry
from receiver.store.engine import fault

_TROUBLE_SECONDS = 2.0


def again_and_again(
    step: Callable[[], float], stop: threading.Event, wait: Callable[[float], object], *, failed: str
) -> None:
    """Do *step* until *stop* is set, which gives the seconds to *wait* for the next one, 0 for none.

    What it raises is logged as the event *failed*, once until a step went well.
    """
    failing = False
    while not stop.is_set():
        try:
            pause = step()
            failing = False
        except Exception as error:
            if not failing:
                level = logging.ERROR if fault(error) is None else logging.WARNING
                telemetry.log(failed, level=level, **telemetry.described(error))
            failing, pause = True, _TROUBLE_SECONDS
        if pause:
            wait(pause)
