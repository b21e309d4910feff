"""A classifier to export: an exit of a distilled network, or one of several peers."""

from copy import deepcopy

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmpretrain import get_model

from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.network_config import network_config
from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, with_plain_names
from mmmuse.distillers.online import read_peers
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from .data import image_shape
from .exit_network import exit_logits, exit_network, exit_network_config
from .formats import Function
from .onnx_modules import Logits
from .target import NUM_CHECKED, ExportTarget, Form, Predict
from .trained import load_content, load_trained

METRIC = dict(type='mmpretrain.Accuracy', topk=(1,))
TOLERANCE = 1e-4  # Largest difference between logits of an exact form and of the network.


class ClassifierTarget(ExportTarget):
    """A classifier; predictions are logits ``(N, K)``."""

    library = 'mmpretrain'
    onnx_file = 'network.onnx'
    repeats = 30
    field = 'pred_score'
    columns = {'top-1 %': ('accuracy/top1', '.2f')}
    check_key, check_column = 'difference', ('logits differ by', '.1e')

    def read(self, config: str, checkpoint: str) -> BaseModel:
        return get_model(config, pretrained=checkpoint).eval()

    def module(self, with_nms: bool = False) -> Logits:
        return Logits(self.network)

    def predict(self, run: Function, with_nms: bool = False) -> Predict:
        return lambda batch: run(batch['inputs'])

    def batches_to_check(self, shape: tuple | None, evaluates: bool, calibration: list) -> list:
        if evaluates:
            images = next(iter(self.test_set(shape)))['inputs']
        elif calibration:
            images = calibration[0]
        else:
            shape, generator = shape or image_shape(self.config), torch.Generator().manual_seed(0)
            images = torch.randn(NUM_CHECKED, *shape, generator=generator)
        # A view would store the whole batch in the program's file.
        return [dict(inputs=images[:count].clone()) for count in (NUM_CHECKED, 1)]

    @torch.no_grad()
    def compare(self, name: str, form: Form, batches: list[dict], exact: bool = True) -> float:
        differences = [(form.predict(batch) - self.reference(batch)).abs() for batch in batches]
        difference = torch.cat(differences).max().item()
        if exact and not difference <= TOLERANCE:
            raise InputError(
                f'verification failed; the export was discarded: logits of {name} differ by '
                f'{difference:.2g} from those of the trained network, more than {TOLERANCE:g}'
            )
        return difference

    def scores(self, metrics: dict | None) -> dict:
        return dict(top1=(metrics or {}).get('accuracy/top1'))


def exit_target(
    config: Config, checkpoint: str, number: int, trust: bool = False
) -> ClassifierTarget:
    """Return exit 1 to T of a self-distilled network; see :func:`load_trained`.

    Raises:
        InputError: If the exit does not exist, or the checkpoint is of another network.
    """
    distiller = load_trained(config, checkpoint, trust)
    model = exit_network_config(config.model, distiller, number)
    network = exit_network(config.model, distiller, number)
    return ClassifierTarget(
        *(config, model, network, distiller.student, distiller, f'Exit {number}'),
        lambda batch: exit_logits(distiller, batch['inputs'])[number - 1],
        METRIC,
    )


def peer_target(
    config: Config, checkpoint: str, name: str, trust: bool = False
) -> ClassifierTarget:
    """Return one of the networks that were trained together.

    Args:
        config: Of an ``mmmuse.OnlineDistiller``.
        checkpoint: Of its training, with all peers (``epoch_3.pth``) or of this one only
            (``epoch_3.a.pth``).
        name: Of the peer.
        trust: Load a file that holds more than weights.

    Raises:
        InputError: If the peer does not exist, or the checkpoint is of another network.
    """
    init_default_scope(config.get('default_scope') or 'mmpretrain')
    if not config.model.get('peers'):
        raise InputError(f'the config has no peers: its model is {config.model.get("type")}')
    peers = read_peers(config.model.peers)
    if name not in peers:
        raise InputError(f'unknown peer {name!r}; available: {", ".join(peers)}')
    if peers[name].get('input_size') or peers[name].get('channel_order') == 'reversed':
        raise InputError(
            f'peer {name!r} cannot be exported: the size or channel order of its images '
            '(input_size, channel_order) is not that of the data'
        )
    model = network_config(peers[name]['model'])
    model.pop('_scope_', None)
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', deepcopy(dict(config.data_preprocessor)))
    content = read_checkpoint(checkpoint, trust)
    saved = content.get('meta', {}).get('peer', name)
    if saved != name:
        raise InputError(f'{checkpoint} holds only peer {saved!r}, not {name!r}')
    if content.get(DISTILLER_KEY) and name != next(iter(peers)):
        content['state_dict'] = with_plain_names(content[DISTILLER_KEY], f'peers.{name}.')
    network = load_content(MODELS.build(model), content, checkpoint)
    return ClassifierTarget(
        *(config, model, network, network, network, f'Peer {name}'),
        lambda batch: network(batch['inputs']),
        METRIC,
    )
