from .global_local_critic import CriticScores, GlobalLocalCritic

__all__ = ['CriticScores', 'GlobalLocalCritic']
