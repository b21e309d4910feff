from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, with_plain_names
from mmmuse.distillers import BaseDistiller, OnlineDistiller
from mmmuse.registry import HOOKS

from .side_checkpoint import SideCheckpointHook


@HOOKS.register_module()
class PeerCheckpointHook(SideCheckpointHook):
    """Save every peer of an ``OnlineDistiller`` in a separate file with each checkpoint.

    ``epoch_3.a.pth`` has the weights of peer a under its own names, as a plain config loads them;
    ``epoch_3.pth`` has everything, is the file to resume from, and is written last. When a
    checkpoint is removed for a later one (``max_keep_ckpts``), the hook removes its peers' files;
    when the user removed it, they are kept. The hook has no effect on other models.
    ``mmmuse train`` adds it.
    """

    def names(self, model: BaseDistiller | None) -> list[str]:
        """Return the names of the peers."""
        return list(model.tapped) if isinstance(model, OnlineDistiller) else []

    def parts(self, model: BaseDistiller, checkpoint: dict) -> dict[str, dict]:
        """Return the weights of each peer."""
        first, *others = self.names(model)
        student, rest = checkpoint['state_dict'], checkpoint.get(DISTILLER_KEY)
        if rest is None:
            student, rest = with_plain_names(student), student
        weights = {name: with_plain_names(rest, f'peers.{name}.') for name in others}
        return {first: student, **weights}

    def meta(self, name: str) -> dict:
        """Return the peer's name."""
        return dict(peer=name)
