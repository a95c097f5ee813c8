"""A training in plain PyTorch: it goes on from its checkpoint."""

from pathlib import Path

import torch

from traininglog import SQLiteLog

CHECKPOINT = Path("checkpoint.pt")
EPOCHS, BATCHES, LR = 5, 20, 0.05

torch.manual_seed(0)
inputs = torch.randn(BATCHES, 16, 8)
targets = inputs.sum(dim=2, keepdim=True)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=LR)
first = 1
log = SQLiteLog("runs.db", config={"lr": LR})
if CHECKPOINT.exists():
    saved = torch.load(CHECKPOINT)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    log.load_state_dict(saved["log"])
    first = saved["epoch"] + 1

for epoch in range(first, EPOCHS + 1):
    for batch in range(BATCHES):
        loss = torch.nn.functional.mse_loss(model(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log[(epoch - 1) * BATCHES + batch + 1]["loss"] = loss.item()
    print(f"epoch {epoch}: {loss.item():.4f}")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    state["log"] = log.state_dict()
    torch.save(state, CHECKPOINT)
