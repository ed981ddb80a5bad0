"""A file of people, all the way to Optilyz: sent once, whatever breaks in between."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.outbound import access
from receiver.outbound import sender as sender_module
from receiver.outbound.intending import intend
from receiver.outbound.jobs import Job, NotSent, Progress, Summary
from receiver.outbound.people import WrongFile
from receiver.outbound.sender import Sender
from receiver.outbound.templates import WrongTemplate
from receiver.simulator.service import AUTOMATION
from receiver.store.engine import connect
from receiver.store.mailings import Route, State
from tests.posting import ADDRESS, Post, posting
from tests.rows import locked
from tests.simulated import SimulatedOptilyz, simulated_optilyz


@pytest.fixture
def post(database_url: str, optilyz: SimulatedOptilyz) -> Iterator[Post]:
    with posting(database_url, optilyz.url, optilyz_batch_size=50) as post:
        yield post


@contextmanager
def sending(post: Post) -> Iterator[Sender]:
    """A process of its own, as far as the database can tell."""
    engine = connect(post.settings.database_url, wait_seconds=20)
    with Sender(post.settings, engine) as sender:
        yield sender


def rows(number: int, **each: object) -> list[dict[str, Any]]:
    """So many people, each in a house of their own."""
    return [
        {
            "customer_ids": {"registered": f"c-{place}"},
            "customer": ADDRESS | {"houseNumber": str(place + 1)} | each,
        }
        for place in range(number)
    ]


def file_of(folder: Path, people: Sequence[Mapping[str, Any]], name: str = "people.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(each) + "\n" for each in people), encoding="utf-8")
    return path


def job(post: Post, path: Path, **of_it: Any) -> Job:
    of_all: dict[str, Any] = {"project_token": post.rows.project.token, "automation": AUTOMATION}
    return Job(**of_all | {"file": path, "campaign": "winback"} | of_it)


def adds_up(summary: Summary, post: Post) -> bool:
    """The summary is what the tables say, and has a letter for each row."""
    found = Counter((each.state, each.reason) for each in post.letters() if each.run_id == summary.run_id)
    return dict(summary.fates) == dict(found) and sum(found.values()) == summary.rows


def nothing_twice(optilyz: SimulatedOptilyz, letters: int) -> bool:
    state = optilyz.state()
    return (state["queued"], state["duplicates"], state["breaches"]) == (letters, 0, 0)


# -- a whole run ----------------------------------------------------------------------------------


def test_a_file_is_sent_and_every_row_is_accounted_for(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    people = [
        *rows(230),
        *rows(3, zipCode="00000"),  # whom we have
        {"customer_ids": {"registered": "no-city"}, "customer": ADDRESS | {"city": ""}},
        {"customer_ids": {}, "customer": ADDRESS},
        {"customer_ids": {"registered": "nobody-there"}, "customer": ADDRESS | {"zipCode": "00000"}},
    ]
    path = file_of(tmp_path, people)
    path.write_text(path.read_text() + "this is no JSON\n")
    told: list[Progress] = []

    with sending(post) as sender:
        summary = sender.send(job(post, path), told.append)

    assert summary.fates == {
        ("queued", None): 230,
        ("suppressed", "already_mailed"): 3,
        ("refused", "missing_field"): 1,
        ("refused", "no_customer_ids"): 1,
        ("refused", "refused_by_optilyz"): 1,
        ("refused", "unreadable_row"): 1,
    }
    assert (summary.rows, summary.stopped, summary.count(State.QUEUED, State.REFUSED)) == (237, None, 234)
    assert adds_up(summary, post)
    assert nothing_twice(optilyz, 230)
    assert optilyz.state()["letters_per_request"] == [50, 50, 50, 50, 31]
    assert [each.place for each in post.letters() if each.reason == "unreadable_row"] == [237]
    assert len(post.events()) == 235
    assert not post.disagreements()
    assert [each.phase for each in told] == sorted(each.phase for each in told)
    assert told[-1] == Progress("sent", 234, 234)
    assert told[0].total == path.stat().st_size


def test_the_same_job_again_sends_nothing(post: Post, optilyz: SimulatedOptilyz, tmp_path: Path) -> None:
    path = file_of(tmp_path, rows(3))
    with sending(post) as sender:
        first = sender.send(job(post, path))
        again = sender.send(job(post, path))
    with sending(post) as sender:
        assert again == sender.send(job(post, path)) == first._replace(before=3)
    assert first.before == 0
    assert nothing_twice(optilyz, 3)
    assert len(post.letters()) == 3


def test_a_longer_file_sends_only_to_the_new_people(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    with sending(post) as sender:
        sender.send(job(post, file_of(tmp_path, rows(3))))
        summary = sender.send(job(post, file_of(tmp_path, rows(5))))
        elsewhere = sender.send(job(post, tmp_path / "people.jsonl", campaign="summer", limit=1))
        again = sender.send(job(post, tmp_path / "people.jsonl", once=False, limit=2))

    assert summary.fates == {("queued", None): 2, ("suppressed", "already_mailed"): 3}
    assert (elsewhere.fates, again.fates) == ({("queued", None): 1}, {("queued", None): 2})
    assert optilyz.state()["queued"] == 8


def test_a_repeat_in_another_chunk_is_found(post: Post, optilyz: SimulatedOptilyz, tmp_path: Path) -> None:
    with sending(post) as sender:
        summary = sender.send(job(post, file_of(tmp_path, [*rows(210), *rows(5)])))

    assert summary.fates == {("queued", None): 210, ("suppressed", "already_mailed"): 5}
    assert nothing_twice(optilyz, 210)


def test_a_limit_is_of_rows_from_the_beginning_and_the_next_run_goes_on_there(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    path = file_of(tmp_path, rows(7))
    with sending(post) as sender:
        assert [sender.send(job(post, path, limit=limit)).rows for limit in (3, 2, 5, None)] == [3, 3, 5, 7]
    assert nothing_twice(optilyz, 7)
    assert [each.place for each in post.letters()] == [1, 2, 3, 4, 5, 6, 7]


def test_a_limit_also_holds_for_what_was_prepared_without_one(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    path = file_of(tmp_path, rows(7))
    with sending(post) as sender:

        def break_off(progress: Progress) -> None:
            if progress.phase == "sent":
                sender.stop.set()

        assert sender.send(job(post, path), break_off).stopped == "It was told to stop."
    with sending(post) as sender:
        assert sender.send(job(post, path, limit=3)).count(State.QUEUED) == 3
        assert sender.send(job(post, path)).count(State.QUEUED) == 7
    assert nothing_twice(optilyz, 7)


def test_one_letter_a_request_and_a_variation_for_all(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    with sending(post) as sender:
        sender.send(job(post, file_of(tmp_path, rows(3, variation=1)), route=Route.ONE, variation=2))

    assert optilyz.state()["letters_per_request"] == [1, 1, 1]
    assert {each["variation"] for each in optilyz.recipients()} == {2}


def test_a_template_of_ones_own_makes_the_letters(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    """The source document's, in both of its parts."""
    template = tmp_path / "mine.j2"
    parts = [
        f"{{# {part} #}}\n" + (Path(__file__).parent / "templates" / name).read_text()
        for part, name in (("ROOT", "batch-root.json.j2"), ("CUSTOMER", "extended-implementation.json.j2"))
    ]
    template.write_text("\n".join(parts))
    people = [
        {
            "customer_ids": {"registered": f"c-{place}", "cookie": [f"k{place}", "k"]},
            "customer": {
                "salutation": "Frau",
                "firstName": 'A"da',
                "lastName": "{{ O'Hara }}",
                "street": f"Hauptstr. {place}",
                "zipCode": "01067",
                "city": "Dresden",
            },
        }
        for place in range(3)
    ]
    with sending(post) as sender:
        rehearsal = sender.rehearse(job(post, file_of(tmp_path, people), template=str(template)))
        summary = sender.send(job(post, tmp_path / "people.jsonl", template=str(template)))

    assert rehearsal.fates == {("intended", None): 3}
    assert summary.fates == {("queued", None): 3}
    assert nothing_twice(optilyz, 3)
    assert optilyz.recipients()[2]["address"] == {
        "title": "Frau",
        "firstName": 'A"da',
        "lastName": "{{ O'Hara }}",
        "address1": "Hauptstr. 2",
        "zipCode": "01067",
        "city": "Dresden",
        "individualisation1": "c-2",
        "individualisation2": "k2",
        "individualisation3": "winback",
    }


def test_a_csv_file_is_sent_as_it_stands(post: Post, optilyz: SimulatedOptilyz, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        "registered,cookie,fullName,address1,zipCode,city,country\n"
        'c-1,k1,"Ada ""Quote"" O\'Hara",Hauptstr. 1a,01067,Dresden,DE\n'
        "c-2,,Bert,-,01067,Dresden,\n"
        ",k3,Carl,Weg 3,01067,Köln,\n",
        encoding="utf-8",
    )
    with sending(post) as sender:
        summary = sender.send(job(post, path))

    assert summary.fates == {("queued", None): 2, ("refused", "missing_street"): 1}
    first, second = optilyz.recipients()
    assert first["address"] == {
        "fullName": 'Ada "Quote" O\'Hara',
        "address1": "Hauptstr. 1a",
        "zipCode": "01067",
        "city": "Dresden",
        "country": "DE",
        "individualisation1": "c-1",
        "individualisation2": "k1",
        "individualisation3": "winback",
    }
    assert "individualisation1" not in second["address"]


# -- broken off -----------------------------------------------------------------------------------


def test_a_job_that_is_broken_off_while_it_is_prepared_goes_on_and_sends_each_letter_once(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    path = file_of(tmp_path, rows(450))
    with sending(post) as sender:
        summary = sender.send(job(post, path), lambda _: sender.stop.set())
    assert (summary.rows, summary.fates) == (200, {("intended", None): 200})
    assert summary.stopped
    assert optilyz.state()["requests"] == 0

    with sending(post) as sender:
        summary = sender.send(job(post, path))
    assert (summary.rows, summary.stopped) == (450, None)
    assert adds_up(summary, post)
    assert nothing_twice(optilyz, 450)


def test_a_job_that_is_broken_off_while_it_is_sent_goes_on_and_sends_each_letter_once(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    path = file_of(tmp_path, rows(170))
    with sending(post) as sender:

        def stop(progress: Progress) -> None:
            if progress.phase == "sent" and progress.done:
                sender.stop.set()

        summary = sender.send(job(post, path), stop)
    assert summary.fates == {("queued", None): 50, ("intended", None): 120}
    assert summary.stopped

    with sending(post) as sender:
        summary = sender.send(job(post, path))
    assert (summary.fates, summary.stopped) == ({("queued", None): 170}, None)
    assert nothing_twice(optilyz, 170)


def test_a_job_that_dies_within_a_chunk_leaves_no_half_of_it(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(tmp_path, rows(250))
    calls: list[int] = []

    def intend_and_die(*arguments: Any, **more: Any) -> Any:
        decided = intend(*arguments, **more)
        calls.append(len(decided))
        if len(calls) == 2:
            raise RuntimeError
        return decided

    with sending(post) as sender, monkeypatch.context() as broken:
        broken.setattr(sender_module, "intend", intend_and_die)
        with pytest.raises(RuntimeError):
            sender.send(job(post, path))
    assert len(post.letters()) == 200

    with sending(post) as sender:
        summary = sender.send(job(post, path))
    assert summary.fates == {("queued", None): 250}
    assert [each.place for each in post.letters()] == [*range(1, 251)]
    assert nothing_twice(optilyz, 250)


def test_letters_of_unknown_fate_wait_for_a_person_and_all_others_are_sent(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    path = file_of(tmp_path, rows(120))
    optilyz.fail("queue-then-cut", "503-retry", "500")
    for _ in range(2):
        with sending(post) as sender:
            summary = sender.send(job(post, path))
        assert summary.fates == {("queued", None): 20, ("unknown", "no_answer"): 100}
        assert summary.stopped is None
    assert nothing_twice(optilyz, 70)


def test_a_run_gives_up_when_optilyz_stays_away_and_the_same_sender_can_go_on(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_MOST_BACK_OFF_SECONDS", 0.6)
    path = file_of(tmp_path, rows(3))
    away = post.settings.model_copy(update={"optilyz_base_url": "http://127.0.0.1:9/api"})
    with Sender(away, connect(away.database_url)) as sender:
        summary = sender.send(job(post, path))
        assert summary.stopped
        assert "could not be reached" in summary.stopped
        assert summary.fates == {("intended", None): 3}
        assert {each.attempts for each in post.letters()} == {6}

        sender._settings = post.settings
        assert sender.send(job(post, path)).fates == {("queued", None): 3}
    assert nothing_twice(optilyz, 3)


def test_a_refused_key_stops_a_run_with_a_sentence(database_url: str, tmp_path: Path) -> None:
    with (
        simulated_optilyz(key="another") as optilyz,
        posting(database_url, optilyz.url, optilyz_concurrency=2) as post,
        sending(post) as sender,
    ):
        summary = sender.send(job(post, file_of(tmp_path, rows(3))))

        assert summary.fates == {("intended", None): 3}
        assert summary.stopped == "Optilyz refuses the API key (401)."


def test_a_database_that_is_away_ends_a_run_which_goes_on_later(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    path = file_of(tmp_path, rows(120))
    engine = connect(post.settings.database_url, wait_seconds=0.2)
    with Sender(post.settings, engine) as sender:
        away = locked(post.settings.database_url)

        def lock(progress: Progress) -> None:
            if progress.phase == "sent" and progress.done == 50:
                away.__enter__()

        with pytest.raises(Exception, match=r"locked|SQLSTATE 55P03"):
            sender.send(job(post, path), lock)
        away.__exit__(None, None, None)
    assert post.states() == {"queued": 50, "intended": 70}

    with sending(post) as sender:
        assert sender.send(job(post, path)).fates == {("queued", None): 120}
    assert nothing_twice(optilyz, 120)


# -- two at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 2])
def test_two_senders_of_the_same_job_share_it_and_send_no_letter_twice(
    database_url: str, tmp_path: Path, concurrency: int
) -> None:
    path = file_of(tmp_path, [*rows(650), *rows(20)])
    with (
        simulated_optilyz(latency=0.02) as optilyz,
        posting(database_url, optilyz.url, optilyz_concurrency=concurrency) as post,
        ThreadPoolExecutor(2) as pool,
    ):
        together = threading.Barrier(2)

        def send() -> Summary:
            with sending(post) as sender:
                together.wait()
                return sender.send(job(post, path))

        first, second = [done.result() for done in [pool.submit(send) for _ in range(2)]]

        assert first._replace(before=0) == second._replace(before=0)
        assert first.fates == {("queued", None): 650, ("suppressed", "already_mailed"): 20}
        assert adds_up(first, post)
        assert nothing_twice(optilyz, 650)
        assert optilyz.state()["worst_concurrency"] == concurrency
        assert sorted(each.place for each in post.letters()) == [*range(1, 671)]
        assert not post.disagreements()


def test_two_files_with_the_same_people_at_once_send_each_of_them_one_letter(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    paths = [
        file_of(tmp_path, rows(250), "one.jsonl"),
        file_of(tmp_path, rows(250)[::-1], "other.jsonl"),
    ]

    def send(path: Path) -> Summary:
        with sending(post) as sender:
            return sender.send(job(post, path))

    with ThreadPoolExecutor(2) as pool:
        summaries = list(pool.map(send, paths))

    assert sum(each.count(State.QUEUED) for each in summaries) == 250
    assert sum(each.count(State.SUPPRESSED) for each in summaries) == 250
    assert nothing_twice(optilyz, 250)


# -- a rehearsal ----------------------------------------------------------------------------------


def cookies(registered: str | None, cookie: str | None, place: int) -> dict[str, Any]:
    ids = {"registered": registered, "cookie": cookie}
    return {
        "customer_ids": {kind: value for kind, value in ids.items() if value},
        "customer": ADDRESS | {"houseNumber": str(place)},
    }


def ordinary(_: Post) -> list[dict[str, Any]]:
    return [*rows(230), *rows(3), {"customer": ADDRESS}, *rows(2, city="")]


def with_a_cookie_that_wanders(_: Post) -> list[dict[str, Any]]:
    """From one customer to another, in different chunks."""
    return [cookies("anna", "k", 1), *rows(230), cookies("bert", "k", 2), cookies(None, "k", 3)]


def with_customers_that_merge(_: Post) -> list[dict[str, Any]]:
    return [cookies(None, "k", 1), *rows(230), cookies("anna", "k", 2), cookies("anna", None, 3)]


@pytest.mark.parametrize(
    "people",
    [ordinary, with_a_cookie_that_wanders, with_customers_that_merge],
)
def test_a_rehearsal_writes_nothing_and_says_what_sending_will_do(
    post: Post,
    optilyz: SimulatedOptilyz,
    tmp_path: Path,
    people: Callable[[Post], list[dict[str, Any]]],
) -> None:
    path = file_of(tmp_path, people(post))
    before = post.sizes()
    with sending(post) as sender:
        rehearsal = sender.rehearse(job(post, path))
        assert post.sizes() == before
        assert optilyz.state()["requests"] == 0
        summary = sender.send(job(post, path))

    sent = {("intended" if state == "queued" else state, why): n for (state, why), n in summary.fates.items()}
    assert rehearsal.fates == sent
    assert rehearsal.rows == summary.rows
    assert rehearsal.request
    url, body = rehearsal.request
    assert url == f"{optilyz.url}/v2/automations/{AUTOMATION}/recipients"
    addresses = json.loads(body)["addresses"]
    assert [each["address"] for each in addresses] == [
        each["address"] for each in optilyz.recipients()[: len(addresses)]
    ]
    assert len(addresses) == 50


def test_a_rehearsal_needs_no_key_and_shows_the_request_for_one(database_url: str, tmp_path: Path) -> None:
    with posting(database_url, optilyz_api_key=None) as post, sending(post) as sender:
        rehearsal = sender.rehearse(job(post, file_of(tmp_path, rows(2)), route=Route.ONE))

        assert rehearsal.request
        assert rehearsal.request[0].endswith(f"/{AUTOMATION}/recipient")
        assert json.loads(rehearsal.request[1])["address"]["individualisation1"] == "c-0"
        nobody = sender.rehearse(job(post, file_of(tmp_path, rows(2, city="")), limit=1))
        assert (nobody.rows, nobody.request) == (1, None)


# -- what cannot be begun -------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [Sender.send, Sender.rehearse])
def test_what_cannot_be_begun_is_told_in_a_sentence_and_leaves_nothing(
    post: Post, tmp_path: Path, begin: Callable[[Sender, Job], object]
) -> None:
    path = file_of(tmp_path, rows(1))
    before = post.sizes()
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"project_token": "none"}, NotSent, "no such project"),
        ({"file": "/nowhere/people.csv"}, WrongFile, "no such file"),
        ({"template": "/nowhere/mine.j2"}, WrongTemplate, "neither a preset"),
        ({"campaign": "x" * 501}, NotSent, "campaign"),
        ({"campaign": "half a surrogate \ud800"}, NotSent, "campaign"),
    ]
    with sending(post) as sender:
        for of_job, error, words in wrong:
            with pytest.raises(error, match=words):
                begin(sender, job(post, path, **of_job))
    assert post.sizes() == before


def test_without_a_key_nothing_is_begun(database_url: str, tmp_path: Path) -> None:
    with posting(database_url, optilyz_api_key=None) as post, sending(post) as sender:
        before = post.sizes()
        with pytest.raises(NotSent, match="RECEIVER_OPTILYZ_API_KEY"):
            sender.send(job(post, file_of(tmp_path, rows(1))))
        assert post.sizes() == before


def test_a_template_that_loses_recipients_is_told_before_anything_is_prepared(
    post: Post, tmp_path: Path
) -> None:
    template = tmp_path / "mine.j2"
    template.write_text('{# ROOT #}\n{"addresses": [], "n": {{ customers | length }}}\n')
    before = post.sizes()
    with sending(post) as sender, pytest.raises(NotSent, match="every recipient once"):
        sender.send(job(post, file_of(tmp_path, rows(1)), template=str(template)))
    assert post.sizes() == before


def test_the_campaign_that_is_stored_is_the_one_that_travels(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path
) -> None:
    path = file_of(tmp_path, rows(1))
    with sending(post) as sender:
        sender.send(job(post, path, campaign=" winback "))
        for campaign in ("  ", "", None):
            sender.send(job(post, path, campaign=campaign))

    assert [each.campaign for each in post.letters()] == ["winback", None]
    assert [each.campaign for each in post.events()] == ["winback", None]
    travelled = [each["address"].get("individualisation3") for each in optilyz.recipients()]
    assert travelled == ["winback", None]


def test_three_lines_of_python_send_a_file(
    post: Post, optilyz: SimulatedOptilyz, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "people.csv").write_text(
        "registered,lastName,address1,zipCode,city\nc-1,Beispiel,Weg 1,01067,Dresden\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECEIVER_DATABASE_URL", post.settings.database_url)
    monkeypatch.setenv("RECEIVER_OPTILYZ_BASE_URL", optilyz.url)
    monkeypatch.setenv("RECEIVER_OPTILYZ_API_KEY", "k")
    example = (sender_module.__doc__ or "").partition("\n\n")[2]
    for placeholder, value in (("PROJECT_TOKEN", post.rows.project.token), ("AUTOMATION_ID", AUTOMATION)):
        assert placeholder in example
        example = example.replace(placeholder, value)
    names: dict[str, Any] = {}

    exec(example, names)

    assert names["summary"].fates == {("queued", None): 1}
    assert nothing_twice(optilyz, 1)
