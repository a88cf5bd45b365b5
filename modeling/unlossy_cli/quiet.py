"""Silences libraries that print what a user can do nothing about."""

import os
import sys
import warnings


def silence_libraries() -> None:
    """Turn off the warnings of libraries that are imported afterwards. `python -W` turns them on again."""
    if sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
