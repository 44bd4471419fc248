//! Convolutions by cuDNN.
//!
//! Its heuristics choose the algorithm for each shape, among those that give the same bits every time. Nothing is tried
//! out: what is fastest in a trial differs between runs, and so would the bits.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use candle_core::cuda::cudarc::cudnn::{result, sys};
use candle_core::cuda::cudarc::driver::{CudaSlice, CudaStream};
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{Gpu, address, hold, wrap};
use crate::conv::geometry::Geometry;
use crate::environment;

/// How pictures and weights lie in memory, and in which type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// f32 `(n, c, h, w)`, weights `(o, c, kh, kw)`.
    Planes,
    /// f32 `(n, h, w, c)`, weights `(o, kh, kw, c)`.
    Rows,
    /// The same in bf16.
    RowsBf16,
}

impl Form {
    fn layout(self) -> sys::cudnnTensorFormat_t {
        match self {
            Self::Planes => sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW,
            Self::Rows | Self::RowsBf16 => sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC,
        }
    }

    fn kind(self) -> sys::cudnnDataType_t {
        match self {
            Self::Planes | Self::Rows => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            Self::RowsBf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        }
    }

    fn math(self) -> sys::cudnnMathType_t {
        match self {
            Self::RowsBf16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
            // The default takes TF32.
            _ if environment::tf32() => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            _ => sys::cudnnMathType_t::CUDNN_FMA_MATH,
        }
    }
}

/// The three ways through a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    Forward,
    Input,
    Weight,
}

/// What tells plans apart: form, way, `[n, c, h, w, o, kh, kw, stride, padding]`.
type Key = (Form, Way, [usize; 9]);

fn key(form: Form, way: Way, g: &Geometry) -> Key {
    (form, way, [g.n, g.c, g.h, g.w, g.o, g.kh, g.kw, g.stride, g.padding])
}

/// Dimensions of input, weight and output, as cuDNN takes them whatever the form.
fn dims(g: &Geometry) -> Result<[[i32; 4]; 3]> {
    let all = [[g.n, g.c, g.h, g.w], [g.o, g.c, g.kh, g.kw], [g.n, g.o, g.oh, g.ow]];
    let mut out = [[0; 4]; 3];
    for (out, dims) in out.iter_mut().zip(all) {
        if dims.iter().product::<usize>() > i32::MAX as usize {
            bail!("conv2d: {dims:?} is more than cuDNN takes");
        }
        *out = dims.map(|dim| dim as i32);
    }
    Ok(out)
}

/// Descriptors of a shape and the algorithm for it.
struct Plan {
    x: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
    algorithm: Algorithm,
    workspace: usize,
}

#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Input(sys::cudnnConvolutionBwdDataAlgo_t),
    Weight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

// SAFETY: descriptors are plain data of the library, changed by nobody once a plan is made.
unsafe impl Send for Plan {}
// SAFETY: as above.
unsafe impl Sync for Plan {}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: the descriptors were made with the plan and are destroyed once.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_filter_descriptor(self.w);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_convolution_descriptor(self.conv);
        }
    }
}

/// cuDNN for one device.
pub(super) struct Dnn {
    handle: sys::cudnnHandle_t,
    plans: HashMap<Key, Arc<Plan>>,
    workspace: Option<CudaSlice<u8>>,
}

// SAFETY: a handle may move between threads; one thread at a time uses it, behind a lock.
unsafe impl Send for Dnn {}

impl Drop for Dnn {
    fn drop(&mut self) {
        // SAFETY: the handle is destroyed once.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// Algorithms that cuDNN is asked for.
const ASKED: usize = 10;
/// An algorithm that wants more memory is not taken.
const MOST_WORKSPACE: usize = 1 << 30;

/// The first result that works, repeats its bits, and stays within the memory: algorithm and bytes.
macro_rules! choose {
    ($results:expr, $count:expr) => {
        $results[..($count as usize).min(ASKED)]
            .iter()
            // Inside the caller's unsafe block: cuDNN wrote the first `count` of them.
            .map(|result| result.assume_init_ref())
            .find(|result| {
                result.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS
                    && result.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC
                    && result.memory <= MOST_WORKSPACE
            })
            .map(|result| (result.algo, result.memory, result.mathType))
    };
}

impl Dnn {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        stream.context().bind_to_thread().map_err(wrap)?;
        let handle = result::create_handle().map_err(wrap)?;
        let dnn = Self { handle, plans: HashMap::new(), workspace: None };
        // SAFETY: handle and stream are alive.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(wrap)?;
        Ok(dnn)
    }

    fn plan(&mut self, form: Form, way: Way, g: &Geometry) -> Result<Arc<Plan>> {
        let key = key(form, way, g);
        if let Some(plan) = self.plans.get(&key) {
            return Ok(Arc::clone(plan));
        }
        let [dx, dw, dy] = dims(g)?;
        let plan = Plan {
            x: result::create_tensor_descriptor().map_err(wrap)?,
            w: result::create_filter_descriptor().map_err(wrap)?,
            y: result::create_tensor_descriptor().map_err(wrap)?,
            conv: result::create_convolution_descriptor().map_err(wrap)?,
            algorithm: Algorithm::Forward(sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_GEMM),
            workspace: 0,
        };
        let (padding, stride) = (g.padding as i32, g.stride as i32);
        let (layout, kind) = (form.layout(), form.kind());
        let mut plan = plan;
        let mut count = 0;
        // SAFETY: the descriptors were just made; cuDNN writes at most as many results as it is asked for.
        unsafe {
            result::set_tensor4d_descriptor(plan.x, layout, kind, dx).map_err(wrap)?;
            result::set_filter4d_descriptor(plan.w, kind, layout, dw).map_err(wrap)?;
            result::set_tensor4d_descriptor(plan.y, layout, kind, dy).map_err(wrap)?;
            let cross = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
            let float = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
            result::set_convolution2d_descriptor(
                plan.conv, padding, padding, stride, stride, 1, 1, cross, float,
            )
            .map_err(wrap)?;
            result::set_convolution_math_type(plan.conv, form.math()).map_err(wrap)?;
            let asked = ASKED as i32;
            let chosen = match way {
                Way::Forward => {
                    let mut results = [const { std::mem::MaybeUninit::uninit() }; ASKED];
                    let to = results.as_mut_ptr().cast();
                    result::get_convolution_forward_algorithm(
                        self.handle,
                        plan.x,
                        plan.w,
                        plan.conv,
                        plan.y,
                        asked,
                        &raw mut count,
                        to,
                    )
                    .map_err(wrap)?;
                    let results: [std::mem::MaybeUninit<sys::cudnnConvolutionFwdAlgoPerf_t>; ASKED] = results;
                    choose!(results, count).map(|(a, memory, math)| (Algorithm::Forward(a), memory, math))
                }
                Way::Input => {
                    let mut results = [const { std::mem::MaybeUninit::uninit() }; ASKED];
                    let to = results.as_mut_ptr().cast();
                    result::get_convolution_backward_data_algorithm(
                        self.handle,
                        plan.w,
                        plan.y,
                        plan.conv,
                        plan.x,
                        asked,
                        &raw mut count,
                        to,
                    )
                    .map_err(wrap)?;
                    let results: [std::mem::MaybeUninit<sys::cudnnConvolutionBwdDataAlgoPerf_t>; ASKED] =
                        results;
                    choose!(results, count).map(|(a, memory, math)| (Algorithm::Input(a), memory, math))
                }
                Way::Weight => {
                    let mut results = [const { std::mem::MaybeUninit::uninit() }; ASKED];
                    let to = results.as_mut_ptr().cast();
                    result::get_convolution_backward_filter_algorithm(
                        self.handle,
                        plan.x,
                        plan.y,
                        plan.conv,
                        plan.w,
                        asked,
                        &raw mut count,
                        to,
                    )
                    .map_err(wrap)?;
                    let results: [std::mem::MaybeUninit<sys::cudnnConvolutionBwdFilterAlgoPerf_t>; ASKED] =
                        results;
                    choose!(results, count).map(|(a, memory, math)| (Algorithm::Weight(a), memory, math))
                }
            };
            let Some((algorithm, memory, math)) = chosen else {
                bail!("conv2d: cuDNN knows no algorithm that repeats its bits for {way:?} of {g:?}")
            };
            result::set_convolution_math_type(plan.conv, math).map_err(wrap)?;
            (plan.algorithm, plan.workspace) = (algorithm, memory);
        }
        let plan = Arc::new(plan);
        self.plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }
}

impl Gpu {
    /// A convolution's output, or the gradient of its input or weight, from the two others: `to` becomes the result plus
    /// `beta` times what is there.
    ///
    /// # Safety
    /// The addresses hold what the geometry says in `form`.
    unsafe fn convolve(
        &self,
        form: Form,
        way: Way,
        g: &Geometry,
        [x, w, y]: [u64; 3],
        beta: f32,
    ) -> Result<()> {
        let mut dnn = self.shared.dnn.lock().unwrap_or_else(PoisonError::into_inner);
        self.stream.context().bind_to_thread().map_err(wrap)?;
        let plan = dnn.plan(form, way, g)?;
        if dnn.workspace.as_ref().is_none_or(|workspace| workspace.len() < plan.workspace) {
            dnn.workspace = Some(self.take::<u8>(plan.workspace)?);
        }
        let workspace = dnn.workspace.as_ref().map_or(0, |workspace| self.at(workspace)) as *mut _;
        let (alpha, size, handle) = (1.0_f32, plan.workspace, dnn.handle);
        let (alpha, beta) = ((&raw const alpha).cast(), (&raw const beta).cast());
        // SAFETY: the plan is for this geometry and form, and the caller vouches for the addresses.
        let convolve = || unsafe {
            match plan.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle,
                    alpha,
                    plan.x,
                    x as *const _,
                    plan.w,
                    w as *const _,
                    plan.conv,
                    algorithm,
                    workspace,
                    size,
                    beta,
                    plan.y,
                    y as *mut _,
                ),
                Algorithm::Input(algorithm) => result::convolution_backward_data(
                    handle,
                    alpha,
                    plan.w,
                    w as *const _,
                    plan.y,
                    y as *const _,
                    plan.conv,
                    algorithm,
                    workspace,
                    size,
                    beta,
                    plan.x,
                    x as *mut _,
                ),
                Algorithm::Weight(algorithm) => result::convolution_backward_filter(
                    handle,
                    alpha,
                    plan.x,
                    x as *const _,
                    plan.y,
                    y as *const _,
                    plan.conv,
                    algorithm,
                    workspace,
                    size,
                    beta,
                    plan.w,
                    w as *mut _,
                ),
            }
            .map_err(wrap)
        };
        let name = || {
            let Geometry { c, o, h, w, kh, kw, stride, .. } = *g;
            format!(
                "{way:?} of {form:?} {c}×{h}×{w} by {o} of {kh}×{kw} stride {stride}: {:?}",
                plan.algorithm
            )
        };
        self.timed(name, convolve)
    }

    /// y = x ∗ w
    ///
    /// # Safety
    /// The addresses hold what the geometry says in `form`.
    pub(super) unsafe fn conv(&self, form: Form, g: &Geometry, x: u64, w: u64, y: u64) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe { self.convolve(form, Way::Forward, g, [x, w, y], 0.0) }
    }

    /// The gradient of x, which with `join` joins what is there.
    ///
    /// # Safety
    /// As for [`Gpu::conv`].
    pub(super) unsafe fn conv_input(
        &self,
        form: Form,
        g: &Geometry,
        (dx, join): (u64, bool),
        w: u64,
        dy: u64,
    ) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe { self.convolve(form, Way::Input, g, [dx, w, dy], if join { 1.0 } else { 0.0 }) }
    }

    /// The gradient of w.
    ///
    /// # Safety
    /// As for [`Gpu::conv`].
    pub(super) unsafe fn conv_weight(
        &self,
        form: Form,
        g: &Geometry,
        x: u64,
        dw: u64,
        dy: u64,
    ) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe { self.convolve(form, Way::Weight, g, [x, dw, dy], 0.0) }
    }
}

/// [`crate::conv2d`] in f32, checked.
pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, geometry: Geometry) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Conv(geometry))
}

struct Conv(Geometry);

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("conv2d: tensors on a GPU are wanted")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        w: &CudaStorage,
        lw: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let g = &self.0;
        let gpu = Gpu::new(&x.device)?;
        let shape = Shape::from((g.n, g.o, g.oh, g.ow));
        let y = gpu.floats(shape.elem_count())?;
        // SAFETY: the geometry was made for these shapes.
        unsafe {
            gpu.conv(Form::Planes, g, address::<f32>(x, lx)?, address::<f32>(w, lw)?, gpu.at(&y))?;
        }
        Ok((gpu.storage(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (g, gpu) = (&self.0, Gpu::of(x)?);
        let [xs, ws, gs] = [hold(x)?, hold(weight)?, hold(grad)?];
        let (mut input, mut of_weight) = (None, None);
        // SAFETY: as above.
        unsafe {
            if x.track_op() {
                let dx = gpu.floats(x.elem_count())?;
                gpu.conv_input(Form::Planes, g, (gpu.at(&dx), false), ws.at, gs.at)?;
                input = Some(gpu.tensor(dx, x.shape()));
            }
            if weight.track_op() {
                let dw = gpu.floats(weight.elem_count())?;
                gpu.conv_weight(Form::Planes, g, xs.at, gpu.at(&dw), gs.at)?;
                of_weight = crate::gradient::give(weight, gpu.tensor(dw, weight.shape()));
            }
        }
        Ok((input, of_weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_and_keys() -> Result<()> {
        let g = Geometry::new((8, 3, 32, 30), (16, 3, 7, 5), 2, 2)?;
        assert_eq!(dims(&g)?, [[8, 3, 32, 30], [16, 3, 7, 5], [8, 16, 15, 15]]);
        let other = Geometry::new((8, 3, 32, 30), (16, 3, 7, 5), 2, 1)?;
        let keys = [
            key(Form::Rows, Way::Forward, &g),
            key(Form::RowsBf16, Way::Forward, &g),
            key(Form::Rows, Way::Weight, &g),
            key(Form::Rows, Way::Forward, &other),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|b| a != b), "{a:?}");
        }
        let huge = Geometry::new((70_000, 64, 32, 32), (64, 64, 3, 3), 1, 1)?;
        let error = dims(&huge).unwrap_err().to_string();
        assert!(error.contains("[70000, 64, 32, 32] is more than cuDNN takes"), "{error}");
        Ok(())
    }
}
