"""The yardsticks that stand in every table."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.baselines.constant import Constant as Constant
    from pyg_mtrec.baselines.ease import EASE as EASE
    from pyg_mtrec.baselines.item_knn import ItemKNN as ItemKNN
    from pyg_mtrec.baselines.item_rate import ItemRate as ItemRate
    from pyg_mtrec.baselines.popularity import Popularity as Popularity

_NAMES = {
    "Constant": "constant",
    "EASE": "ease",
    "ItemKNN": "item_knn",
    "ItemRate": "item_rate",
    "Popularity": "popularity",
}
__all__ = [
    "Constant",
    "EASE",
    "ItemKNN",
    "ItemRate",
    "Popularity",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
