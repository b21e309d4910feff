"""The text of a config in which a network learns from a teacher."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmmuse.command_line.teacher_wrapping import WrittenTeacher, num_logits, taught_config
from mmmuse.tapping.forward_trace import TappableModule
from mmmuse.tapping.proposal import TapProposal

HEAD = TappableModule('head', (5,), None, 0, 0, False)
CUT = TapProposal(('a', 'b'), 'c', 'head', (HEAD,), 0, (3, 32, 32))
NO_LOGITS = TapProposal(('a', 'b'), 'c', None, (), 0, (3, 32, 32), 'X is a detector')


def config(classes: int = 5, head: str = 'LinearClsHead') -> Config:
    return Config(
        dict(model=dict(type='ImageClassifier', head=dict(type=head, num_classes=classes)))
    )


def text_of(teacher: WrittenTeacher, cut: TapProposal = CUT, plain: Config | None = None) -> str:
    return taught_config('x.py', plain or config(), cut, teacher, Path('out.py'))


def test_kd_and_muse_where_the_classes_are_as_many():
    written = Config.fromstring(text_of(WrittenTeacher('timm::a', None, None, 5)).replace("['x.py']", '[]').replace('_base_.model', 'dict()'), '.py')  # fmt: skip
    assert written.model == dict(
        _delete_=True,
        type='mmmuse.OfflineDistiller',
        student=dict(),
        teacher='timm::a',
        taps=dict(modules=['a', 'b'], last='c', logits='head'),
        input_shape=[3, 32, 32],
        losses=[dict(type='mmmuse.KDLoss'), dict(type='mmmuse.MUSELoss')],
    )


@pytest.mark.parametrize(
    ('classes', 'cut', 'head', 'why'),
    [
        (7, CUT, 'LinearClsHead', 'the student has 5 classes and the teacher 7'),
        (None, CUT, 'LinearClsHead', 'the teacher has no class logits'),
        (5, NO_LOGITS, 'LinearClsHead', 'X is a detector'),
        (5, CUT, 'MultiLabelLinearClsHead', "the student's classes do not exclude each other"),
    ],
)
def test_without_kd_it_says_why(classes, cut, head, why):
    text = text_of(WrittenTeacher('timm::a', None, None, classes), cut, config(5, head))
    assert text.startswith(f'# Without KD: {why}.\n')
    assert 'KDLoss' not in text
    assert 'logits=' not in text
    assert "dict(type='mmmuse.MUSELoss')" in text


def test_a_config_as_teacher_has_its_file_and_its_taps():
    teacher = WrittenTeacher('t.py', 'w.pth', dict(last='backbone.layer4', logits='head'), 5)
    text = text_of(teacher)
    assert "    teacher='t.py',\n    teacher_checkpoint='w.pth',\n" in text
    assert "    teacher_taps=dict(last='backbone.layer4', logits='head'),\n" in text


def test_a_folder_is_written_relative_to_the_config(tmp_path):
    (tmp_path / 'vit').mkdir()
    (tmp_path / 'configs').mkdir()
    teacher = WrittenTeacher(f'transformers::{tmp_path}/vit', None, None, 5)
    text = taught_config(
        'mmpretrain::x.py', config(), CUT, teacher, tmp_path / 'configs' / 'out.py'
    )
    assert "    teacher='transformers::../vit',\n" in text


def test_classes_are_counted_in_the_logits():
    assert num_logits(CUT) == 5
    assert num_logits(NO_LOGITS) is None
