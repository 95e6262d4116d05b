//! The small values that documents are made of. Each is parsed once; what exists is valid.

mod duration;
mod fraction;
mod hostname;
mod name;
mod origin;
mod pattern;
pub(crate) mod socket;

pub use duration::Duration;
pub use fraction::Fraction;
pub use hostname::Hostname;
pub use name::Name;
pub use origin::Origin;
pub use pattern::Pattern;
