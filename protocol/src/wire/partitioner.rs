//! Which partition a record goes to, as the JVM's default partitioner decides it: murmur2 of the key, and without a
//! key a partition that stays for a batch's worth of bytes (KIP-480, KIP-794).

/// The JVM client's 32-bit murmur2 of a key.
#[must_use]
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of a key among `partitions` of them; 0 if there are none.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & i32::MAX).checked_rem(partitions).unwrap_or(0)
}

/// The partition whose turn it is: one after the other of those with a leader, or of all `count` while none has one. -1 if there
/// are none.
#[must_use]
pub fn in_turn(available: &[i32], count: i32, turn: u32) -> i32 {
    if available.is_empty() {
        return ((turn & i32::MAX as u32) as i32).checked_rem(count).unwrap_or(-1);
    }
    available[turn as usize % available.len()]
}

/// Chooses partitions for records without a key: stays with one until `batch.size` bytes went there, then draws
/// another, the likelier the shorter its queue (`partitioner.adaptive.partitioning.enable`).
///
/// Random numbers come in as arguments.
#[derive(Debug, Clone)]
pub struct StickyPartitioner {
    sticky_size: usize,
    current: Option<i32>,
    produced: usize,
    load: Option<Load>,
}

#[derive(Debug, Clone)]
struct Load {
    /// Running sum of the weights.
    cumulative: Vec<u64>,
    partitions: Vec<i32>,
}

impl StickyPartitioner {
    /// A partitioner that switches after `sticky_size` bytes (`batch.size`).
    #[must_use]
    pub fn new(sticky_size: usize) -> Self {
        Self { sticky_size: sticky_size.max(1), current: None, produced: 0, load: None }
    }

    /// The partition for the next record. `available` are the partitions with a leader, `count` is the number of all of
    /// them, used while none has a leader; `random` is used if a partition has to be drawn. `None` if the topic has no
    /// partitions.
    pub fn partition(&mut self, available: &[i32], count: i32, random: u32) -> Option<i32> {
        if let Some(current) = self.current {
            return Some(current);
        }
        let drawn = self.draw(available, count, random)?;
        self.current = Some(drawn);
        Some(drawn)
    }

    fn draw(&self, available: &[i32], count: i32, random: u32) -> Option<i32> {
        if let Some(load) = &self.load {
            let point = u64::from(random) % load.cumulative.last()?.max(&1);
            let index = load.cumulative.partition_point(|sum| *sum <= point);
            return load.partitions.get(index).copied();
        }
        if available.is_empty() {
            return random.checked_rem(u32::try_from(count).ok()?).map(|partition| partition as i32);
        }
        available.get(random as usize % available.len()).copied()
    }

    /// Notes that a record of `bytes` went to the current partition. Beyond the sticky size the next record gets a new
    /// partition, if `may_switch`: a caller passes false while the partition's batch is still open, so that a full batch
    /// goes before the switch, and twice the size switches anyhow.
    pub fn appended(&mut self, bytes: usize, may_switch: bool) {
        self.produced = self.produced.saturating_add(bytes);
        let full = self.produced >= self.sticky_size;
        if full && may_switch || self.produced >= self.sticky_size.saturating_mul(2) {
            self.switch();
        }
    }

    /// Forgets the current partition: the next record gets a new one. For a partition that has become unavailable.
    pub fn switch(&mut self) {
        self.current = None;
        self.produced = 0;
    }

    /// How many batches wait for each of the available partitions; a shorter queue makes its partition likelier.
    /// `all_available` tells that no partition was left out: with equal queues every one is then as likely as the other.
    pub fn update_load(&mut self, partitions: &[i32], queues: &[usize], all_available: bool) {
        let length = partitions.len().min(queues.len());
        let queues = &queues[..length];
        let longest = queues.iter().max().copied().unwrap_or(0);
        let equal = queues.iter().all(|queue| *queue == longest);
        // With one partition, or equal ones, there is nothing to weigh.
        if length == 0 || (length == 1 || equal) && all_available {
            self.load = None;
            return;
        }
        let load = self.load.get_or_insert_with(|| Load { cumulative: Vec::new(), partitions: Vec::new() });
        load.partitions.clear();
        load.partitions.extend_from_slice(&partitions[..length]);
        load.cumulative.clear();
        let mut sum = 0;
        load.cumulative.extend(queues.iter().map(|queue| {
            sum += (longest - queue) as u64 + 1;
            sum
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that Kafka's own `UtilsTest.testMurmur2` expects.
    #[test]
    fn murmur2_of_the_jvm() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn every_partition_has_its_turn() {
        let turns =
            |available: &[i32], count| (0..6).map(|turn| in_turn(available, count, turn)).collect::<Vec<_>>();
        assert_eq!(turns(&[0, 2], 3), [0, 2, 0, 2, 0, 2]);
        assert_eq!(turns(&[], 3), [0, 1, 2, 0, 1, 2]);
        assert_eq!(turns(&[], 0), [-1; 6]);
    }

    #[test]
    fn keys_stay_in_range() {
        assert_eq!(partition_for_key(b"foobar", 0), 0);
        for partitions in 1..50 {
            for key in 0..100u32 {
                assert!((0..partitions).contains(&partition_for_key(&key.to_be_bytes(), partitions)));
            }
        }
        assert_eq!(partition_for_key(b"21", 10), (-973_932_308 & i32::MAX) % 10);
    }

    #[test]
    fn sticks_for_a_batch() {
        let mut partitioner = StickyPartitioner::new(100);
        assert_eq!(partitioner.partition(&[3, 5], 6, 1), Some(5));
        partitioner.appended(99, true);
        assert_eq!(partitioner.partition(&[3, 5], 6, 0), Some(5));
        partitioner.appended(1, false);
        assert_eq!(partitioner.partition(&[3, 5], 6, 0), Some(5), "its batch is still open");
        partitioner.appended(0, true);
        assert_eq!(partitioner.partition(&[3, 5], 6, 0), Some(3));
        partitioner.appended(200, false);
        assert_eq!(partitioner.partition(&[3, 5], 6, 1), Some(5), "twice the size switches anyhow");
        partitioner.switch();
        assert_eq!(partitioner.partition(&[], 6, 10), Some(4), "no leaders: any");
        partitioner.switch();
        assert_eq!(partitioner.partition(&[], 0, 10), None);
    }

    #[test]
    fn shorter_queues_get_more() {
        let mut partitioner = StickyPartitioner::new(1);
        // Weights 1, 4, 3 as in KIP-794's example of queue sizes 3, 0, 1.
        partitioner.update_load(&[0, 1, 2], &[3, 0, 1], true);
        let mut counts = [0; 3];
        for random in 0..800 {
            let partition = partitioner.partition(&[0, 1, 2], 3, random).unwrap();
            counts[partition as usize] += 1;
            partitioner.switch();
        }
        assert_eq!(counts, [100, 400, 300]);
        partitioner.update_load(&[0, 1, 2], &[2, 2, 2], true);
        assert_eq!(partitioner.partition(&[7], 3, 5), Some(7), "equal queues: uniform again");
        partitioner.switch();
        partitioner.update_load(&[2], &[2], false);
        assert_eq!(partitioner.partition(&[0, 1, 2], 3, 5), Some(2), "the others are unavailable");
    }
}
