"""Data sets on disk, as streams of items and of interactions in order of time.

``open_dataset`` recognises what a path holds; ``Synthetic`` needs no path; ``download`` fetches a
public release.
"""

from engine.datasets.columns import parse_columns
from engine.datasets.dataset import Dataset
from engine.datasets.discovery import open_dataset
from engine.datasets.download import download
from engine.datasets.problems import DatasetError, MalformedRow, Problems
from engine.datasets.synthetic import Synthetic

__all__ = [
    "Dataset",
    "DatasetError",
    "MalformedRow",
    "Problems",
    "Synthetic",
    "download",
    "open_dataset",
    "parse_columns",
]
