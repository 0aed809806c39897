"""expc: `expc run FILE --out RUN`, and `expc resume RUN`."""

import shutil
from importlib import import_module
from pathlib import Path

from resumed import BATCH, KEEP, RATE, SAMPLES, SEED, Job, Steps, serve

from expc.cli import invoke
from expc.runtime.records import Records

EXPERIMENT = f"""
data {{
  fit, _ = MNIST("IMAGES") -> split({SAMPLES / 8000}, shuffle=false)
  train = fit -> CROP ToTensor
  batch = {BATCH}
}}
model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] {{
  Flatten -> Linear(WIDTH) -> ReLU -> DROPOUT Linear(10)
}}
train {{
  steps         = STEPS
  loss          = CrossEntropyLoss
  optimizer     = AdamW(lr={RATE})
  seed          = {SEED}
  deterministic = true
}}
checkpoint {{ every = EVERY steps, keep = {KEEP} }}
log {{ every = 1 steps, tensorboard = false }}
"""


def experiment(job: Job) -> str:
    words = {"IMAGES": job.images, "WIDTH": job.width, "STEPS": job.steps, "EVERY": job.every}
    words |= {"CROP": "RandomCrop(28, padding=2) ->" if job.crop else ""}
    words |= {"DROPOUT": "Dropout(0.25) ->" if job.dropout else ""}
    text = EXPERIMENT
    for word, value in words.items():
        text = text.replace(word, str(value))
    return text


def train(job: Job) -> None:
    steps, write = Steps(job), Records.write

    def seen(records: Records, phase: str, step: int, epoch: int, values: dict[str, float], **others: object) -> None:
        write(records, phase, step, epoch, values, **others)
        if others["over"] == "steps":
            steps.done(step, values["loss"], [])

    Records.write = seen
    file = Path(job.folder, "digits.exp")
    run = str(job.checkpoints)
    if not job.resume:
        file.write_text(experiment(job), "utf-8")
    if status := invoke(["resume", run] if job.resume else ["run", str(file), "--out", run, "--device", "cpu"]):
        raise SystemExit(status)
    shutil.copy(job.checkpoints / "final.safetensors", job.folder)


if __name__ == "__main__":
    import_module("expc.compiler.lower.torchvision").import_torchvision()
    import_module("expc.runtime.run")
    serve(train)
