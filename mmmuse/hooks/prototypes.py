from mmengine.hooks import Hook

from mmmuse.registry import HOOKS


@HOOKS.register_module()
class StudentPrototypeHook(Hook):
    """Prepare the prototypes of a distilled image retriever before each validation.

    mmpretrain's ``PrepareProtoBeforeValLoopHook`` does it for models of a retriever's class only. In a
    run of a distiller that hook is replaced by this one.
    """

    def before_val(self, runner) -> None:
        """Compute the prototypes with the present weights."""
        model = runner.model.module if hasattr(runner.model, 'module') else runner.model
        model.student.prepare_prototype()
