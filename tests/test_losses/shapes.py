from collections.abc import Sequence

from mmmuse.tapping.features import FeatureSpec, NetworkSpecs


def within(local_channels: Sequence[int], last_channels: int) -> tuple[NetworkSpecs, NetworkSpecs]:
    """Shapes of a network that learns from itself: the learner's and, the same, the source's."""
    specs = NetworkSpecs(
        tuple(FeatureSpec(channels, (4, 4)) for channels in local_channels),
        FeatureSpec(last_channels, (4, 4)),
    )
    return specs, specs
