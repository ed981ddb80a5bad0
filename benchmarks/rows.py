"""The rows that the service leaves of what happens in ``benchmarks.year``; all of it is made up.

Customer n of the year has the number n + 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import blake2b

from benchmarks.traffic import cookie, registered
from benchmarks.year import RARE_TYPE, RESPONSE, STAFF, Campaign, Heard, Letter
from receiver.domain.kinds import Kind
from receiver.domain.moments import DAY_US, SECOND_US
from receiver.domain.stages import stage_of
from receiver.inbound.ties import Tie
from receiver.store.mailings import MOST_TOGETHER, Reason, Route, State
from receiver.store.sets import Row
from receiver.store.writes import Source

PROJECT = 1
RARE_PROPERTY = "cost_center"

_NAMES = ("Ada", "Jürgen", "Mia", "Søren", "Zoë", "Emil", "Käthe", "Noah", "Lea", "Paul", "Ines")
_CITIES = ("Berlin", "Dresden", "Köln", "München", "Leipzig", "Bremen", "Görlitz")
_COOKIES = (0, 1, 1, 1, 2, 1, 0, 2, 1, 3, 1, 1, 0, 4, 1, 1, 5)
_MOST_COOKIES = 8
_MERGED_OF, _FIRST_MERGED = 200, 7
_AUTOMATION = "64a0c0ffee0000000000cd%02d"
# Looked up once, for they are in every row.
_SENDING, _CALLBACK = Source.SENDING.value, Source.CALLBACK.value
_BY_MAILING_ID, _BY_IDS, _BY_NOTHING = Tie.MAILING_ID.value, Tie.IDS.value, Tie.NO_MAILING.value
_STATES = {
    "failed": State.REFUSED,
    "suppressed": State.SUPPRESSED,
    "cancelled": State.CANCELLED,
    "lost": State.UNKNOWN,
}
_REASONS = {
    State.REFUSED: Reason.REFUSED_BY_OPTILYZ.value,
    State.SUPPRESSED: Reason.OBJECTION.value,
    State.UNKNOWN: Reason.NO_ANSWER.value,
}


# -- customers ------------------------------------------------------------------------------------


def survivors(customers: int) -> range:
    """Those into whom another customer was merged."""
    return range(_FIRST_MERGED, customers, _MERGED_OF)


def cookies_of(who: int) -> list[str]:
    """The first ones are those that were used last; that of another customer comes with a merge."""
    return [_cookie(who, place) for place in range(_held(who))]


def _held(who: int) -> int:
    own = _COOKIES[who % len(_COOKIES)] if _is_registered(who) else 1
    return own + (who % _MERGED_OF == _FIRST_MERGED)


def _cookie(who: int, place: int) -> str:
    return cookie(who * _MOST_COOKIES + place).decode()


def _is_registered(who: int) -> bool:
    return who % 20 > 2 or who < STAFF


def id_rows(who: int, used_us: int) -> Iterator[Row]:
    if _is_registered(who):
        yield PROJECT, "registered", registered(who).decode(), who + 1, used_us
    for number, value in enumerate(cookies_of(who)):
        yield PROJECT, "cookie", value, who + 1, used_us - number


def property_rows(who: int, told_us: int) -> Iterator[Row]:
    told = {"first_name": f'"{_NAMES[who % len(_NAMES)]}"', "last_name": f'"Muster-{who}"'}
    if who % 2:
        told |= {"city": f'"{_CITIES[who % len(_CITIES)]}"', "zip": f'"{1067 + who % 90_000:05d}"'}
        told |= {"newsletter": "true" if who % 3 else "false"}
    if who % 10_000 == 1:
        told["vip_since"] = "2019"
    for name, value in told.items():
        yield who + 1, name, value, told_us


def merge_row(number: int, who: int, source: int, at_us: int) -> Row:
    """The event of our own about customer *source*, who has just been merged into *who*."""
    ids = f'{{"registered":"{registered(who).decode()}","cookie":"{_cookie(who, _held(who) - 1)}"}}'
    properties = f'{{"source":{source},"survivor":{who + 1}}}'
    about = (number, PROJECT, who + 1, "merge", at_us, at_us, Source.IDENTITY.value, None, None, None)
    return (*about, ids, properties, None, None, None, Kind(PROJECT, "merge", None, None, None).id)


# -- events ---------------------------------------------------------------------------------------


def _ids(letter: Letter) -> str:
    """As they travel in the letter."""
    who, held = letter.customer, _held(letter.customer)
    if not _is_registered(who):
        return f'{{"cookie":"{_cookie(who, 0)}"}}'
    if not held:
        return f'{{"registered":"{registered(who).decode()}"}}'
    return f'{{"registered":"{registered(who).decode()}","cookie":"{_cookie(who, letter.number % held)}"}}'


@cache
def _kind(campaign: str | None, word: str) -> Kind:
    if word == RARE_TYPE:
        return Kind(PROJECT, word, None, None, None)
    if word == RESPONSE:
        return Kind(PROJECT, word, campaign, None, None)
    return Kind(PROJECT, "campaign", campaign, word, stage_of(word, {}))


def source_of(heard: Heard) -> str:
    return _SENDING if heard.sent else _CALLBACK


def campaign_of(heard: Heard) -> str | None:
    return _kind(heard.letter.campaign.reference, heard.word).campaign


def event_row(number: int, heard: Heard) -> Row:
    received_us, _, occurred_us, letter, word, sent = heard
    kind = _kind(letter.campaign.reference, word)
    mailing, tied = _tied(heard) if kind.campaign else (None, None)
    return (
        *(number, PROJECT, letter.customer + 1, kind.type, occurred_us, received_us, source_of(heard)),
        *(kind.campaign, kind.status, kind.stage, _ids(letter)),
        _letter_event(heard) if sent else _callback(heard, kind),
        *(mailing, tied, kind.campaign and letter.variation, kind.id),
    )


def _tied(heard: Heard) -> tuple[str | None, str]:
    letter = heard.letter
    if letter.mailing is None:
        return None, _BY_NOTHING
    if heard.sent or _brings_back(letter.campaign):
        return letter.mailing, _BY_MAILING_ID
    return letter.mailing, _BY_IDS


def _brings_back(campaign: Campaign) -> bool:
    """Our ID of a letter comes back with what is heard of it."""
    return campaign.number % 4 == 1


def _letter_event(heard: Heard) -> str:
    """Properties as receiver.outbound.letters has them."""
    letter = heard.letter
    campaign = letter.campaign
    reason = _REASONS.get(_STATES[letter.fate]) if letter.fate in _STATES else None
    variation = f',"variation":"{letter.variation}"' if letter.variation else ""
    return (
        f'{{"action_type":"direct mail","status":"{heard.word}","campaign_id":"{campaign.reference}"'
        f',"automation_id":"{_AUTOMATION % campaign.number}","mailing_id":"{letter.mailing}"{variation}'
        + (f',"type":"{reason}"}}' if reason else "}")
    )


def _callback(heard: Heard, kind: Kind) -> str:
    letter, number = heard.letter, heard.letter.number
    campaign = letter.campaign
    some = ""
    if kind.status:
        some += f',"status":"{kind.status}"'
    if kind.campaign:
        some += f',"campaign_id":"{kind.campaign}","campaign_name":"Winback {campaign.number:02d}"'
        some += f',"variation":"{letter.variation}"' if letter.variation else ""
        some += f',"mailing_id":"{letter.mailing}"' if letter.mailing and _brings_back(campaign) else ""
    if kind.type == RESPONSE:
        some += f',"voucher":"V{number:08X}","amount_cents":{number % 9000}'
    if kind.stage == "posted":
        some += f',"pages":{1 + number % 3},"weight_g":{18 + number % 5}.5'
    if letter.customer < STAFF:
        some += ',"test":true'
    if number % 2000 == 0:
        some += f',"{RARE_PROPERTY}":"K{number % 7}"'
    return (
        f'{{"action_type":"direct mail"{some},"platform":"optilyz","batch":"{heard.occurred_us // DAY_US}"}}'
    )


# -- mailings -------------------------------------------------------------------------------------


def address_key(who: int) -> bytes:
    return blake2b(b"%d" % who, digest_size=16).digest()


def run_row(number: int, campaign: Campaign, letters: int, at_us: int) -> Row:
    key = blake2b(b"%d" % number, digest_size=32).digest()
    return number, PROJECT, key, _AUTOMATION % campaign.number, campaign.reference, letters, at_us


def mailing_row(letter: Letter, run: tuple[int, int] | None, heard: Iterable[Heard]) -> Row:
    """*run* and its place in it, None for what came through the gateway; *heard* is all up to now."""
    state = _STATES.get(letter.fate, State.QUEUED)
    settled_us = letter.at_us + SECOND_US // 4
    called = [each for each in heard if not each.sent and campaign_of(each)]
    last = max((each for each in called if each.word != RESPONSE), key=_occurred_us, default=None)
    asked = state not in (State.SUPPRESSED, State.CANCELLED)
    return (
        *(letter.mailing, PROJECT, letter.customer + 1, *(run or (None, None))),
        *((Route.MANY if run else Route.ONE).value, _AUTOMATION % letter.campaign.number),
        *(letter.campaign.reference, state.value, _REASONS.get(state), None, _ids(letter)),
        *(b'{"address":{}}' if state is State.REFUSED else None, address_key(letter.customer)),
        *(letter.variation, f"{letter.number:024x}" if state is State.QUEUED else None, None, None),
        *(MOST_TOGETHER, int(asked), letter.at_us - SECOND_US, letter.at_us if asked else None, settled_us),
        last and last.word,
        last and stage_of(last.word, {}),
        last and last.occurred_us,
        max((each.received_us for each in called), default=None),
        False,
    )


def _occurred_us(heard: Heard) -> int:
    return heard.occurred_us


def carried_rows(letter: Letter) -> Sequence[Row]:
    """By what a callback finds the letter."""
    if letter.fate == "suppressed":
        return ()
    pairs = [part.split('":"') for part in _ids(letter)[2:-2].split('","')]
    return [(PROJECT, kind, value, letter.campaign.reference, letter.mailing) for kind, value in pairs]
