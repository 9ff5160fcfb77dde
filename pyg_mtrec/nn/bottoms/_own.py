"""What only one target's loss reaches."""

from collections.abc import Callable, Iterable, Sequence

from torch.nn import Module, Parameter


def own_parameters(
    module: Module, targets: Iterable[str], reached_by: Callable[[str], Sequence[str]]
) -> dict[str, dict[str, Parameter]]:
    r"""Returns the parameters that only one target's loss reaches.

    Args:
        module: Owner of the parameters.
        targets: All targets.
        reached_by: Maps a parameter's qualified name to the targets whose losses reach it.
    """
    own: dict[str, dict[str, Parameter]] = {target: {} for target in targets}
    for name, parameter in module.named_parameters():
        reached = reached_by(name)
        if len(reached) == 1:
            own[reached[0]][name] = parameter
    return own
