"""The customers of the demo: invented people of three countries, with all that real files have."""

import csv
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

NUMBER = 1000
"""Rows of the file."""

_COLUMNS = (
    *("registered", "cookie", "firstName", "lastName", "companyName1"),
    *("street", "houseNumber", "zipCode", "city", "country"),
)
_FIRST_NAMES = (
    *("Anna", "Ayşe", "Björn", "Chloé", "Dörte", "Emil", "François", "Götz", "Hannah", 'Maria "Mitzi"'),
    *("Jürgen", "Karl-Heinz", "Leonie", "Milena", "Noah", "Øystein", "Paul", "Rosa", "Søren", "Zoë"),
)
_LAST_NAMES = (
    *("Müller", "Schmidt", "Öztürk", "Größ", "O’Neill", "D'Angelo", "von der Heide", "Meier-Łukasz"),
    *("Nowak", "Wagner", "Huber", "Rüegg", "Brändli", "Pichler", "Yılmaz", "Schröder", "Weiß", "Jäger"),
)
_STREETS = (
    *("Hauptstraße", "Bahnhofstr.", "Am Alten Markt", "Königsallee", "Schloßgasse", "Lindenweg"),
    *("Straße des 17. Juni", "Große Bleichen", "Obere Donaustraße", "Rue de l'Hôpital", "Seeweg"),
)
_PLACES = (
    *(("01067", "Dresden", "DE"), ("10115", "Berlin", "DE"), ("50667", "Köln", "DE")),
    *(("80331", "München", "DE"), ("20095", "Hamburg", "DE"), ("70173", "Stuttgart", "DE")),
    *(("1010", "Wien", "AT"), ("8010", "Graz", "AT"), ("5020", "Salzburg", "AT")),
    *(("8001", "Zürich", "CH"), ("3011", "Bern", "CH"), ("1204", "Genève", "CH")),
)
# What is wrong with rows that are refused here, each with what is put into it.
_BROKEN = (
    *((("street", ""), ("houseNumber", "")),) * 6,
    *((("zipCode", "1067"), ("country", "DE")),) * 6,
    *((("lastName", "--"), ("companyName1", "")),) * 4,
    *((("city", "…"),),) * 2,
    *((("registered", ""), ("cookie", "")),) * 2,
)
# The German form is right, but nobody lives there.
_NOWHERE = ((("zipCode", "00000"), ("city", "Nirgendwo"), ("country", "DE")),) * 10
_TWICE = 8


class Odd(NamedTuple):
    """How many rows of the file are no plain letters."""

    broken: int = len(_BROKEN)
    nowhere: int = len(_NOWHERE)
    twice: int = _TWICE


def write_customers(path: Path) -> Odd:
    """Write the same `NUMBER` customers each time, as CSV."""
    random = Random(1000)  # noqa: S311  # the same file each time, and no secret
    odd = Odd()
    people = list(_people(random, NUMBER - odd.twice))
    spoilt = random.sample(range(len(people)), odd.broken + odd.nowhere)
    for place, wrong in zip(spoilt, (*_BROKEN, *_NOWHERE), strict=True):
        people[place].update(wrong)
    good = sorted(set(range(len(people))) - set(spoilt))
    again = [people[place] for place in random.sample(good, odd.twice)]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, _COLUMNS)
        table.writeheader()
        table.writerows([*people, *again])
    return odd


def _people(random: Random, number: int) -> Iterator[dict[str, str]]:
    for each in range(number):
        # Some have only ever visited, some have only ever bought.
        kind = random.choice(("both", "both", "both", "cookie", "registered"))
        zip_code, city, country = random.choice(_PLACES)
        yield {
            "registered": "" if kind == "cookie" else f"c-{100_001 + each}",
            "cookie": "" if kind == "registered" else f"{random.getrandbits(128):032x}",
            "firstName": random.choice(_FIRST_NAMES),
            "lastName": random.choice(_LAST_NAMES),
            "companyName1": random.choice(("",) * 9 + ("Söhne & Töchter GmbH",)),
            "street": random.choice(_STREETS),
            "houseNumber": random.choice(("1", "7a", "12-14", "99", "203 b")),
            "zipCode": zip_code,
            "city": city,
            "country": country,
        }
