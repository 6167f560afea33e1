//! Connectors and tasks as sorted numbers, so that the set operations of a plan are merges.

use std::collections::HashMap;
use std::sync::Arc;

use crate::herder::distributed::protocol::{CONNECTOR_TASK, Items};

/// The place of the connector's name among the sorted names, then 0 for the connector itself and task + 1 for a task.
pub(super) type Id = u64;

/// Whether it is a connector's own instance.
pub(super) const fn is_connector(id: Id) -> bool {
    id as u32 == 0
}

/// The names of one plan.
pub(super) struct Names {
    sorted: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u32>,
}

impl Names {
    /// The names in all of `sources`.
    pub(super) fn of<'a>(sources: impl Iterator<Item = &'a Items>) -> Names {
        let mut places: HashMap<Arc<str>, u32> = HashMap::new();
        for (name, _) in sources.flat_map(|items| &items.0) {
            if !places.contains_key(name) {
                places.insert(Arc::clone(name), 0);
            }
        }
        let mut sorted: Vec<Arc<str>> = places.keys().cloned().collect();
        sorted.sort_unstable();
        for (place, name) in (0..).zip(&sorted) {
            places.insert(Arc::clone(name), place);
        }
        Names { sorted, places }
    }

    /// Sorted, each once. Task numbers that no worker can have are left out.
    pub(super) fn ids(&self, items: &Items) -> Vec<Id> {
        let mut ids = Vec::new();
        for (name, tasks) in &items.0 {
            let Some(place) = self.places.get(name) else { continue };
            let valid = tasks.iter().filter(|task| **task >= CONNECTOR_TASK && **task < i32::MAX);
            ids.extend(valid.map(|task| Id::from(*place) << 32 | Id::from((task + 1) as u32)));
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The other way.
    pub(super) fn items(&self, ids: &[Id]) -> Items {
        let mut items: Vec<(Arc<str>, Vec<i32>)> = Vec::new();
        let mut last = None;
        for id in ids {
            let (place, task) = ((id >> 32) as usize, *id as u32 as i32 - 1);
            if last != Some(place) {
                let Some(name) = self.sorted.get(place) else { continue };
                items.push((Arc::clone(name), Vec::new()));
                last = Some(place);
            }
            if let Some((_, tasks)) = items.last_mut() {
                tasks.push(task);
            }
        }
        Items(items)
    }
}

/// What is in `a` but not in `b`; both sorted.
pub(super) fn minus(a: &[Id], b: &[Id]) -> Vec<Id> {
    let mut b = b.iter().peekable();
    let kept = |id: &Id| {
        while b.next_if(|other| *other < id).is_some() {}
        b.peek() != Some(&id)
    };
    let mut rest = a.to_vec();
    rest.retain(kept);
    rest
}

/// What is in both; both sorted.
pub(super) fn both(a: &[Id], b: &[Id]) -> Vec<Id> {
    let mut b = b.iter().peekable();
    let mut common = a.to_vec();
    common.retain(|id| {
        while b.next_if(|other| *other < id).is_some() {}
        b.peek() == Some(&id)
    });
    common
}

/// What is in any, sorted; and what is in more than one.
pub(super) fn union(sets: &[Vec<Id>]) -> (Vec<Id>, Vec<Id>) {
    let mut all = sets.concat();
    all.sort_unstable();
    let mut twice: Vec<Id> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    twice.dedup();
    all.dedup();
    (all, twice)
}
