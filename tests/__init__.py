from mmmuse.compat.deferred_multimodal import defer_multimodal
from mmmuse.compat.deferred_names import defer_slow_names

# As the commands do: each process of the tests would import transformers, for four seconds.
defer_slow_names()
defer_multimodal()
