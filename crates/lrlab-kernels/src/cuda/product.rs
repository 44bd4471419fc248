//! Matrix products by cuBLAS, on matrices that lie row after row.

use std::ffi::c_void;

use candle_core::cuda::cudarc::cublas::{result, sys};
use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{Result, bail};

use super::times::timed;
use super::{Gpu, words, wrap};
use crate::arguments::Gemm;
pub(super) use crate::arguments::Operand;
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
        let Some(gemm) = Gemm::new(a, b) else { bail!("product: {a:?} and {b:?} do not fit") };
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
                        count as i32,
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
