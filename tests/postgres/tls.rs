//! The way to PostgreSQL is encrypted where that is asked for, and then never otherwise.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::{Cluster, Node, clock};

/// An authority, and a certificate of it for `localhost`, which are good for a month.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        std::fs::write(made.path("names"), "subjectAltName=DNS:localhost\n").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc";
        made.openssl(&format!(
            "req -x509 {key} -days 30 -subj /CN=authority -keyout ca.key -out ca"
        ));
        made.openssl(&format!("req {key} -subj /CN=localhost -keyout key -out request"));
        made.openssl(
            "x509 -req -in request -CA ca -CAkey ca.key -days 30 -extfile names -out certificate",
        );
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let done = command.args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// A node that asks for encryption, and trusts `authority`.
fn node(cluster: &Cluster, host: &str, authority: &Path, more: &[(&str, &str)]) -> Node {
    let authority = authority.to_str().unwrap();
    let asked = [("DB_HOST", host), ("DB_SSL", "true"), ("DB_SSL_CA", authority)];
    Node::start_with(cluster.port(), &[&asked, more].concat())
}

/// Checks that a node does not come in, and says why.
#[track_caller]
fn stays_outside(node: &Node) {
    node.create("ann", "s", "hello");
    let status = node.status_when("it says why", |status| status["lastError"].is_string());
    assert_eq!(status["connected"], false, "{status}");
    assert!(status["queue"].as_u64() > Some(0), "{status}");
}

#[test]
fn a_connection_is_encrypted_where_that_is_asked_for() {
    let certificates = Certificates::new();
    let cluster =
        Cluster::start_with_tls(&certificates.path("certificate"), &certificates.path("key"));
    let node = node(&cluster, "localhost", &certificates.path("ca"), &[]);
    node.create("ann", "s", "hello");
    node.status_when("all is there", |status: &Value| {
        status["connected"] == true && status["queue"] == 0
    });
    let sql = "select count(*) filter (where ssl), count(*) filter (where not ssl)
        from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'orion'";
    let row = cluster.connect().query_one(sql, &[]).unwrap();
    assert!(row.get::<_, i64>(0) > 0);
    assert_eq!(row.get::<_, i64>(1), 0);
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_nothing() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let cluster =
        Cluster::start_with_tls(&certificates.path("certificate"), &certificates.path("key"));
    stays_outside(&node(&cluster, "localhost", &others.path("ca"), &[]));
    // The certificate is for another name.
    stays_outside(&node(&cluster, "127.0.0.1", &certificates.path("ca"), &[]));
    // It ran out long ago.
    let late = clock("+60d");
    stays_outside(&node(&cluster, "localhost", &certificates.path("ca"), &late));
}

#[test]
fn a_server_that_cannot_encrypt_gets_nothing() {
    let certificates = Certificates::new();
    let scene = crate::rig::Scene::with(
        crate::rig::Extra::Bare,
        &[("DB_SSL", "true"), ("DB_SSL_CA", certificates.path("ca").to_str().unwrap())],
    );
    stays_outside(&scene.node);
}
