//! The commands: what each does and prints, and what the process ends with.

mod care;
mod doctor;
mod failure;
mod health;
mod log;
mod manual;
mod postgres;
mod progress;
mod reload;
mod serve;
mod status;
mod stop;
mod token;

use std::io::Write as _;

use crate::cli::{Cli, Command, ReplicaArgs};
use crate::config::{self, EnvFile};

pub use failure::Failure;
pub use health::Unhealthy;
pub use postgres::ReplicaFailure;

use postgres::Place;

/// Runs what `cli` asks for.
///
/// # Errors
/// [`Failure`], which knows what the process ends with.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var_os(name);
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::serve(args, variable),
        Command::Status { json, data } => {
            care::look_after(|| status::status(&config::data(data, variable), json))
        }
        Command::Backup { file, series, data } => {
            care::look_after(|| care::backup(&config::data(data, variable), file, series))
        }
        Command::Verify { file, data } => {
            care::look_after(|| care::verify(&file.unwrap_or_else(|| config::data(data, variable))))
        }
        Command::Restore { file, data } => {
            care::look_after(|| care::restore(&file, &config::data(data, variable)))
        }
        Command::Export(args) => {
            let data = config::data(args.data.clone(), variable);
            care::look_after(|| care::export(args, &data))
        }
        Command::Import(args) => {
            let data = config::data(args.data.clone(), variable);
            care::look_after(|| care::import(args, &data))
        }
        Command::Salvage { file, out } => care::look_after(|| care::salvage(&file, &out)),
        Command::Compact(data) => care::look_after(|| care::compact(&config::data(data, variable))),
        Command::Doctor(args) => {
            let file = EnvFile::read(&args.env)?;
            let names = file.names().chain(variable_names()).collect();
            doctor::doctor(args, names, |name| file.get(name).or_else(|| variable(name)))
        }
        Command::Postgres(command) => {
            care::look_after(|| postgres::postgres(&command, replica(command.place())?))
        }
        Command::Drain { wait, timeout, place } => {
            care::look_after(|| postgres::drain(replica(&place)?, wait, timeout))
        }
        Command::Token(args) => {
            let file = EnvFile::read(&args.env)?;
            token::token(args, |name| file.get(name).or_else(|| variable(name)))
        }
        Command::Health(args) => {
            let file = EnvFile::read(&args.env)?;
            let variable = |name: &str| file.get(name).or_else(|| variable(name));
            health::health(&config::peer(args.url.clone(), variable)?, &args)
        }
        Command::Completions { shell } => {
            manual::completions(shell);
            Ok(())
        }
        Command::Man { folder } => manual::man(folder),
    }
}

/// A data file and its replica, by the flags and the environment that count.
fn replica(place: &ReplicaArgs) -> Result<Place, Failure> {
    let file = EnvFile::read(&place.env)?;
    let variable = |name: &str| file.get(name).or_else(|| std::env::var_os(name));
    let (data, target) = config::replica(place, variable)?;
    // Whoever names a server's variables means that server's file, wherever it is.
    let may_make = place.env.env_file.is_none() || place.data.data.is_some();
    Ok(Place { data, target, may_make })
}

/// What the environment has variables for.
fn variable_names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// Says what was asked for, to whoever may have gone away.
fn say(line: &str) {
    let _gone = writeln!(std::io::stdout(), "{line}");
}
