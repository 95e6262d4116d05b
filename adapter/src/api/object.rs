use std::fmt;
use std::str::FromStr;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    BackendTlsPolicy, ConfigMap, EndpointSlice, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, Namespace,
    ReferenceGrant, Secret, Service, check,
};

/// An object of a kind that translations are made from.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    GatewayClass(GatewayClass),
    Gateway(Gateway),
    ListenerSet(ListenerSet),
    HttpRoute(HttpRoute),
    GrpcRoute(GrpcRoute),
    ReferenceGrant(ReferenceGrant),
    Namespace(Namespace),
    Service(Service),
    EndpointSlice(EndpointSlice),
    Secret(Secret),
    BackendTlsPolicy(BackendTlsPolicy),
    ConfigMap(ConfigMap),
}

/// What an object of a known kind is found by. The namespace is empty for objects without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectKey {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub fn of(object: &impl ResourceExt) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

impl FromStr for ObjectKey {
    type Err = String;

    /// Reads `namespace/name`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(format!("{text:?} is not a namespace and a name with a slash between them")),
        }
    }
}

/// One object among all kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    pub kind: &'static str,
    pub key: ObjectKey,
}

impl ObjectRef {
    pub fn new(kind: &'static str, key: &ObjectKey) -> Self {
        Self { kind, key: key.clone() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// Why a value is no [`Object`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Valid for all we know, but nothing that a translation reads.
    #[error("{kind} ({version}) is not read by this adapter")]
    Irrelevant { kind: String, version: String },
    #[error("{0}")]
    Malformed(String),
}

impl Object {
    /// Reads an object as the API server would store it: without nulls, with defaults, and refused
    /// where a name is none or a limit of the API is exceeded.
    pub fn read(mut value: Value) -> Result<Self, Unusable> {
        strip_nulls(&mut value);
        let field = |name: &str| match value.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(Unusable::Malformed(format!("{name} is missing; every object has apiVersion and kind"))),
        };
        let (version, kind) = (field("apiVersion")?, field("kind")?);
        let object = match (version.as_str(), kind.as_str()) {
            (V1 | V1_BETA1, "GatewayClass") => Self::GatewayClass(cluster_object(value)?),
            (V1 | V1_BETA1, "Gateway") => Self::Gateway(namespaced_object(value)?),
            (V1, "ListenerSet") => Self::ListenerSet(namespaced_object(value)?),
            (V1 | V1_BETA1, "HTTPRoute") => Self::HttpRoute(namespaced_object(value)?),
            (V1, "GRPCRoute") => Self::GrpcRoute(namespaced_object(value)?),
            (V1 | V1_BETA1, "ReferenceGrant") => Self::ReferenceGrant(namespaced_object(value)?),
            ("v1", "Namespace") => Self::Namespace(cluster_object(value)?),
            ("v1", "Service") => Self::Service(namespaced_object(value)?),
            ("discovery.k8s.io/v1", "EndpointSlice") => Self::EndpointSlice(namespaced_object(value)?),
            ("v1", "Secret") => Self::Secret(secret(value)?),
            (V1, "BackendTLSPolicy") => Self::BackendTlsPolicy(namespaced_object(value)?),
            ("v1", "ConfigMap") => Self::ConfigMap(config_map(value)?),
            _ => return Err(Unusable::Irrelevant { kind, version }),
        };
        check::object(&object).map_err(Unusable::Malformed)?;
        Ok(object)
    }

    pub fn reference(&self) -> ObjectRef {
        let (kind, key) = match self {
            Self::GatewayClass(object) => ("GatewayClass", ObjectKey::of(object)),
            Self::Gateway(object) => ("Gateway", ObjectKey::of(object)),
            Self::ListenerSet(object) => ("ListenerSet", ObjectKey::of(object)),
            Self::HttpRoute(object) => ("HTTPRoute", ObjectKey::of(object)),
            Self::GrpcRoute(object) => ("GRPCRoute", ObjectKey::of(object)),
            Self::ReferenceGrant(object) => ("ReferenceGrant", ObjectKey::of(object)),
            Self::Namespace(object) => ("Namespace", ObjectKey::of(object)),
            Self::Service(object) => ("Service", ObjectKey::of(object)),
            Self::EndpointSlice(object) => ("EndpointSlice", ObjectKey::of(object)),
            Self::Secret(object) => ("Secret", ObjectKey::of(object)),
            Self::BackendTlsPolicy(object) => ("BackendTLSPolicy", ObjectKey::of(object)),
            Self::ConfigMap(object) => ("ConfigMap", ObjectKey::of(object)),
        };
        ObjectRef { kind, key }
    }
}

fn namespaced_object<T: DeserializeOwned + ResourceExt>(value: Value) -> Result<T, Unusable> {
    let mut object: T = typed(value)?;
    object.meta_mut().namespace.get_or_insert_with(|| "default".to_owned());
    stored(object)
}

fn cluster_object<T: DeserializeOwned + ResourceExt>(value: Value) -> Result<T, Unusable> {
    let mut object: T = typed(value)?;
    object.meta_mut().namespace = None;
    stored(object)
}

/// Text that the writer left to the API server to encode is encoded. What a Secret holds is in no
/// message: of one that cannot be read only the field is told.
fn secret(value: Value) -> Result<Secret, Unusable> {
    let mut secret: Secret = serde_path_to_error::deserialize(value).map_err(|error| {
        Unusable::Malformed(format!("{}: a Secret does not have this here, or it is not base64", error.path()))
    })?;
    let plain = secret.string_data.take().into_iter().flatten();
    secret.data.get_or_insert_default().extend(plain.map(|(key, text)| (key, ByteString(text.into_bytes()))));
    secret.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    stored(secret)
}

/// With nothing but its name and what authorities are in. Others hold anything, and some change every
/// second.
fn config_map(value: Value) -> Result<ConfigMap, Unusable> {
    let ConfigMap { metadata, data, .. } = namespaced_object(value)?;
    let data = data.map(|data| data.into_iter().filter(|(key, _)| key == BUNDLE).collect());
    let metadata = ObjectMeta { name: metadata.name, namespace: metadata.namespace, ..ObjectMeta::default() };
    Ok(ConfigMap { metadata, data, ..ConfigMap::default() })
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Unusable> {
    serde_path_to_error::deserialize(value).map_err(|error| Unusable::Malformed(error.to_string()))
}

/// What the API server sets in an object that is created.
fn stored<T: ResourceExt>(mut object: T) -> Result<T, Unusable> {
    check::metadata(object.meta()).map_err(Unusable::Malformed)?;
    object.meta_mut().generation.get_or_insert(1);
    Ok(object)
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// The only key of a ConfigMap that is ever looked into.
pub const BUNDLE: &str = "ca.crt";
const V1: &str = "gateway.networking.k8s.io/v1";
const V1_BETA1: &str = "gateway.networking.k8s.io/v1beta1";
