"""What a person sees of a training: a bar on a terminal, and a sentence for each validation.

Elsewhere than on a terminal, such as in a file, each entry of the log is a sentence. All figures are in `log.jsonl`.
"""

import sys
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm

from unlossy_cli.progress import BAR

SHOWN = {  # figures of a validation that are printed, and how
    "loss": "loss {:.3f}",
    "si_sdr_0": "SI-SDR {:.2f} dB at detail 0",
    "si_sdr_1": "SI-SDR {:.2f} dB at detail 1",
    "si_sdr_delta_0": "SI-SDR {:+.2f} dB at detail 0",
    "si_sdr_delta_1": "SI-SDR {:+.2f} dB at detail 1",
    "visqol_delta_1": "ViSQOL {:+.2f}",
    "dissimilarity": "dissimilarity {:.3f}",
}


class Display:
    """A context that shows how far a training is.

    Args:
        spent (`float`): share of the budget that earlier runs have spent.
        shown (`bool`): in the main process only.
    """

    def __init__(self, spent: float, shown: bool):
        self.shown = shown
        self.bar = tqdm(
            total=1.0,
            initial=spent,
            desc="training",
            bar_format=BAR + "{postfix}",
            leave=False,
            disable=None if shown else True,
        )

    def __enter__(self) -> "Display":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def spend(self, share: float) -> None:
        """Move the bar to a share of the budget."""
        self.bar.update(share - self.bar.n)

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Show an entry of the log: its loss, and how fast the training is."""
        said = f"loss {figures['loss']:.3f}, {figures['audio_s_per_s']:.0f} s of audio a second"
        self.bar.set_postfix_str(f"step {step}, {said}")
        if self.bar.disable:
            self.say(f"step {step}, {figures['minutes']:.1f} min: {said}")

    def validation(self, step: int, figures: Mapping[str, float]) -> None:
        """Say what a validation has measured."""
        said = [words.format(figures[name]) for name, words in SHOWN.items() if name in figures]
        self.say(f"step {step}, validation: {', '.join(said)}")

    def say(self, text: str) -> None:
        """A line on stderr, above the bar."""
        if self.shown:
            tqdm.write(text, file=sys.stderr)
