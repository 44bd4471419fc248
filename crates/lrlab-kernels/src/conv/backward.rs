//! The backward pass, a few pictures at a time. The weight's gradient is summed over a fixed split of the batch.

#![allow(unsafe_code, reason = "sums are written in place before they have a length")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::direct;
use super::gemm;
use super::geometry::{Frame, Geometry, Method};
use super::source::{Place, Sink, Source};
use super::winograd;
use crate::host::{Scratch, Unwritten, add_up};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Computes the gradients from `grad`, that of the output: writes the input's to `dx` if it is given, and returns the
/// weight's `(o, c, kh, kw)` if `want_weight`.
pub(crate) fn run(
    g: &Geometry,
    source: &Source<'_>,
    weight: &[f32],
    grad: &Source<'_>,
    dx: Option<Sink<'_>>,
    want_weight: bool,
) -> Option<Vec<f32>> {
    assert!(source.holds(&g.input()) && grad.holds(&g.output()));
    assert!(weight.len() == g.o * g.c * g.kh * g.kw);
    assert!(dx.as_ref().is_none_or(|dx| dx.holds(&g.input())));
    let method = match g.method() {
        Method::Winograd => {
            let weights = dx.as_ref().map(|_| winograd::weights_transposed(g, weight));
            Work::Winograd(winograd::Plan::new(g), weights)
        }
        Method::Gemm => return gemm::backward(g, source, weight, grad, dx, want_weight),
        Method::Direct => Work::Direct(direct::Backward::new(g, weight, dx.is_some())),
    };
    let packed = if want_weight { method.packed(g) } else { 0 };
    let per_task = g.n.div_ceil(tasks(packed)).next_multiple_of(method.group());
    let sinks: Vec<Option<Sink<'_>>> = match dx {
        Some(dx) => dx.split(&g.input(), per_task).into_iter().map(Some).collect(),
        None => std::iter::repeat_with(|| None).take(g.n.div_ceil(per_task)).collect(),
    };
    let partial: Vec<Vec<f32>> = sinks
        .into_par_iter()
        .enumerate()
        .map(|(task, dx)| {
            let pictures = task * per_task..((task + 1) * per_task).min(g.n);
            dispatch(Task { g, source, grad, method: &method, dx, packed, pictures })
        })
        .collect();
    want_weight.then(|| {
        let packed = add_up(partial);
        match method {
            Work::Winograd(..) => winograd::weight_grad(g, &packed),
            Work::Direct(_) => direct::unpack_weights(g, &packed),
        }
    })
}

/// The number of partial gradients of the weight, of `packed` values each: enough to occupy the threads, few enough to
/// add up. It depends on the sizes alone, so the bits do not depend on the number of threads.
fn tasks(packed: usize) -> usize {
    ((2 << 20) / packed.max(1)).clamp(4, 16)
}

enum Work {
    Winograd(winograd::Plan, Option<Vec<f32>>),
    Direct(direct::Backward),
}

impl Work {
    fn group(&self) -> usize {
        match self {
            Self::Winograd(plan, _) => plan.group,
            Self::Direct(_) => 1,
        }
    }

    /// Values of the packed gradient of the weights.
    fn packed(&self, g: &Geometry) -> usize {
        match self {
            Self::Winograd(plan, _) => plan.weights(),
            Self::Direct(_) => direct::packed_len(g),
        }
    }

    /// The inputs' frame, the gradients' with its place in it.
    fn frames(&self, g: &Geometry) -> (Frame, Place) {
        match self {
            Self::Winograd(plan, _) => (plan.frame(), Place { frame: plan.grad_frame(), top: 0, left: 0 }),
            Self::Direct(work) => (g.input_frame(), work.place),
        }
    }
}

struct Task<'a> {
    g: &'a Geometry,
    source: &'a Source<'a>,
    grad: &'a Source<'a>,
    method: &'a Work,
    /// Of the task's pictures.
    dx: Option<Sink<'a>>,
    packed: usize,
    pictures: std::ops::Range<usize>,
}

impl Kernel for Task<'_> {
    type Out = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> Vec<f32> {
        let g = self.g;
        let (input, output, group) = (g.input(), g.output(), self.method.group());
        let (frame, grad_place) = self.method.frames(g);
        let place = Place { frame, top: g.padding, left: g.padding };
        let framed = g.c_blocks() * frame.plane();
        let grad_len = g.o_blocks() * grad_place.frame.plane();
        // The input's gradient: in the input's frame, or without frame where the method does not spill into it.
        let (dx_place, v_len, m_len) = match self.method {
            Work::Winograd(plan, _) => (place, plan.input_strip(), plan.output_strip()),
            Work::Direct(_) => (Place::tight(&input), 0, 0),
        };
        let dx_len = if self.dx.is_some() { g.c_blocks() * dx_place.frame.plane() } else { 0 };
        let want_weight = self.packed > 0;
        // The first group's sums are written, not added, where they cover all of the gradient.
        let mut dw = Unwritten::new(self.packed);
        let written = matches!(self.method, Work::Winograd(..)) && g.c.is_multiple_of(LANES);
        if !written {
            dw.room().fill(MaybeUninit::new(0.0));
        }
        let mut scratch = Scratch::take(group * (framed + grad_len + dx_len) + v_len + m_len);
        let (frames, rest) = scratch.split_at_mut(group * framed);
        let (grads, rest) = rest.split_at_mut(group * grad_len);
        let (dx, rest) = rest.split_at_mut(group * dx_len);
        let (v, rest) = rest.split_at_mut(v_len);
        let m = &mut rest[..m_len];
        let mut first = self.pictures.start;
        while first < self.pictures.end {
            let count = group.min(self.pictures.end - first);
            for index in 0..count {
                let grads = &mut grads[index * grad_len..][..grad_len];
                self.grad.load(s, &output, first + index, grad_place, grads);
                if want_weight {
                    let frames = &mut frames[index * framed..][..framed];
                    self.source.load(s, &input, first + index, place, frames);
                }
            }
            match self.method {
                Work::Winograd(plan, weights) => {
                    dx[..count * dx_len].fill(0.0);
                    let frames = want_weight.then_some(&*frames);
                    let group =
                        winograd::Group { pictures: count, frames, grads, weights: weights.as_deref() };
                    let add = !written || first > self.pictures.start;
                    plan.backward(s, &group, (v, m), dw.room(), add, dx);
                }
                Work::Direct(work) => {
                    if want_weight {
                        // SAFETY: filled with zeros above.
                        let dw = unsafe { dw.room().assume_init_mut() };
                        work.weight_grad(s, g, frames, grads, dw);
                    }
                    if self.dx.is_some() {
                        work.input_grad(s, g, grads, dx);
                    }
                }
            }
            if let Some(sink) = &mut self.dx {
                for index in 0..count {
                    let dx = &dx[index * dx_len..][..dx_len];
                    sink.store(s, &input, first - self.pictures.start + index, dx_place, dx);
                }
            }
            first += count;
        }
        // SAFETY: filled with zeros, or written by the first group.
        unsafe { dw.written() }
    }
}
