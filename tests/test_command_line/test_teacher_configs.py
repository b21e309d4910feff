"""Teachers in a config file: by name, by path, and several."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmmuse.analysis.run_settings import settings_of
from mmmuse.checkpoints.network_config import network_config, whole_config
from mmmuse.checkpoints.network_names import is_network_name
from mmmuse.command_line.config import load_config
from mmmuse.command_line.data_paths import check_files_exist
from mmmuse.errors import InputError

PLAIN = Path('configs/demo/resnet18_digits.py').resolve()


def loaded(folder: Path, teacher: str) -> Config:
    path = folder / 'configs' / 'taught.py'
    path.parent.mkdir(exist_ok=True)
    (path.parent / 'plain.py').write_text(f'_base_ = {str(PLAIN)!r}\n', encoding='utf-8')
    path.write_text(
        "_base_ = 'plain.py'\n"
        "model = dict(_delete_=True, type='mmmuse.OfflineDistiller', student=_base_.model,\n"
        f"    taps='auto', losses=[dict(type='mmmuse.MUSELoss')], teacher={teacher})\n",
        encoding='utf-8',
    )
    return load_config(str(path), {})


@pytest.mark.parametrize(
    'teacher', ["'timm::resnet18'", "dict(name='timm::resnet18', pretrained=False)"]
)
def test_a_name_stays_a_name(teacher, tmp_path):
    assert loaded(tmp_path, teacher).model.teacher == eval(teacher)


def test_a_folder_is_looked_for_beside_the_file(tmp_path):
    (tmp_path / 'vit').mkdir()
    for teacher in ("'transformers::../vit'", "dict(name='transformers::../vit')"):
        found = loaded(tmp_path, teacher).model.teacher
        name = found if isinstance(found, str) else found['name']
        assert name == f'transformers::{tmp_path}/configs/../vit'
    (item,) = loaded(tmp_path, "[dict(name='transformers::../vit')]").model.teacher
    assert item.teacher['name'] == f'transformers::{tmp_path}/configs/../vit'
    assert loaded(tmp_path, "'transformers::a/b'").model.teacher == 'transformers::a/b'


def test_the_configs_of_several_teachers_are_put_in_their_place(tmp_path):
    config = loaded(
        tmp_path, "['plain.py', 'timm::resnet18', dict(teacher='plain.py', checkpoint='a.pth')]"
    )
    first, second, third = config.model.teacher
    assert first.teacher.backbone.depth == third.teacher.backbone.depth == 18
    assert second == dict(teacher='timm::resnet18')
    assert third.checkpoint == 'a.pth'


def test_a_missing_checkpoint_of_one_of_several_is_named():
    model = dict(student={}, teacher=['timm::a', dict(teacher='b', checkpoint='none.pth')])
    with pytest.raises(
        InputError, match=r'^model\.teacher\.1\.checkpoint none\.pth: no checkpoint'
    ):
        check_files_exist(dict(model=model))


def test_a_report_names_each_teacher_and_its_losses():
    model = dict(
        type='mmmuse.OfflineDistiller',
        student=dict(type='ImageClassifier'),
        teacher=[
            dict(name='timm::a', pretrained=False),
            dict(
                teacher='timm::b', name='wide', losses=[dict(type='mmmuse.KDLoss', loss_weight=1)]
            ),
        ],
    )
    groups = settings_of(Config(dict(model=model)))
    rows = [row for group in groups.values() for row in group]
    assert ('Teacher teacher1', 'timm::a') in rows
    assert ('Teacher wide', 'timm::b') in rows
    assert any(title == 'Loss of wide' and 'KDLoss' in text for title, text in rows)
    phases = [dict(epochs=3, losses=[dict(type='mmmuse.FitNetLoss')], task_loss=False), {}]
    phased = settings_of(
        Config(dict(model={**model, 'phases': phases, 'loss_balance': 'gradient'}))
    )
    assert ('Phase 1', "3 epochs, without the student's own loss") in phased['Losses']
    assert ('Loss of phase 1', 'FitNetLoss') in phased['Losses']
    assert ('Phase 2', 'to the end') in phased['Losses']
    assert ('Balance of the losses', 'gradient') in phased['Losses']
    one = settings_of(Config(dict(model={**model, 'teacher': 'timm::a'})))
    assert ('Teacher', 'timm::a') in one['Network']


@pytest.mark.parametrize(
    ('source', 'is_name'),
    [
        ('timm::a', True),
        ('transformers::a/b', True),
        (dict(name='timm::a', pretrained=False), True),
        ('mmpretrain::a.py', False),
        ('timm.py', False),
        (dict(type='ImageClassifier', name='timm::a'), False),
        (dict(model=dict(type='a')), False),
        (None, False),
    ],
)
def test_names_of_other_libraries(source, is_name):
    assert is_network_name(source) is is_name


def test_a_name_is_the_config_of_its_network():
    expected = dict(type='mmmuse.TimmNetwork', name='a.b', pretrained=False)
    assert network_config(dict(name='timm::a.b', pretrained=False)) == expected
    assert whole_config('timm::a.b') is None
