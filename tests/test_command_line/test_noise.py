"""Start-up messages of the libraries that are of no use are omitted, others are not."""

import logging
import warnings
from uuid import uuid4

import pytest
from mmengine import logging as mmengine_logging
from mmengine.logging import MMLogger

from mmmuse.command_line import noise


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    monkeypatch.setattr(mmengine_logging, 'print_log', mmengine_logging.print_log)
    monkeypatch.setattr(noise, '_silenced', [False])
    with warnings.catch_warnings():
        yield


def test_messages_of_missing_optional_packages_are_omitted(capsys):
    noise.silence_start_up()
    mmengine_logging.print_log('Could not import OneDL', level=logging.DEBUG)
    assert capsys.readouterr().out == ''
    mmengine_logging.print_log('training', level=logging.INFO)
    assert capsys.readouterr().out == 'training\n'


@pytest.mark.parametrize(('level', 'written'), [('INFO', 0), ('DEBUG', 1)])
def test_a_message_for_debugging_is_made_only_where_it_is_written(level, written):
    made = []
    logger = MMLogger.get_instance(f'noise_{uuid4().hex}', log_level=level)
    logger.addFilter(lambda record: made.append(record.getMessage()) or True)
    noise.silence_start_up()
    for each in (logger, 'current'):
        made.clear()
        mmengine_logging.print_log('Get class `Linear`', each, logging.DEBUG)
        assert len(made) == written
        mmengine_logging.print_log('training', each)
        assert made[-1] == 'training'


def test_only_useless_warnings_are_omitted():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        noise.silence_start_up()
        warnings.warn('faster_coco_eval is not installed, metrics ...', stacklevel=1)
        warnings.warn('the learning rate is 0', stacklevel=1)
    assert [str(warning.message) for warning in caught] == ['the learning rate is 0']


@pytest.mark.parametrize('silenced', [True, False])
def test_deprecations_of_mmengine_in_its_own_log_are_omitted(silenced):
    logger = MMLogger('noise_test')
    if silenced:
        noise.silence_start_up()
    noise.silence_logger(logger)
    records = [
        logging.LogRecord('x', logging.WARNING, '', 1, text, None, None)
        for text in ('"FileClient" will be deprecated in future. Use io', 'loss is high')
    ]
    assert [bool(logger.filter(record)) for record in records] == [not silenced, True]
