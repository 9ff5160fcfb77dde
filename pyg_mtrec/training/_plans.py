"""The arms of an experiment, and what each is built from."""

from dataclasses import dataclass, replace

import torch

from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import SplitData
from pyg_mtrec.training._stages import finetuning, has_two_stages, pretraining
from pyg_mtrec.training._tuned import of_arm
from pyg_mtrec.training.settings import Settings


@dataclass(frozen=True)
class Plan:
    r"""An arm before it is built.

    Args:
        name: What it is called.
        tasks: Those of its only stage, or of the first of two; with none, there is no first one.
        balancer: The rule of that stage. A second stage is every arm's alike.
        loads: Whether it starts from the tables that the run was given, if it was.
    """

    name: str
    tasks: list[str]
    balancer: str
    loads: bool = True

    def first_stage(self, settings: Settings, data: SplitData, device: torch.device) -> Arm | None:
        r"""Returns what is pretrained, if anything is."""
        if not self.tasks or not has_two_stages(settings):
            return None
        return Arm(self.name, pretraining(settings), self.tasks, self.balancer, data, device)

    def last_stage(self, settings: Settings, data: SplitData, device: torch.device) -> Arm:
        r"""Returns what is trained on validation: the only stage, or the second of two."""
        tasks, balancer = self.tasks, self.balancer
        if has_two_stages(settings):
            if tasks or not self.loads:  # its tables are the first stage's, or random
                settings = replace(settings, pretrained=None)
            settings = finetuning(settings)
            tasks, balancer = settings.tasks, settings.balancer
        return Arm(self.name, of_arm(settings, self.name), tasks, balancer, data, device)


def plans(settings: Settings, data: SplitData) -> list[Plan]:
    r"""Returns all arms, the run's own last."""
    if not has_two_stages(settings):
        own = Plan(settings.balancer, data.tasks, settings.balancer)
        others = [Plan("single task", data.tasks[:1], "sum"), Plan("sum", data.tasks, "sum")]
    else:
        alone = Plan("no pretraining", [], "sum", loads=False)
        own = Plan(f"{settings.balancer} pretraining", data.tasks, settings.balancer)
        others = [alone, Plan("sum pretraining", data.tasks, "sum")]
        if settings.pretrain_epochs == 0:
            own = Plan("pretrained tables", [], "sum") if settings.pretrained else alone
            others = [alone]
    default = settings.dataset == "planted" and settings.interactions is None
    if settings.comparison == "off" or (settings.comparison == "auto" and not default):
        return [own]
    return [other for other in others if replace(other, name=own.name) != own] + [own]
