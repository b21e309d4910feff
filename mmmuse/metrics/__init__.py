from .exit_accuracy import ExitAccuracy

__all__ = ['ExitAccuracy']
