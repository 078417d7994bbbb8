"""From files to arrays: typed tables, their preparation for a network, splits, the IDX images of MNIST."""

from .idx import load_mnist, read_idx
from .preparation import Preparation
from .splits import split_rows, train_validation_test_split
from .table import Column, Table, read_csv_table
from .target import TargetPreparation, infer_task, labelled_rows, split_table
