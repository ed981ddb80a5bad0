"""``receiver project`` and ``receiver key``: who may call us."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import Connection

from receiver.cli.session import answer_json, failed, opened
from receiver.store import keys
from receiver.store.keys import AccessKey, KeyRefused, NewKey, NewProject, Role

ProjectToken = Annotated[str, typer.Argument(metavar="PROJECT_TOKEN", help="See `receiver project list`.")]
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="See `receiver key list PROJECT_TOKEN`.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for machines.")]

_SHOWN_ONCE = "Write the secrets down: they are shown only now."


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    project = typer.Typer(no_args_is_help=True, help="Projects: each has its own keys and customers.")
    project.command("create")(create_project)
    project.command("list")(list_projects)
    app.add_typer(project, name="project")
    key = typer.Typer(no_args_is_help=True, help="Access keys of a project.")
    key.command("create")(create_key)
    key.command("rotate")(rotate_key)
    key.command("revoke")(revoke_key)
    key.command("list")(list_keys)
    app.add_typer(key, name="key")


def create_project(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    public: Annotated[
        bool, typer.Option("--public", help="Also a public token; whoever holds it can write identities.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a project with a key for each role; the secrets are shown here only."""
    with _connection(writes=True) as connection:
        made = keys.create_project(connection, name, public=public, now_us=_now_us())
    if json:
        answer_json(project_document(made))
    else:
        typer.echo(project_text(made))


def list_projects(json: Json = False) -> None:
    """Show all projects."""
    with _connection() as connection:
        found = keys.projects(connection)
    if json:
        answer_json(
            [
                {"name": each.name, "project_token": each.token, "created_at": _iso(each.created_us)}
                for each in found
            ]
        )
    elif found:
        rows = [(each.token, _iso(each.created_us), each.name) for each in found]
        typer.echo(_table(("project token", "created", "name"), rows))
    else:
        typer.echo("There is no project yet; make one with `receiver project create NAME`.")


def create_key(
    project_token: ProjectToken,
    role: Annotated[
        Role, typer.Argument(metavar="ROLE", help=f"One of {', '.join(Role)}.", case_sensitive=False)
    ],
    json: Json = False,
) -> None:
    """Make one more key; the secret is shown here only (for the role public it is the public token)."""
    with _connection(writes=True) as connection:
        made = keys.create_key(connection, project_token, role, now_us=_now_us())
    if json:
        answer_json(_key_document(made))
    else:
        typer.echo(f"{_keys_text([made])}\n\n{_SHOWN_ONCE}")


def rotate_key(key_id: KeyId, json: Json = False) -> None:
    """Give a key a new secret; the old one stays valid for 24 hours."""
    with _connection(writes=True) as connection:
        rotated = keys.rotate(connection, key_id, now_us=_now_us())
    until = _iso(rotated.old_valid_until_us)
    if json:
        answer_json({**_key_document(rotated.key), "old_secret_valid_until": until})
    else:
        typer.echo(f"{_keys_text([rotated.key])}\n\n{_SHOWN_ONCE}\nThe old secret is valid until {until}.")


def revoke_key(key_id: KeyId) -> None:
    """End a key at once, and with it both secrets of a rotation."""
    with _connection(writes=True) as connection:
        keys.revoke(connection, key_id, now_us=_now_us())
    typer.echo("The key is revoked; running processes refuse it within 5 seconds.")


def list_keys(project_token: ProjectToken, json: Json = False) -> None:
    """Show the keys of a project, also the revoked ones, without their secrets."""
    with _connection() as connection:
        found = keys.keys_of(connection, project_token)
    if json:
        answer_json([_listed(each) for each in found])
    else:
        head = ("key ID", "role", "created", "old secret until", "revoked")
        typer.echo(_table(head, [[text or "-" for text in _listed(each).values()] for each in found]))


def project_document(made: NewProject) -> dict[str, object]:
    """What ``project create --json`` answers."""
    return {
        "name": made.name,
        "project_token": made.token,
        "public_token": made.public_token,
        "keys": {key.role: {"key_id": key.key_id, "secret": key.secret} for key in made.keys},
    }


def project_text(made: NewProject) -> str:
    """The same for people."""
    lines = [f"Project {made.name}", "", f"project token  {made.token}"]
    if made.public_token is not None:
        lines.append(f"public token   {made.public_token}")
    return "\n".join([*lines, "", _keys_text(made.keys), "", _SHOWN_ONCE])


@contextmanager
def _connection(*, writes: bool = False) -> Iterator[Connection]:
    """One transaction, committed at the end of the block; a refusal ends the command with its sentence."""
    with opened() as engine, engine.execution_options(writes=writes).begin() as connection:
        try:
            yield connection
        except KeyRefused as refusal:
            raise failed(str(refusal)) from None


def _key_document(key: NewKey) -> dict[str, str]:
    return {"key_id": key.key_id, "role": key.role, "secret": key.secret}


def _keys_text(made: Sequence[NewKey]) -> str:
    return _table(("role", "key ID", "secret"), [(key.role, key.key_id, key.secret) for key in made])


def _listed(key: AccessKey) -> dict[str, str | None]:
    return {
        "key_id": key.id,
        "role": key.role,
        "created_at": _iso(key.created_us),
        "old_secret_valid_until": _iso_or_none(key.previous_until_us),
        "revoked_at": _iso_or_none(key.revoked_us),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side as plain text, so that a secret is never cut to the width of a screen."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows)]
    return "\n".join(lines)


def _now_us() -> int:
    return time.time_ns() // 1000


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _iso_or_none(time_us: int | None) -> str | None:
    return None if time_us is None else _iso(time_us)
