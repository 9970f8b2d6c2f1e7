//! PgBouncer between the scorer and PostgreSQL.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shadow_scorer::store::StoreError;
use suggestions::{open_store, transactions};

use crate::fixture::{each, options, postgres};

/// A running PgBouncer, ended when dropped.
struct Pooler {
    child: Child,
    url: String,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<&'static str> {
    ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"]
        .into_iter()
        .find(|at| Path::new(at).exists())
}

impl Pooler {
    /// In front of the database at `server`, in a folder of its own.
    async fn start(program: &str, folder: &Path, server: &str, mode: &str, settings: &str) -> Self {
        let (_, rest) = server.split_once('@').unwrap();
        let (address, database) = rest.split_once('/').unwrap();
        let (host, port) = address.split_once(':').unwrap();
        let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = folder.join(format!("{mode}.ini"));
        let text = format!(
            "[databases]\n{database} = host={host} port={port} dbname={database} user=perch\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n\
             default_pool_size = 20\n{settings}\n",
            own.port()
        );
        std::fs::write(&config, text).unwrap();
        std::os::unix::fs::chown(folder, Some(65_534), None).unwrap_or_default();
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        // It refuses to run as root.
        let mut command = Command::new("setpriv");
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid=65534", "--clear-groups", program]);
        } else {
            command = Command::new(program);
        }
        let child = command.arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pooler = Self { child, url: format!("postgres://perch@127.0.0.1:{}/{database}", own.port()) };
        let listening = async {
            while tokio::net::TcpStream::connect(own).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), listening).await.unwrap();
        pooler
    }
}

/// Case A15.
#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_with_what_to_set_and_one_in_session_mode_serves() {
    if postgres().is_none() {
        return;
    }
    let Some(program) = program() else {
        println!("SKIPPED: PgBouncer is not installed (`setup/run postgres` installs it)");
        return;
    };
    let fresh = each().await.swap_remove(1);
    let folder = tempfile::tempdir().unwrap();
    let refused = async |url: &str| {
        let error = open_store(url, &options()).await.unwrap_err();
        assert!(matches!(error, StoreError::Pooler { .. }), "{error:?}");
        error.to_string()
    };
    // As it is installed it does not even take a connection.
    let pooler = Pooler::start(program, folder.path(), &fresh.url, "session", "").await;
    let said = refused(&pooler.url).await;
    assert!(said.contains("ignore_startup_parameters=extra_float_digits"), "{said}");
    let ignoring = "ignore_startup_parameters = extra_float_digits";
    let pooler = Pooler::start(program, folder.path(), &fresh.url, "transaction", ignoring).await;
    for _ in 0..5 {
        assert!(refused(&pooler.url).await.contains("pool_mode=session"));
    }
    let pooler = Pooler::start(program, folder.path(), &fresh.url, "session", ignoring).await;
    let store = open_store(&pooler.url, &options()).await.unwrap();
    assert_eq!(transactions::count(&store).await.unwrap(), 0);
    let beside = store.beside(&options()).await.unwrap();
    assert_eq!(beside.count_labels().await.unwrap(), 0);
}
