"""What `strategy = auto` is: ddp where there is room for the whole network in every process, else fsdp."""

import pytest
import torch
from by_hand import program

from expc.runtime.distributed import sharing
from expc.runtime.distributed.world import World

CPU = torch.device("cpu")


class Two(World):
    """One of two processes, alone in a test."""

    size = local_size = 2

    def everyones(self, value):
        return [value, value]


@pytest.mark.parametrize(
    ("free", "more", "name", "why"),
    [
        (1 << 40, "", "ddp", "there is room"),
        (1 << 8, "", "fsdp", "128 bytes are free"),
        (1 << 8, ", ema = 0.9", "ddp", "`ema` does not go with fsdp"),
    ],
)
def test_auto_is_what_there_is_room_for(monkeypatch, free, more, name, why):
    monkeypatch.setattr(sharing, "free", lambda _: free)
    checked = program(f"epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1){more}")
    found, said = sharing.chosen(checked, CPU, Two())
    assert found == name
    assert why in said
