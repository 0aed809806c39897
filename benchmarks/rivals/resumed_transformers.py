"""The Trainer of Hugging Face: `save_steps`, `full_determinism`, and `train(resume_from_checkpoint=True)`."""

from resumed import BATCH, KEEP, RATE, SEED, Digits, Job, Net, Steps, serve
from torch.utils.data import default_collate
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed


class Count(TrainerCallback):
    def __init__(self, steps: Steps, net: Net) -> None:
        self._steps, self._net = steps, net

    def on_step_end(self, args, state, control, **others) -> None:
        self._steps.done(state.global_step, *self._net.last)


def train(job: Job) -> None:
    set_seed(SEED, deterministic=True)
    net = Net(job)
    steps = Steps(job)
    arguments = TrainingArguments(
        job.checkpoints,
        max_steps=job.steps,
        per_device_train_batch_size=BATCH,
        save_strategy="steps",
        save_steps=job.every,
        save_total_limit=KEEP,
        seed=SEED,
        full_determinism=True,
        learning_rate=RATE,
        weight_decay=0.01,
        lr_scheduler_type="constant",
        max_grad_norm=0,
        use_cpu=True,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(net, arguments, default_collate, Digits(job), callbacks=[Count(steps, net)])
    trainer.train(resume_from_checkpoint=job.resume)
    steps.end(net)


if __name__ == "__main__":
    serve(train)
