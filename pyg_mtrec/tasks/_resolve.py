import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader._label_sampler import MOST_PAIRS
from pyg_mtrec.tasks.alignment import Alignment
from pyg_mtrec.tasks.alignment_uniformity import AlignmentUniformity
from pyg_mtrec.tasks.bpr import BPR
from pyg_mtrec.tasks.hyperedge_prediction import HyperedgePrediction
from pyg_mtrec.tasks.link_prediction import LinkPrediction
from pyg_mtrec.tasks.rating_regression import RatingRegression
from pyg_mtrec.tasks.same_category import SameCategory
from pyg_mtrec.tasks.sampled_softmax import SampledSoftmax
from pyg_mtrec.tasks.task import Task

MAIN: EdgeType = ("user", "interacts", "item")
# So few hyperedges are all scored; of more, vertices are drawn as negatives.
_FEW_LABELS = 512
# What a task needs, for the message to whom it is not offered.
_NEEDS = {
    "bpr": f"the relation {MAIN}",
    "alignment": f"the relation {MAIN}",
    "alignment-uniformity": f"the relation {MAIN}",
    "sampled-softmax": f"the relation {MAIN}",
    "rating-regression": f"'rating' on the relation {MAIN}",
    "social": "a relation ('user', ..., 'user')",
    "same-category": "the relation ('item', 'in', 'category')",
}


def task_names(data: HeteroData) -> list[str]:
    r"""Returns the names of the tasks that the data can supervise."""
    return list(_offers(data))


def task_from_name(name: str, data: HeteroData, **options: Any) -> Task:
    r"""Makes a task.

    Args:
        name: A name of :func:`task_names`.
        data: The training graph.
        options: Arguments of the task's constructor, beside its relation.

    Raises:
        InputError: If the task does not take an option, the data cannot supervise such a task, or
            no task has this name.
    """
    offers = _offers(data)
    if name in offers:
        make, cls = offers[name]
        taken = [name for name in inspect.signature(cls).parameters if name != "edge_type"]
        for option in options:
            if option not in taken:
                near = get_close_matches(option, taken, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(taken)}"
                raise InputError(f"task {name!r} takes no option {option!r}: {hint}")
        return make(**options)
    if name in _NEEDS:
        found = ", ".join(str(edge_type) for edge_type in data.edge_types) or "no relation"
        raise InputError(f"task {name!r} needs {_NEEDS[name]} (the data has {found})")
    near = get_close_matches(name.lower(), [*offers, *_NEEDS], n=1, cutoff=0.0)
    raise InputError(
        f"unknown task {name!r}: did you mean {near[0]!r}? (this data offers"
        f" {', '.join(offers) or 'none'})"
    )


def _offers(data: HeteroData) -> dict[str, tuple[Callable[..., Task], type[Task]]]:
    found: dict[str, tuple[Callable[..., Task], type[Task]]] = {}
    if MAIN in data.edge_types:
        found["bpr"] = BPR, BPR
        found["alignment"] = Alignment, Alignment
        found["alignment-uniformity"] = AlignmentUniformity, AlignmentUniformity
        found["sampled-softmax"] = SampledSoftmax, SampledSoftmax
        if "rating" in data[MAIN]:
            found["rating-regression"] = partial(RatingRegression.from_data, data), RatingRegression
    for edge_type in data.edge_types:
        store = data[edge_type]
        if "task" in store and store.num_edges > 0:  # marked by AddTaskHypergraphs
            num_vertices, num_labels = (data[end].num_nodes for end in edge_type[::2])
            few = num_labels <= _FEW_LABELS and num_vertices * num_labels <= MOST_PAIRS
            negatives = "labels" if few else "vertices"
            predict = partial(HyperedgePrediction, edge_type, negatives=negatives)
            name = f"hyperedge-{store.task.replace('_', '-')}"
            found[name] = predict, HyperedgePrediction
        src, relation, dst = edge_type
        if dst.startswith("hyperedge_"):
            continue
        kebab = relation.replace("_", "-")
        if src == "item" and relation == "in":
            same = partial(SameCategory, edge_type)
            found.setdefault(f"same-{dst.replace('_', '-')}", (same, SameCategory))
        elif src == dst and src in ("user", "item") and not relation.startswith("rev_"):
            link = partial(LinkPrediction, edge_type)
            if src == "user":
                found.setdefault("social", (link, LinkPrediction))
            found.setdefault(kebab, (link, LinkPrediction))
    return found
