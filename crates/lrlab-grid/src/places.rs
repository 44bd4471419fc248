//! Where workers go: so many at once, spread evenly over the devices, and on each as many as its memory holds.

use std::cmp::Reverse;

/// One place for one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    pub(crate) device: usize,
    alone: bool,
    /// Memory that is set aside for it; `None` where nothing is known of it.
    need_mib: Option<u64>,
}

/// What a device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    /// Workers at once.
    pub(crate) most: usize,
    /// Memory for all of them; `None` where it is no matter.
    pub(crate) room_mib: Option<u64>,
}

/// The places of an executor.
#[derive(Debug)]
pub(crate) struct Places {
    jobs: usize,
    devices: Vec<Device>,
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Taken {
    place: Place,
    /// The most workers that its device had at once meanwhile, itself included.
    together: usize,
}

impl Places {
    /// `jobs` places over these devices.
    pub(crate) fn new(jobs: usize, devices: Vec<Device>) -> Self {
        Self { jobs: jobs.max(1), devices, taken: Vec::new() }
    }

    /// `jobs` places spread evenly over so many devices.
    pub(crate) fn even(jobs: usize, devices: usize) -> Vec<Device> {
        let devices = devices.max(1);
        vec![Device { most: jobs.max(1).div_ceil(devices), room_mib: None }; devices]
    }

    /// Whether one more worker may start, if it needs little enough.
    pub(crate) fn free(&self) -> bool {
        self.taken.len() < self.jobs && (0..self.devices.len()).any(|device| self.open(device))
    }

    /// Whether a device has room for a worker that needs so much, or for one that is to be alone.
    pub(crate) fn fits(&self, need_mib: Option<u64>, alone: bool) -> bool {
        self.best(need_mib, alone).is_some()
    }

    /// Takes a place on the device with the fewest workers of those that have room; `alone` keeps it from getting more.
    pub(crate) fn take(&mut self, need_mib: Option<u64>, alone: bool) -> Place {
        let used = |slot: &usize| self.taken.iter().any(|taken| taken.place.slot == *slot);
        let slot = (0..self.jobs).find(|slot| !used(slot)).unwrap_or(0);
        let device = self.best(need_mib, alone).unwrap_or(0);
        let place = Place { slot, device, alone, need_mib };
        self.taken.push(Taken { place, together: 0 });
        let load = self.load(device);
        let there = self.taken.iter_mut().filter(|taken| taken.place.device == device);
        there.for_each(|taken| taken.together = taken.together.max(load));
        place
    }

    /// Gives it back, and says how many workers its device had at once meanwhile, at most.
    pub(crate) fn give_back(&mut self, place: Place) -> usize {
        let at = self.taken.iter().position(|taken| taken.place == place);
        at.map_or(1, |at| self.taken.swap_remove(at).together)
    }

    /// Memory of the device ran out with `together` workers at once: from now on it gets one fewer. How many those are,
    /// where that is news.
    pub(crate) fn fewer(&mut self, device: usize, together: usize) -> Option<usize> {
        let device = self.devices.get_mut(device)?;
        let most = together.saturating_sub(1).max(1);
        (most < device.most && most < together).then(|| {
            device.most = most;
            most
        })
    }

    /// The device with the fewest workers of those that have room, and of these the one with the most memory left.
    fn best(&self, need_mib: Option<u64>, alone: bool) -> Option<usize> {
        let has_room = |device: &usize| {
            // What fits nowhere is tried all the same, by itself.
            self.load(*device) == 0
                || !alone
                    && self.open(*device)
                    && self.left(*device).is_none_or(|(left, room)| left >= need_mib.unwrap_or(room))
        };
        let order = |device: &usize| (self.load(*device), Reverse(self.left(*device).map(|(left, _)| left)));
        (0..self.devices.len()).filter(has_room).min_by_key(order)
    }

    /// Whether the device may get one more by number, and nobody has it for themselves.
    fn open(&self, device: usize) -> bool {
        self.load(device) < self.devices[device].most && !self.on(device).any(|place| place.alone)
    }

    /// Memory that is not set aside, and all there is; `None` where it is no matter. Of whom nothing is known has it all.
    fn left(&self, device: usize) -> Option<(u64, u64)> {
        let room = self.devices[device].room_mib?;
        let needed: u64 = self.on(device).map(|place| place.need_mib.unwrap_or(room)).sum();
        Some((room.saturating_sub(needed), room))
    }

    fn load(&self, device: usize) -> usize {
        self.on(device).count()
    }

    fn on(&self, device: usize) -> impl Iterator<Item = &Place> {
        self.taken.iter().map(|taken| &taken.place).filter(move |place| place.device == device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(jobs: usize, devices: usize) -> Places {
        Places::new(jobs, Places::even(jobs, devices))
    }

    fn of_memory(rooms: &[u64]) -> Places {
        let device = |room: &u64| Device { most: 8, room_mib: Some(*room) };
        Places::new(99, rooms.iter().map(device).collect())
    }

    #[test]
    fn workers_spread_over_devices() {
        let mut places = even(5, 2);
        let taken: Vec<_> = (0..5).map(|_| places.take(None, false)).collect();
        assert_eq!(
            taken.iter().map(|p| (p.slot, p.device)).collect::<Vec<_>>(),
            [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]
        );
        assert!(!places.free());
        places.give_back(taken[1]);
        assert!(places.free());
        assert_eq!(places.take(None, false), taken[1]);
    }

    #[test]
    fn one_that_is_alone_stays_alone() {
        let mut places = even(4, 2);
        let first = places.take(None, false);
        assert!(places.fits(None, true));
        let alone = places.take(None, true);
        assert_eq!(alone.device, 1);
        assert!(!places.fits(None, true));
        assert_eq!(places.take(None, false).device, 0);
        // Two more would fit by number, but one device is full and the other is kept.
        assert!(!places.free() && !places.fits(None, false));
        places.give_back(alone);
        places.give_back(first);
        assert_eq!(places.take(None, false).device, 1);
    }

    #[test]
    fn memory_holds_as_many_as_fit() {
        // Devices, what workers need in their order -> where they go, until one does not fit.
        for (rooms, needs, expected) in [
            (&[100][..], &[Some(40), Some(40), Some(40)][..], &[0, 0][..]),
            // The larger one first, then evenly, then where there is room.
            (&[50, 100], &[Some(40); 4], &[1, 0, 1]),
            (&[100, 100], &[Some(60), Some(30), Some(30), Some(40), Some(80)], &[0, 1, 1, 0]),
            // More than there is, and nobody knows how much: by itself.
            (&[100], &[Some(400), Some(1)], &[0]),
            (&[100], &[None, Some(1)], &[0]),
            (&[100], &[Some(1), None], &[0]),
            (&[100, 100], &[None, None, Some(1)], &[0, 1]),
        ] {
            let mut places = of_memory(rooms);
            let fitting = needs.iter().map_while(|need| {
                assert!(places.free());
                places.fits(*need, false).then(|| places.take(*need, false).device)
            });
            assert_eq!(fitting.collect::<Vec<_>>(), expected, "{rooms:?} {needs:?}");
        }
    }

    #[test]
    fn a_device_on_which_memory_ran_out_gets_fewer() {
        let mut places = even(8, 2);
        let taken: Vec<_> = (0..8).map(|_| places.take(None, false)).collect();
        // Four were on the first device. All of them fail for one reason: it gets three, not fewer with each.
        let together: Vec<_> = taken.iter().filter(|p| p.device == 0).map(|p| places.give_back(*p)).collect();
        assert_eq!(together, [4, 4, 4, 4]);
        assert_eq!(
            together.iter().map(|n| places.fewer(0, *n)).collect::<Vec<_>>(),
            [Some(3), None, None, None]
        );
        let on_first = |places: &mut Places| {
            let mut taken = Vec::new();
            while places.free() && places.fits(None, false) {
                taken.push(places.take(None, false));
            }
            taken
        };
        let taken = on_first(&mut places);
        assert_eq!(taken.iter().map(|place| place.device).collect::<Vec<_>>(), [0, 0, 0]);
        assert_eq!(places.give_back(taken[0]), 3);
        assert_eq!(places.fewer(0, 3), Some(2));
        // One by itself has nobody to make room for it.
        assert_eq!((places.fewer(0, 2), places.fewer(0, 1)), (Some(1), None));
        assert_eq!(places.fewer(1, 1), None);
    }
}
