//! What a command ends with when it doesn't end well: one line, a kind for scripts, an exit status.

use crate::arrays::ArrayError;
use crate::bench::EmulationError;
use crate::client::LinkError;
use crate::instrument::{InstrumentError, refusal};
use crate::mapping::MappingError;
use crate::recipe::NotWritable;
use crate::run_file::RunFileError;
use crate::transport::TransportError;
use std::fmt;

/// The kinds, each with its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was tried and didn't work.
    Failed,
    /// It can't be asked for like this; nothing was touched.
    Usage,
    /// A limit or a safety rule forbids it.
    Refused,
    /// The link to the device.
    Link,
}

impl Kind {
    /// The exit status.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Link => 4,
        }
    }

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Link => "link",
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of which kind.
    pub kind: Kind,
    /// What, where, what to do; one line.
    pub message: String,
}

impl Failure {
    /// A failure of a kind; line breaks become spaces.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        let message = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { kind, message }
    }

    /// Something that can't be asked for like this.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Something that didn't work.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ArrayError> for Failure {
    fn from(error: ArrayError) -> Self {
        Self::usage(error)
    }
}

impl From<MappingError> for Failure {
    fn from(error: MappingError) -> Self {
        Self::usage(error)
    }
}

impl From<NotWritable> for Failure {
    fn from(error: NotWritable) -> Self {
        Self::usage(error)
    }
}

impl From<EmulationError> for Failure {
    fn from(error: EmulationError) -> Self {
        let kind = match error {
            EmulationError::Board(_) | EmulationError::Entropy(_) | EmulationError::StateInUse { .. } => {
                Kind::Failed
            }
            _ => Kind::Usage,
        };
        Self::new(kind, error)
    }
}

#[cfg(unix)]
impl From<crate::qemu::QemuError> for Failure {
    fn from(error: crate::qemu::QemuError) -> Self {
        use crate::qemu::QemuError;
        match error {
            QemuError::Bench(error) => error.into(),
            QemuError::NoImage(_) | QemuError::Image { .. } => Self::usage(error),
            other => Self::new(Kind::Link, other),
        }
    }
}

impl From<RunFileError> for Failure {
    fn from(error: RunFileError) -> Self {
        Self::new(if error.is_wrong_file() { Kind::Usage } else { Kind::Failed }, error)
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::new(Kind::Link, error)
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let kind = match error {
            LinkError::Interrupted { .. } | LinkError::Entropy(_) => Kind::Failed,
            LinkError::TooLarge { .. } => Kind::Usage,
            _ => Kind::Link,
        };
        Self::new(kind, error)
    }
}

impl From<InstrumentError> for Failure {
    fn from(error: InstrumentError) -> Self {
        use ohmrig_protocol::message::{JobEnd, Refusal};
        let kind = match error {
            InstrumentError::Link(link) => return link.into(),
            InstrumentError::Argument(_) => Kind::Usage,
            InstrumentError::Refused { ref refusal, .. } if refusal::is_safety(refusal) => Kind::Refused,
            InstrumentError::Refused {
                refusal: Refusal::Invalid { .. } | Refusal::OutsideArray { .. } | Refusal::Unsupported(_),
                ..
            } => Kind::Usage,
            InstrumentError::JobEnded { end: JobEnd::Fault(_) | JobEnd::Disarmed, .. } => Kind::Refused,
            InstrumentError::JobLost { .. } | InstrumentError::JobReset(_) | InstrumentError::Size { .. } => {
                Kind::Link
            }
            InstrumentError::Refused { .. }
            | InstrumentError::JobEnded { .. }
            | InstrumentError::NotRecorded(_)
            | InstrumentError::NotKept(_) => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_protocol::message::{LimitName, Refusal};

    #[test]
    fn a_limit_ends_with_3_and_a_silent_port_with_4() {
        let limit = Refusal::Limit { limit: LimitName::Cell, asked: 6.0, allowed: 5.0 };
        let error = InstrumentError::Refused { request: "pulse", refusal: limit };
        assert_eq!(Failure::from(error).kind.status(), 3);
        let error = TransportError::Unknown { port: "/dev/nothing".into() };
        assert_eq!(Failure::from(error).kind.status(), 4);
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Failure::failed("a\n  b").message, "a b");
    }
}
