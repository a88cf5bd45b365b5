"""Memory that is freed is there for what comes next, without the kernel."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import resource, sys
import torch
from unlossy import load_model
from unlossy_cli.memory import keep_freed_memory

{call}
model, audio = load_model(sys.argv[1]), torch.zeros(1, 2, 400_000)
with torch.inference_mode():
    for _ in range(4):  # how much the threads hold at once differs a little from pass to pass
        model(audio)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        model(audio)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is changed without glibc")
def test_memory_stays_in_the_process(tiny_model: Path) -> None:
    def faults(call: str) -> int:
        """How many pages the kernel has to give to a network that had as many before."""
        command = [sys.executable, "-c", CODE.format(call=call), str(tiny_model)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("keep_freed_memory()") < faults("") / 3
