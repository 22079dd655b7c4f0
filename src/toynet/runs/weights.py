"""The weights that a run starts from, where its recipe names a file of Keras."""

from pathlib import Path

from torch import nn

from toynet.core.errors import CheckpointError, UsageError
from toynet.core.files import sha256_of
from toynet.core.reporter import Reporter, Silent
from toynet.models.from_keras.load import load_keras
from toynet.runs.recipe import Recipe


def pin(recipe: Recipe) -> Recipe:
    """The recipe with its file of weights, if any, independent of the working folder and told by content.

    Raises `UsageError` where there is no such file, `CheckpointError` where it is not the one that the recipe
    was pinned to.
    """
    model = recipe.model
    if model.weights is None:
        if model.weights_sha256 is not None:
            raise UsageError("model.weights_sha256 names the content of a file; give model.weights too")
        return recipe
    path = Path(model.weights).expanduser().resolve()
    return recipe.with_changes({"model.weights": str(path), "model.weights_sha256": _checked(recipe, path)})


def load_into(model: nn.Module, recipe: Recipe, reporter: Reporter = Silent()) -> None:
    """Give `model` the recipe's weights, in place; nothing happens where it names none.

    Raises as `pin`, and `CheckpointError` where the file does not fit.
    """
    if recipe.model.weights is not None:
        path = Path(recipe.model.weights)
        _checked(recipe, path)
        for note in load_keras(model, path, recipe.model.name):
            reporter.note(note)


def _checked(recipe: Recipe, path: Path) -> str:
    """The sha256 of the file at `path`, which must be the recipe's if that has one."""
    if not path.is_file():
        raise UsageError(f"model.weights: there is no file {path}")
    found = sha256_of(path)
    if recipe.model.weights_sha256 not in (None, found):
        raise CheckpointError(
            f"{path} is not the file that this recipe starts from (model.weights_sha256 differs); "
            "bring that back or start a new run"
        )
    return found
