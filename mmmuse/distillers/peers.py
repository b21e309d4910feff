from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, ModuleDict
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmmuse.arguments import ImageShape, PositiveInt, check_keys
from mmmuse.checkpoints.network_config import network_config
from mmmuse.errors import InputError
from mmmuse.functional.precision import at_least_float32
from mmmuse.tapping.features import DistillFeatures, NetworkSpecs

from .channel_order import ChannelOrder

_PEER = {
    'name': str,
    'model': dict | str | BaseModel,
    'taps': dict | str,
    'losses': Sequence[dict],
    'input_size': PositiveInt | None,
    'channel_order': ChannelOrder | None,
    'input_shape': ImageShape | None,
}


def read_peers(peers: Mapping[str, dict] | Sequence[dict]) -> dict[str, dict]:
    """Return the peers by name.

    Raises:
        InputError: If there are fewer than two, two have one name, or a key is missing or
            read by nothing.
    """
    described = list(peers.values()) if isinstance(peers, Mapping) else peers
    if isinstance(peers, Mapping):
        described = [dict(peer, name=name) for name, peer in peers.items()]
    named: dict[str, dict] = {}
    for peer in described:
        name = peer.get('name')
        # MMEngine sums what has "loss" in its name; "average" is where the mean of all stands.
        if (
            not isinstance(name, str)
            or not name.isidentifier()
            or hasattr(ModuleDict(), name)
            or 'loss' in name
            or name == 'average'
        ):
            raise InputError(
                'a peer is named by a word such as a, b or small, not "average" nor with "loss" in '
                f'it, got {name!r}'
            )
        if name in named:
            raise InputError(f'two peers are named {name!r}')
        unknown = set(peer) - set(_PEER)
        if unknown or not {'model', 'taps'} <= set(peer):
            raise InputError(
                f'peer {name!r} is dict(model=..., taps=...), and may have '
                f'{", ".join(sorted(set(_PEER) - {"name", "model", "taps"}))}'
                + (f'; unknown keys: {", ".join(sorted(unknown))}' if unknown else '')
            )
        check_keys(f'peer {name!r}', peer, _PEER)
        named[name] = dict(peer)
    models = [id(peer['model']) for peer in named.values() if isinstance(peer['model'], nn.Module)]
    if len(set(models)) < len(models):
        raise InputError('two peers are one built model; copy it, or give its config')
    if len(named) < 2:
        raise InputError(
            f'OnlineDistiller needs at least two peers, got {", ".join(named) or "none"}; a single '
            'network is distilled by mmmuse.SelfDistiller'
        )
    return named


def peer_network(model: Mapping | str | BaseModel) -> dict | nn.Module:
    """Return a built network, or the config of one that is given by config or name."""
    return model if isinstance(model, nn.Module) else network_config(model)


def with_ensemble(specs: Mapping[str, NetworkSpecs]) -> dict[str, NetworkSpecs]:
    """Return the peers' shapes, which say whether their logits have a mean."""
    logits = [of_peer.logits for of_peer in specs.values()]
    ensemble = None not in logits and len({(x.channels, x.grid is None) for x in logits}) == 1
    return {name: replace(of_peer, ensemble=ensemble) for name, of_peer in specs.items()}


def mean_logits(features: Sequence[DistillFeatures]) -> Tensor | None:
    """Return the mean of all peers' logits, detached; None where one has none.

    Args:
        features: Of each peer. Logits of pixels ``(N, K, h, w)`` are resized to the first peer's grid, by
            bilinear interpolation.

    Returns:
        Shape ``(N, K)`` or ``(N, K, h, w)``.
    """
    logits = [of_peer.logits for of_peer in features]
    if any(of_peer is None for of_peer in logits) or len({x.shape[:2] for x in logits}) > 1:
        return None
    if len({x.ndim for x in logits}) > 1:  # A classifier and a segmenter.
        return None
    first, *others = (at_least_float32(x.detach()) for x in logits)
    others = [
        x if x.shape == first.shape else F.interpolate(x, first.shape[2:], mode='bilinear')
        for x in others
    ]
    return torch.stack([first, *others]).mean(0)


def with_all_peers(predictions: Mapping[str, list]) -> list:
    """Return the first peer's samples, each with those of all peers in its field ``peers``."""
    results = []
    for of_peers in zip(*predictions.values(), strict=True):
        result = of_peers[0].clone()
        peers = BaseDataElement()
        for name, prediction in zip(predictions, of_peers, strict=True):
            peers.set_field(prediction, name)
        result.set_field(peers, 'peers')
        results.append(result)
    return results


def same_images(data_samples: list, each: int) -> bool:
    """Say whether each view is of the same images, where they say which they are."""
    indices = [sample.get('sample_idx') for sample in data_samples]
    return all(indices[i] == indices[i % each] for i in range(len(indices)))
