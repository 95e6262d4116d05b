//! Addresses of sockets. `SocketAddr` reads them itself, but its errors do not say what instead.

use std::net::SocketAddr;

use serde::de::{Deserialize, Deserializer, Error};

pub(crate) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    Ok(Text::deserialize(deserializer)?.0)
}

pub(crate) fn many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    Ok(Vec::<Text>::deserialize(deserializer)?.into_iter().map(|text| text.0).collect())
}

struct Text(SocketAddr);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            D::Error::custom(format!(
                "{text:?} is not an IP address with a port, such as 10.0.0.7:8080 or [::1]:8080; names are not looked up"
            ))
        })
    }
}
