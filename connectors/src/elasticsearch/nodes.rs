//! Which node is asked next: in turn, those that failed left out for a while.

use std::time::{Duration, Instant};

/// How long a node is left out after its first failure in a row; doubled with each.
const FIRST: Duration = Duration::from_secs(1);
/// Longest time that a node is left out.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    failures: u32,
    /// Left out until then.
    until: Option<Instant>,
}

/// The state of each node.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    next: usize,
}

impl Nodes {
    pub(super) fn new(count: usize) -> Nodes {
        Nodes { nodes: vec![Node::default(); count.max(1)], next: 0 }
    }

    /// The next node in turn that is not left out; if all are, the one whose time is up first.
    pub(super) fn pick(&mut self, now: Instant) -> usize {
        let count = self.nodes.len();
        let out = |node: &Node| node.until.is_some_and(|until| until > now);
        let found = (0..count).map(|step| (self.next + step) % count).find(|at| !out(&self.nodes[*at]));
        let at = found.unwrap_or_else(|| (0..count).min_by_key(|at| self.nodes[*at].until).unwrap_or(0));
        self.next = (at + 1) % count;
        at
    }

    /// Whether another node than this one may be asked right away.
    pub(super) fn has_other(&self, node: usize, now: Instant) -> bool {
        self.nodes
            .iter()
            .enumerate()
            .any(|(at, other)| at != node && other.until.is_none_or(|until| until <= now))
    }

    pub(super) fn failed(&mut self, node: usize, now: Instant) {
        let Some(node) = self.nodes.get_mut(node) else { return };
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(node.failures.min(10))).min(LONGEST);
        node.failures = node.failures.saturating_add(1);
        node.until = Some(now + wait);
    }

    pub(super) fn answered(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            *node = Node::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_turn_and_around_dead_ones() {
        let (mut nodes, now) = (Nodes::new(3), Instant::now());
        assert_eq!([nodes.pick(now), nodes.pick(now), nodes.pick(now), nodes.pick(now)], [0, 1, 2, 0]);
        nodes.failed(1, now);
        assert_eq!([nodes.pick(now), nodes.pick(now), nodes.pick(now)], [2, 0, 2]);
        assert!(nodes.has_other(0, now));
        nodes.failed(0, now);
        nodes.failed(2, now);
        nodes.failed(2, now);
        assert!(!nodes.has_other(2, now));
        // all are out: the one that comes back first
        assert_ne!(nodes.pick(now), 2);
        let later = now + Duration::from_millis(1001);
        nodes.answered(1);
        let picked = [nodes.pick(later), nodes.pick(later)];
        assert!(!picked.contains(&2), "{picked:?}");
    }
}
