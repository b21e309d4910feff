from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel, ModuleDict
from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat
from mmmuse.errors import InputError
from mmmuse.losses import (
    DistillLoss,
    Edge,
    add_terms,
    build_edge,
)
from mmmuse.registry import MODELS
from mmmuse.tapping.dry_run import is_detector
from mmmuse.tapping.features import DistillFeatures, Step
from mmmuse.tapping.taps import TappedNetwork

from .base import BaseDistiller, build_student, keep_weights, task_scale
from .gradient_ratio import gradient_ratio
from .input_conversion import InputConversion
from .offline import names_that_need_labels
from .own_total import with_own_total
from .peers import mean_logits, peer_network, read_peers, same_images, with_all_peers, with_ensemble
from .self_supervised import is_self_supervised


@MODELS.register_module()
class OnlineDistiller(BaseDistiller):
    r"""Networks that learn together from scratch, each the others' teacher.

    .. math::
        L = \sum_p \Big[ w L_p + \frac{1}{P - 1} \sum_{q \ne p} \sum_l L_l(p, q) \Big]

    with :math:`L_p` the peer's own loss and :math:`L_l(p, q)` a loss with which p learns
    from q; each ordered pair has critics, regressors and so on of its own. In MUSE
    :math:`f_T` is the other peer's last feature, the local maps and SI a peer's own.

    The first peer is the distiller's student: its weights are the checkpoint's
    ``state_dict``, and it is what ``tensor`` mode runs. ``mmmuse.PeerCheckpointHook``
    also saves each peer in a file of its own (``epoch_N.a.pth``), and
    ``mmmuse.PeerMetric`` evaluates each under its own prefix (``a/accuracy/top1``).

    Args:
        peers: ``dict(a=dict(model=..., taps=...), b=...)``, or a list of such dicts with a
            ``name``; at least two. ``model`` is the config of a network, the path of its
            config file, ``'mmpretrain::...'``, or the built model, which keeps its weights;
            ``taps`` are as for :class:`mmmuse.distillers.OfflineDistiller`. ``losses`` replace the
            shared ones for that peer as the one that learns; ``input_size`` and
            ``channel_order`` are those of :class:`InputConversion` (a detector's boxes are in the
            pixels of the images, so it takes no ``input_size``), ``input_shape`` that of the dry
            run. By default a peer's channels have the order that its own data preprocessor would
            give them.
        losses: Configs of the losses of every ordered pair; see
            :class:`mmmuse.distillers.OfflineDistiller`. There is ``mmmuse.KDCLLoss`` too,
            which reads the mean of all logits.
        own_weight: w, factor on each peer's own loss.
        own_views: Whether each peer sees its own augmented view of the images:
            ``data_preprocessor=dict(num_views=P)`` makes P of them. The paper does not
            give this.
        detach_features: Whether a peer's features get no gradient from the losses with
            which others learn from it. Logits never do. The paper does not give this.
        data_preprocessor: For the images, and for the peers whose config has none; by
            default that of the first peer.
        init_cfg: MMEngine's.

    Raises:
        InputError: If there are fewer than two peers, two have one name, a detector has another
            input size, a loss cannot compare a pair, or ``losses`` are given and every peer has its own.

    Source: MUSE (Gong et al., BMVC 2021), table 7(a).
    """

    def __init__(
        self,
        peers: Mapping[str, dict] | Sequence[dict],
        losses: Sequence[dict] = (),
        own_weight: NonNegativeFloat = 1.0,
        own_views: bool = False,
        detach_features: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        peers = read_peers(peers)
        networks = {
            name: _build_peer(peer_network(peer['model']), data_preprocessor)
            for name, peer in peers.items()
        }
        for network in filter(is_self_supervised, networks.values()):
            raise InputError(
                f'{type(network).__name__} is not supported as a peer: it sees several views of each image'
            )
        first, *others = peers
        preprocessor = networks[first].data_preprocessor
        if data_preprocessor is not None:
            preprocessor = MODELS.build(data_preprocessor)
        conversions = {
            name: InputConversion(
                preprocessor,
                networks[name].data_preprocessor,
                peer.get('input_size'),
                peer.get('channel_order'),
                # One data set for all peers, whichever order it has.
                loaded='bgr',
                target_loaded='bgr',
                option=f'peers.{name}.channel_order',
            )
            for name, peer in peers.items()
        }
        for name, network in networks.items():
            if conversions[name].input_size is not None and is_detector(network):
                raise InputError(
                    f'peer {name!r} is a detector, which learns and predicts boxes in the pixels of the '
                    'images, so it cannot see them in another size: leave its input_size out, and resize '
                    'in the data pipeline'
                )
        networks[first].data_preprocessor = preprocessor
        super().__init__(networks[first], init_cfg=init_cfg)
        for name in others:
            keep_weights(networks[name])
            if networks[name].is_init:  # Given with its weights.
                self.added_weights.note_given(f'peers.{name}')
        self.peers = ModuleDict({name: networks[name] for name in others})
        self.conversions = nn.ModuleDict(conversions)
        self.own_weight = own_weight
        self.own_views = own_views
        self.detach_features = detach_features
        self.tapped = {
            name: TappedNetwork(
                networks[name], peer['taps'], peer.get('input_shape'), f'peers.{name}.taps'
            )
            for name, peer in peers.items()
        }
        self._specs = with_ensemble({name: tapped.specs for name, tapped in self.tapped.items()})
        if losses and all('losses' in peer for peer in peers.values()):
            raise InputError(
                'every peer has losses of its own, so no peer has those of the distiller: leave these '
                'out, or the losses of a peer'
            )
        self.transfers = nn.ModuleDict(
            {
                name: nn.ModuleDict(
                    {
                        other: self._build_losses(name, other, peer.get('losses', losses))
                        for other in peers
                        if other != name
                    }
                )
                for name, peer in peers.items()
            }
        )
        self.transfers.to(next(self.student.parameters()))

    def _build_losses(self, name: str, other: str, losses: Sequence[dict]) -> Edge:
        if not losses:
            raise InputError(
                "OnlineDistiller needs losses, a list such as [dict(type='mmmuse.KDLoss')]"
            )
        try:
            return build_edge(losses, self._specs[name], self._specs[other])
        except InputError as error:
            raise InputError(f'peer {name!r} learning from {other!r}: {error}') from error

    @property
    def networks(self) -> dict[str, BaseModel]:
        """The peers by name, the first of them the student."""
        first, *others = self.tapped
        return {first: self.student, **{name: self.peers[name] for name in others}}

    @property
    def tapped_networks(self) -> Iterable[TappedNetwork]:
        """The peers with their taps."""
        return self.tapped.values()

    @property
    def distill_losses(self) -> list[DistillLoss]:
        """All losses between two features."""
        return [
            loss
            for pairs in self.transfers.values()
            for losses in pairs.values()
            for loss in losses
        ]

    @property
    def label_readers(self) -> list[str]:
        """Names of what needs images that are not mixed: losses, and views, each of which would be mixed apart."""
        own = ['own_views'] if self.own_views else []
        return [*own, *super().label_readers]

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch, as the data set gives it."""
        return max(loss.min_batch_size for loss in self.distill_losses)

    @property
    def needs_labels(self) -> str:
        """Names of the losses that have to see the training set's labels."""
        return names_that_need_labels(self.distill_losses)

    def prepare(self, labels: Tensor) -> None:
        """Show the training set's labels ``(M, )`` to the losses that need them."""
        for loss in self.distill_losses:
            if loss.needs_labels:
                loss.prepare(labels)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return every peer's own loss and what it learns from the others, under its name.

        Args:
            inputs: ``(N, C, H, W)``; with own views ``(P N, C, H, W)``, view by view.
            data_samples: As many.

        Raises:
            InputError: If the batch is too small, not one view for each peer, or mixed (Mixup,
                CutMix) where peers have views of their own or a loss reads labels.
        """
        batches, networks = self._batches(inputs, data_samples), self.networks
        terms: dict[str, Tensor] = {}
        features: dict[str, DistillFeatures] = {}
        own: dict[str, dict] = {}
        for name, tapped in self.tapped.items():
            images, samples = batches[name]
            images = self.conversions[name](images)
            with tapped:
                losses = networks[name](images, samples, mode='loss')
                features[name] = tapped.collect(images.shape[2:])
            own[name] = with_own_total(
                {
                    term: self._weighed(value) if 'loss' in term else value
                    for term, value in losses.items()
                }
            )
            terms.update({f'{name}.{term}': value for term, value in own[name].items()})
        ensemble = mean_logits(list(features.values()))
        learned: dict[str, dict[str, Tensor]] = {name: {} for name in self.tapped}
        for name, pairs in self.transfers.items():
            for other, losses in pairs.items():
                source = features[other].detached() if self.detach_features else features[other]
                samples = batches[name][1]
                scale = task_scale(self.tapped[name].network, samples)
                step = Step(features[name], source, samples, ensemble, scale)
                for term, value in losses(step).items():
                    learned[name][term] = learned[name].get(term, 0.0) + value / len(pairs)
        if self.records_gradient_ratio:
            # A peer's features receive gradients as learner and as source.
            everything = {
                f'{term}.{name}': x for name in learned for term, x in learned[name].items()
            }
            for name in learned:
                learned[name].update(gradient_ratio(features[name], own[name], everything))
        for name, losses in learned.items():
            add_terms(terms, {f'{name}.{term}': value for term, value in losses.items()})
        return terms

    def _weighed(self, value: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        """Return a peer's own loss times its weight; detectors give one for each level."""
        if isinstance(value, Tensor):
            return self.own_weight * value
        return [self.own_weight * of_level for of_level in value]

    def _batches(self, inputs: Tensor, data_samples: list) -> dict[str, tuple[Tensor, list]]:
        """Return what each peer sees."""
        views = len(self.tapped) if self.own_views else 1
        each, left_over = divmod(len(data_samples), views)
        if left_over or (self.own_views and not same_images(data_samples, each)):
            raise InputError(
                f'own_views: a batch holds {views} views of each image, one after the other: set '
                f"data_preprocessor=dict(type='mmmuse.BatchedDataPreprocessor', num_views={views})"
            )
        self.refuse_mixed_images(data_samples)
        if each < self.min_batch_size:
            raise InputError(
                f'a batch needs at least {self.min_batch_size} images, got {each}; if a last batch '
                'is left over, set drop_last=True'
            )
        starts = [i * each if self.own_views else 0 for i in range(len(self.tapped))]
        return {
            name: (inputs[start : start + each], data_samples[start : start + each])
            for name, start in zip(self.tapped, starts, strict=True)
        }

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Return the first peer's predictions, each with those of all in its field ``peers``.

        If others were never trained or loaded, the field is left out, with a warning.
        """
        others = [f'peers.{name}' for name in self.peers]
        why = self.added_weights.why_random(self, *others)
        names = list(self.tapped) if why is None else list(self.tapped)[:1]
        predictions = {
            name: network(
                self.conversions[name](inputs),
                data_samples and [sample.clone() for sample in data_samples],
                mode='predict',
            )
            for name, network in self.networks.items()
            if name in names
        }
        if why is not None:
            return self.added_weights.leave_out(why, *predictions.values())
        return with_all_peers(predictions)

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the first peer in ``tensor`` mode, or :meth:`loss` or :meth:`predict`."""
        if mode == 'tensor':
            first = next(iter(self.tapped))
            return self.student(self.conversions[first](inputs), data_samples, mode=mode)
        return super().forward(inputs, data_samples, mode)

    def get_layer_depth(self, param_name: str) -> tuple[int, int]:
        """Return a parameter's layer and the number of layers; a peer's are its own."""
        part, _, rest = param_name.partition('.')
        if part == 'peers':
            name, _, rest = rest.partition('.')
            return self.peers[name].get_layer_depth(rest)
        return super().get_layer_depth(param_name)


def _build_peer(peer: dict | nn.Module, data_preprocessor: dict | None) -> BaseModel:
    """Build a peer from its config, or check a built one, which keeps its data preprocessor."""
    return build_student(peer, None if isinstance(peer, nn.Module) else data_preprocessor)
