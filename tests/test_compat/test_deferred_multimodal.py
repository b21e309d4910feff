"""The commands import transformers only if it is used; here with small packages of the same structure.

With the installed ones: ``test_installed_packages``.
"""

import pytest

REGISTRY = """
class Registry:
    def __init__(self):
        self.module_dict = {}
    def __contains__(self, name):
        return name in self.module_dict
    def register_module(self, name, module):
        assert name not in self.module_dict, name
        self.module_dict[name] = module
    def build(self, name, **options):
        return self.module_dict[name](**options)
MODELS, OPTIMIZERS = Registry(), Registry()
"""
DEPENDENCY = """
WITH_MULTIMODAL = True

def register_placeholder(names, registry):
    for name in names:
        def ask_install(*args, **kwargs):
            raise ImportError(name)
        registry.register_module(name, ask_install)
"""
FILES = {
    'transformers/__init__.py': 'class Adafactor: pass\nclass PreTrainedModel: pass\n',
    'mmengine/__init__.py': '',
    'mmengine/optim/__init__.py': '',
    'mmengine/optim/optimizer/__init__.py': 'from .builder import *\n',
    'mmengine/optim/optimizer/builder.py': (
        'from registries import OPTIMIZERS\n'
        'def register_transformers_optimizers():\n'
        '    try:\n'
        '        from transformers import Adafactor\n'
        '    except ImportError:\n'
        '        return []\n'
        "    OPTIMIZERS.register_module(name='Adafactor', module=Adafactor)\n"
        "    return ['Adafactor']\n"
        'TRANSFORMERS_OPTIMIZERS = register_transformers_optimizers()\n'
    ),
    'registries.py': REGISTRY,
    'mmpretrain/__init__.py': '',
    'mmpretrain/utils/__init__.py': '',
    'mmpretrain/utils/dependency.py': DEPENDENCY,
    'mmpretrain/models/__init__.py': 'from .multimodal import *\nfrom .utils import *\n',
    'mmpretrain/models/utils/__init__.py': (
        'from mmpretrain.utils.dependency import WITH_MULTIMODAL\n'
        'plain = 1\n'
        'if WITH_MULTIMODAL:\n'
        '    from .huggingface import register\n'
        '    from .tokenizer import Tokenizer\n'
    ),
    'mmpretrain/models/utils/huggingface.py': 'import transformers\ndef register(): pass\n',
    'mmpretrain/models/utils/tokenizer.py': 'import transformers\nclass Tokenizer: pass\n',
    'mmpretrain/models/multimodal/__init__.py': (
        'from mmpretrain.utils.dependency import WITH_MULTIMODAL\n'
        'if WITH_MULTIMODAL:\n'
        '    from .blip import *\n'
        'else:\n'
        '    from registries import MODELS\n'
        '    from mmpretrain.utils.dependency import register_placeholder\n'
        "    register_placeholder(['Blip', 'Ofa'], MODELS)\n"
    ),
    'mmpretrain/models/multimodal/blip.py': (
        'from transformers import PreTrainedModel\n'
        'from registries import MODELS\n'
        'from mmpretrain.models.utils import Tokenizer\n'
        'class Blip(PreTrainedModel):\n'
        '    def __init__(self, size=1):\n'
        '        self.size = size\n'
        "MODELS.register_module('Blip', Blip)\n"
        "MODELS.register_module('Ofa', type('Ofa', (PreTrainedModel,), {}))\n"
    ),
}
START = (
    'import sys\n'
    'from mmmuse.compat.deferred_multimodal import defer_multimodal\n'
    'defer_multimodal()\n'
    'import mmengine.optim.optimizer, mmpretrain.models\n'
    'from registries import MODELS, OPTIMIZERS\n'
)
USED = "print('transformers' in sys.modules)\n"

pytestmark = pytest.mark.slow


def test_the_optimizer_and_the_models_are_imported_when_they_are_built(printed_with):
    program = (
        'print(mmpretrain.models.utils.plain)\n' + USED + "blip = MODELS.build('Blip', size=3)\n" + USED
        + 'print(blip.size, type(blip).__mro__[1].__module__)\n'
        'from mmpretrain.models.multimodal.blip import Blip\n'
        "print(MODELS.module_dict['Blip'] is Blip, type(MODELS.build('Ofa')).__name__)\n"
        'print(mmpretrain.models.utils.register.__name__)\n'
    )  # fmt: skip
    assert printed_with(START + program, FILES) == [
        *('1', 'False', 'True', '3', 'transformers', 'True', 'Ofa', 'register')
    ]


def test_the_optimizer_is_that_of_the_library(printed_with):
    program = f"{USED}print(type(OPTIMIZERS.build('Adafactor')).__module__)\n{USED}"
    assert printed_with(START + program, FILES) == ['False', 'transformers', 'True']


def test_models_that_cannot_be_imported_fail_when_they_are_used_and_can_be_tried_again(
    printed_with,
):
    broken = {'transformers/__init__.py': 'class Adafactor: pass\n'}
    program = (
        'for _ in range(2):\n'
        '    try:\n'
        "        MODELS.build('Blip')\n"
        '    except ImportError as error:\n'
        '        print(error.name)\n'
    )
    assert printed_with(START + program, FILES | broken) == ['transformers', 'transformers']


def test_without_the_library_everything_is_as_in_mmpretrain(printed_with):
    missing = {name: text for name, text in FILES.items() if not name.startswith('transformers')}
    missing['mmpretrain/utils/dependency.py'] = DEPENDENCY.replace('True', 'False')
    hide = "import sys\nsys.modules['transformers'] = None\n"
    program = (
        "print('Adafactor' in OPTIMIZERS)\n"
        'try:\n'
        "    MODELS.build('Blip')\n"
        'except ImportError as error:\n'
        '    print(error)\n'
    )
    assert printed_with(hide + START + program, missing) == ['False', 'Ofa']


def test_a_program_that_has_imported_the_library_gets_the_classes(printed_with):
    program = (
        "print(MODELS.module_dict['Blip'].__name__, OPTIMIZERS.module_dict['Adafactor'].__name__)\n"
    )
    assert printed_with(f'import transformers\n{START}{program}', FILES) == ['Blip', 'Adafactor']
