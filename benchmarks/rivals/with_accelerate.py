"""Accelerate's loop, over whole batches of prepared tensors."""

import torch
from accelerate import Accelerator
from case import CASE, Chunks, loader, loss_of, model

accelerator = Accelerator(cpu=True)
net = model()
optimizer = torch.optim.AdamW(net.parameters(), lr=CASE["lr"], fused=True)
net, optimizer, data = accelerator.prepare(net, optimizer, loader())
chunks = Chunks()
for images, labels in data:
    optimizer.zero_grad()
    loss = loss_of(net(images), labels)
    accelerator.backward(loss)
    optimizer.step()
    chunks.step(loss)
