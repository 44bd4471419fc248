"""Writes optim.json: what torch.optim does on fixed gradients. Made with torch 2.15 (CPU).

    python -m venv venv && venv/bin/pip install torch && venv/bin/python make.py
"""

import json
import pathlib

import torch

STEPS = 8
generator = torch.Generator().manual_seed(0)
SHAPES = {"fc.bias": (3,), "fc.weight": (3, 4)}
initial = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
# From step 3 on the bias has no gradient at odd steps: torch then leaves it and its state alone.
gradients = [
    {
        name: None if name == "fc.bias" and step >= 3 and step % 2 else torch.randn(shape, generator=generator)
        for name, shape in SHAPES.items()
    }
    for step in range(STEPS)
]
rates = [0.1 * 0.8**step for step in range(STEPS)]

CASES = {
    "sgd": (torch.optim.SGD, {}),
    "sgd momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "sgd nesterov decay": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-2}),
    "sgd decay": (torch.optim.SGD, {"weight_decay": 5e-2}),
    "sgd momentum decay groups": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 5e-2}),
    "adam": (torch.optim.Adam, {}),
    "adam decay": (torch.optim.Adam, {"weight_decay": 5e-2, "betas": (0.8, 0.99), "eps": 1e-6}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 5e-2}),
    "adamw groups": (torch.optim.AdamW, {"weight_decay": 5e-2}),
}


def run(kind, options, groups, clip=None):
    weights = {name: torch.nn.Parameter(value.clone()) for name, value in initial.items()}
    params = list(weights.values())
    if groups:  # norms and biases do not decay
        params = [{"params": [weights["fc.weight"]]}, {"params": [weights["fc.bias"]], "weight_decay": 0.0}]
    optimizer = kind(params, lr=0.1, foreach=False, **options)
    trace, norms = [], []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        for name, weight in weights.items():
            gradient = gradients[step][name]
            weight.grad = None if gradient is None else gradient.clone()
        if clip is not None:
            norms.append(float(torch.nn.utils.clip_grad_norm_(weights.values(), clip)))
        optimizer.step()
        trace.append({name: weight.detach().flatten().tolist() for name, weight in weights.items()})
    return {"trace": trace, "norms": norms}


plain = lambda tensors: {k: None if t is None else t.flatten().tolist() for k, t in tensors.items()}
cases = {name: run(kind, options, name.endswith("groups")) for name, (kind, options) in CASES.items()}
cases["sgd clipped"] = run(torch.optim.SGD, {"momentum": 0.9}, False, clip=3.0)
out = {"shapes": SHAPES, "initial": plain(initial), "gradients": [plain(g) for g in gradients], "rates": rates,
       "cases": cases}
path = pathlib.Path(__file__).with_name("optim.json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(path.stat().st_size, "bytes")
