//! What becomes of a copy, and why: the values of the labels `outcome` and `reason`.

use crate::tls::BondError;

/// What became of one request that a mirror filter applies to:
///
/// - eligible = sampled out + skipped + dropped + started
/// - started = completed + failed + aborted + in flight
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Outside the filter's share of the requests.
    SampledOut,
    /// Not meant for any mirror, or there is no mirror to send it to.
    Skipped(Skip),
    /// The mirror would have been sent a copy, but was not to be burdened with it.
    Dropped(Decline),
    Started,
    /// The mirror was sent the whole request and answered.
    Completed(Class),
    /// The mirror's doing.
    Failed(Failure),
    /// Our doing, or the client's: the mirror was shown that the request is not whole.
    Aborted(Abort),
}

/// An enum of reasons, each with its value in the label.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$variant),+];
            const COUNT: usize = [$($label),+].len();

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

reasons! {
    Skip {
        /// The gateway answers the request itself.
        OwnAnswer = "own_answer",
        /// An upgrade or CONNECT: what follows is no request body.
        Upgrade = "upgrade",
        /// The filter's reference leads nowhere.
        InvalidTarget = "invalid_target",
        /// The mirror's backend has no ready endpoint.
        NoEndpoint = "no_endpoint",
    }
}

reasons! {
    Decline {
        /// [`super::Limits::in_flight`] copies are on their way to this mirror.
        InFlight = "in_flight",
        /// The endpoint is paused, because connecting to it failed time and again.
        Paused = "paused",
    }
}

reasons! {
    /// The class of the answer's status.
    Class {
        Success = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
        /// No class that HTTP knows.
        Other = "other",
    }
}

impl Class {
    pub(super) fn of(status: u16) -> Self {
        match status / 100 {
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::Other,
        }
    }
}

reasons! {
    Failure {
        /// The request cannot be said in the mirror's protocol.
        Unsendable = "unsendable",
        /// No connection: refused, unreachable, no HTTP/2.
        Connect = "connect",
        /// No TLS handshake: the mirror has not proved who it is, or does not believe us.
        Tls = "tls",
        /// No connection in time.
        ConnectTimeout = "connect_timeout",
        /// Closed or reset before the whole request was sent.
        Send = "send",
        /// The mirror took no byte for too long.
        WriteIdle = "write_idle",
        /// A kept connection turned out to be closed, and nothing was answered on it.
        Stale = "stale",
        /// Closed or reset before the answer's head.
        NoAnswer = "no_answer",
        /// No head of an answer in time.
        AnswerTimeout = "answer_timeout",
        /// What was answered is not HTTP.
        BadAnswer = "bad_answer",
    }
}

impl Failure {
    pub(super) fn of(error: &BondError) -> Self {
        match error {
            BondError::Connect(_) | BondError::NoHttp2 => Self::Connect,
            BondError::Handshake(_) => Self::Tls,
        }
    }
}

reasons! {
    Abort {
        /// The client went away, or broke off its body.
        Client = "client",
        /// The primary answered before it had read the whole body.
        PrimaryAnswered = "primary_answered",
        /// The primary could not be reached or failed, and no attempt is left.
        PrimaryFailed = "primary_failed",
        /// The request's time was over.
        Timeout = "timeout",
        /// The request became a tunnel.
        Upgraded = "upgraded",
        /// More than [`super::Limits::copy_bytes`] wait for the mirror.
        QueueFull = "queue_full",
        /// More than [`super::Limits::mirror_bytes`] wait for the mirror.
        MirrorBudget = "mirror_budget",
        /// More than [`super::Limits::process_bytes`] wait for all mirrors.
        ProcessBudget = "process_budget",
        /// The body is not as long as its Content-Length says.
        Length = "length",
        /// A retry's body is shorter than what had been sent of it before.
        Replay = "replay",
        /// The client had sent nothing for [`super::Limits::silence`], and a new copy needed the place.
        GaveWay = "gave_way",
        /// The request ended without a word on its body.
        Unfinished = "unfinished",
        /// The program ends.
        Shutdown = "shutdown",
    }
}

impl Outcome {
    /// How many outcomes there are, each with its reason.
    pub(super) const COUNT: usize = Self::ABORTED + Abort::COUNT;

    const SKIPPED: usize = 2;
    const DROPPED: usize = Self::SKIPPED + Skip::COUNT;
    const COMPLETED: usize = Self::DROPPED + Decline::COUNT;
    const FAILED: usize = Self::COMPLETED + Class::COUNT;
    const ABORTED: usize = Self::FAILED + Failure::COUNT;

    /// A number of its own, below [`Self::COUNT`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::SampledOut => 0,
            Self::Started => 1,
            Self::Skipped(reason) => Self::SKIPPED + reason as usize,
            Self::Dropped(reason) => Self::DROPPED + reason as usize,
            Self::Completed(class) => Self::COMPLETED + class as usize,
            Self::Failed(reason) => Self::FAILED + reason as usize,
            Self::Aborted(reason) => Self::ABORTED + reason as usize,
        }
    }

    /// The values of the labels `outcome` and `reason`.
    pub(super) fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::SampledOut => ("sampled_out", ""),
            Self::Started => ("started", ""),
            Self::Skipped(reason) => ("skipped", reason.as_str()),
            Self::Dropped(reason) => ("dropped", reason.as_str()),
            Self::Completed(class) => ("completed", class.as_str()),
            Self::Failed(reason) => ("failed", reason.as_str()),
            Self::Aborted(reason) => ("aborted", reason.as_str()),
        }
    }

    /// Whether the mirror is to blame, so that its operator wants to hear of it.
    pub(super) fn is_trouble(self) -> bool {
        match self {
            Self::Dropped(_) | Self::Failed(_) => true,
            Self::Aborted(reason) => matches!(reason, Abort::QueueFull | Abort::MirrorBudget | Abort::ProcessBudget),
            Self::SampledOut | Self::Skipped(_) | Self::Started | Self::Completed(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_outcome_has_an_index_and_labels_of_its_own() {
        let all: Vec<Outcome> = [Outcome::SampledOut, Outcome::Started]
            .into_iter()
            .chain(Skip::ALL.iter().copied().map(Outcome::Skipped))
            .chain(Decline::ALL.iter().copied().map(Outcome::Dropped))
            .chain(Class::ALL.iter().copied().map(Outcome::Completed))
            .chain(Failure::ALL.iter().copied().map(Outcome::Failed))
            .chain(Abort::ALL.iter().copied().map(Outcome::Aborted))
            .collect();
        let indices: Vec<usize> = all.iter().map(|outcome| outcome.index()).collect();
        assert_eq!(indices, (0..Outcome::COUNT).collect::<Vec<_>>());
        let labels: HashSet<_> = all.iter().map(|outcome| outcome.labels()).collect();
        assert_eq!(labels.len(), Outcome::COUNT);
    }

    #[test]
    fn classes_are_those_of_the_status() {
        for (status, label) in [(200, "2xx"), (302, "3xx"), (404, "4xx"), (599, "5xx"), (999, "other"), (101, "other")]
        {
            assert_eq!(Class::of(status).as_str(), label);
        }
    }
}
