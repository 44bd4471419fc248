"""PyTorch's rates for random parameters of every scheduler, as f64 bit patterns.

    pip install torch==2.11.0
    python torch_random.py write 20260101 5 40 25 24 > torch_random.json    # what tests/torch.rs reads
    python torch_random.py edges 20260102 6 60 40 60 > torch_edges.json     # the same with odd parameters
    python torch_random.py check SEED N target/release/lrlab                # N fresh cases through the command line

The numbers are cases per scheduler, of sequences, of chains, of plateaus.
"""

import json
import math
import random
import struct
import subprocess
import sys
import tempfile
import warnings

import torch
from torch.optim import SGD
from torch.optim import lr_scheduler as L

warnings.simplefilter("ignore")
mode = sys.argv[1]
random.seed(int(sys.argv[2]))
ODD = mode != "write"
# A sequence whose first milestone is 0 begins with its first scheduler up to 2.11, with its second one in 2.15.
FIRST = 0 if mode == "write" else 1


def bits(x):
    return format(struct.unpack("<Q", struct.pack("<d", x))[0], "x")


def lograte(low=1e-4, high=1.0):
    return math.exp(random.uniform(math.log(low), math.log(high)))


def odd(usual, *others):
    """A usual value, or now and then one of the others."""
    return random.choice(others) if ODD and random.random() < 0.25 else usual


def leaf(name):
    """Parameters by PyTorch's names."""
    i, u = random.randint, random.uniform
    return {
        "constant": lambda: dict(factor=odd(u(0.01, 1), 0.0, 1.0, 1e-300, 1.5), total_iters=odd(i(0, 20), 1, -3, 2.5, 1000)),
        "step": lambda: dict(step_size=odd(i(1, 12), 1, 0, -4, 2.5), gamma=odd(u(0.1, 1), 1.0, 0.0, 2.5e-3, -0.5, 3.0)),
        "multi_step": lambda: dict(
            milestones=odd(sorted(i(0, 40) for _ in range(i(1, 5))), [], [7, 7, 7], [30, 10, 20], [0], [2.5, 3]),
            gamma=odd(u(0.1, 1), 1.0, 0.0, 1e-200, -2.0)),
        "linear": lambda: dict(
            start_factor=odd(u(0.01, 1), 1.0, 1e-9, 0.0), end_factor=odd(u(0, 1), 0.0, 1.0, 1.25),
            total_iters=odd(i(0, 25), 1, 0, -2, 3.5)),
        "exponential": lambda: dict(gamma=odd(u(0.8, 1.01), 1.0, 0.0, -0.9, 1e100, 1e-100)),
        "polynomial": lambda: dict(
            total_iters=odd(i(0, 40), 1, 0, -1, 4.5), power=odd(random.choice([1.0, 2.0, 0.5, u(0.2, 3)]), 0.0, -1.0, 1e3)),
        "cosine": lambda: dict(
            T_max=odd(i(1, 60), 1, 2, 0, -5, 2.5, 1e-320, 10**6),
            eta_min=odd(random.choice([0.0, 1e-5, lograte(1e-6, 1e-2)]), 0.5, -0.1, 1e-320)),
        "cosine_warm_restarts": lambda: dict(
            T_0=odd(i(1, 12), 1, 0, 100), T_mult=odd(i(1, 3), 1, 0, 7), eta_min=odd(random.choice([0.0, 1e-5]), 0.3, -1.0)),
        "cyclic": lambda: dict(
            base_lr=lograte(1e-4, 1e-2), max_lr=odd(lograte(1e-2, 1.0), 1e-5, 0.0),
            step_size_up=odd(i(1, 10), 2.5, 0, 1, 0.3), step_size_down=odd(random.choice([None, i(1, 10)]), 0, 3.7, 0.1),
            mode=random.choice(["triangular", "triangular2", "exp_range"]),
            gamma=odd(u(0.9, 1.0), 1.0, 0.0, 1.5, 1e20), cycle_momentum=random.choice([True, False])),
        "one_cycle": lambda: dict(
            max_lr=lograte(1e-2, 1.0), total_steps=odd(i(30, 90), 1, 2, 10, 20),
            pct_start=odd(u(0.0, 0.5), 0.0, 1.0, 0.5, 0.1, 0.05, 0.9),
            anneal_strategy=random.choice(["cos", "linear"]), div_factor=odd(u(2, 30), 1.0, 0.5, 0.0, 1e10),
            final_div_factor=odd(lograte(1e2, 1e5), 1.0, 0.0, 1e-3), three_phase=random.choice([True, False])),
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
    milestones = odd(sorted(random.sample(range(FIRST, 40), n - 1)), [3] * (n - 1), [9, 5, 2][: n - 1])
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
    """The rates up to where it raises, and whether it does. A rate that is no real number counts as raising."""
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
    lr = odd(random.choice([0.1, 0.01, lograte()]), 0.0, 1e-12, 7.0, 1e-310)
    rates, raises = trace(spec, lr, 40)
    return dict(spec=spec, lr=bits(lr), rates=" ".join(rates), raises=raises)


def plateau():
    kw = dict(
        mode=random.choice(["min", "max"]), factor=odd(random.uniform(0.1, 0.9), 0.0, -0.5, 1e-12),
        patience=odd(random.randint(0, 4), -1), threshold=odd(random.choice([1e-4, 0.0, 0.01, 0.1]), -0.1, 2.0),
        threshold_mode=random.choice(["rel", "abs"]), cooldown=random.randint(0, 3),
        min_lr=odd(random.choice([0.0, 1e-3, 1e-6]), 0.5, -1.0), eps=odd(random.choice([1e-8, 1e-3]), 0.0, -1.0))
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=odd(lograte(1e-7, 1.0), 0.0, 1.1e-8), momentum=0.9)
    lr = optimizer.param_groups[0]["lr"]
    scheduler = L.ReduceLROnPlateau(optimizer, **kw)
    scale, metrics, rates = random.choice([1.0, -1.0, 1e-3]), [], []
    for k in range(40):
        metric = scale * (1 / (1 + k / 4) + random.gauss(0, 0.1))
        if random.random() < 0.03:
            metric = odd(math.nan, math.inf, -math.inf, 0.0, 1e300, -1e-300)
        metrics.append(bits(metric))
        scheduler.step(metric)
        rates.append(bits(optimizer.param_groups[0]["lr"]))
    return dict(spec=kw, lr=bits(lr), metrics=" ".join(metrics), rates=" ".join(rates))


def number(text):
    return struct.unpack("<d", struct.pack("<Q", int(text, 16)))[0]


def toml(value):
    """A TOML value; numbers as a person might write them."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and random.random() < 0.3:
        return format(value, ".17e")
    return json.dumps(value)


def say(args):
    ran = subprocess.run([sys.argv[4], "schedule", *args], capture_output=True, text=True)
    return ran, [bits(float(line)) for line in ran.stdout.split()]


def same(found, expected):
    """Equal bits; one NaN is like another."""
    nan = lambda x: number(x) != number(x)
    return len(found) == len(expected) and all(a == b or nan(a) and nan(b) for a, b in zip(found, expected))


def check_trace(case):
    """None, or what differs."""
    (name, p), = case["spec"].items()
    text, expected = f"{name} = {toml(p)}", case["rates"].split()
    if case["raises"] and expected:
        # Up to there the rates are PyTorch's; one update more and it raises.
        more, _ = say(["trace", "--compat", "torch", "--schedule", text, "--lr", repr(number(case["lr"])),
                       "--updates", str(len(expected) + 1)])
        if more.returncode != 2 or not more.stderr.strip() or more.stdout:
            return text, "raises", more.returncode, more.stderr, more.stdout
    updates = max(len(expected), 1)
    ran, found = say(["trace", "--compat", "torch", "--schedule", text, "--lr", repr(number(case["lr"])),
                      "--updates", str(updates)])
    if not expected:
        wrong = ran.returncode != 2 or not ran.stderr.strip() or ran.stdout
        return (text, "raises at once", ran.returncode, ran.stderr, ran.stdout) if wrong else None
    if ran.returncode == 0 and same(found, expected):
        return None
    return text, number(case["lr"]), ran.returncode, ran.stderr, [
        (k, number(a), number(b)) for k, (a, b) in enumerate(zip(found, expected)) if a != b][:3]


def check_plateau(case):
    lines = [random.choice([repr, lambda x: format(x, ".17e")])(number(m)) for m in case["metrics"].split()]
    end = random.choice(["\n", "\r\n", "\n\n", "  \n", "\n \r\n"])
    with tempfile.NamedTemporaryFile("w", suffix=".txt", newline="") as file:
        file.write(end.join(lines) + random.choice(["", end]))
        file.flush()
        text = f"plateau = {toml(case['spec'])}"
        ran, found = say(["replay", "--compat", "torch", "--controller", text, "--lr", repr(number(case["lr"])),
                          "--metrics", file.name])
    return None if ran.returncode == 0 and found == case["rates"].split() else (text, number(case["lr"]), ran.stderr, lines)


if mode == "check":
    wrong, total = 0, int(sys.argv[3])
    for k in range(total):
        kind = k % 16
        if kind < 10:
            difference = check_trace(case({(name := list(CLASSES)[kind]): leaf(name)}))
        elif kind < 14:
            difference = check_trace(case(random.choice([sequence, chain])(depth=3)))
        else:
            difference = check_plateau(plateau())
        if difference:
            wrong += 1
            print(difference)
    print(f"torch {torch.__version__}: {total} cases, {wrong} differ")
    sys.exit(wrong > 0)

per, sequences, chains, plateaus = map(int, sys.argv[3:7])
cases = [case({name: leaf(name)}) for name in CLASSES for _ in range(per)]
cases += [case(sequence(depth=2)) for _ in range(sequences)] + [case(chain(depth=2)) for _ in range(chains)]
print("{")
print(f' "source": "torch {torch.__version__}, torch_random.py",')
print(' "cases": [\n  ' + ",\n  ".join(map(json.dumps, cases)) + "\n ],")
print(' "plateau": [\n  ' + ",\n  ".join(json.dumps(plateau()) for _ in range(plateaus)) + "\n ]")
print("}")
