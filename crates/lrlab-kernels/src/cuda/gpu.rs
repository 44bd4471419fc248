//! A device ready for launches, and the addresses that kernels take.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use candle_core::cuda::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, result, sys,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};

use super::error::wrap;
use super::times::timed;
use crate::arguments::int;
pub(crate) use crate::arguments::{Word, words};

/// As the launches take it.
pub(super) const BLOCK: u32 = crate::tiles::BLOCK as u32;

/// The device code, compiled by the build script.
const MODULES: [&str; 2] = [
    include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/conv.ptx")),
];

/// What a device keeps between operators.
struct Shared {
    modules: Vec<Arc<candle_core::cuda::cudarc::driver::CudaModule>>,
    functions: Mutex<HashMap<String, CudaFunction>>,
    /// A set per stream, which the device's threads share unless each has its own; zeros between kernels.
    counters: Mutex<HashMap<Option<ThreadId>, Arc<CudaSlice<u32>>>>,
}

/// The handle that means another stream in each thread, `CU_STREAM_PER_THREAD`.
const STREAM_PER_THREAD: usize = 2;

static DEVICES: Mutex<Vec<(candle_core::cuda::DeviceId, Arc<Shared>)>> = Mutex::new(Vec::new());

/// A device, ready for launches.
#[derive(Clone)]
pub(crate) struct Gpu {
    pub(super) device: CudaDevice,
    pub(super) stream: Arc<CudaStream>,
    shared: Arc<Shared>,
}

impl Gpu {
    pub(crate) fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        let id = device.id();
        let known = devices.iter().find(|(known, _)| *known == id).map(|(_, shared)| Arc::clone(shared));
        let shared = if let Some(shared) = known {
            shared
        } else {
            let load = |ptx: &str| match stream.context().load_module(ptx.into()) {
                Ok(module) => Ok(module),
                Err(error) => bail!(
                    "this GPU does not load the kernels of this build ({error}): build on the machine of the GPU, or with \
                     CUDA_COMPUTE_CAP set to its compute capability"
                ),
            };
            let shared = Arc::new(Shared {
                modules: MODULES.into_iter().map(load).collect::<Result<_>>()?,
                functions: Mutex::default(),
                counters: Mutex::default(),
            });
            devices.push((id, Arc::clone(&shared)));
            shared
        };
        Ok(Self { device: device.clone(), stream, shared })
    }

    /// The device of a tensor on a GPU.
    pub(crate) fn of(x: &Tensor) -> Result<Self> {
        Self::new(x.device().as_cuda_device()?)
    }

    /// Memory for `len` values; the contents are unspecified.
    pub(crate) fn take<T: DeviceRepr>(&self, len: usize) -> Result<CudaSlice<T>> {
        // SAFETY: the caller writes it before it is read.
        unsafe { self.device.alloc::<T>(len.max(1)) }
    }

    /// Memory for `len` f32.
    pub(crate) fn floats(&self, len: usize) -> Result<CudaSlice<f32>> {
        self.take(len)
    }

    pub(crate) fn zeros(&self, len: usize) -> Result<CudaSlice<f32>> {
        self.device.alloc_zeros(len.max(1))
    }

    /// Its address on the device.
    pub(crate) fn at<T>(&self, slice: &CudaSlice<T>) -> u64 {
        slice.device_ptr(&self.stream).0
    }

    /// The counters of this stream: of blocks that have finished, one per tile of columns, `tiles` or more. They are held
    /// until the kernel is launched.
    pub(super) fn counters(&self, tiles: usize) -> Result<Arc<CudaSlice<u32>>> {
        let per_thread = self.stream.cu_stream().addr() == STREAM_PER_THREAD;
        let thread = per_thread.then(|| std::thread::current().id());
        let mut counters = self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = counters.get(&thread).filter(|known| known.len() >= tiles) {
            return Ok(Arc::clone(known));
        }
        let more = Arc::new(self.stream.alloc_zeros(tiles.next_power_of_two().max(1024)).map_err(wrap)?);
        counters.insert(thread, Arc::clone(&more));
        Ok(more)
    }

    /// Finds a kernel, and makes the device's context current.
    pub(super) fn function(&self, name: &str) -> Result<sys::CUfunction> {
        self.stream.context().bind_to_thread().map_err(wrap)?;
        let mut functions = self.shared.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(function.cu_function());
        }
        for module in &self.shared.modules {
            match module.load_function(name) {
                Ok(function) => {
                    let raw = function.cu_function();
                    functions.insert(name.to_owned(), function);
                    return Ok(raw);
                }
                Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND)) => {}
                Err(error) => bail!("kernel {name} does not load: {error}"),
            }
        }
        bail!("kernel {name} does not exist")
    }

    /// Starts a kernel.
    ///
    /// # Safety
    /// The words are the kernel's arguments in their order, and its addresses have room for what it reads and writes.
    pub(crate) unsafe fn launch(
        &self,
        name: &str,
        grid: (u32, u32, u32),
        block: u32,
        shared: u32,
        words: &[Word],
    ) -> Result<()> {
        Word::check(name, words)?;
        let mut arguments = [std::ptr::null_mut(); 32];
        for (argument, word) in arguments.iter_mut().zip(words) {
            *argument = (&raw const word.bits).cast_mut().cast();
        }
        // SAFETY: the caller guarantees the words, which outlive the launch.
        unsafe { self.launch_raw(name, grid, block, shared, &mut arguments[..words.len()]) }
    }

    /// [`Gpu::launch`] with addresses of arguments.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    pub(crate) unsafe fn launch_raw(
        &self,
        name: &str,
        grid: (u32, u32, u32),
        block: u32,
        shared: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        // SAFETY: guaranteed by the caller.
        unsafe { self.launch_called(|| name.to_owned(), name, grid, block, shared, arguments) }
    }

    /// The same, under another name in tables of times.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    pub(crate) unsafe fn launch_called(
        &self,
        called: impl FnOnce() -> String,
        name: &str,
        grid: (u32, u32, u32),
        block: u32,
        shared: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        let function = self.function(name)?;
        let stream = self.stream.cu_stream();
        let launch = || {
            // SAFETY: the caller guarantees the arguments.
            unsafe { result::launch_kernel(function, grid, (block, 1, 1), shared, stream, arguments) }
                .map_err(wrap)
        };
        timed(&self.stream, called, launch)
    }

    /// Starts a kernel whose threads share `n` elements among them.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    pub(crate) unsafe fn each(&self, name: &str, n: usize, words: &[Word]) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        // SAFETY: guaranteed by the caller.
        unsafe { self.launch(name, (blocks(n), 1, 1), BLOCK, 0, words) }
    }

    /// Starts a kernel with a warp per row.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    pub(crate) unsafe fn rows(&self, name: &str, rows: usize, words: &[Word]) -> Result<()> {
        let rows = int(name, "rows", rows)? as u32;
        // SAFETY: guaranteed by the caller.
        unsafe { self.launch(name, (rows.div_ceil(4), 1, 1), 128, 0, words) }
    }

    /// A tensor without history from its elements.
    pub(crate) fn tensor(&self, data: CudaSlice<f32>, shape: impl Into<Shape>) -> Tensor {
        Tensor::from_storage(Storage::Cuda(self.storage(data)), shape, BackpropOp::none(), false)
    }

    pub(crate) fn storage(&self, data: CudaSlice<f32>) -> CudaStorage {
        CudaStorage::wrap_cuda_slice(data, self.device.clone())
    }
}

/// Blocks for `n` elements; more than these only wait for each other.
pub(super) fn blocks(n: usize) -> u32 {
    n.div_ceil(BLOCK as usize).clamp(1, 132 * 16) as u32
}

/// The address of a contiguous tensor's first element.
pub(crate) fn address<T: candle_core::cuda::CudaDType + DeviceRepr>(
    storage: &CudaStorage,
    layout: &Layout,
) -> Result<u64> {
    let Some((start, _)) = layout.contiguous_offsets() else { bail!("expected a contiguous tensor") };
    let slice = storage.as_cuda_slice::<T>()?;
    Ok(slice.device_ptr(slice.stream()).0 + (start * size_of::<T>()) as u64)
}

/// A contiguous tensor on a GPU, held while its address is used.
pub(crate) struct Held {
    _tensor: Tensor,
    pub(crate) at: u64,
}

/// Holds a tensor of f32.
pub(crate) fn hold(x: &Tensor) -> Result<Held> {
    hold_as::<f32>(x)
}

/// Holds a tensor of i64.
pub(crate) fn hold_i64(x: &Tensor) -> Result<Held> {
    hold_as::<i64>(x)
}

/// Holds a tensor of u32.
pub(crate) fn hold_u32(x: &Tensor) -> Result<Held> {
    hold_as::<u32>(&x.to_dtype(DType::U32)?)
}

fn hold_as<T: candle_core::cuda::CudaDType + DeviceRepr>(x: &Tensor) -> Result<Held> {
    let x = x.contiguous()?;
    let at = {
        let (storage, layout) = x.storage_and_layout();
        match &*storage {
            Storage::Cuda(cuda) => address::<T>(cuda, layout)?,
            _ => bail!("expected a tensor on a GPU"),
        }
    };
    Ok(Held { _tensor: x, at })
}
