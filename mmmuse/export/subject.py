"""What is exported: an exit of a distilled network, or one of several peers."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor

from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.network_config import network_config
from mmmuse.checkpoints.state_dicts import REST, check_same, with_plain_names
from mmmuse.distillers.online import read_peers
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from .exit_network import check_exit, exit_logits, exit_network, exit_network_config, num_exits
from .trained import load_trained


@dataclass
class Subject:
    """A plain network, and what it is held against.

    Attributes:
        model: Its config.
        network: The network with its weights, in eval mode.
        original: The whole network, to compare cost and accuracy with.
        trained: The model whose data preprocessor normalises the images.
        logits: Of the same images in the model that was trained, ``(N, K)``.
        title: Of it, for people.
        dataset_meta: Class names.
    """

    model: dict
    network: BaseModel
    original: BaseModel
    trained: BaseModel
    logits: Callable[[Tensor], Tensor]
    title: str
    dataset_meta: dict | None


def exit_subject(config: Config, checkpoint: str, number: int, trust: bool = False) -> Subject:
    """Return an exit of a self-distilled network.

    Args:
        config: Of the distilled network.
        checkpoint: Of its training.
        number: Of the exit, 1 to T.
        trust: Load a file that holds more than weights.

    Raises:
        InputError: If there is no such exit, or the checkpoint is of another network.
    """
    distiller = load_trained(config, checkpoint, trust)
    check_exit(distiller, number)
    return Subject(
        exit_network_config(config.model, distiller, number),
        exit_network(config.model, distiller, number),
        exit_network(config.model, distiller, num_exits(distiller)),
        distiller,
        lambda images: exit_logits(distiller, images)[number - 1],
        f'Exit {number}',
        distiller.dataset_meta,
    )


def peer_subject(config: Config, checkpoint: str, name: str, trust: bool = False) -> Subject:
    """Return one of the networks that were trained together.

    Args:
        config: Of an ``mmmuse.OnlineDistiller``.
        checkpoint: Of its training, with all peers (``epoch_3.pth``) or of this one alone
            (``epoch_3.a.pth``).
        name: Of the peer.
        trust: Load a file that holds more than weights.

    Raises:
        InputError: If there is no such peer, or the checkpoint is of another network.
    """
    init_default_scope(config.get('default_scope') or 'mmpretrain')
    if not config.model.get('peers'):
        raise InputError(f'the config has no peers: its model is {config.model.get("type")}')
    peers = read_peers(config.model.peers)
    if name not in peers:
        raise InputError(f'there is no peer {name!r}: peers are {", ".join(peers)}')
    if peers[name].get('input_size') or peers[name].get('channel_order', 'same') != 'same':
        raise InputError(
            f'peer {name!r} sees images of another size or channel order than the data have '
            '(input_size, channel_order): an export would not say so'
        )
    model = network_config(peers[name]['model'])
    model.pop('_scope_', None)
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', deepcopy(dict(config.data_preprocessor)))
    content = read_checkpoint(checkpoint, trust)
    weights = content.get('state_dict', content)
    saved = content.get('meta', {}).get('peer', name)
    if saved != name:
        raise InputError(f'{checkpoint} holds peer {saved!r} alone, not {name!r}')
    if content.get(REST) and name != next(iter(peers)):
        weights = with_plain_names(content[REST], f'peers.{name}.')
    network = MODELS.build(model)
    check_same('network', network.state_dict(), weights)
    network.load_state_dict(weights)
    network.eval()
    return Subject(
        model,
        network,
        network,
        network,
        torch.no_grad()(lambda images: network(images)),
        f'Peer {name}',
        content.get('meta', {}).get('dataset_meta'),
    )


def described(subject: Subject, config: str) -> str:
    """Return the first line of an exported config."""
    return f'{subject.title} of {Path(config).name}: a network of its own, read by mmpretrain.'
