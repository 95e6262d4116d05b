//! What documents and their files are called, and in which order objects go.

use conf::Name;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::ObjectKey;
use crate::hash::fnv1a;

pub(super) fn listener(gateway: &ObjectKey, listener: &str) -> Name {
    name(format!("{gateway}/{listener}"))
}

pub(super) fn route(route: &ObjectKey) -> Name {
    name(route.to_string())
}

pub(super) fn backend(service: &ObjectKey, port: i32) -> Name {
    name(format!("{service}:{port}"))
}

pub(super) fn rule(text: &str) -> Name {
    name(text.to_owned())
}

fn name(text: String) -> Name {
    text.parse().expect("names of stored objects and sections have no white space and at most 253 characters")
}

/// The file of the documents that come from one object. Namespaces and names have no underscore, so
/// different objects have different files, except that long names are cut and end in a hash:
/// those that then agree share a file, which holds the documents of both.
pub(super) fn file(kind: &str, key: &ObjectKey) -> String {
    let stem = format!("{kind}-{}_{}", key.namespace, key.name);
    if stem.len() <= MAX_STEM {
        return format!("{stem}.yaml");
    }
    let hash = format!("{:016x}", fnv1a(stem.as_bytes()));
    format!("{}-{hash}.yaml", &stem[..MAX_STEM - hash.len() - 1])
}

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
