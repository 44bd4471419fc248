//! Matrix products by cuBLAS, on matrices that lie row after row.

use std::ffi::c_void;

use candle_core::cuda::cudarc::cublas::{result, sys};
use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::times::timed;
use super::{Gpu, address, hold, words, wrap};
pub(super) use crate::arguments::Operand;
use crate::arguments::{Gemm, int};
use crate::{Precision, environment};

fn operation(transposed: bool) -> sys::cublasOperation_t {
    if transposed { sys::cublasOperation_t::CUBLAS_OP_T } else { sys::cublasOperation_t::CUBLAS_OP_N }
}

impl Gpu {
    /// out = `alpha` a b + `beta` out, `count` times over operands one after the other.
    ///
    /// # Safety
    /// The operands lie at their addresses, and `out` has room for the product.
    pub(super) unsafe fn products(
        &self,
        precision: Precision,
        (a, b): (Operand, Operand),
        out: u64,
        count: usize,
        (alpha, beta): (f32, f32),
    ) -> Result<()> {
        let (gemm, products) = (Gemm::new(a, b)?, int("product", "products at once", count)?);
        let Gemm { rows, columns, depth, transposed, leading, stride } = gemm;
        let [op_b, op_a] = transposed.map(operation);
        let (rounded_a, rounded_b);
        let (mut from_a, mut from_b) = (a.at, b.at);
        let (kind, compute) = match precision {
            Precision::F32 if environment::tf32() => {
                (sys::cudaDataType_t::CUDA_R_32F, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32)
            }
            Precision::F32 => (sys::cudaDataType_t::CUDA_R_32F, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F),
            Precision::Bf16 => {
                // SAFETY: the operands lie there.
                rounded_a = unsafe { self.rounded(a.at, count * a.len())? };
                from_a = self.at(&rounded_a);
                // SAFETY: as above.
                rounded_b = unsafe { self.rounded(b.at, count * b.len())? };
                from_b = self.at(&rounded_b);
                (sys::cudaDataType_t::CUDA_R_16BF, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F)
            }
        };
        let float = sys::cudaDataType_t::CUDA_R_32F;
        let blas = self.device.cublas_handle();
        self.stream.context().bind_to_thread().map_err(wrap)?;
        let (alpha, beta) = ((&raw const alpha).cast(), (&raw const beta).cast());
        let (from_a, from_b, out) = (from_a as *const c_void, from_b as *const c_void, out as *mut c_void);
        let algorithm = sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;
        let multiply = || {
            // SAFETY: the caller guarantees operands and output.
            unsafe {
                if count == 1 {
                    result::gemm_ex(
                        *blas.handle(),
                        op_b,
                        op_a,
                        rows,
                        columns,
                        depth,
                        alpha,
                        from_b,
                        kind,
                        leading[0],
                        from_a,
                        kind,
                        leading[1],
                        beta,
                        out,
                        float,
                        rows,
                        compute,
                        algorithm,
                    )
                } else {
                    result::gemm_strided_batched_ex(
                        *blas.handle(),
                        op_b,
                        op_a,
                        rows,
                        columns,
                        depth,
                        alpha,
                        from_b,
                        kind,
                        leading[0],
                        stride[0],
                        from_a,
                        kind,
                        leading[1],
                        stride[1],
                        beta,
                        out,
                        float,
                        rows,
                        gemm.output_stride(),
                        products,
                        compute,
                        algorithm,
                    )
                }
            }
            .map_err(wrap)
        };
        timed(&self.stream, || format!("product {count} of {columns}×{depth}×{rows}"), multiply)
    }

    /// out = a b
    ///
    /// # Safety
    /// As for [`Gpu::products`].
    pub(super) unsafe fn product(
        &self,
        precision: Precision,
        a: Operand,
        b: Operand,
        out: u64,
    ) -> Result<()> {
        // SAFETY: guaranteed by the caller.
        unsafe { self.products(precision, (a, b), out, 1, (1.0, 0.0)) }
    }

    /// A copy in bf16.
    ///
    /// # Safety
    /// There are `n` values at the address.
    pub(super) unsafe fn rounded(&self, at: u64, n: usize) -> Result<CudaSlice<u16>> {
        let to = self.take::<u16>(n)?;
        // SAFETY: both have n values.
        unsafe { self.each("to_bf16", n, words![at, self.at(&to), n as u64])? };
        Ok(to)
    }
}

/// a b in `precision`, with sums and result in f32: `(…, m, k)` and `(…, k, n)` of the same leading dimensions.
pub(crate) fn matmul(precision: Precision, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.contiguous()?.apply_op2(&b.contiguous()?, Matmul(precision))
}

struct Matmul(Precision);

/// The matrices of a tensor, of which only the first is named, and their number.
fn matrices(at: u64, dims: &[usize]) -> Result<(Operand, usize)> {
    match dims {
        [leading @ .., rows, columns] => Ok((Operand::new(at, *rows, *columns), leading.iter().product())),
        _ => bail!("product: {dims:?} is no matrix"),
    }
}

impl CustomOp2 for Matmul {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("product: expected tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        la: &Layout,
        b: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&a.device)?;
        let (left, count) = matrices(address::<f32>(a, la)?, la.dims())?;
        let (right, others) = matrices(address::<f32>(b, lb)?, lb.dims())?;
        if count != others {
            bail!("product: {:?} and {:?} do not fit", la.shape(), lb.shape());
        }
        let y = gpu.floats(count * left.rows * right.columns)?;
        // SAFETY: there are `count` matrices each, and y has room for their products.
        unsafe { gpu.products(self.0, (left, right), gpu.at(&y), count, (1.0, 0.0))? };
        let mut dims = la.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = right.columns;
        }
        Ok((gpu.storage(y), Shape::from(dims)))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(a)?;
        let [of_a, of_b, of_y] = [hold(a)?, hold(b)?, hold(grad)?];
        let (left, count) = matrices(of_a.at, a.dims())?;
        let (right, _) = matrices(of_b.at, b.dims())?;
        let (slopes, _) = matrices(of_y.at, grad.dims())?;
        let product = |of: &Tensor, operands| -> Result<Tensor> {
            let to = gpu.floats(of.elem_count())?;
            // SAFETY: the shapes are those of the forward pass, and there is room for the gradient.
            unsafe { gpu.products(self.0, operands, gpu.at(&to), count, (1.0, 0.0))? };
            Ok(gpu.tensor(to, of.shape()))
        };
        let d_a = a.track_op().then(|| product(a, (slopes, right.t()))).transpose()?;
        let d_b = b.track_op().then(|| product(b, (left.t(), slopes))).transpose()?;
        Ok((d_a, d_b))
    }
}
