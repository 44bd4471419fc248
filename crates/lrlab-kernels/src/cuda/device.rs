//! Opening a GPU, and what is known of it.

#![allow(unsafe_code, reason = "the driver's attributes are read and written by address")]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::{result, sys::CUmemPool_attribute as PoolAttribute};
use candle_core::{Device, Result};

use super::wrap;
use crate::{DeviceMemory, environment};

/// See [`crate::open_cuda`].
pub(crate) fn open(ordinal: usize) -> Result<Device> {
    // One per GPU: two would have a stream each.
    static OPENED: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = opened.get(&ordinal) {
        return Ok(device.clone());
    }
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?;
    // SAFETY: tensors of this device are used on its one stream only.
    unsafe { cuda.disable_event_tracking() };
    if cuda.cuda_stream().context().has_async_alloc() {
        let mut most = u64::MAX;
        // SAFETY: the pool is the device's own, and the attribute is a 64-bit number.
        unsafe {
            let pool =
                result::device::get_mem_pool(cuda.cuda_stream().context().cu_device()).map_err(wrap)?;
            let threshold = PoolAttribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, threshold, (&raw mut most).cast()).map_err(wrap)?;
        }
    }
    if environment::tf32() {
        candle_core::cuda::set_gemm_reduced_precision_f32(true);
    }
    opened.insert(ordinal, device.clone());
    Ok(device)
}

/// See [`crate::device_memory`].
pub(crate) fn memory(device: &Device) -> Option<DeviceMemory> {
    let Device::Cuda(cuda) = device else { return None };
    let context = cuda.cuda_stream().context().clone();
    let (free, total) = context.mem_get_info().ok()?;
    let mut peak = 0_u64;
    // SAFETY: the pool is the device's own, and the attribute is a 64-bit number.
    unsafe {
        let pool = result::device::get_mem_pool(context.cu_device()).ok()?;
        let high = PoolAttribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH;
        result::mem_pool::get_attribute(pool, high, (&raw mut peak).cast()).ok()?;
    }
    Some(DeviceMemory {
        peak_mib: peak >> 20,
        free_mib: (free as u64) >> 20,
        total_mib: (total as u64) >> 20,
    })
}

/// See [`crate::device_name`].
pub(crate) fn name(device: &Device) -> Option<String> {
    let Device::Cuda(cuda) = device else { return None };
    cuda.cuda_stream().context().name().ok()
}
