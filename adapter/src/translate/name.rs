//! What documents and their files are called, and in which order objects go.

use conf::Name;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::ObjectKey;
use crate::hash::fnv1a;

/// Of a Gateway or of a ListenerSet, whose names have a part more.
pub(super) fn listener(kind: &str, holder: &ObjectKey, listener: &str) -> Name {
    match kind {
        "Gateway" => name(format!("{holder}/{listener}")),
        kind => name(format!("{}/{holder}/{listener}", kind.to_ascii_lowercase())),
    }
}

pub(super) fn route(route: &ObjectKey) -> Name {
    name(route.to_string())
}

/// GRPCRoutes and HTTPRoutes may have the same names.
pub(super) fn grpc_route(route: &ObjectKey) -> Name {
    name(format!("{route}/grpc"))
}

pub(super) fn backend(service: &ObjectKey, port: i32) -> Name {
    name(format!("{service}:{port}"))
}

/// The same port, spoken to in another protocol than others speak to it.
pub(super) fn h2c_backend(service: &ObjectKey, port: i32) -> Name {
    name(format!("{service}:{port}/h2c"))
}

pub(super) fn certificate(secret: &ObjectKey) -> Name {
    name(secret.to_string())
}

pub(super) fn authorities(config_map: &ObjectKey) -> Name {
    name(config_map.to_string())
}

pub(super) fn rule(text: &str) -> Name {
    name(text.to_owned())
}

fn name(text: String) -> Name {
    text.parse().expect("names of stored objects and sections have no white space and at most 253 characters")
}

/// The file of the documents of a Gateway's or a ListenerSet's listeners.
pub(super) fn listeners_file(kind: &str, holder: &ObjectKey) -> String {
    file(if kind == "Gateway" { "listeners" } else { "listenerset" }, holder)
}

/// The file of the documents that come from one object. Namespaces and names have no underscore, so
/// different objects have different files, except that long names are cut and end in a hash:
/// those that then agree share a file, which holds the documents of both.
pub(super) fn file(kind: &str, key: &ObjectKey) -> String {
    let stem = format!("{kind}-{}_{}", key.namespace, key.name);
    if stem.len() <= MAX_STEM {
        return format!("{stem}.yaml");
    }
    format!("{}.yaml", shortened(&stem, &stem, MAX_STEM))
}

/// A Service of a Gateway: of several, the one of this number, from 0. Different Gateways have
/// different ones, except that of names which are no names of Services a part is replaced by a hash.
pub(super) fn service(gateway: &ObjectKey, number: usize) -> ObjectKey {
    let name = &gateway.name;
    let is_label = !name.contains('.') && name.starts_with(|first: char| first.is_ascii_lowercase());
    let stem = match is_label && name.len() <= MAX_SERVICE_STEM {
        true => name.clone(),
        false => shortened(&format!("gateway-{}", name.replace('.', "-")), name, MAX_SERVICE_STEM),
    };
    let name = match number {
        0 => format!("{stem}-doppel"),
        number => format!("{stem}-doppel-{}", number + 1),
    };
    ObjectKey::new(&gateway.namespace, &name)
}

/// As the value of a label.
pub(super) fn label(name: &str) -> String {
    if name.len() <= MAX_LABEL { name.to_owned() } else { shortened(name, name, MAX_LABEL) }
}

/// The beginning of a text and a hash of what it stands for.
fn shortened(text: &str, whole: &str, length: usize) -> String {
    let hash = format!("{:016x}", fnv1a(whole.as_bytes()));
    let end = text.len().min(length - hash.len() - 1);
    format!("{}-{hash}", text[..end].trim_end_matches(['-', '.']))
}

const MAX_LABEL: usize = 63;
const MAX_SERVICE_STEM: usize = MAX_LABEL - "-doppel-16".len();

/// File names have at most 255 bytes; this leaves room for the suffixes of temporary ones.
const MAX_STEM: usize = 200;

/// Older objects first, then by namespace and name, as the API breaks ties; compared byte by byte.
/// Objects without a time, as files have them, count as younger than all others.
pub(super) fn order(metadata: &ObjectMeta, key: &ObjectKey) -> String {
    match &metadata.creation_timestamp {
        Some(time) => format!("{} {key}", time.0.strftime("%Y-%m-%dT%H:%M:%SZ")),
        None => format!("undated {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let names = ["a", "b"].map(|last| file("route", &ObjectKey::new("default", &("x".repeat(252) + last))));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() <= MAX_STEM + ".yaml".len()), "{names:?}");
        assert_eq!(file("route", &ObjectKey::new("default", "pipy")), "route-default_pipy.yaml");
    }
}
