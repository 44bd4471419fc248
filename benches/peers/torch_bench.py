#!/usr/bin/env python3
"""The workloads of `lrlab bench` in PyTorch: one training step (forward, loss, backward, update) on random data.

    python torch_bench.py [--workload NAME]... [--setting default|best|compile]... [--device cpu|cuda|cuda:N]
                          [--precision f32|bf16] [--tf32] [--threads N] [--seconds S]

It needs PyTorch and this file. It prints one JSON object per line, with the keys of `lrlab bench --json`, and `library`
and `setting`. Each workload runs in a separate process, so that its peak memory can be measured. The settings:

default   eager mode with default settings.
best      eager mode, pictures channels-last, fused optimizers; on the CPU glibc's allocator configured to keep its
          pages, on a GPU the convolutions that cuDNN finds fastest (cudnn.benchmark).
compile   as `best`, through torch.compile; needs a C++ compiler, and Triton on a GPU.

On the CPU every step is timed. On a GPU model and data lie there beforehand, and what is timed is a window of many
steps: the host waits for the device where it begins and where it ends, not in between. `ms` is the median, over steps
or windows, of a step. `peak_mib` is the most memory that steps took at once, less what was taken before the
first step: resident memory on the CPU, memory of tensors and workspaces on a GPU. `resident_mib` is the most that the
process took at all (on a GPU what PyTorch reserved, without the CUDA context).

Products and convolutions in f32 are f32 proper, in every setting, and TF32 with --tf32. --precision bf16 is
torch.autocast over forward and loss.

Where PyTorch may do less than lrlab it does: texts come without a padding mask, and its dropout draws are its own.
"""

import argparse
import contextlib
import dataclasses
import json
import math
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
# On a GPU: seconds of warm-up and of a window, and the fewest steps of each.
WARM_UP_S, WINDOW_S, WINDOW_STEPS = 1.0, 0.4, 20


@dataclasses.dataclass
class How:
    """What a workload is run with."""

    setting: str
    device: str
    precision: str
    tf32: bool

    @property
    def best(self):
        return self.setting != "default"

    @property
    def cuda(self):
        return self.device.startswith("cuda")

    def compiled(self, function):
        import torch

        return torch.compile(function) if self.setting == "compile" else function

    def autocast(self):
        """The context of forward and loss."""
        import torch

        if self.precision == "f32":
            return contextlib.nullcontext()
        return torch.autocast("cuda" if self.cuda else "cpu", dtype=torch.bfloat16)

    def numerics(self):
        if not self.cuda:
            return "cpu"
        return "cuda/tf32" if self.tf32 else "cuda/f32"


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


def training(model, x, classes, optimizer, how):
    import torch
    from torch.nn.functional import cross_entropy

    labels = torch.randint(classes, (len(x),))
    if how.best and x.dim() == 4:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    model.train()
    parameters, fused = list(model.parameters()), {"fused": True} if how.best else {}
    if optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=1e-4, **fused)
    else:
        optimizer = torch.optim.Adam(parameters, 1e-3, **fused)
    run = how.compiled(model)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with how.autocast():
            loss = cross_entropy(run(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return len(x), step


def pictures():
    import torch

    return torch.randn(PICTURES, 3, 32, 32)


def texts():
    import torch

    return torch.randint(VOCABULARY, (TEXTS, LENGTH))


MODELS = {
    "resnet20": lambda how: training(residual_network([16, 32, 64], 3, False), pictures(), 10, "sgd", how),
    "resnet18-imagenet-stem": lambda how: training(
        residual_network([64, 128, 256, 512], 2, True), pictures(), 10, "sgd", how
    ),
    "lstm": lambda how: training(lstm_classifier(), texts(), 2, "adam", how),
    "transformer": lambda how: training(transformer_classifier(), texts(), 2, "adam", how),
}


def operator(examples, variables, function):
    """Two steps: forward alone, and forward with the gradients of the sum of the output."""
    import torch

    def prepared(how):
        made, run = [v.requires_grad_() for v in variables(how)], how.compiled(function)

        def of():
            with how.autocast():
                return run(*made)

        return made, of

    def forward(how):
        return examples, prepared(how)[1]

    def both(how):
        made, run = prepared(how)

        def step():
            y = run()
            torch.autograd.grad(y, made, torch.ones_like(y))
            return y

        return examples, step

    return forward, both


def operators():
    import torch
    from torch.nn import functional as F

    def normal(*shape, scale=1.0):
        return lambda how: torch.randn(*shape) * scale

    def picture(*shape, scale=1.0):
        def make(how):
            x = torch.randn(*shape) * scale
            return x.contiguous(memory_format=torch.channels_last) if how.best else x

        return make

    def all_of(*makers):
        return lambda how: [make(how) for make in makers]

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
        lambda how: [torch.randn(TEXTS, LENGTH, WIDTH), *cell.parameters()],
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
        def make(how):
            fused = {"fused": True} if how.best else {}
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


class CpuMemory:
    """Resident memory of this process, in MiB."""

    def __init__(self):
        self.before = resident_after_reset()

    def peaks(self):
        peak = status("VmHWM:")
        if self.before is None or peak is None:
            return None, None
        return (peak - self.before) / 1024, peak / 1024


class CudaMemory:
    """Memory of the GPU that PyTorch gave out and reserved, in MiB."""

    def __init__(self):
        import torch

        self.cuda = torch.cuda
        self.cuda.synchronize()
        self.before = self.cuda.memory_allocated()

    def from_here(self):
        """The peak of the steps counts from here."""
        # What cuDNN tried before it chose is not what a step needs.
        self.cuda.synchronize()
        self.cuda.reset_peak_memory_stats()

    def peaks(self):
        of_steps = (self.cuda.max_memory_allocated() - self.before) / (1 << 20)
        return of_steps, self.cuda.max_memory_reserved() / (1 << 20)


def each_step(step, setting, seconds):
    """Seconds of every step after a warm-up, how many they were, what the last one gave, and memory."""
    memory = CpuMemory()
    for _ in range(5 if setting == "compile" else 2):
        last = step()
    times, begun = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - begun < seconds and len(times) < 1000):
        start = time.perf_counter()
        last = step()
        times.append(time.perf_counter() - start)
    return times, len(times), last, memory


def windows(step, seconds):
    """As `each_step`, with the mean of a step in every window."""
    import torch

    memory = CudaMemory()

    def window(steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            last = step()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / steps, last

    # The first steps compile, choose algorithms and reserve memory; the clocks rise later.
    window(WINDOW_STEPS)
    begun = time.perf_counter()
    estimate, _ = window(WINDOW_STEPS)
    while time.perf_counter() - begun < WARM_UP_S:
        estimate, _ = window(WINDOW_STEPS)
    memory.from_here()
    steps = max(WINDOW_STEPS, math.ceil(WINDOW_S / estimate))
    times, begun = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begun < seconds:
        each, last = window(steps)
        times.append(each)
    return times, steps * len(times), last, memory


def measure(name, how, threads, seconds):
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    device = how.device
    if how.cuda:
        if not torch.cuda.is_available():
            sys.exit(f"torch {torch.__version__} finds no CUDA device")
        torch.cuda.set_device(torch.device(device if ":" in device else "cuda:0"))
        device = f"cuda:{torch.cuda.current_device()}"
        torch.backends.cuda.matmul.allow_tf32 = how.tf32
        torch.backends.cudnn.allow_tf32 = how.tf32
        torch.backends.cudnn.benchmark = how.best
    # Model and data are made where they are used, with no copy in a step.
    with torch.device(device):
        workloads = MODELS if name in MODELS else operators()
        if name not in workloads:
            sys.exit(f"no workload is called {name!r}; there is: {', '.join([*MODELS, *operators()])}")
        examples, step = workloads[name](how)
    if how.cuda:
        times, steps, last, memory = windows(step, seconds)
    else:
        times, steps, last, memory = each_step(step, how.setting, seconds)
    peak, resident = memory.peaks()
    if not torch.isfinite(last).all():
        sys.exit(f"{name}: the result is not finite")
    median = statistics.median(times)
    return {
        "workload": name,
        "per_s": examples / median,
        "ms": median * 1e3,
        "ms_best": min(times) * 1e3,
        "gflops": None,
        "gb_per_s": None,
        "peak_mib": peak,
        "resident_mib": resident,
        "dtype": how.precision,
        "threads": threads,
        "device": device,
        "share": None,
        "steps": steps,
        "library": f"torch {torch.__version__}",
        "numerics": how.numerics(),
        "setting": how.setting,
    }


def device_name(text):
    if text in ("cpu", "cuda") or (text.startswith("cuda:") and text[5:].isdecimal()):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not a device: expected cpu, cuda or cuda:N")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", action="append", help="default: the models")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="default: all")
    parser.add_argument("--device", type=device_name, default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: under torch.autocast")
    parser.add_argument("--tf32", action="store_true", help="products and convolutions in f32 through TF32 (cuda)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=float, default=4.0, help="time for the steps of a workload")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.tf32 and args.device == "cpu":
        parser.error("--tf32 is for a GPU: add --device cuda")
    workloads, settings = args.workload or list(MODELS), args.setting or SETTINGS
    if args.alone:
        how = How(settings[0], args.device, args.precision, args.tf32)
        print(json.dumps(measure(workloads[0], how, args.threads, args.seconds)), flush=True)
        return
    failed = False
    for name in workloads:
        for setting in settings:
            keep_pages = args.device == "cpu" and setting != "default"
            environment = os.environ | (KEEP_PAGES if keep_pages else {})
            environment["OMP_NUM_THREADS"] = str(args.threads)
            command = [sys.executable, __file__, "--alone", "--workload", name, "--setting", setting]
            command += ["--device", args.device, "--precision", args.precision, *(["--tf32"] if args.tf32 else [])]
            command += ["--threads", str(args.threads), "--seconds", str(args.seconds)]
            child = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
            if child.returncode == 0:
                print(child.stdout, end="", flush=True)
            else:
                why = child.stderr.strip().splitlines()[-1:] or [f"it ended with {child.returncode} and said nothing"]
                what = "skipped" if setting == "compile" else "failed"
                print(f"{name}, {setting}: {what}: {why[0]}", file=sys.stderr)
                failed |= setting != "compile"
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
