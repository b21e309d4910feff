from .donsker_varadhan import DonskerVaradhan
from .infonce import InfoNCE
from .information_estimator import InformationEstimator
from .jensen_shannon import JensenShannon
from .nwj import NWJ

__all__ = ['NWJ', 'DonskerVaradhan', 'InfoNCE', 'InformationEstimator', 'JensenShannon']
