//! Where workers go: so many at once, spread evenly over the devices.

/// One place for one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    pub(crate) device: usize,
    alone: bool,
}

/// The places of an executor.
#[derive(Debug)]
pub(crate) struct Places {
    jobs: usize,
    devices: usize,
    taken: Vec<Place>,
}

impl Places {
    /// `jobs` places over `devices` devices.
    pub(crate) fn new(jobs: usize, devices: usize) -> Self {
        Self { jobs: jobs.max(1), devices: devices.max(1), taken: Vec::new() }
    }

    /// Whether one more worker may start.
    pub(crate) fn free(&self) -> bool {
        self.taken.len() < self.jobs && self.best().is_some()
    }

    /// Whether there is a device that nobody uses.
    pub(crate) fn has_empty_device(&self) -> bool {
        (0..self.devices).any(|device| self.load(device) == 0)
    }

    /// Takes a place on the device with the fewest workers; `alone` keeps it from getting more.
    pub(crate) fn take(&mut self, alone: bool) -> Place {
        let slot =
            (0..self.jobs).find(|slot| self.taken.iter().all(|place| place.slot != *slot)).unwrap_or(0);
        let place = Place { slot, device: self.best().unwrap_or(0), alone };
        self.taken.push(place);
        place
    }

    pub(crate) fn give_back(&mut self, place: Place) {
        self.taken.retain(|taken| *taken != place);
    }

    /// The device with the fewest workers that none of them has for itself.
    fn best(&self) -> Option<usize> {
        let open = |device: &usize| !self.taken.iter().any(|place| place.device == *device && place.alone);
        let most = self.jobs.div_ceil(self.devices);
        (0..self.devices)
            .filter(open)
            .filter(|device| self.load(*device) < most)
            .min_by_key(|device| self.load(*device))
    }

    fn load(&self, device: usize) -> usize {
        self.taken.iter().filter(|place| place.device == device).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_spread_over_devices() {
        let mut places = Places::new(5, 2);
        let taken: Vec<_> = (0..5).map(|_| places.take(false)).collect();
        assert_eq!(
            taken.iter().map(|p| (p.slot, p.device)).collect::<Vec<_>>(),
            [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]
        );
        assert!(!places.free());
        places.give_back(taken[1]);
        assert!(places.free());
        assert_eq!(places.take(false), taken[1]);
    }

    #[test]
    fn one_that_is_alone_stays_alone() {
        let mut places = Places::new(4, 2);
        let first = places.take(false);
        assert!(places.has_empty_device());
        let alone = places.take(true);
        assert_eq!(alone.device, 1);
        assert!(!places.has_empty_device());
        assert_eq!(places.take(false).device, 0);
        // Two more would fit by number, but one device is full and the other is kept.
        assert!(!places.free());
        places.give_back(alone);
        places.give_back(first);
        assert_eq!(places.take(false).device, 1);
    }
}
