"""Lightning: `ModelCheckpoint(every_n_train_steps=...)` with `save_last`, and `fit(..., ckpt_path="last")`.

Its loaders are made resumable, as its warning says, by torchdata's `StatefulDataLoader`.
"""

import logging
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from resumed import BATCH, KEEP, RATE, SEED, Digits, Job, Net, Steps, serve
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

warnings.filterwarnings("ignore", message=".*(num_workers|is not empty|logging|litlogger).*")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Module(lightning.LightningModule):
    def __init__(self, job: Job) -> None:
        super().__init__()
        self.net = Net(job)
        self.steps = Steps(job)

    def training_step(self, batch, batch_idx):
        return self.net(**batch)["loss"]

    def on_train_batch_end(self, outputs, batch, batch_idx) -> None:
        self.steps.done(self.trainer.global_step, *self.net.last)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=RATE)


def train(job: Job) -> None:
    lightning.seed_everything(SEED, verbose=False)
    saving = ModelCheckpoint(
        job.checkpoints,
        every_n_train_steps=job.every,
        monitor="step",
        mode="max",
        save_top_k=KEEP,
        save_last=True,
    )
    trainer = lightning.Trainer(
        max_steps=job.steps,
        accelerator="cpu",
        devices=1,
        deterministic=True,
        callbacks=[saving],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = StatefulDataLoader if job.stateful else DataLoader
    module = Module(job)
    trainer.fit(module, loader(Digits(job), batch_size=BATCH, shuffle=True), ckpt_path="last" if job.resume else None)
    module.steps.end(module.net)


if __name__ == "__main__":
    serve(train)
