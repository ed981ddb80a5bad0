"""What may be asked about the relay to Bloomreach, and what people decide about what was set aside."""

from pydantic import Field, StrictBool

from receiver.store.outbox import Reason
from receiver.store.set_aside import WhichAside
from receiver.web.mailing_questions import Number
from receiver.web.questions import PageSize, Parameters, Period, Text


class RelayQuestion(Parameters):
    groups: bool = Field(True, description="Also in which words it was set aside; all that is, is read.")


class WhichSetAside(Period):
    """Which of the commands that were set aside, and when they were; with nothing said all of them."""

    reason: Reason | None = None
    message: Text | None = Field(None, description="The words that stand there, exactly.")
    type: Text | None = Field(None, description="The type of event; customer updates have none.")
    campaign: Text | None = Field(None, description="The campaign reference; customer updates have none.")

    def which(self) -> WhichAside:
        return WhichAside(self.reason, self.message, self.type, self.campaign, self.since, self.until)


class SetAsideQuestion(WhichSetAside):
    limit: PageSize = 100
    cursor: Number | None = Field(None, description="The `next` of the page before.")


class SetAsideDecision(Parameters):
    """Which commands it is done to."""

    filter: WhichSetAside
    dry_run: StrictBool = Field(
        True, description="Only say how many those are; false does it.  A dry run unless told."
    )
