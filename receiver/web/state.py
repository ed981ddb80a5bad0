"""What the lifespan of the service makes, and every request finds in ``request.state``."""

from typing import TypedDict

from sqlalchemy import Engine

from receiver.inbound.deliveries import Policy
from receiver.inbound.writer import Writer
from receiver.outbound.gateway import Gateway
from receiver.outbound.pump import Pump
from receiver.settings import Settings
from receiver.web.auth import LiveKeyring
from receiver.web.intake import Intake


class State(TypedDict):
    """Made once per process; nothing of it belongs to a single request."""

    settings: Settings
    engine: Engine
    keys: LiveKeyring
    policy: Policy
    writer: Writer
    intake: Intake
    gateway: Gateway
    pump: Pump
