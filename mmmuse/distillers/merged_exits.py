import re
from collections.abc import Callable, Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseTTAModel
from mmengine.structures import BaseDataElement
from torch import nn

from mmmuse.registry import MODELS

_INSTANCES = '_instances'
_MASK = re.compile(r'(exit\d+)_sem_seg')


@MODELS.register_module()
class MergedExits(BaseTTAModel):
    """Test-time augmentation of a distiller: what exits and peers predict is merged as well.

    Another model for test-time augmentation merges the student's predictions of the views of an
    image. Scores of exits are averaged over the views; boxes and masks of exits, and the
    predictions of peers, are merged by that model.

    Args:
        module: Config of the distiller, or the built one.
        tta_model: Config of the model that merges, e.g.
            ``dict(type='mmpretrain.AverageClsScoreTTA')``.
        data_preprocessor: Of the distiller, if its config has none.
    """

    def __init__(
        self, module: dict | nn.Module, tta_model: dict, data_preprocessor: dict | None = None
    ) -> None:
        super().__init__(module, data_preprocessor)
        # mmdet's model reads its options as attributes.
        merging = MODELS.build(ConfigDict({**tta_model, 'module': self.module}))
        self._merge: Callable[[list], list] = merging.merge_preds  # Not a submodule.

    def merge_preds(self, data_samples_list: list[Sequence]) -> list:
        """Return one sample for each image.

        Args:
            data_samples_list: The predictions for each view of each image.
        """
        added = [self._added(views) for views in data_samples_list]
        merged = self._merge(data_samples_list)
        for sample, fields in zip(merged, added, strict=True):
            for name, value in fields.items():
                sample.set_field(value, name)
        return merged

    def _added(self, views: Sequence[BaseDataElement]) -> dict[str, object]:
        """Return the merged predictions of exits and peers for one image."""
        first = views[0]
        fields: dict[str, object] = {}
        if 'exit_scores' in first:
            fields['exit_scores'] = torch.stack([view.exit_scores for view in views]).mean(0)
        for name, _ in first.items():
            if name.startswith('exit') and name.endswith(_INSTANCES):
                of_exit = [_with(view, pred_instances=view.get(name)) for view in views]
                fields[name] = self._merge([of_exit])[0].pred_instances
            if match := _MASK.fullmatch(name):
                logits = f'{match[1]}_logits'
                of_exit = [_with(view, seg_logits=view.get(logits)) for view in views]
                fields[name] = self._merge([of_exit])[0].pred_sem_seg
        if 'peers' in first:
            peers = BaseDataElement()
            for name, _ in first.peers.items():
                peers.set_field(self._merge([[view.peers.get(name) for view in views]])[0], name)
            fields['peers'] = peers
        return fields


def _with(sample: BaseDataElement, **fields: object) -> BaseDataElement:
    """Return a copy of a sample with other fields."""
    sample = sample.new()
    for name, value in fields.items():
        sample.set_field(value, name)
    return sample
