"""The one source of every module: one folder a module, and every file importable as `solutions.<file>`.

Folder names begin with digits, so they cannot be packages themselves; they are put on this package's
`__path__` instead, and `from solutions.attention import causal_mask` is plain Python.
"""

from pathlib import Path

__path__ += sorted(str(folder) for folder in Path(__file__).parent.glob("[0-9][0-9]_*") if folder.is_dir())
