import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import MGDA, CAGrad, Constant, Sum
from pyg_mtrec.tasks import BPR, AlignmentUniformity
from pyg_mtrec.training import Settings
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import load_data
from pyg_mtrec.training._options import check_options, parse_options


def test_values_have_the_types_that_they_look_like():
    texts = ["c=0.4", "n=3", "on=true", "off=false", "scope=row", "weights=1,0.5", "one=2,"]
    assert parse_options(texts, "options") == {
        "c": 0.4,
        "n": 3,
        "on": True,
        "off": False,
        "scope": "row",
        "weights": [1, 0.5],
        "one": [2],
    }


@pytest.mark.parametrize("text", ["c", "c=", "=1"])
def test_what_is_no_option(text):
    with pytest.raises(InputError, match="'options' needs NAME=VALUE"):
        parse_options([text], "options")


def test_an_option_stands_once():
    with pytest.raises(InputError, match="holds 'c' twice"):
        parse_options(["c=1", "c=2"], "options")


def test_options_that_a_rule_does_not_take():
    check_options(["c", "scope"], CAGrad, "CAGrad")
    with pytest.raises(InputError, match="no option 'scop': did you mean 'scope'"):
        check_options(["scop"], CAGrad, "CAGrad")
    with pytest.raises(InputError, match="it takes none at all"):
        check_options(["scope"], Sum, "Sum")


def _arm(rule: str = "sum", **changed) -> Arm:
    settings = Settings(balancer=rule, **changed)
    data = _arm.data = getattr(_arm, "data", None) or load_data(Settings())
    return Arm(rule, settings, data.tasks, rule, data, torch.device("cpu"))


def test_settings_reach_rules_and_tasks():
    rule = _arm("cagrad", scope="row", balancer_options=["c=0.3"]).step.balancer
    assert type(rule) is CAGrad and (rule.c, rule.scope) == (0.3, "row")
    rule = _arm("constant", balancer_options=["weights=1,2,3,4"]).step.balancer
    assert type(rule) is Constant and rule.weights.tolist() == [1, 2, 3, 4]
    task = _arm(task_options=["bpr.l2=0.25"]).tasks["bpr"]
    assert type(task) is BPR and task.l2 == 0.25


def test_what_a_run_compares_with_has_no_options():
    settings = Settings(balancer="mgda", scope="row")
    data = load_data(Settings())
    arm = Arm("sum", settings, data.tasks, "sum", data, torch.device("cpu"))
    assert type(arm.step.balancer) is Sum
    arm = Arm("mgda", settings, data.tasks, "mgda", data, torch.device("cpu"))
    assert type(arm.step.balancer) is MGDA and arm.step.balancer.scope == "row"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rule": "sum", "scope": "row"}, "'Sum' takes no option 'scope'"),
        ({"rule": "constant"}, "'Constant' cannot be made of --balancer-options"),
        ({"rule": "cagrad", "balancer_options": ["c=much"]}, "cannot be made of"),
        (
            {"rule": "constant", "balancer_options": ["weights=1,2"]},
            "one number a task .got 2 for 4 tasks",
        ),
        ({"task_options": ["c=1"]}, "'task_options' needs TASK.NAME=VALUE"),
        ({"task_options": ["nobody.c=1"]}, "with one of the tasks bpr"),
        ({"task_options": ["bpr.c=1"]}, "task 'bpr' takes no option 'c'"),
    ],
)
def test_bad_options_are_one_line(changed, message):
    with pytest.raises(InputError, match=message):
        _arm(**changed)


def test_losses_that_can_be_negative_say_so():
    assert BPR().lower_bound == 0.0
    assert AlignmentUniformity(gamma=0.5, t=3.0).lower_bound == -6.0
    one, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    # Two users and two items at opposite ends are as spread as unit rows can be.
    x = torch.cat([one, far])
    assert float(-2.0 * (x[0] - x[1]).square().sum()) == AlignmentUniformity().lower_bound


def test_a_rule_that_learns_is_trained_without_decay():
    arm = _arm("uncertainty-weighting", weight_decay=0.1)
    optimizer = arm.trainer(lambda scorer: None, progress=False).optimizer  # type: ignore[arg-type]
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    learnt = next(iter(arm.step.balancer.parameters()))
    assert groups[id(learnt)]["weight_decay"] == 0.0
    assert groups[id(arm.embedding.weight_dict["user"])]["weight_decay"] == 0.1


@pytest.mark.parametrize(
    ("name", "cls"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_decay_passes_through_the_gradient_or_not(name, cls):
    optimizer = _arm(optimizer=name).trainer(lambda scorer: None, progress=False).optimizer  # type: ignore[arg-type]
    assert type(optimizer) is cls
