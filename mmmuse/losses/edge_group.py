from collections.abc import Iterator, Mapping
from dataclasses import replace

from mmengine.model import BaseModule, ModuleDict
from torch import Tensor

from mmmuse.tapping.features import Step

from .distill_loss import DistillLoss, Edge


class EdgeGroup(BaseModule):
    """The edges with which one network learns from several sources.

    Its terms have the name of their source as prefix: ``teacher1.loss_kd``.

    Args:
        edges: By the name of the source.
        weights: Factor on the ``loss_weight`` of each edge's losses, by name; 1 by default.
    """

    def __init__(
        self, edges: Mapping[str, Edge], weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.edges = ModuleDict(edges)
        self.factors = dict.fromkeys(edges, 1.0) | dict(weights or {})

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of all losses by name.

        Args:
            step: Its ``source`` is a dict of features by the name of the source.
        """
        terms: dict[str, Tensor] = {}
        for name, edge in self.edges.items():
            of_edge = edge(self._step(step, name))
            terms |= {f'{name}.{term}': value for term, value in of_edge.items()}
        return terms

    def by_loss(self, step: Step) -> list[dict[str, Tensor]]:
        """Return the terms of each loss, in order; none of one that does not count now."""
        return [
            {f'{name}.{term}': value for term, value in terms.items()}
            for name, edge in self.edges.items()
            for terms in edge.by_loss(self._step(step, name))
        ]

    def weights(self, step: Step) -> list[float]:
        """Return the weight of each loss in this step, in order."""
        return [
            weight
            for name, edge in self.edges.items()
            for weight in edge.weights(self._step(step, name))
        ]

    def _step(self, step: Step, name: str) -> Step:
        scale = step.task_scale * self.factors[name]
        return replace(step, source=step.source[name], task_scale=scale)

    def __len__(self) -> int:
        """Return the number of losses of all edges."""
        return sum(map(len, self.edges.values()))

    def __iter__(self) -> Iterator[DistillLoss]:
        """Yield the losses of all edges."""
        for edge in self.edges.values():
            yield from edge

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch."""
        return max(edge.min_batch_size for edge in self.edges.values())

    @property
    def reads_head(self) -> bool:
        """Whether a loss reads the dense heads of detectors."""
        return any(edge.reads_head for edge in self.edges.values())

    @property
    def head_modules(self) -> list[str]:
        """Paths of the modules in the learner's dense head that losses read."""
        found = (path for edge in self.edges.values() for path in edge.head_modules)
        return list(dict.fromkeys(found))
