from .global_local_critic import GlobalLocalCritic

__all__ = ['GlobalLocalCritic']
