//! Where a request goes, and as what.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};

use super::answer::Answer;
use super::{fault, headers};
use crate::filter::{self, Sharing};
use crate::table::{Backend, Choice, ChoiceTarget, Filters, Request, Rule, Table, Via};
use crate::tls::{Bond, Identity};

/// A request's way to a backend.
pub(super) struct Course {
    pub(super) rule: Arc<Rule>,
    pub(super) choice: Arc<Choice>,
    pub(super) backend: Arc<Backend>,
    /// Who the gateway is to the backend, if it asks.
    pub(super) identity: Option<Arc<Identity>>,
    /// What the client spoke.
    scheme: conf::Scheme,
    prefix: Option<usize>,
    pub(super) sharing: Option<Sharing>,
}

/// What becomes of a request.
pub(super) struct Decision {
    /// The rule that matched it, if one did, and the listener that the rule was found on.
    pub(super) found: Option<(Arc<conf::Listener>, Arc<Rule>)>,
    /// Its way to a backend, or the gateway's own answer.
    pub(super) course: Result<Course, Answer>,
}

/// Decides about a request; `local` is where the client connected to.
pub(super) fn decide(table: &Table, via: Via<'_>, local: SocketAddr, head: &RequestHeader) -> Decision {
    let refused = |answer| Decision { found: None, course: Err(answer) };
    if let Some(answer) = fault::find(head) {
        return refused(answer);
    }
    let request = Request::of(head);
    let found = match table.find(via, &request) {
        Ok(found) => found,
        Err(miss) => return refused(Answer::of(miss)),
    };
    let (rule, scheme) = (found.rule, found.listener.scheme());
    let redirected = |filters: &Filters| {
        let redirect = filters.redirect.as_ref()?;
        let port = match found.listener.client_port() {
            0 => local.port(),
            port => port,
        };
        let location = filter::location(redirect, &request, found.prefix, scheme, port);
        Some(Answer::redirect(redirect.status_code.code(), &location))
    };
    let sharing = |filters: &Filters| Some(Sharing::new(filters.cors.clone()?, &request));
    let answered = |sharing: Option<&Sharing>, filters: &Filters| {
        let sharing = sharing.filter(|_| filter::is_preflight(&request));
        sharing.map(|sharing| Answer::preflight(sharing, &request)).or_else(|| redirected(filters))
    };
    // A rule's word about other origins is for all its backends.
    let of_rule = sharing(rule.filters());
    let course = match answered(of_rule.as_ref(), rule.filters()) {
        Some(answer) => Err(answer.shared(of_rule.as_ref())),
        None => match choose(table, rule) {
            Err(answer) => Err(answer.shared(of_rule.as_ref())),
            Ok((choice, backend)) => {
                let sharing = of_rule.or_else(|| sharing(choice.filters()));
                match answered(sharing.as_ref(), choice.filters()) {
                    Some(answer) => Err(answer.shared(sharing.as_ref())),
                    None => Ok(Course {
                        rule: rule.clone(),
                        choice,
                        backend,
                        identity: found.identity.cloned(),
                        scheme,
                        prefix: found.prefix,
                        sharing,
                    }),
                }
            }
        },
    };
    Decision { found: Some((found.listener.clone(), rule.clone())), course }
}

fn choose(table: &Table, rule: &Rule) -> Result<(Arc<Choice>, Arc<Backend>), Answer> {
    let broken = |why: String| Answer::new(StatusCode::INTERNAL_SERVER_ERROR, why);
    let Some(choice) = rule.backends.choose() else {
        return Err(broken("the route has no backend for this request".into()));
    };
    let backend = match &choice.target {
        ChoiceTarget::Backend(id) => table.backend(*id),
        ChoiceTarget::Invalid(reason) => return Err(broken(format!("the route's backend is invalid: {reason}"))),
    };
    if backend.is_missing() {
        return Err(broken(format!("the route's backend {} is not defined", backend.name)));
    }
    if backend.is_unprovable() {
        return Err(broken(format!("none of the authorities of the route's backend {} is defined", backend.name)));
    }
    if backend.endpoints().is_empty() {
        let why = format!("backend {} has no ready endpoint", backend.name);
        return Err(Answer::new(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    Ok((choice.clone(), backend.clone()))
}

impl Course {
    /// What connections for requests in this protocol rest on; none without TLS.
    pub(super) fn bond(&self, protocol: conf::Protocol) -> Option<Bond> {
        self.backend.bond(self.identity.as_ref(), protocol)
    }

    /// Turns the request into what the backend gets, and its copies with it. `local` is where the
    /// client connected to.
    pub(super) fn apply(
        &self,
        head: &mut RequestHeader,
        client: &HeaderValue,
        local: SocketAddr,
    ) -> pingora_core::Result<()> {
        headers::remove_nominated(head);
        headers::complete_host(head, local)?;
        let filters = [self.rule.filters(), self.choice.filters()];
        if let Some(rewrite) = filters.iter().rev().find_map(|filters| filters.rewrite.as_ref()) {
            if let Some(modifier) = &rewrite.path {
                let path = filter::rewrite_path(modifier, &Request::of(head), self.prefix);
                headers::set_path(head, &path)?;
            }
            if let Some(hostname) = &rewrite.hostname {
                headers::set_host(head, hostname.as_str())?;
            }
        }
        headers::forward(head, client, self.scheme)?;
        for modifier in filters.iter().filter_map(|filters| filters.request_headers.as_ref()) {
            filter::modify(modifier, head);
        }
        Ok(())
    }

    /// Turns the backend's answer into what the client gets.
    pub(super) fn apply_to_answer(&self, head: &mut ResponseHeader) {
        if let Some(sharing) = &self.sharing {
            sharing.tell(head);
        }
        let filters = [self.choice.filters(), self.rule.filters()];
        for modifier in filters.iter().filter_map(|filters| filters.response_headers.as_ref()) {
            filter::modify(modifier, head);
        }
    }
}
