//! What can be asked for, and how it is written.

use std::fmt;

use crate::exchange::OnProblem;
use crate::model::UserId;

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// All that the file holds.
    Backup,
    /// To keep in mind that a backup was made.
    BackedUp,
    /// What is wrong with it.
    Verify,
    /// How the server is doing.
    Status,
    /// All sessions and messages, or those of one user.
    Export(Option<UserId>),
    /// To take sessions and messages in.
    Import(OnProblem),
}

impl Verb {
    /// The verb that `line` says.
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("backup", "") => Some(Self::Backup),
            ("backed-up", "") => Some(Self::BackedUp),
            ("verify", "") => Some(Self::Verify),
            ("status", "") => Some(Self::Status),
            ("export", "") => Some(Self::Export(None)),
            ("export", user) => UserId::parse(user).ok().map(|user| Self::Export(Some(user))),
            ("import", "") => Some(Self::Import(OnProblem::Stop)),
            ("import", "keep-going") => Some(Self::Import(OnProblem::GoOn)),
            _ => None,
        }
    }

    /// What it is called, without what else it says.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::BackedUp => "backed-up",
            Self::Verify => "verify",
            Self::Status => "status",
            Self::Export(_) => "export",
            Self::Import(_) => "import",
        }
    }
}

/// As it is sent.
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Export(Some(user)) => write!(f, " {}", user.as_str()),
            Self::Import(OnProblem::GoOn) => f.write_str(" keep-going"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_as_they_are_sent() {
        let ann = UserId::parse("Ann of the hills").unwrap();
        for verb in [
            Verb::Backup,
            Verb::BackedUp,
            Verb::Verify,
            Verb::Status,
            Verb::Export(None),
            Verb::Export(Some(ann)),
            Verb::Import(OnProblem::Stop),
            Verb::Import(OnProblem::GoOn),
        ] {
            assert_eq!(Verb::parse(&verb.to_string()), Some(verb));
        }
        for bad in ["", "backup now", "import x", "export \0", "erase"] {
            assert_eq!(Verb::parse(bad), None, "{bad:?}");
        }
    }
}
