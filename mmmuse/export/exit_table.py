"""The cost of each exit of a distilled network."""

from typing import NamedTuple

from mmengine.model import BaseModel

from mmmuse.distillers import SelfDistiller

from .complexity import Complexity, multiply_adds, paper_complexity
from .exit_network import exit_network, exits_of, num_exits


class ExitCost(NamedTuple):
    """One exit as a plain network.

    Attributes:
        number: 1 to T; T is the full network.
        module: Path of the module that the exit follows.
        network: The network.
        real: Its parameters and multiply-adds.
        trunk_macs: Multiply-adds of its backbone.
        paper: Parameters and multiply-adds of its backbone as counted in table 3 of the paper.
    """

    number: int
    module: str
    network: BaseModel
    real: Complexity
    trunk_macs: int
    paper: Complexity


def exit_costs(
    model: dict, distiller: SelfDistiller, image_shape: tuple[int, int, int]
) -> list[ExitCost]:
    """Return the cost of every exit, the full network last.

    Args:
        model: Config of the distiller.
        distiller: Built from it; its weights are copied.
        image_shape: ``(C, H, W)``.
    """
    modules = [*distiller.tap_paths.shallow, distiller.tap_paths.last]
    costs = []
    for number in (*exits_of(distiller), num_exits(distiller)):
        network = exit_network(model, distiller, number)
        flops = multiply_adds(network, image_shape, ['backbone'])
        costs.append(
            ExitCost(
                number,
                modules[number - 1],
                network,
                Complexity(sum(p.numel() for p in network.parameters()), flops['']),
                flops['backbone'],
                paper_complexity(network.backbone, image_shape[1:]),
            )
        )
    return costs
