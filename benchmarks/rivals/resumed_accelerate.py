"""Accelerate: `save_state` and `load_state` with automatic names, and `skip_first_batches` for the rest of an epoch.

Or, with `use_stateful_dataloader`, torchdata's loader in the place of `skip_first_batches`. The step is registered for
checkpointing, the order of samples is that of the seedable sampler, which is told the epoch.
"""

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, ProjectConfiguration, set_seed
from resumed import BATCH, EPOCH, KEEP, RATE, SEED, Digits, Job, Net, Steps, serve
from torch.utils.data import DataLoader


class Progress:
    """What a user registers to know where to go on."""

    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]


def train(job: Job) -> None:
    accelerator = Accelerator(
        cpu=True,
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, use_stateful_dataloader=job.stateful),
        project_config=ProjectConfiguration(job.folder, automatic_checkpoint_naming=True, total_limit=KEEP),
    )
    set_seed(SEED)
    plain = Net(job)
    net, optimizer, data = accelerator.prepare(
        plain,
        torch.optim.AdamW(plain.parameters(), lr=RATE),
        DataLoader(Digits(job), batch_size=BATCH, shuffle=True),
    )
    progress, steps = Progress(), Steps(job)
    accelerator.register_for_checkpointing(progress)
    if job.resume:
        accelerator.load_state()
        accelerator.project_configuration.iteration = progress.step // job.every
    left = progress.step % EPOCH
    net.train()
    for epoch in range(progress.step // EPOCH, -(-job.steps // EPOCH)):
        active = accelerator.skip_first_batches(data, left) if left and not job.stateful else data
        left = 0
        active.set_epoch(epoch)
        for batch in active:
            optimizer.zero_grad()
            accelerator.backward(net(**batch)["loss"])
            optimizer.step()
            progress.step += 1
            steps.done(progress.step, *plain.last)
            if progress.step % job.every == 0:
                accelerator.save_state()
            if progress.step == job.steps:
                break
    steps.end(plain)


if __name__ == "__main__":
    serve(train)
