import copy

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from mmmuse.errors import InputError
from mmmuse.functional import kd_loss
from mmmuse.optim import BFloat16OptimWrapper
from mmmuse.registry import MODELS

from ..conftest import as_trained, labelled
from ..test_hooks.test_student_checkpoint import assert_same, read, train
from .detectors import LEVELS, detector
from .transfer import CRD, LABELS, MUSE, TAPS, batch, network, online

KD = dict(type='mmmuse.KDLoss', temperature=4)


def test_every_parameter_of_every_peer_gets_a_gradient():
    distiller = online(peers=('a', 'b', 'c'))
    total, log = distiller.parse_losses(distiller(*batch(), mode='loss'))
    total.backward()
    assert [name for name, value in distiller.named_parameters() if value.grad is None] == []
    for peer in 'abc':
        assert {f'{peer}.loss', f'{peer}.loss_kd', f'{peer}.loss_kdcl', f'{peer}.mi_loss_3'} < set(
            log
        )
    assert len(distiller.transfers) == 3
    assert len(distiller.transfers['a']) == 2


def test_each_learns_from_the_mean_over_the_others():
    distiller = online(KD, peers=('a', 'b', 'c'))
    images, samples = batch()
    logits = {name: copy.deepcopy(net)(images) for name, net in distiller.networks.items()}
    losses = distiller(images, samples, mode='loss')
    expected = sum(kd_loss(logits['a'], logits[other], 4.0) for other in 'bc') / 2
    torch.testing.assert_close(losses['a.loss_kd'], expected)


def test_kdcl_imitates_the_mean_of_all_logits():
    distiller = online(dict(type='mmmuse.KDCLLoss', loss_weight=1.0))
    images, samples = batch()
    first, second = (copy.deepcopy(net)(images) for net in distiller.networks.values())
    losses = distiller(images, samples, mode='loss')
    torch.testing.assert_close(losses['b.loss_kdcl'], kd_loss(second, (first + second) / 2, 4.0))


def test_a_peers_features_learn_from_being_taught_unless_detached():
    gradients = {}
    for detach in (False, True):
        torch.manual_seed(0)
        distiller = online(MUSE, detach_features=detach, own_weight=0.0)
        losses = distiller(*batch(), mode='loss')
        losses['a.loss_muse'].backward()
        gradients[detach] = distiller.peers['b'].backbone.layer3[0].conv1.weight.grad
    assert gradients[False].abs().sum() > 0
    assert gradients[True] is None


def test_f_t_of_muse_is_the_other_peers():
    distiller = online(MUSE)
    assert distiller.transfers['a']['b'][0].target_specs[0].channels == 24
    assert distiller.transfers['b']['a'][0].target_specs[0].channels == 16


def test_own_weight_weighs_each_peers_own_loss():
    torch.manual_seed(0)
    distiller = online(KD)
    images, samples = batch()
    whole = distiller(images, samples, mode='loss')
    distiller.own_weight = 0.5
    half = distiller(images, samples, mode='loss')
    torch.testing.assert_close(half['a.loss'], 0.5 * whole['a.loss'])
    torch.testing.assert_close(half['a.loss_kd'], whole['a.loss_kd'])


def test_each_peer_sees_its_own_view():
    distiller = online(KD, own_views=True)
    images, samples = batch()
    other = torch.randn_like(images)
    seen = {}
    for name, net in distiller.networks.items():
        net.backbone.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: inputs[0]})
        )
    distiller(torch.cat([images, other]), samples + samples, mode='loss')
    assert torch.equal(seen['a'], images)
    assert torch.equal(seen['b'], other)


@pytest.mark.parametrize('count', [3, 4])
def test_a_batch_without_a_view_for_each_peer_is_refused(count):
    distiller = online(KD, own_views=True)
    images, samples = batch()
    with pytest.raises(InputError, match='own_views: a batch holds 2 views of each image'):
        distiller(images[:count], samples[:count], mode='loss')


def test_a_batch_of_one_image_has_no_negatives():
    images, samples = batch()
    with pytest.raises(InputError, match='at least 2 images, got 1'):
        online(MUSE)(images[:1], samples[:1], mode='loss')


def test_it_predicts_with_every_peer():
    distiller = as_trained(online(KD)).eval()
    images, samples = batch()
    predictions = distiller(images, samples, mode='predict')
    for name, net in distiller.networks.items():
        for i, prediction in enumerate(predictions):
            scores = prediction.peers.get(name).pred_score
            torch.testing.assert_close(scores, net(images).softmax(1)[i])
    assert torch.equal(predictions[0].pred_score, predictions[0].peers.a.pred_score)
    assert torch.equal(distiller(images), distiller.student(images))
    assert 'pred_score' not in samples[0]


def test_peers_of_other_normalisation_see_their_own_images():
    mine = dict(type='ClsDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3)
    its = dict(type='ClsDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3)
    peers = dict(
        a=dict(model=network(data_preprocessor=mine), taps=TAPS),
        b=dict(model=network(6, data_preprocessor=its), taps=TAPS, input_size=32),
    )
    config = dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[KD])
    distiller = as_trained(MODELS.build(config)).eval()
    raw = torch.randint(0, 256, (2, 3, 16, 16)).float()
    prediction = distiller((raw - 100) / 50, labelled([0, 1]), mode='predict')[0]
    expected = torch.nn.functional.interpolate(raw / 255, 32, mode='bilinear')
    torch.testing.assert_close(
        prediction.peers.b.pred_score, distiller.peers['b'](expected).softmax(1)[0]
    )


def test_tokens_of_a_peer_have_the_grid_of_the_images_that_it_sees():
    vit = dict(
        type='ImageClassifier',
        _scope_='mmpretrain',
        backbone=dict(
            type='VisionTransformer',
            arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16),
            img_size=96,
            patch_size=8,
            with_cls_token=False,
            out_type='avg_featmap',
        ),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=16),
    )
    taps = dict(modules=['backbone.layers.0'], last='backbone.layers.1', logits='head')
    peers = dict(
        a=dict(model=network(), taps=TAPS),
        b=dict(model=vit, taps=taps, input_size=96, input_shape=(3, 96, 96)),
    )
    distiller = MODELS.build(dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[KD])).train()
    seen = []
    collect = distiller.tapped['b'].collect
    distiller.tapped['b'].collect = lambda size: seen.append(collect(size)) or seen[-1]
    distiller(
        torch.randn(2, 3, 72, 128), labelled([0, 1]), mode='loss'
    )  # 144 tokens fit 9 x 16, too.
    # Tokens of a square grid stay tokens; the losses read them as 12 x 12.
    assert [tuple(x.shape) for x in seen[0].modules] == [(2, 144, 16)] * 2


def test_a_detector_cannot_see_images_of_another_size_than_its_boxes_are_of():
    peers = dict(
        a=dict(model=detector('FCOS'), taps=LEVELS),
        b=dict(model=detector('FCOS'), taps=LEVELS, input_size=64),
    )
    losses = [dict(type='mmmuse.AttentionTransferLoss')]
    with pytest.raises(InputError, match=r"peer 'b' is a detector.*leave its input_size out"):
        MODELS.build(dict(type='mmmuse.OnlineDistiller', peers=peers, losses=losses))


def test_losses_of_one_peer_replace_the_shared_ones():
    peers = dict(
        a=dict(model=network(), taps=TAPS, losses=[CRD]), b=dict(model=network(), taps=TAPS)
    )
    distiller = MODELS.build(dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[KD]))
    distiller.prepare(LABELS)
    losses = distiller.train()(*batch(), mode='loss')
    assert set(losses) == {'a.loss', 'a.loss_crd', 'b.loss', 'b.loss_kd'}


def test_a_preprocessor_is_for_the_images_and_for_peers_that_are_not_built():
    mine = dict(type='ClsDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3)
    its = dict(type='ClsDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3)
    peers = dict(
        a=dict(model=network(), taps=TAPS),
        b=dict(model=MODELS.build(network(data_preprocessor=its)), taps=TAPS),
    )
    config = dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[KD], data_preprocessor=mine)
    distiller = MODELS.build(config)
    assert distiller.data_preprocessor.mean.flatten().tolist() == [100.0] * 3
    assert distiller.peers['b'].data_preprocessor.std.flatten().tolist() == [255.0] * 3


def test_bfloat16_gives_finite_weights():
    distiller = online()
    images, samples = batch()
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.01))
    distiller.train_step(dict(inputs=images, data_samples=samples), wrapper)
    assert all(torch.isfinite(value).all() for value in distiller.parameters())


def test_a_deep_copy_taps_its_own_networks():
    distiller = online(KD)
    twin = copy.deepcopy(distiller)
    assert twin.tapped['b'].network is twin.peers['b'] is not distiller.peers['b']
    wrapper = OptimWrapper(torch.optim.SGD(twin.parameters(), lr=0.1))
    images, samples = batch()
    twin.train_step(dict(inputs=images, data_samples=samples), wrapper)


PEER = dict(model=network(), taps=TAPS)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(peers=dict(a=PEER)), r'needs at least two peers, got a; a single network'),
        (dict(peers=dict()), r'needs at least two peers, got none'),
        (dict(peers=[dict(PEER, name='a'), dict(PEER, name='a')]), r"two peers are named 'a'"),
        (dict(peers={'a.b': PEER, 'c': PEER}), r"a peer is named by a word .*'a.b'"),
        (dict(peers=dict(keys=PEER, c=PEER)), r"a peer is named by a word .*'keys'"),
        (dict(peers=dict(glossy=PEER, c=PEER)), r"a peer is named by a word .*'glossy'"),
        (dict(peers=dict(average=PEER, c=PEER)), r"a peer is named by a word .*'average'"),
        (dict(peers='ab'), 'peers is a dict of dicts or a list of dicts, got'),
        (dict(peers=dict(a=3, b=4)), 'peers is a dict of dicts or a list of dicts, got'),
        (dict(peers=dict(a=dict(PEER, tap=1), b=PEER)), r"peer 'a' is dict.*unknown keys: tap"),
        (dict(peers=dict(a=dict(model=network()), b=PEER)), r"peer 'a' is dict\(model=..., taps"),
        (dict(losses=[]), r'needs losses, a list such as'),
        (
            dict(peers=dict(a=dict(PEER, losses=[KD]), b=dict(PEER, losses=[KD]))),
            'every peer has losses of its own, so no peer has those of the distiller',
        ),
        (
            dict(peers=dict(a=PEER, b=dict(model=network(4, 7), taps=TAPS))),
            r"peer 'a' learning from 'b': KDLoss compares class logits, and the networks differ in classes: 5 .peers.a.taps. and 7 .peers.b.taps.",
        ),
        (
            dict(peers=dict(a=PEER, b=dict(model=network(), taps={**TAPS, 'logits': 'neck2'}))),
            r"no module 'neck2'; nearest",
        ),
    ],
)
def test_bad_peers_are_refused(options, message):
    config = dict(type='mmmuse.OnlineDistiller', peers=dict(a=PEER, b=PEER), losses=[KD])
    with pytest.raises(InputError, match=message):
        MODELS.build({**config, **options})


def run_config() -> dict:
    preprocessor = dict(type='mmmuse.BatchedDataPreprocessor', mean=[120.0], std=[60.0])
    return dict(
        type='mmmuse.OnlineDistiller',
        peers=dict(
            a=dict(model=network(in_channels=1), taps=TAPS),
            b=dict(model=network(6, in_channels=1), taps=TAPS),
        ),
        losses=[KD, CRD, MUSE],
        data_preprocessor=preprocessor,
    )


HOOKS = [
    dict(type='mmmuse.StudentCheckpointHook'),
    dict(type='mmmuse.PeerCheckpointHook'),
    dict(type='mmmuse.TrainingLabelsHook'),
]


@pytest.mark.parametrize('ema', [False, True])
def test_each_peer_has_a_file_of_its_own_and_resuming_brings_all_back(ema, tmp_path):
    hooks = HOOKS + ([dict(type='EMAHook', momentum=0.1)] if ema else [])
    options = dict(custom_hooks=hooks)
    straight, path = train(tmp_path / 'one', model=run_config(), **options)
    for name, width in (('a', 4), ('b', 6)):
        plain = MODELS.build(network(width, in_channels=1))
        weights = read(path.with_suffix(f'.{name}.pth'))['state_dict']
        assert list(weights) == list(plain.state_dict())
        plain.load_state_dict(weights)
        if not ema:
            assert_same(plain.state_dict(), straight.model.networks[name].state_dict())
    assert_same(read(path)['state_dict'], read(path.with_suffix('.a.pth'))['state_dict'])
    resumed, _ = train(
        tmp_path / 'two', model=run_config(), load_from=str(path), resume=True, **options
    )
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
    assert any('memory_teacher' in name for name in resumed.model.state_dict())
    losses = []
    for runner in (straight, resumed):
        torch.manual_seed(7)
        losses.append(runner.model(torch.randn(4, 1, 8, 8), batch()[1], mode='loss'))
    assert_same(*losses)


def test_a_peers_files_go_with_the_checkpoint_beside_them(tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1))
    _, _path = train(
        tmp_path, model=run_config(), epochs=3, custom_hooks=HOOKS, default_hooks=hooks
    )
    assert sorted(file.name for file in tmp_path.glob('*.pth')) == [
        'epoch_3.a.pth',
        'epoch_3.b.pth',
        'epoch_3.pth',
    ]


def test_a_peers_files_stay_where_a_person_removed_the_checkpoint(tmp_path):

    class Person(Hook):
        def before_train_epoch(self, runner) -> None:
            if runner.epoch == 1:
                (tmp_path / 'epoch_1.pth').unlink()

    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2))
    train(
        tmp_path,
        model=run_config(),
        epochs=2,
        custom_hooks=[*HOOKS, Person()],
        default_hooks=hooks,
    )
    assert (tmp_path / 'epoch_1.a.pth').exists()
    assert not (tmp_path / 'epoch_1.pth').exists()


def test_losses_of_several_levels_are_weighed_each():
    distiller = online(KD, own_weight=0.5)
    plain = distiller.student.loss
    distiller.student.loss = lambda *args: {'loss_cls': [x := plain(*args)['loss'], x]}
    losses = distiller(*batch(), mode='loss')
    assert len(losses['a.loss_cls']) == 2
    distiller.parse_losses(losses)


def test_one_built_model_is_not_two_peers():
    model = MODELS.build(network())
    peer = dict(model=model, taps=TAPS)
    with pytest.raises(InputError, match='two peers are one built model'):
        MODELS.build(dict(type='mmmuse.OnlineDistiller', peers=dict(a=peer, b=peer), losses=[KD]))
