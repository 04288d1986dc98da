"""What the model answers about features and made-up directions."""

from typing import TYPE_CHECKING

from saebench.evidence.provider import provides
from saebench.run.evidence.documents import documents_read
from saebench.run.game import Game
from saebench.run.genres import Genres

if TYPE_CHECKING:
    from saebench.evidence.game.answers import Lineup, Rungs
    from saebench.evidence.game.rungs import Rung
    from saebench.saes.sae import LoadedSAE


@provides("lineup", reads=documents_read)
def lineup(sae: "LoadedSAE", game: Game) -> "Lineup":
    """What the model answered about the SAE's features and about made-up ones."""
    return game.lineup(sae)


@provides("control_rungs", reads=documents_read)
def control_rungs(sae: "LoadedSAE", game: Game, control: str) -> "Rungs":
    """What the model answered about a control of the game, which a test is parametrized with."""
    return game.rungs(sae, control)


@provides("dataset_game", reads=documents_read)
def dataset_game(sae: "LoadedSAE", genres: Genres) -> "Rung":
    """Latents of genres that the model knows, and latents that exist because of one that it does not know."""
    return genres.game(sae)
