"""All that travels to a Hub repository with a saved model, so that it loads where this package is not installed.

The modules lie flat and import one another only as `from .audio_unlossy import …`: that is how `save_pretrained` finds
and copies them. They import nothing else of the package, and at their top only torch, transformers, numpy and the
standard library; anything else inside `try:`.
"""
