"""Export a detector; the same command as ``export.py``: ``export_detector.py CONFIG CHECKPOINT --out DIR``."""

import runpy
from pathlib import Path

if __name__ == '__main__':
    runpy.run_path(str(Path(__file__).with_name('export.py')))['main'](is_detector=True)
