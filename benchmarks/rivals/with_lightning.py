"""Lightning's Trainer, without bars, summary, checkpoints or logger, over whole batches of prepared tensors."""

import warnings

import lightning
import torch
from case import CASE, Chunks, loader, loss_of, model

warnings.filterwarnings("ignore")


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = model()

    def on_train_start(self) -> None:
        self.chunks = Chunks()

    def training_step(self, batch):
        x, y = batch
        return loss_of(self.net(x), y)

    def on_train_batch_end(self, outputs, batch, batch_idx) -> None:
        self.chunks.step(outputs["loss"])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=CASE["lr"], fused=True)


trainer = lightning.Trainer(
    max_epochs=1,
    accelerator="cpu",
    devices=1,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    use_distributed_sampler=False,
)
trainer.fit(Module(), loader())
