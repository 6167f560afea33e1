//! The assignment of KIP-58: everything anew at each rebalance, in turn over the sorted members.

use super::{Member, Plan};
use crate::herder::distributed::protocol::{CONNECTOR_TASK, Items};

/// First all connectors, then each connector's tasks, dealt out in one running turn. O(items).
pub(crate) fn plan(members: &[Member], configured: &Items) -> Plan {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_unstable_by(|a, b| members[*a].id.cmp(&members[*b].id));
    let mut connectors: Vec<_> = configured.0.iter().collect();
    connectors.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let instances = connectors.iter().flat_map(|(connector, tasks)| {
        tasks.iter().filter(|task| **task == CONNECTOR_TASK).map(move |task| (connector.clone(), *task))
    });
    let tasks = connectors.iter().flat_map(|(connector, tasks)| {
        let mut numbers: Vec<i32> = tasks.iter().copied().filter(|task| *task != CONNECTOR_TASK).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(move |task| (connector.clone(), task))
    });
    let mut dealt: Vec<Vec<_>> = vec![Vec::new(); members.len()];
    if !members.is_empty() {
        for (item, member) in instances.chain(tasks).zip(order.iter().cycle()) {
            dealt[*member].push(item);
        }
    }
    let assigned: Vec<Items> = dealt.into_iter().map(Items::collect).collect();
    Plan { running: assigned.clone(), assigned, revoked: vec![Items::default(); members.len()], delay_ms: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dealt_in_turn_over_sorted_members() {
        let member = |id: &str| Member { id: id.to_owned(), holds: Items::default() };
        let configured = Items(vec![("b".into(), vec![-1, 0, 1]), ("a".into(), vec![-1, 0])]);
        let plan = plan(&[member("y"), member("x")], &configured);
        let items = |place: usize| -> Vec<(String, i32)> {
            plan.assigned[place].iter().map(|(connector, task)| (connector.to_string(), task)).collect()
        };
        assert_eq!(items(1), [("a".into(), -1), ("a".into(), 0), ("b".into(), 1)]);
        assert_eq!(items(0), [("b".into(), -1), ("b".into(), 0)]);
    }
}
