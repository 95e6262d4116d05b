mod call;
mod h1;
mod h2;

pub use call::{Call, Ending, MARK, Outcome};
pub use h1::{Answer, Client};
pub use h2::{H2Answer, H2Client, H2Upload};
