//! HTTPRoutes and GRPCRoutes as one thing: all that a translation of either looks at.

use conf::{Match, Name, Protocol};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{filter, grpc_match, http_match, name};
use crate::api::http_route::{BackendRef, Filter, ParentRef, Retry, Timeouts};
use crate::api::{GrpcRoute, HttpRoute, ObjectKey, ObjectRef, grpc_route, http_route};
use crate::snapshot::Snapshot;

/// A route of either kind.
#[derive(Clone, Copy)]
pub(super) enum AnyRoute<'a> {
    Http(&'a HttpRoute),
    Grpc(&'a GrpcRoute),
}

/// A rule of either.
pub(super) struct AnyRule<'a> {
    pub(super) name: Option<&'a str>,
    /// In the gateway's terms, or why one cannot be understood.
    pub(super) matches: Vec<Result<Match, String>>,
    pub(super) filters: &'a [Filter],
    pub(super) backend_refs: &'a [BackendRef],
    pub(super) timeouts: Option<&'a Timeouts>,
    pub(super) retry: Option<&'a Retry>,
    pub(super) has_session_persistence: bool,
}

/// In what rules of the two kinds differ, beside their matches.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    /// The types of filters that there are.
    pub(super) filters: &'static [&'static str],
    /// What backends speak that do not say what they speak.
    pub(super) protocol: Protocol,
}

impl<'a> AnyRoute<'a> {
    pub(super) const KINDS: [&'static str; 2] = ["HTTPRoute", "GRPCRoute"];

    pub(super) fn find(snapshot: &'a Snapshot, object: &ObjectRef) -> Option<Self> {
        match object.kind {
            "HTTPRoute" => snapshot.http_routes.get(&object.key).map(|route| Self::Http(route)),
            "GRPCRoute" => snapshot.grpc_routes.get(&object.key).map(|route| Self::Grpc(route)),
            _ => None,
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Http(_) => "HTTPRoute",
            Self::Grpc(_) => "GRPCRoute",
        }
    }

    pub(super) fn metadata(self) -> &'a ObjectMeta {
        match self {
            Self::Http(route) => &route.metadata,
            Self::Grpc(route) => &route.metadata,
        }
    }

    pub(super) fn parent_refs(self) -> &'a [ParentRef] {
        match self {
            Self::Http(route) => &route.spec.parent_refs,
            Self::Grpc(route) => &route.spec.parent_refs,
        }
    }

    pub(super) fn hostnames(self) -> &'a [String] {
        match self {
            Self::Http(route) => &route.spec.hostnames,
            Self::Grpc(route) => &route.spec.hostnames,
        }
    }

    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Http(_) => Dialect { filters: &filter::OF_HTTP, protocol: Protocol::Http },
            Self::Grpc(_) => Dialect { filters: &filter::OF_GRPC, protocol: Protocol::H2c },
        }
    }

    pub(super) fn rules(self) -> Vec<AnyRule<'a>> {
        match self {
            Self::Http(route) => route.spec.rules.iter().map(http_rule).collect(),
            Self::Grpc(route) => route.spec.rules.iter().map(grpc_rule).collect(),
        }
    }

    /// Those of its document and of the file that holds it. Routes of two kinds may share their own.
    pub(super) fn names(self, key: &ObjectKey) -> (Name, String) {
        match self {
            Self::Http(_) => (name::route(key), name::file("route", key)),
            Self::Grpc(_) => (name::grpc_route(key), name::file("grpc-route", key)),
        }
    }
}

fn http_rule(rule: &http_route::Rule) -> AnyRule<'_> {
    let http_route::Rule { name, matches, filters, backend_refs, timeouts, retry, session_persistence } = rule;
    AnyRule {
        name: name.as_deref(),
        matches: matches.iter().map(http_match::translate).collect(),
        filters,
        backend_refs,
        timeouts: Some(timeouts),
        retry: retry.as_ref(),
        has_session_persistence: session_persistence.is_some(),
    }
}

fn grpc_rule(rule: &grpc_route::Rule) -> AnyRule<'_> {
    let grpc_route::Rule { name, matches, filters, backend_refs, session_persistence } = rule;
    // "If no matches are specified, the implementation MUST match every gRPC request."
    let matches = match matches.as_slice() {
        [] => vec![Ok(grpc_match::every_call())],
        matches => matches.iter().map(grpc_match::translate).collect(),
    };
    AnyRule {
        name: name.as_deref(),
        matches,
        filters,
        backend_refs,
        timeouts: None,
        retry: None,
        has_session_persistence: session_persistence.is_some(),
    }
}
