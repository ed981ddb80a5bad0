"""Our words for how far a letter has come, and the senders' words that mean each of them."""

from collections.abc import Mapping

UNKNOWN = "unknown"
RETURNED = "returned"

FUNNEL = ("queued", "printing", "posted", "delivered", "returned")
"""How far a letter comes, in this order; it ends as one of the last two."""

STAGES = (*FUNNEL, "deferred", "suppressed", "failed", UNKNOWN)
"""All of them.  Databases keep their numbers as bits, so new ones go to the end."""

BITS: Mapping[str, int] = {stage: 1 << number for number, stage in enumerate(STAGES)}
"""A stage -> its bit, where several are kept as one number."""

_SENDERS_WORDS = {
    "queued": ("queued", "enqueued", "accepted", "booked"),
    "printing": ("print", "printing", "printed", "in_production", "reviewed"),
    "posted": ("posted", "mailed", "sent", "shipped", "handed_over", "postal_handover", "in_transit"),
    "delivered": ("delivered",),
    "returned": ("returned", "return_to_sender", "undeliverable", "hard_bounced", "bounced"),
    "deferred": ("soft_bounced", "delayed", "rerouted"),
    "suppressed": ("suppressed", "preblocked", "excluded", "cancelled"),
    "failed": ("failed", "enqueue_failed", "rejected", "error"),
}

STAGE_WORDS: Mapping[str, str] = {word: stage for stage, words in _SENDERS_WORDS.items() for word in words}
"""A sender's word in lower case -> our stage."""


def stage_of(status: str, extra_words: Mapping[str, str]) -> str:
    """Give our stage for the sender's *status*, in any case and with white space around it.

    *extra_words* are an operator's, like ``STAGE_WORDS``, and go before ours.
    """
    word = status.strip().lower()
    return extra_words.get(word) or STAGE_WORDS.get(word, UNKNOWN)
