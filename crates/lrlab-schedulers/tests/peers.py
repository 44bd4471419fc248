"""Rates of other libraries, and how this crate says the same: what tests/peers.rs reads.

    pip install torch jax optax keras timm transformers megatron-core
    python peers.py burn-optim-0.23.0-pre.1 > peers.json    # the folder of that crate's source; needs rustc

Of Burn the `step` functions are compiled by themselves. Schedules are taken at updates 0, 1, 2, …; `ours` is a specification, or the
name of a constructor in tests/peers.rs. Controllers are shown METRICS, and the rate after each observation is taken.
"""

import importlib.metadata
import json
import math
import os
import subprocess
import sys
import tempfile
import types
import warnings

os.environ["KERAS_BACKEND"] = "jax"
warnings.simplefilter("ignore")

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import keras
import optax
import torch
from torch.optim import SGD
from torch.optim import lr_scheduler as L
from torch.optim.swa_utils import SWALR

keras.config.set_floatx("float64")

cases = []
N = 40


def version(package):
    return f"{package} {importlib.metadata.version(package)}"


def case(peer, call, ours, base, rates, updates=None, controller=False):
    rates = [float(x) for x in rates]
    entry = {"peer": version(peer), "call": call, "ours": ours, "base": base, "updates": updates or len(rates), "rates": rates}
    if controller:
        entry["controller"] = True
    cases.append(entry)


def group(lr):
    return SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def stepped(optimizer, scheduler, n):
    rates = []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


# PyTorch: what the tests of the `torch` module do not cover.
def torch_case(call, ours, lr=0.1, n=N, updates=None):
    o = group(lr)
    case("torch", call, ours, lr, stepped(o, eval(call, {"L": L, "SWALR": SWALR, "o": o, "math": math}), n), updates)


torch_case("L.CyclicLR(o, 0.01, 0.2, step_size_up=4, step_size_down=7, scale_fn=lambda c: 1 / c, cycle_momentum=False)", "torch cyclic by cycle")
torch_case("L.CyclicLR(o, 0.01, 0.2, step_size_up=3, scale_fn=lambda t: 0.95 ** t, scale_mode='iterations', cycle_momentum=False)", "torch cyclic by iteration")
torch_case("L.LambdaLR(o, lambda t: 1 / (1 + 0.3 * t))", "inverse_time = { decay_steps = '1 update', decay_rate = 0.3 }")
torch_case("L.MultiplicativeLR(o, lambda t: 0.9 if t % 3 else 1.1)", "torch multiplicative")
torch_case("L.SequentialLR(o, [L.ConstantLR(o, 0.3, 4), L.LinearLR(o, 0.5, 1.0, 6), L.ExponentialLR(o, 0.9)], [5, 15])",
           "sequential = { schedulers = [{ constant = { factor = 0.3, total_iters = '4 updates' } }, { linear = { start_factor = 0.5, total_iters = '6 updates' } }, { exponential = { gamma = 0.9, per = '1 update' } }], milestones = ['5 updates', '15 updates'] }")
torch_case("L.ChainedScheduler([L.StepLR(o, 7, 0.5), L.LinearLR(o, 0.2, 0.8, 11)])",
           "chained = { schedulers = [{ step = { step_size = '7 updates', gamma = 0.5 } }, { linear = { start_factor = 0.2, end_factor = 0.8, total_iters = '11 updates' } }] }")
torch_case("SWALR(o, swa_lr=0.03, anneal_epochs=9, anneal_strategy='cos')", "swa = { swa_lr = 0.03, start = '0 updates', anneal = '9 updates', of = { static = {} } }", n=16)
torch_case("SWALR(o, swa_lr=0.3, anneal_epochs=7, anneal_strategy='linear')", "swa = { swa_lr = 0.3, start = '0 updates', anneal = '7 updates', anneal_strategy = 'linear', of = { static = {} } }", n=12)


# Optax.
def optax_case(call, ours, base, n=N, updates=None):
    f = eval("optax." + call, {"optax": optax})
    case("optax", call, ours, base, [f(t) for t in range(n)], updates)


optax_case("constant_schedule(0.3)", "static", 0.3, 3)
optax_case("linear_schedule(0.2, 0.05, 25, 6)", "delay = { by = '6 updates', of = { linear = { start_factor = 1, end_factor = 0.25, total_iters = '25 updates' } } }", 0.2)
optax_case("polynomial_schedule(0.3, 0.02, 2.5, 20, 5)", "delay = { by = '5 updates', of = { polynomial = { total_iters = '20 updates', power = 2.5, eta_min = 0.02 } } }", 0.3)
optax_case("polynomial_schedule(0.02, 0.3, 1.5, 20)", "polynomial = { total_iters = '20 updates', power = 1.5, eta_min = 0.3 }", 0.02)
optax_case("exponential_decay(0.3, 7, 0.8)", "exponential = { gamma = 0.8, per = '7 updates' }", 0.3)
optax_case("exponential_decay(0.3, 7, 0.8, 5, True, 0.15)", "clamp = { min = 0.15, of = { delay = { by = '5 updates', of = { staircase = { step = '7 updates', of = { exponential = { gamma = 0.8, per = '7 updates' } } } } } } }", 0.3)
optax_case("exponential_decay(0.01, 5, 1.4, end_value=0.06)", "clamp = { max = 0.06, of = { exponential = { gamma = 1.4, per = '5 updates' } } }", 0.01)
optax_case("cosine_decay_schedule(0.3, 30, 0.2, 1.3)", "floor = { at = 0.2, of = { cosine = { t_max = '30 updates', exponent = 1.3 } } }", 0.3)
optax_case("piecewise_constant_schedule(0.3, {6: 0.5, 20: 3.0, 31: 0.01})", "multi_step = { milestones = ['6 updates', '20 updates', '31 updates'], gammas = [0.5, 3, 0.01] }", 0.3)
for kind in ["linear", "cosine"]:
    optax_case(f"piecewise_interpolate_schedule('{kind}', 0.3, {{6: 0.5, 20: 3.0, 31: 0.01}})",
               f"piecewise_linear = {{ knots = [{{ at = '0%', factor = 1 }}, {{ at = '6 updates', factor = 0.5 }}, {{ at = '20 updates', factor = 1.5 }}, {{ at = '31 updates', factor = 0.015 }}], interpolate = '{kind}' }}", 0.3)
optax_case("linear_onecycle_schedule(40, 0.4, 0.25, 0.8, 10.0, 100.0)",
           "piecewise_linear = { knots = [{ at = '0%', factor = 0.1 }, { at = '25%', factor = 1 }, { at = '80%', factor = 0.1 }, { at = '100%', factor = 1e-3 }] }", 0.4, 45, 40)
optax_case("cosine_onecycle_schedule(40, 0.4, 0.25, 10.0, 100.0)", "one_cycle = { pct_start = 0.25, div_factor = 10, final_div_factor = 100 }", 0.4, 45, 40)
optax_case("warmup_constant_schedule(0.05, 0.2, 12)", "warmup = { over = '12 updates', start_factor = 0.25, then = { static = {} } }", 0.2)
optax_case("warmup_cosine_decay_schedule(0.4, 0.2, 8, 36, 0.05, 0.8)",
           "warmup = { over = '8 updates', start_factor = 2, then = { cosine = { t_max = '28 updates', eta_min = 0.05, exponent = 0.8 } } }", 0.2)
optax_case("warmup_exponential_decay_schedule(0.0, 0.2, 8, 5, 0.7, 3, True, 0.05)",
           "warmup = { over = '8 updates', start_factor = 0, then = { clamp = { min = 0.05, of = { delay = { by = '3 updates', of = { staircase = { step = '5 updates', of = { exponential = { gamma = 0.7, per = '5 updates' } } } } } } } } }", 0.2)
optax_case("sgdr_schedule([dict(init_value=0.02, peak_value=0.2, decay_steps=15, warmup_steps=5, end_value=0.01), dict(init_value=0.0, peak_value=0.4, decay_steps=25, warmup_steps=4, exponent=2.0)])",
           "sequential = { schedulers = [{ warmup = { over = '5 updates', start_factor = 0.1, then = { cosine = { t_max = '10 updates', eta_min = 0.01 } } } }, { scale = { by = 2, of = { warmup = { over = '4 updates', start_factor = 0, then = { cosine = { t_max = '21 updates', exponent = 2 } } } } } }], milestones = ['15 updates'] }", 0.2)
optax_case("join_schedules([optax.linear_schedule(0.2, 0.1, 10), optax.constant_schedule(0.06), optax.exponential_decay(0.06, 3, 0.5)], [9, 20])",
           "sequential = { schedulers = [{ linear = { start_factor = 1, end_factor = 0.5, total_iters = '10 updates' } }, { scale = { by = 0.3, of = { static = {} } } }, { scale = { by = 0.3, of = { exponential = { gamma = 0.5, per = '3 updates' } } } }], milestones = ['9 updates', '20 updates'] }", 0.2)


# Keras.
K = keras.optimizers.schedules


def keras_case(call, ours, base, n=N):
    f = eval("K." + call, {"K": K})
    case("keras", call, ours, base, [f(t) for t in range(n)])


keras_case("ExponentialDecay(0.3, 7, 0.8)", "exponential = { gamma = 0.8, per = '7 updates' }", 0.3)
keras_case("ExponentialDecay(0.3, 7, 0.8, staircase=True)", "staircase = { step = '7 updates', of = { exponential = { gamma = 0.8, per = '7 updates' } } }", 0.3)
keras_case("PiecewiseConstantDecay([5, 20, 30], [0.3, 0.0, 0.5, 0.01])", "keras piecewise_constant", 1.0)
keras_case("PolynomialDecay(0.3, 9, 0.02, 1.5, cycle=True)", "polynomial = { total_iters = '9 updates', power = 1.5, eta_min = 0.02, cycle = true }", 0.3)
keras_case("PolynomialDecay(0.3, 25, 0.02, 0.5)", "polynomial = { total_iters = '25 updates', power = 0.5, eta_min = 0.02 }", 0.3)
keras_case("InverseTimeDecay(0.3, 6, 0.7)", "inverse_time = { decay_steps = '6 updates', decay_rate = 0.7 }", 0.3)
keras_case("InverseTimeDecay(0.3, 6, 0.7, staircase=True)", "inverse_time = { decay_steps = '6 updates', decay_rate = 0.7, staircase = true }", 0.3)
keras_case("CosineDecay(0.05, 25, alpha=0.1, warmup_target=0.3, warmup_steps=8)", "keras cosine_decay", 0.3)
keras_case("CosineDecay(0.3, 25, alpha=0.1)", "floor = { at = 0.1, of = { cosine = { t_max = '25 updates' } } }", 0.3)
keras_case("CosineDecayRestarts(0.3, 5, t_mul=1.5, m_mul=0.7, alpha=0.1)", "keras cosine_decay_restarts", 0.3)
keras_case("CosineDecayRestarts(0.3, 8, t_mul=1.0, m_mul=1.3)", "cosine_warm_restarts = { t_0 = '8 updates', decay = 1.3 }", 0.3)
rates, lr = [], 0.3
scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, lr: lr if epoch < 4 else max(lr * 0.8 - 0.001 * epoch, 0.01))
model = types.SimpleNamespace(optimizer=types.SimpleNamespace(learning_rate=0.3))
scheduler.set_model(model)
for epoch in range(20):
    scheduler.on_epoch_begin(epoch)
    rates.append(model.optimizer.learning_rate)
case("keras", "callbacks.LearningRateScheduler(lambda epoch, lr: …)", "keras recursive", 0.3, rates)

# timm, one update an epoch. Its package imports all its networks, so the schedulers are imported by themselves.
import importlib.util

root = os.path.dirname(importlib.util.find_spec("timm").origin)
for name, path in [("timm", root), ("timm.scheduler", os.path.join(root, "scheduler"))]:
    module = types.ModuleType(name)
    module.__path__ = [path]
    sys.modules[name] = module
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.multistep_lr import MultiStepLRScheduler
from timm.scheduler.plateau_lr import PlateauLRScheduler
from timm.scheduler.poly_lr import PolyLRScheduler
from timm.scheduler.step_lr import StepLRScheduler
from timm.scheduler.tanh_lr import TanhLRScheduler
from timm.scheduler.wsd_lr import WSDLRScheduler


def timm_case(call, ours, lr=0.1, n=N, updates=None):
    o = group(lr)
    s = eval(call, globals(), {"o": o})
    rates = []
    for t in range(n):
        s.step(t)
        rates.append(o.param_groups[0]["lr"])
    case("timm", call, ours, lr, rates, updates)


timm_case("CosineLRScheduler(o, 9, lr_min=0.01, cycle_mul=1.5, cycle_decay=0.7, cycle_limit=3, warmup_t=4, warmup_lr_init=0.02, k_decay=1.4)", "timm cosine")
timm_case("CosineLRScheduler(o, 9, lr_min=0.01, cycle_mul=2, cycle_decay=0.7, cycle_limit=2, warmup_t=4, warmup_lr_init=0.02, warmup_prefix=True)", "timm cosine with a prefix")
timm_case("CosineLRScheduler(o, 20, lr_min=0.01, cycle_mul=0.5, cycle_decay=0.9, cycle_limit=3)", "cosine_warm_restarts = { t_0 = '20 updates', t_mult = 0.5, eta_min = 0.01, decay = 0.9, limit = 3 }", n=39)
timm_case("TanhLRScheduler(o, 16, lb=-4., ub=3., lr_min=0.01, cycle_mul=1.5, cycle_decay=0.7, cycle_limit=2, warmup_t=4, warmup_lr_init=0.02)", "timm tanh")
timm_case("TanhLRScheduler(o, 16, lb=-4., ub=3., cycle_limit=2, warmup_t=4, warmup_lr_init=0.02, warmup_prefix=True)", "timm tanh with a prefix")
timm_case("PolyLRScheduler(o, 9, power=0.7, lr_min=0.01, cycle_mul=1.5, cycle_decay=0.7, cycle_limit=3, warmup_t=4, warmup_lr_init=0.02, warmup_prefix=True, k_decay=0.6)",
          "warmup = { over = '4 updates', start_factor = 0.2, then = { polynomial = { total_iters = '9 updates', power = 0.7, eta_min = 0.01, k_decay = 0.6, restarts = { t_mult = 1.5, decay = 0.7, limit = 3 } } } }")
timm_case("StepLRScheduler(o, 2.5, 0.8, warmup_t=4, warmup_lr_init=0.02)", "warmup = { over = '4 updates', start_factor = 0.2, then = { step = { step_size = '2.5 epochs', gamma = 0.8 } } }")
timm_case("StepLRScheduler(o, 6, 0.8, warmup_t=9, warmup_lr_init=0.02, warmup_prefix=False)", "warmup = { over = '9 updates', start_factor = 0.2, clock = 'hidden', then = { step = { step_size = '6 epochs', gamma = 0.8 } } }")
timm_case("MultiStepLRScheduler(o, [6, 17, 30], 0.3, warmup_t=4, warmup_lr_init=0.02)", "timm multi_step")
for stable, more in [("constant", ""), ("rsqrt", ""), ("power", ", stable_timescale=6., stable_power=0.8")]:
    for decay, tail in [("linear", "shape = 'linear'"), ("1-sqrt", "shape = 'one_minus_sqrt'"), ("cosine", "shape = 'cosine'"),
                        ("power", "shape = 'one_minus_power', power = 1.7"), ("exp", "shape = 'exponential_to_zero', ratio = 0.2")]:
        wsd = f"wsd = {{ cooldown = '12 updates', {tail}, eta_min = 0.004 }}"
        inverse = {"constant": "", "rsqrt": "decay_steps = '5 updates', power = 0.5", "power": "decay_steps = '6 updates', power = 0.8"}[stable]
        then = wsd if stable == "constant" else (
            f"chained = {{ schedulers = [{{ clamp = {{ min = 0.004, of = {{ inverse_time = {{ {inverse} }} }} }} }}, {{ {wsd} }}] }}")
        timm_case(f"WSDLRScheduler(o, 35, 12, lr_min=0.004, stable_fn='{stable}'{more}, decay_fn='{decay}', decay_power=1.7, decay_ratio=0.2, warmup_t=5, warmup_lr_init=0.02)",
                  f"warmup = {{ over = '5 updates', start_factor = 0.2, then = {{ {then} }} }}", n=43, updates=40)

# transformers. Its package is imported as far as the schedules need.
from transformers import optimization as T


def transformers_case(call, ours, lr=0.1, n=N, updates=N):
    o = group(lr)
    case("transformers", call, ours, lr, stepped(o, eval("T." + call, {"T": T, "o": o}), n), updates)


def warm(over, then):
    return f"warmup = {{ over = '{over} updates', start_factor = 0, then = {{ {then} }} }}"


transformers_case("get_constant_schedule(o)", "static", n=3)
transformers_case("get_constant_schedule_with_warmup(o, 7)", warm(7, "static = {}"))
transformers_case("get_linear_schedule_with_warmup(o, 7, 40)", warm(7, "linear_to_zero = {}"), n=43)
transformers_case("get_cosine_schedule_with_warmup(o, 7, 40, 1.25)", warm(7, "cosine = { num_cycles = 1.25 }"))
transformers_case("get_cosine_with_hard_restarts_schedule_with_warmup(o, 7, 40, 3)", warm(7, "cosine_warm_restarts = { t_0 = '11 updates', limit = 3 }"), n=43)
transformers_case("get_cosine_with_hard_restarts_schedule_with_warmup(o, 6, 40, 4)", warm(6, "cosine_warm_restarts = { t_0 = '25%', limit = 4 }"), n=43)
transformers_case("get_polynomial_decay_schedule_with_warmup(o, 7, 40, 0.003, 1.7)", warm(7, "polynomial = { power = 1.7, eta_min = 0.003 }"), n=43)
transformers_case("get_inverse_sqrt_schedule(o, 7)", "warmup = { over = '7 updates', start_factor = 0, clock = 'shared', then = { inverse_sqrt = { timescale = '7 updates' } } }")
transformers_case("get_inverse_sqrt_schedule(o, 7, 20)", warm(7, "inverse_sqrt = { timescale = '20 updates', shift = '20 updates' }"))
transformers_case("get_cosine_with_min_lr_schedule_with_warmup(o, 7, 40, 0.75, min_lr=0.02)", warm(7, "cosine = { num_cycles = 0.75, eta_min = 0.02 }"))
transformers_case("get_cosine_with_min_lr_schedule_with_warmup(o, 7, 40, min_lr_rate=0.3)", warm(7, "floor = { at = 0.3, of = { cosine = {} } }"))
transformers_case("get_cosine_with_min_lr_schedule_with_warmup_lr_rate(o, 7, 40, min_lr_rate=0.3)", "transformers cosine_warmup_with_min_lr")
transformers_case("get_cosine_with_min_lr_schedule_with_warmup_lr_rate(o, 7, 40, 1.5, min_lr=0.02, warmup_lr_rate=0.4)", "transformers cosine_warmup_with_min_lr with a start")
transformers_case("get_cosine_with_min_lr_schedule_with_warmup_lr_rate(o, 1, 40, min_lr_rate=0.3)", "transformers cosine_warmup_with_min_lr of one update")
transformers_case("get_cosine_with_min_lr_schedule_with_warmup_lr_rate(o, 1, 40, 1.5, min_lr_rate=0.2, warmup_lr_rate=0.4)", "transformers cosine_warmup_with_min_lr of one update with a start")
transformers_case("get_cosine_with_min_lr_schedule_with_warmup_lr_rate(o, 2, 40, min_lr_rate=0.3, warmup_lr_rate=0.6)", "transformers cosine_warmup_with_min_lr of two updates with a start")
shapes = {"linear": "linear", "cosine": "cosine", "1-sqrt": "one_minus_sqrt"}
for warmup_type in shapes:
    for decay_type in shapes:
        transformers_case(f"get_wsd_schedule(o, 7, 12, 40, warmup_type='{warmup_type}', decay_type='{decay_type}', min_lr_ratio=0.2)",
                          f"warmup = {{ over = '7 updates', start_factor = 0.2, shape = '{shapes[warmup_type]}', then = {{ floor = {{ at = 0.2, of = {{ wsd = {{ cooldown = '12 updates', shape = '{shapes[decay_type]}' }} }} }} }} }}", n=43)
transformers_case("get_wsd_schedule(o, 7, 12, num_stable_steps=21, min_lr_ratio=0.2, num_cycles=1.5)",
                  "sequential = { schedulers = [{ warmup = { over = '7 updates', start_factor = 0.2, then = { static = {} } } }, { floor = { at = 0.2, of = { cosine = { num_cycles = 1.5 } } } }], milestones = ['28 updates'] }")
for warmup_init, ours in [(False, "clamp = { max = 0.01, of = { inverse_sqrt = { timescale = '1 update', shift = '1 update' } } }"),
                          (True, "min = { schedulers = [{ inverse_sqrt = { timescale = '1 update', shift = '1 update' } }, { linear = { start_factor = 1e-6, end_factor = 1.00001e-1, total_iters = '100000 updates' } }] }")]:
    parameters = {"relative_step": True, "warmup_init": warmup_init, "scale_parameter": False, "lr": None}
    rates = [T.Adafactor._get_lr(parameters, {"step": step, "RMS": 1.0}) for step in range(1, 40001, 1000)]
    case("transformers", f"Adafactor(relative_step=True, warmup_init={warmup_init}), every 1000th", ours, 1.0, rates, 100000)
    cases[-1]["stride"] = 1000

# Megatron-LM: the rate, and the weight decay as a schedule from its start.
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler


def megatron_case(ours, field="lr", base=0.1, n=N, **options):
    values = dict(init_lr=0.02, max_lr=0.1, min_lr=0.004, lr_warmup_steps=6, lr_decay_steps=40, lr_decay_style="constant", start_wd=0.01,
                  end_wd=0.01, wd_incr_steps=30, wd_incr_style="constant")
    values.update(options)
    optimizer = types.SimpleNamespace(param_groups=[{}])
    scheduler = OptimizerParamScheduler(optimizer, **values)
    rates = []
    for _ in range(n):
        rates.append(optimizer.param_groups[0][field])
        scheduler.step(1)
    call = ", ".join(f"{key}={value!r}" for key, value in values.items())
    case("megatron-core", f"OptimizerParamScheduler({call})" + ("" if field == "lr" else ".get_wd"), ours, base, rates)


def rise(then, clock=""):
    return f"warmup = {{ over = '6 updates', start_factor = 0.2, {clock}then = {{ {then} }} }}"


megatron_case(rise("static = {}"))
megatron_case(rise("polynomial = { eta_min = 0.004 }"), lr_decay_style="linear")
megatron_case(rise("cosine = { eta_min = 0.004 }"), lr_decay_style="cosine")
megatron_case("sequential = { schedulers = [{ linear = { start_factor = 0.2, total_iters = '6 updates' } }, { clamp = { min = 0.05, of = { inverse_sqrt = { timescale = '6 updates', shift = '6 updates' } } } }], milestones = ['6 updates'] }",
              lr_decay_style="inverse-square-root", min_lr=0.05)
for style, shape in [("linear", "linear"), ("cosine", "cosine"), ("exponential", "exponential_to_zero"), ("minus_sqrt", "one_minus_sqrt")]:
    megatron_case(rise(f"wsd = {{ cooldown = '15 updates', shape = '{shape}', eta_min = 0.004 }}"), lr_decay_style="WSD", wsd_decay_steps=15, lr_wsd_decay_style=style)
megatron_case("static", "weight_decay", 0.01)
megatron_case("polynomial = { total_iters = '30 updates', eta_min = 0.2 }", "weight_decay", 0.01, end_wd=0.2, wd_incr_style="linear")
megatron_case("cosine = { t_max = '30 updates', eta_min = 0.2 }", "weight_decay", 0.01, end_wd=0.2, wd_incr_style="cosine")

# Burn.
BURN = sys.argv[1]


def block(text, start):
    """From `start` to the brace that closes its first one."""
    begin = text.index(start)
    depth = 0
    for i in range(text.index("{", begin), len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[begin : i + 1]


def scheduler(file, name, struct=None, more=""):
    text = open(f"{BURN}/src/lr_scheduler/{file}.rs").read()
    step = block(block(text, f"impl LrScheduler for {name} "), "fn step(")
    helper = f"impl {name} {{ {block(text, more)} }}" if more else ""
    return f"{struct or block(text, f'pub struct {name} ')}\n{helper}\nimpl LrScheduler for {name} {{ {step} }}\n"


LIST = "schedulers: Vec<Box<dyn LrScheduler>>"
PROGRAM = (
    "type LearningRate = f64;\ntrait LrScheduler { fn step(&mut self) -> LearningRate; }\n"
    + scheduler("cosine", "CosineAnnealingLrScheduler")
    + scheduler("noam", "NoamLrScheduler")
    + scheduler("linear", "LinearLrScheduler")
    + scheduler("exponential", "ExponentialLrScheduler")
    + scheduler("step", "StepLrScheduler")
    + "#[derive(Clone, Copy)] enum SchedulerReduction { Avg, Sum, Prod }\n"
    + scheduler("composed", "ComposedLrScheduler", f"struct ComposedLrScheduler {{ {LIST}, reduction: SchedulerReduction }}")
    + scheduler("sequential", "SequentialLrScheduler",
                f"struct SequentialLrScheduler {{ {LIST}, milestones: Vec<usize>, step: usize }}", "fn active_scheduler(")
    + """
use SchedulerReduction::*;
type Any = Box<dyn LrScheduler>;
struct Fixed(f64);
impl LrScheduler for Fixed { fn step(&mut self) -> f64 { self.0 } }
// The fields as `build` of each configuration fills them.
fn constant(lr: f64) -> Any { Box::new(Fixed(lr)) }
fn cosine(max_lr: f64, min_lr: f64, num_iters: usize) -> Any {
    Box::new(CosineAnnealingLrScheduler { min_lr, max_lr, num_iters, current_iter: usize::MAX })
}
fn noam(factor: f64, warmup: usize, size: usize) -> Any {
    Box::new(NoamLrScheduler { warmup_steps: warmup as f64, embedding_size: size as f64, factor, step: 0.0 })
}
fn linear(initial: f64, final_lr: f64, n: usize) -> Any {
    Box::new(LinearLrScheduler { final_lr, step_size: (final_lr - initial) / n as f64, remaining_iters: n + 1 })
}
fn exponential(lr: f64, gamma: f64) -> Any { Box::new(ExponentialLrScheduler { previous_lr: lr / gamma, gamma }) }
fn step(init_lr: f64, step_size: usize, gamma: f64) -> Any {
    Box::new(StepLrScheduler { init_lr, step_size, gamma, iter_idx: -1 })
}
fn composed(schedulers: Vec<Any>, reduction: SchedulerReduction) -> Any {
    Box::new(ComposedLrScheduler { schedulers, reduction })
}
fn sequential(schedulers: Vec<Any>, milestones: Vec<usize>) -> Any {
    Box::new(SequentialLrScheduler { schedulers, milestones, step: 0 })
}
fn main() {
    let all: Vec<Any> = vec![CALLS];
    for mut scheduler in all { println!("{:?}", (0..40).map(|_| scheduler.step()).collect::<Vec<f64>>()); }
}
"""
)
THIRD = "scale = { by = 0.3333333333333333, of = "
burn_cases = [
    ("linear(0.3, 0.02, 25)", "polynomial = { total_iters = '25 updates', eta_min = 0.02 }", 0.3),
    ("cosine(0.3, 0.02, 40)", "cosine = { t_max = '40 updates', eta_min = 0.02 }", 0.3),
    ("exponential(0.3, 0.93)", "exponential = { gamma = 0.93, per = '1 update' }", 0.3),
    ("step(0.3, 7, 0.6)", "step = { step_size = '7 updates', gamma = 0.6 }", 0.3),
    ("noam(0.7, 9, 48)", "noam = { d_model = 48, warmup = '9 updates' }", 0.7),
    ("composed(vec![constant(0.3), cosine(1.0, 0.0, 40), linear(0.1, 1.0, 8)], Prod)",
     "chained = { schedulers = [{ cosine = { t_max = '40 updates' } }, { linear = { start_factor = 0.1, total_iters = '8 updates' } }] }", 0.3),
    ("composed(vec![cosine(0.3, 0.0, 40), exponential(0.15, 0.9)], Sum)",
     "sum = { schedulers = [{ cosine = { t_max = '40 updates' } }, { scale = { by = 0.5, of = { exponential = { gamma = 0.9, per = '1 update' } } } }] }", 0.3),
    ("composed(vec![cosine(0.3, 0.0, 40), linear(0.3, 0.06, 20), step(0.3, 9, 0.1)], Avg)",
     f"sum = {{ schedulers = [{{ {THIRD}{{ cosine = {{ t_max = '40 updates' }} }} }} }}, {{ {THIRD}{{ linear = {{ start_factor = 1, end_factor = 0.2, total_iters = '20 updates' }} }} }} }}, {{ {THIRD}{{ step = {{ step_size = '9 updates' }} }} }} }}] }}", 0.3),
    ("sequential(vec![linear(0.03, 0.3, 8), sequential(vec![constant(0.3), cosine(0.3, 0.0, 12)], vec![10]), exponential(0.1, 0.8)], vec![8, 30])",
     f"sequential = {{ schedulers = [{{ linear = {{ start_factor = 0.1, total_iters = '8 updates' }} }}, {{ sequential = {{ schedulers = [{{ static = {{}} }}, {{ cosine = {{ t_max = '12 updates' }} }}], milestones = ['10 updates'] }} }}, {{ {THIRD}{{ exponential = {{ gamma = 0.8, per = '1 update' }} }} }} }}], milestones = ['8 updates', '30 updates'] }}", 0.3),
]
with tempfile.TemporaryDirectory() as folder:
    source, program = f"{folder}/main.rs", f"{folder}/main"
    with open(source, "w") as file:
        file.write(PROGRAM.replace("CALLS", ", ".join(call for call, _, _ in burn_cases)))
    subprocess.run(["rustc", "--cap-lints", "allow", "-O", source, "-o", program], check=True)
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
for (call, ours, base), line in zip(burn_cases, lines, strict=True):
    rates = json.loads(line)
    peer = os.path.basename(os.path.normpath(BURN)).replace("optim-", "optim ", 1)
    cases.append({"peer": peer, "call": call, "ours": ours, "base": base, "updates": len(rates), "rates": rates})

# Controllers. A descent with noise that levels off, then a rise.
METRICS = [round(1.0 / (1 + 0.25 * k) + 0.08 * math.sin(1.7 * k * k) + max(0, k - 30) * 0.03, 6) for k in range(60)]


def observed(optimizer, step, lr=0.1):
    rates = []
    for value in METRICS:
        step(value)
        rates.append(optimizer())
    return rates


for call, ours in [
    ("L.ReduceLROnPlateau(o, factor=0.5, patience=2, threshold=0.02, cooldown=2, min_lr=0.004)",
     "plateau = { factor = 0.5, patience = 2, threshold = 0.02, cooldown = 2, min_gain = 0.04 }"),
    ("L.ReduceLROnPlateau(o, mode='max', factor=0.7, patience=3, threshold=0.05, threshold_mode='abs')",
     "plateau = { factor = 0.7, patience = 3, threshold = 0.05, threshold_mode = 'abs', mode = 'max' }"),
    ("T.GreedyLR(o, factor=0.8, patience=1, threshold=0.001, cooldown=1, warmup=2, min_lr=0.03, max_lr=0.2, reset_start=3)", "transformers greedy"),
    ("T.GreedyLR(o, mode='max', factor=0.9, patience=0, threshold=0.01, threshold_mode='rel', min_lr=0.07, max_lr=0.3, smooth=True, window_size=4, reset_start=2)", "transformers greedy, smooth"),
    ("T.get_reduce_on_plateau_schedule(o, factor=0.5, patience=1)", "plateau = { factor = 0.5, patience = 1 }"),
]:
    o = group(0.1)
    s = eval(call)
    case("transformers" if call.startswith("T.") else "torch", call, ours, 0.1, observed(lambda: o.param_groups[0]["lr"], s.step), controller=True)

for call, ours in [
    ("ReduceLROnPlateau(factor=0.5, patience=2, mode='min', min_delta=0.02, cooldown=3)", "keras plateau"),
    ("ReduceLROnPlateau(factor=0.7, patience=3, mode='max', min_delta=0.05, min_lr=0.04)", "keras plateau, max"),
]:
    model = types.SimpleNamespace(optimizer=types.SimpleNamespace(learning_rate=0.1))
    s = eval("keras.callbacks." + call)
    s.set_model(model)
    s.on_train_begin()
    case("keras", "callbacks." + call, ours, 0.1, observed(lambda: model.optimizer.learning_rate, lambda value: s.on_epoch_end(0, {"val_loss": value})), controller=True)

for call, ours in [
    ("contrib.reduce_on_plateau(factor=0.5, patience=3, rtol=0.02, atol=0.01, cooldown=2, min_scale=0.1)", "optax plateau"),
    ("contrib.reduce_on_plateau(factor=0.6, patience=2, rtol=0.0, atol=0.03, accumulation_size=3, cooldown=1)", "optax plateau of means"),
]:
    s = eval("optax." + call)
    state = s.init(jnp.zeros(()))

    def step(value):
        global state
        _, state = s.update(jnp.ones(()), state, value=value)

    case("optax", call, ours, 0.1, observed(lambda: 0.1 * float(state.scale), step), controller=True)

# timm's plateau sees nothing up to epoch `warmup_t`.
o = group(0.1)
s = PlateauLRScheduler(o, decay_rate=0.5, patience_t=2, threshold=0.01, cooldown_t=1, warmup_t=5, warmup_lr_init=0.02, lr_min=0.004, mode="min")
rates = []
for epoch, value in enumerate(METRICS):
    s.step(epoch, value)
    rates.append(o.param_groups[0]["lr"])
case("timm", "PlateauLRScheduler(decay_rate=0.5, patience_t=2, threshold=0.01, cooldown_t=1, warmup_t=5, warmup_lr_init=0.02, lr_min=0.004, mode='min')", "timm plateau", 0.1, rates, controller=True)
cases[-1]["schedule"] = "warmup = { over = '5 updates', start_factor = 0.2, then = { static = {} } }"

print('{ "metrics": ' + json.dumps(METRICS) + ',\n"cases": [')
print(",\n".join(json.dumps(case, ensure_ascii=False) for case in cases))
print("] }")
