"""The usual loop: a DataLoader over single samples with torchvision's transforms, and the loss read in every step."""

import torch
from case import CASE, Chunks, loss_of, model, tensors
from torch.utils.data import DataLoader, TensorDataset

net = model()
x, y, order = tensors()
if CASE["name"] == "gpt":
    dataset = TensorDataset(x, y)
else:
    from expc.compiler.lower.torchvision import import_torchvision

    import_torchvision()  # as itself, but for operators that are missing here and that nothing below uses
    from torchvision import datasets, transforms

    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    dataset = datasets.MNIST(CASE["images"], transform=prepare)
order = order.flatten().tolist()
loader = DataLoader(dataset, batch_size=CASE["batch"], sampler=order, generator=torch.Generator())
optimizer = torch.optim.AdamW(net.parameters(), lr=CASE["lr"])
chunks = Chunks()
for images, labels in loader:
    optimizer.zero_grad()
    loss = loss_of(net(images), labels)
    loss.backward()
    optimizer.step()
    chunks.step(loss.item())
