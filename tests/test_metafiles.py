"""``model-index.yml`` and the metafiles name every config, and only facts that are in it."""

from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
METAFILES = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
DATA = {
    'mmmuse.BatchedCIFAR100': 'CIFAR-100',
    'mmmuse.PerSampleCIFAR100': 'CIFAR-100',
    'mmmuse.TinyImageNet': 'Tiny ImageNet',
    'mmmuse.BatchedDigits': 'Digits (scikit-learn)',
    'ImageNet': 'ImageNet-1k',
}


def read(metafile: str) -> dict:
    return yaml.safe_load((ROOT / metafile).read_text())


def test_every_family_of_configs_has_a_metafile():
    models = {path.parent for path in CONFIGS.glob('[!_]*/*.py')} - {CONFIGS / 'tables'}
    assert {ROOT / metafile for metafile in METAFILES} == {
        folder / 'metafile.yml' for folder in models
    }


def test_no_two_models_have_one_name():
    names = [model['Name'] for metafile in METAFILES for model in read(metafile)['Models']]
    assert len(names) == len(set(names))


@pytest.mark.parametrize('metafile', METAFILES)
def test_a_metafile_names_the_configs_of_its_folder(metafile):
    content = read(metafile)
    collections = [each['Name'] for each in content['Collections']]
    for each in content['Collections']:
        assert 'README' not in each or (ROOT / each['README']).is_file()
    assert {ROOT / model['Config'] for model in content['Models']} == set(
        (ROOT / metafile).parent.glob('*.py')
    )
    assert all(model['In Collection'] in collections for model in content['Models'])
    # No checkpoint is published.
    assert not any('Weights' in model for model in content['Models'])


@pytest.mark.parametrize('metafile', METAFILES)
def test_a_metafile_repeats_what_the_configs_say(metafile):
    for model in read(metafile)['Models']:
        config = Config.fromfile(ROOT / model['Config'])
        facts = model['Metadata']
        of_schedule = (
            ('Iterations', 'max_iters') if 'Iterations' in facts else ('Epochs', 'max_epochs')
        )
        assert facts[of_schedule[0]] == config.train_cfg[of_schedule[1]], model['Name']
        batch = facts.get('Batch Size', config.train_dataloader.batch_size)
        assert batch == config.train_dataloader.batch_size, model['Name']
        kind = config.train_dataloader.dataset.type
        assert facts['Training Data'] == DATA.get(kind, facts['Training Data']), model['Name']
        if kind.endswith('CocoDataset') or kind == 'MultiImageMixDataset':
            assert facts['Training Data'] in ('COCO', 'BCCD', 'ten images of COCO')


def test_the_package_has_links_to_configs_tools_and_the_index():
    mim = ROOT / 'mmmuse' / '.mim'
    assert (mim / 'configs').samefile(CONFIGS)
    assert (mim / 'tools').samefile(ROOT / 'tools')
    assert (mim / 'model-index.yml').samefile(ROOT / 'model-index.yml')
