"""Shares out the files when `torchrun` or `accelerate launch` has started several processes, on one machine or more."""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# At the end all processes wait for the slowest one, because a launcher stops the others when one has ended.
_LONGEST_WAIT = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Share:
    """The place of this process among those that a launcher has started. The fields are named after the launcher's
    environment variables."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @classmethod
    def from_environment(cls) -> "Share":
        """Read `RANK`, `WORLD_SIZE`, `LOCAL_RANK` and `LOCAL_WORLD_SIZE`. Without them, this process is alone.

        Raises:
            ValueError: they are no numbers, or contradict each other.
        """
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
        """Return the items that are this process's to do. Each item belongs to one process."""
        return list(items[self.rank :: self.world_size])

    @property
    def can_gather(self) -> bool:
        """Whether the launcher has said where the processes can meet."""
        return self.world_size > 1 and "MASTER_ADDR" in os.environ

    def meet(self) -> None:
        """Wait until all processes have come this far, so that none writes results while another still lists files."""
        if self.can_gather:
            import torch.distributed

            torch.distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)

    def gather(self, items: Sequence[T]) -> list[T]:
        """Return the items of all processes, in each of them. Without a place to meet, a process has only its own.

        This also makes the processes end together. A launcher would stop the others as soon as one ends with an error.
        """
        if not self.can_gather:
            return list(items)
        import torch.distributed

        gathered: list[Sequence[T] | None] = [None] * self.world_size
        torch.distributed.all_gather_object(gathered, items)
        torch.distributed.destroy_process_group()
        return [item for part in gathered if part is not None for item in part]
