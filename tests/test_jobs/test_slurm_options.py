import pytest

from mmmuse.errors import InputError
from mmmuse.jobs.slurm_options import SlurmOptions, check_slurm, minutes_of

from .fake_slurm import calls, fake_slurm


def checked(**flags) -> SlurmOptions:
    asked = dict(partition=None, time=None, gpus=1, cpus=5, array_parallelism=16, more=())
    return check_slurm(**{**asked, **flags})


@pytest.mark.parametrize(
    ('text', 'minutes'),
    [
        ('90', 90),
        ('90:30', 91),
        ('2:30:00', 150),
        ('1-0', 1440),
        ('1-1:05', 1505),
        ('2-00:00:01', 2881),
    ],
)
def test_a_time_limit_is_read_as_slurm_reads_it(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize('text', ['', '0', '0-0', 'a day', '1:2:3:4', '-5', '1.5'])
def test_what_is_no_time_limit_is_refused(text):
    with pytest.raises(InputError, match='--time is a time limit of Slurm'):
        minutes_of(text)


def test_slurm_is_asked_for_exactly_what_the_flags_say(tmp_path, monkeypatch):
    path = fake_slurm(tmp_path / 'bin')
    monkeypatch.setenv('PATH', f'{path}:/usr/bin:/bin')
    options = checked(partition='long', time='2-00', gpus=2, cpus=8, more=['mem=32G', '--qos=low'])
    assert options == SlurmOptions('long', 2880, 2, 8, 16, {'mem': '32G', 'qos': 'low'})
    (sbatch,) = (call for call in calls(path) if call.startswith('sbatch'))
    assert set(sbatch.split()[1:]) == {
        *('--test-only', '--wrap=true', '--partition=long', '--time=2880', '--nodes=1'),
        *('--cpus-per-task=8', '--gpus-per-node=2', '--mem=32G', '--qos=low'),
    }
    # Nothing is submitted.
    assert not [call for call in calls(path) if 'sbatch' in call and '--test-only' not in call]


@pytest.mark.parametrize(('partition', 'minutes'), [(None, 60), ('main', 60), ('long', 1440)])
def test_without_a_time_a_job_has_a_day_or_what_the_partition_allows(
    tmp_path, monkeypatch, partition, minutes
):
    monkeypatch.setenv('PATH', f'{fake_slurm(tmp_path / "bin")}:/usr/bin:/bin')
    assert checked(partition=partition).minutes == minutes


REFUSED = """
echo "sbatch: error: Batch job submission failed: Invalid account" >&2
echo "allocation failure: Invalid account or account/partition combination specified" >&2
exit 1
"""


@pytest.mark.parametrize(
    ('flags', 'slurm', 'message'),
    [
        ({}, dict(without='sbatch'), 'sbatch not found: --cluster slurm runs where jobs of Slurm'),
        ({}, dict(without='squeue'), 'squeue not found'),
        (dict(partition='gpu'), {}, "no partition 'gpu' in Slurm; available: main, long"),
        (dict(time='1-00'), {}, "--time is 1440 minutes, and partition 'main' allows 60"),
        (dict(time='soon'), {}, '--time is a time limit of Slurm'),
        (dict(gpus=-1), {}, '--gpus-per-run is at least 0, got -1'),
        (dict(cpus=0), {}, '--cpus-per-run is at least 1, got 0'),
        (dict(array_parallelism=0), {}, '--array-parallelism is at least 1, got 0'),
        (
            dict(more=['account']),
            {},
            '--slurm takes OPTION=VALUE of sbatch, e.g. account=vision, got',
        ),
        (dict(more=['time=2-00']), {}, '--slurm time=2-00: it has a flag of its own name'),
        (dict(more=['--gpus-per-node=2']), {}, '--slurm gpus-per-node=2: use --gpus-per-run'),
        (dict(more=['cpus_per_task=2']), {}, '--slurm cpus-per-task=2: use --cpus-per-run'),
        (dict(more=['array=0-3']), {}, '--slurm array=0-3: the command sets it itself'),
        (
            {},
            dict(sinfo='echo "slurm_load_partitions: no contact" >&2; exit 1'),
            'sinfo: slurm_load',
        ),
        (
            {},
            dict(sbatch=REFUSED),
            'sbatch: Batch job submission failed: Invalid account; Invalid account or account/partition',
        ),
    ],
)
def test_what_slurm_does_not_take_is_one_line(tmp_path, monkeypatch, flags, slurm, message):
    monkeypatch.setenv('PATH', fake_slurm(tmp_path / 'bin', **slurm))
    with pytest.raises(InputError) as error:
        checked(**flags)
    assert str(error.value).startswith(message)
    assert '\n' not in str(error.value)
