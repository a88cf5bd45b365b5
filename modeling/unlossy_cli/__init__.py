"""The command line of Unlossy.

No module here imports `unlossy`, torch or numpy at its top, so that `unlossy --help` and usage errors answer at once,
and the parent of worker processes stays small. Functions import heavy packages where they need them.
"""

from unlossy_cli.command_line import main, process

__all__ = ["main", "process"]
