"""Series of numbers in time: windows over them, splits in order of time, baselines, measures, augmentation, forecasts.

>>> series = cr.series.Series([112.0, 118.0, 132.0, 129.0, 121.0, 135.0])
>>> inputs, targets = cr.series.Windows(series, inputs=3, horizon=2)[0]
>>> inputs.tolist(), targets.tolist()
([112.0, 118.0, 132.0], [129.0, 121.0])
"""

from ..data.splits import split_in_time as split_in_time
from .augmentation import Jitter as Jitter
from .augmentation import Scaling as Scaling
from .augmentation import TimeWarp as TimeWarp
from .backtest import Backtest as Backtest
from .backtest import backtest as backtest
from .baselines import naive as naive
from .baselines import seasonal_naive as seasonal_naive
from .forecaster import Forecaster as Forecaster
from .measures import mase as mase
from .measures import smape as smape
from .preparation import SeriesPreparation as SeriesPreparation
from .sequences import timeseries_dataset_from_array as timeseries_dataset_from_array
from .series import Series as Series
from .series import read_csv_series as read_csv_series
from .splits import rolling_origin as rolling_origin
from .windows import Windows as Windows
