"""A pytest plugin: put the core that ONESUM_CORE names in the place of the installed one."""

import importlib.util
import os
import sys

_spec = importlib.util.spec_from_file_location("onesum._core", os.environ["ONESUM_CORE"])
assert _spec is not None
assert _spec.loader is not None
_core = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_core)
sys.modules["onesum._core"] = _core
