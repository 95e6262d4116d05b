use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Addresses, Bundle, Options, ServiceType};
use crate::api::{CONTROLLER_NAME, GatewayClass, ObjectKey, ObjectRef};
use crate::snapshot::Snapshot;
use crate::status::{Condition, Content, Fault, Feature, GatewayClassStatus, Status};

/// A GatewayClass that names us as its controller.
pub(super) struct Class<'a> {
    object: &'a GatewayClass,
    /// Why Gateways of it are not served.
    pub(super) fault: Option<Fault>,
}

/// All of ours, by name. There may be several; those of other controllers are none of our business.
pub(super) fn ours(snapshot: &Snapshot) -> BTreeMap<&str, Class<'_>> {
    let ours = snapshot.classes.iter().filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME);
    ours.map(|(key, object)| (key.name.as_str(), Class { object, fault: parameters_fault(&key.name, object) }))
        .collect()
}

impl Class<'_> {
    pub(super) fn status(&self, name: &str, options: &Options) -> Status {
        let generation = self.object.metadata.generation;
        let good = format!("GatewayClass {name} is served by {CONTROLLER_NAME}");
        let mut conditions = vec![Condition::unless(self.fault.as_ref(), "Accepted", generation, good)];
        if let Some(Bundle { version, .. }) = &options.bundle {
            let good = format!("the installed Gateway API is {version}, which this controller knows");
            conditions.push(Condition::unless(version_fault(version).as_ref(), "SupportedVersion", generation, good));
        }
        Status {
            object: ObjectRef::new("GatewayClass", &ObjectKey::new("", name)),
            content: Arc::new(Content::GatewayClass(GatewayClassStatus {
                conditions,
                supported_features: features(options).map(|name| Feature { name }).collect(),
            })),
        }
    }
}

/// What works: by the way in which clients reach Gateways, and by the fields that the installed
/// definitions have, for of others the API server forgets what objects say.
fn features(options: &Options) -> impl Iterator<Item = &'static str> {
    let has_retries = options.bundle.as_ref().is_none_or(|bundle| bundle.is_experimental);
    let is_reachable = |feature: &str| match &options.addresses {
        // There is nothing to propagate to.
        Addresses::Host { .. } => feature != "GatewayInfrastructurePropagation",
        Addresses::Service { service_type: ServiceType::LoadBalancer, .. } => true,
        // The cluster alone chooses these.
        Addresses::Service { .. } => feature != "GatewayStaticAddresses",
    };
    let minor = options.bundle.as_ref().and_then(|bundle| minor(&bundle.version));
    let is_defined = move |feature: &str| match feature {
        "HTTPRouteCORS" | "ListenerSet" => minor.is_none_or(|minor| minor >= 5),
        feature => has_retries || !feature.starts_with("HTTPRouteRetry"),
    };
    let works = move |feature: &&str| is_reachable(feature) && is_defined(feature);
    FEATURES.iter().copied().filter(works)
}

fn parameters_fault(name: &str, class: &GatewayClass) -> Option<Fault> {
    let reference = class.spec.parameters_ref.as_ref()?;
    let (kind, parameters) = (&reference.kind, &reference.name);
    Some(Fault::new(
        "InvalidParameters",
        format!(
            "GatewayClass {name}: parametersRef names {kind} {parameters}, but this controller has no parameters; remove it"
        ),
    ))
}

fn version_fault(version: &str) -> Option<Fault> {
    if minor(version).is_some_and(|minor| KNOWN_MINORS.contains(&minor)) {
        return None;
    }
    let (first, last) = (KNOWN_MINORS.start(), KNOWN_MINORS.end());
    Some(Fault::new(
        "UnsupportedVersion",
        format!(
            "the installed Gateway API is {version}, this controller knows v1.{first} to v1.{last}; fields that only others have are not read"
        ),
    ))
}

/// That of a version of Gateway API v1.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("v1.")?.split('.').next()?.parse().ok()
}

/// Minor versions of Gateway API v1 whose objects read the same to this controller.
const KNOWN_MINORS: std::ops::RangeInclusive<u32> = 1..=6;

/// What works, by the names that the conformance suite has for it, sorted as the API demands.
const FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "GRPCRouteRequestHeaderModifier",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructurePropagation",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendRequestRedirect",
    "HTTPRouteBackendTimeout",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetry",
    "HTTPRouteRetryBackendTimeout",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_sorted_and_distinct() {
        assert!(FEATURES.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn retries_are_supported_where_routes_have_the_field() {
        let retries = |bundle: Option<bool>| {
            let bundle = bundle.map(|is_experimental| Bundle { version: "v1.6.1".to_owned(), is_experimental });
            let options = Options { bundle, ..Options::default() };
            features(&options).filter(|feature| feature.starts_with("HTTPRouteRetry")).count()
        };
        assert_eq!([None, Some(true), Some(false)].map(retries), [3, 3, 0]);
    }

    #[test]
    fn what_an_older_api_does_not_define_is_not_supported() {
        let supported = |version: &str| {
            let bundle = Bundle { version: version.to_owned(), is_experimental: false };
            let options = Options { bundle: Some(bundle), ..Options::default() };
            let young = |feature: &&str| ["HTTPRouteCORS", "ListenerSet"].contains(feature);
            features(&options).filter(young).count()
        };
        assert_eq!(["v1.4.1", "v1.5.0", "v1.6.1"].map(supported), [0, 2, 2]);
    }

    #[test]
    fn versions_of_the_api_are_known_by_their_minor() {
        for (version, known) in
            [("v1.6.1", true), ("v1.1.0", true), ("v1.0.0", false), ("v1.7.0", false), ("v2.1.0", false), ("", false)]
        {
            assert_eq!(version_fault(version).is_none(), known, "{version}");
        }
    }
}
