"""Writes torch_random.json: PyTorch's rates for random parameters of every scheduler, as f64 bit patterns.

    pip install torch==2.11.0
    python torch_random.py 5 40 25 24 20260101 > torch_random.json
"""

import json
import math
import random
import struct
import sys
import warnings

import torch
from torch.optim import SGD
from torch.optim import lr_scheduler as L

warnings.simplefilter("ignore")
random.seed(int(sys.argv[5]))


def bits(x):
    return format(struct.unpack("<Q", struct.pack("<d", x))[0], "x")


def lograte(low=1e-4, high=1.0):
    return math.exp(random.uniform(math.log(low), math.log(high)))


def leaf(name):
    """Parameters by PyTorch's names."""
    i, u = random.randint, random.uniform
    return {
        "constant": lambda: dict(factor=u(0.01, 1), total_iters=i(0, 20)),
        "step": lambda: dict(step_size=i(1, 12), gamma=u(0.1, 1)),
        "multi_step": lambda: dict(milestones=sorted(i(0, 40) for _ in range(i(1, 5))), gamma=u(0.1, 1)),
        "linear": lambda: dict(start_factor=u(0.01, 1), end_factor=u(0, 1), total_iters=i(0, 25)),
        "exponential": lambda: dict(gamma=u(0.8, 1.01)),
        "polynomial": lambda: dict(total_iters=i(0, 40), power=random.choice([1.0, 2.0, 0.5, u(0.2, 3)])),
        "cosine": lambda: dict(T_max=i(1, 60), eta_min=random.choice([0.0, 1e-5, lograte(1e-6, 1e-2)])),
        "cosine_warm_restarts": lambda: dict(T_0=i(1, 12), T_mult=i(1, 3), eta_min=random.choice([0.0, 1e-5])),
        "cyclic": lambda: dict(
            base_lr=lograte(1e-4, 1e-2), max_lr=lograte(1e-2, 1.0), step_size_up=i(1, 10),
            step_size_down=random.choice([None, i(1, 10)]), mode=random.choice(["triangular", "triangular2", "exp_range"]),
            gamma=u(0.9, 1.0), cycle_momentum=random.choice([True, False])),
        "one_cycle": lambda: dict(
            max_lr=lograte(1e-2, 1.0), total_steps=i(30, 90), pct_start=u(0.0, 0.5),
            anneal_strategy=random.choice(["cos", "linear"]), div_factor=u(2, 30), final_div_factor=lograte(1e2, 1e5),
            three_phase=random.choice([True, False])),
    }[name]()


CLASSES = {
    "constant": L.ConstantLR, "step": L.StepLR, "multi_step": L.MultiStepLR, "linear": L.LinearLR,
    "exponential": L.ExponentialLR, "polynomial": L.PolynomialLR, "cosine": L.CosineAnnealingLR,
    "cosine_warm_restarts": L.CosineAnnealingWarmRestarts, "cyclic": L.CyclicLR, "one_cycle": L.OneCycleLR,
}


def make(spec, optimizer):
    (name, p), = spec.items()
    if name == "sequential":
        inner = [make(s, optimizer) for s in p["schedulers"]]
        return L.SequentialLR(optimizer, inner, p["milestones"])
    if name == "chained":
        return L.ChainedScheduler([make(s, optimizer) for s in p["schedulers"]], optimizer)
    return CLASSES[name](optimizer, **p)


def pick(names=None):
    name = random.choice(list(names or CLASSES))
    return {name: leaf(name)}


def sequence(depth=0):
    n = random.randint(1, 4)
    milestones = sorted(random.sample(range(40), n - 1))
    inner = [pick() for _ in range(n)]
    if depth and random.random() < 0.5:
        inner[0 if random.random() < 0.8 else -1] = random.choice([sequence, chain])(depth - 1)
    return {"sequential": {"schedulers": inner, "milestones": milestones}}


def chain(depth=0):
    inner = [pick() for _ in range(random.randint(1, 3))]
    if depth and random.random() < 0.5:
        inner[random.randrange(len(inner))] = random.choice([sequence, chain])(depth - 1)
    return {"chained": {"schedulers": inner}}


def trace(spec, lr, steps):
    """The rates up to where it raises, and whether it does."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    rates = []
    try:
        scheduler = make(spec, optimizer)
        for _ in range(steps):
            rates.append(bits(float(optimizer.param_groups[0]["lr"])))
            optimizer.step()
            scheduler.step()
    except (NotImplementedError, ValueError, ZeroDivisionError, OverflowError, TypeError):
        return rates, True
    return rates, False


def case(spec):
    lr = random.choice([0.1, 0.01, lograte()])
    rates, raises = trace(spec, lr, 40)
    return dict(spec=spec, lr=bits(lr), rates=" ".join(rates), raises=raises)


def plateau():
    kw = dict(
        mode=random.choice(["min", "max"]), factor=random.uniform(0.1, 0.9), patience=random.randint(0, 4),
        threshold=random.choice([1e-4, 0.0, 0.01, 0.1]), threshold_mode=random.choice(["rel", "abs"]),
        cooldown=random.randint(0, 3), min_lr=random.choice([0.0, 1e-3, 1e-6]), eps=random.choice([1e-8, 1e-3]))
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=lograte(1e-7, 1.0), momentum=0.9)
    lr = optimizer.param_groups[0]["lr"]
    scheduler = L.ReduceLROnPlateau(optimizer, **kw)
    scale, metrics, rates = random.choice([1.0, -1.0, 1e-3]), [], []
    for k in range(40):
        metric = scale * (1 / (1 + k / 4) + random.gauss(0, 0.1))
        if random.random() < 0.03:
            metric = math.nan
        metrics.append(bits(metric))
        scheduler.step(metric)
        rates.append(bits(optimizer.param_groups[0]["lr"]))
    return dict(spec=kw, lr=bits(lr), metrics=" ".join(metrics), rates=" ".join(rates))


cases = [case({name: leaf(name)}) for name in CLASSES for _ in range(int(sys.argv[1]))]
cases += [case(sequence(depth=2)) for _ in range(int(sys.argv[2]))] + [case(chain(depth=2)) for _ in range(int(sys.argv[3]))]
print("{")
print(f' "source": "torch {torch.__version__}, torch_random.py",')
print(' "cases": [\n  ' + ",\n  ".join(map(json.dumps, cases)) + "\n ],")
print(' "plateau": [\n  ' + ",\n  ".join(json.dumps(plateau()) for _ in range(int(sys.argv[4]))) + "\n ]")
print("}")
