import pytest

from mmmuse.analysis.exit_shares import shares_in_words
from mmmuse.metrics import ExitShares


def evaluated(exits: list[int], **options: object) -> dict:
    metric = ExitShares(num_exits=3, **options)
    metric.process(None, [dict(exit=number) for number in exits[:2]])
    metric.process(None, [dict(exit=number) for number in exits[2:]])
    return metric.evaluate(len(exits))


def test_the_share_of_the_images_at_each_exit_and_their_average_cost():
    metrics = evaluated([1, 1, 3, 2], costs=[10e6, 20e6, 40e6])
    assert metrics == {
        'exit1/share': 50,
        'exit2/share': 25,
        'exit3/share': 25,
        'average_macs': 20e6,
        'macs_share': 50,
    }
    assert shares_in_words(metrics) == (
        'images that take each exit: exit 1 50.0 %, exit 2 25.0 %, exit 3 25.0 %; on average 20.00 M '
        'multiply-adds for an image, 50.0 % of an image that takes the last exit'
    )


def test_without_costs_only_shares_are_reported():
    metrics = evaluated([3, 3, 3])
    assert metrics == {'exit1/share': 0, 'exit2/share': 0, 'exit3/share': pytest.approx(100)}
    assert shares_in_words(metrics).endswith('exit 3 100.0 %')


def test_a_network_without_early_exit_has_no_shares():
    assert shares_in_words({'accuracy/top1': 90.0}) is None
