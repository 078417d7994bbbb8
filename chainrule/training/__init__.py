"""Training: the loop, history, metrics, callbacks, checkpoints."""

from .averaging import EMA, SWA
from .callbacks import Callback, EarlyStopping
from .finder import LRFinder
from .loss_plateau import LossPlateau
from .schedule import LRSchedule, ReduceLROnPlateau
