"""Keeps what libraries print on stderr away from a user who can do nothing about it."""

import os
import sys
import warnings


def silence_libraries() -> None:
    """Turn the libraries' warnings off, before they are imported. `python -W` turns them on again."""
    if sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
