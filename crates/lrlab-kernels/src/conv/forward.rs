//! The forward pass, a few pictures at a time.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use rayon::prelude::*;

use super::direct;
use super::gemm;
use super::geometry::{Frame, Geometry, Method, Sizes};
use super::moments::{Moments, measure};
use super::source::{Place, Sink, Source};
use super::winograd;
use crate::host::Scratch;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Pictures of one task.
const PER_TASK: usize = 8;

/// Convolves the pictures of `source` and writes the result to `sink`. With `moments`, returns the moments of each
/// output channel, for whole blocks of channels; otherwise an empty vector.
pub(crate) fn run(
    g: &Geometry,
    source: &Source<'_>,
    weight: &[f32],
    sink: Sink<'_>,
    moments: bool,
) -> Vec<Moments> {
    assert!(source.holds(&g.input()) && sink.holds(&g.output()) && weight.len() == g.o * g.c * g.kh * g.kw);
    let weights = match g.method() {
        Method::Winograd => Weights::Winograd(winograd::Plan::new(g), winograd::weights(g, weight)),
        Method::Gemm => return gemm::forward(g, source, weight, sink, moments),
        Method::Direct => Weights::Direct(direct::taps(g), direct::pack_weights(g, weight)),
    };
    let group = weights.group();
    let per_task = PER_TASK.next_multiple_of(group);
    let tasks: Vec<Vec<Moments>> = sink
        .split(&g.output(), per_task)
        .into_par_iter()
        .enumerate()
        .map(|(task, sink)| {
            let pictures = task * per_task..((task + 1) * per_task).min(g.n);
            dispatch(Task { g, source, weights: &weights, sink, moments, pictures })
        })
        .collect();
    let mut all = vec![Moments::default(); if moments { g.o_blocks() * LANES } else { 0 }];
    for task in tasks {
        for (all, part) in all.iter_mut().zip(task) {
            *all = all.merge(part);
        }
    }
    all
}

enum Weights {
    Winograd(winograd::Plan, Vec<f32>),
    Direct(Vec<usize>, Vec<f32>),
}

impl Weights {
    /// Pictures worked on together.
    fn group(&self) -> usize {
        match self {
            Self::Winograd(plan, _) => plan.group,
            Self::Direct(..) => 1,
        }
    }

    fn frame(&self, g: &Geometry) -> Frame {
        match self {
            Self::Winograd(plan, _) => plan.frame(),
            Self::Direct(..) => g.input_frame(),
        }
    }

    /// Values of the transformed strips.
    fn strips(&self) -> (usize, usize) {
        match self {
            Self::Winograd(plan, _) => (plan.input_strip(), plan.output_strip()),
            Self::Direct(..) => (0, 0),
        }
    }
}

struct Task<'a> {
    g: &'a Geometry,
    source: &'a Source<'a>,
    weights: &'a Weights,
    /// Of the task's pictures.
    sink: Sink<'a>,
    moments: bool,
    pictures: std::ops::Range<usize>,
}

impl Kernel for Task<'_> {
    type Out = Vec<Moments>;

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> Vec<Moments> {
        let g = self.g;
        let (input, output) = (g.input(), g.output());
        let (group, frame) = (self.weights.group(), self.weights.frame(g));
        let framed = g.c_blocks() * frame.plane();
        let (v_len, m_len) = self.weights.strips();
        let own = if matches!(self.sink, Sink::Blocks(_)) { 0 } else { output.picture() };
        let mut scratch = Scratch::take(group * (framed + own) + v_len + m_len);
        let (frames, rest) = scratch.split_at_mut(group * framed);
        let (outs, rest) = rest.split_at_mut(group * own);
        let (v, rest) = rest.split_at_mut(v_len);
        let m = &mut rest[..m_len];
        let mut moments = vec![Moments::default(); if self.moments { g.o_blocks() * LANES } else { 0 }];
        let mut to = Vec::with_capacity(group);
        let place = Place { frame, top: g.padding, left: g.padding };
        let mut first = self.pictures.start;
        while first < self.pictures.end {
            let count = group.min(self.pictures.end - first);
            for (index, frame) in frames.chunks_exact_mut(framed).take(count).enumerate() {
                self.source.load(s, &input, first + index, place, frame);
            }
            to.clear();
            match self.sink.in_place(&output, first - self.pictures.start) {
                Some(places) => to.extend(places.take(count).map(|place| place.as_mut_ptr().cast::<f32>())),
                None => to.extend(outs.chunks_exact_mut(own).take(count).map(<[f32]>::as_mut_ptr)),
            }
            // SAFETY: each place is that of one picture, in the sink or in the scratch.
            unsafe {
                match self.weights {
                    Weights::Winograd(plan, weights) => {
                        plan.forward(s, &frames[..count * framed], weights, (v, m), &to);
                    }
                    Weights::Direct(taps, weights) => {
                        let out = std::slice::from_raw_parts_mut(to[0], output.picture());
                        direct::forward(s, g, &frames[..framed], taps, weights, out);
                    }
                }
                self.hand_over(s, &output, first, &to, &mut moments);
            }
            first += count;
        }
        moments
    }
}

impl Task<'_> {
    /// # Safety
    /// Each place holds a picture.
    #[inline(always)]
    unsafe fn hand_over<S: Simd>(
        &mut self,
        s: S,
        output: &Sizes,
        first: usize,
        to: &[*mut f32],
        moments: &mut [Moments],
    ) {
        for (index, picture) in to.iter().enumerate() {
            // SAFETY: guaranteed by the caller.
            unsafe {
                for (block, moments) in moments.chunks_mut(LANES).enumerate() {
                    measure(s, picture.add(block * output.plane()), output.pixels(), moments);
                }
                if !matches!(self.sink, Sink::Blocks(_)) {
                    let blocks = std::slice::from_raw_parts(*picture, output.picture());
                    let index = first - self.pictures.start + index;
                    self.sink.store(s, output, index, Place::tight(output), blocks);
                }
            }
        }
    }
}
