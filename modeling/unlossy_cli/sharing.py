"""This process's share of the files when `torchrun` or `accelerate launch` started several, on one machine or more."""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# A process waits at the end for the one with the most work, so that none is stopped by the launcher before it is done.
_LONGEST_WAIT = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Share:
    """The place of this process among those that a launcher started, in the names of its environment variables."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @classmethod
    def from_environment(cls) -> "Share":
        """Read `RANK`, `WORLD_SIZE`, `LOCAL_RANK` and `LOCAL_WORLD_SIZE`; without them, this process is alone."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        try:
            share = cls(
                *(int(os.environ.get(name, default)) for name, default in zip(names, (0, 1, 0, 1), strict=True))
            )
        except ValueError:
            raise ValueError(f"{', '.join(names)} in the environment must be numbers") from None
        if not 0 <= share.rank < share.world_size:
            raise ValueError(f"RANK {share.rank} in the environment is not below WORLD_SIZE {share.world_size}")
        return share

    def of(self, items: Sequence[T]) -> list[T]:
        """Return this process's items; over all processes, each item comes up once."""
        return list(items[self.rank :: self.world_size])

    @property
    def can_gather(self) -> bool:
        """Whether the launcher said where the processes meet."""
        return self.world_size > 1 and "MASTER_ADDR" in os.environ

    def meet(self) -> None:
        """Wait until every process has come this far: none may write results while another still lists the files."""
        if self.can_gather:
            import torch.distributed

            torch.distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)

    def gather(self, items: Sequence[T]) -> list[T]:
        """Return the items of all processes, in every process; without a place to meet, only its own.

        It also makes the processes end together: a launcher stops the others as soon as one ends with an error.
        """
        if not self.can_gather:
            return list(items)
        import torch.distributed

        gathered: list[Sequence[T] | None] = [None] * self.world_size
        torch.distributed.all_gather_object(gathered, items)
        torch.distributed.destroy_process_group()
        return [item for part in gathered if part is not None for item in part]
