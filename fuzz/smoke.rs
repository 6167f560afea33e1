//! Runs a fuzz target on seeds mutated a bounded number of times: what stable Rust and a minute can find.

const ROUNDS: usize = 15_000;
/// Fixed, so that a failure happens again.
const SEED: u64 = 0x5eed;

fn mutate(random: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=bytes.len());
        match random.u8(..7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 => bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(at % 20)),
            3 => {
                let other = &seeds[random.usize(..seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
            }
            _ if at == bytes.len() => bytes.push(0),
            4 => bytes[at] = EDGES[random.usize(..EDGES.len())],
            5 => bytes[at] ^= 1 << random.u8(..8),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

/// Runs a target.
pub(crate) fn smoke(seeds: &[Vec<u8>], target: fn(&[u8])) {
    assert!(!seeds.is_empty());
    let mut random = fastrand::Rng::with_seed(SEED);
    for seed in seeds {
        target(seed);
    }
    for _ in 0..ROUNDS {
        target(&mutate(&mut random, seeds));
    }
}
