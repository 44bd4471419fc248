//! Slots for workers, spread evenly over the devices and limited by their memory.

use std::cmp::Reverse;

/// The slot of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) index: usize,
    pub(crate) device: usize,
    exclusive: bool,
    /// The memory reserved for it; `None` if it is unknown.
    need_mib: Option<u64>,
}

/// The capacity of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceSlots {
    /// The maximum number of workers at once.
    pub(crate) max_workers: usize,
    /// The memory for all of them; `None` if it is not limited.
    pub(crate) capacity_mib: Option<u64>,
}

/// The slots of an executor.
#[derive(Debug)]
pub(crate) struct Slots {
    jobs: usize,
    devices: Vec<DeviceSlots>,
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Taken {
    slot: Slot,
    /// The maximum number of workers that shared the device with it, itself included.
    sharing: usize,
}

impl Slots {
    /// Creates `jobs` slots over these devices.
    pub(crate) fn new(jobs: usize, devices: Vec<DeviceSlots>) -> Self {
        Self { jobs: jobs.max(1), devices, taken: Vec::new() }
    }

    /// Spreads `jobs` slots evenly over this many devices.
    pub(crate) fn even(jobs: usize, devices: usize) -> Vec<DeviceSlots> {
        let devices = devices.max(1);
        vec![DeviceSlots { max_workers: jobs.max(1).div_ceil(devices), capacity_mib: None }; devices]
    }

    /// Returns whether another worker can start if it needs little memory.
    pub(crate) fn has_free(&self) -> bool {
        self.taken.len() < self.jobs && (0..self.devices.len()).any(|device| self.open(device))
    }

    /// Returns whether a device has capacity for a worker that needs this much memory, or a device of its own.
    pub(crate) fn fits(&self, need_mib: Option<u64>, exclusive: bool) -> bool {
        self.best(need_mib, exclusive).is_some()
    }

    /// Takes a slot on the least loaded device that has capacity. An `exclusive` slot reserves the device.
    pub(crate) fn take(&mut self, need_mib: Option<u64>, exclusive: bool) -> Slot {
        let used = |index: &usize| self.taken.iter().any(|taken| taken.slot.index == *index);
        let index = (0..self.jobs).find(|index| !used(index)).unwrap_or(0);
        let device = self.best(need_mib, exclusive).unwrap_or(0);
        let slot = Slot { index, device, exclusive, need_mib };
        self.taken.push(Taken { slot, sharing: 0 });
        let load = self.load(device);
        let there = self.taken.iter_mut().filter(|taken| taken.slot.device == device);
        there.for_each(|taken| taken.sharing = taken.sharing.max(load));
        slot
    }

    /// Releases a slot. Returns the maximum number of workers that shared its device.
    pub(crate) fn release(&mut self, slot: Slot) -> usize {
        let at = self.taken.iter().position(|taken| taken.slot == slot);
        at.map_or(1, |at| self.taken.swap_remove(at).sharing)
    }

    /// Reduces the limit of a device that ran out of memory with `sharing` workers to one fewer. Returns the new
    /// limit if it changed.
    pub(crate) fn reduce(&mut self, device: usize, sharing: usize) -> Option<usize> {
        let device = self.devices.get_mut(device)?;
        let most = sharing.saturating_sub(1).max(1);
        (most < device.max_workers && most < sharing).then(|| {
            device.max_workers = most;
            most
        })
    }

    /// Returns the least loaded device that has capacity; among equals, the one with the most free memory.
    fn best(&self, need_mib: Option<u64>, exclusive: bool) -> Option<usize> {
        let has_capacity = |device: &usize| {
            // A run that fits on no device is tried on an empty one.
            self.load(*device) == 0
                || !exclusive
                    && self.open(*device)
                    && self.left(*device).is_none_or(|(left, capacity)| left >= need_mib.unwrap_or(capacity))
        };
        let order = |device: &usize| (self.load(*device), Reverse(self.left(*device).map(|(left, _)| left)));
        (0..self.devices.len()).filter(has_capacity).min_by_key(order)
    }

    /// Returns whether the device is below its limit and not reserved exclusively.
    fn open(&self, device: usize) -> bool {
        self.load(device) < self.devices[device].max_workers && !self.on(device).any(|slot| slot.exclusive)
    }

    /// Returns the unreserved and the total memory; `None` if it is not limited. A worker whose need is unknown reserves all
    /// of it.
    fn left(&self, device: usize) -> Option<(u64, u64)> {
        let capacity = self.devices[device].capacity_mib?;
        let needed: u64 = self.on(device).map(|slot| slot.need_mib.unwrap_or(capacity)).sum();
        Some((capacity.saturating_sub(needed), capacity))
    }

    fn load(&self, device: usize) -> usize {
        self.on(device).count()
    }

    fn on(&self, device: usize) -> impl Iterator<Item = &Slot> {
        self.taken.iter().map(|taken| &taken.slot).filter(move |slot| slot.device == device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(jobs: usize, devices: usize) -> Slots {
        Slots::new(jobs, Slots::even(jobs, devices))
    }

    fn of_memory(capacities: &[u64]) -> Slots {
        let device = |capacity: &u64| DeviceSlots { max_workers: 8, capacity_mib: Some(*capacity) };
        Slots::new(99, capacities.iter().map(device).collect())
    }

    #[test]
    fn workers_spread_over_devices() {
        let mut slots = even(5, 2);
        let taken: Vec<_> = (0..5).map(|_| slots.take(None, false)).collect();
        assert_eq!(
            taken.iter().map(|p| (p.index, p.device)).collect::<Vec<_>>(),
            [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]
        );
        assert!(!slots.has_free());
        slots.release(taken[1]);
        assert!(slots.has_free());
        assert_eq!(slots.take(None, false), taken[1]);
    }

    #[test]
    fn exclusive_slots_reserve_a_device() {
        let mut slots = even(4, 2);
        let first = slots.take(None, false);
        assert!(slots.fits(None, true));
        let exclusive = slots.take(None, true);
        assert_eq!(exclusive.device, 1);
        assert!(!slots.fits(None, true));
        assert_eq!(slots.take(None, false).device, 0);
        // The limits would allow two more, but one device is full and the other is reserved exclusively.
        assert!(!slots.has_free() && !slots.fits(None, false));
        slots.release(exclusive);
        slots.release(first);
        assert_eq!(slots.take(None, false).device, 1);
    }

    #[test]
    fn workers_start_while_memory_suffices() {
        // Capacities, the needs of workers in their order -> their devices, up to the first that does not fit.
        for (capacities, needs, expected) in [
            (&[100][..], &[Some(40), Some(40), Some(40)][..], &[0, 0][..]),
            // The device with more memory first, then evenly, then wherever there is capacity.
            (&[50, 100], &[Some(40); 4], &[1, 0, 1]),
            (&[100, 100], &[Some(60), Some(30), Some(30), Some(40), Some(80)], &[0, 1, 1, 0]),
            // A need above the capacity, or an unknown one, gets a device of its own.
            (&[100], &[Some(400), Some(1)], &[0]),
            (&[100], &[None, Some(1)], &[0]),
            (&[100], &[Some(1), None], &[0]),
            (&[100, 100], &[None, None, Some(1)], &[0, 1]),
        ] {
            let mut slots = of_memory(capacities);
            let fitting = needs.iter().map_while(|need| {
                assert!(slots.has_free());
                slots.fits(*need, false).then(|| slots.take(*need, false).device)
            });
            assert_eq!(fitting.collect::<Vec<_>>(), expected, "{capacities:?} {needs:?}");
        }
    }

    #[test]
    fn the_limit_of_a_device_without_enough_memory_is_reduced() {
        let mut slots = even(8, 2);
        let taken: Vec<_> = (0..8).map(|_| slots.take(None, false)).collect();
        // Four workers shared the first device. All of them fail for the same reason: the limit becomes three once.
        let sharing: Vec<_> = taken.iter().filter(|p| p.device == 0).map(|p| slots.release(*p)).collect();
        assert_eq!(sharing, [4, 4, 4, 4]);
        assert_eq!(
            sharing.iter().map(|n| slots.reduce(0, *n)).collect::<Vec<_>>(),
            [Some(3), None, None, None]
        );
        let on_first = |slots: &mut Slots| {
            let mut taken = Vec::new();
            while slots.has_free() && slots.fits(None, false) {
                taken.push(slots.take(None, false));
            }
            taken
        };
        let taken = on_first(&mut slots);
        assert_eq!(taken.iter().map(|slot| slot.device).collect::<Vec<_>>(), [0, 0, 0]);
        assert_eq!(slots.release(taken[0]), 3);
        assert_eq!(slots.reduce(0, 3), Some(2));
        // The limit is not reduced below one worker.
        assert_eq!((slots.reduce(0, 2), slots.reduce(0, 1)), (Some(1), None));
        assert_eq!(slots.reduce(1, 1), None);
    }
}
