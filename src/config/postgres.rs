//! Where PostgreSQL is, if it is to be kept the same.

use std::path::PathBuf;

use crate::cli::PostgresArgs;
use crate::sync::Target;

use super::ConfigError;
use super::env::Env;

const URL: &str = "ORION_CHAT_POSTGRES";
const PASSWORD: &str = "DB_PASSWORD";

/// Where a pooler listens.
const PORT: u16 = 6432;

impl Env<'_> {
    /// Where PostgreSQL is: by the flag, else by a URL, else by its parts; `None` if by none.
    pub(super) fn postgres(&self, args: PostgresArgs) -> Result<Option<Target>, ConfigError> {
        let bad = |name| move |problem| ConfigError::Postgres { name, problem };
        let target = match (args.postgres, self.text(URL)) {
            (Some(url), _) => {
                let target = Target::parse(&url).map_err(bad("--postgres"))?;
                if target.has_password() {
                    return Err(ConfigError::PasswordInFlag);
                }
                Some(target)
            }
            (None, Some(url)) => Some(Target::parse(&url).map_err(bad(URL))?),
            (None, None) => self.postgres_by_parts()?,
        };
        let Some(target) = target else {
            return Ok(None);
        };
        let target = self.with_tls(target)?;
        match self.secret(PASSWORD)? {
            Some(password) if !target.has_password() => Ok(Some(target.with_password(&password))),
            _ => Ok(Some(target)),
        }
    }

    fn postgres_by_parts(&self) -> Result<Option<Target>, ConfigError> {
        let Some(host) = self.text("DB_HOST") else {
            return Ok(None);
        };
        let port = match self.text("DB_PORT") {
            None => PORT,
            Some(value) => {
                let (value, expected) = (first_line(&value), "a port from 1 to 65535");
                let parsed = value.parse().ok().filter(|port| *port > 0);
                parsed.ok_or(ConfigError::Value { name: "DB_PORT", value, expected })?
            }
        };
        let name = self.text("DB_NAME").unwrap_or_else(|| "orion_core".to_owned());
        let user = self.text("DB_USER").ok_or(ConfigError::NoDatabaseUser)?;
        Ok(Some(Target::of_parts(&host, port, &name, &user)))
    }

    /// TLS wherever anybody asks for it: the URL, or the variables beside it.
    fn with_tls(&self, target: Target) -> Result<Target, ConfigError> {
        let ca = self.text("DB_SSL_CA").map(PathBuf::from);
        let asked = match self.text("DB_SSL").as_deref() {
            None => ca.is_some(),
            Some("false" | "0" | "off" | "disable") => false,
            Some("true" | "1" | "on" | "require" | "verify-full") => true,
            Some(value) => {
                let (value, expected) = (first_line(value), "true or false");
                return Err(ConfigError::Value { name: "DB_SSL", value, expected });
            }
        };
        Ok(if asked || target.has_tls() { target.with_tls(ca) } else { target })
    }
}

/// Behind a quote that nobody closed, the next lines of a file of variables are in the value too: maybe a
/// password.
fn first_line(value: &str) -> String {
    value.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(
        flag: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Option<String>, ConfigError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        };
        let args = PostgresArgs { postgres: flag.map(str::to_owned) };
        let target = Env(&variable).postgres(args)?;
        Ok(target.map(|target| format!("{target} {}", target.has_password())))
    }

    #[test]
    fn tls_is_used_wherever_it_is_asked_for() {
        let parts = [("DB_HOST", "db"), ("DB_USER", "ann")];
        let url = [("ORION_CHAT_POSTGRES", "postgresql://ann@db/n")];
        let strict = [("ORION_CHAT_POSTGRES", "postgresql://ann@db/n?sslmode=verify-full")];
        for (place, variables, has_tls) in [
            (&parts[..], &[][..], false),
            (&parts, &[("DB_SSL", "true")], true),
            (&parts, &[("DB_SSL_CA", "/ca.pem")], true),
            (&parts, &[("DB_SSL", "false"), ("DB_SSL_CA", "/ca.pem")], false),
            (&url, &[], false),
            (&url, &[("DB_SSL", "true")], true),
            (&url, &[("DB_SSL_CA", "/ca.pem")], true),
            (&strict, &[], true),
            (&strict, &[("DB_SSL", "false")], true),
        ] {
            let variables = [place, variables].concat();
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            };
            let target = Env(&variable).postgres(PostgresArgs::default()).unwrap().unwrap();
            assert_eq!(target.has_tls(), has_tls, "{variables:?}");
        }
    }

    #[test]
    fn without_a_word_of_it_there_is_none() {
        assert_eq!(postgres(None, &[("DB_PORT", "1"), ("DB_SSL", "x")]).unwrap(), None);
    }

    #[test]
    fn it_comes_by_flag_by_url_or_by_parts() {
        let parts = [("DB_HOST", "db"), ("DB_USER", "ann"), ("DB_PASSWORD", "x")];
        let url = ("ORION_CHAT_POSTGRES", "postgresql://ann:x@url/n");

        assert_eq!(postgres(None, &parts).unwrap().unwrap(), "orion_core at db:6432 true");
        let both = [&parts[..], &[url]].concat();
        assert_eq!(postgres(None, &both).unwrap().unwrap(), "n at url:5432 true");
        let flag = Some("postgresql://ann@flag:1/n");
        assert_eq!(postgres(flag, &both).unwrap().unwrap(), "n at flag:1 true");
        assert_eq!(postgres(flag, &[]).unwrap().unwrap(), "n at flag:1 false");
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_a_password() {
        let refused = postgres(Some("postgresql://ann:s3cret@db/n"), &[]).unwrap_err();
        assert!(matches!(refused, ConfigError::PasswordInFlag), "{refused}");

        let url = [("ORION_CHAT_POSTGRES", "mysql://ann:s3cret@db/n")];
        let refused = postgres(None, &url).unwrap_err().to_string();
        assert!(refused.starts_with("ORION_CHAT_POSTGRES ") && !refused.contains("s3cret"));

        for (name, value) in [("DB_PORT", "0"), ("DB_PORT", "x"), ("DB_SSL", "maybe")] {
            let parts = [("DB_HOST", "db"), ("DB_USER", "ann"), (name, value)];
            let refused = postgres(None, &parts).unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
        let flag = Some("postgresql://ann@db/n");
        let refused = postgres(flag, &[("DB_SSL", "maybe")]).unwrap_err().to_string();
        assert!(refused.contains("DB_SSL"), "{refused}");
        let refused = postgres(None, &[("DB_HOST", "db")]).unwrap_err();
        assert!(matches!(refused, ConfigError::NoDatabaseUser), "{refused}");
    }
}
