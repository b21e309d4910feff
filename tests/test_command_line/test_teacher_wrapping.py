"""The text of a config in which a network learns from a teacher."""

from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmuse.command_line.teacher_wrapping import WrittenTeacher, taught_config
from mmmuse.tapping.proposal import TapProposal

CUT = TapProposal(('a', 'b'), 'c', 'head', (), 0, (3, 32, 32), num_classes=5)
MULTI_LABEL = replace(CUT, kind='labels')
PIXELS = replace(CUT, logits='decode_head.conv_seg', of_pixels=True)
NO_LOGITS = TapProposal(('a', 'b'), 'c', None, (), 0, (3, 32, 32), 'X is a detector')


def text_of(teacher: WrittenTeacher, cut: TapProposal = CUT) -> str:
    return taught_config('x.py', cut, teacher, Path('out.py'))


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
    ('classes', 'cut', 'why'),
    [
        (7, CUT, 'the student has 5 classes and the teacher 7'),
        (None, CUT, 'the teacher has no class logits'),
        (5, NO_LOGITS, 'X is a detector'),
        (5, MULTI_LABEL, 'the logits of only one of the networks are for a sigmoid (multi-label)'),
        (5, PIXELS, 'the logits of only one of the networks are those of pixels'),
    ],
)
def test_without_kd_it_says_why(classes, cut, why):
    text = text_of(WrittenTeacher('timm::a', None, None, classes), cut)
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
    text = taught_config('mmpretrain::x.py', CUT, teacher, tmp_path / 'configs' / 'out.py')
    assert "    teacher='transformers::../vit',\n" in text


def test_logits_for_a_sigmoid_are_compared_by_binary_kd():
    teacher = WrittenTeacher('t.py', 'w.pth', dict(last='a', logits='head'), 5, 'labels')
    assert "dict(type='mmmuse.BinaryKDLoss')" in text_of(teacher, MULTI_LABEL)
    pixels = replace(teacher, kind='classes', of_pixels=True)
    assert "dict(type='mmmuse.KDLoss')" in text_of(pixels, PIXELS)
