//! Who may call, in a form that can be replaced while requests are served.

use std::sync::Arc;

use super::App;
use super::auth::Auth;
use super::cors::AllowedOrigins;

/// Who may call: by which proof, and from the pages of which origins.
#[derive(Debug)]
pub struct Access {
    /// How callers are told apart.
    pub auth: Auth,
    /// Which pages may call.
    pub origins: AllowedOrigins,
}

/// A server would change the mode that its callers know it by, and what it listens on depends on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mode would change from auth {from} to auth {to}; restart the server for that")]
pub struct ModeChanged {
    /// The mode in force.
    from: &'static str,
    /// The one that was to take its place.
    to: &'static str,
}

impl App {
    /// Lets requests from now on be judged by `access`. What was admitted before goes on: an open
    /// stream until its token ends. Gives what is in force.
    ///
    /// # Errors
    /// [`ModeChanged`], with which nothing is changed.
    pub fn replace_access(&self, access: Access) -> Result<Arc<Access>, ModeChanged> {
        let (from, to) = (self.access.load().auth.mode(), access.auth.mode());
        if from != to {
            return Err(ModeChanged { from, to });
        }
        let access = Arc::new(access);
        self.access.store(Arc::clone(&access));
        Ok(access)
    }
}

#[cfg(test)]
mod tests {
    use crate::http::Limits;
    use crate::model::Clock;
    use crate::store::Store;

    use super::*;

    #[test]
    fn the_mode_cannot_be_changed() {
        let access =
            |auth, origin| Access { auth, origins: AllowedOrigins::parse_list([origin]).unwrap() };
        let store = Store::in_memory(Clock::system()).unwrap();
        let first = access(Auth::Local, "https://a.org");
        let app = App::new(store, first, Clock::system(), Limits::default());

        let refused = app.replace_access(access(Auth::Off, "https://b.org")).unwrap_err();

        assert_eq!(
            refused.to_string(),
            "the mode would change from auth local to auth off; restart the server for that"
        );
        assert_eq!(app.access.load().origins.to_string(), "https://a.org");
        app.replace_access(access(Auth::Local, "https://b.org")).unwrap();
        assert_eq!(app.access.load().origins.to_string(), "https://b.org");
    }
}
