"""A page on which softmax and its derivatives are moved about: one file, which needs no network.

explorer.html         the page; written by tools/explorer_page.py from what is in source/
_explorer.py          `explore`, `path`: the page in a notebook, and where it is
_state.py             logits and cotangent, as the page's address has them
"""

from ._explorer import Explorer, explore, path

__all__ = ["Explorer", "explore", "path"]
