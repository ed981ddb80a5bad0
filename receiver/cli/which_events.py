"""What the commands about events share: the options that say which ones."""

from typing import Annotated

import typer

Customer = Annotated[
    str | None, typer.Option(metavar="NAME=VALUE", help="Of who holds this ID now, as registered=X.")
]
Campaign = Annotated[str | None, typer.Option(metavar="REF", help="Of this campaign.")]
Status = Annotated[str | None, typer.Option(metavar="WORD", help="With this word of the sender.")]
Stage = Annotated[str | None, typer.Option(metavar="STAGE", help="With this stage.")]
Type = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this type.")]
Variation = Annotated[str | None, typer.Option(metavar="NAME", help="Of this variation.")]
Property = Annotated[
    str | None,
    typer.Option("--property", metavar="NAME=VALUE", help="With this property, as variation=B."),
]
ReceivedSince = Annotated[str | None, typer.Option(metavar="ISO", help="Arrived from this time on.")]
ReceivedUntil = Annotated[str | None, typer.Option(metavar="ISO", help="Arrived before this time.")]
