//! Which copies of a request are sent, and the account of those that are not.

use pingora::http::RequestHeader;

use super::course::Course;
use crate::mirror::{Planned, Skip, Tee};
use crate::table::{Filters, Mirror, MirrorDestination, Rule, Table};

/// Starts the copies that the rule and the chosen backend ask for. `head` is the request as the
/// primary gets it.
pub(super) fn start(table: &Table, course: &Course, head: &RequestHeader, bodiless: bool) -> Tee {
    let asked_for = [course.rule.filters(), course.choice.filters()];
    if asked_for.iter().all(|filters| filters.mirrors.is_empty()) {
        return Tee::default();
    }
    let draw = course.rule.draw();
    let plan = asked_for
        .into_iter()
        .flat_map(|filters| &filters.mirrors)
        .filter_map(|mirror| plan(mirror, table, course, draw));
    Tee::start(plan, head, bodiless)
}

fn plan(mirror: &Mirror, table: &Table, course: &Course, draw: u64) -> Option<Planned> {
    let account = &mirror.account;
    if !mirror.fraction.holds(draw) {
        account.sampled_out();
        return None;
    }
    let MirrorDestination::Backend(id, receiver) = &mirror.destination else {
        account.skipped(Skip::InvalidTarget);
        return None;
    };
    let backend = table.backend(*id);
    if backend.is_missing() || backend.is_unprovable() {
        account.skipped(Skip::InvalidTarget);
        return None;
    }
    let Some(endpoint) = backend.next_mirror_endpoint() else {
        account.skipped(Skip::NoEndpoint);
        return None;
    };
    let protocol = backend.protocol;
    let bond = backend.bond(course.identity.as_ref(), protocol);
    Some(Planned { protocol, endpoint, bond, receiver: receiver.clone(), account: account.clone() })
}

/// Accounts for a request that the gateway answers itself: its rule's mirrors see nothing of it.
pub(super) fn skip_own_answer(rule: &Rule) {
    skip(rule.filters(), Skip::OwnAnswer);
}

/// Accounts for a request that asks for another protocol: a mirror can have no part in what comes of
/// it.
pub(super) fn skip_upgrade(course: &Course) {
    skip(course.rule.filters(), Skip::Upgrade);
    skip(course.choice.filters(), Skip::Upgrade);
}

fn skip(filters: &Filters, reason: Skip) {
    for mirror in &filters.mirrors {
        mirror.account.skipped(reason);
    }
}
