"""PyTorch's names of modules that live elsewhere: `chainrule.utils.data` is `chainrule.data`.

>>> from chainrule.utils.data import DataLoader
>>> cr.utils.data is cr.data
True
"""

import sys

from .. import data as data

sys.modules[f"{__name__}.data"] = data
