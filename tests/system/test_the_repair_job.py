"""The main job of repair, on real input: what was refused is found, mended and replayed, and every count
adds up after every step."""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx2
import pytest

from tests.conftest import DIALECTS
from tests.system.conftest import Installation
from tests.system.load import Load, assert_kept
from tests.system.repairing import (
    CAMPAIGNS,
    FIRST_NUMBER,
    NEVER_FILLED,
    RESENT,
    UNFILLED,
    WAYS,
    AtTheCommandLine,
    Document,
    Fault,
    Mending,
    Operator,
    OverHttp,
    Traffic,
)
from tests.system.service import Client, Project, Service, succeed

# Some 30 commands one after the other, each of which takes its second to start.
pytestmark = pytest.mark.timeout(300)

IN_MILLISECONDS = {"reason": "timestamp_in_milliseconds"}
WITH_EMPTY_ID = {"reason": "empty_customer_id"}
WITH_PLACEHOLDER = {"reason": "placeholder_customer_id"}
UNFILLED_ONLY = {**WITH_PLACEHOLDER, "q": UNFILLED}
HOPELESS_ONLY = {**WITH_PLACEHOLDER, "q": NEVER_FILLED}
TOO_MANY = {"reason": "too_many_commands"}
NO_JSON = {"reason": "malformed_json"}

TO_SECONDS: Mending = {"repair": "milliseconds-to-seconds"}
DROP_EMPTY: Mending = {"repair": "drop-empty-ids"}
SPLIT: Mending = {"repair": "split-batch"}
WITHOUT_REGISTERED: Mending = {"patch": [{"op": "remove", "path": "/customer_ids/registered"}]}


class Books:
    """What must hold at every moment.

    Attributes:
        stored: the events that are to be there, by number, beside those of live senders.
        live: how many events live senders have brought in.
        withdrawn: how many events of replays were taken back.
    """

    def __init__(self, service: Service, project: Project, client: Client) -> None:
        self.stored: dict[int, Document] = {}
        self.live = 0
        self.withdrawn = 0
        self._database_url = service.database_url
        self._token = project.token
        self._client = client

    def enter(self, faults: Iterable[Fault]) -> None:
        """These are to be stored from now on, as they were meant."""
        self.stored |= {each.meant["properties"]["number"]: each.meant for each in faults}

    def outcomes(self) -> tuple[Counter[str], Counter[str]]:
        """What became of what was sent and of what was replayed; also while both go on it adds up."""
        said = succeed("outcomes", self._token, "--check", "--json", database_url=self._database_url)
        document = json.loads(said)
        assert document["disagreements"] == []
        sent, replayed = Counter(document["total"]), Counter(document.get("replayed", {}))
        for each in (sent, replayed):
            assert each["received"] == each["accepted"] + each["duplicate"] + each["rejected"]
        return sent, replayed

    def balance(self, **states: int) -> Counter[str]:
        """Compare everything with everything; *states* says how many rejections are in which state.

        The answer is what became of what was sent.
        """
        with ThreadPoolExecutor(1) as beside:
            checked = beside.submit(self.outcomes)
            events, rows = self._client.events(), self._rejections()
        sent, replayed = checked.result()
        assert len(events) == sent["accepted"] + replayed["accepted"] - self.withdrawn
        assert len(events) == len(self.stored) + self.live
        numbers = {each["properties"]["number"] for each in events}
        assert {number for number in numbers if number >= FIRST_NUMBER} == self.stored.keys()

        assert Counter(each["state"] for each in rows) == states
        times = sum(each["count"] for each in rows)
        assert times == sent["rejected"] + replayed["rejected"]
        for state in ("open", "replayed", "dismissed"):
            count: Counter[str] = Counter()
            rejections: Counter[str] = Counter()
            for each in rows:
                if each["state"] == state:
                    count[each["reason"]] += each["count"]
                    rejections[each["reason"]] += 1
            summary = self._client.our_own("rejections/summary", state=state)["data"]
            assert {each["reason"]: each["count"] for each in summary} == count
            assert {each["reason"]: each["rejections"] for each in summary} == rejections
        return sent

    def assert_meant(self) -> None:
        """Everything is stored as it was meant."""
        events = {each["properties"]["number"]: each for each in self._client.events()}
        for number, meant in self.stored.items():
            found = events[number]
            assert (found["type"], found["customer_ids"]) == ("campaign", meant["customer_ids"])
            assert found["properties"] == meant["properties"]
            assert datetime.fromisoformat(found["occurred_at"]).timestamp() == meant["timestamp"]

    def _rejections(self) -> list[Document]:
        """All of them, page by page."""
        rows: list[Document] = []
        page = self._client.our_own("rejections", limit=400)
        rows += page["data"]
        while page["next"]:
            page = self._client.our_own("rejections", limit=400, cursor=page["next"])
            rows += page["data"]
        return rows


class Scene:
    """A running service with 5,000 callbacks to come, and who repairs what is refused of them."""

    def __init__(self, service: Service, project: Project, client: Client, operator: Operator) -> None:
        self.service = service
        self.project = project
        self.client = client
        self.operator = operator
        self.books = Books(service, project, client)
        self.traffic = Traffic()


@pytest.fixture(params=DIALECTS)
def fresh(request: pytest.FixtureRequest) -> Installation:
    """A database of the test's own, of each kind."""
    installation: Installation = request.getfixturevalue(request.param)
    return installation


@pytest.fixture(params=WAYS)
def scene(request: pytest.FixtureRequest, fresh: Installation, tmp_path: Path) -> Iterator[Scene]:
    way: type[AtTheCommandLine] | type[OverHttp] = request.param
    project = fresh.project
    with Service(tmp_path, *fresh) as service, Client(service, project) as client:
        yield Scene(service, project, client, way(service, project))


def test_what_was_refused_is_found_mended_and_replayed_and_the_counts_always_add_up(scene: Scene) -> None:
    _send_everything(scene)
    listed = _find_the_groups(scene)
    _look_into_some(scene, listed)
    _preview_a_repair_on_each(scene)
    _mend_milliseconds_while_callbacks_come_in(scene)
    _mend_the_ids(scene)
    _split_the_batch(scene)
    _dismiss_what_is_no_json(scene)
    _see_what_was_done(scene)
    sent = _undo_one_and_replay_it_again(scene)
    _hear_the_sender_repeat_itself(scene, sent)
    scene.books.assert_meant()


def _send_everything(scene: Scene) -> None:
    traffic = scene.traffic
    done = sum((_done(each.post(scene.client)) for each in traffic.requests()), Counter[bool]())
    assert done == {True: 4439, False: 561}

    scene.books.enter(traffic.good)
    sent = scene.books.balance(open=561)
    assert sent == {"received": 5000, "accepted": 4439, "duplicate": 0, "rejected": 561}


def _done(answer: httpx2.Response) -> Counter[bool]:
    """How many callbacks a request was told of that they were taken, and how many that they were not."""
    document = answer.json()
    results = document.get("results", [document])
    assert answer.status_code == (200 if "results" in document or document["success"] else 400)
    return Counter(each["success"] for each in results)


def _find_the_groups(scene: Scene) -> list[Document]:
    """Everything that is open."""
    summary = scene.operator.summary(state="open")
    assert [(each["reason"], each["count"], each["rejections"]) for each in summary] == [
        ("timestamp_in_milliseconds", 300, 300),
        ("empty_customer_id", 200, 200),
        ("placeholder_customer_id", 50, 50),
        ("malformed_json", 10, 10),
        ("too_many_commands", 1, 1),
    ]
    shapes = scene.operator.summary(state="open", by="shape")
    assert {(each["reason"], each["pointer"]): each["rejections"] for each in shapes} == {
        ("timestamp_in_milliseconds", "/timestamp"): 300,
        ("empty_customer_id", "/customer_ids/registered"): 160,
        ("empty_customer_id", "/individualisation1"): 40,
        ("placeholder_customer_id", "/customer_ids/registered"): 50,
        ("malformed_json", ""): 10,
        ("too_many_commands", "/commands"): 1,
    }
    flat = {"route": "callbacks", "pointer": "/individualisation1", "type": "campaign"}
    assert len(scene.operator.listed(campaign=CAMPAIGNS[0], **flat)) == 20
    listed = scene.operator.listed(state="open")
    assert Counter((each["reason"], each["route"], each["pointer"]) for each in listed) == {
        ("timestamp_in_milliseconds", "batch", "/timestamp"): 250,
        ("timestamp_in_milliseconds", "customers/events", "/timestamp"): 50,
        ("empty_customer_id", "batch", "/customer_ids/registered"): 160,
        ("empty_customer_id", "callbacks", "/individualisation1"): 40,
        ("placeholder_customer_id", "batch", "/customer_ids/registered"): 50,
        ("malformed_json", "customers/events", ""): 4,
        ("malformed_json", "batch", ""): 3,
        ("malformed_json", "callbacks", ""): 3,
        ("too_many_commands", "batch", "/commands"): 1,
    }
    return listed


def _look_into_some(scene: Scene, listed: Iterable[Document]) -> None:
    """What is shown is what was sent, to the byte."""
    (too_many,) = (each["id"] for each in listed if each["reason"] == "too_many_commands")
    shown = scene.operator.show(too_many)
    assert shown["body"].encode() == scene.traffic.too_many.body
    assert (shown["state"], shown["attempts_made"]) == ("open", [])
    names = {name for name, _ in shown["headers"]}
    assert "content-type" in names
    assert "authorization" not in names

    no_json = [each["id"] for each in listed if each["reason"] == "malformed_json"]
    bodies = {_body(scene.client.our_own(f"rejections/{each}")) for each in no_json}
    assert bodies == {each.body for each in scene.traffic.no_json}


def _body(shown: Document) -> bytes:
    if "body" in shown:
        return str(shown["body"]).encode()
    return base64.b64decode(shown["body_base64"])


def _preview_a_repair_on_each(scene: Scene) -> None:
    preview = scene.operator.preview
    seconds = preview(IN_MILLISECONDS, TO_SECONDS)
    assert _totals(seconds) == {"matched": 300, "accepted": 300}
    for before, after in _samples(seconds):
        assert before | {"timestamp": before["timestamp"] // 1000} == after
    dropped = preview(WITH_EMPTY_ID, DROP_EMPTY)
    assert _totals(dropped) == {"matched": 200, "accepted": 200}

    # Of all with template text some have no other ID: the preview says so, and the operator looks closer.
    removed = preview(WITH_PLACEHOLDER, WITHOUT_REGISTERED)
    assert _totals(removed) == {"matched": 50, "accepted": 30, "rejected": 20}
    assert removed["reasons"] == {"no_customer_ids": 20}
    assert _totals(preview(UNFILLED_ONLY, WITHOUT_REGISTERED)) == {"matched": 30, "accepted": 30}

    split = preview(TOO_MANY, SPLIT)
    assert _totals(split) == {"matched": 1, "accepted": 1}
    assert split["reasons"] == {"timestamp_in_milliseconds": 4}
    (sample,) = split["samples"]
    assert Counter(each["outcome"] for each in sample["results"]) == {"accepted": 396, "rejected": 4}
    assert [len(json.loads(body)["commands"]) for body in sample["after"]] == [50] * 8

    nothing = preview(NO_JSON, DROP_EMPTY)
    assert (_totals(nothing), nothing["reasons"]) == ({"matched": 10, "rejected": 10}, {"not_mended": 10})

    scene.books.balance(open=561)
    assert scene.operator.audit() == []


def _totals(document: Document) -> dict[str, int]:
    """What became of how many, without what became of none."""
    totals = {name: document[name] for name in ("matched", "accepted", "duplicate", "rejected")}
    return {name: number for name, number in totals.items() if number}


def _samples(document: Document) -> Iterator[tuple[Document, Document]]:
    """The event of each sample before and after its repair."""
    assert document["samples"]
    for each in document["samples"]:
        (after,) = each["after"]
        yield _event(each["before"]), _event(after)


def _event(body: str) -> Document:
    document: Document = json.loads(body)
    event: Document = document.get("data", document)
    return event


def _mend_milliseconds_while_callbacks_come_in(scene: Scene) -> None:
    with Load(scene.project, scene.service, connections=3) as live:
        live.go_on(30)
        applied = scene.operator.repair(IN_MILLISECONDS, TO_SECONDS)
        scene.books.outcomes()
        live.go_on(30)
    assert live.statuses.keys() == {200}
    assert_kept(live, scene.client)
    assert (applied["dry_run"], _totals(applied)) == (False, {"matched": 300, "accepted": 300})

    scene.books.live = len(live.acknowledged)
    scene.books.enter(scene.traffic.milliseconds)
    sent = scene.books.balance(open=261, replayed=300)
    assert (sent["rejected"], sent["accepted"]) == (561, 4439 + scene.books.live)


def _mend_the_ids(scene: Scene) -> None:
    books, operator = scene.books, scene.operator
    assert _totals(operator.repair(WITH_EMPTY_ID, DROP_EMPTY)) == {"matched": 200, "accepted": 200}
    books.enter(scene.traffic.empty)
    books.balance(open=61, replayed=500)

    patched = operator.repair(UNFILLED_ONLY, WITHOUT_REGISTERED)
    assert _totals(patched) == {"matched": 30, "accepted": 30}
    books.enter(scene.traffic.unfilled)
    books.balance(open=31, replayed=530)

    assert operator.dismiss(HOPELESS_ONLY, "Nobody can say who that was.") == 20
    books.balance(open=11, replayed=530, dismissed=20)


def _split_the_batch(scene: Scene) -> None:
    books, operator = scene.books, scene.operator
    assert _totals(operator.repair(TOO_MANY, SPLIT)) == {"matched": 1, "accepted": 1}
    books.enter(scene.traffic.oversized)
    # What was wrong within it is open now by itself.  Who mends all of the kind again mends these alone.
    books.balance(open=14, replayed=531, dismissed=20)

    assert _totals(operator.repair(IN_MILLISECONDS, TO_SECONDS)) == {"matched": 4, "accepted": 4}
    books.enter(scene.traffic.in_oversized)
    books.balance(open=10, replayed=535, dismissed=20)


def _dismiss_what_is_no_json(scene: Scene) -> None:
    assert scene.operator.dismiss(NO_JSON, "Cut off on the way.") == 10
    scene.books.balance(replayed=535, dismissed=30)


def _see_what_was_done(scene: Scene) -> None:
    steps = scene.operator.audit()
    assert Counter((each["action"], _how(each), each["note"]) for each in steps) == {
        ("replay", "milliseconds-to-seconds", None): 304,
        ("replay", "drop-empty-ids", None): 200,
        ("replay", "patch", None): 30,
        ("replay", "split-batch", None): 1,
        ("dismiss", None, "Nobody can say who that was."): 20,
        ("dismiss", None, "Cut off on the way."): 10,
    }
    assert {each["key_id"] for each in steps} == {scene.operator.key_id}
    assert len({each["rejection_id"] for each in steps}) == 565


def _how(step: Document) -> str | None:
    how = step["how"]
    return None if how is None else str(how.get("repair", "patch"))


def _undo_one_and_replay_it_again(scene: Scene) -> Counter[str]:
    """What became of all that was sent until now."""
    fault = scene.traffic.milliseconds[0]
    number, who = fault.sent["properties"]["number"], fault.sent["customer_ids"]
    (row,) = scene.operator.listed(q=who["cookie"])
    (step,) = scene.operator.show(row["id"])["attempts_made"]
    (result,) = step["results"]
    assert (step["action"], step["how"], step["undone_at"]) == ("replay", TO_SECONDS, None)
    assert result["outcome"] == "accepted"
    assert _events_about(scene, who) == [fault.meant["timestamp"]]

    undone = scene.operator.undo(row["id"], "A second look.")
    assert (undone["state"], undone["withdrawn"]) == ("open", [result["event_id"]])
    assert _events_about(scene, who) == []
    del scene.books.stored[number]
    scene.books.withdrawn = 1
    scene.books.balance(open=1, replayed=534, dismissed=30)

    again = scene.operator.repair_one(row["id"], TO_SECONDS)
    assert again["outcome"] == "accepted"
    assert again["event_id"] != result["event_id"]
    assert _events_about(scene, who) == [fault.meant["timestamp"]]
    scene.books.enter([fault])
    sent = scene.books.balance(replayed=535, dismissed=30)

    shown = scene.operator.show(row["id"])
    assert [each["action"] for each in shown["attempts_made"]] == ["replay", "undo", "replay"]
    assert shown["attempts_made"][2]["undone_at"] is not None
    assert json.loads(shown["body"]) == fault.sent
    return sent


def _events_about(scene: Scene, customer_ids: dict[str, str]) -> list[float]:
    """When what the Data API tells of somebody happened."""
    said = scene.client.customer_events(customer_ids, "campaign").json()
    return [each["timestamp"] for each in said["data"]]


def _hear_the_sender_repeat_itself(scene: Scene, before: Counter[str]) -> None:
    for each in scene.traffic.resent():
        assert False not in _done(each.post(scene.client))
    # What was dismissed is refused again and stays dismissed.
    assert _done(scene.traffic.no_json[0].post(scene.client)) == {False: 1}

    after = scene.books.balance(replayed=535, dismissed=30)
    assert after - before == {"received": RESENT + 1, "duplicate": RESENT, "rejected": 1}
