import torch
from bank import IN_CATEGORY, MAIN, TRUSTS

from pyg_mtrec.datasets import Epinions
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.tasks import BPR, LinkPrediction, SameCategory
from pyg_mtrec.transforms import SplitInteractions


def _contains(edges, src, dst, num_dst):
    r"""Whether each pair is an edge, by one look-up in the sorted list of all edges."""
    keys = (edges[0] * num_dst + edges[1]).sort().values
    wanted = src * num_dst + dst
    return keys[torch.searchsorted(keys, wanted).clamp(max=keys.numel() - 1)] == wanted


def test_epinions_batches_keep_every_promise(real_root):
    train, _, _ = SplitInteractions()(Epinions(str(real_root("epinions")))[0])
    num_users, num_items = train["user"].num_nodes, train["item"].num_nodes
    generator = torch.Generator().manual_seed(0)
    tasks = {"bpr": BPR(), "social": LinkPrediction(TRUSTS), "same-category": SameCategory()}
    samplers = {name: task.sampler(train, generator) for name, task in tasks.items()}
    assert samplers["same-category"].exact
    member = torch.zeros(num_items, train["category"].num_nodes, dtype=torch.bool)
    member[tuple(train[IN_CATEGORY].edge_index)] = True
    for step, batches in enumerate(MultiTaskLoader(samplers, 2048, generator)):
        main, social, category = (batches[name] for name in tasks)
        edges = train[MAIN].edge_index
        assert _contains(edges, main.src_index, main.dst_pos_index, num_items).all()
        assert not _contains(edges, main.src_index, main.dst_neg_index, num_items).any()
        trusts, live = train[TRUSTS].edge_index, social.weight > 0
        src = social.src_index[live]
        assert torch.isin(src, main.src_index).all() and src.unique().numel() == src.numel()
        assert _contains(trusts, src, social.dst_pos_index[live], num_users).all()
        assert not _contains(trusts, src, social.dst_neg_index[live], num_users).any()
        assert (src != social.dst_neg_index[live]).all() and 0.2 < float(live.float().mean()) < 0.9
        live = category.weight > 0
        src, pos, neg = (
            index[live]
            for index in (category.src_index, category.dst_pos_index, category.dst_neg_index)
        )
        assert torch.isin(src, main.dst_pos_index).all() and float(live.float().mean()) > 0.8
        assert (src != pos).all() and (member[src] & member[pos]).any(1).all()
        assert not (member[src] & member[neg]).any()
        if step == 20:
            break
