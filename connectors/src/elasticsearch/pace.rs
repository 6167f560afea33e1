//! How much is sent at once: less when the cluster says that it has too much to do, slowly more again.

/// Fewest records of a request that the cluster's answers lead to.
const FEWEST_RECORDS: usize = 50;
/// Requests in a row without complaint before more is tried.
const GOOD_RUN: u32 = 8;

/// The current bounds: requests at once, records of each.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    most: (usize, usize),
    now: (usize, usize),
    good: u32,
}

impl Pace {
    pub(super) fn new(requests: usize, records: usize) -> Pace {
        Pace { most: (requests, records), now: (requests, records), good: 0 }
    }

    pub(super) fn requests(&self) -> usize {
        self.now.0
    }

    pub(super) fn records(&self) -> usize {
        self.now.1
    }

    /// The cluster has too much to do: half as many requests; once there is one only, half as large ones.
    pub(super) fn slower(&mut self) {
        self.good = 0;
        if self.now.0 > 1 {
            self.now.0 = self.now.0.div_ceil(2);
        } else {
            self.now.1 = (self.now.1 / 2).max(FEWEST_RECORDS.min(self.most.1));
        }
    }

    /// A request went through.
    pub(super) fn went_well(&mut self) {
        if self.now == self.most {
            return;
        }
        self.good += 1;
        if self.good < GOOD_RUN {
            return;
        }
        self.good = 0;
        if self.now.1 < self.most.1 {
            self.now.1 = (self.now.1 * 2).min(self.most.1);
        } else {
            self.now.0 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_fast_and_up_slowly() {
        let mut pace = Pace::new(5, 2000);
        for expected in [(3, 2000), (2, 2000), (1, 2000), (1, 1000), (1, 500)] {
            pace.slower();
            assert_eq!((pace.requests(), pace.records()), expected);
        }
        for _ in 0..20 {
            pace.slower();
        }
        assert_eq!((pace.requests(), pace.records()), (1, 50));
        for _ in 0..8 * 6 {
            pace.went_well();
        }
        assert_eq!((pace.requests(), pace.records()), (1, 2000));
        for _ in 0..8 * 10 {
            pace.went_well();
        }
        assert_eq!((pace.requests(), pace.records()), (5, 2000));
    }
}
