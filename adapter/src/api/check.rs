//! What the API server refuses and a folder of files does not: names that are none, and lists that
//! are too long or hold a thing twice. Values that a status can speak about are left to the
//! translation, which must know them anyway.

use std::collections::HashSet;
use std::hash::Hash;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Object;
use super::backend_tls_policy::BackendTlsPolicySpec;
use super::gateways::GatewayListeners;
use super::grpc_route::GrpcRouteSpec;
use super::http_route::{BackendRef, Filter, HttpRouteSpec, ParentRef, ValueMatch};

/// The first thing that is wrong, with the field it concerns.
pub(super) fn object(object: &Object) -> Result<(), String> {
    match object {
        Object::Gateway(gateway) => listeners(&gateway.spec.listeners),
        Object::ListenerSet(set) => listeners(&set.spec.listeners),
        Object::HttpRoute(route) => http_route_spec(&route.spec),
        Object::GrpcRoute(route) => grpc_route_spec(&route.spec),
        Object::Service(service) => {
            let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            ports.enumerate().try_for_each(|(i, port)| number(&format!("spec.ports[{i}].port"), port.port))
        }
        Object::GatewayClass(_)
        | Object::ReferenceGrant(_)
        | Object::Namespace(_)
        | Object::EndpointSlice(_)
        | Object::Secret(_)
        | Object::ConfigMap(_) => Ok(()),
        Object::BackendTlsPolicy(policy) => backend_tls_policy_spec(&policy.spec),
    }
}

pub(super) fn metadata(metadata: &ObjectMeta) -> Result<(), String> {
    match &metadata.name {
        None => return Err("metadata.name is missing; files hold objects that have a name".to_owned()),
        Some(name) => subdomain("metadata.name", name)?,
    }
    metadata.namespace.iter().try_for_each(|namespace| label("metadata.namespace", namespace))
}

fn listeners(listeners: &[GatewayListeners]) -> Result<(), String> {
    if listeners.is_empty() {
        return Err("spec.listeners: there is at least one listener".to_owned());
    }
    at_most("spec.listeners", listeners, 64)?;
    distinct("spec.listeners", "name", listeners.iter().map(|listener| &listener.name))?;
    for (i, listener) in listeners.iter().enumerate() {
        subdomain(&format!("spec.listeners[{i}].name"), &listener.name)?;
        number(&format!("spec.listeners[{i}].port"), listener.port)?;
    }
    Ok(())
}

fn http_route_spec(spec: &HttpRouteSpec) -> Result<(), String> {
    let HttpRouteSpec { parent_refs, hostnames, rules } = spec;
    let limited = rules.iter().map(|rule| Rule {
        name: rule.name.as_deref(),
        matches: rule.matches.iter().map(|condition| condition.headers.as_slice()).collect(),
        filters: &rule.filters,
        backend_refs: &rule.backend_refs,
    });
    route(parent_refs, hostnames, limited.collect())?;
    for (i, rule) in rules.iter().enumerate() {
        for (j, condition) in rule.matches.iter().enumerate() {
            at_most(&format!("spec.rules[{i}].matches[{j}].queryParams"), &condition.query_params, 16)?;
        }
    }
    Ok(())
}

fn grpc_route_spec(spec: &GrpcRouteSpec) -> Result<(), String> {
    let GrpcRouteSpec { parent_refs, hostnames, rules } = spec;
    let limited = rules.iter().map(|rule| Rule {
        name: rule.name.as_deref(),
        matches: rule.matches.iter().map(|condition| condition.headers.as_slice()).collect(),
        filters: &rule.filters,
        backend_refs: &rule.backend_refs,
    });
    route(parent_refs, hostnames, limited.collect())
}

/// What is limited alike in the rules of both kinds of routes.
struct Rule<'r> {
    name: Option<&'r str>,
    /// The headers of each.
    matches: Vec<&'r [ValueMatch]>,
    filters: &'r [Filter],
    backend_refs: &'r [BackendRef],
}

fn route(parent_refs: &[ParentRef], hostnames: &[String], rules: Vec<Rule<'_>>) -> Result<(), String> {
    at_most("spec.parentRefs", parent_refs, 32)?;
    at_most("spec.hostnames", hostnames, 16)?;
    at_most("spec.rules", &rules, 16)?;
    distinct("spec.parentRefs", "parent, sectionName and port", parent_refs)?;
    distinct("spec.rules", "name", rules.iter().filter_map(|rule| rule.name))?;
    for (i, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{i}]");
        rule.name.iter().try_for_each(|name| subdomain(&format!("{field}.name"), name))?;
        at_most(&format!("{field}.matches"), &rule.matches, 64)?;
        at_most(&format!("{field}.filters"), rule.filters, 16)?;
        at_most(&format!("{field}.backendRefs"), rule.backend_refs, 16)?;
        for (j, headers) in rule.matches.iter().enumerate() {
            at_most(&format!("{field}.matches[{j}].headers"), headers, 16)?;
        }
        for (j, backend) in rule.backend_refs.iter().enumerate() {
            at_most(&format!("{field}.backendRefs[{j}].filters"), &backend.filters, 16)?;
        }
    }
    match rules.iter().map(|rule| rule.matches.len()).sum() {
        0..=128 => Ok(()),
        matches => Err(format!("spec.rules: {matches} matches are more than the 128 that a route may have")),
    }
}

fn backend_tls_policy_spec(spec: &BackendTlsPolicySpec) -> Result<(), String> {
    if spec.target_refs.is_empty() {
        return Err("spec.targetRefs: a policy is for something".to_owned());
    }
    at_most("spec.targetRefs", &spec.target_refs, 16)?;
    distinct("spec.targetRefs", "target", &spec.target_refs)?;
    at_most("spec.validation.caCertificateRefs", &spec.validation.ca_certificate_refs, 8)?;
    at_most("spec.validation.subjectAltNames", &spec.validation.subject_alt_names, 5)
}

fn at_most<T>(field: &str, items: &[T], max: usize) -> Result<(), String> {
    match items.len() {
        length if length <= max => Ok(()),
        length => Err(format!("{field}: {length} items are more than the {max} that the API allows")),
    }
}

fn distinct<T: Eq + Hash>(field: &str, what: &str, items: impl IntoIterator<Item = T>) -> Result<(), String> {
    let mut seen = HashSet::new();
    match items.into_iter().position(|item| !seen.insert(item)) {
        None => Ok(()),
        Some(_) => Err(format!("{field}: two items have the same {what}; each must differ")),
    }
}

fn number(field: &str, port: i32) -> Result<(), String> {
    match port {
        1..=65535 => Ok(()),
        _ => Err(format!("{field}: {port} is not a port between 1 and 65535")),
    }
}

fn subdomain(field: &str, name: &str) -> Result<(), String> {
    let valid = name.len() <= 253 && name.split('.').all(is_label);
    if valid { Ok(()) } else { Err(format!("{field}: {name:?} is not a name of lower-case letters, digits, - and .")) }
}

fn label(field: &str, name: &str) -> Result<(), String> {
    let valid = name.len() <= 63 && is_label(name);
    if valid { Ok(()) } else { Err(format!("{field}: {name:?} is not a name of lower-case letters, digits and -")) }
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}
