//! Schemas that contain themselves: Connect's are trees here, so they are unrolled to a bounded depth.

/// Levels to which a schema that contains itself is unrolled.
const MAX_LEVELS: u32 = 64;
/// Schemas that unrolling may come to where a schema contains itself more than once.
const MAX_UNROLLED: u64 = 4096;

/// How deep to unroll what `root` contains; `None` if nothing contains itself. `count` is the number of nodes, `inner` pushes a
/// node's parts.
pub(in crate::converter) fn levels(
    root: usize,
    count: usize,
    mut inner: impl FnMut(usize, &mut dyn FnMut(usize)),
) -> Option<u32> {
    // 0: not seen, 1: on the path, 2: done
    let mut states = vec![0_u8; count];
    let mut cycles = 0_u64;
    let mut work = vec![(root, false)];
    while let Some((id, done)) = work.pop() {
        if done {
            states[id] = 2;
            continue;
        }
        match states[id] {
            1 => cycles += 1,
            2 => {}
            _ => {
                states[id] = 1;
                work.push((id, true));
                inner(id, &mut |part| work.push((part, false)));
            }
        }
    }
    match cycles {
        0 => None,
        1 => Some(MAX_LEVELS),
        _ => {
            let (mut levels, mut size) = (1, cycles);
            while size < MAX_UNROLLED {
                size = size.saturating_mul(cycles);
                levels += 1;
            }
            Some(levels)
        }
    }
}
