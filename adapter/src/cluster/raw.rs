//! Objects as the API server sends them, read one by one.
//!
//! Whatever an object holds, it cannot make a list or a watch fail: what cannot be read is told of
//! that object alone.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::kind::Kind;
use crate::api::{Object, ObjectKey};

/// An object of any kind and any contents.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    /// Only what an object is known by.
    metadata: ObjectMeta,
    value: Value,
}

/// What was made of it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
    pub(super) version: String,
    /// As JSON, of the kinds whose status we write. It is in no other place: objects that differ in
    /// their status alone translate to the same.
    pub(super) status: Option<Box<str>>,
    /// The object without what changes with every write to it, or why it cannot be read.
    pub(super) object: Result<Box<Object>, String>,
}

impl Raw {
    pub(super) fn read(self, kind: Kind) -> Found {
        let Self { metadata, mut value } = self;
        let resource = kind.resource();
        if let Value::Object(fields) = &mut value {
            // Items of a list do not say what they are.
            fields.entry("apiVersion").or_insert(resource.api_version.into());
            fields.entry("kind").or_insert(resource.kind.into());
        }
        let status = value.get_mut("status").filter(|_| kind.has_status_of_ours()).map(Value::take);
        forget_bookkeeping(&mut value);
        Found {
            key: ObjectKey {
                namespace: metadata.namespace.unwrap_or_default(),
                name: metadata.name.unwrap_or_default(),
            },
            uid: metadata.uid.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            status: status.map(|status| status.to_string().into()),
            object: Object::read(value).map(Box::new).map_err(|error| error.to_string()),
        }
    }
}

/// Takes away what says nothing about the object and much about its history.
fn forget_bookkeeping(value: &mut Value) {
    let Some(Value::Object(metadata)) = value.get_mut("metadata") else { return };
    metadata.remove("managedFields");
    metadata.remove("resourceVersion");
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |field| value.get("metadata")?.get(field)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, value })
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::cluster) fn found(kind: Kind, value: Value) -> Found {
        serde_json::from_value::<Raw>(value).unwrap().read(kind)
    }

    #[test]
    fn an_object_of_a_list_is_read_without_its_history() {
        let found = found(
            Kind::Gateway,
            json!({
                "metadata": {
                    "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 3,
                    "managedFields": [{"manager": "kubectl"}],
                    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "x"},
                },
                "spec": {"gatewayClassName": "c", "listeners": [{"name": "l", "port": 80, "protocol": "HTTP"}]},
                "status": {"conditions": []},
            }),
        );
        assert_eq!((found.key.to_string().as_str(), found.version.as_str(), found.uid.as_str()), ("n/a", "7", "u"));
        assert_eq!(found.status.as_deref(), Some(r#"{"conditions":[]}"#));
        let Object::Gateway(gateway) = *found.object.unwrap() else { panic!("no Gateway") };
        assert_eq!(gateway.status, None);
        let metadata = gateway.metadata;
        assert_eq!((metadata.managed_fields, metadata.resource_version, metadata.generation), (None, None, Some(3)));
        assert_eq!(metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["mine"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_of_the_object_alone() {
        for (value, message) in [
            (json!({"metadata": {"name": "a"}, "spec": {"rules": 7}}), "spec.rules"),
            (json!({"metadata": {"name": "a", "labels": {"x": []}}, "spec": {}}), "metadata.labels.x"),
            (json!({"metadata": {"name": 7}}), "metadata.name"),
            (json!({}), "metadata"),
            (json!(null), "apiVersion"),
        ] {
            let error = found(Kind::HttpRoute, value).object.unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_bad_object_does_not_spoil_its_list() {
        let list = json!({
            "metadata": {"resourceVersion": "9"},
            "items": [{"metadata": {"name": "a"}, "spec": 1}, {"metadata": {"name": "b"}, "spec": {}}],
        });
        let list: kube::core::ObjectList<Raw> = serde_json::from_value(list).unwrap();
        let read = list.items.into_iter().map(|raw| raw.read(Kind::HttpRoute).object.is_ok());
        assert_eq!(read.collect::<Vec<_>>(), [false, true]);
    }
}
