"""The loop that PyTorch's users write by hand around a `DataLoader`, on the same network."""

import time
from pathlib import Path
from typing import Any

import pool
import torch
from contests import Job, Trainer
from torch.utils.data import DataLoader, TensorDataset

from toynet.models import catalog
from toynet.models.cost import count
from toynet.models.spec import ModelSpec


def build(job: Job, options: dict[str, Any], file: Path) -> Trainer:
    """options: `channels_last`, `bf16` (autocast), `compiled` (torch.compile), `fused` (Adam); all off."""
    order = torch.channels_last if options.get("channels_last") else torch.contiguous_format
    bf16 = options.get("bf16", False)
    spec = ModelSpec(name=job.model, widths=job.widths)
    model = catalog.build(spec, classes=10, image_shape=(32, 32, 3), seed=0).to(memory_format=order)
    parameters = count(model)[0]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=options.get("fused"))
    criterion = torch.nn.CrossEntropyLoss()
    if options.get("compiled"):
        model = torch.compile(model)
    images, labels = (torch.from_numpy(array) for array in pool.standardised(file))
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=order)

    def train(steps: int) -> tuple[int, float]:
        used, epochs = pool.portion(steps, job.batch_size)
        dataset = TensorDataset(images[:used], labels[:used])
        loader = DataLoader(dataset, batch_size=job.batch_size, shuffle=True)
        for _ in range(epochs):
            loss_sum, correct = 0.0, 0
            for batch, targets in loader:
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                    logits = model(batch.to(memory_format=order))
                    loss = criterion(logits, targets)
                loss.backward()
                optimizer.step()
                loss_sum += loss.item() * len(targets)
                correct += (logits.argmax(dim=1) == targets).sum().item()
        return used * epochs, time.perf_counter()

    return Trainer(train, parameters)
