//! Matrix products by cuBLAS, on matrices that lie row after row.

use std::ffi::c_void;

use candle_core::Result;
use candle_core::cuda::cudarc::cublas::{result, sys};
use candle_core::cuda::cudarc::driver::CudaSlice;

use super::times::timed;
use super::{Gpu, words, wrap};
use crate::{Precision, environment};

/// An operand: `rows` × `columns` as it lies in memory, without gaps.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) at: u64,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Its transpose is multiplied.
    pub(super) transposed: bool,
}

impl Operand {
    pub(super) fn new(at: u64, rows: usize, columns: usize) -> Self {
        Self { at, rows, columns, transposed: false }
    }

    pub(super) fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// Rows and columns of the factor.
    fn shape(self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }

    fn op(self) -> sys::cublasOperation_t {
        if self.transposed {
            sys::cublasOperation_t::CUBLAS_OP_T
        } else {
            sys::cublasOperation_t::CUBLAS_OP_N
        }
    }
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
        let ((m, k), (_, n)) = (a.shape(), b.shape());
        debug_assert_eq!(k, b.shape().0);
        let (rounded_a, rounded_b);
        let (mut from_a, mut from_b) = (a.at, b.at);
        let (kind, compute) = match precision {
            Precision::F32 if environment::tf32() => {
                (sys::cudaDataType_t::CUDA_R_32F, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32)
            }
            Precision::F32 => (sys::cudaDataType_t::CUDA_R_32F, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F),
            Precision::Bf16 => {
                // SAFETY: the operands lie there.
                rounded_a = unsafe { self.rounded(a.at, count * a.rows * a.columns)? };
                from_a = self.at(&rounded_a);
                // SAFETY: as above.
                rounded_b = unsafe { self.rounded(b.at, count * b.rows * b.columns)? };
                from_b = self.at(&rounded_b);
                (sys::cudaDataType_t::CUDA_R_16BF, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F)
            }
        };
        let float = sys::cudaDataType_t::CUDA_R_32F;
        let stride = |of: Operand| (of.rows * of.columns) as i64;
        let blas = self.device.cublas_handle();
        self.stream.context().bind_to_thread().map_err(wrap)?;
        // cuBLAS' matrices lie column after column, so it sees the transposes, whose product is bᵀ aᵀ.
        let (alpha, beta) = ((&raw const alpha).cast(), (&raw const beta).cast());
        let (from_a, from_b, out) = (from_a as *const c_void, from_b as *const c_void, out as *mut c_void);
        let [m, n, k] = [m, n, k].map(|size| size as i32);
        let (ld_a, ld_b) = (a.columns as i32, b.columns as i32);
        let algorithm = sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;
        let multiply = || {
            // SAFETY: the caller guarantees operands and output.
            unsafe {
                if count == 1 {
                    result::gemm_ex(
                        *blas.handle(),
                        b.op(),
                        a.op(),
                        n,
                        m,
                        k,
                        alpha,
                        from_b,
                        kind,
                        ld_b,
                        from_a,
                        kind,
                        ld_a,
                        beta,
                        out,
                        float,
                        n,
                        compute,
                        algorithm,
                    )
                } else {
                    let size = i64::from(m) * i64::from(n);
                    result::gemm_strided_batched_ex(
                        *blas.handle(),
                        b.op(),
                        a.op(),
                        n,
                        m,
                        k,
                        alpha,
                        from_b,
                        kind,
                        ld_b,
                        stride(b),
                        from_a,
                        kind,
                        ld_a,
                        stride(a),
                        beta,
                        out,
                        float,
                        n,
                        size,
                        count as i32,
                        compute,
                        algorithm,
                    )
                }
            }
            .map_err(wrap)
        };
        timed(&self.stream, || format!("product {count} of {m}×{k}×{n}"), multiply)
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
