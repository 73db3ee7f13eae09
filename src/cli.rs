//! The command line: what can be asked for. Each flag also comes by environment, which
//! [`crate::config`] reads; a flag beats it.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

mod admin;
mod care;
mod doctor;
mod env;
mod health;
mod limits;
mod manual;
mod postgres;
mod series;
mod serve;
mod token;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::store::SCHEMA_VERSION;

pub use admin::AdminArgs;
pub use care::{ExportArgs, ImportArgs};
pub use doctor::DoctorArgs;
pub use env::EnvArgs;
pub use health::HealthArgs;
pub use limits::{LimitArgs, TrustedProxy};
pub use manual::{Shell, completions, man_pages};
pub use postgres::{PostgresArgs, PostgresCommand, ReplicaArgs};
pub use series::SeriesArgs;
pub use serve::{AuthMode, LogFormat, ServeArgs};
pub use token::TokenArgs;

/// Chat sessions and message history in one file, served over HTTP.
///
/// Without a command it serves. It needs no configuration: it listens on 127.0.0.1:3002, keeps
/// its data in the current folder, and answers callers on this machine.
#[derive(Debug, Parser)]
#[command(name = "orion-chat", version, long_version = long_version())]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Secrets come by environment only: ORION_SHARED_JWT_SECRET or ORION_SHARED_JWT_SECRET_FILE (and \
_PREVIOUS for rotation) switch tokens on; see the README for the rest.\n\n\
Exit codes: 0 done, or stopped by SIGTERM or SIGINT, 1 not healthy, or no server has the data file, or doctor found something, or PostgreSQL lacks, refuses or differs in something, 2 usage, 65 a line of an import was refused, 66 it cannot be read, 73 a file is not there, or cannot be created or written, \
74 I/O error or damaged file, 75 data file in use, 78 bad configuration, 98 address in use.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve when no command is given.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT (the default).
    Serve(ServeArgs),
    /// Show how the server is doing: its data, requests, latencies, listeners and warnings.
    ///
    /// Asks the server that has the data file, on this machine. Ends with 1 if none has.
    Status {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
        /// Of which data file.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Write a checked copy of the data file, while a server has it or not.
    ///
    /// It holds all that was acknowledged before it began, and takes its name when it is whole, in
    /// the place of a file that has it. It is made where it goes, and for - beside the data file.
    Backup {
        /// Where to; - is stdout [default: orion-chat-TIME.redb in this folder]
        file: Option<PathBuf>,
        /// In the place of a name.
        #[command(flatten)]
        series: SeriesArgs,
        /// Of which data file.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Look for damage: every record, and every index against what it is of.
    ///
    /// Says what is wrong and where, one line each, and ends with 74 then. Changes nothing.
    Verify {
        /// A backup [default: the data file, while a server has it or not]
        file: Option<PathBuf>,
        /// Which data file.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Put a copy of a backup in the data file's place, while no server has that.
    ///
    /// The backup is checked first. The old file stays beside it, as FILE.before-restore-TIME.
    Restore {
        /// The backup
        file: PathBuf,
        /// In the place of which data file.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Write sessions and messages as lines of JSON (NDJSON), while a server has the file or not.
    ///
    /// The lines are those of one moment; the README describes them. A file takes its name when it
    /// is whole, with mode 0600.
    Export(ExportArgs),
    /// Store the sessions and messages of lines of JSON, while a server has the file or not.
    ///
    /// What is there already stays as it is, so that to import again adds nothing. Stops at the first
    /// line that cannot be stored, with 65, and tells what was stored before.
    Import(ImportArgs),
    /// Put what can still be read of a damaged data file into a new one.
    ///
    /// For when there is no backup, or an old one. Says what was lost. No server may have the file,
    /// which stays as it is.
    Salvage {
        /// The damaged file
        file: PathBuf,
        /// The new one
        out: PathBuf,
    },
    /// Give the room back that nothing is in, while no server has the data file.
    ///
    /// A checked copy takes the file's place; there must be room for both.
    Compact(DataArgs),
    /// Look the node and the configuration over, and say what is wrong and what mends it.
    ///
    /// One line for each check: ok, warn or FAIL; ends with 1 if one failed. It asks the server if
    /// that runs, and else one of its own with the same configuration, for a moment, without your
    /// data.
    Doctor(DoctorArgs),
    /// Look after PostgreSQL as a replica.
    #[command(subcommand)]
    Postgres(PostgresCommand),
    /// See to it that everything is in PostgreSQL, such as before a switch back to it.
    ///
    /// Ends with 0 once that is so, else with 1 and a line that says why.
    Drain {
        /// Wait until it is so
        #[arg(long)]
        wait: bool,
        /// Wait no longer than this
        #[arg(long, value_name = "SECS")]
        timeout: Option<u64>,
        /// Of which data file.
        #[command(flatten)]
        place: ReplicaArgs,
    },
    /// Make a token to try the service with, signed with the configured secret.
    ///
    /// It is written to stdout, with the iss and aud that the server asks for.
    Token(TokenArgs),
    /// Ask a server whether it is well: ends with 0 if so, else with 1 and a line that says why.
    ///
    /// For scripts and health checks of containers; needs nothing but this binary.
    Health(HealthArgs),
    /// Print what completes this command line in a shell.
    ///
    /// For bash: source <(orion-chat completions bash)
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command.
    Man {
        /// The folder to write them to, such as /usr/local/share/man/man1 [default: stdout, for
        /// the page of the whole]
        folder: Option<PathBuf>,
    },
}

/// What tells releases apart, and whether one can read another's data file.
fn long_version() -> String {
    format!("{}\ndata file format {SCHEMA_VERSION}", env!("CARGO_PKG_VERSION"))
}

/// Which data file to look after.
#[derive(Debug, Clone, Default, Args)]
pub struct DataArgs {
    /// The data file [env: ORION_CHAT_DATA] [default: $STATE_DIRECTORY/orion-chat.redb under
    /// systemd, else orion-chat.redb in this folder]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
}
