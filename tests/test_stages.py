"""Our words for how far a letter has come."""

import pytest

from receiver.domain.stages import STAGE_WORDS, stage_of


@pytest.mark.parametrize(
    ("status", "stage"),
    [
        ("enqueued", "queued"),
        ("print", "printing"),
        ("postal_handover", "posted"),
        ("sent", "posted"),
        ("delivered", "delivered"),
        ("hard_bounced", "returned"),
        ("soft_bounced", "deferred"),
        ("preblocked", "suppressed"),
        ("enqueue_failed", "failed"),
    ],
)
def test_a_sender_s_word_has_a_stage(status: str, stage: str) -> None:
    assert stage_of(status, {}) == stage


def test_case_and_white_space_do_not_change_a_stage() -> None:
    assert stage_of(" In_Transit\n", {}) == "posted"


@pytest.mark.parametrize("status", ["opened", "", "unknown", "hand over"])
def test_any_other_word_is_unknown(status: str) -> None:
    assert stage_of(status, {}) == "unknown"


def test_an_operator_s_word_is_added_to_ours_and_goes_before_them() -> None:
    words = {"zugestellt": "delivered", "sent": "queued"}

    assert [stage_of(status, words) for status in ("Zugestellt", "sent", "mailed")] == [
        "delivered",
        "queued",
        "posted",
    ]


def test_the_words_are_written_as_they_are_looked_up() -> None:
    assert [word for word in STAGE_WORDS if word != word.strip().lower()] == []
