"""Keras on torch: `fit` with the same torch network as a layer, over whole batches of prepared tensors."""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import torch
from case import CASE, Chunks, loader, loss_of, model

losses: list[torch.Tensor] = []


def loss(target: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    losses[:] = [loss_of(output, target.long())]  # Keras has made floats of labels
    return losses[0]


class Pace(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.chunks = Chunks()

    def on_train_batch_end(self, batch, logs=None):
        self.chunks.step(losses[0])


inputs = keras.Input(CASE["input"], dtype=CASE["dtype"])
network = keras.Model(inputs, keras.layers.TorchModuleWrapper(model(), output_shape=(None, *CASE["output"]))(inputs))
network.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=CASE["lr"], weight_decay=0.01, epsilon=1e-8),
    loss=loss,
    jit_compile=False,
)
network.fit(loader(), epochs=1, verbose=0, callbacks=[Pace()])
