"""A file tried out, and all letters of a campaign decided about, over HTTP; on both databases."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from receiver.outbound.jobs import Job
from receiver.outbound.rehearsing import SAMPLES, rehearse
from receiver.outbound.templates import PRESETS
from receiver.web.mailing_documents import CancelledMailingsDocument, ResolvedMailingsDocument
from receiver.web.mailing_preview import MOST_ROWS, PreviewDocument, PreviewQuestion
from tests.posting import Post, person, steps
from tests.reading_app import asking, authorization
from tests.simulated import SimulatedOptilyz

AUTOMATION = "64b0c0ffee0000000000abcd"
HEADER = "registered,lastName,address1,zipCode,city\n"
ANNA = "anna,Beispiel,Weg 1,01067,Dresden\n"
BERT = "bert,Beispiel,Weg 2,01067,\n"
CARL = "carl,Öhler,Weg 3,01067,Dresden\n"
FILE = HEADER + ANNA + BERT + CARL + ANNA


@pytest.fixture
def client(post: Post) -> Iterator[TestClient]:
    url = post.settings.optilyz_base_url
    of_letters = {"optilyz_base_url": url, "optilyz_api_key": "k", "optilyz_per_minute": 600_000}
    with asking(post.engine, **of_letters) as client:
        yield client


def api(client: TestClient, post: Post, path: str, role: str = "ops", **body: Any) -> httpx2.Response:
    url = f"/v1/projects/{post.rows.project.token}/mailings{path}"
    return client.post(url, json=body, headers=authorization(post.rows.project, role))


def preview(client: TestClient, post: Post, **body: Any) -> Any:
    answer = api(client, post, "/preview", automation=AUTOMATION, **body)
    assert answer.status_code == 200
    return answer.json()


# -- a campaign -----------------------------------------------------------------------------------


def test_all_letters_of_a_campaign_are_resolved_and_cancelled(
    client: TestClient, post: Post, optilyz: SimulatedOptilyz
) -> None:
    post.intend(person("anna"))
    optilyz.fail("queue-then-cut")
    steps(post.asker())
    post.intend(person("bert"))
    post.intend(person("carl"), campaign="spring")

    resolved = api(client, post, "/resolve", campaign="winback", printed=False).json()
    cancelled = api(client, post, "/cancel", campaign="winback").json()

    assert resolved == {"resolved": 1}
    ResolvedMailingsDocument.model_validate(resolved)
    CancelledMailingsDocument.model_validate(cancelled)
    assert [(each["outcome"], each["count"]) for each in cancelled["data"]] == [("cancelled", 2)]
    assert cancelled["next"] is None
    assert post.states() == {"cancelled": 2, "intended": 1}


@pytest.mark.parametrize("path", ["/cancel", "/resolve", "/preview"])
def test_only_operations_decide_and_try_out(client: TestClient, post: Post, path: str) -> None:
    assert api(client, post, path, "data", campaign="winback").status_code == 403
    assert api(client, post, path).status_code == 400


# -- a file ---------------------------------------------------------------------------------------


def test_the_api_says_what_the_command_line_says_and_stores_nothing(
    client: TestClient, post: Post, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(FILE)
    by_command = rehearse(
        post.engine, post.settings, Job(post.rows.project.token, path, AUTOMATION, "winback")
    )
    before = post.sizes()

    found = preview(client, post, file=FILE, campaign="winback")

    PreviewDocument.model_validate(found, strict=False)
    assert {(each["state"], each["reason"]): each["count"] for each in found["letters"]} == by_command.fates
    assert (found["rows"], found["more"]) == (4, False)
    assert by_command.request == (found["request"]["url"], found["request"]["body"])
    assert [each["row"] for each in found["samples"]] == [1, 2, 3, 4]
    assert post.sizes() == before


def test_only_so_many_rows_are_looked_at_and_that_is_said(client: TestClient, post: Post) -> None:
    asked = {"file": FILE, "automation": AUTOMATION}

    some, all_of_them = (api(client, post, "/preview", **asked, limit=limit).json() for limit in (3, 4))

    assert (some["rows"], some["more"]) == (3, True)
    assert (all_of_them["rows"], all_of_them["more"]) == (4, False)
    assert api(client, post, "/preview", **asked, limit=MOST_ROWS + 1).status_code == 400


def test_of_each_fate_only_some_letters_are_shown(client: TestClient, post: Post) -> None:
    rows = "".join(f"c-{number},Beispiel,Weg 1,01067,Dresden\n" for number in range(450))

    found = api(client, post, "/preview", file=HEADER + rows, automation=AUTOMATION).json()

    assert (found["rows"], len(found["samples"])) == (450, SAMPLES)


def test_who_has_a_letter_already_gets_another_one_only_when_told(client: TestClient, post: Post) -> None:
    post.intend(person("anna"))
    asked = {"file": HEADER + ANNA, "automation": AUTOMATION, "campaign": "winback"}

    seen = [api(client, post, "/preview", **asked, again=again).json() for again in (False, True)]
    states = [each["samples"][0]["state"] for each in seen]

    assert states == ["suppressed", "intended"]


@pytest.mark.parametrize(
    ("file", "status"),
    [
        ({"file_base64": base64.b64encode(FILE.encode()).decode()}, 200),
        ({"file_base64": "%%%"}, 422),
        ({"file": FILE, "file_base64": ""}, 400),
        ({}, 400),
        (
            {
                "file": '[{"customer": {"lastName": "B"}, "customer_ids": {"registered": "a"}}]',
                "name": "p.json",
            },
            200,
        ),
        ({"file": "nothing", "name": "p.json"}, 422),
    ],
)
def test_a_file_is_given_in_one_way(
    client: TestClient, post: Post, file: dict[str, str], status: int
) -> None:
    assert api(client, post, "/preview", automation=AUTOMATION, **file).status_code == status


def test_every_preset_can_be_tried_and_nothing_else() -> None:
    field = PreviewQuestion.model_json_schema()["properties"]["template"]

    assert {field.get("const"), *field.get("enum", ())} - {None} == set(PRESETS)
