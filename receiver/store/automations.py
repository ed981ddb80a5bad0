"""Which automations of Optilyz a project sends through."""

from sqlalchemy import Connection, select, union_all

from receiver.store.mailings import State
from receiver.store.tables import mailings

# Of each state: enough to know what is in use, and quick however many letters there are.
_NEWEST = 1000


def automations_of(connection: Connection, project_id: int) -> list[str]:
    """The automations of the project's newest letters, in order; what never was to be sent does not count."""
    newest = [
        select(mailings.c.automation)
        .where(mailings.c.project_id == project_id, mailings.c.state == state)
        .order_by(mailings.c.id.desc())
        .limit(_NEWEST)
        .subquery()
        for state in State
        if state not in {State.REFUSED, State.SUPPRESSED}
    ]
    found = union_all(*(select(each.c.automation) for each in newest)).subquery()
    return list(connection.scalars(select(found.c.automation).distinct().order_by(found.c.automation)))
