import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.cli._choices import choose, names, unknown


def test_choices_are_the_concrete_classes() -> None:
    assert {"lightgcn", "mf", "ngcf"} <= set(names("nn.encoders"))
    assert {"pmtrec", "sum"} <= set(names("balancing"))
    assert {"ease", "item-knn", "popularity"} <= set(names("baselines"))
    assert {"amazon-office", "epinions", "planted"} <= set(names("datasets"))
    every = [*names("nn.encoders"), *names("balancing"), *names("datasets")]
    assert not {"encoder", "representations", "balancer", "from-tables"} & set(every)


@pytest.mark.parametrize("room", ["nn.encoders", "balancing", "baselines", "datasets"])
def test_any_spelling(room: str) -> None:
    for choice, class_name in names(room).items():
        for value in (choice, choice.upper(), choice.replace("-", "_"), class_name):
            assert choose("x", value, room) == choice


@pytest.mark.parametrize(
    ("setting", "value", "room", "line"),
    [
        ("balancer", "pmtrek", "balancing", "unknown balancer 'pmtrek': did you mean 'pmtrec'?"),
        ("balancer", "PMTREK", "balancing", "unknown balancer 'PMTREK': did you mean 'pmtrec'?"),
        ("encoder", "lightgnc", "nn.encoders", "unknown encoder 'lightgnc': did you mean 'light"),
        ("dataset", "epinoins", "datasets", "unknown data set 'epinoins': did you mean 'epinions'"),
        ("dataset", "amazon_ofice", "datasets", "did you mean 'amazon-office'?"),
        ("encoder", "zzzz", "nn.encoders", "unknown encoder 'zzzz': choose from lightgcn, mf, ng"),
        ("encoder", "", "nn.encoders", "unknown encoder '': choose from"),
        ("encoder", "encoder", "nn.encoders", "unknown encoder 'encoder'"),
    ],
)
def test_unknown(setting: str, value: str, room: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(setting, value, room)
    assert line in str(caught.value)


@given(st.text(max_size=8))
def test_unknown_never_fails(value: str) -> None:
    line = str(unknown("thing", value, ["one", "two_three"]))
    assert line.startswith("unknown thing ")
