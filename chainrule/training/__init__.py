"""Training: the loop, history, metrics, callbacks, checkpoints."""

from .averaging import EMA, SWA
from .callbacks import Callback, EarlyStopping, TimeBudget
from .finder import LRFinder
from .loggers import CSVLogger, JSONLinesLogger
from .loss_plateau import LossPlateau
from .model_checkpoint import ModelCheckpoint
from .progress import ProgressBar
from .schedule import LRSchedule, ReduceLROnPlateau
from .tensorboard import TensorBoard
