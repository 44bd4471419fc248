#!/usr/bin/env python3
"""The workloads of `lrlab bench` in PyTorch: one training step (forward, loss, backward, update) on random data.

    python torch_bench.py [--workload NAME]... [--setting default|best|compile]... [--threads N] [--seconds S]

Prints one JSON object per line, with the keys of `lrlab bench --json`, and `library` and `setting`. Each workload runs
in a process of its own, so that the peak of its memory is its own. The settings:

default   eager mode as it comes.
best      eager mode, pictures channels-last, fused optimizers, an allocator that keeps its pages (glibc's, told so).
compile   as `best`, through torch.compile; needs a C++ compiler.

Where PyTorch may do less than lrlab it does: texts come without a padding mask, and its dropout draws are its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SETTINGS = ["default", "best", "compile"]
KEEP_PAGES = {
    # The largest blocks too come from the heap instead of from fresh maps, and the heap is never given back.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
VOCABULARY, LENGTH, WIDTH, TEXTS, PICTURES = 20_000, 200, 128, 64, 128


# --- models ---------------------------------------------------------------------------------------------------------


def residual_network(widths, blocks, imagenet_stem):
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if stride != 1 or inputs != outputs:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x):
            y = self.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            y += x if self.downsample is None else self.downsample(x)
            return self.relu(y)

    layers = []
    if imagenet_stem:
        layers += [nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(3, 2, 1)]
    else:
        layers += [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
    inputs = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(Block(inputs, width, 2 if stage > 0 and block == 0 else 1))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def lstm_classifier():
    from torch import nn

    class Lstm(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
            self.fc = nn.Linear(WIDTH, 2)

        def forward(self, ids):
            _, (last, _) = self.lstm(self.embedding(ids))
            return self.fc(last[-1])

    return Lstm()


def transformer_classifier():
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.position = nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.02)
            self.dropout = nn.Dropout(0.1)
            layer = nn.TransformerEncoderLayer(WIDTH, 4, 256, 0.1, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)
            for layer in self.encoder.layers:
                layer.dropout = nn.Identity()  # the dropout between the linear layers, which lrlab's has not
            self.fc = nn.Linear(WIDTH, 2)

        def forward(self, ids):
            x = self.dropout(self.embedding(ids) + self.position)
            return self.fc(self.encoder(x).mean(1))

    return Transformer()


# --- workloads: each gives the examples of a step, the step, and makes everything but the optimizer's state ------------


def training(model, x, classes, optimizer, setting):
    import torch
    from torch.nn.functional import cross_entropy

    labels = torch.randint(classes, (len(x),))
    best = setting != "default"
    if best and x.dim() == 4:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    model.train()
    parameters, fused = list(model.parameters()), {"fused": True} if best else {}
    if optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=1e-4, **fused)
    else:
        optimizer = torch.optim.Adam(parameters, 1e-3, **fused)
    run = torch.compile(model) if setting == "compile" else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(run(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return len(x), step


def pictures():
    import torch

    return torch.randn(PICTURES, 3, 32, 32)


def texts():
    import torch

    return torch.randint(VOCABULARY, (TEXTS, LENGTH))


MODELS = {
    "resnet20": lambda s: training(residual_network([16, 32, 64], 3, False), pictures(), 10, "sgd", s),
    "resnet18-imagenet-stem": lambda s: training(
        residual_network([64, 128, 256, 512], 2, True), pictures(), 10, "sgd", s
    ),
    "lstm": lambda s: training(lstm_classifier(), texts(), 2, "adam", s),
    "transformer": lambda s: training(transformer_classifier(), texts(), 2, "adam", s),
}


def operator(examples, variables, function):
    """Two steps: forward alone, and forward with the gradients of the sum of what comes out."""
    import torch

    def forward(setting):
        made = [v.requires_grad_() for v in variables(setting)]
        run = torch.compile(function) if setting == "compile" else function
        return examples, lambda: run(*made)

    def both(setting):
        made = [v.requires_grad_() for v in variables(setting)]
        run = torch.compile(function) if setting == "compile" else function

        def step():
            y = run(*made)
            torch.autograd.grad(y, made, torch.ones_like(y))
            return y

        return examples, step

    return forward, both


def operators():
    import torch
    from torch.nn import functional as F

    def normal(*shape, scale=1.0):
        return lambda setting: torch.randn(*shape) * scale

    def picture(*shape, scale=1.0):
        def make(setting):
            x = torch.randn(*shape) * scale
            return x if setting == "default" else x.contiguous(memory_format=torch.channels_last)

        return make

    def all_of(*makers):
        return lambda setting: [make(setting) for make in makers]

    found = {}

    def add(name, examples, variables, function):
        forward, both = operator(examples, variables, function)
        found[name], found[f"{name}-forward"] = both, forward

    for inputs, outputs, kernel, stride, side in [
        (16, 16, 3, 1, 32),
        (32, 32, 3, 1, 16),
        (64, 64, 3, 1, 8),
        (16, 32, 3, 2, 32),
        (16, 32, 1, 2, 32),
        (3, 64, 7, 2, 32),
        (128, 128, 3, 1, 4),
        (256, 256, 3, 1, 2),
        (512, 512, 3, 1, 1),
    ]:
        add(
            f"conv-{kernel}x{kernel}-stride{stride}-{inputs}-{outputs}",
            PICTURES,
            all_of(picture(PICTURES, inputs, side, side), picture(outputs, inputs, kernel, kernel, scale=0.1)),
            lambda x, w, stride=stride, kernel=kernel: F.conv2d(x, w, stride=stride, padding=kernel // 2),
        )

    mean, variance = torch.zeros(16), torch.ones(16)

    def batch_norm(x, scale, shift):
        return F.relu(F.batch_norm(x, mean, variance, scale, shift, True), inplace=True)

    def batch_norm_add(x, scale, shift, residual):
        y = F.batch_norm(x, mean, variance, scale, shift, True)
        y += residual
        return F.relu(y, inplace=True)

    frame = picture(PICTURES, 16, 32, 32)
    add("batch-norm-relu", PICTURES, all_of(frame, normal(16), normal(16)), batch_norm)
    add("batch-norm-add-relu", PICTURES, all_of(frame, normal(16), normal(16), frame), batch_norm_add)
    add("max-pool", PICTURES, all_of(picture(PICTURES, 64, 16, 16)), lambda x: F.max_pool2d(x, 3, 2, 1))
    add("avg-pool", PICTURES, all_of(picture(PICTURES, 64, 8, 8)), lambda x: x.mean((2, 3)))
    states = normal(TEXTS, LENGTH, WIDTH)
    add("linear", TEXTS, all_of(states, normal(256, WIDTH, scale=0.1), normal(256)), F.linear)
    add(
        "layer-norm",
        TEXTS,
        all_of(states, normal(WIDTH), normal(WIDTH)),
        lambda x, scale, shift: F.layer_norm(x, (WIDTH,), scale, shift),
    )
    heads = normal(TEXTS, 4, LENGTH, WIDTH // 4)
    add(
        "attention",
        TEXTS,
        all_of(heads, heads, heads),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.1),
    )
    cell = torch.nn.LSTM(WIDTH, WIDTH, batch_first=True)
    add(
        "lstm-layer",
        TEXTS,
        lambda setting: [torch.randn(TEXTS, LENGTH, WIDTH), *cell.parameters()],
        lambda x, *_: cell(x)[0],
    )
    ids = texts()
    add("embedding", TEXTS, all_of(normal(VOCABULARY, WIDTH)), lambda table: F.embedding(ids, table))
    labels = torch.randint(1000, (PICTURES,))
    add("cross-entropy", PICTURES, all_of(normal(PICTURES, 1000)), lambda x: F.cross_entropy(x, labels))
    add("dropout", TEXTS, all_of(states), lambda x: F.dropout(x, 0.1))
    add("relu", TEXTS, all_of(normal(TEXTS, LENGTH, 256)), F.relu)
    add("gelu", TEXTS, all_of(normal(TEXTS, LENGTH, 256)), F.gelu)

    def update(rule):
        def make(setting):
            fused = {} if setting == "default" else {"fused": True}
            weights = torch.randn(VOCABULARY, WIDTH, requires_grad=True)
            weights.grad = torch.randn(VOCABULARY, WIDTH)
            optimizer = rule([weights], fused)

            def step():
                optimizer.step()
                return weights

            return 1, step

        return make

    found["sgd"] = update(lambda p, fused: torch.optim.SGD(p, 1e-3, momentum=0.9, weight_decay=1e-4, **fused))
    found["adam"] = update(lambda p, fused: torch.optim.Adam(p, 1e-3, **fused))
    return found


# --- measuring --------------------------------------------------------------------------------------------------------


def status(key):
    """A figure of this process in KiB; nothing where the system has no /proc."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(key)), None)
    except OSError:
        return None


def resident_after_reset():
    """Resident memory now; the peak counts from here."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as reset:
            reset.write("5")
    except OSError:
        return None
    return status("VmRSS:")


def measure(name, setting, threads, seconds):
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    workloads = MODELS if name in MODELS else operators()
    if name not in workloads:
        sys.exit(f"no workload is called {name!r}; there is: {', '.join([*MODELS, *operators()])}")
    examples, step = workloads[name](setting)
    before = resident_after_reset()
    for _ in range(5 if setting == "compile" else 2):
        last = step()
    times, begun = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - begun < seconds and len(times) < 1000):
        start = time.perf_counter()
        last = step()
        times.append(time.perf_counter() - start)
    peak = status("VmHWM:")
    if not torch.isfinite(last).all():
        sys.exit(f"{name}: the result is not finite")
    median = statistics.median(times)
    return {
        "workload": name,
        "per_s": examples / median,
        "ms": median * 1e3,
        "gflops": None,
        "peak_mib": None if before is None or peak is None else (peak - before) / 1024,
        "dtype": "f32",
        "threads": threads,
        "device": "cpu",
        "steps": len(times),
        "library": f"torch {torch.__version__}",
        "setting": setting,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", action="append", help="default: the models")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="default: all")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=float, default=4.0, help="time for the steps of a workload")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    workloads, settings = args.workload or list(MODELS), args.setting or SETTINGS
    if args.alone:
        print(json.dumps(measure(workloads[0], settings[0], args.threads, args.seconds)), flush=True)
        return
    failed = False
    for name in workloads:
        for setting in settings:
            environment = os.environ | ({} if setting == "default" else KEEP_PAGES)
            environment["OMP_NUM_THREADS"] = str(args.threads)
            command = [sys.executable, __file__, "--alone", "--workload", name, "--setting", setting]
            command += ["--threads", str(args.threads), "--seconds", str(args.seconds)]
            child = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
            if child.returncode == 0:
                print(child.stdout, end="", flush=True)
            else:
                why = child.stderr.strip().splitlines()[-1:] or ["it said nothing"]
                print(f"{name}, {setting}: {'skipped' if setting == 'compile' else 'failed'}: {why[0]}", file=sys.stderr)
                failed |= setting != "compile"
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
