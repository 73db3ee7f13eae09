//! `doctor`: what is wrong, line by line.

use std::ffi::OsString;

use crate::cli::{DataArgs, DoctorArgs};
use crate::config;
use crate::doctor::{self, Finding, State};
use crate::model::Clock;

use super::log::check_filter;
use super::{Failure, say};

/// Says what it finds, one line each; `names` are those of all variables.
pub(super) fn doctor(
    args: DoctorArgs,
    names: Vec<String>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(), Failure> {
    let clock = Clock::system();
    let mut failed = 0;
    let mut tell = |finding: Finding| {
        failed += usize::from(finding.state == State::Wrong);
        say(&finding.to_string());
    };
    let data = config::data(DataArgs { data: args.serve.data.clone() }, &variable);
    let loaded = config::load(args.serve, &variable).map_err(Failure::from).and_then(|config| {
        check_filter(&config.log_filter)?;
        Ok((config, config::tokens(&variable)?))
    });
    match &loaded {
        Ok((config, _)) => {
            tell(Finding::well("config", "can be used"));
            let doubts = config.warnings.iter();
            doubts.for_each(|warning| tell(Finding::doubtful("config", warning)));
        }
        Err(error) => tell(Finding::wrong("config", error.to_string())),
    }
    for unknown in config::unknown_variables(names) {
        tell(Finding::doubtful("config", unknown));
    }
    doctor::look_at_node(&data, &clock, &mut tell);
    if let Ok((config, tokens)) = loaded {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let url = args.url.as_deref();
        runtime.block_on(doctor::look_at_service(config, tokens.as_ref(), url, &clock, &mut tell));
    }
    if failed > 0 { Err(Failure::Unwell { failed }) } else { Ok(()) }
}
